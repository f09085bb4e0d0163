//! `train serve`: a model behind OpenAI's interface, on this machine.

mod http;
mod wire;

use super::named::{Asking, Model};
use super::verb::Verb;
use crate::engine::{Request, Sampling};
use crate::error::{Error, Result};
use crate::log::terminal::say;
use crate::policy::Policy;
use crate::recipe::Registry;
use clap::Parser;
use http::{Received, Reply, listen};
use serde_json::json;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};
use wire::Asked;

/// Serve a model as OpenAI does: /v1/completions, /v1/chat/completions, /v1/models, with log-probabilities and token ids.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    #[command(flatten)]
    model: Model,
    /// The address that it listens on. Who can reach it may ask it: there are no keys.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// What requests call the model [default: the folder's name].
    #[arg(long)]
    name: Option<String>,
    /// Sequences decoded at once.
    #[arg(long, default_value_t = 64)]
    slots: usize,
    #[command(flatten)]
    asking: Asking,
}

const EXAMPLES: &str = "Requests that wait are decoded together. A request's settings go before those here, and these before the run's recipe. Log-probabilities are
those of the written tokens, at the sampling temperature; `return_token_ids` gives ids. Not served: stream, echo, tools, top_logprobs.

Examples:
  train serve checkpoints/mine
  curl localhost:8000/v1/completions -d '{\"prompt\": \"12+34\\n\", \"temperature\": 0, \"logprobs\": 1}'
  lm_eval --model local-completions --tasks gsm8k --model_args model=mine,base_url=http://localhost:8000/v1/completions";

impl Verb for Serve {
    fn run(self, registry: &Registry) -> Result<()> {
        let mut found = self.model.find(registry)?;
        let policy = self.model.load(&found, self.slots)?;
        self.asking.apply(&mut found, &policy)?;
        let folder =
            found.folder.file_name().map_or("model".into(), |name| name.to_string_lossy().into_owned());
        let name = self.name.clone().unwrap_or(folder);
        let (host, port) = (self.host.as_str(), self.port);
        let listener = TcpListener::bind((host, port)).map_err(|error| {
            Error::Recipe(format!("{host}:{port} cannot be listened on: {error}; choose another --port"))
        })?;
        let address = listener.local_addr().map_err(Error::io("the socket"))?;
        say(&format!("serving {name} at http://{address}/v1"));
        let (sender, receiver) = channel();
        let heard = move |received| drop(sender.send(received));
        std::thread::spawn(move || listen(&listener, heard));
        let mut serving = Serving { name, policy: &policy, usual: found.sampling, count: 0 };
        while let Some(waiting) = waiting(&receiver) {
            serving.answer(waiting);
        }
        Ok(())
    }
}

/// All requests that wait, at least one; none once nobody listens any more.
fn waiting(receiver: &Receiver<Received>) -> Option<Vec<Received>> {
    let first = receiver.recv().ok()?;
    Some(std::iter::once(first).chain(receiver.try_iter()).collect())
}

/// A model that is asked.
struct Serving<'a> {
    name: String,
    policy: &'a Policy,
    usual: Sampling,
    /// Requests that were answered.
    count: u64,
}

impl Serving<'_> {
    fn answer(&mut self, waiting: Vec<Received>) {
        let mut asked = Vec::new();
        for Received { method, path, body, to } in waiting {
            self.count += 1;
            let path = path.trim_end_matches('/');
            match (method.as_str(), path) {
                ("POST", "/v1/completions" | "/v1/chat/completions") => {
                    let (chat, of) = (path == "/v1/chat/completions", (self.name.as_str(), self.policy));
                    match Asked::read(&body, chat, of, &self.usual, self.count) {
                        Ok(one) => asked.push((to, one, self.count)),
                        Err(refused) => to.refuse(refused),
                    }
                }
                ("GET", "/v1/models") => {
                    let model = json!({ "id": self.name, "object": "model", "created": now(), "owned_by": "rationale" });
                    to.send(200, &json!({ "object": "list", "data": [model] }));
                }
                ("GET", "/health") => to.send(200, &json!({ "status": "ok" })),
                (method, path) => {
                    let known = "POST /v1/completions, POST /v1/chat/completions, GET /v1/models";
                    to.refuse((404, format!("there is no {method} {path} here; there is {known}")));
                }
            }
        }
        // What is sampled alike is decoded together.
        while let Some((_, first, _)) = asked.first() {
            let sampling = first.sampling.clone();
            let (together, others) = asked.into_iter().partition(|(_, one, _)| one.sampling == sampling);
            asked = others;
            self.write(together, &sampling);
        }
    }

    fn write(&self, asked: Vec<(Reply, Asked, u64)>, sampling: &Sampling) {
        let requests: Vec<Request> = asked.iter().flat_map(|(_, one, _)| one.requests.clone()).collect();
        match self.policy.sampler().generate(&requests, sampling, &mut |_| {}) {
            Ok(generated) => {
                let mut written = generated.completions.as_slice();
                for (to, one, number) in asked {
                    let (own, rest) = written.split_at(one.requests.len());
                    written = rest;
                    to.send(200, &one.answer(own, self.policy, number, now()));
                }
            }
            Err(error) => asked.into_iter().for_each(|(to, ..)| to.refuse((500, error.to_string()))),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
