//! Episodes of a scripted policy in an environment that counts its turns.

use super::*;
use crate::data::{Message, Tokenizer};
use crate::engine::{Sampling, StopReason};
use crate::log::Metrics;
use crate::policy::Policy;
use crate::rationale::Given;
use crate::rollout::turns::tests::scripted::{self, policy};
use serde_json::json;
use std::path::Path;

/// Wants to hear `yes`; each other word costs a quarter, an episode that is broken off one more.
const WANTS_YES: &str = r#"
import json, sys
turns = {}
for line in sys.stdin:
    asked = json.loads(line)
    episode = asked["episode"]
    if asked["do"] == "reset":
        assert asked["id"] == "row:1" and list(asked["columns"]) == ["word"], asked
        turns[episode] = 0
        said = {"observation": " say %s:" % asked["columns"]["word"]}
    elif asked["do"] == "step":
        turns[episode] += 1
        right = asked["action"] == "yes"
        said = {"observation": "no, turn %d" % turns[episode], "reward": 1 if right else -0.25, "done": right}
    else:
        del turns[episode]
        said = {"reward": -1}
    print(json.dumps({"n": asked["n"], **said}), flush=True)
"#;

/// The episodes of the prompt `q`, and the figures.
fn played(policy: &Policy, keys: &str, program: &str, sampling: &Sampling) -> Result<(Group, Metrics)> {
    let keys = format!(
        "{keys}\n[program]\ncommand = ['python3', '-c', {program:?}]\ntimeout_s = 20\ncolumns = ['word']"
    );
    let section: EnvironmentRollout = toml::from_str(&keys).unwrap();
    let fields = [("word".to_string(), json!("w")), ("answer".to_string(), json!("yes"))];
    let example = Example { fields: fields.into_iter().collect(), ..Example::text("row:1", "q") };
    scripted::rolled_out(policy, &section, example, sampling)
}

const PATIENT: &[(&str, &str)] = &[("q say w:", "maybe"), ("q say w:maybe\nno, turn 1\n", "yes")];

/// The observation stands behind the prompt first and between turns later, and is never learned; rewards add up.
#[test]
fn an_episode_goes_on_in_turns() {
    let policy = policy(PATIENT);
    let (group, figures) = played(&policy, "size = 2", WANTS_YES, &Sampling::default()).unwrap();
    assert_eq!(policy.tokenizer.decode(&group.prompt), "q say w:");
    assert_eq!(group.rollouts.len(), 2);
    for rollout in &group.rollouts {
        assert_eq!(rollout.text, "maybe\nno, turn 1\nyes");
        // `maybe` and the end of its turn are six tokens, the observation twelve.
        assert_eq!(rollout.given, [Given { tokens: 6..18, bytes: 5..17 }]);
        assert_eq!((rollout.tokens.len(), rollout.logprobs.len()), (22, 10));
        assert_eq!(rollout.episode, Some(0.75));
        assert_eq!(rollout.stop, StopReason::Eos(policy.tokenizer.eos()));
    }
    assert_eq!((figures.get("environment/turns"), figures.get("environment/done")), (Some(2.0), Some(1.0)));
}

/// For want of turns, and for want of tokens: the episode is closed, and what that says counts.
#[test]
fn an_episode_that_is_not_done_is_closed() {
    let policy = policy(PATIENT);
    let (group, figures) = played(&policy, "size = 1\nturns = 1", WANTS_YES, &Sampling::default()).unwrap();
    assert_eq!((group.rollouts[0].text.as_str(), group.rollouts[0].episode), ("maybe", Some(-1.25)));
    assert_eq!(figures.get("environment/done"), Some(0.0));
    let short = Sampling { max_new_tokens: 9, ..Sampling::default() };
    let (group, _) = played(&policy, "size = 1", WANTS_YES, &short).unwrap();
    assert!(group.rollouts[0].truncated());
    assert_eq!((group.rollouts[0].text.as_str(), group.rollouts[0].episode), ("maybe", Some(-1.25)));
}

/// A line ends a turn, and is no part of what was done.
#[test]
fn a_turn_may_end_with_a_text() {
    let policy = policy(&[("q say w:", "no\nand so on"), ("q say w:no\n[no, turn 1]", "yes\nand so on")]);
    let keys = "size = 1\nuntil = [\"\\n\"]\nobservation = '[{observation}]'";
    let (group, _) = played(&policy, keys, WANTS_YES, &Sampling::default()).unwrap();
    assert_eq!(
        (group.rollouts[0].text.as_str(), group.rollouts[0].episode),
        ("no\n[no, turn 1]yes\n", Some(0.75))
    );
}

#[test]
fn what_does_not_fit_a_group_or_fails_ends_the_run() {
    let policy = policy(PATIENT);
    let by_episode = WANTS_YES.replace("\" say %s:\" % asked[\"columns\"][\"word\"]", "str(episode)");
    let error = played(&policy, "size = 2", &by_episode, &Sampling::default()).unwrap_err();
    assert!(
        error.to_string().contains("row:1") && error.to_string().contains("depend on its `seed` alone"),
        "{error}"
    );
    // One seed a group.
    let by_seed =
        WANTS_YES.replace("\" say %s:\" % asked[\"columns\"][\"word\"]", "str(asked[\"seed\"] < 2**53)");
    let seeded = scripted::policy(&[("qTrue", "yes")]);
    assert_eq!(played(&seeded, "size = 2", &by_seed, &Sampling::default()).unwrap().0.rollouts.len(), 2);
    let odd = WANTS_YES.replace("\"reward\": 1 if right else -0.25", "\"reward\": \"much\"");
    let error = played(&policy, "size = 1", &odd, &Sampling::default()).unwrap_err();
    assert!(matches!(error, Error::Tool(_)) && error.to_string().contains("it must write"), "{error}");
    let ends = "import sys\nsys.exit('no gym here')";
    let error = played(&policy, "size = 1", ends, &Sampling::default()).unwrap_err().to_string();
    assert!(error.contains("rollout.environment") && error.contains("no gym here"), "{error}");
}

/// In a conversation an observation is a user's turn, with what the template writes around it.
#[test]
fn a_conversation_goes_on_by_the_chat_template() {
    let tokenizer = Tokenizer::load(Path::new("tests/fixtures/tokenizers/qwen")).unwrap();
    let between = episodes::between_turns(&tokenizer).unwrap();
    assert_eq!(between, "<|im_end|>\n<|im_start|>user\n{observation}<|im_end|>\n<|im_start|>assistant\n");
    let end = tokenizer.token_to_id("<|im_end|>").unwrap();
    assert_eq!(
        episodes::ended(&tokenizer, &between, &StopReason::Eos(end)),
        "\n<|im_start|>user\n{observation}<|im_end|>\n<|im_start|>assistant\n"
    );
    assert_eq!(episodes::ended(&tokenizer, &between, &StopReason::Length), between);
    let section: EnvironmentRollout =
        toml::from_str("program.command = ['sh']\nprogram.columns = ['map']").unwrap();
    let row =
        Example { prompt: Prompt::Chat(vec![Message::new("user", "go")]), ..Example::text("row:1", "") };
    assert!(section.fits_tokenizer(&tokenizer, &[&row]).is_empty());
    assert_eq!(section.columns(), [("program.columns".to_owned(), "map".to_owned())]);
}
