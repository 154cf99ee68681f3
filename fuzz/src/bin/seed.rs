//! Writes the seeds of all corpora. Other files there, as found by fuzzing, stay.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let seeds = tidewire_fuzz::seeds::all();
    for seed in &seeds {
        let folder = corpora.join(seed.target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(&seed.name), &seed.bytes)?;
    }
    println!("seed: {} inputs", seeds.len());
    Ok(())
}
