//! The tokens of TOML, JSON, Jinja and mathematics alike: words, numbers, strings, marks, blanks.

/// A text in pieces, which together are the text.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = |fits: fn(char) -> bool| rest.find(|c| !fits(c)).unwrap_or(rest.len());
        let length = match first {
            '"' | '\'' => string(rest, first),
            c if c.is_ascii_digit() => run(|c| c.is_ascii_alphanumeric() || c == '.'),
            c if c.is_alphanumeric() || c == '_' => run(|c| c.is_alphanumeric() || c == '_' || c == '-'),
            '\n' => 1,
            c if c.is_whitespace() => run(|c| c.is_whitespace() && c != '\n'),
            _ => {
                let pairs = ["{{", "}}", "{%", "%}", "[[", "]]", "==", "</"];
                pairs.iter().find(|pair| rest.starts_with(**pair)).map_or(first.len_utf8(), |pair| pair.len())
            }
        };
        let (token, after) = rest.split_at(length);
        found.push(token);
        rest = after;
    }
    found
}

/// The length of a string with its quotes; of one that does not end on its line, that of the quote.
fn string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => break,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    1
}

#[test]
fn tokens_are_the_text() {
    let text = "[a.b]\nx = \"y \\\" z\" # it's\n{% if c == 1e-3 %}é{{ d }}";
    assert_eq!(tokens(text).concat(), text);
    assert!(tokens(text).contains(&"\"y \\\" z\"") && tokens(text).contains(&"{%"));
}
