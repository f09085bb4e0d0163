//! What all checks have found, as lines and as JSON.

use super::Figure;
use super::figure::number;
use crate::Result;
use crate::checkpoint::write_atomic;
use crate::error::Error;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// The whole of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The device under test.
    pub device: String,
    /// The machine in words.
    pub machine: Vec<String>,
    /// A check each.
    pub checks: Vec<Outcome>,
}

/// What a check has come to.
#[derive(Debug, Serialize)]
pub struct Outcome {
    name: &'static str,
    tells: &'static str,
    passed: bool,
    seconds: f64,
    figures: Vec<Figure>,
    /// Why it could not be run to its end.
    error: Option<String>,
}

impl Outcome {
    /// Of what a check gave.
    pub fn new(name: &'static str, tells: &'static str, found: Result<Vec<Figure>>, took: Duration) -> Self {
        let (figures, error) = match found {
            Ok(figures) => (figures, None),
            Err(error) => (vec![], Some(error.to_string())),
        };
        let passed = error.is_none() && figures.iter().all(Figure::passes);
        Self { name, tells, passed, seconds: took.as_secs_f64(), figures, error }
    }

    /// Its line, and the reasons of what fails on lines of their own; a `table` has a line a figure.
    pub fn shown(&self, table: bool) -> String {
        let verdict = if self.passed { "ok" } else { "FAIL" };
        let mut said: Vec<String> = self.figures.iter().map(Figure::to_string).collect();
        if table {
            said = vec![self.tells.into()];
        }
        said.extend(self.error.clone());
        let mut out =
            format!("{verdict:<5} {:<11} {:>6.1} s  {}\n", self.name, self.seconds, said.join(", "));
        if table {
            self.figures
                .iter()
                .for_each(|f| out += &format!("{:>27}{:>10}  {}\n", "", number(f.value), f.name));
        }
        let failed = self.figures.iter().filter(|figure| !figure.passes());
        for (figure, bound) in failed.filter_map(|figure| Some((figure, figure.bound?))) {
            out += &format!("{:>27}{figure}: {}\n", "", bound.why);
        }
        out
    }
}

impl Report {
    /// What there is to say at the end.
    ///
    /// # Errors
    /// Checks that failed, by name.
    pub fn verdict(&self) -> Result<String> {
        let failed: Vec<&str> = self.checks.iter().filter(|c| !c.passed).map(|check| check.name).collect();
        if !failed.is_empty() {
            return Err(Error::Checks(format!("failed: {}", failed.join(", "))));
        }
        let seconds: f64 = self.checks.iter().map(|check| check.seconds).sum();
        Ok(format!("selftest: all {} checks passed in {seconds:.0} s\n", self.checks.len()))
    }

    /// Writes it to `file`.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::io(file)(error.into()))?;
        write_atomic(file, (text + "\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(found: Result<Vec<Figure>>) -> Outcome {
        Outcome::new("scores", "", found, Duration::from_millis(1234))
    }

    #[test]
    fn what_fails_says_why_and_what_breaks_has_failed() {
        let figures =
            || vec![Figure::at_most("logits", 2e-3, 1e-5, "f32 sums"), Figure::plain("devices", 1.0)];
        let failed = outcome(Ok(figures()));
        assert_eq!(
            failed.shown(false),
            "FAIL  scores         1.2 s  logits 0.002 (≤ 1.0e-5), devices 1\n\
             \x20                          logits 0.002 (≤ 1.0e-5): f32 sums\n"
        );
        let broken = outcome(Err(Error::Devices("out of memory".into())));
        assert!(!broken.passed && broken.shown(false).contains("devices: out of memory"));
        let passed = outcome(Ok(vec![Figure::at_most("logits", 1e-6, 1e-5, "")]));
        let report = Report { device: "cpu".into(), machine: vec![], checks: vec![passed, failed] };
        let error = report.verdict().unwrap_err();
        assert_eq!((error.exit_code(), error.to_string()), (1, "selftest: failed: scores".into()));
    }

    /// No number is no JSON either: it is written as nothing.
    #[test]
    fn the_file_has_every_figure_with_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("selftest.json");
        let checks = vec![outcome(Ok(vec![Figure::at_most("logits", f64::NAN, 1e-5, "f32 sums")]))];
        Report { device: "cpu".into(), machine: vec!["two cores".into()], checks }.write(&file).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(read["checks"][0]["passed"], false);
        let figure = &read["checks"][0]["figures"][0];
        assert_eq!(
            (&figure["value"], &figure["limit"], &figure["is"]),
            (&().into(), &1e-5.into(), &"at_most".into())
        );
    }
}
