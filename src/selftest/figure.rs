//! What a check finds: figures, each with the bound that it must keep.

use serde::Serialize;
use std::fmt;

/// One figure of a check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// What it came to.
    pub value: f64,
    /// What it must keep; figures without a bound are for the reader.
    #[serde(flatten)]
    pub bound: Option<Bound>,
    /// Why there is no such figure here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
}

/// What a figure must keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bound {
    /// The most or the least that passes.
    pub limit: f64,
    /// Which of the two.
    pub is: Side,
    /// Why that much.
    pub why: &'static str,
}

/// On which side of a limit a figure passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// At the limit or below.
    AtMost,
    /// At the limit or above.
    AtLeast,
    /// It is true, which is 1, or not, which is 0.
    Holds,
}

impl Figure {
    /// A figure that passes up to `limit`.
    pub fn at_most(name: impl Into<String>, value: f64, limit: f64, why: &'static str) -> Self {
        Self { name: name.into(), value, bound: Some(Bound { limit, is: Side::AtMost, why }), not_run: None }
    }

    /// A figure that passes from `limit` on.
    pub fn at_least(name: impl Into<String>, value: f64, limit: f64, why: &'static str) -> Self {
        Self { name: name.into(), value, bound: Some(Bound { limit, is: Side::AtLeast, why }), not_run: None }
    }

    /// What is to be true.
    pub fn holds(name: impl Into<String>, holds: bool, why: &'static str) -> Self {
        let bound = Bound { limit: 1.0, is: Side::Holds, why };
        Self { name: name.into(), value: f64::from(u8::from(holds)), bound: Some(bound), not_run: None }
    }

    /// A figure for the reader alone.
    pub fn plain(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, bound: None, not_run: None }
    }

    /// What cannot be measured on this machine, and why.
    pub fn not_run(name: impl Into<String>, why: String) -> Self {
        Self { name: name.into(), value: f64::NAN, bound: None, not_run: Some(why) }
    }

    /// Whether it keeps its bound. What is no number keeps none.
    pub fn passes(&self) -> bool {
        self.bound.is_none_or(|bound| match bound.is {
            Side::AtMost => self.value <= bound.limit,
            Side::AtLeast | Side::Holds => self.value >= bound.limit,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        if let Some(why) = &self.not_run {
            return write!(out, "{}: not run: {why}", self.name);
        }
        if let Some(Bound { is: Side::Holds, .. }) = self.bound {
            return write!(out, "{}{}", if self.passes() { "" } else { "not true: " }, self.name);
        }
        write!(out, "{} {}", self.name, number(self.value))?;
        match self.bound {
            None | Some(Bound { is: Side::Holds, .. }) => Ok(()),
            Some(Bound { limit, is: Side::AtMost, .. }) => write!(out, " (≤ {})", number(limit)),
            Some(Bound { limit, is: Side::AtLeast, .. }) => write!(out, " (≥ {})", number(limit)),
        }
    }
}

/// Three digits, as readers expect them of errors, shares and speeds.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e15).contains(&size) => format!("{value:.1e}"),
        size if size < 10.0 => format!("{:.3}", value).trim_end_matches('0').trim_end_matches('.').into(),
        size if size < 1000.0 => format!("{value:.1}").trim_end_matches(".0").into(),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_passes_on_one_side_of_its_limit_and_no_number_never() {
        let passes = |value| {
            [Figure::at_most("a", value, 1.0, ""), Figure::at_least("a", value, 1.0, "")].map(|f| f.passes())
        };
        assert_eq!([0.5, 1.0, 2.0].map(passes), [[true, false], [true, true], [false, true]]);
        assert_eq!(passes(f64::NAN), [false, false]);
        assert!(Figure::plain("a", f64::NAN).passes());
    }

    #[test]
    fn numbers_have_about_three_digits() {
        let shown = [0.0, 1.234e-7, 0.05, 0.9, 1.0, 123.46, 4567.8].map(number);
        assert_eq!(shown, ["0", "1.2e-7", "0.05", "0.9", "1", "123.5", "4568"]);
        assert_eq!(Figure::at_most("logits", 1.26e-7, 1e-5, "").to_string(), "logits 1.3e-7 (≤ 1.0e-5)");
        let told = [true, false].map(|holds| Figure::holds("it loads", holds, "").to_string());
        assert_eq!(told, ["it loads", "not true: it loads"]);
    }
}
