//! What is written to the terminal: nobody has to read it, and nothing in it is obeyed.

use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether what is said is a line of JSON each.
static JSON: AtomicBool = AtomicBool::new(false);

/// From here on everything that is said on standard error is one JSON object a line, with `time` (seconds since 1970), `level` and
/// `text` or an `event` and its figures.
pub fn say_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Whether it is.
pub fn says_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Says what has happened, with its figures, where programs listen ([`say_json`]); nothing elsewhere.
pub fn tell_event(event: &str, figures: Map<String, Value>) {
    if says_json() {
        let named = [("event".to_string(), Value::from(event))];
        line("info", named.into_iter().chain(figures));
    }
}

fn line(level: &str, rest: impl Iterator<Item = (String, Value)>) {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let head = [("time".to_string(), Value::from(time)), ("level".to_string(), Value::from(level))];
    let object: Map<String, Value> = head.into_iter().chain(rest).collect();
    let _ = writeln!(io::stderr().lock(), "{}", Value::Object(object));
}

/// A text with the level that it begins with: `error: …` of ours, `WARN …` of the log's.
fn levelled(text: &str) -> (&'static str, &str) {
    let marks = [
        ("error: ", "error"),
        ("ERROR ", "error"),
        ("WARN ", "warn"),
        ("INFO ", "info"),
        ("DEBUG ", "debug"),
        ("TRACE ", "trace"),
    ];
    let begun = text.trim_start();
    let found =
        marks.into_iter().find_map(|(mark, level)| begun.strip_prefix(mark).map(|rest| (level, rest)));
    found.unwrap_or(("info", text))
}

/// The text with characters that terminals obey, or that turn its order about, written out (`\u{1b}`); line ends and tabs stay.
///
/// ```
/// use rationale::log::terminal::shown;
/// assert_eq!(shown("2 + 2\n"), "2 + 2\n");
/// assert_eq!(shown("\u{1b}[2Jgone"), "\\u{1b}[2Jgone");
/// ```
pub fn shown(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (c.is_control() && c != '\n' && c != '\t') || turns
    };
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let write = |c: char| if obeyed(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(write).collect())
}

/// A word of a command that is shown, as a shell reads it: in quotes where it would be another, or several.
///
/// ```
/// use rationale::log::terminal::typed;
/// assert_eq!(typed("runs/a"), "runs/a");
/// assert_eq!(typed("my runs"), "'my runs'");
/// assert_eq!(typed("it's"), r"'it'\''s'");
/// ```
pub fn typed(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Writes a line to standard error. That nobody reads it (`| head`, a closed terminal, a full disk) is nothing to a run.
pub fn say(text: &str) {
    if says_json() {
        let (level, text) = levelled(text);
        return line(level, std::iter::once(("text".to_string(), Value::from(text))));
    }
    let _ = writeln!(io::stderr().lock(), "{}", shown(text));
}

/// Writes to standard output what the program was asked for. A reader that has gone away has read enough.
///
/// # Errors
/// What else the system says, such as of a full disk.
pub fn tell(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{}", shown(text)).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Standard error for whoever wants a writer: it takes all that comes, as [`say`] does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if says_json() {
            say(String::from_utf8_lossy(bytes).trim_end());
            return Ok(bytes.len());
        }
        let _ = io::stderr().lock().write_all(shown(&String::from_utf8_lossy(bytes)).as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_its_level() {
        assert_eq!(levelled("error: data: x"), ("error", "data: x"));
        assert_eq!(levelled(" WARN it is late"), ("warn", "it is late"));
        assert_eq!(levelled("run: out"), ("info", "run: out"));
    }

    #[test]
    fn nothing_that_is_shown_is_obeyed() {
        // Colours, a window title with C1 controls, a bell, a carriage return that hides a line, text turned about.
        let hostile = "\u{1b}[31m \u{9d}0;title\u{9c} \u{7} a\rb \u{202e}cba";
        let seen = shown(hostile);
        assert!(seen.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{seen}");
        assert!(seen.contains("\\u{1b}[31m") && seen.contains("a\\u{d}b"));
    }
}
