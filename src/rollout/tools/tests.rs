//! Calls as they are found, answered and put into completions that a script writes.

use super::*;
use crate::engine::Sampling;
use crate::log::Metrics;
use crate::policy::Policy;
use crate::rationale::Given;
use crate::rollout::Rollout;
use crate::rollout::turns::tests::scripted::{self, policy};
use std::ops::Range;

const CALCULATOR: &str = "size = 1\n[[tool]]\nopen = '<<'\nclose = '='\nresult = '{result}>>'\ncalc = {}";

/// The completions of the prompt `q`, and the figures.
fn rolled_out(policy: &Policy, keys: &str, sampling: &Sampling) -> (Vec<Rollout>, Metrics) {
    let section: ToolsRollout = toml::from_str(keys).unwrap();
    let example =
        Example { fields: [("db".into(), "x".into())].into_iter().collect(), ..Example::text("row:1", "q") };
    let (group, figures) = scripted::rolled_out(policy, &section, example, sampling).unwrap();
    (group.rollouts, figures)
}

fn given(spans: &[Range<usize>]) -> Vec<Given> {
    spans.iter().map(|span| Given { tokens: span.clone(), bytes: span.clone() }).collect()
}

/// A byte is a token. The policy says `=` once outside a call, which is passed over, then calls: `6>>` is put behind, and what it reads from then on is
/// its own words and the answer.
#[test]
fn a_call_is_answered_where_it_ends() {
    let policy = policy(&[("q", "x=y <<2*3=8>>8"), ("qx=", "y <<2*3=8>>8"), ("qx=y <<2*3=6>>", "6\n#### 6")]);
    let (rollouts, figures) = rolled_out(&policy, CALCULATOR, &Sampling::default());
    let rollout = &rollouts[0];
    assert_eq!(rollout.text, "x=y <<2*3=6>>6\n#### 6");
    assert_eq!(rollout.given, given(&[Range { start: 10, end: 13 }]));
    assert_eq!(&rollout.text[10..13], "6>>");
    // The end of sequence is sampled too.
    assert_eq!((rollout.tokens.len(), rollout.sampled(), rollout.logprobs.len()), (22, 19, 19));
    assert_eq!(rollout.stop, StopReason::Eos(policy.tokenizer.eos()));
    assert_eq!(rollout.answer(), Some("6"));
    let sequence = rollout.sequence(&[1]);
    assert_eq!(sequence.spans(), [1..11, 14..23]);
    assert_eq!(rollout.sampled_in(9..14), 9..11);
    assert_eq!((figures.get("tools/calls"), figures.get("tools/errors")), (Some(1.0), Some(0.0)));
    assert_eq!(figures.get("sampling/decoded_tokens"), Some(19.0));
}

#[test]
fn what_cannot_be_computed_is_said_in_the_answer() {
    let policy = policy(&[("q", "<<1/0="), ("q<<1/0=error: division by zero>>", "?")]);
    let (rollouts, figures) = rolled_out(&policy, CALCULATOR, &Sampling::default());
    assert_eq!(rollouts[0].text, "<<1/0=error: division by zero>>?");
    assert_eq!(figures.get("tools/errors"), Some(1.0));
    // No more than so many characters of it.
    let policy = scripted::policy(&[("q", "<<1/0="), ("q<<1/0=error…>>", "?")]);
    let (rollouts, _) = rolled_out(&policy, &format!("{CALCULATOR}\nlongest = 5"), &Sampling::default());
    assert_eq!(rollouts[0].text, "<<1/0=error…>>?");
}

#[test]
fn only_so_many_calls_are_answered() {
    let policy = policy(&[("q", "<<1+1="), ("q<<1+1=2>>", "<<2+2="), ("q<<1+1=2>><<2+2=", "5>>5")]);
    let (rollouts, figures) =
        rolled_out(&policy, &CALCULATOR.replace("size = 1", "size = 1\ncalls = 1"), &Sampling::default());
    assert_eq!(rollouts[0].text, "<<1+1=2>><<2+2=5>>5");
    assert_eq!((rollouts[0].given.len(), figures.get("tools/calls")), (1, Some(1.0)));
}

/// The limit bounds what was written and said together. An answer that leaves no room to go on is left out.
#[test]
fn a_completion_has_no_more_tokens_than_it_may() {
    let cut_off = |most: usize| {
        let policy = policy(&[("q", "<<1+1="), ("q<<1+1=2>>", "123456789")]);
        let sampling = Sampling { max_new_tokens: most, ..Sampling::default() };
        let mut rollouts = rolled_out(&policy, CALCULATOR, &sampling).0;
        assert!(rollouts[0].truncated() && rollouts[0].tokens.len() <= most);
        rollouts.remove(0).text
    };
    assert_eq!(cut_off(11), "<<1+1=2>>12");
    assert_eq!(cut_off(9), "<<1+1=");
    assert_eq!(cut_off(6), "<<1+1=");
    assert_eq!(cut_off(4), "<<1+");
}

/// What ends a completion by the recipe ends it here too, and calls nothing.
#[test]
fn a_stop_of_the_recipe_comes_first() {
    let policy = policy(&[("q", "<<1+1=2")]);
    let sampling = Sampling { stop: vec!["=".into()], ..Sampling::default() };
    let (rollouts, _) = rolled_out(&policy, CALCULATOR, &sampling);
    assert_eq!(
        (rollouts[0].text.as_str(), &rollouts[0].stop),
        ("<<1+1=", &StopReason::StopString("=".into()))
    );
    assert!(rollouts[0].given.is_empty());
}

/// Two tools in one completion; the program is told the column that it asks for, and what was written up to its call.
#[test]
fn a_program_answers_beside_the_calculator() {
    let policy =
        policy(&[("q", "<<1+1="), ("q<<1+1=2>>", "[a]"), ("q<<1+1=2>>[a]: row:1 a <<1+1=2>>[a] x;", "end")]);
    let program = "import json, sys\nfor line in sys.stdin:\n    row = json.loads(line)\n    \
                   print(json.dumps({'result': ' '.join([row['id'], row['call'], row['completion'], row['columns']['db']])}), flush=True)";
    let keys = format!(
        "{CALCULATOR}\n[[tool]]\nopen = '['\nclose = ']'\nresult = ': {{result}};'\n[tool.command]\n\
         command = ['python3', '-c', {program:?}]\ntimeout_s = 20\ncolumns = ['db']"
    );
    let (rollouts, figures) = rolled_out(&policy, &keys, &Sampling::default());
    assert_eq!(rollouts[0].text, "<<1+1=2>>[a]: row:1 a <<1+1=2>>[a] x;end");
    assert_eq!((rollouts[0].given.len(), figures.get("tools/calls")), (2, Some(2.0)));
}

/// A row says what calls are answered, and that there is no other.
#[test]
fn a_row_answers_what_was_recorded() {
    let policy = policy(&[
        ("q", "<a(1)>7"),
        ("q<a(1)>41\n", "<b(7)>"),
        ("q<a(1)>41\n<b(7)>error: no such call\n", "#### 41"),
    ]);
    let section: ToolsRollout = toml::from_str(
        "size = 1\n[[tool]]\nopen = '<'\nclose = '>'\nresult = \"{result}\\n\"\ncolumn = 'said'",
    )
    .unwrap();
    let row = |said: serde_json::Value| Example {
        fields: [("said".into(), said)].into_iter().collect(),
        ..Example::text("row:1", "q")
    };
    let known = row(serde_json::json!({"a(1)": "41", "b(41)": "5"}));
    let (group, figures) =
        scripted::rolled_out(&policy, &section, known.clone(), &Sampling::default()).unwrap();
    assert_eq!(group.rollouts[0].text, "<a(1)>41\n<b(7)>error: no such call\n#### 41");
    assert_eq!((figures.get("tools/calls"), figures.get("tools/errors")), (Some(2.0), Some(0.5)));
    let (text, none) = (row("x".into()), Example::text("row:2", "q"));
    let found = section.check_rows(&[&known, &text, &none]);
    assert_eq!((found.len(), found[0].key.as_str()), (1, "tool.0.column"));
    assert!(
        found[0]
            .message
            .starts_with("2 of 3 rows have no object of calls and answers in their column `said`")
    );
    assert!(section.check_rows(&[&known]).is_empty());
}

#[test]
fn a_call_is_what_stands_between_the_last_open_and_the_close() {
    assert_eq!(called("a <<1+2=", "<<", "="), Some("1+2"));
    assert_eq!(called("<<1 <<2=", "<<", "="), Some("2"));
    assert_eq!(called("a=", "<<", "="), None);
    assert_eq!(called("<<a=b=", "<<", "="), None);
    assert_eq!(called("<c>x</c>", "<c>", "</c>"), Some("x"));
    assert_eq!(called("<<", "<<", "="), None);
    assert_eq!(cut("äöü", 2), "äö…");
    assert_eq!(cut("äöü", 3), "äöü");
}
