//! The loop that trains nothing: rollouts, scores and filters to traces.

use super::session::Session;
use super::stage::Opened;
use crate::error::Result;
use crate::log::Metrics;
use crate::loops::collect::Collect;
use crate::rollout::Trace;
use std::time::Instant;

/// Collects from step `done` + 1 to the stage's last.
pub fn collect(lesson: &Collect, opened: &mut Opened, session: &mut Session, done: usize) -> Result<()> {
    if let Some(saved) = session.saved(&opened.name, opened.round)? {
        opened.tokens = saved.state.progress.extra["tokens"].as_u64().unwrap_or(0) as usize;
    }
    for step in done + 1..=opened.steps {
        let began = Instant::now();
        let mut metrics = Metrics::default();
        let (groups, pairs) = lesson.groups(&mut opened.worker, step, &mut metrics)?;
        let traces: Vec<Trace> = groups
            .iter()
            .flat_map(|group| (0..group.rollouts.len()).map(|sample| Trace::of(group, sample, step, None)))
            .collect();
        let tokens: usize = traces.iter().map(|trace| trace.completion_ids.len()).sum();
        opened.tokens += tokens;
        metrics.set("num_tokens", opened.tokens as f64);
        metrics.set("step_time", began.elapsed().as_secs_f64());
        session.report(opened, step, &traces, &metrics)?;
        session.pairs(&pairs)?;
        if opened.stage.checkpoint.due(step, opened.steps) {
            session.mark(opened, step)?;
        }
    }
    if opened.stage.eval.is_some() {
        session.evaluate(opened, opened.steps)?;
    }
    Ok(())
}
