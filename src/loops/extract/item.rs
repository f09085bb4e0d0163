//! What a row is to the training loop: the tokens that are read of it, where, and the numbers that its masks and losses need.

use super::document::Document;
use super::section::Extract;
use crate::loops::Item;
use crate::model::Sequence;
use crate::seed;

/// The unit of each of the text's tokens.
pub const UNIT_OF: &str = "unit_of";
/// The same of the text with other words.
pub const NOISED_UNIT_OF: &str = "noised_unit_of";
/// 1 for each gold label, 0 for the others.
pub const TARGETS: &str = "targets";
/// 1 for each marked unit; empty where the row does not say.
pub const MARKED: &str = "marked";
/// 1 for each unit that is a shortcut.
pub const SHORTCUT: &str = "shortcut";
/// A number from (0, 1) for each unit, for the mask.
pub const DRAWS: &str = "draws";
/// The same, for a mask at random.
pub const RANDOM: &str = "random";
/// The same for each text without marked units, text by text.
pub const OTHERS: &str = "others";
/// Units.
pub const UNITS: &str = "units";
/// Whether terms beside cross-entropies count.
pub const REGULARISED: &str = "regularised";
/// Of the mask.
pub const TEMPERATURE: &str = "temperature";

/// A row, ready to be read.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its example's id.
    pub id: String,
    /// Its text.
    pub document: Document,
    /// 1 for each gold label, 0 for the others.
    pub targets: Vec<f64>,
    /// 1 for each unit that is a shortcut.
    pub shortcut: Vec<f64>,
}

/// What is read of a text: it, the cue and, where units are scored there, it again; the places where the label and each unit are read.
pub fn read(document: &Document, cue: &[u32], echo: bool) -> (Vec<u32>, Vec<usize>) {
    let first = [&document.tokens[..], cue].concat();
    let label = first.len() - 1;
    let again = if echo { first.len() } else { 0 };
    let tokens = if echo { [&first[..], &document.tokens].concat() } else { first };
    let places = std::iter::once(label).chain(document.ends().into_iter().map(|end| again + end)).collect();
    (tokens, places)
}

impl Prepared {
    /// The row as an item of a step; `draw` gives a seed for each purpose and number, `noised` the text with other words, where there is one.
    pub fn item(
        &self,
        extract: &Extract,
        cue: &[u32],
        (regularised, temperature): (bool, f64),
        draw: impl Fn(u64, u64) -> u64,
        noised: Option<&Document>,
    ) -> Item {
        let (tokens, places) = read(&self.document, cue, extract.echo);
        let units = self.document.units.len();
        let numbers = |of: &[usize]| of.iter().map(|&n| n as f64).collect::<Vec<f64>>();
        let draws = |purpose: u64, count: usize| {
            let of = |at: usize| seed::uniform(draw(purpose, at as u64)).clamp(1e-6, 1.0 - 1e-6);
            (0..count).map(of).collect::<Vec<f64>>()
        };
        let marked = self.document.marked.iter().flatten().map(|yes| f64::from(u8::from(*yes)));
        let mut sequences = vec![Sequence::read_only(tokens)];
        // Nothing is read of it by the loop: it is there for the masked pass.
        sequences.extend(noised.map(|noised| Sequence::read_only([&noised.tokens[..], cue].concat())));
        Item::of(sequences)
            .named(&self.id)
            .read_at(vec![places])
            .with_list(UNIT_OF, numbers(&self.document.unit_of))
            .with_list(NOISED_UNIT_OF, noised.map_or(vec![], |noised| numbers(&noised.unit_of)))
            .with_list(TARGETS, self.targets.clone())
            .with_list(MARKED, marked.collect())
            .with_list(SHORTCUT, self.shortcut.clone())
            .with_list(DRAWS, draws(0, units))
            .with_list(RANDOM, if extract.singular.weight > 0.0 { draws(1, units) } else { vec![] })
            .with_list(
                OTHERS,
                if extract.contrast.weight > 0.0 {
                    draws(2, units * extract.contrast.others)
                } else {
                    vec![]
                },
            )
            .with(UNITS, units as f64)
            .with(REGULARISED, f64::from(u8::from(regularised)))
            .with(TEMPERATURE, temperature)
    }
}
