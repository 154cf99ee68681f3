//! How any bytes are read as a script: single bytes, numbers, and pieces with their length in front. All of them mean something.

/// What is left of a script.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The next byte; `None` at the end.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// Two bytes; what is missing at the end is zero.
    pub(crate) fn number(&mut self) -> u16 {
        let high = self.byte().unwrap_or(0);
        u16::from_be_bytes([high, self.byte().unwrap_or(0)])
    }

    /// A piece of up to 65,535 bytes behind its length, or what is left.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.number());
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }
}
