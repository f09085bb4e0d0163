//! What a run that is gone on with may change: which keys of its recipe differ, and which of them cannot.

use crate::checkpoint::{Ledger, StageRecord};
use crate::error::{Error, Result};
use crate::recipe::flat::{Keys, METHOD, keys};
use crate::recipe::{PlannedStage, Registry};
use crate::section::covers;
use std::collections::BTreeSet;
use std::path::Path;
use toml::{Table, Value};

/// Keys that say what a stage learns from, in which order, and what learns: with others it would not be that stage.
const FIXED: [&str; 15] = [
    "policy.model",
    "policy.init",
    "policy.dtype",
    "policy.lora",
    "data.train",
    "data.task",
    "data.train_limit",
    "data.eval",
    "data.eval_limit",
    "data.prompts_per_step",
    "data.shuffle",
    "data.max_prompt_tokens",
    "data.columns",
    "data.integer_answers",
    "data.template",
];
/// Keys that say how long a stage is.
const LENGTH: [&str; 2] = ["run.steps", "run.epochs"];
/// What a method that has rounds of its own calls their number.
const ROUNDS: &str = "rounds";

/// What has changed of a recipe since the run last had one.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// `key: old → new`, with what comes of it.
    pub words: Vec<String>,
    /// Stages whose length has changed.
    pub longer: BTreeSet<String>,
    /// The recipe that holds from here on ([`holding`]).
    pub holds: Option<Table>,
}

/// A key of a stage that differs.
struct Change {
    /// The stage; empty for what holds for the whole run.
    stage: String,
    key: String,
    old: Option<Value>,
    new: Option<Value>,
}

/// What differs between the recipe that the run had, and the one that it is to go on with, both resolved. What the old one says nothing of,
/// because it was written before `registry` knew the key, is no change at its default.
///
/// # Errors
/// [`Error::Recipe`] with all that cannot change once it has begun.
pub(super) fn changes(
    old: &Table,
    new: &Table,
    plan: &[PlannedStage],
    ledger: &Ledger,
    registry: &Registry,
) -> Result<Changes> {
    let only = plan.first().map_or("", |planned| planned.stage.name.as_str());
    let (old, new) = (keys(old, only), keys(new, only));
    let mut refused = misplaced(plan, ledger);
    let mut changes = Changes::default();
    let of_length = |change: &Change| {
        LENGTH.iter().any(|key| covers(key, &change.key))
            || (change.key.starts_with("loop.") && change.key.ends_with(ROUNDS))
    };
    let mut changed = differing(&old, &new);
    changed.retain(|change| !change.is_of_new_key(&old, registry));
    let longer: BTreeSet<String> = changed
        .iter()
        .filter(|change| of_length(change) && change.is_more())
        .map(|change| change.stage.clone())
        .collect();
    for change in changed {
        let records: Vec<_> = ledger.stages.iter().filter(|record| record.stage == change.stage).collect();
        let is_of = |keys: &[&str]| keys.iter().any(|key| covers(key, &change.key));
        let length = of_length(&change);
        let words = change.words();
        let done = records.last().is_some_and(|record| record.done.is_some());
        let last = ledger.stages.last().is_some_and(|record| record.stage == change.stage);
        if change.stage.is_empty() {
            match change.key == "run.seed" && !ledger.stages.is_empty() {
                true => refused.push(format!("{words}: the run has begun with the other seed")),
                false => changes.words.push(words),
            }
        } else if records.is_empty() {
            changes.words.push(words);
        } else if is_of(&FIXED) || change.another_loop() {
            refused.push(format!("{words}: stage `{}` has begun with what it was", change.stage));
        } else if length && done && !last && change.is_more() && plan.iter().all(|planned| planned.round == 1)
        {
            refused.push(format!(
                "{words}: stage `{}` is done, and the stages after it have begun from its result; more steps of it \
                 would not reach them",
                change.stage
            ));
        } else if length && (!done || change.is_more()) {
            changes.longer.insert(change.stage.clone());
            changes.words.push(words);
        } else if done
            && !(last && longer.contains(&change.stage))
            && plan.last().is_some_and(|planned| ledger.of(&change.stage, planned.round).is_some())
        {
            changes.words.push(format!("{words} (without effect: stage `{}` is done)", change.stage));
        } else {
            changes.words.push(words);
        }
    }
    if refused.is_empty() {
        return Ok(changes);
    }
    Err(Error::Recipe(format!(
        "--resume cannot go on with another recipe in this:\n  {}\nput back what it was, or start a new run: another --out, and \
         policy.model set to one of this run's checkpoints to go on from its weights",
        refused.join("\n  ")
    )))
}

/// Whether a stage is done; where somebody has removed its result since, it is not, unless stages after it have begun.
pub(super) fn is_done(run: &Path, ledger: &Ledger, name: &str, round: usize) -> bool {
    let Some(record) = ledger.of(name, round) else { return false };
    let Some(done) = &record.done else { return false };
    let last = ledger.stages.last() == Some(record);
    done.checkpoint.as_ref().is_none_or(|folder| !last || run.join(folder).exists())
}

/// Whether nothing runs any more of the stages of this name, or of all, where those in `longer` have more steps now than they had.
pub(super) fn is_over(
    run: &Path,
    plan: &[PlannedStage],
    ledger: &Ledger,
    longer: &BTreeSet<String>,
    only: Option<&str>,
) -> bool {
    let over = |planned: &PlannedStage| {
        let (name, round) = (planned.stage.name.as_str(), planned.round);
        let is_last = |last: &StageRecord| (last.stage.as_str(), last.round) == (name, round);
        let goes_on = longer.contains(name) && ledger.stages.last().is_some_and(is_last);
        is_done(run, ledger, name, round) && !goes_on
    };
    plan.iter().filter(|planned| only.is_none_or(|name| planned.stage.name == name)).all(over)
}

/// The recipe by which a run goes on: the `new` one, and of stages of which nothing runs any more the tables by which they ran. None where
/// the run goes on by the `old` one, or not at all.
pub(super) fn holding(old: &Table, mut new: Table, is_over: impl Fn(Option<&str>) -> bool) -> Option<Table> {
    if is_over(None) {
        return None;
    }
    let ran = old.get("stage").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for stage in new.get_mut("stage").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = stage.get("name").and_then(Value::as_str).unwrap_or_default();
        let before = ran.iter().find(|before| before.get("name").and_then(Value::as_str) == Some(name));
        if let Some(before) = before.filter(|_| is_over(Some(name))) {
            *stage = before.clone();
        }
    }
    (new != *old).then_some(new)
}

/// Stages that have begun and are not where they were.
fn misplaced(plan: &[PlannedStage], ledger: &Ledger) -> Vec<String> {
    let planned = plan.iter().map(|planned| (planned.stage.name.as_str(), planned.round));
    let begun = ledger.stages.iter().map(|record| (record.stage.as_str(), record.round));
    let other = planned.clone().zip(begun).find(|(planned, begun)| planned != begun);
    let words = |((planned, _), (begun, round)): ((&str, usize), (&str, usize))| {
        format!("the stages: `{begun}` of round {round} has begun where `{planned}` stands now")
    };
    other.map(words).into_iter().collect()
}

fn differing(old: &Keys, new: &Keys) -> Vec<Change> {
    let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let change = |(stage, key): &(String, String)| {
        let at = (stage.clone(), key.clone());
        Change {
            stage: stage.clone(),
            key: key.clone(),
            old: old.get(&at).cloned(),
            new: new.get(&at).cloned(),
        }
    };
    all.into_iter().map(change).filter(|change| change.old != change.new).collect()
}

impl Change {
    fn words(&self) -> String {
        let value = |value: &Option<Value>| value.as_ref().map_or("nothing".to_string(), Value::to_string);
        let place = if self.stage.is_empty() { String::new() } else { format!("stage.{}.", self.stage) };
        format!("{place}{}: {} → {}", self.key, value(&self.old), value(&self.new))
    }

    fn is_more(&self) -> bool {
        let number = |value: &Option<Value>| {
            value.as_ref().and_then(|value| value.as_float().or(value.as_integer().map(|n| n as f64)))
        };
        match (number(&self.old), number(&self.new)) {
            (Some(old), Some(new)) => new > old,
            _ => true,
        }
    }

    /// Whether the `old` recipe did not know the key, whose table it had, and the new one has it at its default.
    fn is_of_new_key(&self, old: &Keys, registry: &Registry) -> bool {
        let Some((table, _)) = self.key.rsplit_once('.') else { return false };
        let beside = |(stage, key): &(String, String)| *stage == self.stage && covers(table, key);
        self.old.is_none() && old.keys().any(beside) && self.new == registry.default_of(&self.key)
    }

    /// Whether it is the method itself that differs: a loop that was not there, or is no more.
    fn another_loop(&self) -> bool {
        self.key == METHOD
    }
}

/// A resolved recipe without the comments that say where it comes from.
pub(super) fn body(recipe: &str) -> String {
    recipe.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Done;
    use crate::recipe::StageTable;

    const OLD: &str = "[run]\nseed = 1\n[[stage]]\nname = \"sft\"\n[stage.run]\nsteps = 4\n[stage.optim]\nlr = 0.1\n\
        [stage.loop.sft]\n[[stage]]\nname = \"rl\"\n[stage.run]\nsteps = 4\n[stage.data]\ntrain = \"a\"\n[stage.loop.grpo]\n";

    /// `sft` is done and `rl` is under way, or done too.
    fn found(new: &str, rl_done: bool) -> Result<Changes> {
        between(OLD, new, rl_done)
    }

    fn between(old: &str, new: &str, rl_done: bool) -> Result<Changes> {
        let planned = |(index, name): (usize, &str)| PlannedStage {
            round: 1,
            stage: StageTable { index, name: name.into(), table: Table::new() },
        };
        let record = |stage: &str, done: bool| StageRecord {
            stage: stage.into(),
            round: 1,
            done: done.then(Done::default),
            ..StageRecord::default()
        };
        let ledger = Ledger { stages: vec![record("sft", true), record("rl", rl_done)], failed: None };
        let plan: Vec<_> = ["sft", "rl"].into_iter().enumerate().map(planned).collect();
        let read = |text: &str| toml::from_str(text).unwrap();
        changes(&read(old), &read(new), &plan, &ledger, &Registry::default())
    }

    #[test]
    fn what_changed_is_said_with_what_it_was() {
        assert!(found(OLD, true).unwrap().words.is_empty());
        let changed = OLD.replacen("lr = 0.1", "lr = 0.2", 1);
        let said = found(&changed, false).unwrap().words;
        assert_eq!(said, ["stage.sft.optim.lr: 0.1 → 0.2 (without effect: stage `sft` is done)"]);
    }

    /// The recipe of a run that an older program has begun lacks keys. Of a table that it did not have it was told nothing, even at defaults.
    #[test]
    fn a_key_that_the_run_did_not_know_has_not_changed_at_its_default() {
        let with = |lines: &str| {
            let policy = format!("[stage.policy.init]\nlayers = 2\n{lines}[stage.loop.grpo]\n");
            OLD.replace("[stage.loop.grpo]\n", &policy)
        };
        assert!(between(&with(""), &with("heads = 4\n"), false).unwrap().words.is_empty());
        for (lines, words) in [
            ("heads = 8\n", "stage.rl.policy.init.heads: nothing → 8"),
            ("[stage.policy.lora]\nrank = 16\n", "stage.rl.policy.lora.rank: nothing → 16"),
        ] {
            let refused = between(&with(""), &with(lines), false).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
        let gone = between(&with("heads = 4\n"), &with(""), false).unwrap_err().to_string();
        assert!(gone.contains("stage.rl.policy.init.heads: 4 → nothing"), "{gone}");
    }

    #[test]
    fn the_last_stage_can_be_longer_and_an_earlier_one_cannot() {
        let last = OLD.replace("\"rl\"\n[stage.run]\nsteps = 4", "\"rl\"\n[stage.run]\nsteps = 8");
        let changes = found(&last, true).unwrap();
        assert!(changes.longer.contains("rl") && changes.words == ["stage.rl.run.steps: 4 → 8"]);
        let refused = found(&OLD.replacen("steps = 4", "steps = 8", 1), true).unwrap_err();
        assert!(
            refused.exit_code() == 2 && refused.to_string().contains("would not reach them"),
            "{refused}"
        );
    }

    /// With `sft` over and `rl` under way, the recipe that holds says of `sft` what it ran with; with both over there is none.
    #[test]
    fn what_is_over_keeps_the_recipe_by_which_it_ran() {
        let read = |text: &str| -> Table { toml::from_str(text).unwrap() };
        let sft = |name: Option<&str>| name == Some("sft");
        let of_both = OLD.replacen("lr = 0.1", "lr = 0.2", 1).replace("\"a\"", "\"b\"");
        let held = holding(&read(OLD), read(&of_both), sft);
        assert_eq!(held, Some(read(&OLD.replace("\"a\"", "\"b\""))));
        let of_sft = OLD.replacen("lr = 0.1", "lr = 0.2", 1);
        assert_eq!(holding(&read(OLD), read(&of_sft), sft), None, "as the run had it");
        assert_eq!(holding(&read(OLD), read(&of_both), |_| true), None, "nothing goes on");
    }

    #[test]
    fn what_goes_on_is_not_over() {
        let planned = |name: &str| PlannedStage {
            round: 1,
            stage: StageTable { index: 0, name: name.into(), table: Table::new() },
        };
        let record = |stage: &str, checkpoint: Option<&str>| StageRecord {
            stage: stage.into(),
            round: 1,
            done: Some(Done { checkpoint: checkpoint.map(String::from), ..Done::default() }),
            ..StageRecord::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let over = |plan: &[&str], ledger: &Ledger, longer: &[&str], only| {
            let plan: Vec<_> = plan.iter().map(|name| planned(name)).collect();
            let longer = longer.iter().map(|name| name.to_string()).collect();
            is_over(folder.path(), &plan, ledger, &longer, only)
        };
        let ledger = Ledger { stages: vec![record("sft", None), record("rl", None)], failed: None };
        assert!(over(&["sft", "rl"], &ledger, &[], None) && over(&["sft", "rl"], &ledger, &["sft"], None));
        assert!(!over(&["sft", "rl"], &ledger, &["rl"], None), "it has more steps");
        assert!(over(&["sft", "rl"], &ledger, &["rl"], Some("sft")));
        assert!(!over(&["sft", "rl", "more"], &ledger, &[], None), "one has not begun");
        let gone =
            Ledger { stages: vec![record("sft", Some("gone")), record("rl", Some("gone"))], failed: None };
        assert!(over(&["sft", "rl"], &gone, &[], Some("sft")) && !over(&["sft", "rl"], &gone, &[], None));
    }

    #[test]
    fn what_cannot_change_is_refused_all_at_once() {
        let new = OLD
            .replace("seed = 1", "seed = 2")
            .replace("\"a\"", "\"b\"")
            .replace("[stage.loop.sft]", "[stage.loop.dpo]");
        let refused = found(&new, false).unwrap_err().to_string();
        for words in
            ["run.seed: 1 → 2", "stage.rl.data.train: \"a\" → \"b\"", "stage.sft.loop: \"sft\" → \"dpo\""]
        {
            assert!(refused.contains(words), "{refused}");
        }
        let renamed = OLD.replace("\"rl\"", "\"later\"");
        let other = keys(&toml::from_str(&renamed).unwrap(), "");
        assert!(other.contains_key(&("later".to_string(), "run.steps".to_string())));
    }
}
