//! Peers without the regions through which they are reached: a map is applied whole or not at all.
use tidewire_node::{Map, Node};

async fn apply(node: Node) {
    let _ = node.apply(Map { peers: vec![] }).await;
}

fn main() {
    let _ = apply;
}
