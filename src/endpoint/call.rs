//! One request to an endpoint: sent, sent again where that may help, and read.

use super::figures::Tally;
use super::reply::{self, NoAnswer, Reply, excerpt};
use super::secrets::Secrets;
use super::{Answer, Endpoint};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest that connecting may take.
const CONNECTING: Duration = Duration::from_secs(20);
/// Bytes of a reply beside its answers, of an answer's token (escaped, with what is told of it), and of all at most.
const FRAME: usize = 1 << 20;
const OF_A_TOKEN: usize = 256;
const LONGEST_REPLY: usize = 1 << 26;
/// Bytes of a connection's buffers, which are filled with zeros before it is used. Headers are read whole, and have 64 KiB at most.
const READ_AT_ONCE: usize = 1 << 16;
const SENT_AT_ONCE: usize = 1 << 14;
/// Bytes of an error that are read.
const LONGEST_ERROR: u64 = 1 << 16;

/// Sends requests.
pub(super) struct Caller {
    agent: ureq::Agent,
    address: String,
    /// The header with the key.
    authorization: Option<String>,
    secrets: Secrets,
    /// Whether it was said that answers have the key.
    warned: AtomicBool,
    /// What the recipe calls the key, for messages.
    key_name: Option<String>,
    model: String,
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
        // A redirect is told, not followed: it would take the question to another server, or make another of it.
        let config = ureq::Agent::config_builder()
            .timeout_global(timeout)
            .timeout_connect(timeout.map(|timeout| timeout.min(CONNECTING)))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .input_buffer_size(READ_AT_ONCE)
            .output_buffer_size(SENT_AT_ONCE)
            .max_idle_connections_per_host(endpoint.concurrency);
        let has_scheme = |key: &str| key.starts_with("Bearer ") || key.starts_with("Basic ");
        let header = |key: &String| if has_scheme(key) { key.clone() } else { format!("Bearer {key}") };
        Self {
            agent: config.build().new_agent(),
            address: endpoint.address(),
            authorization: key.as_ref().map(header),
            secrets: Secrets::of(key.as_deref()),
            warned: AtomicBool::new(false),
            key_name: endpoint.api_key_env.clone(),
            model: endpoint.model.clone(),
            retries: endpoint.retries,
            backoff: endpoint.backoff_s,
            timeout_s: endpoint.timeout_s,
        }
    }

    /// The answer, after as many attempts as it takes and the recipe allows. Choices that say something are kept, and only the
    /// others asked for again.
    pub fn call(&self, body: &Value, n: usize, count: Count) -> Result<Answer> {
        let mut body = body.clone();
        let mut answer = Answer::default();
        for attempt in 0.. {
            let missing = n - answer.choices.len();
            if n > 1 {
                body["n"] = json!(missing);
            }
            let start = Instant::now();
            let failed = match self.attempt(&body, missing) {
                Ok(reply) => {
                    let seconds = start.elapsed().as_secs_f64();
                    count(&|tally| {
                        tally.seconds += seconds;
                        tally.refusals += reply.refusals;
                    });
                    answer.prompt_tokens += reply.prompt_tokens;
                    answer.completion_tokens += reply.completion_tokens;
                    answer.choices.extend(reply.choices);
                    let Some(text) = reply.lacking else { return Ok(self.without_key(answer)) };
                    count(&|tally| tally.empty += 1);
                    passing(text)
                }
                Err(failed) => failed,
            };
            count(&|tally| tally.timeouts += u64::from(failed.timed_out));
            let text = self.secrets.out_of(&format!("{}: {}", self.address, failed.text));
            if !failed.again || attempt == self.retries {
                let tried =
                    if attempt > 0 { format!(" (after {} attempts)", attempt + 1) } else { String::new() };
                return Err(Error::Endpoint(format!("{text}{tried}")));
            }
            let wait = failed.wait.unwrap_or_else(|| doubled(self.backoff, attempt)).min(LONGEST_WAIT);
            tracing::debug!("{text}; again in {:.1} s", wait.as_secs_f64());
            count(&|tally| tally.retries += 1);
            std::thread::sleep(wait);
        }
        unreachable!("the last attempt returns")
    }

    fn attempt(&self, body: &Value, n: usize) -> std::result::Result<Reply, Failed> {
        let mut request = self.agent.post(&self.address);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.send_json(body).map_err(|error| self.broken(&error))?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        if (300..400).contains(&status) {
            return Err(self.redirected(status, header("location").unwrap_or_default()));
        }
        let wait = header("retry-after").and_then(|value| asked_wait(value, SystemTime::now()));
        if !(200..300).contains(&status) {
            let mut said = Vec::new();
            // What could be read says enough.
            let _ = response.body_mut().as_reader().take(LONGEST_ERROR).read_to_end(&mut said);
            return Err(self.refused(status, &String::from_utf8_lossy(&said), wait));
        }
        let most = longest_reply(body);
        let mut said = Vec::new();
        let read = response.body_mut().as_reader().take(most as u64 + 1).read_to_end(&mut said);
        read.map_err(|error| self.broken(&ureq::Error::Io(error)))?;
        if said.len() > most {
            return Err(passing(format!(
                "its reply is longer than {most} bytes, which is more than max_tokens can be; it was not read"
            )));
        }
        reply::read(&text(said)?, n, &|said: &str| self.quoted(said)).map_err(|none| match none {
            NoAnswer::Passing(text) => passing(text),
            NoAnswer::Count(text) => Failed { again: false, ..passing(text) },
            NoAnswer::Error(status, text) => self.refused(status, &text, wait),
        })
    }

    /// No answer: a connection that failed, or one too slow.
    fn broken(&self, error: &ureq::Error) -> Failed {
        let timed_out = match error {
            ureq::Error::Timeout(_) => true,
            // Of a body the reader says so in an error of its own.
            ureq::Error::Io(error) => {
                error.kind() == ErrorKind::TimedOut
                    || error
                        .get_ref()
                        .and_then(|inner| inner.downcast_ref::<ureq::Error>())
                        .is_some_and(|inner| matches!(inner, ureq::Error::Timeout(_)))
            }
            _ => false,
        };
        let again = timed_out
            || matches!(
                error,
                ureq::Error::Io(_)
                    | ureq::Error::ConnectionFailed
                    | ureq::Error::HostNotFound
                    | ureq::Error::Protocol(_)
                    | ureq::Error::BodyStalled
            );
        let text = match timed_out {
            true => {
                format!("no answer within timeout_s = {}; raise it, or ask for fewer tokens", self.timeout_s)
            }
            false => format!("cannot be reached: {error}; check the url, and that the server runs"),
        };
        Failed { timed_out, again, ..passing(text) }
    }

    /// An answer that is an error.
    fn refused(&self, status: u16, body: &str, wait: Option<Duration>) -> Failed {
        let spent = body.contains("insufficient_quota");
        let remedy = match (status, &self.key_name) {
            (401 | 403, Some(name)) => format!("; the key in {name} is not accepted: check it"),
            (401 | 403, None) => {
                "; it wants a key: set api_key_env to the environment variable that has it".into()
            }
            (402, _) => "; the account has no credit left".into(),
            (429, _) if spent => "; the account has no credit left".into(),
            (404, _) => {
                format!("; check the url (its end is often /v1) and the model's name, {:?}", self.model)
            }
            (400 | 422, _) => {
                "; it does not understand the request: see `extra` for fields that it wants".into()
            }
            (413, _) => "; the question is too long for it".into(),
            (429, _) => "; too many requests: lower concurrency, or raise retries and backoff_s".into(),
            (500.., _) => "; the server has trouble: try later, or raise retries".into(),
            _ => String::new(),
        };
        let said = self.quoted(body);
        let again = matches!(status, 408 | 409 | 425 | 429 | 500..) && !spent;
        Failed { again, wait, ..passing(format!("status {status}{remedy}; it says: {said}")) }
    }

    /// The beginning of what a server says. The whole is looked through for the key before any of it is cut off.
    fn quoted(&self, said: &str) -> String {
        excerpt(&self.secrets.out_of(said))
    }

    /// An answer that stands elsewhere.
    fn redirected(&self, status: u16, location: &str) -> Failed {
        let to = self.quoted(location);
        let text = format!(
            "status {status}: it sends on to {to:?}, where the question does not follow; set url to where it is answered"
        );
        Failed { again: false, ..passing(text) }
    }

    /// Servers that repeat the key in an answer would have it in the cache, in traces, and in what is learned.
    pub fn without_key(&self, mut answer: Answer) -> Answer {
        let mut repeated = false;
        for choice in &mut answer.choices {
            for said in std::iter::once(&mut choice.text).chain(choice.reasoning.as_mut()) {
                let Some(text) = self.secrets.out_of_answer(said) else { continue };
                *said = text;
                repeated = true;
            }
        }
        if repeated && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("{}: it repeats the key in its answers; it was taken out of them", self.address);
        }
        answer
    }
}

/// A reply's bytes as text.
fn text(said: Vec<u8>) -> std::result::Result<String, Failed> {
    String::from_utf8(said).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[at];
        passing(format!("its reply is no UTF-8: byte {at} is 0x{byte:02x}, which is no character there"))
    })
}

fn passing(text: String) -> Failed {
    Failed { text, again: true, timed_out: false, wait: None }
}

/// Bytes that the answers to a request can have.
fn longest_reply(body: &Value) -> usize {
    let number = |name: &str| body[name].as_u64().map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let tokens = number("max_completion_tokens").or_else(|| number("max_tokens")).unwrap_or(usize::MAX);
    let (n, of_a_token) = (number("n").unwrap_or(1), number("top_logprobs").unwrap_or(0).saturating_add(1));
    let answers = tokens.saturating_mul(n).saturating_mul(of_a_token.saturating_mul(OF_A_TOKEN));
    answers.saturating_add(FRAME).min(LONGEST_REPLY)
}

/// The wait that a server asks for: seconds, or a date.
fn asked_wait(value: &str, now: SystemTime) -> Option<Duration> {
    let seconds = value.trim().parse::<f64>().ok().filter(|seconds| *seconds >= 0.0);
    match seconds {
        Some(seconds) => Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT)),
        None => Some(httpdate::parse_http_date(value.trim()).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// backoff · 2^attempt seconds.
fn doubled(backoff: f64, attempt: usize) -> Duration {
    Duration::try_from_secs_f64(backoff * 2f64.powi(attempt.min(30) as i32)).unwrap_or(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::super::Choice;
    use super::*;

    #[test]
    fn waits_double_and_end_at_a_minute() {
        let seconds = |attempt| doubled(0.5, attempt).min(LONGEST_WAIT).as_secs_f64();
        assert_eq!([0, 1, 2, 7, 500].map(seconds), [0.5, 1.0, 2.0, 60.0, 60.0]);
    }

    #[test]
    fn a_server_asks_to_wait_in_seconds_or_until_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |value: &str| asked_wait(value, now).map(|wait| wait.as_secs_f64());
        // The example of RFC 9110 is that very second.
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10.0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:30 GMT"), Some(0.0));
        assert_eq!(
            [seconds(" 7"), seconds("0.5"), seconds("1e300"), seconds("soon"), seconds("-1")],
            [Some(7.0), Some(0.5), Some(60.0), None, None]
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_a_failed_attempt() {
        assert_eq!(text("é".into()).ok().as_deref(), Some("é"));
        let Err(failed) = text(b"ab\xff\xfec".to_vec()) else { panic!("no UTF-8") };
        assert!(failed.again && failed.text.contains("byte 2 is 0xff"), "{}", failed.text);
    }

    #[test]
    fn the_key_is_in_nothing_that_a_choice_says() {
        let endpoint = Endpoint { url: "http://x/v1".into(), model: "m".into(), ..Endpoint::default() };
        let caller = Caller::new(&endpoint, Some("sk-canary-123".into()));
        let reasoning = Some("the header has sk-canary-123".to_owned());
        let choice = Choice { text: "it is sk-canary-123.".into(), truncated: false, reasoning };
        let answer = Answer { choices: vec![choice], prompt_tokens: 1, completion_tokens: 2 };
        let kept = caller.without_key(answer);
        assert_eq!(kept.choices[0].text, "it is (the key).");
        assert_eq!(kept.choices[0].reasoning.as_deref(), Some("the header has (the key)"));
    }

    #[test]
    fn a_reply_is_as_long_as_its_tokens_can_be() {
        assert_eq!(longest_reply(&json!({"max_tokens": 1024})), (1 << 20) + (1 << 18));
        assert_eq!(
            longest_reply(&json!({"max_tokens": 1000, "n": 2, "top_logprobs": 1})),
            (1 << 20) + 1_024_000
        );
        assert_eq!(
            [longest_reply(&json!({})), longest_reply(&json!({"max_tokens": u64::MAX, "n": 9}))],
            [1 << 26; 2]
        );
    }
}
