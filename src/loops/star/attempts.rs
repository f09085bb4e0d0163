//! What a round of STaR sampled, and what of it is trained on: a pure function of the round's traces, so that a run that
//! resumes comes to the same rationales.

use super::Prompts;
use crate::engine::StopReason;
use crate::log::Metrics;
use crate::rollout::{Group, Trace};
use crate::select::{Candidate, Select};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

const ROUND: &str = "round";
const HINTED: &str = "hinted";
const CORRECT: &str = "correct";

/// The traces of one round or several, in the order in which they were sampled.
#[derive(Debug, Default)]
pub struct Attempts {
    /// One a rollout; the columns `round`, `hinted` and `correct` say what it was.
    pub traces: Vec<Trace>,
}

/// The shares that a round's metrics are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Questions asked.
    pub questions: usize,
    /// Of these, solved without a hint.
    pub solved: usize,
    /// Of these, solved with the hint only.
    pub rationalized: usize,
}

impl Figures {
    /// Share of the questions that are solved without a hint.
    pub fn coverage(&self) -> f64 {
        self.solved as f64 / self.questions.max(1) as f64
    }
}

/// The traces of a group that `round` sampled; `step` is where the stage stood.
pub fn traces(group: &Group, round: usize, step: usize, hinted: bool) -> Vec<Trace> {
    let trace = |sample: usize| {
        let mut trace = Trace::of(group, sample, step, None);
        let correct = crate::reward::answer::correct(&group.example, &group.rollouts[sample]);
        let mark = if hinted { "hint-" } else { "" };
        trace.id = format!("{}/round-{round}-{mark}{sample}", group.example.id);
        trace.columns.insert(ROUND.into(), round.into());
        trace.columns.insert(HINTED.into(), hinted.into());
        trace.columns.insert(CORRECT.into(), (correct == Some(true)).into());
        trace
    };
    (0..group.rollouts.len()).map(trace).collect()
}

/// Whether a rollout without a hint leaves nothing to be rationalized: it passes the filters on what it says, which
/// are the answer's and the reward's.
pub fn solves(select: &Select, trace: &Trace) -> bool {
    let judge = Select { correct: select.correct, min_reward: select.min_reward, ..Select::default() };
    !judge.keep(&[candidate(trace)]).is_empty()
}

/// Whether a rollout was sampled with the hint.
pub fn hinted(trace: &Trace) -> bool {
    is(trace, HINTED)
}

fn is(trace: &Trace, column: &str) -> bool {
    trace.columns.get(column).and_then(Value::as_bool).unwrap_or(false)
}

fn candidate(trace: &Trace) -> Candidate<'_> {
    Candidate {
        reward: trace.reward,
        correct: Some(is(trace, CORRECT)),
        text: &trace.completion,
        truncated: trace.stop == StopReason::Length,
        unanswered: trace.predicted.is_none(),
        tokens: &trace.completion_ids,
        given: &trace.given,
        ..Candidate::default()
    }
}

impl Attempts {
    /// How many of `chunks` (the questions' ids) are here whole: every question `size` times, and `size` times with
    /// the hint where it is `hinting` and none of the first ones solved it.
    pub fn whole(&self, chunks: &[Vec<String>], size: usize, hinting: bool, select: &Select) -> usize {
        let by_question = self.by_question();
        let whole = |id: &String| {
            let all = by_question.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let (hinted, plain): (Vec<&Trace>, Vec<&Trace>) = all.iter().partition(|t| is(t, HINTED));
            let needs_hint = hinting && !plain.iter().any(|t| solves(select, t));
            plain.len() == size && hinted.len() == if needs_hint { size } else { 0 }
        };
        chunks.iter().take_while(|chunk| chunk.iter().all(whole)).count()
    }

    fn by_question(&self) -> BTreeMap<&str, Vec<&Trace>> {
        let mut groups: BTreeMap<&str, Vec<&Trace>> = BTreeMap::new();
        for trace in &self.traces {
            groups.entry(trace.example.as_str()).or_default().push(trace);
        }
        groups
    }

    /// What is trained on: of every question's rollouts, the newest round's first, those that `select` keeps, turned into
    /// rollouts of the plain prompt. Questions in the order of their first trace.
    pub fn training_traces(&self, select: &Select, prompts: &Prompts) -> Vec<Trace> {
        let mut groups = self.by_question();
        for group in groups.values_mut() {
            group.sort_by_key(|trace| std::cmp::Reverse(trace.columns[ROUND].as_u64()));
        }
        let mut seen = HashSet::new();
        let order = self.traces.iter().map(|trace| trace.example.as_str()).filter(|id| seen.insert(*id));
        let kept = |id: &str| -> Vec<Trace> {
            let group = &groups[id];
            let candidates: Vec<Candidate> = group.iter().map(|trace| candidate(trace)).collect();
            select.keep(&candidates).into_iter().map(|at| plain(group[at], prompts)).collect()
        };
        order.flat_map(kept).collect()
    }

    /// Counts over the questions, all of them and by the column `by`.
    pub fn figures(&self, select: &Select, by: Option<&str>) -> (Figures, BTreeMap<String, Figures>) {
        let (mut all, mut classes) = (Figures::default(), BTreeMap::<String, Figures>::new());
        for group in self.by_question().values() {
            let solved = |hinted| group.iter().any(|t| is(t, HINTED) == hinted && solves(select, t));
            let (solved, rationalized) = (solved(false), !solved(false) && solved(true));
            let class = by.and_then(|column| group[0].columns.get(column)).map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            for figures in std::iter::once(&mut all).chain(class.map(|c| classes.entry(c).or_default())) {
                figures.questions += 1;
                figures.solved += usize::from(solved);
                figures.rationalized += usize::from(rationalized);
            }
        }
        (all, classes)
    }

    /// What is worth knowing of the round that these are of.
    pub fn describe(
        &self,
        select: &Select,
        by: Option<&str>,
        training_traces: &[Trace],
        metrics: &mut Metrics,
    ) {
        let (all, classes) = self.figures(select, by);
        let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
        metrics.set("star/questions", all.questions as f64);
        metrics.set("star/coverage", all.coverage());
        metrics.set("star/rationalized", share(all.rationalized, all.questions));
        for (class, figures) in classes {
            metrics.set(&format!("star/coverage/{class}"), figures.coverage());
            metrics
                .set(&format!("star/rationalized/{class}"), share(figures.rationalized, figures.questions));
        }
        for trace in &self.traces {
            let right = f64::from(u8::from(is(trace, CORRECT)));
            let name = if is(trace, HINTED) { "star/hinted_accuracy" } else { "star/sampled_accuracy" };
            metrics.add(name, right, 1.0);
            metrics.add("reward", trace.reward, 1.0);
            metrics.add("completions/mean_length", trace.sampled() as f64, 1.0);
            let cut = f64::from(u8::from(trace.stop == StopReason::Length));
            metrics.add("completions/clipped_ratio", cut, 1.0);
            metrics.add("completions/unanswered", f64::from(u8::from(trace.predicted.is_none())), 1.0);
            for (name, score) in &trace.scores {
                metrics.add(&format!("rewards/{name}/mean"), *score, 1.0);
            }
        }
        let hinted = training_traces.iter().filter(|trace| is(trace, HINTED)).count();
        metrics.set("star/rationales", training_traces.len() as f64);
        metrics.set("star/rationales_hinted", share(hinted, training_traces.len()));
    }
}

/// The rollout as if the plain prompt had been asked: only the prompt is another.
fn plain(trace: &Trace, prompts: &Prompts) -> Trace {
    let prompted = prompts.plain(&trace.example);
    let mut trace = trace.clone();
    trace.prompt = prompted.example.prompt.clone();
    trace.prompt_ids.clone_from(&prompted.tokens);
    trace
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Example, Prompt};
    use crate::rollout::Prompted;
    use serde_json::json;

    fn trace(example: &str, round: usize, hinted: bool, correct: bool, text: &str) -> Trace {
        let ids: Vec<u32> = text.bytes().map(u32::from).collect();
        serde_json::from_value(json!({
            "id": format!("{example}/{round}"), "example": example, "step": 1, "prompt": "1+1 2", "completion": text,
            "answer": "2", "steps": [], "predicted": "2", "stop": {"eos": 0}, "scores": {}, "reward": 0.0,
            "advantage": null, "prompt_ids": [1, 2, 3], "completion_ids": ids, "logprobs": [], "digits": "1",
            "round": round, "hinted": hinted, "correct": correct
        }))
        .unwrap()
    }

    fn prompts(ids: &[&str]) -> Prompts {
        let prompted = |id: &&str| {
            let example = Example { answer: Some("2".into()), ..Example::text(*id, "1+1") };
            Prompted::new(example.into(), vec![1, 2])
        };
        Prompts::of(ids.iter().map(prompted).collect())
    }

    fn correct() -> Select {
        Select { correct: true, ..Select::default() }
    }

    /// a is solved, b only with the hint, c not at all.
    fn round() -> Attempts {
        let traces = vec![
            trace("a", 1, false, true, "x"),
            trace("b", 1, false, false, "y"),
            trace("c", 1, false, false, "z"),
            trace("b", 1, true, true, "hinted"),
            trace("c", 1, true, false, "w"),
        ];
        Attempts { traces }
    }

    #[test]
    fn questions_count_as_solved_rationalized_or_neither() {
        let (all, classes) = round().figures(&correct(), Some("digits"));
        assert_eq!(all, Figures { questions: 3, solved: 1, rationalized: 1 });
        assert_eq!(classes["1"], all);
        let mut metrics = Metrics::default();
        let training_traces = round().training_traces(&correct(), &prompts(&["a", "b", "c"]));
        round().describe(&correct(), None, &training_traces, &mut metrics);
        let figures = ["coverage", "rationalized", "rationales", "rationales_hinted", "hinted_accuracy"];
        let third = 1.0 / 3.0;
        for (name, value) in figures.iter().zip([third, third, 2.0, 0.5, 0.5]) {
            assert_eq!(metrics.get(&format!("star/{name}")), Some(value), "{name}");
        }
    }

    #[test]
    fn what_is_trained_on_has_the_plain_prompt_and_the_sampled_completion() {
        let training_traces = round().training_traces(&correct(), &prompts(&["a", "b", "c"]));
        let seen: Vec<_> =
            training_traces.iter().map(|t| (t.example.as_str(), t.completion.as_str())).collect();
        assert_eq!(seen, [("a", "x"), ("b", "hinted")]);
        for trace in &training_traces {
            assert_eq!(trace.prompt_ids, [1, 2], "the hint's id, 3, is gone");
            assert_eq!(trace.prompt, Prompt::Text("1+1".into()));
        }
        assert_eq!(training_traces[1].completion_ids, "hinted".bytes().map(u32::from).collect::<Vec<_>>());
    }

    #[test]
    fn of_several_rounds_the_newest_comes_first() {
        let mut all = round();
        all.traces.extend([trace("a", 2, false, true, "x"), trace("a", 2, false, true, "new")]);
        let texts = |select: Select| -> Vec<String> {
            all.training_traces(&select, &prompts(&["a", "b", "c"]))
                .into_iter()
                .map(|t| t.completion)
                .collect()
        };
        assert_eq!(texts(correct()), ["x", "new", "x", "hinted"]);
        assert_eq!(texts(Select { dedup: true, ..correct() }), ["x", "new", "hinted"]);
        assert_eq!(texts(Select { per_example: Some(1), ..correct() }), ["x", "hinted"]);
    }

    #[test]
    fn a_chunk_is_whole_with_all_its_rollouts_and_hints() {
        let chunks = [vec!["a".to_string()], vec!["b".into(), "c".into()], vec!["d".into()]];
        let whole = |attempts: &Attempts, hinting| attempts.whole(&chunks, 1, hinting, &correct());
        assert_eq!(whole(&round(), true), 2);
        let mut torn = round();
        torn.traces.pop();
        assert_eq!(whole(&torn, true), 1, "c was failed and its hinted rollout is missing");
        torn.traces.truncate(3);
        assert_eq!((whole(&torn, true), whole(&torn, false)), (1, 2), "without a hint nothing is missing");
        assert_eq!(whole(&Attempts::default(), true), 0);
        assert_eq!(round().whole(&chunks, 2, true, &correct()), 0);
    }
}
