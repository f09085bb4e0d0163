//! A small HTTP server for tests, which answers every request by a function, each connection in a thread of its own; and a teacher
//! behind it, who answers as OpenAI does.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request.
pub struct Received {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    headers: Vec<(String, String)>,
    /// What was sent.
    pub bytes: Vec<u8>,
    /// The same as text.
    pub body: String,
}

impl Received {
    /// A header's value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// A chat model behind a server.
pub struct Teacher {
    /// Where it is, without `/v1`.
    pub url: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Teacher {
    /// One that answers a request's body, whose last turn is given too, with these texts.
    pub fn says<T: AsRef<str>>(answer: impl Fn(&Value, &str) -> Vec<T> + Send + Sync + 'static) -> Self {
        Self::replies(move |body, asked| {
            completion(answer(body, asked).iter().map(|text| (text.as_ref(), "stop")))
        })
    }

    /// One that answers with this JSON.
    pub fn replies(answer: impl Fn(&Value, &str) -> Value + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heard = seen.clone();
        let url = serve(move |received| {
            let body: Value = serde_json::from_str(&received.body).unwrap();
            let said = answer(&body, last_turn(&body));
            heard.lock().unwrap().push(body);
            json("200 OK", said)
        });
        Self { url, seen }
    }

    /// The bodies that it was sent, in the order in which it answered them.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

/// What a request's last turn says.
pub fn last_turn(body: &Value) -> &str {
    body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap()
}

/// OpenAI's answer with these texts and the reasons for which they end.
pub fn completion<'a>(choices: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let choice = |(text, reason): (&str, &str)| json!({"message": {"role": "assistant", "content": text}, "finish_reason": reason});
    let choices: Vec<Value> = choices.into_iter().map(choice).collect();
    json!({"choices": choices, "usage": {}})
}

/// Starts a server on a free port; its address. `answer` gives status line with headers, and body.
pub fn serve(answer: impl Fn(&Received) -> (String, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            // A client that hangs up early is part of the tests.
            std::thread::spawn(move || talk(stream, &*answer));
        }
    });
    address
}

/// Status line and headers of a JSON body.
pub fn json(status: &str, body: impl ToString) -> (String, String) {
    let body = body.to_string();
    (format!("{status}\r\nContent-Type: application/json\r\nContent-Length: {}", body.len()), body)
}

fn talk(mut stream: TcpStream, answer: &dyn Fn(&Received) -> (String, String)) -> std::io::Result<()> {
    let received = read(&mut BufReader::new(stream.try_clone()?))?;
    let (head, body) = answer(&received);
    stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}").as_bytes())
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Received> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut received = Received { method, path, headers, bytes: Vec::new(), body: String::new() };
    let length = received.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    stream.take(length).read_to_end(&mut received.bytes)?;
    received.body = String::from_utf8_lossy(&received.bytes).into_owned();
    Ok(received)
}
