//! Rust as text, as little of it as the rules need: what is code, and which paths it names.

/// Comments, strings and characters blanked out, so that what looks like code is code.
pub fn without_literals(text: &str) -> String {
    blanked(text, |_| true)
}

/// Comments alone blanked out.
pub fn without_comments(text: &str) -> String {
    blanked(text, |literal| literal.starts_with('/'))
}

fn blanked(text: &str, which: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = literal(rest, out.chars().last()).unwrap_or(0);
        if length > 0 && !which(&rest[..length]) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        } else if length > 0 {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// The length of the comment or literal that `rest` starts with.
fn literal(rest: &str, before: Option<char>) -> Option<usize> {
    let in_name = before.is_some_and(in_name);
    let raw = rest.strip_prefix("br").or(rest.strip_prefix('r')).filter(|_| !in_name);
    if rest.starts_with("//") {
        Some(rest.find('\n').unwrap_or(rest.len()))
    } else if rest.starts_with("/*") {
        Some(rest.find("*/").map_or(rest.len(), |end| end + 2))
    } else if let Some(hashed) = raw.filter(|r| r.trim_start_matches('#').starts_with('"')) {
        let hashes = hashed.len() - hashed.trim_start_matches('#').len();
        let opened = rest.len() - hashed.len() + hashes + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        Some(rest[opened..].find(&close).map_or(rest.len(), |end| opened + end + close.len()))
    } else if rest.starts_with('"') {
        Some(quoted(rest, '"'))
    } else if let Some(inside) = rest.strip_prefix('\'') {
        let escaped = inside.starts_with('\\');
        let closed = rest.chars().nth(2) == Some('\''); // otherwise a lifetime
        (escaped || closed).then(|| quoted(rest, '\''))
    } else {
        None
    }
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Every item under `#[cfg(test)]` cut out.
pub fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let Some(start) = code.find(MARK) else { return code.into() };
    let mut depth = 0;
    let mut end = code.len();
    for (at, c) in code[start + MARK.len()..].char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 && (c == '}' || c == ';') {
            end = start + MARK.len() + at + 1;
            break;
        }
    }
    format!("{}{}", &code[..start], without_tests(&code[end..]))
}

/// What stands in the parentheses of every attribute `name`.
pub fn attributes(code: &str, name: &str) -> Vec<String> {
    let inside = |rest: &str| {
        let mut depth = 1;
        let end = rest.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    code.split(&format!("#[{name}(")).skip(1).map(inside).collect()
}

/// Every path of two segments or more, `use` trees spelled out: `a::{b, c::*}` is `a::b` and `a::c::*`.
pub fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        if in_name(c) && !in_name(before) {
            rest = tree(rest, &[], &mut found);
            before = 'x';
        } else {
            before = c;
            rest = &rest[c.len_utf8()..];
        }
    }
    found.retain(|path| path.len() > 1);
    found
}

/// Reads one `use` tree from the front of `rest`; returns what follows it.
fn tree<'a>(rest: &'a str, prefix: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let rest = rest.trim_start();
    let end = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
    let with = |name: &str| [prefix, &[name.to_string()]].concat();
    if let Some(mut list) = rest.strip_prefix('{') {
        loop {
            list = tree(list, prefix, found);
            let Some(close) = list.find([',', '}']) else { return "" };
            let closed = list[close..].starts_with('}');
            list = &list[close + 1..];
            if closed {
                return list;
            }
        }
    } else if let Some(after) = rest.strip_prefix('*') {
        found.push(with("*"));
        after
    } else if end == 0 {
        rest
    } else {
        let path = with(&rest[..end]);
        let deeper =
            rest[end..].strip_prefix("::").filter(|r| r.starts_with(|c| in_name(c) || c == '{' || c == '*'));
        match deeper {
            Some(deeper) => tree(deeper, &path, found),
            None => {
                found.push(path);
                &rest[end..]
            }
        }
    }
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
