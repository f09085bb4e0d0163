//! How well labels are told and rationales chosen, on held-out rows: accuracy, agreement with what people marked and, of the rationale, whether
//! the label rests on it (ERASER, DeYoung et al. 2020, arXiv 1911.03429).

use super::ExtractMethod;
use super::item::{Prepared, read};
use super::objective::{labelling, right};
use super::reading::{Masked, Reading};
use super::section::MaskKind;
use crate::batch::{micro_batches, sizes};
use crate::error::Result;
use crate::eval::{Extracted, ExtractedUnit, RowFigures};
use crate::loops::{Section, Worker};
use crate::loss::mask::top;
use crate::model::{Grad, Model};
use crate::rollout::Prompted;
use crate::statistics::spans::{area, places, spans};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// What is told of held-out rows.
pub const FIGURES: &[&str] = &[
    "loss",
    "accuracy",
    "rationale/accuracy",
    "rationale/share",
    "rationale/comprehensiveness",
    "rationale/sufficiency",
    "rationale/aopc_comprehensiveness",
    "rationale/aopc_sufficiency",
    "rationale/token_precision",
    "rationale/token_recall",
    "rationale/token_f1",
    "rationale/iou_f1",
    "rationale/auprc",
];

/// Shares of a text whose best units are kept or left out, for the areas over perturbation (AOPC).
const SHARES: [f64; 5] = [0.01, 0.05, 0.1, 0.2, 0.5];

impl ExtractMethod {
    pub(super) fn measured(
        &self,
        worker: &mut Worker,
        rows: &[Prompted],
    ) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        let found: Vec<(usize, &Prepared)> =
            rows.iter().filter_map(|row| Some((row.place, self.held_out.get(&row.place)?))).collect();
        let read = rows.iter().filter(|row| self.extract.measures(&row.example)).count();
        let prepared: Vec<&Prepared> = found.iter().map(|(_, row)| *row).collect();
        let readings = self.readings(worker, &prepared)?;
        let model = &worker.policy.model;
        let mut figures = Vec::with_capacity(found.len());
        for ((place, row), reading) in found.iter().zip(&readings) {
            let of = tch::no_grad(|| self.row(model, row, reading, worker.tokens_per_microbatch))?;
            figures.push((*place, of));
        }
        Ok((figures, read - found.len()))
    }

    /// What the model says of each row, without gradients.
    pub(super) fn readings(&self, worker: &Worker, rows: &[&Prepared]) -> Result<Vec<Reading>> {
        let model = &worker.policy.model;
        let read: Vec<(Vec<u32>, Vec<usize>)> =
            rows.iter().map(|row| read(&row.document, &self.cue, self.extract.echo)).collect();
        let tokens: Vec<Vec<&[u32]>> = read.iter().map(|(tokens, _)| vec![tokens.as_slice()]).collect();
        let mut found: Vec<Option<Reading>> = rows.iter().map(|_| None).collect();
        for indices in micro_batches(&sizes(&tokens), worker.tokens_per_microbatch) {
            let sequences: Vec<&[u32]> = indices.iter().map(|&at| read[at].0.as_slice()).collect();
            let places: Vec<&[usize]> = indices.iter().map(|&at| read[at].1.as_slice()).collect();
            let states = model.read(&sequences, &places, Grad::No)?.states;
            let lengths: Vec<i64> = places.iter().map(|places| places.len() as i64).collect();
            for (at, states) in indices.into_iter().zip(states.split_with_sizes(&lengths, 0)) {
                found[at] = Some(tch::no_grad(|| Reading::of(model, &self.extract, &states))?);
            }
        }
        Ok(found.into_iter().map(|reading| reading.expect("each is in a micro-batch")).collect())
    }

    /// A row's figures, and its units with their scores.
    fn row(&self, model: &Model, row: &Prepared, reading: &Reading, budget: usize) -> Result<RowFigures> {
        let extract = &self.extract;
        let device = reading.scores.device();
        let units = row.document.units.len();
        let targets: Vec<f32> = row.targets.iter().map(|&target| target as f32).collect();
        let targets = Tensor::from_slice(&targets).to_device(device);
        // Without a mask the units' scores are what leaving each out does to the label.
        let predicted = self.told(&reading.label);
        // Masked texts are read by the second predictor, where there are two; what it loses is counted from what it says of the whole.
        let whole = match extract.two() {
            true => self
                .logits(model, row, &[Tensor::ones([units as i64], (Kind::Float, device))], budget)?
                .get(0),
            false => reading.label.shallow_clone(),
        };
        let base = self.probability(&whole, &predicted);
        let scores = match extract.mask.kind {
            MaskKind::None => {
                let without = Tensor::eye(units as i64, (Kind::Float, device));
                let masks: Vec<Tensor> = (0..units as i64).map(|unit| 1.0 - without.get(unit)).collect();
                let left = self.logits(model, row, &masks, budget)?;
                let of = |unit: i64| (base - self.probability(&left.get(unit), &predicted)) as f32;
                Tensor::from_slice(&(0..units as i64).map(of).collect::<Vec<f32>>()).to_device(device)
            }
            _ => reading.scores.shallow_clone(),
        };
        let selected = match extract.mask.kind {
            MaskKind::None => top(&scores, extract.count(units) as i64),
            _ => reading.selected(extract),
        };
        let mut masks = vec![selected.shallow_clone(), 1.0 - &selected];
        for share in SHARES {
            let best = top(&scores, ((share * units as f64).round() as i64).max(1));
            masks.extend([best.shallow_clone(), 1.0 - best]);
        }
        let logits = self.logits(model, row, &masks, budget)?;
        let rationale = logits.get(0);
        // Where the whole text is not learned, what the rationale tells is the label.
        let (predicted, base) = match extract.whole > 0.0 {
            true => (predicted, base),
            false => {
                let predicted = self.told(&rationale);
                let base = self.probability(&whole, &predicted);
                (predicted, base)
            }
        };
        let lost = |at: usize| base - self.probability(&logits.get(at as i64), &predicted);
        let area_over =
            |from: usize| (0..SHARES.len()).map(|at| lost(from + 2 * at)).sum::<f64>() / SHARES.len() as f64;
        let told = if extract.whole > 0.0 { &reading.label } else { &rationale };
        let mut figures: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        let mut add = |name: &str, value: f64| {
            figures.insert(name.to_string(), (value, 1.0));
        };
        add("loss", labelling(extract).cross_entropy(told, &targets).double_value(&[]));
        add("accuracy", right(extract, &reading.label, &targets));
        add("rationale/accuracy", right(extract, &rationale, &targets));
        add("rationale/share", selected.mean(Kind::Float).double_value(&[]));
        add("rationale/sufficiency", lost(0));
        add("rationale/comprehensiveness", lost(1));
        add("rationale/aopc_sufficiency", area_over(2));
        add("rationale/aopc_comprehensiveness", area_over(3));
        let numbers = |t: &Tensor| Vec::<f32>::try_from(t);
        let (scores, selected) = (numbers(&scores)?, numbers(&selected)?);
        let selected: Vec<bool> = selected.into_iter().map(|kept| kept == 1.0).collect();
        if let Some(marked) = row.document.marked_words().filter(|marked| marked.contains(&true)) {
            let words = row.document.of_words(&selected);
            let soft: Vec<f64> = row.document.of_words(&scores).into_iter().map(f64::from).collect();
            let by_word = places(&words, &marked);
            add("rationale/token_precision", by_word.precision);
            add("rationale/token_recall", by_word.recall);
            add("rationale/token_f1", by_word.f1());
            add("rationale/iou_f1", spans(&words, &marked).f1());
            add("rationale/auprc", area(&soft, &marked));
        }
        let unit = |at: usize| ExtractedUnit {
            text: row.document.text[row.document.units[at].clone()].to_string(),
            score: f64::from(scores[at]),
            selected: selected[at],
            marked: row.document.marked.as_ref().map(|marked| marked[at]),
        };
        let gold = self.labels.iter().zip(&row.targets).filter(|(_, target)| **target == 1.0);
        let extracted = Extracted {
            predicted: self
                .labels
                .iter()
                .zip(&predicted)
                .filter(|(_, yes)| **yes)
                .map(|(label, _)| label.clone())
                .collect(),
            gold: gold.map(|(label, _)| label.clone()).collect(),
            units: (0..units).map(unit).collect(),
        };
        Ok(RowFigures { row: row.id.clone(), figures, extracted: Some(extracted) })
    }

    /// The logits of a row's text under each of `masks [units]`, `[masks, labels]`, in passes of so many tokens.
    fn logits(&self, model: &Model, row: &Prepared, masks: &[Tensor], budget: usize) -> Result<Tensor> {
        let document = &row.document;
        let tokens = [&document.tokens[..], &self.cue].concat();
        let unit_of: Vec<f64> = document.unit_of.iter().map(|&unit| unit as f64).collect();
        let mut all = Vec::new();
        for some in masks.chunks((budget / tokens.len()).max(1)) {
            let mut masked = Masked::default();
            for mask in some {
                masked.push(&tokens, &unit_of, self.cue.len(), mask);
            }
            all.push(masked.read(model)?);
        }
        Ok(Tensor::cat(&all, 0))
    }

    /// Which labels are told.
    fn told(&self, logits: &Tensor) -> Vec<bool> {
        let best = logits.argmax(-1, false).int64_value(&[]) as usize;
        let yes = |at: usize| logits.double_value(&[at as i64]) > 0.0;
        (0..self.labels.len())
            .map(|at| if self.extract.several.is_some() { yes(at) } else { at == best })
            .collect()
    }

    /// The probability of these labels; of several the mean of each one's.
    fn probability(&self, logits: &Tensor, labels: &[bool]) -> f64 {
        let of = |at: usize| match self.extract.several.is_some() {
            true => logits.get(at as i64).sigmoid().double_value(&[]),
            false => logits.softmax(-1, Kind::Float).double_value(&[at as i64]),
        };
        let all = labels.iter().enumerate();
        match self.extract.several.is_some() {
            true => {
                all.map(|(at, yes)| if *yes { of(at) } else { 1.0 - of(at) }).sum::<f64>()
                    / labels.len() as f64
            }
            false => all.filter(|(_, yes)| **yes).map(|(at, _)| of(at)).sum(),
        }
    }
}
