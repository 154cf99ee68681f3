//! How two stacks meet in real time: their tasks and what lies between them on a thread of their own, as in a node.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses a part of this")]

use std::{future::poll_fn, net::SocketAddr, task::Poll, thread};

use tidewire_netstack::{Config, Net, netstack};
use tidewire_packet::Pool;
use tidewire_transport::{FromOverlay, Overlay, QueuedOverlay, ToOverlay};
use tokio::sync::oneshot;

use super::{A, B, address, config};

/// Two stacks, joined until this is dropped.
pub struct Pair {
    pub a: Net,
    pub b: Net,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Pair {
    pub fn new() -> Self {
        Self::with([config(A), config(B)])
    }

    pub fn with([a, b]: [Config; 2]) -> Self {
        let pool = Pool::default();
        let (one, a, task_a) = netstack(a, pool.clone()).unwrap();
        let (two, b, task_b) = netstack(b, pool).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let tasks = [tokio::spawn(task_a), tokio::spawn(task_b)];
                let wire = tokio::spawn(join(one, two));
                let _ = stopped.await;
                // Dropping the overlays ends the tasks.
                wire.abort();
                for task in tasks {
                    task.await.unwrap();
                }
            });
        });
        Self { a, b, stop: Some(stop), thread: Some(thread) }
    }

    /// Where B is.
    pub fn at_b(&self, port: u16) -> SocketAddr {
        SocketAddr::new(address(B, false), port)
    }

    /// Ends both stacks, and waits until they have ended.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Carries packets between two overlays, as a data plane does.
async fn join(mut one: QueuedOverlay, mut two: QueuedOverlay) {
    poll_fn(|cx| {
        loop {
            let mut busy = false;
            for side in 0..2 {
                let (from, to) = if side == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
                let mut item = FromOverlay::default();
                if let Poll::Ready(result) = from.poll_recv(cx, &mut item) {
                    result.unwrap();
                    let mut item = ToOverlay { to: item.from, batch: item.batch };
                    assert!(to.poll_send(cx, &mut item).is_ready());
                    busy = true;
                }
            }
            if !busy {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Runs a test on a runtime of its own: another than the stacks'.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tidewire_clock::timeout(std::time::Duration::from_secs(60), test).await.expect("the test hangs");
    });
}
