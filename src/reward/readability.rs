//! How easy the rationale is to read, by a classical formula for English.

use super::{Holds, Part, Reward, Wanting, Wants, column, of_rollouts};
use crate::data::Example;
use crate::section::{Idle, idle};
use crate::text::readability::TextCounts;
use anyhow::Context;
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// `[reward.readability]`: how easy the text is to read, by a formula. 1 at `easy` and beyond, 0 at `hard` and beyond, a line between;
/// or 1 within a band and less outside of it; 0 where there are no words. Syllables are counted by a rule of thumb.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Readability {
    /// `flesch` (reading ease), `fog` or `coleman_liau` (both years of school).
    pub formula: Formula,
    /// The formula's value for a score of 1; by default 90 for `flesch`, 6 for the others.
    pub easy: Option<f64>,
    /// The formula's value for a score of 0; by default 30 for `flesch`, 16 for the others.
    pub hard: Option<f64>,
    /// Values between which the score is 1, in place of `easy` and `hard`: `[60, 70]` for all rows, or by what stands in `column`,
    /// such as `{ school = [60, 80], college = [20, 50] }`.
    pub band: Option<Band>,
    /// The column that names a row's band.
    pub column: Option<String>,
    /// For `band`: so far outside of it the score is 0, with a line between; by default 30 for `flesch`, 5 for the others.
    pub reach: Option<f64>,
    /// The formula's value itself in place of a score: to be measured, not learned from.
    pub plain: bool,
    /// `text`, `rationale` or `answer`.
    pub of: Part,
}

/// Which values are wanted.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub enum Band {
    /// Of all rows.
    One([f64; 2]),
    /// By name.
    Named(BTreeMap<String, [f64; 2]>),
}

/// By what is there, so that what is wrong is said of the number that is.
impl<'de> Deserialize<'de> for Band {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrNamed;
        impl<'de> Visitor<'de> for OneOrNamed {
            type Value = Band;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("two numbers such as [60, 70], or several such by name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Band, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(items)).map(Band::One)
            }

            fn visit_map<A: MapAccess<'de>>(self, items: A) -> Result<Band, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(items)).map(Band::Named)
            }
        }
        deserializer.deserialize_any(OneOrNamed)
    }
}

/// The formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Formula {
    /// Flesch's reading ease; high is easy.
    Flesch,
    /// Gunning's fog index; low is easy.
    Fog,
    /// Coleman and Liau's index; low is easy.
    ColemanLiau,
}

impl Default for Readability {
    fn default() -> Self {
        Self {
            formula: Formula::Flesch,
            easy: None,
            hard: None,
            band: None,
            column: None,
            reach: None,
            plain: false,
            of: Part::Rationale,
        }
    }
}

impl Formula {
    /// What `easy`, `hard` and `reach` are by default.
    fn usual(self) -> [f64; 3] {
        if self == Formula::Flesch { [90.0, 30.0, 30.0] } else { [6.0, 16.0, 5.0] }
    }
}

impl Readability {
    /// Writes what follows from the formula, as far as the section reads it.
    pub(super) fn follow(section: &mut toml::Table) {
        let formula = section.get("formula").cloned().and_then(|formula| formula.try_into().ok());
        let [easy, hard, reach] = formula.unwrap_or(Formula::Flesch).usual();
        let plain = section.get("plain").and_then(toml::Value::as_bool) == Some(true);
        let read = match section.contains_key("band") {
            true => vec![("reach", reach)],
            false if plain => vec![],
            false => vec![("easy", easy), ("hard", hard)],
        };
        for (key, value) in read {
            section.entry(key).or_insert(value.into());
        }
    }

    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        let [easy, hard, reach] = self.formula.usual();
        let (easy, hard) = (self.easy.unwrap_or(easy), self.hard.unwrap_or(hard));
        anyhow::ensure!(
            (easy - hard).is_finite() && easy != hard,
            "easy = {easy}, hard = {hard}: must be two different numbers"
        );
        let reach = self.reach.unwrap_or(reach);
        let (wants, idle) = (self.check(reach)?, self.idle());
        let reward = of_rollouts(move |example, rollout| {
            let Some(counts) = TextCounts::of(self.of.of(rollout)) else { return Ok(0.0) };
            let value = self.formula.of(&counts);
            Ok(match self.band_of(example)? {
                _ if self.plain => value,
                Some([low, high]) => 1.0 - ((low - value).max(value - high).max(0.0) / reach).min(1.0),
                None => ((value - hard) / (easy - hard)).clamp(0.0, 1.0),
            })
        });
        Ok(Wanting { wants, idle, reward })
    }

    fn idle(&self) -> Vec<Idle> {
        idle(&[
            (self.band.is_none(), &["easy", "hard"], "beside band"),
            (!self.plain, &["easy", "hard"], "with plain = true"),
            (self.band.is_some(), &["reach"], "without band"),
        ])
    }

    /// Refuses what does not go together; what it needs of rows.
    fn check(&self, reach: f64) -> anyhow::Result<Wants> {
        anyhow::ensure!(reach > 0.0 && reach.is_finite(), "reach = {reach}: it must be above 0");
        let ordered = |[low, high]: &[f64; 2]| low <= high;
        let names = match (&self.band, &self.column) {
            (Some(Band::One(band)), None) => {
                anyhow::ensure!(ordered(band), "band = {band:?}: the lower end comes first");
                return Ok(Wants::default());
            }
            (None, None) => return Ok(Wants::default()),
            (Some(Band::Named(bands)), Some(_)) => {
                let wrong = bands.iter().find(|(_, band)| !ordered(band));
                anyhow::ensure!(wrong.is_none(), "band = {wrong:?}: the lower end comes first");
                bands.keys().cloned().collect()
            }
            _ => anyhow::bail!(
                "band: several by name go with the column that names them, as in column = \"level\"; one goes without"
            ),
        };
        anyhow::ensure!(!self.plain, "plain = true: the value itself has no band; take band and column out");
        Ok(Wants::default().column("column", self.column.as_deref().unwrap_or_default(), Holds::OneOf(names)))
    }

    fn band_of(&self, example: &Example) -> anyhow::Result<Option<[f64; 2]>> {
        match (&self.band, &self.column) {
            (Some(Band::One(band)), _) => Ok(Some(*band)),
            (Some(Band::Named(bands)), Some(column)) => {
                let name = column::text(example, column)?;
                let band = bands
                    .get(&name)
                    .with_context(|| format!("there is no band for its `{column}`, `{name}`"))?;
                Ok(Some(*band))
            }
            _ => Ok(None),
        }
    }
}

impl Formula {
    /// Its value of a text.
    fn of(self, counts: &TextCounts) -> f64 {
        match self {
            Formula::Flesch => counts.flesch(),
            Formula::Fog => counts.fog(),
            Formula::ColemanLiau => counts.coleman_liau(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};

    #[test]
    fn easy_text_scores_high() {
        let asked = || {
            let easy = "The cat sat on the mat.\n#### 1";
            let hard = "Multiplicative distributivity necessitates reconsideration.\n#### 1";
            group(None, &[], &[easy, hard, "#### 1"])
        };
        // 6 words, 6 syllables, one sentence: Flesch 206.835 − 6.09 − 84.6 = 116.145, beyond 90.
        assert_eq!(scores("[readability]", asked()), Ok(vec![1.0, 0.0, 0.0]));
        // Fog 0.4 · 6 = 2.4 between 0 and 12: 1 − 2.4/12 = 0.8; the other 0.4 · (4 + 100).
        let fog = scores("[readability]\nformula = \"fog\"\neasy = 0\nhard = 12.0", asked()).unwrap();
        assert!((fog[0] - 0.8).abs() < 1e-12 && fog[1..] == [0.0, 0.0]);
        assert!(scores("[readability]\neasy = 5\nhard = 5", asked()).unwrap_err().contains("two different"));
    }

    #[test]
    fn a_band_is_asked_for_by_name() {
        let asked = |level: &str| {
            let mut asked = group(None, &[], &["The cat sat on the mat.\n#### 1", "#### 1"]);
            let example = std::sync::Arc::get_mut(&mut asked.example).unwrap();
            example.fields.insert("level".into(), level.into());
            asked
        };
        let by_level =
            "[readability]\ncolumn = \"level\"\nband = { school = [100, 120], college = [20, 101.145] }";
        // Flesch 116.145: within the first, 15 above the other, half of the reach of 30.
        assert_eq!(scores(by_level, asked("school")), Ok(vec![1.0, 0.0]));
        let college = scores(by_level, asked("college")).unwrap();
        assert!((college[0] - 0.5).abs() < 1e-9, "{college:?}");
        let far = scores("[readability]\nband = [0, 10]", asked("")).unwrap();
        assert_eq!(far, [0.0, 0.0]);
        let plain = scores("[readability]\nplain = true", asked("")).unwrap();
        assert!((plain[0] - 116.145).abs() < 1e-9, "{plain:?}");
        assert!(
            scores(by_level, asked("nursery")).unwrap_err().contains("no band for its `level`, `nursery`")
        );
        for (wrong, words) in [
            ("band = [9, 1]", "the lower end comes first"),
            ("band = { a = [1, 2] }", "the column that names them"),
            ("reach = 0", "above 0"),
        ] {
            let said = scores(&format!("[readability]\n{wrong}"), asked("")).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
