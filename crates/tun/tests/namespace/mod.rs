//! How a test that needs root runs in a network namespace of its own, or says why it does not run.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of what all share")]

use std::{
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
};

const INSIDE: &str = "TIDEWIRE_TEST_INSIDE_NAMESPACE";

/// Whether the test named `name` is inside a namespace of its own. Outside, runs the test again inside; where that cannot
/// be, says so in one line and lets the test pass.
#[allow(clippy::print_stderr, reason = "says why it was skipped")]
pub fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let can =
        Command::new("unshare").args(["--net", "ip", "link"]).output().is_ok_and(|out| out.status.success());
    if !can || !Path::new("/dev/net/tun").exists() {
        eprintln!("skipped {name}: needs root, unshare, ip and /dev/net/tun");
        return false;
    }
    let again = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout).into_owned() + &String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "inside the namespace:\n{said}");
    false
}

/// Runs a program, which must succeed; returns what it printed.
pub fn sh(command: &str) -> String {
    let out = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Another network namespace, which goes with this value.
pub struct Other(Child);

impl Other {
    #[allow(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        let mut sleeper = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep 3600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says something when it is inside.
        sleeper.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        Self(sleeper)
    }

    /// By whose number others find it.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs a program inside, which must succeed.
    pub fn sh(&self, command: &str) -> String {
        sh(&format!("nsenter --target {} --net {command}", self.pid()))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
