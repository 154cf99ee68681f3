//! The ladder behind what stands between people and relays: a proxy that wants a password, and a web server that passes only WebSocket.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::kit::eventually;
use super::kit::lab::{Host, Lab};
use super::kit::mesh::{A, B, Pair, RELAY, START, cut_udp, start_relay, state_folder, text, value};
use super::kit::process::Process;
use super::{Scenario, Stage};
use crate::tools::{NGINX, TINYPROXY};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "proxies",
    about: "relays behind tinyproxy (CONNECT, password) and behind an nginx that drops `Upgrade: DERP`: the right rung, and why",
    programs: &[TINYPROXY, NGINX],
    run,
};

const PROXY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 9), 8888);
/// Where nginx serves in front of the relay.
const FRONT_PORT: u16 = 8443;
const USER: &str = "user";
/// In URLs a part of it is percent-encoded, as it may be.
const PASSWORD: &str = "w-rd";
const PASSWORD_ENCODED: &str = "w%2Drd";
const BYTES: u64 = 1024 * 1024;

fn run(stage: &Stage<'_>) -> Result<()> {
    let lab = stage.lab;
    let relay_host = lab.host("relay", *RELAY.ip())?;
    let (a, b) = (lab.host(A.name, A.underlay)?, lab.host(B.name, B.underlay)?);
    let proxy_host = lab.host("proxy", *PROXY.ip())?;
    cut_udp(&[&a, &b])?;
    // A reaches the relay through the proxy or not at all.
    a.nft(&format!("insert rule inet cut cut ip saddr {} meta l4proto tcp drop\n", RELAY.ip()))?;
    let (relay, region) = start_relay(stage, &relay_host, &[])?;
    let mut proxy = start_proxy(lab, &proxy_host)?;
    let mut front = start_front(lab, &relay_host)?;
    let mut others_run = || [&mut proxy, &mut front].into_iter().try_for_each(Process::check);

    with_password(stage, (&a, &b), &region)?;
    others_run()?;
    with_a_wrong_password(stage, (&a, &b), &region)?;
    others_run()?;
    behind_a_web_server(stage, (&a, &b), &region)?;
    others_run()?;
    Process::terminate(relay)
}

/// Through the proxy TLS is end to end, so the best rung is open.
fn with_password(stage: &Stage<'_>, hosts: (&Host, &Host), region: &str) -> Result<()> {
    let mut pair = Pair::start(stage, hosts, region, &[&proxy_variable(PASSWORD_ENCODED)])?;
    pair.wait()?;
    let line = pair.a_says(&["relay connected", "rung=fast start", "proxied=true"])?;
    let fetched = pair.fetch(BYTES)?;
    let asked = format!("CONNECT {RELAY} HTTP/1.1");
    let log = std::fs::read_to_string(proxy_log(stage.lab))?;
    ensure!(log.contains(&asked), "the proxy was not asked `{asked}`");
    println!("  proxy: {}; {} bytes, hash verified", told(&line), fetched.bytes);
    pair.stop()
}

/// The proxy's refusal is told as such, and nothing goes past the proxy.
fn with_a_wrong_password(stage: &Stage<'_>, hosts: (&Host, &Host), region: &str) -> Result<()> {
    let mut pair = Pair::start(stage, hosts, region, &[&proxy_variable("wrong")])?;
    // tinyproxy answers 401, where others say 407.
    let line = pair.a_says(&["asking the proxy", "HTTP status 40"])?;
    ensure!(!pair.a_log()?.contains("relay connected"), "a relay was connected without the proxy's consent");
    println!("  proxy, wrong password: {}", told(&line));
    pair.stop()
}

/// The upgrade is refused by nginx, for B directly and for A through the proxy too: WebSocket it is.
fn behind_a_web_server(stage: &Stage<'_>, hosts: (&Host, &Host), region: &str) -> Result<()> {
    let own_port = value(region, "derp_port").context("the region has no port")?;
    let region = region.replace(&format!("derp_port = {own_port}"), &format!("derp_port = {FRONT_PORT}"));
    let mut pair = Pair::start(stage, hosts, &region, &[&proxy_variable(PASSWORD_ENCODED)])?;
    pair.wait()?;
    let fetched = pair.fetch(BYTES)?;
    let refused = ["by HTTP upgrade", "HTTP status 426"];
    let because = pair.a_says(&refused)?;
    let line = pair.a_says(&["relay connected", "rung=WebSocket", "proxied=true"])?;
    println!("  proxy and nginx: {}", told(&because));
    println!("  proxy and nginx: {}; {} bytes, hash verified", told(&line), fetched.bytes);
    let (because, line) =
        (pair.b_says(&refused)?, pair.b_says(&["relay connected", "rung=WebSocket", "proxied=false"])?);
    println!("  nginx: {}", told(&because));
    println!("  nginx: {}", told(&line));
    pair.stop()
}

/// A line of a log from its message on.
fn told(line: &str) -> &str {
    line.find("relay ").map_or(line, |at| &line[at..])
}

fn proxy_variable(password: &str) -> String {
    format!("HTTPS_PROXY=http://{USER}:{password}@{PROXY}")
}

fn proxy_log(lab: &Lab) -> std::path::PathBuf {
    lab.folder().join("tinyproxy.log")
}

fn start_proxy(lab: &Lab, host: &Host) -> Result<Process> {
    let log = proxy_log(lab);
    let config = format!(
        "Port {}\nListen {}\nTimeout 600\nMaxClients 20\nBasicAuth {USER} {PASSWORD}\nLogFile \"{}\"\nLogLevel Info\n",
        PROXY.port(),
        PROXY.ip(),
        text(&log)?
    );
    let config = lab.file("tinyproxy.conf", &config)?;
    let mut process = host.spawn("tinyproxy", Path::new(TINYPROXY.name), &["-d", "-c", text(&config)?])?;
    serves(host, &mut process, PROXY)?;
    Ok(process)
}

/// nginx as somebody sets it up who knows of WebSocket alone, with the relay's own certificate.
fn start_front(lab: &Lab, host: &Host) -> Result<Process> {
    let (folder, state) = (text(lab.folder())?, state_folder(lab));
    let (front, relay) = (SocketAddrV4::new(*RELAY.ip(), FRONT_PORT), RELAY);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {folder}/nginx-{kind};\n"))
        .concat();
    let config = format!(
        "daemon off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log {folder}/nginx-access.log;
{temporary}
    map $http_upgrade $passed_upgrade {{ default \"\"; websocket websocket; }}
    map $http_upgrade $passed_connection {{ default close; websocket upgrade; }}
    server {{
        listen {front} ssl;
        ssl_certificate {0}/tls.crt;
        ssl_certificate_key {0}/tls.key;
        location / {{
            proxy_pass https://{relay};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $passed_upgrade;
            proxy_set_header Connection $passed_connection;
            proxy_read_timeout 3600;
        }}
    }}
}}
",
        text(&state)?
    );
    let config = lab.file("nginx.conf", &config)?;
    let mut process = host.spawn("nginx", Path::new(NGINX.name), &["-c", text(&config)?, "-e", "stderr"])?;
    serves(host, &mut process, front)?;
    Ok(process)
}

/// Waits until the program listens there.
fn serves(host: &Host, process: &mut Process, at: SocketAddrV4) -> Result<()> {
    eventually(START, &format!("somebody who listens on {at}"), || {
        process.check()?;
        let listed = host.run("ss", &["-Htln", "src", &at.to_string()])?;
        Ok((!listed.trim().is_empty()).then_some(()).context("nobody does"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_from_its_message_on() {
        let line = "2026-01-01T00:00:00Z  INFO tidewire::commands::up: relay connected region=900 node=\"x\"";
        assert_eq!(told(line), "relay connected region=900 node=\"x\"");
    }
}
