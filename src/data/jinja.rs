//! What a recipe's Jinja templates are filled in with, what they may use, and how much.

pub mod bounded;

use super::Example;
use minijinja::machinery::WhitespaceConfig;
use minijinja::value::{Rest, Value as Given};
use minijinja::{Environment, Error, UndefinedBehavior};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

/// Instructions that a template may take for one row: loops within loops end.
const FUEL: u64 = 2_000_000;
/// Bytes of a text while a template makes it, or of all that it writes: more than any model reads.
const MOST: usize = 1 << 22;
/// Bytes of its own text that a template writes at most, however often it repeats them.
const RAW: u64 = 1 << 29;
/// The name that messages have for a text of a recipe.
const NAME: &str = "<string>";

/// Jinja's own filters.
static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(plain);
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
    checked(&mut environment, "replace", |given| match given {
        [text, from, to, ..] => bounded::replaces(text, &[from.clone(), to.clone()]),
        _ => Ok(()),
    });
    checked(&mut environment, "join", |given| match given {
        [items, joiner, ..] => bounded::joins(items, joiner.as_str().unwrap_or_default()),
        [items] => bounded::joins(items, ""),
        [] => Ok(()),
    });
    checked(&mut environment, "format", |given| {
        bounded::pads(given.first().and_then(Given::as_str).unwrap_or_default())
    });
    checked(&mut environment, "indent", |given| {
        let text = given.first().and_then(Given::as_str).unwrap_or_default();
        bounded::fits(widest(given).saturating_mul(text.lines().count() + 1))
    });
    checked(&mut environment, "tojson", |given| {
        bounded::fits(widest(given).saturating_mul(given.first().map_or(0, bounded::length)))
    });
    for name in ["batch", "slice"] {
        checked(&mut environment, name, |given| match widest(given) {
            0..=bounded::WIDEST => Ok(()),
            _ => Err(bounded::too_much()),
        });
    }
    environment
}

fn plain() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_keep_trailing_newline(true);
    environment.set_unknown_method_callback(bounded::method);
    environment
}

/// Has one of Jinja's own filters look at what it is given first.
fn checked(
    environment: &mut Environment<'static>,
    name: &'static str,
    look: fn(&[Given]) -> Result<(), Error>,
) {
    environment.add_filter(name, move |given: Rest<Given>| {
        look(&given)?;
        PLAIN.empty_state().apply_filter(name, &given)
    });
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
    /// Has the template under [`NAME`], with the looks that bound it.
    parsed: OnceLock<Environment<'static>>,
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
    pub fn names(&self) -> Result<HashSet<String>, Error> {
        Ok(self.parsed()?.get_template(NAME)?.undeclared_variables(false))
    }

    /// The same with the places inside of them that it reads, by dots.
    ///
    /// # Errors
    /// As those of [`Self::check`].
    pub fn places(&self) -> Result<HashSet<String>, Error> {
        Ok(self.parsed()?.get_template(NAME)?.undeclared_variables(true))
    }

    /// The names that it reads and that are neither `known` nor Jinja's own functions.
    pub(super) fn lacks(&self, known: &Map<String, Value>) -> Vec<String> {
        let own = |name: &String| LIMITED.globals().any(|(global, _)| global == name);
        let names = self.names().into_iter().flatten();
        let mut names: Vec<String> = names.filter(|name| !known.contains_key(name) && !own(name)).collect();
        names.sort();
        names
    }

    /// Its text over `known`, within limits of time, of instructions and of how long a text grows.
    ///
    /// # Errors
    /// What it lacks, what else is wrong with it, or that it takes more than fits.
    pub fn render(&self, known: &Map<String, Value>) -> Result<String, Error> {
        let environment = self.parsed()?;
        let fill = || {
            bounded::begin(MOST, bounded::LONGEST);
            environment.get_template(NAME)?.render(known)
        };
        // What keeps values beyond a loop may nest them into each other.
        if !self.source().contains("namespace") {
            return fill();
        }
        bounded::on_a_deep_stack(fill)
            .unwrap_or_else(|panic| Err(Error::new(minijinja::ErrorKind::InvalidOperation, panic)))
    }

    fn parsed(&self) -> Result<&Environment<'static>, Error> {
        if let Some(parsed) = self.0.parsed.get() {
            return Ok(parsed);
        }
        let source = self.source();
        let whitespace = WhitespaceConfig { keep_trailing_newline: true, ..WhitespaceConfig::default() };
        let looked = bounded::source(source, NAME, whitespace, true)?;
        let mut environment = LIMITED.clone();
        let often = RAW / source.len().max(1) as u64;
        environment.set_fuel(Some(FUEL.min(often.max(50_000))));
        environment.add_template_owned(NAME, looked)?;
        Ok(self.0.parsed.get_or_init(|| environment))
    }
}

impl From<String> for Jinja {
    fn from(source: String) -> Self {
        Self(Arc::new(Text { source, parsed: OnceLock::new() }))
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

/// A recipe's Jinja expression that holds of some rows, within the same limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(inline)]
pub struct Condition {
    expression: String,
    /// Writes `1` where it holds.
    template: Jinja,
}

impl Condition {
    /// Whether it can be read.
    ///
    /// # Errors
    /// What is no expression in it.
    pub fn check(&self) -> Result<(), Error> {
        LIMITED.compile_expression(&self.expression).map(|_| ())
    }

    /// Whether it is true over `known`.
    ///
    /// # Errors
    /// As those of [`Jinja::render`].
    pub fn holds(&self, known: &Map<String, Value>) -> Result<bool, Error> {
        self.template.render(known).map(|text| text == "1")
    }
}

impl From<String> for Condition {
    fn from(expression: String) -> Self {
        let template = format!("{{% if {expression} %}}1{{% endif %}}").into();
        Self { expression, template }
    }
}

impl From<&str> for Condition {
    fn from(expression: &str) -> Self {
        expression.to_owned().into()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.expression
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
mod tests {
    use super::*;

    fn of(source: &str) -> Result<String, String> {
        let known = json!({"a": "naïve text", "n": 3, "list": ["x", "y"], "inner": {"at": "z"}});
        Jinja::from(source).render(known.as_object().unwrap()).map_err(|error| format!("{error:#}"))
    }

    /// The looks change nothing of what a template writes: each beside what Jinja gives for it without them.
    #[test]
    fn what_fits_is_written_as_it_would_be() {
        let known = json!({"a": "naïve text", "n": 3, "list": ["x", "y"], "inner": {"at": "z"}});
        let mut plain = plain();
        plain.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        for source in [
            "{{ a ~ '|' ~ n + 1 ~ a | upper }}",
            "{{ a[1:3] }}{{ a[:] }}{{ a[::2] }}{{ a[:2] ~ a[-2:] }}{{ list[(0):(1)] }}",
            "{% if a == 'x' ~ 'y' or n in [1, 2 + 1] and not a is none %}yes{% else %}no{% endif %}",
            "{% if 1 < n <= 3 %}{{ n * 2 }}{{ 'ab' * n }}{% endif %}{{ n is divisibleby 3 }}{{ n is not odd }}",
            "{% filter upper | replace('A', 'b') %}{{ a }}\n{% endfilter %}\n",
            "{% set both %}{{ a }}{{ n }}{% endset %}{{ both | indent(2, true) }}{{ list | join(', ') }}",
            "{%- for x in list | reverse if x != 'q' -%} {{ loop.index }}{{ x }} {%- endfor -%}",
            "{{ {'k': [a, n]} | tojson }}{{ list | map('upper') | list }}{{ '%s-%03d' | format(a, n) }}",
            "{{ list | batch(2) | list }}{{ a.split(' ')[1] }}{{ a.replace('n', 'm') }}{{ inner.at | default('q') }}",
            "{% macro twice(x) %}{{ x ~ x }}{% endmacro %}{{ twice(a) }}{{ (a if n > 2 else 'b')[0:1] }}",
            "{{ missing | default('d') }}{{ missing is defined }}{% if missing %}m{% endif %}{{ list | tojson(indent=2) }}",
        ] {
            assert_eq!(
                of(source),
                plain.render_str(source, &known).map_err(|e| format!("{e:#}")),
                "{source}"
            );
        }
    }

    #[test]
    fn what_is_not_there_stays_an_error() {
        for source in [
            "{{ missing | replace('a', 'b') }}",
            "{{ missing ~ 'x' }}",
            "{{ missing | indent(2) }}",
            "{{ missing | upper }}",
            "{{ missing }}",
        ] {
            let said = of(source).unwrap_err();
            assert!(said.contains("undefined value"), "{source}: {said}");
        }
    }

    #[test]
    fn no_text_grows_without_bounds() {
        for source in [
            "{% set x = namespace(t=a) %}{% for i in range(40) %}{% set x.t = x.t ~ x.t %}{% endfor %}",
            "{% set x = namespace(t=[a]) %}{% for i in range(40) %}{% set x.t = x.t + x.t %}{% endfor %}",
            "{% set x = namespace(t=[]) %}{% for i in range(100000) %}{% set x.t = [x.t] %}{% endfor %}",
            "{% set x = a | replace('', a * 99) %}{% set y = x | replace('', x) %}{{ y | replace('', y) }}",
            "{% set x = a * 20000 %}{{ x.replace('n', x) }}",
            "{{ '%10000000000s' | format(a) }}",
            "{{ '%.10000000000f' | format(1.5) }}",
            "{{ a.center(10000000000) }}",
            "{{ a * 1000000 }}",
            "{{ a | indent(10000000000, true) }}",
            "{{ list | tojson(indent=10000000000) }}",
            "{{ list | batch(10000000000, a) | list }}",
            "{{ list | slice(10000000000) | list }}",
            "{% set x = a * 90000 %}{{ [x, x, x, x, x] | join(x) }}",
            "{% set x = a * 90000 %}{{ range(1000) | map('replace', '1', x) | list }}",
            "{% for i in range(100000) %}{{ a * 100 }}{% endfor %}",
        ] {
            let said = of(source).expect_err(source);
            assert!(said.contains("a text of more than 4 MB"), "{source}: {said}");
        }
        let long = of(&format!(
            "{{% for i in range(100000) %}}{{% for j in range(9) %}}{}{{% endfor %}}{{% endfor %}}",
            "x".repeat(9000)
        ));
        assert!(long.unwrap_err().contains("fuel"));
    }

    /// What one row takes is not taken from the next, and the text is parsed once for all copies.
    #[test]
    fn each_row_has_the_limits_for_itself() {
        let template = Jinja::from("{% for i in range(n) %}{% for j in range(n) %}x{% endfor %}{% endfor %}");
        let copy = template.clone();
        let over = |template: &Jinja, n: u64| template.render(json!({ "n": n }).as_object().unwrap());
        for _ in 0..2 {
            assert!(over(&template, 2000).unwrap_err().to_string().contains("fuel"));
            assert_eq!(over(&template, 600).unwrap().len(), 360_000);
            assert_eq!(over(&copy, 1).unwrap(), "x");
        }
        assert!(std::ptr::eq(template.parsed().unwrap(), copy.parsed().unwrap()));
        let wrong = Jinja::from("{{ a");
        assert_eq!(wrong.check().unwrap_err().to_string(), wrong.check().unwrap_err().to_string());
    }

    #[test]
    fn expressions_have_the_same_limits() {
        let known = json!({"a": "x", "n": 3});
        let holds = |text: &str| Condition::from(text).holds(known.as_object().unwrap());
        assert!(holds("n > 2 and a == 'x'").unwrap() && holds("{'k': {'l': 1}}").unwrap());
        assert!(!holds("missing").unwrap() && !holds("a is none").unwrap());
        let grows = format!("a{}", ".replace('x', 'xxxxxxxxxxxxxxxx')".repeat(12));
        assert!(format!("{:#}", holds(&grows).unwrap_err()).contains("more than 4 MB"));
    }
}
