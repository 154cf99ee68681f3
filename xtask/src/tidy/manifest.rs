//! Rules for a package: what its manifest says, and that it has its README.

use std::path::Path;

use super::{Files, Finding};
use crate::cargo::Package;

/// The places a registry gives to keywords and categories.
const MOST: usize = 5;

/// Checks one package of ours.
pub(super) fn check(root: &Path, package: &Package, files: &Files) -> Vec<Finding> {
    let manifest = package
        .manifest_path
        .strip_prefix(root)
        .unwrap_or(&package.manifest_path)
        .to_string_lossy()
        .into_owned();
    let folder = manifest.trim_end_matches("Cargo.toml");
    let mut findings = Vec::new();
    let mut want = |holds: bool, what: &str| {
        if !holds {
            findings.push(Finding::new(&manifest, 0, what));
        }
    };
    want(package.description.as_ref().is_some_and(|text| !text.trim().is_empty()), "no `description`");
    want(
        package.license.as_deref() == Some("MIT OR Apache-2.0"),
        "the licence is not the project's: `license.workspace = true`",
    );
    if folder.starts_with("crates/") {
        let content = files.get(&manifest).map_or("", String::as_str);
        want(inherits_lints(content), "no `[lints] workspace = true`");
        want(package.rust_version.is_some(), "no `rust-version.workspace = true`");
        want(package.readme.as_deref() == Some("README.md"), "no `readme = \"README.md\"`");
        want(files.contains_key(&format!("{folder}README.md")), "no README.md beside it");
    }
    if folder.starts_with("crates/") && package.is_published() {
        want((1..=MOST).contains(&package.keywords.len()), "`keywords` must hold one to five");
        want((1..=MOST).contains(&package.categories.len()), "`categories` must hold one to five");
        let lib = format!("{folder}src/lib.rs");
        let includes = |source: &String| source.contains("include_str!(\"../README.md\")");
        want(files.get(&lib).is_none_or(includes), "src/lib.rs does not take README.md as its documentation");
    }
    findings
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]");
    lines.next().is_some()
        && lines
            .take_while(|line| !line.starts_with('['))
            .any(|line| line.replace(' ', "") == "workspace=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> (Package, Files) {
        let package = Package {
            name: "tidewire-x".into(),
            manifest_path: "crates/x/Cargo.toml".into(),
            description: Some("X.".into()),
            keywords: vec!["vpn".into()],
            categories: vec!["network-programming".into()],
            readme: Some("README.md".into()),
            license: Some("MIT OR Apache-2.0".into()),
            rust_version: Some("1.95".into()),
            ..Package::default()
        };
        let files = [
            ("crates/x/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"),
            ("crates/x/README.md", "# x\n"),
            ("crates/x/src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n"),
        ];
        (package, files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect())
    }

    fn whats(package: &Package, files: &Files) -> Vec<String> {
        check(Path::new(""), package, files).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_complete_package_passes() {
        let (package, files) = good();
        assert!(whats(&package, &files).is_empty());
    }

    #[test]
    fn each_missing_part_is_found() {
        let (_, files) = good();
        for spoil in [
            |p: &mut Package| p.description = None,
            |p: &mut Package| p.keywords.clear(),
            |p: &mut Package| p.categories.clear(),
            |p: &mut Package| p.readme = None,
            |p: &mut Package| p.license = Some("MIT".into()),
            |p: &mut Package| p.rust_version = None,
        ] {
            let (mut package, _) = good();
            spoil(&mut package);
            assert_eq!(whats(&package, &files).len(), 1, "{package:?}");
        }
        for path in files.keys() {
            let mut fewer = files.clone();
            fewer.insert(path.clone(), String::new());
            let expected = usize::from(!path.ends_with("README.md"));
            assert_eq!(whats(&good().0, &fewer).len(), expected, "{path}");
        }
    }

    #[test]
    fn a_package_that_is_not_published_needs_no_keywords() {
        let (mut package, files) = good();
        package.publish = Some(vec![]);
        package.keywords.clear();
        package.categories.clear();
        assert!(whats(&package, &files).is_empty());
    }

    #[test]
    fn lints_of_another_table_do_not_count() {
        assert!(inherits_lints("[lints]\nworkspace=true"));
        assert!(!inherits_lints("[lints]\n[package]\nworkspace = true"));
        assert!(!inherits_lints("[package]\nworkspace = true"));
    }
}
