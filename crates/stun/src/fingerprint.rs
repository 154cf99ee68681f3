//! The checksum at the end of a STUN request.

/// The value of a FINGERPRINT attribute behind `message`, whose header already counts the attribute: CRC-32
/// as in zlib, XORed with a constant (RFC 8489 section 14.7).
pub(crate) fn fingerprint(message: &[u8]) -> u32 {
    let crc = message.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ TABLE[usize::from(low ^ byte)]
    });
    !crc ^ 0x5354_554e
}

/// What each byte adds to the checksum.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};
