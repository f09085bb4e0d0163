//! The rewards that a recipe can name.

use super::{Reward, of_rollouts};
use crate::data::Example;
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use crate::rationale::Format;
use crate::rollout::{Group, Rollout, Score};
use crate::section::{Key, Misfit, join, keys, schema};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

type Built = Result<Box<dyn Reward>, Vec<Misfit>>;
type Factory = Box<dyn Fn(toml::Table, &Format) -> Built + Send + Sync>;

/// The rewards that a recipe can name: the built-in ones (the default) and the user's own.
///
/// ```no_run
/// use rationale::Registry;
/// let registry = Registry::default().reward_fn("short", |_example, rollout| -(rollout.tokens.len() as f64));
/// std::process::exit(rationale::cli(registry));
/// ```
pub struct Registry {
    rows: BTreeMap<String, Row>,
}

struct Row {
    factory: Factory,
    schema: fn() -> serde_json::Value,
    /// Writes what follows from other keys of a section.
    follow: fn(&mut toml::Table),
}

/// What every `[reward.NAME]` takes beside its own keys.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "its schema is all that is read of it")]
struct Common {
    /// What its score counts in the sum; 0 only logs it.
    #[schemars(default = "one")]
    weight: f64,
    /// The reward that this is, where NAME is another: so that one reward can stand in a recipe twice.
    kind: Option<String>,
    /// Seconds that scoring a group should take; what takes longer is counted in the metrics.
    limit_s: Option<f64>,
    /// Where the models live that it asks in the policy's place: `cpu`, `cuda`, `cuda:N` or `auto`, as `devices.policy` has them; `devices.reward` by default. With
    /// `devices.reward_ranks` a reward model that has this stays with the ranks that ask it.
    device: Option<String>,
}

fn one() -> f64 {
    1.0
}

/// The section of a reward that has no keys of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::reward) struct NoKeys {}

impl Registry {
    /// No rewards at all; [`Registry::default`] has the built-in ones.
    pub fn empty() -> Self {
        Self { rows: BTreeMap::new() }
    }

    /// Adds `[reward.NAME]`. `factory` gets the section, `weight` and `kind` taken out, as its own type; give that
    /// `#[serde(deny_unknown_fields)]` so that a misspelt key is an error. A name that is registered already is
    /// replaced.
    pub fn reward<Config, R, F>(self, name: &str, factory: F) -> Self
    where
        Config: DeserializeOwned + JsonSchema,
        R: Reward + 'static,
        F: Fn(Config) -> anyhow::Result<R> + Send + Sync + 'static,
    {
        self.with_format(name, move |config, _| factory(config))
    }

    /// Adds `[reward.NAME]`, a function of an example and one of its rollouts.
    pub fn reward_fn<F>(self, name: &str, function: F) -> Self
    where
        F: Fn(&Example, &Rollout) -> f64 + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.reward(name, move |_: NoKeys| {
            let function = function.clone();
            Ok(of_rollouts(move |example, rollout| Ok(function(example, rollout))))
        })
    }

    /// Adds `[reward.NAME]`, a function of a whole group that gives one score a rollout.
    pub fn group_fn<F>(self, name: &str, function: F) -> Self
    where
        F: Fn(&Group) -> Vec<f64> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.reward(name, move |_: NoKeys| {
            let function = function.clone();
            Ok(move |group: &Group| Ok(function(group).into_iter().map(Score::from).collect()))
        })
    }

    /// The names known, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    /// The schema of each, in the same order, without what all have in common.
    pub fn schemas(&self) -> impl Iterator<Item = (&str, serde_json::Value)> {
        self.rows.iter().map(|(name, row)| (name.as_str(), (row.schema)()))
    }

    /// The schema of the keys that every reward takes.
    pub fn common_schema() -> serde_json::Value {
        schema::<Common>()
    }

    /// The reward registered as `kind`, from its section; or all that is wrong there, with keys relative to the section.
    pub(super) fn build(&self, kind: &str, table: toml::Table, format: &Format) -> Built {
        let Some(row) = self.rows.get(kind) else {
            let known = list(self.names());
            let remedy = match meant(kind, self.names()) {
                meant if meant.is_empty() => {
                    "a reward of your own is known to the program that you built with it: run the recipe with that one"
                        .into()
                }
                meant => meant,
            };
            return Err(vec![Misfit::new("", format!("no such reward; known: {known}"), remedy)]);
        };
        (row.factory)(table, format)
    }

    /// [`reward`](Self::reward) for one that also asks how rationales are written.
    pub(super) fn with_format<Config, R, F>(mut self, name: &str, factory: F) -> Self
    where
        Config: DeserializeOwned + JsonSchema,
        R: Reward + 'static,
        F: Fn(Config, &Format) -> anyhow::Result<R> + Send + Sync + 'static,
    {
        let build = move |table: toml::Table, format: &Format| -> Built {
            let reward = factory(read(table.clone())?, format);
            let section = toml::Value::Table(table);
            Ok(Box::new(reward.map_err(|error| vec![located(&section, format!("{error:#}"))])?))
        };
        let row = Row { factory: Box::new(build), schema: schema::<Config>, follow: |_| () };
        self.rows.insert(name.to_owned(), row);
        self
    }

    /// Has `follow` write the values of `[reward.NAME]` that follow from others of its keys into a section that has its fixed defaults.
    pub(super) fn following(mut self, name: &str, follow: fn(&mut toml::Table)) -> Self {
        if let Some(row) = self.rows.get_mut(name) {
            row.follow = follow;
        }
        self
    }

    /// Writes what follows from other keys of a reward's section, which has its fixed defaults.
    pub fn follow(&self, kind: &str, section: &mut toml::Table) {
        if let Some(row) = self.rows.get(kind) {
            (row.follow)(section);
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}

/// Reads a section as its own type, or says all that is wrong with its keys: one that does not fit is noted and taken out, and the
/// rest is read again.
fn read<Config: DeserializeOwned + JsonSchema>(mut table: toml::Table) -> Result<Config, Vec<Misfit>> {
    let mut found: Vec<Misfit> = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize(toml::Value::Table(table.clone())) {
            Ok(config) if found.is_empty() => return Ok(config),
            Ok(_) => return Err(found),
            Err(error) => error,
        };
        let misfit = misread::<Config>(&error.path().to_string(), error.inner().message().trim());
        let taken = misfit.key.split('.').next().and_then(|key| table.remove(key)).is_some();
        // What is missing now may be what was taken out.
        if taken || found.is_empty() {
            found.push(misfit);
        }
        if !taken {
            return Err(found);
        }
    }
}

/// What serde says of the value at `path`; of a key that is not known, what is.
fn misread<Config: JsonSchema>(path: &str, text: &str) -> Misfit {
    let path = if path == "." { "" } else { path };
    // serde writes: unknown field `x`, expected one of `a`, `b`
    let mut quoted = text.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next().filter(|_| text.starts_with("unknown field")) else {
        return Misfit::new(path, text, "");
    };
    // serde's path ends in the unknown key itself, or in the table around it.
    let around = match path.strip_suffix(unknown) {
        Some(before) if before.is_empty() || before.ends_with('.') => before.trim_end_matches('.'),
        _ => path,
    };
    let mut known: Vec<String> = quoted.map(str::to_owned).collect();
    if known.is_empty() {
        // A type that has others flattened into it does not list its keys itself.
        known = within(&schema::<Config>(), around);
    }
    if around.is_empty() {
        known.extend(within(&schema::<Common>(), ""));
    }
    let names = || known.iter().map(String::as_str);
    let near = or_semicolon(did_you_mean(nearest(unknown, names())));
    let known = match known.is_empty() {
        true => "it takes no keys".to_owned(),
        false => format!("known: {}", list(names())),
    };
    Misfit::new(join(around, unknown), format!("unknown key `{unknown}`{near} {known}"), "")
}

/// The names of the keys that a schema has in the table at the dotted `path`.
fn within(schema: &serde_json::Value, path: &str) -> Vec<String> {
    let name = |key: Key| {
        let own = match path {
            "" => key.path.as_str(),
            _ => key.path.strip_prefix(path)?.strip_prefix('.')?,
        };
        (!own.contains('.')).then(|| own.to_owned())
    };
    keys(schema).into_iter().filter_map(name).collect()
}

/// What a reward says of its section, at the key that it begins with where the section has that; `key = value: ` before it is left
/// out then, as who shows it says that.
fn located(section: &toml::Value, message: String) -> Misfit {
    let message = message.strip_prefix("recipe: ").unwrap_or(&message);
    let end = message.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).unwrap_or(message.len());
    let (path, rest) = message.split_at(end);
    let value = path.split('.').try_fold(section, |value, key| value.as_table()?.get(key));
    let Some(value) = value.filter(|_| !path.is_empty()) else { return Misfit::new("", message, "") };
    let shown = [Some(value.to_string()), value.as_float().map(|number| number.to_string())];
    let before = |shown: String| rest.strip_prefix(&format!(" = {shown}: "));
    let bare = shown.into_iter().flatten().find_map(before);
    Misfit::new(path, bare.unwrap_or(message), "")
}

/// "did you mean `x`?" where a known name is spelt much alike.
fn meant<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, known).map_or(String::new(), |name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::group;
    use super::*;
    use crate::reward::{Models, Rewards};

    fn misfits(recipe: &str) -> Vec<(String, String, String)> {
        let built =
            Rewards::try_build(&toml::from_str(recipe).unwrap(), &Registry::default(), &Format::default());
        let misfits = built.err().unwrap_or_default().into_iter();
        misfits.map(|misfit| (misfit.key, misfit.message, misfit.remedy)).collect()
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_with_its_key() {
        let found = misfits(
            "[lenght]\n[answer]\nweight = nan\nlimit_s = 0\ncorect = 1\nwrong = \"x\"\n[leak]\nsteps = 0\n\
             [judge]\nprompt = \"x\"\n[judge.endpoint]\nurll = \"y\"\n[rouge]\n[list]\nkind = \"rouge\"\ncolumn = 1",
        );
        let keys: Vec<&str> = found.iter().map(|(key, ..)| key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "lenght",
                "answer.weight",
                "answer.limit_s",
                "answer.corect",
                "answer.wrong",
                "leak.steps",
                "judge.endpoint.urll",
                "rouge",
                "list.column"
            ]
        );
        let of = |key: &str| found.iter().find(|(own, ..)| own == key).unwrap();
        assert_eq!(of("lenght").2, "did you mean `length`?");
        assert!(of("answer.corect").1.starts_with("unknown key `corect`; did you mean `correct`? known: "));
        assert!(of("judge.endpoint.urll").1.starts_with("unknown key `urll`; did you mean `url`? known: "));
        assert_eq!(of("answer.wrong").1, "invalid type: string \"x\", expected f64");
        assert_eq!(of("rouge").1, "missing field `column`");
        assert!(of("list.column").1.starts_with("invalid type: integer"));
        assert_eq!(of("leak.steps").1, "at least the first step is looked at");
        assert_eq!(of("answer.weight").1, "must be a finite number, of 1e15 at most");
    }

    /// The keys that every reward takes are among those that are known, in the reward's own table alone.
    #[test]
    fn a_key_that_is_not_known_is_held_against_all_that_a_reward_takes() {
        let said = |recipe: &str| misfits(recipe).remove(0).1;
        let all = "known: match, correct, wrong, missing, weight, kind, limit_s, device";
        for (typed, near) in [
            ("wieght", "; did you mean `weight`?"),
            ("limits", "; did you mean `limit_s`?"),
            ("devise", "; did you mean `device`?"),
            ("corect", "; did you mean `correct`?"),
            ("zzzz", ";"),
        ] {
            assert_eq!(said(&format!("[answer]\n{typed} = 1")), format!("unknown key `{typed}`{near} {all}"));
        }
        let inside = said("[judge]\nprompt = \"x\"\n[judge.endpoint]\nwieght = 1");
        assert!(inside.starts_with("unknown key `wieght`;") && !inside.contains("weight,"), "{inside}");
        let own = Registry::empty().reward_fn("short", |_, _| 0.0);
        let table = toml::from_str("[short]\nwieght = 2").unwrap();
        let found = Rewards::try_build(&table, &own, &Format::default()).err().unwrap();
        let expected = "unknown key `wieght`; did you mean `weight`? known: weight, kind, limit_s, device";
        assert_eq!((found[0].key.as_str(), found[0].message.as_str()), ("short.wieght", expected));
    }

    #[test]
    fn a_score_of_another_reward_must_be_there_by_then() {
        let relies = |by: &str| {
            format!("[length]\nonly_right = true\nlinear.max_tokens = 10\nright_by = \"{by}\"\n[format]\n")
        };
        assert!(misfits(&relies("format")).is_empty());
        let found = misfits(&relies("fromat"));
        assert_eq!((found[0].0.as_str(), found[0].2.as_str()), ("length.right_by", "did you mean `format`?"));
        assert!(found[0].1.contains("there is no [reward.fromat]"), "{}", found[0].1);
        // One that itself waits for others has to stand before.
        let later = format!("{}[later]\nkind = \"length\"\nrelative = {{}}\n", relies("later"));
        assert!(misfits(&later)[0].1.contains("[reward.later] is scored after it"), "{:?}", misfits(&later));
        let itself = misfits(&relies("length"));
        assert!(itself[0].1.contains("[reward.length] is scored after it"), "{itself:?}");
    }

    #[test]
    fn what_follows_from_other_keys_is_written_where_it_is_read() {
        let registry = Registry::default();
        for (kind, section, followed) in [
            ("readability", "formula = 'flesch'", "formula = 'flesch'\neasy = 90.0\nhard = 30.0"),
            ("readability", "formula = 'fog'\neasy = 7", "formula = 'fog'\neasy = 7\nhard = 16.0"),
            ("readability", "formula = 'fog'\nband = [5, 8]", "formula = 'fog'\nband = [5, 8]\nreach = 5.0"),
            ("readability", "formula = 'fog'\nplain = true", "formula = 'fog'\nplain = true"),
            ("belief", "measure = 'prob'\nover = 'gold'", "measure = 'prob'\nover = 'gold'"),
            (
                "belief",
                "measure = 'slope'\nover = 'choices'",
                "measure = 'slope'\nover = 'choices'\nbase = 2.0",
            ),
            (
                "belief",
                "measure = 'entropy'\nover = 'gold'",
                "measure = 'entropy'\nover = 'gold'\nbase = 2.718281828459045",
            ),
            (
                "belief",
                "measure = 'entropy'\nover = ['a', 'b']\nbase = 3",
                "measure = 'entropy'\nover = ['a', 'b']\nbase = 3",
            ),
            (
                "hierarchical",
                "ordered = false\n[[level]]\nname = 'a'\n[[level]]\nname = 'b'\ngate = true",
                "ordered = false\n[[level]]\nname = 'a'\ngate = false\n[[level]]\nname = 'b'\ngate = true",
            ),
            ("rouge", "column = 'a'", "column = 'a'"),
            ("another", "a = 1", "a = 1"),
        ] {
            let mut table: toml::Table = toml::from_str(section).unwrap();
            registry.follow(kind, &mut table);
            assert_eq!(table, toml::from_str(followed).unwrap(), "{kind}: {section}");
        }
    }

    #[test]
    fn a_factory_of_ones_own_points_at_its_key_too() {
        #[derive(Deserialize, JsonSchema)]
        struct Section {
            most: usize,
        }
        let checked = |section: Section| {
            anyhow::ensure!(section.most > 0, "most = 0: at least 1");
            Ok(move |group: &Group| Ok(vec![Score::from(section.most as f64); group.rollouts.len()]))
        };
        let registry = Registry::empty().reward("own", checked);
        let built =
            |text: &str| Rewards::try_build(&toml::from_str(text).unwrap(), &registry, &Format::default());
        assert_eq!(built("[own]\nmost = 0").err().unwrap()[0].key, "own.most");
        let mut groups = [group(None, &[], &["a"])];
        built("[own]\nmost = 2").unwrap().score(&mut groups, &Models::none()).unwrap();
        assert_eq!(groups[0].rewards(), [2.0]);
    }
}
