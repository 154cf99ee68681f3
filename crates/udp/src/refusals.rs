//! To which destinations super-packets are not worth trying, because they were refused lately.

use std::net::IpAddr;

/// How many runs to a destination are sent as single datagrams after a refusal before a super-packet is tried again: a
/// route changes, and one failed call in so many costs nothing.
const REST: u16 = 1024;

const SLOTS: usize = 64;

/// A bounded memory of refusals, one place for each destination; destinations that share a place forget each other,
/// which costs a failed call and no datagram.
///
/// A refusal depends on the route (a device that cannot, a path MTU below the segment), so it is kept by destination,
/// and on the length (below the path MTU it goes), so the shortest refused segment is kept with it.
#[derive(Debug)]
pub(crate) struct Refusals([Option<Refusal>; SLOTS]);

#[derive(Clone, Copy, Debug)]
struct Refusal {
    to: IpAddr,
    stride: u32,
    left: u16,
}

impl Refusals {
    pub(crate) const fn new() -> Self {
        Self([None; SLOTS])
    }

    /// Whether a run of segments of `stride` bytes to `to` is worth a super-packet. Asked once for each run.
    pub(crate) fn allow(&mut self, to: IpAddr, stride: u32) -> bool {
        let slot = &mut self.0[place(to)];
        match slot {
            Some(refusal) if refusal.to == to && stride >= refusal.stride => {
                refusal.left -= 1;
                if refusal.left == 0 {
                    *slot = None;
                }
                false
            }
            _ => true,
        }
    }

    /// Notes that a super-packet of segments of `stride` bytes to `to` was refused.
    pub(crate) fn note(&mut self, to: IpAddr, stride: u32) {
        self.0[place(to)] = Some(Refusal { to, stride, left: REST });
    }
}

fn place(to: IpAddr) -> usize {
    let folded = match to {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => ip.segments().into_iter().fold(0, |sum, part| sum ^ u32::from(part)),
    };
    (folded ^ folded >> 8 ^ folded >> 16) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_refusal_concerns_its_destination_and_longer_segments_only() {
        let mut refusals = Refusals::new();
        assert!(refusals.allow(A, 1452));
        refusals.note(A, 1452);
        assert!(!refusals.allow(A, 1452));
        assert!(!refusals.allow(A, 9000));
        assert!(refusals.allow(A, 1280));
        assert!(refusals.allow(B, 1452));
    }

    #[test]
    fn after_a_rest_it_is_tried_again() {
        let mut refusals = Refusals::new();
        refusals.note(A, 1452);
        let refused = (0..).take_while(|_| !refusals.allow(A, 1452)).count();
        assert_eq!(refused, usize::from(REST));
    }
}
