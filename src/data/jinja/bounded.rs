//! What a Jinja template may take, a model's or a recipe's: what makes a text or a list longer is looked at each time, so that none grows without
//! bounds, and so is the time.

mod places;

use crate::error::quietly;
use minijinja::machinery::WhitespaceConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use std::cell::Cell;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Columns that a text is padded to.
pub const WIDEST: usize = 10_000;
/// Bytes that a list or dictionary may print as, and those that all together may be counted to.
const PRINTED: usize = 1 << 21;
const COUNTED: usize = 1 << 24;
/// How often the longest text may be made.
const TIMES: usize = 16;
/// How long one rendering may take; what is usual takes a thousandth of a second.
pub const LONGEST: Duration = Duration::from_secs(10);
/// A stack for templates that nest deep, of which only what is used is taken.
const STACK: usize = 1 << 29;

thread_local! {
    static MOST: Cell<usize> = const { Cell::new(0) };
    static WRITTEN: Cell<usize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static MADE: Cell<usize> = const { Cell::new(0) };
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A rendering begins in this thread: nothing of it is written yet, no text of it may have more than `most` bytes, and so much `time` is left for it.
pub fn begin(most: usize, time: Duration) {
    MOST.set(most);
    WRITTEN.set(0);
    COUNT.set(0);
    MADE.set(0);
    UNTIL.set(Some(Instant::now() + time));
}

/// Counts what is written; refuses more than fits.
pub fn written(value: &Value) -> Result<(), Error> {
    WRITTEN.set(WRITTEN.get().saturating_add(length(value)));
    if WRITTEN.get() <= MOST.get() { in_time() } else { Err(too_much()) }
}

/// The template with a look at what each `~`, `+`, `*`, list and dictionary gives; `closely` at the time too, wherever all of a text is read.
pub fn source(
    source: &str,
    name: &str,
    whitespace: WhitespaceConfig,
    closely: bool,
) -> Result<String, Error> {
    places::looked_at(source, name, whitespace, closely)
}

/// The looks that [`source`] writes into a template.
pub fn looks(environment: &mut Environment<'static>) {
    environment.add_filter(places::LENGTH, |value: Value| fits(length(&value)).map(|()| value));
    environment.add_filter(places::TIME, |value: Value| in_time().map(|()| value));
}

/// Bytes of an error, at most.
const TOLD: usize = 4000;

/// An error, with the lines of the template around it unless they are long; of what a template itself says the beginning.
pub fn told(error: &Error) -> String {
    let whole = format!("{error:#}");
    let text = if whole.len() > TOLD { error.to_string() } else { whole };
    match text.len() > TOLD {
        true => {
            let end = (0..=TOLD).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            format!("{}…", &text[..end])
        }
        false => text,
    }
}

/// What `work` gives, with room for deep recursion.
///
/// # Errors
/// Why there is no such thread, or how it panicked.
pub fn on_a_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || quietly(work));
        let joined = thread.map_err(|error| error.to_string())?.join();
        joined.unwrap_or_else(|_| Err("it panics".to_string()))
    })
}

/// Filters of chat templates that lengthen, as Python's, with a look at what comes of it first.
pub fn filters(environment: &mut Environment<'static>) {
    looks(environment);
    // None of the models' templates deals a list out, and both fill up without bounds.
    environment.remove_filter("batch");
    environment.remove_filter("slice");
    environment.add_filter("replace", |value: Value, from: String, to: String| {
        replaces(&value, &[Value::from(from.as_str()), Value::from(to.as_str())])?;
        Ok::<_, Error>(value.to_string().replace(&from, &to))
    });
    environment.add_filter("join", |value: Value, joiner: Option<String>| -> Result<Value, Error> {
        joins(&value, joiner.as_deref().unwrap_or_default())?;
        let parts: Vec<String> = value.try_iter()?.map(|item| item.to_string()).collect();
        Ok(Value::from(parts.join(joiner.as_deref().unwrap_or_default())))
    });
    environment.add_filter(
        "indent",
        |text: String, width: Option<usize>, first: Option<bool>, blank: Option<bool>, named: Kwargs| {
            let width = width.or(named.get("width")?).unwrap_or(4);
            let first = first.or(named.get("first")?).unwrap_or(false);
            let blank = blank.or(named.get("blank")?).unwrap_or(false);
            named.assert_all_used()?;
            fits(width.saturating_mul(text.lines().count() + 1).saturating_add(text.len()))?;
            let indented = |(at, line): (usize, &str)| {
                let bare = (at == 0 && !first) || (line.is_empty() && !blank && at > 0);
                if bare { line.to_string() } else { format!("{}{line}", " ".repeat(width)) }
            };
            Ok::<_, Error>(text.split('\n').enumerate().map(indented).collect::<Vec<_>>().join("\n"))
        },
    );
    environment.add_filter("format", |state: &State, text: String, args: Rest<Value>| {
        pads(&text)?;
        minijinja::filters::format(state, &Value::from(text), args)
    });
}

/// Python's methods of texts, lists and dictionaries.
pub fn method(state: &State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    in_time()?;
    match name {
        "replace" => replaces(value, args)?,
        "join" => joins(args.first().unwrap_or(value), value.as_str().unwrap_or_default())?,
        "center" | "ljust" | "rjust" | "zfill" | "expandtabs"
            if args.first().and_then(Value::as_i64).is_some_and(|width| width > WIDEST as i64) =>
        {
            return Err(too_much());
        }
        "format" => pads(value.as_str().unwrap_or_default())?,
        _ => {}
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

/// What is said of what grows too long.
pub fn too_much() -> Error {
    let most = MOST.get() >> 20;
    Error::new(ErrorKind::InvalidOperation, format!("it makes a text of more than {most} MB"))
}

/// What is said of what takes too long.
pub fn too_long() -> Error {
    let seconds = LONGEST.as_secs();
    Error::new(ErrorKind::InvalidOperation, format!("it takes more than {seconds} seconds"))
}

fn in_time() -> Result<(), Error> {
    if UNTIL.get().is_none_or(|until| Instant::now() <= until) { Ok(()) } else { Err(too_long()) }
}

/// Whether a text of so many bytes may be made, besides those that were.
pub fn fits(length: usize) -> Result<(), Error> {
    in_time()?;
    let most = MOST.get();
    MADE.set(MADE.get().saturating_add(length));
    if length <= most && MADE.get() <= TIMES.saturating_mul(most) { Ok(()) } else { Err(too_much()) }
}

/// Bytes that a value prints as, counted no further than fits.
pub fn length(value: &Value) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0 += text.len();
            if self.0 <= PRINTED { Ok(()) } else { Err(std::fmt::Error) }
        }
    }
    match (value.as_str(), value.kind()) {
        (Some(text), _) => text.len(),
        (None, ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) => {
            let mut count = Count(0);
            // The error is the count's own.
            let _ = write!(count, "{value}");
            COUNT.set(COUNT.get() + count.0);
            if count.0 > PRINTED || COUNT.get() > COUNTED { MOST.get() + 1 } else { count.0 }
        }
        (None, ValueKind::Number) => {
            let mut count = Count(0);
            let _ = write!(count, "{value}");
            count.0
        }
        _ => 8,
    }
}

/// Whether what comes of putting `args[1]` for `args[0]` in a text fits.
pub fn replaces(value: &Value, args: &[Value]) -> Result<(), Error> {
    let [from, to, ..] = args else { return Ok(()) };
    if length(to) <= length(from) {
        return Ok(());
    }
    let times = match (value.as_str(), from.as_str()) {
        (Some(text), Some(from)) => text.matches(from).count(),
        _ => length(value) / length(from).max(1) + 1,
    };
    fits(times.saturating_mul(length(to)).saturating_add(length(value)))
}

/// Whether these items fit, joined.
pub fn joins(items: &Value, joiner: &str) -> Result<(), Error> {
    let Ok(items) = items.try_iter() else { return Ok(()) };
    let mut total = 0usize;
    for item in items {
        total = total.saturating_add(length(&item)).saturating_add(joiner.len());
        if total > MOST.get() {
            return Err(too_much());
        }
    }
    fits(total)
}

/// Refuses a pattern that pads to great widths: a number of more than four digits.
pub fn pads(pattern: &str) -> Result<(), Error> {
    let longest = pattern.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    if longest > 4 { Err(too_much()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_an_error_is_short() {
        let says = |text: String| told(&Error::new(ErrorKind::InvalidOperation, text));
        assert!(says("no sums".into()).ends_with("no sums"));
        let long = says("é".repeat(100_000));
        assert!(long.len() <= TOLD + '…'.len_utf8() && long.ends_with("é…"), "{}", long.len());
    }
}
