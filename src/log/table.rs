//! Tables for people: sample rollouts, and a run's evaluations.

use super::terminal::shown;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

/// What stands around a cell's text.
const AROUND: usize = 2;

/// A table with a header, as wide as the terminal (100 columns where there is none).
pub fn table(header: &[String], rows: &[Vec<String>]) -> String {
    of_width(header, rows, width())
}

fn of_width(header: &[String], rows: &[Vec<String>], width: u16) -> String {
    let fits =
        |least: &[usize]| least.iter().map(|cell| cell + AROUND + 1).sum::<usize>() <= usize::from(width);
    let words =
        |header: &[String], rows: &[Vec<String>]| widths(header, rows, |cell| cell.split([' ', '\n']));
    // An interval stays on one line where all have room.
    let kept = |row: &[String]| row.iter().map(|cell| kept_together(&readable(cell))).collect::<Vec<_>>();
    let whole = (kept(header), rows.iter().map(|row| kept(row)).collect::<Vec<_>>());
    let apart = |row: &[String]| row.iter().map(|cell| readable(cell)).collect::<Vec<_>>();
    let (header, rows) = match fits(&words(&whole.0, &whole.1)) {
        true => whole,
        false => (apart(header), rows.iter().map(|row| apart(row)).collect()),
    };
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(&header);
    table.add_rows(&rows);
    // No word is broken where all have room.
    let (words, lines) = (words(&header, &rows), widths(&header, &rows, str::lines));
    if fits(&words) && !fits(&lines) {
        let least = |word: &usize| Width::Fixed(u16::try_from(word + AROUND).unwrap_or(u16::MAX));
        table.set_constraints(words.iter().map(|word| ColumnConstraint::LowerBoundary(least(word))));
    }
    table.to_string().replace(TOGETHER, " ")
}

/// A blank at which no line ends.
const TOGETHER: char = '\u{a0}';

/// A text whose intervals, such as `[36.0, 50.0]`, are one word.
fn kept_together(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside, after)) = rest
        .split_once('[')
        .and_then(|(before, behind)| behind.split_once(']').map(|(inside, after)| (before, inside, after)))
    {
        let numbers = inside.chars().all(|c| c.is_ascii_digit() || " .,+-−%".contains(c));
        out += before;
        out.push('[');
        out +=
            &if numbers { inside.replace(' ', TOGETHER.encode_utf8(&mut [0; 2])) } else { inside.to_owned() };
        out.push(']');
        rest = after;
    }
    out + rest
}

/// Of each column, the width of the widest part that its cells are split into.
fn widths<'a, Parts: Iterator<Item = &'a str>>(
    header: &'a [String],
    rows: &'a [Vec<String>],
    split: fn(&'a str) -> Parts,
) -> Vec<usize> {
    let mut widest = vec![0; header.len()];
    for row in rows.iter().map(Vec::as_slice).chain([header]) {
        for (cell, most) in row.iter().zip(&mut widest) {
            *most = split(cell).map(console::measure_text_width).fold(*most, usize::max);
        }
    }
    widest
}

/// The same as a table of Markdown.
///
/// ```
/// use rationale::log::table::markdown;
/// let cells = |cells: [&str; 2]| cells.map(String::from).to_vec();
/// assert_eq!(markdown(&cells(["", "a|b"]), &[cells(["x", "<i>"])]), "|  | a\\|b |\n| --- | --- |\n| x | &lt;i> |\n");
/// ```
pub fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let cell = |cell: &String| readable(cell).replace('|', "\\|").replace('\n', " ").replace('<', "&lt;");
    let row = |cells: &[String]| format!("| {} |\n", cells.iter().map(cell).collect::<Vec<_>>().join(" | "));
    let lines: String = rows.iter().map(|cells| row(cells)).collect();
    format!("{}|{}\n{lines}", row(header), " --- |".repeat(header.len()))
}

/// The same as a table of LaTeX, which needs no package.
///
/// ```
/// use rationale::log::table::latex;
/// let cells = |cells: [&str; 2]| cells.map(String::from).to_vec();
/// let expected = r"\begin{tabular}{lr}
/// \hline
/// arm & right, \% \\
/// \hline
/// a\_b & $<$ 0.1 \\
/// \hline
/// \end{tabular}
/// ";
/// assert_eq!(latex(&cells(["arm", "right, %"]), &[cells(["a_b", "< 0.1"])]), expected);
/// ```
pub fn latex(header: &[String], rows: &[Vec<String>]) -> String {
    let of = |sign: char| match sign {
        '\\' => r"\textbackslash{}".to_owned(),
        '~' => r"\textasciitilde{}".to_owned(),
        '^' => r"\textasciicircum{}".to_owned(),
        '&' | '%' | '$' | '#' | '_' | '{' | '}' => format!("\\{sign}"),
        '<' | '>' => format!("${sign}$"),
        '×' => r"$\times$".to_owned(),
        '|' => r"\textbar{}".to_owned(),
        '\n' => " ".to_owned(),
        sign => sign.to_string(),
    };
    let cell = |cell: &String| readable(cell).chars().map(of).collect::<String>();
    let row = |cells: &[String]| {
        let line = cells.iter().map(cell).collect::<Vec<_>>().join(" & ") + " \\\\\n";
        // Behind the end of the line before, these would be that end's own.
        if line.starts_with(['[', '*']) { format!("{{}}{line}") } else { line }
    };
    let lines: String = rows.iter().map(|cells| row(cells)).collect();
    let columns = "r".repeat(header.len().saturating_sub(1));
    let head = row(header);
    format!("\\begin{{tabular}}{{l{columns}}}\n\\hline\n{head}\\hline\n{lines}\\hline\n\\end{{tabular}}\n")
}

/// A cell of a file of comma-separated values, as RFC 4180 has it.
pub fn csv_cell(text: &str) -> String {
    let text = shown(text);
    let plain = !text.contains([',', '"', '\n']);
    if plain { text.to_string() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// At most `limit` characters of `text`, its middle left out with a count.
///
/// ```
/// use rationale::log::table::shortened;
/// assert_eq!(shortened("abcdefghij", 4), "ab … 6 more … ij");
/// assert_eq!(shortened("abc", 4), "abc");
/// ```
pub fn shortened(text: &str, limit: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= limit {
        return text.to_string();
    }
    let (head, tail) = (limit.div_ceil(2), limit / 2);
    let start: String = characters[..head].iter().collect();
    let end: String = characters[characters.len() - tail..].iter().collect();
    format!("{start} … {} more … {end}", characters.len() - head - tail)
}

/// Control characters made visible, so that a completion cannot steer the terminal.
fn readable(text: &str) -> String {
    shown(text).replace('\t', "    ")
}

fn width() -> u16 {
    console::Term::stderr().size_checked().map_or(100, |(_, columns)| columns.clamp(60, 160))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_broken_where_all_have_room() {
        let cells = |cells: &[&str]| cells.iter().map(|cell| cell.to_string()).collect::<Vec<String>>();
        let header = [
            "measure",
            "arm",
            "mean [95 %]",
            "sd of seeds",
            "difference [95 %]",
            "p",
            "over seeds [95 %]",
            "p",
        ];
        let wide = "-22.2822 [-23.9121, -20.6514]";
        let row = cells(&["logps/rejected", "lr=2e-4", wide, "0.0125", wide, "< 0.001", wide, "0.025"]);
        let shown = of_width(&cells(&header), std::slice::from_ref(&row), 100);
        for cell in &row {
            cell.split(' ').for_each(|word| assert!(shown.contains(word), "{word}:\n{shown}"));
        }
        assert!(shown.lines().all(|line| console::measure_text_width(line) <= 100), "{shown}");
        // Nor an interval.
        let few =
            cells(&["a", "43.0 [36.0, 50.0]", "-55.5 [-62.5, -48.5]", "of runs and of others that are long"]);
        let header = cells(&["arm", "accuracy, % [95 %]", "difference, points [95 %]", "words"]);
        let shown = of_width(&header, std::slice::from_ref(&few), 60);
        for whole in ["[36.0, 50.0]", "[-62.5, -48.5]", "[95 %]"] {
            assert!(shown.contains(whole), "{whole}:\n{shown}");
        }
        assert!(!shown.contains(TOGETHER) && shown.lines().count() > 4, "{shown}");
        assert_eq!(kept_together("a [b c] [1, 2"), "a [b c] [1, 2");
        // A word that is wider than all there is does break.
        let long = "x".repeat(200);
        assert!(!of_width(&cells(&["a"]), &[cells(&[long.as_str()])], 60).contains(&long));
    }
}
