//! The training loop: a lesson's batches, in micro-batches, into updates of the weights.

use super::session::Session;
use super::stage::Opened;
use crate::batch::{computed, micro_batches};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::{Batch, Lesson, Pass, Update};
use crate::model::layout::sizes;
use crate::optim::AdamW;
use crate::rollout::Trace;
use std::collections::BTreeMap;
use std::time::Instant;

/// Trains `lesson` to the stage's last step, from wherever its checkpoints have come.
pub fn train<L: Lesson>(lesson: &mut L, opened: &mut Opened, session: &mut Session) -> Result<()> {
    let mut optim = AdamW::new(opened.worker.policy.model.parameters(), &opened.stage.optim)?;
    let kept = session.kept(opened)?;
    if let Some(found) = lesson.begin(&mut opened.worker, kept)? {
        session.keep(opened, found)?;
    }
    let start = session.restore(opened, &mut optim)?;
    if start > 0 {
        let opened = &*opened;
        lesson.go_on(&opened.position)?;
        lesson.resume(&opened.worker, &mut || session.traces(opened))?;
    }
    if start == 0 && opened.stage.eval.as_ref().is_some_and(|eval| eval.due(0, opened.steps)) {
        session.evaluate(opened, 0)?;
    }
    if opened.steps == 0 {
        return session.mark(opened, 0);
    }
    for step in start + 1..=opened.steps {
        let lr = opened.stage.optim.lr(step - 1, opened.steps);
        if lesson.begins_anew(&opened.worker, step) {
            optim = AdamW::new(opened.worker.policy.model.parameters(), &opened.stage.optim)?;
        }
        one(lesson, opened, session, &mut optim, step, lr)?;
        if opened.stage.eval.as_ref().is_some_and(|eval| eval.due(step, opened.steps)) {
            session.evaluate(opened, step)?;
        }
        session.checkpoint(opened, &optim, step)?;
    }
    Ok(())
}

/// One step, written and shown.
pub fn one<L: Lesson>(
    lesson: &mut L,
    opened: &mut Opened,
    session: &mut Session,
    optim: &mut AdamW,
    step: usize,
    lr: f64,
) -> Result<()> {
    let mut metrics = Metrics::default();
    let began = Instant::now();
    let batch = lesson.batch(&mut opened.worker, step, &mut metrics)?;
    let sampled = began.elapsed().as_secs_f64();
    for update in &batch.updates {
        let norm = learn(lesson, &batch, update, opened, optim, lr, &mut metrics)?;
        metrics.add("grad_norm", norm, 1.0);
    }
    lesson.finish(&mut opened.worker, step, &metrics)?;
    if let Some(position) = lesson.position() {
        opened.position = position;
    }
    let seconds = began.elapsed().as_secs_f64();
    let tokens: usize = batch.items.iter().map(|item| size(lesson, item)).sum();
    opened.tokens += tokens;
    metrics.set("learning_rate", lr);
    metrics.set("updates", batch.updates.len() as f64);
    metrics.set("num_tokens", opened.tokens as f64);
    metrics.set("step_time", seconds);
    if batch.sampled_tokens > 0 {
        metrics.set("time/sampling_and_scoring", sampled);
    }
    metrics.set("time/learning", seconds - sampled);
    metrics.set("tokens_per_second", tokens as f64 / seconds);
    session.report(opened, step, &traces(&batch, step), &metrics)
}

/// One update: the gradient of Σ loss / weight, whatever micro-batches it came in. Returns its norm before clipping.
fn learn<L: Lesson>(
    lesson: &L,
    batch: &Batch<L::Item>,
    update: &Update,
    opened: &mut Opened,
    optim: &mut AdamW,
    lr: f64,
    metrics: &mut Metrics,
) -> Result<f64> {
    let mut by_adapter: BTreeMap<Option<&str>, Vec<&L::Item>> = BTreeMap::new();
    for item in update.items.iter().map(|&index| &batch.items[index]) {
        by_adapter.entry(lesson.adapter(item)).or_default().push(item);
    }
    let mut total = 0.0;
    for (adapter, items) in by_adapter {
        adapter.map_or(Ok(()), |name| opened.worker.policy.model.turn_to(name))?;
        let model = &opened.worker.policy.model;
        let sizes = sizes(items.iter().map(|item| (lesson.sequences(item), &[][..])));
        for indices in micro_batches(&sizes, opened.worker.tokens_per_microbatch) {
            let picked: Vec<&L::Item> = indices.iter().map(|&index| items[index]).collect();
            let (temperature, weight) = (batch.temperature, update.weight);
            let computed = metrics.get("computed_tokens").unwrap_or(0.0) + computed(&sizes, &indices) as f64;
            metrics.set("computed_tokens", computed);
            total += lesson.learn(Pass { model, items: &picked, temperature, weight, metrics })?;
            optim.accumulate()?;
        }
    }
    if !total.is_finite() {
        return Err(Error::Torch(tch::TchError::Torch(format!(
            "the loss is {total}; a lower optim.lr, or policy.dtype = \"f32\", may help"
        ))));
    }
    metrics.add("loss", total, 1.0);
    let norm = optim.clip(opened.stage.optim.max_grad_norm)?;
    optim.step(lr)?;
    optim.zero_grad()?;
    Ok(norm)
}

/// Tokens of an item.
fn size<L: Lesson>(lesson: &L, item: &L::Item) -> usize {
    lesson.sequences(item).iter().map(|sequence| sequence.tokens.len()).sum()
}

fn traces<Item>(batch: &Batch<Item>, step: usize) -> Vec<Trace> {
    let of_group = |(group, credit): &(crate::rollout::Group, Vec<Option<f64>>)| {
        credit
            .iter()
            .enumerate()
            .map(|(i, advantage)| Trace::of(group, i, step, *advantage))
            .collect::<Vec<_>>()
    };
    batch.groups.iter().flat_map(of_group).collect()
}
