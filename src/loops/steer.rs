//! A direction in a model's states, from the means of completions that contrast: `[loop.steer]` (Efficiency Steering, arXiv 2506.15647;
//! contrastive activation addition, arXiv 2312.06681). Nothing is trained.

use super::{
    Batch, Item, Method, Needs, Output, Section, Selects, Setup, StageView, Steps, Worker, candidates,
};
use crate::data::row::need;
use crate::data::{Example, Feedback, FeedbackCompletion};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::policy::{Policy, Spanned};
use crate::rationale::Format;
use crate::rollout::{Group, trace};
use crate::section::{Idle, Misfit, broken};
use crate::select::Select;
use crate::statistics::mean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// `[loop.steer]`: reads completions that contrast, and keeps in the run for each layer v = the mean over questions of (the mean state of what is
/// to be steered towards, less that of what is to be steered away from), over the tokens of the reasoning. `policy.steer.from = "@stage"` adds it in a
/// later stage. The rows are an earlier stage's traces, or pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Steer {
    /// What contrasts.
    pub of: Contrast,
    /// For `length`: leave out a question whose two rationales differ by fewer tokens.
    pub least_tokens: usize,
}

/// What is steered towards, and away from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Contrast {
    /// A question's shortest right rationale, from its longest right one: towards brevity.
    Length,
    /// A question's right completions, from its wrong ones.
    Answer,
    /// What is `chosen`, from what is `rejected`, of rows that are pairs.
    Pairs,
}

impl Default for Steer {
    fn default() -> Self {
        Self { of: Contrast::Length, least_tokens: 1 }
    }
}

impl Section for Steer {
    fn check(&self) -> Vec<Misfit> {
        broken(&[(
            self.least_tokens > 0,
            "least_tokens",
            "it must be at least 1: rationales of one length do not contrast",
        )])
    }

    fn needs(&self, _: &StageView) -> Needs {
        let selects = if self.of == Contrast::Pairs { Selects::Nothing } else { Selects::Rollouts };
        let work = Some("the states of all rows, read once".into());
        Needs { rows: true, direction: true, selects, steps: Steps::Exactly(1), work, ..Needs::default() }
    }

    fn idle(&self) -> Vec<Idle> {
        if self.of == Contrast::Length { vec![] } else { vec![("least_tokens", "unless of = \"length\"")] }
    }

    fn check_rows(&self, rows: &[&Example], _whole: bool) -> Vec<Misfit> {
        let (what, remedy) = match self.of {
            Contrast::Pairs => ("pairs", "give each row `chosen` and `rejected`"),
            _ => (
                "traces of completions",
                "set data.train = \"@stage\", a stage that samples; or of = \"pairs\"",
            ),
        };
        let lacks = |row: &&Example| match self.of {
            Contrast::Pairs => !matches!(row.feedback, Some(Feedback::Pair { .. })),
            _ => !row.fields.contains_key("completion_ids"),
        };
        let none: Vec<&Example> = rows.iter().copied().filter(lacks).collect();
        if none.is_empty() { vec![] } else { vec![Misfit::new("of", need(what, &none, rows.len()), remedy)] }
    }

    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>> {
        let rows = &setup.rows.examples;
        let groups = match self.of {
            Contrast::Pairs => vec![],
            _ => trace::groups(rows, setup.format).or_else(|no| {
                let said = |lacks: &str| format!("it is no trace of a completion ({lacks})");
                no.problems(rows, said).into_result().map(|()| vec![])
            })?,
        };
        let pairs = if self.of == Contrast::Pairs { rows.clone() } else { vec![] };
        let select = setup.select.clone();
        Ok(Box::new(SteerMethod { steer: self.clone(), select, groups, pairs, figures: vec![] }))
    }
}

/// The method at work.
struct SteerMethod {
    steer: Steer,
    select: Select,
    /// What is contrasted: groups of completions, or pairs.
    groups: Vec<Group>,
    pairs: Vec<Arc<Example>>,
    figures: Vec<(&'static str, f64)>,
}

/// A completion behind its prompt, and where its reasoning stands; that is all of it where it has no answer.
fn reading(policy: &Policy, prompt: &[u32], tokens: &[u32], text: &str, format: &Format) -> Spanned {
    let span = format.parse(text).map_or(0..text.len(), |rationale| rationale.reasoning());
    let within = policy.tokenizer.tokens_of(tokens, span);
    let span = prompt.len() + within.start..prompt.len() + within.end;
    Spanned { tokens: [prompt, tokens].concat(), span }
}

/// What is steered towards, and what away from.
type Sides = [Vec<Spanned>; 2];

impl SteerMethod {
    /// The contrasts of all rows, a question or pair each.
    fn contrasts(&self, policy: &Policy, format: &Format) -> Result<Vec<Sides>> {
        let of_groups = self.groups.iter().filter_map(|group| self.of_group(group, policy, format)).map(Ok);
        of_groups.chain(self.pairs.iter().map(|row| of_pair(row, policy, format))).collect()
    }

    fn of_group(&self, group: &Group, policy: &Policy, format: &Format) -> Option<Sides> {
        let all = candidates(group);
        let kept = self.select.keep(&all);
        let read = |right: bool| -> Vec<Spanned> {
            let of = kept.iter().filter(|&&at| all[at].correct == Some(right));
            let readings = of.map(|&at| {
                let rollout = &group.rollouts[at];
                reading(policy, &group.prompt, &rollout.tokens, &rollout.text, format)
            });
            // Where nothing is reasoned there is no state to take.
            readings.filter(|reading| !reading.span.is_empty()).collect()
        };
        let right = read(true);
        match self.steer.of {
            Contrast::Length => {
                // Of equals the first.
                let shortest = right.iter().min_by_key(|reading| reading.span.len())?;
                let longest = right.iter().rev().max_by_key(|reading| reading.span.len())?;
                let contrasts = longest.span.len() - shortest.span.len() >= self.steer.least_tokens;
                contrasts.then(|| [vec![shortest.clone()], vec![longest.clone()]])
            }
            _ => {
                let wrong = read(false);
                (!right.is_empty() && !wrong.is_empty()).then_some([right, wrong])
            }
        }
    }

    fn nothing(&self) -> Error {
        let what = match self.steer.of {
            Contrast::Length => {
                "no question has two right rationales that differ in length by loop.steer.least_tokens; sample more of each"
            }
            Contrast::Answer => "no question has both right completions and wrong ones; sample more of each",
            Contrast::Pairs => "there are no pairs",
        };
        Error::Data(format!("loop.steer: {what}"))
    }
}

fn of_pair(row: &Example, policy: &Policy, format: &Format) -> Result<Sides> {
    let Some(Feedback::Pair { chosen, rejected, .. }) = &row.feedback else { return Ok([vec![], vec![]]) };
    let prompt = policy.tokenizer.render_example(row)?;
    let read = |one: &FeedbackCompletion| -> Result<Vec<Spanned>> {
        let tokens = match &one.tokens {
            Some(tokens) => tokens.clone(),
            None => policy.tokenizer.completion(&row.prompt, &one.text)?,
        };
        let found = reading(policy, &prompt, &tokens, &one.text, format);
        Ok(vec![match found.span.is_empty() {
            // An answer alone contrasts as a whole.
            true => Spanned { span: prompt.len()..found.tokens.len(), ..found },
            false => found,
        }])
    };
    Ok([read(chosen)?, read(rejected)?])
}

/// Σ over `contrasts` of (mean state towards − mean state away), `[layers, hidden]` in f64, in passes of `budget` tokens.
fn summed(policy: &Policy, contrasts: &[&Sides], budget: usize) -> Result<Tensor> {
    let signed = contrasts.iter().flat_map(|sides| sides.iter().zip([1.0, -1.0]));
    let weighed: Vec<(&Spanned, f64)> = signed
        .flat_map(|(side, sign)| side.iter().map(move |reading| (reading, sign / side.len() as f64)))
        .collect();
    policy.summed_states(&weighed, budget)
}

impl Method for SteerMethod {
    fn begin(&mut self, worker: &mut Worker, kept: Option<Tensor>) -> Result<Option<Tensor>> {
        let contrasts = self.contrasts(&worker.policy, &worker.format)?;
        if contrasts.is_empty() {
            return Err(self.nothing());
        }
        let found = match &kept {
            Some(kept) => kept.shallow_clone(),
            None => {
                let ranks = &worker.ranks;
                let own: Vec<&Sides> = contrasts.iter().skip(ranks.rank()).step_by(ranks.count()).collect();
                let sum = summed(&worker.policy, &own, worker.tokens_per_microbatch)?;
                let mut flat: Vec<f64> = Vec::try_from(sum.reshape([-1]))?;
                ranks.sum(&mut flat)?;
                let mean = Tensor::from_slice(&flat).view(sum.size().as_slice()) / contrasts.len() as f64;
                mean.to_kind(Kind::Float)
            }
        };
        let tokens = |side: usize| {
            mean(contrasts.iter().flat_map(|sides| &sides[side]).map(|reading| reading.span.len() as f64))
        };
        let norms = found.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double).sqrt();
        self.figures = vec![
            ("steer/contrasts", contrasts.len() as f64),
            ("steer/tokens_towards", tokens(0)),
            ("steer/tokens_away", tokens(1)),
            ("steer/norm", norms.mean(Kind::Double).double_value(&[])),
        ];
        Ok(kept.is_none().then_some(found))
    }

    fn batch(&mut self, _: &mut Worker, _: usize, metrics: &mut Metrics) -> Result<Batch> {
        self.figures.iter().for_each(|(name, value)| metrics.set(name, *value));
        Ok(Batch::default())
    }

    fn over(&self, step: usize) -> bool {
        step >= 1
    }

    fn loss(&self, _: &[&Item], _: &Output, _: &mut Metrics) -> Result<Tensor> {
        Ok(Tensor::from(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::StopReason;
    use crate::near::far;
    use crate::policy::tests::tiny;
    use crate::rollout::Rollout;

    fn policy() -> Policy {
        tiny(2, 1, 3)
    }

    fn group(policy: &Policy, texts: &[&str]) -> Group {
        let rollout = |text: &&str| {
            let tokens = policy.tokenizer.encode(text).unwrap();
            Rollout::new(tokens, text.to_string(), vec![], StopReason::Length, &Format::default())
        };
        let example = Example { answer: Some("2".into()), ..Example::text("row:1", "1+1?") };
        Group {
            prompt: policy.tokenizer.encode("1+1?").unwrap(),
            example: Arc::new(example),
            rollouts: texts.iter().map(rollout).collect(),
            place: 0,
        }
    }

    fn method(section: &str, groups: Vec<Group>) -> SteerMethod {
        let steer: Steer = toml::from_str(section).unwrap();
        assert_eq!(Section::check(&steer), []);
        SteerMethod { steer, select: Select::default(), groups, pairs: vec![], figures: vec![] }
    }

    fn contrasts(method: &SteerMethod, policy: &Policy) -> Vec<Sides> {
        method.contrasts(policy, &Format::default()).unwrap()
    }

    /// Bytes are tokens: behind a prompt of four, right rationales "abc", "a" and "abcde", a wrong one "abcdefgh", and an answer alone.
    #[test]
    fn the_shortest_right_rationale_is_held_against_the_longest() {
        let policy = policy();
        let texts = ["abc\n#### 2", "a\n#### 2", "abcdefgh\n#### 3", "abcde\n#### 2", "#### 2"];
        let found = contrasts(&method("", vec![group(&policy, &texts)]), &policy);
        assert_eq!(found.len(), 1);
        let [towards, away] = &found[0];
        assert_eq!((towards.len(), towards[0].span.clone()), (1, 4..5));
        assert_eq!((away.len(), away[0].span.clone()), (1, 4..9));
        let told = |section: &str, texts: &[&str]| {
            contrasts(&method(section, vec![group(&policy, texts)]), &policy).len()
        };
        assert_eq!((told("least_tokens = 4", &texts), told("least_tokens = 5", &texts)), (1, 0));
        assert_eq!(told("", &["abc\n#### 2", "abcd\n#### 3"]), 0);
        let sides = contrasts(&method("of = \"answer\"", vec![group(&policy, &texts)]), &policy);
        assert_eq!((sides[0][0].len(), sides[0][1].len(), sides[0][1][0].span.clone()), (3, 1, 4..12));
    }

    /// Against means of states that are read by themselves: (short₁ − long₁ + right₂ − (wrong₂ₐ + wrong₂ᵦ)/2), whatever the budget.
    #[test]
    fn a_direction_is_the_difference_of_means() {
        let policy = policy();
        let first = contrasts(&method("", vec![group(&policy, &["abc\n#### 2", "a\n#### 2"])]), &policy);
        let second = contrasts(
            &method("of = \"answer\"", vec![group(&policy, &["xy\n#### 2", "z\n#### 3", "uvw\n#### 4"])]),
            &policy,
        );
        let mean_state = |text: &str| {
            let tokens = policy.tokenizer.encode(&format!("1+1?{text}")).unwrap();
            let places: Vec<usize> = (4..tokens.len()).collect();
            let states = policy.model.read_layers(&[&tokens], &[&places]).unwrap();
            states.narrow(0, 1, 2).mean_dim([1i64].as_slice(), false, Kind::Double)
        };
        let expected = mean_state("a") - mean_state("abc") + mean_state("xy")
            - (mean_state("z") + mean_state("uvw")) / 2.0;
        for budget in [8, 1024] {
            let found = summed(&policy, &[&first[0], &second[0]], budget).unwrap();
            assert_eq!(found.size(), [2, 16]);
            assert!(far(&found, &expected) < 1e-4);
        }
    }

    #[test]
    fn pairs_contrast_as_they_stand() {
        let policy = policy();
        let pair = |chosen: &str, rejected: &str| Feedback::Pair {
            chosen: chosen.into(),
            rejected: rejected.into(),
            weight: 1.0,
            margin: 0.0,
            why: None,
        };
        let row = Example { feedback: Some(pair("ab\n#### 2", "#### 3")), ..Example::text("row:1", "1+1?") };
        let [towards, away] = of_pair(&row, &policy, &Format::default()).unwrap();
        assert_eq!(towards[0].span, 4..6);
        // The answer alone, with the end of sequence.
        assert_eq!(away[0].span, 4..4 + "#### 3".len() + 1);
    }
}
