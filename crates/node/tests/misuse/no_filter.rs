//! A node without a filter: everything would be silently dropped, or silently let in.
use tidewire_node::{Config, Keys};

fn main() {
    let _ = Config::new(Keys::generate().unwrap());
}
