//! How many sentences of a rationale are the reference's, in their order or in any, after WikiWhy (Ho et al. 2023, arXiv 2210.12152).

use super::{Holds, Models, Reward, Wants, chains, column};
use crate::policy::Policy;
use crate::policy::embedding::centred;
use crate::rationale::{Format, StepUnit, steps};
use crate::rollout::{Group, Score};
use crate::statistics::matching::Matched;
use crate::statistics::spans::Agreement;
use crate::statistics::trajectory::cosine;
use crate::text::rouge::rouge_l;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// `[reward.wikiwhy]`: precision, recall or F1 of a rationale's sentences, the steps of `data.format.steps`. A sentence is that one of the reference's that it is most like,
/// where they are alike enough. Recall counts each sentence of the reference once; in order the longest common subsequence counts. Beside the scores stand `precision`, `recall`
/// and `f1` of the sums over all completions. The paper's likeness is BERTScore's, with a threshold of its own: compare figures of one likeness only.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Wikiwhy {
    /// Whether sentences have to come in the reference's order.
    pub ordered: bool,
    /// What the score is.
    pub figure: Figure,
    /// The column with the reference: a text, of which the same sentences are made, or a list of texts.
    pub reference: String,
    /// How alike two sentences are.
    pub by: Likeness,
    /// How alike they are at least.
    pub least: f64,
    /// For `states`: a frozen model, as a folder, a hub id or `"@stage"`, whose states are taken in the policy's place.
    pub model: Option<String>,
}

/// What the score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Of the rationale's sentences those that are in the reference.
    Precision,
    /// Of the reference's those that are in the rationale.
    Recall,
    /// Their harmonic mean.
    F1,
}

/// How alike two sentences are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// The F measure of ROUGE-L.
    Words,
    /// The cosine of the means of their last states, less what all sentences of a question have most in common.
    States,
}

impl Default for Wikiwhy {
    fn default() -> Self {
        let (figure, by) = (Figure::F1, Likeness::Words);
        Self { ordered: true, figure, reference: "rationale".into(), by, least: 0.6, model: None }
    }
}

impl Wikiwhy {
    /// The reward, its section checked. A frozen model is loaded when there is first something to score.
    pub fn checked(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        anyhow::ensure!(
            !self.reference.is_empty(),
            "reference = \"\": name the column that has the reference"
        );
        let least = self.least;
        anyhow::ensure!(least > 0.0 && least <= 1.0, "least = {least}: it must be above 0 and at most 1");
        let states = self.by == Likeness::States;
        anyhow::ensure!(
            states || self.model.is_none(),
            "model: words need none; take it out, or set by = \"states\""
        );
        Ok(Matcher { section: self, unit: format.steps.clone(), model: None, sum: Matched::default() })
    }

    fn shares(&self, matched: Matched) -> Agreement {
        if self.ordered { matched.ordered() } else { matched.unordered() }
    }

    fn score(&self, matched: Matched) -> f64 {
        let shares = self.shares(matched);
        match self.figure {
            Figure::Precision => shares.precision,
            Figure::Recall => shares.recall,
            Figure::F1 => shares.f1(),
        }
    }
}

struct Matcher {
    section: Wikiwhy,
    unit: StepUnit,
    model: Option<Policy>,
    /// Of what was scored since figures were asked for.
    sum: Matched,
}

impl Matcher {
    /// How alike each sentence of each chain is to each of the reference.
    fn likeness(
        &mut self,
        chains: &[Vec<&str>],
        reference: &[&str],
        models: &Models,
    ) -> anyhow::Result<Vec<Vec<Vec<f64>>>> {
        if self.section.by == Likeness::Words {
            let of = |sentence: &&str| -> Vec<f64> {
                reference.iter().map(|other| rouge_l(sentence, other)).collect()
            };
            return Ok(chains.iter().map(|chain| chain.iter().map(of).collect()).collect());
        }
        models.load(&mut self.model, self.section.model.as_deref())?;
        let texts: Vec<&str> = reference.iter().chain(chains.iter().flatten()).copied().collect();
        let vectors = centred(models.embed(self.model.as_ref(), &texts)?);
        let (reference, own) = vectors.split_at(reference.len());
        let mut own = own.iter();
        let of = |sentence: &Vec<f64>| -> Vec<f64> {
            reference.iter().map(|other| cosine(sentence, other)).collect()
        };
        Ok(chains.iter().map(|chain| own.by_ref().take(chain.len()).map(of).collect()).collect())
    }
}

impl Reward for Matcher {
    fn wants(&self) -> Wants {
        let wants = Wants::default().column("reference", &self.section.reference, Holds::Anything);
        self.section.model.iter().fold(wants, |wants, name| wants.model("model", name))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        let reference = match column::value(&group.example, &self.section.reference)? {
            Value::Array(sentences) => sentences.iter().map(column::written).collect(),
            text => parts(&self.unit, &column::written(&text)),
        };
        let reference: Vec<&str> = reference.iter().map(|text: &String| text.as_str()).collect();
        let chains = chains(group);
        let likeness = self.likeness(&chains, &reference, models)?;
        let mut scores = Vec::with_capacity(chains.len());
        for of_chain in likeness {
            let matched = Matched::of(&of_chain, reference.len(), self.section.least);
            self.sum += matched;
            scores.push(Score::from(self.section.score(matched)));
        }
        Ok(scores)
    }

    fn figures(&mut self) -> Vec<(String, f64)> {
        let sum = std::mem::take(&mut self.sum);
        if sum == Matched::default() {
            return vec![];
        }
        let shares = self.section.shares(sum);
        let named = [("precision", shares.precision), ("recall", shares.recall), ("f1", shares.f1())];
        named.map(|(name, value)| (name.to_string(), value)).into()
    }
}

fn parts(unit: &StepUnit, text: &str) -> Vec<String> {
    steps::split(unit, text, 0..text.len()).into_iter().map(|span| text[span].to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards, scores};
    use super::*;
    use crate::policy::tests::tiny;
    use crate::reward::Registry;
    use serde_json::json;
    use std::sync::Arc;

    fn asked(texts: &[&str], reference: Value) -> Group {
        let mut asked = group(Some("2"), &[], texts);
        let example = Arc::get_mut(&mut asked.example).unwrap();
        example.fields.insert("rationale".into(), reference);
        asked
    }

    const REFERENCE: &str = "it rained\nthe river rose\nthe road was closed";
    const CHAINS: [&str; 4] = [
        "it rained\nthe river rose\nthe road was closed\n#### 2",
        "the road was closed\nthe river rose\nit rained\n#### 2",
        "it rained\nthe road was closed\nit rained\nthe sun shone\n#### 2",
        "#### 2",
    ];

    /// By hand. Turned around, one of three stands in order. Of the third chain's four sentences three are in the reference, two different ones, and two in order.
    #[test]
    fn rationales_are_held_against_their_reference() {
        let of = |keys: &str, reference: Value| {
            scores(&format!("[wikiwhy]\n{keys}"), asked(&CHAINS, reference)).unwrap()
        };
        let near = |found: Vec<f64>, expected: [f64; 4]| {
            let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(close && found.len() == 4, "{found:?} {expected:?}");
        };
        let lines = json!(["it rained", "the river rose", "the road was closed"]);
        for reference in [json!(REFERENCE), lines] {
            near(of("", reference.clone()), [1.0, 1.0 / 3.0, 4.0 / 7.0, 0.0]);
            near(of("ordered = false", reference.clone()), [1.0, 1.0, 12.0 / 17.0, 0.0]);
            near(of("ordered = false\nfigure = \"precision\"", reference.clone()), [1.0, 1.0, 0.75, 0.0]);
            near(of("figure = \"recall\"", reference), [1.0, 1.0 / 3.0, 2.0 / 3.0, 0.0]);
        }
        let wrong =
            |keys: &str| scores(&format!("[wikiwhy]\n{keys}"), asked(&CHAINS, json!("a"))).unwrap_err();
        assert!(wrong("least = 0").contains("above 0 and at most 1"));
        assert!(wrong("model = \"m\"").contains("words need none"));
        assert!(wrong("reference = \"x\"").contains("no column `x`"));
    }

    /// Of all completions: 3 + 3 + 4 sentences, and 4 times the reference's 3; in order 3 + 1 + 2, in any order 3 + 3 + 3 and 3 + 3 + 2.
    #[test]
    fn sums_over_completions_stand_beside_the_scores() {
        for (keys, expected) in [("", [0.6, 0.5]), ("ordered = false", [0.9, 8.0 / 12.0])] {
            let mut rewards = rewards(&Registry::default(), &format!("[wikiwhy]\n{keys}")).unwrap();
            let mut groups = [asked(&CHAINS, json!(REFERENCE))];
            rewards.score(&mut groups, &Models::none()).unwrap();
            let figures = rewards.figures();
            let of = |name: &str| figures.iter().find(|(own, _)| own.ends_with(name)).unwrap().1;
            assert!(
                (of("/precision") - expected[0]).abs() < 1e-12 && (of("/recall") - expected[1]).abs() < 1e-12
            );
            let again = rewards.figures();
            assert!(again.iter().all(|(name, _)| !name.ends_with("/f1")), "{again:?}");
        }
    }

    /// A sentence is itself whatever the model.
    #[test]
    fn states_tell_equal_sentences() {
        let policy = tiny(1, 1, 3);
        let mut groups = [asked(&CHAINS[..2], json!(REFERENCE))];
        let mut rewards = rewards(&Registry::default(), "[wikiwhy]\nby = \"states\"\nleast = 0.99").unwrap();
        rewards.score(&mut groups, &Models::of(&policy, 64)).unwrap();
        let found = groups[0].rewards();
        assert!((found[0] - 1.0).abs() < 1e-9 && (found[1] - 1.0 / 3.0).abs() < 1e-9, "{found:?}");
    }
}
