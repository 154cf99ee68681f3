//! What happens to the interface from outside, as it happens.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io, mem,
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
/// On Linux the kernel tells (rtnetlink); an interface that was moved to another network namespace is down first, and looked at
/// every second from then on. Elsewhere the device is looked at every two seconds, and nobody says whether it is down. Does not
/// keep the interface alive.
pub struct TunEvents {
    shared: Weak<Shared>,
    index: u32,
    source: imp::Source,
    was_up: Option<bool>,
    // What the listener knows. The device itself may know better: who reads from it looks, too.
    told_mtu: usize,
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
            told_mtu: shared.mtu(),
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
        let Some(mtu) = mtu else { return };
        if let Some(shared) = self.shared.upgrade() {
            shared.mtu.store(mtu, Ordering::Relaxed);
        }
        if mem::replace(&mut self.told_mtu, mtu) != mtu {
            self.waiting.push_back(TunEvent::Mtu(mtu));
        }
    }
}

#[cfg(target_os = "linux")]
mod imp {
    //! On Linux: a netlink socket.

    use std::{
        future::Future,
        io, net,
        os::fd::AsFd,
        pin::Pin,
        sync::{Arc, Weak},
        task::ready,
        time::Duration,
    };

    use tidewire_clock::{Sleep, now};
    use tokio::{io::ReadBuf, net::UdpSocket};

    use super::{Context, Poll, Shared, State};
    use crate::{
        errors::is_gone,
        netlink::{DATAGRAM, Place, Said, ask, listener, said},
    };

    /// How often the interface is looked at while it is in another network namespace.
    const INTERVAL: Duration = Duration::from_secs(1);

    pub(super) struct Source {
        // tokio has no type for a netlink socket; what it does with a UDP socket is right for any datagram socket.
        socket: UdpSocket,
        buffer: Vec<u8>,
        away: Option<Away>,
    }

    /// In another network namespace, of whose changes nobody tells us.
    struct Away {
        place: Place,
        look: Sleep,
    }

    impl Source {
        pub(super) fn new(index: u32) -> io::Result<Self> {
            let socket = open()?;
            ask(&socket, Place { namespace: None, index })?;
            Ok(Self { socket, buffer: vec![0; DATAGRAM], away: None })
        }

        /// What a datagram of the kernel's says of the interface; often nothing.
        pub(super) fn poll_states(
            &mut self,
            cx: &mut Context<'_>,
            index: u32,
            shared: &Weak<Shared>,
        ) -> Poll<io::Result<Vec<State>>> {
            self.look(cx)?;
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match ready!(self.socket.poll_recv(cx, &mut buffer)) {
                Ok(()) => {
                    let heard = said(buffer.filled());
                    let away = &mut self.away;
                    Poll::Ready(Ok(heard.filter_map(|said| state(said, index, away, shared)).collect()))
                }
                // More happened than the socket holds: it is asked anew, and nobody misses what came in between.
                Err(error) if is_overflow(&error) => {
                    self.socket = open()?;
                    let home = Place { namespace: None, index };
                    ask(&self.socket, self.away.as_ref().map_or(home, |away| away.place))?;
                    Poll::Ready(Ok(Vec::new()))
                }
                Err(error) => Poll::Ready(Err(error)),
            }
        }

        /// Asks for an interface that is elsewhere, if it is time.
        fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
            let Some(Away { place, look }) = &mut self.away else { return Ok(()) };
            while Pin::new(&mut *look).poll(cx).is_ready() {
                look.reset(now() + INTERVAL);
                ask(&self.socket, *place)?;
            }
            Ok(())
        }
    }

    fn open() -> io::Result<UdpSocket> {
        UdpSocket::from_std(net::UdpSocket::from(listener()?))
    }

    /// What this says of interface `own`, which `away` follows to where it is.
    fn state(said: Said, own: u32, away: &mut Option<Away>, shared: &Weak<Shared>) -> Option<State> {
        let at = |place| Some(Away { place, look: Sleep::until(now()) });
        let home = Place { namespace: None, index: own };
        match said {
            Said::Link { place, is_up, mtu }
                if place == home || away.as_ref().is_some_and(|away| away.place == place) =>
            {
                if place == home {
                    *away = None;
                }
                Some(State::Is { up: is_up, mtu: mtu.and_then(|mtu| usize::try_from(mtu).ok()) })
            }
            Said::Moved { index, to } if index == own && away.is_none() => {
                *away = at(to);
                None
            }
            Said::Gone { index } if index == own && away.is_none() => Some(State::Gone),
            // The answer to a question, if there is no such interface there any more.
            Said::Result(code) if code != 0 => {
                if shared.upgrade().is_none_or(|shared| is_dead(&shared)) {
                    return Some(State::Gone);
                }
                // It was moved on, to where nobody here may look. What is not known to be down counts as up.
                if away.is_none() {
                    *away = at(Place { namespace: Some(NOWHERE), index: own });
                }
                Some(State::Is { up: true, mtu: None })
            }
            _ => None,
        }
    }

    /// No namespace has this number.
    const NOWHERE: i32 = -1;

    /// Asks the device itself, which lives in whatever namespace: an empty packet is none, and is refused.
    fn is_dead(shared: &Arc<Shared>) -> bool {
        rustix::io::write(shared.io.as_fd(), &[]).is_err_and(|errno| is_gone(&errno.into()))
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
