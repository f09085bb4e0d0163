//! `train serve`: a model behind OpenAI's interface, on this machine.

mod wire;

use super::named::{Asking, Model};
use super::verb::Verb;
use crate::engine::{Request, Sampling};
use crate::error::{Error, Result};
use crate::log::terminal::say;
use crate::policy::Policy;
use crate::recipe::Registry;
use clap::Parser;
use serde_json::{Value, json};
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};
use tiny_http::{Header, Method, Response, Server};
use wire::{Asked, Refused};

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

/// Bytes of the largest body that is read.
const LARGEST: u64 = 4 << 20;

/// A request with its body, read by a thread of its own.
struct Received {
    request: tiny_http::Request,
    body: Vec<u8>,
}

impl Verb for Serve {
    fn run(self, registry: &Registry) -> Result<()> {
        let mut found = self.model.find(registry)?;
        let policy = self.model.load(&found, self.slots)?;
        self.asking.apply(&mut found, &policy)?;
        let folder =
            found.folder.file_name().map_or("model".into(), |name| name.to_string_lossy().into_owned());
        let name = self.name.clone().unwrap_or(folder);
        let server = Server::http((self.host.as_str(), self.port)).map_err(|error| {
            Error::Recipe(format!(
                "{}:{} cannot be listened on: {error}; choose another --port",
                self.host, self.port
            ))
        })?;
        say(&format!("serving {name} at http://{}/v1", server.server_addr()));
        let (sender, receiver) = channel();
        let server = Arc::new(server);
        std::thread::spawn(move || server.incoming_requests().for_each(|request| receive(request, &sender)));
        let mut serving = Serving { name, policy: &policy, usual: found.sampling, count: 0 };
        while let Some(waiting) = waiting(&receiver) {
            serving.answer(waiting);
        }
        Ok(())
    }
}

/// Reads a request's body aside, so that who sends slowly keeps nobody else waiting.
fn receive(mut request: tiny_http::Request, sender: &Sender<Received>) {
    let sender = sender.clone();
    std::thread::spawn(move || {
        let mut body = Vec::new();
        let read = request.as_reader().take(LARGEST + 1).read_to_end(&mut body);
        match read {
            Ok(_) if body.len() as u64 > LARGEST => {
                refuse(request, (413, format!("a body has at most {LARGEST} bytes")))
            }
            Ok(_) => drop(sender.send(Received { request, body })),
            Err(_) => {}
        }
    });
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
        for Received { request, body } in waiting {
            self.count += 1;
            let path = request.url().split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
            let chat = path == "/v1/chat/completions";
            match (request.method(), path.as_str()) {
                (Method::Post, "/v1/completions" | "/v1/chat/completions") => {
                    match Asked::read(&body, chat, (&self.name, self.policy), &self.usual, self.count) {
                        Ok(one) => asked.push((request, one, self.count)),
                        Err(refused) => refuse(request, refused),
                    }
                }
                (Method::Get, "/v1/models") => {
                    let model = json!({ "id": self.name, "object": "model", "created": now(), "owned_by": "rationale" });
                    respond(request, 200, &json!({ "object": "list", "data": [model] }));
                }
                (Method::Get, "/health") => respond(request, 200, &json!({ "status": "ok" })),
                (method, path) => {
                    let known = "POST /v1/completions, POST /v1/chat/completions, GET /v1/models";
                    let what = format!("there is no {method} {path} here; there is {known}");
                    refuse(request, (404, what));
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

    fn write(&self, asked: Vec<(tiny_http::Request, Asked, u64)>, sampling: &Sampling) {
        let requests: Vec<Request> = asked.iter().flat_map(|(_, one, _)| one.requests.clone()).collect();
        match self.policy.sampler().generate(&requests, sampling, &mut |_| {}) {
            Ok(generated) => {
                let mut written = generated.completions.as_slice();
                for (request, one, number) in asked {
                    let (own, rest) = written.split_at(one.requests.len());
                    written = rest;
                    respond(request, 200, &one.answer(own, self.policy, number, now()));
                }
            }
            Err(error) => {
                asked.into_iter().for_each(|(request, ..)| refuse(request, (500, error.to_string())))
            }
        }
    }
}

fn refuse(request: tiny_http::Request, (status, what): Refused) {
    let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
    respond(
        request,
        status,
        &json!({ "error": { "message": what, "type": kind, "param": null, "code": status } }),
    );
}

/// Answers aside, so that who reads slowly keeps nobody else waiting.
fn respond(request: tiny_http::Request, status: u16, body: &Value) {
    let json = Header::from_bytes("Content-Type", "application/json").expect("it is a header");
    let response = Response::from_string(body.to_string()).with_status_code(status).with_header(json);
    std::thread::spawn(move || {
        // Who asked may have gone.
        let _ = request.respond(response);
    });
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
