//! What is right for an example, and how answers to it are told apart.

use super::Example;
use crate::rationale::answer;
use crate::rationale::equality::Equality;

impl Example {
    /// The gold answer; where the row has a whole solution there, what it ends in.
    pub fn gold(&self) -> Option<&str> {
        answer::gold(self.answer.as_deref()?)
    }

    /// How answers to it are told apart: by the equality that grades them, which knows what was asked.
    pub fn equality(&self) -> Equality<'_> {
        Equality::of(self.gold(), &self.choices).asked(self.prompt.question())
    }
}
