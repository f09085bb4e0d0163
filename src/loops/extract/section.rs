//! `[loop.extract]`: its keys, their defaults and which values they may have.

use crate::section::{Idle, Misfit, broken, under};
use crate::seed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[loop.extract]`: a classifier that says which parts of a text its label rests on. Rows have a `question` (the text) and an `answer`, and may have `spans`, what
/// people marked of the text as `[[start, end], …]` in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Extract {
    /// What is selected or left out as one.
    pub units: Units,
    /// The labels; by default the answers of the training rows, in the order of the alphabet.
    pub labels: Vec<String>,
    /// The column of a text's labels, a list, where it may have any number of them; without it a text has one, its answer.
    pub several: Option<String>,
    /// What stands behind the text, where the label is read.
    pub cue: String,
    /// Units are scored in a second copy of the text, where all of it has been read; off, with what stands before them alone.
    pub echo: bool,
    /// The share of units that is selected: the rule of `top_k` and `attention`, and what `sparsity` draws the other masks to.
    pub share: f64,
    /// How the mask is made.
    pub mask: Mask,
    /// Weight of the cross-entropy of the label of the whole text.
    pub whole: f64,
    /// Weight of the cross-entropy of the label of the selected units alone.
    pub rationale: f64,
    /// Weight of |mean mask − share|; without effect where `mask.kind` selects the share itself.
    pub sparsity: f64,
    /// Weight of the mean difference of neighbours' masks.
    pub continuity: f64,
    /// What is not selected is to tell less than the text: a hinge over cross-entropies.
    pub comprehensive: Hinge,
    /// What is selected is to tell as much as the text: a hinge over cross-entropies.
    pub sufficient: Hinge,
    /// What is selected is to tell more than as many units drawn at random; weighed by how far the two are apart.
    pub singular: Hinge,
    /// Weight of the selector's agreement with the marked spans, of the rows that have some.
    pub plausible: f64,
    /// Weight of how much a label can be told from shortcuts: units that the stage's first selector, that of `policy.model`, picks outside of the marked
    /// spans. That model is an earlier `loop.extract`'s.
    pub shortcut: f64,
    /// Weight of the divergence of two predictors' labels, one of the whole text and one of its rationale; each is drawn to the other.
    pub couple: f64,
    /// The marked spans alone are to tell the label better than texts without them.
    pub contrast: Contrast,
    /// In training each unit that the second predictor reads is replaced with this probability, less informative ones more often, by a word of
    /// the training texts that is not informative either. Units are words.
    pub noise: f64,
    /// All terms but cross-entropies count in each so manieth step.
    pub every: usize,
    /// The share of training rows whose marked spans are read, drawn by `run.seed`: the same rows in all stages (SSR's paper: a quarter).
    pub marked: f64,
}

/// What is selected as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// What stands between blanks.
    Word,
    /// What ends with `.`, `!` or `?` before a blank, or with a line.
    Sentence,
    /// A line.
    Paragraph,
}

/// `mask`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mask {
    /// How scores become a mask that has a gradient.
    pub kind: MaskKind,
    /// Of `gumbel` what the noisy scores are divided by, at the first step and at the last; of `top_k` what the noise is multiplied by.
    pub temperature: [f64; 2],
}

/// How scores become a mask that has a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskKind {
    /// A unit is drawn with probability σ(score); the gradient is that of the relaxed draw (Gumbel softmax).
    Gumbel,
    /// Units with σ(score) > ½; the gradient is σ's.
    Sigmoid,
    /// The best share of the units; the gradient is estimated by implicit maximum likelihood (AIMLE).
    TopK,
    /// The best share of the units by attention over them; the selector learns from the label that the attended states tell.
    Attention,
    /// No mask: a plain classifier, whose units are scored by what leaving each out does to its label.
    None,
}

/// A margin between two cross-entropies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hinge {
    /// Its weight.
    #[serde(default)]
    pub weight: f64,
    /// The margin, in nats.
    pub margin: f64,
    /// What is compared with what: by default the whole text (REFER) is; `rationale` (ECtHR) compares the selected units with the others.
    #[serde(default)]
    pub against: Against,
}

/// What a hinge compares what is left out with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The whole text.
    #[default]
    Whole,
    /// The selected units.
    Rationale,
}

/// `contrast`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Contrast {
    /// Its weight.
    pub weight: f64,
    /// Texts without marked units, each of as many units as are marked.
    pub others: usize,
}

impl Default for Mask {
    fn default() -> Self {
        Self { kind: MaskKind::TopK, temperature: [1.0, 1.0] }
    }
}

impl Default for Contrast {
    fn default() -> Self {
        Self { weight: 0.0, others: 2 }
    }
}

impl Hinge {
    fn off(margin: f64) -> Self {
        Self { weight: 0.0, margin, against: Against::Whole }
    }
}

impl Default for Extract {
    fn default() -> Self {
        Self {
            units: Units::Word,
            labels: vec![],
            several: None,
            cue: "\n".into(),
            echo: true,
            share: 0.2,
            mask: Mask::default(),
            whole: 1.0,
            rationale: 1.0,
            sparsity: 0.0,
            continuity: 0.0,
            comprehensive: Hinge::off(1.0),
            sufficient: Hinge::off(0.1),
            singular: Hinge::off(0.1),
            plausible: 0.0,
            shortcut: 0.0,
            couple: 0.0,
            contrast: Contrast::default(),
            noise: 0.0,
            every: 1,
            marked: 1.0,
        }
    }
}

impl Extract {
    /// Keys that the others leave without effect, and why.
    pub(super) fn without_effect(&self) -> Vec<Idle> {
        let noise =
            ("mask.temperature", "with a mask.kind other than gumbel and top_k, which alone have noise");
        let constant = "with mask.kind = \"attention\", whose selector learns from its label alone";
        let mut idle = match self.mask.kind {
            MaskKind::Gumbel => vec![],
            MaskKind::TopK => vec![("sparsity", "with mask.kind = \"top_k\", which selects just the share")],
            MaskKind::Attention => vec![noise, ("sparsity", constant), ("continuity", constant)],
            MaskKind::Sigmoid | MaskKind::None => vec![noise],
        };
        let of_weights = [
            (self.comprehensive.weight, "comprehensive.margin", "with comprehensive.weight = 0"),
            (self.comprehensive.weight, "comprehensive.against", "with comprehensive.weight = 0"),
            (self.sufficient.weight, "sufficient.margin", "with sufficient.weight = 0"),
            (self.singular.weight, "singular.margin", "with singular.weight = 0"),
            (self.contrast.weight, "contrast.others", "with contrast.weight = 0"),
        ];
        idle.extend(
            of_weights.iter().filter(|(weight, ..)| *weight == 0.0).map(|(_, key, why)| (*key, *why)),
        );
        if !self.reads_spans() {
            idle.push(("marked", "without plausible, shortcut and contrast, which alone read marked spans"));
        }
        idle
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        const WEIGHT: &str = "it must be a number of at least 0";
        let weight = |x: f64| x >= 0.0 && x.is_finite();
        let numbers = [
            ("whole", self.whole),
            ("rationale", self.rationale),
            ("sparsity", self.sparsity),
            ("continuity", self.continuity),
            ("plausible", self.plausible),
            ("shortcut", self.shortcut),
            ("couple", self.couple),
            ("contrast.weight", self.contrast.weight),
        ];
        let mut found: Vec<Misfit> = numbers
            .iter()
            .filter(|(_, x)| !weight(*x))
            .map(|(key, _)| Misfit::new(*key, WEIGHT, ""))
            .collect();
        for (key, hinge) in [
            ("comprehensive", &self.comprehensive),
            ("sufficient", &self.sufficient),
            ("singular", &self.singular),
        ] {
            found.extend(under(
                key,
                broken(&[
                    (weight(hinge.weight), "weight", WEIGHT),
                    (weight(hinge.margin), "margin", WEIGHT),
                    (
                        key == "comprehensive" || hinge.against == Against::Whole,
                        "against",
                        "only comprehensive can be held against the rationale",
                    ),
                ]),
            ));
        }
        let distinct: std::collections::HashSet<_> = self.labels.iter().collect();
        let none = self.mask.kind == MaskKind::None;
        let masks = [
            ("rationale", self.rationale),
            ("sparsity", self.sparsity),
            ("continuity", self.continuity),
            ("comprehensive", self.comprehensive.weight),
            ("sufficient", self.sufficient.weight),
            ("singular", self.singular.weight),
            ("plausible", self.plausible),
            ("shortcut", self.shortcut),
            ("couple", self.couple),
            ("noise", self.noise),
        ];
        let why = "there is no mask with mask.kind = \"none\"";
        found.extend(
            masks
                .iter()
                .filter(|(_, x)| none && *x != 0.0)
                .map(|(key, _)| Misfit::new(*key, why, "set it to 0")),
        );
        found.extend(broken(&[
            (self.labels.len() != 1, "labels", "one label tells nothing; name two or more, or none"),
            (distinct.len() == self.labels.len(), "labels", "it names a label twice"),
            (
                !self.cue.is_empty(),
                "cue",
                "it must be a text that is not empty: the label is read at its end",
            ),
            (self.share > 0.0 && self.share < 1.0, "share", "it must be above 0 and below 1"),
            (
                self.mask.temperature.iter().all(|t| *t > 0.0 && t.is_finite()),
                "mask.temperature",
                "both must be positive numbers",
            ),
            (
                self.whole + self.rationale > 0.0,
                "whole",
                "nothing teaches the label; whole or rationale must be above 0",
            ),
            (
                self.mask.kind != MaskKind::Attention || self.whole + self.couple + self.plausible > 0.0,
                "whole",
                "with mask.kind = \"attention\" the selector learns from the label of the whole text; whole, couple or plausible must be above 0",
            ),
            ((0.0..=1.0).contains(&self.noise), "noise", "it must be from 0 to 1"),
            (
                self.noise == 0.0 || self.units == Units::Word,
                "noise",
                "it replaces words: units must be \"word\"",
            ),
            (self.contrast.others >= 1, "contrast.others", "it must be at least 1"),
            (self.every >= 1, "every", "it must be at least 1"),
            (self.marked > 0.0 && self.marked <= 1.0, "marked", "it must be above 0 and at most 1"),
        ]));
        found
    }

    /// Whether texts of which parts are left out have a predictor of their own.
    pub fn two(&self) -> bool {
        self.couple > 0.0 || self.mask.kind == MaskKind::Attention
    }

    /// How many of `units` are selected where their number is fixed.
    pub fn count(&self, units: usize) -> usize {
        ((self.share * units as f64).round() as usize).clamp(1, units.max(1))
    }

    /// Whether the marked spans of the training row `id` are among those that are read.
    pub fn reads_spans_of(&self, id: &str, run_seed: u64) -> bool {
        seed::uniform(seed::derive(&[run_seed, seed::of_text("marked"), seed::of_text(id)])) < self.marked
    }

    /// Whether a row's marked spans are read.
    pub fn reads_spans(&self) -> bool {
        self.plausible > 0.0 || self.contrast.weight > 0.0 || self.shortcut > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        let section: Extract = toml::from_str(text).unwrap();
        section.check().into_iter().map(|misfit| misfit.key).collect()
    }

    #[test]
    fn the_section_is_checked() {
        assert_eq!(keys(""), [""; 0]);
        assert_eq!(
            keys(
                "labels = ['a', 'a']\ncue = ''\nshare = 1.0\nwhole = -1.0\nevery = 0\nmarked = 0.0\nmask.temperature = [0.0, 1.0]"
            ),
            ["whole", "labels", "cue", "share", "mask.temperature", "whole", "every", "marked"]
        );
        assert_eq!(
            keys("sufficient = { weight = 1.0, margin = -1.0, against = 'rationale' }"),
            ["sufficient.margin", "sufficient.against"]
        );
        assert_eq!(keys("comprehensive = { weight = 1.0, margin = 0.5, against = 'rationale' }"), [""; 0]);
        assert_eq!(keys("mask.kind = 'none'\nrationale = 0.0\nsparsity = 1.0"), ["sparsity"]);
        assert_eq!(keys("noise = 0.1\nunits = 'sentence'"), ["noise"]);
        // What is selected has no gradient there: without the attended label, the selector would stay as it was drawn.
        assert_eq!(keys("mask.kind = 'attention'\nwhole = 0.0"), ["whole"]);
        assert_eq!(keys("mask.kind = 'attention'\nwhole = 0.0\ncouple = 0.1"), [""; 0]);
    }

    /// A quarter of the rows, the same whenever it is asked, others of another seed; all by default.
    #[test]
    fn marks_are_read_of_a_share_of_the_rows() {
        let quarter = Extract { marked: 0.25, ..Extract::default() };
        let read = |extract: &Extract, seed| -> Vec<usize> {
            (0..4000).filter(|row| extract.reads_spans_of(&format!("report-{row}"), seed)).collect()
        };
        let found = read(&quarter, 3);
        assert!((900..1100).contains(&found.len()), "{}", found.len());
        assert_eq!(found, read(&quarter, 3));
        assert_ne!(found, read(&quarter, 4));
        assert_eq!(read(&Extract::default(), 3).len(), 4000);
    }

    #[test]
    fn what_a_mask_does_not_read_is_idle() {
        let all = |text: &str| -> Vec<&'static str> {
            let section: Extract = toml::from_str(text).unwrap();
            section.without_effect().into_iter().map(|(key, _)| key).collect()
        };
        let unweighed = all("mask.kind = 'gumbel'");
        assert_eq!(unweighed.len(), 6, "{unweighed:?}");
        let weighed =
            "mask.kind = 'gumbel'\ncontrast.weight = 1.0\nsingular = { weight = 1.0, margin = 0.1 }";
        assert_eq!(all(weighed).len(), 3);
        let idle = |text: &str| -> Vec<&'static str> {
            all(text).into_iter().filter(|key| !unweighed.contains(key)).collect()
        };
        assert_eq!(idle("mask.kind = 'top_k'"), ["sparsity"]);
        assert_eq!(idle("mask.kind = 'attention'"), ["mask.temperature", "sparsity", "continuity"]);
        assert_eq!(idle("mask.kind = 'sigmoid'"), ["mask.temperature"]);
        assert_eq!(idle("mask.kind = 'gumbel'"), [""; 0]);
        assert_eq!(idle("mask.kind = 'top_k'\nsparsity = 1.0"), ["sparsity"]);
    }

    #[test]
    fn a_share_is_at_least_one_unit() {
        let of = |share, units| Extract { share, ..Extract::default() }.count(units);
        // REFER's max(1, round(k · n)).
        assert_eq!([of(0.2, 2), of(0.2, 8), of(0.2, 12), of(0.9, 1)], [1, 2, 2, 1]);
    }
}
