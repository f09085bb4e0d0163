//! Whether a text follows an instruction about its form, by checks of ReasonIF (Kwon et al. 2025): length, case, ending, JSON, commas,
//! language.

use serde::Deserialize;
use serde_json::Value;

/// What a text is told to be like, as a column has it: `{"kind": "words", "less": 120}`, `{"kind": "upper"}`, `{"kind": "ends", "phrase": "That
/// is all."}`, `{"kind": "json"}`, `{"kind": "commas"}`, `{"kind": "language", "code": "de"}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Instruction {
    /// Fewer words than so many.
    Words {
        /// The number that is not reached.
        less: usize,
    },
    /// No small letter, and some capital one.
    Upper,
    /// It ends with a phrase, whatever its case, quotation marks around the text left out.
    Ends {
        /// The phrase.
        phrase: String,
    },
    /// It is one JSON value, in a code fence or not.
    Json,
    /// No comma.
    Commas,
    /// It is written in a language; where that cannot be told, it is not.
    Language {
        /// Its ISO 639-1 code: see [`language`].
        code: String,
    },
}

impl Instruction {
    /// Whether `text` follows it; an empty text follows none.
    ///
    /// ```
    /// use rationale::text::instruction::Instruction;
    /// let three: Instruction = serde_json::from_str(r#"{"kind": "words", "less": 3}"#).unwrap();
    /// assert!(three.holds("two words") && !three.holds("three words here") && !three.holds(" "));
    /// ```
    pub fn holds(&self, text: &str) -> bool {
        let text = text.trim();
        if text.is_empty() {
            return false;
        }
        match self {
            Self::Words { less } => text.split_whitespace().count() < *less,
            Self::Upper => text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase),
            Self::Ends { phrase } => {
                let plain = text.trim_matches(|c: char| "\"'“”‘’`".contains(c)).trim_end().to_lowercase();
                plain.ends_with(phrase.trim().to_lowercase().as_str())
            }
            Self::Json => serde_json::from_str::<Value>(unfenced(text)).is_ok(),
            Self::Commas => !text.contains([',', '，', '、', '،']),
            Self::Language { code } => language(text).is_some_and(|found| found == code.as_str()),
        }
    }

    /// Whether it can be checked: languages are known by their codes.
    pub fn known(&self) -> bool {
        match self {
            Self::Language { code } => {
                SCRIPTS.iter().any(|(known, _)| known == code) || WORDS.iter().any(|(known, _)| known == code)
            }
            _ => true,
        }
    }
}

/// What stands in a code fence around the whole text, or the text.
fn unfenced(text: &str) -> &str {
    let inside = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inside.map_or(text, |inside| inside.trim_start_matches(|c: char| c.is_ascii_alphabetic()).trim())
}

/// Languages that their script tells, and its letters.
const SCRIPTS: [(&str, &[(char, char)]); 8] = [
    ("ar", &[('\u{600}', '\u{6ff}'), ('\u{750}', '\u{77f}')]),
    ("el", &[('\u{370}', '\u{3ff}')]),
    ("he", &[('\u{590}', '\u{5ff}')]),
    ("hi", &[('\u{900}', '\u{97f}')]),
    ("ja", &[('\u{3040}', '\u{30ff}')]),
    ("ko", &[('\u{ac00}', '\u{d7af}')]),
    ("ru", &[('\u{400}', '\u{4ff}')]),
    ("zh", &[('\u{4e00}', '\u{9fff}')]),
];

/// Languages that share a script, and small words that they do not share.
const WORDS: [(&str, &[&str]); 6] = [
    ("de", &["der", "die", "und", "das", "ist", "nicht", "ein", "eine", "wir", "mit", "auf", "für", "den"]),
    ("en", &["the", "and", "is", "of", "to", "we", "that", "it", "this", "are", "for", "with", "so"]),
    ("es", &["el", "los", "las", "que", "es", "una", "por", "con", "para", "del", "se", "y"]),
    ("fr", &["le", "les", "des", "est", "une", "nous", "pour", "dans", "et", "du", "donc", "que"]),
    ("it", &["il", "che", "è", "di", "per", "una", "sono", "della", "con", "non", "gli", "e"]),
    ("pt", &["o", "os", "não", "uma", "para", "com", "que", "do", "da", "em", "é", "e"]),
];

/// Share of letters that have to be of a script.
const LETTERS: f64 = 0.5;
/// Share of words that have to be small words of a language.
const SMALL: f64 = 0.1;

/// The language of a text by its letters, or by its small words; `None` where it cannot be told.
///
/// ```
/// use rationale::text::instruction::language;
/// assert_eq!(language("we add the two and that is the sum"), Some("en"));
/// assert_eq!(language("wir addieren die zwei und das ist die Summe"), Some("de"));
/// assert_eq!(language("мы складываем 2 и 3"), Some("ru"));
/// assert_eq!(language("2 + 3 = 5"), None);
/// ```
pub fn language(text: &str) -> Option<&'static str> {
    let letters: Vec<char> = text.chars().filter(|c| c.is_alphabetic()).collect();
    let of = |ranges: &[(char, char)]| {
        let inside = |c: &&char| ranges.iter().any(|(from, to)| (*from..=*to).contains(*c));
        letters.iter().filter(inside).count() as f64 / letters.len().max(1) as f64
    };
    // Japanese is written in Chinese letters too, with others between them that Chinese has not.
    let shares = SCRIPTS.map(|(code, ranges)| (code, of(ranges)));
    let share = |code: &str| shares.iter().find(|(known, _)| *known == code).map_or(0.0, |(_, share)| *share);
    if share("ja") > 0.1 && share("ja") + share("zh") > LETTERS {
        return Some("ja");
    }
    if let Some((code, _)) = shares.iter().find(|(_, share)| *share > LETTERS) {
        return Some(code);
    }
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let small = |small: &[&str]| words.iter().filter(|word| small.contains(&word.as_str())).count();
    let mut counts: Vec<(usize, &str)> = WORDS.iter().map(|(code, list)| (small(list), *code)).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let (most, code) = counts[0];
    let clear = most > counts[1].0 && most as f64 >= SMALL * words.len() as f64;
    clear.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(instruction: &str, text: &str) -> bool {
        serde_json::from_str::<Instruction>(instruction).unwrap().holds(text)
    }

    #[test]
    fn each_check_passes_and_fails() {
        for (instruction, good, bad) in [
            (r#"{"kind": "words", "less": 4}"#, "one two three", "one two three four"),
            (r#"{"kind": "upper"}"#, "2 + 3 IS 5.", "2 + 3 IS five"),
            (r#"{"kind": "ends", "phrase": "That is all."}"#, "So 5. “that is ALL.”", "That is all. So 5."),
            (r#"{"kind": "json"}"#, "```json\n{\"sum\": 5}\n```", "{\"sum\": 5} indeed"),
            (r#"{"kind": "commas"}"#, "five; six", "five, six"),
            (
                r#"{"kind": "language", "code": "fr"}"#,
                "nous additionnons les deux et le total est 5",
                "we add them",
            ),
            (r#"{"kind": "language", "code": "ja"}"#, "これは五です", "这是五"),
        ] {
            assert!(holds(instruction, good) && !holds(instruction, bad), "{instruction}");
            assert!(!holds(instruction, " \n"), "{instruction}: nothing follows no instruction");
        }
        // Digits alone are of no case, and of no language.
        assert!(!holds(r#"{"kind": "upper"}"#, "2 + 3 = 5"));
        assert!(!holds(r#"{"kind": "language", "code": "en"}"#, "2 + 3 = 5"));
    }

    #[test]
    fn an_instruction_that_is_none_is_said() {
        let read = |text: &str| serde_json::from_str::<Instruction>(text).map_err(|error| error.to_string());
        assert!(read(r#"{"kind": "rhyme"}"#).unwrap_err().contains("unknown variant `rhyme`"));
        assert!(read(r#"{"kind": "words"}"#).unwrap_err().contains("less"));
        assert!(!read(r#"{"kind": "language", "code": "xx"}"#).unwrap().known());
    }
}
