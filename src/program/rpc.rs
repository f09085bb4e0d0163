//! A server of the Model Context Protocol behind a program's standard input and output: JSON-RPC 2.0, a line a message (modelcontextprotocol.io, 2025-06-18).
//!
//! Of the protocol this is what calling tools takes: the handshake, requests with a limit of time, and an answer to what the server asks meanwhile. `rmcp` would bring
//! an asynchronous runtime for these hundred lines.

use super::child::{Child, Said};
use super::{Program, called, shortened};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PROTOCOL: &str = "2025-06-18";

/// A server, started when it is first asked and again after it has failed.
pub struct Server {
    command: Vec<String>,
    timeout: Duration,
    without: Vec<String>,
    child: Option<Child>,
    asked: u64,
}

impl Server {
    /// The server that `program` is.
    pub fn of(program: Program) -> Self {
        let Program { command, timeout, without, .. } = program;
        Self { command, timeout, without, child: None, asked: 0 }
    }

    /// What a tool says: its texts, a line each; or what it says is wrong.
    ///
    /// # Errors
    /// A server that cannot be started, ends, says something else or nothing in time; with the command and the last lines of its standard error.
    pub fn call(&mut self, name: &str, arguments: &Value) -> anyhow::Result<Result<String, String>> {
        let (mut child, fresh) = match self.child.take() {
            Some(child) => (child, false),
            None => (Child::start(&self.command, &self.without)?, true),
        };
        let deadline = Instant::now() + self.timeout;
        let said = self.exchange(&mut child, fresh, deadline, name, arguments).map_err(|problem| {
            anyhow::anyhow!("`{}` {problem}{}", called(&self.command), child.last_words())
        })?;
        self.child = Some(child);
        Ok(said)
    }

    fn exchange(
        &mut self,
        child: &mut Child,
        fresh: bool,
        deadline: Instant,
        name: &str,
        arguments: &Value,
    ) -> Result<Result<String, String>, String> {
        if fresh {
            let us = json!({ "name": "rationale", "version": env!("CARGO_PKG_VERSION") });
            let hello = json!({ "protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": us });
            self.request(child, deadline, "initialize", &hello)?
                .map_err(|error| format!("refused to begin: {error}"))?;
            send(child, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        }
        let params = json!({ "name": name, "arguments": arguments });
        let reply = self.request(child, deadline, "tools/call", &params)?;
        match reply {
            Ok(result) => said(&result),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// What is answered to a request: a result, or the message of an error.
    fn request(
        &mut self,
        child: &mut Child,
        deadline: Instant,
        method: &str,
        params: &Value,
    ) -> Result<Result<Value, String>, String> {
        self.asked += 1;
        let id = self.asked;
        let late = || format!("did not answer {method} within timeout_s = {}", self.timeout.as_secs_f64());
        send(child, &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let line = match child.line(deadline) {
                Said::Line(line) => line,
                Said::Ended(how) => return Err(format!("{how} before it answered {method}")),
                Said::Nothing => return Err(late()),
            };
            let message = if line.trim().is_empty() { Value::Null } else { read(&line)? };
            if message.get("method").is_some() {
                answer(child, &message);
            } else if message["id"] == json!(id) {
                return Ok(match message.get("error") {
                    Some(error) => Err(error["message"].as_str().unwrap_or("unknown error").to_owned()),
                    None => Ok(message["result"].clone()),
                });
            }
            // Lines that wait come whatever the time is, and a server may write them faster than they are read.
            if Instant::now() >= deadline {
                return Err(late());
            }
        }
    }
}

fn read(line: &str) -> Result<Value, String> {
    serde_json::from_str(line)
        .map_err(|_| format!("wrote `{}`, which is no JSON-RPC message", shortened(line)))
}

fn send(child: &Child, message: &Value) {
    child.send(format!("{message}\n").into_bytes());
}

/// Answers what a server asks of its client: that it is there, and that it can do nothing else. Notifications have no id.
fn answer(child: &Child, message: &Value) {
    let Some(id) = message.get("id") else { return };
    let reply = match message["method"].as_str() {
        Some("ping") => json!({ "jsonrpc": "2.0", "id": id, "result": {} }),
        _ => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "method not found" } })
        }
    };
    send(child, &reply);
}

/// What a tool's result says: its texts, a line each, or what it gives as a structure where it has no contents; as an error if it is one.
fn said(result: &Value) -> Result<Result<String, String>, String> {
    let wrong = |what: &str| format!("answered tools/call with `{}`, {what}", shortened(&result.to_string()));
    let failed = match &result["isError"] {
        Value::Null => false,
        Value::Bool(failed) => *failed,
        _ => return Err(wrong("whose isError is neither true nor false")),
    };
    let text = match (&result["content"], &result["structuredContent"]) {
        (Value::Array(parts), _) => {
            texts(parts).ok_or_else(|| wrong("of which a part of type text has no text"))?
        }
        (Value::Null, structure @ Value::Object(_)) => structure.to_string(),
        _ => return Err(wrong("which has no list `content`")),
    };
    Ok(if failed { Err(text) } else { Ok(text) })
}

/// The texts of a result's parts, a line each; what is an image, a sound or a resource has none. Nothing where a text is missing.
fn texts(parts: &[Value]) -> Option<String> {
    let is_text = |part: &&Value| part["type"] == "text" || part["text"].is_string();
    let texts: Option<Vec<&str>> = parts.iter().filter(is_text).map(|part| part["text"].as_str()).collect();
    Some(texts?.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before it answers it notifies, asks whether we are there and asks for what we do not have.
    const SERVER: &str = r#"
import json, sys
def read(): return json.loads(sys.stdin.readline())
def write(message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
hello = read()
assert hello["method"] == "initialize" and hello["params"]["clientInfo"]["name"] == "rationale", hello
write({"id": hello["id"], "result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}})
assert read()["method"] == "notifications/initialized"
while True:
    asked = read()
    assert asked["method"] == "tools/call", asked
    write({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
    write({"id": "s1", "method": "ping"})
    assert read() == {"jsonrpc": "2.0", "id": "s1", "result": {}}
    write({"id": "s2", "method": "roots/list"})
    assert read()["error"]["code"] == -32601
    name, arguments = asked["params"]["name"], asked["params"]["arguments"]
    if name == "add":
        texts = [{"type": "text", "text": str(arguments["a"] + arguments["b"])}, {"type": "image", "data": ""}, {"type": "text", "text": "."}]
        write({"id": asked["id"], "result": {"content": texts}})
    elif name == "fail":
        write({"id": asked["id"], "result": {"content": [{"type": "text", "text": "no such city"}], "isError": True}})
    elif name == "die":
        sys.exit("out of luck")
    else:
        write({"id": asked["id"], "error": {"code": -32602, "message": "unknown tool"}})
"#;

    #[test]
    fn tools_of_a_server_are_called() {
        let command = ["python3", "-c", SERVER].map(str::to_owned).to_vec();
        let mut server = Server::of(Program::new(command, Duration::from_secs(20)));
        let sum = json!({ "a": 2, "b": 3 });
        assert_eq!(server.call("add", &sum).unwrap(), Ok("5\n.".to_owned()));
        assert_eq!(server.call("fail", &json!({})).unwrap(), Err("no such city".to_owned()));
        assert_eq!(server.call("what", &json!({})).unwrap(), Err("unknown tool".to_owned()));
        let died = server.call("die", &json!({})).unwrap_err().to_string();
        assert!(died.contains("before it answered tools/call") && died.contains("out of luck"), "{died}");
        // The next call has a server of its own, with a handshake of its own.
        assert_eq!(server.call("add", &sum).unwrap(), Ok("5\n.".to_owned()));
    }

    #[test]
    fn what_is_no_server_is_said() {
        let of = |script: &str, seconds: f64| {
            let command = ["sh", "-c", script].map(str::to_owned).to_vec();
            let mut server = Server::of(Program::new(command, Duration::from_secs_f64(seconds)));
            server.call("x", &json!({})).unwrap_err().to_string()
        };
        assert!(of("echo hello; sleep 5", 20.0).contains("wrote `hello`, which is no JSON-RPC message"));
        assert!(of("sleep 30", 0.2).contains("did not answer initialize within timeout_s = 0.2"));
        let refused =
            "read -r l; echo '{\"id\": 1, \"error\": {\"code\": 1, \"message\": \"too old\"}}'; sleep 5";
        assert!(of(refused, 20.0).contains("refused to begin: too old"));
    }

    /// The answer stands behind what a server asks, all of it there, and the time is over.
    #[test]
    fn a_server_that_floods_is_out_of_time() {
        let ping = r#"{"id": "s", "method": "ping"}"#;
        let script = format!(
            "echo ready; yes '{ping}' | head -n 200; echo '{{\"id\": 1, \"result\": {{}}}}'; sleep 20"
        );
        let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let mut server = Server::of(Program::new(command.clone(), Duration::from_secs(1)));
        let mut child = Child::start(&command, &[]).unwrap();
        let Said::Line(_) = child.line(Instant::now() + Duration::from_secs(20)) else { panic!("started") };
        std::thread::sleep(Duration::from_millis(300));
        let late = server.request(&mut child, Instant::now(), "tools/list", &json!({}));
        assert_eq!(late, Err("did not answer tools/list within timeout_s = 1".to_owned()));
    }

    #[test]
    fn results_that_are_none_are_named() {
        assert_eq!(said(&json!({ "content": [{ "type": "text", "text": "5" }] })), Ok(Ok("5".to_owned())));
        assert_eq!(said(&json!({ "content": [], "isError": true })), Ok(Err(String::new())));
        assert_eq!(said(&json!({ "structuredContent": { "a": 1 } })), Ok(Ok("{\"a\":1}".to_owned())));
        for (result, why) in [
            (json!(null), "has no list `content`"),
            (json!("5"), "has no list `content`"),
            (json!({}), "has no list `content`"),
            (json!({ "content": { "text": "5" } }), "has no list `content`"),
            (json!({ "content": [{ "type": "text", "text": null }] }), "has no text"),
            (json!({ "content": [], "isError": "true" }), "isError is neither true nor false"),
        ] {
            let named = said(&result).unwrap_err();
            assert!(named.starts_with("answered tools/call with `") && named.contains(why), "{named}");
        }
    }
}
