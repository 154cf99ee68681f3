//! How a relay's numbers are written: in OpenMetrics' text form for a collector, and as a page for a person.

use std::{fmt::Write as _, time::Duration};

use tidewire_keys::RelayPublic;

use crate::core::{self, Discard};

/// What a relay has counted: its core, and its sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections, clients and packets.
    pub core: core::Stats,
    /// How long it has run.
    pub uptime: Duration,
    /// STUN requests that were answered.
    pub stun_answered: u64,
    /// Datagrams on the STUN port that got no answer.
    pub stun_ignored: u64,
    /// Connections that could not be accepted.
    pub accept_failed: u64,
}

/// One number, or one for each value of a label.
struct Family<'s> {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    values: Values<'s>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
}

enum Values<'s> {
    One(u64),
    By(&'static str, Vec<(&'s str, u64)>),
}

impl Stats {
    /// In the text form of OpenMetrics 1.0.
    #[must_use]
    pub fn to_open_metrics(&self) -> String {
        let mut text = String::new();
        for family in self.families() {
            family.write(&mut text);
        }
        text.push_str("# EOF\n");
        text
    }

    /// As a page of HTML.
    #[must_use]
    pub fn to_html(&self, key: &RelayPublic) -> String {
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"10\">\
             <title>Tidewire relay</title><style>body{{font:15px/1.5 system-ui,sans-serif;margin:2em}}\
             td{{padding:0 1.5em 0 0}}td:first-child{{text-align:right;font-variant-numeric:tabular-nums}}</style></head>\
             <body><h1>Tidewire relay</h1><p>Key <code>{}</code><br>Up for {}</p><table>\n",
            key.to_hex(),
            spoken(self.uptime),
        );
        for family in self.families() {
            family.write_rows(&mut page);
        }
        page + "</table></body></html>\n"
    }

    fn families(&self) -> Vec<Family<'_>> {
        let core = &self.core;
        let one = |kind, name, help, value| Family { name, help, kind, values: Values::One(value) };
        let gauge = |name, help, value| one(Kind::Gauge, name, help, value);
        let counter = |name, help, value| one(Kind::Counter, name, help, value);
        let discarded = Discard::ALL.map(|reason| (reason.name(), core.discarded(reason)));
        vec![
            gauge("connections", "connections, logged in or not", core.connections),
            gauge("clients", "clients that are logged in", core.clients),
            gauge("keys", "different keys that are logged in", core.keys),
            gauge("clients_at_home", "clients that have this relay as their home", core.at_home),
            gauge("queued_bytes", "memory that waits in the queues of clients", core.queued_bytes),
            counter("accepted_connections", "connections that came", core.accepted),
            counter("logins", "clients that logged in", core.logins),
            counter("received_packets", "packets from clients", core.packets_in),
            counter("received_disco_packets", "packets from clients that looked like disco", core.disco_in),
            counter("received_packet_bytes", "bytes of packets from clients", core.bytes_in),
            counter("sent_packets", "packets to clients", core.packets_out),
            counter("sent_bytes", "bytes to clients, before TLS", core.bytes_out),
            counter("peer_gone", "reports that a peer is gone", core.peer_gone),
            counter("unanswered_pings", "pings while an answer was waiting", core.pings_unanswered),
            counter(
                "dropped_messages",
                "messages of the relay itself that found no room",
                core.control_dropped,
            ),
            Family {
                name: "discarded_packets",
                help: "packets that went no further",
                kind: Kind::Counter,
                values: Values::By("reason", discarded.to_vec()),
            },
            Family {
                name: "closed_connections",
                help: "connections that ended",
                kind: Kind::Counter,
                values: Values::By("reason", core.closed().collect()),
            },
            counter("stun_answers", "STUN requests that were answered", self.stun_answered),
            counter(
                "stun_ignored_datagrams",
                "datagrams on the STUN port without an answer",
                self.stun_ignored,
            ),
            counter("failed_accepts", "connections that could not be accepted", self.accept_failed),
            gauge("uptime_seconds", "how long the relay has run", self.uptime.as_secs()),
        ]
    }
}

impl Family<'_> {
    fn write(&self, text: &mut String) {
        let Self { name, help, .. } = self;
        let (kind, suffix) = if self.kind == Kind::Gauge { ("gauge", "") } else { ("counter", "_total") };
        // Writing to a string cannot fail.
        let _ = write!(text, "# TYPE tidewire_relay_{name} {kind}\n# HELP tidewire_relay_{name} {help}\n");
        let _ = match &self.values {
            Values::One(value) => writeln!(text, "tidewire_relay_{name}{suffix} {value}"),
            Values::By(label, values) => values.iter().try_for_each(|(of, value)| {
                writeln!(text, "tidewire_relay_{name}{suffix}{{{label}=\"{of}\"}} {value}")
            }),
        };
    }

    fn write_rows(&self, page: &mut String) {
        let help = self.help;
        // As above.
        let _ = match &self.values {
            Values::One(value) => writeln!(page, "<tr><td>{value}</td><td>{help}</td></tr>"),
            Values::By(_, values) => values
                .iter()
                .filter(|(_, value)| *value > 0)
                .try_for_each(|(of, value)| writeln!(page, "<tr><td>{value}</td><td>{help}: {of}</td></tr>")),
        };
    }
}

fn spoken(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match (minutes / 60 / 24, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Stats {
        let mut core = core::Stats::default();
        (core.clients, core.packets_in) = (3, 12);
        core.discard(Discard::QueueFull, 5);
        Stats { core, uptime: Duration::from_secs(3 * 3600 + 125), stun_answered: 7, ..Stats::default() }
    }

    #[test]
    fn a_collector_can_read_it() {
        let text = stats().to_open_metrics();
        for line in [
            "# TYPE tidewire_relay_clients gauge",
            "tidewire_relay_clients 3",
            "# TYPE tidewire_relay_received_packets counter",
            "tidewire_relay_received_packets_total 12",
            "tidewire_relay_discarded_packets_total{reason=\"queue_full\"} 5",
            "tidewire_relay_discarded_packets_total{reason=\"absent\"} 0",
            "tidewire_relay_closed_connections_total{reason=\"slow_reader\"} 0",
            "tidewire_relay_stun_answers_total 7",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }

    /// Each family is described once, its samples follow it, and no name is used twice.
    #[test]
    fn its_grammar_holds() {
        let text = stats().to_open_metrics();
        let mut seen = Vec::new();
        for line in text.lines().filter(|line| *line != "# EOF") {
            let mut words = line.split(' ');
            match (words.next().unwrap(), words.next().unwrap()) {
                ("#", "TYPE") => seen.push(words.next().unwrap().to_owned()),
                ("#", "HELP") => assert_eq!(words.next(), seen.last().map(String::as_str)),
                (sample, value) => {
                    let family = seen.last().unwrap();
                    let rest = sample.strip_prefix(family.as_str()).unwrap();
                    assert!(["", "_total"].contains(&rest.split('{').next().unwrap()), "{line}");
                    value.parse::<u64>().unwrap();
                }
            }
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn a_person_can_read_it() {
        let page = stats().to_html(&RelayPublic::from_bytes([0xab; 32]));
        assert!(page.contains(&"ab".repeat(32)));
        assert!(page.contains("Up for 3 h 2 min"));
        assert!(page.contains("<tr><td>3</td><td>clients that are logged in</td></tr>"));
        assert!(
            page.contains("queue_full") && !page.contains("slow_reader"),
            "what did not happen is left out"
        );
    }

    #[test]
    fn time_is_spoken_in_its_two_largest_units() {
        for (secs, text) in [(59, "0 min"), (3599, "59 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")] {
            assert_eq!(spoken(Duration::from_secs(secs)), text);
        }
    }
}
