//! Whether `tidewire relay` prints a region that others can use, writes its log as asked, and ends when it is told to.
#![cfg(unix)]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Runs it until it has printed its region, and returns that and its log.
fn run(arguments: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    command.env_remove("RUST_LOG").arg("relay").args(arguments).args(["--no-stun"]);
    let mut relay = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = String::new();
    let mut output = BufReader::new(relay.stdout.take().unwrap());
    while output.read_line(&mut printed).unwrap() > 0 && !printed.contains("stun_port = -1\n") {}
    kill_process(Pid::from_child(&relay), Signal::TERM).unwrap();
    output.read_to_string(&mut printed).unwrap();
    let mut log = String::new();
    relay.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(relay.wait().unwrap().success(), "{log}");
    (printed, log)
}

#[test]
fn behind_a_proxy_the_printed_region_is_the_proxys() {
    let listen = ["--plain", "--listen", "127.0.0.1:0"];
    let (region, _) = run(&[&listen[..], &["--host", "relay.example.net"]].concat());
    assert!(region.starts_with("# TLS is the proxy's: on port 443, "), "{region}");
    assert!(region.contains("host_name = \"relay.example.net\"\nstun_port"), "{region}");
    assert!(!region.contains("plain = true"), "{region}");
    let (region, _) = run(&listen);
    assert!(
        region.starts_with("[[region]]\n") && region.contains("host_name = \"127.0.0.1\"\nderp_port = "),
        "{region}"
    );
    assert!(region.contains("plain = true\n"), "{region}");
}

#[test]
fn an_open_relay_is_warned_of_unless_only_this_machine_reaches_it() {
    let open = |listen| run(&["--listen", listen, "--host", "127.0.0.1"]).1.contains("--allow FILE");
    assert!(open("0.0.0.0:0"));
    assert!(!open("127.0.0.1:0"));
}

#[test]
fn a_log_for_programs_is_json() {
    let (_, log) =
        run(&["--listen", "127.0.0.1:0", "--log", "json", "--max-clients", "10", "--rate", "100000/200000"]);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let up = lines.iter().find(|line| line["message"] == "relay up").unwrap();
    assert_eq!(up["level"], "INFO");
    assert!(up["derp"].as_str().unwrap().starts_with("127.0.0.1:"), "{up}");
}
