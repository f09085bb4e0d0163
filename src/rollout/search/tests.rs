use super::*;
use crate::data::Example;
use crate::engine::Sampling;
use crate::log::Metrics;
use crate::policy::{Init, Policy};
use crate::rationale::{AnswerForm, Cues};
use crate::rollout::{Sample, Score, Scorer, Seeds};
use std::sync::Arc;
use tch::{Device, Kind};

fn prompted(policy: &Policy, texts: &[&str]) -> Vec<Prompted> {
    let one = |(index, text): (usize, &&str)| {
        let example = Example { index, ..Example::text(format!("row:{index}"), *text) };
        Prompted::new(Arc::new(example), policy.tokenizer.encode(text).unwrap())
    };
    texts.iter().enumerate().map(one).collect()
}

/// Scores texts.
struct Judge<F>(F);

impl<F: Fn(&str) -> f64> Scorer for Judge<F> {
    fn score(&mut self, groups: &mut [Group]) -> Result<()> {
        for rollout in groups.iter_mut().flat_map(|group| &mut group.rollouts) {
            rollout.reward = self.0(&rollout.text);
            rollout.scores.insert("twice".into(), Score::from(2.0 * rollout.reward));
        }
        Ok(())
    }

    fn score_counting(&mut self, groups: &mut [Group]) -> Result<()> {
        self.score(groups)
    }

    fn score_while(&mut self, sample: Sample) -> Result<Vec<Group>> {
        let mut groups = sample(&mut |_| {})?;
        self.score(&mut groups)?;
        Ok(groups)
    }

    fn correct(&self, _: &Group, _: &Rollout) -> Option<bool> {
        None
    }
}

/// Searches with a judge of texts.
fn found(
    search: &dyn Search,
    texts: &[&str],
    limit: usize,
    judge: impl Fn(&str) -> f64,
) -> (Vec<SearchResult>, usize) {
    let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
    let policy = init.make(Kind::Float, Device::Cpu, 3, 16).unwrap();
    let prompts = prompted(&policy, texts);
    let mut context = SamplingContext {
        policy: &policy,
        sampling: &Sampling { max_new_tokens: limit, ..Sampling::default() },
        format: &Format::default(),
        seeds: Seeds::new(&[7], &prompts),
        tokens_per_microbatch: 1024,
        nonce: 0,
        scorer: &mut Judge(judge),
        figures: &mut Metrics::default(),
        progress: &mut |_| {},
        tokens: 0,
    };
    let found = search.find(&prompts, &mut context).unwrap();
    (found, context.tokens)
}

/// Of random bytes half are such characters.
fn small(text: &str) -> f64 {
    text.chars().filter(char::is_ascii).count() as f64
}

#[test]
fn the_best_of_n_is_the_one_of_highest_score() {
    let (all, tokens) = found(&BestOf(Sampled { n: 6, ..Sampled::default() }), &["ab", "c"], 12, small);
    for found in &all {
        let scores: Vec<f64> = found.group.rollouts.iter().map(|rollout| small(&rollout.text)).collect();
        assert_eq!(scores.len(), 6);
        let most = scores.iter().copied().fold(0.0, f64::max);
        assert_eq!(found.chosen, scores.iter().position(|score| *score == most).unwrap());
        assert_eq!(small(&found.clone().answer().rollouts[0].text), most);
    }
    let lengths: usize = all.iter().flat_map(|found| &found.group.rollouts).map(|r| r.tokens.len()).sum();
    assert_eq!(tokens, lengths);
    // The judge may be a single reward; one that is not there is named.
    let by = BestOf(Sampled { n: 6, by: Some("twice".into()) });
    assert_eq!(found(&by, &["ab", "c"], 12, small).0[1].chosen, all[1].chosen);
    let group = &all[0].group;
    assert!(scores(group, Some("no")).unwrap_err().to_string().contains("[reward.no]"));
}

#[test]
fn a_vote_chooses_the_best_of_the_answer_with_most_weight() {
    let texts = ["#### 7", "#### 8", "#### 7.0", "no answer"];
    let group = crate::reward::tests::group(None, &[], &texts);
    // 7: 0.3 + 0.4 against 0.6; the better of the sevens is the third. What has no answer does not vote.
    assert_eq!(WeightedVote::pick(&group, &[0.3, 0.6, 0.4, 0.9]).unwrap(), 2);
    assert_eq!(WeightedVote::pick(&group, &[0.1, 0.6, 0.4, 0.9]).unwrap(), 1);
    let silent = crate::reward::tests::group(None, &[], &["a", "b"]);
    assert_eq!(WeightedVote::pick(&silent, &[0.1, 0.2]).unwrap(), 1);
    let error = WeightedVote::pick(&group, &[0.1, -0.6, 0.4, 0.9]).unwrap_err().to_string();
    assert!(error.contains("example row:7") && error.contains("one is -0.6"), "{error}");
}

#[test]
fn a_beam_keeps_the_best_paths_at_every_step() {
    // Steps of two tokens, six in all: three levels; of 8 ways 4 are kept.
    let beam = Beam { n: 8, branching: 2, step_tokens: Some(2), by: None };
    let (all, _) = found(&beam, &["ab", "c"], 6, small);
    for found in &all {
        let scores: Vec<f64> = found.group.rollouts.iter().map(|rollout| small(&rollout.text)).collect();
        assert_eq!((scores.len(), found.chosen), (4, 0));
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        // A sample has three of six; a step of eight ways has a pair of them but for one time in ten.
        assert!(scores[0] >= 5.0, "{scores:?}");
        for rollout in &found.group.rollouts {
            assert_eq!(rollout.tokens.len(), rollout.logprobs.len());
            assert!(rollout.tokens.len() <= 6);
        }
    }
    // With a single way there is nothing to choose: a sample.
    let (single, _) = found(beam.with(1).as_ref(), &["ab"], 6, small);
    assert_eq!(single[0].group.rollouts.len(), 1);
    let wide = Search::check(&Beam { branching: 9, ..beam });
    assert!(matches!(&wide[..], [one] if one.key == "branching"), "{wide:?}");
}

#[test]
fn guided_steps_are_taken_by_score_and_frequency() {
    let greedy = Guided { n: 8, step_tokens: Some(1), ..Guided::default() };
    let (all, tokens) = found(&greedy, &["ab", "c"], 6, small);
    assert_eq!(all[0].group.rollouts.len(), 1);
    // Eight tokens are drawn for each of its own.
    let own: usize = all.iter().map(|found| found.group.rollouts[0].tokens.len()).sum();
    assert_eq!(tokens, 8 * own);
    // Scores 0 and ln 3 at temperature 1, the first drawn three times: 3 · 1 against 1 · 3, half and half.
    let soft = Guided { temperature: 1.0, ..greedy.clone() };
    let scores = [0.0, 3f64.ln()];
    assert_eq!([0.0, 0.49, 0.51, 0.99].map(|u| soft.take(&scores, &[3, 1], u)), [0, 0, 1, 1]);
    assert_eq!(greedy.take(&scores, &[3, 1], 0.0), 1);
    let cold = Search::check(&Guided { temperature: -1.0, ..greedy });
    assert!(matches!(&cold[..], [one] if one.key == "temperature"), "{cold:?}");
}

#[test]
fn a_step_has_to_have_an_end() {
    let format = Format { steps: StepUnit::Sentence, ..Format::default() };
    let error = step_end("beam", None, &format).unwrap_err().to_string();
    assert!(error.contains("set rollout.beam.step_tokens"), "{error}");
    assert_eq!(step_end("beam", None, &Format::default()).unwrap(), Boundary::Texts(&["\n"]));
    assert!(step_end("guided", Some(0), &format).is_err());
    let cued = Format { steps: StepUnit::Cues(Cues::default()), ..Format::default() };
    let error = step_end("beam", None, &cued).unwrap_err().to_string();
    assert!(error.contains("before a cue word is seen only in what follows it"), "{error}");
    // The same is said when the recipe is read.
    let keys = |search: &dyn SourceSection, format: &Format| {
        search.fits_format(format).into_iter().map(|misfit| misfit.key).collect::<Vec<_>>()
    };
    let searches: [&dyn SourceSection; 2] = [&Beam::default(), &Guided::default()];
    assert_eq!(searches.map(|search| keys(search, &format)), [[""], [""]]);
    assert_eq!(searches.map(|search| keys(search, &Format::default()).len()), [0, 0]);
    assert!(keys(&Beam { step_tokens: Some(8), ..Beam::default() }, &format).is_empty());
    let adaptive = Adaptive::default();
    let open = Format { answer: vec![AnswerForm::LastNumber], ..format.clone() };
    assert_eq!([&format, &open].map(|format| keys(&adaptive, format).len()), [1, 2]);
    let closed = Format { close: Some("\nTherefore".into()), steps: StepUnit::Line, ..open };
    assert_eq!([&Format::default(), &closed].map(|format| keys(&adaptive, format).len()), [0, 0]);
}

/// What a policy of no training writes greedily, asked after every four tokens whether it is "a", "b" or "c".
#[test]
fn reasoning_stops_where_the_answer_is_sure_and_never_later() {
    let of = |alpha: f64| Adaptive {
        alpha: vec![alpha],
        over: crate::policy::candidates::Over::Labels(["a", "b", "c"].map(String::from).to_vec()),
        min_chars: 1,
        step_tokens: Some(4),
        answer_tokens: 3,
        cuts: 2,
        ..Adaptive::default()
    };
    let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
    let policy = init.make(Kind::Float, Device::Cpu, 3, 16).unwrap();
    let prompts = prompted(&policy, &["ab", "c"]);
    let in_context = |act: &mut dyn FnMut(&mut SamplingContext)| {
        act(&mut SamplingContext {
            policy: &policy,
            sampling: &Sampling { max_new_tokens: 12, temperature: 0.0, ..Sampling::default() },
            format: &Format::default(),
            seeds: Seeds::new(&[7], &prompts),
            tokens_per_microbatch: 1024,
            nonce: 0,
            scorer: &mut Judge(small),
            figures: &mut Metrics::default(),
            progress: &mut |_| {},
            tokens: 0,
        });
    };
    // Nothing is sure enough for 0; anything is for 1, since H/C of three labels is 0.528 bits at most and 0.5307 the bound.
    for (alpha, stops) in [(0.0, false), (1.0, true)] {
        let (mut searched, mut ended) = (vec![], vec![]);
        in_context(&mut |context| searched = of(alpha).find(&prompts, context).unwrap());
        in_context(&mut |context| ended = of(alpha).endings(&prompts, context).unwrap().unwrap());
        for (found, endings) in searched.iter().zip(&ended) {
            let rules: Vec<Rule> = endings.iter().map(|ending| ending.rule).collect();
            let cuts = [0, 6, 12].map(Rule::Tokens);
            assert_eq!(rules, [&[Rule::Whole, Rule::Alpha(alpha)][..], &cuts].concat());
            // Step by step it writes what the whole begins with, stops at the same place and answers alike.
            let (own, whole) = (&found.group.rollouts[0], &endings[0].rollout);
            assert_eq!((&own.tokens, endings[1].stopped), (&endings[1].rollout.tokens, stops));
            // The judge has seen it as it ended, forced answer and all.
            assert_eq!(own.reward, small(&own.text));
            let cue = policy.tokenizer.encode("\n#### ").unwrap();
            if stops {
                let begins = own.tokens.iter().zip(&whole.tokens).take_while(|(a, b)| a == b).count();
                assert!((4..12).contains(&begins), "{begins}");
                assert!(own.tokens.windows(5).any(|window| window == &cue[1..]) && own.logprobs.is_empty());
            } else {
                assert_eq!(own.tokens, whole.tokens);
            }
            // Behind no reasoning the cue begins no line.
            assert_eq!(endings[2].rollout.tokens[..5], cue[1..]);
            assert_eq!(endings[3].rollout.tokens[..6], whole.tokens[..6]);
        }
    }
}
