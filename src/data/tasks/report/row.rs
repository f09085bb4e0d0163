//! The columns of a report's row.

use super::findings::CONDITIONS;
use super::rationales::{
    self, LEVELS, Reading, Style, at_level, come_to, complied, evidence, instruction, lines, reading,
};
use super::{Case, Report, share};
use crate::data::columns::letter;
use crate::data::order::{below, shuffle};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

fn name(condition: usize) -> &'static str {
    CONDITIONS[condition].name
}

fn names(conditions: &[usize]) -> Vec<&'static str> {
    conditions.iter().map(|&condition| name(condition)).collect()
}

impl Report {
    /// All columns but those that name the row. `towards` are the nearest reports of the wrong choices.
    pub(super) fn fields(
        &self,
        index: usize,
        case: &Case,
        towards: &[(usize, Case)],
        rng: &mut ChaCha8Rng,
    ) -> Map<String, Value> {
        let (mut question, places, beside) = case.text();
        let truth = reading(case.findings);
        let right = come_to(&truth, &case.options);
        let read = self.read(&truth, &case.options, &right, rng);
        let level = index % LEVELS.len();
        let rationale = match self.levels {
            true => at_level(level, right[0], &case.severities),
            false => self.rationale(&read, case, &right),
        };
        let needed: Vec<usize> =
            right.iter().flat_map(|&condition| CONDITIONS[condition].needs.map(|(part, _)| part)).collect();
        let mut spans: Vec<[usize; 2]> =
            needed.iter().map(|&part| [places[part].start, places[part].end]).collect();
        spans.sort_unstable();
        spans.dedup();
        let found: Vec<String> =
            right.iter().map(|&condition| evidence(condition, &case.severities)).collect();
        let there = |condition: usize| truth[condition].iter().filter(|found| **found).count();
        let mut ranked = case.options.clone();
        ranked.sort_by_key(|&condition| 2 - there(condition));
        let nearest = ranked.iter().copied().find(|condition| !right.contains(condition));
        let often = if case.age() >= 60 { "daily" } else { "weekly" };
        let asked = self.instructions.then(|| instruction(index));
        if let Some((words, _)) = &asked {
            question = format!("{question} {words}");
        }
        if self.levels {
            question = format!("{question} {}", LEVELS[level].1);
        }
        let answer = names(&right).join(", ");
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| drop(fields.insert(name.to_string(), value));
        set("question", json!(question));
        set("rationale", json!(rationale));
        set("answer", json!(answer));
        set("evidence", json!(found.join(", ")));
        set("spans", json!(spans));
        let beside: Vec<[usize; 2]> = beside.iter().map(|span| [span.start, span.end]).collect();
        set("distractors", json!(beside));
        set("conditions", json!(names(&right)));
        set("ranked", json!(names(&ranked)));
        set("difficulty", json!(nearest.map_or(0, there).to_string()));
        set("site", json!(format!("q{}", case.site + 1)));
        set("next", json!(format!("give {} {often}", CONDITIONS[right[0]].drug)));
        if !self.multi {
            let place = case.options.iter().position(|&condition| condition == right[0]);
            set("choices", json!(names(&case.options)));
            set("letter", json!(letter(place.unwrap_or(0))));
            let leads = |condition: usize| match towards.iter().find(|(to, _)| *to == condition) {
                Some((_, altered)) => self.rationale(&reading(altered.findings), altered, &[condition]),
                None => rationale.clone(),
            };
            let all: Vec<String> = case.options.iter().map(|&condition| leads(condition)).collect();
            if let Some(wrong) = nearest {
                set("wrong", json!(name(wrong)));
                set("negated", json!(leads(wrong)));
            }
            let elsewhere = case.options.iter().zip(&all).filter(|(condition, _)| **condition != right[0]);
            let elsewhere =
                elsewhere.map(|(&condition, rationale)| format!("{rationale}\n#### {}", name(condition)));
            set("counterfactuals", json!(elsewhere.collect::<Vec<_>>()));
            set("rationales", json!(all));
        }
        if self.careless > 0.0 {
            set("assessed", json!(names(&self.assessed(&read, &case.options)).join(", ")));
        }
        if self.corrupt > 0.0 {
            let exact = self.rationale(&truth, case, &right);
            let wrong = rationale.lines().zip(exact.lines()).position(|(line, exact)| line != exact);
            let end = format!("#### {answer}");
            let steps: Vec<&str> = rationale.lines().chain([end.as_str()]).collect();
            let labels: Vec<bool> =
                (0..steps.len()).map(|step| wrong.is_none_or(|wrong| step < wrong)).collect();
            set("first_error", json!(wrong.map_or(-1, |step| step as i64)));
            set("labels", json!(labels));
            set("steps", json!(steps));
        }
        if let Some((_, written)) = asked {
            set("complied", json!(complied(&rationale, &written)));
            set("form", written["kind"].clone());
            set("instruction", written);
        }
        if self.levels {
            let at = |(level, (name, _)): (usize, &(&str, &str))| {
                (name.to_string(), json!(at_level(level, right[0], &case.severities)))
            };
            set("level", json!(LEVELS[level].0));
            set("by_level", Value::Object(LEVELS.iter().enumerate().map(at).collect()));
        }
        if self.confounding.is_some() {
            self.write_note(case, right[0], rng, &mut fields);
        }
        if self.passages > 0 {
            self.add_passages(case, right[0], rng, &mut fields);
        }
        fields
    }

    /// What the rationale's writer takes to be there.
    fn read(&self, truth: &Reading, options: &[usize], right: &[usize], rng: &mut ChaCha8Rng) -> Reading {
        let mut read = *truth;
        for found in read.iter_mut().flatten() {
            *found ^= self.careless > 0.0 && share(rng) < self.careless;
        }
        if self.corrupt > 0.0 && share(rng) < self.corrupt {
            let line = below(rng, self.shown(options, right) as u64) as usize;
            read[options[line]][below(rng, 2) as usize] ^= true;
        }
        read
    }

    /// What a reading comes to: one condition, or several.
    fn assessed(&self, read: &Reading, options: &[usize]) -> Vec<usize> {
        let mut found = come_to(read, options);
        if !self.multi {
            found.truncate(1);
        }
        found
    }

    /// How many options the lines are about: a chain ends with the answer's.
    fn shown(&self, options: &[usize], answer: &[usize]) -> usize {
        let chain = self.style == Style::Chain && !self.multi;
        let end = options.iter().position(|condition| answer.first() == Some(condition));
        end.filter(|_| chain).map_or(options.len(), |end| end + 1)
    }

    /// The rationale of a reading. One that is careless ends where it comes to; one with a wrong line, where the answer is.
    fn rationale(&self, read: &Reading, case: &Case, right: &[usize]) -> String {
        let comes_to = self.assessed(read, &case.options);
        let answer = if self.careless > 0.0 { &comes_to[..] } else { right };
        if self.style == Style::Terse {
            let found = answer.iter().map(|&condition| evidence(condition, &case.severities));
            return found.collect::<Vec<_>>().join("\n");
        }
        lines(read, &case.options, self.shown(&case.options, answer), &case.severities).join("\n")
    }

    /// `note`, `season` and `outcome`.
    fn write_note(&self, case: &Case, right: usize, rng: &mut ChaCha8Rng, fields: &mut Map<String, Value>) {
        let confounding = self.confounding.unwrap_or(0.0);
        let (high, named) = (below(rng, 2) == 0, below(rng, 2) == 0);
        let needs = CONDITIONS[right].needs;
        let other = |part: &usize| needs.iter().all(|(needed, _)| needed != part);
        let mut parts: Vec<usize> = (0..6).filter(other).collect();
        shuffle(&mut parts, rng.next_u64());
        let mut told: Vec<(usize, u8)> = match named {
            true => needs.to_vec(),
            false => parts[..2].iter().map(|&part| (part, case.findings.0[part])).collect(),
        };
        shuffle(&mut told, rng.next_u64());
        let told: Vec<String> =
            told.into_iter().map(|finding| rationales::finding(finding, &case.severities)).collect();
        let sign = if high { 1.0 } else { -1.0 };
        let hurried = share(rng) < 0.5 + sign * confounding / 2.0;
        let end = if hurried { " at once" } else { "" };
        // Twelve uniform shares less 6 are near enough to the normal distribution, and the same on every machine.
        let noise = (0..12).map(|_| share(rng)).sum::<f64>() - 6.0;
        let outcome = f64::from(u8::from(named)) + 1.5 * f64::from(u8::from(high)) + 0.25 * noise;
        fields.insert("note".into(), json!(format!("see {}{end}.", told.join(", "))));
        fields.insert("season".into(), json!(if high { "high" } else { "low" }));
        fields.insert("outcome".into(), json!((outcome * 1e4).round() / 1e4));
    }

    /// `passages` and `relevant`.
    fn add_passages(&self, case: &Case, right: usize, rng: &mut ChaCha8Rng, fields: &mut Map<String, Value>) {
        let mut others: Vec<String> = Vec::new();
        for (at, condition) in CONDITIONS.iter().enumerate() {
            let name = condition.name;
            if at != right {
                others.push(format!("{name} needs {}.", evidence(at, &case.severities)));
            }
            others.push(format!("{name} was named in 19{:02}.", below(rng, 100)));
            others.push(format!("for {name} we give {}.", condition.drug));
        }
        shuffle(&mut others, rng.next_u64());
        others.truncate(self.passages - 1);
        let place = below(rng, self.passages as u64) as usize;
        others.insert(place, format!("{} needs {}.", name(right), evidence(right, &case.severities)));
        fields.insert("passages".into(), json!(others));
        fields.insert("relevant".into(), json!(place));
    }
}
