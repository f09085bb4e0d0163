//! Reward models: of steps (Lightman et al. 2023, arXiv 2305.20050; Math-Shepherd, 2312.08935), of outcomes (Cobbe et al.
//! 2021, 2110.14168), from comparisons and from lists.

mod compared;
mod evaluate;
mod item;
pub mod rows;
mod section;
mod traces;
mod trajectory;

pub use compared::Lists;
pub use section::{Balance, Continuations, HeadKind, Labeller, Learns, Neutral, Prm, TooLong, Train};
pub use trajectory::Targets;

use super::item::WEIGHTS;
use super::{
    Batch, Item, Leaves, Method, Needs, OfTraces, Output, Section, Selects, Setup, StageView, Worker,
};
use crate::data::row::named;
use crate::data::{Example, Tokenizer};
use crate::error::{Error, Result};
use crate::eval::{Eval, Report};
use crate::log::Metrics;
use crate::loss::reward_model::{bradley_terry, listwise, ordered, squared};
use crate::model::{Config, Head};
use crate::policy::Policy;
use crate::policy::reward_model::{Judges, ScoreFormat};
use crate::rationale::Format;
use crate::rollout::Prompted;
use crate::section::{Idle, Misfit};
use crate::seed;
use crate::select::pairs::PairKind;
use compared::Counts;
use evaluate::not_finite;
use item::{MARGIN, Made, OF_WHOLE, Reading, TARGETS};
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// The method at work.
struct PrmMethod {
    prm: Prm,
    /// How the model is read, once the method has begun.
    score_format: Option<ScoreFormat>,
    /// By the example's place in the data.
    items: HashMap<usize, Item>,
    /// What became of traces that are compared.
    counts: Counts,
    /// The share of rows of which two labellers say the same.
    agreeing: Option<f64>,
    /// The share of labels that say right.
    right: f64,
    /// Rows that are too long, by what became of them.
    too_long: [(&'static str, Vec<String>); 2],
}

/// The single token that a text is, which stands under `key`.
fn token(tokenizer: &Tokenizer, text: &str, key: &str) -> Result<u32> {
    match tokenizer.encode(text)?.as_slice() {
        [one] => Ok(*one),
        many => Err(Error::Recipe(format!(
            "loop.prm.{key} = {text:?} is {} tokens of this tokenizer; name a text that is a single one",
            many.len()
        ))),
    }
}

impl Prm {
    /// Works out the head and the separator, gives the model its head where it has none that fits, and says what trains.
    fn attach_head(&self, policy: &mut Policy, seed: u64) -> Result<ScoreFormat> {
        let head = match self.head {
            _ if self.compares() => Head::Scalar,
            _ if self.learns == Learns::Trajectory => Head::Trajectory,
            HeadKind::Classes => Head::Classes(self.classes),
            HeadKind::Regression => Head::Regression,
            HeadKind::Vocabulary => Head::Vocabulary {
                positive: token(&policy.tokenizer, &self.positive, "positive")?,
                negative: token(&policy.tokenizer, &self.negative, "negative")?,
            },
        };
        let separator = policy.tokenizer.encode(&self.separator)?;
        let padding = policy.tokenizer.pad().unwrap_or(policy.tokenizer.eos());
        let (judges, model) = (self.judges(), &mut policy.model);
        let labels = head.labels();
        if labels > 0 {
            let fits = model.score.as_ref().is_some_and(|score| score.weight.size()[0] == labels as i64);
            if !fits {
                model.add_score(labels, judges != Judges::Outcome, seed);
            }
            model.config.name_padding(padding);
        }
        if self.train == Train::Head {
            model.parameters().iter().for_each(|(_, tensor)| drop(tensor.set_requires_grad(false)));
        }
        if let Some(score) = &model.score {
            std::iter::once(&score.weight)
                .chain(&score.bias)
                .for_each(|tensor| drop(tensor.set_requires_grad(true)));
        }
        Ok(ScoreFormat { judges, head, separator, score_classes: self.score_classes() })
    }
}

impl PrmMethod {
    /// How rows are read for `policy`.
    fn reading<'a>(&'a self, policy: &'a Policy) -> Reading<'a> {
        let (tokenizer, context) = (&policy.tokenizer, policy.context());
        Reading { prm: &self.prm, tokenizer, context, score_format: self.score_format().clone() }
    }

    /// How the model is read.
    fn score_format(&self) -> &ScoreFormat {
        self.score_format.as_ref().expect("the method has begun")
    }

    /// The *sum* of the items' losses, from what the head says at their places.
    fn sum(&self, items: &[&Item], logits: &Tensor, metrics: &mut Metrics) -> Tensor {
        let head = self.score_format().head;
        let flat = |values: Vec<f64>| {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            Tensor::from_slice(&values).to_device(logits.device())
        };
        if self.prm.compares() {
            return self.compared(items, &head.scores(logits), flat, metrics);
        }
        let targets = flat(items.iter().flat_map(|item| item.list(TARGETS).iter().copied()).collect());
        let weights = flat(items.iter().flat_map(|item| item.list(WEIGHTS).iter().copied()).collect());
        if self.prm.learns == Learns::Trajectory {
            let whole = items.iter().flat_map(|item| item.list(OF_WHOLE).iter().map(|of| *of > 0.0));
            let whole: Vec<bool> = whole.collect();
            let scores = Head::of_trajectories(logits, &whole);
            trajectory::tell_errors(&scores, &targets, &whole, metrics);
            return squared(&scores, &targets, &weights);
        }
        let scores = self.score_format().of_logits(logits);
        let agree = scores.ge(0.5).eq_tensor(&targets.ge(0.5)).to_kind(Kind::Float);
        metrics.add("accuracy", agree.mean(Kind::Float).double_value(&[]), targets.numel() as f64);
        metrics.add("scores/mean", scores.mean(Kind::Float).double_value(&[]), targets.numel() as f64);
        match head {
            Head::Regression | Head::Scalar | Head::Trajectory => squared(&scores, &targets, &weights),
            Head::Classes(_) | Head::Vocabulary { .. } => ordered(logits, &targets, &weights),
        }
    }

    fn compared(
        &self,
        items: &[&Item],
        scores: &Tensor,
        flat: impl Fn(Vec<f64>) -> Tensor,
        metrics: &mut Metrics,
    ) -> Tensor {
        if self.prm.learns == Learns::Pairs {
            let sides = scores.view([-1, 2]);
            let (chosen, rejected) = (sides.select(1, 0), sides.select(1, 1));
            let margin = (&chosen - &rejected).detach();
            let count = items.len() as f64;
            metrics.add(
                "accuracy",
                margin.gt(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]),
                count,
            );
            metrics.add("rewards/margins", margin.mean(Kind::Float).double_value(&[]), count);
            let margins = flat(items.iter().map(|item| item.number(MARGIN)).collect());
            return bradley_terry(&chosen, &rejected, &margins, self.prm.centring);
        }
        let lengths: Vec<i64> = items.iter().map(|item| item.list(TARGETS).len() as i64).collect();
        let lists = scores.split_with_sizes(&lengths, 0);
        let losses = lists.iter().zip(items).map(|(scores, item)| {
            let targets = flat(item.list(TARGETS).to_vec());
            let best = scores.argmax(-1, false).equal(&targets.argmax(-1, false));
            metrics.add("accuracy", f64::from(u8::from(best)), 1.0);
            listwise(scores, &targets)
        });
        Tensor::stack(&losses.collect::<Vec<_>>(), 0).sum(Kind::Float)
    }
}

/// Those of `items` of which the head says something that is no number; the loss of them all is `loss`.
fn broken(items: &[&Item], logits: &Tensor, loss: f64) -> Error {
    let sums: Vec<f32> = Vec::try_from(logits.sum_dim_intlist(1, false, Kind::Float)).unwrap_or_default();
    let ids = items.iter().flat_map(|item| item.places.iter().flatten().map(|_| item.id.as_str()));
    let scored = ids.zip(sums.into_iter().map(f64::from));
    not_finite(scored).unwrap_or_else(|| {
        let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
        Error::Model(format!("{}: their loss is {loss}; lower optim.lr", named(&ids)))
    })
}

impl Section for Prm {
    fn check(&self) -> Vec<Misfit> {
        Prm::check(self)
    }

    fn read_of(&self, row: &Prompted, format: &Format) -> Vec<String> {
        if matches!(self.learns, Learns::Pairs | Learns::Lists) {
            return row.example.completions.clone();
        }
        let label = |label: Option<f64>| label.map_or("no label".to_owned(), |label| format!("{label}"));
        match rows::read(&row.example, self, format).map(|steps| steps.learned(self)) {
            Ok(steps) => {
                let all = steps.texts.iter().zip(&steps.labels);
                all.map(|(text, of)| format!("[{}] {}", label(*of), text.trim())).collect()
            }
            Err(what) => vec![format!("nothing can be learned of it: {what}")],
        }
    }

    fn notes(&self, rows: &[&Example]) -> Vec<String> {
        let usual = Prm::default();
        let keys = [
            ("labels", self.labels != usual.labels),
            ("judge", self.labels != Labeller::Continuations && self.judge != usual.judge),
            ("continuations", self.labels != Labeller::Judge && self.continuations != usual.continuations),
        ];
        let keys: Vec<&str> = keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect();
        if self.compares() || keys.is_empty() || rows.is_empty() || rows.iter().any(|row| traces::is_one(row))
        {
            return vec![];
        }
        let have = if keys.len() == 1 { "has" } else { "have" };
        vec![format!(
            "{} {have} no effect: all {} rows are labelled by their own columns, and none is a trace",
            keys.join(", "),
            rows.len()
        )]
    }

    fn needs(&self, stage: &StageView) -> Needs {
        Needs {
            trains: true,
            rows: true,
            rows_alone: true,
            head: true,
            leaves: if self.is_spoken() { Leaves::Both } else { Leaves::Scorer },
            of_traces: match stage.select.pairs.kind {
                _ if self.learns != Learns::Pairs => None,
                PairKind::Branches => Some(OfTraces::Branches),
                PairKind::PathLabel => Some(OfTraces::Votes),
                _ => None,
            }
            .map(|of| ("select.pairs.kind", of)),
            classless: self.compares(),
            selects: match self.learns {
                Learns::Steps | Learns::Outcome | Learns::Trajectory => Selects::Nothing,
                Learns::Pairs => Selects::Pairs,
                Learns::Lists => Selects::Rollouts,
            },
            ..Needs::default()
        }
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        let kind = stage.select.pairs.kind;
        let in_part =
            self.learns == Learns::Pairs && matches!(kind, PairKind::FirstError | PairKind::Siblings);
        let misfit = Misfit::new(
            "select.pairs.kind",
            "it pairs single steps or ways through a tree, and loop.prm compares whole completions",
            "use \"correct_wrong\", \"score_margin\" or \"ranked\"; loop.prm.learns = \"steps\" reads cuts",
        );
        in_part.then_some(misfit).into_iter().collect()
    }

    fn fits_model(&self, tokenizer: &Tokenizer, _shape: &Config) -> Vec<Misfit> {
        let said = [("positive", &self.positive), ("negative", &self.negative)];
        let of = |(key, text): (&str, &String)| match token(tokenizer, text, key) {
            Err(Error::Recipe(why)) => Some(Misfit::new(key, why, "")),
            _ => None,
        };
        if self.is_spoken() { said.into_iter().filter_map(of).collect() } else { vec![] }
    }

    fn fits_rows(
        &self,
        tokenizer: &Tokenizer,
        context: usize,
        (rows, whole): (&mut dyn Iterator<Item = Prompted>, bool),
        format: &Format,
    ) -> Result<()> {
        let (judges, separator) = (self.judges(), tokenizer.encode(&self.separator)?);
        let score_format = ScoreFormat { judges, head: Head::Regression, separator, score_classes: vec![] };
        let rows: Vec<Prompted> = rows.collect();
        Reading { prm: self, tokenizer, context, score_format }.all(&rows, format, whole).map(drop)
    }

    /// TRL's for process reward models.
    fn learning_rate(&self) -> f64 {
        1e-5
    }

    fn idle(&self) -> Vec<Idle> {
        self.without_effect()
    }

    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>> {
        let rows = std::mem::take(&mut setup.rows);
        let rows = if self.learns == Learns::Trajectory { trajectory::answered(&rows) } else { rows };
        let (rows, counts) = self.comparisons(rows, setup.select, setup.format)?;
        let (rows, agreeing) = self.prepare(rows, setup.format)?;
        setup.rows = rows;
        Ok(Box::new(PrmMethod {
            prm: self.clone(),
            score_format: None,
            items: HashMap::new(),
            counts,
            agreeing,
            right: 0.0,
            too_long: Default::default(),
        }))
    }
}

impl Method for PrmMethod {
    fn begin(&mut self, worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        let seed = seed::derive(&[worker.seed, seed::of_text("init")]);
        let score_format = self.prm.attach_head(&mut worker.policy, seed)?;
        worker.policy.score_format = Some(score_format.clone());
        self.score_format = Some(score_format);
        let made = self.reading(&worker.policy).all(&worker.questions.all, &worker.format, true)?;
        let Made { mut items, indices, cut, dropped, unlabelled } = made;
        for (rows, what) in [(&cut, "cut, and their last labels lost"), (&dropped, "left out")] {
            if !rows.is_empty() {
                tracing::warn!(
                    "{} rows are longer than loop.prm.max_tokens and were {what}: {}; raise it to keep them. metrics.jsonl \
                     names all at the stage's first step",
                    rows.len(),
                    named(rows)
                );
            }
        }
        if !unlabelled.is_empty() {
            let seen = if self.prm.dedup { ", or none that another row has not" } else { "" };
            tracing::warn!(
                "{} of {} rows have no label to learn{seen}, and were left out: {}",
                unlabelled.len(),
                worker.questions.all.len(),
                named(&unlabelled)
            );
        }
        let owned = |ids: Vec<&str>| ids.into_iter().map(str::to_string).collect();
        self.too_long = [("rows/cut", owned(cut)), ("rows/left_out", owned(dropped))];
        self.right = item::right(&items);
        item::balance(&mut items, if self.prm.learns_labels() { self.prm.balance } else { Balance::None });
        self.items = indices.into_iter().zip(items).collect();
        Ok(None)
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let rows = worker.questions.of_step(step);
        let items: Vec<Item> =
            rows.iter().filter_map(|row| self.items.get(&row.example.index)).cloned().collect();
        if step == 1 {
            let too_long = self.too_long.iter().filter(|(_, ids)| !ids.is_empty());
            let told = too_long.filter(|_| worker.ranks.is_first());
            told.for_each(|(name, ids)| metrics.name(name, ids.clone()));
        }
        if step == 1 {
            let of = if self.prm.learns == Learns::Lists { "lists" } else { "pairs" };
            for (what, count) in &self.counts {
                let name =
                    if *what == "built" { format!("{of}/built") } else { format!("{of}/dropped/{what}") };
                metrics.set(&name, *count as f64);
            }
        }
        if step == 1 && self.prm.learns_labels() {
            metrics.set("labels/right", self.right);
            self.agreeing.inspect(|share| metrics.set("labels/agreeing", *share));
        }
        if !rows.is_empty() {
            metrics.add("rows_left_out", 1.0 - items.len() as f64 / rows.len() as f64, rows.len() as f64);
        }
        let weight: f64 = items.iter().map(|item| item::weight(item, self.prm.learns_labels())).sum();
        let batch = Batch::whole(items, weight);
        Ok(if weight > 0.0 { batch } else { Batch { updates: vec![], ..batch } })
    }

    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        let logits = self.score_format().head.logits(output.model, &output.scored.states)?;
        let loss = self.sum(items, &logits, metrics);
        let value = loss.double_value(&[]);
        if value.is_finite() { Ok(loss) } else { Err(broken(items, &logits, value)) }
    }

    fn evaluate(&self, worker: &Worker, held_out: &[Prompted], eval: &Eval) -> Option<Result<Report>> {
        let (format, budget) = (&worker.format, worker.tokens_per_microbatch);
        let held_out = self.prm.held_out(held_out, &worker.select, format);
        let report = |held_out: Vec<Prompted>| {
            self.report(&worker.policy, &held_out, eval, format, (budget, &*worker.ranks))
        };
        Some(held_out.and_then(report))
    }
}
