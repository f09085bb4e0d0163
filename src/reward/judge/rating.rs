//! Reading the rating in what a judge says: which of its numbers is the score, and none where that is not clear.
//!
//! A number is what it stands for by what is written around it: the end of the scale ("/10", "out of 10", "from 0 to 10"), a count
//! ("step 2", "3 errors"), or a rating. Of ratings those behind a name ("score", "rating") come first, then those over the scale's
//! end ("7/10"), then any. Several that differ are none: it is asked again, and never guessed.

use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// What a number in the text is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reading {
    /// A number by itself.
    Plain(f64),
    /// A share of something: 7 of 10.
    Of(f64, f64),
    /// Something that is no single number of the scale: 7 to 8, or 70 %.
    Unclear,
}

/// A number that may be the rating, and where it stands.
struct Candidate {
    at: Range<usize>,
    reading: Reading,
}

const NUMBER: &str = r"[-+]?(?:\d+(?:[.,]\d+)*|\.\d+)";

fn regex(text: &str) -> Regex {
    Regex::new(&text.replace("NUMBER", NUMBER)).expect("it is one")
}

/// Numbers with what belongs to them.
static NUMBERS: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)
        between \s+ (?P<a>NUMBER) \s+ and \s+ (?P<b>NUMBER)
        | (?P<c>NUMBER) \s* (?: - | – | — | \bto\b | \bor\b (?:\s+(?:an?|maybe|even|perhaps))? ) \s* (?P<d>\d+(?:[.,]\d+)*)
        | (?P<v>NUMBER) \s* (?: / | (?:points?\s+)? \(? \s* \b(?:out\s+)?of\b ) \s* (?:(?:a|the|maximum|max|possible|total|of)\s+)* (?P<w>\d+(?:[.,]\d+)*)
        | (?P<n>NUMBER) (?P<percent>\s*%)?",
    )
});
/// A name in front of a rating; the word before it may say that it is another's.
static NAMES: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix) (?:\b(\p{L}+)[\x20\t]+)?
        (?: \b(scores?|ratings?|grades?|verdict)\b
          | \b(gives?|rated?|assign|award|deserves?|merits?|earns?)\b
          | \boverall\s*[:=] )",
    )
});
/// What may stand between a name and its number without making it the name of something else.
static CONNECTED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)^ [\s\p{P}\p{S}]*
        (?:\b(?:is|was|of|be|would|should|will|an?|at|as|to|it|this|the|its|overall|final|answer|response|rationale|solution
            |reasoning|completion|explanation|give|i|my|out|points?|score|only|just|around|about)\b [\s\p{P}\p{S}]*)* $",
    )
});
/// What may stand between a name and its number, besides a sentence's few words.
static END_OF_SENTENCE: LazyLock<Regex> = LazyLock::new(|| regex(r"[.!?;]\s|[.!?;]$|\n\s*\n|[^:=\s]\s*\n"));
/// What stands in front of the end of a scale.
static BEFORE_END: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)(?:/|\bout\s+of(?:\s+(?:a|the|possible|maximum|total|of))*|\bscale\s*(?:of|from|is)?|\bmax(?:imum)?(?:\s+(?:score|of|is))*\s*[:=]?|\b(?:best|worst|highest|lowest|perfect)\s*(?:is|[:=])?|\bup\s+to)\s*$",
    )
});
/// What stands behind a number that explains the scale.
static LEGEND: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)^\s*(?:=|:?\s*\b(?:means?|would|being|requires?|is\s+(?:the\s+)?(?:best|worst|perfect|reserved|maximum))\b|-?\s*point\s+scale)",
    )
});
/// What is counted or numbered, in front of a number.
static COUNTED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)(?:#|\b(?:steps?|lines?|criteri(?:on|a)|questions?|parts?|items?|equations?|eq\.?|problems?|attempts?|options?|choices?|sections?|pages?|paragraphs?|cases?|no\.|numbers?|version|deduct(?:ed|ing)?|minus|subtract(?:ed|ing)?|los(?:e|es|t|ing)|first|last|all|only))\s*$",
    )
});
/// What does not make a count of the number before it.
static NO_COUNT: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)^\s*(?:points?|pts|stars?|out|of|because|since|as|for|and|but|is|would|with|overall|here|given|on|it|the|in|so|too|seems?|from|to)\b",
    )
});
static WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s+\p{L}"));
static LISTED: LazyLock<Regex> = LazyLock::new(|| regex(r"(?m)^[ \t]*\d+[.)][ \t]+\S"));

/// The rating that `said` gives on the scale between `scale`'s two ends, or none where it is not clear. It need not lie on the scale.
pub(super) fn rating(said: &str, scale: [f64; 2]) -> Option<f64> {
    let text = plain(said);
    let top = scale[0].max(scale[1]);
    let candidates = candidates(&text, scale);
    let read = |reading: Reading| match reading {
        Reading::Plain(value) => Some(value),
        Reading::Of(value, whole) => (whole == top).then_some(value),
        Reading::Unclear => None,
    };
    let value = |candidate: &Candidate| read(candidate.reading);
    let named = named(&text, &candidates);
    if !named.is_empty() {
        let rank = named.iter().map(|name| name.rank).max()?;
        return same(named.iter().filter(|name| name.rank == rank).map(|name| read(name.reading)));
    }
    let over_top =
        |candidate: &&Candidate| matches!(candidate.reading, Reading::Of(_, whole) if whole == top);
    if candidates.iter().any(|candidate| over_top(&candidate)) {
        return same(candidates.iter().filter(over_top).map(value));
    }
    let free: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| !matches!(candidate.reading, Reading::Of(..)) && !is_count(&text, candidate))
        .collect();
    // A number that has the last line to itself.
    let last_line = text.trim_end().rsplit('\n').next().unwrap_or_default().trim();
    let alone = last_line.trim_matches(|c: char| !c.is_ascii_digit() && c != '-');
    match free.last() {
        Some(last) if &text[last.at.clone()] == alone && last_line.len() < alone.len() + 4 => value(last),
        _ => same(free.into_iter().map(value)),
    }
}

/// The last number that is not a share's whole: of a step, for example.
pub(super) fn last_number(said: &str) -> Option<f64> {
    let text = plain(said);
    let mut numbers = candidates(&text, [f64::NAN; 2]);
    match numbers.pop()?.reading {
        Reading::Plain(value) | Reading::Of(value, _) => Some(value),
        Reading::Unclear => None,
    }
}

/// The text without emphasis and TeX around numbers.
fn plain(said: &str) -> String {
    static FRACTION: LazyLock<Regex> = LazyLock::new(|| regex(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"));
    static COMMAND: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\\(?:boxed|fbox|text|mathbf|mathrm)\s*\{([^{}]*)\}"));
    let text = said.replace("__", "").replace(['*', '`', '$'], "").replace('：', ":").replace('−', "-");
    let text = FRACTION.replace_all(&text, "$1/$2").into_owned();
    COMMAND.replace_all(&text, "$1").into_owned()
}

/// The value of a number; none where its commas are neither a decimal's nor of thousands.
fn value(number: &str) -> Option<f64> {
    let thousands = |(at, part): (usize, &str)| if at == 0 { part.len() <= 4 } else { part.len() == 3 };
    match number.matches([',']).count() {
        0 => number.parse().ok(),
        1 if number.split(',').nth(1).is_some_and(|part| part.len() <= 2) => {
            number.replace(',', ".").parse().ok()
        }
        _ if number.split(',').enumerate().all(thousands) => number.replace(',', "").parse().ok(),
        _ => None,
    }
}

/// The numbers that are neither ends of the scale nor parts of words.
fn candidates(text: &str, scale: [f64; 2]) -> Vec<Candidate> {
    let listed = LISTED.find_iter(text).count() >= 2;
    let ends = |a: f64, b: f64| [a, b] == scale || [b, a] == scale;
    let mut found = Vec::new();
    for part in NUMBERS.captures_iter(text) {
        let at = part.get(0).expect("the whole").range();
        let number = |name: &str| part.name(name).map(|number| value(number.as_str()).unwrap_or(f64::NAN));
        let (before, behind) = (&text[..at.start], &text[at.end..]);
        let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        let suffix = behind.starts_with(|c: char| c.is_alphabetic()) && part.name("percent").is_none();
        let on_list = listed
            && before.rsplit('\n').next().is_some_and(|line| line.trim().is_empty())
            && behind.starts_with(['.', ')']);
        let reading =
            match (number("a").or(number("c")), number("b").or(number("d")), number("v"), number("w")) {
                (Some(from), Some(to), ..) if ends(from, to.abs()) || ends(from, to) => continue,
                (Some(_), Some(_), ..) if behind_scale(before) => continue,
                (Some(_), Some(_), ..) => Reading::Unclear,
                (.., Some(share), Some(whole)) => Reading::Of(share, whole),
                _ if part.name("percent").is_some() && !scale.contains(&100.0) => Reading::Unclear,
                _ => number("n").filter(|value| !value.is_nan()).map_or(Reading::Unclear, Reading::Plain),
            };
        if in_word || suffix || on_list || BEFORE_END.is_match(before) || LEGEND.is_match(behind) {
            continue;
        }
        found.push(Candidate { at, reading });
    }
    found
}

/// Whether a range of numbers is said to be the scale.
fn behind_scale(before: &str) -> bool {
    let before = before.trim_end().to_lowercase();
    ["scale of", "scale from", "scale:", "scale", "range", "from"].iter().any(|word| before.ends_with(word))
}

/// A number behind a name.
struct Named {
    start: usize,
    reading: Reading,
    /// Final ones come first, then those that begin a sentence, then others.
    rank: u8,
}

/// The candidates behind names.
fn named(text: &str, candidates: &[Candidate]) -> Vec<Named> {
    const OTHERS: [&str; 18] = [
        "max", "maximum", "min", "minimum", "highest", "lowest", "best", "worst", "perfect", "possible",
        "full", "top", "passing", "average", "previous", "initial", "old", "first",
    ];
    let mut found: Vec<Named> = Vec::new();
    for name in NAMES.captures_iter(text) {
        let whole = name.get(0).expect("the whole").range();
        let qualifier = name.get(1).map_or(String::new(), |word| word.as_str().to_lowercase());
        if OTHERS.contains(&qualifier.as_str()) {
            continue;
        }
        let Some(at) = candidates.iter().position(|candidate| candidate.at.start >= whole.end) else {
            continue;
        };
        let candidate = &candidates[at];
        let between = without_brackets(&text[whole.end..candidate.at.start]);
        if between.chars().count() > 60 || END_OF_SENTENCE.is_match(&between) || COUNTED.is_match(&between) {
            continue;
        }
        // "Score for accuracy: 7, for depth: 8"
        let goes_on = |next: &Candidate| !END_OF_SENTENCE.is_match(&text[candidate.at.end..next.at.start]);
        let several = !CONNECTED.is_match(&between) && candidates.get(at + 1).is_some_and(goes_on);
        let reading = if several { Reading::Unclear } else { candidate.reading };
        let before = text[..whole.start].trim_end_matches([' ', '\t', '"', '\'', '#', '-', '>', '{']);
        let begins = before.is_empty() || before.ends_with(['\n', '.', '!', '?', ':', ',']);
        let rank = match qualifier.as_str() {
            "final" | "overall" | "total" => 3,
            _ if whole.len() > 7 && text[whole.clone()].to_lowercase().contains("overall") => 3,
            _ if name.get(2).is_some() && qualifier.is_empty() && begins => 2,
            _ => 1,
        };
        match found.iter_mut().find(|known| known.start == candidate.at.start) {
            Some(known) if known.rank >= rank => {}
            Some(known) => (known.rank, known.reading) = (rank, reading),
            None => found.push(Named { start: candidate.at.start, reading, rank }),
        }
    }
    found
}

/// A text without what stands in brackets directly at its beginning: "Score (0 is worst): ".
fn without_brackets(text: &str) -> String {
    match text.trim_start().strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest.to_owned(),
        None => text.to_owned(),
    }
}

/// Whether a number counts or numbers something, by its neighbours.
fn is_count(text: &str, candidate: &Candidate) -> bool {
    let behind = &text[candidate.at.end..];
    COUNTED.is_match(&text[..candidate.at.start]) || (WORD.is_match(behind) && !NO_COUNT.is_match(behind))
}

/// What all of several readings say.
fn same(mut values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let first = values.next()??;
    values.all(|value| value == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests;
