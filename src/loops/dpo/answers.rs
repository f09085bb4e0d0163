//! One answer under two rationales, as FRODO's reasoner compares them (Paul et al. 2024, arXiv 2402.13950).

use crate::error::Result;
use crate::model::Sequence;
use crate::policy::Policy;
use crate::rationale::Format;

/// With a prompt x, a chosen completion of rationale r and answer a, and a rejected one of r′ and a′: a after x r, a after
/// x r′, and a′ after x r′, in which only the answers are completions. `None` where either has no answer.
pub(super) fn answers(
    policy: &Policy,
    format: &Format,
    prompt: &[u32],
    completions: [&str; 2],
) -> Result<Option<Vec<Sequence>>> {
    let [Some((own, answer)), Some((other, its_answer))] = completions.map(|text| split(format, text)) else {
        return Ok(None);
    };
    // Rationale and answer are tokenised each for itself, so that the answer has the same tokens behind both.
    let sequence = |rationale: &str, answer: &str| -> Result<Sequence> {
        let read = [prompt, &policy.tokenizer.encode(rationale)?].concat();
        Ok(Sequence::new(&read, &policy.completion(answer)?))
    };
    Ok(Some(vec![sequence(own, answer)?, sequence(other, answer)?, sequence(other, its_answer)?]))
}

/// What stands before the line of the answer (before its sentence, for steps of sentences), and the rest.
fn split<'a>(format: &Format, text: &'a str) -> Option<(&'a str, &'a str)> {
    let rationale = format.parse(text)?;
    let steps = rationale.steps.last().map_or(0, |last| last.end);
    let begins = steps + (text[steps..].len() - text[steps..].trim_start().len());
    Some(text.split_at(begins.min(rationale.answer.start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::tiny;

    #[test]
    fn one_answer_is_read_after_two_rationales() {
        let policy = tiny(1, 2, 0);
        let ids = |text: &str| policy.tokenizer.encode(text).unwrap();
        let of = |completions| answers(&policy, &Format::default(), &[1, 2], completions).unwrap();
        let after = |rationale: &str, answer: &str| {
            Sequence::new(&[&[1, 2], &ids(rationale)[..]].concat(), &policy.completion(answer).unwrap())
        };
        let found = of(["so\n#### 5", "but no\n#### 6"]).unwrap();
        let expected = [after("so\n", "#### 5"), after("but no\n", "#### 5"), after("but no\n", "#### 6")];
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
        assert_eq!(found.len(), 3);
        assert!(of(["so\n#### 5", "but"]).is_none());
    }

    #[test]
    fn a_completion_is_a_rationale_then_an_answer() {
        let format = Format::default();
        assert_eq!(split(&format, "1+1=2\nso\n#### 2"), Some(("1+1=2\nso\n", "#### 2")));
        assert_eq!(split(&format, "#### 2"), Some(("", "#### 2")));
        assert_eq!(split(&format, "no answer"), None);
        let sentences: Format = toml::from_str("steps = \"sentence\"").unwrap();
        let said = "It is warm. The answer is (B).";
        assert_eq!(split(&sentences, said), Some(("It is warm. ", "The answer is (B).")));
    }
}
