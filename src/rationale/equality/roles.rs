//! What the words beside a value do: deny or doubt it, change it, lead to it, count or place what is counted, or nothing.

use std::collections::HashSet;
use std::sync::LazyLock;

fn set(words: &'static str) -> HashSet<&'static str> {
    words.split(' ').collect()
}

/// Words that leave nothing of a value, wherever they stand: denial, doubt, conditions, what is untrue, and operations in words.
pub fn spoils(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "not no never neither nor none nobody nothing nowhere noone cannot without except excepting excluding besides non \
            unlike hardly barely scarcely seldom rarely deny denies denied reject rejects rejected exclude excludes excluded \
            discard discarded disregard ignore ignores ignoring forget avoid avoids eliminate eliminated ruled refuse refuses fail \
            fails failed isnt arent either or maybe perhaps possibly probably presumably supposedly allegedly seemingly might \
            could may guess guessed guessing unsure uncertain unclear unlikely doubt doubts doubtful doubtfully questionable \
            dubious debatable disputed disputable arguable arguably contested unknown alternatively but rather instead yet however \
            though although otherwise anything whatever if unless whether assuming supposing provided hypothetically wrong wrongly \
            incorrect incorrectly false falsely untrue mistake mistaken mistakenly invalid invalidated erroneous erroneously error \
            errors inaccurate bogus fake absurd nonsense impossible undefined flawed faulty refuted disproved contradiction \
            misleading crossed struck least most upward upwards onwards exceed exceeds exceeding ish infinity infinite thereabouts \
            squared cubed factorial half halves halved twice thrice double doubled triple tripled quadruple quadrupled reciprocal \
            inverse inverted opposite negated negation negative complement power exponent modulo repeating recurring infinitum \
            reversed quarter logarithm thirds fourths fifths sixths sevenths eighths ninths tenths twelfths hundredths thousandths \
            millionths lakh lakhs crore crores mil mille mila millón millon millones milhão milhao milhões milhoes milliard \
            milliards milliarde milliarden millionen milione milioni miliardo miliardi mio mrd tausend myriad gross grand googol quadrillion quintillion zillion gazillion mega hundred \
            thousand million billion trillion hundreds thousands dozens dozen myriads googols doublings halvings",
        )
    });
    WORDS.contains(word) || word.ends_with("n't") || word.trim_end_matches('s').ends_with("illion")
}

/// Words that deny or doubt what a clause goes on to say.
pub fn denies(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "not never neither nor nobody nothing noone none cannot hardly unlikely impossible deny denies denied doubt doubts \
            doubtful reject rejects false falsely wrong wrongly incorrect incorrectly untrue mistake mistaken mistakenly unsure \
            uncertain unclear questionable invalid erroneous bogus absurd faulty flawed misleading maybe perhaps possibly whether \
            refuses refuse error fake",
        )
    });
    WORDS.contains(word) || word.ends_with("n't") || word.ends_with("n’t")
}

/// Of the words that spoil a value those that take back no "yes" in whose explanation they stand: amounts, what may be, what is set against it.
pub fn explains(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "could may might but however though although yet without least most half halves halved twice thrice double doubled \
            triple tripled quadruple quarter thirds hundred thousand million billion trillion hundreds thousands dozens dozen \
            exceed exceeds exceeding infinite power error errors squared upward upwards onwards grand gross opposite",
        )
    });
    WORDS.contains(word) || word.trim_end_matches('s').ends_with("illion")
}

/// Operations and conditions that are about what their own clause says alone.
pub fn of_its_clause(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "twice half double triple quarter opposite if could might may most least but however although though instead no not \
            without some power negative doubled tripled halved thrice quadrupled excluding except rather yet",
        )
    });
    WORDS.contains(word) || word.ends_with("n't")
}

/// Nouns that, counted, make another amount of a number (5 quarters, 5 pairs) or speak of its digits.
pub fn is_amount(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "twos threes fours fives sixes sevens eights nines elevens twelves twenties tens pairs couples trios scores quarters percentages percents digits zeros zeroes decimals figures places squares \
            cubes powers exponents logs radicals minus plus divides equals means multiplies seems looks becomes works loses \
            contradicts misses diverges converges vanishes differs exists holds follows applies counts wins breaks errs less \
            versus permilles basis",
        )
    });
    WORDS.contains(word) || spoils(word)
}

/// Words that say nothing of a value beside which they stand.
pub fn harmless(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "the a an this that it its it's is are was were be will would so therefore thus hence then answer answers result \
            results solution total final correct right required desired requested wanted asked value number amount sum overall in \
            all altogether exactly precisely about approximately approx ca around roughly just only here there we i our my finally \
            simplified form which who what of for to question problem and as well indeed also units unit i.e ie namely smallest \
            largest greatest lowest highest minimum maximum",
        )
    });
    WORDS.contains(word)
}

/// Words that stand directly before a number and leave it what it is, besides verbs.
pub fn leads(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "answer answers result total therefore thus hence so then that finally namely equal totaling i we it she he they",
        )
    });
    WORDS.contains(word)
}

/// Words between a number and what leads to it.
pub fn near_number(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "about approximately approx ca around roughly exactly precisely only just the a an these those his her their its our my \
            your us now also still therefore thus simply indeed altogether another all both him them me you it each",
        )
    });
    WORDS.contains(word)
}

/// Nouns whose "of" says how much: "a total of 5".
pub fn sizes(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "total totals cost costs price profit amount value distance length height width weight area volume age speed rate \
            salary income revenue bill discount change answer result population temperature perimeter probability loss wage budget \
            balance savings debt average capital runtime duration score gain size depth fee deposit commission count expenditure \
            tax tip refund payment",
        )
    });
    WORDS.contains(word)
}

/// Words that, before a number, make it a bound, a part or another: no verbs and no names.
pub fn bounds(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "than of from by over under above below beyond within nearly almost past less more fewer up near until till minimum \
            maximum max min number besides outside between against versus minus plus times every other save sub super as like only \
            mere per after before and root square cube log subtract multiply divide step part first last next",
        )
    });
    WORDS.contains(word)
}

/// Forms of "to be" and "equals".
pub fn copula(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> =
        LazyLock::new(|| set("is are was were be been equals equal becomes it's that's there's would will"));
    WORDS.contains(word)
}

/// Verbs that a person or thing does to so many, in all forms; none that does something to the number.
pub fn verb(word: &str) -> bool {
    static BASES: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "need want use earn cost pay receive collect contain weigh measure walk travel cover work sell buy make get give take \
            eat drink read run total require produce bake cook pick plant grow score win lose play watch finish complete solve owe \
            donate charge deliver drive ride fly swim jump hold carry load fill pour leave remain keep bring write draw paint \
            build cut order purchase borrow lend invest deposit withdraw raise own see find meet invite visit teach catch send \
            share consume burn spend sleep last yield become reach gain attend serve feed pack ship print type count hire employ \
            obtain show gather harvest sew knit wash clean repair fix rent stay wait live climb hike bike have do put lay hit \
            throw pass mow dig study include expect average remove exercise start publish split feature house enroll store stack \
            place return lift milk fold iron bill go",
        )
    });
    static IRREGULAR: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "has had having paid sold bought made making got gotten gave given took taken ate eaten drank drunk ran grew grown won \
            lost drove driven rode ridden flew flown swam held left kept brought wrote written drew built lent withdrew saw seen \
            found met taught caught saves saved saving sent spent slept became fed does did goes went threw dug laid must should \
            can shall going",
        )
    });
    let base = |word: &str| BASES.contains(word);
    let stem = |ending: &str| word.strip_suffix(ending);
    let doubled = |stem: &str| {
        let mut letters = stem.chars().rev();
        letters.next() == letters.next() && base(&stem[..stem.len() - 1])
    };
    base(word)
        || IRREGULAR.contains(word)
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
    static IRREGULAR: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "people children men women feet mice geese teeth sheep fish deer dice oxen grandchildren salmon cattle police aircraft \
            species series kids cacti criteria bacteria vertices vertex candy homework trout shrimp firemen policemen freshmen \
            fishermen salespeople townspeople",
        )
    });
    let ends = word.strip_suffix('s').is_some_and(|stem| stem.len() > 1 && !stem.ends_with(['s', 'u', 'i']));
    IRREGULAR.contains(word) || (ends && !verb_alone(word))
}

/// Verbs in the third person that name nothing that is counted, though they end as plurals do: "5 collapses" is no five of something.
fn verb_alone(word: &str) -> bool {
    static FORMS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        set(
            "equals becomes remains seems appears fails collapses goes does has gives takes makes gets comes keeps says tells knows \
            thinks believes contains consists includes involves exceeds surpasses satisfies divides multiplies subtracts adds differs \
            agrees disagrees depends follows proves implies means requires loses earns pays eats buys sells sends spends brings begins \
            finishes continues ceases vanishes disappears diverges converges shrinks grows explodes crumbles decays dies exists occurs \
            happens arises produces describes denotes represents refers belongs sits sleeps sings speaks writes sees hears feels \
            arrives departs enters enjoys hates prefers helps lets allows prevents avoids ignores forgets remembers suggests assumes \
            supposes argues asserts denies refutes contradicts explains solves asks applies provides receives accepts rejects refuses \
            obtains achieves tends varies oscillates cancels evaluates simplifies reduces expands suffices persists survives dominates \
            governs lacks misses deserves seeks waits expects hopes wonders decides chooses compares corresponds \
            coincides overflows exaggerates overestimates underestimates approximates violates \
            destroys spoils invalidates disproves misleads deceives disappoints confuses",
        )
    });
    FORMS.contains(word) || word.ends_with("ifies")
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

/// Whether it names a part of one: a third, twentieths, millionths. With another noun behind it, as of third graders, it does not.
pub fn part(word: &str) -> bool {
    let stem = word.strip_suffix('s').unwrap_or(word);
    let ends = |ending: &&str| stem.ends_with(ending);
    share(word).is_some() || ["ieth", "eenth", "illionth", "hundredth", "thousandth"].iter().any(ends)
}
