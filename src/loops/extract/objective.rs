//! The loss of a row: how well its label is told by the text and by its rationale, and what a good rationale is besides.

use super::item::{DRAWS, MARKED, NOISED_UNIT_OF, OTHERS, RANDOM, REGULARISED, SHORTCUT, TARGETS, UNIT_OF};
use super::reading::{Masked, Reading, list, noise, of_items};
use super::section::{Against, Extract, Hinge, MaskKind};
use crate::error::Result;
use crate::log::Metrics;
use crate::loops::{Item, Output};
use crate::loss::mask::{
    Labelling, continuity, contrast, distance, hinge, implicit, plausibility, sparsity, top,
};
use tch::{Kind, Tensor};

/// The numbers of the passes of a row in the pass of all.
#[derive(Debug, Default)]
struct Passes {
    rationale: Option<usize>,
    complement: Option<usize>,
    random: Option<(usize, Tensor)>,
    shortcut: Option<usize>,
    marked: Option<usize>,
    others: Vec<usize>,
}

/// What the loss is made of beside the model.
#[derive(Debug, Clone, Copy)]
pub struct Objective<'a> {
    /// The section.
    pub extract: &'a Extract,
    /// Tokens of the cue.
    pub cue: usize,
    /// AIMLE's β.
    pub beta: f64,
}

impl Objective<'_> {
    /// The *sum* of the rows' losses, whose gradient reaches the selector; adds figures.
    pub fn sum(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        let (extract, states) = (self.extract, &output.scored.states);
        let (mut rows, mut masked) = (Vec::new(), Masked::default());
        for (item, states) in items.iter().zip(of_items(items, states)) {
            let reading = Reading::of(output.model, extract, &states)?;
            let mask = reading.mask(extract, item);
            let passes = self.passes(item, &mask, &mut masked);
            rows.push((item, reading, mask, passes));
        }
        let logits = if masked.is_empty() { None } else { Some(masked.read(output.model)?) };
        metrics.count("masked_tokens", masked.tokens() as f64);
        let mut total = Tensor::zeros([], (Kind::Float, states.device()));
        for (item, reading, mask, passes) in &rows {
            total += self.row(item, reading, mask, passes, logits.as_ref(), metrics);
        }
        if extract.mask.kind == MaskKind::TopK {
            let masks: Vec<&Tensor> = rows.iter().map(|(_, _, mask, _)| mask).collect();
            let gradients = Tensor::run_backward(&[&total], &masks, true, false);
            for ((item, reading, mask, _), by_mask) in rows.iter().zip(gradients) {
                let reached = by_mask.defined();
                let by_mask = if reached { by_mask } else { mask.zeros_like() };
                let noise = noise(item, &list(item, DRAWS, mask));
                let by_scores =
                    implicit(&reading.scores, &noise, &by_mask, reading.count(extract), self.beta);
                let moved = by_scores.ne(0.0).to_kind(Kind::Float).sum(Kind::Float).double_value(&[]);
                // A step without regularisers says nothing about β where the loss does not read the mask.
                if reached {
                    metrics.add("mask/moved", moved, 1.0);
                }
                let surrogate = (&reading.scores * by_scores).sum(Kind::Float);
                total += &surrogate - surrogate.detach();
            }
        }
        Ok(total)
    }

    /// Lays out what has to be read for a row.
    fn passes(&self, item: &Item, mask: &Tensor, masked: &mut Masked) -> Passes {
        let extract = self.extract;
        let regularised = item.number(REGULARISED) == 1.0;
        let text = (&item.sequences[0].tokens, item.list(UNIT_OF));
        let noised = item.sequences.get(1).map(|noised| (&noised.tokens, item.list(NOISED_UNIT_OF)));
        let mut push = |(tokens, unit_of): (&Vec<u32>, &[f64]), mask: &Tensor| {
            masked.push(tokens, unit_of, self.cue, mask)
        };
        let weighs = |weight: f64| regularised && weight > 0.0;
        let against = extract.comprehensive.against == Against::Rationale;
        let needs_rationale = extract.rationale > 0.0
            || weighs(extract.sufficient.weight)
            || weighs(extract.singular.weight)
            || weighs(extract.couple)
            || (against && weighs(extract.comprehensive.weight));
        let mut passes = Passes::default();
        if needs_rationale {
            passes.rationale = Some(push(noised.unwrap_or(text), mask));
        }
        if weighs(extract.comprehensive.weight) {
            passes.complement = Some(push(text, &(1.0 - mask)));
        }
        if weighs(extract.singular.weight) {
            let count = mask.detach().sum(Kind::Float).round().int64_value(&[]);
            let random = top(&list(item, RANDOM, mask), count);
            passes.random = Some((push(text, &random), random));
        }
        if weighs(extract.shortcut) && item.list(SHORTCUT).contains(&1.0) {
            passes.shortcut = Some(push(text, &list(item, SHORTCUT, mask)));
        }
        let marks = item.list(MARKED);
        let (some, all) = (marks.iter().filter(|mark| **mark == 1.0).count(), marks.len());
        if weighs(extract.contrast.weight) && some > 0 && some < all {
            let marked = list(item, MARKED, mask);
            passes.marked = Some(push(text, &marked));
            let draws = list(item, OTHERS, mask).view([-1, all as i64]);
            for other in 0..draws.size()[0] {
                // Marked units come last, and so are drawn where there are no others left, of which there is one at least.
                let order = draws.get(other) - &marked * 2.0;
                passes.others.push(push(text, &top(&order, some.min(all - some) as i64)));
            }
        }
        passes
    }

    fn row(
        &self,
        item: &Item,
        reading: &Reading,
        mask: &Tensor,
        passes: &Passes,
        logits: Option<&Tensor>,
        metrics: &mut Metrics,
    ) -> Tensor {
        let extract = self.extract;
        let device = mask.device();
        let targets = list(item, TARGETS, mask);
        let labelling = labelling(extract);
        let of = |pass: usize| logits.expect("what is asked for was read").get(pass as i64);
        let loss_of = |logits: &Tensor| labelling.cross_entropy(logits, &targets);
        let whole = loss_of(&reading.label);
        let rationale = passes.rationale.map(|pass| loss_of(&of(pass)));
        let mut parts: Vec<(&str, f64, Tensor)> = vec![("whole", extract.whole, whole.shallow_clone())];
        parts.extend(rationale.iter().map(|loss| ("rationale", extract.rationale, loss.shallow_clone())));
        let regularised = item.number(REGULARISED) == 1.0;
        if regularised && extract.mask.kind != MaskKind::None {
            // How many are selected is fixed there, so that nothing is to be learned of it.
            let fixed = matches!(extract.mask.kind, MaskKind::TopK | MaskKind::Attention);
            let sized = if fixed { mask.detach() } else { mask.shallow_clone() };
            parts.push(("sparsity", extract.sparsity, sparsity(&sized, extract.share)));
            parts.push(("continuity", extract.continuity, continuity(mask)));
            if !item.list(MARKED).is_empty() {
                parts.push((
                    "plausible",
                    extract.plausible,
                    plausibility(&reading.scores, &list(item, MARKED, mask)),
                ));
            }
        }
        let kept = rationale.as_ref().unwrap_or(&whole);
        if let Some(pass) = passes.complement {
            let Hinge { weight, margin, against } = extract.comprehensive;
            let better = if against == Against::Rationale { kept } else { &whole };
            parts.push(("comprehensive", weight, hinge(better, &loss_of(&of(pass)), margin)));
        }
        if regularised && extract.sufficient.weight > 0.0 {
            let term = hinge(kept, &whole, extract.sufficient.margin);
            parts.push(("sufficient", extract.sufficient.weight, term));
        }
        if let Some((pass, random)) = &passes.random {
            let term = hinge(kept, &loss_of(&of(*pass)), extract.singular.margin) * distance(mask, random);
            parts.push(("singular", extract.singular.weight, term));
        }
        if let Some(pass) = passes.shortcut {
            parts.push(("shortcut", extract.shortcut, labelling.from_uniform(&of(pass))));
        }
        if let Some(pass) = passes.rationale.filter(|_| regularised && extract.couple > 0.0) {
            let (one, other) = (&reading.label, of(pass));
            let both =
                labelling.divergence(one, &other.detach()) + labelling.divergence(&one.detach(), &other);
            parts.push(("couple", extract.couple, both));
        }
        if let Some(pass) = passes.marked {
            let gold = |logits: &Tensor| {
                (logits * &targets).sum(Kind::Float) / targets.sum(Kind::Float).clamp_min(1.0)
            };
            let others: Vec<Tensor> = passes.others.iter().map(|other| gold(&of(*other))).collect();
            parts.push((
                "contrast",
                extract.contrast.weight,
                contrast(&gold(&of(pass)), &Tensor::stack(&others, 0)),
            ));
        }
        let mut total = Tensor::zeros([], (Kind::Float, device));
        for (name, weight, term) in parts.into_iter().filter(|(_, weight, _)| *weight > 0.0) {
            metrics.add(&format!("extract/{name}"), term.double_value(&[]), 1.0);
            total += term * weight;
        }
        if extract.mask.kind != MaskKind::None {
            metrics.add("mask/share", mask.detach().mean(Kind::Float).double_value(&[]), 1.0);
        }
        metrics.add("accuracy", right(extract, &reading.label, &targets), 1.0);
        total
    }
}

/// What a label is.
pub fn labelling(extract: &Extract) -> Labelling {
    if extract.several.is_some() { Labelling::Several } else { Labelling::Single }
}

/// 1 where the label is right, 0 where not; of several labels the share that is told rightly.
pub fn right(extract: &Extract, logits: &Tensor, targets: &Tensor) -> f64 {
    let told = match extract.several.is_some() {
        true => logits.gt(0.0).eq_tensor(&targets.gt(0.5)).to_kind(Kind::Float).mean(Kind::Float),
        false => logits.argmax(-1, false).eq_tensor(&targets.argmax(-1, false)).to_kind(Kind::Float),
    };
    told.double_value(&[])
}
