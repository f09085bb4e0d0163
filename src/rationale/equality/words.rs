//! What words beside a value say: that it is one of several, that it is not meant, what it is multiplied by, or only its unit.

use super::units::Unit;

/// Functions that stand in front of what they are of.
pub const FUNCTIONS: [&str; 26] = [
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log",
    "exp", "sqrt", "gcd", "lcm", "max", "min", "det", "lim", "arg", "floor", "ceil", "mod", "cbrt",
];

/// Names of Greek letters.
pub const GREEK: [&str; 23] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
];

/// The letter that a LaTeX command names; π is a constant, not a letter.
pub fn greek(name: &str) -> Option<&'static str> {
    let name = match name {
        "varepsilon" => "epsilon",
        "vartheta" => "theta",
        "varphi" => "phi",
        "pi" => return None,
        _ => name,
    };
    GREEK.iter().find(|known| **known == name).copied()
}

const UNITS: [&str; 67] = [
    "db", "ev", "sq", "cu", "pc", "mm", "cm", "dm", "km", "nm", "mi", "ft", "in", "yd", "yds", "kg", "mg",
    "lb", "lbs", "oz", "ml", "cl", "dl", "kl", "gal", "qt", "pt", "hr", "hrs", "min", "mins", "sec", "secs",
    "ms", "ns", "kj", "kw", "kwh", "mw", "hz", "khz", "mhz", "ghz", "kb", "mb", "gb", "tb", "pa", "kpa",
    "mph", "kph", "kmh", "rpm", "bps", "usd", "eur", "gbp", "inr", "cad", "aud", "jpy", "cents", "km²", "am",
    "pm", "ha", "mol",
];

/// Letters that are units where they stand apart behind a number.
pub const LETTER_UNITS: [&str; 12] = ["m", "g", "s", "h", "L", "l", "J", "N", "W", "V", "A", "Ω"];

/// Whether it is an abbreviation of something that is counted or measured.
pub fn sign(word: &str) -> bool {
    UNITS.contains(&word)
}

/// Whether letters right behind digits are a unit or an ordinal's ending, not variables.
pub fn after_digits(word: &str) -> bool {
    UNITS.contains(&word)
        || scale(word).is_some()
        || matches!(word, "st" | "nd" | "rd" | "th" | "percent" | "ish" | "inches" | "feet")
        || (word.len() > 4 && Unit::named(word).is_some())
}

/// Whether two letters are a word of English or a unit, not two variables.
pub fn short(word: &str) -> bool {
    const WORDS: [&str; 34] = [
        "is", "of", "to", "at", "as", "on", "we", "it", "so", "by", "an", "or", "if", "no", "he", "my", "me",
        "us", "be", "do", "up", "go", "st", "dr", "mr", "ms", "vs", "ok", "rs", "nd", "rd", "th", "hi", "oh",
    ];
    WORDS.contains(&word) || UNITS.contains(&word)
}

/// What a scale word multiplies by, as a power of ten; a dozen is none.
pub fn scale(word: &str) -> Option<u32> {
    Some(match word {
        "hundred" => 2,
        "thousand" => 3,
        "million" | "millions" | "mn" => 6,
        "billion" | "billions" | "bn" => 9,
        "trillion" | "trillions" | "tn" => 12,
        _ => return None,
    })
}

/// A number's name up to ninety.
pub fn number(word: &str) -> Option<u64> {
    const NAMES: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let small = NAMES.iter().position(|name| *name == word).map(|at| at as u64);
    small.or_else(|| TENS.iter().position(|name| *name == word).map(|at| 10 * (at as u64 + 2)))
}

/// Whether it is a currency, which stands before its amount.
pub fn currency(word: &str) -> bool {
    matches!(
        word,
        "$" | "usd"
            | "eur"
            | "gbp"
            | "inr"
            | "rs"
            | "us"
            | "€"
            | "£"
            | "¥"
            | "₹"
            | "₩"
            | "₽"
            | "¢"
            | "₦"
            | "₱"
    )
}
