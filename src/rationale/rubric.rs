//! A rubric as a schema: questions about an answer, what each reply is worth, and the formula of the mark (thought trees, Li
//! et al. 2024, arXiv 2406.19949).

use minijinja::{Environment, UndefinedBehavior, filters};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How an answer is marked: by questions with weights, and a formula over what the replies are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rubric {
    /// What rows call it in their column `rubric`.
    #[serde(default)]
    pub name: String,
    /// The mark, an expression as in Jinja over `total` (Σ weight · marks) and each question's marks by its name, such as
    /// `"3 if total >= 4 else 2 if total == 3 else 1 if total >= 1 else 0"`.
    #[serde(default = "total")]
    pub formula: String,
    /// The questions in the order in which they are asked.
    pub questions: Vec<Question>,
}

/// One question of a rubric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Its name in the formula and in rationales: letters, digits and `_`.
    pub name: String,
    /// The question itself; its name by default.
    #[serde(default)]
    pub ask: String,
    /// How much its marks count in `total`.
    #[serde(default = "one")]
    pub weight: f64,
    /// The replies that it may have; by default `yes` with one mark and `no` with none.
    #[serde(default = "yes_or_no")]
    pub options: Vec<Reply>,
}

/// A reply to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// Its words.
    pub say: String,
    /// What it is worth, before the question's weight.
    pub marks: f64,
}

/// Bytes of a formula, which readers go as deep into as it is long.
const LONGEST: usize = 2000;
/// Replies that are altered at most to come to another mark.
const MOST_ALTERED: usize = 3;

/// What a formula may use beside operators and `if`.
fn numbers() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("abs", filters::abs);
    environment.add_filter("int", filters::int);
    environment.add_filter("float", filters::float);
    environment.add_filter("round", filters::round);
    environment
}

fn total() -> String {
    "total".into()
}

fn one() -> f64 {
    1.0
}

fn yes_or_no() -> Vec<Reply> {
    vec![Reply { say: "yes".into(), marks: 1.0 }, Reply { say: "no".into(), marks: 0.0 }]
}

impl Rubric {
    /// The mark where the questions have these replies, by their places among the options.
    ///
    /// ```
    /// use rationale::rationale::rubric::Rubric;
    /// let rubric: Rubric = toml::from_str(
    ///     "formula = '2 * light + total'\nquestions = [{ name = 'light' }, { name = 'water', weight = 0.5 }]",
    /// ).unwrap();
    /// // light = 1, water = 1, total = 1 · 1 + 0.5 · 1.
    /// assert_eq!(rubric.mark(&[0, 0]).unwrap(), 3.5);
    /// ```
    ///
    /// # Errors
    /// What is wrong with the formula.
    pub fn mark(&self, replies: &[usize]) -> Result<f64, String> {
        let mut known: BTreeMap<&str, f64> = BTreeMap::new();
        let mut total = 0.0;
        for (question, &reply) in self.questions.iter().zip(replies) {
            let marks = question.options[reply].marks;
            known.insert(&question.name, marks);
            total += question.weight * marks;
        }
        known.insert("total", total);
        let wrong = |error: minijinja::Error| format!("the formula `{}`: {error:#}", self.formula);
        if self.formula.len() > LONGEST {
            return Err(format!("the formula has {} bytes, and the most is {LONGEST}", self.formula.len()));
        }
        // Texts and lists could be made long without end, and a mark needs neither.
        if let Some(mark) = self.formula.chars().find(|c| "\"'[]{}~,".contains(*c)) {
            return Err(format!("the formula `{}` has a `{mark}`: it is over numbers alone", self.formula));
        }
        let value =
            numbers().compile_expression(&self.formula).and_then(|f| f.eval(&known)).map_err(wrong)?;
        let mark = f64::try_from(value.clone()).ok().filter(|mark| mark.is_finite());
        mark.ok_or_else(|| format!("the formula `{}` gives `{value}`, which is no number", self.formula))
    }

    /// Other replies that come to another mark, altered in as few questions as can be: of the equally near ones the
    /// `draw`-th, counted round. `None` where up to three altered replies never do.
    ///
    /// ```
    /// use rationale::rationale::rubric::Rubric;
    /// let rubric: Rubric = toml::from_str(
    ///     "formula = '1 if total >= 2 else 0'\nquestions = [{ name = 'a' }, { name = 'b' }, { name = 'c' }]",
    /// ).unwrap();
    /// // Two of three are met (0 is yes, 1 is no): either one lost is enough.
    /// assert_eq!(rubric.altered(&[0, 0, 1], 0).unwrap(), Some(vec![1, 0, 1]));
    /// assert_eq!(rubric.altered(&[0, 0, 1], 3).unwrap(), Some(vec![0, 1, 1]));
    /// assert_eq!(rubric.altered(&[0, 0, 0], 0).unwrap(), Some(vec![1, 1, 0]));
    /// ```
    ///
    /// # Errors
    /// What is wrong with the formula.
    pub fn altered(&self, replies: &[usize], draw: u64) -> Result<Option<Vec<usize>>, String> {
        let mark = self.mark(replies)?;
        for changes in 1..=MOST_ALTERED.min(replies.len()) {
            let (mut all, mut other) = (Vec::new(), Vec::new());
            self.alter(&mut replies.to_vec(), 0, changes, &mut all);
            for replies in all {
                if self.mark(&replies)? != mark {
                    other.push(replies);
                }
            }
            if !other.is_empty() {
                return Ok(Some(other.swap_remove((draw % other.len() as u64) as usize)));
            }
        }
        Ok(None)
    }

    /// All ways to alter so many replies from question `from` on.
    fn alter(&self, replies: &mut Vec<usize>, from: usize, changes: usize, all: &mut Vec<Vec<usize>>) {
        if changes == 0 {
            return all.push(replies.clone());
        }
        for question in from..replies.len() {
            let own = replies[question];
            for reply in (0..self.questions[question].options.len()).filter(|reply| *reply != own) {
                replies[question] = reply;
                self.alter(replies, question + 1, changes - 1, all);
            }
            replies[question] = own;
        }
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::from(["total"]);
        if self.questions.is_empty() {
            return Err("it has no questions".into());
        }
        for question in &self.questions {
            let name = &question.name;
            let word = !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            if !word {
                return Err(format!("the question's name {name:?} must be letters, digits and `_`"));
            }
            if !names.insert(name) {
                return Err(format!("two questions are named `{name}`, or one is named `total`"));
            }
            question.check().map_err(|what| format!("question `{name}`: {what}"))?;
        }
        // The first replies and the last ones: most faults of a formula show in either.
        let last = self.questions.iter().map(|question| question.options.len() - 1).collect::<Vec<_>>();
        self.mark(&vec![0; self.questions.len()]).and(self.mark(&last)).map(|_| ())
    }
}

impl Question {
    /// The question in words.
    pub fn words(&self) -> &str {
        if self.ask.is_empty() { &self.name } else { &self.ask }
    }

    /// Which of its options somebody replied: the one that the text begins with, or else the only one that it contains as whole
    /// words, letters' case aside.
    ///
    /// ```
    /// # let rubric: rationale::rationale::rubric::Rubric = toml::from_str("questions = [{ name = 'light' }]").unwrap();
    /// let question = &rubric.questions[0];
    /// assert_eq!(question.reply(" Yes, it does"), Some(0));
    /// assert_eq!(question.reply("The answer is no."), Some(1));
    /// assert_eq!(question.reply("nothing of the kind"), None);
    /// ```
    pub fn reply(&self, said: &str) -> Option<usize> {
        let said = said.trim().to_lowercase();
        let whole = |at: usize, length: usize| {
            let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            edge(said[..at].chars().next_back()) && edge(said[at + length..].chars().next())
        };
        let says = || self.options.iter().map(|option| option.say.to_lowercase()).enumerate();
        let begins = says().filter(|(_, say)| said.starts_with(say.as_str()) && whole(0, say.len()));
        if let Some((first, _)) = begins.max_by_key(|(_, say)| say.len()) {
            return Some(first);
        }
        let contains = |say: &str| said.match_indices(say).any(|(at, _)| whole(at, say.len()));
        let mut found = says().filter(|(_, say)| contains(say)).map(|(at, _)| at);
        found.next().filter(|_| found.next().is_none())
    }

    fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        if self.options.len() < 2 {
            return Err("it needs at least two options".into());
        }
        if !self.weight.is_finite() || self.options.iter().any(|option| !option.marks.is_finite()) {
            return Err("weight and marks must be finite numbers".into());
        }
        match self.options.iter().find(|o| o.say.trim().is_empty() || !seen.insert(o.say.to_lowercase())) {
            Some(option) => Err(format!("the option {:?} has no words, or stands there twice", option.say)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rubric(text: &str) -> Rubric {
        toml::from_str(text).unwrap()
    }

    /// The bands of ASAP's fifth question: four or more elements give 3 marks, three give 2, one or two give 1.
    #[test]
    fn a_formula_may_have_bands() {
        let bands = rubric(
            "formula = '3 if total >= 4 else 2 if total == 3 else 1 if total >= 1 else 0'\n\
             questions = [{name = 'a'}, {name = 'b'}, {name = 'c'}, {name = 'd'}, {name = 'e'}]",
        );
        bands.check().unwrap();
        let of = |yes: usize| {
            let replies: Vec<usize> = (0..5).map(|at| usize::from(at >= yes)).collect();
            bands.mark(&replies).unwrap()
        };
        assert_eq!([0, 1, 2, 3, 4, 5].map(of), [0.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn weights_and_options_count() {
        let graded = rubric(
            "[[questions]]\nname = 'depth'\nweight = 2.0\n\
             options = [{say = 'good', marks = 1.0}, {say = 'fair', marks = 0.5}, {say = 'none', marks = 0.0}]\n\
             [[questions]]\nname = 'error'\nweight = -1.0",
        );
        // 2 · 0.5 − 1 · 1 and 2 · 1 − 1 · 0.
        assert_eq!([graded.mark(&[1, 0]).unwrap(), graded.mark(&[0, 1]).unwrap()], [0.0, 2.0]);
        assert_eq!(graded.questions[0].reply("fair enough, not good"), Some(1));
        // Two options and begun by neither: nobody can tell.
        assert_eq!(graded.questions[0].reply("between good and fair"), None);
        assert_eq!(graded.questions[0].reply("goodness"), None);
    }

    #[test]
    fn faults_are_named() {
        let fault = |text: &str| rubric(text).check().unwrap_err();
        assert!(fault("questions = []").contains("no questions"));
        assert!(fault("questions = [{name = 'a b'}]").contains("\"a b\""));
        assert!(fault("questions = [{name = 'a'}, {name = 'a'}]").contains("two questions"));
        assert!(fault("questions = [{name = 'a'}]\nformula = 'b + 1'").contains("the formula `b + 1`"));
        // Nothing that grows: neither texts nor lists, nor Jinja's own makers of them.
        for formula in ["'x' * 1000000000", "[1] * 1000000000", "(1,) * 9 == (1, 1)", "total ~ total"] {
            let formula = format!("questions = [{{name = 'a'}}]\nformula = \"{formula}\"");
            assert!(fault(&formula).contains("over numbers alone"), "{formula}");
        }
        let long = format!("questions = [{{name = 'a'}}]\nformula = '{}total'", "not ".repeat(500));
        assert!(fault(&long).contains("has 2005 bytes, and the most is 2000"));
        assert!(fault("questions = [{name = 'a'}]\nformula = 'range(9) | sum'").contains("the formula"));
        assert!(rubric("questions = [{name = 'a'}]\nformula = 'total / 3 | round'").check().is_ok());
        assert!(
            fault("questions = [{name = 'a', options = [{say = 'x', marks = 1}]}]").contains("two options")
        );
        assert!(toml::from_str::<Rubric>("questions = [{name = 'a', wieght = 2}]").is_err());
    }
}
