//! What a name that a recipe does not know was meant to be: another program's name for a key, a slip, a key of another section.

use super::absent::absent;
use super::aliases::{Alias, of, plain};
use super::explain::value;
use super::stages::{StageTable, section};
use crate::nearest::{did_you_mean, nearest, or_semicolon};
use crate::section::join;
use toml::Table;

/// What was meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meant {
    /// A name that looks like it, or the same one elsewhere.
    Like(String),
    /// The key that another program calls so.
    Called(String),
    /// Another program's name for what there is no key for, and why.
    Absent(&'static str),
}

/// A name where it stands, and what it may be told from.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    /// As it is written.
    pub typed: &'a str,
    /// The dotted path of the table that it stands in.
    pub parent: &'a str,
    /// The stage.
    pub stage: &'a StageTable,
    /// Every key that a stage may have.
    pub known: &'a [String],
    /// Other programs' names.
    pub aliases: &'a [Alias],
}

impl Meant {
    /// As a message says it of `typed`, before a list of what is known.
    pub fn shown(meant: Option<Self>, typed: &str) -> String {
        match meant {
            // A path that is the name alone is a section's.
            Some(Self::Like(name) | Self::Called(name)) if name == typed => {
                format!("; `{typed}` is a section of its own, [{typed}];")
            }
            Some(Self::Called(key)) => format!("; `{typed}` is `{key}` here;"),
            Some(Self::Absent(why)) => format!("; `{typed}` is not here: {why};"),
            Some(Self::Like(name)) => or_semicolon(did_you_mean(Some(&name))),
            None => or_semicolon(String::new()),
        }
    }

    /// The name alone, where there is one.
    pub fn name(self) -> Option<String> {
        match self {
            Self::Like(name) | Self::Called(name) => Some(name),
            Self::Absent(_) => None,
        }
    }
}

impl Name<'_> {
    /// What it was meant to be, beside the names of its table.
    pub fn meant(&self, siblings: &[&str]) -> Option<Meant> {
        let siblings = || siblings.iter().copied();
        let one_off = siblings().find(|name| {
            (4..200).contains(&self.typed.len()) && strsim::damerau_levenshtein(self.typed, name) == 1
        });
        let called = self.called();
        let here = called.as_ref().filter(|key| self.below(key).is_some()).cloned();
        let near = || nearest(self.typed, siblings()).map(str::to_owned);
        here.map(|key| Meant::Called(self.below(&key).unwrap_or(&key).to_owned()))
            .or(one_off.map(|name| Meant::Like(name.to_owned())))
            .or(called.map(Meant::Called))
            .or_else(|| absent(&join(self.parent, self.typed)).map(Meant::Absent))
            .or_else(|| self.elsewhere(self.typed).filter(|path| path != self.parent).map(Meant::Like))
            .or_else(|| near().map(Meant::Like))
    }

    /// The key that another program calls so, alone or with what it stands in; of several the one that is nearest to here.
    pub fn called(&self) -> Option<String> {
        let (_, keys) = of(self.aliases, &join(self.parent, self.typed))?;
        let paths = keys.iter().filter_map(|key| self.elsewhere(key).or_else(|| self.in_open_table(key)));
        paths.min_by_key(|path| (self.below(path).is_none(), self.apart(path)))
    }

    /// A key of a table that takes any name.
    fn in_open_table(&self, key: &str) -> Option<String> {
        let (table, name) = key.rsplit_once('.')?;
        self.elsewhere(table).map(|table| join(&table, name))
    }

    /// A path from the table that the name stands in, where it lies in it.
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.parent)?.strip_prefix('.')
    }

    /// How many names of a path the stage has not.
    fn apart(&self, path: &str) -> usize {
        apart(&self.stage.table, path)
    }

    /// A known path that ends in `key`; one that this stage's choices reach goes before the others.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let ends = |path: &&String| {
            path.strip_suffix(key).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        // A whole path is looked for from the top of a file, too.
        let own = Some(join(self.parent, key)).filter(|_| !self.parent.is_empty());
        let other = |path: &&String| own.as_ref() != Some(*path) && !path.contains("[]");
        let mut paths: Vec<&String> = self.known.iter().filter(ends).filter(other).collect();
        let distance = |path: &str| {
            let around = path.rsplit_once('.').map_or("", |(around, _)| around);
            (section(&self.stage.table, around).is_none(), path.matches('.').count())
        };
        paths.sort_by_key(|path| distance(path));
        paths.first().map(|path| (*path).clone())
    }
}

/// How many names of a path a table has not.
fn apart(table: &Table, path: &str) -> usize {
    let there = |end: &usize| value(table, &path[..*end]).is_some();
    let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    ends.filter(|end| !there(end)).count()
}

/// The key that another program calls `typed`; of several the one that is nearest to what `table` has.
pub(super) fn called_in(aliases: &[Alias], typed: &str, table: &Table) -> Option<&'static str> {
    let (_, keys) = of(aliases, typed)?;
    keys.iter().copied().min_by_key(|key| apart(table, key))
}

/// The keys whose last name is `typed`: of sections and of tables that are there, the shortest paths first; where there are none such,
/// the one that is nearest to what `table` has.
pub(super) fn ending_in<'k>(known: &'k [String], typed: &str, table: &Table) -> Vec<&'k str> {
    let typed = plain(typed);
    let around = |path: &&str| {
        path.rsplit_once('.').filter(|(_, last)| *last == typed).map(|(around, _)| around.to_owned())
    };
    let listed = |path: &&str| path.contains("[]") || holds(known, path).is_some();
    let found = known.iter().map(String::as_str).filter(|path| around(path).is_some() && !listed(path));
    let mut found: Vec<&str> = found.collect();
    found.sort_by_key(|path| (path.matches('.').count(), apart(table, path)));
    let there =
        |path: &&str| around(path).is_some_and(|at| !at.contains('.') || section(table, &at).is_some());
    let near: Vec<&str> = found.iter().copied().filter(there).collect();
    if near.is_empty() {
        found.into_iter().min_by_key(|path| apart(table, path)).into_iter().collect()
    } else {
        near
    }
}

/// The first key in the table at a path; none where that is no table.
pub(super) fn holds<'k>(known: &'k [String], path: &str) -> Option<&'k str> {
    let inside = |key: &&String| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    let mut keys = known.iter().filter(inside).filter(|key| !key.contains("[]"));
    keys.find(|key| !known.iter().any(|other| other.starts_with(&format!("{key}.")))).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use crate::recipe::{Recipe, Registry, Stage};

    fn said(text: &str, sets: &[&str]) -> String {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let read = Recipe::parse("a.toml", text, &sets)
            .and_then(|recipe| Stage::read_all(&recipe, &Registry::default()).map(drop));
        read.unwrap_err().to_string()
    }

    #[test]
    fn a_name_of_another_program_is_told_wherever_it_stands() {
        let rest = "[data]\ntrain = \"rows.jsonl\"\n[policy]\nmodel = \"m\"\n";
        let dpo = format!("{rest}[loop.dpo]\n");
        let stages = format!("{rest}[[stage]]\nname = \"rl\"\nloop.grpo = {{}}\nreward.answer = {{}}\n");
        for (text, sets, part) in [
            (
                format!("beta = 0.1\n{dpo}"),
                vec![],
                "a.toml:1: `beta` stands in no section; `beta` is `loop.dpo.loss.beta` here; sections: ",
            ),
            (
                format!("beta = 0.1\n{stages}"),
                vec![],
                "a.toml:1: `beta` stands in no section; `beta` is `loop.grpo.kl.coefficient` here;",
            ),
            (
                format!("learning_rate = 1e-3\n{dpo}"),
                vec![],
                "`learning_rate` stands in no section; `learning_rate` is `optim.lr` here;",
            ),
            (
                format!("{stages}num_generations = 4\n"),
                vec![],
                "`num_generations` stands in no section; `num_generations` is `rollout.group.size` here;",
            ),
            (
                format!("{dpo}packing = true\n"),
                vec![],
                "[loop.dpo] unknown key `packing`; `packing` is not here: rows are packed always",
            ),
            (
                format!("{dpo}[optim]\noptim = \"adamw_bnb_8bit\"\n"),
                vec![],
                "[optim] unknown key `optim`; `optim` is `moments` here;",
            ),
            // No word is told to be itself.
            (
                dpo.replace("[policy]\n", "[policy]\nreward = \"answer\"\n"),
                vec![],
                "a.toml:4: [policy] unknown key `reward`; `reward` is a section of its own, [reward]; known: ",
            ),
            // The section that it stands in was not meant.
            (format!("{dpo}[log]\nlog = true\n"), vec![], "[log] unknown key `log`; known: "),
            (
                dpo.replace("[policy]\n", "[policy]\nload_in_4bit = true\n"),
                vec![],
                "[policy] unknown key `load_in_4bit`; `load_in_4bit` is `quantize` here;",
            ),
            (format!("{dpo}use_vllm = true\n"), vec![], "`use_vllm` is not here: the program samples itself"),
            (
                dpo.clone(),
                vec!["learning_rate=1e-3"],
                "--set learning_rate=1e-3: `learning_rate` is `optim.lr` here; write --set optim.lr=…",
            ),
            (
                stages.clone(),
                vec!["stage.rl.num_generations=4"],
                "`num_generations` is `rollout.group.size` here; write --set stage.rl.rollout.group.size=…",
            ),
            (
                stages.clone(),
                vec!["stage.rl.lr=4"],
                "--set stage.rl.lr=4: a key stands in a section; write --set stage.rl.optim.lr=…",
            ),
            (stages.clone(), vec!["stage.rl.lrr=4"], "a stage's key is stage.NAME.section.key"),
            (
                dpo.clone(),
                vec!["weight_decay=0.1"],
                "--set weight_decay=0.1: a key stands in a section; write --set optim.weight_decay=…",
            ),
            (dpo.clone(), vec!["seed=3"], "a key stands in a section; write --set run.seed=…"),
            (dpo.clone(), vec!["dtype=f32"], "a key stands in a section; write --set policy.dtype=…"),
            (
                dpo.clone(),
                vec!["every=3"],
                "a key stands in a section; write --set eval.every=… or --set checkpoint.every=…",
            ),
            // Of several tables the one that the recipe has gone into furthest.
            (dpo.clone(), vec!["desirable_weight=2"], "write --set loop.dpo.loss.desirable_weight=…"),
            (stages.clone(), vec!["whiten=true"], "write --set loop.grpo.advantage.whiten=…"),
            // What is a table takes no value itself.
            (
                dpo.clone(),
                vec!["environment_factory=x"],
                "`environment_factory` is `[rollout.environment]` here; write --set rollout.environment.size=…",
            ),
            (dpo, vec!["packing=true"], "--set packing=true: `packing` is not here: rows are packed"),
        ] {
            let said = said(&text, &sets);
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
    }
}
