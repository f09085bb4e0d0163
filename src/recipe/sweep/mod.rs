//! `[sweep]` and `run.seeds`: one file of several trials, each a recipe of its own.
//!
//! A *point* gives every swept key one of its values; a *trial* is a point with a seed. The points are the product of the keys' values in
//! the order in which they are written, of which the last key's change first. A point is called by its values
//! (`lr=1e-5_beta=0.1`), so that its name stays where values are added.

mod names;
mod read;

use super::Recipe;
use super::overrides::Override;
use super::refusal::Refusal;
use crate::nearest::list;
use names::shortened;
use toml::{Table, Value};

/// The key of the seeds.
pub(super) const SEEDS: [&str; 2] = ["run", "seeds"];
/// The section.
pub(super) const SWEEP: &str = "sweep";

/// Characters of the name of a point.
const NAME: usize = 120;

/// What a recipe sweeps; nothing of an ordinary one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sweep {
    keys: Vec<Swept>,
    seeds: Vec<i64>,
    /// The line of the seeds.
    line: Option<usize>,
    /// The `--set` that gives them, where one does.
    typed: Option<String>,
}

/// A key with the values that it is to have.
#[derive(Debug, Clone, PartialEq)]
struct Swept {
    /// As it is written behind `--set`: `optim.lr`, `stage.rl.optim.lr`.
    key: String,
    /// The stage that it is for; all of them where there is none.
    stage: Option<String>,
    path: Vec<String>,
    values: Vec<Valued>,
    /// The `--set` that gives them, where one does.
    typed: Option<String>,
}

/// A value, what it is called, and the line that it stands on.
#[derive(Debug, Clone, PartialEq)]
struct Valued {
    value: Value,
    name: String,
    line: Option<usize>,
}

/// One of the recipes that a sweeping recipe is.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The folder in the run: the point and the seed; empty where the recipe has one trial alone, which is the run.
    pub name: String,
    /// What trials that differ in their seed alone are called; empty without `[sweep]`.
    pub point: String,
    /// The swept keys with the values that they have here.
    pub values: Vec<(String, Value)>,
    /// Its recipe, which sweeps nothing.
    pub recipe: Recipe,
}

impl Sweep {
    /// Whether there is one trial alone.
    pub(super) fn is_none(&self) -> bool {
        self.keys.is_empty() && self.seeds.is_empty()
    }

    /// How many trials there are.
    pub(super) fn trials(&self) -> usize {
        let points = self.keys.iter().map(|key| key.values.len()).fold(1_usize, usize::saturating_mul);
        points.saturating_mul(self.seeds.len().max(1))
    }

    /// How many points there are, and how many seeds of each.
    pub(super) fn shape(&self) -> (usize, usize) {
        let seeds = self.seeds.len().max(1);
        (self.trials() / seeds, seeds)
    }

    /// Its name, that of its point and its values; the same seed for all points, then the next one.
    pub(super) fn trial(&self, at: usize, seed: i64) -> (String, String, Vec<(String, Value)>) {
        let (points, _) = self.shape();
        let chosen = self.point(at % points);
        let shorts = self.shorts();
        let named = chosen.iter().zip(&shorts).map(|((_, valued), short)| format!("{short}={}", valued.name));
        let point = shortened(&named.collect::<Vec<_>>().join("_"), NAME);
        let seed = self.seeds.get(at / points).copied().unwrap_or(seed);
        let name = match (self.is_none(), point.is_empty()) {
            (true, _) => String::new(),
            (_, true) => format!("seed={seed}"),
            _ => format!("{point}_seed={seed}"),
        };
        let values = chosen.iter().map(|(key, valued)| (key.key.clone(), valued.value.clone())).collect();
        (name, point, values)
    }

    /// What makes a recipe that of its trial `at`.
    pub(super) fn overrides(&self, at: usize, file: &str) -> Vec<Override> {
        let (points, _) = self.shape();
        let place = |typed: &Option<String>, line: Option<usize>| match (typed, line) {
            (Some(typed), _) => Some((None, typed.clone())),
            (None, Some(line)) => Some((Some(line), format!("{file}:{line}"))),
            (None, None) => None,
        };
        let of = |(key, valued): &(&Swept, &Valued)| Override {
            text: format!("{}={}", key.key, valued.value),
            stage: key.stage.clone(),
            path: key.path.clone(),
            value: valued.value.clone(),
            reached: Vec::new(),
            written: place(&key.typed, valued.line),
        };
        let mut all: Vec<Override> = self.point(at % points).iter().map(of).collect();
        all.extend(self.seeds.get(at / points).map(|seed| Override {
            text: format!("run.seed={seed}"),
            stage: None,
            path: vec!["run".into(), "seed".into()],
            value: Value::Integer(*seed),
            reached: Vec::new(),
            written: place(&self.typed, self.line),
        }));
        all
    }

    /// Writes what is swept into the recipe of the first trial, which so becomes that of all.
    pub(super) fn write(&self, recipe: &mut Table) {
        if !self.seeds.is_empty()
            && let Value::Table(run) = recipe.entry("run").or_insert_with(|| Value::Table(Table::new()))
        {
            run.remove("seed");
            run.insert(
                "seeds".into(),
                Value::Array(self.seeds.iter().copied().map(Value::Integer).collect()),
            );
        }
        if !self.keys.is_empty() {
            let values =
                |key: &Swept| Value::Array(key.values.iter().map(|valued| valued.value.clone()).collect());
            let table = self.keys.iter().map(|key| (key.key.clone(), values(key))).collect();
            recipe.insert(SWEEP.into(), Value::Table(table));
        }
    }

    /// The values of a point, key by key.
    fn point(&self, at: usize) -> Vec<(&Swept, &Valued)> {
        let mut rest = at;
        let mut chosen: Vec<(&Swept, &Valued)> = Vec::new();
        for key in self.keys.iter().rev() {
            chosen.push((key, &key.values[rest % key.values.len()]));
            rest /= key.values.len();
        }
        chosen.reverse();
        chosen
    }

    /// The shortest ends of the keys that tell them apart.
    fn shorts(&self) -> Vec<String> {
        let all: Vec<Vec<&str>> = self.keys.iter().map(|key| key.key.split('.').collect()).collect();
        let end = |path: &[&str], length: usize| path[path.len().saturating_sub(length)..].join(".");
        let short = |path: &Vec<&str>| {
            let alone = |length: &usize| {
                all.iter().filter(|other| end(other, *length) == end(path, *length)).count() == 1
            };
            end(path, (1..path.len()).find(alone).unwrap_or(path.len()))
        };
        all.iter().map(short).collect()
    }
}

impl Recipe {
    /// Whether it has several trials, or one that is called by its seed.
    pub fn sweeps(&self) -> bool {
        !self.sweep.is_none()
    }

    /// How many points it has, and how many seeds of each.
    pub fn sweep_shape(&self) -> (usize, usize) {
        self.sweep.shape()
    }

    /// The swept keys.
    pub fn swept(&self) -> Vec<&str> {
        self.sweep.keys.iter().map(|key| key.key.as_str()).collect()
    }

    /// The recipes that it is, all points of the first seed before those of the next, each with what is wrong with how its stages are put
    /// together. An ordinary recipe is its only trial.
    pub fn trials(&self) -> Vec<(Trial, Vec<Refusal>)> {
        let of = |at: usize| {
            let sets = self.sweep.overrides(at, self.file());
            let (recipe, refused) =
                Self::put_together(self.source.clone(), [sets, self.typed.clone()].concat(), self.rules);
            let seed =
                super::stages::at(&recipe.stages[0].table, &["run", "seed"]).and_then(Value::as_integer);
            let (name, point, values) = self.sweep.trial(at, seed.unwrap_or(0));
            (Trial { name, point, values, recipe }, refused)
        };
        (0..self.sweep.trials()).map(of).collect()
    }

    /// What is swept, in words, where that is too much.
    pub(super) fn too_many_trials(&self, most: usize) -> Option<Refusal> {
        let runs = self.sweep.trials().saturating_mul(self.stages.len() * self.rounds);
        let of: Vec<String> =
            self.sweep.keys.iter().map(|key| format!("{} of {}", key.values.len(), key.key)).collect();
        (self.sweeps() && runs > most).then(|| {
            let (points, seeds) = self.sweep.shape();
            let message = format!(
                "{points} points ({}) × {seeds} seeds × {} stages are {runs}, and a run has at most {most}; sweep fewer values",
                list(of.iter().map(String::as_str)),
                self.stages.len() * self.rounds
            );
            self.source.refusal(&[SWEEP], &message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    fn trials(head: &str) -> Vec<Trial> {
        let recipe = Recipe::parse(
            "r.toml",
            &format!("{head}\n[[stage]]\nname = \"a\"\n[[stage]]\nname = \"b\""),
            &[],
        )
        .unwrap();
        recipe.trials().into_iter().map(|(trial, _)| trial).collect()
    }

    fn names(head: &str) -> Vec<String> {
        trials(head).into_iter().map(|trial| trial.name).collect()
    }

    /// The last key's values change first, and all points of a seed come before those of the next.
    #[test]
    fn trials_are_the_product_in_the_order_written() {
        let found = names(
            "[run]\nseeds = [0, 7]\n[sweep]\noptim.lr = [1e-5, 0.05]\n\"data.shuffle\" = [true, false]",
        );
        let expected = [
            "lr=1e-5_shuffle=true",
            "lr=1e-5_shuffle=false",
            "lr=0.05_shuffle=true",
            "lr=0.05_shuffle=false",
        ];
        assert_eq!(found[..4], expected.map(|point| format!("{point}_seed=0")));
        assert_eq!(found[4..], expected.map(|point| format!("{point}_seed=7")));
        assert_eq!(names("[run]\nseeds = [2]"), ["seed=2"]);
        assert_eq!(names("[run]\nseed = 2"), [""]);
    }

    /// A name hangs on the value alone, so that it stays where others are added.
    #[test]
    fn names_are_short_and_stable() {
        let of = |values: &str| names(&format!("[sweep]\npolicy.model = {values}"));
        let one = of("[\"owner/SmolLM2-135M\"]");
        assert_eq!(one, ["model=SmolLM2-135M_seed=0"]);
        let two = of("[\"x y/ü\", \"owner/SmolLM2-135M\", \"other/SmolLM2-135M\"]");
        assert_eq!(two[1], one[0]);
        // Values of one name are told apart by a checksum, and so is what has no letter that a name takes.
        assert!(two[2].starts_with("model=SmolLM2-135M-") && two[2] != two[1] && two[0] != two[1], "{two:?}");
        let long = of(&format!("[\"{}\"]", "a".repeat(300)));
        assert!(long[0].len() < 48, "{long:?}");
        // The shortest ends that tell keys apart; a stage's own key is its own.
        let keys = "[sweep]\nstage.a.optim.lr = [1.0]\nstage.b.optim.lr = [2.0]\nloop = [{sft = {}}, {dpo = {beta = 0.1}}]";
        assert_eq!(
            names(keys),
            [
                "a.optim.lr=1_b.optim.lr=2_loop=sft_seed=0",
                "a.optim.lr=1_b.optim.lr=2_loop=dpo-beta-0.1_seed=0"
            ]
        );
    }

    #[test]
    fn a_trial_has_its_values_and_an_unswept_recipe() {
        let all = trials(
            "[run]\nseeds = [3]\n[optim]\nlr = 9.0\n[sweep]\nstage.b.optim.lr = [1.0]\nrun.steps = [5]",
        );
        let [trial] = &all[..] else { panic!("one trial") };
        let lr = |stage: usize| trial.recipe.stages()[stage].table["optim"]["lr"].as_float();
        assert_eq!((lr(0), lr(1)), (Some(9.0), Some(1.0)));
        let run = &trial.recipe.stages()[0].table["run"];
        assert_eq!(
            (run["seed"].as_integer(), run["steps"].as_integer(), run.get("seeds")),
            (Some(3), Some(5), None)
        );
        assert!(!trial.recipe.sweeps() && trial.recipe.trials().len() == 1);

        // A stage's whole section is a key, too.
        let all = trials("[sweep]\nstage.b.optim = [{ lr = 2.0 }, { lr = 3.0 }]");
        let rates: Vec<Option<f64>> =
            all.iter().map(|trial| trial.recipe.stages()[1].table["optim"]["lr"].as_float()).collect();
        assert_eq!(rates, [Some(2.0), Some(3.0)]);
    }
}
