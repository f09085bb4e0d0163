//! Asking a hub over HTTP: with limits of time, redirects and size, and the token for the hub alone.

mod sending;

pub(super) use sending::{Content, Reply, Sending, To};

use serde_json::Value;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

/// Attempts at what may go better the next time.
const ATTEMPTS: u64 = 3;
/// Redirects from a file's address to where it lies.
const MOST_REDIRECTS: usize = 10;
const CONNECTING: Duration = Duration::from_secs(10);
/// How often the patience for one word all of a listing may take, and a word of who puts away what was sent.
const LONG: u32 = 6;
/// Bytes of the longest listing.
const LONGEST_LISTING: u64 = 1 << 26;
/// Characters that are shown of a hub's sentence.
const LONGEST_WORDS: usize = 300;

/// Who asks.
pub(super) struct Client {
    agent: Agent,
    /// Scheme, host and port that the token is for.
    home: Option<Origin>,
    token: Option<String>,
    patience: Duration,
    /// How long a word is waited for.
    waits: Duration,
}

type Origin = (String, String, u16);

/// Why nothing came.
#[derive(Debug)]
pub(super) enum Failure {
    /// The hub said no.
    Status(u16, Said),
    /// It says what cannot be, or must not.
    Refused(String),
    /// It cannot be reached, is too slow, or broke off.
    Broken(String),
}

/// What is said with a no.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The hub's word for why, such as `RepoNotFound`.
    pub code: String,
    /// Its sentence.
    pub words: String,
}

impl Failure {
    /// Whether the next attempt may go better.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Status(408 | 429 | 500.., _))
    }
}

/// Tries until it is done, or has failed by what does not pass, or for the third time; with a pause before each further attempt.
pub(super) fn patiently<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    passes: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut attempts = 0;
    loop {
        let failure = match attempt() {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        attempts += 1;
        if !passes(&failure) || attempts == ATTEMPTS {
            return Err(failure);
        }
        std::thread::sleep(Duration::from_millis(300 * attempts));
    }
}

impl std::fmt::Display for Said {
    /// The sentence in brackets, to stand behind another.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.words.is_empty() { Ok(()) } else { write!(f, " ({})", self.words) }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(code, said) => write!(f, "http status: {code}{said}"),
            Self::Refused(why) | Self::Broken(why) => f.write_str(why),
        }
    }
}

/// A file's answer, and what stood on the way to it.
pub(super) struct Found {
    pub response: Response<Body>,
    /// The file's name among its like, as the hub says it.
    pub etag: Option<String>,
    /// The commit that it is of.
    pub commit: Option<String>,
}

impl Client {
    /// For the hub at `endpoint`. Whoever says nothing for `patience` is given up.
    pub fn new(endpoint: &str, token: Option<String>, patience: Duration) -> Self {
        Self::waiting(endpoint, token, patience, patience)
    }

    /// The same for sending: what has come whole is put away, which may take longer than a word.
    pub fn sending(endpoint: &str, token: Option<String>, patience: Duration) -> Self {
        Self::waiting(endpoint, token, patience, patience.saturating_mul(LONG))
    }

    fn waiting(endpoint: &str, token: Option<String>, patience: Duration, waits: Duration) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_resolve(Some(CONNECTING.min(patience)))
            .timeout_connect(Some(CONNECTING.min(patience)))
            .timeout_recv_response(Some(waits))
            .timeout_per_read(Some(waits))
            .timeout_per_write(Some(waits));
        let home = endpoint.parse().ok().as_ref().and_then(origin);
        Self { agent: config.build().new_agent(), home, token, patience, waits }
    }

    /// What a listing says.
    pub fn listing(&self, address: &str) -> Result<String, Failure> {
        self.text(&mut self.get(address, None)?.response)
    }

    /// All that an answer says, up to a limit.
    fn text(&self, response: &mut Response<Body>) -> Result<String, Failure> {
        let (mut text, began) = (Vec::new(), Instant::now());
        let body = response.body_mut();
        let mut reader = body.with_config().limit(LONGEST_LISTING).reader();
        let mut part = vec![0; 1 << 16];
        loop {
            match reader.read(&mut part).map_err(|error| self.broke_off(&error))? {
                0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
                bytes => text.extend_from_slice(&part[..bytes]),
            }
            // Each read may be quick and say a byte: all of them together have a time too.
            let most = self.patience.saturating_mul(LONG);
            if began.elapsed() > most {
                return Err(Failure::Broken(format!(
                    "its listing was not whole after {} s; HF_HUB_DOWNLOAD_TIMEOUT, a sixth of that, sets how long is waited",
                    most.as_secs_f64()
                )));
            }
        }
    }

    /// A file from its byte `from` on, wherever redirects lead.
    pub fn get(&self, address: &str, from: Option<u64>) -> Result<Found, Failure> {
        let refused = |why: String| Failure::Refused(why);
        let mut at: Uri =
            address.parse().map_err(|_| refused(format!("{} is no address", shown(address))))?;
        let (mut etag, mut commit) = (None, None);
        for _ in 0..=MOST_REDIRECTS {
            let origin = origin(&at).ok_or_else(|| {
                refused(format!("it sends on to {}, which is no http address", shown(&at.to_string())))
            })?;
            // As it lies there: a part of what was packed for the way is no part of the file.
            let mut request = self.agent.get(&at).header("Accept-Encoding", "identity");
            if let Some(token) = self.token.as_ref().filter(|_| self.home.as_ref() == Some(&origin)) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            if let Some(from) = from.filter(|from| *from > 0) {
                request = request.header("Range", format!("bytes={from}-"));
            }
            let response = request.call().map_err(|error| self.broken(&error))?;
            let header = |name: &str| header(response.headers(), name);
            etag = etag.or_else(|| header("x-linked-etag"));
            commit = commit.or_else(|| header("x-repo-commit"));
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                let etag = etag.or_else(|| header("etag"));
                return match status {
                    200..300 => Ok(Found { response, etag, commit }),
                    // The rest of what is there whole.
                    _ => Err(Failure::Status(status, self.said(response.headers(), None))),
                };
            }
            // On the hub itself the tag is the file's; where it lies elsewhere another's.
            etag = etag.or_else(|| header("etag").filter(|_| self.home.as_ref() == Some(&origin)));
            at = next(&at, response.headers())?;
        }
        Err(refused(format!("it sends on more than {MOST_REDIRECTS} times")))
    }

    fn broken(&self, error: &ureq::Error) -> Failure {
        Failure::Broken(match error {
            ureq::Error::Timeout(_) => self.slow(),
            ureq::Error::Io(error) => return self.broke_off(error),
            other => other.to_string(),
        })
    }

    /// A transfer that failed.
    pub fn broke_off(&self, error: &std::io::Error) -> Failure {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Failure::Broken(self.slow()),
            _ => Failure::Broken(error.to_string()),
        }
    }

    fn slow(&self) -> String {
        let (seconds, part) =
            (self.waits.as_secs_f64(), if self.waits > self.patience { ", a sixth of that," } else { "" });
        format!("it said nothing for {seconds} s; HF_HUB_DOWNLOAD_TIMEOUT{part} sets how long is waited")
    }

    /// What an answer that is a no says of it, in its headers or, as JSON, in its body; of other bodies nothing is shown, nor the token.
    fn said(&self, headers: &HeaderMap, body: Option<&str>) -> Said {
        let told: Value = body.and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        let of_body = ["error", "message"].iter().find_map(|key| told[*key].as_str().map(str::to_owned));
        let words = header(headers, "x-error-message").or(of_body).unwrap_or_default();
        Said { code: header(headers, "x-error-code").unwrap_or_default(), words: self.words(&words) }
    }

    /// Somebody else's sentence as it is shown: on a line, not too long, without the token.
    pub fn words(&self, words: &str) -> String {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = self.token.iter().fold(words, |words, token| words.replace(token, "(the token)"));
        words.chars().take(LONGEST_WORDS).collect()
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Where an answer of `at` sends on to: never from https to where anybody could read along.
fn next(at: &Uri, headers: &HeaderMap) -> Result<Uri, Failure> {
    let location = header(headers, "location").unwrap_or_default();
    let next = beside(at, &location)
        .ok_or_else(|| Failure::Refused(format!("it sends on to {location:?}, which is no address")))?;
    if at.scheme_str() == Some("https") && next.scheme_str() == Some("http") {
        return Err(Failure::Refused(format!(
            "it sends on from https to {}, where anybody could read along",
            shown(&next.to_string())
        )));
    }
    Ok(next)
}

/// Scheme, host and port of an http address.
fn origin(address: &Uri) -> Option<Origin> {
    let scheme = address.scheme_str()?.to_lowercase();
    let usual = match &scheme[..] {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let host = address.host().filter(|host| !host.is_empty())?.to_lowercase();
    Some((scheme, host, address.port_u16().unwrap_or(usual)))
}

/// Where `location` leads from `at`: an address of its own, one on the same host, or beside the last part of the path.
fn beside(at: &Uri, location: &str) -> Option<Uri> {
    if location.is_empty() {
        return None;
    }
    let (scheme, authority) = (at.scheme_str()?, at.authority()?);
    let text = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.contains("://") {
        location.to_owned()
    } else {
        let folder = at.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    text.split('#').next()?.parse().ok()
}

/// An address without user and password, and without the signature that a store's address ends with.
pub(super) fn shown(address: &str) -> String {
    let address = address.split('?').next().unwrap_or_default();
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", path.map_or(String::new(), |path| format!("/{path}")))
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_from_where_it_was_said() {
        let at: Uri = "https://h.x:8/a/b?c=d".parse().unwrap();
        let to = |location: &str| beside(&at, location).map(|uri| uri.to_string());
        assert_eq!(to("/e/f?g"), Some("https://h.x:8/e/f?g".into()));
        assert_eq!(to("e"), Some("https://h.x:8/a/e".into()));
        assert_eq!(to("//y/e"), Some("https://y/e".into()));
        assert_eq!(to("http://y/e#f"), Some("http://y/e".into()));
        assert_eq!(to(""), None);
    }

    #[test]
    fn the_token_is_for_scheme_host_and_port() {
        let of = |text: &str| origin(&text.parse().unwrap());
        assert_eq!(of("https://Hub.co/a"), of("https://hub.co:443"));
        for other in
            ["http://hub.co", "https://hub.co:444", "https://hub.co.evil", "https://x.hub.co", "ftp://hub.co"]
        {
            assert_ne!(of("https://hub.co"), of(other), "{other}");
        }
    }

    #[test]
    fn a_no_is_told_in_the_hubs_words_without_the_token() {
        let client = Client::new("https://hub.co", Some("hf_secret".into()), Duration::from_secs(1));
        let said = |body: &str| client.said(&HeaderMap::new(), Some(body)).to_string();
        assert_eq!(said(r#"{"error": "hf_secret\n is  old"}"#), " ((the token) is old)");
        assert_eq!(said(r#"{"message": "full"}"#), " (full)");
        assert_eq!(said("<Error>signature</Error>"), "");
        assert_eq!(said("[1]"), "");
        let mut headers = HeaderMap::new();
        headers.insert("x-error-code", "RepoNotFound".parse().unwrap());
        headers.insert("x-error-message", "not there".parse().unwrap());
        let said = client.said(&headers, None);
        assert_eq!((said.code.as_str(), said.words.as_str()), ("RepoNotFound", "not there"));
    }

    #[test]
    fn what_passes_is_tried_three_times() {
        let tried = |failure: fn() -> Failure| {
            let mut count = 0;
            let tried = || -> Result<(), Failure> {
                count += 1;
                Err(failure())
            };
            patiently(tried, Failure::passes).unwrap_err();
            count
        };
        assert_eq!(tried(|| Failure::Broken("cut".into())), 3);
        assert_eq!(tried(|| Failure::Status(503, Said::default())), 3);
        assert_eq!(tried(|| Failure::Status(403, Said::default())), 1);
        assert_eq!(tried(|| Failure::Refused("no".into())), 1);
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        assert_eq!(shown("https://me:pass@hub.co/a/b?sig=1"), "https://hub.co/a/b");
        assert_eq!(shown("https://hub.co"), "https://hub.co");
    }
}
