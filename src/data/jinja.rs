//! What a recipe's Jinja templates are filled in with, what they may use, and how much.

pub mod bounded;

use super::Example;
use minijinja::machinery::WhitespaceConfig;
use minijinja::value::{Rest, Value as Given};
use minijinja::{Environment, Error, UndefinedBehavior};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

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
/// What templates are filled in by; a copy of it costs next to nothing.
static LIMITED: LazyLock<Environment<'static>> = LazyLock::new(limited);

/// What a recipe's Jinja templates may use: what is not there is an error, line ends stay, Python's methods of texts. It reads templates; [`render`]
/// fills them in.
pub fn environment() -> Environment<'static> {
    LIMITED.clone()
}

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

/// The text of a recipe's template over `known`, within limits of time, of instructions and of how long a text grows.
///
/// ```
/// use rationale::data::template::render;
/// let known = serde_json::json!({ "a": "naïve" }).as_object().cloned().unwrap();
/// assert_eq!(render("{{ a | upper }}{{ a[:2] }}", &known).unwrap(), "NAÏVEna");
/// assert!(render("{{ b | replace('x', 'y') }}", &known).is_err());
/// let grows = "{% set x = namespace(t=a) %}{% for i in range(40) %}{% set x.t = x.t ~ x.t %}{% endfor %}";
/// assert!(render(grows, &known).unwrap_err().to_string().contains("more than 4 MB"));
/// ```
///
/// # Errors
/// What the template lacks, what else is wrong with it, or that it takes more than fits.
pub fn render(source: &str, known: &Map<String, Value>) -> Result<String, Error> {
    let whitespace = WhitespaceConfig { keep_trailing_newline: true, ..WhitespaceConfig::default() };
    let looked = bounded::source(source, NAME, whitespace, true)?;
    let mut environment = environment();
    let often = RAW / source.len().max(1) as u64;
    environment.set_fuel(Some(FUEL.min(often.max(50_000))));
    let fill = || {
        bounded::begin(MOST);
        environment.render_named_str(NAME, &looked, known)
    };
    // What keeps values beyond a loop may nest them into each other.
    if !source.contains("namespace") {
        return fill();
    }
    bounded::on_a_deep_stack(fill)
        .unwrap_or_else(|panic| Err(Error::new(minijinja::ErrorKind::InvalidOperation, panic)))
}

/// Whether a recipe's expression is true over `known`, within the same limits.
///
/// # Errors
/// As those of [`render`].
pub fn holds(expression: &str, known: &Map<String, Value>) -> Result<bool, Error> {
    render(&format!("{{% if {expression} %}}1{{% endif %}}"), known).map(|text| text == "1")
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
        render(source, known.as_object().unwrap()).map_err(|error| format!("{error:#}"))
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

    #[test]
    fn expressions_have_the_same_limits() {
        let known = json!({"a": "x", "n": 3});
        let holds = |text: &str| holds(text, known.as_object().unwrap());
        assert!(holds("n > 2 and a == 'x'").unwrap() && holds("{'k': {'l': 1}}").unwrap());
        assert!(!holds("missing").unwrap() && !holds("a is none").unwrap());
        let grows = format!("a{}", ".replace('x', 'xxxxxxxxxxxxxxxx')".repeat(12));
        assert!(format!("{:#}", holds(&grows).unwrap_err()).contains("more than 4 MB"));
    }
}
