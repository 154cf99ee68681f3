//! A filter that nobody chose.
use tidewire_node::Filter;

fn main() {
    let _: Filter = Default::default();
}
