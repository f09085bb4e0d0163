//! Which rows lack what a reward's template asks for.

use super::TemplateWant;
use crate::data::Example;
use crate::data::unfilled::{fault, misfits};
use crate::section::Misfit;
use serde_json::{Map, Value};

/// What stands for a text of a completion that nobody has written yet.
const SAMPLE: &str = "x";
/// How many steps such a completion has.
const STEPS: usize = 32;

impl TemplateWant {
    /// The template over a row, with samples of what a completion has.
    fn known(&self, row: &Example) -> Map<String, Value> {
        let mut known = row.fields.clone();
        for name in &self.given {
            let value = match name.as_str() {
                "gold" => row.answer.clone().into(),
                "steps" => Value::from(vec![SAMPLE; STEPS]),
                _ => Value::from(SAMPLE),
            };
            known.insert(name.clone(), value);
        }
        known
    }

    /// Which of `rows` it cannot be filled in from, those that lack the same together.
    pub(super) fn misfits(&self, rows: &[&Example]) -> Vec<Misfit> {
        let later: Vec<&str> = self.given.iter().map(String::as_str).filter(|name| *name != "gold").collect();
        let found = misfits(rows, |row| {
            let fault = fault(&self.text, &self.known(row), &later);
            fault.map(|fault| (self.key.clone(), fault)).into_iter().collect()
        });
        let named =
            |misfit: Misfit| Misfit { message: format!("{} {}", misfit.key, misfit.message), ..misfit };
        found.into_iter().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use crate::reward::tests::{group, rewards};
    use serde_json::json;

    fn row(id: &str, answer: Option<&str>, fields: Value) -> Example {
        let mut row = (*group(answer, &[], &[]).example).clone();
        (row.id, row.fields) = (id.to_owned(), fields.as_object().unwrap().clone());
        row
    }

    /// What this reward says of three rows, the last of which has neither a `hint` nor a gold answer: keys and messages.
    fn said(recipe: &str) -> Vec<(String, String)> {
        let rows = [
            row("row:0", Some("y"), json!({"hint": "a", "meta": {"at": "x"}})),
            row("row:1", Some("z"), json!({"hint": "b", "meta": {"at": "y"}})),
            row("row:2", None, json!({"meta": {"at": "z"}})),
        ];
        let misfits = rewards(&Registry::default(), recipe).unwrap().check_rows(rows.iter());
        misfits.into_iter().map(|misfit| (misfit.key, misfit.message)).collect()
    }

    fn judge(prompt: &str) -> Vec<(String, String)> {
        said(&format!("[judge]\nprompt = {prompt:?}\nendpoint = {{ url = 'http://x/v1', model = 'm' }}"))
    }

    #[test]
    fn a_template_is_filled_in_from_every_row() {
        let lacks = "uses `hint`, which 1 of 3 rows does not have: row:2; known: meta";
        assert_eq!(
            said("[critic]\nmodel = '@a'\nask = '{{ hint }} {{ previous }} {{ step }}'"),
            [("critic.ask".to_owned(), format!("[reward.critic] ask {lacks}"))]
        );
        let joint = "[belief]\nmeasure = 'joint'\nbetween = '|'\nprompt = ";
        assert_eq!(
            said(&format!("{joint}'{{{{ hint }}}}'")),
            [("belief.prompt".to_owned(), format!("[reward.belief] prompt {lacks}"))]
        );
        assert_eq!(said(&format!("{joint}'{{{{ meta.at }}}}'")).len(), 0);
        assert_eq!(
            judge("{{ hint }} {{ gold }} {{ steps[3] }}"),
            [("judge.prompt".to_owned(), format!("[reward.judge] prompt {lacks}"))]
        );
        for fine in [
            "{{ meta.at.strip() }} {{ gold }} {% for step in steps %}{{ loop.index }} {{ step }}{% endfor %}",
            "{% if hint is defined %}{{ hint }}{% endif %}{{ hint | default('') }} {{ answer }}",
            "{{ completion.split('|')[1] }}",
        ] {
            assert_eq!(judge(fine).len(), 0, "{fine}: {:?}", judge(fine));
        }
        for wrong in ["{{ meta.place }} {{ completion }}", "{{ completion | upcase }}"] {
            let found = judge(wrong);
            let starts = "[reward.judge] prompt cannot be filled in for 3 of 3 rows: row:0, row:1, row:2 (";
            assert!(found.len() == 1 && found[0].1.starts_with(starts), "{wrong}: {found:?}");
        }
        // A row without a gold answer has none to take the spaces off.
        let gold = judge("{{ gold.strip() }}{{ completion }}");
        assert!(gold.len() == 1 && gold[0].1.contains("1 of 3 rows: row:2"), "{gold:?}");
    }
}
