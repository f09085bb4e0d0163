//! One request to an endpoint: sent, sent again where that may help, and read.

use super::figures::Tally;
use super::{Answer, Choice, Endpoint};
use crate::error::{Error, Result};
use serde_json::Value;
use std::time::{Duration, Instant};

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Sends requests.
pub(super) struct Caller {
    agent: ureq::Agent,
    address: String,
    key: Option<String>,
    /// What the recipe calls the key, for messages.
    key_name: Option<String>,
    retries: usize,
    backoff: f64,
    timeout_s: f64,
}

/// Why an attempt gave no answer.
struct Failed {
    text: String,
    /// Whether another attempt may do better.
    again: bool,
    timed_out: bool,
    /// What the server asks to wait.
    wait: Option<Duration>,
}

/// Counts something in the tally.
pub(super) type Count<'a> = &'a dyn Fn(&dyn Fn(&mut Tally));

impl Caller {
    pub fn new(endpoint: &Endpoint, key: Option<String>) -> Self {
        let timeout = Duration::try_from_secs_f64(endpoint.timeout_s).ok();
        let config = ureq::Agent::config_builder()
            .timeout_global(timeout)
            .http_status_as_error(false)
            .max_idle_connections_per_host(endpoint.concurrency);
        Self {
            agent: config.build().new_agent(),
            address: format!("{}/chat/completions", endpoint.url.trim_end_matches('/')),
            key,
            key_name: endpoint.api_key_env.clone(),
            retries: endpoint.retries,
            backoff: endpoint.backoff_s,
            timeout_s: endpoint.timeout_s,
        }
    }

    /// The answer, after as many attempts as it takes and the recipe allows.
    pub fn call(&self, body: &Value, n: usize, count: Count) -> Result<Answer> {
        for attempt in 0.. {
            let start = Instant::now();
            let failed = match self.attempt(body, n) {
                Ok(answer) => {
                    let seconds = start.elapsed().as_secs_f64();
                    count(&|tally| tally.seconds += seconds);
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            count(&|tally| tally.timeouts += u64::from(failed.timed_out));
            if !failed.again || attempt == self.retries {
                let tried =
                    if attempt > 0 { format!(" (after {} attempts)", attempt + 1) } else { String::new() };
                return Err(Error::Endpoint(
                    self.without_key(&format!("{}: {}{tried}", self.address, failed.text)),
                ));
            }
            let wait = failed.wait.unwrap_or_else(|| doubled(self.backoff, attempt)).min(LONGEST_WAIT);
            tracing::debug!(
                "{}: {}; again in {:.1} s",
                self.address,
                self.without_key(&failed.text),
                wait.as_secs_f64()
            );
            count(&|tally| tally.retries += 1);
            std::thread::sleep(wait);
        }
        unreachable!("the last attempt returns")
    }

    fn attempt(&self, body: &Value, n: usize) -> std::result::Result<Answer, Failed> {
        let mut request = self.agent.post(&self.address);
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let mut response = request.send_json(body).map_err(|error| self.broken(&error))?;
        let status = response.status().as_u16();
        let wait =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let text = response.body_mut().read_to_string().map_err(|error| self.broken(&error))?;
        if !(200..300).contains(&status) {
            return Err(self.refused(status, &text, wait.map(Duration::from_secs)));
        }
        read(&text, n).map_err(|text| Failed { text, again: false, timed_out: false, wait: None })
    }

    /// No answer: a connection that failed, or one too slow.
    fn broken(&self, error: &ureq::Error) -> Failed {
        let timed_out = matches!(error, ureq::Error::Timeout(_));
        let again = timed_out
            || matches!(
                error,
                ureq::Error::Io(_)
                    | ureq::Error::ConnectionFailed
                    | ureq::Error::HostNotFound
                    | ureq::Error::Protocol(_)
            );
        let text = match timed_out {
            true => {
                format!("no answer within timeout_s = {}; raise it, or ask for fewer tokens", self.timeout_s)
            }
            false => format!("cannot be reached: {error}; check the url, and that the server runs"),
        };
        Failed { text, again, timed_out, wait: None }
    }

    /// An answer that is an error.
    fn refused(&self, status: u16, body: &str, wait: Option<Duration>) -> Failed {
        let remedy = match (status, &self.key_name) {
            (401 | 403, Some(name)) => format!("; the key in {name} is not accepted: check it"),
            (401 | 403, None) => {
                "; it wants a key: set api_key_env to the environment variable that has it".into()
            }
            (404, _) => "; check the url (its end is often /v1) and the model's name".into(),
            (400 | 422, _) => {
                "; it does not understand the request: see `extra` for fields that it wants".into()
            }
            (429, _) => "; too many requests: lower concurrency, or raise retries and backoff_s".into(),
            (500.., _) => "; the server has trouble: try later, or raise retries".into(),
            _ => String::new(),
        };
        let again = matches!(status, 408 | 409 | 425 | 429 | 500..);
        Failed {
            text: format!("status {status}{remedy}; it says: {}", excerpt(body)),
            again,
            timed_out: false,
            wait,
        }
    }

    /// Servers repeat keys in their complaints.
    fn without_key(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| text.replace(key.as_str(), "(the key)"))
    }
}

/// backoff · 2^attempt seconds.
fn doubled(backoff: f64, attempt: usize) -> Duration {
    Duration::try_from_secs_f64(backoff * 2f64.powi(attempt.min(30) as i32)).unwrap_or(LONGEST_WAIT)
}

/// What a server says that answers as OpenAI's does.
fn read(text: &str, n: usize) -> std::result::Result<Answer, String> {
    let unreadable = |what: &str| {
        format!("its answer {what}; is it an OpenAI-compatible chat endpoint? It says: {}", excerpt(text))
    };
    let said: Value = serde_json::from_str(text).map_err(|_| unreadable("is no JSON"))?;
    let choices = said["choices"].as_array().ok_or_else(|| unreadable("has no `choices`"))?;
    if choices.len() != n {
        return Err(unreadable(&format!("has {} choices, not the {n} asked for", choices.len())));
    }
    let choice = |choice: &Value| {
        let message = choice.get("message").ok_or_else(|| unreadable("has a choice without `message`"))?;
        // A model that only thought until its limit has said nothing.
        let text = message["content"].as_str().unwrap_or_default().to_owned();
        Ok(Choice { text, truncated: choice["finish_reason"] == "length" })
    };
    let tokens = |name: &str| said["usage"][name].as_u64().unwrap_or(0);
    Ok(Answer {
        choices: choices.iter().map(choice).collect::<std::result::Result<_, String>>()?,
        prompt_tokens: tokens("prompt_tokens"),
        completion_tokens: tokens("completion_tokens"),
    })
}

fn excerpt(text: &str) -> String {
    let mut characters = text.trim().chars();
    let start: String = characters.by_ref().take(300).collect();
    if characters.next().is_some() { start + "…" } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end_at_a_minute() {
        let seconds = |attempt| doubled(0.5, attempt).min(LONGEST_WAIT).as_secs_f64();
        assert_eq!([0, 1, 2, 7, 500].map(seconds), [0.5, 1.0, 2.0, 60.0, 60.0]);
    }

    #[test]
    fn an_answer_is_read_or_said_to_be_none() {
        let said = r#"{"choices": [{"message": {"content": "a"}, "finish_reason": "length"},
            {"message": {"content": null}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}"#;
        let choice = |text: &str, truncated| Choice { text: text.into(), truncated };
        let choices = vec![choice("a", true), choice("", false)];
        assert_eq!(read(said, 2), Ok(Answer { choices, prompt_tokens: 3, completion_tokens: 4 }));
        assert!(read(said, 1).unwrap_err().contains("has 2 choices, not the 1 asked for"));
        assert!(read("<html>", 1).unwrap_err().contains("is no JSON"));
        assert!(read("{}", 1).unwrap_err().contains("has no `choices`"));
    }
}
