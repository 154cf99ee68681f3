//! How bytes wait between a stream's owner and the task: in pieces that change hands under a short lock and are filled and
//! emptied outside of it.

use std::collections::VecDeque;

/// Most bytes that wait in one direction.
pub(super) const MOST_BYTES: usize = 256 << 10;

/// Most bytes in a piece.
pub(super) const MOST_PIECE: usize = 64 << 10;

/// The smallest piece that is made, so that few small writes make one.
const LEAST_PIECE: usize = 2 << 10;

/// Bytes in order. One side begins and commits pieces, the other takes them.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
    spare: Option<Vec<u8>>,
}

impl Chunks {
    /// How many bytes may be added.
    pub(super) const fn room(&self) -> usize {
        MOST_BYTES.saturating_sub(self.bytes)
    }

    /// Whether enough was taken to make it worth while to wake who adds.
    pub(super) const fn is_half_empty(&self) -> bool {
        self.bytes <= MOST_BYTES / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// A piece to which `len` bytes can be appended without allocating, to be given back with [`commit`](Self::commit).
    pub(super) fn begin(&mut self, len: usize) -> Vec<u8> {
        if let Some(last) = self.pieces.pop_back_if(|last| last.capacity() - last.len() >= len) {
            self.bytes -= last.len();
            return last;
        }
        match self.spare.take() {
            Some(spare) if spare.capacity() >= len => spare,
            _ => Vec::with_capacity(len.next_power_of_two().clamp(LEAST_PIECE, MOST_PIECE)),
        }
    }

    /// Appends a piece that was begun.
    pub(super) fn commit(&mut self, piece: Vec<u8>) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// The oldest piece.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    /// Gives back a piece that was emptied. It is kept only while there is traffic: a quiet stream owns no memory.
    pub(super) fn recycle(&mut self, mut piece: Vec<u8>) {
        if !self.pieces.is_empty() && piece.capacity() >= MOST_PIECE {
            piece.clear();
            self.spare = Some(piece);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(chunks: &mut Chunks, bytes: &[u8]) {
        let mut piece = chunks.begin(bytes.len());
        piece.extend_from_slice(bytes);
        chunks.commit(piece);
    }

    #[test]
    fn small_writes_share_a_piece_and_order_is_kept() {
        let mut chunks = Chunks::default();
        for i in 0..100_u8 {
            add(&mut chunks, &[i; 10]);
        }
        assert_eq!(chunks.room(), MOST_BYTES - 1000);
        assert_eq!(chunks.pieces.len(), 1);
        let piece = chunks.take().unwrap();
        assert!(piece.chunks(10).zip(0..100).all(|(ten, i)| ten == [i; 10]));
        assert_eq!(chunks.room(), MOST_BYTES);
    }

    #[test]
    fn a_quiet_stream_owns_no_memory() {
        let mut chunks = Chunks::default();
        add(&mut chunks, &[1; MOST_PIECE]);
        let piece = chunks.take().unwrap();
        chunks.recycle(piece);
        assert!(chunks.spare.is_none());
        add(&mut chunks, &[1; MOST_PIECE]);
        add(&mut chunks, &[2; MOST_PIECE]);
        let piece = chunks.take().unwrap();
        chunks.recycle(piece);
        assert!(chunks.spare.is_some());
    }
}
