//! An endpoint against a local server that answers as OpenAI's does: order, retries, cache, keys, timeouts.

use crate::server::{self, Received, serve};
use rationale::Error;
use rationale::endpoint::{ChatRequest, Client, Endpoint};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn section(url: &str, keys: &str) -> Endpoint {
    toml::from_str(&format!("url = '{url}/v1'\nmodel = 'm'\nbackoff_s = 0.001\n{keys}")).unwrap()
}

fn client(url: &str, keys: &str) -> Client {
    section(url, keys).open("reward.judge").unwrap()
}

fn user(text: &str) -> ChatRequest {
    ChatRequest::user(text.to_owned())
}

/// The last turn of a request.
fn asked(received: &Received) -> String {
    let body: Value = serde_json::from_str(&received.body).unwrap();
    body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned()
}

/// OpenAI's answer with these texts, of 10 and 2 tokens.
fn says(texts: &[&str]) -> (String, String) {
    let choice =
        |text: &&str| json!({"message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    let choices: Vec<Value> = texts.iter().map(choice).collect();
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 2});
    server::json("200 OK", json!({"choices": choices, "usage": usage}))
}

/// A server that answers each text with itself, and counts.
fn echo() -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let url = serve(move |received| {
        counted.fetch_add(1, Ordering::SeqCst);
        says(&[&asked(received)])
    });
    (url, count)
}

fn figures(client: &Client) -> HashMap<String, f64> {
    client.figures().into_iter().collect()
}

fn texts(client: &Client, requests: &[ChatRequest]) -> Vec<String> {
    client.ask(requests).unwrap().into_iter().map(|mut answer| answer.choices.swap_remove(0).text).collect()
}

#[test]
fn answers_come_in_order_and_several_requests_are_under_way_at_once() {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let url = serve(move |received| {
        assert_eq!(received.path, "/v1/chat/completions");
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let text = asked(received);
        // The first are the slowest.
        std::thread::sleep(Duration::from_millis(60 - 10 * text.parse::<u64>().unwrap()));
        now.fetch_sub(1, Ordering::SeqCst);
        says(&[&text])
    });
    let client = client(&url, "concurrency = 3\nprompt_price = 1.0\ncompletion_price = 2.0");
    let requests: Vec<ChatRequest> = (0..6).map(|i| user(&i.to_string())).collect();
    assert_eq!(texts(&client, &requests), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(most.load(Ordering::SeqCst), 3);
    let figures = figures(&client);
    assert_eq!([figures["requests"], figures["retries"], figures["prompt_tokens"]], [6.0, 0.0, 60.0]);
    // 60 prompt tokens at 1 and 12 answer tokens at 2 a million.
    assert!((figures["cost"] - 84e-6).abs() < 1e-12);
    assert!(figures["latency_s"] > 0.01 && client.figures().is_empty());
}

#[test]
fn a_busy_server_is_asked_again() {
    let count = AtomicUsize::new(0);
    let url = serve(move |received| match count.fetch_add(1, Ordering::SeqCst) {
        0 => server::json("429 Too Many Requests\r\nRetry-After: 0", "{}"),
        1 => server::json("503 Service Unavailable", "{}"),
        _ => says(&[&asked(received)]),
    });
    let client = client(&url, "retries = 2");
    assert_eq!(texts(&client, &[user("x")]), ["x"]);
    assert_eq!(figures(&client)["retries"], 2.0);
}

#[test]
fn a_server_that_stays_busy_is_an_error_with_url_status_and_remedy() {
    let url = serve(|_| server::json("429 Too Many Requests", "slow down"));
    let error = client(&url, "retries = 1").ask(&[user("x")]).unwrap_err();
    assert!(matches!(error, Error::Endpoint(_)) && error.exit_code() == 1);
    let text = error.to_string();
    for part in [&*url, "status 429", "lower concurrency", "after 2 attempts", "slow down"] {
        assert!(text.contains(part), "{text}");
    }
    let nobody = client("http://127.0.0.1:1", "retries = 0").ask(&[user("x")]).unwrap_err().to_string();
    assert!(nobody.contains("cannot be reached") && nobody.contains("check the url"), "{nobody}");
}

#[test]
fn nothing_is_asked_twice() {
    let (url, count) = echo();
    let folder = tempfile::tempdir().unwrap();
    let keys = format!("cache = {:?}", folder.path());
    let client = client(&url, &keys);
    // Two equal requests are one; another asking of the same text is another request.
    let requests = [user("a"), user("b"), user("a"), ChatRequest { attempt: 1, ..user("a") }];
    assert_eq!(texts(&client, &requests), ["a", "b", "a", "a"]);
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let again = section(&url, &keys).open("x").unwrap();
    assert_eq!(texts(&again, &requests), ["a", "b", "a", "a"]);
    assert_eq!(count.load(Ordering::SeqCst), 3, "all from the cache");
    let figures = figures(&again);
    assert_eq!([figures["cache_hits"], figures["requests"], figures["cost"]], [3.0, 0.0, 0.0]);
    let warmer = section(&url, &format!("{keys}\ntemperature = 0.1")).open("x").unwrap();
    assert_eq!(texts(&warmer, &requests[..1]), ["a"]);
    assert_eq!(count.load(Ordering::SeqCst), 4, "another temperature is another request");
}

#[test]
fn the_key_comes_from_the_environment_and_is_written_nowhere() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = seen.clone();
    let url = serve(move |received| {
        let key = received.header("authorization").unwrap_or_default();
        heard.lock().unwrap().push(key.clone());
        let complaint = json!({"error": format!("Incorrect API key: {key}")});
        if asked(received) == "wrong" { server::json("401 Unauthorized", complaint) } else { says(&["yes"]) }
    });
    // PATH is a variable that every machine has; a test cannot set one without racing the others.
    let key = std::env::var("PATH").unwrap().trim().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let client = client(&url, &format!("api_key_env = 'PATH'\ncache = {:?}", folder.path()));
    assert_eq!(texts(&client, &[user("right")]), ["yes"]);
    assert_eq!(*seen.lock().unwrap(), [format!("Bearer {key}")]);
    let error = client.ask(&[user("wrong")]).unwrap_err().to_string();
    assert!(
        error.contains("status 401; the key in PATH is not accepted") && error.contains("(the key)"),
        "{error}"
    );
    assert!(!error.contains(&key) && !format!("{client:?}").contains(&key));
    assert_eq!(seen.lock().unwrap().len(), 2, "a refusal is not asked again");
    assert!(kept(folder.path()).iter().all(|text| !text.contains(&key) && text.contains("right")));

    let unset = section(&url, "api_key_env = 'NO_SUCH_VARIABLE_HERE'").open("reward.judge").unwrap_err();
    let text = unset.to_string();
    assert!(
        unset.exit_code() == 2 && text.contains("reward.judge.api_key_env") && text.contains("not set"),
        "{text}"
    );
}

/// The files of a cache.
fn kept(folder: &Path) -> Vec<String> {
    let inside = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    inside(folder)
        .flat_map(|folder| inside(&folder))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect()
}

/// It answers in time, and then no more: that is late too, and no server that is not there.
#[test]
fn an_answer_that_stalls_half_way_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{");
                std::thread::sleep(Duration::from_secs(5));
            });
        }
    });
    let client = client(&url, "timeout_s = 0.3\nretries = 1");
    let error = client.ask(&[user("x")]).unwrap_err().to_string();
    assert!(error.contains("no answer within timeout_s = 0.3"), "{error}");
    assert_eq!(figures(&client)["timeouts"], 2.0);
}

#[test]
fn a_slow_server_is_given_up() {
    let url = serve(|_| {
        std::thread::sleep(Duration::from_secs(5));
        says(&["late"])
    });
    let client = client(&url, "timeout_s = 0.1\nretries = 1");
    let start = Instant::now();
    let error = client.ask(&[user("x")]).unwrap_err().to_string();
    assert!(
        error.contains("no answer within timeout_s = 0.1") && start.elapsed() < Duration::from_secs(3),
        "{error}"
    );
    let figures = figures(&client);
    assert_eq!([figures["timeouts"], figures["retries"], figures["requests"]], [2.0, 1.0, 0.0]);
}

#[test]
fn several_answers_to_one_request() {
    let url = serve(|received| {
        let n = serde_json::from_str::<Value>(&received.body).unwrap()["n"].as_u64().unwrap_or(1);
        says(&vec!["x"; n as usize])
    });
    let answers = client(&url, "").ask(&[ChatRequest { n: 3, ..user("x") }]).unwrap();
    assert_eq!(answers[0].choices.len(), 3);
    let deaf = client(&serve(|_| says(&["x"])), "")
        .ask(&[ChatRequest { n: 3, ..user("x") }])
        .unwrap_err()
        .to_string();
    assert!(deaf.contains("has 1 choices, not the 3 asked for"), "{deaf}");
}

/// A server that says these bodies in turn, the last one for ever; how often it was asked.
fn says_in_turn(bodies: &[&str]) -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, bodies): (_, Vec<String>) =
        (count.clone(), bodies.iter().map(|body| body.to_string()).collect());
    let url = serve(move |_| {
        let at = counted.fetch_add(1, Ordering::SeqCst).min(bodies.len() - 1);
        server::json("200 OK", &bodies[at])
    });
    (url, count)
}

const GOOD: &str = r#"{"choices": [{"message": {"content": "good"}, "finish_reason": "stop"}]}"#;
const EMPTY: &str =
    r#"{"choices": [{"message": {"content": null, "reasoning": "so"}, "finish_reason": "stop"}]}"#;
const REFUSED: &str =
    r#"{"choices": [{"message": {"content": null, "refusal": "I will not"}, "finish_reason": "stop"}]}"#;

#[test]
fn what_is_no_answer_is_asked_again() {
    let none = [
        EMPTY,
        r#"{"choices": [{"message": {"content": " "}, "finish_reason": "length"}]}"#,
        r#"{"choices": []}"#,
        r#"{"error": {"message": "overloaded"}}"#,
        "<html>busy</html>",
        r#"{"choices": [{"mess"#,
        "",
        REFUSED,
        r#"{"choices": [{"message": {"content": "ha"}, "finish_reason": "content_filter"}]}"#,
        GOOD,
    ];
    let (url, count) = says_in_turn(&none);
    let client = client(&url, "retries = 9");
    assert_eq!(texts(&client, &[user("x")]), ["good"]);
    assert_eq!(count.load(Ordering::SeqCst), 10);
    let figures = figures(&client);
    assert_eq!([figures["retries"], figures["empty"], figures["refusals"]], [9.0, 4.0, 2.0]);
}

#[test]
fn what_stays_no_answer_is_named() {
    for (body, why) in [
        (EMPTY, "thought and said nothing"),
        (REFUSED, "the model refuses to answer, and says: I will not"),
        ("<html>", "is no JSON"),
        (r#"{"error": "busy"}"#, "its reply is an error: \"busy\""),
    ] {
        let (url, count) = says_in_turn(&[body]);
        let error = client(&url, "retries = 1").ask(&[user("x")]).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("after 2 attempts"), "{error}");
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn what_no_further_attempt_mends_is_named_at_once() {
    for (status, body, why) in [
        ("401 Unauthorized", "{}", "set api_key_env"),
        ("404 Not Found", r#"{"error": {"code": "model_not_found"}}"#, "the model's name, \"m\""),
        ("429 Too Many Requests", r#"{"error": {"code": "insufficient_quota"}}"#, "no credit left"),
        ("200 OK", r#"{"error": {"code": 401, "message": "no"}}"#, "set api_key_env"),
        ("200 OK", r#"{"error": {"code": "model_not_found"}}"#, "the model's name"),
    ] {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let url = serve(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            server::json(status, body)
        });
        let error = client(&url, "retries = 3").ask(&[user("x")]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(count.load(Ordering::SeqCst), 1, "{error}");
    }
}

#[test]
fn only_the_choices_that_lack_are_asked_for_again() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    let url = serve(move |received| {
        let n = serde_json::from_str::<Value>(&received.body).unwrap()["n"].as_u64().unwrap();
        heard.lock().unwrap().push(n);
        if n == 3 { says(&["a", "", "c"]) } else { says(&["b"]) }
    });
    let answers = client(&url, "retries = 1").ask(&[ChatRequest { n: 3, ..user("x") }]).unwrap();
    let texts: Vec<&str> = answers[0].choices.iter().map(|choice| choice.text.as_str()).collect();
    assert_eq!((texts, answers[0].prompt_tokens), (vec!["a", "c", "b"], 20));
    assert_eq!(*asked.lock().unwrap(), [3, 1]);
}

#[test]
fn a_question_does_not_follow_to_another_place() {
    let (elsewhere, count) = echo();
    for status in
        ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let to = format!("{elsewhere}/v1/chat/completions");
        let url = serve(move |_| server::json(&format!("{status}\r\nLocation: {to}"), "{}"));
        let error = client(&url, "retries = 3").ask(&[user("x")]).unwrap_err().to_string();
        assert!(
            error.contains(&status[..3]) && error.contains(&elsewhere) && error.contains("set url"),
            "{error}"
        );
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
fn a_reply_that_no_limit_of_tokens_allows_is_not_read() {
    let url = serve(|_| says(&["word ".repeat(2_000_000).as_str()]));
    let start = Instant::now();
    let error = client(&url, "retries = 0").ask(&[user("x")]).unwrap_err().to_string();
    assert!(error.contains("its reply is longer than 1310720 bytes"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn sections_of_one_url_share_its_places() {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let url = serve(move |received| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(10));
        now.fetch_sub(1, Ordering::SeqCst);
        says(&[&asked(received)])
    });
    let clients = [client(&url, "concurrency = 3"), client(&url, "concurrency = 3\ntemperature = 0.5")];
    let requests: Vec<ChatRequest> = (0..9).map(|i| user(&i.to_string())).collect();
    std::thread::scope(|scope| {
        clients.iter().for_each(|client| drop(scope.spawn(|| texts(client, &requests))));
    });
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

/// 230 characters, then the key: what is shown of a reply ends at 300, in the midst of it, whatever is wrong with it.
#[test]
fn the_key_is_in_no_message_and_no_answer() {
    let url = serve(|received| {
        let key = received.header("authorization").unwrap().replace("Bearer ", "");
        let late = "x".repeat(230) + &key;
        let message = |message: Value| server::json("200 OK", json!({"choices": [{"message": message}]}));
        match &*asked(received) {
            "late" => server::json("401 Unauthorized", late),
            "json" => server::json("400 Bad Request", json!({"key": format!("\"{key}\"")})),
            "page" => server::json("200 OK", late),
            "error" => server::json("200 OK", json!({"error": late})),
            "known error" => server::json("200 OK", json!({"error": {"code": 400, "message": late}})),
            "refusal" => message(json!({"content": null, "refusal": late})),
            "part" => message(json!({"content": [{"type": late}]})),
            "number" => message(json!({"content": {"text": late}})),
            _ => says(&[&format!("it is {key}.")]),
        }
    });
    let key = std::env::var("PATH").unwrap().trim().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let client = client(&url, &format!("retries = 0\napi_key_env = 'PATH'\ncache = {:?}", folder.path()));
    for text in ["late", "json", "page", "error", "known error", "refusal", "part", "number"] {
        let error = client.ask(&[user(text)]).unwrap_err().to_string();
        assert!(error.contains("(the key)") && !error.contains(&key[..10]), "{error}");
    }
    assert_eq!(texts(&client, &[user("answer")]), ["it is (the key)."]);
    assert!(kept(folder.path()).iter().all(|text| !text.contains(&key[..10])));
}

#[test]
fn secrets_and_sizes_in_a_recipe_are_refused() {
    let refused = |url: &str, keys: &str| {
        let section: Endpoint = toml::from_str(&format!("url = '{url}'\nmodel = 'm'\n{keys}")).unwrap();
        section.open("rollout.remote.endpoint").unwrap_err().to_string()
    };
    for (url, keys, key) in [
        ("http://me:canary@x/v1", "", "endpoint.url: "),
        ("http://x/v1?api_key=canary", "", "endpoint.url: "),
        ("http://x/v1", "extra.api_key = 'canary'", "endpoint.extra.api_key: "),
        (
            "http://x/v1",
            "extra.headers = { Authorization = 'canary' }",
            "endpoint.extra.headers.Authorization: ",
        ),
    ] {
        let error = refused(url, keys);
        assert!(error.contains(key) && error.contains("api_key_env") && !error.contains("canary"), "{error}");
    }
    for keys in [
        "timeout_s = 1e19",
        "timeout_s = nan",
        "retries = 101",
        "backoff_s = 1e9",
        "concurrency = 1025",
        "max_tokens = 9223372036854775807",
        "temperature = 1e300",
        "answers_per_request = 100000",
    ] {
        let error = refused("http://x/v1", keys);
        assert!(error.contains(keys.split(' ').next().unwrap()) && error.contains("at most"), "{error}");
    }
}
