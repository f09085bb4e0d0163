//! Word problems of one to three operations with what works them out: a rationale that computes, a program that is to be computed, and the family of problems that
//! each is one of. A procedural stand-in for AQuA (Ling et al. 2017, arXiv 1705.04146) and for the seed problems of EFAGen (2504.09763).

use super::drawn;
use crate::data::Split;
use crate::data::order::{below, shuffle};
use crate::data::row::Row;
use crate::error::Result;
use crate::section::{Misfit, all_fit, broken};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

/// Every character of the task's texts.
pub const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789.,?#=+-*{} \n";

const WHO: [&str; 8] = ["tom", "ann", "kim", "lee", "bob", "eva", "max", "zoe"];
const WHAT: [&str; 8] = ["figs", "nuts", "pens", "eggs", "caps", "maps", "jars", "keys"];
const MOST_ROWS: usize = 25_000;

/// Word problems: `[data.task.problems]`. `question` tells what somebody has, finds, loses, buys or multiplies; `rationale` works it out line by line (`4*17=68`),
/// `program` has the same lines to be computed (`p=4*17`, `q=23+p`), as `[reward.calc]` runs them, and `family` numbers by ranges in the place of those of the question, with the question and its
/// solution in them (`a in 10..99`, `ask tom has {a} …`, `solve a+p`), as `measure = "family"` tests them. `operations` is how many things happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Problems {
    /// Training rows.
    pub train: usize,
    /// Held-out rows.
    pub eval: usize,
    /// How many things happen in a problem, from 1 to 4, in equal shares.
    pub operations: Vec<usize>,
    /// The share of training rows whose `family` is of that one problem: the answer is written into it, or all numbers are. The column `hard_coded` says which;
    /// held-out rows have none.
    pub hard_coded: f64,
}

impl Default for Problems {
    fn default() -> Self {
        Self { train: 4000, eval: 300, operations: vec![1, 2, 3], hard_coded: 0.0 }
    }
}

/// What happens after somebody has something.
#[derive(Debug, Clone, Copy)]
enum Event {
    Finds,
    Loses,
    Buys,
    Multiplies,
}

/// One side of an operation: a number of the question, or what a line comes to, by its place.
#[derive(Debug, Clone, Copy)]
enum Term {
    Given(usize),
    Line(usize),
}

#[derive(Debug)]
struct Problem {
    /// The question with names in braces in the place of its numbers, which are called a, b, c, … in their order.
    words: String,
    /// The numbers, and between what they may lie.
    numbers: Vec<(u64, String)>,
    /// Operations, and what each comes to.
    lines: Vec<(Term, char, Term)>,
    values: Vec<u64>,
}

fn given(at: usize) -> char {
    char::from(b'a' + at as u8)
}

/// Behind all numbers of the longest problem.
fn computed(at: usize) -> char {
    char::from(b'p' + at as u8)
}

impl Problem {
    fn draw(operations: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut events = [Event::Finds, Event::Loses, Event::Buys, Event::Multiplies];
        shuffle(&mut events, rng.next_u64());
        let [who, what] = [WHO, WHAT].map(|words| words[below(rng, 8) as usize]);
        let mut problem =
            Self { words: format!("{who} has "), numbers: vec![], lines: vec![], values: vec![] };
        let start = 10 + below(rng, 90);
        problem.number(start, "10..99");
        problem.words += &format!(" {what}");
        let mut has = Term::Given(0);
        for event in &events[..operations] {
            let (text, drawn, range) = match event {
                Event::Finds => (", finds ", 10 + below(rng, 90), "10..99"),
                // Nothing else takes away, so that this is always there.
                Event::Loses => (", loses ", 1 + below(rng, start), "1..a"),
                Event::Buys => (", buys ", 2 + below(rng, 8), "2..9"),
                Event::Multiplies => (", then has ", 2 + below(rng, 4), "2..5"),
            };
            problem.words += text;
            let number = problem.number(drawn, range);
            has = match event {
                Event::Finds => problem.line(has, '+', number),
                Event::Loses => problem.line(has, '-', number),
                Event::Multiplies => {
                    problem.words += " times as many";
                    problem.line(has, '*', number)
                }
                Event::Buys => {
                    problem.words += " bags of ";
                    let each = problem.number(10 + below(rng, 21), "10..30");
                    let bought = problem.line(number, '*', each);
                    problem.line(has, '+', bought)
                }
            };
        }
        problem.words += ". how many?";
        problem
    }

    /// A number that the question says next.
    fn number(&mut self, value: u64, range: &str) -> Term {
        self.numbers.push((value, range.to_string()));
        let at = self.numbers.len() - 1;
        self.words += &format!("{{{}}}", given(at));
        Term::Given(at)
    }

    fn line(&mut self, left: Term, sign: char, right: Term) -> Term {
        let [one, other] = [left, right].map(|term| self.value(term));
        self.values.push(match sign {
            '+' => one + other,
            '-' => one - other,
            _ => one * other,
        });
        self.lines.push((left, sign, right));
        Term::Line(self.lines.len() - 1)
    }

    fn value(&self, term: Term) -> u64 {
        match term {
            Term::Given(at) => self.numbers[at].0,
            Term::Line(at) => self.values[at],
        }
    }

    fn answer(&self) -> u64 {
        self.values.last().copied().unwrap_or_default()
    }

    fn question(&self) -> String {
        let fill = |words: String, (at, (value, _)): (usize, &(u64, String))| {
            words.replace(&format!("{{{}}}", given(at)), &value.to_string())
        };
        self.numbers.iter().enumerate().fold(self.words.clone(), fill)
    }

    /// The operations, `shown` saying how their sides are written.
    fn sums(&self, shown: impl Fn(Term) -> String) -> Vec<String> {
        self.lines
            .iter()
            .map(|(left, sign, right)| format!("{}{sign}{}", shown(*left), shown(*right)))
            .collect()
    }

    fn rationale(&self) -> String {
        let sums = self.sums(|term| self.value(term).to_string());
        let lines = sums.iter().zip(&self.values).map(|(sum, value)| format!("{sum}={value}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A line for each of `sums`, which later ones may name.
    fn named(sums: &[String]) -> String {
        let line = |(at, sum): (usize, &String)| format!("{}={sum}\n", computed(at));
        sums.iter().enumerate().map(line).collect()
    }

    fn program(&self) -> String {
        let sums = self.sums(|term| match term {
            Term::Given(_) => self.value(term).to_string(),
            Term::Line(at) => computed(at).to_string(),
        });
        Self::named(&sums).trim_end().to_string()
    }

    fn family(&self) -> String {
        let sums = self.sums(|term| match term {
            Term::Given(at) => given(at).to_string(),
            Term::Line(at) => computed(at).to_string(),
        });
        let ranges = self.numbers.iter().enumerate();
        let ranges: String = ranges.map(|(at, (_, range))| format!("{} in {range}\n", given(at))).collect();
        let (last, before) = sums.split_last().expect("at least one operation");
        format!("{ranges}{}ask {}\nsolve {last}", Self::named(before), self.words)
    }

    /// A family of this problem alone: with its answer, or with all its numbers.
    fn hard_coded(&self, answer: bool) -> String {
        let family = self.family();
        if answer {
            let (before, _) = family.rsplit_once('\n').expect("a line that solves");
            return format!("{before}\nsolve {}", self.answer());
        }
        let program = self.program();
        let last = program.rsplit('\n').next().unwrap_or_default();
        let before = &program[..program.len() - last.len()];
        let sum = last.split_once('=').map_or(last, |(_, sum)| sum);
        format!("{before}ask {}\nsolve {sum}", self.question())
    }
}

impl Problems {
    /// The rows of a split by the seed; no question is in both, or twice in one.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        all_fit("data.task.problems", self, self.check())?;
        let wanted = if split == Split::Train { self.train } else { self.eval };
        let draw = |index: usize, rng: &mut ChaCha8Rng| {
            let problem = Problem::draw(self.operations[index % self.operations.len()], rng);
            Some((problem.question(), problem))
        };
        drawn::rows("problems", "questions", (split, wanted, seed), draw, |index, question, problem, rng| {
            let coded = split == Split::Train && drawn::share(rng) < self.hard_coded;
            let answer = below(rng, 2) == 0;
            let family = if coded { problem.hard_coded(answer) } else { problem.family() };
            let columns = [
                ("id", json!(format!("problem-{index}"))),
                ("question", json!(question)),
                ("rationale", json!(problem.rationale())),
                ("answer", json!(problem.answer().to_string())),
                ("program", json!(problem.program())),
                ("family", json!(family)),
                ("hard_coded", json!(coded)),
                ("operations", json!(self.operations[index % self.operations.len()].to_string())),
            ];
            let fields: Map<_, _> =
                columns.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
            Ok(Row::made("problems", index + 1, fields))
        })
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[
            (!self.operations.is_empty(), "operations", "name at least one number"),
            (self.operations.iter().all(|n| (1..=4).contains(n)), "operations", "they must be from 1 to 4"),
            ((0.0..=1.0).contains(&self.hard_coded), "hard_coded", "it must be from 0 to 1"),
            (self.train <= MOST_ROWS, "train", "it may be 25000 at most"),
            (self.eval <= MOST_ROWS, "eval", "it may be 25000 at most"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tasks::tests::text;
    use crate::rationale::calc::{exact, family, program, stated};
    use std::collections::HashSet;

    #[test]
    fn a_problem_is_written_in_all_its_ways() {
        let mut problem =
            Problem { words: "tom has ".into(), numbers: vec![], lines: vec![], values: vec![] };
        let has = problem.number(23, "10..99");
        problem.words += " figs, buys ";
        let bags = problem.number(4, "2..9");
        problem.words += " bags of ";
        let each = problem.number(17, "10..30");
        problem.words += ". how many?";
        let bought = problem.line(bags, '*', each);
        problem.line(has, '+', bought);
        assert_eq!(problem.question(), "tom has 23 figs, buys 4 bags of 17. how many?");
        assert_eq!(problem.rationale(), "4*17=68\n23+68=91");
        assert_eq!(problem.program(), "p=4*17\nq=23+p");
        assert_eq!(problem.answer(), 91);
        let general = "a in 10..99\nb in 2..9\nc in 10..30\np=b*c\nask tom has {a} figs, buys {b} bags of {c}. how many?\nsolve ";
        assert_eq!(problem.family(), format!("{general}a+p"));
        assert_eq!(problem.hard_coded(true), format!("{general}91"));
        let numbers = "p=4*17\nask tom has 23 figs, buys 4 bags of 17. how many?\nsolve 23+p";
        assert_eq!(problem.hard_coded(false), numbers);
    }

    /// Every row's program comes to its answer, every equation holds, and every family passes all tests but the ones that are planted not to.
    #[test]
    fn rows_are_of_the_seed_and_come_to_their_answers() {
        let task = Problems { train: 400, eval: 100, operations: vec![1, 2, 3, 4], hard_coded: 0.5 };
        let [train, eval] = [Split::Train, Split::Eval].map(|split| task.rows(split, 3).unwrap());
        assert_eq!((train.len(), eval.len()), (400, 100));
        assert_eq!(train, task.rows(Split::Train, 3).unwrap());
        let (mut coded, mut ways) = (0, HashSet::new());
        for row in train.iter().chain(&eval) {
            let (question, answer) = (text(row, "question"), text(row, "answer"));
            assert_eq!(program::run(text(row, "program")).map(exact).as_deref(), Ok(answer), "{question}");
            assert_eq!(program::run(text(row, "rationale")).map(exact).as_deref(), Ok(answer), "{question}");
            let lines = text(row, "rationale").lines().count();
            assert_eq!(stated::equations(text(row, "rationale")), vec![true; lines]);
            let family = text(row, "family");
            let passed = family::passed(family, question, |value| exact(value) == answer);
            let hard_coded = row.fields["hard_coded"] == json!(true);
            assert_eq!(passed, [true, true, !hard_coded, true, true], "{family}");
            coded += usize::from(hard_coded);
            if hard_coded {
                ways.insert(family.contains(" in "));
            }
            for name in ["question", "rationale", "answer", "program", "family"] {
                assert!(text(row, name).chars().all(|c| ALPHABET.contains(c)), "{}", text(row, name));
            }
        }
        assert!((160..240).contains(&coded) && ways.len() == 2, "{coded}");
        assert!(eval.iter().all(|row| row.fields["hard_coded"] == json!(false)));
        let questions: HashSet<&str> = train.iter().map(|row| text(row, "question")).collect();
        assert!(questions.len() == 400 && eval.iter().all(|row| !questions.contains(text(row, "question"))));
        let wrong = Problems { operations: vec![5], hard_coded: 2.0, ..task };
        let error = wrong.rows(Split::Eval, 0).unwrap_err().to_string();
        assert!(error.contains("they must be from 1 to 4") && error.contains("from 0 to 1"), "{error}");
    }
}
