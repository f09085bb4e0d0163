//! A recipe file: its text, its table, and the line on which every key stands.

use super::refusal::{Refusal, cut};
use crate::error::quietly;
use crate::section::secret;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use toml::Table;
use toml_edit::{Item, TableLike, Value};

/// A recipe file as read.
#[derive(Debug, Clone)]
pub struct Source {
    file: String,
    table: Table,
    lines: BTreeMap<Vec<String>, usize>,
}

/// Bytes of the largest recipe that is read.
const LARGEST: u64 = 1 << 20;

impl Source {
    /// Reads and parses `path`; an error says what is wrong with the file and what to do.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        if path.is_dir() {
            return fail(format!("{file}: is a folder; {}", name_a_recipe(path)));
        }
        let about = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if !about.is_file() {
            return fail(format!("{file}: a pipe or a device; write the recipe to a file"));
        }
        if about.len() > LARGEST {
            return fail(format!(
                "{file}: a recipe has {} MB at most, and this has {} bytes",
                LARGEST >> 20,
                about.len()
            ));
        }
        let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
        Self::parse(&file, &decode(&file, bytes)?)
    }

    /// Parses `text`, called `file` in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Over some texts that are none it panics; the other reader says what is wrong with them.
        let Ok(document) = quietly(|| toml_edit::Document::parse(text)) else {
            return Err(match toml::from_str::<Table>(text) {
                Err(error) => syntax(file, text, error.span(), error.message()),
                Ok(_) => Error::Recipe(format!("{file}: it cannot be read as TOML; write it plainer")),
            });
        };
        let document = document.map_err(|error| syntax(file, text, error.span(), error.message()))?;
        let table = toml::from_str(text).map_err(|e| Error::Recipe(format!("{file}: {}", e.message())))?;
        let mut lines = BTreeMap::new();
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        walk(document.as_table(), &mut Vec::new(), &mut |path, span| {
            lines.insert(path.to_vec(), 1 + ends.partition_point(|&end| end < span.start));
        });
        Ok(Self { file: file.to_owned(), table, lines })
    }

    /// The file's name as the user gave it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What the file says, nothing merged.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Takes a value out of what the file says; its line is still known.
    pub(super) fn take(&mut self, path: &[&str]) -> Option<toml::Value> {
        let (last, sections) = path.split_last()?;
        sections
            .iter()
            .try_fold(&mut self.table, |table, key| table.get_mut(*key)?.as_table_mut())?
            .remove(*last)
    }

    /// The line of a key; array elements are named by their index (`["stage", "0", "optim"]`).
    pub fn line(&self, path: &[String]) -> Option<usize> {
        self.lines.get(path).copied()
    }

    /// `file:line` of the longest part of `path` that the file has, or `file`.
    pub fn at(&self, path: &[&str]) -> String {
        self.nearest_line(path).map_or(self.file.clone(), |line| format!("{}:{line}", self.file))
    }

    /// Something wrong at `path`.
    pub(super) fn refusal(&self, path: &[&str], message: &str) -> Refusal {
        let text = format!("{}: {message}", self.at(path));
        Refusal { line: self.nearest_line(path), ..Refusal::new(path.join("."), text) }
    }

    fn nearest_line(&self, path: &[&str]) -> Option<usize> {
        let path: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
        (1..=path.len()).rev().find_map(|length| self.line(&path[..length]))
    }
}

fn fail<T>(message: String) -> Result<T> {
    Err(Error::Recipe(message))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let file = path.display();
    Error::Recipe(match error.kind() {
        ErrorKind::NotFound => format!("{file}: no such file; {}", similar(path)),
        ErrorKind::PermissionDenied => format!("{file}: not readable by you; check its permissions"),
        _ => format!("{file}: {error}; check the file"),
    })
}

fn similar(path: &Path) -> String {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    let names = recipes_in(folder);
    match crate::nearest::nearest(&wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {}?", path.with_file_name(name).display()),
        None => name_a_recipe(folder),
    }
}

fn name_a_recipe(folder: &Path) -> String {
    match recipes_in(folder).first() {
        Some(name) => format!("name a recipe file, such as {}", folder.join(name).display()),
        None => "name a recipe file, such as recipes/quickstart.toml".to_owned(),
    }
}

fn recipes_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(".toml") && name != "Cargo.toml").collect();
    names.sort();
    names
}

fn decode(file: &str, bytes: Vec<u8>) -> Result<String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return fail(format!("{file}: is UTF-16; save it as UTF-8"));
    }
    String::from_utf8(bytes).or_else(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        fail(format!("{file}:{line}: not UTF-8 (byte 0x{:02x}); save it as UTF-8", error.as_bytes()[at]))
    })
}

/// `file:line:column: message`, then the line with a caret under the place.
fn syntax(file: &str, text: &str, span: Option<Range<usize>>, message: &str) -> Error {
    let span = span.unwrap_or(0..0);
    let start = (0..=span.start.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let line = line_of(text, start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let content = text[line_start..].lines().next().unwrap_or("");
    let before = &text[line_start..start];
    // Tabs are kept, so that the caret stands under its place however wide the terminal draws them.
    let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let (column, gutter) = (before.chars().count() + 1, " ".repeat(line.to_string().len()));
    let said = in_words(message, text.get(span).unwrap_or(""), &text[start..], content);
    if secret::gives_a_secret(content) {
        let key = content.split('=').next().unwrap_or_default().trim();
        let key = if secret::holds_a_key(key) { "" } else { key };
        let message = in_words(message, key, "", "");
        return Error::Recipe(format!(
            "{file}:{line}:{column}: {message} (at `{key}`, whose value is not shown)"
        ));
    }
    if content.len() > LONGEST_LINE {
        return Error::Recipe(cut(&format!("{file}:{line}:{column}: {said}")));
    }
    Error::Recipe(format!("{file}:{line}:{column}: {said}\n  {line} | {content}\n  {gutter} | {indent}^"))
}

/// Bytes of the longest line that is shown.
const LONGEST_LINE: usize = 400;

fn in_words(message: &str, found: &str, rest: &str, line: &str) -> String {
    let message = message.lines().next().unwrap_or("not TOML");
    if message.starts_with("duplicate key") {
        return format!("`{}` stands twice; keep one", found.trim_matches(['[', ']']));
    }
    if let Some(curly) = line.chars().find(|c| matches!(c, '“' | '”' | '„' | '‘' | '’')) {
        return format!("{message}; {curly} is no TOML quote, write \"");
    }
    let word: String = rest.chars().take_while(|c| !",]}#\r\n".contains(*c)).collect();
    match word.trim() {
        "True" | "False" => format!("write `{}`", word.trim().to_lowercase()),
        "None" | "null" | "nil" => "TOML has no null; leave the key out".to_owned(),
        "" if line.trim_end().ends_with('=') => "no value after `=`".to_owned(),
        word if message.starts_with("invalid mantissa") && word.contains(char::is_alphabetic) => quoted(word),
        word if message.starts_with("invalid boolean")
            || message.starts_with("string values must be quoted") =>
        {
            quoted(word)
        }
        _ if message.starts_with("invalid basic string") => format!("{message}; close the text on its line"),
        _ if message.starts_with("key with no value") => format!("{message}; write `key = value`"),
        _ => message.to_owned(),
    }
}

fn quoted(word: &str) -> String {
    format!("text stands in quotes: \"{word}\"")
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

type Seen<'a> = dyn FnMut(&[String], Range<usize>) + 'a;

fn walk(table: &dyn TableLike, path: &mut Vec<String>, seen: &mut Seen) {
    for (name, item) in table.iter() {
        path.push(name.to_owned());
        let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        if let Some(span) = span {
            seen(path, span);
        }
        walk_item(item, path, seen);
        path.pop();
    }
}

fn walk_item(item: &Item, path: &mut Vec<String>, seen: &mut Seen) {
    if let Some(table) = item.as_table_like() {
        walk(table, path, seen);
    } else if let Some(tables) = item.as_array_of_tables() {
        for (index, table) in tables.iter().enumerate() {
            element(index, table.span(), Some(table), path, seen);
        }
    } else if let Some(values) = item.as_array() {
        for (index, value) in values.iter().enumerate() {
            let table = value.as_inline_table().map(|table| table as &dyn TableLike);
            element(index, Value::span(value), table, path, seen);
        }
    }
}

fn element(
    index: usize,
    span: Option<Range<usize>>,
    table: Option<&dyn TableLike>,
    path: &mut Vec<String>,
    seen: &mut Seen,
) {
    path.push(index.to_string());
    if let Some(span) = span {
        seen(path, span);
    }
    if let Some(table) = table {
        walk(table, path, seen);
    }
    path.pop();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_secret_is_not_shown() {
        let told = |text: &str| Source::parse("a.toml", text).unwrap_err().to_string();
        let said = told("[x]\napi_key = sk-SECRET\n");
        assert!(
            said.contains("a.toml:2:") && said.contains("`api_key`") && !said.contains("SECRET"),
            "{said}"
        );
        let said = told("[x]\nurl = \"http://u:SECRET@h\n");
        assert!(said.contains("a.toml:2:") && said.contains("`url`") && !said.contains("SECRET"), "{said}");
        assert!(told("[x]\nlr = high\n").contains("2 | lr = high"));
    }

    /// toml_edit 0.23 panics over it.
    #[test]
    fn a_table_that_is_not_closed_is_told_with_its_line() {
        let told = Source::parse("a.toml", "a.b.c = {\n[[stage]]\na.b.c.d = 1\n").unwrap_err().to_string();
        assert!(told.contains("a.toml:2:1:"), "{told}");
        assert!(
            Source::parse("a.toml", "loop.sft.choices = {\n[[stage]]\nloop.sft.choices.rationale = 'x'")
                .is_err()
        );
    }
}
