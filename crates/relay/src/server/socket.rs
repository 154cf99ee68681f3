//! What is asked of the system for each connection, and which of its refusals means that there are too many.

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::time::Duration;

use tokio::net::TcpStream;

/// How long the other end may leave what was sent without an acknowledgement, as in the original.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// So much may wait in the system unsent: what is queued here is still in order, disco first, and grows old.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 256 * 1024;

/// Whatever cannot be set is not needed to serve the connection.
pub(super) fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let socket = socket2::SockRef::from(stream);
        let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
    }
}

/// Whether this process, or the system, has as many open files as it may.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}
