//! Scratchpads with lines that the answer does not need, each marked: what shortens rationales can be measured with.

use crate::data::order::below;
use crate::section::{Misfit, broken};
use crate::seed;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[data.task.addition.surplus]`: rationales have lines that the answer does not need; the column `needed` says of each line whether it does, a list of true and false.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Surplus {
    /// How many times the question is said before the scratchpad, a line each: one of these numbers, drawn for every row.
    pub said: Vec<usize>,
    /// The share of rows with a line of another sum's scratchpad among their own, at a place that is drawn.
    pub foreign: f64,
}

impl Default for Surplus {
    fn default() -> Self {
        Self { said: vec![1, 2], foreign: 0.5 }
    }
}

impl Surplus {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[
            (!self.said.is_empty(), "said", "it is empty; name at least one number of times, such as [0]"),
            (self.said.iter().all(|&times| times <= 8), "said", "the question may be said 8 times at most"),
            ((0.0..=1.0).contains(&self.foreign), "foreign", "it is a share: from 0 to 1"),
        ])
    }

    /// The lines of a rationale whose own are `lines`, each with whether it is needed. `other` gives the lines of another sum from a seed.
    pub fn around(
        &self,
        question: &str,
        lines: &[&str],
        seed: u64,
        other: impl Fn(u64) -> Vec<String>,
    ) -> Vec<(String, bool)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(&[seed, seed::of_text("surplus")]));
        let times = self.said[below(&mut rng, self.said.len() as u64) as usize];
        let mut found: Vec<(String, bool)> = lines.iter().map(|line| ((*line).to_owned(), true)).collect();
        if seed::uniform(seed::derive(&[seed, seed::of_text("foreign")])) < self.foreign {
            let at = below(&mut rng, lines.len() as u64 + 1) as usize;
            let own = |line: &String| lines.contains(&line.as_str());
            // One that happens to be a line of the row's own would not be foreign.
            let foreign = (0..100).find_map(|turn| {
                let lines = other(seed::derive(&[seed, turn]));
                let line = lines[below(&mut rng, lines.len() as u64) as usize].clone();
                (!own(&line)).then_some(line)
            });
            found.splice(at..at, foreign.map(|line| (line, false)));
        }
        found.splice(0..0, std::iter::repeat_n((question.to_owned(), false), times));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(surplus: &Surplus, seed: u64) -> Vec<(String, bool)> {
        surplus.around("34+9", &["4+9+0=13", "3+0+1=4"], seed, |_| vec!["1+1+0=2".into(), "4+9+0=13".into()])
    }

    #[test]
    fn needed_lines_stay_in_order_and_the_others_are_marked() {
        let surplus = Surplus { said: vec![1, 2], foreign: 1.0 };
        let mut places = [0; 3];
        for seed in 0..300 {
            let lines = of(&surplus, seed);
            let needed: Vec<&str> = lines.iter().filter(|line| line.1).map(|line| line.0.as_str()).collect();
            assert_eq!(needed, ["4+9+0=13", "3+0+1=4"]);
            let said = lines.iter().take_while(|line| line.0 == "34+9").count();
            assert!((1..=2).contains(&said) && lines.len() == said + 3, "{lines:?}");
            let foreign = lines[said..].iter().position(|line| !line.1).unwrap();
            assert_eq!(lines[said + foreign].0, "1+1+0=2");
            places[foreign] += 1;
        }
        // Each place a third: 100 ± 8.
        assert!(places.iter().all(|count| (60..=140).contains(count)), "{places:?}");
        assert_eq!(of(&surplus, 3), of(&surplus, 3));
    }

    #[test]
    fn nothing_is_added_where_nothing_is_asked_for() {
        let bare = of(&Surplus { said: vec![0], foreign: 0.0 }, 1);
        assert_eq!(bare, [("4+9+0=13".to_owned(), true), ("3+0+1=4".to_owned(), true)]);
        // Of another sum all of whose lines are the row's own there is none to add.
        let same = Surplus { said: vec![0], foreign: 1.0 }
            .around("1+1", &["1+1+0=2"], 1, |_| vec!["1+1+0=2".into()]);
        assert_eq!(same, [("1+1+0=2".to_owned(), true)]);
    }

    #[test]
    fn the_section_is_checked() {
        let told =
            |surplus: Surplus| surplus.check().into_iter().map(|misfit| misfit.key).collect::<Vec<_>>();
        assert_eq!(told(Surplus { said: vec![], foreign: 1.5 }), ["said", "foreign"]);
        assert_eq!(told(Surplus { said: vec![9], foreign: 0.0 }), ["said"]);
        assert!(told(Surplus::default()).is_empty());
    }
}
