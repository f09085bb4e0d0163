//! What a Jinja template may take, a model's or a recipe's: what makes a text or a list longer is looked at each time, so that none grows without
//! bounds, and so is the time before all of one is read. So what a single instruction does is bounded by what its values may come to.

mod places;
mod size;

use crate::error::quietly;
use minijinja::machinery::WhitespaceConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use size::{holds_others, plain};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a template; those that models bring have up to 35 000.
pub const LONGEST_SOURCE: usize = 1 << 16;
/// Signs in a row, such as a rule of dashes; parsers take each for an operator on all that follows, and their time grows with its square.
const MOST_IN_A_ROW: usize = 1000;
/// Bytes of a template whose expressions may nest so deep that they need more of a stack than a thread has.
const SHORT: usize = 4096;

/// Columns that a text is padded to.
pub const WIDEST: usize = 10_000;
/// Bytes that an item of a list takes.
const ITEM: usize = 32;
/// Steps that taking signs off a text may cost: its length times how many signs are taken.
const STRIPPED: usize = 1 << 30;
/// Keys that a list is sorted by.
const KEYS: usize = 16;
/// How often the longest text may be made.
const TIMES: usize = 16;
/// How long one rendering may take; what is usual takes a thousandth of a second.
pub const LONGEST: Duration = Duration::from_secs(5);
/// What takes less is nothing that takes long, however busy the machine is.
const USUAL: Duration = Duration::from_secs(1);
/// A stack for templates that nest deep, of which only what is used is taken.
const STACK: usize = 1 << 29;

thread_local! {
    static MOST: Cell<usize> = const { Cell::new(0) };
    static WRITTEN: Cell<usize> = const { Cell::new(0) };
    static MADE: Cell<usize> = const { Cell::new(0) };
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A rendering begins in this thread: nothing of it is written yet, no text of it may have more than `most` bytes, and so much `time` is left for it.
pub fn begin(most: usize, time: Duration) {
    MOST.set(most);
    WRITTEN.set(0);
    MADE.set(0);
    UNTIL.set(Some(Instant::now() + time));
}

/// Counts what is written; refuses more than fits.
pub fn written(value: &Value) -> Result<(), Error> {
    WRITTEN.set(WRITTEN.get().saturating_add(length(value)));
    if WRITTEN.get() <= MOST.get() { in_time() } else { Err(too_much()) }
}

/// The time of one rendering for all those of a template that take long, so that one without end is waited for once.
#[derive(Debug, Default)]
pub struct Together(AtomicU64);

impl Together {
    /// So many milliseconds of it are gone.
    #[cfg(test)]
    pub fn taken(milliseconds: u64) -> Self {
        Self(milliseconds.into())
    }

    /// How much of it there still is.
    pub fn left(&self) -> Duration {
        LONGEST.saturating_sub(Duration::from_millis(self.0.load(Ordering::Relaxed)))
    }

    /// Counts a rendering that `took` so long where so much was `left`. One that takes long is counted; a usual one gives a millisecond back, so that a
    /// machine that stands still now and then ends no long run.
    pub fn count(&self, took: Duration, left: Duration) {
        if took > USUAL || took >= left {
            self.0.fetch_add(took.as_millis() as u64, Ordering::Relaxed);
        } else if self.0.load(Ordering::Relaxed) > 0 {
            let less = |taken: u64| Some(taken.saturating_sub(1));
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

/// Why a text is too long to be read as a template, or too hard.
pub fn unreadable(source: &str) -> Option<String> {
    let (length, most) = (source.len(), LONGEST_SOURCE);
    if length > most {
        return Some(format!("it has {length} bytes, and the most is {most}"));
    }
    let sign = repeated(source)?;
    Some(format!("it has `{sign}` more than {MOST_IN_A_ROW} times in a row"))
}

/// A sign that stands too often in a row, white space aside.
fn repeated(source: &str) -> Option<char> {
    let (mut before, mut times) = (None, 0);
    source.chars().filter(|sign| !sign.is_whitespace()).find(|sign| {
        times = if before.replace(*sign) == Some(*sign) { times + 1 } else { 1 };
        times > MOST_IN_A_ROW && !sign.is_alphanumeric()
    })
}

/// Whether rendering it may need a deep stack: it keeps values beyond a loop, which it may nest into each other, or has room for long expressions.
pub fn nests(source: &str) -> bool {
    source.len() > SHORT || source.contains("namespace")
}

/// The template with looks at all that it makes, and at the time wherever all of a text or list is read.
///
/// # Errors
/// What is no template in it.
pub fn source(source: &str, name: &str, whitespace: WhitespaceConfig) -> Result<places::Looked, Error> {
    places::looked_at(source, name, whitespace)
}

/// The looks that [`source`] writes into a template, and those of what Jinja has that could go on for long within one call.
pub fn looks(environment: &mut Environment<'static>) {
    environment.add_filter(places::LENGTH, made);
    environment.add_filter(places::TIME, |value: Value| in_time().map(|()| value));
    environment.add_filter(places::HELD, held);
    environment.remove_global("debug");
    environment.add_test("in", contained);
    checked(environment, "trim", Value::from_function(minijinja::filters::trim), |given| match given {
        [text, signs, ..] => strips(text, signs),
        _ => Ok(()),
    });
    checked(environment, "pprint", Value::from_function(minijinja::filters::pprint), |given| {
        given.first().map_or(Ok(()), |value| indents(value, 4))
    });
    checked(environment, "sort", Value::from_function(minijinja::filters::sort), |given| {
        let named = given.iter().filter(|value| value.is_kwargs());
        let mut by = named.filter_map(|named| named.get_attr("attribute").ok());
        let many = |keys: Value| keys.as_str().is_some_and(|keys| keys.matches(',').count() > KEYS);
        if by.any(many) { Err(too_long()) } else { Ok(()) }
    });
}

/// Has one of Jinja's own filters look at what it is given first.
pub fn checked(
    environment: &mut Environment<'static>,
    name: &'static str,
    own: Value,
    look: fn(&[Value]) -> Result<(), Error>,
) {
    environment.add_filter(name, move |state: &State, given: Rest<Value>| {
        in_time()?;
        look(&given)?;
        own.call(state, &given)
    });
}

/// What was made, as long as it fits. What would be made again whenever it is read is made once: a slice of a slice of a slice would ask for each.
fn made(value: Value) -> Result<Value, Error> {
    in_time()?;
    if !holds_others(&value) {
        return fits(length(&value)).map(|()| value);
    }
    size::of(&value, MOST.get()).ok_or_else(too_much)?;
    if value.kind() != ValueKind::Iterable {
        return fits(value.len().unwrap_or(0).saturating_mul(ITEM)).map(|()| value);
    }
    // What is empty may say so without end.
    let items: Vec<Value> = if value.len() == Some(0) { Vec::new() } else { value.try_iter()?.collect() };
    fits(items.len().saturating_mul(ITEM))?;
    Ok(Value::make_object_iterable(items, |items| Box::new(items.iter().cloned())))
}

/// What a namespace is to hold: no namespace, which could come to hold itself.
fn held(value: Value) -> Result<Value, Error> {
    match size::of(&value, MOST.get()) {
        Some(size) if size.namespaces => Err(Error::new(
            ErrorKind::InvalidOperation,
            "it keeps a namespace in a namespace; keep what that one holds",
        )),
        Some(_) => Ok(value),
        None => Err(too_much()),
    }
}

fn contained(state: &State, value: &Value, others: &Value) -> Result<bool, Error> {
    in_time()?;
    minijinja::tests::is_in(state, value, others)
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
    match (name, value.as_str(), args) {
        // As in Python; looked for as it stands, it would be found without end.
        ("count", Some(text), [what, ..]) if what.as_str() == Some("") => {
            return Ok(Value::from(text.chars().count() + 1));
        }
        ("strip" | "lstrip" | "rstrip", _, [signs, ..]) => strips(value, signs)?,
        _ => {}
    }
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

/// Bytes that a value prints as; more than fit where it has too much in it.
pub fn length(value: &Value) -> usize {
    if !holds_others(value) {
        return plain(value);
    }
    size::of(value, MOST.get()).map_or(MOST.get() + 1, |size| size.bytes)
}

/// Whether what a value prints as fits with `width` columns more for each level of what it holds.
pub fn indents(value: &Value, width: usize) -> Result<(), Error> {
    let size = size::of(value, MOST.get()).ok_or_else(too_much)?;
    let columns = size.values.saturating_mul(size.depth).saturating_mul(width);
    fits(columns.saturating_add(size.bytes))
}

/// Whether looking for each of a text's signs among those to be taken off it is done soon.
fn strips(text: &Value, signs: &Value) -> Result<(), Error> {
    if plain(text).saturating_mul(plain(signs)) > STRIPPED { Err(too_long()) } else { Ok(()) }
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
