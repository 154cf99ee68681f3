//! Runs every committed input through its target, on stable, and says which of them break a promise.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tidewire_fuzz::{TARGETS, Target, seeds};

const MANIFEST: &str = include_str!("../../Cargo.toml");

fn main() -> io::Result<ExitCode> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut faults = table_faults(&corpora)?;
    faults.extend(stale_seeds(&corpora));
    for target in TARGETS {
        let inputs = inputs(&corpora.join(target.name))?;
        if inputs.is_empty() {
            faults.push(format!("{} has no corpus: what is replayed proves nothing", target.name));
        }
        for input in &inputs {
            let bytes = fs::read(input)?;
            if !holds(target, &bytes) {
                faults.push(format!("{} breaks a promise on {}", target.name, input.display()));
            }
        }
        println!("replay {}: {} inputs", target.name, inputs.len());
    }
    for fault in &faults {
        eprintln!("replay: {fault}");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the table, the manifest and the corpora name the same targets.
fn table_faults(corpora: &Path) -> io::Result<Vec<String>> {
    let table: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let programs: BTreeSet<String> = MANIFEST
        .split("[[bin]]")
        .filter(|bin| bin.contains("required-features = [\"libfuzzer\"]"))
        .filter_map(|bin| Some(bin.split_once("name = \"")?.1.split_once('"')?.0.to_owned()))
        .collect();
    let mut folders = BTreeSet::new();
    for entry in fs::read_dir(corpora)? {
        folders.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let different = |what: &str, names: &BTreeSet<String>| {
        let names: Vec<&String> = table.symmetric_difference(names).collect();
        (!names.is_empty()).then(|| format!("TARGETS and {what} differ in: {names:?}"))
    };
    Ok([different("Cargo.toml", &programs), different("corpus/", &folders)].into_iter().flatten().collect())
}

/// Seeds whose file is not what their source says.
fn stale_seeds(corpora: &Path) -> Vec<String> {
    let stale = |seed: &seeds::Seed| {
        fs::read(corpora.join(seed.target).join(&seed.name)).ok().as_ref() != Some(&seed.bytes)
    };
    let seeds = seeds::all();
    let names = seeds.iter().filter(|seed| stale(seed)).map(|seed| (seed.target, &seed.name));
    names
        .map(|(target, name)| {
            format!("corpus/{target}/{name} is not what seeds.rs says: run `cargo xtask seed`")
        })
        .collect()
}

fn inputs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut inputs = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    inputs.sort();
    Ok(inputs)
}

fn holds(target: &Target, bytes: &[u8]) -> bool {
    panic::catch_unwind(|| (target.run)(bytes)).is_ok()
}
