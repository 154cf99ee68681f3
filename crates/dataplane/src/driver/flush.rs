//! How what the core produced reaches the transports, and what waits when one would block.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use tidewire_clock as clock;
use tidewire_transport::{ToOverlay, ToUnderlay};

use super::{Driver, TransportId, handle::Note, limits::PENDING_ITEMS};
use crate::{Counters, Event, discard::Reason};

/// Items that could not be handed over yet, in order.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) to_underlay: VecDeque<ToUnderlay>,
    pub(super) to_overlay: VecDeque<ToOverlay>,
}

impl Driver {
    /// Hands over what the core produced, after what waited from before.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        let mut gave_up = false;
        for event in self.out.events.drain(..) {
            gave_up |= matches!(event, Event::GaveUp { .. });
            drop(self.notes.force(Note::Event(event)));
        }
        if gave_up {
            // Perhaps because the stamps are behind those of an earlier life.
            self.look_at_wall_clock(clock::now());
        }
        self.enqueue();
        self.flush_underlays(cx);
        self.flush_overlays(cx);
    }

    fn enqueue(&mut self) {
        let Self { pending, out, core, .. } = self;
        let counters = core.counters_mut();
        for item in out.to_underlay.drain(..) {
            if pending.to_underlay.len() < PENDING_ITEMS {
                pending.to_underlay.push_back(item);
            } else {
                discard(counters, &item, Reason::TransportFull);
            }
        }
        for item in out.to_overlay.drain(..) {
            if pending.to_overlay.len() < PENDING_ITEMS {
                pending.to_overlay.push_back(item);
            } else {
                counters.discard(Reason::OverlayFull, item.batch.len());
            }
        }
    }

    fn flush_underlays(&mut self, cx: &mut Context<'_>) {
        while let Some(mut item) = self.pending.to_underlay.pop_front() {
            if self.offer_to_underlays(cx, &mut item).is_pending() {
                self.pending.to_underlay.push_front(item);
                return;
            }
            if !item.runs.is_empty() {
                discard(self.core.counters_mut(), &item, Reason::NoTransport);
            }
            self.out.recycle(item);
        }
    }

    /// Offers an item to every transport, in order, until all its runs are gone. `Pending`: one of them kept some.
    fn offer_to_underlays(&mut self, cx: &mut Context<'_>, item: &mut ToUnderlay) -> Poll<()> {
        let mut blocked = false;
        let mut i = 0;
        while i < self.attached.underlays.len() && !item.runs.is_empty() {
            let (id, underlay) = &mut self.attached.underlays[i];
            let id: TransportId = *id;
            match underlay.poll_send(cx, item) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(fault)) => {
                    let before = self.attached.underlays.len();
                    self.fault(id, fault);
                    if self.attached.underlays.len() < before {
                        continue;
                    }
                }
                Poll::Pending => blocked = true,
            }
            i += 1;
        }
        if blocked { Poll::Pending } else { Poll::Ready(()) }
    }

    fn flush_overlays(&mut self, cx: &mut Context<'_>) {
        while let Some(mut item) = self.pending.to_overlay.pop_front() {
            let overlay = self.attached.overlays.iter_mut().find(|(id, _, _)| *id == item.to);
            let sent = match overlay {
                Some((_, overlay, transport)) => {
                    let transport = *transport;
                    overlay.poll_send(cx, &mut item).map_err(|fault| (transport, fault))
                }
                None => Poll::Ready(Ok(())),
            };
            match sent {
                Poll::Pending => {
                    self.pending.to_overlay.push_front(item);
                    return;
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err((transport, fault))) => self.fault(transport, fault),
            }
            if !item.batch.is_empty() {
                self.core.counters_mut().discard(Reason::OverlayFull, item.batch.len());
            }
        }
    }
}

fn discard(counters: &mut Counters, item: &ToUnderlay, reason: Reason) {
    counters.discard(reason, item.runs.iter().map(|run| run.count as usize).sum());
}
