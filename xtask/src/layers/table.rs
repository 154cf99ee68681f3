//! Who may know whom, as data: the one place where an edge of the crate graph is allowed.

/// One of our crates: where it stands and whom it may name in its manifest. Names are without the prefix `tidewire-`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Dependencies point to a lower level only.
    pub(crate) level: u8,
    /// Normal dependencies. A name that ends in `?` must be optional: a feature brings it, never the crate alone.
    pub(crate) may_know: &'static [&'static str],
    /// What its tests may know beyond that.
    pub(crate) tests_may_know: &'static [&'static str],
}

const fn row(
    level: u8,
    name: &'static str,
    may_know: &'static [&'static str],
    tests_may_know: &'static [&'static str],
) -> Row {
    Row { name, level, may_know, tests_may_know }
}

/// The crates of the main workspace.
#[rustfmt::skip]
pub(crate) const CRATES: &[Row] = &[
    row(0, "packet",       &[], &[]),
    row(0, "keys",         &[], &[]),
    row(0, "packet-ident", &[], &[]),
    row(1, "stun",         &[], &[]),
    row(1, "disco",        &["keys"], &[]),
    row(1, "transport",    &["packet", "keys"], &[]),
    row(1, "clock",        &[], &[]),
    row(2, "tunnel",       &["packet", "keys"], &[]),
    row(2, "path",         &["keys", "packet-ident", "disco", "stun", "transport"], &[]),
    row(3, "dataplane",    &["packet", "keys", "packet-ident", "stun", "disco", "transport", "tunnel", "path", "clock?"], &[]),
    row(3, "derp",         &["packet", "transport", "keys", "clock?", "packet-ident"], &["disco"]),
    row(3, "udp",          &["packet", "transport", "clock"], &[]),
    row(3, "tun",          &["packet", "transport", "clock"], &[]),
    row(3, "netstack",     &["packet", "transport", "clock"], &[]),
    row(4, "netcheck",     &["derp", "stun", "keys", "transport", "packet", "clock?"], &["relay"]),
    row(4, "relay",        &["keys", "packet-ident", "stun", "disco", "clock", "derp"], &["packet", "transport"]),
    row(4, "wg",           &["dataplane", "udp", "tun", "packet", "keys", "transport", "clock"], &[]),
    row(5, "node",         &["packet", "keys", "packet-ident", "stun", "disco", "transport", "clock", "dataplane", "derp", "udp", "tun",
                             "netstack", "netcheck"], &["relay"]),
    row(6, "cli",          &["node", "relay", "wg", "netcheck", "derp", "keys", "packet", "packet-ident", "disco", "stun"], &[]),
    // Every core, no socket: virtual time would stand still in a crate that reads the clock.
    row(6, "sim",          &["packet", "keys", "packet-ident", "stun", "disco", "transport", "tunnel", "path", "dataplane", "derp",
                             "netstack", "netcheck", "relay"], &[]),
];

/// Packages beside the crates, which nobody may depend on, and the crates of ours that they may know.
pub(crate) const OTHERS: &[(&str, &[&str])] = &[
    // It checks the workspace from outside: with a crate of ours it would not build when that crate does not.
    ("xtask", &[]),
    (
        "tidewire-fuzz",
        &[
            "packet",
            "keys",
            "packet-ident",
            "stun",
            "disco",
            "transport",
            "tunnel",
            "path",
            "dataplane",
            "derp",
            "tun",
            "netstack",
            "relay",
            "wg",
        ],
    ),
    (
        "tidewire-bench",
        &[
            "packet",
            "keys",
            "packet-ident",
            "stun",
            "disco",
            "transport",
            "clock",
            "tunnel",
            "path",
            "dataplane",
            "derp",
            "udp",
            "tun",
            "netstack",
            "relay",
            "wg",
            "node",
        ],
    ),
];

/// A build whose dependency tree must not hold something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Free {
    pub(crate) name: &'static str,
    /// What to ask of cargo beside the package.
    pub(crate) build: Build,
    pub(crate) of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    NoDefault,
    AllFeatures,
}

impl Build {
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::NoDefault => "--no-default-features",
            Self::AllFeatures => "--all-features",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// No feature `std` anywhere below, and `#![no_std]` in the crate itself.
    Std,
    /// No package tokio anywhere below.
    Tokio,
}

const fn free(name: &'static str, build: Build, of: Of) -> Free {
    Free { name, build, of }
}

/// What stays free of what.
pub(crate) const FREE: &[Free] = &[
    free("packet", Build::NoDefault, Of::Std),
    free("keys", Build::NoDefault, Of::Std),
    free("packet-ident", Build::NoDefault, Of::Std),
    free("stun", Build::NoDefault, Of::Std),
    free("disco", Build::NoDefault, Of::Std),
    free("transport", Build::AllFeatures, Of::Tokio),
    free("tunnel", Build::AllFeatures, Of::Tokio),
    free("path", Build::AllFeatures, Of::Tokio),
    free("dataplane", Build::NoDefault, Of::Tokio),
    free("derp", Build::NoDefault, Of::Tokio),
    free("netstack", Build::NoDefault, Of::Tokio),
    free("netcheck", Build::NoDefault, Of::Tokio),
    free("relay", Build::NoDefault, Of::Tokio),
    free("sim", Build::AllFeatures, Of::Tokio),
];

/// A feature set that clippy and the compiler see apart from the default one. Features unify over a workspace build, so a
/// missing `cfg` shows only here. Each crate that declares a feature has a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FeatureSet {
    pub(crate) name: &'static str,
    /// Without default features, with these; `None` = with all.
    pub(crate) features: Option<&'static [&'static str]>,
}

const fn alone(name: &'static str) -> FeatureSet {
    FeatureSet { name, features: Some(&[]) }
}

const fn all(name: &'static str) -> FeatureSet {
    FeatureSet { name, features: None }
}

/// The feature sets that matter.
pub(crate) const FEATURE_SETS: &[FeatureSet] = &[
    alone("packet"),
    alone("keys"),
    all("keys"),
    alone("packet-ident"),
    alone("stun"),
    alone("disco"),
    alone("transport"),
    alone("tunnel"),
    alone("path"),
    alone("dataplane"),
    all("dataplane"),
    alone("derp"),
    FeatureSet { name: "derp", features: Some(&["serde"]) },
    all("derp"),
    alone("netstack"),
    alone("wg"),
    alone("node"),
    all("node"),
    alone("netcheck"),
    all("netcheck"),
    alone("relay"),
    alone("cli"),
];
