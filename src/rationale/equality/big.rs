//! Whole numbers of any number of digits that a text can have: `10^{40}` is 1 and forty zeros, and `2^{200} + 1` no power of two.

use super::expression::Node;
use crate::rationale::number::Number;

/// What a part of a number holds.
const BASE: u64 = 1_000_000_000;
const DIGITS: usize = 9;
/// Parts of the longest number: more digits than an answer has.
const LONGEST: usize = 250;

/// A whole number: its sign, and its parts from the lowest on, the highest of which is not 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Big {
    negative: bool,
    parts: Vec<u64>,
}

/// The whole number that sums, products and powers of whole ones come to.
pub fn whole(node: &Node) -> Option<Big> {
    match node {
        Node::Number(number) if number.whole() => Some(Big::of(*number)),
        Node::Long(text) => Big::read(text),
        Node::Negative(inner) => Some(whole(inner)?.signed(true)),
        Node::Sum(terms) => {
            terms.iter().try_fold(Big::of(Number::from(0)), |sum, term| sum.plus(&whole(term)?))
        }
        Node::Product(factors) => {
            factors.iter().try_fold(Big::of(Number::from(1)), |all, factor| all.times(&whole(factor)?))
        }
        Node::Power(base, exponent) => {
            let times = exponent.literal().filter(|times| times.whole())?.numerator();
            whole(base)?.power(u32::try_from(times).ok()?)
        }
        _ => None,
    }
}

impl Big {
    fn new(negative: bool, mut parts: Vec<u64>) -> Option<Self> {
        while parts.last() == Some(&0) {
            parts.pop();
        }
        (parts.len() <= LONGEST).then_some(Self { negative: negative && !parts.is_empty(), parts })
    }

    fn of(number: Number) -> Self {
        let mut rest = number.numerator().unsigned_abs();
        let mut parts = Vec::new();
        while rest > 0 {
            parts.push((rest % u128::from(BASE)) as u64);
            rest /= u128::from(BASE);
        }
        Self { negative: number.numerator() < 0, parts }
    }

    /// Of digits, with a point and an exponent or none: `1.5e40`; `None` where it is not whole.
    fn read(text: &str) -> Option<Self> {
        let (written, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (above, below) = written.split_once('.').unwrap_or((written, ""));
        let exponent = exponent.parse::<i64>().ok()? - i64::try_from(below.len()).ok()?;
        let mut digits = format!("{above}{below}");
        if exponent < 0 {
            let kept = digits.len().checked_sub(usize::try_from(-exponent).ok()?)?;
            let fraction = digits.split_off(kept);
            fraction.bytes().all(|digit| digit == b'0').then_some(())?;
        } else {
            let zeros = usize::try_from(exponent).ok().filter(|zeros| *zeros <= LONGEST * DIGITS)?;
            digits.push_str(&"0".repeat(zeros));
        }
        let known = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        let bytes = digits.as_bytes();
        let part = |part: &[u8]| std::str::from_utf8(part).ok()?.parse::<u64>().ok();
        let parts = bytes.rchunks(DIGITS).map(part).collect::<Option<Vec<_>>>().filter(|_| known)?;
        Self::new(false, parts)
    }

    fn signed(self, turned: bool) -> Self {
        Self { negative: (self.negative != turned) && !self.parts.is_empty(), ..self }
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        let (long, short) = if self.exceeds(other) { (self, other) } else { (other, self) };
        let sign = if long.negative == short.negative { 1 } else { -1 };
        let (mut parts, mut carry) = (Vec::with_capacity(long.parts.len() + 1), 0_i64);
        for (at, part) in long.parts.iter().enumerate() {
            let added = sign * short.parts.get(at).copied().unwrap_or(0) as i64;
            let sum = *part as i64 + added + carry;
            carry = sum.div_euclid(BASE as i64);
            parts.push(sum.rem_euclid(BASE as i64) as u64);
        }
        parts.push(carry as u64);
        Self::new(long.negative, parts)
    }

    /// Whether it is farther from 0, or as far.
    fn exceeds(&self, other: &Self) -> bool {
        let order = self.parts.len().cmp(&other.parts.len());
        order.then_with(|| self.parts.iter().rev().cmp(other.parts.iter().rev())).is_ge()
    }

    fn times(&self, other: &Self) -> Option<Self> {
        let mut parts = vec![0_u64; self.parts.len() + other.parts.len()];
        for (at, part) in self.parts.iter().enumerate() {
            let mut carry = 0;
            for (place, own) in other.parts.iter().enumerate() {
                let sum = parts[at + place] + part * own + carry;
                (parts[at + place], carry) = (sum % BASE, sum / BASE);
            }
            parts[at + other.parts.len()] += carry;
        }
        Self::new(self.negative != other.negative, parts)
    }

    fn power(&self, times: u32) -> Option<Self> {
        let mut power = Self::of(Number::from(1));
        for bit in (0..u32::BITS - times.leading_zeros()).rev() {
            power = power.times(&power)?;
            if times >> bit & 1 == 1 {
                power = power.times(self)?;
            }
        }
        Some(power)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parser::parse, tokens::tokens};
    use super::*;

    #[test]
    fn whole_numbers_of_any_length_are_exact() {
        let of = |text: &str| whole(&parse(&tokens(text)).unwrap());
        let two = "1606938044258990275541962092341162602522202993782792835301376";
        for (a, b) in [
            ("10^{40}", &format!("1{}", "0".repeat(40))[..]),
            ("-10^{40}", &format!("-1{}", "0".repeat(40))),
            ("1.5 \\times 10^{40}", &format!("15{}", "0".repeat(39))),
            ("2^{200}", two),
            ("(-2)^{200}", two),
            ("4^{100}", two),
            ("2^{200} - 1", &format!("{}5", &two[..two.len() - 1])),
            ("1 - 2^{200}", &format!("-{}5", &two[..two.len() - 1])),
            ("2^{200} - 2^{200}", "0"),
            ("999999999 \\cdot 999999999", "999999998000000001"),
            ("10^{18} - 1", "999999999999999999"),
            ("999999999999999999 + 1", "10^{18}"),
        ] {
            assert!(of(a).is_some() && of(a) == of(b), "{a}: {:?}", of(a));
        }
        for (a, b) in [("10^{40}", "10^{41}"), ("2^{200}", "2^{200}+1"), ("10^{40}", "-10^{40}")] {
            assert_ne!(of(a), of(b), "{a} and {b}");
        }
        for text in ["10^{-40}", "1/3", "x", "9^{9^9}", "10^{4000000000}", "2^{1/2}"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
