//! `train serve`: a model behind OpenAI's interface, on this machine.

mod answer;
mod asked;
mod body;
mod counter;
mod http;
mod pieces;
mod reader;
mod refused;

use super::named::{Asking, Model};
use super::verb::Verb;
use crate::error::{Error, Result};
use crate::log::terminal::say;
use crate::recipe::Registry;
use clap::Parser;
use clap::builder::{NonEmptyStringValueParser, RangedU64ValueParser};
use counter::Counter;
use http::{Received, listen};
use reader::Reader;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

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
    /// What requests call the model [default: the name of the folder that is given, such as the run's, or the hub's id].
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Sequences decoded at once.
    #[arg(long, default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    slots: usize,
    /// The most that an answer may take; a request that takes longer is ended with an error.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    timeout: u64,
    #[command(flatten)]
    asking: Asking,
}

const EXAMPLES: &str = "Requests are decoded together: one that comes while others are decoded joins them at their next token. A request's settings go before
those here, and these before the run's recipe. Log-probabilities are over the whole vocabulary at the sampling temperature. `return_token_ids` gives
ids. What is not served (tools, logit_bias, penalties other than repetition_penalty, response_format) is refused by name; docs/serve.md has all keys.

Examples:
  train serve checkpoints/mine
  curl localhost:8000/v1/completions -d '{\"prompt\": \"12+34\\n\", \"temperature\": 0, \"logprobs\": 1}'
  lm_eval --model local-completions --tasks gsm8k --model_args model=mine,base_url=http://localhost:8000/v1/completions,tokenizer=checkpoints/mine/sft-step-000200";

impl Verb for Serve {
    fn run(self, registry: &Registry) -> Result<()> {
        let mut found = self.model.find(registry)?;
        let policy = self.model.load(&found, self.slots)?;
        self.asking.apply(&mut found, &policy)?;
        let name = self.name.clone().unwrap_or_else(|| self.model.name());
        // A run's folder stands for its newest checkpoint, which is a name of it too.
        let checkpoint = found.folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let (host, port) = (self.host.as_str(), self.port);
        let listener = TcpListener::bind((host, port)).map_err(|error| {
            Error::Recipe(format!("{host}:{port} cannot be listened on: {error}; {}", remedy(error.kind())))
        })?;
        let address = listener.local_addr().map_err(Error::io("the socket"))?;
        say(&format!("serving {name} at http://{address}/v1"));
        let names = std::iter::once(name).chain(checkpoint).collect();
        let reader = Arc::new(Reader::new(names, &policy, found.sampling));
        let (sender, receiver) = channel();
        let heard = move |received: Received| {
            let _ = reader.read(received).map(|ready| sender.send(ready).is_ok());
        };
        std::thread::spawn(move || listen(&listener, heard));
        let timeout = Duration::from_secs(self.timeout);
        let mut counter = Counter::new(&policy, timeout, receiver);
        let mut decoder = policy.decoder();
        while counter.wait() {
            if let Err(error) = decoder.serve(&mut counter) {
                say(&format!("error: {error}"));
                counter.fail(&error);
            }
        }
        Ok(())
    }
}

/// What there is to do where an address cannot be listened on: the port is another's, or the address is none of this machine's.
fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied => "choose another --port",
        _ => "choose another --host, such as 127.0.0.1, or 0.0.0.0 for all of this machine's addresses",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_free_is_told_from_one_that_is_not_ours() {
        let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let of = |host: &str, port: u16| remedy(TcpListener::bind((host, port)).unwrap_err().kind());
        assert!(of("127.0.0.1", port).contains("--port"));
        // An address for documentation alone (RFC 5737).
        assert!(of("192.0.2.1", 0).contains("--host"));
    }

    #[test]
    fn a_name_of_nothing_is_none() {
        let asked = |words: &[&str]| Serve::try_parse_from([&["serve", "m"][..], words].concat()).map(drop);
        assert!(asked(&["--name", "mine"]).is_ok() && asked(&["--name", ""]).is_err());
    }
}
