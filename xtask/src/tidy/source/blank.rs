//! What of a Rust file is code: comments and the insides of literals become blanks, lines and columns stay.

/// The source with everything blanked that a compiler would not read as code.
pub(super) fn code_only(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let (length, is_code) = match literal_or_comment(rest, after_word) {
            Some(length) => (length, false),
            None => (first.len_utf8(), true),
        };
        let (piece, tail) = rest.split_at(length);
        if is_code {
            out.push_str(piece);
        } else {
            out.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        after_word = is_code && (first.is_alphanumeric() || first == '_');
        rest = tail;
    }
    out
}

/// How long the comment or literal is that begins here, if one does. `after_word` = the character before belongs to a word,
/// so a letter here is no prefix of a string.
fn literal_or_comment(text: &str, after_word: bool) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    if text.starts_with('\'') {
        return character(text);
    }
    if text.starts_with('"') {
        return Some(quoted(text, 1));
    }
    if after_word {
        return None;
    }
    let prefix = ["br", "cr", "r", "b", "c"].into_iter().find(|prefix| text.starts_with(prefix))?;
    let tail = &text[prefix.len()..];
    if prefix.ends_with('r') {
        return raw(tail).map(|length| prefix.len() + length);
    }
    match tail.chars().next()? {
        '"' => Some(quoted(text, prefix.len() + 1)),
        '\'' if prefix == "b" => character(tail).map(|length| 1 + length),
        _ => None,
    }
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(step) = text.get(at..).and_then(|rest| rest.find(['/', '*']).map(|found| at + found)) {
        at = step + 1;
        if text[step..].starts_with("/*") {
            (depth, at) = (depth + 1, step + 2);
        } else if text[step..].starts_with("*/") {
            (depth, at) = (depth.saturating_sub(1), step + 2);
            if depth == 0 {
                return at;
            }
        }
    }
    text.len()
}

/// A string with escapes; `from` is behind its opening quote.
fn quoted(text: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, c) in text[from..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return from + at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A raw string from its hashes on; a raw identifier is none.
fn raw(text: &str) -> Option<usize> {
    let hashes = text.bytes().take_while(|b| *b == b'#').count();
    let body = text[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&close).map_or(text.len(), |at| hashes + 1 + at + close.len()))
}

/// A character, as opposed to a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (after_escape, _) = chars.nth(1)?;
        return text[after_escape..].find('\'').map(|at| after_escape + at + 1).or(Some(text.len()));
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::code_only;

    #[test]
    fn comments_are_blanked_and_lines_stay() {
        assert_eq!(code_only("a // b\nc"), "a     \nc");
        assert_eq!(
            code_only("a /* b /* c */ \n d */ e"),
            format!("a {}\n{} e", " ".repeat(13), " ".repeat(5))
        );
        assert_eq!(code_only("//! x\n"), "     \n");
    }

    #[test]
    fn every_form_of_string_is_blanked() {
        for literal in [
            r#""a\"b{""#,
            r##"r"a\""##,
            r###"r#"a"b"#"###,
            r#"b"{""#,
            r##"br#"{"#"##,
            r#"c"{""#,
            "'{'",
            r"'\''",
            "b'{'",
            r"'\u{7b}'",
        ] {
            assert_eq!(
                code_only(&format!("x({literal});")),
                format!("x({});", " ".repeat(literal.len())),
                "{literal}"
            );
        }
    }

    #[test]
    fn lifetimes_and_raw_names_are_code() {
        for code in ["fn a<'a>(b: &'a str)", "let r#type = br;", "'outer: loop {}", "for_bar(b)", "x.r"] {
            assert_eq!(code_only(code), code);
        }
    }

    #[test]
    fn an_end_missing_blanks_to_the_end() {
        for open in ["\"a", "/* a", "r#\"a\""] {
            assert_eq!(code_only(&format!("x {open}")), format!("x {}", " ".repeat(open.len())));
        }
    }
}
