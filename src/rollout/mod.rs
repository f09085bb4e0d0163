//! How completions come to be, and what is known of each: groups of scored rollouts.

pub mod closing;
mod cuts;
pub mod dataset;
pub mod environment;
pub mod group;
pub mod hint;
pub mod independent;
pub mod leaves;
pub mod prefix;
pub mod remote;
pub mod search;
pub mod seeds;
pub mod source;
pub mod tools;
pub mod trace;
pub mod tree;
pub mod turns;

pub use crate::data::Prompted;
pub use cuts::{CutValue, Place, Tail};
pub use search::Search;
pub use seeds::Seeds;
pub use source::{Figures, Picks, Sample, SamplingContext, Scorer, Source, SourceSection, Traits, Unscored};
pub use trace::Trace;

use crate::data::conversation::REASONING;
use crate::data::{Example, Message, Prompt, Tokenizer};
use crate::engine::{Completion, StopReason};
use crate::error::Result;
use crate::model::Sequence;
use crate::policy::Policy;
use crate::rationale::{Format, Given, Rationale, given};
use crate::section::Kinds;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of the longest token that a tokenizer may have.
const LONGEST_TOKEN: usize = 512;

/// The source of a stage that names none.
pub const DEFAULT_SOURCE: &str = "group";

/// `[rollout.NAME]`: the ways of this crate that completions come to be, a row each.
pub fn sources() -> Kinds<dyn SourceSection> {
    Kinds::<dyn SourceSection>::empty()
        .with::<group::GroupRollout>("group", |section| Arc::new(section))
        .with::<hint::HintRollout>("hint", |section| Arc::new(section))
        .with::<prefix::PrefixRollout>("prefix", |section| Arc::new(section))
        .with::<tree::TreeRollout>("tree", |section| Arc::new(section))
        .with::<search::BestOf>("best_of", |section| Arc::new(section))
        .with::<search::WeightedVote>("weighted_vote", |section| Arc::new(section))
        .with::<search::Beam>("beam", |section| Arc::new(section))
        .with::<search::Guided>("guided", |section| Arc::new(section))
        .with::<search::Adaptive>("adaptive", |section| Arc::new(section))
        .with::<search::Variants>("variants", |section| Arc::new(section))
        .with::<tools::ToolsRollout>("tools", |section| Arc::new(section))
        .with::<environment::EnvironmentRollout>("environment", |section| Arc::new(section))
        .with::<remote::RemoteRollout>("remote", |section| Arc::new(section))
        .with::<dataset::DatasetRollout>("dataset", |section| Arc::new(section))
}

/// A prompt as an endpoint takes it: a text is a user's turn. `system` replaces the system turn or adds one, `user` replaces
/// the last turn.
pub fn conversation(prompt: &Prompt, system: Option<&str>, user: Option<String>) -> Vec<Message> {
    let mut turns = match prompt {
        Prompt::Text(text) => vec![Message::new("user", text)],
        Prompt::Chat(turns) => turns.clone(),
    };
    if let (Some(user), Some(last)) = (user, turns.last_mut()) {
        last.content = user;
    }
    if let Some(system) = system {
        turns.retain(|turn| turn.role != "system");
        turns.insert(0, Message::new("system", system));
    }
    turns
}

/// What a reward says of one rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The outcome's worth; finite.
    pub value: f64,
    /// What it says of each step, where it does.
    pub steps: Option<Vec<StepScore>>,
}

/// What a reward says of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepScore {
    /// The step's worth; finite.
    pub value: f64,
    /// The completion's tokens that the step is written in, without the separator behind it.
    pub tokens: Range<usize>,
}

impl From<f64> for Score {
    fn from(value: f64) -> Self {
        Self { value, steps: None }
    }
}

/// One completion of one example, parsed and scored.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// Token ids, as sampled; never re-tokenised.
    pub tokens: Vec<u32>,
    /// The completion as text, special tokens left out.
    pub text: String,
    /// log p(token) recorded while sampling, in nats, one a sampled token; `old_logprobs` of the policy-gradient losses. Empty where
    /// another model wrote the completion.
    pub logprobs: Vec<f32>,
    /// What of it was given and not sampled: the answers of `[rollout.tools]` and `[rollout.environment]`. In order.
    pub given: Vec<Given>,
    /// What its environment says that it is worth, where it is an episode of one.
    pub episode: Option<f64>,
    /// Why the completion ended.
    pub stop: StopReason,
    /// The completion read as a rationale, where it has an answer.
    pub rationale: Option<Rationale>,
    /// Scores by reward name, before weights.
    pub scores: BTreeMap<String, Score>,
    /// Σ weight · score.
    pub reward: f64,
    /// What continuations from cuts between its steps say of them, where `[rollout.prefix]` asked for some.
    pub cuts: Vec<CutValue>,
    /// Where another completion was cut that it goes on from, where `[rollout.prefix]` makes rollouts of continuations.
    pub branched_at: Option<Place>,
    /// The nodes on its way from the root, where it is a leaf of `[rollout.tree]`.
    pub forks: Vec<Fork>,
}

impl Rollout {
    /// A completion, parsed and not yet scored.
    pub fn new(
        tokens: Vec<u32>,
        text: String,
        logprobs: Vec<f32>,
        stop: StopReason,
        format: &Format,
    ) -> Self {
        let rationale = format.parse(&text);
        Self {
            tokens,
            text,
            logprobs,
            given: Vec::new(),
            episode: None,
            stop,
            rationale,
            scores: BTreeMap::new(),
            reward: 0.0,
            cuts: Vec::new(),
            branched_at: None,
            forks: Vec::new(),
        }
    }

    /// What was sampled in one piece.
    pub fn of(completion: Completion, tokenizer: &Tokenizer, format: &Format) -> Self {
        Self::decoded(completion.tokens, completion.logprobs, completion.stop, tokenizer, format)
    }

    /// A completion from its tokens, whose text they are.
    pub fn decoded(
        tokens: Vec<u32>,
        logprobs: Vec<f32>,
        stop: StopReason,
        tokenizer: &Tokenizer,
        format: &Format,
    ) -> Self {
        let text = tokenizer.decode(&tokens);
        Self::new(tokens, text, logprobs, stop, format)
    }

    /// The first `kept` tokens of this completion with what was sampled behind them, as one completion.
    pub fn continued(&self, kept: usize, tail: Completion, tokenizer: &Tokenizer, format: &Format) -> Self {
        let tokens = [&self.tokens[..kept], &tail.tokens].concat();
        let logprobs = [&self.logprobs[..kept], &tail.logprobs].concat();
        Self::decoded(tokens, logprobs, tail.stop, tokenizer, format)
    }

    /// A completion that was not sampled token by token from the policy: its text is tokenised here, and there are no
    /// log-probabilities. What it thought stands before what it says, as the policy's chat template writes it. What is more than the
    /// model has room for is cut off.
    pub fn written(
        policy: &Policy,
        prompted: &Prompted,
        said: &Message,
        truncated: bool,
        format: &Format,
    ) -> Result<Self> {
        let room = policy.context().saturating_sub(prompted.tokens.len());
        // What lies far behind the room is not tokenised: a text of megabytes would take minutes.
        let most = room.saturating_add(8).saturating_mul(LONGEST_TOKEN);
        let mut said = said.clone();
        let cut = |text: &str| {
            let end = (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text[..end].to_owned()
        };
        let thought = said.reasoning().map(cut);
        said.content = cut(&said.content);
        said.more = thought.map(|thought| (REASONING[0].to_owned(), thought.into())).into_iter().collect();
        let mut tokens = match said.reasoning() {
            None => policy.tokenizer.completion(&prompted.example.prompt, &said.content)?,
            // As a row that has both would be learned.
            Some(_) => {
                let (completion, completions) = (said.text(), vec![]);
                let example = Example { reply: Some(Arc::new(said)), ..(*prompted.example).clone() };
                let example =
                    Example { completion: Some(completion), completions, learned_turns: vec![], ..example };
                let row = Prompted::of(&Arc::new(example), &policy.tokenizer)?;
                row.completion(&policy.tokenizer, row.example.completion.as_deref().unwrap_or_default())?
            }
        };
        if truncated {
            tokens.pop();
        }
        let truncated = truncated || tokens.len() > room;
        tokens.truncate(room);
        let stop = match tokens.last() {
            Some(&last) if !truncated => StopReason::Eos(last),
            _ => StopReason::Length,
        };
        let text = policy.tokenizer.decode(&tokens);
        Ok(Self::new(tokens, text, Vec::new(), stop, format))
    }

    /// How many of its tokens were sampled.
    pub fn sampled(&self) -> usize {
        given::sampled_before(&self.given, self.tokens.len())
    }

    /// Those of the tokens in `span` that were sampled, by their places among all that were, as [`logprobs`](Self::logprobs) has them.
    pub fn sampled_in(&self, span: Range<usize>) -> Range<usize> {
        given::sampled_before(&self.given, span.start)..given::sampled_before(&self.given, span.end)
    }

    /// `prompt` and then this completion, of which what was sampled is learned.
    pub fn sequence(&self, prompt: &[u32]) -> Sequence {
        Sequence::of_completion(prompt, &self.tokens, self.given.iter().map(|part| part.tokens.clone()))
    }

    /// Whether the completion was cut off by the token limit.
    pub fn truncated(&self) -> bool {
        self.stop == StopReason::Length
    }

    /// The score of `[reward.NAME]`, before its weight.
    pub fn score_of(&self, name: &str) -> anyhow::Result<f64> {
        let known = || self.scores.keys().cloned().collect::<Vec<_>>().join(", ");
        let score = self.scores.get(name).map(|score| score.value);
        score.ok_or_else(|| {
            anyhow::anyhow!("there is no [reward.{name}] scored before it; known: {}", known())
        })
    }

    /// Of a path through a rubric's questions, the share of votes for its replies, multiplied along the way.
    pub fn confidence(&self) -> Option<f64> {
        let share = |fork: &Fork| Some(fork.copies as f64 / fork.vote?.asked as f64);
        let shares: Option<Vec<f64>> = self.forks.iter().map(share).collect();
        shares.filter(|shares| !shares.is_empty()).map(|shares| shares.iter().product())
    }

    /// For how many draws it stands: the product of its nodes' `copies`, since of a tree's draws those that came out the same
    /// are one node, which is gone on from once. 1 where it is no leaf of a tree; 0 on a path that nobody voted for.
    ///
    /// Leaves are comparable by this where their ways branched equally often. A path that ended before others branched
    /// stands for as many draws as all that its siblings branched into: [`Group::shares`] says what each weighs then.
    pub fn copies(&self) -> usize {
        self.forks.iter().map(|fork| fork.copies).product()
    }

    /// The text of the parsed answer.
    pub fn answer(&self) -> Option<&str> {
        self.rationale.as_ref().map(|r| &self.text[r.answer.clone()])
    }
}

/// A node on a leaf's way from the root, which itself is left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    /// The node's number in its tree.
    pub node: usize,
    /// How many of the completion's tokens lead up to its end.
    pub tokens: usize,
    /// How many bytes of its text do.
    pub bytes: usize,
    /// How often its parent's children came out as it.
    pub copies: usize,
    /// What it is worth, by the leaves below it.
    pub value: f64,
    /// How it was voted for, where it is the reply to a rubric's question; its `copies` are the votes for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote: Option<Vote>,
}

/// The vote on a rubric's question.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// Votes in all, those for no option among them.
    pub asked: usize,
    /// What the rubric gives for this reply, before the question's weight.
    pub marks: f64,
}

/// All rollouts of one prompt.
#[derive(Debug, Clone)]
pub struct Group {
    /// The example that was asked.
    pub example: Arc<Example>,
    /// The prompt's token ids.
    pub prompt: Vec<u32>,
    /// The rollouts, in sample order.
    pub rollouts: Vec<Rollout>,
    /// Where its question stood among those that were asked together, on whatever rank.
    pub place: usize,
}

impl Group {
    /// These rollouts of a prompt.
    pub fn of(prompted: &Prompted, rollouts: Vec<Rollout>) -> Self {
        let (example, prompt, place) = (prompted.example.clone(), prompted.tokens.clone(), prompted.place);
        Self { example, prompt, rollouts, place }
    }

    /// Its answers by classes of equal ones; none for a rollout without an answer.
    pub fn classes(&self) -> Vec<Option<usize>> {
        let answers: Vec<Option<&str>> = self.rollouts.iter().map(Rollout::answer).collect();
        self.example.equality().classes(&answers)
    }

    /// Of what the policy draws for the prompt, the share that each rollout stands for; together 1. Of n independent samples
    /// each has 1 / n. The leaf of a tree has Π copies / (copies of all children of the same parent) along its way, so that
    /// Σ share · f(rollout) is an unbiased estimate of the policy's mean of f, as [`tree::Value::MonteCarlo`] is of its
    /// reward.
    pub fn shares(&self) -> Vec<f64> {
        let parents = |rollout: &Rollout| {
            let nodes = rollout.forks.iter().map(|fork| Some(fork.node));
            std::iter::once(None).chain(nodes).collect::<Vec<_>>()
        };
        let mut children: BTreeMap<Option<usize>, BTreeMap<usize, usize>> = BTreeMap::new();
        for rollout in &self.rollouts {
            for (parent, fork) in parents(rollout).into_iter().zip(&rollout.forks) {
                children.entry(parent).or_default().insert(fork.node, fork.copies);
            }
        }
        let drawn = |parent| children[&parent].values().sum::<usize>().max(1) as f64;
        let share = |rollout: &Rollout| match rollout.forks.is_empty() {
            true => 1.0 / self.rollouts.len() as f64,
            false => parents(rollout)
                .into_iter()
                .zip(&rollout.forks)
                .map(|(parent, fork)| fork.copies as f64 / drawn(parent))
                .product(),
        };
        self.rollouts.iter().map(share).collect()
    }

    /// The rewards of its rollouts, in order.
    pub fn rewards(&self) -> Vec<f64> {
        self.rollouts.iter().map(|rollout| rollout.reward).collect()
    }
}
