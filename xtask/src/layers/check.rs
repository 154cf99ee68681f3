//! The judgements of `layers`, as pure functions over what cargo says.

use std::collections::BTreeSet;

use super::table::{CRATES, FEATURE_SETS, OTHERS, Row};
use crate::cargo::{Dependency, Package};

const PREFIX: &str = "tidewire-";
const TABLE: &str = "xtask/src/layers/table.rs";

/// `packet-ident` as a package.
pub(crate) fn package_name(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The dependencies among our own packages.
pub(crate) fn own_edges(packages: &[Package]) -> impl Iterator<Item = (&Package, &Dependency)> {
    packages.iter().flat_map(|p| p.dependencies.iter().filter(|d| d.path.is_some()).map(move |d| (p, d)))
}

/// What is wrong with the table itself: an edge that does not point to a lower level, or to no crate.
pub(crate) fn table() -> Vec<String> {
    let mut findings = Vec::new();
    for from in CRATES {
        for name in from.may_know.iter().map(|name| name.trim_end_matches('?')) {
            match CRATES.iter().find(|to| to.name == name) {
                None => findings.push(format!("{TABLE}: {} may know {name}, which has no row", from.name)),
                Some(to) if to.level >= from.level => findings.push(format!(
                    "{TABLE}: {} (level {}) -> {name} (level {}) does not point down",
                    from.name, from.level, to.level
                )),
                Some(_) => {}
            }
        }
    }
    findings
}

/// All that is wrong with the edges among our own packages.
pub(crate) fn edges(packages: &[Package]) -> Vec<String> {
    let unknown = packages.iter().filter(|p| row(&p.name).is_none() && other(&p.name).is_none()).map(|p| {
        format!(
            "package {} stands in no table: give it a row in {TABLE}, with its level and whom it may know",
            p.name
        )
    });
    let forbidden = own_edges(packages).filter_map(|(from, to)| edge(&from.name, to));
    unknown.chain(forbidden).collect()
}

/// What is wrong with one edge, if anything.
fn edge(from: &str, dependency: &Dependency) -> Option<String> {
    let to = dependency.name.as_str();
    let kind = dependency.kind.as_deref().unwrap_or("normal");
    let what = format!("{from} -> {to} ({kind})");
    let Some(short) = to.strip_prefix(PREFIX).filter(|_| row(to).is_some()) else {
        return Some(format!("{what}: nobody may depend on {to}"));
    };
    if from == to {
        return Some(format!(
            "{what}: a crate that depends on itself runs in a circle; put such a test into crates/sim/tests"
        ));
    }
    if let Some((_, may_know)) = other(from) {
        return (!may_know.contains(&short)).then(|| format!("{what}: not in OTHERS of {TABLE}"));
    }
    let row = row(from)?;
    match dependency.kind.as_deref() {
        None => normal_edge(row, short, dependency.optional).map(|why| format!("{what}: {why}")),
        Some("dev") => (!knows(row, short) && !row.tests_may_know.contains(&short)).then(|| {
            format!("{what}: its tests may not know that; move the test up (crates/sim/tests, or the crate that knows both)")
        }),
        Some(_) => Some(format!("{what}: no crate of ours is built by another one")),
    }
}

fn normal_edge(row: &Row, to: &str, optional: bool) -> Option<String> {
    if row.may_know.contains(&to) {
        return None;
    }
    if !knows(row, to) {
        return Some(format!(
            "the design forbids it; {} may know: {}. Pass a value in, or move the code to a crate that knows both. \
             A new edge is a change of its own, with its reason, in docs/architecture.md and {TABLE}",
            row.name,
            if row.may_know.is_empty() { "nobody".to_owned() } else { row.may_know.join(", ") },
        ));
    }
    (!optional).then(|| "must be `optional = true`, brought in by a feature".to_owned())
}

/// Crates that declare features but have no feature set to be checked alone.
pub(crate) fn feature_rows(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .filter(|p| row(&p.name).is_some() && p.features.keys().any(|feature| feature != "default"))
        .filter(|p| !FEATURE_SETS.iter().any(|set| package_name(set.name) == p.name))
        .map(|p| {
            format!(
                "{} declares features but no set of them is checked: add a row to FEATURE_SETS in {TABLE}",
                p.name
            )
        })
        .collect()
}

/// The features `std` in the output of `cargo tree --edges normal,features --prefix depth --no-dedupe`. What a procedural
/// macro uses runs in the compiler and does not count.
pub(crate) fn std_features(tree: &str) -> BTreeSet<String> {
    target_lines(tree)
        .filter_map(|line| line.split_once(" feature \"std\"").map(|(package, _)| format!("{package}/std")))
        .collect()
}

/// Whether such a tree holds a package.
pub(crate) fn holds_package(tree: &str, package: &str) -> bool {
    target_lines(tree).any(|line| line.split_whitespace().next() == Some(package))
}

/// The lines of a tree, without their depth, that are about code for the target.
fn target_lines(tree: &str) -> impl Iterator<Item = &str> {
    let mut macro_depth = None;
    tree.lines().filter_map(move |line| {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let (depth, text) = line.split_at(digits);
        let depth: usize = depth.parse().ok()?;
        if macro_depth.is_some_and(|limit| depth > limit) {
            return None;
        }
        macro_depth = text.contains("(proc-macro)").then_some(depth);
        macro_depth.is_none().then_some(text)
    })
}

/// Whether the source of a library gives up std, always or where its feature is off.
pub(crate) fn declares_no_std(source: &str) -> bool {
    source.lines().map(|line| line.replace(' ', "")).any(|line| {
        line == "#![no_std]"
            || (line.starts_with("#![cfg_attr(not(")
                && line.contains("\"std\"")
                && line.ends_with(",no_std)]"))
    })
}

fn row(package: &str) -> Option<&'static Row> {
    let short = package.strip_prefix(PREFIX)?;
    CRATES.iter().find(|row| row.name == short)
}

fn other(package: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    OTHERS.iter().find(|(name, _)| *name == package)
}

/// Whether a crate may know another, as a normal dependency of whatever kind.
fn knows(row: &Row, to: &str) -> bool {
    row.may_know.iter().any(|name| name.trim_end_matches('?') == to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(to: &str, kind: Option<&str>, optional: bool) -> Dependency {
        Dependency { name: to.into(), kind: kind.map(Into::into), optional, path: Some("somewhere".into()) }
    }

    fn findings(from: &str, to: &str, kind: Option<&str>, optional: bool) -> Vec<String> {
        let package = Package {
            name: from.into(),
            dependencies: vec![dependency(to, kind, optional)],
            ..Package::default()
        };
        edges(&[package])
    }

    #[test]
    fn an_allowed_edge_passes() {
        assert!(findings("tidewire-disco", "tidewire-keys", None, false).is_empty());
        assert!(findings("tidewire-node", "tidewire-relay", Some("dev"), false).is_empty());
        assert!(findings("tidewire-fuzz", "tidewire-stun", None, false).is_empty());
    }

    #[test]
    fn a_forbidden_edge_is_named_with_what_to_do() {
        let found = findings("tidewire-tunnel", "tidewire-path", None, false);
        let [finding] = &found[..] else { panic!("one finding, not {found:?}") };
        assert!(
            finding.starts_with("tidewire-tunnel -> tidewire-path (normal): the design forbids it"),
            "{finding}"
        );
        assert!(finding.contains("tunnel may know: packet, keys."), "{finding}");
    }

    #[test]
    fn edges_that_the_design_forbids_fail() {
        for (from, to) in [
            ("packet", "keys"),
            ("keys", "clock"),
            ("transport", "tunnel"),
            ("tunnel", "transport"),
            ("path", "tunnel"),
            ("dataplane", "udp"),
            ("derp", "dataplane"),
            ("udp", "tun"),
            ("netcheck", "node"),
            ("relay", "dataplane"),
            ("wg", "derp"),
            ("node", "tunnel"),
            ("cli", "dataplane"),
            ("sim", "udp"),
        ] {
            assert_eq!(
                findings(&package_name(from), &package_name(to), None, false).len(),
                1,
                "{from} -> {to}"
            );
        }
    }

    #[test]
    fn an_edge_to_the_driver_only_must_be_optional() {
        assert!(findings("tidewire-dataplane", "tidewire-clock", None, true).is_empty());
        let found = findings("tidewire-dataplane", "tidewire-clock", None, false);
        assert!(found[0].contains("must be `optional = true`"), "{found:?}");
    }

    #[test]
    fn tests_have_a_table_of_their_own() {
        assert!(
            findings("tidewire-tunnel", "tidewire-dataplane", Some("dev"), false)[0]
                .contains("its tests may not")
        );
        assert!(findings("tidewire-tunnel", "tidewire-tunnel", Some("dev"), false)[0].contains("circle"));
        assert!(
            findings("tidewire-tunnel", "tidewire-keys", Some("build"), false)[0]
                .contains("built by another")
        );
    }

    #[test]
    fn nobody_depends_on_tools() {
        assert!(
            findings("tidewire-node", "xtask", Some("dev"), false)[0].contains("nobody may depend on xtask")
        );
        assert!(findings("xtask", "tidewire-keys", None, false)[0].contains("OTHERS"));
    }

    #[test]
    fn a_crate_without_a_row_is_an_error() {
        let found = edges(&[Package { name: "tidewire-surprise".into(), ..Package::default() }]);
        assert!(found[0].contains("stands in no table"), "{found:?}");
    }

    #[test]
    fn the_table_points_down_and_names_only_crates() {
        assert_eq!(table(), Vec::<String>::new());
        for name in OTHERS.iter().flat_map(|(_, names)| names.iter()) {
            assert!(CRATES.iter().any(|row| row.name == *name), "{name}");
        }
    }

    #[test]
    fn no_test_dependency_runs_in_a_circle() {
        fn reaches(from: &str, goal: &str) -> bool {
            let row = CRATES.iter().find(|row| row.name == from).unwrap();
            row.may_know
                .iter()
                .chain(row.tests_may_know)
                .map(|name| name.trim_end_matches('?'))
                .any(|name| name == goal || reaches(name, goal))
        }
        for row in CRATES {
            assert!(!reaches(row.name, row.name), "{}", row.name);
        }
    }

    #[test]
    fn features_without_a_checked_set_are_an_error() {
        let with = |name: &str| Package {
            name: name.into(),
            features: [("default".into(), vec![]), ("std".into(), vec![])].into(),
            ..Package::default()
        };
        assert!(feature_rows(&[with("tidewire-keys")]).is_empty());
        assert!(feature_rows(&[with("tidewire-udp")])[0].contains("FEATURE_SETS"));
    }

    const TREE: &str = "\
0tidewire-keys v0.1.0 (somewhere)
1thiserror feature \"std\"
2thiserror v2.0.0
3thiserror-impl v2.0.0 (proc-macro)
4proc-macro2 feature \"std\"
5proc-macro2 v1.0.0
1subtle v2.6.0
1tokio-util v0.7.0
";

    #[test]
    fn std_is_found_below_but_not_in_macros() {
        assert_eq!(std_features(TREE), BTreeSet::from(["thiserror/std".to_owned()]));
    }

    #[test]
    fn a_package_is_found_by_its_whole_name() {
        assert!(holds_package(TREE, "subtle"));
        assert!(!holds_package(TREE, "tokio"));
        assert!(!holds_package(TREE, "proc-macro2"));
    }

    #[test]
    fn both_forms_of_no_std_count() {
        assert!(declares_no_std("//! x\n#![no_std]\n"));
        assert!(declares_no_std("#![cfg_attr(not(feature = \"std\"), no_std)]"));
        assert!(declares_no_std("#![cfg_attr(not(any(feature = \"std\", test)), no_std)]"));
        assert!(!declares_no_std("// #![no_std]"));
    }
}
