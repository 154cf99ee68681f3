//! How a stream of bytes, cut anywhere, becomes frames: nothing is kept but the frame that is not whole yet.

use super::{Frame, FrameError, HEADER_LEN, Kind, MAX_FRAME, MAX_LOGIN};

/// What a [`Decoder`] accepts, beside what each type of frame allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest body of a type that is unknown, or that has no limit of its own, in bytes. It is skipped, not kept.
    pub frame: usize,
    /// Longest body of a login in bytes, at most [`MAX_LOGIN`]. So much a stranger may have us keep.
    pub login: usize,
}

impl Limits {
    /// As Tailscale's client has it: no frame above [`MAX_FRAME`].
    pub const CLIENT: Self = Self { frame: MAX_FRAME, login: MAX_LOGIN };
    /// As Tailscale's relay has it: an unknown type may have any length.
    pub const RELAY: Self = Self { frame: u32::MAX as usize, login: MAX_LOGIN };
}

/// Finds the frames in a stream that arrives in pieces.
///
/// A frame that lies whole in a piece is borrowed from there. Of one that does not, what has arrived is copied, and the
/// memory is given back when the frame was handed out: between frames a decoder owns none. Unknown types are skipped.
///
/// ```
/// use tidewire_derp::frame::{Decoder, Frame, Limits};
///
/// let mut decoder = Decoder::new(Limits::CLIENT);
/// for mut piece in [&[0x13, 0, 0, 0, 8, 1, 2, 3][..], &[4, 5, 6, 7, 8, 6, 0, 0, 0, 0]] {
///     while let Some(frame) = decoder.next(&mut piece)? {
///         assert!(matches!(frame, Frame::Pong([1, 2, 3, 4, 5, 6, 7, 8]) | Frame::KeepAlive));
///     }
/// }
/// # Ok::<(), tidewire_derp::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// Header and body, as far as they arrived, of a frame that no single piece held.
    partial: Vec<u8>,
    /// `partial` was handed out and is to be forgotten.
    spent: bool,
    /// Bytes of the stream that mean nothing.
    skip: usize,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, partial: Vec::new(), spent: false, skip: 0 }
    }

    /// The next frame, taken off the front of `input`; `None` when `input` is used up.
    ///
    /// # Errors
    /// [`FrameError`] for a frame that is refused. The decoder then stands behind that frame, so a lax caller may go on.
    pub fn next<'d, 'i: 'd>(&'d mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'d>>, FrameError> {
        if self.spent {
            self.partial = Vec::new();
            self.spent = false;
        }
        match self.find(input)? {
            Found::Nothing => Ok(None),
            Found::InInput(kind, body) => Frame::parse(kind, body).map(Some),
            Found::InPartial(kind) => {
                self.spent = true;
                Frame::parse(kind, self.partial.get(HEADER_LEN..).unwrap_or_default()).map(Some)
            }
        }
    }

    /// Whether the stream stands between two frames: an end here cuts nothing off.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.skip == 0 && (self.spent || self.partial.is_empty())
    }

    /// Bytes of memory in use for a frame that is not whole yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.capacity()
    }

    fn find<'i>(&mut self, input: &mut &'i [u8]) -> Result<Found<'i>, FrameError> {
        loop {
            self.skip -= take(input, self.skip).len();
            if self.skip > 0 || input.is_empty() {
                return Ok(Found::Nothing);
            }
            if !self.partial.is_empty() {
                match self.complete(input)? {
                    Some(found) => return Ok(found),
                    None => continue,
                }
            }
            let Some((header, rest)) = input.split_first_chunk() else {
                self.partial.extend_from_slice(take(input, HEADER_LEN));
                return Ok(Found::Nothing);
            };
            let shape = self.shape(header);
            let wanted = shape.wanted();
            if rest.len() < wanted {
                // Grown by what arrives, not by what a header promises: a stranger's promise is free.
                self.partial.extend_from_slice(take(input, input.len()));
                return Ok(Found::Nothing);
            }
            *input = rest;
            let body = take(input, wanted);
            if let Some(kind) = self.pass(shape)? {
                return Ok(Found::InInput(kind, body));
            }
        }
    }

    /// Goes on with the frame in `partial`; `None` if it turned out to be one that is skipped.
    fn complete<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Found<'i>>, FrameError> {
        let missing = HEADER_LEN.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(take(input, missing));
        let Some(header) = self.partial.first_chunk() else { return Ok(Some(Found::Nothing)) };
        let shape = self.shape(header);
        let whole = HEADER_LEN + shape.wanted();
        self.partial.extend_from_slice(take(input, whole - self.partial.len()));
        if self.partial.len() < whole {
            return Ok(Some(Found::Nothing));
        }
        let passed = self.pass(shape);
        if !matches!(passed, Ok(Some(_))) {
            self.partial = Vec::new();
        }
        Ok(passed?.map(Found::InPartial))
    }

    /// Steps behind what is wanted of a frame: says which known type it is, and skips the rest.
    fn pass(&mut self, shape: Shape) -> Result<Option<Kind>, FrameError> {
        match shape {
            Shape::Known { kind, wanted, len } => {
                self.skip = len - wanted;
                Ok(Some(kind))
            }
            Shape::Skipped { len } => {
                self.skip = len;
                Ok(None)
            }
            Shape::Refused { len, error } => {
                self.skip = len;
                Err(error)
            }
        }
    }

    fn shape(&self, header: &[u8; HEADER_LEN]) -> Shape {
        let [kind_byte, a, b, c, d] = *header;
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        let kind = Kind::from_byte(kind_byte);
        let max = match kind {
            Some(Kind::ClientInfo | Kind::ServerInfo) => self.limits.login.min(MAX_LOGIN),
            Some(kind) => kind.max_len().unwrap_or(self.limits.frame),
            None => self.limits.frame,
        };
        if len > max {
            return Shape::Refused { len, error: FrameError::TooLong { kind: kind_byte, len, max } };
        }
        let Some(kind) = kind else { return Shape::Skipped { len } };
        let min = kind.min_len();
        if len < min {
            return Shape::Refused { len, error: FrameError::TooShort { kind, len, min } };
        }
        Shape::Known { kind, wanted: kind.meaningful(len), len }
    }
}

/// What a header says about the body behind it.
enum Shape {
    Known { kind: Kind, wanted: usize, len: usize },
    Skipped { len: usize },
    Refused { len: usize, error: FrameError },
}

impl Shape {
    /// How many bytes behind the header must be there before the frame can be handed out or passed.
    const fn wanted(&self) -> usize {
        match self {
            Self::Known { wanted, .. } => *wanted,
            Self::Skipped { .. } | Self::Refused { .. } => 0,
        }
    }
}

enum Found<'i> {
    Nothing,
    InInput(Kind, &'i [u8]),
    InPartial(Kind),
}

/// The first `count` bytes of `input`, or all there are, taken off it.
fn take<'i>(input: &mut &'i [u8], count: usize) -> &'i [u8] {
    let (head, tail) = input.split_at(count.min(input.len()));
    *input = tail;
    head
}
