//! How signs, digits and formatting are spelled in LaTeX, Markdown, HTML and Unicode.

use super::words;
use std::borrow::Cow;

/// Commands whose argument is prose.
pub const PROSE: [&str; 13] = [
    "text",
    "textbf",
    "textit",
    "textrm",
    "textsf",
    "texttt",
    "textnormal",
    "mathrm",
    "mbox",
    "hbox",
    "emph",
    "operatorname",
    "textup",
];
/// Commands that change nothing but looks.
pub const LOOKS: [&str; 51] = [
    "tiny",
    "scriptsize",
    "footnotesize",
    "small",
    "normalsize",
    "large",
    "Large",
    "LARGE",
    "huge",
    "Huge",
    "ensuremath",
    "mathnormal",
    "smash",
    "mathstrut",
    "num",
    "checkmark",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "biggl",
    "biggr",
    "mathbf",
    "boldsymbol",
    "bm",
    "mathit",
    "mathsf",
    "mathcal",
    "mathbb",
    "displaystyle",
    "textstyle",
    "scriptstyle",
    "limits",
    "nolimits",
    "boxed",
    "fbox",
    "framebox",
    "bf",
    "rm",
    "it",
    "bold",
    "vec",
    "unit",
    "pmb",
    "middle",
    "tt",
    "underline",
];
pub const SPACES: [&str; 7] = ["quad", "qquad", "space", "enspace", "thinspace", "hfill", "par"];
pub const MARKS: [(&str, char); 63] = [
    ("cr", '⏎'),
    ("times", '*'),
    ("cdot", '*'),
    ("ast", '*'),
    ("div", '/'),
    ("pm", '±'),
    ("mp", '∓'),
    ("le", '≤'),
    ("leq", '≤'),
    ("leqslant", '≤'),
    ("ge", '≥'),
    ("geq", '≥'),
    ("geqslant", '≥'),
    ("lt", '<'),
    ("gt", '>'),
    ("ne", '≠'),
    ("neq", '≠'),
    ("approx", '≈'),
    ("simeq", '≈'),
    ("sim", '≈'),
    ("equiv", '≡'),
    ("in", '∈'),
    ("cup", '∪'),
    ("cap", '∩'),
    ("infty", '∞'),
    ("circ", '°'),
    ("degree", '°'),
    ("lvert", '|'),
    ("rvert", '|'),
    ("vert", '|'),
    ("mid", '|'),
    ("lbrace", '⦃'),
    ("rbrace", '⦄'),
    ("langle", '⟨'),
    ("rangle", '⟩'),
    ("colon", ':'),
    ("prime", '\''),
    ("lbrack", '['),
    ("rbrack", ']'),
    ("lparen", '('),
    ("rparen", ')'),
    ("ldots", '…'),
    ("dots", '…'),
    ("cdots", '…'),
    ("neg", '¬'),
    ("lnot", '¬'),
    ("to", '→'),
    ("rightarrow", '→'),
    ("Rightarrow", '→'),
    ("implies", '→'),
    ("setminus", '∖'),
    ("backslash", '∖'),
    ("emptyset", '∅'),
    ("varnothing", '∅'),
    ("land", '∧'),
    ("lor", '∨'),
    ("wedge", '∧'),
    ("vee", '∨'),
    ("notin", '∉'),
    ("nmid", '∤'),
    ("subset", '⊂'),
    ("propto", '∝'),
    ("perp", '⊥'),
];
/// Environments of lines of mathematics.
pub const LINES: [&str; 7] = ["aligned", "align", "gathered", "gather", "equation", "split", "center"];
pub const SUPERSCRIPTS: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";
pub const SUBSCRIPTS: &str = "₀₁₂₃₄₅₆₇₈₉";
pub const VULGAR: [(char, u8, u8); 15] = [
    ('½', 1, 2),
    ('⅓', 1, 3),
    ('⅔', 2, 3),
    ('¼', 1, 4),
    ('¾', 3, 4),
    ('⅕', 1, 5),
    ('⅖', 2, 5),
    ('⅗', 3, 5),
    ('⅘', 4, 5),
    ('⅙', 1, 6),
    ('⅚', 5, 6),
    ('⅛', 1, 8),
    ('⅜', 3, 8),
    ('⅝', 5, 8),
    ('⅞', 7, 8),
];
pub const TAGS: [&str; 14] =
    ["b", "i", "u", "em", "strong", "p", "br", "code", "span", "div", "mark", "answer", "tt", "center"];

/// What stands in the `\text{…}` that is all of a text, dollars, white space and a closing period around it aside.
pub fn all_prose(text: &str) -> Option<&str> {
    let dress = |c: char| c.is_whitespace() || "$.".contains(c);
    let mut inner = text.trim_matches(dress);
    for (open, close) in [("\\(", "\\)"), ("\\[", "\\]")] {
        let math = inner.strip_prefix(open).and_then(|inner| inner.strip_suffix(close));
        inner = math.map_or(inner, |inner| inner.trim_matches(dress));
    }
    let (name, rest) = inner.strip_prefix('\\')?.split_once('{')?;
    let name = name.trim_end();
    if !PROSE.contains(&name) || name == "operatorname" {
        return None;
    }
    let mut depth = 1_usize;
    let close = rest.bytes().position(|byte| {
        depth = depth + usize::from(byte == b'{') - usize::from(byte == b'}');
        depth == 0
    })?;
    // Dollars inside it are its own, and braces of a set are none.
    (close + 1 == rest.len() && !rest.contains("\\{") && !rest.contains("\\}")).then(|| &rest[..close])
}

/// A thousands separator at the start of `text`.
pub fn separator_at(text: &[char]) -> Option<&'static [char]> {
    const KNOWN: [&[char]; 14] = [
        &['{', ',', '}'],
        &[',', '\\', '!'],
        &['\\', ',', '\\', '!'],
        &['\\', ','],
        &['\\', '!'],
        &['\\', ';'],
        &['{', ',', '}', '\\', '!'],
        &[','],
        &['.'],
        &[' '],
        &['\u{202f}'],
        &['\u{2009}'],
        &['\u{a0}'],
        &['\''],
    ];
    KNOWN.into_iter().filter(|separator| text.starts_with(separator)).max_by_key(|separator| separator.len())
}

/// Whether a comma and digits follow, but not three: `,56` in `1.234,56`.
pub fn decimal_comma(text: &[char]) -> bool {
    let digits = text.iter().skip(1).take_while(|c| c.is_ascii_digit()).count();
    text.first() == Some(&',') && digits > 0 && digits != 3
}

/// A character's plain form: full-width ones, other scripts' digits, CJK punctuation.
pub fn half_width(c: char) -> char {
    let digit = |zero: u32| char::from_digit((c as u32 - zero) % 10, 10).unwrap_or(c);
    match c {
        '。' => '.',
        '、' => ',',
        '٠'..='٩' => digit(0x660),
        '۰'..='۹' => digit(0x6f0),
        '०'..='९' => digit(0x966),
        '𝟎'..='𝟿' => digit(0x1d7ce),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

/// Letters and the accents behind them as one character each, where there is one: "é" of "e" and U+0301.
pub fn composed(text: &str) -> Cow<'_, str> {
    const LETTERS: &str = "aeiouyncAEIOUYNC";
    const ACCENTS: [(char, &str); 6] = [
        ('\u{300}', "àèìòùỳǹ·ÀÈÌÒÙỲǸ·"),
        ('\u{301}', "áéíóúýńćÁÉÍÓÚÝŃĆ"),
        ('\u{302}', "âêîôûŷ·ĉÂÊÎÔÛŶ·Ĉ"),
        ('\u{303}', "ãẽĩõũỹñ·ÃẼĨÕŨỸÑ·"),
        ('\u{308}', "äëïöüÿ··ÄËÏÖÜŸ··"),
        ('\u{327}', "·ȩ····ņç·Ȩ····ŅÇ"),
    ];
    if !text.contains(|c: char| ACCENTS.iter().any(|(accent, _)| *accent == c)) {
        return Cow::Borrowed(text);
    }
    let mut found = String::with_capacity(text.len());
    for c in text.chars() {
        let letter =
            found.chars().next_back().and_then(|last| LETTERS.chars().position(|known| known == last));
        let row = ACCENTS.iter().find(|(accent, _)| *accent == c);
        match letter.zip(row).and_then(|(at, (_, row))| row.chars().nth(at)).filter(|one| *one != '·') {
            Some(one) => {
                found.pop();
                found.push(one);
            }
            None => found.push(c),
        }
    }
    Cow::Owned(found)
}

/// Zero-width characters, variation selectors, emoji, dingbats, bullets.
pub fn dressing(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{ad}' | '•' | '●'
        | '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' | '\u{2b50}'..='\u{2b55}' | '\u{20e3}')
}

pub fn greek(c: char) -> Option<&'static str> {
    if !('α'..='ω').contains(&c) {
        return None;
    }
    let at = "αβγδεζηθικλμνξπρστυφχψω".chars().position(|known| known == c)?;
    Some(words::GREEK[at])
}
