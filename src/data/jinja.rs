//! What a recipe's Jinja templates are filled in with, and what they may use.

use super::Example;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value, json};

/// Instructions that a template may take for one row: loops within loops end.
const FUEL: u64 = 2_000_000;

/// What a recipe's Jinja templates may use: what is not there is an error, line ends stay, Python's methods of texts.
pub fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_keep_trailing_newline(true);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment
}

/// What a template over an example is filled in with: `prompt` is the text of its last turn, the others are its row's columns, with
/// `answer` and `choices` as they are read.
pub fn values(example: &Example) -> Map<String, Value> {
    let mut values = example.fields.clone();
    values.insert("prompt".to_string(), json!(example.prompt.question()));
    if let Some(answer) = &example.answer {
        values.insert("answer".to_string(), json!(answer));
    }
    if !example.choices.is_empty() {
        values.insert("choices".to_string(), json!(example.choices));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::ErrorKind;

    #[test]
    fn a_template_that_would_not_end_is_stopped() {
        let twice = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
        assert_eq!(environment().render_str(twice, ()).unwrap_err().kind(), ErrorKind::OutOfFuel);
        let once = "{% for a in range(100000) %}x{% endfor %}";
        assert_eq!(environment().render_str(once, ()).unwrap().len(), 100_000);
    }
}
