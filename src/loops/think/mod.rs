//! Quiet-STaR (Zelikman et al. 2024, arXiv 2403.09629): a language model that thinks before each token of ordinary text, and learns those
//! thoughts that make the text behind them likelier.

mod held_out;
mod section;
mod window;

pub use section::Think;

use super::{Batch, Item, LearnedOf, Method, Needs, Output, Section, Selects, Setup, StageView, Worker};
use crate::data::row::Problems;
use crate::data::{Example, Prompted, Tokenizer, given};
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::eval::RowFigures;
use crate::log::Metrics;
use crate::loss::thought::{ThoughtTokens, ThoughtWeights};
use crate::model::{Config, Sequence};
use crate::rollout::Seeds;
use crate::section::{Idle, Misfit};
use crate::seed;
use tch::{Kind, Tensor};
use window::{Window, said, thoughts};

impl Section for Think {
    fn check(&self) -> Vec<Misfit> {
        Think::check(self)
    }

    fn needs(&self, _: &StageView) -> Needs {
        let step = match self.positions {
            Some(0) => None,
            places => {
                let places = places.map_or("every place".to_string(), |places| format!("{places} places"));
                Some(format!(
                    "{} thoughts of {} tokens at {places} of each row's window",
                    self.passes, self.thought
                ))
            }
        };
        Needs {
            trains: true,
            rows: true,
            undivided: true,
            formless: true,
            selects: Selects::Nothing,
            step,
            ..Needs::default()
        }
    }

    fn learned_of(&self, tokenizer: &Tokenizer, row: &Prompted) -> Result<Vec<LearnedOf>> {
        let Some(mut tokens) = text(tokenizer, row)? else { return Ok(vec![]) };
        tokens.truncate(self.window);
        let sequence = Sequence::of_spans(tokens.clone(), std::iter::once(1..tokens.len().max(1)))?;
        Ok(vec![LearnedOf { called: "text".into(), sequence }])
    }

    fn figures(&self) -> &'static [&'static str] {
        held_out::FIGURES
    }

    fn measures(&self, row: &Example) -> bool {
        row.completion.is_some()
    }

    fn idle(&self) -> Vec<Idle> {
        let learned = ["positive_only", "policy_temperature"];
        let thoughts = ["thought", "passes", "policy_weight", "temperature"];
        match (self.positions, self.policy_weight) {
            (Some(0), _) => {
                thoughts.into_iter().chain(learned).map(|key| (key, "with positions = 0")).collect()
            }
            (_, 0.0) => learned.map(|key| (key, "with policy_weight = 0")).into(),
            _ => vec![],
        }
    }

    fn fits_model(&self, _tokenizer: &Tokenizer, shape: &Config) -> Vec<Misfit> {
        self.too_wide(shape.context()).into_iter().collect()
    }

    /// As for fine-tuning; the released code goes on with a pretrained model at 1e-6.
    fn learning_rate(&self) -> f64 {
        2e-5
    }

    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>> {
        let mut problems = Problems::default();
        for row in setup.rows.examples.iter().filter(|row| row.completion.is_none()) {
            problems.example(row, "it has no text to learn: give it a column `text`, or what it is to be followed by in `completion`");
        }
        problems.into_result()?;
        given::refuse(&setup.rows.examples, "loop.think learns")?;
        Ok(Box::new(ThinkMethod { think: self.clone() }))
    }
}

/// The tokens of the row, prompt and completion.
fn text(tokenizer: &Tokenizer, row: &Prompted) -> Result<Option<Vec<u32>>> {
    let Some(completion) = &row.example.completion else { return Ok(None) };
    Ok(Some([&row.tokens[..], &row.completion(tokenizer, completion)?].concat()))
}

/// The method at work.
struct ThinkMethod {
    think: Think,
}

impl ThinkMethod {
    /// Samples `passes` thoughts at each place of each window; `seed` of window, place and pass.
    fn thoughts(
        &self,
        worker: &mut Worker,
        windows: &[Window],
        passes: usize,
        seed: impl Fn(usize, u64, u64) -> u64,
    ) -> Result<Vec<Vec<Vec<Vec<u32>>>>> {
        let [start, _] = worker.policy.model.marks();
        let requests: Vec<_> = windows
            .iter()
            .enumerate()
            .flat_map(|(at, window)| window.requests(start, passes, |place, pass| seed(at, place, pass)))
            .collect();
        let (max_new_tokens, temperature) = (self.think.sampled(), self.think.temperature);
        let sampling = Sampling { max_new_tokens, temperature, ..Sampling::default() };
        let written = worker.policy.thinker().generate(&requests, &sampling, &mut worker.progress)?;
        let mut all = written.completions.into_iter();
        let of_window = |window: &Window| {
            let places = all.by_ref().take(window.places.len());
            places.map(|thoughts| thoughts.into_iter().map(|thought| thought.tokens).collect()).collect()
        };
        Ok(windows.iter().map(of_window).collect())
    }

    fn figures(&self, all: &ThoughtTokens, share: &Tensor, metrics: &mut Metrics) {
        let rewards = all.rewards();
        let count = rewards.numel() as f64;
        let mut add = |name: &str, values: &Tensor| {
            metrics.add(name, values.mean(Kind::Float).double_value(&[]), count)
        };
        add("thoughts/reward", &rewards);
        add("thoughts/helpful", &rewards.gt(1e-4).to_kind(Kind::Float));
        add("thoughts/nll_without", &all.base);
        add("thoughts/nll", &all.mixed);
        add("thoughts/share", share);
        add("thoughts/logprob", &all.logprobs);
    }
}

impl Method for ThinkMethod {
    /// Gives the model what it thinks with, where it has it not from an earlier stage.
    fn begin(&mut self, worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        let think = &self.think;
        if let Some(misfit) = think.too_wide(worker.policy.context()) {
            return Err(Error::Recipe(misfit.sentence()));
        }
        let like = match &think.init_from {
            None => vec![],
            Some(text) => worker.policy.tokenizer.encode(text)?,
        };
        let seed = seed::derive(&[worker.seed, seed::of_text("thoughts")]);
        let model = &mut worker.policy.model;
        model.add_thoughts(&like, think.lr_scale, seed);
        for (_, tensor) in model.thoughts.iter().flat_map(|thoughts| thoughts.tensors()) {
            let _ = tensor.set_requires_grad(true);
        }
        worker.policy.weights_changed();
        Ok(None)
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let rows = worker.questions.of_step(step);
        let seeds = Seeds::new(&[worker.seed, step as u64], &rows);
        let mut windows = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let text = text(&worker.policy.tokenizer, row)?.unwrap_or_default();
            windows.push(Window::of(&text, &self.think, seeds.draw(at, &[])));
        }
        let passes = self.think.passes;
        let sampled =
            self.thoughts(worker, &windows, passes, |at, place, pass| seeds.draw(at, &[place, pass]))?;
        let marks = worker.policy.model.marks();
        let thought = windows.iter().zip(&sampled).zip(&rows);
        let items: Vec<Item> = thought
            .map(|((window, thoughts), row)| window.item(&row.example.id, thoughts, marks, self.think.ahead))
            .collect();
        let count: usize = items.iter().map(thoughts).sum();
        metrics.count("thoughts", count as f64);
        let batch = match self.think.positions {
            Some(0) => Batch::of_completions(items),
            _ => Batch::whole(items, count as f64),
        };
        Ok(Batch { sampled_tokens: count * self.think.sampled(), ..batch })
    }

    /// Times the update's weight, of the update's tokens and thoughts: w₀ · mean NLL⁰ + (1 − w₀) · mean NLL^τ − w_π · mean A log p(τ).
    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        let (think, scored) = (&self.think, output.scored);
        let learned = scored.logprobs.size()[0];
        if learned > 0 {
            metrics.add("entropy", scored.entropy.mean(Kind::Float).double_value(&[]), learned as f64);
        }
        let text = scored.logprobs.sum(Kind::Float).neg();
        let base = text * (think.base_weight * output.weight / output.tokens.max(1) as f64);
        let Some(said) = said(output.model, items, scored, think.policy_temperature) else {
            return Ok(base);
        };
        let all = said.tokens();
        self.figures(&all, &said.share, metrics);
        let weights = ThoughtWeights {
            mixed: 1.0 - think.base_weight,
            policy: think.policy_weight,
            positive: think.positive_only,
        };
        Ok(base + said.loss(&all, &weights))
    }

    fn held_out(&self, worker: &mut Worker, rows: &[Prompted]) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        self.measured(worker, rows)
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

    /// The whole loss against one that reads each thought as a sequence of its own, in torch and transformers
    /// (tests/fixtures/thoughts/make.py): value, rewards and gradients; with and without checkpointing, in one pass or in one a text.
    #[test]
    fn it_agrees_with_thoughts_that_are_read_one_by_one() {
        agrees("", "expected.json");
    }

    /// The same against Quiet-STaR's released program, run with thoughts that it sampled (tests/fixtures/thoughts/released.py).
    #[test]
    fn it_agrees_with_the_released_program() {
        agrees("released", "ahead_1.json");
        agrees("released", "ahead_3.json");
    }

    fn agrees(folder: &str, expected: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/thoughts").join(folder);
        let expected = std::fs::read_to_string(folder.join(expected)).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let number = |key: &str| expected[key].as_f64().unwrap();
        let ahead = number("ahead") as usize;
        let think = Think {
            ahead,
            base_weight: number("base_weight"),
            policy_weight: number("policy_weight"),
            policy_temperature: number("policy_temperature"),
            ..Think::default()
        };
        let method = ThinkMethod { think };
        for (checkpointing, together) in [(false, true), (true, true), (false, false)] {
            let mut model = Model::load(&folder, Kind::Float, Device::Cpu).unwrap();
            model.checkpointing = checkpointing;
            model.train_all();
            for (_, tensor) in model.thoughts.as_ref().unwrap().tensors() {
                let _ = tensor.set_requires_grad(true);
            }
            let item = |text: &Value| {
                let list = |key: &str| serde_json::from_value(text[key].clone());
                let window = Window {
                    tokens: list("tokens").unwrap(),
                    places: serde_json::from_value(text["places"].clone()).unwrap(),
                };
                let thoughts: Vec<Vec<Vec<u32>>> = serde_json::from_value(text["thoughts"].clone()).unwrap();
                window.item("a text", &thoughts, model.marks(), ahead)
            };
            let items: Vec<Item> = expected["texts"].as_array().unwrap().iter().map(item).collect();
            let weight = items.iter().map(thoughts).sum::<usize>() as f64;
            let tokens = items.iter().map(Item::learned).sum();
            let (mut total, mut metrics) = (0.0, Metrics::default());
            for part in items.chunks(if together { 2 } else { 1 }) {
                let part: Vec<&Item> = part.iter().collect();
                let sequences: Vec<Sequence> =
                    part.iter().flat_map(|item| &item.sequences).cloned().collect();
                let places: Vec<&[usize]> =
                    part.iter().flat_map(|item| &item.places).map(Vec::as_slice).collect();
                let scored = model.score_and_read(&sequences, &places, 1.0, Grad::Yes).unwrap();
                let output = Output { model: &model, scored: &scored, weight, tokens };
                let loss = method.loss(&part, &output, &mut metrics).unwrap() / weight;
                total += loss.double_value(&[]);
                scored.backward(&loss).unwrap();
            }
            assert!((total - number("loss")).abs() < 1e-5, "{total}");
            let rewards: Vec<Vec<f64>> = serde_json::from_value(expected["rewards"].clone()).unwrap();
            let mean = rewards.concat().iter().sum::<f64>() / weight;
            assert!((metrics.get("thoughts/reward").unwrap() - mean).abs() < 1e-5);
            assert!((metrics.get("thoughts/share").unwrap() - number("share")).abs() < 1e-5);
            gradients_agree(&model, &expected["gradients"]);
        }
    }

    fn think(text: &str) -> Think {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn windows_and_places_are_drawn_by_their_seed() {
        let text: Vec<u32> = (0..50).collect();
        let of = |draw| Window::of(&text, &think("window = 16\nahead = 4\npositions = 5"), draw);
        let window = of(1);
        assert_eq!(window, of(1));
        assert_ne!(window, of(2));
        assert_eq!((window.tokens.len(), window.places.len()), (16, 5));
        // Four tokens behind the last place, and no place twice.
        assert!(window.places.windows(2).all(|two| two[0] < two[1]) && *window.places.last().unwrap() < 12);
        assert!(window.tokens.windows(2).all(|two| two[0] + 1 == two[1]));
        let all = Window::of(&text[..9], &think("ahead = 4"), 3);
        assert_eq!((all.tokens.len(), all.places), (9, (0..5).collect()));
        assert_eq!(Window::of(&text[..3], &think("ahead = 4"), 3).places, [0; 0]);
        let starts: std::collections::HashSet<u32> = (0..200).map(|draw| of(draw).tokens[0]).collect();
        assert_eq!(starts.len(), 35, "all of 0 to 34 come up");
        assert_eq!(Window::last(&text, 3), Window { tokens: vec![47, 48, 49], places: vec![0, 1] });
    }

    /// Text a b c d, a thought x y behind b, two tokens ahead: a b [ x y ] c, where [ predicts x, x predicts y, ] predicts c and c predicts d.
    #[test]
    fn what_is_read_of_a_thought() {
        let window = Window { tokens: vec![1, 2, 3, 4], places: vec![1] };
        let item = window.item("id", &[vec![vec![8, 9]]], [20, 21], 2);
        assert_eq!(item.sequences[1].tokens, [1, 2, 20, 8, 9, 21, 3]);
        assert_eq!(item.places, [vec![1, 2], vec![2, 3, 5, 6]]);
        assert_eq!((item.learned(), thoughts(&item)), (3, 1));
        assert_eq!(window.requests(20, 2, |place, pass| 10 * place + pass)[0].seeds, [10, 11]);
        assert_eq!(window.requests(20, 2, |_, _| 0)[0].prompt, [1, 2, 20]);
    }
}
