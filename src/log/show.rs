//! What is seen while a run works: a line a step, and what it is doing within the step.

use super::Metrics;
use super::table::{shortened, table};
use super::terminal::{say, says_json, shown, tell_event};
use crate::engine::Progress;
use crate::rollout::Trace;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// The live display of one stage, on standard error.
pub struct Show {
    bar: ProgressBar,
    live: bool,
    quiet: bool,
    stage: String,
    steps: usize,
    began: Instant,
    first: usize,
    last_line: Option<Instant>,
}

impl Show {
    /// Of `stage`, which has `done` of `steps` steps behind it.
    pub fn new(stage: &str, done: usize, steps: usize, quiet: bool) -> Self {
        let live = !quiet && !says_json() && console::Term::stderr().is_term();
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is constant"));
        let stage = stage.to_string();
        Self { bar, live, quiet, stage, steps, began: Instant::now(), first: done, last_line: None }
    }

    /// How many steps there will be, where that is known late.
    pub fn expect(&mut self, steps: usize) {
        self.steps = steps;
    }

    /// What is being done within a step, for terminals only.
    pub fn doing(&self, what: &str) {
        if self.live {
            self.bar.set_message(shown(&format!("{} {what}", self.stage)).into_owned());
            self.bar.tick();
        }
    }

    /// A callback that shows what is being done within a step.
    pub fn says(&self) -> Box<dyn FnMut(&str)> {
        let (bar, live, stage) = (self.bar.clone(), self.live, self.stage.clone());
        Box::new(move |what| {
            if live {
                bar.set_message(shown(&format!("{stage} {what}")).into_owned());
                bar.tick();
            }
        })
    }

    /// A callback that shows how sampling goes.
    pub fn sampling(&self, what: &'static str) -> Box<dyn FnMut(&Progress)> {
        let (bar, live, stage) = (self.bar.clone(), self.live, self.stage.clone());
        Box::new(move |progress| {
            if live {
                let Progress { finished, total, tokens, .. } = progress;
                bar.set_message(format!("{stage} {what} {finished}/{total}, {tokens} tokens"));
                bar.tick();
            }
        })
    }

    /// The line of a step. Where standard error is no terminal, one a second at most, the first and the last always.
    pub fn step(&mut self, step: usize, metrics: &Metrics) {
        if says_json() && !self.quiet {
            let mut figures = serde_json::Map::from_iter([
                ("stage".to_string(), self.stage.clone().into()),
                ("step".to_string(), step.into()),
                ("steps".to_string(), self.steps.into()),
            ]);
            figures.extend(metrics.json());
            return tell_event("step", figures);
        }
        let recent = self.last_line.is_some_and(|last| last.elapsed() < Duration::from_secs(1));
        if self.quiet || (!self.live && recent && step != self.steps) {
            return;
        }
        self.last_line = Some(Instant::now());
        let line = self.line(step, metrics);
        self.print(&line);
    }

    /// Text above the live line.
    pub fn print(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.live { self.bar.suspend(|| say(text)) } else { say(text) }
    }

    /// A table of the first `count` rollouts that have credit, one from each group where there are enough.
    pub fn samples(&self, traces: &[Trace], count: usize) {
        let mut picked: Vec<&Trace> = Vec::new();
        for trace in traces {
            if picked.len() < count && picked.iter().all(|other| other.example != trace.example) {
                picked.push(trace);
            }
        }
        if picked.is_empty() {
            return;
        }
        let header = ["prompt (end)", "completion", "scores", "reward", "advantage"].map(str::to_string);
        let rows: Vec<Vec<String>> = picked.iter().map(|trace| sample(trace)).collect();
        self.print(&table(&header, &rows));
    }

    /// Clears the live line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, step: usize, metrics: &Metrics) -> String {
        let mut parts = vec![format!("{} {step}/{}", self.stage, self.steps)];
        let mut part = |label: &str, name: &str, digits: usize| {
            if let Some(value) = metrics.get(name) {
                parts.push(format!("{label} {value:.digits$}"));
            }
        };
        part("loss", "loss", 4);
        part("reward", "reward", 3);
        part("length", "completions/mean_length", 1);
        part("kl", "kl", 4);
        part("grad", "grad_norm", 2);
        part("tok/s", "tokens_per_second", 0);
        parts.push(format!("eta {}", self.eta(step)));
        parts.join("  ")
    }

    fn eta(&self, step: usize) -> String {
        let done = step.saturating_sub(self.first).max(1);
        let left = self.began.elapsed().as_secs_f64() / done as f64 * self.steps.saturating_sub(step) as f64;
        clock(left)
    }
}

fn sample(trace: &Trace) -> Vec<String> {
    let scores: Vec<String> = trace.scores.iter().map(|(name, score)| format!("{name} {score:.2}")).collect();
    let advantage = trace.advantage.map_or("not trained on".to_string(), |a| format!("{a:+.2}"));
    vec![
        shortened(trace.prompt.question().trim_end(), 160),
        shortened(&trace.completion, 400),
        scores.join("\n"),
        format!("{:.3}", trace.reward),
        advantage,
    ]
}

/// `1:02:03`, `2:03`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_there_is() {
        let mut metrics = Metrics::default();
        metrics.set("loss", 0.25);
        metrics.set("tokens_per_second", 1240.4);
        let show = Show::new("warmup", 0, 4, true);
        // Nothing is left after the last step.
        assert_eq!(show.line(4, &metrics), "warmup 4/4  loss 0.2500  tok/s 1240  eta 0:00");
    }

    #[test]
    fn clocks() {
        assert_eq!((clock(3723.4).as_str(), clock(59.6).as_str()), ("1:02:03", "1:00"));
    }
}
