//! What stands around a number that a judge may mean as its score. The lists are English: what they lack makes a score unclear, never another one.

use super::regex;
use regex::Regex;
use std::sync::LazyLock;

/// How what stands between a name and its number ends.
pub static LEADS_ON: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)(?:^|[\p{P}\p{S}]|\b(?:is|was|of|be|an?|at|as|to|it|this|that|the|its|only|just|around|about|out|points?|score|here|and|get|gets
            |solid|clear|full|perfect|low|high|strong|weak|fair|good|bad|generous|me|you))\s*$",
    )
});
/// What stands between two numbers of which each is a score of something: "8 for style, 3 for depth"; "8, depth: 3".
pub static LISTED_ON: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)^ \s* (?: (?:\(|\b(?:for|on|in)\b) [\p{L}\s]{1,40} \)? )? \s* (?:[,;&|]|\band\b) \s*
            (?:(?:and|for|on|in)\b\s*)? (?:[\p{L}]+\s*){0,3} (?:\b(?:is|gets)\b|[:=(-])? \s* $",
    )
});
/// What a sentence goes on with behind a score: words that are known to leave it what it is.
pub static GOES_ON: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)^\s*(?:points?|pts|stars?|out|of|because|since|as|for|and|but|or|if|is|was|would|with|overall|here|given|on|it|the|in|so|too
            |seems?|from|to|at|by|due|although|though|while|which|when|where|even|despite|that|this|all|my|we|i|they|he|she|not|no|after
            |before|a|an|its|their|his|her|only|unless|maybe|perhaps|minus|plus|times|x|max|maximum|total|rather|without|owing|thanks
            |reflecting|based|considering|has|have|had|instead|then|there|now|until|than)\b",
    )
});
/// That there is no score, or in brackets one that something else would have, in front of a number.
pub static NO_SCORE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)\b(?:none|null|nil|n/?a|tbd|unrated|unscored|pending|unknown)\b|[(\[][^()\[\]]*\b(?:would|could|might|should)\b[^()\[\]]*$",
    )
});
/// A sum that the number behind its sign says.
pub static ADDED_UP: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?i)^\s*(?:[-+×*]|x|plus|minus|times)\s*\d+(?:[.,]\d+)?\s*=\s*\d"));
/// A value behind an equals sign.
pub static WORKED_OUT: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*=\s*[\d.]"));
/// A word behind a number, on its line.
pub static FOLLOWED: LazyLock<Regex> = LazyLock::new(|| regex(r"^[\x20\t]+\p{L}"));
/// An answer's number, which is no score's.
pub static ANSWERED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)\b(?:answers?|results?|reference|equals|gold|solution|says|said|got|gets\s+the\s+answer)\b[^.!?\n\d]{0,20}$",
    )
});
