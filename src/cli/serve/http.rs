//! HTTP as far as a server of JSON needs it: one request a connection, read and answered by a thread of its own.

use super::refused::Refused;
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Bytes of the longest head, and of the largest body.
const HEAD: usize = 64 << 10;
pub(super) const BODY: usize = 8 << 20;
/// Connections that are read or wait at once, at most.
const MOST: usize = 512;
/// Bytes of bodies that are read at once, at most, of all connections together.
const BODIES: usize = 256 << 20;
/// Bytes of events that may wait for who reads them; a stream that falls further behind ends.
const BEHIND: usize = 4 << 20;
/// How long a request may take to arrive, and a piece of an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether who asked is still there.
const GLANCE: Duration = Duration::from_millis(100);
/// A thread's stack, of which only what is used is taken: chat templates nest.
const STACK: usize = 8 << 20;

/// A request.
pub(super) struct Received {
    /// `GET`, `POST`, …
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// What was sent.
    pub body: Vec<u8>,
    /// When it was there.
    pub at: Instant,
    /// Where the answer goes.
    pub to: Reply,
}

/// Where an answer goes: what is said here is written by the connection's own thread, so that who reads slowly keeps nobody else
/// waiting. The connection ends with it.
pub(super) struct Reply {
    said: Sender<String>,
    /// Bytes that were said and not yet written.
    waiting: Arc<AtomicUsize>,
    gone: Arc<AtomicBool>,
}

impl Reply {
    /// Whether who asked has gone.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// The whole answer.
    pub fn send(self, status: u16, body: &Value) {
        self.say(answer(status, &body.to_string()));
    }

    /// Says why there is no answer.
    pub fn refuse(self, refused: &Refused) {
        self.say(refusal(refused));
    }

    /// Begins an answer that comes in events.
    pub fn begin_events(&self) {
        self.say(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n".into(),
        );
    }

    /// The next event; the last, where who asked has not taken what was said long before.
    pub fn event(&self, data: &Value) {
        if self.waiting.load(Ordering::Relaxed) > BEHIND {
            self.gone.store(true, Ordering::Relaxed);
        }
        if self.is_gone() {
            return;
        }
        self.say(format!("data: {data}\n\n"));
    }

    /// The last one.
    pub fn end_events(self) {
        self.say("data: [DONE]\n\n".into());
    }

    fn say(&self, text: String) {
        self.waiting.fetch_add(text.len(), Ordering::Relaxed);
        // Who asked may have gone.
        let _ = self.said.send(text);
    }
}

fn answer(status: u16, body: &str) -> String {
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Bad Request",
    };
    // Another attempt at what took too long would take as long.
    let retry = match status {
        503 => "Retry-After: 1\r\n",
        504 => "x-should-retry: false\r\n",
        _ => "",
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{retry}Connection: close\r\n\r\n{body}"
    )
}

fn refusal(refused: &Refused) -> String {
    answer(refused.status, &json!({ "error": refused.to_json() }).to_string())
}

/// What all connections take together.
#[derive(Default)]
struct Taken {
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

/// One of the connections that there may be, and what its body takes.
struct Place {
    all: Arc<Taken>,
    bytes: usize,
}

impl Place {
    fn among(all: &Arc<Taken>) -> Option<Self> {
        let taken = all.connections.fetch_add(1, Ordering::SeqCst);
        let place = Self { all: all.clone(), bytes: 0 };
        (taken < MOST).then_some(place)
    }

    /// Takes so many bytes in all.
    ///
    /// # Errors
    /// Others have taken what there is.
    fn hold(&mut self, bytes: usize) -> Result<(), Refused> {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.all.bytes.fetch_add(more, Ordering::SeqCst);
        self.bytes += more;
        match before + more > BODIES {
            true => Err(Refused::new(503, "too much is being read of other requests; ask again in a moment")),
            false => Ok(()),
        }
    }

    /// The body is read.
    fn let_go(&mut self) {
        self.all.bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::SeqCst);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.let_go();
        self.all.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads requests for ever, each by a thread of its own, on which `heard` is called, so that who sends slowly, or much, keeps nobody else
/// waiting.
pub(super) fn listen(listener: &TcpListener, heard: impl Fn(Received) + Clone + Send + 'static) {
    let open = Arc::new(Taken::default());
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else {
            // Out of files, say: there will be some once an answer has gone out.
            std::thread::sleep(GLANCE);
            continue;
        };
        let Some(mut place) = Place::among(&open) else {
            let busy =
                Refused::new(503, format!("{MOST} requests are being answered; ask again in a moment"));
            let _ = stream.set_write_timeout(Some(GLANCE));
            let _ = stream.write_all(refusal(&busy).as_bytes());
            continue;
        };
        let heard = heard.clone();
        // Where there is no thread to be had, this connection ends and the next is listened to.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            serve(&mut stream, &mut place, heard);
        });
    }
}

fn serve(stream: &mut TcpStream, place: &mut Place, heard: impl Fn(Received)) {
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let _ = stream.set_nodelay(true);
    match read(stream, place, Instant::now() + PATIENCE) {
        Ok(Ok((method, path, body))) => {
            let (said, written) = channel();
            let gone = Arc::new(AtomicBool::new(false));
            let waiting = Arc::new(AtomicUsize::new(0));
            let to = Reply { said, waiting: waiting.clone(), gone: gone.clone() };
            heard(Received { method, path, body, at: Instant::now(), to });
            place.let_go();
            write(stream, &written, &waiting, &gone);
            gone.store(true, Ordering::Relaxed);
        }
        Ok(Err(refused)) => {
            place.let_go();
            if stream.write_all(refusal(&refused).as_bytes()).is_ok() {
                read_out(stream);
            }
        }
        // Nobody is there any more.
        Err(_) => {}
    }
}

/// Reads the rest of a request that was refused before it was all there: a connection that is closed with bytes unread is reset, and who
/// sends them never sees why.
fn read_out(stream: &mut TcpStream) {
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let (end, mut rest) = (Instant::now() + PATIENCE, Vec::new());
    while more(stream, &mut rest, end).is_ok() {
        rest.clear();
    }
}

/// Writes what is said until nobody says more, or nobody listens any more, or not fast enough.
fn write(stream: &mut TcpStream, said: &Receiver<String>, waiting: &AtomicUsize, gone: &AtomicBool) {
    while !gone.load(Ordering::Relaxed) {
        match said.recv_timeout(GLANCE) {
            Ok(text) => {
                if stream.write_all(text.as_bytes()).is_err() {
                    return;
                }
                waiting.fetch_sub(text.len(), Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => {
                if has_left(stream) {
                    return;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Whether the other end has closed the connection.
fn has_left(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let found = stream.peek(&mut [0]);
    let _ = stream.set_nonblocking(false);
    match found {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Method, path and body of a request.
type Request = (String, String, Vec<u8>);

/// The request that a connection brings until `end`.
fn read(stream: &mut TcpStream, place: &mut Place, end: Instant) -> io::Result<Result<Request, Refused>> {
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
                    return Ok(Err(Refused::new(411, "a body needs a Content-Length")));
                }
                let Ok(length) = header("content-length").unwrap_or("0").parse::<usize>() else {
                    return Ok(Err(Refused::new(400, "Content-Length is no number")));
                };
                if length > BODY {
                    let what =
                        format!("a body has at most {BODY} bytes, and this one {length}; divide the request");
                    return Ok(Err(Refused::new(413, what)));
                }
                if header("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                }
                let mut body = bytes.split_off(begin);
                while body.len() < length {
                    more(stream, &mut body, end)?;
                    if let Err(refused) = place.hold(body.len()) {
                        return Ok(Err(refused));
                    }
                }
                body.truncate(length);
                return Ok(Ok((method, path, body)));
            }
            Ok(httparse::Status::Partial) if bytes.len() < HEAD => {}
            Ok(httparse::Status::Partial) => {
                return Ok(Err(Refused::new(431, format!("a head has at most {HEAD} bytes"))));
            }
            Err(error) => return Ok(Err(Refused::new(400, format!("this is no HTTP request: {error}")))),
        }
        more(stream, &mut bytes, end)?;
    }
}

/// Reads on, behind `bytes`, until `end` at the latest.
fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>, end: Instant) -> io::Result<()> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    let mut piece = [0; 8192];
    match stream.read(&mut piece)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        count => {
            bytes.extend_from_slice(&piece[..count]);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_all_connections_are_bounded() {
        let all = Arc::new(Taken::default());
        let mut places: Vec<Place> = (0..33).map(|_| Place::among(&all).unwrap()).collect();
        for place in &mut places[..32] {
            assert_eq!((place.hold(1 << 20), place.hold(BODY)), (Ok(()), Ok(())));
        }
        assert_eq!(places[32].hold(1).unwrap_err().status, 503);
        places[32].let_go();
        drop(places.remove(0));
        assert_eq!(places[31].hold(BODY), Ok(()));
        places[0].let_go();
        drop(places);
        assert_eq!((all.bytes.load(Ordering::SeqCst), all.connections.load(Ordering::SeqCst)), (0, 0));
    }

    /// Nobody writes what is said here.
    #[test]
    fn a_stream_that_nobody_reads_ends() {
        let (said, written) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let to = Reply { said, waiting: waiting.clone(), gone: Arc::default() };
        to.begin_events();
        let event = json!({ "text": "x".repeat(1 << 20) });
        for _ in 0..16 {
            to.event(&event);
        }
        assert!(to.is_gone());
        let waited: usize = written.try_iter().map(|text: String| text.len()).sum();
        assert_eq!(waited, waiting.load(Ordering::Relaxed));
        assert!((BEHIND..BEHIND + (2 << 20)).contains(&waited), "{waited}");
    }
}
