//! A reward given by a language model behind an OpenAI-compatible endpoint, asked by a template.

use super::{Models, Part, Reward, SharedReward, Wants};
use crate::ask::{TextModel, TextRequest};
use crate::data::Tokenizer;
use crate::data::template::Jinja;
use crate::endpoint::{Client, Endpoint};
use crate::rationale::{Format, Pattern, StepUnit, steps};
use crate::rollout::{Group, Rollout, Score, StepScore};
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

mod each;
mod rating;
mod said;

pub use each::Each;

use said::{concluded, end, in_objects, short};

/// `[reward.judge]`: one request a rollout, those of all groups together as `endpoint.concurrency` allows. What the judge says
/// is read as a number and brought from `scale` to the range from 0 to 1.
///
/// The run stops with an error where the endpoint fails for good, or where no score can be read from `attempts` answers; it
/// is never taken for 0.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Which model is asked, and where: `[reward.judge.endpoint]`.
    pub endpoint: Endpoint,
    /// The user's turn: a Jinja template over the row's columns (`gold` is its answer), and of the rollout `completion`,
    /// `rationale`, `answer`, and `steps`: its texts as `data.format.steps` splits them, the line of the answer included.
    pub prompt: Jinja,
    /// The system turn; none by default.
    pub system: Option<Jinja>,
    /// A regular expression whose first group, or else whole match, is the score; the last match counts. By default the number
    /// behind "score" or "rating", over the scale's end (7/10, 7 out of 10), or the only one; where several may be meant, it is asked
    /// again. With `steps`, the last number.
    pub pattern: Option<Pattern>,
    /// In place of `pattern`: the key of the score in a JSON object, which is the answer or stands in it.
    pub key: Option<String>,
    /// The worst and the best score that the judge can give; the first may be the greater. Others are refused.
    #[serde(default = "ten")]
    pub scale: [f64; 2],
    /// What is read is the number of the first wrong step, counted from 1, or 0 (or −1) where none is wrong. The steps before
    /// it then have a score of 1, it and those behind it 0, and the rollout the share of steps before it. Traces keep the
    /// steps' scores, which label them for `[loop.prm]`.
    #[serde(default)]
    pub steps: bool,
    /// In place of a score: a verdict on each `sentence`, or each `step` (the texts that `steps` then has). The answer is, or has in it, a JSON list of as many objects in
    /// their order, each with `consistent`: `true` or `false`. The score is the share of those that are, 0 where there are none. Traces keep each verdict (DCR).
    pub each: Option<Each>,
    /// For `each`, a second question in place of `consistent`, asked with the `reasons` that the answer's objects then have each as `reason`: a Jinja template, to which the
    /// answer has a JSON list of 1 and -1, one a reason.
    pub convert: Option<Jinja>,
    /// Askings, at most, until an answer has a score.
    #[serde(default = "three")]
    pub attempts: usize,
}

fn ten() -> [f64; 2] {
    [0.0, 10.0]
}

fn three() -> usize {
    3
}

/// What the templates are filled in with besides the row's columns.
const FILLED_IN: [&str; 5] = ["gold", "completion", "rationale", "answer", "steps"];
/// Askings at most, and characters of a text without a score that are shown.
const MOST_ATTEMPTS: usize = 100;
const SHOWN: usize = 300;

impl Judge {
    /// The reward, its section checked. The key is read from the environment when there is first something to score.
    pub fn checked(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        self.endpoint.validate("endpoint").map_err(|error| anyhow::anyhow!("{error}"))?;
        let [worst, best] = self.scale;
        anyhow::ensure!(
            worst.is_finite() && best.is_finite() && worst != best,
            "scale = [{worst}, {best}]: name the worst and the best score, such as [0, 10]"
        );
        anyhow::ensure!(
            (1..=MOST_ATTEMPTS).contains(&self.attempts),
            "attempts = {}: must be at least 1 and at most {MOST_ATTEMPTS}",
            self.attempts
        );
        anyhow::ensure!(
            self.pattern.is_none() || self.key.is_none(),
            "pattern and key exclude each other: keep the one that finds the score"
        );
        anyhow::ensure!(
            !self.steps || self.scale == ten(),
            "steps = true reads the number of a step, which scale does not apply to: take scale out"
        );
        anyhow::ensure!(
            self.each.is_none()
                || (!self.steps && self.scale == ten() && self.pattern.is_none() && self.key.is_none()),
            "each: verdicts are no score; take steps, scale, pattern and key out"
        );
        anyhow::ensure!(
            self.convert.is_none() || self.each.is_some(),
            "convert: there are reasons to convert where each = \"sentence\" or \"step\""
        );
        let texts = [Some(&self.prompt), self.system.as_ref(), self.convert.as_ref()];
        for text in texts.into_iter().flatten() {
            text.check().context("its template cannot be read")?;
        }
        let (client, unread) = (Mutex::new(None), AtomicUsize::new(0));
        Ok(LoadedJudge { section: self, format: format.clone(), client, unread })
    }

    /// What is asked for a rollout's score.
    fn question(
        &self,
        group: &Group,
        rollout: &Rollout,
        steps: &[Range<usize>],
    ) -> anyhow::Result<TextRequest> {
        self.filled(&self.prompt, group, rollout, steps, None)
    }

    /// A template filled in, with the system turn.
    fn filled(
        &self,
        template: &Jinja,
        group: &Group,
        rollout: &Rollout,
        steps: &[Range<usize>],
        reasons: Option<&[String]>,
    ) -> anyhow::Result<TextRequest> {
        let mut values = group.example.fields.clone();
        values.insert("gold".into(), group.example.answer.clone().into());
        values.insert("completion".into(), rollout.text.clone().into());
        values.insert("rationale".into(), Part::Rationale.of(rollout).into());
        values.insert("answer".into(), Part::Answer.of(rollout).into());
        let steps = steps.iter().map(|step| rollout.text[step.clone()].into());
        values.insert("steps".into(), Value::Array(steps.collect()));
        if let Some(reasons) = reasons {
            values.insert(each::REASONS.into(), reasons.into());
        }
        let write = |template: &Jinja| {
            let why = || format!("{}: its template cannot be filled in", group.example);
            template.render(&values).with_context(why)
        };
        let text = write(template)?;
        Ok(TextRequest::user(self.system.as_ref().map(write).transpose()?, text))
    }

    /// The number that an answer gives; without a pattern or key what `unnamed` finds.
    fn number(&self, said: &str, unnamed: impl Fn(&str) -> Option<f64>) -> Option<f64> {
        match (&self.key, &self.pattern) {
            (Some(key), _) => {
                let value = in_objects(said, key)?;
                value.as_f64().or_else(|| unnamed(value.as_str()?))
            }
            (None, Some(pattern)) => {
                let found = pattern.regex().captures_iter(said).last()?;
                found.get(1).or(found.get(0))?.as_str().trim().parse().ok()
            }
            (None, None) => unnamed(said),
        }
    }

    /// The score that an answer gives, from 0 to 1.
    fn read(&self, said: &str) -> Option<f64> {
        let said = concluded(said)?;
        let score = self.number(said, |said| rating::rating(short(said)?, self.scale))?;
        let [worst, best] = self.scale;
        // "-0" is 0.
        let share = (score - worst) / (best - worst) + 0.0;
        (0.0..=1.0).contains(&share).then_some(share)
    }

    /// How many of `steps` steps stand before the first wrong one that an answer names.
    fn right(&self, said: &str, steps: usize) -> Option<usize> {
        let said = concluded(said)?;
        let number = self
            .number(said, |said| rating::last_number(end(said)))
            .filter(|number| number.fract() == 0.0)?;
        match number {
            -1.0 | 0.0 => Some(steps),
            _ => (1.0..=steps as f64).contains(&number).then_some(number as usize - 1),
        }
    }
}

struct LoadedJudge {
    section: Judge,
    format: Format,
    client: Mutex<Option<Arc<Client>>>,
    /// Answers without a score since figures were asked for.
    unread: AtomicUsize,
}

impl LoadedJudge {
    fn client(&self) -> crate::Result<Arc<Client>> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => Ok(client.insert(Arc::new(self.section.endpoint.open("endpoint")?)).clone()),
        }
    }

    /// What `read` finds of each rollout in the judge's answers, with the rollout's `unit`s; `wanted` says what that is.
    fn asked<T>(
        &self,
        group: &Group,
        unit: &StepUnit,
        read: impl Fn(&Judge, &str, usize) -> Option<T>,
        wanted: &str,
    ) -> anyhow::Result<Vec<(T, Vec<Range<usize>>)>> {
        let section = &self.section;
        let split = |rollout: &Rollout| steps::split(unit, &rollout.text, 0..rollout.text.len());
        let spans: Vec<Vec<Range<usize>>> = group.rollouts.iter().map(split).collect();
        let asked =
            |(rollout, spans): (&Rollout, &Vec<Range<usize>>)| section.question(group, rollout, spans);
        let questions: Vec<TextRequest> =
            group.rollouts.iter().zip(&spans).map(asked).collect::<anyhow::Result<_>>()?;
        let found = self.found(&questions, |at, said| read(section, said, spans[at].len()), wanted)?;
        Ok(found.into_iter().zip(spans).collect())
    }

    /// What `read` finds in the answer to each of `questions`.
    fn found<T>(
        &self,
        questions: &[TextRequest],
        read: impl Fn(usize, &str) -> Option<T>,
        wanted: &str,
    ) -> anyhow::Result<Vec<T>> {
        let (section, client) = (&self.section, self.client()?);
        let readings = TextModel::Endpoint(&client).read(questions, section.attempts, read)?;
        self.unread.fetch_add(readings.unread, Ordering::Relaxed);
        readings.found.into_iter().collect::<Option<_>>().with_context(|| {
            let start: String = readings.last_unread.chars().take(SHOWN).collect();
            format!(
                "no {wanted} in {} answers of the judge, or several; the last is `{start}`. Say in the prompt how the score is to be \
                 written (such as: end with `Score: N`), and in pattern or key how it is found; endpoint.max_tokens may be too small",
                section.attempts
            )
        })
    }

    /// Scores by the number of the first wrong step.
    fn score_steps(&self, group: &Group, tokenizer: &Tokenizer) -> anyhow::Result<Vec<Score>> {
        let found = self.asked(group, &self.format.steps, Judge::right, "number of a step, or 0,")?;
        let score = |((right, spans), rollout): ((usize, Vec<Range<usize>>), &Rollout)| {
            let value = right as f64 / spans.len().max(1) as f64;
            let steps = spans.into_iter().enumerate().map(|(step, span)| StepScore {
                value: f64::from(u8::from(step < right)),
                tokens: tokenizer.tokens_of(&rollout.tokens, span),
            });
            Score { value, steps: Some(steps.collect()) }
        };
        Ok(found.into_iter().zip(&group.rollouts).map(score).collect())
    }
}

impl Reward for LoadedJudge {
    fn wants(&self) -> Wants {
        let Judge { endpoint, prompt, system, convert, .. } = &self.section;
        let keys = endpoint.api_key_env.iter();
        let wants = keys.fold(Wants::default(), |wants, name| wants.variable("endpoint.api_key_env", name));
        let wants = wants.template("prompt", prompt, &FILLED_IN);
        let known = [&FILLED_IN[..], &[each::REASONS]].concat();
        let wants = convert.iter().fold(wants, |wants, convert| wants.template("convert", convert, &known));
        system.iter().fold(wants, |wants, system| wants.template("system", system, &FILLED_IN))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        SharedReward::score(self, group, models)
    }

    fn shared(&self) -> Option<&dyn SharedReward> {
        Some(self)
    }

    fn independent(&self) -> bool {
        true
    }

    fn figures(&mut self) -> Vec<(String, f64)> {
        let client = self.client.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut figures = client.as_ref().map_or_else(Vec::new, |client| client.figures());
        if !figures.is_empty() {
            figures.push(("unread".into(), std::mem::take(self.unread.get_mut()) as f64));
        }
        figures
    }
}

impl SharedReward for LoadedJudge {
    fn score(&self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        if self.section.steps {
            return self.score_steps(group, models.tokenizer()?);
        }
        if let Some(each) = self.section.each {
            return self.score_each(each, group, models.tokenizer()?);
        }
        let [worst, best] = self.section.scale;
        let wanted = format!("score between {worst} and {best}");
        let read = |section: &Judge, said: &str, _: usize| section.read(said);
        let scores = self.asked(group, &self.format.steps, read, &wanted)?;
        Ok(scores.into_iter().map(|(score, _)| Score::from(score)).collect())
    }

    fn at_once(&self) -> usize {
        self.section.endpoint.concurrency
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};
    use super::*;
    use crate::data::Prompt;

    fn judge(keys: &str) -> Judge {
        let endpoint = "[endpoint]\nurl = 'http://x/v1'\nmodel = 'm'";
        toml::from_str(&format!(
            "prompt = '{{{{ rationale }}}}|{{{{ answer }}}}|{{{{ gold }}}}'\n{keys}\n{endpoint}"
        ))
        .unwrap()
    }

    fn read(keys: &str, said: &str) -> Option<f64> {
        judge(keys).read(said)
    }

    #[test]
    fn a_score_is_read_and_scaled_or_there_is_none() {
        // (7 − 0) / 10.
        assert_eq!(read("", "Of 3 steps two hold. Score: 7"), Some(0.7));
        assert_eq!(read("", "11"), None);
        assert_eq!(read("", "none"), None);
        assert!(read("", "Score: -0").is_some_and(|score| score == 0.0 && score.is_sign_positive()));
        // From 1 to 5: (4 − 1) / 4. From 5 down to 1: (4 − 5) / (1 − 5).
        assert_eq!(read("scale = [1, 5]\npattern = 'grade (\\d)'", "grade 2? grade 4 of 5"), Some(0.75));
        assert_eq!(read("scale = [5, 1]", "4"), Some(0.25));
        assert_eq!(
            read("key = 'score'", "Here:\n```json\n{\"why\": \"8 of 9\", \"score\": 2.5}\n```"),
            Some(0.25)
        );
        assert_eq!(read("key = 'score'", "{\"score\": \"5\"}"), Some(0.5));
        assert_eq!(read("key = 'score'", "{\"scor\": 5}"), None);
        assert_eq!(read("key = 'score'", "} {x} {\"score\": 5} {"), Some(0.5));
        assert_eq!(read("key = 'score'", "{\"score\": \"5/10\"} {\"why\": 1}"), Some(0.5));
    }

    #[test]
    fn the_first_wrong_step_is_read() {
        let judge = judge("steps = true");
        let right = |said: &str| judge.right(said, 3);
        // The second of three is wrong: one is right before it. Nothing wrong: all three.
        assert_eq!(
            [right("Step 1 holds. First wrong: 2"), right("0"), right("-1")],
            [Some(1), Some(3), Some(3)]
        );
        assert_eq!([right("4"), right("1.5"), right("none")], [None, None, None]);
    }

    #[test]
    fn the_prompt_is_filled_from_row_and_rollout() {
        let group = group(Some("7"), &[], &["3+4\n#### 7"]);
        let judge = judge("system = 'Judge {{ completion }}, {{ steps | length }}, {{ steps[1] }}'");
        let question = judge.question(&group, &group.rollouts[0], &[0..3, 4..10]).unwrap();
        let Prompt::Chat(turns) = question.prompt else { panic!("a conversation") };
        let texts: Vec<&str> = turns.iter().map(|turn| turn.content.as_str()).collect();
        assert_eq!(texts, ["Judge 3+4\n#### 7, 2, #### 7", "3+4|7|7"]);
    }

    #[test]
    fn the_section_is_checked() {
        let message = |keys: &str| {
            let endpoint = "[judge.endpoint]\nurl = 'http://x/v1'\nmodel = 'm'";
            scores(&format!("[judge]\n{keys}\n{endpoint}"), group(None, &[], &[])).unwrap_err()
        };
        assert!(message("").contains("missing field `prompt`"));
        assert!(message("prompt = '{{'").contains("its template cannot be read"));
        assert!(message("prompt = 'x'\nscale = [1, 1]").contains("scale = [1, 1]"));
        assert!(message("prompt = 'x'\nsteps = true\nscale = [1, 5]").contains("take scale out"));
        assert!(message("prompt = 'x'\nkey = 'a'\npattern = 'b'").contains("exclude each other"));
        assert!(
            scores("[judge]\nprompt = 'x'\nendpoint = {}", group(None, &[], &[]))
                .unwrap_err()
                .contains("endpoint.url")
        );
    }
}
