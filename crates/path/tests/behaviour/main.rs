//! How path choice behaves towards peers, relays, NATs and strangers: one behaviour a file, in virtual time.

mod kit;

mod answers;
mod calls_received;
mod calls_sent;
mod explained;
mod heartbeats;
mod limits;
mod map_changes;
mod network_changes;
mod order;
mod own_addresses;
mod plain_wireguard;
mod pongs;
mod relayed_then_direct;
mod searches;
mod silent_paths;
mod strangers;
mod two_nats;
mod user_pings;
mod wake_ups;
