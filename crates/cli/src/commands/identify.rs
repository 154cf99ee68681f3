//! `tidewire identify`: which protocol a datagram is, or how many of each kind a capture holds.

use std::{fs::File, path::Path};

use anyhow::{Context, Result, bail};
use clap::Args;
use pcap_file::{
    DataLink,
    pcap::PcapReader,
    pcapng::{Block, PcapNgReader},
};
use serde::Serialize;
use tidewire_packet::{IpHeader, protocol};
use tidewire_packet_ident::{Ident, Kind, Message, identify};

use crate::output::{print, print_json};

/// Says which protocol a datagram is, or counts those of a capture
#[derive(Debug, Args)]
pub(crate) struct Identify {
    /// A capture (pcap or pcapng), or the bytes of one UDP payload in hex
    #[arg(value_name = "FILE.pcap|HEX")]
    what: String,
    /// Print one JSON object on one line
    #[arg(long)]
    json: bool,
}

impl Identify {
    pub(crate) fn run(&self) -> Result<()> {
        let path = Path::new(&self.what);
        if path.exists() { self.capture(path) } else { self.datagram() }
    }

    fn datagram(&self) -> Result<()> {
        let bytes = from_hex(&self.what)?;
        let answer = Answer::of(&bytes);
        if self.json {
            return print_json(&answer);
        }
        let message = answer.message.map(|message| format!(" {message}")).unwrap_or_default();
        let geneve =
            answer.geneve.as_ref().map(|g| format!(", inside Geneve (VNI {})", g.vni)).unwrap_or_default();
        print(format_args!("{}{message}{geneve}, {} bytes: {}", answer.kind, answer.length, answer.reason))
    }

    fn capture(&self, path: &Path) -> Result<()> {
        let mut count = Count::default();
        let mut frames = Frames::default();
        read_frames(path, |link, frame| match udp_payload(link, frame) {
            Some(payload) => count.add(identify(payload).kind),
            None => frames.other += 1,
        })
        .with_context(|| format!("{} cannot be read as a capture", path.display()))?;
        if self.json {
            return print_json(&count);
        }
        let ByKind { stun, disco, wireguard, unknown } = count.by_kind;
        print(format_args!(
            "{} datagrams: {stun} stun, {disco} disco, {wireguard} wireguard, {unknown} unknown ({} other frames)",
            count.total, frames.other
        ))
    }
}

#[derive(Default)]
struct Frames {
    other: u64,
}

/// What is said of one datagram.
#[derive(Serialize, Debug, PartialEq)]
struct Answer {
    kind: &'static str,
    message: Option<&'static str>,
    geneve: Option<Geneve>,
    length: usize,
    reason: String,
}

#[derive(Serialize, Debug, PartialEq)]
struct Geneve {
    vni: u32,
    control: bool,
    protocol: String,
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let Ident { kind, geneve } = identify(bytes);
        let (name, message, reason) = match kind {
            Kind::Stun => ("stun", None, "binding message: magic cookie at byte 4".to_owned()),
            Kind::Disco => ("disco", None, "starts with the disco magic".to_owned()),
            Kind::WireGuard(message) => ("wireguard", Some(name_of(message)), why(message).to_owned()),
            Kind::Unknown(reason) => ("unknown", None, reason.to_string()),
        };
        let geneve = geneve.map(|header| Geneve {
            vni: header.vni(),
            control: header.control(),
            protocol: format!("{:#06x}", header.protocol() as u16),
        });
        Self { kind: name, message, geneve, length: bytes.len(), reason }
    }
}

/// How many datagrams of each kind.
#[derive(Serialize, Default, Debug, PartialEq)]
struct Count {
    total: u64,
    by_kind: ByKind,
}

#[derive(Serialize, Default, Debug, PartialEq)]
struct ByKind {
    stun: u64,
    disco: u64,
    wireguard: u64,
    unknown: u64,
}

impl Count {
    fn add(&mut self, kind: Kind) {
        self.total += 1;
        *match kind {
            Kind::Stun => &mut self.by_kind.stun,
            Kind::Disco => &mut self.by_kind.disco,
            Kind::WireGuard(_) => &mut self.by_kind.wireguard,
            Kind::Unknown(_) => &mut self.by_kind.unknown,
        } += 1;
    }
}

const fn name_of(message: Message) -> &'static str {
    match message {
        Message::Initiation => "initiation",
        Message::Response => "response",
        Message::Cookie => "cookie",
        Message::Data => "data",
    }
}

const fn why(message: Message) -> &'static str {
    match message {
        Message::Initiation => "type 1, three zero bytes, exactly 148 bytes",
        Message::Response => "type 2, three zero bytes, exactly 92 bytes",
        Message::Cookie => "type 3, three zero bytes, exactly 64 bytes",
        Message::Data => "type 4, three zero bytes, at least 32 bytes",
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b':').collect();
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| Some(value(*pair.first()?)? << 4 | value(*pair.get(1)?)?)).collect();
    match bytes {
        Some(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => bail!("`{text}` is neither a file nor an even number of hex digits"),
    }
}

/// Calls `each` with every frame of a capture, whichever of the two formats it has.
fn read_frames(path: &Path, mut each: impl FnMut(DataLink, &[u8])) -> Result<()> {
    if let Ok(mut reader) = PcapReader::new(File::open(path)?) {
        let link = reader.header().datalink;
        while let Some(packet) = reader.next_packet() {
            each(link, &packet?.data);
        }
        return Ok(());
    }
    let mut reader = PcapNgReader::new(File::open(path)?)?;
    let mut links = Vec::new();
    while let Some(block) = reader.next_block() {
        match block? {
            Block::InterfaceDescription(interface) => links.push(interface.linktype),
            Block::EnhancedPacket(packet) => {
                if let Some(link) = links.get(packet.interface_id as usize) {
                    each(*link, &packet.data);
                }
            }
            Block::SimplePacket(packet) => {
                if let Some(link) = links.first() {
                    each(*link, &packet.data);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The payload of the UDP datagram in a frame; `None` for everything else, fragments included.
fn udp_payload(link: DataLink, frame: &[u8]) -> Option<&[u8]> {
    let ip = match link {
        DataLink::ETHERNET => ethernet(frame)?,
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => frame,
        DataLink::LINUX_SLL => frame.get(16..)?,
        DataLink::LINUX_SLL2 => frame.get(20..)?,
        DataLink::NULL | DataLink::LOOP => frame.get(4..)?,
        _ => return None,
    };
    let header = IpHeader::parse(ip).ok()?;
    header.ports(ip)?;
    if header.protocol() != protocol::UDP {
        return None;
    }
    let udp = ip.get(header.header_len()..header.total_len())?;
    let len = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    udp.get(8..len)
}

/// What follows the Ethernet header, and up to two VLAN tags.
fn ethernet(frame: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    for _ in 0..3 {
        let kind = u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]);
        match kind {
            0x0800 | 0x86dd => return frame.get(at + 2..),
            0x8100 | 0x88a8 => at += 4,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp_in_ipv4(payload: &[u8]) -> Vec<u8> {
        let total = u16::try_from(28 + payload.len()).unwrap().to_be_bytes();
        let len = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
        let mut packet =
            vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend_from_slice(&[0, 1, 0, 2, len[0], len[1], 0, 0]);
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn a_datagram_is_explained_in_the_agreed_form() {
        let mut keepalive = vec![4, 0, 0, 0];
        keepalive.resize(32, 7);
        let json = serde_json::to_string(&Answer::of(&keepalive)).unwrap();
        assert_eq!(
            json,
            r#"{"kind":"wireguard","message":"data","geneve":null,"length":32,"reason":"type 4, three zero bytes, at least 32 bytes"}"#
        );
        let mut wrapped = vec![0, 0, 0x7a, 0x12, 0, 0, 7, 0];
        wrapped.extend_from_slice(&keepalive);
        let json = serde_json::to_string(&Answer::of(&wrapped)).unwrap();
        assert!(
            json.contains(r#""geneve":{"vni":7,"control":false,"protocol":"0x7a12"},"length":40"#),
            "{json}"
        );
    }

    #[test]
    fn hex_may_have_spaces_and_colons_and_nothing_else() {
        assert_eq!(from_hex("04 00:0a").unwrap(), [4, 0, 10]);
        for bad in ["", "0", "0g", "zz"] {
            assert!(from_hex(bad).is_err());
        }
    }

    #[test]
    fn every_link_type_leads_to_the_same_payload() {
        let ip = udp_in_ipv4(&[1, 2, 3]);
        let framed = |front: &[u8]| [front, &ip].concat();
        let mut ethernet = vec![0; 12];
        let mut tagged = ethernet.clone();
        ethernet.extend_from_slice(&[8, 0]);
        tagged.extend_from_slice(&[0x81, 0, 0, 5, 8, 0]);
        for (link, frame) in [
            (DataLink::RAW, ip.clone()),
            (DataLink::ETHERNET, framed(&ethernet)),
            (DataLink::ETHERNET, framed(&tagged)),
            (DataLink::LINUX_SLL, framed(&[0; 16])),
            (DataLink::LINUX_SLL2, framed(&[0; 20])),
        ] {
            assert_eq!(udp_payload(link, &frame), Some(&[1u8, 2, 3][..]));
        }
        assert_eq!(udp_payload(DataLink::RAW, &ip[..27]), None);
    }

    #[test]
    fn captures_of_both_formats_are_counted() {
        use pcap_file::{
            pcap::{PcapHeader, PcapPacket, PcapWriter},
            pcapng::{
                PcapNgWriter,
                blocks::{
                    enhanced_packet::EnhancedPacketBlock, interface_description::InterfaceDescriptionBlock,
                },
            },
        };
        let mut handshake = vec![1, 0, 0, 0];
        handshake.resize(148, 0);
        let frames = [udp_in_ipv4(&handshake), udp_in_ipv4(&[9; 20]), vec![0x60; 3]];
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("old.pcap");
        let header = PcapHeader { datalink: DataLink::RAW, ..Default::default() };
        let mut writer = PcapWriter::with_header(File::create(&old).unwrap(), header).unwrap();
        for frame in &frames {
            let packet =
                PcapPacket::new(std::time::Duration::ZERO, u32::try_from(frame.len()).unwrap(), frame);
            writer.write_packet(&packet).unwrap();
        }
        let new = dir.path().join("new.pcapng");
        let mut writer = PcapNgWriter::new(File::create(&new).unwrap()).unwrap();
        writer.write_pcapng_block(InterfaceDescriptionBlock::new(DataLink::RAW, 65535)).unwrap();
        for frame in &frames {
            let block = EnhancedPacketBlock {
                interface_id: 0,
                timestamp: std::time::Duration::ZERO,
                original_len: u32::try_from(frame.len()).unwrap(),
                data: frame.as_slice().into(),
                options: Vec::new(),
            };
            writer.write_pcapng_block(block).unwrap();
        }
        drop(writer);
        for path in [old, new] {
            let mut count = Count::default();
            read_frames(&path, |link, frame| {
                if let Some(payload) = udp_payload(link, frame) {
                    count.add(identify(payload).kind);
                }
            })
            .unwrap();
            assert_eq!(
                serde_json::to_string(&count).unwrap(),
                r#"{"total":2,"by_kind":{"stun":0,"disco":0,"wireguard":1,"unknown":1}}"#
            );
        }
    }
}
