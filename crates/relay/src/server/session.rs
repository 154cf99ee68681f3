//! TLS without a socket: records in, records out, in buffers that all connections share.

use rustls::{
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus},
};

/// One connection's TLS state.
pub(super) struct Session {
    connection: UnbufferedServerConnection,
    /// Plaintext may be sent.
    is_open: bool,
}

/// A buffer of fixed length, filled from the front.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Box<[u8]>,
    len: usize,
}

/// What came of some input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    /// So many bytes are done with; the rest is a record that is not whole.
    pub(super) used: usize,
    /// The other end said that nothing will follow.
    pub(super) is_closed: bool,
}

/// TLS failed; the connection ends. The reason was TLS's own, or the output buffer was too small.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed;

impl Session {
    pub(super) const fn new(connection: UnbufferedServerConnection) -> Self {
        Self { connection, is_open: false }
    }

    /// Whether plaintext may be sealed.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Opens the records at the front of `input`, which is overwritten; `plain` gets what was in them. What TLS itself has
    /// to say goes to `output`, also when it failed.
    pub(super) fn open(
        &mut self,
        input: &mut [u8],
        output: &mut Output,
        mut plain: impl FnMut(&[u8]),
    ) -> Result<Opened, Failed> {
        let mut opened = Opened { used: 0, is_closed: false };
        loop {
            let rest = input.get_mut(opened.used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let mut goes_on = true;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|_| Failed)?;
                        discard += record.discard;
                        plain(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => output.fill(|room| data.encode(room))?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.is_open = true;
                    goes_on = false;
                }
                Ok(ConnectionState::PeerClosed) => opened.is_closed = true,
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => goes_on = false,
                Ok(_) => return Err(Failed),
                Err(_) => {
                    self.take_alert(output);
                    return Err(Failed);
                }
            }
            opened.used += discard;
            if !goes_on {
                return Ok(opened);
            }
        }
    }

    /// Seals `plain` into records at the end of `output`.
    pub(super) fn seal(&mut self, plain: &[u8], output: &mut Output) -> Result<(), Failed> {
        loop {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return output.fill(|room| traffic.encrypt(plain, room));
                }
                // A key update: it leaves before what it does not protect.
                Ok(ConnectionState::EncodeTlsData(mut data)) => output.fill(|room| data.encode(room))?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return Err(Failed),
            }
        }
    }

    /// Says at the end of `output` that nothing will follow.
    pub(super) fn close(&mut self, output: &mut Output) {
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
            self.connection.process_tls_records(&mut []).state
        {
            // Without it the other end sees the stream cut off, which is how it takes it anyway.
            let _ = output.fill(|room| traffic.queue_close_notify(room));
        }
    }

    fn take_alert(&mut self, output: &mut Output) {
        if let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.connection.process_tls_records(&mut []).state
        {
            // As above.
            let _ = output.fill(|room| data.encode(room));
        }
    }
}

impl Output {
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), len: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn fill<E: IsFull>(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), Failed> {
        match write(self.bytes.get_mut(self.len..).unwrap_or_default()) {
            Ok(count) => {
                self.len += count;
                Ok(())
            }
            Err(error) => {
                debug_assert!(
                    !error.is_full(),
                    "the output buffer holds the longest that is ever sealed at once"
                );
                Err(Failed)
            }
        }
    }
}

trait IsFull {
    fn is_full(&self) -> bool;
}

impl IsFull for EncodeError {
    fn is_full(&self) -> bool {
        matches!(self, Self::InsufficientSize(InsufficientSizeError { .. }))
    }
}

impl IsFull for EncryptError {
    fn is_full(&self) -> bool {
        matches!(self, Self::InsufficientSize(InsufficientSizeError { .. }))
    }
}
