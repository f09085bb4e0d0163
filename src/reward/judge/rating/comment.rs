//! What a judge says behind its score, on the line of the score.
//!
//! "Score: 8, das wäre zu viel" gives no 8, and no list has the denials of all languages. So this is an allow rule: signs, markup, units, further
//! members of a JSON object and what is known to be English may stand there. Anything else makes the score unclear, and it is asked for again.

use super::regex;
use regex::Regex;
use std::sync::LazyLock;

/// Words of English that hardly any other language writes so: one of them says that the comment is English.
const ENGLISH: &str = "about although and answer answered answers assumption because before being better both calculation cannot careful clarity clear \
    clearer clearly confidence correctly could couldn deducted despite detailed did didn does doesn done each enough errors every \
    excellently explained explaining explains explanation few flaw flawed flaws follows from fully given gives good great hasn helpful \
    helpfulness how however incorrectly instead into isn lacking length less little logical logically mainly makes many misses missing \
    mistake mistakes mostly much nearly needed needs nicely none nothing only other otherwise partially partly perfectly poor poorly \
    rather reached reason reasonable reasoning reasons right should shouldn shown since skips slightly sloppy states steps strong that \
    the their there they this thorough those though too unclear very wasn weak well what when where which while with within would \
    wrong";
/// Words that other languages have too, or that are names of units: a comment of nothing else denies no score.
const KNOWN: &str = "all an any are argument as at best but by complete concise conclusion correct detail details end excellent final fine for full has \
    here high in incomplete incorrect is issues it its job just lack lacks long low made max maximum medium minus more nice not of on \
    or out overall perfect point points possible pts quite range rating scale score scores short shows so solid some sound star stars step than \
    these to total was work";
/// Tags and marks around or behind a score.
static MARKUP: LazyLock<Regex> = LazyLock::new(|| regex(r"</?[^<>\n]*>|\[/?\p{L}+\]"));
/// The rest of a JSON object.
static MEMBERS: LazyLock<Regex> = LazyLock::new(|| regex(r#"^["']?\s*(?:\}|,\s*["'][^"'\n]*["']\s*:)"#));
/// That another score was meant.
static HYPOTHETICAL: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)^ [\s\p{P}]* (?:\p{L}+\s+){0,3}?
        (?: (?:would|might|could|may) \s+ (?:not\s+)? (?:be|have\s+been|seem) \s+ (?:\p{L}+\s+){0,2}?
            (?: too \s+ (?:much|many|high|low|good|bad) | wrong | excessive | over(?:ly|rated|stated|done) )
          | (?: be | been | is | was | seems? | feels ) \s+ (?:\p{L}+\s+){0,2}? (?: generous | lenient | harsh | strict | kind | unfair ) ) \b",
    )
});

/// Whether what stands behind a score leaves it the score.
pub fn leaves_it(behind: &str) -> bool {
    if MEMBERS.is_match(behind) {
        return true;
    }
    // A table's next cell is another's.
    let line = behind.lines().next().unwrap_or_default().split('|').next().unwrap_or_default();
    let line = MARKUP.replace_all(line, " ").to_lowercase();
    // A single letter of English is an article or a list's.
    let words = || line.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 1);
    !HYPOTHETICAL.is_match(&line)
        && (words().any(|word| listed(ENGLISH, word)) || words().all(|word| listed(KNOWN, word)))
}

fn listed(words: &str, word: &str) -> bool {
    words.split(' ').any(|known| known == word)
}
