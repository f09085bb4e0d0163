//! Reasoning that ends once the answer is known: `[rollout.adaptive]` (Adaptive Think of "Think or Not? Exploring Thinking Efficiency in
//! Large Reasoning Models via an Information-Theoretic Lens", arXiv 2505.18237).
//!
//! Behind the steps so far the candidate answers have probabilities p₁ … p_C, and H = −Σ p log₂ p. Reasoning ends where H / C ≤ α / (e ln 2),
//! since 1 / (e ln 2) = 0.5307 is the most that −p log₂ p comes to; then the answer is written.

use super::{Ending, Rule, Search, SearchResult, paths};
use crate::engine::{Boundary, Sampling};
use crate::error::{Error, Result};
use crate::policy::belief::{Context, Norm};
use crate::policy::candidates::{Over, Written};
use crate::rationale::Format;
use crate::rollout::closing::{self, Reasoning};
use crate::rollout::{Group, Picks, Prompted, Rollout, SamplingContext, independent};
use crate::section::{Idle, Misfit, broken, idle};
use crate::statistics::distribution::entropy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::{E, LN_2};

/// One completion of each prompt, whose reasoning ends as soon as the answer is sure enough. Evaluations report accuracy and tokens for each `alpha`,
/// for reasoning to its own end, and for reasoning that is cut off after fixed numbers of tokens: whether it is the belief that tells when to
/// stop is seen against a fixed cut of the same mean length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adaptive {
    /// How unsure of the answer it may be when it stops, as a share of the most; completions stop by the first, evaluations tell of all.
    pub alpha: Vec<f64>,
    /// The candidates: `"choices"` of the row, a list of labels, or `"enumerate"`, those that the model itself finds likeliest.
    pub over: Over,
    /// Whether choices are written as their `"letter"` or their `"text"`; by default as the gold answer is.
    pub written: Option<Written>,
    /// Whether a candidate's weight is the `"mean"` or the `"sum"` of its tokens' log p.
    pub norm: Norm,
    /// For `enumerate`: how many candidates are kept.
    pub width: usize,
    /// For `enumerate`: their most tokens.
    pub tokens: usize,
    /// For `enumerate`: what ends one.
    pub until: String,
    /// Characters that are written before the model is asked again, at the next end of a step.
    pub min_chars: usize,
    /// Tokens of a step; by default a step is what `data.format.steps` says, a line or a paragraph.
    pub step_tokens: Option<usize>,
    /// Tokens of the answer behind `data.format.close`, at most.
    pub answer_tokens: usize,
    /// How many fixed cuts evaluations look at, evenly up to the longest completion.
    pub cuts: usize,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            alpha: vec![0.1, 0.2, 0.3],
            over: Over::Choices,
            written: None,
            norm: Norm::Mean,
            width: 5,
            tokens: 10,
            until: "\n".into(),
            min_chars: 120,
            step_tokens: None,
            answer_tokens: 16,
            cuts: 16,
        }
    }
}

impl Search for Adaptive {
    fn name(&self) -> &'static str {
        "adaptive"
    }

    fn picks(&self) -> Picks<'_> {
        Picks { n: 1, by: None, independent: true, judged: false }
    }

    fn with(&self, _: usize) -> Box<dyn Search> {
        Box::new(self.clone())
    }

    fn writes_itself(&self) -> bool {
        false
    }

    fn check(&self) -> Vec<Misfit> {
        broken(&[
            (
                !self.alpha.is_empty() && self.alpha.iter().all(|alpha| (0.0..=1.0).contains(alpha)),
                "alpha",
                "name at least one share from 0 to 1, such as [0.1, 0.2, 0.3]",
            ),
            (
                self.over != Over::Gold,
                "over",
                "the gold answer is not known here; use \"choices\", \"enumerate\" or labels",
            ),
            (self.width > 1, "width", "it must be at least 2"),
            (self.tokens > 0, "tokens", "at least one is needed"),
            (self.min_chars > 0, "min_chars", "at least one is needed"),
            (self.answer_tokens > 0, "answer_tokens", "at least one is needed"),
            (self.cuts > 0, "cuts", "at least one is needed, to hold the belief against"),
        ])
    }

    fn fits_format(&self, format: &Format) -> Vec<Misfit> {
        let end = super::no_step_end(self.name(), self.step_tokens, format);
        end.into_iter().chain(closing::no_cue(format, "rollout.adaptive")).collect()
    }

    fn idle(&self) -> Vec<Idle> {
        idle(&[
            (self.over == Over::Enumerate, &["width", "tokens", "until"], "unless over = \"enumerate\""),
            (self.over == Over::Choices, &["written"], "unless over = \"choices\""),
        ])
    }

    /// Goes step by step, and writes no further than it has to.
    fn find(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<SearchResult>> {
        let end = super::step_end(self.name(), self.step_tokens, context.format)?;
        let cue = closing::cue(context.format, "rollout.adaptive")?;
        let mut open: Vec<Vec<Rollout>> = prompts.iter().map(|_| vec![paths::root(context.format)]).collect();
        let mut asked = vec![0; prompts.len()];
        let mut done: Vec<Option<Rollout>> = prompts.iter().map(|_| None).collect();
        for level in 0.. {
            if open.iter().all(Vec::is_empty) {
                break;
            }
            let grown = paths::grow_unscored(prompts, &open, 1, level, end, context)?;
            for (at, mut candidates) in grown.into_iter().enumerate() {
                let Some(path) = candidates.group.rollouts.pop() else { continue };
                if !candidates.open[0] {
                    (open[at], done[at]) = (vec![], Some(path));
                    continue;
                }
                if self.is_due(&path.text, asked[at]) {
                    asked[at] = path.text.len();
                    let unsure = self.unsure(&prompts[at], &[&path.text], &cue, context)?;
                    if unsure[0] <= self.alpha[0] {
                        let tokens = [path.tokens.as_slice()];
                        done[at] = self.closed(&prompts[at], at, &tokens, &cue, context)?.pop();
                        open[at].clear();
                        continue;
                    }
                }
                open[at] = vec![path];
            }
        }
        let group =
            |(prompted, done): (&Prompted, Option<Rollout>)| Group::of(prompted, done.into_iter().collect());
        let mut groups: Vec<Group> = prompts.iter().zip(done).map(group).collect();
        context.scorer.score(&mut groups)?;
        Ok(groups.into_iter().map(|group| SearchResult { group, chosen: 0 }).collect())
    }

    /// Reasons to the end once, and looks from there where it would have stopped: what stopping leaves out would not have been written.
    fn endings(
        &self,
        prompts: &[Prompted],
        context: &mut SamplingContext,
    ) -> Result<Option<Vec<Vec<Ending>>>> {
        let end = super::step_end(self.name(), self.step_tokens, context.format)?;
        let cue = closing::cue(context.format, "rollout.adaptive")?;
        let whole = independent::sample(prompts, 1, context)?.0;
        let mut found = Vec::new();
        for (at, (prompted, group)) in prompts.iter().zip(whole).enumerate() {
            let whole = &group.rollouts[0];
            let places = self.places(whole, end, context);
            let texts: Vec<String> =
                places.iter().map(|&place| context.policy.tokenizer.decode(&whole.tokens[..place])).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let unsure = self.unsure(prompted, &texts, &cue, context)?;
            let stops = self.alpha.iter().map(|&alpha| {
                let place = unsure.iter().position(|unsure| *unsure <= alpha).map(|at| places[at]);
                (Rule::Alpha(alpha), place)
            });
            let most = context.room(prompted);
            let fixed = (0..=self.cuts).map(|cut| most * cut / self.cuts);
            let fixed = fixed.map(|cut| {
                let whole = whole.tokens.len() < cut || (whole.tokens.len() == cut && !whole.truncated());
                (Rule::Tokens(cut), (!whole).then_some(cut))
            });
            let rules: Vec<(Rule, Option<usize>)> =
                std::iter::once((Rule::Whole, None)).chain(stops).chain(fixed).collect();
            let mut cuts: Vec<usize> = rules.iter().filter_map(|(_, place)| *place).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let ended: Vec<&[u32]> = cuts.iter().map(|&cut| &whole.tokens[..cut]).collect();
            let closed = self.closed(prompted, at, &ended, &cue, context)?;
            let ending = |(rule, place): (Rule, Option<usize>)| {
                let cut = place.and_then(|place| cuts.binary_search(&place).ok());
                let rollout = cut.map_or(whole, |cut| &closed[cut]).clone();
                Ending { rule, rollout, stopped: cut.is_some() }
            };
            found.push(rules.into_iter().map(ending).collect());
        }
        Ok(Some(found))
    }
}

impl Adaptive {
    /// Whether enough has been written since `asked` bytes stood there.
    fn is_due(&self, text: &str, asked: usize) -> bool {
        text.get(asked..).is_some_and(|new| new.trim().chars().count() >= self.min_chars)
    }

    /// How many tokens stand before each place at which the model is asked: the ends of steps, as a search step by step finds them.
    fn places(&self, rollout: &Rollout, end: Boundary, context: &SamplingContext) -> Vec<usize> {
        let tokenizer = &context.policy.tokenizer;
        let (mut begun, mut asked, mut found) = (0, 0, Vec::new());
        for at in 1..rollout.tokens.len() {
            let step = &rollout.tokens[begun..at];
            let ends = match end {
                Boundary::Tokens(tokens) => step.len() == tokens,
                Boundary::Texts(texts) => texts.iter().any(|text| tokenizer.decode(step).contains(text)),
            };
            if !ends {
                continue;
            }
            begun = at;
            let text = tokenizer.decode(&rollout.tokens[..at]);
            if self.is_due(&text, asked) {
                asked = text.len();
                found.push(at);
            }
        }
        found
    }

    /// H / C · e ln 2 behind each text: from 0, where the answer is sure. Where the context has no room left to ask, nothing is sure.
    fn unsure(
        &self,
        prompted: &Prompted,
        texts: &[&str],
        cue: &str,
        context: &SamplingContext,
    ) -> Result<Vec<f64>> {
        let (policy, budget) = (context.policy, context.tokens_per_microbatch);
        let tokens = |text: &str| policy.tokenizer.encode(text).map(|tokens| tokens.len());
        let candidates = match self.over {
            Over::Enumerate => vec![],
            _ => self.over.texts(&prompted.example, self.written),
        };
        let answer = match self.over {
            Over::Enumerate => self.tokens,
            _ if candidates.len() < 2 => {
                return Err(Error::Data(format!(
                    "{}: it has no choices to be sure of; name labels as rollout.adaptive.over, or \"enumerate\"",
                    prompted.example
                )));
            }
            _ => candidates
                .iter()
                .map(|text| tokens(text))
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .max()
                .unwrap_or(0),
        };
        let room = policy.context().saturating_sub(prompted.tokens.len() + answer);
        let mut unsure = vec![f64::INFINITY; texts.len()];
        let (mut asked, mut contexts) = (Vec::new(), Vec::new());
        for (at, text) in texts.iter().enumerate() {
            let before = Format::ended(text, cue);
            if tokens(&before)? <= room {
                asked.push(at);
                contexts.push(Context { prompt: &prompted.tokens, before });
            }
        }
        let beliefs = match self.over {
            Over::Enumerate => {
                let named = |context| policy.named(context, self.width, self.tokens, &self.until);
                let named = contexts.iter().map(named).collect::<Result<Vec<_>>>()?;
                named.into_iter().map(|named| named.probabilities).collect()
            }
            _ => policy.beliefs(&contexts, &candidates, self.norm, budget)?,
        };
        for (at, belief) in asked.into_iter().zip(beliefs) {
            unsure[at] = entropy(&belief) / LN_2 / belief.len() as f64 * (E * LN_2);
        }
        Ok(unsure)
    }

    /// The answer behind each of `ended`, which begin the same completion; the likeliest one.
    fn closed(
        &self,
        prompted: &Prompted,
        at: usize,
        ended: &[&[u32]],
        cue: &str,
        context: &mut SamplingContext,
    ) -> Result<Vec<Rollout>> {
        let seeds = vec![context.seeds.draw(at, &[0])];
        let ended: Vec<Reasoning> = ended
            .iter()
            .map(|tokens| Reasoning { prompt: &prompted.tokens, tokens, seeds: seeds.clone() })
            .collect();
        let sampling = Sampling { temperature: 0.0, ..context.sampling.clone() };
        let SamplingContext { policy, format, progress, .. } = context;
        let (answers, statistics) =
            closing::forced(policy, &ended, cue, &sampling, self.answer_tokens, format, progress)?;
        context.tokens += statistics.decoded_tokens;
        Ok(answers.into_iter().flatten().collect())
    }
}
