//! Numbers as people write them, compared exactly: `1,234`, `$12.50`, `3/4`, `-7`, `50%`, `1e3`.

use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// A rational number in lowest terms. Equal values compare equal however they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    numerator: i128,
    denominator: i128,
}

impl Number {
    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// Lowest terms, positive denominator; `None` for a zero denominator.
    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        let divisor = greatest_common_divisor(numerator, denominator)?;
        let sign = denominator.signum();
        Some(Self { numerator: sign * (numerator / divisor), denominator: sign * (denominator / divisor) })
    }

    /// The quotient; `None` by zero, and beyond 38 digits, as below.
    pub fn over(self, other: Self) -> Option<Self> {
        let numerator = self.numerator.checked_mul(other.denominator)?;
        Self::new(numerator, self.denominator.checked_mul(other.numerator)?)
    }

    /// The product.
    pub fn times(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator.checked_mul(other.numerator)?,
            self.denominator.checked_mul(other.denominator)?,
        )
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Self::new(left.checked_add(right)?, self.denominator.checked_mul(other.denominator)?)
    }

    /// The power, where it is rational: of whole exponents, and of those whose root comes out.
    pub fn power(self, exponent: Self) -> Option<Self> {
        let base = if exponent.whole() { self } else { self.root(exponent.denominator.into())? };
        let times = u32::try_from(exponent.numerator.unsigned_abs()).ok().filter(|times| *times < 1024)?;
        let raised = Self::new(base.numerator.checked_pow(times)?, base.denominator.checked_pow(times)?)?;
        if exponent.numerator < 0 { Self::from(1).over(raised) } else { Some(raised) }
    }

    /// The real root, where it is rational.
    pub fn root(self, index: Self) -> Option<Self> {
        let index =
            u32::try_from(index.numerator).ok().filter(|times| index.whole() && (2..128).contains(times))?;
        let sign = if self.numerator < 0 { -1 } else { 1 };
        if sign < 0 && index.is_multiple_of(2) {
            return None;
        }
        let of = |value: i128| {
            let near = (value as f64).powf(1.0 / f64::from(index)).round() as i128;
            (near - 1..=near + 1).find(|root| root.checked_pow(index) == Some(value))
        };
        Self::new(sign * of(self.numerator.checked_abs()?)?, of(self.denominator)?)
    }

    /// n! of a whole number.
    pub fn factorial(self) -> Option<Self> {
        let n = u32::try_from(self.numerator).ok().filter(|_| self.whole())?;
        (1..=n).try_fold(Self::from(1), |all, factor| all.times(i128::from(factor).into()))
    }

    /// n over k, of whole numbers.
    pub fn choose(self, k: Self) -> Option<Self> {
        let k = u32::try_from(k.numerator).ok().filter(|k| self.whole() && *k < 200)?;
        let step = |all: Self, i: u32| {
            let i = i128::from(i);
            all.times(self.plus(Self::from(-i))?)?.over(Self::from(i + 1))
        };
        (0..k).try_fold(Self::from(1), step)
    }

    /// The number less its sign.
    pub fn absolute(self) -> Self {
        Self { numerator: self.numerator.abs(), ..self }
    }

    /// The number with the other sign.
    pub fn negated(self) -> Self {
        Self { numerator: -self.numerator, ..self }
    }

    /// Whether it is a whole number.
    pub fn whole(self) -> bool {
        self.denominator == 1
    }

    /// The numerator in lowest terms, which has the sign.
    pub fn numerator(self) -> i128 {
        self.numerator
    }

    /// The denominator in lowest terms.
    pub fn denominator(self) -> i128 {
        self.denominator
    }
}

impl From<i128> for Number {
    fn from(whole: i128) -> Self {
        Self { numerator: whole, denominator: 1 }
    }
}

/// Reads a text that is a number and nothing else. Thousands separators, a currency sign, a percent or degree
/// sign, a closing period and LaTeX's `\$`, `\%`, `\,`, `{,}` are left out: `50%` reads as 50, since gold answers are
/// written with and without the sign. Fractions (`3/4`, `1 1/2`, `\frac{3}{4}`) and exponents are exact.
/// `None` for anything else, and beyond about 36 digits.
pub fn parse(text: &str) -> Option<Number> {
    let text = plain(text);
    let (negative, magnitude) = signed(&text);
    let magnitude = magnitude.trim_start_matches(['$', '€', '£', '¥']).trim_start();
    // "$-5" is written too, but "--5" is nothing.
    let (inner, magnitude) = if negative { (false, magnitude) } else { signed(magnitude) };
    let value = unsigned(magnitude.trim_end_matches(['%', '°', '€']).trim_end())?;
    Some(if negative || inner { value.negated() } else { value })
}

/// Whether both texts are numbers, of the same value.
///
/// ```
/// use rationale::rationale::number::equal;
/// assert!(equal("$1,234.50", "1234.5") && equal("3/4", "0.75") && !equal("1/3", "0.333"));
/// assert!(!equal("seven", "seven"));
/// ```
pub fn equal(a: &str, b: &str) -> bool {
    parse(a).is_some_and(|a| parse(b) == Some(a))
}

/// The number of a text that says one, as `72 clips`, `x = 5` and `5 million` do; `None` for `5 or 6`, `at least 5` and `\sqrt{5}`, whose
/// words and operators are part of what they say.
pub fn only(text: &str) -> Option<Number> {
    parse(text).or_else(|| super::equality::only_number(text))
}

/// The byte ranges of all numbers in a text, in order, sign and currency included.
pub fn spans(text: &str) -> impl Iterator<Item = Range<usize>> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        let digits = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+";
        let number = format!(r"[-−+]?[$€£]?[-−]?(?:{digits})(?:[eE][-+]?\d+)?(?:/\d+)?%?");
        Regex::new(&number).expect("a literal")
    });
    NUMBER.find_iter(text).map(|found| {
        // In "10-3" the dash subtracts; it is no sign of 3.
        let subtracts = text[..found.start()].ends_with(|c: char| c.is_alphanumeric() || c == ')');
        let sign = found.as_str().chars().next().filter(|c| "-−+".contains(*c));
        found.start() + sign.filter(|_| subtracts).map_or(0, char::len_utf8)..found.end()
    })
}

/// Without LaTeX's escapes and spaces, surrounding `$` or a closing period.
fn plain(text: &str) -> String {
    let text =
        text.replace("\\$", "$").replace("\\%", "%").replace("\\,", "").replace("{,}", ",").replace('−', "-");
    let text = text.trim().trim_end_matches('.').trim();
    text.strip_prefix('$').and_then(|text| text.strip_suffix('$')).unwrap_or(text).trim().to_owned()
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn unsigned(text: &str) -> Option<Number> {
    if let Some(fraction) = latex_fraction(text) {
        return fraction;
    }
    let Some((left, below)) = text.split_once('/') else { return decimal(text) };
    let (whole, above) = match left.trim().rsplit_once(' ') {
        Some((whole, above)) => (integer(whole)?, integer(above)?),
        None => return decimal(left.trim())?.over(decimal(below.trim())?),
    };
    whole.plus(above.over(integer(below.trim())?)?)
}

/// `\frac{a}{b}`, `\dfrac{a}{b}`, `\tfrac{a}{b}`; the outer `None` means that the text is no such thing.
fn latex_fraction(text: &str) -> Option<Option<Number>> {
    let text = ["\\frac{", "\\dfrac{", "\\tfrac{"].iter().find_map(|start| text.strip_prefix(start))?;
    let (above, below) = text.strip_suffix('}')?.split_once("}{")?;
    let fraction = || parse(above)?.over(parse(below)?);
    Some(fraction())
}

fn integer(text: &str) -> Option<Number> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| decimal(text)).flatten()
}

/// Digits with thousands separators in their places, an optional fraction, an optional exponent.
fn decimal(text: &str) -> Option<Number> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = ungrouped(whole)? + fraction;
    let written = mantissa.len() > whole.len() + 1 || !whole.is_empty();
    if !written || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    scaled(&digits, exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?)
}

/// `digits` · 10^`power`, exactly.
fn scaled(digits: &str, power: i32) -> Option<Number> {
    let significant = digits.trim_start_matches('0');
    let kept = significant.trim_end_matches('0');
    let power = power.checked_add(i32::try_from(significant.len() - kept.len()).ok()?)?;
    if kept.is_empty() {
        return Number::new(0, 1);
    }
    let mantissa: i128 = kept.parse().ok()?;
    let scale = 10_i128.checked_pow(power.unsigned_abs())?;
    if power >= 0 { Number::new(mantissa.checked_mul(scale)?, 1) } else { Number::new(mantissa, scale) }
}

/// The digits of `1,234,567`; `None` where a group between commas is not three digits long.
fn ungrouped(whole: &str) -> Option<String> {
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or("");
    let grouped = whole.contains(',');
    if grouped && (first.is_empty() || first.len() > 3 || groups.any(|group| group.len() != 3)) {
        return None;
    }
    Some(whole.replace(',', ""))
}

fn greatest_common_divisor(a: i128, b: i128) -> Option<i128> {
    let (mut a, mut b) = (a.checked_abs()?, b.checked_abs().filter(|b| *b != 0)?);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    Some(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_are_equal_however_written() {
        let same = [
            ("72", "72.00"),
            ("1,234", "1234"),
            ("$12.50", "12.5"),
            ("-$5", "$-5"),
            ("−7", "-7.0"),
            ("50%", "50"),
            ("50\\%", "50%"),
            ("1e3", "1,000"),
            ("1.5E-3", "0.0015"),
            ("3/4", ".75"),
            ("6/8", "\\frac{3}{4}"),
            ("\\dfrac{-1}{2}", "-.5"),
            ("1 1/2", "1.5"),
            ("-1 1/2", "-1.5"),
            ("$72$", "72."),
            ("\\$1{,}234", "1234"),
            ("+3", "3"),
            ("0", "-0.000"),
            ("0007", "7"),
            ("10.50/2", "5.25"),
            ("100000000000000000000000000000001", "100000000000000000000000000000001.0"),
            ("1e30", "1000000000000000000000000000000"),
            ("12 %", "12"),
        ];
        for (a, b) in same {
            assert!(equal(a, b), "{a} = {b}: {:?} {:?}", parse(a), parse(b));
        }
    }

    #[test]
    fn different_numbers_differ_exactly() {
        // 0.1 + 0.2 as a double is 0.30000000000000004; a comparison through doubles with a tolerance would pass.
        let different = [
            ("1/3", "0.333333333333333333"),
            ("0.3", "0.30000000000000004"),
            ("9007199254740993", "9007199254740992"),
            ("7", "-7"),
            ("1,234", "1.234"),
            ("50%", "0.5"),
        ];
        for (a, b) in different {
            assert!(parse(a).is_some() && parse(b).is_some() && !equal(a, b), "{a} ≠ {b}");
        }
    }

    #[test]
    fn junk_is_no_number_and_never_panics() {
        let junk = [
            "",
            " ",
            "-",
            "--5",
            "$",
            "%",
            ".",
            "-.",
            "/",
            "1/",
            "/2",
            "1/0",
            "0/0",
            "1,23",
            "12,34,567",
            ",123",
            "1..2",
            "1.2.3",
            "e5",
            "1e",
            "1e99999999999",
            "1e400",
            "1e-400",
            "NaN",
            "inf",
            "72 clips",
            "0x10",
            "½",
            "五",
            "1 2",
            "1/2/3",
            "\\frac{1}{0}",
            "\\frac{1}",
            "\\frac{}{}",
            "٣",
            "- -1",
            "1e-2147483648",
            "0.1e-2147483648",
            "\u{0}",
            "170141183460469231731687303715884105728",
            "1e38/1e-38",
        ];
        for text in junk {
            assert_eq!(parse(text), None, "{text:?}");
            assert!(!equal(text, text), "{text:?}");
        }
    }

    #[test]
    fn a_sole_number_is_found_among_words() {
        assert_eq!(only("72 clips"), parse("72"));
        assert_eq!(only("$18 a day."), parse("18"));
        assert_eq!(only("x = -3/4"), parse("-0.75"));
        assert_eq!(only("5 or 6"), None);
        assert_eq!(only("none"), None);
        assert_eq!(parse("2.5").map(Number::to_f64), Some(2.5));
    }
}
