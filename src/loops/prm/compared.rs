//! Comparisons that are made of traces: pairs as `[select.pairs]` makes them, and lists of a group's completions by their scores.

use super::{Learns, Prm};
use crate::data::{Dataset, Example, Feedback, Prompted};
use crate::error::{Error, Result};
use crate::loops::selection::{candidates, own_completion};
use crate::nearest::list;
use crate::rationale::Format;
use crate::rollout::{Group, trace};
use crate::section::{Misfit, broken};
use crate::select::pairs::PairKind;
use crate::select::{Candidate, Select};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many comparisons were made, and what made none, by reason.
pub(super) type Counts = BTreeMap<&'static str, usize>;

/// Comparisons, each with the place of a row of the group that it was made of.
type Made = (Vec<(usize, Example)>, Counts);

/// The worth of the one that is right where the others have 0: its share of the softmax is 1 in f32.
const RIGHT: f64 = 30.0;

/// `[loop.prm.lists]`: what the lists are that are made of traces.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lists {
    /// The reward whose scores say what the completions of a group are worth; by default their weighted sum.
    pub by: Option<String>,
    /// Of a group's completions by falling score, counted from 0, the one that is right, beside others that are wrong (RADIO): all of the target
    /// is on it. By default all of a group are listed, with their scores.
    pub positive: Option<usize>,
    /// With `positive`: which places by falling score are wrong; by default all behind the one that is right. Places that a group does not
    /// have, and completions that are worth as much as the one that is right, are passed over.
    pub negatives: Vec<usize>,
}

impl Lists {
    /// What cannot be used as it is.
    pub(super) fn check(&self) -> Vec<Misfit> {
        let positive = self.positive.unwrap_or(0);
        let behind = self.negatives.iter().all(|&place| place > positive);
        let once = self.negatives.iter().collect::<BTreeSet<_>>().len() == self.negatives.len();
        broken(&[
            (
                self.positive.is_some() || self.negatives.is_empty(),
                "negatives",
                "without positive no place is right, and so none is wrong; give positive = 0",
            ),
            (behind, "negatives", "they must lie behind positive: what is worth more is not wrong"),
            (once, "negatives", "a place is named twice"),
        ])
    }
}

impl Prm {
    /// The rows as comparisons: as they stand where they state some, else made of traces.
    ///
    /// # Errors
    /// Rows of which some are traces and others are not; traces that make none.
    pub(super) fn comparisons(
        &self,
        rows: Dataset,
        select: &Select,
        format: &Format,
    ) -> Result<(Dataset, Counts)> {
        let Some((made, counts)) = self.of_traces(&rows.examples, select, format)? else {
            if self.lists.is_some() && self.learns == Learns::Lists {
                tracing::warn!(
                    "{}: its rows have their own `scores`, so loop.prm.lists has no effect",
                    rows.name
                );
            }
            return Ok((rows, Counts::new()));
        };
        if made.is_empty() {
            let reasons = counts.iter().filter(|(_, count)| **count > 0);
            let reasons: Vec<String> = reasons.map(|(reason, count)| format!("{count} {reason}")).collect();
            let (sections, what) = match self.learns {
                Learns::Lists => ("[select] and [loop.prm.lists]", "lists"),
                _ => ("[select] and [select.pairs]", "pairs"),
            };
            return Err(Error::Data(format!(
                "{}: {sections} make no {what} of {} traces ({})",
                rows.name,
                rows.examples.len(),
                reasons.join(", ")
            )));
        }
        let examples = made.into_iter().map(|(_, example)| Arc::new(example)).collect();
        Ok((Dataset { name: rows.name, examples }, counts))
    }

    /// Held-out rows as comparisons, as [`comparisons`](Self::comparisons) has it.
    pub(super) fn held_out(
        &self,
        rows: &[Prompted],
        select: &Select,
        format: &Format,
    ) -> Result<Vec<Prompted>> {
        let examples: Vec<Arc<Example>> = rows.iter().map(|row| row.example.clone()).collect();
        let Some((made, _)) = self.of_traces(&examples, select, format)? else { return Ok(rows.to_vec()) };
        let prompted = |(at, example): (usize, Example)| Prompted {
            example: Arc::new(example),
            reply: None,
            ..rows[at].clone()
        };
        Ok(made.into_iter().map(prompted).collect())
    }

    /// The comparisons that the traces among `rows` make, each with the place of a row of its group; none where no row is a trace, or
    /// nothing is compared.
    fn of_traces(&self, rows: &[Arc<Example>], select: &Select, format: &Format) -> Result<Option<Made>> {
        if !self.compares() || !rows.iter().any(|row| row.fields.contains_key("completion_ids")) {
            return Ok(None);
        }
        let groups = match trace::groups(rows, format) {
            Ok(groups) => groups,
            Err(no) => {
                let said =
                    |lacks: &str| format!("it is no trace ({lacks}), and others are; learn from them apart");
                return no.problems(rows, said).into_result().map(|()| None);
            }
        };
        let (mut made, mut counts) = (Vec::new(), Counts::new());
        for (group, places) in groups.iter().zip(trace::places(rows)) {
            let all = candidates(group);
            let kept = select.keep(&all);
            *counts.entry("filtered").or_default() += all.len() - kept.len();
            let of_group: Vec<Example> = match self.learns {
                Learns::Lists => self.listed(group, &kept, &mut counts)?.into_iter().collect(),
                _ => self.paired(group, kept.iter().map(|&index| all[index]).collect(), select, &mut counts),
            };
            made.extend(of_group.into_iter().map(|example| (places[0], example)));
        }
        counts.insert("built", made.len());
        Ok(Some((made, counts)))
    }

    /// The pairs of a group's `candidates`.
    fn paired<'a>(
        &self,
        group: &'a Group,
        mut candidates: Vec<Candidate<'a>>,
        select: &Select,
        counts: &mut Counts,
    ) -> Vec<Example> {
        if select.pairs.kind == PairKind::GoldCounterfactual {
            candidates.extend(own_completion(&group.example));
        }
        let built = select.pairs.build(&candidates);
        for (reason, count) in built.dropped.reasons() {
            *counts.entry(reason).or_default() += count;
        }
        let example = |(number, pair): (usize, &crate::select::Pair)| Example {
            id: format!("{}/{number}", group.example.id),
            feedback: Some(Feedback::Pair {
                chosen: candidates[pair.chosen].text.into(),
                rejected: candidates[pair.rejected].text.into(),
                weight: 1.0,
                margin: self.reward_margin * pair.gap,
                why: None,
            }),
            ..(*group.example).clone()
        };
        built.pairs.iter().enumerate().map(example).collect()
    }

    /// The list of those of a group's rollouts that are `kept`; none where it would have fewer than two.
    fn listed(&self, group: &Group, kept: &[usize], counts: &mut Counts) -> Result<Option<Example>> {
        let lists = self.lists.clone().unwrap_or_default();
        let mut worth = Vec::with_capacity(kept.len());
        for &index in kept {
            let rollout = &group.rollouts[index];
            let score = match &lists.by {
                None => Some(rollout.reward),
                Some(by) => rollout.scores.get(by).map(|score| score.value),
            };
            let score = score.ok_or_else(|| {
                let known = list(rollout.scores.keys().map(String::as_str));
                let by = lists.by.as_deref().unwrap_or_default();
                Error::Data(format!(
                    "{}: loop.prm.lists.by = {by:?}: its traces have no score of [reward.{by}]; known: {known}",
                    group.example
                ))
            })?;
            worth.push((rollout.text.as_str(), score));
        }
        // The sort is stable: of equals the earlier comes first.
        worth.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        if let Some(positive) = lists.positive {
            let Some(&(right, most)) = worth.get(positive) else {
                *counts.entry("too_few").or_default() += 1;
                return Ok(None);
            };
            let wrong = |place: usize| lists.negatives.is_empty() || lists.negatives.contains(&place);
            let behind = worth.iter().enumerate().skip(positive + 1);
            let behind = behind.filter(|(place, (_, score))| wrong(*place) && *score < most);
            let wrong: Vec<(&str, f64)> = behind.map(|(_, (text, _))| (*text, 0.0)).collect();
            worth = std::iter::once((right, RIGHT)).chain(wrong).collect();
        }
        if worth.len() < 2 {
            *counts.entry("too_few").or_default() += 1;
            return Ok(None);
        }
        let (texts, scores): (Vec<&str>, Vec<f64>) = worth.into_iter().unzip();
        let mut fields = group.example.fields.clone();
        fields.insert("scores".into(), json!(scores));
        let completions = texts.into_iter().map(str::to_owned).collect();
        Ok(Some(Example { completions, fields, ..(*group.example).clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// A trace of the example `of`, whose gold answer is 7, with the scores of two rewards.
    fn trace(of: &str, completion: &str, reward: f64, near: f64) -> Arc<Example> {
        let fields = json!({
            "id": format!("{of}/1-0"), "example": of, "step": 1, "prompt": "?", "completion": completion, "answer": "7",
            "steps": [], "predicted": null, "stop": {"eos": 0}, "scores": {"answer": reward, "near": near},
            "reward": reward, "advantage": null, "prompt_ids": [1], "completion_ids": [completion.len()],
            "logprobs": [-1.0]
        });
        let Value::Object(fields) = fields else { panic!("an object") };
        Arc::new(Example { answer: Some("7".into()), fields, ..Example::text(format!("{of}/1-0"), "?") })
    }

    fn section(text: &str) -> Prm {
        let section: Prm = toml::from_str(text).unwrap();
        assert_eq!(section.check(), []);
        section
    }

    fn made(section_text: &str, select: &str, rows: &[Arc<Example>]) -> Made {
        let select: Select = toml::from_str(select).unwrap();
        section(section_text).of_traces(rows, &select, &Format::default()).unwrap().expect("traces")
    }

    /// Of each pair: chosen, rejected and margin.
    fn pairs(made: &[(usize, Example)]) -> Vec<(&str, &str, f64)> {
        fn of((_, example): &(usize, Example)) -> (&str, &str, f64) {
            match example.feedback.as_ref() {
                Some(Feedback::Pair { chosen, rejected, margin, .. }) => {
                    (&chosen.text, &rejected.text, *margin)
                }
                other => panic!("{other:?}"),
            }
        }
        made.iter().map(of).collect()
    }

    fn rows() -> Vec<Arc<Example>> {
        vec![
            trace("a", "so\n#### 7", 1.0, 0.25),
            trace("b", "#### 8", 0.0, 0.5),
            trace("a", "but then\n#### 8", 0.0, 0.75),
            trace("a", "#### 7", 0.5, 0.75),
        ]
    }

    #[test]
    fn pairs_are_made_by_verdict_or_by_reward() {
        let rows = rows();
        let (by_verdict, counts) = made("learns = 'pairs'", "", &rows);
        let expected = [("so\n#### 7", "but then\n#### 8", 0.0), ("#### 7", "but then\n#### 8", 0.0)];
        assert_eq!(pairs(&by_verdict), expected);
        assert_eq!((counts["built"], counts["none_good"]), (2, 1));
        // The first row of their group, whose prompt they are behind.
        assert!(by_verdict.iter().all(|(place, example)| *place == 0 && example.answer.is_some()));
        let ids: Vec<&str> = by_verdict.iter().map(|(_, example)| example.id.as_str()).collect();
        assert_eq!(ids, ["a/0", "a/1"]);

        let by_reward = "pairs = { kind = 'score_margin', min_gap = 0.5, matching = 'gap', per_example = 2 }";
        let (by_reward, _) = made("learns = 'pairs'\nreward_margin = 2.0", by_reward, &rows);
        let expected = [("so\n#### 7", "but then\n#### 8", 2.0), ("so\n#### 7", "#### 7", 1.0)];
        assert_eq!(pairs(&by_reward), expected);
        let (filtered, counts) = made("learns = 'pairs'", "min_reward = 1.0", &rows);
        assert_eq!((filtered.len(), counts["filtered"]), (0, 3));
    }

    /// Of each list: the completions and their scores.
    fn lists(made: &[(usize, Example)]) -> Vec<(Vec<&str>, Value)> {
        let of = |(_, example): &(usize, Example)| example.fields["scores"].clone();
        let texts = made.iter().map(|(_, example)| example.completions.iter().map(String::as_str).collect());
        texts.zip(made.iter().map(of)).collect()
    }

    #[test]
    fn lists_hold_a_groups_completions_by_falling_score() {
        let rows = rows();
        let (all, counts) = made("learns = 'lists'", "", &rows);
        assert_eq!(lists(&all), [(vec!["so\n#### 7", "#### 7", "but then\n#### 8"], json!([1.0, 0.5, 0.0]))]);
        // The other group has one.
        assert_eq!((counts["built"], counts["too_few"]), (1, 1));
        // By another score the last two are worth the same: only what is worth less is wrong.
        let (picked, _) = made("learns = 'lists'\nlists = { by = 'near', positive = 0 }", "", &rows);
        assert_eq!(lists(&picked), [(vec!["but then\n#### 8", "so\n#### 7"], json!([30.0, 0.0]))]);
        let (picked, _) = made("learns = 'lists'\nlists = { positive = 0, negatives = [2, 9] }", "", &rows);
        assert_eq!(lists(&picked), [(vec!["so\n#### 7", "but then\n#### 8"], json!([30.0, 0.0]))]);
        let (none, counts) = made("learns = 'lists'\nlists.positive = 3", "", &rows);
        assert_eq!((none.len(), counts["too_few"]), (0, 2));
    }

    #[test]
    fn what_makes_no_comparison_is_said() {
        let rows = rows();
        let said = |text: &str, rows: Vec<Arc<Example>>| {
            let dataset = Dataset { name: "t".into(), examples: rows };
            let found = section(text).comparisons(dataset, &Select::default(), &Format::default());
            found.unwrap_err().to_string()
        };
        let unknown = said("learns = 'lists'\nlists.by = 'far'", rows.clone());
        assert!(unknown.contains("[reward.far]") && unknown.contains("known: answer, near"), "{unknown}");
        let none = said("learns = 'lists'\nlists.positive = 3", rows.clone());
        assert!(none.contains("make no lists of 4 traces") && none.contains("2 too_few"), "{none}");
        let mixed = said("learns = 'pairs'", [&rows[..], &[Arc::new(Example::text("x", "?"))]].concat());
        assert!(mixed.contains("it is no trace"), "{mixed}");
        // Rows that are no traces stay as they are.
        let stated = Dataset { name: "s".into(), examples: vec![Arc::new(Example::text("x", "?"))] };
        let (same, counts) =
            section("learns = 'pairs'").comparisons(stated, &Select::default(), &Format::default()).unwrap();
        assert!(same.examples.len() == 1 && counts.is_empty());
        let keys = |text: &str| -> Vec<String> {
            let lists: Lists = toml::from_str(text).unwrap();
            lists.check().into_iter().map(|misfit| misfit.key).collect()
        };
        assert_eq!(keys("negatives = [1]"), ["negatives"]);
        assert_eq!(keys("positive = 2\nnegatives = [1, 3, 3]"), ["negatives", "negatives"]);
        assert_eq!(keys("positive = 0\nnegatives = [3, 4, 6]"), [""; 0]);
    }
}
