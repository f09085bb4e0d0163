//! Programs of the calculator: lines that compute, of which each may name what it comes to. Program induction by execution (AQuA, Ling et al. 2017,
//! arXiv 1705.04146) in small.
//!
//! ```text
//! program = line { ("\n" | ";") line }
//! line    = [ name "=" ] sum { "=" sum }
//! ```
//!
//! A line comes to its first sum; those behind it are what the writer says that it comes to, and change nothing. Blank lines are passed over.

use super::{LONGEST, Names, evaluate_in, name};
use crate::rationale::number::Number;

/// What the last line of a program comes to.
///
/// ```
/// use rationale::rationale::calc::{exact, program::run};
/// assert_eq!(run("a = 4*17\nb = 23+a = 99\nb-9").map(exact), Ok("82".into()));
/// assert_eq!(run("4*17=68; 23+x").unwrap_err(), "line 2: unexpected `x`");
/// ```
///
/// # Errors
/// The first line that cannot be computed, and why; and that there is none.
pub fn run(program: &str) -> Result<Number, String> {
    let (mut names, mut room, mut last) = (Names::new(), LONGEST, None);
    for (at, line) in lines(program).enumerate() {
        let value = step(line, &mut names, &mut room).map_err(|why| format!("line {}: {why}", at + 1))?;
        last = Some(value);
    }
    last.ok_or_else(|| "it has no line".to_owned())
}

/// The lines of a program, blank ones left out.
fn lines(program: &str) -> impl Iterator<Item = &str> {
    program.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty())
}

/// What a line comes to; where it names that, the name is added or changed.
pub(super) fn step(line: &str, names: &mut Names, room: &mut usize) -> Result<Number, String> {
    let mut parts = line.split('=').peekable();
    let first = parts.next().unwrap_or_default();
    let own = name(first).filter(|_| parts.peek().is_some());
    let sum = if own.is_some() { parts.next().unwrap_or_default() } else { first };
    let value = evaluate_in(sum, names, room)?;
    for said in parts {
        evaluate_in(said, names, room)?;
    }
    if let Some(own) = own {
        names.insert(own.to_owned(), value);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::super::exact;
    use super::*;

    fn said(program: &str) -> String {
        run(program).map_or_else(|error| error, exact)
    }

    #[test]
    fn a_program_comes_to_its_last_line() {
        for (program, value) in [
            ("7", "7"),
            ("3+4 = 7", "7"),
            ("a=3\nb=a*2\nb-1", "5"),
            ("a = 1/3; a = a*2; 3*a", "2"),
            // What is said of a line changes nothing; that it can be read is asked.
            ("x = 4*17 = 60\nx+1", "69"),
            ("4*17=68\n23+68=90", "91"),
            ("\n\n 2 ^ 3 \r\n\n", "8"),
            ("total_cost = $1,250 × 2\ntotal_cost/2", "1250"),
        ] {
            assert_eq!(said(program), value, "{program:?}");
        }
    }

    #[test]
    fn the_first_line_that_cannot_be_computed_is_said() {
        for (program, error) in [
            ("", "it has no line"),
            ("\n;\n", "it has no line"),
            ("3+4\nso 7", "line 2: unexpected `s`"),
            ("a=3\nb+1", "line 2: `b` has no value"),
            ("a=3\na=", "line 2: the expression is incomplete"),
            ("3+4 = seven", "line 1: unexpected `s`"),
            ("a = a+1", "line 1: unexpected `a`"),
            ("5=", "line 1: the expression is incomplete"),
            ("a=2\nb=a/(a-2)", "line 2: division by zero"),
            ("9^9^9", "line 1: the numbers are too large"),
        ] {
            assert_eq!(said(program), error, "{program:?}");
        }
        // Bounded as a whole, and by no recursion of its own.
        let line = "1+1\n";
        assert_eq!(said(&line.repeat(66)), "2");
        assert_eq!(said(&line.repeat(67)), "line 67: the expression is too long");
        assert_eq!(said(&"a=1\n".repeat(300)), "line 201: the expression is too long");
    }
}
