//! Cross-entropy over a row's choices, each behind its own rationale, with a second branch whose rationales are disturbed: `[loop.sft.choices]` (PINTO, Wang et
//! al. 2023, arXiv 2211.01562; the authors' loss, in decoder form: what is hidden is left out, positions kept).
//!
//! L = CE(s, y) + weight · CE_ε(s′, y), s_c the mean log p of choice c's tokens behind rationale c; s′ the same where of an example either all rationales are
//! hidden or some of their tokens replaced by others. The authors' program draws that for each choice, and replaces just the share of its tokens.

use crate::data::row::Problems;
use crate::data::template::Jinja;
use crate::data::{Dataset, Example, Tokenizer};
use crate::error::{Error, Result};
use crate::eval::RowFigures;
use crate::log::Metrics;
use crate::loops::{Batch, Item, Output, Worker};
use crate::loss::choice::cross_entropy;
use crate::model::Sequence;
use crate::policy::choices::{Choice, Choosing, behind};
use crate::rationale::Format;
use crate::rollout::Prompted;
use crate::section::{Misfit, broken, under};
use crate::seed;
use crate::statistics::distribution::softmax;
use crate::statistics::mean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Learn which of a row's `choices` is right, rather than a completion: the cross-entropy over them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choices {
    /// What stands before each choice, a Jinja template over the row's columns and the choice's `at` (from 0), `choice` (its text) and `letter`:
    /// `"{{ rationales[at] }}"`. It is read and not learned. Nothing by default.
    pub rationale: Option<Jinja>,
    /// How much of the right choice's share all choices take: (1 − ε) (−log p_y) + (ε/C) Σ −log p_c.
    pub smoothing: f64,
    /// Learn, besides, to be less sure where rationales are disturbed (PINTO).
    pub perturb: Option<Perturb>,
}

/// A second set of the same sequences whose rationales are disturbed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Perturb {
    /// How much their loss counts.
    pub weight: f64,
    /// The share of examples of which all rationales are hidden.
    pub hide: f64,
    /// In the others each token of a rationale is replaced with this probability, by one of the vocabulary, all alike.
    pub replace: f64,
    /// ε of their loss.
    pub smoothing: f64,
}

impl Default for Perturb {
    fn default() -> Self {
        Self { weight: 1.0, hide: 0.5, replace: 0.3, smoothing: 0.1 }
    }
}

impl Perturb {
    fn check(&self) -> Vec<Misfit> {
        let share = |share: f64| (0.0..=1.0).contains(&share);
        broken(&[
            (self.weight > 0.0 && self.weight.is_finite(), "weight", "it must be a positive number"),
            (share(self.hide), "hide", "it is a share: from 0 to 1"),
            (share(self.replace), "replace", "it is a share: from 0 to 1"),
            ((0.0..1.0).contains(&self.smoothing), "smoothing", "it must be from 0 up to, not including, 1"),
        ])
    }

    /// The choices of an example as they are disturbed by `seed`, of a vocabulary of so many tokens.
    fn of(&self, choices: &[Choice], vocabulary: usize, seed: u64) -> Vec<Sequence> {
        let hides = seed::uniform(seed::derive(&[seed, 0])) < self.hide;
        let of = |(at, choice): (usize, &Choice)| {
            let mut sequence = choice.sequence.clone();
            if hides {
                return sequence.without(|place| choice.rationale.contains(&place));
            }
            for place in choice.rationale.clone() {
                let draw = |what: u64| seed::derive(&[seed, what, at as u64, place as u64]);
                if seed::uniform(draw(1)) < self.replace {
                    sequence.tokens[place] = (draw(2) % vocabulary as u64) as u32;
                }
            }
            sequence
        };
        choices.iter().enumerate().map(of).collect()
    }
}

const GOLD: &str = "gold";
const COUNT: &str = "choices";

impl Choices {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = self.choosing().check();
        found.extend(broken(&[
            ((0.0..1.0).contains(&self.smoothing), "smoothing", "it must be from 0 up to, not including, 1"),
            (
                self.perturb.is_none() || self.rationale.is_some(),
                "perturb",
                "there are no rationales to disturb; set `rationale`, or leave it out",
            ),
        ]));
        found.extend(under("perturb", self.perturb.iter().flat_map(Perturb::check)));
        found
    }

    /// How the choices are read.
    pub fn choosing(&self) -> Choosing {
        Choosing { rationale: self.rationale.clone() }
    }

    /// Refuses rows that lack choices, the right one or rationales.
    pub(super) fn look_at(&self, rows: &Dataset) -> Result<()> {
        let (choosing, mut problems) = (self.choosing(), Problems::default());
        for row in &rows.examples {
            if let Err(what) = choosing.read(row) {
                problems.example(row, what);
            }
        }
        problems.into_result()
    }

    /// Whether a row has what is needed.
    pub(super) fn measures(&self, row: &Example) -> bool {
        self.choosing().read(row).is_ok()
    }

    /// The choices of a row, and the place of the right one.
    pub(super) fn of(
        &self,
        tokenizer: &Tokenizer,
        row: &Prompted,
        format: &Format,
    ) -> Result<(Vec<Choice>, usize)> {
        let read = self.choosing().read(&row.example);
        let (rationales, gold) = read.map_err(|what| Error::Data(format!("{}: {what}", row.example)))?;
        Ok((behind(tokenizer, &row.tokens, &rationales, &row.example.choices, format)?, gold))
    }

    /// A row as an item: the sequences of all its choices, then those that are disturbed.
    fn item(&self, worker: &Worker, row: &Prompted, seed: u64) -> Result<Item> {
        let (choices, gold) = self.of(&worker.policy.tokenizer, row, &worker.format)?;
        let mut sequences: Vec<Sequence> = choices.iter().map(|choice| choice.sequence.clone()).collect();
        if let Some(perturb) = &self.perturb {
            sequences.extend(perturb.of(&choices, worker.policy.tokenizer.vocab_size(), seed));
        }
        Ok(Item::of(sequences).with(GOLD, gold as f64).with(COUNT, choices.len() as f64))
    }

    /// A step's rows, each of which weighs 1; `dress` makes sequences of a row what they are learned as, by a seed of the row's.
    pub(super) fn batch(
        &self,
        worker: &Worker,
        rows: &[Prompted],
        seed: impl Fn(&Prompted) -> u64,
        dress: impl Fn(Sequence, u64) -> Sequence,
    ) -> Result<Batch> {
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            let seed = seed(row);
            let mut item = self.item(worker, row, seed::derive(&[seed, seed::of_text("perturb")]))?;
            let dressed = (0..).zip(std::mem::take(&mut item.sequences));
            item.sequences =
                dressed.map(|(at, sequence)| dress(sequence, seed::derive(&[seed, at]))).collect();
            items.push(item);
        }
        let weight = items.len() as f64;
        Ok(Batch::whole(items, weight))
    }

    /// The sum of the items' losses.
    pub(super) fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Tensor {
        let lengths = items.iter().flat_map(|item| item.sequences.iter().map(|one| one.learned() as i64));
        let all = output.scored.logprobs.split_with_sizes(lengths.collect::<Vec<_>>(), 0);
        let mut means = all.iter().map(|own| own.mean(Kind::Float));
        let mut total = Tensor::zeros([], (Kind::Float, output.scored.logprobs.device()));
        for item in items {
            let (gold, count) = (item.number(GOLD) as usize, item.number(COUNT) as usize);
            let scores = Tensor::stack(&means.by_ref().take(count).collect::<Vec<_>>(), 0);
            let clean = cross_entropy(&scores, gold, self.smoothing);
            let right = scores.argmax(0, false).int64_value(&[]) == gold as i64;
            metrics.add("choices/loss", clean.double_value(&[]), 1.0);
            metrics.add("choices/accuracy", f64::from(u8::from(right)), 1.0);
            total += clean;
            if let Some(perturb) = &self.perturb {
                let scores = Tensor::stack(&means.by_ref().take(count).collect::<Vec<_>>(), 0);
                let disturbed = cross_entropy(&scores, gold, perturb.smoothing);
                metrics.add("choices/perturbed_loss", disturbed.double_value(&[]), 1.0);
                total += disturbed * perturb.weight;
            }
        }
        total
    }

    /// What the choices of held-out rows come to: the loss, whether the likeliest is right, p of the right one; and where there are rationales, p of it without them
    /// (`hidden`), and with each choice's exchanged for its neighbour's (`swapped`).
    pub(super) fn held_out(
        &self,
        worker: &Worker,
        rows: &[&Prompted],
        limit: usize,
    ) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        let (mut kept, mut sequences, mut too_long) = (Vec::new(), Vec::new(), 0);
        for row in rows {
            let (choices, gold) = self.of(&worker.policy.tokenizer, row, &worker.format)?;
            let mut own: Vec<Sequence> = choices.iter().map(|choice| choice.sequence.clone()).collect();
            if self.rationale.is_some() {
                own.extend(choices.iter().map(|choice| {
                    choice.sequence.clone().without(|place| choice.rationale.contains(&place))
                }));
                let (mut rationales, _) = self.choosing().read(&row.example).map_err(Error::Data)?;
                rationales.rotate_left(1);
                let (tokenizer, format) = (&worker.policy.tokenizer, &worker.format);
                let swapped = behind(tokenizer, &row.tokens, &rationales, &row.example.choices, format)?;
                own.extend(swapped.into_iter().map(|choice| choice.sequence));
            }
            match own.iter().any(|sequence| sequence.tokens.len() > limit) {
                true => too_long += 1,
                false => {
                    sequences.extend(own);
                    kept.push((row, choices.len(), gold));
                }
            }
        }
        let logprobs = worker.policy.logprobs(&sequences, 1.0, worker.tokens_per_microbatch)?;
        let mut scores = logprobs.iter().map(|own| mean(own.iter().map(|&logprob| f64::from(logprob))));
        let mut found = Vec::new();
        for (row, count, gold) in kept {
            let mut believed = || softmax(&scores.by_ref().take(count).collect::<Vec<_>>());
            let own = believed();
            let right = own.iter().all(|&p| p <= own[gold]);
            let smoothed = own.iter().map(|p| -p.ln()).sum::<f64>() / count as f64;
            let loss = -(1.0 - self.smoothing) * own[gold].ln() + self.smoothing * smoothed;
            let mut figures =
                vec![("loss", loss), ("accuracy", f64::from(u8::from(right))), ("gold", own[gold])];
            if self.rationale.is_some() {
                figures.extend([("gold_hidden", believed()[gold]), ("gold_swapped", believed()[gold])]);
            }
            let figures = figures.into_iter().map(|(name, value)| (name.to_string(), (value, 1.0))).collect();
            let row_figures = RowFigures { row: row.example.id.clone(), figures, ..RowFigures::default() };
            found.push((row.place, row_figures));
        }
        Ok((found, too_long))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::tests::gradients_agree;
    use crate::model::{Grad, Model};
    use serde_json::Value;
    use std::path::Path;
    use tch::Device;

    /// A row of tests/fixtures/choices/released.json as an item.
    fn item(row: &Value, perturb: &Perturb) -> Item {
        let choice = |choice: &Value| {
            let ids = |key: &str| -> Vec<u32> { serde_json::from_value(choice[key].clone()).unwrap() };
            let [begin, end]: [usize; 2] = serde_json::from_value(choice["rationale"].clone()).unwrap();
            let sequence = Sequence::new(&ids("prompt"), &ids("choice"));
            Choice { sequence, rationale: begin..end, text: String::new() }
        };
        let choices: Vec<Choice> = row["choices"].as_array().unwrap().iter().map(choice).collect();
        let mut sequences: Vec<Sequence> = choices.iter().map(|choice| choice.sequence.clone()).collect();
        sequences.extend(perturb.of(&choices, 64, 7));
        let gold = row["gold"].as_f64().unwrap();
        Item::of(sequences).with(GOLD, gold).with(COUNT, choices.len() as f64)
    }

    /// PINTO's released program, run over rows of which all rationales are hidden or none is disturbed (tests/fixtures/choices/make.py): the
    /// mean loss of the rows, and gradients.
    #[test]
    fn it_agrees_with_the_released_program() {
        let fixture = include_str!("../../../tests/fixtures/choices/released.json");
        let fixture: Value = serde_json::from_str(fixture).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/llama");
        let cases = fixture["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let number = |key: &str| case[key].as_f64().unwrap();
            let perturb = Perturb {
                weight: number("weight"),
                hide: number("hide"),
                replace: 0.0,
                smoothing: number("smoothing"),
            };
            let rows = fixture["rows"].as_array().unwrap();
            let items: Vec<Item> = rows.iter().map(|row| item(row, &perturb)).collect();
            let sequences: Vec<Sequence> = items.iter().flat_map(|item| &item.sequences).cloned().collect();
            let model = Model::load(&folder, Kind::Float, Device::Cpu).unwrap();
            model.train_all();
            let scored = model.score(&sequences, 1.0, Grad::Yes).unwrap();
            let tokens = items.iter().map(Item::learned).sum();
            let weight = items.len() as f64;
            let output = Output { model: &model, scored: &scored, weight, tokens };
            let choices = Choices { perturb: Some(perturb), ..Choices::default() };
            let items: Vec<&Item> = items.iter().collect();
            let loss = choices.loss(&items, &output, &mut Metrics::default()) / weight;
            assert!((loss.double_value(&[]) - number("loss")).abs() < 1e-5, "{loss:?}");
            scored.backward(&loss).unwrap();
            gradients_agree(&model, &case["gradients"]);
        }
    }

    /// Prompts of 2, rationales of 400 and 3 tokens, a choice of one.
    fn choices() -> Vec<Choice> {
        let of = |length: usize| Choice {
            sequence: Sequence::new(&[vec![1, 2], vec![3; length]].concat(), &[4]),
            rationale: 2..2 + length,
            text: String::new(),
        };
        vec![of(400), of(3)]
    }

    #[test]
    fn rationales_are_hidden_together_or_replaced_in_part() {
        let (choices, perturb) = (choices(), Perturb::default());
        let (mut hidden, mut replaced) = (0, 0);
        for seed in 0..400 {
            let found = perturb.of(&choices, 50, seed);
            assert_eq!(found, perturb.of(&choices, 50, seed));
            if found[0].tokens.len() == 3 {
                hidden += 1;
                assert_eq!((&found[0].tokens, &found[1].tokens), (&vec![1, 2, 4], &vec![1, 2, 4]));
                assert_eq!((found[0].position(2), found[1].position(2)), (402, 5));
            } else {
                assert_eq!(found[0].completion(), [4]);
                replaced += found[0].tokens[2..402].iter().filter(|&&token| token != 3).count();
            }
        }
        // Half of them, ± 5 √(n/4); of the others 0.3 · 49/50 of 400 tokens, to within a hundredth.
        assert!((hidden - 200i32).abs() < 50, "{hidden}");
        let share = replaced as f64 / (400.0 * f64::from(400 - hidden));
        assert!((share - 0.294).abs() < 0.01, "{share}");
    }

    #[test]
    fn the_section_is_checked() {
        let bad: Choices = toml::from_str(
            "smoothing = 1.0\nperturb = { weight = 0.0, hide = 2.0, replace = -1.0, smoothing = 1.0 }",
        )
        .unwrap();
        let keys: Vec<String> = bad.check().into_iter().map(|misfit| misfit.key).collect();
        assert_eq!(
            keys,
            [
                "smoothing",
                "perturb",
                "perturb.weight",
                "perturb.hide",
                "perturb.replace",
                "perturb.smoothing"
            ]
        );
        let good: Choices = toml::from_str("rationale = '{{ rationales[at] }}'\nperturb = {}").unwrap();
        assert!(good.check().is_empty());
    }
}
