//! Sending over HTTP: to the hub itself with the token, and to addresses that it names with what it names for them.

use super::{Client, Failure, MOST_REDIRECTS, header, next, origin, shown};
use std::fs::File;
use std::io::{Error, Read, Seek, SeekFrom};
use std::path::Path;
use ureq::http::{Method, Request, Response, Uri};
use ureq::{Body, SendBody};

/// Headers that are the transfer's own, whoever names them.
const OWN: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "expect"];

/// What is sent, and where to.
pub struct Sending<'a> {
    pub method: Method,
    pub address: &'a str,
    /// Beside those of the transfer itself.
    pub headers: &'a [(String, String)],
    pub content: Content<'a>,
    pub to: To,
}

/// Whose address it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The hub's own, which alone is sent the token: nothing goes on to anybody else.
    Hub,
    /// One that the hub names for a file: it has no token.
    Store,
    /// One that the hub names to be told that a file has come; it has the token where it is the hub's own.
    Witness,
}

/// The bytes that are sent.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    Bytes(&'a [u8]),
    /// `length` bytes of a file from its byte `from` on; `count` is told how far it has come.
    Stretch {
        path: &'a Path,
        from: u64,
        length: u64,
        count: &'a dyn Fn(u64),
    },
}

/// What was answered by who took it.
pub struct Reply {
    pub etag: Option<String>,
    pub text: String,
}

impl<'a> Content<'a> {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stretch { length, .. } => *length,
        }
    }

    fn open(&self) -> std::io::Result<Box<dyn Read + 'a>> {
        match *self {
            Self::Bytes(bytes) => Ok(Box::new(bytes)),
            Self::Stretch { path, from, length, count } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(from))?;
                Ok(Box::new(Stretch { file, path, at: from, end: from + length, count }))
            }
        }
    }
}

/// A part of a file that is read.
struct Stretch<'a> {
    file: File,
    path: &'a Path,
    at: u64,
    end: u64,
    count: &'a dyn Fn(u64),
}

impl Read for Stretch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        match self.file.read(&mut buffer[..room]) {
            Ok(0) => Err(Error::other(format!("{} has become shorter", self.path.display()))),
            Ok(read) => {
                self.at += read as u64;
                (self.count)(self.at);
                Ok(read)
            }
            Err(error) => Err(Error::other(format!("{}: {error}", self.path.display()))),
        }
    }
}

impl Client {
    /// Sends it, to where redirects that keep it whole (307, 308) lead.
    pub fn send(&self, sending: &Sending) -> Result<Reply, Failure> {
        let refused = |why: String| Failure::Refused(why);
        let mut at: Uri = sending
            .address
            .parse()
            .map_err(|_| refused(format!("{} is no address", shown(sending.address))))?;
        let first = origin(&at);
        for _ in 0..=MOST_REDIRECTS {
            self.allow(&at, sending.to)?;
            // What is named for one host is nothing to another.
            let mut response = self.attempt(sending, &at, origin(&at) == first)?;
            let status = response.status().as_u16();
            if matches!(status, 307 | 308) {
                at = next(&at, response.headers())?;
                continue;
            }
            let etag = header(response.headers(), "etag");
            let text = self.text(&mut response);
            return match status {
                200..300 => Ok(Reply { etag, text: text? }),
                _ => Err(Failure::Status(status, self.said(response.headers(), text.ok().as_deref()))),
            };
        }
        Err(refused(format!("it sends on more than {MOST_REDIRECTS} times")))
    }

    /// Refuses an address that is not to be sent to.
    fn allow(&self, at: &Uri, to: To) -> Result<(), Failure> {
        let place = shown(&at.to_string());
        let Some(origin) = origin(at) else {
            return Err(Failure::Refused(format!("it sends on to {place}, which is no http address")));
        };
        let home = self.home.as_ref();
        if to == To::Hub && home != Some(&origin) {
            return Err(Failure::Refused(format!(
                "it sends on to {place}, which is not the hub itself; nothing is sent there"
            )));
        }
        if origin.0 == "http" && home.is_none_or(|home| home.0 != "http") {
            return Err(Failure::Refused(format!(
                "it wants files sent to {place}, without https, where anybody could read along"
            )));
        }
        Ok(())
    }

    fn attempt(&self, sending: &Sending, at: &Uri, named: bool) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder()
            .method(sending.method.clone())
            .uri(at)
            .header("Content-Length", sending.content.length());
        let headers = sending.headers.iter().filter(|_| named);
        for (name, value) in headers.filter(|(name, _)| !OWN.contains(&name.to_lowercase().as_str())) {
            request = request.header(name, value);
        }
        let spoken_for =
            named && sending.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let token = self.token.as_ref().filter(|_| sending.to != To::Store && !spoken_for);
        if let Some(token) = token.filter(|_| self.home.is_some() && self.home == origin(at)) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut content = sending.content.open().map_err(|error| Failure::Refused(error.to_string()))?;
        let request = request.body(SendBody::from_reader(&mut content));
        let request = request
            .map_err(|error| Failure::Refused(format!("it names what no request can have: {error}")))?;
        self.agent.run(request).map_err(|error| self.broken(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::Duration;

    #[test]
    fn files_go_to_the_hub_or_by_https() {
        let allowed = |endpoint: &str, at: &str, to: To| {
            let client = Client::new(endpoint, Some("hf_secret".into()), Duration::from_secs(1));
            client.allow(&at.parse().unwrap(), to).is_ok()
        };
        for (at, hub, store) in [
            ("https://hub.co/api", true, true),
            ("https://store.co/x?signature=1", false, true),
            ("http://store.co/x", false, false),
            ("http://hub.co/api", false, false),
            ("ftp://hub.co/api", false, false),
        ] {
            assert_eq!(allowed("https://hub.co", at, To::Hub), hub, "{at}");
            assert_eq!(allowed("https://hub.co", at, To::Store), store, "{at}");
            assert_eq!(allowed("https://hub.co", at, To::Witness), store, "{at}");
        }
        // A hub for tests, without https, has such stores too.
        assert!(allowed("http://127.0.0.1:8", "http://127.0.0.1:9/x", To::Store));
        assert!(!allowed("http://127.0.0.1:8", "http://127.0.0.1:9/x", To::Hub));
    }

    #[test]
    fn a_stretch_is_so_many_bytes_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        let (come, mut text) = (Cell::new(0), String::new());
        let count = |at| come.set(at);
        let stretch = |from, length| Content::Stretch { path: &path, from, length, count: &count };
        stretch(3, 4).open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), come.get()), ("3456", 7));
        let said = stretch(8, 4).open().unwrap().read_to_string(&mut text).unwrap_err().to_string();
        assert!(said.contains("has become shorter"), "{said}");
        assert_eq!(Content::Bytes(b"abc").length(), 3);
    }
}
