//! What a completion's length is worth: `[reward.length]`, a family of forms of which a recipe names one.

mod absolute;
mod overlong;
mod relative;

pub use absolute::{Budget, Cosine, Linear};
pub use overlong::Overlong;
pub use relative::{Lengths, Power, Relative, Shortest};

use super::{Holds, Models, Reward, Right, Wants};
use crate::rollout::{Group, Rollout, Score};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.length]`: `max_tokens` and `buffer` for the soft overlong penalty, or one of the tables. Lengths are in
/// tokens.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Length {
    /// With `buffer`: the soft overlong penalty ([`Overlong`]).
    pub max_tokens: Option<usize>,
    /// With `max_tokens`: over how many tokens the penalty grows.
    pub buffer: Option<usize>,
    /// A line down to −1.
    pub linear: Option<Linear>,
    /// A line in the units of the group's mean reward.
    pub relative: Option<Relative>,
    /// A power of the length, of right completions.
    pub power: Option<Power>,
    /// Half a cosine, down for right completions, up for wrong ones.
    pub cosine: Option<Cosine>,
    /// A line from the shortest right completion of the group to its longest.
    pub shortest: Option<Shortest>,
    /// A budget for each example.
    pub budget: Option<Budget>,
    /// Score wrong completions 0.
    pub only_right: bool,
    /// Which completions are right: those of which this reward's score is at least `right_at`. By default those whose
    /// answer is the gold one.
    pub right_by: Option<String>,
    /// The score of `right_by` from which on a completion is right; 1 by default.
    pub right_at: Option<f64>,
}

/// One of the forms.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    Overlong(Overlong),
    Linear(Linear),
    Relative(Relative),
    Power(Power),
    Cosine(Cosine),
    Shortest(Shortest),
    Budget(Budget),
}

impl Length {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        let right = Right::new(self.right_by.clone(), self.right_at)?;
        let only_right = self.only_right;
        let form = self.form()?;
        form.check()?;
        Ok(Scorer { form, right, only_right })
    }

    fn form(self) -> anyhow::Result<Form> {
        let overlong = match (self.max_tokens, self.buffer) {
            (None, None) => None,
            (Some(max_tokens), Some(buffer)) => Some(Form::Overlong(Overlong { max_tokens, buffer })),
            (None, _) => anyhow::bail!("missing key `max_tokens`: where the soft overlong penalty is full"),
            (_, None) => anyhow::bail!("missing key `buffer`: over how many tokens the penalty grows"),
        };
        let forms = [
            overlong,
            self.linear.map(Form::Linear),
            self.relative.map(Form::Relative),
            self.power.map(Form::Power),
            self.cosine.map(Form::Cosine),
            self.shortest.map(Form::Shortest),
            self.budget.map(Form::Budget),
        ];
        let mut named = forms.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(form), None) => Ok(form),
            _ => anyhow::bail!(
                "name exactly one form: max_tokens and buffer, or a table `linear`, `relative`, `power`, `cosine`, \
                 `shortest` or `budget`; for two forms use two rewards with kind = \"length\""
            ),
        }
    }
}

impl Form {
    fn check(&self) -> anyhow::Result<()> {
        match self {
            Form::Overlong(overlong) => overlong.check()?,
            Form::Linear(Linear { max_tokens }) | Form::Cosine(Cosine { max_tokens, .. }) => {
                anyhow::ensure!(*max_tokens > 0, "max_tokens = 0: must be at least 1");
            }
            Form::Power(Power { exponent, unit, difficulty, most }) => {
                let finite = [exponent, unit, difficulty, most].iter().all(|n| n.is_finite());
                anyhow::ensure!(
                    finite && *exponent > 0.0 && *unit > 0.0 && *difficulty >= 0.0,
                    "power: exponent and unit must be above 0, difficulty at least 0, all finite"
                );
            }
            Form::Budget(Budget { tokens, .. }) => {
                let none = tokens.iter().find(|(_, tokens)| **tokens == 0);
                anyhow::ensure!(none.is_none(), "budget.tokens: a budget must be at least 1");
            }
            Form::Shortest(Shortest { min_pass_rate, .. }) => anyhow::ensure!(
                (0.0..=1.0).contains(min_pass_rate),
                "shortest.min_pass_rate = {min_pass_rate}: must lie between 0 and 1"
            ),
            Form::Relative(_) => {}
        }
        if let Form::Cosine(Cosine { right_short, right_long, wrong_short, wrong_long, beyond, .. }) = self {
            let finite = [*right_short, *right_long, *wrong_short, *wrong_long, beyond.unwrap_or(0.0)]
                .map(f64::is_finite);
            anyhow::ensure!(finite == [true; 5], "cosine: its scores must be finite numbers");
        }
        Ok(())
    }

    fn needs_right(&self) -> bool {
        matches!(self, Form::Power(_) | Form::Cosine(_) | Form::Shortest(_))
    }
}

struct Scorer {
    form: Form,
    right: Right,
    only_right: bool,
}

impl Scorer {
    fn asks_right(&self) -> bool {
        self.only_right || self.form.needs_right()
    }

    fn of(&self, group: &Group, right: &[bool]) -> anyhow::Result<Vec<f64>> {
        let tokens: Vec<usize> = group.rollouts.iter().map(Rollout::sampled).collect();
        let lengths = Lengths { tokens: &tokens, right, reward: &group.rewards() };
        let each = |score: &dyn Fn(usize) -> f64| tokens.iter().map(|&n| score(n)).collect();
        Ok(match &self.form {
            Form::Overlong(form) => each(&|n| form.of(n)),
            Form::Linear(form) => each(&|n| form.of(n)),
            Form::Cosine(form) => tokens.iter().zip(right).map(|(&n, &right)| form.of(n, right)).collect(),
            Form::Relative(form) => form.of(&lengths),
            Form::Power(form) => form.of(&lengths),
            Form::Shortest(form) => form.of(&lengths),
            Form::Budget(form) => {
                tokens.iter().map(|&n| form.of(&group.example, n)).collect::<anyhow::Result<_>>()?
            }
        })
    }
}

impl Reward for Scorer {
    fn wants(&self) -> Wants {
        let wants = if self.asks_right() { self.right.wants() } else { Wants::default() };
        match &self.form {
            Form::Budget(Budget { column, tokens }) => {
                let known = || tokens.keys().cloned().collect();
                let holds = if tokens.is_empty() { Holds::Count } else { Holds::OneOf(known()) };
                wants.column("budget.column", column, holds)
            }
            _ => wants,
        }
    }

    fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
        let right = if self.asks_right() { self.right.of(group)? } else { vec![false; group.rollouts.len()] };
        let mut scores = self.of(group, &right)?;
        if self.only_right {
            scores.iter_mut().zip(&right).filter(|(_, right)| !**right).for_each(|(score, _)| *score = 0.0);
        }
        Ok(scores.into_iter().map(Score::from).collect())
    }

    fn depends_on_others(&self) -> bool {
        self.right.by_another() || matches!(self.form, Form::Relative(_))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};

    #[test]
    fn it_counts_tokens_and_checks_its_section() {
        let recipe = "[length]\nmax_tokens = 4\nbuffer = 2";
        assert_eq!(scores(recipe, group(None, &[], &["ab", "äöü", "abcdefg"])), Ok(vec![0.0, -0.5, -1.0]));
        let message = |recipe: &str| scores(recipe, group(None, &[], &[])).unwrap_err();
        let error = message("[length]\nmax_tokens = 4\nbuffer = 5");
        assert!(
            error.contains("[reward.length]: buffer = 5: must not be more than max_tokens = 4"),
            "{error}"
        );
        assert!(message("[length]\nbuffer = 5").contains("missing key `max_tokens`"));
        assert!(message("[length]").contains("name exactly one form"));
        assert!(message("[length]\nlinear.max_tokens = 4\nrelative = {}").contains("name exactly one form"));
        assert!(message("[length]\nlinear.max_tokens = 0").contains("max_tokens = 0"));
        assert!(message("[length]\npower.exponent = -1").contains("exponent"));
        assert!(message("[length]\ncosin.max_tokens = 4").contains("did you mean `cosine`?"));
    }

    #[test]
    fn only_right_completions_can_be_asked_for() {
        let recipe = "[length]\nonly_right = true\nlinear.max_tokens = 10";
        // "#### 7" has 6 tokens here, and "#### 77" is wrong.
        assert_eq!(scores(recipe, group(Some("7"), &[], &["#### 7", "#### 77"])), Ok(vec![-0.6, 0.0]));
        let error = scores(recipe, group(None, &[], &["#### 7"])).unwrap_err();
        assert!(error.contains("no gold answer") && error.contains("right_by"), "{error}");
    }

    #[test]
    fn the_relative_form_sees_what_the_others_gave_wherever_it_stands() {
        // The mean of 2 · [1, 0] is 1; the longest has 8 tokens: 2 − 6/8 and 0 − 8/8.
        let recipe = "[length]\nrelative = {}\n[answer]\nweight = 2";
        assert_eq!(scores(recipe, group(Some("7"), &[], &["#### 7", "####  77"])), Ok(vec![1.25, -1.0]));
    }

    #[test]
    fn another_rewards_score_may_say_what_is_right() {
        let recipe = "[length]\nonly_right = true\nlinear.max_tokens = 10\nright_by = \"form\"\n\
                      [form]\nkind = \"format\"\nregex = 'b+'\nweight = 0";
        assert_eq!(scores(recipe, group(None, &[], &["bb", "aa"])), Ok(vec![-0.2, 0.0]));
        let error = scores(
            "[length]\nonly_right = true\nlinear.max_tokens = 10\nright_by = \"x\"",
            group(None, &[], &["b"]),
        );
        assert!(error.unwrap_err().contains("there is no [reward.x]"));
    }

    #[test]
    fn a_budget_is_the_examples_own_or_its_difficultys() {
        let mut asked = group(None, &[], &["1234", "123456", "1234567890"]);
        let example = std::sync::Arc::get_mut(&mut asked.example).unwrap();
        example.fields.insert("level".into(), "easy".into());
        example.fields.insert("tokens".into(), 5.into());
        // Budget 4: 0, −2/4, and −1 from 8 on. Budget 5: 0, −1/5, −1.
        let by_level = "[length.budget]\ncolumn = \"level\"\ntokens = { easy = 4, hard = 9 }";
        assert_eq!(scores(by_level, asked.clone()), Ok(vec![0.0, -0.5, -1.0]));
        assert_eq!(scores("[length.budget]\ncolumn = \"tokens\"", asked.clone()), Ok(vec![0.0, -0.2, -1.0]));
        let message = |recipe: &str| scores(recipe, asked.clone()).unwrap_err();
        assert!(message("[length.budget]\ncolumn = \"level\"").contains("no number of tokens"));
        assert!(
            message("[length.budget]\ncolumn = \"level\"\ntokens = { hard = 9 }").contains("it has: hard")
        );
        assert!(message("[length.budget]\ncolumn = \"size\"").contains("it has no column `size`"));
    }
}
