//! Chat templates: the Jinja that a tokenizer brings, rendered as transformers renders it.

mod python;

use super::Message;
use super::conversation::REASONING;
use super::jinja::bounded;
use crate::error::{Error, Result};
use minijinja::machinery::WhitespaceConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind};
use regex::Regex;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a text while a template makes it, or of all that it writes.
const MOST: usize = 1 << 25;
/// Bytes of its own text that a template writes at most, however often it repeats them.
const RAW: u64 = 1 << 30;
/// Instructions that one conversation may take.
const FUEL: u64 = 2_000_000;
const NAME: &str = "chat";

/// A chat template with the special tokens that it may name (`bos_token`, …).
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    tokens: BTreeMap<String, String>,
    environment: Environment<'static>,
    /// The names that it is written over.
    names: HashSet<String>,
    /// Whether it needs a deep stack.
    nests: bool,
    /// The time of one conversation, where those that take long have it together; copies share it.
    together: Option<Arc<bounded::Together>>,
}

impl ChatTemplate {
    /// Parses `source`.
    pub fn new(source: &str, tokens: BTreeMap<String, String>) -> Result<Self> {
        if let Some(why) = bounded::unreadable(source) {
            return Err(unusable(&why));
        }
        let source = without_generation(source);
        let nests = bounded::nests(&source);
        // What nests deep is parsed, and thrown away, with as deep a stack.
        let (environment, names) = bounded::on_a_deep_stack(move || {
            let whitespace =
                WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true };
            let looked = bounded::source(&source, NAME, whitespace)?;
            let mut environment = environment();
            environment.set_fuel(Some(looked.instructions(FUEL, RAW)));
            environment.add_template_owned(NAME, looked.source)?;
            let names = environment.get_template(NAME)?.undeclared_variables(false);
            Ok::<_, minijinja::Error>((environment, names))
        })
        .map_err(|panic| unusable(&panic))?
        .map_err(|e| refused("it does not parse", &e))?;
        Ok(Self { tokens, environment, names, nests, together: None })
    }

    /// Whether conversations that take long have the time of one together from here on, or each its own.
    pub(super) fn share_time(&mut self, shared: bool) {
        self.together = shared.then(Arc::default);
    }

    /// How much time there is for a conversation.
    fn left(&self) -> Duration {
        self.together.as_ref().map_or(bounded::LONGEST, |together| together.left())
    }

    /// Whether it asks for something by this name.
    pub fn asks(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The conversation as text; with `generate`, it ends where the assistant's next turn begins.
    pub fn render(&self, messages: &[Message], generate: bool) -> Result<String> {
        self.render_with(messages, &Map::new(), generate)
    }

    /// The same with what the template may ask for by name (`enable_thinking`, `tools`, …).
    pub fn render_with(
        &self,
        messages: &[Message],
        variables: &Map<String, Json>,
        generate: bool,
    ) -> Result<String> {
        let (began, left) = (Instant::now(), self.left());
        if left.is_zero() {
            return Err(refused(REFUSED, &bounded::too_long()));
        }
        let text = self.written(messages, variables, generate, began + left);
        if let Some(together) = &self.together {
            together.count(began.elapsed(), left);
        }
        text
    }

    fn written(
        &self,
        messages: &[Message],
        variables: &Map<String, Json>,
        generate: bool,
        until: Instant,
    ) -> Result<String> {
        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        context.extend(["tools", "documents"].map(|name| (name, Value::from(()))));
        context.extend(self.tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str()))));
        context.extend(variables.iter().map(|(name, value)| (name.as_str(), Value::from_serialize(value))));
        let messages: Vec<Message> = messages.iter().map(with_reasoning).collect();
        context.insert("add_generation_prompt", Value::from(generate));
        let written = |messages: &[Message]| -> Result<std::result::Result<String, minijinja::Error>> {
            let context = Value::from_iter(
                context
                    .iter()
                    .map(|(name, value)| (*name, value.clone()))
                    .chain([("messages", Value::from_serialize(messages))]),
            );
            let render = || {
                bounded::begin(MOST, until.saturating_duration_since(Instant::now()));
                self.environment.get_template(NAME)?.render(&context)
            };
            if !self.nests {
                return Ok(render());
            }
            bounded::on_a_deep_stack(render).map_err(|panic| unusable(&panic))
        };
        // Some join a call's arguments to texts, as OpenAI writes them.
        let text = match written(&messages)? {
            Err(error) => match python::with_text_arguments(&messages) {
                Some(messages) => written(&messages)?.map_err(|_| error),
                None => Err(error),
            },
            text => text,
        };
        text.map_err(|e| refused(REFUSED, &e))
    }
}

/// What is said of a conversation that a template does not write.
const REFUSED: &str = "it refuses this conversation";

/// What a turn thinks, under both of the names that chat templates know.
fn with_reasoning(turn: &Message) -> Message {
    let mut turn = turn.clone();
    if let Some(thought) = turn.reasoning().map(str::to_string) {
        for name in &REASONING[..2] {
            turn.more.entry(*name).or_insert_with(|| thought.clone().into());
        }
    }
    turn
}

fn unusable(what: &str) -> Error {
    Error::Data(format!(
        "the model's chat template cannot be used, {what}. Where prompts are made of `question`s, data.template.chat = \
         false makes them plain text; rows of `messages` need a template: a file chat_template.jinja in the model's folder \
         stands in for its own"
    ))
}

fn refused(what: &str, error: &minijinja::Error) -> Error {
    unusable(&format!("{what}: {}", bounded::told(error)))
}

/// `{% generation %}` marks the assistant's text for transformers and renders as nothing; an `if` keeps the
/// whitespace rules of a block.
fn without_generation(source: &str) -> String {
    static OPEN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{%([-+]?)\s*generation\s*([-+]?)%\}").expect("a sound pattern"));
    static CLOSE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{%([-+]?)\s*endgeneration\s*([-+]?)%\}").expect("a sound pattern"));
    let opened = OPEN.replace_all(source, "{%${1} if true ${2}%}");
    CLOSE.replace_all(&opened, "{%${1} endif ${2}%}").into_owned()
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(bounded::method);
    environment.set_formatter(|out, state, value| {
        bounded::written(value)?;
        match value.kind() {
            ValueKind::Bool => Ok(out.write_str(if value.is_true() { "True" } else { "False" })?),
            ValueKind::None => Ok(out.write_str("None")?),
            ValueKind::Seq | ValueKind::Map => Ok(out.write_str(&python::repr(value))?),
            _ => minijinja::escape_formatter(out, state, value),
        }
    });
    bounded::filters(&mut environment);
    environment.add_filter("tojson", python::tojson);
    environment.add_filter("string", python::string);
    environment.add_function("strftime_now", |format: String| strftime(&format, unix_days_and_seconds()));
    environment.add_function(
        "raise_exception",
        |message: String| -> std::result::Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment
}

/// The moment that `strftime_now` tells, in seconds since 1970, UTC; the clock's where it is 0.
static MOMENT: AtomicU64 = AtomicU64::new(0);

/// Sets the moment that `strftime_now` tells from here on in this process: that of a run's start, so that a run gives the same tokens
/// whenever it goes on.
pub fn set_moment(seconds: u64) {
    MOMENT.store(seconds, Ordering::Relaxed);
}

fn unix_days_and_seconds() -> (i64, i64) {
    let seconds = match MOMENT.load(Ordering::Relaxed) {
        0 => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs() as i64),
        moment => moment as i64,
    };
    (seconds.div_euclid(86_400), seconds.rem_euclid(86_400))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// The directives that templates use, in UTC; an unknown one stays as it is.
fn strftime(format: &str, (days, seconds): (i64, i64)) -> String {
    let (year, month, day) = civil(days);
    let (name, weekday) = (MONTHS[month - 1], WEEKDAYS[days.rem_euclid(7) as usize]);
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        text.push_str(&match rest.next() {
            Some('Y') => year.to_string(),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('B') => name.to_string(),
            Some('b') => name[..3].to_string(),
            Some('A') => weekday.to_string(),
            Some('a') => weekday[..3].to_string(),
            Some('H') => format!("{:02}", seconds / 3600),
            Some('M') => format!("{:02}", seconds / 60 % 60),
            Some('S') => format!("{:02}", seconds % 60),
            Some('%') | None => "%".to_string(),
            Some(other) => format!("%{other}"),
        });
    }
    text
}

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's
/// `civil_from_days`).
fn civil(days: i64) -> (i64, usize, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as usize, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // 2024-02-29 is day 19782: 54 years with 13 leap days from 1970, then 31 + 28 days; it was a Thursday.
        assert_eq!(54 * 365 + 13 + 31 + 28, 19_782);
        let noon = (19_782, 12 * 3600 + 5 * 60 + 9);
        assert_eq!(
            strftime("%a %d %b %Y %B %m %y %H:%M:%S %q %", noon),
            "Thu 29 Feb 2024 February 02 24 12:05:09 %q %"
        );
        assert_eq!(civil(0), (1970, 1, 1));
    }

    fn render(source: &str) -> String {
        let turn = Message::new("user", "naïve \"x\"");
        ChatTemplate::new(source, BTreeMap::new())
            .expect("it parses")
            .render(&[turn], true)
            .expect("it renders")
    }

    /// The date is that of the run's start, whenever a template asks for it.
    #[test]
    fn a_run_has_one_date() {
        set_moment(19_782 * 86_400);
        assert_eq!(render("{{ strftime_now('%d %b %Y') }}"), "29 Feb 2024");
        set_moment(0);
        assert!(render("{{ strftime_now('%Y') }}").parse::<i32>().unwrap() > 2024);
    }

    #[test]
    fn json_is_pythons() {
        assert_eq!(render("{{ messages | tojson }}"), r#"[{"role": "user", "content": "naïve \"x\""}]"#);
        assert_eq!(
            render("{{ {'a': [1, none]} | tojson(indent=2) }}"),
            "{\n  \"a\": [\n    1,\n    null\n  ]\n}"
        );
        assert_eq!(render("{{ 'ï😀' | tojson(ensure_ascii=true) }}"), r#""\u00ef\ud83d\ude00""#);
    }

    #[test]
    fn generation_marks_render_as_nothing_and_values_print_as_in_python() {
        let source = "{% for m in messages %}\n    {%- generation %}\nA{{ m.content is string }}{% endgeneration %}\n{% endfor %}";
        assert_eq!(render(source), "ATrue");
    }

    /// What takes long is waited for as long as one conversation may take, and after that nothing is.
    #[test]
    fn time_that_is_shared_ends_once() {
        let source =
            "{% set x = range(100000) %}{% for i in x %}{% if x == x | list %}{% endif %}{% endfor %}";
        let [mut endless, mut short] =
            [source, "x"].map(|source| ChatTemplate::new(source, BTreeMap::new()).expect("it parses"));
        let sharing = |template: &mut ChatTemplate, taken: u64| {
            template.together = Some(Arc::new(bounded::Together::taken(taken)));
        };
        let refused = |template: &ChatTemplate| {
            let error = template.render(&[], true).expect_err("there is no time").to_string();
            assert!(error.contains(REFUSED) && error.contains("takes more than 5 seconds"), "{error}");
        };
        sharing(&mut endless, 4_990);
        refused(&endless);
        assert!(endless.left().is_zero(), "what was left of it is counted");
        sharing(&mut short, 4_999);
        let copy = short.clone();
        assert_eq!(copy.render(&[], true).expect("it is short"), "x");
        assert!(!short.left().is_zero(), "what is short is not counted");
        sharing(&mut short, 5_000);
        refused(&short.clone());
        short.share_time(false);
        assert_eq!(short.render(&[], true).expect("its time is its own"), "x");
    }

    /// A model's template ends whatever it does: with a tenth of a second left, each is over soon.
    #[test]
    fn no_instruction_goes_on_without_end() {
        for source in [
            "{% set x = [1] * 9999999999 %}{{ x }}",
            "{% set x = [1] * 99999999 %}{{ x | length }}",
            "{% set x = ([1] * 9999) * 999999 %}{% if x == x %}{% endif %}",
            "{% set x = range(100000) | list %}{% for i in range(100000) %}{% if x == x | reverse | list %}{% endif %}{% endfor %}",
            "{% set x = 'ab' * 9000000 %}{% for i in range(100000) %}{% if x[-1] %}{% endif %}{% endfor %}",
            "{% set x = 'ab' * 9000000 %}{% for i in range(100000) %}{% if x | upper %}{% endif %}{% endfor %}",
            "{{ range(100000) | select('in', range(100000)) | list | length }}",
        ] {
            let mut template = ChatTemplate::new(source, BTreeMap::new()).expect("it parses");
            template.together = Some(Arc::new(bounded::Together::taken(4_900)));
            let began = Instant::now();
            let said = template.render(&[], true).expect_err(source).to_string();
            assert!(
                said.contains("more than 32 MB") || said.contains("more than 5 seconds"),
                "{source}: {said}"
            );
            assert!(began.elapsed().as_secs() < 5, "{source}: {:?}", began.elapsed());
        }
        assert_eq!(render("{{ 'naïve'.count('') }}{{ [1, 2][0] }}{{ messages[-1].role }}"), "61user");
    }

    #[test]
    fn a_template_that_raises_is_an_error_in_its_words() {
        let template =
            ChatTemplate::new("{{ raise_exception('no tools here') }}", BTreeMap::new()).expect("it parses");
        let error = template.render(&[], true).expect_err("it raises").to_string();
        assert!(error.contains("no tools here") && error.contains("data.template.chat = false"), "{error}");
    }
}
