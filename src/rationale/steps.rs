//! Where one step ends and the next begins.

use super::StepUnit;
use std::ops::Range;

/// Words whose period does not end a sentence.
const ABBREVIATIONS: [&str; 12] =
    ["mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "approx", "eq", "no"];

/// The steps within `span` of `text`: trimmed, in order, none blank.
pub fn split(steps: StepUnit, text: &str, span: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = span.start;
    while start < span.end {
        let end = unit_end(steps, &text[..span.end], start);
        let step = trimmed(text, start..end);
        if !step.is_empty() {
            found.push(step);
        }
        start = end;
    }
    found
}

/// Where the answer that stands at `at` begins to be more than its marker: the start of its line, or of its
/// sentence for [`StepUnit::Sentence`]. Steps end there.
pub fn unit_start(steps: StepUnit, text: &str, at: usize) -> usize {
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    if steps != StepUnit::Sentence {
        return line;
    }
    let mut start = line;
    loop {
        let end = sentence_end(text, start);
        if end > at || end >= text.len() {
            return start;
        }
        start = end;
    }
}

/// The end of the sentence that begins at `start`, its punctuation and closing quotes included. A line's end ends
/// a sentence; a period inside a number, after an abbreviation or after a list number does not.
pub fn sentence_end(text: &str, start: usize) -> usize {
    let line = line_end(text, start);
    let mut rest = text[start..line].char_indices().peekable();
    while let Some((offset, character)) = rest.next() {
        if !matches!(character, '.' | '!' | '?' | '。' | '！' | '？') {
            continue;
        }
        while rest
            .next_if(|(_, c)| matches!(c, '.' | '!' | '?' | '"' | '\'' | ')' | ']' | '”' | '’' | '*'))
            .is_some()
        {}
        let after = rest.peek().map_or(line, |(next, _)| start + next);
        let closed = character > '\u{7f}' || text[after..line].chars().next().is_none_or(char::is_whitespace);
        let goes_on = || {
            let before = &text[start..start + offset];
            continues(before) || stands_before_a_number(before, &text[after..line])
        };
        if closed && !(character == '.' && goes_on()) {
            return after;
        }
    }
    line
}

/// The same span without white space at its ends.
pub fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let piece = &text[span.clone()];
    let start = span.start + (piece.len() - piece.trim_start().len());
    start..(start + piece.trim().len())
}

fn unit_end(steps: StepUnit, text: &str, start: usize) -> usize {
    match steps {
        StepUnit::Line => line_end(text, start),
        StepUnit::Sentence => sentence_end(text, start),
        StepUnit::Paragraph => {
            let mut end = line_end(text, start);
            while end < text.len() && !text[end..line_end(text, end)].trim().is_empty() {
                end = line_end(text, end);
            }
            end
        }
    }
}

/// The end of the line that begins at `start`, its newline included.
fn line_end(text: &str, start: usize) -> usize {
    text[start..].find('\n').map_or(text.len(), |newline| start + newline + 1)
}

/// Whether a period after `sentence` belongs to an abbreviation or numbers a list item.
fn continues(sentence: &str) -> bool {
    let words = sentence.trim_start();
    let last = words.rsplit(char::is_whitespace).next().unwrap_or("").trim_start_matches(['(', '"', '“']);
    let numbers_an_item =
        last.len() == words.len() && !words.is_empty() && words.chars().all(|c| c.is_ascii_digit());
    numbers_an_item || ABBREVIATIONS.contains(&last.to_lowercase().as_str())
}

/// Whether a period is that of an abbreviation which stands before its number: Rs. 5, U.S. $5, ca. 5. Behind a number, `25 Rs.`, it ends a sentence.
fn stands_before_a_number(before: &str, after: &str) -> bool {
    const KNOWN: [&str; 4] = ["rs", "re", "u.s", "ca"];
    let start = before.trim_end_matches(|c: char| c.is_alphabetic() || c == '.').len();
    let (rest, word) = before.split_at(start);
    let behind_number = rest.trim_end().ends_with(|c: char| c.is_ascii_digit());
    let number = after.chars().take(8).find(|c| !(c.is_whitespace() || "$\\{}*(".contains(*c)));
    KNOWN.contains(&word.to_lowercase().as_str())
        && !behind_number
        && number.is_some_and(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(steps: StepUnit, text: &str) -> Vec<&str> {
        split(steps, text, 0..text.len()).into_iter().map(|span| &text[span]).collect()
    }

    #[test]
    fn paragraphs_end_at_blank_lines() {
        assert_eq!(parts(StepUnit::Paragraph, "\n\na\nb\n \n\nc\n"), ["a\nb", "c"]);
        assert_eq!(parts(StepUnit::Line, "a\r\n\r\nb"), ["a", "b"]);
    }

    #[test]
    fn sentences_keep_numbers_abbreviations_and_list_items_whole() {
        let text = "1. Dr. Ng paid $3.50, e.g. in cash. 2. \"Really?\" she said... Yes!\nNo end";
        // "2." opens no line, so it numbers the rest of its sentence only because nothing else precedes it there.
        let expected =
            ["1. Dr. Ng paid $3.50, e.g. in cash.", "2. \"Really?\"", "she said...", "Yes!", "No end"];
        assert_eq!(parts(StepUnit::Sentence, text), expected);
    }

    #[test]
    fn abbreviations_before_a_number_end_no_sentence() {
        for whole in ["He pays Rs. 50 at once.", "It is $\\text{Rs. }50$ now.", "U.S. $25.", "It is ca. 25."]
        {
            assert_eq!(parts(StepUnit::Sentence, whole), [whole]);
        }
        for (two, first) in
            [("It costs Rs. He pays.", "It costs Rs."), ("He has 25 Rs. 5 are lost.", "He has 25 Rs.")]
        {
            assert_eq!(parts(StepUnit::Sentence, two)[0], first);
        }
    }

    #[test]
    fn a_span_bounds_its_steps() {
        let text = "ab. cd. ef.";
        let steps = split(StepUnit::Sentence, text, 1..6);
        assert_eq!(steps, [1..3, 4..6]);
    }
}
