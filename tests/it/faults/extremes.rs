//! Values that nobody should give a key, where the recipe takes them: a run ends as asked, or in a sentence, and never by a panic, a
//! crash or numbers that are none.

use super::recipes::{self, Tried};
use super::runs::Trial;
use super::{draws, report, trials};
use crate::extremes::{VALUES, refusal, written};
use rand::Rng;
use rationale::Registry;
use std::collections::BTreeMap;

/// What is taken of every key of the recipes: the recipe, and what is set.
fn taken() -> Vec<(Tried, String)> {
    let (registry, mut taken) = (Registry::default(), BTreeMap::new());
    for tried in recipes::all() {
        for key in written(&registry, "recipe.toml", &tried.recipe) {
            for given in VALUES {
                let set = format!("{}={given}", key.path);
                if refusal(&registry, "recipe.toml", &tried.recipe, &set).is_none() {
                    taken.insert((tried.name, set), tried.clone());
                }
            }
        }
    }
    taken.into_iter().map(|((_, set), tried)| (tried, set)).collect()
}

/// Each trial sets one of them; a run that lasts is asked to stop.
#[test]
fn a_value_that_is_taken_ends_no_run_without_a_word() {
    let (all, trials, mut wrong) = (taken(), trials(2), Vec::new());
    for number in trials.clone() {
        let (tried, set) = &all[draws("extremes", number).random_range(0..all.len())];
        let ended = Trial::new(tried).limited(&[set]);
        let fine = matches!(ended.code, Some(0..=2 | 143)) && !ended.panicked();
        let told = matches!(ended.code, Some(0 | 143)) || ended.said.contains("error: ");
        if !fine || !told {
            wrong.push(format!(
                "{} --set '{set}': {:?} {:?}: {}",
                tried.name, ended.code, ended.signal, ended.said
            ));
        }
    }
    report(&format!("extremes, {} that are taken", all.len()), trials.len(), wrong);
}
