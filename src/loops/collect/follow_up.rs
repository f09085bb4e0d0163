//! Follow-up questions about each option, asked of the policy after it has read a rationale (CREST, arXiv 2411.06387).

use crate::ask::{TextModel, TextRequest};
use crate::data::{Message, Prompt, columns::letter, order};
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::Worker;
use crate::rationale::equality::choice;
use crate::reward::answer;
use crate::rollout::{Group, Rollout, Score};
use crate::section::{Misfit, broken};
use crate::seed;
use crate::select::consistency::{Judged, Preferred, Reason, denies, is_trained_on, mixed, pairs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// `[loop.collect.follow_up]`: questions with `choices` only. A rollout's score `follow_up` is the number of options that
/// were judged as the gold answer has it; those whose rationale fails more than `tolerance` options are left out, and
/// pairs are written for a preference loop. Answers are those that the rollouts end in, as `[data.format]` reads them; the
/// released program asks for them in a call of its own. Pairs are mixed within each step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FollowUp {
    /// What follows the question in its own turn; `{letter}` and `{choice}` are filled in. The question itself stays:
    /// without it there is nothing to judge.
    pub question: String,
    /// What follows the rationale, its answer left out; the policy goes on greedily.
    pub cue: String,
    /// Longest judgement, in tokens.
    pub max_new_tokens: usize,
    /// How many options may be judged wrongly.
    pub tolerance: usize,
    /// Share of the pairs whose rationales are both right and differ in consistency; the others are right against wrong.
    pub share: f64,
    /// Pairs of each kind that a question gives at most, so that questions with many samples do not crowd out the others;
    /// no limit by default.
    pub per_question: Option<usize>,
}

impl Default for FollowUp {
    fn default() -> Self {
        Self {
            question: "\n\nIs the choice ({letter}) {choice} the correct answer?".into(),
            cue: "\nTherefore, ({letter}) is".into(),
            max_new_tokens: 10,
            tolerance: 1,
            share: 0.6,
            per_question: None,
        }
    }
}

impl FollowUp {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let asks = self.question.contains("{letter}") || self.question.contains("{choice}");
        broken(&[
            (asks, "question", "it must contain {letter} or {choice}"),
            (self.max_new_tokens > 0, "max_new_tokens", "it must be at least 1"),
            (self.per_question != Some(0), "per_question", "it must be at least 1"),
            ((0.0..=1.0).contains(&self.share), "share", "it must lie between 0 and 1"),
        ])
    }

    /// Judges the right rollouts of `groups` and gives them the score `follow_up`. By group, what is known of each.
    pub fn judge(
        &self,
        worker: &mut Worker,
        groups: &mut [Group],
        metrics: &mut Metrics,
    ) -> Result<Vec<Vec<Judged>>> {
        let mut questions = Vec::new();
        for group in groups.iter() {
            gold(group)?;
            for rollout in group.rollouts.iter().filter(|rollout| right(group, rollout)) {
                for option in 0..group.example.choices.len() {
                    questions.push(self.follow_up_question(group, rollout, option));
                }
            }
        }
        let greedy =
            Sampling { temperature: 0.0, max_new_tokens: self.max_new_tokens, ..Sampling::default() };
        let model = TextModel::Local(&worker.policy, &greedy);
        let answers = model.ask(&questions, None, &mut worker.progress)?.choices;
        let mut answers = answers.iter().map(|answer| &answer[0].text);
        let mut judged = Vec::new();
        for group in groups {
            let gold = gold(group)?;
            let options = group.example.choices.len();
            let mut of_group = Vec::new();
            for at in 0..group.rollouts.len() {
                let correct = right(group, &group.rollouts[at]);
                let count = if correct { options } else { 0 };
                let held = answers.by_ref().take(count).enumerate();
                let consistent = held.filter(|(option, said)| denies(said) != (*option == gold)).count();
                if correct {
                    metrics.add("select/follow_up", consistent as f64 / options as f64, 1.0);
                    group.rollouts[at].scores.insert("follow_up".into(), Score::from(consistent as f64));
                }
                of_group.push(Judged { correct, consistent });
            }
            judged.push(of_group);
        }
        Ok(judged)
    }

    /// Which rollouts of a group are trained on.
    pub fn consistent(&self, group: &Group, judged: &[Judged]) -> Vec<usize> {
        let options = group.example.choices.len();
        (0..judged.len()).filter(|&at| is_trained_on(&judged[at], options, self.tolerance)).collect()
    }

    /// The pairs of a step as lines with TRL's columns, in a shuffled order: `share` of them from consistency.
    pub fn pairs(
        &self,
        groups: &[Group],
        judged: &[Vec<Judged>],
        seed: u64,
        step: usize,
        metrics: &mut Metrics,
    ) -> Vec<Value> {
        let of = |reason: Reason| {
            let mut all: Vec<(usize, Preferred)> = Vec::new();
            for (at, of_group) in judged.iter().enumerate() {
                let differ = |pair: &Preferred| {
                    groups[at].rollouts[pair.chosen].text != groups[at].rollouts[pair.rejected].text
                };
                let mut found: Vec<_> = pairs(of_group, reason).into_iter().filter(differ).collect();
                order::shuffle(&mut found, seed::derive(&[seed, step as u64, at as u64]));
                found.truncate(self.per_question.unwrap_or(usize::MAX));
                all.extend(found.into_iter().map(|pair| (at, pair)));
            }
            order::shuffle(&mut all, seed::derive(&[seed, step as u64, seed::of_text(reason.name())]));
            all
        };
        let (first, second) = (of(Reason::Consistency), of(Reason::Outcome));
        let (take_first, take_second) = mixed(first.len(), second.len(), self.share);
        metrics.count("select/pairs_consistency", take_first as f64);
        metrics.count("select/pairs_outcome", take_second as f64);
        let first = first[..take_first].iter().map(|pair| (Reason::Consistency, pair));
        let second = second[..take_second].iter().map(|pair| (Reason::Outcome, pair));
        let mut lines: Vec<Value> =
            first.chain(second).map(|(reason, (at, pair))| line(&groups[*at], *pair, reason, step)).collect();
        order::shuffle(&mut lines, seed::derive(&[seed, step as u64]));
        lines
    }

    /// One follow-up: the question with the follow-up in its turn, the rationale without its answer, the cue.
    fn follow_up_question(&self, group: &Group, rollout: &Rollout, option: usize) -> TextRequest {
        let choice = &group.example.choices[option];
        let fill = |text: &str| text.replace("{letter}", &letter(option)).replace("{choice}", choice);
        let steps = rollout.rationale.as_ref().and_then(|rationale| rationale.steps.last());
        let read = &rollout.text[..steps.map_or(0, |last| last.end)];
        let begun = format!("{read}{}", fill(&self.cue));
        let (about, prompt) = (group.example.clone(), with(&group.example.prompt, &fill(&self.question)));
        TextRequest { begun, about: Some(about), ..TextRequest::new(prompt) }
    }
}

/// The prompt with more at the end of its last turn; a plain text keeps the white space that it ends with at its end.
fn with(prompt: &Prompt, more: &str) -> Prompt {
    match prompt {
        Prompt::Text(text) => {
            let (body, end) = text.split_at(text.trim_end().len());
            Prompt::Text(format!("{body}{more}{end}"))
        }
        Prompt::Chat(turns) => {
            let mut turns: Vec<Message> = turns.clone();
            if let Some(last) = turns.last_mut() {
                last.content.push_str(more);
            }
            Prompt::Chat(turns)
        }
    }
}

fn right(group: &Group, rollout: &Rollout) -> bool {
    answer::correct(&group.example, rollout) == Some(true)
}

/// Which of its options is right.
fn gold(group: &Group) -> Result<usize> {
    let gold = group.example.gold().and_then(|gold| choice(gold, &group.example.choices));
    gold.ok_or_else(|| {
        Error::Data(format!(
            "{}: loop.collect.follow_up asks about each option, and it has no `choices` with its `answer` among \
             them",
            group.example
        ))
    })
}

/// TRL's columns: conversations where the prompt is one, else texts.
fn line(group: &Group, pair: Preferred, reason: Reason, step: usize) -> Value {
    let completion = |at: usize| {
        let text = &group.rollouts[at].text;
        match &group.example.prompt {
            Prompt::Text(_) => json!(text),
            Prompt::Chat(_) => json!([{"role": "assistant", "content": text}]),
        }
    };
    let id = &group.example.id;
    json!({
        "id": format!("{id}/{step}-{}-{}", pair.chosen, pair.rejected),
        "example": id,
        "step": step,
        "prompt": group.example.prompt,
        "chosen": completion(pair.chosen),
        "rejected": completion(pair.rejected),
        "reason": reason.name(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_follow_up_keeps_the_question() {
        let text = with(&Prompt::Text("Q? (A) x (B) y\n".into()), " Is (A) right?");
        assert_eq!(text, Prompt::Text("Q? (A) x (B) y Is (A) right?\n".into()));
        let turn = |role: &str, content: &str| Message::new(role, content);
        let chat = Prompt::Chat(vec![turn("system", "s"), turn("user", "Q?")]);
        let expected = Prompt::Chat(vec![turn("system", "s"), turn("user", "Q? Is (A) right?")]);
        assert_eq!(with(&chat, " Is (A) right?"), expected);
    }

    #[test]
    fn the_section_is_checked() {
        let section: FollowUp = toml::from_str("question = 'x'\nshare = 1.5\nper_question = 0").unwrap();
        let keys: Vec<String> = section.check().into_iter().map(|misfit| misfit.key).collect();
        assert_eq!(keys, ["question", "per_question", "share"]);
    }
}
