//! Completion text ↔ steps, spans, answer. Pure: no files, devices, randomness or clocks.

use crate::section::{Misfit, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

pub mod answer;
pub mod calc;
mod cues;
mod display;
pub mod equality;
mod further;
pub mod given;
mod meant;
pub mod number;
pub mod options;
mod pattern;
pub mod rubric;
pub mod stated;
pub mod steps;

pub use cues::Cues;
pub use given::Given;
pub use pattern::Pattern;

/// How a rationale is written: `[data.format]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Format {
    /// What separates steps.
    pub steps: StepUnit,
    /// Where the answer stands; the first form that matches wins.
    pub answer: Vec<AnswerForm>,
    /// Tags around the reasoning, such as `["<think>", "</think>"]`; the answer is looked for after the closing one.
    pub tags: Option<[String; 2]>,
    /// What ends reasoning where an answer is forced, up to where the answer begins: `"\n</think>\n#### "`. By default the end of `tags` and
    /// the beginning of the first of `answer`'s forms, each on a line of its own, such as `"\n#### "`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close: Option<String>,
}

impl Default for Format {
    fn default() -> Self {
        Self {
            steps: StepUnit::Line,
            answer: vec![AnswerForm::Hashes, AnswerForm::Boxed, AnswerForm::AnswerIs],
            tags: None,
            close: None,
        }
    }
}

impl Format {
    /// Reads a completion: its steps, and the answer by the first form that matches; a `####` line that other text follows gives way to the
    /// forms behind it, since it may be a heading. `None` where no form does,
    /// or where tags are asked for and the closing one is missing.
    ///
    /// Without tags, steps are what stands before the answer's line (before its sentence, for
    /// [`StepUnit::Sentence`] and [`StepUnit::Cues`]). With tags, steps are what stands inside them; the opening tag may be missing, since
    /// some chat templates write it into the prompt.
    ///
    /// ```
    /// use rationale::rationale::Format;
    /// let text = "48/2 = 24 in May.\n48+24 = 72 in all.\n#### 72";
    /// let rationale = Format::default().parse(text).unwrap();
    /// assert_eq!(rationale.steps.len(), 2);
    /// assert_eq!(&text[rationale.answer], "72");
    /// ```
    pub fn parse(&self, text: &str) -> Option<Rationale> {
        let (reasoning, rest) = match &self.tags {
            Some([open, close]) => inside(text, open, close)?,
            None => (None, 0..text.len()),
        };
        let found: Vec<_> =
            self.answer.iter().filter_map(|form| answer::find(form, &text[rest.clone()])).collect();
        let found = found.iter().find(|found| !found.weak).or(found.first())?.clone();
        let found = found.shifted(rest.start);
        let reasoning =
            reasoning.unwrap_or_else(|| 0..steps::unit_start(&self.steps, text, found.marked.start));
        Some(Rationale { steps: steps::split(&self.steps, text, reasoning), answer: found.answer })
    }

    /// What stands between reasoning and answer: `close`, or the end of the tags and the beginning of the first of the forms, each on a
    /// line of its own. `None` where that form has no beginning.
    ///
    /// ```
    /// use rationale::rationale::{AnswerForm, Format};
    /// assert_eq!(Format::default().cue().unwrap(), "\n#### ");
    /// let tags = Some(["<think>".to_string(), "</think>".to_string()]);
    /// let tagged = Format { tags, answer: vec![AnswerForm::AnswerTag], ..Format::default() };
    /// assert_eq!(tagged.cue().unwrap(), "\n</think>\n<answer>");
    /// ```
    pub fn cue(&self) -> Option<String> {
        if self.close.is_some() {
            return self.close.clone();
        }
        let begins = match self.answer.first()? {
            AnswerForm::Hashes => "#### ",
            AnswerForm::Boxed => "\\boxed{",
            AnswerForm::AnswerIs => "The answer is ",
            AnswerForm::AnswerTag => "<answer>",
            _ => return None,
        };
        let end = self.tags.as_ref().map_or(String::new(), |[_, close]| format!("\n{close}"));
        Some(format!("{end}\n{begins}"))
    }

    /// A text of reasoning, ended: with `cue` behind it, which begins no line where there is none to end.
    ///
    /// ```
    /// use rationale::rationale::Format;
    /// assert_eq!(Format::ended("1+1=2\n", "\n#### "), "1+1=2\n#### ");
    /// assert_eq!(Format::ended("", "\n#### "), "#### ");
    /// ```
    pub fn ended(reasoning: &str, cue: &str) -> String {
        let reasoning = reasoning.trim_end_matches('\n');
        let cue = if reasoning.is_empty() { cue.trim_start_matches('\n') } else { cue };
        format!("{reasoning}{cue}")
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        if self.close.as_ref().is_some_and(String::is_empty) {
            found.push(Misfit::new(
                "close",
                "it is empty",
                "leave it out, or write what ends reasoning, such as \"\\n#### \"",
            ));
        }
        if let StepUnit::Cues(cues) = &self.steps {
            found.extend(under("steps.cues", cues.check()));
        }
        if self.answer.is_empty() {
            found.push(Misfit::new("answer", "it is empty", "name at least one form, such as \"hashes\""));
        }
        if self.tags.as_ref().is_some_and(|[open, close]| open.is_empty() || close.is_empty()) {
            found.push(Misfit::new("tags", "both tags need text", "such as [\"<think>\", \"</think>\"]"));
        }
        found
    }
}

/// What separates one step from the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepUnit {
    /// One step a line; blank lines are not steps.
    Line,
    /// Steps separated by blank lines.
    Paragraph,
    /// One step a sentence; the end of a line ends a sentence too.
    Sentence,
    /// A step begins where a cue word turns the reasoning: `steps.cues = { words = ["wait"], skip = 0, apart = 0 }`.
    Cues(Cues),
}

/// The written forms of an answer. Of several matches of one form, the last counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// `#### 42`, GSM8K's; to the end of the line. Headings that text follows (`#### Step 2: add`) are none.
    Hashes,
    /// `\boxed{42}` or `\fbox{42}`, the last one, braces balanced.
    Boxed,
    /// `the answer is 42` or `Answer: 42`, the last one, to the end of the sentence; without any, the option that the last sentence calls right:
    /// `Option B is correct.`
    AnswerIs,
    /// Between `<answer>` and `</answer>`.
    AnswerTag,
    /// The last number in the text.
    LastNumber,
    /// The last choice letter standing alone, as in `(B)` or `B.`.
    Letter,
    /// The last line that is not blank.
    LastLine,
    /// The whole text.
    Whole,
    /// The first capture group (or the whole match) of the last match of this regular expression.
    Regex(Pattern),
}

/// A completion read as reasoning that ends in an answer. Spans are byte ranges of the completion's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rationale {
    /// The reasoning steps in order, the answer's own line left out.
    pub steps: Vec<Range<usize>>,
    /// The answer, without its marker.
    pub answer: Range<usize>,
}

impl Rationale {
    /// The reasoning, from its first step to its last; empty where there are no steps.
    pub fn reasoning(&self) -> Range<usize> {
        match (self.steps.first(), self.steps.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => 0..0,
        }
    }
}

/// The span between the tags, and what follows the closing one.
fn inside(text: &str, open: &str, close: &str) -> Option<(Option<Range<usize>>, Range<usize>)> {
    let start = text.find(open).map_or(0, |at| at + open.len());
    // A closing tag before the first opening one belongs to a tag opened in the prompt.
    let (start, end) = match text[start..].find(close) {
        Some(at) => (start, start + at),
        None => (0, text.find(close)?),
    };
    Some((Some(start..end), end + close.len()..text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(format: &Format, text: &'a str) -> Option<(Vec<&'a str>, &'a str)> {
        let rationale = format.parse(text)?;
        Some((rationale.steps.into_iter().map(|span| &text[span]).collect(), &text[rationale.answer]))
    }

    #[test]
    fn lines_before_the_answers_line_are_steps() {
        let text = "  48/2 = 24\n\nso 48+24 = 72 \nThat is it: #### 72\nHope this helps";
        // Blank lines are no steps, spans are trimmed, and neither the answer's line nor what follows is a step.
        let expected = Some((vec!["48/2 = 24", "so 48+24 = 72"], "72"));
        assert_eq!(read(&Format::default(), text), expected);
    }

    #[test]
    fn the_first_form_that_matches_wins() {
        let text = "so \\boxed{2}\n#### 1";
        let boxed_first = Format { answer: vec![AnswerForm::Boxed, AnswerForm::Hashes], ..Format::default() };
        assert_eq!(read(&Format::default(), text).unwrap().1, "1");
        assert_eq!(read(&boxed_first, text).unwrap().1, "2");
        // A line of hashes that text follows may be a heading: another form goes before it, and it counts where there is none.
        assert_eq!(read(&Format::default(), "#### 1\nso \\boxed{2}").unwrap().1, "2");
        assert_eq!(read(&Format::default(), "#### 1\nso be it").unwrap().1, "1");
        assert_eq!(read(&Format::default(), ""), None);
    }

    /// What a policy that repeats itself writes: reading it takes as long as the text is, not as its square.
    #[test]
    fn a_text_of_nothing_but_markers_is_read_at_once() {
        for (said, found) in [
            ("so the answer is 5 ", Some("5")),
            ("no answer is 5 ", None),
            ("the answer is right ", Some("right")),
            ("answer: 5\n", Some("5")),
            ("\\boxed{", None),
            ("####", None),
        ] {
            let text = said.repeat(1_000_000 / said.len());
            let read = Format::default().parse(&text);
            assert_eq!(read.map(|read| text[read.answer].to_owned()).as_deref(), found, "{said}");
        }
    }

    #[test]
    fn tags_hold_the_steps_and_the_answer_comes_after() {
        let format = Format {
            tags: Some(["<think>".into(), "</think>".into()]),
            answer: vec![AnswerForm::AnswerTag, AnswerForm::Whole],
            ..Format::default()
        };
        let text = "<think>\na = 1\nb = 2\n</think>\n<answer> 3 </answer>";
        assert_eq!(read(&format, text), Some((vec!["a = 1", "b = 2"], "3")));
        // The opening tag may stand in the prompt.
        assert_eq!(read(&format, "a = 1\n</think> 3"), Some((vec!["a = 1"], "3")));
        assert_eq!(read(&format, "a</think>3 <think>"), Some((vec!["a"], "3 <think>")));
        // Without the closing tag the reasoning has not ended: there is no answer.
        assert_eq!(read(&format, "<think> <answer>3</answer>"), None);
    }

    #[test]
    fn sentences_leave_out_the_answers_sentence_only() {
        let format = Format { steps: StepUnit::Sentence, ..Format::default() };
        let text = "Mr. Lee has 3.5 kg. He buys 2 more! The answer is 5.5.";
        assert_eq!(read(&format, text), Some((vec!["Mr. Lee has 3.5 kg.", "He buys 2 more!"], "5.5")));
    }

    #[test]
    fn spans_are_character_boundaries_of_any_text() {
        let forms = [
            AnswerForm::Hashes,
            AnswerForm::Boxed,
            AnswerForm::AnswerIs,
            AnswerForm::AnswerTag,
            AnswerForm::LastNumber,
            AnswerForm::Letter,
            AnswerForm::LastLine,
            AnswerForm::Whole,
        ];
        let cues = Cues { words: vec!["is".into(), "ß".into()], skip: 1, apart: 0 };
        let units = [StepUnit::Line, StepUnit::Sentence, StepUnit::Paragraph, StepUnit::Cues(cues)];
        // Every cut of a text that has all markers and characters of one to four bytes.
        let text =
            "é. 1️⃣ «ß» −3,5 😀! #### ½\u{a0}€ \\boxed{x{ñ}} the answer is “五”. (B) <answer>ö</answer>\r\n—7";
        let cuts = text
            .char_indices()
            .map(|(at, _)| &text[at..])
            .chain(text.char_indices().map(|(at, _)| &text[..at]));
        let mut parsed = 0;
        for text in cuts {
            for (form, steps) in forms.iter().zip(units.iter().cycle()) {
                let format =
                    Format { steps: steps.clone(), answer: vec![form.clone()], tags: None, close: None };
                // Slicing panics where a span is no boundary or leaves the text.
                if let Some((steps, answer)) = read(&format, text) {
                    assert!(!answer.is_empty() && steps.iter().all(|step| !step.trim().is_empty()));
                    parsed += 1;
                }
            }
        }
        assert!(parsed > 100);
    }

    #[test]
    fn the_recipe_reads_cue_words() {
        let format: Format =
            toml::from_str("steps.cues = { words = [\"wait\"], skip = 0, apart = 0 }").unwrap();
        let text = "1+1=3\nwait\n1+1=2\nWait, yes.\n#### 2";
        let expected = Some((vec!["1+1=3", "wait\n1+1=2", "Wait, yes."], "2"));
        assert_eq!(read(&format, text), expected);
        // What is resolved reads as it was.
        assert_eq!(toml::from_str::<Format>(&toml::to_string(&format).unwrap()).unwrap(), format);
        let plain: Format = toml::from_str("[steps.cues]").unwrap();
        assert_eq!(plain.steps, StepUnit::Cues(Cues::default()));
        let none: Format = toml::from_str("steps.cues.words = []").unwrap();
        assert_eq!(none.check()[0].key, "steps.cues.words");
    }

    #[test]
    fn the_recipe_reads_forms_and_names_a_bad_regex() {
        let format: Format =
            toml::from_str("steps = \"sentence\"\nanswer = [\"hashes\", { regex = 'Result (\\d+)' }]")
                .unwrap();
        assert_eq!(read(&format, "One. Two. Result 7 of 9").unwrap(), (vec!["One.", "Two."], "7"));
        let error = toml::from_str::<Format>("answer = [{ regex = '(' }]").unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("unclosed group"), "{error}");
        let tags = Some(["<think>".to_owned(), String::new()]);
        let close = Some("\nDone: ".to_owned());
        let closed = Format { close: close.clone(), tags: tags.clone(), ..Format::default() };
        assert_eq!(closed.cue(), close);
        let found = Format { answer: vec![], tags, close: Some(String::new()), ..Format::default() }.check();
        assert_eq!(
            found.iter().map(|misfit| &misfit.key[..]).collect::<Vec<_>>(),
            ["close", "answer", "tags"]
        );
    }
}
