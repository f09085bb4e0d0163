//! `train serve`, as an OpenAI client meets it.

use crate::program::{Program, list};
use crate::recipes::Tiny;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

const SUMS: &str = r#"
[run]
steps = 2
[data]
prompts_per_step = 4
template.chat = false
[data.task.addition]
digits = [1]
train = 20
[policy.sampling]
max_new_tokens = 6
[loop.sft]
"#;

/// A program that serves, ended when it is dropped.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn by(program: &Program) -> Self {
        let mut command =
            program.command_of(&["serve", "out", "--port", "0", "--name", "mine", "--slots", "8"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line
            .split("http://")
            .nth(1)
            .unwrap_or_else(|| panic!("{line}"))
            .trim_end_matches("/v1\n")
            .to_owned();
        Self { child, address }
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    fn complete(&self, body: &Value) -> (u16, Value) {
        self.ask("POST", "/v1/completions", &body.to_string())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_model_answers_as_openai_does() {
    let program = Program::new(&Tiny::SUMS.recipe(SUMS));
    program.train(&["-q"]).success();
    let served = Served::by(&program);
    assert_eq!(served.ask("GET", "/v1/models", "").1["data"][0]["id"], "mine");

    // Greedy, it says what `sample` says, token by token.
    let greedy =
        json!({"model": "mine", "prompt": "1+2", "temperature": 0, "logprobs": 1, "return_token_ids": true});
    let (status, said) = served.complete(&greedy);
    let choice = &said["choices"][0];
    assert_eq!((status, &said["object"], &said["model"]), (200, &json!("text_completion"), &json!("mine")));
    let sampled = program
        .verb(&["sample", "out", "--prompt", "1+2", "--raw", "--temperature", "0", "--json"])
        .success();
    let sampled: Value = serde_json::from_str(&sampled).unwrap();
    assert_eq!((&choice["text"], &choice["token_ids"]), (&sampled["completion"], &sampled["completion_ids"]));
    assert_eq!(
        (&choice["prompt_token_ids"], &choice["logprobs"]["token_logprobs"]),
        (&sampled["prompt_ids"], &sampled["logprobs"])
    );
    let tokens = choice["token_ids"].as_array().unwrap().len();
    assert_eq!(
        said["usage"],
        json!({"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens})
    );
    let joined: String =
        list(&choice["logprobs"], "tokens").iter().map(|token| token.as_str().unwrap()).collect();
    assert!(joined.starts_with(choice["text"].as_str().unwrap()), "{joined:?}");

    // Ids in place of texts; a list of prompts, several completions of each, drawn from the seed.
    let ids = json!({"prompt": choice["prompt_token_ids"], "temperature": 0});
    assert_eq!(served.complete(&ids).1["choices"][0]["text"], choice["text"]);
    let several = |seed: u64| {
        served.complete(&json!({"prompt": ["1+2", "3+4"], "n": 2, "seed": seed, "temperature": 2})).1["choices"].clone()
    };
    assert_eq!(several(1).as_array().unwrap().len(), 4);
    assert_eq!(several(1), several(1));
    assert_ne!(several(1), several(2));
    // The text that ends a completion is no part of it.
    let first = joined.chars().next().unwrap().to_string();
    let (_, stopped) = served.complete(&json!({"prompt": "1+2", "temperature": 0, "stop": first}));
    assert_eq!(
        (&stopped["choices"][0]["text"], &stopped["choices"][0]["finish_reason"]),
        (&json!(""), &json!("stop"))
    );
    let (_, short) = served.complete(&json!({"prompt": "1+2", "temperature": 0, "max_tokens": 1}));
    assert_eq!(short["choices"][0]["finish_reason"], "length");

    // What cannot be answered says why.
    let refused = [
        (json!({"prompt": "1", "stream": true}), 400, "`stream` is not served"),
        (json!({"prompt": "1", "model": "other"}), 404, "there is no model `other`"),
        (json!({"prompt": "1", "temperature": -1}), 400, "temperature"),
        (json!({"prompt": "1", "n": 100_000}), 400, "completions are written for a request"),
        (json!({"prompt": "1".repeat(200)}), 400, "leaves no room"),
        (json!({"prompt": [9999]}), 400, "none of the model's"),
        (json!({"prompt": "é"}), 400, ""),
        (json!({}), 400, "`prompt` is missing"),
    ];
    for (body, expected, part) in refused {
        let (status, said) = served.complete(&body);
        let told = said["error"]["message"].as_str().unwrap_or_else(|| panic!("{body}: {said}"));
        assert!(status == expected && told.contains(part), "{body}: {status} {told}");
    }
    assert_eq!(served.ask("POST", "/v1/completions", "{oops").0, 400);
    assert_eq!(served.ask("GET", "/v1/nothing", "").0, 404);
    let (status, chat) = served.ask(
        "POST",
        "/v1/chat/completions",
        &json!({"messages": [{"role": "user", "content": "1+2"}]}).to_string(),
    );
    assert!(status == 400 && chat.to_string().contains("chat template"), "{chat}");
    // Many at once, each its own answer; one that says nothing keeps nobody waiting.
    let silent = TcpStream::connect(&served.address).unwrap();
    let of = |prompt: &str| {
        served.complete(&json!({"prompt": prompt, "temperature": 0})).1["choices"][0]["text"].clone()
    };
    let prompts: Vec<String> = (0..40).map(|at| format!("{}+{}", at % 10, at / 10)).collect();
    let alone: Vec<Value> = prompts.iter().map(|prompt| of(prompt)).collect();
    let together: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = prompts.iter().map(|prompt| scope.spawn(|| of(prompt))).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
    drop(silent);
    // It goes on answering.
    assert_eq!(served.complete(&greedy).1["choices"], said["choices"]);
}
