//! Tables for people: sample rollouts, and a run's evaluations.

use comfy_table::{ContentArrangement, Table, presets};

/// A table with a header, as wide as the terminal (100 columns where there is none).
pub fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width());
    table.set_header(header.iter().map(|cell| readable(cell)));
    for row in rows {
        table.add_row(row.iter().map(|cell| readable(cell)));
    }
    table.to_string()
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

/// A cell of a file of comma-separated values, as RFC 4180 has it.
pub fn csv_cell(text: &str) -> String {
    let plain = !text.contains([',', '"', '\n', '\r']);
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
    let shown = |c: char| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c };
    text.replace('\t', "    ").chars().map(shown).collect()
}

fn width() -> u16 {
    console::Term::stderr().size_checked().map_or(100, |(_, columns)| columns.clamp(60, 160))
}
