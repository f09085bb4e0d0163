//! Things that take one type and give another, put together: workflows of nodes, and calls of an interface.

use super::Asked;
use crate::data::order::{below, shuffle};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// What takes a type and gives another.
type Part = (&'static str, &'static str, &'static str);

const NODES: [Part; 8] = [
    ("crop", "image", "patch"),
    ("blur", "image", "soft"),
    ("mask", "patch", "shape"),
    ("scale", "patch", "large"),
    ("trace", "shape", "line"),
    ("paint", "soft", "glow"),
    ("merge", "large", "sheet"),
    ("ink", "line", "print"),
];

const CALLS: [Part; 8] = [
    ("user", "id", "person"),
    ("order", "id", "parcel"),
    ("town", "person", "place"),
    ("boss", "person", "chief"),
    ("road", "place", "street"),
    ("cost", "parcel", "price"),
    ("team", "chief", "group"),
    ("map", "street", "plan"),
];

/// The parts that lead from `from` to `to`, first to last; types have one way each to come to be.
fn chain(parts: &[Part], from: &str, to: &str) -> Vec<Part> {
    let mut found = Vec::new();
    let mut wanted = to;
    while let Some(part) = parts.iter().find(|(_, _, gives)| *gives == wanted) {
        found.insert(0, *part);
        wanted = part.1;
        if wanted == from {
            break;
        }
    }
    found
}

/// Some of the parts, all that lead to the wanted type among them, in any order; and those that lead there.
fn drawn(parts: &[Part; 8], from: &str, rng: &mut ChaCha8Rng) -> (Vec<Part>, Vec<Part>) {
    let wanted = parts[2 + below(rng, 6) as usize].2;
    let used = chain(parts, from, wanted);
    let mut others: Vec<Part> = parts.iter().filter(|part| !used.contains(part)).copied().collect();
    shuffle(&mut others, rng.next_u64());
    others.truncate(2 + below(rng, 2) as usize);
    let mut all: Vec<Part> = used.iter().copied().chain(others).collect();
    shuffle(&mut all, rng.next_u64());
    (all, used)
}

fn listed(parts: &[Part]) -> String {
    parts.iter().map(|(name, takes, gives)| format!("{name}: {takes} {gives}")).collect::<Vec<_>>().join("\n")
}

pub(super) fn workflow(rng: &mut ChaCha8Rng) -> Option<Asked> {
    let (all, used) = drawn(&NODES, "image", rng);
    let names: Vec<&str> = used.iter().map(|part| part.0).collect();
    let edges: Vec<String> = std::iter::once(format!("load>{}", names[0]))
        .chain(names.windows(2).map(|pair| format!("{}>{}", pair[0], pair[1])))
        .collect();
    let wanted = used.last()?.2;
    let lines =
        used.iter().rev().map(|(name, takes, gives)| format!("{gives} of {name}, which takes {takes}"));
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

pub(super) fn calls(rng: &mut ChaCha8Rng) -> Option<Asked> {
    let (all, used) = drawn(&CALLS, "id", rng);
    let id = 1 + below(rng, 9);
    let mut call = id.to_string();
    let mut lines = Vec::new();
    for (name, _, gives) in &used {
        call = format!("{name}({call})");
        lines.push(format!("{gives}: {call}"));
    }
    let wanted = used.last()?.2;
    Some(Asked {
        question: format!("{}\n{wanted} of {id}?", listed(&all)),
        rationale: lines.join("\n"),
        answer: call,
        kind: "api",
        more: vec![("calls", json!(used.iter().map(|part| part.0).collect::<Vec<_>>()))],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_lead_from_one_to_another() {
        let names = |parts: Vec<Part>| parts.iter().map(|part| part.0).collect::<Vec<_>>();
        assert_eq!(names(chain(&NODES, "image", "print")), ["crop", "mask", "trace", "ink"]);
        assert_eq!(names(chain(&CALLS, "id", "street")), ["user", "town", "road"]);
        for parts in [NODES, CALLS] {
            for (_, _, gives) in parts {
                let ways = parts.iter().filter(|part| part.2 == gives).count();
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
            let call = calls(&mut rng).unwrap();
            assert!(call.rationale.ends_with(&format!(": {}", call.answer)), "{}", call.rationale);
            assert_eq!(call.answer.matches('(').count(), call.rationale.lines().count());
        }
    }
}
