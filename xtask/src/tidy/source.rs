//! Rules for Rust source: sizes, first lines, words and attributes, judged on code without its comments and literals.

mod blank;

use super::Finding;

/// Lines of a file, its tests not counted.
const FILE_LINES: usize = 400;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES: usize = 60;

/// A transport can only claim who sent a packet, so the word for who it is does not occur in one.
const NO_PEER_ID: &[&str] = &["transport", "udp", "tun", "netstack", "derp"];
/// The crates that make system calls which no library offers.
const UNSAFE_ALLOWED: &[&str] = &["udp", "tun"];

const FORBIDDEN_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];
const PRINTING_MACROS: &[&str] = &["println", "eprintln", "print", "eprint"];
/// Words that say nothing, as a part of a name.
const EMPTY_WORDS: &[&str] = &["manager", "handler", "helper", "helpers", "util", "utils"];
/// Words with too many meanings in this field, as a whole name.
const VAGUE_NAMES: &[&str] = &["endpoint", "conn"];

/// Checks one file. `only_tests` = it is a module of tests alone.
pub(super) fn check(path: &str, content: &str, only_tests: bool) -> Vec<Finding> {
    let code = blank::code_only(content);
    let lines: Vec<&str> = code.lines().collect();
    let tests_from = tests_begin(&lines);
    let mut findings: Vec<Finding> = first_line(path, content).into_iter().collect();
    if !only_tests && !is_test_code(path) {
        findings.extend(file_size(path, tests_from));
        findings.extend(functions(path, &lines[..tests_from]));
        findings.extend(prints(path, &lines[..tests_from]));
    }
    findings.extend(words(path, &lines));
    findings.extend(names(path, &lines));
    findings.extend(peer_ids(path, content));
    findings.extend(forbids_unsafe(path, &lines));
    findings
}

/// The crate that a path belongs to, if it is one of `crates/`.
fn crate_folder(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split('/').next()
}

/// Whole files that only tests, benches and fuzz targets use: long tables and scripts of events are at home there.
fn is_test_code(path: &str) -> bool {
    path.starts_with("fuzz/")
        || path.ends_with("/tests.rs")
        || ["/tests/", "/benches/"].iter().any(|part| path.contains(part))
}

/// The files that a file declares by `#[cfg(test)] mod name;`.
pub(super) fn test_modules(path: &str, content: &str) -> Vec<String> {
    let code = blank::code_only(content);
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let stem = path.trim_end_matches(".rs");
    let folder = ["lib", "main", "mod"]
        .iter()
        .find_map(|root| stem.strip_suffix(root)?.strip_suffix('/'))
        .unwrap_or(stem);
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let names = declared.filter_map(|pair| word_after(pair[1].strip_suffix(';')?, "mod"));
    names.map(|name| format!("{folder}/{name}.rs")).collect()
}

/// The index of the line where the tests of a file begin, or its length.
fn tests_begin(lines: &[&str]) -> usize {
    let is_test_module = |at: usize| {
        lines[at].trim().starts_with("#[cfg(")
            && lines[at].contains("test")
            && lines[at + 1..]
                .iter()
                .map(|line| line.trim())
                .find(|line| !line.starts_with("#["))
                .is_some_and(|line| {
                    line.trim_start_matches("pub(crate) ").starts_with("mod ") && line.ends_with('{')
                })
    };
    (0..lines.len()).find(|at| is_test_module(*at)).unwrap_or(lines.len())
}

fn first_line(path: &str, content: &str) -> Option<Finding> {
    (!content.starts_with("//! "))
        .then(|| Finding::new(path, 1, "the first line must be `//!` and say what this file decides"))
}

fn file_size(path: &str, lines: usize) -> Option<Finding> {
    (lines > FILE_LINES).then(|| {
        Finding::new(
            path,
            0,
            format!("{lines} lines without tests, the most is {FILE_LINES}: give a part its own file"),
        )
    })
}

fn functions(path: &str, lines: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = word_after(line, "fn") else { continue };
        let length = body_end(&lines[index..]);
        if length > FUNCTION_LINES {
            let what = format!("`{name}` has {length} lines, the most is {FUNCTION_LINES}: name its parts");
            findings.push(Finding::new(path, index + 1, what));
        }
    }
    findings
}

/// How many lines an item takes that begins in the first one: to the brace that closes its body, or to a semicolon.
fn body_end(lines: &[&str]) -> usize {
    let (mut braces, mut brackets, mut began) = (0_usize, 0_usize, false);
    for (index, line) in lines.iter().enumerate() {
        let from = if index == 0 { find_word(line, "fn").unwrap_or(0) } else { 0 };
        for c in line[from..].chars() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                '{' => (braces, began) = (braces + 1, true),
                '}' => braces = braces.saturating_sub(1),
                ';' if !began && brackets == 0 => return index + 1,
                _ => continue,
            }
            if began && braces == 0 {
                return index + 1;
            }
        }
    }
    lines.len()
}

fn words(path: &str, lines: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        for name in FORBIDDEN_MACROS {
            let invoked = |at: usize| line[at + name.len()..].trim_start().starts_with('!');
            if word_positions(line, name).any(invoked) {
                findings.push(Finding::new(path, index + 1, format!("`{name}!` is no finished work")));
            }
        }
        let attribute = line.replace(' ', "");
        if attribute.contains("#[ignore]") || attribute.contains("#[ignore=") {
            findings.push(Finding::new(
                path,
                index + 1,
                "a test that does not run proves nothing: `ignore` is not used",
            ));
        }
    }
    findings
}

/// A library does not write to a terminal that is somebody else's.
fn prints(path: &str, lines: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if crate_folder(path).is_none_or(|folder| folder == "cli") {
        return findings;
    }
    for (index, line) in lines.iter().enumerate() {
        let printed =
            |name: &&&str| word_positions(line, name).any(|at| line[at + name.len()..].starts_with('!'));
        if let Some(name) = PRINTING_MACROS.iter().find(printed) {
            findings.push(Finding::new(
                path,
                index + 1,
                format!("`{name}!` in a library: use tracing, or return it"),
            ));
        }
    }
    findings
}

fn names(path: &str, lines: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    if is_empty_name(stem) {
        findings.push(Finding::new(
            path,
            0,
            format!("`{stem}` says nothing: name the module for what it decides"),
        ));
    }
    for (index, line) in lines.iter().enumerate() {
        for keyword in ["struct", "enum", "trait", "type", "union", "mod"] {
            if let Some(name) = word_after(line, keyword).filter(|name| is_empty_name(name)) {
                let what = format!(
                    "`{name}` says nothing, or too much at once: use the standard term for what it is"
                );
                findings.push(Finding::new(path, index + 1, what));
            }
        }
    }
    findings
}

/// Whether a name, in whichever case, is vague or has an empty word in it.
fn is_empty_name(name: &str) -> bool {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    VAGUE_NAMES.contains(&snake.as_str()) || snake.split('_').any(|word| EMPTY_WORDS.contains(&word))
}

fn peer_ids(path: &str, content: &str) -> Vec<Finding> {
    if !crate_folder(path).is_some_and(|folder| NO_PEER_ID.contains(&folder)) {
        return Vec::new();
    }
    let lines = content.lines().enumerate().filter(|(_, line)| find_word(line, "PeerId").is_some());
    lines
        .map(|(index, _)| {
            Finding::new(
                path,
                index + 1,
                "a transport knows no `PeerId`: identity comes from cryptography alone",
            )
        })
        .collect()
}

fn forbids_unsafe(path: &str, lines: &[&str]) -> Option<Finding> {
    let is_root =
        path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs") || path.contains("/src/bin/");
    let may = crate_folder(path).is_some_and(|folder| UNSAFE_ALLOWED.contains(&folder));
    let forbids = lines.iter().any(|line| line.trim() == "#![forbid(unsafe_code)]");
    (is_root && !may && !forbids).then(|| Finding::new(path, 0, "no `#![forbid(unsafe_code)]`"))
}

/// The word that follows a keyword on a line.
fn word_after<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    word_positions(line, keyword).find_map(|at| {
        let rest = line[at + keyword.len()..].strip_prefix(' ')?.trim_start().trim_start_matches("r#");
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

fn find_word(line: &str, word: &str) -> Option<usize> {
    word_positions(line, word).next()
}

/// Where a word stands by itself.
fn word_positions<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !line[..*at].chars().next_back().is_some_and(is_word)
            && !line[at + word.len()..].chars().next().is_some_and(is_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "//! What this decides.\n#![forbid(unsafe_code)]\n";

    fn whats(path: &str, body: &str) -> Vec<String> {
        check(path, &format!("{HEAD}{body}"), false).into_iter().map(|finding| finding.what).collect()
    }

    fn lines(count: usize) -> String {
        "const _: () = ();\n".repeat(count)
    }

    #[test]
    fn a_clean_file_passes() {
        assert!(whats("crates/path/src/lib.rs", "/// PeerId\nfn a() -> PeerId { PeerId(1) }\n").is_empty());
    }

    #[test]
    fn the_first_line_says_what_the_file_decides() {
        assert_eq!(check("crates/a/src/b.rs", "use x;\n", false).len(), 1);
        assert_eq!(check("crates/a/src/b.rs", "", false).len(), 1);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        assert_eq!(whats("crates/a/src/b.rs", &lines(398)).len(), 0);
        assert_eq!(whats("crates/a/src/b.rs", &lines(399)).len(), 1);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(398), lines(500));
        assert_eq!(whats("crates/a/src/b.rs", &tested).len(), 0);
        assert_eq!(whats("crates/a/tests/b.rs", &lines(1000)).len(), 0);
    }

    #[test]
    fn a_test_only_import_does_not_end_the_counting() {
        let body = format!("#[cfg(test)]\nuse x;\n{}", lines(400));
        assert_eq!(whats("crates/a/src/b.rs", &body).len(), 1);
    }

    #[test]
    fn a_module_that_only_tests_declare_is_known() {
        let declared = "#[cfg(test)]\nmod vectors;\n#[cfg(test)]\nmod tests {}\nmod other;\n";
        assert_eq!(test_modules("crates/a/src/lib.rs", declared), ["crates/a/src/vectors.rs"]);
        assert_eq!(test_modules("crates/a/src/b.rs", declared), ["crates/a/src/b/vectors.rs"]);
        assert!(check("crates/a/src/vectors.rs", &format!("{HEAD}{}", lines(500)), true).is_empty());
    }

    #[test]
    fn a_long_function_is_found_by_name() {
        let function =
            |lines: usize| format!("pub fn long(\n    a: [u8; 3],\n) {{\n{}}}\n", "    a;\n".repeat(lines));
        assert!(whats("crates/a/src/b.rs", &function(56)).is_empty());
        let found = whats("crates/a/src/b.rs", &function(57));
        assert!(found[0].starts_with("`long` has 61 lines"), "{found:?}");
    }

    #[test]
    fn a_signature_without_a_body_is_short() {
        let body =
            format!("trait A {{\n    fn a(&self) -> [u8; 4];\n{}}}\n", "    const B: u8;\n".repeat(80));
        assert!(whats("crates/a/src/b.rs", &body).is_empty());
    }

    #[test]
    fn unfinished_work_is_found_in_code_but_not_in_words() {
        for name in FORBIDDEN_MACROS {
            assert_eq!(whats("crates/a/src/b.rs", &format!("fn a() {{ {name}!() }}\n")).len(), 1, "{name}");
            assert!(
                whats("crates/a/src/b.rs", &format!("// {name}!\nconst A: &str = \"{name}!\";\n")).is_empty()
            );
        }
        assert_eq!(whats("crates/a/tests/b.rs", "#[ignore = \"slow\"]\n").len(), 1);
    }

    #[test]
    fn libraries_do_not_print() {
        let body = "fn a() { println!(); }\n";
        assert_eq!(whats("crates/a/src/b.rs", body).len(), 1);
        for path in ["crates/cli/src/b.rs", "crates/a/tests/b.rs", "xtask/src/b.rs"] {
            assert!(whats(path, body).is_empty(), "{path}");
        }
        assert!(whats("crates/a/src/b.rs", &format!("#[cfg(test)]\nmod tests {{\n{body}}}\n")).is_empty());
    }

    #[test]
    fn empty_names_are_found() {
        for name in [
            "struct PeerManager",
            "enum HandlerKind",
            "trait Helper",
            "mod utils",
            "type Conn",
            "struct Endpoint",
        ] {
            assert_eq!(whats("crates/a/src/b.rs", &format!("pub {name} {{}}\n")).len(), 1, "{name}");
        }
        assert!(
            whats("crates/a/src/b.rs", "struct Connection;\nstruct EndpointList;\nstruct Utility;\n")
                .is_empty()
        );
        assert_eq!(whats("crates/a/src/utils.rs", "").len(), 1);
        assert_eq!(whats("crates/a/src/peer_manager.rs", "").len(), 1);
    }

    #[test]
    fn a_transport_knows_no_peer_id() {
        for folder in NO_PEER_ID {
            let path = format!("crates/{folder}/src/lib.rs");
            assert_eq!(whats(&path, "// a PeerId\n").len(), 1, "{folder}");
            assert!(whats(&path, "struct PeerIdea;\n").is_empty());
        }
        assert!(whats("crates/path/src/lib.rs", "// a PeerId\n").is_empty());
    }

    #[test]
    fn unsafe_code_is_forbidden_but_in_two_crates() {
        let without = "//! x\n// #![forbid(unsafe_code)]\n";
        for path in [
            "crates/keys/src/lib.rs",
            "crates/cli/src/main.rs",
            "crates/cli/src/bin/x.rs",
            "xtask/src/main.rs",
        ] {
            assert_eq!(check(path, without, false).len(), 1, "{path}");
        }
        for path in [
            "crates/udp/src/lib.rs",
            "crates/tun/src/lib.rs",
            "crates/keys/src/inner.rs",
            "crates/keys/tests/a.rs",
        ] {
            assert!(check(path, without, false).is_empty(), "{path}");
        }
    }
}
