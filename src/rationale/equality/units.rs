//! Units of measure: what they measure and how many of its base they are, so that units that differ are different values.

use crate::rationale::number::Number;

/// A unit as powers of bases, and how many of those it is: km/h is 1000/3600 m s⁻¹.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    size: Number,
    powers: Vec<(&'static str, i32)>,
}

impl Unit {
    /// The unit that `name` is the name or the sign of.
    pub fn named(name: &str) -> Option<Self> {
        let lower = name.to_lowercase();
        let signs = SIGNS.iter().find(|(known, ..)| *known == name);
        let names = || NAMES.iter().find(|(known, ..)| *known == lower);
        if let Some((_, above, below, base, power)) = signs.or_else(names) {
            let size = Number::from(*above).over(Number::from(*below))?;
            return Some(Self { size, powers: vec![(*base, *power)] });
        }
        match &lower[..] {
            "mph" => Some(Self::named("mi")?.per(&Self::named("h")?)?),
            "kph" | "kmh" => Some(Self::named("km")?.per(&Self::named("h")?)?),
            "mps" => Some(Self::named("m")?.per(&Self::named("s")?)?),
            _ => prefixed(name).or_else(|| prefixed_name(&lower)),
        }
    }

    /// The unit raised to a power.
    pub fn raised(&self, times: i32) -> Option<Self> {
        let size = self.size.power(Number::from(i128::from(times)))?;
        Some(Self { size, powers: self.powers.iter().map(|(base, power)| (*base, power * times)).collect() })
    }

    /// The product of two.
    pub fn times(&self, other: &Self) -> Option<Self> {
        let mut powers = self.powers.clone();
        for (base, power) in &other.powers {
            match powers.iter_mut().find(|(known, _)| known == base) {
                Some((_, known)) => *known += power,
                None => powers.push((base, *power)),
            }
        }
        powers.retain(|(_, power)| *power != 0);
        powers.sort_unstable();
        Some(Self { size: self.size.times(other.size)?, powers })
    }

    /// The quotient of two.
    pub fn per(&self, other: &Self) -> Option<Self> {
        self.times(&other.raised(-1)?)
    }

    /// How many of `other` it is, where both measure one thing.
    pub fn over(&self, other: &Self) -> Option<Number> {
        (self.powers == other.powers).then(|| self.size.over(other.size))?
    }

    /// Whether a value without it is another one: 2:30 is half past two at either half of the day.
    pub fn is_half_of_day(&self) -> bool {
        self.powers.iter().any(|(base, _)| matches!(*base, "am" | "pm"))
    }

    /// Whether it is money, which stands before its amount.
    pub fn is_money(&self) -> bool {
        matches!(self.powers[..], [(base, 1)] if MONEY.contains(&base))
    }
}

const MONEY: [&str; 9] = ["dollar", "euro", "sterling", "yen", "rupee", "won", "rouble", "naira", "peso"];

/// Signs, letter case told apart: how many, of how many, of what base, at what power.
const SIGNS: [(&str, i128, i128, &str, i32); 22] = [
    ("Ω", 1, 1, "ohm", 1),
    ("$", 1, 1, "dollar", 1),
    ("€", 1, 1, "euro", 1),
    ("£", 1, 1, "sterling", 1),
    ("¥", 1, 1, "yen", 1),
    ("₹", 1, 1, "rupee", 1),
    ("₩", 1, 1, "won", 1),
    ("₽", 1, 1, "rouble", 1),
    ("₦", 1, 1, "naira", 1),
    ("₱", 1, 1, "peso", 1),
    ("¢", 1, 100, "dollar", 1),
    ("°C", 1, 1, "celsius", 1),
    ("°F", 1, 1, "fahrenheit", 1),
    ("°K", 1, 1, "kelvin", 1),
    ("m", 1, 1, "m", 1),
    ("g", 1, 1, "g", 1),
    ("s", 1, 1, "s", 1),
    ("h", 3600, 1, "s", 1),
    ("L", 1, 1000, "m", 3),
    ("l", 1, 1000, "m", 3),
    ("B", 1, 1, "byte", 1),
    ("b", 1, 8, "byte", 1),
];

/// Names, in small letters.
const NAMES: [(&str, i128, i128, &str, i32); 148] = [
    ("psi", 1, 1, "psi", 1),
    ("bpm", 1, 1, "bpm", 1),
    ("bar", 1, 1, "bar", 1),
    ("atm", 1, 1, "atm", 1),
    ("db", 1, 1, "db", 1),
    ("ev", 1, 1, "ev", 1),
    ("mmhg", 1, 1, "mmhg", 1),
    ("mpg", 1, 1, "mpg", 1),
    ("fps", 1, 1, "fps", 1),
    ("knot", 1, 1, "knot", 1),
    ("knots", 1, 1, "knot", 1),
    ("tsp", 1, 1, "tsp", 1),
    ("tbsp", 3, 1, "tsp", 1),
    ("meter", 1, 1, "m", 1),
    ("metre", 1, 1, "m", 1),
    ("meters", 1, 1, "m", 1),
    ("metres", 1, 1, "m", 1),
    ("inch", 254, 10_000, "m", 1),
    ("inches", 254, 10_000, "m", 1),
    ("in", 254, 10_000, "m", 1),
    ("ft", 3048, 10_000, "m", 1),
    ("foot", 3048, 10_000, "m", 1),
    ("feet", 3048, 10_000, "m", 1),
    ("yd", 9144, 10_000, "m", 1),
    ("yds", 9144, 10_000, "m", 1),
    ("yard", 9144, 10_000, "m", 1),
    ("yards", 9144, 10_000, "m", 1),
    ("mi", 1_609_344, 1000, "m", 1),
    ("mile", 1_609_344, 1000, "m", 1),
    ("miles", 1_609_344, 1000, "m", 1),
    ("acre", 40_468_564_224, 10_000_000, "m", 2),
    ("acres", 40_468_564_224, 10_000_000, "m", 2),
    ("ha", 10_000, 1, "m", 2),
    ("hectare", 10_000, 1, "m", 2),
    ("hectares", 10_000, 1, "m", 2),
    ("liter", 1, 1000, "m", 3),
    ("liters", 1, 1000, "m", 3),
    ("litre", 1, 1000, "m", 3),
    ("litres", 1, 1000, "m", 3),
    ("gal", 3_785_411_784, 1_000_000_000_000, "m", 3),
    ("gallon", 3_785_411_784, 1_000_000_000_000, "m", 3),
    ("gallons", 3_785_411_784, 1_000_000_000_000, "m", 3),
    ("qt", 946_352_946, 1_000_000_000_000, "m", 3),
    ("quart", 946_352_946, 1_000_000_000_000, "m", 3),
    ("quarts", 946_352_946, 1_000_000_000_000, "m", 3),
    ("pt", 473_176_473, 1_000_000_000_000, "m", 3),
    ("pint", 473_176_473, 1_000_000_000_000, "m", 3),
    ("pints", 473_176_473, 1_000_000_000_000, "m", 3),
    ("gram", 1, 1, "g", 1),
    ("grams", 1, 1, "g", 1),
    ("ton", 1, 1, "ton", 1),
    ("tons", 1, 1, "ton", 1),
    ("tonne", 1_000_000, 1, "g", 1),
    ("tonnes", 1_000_000, 1, "g", 1),
    ("lb", 45_359_237, 100_000, "g", 1),
    ("lbs", 45_359_237, 100_000, "g", 1),
    ("pound", 45_359_237, 100_000, "g", 1),
    ("pounds", 45_359_237, 100_000, "g", 1),
    ("oz", 45_359_237, 1_600_000, "g", 1),
    ("ounce", 45_359_237, 1_600_000, "g", 1),
    ("ounces", 45_359_237, 1_600_000, "g", 1),
    ("stone", 14 * 45_359_237, 100_000, "g", 1),
    ("second", 1, 1, "s", 1),
    ("seconds", 1, 1, "s", 1),
    ("sec", 1, 1, "s", 1),
    ("secs", 1, 1, "s", 1),
    ("minute", 60, 1, "s", 1),
    ("minutes", 60, 1, "s", 1),
    ("min", 60, 1, "s", 1),
    ("mins", 60, 1, "s", 1),
    ("hour", 3600, 1, "s", 1),
    ("hours", 3600, 1, "s", 1),
    ("hr", 3600, 1, "s", 1),
    ("hrs", 3600, 1, "s", 1),
    ("day", 86_400, 1, "s", 1),
    ("days", 86_400, 1, "s", 1),
    ("week", 604_800, 1, "s", 1),
    ("weeks", 604_800, 1, "s", 1),
    ("month", 1, 12, "year", 1),
    ("months", 1, 12, "year", 1),
    ("year", 1, 1, "year", 1),
    ("years", 1, 1, "year", 1),
    ("yr", 1, 1, "year", 1),
    ("yrs", 1, 1, "year", 1),
    ("decade", 10, 1, "year", 1),
    ("decades", 10, 1, "year", 1),
    ("century", 100, 1, "year", 1),
    ("centuries", 100, 1, "year", 1),
    ("byte", 1, 1, "byte", 1),
    ("bytes", 1, 1, "byte", 1),
    ("bit", 1, 8, "byte", 1),
    ("bits", 1, 8, "byte", 1),
    ("newton", 1, 1, "newton", 1),
    ("newtons", 1, 1, "newton", 1),
    ("joule", 1, 1, "joule", 1),
    ("joules", 1, 1, "joule", 1),
    ("watt", 1, 1, "watt", 1),
    ("watts", 1, 1, "watt", 1),
    ("farad", 1, 1, "farad", 1),
    ("farads", 1, 1, "farad", 1),
    ("volt", 1, 1, "volt", 1),
    ("volts", 1, 1, "volt", 1),
    ("amp", 1, 1, "ampere", 1),
    ("amps", 1, 1, "ampere", 1),
    ("ampere", 1, 1, "ampere", 1),
    ("amperes", 1, 1, "ampere", 1),
    ("ohm", 1, 1, "ohm", 1),
    ("ohms", 1, 1, "ohm", 1),
    ("hertz", 1, 1, "hertz", 1),
    ("hz", 1, 1, "hertz", 1),
    ("pascal", 1, 1, "pascal", 1),
    ("pascals", 1, 1, "pascal", 1),
    ("pa", 1, 1, "pascal", 1),
    ("mol", 1, 1, "mole", 1),
    ("mole", 1, 1, "mole", 1),
    ("moles", 1, 1, "mole", 1),
    ("calorie", 1, 1, "calorie", 1),
    ("calories", 1, 1, "calorie", 1),
    ("cal", 1, 1, "calorie", 1),
    ("kwh", 3_600_000, 1, "joule", 1),
    ("rpm", 1, 1, "turn", 1),
    ("radian", 1, 1, "radian", 1),
    ("radians", 1, 1, "radian", 1),
    ("rad", 1, 1, "radian", 1),
    ("celsius", 1, 1, "celsius", 1),
    ("fahrenheit", 1, 1, "fahrenheit", 1),
    ("kelvin", 1, 1, "kelvin", 1),
    ("dollar", 1, 1, "dollar", 1),
    ("dollars", 1, 1, "dollar", 1),
    ("usd", 1, 1, "dollar", 1),
    ("cent", 1, 100, "dollar", 1),
    ("cents", 1, 100, "dollar", 1),
    ("euro", 1, 1, "euro", 1),
    ("euros", 1, 1, "euro", 1),
    ("eur", 1, 1, "euro", 1),
    ("gbp", 1, 1, "sterling", 1),
    ("yen", 1, 1, "yen", 1),
    ("jpy", 1, 1, "yen", 1),
    ("rupee", 1, 1, "rupee", 1),
    ("rupees", 1, 1, "rupee", 1),
    ("rs", 1, 1, "rupee", 1),
    ("inr", 1, 1, "rupee", 1),
    ("ppm", 1, 1, "ppm", 1),
    ("ppb", 1, 1000, "ppm", 1),
    ("peso", 1, 1, "peso", 1),
    ("pesos", 1, 1, "peso", 1),
    ("am", 1, 1, "am", 1),
    ("pm", 1, 1, "pm", 1),
];

/// Signs that take a prefix.
const PREFIXED: [(&str, &str); 16] = [
    ("cal", "calorie"),
    ("Ω", "ohm"),
    ("m", "meter"),
    ("g", "gram"),
    ("s", "second"),
    ("L", "liter"),
    ("l", "liter"),
    ("N", "newton"),
    ("J", "joule"),
    ("W", "watt"),
    ("V", "volt"),
    ("A", "ampere"),
    ("Hz", "hertz"),
    ("Pa", "pascal"),
    ("B", "byte"),
    ("F", "farad"),
];
const PREFIXES: [(&str, &str, i32); 12] = [
    ("k", "kilo", 3),
    ("c", "centi", -2),
    ("m", "milli", -3),
    ("d", "deci", -1),
    ("M", "mega", 6),
    ("G", "giga", 9),
    ("T", "tera", 12),
    ("n", "nano", -9),
    ("u", "micro", -6),
    ("μ", "micro", -6),
    ("µ", "micro", -6),
    ("K", "kilo", 3),
];

fn scaled(unit: &Unit, power: i32) -> Option<Unit> {
    let scale = Number::from(10).power(Number::from(i128::from(power)))?;
    Some(Unit { size: unit.size.times(scale)?, powers: unit.powers.clone() })
}

/// A sign behind a prefix's: `km`, `MHz`; in small letters too where no other is meant.
fn prefixed(name: &str) -> Option<Unit> {
    let of = |name: &str, exact: bool| {
        PREFIXES.iter().find_map(|(prefix, _, power)| {
            let rest = name.strip_prefix(prefix)?;
            let same = |known: &str| if exact { known == rest } else { known.eq_ignore_ascii_case(rest) };
            let (_, unit) = PREFIXED.iter().find(|(known, _)| same(known))?;
            scaled(&Unit::named(unit)?, *power)
        })
    };
    if let Some((_, unit)) = PREFIXED.iter().find(|(known, _)| *known == name) {
        return Unit::named(unit);
    }
    of(name, true).or_else(|| {
        let lower = name.to_lowercase();
        let first = lower.chars().next()?;
        // "mb" and "gb" are megabytes and gigabytes.
        let upper = (lower.len() == 2 && lower.ends_with('b')) || lower.ends_with("hz");
        let prefix = if upper { first.to_ascii_uppercase() } else { first };
        of(&format!("{prefix}{}", &lower[first.len_utf8()..]), false)
    })
}

/// A name behind a prefix's: `kilometers`.
fn prefixed_name(name: &str) -> Option<Unit> {
    PREFIXES.iter().find_map(|(_, prefix, power)| {
        let rest = name.strip_prefix(prefix).filter(|rest| rest.len() > 3)?;
        scaled(&Unit::named(rest)?, *power)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_one_kind_are_so_many_of_each_other() {
        let unit = |name: &str| Unit::named(name).unwrap_or_else(|| panic!("{name}"));
        let ratio = |a: &str, b: &str| unit(a).over(&unit(b));
        for (a, b, times) in [
            ("km", "m", 1000),
            ("kilometres", "meter", 1000),
            ("kg", "g", 1000),
            ("L", "ml", 1000),
            ("GB", "MB", 1000),
            ("gb", "mb", 1000),
            ("kHz", "Hz", 1000),
            ("hours", "min", 60),
            ("dollars", "cents", 100),
            ("yards", "feet", 3),
            ("ft", "inches", 12),
            ("lb", "oz", 16),
            ("years", "months", 12),
            ("s", "ms", 1000),
            ("MW", "mW", 1_000_000_000),
        ] {
            assert_eq!(ratio(a, b), Some(Number::from(times)), "{a} in {b}");
        }
        for (a, b) in [("m", "s"), ("°C", "°F"), ("$", "€"), ("kg", "lbs"), ("N", "J"), ("am", "pm")] {
            assert!(ratio(a, b).is_none_or(|ratio| !ratio.whole()), "{a} in {b}");
        }
        let speed = |length: &str, time: &str| unit(length).per(&unit(time)).unwrap();
        assert_eq!(speed("mi", "h"), unit("mph"));
        assert_eq!(speed("km", "h").over(&speed("m", "s")), Number::from(5).over(Number::from(18)));
        assert_eq!(unit("m").raised(3).unwrap().over(&unit("L")), Some(Number::from(1000)));
        assert_eq!(unit("m").raised(2).unwrap().over(&unit("m")), None);
        assert!(["x", "apples", "", "é", "kx", "mmm"].iter().all(|name| Unit::named(name).is_none()));
    }
}
