//! What the calculator says of a completion: whether its program runs, comes to the right value, states what holds, or makes a family of problems.

use super::{Holds, Models, OfRow, Part, Reward, Wants, choice, column};
use crate::data::Example;
use crate::rationale::calc::{exact, family, program, stated};
use crate::rationale::equality::only_number;
use crate::rationale::number::Number;
use crate::rollout::{Group, Score};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.calc]`: a completion as a program of the calculator that `[rollout.tools]` has too, run inside the trainer: no loops, at most 200 signs and numbers, exact.
/// A program has a line for each step, `4*17`, `a = 4*17` or `a = 4*17 = 68`; later lines may use `a`. What stands behind a second equals sign is what the writer
/// says that it comes to, and changes nothing: what counts is what is computed.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calc {
    /// What is measured.
    pub measure: Measure,
    /// The part of the completion that is read: `text`, `rationale` or `answer`.
    pub of: Part,
    /// With `measure = "right"`: how far the value may be from the nearest of the row's choices, which is then what was chosen.
    pub within: f64,
    /// With `measure = "equations"`: the score where there is none.
    pub none: f64,
    /// With `measure = "family"`: the column with the problem that the family is written for.
    pub question: String,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// 1 where every line can be computed.
    Runs,
    /// 1 where the last line comes to the gold answer, compared as answers are; of rows with choices, where the nearest choice is the gold one.
    Right,
    /// The share of the equations that the text states, in prose too, that hold: `48/2 = 24`, rounded results among them. What has unknowns, or words between its numbers, is none.
    Equations,
    /// 1 where the completion is a family of problems (`a in 1..9`, `ask … {a} …`, `solve 2*a`) that passes all tests on five draws and on the row's own problem; the share
    /// that passes each is logged: `is_extractable`, `is_executable`, `has_dof`, `single_valued`, `matches_original`.
    Family,
}

impl Default for Calc {
    fn default() -> Self {
        Self {
            measure: Measure::Right,
            of: Part::Rationale,
            within: 0.01,
            none: 0.0,
            question: "question".into(),
        }
    }
}

impl Calc {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        let (within, none) = (self.within, self.none);
        anyhow::ensure!(within.is_finite() && within >= 0.0, "within = {within}: it must be 0 or more");
        anyhow::ensure!(none.is_finite(), "none = {none}: must be a finite number");
        Ok(Scorer { section: self, tests: vec![] })
    }

    fn wants(&self) -> Wants {
        let wants = Wants::default();
        match self.measure {
            Measure::Runs | Measure::Equations => wants,
            Measure::Right => wants.row("measure", OfRow::Gold, ""),
            Measure::Family => {
                wants.row("measure", OfRow::Gold, "").column("question", &self.question, Holds::Text)
            }
        }
    }

    /// Whether a value is the row's gold answer.
    fn right(&self, example: &Example, value: Number) -> bool {
        let Some(gold) = example.gold() else { return false };
        let Some(chosen) = choice(gold, &example.choices) else {
            return example.equality().same(gold, &exact(value));
        };
        let away = |choice: &String| Some((only_number(choice)?.to_f64() - value.to_f64()).abs());
        let distances =
            example.choices.iter().enumerate().filter_map(|(at, choice)| Some((at, away(choice)?)));
        let nearest = distances.min_by(|(_, a), (_, b)| a.total_cmp(b));
        nearest.is_some_and(|(at, away)| at == chosen && away <= self.within)
    }
}

struct Scorer {
    section: Calc,
    /// What the families since the last figures passed: 1 for each that does.
    tests: Vec<(String, f64)>,
}

impl Reward for Scorer {
    fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
        let Self { section, tests } = self;
        let example = &group.example;
        let question = match section.measure {
            Measure::Family => column::text(example, &section.question)?,
            _ => String::new(),
        };
        let worth = |passes: bool| f64::from(u8::from(passes));
        let mut score = |text: &str| match section.measure {
            Measure::Runs => worth(program::run(text).is_ok()),
            Measure::Right => worth(program::run(text).is_ok_and(|value| section.right(example, value))),
            Measure::Equations => match &stated::equations(text)[..] {
                [] => section.none,
                found => found.iter().filter(|holds| **holds).count() as f64 / found.len() as f64,
            },
            Measure::Family => {
                let passed = family::passed(text, &question, |value| section.right(example, value));
                let named = family::TESTS.iter().zip(passed);
                tests.extend(named.map(|(name, passes)| (name.to_string(), worth(passes))));
                worth(passed.iter().all(|passes| *passes))
            }
        };
        Ok(group.rollouts.iter().map(|rollout| Score::from(score(section.of.of(rollout)))).collect())
    }

    fn wants(&self) -> Wants {
        self.section.wants()
    }

    fn independent(&self) -> bool {
        true
    }

    fn figures(&mut self) -> Vec<(String, f64)> {
        std::mem::take(&mut self.tests)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards, score, scores};
    use crate::reward::Registry;

    fn of(keys: &str, gold: &str, choices: &[&str], texts: &[&str]) -> Vec<f64> {
        scores(&format!("[calc]\nof = \"text\"\n{keys}"), group(Some(gold), choices, texts)).unwrap()
    }

    /// The literal completions that each measure is known by.
    #[test]
    fn programs_run_and_come_to_the_gold_answer() {
        let texts = [
            "a = 4*17\nb = 23+a\nb-9",
            // What it says it comes to is wrong; what it comes to is right.
            "4*17 = 70\n23+68 = 100\n91-9 = 13",
            "a = 4*17\nb = 23+a",
            "82",
            "she has 82",
            "a = 4*17\nb = 23+c",
            "",
        ];
        assert_eq!(of("measure = \"runs\"", "82", &[], &texts), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(of("", "82", &[], &texts), [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        // Exact, as answers are.
        assert_eq!(of("", "1/3", &[], &["2/6", "0.333", "1-2/3"]), [1.0, 0.0, 1.0]);
    }

    #[test]
    fn the_nearest_choice_is_what_was_chosen() {
        let choices = ["21 clips", "21.5", "7/3", "none of these", "2.34"];
        let of = |gold: &str, texts: &[&str]| of("", gold, &choices, texts);
        assert_eq!(of("B", &["43/2", "21.495", "21.6", "21", "5*4+1"]), [1.0, 1.0, 0.0, 0.0, 0.0]);
        // Near two, it is the nearer.
        assert_eq!(of("C", &["7/3", "2.333", "2.338"]), [1.0, 1.0, 0.0]);
        assert_eq!(of("E", &["7/3", "2.333", "2.338"]), [0.0, 0.0, 1.0]);
        assert_eq!(of("D", &["21", "0"]), [0.0, 0.0]);
        let strict =
            scores("[calc]\nof = \"text\"\nwithin = 0.0", group(Some("B"), &choices, &["43/2", "21.501"]));
        assert_eq!(strict, Ok(vec![1.0, 0.0]));
    }

    #[test]
    fn stated_equations_are_counted_in_prose() {
        let texts = [
            "She sold 48/2 = 24.\nSo 48+24 = 73 in all, or 72*2 = 144, and 1+1 = 2.\n#### 72",
            "None.\n#### 72",
        ];
        let found = scores("[calc]\nmeasure = \"equations\"\nnone = -1", group(None, &[], &texts));
        assert_eq!(found, Ok(vec![0.75, -1.0]));
    }

    #[test]
    fn families_are_tested_and_their_tests_are_figures() {
        let general = "a in 10..99\nb in 1..a\nask tom has {a} figs and loses {b}.\nsolve a-b";
        let texts = [general, &general.replace("a-b", "14"), "14"];
        let mut asked = group(Some("14"), &[], &texts);
        let example = std::sync::Arc::get_mut(&mut asked.example).unwrap();
        example.fields.insert("question".into(), "tom has 23 figs and loses 9.".into());
        let mut built = rewards(&Registry::default(), "[calc]\nmeasure = \"family\"\nof = \"text\"").unwrap();
        score(&mut built, &mut asked).unwrap();
        assert_eq!(asked.rewards(), [1.0, 0.0, 0.0]);
        let figures = built.figures();
        let passed = |test: &str| -> Vec<f64> {
            let of = figures.iter().filter(|(name, _)| *name == format!("calc/{test}"));
            of.map(|(_, passed)| *passed).collect()
        };
        assert_eq!(passed("is_extractable"), [1.0, 1.0, 0.0]);
        assert_eq!(passed("has_dof"), [1.0, 0.0, 0.0]);
        assert_eq!(passed("matches_original"), [1.0, 1.0, 0.0]);
        assert!(built.figures().is_empty());
    }

    #[test]
    fn what_it_needs_is_said() {
        let known = |recipe: &str| scores(recipe, group(None, &[], &["1"])).unwrap_err();
        assert!(known("[calc]\nwithin = -1").contains("it must be 0 or more"));
        assert!(known("[calc]\nnone = nan").contains("must be a finite number"));
        let rows = [(*group(None, &[], &[]).example).clone()];
        let said = |recipe: &str| {
            let misfits = rewards(&Registry::default(), recipe).unwrap().check_rows(rows.iter());
            misfits.into_iter().map(|misfit| (misfit.key, misfit.message)).collect::<Vec<_>>()
        };
        assert!(said("[calc]\nmeasure = \"runs\"").is_empty());
        let lacks = said("[calc]\nmeasure = \"family\"");
        assert_eq!(lacks.len(), 2, "{lacks:?}");
        assert!(lacks[0].0 == "calc.measure" && lacks[0].1.contains("needs a gold answer"), "{lacks:?}");
        assert!(
            lacks[1].0 == "calc.question" && lacks[1].1.contains("a text in column `question`"),
            "{lacks:?}"
        );
    }
}
