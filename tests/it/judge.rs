//! `[reward.judge]` against a local server: what is asked, what is read, and that nothing unreadable becomes a score.

use crate::groups::{self, group, rewards};
use crate::server::{Teacher, last_turn};
use rationale::Result;
use rationale::data::Example;
use rationale::policy::Init;
use rationale::rationale::Format;
use rationale::reward::{Models, Rewards};
use rationale::rollout::Group;
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tch::{Device, Kind};

fn asked_of(texts: &[&str]) -> Group {
    let fields = [("question".to_owned(), json!("2+2?"))].into_iter().collect();
    let example = Example { answer: Some("4".into()), fields, ..Example::text("row:7", "?") };
    group(example, texts, &Format::default())
}

fn judge(url: &str, keys: &str) -> Rewards {
    judge_of(url, keys, "")
}

fn judge_of(url: &str, keys: &str, endpoint: &str) -> Rewards {
    let recipe = format!(
        "[judge]\nprompt = 'Q: {{{{ question }}}} R: {{{{ rationale }}}}'\n{keys}\n[judge.endpoint]\nurl = '{url}/v1'\nmodel = 'm'\n\
         backoff_s = 0.0\n{endpoint}"
    );
    rewards(&recipe).unwrap()
}

/// Scores by a judge that says `say(prompt, number of times that this prompt came before)`; and what it was asked.
fn judged(
    keys: &str,
    texts: &[&str],
    say: fn(&str, usize) -> &'static str,
) -> (Result<Vec<f64>>, Vec<String>, HashMap<String, f64>) {
    let before = Mutex::new(HashMap::<String, usize>::new());
    let teacher = Teacher::says(move |_, prompt| {
        let mut before = before.lock().unwrap();
        let times = before.entry(prompt.to_owned()).or_default();
        *times += 1;
        vec![say(prompt, *times - 1)]
    });
    let (mut rewards, mut group) = (judge(&teacher.url, keys), asked_of(texts));
    let scores = rewards.score(std::slice::from_mut(&mut group), &Models::none()).map(|()| group.rewards());
    let asked = teacher.seen().iter().map(|body| last_turn(body).to_owned()).collect();
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

/// Groups of two, of which one alone would never have more than two requests under way.
#[test]
fn groups_are_judged_together_and_keep_their_scores() {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let teacher = Teacher::says(move |_, prompt| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let number: u64 = prompt.rsplit(' ').next().unwrap().parse().unwrap();
        std::thread::sleep(Duration::from_millis(40 - number));
        now.fetch_sub(1, Ordering::SeqCst);
        vec![format!("Score: {}/10", number % 10)]
    });
    let mut rewards = judge_of(&teacher.url, "", "concurrency = 12");
    let of = |number: usize| asked_of(&[&format!("{number}\n#### 4"), &format!("{}\n#### 4", number + 1)]);
    let mut groups: Vec<Group> = (0..24).map(of).collect();
    rewards.score(&mut groups, &Models::none()).unwrap();
    let scores: Vec<Vec<f64>> = groups.iter().map(Group::rewards).collect();
    let expected: Vec<Vec<f64>> =
        (0..24).map(|n| vec![f64::from(n % 10) / 10.0, f64::from((n + 1) % 10) / 10.0]).collect();
    assert_eq!(scores, expected);
    assert!((6..=12).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[test]
fn the_scale_is_not_the_score() {
    let say = |_: &str, before| if before == 0 { "Score: 7 or 8" } else { "Score: 7/10" };
    let (scores, asked, _) = judged("", &TEXTS[..1], say);
    assert_eq!((scores.unwrap(), asked.len()), (vec![0.7], 2));
}

/// Three sentences, of which the second is not consistent: 2/3, and each has its own score. With a second question the reasons decide.
#[test]
fn each_sentence_has_its_verdict() {
    let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
    let policy = init.make(Kind::Float, Device::Cpu, 3, 1).unwrap();
    let teacher = Teacher::says(|_, prompt| {
        let verdict = |reason: &str, consistent: bool| json!({"reason": reason, "consistent": consistent});
        vec![match prompt.starts_with("Signs:") {
            true => "[-1, -1, 1]".to_string(),
            false => json!([verdict("so it is", true), verdict("it is 5", false), verdict("asked", true)])
                .to_string(),
        }]
    });
    let text = "2 and 2 are 4. That is 5.\n#### 4";
    for (keys, expected) in
        [("", [1.0, 0.0, 1.0]), ("convert = 'Signs: {{ reasons | join(\", \") }}'", [0.0, 0.0, 1.0])]
    {
        let mut rewards = judge(&teacher.url, &format!("each = 'sentence'\n{keys}"));
        let mut group = asked_of(&[text]);
        rewards.score(std::slice::from_mut(&mut group), &Models::of(&policy, 64)).unwrap();
        let score = &group.rollouts[0].scores["judge"];
        let steps: Vec<f64> = score.steps.as_ref().unwrap().iter().map(|step| step.value).collect();
        assert_eq!(steps, expected);
        assert!((score.value - expected.iter().sum::<f64>() / 3.0).abs() < 1e-12, "{}", score.value);
    }
    let asked: Vec<String> = teacher.seen().iter().map(|body| last_turn(body).to_owned()).collect();
    assert_eq!(asked.last().unwrap(), "Signs: so it is, it is 5, asked");
    assert_eq!(asked.len(), 3);
}

#[test]
fn verdicts_that_are_not_one_a_sentence_stop_the_run() {
    let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
    let policy = init.make(Kind::Float, Device::Cpu, 3, 1).unwrap();
    let teacher = Teacher::says(|_, _| vec!["[{\"consistent\": true}]"]);
    let mut rewards = judge(&teacher.url, "each = 'sentence'\nattempts = 2");
    let mut group = asked_of(&["One. Two.\n#### 4"]);
    let error =
        rewards.score(std::slice::from_mut(&mut group), &Models::of(&policy, 64)).unwrap_err().to_string();
    assert!(
        error.contains("no JSON list of objects with `consistent`, one for each text judged, in 2 answers"),
        "{error}"
    );
    for (keys, told) in [
        ("each = 'step'\nsteps = true", "verdicts are no score"),
        ("convert = 'x'", "there are reasons to convert"),
    ] {
        let recipe =
            format!("[judge]\nprompt = 'x'\n{keys}\n[judge.endpoint]\nurl = 'http://x/v1'\nmodel = 'm'");
        let error = groups::rewards(&recipe).err().unwrap().to_string();
        assert!(error.contains(told), "{error}");
    }
}
