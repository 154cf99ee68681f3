//! Whether a node without a pinned home finds one among its relays, and another one when the map has lost it.

use std::time::Duration;

use tidewire_node::{Config, Event, Events, Filter, Keys, Map, Node, RegionId, clock};
use tidewire_relay::Relay;

const REGIONS: [RegionId; 2] = [RegionId(900), RegionId(901)];

fn relay() -> Relay {
    Relay::start(tidewire_relay::Config::new("127.0.0.1:0".parse().unwrap())).unwrap()
}

async fn chosen(events: &mut Events) -> RegionId {
    let wait = async {
        loop {
            match events.next().await {
                Some(Event::HomeChosen { region }) => return region,
                Some(_) => {}
                None => panic!("the node ended"),
            }
        }
    };
    clock::timeout(Duration::from_secs(20), wait).await.expect("a home within 20 s")
}

#[tokio::test]
async fn a_node_chooses_a_home_and_another_one_when_the_map_has_lost_it() {
    let relays = [relay(), relay()];
    let region = |id: RegionId| relays[usize::from(id.0 - 900)].region(id);
    let map = Map { regions: REGIONS.map(region).into(), peers: vec![] };
    let address = std::net::IpAddr::from([100, 64, 0, 1]);
    let config = Config::new(Keys::generate().unwrap(), Filter::DenyAll).address(address).map(map);
    let node = Node::start(config).await.unwrap();
    let mut events = node.events();
    // It may have been chosen before anybody listened.
    let home = match node.status().await.unwrap().home {
        Some(home) => home,
        None => chosen(&mut events).await,
    };
    assert!(REGIONS.contains(&home));
    let other = REGIONS.into_iter().find(|region| *region != home).unwrap();
    node.apply(Map { regions: vec![region(other)], peers: vec![] }).await.unwrap();
    while chosen(&mut events).await != other {}
    assert_eq!(node.status().await.unwrap().home, Some(other));
    node.shutdown().await;
}
