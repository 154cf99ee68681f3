//! A node without a key: relays would be silently off, and nothing could be opened.
use tidewire_node::{Config, Filter};

fn main() {
    let _ = Config::new(Filter::AllowAll);
}
