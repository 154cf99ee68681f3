//! How wall time enters: as the time at a base instant, from which every handshake stamp is counted, and only ever forward.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

/// Makes the stamps of WireGuard handshakes, each later than the one before.
///
/// The wall clock is read when this is made. From then on the caller says how much time has gone by since, on
/// its monotonic clock; so a wall clock that is set back cannot make a stamp that a peer refuses as a replay.
/// One that was behind and is set forward is followed by [`raise`](Self::raise).
#[derive(Debug)]
pub struct Epoch {
    base: Duration,
    last: Option<Tai64N>,
}

impl Epoch {
    /// An epoch that begins at the wall time `unix` (since 1970, UTC), which is the caller's base instant.
    #[must_use]
    pub fn new(unix: Duration) -> Self {
        Self { base: unix, last: None }
    }

    /// The same, but no stamp will be at or below `floor`: a stamp sent before the program was restarted, or
    /// anything later.
    ///
    /// A floor in the future costs nothing: stamps go on from it in steps until the clock has passed it.
    #[must_use]
    pub fn with_floor(mut self, floor: Tai64N) -> Self {
        self.last = self.last.max(Some(floor));
        self
    }

    /// Takes another look at the wall clock, which shows `unix` at `since_base` after the base instant. Stamps go
    /// on from there if it is ahead of them; if it is not, nothing changes.
    pub fn raise(&mut self, unix: Duration, since_base: Duration) {
        self.base = self.base.max(unix.saturating_sub(since_base));
    }

    /// The stamp for a handshake sent `since_base` after the base instant. It is later than every stamp
    /// before it and than the floor; where time stands still, or goes back, by one step of 2^24 ns (16.8 ms).
    ///
    /// The one exception is a floor in the last second before [`Tai64N::MAX`], hundreds of billions of years
    /// away, which only a broken file holds: there every stamp may be `MAX`.
    #[must_use]
    pub fn stamp(&mut self, since_base: Duration) -> Tai64N {
        let stamp = Tai64N::from_unix(self.base.saturating_add(since_base)).whitened();
        let stamp = self.last.map_or(stamp, |last| stamp.max(last.next_step()));
        self.last = Some(stamp);
        stamp
    }

    /// The last stamp made, or the floor: what to keep (see [`Tai64N::round_up`]) for the next start.
    #[must_use]
    pub fn last(&self) -> Option<Tai64N> {
        self.last
    }
}

/// A TAI64N label as it stands in a handshake initiation: 8 bytes of seconds and 4 of nanoseconds, both big
/// endian.
///
/// Seconds count from 2^62 + 37 at the Unix epoch. Others use 2^62 + 10; taking the larger one, a stamp is
/// never older than what another implementation left behind with the same key. Labels compare as their bytes
/// do, so those of a peer need not be valid times.
///
/// `Display` writes the customary external form, `@` and 24 hex digits, which `FromStr` reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tai64N([u8; 12]);

/// Seconds of the label at the Unix epoch: 2^62, and the TAI offset of 2017.
const UNIX_EPOCH: u64 = (1 << 62) + 37;
/// Nanoseconds below this are cleared, so that stamps do not leak a fine clock (as wireguard-go does).
const WHITENING: u32 = 1 << 24;
const NANOS_PER_SEC: u32 = 1_000_000_000;

impl Tai64N {
    /// Length of a label on the wire, in bytes.
    pub const LEN: usize = 12;
    /// The latest label.
    pub const MAX: Self = Self([0xff; 12]);

    /// Takes a label as it stands on the wire; any bytes are one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// The label as it stands on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 12] {
        self.0
    }

    /// The label of a wall time, to the nanosecond; [`MAX`](Self::MAX) for times no label reaches.
    #[must_use]
    pub fn from_unix(unix: Duration) -> Self {
        UNIX_EPOCH.checked_add(unix.as_secs()).map_or(Self::MAX, |secs| Self::join(secs, unix.subsec_nanos()))
    }

    /// The wall time of the label, if it is one: not before 1970, and with less than a second of nanoseconds.
    #[must_use]
    pub fn to_unix(self) -> Option<Duration> {
        let (secs, nanos) = self.split();
        (nanos < NANOS_PER_SEC).then_some(Duration::new(secs.checked_sub(UNIX_EPOCH)?, nanos))
    }

    /// The first multiple of `step` that is not before this label: what to keep in a file, so that the file
    /// is written once per `step` and not once per handshake.
    ///
    /// It is never earlier than the label and less than `step` later (counting a label of more than a second
    /// of nanoseconds as the time that it amounts to), so after a restart stamps run ahead of the clock by
    /// less than `step`. A step of zero changes nothing; the result never exceeds [`MAX`](Self::MAX).
    #[must_use]
    pub fn round_up(self, step: Duration) -> Self {
        let step = step.as_nanos();
        if step == 0 {
            return self;
        }
        let (secs, nanos) = self.split();
        let per_sec = u128::from(NANOS_PER_SEC);
        let total = (u128::from(secs) * per_sec + u128::from(nanos)).div_ceil(step).saturating_mul(step);
        u64::try_from(total / per_sec).map_or(Self::MAX, |secs| Self::join(secs, (total % per_sec) as u32))
    }

    fn whitened(self) -> Self {
        let (secs, nanos) = self.split();
        Self::join(secs, nanos - nanos % WHITENING)
    }

    /// The first whitened label after this one.
    fn next_step(self) -> Self {
        let (secs, nanos) = self.split();
        match (nanos - nanos % WHITENING).checked_add(WHITENING) {
            Some(nanos) if nanos < NANOS_PER_SEC => Self::join(secs, nanos),
            _ => secs.checked_add(1).map_or(Self::MAX, |secs| Self::join(secs, 0)),
        }
    }

    fn split(self) -> (u64, u32) {
        let [a, b, c, d, e, f, g, h, nanos @ ..] = self.0;
        (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes(nanos))
    }

    fn join(secs: u64, nanos: u32) -> Self {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&secs.to_be_bytes());
        bytes[8..].copy_from_slice(&nanos.to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Debug for Tai64N {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Tai64N {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = self.split();
        write!(f, "@{secs:016x}{nanos:08x}")
    }
}

impl FromStr for Tai64N {
    type Err = StampError;

    fn from_str(text: &str) -> Result<Self, StampError> {
        let digits = text.strip_prefix('@').filter(|digits| digits.len() == 24).ok_or(StampError)?;
        // from_str_radix alone would take a sign.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(StampError);
        }
        let (secs, nanos) = digits.split_at(16);
        let secs = u64::from_str_radix(secs, 16).map_err(|_| StampError)?;
        let nanos = u32::from_str_radix(nanos, 16).map_err(|_| StampError)?;
        Ok(Self::join(secs, nanos))
    }
}

/// The text is no TAI64N label. The configuration is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a TAI64N label: `@` and 24 hex digits")]
pub struct StampError;
