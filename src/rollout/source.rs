//! The seam between a recipe's `[rollout.KIND]` and its completions: what a source says of itself, and what it samples and
//! scores with.

use super::{Group, Prompted, Rollout, Search, Seeds};
use crate::data::template::Jinja;
use crate::data::{Example, Tokenizer};
use crate::engine::{Progress, Sampling, Statistics};
use crate::error::Result;
use crate::policy::Policy;
use crate::rationale::Format;
use crate::section::{Idle, Misfit};
use std::fmt::Debug;

/// A way that completions come to be, `[rollout.NAME]`: a [`SourceSection`] says what its recipe's keys are and what its completions will be like, and builds
/// what makes them. `Registry::source` gives it a name:
///
/// ```
/// use rationale::engine::{Request, Sampling};
/// use rationale::rollout::{Group, Prompted, Rollout, SamplingContext, Source, SourceSection, Traits};
/// use rationale::schemars::{self, JsonSchema};
/// use rationale::section::Misfit;
/// use rationale::{Registry, Result};
/// use serde::{Deserialize, Serialize};
///
/// /// A careful completion of each prompt and a bold one.
/// #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields, default)]
/// struct Twice {}
///
/// impl SourceSection for Twice {
///     fn traits(&self) -> Traits<'_> {
///         Traits::written("twice", Some(2))
///     }
///
///     fn check(&self) -> Vec<Misfit> {
///         vec![]
///     }
///
///     fn build(&self) -> Result<Box<dyn Source>> {
///         Ok(Box::new(self.clone()))
///     }
/// }
///
/// impl Source for Twice {
///     fn section(&self) -> &dyn SourceSection {
///         self
///     }
///
///     fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
///         let mut groups: Vec<Group> = prompts.iter().map(|prompted| Group::of(prompted, vec![])).collect();
///         for (draw, temperature) in [0.5, 1.5].into_iter().enumerate() {
///             let request = |(place, prompted): (usize, &Prompted)| Request {
///                 prompt: prompted.tokens.clone(),
///                 seeds: vec![context.seeds.draw(place, &[draw as u64])],
///             };
///             let requests: Vec<Request> = prompts.iter().enumerate().map(request).collect();
///             let sampling = Sampling { temperature, ..context.sampling.clone() };
///             let sampled = context.policy.sampler().generate(&requests, &sampling, context.progress)?;
///             for (group, completions) in groups.iter_mut().zip(sampled.completions) {
///                 let tokenizer = &context.policy.tokenizer;
///                 group.rollouts.extend(completions.into_iter().map(|one| Rollout::of(one, tokenizer, context.format)));
///             }
///         }
///         context.scorer.score(&mut groups)?;
///         Ok(groups)
///     }
/// }
///
/// let registry = Registry::default().source::<Twice>("twice");
/// assert!(registry.sources.names().contains(&"twice"));
/// ```
///
/// [How to write one](crate::extending#a-source), with keys of its own.
pub trait Source {
    /// The section that it was built from, which says what it is like.
    fn section(&self) -> &dyn SourceSection;

    /// A group for each of `prompts`, in their order (fewer where what comes back says so), its rollouts scored by the context's
    /// scorer.
    ///
    /// # Errors
    /// A prompt that cannot be sampled, an endpoint that does not answer, a reward that fails. They end the run.
    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>>;

    /// As [`roll_out`](Self::roll_out), `samples` completions of each held-out question, where these cannot be asked without the source
    /// ([`Traits::gives`]). None where the policy answers alone.
    ///
    /// # Errors
    /// As [`roll_out`](Self::roll_out).
    fn answer(
        &self,
        _questions: &[Prompted],
        _samples: usize,
        _context: &mut SamplingContext,
    ) -> Result<Option<Vec<Group>>> {
        Ok(None)
    }
}

impl dyn Source + '_ {
    /// What its section says of it.
    pub fn traits(&self) -> Traits<'_> {
        self.section().traits()
    }

    /// The search among completions that it is, if it is one.
    pub fn search(&self) -> Option<&dyn Search> {
        self.section().search()
    }
}

/// `[rollout.NAME]`: plain data, known before anything is opened.
pub trait SourceSection: Debug + Send + Sync + 'static {
    /// What the completions are like, for all who need to know: which loops they serve, what they cost.
    fn traits(&self) -> Traits<'_>;

    /// Those of its keys whose values cannot be used, by their paths from here: `size`, not `rollout.group.size`.
    fn check(&self) -> Vec<Misfit> {
        vec![]
    }

    /// Those of its own keys that are without effect beside the others.
    fn idle(&self) -> Vec<Idle> {
        vec![]
    }

    /// What some of the training rows, which are its questions, lack of what it reads of them, by its keys; each message goes on from its key, as
    /// `needs choices and 2 of 3 rows have none: a, b`. Looked at when a run opens; the failure on a row stays behind it.
    fn check_rows(&self, _rows: &[&Example]) -> Vec<Misfit> {
        vec![]
    }

    /// Those of its keys that name a column of every question's row, by their paths from here, with the columns: looked at where the rows are
    /// traces that an earlier stage is still to write.
    fn columns(&self) -> Vec<(String, String)> {
        vec![]
    }

    /// What of its keys does not go with how a rationale is written, by their paths from here. Looked at when the recipe is read.
    fn fits_format(&self, _format: &Format) -> Vec<Misfit> {
        vec![]
    }

    /// What of its keys does not go with the policy's tokenizer, which writes the prompts of `rows`, by their paths from here. Looked at when a
    /// run opens.
    fn fits_tokenizer(&self, _tokenizer: &Tokenizer, _rows: &[&Example]) -> Vec<Misfit> {
        vec![]
    }

    /// Opens what it needs besides the policy: an endpoint, with its key from the environment, files.
    ///
    /// # Errors
    /// What is not there; said when the stage opens, before the policy is loaded.
    fn build(&self) -> Result<Box<dyn Source>>;

    /// The search among completions that it is, if it is one.
    fn search(&self) -> Option<&dyn Search> {
        None
    }
}

/// What the completions of a source are like.
#[derive(Debug, Clone, PartialEq)]
pub struct Traits<'a> {
    /// The KIND of `[rollout.KIND]`.
    pub name: &'static str,
    /// Completions of each prompt (of a tree at most), where the recipe says how many.
    pub size: Option<usize>,
    /// Whether they are the policy's own, recorded token by token as they were sampled: only these have log-probabilities of
    /// their sampling.
    pub sampled: bool,
    /// Whether they are the rows' own.
    pub reads_rows: bool,
    /// The section of the endpoint that writes them; none where the policy does, or the rows.
    pub endpoint: Option<&'static str>,
    /// Of an endpoint: how many requests may be under way at once, and how many there are of a prompt, where that is known.
    pub requests: Option<[usize; 2]>,
    /// Where one completion is picked among several: how.
    pub picks: Option<Picks<'a>>,
    /// The template of the prompt that knows the answer, for questions that the first one fails.
    pub hint: Option<&'a Jinja>,
    /// Whether continuations from cuts between their steps say what the steps are worth ([`Rollout::cuts`]).
    pub values_steps: bool,
    /// Whether they may be leaves of a tree ([`Rollout::forks`]).
    pub forks: bool,
    /// Whether the nodes of their tree may have votes ([`Rollout::confidence`]).
    pub votes: bool,
    /// Where continuations of a group's rollouts become rollouts of the group, which are no independent samples: the source's key that
    /// says so, and what to do about it.
    pub adds_continuations: Option<(&'static str, &'static str)>,
    /// Whether all continuations of a cut are rollouts, which say where they branched off ([`Rollout::branched_at`]).
    pub branches: bool,
    /// Whether parts of the completions are given and not sampled ([`Rollout::given`]): who learns from them has to leave those out.
    pub gives: bool,
    /// Whether they are episodes of an environment, which says what they are worth ([`Rollout::episode`]) and what stands behind their prompts.
    pub episodes: bool,
}

impl Traits<'_> {
    /// Independent samples of the policy, `size` of each prompt.
    pub fn sampled(name: &'static str, size: usize) -> Self {
        Self {
            name,
            size: Some(size),
            sampled: true,
            reads_rows: false,
            endpoint: None,
            requests: None,
            picks: None,
            hint: None,
            values_steps: false,
            forks: false,
            votes: false,
            adds_continuations: None,
            branches: false,
            gives: false,
            episodes: false,
        }
    }

    /// Completions that somebody else wrote.
    pub fn written(name: &'static str, size: Option<usize>) -> Self {
        Self { size, sampled: false, ..Self::sampled(name, 0) }
    }
}

/// How a search picks one completion among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picks<'a> {
    /// How many completions it looks among; of those that go step by step, how many ways to go on at each.
    pub n: usize,
    /// The name of the reward that judges; what all of them say together by default.
    pub by: Option<&'a str>,
    /// Whether it looks among independent completions, so that those of one search say what a smaller one finds.
    pub independent: bool,
    /// Whether it picks by rewards.
    pub judged: bool,
}

/// What completions are worth. Rewards implement it; who samples asks it.
pub trait Scorer {
    /// Scores the rollouts of `groups`, half-written ones too: fills `scores` and `reward`.
    ///
    /// # Errors
    /// A reward that fails, naming it and the example; so of the other two.
    fn score(&mut self, groups: &mut [Group]) -> Result<()>;

    /// As [`score`](Self::score), where only `reward` is of interest: what has no weight need not be asked.
    fn score_counting(&mut self, groups: &mut [Group]) -> Result<()>;

    /// As [`score`](Self::score), for groups that are still to be sampled. `sample` returns them, and gives each away as
    /// soon as it is whole, in order, so that it may be scored while the next ones are sampled.
    fn score_while(&mut self, sample: Sample) -> Result<Vec<Group>>;

    /// Whether the answer of a rollout is right; none where the group's example has no gold answer.
    fn correct(&self, group: &Group, rollout: &Rollout) -> Option<bool>;
}

/// Samples groups, of which each is given away once it is whole.
pub type Sample<'a> = &'a mut dyn FnMut(&mut dyn FnMut(&Group)) -> Result<Vec<Group>>;

/// A scorer that says nothing: rollouts keep a reward of 0.
#[derive(Debug)]
pub struct Unscored;

impl Scorer for Unscored {
    fn score(&mut self, _groups: &mut [Group]) -> Result<()> {
        Ok(())
    }

    fn score_counting(&mut self, _groups: &mut [Group]) -> Result<()> {
        Ok(())
    }

    fn score_while(&mut self, sample: Sample) -> Result<Vec<Group>> {
        sample(&mut |_| {})
    }

    fn correct(&self, _group: &Group, _rollout: &Rollout) -> Option<bool> {
        None
    }
}

/// Takes the figures of a sampling, by name.
pub trait Figures {
    /// Takes `value` into the mean of `name`, with this weight.
    fn add(&mut self, name: &str, value: f64, weight: f64);

    /// Sets `name`.
    fn set(&mut self, name: &str, value: f64);

    /// Adds to a count.
    fn count(&mut self, name: &str, value: f64);
}

/// What a source works with.
pub struct SamplingContext<'a> {
    /// What writes.
    pub policy: &'a Policy,
    /// How it writes.
    pub sampling: &'a Sampling,
    /// How a rationale is written.
    pub format: &'a Format,
    /// The randomness, by the prompts' places.
    pub seeds: Seeds,
    /// Tokens that go through a model together.
    pub tokens_per_microbatch: usize,
    /// Tells apart several requests for the same prompts, of which each has a place of its own in an endpoint's cache.
    pub nonce: usize,
    /// What scores.
    pub scorer: &'a mut dyn Scorer,
    /// Who hears of the figures.
    pub figures: &'a mut dyn Figures,
    /// Called while sampling.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Tokens sampled so far.
    pub tokens: usize,
}

impl SamplingContext<'_> {
    /// Tokens that a completion of this prompt may have.
    pub fn room(&self, prompted: &Prompted) -> usize {
        (self.policy.context() - prompted.tokens.len()).min(self.sampling.max_new_tokens)
    }

    /// Whether a rollout counts as good: the right answer, or where there is no gold one, a positive reward.
    pub fn good(&self, group: &Group, rollout: &Rollout) -> bool {
        self.scorer.correct(group, rollout).unwrap_or(rollout.reward > 0.0)
    }

    /// Reports what sampling the policy took.
    pub fn report(&mut self, cost: &Statistics) {
        let seconds = cost.prefill_seconds + cost.decode_seconds;
        self.figures.add("sampling/tokens_per_second", cost.decoded_tokens as f64 / seconds, 1.0);
        self.figures.add("sampling/kept_mass", cost.kept_mass, 1.0);
        self.figures.count("sampling/prefill_tokens", cost.prefill_tokens as f64);
        self.figures.count("sampling/decoded_tokens", cost.decoded_tokens as f64);
    }

    /// Reports figures under `of`.
    pub fn report_all(&mut self, of: &str, figures: &[(String, f64)]) {
        figures.iter().for_each(|(name, value)| self.figures.set(&format!("{of}/{name}"), *value));
    }
}
