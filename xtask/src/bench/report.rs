//! What all rounds of a comparison gave: medians, ratios of them, and which goals they meet.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Ours, in every comparison.
pub(super) const OURS: &str = "tidewire";

/// Samples by program and measure, and the goals that they are held against.
#[derive(Debug)]
pub(super) struct Report {
    samples: BTreeMap<(&'static str, String), Vec<f64>>,
    goals: Vec<Goal>,
}

/// A ratio or a figure of ours, and what it is to be.
#[derive(Debug)]
pub(super) struct Goal {
    name: String,
    measure: String,
    /// Of whose median ours is a ratio; `None`: our median itself.
    other: Option<&'static str>,
    wanted: Wanted,
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
        Self { name: name.into(), measure: measure.into(), other: Some(other), wanted }
    }

    pub(super) fn own(measure: impl Into<String>, wanted: Wanted) -> Self {
        let measure = measure.into();
        Self { name: measure.clone(), measure, other: None, wanted }
    }
}

impl Report {
    pub(super) fn new(goals: Vec<Goal>) -> Self {
        Self { samples: BTreeMap::new(), goals }
    }

    pub(super) fn add(&mut self, program: &'static str, measure: impl Into<String>, value: f64) {
        self.samples.entry((program, measure.into())).or_default().push(value);
    }

    /// What came out for each goal by its name, and all medians by program.
    pub(super) fn json(&self) -> Value {
        let mut object = Map::new();
        for goal in &self.goals {
            if let Some(value) = self.value(goal) {
                object.insert(goal.name.clone(), json!(rounded(value)));
            }
        }
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
            let Some(value) = self.value(goal) else { continue };
            let (is_met, wanted) = match goal.wanted {
                Wanted::AtLeast(least) => (value >= least, format!(">= {least}")),
                Wanted::AtMost(most) => (value <= most, format!("<= {most}")),
            };
            let verdict = if is_met { "met" } else { "MISSED" };
            println!("{:<44}{:>10}{wanted:>12}  {verdict}", goal.name, rounded(value));
        }
    }

    fn value(&self, goal: &Goal) -> Option<f64> {
        let ours = self.median(OURS, &goal.measure)?;
        match goal.other {
            Some(other) => Some(ours / self.median(other, &goal.measure)?),
            None => Some(ours),
        }
    }

    fn median(&self, program: &str, measure: &str) -> Option<f64> {
        let (_, samples) = self.samples.iter().find(|((p, m), _)| *p == program && m == measure)?;
        Some(median(samples))
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
        assert!(json.get("tcp_vs_b").is_none());
    }
}
