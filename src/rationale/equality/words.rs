//! What words beside a value say: that it is one of several, that it is not meant, what it is multiplied by, or only its unit.

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

const UNITS: [&str; 65] = [
    "sq", "cu", "pc", "mm", "cm", "dm", "km", "nm", "mi", "ft", "in", "yd", "yds", "kg", "mg", "lb", "lbs",
    "oz", "ml", "cl", "dl", "kl", "gal", "qt", "pt", "hr", "hrs", "min", "mins", "sec", "secs", "ms", "ns",
    "kj", "kw", "kwh", "mw", "hz", "khz", "mhz", "ghz", "kb", "mb", "gb", "tb", "pa", "kpa", "mph", "kph",
    "kmh", "rpm", "bps", "usd", "eur", "gbp", "inr", "cad", "aud", "jpy", "cents", "km²", "am", "pm", "ha",
    "mol",
];

/// Letters that are units where they stand apart behind a number.
pub const LETTER_UNITS: [&str; 10] = ["m", "g", "s", "h", "L", "l", "J", "N", "W", "V"];

/// Whether letters right behind digits are a unit or an ordinal's ending, not variables.
pub fn after_digits(word: &str) -> bool {
    UNITS.contains(&word)
        || scale(word).is_some()
        || matches!(word, "st" | "nd" | "rd" | "th" | "percent" | "ish" | "inches" | "feet")
}

/// Whether two letters are a word of English or a unit, not two variables.
pub fn short(word: &str) -> bool {
    const WORDS: [&str; 34] = [
        "is", "of", "to", "at", "as", "on", "we", "it", "so", "by", "an", "or", "if", "no", "he", "my", "me",
        "us", "be", "do", "up", "go", "st", "dr", "mr", "ms", "vs", "ok", "rs", "nd", "rd", "th", "hi", "oh",
    ];
    WORDS.contains(&word) || UNITS.contains(&word)
}

/// Words that leave nothing of a value, wherever they stand: doubt, denial, conditions, operations in words.
pub fn spoils(word: &str) -> bool {
    const WORDS: [&str; 63] = [
        "unlike",
        "upward",
        "upwards",
        "onwards",
        "not",
        "no",
        "never",
        "neither",
        "nor",
        "none",
        "cannot",
        "except",
        "excluding",
        "either",
        "or",
        "maybe",
        "perhaps",
        "possibly",
        "might",
        "could",
        "may",
        "if",
        "unless",
        "wrong",
        "incorrect",
        "false",
        "undefined",
        "impossible",
        "unknown",
        "infinity",
        "infinite",
        "guess",
        "unsure",
        "uncertain",
        "alternatively",
        "squared",
        "cubed",
        "factorial",
        "half",
        "halves",
        "thirds",
        "fourths",
        "fifths",
        "sixths",
        "sevenths",
        "eighths",
        "ninths",
        "tenths",
        "hundredths",
        "thousandths",
        "least",
        "most",
        "ish",
        "reciprocal",
        "inverse",
        "opposite",
        "but",
        "rather",
        "instead",
        "power",
        "exponent",
        "non",
        "anything",
    ];
    WORDS.contains(&word) || word.ends_with("n't")
}

/// Words that make another value of the one that they stand right before.
pub fn spoils_next(word: &str) -> bool {
    const WORDS: [&str; 34] = [
        "less",
        "over",
        "under",
        "above",
        "below",
        "beyond",
        "exceeding",
        "exceeds",
        "nearly",
        "almost",
        "within",
        "until",
        "past",
        "square",
        "cube",
        "root",
        "double",
        "twice",
        "triple",
        "than",
        "before",
        "after",
        "outside",
        "up",
        "log",
        "function",
        "plus",
        "times",
        "step",
        "part",
        "minus",
        "negative",
        "exceed",
        "mod",
    ];
    WORDS.contains(&word)
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

/// Measures that exclude each other, by what they are in full; others say nothing.
pub fn measure(word: &str) -> Option<&'static str> {
    Some(match word {
        "mm" | "millimeter" | "millimeters" | "millimetres" => "mm",
        "cm" | "centimeter" | "centimeters" | "centimetres" | "centimetre" => "cm",
        "m" | "meter" | "meters" | "metre" | "metres" => "m",
        "km" | "kilometer" | "kilometers" | "kilometres" => "km",
        "ft" | "foot" | "feet" => "ft",
        "inch" | "inches" => "in",
        "yard" | "yards" | "yd" => "yd",
        "mile" | "miles" | "mi" => "mi",
        "g" | "gram" | "grams" => "g",
        "kg" | "kilogram" | "kilograms" => "kg",
        "pound" | "pounds" | "lb" | "lbs" => "lb",
        "ounce" | "ounces" | "oz" => "oz",
        "s" | "second" | "seconds" | "sec" => "s",
        "minute" | "minutes" | "min" | "mins" => "min",
        "h" | "hour" | "hours" | "hr" | "hrs" => "h",
        "day" | "days" => "day",
        "week" | "weeks" => "week",
        "month" | "months" => "month",
        "year" | "years" => "year",
        "am" => "am",
        "pm" => "pm",
        "cent" | "cents" | "¢" => "cent",
        "dollar" | "dollars" | "usd" => "dollar",
        _ => return None,
    })
}

/// Whether it is a currency, which stands before its amount.
pub fn currency(word: &str) -> bool {
    matches!(
        word,
        "usd" | "eur" | "gbp" | "inr" | "rs" | "us" | "€" | "£" | "¥" | "₹" | "₩" | "₽" | "¢" | "₦" | "₱"
    )
}
