//! Every way in which a packet can end in the core has a reason that is counted.

mod common;

use common::{Pair, addr, batch, core, packet, peer, secret, t0};
use tidewire_dataplane::{Change, Filter, Out, PeerUpdate, Reason, Refused};
use tidewire_packet::{Batch, Pool};
use tidewire_transport::{FromOverlay, FromUnderlay, Hop, OverlayId, RegionId};

fn counted(pair: &mut Pair, in_b: bool, reason: Reason) -> u64 {
    if in_b { pair.b.counters().discarded(reason) } else { pair.a.counters().discarded(reason) }
}

#[test]
fn what_is_no_packet_for_anybody_ends_with_its_reason() {
    let mut pair = Pair::connected();
    let mut version = packet(1, 2, 100);
    version[0] = 0x15;
    let mut length = packet(1, 2, 100);
    length[3] = 101;
    for (packet, reason) in [
        (vec![0x45; 5], Reason::IpShort),
        (version, Reason::IpVersion),
        (length, Reason::IpLength),
        (packet(1, 2, 1281), Reason::TooLong),
        (packet(1, 9, 100), Reason::NoRoute),
    ] {
        let batch = batch(&pair.pool, &[packet]);
        assert_eq!(pair.carry(true, batch), 0);
        assert_eq!(counted(&mut pair, false, reason), 1, "{reason}");
    }
}

#[test]
fn padding_behind_the_true_length_does_not_travel() {
    let mut pair = Pair::connected();
    let mut padded = packet(1, 2, 100);
    padded.resize(150, 0xee);
    let mut item = FromOverlay { from: OverlayId(0), batch: batch(&pair.pool, &[padded]) };
    let mut out = Out::default();
    pair.a.process_outbound(t0(), &mut item, &mut out);
    assert_eq!(out.to_underlay[0].batch.get(0).map(<[u8]>::len), Some(112 + 32));
}

#[test]
fn a_source_that_is_not_the_peers_own_is_spoofed() {
    let mut pair = Pair::connected();
    let batch = batch(&pair.pool, &[packet(7, 2, 100), packet(1, 2, 100)]);
    assert_eq!(pair.carry(true, batch), 1, "its neighbour in the batch arrives");
    assert_eq!(counted(&mut pair, true, Reason::Spoofed), 1);
}

#[test]
fn who_owns_a_wide_prefix_may_not_send_from_a_narrow_one_of_another() {
    let mut pair = Pair::connected();
    let (mut wide, mut narrow) = (peer(1), peer(3));
    wide.prefixes = vec!["0.0.0.0/0".parse().unwrap(), "100.64.0.0/24".parse().unwrap()];
    narrow.prefixes = vec!["100.64.0.3/32".parse().unwrap(), "100.64.0.8/29".parse().unwrap()];
    pair.b.apply(t0(), Change::Peers(vec![wide, narrow]), &mut Out::default()).unwrap();
    for (from, delivered) in [(1, 1), (3, 0), (7, 1), (8, 0), (15, 0), (16, 1)] {
        let spoofed = counted(&mut pair, true, Reason::Spoofed);
        let batch = batch(&pair.pool, &[packet(from, 2, 100)]);
        assert_eq!(pair.carry(true, batch), delivered, "from {from}");
        assert_eq!(counted(&mut pair, true, Reason::Spoofed) - spoofed, 1 - delivered as u64, "from {from}");
    }
    // And outside of all narrow ones it is anybody.
    let mut stranger = packet(1, 2, 100);
    stranger[12..16].copy_from_slice(&[203, 0, 113, 9]);
    let batch = batch(&pair.pool, &[stranger]);
    assert_eq!(pair.carry(true, batch), 1);
}

#[test]
fn the_filter_and_the_own_prefixes_decide_what_comes_in() {
    let mut pair = Pair::connected();
    pair.b.apply(t0(), Change::Filter(Filter::DenyAll), &mut Out::default()).unwrap();
    let one = batch(&pair.pool, &[packet(1, 2, 100)]);
    assert_eq!(pair.carry(true, one), 0);
    assert_eq!(counted(&mut pair, true, Reason::Filtered), 1);
    pair.b.apply(t0(), Change::Filter(Filter::AllowAll), &mut Out::default()).unwrap();
    pair.b.apply(t0(), Change::Own(vec![]), &mut Out::default()).unwrap();
    let one = batch(&pair.pool, &[packet(1, 2, 100)]);
    assert_eq!(pair.carry(true, one), 0);
    assert_eq!(counted(&mut pair, true, Reason::NotForUs), 1);
    pair.b.apply(t0(), Change::DefaultOverlay(Some(OverlayId(4))), &mut Out::default()).unwrap();
    let one = batch(&pair.pool, &[packet(1, 2, 100)]);
    assert_eq!(pair.carry(true, one), 1);
}

#[test]
fn a_peer_without_a_place_has_no_path() {
    let pool = Pool::default();
    let mut core = core(1, &pool);
    let mut lost = peer(2);
    lost.candidates.clear();
    core.apply(t0(), Change::Peers(vec![lost]), &mut Out::default()).unwrap();
    let mut item = FromOverlay { from: OverlayId(0), batch: batch(&pool, &[packet(1, 2, 100)]) };
    let mut out = Out::default();
    core.process_outbound(t0(), &mut item, &mut out);
    assert!(out.to_underlay.is_empty());
    assert_eq!(core.counters().discarded(Reason::NoPath), 1, "the handshake has nowhere to go");
}

#[test]
fn each_near_miss_from_outside_has_a_reason_of_its_own() {
    let pool = Pool::default();
    let mut core = core(1, &pool);
    let stun_error = [&[1u8, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[0; 12]].concat();
    for (datagram, reason) in [
        (vec![0x99; 40], Reason::Unknown),
        (stun_error, Reason::NearlyStun),
        (b"TS\xf0\x9f\x92\xac".to_vec(), Reason::NearlyDisco),
        (vec![1, 0, 0, 0, 5], Reason::NearlyWireGuard),
        (vec![0, 0x40, 0x7a, 0x12, 0, 0, 1, 0], Reason::NearlyGeneve),
    ] {
        let batch = Batch::copy_of(&pool, &datagram).unwrap();
        let mut item = FromUnderlay { batch, runs: vec![] };
        item.address(0, Hop::Udp(addr(6)));
        core.process_inbound(t0(), &mut item, &mut Out::default());
        assert_eq!(core.counters().discarded(reason), 1, "{reason}");
    }
}

#[test]
fn stun_and_geneve_do_not_come_over_a_relay() {
    let pool = Pool::default();
    let mut core = core(1, &pool);
    let stun = [&[1u8, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[0; 12]].concat();
    let mut geneve = vec![0, 0, 0x7a, 0x12, 0, 0, 1, 0, 4, 0, 0, 0];
    geneve.resize(40, 0);
    for datagram in [stun, geneve] {
        let mut item = FromUnderlay { batch: Batch::copy_of(&pool, &datagram).unwrap(), runs: vec![] };
        item.address(0, Hop::Derp { region: RegionId(1), peer_key: secret(2).public() });
        core.process_inbound(t0(), &mut item, &mut Out::default());
    }
    assert_eq!(core.counters().discarded(Reason::NotOverRelay), 2);
}

#[test]
fn a_packet_to_oneself_turns_round() {
    let mut pair = Pair::connected();
    let mut item = FromOverlay { from: OverlayId(0), batch: batch(&pair.pool, &[packet(1, 1, 60)]) };
    let mut out = Out::default();
    pair.a.process_outbound(t0(), &mut item, &mut out);
    assert_eq!(out.to_overlay[0].batch.get(0), Some(&packet(1, 1, 60)[..]));
    assert!(out.to_underlay.is_empty());
}

#[test]
fn a_map_is_refused_whole() {
    let pool = Pool::default();
    let mut core = core(1, &pool);
    let mut out = Out::default();
    core.apply(t0(), Change::Peers(vec![peer(2)]), &mut out).unwrap();
    let mut thief = peer(3);
    thief.prefixes = peer(2).prefixes;
    let mut own = peer(3);
    own.prefixes = vec!["100.64.0.1/32".parse().unwrap()];
    let mut weak = peer(3);
    weak.key = tidewire_keys::NodePublic::from_bytes([0; 32]);
    let refused = |core: &mut tidewire_dataplane::DataPlane, peers| {
        core.apply(t0(), Change::Peers(peers), &mut Out::default()).unwrap_err()
    };
    assert!(matches!(refused(&mut core, vec![peer(2), thief]), Refused::DuplicatePrefix { .. }));
    assert!(matches!(refused(&mut core, vec![peer(4), own]), Refused::OwnPrefix { .. }));
    assert!(matches!(refused(&mut core, vec![peer(4), peer(4)]), Refused::DuplicateKey(_)));
    assert!(matches!(refused(&mut core, vec![peer(4), peer(1)]), Refused::OwnKey));
    assert!(matches!(refused(&mut core, vec![peer(4), weak]), Refused::WeakKey(_)));
    assert!(matches!(core.apply(t0(), Change::Mtu(67), &mut out), Err(Refused::Mtu(67))));
    assert_eq!(core.peers().collect::<Vec<_>>(), [secret(2).public()], "nothing has happened");
}

#[test]
fn an_update_moves_a_prefix_from_whoever_has_it() {
    let pool = Pool::default();
    let mut core = core(1, &pool);
    let mut out = Out::default();
    core.apply(t0(), Change::Peers(vec![peer(2), peer(3)]), &mut out).unwrap();
    let update = PeerUpdate {
        key: secret(3).public(),
        psk: None,
        candidate: None,
        keepalive: None,
        replace_prefixes: false,
        prefixes: peer(2).prefixes,
        removed_prefixes: vec![],
    };
    core.apply(t0(), Change::Update(update), &mut out).unwrap();
    let prefixes = |core: &tidewire_dataplane::DataPlane, n| {
        core.peer(t0(), &secret(n).public()).unwrap().config.prefixes
    };
    assert_eq!(prefixes(&core, 2), []);
    assert_eq!(prefixes(&core, 3).len(), 2);
}
