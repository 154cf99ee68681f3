//! What the Geneve header in front of a relayed datagram says, and which headers are taken for one.

/// Length of the header in bytes: always 8, since options are refused.
pub const LEN: usize = 8;

/// The Geneve header of a datagram that goes through a peer relay (RFC 8926 section 3.4, as Tailscale uses
/// it).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    vni: u32,
    control: bool,
    protocol: Protocol,
}

/// What a Geneve header says it carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum Protocol {
    /// A disco message.
    Disco = 0x7a11,
    /// A WireGuard message.
    WireGuard = 0x7a12,
}

/// Bits of the second byte.
const CONTROL: u8 = 0x80;
const CRITICAL: u8 = 0x40;
const RESERVED: u8 = 0x3f;

impl Header {
    /// A header for the virtual network `vni`; `None` if that has more than 24 bits.
    ///
    /// `control` belongs to the relay's own bind handshake (disco messages 4, 5 and 6) and to nothing that peers
    /// say to each other.
    #[must_use]
    pub const fn new(vni: u32, control: bool, protocol: Protocol) -> Option<Self> {
        if vni >> 24 == 0 { Some(Self { vni, control, protocol }) } else { None }
    }

    /// The virtual network: 24 bits, chosen by the relay server. Servers never give out 0.
    #[must_use]
    pub const fn vni(&self) -> u32 {
        self.vni
    }

    /// Whether the message is between a client and the relay server itself.
    #[must_use]
    pub const fn control(&self) -> bool {
        self.control
    }

    /// What follows the header.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The header as it stands on the wire.
    #[must_use]
    pub const fn encode(&self) -> [u8; LEN] {
        let [_, a, b, c] = self.vni.to_be_bytes();
        let [high, low] = (self.protocol as u16).to_be_bytes();
        [0, if self.control { CONTROL } else { 0 }, high, low, a, b, c, 0]
    }

    /// Reads the header at the start of a datagram and returns it with what follows, which is not looked at.
    /// Strict: version 0, no options, no critical bit, reserved bits zero, one of the two protocols.
    ///
    /// # Errors
    /// [`Refused`] says what is wrong.
    #[inline]
    pub const fn parse(datagram: &[u8]) -> Result<(Self, &[u8]), Refused> {
        let Some((&[version, flags, high, low, a, b, c, reserved], body)) = datagram.split_first_chunk()
        else {
            return Err(Refused::NotGeneve);
        };
        let protocol = match u16::from_be_bytes([high, low]) {
            0x7a11 => Protocol::Disco,
            0x7a12 => Protocol::WireGuard,
            _ => return Err(Refused::NotGeneve),
        };
        if version >> 6 != 0 || flags & RESERVED != 0 || reserved != 0 {
            return Err(Refused::Reserved);
        }
        if version != 0 || flags & CRITICAL != 0 {
            return Err(Refused::Options);
        }
        let vni = u32::from_be_bytes([0, a, b, c]);
        Ok((Self { vni, control: flags & CONTROL != 0, protocol }, body))
    }
}

impl Protocol {
    /// The number of the protocol on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

/// Why a datagram does not start with a Geneve header of ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refused {
    /// Too short, or neither protocol number is there: it is something else altogether.
    NotGeneve,
    /// Another version, or a reserved bit is set.
    Reserved,
    /// Options, or the bit that says some are critical. Tailscale sends none and skips 8 bytes whatever is
    /// announced.
    Options,
}
