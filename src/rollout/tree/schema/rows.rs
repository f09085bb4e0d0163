//! What rows lack of what is asked about them: a rubric, the columns of the templates.

use super::Schema;
use super::path::Path;
use crate::data::row::need;
use crate::data::template::Jinja;
use crate::data::unfilled::{Unfilled, fault, misfits};
use crate::data::{Example, rubrics};
use crate::rationale::rubric::Rubric;
use crate::section::Misfit;
use serde_json::{Map, Value, json};

/// What stands for the reasons that nobody has given yet.
const SAMPLE: &str = "x";
const LATER: [&str; 2] = ["rationale", "path"];

impl Schema {
    /// What some of `rows` lack.
    pub fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        // A file that cannot be read is told of where it is opened.
        let Ok(known) = self.rubrics.as_ref().map(|file| rubrics::read(file)).transpose() else {
            return vec![];
        };
        let known = known.unwrap_or_default();
        let (mut none, mut first) = (Vec::new(), None);
        for &row in rows {
            let Err(error) = rubrics::of(row, &known) else { continue };
            first.get_or_insert(error.what());
            none.push(row);
        }
        let mut found = misfits(rows, |row| match rubrics::of(row, &known) {
            Ok(rubric) => self.faults(row, &rubric),
            Err(_) => vec![],
        });
        found.extend(first.map(|why| {
            let message = format!("{} ({why})", need("a rubric", &none, rows.len()));
            Misfit::new("rubrics", message, "mend the column `rubric`, or the file that is named here")
        }));
        found
    }

    /// Which templates cannot be filled in on a path of the first replies, or on one of the last ones.
    fn faults(&self, row: &Example, rubric: &Rubric) -> Vec<(String, Unfilled)> {
        let mut found: Vec<(String, Unfilled)> = Vec::new();
        let mut look = |key: &str, template: &Jinja, known: &Map<String, Value>| {
            let fault = fault(template, known, &LATER);
            let new = !found.iter().any(|(told, _)| told == key);
            found.extend(fault.filter(|_| new).map(|fault| (key.to_owned(), fault)));
        };
        for last in [false, true] {
            let mut path = Path::root(0);
            for question in &rubric.questions {
                look("ask", &self.ask, &path.known(row, question, &[]));
                path.replies.push(if last { question.options.len() - 1 } else { 0 });
                let decision = path.decision(question);
                look("justify", &self.justify, &path.known(row, question, std::slice::from_ref(&decision)));
                let reason = ("rationale", json!(SAMPLE));
                look("step", &self.step, &path.known(row, question, &[decision, reason]));
                if path.add(row, question, SAMPLE, &self.step).is_err() {
                    break;
                }
            }
            // Of a path that does not come to its end there is nothing to end.
            if path.history.len() == rubric.questions.len()
                && let Ok(mark) = rubric.mark(&path.replies)
            {
                look("end", &self.end, &path.ended(row, mark));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, fields: Value) -> Example {
        Example { fields: fields.as_object().unwrap().clone(), ..Example::text(id, "q") }
    }

    fn rubric() -> Value {
        json!({"questions": [{"name": "light"}, {"name": "water"}]})
    }

    #[test]
    fn the_templates_are_filled_in_before_anything_is_asked() {
        let good = row("a", json!({"rubric": rubric(), "guide": "g"}));
        let bare = row("b", json!({"rubric": rubric()}));
        let said = |section: Schema, rows: &[&Example]| -> Vec<(String, String)> {
            section.check_rows(rows).into_iter().map(|misfit| (misfit.key, misfit.message)).collect()
        };
        assert_eq!(said(Schema::default(), &[&good, &bare]), []);
        let guide = "uses `guide`, which 1 of 2 rows does not have: b; known: rubric".to_owned();
        let with = |key: &str, text: &str| {
            let keys = Schema::default();
            match key {
                "ask" => Schema { ask: text.into(), ..keys },
                "justify" => Schema { justify: text.into(), ..keys },
                "step" => Schema { step: text.into(), ..keys },
                _ => Schema { end: text.into(), ..keys },
            }
        };
        for key in ["ask", "justify", "step", "end"] {
            assert_eq!(said(with(key, "{{ guide }}"), &[&good, &bare]), [(key.to_owned(), guide.clone())]);
        }
        // Only the second question has one before it, and only the second reply is `no`.
        let first = said(with("ask", "{{ history[0].decision }}"), &[&good]);
        assert!(first[0].0 == "ask" && first[0].1.contains("undefined value"), "{first:?}");
        let reply = with("justify", "{% if decision == 'no' %}{{ guide }}{% endif %}");
        assert_eq!(said(reply, &[&good, &bare]), [("justify".to_owned(), guide)]);
        // What somebody will say may have such a part.
        assert_eq!(said(with("step", "{{ rationale.split('|')[1] }}"), &[&good]), []);
    }

    #[test]
    fn rows_without_a_rubric_are_named() {
        let (with, without) = (row("a", json!({"rubric": rubric()})), row("b", json!({})));
        let found = Schema::default().check_rows(&[&with, &without]);
        assert_eq!((found.len(), found[0].key.as_str()), (1, "rubrics"));
        let starts = "needs a rubric and 1 of 2 rows has none: b (example b: it has no `rubric` column";
        assert!(found[0].message.starts_with(starts), "{found:?}");
    }
}
