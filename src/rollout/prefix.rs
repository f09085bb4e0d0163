//! Continuations of a completion from cuts between its steps, and what they say of each step: `[rollout.prefix]` (the
//! Monte-Carlo values of Math-Shepherd, arXiv 2312.08935; the first error of Self-Explore, arXiv 2404.10346; the trees of
//! OmegaPRM, arXiv 2406.06592; the branches of reasoning paths optimisation, arXiv 2410.10858).
//!
//! A cut's prefix is the token ids that were sampled, never its text again. The `k` continuations of a cut share the prompt
//! and the prefix in the KV cache, and so do the cuts of one completion.

mod cost;
mod explore;
mod omega;
mod pool;

pub use super::{CutValue, Place, Tail};
pub use pool::{Pool, PrefixTree, SearchCandidate};

use super::{Group, Prompted, Rollout, SamplingContext, Source, SourceSection, Traits, closing, independent};
use crate::data::tokenizer::Tokenizer;
use crate::engine::{Progress, Request, Sampling, Statistics};
use crate::error::Result;
use crate::policy::Policy;
use crate::rationale::{Format, steps};
use crate::section::{Idle, Misfit, broken, idle, under};
use crate::seed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// Completions of each prompt, and continuations of them from cuts between their steps. Each rollout's `cuts` then say how
/// good the continuations from there were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrefixRollout {
    /// Completions of each prompt.
    pub size: usize,
    /// Continuations of each cut; each may have `policy.sampling.max_new_tokens` of its own.
    pub continuations: usize,
    /// Which cuts are continued.
    pub cuts: Cuts,
    /// Share of the cuts, for `cuts = "share"`.
    pub share: f64,
    /// Leave out the cuts behind the first steps: this share of a completion's steps, rounded down (planning-based DPO, arXiv
    /// 2402.00658, leaves out 0.2 of them).
    pub skip: f64,
    /// Cut before the first step too, so that some continuations are whole new completions. Where `close` forces answers there always is
    /// such a cut.
    pub at_start: bool,
    /// Look at the cuts in order and stop after the first that no continuation leads to the right answer from.
    pub stop_at_failure: bool,
    /// Cut only completions whose answer is wrong, as Self-Explore does.
    pub only_wrong: bool,
    /// Cut one completion of a question: the first whose answer is right, as reasoning paths optimisation does (arXiv 2410.10858).
    pub only_right: bool,
    /// What becomes of the continuations.
    pub keep: Keep,
    /// How the tree grows, for `cuts = "tree"`.
    pub tree: PrefixTree,
    /// Force an answer at each cut, in place of reasoning on: a continuation is what stands before the cut, `data.format.close` and then
    /// `answer_tokens` at most (VSRM, arXiv 2508.10293). There is a cut before the first step too. So a step's value is
    /// what is known by then.
    pub close: bool,
    /// Tokens of a forced answer, at most.
    pub answer_tokens: usize,
}

/// What becomes of continuations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Of each cut the shortest good one and the best one stand beside the cut; of the others there is what they come to.
    Best,
    /// Besides, each becomes a completion of its question, whose `branched_at` says where it was cut off:
    /// `select.pairs.kind = "branches"` pairs those of one cut.
    All,
}

/// Which cuts of a completion are continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cuts {
    /// After every step.
    Every,
    /// After a random share of the steps.
    Share,
    /// By halves, for the first cut that no continuation leads to the right answer from.
    Search,
    /// OmegaPRM: wrong completions are searched by halves, one after the other, and so are the wrong ones among the
    /// continuations that this takes. Those searched are rollouts of their own, beside the `size` first ones.
    Tree,
}

impl Default for PrefixRollout {
    fn default() -> Self {
        Self {
            size: 4,
            continuations: 4,
            cuts: Cuts::Every,
            share: 0.5,
            skip: 0.0,
            at_start: false,
            stop_at_failure: false,
            only_wrong: false,
            only_right: false,
            keep: Keep::Best,
            tree: PrefixTree::default(),
            close: false,
            answer_tokens: 16,
        }
    }
}

impl PrefixRollout {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let search = self.cuts == Cuts::Search;
        let stops = self.stop_at_failure;
        let tree = self.cuts != Cuts::Tree || !(stops || self.only_wrong || self.size < 2);
        let scans = matches!(self.cuts, Cuts::Every | Cuts::Share);
        let mut found = broken(&[
            (self.size > 0, "size", "at least one is needed"),
            (self.continuations > 0, "continuations", "at least one is needed"),
            (self.share > 0.0 && self.share <= 1.0, "share", "it must be more than 0 and at most 1"),
            (
                (0.0..1.0).contains(&self.skip),
                "skip",
                "it must be a share of the steps, from 0 to less than 1",
            ),
            (
                self.skip == 0.0 || (scans && !self.close && !self.at_start),
                "skip",
                "it leaves out cuts that close, at_start and the searches of cuts = \"search\" and \"tree\" need; take it \
                 out",
            ),
            (scans || !self.at_start, "at_start", "a search begins behind the first step; take it out"),
            (
                !self.at_start || !scans || (self.cuts == Cuts::Every && !stops),
                "at_start",
                "every completion is cut before its first step by cuts = \"every\" without stop_at_failure; take it out",
            ),
            (
                !self.only_right || (scans && !self.only_wrong),
                "only_right",
                "what is looked for in wrong completions is not in a right one; take out only_wrong, and use cuts = \
                 \"every\" or \"share\"",
            ),
            (
                self.keep == Keep::Best || (scans && !self.close),
                "keep",
                "it is for continuations of every cut or a share of them, and neither for forced answers nor for \
                 searches; take it out",
            ),
            (
                !search || self.only_wrong,
                "cuts",
                "it looks for the error of a wrong completion; set only_wrong = true",
            ),
            (
                !(search && stops),
                "stop_at_failure",
                "the search by halves needs no scan; take it out, or use cuts = \"every\"",
            ),
            (
                tree,
                "cuts",
                "it searches wrong completions by halves; take out stop_at_failure and only_wrong, and set size to at \
                 least 2, of which some must be right and some wrong",
            ),
            (
                !self.close || (self.cuts == Cuts::Every && !stops),
                "close",
                "forced answers value every step; use cuts = \"every\" without stop_at_failure",
            ),
            (self.answer_tokens > 0, "answer_tokens", "at least one is needed"),
        ]);
        found.extend(under("tree", self.tree.check()));
        found
    }

    /// The steps after which a completion of `steps` steps is cut next, where `known` says of some whether a continuation
    /// from there was good. None when it is done. `seed` draws the random share.
    ///
    /// ```
    /// use rationale::rollout::prefix::{Cuts, PrefixRollout};
    /// let search = PrefixRollout { cuts: Cuts::Search, ..PrefixRollout::default() };
    /// assert_eq!(search.next(4, &[].into(), 0), [2]);
    /// // From after 2 some came out right and from after 3 none did: step 3 is the first error.
    /// assert_eq!(search.next(4, &[(2, true)].into(), 0), [3]);
    /// assert!(search.next(4, &[(2, true), (3, false)].into(), 0).is_empty());
    /// ```
    pub fn next(&self, steps: usize, known: &BTreeMap<usize, bool>, seed: u64) -> Vec<usize> {
        if matches!(self.cuts, Cuts::Search | Cuts::Tree) {
            // The prompt itself counts as good, the whole of a wrong completion as failed.
            let failed = known.iter().find(|(_, good)| !**good).map_or(steps + 1, |(step, _)| *step);
            let good = known.range(..failed).next_back().map_or(0, |(step, _)| *step);
            return if failed - good > 1 { vec![good + (failed - good) / 2] } else { vec![] };
        }
        if self.stop_at_failure && known.values().any(|good| !good) {
            return vec![];
        }
        let drawn = |step: &usize| {
            self.cuts == Cuts::Every || seed::uniform(seed::derive(&[seed, *step as u64])) < self.share
        };
        // 0.29 · 100 is less than 29 by rounding alone.
        let skipped = (self.skip * steps as f64 + 1e-9) as usize;
        let left = (skipped + 1..=steps).filter(|step| !known.contains_key(step)).filter(drawn);
        left.take(if self.stop_at_failure { 1 } else { steps }).collect()
    }
}

impl SourceSection for PrefixRollout {
    fn traits(&self) -> Traits<'_> {
        Traits {
            values_steps: true,
            adds_continuations: match (self.cuts, self.keep) {
                (Cuts::Tree, _) => Some(("cuts", "use loop.collect here, or cuts = \"search\"")),
                (_, Keep::All) => {
                    Some(("keep", "use loop.collect here and learn in a later stage, or keep = \"best\""))
                }
                _ => None,
            },
            branches: self.keep == Keep::All,
            ..Traits::sampled("prefix", self.size)
        }
    }

    fn check(&self) -> Vec<Misfit> {
        PrefixRollout::check(self)
    }

    fn idle(&self) -> Vec<Idle> {
        idle(&[
            (self.cuts == Cuts::Share, &["share"], "unless cuts = \"share\""),
            (self.cuts == Cuts::Tree, &["tree"], "unless cuts = \"tree\""),
            (self.close, &["answer_tokens"], "with close = false"),
            (!self.close, &["at_start"], "with close = true, which cuts there anyway"),
        ])
    }

    fn fits_format(&self, format: &Format) -> Vec<Misfit> {
        let none = closing::no_cue(format, "rollout.prefix.close");
        none.filter(|_| self.close).into_iter().collect()
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.clone()))
    }
}

impl Source for PrefixRollout {
    fn section(&self) -> &dyn SourceSection {
        self
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        let mut groups = independent::reported(prompts, self.size, context)?;
        match self.cuts {
            Cuts::Tree => omega::grow(self, &mut groups, context)?,
            _ => explore::each(self, &mut groups, context)?,
        }
        Ok(groups)
    }
}

/// The cuts between the steps of a completion, the last behind its last step. What separates two steps belongs to the
/// former, unless one token holds it together with the beginning of the latter; what a line is indented by, to that line, unless one
/// token holds it together with the end of the line before. A completion without an answer is split
/// into steps as a whole, and not cut behind the last of them, which may be half a step. Where a character is cut between two
/// tokens there is no cut.
pub fn places(rollout: &Rollout, format: &Format, tokenizer: &Tokenizer) -> Vec<Place> {
    let text = &rollout.text;
    let spans = match &rollout.rationale {
        Some(rationale) => rationale.steps.clone(),
        None => steps::split(&format.steps, text, 0..text.len()),
    };
    let last = rollout.rationale.as_ref().and_then(|_| {
        let end = spans.last()?.end;
        Some(end..end + (text[end..].len() - text[end..].trim_start().len()))
    });
    let gaps = spans.windows(2).map(|pair| pair[0].end..pair[1].start).chain(last);
    let up_to = |byte: usize| {
        let tokens = tokenizer.tokens_of(&rollout.tokens, 0..byte).end;
        (tokens, tokenizer.decode(&rollout.tokens[..tokens]))
    };
    let place = |(index, gap): (usize, Range<usize>)| {
        let line = text[gap.clone()].rfind('\n').map_or(gap.end, |newline| gap.start + newline + 1);
        let (mut tokens, mut before) = up_to(line);
        if before.len() > line && line < gap.end {
            (tokens, before) = up_to(gap.end);
        }
        if before.len() > gap.end {
            tokens -= 1;
            before = tokenizer.decode(&rollout.tokens[..tokens]);
        }
        (tokens > 0 && text.starts_with(&before)).then_some(Place {
            step: index + 1,
            tokens,
            bytes: before.len(),
        })
    };
    gaps.enumerate().filter_map(place).collect()
}

/// A completion to be continued from its first `tokens` tokens.
#[derive(Debug, Clone)]
pub struct Cut<'a> {
    /// The prompt's token ids.
    pub prompt: &'a [u32],
    /// The completion.
    pub rollout: &'a Rollout,
    /// How many of its tokens are kept.
    pub tokens: usize,
    /// One seed a continuation.
    pub seeds: Vec<u64>,
}

/// For each cut, one rollout a seed, in order, not yet scored: the completion's kept tokens and log-probabilities, and
/// behind them what was sampled; parsed as a whole. `sampling.max_new_tokens` limits what is sampled.
pub fn continuations(
    policy: &Policy,
    cuts: &[Cut],
    sampling: &Sampling,
    format: &Format,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Vec<Vec<Rollout>>, Statistics)> {
    let requests: Vec<Request> = cuts
        .iter()
        .map(|cut| Request {
            prompt: [cut.prompt, &cut.rollout.tokens[..cut.tokens]].concat(),
            seeds: cut.seeds.clone(),
        })
        .collect();
    let generated = policy.sampler().generate(&requests, sampling, progress)?;
    let continued = cuts.iter().zip(generated.completions).map(|(cut, completions)| {
        let whole = |tail| cut.rollout.continued(cut.tokens, tail, &policy.tokenizer, format);
        completions.into_iter().map(whole).collect()
    });
    Ok((continued.collect(), generated.statistics))
}

impl CutValue {
    /// Of the scored `continuations` from `place`, of which `good` says whether each is good.
    pub fn of(place: Place, continuations: &[Rollout], good: &[bool]) -> Self {
        let all = || continuations.iter().zip(good);
        let tail = |rollout: &Rollout| Tail {
            text: rollout.text[place.bytes.min(rollout.text.len())..].to_string(),
            tokens: rollout.tokens[place.tokens..].to_vec(),
            reward: rollout.reward,
        };
        let shortest = all().filter(|(_, good)| **good).map(|(rollout, _)| rollout);
        // The earlier of equals: max_by takes the last.
        let best = continuations.iter().rev().max_by(|a, b| a.reward.total_cmp(&b.reward));
        Self {
            step: place.step,
            tokens: place.tokens,
            bytes: place.bytes,
            continuations: continuations.len(),
            good: all().filter(|(_, good)| **good).count(),
            value: continuations.iter().map(|r| r.reward).sum::<f64>() / continuations.len().max(1) as f64,
            shortest: shortest.min_by_key(|rollout| rollout.tokens.len()).map(tail),
            best: best.map(tail),
        }
    }

    /// Math-Shepherd's soft estimate: the share of continuations that are good.
    pub fn soft(&self) -> f64 {
        self.good as f64 / self.continuations.max(1) as f64
    }

    /// Math-Shepherd's hard estimate: whether any continuation is good.
    pub fn hard(&self) -> bool {
        self.good > 0
    }
}

#[cfg(test)]
mod tests;
