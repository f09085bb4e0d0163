//! What is seen while a run works: a line a step, and what it is doing within the step.

use super::Metrics;
use super::silence::{PATIENCE, Silence, Waiting};
use super::table::{shortened, table};
use super::terminal::{say, says_json, shown, tell_event};
use crate::engine::Progress;
use crate::rollout::Trace;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The live display of one stage, on standard error.
pub struct Show {
    bar: ProgressBar,
    live: bool,
    quiet: bool,
    stage: String,
    steps: usize,
    pace: Pace,
    begun: Instant,
    last_line: Option<Instant>,
}

/// How long steps and evaluations take, and how many of these are to come.
#[derive(Debug, Default)]
struct Pace {
    /// Seconds of the newest steps, of which the first is left out once there are others: what is done once is done in it.
    steps: VecDeque<f64>,
    /// Steps so far.
    seen: usize,
    /// Seconds of the newest evaluations, those left out that were taken over.
    evaluations: VecDeque<f64>,
    /// Steps between evaluations, 0 for none, and whether one comes at the end.
    every: usize,
    at_end: bool,
}

/// Steps that say how long one takes.
const RECENT: usize = 20;
/// Evaluations that say how long one takes: completions change their lengths while a policy learns.
const RECENT_EVALUATIONS: usize = 3;

impl Pace {
    fn stepped(&mut self, seconds: f64) {
        self.seen += 1;
        if self.seen == 2 {
            self.steps.clear();
        }
        self.steps.push_back(seconds);
        if self.steps.len() > RECENT {
            self.steps.pop_front();
        }
    }

    fn evaluated(&mut self, seconds: f64) {
        self.evaluations.push_back(seconds);
        if self.evaluations.len() > RECENT_EVALUATIONS {
            self.evaluations.pop_front();
        }
    }

    /// Seconds that an evaluation takes: of the newest three those of the middle one, of two the slower; none where none was made.
    fn evaluation(&self) -> Option<f64> {
        let mut seconds: Vec<f64> = self.evaluations.iter().copied().collect();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied()
    }

    /// Evaluations from after `step` to the end of `steps`, its own where the line of the last step comes before it.
    fn evaluations_left(&self, step: usize, steps: usize) -> usize {
        // The one at the end is not one of those in between.
        let before_end = steps.saturating_sub(1).max(step);
        let between =
            before_end.checked_div(self.every).unwrap_or(0) - step.checked_div(self.every).unwrap_or(0);
        between + usize::from(self.at_end)
    }

    /// Seconds from after `step` to the end of `steps`; those of evaluations are left out while none was made.
    fn left(&self, step: usize, steps: usize) -> f64 {
        let mean = self.steps.iter().sum::<f64>() / self.steps.len().max(1) as f64;
        let evaluations = self.evaluation().unwrap_or(0.0) * self.evaluations_left(step, steps) as f64;
        mean * steps.saturating_sub(step) as f64 + evaluations
    }
}

impl Show {
    /// Of `stage`, which has so many `steps`.
    pub fn new(stage: &str, steps: usize, quiet: bool) -> Self {
        let live = !quiet && !says_json() && console::Term::stderr().is_term();
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is constant"));
        let stage = stage.to_string();
        Self { bar, live, quiet, stage, steps, pace: Pace::default(), begun: Instant::now(), last_line: None }
    }

    /// When it is evaluated: every so many steps (0 for none), and at the end.
    pub fn evaluates(&mut self, every: usize, at_end: bool) {
        (self.pace.every, self.pace.at_end) = (every, at_end);
    }

    /// An evaluation took so long.
    pub fn evaluated(&mut self, took: Duration) {
        self.pace.evaluated(took.as_secs_f64());
    }

    /// How many steps there will be, where that is known late.
    pub fn expect(&mut self, steps: usize) {
        self.steps = steps;
        self.doing("begins");
    }

    /// What is being done within a step, for terminals only.
    pub fn doing(&self, what: &str) {
        if self.live {
            self.bar.set_message(shown(&format!("{} {what}", self.stage)).into_owned());
            self.bar.tick();
        }
    }

    /// The same of what tells nothing while it lasts, which is until the result is dropped; where standard error is no terminal, by a line
    /// now and then, if it takes long.
    pub fn waits(&self, what: &str) -> Option<Waiting> {
        self.doing(what);
        let text = format!("{} {what}", self.stage);
        let words = move |took: Duration| say(&format!("{text}  after {}", clock(took.as_secs_f64())));
        (!self.live && !self.quiet).then(|| Waiting::new(PATIENCE, words))
    }

    /// A callback that shows what is being done within a step; where standard error is no terminal, by a line now and then.
    pub fn says(&self) -> Box<dyn FnMut(&str)> {
        let (bar, live, quiet, stage) = (self.bar.clone(), self.live, self.quiet, self.stage.clone());
        let mut silence = Silence::new(Instant::now());
        Box::new(move |what| {
            let text = format!("{stage} {what}");
            if live {
                bar.set_message(shown(&text).into_owned());
                bar.tick();
            } else if !quiet && silence.is_long(Instant::now(), 0) {
                say(&text);
            }
        })
    }

    /// A callback that shows how sampling goes; where standard error is no terminal, by a line (or an event) now and then, if it takes long.
    pub fn sampling(&self, what: &'static str) -> Box<dyn FnMut(&Progress)> {
        let (bar, live, quiet, stage) = (self.bar.clone(), self.live, self.quiet, self.stage.clone());
        let mut silence = Silence::new(Instant::now());
        Box::new(move |progress| {
            let Progress { finished, total, tokens, .. } = *progress;
            let text = || format!("{stage} {what} {finished}/{total}, {tokens} tokens");
            if live {
                bar.set_message(text());
                bar.tick();
            } else if !quiet && silence.is_long(Instant::now(), tokens) {
                if says_json() {
                    let figures = [("finished", finished), ("total", total), ("tokens", tokens)];
                    let figures = figures.map(|(name, value)| (name.to_string(), value.into()));
                    let stage = ("stage".to_string(), stage.clone().into());
                    tell_event(what, figures.into_iter().chain([stage]).collect());
                } else {
                    say(&text());
                }
            }
        })
    }

    /// The line of a step. Where standard error is no terminal, one a second at most, the first and the last always.
    pub fn step(&mut self, step: usize, metrics: &Metrics) {
        metrics.get("step_time").into_iter().for_each(|seconds| self.pace.stepped(seconds));
        if says_json() {
            return self.event("step", step, metrics);
        }
        let recent = self.last_line.is_some_and(|last| last.elapsed() < Duration::from_secs(1));
        if self.quiet || (!self.live && recent && step != self.steps) {
            return;
        }
        self.last_line = Some(Instant::now());
        let line = self.line(step, metrics);
        self.print(&line);
        self.doing(&format!("step {}/{}", (step + 1).min(self.steps), self.steps));
    }

    /// What an evaluation has come to, where programs listen.
    pub fn evaluation(&self, step: usize, metrics: &Metrics) {
        self.event("evaluated", step, metrics);
    }

    fn event(&self, event: &str, step: usize, metrics: &Metrics) {
        if self.quiet || !says_json() {
            return;
        }
        let mut figures = serde_json::Map::from_iter([
            ("stage".to_string(), self.stage.clone().into()),
            ("step".to_string(), step.into()),
            ("steps".to_string(), self.steps.into()),
        ]);
        figures.extend(metrics.json());
        tell_event(event, figures);
    }

    /// Text above the live line.
    pub fn print(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.live { self.bar.suspend(|| say(text)) } else { say(text) }
    }

    /// A table of the first `count` rollouts, one from each group where there are enough.
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
        // Where policy and reference are the same, no pair says anything.
        if metrics.get("rewards/margins") != Some(0.0) {
            part("accuracy", "rewards/accuracies", 2);
        }
        part("margin", "rewards/margins", 3);
        part("right", "star/sampled_accuracy", 2);
        part("covered", "star/coverage", 2);
        part("gain", "thoughts/reward", 3);
        part("grad", "grad_norm", 2);
        // A step of which nothing is learned has learned none.
        if metrics.get("tokens_per_second") != Some(0.0) {
            part("tok/s", "tokens_per_second", 0);
        }
        if let Some(peak) = metrics.get("memory/gpu_peak") {
            parts.push(format!("gpu {peak:.1} GB"));
        }
        if !self.live {
            parts.push(format!("after {}", clock(self.begun.elapsed().as_secs_f64())));
        }
        parts.push(format!("eta {}", self.eta(step)));
        parts.join("  ")
    }

    /// What is left, with the evaluations whose time nothing tells yet beside it.
    fn eta(&self, step: usize) -> String {
        let left = clock(self.pace.left(step, self.steps));
        let timed = self.pace.evaluation().is_some();
        let untold = if timed { 0 } else { self.pace.evaluations_left(step, self.steps) };
        match untold {
            0 => left,
            1 => format!("{left} + 1 evaluation"),
            several => format!("{left} + {several} evaluations"),
        }
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
        let show = Show::new("warmup", 4, true);
        let said = |figures: &[(&str, f64)]| {
            let mut metrics = Metrics::default();
            figures.iter().for_each(|(name, value)| metrics.set(name, *value));
            show.line(4, &metrics)
        };
        // Nothing is left after the last step.
        let expected = "warmup 4/4  loss 0.2500  tok/s 1240  after 0:00  eta 0:00";
        assert_eq!(said(&[("loss", 0.25), ("tokens_per_second", 1240.4)]), expected);
        let ties = [("rewards/accuracies", 0.0), ("rewards/margins", 0.0)];
        let rest = [("tokens_per_second", 0.0), ("memory/gpu_peak", 11.26)];
        let expected = "warmup 4/4  margin 0.000  gpu 11.3 GB  after 0:00  eta 0:00";
        assert_eq!(said(&[ties, rest].concat()), expected);
    }

    /// A first step that takes long, as it does, and an evaluation before it change nothing once there are others: after three of ten steps
    /// seven of 2 s are left, an evaluation of 10 s after the sixth and one at the end; after the sixth step, whose evaluation is to come or
    /// just done, four steps and the last evaluation.
    #[test]
    fn what_is_left_is_right_after_three_steps() {
        let mut show = Show::new("rl", 10, true);
        show.evaluates(6, true);
        show.evaluated(Duration::from_secs(10));
        let mut metrics = Metrics::default();
        for (step, seconds, left) in [
            (1, 30.0, 290.0),
            (2, 2.0, 36.0),
            (3, 2.0, 34.0),
            (4, 2.0, 32.0),
            (5, 2.0, 30.0),
            (6, 2.0, 18.0),
            (9, 2.0, 12.0),
            (10, 2.0, 10.0),
        ] {
            metrics.set("step_time", seconds);
            show.step(step, &metrics);
            assert_eq!(show.pace.left(step, show.steps), left, "step {step}");
        }
        // Two that took 10 and 30 s, then one of 20.
        for (seconds, each) in [(30, 30.0), (20, 20.0), (15, 20.0)] {
            show.evaluated(Duration::from_secs(seconds));
            assert_eq!(show.pace.left(10, show.steps), each);
        }
        // No evaluation at all, and a stage that goes on from step 8.
        let mut resumed = Show::new("rl", 10, true);
        metrics.set("step_time", 3.0);
        resumed.step(9, &metrics);
        assert_eq!(resumed.eta(9), "0:03");
    }

    /// Before the first evaluation its time is not known, and is not said to be nothing.
    #[test]
    fn evaluations_that_were_not_timed_are_counted() {
        let mut show = Show::new("rl", 60, true);
        show.evaluates(20, true);
        let mut metrics = Metrics::default();
        metrics.set("step_time", 0.1);
        (1..=3).for_each(|step| show.step(step, &metrics));
        // After steps 20 and 40, and at the end.
        assert_eq!(show.eta(3), "0:06 + 3 evaluations");
        assert_eq!(show.eta(41), "0:02 + 1 evaluation");
        show.evaluated(Duration::from_secs(7));
        assert_eq!((show.eta(3).as_str(), show.eta(41).as_str()), ("0:27", "0:09"));
        let mut without = Show::new("rl", 60, true);
        without.step(1, &metrics);
        assert_eq!(without.eta(1), "0:06");
    }

    #[test]
    fn clocks() {
        assert_eq!((clock(3723.4).as_str(), clock(59.6).as_str()), ("1:02:03", "1:00"));
    }
}
