//! What a userspace WireGuard that wins every column reaches.

use super::{
    super::report::{
        Goal, OURS,
        Wanted::{AtLeast, AtMost},
    },
    bed::NODE,
};

pub(super) fn goals() -> Vec<Goal> {
    let go = "wireguard-go";
    vec![
        Goal::ratio("tcp_vs_wireguard_go", "tcp_gbit", go, AtLeast(1.5)),
        Goal::ratio("tcp_back_vs_wireguard_go", "tcp_back_gbit", go, AtLeast(1.5)),
        Goal::ratio("tcp_4_streams_vs_wireguard_go", "tcp_4_streams_gbit", go, AtLeast(1.5)),
        Goal::ratio("tcp_vs_gotatun", "tcp_gbit", "gotatun", AtLeast(4.0)),
        Goal::ratio("tcp_back_vs_gotatun", "tcp_back_gbit", "gotatun", AtLeast(4.0)),
        Goal::ratio("tcp_4_streams_vs_gotatun", "tcp_4_streams_gbit", "gotatun", AtLeast(4.0)),
        Goal::never_more("tcp_retransmits", 0.0),
        Goal::never_more("tcp_back_retransmits", 0.0),
        Goal::never_more("tcp_4_streams_retransmits", 0.0),
        Goal::ratio("cpu_per_gb_vs_wireguard_go", "tcp_cpu_s_per_gb", go, AtMost(0.62)),
        Goal::ratio("tcp_sw_vs_wireguard_go", "tcp_sw_gbit", go, AtLeast(2.4)),
        Goal::ratio("tcp_nic_vs_wireguard_go", "tcp_nic_gbit", go, AtLeast(1.4)),
        Goal::ratio("udp64_vs_wireguard_go", "udp64_kpps", go, AtLeast(3.5)),
        Goal::ratio("udp64_vs_gotatun", "udp64_kpps", "gotatun", AtLeast(1.7)),
        Goal::ratio("ping_p50_vs_wireguard_go", "ping_p50_us", go, AtMost(0.65)),
        Goal::ratio("ping_p50_vs_boringtun", "ping_p50_us", "boringtun", AtMost(1.0)),
        Goal::ratio("ping_p99_vs_wireguard_go", "ping_p99_us", go, AtMost(1.0)),
        Goal::own("rss_after_load_mb", AtMost(10.0)),
        Goal::own("rss_1000_peers_mb", AtMost(12.0)),
        Goal::ratio("up_tun_vs_wg", "tcp_gbit", OURS, AtLeast(0.9)).by(NODE),
        Goal::ratio("setconf_1000_vs_boringtun", "setconf_1000_ms", "boringtun", AtMost(0.6)),
    ]
}
