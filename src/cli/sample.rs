//! `train sample`: questions in, completions out.

use super::named::{Asking, Found, Model};
use super::verb::Verb;
use crate::data::{Data, Example, Prompt, Sources, Split};
use crate::engine::{Completion, Request, StopReason};
use crate::error::{Error, Result};
use crate::log::terminal::tell;
use crate::policy::Policy;
use crate::recipe::Registry;
use crate::seed;
use clap::Parser;
use serde_json::json;
use std::sync::Arc;

/// Ask a model questions and print what it writes.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sample {
    #[command(flatten)]
    model: Model,
    /// A question; repeatable. It is put as the run's rows were: `data.template` and its system turn.
    #[arg(long, value_name = "TEXT", required_unless_present = "file")]
    prompt: Vec<String>,
    /// Rows with questions, as `data.train` takes them.
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    /// Completions of each question.
    #[arg(short, long, default_value_t = 1)]
    n: usize,
    #[command(flatten)]
    asking: Asking,
    /// Put each `--prompt` to the model as it stands, without a template and so without a system turn.
    #[arg(long, conflicts_with = "system")]
    raw: bool,
    /// Print a line of JSON a completion, with token ids and log-probabilities.
    #[arg(long)]
    json: bool,
}

/// Completions of a question, at most.
const MOST: usize = 10_000;

const EXAMPLES: &str = "Examples:
  train sample checkpoints/quickstart --prompt '12+34' --temperature 0
  train sample checkpoints/mine/sft-step-000200 --file test.jsonl -n 4 --json > samples.jsonl
  train sample HuggingFaceTB/SmolLM2-135M-Instruct --prompt 'Why is the sky blue?'";

impl Verb for Sample {
    fn run(self, registry: &Registry) -> Result<()> {
        if !(1..=MOST).contains(&self.n) {
            return Err(Error::Recipe(format!(
                "-n {}: between 1 and {MOST} completions of each question can be asked for",
                self.n
            )));
        }
        let mut found = self.model.find(registry)?;
        let slots = 64;
        let policy = self.model.load(&found, slots)?;
        self.asking.apply(&mut found, &policy)?;
        let asked = self.asked(&found)?;
        let request = |(at, example): (usize, &Arc<Example>)| {
            let prompt = policy.tokenizer.render_example(example)?;
            let seeds = (0..self.n as u64).map(|sample| seed::derive(&[self.asking.seed, at as u64, sample]));
            Ok(Request { prompt, seeds: seeds.collect() })
        };
        let requests: Vec<Request> = asked.iter().enumerate().map(request).collect::<Result<_>>()?;
        // A screenful at a time, so that the first answers are not waited for with the last.
        for (asked, requests) in asked.chunks(slots).zip(requests.chunks(slots)) {
            let written = policy.sampler().generate(requests, &found.sampling, &mut |_| {})?;
            let of = asked.iter().zip(requests).zip(written.completions);
            let text: String = of
                .flat_map(|((example, request), all)| self.shown(example, request, &all, &policy))
                .collect();
            tell(&text).map_err(Error::io("standard output"))?;
        }
        Ok(())
    }
}

impl Sample {
    fn asked(&self, found: &Found) -> Result<Vec<Arc<Example>>> {
        let mut all = match self.raw {
            true => self.prompt.iter().map(|text| Arc::new(Example::text("prompt", text))).collect(),
            false => found.data.of_questions(&self.prompt, &found.hub, found.run_seed)?,
        };
        if let Some(file) = &self.file {
            let data = Data {
                train: Sources(vec![file.clone()]),
                task: None,
                train_limit: None,
                ..found.data.clone()
            };
            all.extend(data.load(Split::Train, &found.hub, found.run_seed)?.examples);
        }
        Ok(all)
    }

    fn shown(
        &self,
        example: &Example,
        request: &Request,
        all: &[Completion],
        policy: &Policy,
    ) -> Vec<String> {
        let several = self.n > 1 || self.prompt.len() > 1 || self.file.is_some();
        let one = |(at, completion): (usize, &Completion)| {
            let text = policy.tokenizer.decode(&completion.tokens);
            if self.json {
                let line = json!({
                    "id": example.id, "sample": at, "prompt": prompt(&example.prompt), "completion": text,
                    "stop": completion.stop, "prompt_ids": request.prompt, "completion_ids": completion.tokens,
                    "logprobs": completion.logprobs,
                });
                return format!("{line}\n");
            }
            let cut =
                if completion.stop == StopReason::Length { "\n(cut off: --max-new-tokens)" } else { "" };
            let head = if several {
                format!("── {}, {}\n", example.prompt.question().trim(), at + 1)
            } else {
                String::new()
            };
            format!("{head}{}{cut}\n", text.trim_end())
        };
        all.iter().enumerate().map(one).collect()
    }
}

fn prompt(prompt: &Prompt) -> serde_json::Value {
    serde_json::to_value(prompt).expect("texts are JSON")
}
