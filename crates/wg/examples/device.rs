//! A WireGuard device and nothing else: `device IFACE`, then `wg` and `ip` as for any other.

use tracing_subscriber::EnvFilter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let interface = std::env::args().nth(1).ok_or("usage: device IFACE")?;
    let config = tidewire_wg::Config::new(interface);
    tidewire_wg::run_foreground(&config, |interface| tracing::info!(interface, "is there"))?;
    Ok(())
}
