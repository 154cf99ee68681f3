//! Rules for every text file: clean line ends, and no name of a place outside of the project.

use super::Finding;

/// Written by tools, compared byte for byte.
const GENERATED: &[&str] = &[".lock", ".snap", ".stderr", ".pem"];

/// Folders of some machine, in pieces so that this file passes.
const PLACES: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// What may stand before an absolute path, so that `frame/work/` is none.
const BEFORE_PATH: &[char] = &[' ', '\t', '"', '\'', '`', '(', '[', '<', '=', ':', ',', '>'];

/// Checks one file.
pub(super) fn check(path: &str, content: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if GENERATED.iter().any(|end| path.ends_with(end)) {
        return findings;
    }
    for (index, line) in content.split('\n').enumerate() {
        let mut finding = |what: String| findings.push(Finding::new(path, index + 1, what));
        if line.ends_with([' ', '\t', '\r']) {
            finding("white space at the end of the line".into());
        }
        for place in PLACES.iter().filter(|place| names_place(line, place)) {
            finding(format!("`{place}` is a place of one machine: say it relative to the project"));
        }
        if names_ticket(line) {
            finding("a numbered ticket means nothing to a reader of the code: say the reason itself".into());
        }
    }
    if !content.is_empty() && !content.ends_with('\n') {
        findings.push(Finding::new(path, 0, "the last line has no end"));
    }
    findings
}

fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place)
        .any(|(at, _)| line[..at].chars().next_back().is_none_or(|c| BEFORE_PATH.contains(&c)))
}

/// The word `issue` and then a number, with or without a hash, in any case. The verb (a relay issues 1 and above) is none.
fn names_ticket(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    lower.match_indices("issue").any(|(at, word)| {
        let rest = &lower[at + word.len()..];
        let number =
            rest.strip_prefix(" #").or_else(|| rest.strip_prefix("s #")).or_else(|| rest.strip_prefix(' '));
        number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(content: &str) -> Vec<String> {
        check("docs/x.md", content).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn clean_text_passes() {
        assert!(whats("# x\n\nThe frame/work/ is fine, an issue is fine, #7 too.\n").is_empty());
    }

    #[test]
    fn white_space_and_a_missing_end_are_found() {
        assert_eq!(whats("a \nb").len(), 2);
        assert_eq!(whats("a\r\n").len(), 1, "a carriage return is white space too");
        assert!(check("x.snap", "a \n").is_empty());
    }

    #[test]
    fn places_of_one_machine_are_found() {
        for place in PLACES {
            assert_eq!(whats(&format!("see {place}x\n")).len(), 1, "{place}");
            assert_eq!(whats(&format!("{place}x\n")).len(), 1, "{place} at the start");
            assert!(whats(&format!("a{place}x\n")).is_empty(), "{place} inside of a path");
        }
    }

    #[test]
    fn tickets_are_found() {
        for number in ["1", "23"] {
            assert_eq!(whats(&format!("see issue {number}\n")).len(), 1);
            assert_eq!(whats(&format!("Issue #{number}\n")).len(), 1);
        }
        assert!(whats("issued 3 times; issues of 2 kinds; issues 1 and above\n").is_empty());
    }
}
