//! Things that take one type and give another, put together: workflows of nodes, and calls of an interface.

use super::Asked;
use crate::data::order::{below, shuffle};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Its name, the types that it takes and the one that it gives.
type Part = (&'static str, &'static [&'static str], &'static str);

const NODES: [Part; 8] = [
    ("crop", &["image"], "patch"),
    ("blur", &["image"], "soft"),
    ("mask", &["patch"], "shape"),
    ("scale", &["patch"], "large"),
    ("trace", &["shape"], "line"),
    ("paint", &["soft"], "glow"),
    ("merge", &["large"], "sheet"),
    ("ink", &["line"], "print"),
];

const CALLS: [Part; 10] = [
    ("user", &["id"], "person"),
    ("order", &["id"], "parcel"),
    ("town", &["person"], "place"),
    ("boss", &["person"], "chief"),
    ("road", &["place"], "street"),
    ("cost", &["parcel"], "price"),
    ("team", &["chief"], "group"),
    ("map", &["street"], "plan"),
    ("ship", &["place", "parcel"], "trip"),
    ("desk", &["person", "parcel"], "note"),
];

/// The parts that it takes to come to a type, each behind those that it takes from; a type has one part that gives it, what is there at first none.
fn needed(parts: &[Part], wanted: &str) -> Vec<Part> {
    let Some(part) = parts.iter().find(|(_, _, gives)| *gives == wanted) else { return vec![] };
    let mut found: Vec<Part> = Vec::new();
    for part in part.1.iter().flat_map(|takes| needed(parts, takes)).chain([*part]) {
        if !found.contains(&part) {
            found.push(part);
        }
    }
    found
}

/// Some of the parts in any order, among them all that it takes to come to one type; and those, which are `most` at most. Every part
/// that takes no more is as likely to be the last of them.
fn drawn(parts: &[Part], most: usize, rng: &mut ChaCha8Rng) -> (Vec<Part>, Vec<Part>) {
    // The first two are steps of all others.
    let ways = parts[2..].iter().map(|part| needed(parts, part.2)).filter(|used| used.len() <= most);
    let ways: Vec<Vec<Part>> = ways.collect();
    let used = ways[below(rng, ways.len() as u64) as usize].clone();
    let mut others: Vec<Part> = parts.iter().filter(|part| !used.contains(part)).copied().collect();
    shuffle(&mut others, rng.next_u64());
    others.truncate(2 + below(rng, 2) as usize);
    let mut all: Vec<Part> = used.iter().copied().chain(others).collect();
    shuffle(&mut all, rng.next_u64());
    (all, used)
}

fn listed(parts: &[Part]) -> String {
    let part = |(name, takes, gives): &Part| format!("{name}: {} {gives}", takes.join(" "));
    parts.iter().map(part).collect::<Vec<_>>().join("\n")
}

pub(super) fn workflow(rng: &mut ChaCha8Rng) -> Option<Asked> {
    let (all, used) = drawn(&NODES, NODES.len(), rng);
    let names: Vec<&str> = used.iter().map(|part| part.0).collect();
    let edges: Vec<String> = std::iter::once(format!("load>{}", names[0]))
        .chain(names.windows(2).map(|pair| format!("{}>{}", pair[0], pair[1])))
        .collect();
    let wanted = used.last()?.2;
    let lines = used
        .iter()
        .rev()
        .map(|(name, takes, gives)| format!("{gives} of {name}, which takes {}", takes.join(" ")));
    Some(Asked {
        question: format!("{}\nfrom image to {wanted}?", listed(&all)),
        rationale: lines.collect::<Vec<_>>().join("\n"),
        answer: edges.join("; "),
        kind: "workflow",
        more: vec![
            (
                "nodes",
                json!(std::iter::once("load").chain(all.iter().map(|part| part.0)).collect::<Vec<_>>()),
            ),
            ("used", json!(std::iter::once("load").chain(names).collect::<Vec<_>>())),
        ],
    })
}

/// A function's value by nested calls; `most` is how many functions it may take.
pub(super) fn nested(most: usize, rng: &mut ChaCha8Rng) -> Option<Asked> {
    let Request { used, question, id, .. } = Request::draw(most, rng)?;
    let mut known = Known::from([("id", id)]);
    let mut lines = Vec::new();
    for part in &used {
        let call = called(part, &known)?;
        lines.push(format!("{}: {call}", part.2));
        known.insert(part.2, call);
    }
    let answer = known[used.last()?.2].clone();
    Some(Asked { question, rationale: lines.join("\n"), answer, kind: "api", more: vec![calls_of(&used)] })
}

/// The same call by call: the functions are executed first, which says what there is to ask for.
pub(super) fn executed(most: usize, rng: &mut ChaCha8Rng) -> Option<Asked> {
    let Request { used, listed, question, id } = Request::draw(most, rng)?;
    let mut known = Known::from([("id", id)]);
    // What each function that is listed gives, wanted or not, where what it takes can be had.
    let mut responses = Map::new();
    for part in CALLS.iter().filter(|part| listed.contains(part)) {
        if let Some(call) = called(part, &known) {
            let value = (10 + below(rng, 90)).to_string();
            responses.insert(call, json!(value));
            known.insert(part.2, value);
        }
    }
    let turn = |part: &Part| Some(format!("<{}>{}", called(part, &known)?, known[part.2]));
    let turns: Vec<String> = used.iter().map(turn).collect::<Option<_>>()?;
    let answer = known[used.last()?.2].clone();
    let functions = ("functions", json!(used.len().to_string()));
    let more = vec![calls_of(&used), functions, ("responses", Value::Object(responses))];
    Some(Asked { question, rationale: turns.join("\n"), answer, kind: "calls", more })
}

fn calls_of(used: &[Part]) -> (&'static str, Value) {
    ("calls", json!(used.iter().map(|part| part.0).collect::<Vec<_>>()))
}

/// What is asked of an interface.
struct Request {
    /// The functions that it takes, each behind those that it takes from.
    used: Vec<Part>,
    /// Those that the question lists.
    listed: Vec<Part>,
    question: String,
    id: String,
}

impl Request {
    fn draw(most: usize, rng: &mut ChaCha8Rng) -> Option<Self> {
        let (all, used) = drawn(&CALLS, most, rng);
        let id = (1 + below(rng, 9)).to_string();
        let question = format!("{}\n{} of {id}?", listed(&all), used.last()?.2);
        Some(Self { used, listed: all, question, id })
    }
}

/// What is known of each type.
type Known = BTreeMap<&'static str, String>;

/// The call of a function with what is known of the types that it takes; none where one is not known.
fn called((name, takes, _): &Part, known: &Known) -> Option<String> {
    let values: Option<Vec<&str>> = takes.iter().map(|takes| known.get(takes).map(String::as_str)).collect();
    Some(format!("{name}({})", values?.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_lead_from_one_to_another() {
        let names = |parts: &[Part], wanted: &str| {
            needed(parts, wanted).iter().map(|part| part.0).collect::<Vec<_>>()
        };
        assert_eq!(names(&NODES, "print"), ["crop", "mask", "trace", "ink"]);
        assert_eq!(names(&CALLS, "street"), ["user", "town", "road"]);
        assert_eq!(names(&CALLS, "trip"), ["user", "town", "order", "ship"]);
        assert!(names(&CALLS, "id").is_empty());
        for parts in [&NODES[..], &CALLS] {
            for (_, _, gives) in parts {
                let ways = parts.iter().filter(|part| part.2 == *gives).count();
                assert_eq!(ways, 1, "{gives}");
            }
        }
    }

    #[test]
    fn answers_use_what_is_listed() {
        use rand::SeedableRng;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let flow = workflow(&mut rng).unwrap();
            for edge in flow.answer.split("; ") {
                let (from, to) = edge.split_once('>').unwrap();
                assert!(
                    flow.question.contains(&format!("{to}: "))
                        && (from == "load" || flow.question.contains(&format!("{from}: ")))
                );
            }
            let call = nested(4, &mut rng).unwrap();
            assert!(call.rationale.ends_with(&format!(": {}", call.answer)), "{}", call.rationale);
        }
    }

    /// A connected part of the interface is executed before anything is asked: each turn says what the row's responses do, takes only what was said before,
    /// and the last one is the answer.
    #[test]
    fn turns_are_what_was_executed() {
        use rand::SeedableRng;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut sizes = [0; 5];
        for at in 0..300 {
            let most = 2 + at % 3;
            let asked = executed(most, &mut rng).unwrap();
            let column = |name: &str| asked.more.iter().find(|(of, _)| *of == name).unwrap().1.clone();
            let (turns, responses, answer) = (&asked.rationale, column("responses"), asked.answer.as_str());
            let (_, id) = asked.question.trim_end_matches('?').rsplit_once(' ').unwrap();
            let mut said = vec![id.to_string()];
            for turn in turns.lines() {
                let (call, value) = turn.trim_start_matches('<').split_once('>').unwrap();
                assert_eq!(responses[call].as_str(), Some(value), "{turn}");
                let (_, takes) = call.trim_end_matches(')').split_once('(').unwrap();
                let takes: Vec<&str> = takes.split(',').collect();
                assert!(
                    takes.iter().all(|takes| said.iter().any(|known| known.as_str() == *takes)),
                    "{turn} of {said:?}"
                );
                said.push(value.to_string());
            }
            let count = turns.lines().count();
            assert!(count <= most && said.last().map(String::as_str) == Some(answer));
            assert_eq!(column("functions").as_str(), Some(count.to_string().as_str()));
            sizes[count] += 1;
        }
        assert!(sizes[..2] == [0, 0] && sizes[2..].iter().all(|count| *count > 5), "{sizes:?}");
    }
}
