//! Where one step ends and the next begins.

use super::{Cues, StepUnit};
use std::ops::Range;

/// Words whose period does not end a sentence.
const ABBREVIATIONS: [&str; 12] =
    ["mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "approx", "eq", "no"];

/// The steps within `span` of `text`: trimmed, in order, none blank.
pub fn split(steps: &StepUnit, text: &str, span: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begins = match steps {
        StepUnit::Cues(cues) => cued(cues, text, span.clone()),
        _ => vec![],
    }
    .into_iter();
    let mut start = span.start;
    while start < span.end {
        let end = match steps {
            StepUnit::Line => line_end(&text[..span.end], start),
            StepUnit::Sentence => sentence_end(&text[..span.end], start),
            StepUnit::Paragraph => paragraph_end(&text[..span.end], start),
            StepUnit::Cues(_) => begins.next().unwrap_or(span.end),
        };
        let step = trimmed(text, start..end);
        if !step.is_empty() {
            found.push(step);
        }
        start = end;
    }
    found
}

/// Where the steps within `span` of `text` begin that cue words open, in order: at the sentence that holds the word, in the first one at the
/// word itself.
fn cued(cues: &Cues, text: &str, span: Range<usize>) -> Vec<usize> {
    let text = &text[..span.end];
    let (mut begins, mut last): (Vec<usize>, Option<usize>) = (Vec::new(), None);
    let (mut sentence, mut end) = (span.start, sentence_end(text, span.start));
    for (at, before) in cues.places(&text[span.start..]) {
        let at = span.start + at;
        while end <= at {
            (sentence, end) = (end, sentence_end(text, end));
        }
        let begin = if sentence == span.start { at } else { sentence };
        // Of several words in a sentence the first has parted it; the characters in between are counted once a sentence.
        let near = last.is_some_and(|last| before - last < cues.apart);
        if before < cues.skip || near || begins.last() == Some(&begin) {
            continue;
        }
        begins.push(begin);
        last = Some(before - text[begin..at].chars().count());
    }
    begins
}

/// Where the answer that stands at `at` begins to be more than its marker: the start of its line, or of its
/// sentence for [`StepUnit::Sentence`] and [`StepUnit::Cues`]. Steps end there.
pub fn unit_start(steps: &StepUnit, text: &str, at: usize) -> usize {
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    if matches!(steps, StepUnit::Line | StepUnit::Paragraph) {
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

/// The end of the paragraph that begins at `start`: a blank line follows it, or nothing.
fn paragraph_end(text: &str, start: usize) -> usize {
    let mut end = line_end(text, start);
    while end < text.len() && !text[end..line_end(text, end)].trim().is_empty() {
        end = line_end(text, end);
    }
    end
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
        split(&steps, text, 0..text.len()).into_iter().map(|span| &text[span]).collect()
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
    fn cue_words_begin_steps_at_their_sentences() {
        let cues = |skip, apart| {
            StepUnit::Cues(Cues { words: vec!["wait".into(), "but".into(), "So".into()], skip, apart })
        };
        // "attribute" and "so" are no cues; of "Wait, but" the first counts, and a number's period ends no sentence.
        let text = "The attribute is 3.5 so far. Wait, but is it? Hm. It is 4, but\nSO it ends.";
        let every = ["The attribute is 3.5 so far.", "Wait, but is it? Hm.", "It is 4, but", "SO it ends."];
        assert_eq!(parts(cues(0, 0), text), every);
        // "Wait" stands behind 29 characters, its "but" behind 35, which would part the sentence as well; that of the fourth sentence behind 59.
        assert_eq!(parts(cues(35, 0), text), every);
        let late = ["The attribute is 3.5 so far. Wait, but is it? Hm.", "It is 4, but", "SO it ends."];
        assert_eq!(parts(cues(36, 0), text), late);
        // The second step begins behind 28 characters, 31 before that word and 35 before "SO"; the fourth sentence 14 before it.
        assert_eq!(parts(cues(0, 31), text), [every[0], every[1], "It is 4, but\nSO it ends."]);
        assert_eq!(parts(cues(0, 32), text), [every[0], "Wait, but is it? Hm. It is 4, but", every[3]]);
        // No sentence ends before the first one's words: they are where it is parted, and nothing stands before the first of all.
        assert_eq!(parts(cues(0, 0), "But add but carry. So 5."), ["But add", "but carry.", "So 5."]);
        assert_eq!(parts(cues(0, 0), "no more"), ["no more"]);
        assert!(parts(cues(0, 0), " \n").is_empty());
    }

    #[test]
    fn many_cue_words_are_read_at_once() {
        let text = "wait and then ".repeat(50_000);
        let all = StepUnit::Cues(Cues { skip: 1000, apart: 400, ..Cues::default() });
        // A word every 14 characters from the 1008th on, of which one of 29 is far enough from the last: 406 characters.
        assert_eq!(parts(all.clone(), &text).len(), 1 + (50_000usize - 72).div_ceil(29));
        let behind = format!("So.\n{text}");
        assert_eq!(parts(all, &behind).len(), 2);
    }

    #[test]
    fn a_span_bounds_its_steps() {
        let text = "ab. cd. ef.";
        let steps = split(&StepUnit::Sentence, text, 1..6);
        assert_eq!(steps, [1..3, 4..6]);
    }
}
