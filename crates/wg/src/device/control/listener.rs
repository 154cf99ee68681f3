//! How the control socket is made so that nobody else can use it, shared among clients, and removed.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{Mode, fchmod},
    net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket},
};
use tidewire_clock as clock;
use tidewire_transport::Tx;
use tokio::{net::UnixListener, sync::Semaphore};

use super::{client, watch};
use crate::device::run::Order;

/// Clients that are served at a time; others wait.
const CLIENTS: usize = 16;
/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 128;
/// How long to wait when the system has no descriptor for another client.
const SCARCE: Duration = Duration::from_millis(100);

/// A control socket. Dropping it removes it, unless it is another one by then.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    id: FileId,
}

/// Which file this is, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl Listener {
    /// Makes the socket, which its owner alone may use. One that nobody answers at is replaced.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let listener = match listen_at(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
                fs::remove_file(path)?;
                listen_at(path)?
            }
            result => result?,
        };
        listener.set_nonblocking(true)?;
        let id = FileId::of(path)?;
        Ok(Self { socket: UnixListener::from_std(listener)?, path: path.to_owned(), id })
    }

    /// Serves clients until somebody removes the socket.
    pub(crate) async fn serve(&self, orders: &Tx<Order>) {
        tokio::select! {
            () = watch::gone(&self.path, self.id) => {}
            never = self.accept_all(orders) => match never {},
        }
    }

    async fn accept_all(&self, orders: &Tx<Order>) -> std::convert::Infallible {
        let places = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    let orders = orders.clone();
                    tokio::spawn(async move {
                        client::serve(stream, &orders).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a client of the control socket could not be accepted");
                    clock::sleep(SCARCE).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.id.is_at(&self.path) {
            drop(fs::remove_file(&self.path));
        }
    }
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    pub(super) fn is_at(self, path: &Path) -> bool {
        Self::of(path).is_ok_and(|there| there == self)
    }
}

fn listen_at(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    // On Linux the mode of the socket becomes that of the file, so that there is no moment at which others may connect.
    // Elsewhere this does nothing, and what is done below comes soon enough for a directory that others may not enter.
    let _ = fchmod(&socket, Mode::RUSR | Mode::WUSR);
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Whether there is a socket behind which no process listens.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket
        && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use tidewire_transport::{Depth, Rx, queue};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::uapi::{Set, Status};

    fn run<F: Future>(test: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    fn orders() -> (Tx<Order>, Rx<Order>) {
        queue(Depth { items: 4, bytes: usize::MAX })
    }

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    /// Answers orders as a device with a port would, and remembers what was set.
    async fn device(mut orders: Rx<Order>, seen: Arc<std::sync::Mutex<Vec<Set>>>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Set(sets, answer) => {
                    seen.lock().unwrap().extend(sets);
                    answer.send(Ok(())).unwrap();
                }
                Order::Status(answer) => {
                    answer.send(Status { listen_port: 7, ..Status::default() }).unwrap();
                }
            }
        }
    }

    #[test]
    fn directory_and_socket_are_the_owners_alone() {
        run(async {
            let directory = directory();
            let path = directory.path().join("deep/er/wg0.sock");
            let listener = Listener::bind(&path).unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
            drop(listener);
            assert!(!path.exists());
        });
    }

    #[test]
    fn an_abandoned_socket_is_replaced_and_a_live_one_is_not() {
        run(async {
            let directory = directory();
            let path = directory.path().join("wg0.sock");
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            assert!(path.exists());
            let listener = Listener::bind(&path).unwrap();
            assert_eq!(Listener::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            drop(listener);
            fs::write(&path, "precious").unwrap();
            assert_eq!(Listener::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            assert_eq!(fs::read(&path).unwrap(), b"precious");
        });
    }

    #[test]
    fn a_successors_socket_is_not_removed() {
        run(async {
            let directory = directory();
            let path = directory.path().join("wg0.sock");
            let first = Listener::bind(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let second = Listener::bind(&path).unwrap();
            drop(first);
            assert!(path.exists());
            drop(second);
            assert!(!path.exists());
        });
    }

    #[test]
    fn removing_the_socket_ends_the_service() {
        run(async {
            let directory = directory();
            let path = directory.path().join("wg0.sock");
            let listener = Listener::bind(&path).unwrap();
            let (tx, _rx) = orders();
            let other = directory.path().join("other");
            let remove = async {
                // Other files are no reason.
                fs::write(&other, "").unwrap();
                fs::remove_file(&other).unwrap();
                tokio::task::yield_now().await;
                fs::remove_file(&path).unwrap();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = listener.serve(&tx) => {}
                () = remove => {}
            }
        });
    }

    #[test]
    fn several_clients_are_served_and_garbage_is_survived() {
        run(async {
            let directory = directory();
            let path = directory.path().join("wg0.sock");
            let listener = Listener::bind(&path).unwrap();
            let (tx, rx) = orders();
            let seen = Arc::default();
            let service = async {
                tokio::join!(listener.serve(&tx), device(rx, Arc::clone(&seen)));
            };
            let clients = async {
                let connect = || tokio::net::UnixStream::connect(&path);
                let mut idle = connect().await.unwrap();
                idle.write_all(b"set=1\nfwm").await.unwrap();
                let mut garbage = connect().await.unwrap();
                garbage.write_all(b"\xff\xfe nonsense\n").await.unwrap();
                let mut text = String::new();
                garbage.read_to_string(&mut text).await.unwrap();
                assert_eq!(text, "");
                let mut two = connect().await.unwrap();
                two.write_all(b"set=1\nlisten_port=9\n\nget=1\n\nset=1\nbogus=1\n\n").await.unwrap();
                two.shutdown().await.unwrap();
                two.read_to_string(&mut text).await.unwrap();
                assert_eq!(text, "errno=0\n\nlisten_port=7\nerrno=0\n\nerrno=-22\n\n");
                idle.write_all(b"ark=3\n\n").await.unwrap();
                let mut answer = [0; 9];
                idle.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"errno=0\n\n");
            };
            tokio::select! {
                () = clients => {}
                () = service => panic!("the service ended"),
            }
            assert_eq!(*seen.lock().unwrap(), [Set::ListenPort(9), Set::Fwmark(3)]);
        });
    }
}
