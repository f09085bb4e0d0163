//! Jinja's expressions: which rows something holds of.

use super::{Jinja, LIMITED, bounded, deeply};
use minijinja::{Error, ErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A recipe's Jinja expression that holds of some rows, within the same limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(inline)]
pub struct Condition {
    expression: String,
    /// Writes `1` where it holds.
    template: Jinja,
}

impl Condition {
    /// Whether it can be read.
    ///
    /// # Errors
    /// What is no expression in it.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(why) = bounded::unreadable(&self.expression) {
            return Err(Error::new(ErrorKind::SyntaxError, why));
        }
        deeply(|| LIMITED.compile_expression(&self.expression).map(|_| ()))
    }

    /// Whether it is true over `known`.
    ///
    /// # Errors
    /// As those of [`Jinja::render`].
    pub fn holds(&self, known: &Map<String, Value>) -> Result<bool, Error> {
        self.template.render(known).map(|text| text == "1")
    }
}

impl From<String> for Condition {
    fn from(expression: String) -> Self {
        let template = format!("{{% if {expression} %}}1{{% endif %}}").into();
        Self { expression, template }
    }
}

impl From<&str> for Condition {
    fn from(expression: &str) -> Self {
        expression.to_owned().into()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.expression
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expressions_have_the_same_limits() {
        let known = json!({"a": "x", "n": 3});
        let holds = |text: &str| Condition::from(text).holds(known.as_object().unwrap());
        assert!(holds("n > 2 and a == 'x'").unwrap() && holds("{'k': {'l': 1}}").unwrap());
        assert!(!holds("missing").unwrap() && !holds("a is none").unwrap());
        let grows = format!("a{}", ".replace('x', 'xxxxxxxxxxxxxxxx')".repeat(12));
        assert!(format!("{:#}", holds(&grows).unwrap_err()).contains("more than 4 MB"));
    }
}
