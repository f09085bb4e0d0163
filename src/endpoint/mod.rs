//! A language model behind an OpenAI-compatible chat endpoint: the one place where the program talks to one.

mod cache;
mod call;
mod figures;

use crate::data::Message;
use crate::error::{Error, Result};
use crate::section::{Misfit, all_fit};
use call::Caller;
use crossbeam::thread;
use figures::Tally;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A model behind an endpoint, and how it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Its base, such as `https://api.openai.com/v1` or `http://localhost:8000/v1`; `/chat/completions` is added.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// The name of the environment variable that holds the key. The key itself is never written anywhere.
    pub api_key_env: Option<String>,
    /// Softmax temperature.
    pub temperature: f64,
    /// Longest answer, in tokens.
    pub max_tokens: usize,
    /// Further fields of every request, such as `{ top_p = 0.9, reasoning_effort = "low" }`.
    pub extra: Map<String, Value>,
    /// Seconds that one attempt may take, from connecting to the answer's last byte.
    pub timeout_s: f64,
    /// Further attempts after a 408, 409, 425, 429 or 5xx, a timeout or a broken connection.
    pub retries: usize,
    /// Seconds before the first further attempt, twice as many before each next; the server's `Retry-After` where it
    /// says one, and a minute at most.
    pub backoff_s: f64,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Answers that one request asks for, at most (its `n`); 1 for servers that give one only. All at once by default.
    pub answers_per_request: Option<usize>,
    /// A folder that keeps every answer under a hash of the whole request, so that nothing is paid for twice.
    pub cache: Option<PathBuf>,
    /// Price of a million prompt tokens, for the figure `cost`.
    pub prompt_price: f64,
    /// Price of a million answer tokens.
    pub completion_price: f64,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            api_key_env: None,
            temperature: 1.0,
            max_tokens: 1024,
            extra: Map::new(),
            timeout_s: 120.0,
            retries: 5,
            backoff_s: 1.0,
            concurrency: 8,
            answers_per_request: None,
            cache: None,
            prompt_price: 0.0,
            completion_price: 0.0,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Independent answers to it.
    pub n: usize,
    /// A seed, for servers that take one.
    pub seed: Option<u64>,
    /// Longest answer in tokens, where it is not the endpoint's `max_tokens`.
    pub max_tokens: Option<usize>,
    /// Tells apart several askings of the same conversation: each has a place of its own in the cache.
    pub attempt: usize,
}

impl ChatRequest {
    /// One answer to a user's turn.
    pub fn user(text: String) -> Self {
        let messages = vec![Message::new("user", text)];
        Self { messages, n: 1, seed: None, max_tokens: None, attempt: 0 }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// As many answers as were asked for.
    pub choices: Vec<Choice>,
    /// Tokens of the prompt, by the server's count.
    pub prompt_tokens: u64,
    /// Tokens of all answers, by the server's count.
    pub completion_tokens: u64,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Its text.
    pub text: String,
    /// Whether the token limit cut it off.
    pub truncated: bool,
}

impl Endpoint {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        let mut wrong =
            |key: &str, message: &str, remedy: &str| found.push(Misfit::new(key, message, remedy));
        if !(self.url.starts_with("http://") || self.url.starts_with("https://")) {
            wrong("url", "it must be an address", "such as \"http://localhost:8000/v1\"");
        }
        if self.model.is_empty() {
            wrong("model", "name the model that the endpoint is to use", "");
        }
        if self.api_key_env.as_ref().is_some_and(|name| !is_variable(name)) {
            wrong("api_key_env", "it must be the name of an environment variable, not the key itself", "");
        }
        for key in ["model", "messages", "n"].iter().filter(|key| self.extra.contains_key(**key)) {
            wrong(&format!("extra.{key}"), "it is set by the program", "use the section's own keys");
        }
        let counts = [
            ("max_tokens", self.max_tokens),
            ("concurrency", self.concurrency),
            ("answers_per_request", self.answers_per_request.unwrap_or(1)),
        ];
        for (key, _) in counts.iter().filter(|(_, count)| *count == 0) {
            wrong(key, "it must be at least 1", "");
        }
        let least = [
            ("temperature", self.temperature),
            ("backoff_s", self.backoff_s),
            ("prompt_price", self.prompt_price),
            ("completion_price", self.completion_price),
        ];
        for (key, _) in least.iter().filter(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            wrong(key, "it must be a finite number of at least 0", "");
        }
        if Duration::try_from_secs_f64(self.timeout_s).map_or(true, |timeout| timeout.is_zero()) {
            wrong("timeout_s", "it must be above 0", "such as 120");
        }
        found
    }

    /// The same as an error; `section` is the recipe's name for it.
    ///
    /// # Errors
    /// [`Error::Recipe`], naming the keys and the remedies.
    pub fn validate(&self, section: &str) -> Result<()> {
        all_fit(section, self, self.check())
    }

    /// A client of it, with the key from the environment.
    ///
    /// # Errors
    /// [`Error::Recipe`] where a value is wrong or the variable with the key is not set.
    pub fn open(&self, section: &str) -> Result<Client> {
        self.validate(section)?;
        let key = self.api_key_env.as_ref().map(|name| match std::env::var(name) {
            Ok(key) if !key.trim().is_empty() => Ok(key.trim().to_owned()),
            _ => Err(Error::Recipe(format!(
                "{section}.api_key_env = {name:?}: that environment variable is not set; export it with the key of {}",
                self.url
            ))),
        });
        Ok(Client {
            caller: Caller::new(self, key.transpose()?),
            endpoint: self.clone(),
            tally: Mutex::default(),
        })
    }

    /// A request's body.
    fn body(&self, request: &ChatRequest) -> Value {
        let mut body = self.extra.clone();
        body.insert("model".into(), json!(self.model));
        body.insert("messages".into(), json!(request.messages));
        body.entry("temperature").or_insert(json!(self.temperature));
        // Servers that want `max_completion_tokens` refuse `max_tokens`: whoever names the one does not send the other.
        if !body.contains_key("max_completion_tokens") {
            body.entry("max_tokens").or_insert(json!(request.max_tokens.unwrap_or(self.max_tokens)));
        }
        if request.n != 1 {
            body.insert("n".into(), json!(request.n));
        }
        if let Some(seed) = request.seed {
            body.insert("seed".into(), json!(seed));
        }
        Value::Object(body)
    }

    /// A request as the server takes it: in several of `answers_per_request`, each with a place of its own in the cache.
    fn parts(&self, request: &ChatRequest) -> Vec<ChatRequest> {
        let most = self.answers_per_request.unwrap_or(request.n).max(1);
        let count = request.n.div_ceil(most).max(1);
        let part = |part: usize| ChatRequest {
            n: most.min(request.n - part * most),
            seed: request.seed.map(|seed| seed.wrapping_add(part as u64)),
            attempt: request.attempt * count + part,
            ..request.clone()
        };
        (0..count).map(part).collect()
    }
}

impl Answer {
    /// The answers to the parts of a request, as one.
    fn joined(parts: impl Iterator<Item = Answer>) -> Self {
        let mut whole = Self { choices: vec![], prompt_tokens: 0, completion_tokens: 0 };
        for part in parts {
            whole.choices.extend(part.choices);
            whole.prompt_tokens += part.prompt_tokens;
            whole.completion_tokens += part.completion_tokens;
        }
        whole
    }
}

/// Letters, digits and `_`, as a shell allows.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// An endpoint that can be asked, by several threads at once.
pub struct Client {
    endpoint: Endpoint,
    caller: Caller,
    tally: Mutex<Tally>,
}

impl Client {
    /// The answers, in order. Requests go out `concurrency` at a time; equal ones go out once. The first that fails for
    /// good ends the rest.
    ///
    /// # Errors
    /// [`Error::Endpoint`], naming url, status and remedy.
    pub fn ask(&self, requests: &[ChatRequest]) -> Result<Vec<Answer>> {
        let parts: Vec<Vec<ChatRequest>> =
            requests.iter().map(|request| self.endpoint.parts(request)).collect();
        let mut answers = self.ask_each(&parts.concat())?.into_iter();
        Ok(parts.iter().map(|parts| Answer::joined(answers.by_ref().take(parts.len()))).collect())
    }

    fn ask_each(&self, requests: &[ChatRequest]) -> Result<Vec<Answer>> {
        let bodies: Vec<Value> = requests.iter().map(|request| self.endpoint.body(request)).collect();
        let keys: Vec<String> = bodies
            .iter()
            .zip(requests)
            .map(|(body, asked)| cache::key(&self.endpoint.url, body, asked.attempt))
            .collect();
        let mut first: HashMap<&str, usize> = HashMap::new();
        let unique: Vec<usize> =
            (0..keys.len()).filter(|&at| *first.entry(&keys[at]).or_insert(at) == at).collect();
        let answers = self.each(&unique, |at| self.answer(&keys[at], &bodies[at], requests[at].n))?;
        let known: HashMap<&str, Answer> = unique.iter().map(|&at| keys[at].as_str()).zip(answers).collect();
        Ok(keys.iter().map(|key| known[key.as_str()].clone()).collect())
    }

    /// What there is to tell since it was last asked: `requests`, `cache_hits`, `retries`, `timeouts`, `latency_s` (the mean
    /// of a request), `prompt_tokens`, `completion_tokens`, `cost`.
    pub fn figures(&self) -> Vec<(String, f64)> {
        let tally = std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        tally.figures(self.endpoint.prompt_price, self.endpoint.completion_price)
    }

    /// Calls `ask` for all, `concurrency` at a time; the results in order, or the first error in order.
    fn each(&self, all: &[usize], ask: impl Fn(usize) -> Result<Answer> + Sync) -> Result<Vec<Answer>> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let results = Mutex::new((0..all.len()).map(|_| None).collect::<Vec<Option<Result<Answer>>>>());
        let work = || {
            while !failed.load(Ordering::SeqCst) {
                let at = next.fetch_add(1, Ordering::SeqCst);
                let Some(&number) = all.get(at) else { return };
                let result = ask(number);
                failed.fetch_or(result.is_err(), Ordering::SeqCst);
                results.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(result);
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.endpoint.concurrency.min(all.len()) {
                scope.spawn(|_| work());
            }
        })
        .map_err(|_| Error::Endpoint(format!("a request to {} panicked", self.endpoint.url)))?;
        // Those after a failure may not have been asked; the failure stands among the others.
        results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
    }

    fn answer(&self, key: &str, body: &Value, n: usize) -> Result<Answer> {
        let tally = |count: &dyn Fn(&mut Tally)| {
            count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
        };
        if let Some(folder) = &self.endpoint.cache
            && let Some(kept) = cache::read(folder, key, body)
        {
            tally(&|tally| tally.cache_hits += 1);
            return Ok(kept);
        }
        let answer = self.caller.call(body, n, &|count| tally(count))?;
        tally(&|tally| tally.count(&answer));
        if let Some(folder) = &self.endpoint.cache {
            cache::write(folder, key, body, &answer)?;
        }
        Ok(answer)
    }
}

impl std::fmt::Debug for Client {
    /// Without the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "Client({} at {})", self.endpoint.model, self.endpoint.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(keys: &str) -> Endpoint {
        toml::from_str(&format!("url = 'http://x/v1'\nmodel = 'm'\n{keys}")).unwrap()
    }

    #[test]
    fn the_section_is_checked() {
        let message = |keys: &str| section(keys).validate("reward.judge").unwrap_err().to_string();
        let several = section("concurrency = 0\ntimeout_s = 0").check();
        assert_eq!(
            several.iter().map(|misfit| &misfit.key[..]).collect::<Vec<_>>(),
            ["concurrency", "timeout_s"]
        );
        assert!(!message("api_key_env = 'sk-abc'").contains("sk-abc"), "a key is not repeated");
        assert!(message("concurrency = 0").contains("reward.judge.concurrency = 0"));
        assert!(
            message("api_key_env = 'sk-abc'")
                .contains("the name of an environment variable, not the key itself")
        );
        assert!(message("timeout_s = 0").contains("timeout_s = 0"));
        assert!(message("prompt_price = -1").contains("prompt_price = -1"));
        assert!(message("extra.n = 3").contains("extra.n"));
        let error = Endpoint::default().validate("x").unwrap_err();
        assert!(error.to_string().contains("x.url") && error.exit_code() == 2);
        assert!(toml::from_str::<Endpoint>("temprature = 1").is_err());
    }

    #[test]
    fn the_body_has_what_the_recipe_says_and_no_more() {
        let endpoint = section("temperature = 0.5\nmax_tokens = 7\nextra = { top_p = 0.9 }");
        let body = endpoint.body(&ChatRequest::user("Hi".into()));
        let expected = json!({"top_p": 0.9, "model": "m", "messages": [{"role": "user", "content": "Hi"}],
            "temperature": 0.5, "max_tokens": 7});
        assert_eq!(body, expected);
        let other = section("extra.max_completion_tokens = 9");
        let body = other.body(&ChatRequest { n: 3, seed: Some(5), ..ChatRequest::user("Hi".into()) });
        assert_eq!(
            (&body["n"], &body["seed"], &body["max_completion_tokens"]),
            (&json!(3), &json!(5), &json!(9))
        );
        assert!(body.get("max_tokens").is_none());
    }
}
