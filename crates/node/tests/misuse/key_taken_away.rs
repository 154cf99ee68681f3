//! Changing a running node's configuration, by which the key could get lost.
use tidewire_node::{Config, Filter, Keys};

async fn reconfigure(node: tidewire_node::Node) {
    let config = Config::new(Keys::generate().unwrap(), Filter::AllowAll);
    let _ = node.apply(config).await;
}

fn main() {
    let _ = reconfigure;
}
