//! Families of problems: a program of the calculator with ranges in the place of numbers, the words of the problem and what solves it. Executable functional
//! abstractions (EFAGen, Khan et al. 2025, arXiv 2504.09763) in small: lines that always come to an end in the place of a class in Python.
//!
//! ```text
//! a in 10..99                                        a whole number from 10 to 99
//! b in 1..a                                          bounds may be computed
//! c = a-b                                            a line of a program
//! ask tom has {a} figs and loses {b}. how many?      the problem, with values in braces
//! solve c                                            its answer
//! ```
//!
//! A family is tested on five draws of its own, which are a function of its text, and on the problem that it was written for.

use super::program::step;
use super::{LONGEST, Names, evaluate_in, exact, name};
use crate::rationale::number::Number;
use crate::seed;

/// The names of what [`passed`] looks at, in its order.
pub const TESTS: [&str; 5] =
    ["is_extractable", "is_executable", "has_dof", "single_valued", "matches_original"];

const DRAWS: u64 = 5;

/// What a family passes of [`TESTS`]. `question` is the problem that it was written for, `right` whether a value is its answer.
///
/// * `is_extractable`: every line can be read, and one asks and one solves;
/// * `is_executable`: all five draws are made, asked and solved;
/// * `has_dof`: of the draws at least two differ in what they ask, and two in what they come to: no number of the answer is written into it;
/// * `single_valued`: what is drawn and not asked does not change the answer;
/// * `matches_original`: with values from the ranges it asks the original problem, word by word, and comes to its answer.
///
/// ```
/// use rationale::rationale::calc::family::passed;
/// let asked = "tom has 23 figs and loses 9. how many?";
/// let of = |program: &str| passed(program, asked, |value| value == 14.into());
/// let general = "a in 10..99\nb in 1..a\nask tom has {a} figs and loses {b}. how many?\nsolve a-b";
/// assert_eq!(of(general), [true; 5]);
/// let hard_coded = "a in 10..99\nb in 1..a\nask tom has {a} figs and loses {b}. how many?\nsolve 14";
/// assert_eq!(of(hard_coded), [true, true, false, true, true]);
/// ```
pub fn passed(program: &str, question: &str, right: impl Fn(Number) -> bool) -> [bool; 5] {
    let Ok(family) = Family::read(program) else { return [false; 5] };
    let seed = seed::of_text(program);
    let original = family.values(question).and_then(|values| family.drawn(seed, &values).ok());
    let matches = original.is_some_and(|one| one.question == question.trim() && right(one.answer));
    let draw = |at: u64| family.drawn(seed::derive(&[seed, at]), &Names::new());
    let Ok(draws) = (0..DRAWS).map(draw).collect::<Result<Vec<_>, _>>() else {
        return [true, false, false, false, matches];
    };
    let differ =
        |differs: &dyn Fn(&Problem, &Problem) -> bool| draws.iter().any(|one| differs(one, &draws[0]));
    let has_dof = differ(&|a, b| a.question != b.question) && differ(&|a, b| a.answer != b.answer);
    // Drawn again but for what the question says: the same question then has the same answer.
    let again = |(at, one): (usize, &Problem)| {
        let other = family.drawn(seed::derive(&[seed, at as u64, 1]), &family.asked(one));
        other.is_ok_and(|other| other.question == one.question && other.answer != one.answer)
    };
    let single_valued = !draws.iter().enumerate().any(again);
    [true, true, has_dof, single_valued, matches]
}

#[derive(Debug, PartialEq)]
enum Line {
    /// A whole number between two bounds, ends included.
    Range { name: String, from: String, to: String },
    /// A line of a program.
    Step(String),
}

#[derive(Debug, PartialEq)]
enum Word {
    Text(String),
    /// The value of a name.
    Value(String),
}

#[derive(Debug, PartialEq)]
struct Family {
    lines: Vec<Line>,
    ask: Vec<Word>,
    solve: String,
}

/// One of a family.
#[derive(Debug)]
struct Problem {
    names: Names,
    question: String,
    answer: Number,
}

impl Family {
    fn read(text: &str) -> Result<Self, String> {
        let (mut lines, mut ask, mut solve) = (Vec::new(), None, None);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(words) = line.strip_prefix("ask ") {
                if ask.replace(read_words(words.trim())?).is_some() {
                    return Err("it asks twice".into());
                }
            } else if let Some(sum) = line.strip_prefix("solve ") {
                if solve.replace(sum.to_owned()).is_some() {
                    return Err("it solves twice".into());
                }
            } else {
                lines.push(read_line(line)?);
            }
        }
        let (Some(ask), Some(solve)) = (ask, solve) else {
            return Err("it has no line that asks, or none that solves".into());
        };
        Ok(Self { lines, ask, solve })
    }

    /// One of it by `seed`; names of ranges that `kept` has take these values.
    fn drawn(&self, seed: u64, kept: &Names) -> Result<Problem, String> {
        let (mut names, mut room) = (Names::new(), LONGEST);
        for (at, line) in self.lines.iter().enumerate() {
            match line {
                Line::Step(line) => {
                    step(line, &mut names, &mut room)?;
                }
                Line::Range { name, from, to } => {
                    let from = whole(evaluate_in(from, &names, &mut room)?)?;
                    let to = whole(evaluate_in(to, &names, &mut room)?)?;
                    let count = to.checked_sub(from).and_then(|count| u64::try_from(count).ok());
                    let count = count.and_then(|count| count.checked_add(1));
                    let count = count.ok_or_else(|| format!("{from}..{to} is empty, or too long"))?;
                    let drawn = || from + i128::from(seed::derive(&[seed, at as u64]) % count);
                    let value = kept.get(name).map_or_else(|| Ok(drawn()), |value| whole(*value))?;
                    if !(from..=to).contains(&value) {
                        return Err(format!("{value} is not in {from}..{to}"));
                    }
                    names.insert(name.clone(), value.into());
                }
            }
        }
        let shown = |word: &Word| match word {
            Word::Text(text) => Ok(text.clone()),
            Word::Value(name) => {
                names.get(name).map(|value| exact(*value)).ok_or(format!("no `{name}` to ask"))
            }
        };
        let question = self.ask.iter().map(shown).collect::<Result<String, String>>()?;
        let answer = evaluate_in(&self.solve, &names, &mut room)?;
        Ok(Problem { names, question, answer })
    }

    /// Of a problem the names that its question says.
    fn asked(&self, problem: &Problem) -> Names {
        let said = |name: &String| self.ask.iter().any(|word| matches!(word, Word::Value(of) if of == name));
        problem
            .names
            .iter()
            .filter(|(name, _)| said(name))
            .map(|(name, value)| (name.clone(), *value))
            .collect()
    }

    /// The values with which it asks `question`, if there are such: whole numbers where it has names, the rest word by word.
    fn values(&self, question: &str) -> Option<Names> {
        let (mut rest, mut found) = (question.trim(), Names::new());
        for word in &self.ask {
            match word {
                Word::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Word::Value(name) => {
                    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                    found.insert(name.clone(), rest[..end].parse::<i128>().ok()?.into());
                    rest = &rest[end..];
                }
            }
        }
        rest.is_empty().then_some(found)
    }
}

fn whole(value: Number) -> Result<i128, String> {
    if value.whole() { Ok(value.numerator()) } else { Err(format!("{} is not whole", exact(value))) }
}

fn read_line(line: &str) -> Result<Line, String> {
    let range = line.split_once(" in ").and_then(|(own, range)| Some((name(own)?, range.split_once("..")?)));
    match range {
        Some((name, (from, to))) => {
            Ok(Line::Range { name: name.into(), from: from.trim().into(), to: to.trim().into() })
        }
        None if line.split_once('=').is_some_and(|(own, _)| name(own).is_some()) => {
            Ok(Line::Step(line.into()))
        }
        None => Err(format!("`{line}` is no line of it")),
    }
}

fn read_words(text: &str) -> Result<Vec<Word>, String> {
    let (mut words, mut rest) = (Vec::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        let (own, behind) = behind.split_once('}').ok_or("a `}` is missing")?;
        let own = name(own).ok_or_else(|| format!("`{own}` is no name"))?;
        words.extend([Word::Text(before.to_owned()), Word::Value(own.to_owned())]);
        rest = behind;
    }
    words.push(Word::Text(rest.to_owned()));
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "tom has 23 figs, buys 4 bags of 17. how many?";
    const GENERAL: &str = "a in 10..99\nb in 2..9\nc in 10..30\nd = b*c\nask tom has {a} figs, buys {b} bags of {c}. how many?\nsolve a+d";

    fn said(program: &str) -> [bool; 5] {
        passed(program, ASKED, |value| value == 91.into())
    }

    /// What stands in the place of a line of the general program, and what is then passed.
    #[test]
    fn each_test_finds_what_it_is_for() {
        assert_eq!(said(GENERAL), [true; 5]);
        assert_eq!(said(&format!("\n{}\n", GENERAL.replace('\n', "\n\n"))), [true; 5]);
        for (line, instead, found) in [
            // Not to be read.
            ("a in 10..99", "a from 10 to 99", [false; 5]),
            ("solve a+d", "", [false; 5]),
            ("solve a+d", "solve a+d\nsolve a", [false; 5]),
            ("{a} figs", "{a figs", [false; 5]),
            ("{a} figs", "{a+1} figs", [false; 5]),
            ("d = b*c", "b*c", [false; 5]),
            // Not to be computed: no draw is, or not all.
            ("d = b*c", "d = b*e", [true, false, false, false, false]),
            ("{a} figs", "{e} figs", [true, false, false, false, false]),
            ("b in 2..9", "b in 9..2", [true, false, false, false, false]),
            ("b in 2..9", "b in 1/2..9", [true, false, false, false, false]),
            ("solve a+d", "solve (a+d)/0", [true, false, false, false, false]),
            // Written into it: the answer, the numbers of the question, ranges of one.
            ("solve a+d", "solve 91", [true, true, false, true, true]),
            // Another problem: words, a range that the original is not in, another answer.
            ("tom has", "ann has", [true, true, true, true, false]),
            ("a in 10..99", "a in 30..99", [true, true, true, true, false]),
            ("solve a+d", "solve a+d+1", [true, true, true, true, false]),
        ] {
            assert_eq!(said(&GENERAL.replacen(line, instead, 1)), found, "{line} → {instead}");
        }
        // What is asked does not say what it comes to; whether that is the original's answer is chance.
        let [hidden, written] = [
            ("buys {b} bags", "buys 4 bags"),
            ("{a} figs, buys {b} bags of {c}", "23 figs, buys 4 bags of 17"),
        ]
        .map(|(line, instead)| said(&GENERAL.replace(line, instead)));
        assert_eq!(hidden[..4], [true, true, true, false]);
        assert_eq!(written[..4], [true, true, false, false]);
        let coded = GENERAL.replace("10..99", "23..23").replace("2..9", "4..4").replace("10..30", "17..17");
        assert_eq!(said(&coded), [true, true, false, true, true]);
        // Nothing is drawn, and all is right of the one problem.
        assert_eq!(said(&format!("ask {ASKED}\nsolve 23+4*17")), [true, true, false, true, true]);
    }

    #[test]
    fn draws_are_of_the_seed_and_from_the_ranges() {
        let family = Family::read("a in 2..4\nb in -1..a\nc in 5..5\nask {a} {b} {a}\nsolve a*b").unwrap();
        let of = |seed: u64| family.drawn(seed, &Names::new()).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let (one, same) = (of(seed), of(seed));
            assert_eq!((&one.names, &one.question, one.answer), (&same.names, &same.question, same.answer));
            let [a, b, c] = ["a", "b", "c"].map(|name| one.names[name].numerator());
            assert!((2..=4).contains(&a) && (-1..=a).contains(&b) && c == 5);
            assert_eq!((one.question.clone(), one.answer), (format!("{a} {b} {a}"), (a * b).into()));
            seen.insert(one.question);
        }
        // All that there are: b has 4, 5 or 6 values.
        assert_eq!(seen.len(), 15);
        let kept = Names::from([("a".into(), 3.into()), ("b".into(), 1.into())]);
        assert_eq!(family.drawn(1, &kept).unwrap().question, "3 1 3");
        let outside = Names::from([("a".into(), 9.into())]);
        assert_eq!(family.drawn(1, &outside).unwrap_err(), "9 is not in 2..4");
    }

    #[test]
    fn odd_programs_are_read_or_refused() {
        for text in [
            "",
            "ask \nsolve ",
            "ask {a}\nsolve 1",
            "solve 1\nask é{é}",
            "a in 0..9^30\nask {a}\nsolve a",
            "ask }{\nsolve 1",
        ] {
            let found = passed(text, "é", |_| true);
            assert!(found[1..].iter().all(|passes| !passes), "{text:?}: {found:?}");
        }
        let long = format!("{}ask x\nsolve 1", "a = 1+1\n".repeat(100));
        assert_eq!(passed(&long, "x", |_| true), [true, false, false, false, false]);
    }
}
