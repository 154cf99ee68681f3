//! What happens to the interface from outside, as it happens.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io,
    sync::{Arc, Weak, atomic::Ordering},
    task::{Context, Poll, ready},
};

use crate::tun::Shared;

/// Something that happened to the interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TunEvent {
    /// It was brought up, or was up from the start.
    Up,
    /// It was brought down, or was down from the start.
    Down,
    /// The largest packet is now of so many bytes.
    Mtu(usize),
    /// It was deleted. Nothing follows.
    Deleted,
}

/// The events of one TUN device, in order. The first is [`TunEvent::Up`] or [`TunEvent::Down`].
///
/// On Linux the kernel tells (rtnetlink). Elsewhere the device is looked at every two seconds, and nobody says whether it is
/// down. Does not keep the interface alive.
pub struct TunEvents {
    shared: Weak<Shared>,
    index: u32,
    source: imp::Source,
    was_up: Option<bool>,
    waiting: VecDeque<TunEvent>,
    is_over: bool,
}

/// How an interface is.
#[derive(Clone, Copy, Debug)]
enum State {
    Is { up: bool, mtu: Option<usize> },
    Gone,
}

impl TunEvents {
    pub(crate) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let source = imp::Source::new(shared.index)?;
        Ok(Self {
            index: shared.index,
            shared: Arc::downgrade(&shared),
            source,
            was_up: None,
            waiting: VecDeque::new(),
            is_over: false,
        })
    }

    /// Waits for the next event; `None` after the last.
    pub async fn next(&mut self) -> Option<TunEvent> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next event; `Ready(None)` after the last.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<TunEvent>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Poll::Ready(Some(event));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            let Self { source, shared, index, .. } = self;
            match ready!(source.poll_states(cx, *index, shared)) {
                Ok(states) => states.into_iter().for_each(|state| self.note(state)),
                Err(_) => self.is_over = true,
            }
        }
    }

    fn note(&mut self, state: State) {
        let State::Is { up, mtu } = state else {
            self.waiting.push_back(TunEvent::Deleted);
            self.is_over = true;
            return;
        };
        if self.was_up.replace(up) != Some(up) {
            self.waiting.push_back(if up { TunEvent::Up } else { TunEvent::Down });
        }
        if let (Some(mtu), Some(shared)) = (mtu, self.shared.upgrade())
            && shared.mtu.swap(mtu, Ordering::Relaxed) != mtu
        {
            self.waiting.push_back(TunEvent::Mtu(mtu));
        }
    }
}

#[cfg(target_os = "linux")]
mod imp {
    //! On Linux: a netlink socket.

    use std::{io, net, sync::Weak, task::ready};

    use tokio::{io::ReadBuf, net::UdpSocket};

    use super::{Context, Poll, Shared, State};
    use crate::netlink::{DATAGRAM, Said, listener, said};

    pub(super) struct Source {
        // tokio has no type for a netlink socket; what it does with a UDP socket is right for any datagram socket.
        socket: UdpSocket,
        buffer: Vec<u8>,
    }

    impl Source {
        pub(super) fn new(index: u32) -> io::Result<Self> {
            let socket = UdpSocket::from_std(net::UdpSocket::from(listener(index)?))?;
            Ok(Self { socket, buffer: vec![0; DATAGRAM] })
        }

        /// What a datagram of the kernel's says of the interface; often nothing.
        pub(super) fn poll_states(
            &mut self,
            cx: &mut Context<'_>,
            index: u32,
            _: &Weak<Shared>,
        ) -> Poll<io::Result<Vec<State>>> {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match ready!(self.socket.poll_recv(cx, &mut buffer)) {
                Ok(()) => Poll::Ready(Ok(said(buffer.filled()).filter_map(|said| state(said, index)).collect())),
                // More happened than the socket holds: it is asked anew, and nobody misses what came in between.
                Err(error) if is_overflow(&error) => {
                    *self = Self::new(index)?;
                    Poll::Ready(Ok(Vec::new()))
                }
                Err(error) => Poll::Ready(Err(error)),
            }
        }
    }

    fn state(said: Said, own: u32) -> Option<State> {
        match said {
            Said::Link { index, is_up, mtu } if index == own => {
                Some(State::Is { up: is_up, mtu: mtu.and_then(|mtu| usize::try_from(mtu).ok()) })
            }
            Said::Gone { index } if index == own => Some(State::Gone),
            // The answer to the first question, if there is no such interface any more.
            Said::Result(code) if code != 0 => Some(State::Gone),
            _ => None,
        }
    }

    fn is_overflow(error: &io::Error) -> bool {
        error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    //! Elsewhere: the device is looked at from time to time.

    use std::{future::Future, io, pin::Pin, sync::Weak, task::ready, time::Duration};

    use tidewire_clock::{Sleep, now};

    use super::{Context, Poll, Shared, State};

    const INTERVAL: Duration = Duration::from_secs(2);

    pub(super) struct Source(Sleep);

    impl Source {
        #[allow(clippy::unnecessary_wraps, reason = "it may fail on Linux")]
        pub(super) fn new(_: u32) -> io::Result<Self> {
            Ok(Self(Sleep::until(now())))
        }

        pub(super) fn poll_states(
            &mut self,
            cx: &mut Context<'_>,
            _: u32,
            shared: &Weak<Shared>,
        ) -> Poll<io::Result<Vec<State>>> {
            ready!(Pin::new(&mut self.0).poll(cx));
            self.0.reset(now() + INTERVAL);
            let Some(shared) = shared.upgrade() else { return Poll::Ready(Ok(vec![State::Gone])) };
            Poll::Ready(Ok(vec![match shared.io.mtu() {
                Ok(mtu) => State::Is { up: true, mtu: Some(mtu.into()) },
                Err(_) => State::Gone,
            }]))
        }
    }
}

impl fmt::Debug for TunEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunEvents").field("index", &self.index).field("was_up", &self.was_up).finish_non_exhaustive()
    }
}
