//! Whether a number stands there whole. "5²", "7½", "1_0", "5..10" and "~~8~~" are no 5, 7, 1, 5 and 8, and no list has all that can be joined to a number: so this is an
//! allow rule of what may touch one. What else does makes the score unclear, and it is asked for again.

use super::regex;
use regex::Regex;
use std::sync::LazyLock;

/// What may stand directly before a number. (Letters and points are looked at elsewhere.)
static BEFORE: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?:^|[\s"'`:：=,;>|/<→+*#\\\-–—×·•\x{fe0f}\p{So}\p{Cf}\p{Ps}\p{Pi}\p{Pf}])$"#));
/// What may stand directly behind one. (So are letters.)
static BEHIND: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?x)^(?:$ | [\s,;:!?%"'`|/<>=+*×·•\\\-–—→，。、；：！？\x{fe0f}\x{20e3}\p{So}\p{Cf}\p{L}\p{Ps}\p{Pe}\p{Pi}\p{Pf}]
            | \.(?:$|[^.]) | (?:\.{3,}|…)\s*(?:$|[^\d\s.]) )"#,
    )
});
/// What makes a number of two: "5 1/2", "7 ½", "7'5", "5 and a half".
static GOES_ON: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)^(?: [\x20\t\u{a0}]* \p{N} | ['’]\d
            | [\x20\t]* (?:and\s+)? (?:an?\s+|one\s+|three\s+)? (?:half|halves|thirds?|quarters?)\b )",
    )
});
/// What makes of a number a name, of a scale's end or of what is scored: "[1, 10]: 7", "7:10".
static NAMES: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*[\])}]*\s*[:=]\s*[-+]?\d"));
/// The end of another scale, behind words that have no number.
static OUT_OF: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?i)^[^\d.!?;\n]{0,40}?\bout\s+of\s+(?:(?:a|the|maximum|max|possible|total|of)\s+)*(NUMBER)")
});
/// A third part: "4/5/10".
static THIRD: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*/\s*\d"));
/// A place in an order that is said of something: "the 3rd step".
static ORDINAL: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)^(?:st|nd|rd|th)\s+(\p{L}+)"));

/// Whether a number, or a share where it `is_share`, stands whole between what is before and behind it, on a scale up to `top`.
pub fn stands_whole(before: &str, behind: &str, is_share: bool, top: f64) -> bool {
    let other_end = || {
        let end = OUT_OF.captures(behind).map(|found| value(&found[1]));
        top.is_finite() && end.is_some_and(|end| end != Some(top))
    };
    let of_more = match is_share {
        true => THIRD.is_match(behind),
        false => NAMES.is_match(behind) || other_end(),
    };
    BEFORE.is_match(before) && BEHIND.is_match(behind) && !GOES_ON.is_match(behind) && !of_more
}

/// Whether what a number is the beginning of is said of something, and not in the number's place.
pub fn orders(behind: &str) -> bool {
    let of = ORDINAL.captures(behind).map(|found| found[1].to_lowercase());
    of.is_some_and(|word| !["of", "out", "place", "from", "in", "and", "or"].contains(&word.as_str()))
}

/// The value of a number; none where its commas are neither a decimal's nor of thousands.
pub fn value(number: &str) -> Option<f64> {
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
