//! How one client of the control socket is served: read, asked of the device, answered.

use std::{io, time::Duration};

use rustix::net::{AddressFamily, SocketType, socket};
use tidewire_clock as clock;
use tidewire_transport::Tx;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use zeroize::Zeroizing;

use crate::{
    device::{handle as device, run::Order},
    uapi::{self, Errno, Malformed, Request, Session},
};

/// Bytes read at a time.
const READ: usize = 16 * 1024;
/// A client that says nothing, or takes no answer, for so long makes place for others.
const PATIENCE: Duration = Duration::from_secs(300);

/// Serves a client until it leaves, speaks another language or falls asleep.
pub(super) async fn serve(mut stream: UnixStream, orders: &Tx<Order>) {
    let mut session = Session::new(zone);
    let mut buffer = Zeroizing::new(vec![0; READ]);
    loop {
        let read = clock::timeout(PATIENCE, stream.read(&mut buffer)).await;
        let Ok(Ok(read)) = read else { return };
        if read == 0 {
            if let Some(request) = session.finish() {
                drop(reply(&mut stream, request, orders).await);
            }
            return;
        }
        session.feed(buffer.get(..read).unwrap_or_default());
        loop {
            match session.next_request() {
                Ok(Some(request)) => {
                    if reply(&mut stream, request, orders).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => return tracing::warn!(%error, "a client of the control socket was sent away"),
            }
        }
    }
}

async fn reply(stream: &mut UnixStream, request: Request, orders: &Tx<Order>) -> io::Result<()> {
    let answer = answer(request, orders).await;
    let written = clock::timeout(PATIENCE, stream.write_all(&answer)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn answer(request: Request, orders: &Tx<Order>) -> Zeroizing<Vec<u8>> {
    let result = match request {
        Request::Get => match device::status(orders).await {
            Ok(status) => return status.answer(),
            Err(_) => Err(Errno::Gone),
        },
        Request::Set(sets, last) => device::set(orders, sets).await.and_then(|()| last.map_err(refuse)),
        Request::Wrong(error) => Err(refuse(error)),
    };
    Zeroizing::new(uapi::answer(result))
}

fn refuse(error: Malformed) -> Errno {
    tracing::warn!(%error, "a request was refused");
    error.errno()
}

/// The number of the interface with this name.
fn zone(name: &str) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
        rustix::net::netdevice::name_to_index(any, name).ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = name;
        None
    }
}
