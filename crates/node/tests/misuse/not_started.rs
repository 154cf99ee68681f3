//! Dialing before the start: there is no node until it runs, so there is nothing to forget to start.
use tidewire_node::{Config, Filter, Keys};

async fn dial() {
    let config = Config::new(Keys::generate().unwrap(), Filter::AllowAll);
    let _ = config.dial_tcp("100.64.0.2:80".parse().unwrap()).await;
}

fn main() {
    let _ = dial();
}
