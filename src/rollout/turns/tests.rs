//! What is said between stretches that a real model writes, held against the model's own reading of the whole.

use super::*;
use crate::data::Example;
use crate::log::Metrics;
use crate::policy::tests::tiny;
use crate::policy::{Init, Policy};
use crate::rollout::{Sample, Scorer, Seeds, independent};
use std::sync::Arc;
use tch::{Device, Kind};

/// Says `ab` whenever a letter was written, three times; to every second path nothing.
struct Letters(Vec<String>);

impl Partner for Letters {
    fn stops(&self) -> &[String] {
        &self.0
    }

    fn waits(&self, stop: &StopReason) -> bool {
        matches!(stop, StopReason::StopString(text) if self.0.contains(text))
    }

    fn answer(&mut self, paths: &[&Path]) -> Result<Vec<Answer>> {
        let say = |path: &&Path| match path.answers {
            _ if path.sample % 2 == 1 => Answer::Nothing,
            3 => Answer::End,
            _ => Answer::Given(vec![97, 98]),
        };
        Ok(paths.iter().map(say).collect())
    }
}

/// Notes the groups that are given away, in order.
struct Recorder(Vec<usize>);

impl Scorer for Recorder {
    fn score(&mut self, _: &mut [Group]) -> Result<()> {
        panic!("completions are scored while they are sampled");
    }

    fn score_counting(&mut self, _: &mut [Group]) -> Result<()> {
        panic!("completions are scored while they are sampled");
    }

    fn score_while(&mut self, sample: Sample) -> Result<Vec<Group>> {
        sample(&mut |group| self.0.push(group.example.index))
    }

    fn correct(&self, _: &Group, _: &Rollout) -> Option<bool> {
        None
    }
}

fn context<'a>(
    policy: &'a Policy,
    sampling: &'a Sampling,
    format: &'a Format,
    prompts: &[Prompted],
    scorer: &'a mut Recorder,
    figures: &'a mut Metrics,
    progress: &'a mut dyn FnMut(&crate::engine::Progress),
) -> SamplingContext<'a> {
    SamplingContext {
        policy,
        sampling,
        format,
        seeds: Seeds::new(&[5], prompts),
        tokens_per_microbatch: 512,
        nonce: 0,
        scorer,
        figures,
        progress,
        tokens: 0,
    }
}

/// Four completions of each of two prompts, of 48 tokens at most, with what `partner` says or without it.
fn sampled(policy: &Policy, partner: Option<&mut dyn Partner>) -> (Vec<Group>, Vec<usize>) {
    let (sampling, format) = (Sampling { max_new_tokens: 48, ..Sampling::default() }, Format::default());
    let prompted = |(index, text): (usize, &str)| {
        let example = Example { index, ..Example::text(index.to_string(), text) };
        Prompted::new(Arc::new(example), policy.tokenizer.encode(text).unwrap())
    };
    let prompts: Vec<Prompted> = ["1+2?", "what"].into_iter().enumerate().map(prompted).collect();
    let (mut recorder, mut figures) = (Recorder(vec![]), Metrics::default());
    let progress = &mut |_: &crate::engine::Progress| {};
    let mut context = context(policy, &sampling, &format, &prompts, &mut recorder, &mut figures, progress);
    let groups = match partner {
        Some(partner) => sample(&prompts, 4, partner, &mut context).unwrap().0,
        None => independent::sample(&prompts, 4, &mut context).unwrap().0,
    };
    (groups, recorder.0)
}

/// Of a model that is nearly undecided between 256 bytes a letter comes every fifth token. The log-probabilities that were recorded while its
/// cache went on from stretch to stretch are those of the whole sequence read anew, of the sampled tokens alone.
#[test]
fn stretches_go_on_behind_what_was_said() {
    let init = Init { hidden_size: 32, layers: 2, heads: 2, kv_heads: 1, ..Init::default() };
    let policy = init.make(Kind::Float, Device::Cpu, 3, 3).unwrap();
    let letters = ('a'..='z').chain('A'..='Z').map(String::from).collect();
    let (groups, given_away) = sampled(&policy, Some(&mut Letters(letters)));
    assert_eq!(given_away, [0, 1]);
    let (alone, _) = sampled(&policy, None);
    let mut said = 0;
    for (group, alone) in groups.iter().zip(&alone) {
        assert_eq!(group.rollouts.len(), 4);
        for (sample, (rollout, alone)) in group.rollouts.iter().zip(&alone.rollouts).enumerate() {
            let sequence = rollout.sequence(&group.prompt);
            assert_eq!(rollout.logprobs.len(), sequence.learned());
            let read = policy.logprobs(std::slice::from_ref(&sequence), 1.0, 512).unwrap().remove(0);
            for (recorded, read) in rollout.logprobs.iter().zip(&read) {
                assert!((recorded - read).abs() < 1e-4, "{recorded} {read}");
            }
            said += rollout.given.len();
            for part in &rollout.given {
                assert_eq!(rollout.tokens[part.tokens.clone()], [97, 98]);
                assert_eq!(&rollout.text[part.bytes.clone()], "ab");
            }
            assert!(rollout.tokens.len() <= 48 && (sample % 2 == 0 || rollout.given.is_empty()));
            // Up to where something is said first, or the first stretch ends, it is the independent completion.
            let same = rollout.tokens.iter().zip(&alone.tokens).take_while(|(a, b)| a == b).count();
            let first = rollout.given.first().map_or(0, |part| part.tokens.start);
            assert!(same >= first, "{same} of {first}");
        }
    }
    assert!(said >= 4, "said {said} times");
}

#[test]
fn what_is_said_is_text_and_what_stands_around_it_may_be_more() {
    let policy = tiny(1, 2, 0);
    let ids = placed(&policy.tokenizer, "<{result}>", "{result}", "6").unwrap();
    assert_eq!(policy.tokenizer.decode(&ids), "<6>");
    // Of an alphabet what is said has no other characters.
    let digits = Tokenizer::characters("0123456789>").unwrap();
    let ids = placed(&digits, "{result}>>", "{result}", "error: 12").unwrap();
    assert_eq!(digits.decode(&ids), "12>>");
    assert_eq!(known(&digits, "é12\u{7}3"), ("123".to_owned(), "é\u{7}".to_owned()));
    let told = lacks("é12\u{7}3", "é\u{7}");
    assert!(told.contains("2 of 5 in \"é12\\u{7}3\", such as \"é\\u{7}\""), "{told}");
    assert!(placed(&digits, "{result}<<", "{result}", "1").is_err());
    assert!(placed(&digits, "1", "{result}", "1").is_err());
}

/// Policies that read by a table, and what sources in turns make of them.
pub mod scripted {
    use crate::data::Example;
    use crate::engine::Sampling;
    use crate::error::Result;
    use crate::log::Metrics;
    use crate::policy::Policy;
    use crate::policy::tests::tiny;
    use crate::rationale::Format;
    use crate::rollout::{Group, Prompted, SamplingContext, Seeds, SourceSection, Unscored};
    use std::sync::Arc;

    /// A policy that reads what stands before and says what comes next, by a table; the end of sequence behind it.
    pub fn policy(next: &'static [(&'static str, &'static str)]) -> Policy {
        let mut policy = tiny(1, 2, 0);
        policy.sample_script(move |read, _| {
            let known = next.iter().find(|(before, _)| *before == read);
            known.unwrap_or_else(|| panic!("{read:?} was not to be read")).1.to_owned()
        });
        policy
    }

    /// The group of the prompt `q` of `example`, and the figures.
    pub fn rolled_out(
        policy: &Policy,
        section: &dyn SourceSection,
        example: Example,
        sampling: &Sampling,
    ) -> Result<(Group, Metrics)> {
        assert_eq!(section.check(), []);
        let prompts = [Prompted::new(Arc::new(example), policy.tokenizer.encode("q").unwrap())];
        let mut figures = Metrics::default();
        let mut context = SamplingContext {
            policy,
            sampling,
            format: &Format::default(),
            seeds: Seeds::new(&[7], &prompts),
            tokens_per_microbatch: 64,
            nonce: 0,
            scorer: &mut Unscored,
            figures: &mut figures,
            progress: &mut |_| {},
            tokens: 0,
        };
        let mut groups = section.build()?.roll_out(&prompts, &mut context)?;
        assert_eq!(groups.len(), 1);
        Ok((groups.remove(0), figures))
    }
}
