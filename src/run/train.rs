//! The training loop: a method's batches, in micro-batches, into updates of the weights.

use super::rescue::{Before, Reached, made_or_saved};
use super::session::Session;
use super::stage::{Opened, Unsettled};
use super::stop;
use super::traced::traces;
use crate::batch::{computed, micro_batches};
use crate::devices::torch::peak_since;
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::{Batch, Item, Method, Output, Pace, Steps, Update};
use crate::model::layout::sizes;
use crate::model::{Grad, Model, Sequence};
use crate::optim::{Optimizer, steadier};
use crate::ranks::{agreed, timeline};
use std::collections::BTreeMap;
use std::time::Instant;
use tch::{Kind, Tensor};

/// Takes the stage to its last step, from wherever its checkpoints have come. A step's checkpoint is written before its evaluation,
/// which so can take long, fail or be cut short without a loss.
pub fn train(method: &mut dyn Method, opened: &mut Opened, session: &mut Session) -> Result<()> {
    to_the_end(method, opened, session)?;
    if opened.stage.needs().trains && opened.steps > 0 && !opened.learned && session.ranks.is_first() {
        tracing::warn!(
            "no step of stage `{}` had anything to learn: its weights are those that it began with",
            opened.name
        );
    }
    write_timeline(opened, session)
}

fn to_the_end(method: &mut dyn Method, opened: &mut Opened, session: &mut Session) -> Result<()> {
    let needs = opened.stage.needs();
    let ranks = session.ranks.clone();
    let restoring = timeline::phase("restoring");
    let begun = begin(method, opened, session, needs.trains);
    drop(restoring);
    let (start, mut optim) = agreed(&*ranks, begun)?;
    let evaluates = |step: usize, opened: &Opened| {
        opened.stage.eval.as_ref().is_some_and(|eval| eval.due(step, opened.steps))
    };
    let unsettled = opened.unsettled.take();
    let was_due = unsettled.is_some();
    let mut over = match unsettled {
        Some(mut unsettled) => settle(method, opened, session, start, &mut unsettled)?,
        None => false,
    };
    if start == 0 && needs.trains && evaluates(0, opened) {
        session.evaluate(method, opened, 0)?;
    }
    if opened.steps == 0 && start == 0 {
        return session.save(opened, None, 0, None);
    }
    if needs.steps == Steps::OfRun && start >= opened.steps {
        return session.end_at(method, opened, start, !was_due);
    }
    over |= matches!(needs.steps, Steps::Exactly(_)) && method.over(start);
    if over {
        return Ok(());
    }
    let mut reached = Reached::saved(start);
    for step in start + 1.. {
        let (pace, metrics) = one(method, opened, session, &mut optim, (step, reached))?;
        write_timeline(opened, session)?;
        let (stop, by_time) = session.asked_of(Some(opened))?;
        let due = match pace {
            Pace::Step if needs.trains => evaluates(step, opened),
            Pace::Step => opened.stage.eval.is_some() && step == opened.steps,
            Pace::Sampling { .. } => false,
            Pace::Round { at, of, .. } => at == of && opened.stage.eval.is_some(),
        };
        let checkpoint = &opened.stage.checkpoint;
        let saves = match pace {
            Pace::Step => due || stop || by_time || checkpoint.due(step, opened.steps),
            Pace::Sampling { .. } => false,
            Pace::Round { at, of, .. } => due || stop || by_time || checkpoint.due(at, of),
        };
        // What begins a round has an optimiser of its own.
        let goes_on = !matches!(pace, Pace::Round { at, of, .. } if at == of);
        let of_round = pace != Pace::Step;
        let mut unsettled = Unsettled { metrics, evaluates: due, of_round };
        // Without an evaluation nothing is left to do once it is saved.
        let mut last = !due && settle(method, opened, session, step, &mut unsettled)?;
        if saves || last {
            opened.state = method.state_dict();
            let left = due.then_some(&unsettled);
            session
                .save(opened, optim.as_ref().filter(|_| goes_on), step, left)
                .inspect_err(|error| reached.tell(error, opened, session))?;
            reached = Reached::saved(step);
        } else {
            reached = reached.unsaved(step, !matches!(pace, Pace::Sampling { .. }));
        }
        if stop && !last {
            return Err(stopped(opened, step, saves));
        }
        last |= due
            && settle(method, opened, session, step, &mut unsettled)
                .inspect_err(|error| reached.tell(error, opened, session))?;
        if last {
            break;
        }
        session.report_where_due();
        if due && session.asked()? {
            return Err(stopped(opened, step, saves));
        }
    }
    write_timeline(opened, session)
}

/// Writes what this rank has done since it last did, where the recipe has it traced.
fn write_timeline(opened: &Opened, session: &Session) -> Result<()> {
    if !opened.stage.devices.trace {
        return Ok(());
    }
    let written = timeline::write(&session.dir.path().join("timeline"), session.ranks.rank());
    agreed(&*session.ranks, written)
}

fn stopped(opened: &Opened, step: usize, saved: bool) -> Error {
    stop::stopped(&match saved {
        true => format!("stage `{}` is saved after step {step} of {}", opened.name, opened.steps),
        false => format!("what stage `{}` has sampled for its next round is saved", opened.name),
    })
}

/// What comes after a step: its evaluation, of which its checkpoint is told; whether the stage is over.
fn settle(
    method: &mut dyn Method,
    opened: &mut Opened,
    session: &mut Session,
    step: usize,
    unsettled: &mut Unsettled,
) -> Result<bool> {
    if unsettled.evaluates {
        unsettled.metrics.extend(session.evaluate(method, opened, step)?);
        unsettled.evaluates = false;
        session.note(opened, step, Some(unsettled))?;
    }
    let ranks = session.ranks.clone();
    if !opened.stage.needs().rows_alone {
        opened.gather()?;
    }
    let ended = agreed(&*ranks, method.after(&mut opened.worker, step, &unsettled.metrics))?;
    Ok(ended || (!unsettled.of_round && step >= opened.steps))
}

/// Begins the stage where its checkpoints have come to: the steps that are done, and the optimiser as it was then.
fn begin(
    method: &mut dyn Method,
    opened: &mut Opened,
    session: &mut Session,
    trains: bool,
) -> Result<(usize, Option<Optimizer>)> {
    let kept = session.kept(opened)?;
    if let Some(found) = method.begin(&mut opened.worker, kept)? {
        session.keep(opened, found)?;
    }
    let (start, optim) = session.restore(opened, trains)?;
    if start > 0 {
        let (name, round) = (&opened.name, opened.round);
        let mut traces = || session.traces(name, round);
        method.load_state_dict(&mut opened.worker, &opened.state, &mut traces)?;
    }
    Ok((start, optim))
}

/// One step, written and shown. Where it fails before its update, the one before it is saved.
fn one(
    method: &mut dyn Method,
    opened: &mut Opened,
    session: &mut Session,
    optim: &mut Option<Optimizer>,
    (step, reached): (usize, Reached),
) -> Result<(Pace, Metrics)> {
    let needs = opened.stage.needs();
    let mut metrics = Metrics::default();
    let began = Instant::now();
    let ranks = session.ranks.clone();
    // What samples and is saved is active between steps, whichever adapters a step turns to.
    let adapter = opened.worker.policy.model.active_adapter();
    let sampling = timeline::phase(if needs.rollouts { "sampling" } else { "batch" });
    if !needs.rows_alone {
        opened.gather()?;
    }
    let before = Before::of(method, opened);
    let made = method.batch(&mut opened.worker, step, &mut metrics);
    let batch = made_or_saved(made, before, reached, opened, session, optim.as_ref())?;
    drop(sampling);
    let sampled = began.elapsed().as_secs_f64();
    let pace = batch.pace;
    let (done, of) = match pace {
        Pace::Step => (step - 1, opened.steps),
        Pace::Sampling { stage } => {
            session.expect(opened, stage);
            (0, 1)
        }
        Pace::Round { at, of, stage } => {
            session.expect(opened, stage);
            (at - 1, of)
        }
    };
    let learns = needs.trains && !matches!(pace, Pace::Sampling { .. });
    let mut items_tokens = 0;
    if learns {
        if let (false, None, Some(why)) = (batch.fresh_optimizer, &optim, &opened.without_optimizer) {
            return Err(Error::Checkpoint(why.clone()));
        }
        if batch.fresh_optimizer || optim.is_none() {
            *optim = Some(opened.optimizer()?);
        }
        let optim = optim.as_mut().expect("made above");
        opened.release()?;
        // Those of what was sampled are not the step's.
        let _ = opened.worker.policy.model.expert_loads();
        let lr = opened.stage.optim.lr(done, of);
        // A rank that has fewer updates than others, or none, makes empty ones.
        let mut most = [batch.updates.len() as f64];
        ranks.max(&mut most)?;
        let (mut made, empty) = (0, Update { items: vec![], weight: 0.0 });
        for at in 0..most[0] as usize {
            let update = batch.updates.get(at).unwrap_or(&empty);
            let learned = learn(method, &batch, update, opened, optim, lr, &mut metrics);
            made += usize::from(agreed(&*ranks, learned)?);
        }
        let mut loads = opened.worker.policy.model.expert_loads();
        ranks.sum_tensors(&mut loads)?;
        figures_of_experts(&loads, &mut metrics);
        items_tokens = batch.items.iter().map(Item::size).sum();
        metrics.set("learning_rate", lr);
        metrics.set("updates", made as f64);
        opened.learned |= made > 0;
    }
    adapter.map_or(Ok(()), |name| opened.worker.policy.model.set_active_adapter(&name))?;
    let seconds = began.elapsed().as_secs_f64();
    let mut tokens = [if needs.trains { items_tokens } else { batch.sampled_tokens } as f64];
    ranks.sum(&mut tokens)?;
    opened.tokens += tokens[0] as usize;
    if !needs.rollouts && !needs.trains && metrics.iter().next().is_none() {
        return Ok((pace, metrics));
    }
    metrics.set("num_tokens", opened.tokens as f64);
    metrics.set("step_time", seconds);
    if let Some(peak) = peak_since(opened.worker.policy.model.device())? {
        metrics.max("memory/gpu_peak", peak as f64 / 1e9);
    }
    if learns {
        if batch.sampled_tokens > 0 {
            metrics.set("time/sampling_and_scoring", sampled);
        }
        metrics.set("time/learning", seconds - sampled);
        tracing::debug!(
            "{}, step {step}: its batch made in {sampled:.2} s, learned in {:.2} s",
            opened.name,
            seconds - sampled
        );
        metrics.set("tokens_per_second", tokens[0] / seconds);
    }
    let traces = traces(&batch, step, ranks.is_first());
    let told = |error: &Error, session: &Session, opened: &Opened| reached.tell(error, opened, session);
    let metrics =
        session.report(opened, step, traces, metrics).inspect_err(|error| told(error, session, opened))?;
    session.pairs(batch.pairs).inspect_err(|error| told(error, session, opened))?;
    Ok((pace, metrics))
}

/// How evenly the tokens of a step are spread over experts, given how many each expert of each layer has had: the most over the mean, and
/// the share that had none, mean over layers.
fn figures_of_experts(loads: &[Tensor], metrics: &mut Metrics) {
    for load in loads {
        let mean = load.mean(Kind::Float).double_value(&[]);
        if mean > 0.0 {
            metrics.add("experts/load_max", load.max().double_value(&[]) / mean, 1.0);
            let idle = load.le(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            metrics.add("experts/idle", idle, 1.0);
        }
    }
}

/// One update: the gradient of Σ loss / weight, whatever micro-batches and ranks it came in; none where no rank has anything to
/// learn. Returns whether it was made.
fn learn(
    method: &dyn Method,
    batch: &Batch,
    update: &Update,
    opened: &mut Opened,
    optim: &mut Optimizer,
    lr: f64,
    metrics: &mut Metrics,
) -> Result<bool> {
    let ranks = opened.worker.ranks.clone();
    let own: usize = update.items.iter().map(|&index| batch.items[index].learned()).sum();
    let mut sums = [update.weight, own as f64];
    ranks.sum(&mut sums)?;
    let (weight, tokens) = (sums[0], sums[1] as usize);
    if weight == 0.0 {
        return Ok(false);
    }
    let learns = timeline::phase("learning");
    let own = differentiate(method, batch, update, (weight, tokens), opened, optim, metrics);
    drop(learns);
    let mut total = [agreed(&*ranks, own)?];
    ranks.sum(&mut total)?;
    if !total[0].is_finite() {
        return Err(Error::Diverged(format!(
            "the loss is {}; {}; to take back what led here, delete the stage's newest checkpoint and --resume from the one before",
            total[0],
            steadier(opened.worker.policy.model.kind())
        )));
    }
    metrics.add("loss", total[0], 1.0);
    let _updates = timeline::phase("update");
    opened.release()?;
    let sums = timeline::span("sum gradients", None);
    optim.sum_over(&ranks)?;
    drop(sums);
    metrics.add("grad_norm", optim.clip(opened.stage.optim.max_grad_norm)?, 1.0);
    optim.step(lr)?;
    let spreads = timeline::span("spread weights", None);
    optim.spread(&*opened.within)?;
    drop(spreads);
    optim.zero_grad()?;
    opened.worker.policy.weights_changed();
    Ok(true)
}

/// Adds the gradient of what this rank has of an update to the parameters'; its part of the loss.
fn differentiate(
    method: &dyn Method,
    batch: &Batch,
    update: &Update,
    of: (f64, usize),
    opened: &mut Opened,
    optim: &mut Optimizer,
    metrics: &mut Metrics,
) -> Result<f64> {
    let mut by_adapter: BTreeMap<Option<&str>, Vec<&Item>> = BTreeMap::new();
    for item in update.items.iter().map(|&index| &batch.items[index]) {
        by_adapter.entry(item.adapter).or_default().push(item);
    }
    let mut passes: Vec<(Option<&str>, Vec<&Item>)> = Vec::new();
    for (adapter, items) in by_adapter {
        let sizes = sizes(items.iter().map(|item| (&item.sequences[..], &item.places[..])));
        for indices in micro_batches(&sizes, opened.worker.tokens_per_microbatch) {
            metrics.count("computed_tokens", computed(&sizes, &indices) as f64);
            passes.push((adapter, indices.iter().map(|&index| items[index]).collect()));
        }
    }
    // Through a model that is divided all ranks go equally often.
    let (ranks, divided) = (opened.worker.ranks.clone(), !opened.worker.policy.model.is_whole());
    let mut most = [passes.len() as f64];
    if divided {
        ranks.max(&mut most)?;
    }
    let mut own = || -> Result<f64> {
        let mut total = 0.0;
        for (adapter, items) in &passes {
            let model = &mut opened.worker.policy.model;
            adapter.map_or(Ok(()), |name| model.set_active_adapter(name))?;
            total += pass(method, items, batch.temperature, of, model, metrics)?;
            optim.accumulate()?;
        }
        (passes.len()..most[0] as usize).try_for_each(|_| opened.worker.policy.model.pass_idle())?;
        Ok(total)
    };
    // The others wait in the middle of a pass, where they cannot be told.
    own().inspect_err(|error| {
        if divided {
            ranks.give_up(error)
        }
    })
}

/// A micro-batch forward and backward, its loss over the weight of the update.
fn pass(
    method: &dyn Method,
    items: &[&Item],
    temperature: f64,
    (weight, tokens): (f64, usize),
    model: &Model,
    metrics: &mut Metrics,
) -> Result<f64> {
    let sequences: Vec<Sequence> = items.iter().flat_map(|item| &item.sequences).cloned().collect();
    let places: Vec<&[usize]> = items.iter().flat_map(|item| places(item)).collect();
    let scored = model.score_and_read(&sequences, &places, temperature, Grad::Yes)?;
    let output = Output { model, scored: &scored, weight, tokens };
    let loss = method.loss(items, &output, metrics)? / weight;
    let value = loss.double_value(&[]);
    scored.backward(&loss)?;
    Ok(value)
}

/// The places that are read of each of an item's sequences.
fn places(item: &Item) -> impl Iterator<Item = &[usize]> {
    (0..item.sequences.len()).map(|at| item.places.get(at).map_or(&[][..], Vec::as_slice))
}
