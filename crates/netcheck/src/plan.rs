//! Which relays are asked by STUN, in which family, how often and when: a pure function of the map and of what is known.

use std::{collections::BTreeSet, time::Duration};

use tidewire_derp::{Region, RegionId, Regions};

use crate::{
    check::NodeId,
    limits::{FASTEST, PATIENCE, REGIONS, STAGGER, TRIES, TRIES_FAST, TRIES_HOME, UNKNOWN_LATENCY},
    report::Report,
};

/// How much a check is to find out.
#[derive(Clone, Copy, Debug)]
pub enum Extent<'a> {
    /// Everything, and each region has all the time there is: for a person who asks.
    Everything,
    /// All regions, until there is enough to choose a home from.
    Full,
    /// The home and the fastest regions of the last report: whether anything changed.
    Incremental(&'a Report),
}

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One request that is planned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Planned {
    /// Since the start of the check.
    pub(crate) after: Duration,
    pub(crate) node: NodeId,
    pub(crate) family: Family,
}

/// The regions that a check is about, home always among them.
pub(crate) fn regions(map: &Regions, extent: Extent<'_>, home: Option<RegionId>) -> BTreeSet<RegionId> {
    let eligible = || map.iter().filter(|region| !region.no_measure_no_home).map(|region| region.id);
    let home = home.filter(|home| eligible().any(|region| region == *home));
    let others: Vec<RegionId> = match extent {
        Extent::Everything | Extent::Full => eligible().collect(),
        Extent::Incremental(last) => {
            let mut fastest: Vec<_> =
                eligible().filter_map(|region| Some((last.latency(region)?, region))).collect();
            fastest.sort_unstable();
            fastest.into_iter().take(FASTEST).map(|(_, region)| region).collect()
        }
    };
    let room = REGIONS - usize::from(home.is_some());
    home.into_iter().chain(others.into_iter().filter(|region| Some(*region) != home).take(room)).collect()
}

/// What is sent, in order of time.
pub(crate) fn plan(map: &Regions, extent: Extent<'_>, home: Option<RegionId>) -> Vec<Planned> {
    let chosen = regions(map, extent, home);
    let chosen = chosen.iter().filter_map(|region| map.get(*region));
    let mut plan: Vec<Planned> = match extent {
        Extent::Everything | Extent::Full => chosen.flat_map(first_time).collect(),
        Extent::Incremental(last) => {
            let mut ranked: Vec<_> =
                chosen.map(|region| (last.latency(region.id).unwrap_or(Duration::MAX), region)).collect();
            ranked.sort_unstable_by_key(|(latency, region)| (*latency, region.id));
            let ranked = ranked.into_iter().enumerate();
            ranked.flat_map(|(rank, (_, region))| again(region, rank, home, last)).collect()
        }
    };
    plan.sort_unstable();
    plan
}

/// Nothing is known: several tries, one after the other without waiting for an answer, at the region's nodes in turn.
fn first_time(region: &Region) -> Vec<Planned> {
    tries(region, TRIES, STAGGER, &[Family::V4, Family::V6])
}

/// A latency is known: a try waits until the one before it must have failed.
fn again(region: &Region, rank: usize, home: Option<RegionId>, last: &Report) -> Vec<Planned> {
    let is_home = home == Some(region.id);
    let count = match rank {
        _ if is_home => TRIES_HOME,
        0 | 1 => TRIES_FAST,
        _ => 1,
    };
    let latency = last.latency(region.id).unwrap_or(UNKNOWN_LATENCY);
    let both = &[Family::V4, Family::V6][..];
    let families = match (last.udp_v4 == Some(true), last.udp_v6 == Some(true)) {
        (true, false) => &both[..1],
        (false, true) => &both[1..],
        // Of those that hardly matter one family tells enough: the better one.
        (true, true) if !is_home && rank >= 2 => match last.region(region.id).map(RegionFamilies::of) {
            Some(RegionFamilies::V6) => &both[1..],
            _ => &both[..1],
        },
        _ => both,
    };
    tries(region, count, latency + latency / 5 + PATIENCE, families)
}

enum RegionFamilies {
    V4,
    V6,
}

impl RegionFamilies {
    fn of(report: &crate::report::RegionReport) -> Self {
        match (report.stun_v4, report.stun_v6) {
            (Some(v4), Some(v6)) if v6 < v4 => Self::V6,
            (None, Some(_)) => Self::V6,
            _ => Self::V4,
        }
    }
}

fn tries(region: &Region, count: u8, gap: Duration, families: &[Family]) -> Vec<Planned> {
    let nodes: Vec<usize> = region
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.stun_port.is_some())
        .map(|(i, _)| i)
        .collect();
    let times = (0..u32::from(count)).zip(nodes.iter().cycle());
    let planned = |(n, index): (u32, &usize)| {
        let node = NodeId { region: region.id, index: *index };
        families.iter().map(move |family| Planned { after: gap * n, node, family: *family })
    };
    times.flat_map(planned).collect()
}

#[cfg(test)]
mod tests {
    use tidewire_derp::RegionNode;

    use super::*;
    use crate::report::RegionReport;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn region(id: u16, nodes: usize) -> Region {
        let nodes = (0..nodes).map(|i| RegionNode::new(format!("{id}{i}"), "192.0.2.1")).collect();
        Region::new(RegionId(id), "x", nodes)
    }

    fn map(regions: Vec<Region>) -> Regions {
        Regions::try_from(regions).unwrap()
    }

    /// A report in which the regions 1, 2, ... answered after so many milliseconds, by both families.
    fn report(latencies: &[u64]) -> Report {
        let regions = (1..).zip(latencies).map(|(id, &latency)| RegionReport {
            stun_v4: Some(ms(latency)),
            stun_v6: Some(ms(latency + 1)),
            ..RegionReport::new(&region(id, 1))
        });
        Report { udp_v4: Some(true), udp_v6: Some(true), regions: regions.collect(), ..Report::default() }
    }

    /// How often each region is asked, by IPv4 and by IPv6.
    fn counts(plan: &[Planned]) -> Vec<(u16, usize, usize)> {
        let regions: BTreeSet<_> = plan.iter().map(|planned| planned.node.region).collect();
        let of = |region, family| {
            plan.iter().filter(|planned| planned.node.region == region && planned.family == family).count()
        };
        regions.into_iter().map(|id| (id.0, of(id, Family::V4), of(id, Family::V6))).collect()
    }

    #[test]
    fn at_first_each_region_is_asked_three_times_a_tenth_of_a_second_apart() {
        let plan = plan(&map(vec![region(1, 2), region(2, 1)]), Extent::Full, None);
        assert_eq!(counts(&plan), [(1, 3, 3), (2, 3, 3)]);
        let first: Vec<_> = plan
            .iter()
            .filter(|planned| planned.node.region.0 == 1 && planned.family == Family::V4)
            .collect();
        assert_eq!(first.iter().map(|planned| planned.after).collect::<Vec<_>>(), [ms(0), ms(100), ms(200)]);
        assert_eq!(first.iter().map(|planned| planned.node.index).collect::<Vec<_>>(), [0, 1, 0], "in turn");
    }

    #[test]
    fn later_the_three_fastest_and_the_home_are_asked_home_most_often() {
        let map = map((1..=6).map(|id| region(id, 1)).collect());
        let last = report(&[60, 50, 40, 30, 20, 10]);
        let plan = |home: u16| plan(&map, Extent::Incremental(&last), Some(RegionId(home)));
        assert_eq!(counts(&plan(1)), [(1, 4, 4), (4, 1, 0), (5, 2, 2), (6, 2, 2)]);
        assert_eq!(counts(&plan(6)), [(4, 1, 0), (5, 2, 2), (6, 4, 4)]);
        let home: Vec<_> = plan(1).into_iter().filter(|planned| planned.node.region.0 == 1).collect();
        assert_eq!(home.last().unwrap().after, ms(60 + 12 + 50) * 3, "a try waits for the answer before it");
    }

    #[test]
    fn a_home_that_did_not_answer_last_time_is_asked_all_the_same() {
        let map = map((1..=6).map(|id| region(id, 1)).collect());
        let last = report(&[60, 50, 40]);
        let plan = plan(&map, Extent::Incremental(&last), Some(RegionId(6)));
        assert_eq!(counts(&plan), [(1, 1, 0), (2, 2, 2), (3, 2, 2), (6, 4, 4)]);
    }

    #[test]
    fn a_family_that_did_not_work_is_left_alone_until_the_next_full_check() {
        let map = map(vec![region(1, 1)]);
        let last = Report { udp_v6: Some(false), ..report(&[10]) };
        assert_eq!(counts(&plan(&map, Extent::Incremental(&last), None)), [(1, 2, 0)]);
        let last = Report { udp_v4: None, ..report(&[10]) };
        assert_eq!(counts(&plan(&map, Extent::Incremental(&last), None)), [(1, 0, 2)]);
        assert_eq!(counts(&plan(&map, Extent::Full, None)), [(1, 3, 3)]);
    }

    #[test]
    fn who_is_not_to_be_measured_or_has_no_stun_is_not_asked() {
        let hidden = Region { no_measure_no_home: true, ..region(1, 1) };
        let mut mute = region(2, 2);
        mute.nodes[0].stun_port = None;
        let mut dumb = region(3, 1);
        dumb.nodes[0].stun_port = None;
        let map = map(vec![hidden, mute, dumb]);
        let plan = plan(&map, Extent::Full, Some(RegionId(1)));
        assert_eq!(counts(&plan), [(2, 3, 3)]);
        assert!(plan.iter().all(|planned| planned.node.index == 1));
        let asked = regions(&map, Extent::Full, Some(RegionId(1)));
        assert_eq!(asked, [RegionId(2), RegionId(3)].into(), "3 may be asked by HTTPS");
    }

    #[test]
    fn a_huge_map_is_asked_in_part_and_home_is_in_that_part() {
        let map = map((1..=2000).map(|id| region(id, 1)).collect());
        let asked = regions(&map, Extent::Full, Some(RegionId(1999)));
        assert_eq!(asked.len(), REGIONS);
        assert!(asked.contains(&RegionId(1999)) && asked.contains(&RegionId(1)));
    }
}
