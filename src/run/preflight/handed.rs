//! What later stages take of earlier ones by `"@stage"`, held against what these make.

use super::Looking;
use crate::data::{Dataset, Sources, Split};
use crate::loops::{Leaves, OfTraces};
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use crate::recipe::{RULES, Recipe, Refusal, Registry, Stage, StageTable, substitute};
use crate::reward::{NamedModel, Rewards};
use crate::rollout::trace::OWN;
use crate::run::beside::asked;
use crate::run::places::{DIRECTION, part};
use crate::run::wants;
use crate::section::join;
use std::collections::BTreeSet;

/// What is taken of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// Weights, whatever they are.
    Weights,
    /// A model that generates.
    Writer,
    /// A reward model.
    Scorer,
    Traces,
    Pairs,
    Direction,
}

/// Stages that take of others what these never make.
pub(super) fn misfits(
    recipe: &Recipe,
    stages: &[(Option<Stage>, Vec<String>)],
    registry: &Registry,
) -> Vec<Refusal> {
    let named = |name: &str| {
        let at = recipe.stages().iter().position(|table| table.name == name)?;
        stages.get(at)?.0.as_ref()
    };
    let mut refused = Vec::new();
    for (table, (stage, _)) in recipe.stages().iter().zip(stages) {
        let Some(stage) = stage else { continue };
        let models: Vec<NamedModel> = asked(stage, registry).iter().flat_map(Rewards::named_models).collect();
        for (path, target) in targets(table) {
            let (name, what) = match part(&path, &target) {
                Ok(found) => found,
                Err(error) => {
                    refused.push(recipe.refusal(table, &path, &error.what()));
                    continue;
                }
            };
            // That there is such a stage, and that it runs before, is looked at with all references.
            let Some(maker) = named(name) else { continue };
            let why = taken(stage, &path, !what.is_empty(), &models).and_then(|taken| lacks(maker, taken));
            if let Some(why) = why {
                refused.push(recipe.refusal(table, &path, &format!("{path} = \"@{target}\": {why}")));
            }
        }
        if let Some((key, message)) = lacks_of_traces(stage, named) {
            refused.push(recipe.refusal(table, key, &message));
        }
    }
    refused
}

/// What stands behind the `@` of each reference of a stage, by its path.
fn targets(table: &StageTable) -> Vec<(String, String)> {
    let (mut sections, mut found) = (table.table.clone(), Vec::new());
    let note = |path: &str, target: &str| {
        found.push((path.to_owned(), target.to_owned()));
        Ok(target.to_owned())
    };
    match substitute(&mut sections, RULES.references, note) {
        Ok(()) | Err(_) => found,
    }
}

/// What the key at `path` takes, where the stage reads it; `pairs` where it says that it takes these.
fn taken(stage: &Stage, path: &str, pairs: bool, models: &[NamedModel]) -> Option<Taken> {
    let needs = stage.needs();
    let (data, lines) = (&stage.data, if pairs { Taken::Pairs } else { Taken::Traces });
    let shows = data.template.few_shot > 0;
    let read = match path {
        "policy.model" => return Some(if needs.head { Taken::Weights } else { Taken::Writer }),
        DIRECTION => return Some(Taken::Direction),
        "data.template.few_shot_from" => shows,
        "rollout.variants.from" => wants::scores(stage),
        _ if path.starts_with("data.train") => needs.rows || (shows && data.template.few_shot_from.is_none()),
        _ if path.starts_with("data.eval") => stage.eval.is_some(),
        _ => {
            let scores = models.iter().find(|named| named.key == path)?.scores;
            return Some(if scores { Taken::Scorer } else { Taken::Weights });
        }
    };
    read.then_some(lines)
}

/// Why a stage never makes what is `taken` of it, and what to do about it; none where it does.
fn lacks(maker: &Stage, taken: Taken) -> Option<String> {
    let (needs, method) = (maker.needs(), format!("loop.{}", maker.method.name()));
    match taken {
        Taken::Weights | Taken::Writer | Taken::Scorer if !needs.trains => {
            let own = maker.policy.model.as_ref().filter(|model| model.starts_with('@'));
            let remedy = match own {
                Some(own) => format!("its own policy is \"{own}\""),
                None => "name a stage that trains".to_owned(),
            };
            Some(format!("{method} trains nothing and leaves no weights; {remedy}"))
        }
        Taken::Writer if needs.leaves == Leaves::Scorer => Some(format!(
            "what {method} leaves is a reward model, which generates nothing; it belongs in [reward.process], or under [loop.prm] to go on \
             training it"
        )),
        Taken::Scorer if needs.leaves == Leaves::Writer => {
            Some(format!("what {method} leaves generates and scores nothing; name a stage of loop.prm"))
        }
        Taken::Traces if !needs.rollouts && !needs.traces => Some(format!(
            "{method} samples nothing there and leaves no traces; name a stage of loop.collect, or of another method that samples"
        )),
        Taken::Traces if !maker.log.traces && !needs.traces => {
            Some("log.traces = false there, so that it leaves none; set it to true in that stage".to_owned())
        }
        Taken::Pairs if !needs.pairs => {
            Some(format!("{method} writes no pairs there; loop.collect.follow_up has some written"))
        }
        Taken::Direction if !needs.direction => {
            Some(format!("{method} finds no direction; name a stage of loop.steer"))
        }
        _ => None,
    }
}

/// The key of a stage that asks of traces what the stages that it reads never have them have, and the sentence.
fn lacks_of_traces<'a>(
    stage: &Stage,
    named: impl Fn(&str) -> Option<&'a Stage>,
) -> Option<(&'static str, String)> {
    let needs = stage.needs();
    // What is sampled in the stage itself is looked at with its other sections.
    let (key, of): (_, OfTraces) = needs.of_traces.filter(|_| needs.rows && !needs.rollouts)?;
    let mut makers = Vec::new();
    for source in &stage.data.train.0 {
        let maker = source.strip_prefix('@').and_then(&named)?;
        if of.is_of(&maker.rollout.traits()) {
            return None;
        }
        makers.push(format!("\"{source}\" ([rollout.{}])", maker.rollout.name()));
    }
    let (what, gives) = of.named();
    let makers = (!makers.is_empty()).then(|| makers.join(", "))?;
    let message = format!(
        "it needs {what}, which the traces of {makers} do not have; collect them with {gives}, or use another kind"
    );
    Some((key, format!("{key}: {message}")))
}

/// Whether there is a column of that name, or one inside which a path leads.
fn has(known: &BTreeSet<String>, path: &str) -> bool {
    known.contains(path) || path.split('.').next().is_some_and(|first| known.contains(first))
}

impl Looking<'_> {
    /// Columns that keys name and that traces of an earlier stage, which are not there yet, will not have. `train` are the training rows, where
    /// they are there.
    pub(super) fn look_at_columns(&mut self, train: Option<&Dataset>) {
        self.note_columns(train);
        if self.is_wrong("loop") || self.is_wrong("rollout") || self.is_wrong("eval") {
            return;
        }
        for split in [Split::Train, Split::Eval] {
            let named = self.named_columns(split);
            let sources = if split == Split::Train { &self.stage.data.train } else { &self.stage.data.eval };
            for source in named.first().map_or(&[][..], |_| sources.0.as_slice()) {
                let Some(known) = self.columns_of(source) else { continue };
                for (key, column) in named.iter().filter(|(_, column)| !has(&known, column)) {
                    let own = known.iter().map(String::as_str).filter(|name| !OWN.contains(name));
                    let near = or_semicolon(did_you_mean(nearest(column, known.iter().map(String::as_str))));
                    let text = format!(
                        "{key} = \"{column}\" names a column that neither the rows of \"{source}\" have nor traces{near} known: {}",
                        list(own)
                    );
                    self.refuse_as(key, &text, None);
                }
            }
        }
    }

    /// The columns that keys name of the rows of a split, each with its key.
    fn named_columns(&self, split: Split) -> Vec<(String, String)> {
        let (stage, needs) = (self.stage, self.stage.needs());
        let of_rewards = |rewards: &Option<Rewards>| rewards.as_ref().map_or(vec![], Rewards::columns);
        let mut named = Vec::new();
        let scored = match split {
            Split::Train => needs.rollouts,
            Split::Eval => wants::asks_held_out(stage) && stage.rollout.search().is_some(),
        };
        if scored {
            let own = stage.rollout.columns().into_iter();
            let section = format!("rollout.{}", stage.rollout.name());
            named.extend(own.map(|(key, column)| (join(&section, &key), column)));
            named.extend(of_rewards(&self.rewards));
        }
        if split == Split::Train && needs.rows {
            let section = format!("loop.{}", stage.method.name());
            let own = stage.method.columns().into_iter();
            named.extend(own.map(|(key, column)| (join(&section, &key), column)));
        }
        // Of several sources one has to have what is renamed.
        if split == Split::Train && needs.rows && stage.data.train.0.len() == 1 {
            let renamed = stage.data.columns.iter();
            named.extend(renamed.map(|(ours, theirs)| (join("data.columns", ours), theirs.clone())));
        }
        if split == Split::Eval && wants::asks_held_out(stage) {
            named.extend(of_rewards(&self.measures));
        }
        let by = stage.eval.as_ref().filter(|_| split == Split::Eval && !needs.classless);
        named.extend(by.and_then(|eval| eval.by.clone()).map(|by| ("eval.by".to_owned(), by)));
        named
    }

    /// The columns of a source's rows as this stage reads them, where they are traces of a stage of which they are known.
    fn columns_of(&self, source: &str) -> Option<BTreeSet<String>> {
        let mut known = self.loaded.columns.get(source.strip_prefix('@')?)?.clone();
        let renamed = self.stage.data.columns.iter().filter(|(_, theirs)| has(&known, theirs));
        let renamed: Vec<String> = renamed.map(|(ours, _)| ours.clone()).collect();
        known.extend(renamed);
        Some(known)
    }

    /// Notes which columns traces of this stage will have.
    fn note_columns(&mut self, train: Option<&Dataset>) {
        let all = |sources: &Sources| {
            let each = sources.0.iter().map(|source| self.columns_of(source));
            each.collect::<Option<Vec<_>>>()
                .filter(|each| !each.is_empty())
                .map(|each| each.into_iter().flatten().collect())
        };
        let known: Option<BTreeSet<String>> = match train {
            Some(rows) => Some(rows.examples.iter().flat_map(|row| row.fields.keys().cloned()).collect()),
            None => all(&self.stage.data.train),
        };
        let name = &self.table.name;
        match known {
            Some(mut known) => {
                known.extend(OWN.iter().chain(self.stage.needs().adds).map(|column| (*column).to_owned()));
                self.loaded.columns.insert(name.clone(), known);
            }
            None => drop(self.loaded.columns.remove(name)),
        }
    }
}
