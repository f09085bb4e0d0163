//! `[reward.judge]` against a local server: what is asked, what is read, and that nothing unreadable becomes a score.

mod server;

use rationale::data::{Example, Prompt};
use rationale::engine::StopReason;
use rationale::rationale::Format;
use rationale::reward::{Models, Rewards};
use rationale::rollout::{Group, Rollout};
use rationale::{Registry, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

fn group(texts: &[&str]) -> Group {
    let example = Example {
        id: "row:7".into(),
        index: 0,
        prompt: Prompt::Text("?".into()),
        completion: None,
        completions: vec![],
        feedback: None,
        answer: Some("4".into()),
        choices: vec![],
        fields: [("question".to_owned(), json!("2+2?"))].into_iter().collect(),
    };
    let rollout = |text: &&str| {
        Rollout::new(vec![1], (*text).to_owned(), vec![0.0], StopReason::Eos(0), &Format::default())
    };
    Group { example: Arc::new(example), prompt: vec![], rollouts: texts.iter().map(rollout).collect() }
}

fn rewards(url: &str, keys: &str) -> Rewards {
    let recipe = format!(
        "[judge]\nprompt = 'Q: {{{{ question }}}} R: {{{{ rationale }}}}'\n{keys}\n[judge.endpoint]\nurl = '{url}/v1'\nmodel = 'm'\n\
         backoff_s = 0.0"
    );
    Rewards::build(&toml::from_str(&recipe).unwrap(), &Registry::default(), &Format::default()).unwrap()
}

/// Scores by a judge that says `say(prompt, number of times that this prompt came before)`; and what it was asked.
fn judged(
    keys: &str,
    texts: &[&str],
    say: fn(&str, usize) -> &'static str,
) -> (Result<Vec<f64>>, Vec<String>, HashMap<String, f64>) {
    let asked = Arc::new(Mutex::new(Vec::<String>::new()));
    let heard = asked.clone();
    let url = server::serve(move |received| {
        let body: Value = serde_json::from_str(&received.body).unwrap();
        let prompt = body["messages"][0]["content"].as_str().unwrap().to_owned();
        let mut heard = heard.lock().unwrap();
        let before = heard.iter().filter(|known| **known == prompt).count();
        let said = say(&prompt, before);
        heard.push(prompt);
        server::json("200 OK", json!({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}))
    });
    let (mut rewards, mut group) = (rewards(&url, keys), group(texts));
    let scores = rewards.score(std::slice::from_mut(&mut group), &Models::none()).map(|()| group.rewards());
    let asked = asked.lock().unwrap().clone();
    (scores, asked, rewards.figures().into_iter().collect())
}

const TEXTS: [&str; 2] = ["two and two\n#### 4", "a guess\n#### 5"];

#[test]
fn each_rollout_is_asked_about_once() {
    let say = |prompt: &str, _| if prompt.contains("guess") { "I give 2" } else { "I give 9" };
    let (scores, mut asked, figures) = judged("", &TEXTS, say);
    assert_eq!(scores.unwrap(), [0.9, 0.2]);
    asked.sort();
    assert_eq!(asked, ["Q: 2+2? R: a guess", "Q: 2+2? R: two and two"]);
    assert_eq!([figures["judge/requests"], figures["judge/unread"]], [2.0, 0.0]);
}

#[test]
fn an_answer_without_a_score_is_asked_for_again() {
    let say = |prompt: &str, before| match (prompt.contains("guess"), before) {
        (true, 0) => "hard to say",
        (true, _) => "3",
        (false, _) => "10",
    };
    let (scores, asked, figures) = judged("", &TEXTS, say);
    assert_eq!(scores.unwrap(), [1.0, 0.3]);
    // Only the one without a score is asked again.
    assert_eq!((asked.len(), figures["judge/unread"]), (3, 1.0));
}

#[test]
fn a_judge_without_a_score_stops_the_run_and_names_the_example() {
    let (scores, asked, _) = judged("attempts = 2", &TEXTS[..1], |_, _| "no comment");
    let error = scores.unwrap_err().to_string();
    for part in
        ["[reward.judge] failed on example row:7", "no score between 0 and 10 in 2 answers", "`no comment`"]
    {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(asked.len(), 2);
}
