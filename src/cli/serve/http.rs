//! HTTP as far as a server of JSON needs it: one request a connection, read and answered by a thread of its own.

use super::wire::Refused;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes of the longest head, and of the largest body.
const HEAD: usize = 64 << 10;
const BODY: usize = 4 << 20;
/// Connections that are read or wait at once, at most.
const MOST: usize = 512;
/// How long a request may take to arrive, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request.
pub(super) struct Received {
    /// `GET`, `POST`, …
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// What was sent.
    pub body: Vec<u8>,
    /// Where the answer goes.
    pub to: Reply,
}

/// Where an answer goes: the connection, which ends with it.
pub(super) struct Reply {
    stream: TcpStream,
    _place: Place,
}

/// One of the connections that there may be.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn among(open: &Arc<AtomicUsize>) -> Option<Self> {
        let taken = open.fetch_add(1, Ordering::SeqCst);
        let place = Self(open.clone());
        (taken < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads requests for ever, each by a thread of its own, so that who sends slowly keeps nobody else waiting.
pub(super) fn listen(listener: &TcpListener, heard: impl Fn(Received) + Clone + Send + 'static) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().flatten() {
        let Some(place) = Place::among(&open) else { continue };
        let heard = heard.clone();
        std::thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.set_write_timeout(Some(PATIENCE));
            let mut to = Reply { stream, _place: place };
            match read(&mut to.stream) {
                Ok(Ok((method, path, body))) => heard(Received { method, path, body, to }),
                Ok(Err(refused)) => to.refuse(refused),
                // Nobody is there any more.
                Err(_) => {}
            }
        });
    }
}

impl Reply {
    /// Answers, aside: who reads slowly keeps nobody else waiting.
    pub fn send(mut self, status: u16, body: &Value) {
        let body = body.to_string();
        std::thread::spawn(move || {
            let head = format!(
                "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                if status == 200 { "OK" } else { "Refused" },
                body.len()
            );
            // Who asked may have gone.
            let _ =
                self.stream.write_all(head.as_bytes()).and_then(|()| self.stream.write_all(body.as_bytes()));
        });
    }

    /// Says why there is no answer.
    pub fn refuse(self, (status, what): Refused) {
        let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
        let error = serde_json::json!({ "message": what, "type": kind, "param": null, "code": status });
        self.send(status, &serde_json::json!({ "error": error }));
    }
}

/// Method, path and body of a request.
type Request = (String, String, Vec<u8>);

/// The request that a connection brings.
fn read(stream: &mut TcpStream) -> io::Result<Result<Request, Refused>> {
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(begin)) => {
                let method = request.method.unwrap_or_default().to_owned();
                let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
                let header = |name: &str| {
                    let found =
                        request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
                    std::str::from_utf8(found.value).ok().map(str::trim)
                };
                if header("transfer-encoding").is_some() {
                    return Ok(Err((411, "a body needs a Content-Length".into())));
                }
                let Ok(length) = header("content-length").unwrap_or("0").parse::<usize>() else {
                    return Ok(Err((400, "Content-Length is no number".into())));
                };
                if length > BODY {
                    return Ok(Err((413, format!("a body has at most {BODY} bytes"))));
                }
                if header("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                }
                let mut body = bytes.split_off(begin);
                let missing = length.saturating_sub(body.len());
                body.truncate(length);
                stream.take(missing as u64).read_to_end(&mut body)?;
                if body.len() < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                return Ok(Ok((method, path, body)));
            }
            Ok(httparse::Status::Partial) if bytes.len() < HEAD => {}
            Ok(httparse::Status::Partial) => {
                return Ok(Err((431, format!("a head has at most {HEAD} bytes"))));
            }
            Err(error) => return Ok(Err((400, format!("this is no HTTP request: {error}")))),
        }
        let mut piece = [0; 8192];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}
