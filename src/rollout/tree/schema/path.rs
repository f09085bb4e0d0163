//! A path through a rubric's questions: what was replied, why, and what that comes to.

use super::VoteCounts;
use crate::data::template::{Jinja, values};
use crate::data::unfilled::fill;
use crate::data::{Example, Message};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rationale::Format;
use crate::rationale::rubric::{Question, Rubric};
use crate::rollout::{Fork, Prompted, Rollout, Vote};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A path under way.
#[derive(Clone)]
pub(super) struct Path {
    pub(super) tree: usize,
    pub(super) node: usize,
    pub(super) weight: f64,
    pub(super) replies: Vec<usize>,
    pub(super) history: Vec<Value>,
    pub(super) text: String,
    pub(super) forks: Vec<Fork>,
}

impl Path {
    pub(super) fn root(tree: usize) -> Self {
        let (replies, history, forks) = (vec![], vec![], vec![]);
        Self { tree, node: 0, weight: 1.0, replies, history, text: String::new(), forks }
    }

    /// What a template sees on this path.
    pub(super) fn known(
        &self,
        example: &Example,
        question: &Question,
        more: &[(&str, Value)],
    ) -> Map<String, Value> {
        let mut known = values(example);
        let options: Vec<&str> = question.options.iter().map(|option| option.say.as_str()).collect();
        let shown = json!({"name": question.name, "ask": question.words(), "options": options});
        for (name, value) in
            [("question", shown), ("history", json!(self.history)), ("path", json!(self.text))]
        {
            known.insert(name.into(), value);
        }
        known.extend(more.iter().map(|(name, value)| (name.to_string(), value.clone())));
        known
    }

    pub(super) fn decision(&self, question: &Question) -> (&'static str, Value) {
        let reply = self.replies.last().map_or("", |&reply| question.options[reply].say.as_str());
        ("decision", json!(reply))
    }

    /// A path for each reply that has votes enough, their weights the shares of all votes, valid or not.
    pub(super) fn branches(
        &self,
        question: &Question,
        said: &[String],
        min_votes: usize,
        counts: &mut VoteCounts,
    ) -> Vec<Self> {
        let mut votes = vec![0; question.options.len()];
        said.iter().filter_map(|said| question.reply(said)).for_each(|reply| votes[reply] += 1);
        let valid: usize = votes.iter().sum();
        let given = votes.iter().filter(|&&votes| votes > 0).count();
        counts.votes += said.len();
        counts.invalid += said.len() - valid;
        counts.questions += 1;
        counts.split += usize::from(given > 1);
        counts.lost += usize::from(valid == 0);
        let most = votes.iter().copied().max().unwrap_or(0);
        let enough = min_votes.min(most).max(1);
        let branch = |(reply, &copies): (usize, &usize)| {
            let mut path = self.clone();
            let vote = Vote { asked: said.len(), marks: question.options[reply].marks };
            path.weight *= copies as f64 / said.len() as f64;
            path.replies.push(reply);
            path.forks.push(Fork { node: 0, tokens: 0, bytes: 0, copies, value: 0.0, vote: Some(vote) });
            path
        };
        votes.iter().enumerate().filter(|(_, votes)| **votes >= enough).map(branch).collect()
    }

    /// Writes the newest reply and its rationale into the text.
    pub(super) fn add(
        &mut self,
        example: &Example,
        question: &Question,
        rationale: &str,
        step: &Jinja,
    ) -> Result<()> {
        let (_, decision) = self.decision(question);
        let more = [("decision", decision.clone()), ("rationale", json!(rationale))];
        let known = self.known(example, question, &more);
        self.text += &filled("step", step, example, &known)?;
        self.history.push(json!({"name": question.name, "ask": question.words(), "decision": decision, "rationale": rationale}));
        if let Some(fork) = self.forks.last_mut() {
            (fork.node, fork.bytes) = (self.node, self.text.len());
        }
        Ok(())
    }

    /// What the template of its end sees.
    pub(super) fn ended(&self, example: &Example, mark: f64) -> Map<String, Value> {
        let mut known = values(example);
        known.insert("history".into(), json!(self.history));
        known.insert("path".into(), json!(self.text));
        known.insert("mark".into(), json!(mark.to_string()));
        known
    }

    pub(super) fn rollout(
        mut self,
        prompted: &Prompted,
        rubric: &Rubric,
        end: &Jinja,
        policy: &Policy,
        format: &Format,
    ) -> Result<Rollout> {
        let data = |what: String| Error::Data(format!("{}: {what}", prompted.example));
        let mark = rubric.mark(&self.replies).map_err(data)?;
        self.text += &filled("end", end, &prompted.example, &self.ended(&prompted.example, mark))?;
        let said = Message::new("assistant", self.text.as_str());
        let mut rollout = Rollout::written(policy, prompted, &said, false, format)
            .map_err(|error| data(format!("its path cannot be tokenised: {}", error.what())))?;
        let (bytes, tokens) = (rollout.text.len(), rollout.tokens.len());
        for fork in &mut self.forks {
            fork.bytes = fork.bytes.min(bytes);
            fork.tokens = policy.tokenizer.tokens_of(&rollout.tokens, 0..fork.bytes).end;
        }
        if let Some(leaf) = self.forks.last_mut() {
            (leaf.bytes, leaf.tokens) = (bytes, tokens);
        }
        rollout.forks = self.forks;
        Ok(rollout)
    }
}

/// Of each tree's paths, the `most` that have the most votes along them, in their order.
pub(super) fn most_voted(paths: Vec<Path>, most: usize, counts: &mut VoteCounts) -> Vec<Path> {
    let mut by_tree: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
    for (at, path) in paths.iter().enumerate() {
        by_tree.entry(path.tree).or_default().push((at, path.weight));
    }
    let mut gone = BTreeSet::new();
    for all in by_tree.values_mut() {
        all.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        gone.extend(all.iter().skip(most).map(|(at, _)| *at));
    }
    counts.pruned += gone.len();
    paths.into_iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, path)| path).collect()
}

/// A template of the section over what is known.
pub(super) fn filled(
    key: &str,
    template: &Jinja,
    example: &Example,
    known: &Map<String, Value>,
) -> Result<String> {
    fill(template, known).map_err(|why| Error::Data(format!("{example}: rollout.tree.schema.{key} {why}")))
}
