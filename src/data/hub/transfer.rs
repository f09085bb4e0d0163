//! Asking a hub over HTTP: with limits of time, redirects and size, and the token for the hub alone.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

/// Redirects from a file's address to where it lies.
const MOST_REDIRECTS: usize = 10;
const CONNECTING: Duration = Duration::from_secs(10);
/// How often the patience for one word all of a listing may take.
const LISTINGS_PATIENCE: u32 = 6;
/// Bytes of the longest listing.
const LONGEST_LISTING: u64 = 1 << 26;

/// Who asks.
pub(super) struct Client {
    agent: Agent,
    /// Scheme, host and port that the token is for.
    home: Option<Origin>,
    token: Option<String>,
    patience: Duration,
}

type Origin = (String, String, u16);

/// Why nothing came.
#[derive(Debug)]
pub(super) enum Failure {
    /// The hub said no.
    Status(u16),
    /// It says what cannot be, or must not.
    Refused(String),
    /// It cannot be reached, is too slow, or broke off.
    Broken(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(code) => write!(f, "http status: {code}"),
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
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_resolve(Some(CONNECTING.min(patience)))
            .timeout_connect(Some(CONNECTING.min(patience)))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience));
        let home = endpoint.parse().ok().as_ref().and_then(origin);
        Self { agent: config.build().new_agent(), home, token, patience }
    }

    /// What a listing says.
    pub fn listing(&self, address: &str) -> Result<String, Failure> {
        let mut found = self.get(address, None)?;
        let (mut text, began) = (Vec::new(), Instant::now());
        let body = found.response.body_mut();
        let mut reader = body.with_config().limit(LONGEST_LISTING).reader();
        let mut part = vec![0; 1 << 16];
        loop {
            match reader.read(&mut part).map_err(|error| self.broke_off(&error))? {
                0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
                bytes => text.extend_from_slice(&part[..bytes]),
            }
            // Each read may be quick and say a byte: all of them together have a time too.
            let most = self.patience.saturating_mul(LISTINGS_PATIENCE);
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
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            etag = etag.or_else(|| header("x-linked-etag"));
            commit = commit.or_else(|| header("x-repo-commit"));
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                let etag = etag.or_else(|| header("etag"));
                return match status {
                    200..300 => Ok(Found { response, etag, commit }),
                    // The rest of what is there whole.
                    _ => Err(Failure::Status(status)),
                };
            }
            // On the hub itself the tag is the file's; where it lies elsewhere another's.
            etag = etag.or_else(|| header("etag").filter(|_| self.home.as_ref() == Some(&origin)));
            let location = header("location").unwrap_or_default();
            let next = beside(&at, &location)
                .ok_or_else(|| refused(format!("it sends on to {location:?}, which is no address")))?;
            if at.scheme_str() == Some("https") && next.scheme_str() == Some("http") {
                return Err(refused(format!(
                    "it sends on from https to {}, where anybody could read along",
                    shown(&next.to_string())
                )));
            }
            at = next;
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
        let seconds = self.patience.as_secs_f64();
        format!("it said nothing for {seconds} s; HF_HUB_DOWNLOAD_TIMEOUT sets how long is waited")
    }
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
    fn an_address_is_shown_without_its_secrets() {
        assert_eq!(shown("https://me:pass@hub.co/a/b?sig=1"), "https://hub.co/a/b");
        assert_eq!(shown("https://hub.co"), "https://hub.co");
    }
}
