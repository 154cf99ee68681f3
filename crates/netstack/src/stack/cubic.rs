//! How the congestion window grows once a path's limit was met: CUBIC (RFC 9438).

use std::time::{Duration, Instant};

/// What of the window is kept after a loss.
const BETA: f64 = 0.7;

/// How steep the curve is, in segments per second cubed.
const C: f64 = 0.4;

/// How fast the window grows that is fair to Reno, in segments a round trip (4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// The state of the curve; windows in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Cubic {
    /// The window before the last loss.
    most: f64,
    epoch: Option<Epoch>,
}

#[derive(Clone, Debug)]
struct Epoch {
    began: Instant,
    /// Seconds until the curve is back at `most`.
    k: f64,
    /// What Reno's window would be.
    friendly: f64,
}

impl Cubic {
    /// A loss was met with `window` bytes. Returns the window to go on with, before any floor.
    pub(super) fn reduce(&mut self, window: u32) -> u32 {
        let window = f64::from(window);
        // Fast convergence (4.7): a flow that is losing ground leaves it to the others.
        self.most = if window < self.most { window * (1.0 + BETA) / 2.0 } else { window };
        self.epoch = None;
        (window * BETA) as u32
    }

    /// Time that passed without anything to send does not move the curve (4.2).
    pub(super) fn pause(&mut self, idle: Duration) {
        if let Some(epoch) = &mut self.epoch {
            epoch.began += idle;
        }
    }

    /// The window after `acked` bytes more were acknowledged. `rtt` is the smoothed round trip.
    pub(super) fn grow(&mut self, now: Instant, window: u32, acked: u32, mss: u32, rtt: Duration) -> u32 {
        let (window, acked, mss) = (f64::from(window), f64::from(acked), f64::from(mss));
        let most = &mut self.most;
        let epoch = self.epoch.get_or_insert_with(|| {
            *most = most.max(window);
            Epoch { began: now, k: ((*most - window) / mss / C).cbrt(), friendly: window }
        });
        let elapsed = now.saturating_duration_since(epoch.began).as_secs_f64();
        let curve = |t: f64| C * mss * (t - epoch.k).powi(3) + *most;
        let alpha = if epoch.friendly >= *most { 1.0 } else { ALPHA };
        epoch.friendly += alpha * mss * acked / window;
        let next = if curve(elapsed) < epoch.friendly {
            epoch.friendly
        } else {
            let target = curve(elapsed + rtt.as_secs_f64()).clamp(window, 1.5 * window);
            window + (target - window) * acked / window
        };
        next.max(window) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1240;
    const RTT: Duration = Duration::from_millis(50);

    #[allow(clippy::disallowed_methods)]
    fn t0() -> Instant {
        Instant::now()
    }

    /// The window after `time` of full use.
    fn after(cubic: &mut Cubic, mut window: u32, from: Instant, time: Duration) -> u32 {
        let rounds = time.as_millis() / RTT.as_millis();
        for round in 0..rounds {
            let now = from + RTT * u32::try_from(round).unwrap();
            for _ in 0..window / MSS {
                window = cubic.grow(now, window, MSS, MSS, RTT);
            }
        }
        window
    }

    #[test]
    fn the_window_comes_back_after_k_and_then_goes_beyond() {
        let mut cubic = Cubic::default();
        let before = 400 * MSS;
        let window = cubic.reduce(before);
        assert_eq!(window / MSS, 280);
        let k = (400.0 * (1.0 - BETA) / C).cbrt();
        let (now, back) = (t0(), Duration::from_secs_f64(k));
        let at_k = after(&mut cubic, window, now, back);
        assert!(at_k > before * 9 / 10 && at_k < before * 11 / 10, "{} segments", at_k / MSS);
        let later = after(&mut cubic, at_k, now + back, back);
        assert!(later > before * 12 / 10, "{} segments", later / MSS);
    }

    #[test]
    fn a_small_window_grows_no_slower_than_renos() {
        let mut cubic = Cubic::default();
        let window = cubic.reduce(20 * MSS);
        let grown = after(&mut cubic, window, t0(), RTT * 40);
        assert!(grown >= window + 15 * MSS, "{} segments", grown / MSS);
    }

    #[test]
    fn a_window_never_shrinks_by_growing() {
        let mut cubic = Cubic::default();
        let mut window = cubic.reduce(1000 * MSS);
        let now = t0();
        for i in 0..10_000 {
            let next = cubic.grow(now + Duration::from_millis(i), window, MSS, MSS, RTT);
            assert!(next >= window && next <= window + MSS);
            window = next;
        }
    }
}
