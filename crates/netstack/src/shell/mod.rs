//! How programs reach the machine: one task that runs it, and handles for any runtime.

mod chunks;
mod hall;
mod listener;
mod mailbox;
mod net;
mod pipe;
mod post;
mod stream;
mod task;
mod udp;

pub use listener::TcpListener;
pub use net::{Net, netstack};
pub use stream::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
pub use udp::UdpSocket;

use std::sync::{Mutex, MutexGuard, PoisonError};

// A panic while a lock was held leaves nothing half changed: each change is a few assignments.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
