//! Reading the rating in what a judge says: which of its numbers is the score, and none where that is not clear.
//!
//! A number is what it stands for by what is written around it: the end of the scale ("/10", "out of 10", "from 0 to 10"), a count
//! ("step 2", "3 errors"), or a rating. Of ratings those behind a name ("score", "rating") come first, then those over the scale's
//! end ("7/10"), then any that stands by itself. What is quoted is another's and is left out; what is denied, compared, doubted or taken back is
//! no score. Several that differ are none: it is asked again, and never guessed.

mod comment;
mod whole;
mod words;

use comment::leaves_it;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;
use whole::{orders, stands_whole, value};
use words::{ADDED_UP, ANSWERED, FOLLOWED, GOES_ON, LEADS_ON, LISTED_ON, NO_SCORE, WORKED_OUT};

/// What a number in the text is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reading {
    /// A number by itself.
    Plain(f64),
    /// A share of something: 7 of 10.
    Of(f64, f64),
    /// Something that is no single number of the scale: 7 to 8, or 70 %.
    Unclear,
    /// What a word begins with: 3rd, 8ish. In a score's place it is unclear, elsewhere it is none.
    Part,
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
        [\[(] \s* (?P<e>\d+(?:\.\d+)?) \s* [,;] \s* (?P<f>\d+(?:\.\d+)?) \s* [\])]
        | between \s+ (?P<a>NUMBER) \s+ and \s+ (?P<b>NUMBER)
        | (?P<c>NUMBER) \s* (?: - | – | — | \bto\b | \bor\b (?:\s+(?:an?|maybe|even|perhaps))? ) \s* (?P<d>\d+(?:[.,]\d+)*)
        | (?P<v>NUMBER) \s* (?: / | (?:(?:points?|pts|stars?)\s+)? \(? \s* \b(?:out\s+)?of\b ) \s* (?:(?:a|the|maximum|max|possible|total|of)\s+)* (?P<w>\d+(?:[.,]\d+)*)
        | (?P<n>NUMBER) (?P<percent>\s*%)?",
    )
});
/// A name in front of a rating; the word before it may say that it is another's.
static NAMES: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix) (?:\b(\p{L}+)[\x20\t]+)?
        (?: \b(scores?|ratings?|grades?|verdict)\b
          | \b(gives?|rated?|assign|award|deserves?|merits?|earns?)\b
          | \b(?:overall|total|points)\s*[:=] )",
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
/// What is said to be no score: in front of it, in its clause.
static DENIED: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?i)\b(?:not|never|cannot|no|neither|nor|nobody|hardly|refus\w+|without|were)\b|n['’]t\b")
});
/// What makes a bound or a guess of the number behind it, in its clause.
static BOUNDED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)[<>≤≥]|\b(?:less|more|fewer|higher|lower|better|worse|greater)\s+than\b|\b(?:at\s+(?:most|least|best|worst)|up\s+to|no\s+more|maybe|perhaps|possibly|might|could|if|between|under|below|above|over|almost|nearly|beyond|exceed\w*|unless)\b",
    )
});
/// What takes a number back, or makes an operand of it, behind it.
static TAKEN_BACK: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)^\s*[+?] | ^\s*(?:->|→|at\s+(?:best|most|least)\b) | ^\s*(?:[+×*^]|minus|times)\s*\d | ^\s+x\s+\d | ^\s*(?:\(\s*)?(?:if|unless|maybe|perhaps|or)\b
        | \b(?:actually|on\s+(?:reflection|second\s+thought)|reconsider\w*|lower(?:ed|ing)?\s+(?:it|this|that|my)|rais(?:e|ed|ing)\s+(?:it|this|that|my)|revis\w+
            |chang(?:e|ed|ing)\s+(?:it|this|that|my)|i\s+mean|correction|scratch\s+that|or\s+rather|maybe|perhaps|,\s*no\s*,|no\s*,)[^\d\n]{0,40}\d",
    )
});
/// What stands in front of a number that is a rating by itself.
static BY_ITSELF: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)(?:^|\n)[\s\p{P}\p{S}]*$|\b(?:scale|from|range)\b[^.!?\n]*[:,]\s*$|\b(?:this|it|that|that's|so|overall|hence|therefore|i'd\s+say|i\s+say)\s*(?:is|gets|would\s+be|'s|worth|:|,)?\s*(?:an?|only|just)?\s*$",
    )
});
/// Quotations.
static QUOTED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?m)"[^"\n]*"|“[^”\n]*”|«[^»\n]*»|`[^`\n]*`|(?:^|[\s(])'[^'\n]*\d[^'\n]*'|(?:^|[\s(])‘[^’\n]*’|^[ \t]*>[^\n]*$"#,
    )
});
static WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s+\p{L}"));
static LISTED: LazyLock<Regex> = LazyLock::new(|| regex(r"(?m)^[ \t]*\d+[.)][ \t]+\S"));

/// The rating that `said` gives on the scale between `scale`'s two ends, or none where it is not clear. It need not lie on the scale.
pub(super) fn rating(said: &str, scale: [f64; 2]) -> Option<f64> {
    let text = plain(&unquoted(said));
    let top = scale[0].max(scale[1]);
    let candidates = candidates(&text, scale);
    let read = |reading: Reading| match reading {
        Reading::Plain(value) => Some(value),
        Reading::Of(value, whole) => (whole == top).then_some(value),
        Reading::Unclear | Reading::Part => None,
    };
    let value = |candidate: &Candidate| read(candidate.reading);
    let named = named(&text, &candidates);
    if named.iter().all(|name| name.rank == 0) && !named.is_empty() {
        return None;
    }
    if !named.is_empty() {
        // Those that are given as the score have to agree; a final one and another are no exception.
        let rank = named.iter().map(|name| name.rank).max()?.min(2);
        return same(named.iter().filter(|name| name.rank >= rank).map(|name| read(name.reading)));
    }
    let denied = |candidate: &Candidate| {
        let (clause, behind) = (clause_before(&text, candidate.at.start), &text[candidate.at.end..]);
        DENIED.is_match(clause)
            || BOUNDED.is_match(clause)
            || TAKEN_BACK.is_match(behind)
            || !leaves_it(behind)
    };
    let over_top =
        |candidate: &&Candidate| matches!(candidate.reading, Reading::Of(_, whole) if whole == top);
    if candidates.iter().any(|candidate| over_top(&candidate)) {
        return same(candidates.iter().filter(over_top).map(|one| value(one).filter(|_| !denied(one))));
    }
    let free: Vec<&Candidate> = candidates
        .iter()
        .filter(|one| !matches!(one.reading, Reading::Of(..) | Reading::Part) && !is_count(&text, one))
        .collect();
    // A number that has the last line to itself.
    let last_line = text.trim_end().rsplit('\n').next().unwrap_or_default().trim();
    let alone = last_line.trim_matches(|c: char| !c.is_ascii_digit() && c != '-');
    match free.last() {
        Some(last) if &text[last.at.clone()] == alone && last_line.len() < alone.len() + 4 => value(last),
        _ => {
            let stands = |one: &Candidate| BY_ITSELF.is_match(&text[..one.at.start]) && !denied(one);
            same(free.into_iter().map(|one| value(one).filter(|_| stands(one))))
        }
    }
}

/// The text without what it quotes.
fn unquoted(said: &str) -> String {
    // What has no number, and what a JSON value is, stays.
    let bare = |quote: &str| {
        let inner = quote.trim().trim_matches(['"', '“', '”', '`', '«', '»', '\'', '‘', '’']).trim();
        inner.chars().all(|c| c.is_ascii_digit() || ".,/*[]- ".contains(c))
    };
    let kept = |captures: &regex::Captures| {
        let quote = captures.get(0).expect("the whole");
        let before = said[..quote.start()].trim_end();
        let json = before.ends_with(':') && before[..before.len() - 1].trim_end().ends_with('"');
        let alone = said.trim() == quote.as_str().trim() || quote.as_str().trim_start().starts_with('`');
        let numbered = quote.as_str().contains(|c: char| c.is_ascii_digit());
        if !numbered || (bare(quote.as_str()) && (json || alone)) {
            quote.as_str().to_owned()
        } else {
            " ".to_owned()
        }
    };
    // All of it in quotes is no quotation.
    let whole = said.trim();
    if whole.len() > 1 && whole.starts_with('"') && whole.ends_with('"') && whole.matches('"').count() == 2 {
        return whole.trim_matches('"').to_owned();
    }
    QUOTED.replace_all(said, kept).into_owned()
}

/// The text of a clause up to `at`.
fn clause_before(text: &str, at: usize) -> &str {
    let end = text[..at].rfind(['.', '!', '?', ';', '\n', ':']).map_or(0, |end| end + 1);
    &text[end..at]
}

/// The last number that is not a share's whole: of a step, for example.
pub(super) fn last_number(said: &str) -> Option<f64> {
    let text = plain(said);
    let mut numbers = candidates(&text, [f64::NAN; 2]);
    match numbers.pop()?.reading {
        Reading::Plain(value) | Reading::Of(value, _) => Some(value),
        Reading::Unclear | Reading::Part => None,
    }
}

/// The text without emphasis and TeX around numbers.
fn plain(said: &str) -> String {
    static FRACTION: LazyLock<Regex> = LazyLock::new(|| regex(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"));
    static COMMAND: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\\(?:boxed|fbox|text|mathbf|mathrm)\s*\{([^{}]*)\}"));
    static PRODUCT: LazyLock<Regex> = LazyLock::new(|| regex(r"(\d)\s?\*\s?(\d)"));
    let text = PRODUCT.replace_all(said, "$1×$2").replace("__", "").replace(['*', '`', '$'], "");
    let text = text.replace('：', ":").replace('−', "-");
    let text = FRACTION.replace_all(&text, "$1/$2").into_owned();
    static TAG: LazyLock<Regex> = LazyLock::new(|| regex(r"</?[\p{L}_]+>"));
    TAG.replace_all(&COMMAND.replace_all(&text, "$1"), " ").into_owned()
}

/// The numbers that are neither ends of the scale nor parts of words.
fn candidates(text: &str, scale: [f64; 2]) -> Vec<Candidate> {
    let listed = LISTED.find_iter(text).count() >= 2;
    let (ends, top) = (|a: f64, b: f64| [a, b] == scale || [b, a] == scale, scale[0].max(scale[1]));
    let mut found = Vec::new();
    for part in NUMBERS.captures_iter(text) {
        let at = part.get(0).expect("the whole").range();
        let number = |name: &str| part.name(name).map(|number| value(number.as_str()).unwrap_or(f64::NAN));
        let first = |names: &[&str]| names.iter().find_map(|name| number(name));
        let (before, behind) = (&text[..at.start], &text[at.end..]);
        let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        static POINTS: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?:pts|points?|stars?)\b"));
        let suffix = behind.starts_with(|c: char| c.is_alphabetic())
            && !POINTS.is_match(behind)
            && part.name("percent").is_none();
        let on_list = listed
            && before.rsplit('\n').next().is_some_and(|line| line.trim().is_empty())
            && behind.starts_with(['.', ')']);
        let reading = match (first(&["a", "c", "e"]), first(&["b", "d", "f"]), number("v"), number("w")) {
            (Some(from), Some(to), ..) if ends(from, to.abs()) || ends(from, to) => continue,
            (Some(_), Some(_), ..) if behind_scale(before) => continue,
            // "Score (1 to 10): 6".
            (Some(_), Some(_), ..)
                if behind.trim_start_matches([')', ']', ' ']).starts_with([':', '='])
                    && behind.contains(|c: char| c.is_ascii_digit()) =>
            {
                continue;
            }
            (Some(_), Some(_), ..) => Reading::Unclear,
            (.., Some(share), Some(whole)) => Reading::Of(share, whole),
            _ if part.name("percent").is_some() && !scale.contains(&100.0) => Reading::Unclear,
            _ => number("n").filter(|value| !value.is_nan()).map_or(Reading::Unclear, Reading::Plain),
        };
        // "7 / 10 = 0.7" works the share out.
        let worked_out = matches!(reading, Reading::Of(..)) && WORKED_OUT.is_match(behind);
        let explained = ADDED_UP.is_match(behind) || (LEGEND.is_match(behind) && !worked_out);
        let counts = suffix && orders(behind);
        if in_word || counts || on_list || BEFORE_END.is_match(before) || explained {
            continue;
        }
        let whole = || stands_whole(before, behind, matches!(reading, Reading::Of(..)), top);
        let reading = match reading {
            _ if suffix => Reading::Part,
            reading if whole() => reading,
            _ => Reading::Unclear,
        };
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
        let next = candidates[at + 1..].iter().find(|next| next.reading != Reading::Part);
        let several = match next.filter(|next| goes_on(next)) {
            None => false,
            Some(next) => {
                !CONNECTED.is_match(&between)
                    || (LISTED_ON.is_match(&text[candidate.at.end..next.at.start]) && !is_count(text, next))
            }
        };
        // What is not known to belong to a score may be its denial in another language: "Score: nicht 8", "Score: 8 wäre zu viel".
        let behind = &text[candidate.at.end..];
        let foreign = !(CONNECTED.is_match(&between) || LEADS_ON.is_match(&between))
            || (FOLLOWED.is_match(behind) && !GOES_ON.is_match(behind))
            || !leaves_it(behind);
        let clause = format!("{}{between}", clause_before(text, whole.start));
        let name_text = text[whole.clone()].to_lowercase();
        let final_one = matches!(qualifier.as_str(), "final" | "overall" | "total");
        let near = clause_before(text, candidate.at.start);
        let near = &near[near.len().saturating_sub(candidate.at.start - whole.end)..];
        let bounded = BOUNDED.is_match(near)
            || DENIED.is_match(near)
            || NO_SCORE.is_match(&between)
            || TAKEN_BACK.is_match(&text[candidate.at.end..]);
        // "The final score of the match is 3" may be about another.
        let elsewhere = final_one && !CONNECTED.is_match(&between);
        let reading =
            if several || bounded || elsewhere || foreign { Reading::Unclear } else { candidate.reading };
        let before = text[..whole.start].trim_end_matches([' ', '\t', '"', '\'', '#', '-', '>', '{']);
        let begins = before.is_empty() || before.ends_with(['\n', '.', '!', '?', ':', ',']);
        let rank = match qualifier.as_str() {
            // "I won't give it a 10" gives none.
            _ if DENIED.is_match(&clause)
                || DENIED.is_match(&name_text)
                || BOUNDED.is_match(clause_before(text, whole.start)) =>
            {
                0
            }
            "final" | "overall" | "total" => 3,
            _ if whole.len() > 7 && text[whole.clone()].to_lowercase().contains("overall") => 3,
            _ if several => 1,
            _ if name.get(2).is_some() && qualifier.is_empty() && begins => 2,
            _ => 1,
        };
        match found.iter_mut().find(|known| known.start == candidate.at.start) {
            Some(known) if known.rank >= rank || rank == 0 => {}
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
    let before = &text[..candidate.at.start];
    COUNTED.is_match(before)
        || ANSWERED.is_match(before)
        || (WORD.is_match(behind) && !NO_COUNT.is_match(behind))
}

/// What all of several readings say.
fn same(mut values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let first = values.next()??;
    values.all(|value| value == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests;
