//! Whether the crates know only whom they may, and whether the small ones stay small.

mod check;
pub(crate) mod table;

use anyhow::{Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::Outcome;
use crate::cargo::{self, Package};
use table::{Build, Of};

/// Checks every workspace of the project; an error after all findings are printed.
pub(crate) fn run(sh: &Shell) -> Result<Outcome> {
    let mut findings = check::table();
    let mut edges = 0;
    for manifest in cargo::workspaces(sh) {
        let packages = cargo::metadata(sh, manifest)?.packages;
        edges += check::own_edges(&packages).count();
        findings.extend(check::edges(&packages));
        if manifest == "Cargo.toml" {
            findings.extend(check::feature_rows(&packages));
            findings.extend(trees(sh, &packages)?);
        }
    }
    for finding in &findings {
        println!("layers: {finding}");
    }
    if !findings.is_empty() {
        bail!("{} finding(s); the table is xtask/src/layers/table.rs", findings.len());
    }
    ensure!(edges > 0, "no crate of ours knows another one: is this the workspace?");
    println!("layers: {edges} edges, all allowed");
    Ok(Outcome::Done)
}

/// What a build of one crate alone draws in, for each row of [`table::FREE`] whose crate exists.
fn trees(sh: &Shell, packages: &[Package]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for free in table::FREE {
        let package = check::package_name(free.name);
        let Some(found) = packages.iter().find(|p| p.name == package) else { continue };
        let flag = free.build.flag();
        let build = match free.build {
            Build::NoDefault => "without default features",
            Build::AllFeatures => "with all features",
        };
        let tree = cmd!(
            sh,
            "cargo tree --locked --package {package} {flag} --edges normal,features --no-dedupe --prefix depth --charset ascii"
        )
        .quiet()
        .read()?;
        match free.of {
            Of::Std => {
                findings.extend(check::std_features(&tree).into_iter().map(|feature| {
                    format!("{package} {build} turns on {feature}: ask for it only under a feature `std` of its own")
                }));
                let lib = found.manifest_path.with_file_name("src").join("lib.rs");
                if !check::declares_no_std(&sh.read_file(&lib)?) {
                    findings.push(format!("{package}: src/lib.rs must declare no_std where feature `std` is off"));
                }
            }
            Of::Tokio if check::holds_package(&tree, "tokio") => findings.push(format!(
                "{package} {build} draws in tokio: put what needs it behind a feature; `cargo tree -p {package} {flag} -i tokio` shows the way"
            )),
            Of::Tokio => {}
        }
    }
    Ok(findings)
}
