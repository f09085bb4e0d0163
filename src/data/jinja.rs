//! What a recipe's Jinja templates are filled in with, what they may use, and how much.

pub mod bounded;
mod condition;

pub use condition::Condition;

use super::Example;
use minijinja::machinery::WhitespaceConfig;
use minijinja::value::Value as Given;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, filters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

/// Instructions that a template may take for one row: loops within loops end.
const FUEL: u64 = 2_000_000;
/// Bytes of a text while a template makes it, or of all that it writes: more than any model reads.
const MOST: usize = 1 << 22;
/// Bytes of its own text that a template writes at most, however often it repeats them.
const RAW: u64 = 1 << 29;
/// The name that messages have for a text of a recipe.
const NAME: &str = "<string>";

/// What a recipe's Jinja templates may use: what is not there is an error, line ends stay, Python's methods of texts.
static LIMITED: LazyLock<Environment<'static>> = LazyLock::new(limited);

fn limited() -> Environment<'static> {
    let mut environment = plain();
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, state, value| {
        bounded::written(value)?;
        minijinja::escape_formatter(out, state, value)
    });
    bounded::looks(&mut environment);
    let mut checked = |name, own, look: fn(&[Given]) -> Result<(), Error>| {
        bounded::checked(&mut environment, name, own, look)
    };
    checked("replace", Given::from_function(filters::replace), |given| match given {
        [text, from, to, ..] => bounded::replaces(text, &[from.clone(), to.clone()]),
        _ => Ok(()),
    });
    checked("join", Given::from_function(filters::join), |given| match given {
        [items, joiner, ..] => bounded::joins(items, joiner.as_str().unwrap_or_default()),
        [items] => bounded::joins(items, ""),
        [] => Ok(()),
    });
    checked("format", Given::from_function(filters::format), |given| {
        bounded::pads(given.first().and_then(Given::as_str).unwrap_or_default())
    });
    checked("indent", Given::from_function(filters::indent), |given| {
        let text = given.first().and_then(Given::as_str).unwrap_or_default();
        bounded::fits(widest(given).saturating_mul(text.lines().count() + 1))
    });
    checked("tojson", Given::from_function(filters::tojson), |given| {
        given.first().map_or(Ok(()), |value| bounded::indents(value, widest(given)))
    });
    let deals: fn(&[Given]) -> Result<(), Error> = |given| match widest(given) {
        0..=bounded::WIDEST => Ok(()),
        _ => Err(bounded::too_much()),
    };
    checked("batch", Given::from_function(filters::batch), deals);
    checked("slice", Given::from_function(filters::slice), deals);
    environment
}

fn plain() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_keep_trailing_newline(true);
    environment.set_unknown_method_callback(bounded::method);
    environment
}

/// The largest width or count that a filter is given, by place or by name.
fn widest(given: &[Given]) -> usize {
    let number = |value: &Given| value.as_i64().map_or(0, |width| usize::try_from(width).unwrap_or(0));
    let named = |value: &Given| {
        let names = if value.is_kwargs() { value.try_iter().ok() } else { None };
        names.into_iter().flatten().filter_map(|name| Some(number(&value.get_item(&name).ok()?))).max()
    };
    given.iter().skip(1).map(|value| named(value).unwrap_or_else(|| number(value))).max().unwrap_or(0)
}

/// A recipe's Jinja template. It reads and writes as its text, which is parsed when it is first used; copies share what was parsed.
///
/// ```
/// use rationale::data::template::Jinja;
/// let known = serde_json::json!({ "a": "naïve" }).as_object().cloned().unwrap();
/// let render = |source: &str| Jinja::from(source).render(&known);
/// assert_eq!(render("{{ a | upper }}{{ a[:2] }}").unwrap(), "NAÏVEna");
/// assert!(render("{{ b | replace('x', 'y') }}").is_err());
/// let grows = "{% set x = namespace(t=a) %}{% for i in range(40) %}{% set x.t = x.t ~ x.t %}{% endfor %}";
/// assert!(render(grows).unwrap_err().to_string().contains("more than 4 MB"));
/// ```
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(inline)]
pub struct Jinja(Arc<Text>);

struct Text {
    source: String,
    parsed: OnceLock<Parsed>,
    /// Rows that take it long have the time of one together.
    time: bounded::Together,
}

struct Parsed {
    /// Has the template under [`NAME`], with the looks that bound it.
    environment: Environment<'static>,
    /// The names that it is written over, and the places inside of them.
    names: HashSet<String>,
    places: HashSet<String>,
}

impl Jinja {
    /// Its text.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it can be read.
    ///
    /// # Errors
    /// What is no template in it, by the line of its text.
    pub fn check(&self) -> Result<(), Error> {
        self.parsed().map(|_| ())
    }

    /// The names that it is written over, those of Jinja's own functions among them.
    ///
    /// # Errors
    /// As those of [`Self::check`].
    pub fn names(&self) -> Result<&HashSet<String>, Error> {
        Ok(&self.parsed()?.names)
    }

    /// The same with the places inside of them that it reads, by dots.
    ///
    /// # Errors
    /// As those of [`Self::check`].
    pub fn places(&self) -> Result<&HashSet<String>, Error> {
        Ok(&self.parsed()?.places)
    }

    /// The names that it reads and that are neither `known` nor Jinja's own functions.
    pub(super) fn lacks(&self, known: &Map<String, Value>) -> Vec<String> {
        let own = |name: &str| LIMITED.globals().any(|(global, _)| global == name);
        let names = self.names().into_iter().flatten();
        let mut names: Vec<String> =
            names.filter(|name| !known.contains_key(*name) && !own(name)).cloned().collect();
        names.sort();
        names
    }

    /// Its text over `known`, within limits of time, of instructions and of how long a text grows.
    ///
    /// # Errors
    /// What it lacks, what else is wrong with it, or that it takes more than fits.
    pub fn render(&self, known: &Map<String, Value>) -> Result<String, Error> {
        let environment = &self.parsed()?.environment;
        let (began, left) = (Instant::now(), self.0.time.left());
        if left.is_zero() {
            return Err(bounded::too_long());
        }
        let fill = || {
            bounded::begin(MOST, left);
            environment.get_template(NAME)?.render(known)
        };
        let text = if bounded::nests(self.source()) { deeply(fill) } else { fill() };
        self.0.time.count(began.elapsed(), left);
        text
    }

    fn parsed(&self) -> Result<&Parsed, Error> {
        if let Some(parsed) = self.0.parsed.get() {
            return Ok(parsed);
        }
        let source = self.source();
        if let Some(why) = bounded::unreadable(source) {
            return Err(Error::new(ErrorKind::SyntaxError, why));
        }
        // What nests deep is parsed, and thrown away, with as deep a stack.
        let parsed = deeply(|| {
            let whitespace = WhitespaceConfig { keep_trailing_newline: true, ..WhitespaceConfig::default() };
            let looked = bounded::source(source, NAME, whitespace)?;
            let mut environment = LIMITED.clone();
            environment.set_fuel(Some(looked.instructions(FUEL, RAW)));
            environment.add_template_owned(NAME, looked.source)?;
            let names = environment.get_template(NAME)?.undeclared_variables(false);
            let places = environment.get_template(NAME)?.undeclared_variables(true);
            Ok(Parsed { environment, names, places })
        })?;
        Ok(self.0.parsed.get_or_init(|| parsed))
    }
}

/// What `work` gives, with room for deep recursion.
fn deeply<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    bounded::on_a_deep_stack(work).unwrap_or_else(|panic| Err(Error::new(ErrorKind::InvalidOperation, panic)))
}

impl From<String> for Jinja {
    fn from(source: String) -> Self {
        Self(Arc::new(Text { source, parsed: OnceLock::new(), time: bounded::Together::default() }))
    }
}

impl From<&str> for Jinja {
    fn from(source: &str) -> Self {
        source.to_owned().into()
    }
}

impl From<Jinja> for String {
    fn from(template: Jinja) -> Self {
        template.source().to_owned()
    }
}

impl PartialEq for Jinja {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Jinja {}

impl fmt::Debug for Jinja {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source().fmt(f)
    }
}

/// What a template over an example is filled in with: `prompt` is the text of its last turn, the others are its row's columns, with
/// `answer` and `choices` as they are read.
pub fn values(example: &Example) -> Map<String, Value> {
    let mut values = example.fields.clone();
    values.insert("prompt".to_string(), json!(example.prompt.question()));
    if let Some(answer) = &example.answer {
        values.insert("answer".to_string(), json!(answer));
    }
    if !example.choices.is_empty() {
        values.insert("choices".to_string(), json!(example.choices));
    }
    values
}

#[cfg(test)]
mod tests;
