//! What is written to the terminal: nobody has to read it, and nothing in it is obeyed.

use std::borrow::Cow;
use std::io::{self, Write};

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

/// Writes a line to standard error. That nobody reads it (`| head`, a closed terminal, a full disk) is nothing to a run.
pub fn say(text: &str) {
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
    fn nothing_that_is_shown_is_obeyed() {
        // Colours, a window title with C1 controls, a bell, a carriage return that hides a line, text turned about.
        let hostile = "\u{1b}[31m \u{9d}0;title\u{9c} \u{7} a\rb \u{202e}cba";
        let seen = shown(hostile);
        assert!(seen.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{seen}");
        assert!(seen.contains("\\u{1b}[31m") && seen.contains("a\\u{d}b"));
    }
}
