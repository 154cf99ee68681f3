//! What all rounds of a comparison gave: medians, ratios of them, and which goals they meet.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

/// Ours, in every comparison.
pub(super) const OURS: &str = "tidewire";

/// Samples by program and measure, and the goals that they are held against.
#[derive(Debug)]
pub(super) struct Report {
    samples: BTreeMap<(&'static str, String), Vec<f64>>,
    goals: Vec<Goal>,
}

/// A ratio or a figure of a program of ours, and what it is to be.
#[derive(Debug)]
pub(super) struct Goal {
    name: String,
    program: &'static str,
    measure: String,
    of: Of,
    wanted: Wanted,
}

/// Which figure of all samples is judged.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// The median, as a ratio to the median of another program.
    Ratio(&'static str),
    Median,
    Largest,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    pub(super) fn ratio(
        name: impl Into<String>,
        measure: impl Into<String>,
        other: &'static str,
        wanted: Wanted,
    ) -> Self {
        Self { name: name.into(), program: OURS, measure: measure.into(), of: Of::Ratio(other), wanted }
    }

    /// The figure itself.
    pub(super) fn own(measure: impl Into<String>, wanted: Wanted) -> Self {
        let measure = measure.into();
        Self { name: measure.clone(), program: OURS, measure, of: Of::Median, wanted }
    }

    /// For what may not happen in any round.
    pub(super) fn never_more(measure: impl Into<String>, most: f64) -> Self {
        Self { of: Of::Largest, ..Self::own(measure, Wanted::AtMost(most)) }
    }

    /// Judges another program of ours.
    pub(super) fn by(self, program: &'static str) -> Self {
        Self { program, ..self }
    }
}

impl Report {
    pub(super) fn new(goals: Vec<Goal>) -> Self {
        Self { samples: BTreeMap::new(), goals }
    }

    pub(super) fn add(&mut self, program: &'static str, measure: impl Into<String>, value: f64) {
        self.samples.entry((program, measure.into())).or_default().push(value);
    }

    /// What came out for each goal by its name (null: not measured), which goals were missed, and all medians by program.
    pub(super) fn json(&self) -> Value {
        let mut object = Map::new();
        let mut missed = Vec::new();
        for goal in &self.goals {
            let value = self.value(goal);
            if value.is_some_and(|value| !goal.wanted.is_met(value)) {
                missed.push(goal.name.as_str());
            }
            object.insert(goal.name.clone(), json!(value.map(rounded)));
        }
        object.insert("missed".to_owned(), json!(missed));
        let mut medians: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
        for ((program, measure), samples) in &self.samples {
            medians.entry(program).or_default().insert(measure, rounded(median(samples)));
        }
        object.insert("medians".to_owned(), json!(medians));
        Value::Object(object)
    }

    pub(super) fn print(&self) {
        let mut programs: Vec<&str> = self.samples.keys().map(|(program, _)| *program).collect();
        programs.dedup();
        programs.sort_by_key(|program| *program != OURS);
        let mut measures: Vec<&str> = self.samples.keys().map(|(_, measure)| measure.as_str()).collect();
        measures.sort_unstable();
        measures.dedup();
        let cells: String = programs.iter().map(|program| format!("{program:>16}")).collect();
        println!("{:<36}{cells}", "medians");
        for measure in measures {
            let cell = |program: &&str| match self.median(program, measure) {
                Some(median) => format!("{:>16}", rounded(median)),
                None => format!("{:>16}", "-"),
            };
            println!("{measure:<36}{}", programs.iter().map(cell).collect::<String>());
        }
        println!();
        for goal in &self.goals {
            let (value, verdict) = match self.value(goal) {
                Some(value) if goal.wanted.is_met(value) => (rounded(value).to_string(), "met"),
                Some(value) => (rounded(value).to_string(), "MISSED"),
                None => ("-".to_owned(), "not measured"),
            };
            println!("{:<44}{value:>10}{:>12}  {verdict}", goal.name, goal.wanted.to_string());
        }
    }

    fn value(&self, goal: &Goal) -> Option<f64> {
        let ours = self.samples(goal.program, &goal.measure)?;
        match goal.of {
            Of::Ratio(other) => Some(median(ours) / self.median(other, &goal.measure)?),
            Of::Median => Some(median(ours)),
            Of::Largest => ours.iter().copied().max_by(f64::total_cmp),
        }
    }

    fn median(&self, program: &str, measure: &str) -> Option<f64> {
        self.samples(program, measure).map(median)
    }

    fn samples(&self, program: &str, measure: &str) -> Option<&[f64]> {
        let of_it = |key: &&(&'static str, String)| key.0 == program && key.1 == measure;
        self.samples.get(self.samples.keys().find(of_it)?).map(Vec::as_slice)
    }
}

impl Wanted {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
        }
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// As many digits as mean something.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_one_of_medians() {
        let goal = |other| Goal::ratio(format!("tcp_vs_{other}"), "tcp_gbit", other, Wanted::AtLeast(1.5));
        let mut report = Report::new(vec![goal("a"), goal("b"), Goal::own("tcp_gbit", Wanted::AtLeast(1.0))]);
        for value in [6.0, 100.0, 5.0] {
            report.add(OURS, "tcp_gbit", value);
        }
        report.add("a", "tcp_gbit", 3.0);
        let json = report.json();
        assert_eq!(json["tcp_vs_a"], 2.0);
        assert_eq!(json["tcp_gbit"], 6.0);
        assert_eq!(json["medians"]["a"]["tcp_gbit"], 3.0);
        assert!(json["tcp_vs_b"].is_null());
        assert_eq!(json["missed"], json!([]));
    }

    #[test]
    fn what_may_never_happen_is_judged_by_its_worst_round() {
        let mut report = Report::new(vec![Goal::never_more("lost", 0.0)]);
        for value in [0.0, 0.0, 2.0] {
            report.add(OURS, "lost", value);
        }
        assert_eq!(report.json()["missed"], json!(["lost"]));
    }
}
