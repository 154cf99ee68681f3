//! `tidewire keygen` and `tidewire pubkey`: a node's keys as text.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::Args;
use tidewire_node::{Keys, write_keys};

use crate::output::print;

/// Makes the two secret keys of a node
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Write them here, readable by the owner alone, instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Reads a key file on standard input and prints its public keys
#[derive(Debug, Args)]
pub(crate) struct Pubkey;

impl Keygen {
    pub(crate) fn run(&self) -> Result<()> {
        let keys = Keys::generate().context("no randomness from the system")?;
        match &self.out {
            Some(path) => write_keys(path, &keys).with_context(|| format!("{}", path.display())),
            None => {
                owner_only();
                io::stdout().write_all(keys.to_text().as_bytes()).context("standard output")
            }
        }
    }
}

impl Pubkey {
    pub(crate) fn run(&self) -> Result<()> {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("standard input")?;
        let keys = Keys::from_text(&text).context("standard input")?;
        print(format_args!("{}\n{}", keys.node.public(), keys.disco.public()))
    }
}

/// Takes a key file that the shell made by `> node.key` away from everybody but its owner.
fn owner_only() {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::PermissionsExt;
        let Ok(file) = std::fs::File::open("/proc/self/fd/1") else { return };
        if file.metadata().is_ok_and(|meta| meta.is_file()) {
            // Whoever may write the file but not change its mode is told by the mode itself.
            drop(file.set_permissions(std::fs::Permissions::from_mode(0o600)));
        }
    }
}
