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
        Self::with(program, "out", &["--name", "mine"])
    }

    fn with(program: &Program, model: &str, more: &[&str]) -> Self {
        let mut command = program.command_of(&["serve", model, "--port", "0", "--slots", "8"]);
        command.args(more);
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

    /// A connection with a request on its way.
    fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// The events of an answer in pieces, the last of which is `[DONE]`.
    fn events(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut text = String::new();
        self.send("POST", path, &body.to_string()).read_to_string(&mut text).unwrap();
        let (head, events) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("text/event-stream"), "{text}");
        let mut events: Vec<&str> =
            events.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
        assert_eq!(events.pop(), Some("[DONE]"), "{text}");
        events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = self.send(method, path, body);
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
        (json!({"prompt": "1", "tools": [{}]}), 400, "`tools` is not served"),
        (json!({"prompt": "1", "presence_penalty": 1}), 400, "`presence_penalty` is not served"),
        (
            json!({"prompt": "1", "response_format": {"type": "json_object"}}),
            400,
            "`response_format` is not served",
        ),
        (json!({"prompt": "1", "temperatur": 1}), 400, "`temperatur` is not served"),
        (json!({"prompt": "1", "best_of": 2}), 400, "`best_of` beyond `n`"),
        (json!({"prompt": "1", "logprobs": 21}), 400, "`logprobs` has to be a number from 0 to 20"),
        (json!({"prompt": "1", "max_tokens": 0}), 400, "`max_tokens` has to be at least 1"),
        (json!({"prompt": "1", "max_tokens": "many"}), 400, "`max_tokens` has to be a number of tokens"),
        (json!({"prompt": "1", "stream_options": {}}), 400, "`stream_options` goes with `stream`"),
        (json!({"prompt": "1", "stop": vec!["1"; 17]}), 400, "`stop` has at most 16 texts"),
        (json!({"prompt": "1", "model": "other"}), 404, "there is no model `other`"),
        (json!({"prompt": "1", "temperature": -1}), 400, "temperature"),
        (json!({"prompt": "1", "n": 100_000}), 400, "completions are written for a request"),
        (json!({"prompt": "1".repeat(200)}), 400, "leaves no room"),
        // Of what cannot fit, whatever its tokens are, none is made.
        (json!({"prompt": "1".repeat(100_000)}), 400, "a prompt of 100000 bytes leaves no room"),
        (json!({"prompt": vec!["1"; 2000]}), 400, "2000 prompts are more than the 1024"),
        (json!({"prompt": [9999]}), 400, "none of the model's"),
        (json!({"prompt": "é"}), 400, ""),
        (json!({}), 400, "`prompt` is missing"),
    ];
    for (body, expected, part) in refused {
        let (status, said) = served.complete(&body);
        let told = said["error"]["message"].as_str().unwrap_or_else(|| panic!("{body}: {said}"));
        assert!(status == expected && told.contains(part), "{body}: {status} {told}");
        assert_eq!(said["error"]["type"], "invalid_request_error");
        let key = said["error"]["param"].as_str().unwrap_or_else(|| panic!("{body}: {said}"));
        assert!(told.contains(key) || ["n", "prompt"].contains(&key), "{said}");
    }
    // What asks for nothing is no offence.
    let idle = json!({"prompt": "1", "max_tokens": 1, "tools": [], "presence_penalty": 0, "logit_bias": null, "user": "me",
        "response_format": {"type": "text"}, "best_of": 1});
    assert_eq!(served.complete(&idle).0, 200);
    let large = format!("POST /v1/completions HTTP/1.1\r\nContent-Length: {}\r\n\r\n", 9 << 20);
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.write_all(large.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 413") && text.contains("divide the request"), "{text}");
    // Who has sent all of it before reading is told so too.
    assert_eq!(served.ask("POST", "/v1/completions", &"1".repeat(9 << 20)).0, 413);
    assert_eq!(served.ask("GET", "/v1/models/mine", "").1["object"], "model");
    assert_eq!(served.ask("POST", "/v1/completions", "{oops").0, 400);
    assert_eq!(served.ask("GET", "/v1/nothing", "").0, 404);
    let (status, none) = served.ask("GET", "/", "");
    assert!(status == 404 && none.to_string().contains("there is no GET / here"), "{none}");
    let (status, chat) = served.ask(
        "POST",
        "/v1/chat/completions",
        &json!({"messages": [{"role": "user", "content": "1+2"}]}).to_string(),
    );
    let plain = "no chat template, so it has no conversations; use /v1/completions";
    assert!(status == 400 && chat.to_string().contains(plain), "{chat}");
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

/// An answer in pieces is the one at once: texts, ids, log-probabilities and the reason for its end, of every completion.
#[test]
fn an_answer_comes_in_pieces() {
    let program = Program::new(&Tiny::SUMS.recipe(SUMS));
    program.train(&["-q"]).success();
    let served = Served::by(&program);
    let mut body = json!({"prompt": ["1+2", "3+4="], "n": 2, "seed": 3, "temperature": 1.5, "logprobs": 2,
        "return_token_ids": true, "max_tokens": 12});
    for (echo, stop) in [(false, json!([])), (true, json!([])), (false, json!(["1", "=2"]))] {
        (body["echo"], body["stop"], body["stream"]) = (echo.into(), stop, false.into());
        let whole = served.complete(&body).1;
        body["stream"] = true.into();
        body["stream_options"] = json!({"include_usage": true});
        let mut events = served.events("/v1/completions", &body);
        body.as_object_mut().unwrap().remove("stream_options");
        let usage = events.pop().unwrap();
        assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &whole["usage"]));
        for (at, choice) in whole["choices"].as_array().unwrap().iter().enumerate() {
            let own: Vec<&Value> = events
                .iter()
                .inspect(|event| assert!(event["usage"].is_null() && event["object"] == "text_completion"))
                .map(|event| &event["choices"][0])
                .filter(|one| one["index"] == at)
                .collect();
            let pieces = if body["stop"] == json!([]) && choice["text"] != "" { 2 } else { 1 };
            assert!(own.len() >= pieces, "in pieces: {own:?}");
            let text: String = own.iter().map(|one| one["text"].as_str().unwrap()).collect();
            assert_eq!(text, choice["text"].as_str().unwrap());
            let joined = |of: &dyn Fn(&Value) -> &Value| -> Vec<Value> {
                own.iter().flat_map(|one| of(one).as_array().unwrap()).cloned().collect()
            };
            assert_eq!(joined(&|one| &one["token_ids"]), *choice["token_ids"].as_array().unwrap());
            for key in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                assert_eq!(
                    joined(&|one| &one["logprobs"][key]),
                    *choice["logprobs"][key].as_array().unwrap()
                );
            }
            assert_eq!(own[0]["prompt_token_ids"], choice["prompt_token_ids"]);
            let ends: Vec<&Value> = own.iter().map(|one| &one["finish_reason"]).collect();
            assert_eq!(ends.last(), Some(&&choice["finish_reason"]));
            assert!(ends[..ends.len() - 1].iter().all(|end| end.is_null()));
        }
        // Each is told to be over when it is, whatever others of its prompt there are.
        let over = |at: usize| {
            let of = |event: &Value| {
                event["choices"][0]["index"] == at && !event["choices"][0]["finish_reason"].is_null()
            };
            events.iter().position(of).unwrap()
        };
        let written: Vec<usize> =
            list(&whole, "choices").iter().map(|choice| list(choice, "token_ids").len()).collect();
        for (short, long) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
            assert!(written[short] >= written[long] || over(short) < over(long), "{written:?}");
        }
    }
}

/// What a prompt's tokens are worth behind each other is told with it, in one pass, with what is likeliest: the numbers that the same
/// tokens had when they were written.
#[test]
fn a_prompt_is_told_with_its_log_probabilities() {
    let program = Program::new(&Tiny::SUMS.recipe(SUMS));
    program.train(&["-q"]).success();
    let served = Served::by(&program);
    let greedy =
        json!({"prompt": "1+2", "temperature": 0, "logprobs": 1, "return_token_ids": true, "max_tokens": 5});
    let written = served.complete(&greedy).1["choices"][0].clone();
    let ids = |choice: &Value, key: &str| -> Vec<u64> {
        list(choice, key).iter().map(|id| id.as_u64().unwrap()).collect()
    };
    let (prompt, own) = (ids(&written, "prompt_token_ids"), ids(&written, "token_ids"));
    let whole = [prompt.clone(), own.clone()].concat();
    // As lm-eval asks: ids, echoed, with one token more that it does not look at.
    let two = [whole.clone(), [prompt.clone(), vec![own[0]]].concat(), prompt.clone()];
    let asked = json!({"prompt": two, "temperature": 0, "max_tokens": 1, "logprobs": 1, "echo": true,
        "return_token_ids": true});
    let said = served.complete(&asked).1;
    for (choice, ids) in list(&said, "choices").iter().zip(&two) {
        let logprobs = &choice["logprobs"];
        let (numbers, top) = (list(logprobs, "token_logprobs"), list(logprobs, "top_logprobs"));
        assert_eq!((numbers.len(), top.len()), (ids.len() + 1, ids.len() + 1));
        assert!(numbers[0].is_null() && top[0].is_null());
        assert_eq!(list(logprobs, "tokens").len(), list(logprobs, "text_offset").len());
        for at in prompt.len()..numbers.len() {
            let number = numbers[at].as_f64().unwrap();
            // All that was written greedily is the likeliest, exactly.
            let likeliest = top[at].as_object().unwrap().values().map(|value| value.as_f64().unwrap());
            assert_eq!(likeliest.fold(f64::MIN, f64::max), number);
            if let Some(before) = list(&written["logprobs"], "token_logprobs").get(at - prompt.len()) {
                assert!((before.as_f64().unwrap() - number).abs() < 1e-4);
            }
        }
    }
    // The prompt alone has what is written behind it, and its text goes before.
    let alone = &said["choices"][2];
    assert_eq!(alone["token_ids"], json!([own[0]]));
    let text = alone["text"].as_str().unwrap();
    assert!(text.starts_with("1+2") && written["text"].as_str().unwrap().starts_with(&text[3..]), "{text}");
    // No token at all, and several behind an echo, which are those without one.
    let none = json!({"prompt": "1+2", "max_tokens": 0, "logprobs": 0, "echo": true});
    let none = served.complete(&none).1;
    assert_eq!(
        (&none["choices"][0]["text"], &none["usage"]["completion_tokens"]),
        (&json!("1+2"), &json!(0))
    );
    assert!(none["choices"][0]["logprobs"]["top_logprobs"].is_null());
    let mut several = greedy;
    several["echo"] = true.into();
    let several = served.complete(&several).1["choices"][0].clone();
    assert_eq!(several["token_ids"], written["token_ids"]);
    assert_eq!(several["text"], format!("1+2{}", written["text"].as_str().unwrap()));
    let offsets = list(&several["logprobs"], "text_offset");
    assert_eq!(offsets[..4], [json!(0), json!(1), json!(2), json!(3)]);
}

/// A conversation goes through the chat template, whole and in pieces, with what the template asks for.
#[test]
fn a_conversation_is_answered() {
    let program = Program::new(&Tiny::SUMS.recipe(SUMS));
    program.train(&["-q"]).success();
    program.verb(&["export", "out", "model"]).success();
    program.write(
        "model/chat_template.jinja",
        "{% for turn in messages if not silent %}{{ turn.content }}{{ sign or '=' }}{% endfor %}",
    );
    let served = Served::with(&program, "model", &[]);
    let path = "/v1/chat/completions";
    let mut body = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "1+2"}]}], "temperature": 0,
        "max_completion_tokens": 6, "max_tokens": 2, "logprobs": true, "top_logprobs": 2, "return_token_ids": true});
    let (status, whole) = served.ask("POST", path, &body.to_string());
    let choice = &whole["choices"][0];
    assert_eq!((status, &whole["object"]), (200, &json!("chat.completion")), "{whole}");
    let plain = json!({"prompt": "1+2=", "temperature": 0, "max_tokens": 6, "return_token_ids": true});
    let plain = served.complete(&plain).1["choices"][0].clone();
    for key in ["token_ids", "prompt_token_ids"] {
        assert_eq!(choice[key], plain[key]);
    }
    assert_eq!(
        (&choice["message"]["content"], &choice["message"]["role"]),
        (&plain["text"], &json!("assistant"))
    );
    let told = list(&choice["logprobs"], "content");
    assert_eq!(told.len(), list(choice, "token_ids").len());
    for entry in told {
        let top = list(entry, "top_logprobs");
        assert_eq!(
            (top.len(), &top[0]["logprob"], &top[0]["token"]),
            (2, &entry["logprob"], &entry["token"])
        );
    }
    body["stream"] = true.into();
    let events = served.events(path, &body);
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let deltas =
        events[1..].iter().map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap_or(""));
    assert_eq!(deltas.collect::<String>(), choice["message"]["content"].as_str().unwrap());
    let told: Vec<&Value> = events
        .iter()
        .filter_map(|event| event["choices"][0]["logprobs"]["content"].as_array())
        .flatten()
        .collect();
    assert_eq!(told, list(&choice["logprobs"], "content").iter().collect::<Vec<_>>());
    body["stream"] = false.into();
    body["chat_template_kwargs"] = json!({"sign": "+"});
    let other = served.ask("POST", path, &body.to_string()).1;
    assert_ne!(other["choices"][0]["prompt_token_ids"], choice["prompt_token_ids"]);
    // What the template writes of variables counts before it is divided into tokens.
    body["chat_template_kwargs"] = json!({"sign": "+".repeat(100_000)});
    let (status, said) = served.ask("POST", path, &body.to_string());
    let told = said["error"]["message"].as_str().unwrap_or_default();
    assert!(status == 400 && told.contains("bytes leaves no room"), "{said}");
    // A prompt of nothing is this request's fault, and no other's.
    body["chat_template_kwargs"] = json!({"silent": true});
    let (status, nothing) = served.ask("POST", path, &body.to_string());
    assert_eq!((status, &nothing["error"]["param"]), (400, &json!("messages")), "{nothing}");
}

/// A model of bytes with room for thousands of tokens, which writes a long answer.
fn long_winded() -> (Program, Value) {
    let tiny = Tiny { context: Some(4096), ..Tiny::BYTES };
    let program = Program::new(&tiny.recipe(&SUMS.replace("steps = 2", "steps = 1")));
    program.train(&["-q"]).success();
    (program, json!({"prompt": "1+2", "temperature": 0, "max_tokens": 3000}))
}

/// A request that comes while another is decoded joins it, and one whose client leaves is decoded no further.
#[test]
fn requests_come_and_go_while_others_are_decoded() {
    let (program, mut long) = long_winded();
    let served = Served::by(&program);
    long["stream"] = true.into();
    let mut stream = served.send("POST", "/v1/completions", &long.to_string());
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    let short = json!({"prompt": "3", "temperature": 0, "max_tokens": 1});
    assert_eq!(served.complete(&short).1["choices"][0]["finish_reason"], "length");
    // Nothing that ends the long one has come so far.
    stream.set_nonblocking(true).unwrap();
    let mut so_far = Vec::new();
    let _ = stream.read_to_end(&mut so_far);
    let so_far = String::from_utf8_lossy(&so_far).into_owned();
    assert!(!so_far.contains("[DONE]"), "{} bytes", so_far.len());
    stream.set_nonblocking(false).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("data: [DONE]\n\n"));

    // A thousand completions on eight slots take 125 times as long as eight do; who asks after their client has left waits for none of them.
    let many = |n: usize| json!({"prompt": "1+2", "temperature": 0, "max_tokens": 200, "n": n});
    let start = std::time::Instant::now();
    assert_eq!(list(&served.complete(&many(8)).1, "choices").len(), 8);
    let eight = start.elapsed();
    let left = served.send("POST", "/v1/completions", &many(1000).to_string());
    std::thread::sleep(eight);
    drop(left);
    let start = std::time::Instant::now();
    served.complete(&short);
    let waited = start.elapsed();
    assert!(waited < eight * 30 + std::time::Duration::from_secs(1), "{waited:?}, and {eight:?} for eight");
}

/// What takes longer than it may is ended, and told so; the next is answered.
#[test]
fn an_answer_that_takes_too_long_is_ended() {
    let (program, mut long) = long_winded();
    // No time at all, more than a clock knows, and no sequence to decode are refused before it listens.
    for refused in [["--timeout", "0"], ["--timeout", "18446744073709551615"], ["--slots", "0"]] {
        program.verb(&[&["serve", "out"][..], &refused].concat()).code(2);
    }
    let served = Served::with(&program, "./out/", &["--timeout", "2"]);
    // A run's model is called as the run's folder is, or as the checkpoint that this stands for.
    assert_eq!(served.ask("GET", "/v1/models", "").1["data"][0]["id"], "out");
    for (name, status) in [("out", 200), ("sft-step-000001", 200), ("sft-step-000002", 404)] {
        let body = json!({"model": name, "prompt": "1", "max_tokens": 1});
        assert_eq!(served.complete(&body).0, status, "{name}");
    }
    long["n"] = 1000.into();
    let (status, said) = served.complete(&long);
    let told = said["error"]["message"].as_str().unwrap();
    assert!(status == 504 && told.contains("more than 2 s (--timeout)"), "{status} {told}");
    assert_eq!(said["error"]["type"], "server_error");
    long["stream"] = true.into();
    let mut text = String::new();
    served.send("POST", "/v1/completions", &long.to_string()).read_to_string(&mut text).unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("data: {\"error\"") && last.contains("--timeout"), "{last}");
    assert_eq!(served.complete(&json!({"prompt": "1", "max_tokens": 1})).0, 200);
}
