//! What one allocation is: a size class, the bytes, and the way home to the pool.

use bytes::BytesMut;

use crate::pool::Pool;

/// Sizes of slabs. A packet that waits lives in a `Small`; one read of a device or one GSO send is a `Send`; one
/// `recvmmsg` of GRO buffers is a `Receive`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// 2 KiB: one packet of an ordinary MTU, with its room.
    Small,
    /// 64 KiB and the room of 47 segments: what one TSO read holds after it was cut.
    Send,
    /// 32 buffers of 64 KiB; the kernel backs only what is touched.
    Receive,
}

impl Class {
    /// Every class, in the order of size.
    pub const ALL: [Self; 3] = [Self::Small, Self::Send, Self::Receive];

    /// Capacity of a slab of this class, in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Small => 2 * 1024,
            Self::Send => 64 * 1024 + 48 * 64,
            Self::Receive => 32 * 64 * 1024,
        }
    }

    /// The smallest class that holds `bytes`, or the largest there is.
    #[must_use]
    pub const fn holding(bytes: usize) -> Self {
        if bytes <= Self::Small.bytes() {
            Self::Small
        } else if bytes <= Self::Send.bytes() {
            Self::Send
        } else {
            Self::Receive
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Small => 0,
            Self::Send => 1,
            Self::Receive => 2,
        }
    }
}

/// A block of memory, zeroed once when it was made, whose length never changes: what is filled is said by spans.
///
/// Returns to its pool when dropped. A slab that was cut in two does not; its memory is freed with the last part.
#[derive(Default)]
pub struct Slab {
    bytes: BytesMut,
    home: Option<(Pool, Class)>,
}

impl Slab {
    pub(crate) fn new(bytes: BytesMut, pool: Pool, class: Class) -> Self {
        debug_assert_eq!(bytes.len(), class.bytes());
        Self { bytes, home: Some((pool, class)) }
    }

    /// Capacity in bytes. Zero for the slab of an empty batch.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no memory behind this slab.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The pool this slab came from, if any.
    #[must_use]
    pub fn pool(&self) -> Option<&Pool> {
        self.home.as_ref().map(|(pool, _)| pool)
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Cuts the slab at `at`: this part keeps the front, the returned part has the rest. Copies nothing.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        Self { bytes: self.bytes.split_off(at), home: self.home.clone() }
    }

    /// Joins `rest` behind this slab if the two were cut from one, without copying; else gives `rest` back.
    pub(crate) fn join(&mut self, mut rest: Self) -> Result<(), Self> {
        let adjacent = core::ptr::eq(self.bytes.as_ptr_range().end, rest.bytes.as_ptr());
        let shared = self.home.as_ref().map(|(_, c)| *c) == rest.home.as_ref().map(|(_, c)| *c);
        if !(adjacent && shared) || self.len() + rest.len() > self.home.as_ref().map_or(0, |(_, c)| c.bytes())
        {
            return Err(rest);
        }
        self.bytes.unsplit(core::mem::take(&mut rest.bytes));
        Ok(())
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if let Some((pool, class)) = self.home.take()
            && self.bytes.len() == class.bytes()
        {
            pool.give(core::mem::take(&mut self.bytes), class);
        }
    }
}

impl core::fmt::Debug for Slab {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Slab").field("len", &self.len()).finish_non_exhaustive()
    }
}
