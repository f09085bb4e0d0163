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

/// Whether it is an abbreviation of something that is counted or measured.
pub fn sign(word: &str) -> bool {
    UNITS.contains(&word)
}

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

/// Words that leave nothing of a value, wherever they stand: denial, doubt, conditions, what is untrue, and operations in words.
pub fn spoils(word: &str) -> bool {
    const WORDS: &[&str] = &[
        // Denial.
        "not",
        "no",
        "never",
        "neither",
        "nor",
        "none",
        "nobody",
        "nothing",
        "nowhere",
        "noone",
        "cannot",
        "without",
        "except",
        "excepting",
        "excluding",
        "besides",
        "non",
        "unlike",
        "hardly",
        "barely",
        "scarcely",
        "seldom",
        "rarely",
        "deny",
        "denies",
        "denied",
        "reject",
        "rejects",
        "rejected",
        "exclude",
        "excludes",
        "excluded",
        "discard",
        "discarded",
        "disregard",
        "ignore",
        "ignores",
        "ignoring",
        "forget",
        "avoid",
        "avoids",
        "eliminate",
        "eliminated",
        "ruled",
        "refuse",
        "refuses",
        "fail",
        "fails",
        "failed",
        "isnt",
        "arent",
        // Doubt and alternatives.
        "either",
        "or",
        "maybe",
        "perhaps",
        "possibly",
        "probably",
        "presumably",
        "supposedly",
        "allegedly",
        "seemingly",
        "might",
        "could",
        "may",
        "guess",
        "guessed",
        "guessing",
        "unsure",
        "uncertain",
        "unclear",
        "unlikely",
        "doubt",
        "doubts",
        "doubtful",
        "doubtfully",
        "questionable",
        "dubious",
        "debatable",
        "disputed",
        "disputable",
        "arguable",
        "arguably",
        "contested",
        "unknown",
        "alternatively",
        "but",
        "rather",
        "instead",
        "yet",
        "however",
        "though",
        "although",
        "otherwise",
        "anything",
        "whatever",
        // Conditions.
        "if",
        "unless",
        "whether",
        "assuming",
        "supposing",
        "provided",
        "hypothetically",
        // What is untrue.
        "wrong",
        "wrongly",
        "incorrect",
        "incorrectly",
        "false",
        "falsely",
        "untrue",
        "mistake",
        "mistaken",
        "mistakenly",
        "invalid",
        "invalidated",
        "erroneous",
        "erroneously",
        "error",
        "errors",
        "inaccurate",
        "bogus",
        "fake",
        "absurd",
        "nonsense",
        "impossible",
        "undefined",
        "flawed",
        "faulty",
        "refuted",
        "disproved",
        "contradiction",
        "misleading",
        "crossed",
        "struck",
        // Bounds.
        "least",
        "most",
        "upward",
        "upwards",
        "onwards",
        "exceed",
        "exceeds",
        "exceeding",
        "ish",
        "infinity",
        "infinite",
        "thereabouts",
        // Operations and shares.
        "squared",
        "cubed",
        "factorial",
        "half",
        "halves",
        "halved",
        "twice",
        "thrice",
        "double",
        "doubled",
        "triple",
        "tripled",
        "quadruple",
        "quadrupled",
        "reciprocal",
        "inverse",
        "inverted",
        "opposite",
        "negated",
        "negation",
        "negative",
        "complement",
        "power",
        "exponent",
        "modulo",
        "repeating",
        "recurring",
        "infinitum",
        "reversed",
        "quarter",
        "logarithm",
        "thirds",
        "fourths",
        "fifths",
        "sixths",
        "sevenths",
        "eighths",
        "ninths",
        "tenths",
        "twelfths",
        "hundredths",
        "thousandths",
        "millionths",
        // Amounts that a number would count.
        "lakh",
        "lakhs",
        "crore",
        "crores",
        "myriad",
        "gross",
        "grand",
        "googol",
        "quadrillion",
        "quintillion",
        "zillion",
        "gazillion",
        "mega",
        "hundred",
        "thousand",
        "million",
        "billion",
        "trillion",
        "hundreds",
        "thousands",
        "dozens",
        "dozen",
    ];
    WORDS.contains(&word) || word.ends_with("n't")
}

/// Words that deny or doubt what a clause goes on to say.
pub fn denies(word: &str) -> bool {
    const WORDS: &[&str] = &[
        "not",
        "never",
        "neither",
        "nor",
        "nobody",
        "nothing",
        "noone",
        "none",
        "cannot",
        "hardly",
        "unlikely",
        "impossible",
        "deny",
        "denies",
        "denied",
        "doubt",
        "doubts",
        "doubtful",
        "reject",
        "rejects",
        "false",
        "falsely",
        "wrong",
        "wrongly",
        "incorrect",
        "incorrectly",
        "untrue",
        "mistake",
        "mistaken",
        "mistakenly",
        "unsure",
        "uncertain",
        "unclear",
        "questionable",
        "invalid",
        "erroneous",
        "bogus",
        "absurd",
        "faulty",
        "flawed",
        "misleading",
        "maybe",
        "perhaps",
        "possibly",
        "whether",
        "refuses",
        "refuse",
        "error",
        "fake",
    ];
    WORDS.contains(&word) || word.ends_with("n't") || word.ends_with("n’t")
}

/// Operations and conditions that are about what their own clause says alone.
pub fn of_its_clause(word: &str) -> bool {
    matches!(
        word,
        "twice"
            | "half"
            | "double"
            | "triple"
            | "quarter"
            | "opposite"
            | "if"
            | "could"
            | "might"
            | "may"
            | "most"
            | "least"
            | "but"
            | "however"
            | "although"
            | "though"
            | "instead"
            | "no"
            | "not"
            | "without"
            | "some"
            | "power"
            | "negative"
            | "doubled"
            | "tripled"
            | "halved"
            | "thrice"
            | "quadrupled"
            | "excluding"
            | "except"
            | "rather"
            | "yet"
    ) || word.ends_with("n't")
}

/// Nouns that, counted, make another amount of a number (5 quarters, 5 pairs) or speak of its digits.
pub fn is_amount(word: &str) -> bool {
    const WORDS: &[&str] = &[
        "tens",
        "pairs",
        "couples",
        "trios",
        "scores",
        "quarters",
        "percentages",
        "percents",
        "digits",
        "zeros",
        "zeroes",
        "decimals",
        "figures",
        "places",
        "squares",
        "cubes",
        "powers",
        "exponents",
        "logs",
        "radicals",
        "minus",
        "plus",
        "divides",
        "equals",
        "means",
        "multiplies",
        "seems",
        "looks",
        "becomes",
        "works",
        "loses",
        "contradicts",
        "misses",
        "diverges",
        "converges",
        "vanishes",
        "differs",
        "exists",
        "holds",
        "follows",
        "applies",
        "counts",
        "wins",
        "breaks",
        "errs",
        "less",
        "versus",
        "permilles",
        "basis",
    ];
    WORDS.contains(&word) || spoils(word)
}

/// Words that say nothing of a value beside which they stand.
pub fn harmless(word: &str) -> bool {
    const WORDS: &[&str] = &[
        "the",
        "a",
        "an",
        "this",
        "that",
        "it",
        "its",
        "it's",
        "is",
        "are",
        "was",
        "were",
        "be",
        "will",
        "would",
        "so",
        "therefore",
        "thus",
        "hence",
        "then",
        "answer",
        "answers",
        "result",
        "results",
        "solution",
        "total",
        "final",
        "correct",
        "right",
        "required",
        "desired",
        "requested",
        "wanted",
        "asked",
        "value",
        "number",
        "amount",
        "sum",
        "overall",
        "in",
        "all",
        "altogether",
        "exactly",
        "precisely",
        "about",
        "approximately",
        "approx",
        "around",
        "roughly",
        "just",
        "only",
        "here",
        "there",
        "we",
        "i",
        "our",
        "my",
        "finally",
        "simplified",
        "form",
        "which",
        "who",
        "what",
        "of",
        "for",
        "to",
        "question",
        "problem",
        "and",
        "as",
        "well",
        "indeed",
        "also",
        "units",
        "unit",
        "i.e",
        "ie",
        "namely",
        "smallest",
        "largest",
        "greatest",
        "lowest",
        "highest",
        "minimum",
        "maximum",
    ];
    WORDS.contains(&word)
}

/// Words that stand directly before a number and leave it what it is, besides verbs.
pub fn leads(word: &str) -> bool {
    matches!(
        word,
        "answer"
            | "answers"
            | "result"
            | "total"
            | "therefore"
            | "thus"
            | "hence"
            | "so"
            | "then"
            | "that"
            | "finally"
            | "namely"
            | "equal"
            | "totaling"
            | "i"
            | "we"
            | "it"
            | "she"
            | "he"
            | "they"
    )
}

/// Words between a number and what leads to it.
pub fn near_number(word: &str) -> bool {
    matches!(
        word,
        "about"
            | "approximately"
            | "approx"
            | "around"
            | "roughly"
            | "exactly"
            | "precisely"
            | "only"
            | "just"
            | "the"
            | "a"
            | "an"
            | "these"
            | "those"
            | "his"
            | "her"
            | "their"
            | "its"
            | "our"
            | "my"
            | "your"
            | "us"
            | "now"
            | "also"
            | "still"
            | "therefore"
            | "thus"
            | "simply"
            | "indeed"
            | "altogether"
            | "another"
            | "all"
            | "both"
            | "him"
            | "them"
            | "me"
            | "you"
            | "it"
            | "each"
    )
}

/// Nouns whose "of" says how much: "a total of 5".
pub fn sizes(word: &str) -> bool {
    matches!(
        word,
        "total"
            | "totals"
            | "cost"
            | "costs"
            | "price"
            | "profit"
            | "amount"
            | "value"
            | "distance"
            | "length"
            | "height"
            | "width"
            | "weight"
            | "area"
            | "volume"
            | "age"
            | "speed"
            | "rate"
            | "salary"
            | "income"
            | "revenue"
            | "bill"
            | "discount"
            | "change"
            | "answer"
            | "result"
            | "population"
            | "temperature"
            | "perimeter"
            | "probability"
            | "loss"
            | "wage"
            | "budget"
            | "balance"
            | "savings"
            | "debt"
            | "average"
            | "capital"
            | "runtime"
            | "duration"
            | "score"
            | "gain"
            | "size"
            | "depth"
            | "fee"
            | "deposit"
            | "commission"
            | "count"
            | "expenditure"
            | "tax"
            | "tip"
            | "refund"
            | "payment"
    )
}

/// Words that, before a number, make it a bound, a part or another: no verbs and no names.
pub fn bounds(word: &str) -> bool {
    matches!(
        word,
        "than"
            | "of"
            | "from"
            | "by"
            | "over"
            | "under"
            | "above"
            | "below"
            | "beyond"
            | "within"
            | "nearly"
            | "almost"
            | "past"
            | "less"
            | "more"
            | "fewer"
            | "up"
            | "near"
            | "until"
            | "till"
            | "minimum"
            | "maximum"
            | "max"
            | "min"
            | "number"
            | "besides"
            | "outside"
            | "between"
            | "against"
            | "versus"
            | "minus"
            | "plus"
            | "times"
            | "every"
            | "other"
            | "save"
            | "sub"
            | "super"
            | "as"
            | "like"
            | "only"
            | "mere"
            | "per"
            | "after"
            | "before"
            | "and"
            | "root"
            | "square"
            | "cube"
            | "log"
            | "subtract"
            | "multiply"
            | "divide"
            | "step"
            | "part"
            | "first"
            | "last"
            | "next"
    )
}

/// Forms of "to be" and "equals".
pub fn copula(word: &str) -> bool {
    matches!(
        word,
        "is" | "are"
            | "was"
            | "were"
            | "be"
            | "been"
            | "equals"
            | "equal"
            | "becomes"
            | "it's"
            | "that's"
            | "there's"
            | "would"
            | "will"
    )
}

/// Verbs that a person or thing does to so many, in all forms; none that does something to the number.
pub fn verb(word: &str) -> bool {
    const BASES: &[&str] = &[
        "need", "want", "use", "earn", "cost", "pay", "receive", "collect", "contain", "weigh", "measure",
        "walk", "travel", "cover", "work", "sell", "buy", "make", "get", "give", "take", "eat", "drink",
        "read", "run", "total", "require", "produce", "bake", "cook", "pick", "plant", "grow", "score",
        "win", "lose", "play", "watch", "finish", "complete", "solve", "owe", "donate", "charge", "deliver",
        "drive", "ride", "fly", "swim", "jump", "hold", "carry", "load", "fill", "pour", "leave", "remain",
        "keep", "bring", "write", "draw", "paint", "build", "cut", "order", "purchase", "borrow", "lend",
        "invest", "deposit", "withdraw", "raise", "own", "see", "find", "meet", "invite", "visit", "teach",
        "catch", "send", "share", "consume", "burn", "spend", "sleep", "last", "yield", "become", "reach",
        "gain", "attend", "serve", "feed", "pack", "ship", "print", "type", "count", "hire", "employ",
        "obtain", "show", "gather", "harvest", "sew", "knit", "wash", "clean", "repair", "fix", "rent",
        "stay", "wait", "live", "climb", "hike", "bike", "have", "do", "put", "lay", "hit", "throw", "pass",
        "mow", "dig", "study", "include", "expect", "average", "remove", "exercise", "start", "publish",
        "split", "feature", "house", "enroll", "ship", "store", "stack", "place", "return", "lift", "milk",
        "fold", "iron", "bill", "go",
    ];
    const IRREGULAR: &[&str] = &[
        "has", "had", "having", "paid", "sold", "bought", "made", "making", "got", "gotten", "gave", "given",
        "took", "taken", "ate", "eaten", "drank", "drunk", "ran", "grew", "grown", "won", "lost", "drove",
        "driven", "rode", "ridden", "flew", "flown", "swam", "held", "left", "kept", "brought", "wrote",
        "written", "drew", "built", "lent", "withdrew", "saw", "seen", "found", "met", "taught", "caught",
        "saves", "saved", "saving", "sent", "spent", "slept", "became", "fed", "does", "did", "goes", "went",
        "threw", "dug", "laid", "must", "should", "can", "shall", "going",
    ];
    let base = |word: &str| BASES.contains(&word);
    let stem = |ending: &str| word.strip_suffix(ending);
    let doubled = |stem: &str| {
        let mut letters = stem.chars().rev();
        letters.next() == letters.next() && base(&stem[..stem.len() - 1])
    };
    base(word)
        || IRREGULAR.contains(&word)
        || ["s", "es", "ed", "d"].iter().any(|ending| stem(ending).is_some_and(base))
        || stem("ies").or_else(|| stem("ied")).is_some_and(|stem| base(&format!("{stem}y")))
        || stem("ing").is_some_and(|stem| base(stem) || base(&format!("{stem}e")))
        || ["ed", "ing"]
            .iter()
            .any(|ending| stem(ending).is_some_and(|stem| stem.is_ascii() && stem.len() > 2 && doubled(stem)))
}

/// What may follow a counted thing, or where `bare` the number itself.
pub fn trails(word: &str, bare: bool) -> bool {
    let always = matches!(
        word,
        "left"
            | "remaining"
            | "remain"
            | "remains"
            | "total"
            | "altogether"
            | "overall"
            | "each"
            | "daily"
            | "weekly"
            | "monthly"
            | "yearly"
            | "annually"
            | "exactly"
            | "approximately"
            | "combined"
            | "all"
            | "only"
            | "now"
            | "today"
            | "also"
            | "profit"
            | "change"
    );
    let counted = matches!(
        word,
        "together"
            | "old"
            | "tall"
            | "long"
            | "wide"
            | "deep"
            | "high"
            | "thick"
            | "away"
            | "apart"
            | "ago"
            | "later"
            | "earlier"
            | "early"
            | "late"
            | "more"
            | "there"
            | "here"
            | "already"
            | "tomorrow"
            | "yesterday"
            | "tonight"
            | "worth"
            | "everyday"
            | "extra"
            | "again"
            | "successfully"
            | "respectively"
    );
    always || (counted && !bare)
}

/// Prepositions behind which stands where, when, of what or for whom.
pub fn preposition(word: &str, bare: bool) -> bool {
    let always =
        matches!(word, "of" | "in" | "for" | "on" | "per" | "during" | "every" | "each" | "a" | "an");
    let counted = matches!(
        word,
        "at" | "to"
            | "from"
            | "with"
            | "by"
            | "after"
            | "before"
            | "between"
            | "among"
            | "into"
            | "without"
            | "while"
            | "when"
            | "which"
            | "because"
            | "throughout"
            | "until"
            | "that"
            | "who"
            | "around"
    );
    always || (counted && !bare)
}

/// Whether it may be the name of things that are counted.
pub fn plural(word: &str) -> bool {
    const IRREGULAR: &[&str] = &[
        "people",
        "children",
        "men",
        "women",
        "feet",
        "mice",
        "geese",
        "teeth",
        "sheep",
        "fish",
        "deer",
        "dice",
        "oxen",
        "grandchildren",
        "salmon",
        "cattle",
        "police",
        "aircraft",
        "species",
        "series",
        "kids",
        "cacti",
        "criteria",
        "bacteria",
        "vertices",
        "vertex",
        "candy",
        "homework",
        "trout",
        "shrimp",
        "firemen",
        "policemen",
        "freshmen",
        "fishermen",
        "salespeople",
        "townspeople",
    ];
    let ends = word.strip_suffix('s').is_some_and(|stem| stem.len() > 1 && !stem.ends_with(['s', 'u', 'i']));
    IRREGULAR.contains(&word) || ends
}

/// The denominator that a fraction's noun names: thirds, quarters.
pub fn share(word: &str) -> Option<u64> {
    const ORDINALS: [&str; 11] = [
        "half", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
        "twelfth",
    ];
    match word {
        "quarter" | "quarters" => return Some(4),
        "halves" => return Some(2),
        "hundredth" | "hundredths" => return Some(100),
        _ => {}
    }
    let stem = word.strip_suffix('s').unwrap_or(word);
    ORDINALS.iter().position(|known| *known == stem).map(|at| at as u64 + 2)
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
