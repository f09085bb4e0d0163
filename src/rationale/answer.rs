//! Where the answer stands in a text, form by form.

use super::display::displayed;
use super::meant::{is_judgement, is_meant};
use super::{AnswerForm, Pattern, further, number, stated, steps};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Markers of a form that are looked at, from the last one back: a text that says nothing else is read once, not once for each.
const MOST_MARKERS: usize = 100;

/// An answer and the marker that announced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerSpan {
    /// The answer alone; never empty.
    pub answer: Range<usize>,
    /// The answer with its marker.
    pub marked: Range<usize>,
    /// Whether another form's answer goes before it: a `####` line that other text follows may be a heading.
    pub weak: bool,
}

impl AnswerSpan {
    /// The same spans in a text that has `offset` more bytes before this one.
    pub fn shifted(self, offset: usize) -> Self {
        let shift = |span: Range<usize>| span.start + offset..span.end + offset;
        Self { answer: shift(self.answer), marked: shift(self.marked), weak: self.weak }
    }
}

/// The answer's byte range in `text` by one form, without its marker.
pub fn extract(form: &AnswerForm, text: &str) -> Option<Range<usize>> {
    find(form, text).map(|found| found.answer)
}

/// What a gold answer comes to: of a whole solution, as GSM8K's own `answer` column has it (`… #### 72`) and MATH's `\boxed{…}`, its end; `None` of
/// nothing.
pub fn gold(whole: &str) -> Option<&str> {
    let whole = Some(whole.trim()).filter(|gold| !gold.is_empty())?;
    let marked = [AnswerForm::Hashes, AnswerForm::Boxed];
    let span = marked.iter().find_map(|form| extract(form, whole));
    Some(span.map_or(whole, |span| &whole[span]))
}

/// The answer with its marker, by one form: the last match that holds anything.
pub fn find(form: &AnswerForm, text: &str) -> Option<AnswerSpan> {
    match form {
        AnswerForm::Hashes => hashes(text),
        AnswerForm::Boxed => boxed(text),
        AnswerForm::AnswerIs => answer_is(text),
        AnswerForm::AnswerTag => answer_tag(text),
        AnswerForm::LastNumber => number::spans(text).last().and_then(|span| found(span.clone(), span)),
        AnswerForm::Letter => letter(text),
        AnswerForm::LastLine => last_line(text),
        AnswerForm::Whole => found(steps::trimmed(text, 0..text.len()), 0..text.len()),
        AnswerForm::Regex(pattern) => by_pattern(pattern, text),
    }
}

fn hashes(text: &str) -> Option<AnswerSpan> {
    let mut empty = None;
    let answer = text.rmatch_indices("####").take(MOST_MARKERS).find_map(|(at, _)| {
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        let start = at + (text[at..end].len() - text[at..end].trim_start_matches('#').len());
        let followed = !text[end..].trim().is_empty();
        if followed && heading(&text[start..end]) {
            return None;
        }
        let answer = AnswerSpan { weak: followed, ..found(tidy(text, start..end), at..end)? };
        if followed || !empty_heading(&text[start..end]) {
            return Some(answer);
        }
        empty = Some(AnswerSpan { weak: true, ..answer });
        None
    });
    answer.or(empty)
}

/// Whether a line would be a heading if something followed it: a completion may end with one.
fn empty_heading(line: &str) -> bool {
    let word = line.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let words = [
        "note",
        "notes",
        "explanation",
        "solution",
        "verification",
        "check",
        "summary",
        "conclusion",
        "reasoning",
    ];
    words.contains(&word.as_str())
}

/// Whether a line is Markdown's heading of what follows it, by its words: `Step 2: result`, `Solution`, `Why so:`.
fn heading(line: &str) -> bool {
    static HEADING: LazyLock<Regex> = LazyLock::new(|| {
        let words = "step|part|case|phase|stage|section|method|approach|solution|conclusion|summary|explanation|analysis|reasoning|verification|check|\
            calculation|calculations|answer|final|result|results|problem|question|given|setup|understanding|introduction|overview|proof|note|\
            finding|find|let|now|first|second|third|next|then|therefore|recap|background|details|example|steps|identify|calculate|compute|\
            determine|solve|add|subtract|multiply|divide|set|simplify|substitute";
        Regex::new(&format!(r"(?i)^[\s*_]*(?:\d+[.)]\s+\D|(?:the\s+)?(?:{words})\b)|[:：][\s*_]*$"))
            .expect("a literal")
    });
    HEADING.is_match(line)
}

/// `\boxed{…}`, `\fbox{…}`, `\framebox{…}`, and `\boxed 5` without braces.
fn boxed(text: &str) -> Option<AnswerSpan> {
    static MARKER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\\(?:boxed|fbox|framebox)\s*(?:(\{)|([^\s{}$\\]+|\\[a-zA-Z]+(?:\{[^{}]*\})*))")
            .expect("a literal")
    });
    let matches: Vec<_> = MARKER.captures_iter(text).collect();
    matches.into_iter().rev().take(MOST_MARKERS).find_map(|captures| {
        let whole = captures.get(0).expect("the match");
        match captures.get(2) {
            Some(bare) => found(tidy(text, bare.range()), whole.range()),
            None => {
                let end = whole.end() + closing_brace(&text[whole.end()..])?;
                found(steps::trimmed(text, whole.end()..end), whole.start()..end + 1)
            }
        }
    })
}

/// The byte offset of the brace that closes one opened just before `text`; `\{` and `\}` do not count.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if !escaped => depth += 1,
            b'}' if !escaped => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        escaped = byte == b'\\' && !escaped;
    }
    None
}

fn answer_is(text: &str) -> Option<AnswerSpan> {
    static MARKER: LazyLock<Regex> = LazyLock::new(|| {
        let noun = r"(?:(?:(?:the|my|so|final|correct|right|best)\s+)*(?:answers?|ans)|(?:correct|right|best)\s+(?:choice|option)|(?:(?:the|my|our)\s+)?final\s+result)";
        let says = r"\s+(?:is|are|would be|must be|should be|will be|equals|(?:turns|works|comes) out to(?: be)?|comes to)\b|['’]s\b|\**\s*[:=]";
        let line = r"^\s*(?:(?:#+\s*\**|\*\*)(?:the\s+)?(?:final\s+)?|final\s+)answer\**\s*$";
        let marker = format!(r"(?i)\b{noun}(?:\s+to\b[^.\n]{{0,80}}?)?(?:{says})|{line}");
        Regex::new(&format!("(?m){marker}")).expect("a literal")
    });
    let markers: Vec<_> = MARKER.find_iter(text).collect();
    let last = markers.into_iter().rev().take(MOST_MARKERS).filter(|marker| is_meant(text, marker.start()));
    let mut answers = last.filter_map(|marker| {
        // "The answer is:" may put the answer on the next line.
        let rest = &text[marker.end()..];
        let start = marker.end() + (rest.len() - without_lead(rest).len());
        // "The answer's 5", but not "the answer's square is 5".
        let said = text[start..].trim_start_matches(|c: char| "$\\({*- ".contains(c));
        if marker.as_str().ends_with(['s', 'S'])
            && marker.as_str().contains(['\'', '’'])
            && !said.starts_with(|c: char| c.is_ascii_digit())
        {
            return None;
        }
        if let Some(displayed) = displayed(text, marker.start(), start) {
            return Some(displayed);
        }
        let lettered = bold_letter(text, start);
        let end = match lettered.unwrap_or(steps::sentence_end(text, marker.start())) {
            end if end > start => end,
            _ => steps::sentence_end(text, start),
        };
        let end = further::end(text, start, end);
        let answer = found(tidy(text, start..end), marker.start()..end)?;
        let said = &text[answer.answer.clone()];
        Some(AnswerSpan { weak: is_judgement(said) || aside(marker.as_str(), said), ..answer })
    });
    let Some(last) = answers.next() else { return stated::option(text) };
    let strong = if last.weak { answers.find(|answer| !answer.weak) } else { None };
    Some(strong.unwrap_or(last))
}

/// Where the emphasis ends that begins right before `start` with a letter and a period: "the answer is **B. Paris**" says Paris, too.
fn bold_letter(text: &str, start: usize) -> Option<usize> {
    let rest = text[start..].lines().next()?;
    let letter = rest.trim_start_matches('(');
    let numbered = letter.starts_with(|c: char| c.is_ascii_uppercase())
        && letter[1..].trim_start_matches(')').starts_with(". ");
    (numbered && text[..start].ends_with("**")).then(|| rest.find("**").map(|at| start + at + 2))?
}

/// Whether a marker that is seldom one announces no value: "I hope my answers are helpful", "the final result is a whole number".
fn aside(marker: &str, said: &str) -> bool {
    let marker = marker.to_lowercase();
    let seldom = ["result", "answers", "out to", "comes to"].iter().any(|words| marker.contains(words));
    let value = said.starts_with(|c: char| c.is_ascii_digit() || "$\\(-[".contains(c))
        || said.split(|c: char| !c.is_alphanumeric()).next().is_some_and(|word| word.len() == 1);
    seldom && (!value || marker.contains("result"))
}

/// Words that may stand between "the answer is" and the answer.
pub(super) const BETWEEN: [&str; 8] =
    ["therefore", "thus", "hence", "then", "so", "simply", "just", "clearly"];

/// Without the signs behind a marker, and one of the words of [`BETWEEN`] where something else follows it.
fn without_lead(rest: &str) -> &str {
    let signs = |text: &'_ str| {
        text.len() - text.trim_start_matches(|c: char| c.is_whitespace() || ":=*,".contains(c)).len()
    };
    let rest = &rest[signs(rest)..];
    let length = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(length);
    let line = behind[signs(behind)..].lines().next().unwrap_or("");
    let apart = behind.starts_with(|c: char| c.is_whitespace() || ":,*".contains(c));
    let more = line.chars().any(|c| c.is_alphanumeric());
    if apart && more && BETWEEN.iter().any(|known| word.eq_ignore_ascii_case(known)) {
        return &behind[signs(behind)..];
    }
    rest
}

fn answer_tag(text: &str) -> Option<AnswerSpan> {
    const OPEN: &str = "<answer>";
    const CLOSE: &str = "</answer>";
    text.rmatch_indices(OPEN).find_map(|(at, _)| {
        let start = at + OPEN.len();
        let end = start + text[start..].find(CLOSE)?;
        found(steps::trimmed(text, start..end), at..end + CLOSE.len())
    })
}

fn letter(text: &str) -> Option<AnswerSpan> {
    static LETTER: LazyLock<Regex> = LazyLock::new(|| {
        // A bare letter needs an end after it, or "A dog" and "I think" would be choices.
        Regex::new(r"(?m)\(([A-Za-z])\)|(?:^|[^\w'’-])([A-Z])(?:[.):,;*\]]|\s*$)").expect("a literal")
    });
    let captures = LETTER.captures_iter(text).last()?;
    let letter = captures.get(1).or(captures.get(2))?.range();
    let whole = if captures.get(1).is_some() { captures.get(0)?.range() } else { letter.clone() };
    found(letter, whole)
}

fn last_line(text: &str) -> Option<AnswerSpan> {
    let end = text.trim_end().len();
    let start = text[..end].rfind('\n').map_or(0, |newline| newline + 1);
    found(steps::trimmed(text, start..end), start..end)
}

fn by_pattern(pattern: &Pattern, text: &str) -> Option<AnswerSpan> {
    let captures = pattern.regex().captures_iter(text).last()?;
    let marked = captures.get(0)?.range();
    let answer = captures.iter().skip(1).flatten().next().map_or(marked.clone(), |group| group.range());
    found(steps::trimmed(text, answer), marked)
}

pub(super) fn found(answer: Range<usize>, marked: Range<usize>) -> Option<AnswerSpan> {
    (!answer.is_empty()).then_some(AnswerSpan { answer, marked, weak: false })
}

/// The span without white space, emphasis, a closing period or comma, and a pair of `$` around it.
pub(super) fn tidy(text: &str, span: Range<usize>) -> Range<usize> {
    let mut span = steps::trimmed(text, span);
    loop {
        let piece = &text[span.clone()];
        let inner = piece.trim_start_matches(['*', '`', ':']);
        let inner = inner.trim_end_matches(['*', '`', '.', ',', ';', ':']).trim();
        let inner = match inner.strip_prefix('$').and_then(|inner| inner.strip_suffix('$')) {
            Some(inner) if !inner.contains('$') => inner,
            _ => match inner.strip_prefix('_').and_then(|inner| inner.strip_suffix('_')) {
                Some(inner) => inner,
                None => inner,
            },
        };
        if inner.len() == piece.len() || inner.is_empty() {
            return if inner.is_empty() { span.start..span.start } else { span };
        }
        let start = span.start + (inner.as_ptr() as usize - piece.as_ptr() as usize);
        span = start..start + inner.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<'a>(form: &AnswerForm, text: &'a str) -> Option<&'a str> {
        extract(form, text).map(|span| &text[span])
    }

    #[test]
    fn each_form_finds_its_last_match() {
        use AnswerForm::*;
        let cases: [(AnswerForm, &str, Option<&str>); 65] = [
            (Hashes, "x\n#### 72", Some("72")),
            (Hashes, "#### 1\n#### -1,234.50 \nbye", Some("-1,234.50")),
            (Hashes, "####72.", Some("72")),
            (Hashes, "#### 7\n####", Some("7")),
            (Hashes, "### 7", None),
            (Boxed, r"\boxed{1} then $\boxed{\frac{3}{4}}$.", Some(r"\frac{3}{4}")),
            (Boxed, r"\boxed{ \{1,2\} }", Some(r"\{1,2\}")),
            (Boxed, r"\boxed{5} and \boxed{6", Some("5")),
            (Boxed, r"\boxed{}", None),
            (AnswerIs, "So the answer is 72.", Some("72")),
            (AnswerIs, "The answer is $12.50.", Some("$12.50")),
            (AnswerIs, "The answer is 50%.\nDone.", Some("50%")),
            (AnswerIs, "The final answer is: $x^2$. Bye", Some("x^2")),
            (AnswerIs, "**Answer:** 5 apples", Some("5 apples")),
            (AnswerIs, "**Answer**: (B)", Some("(B)")),
            (AnswerIs, "answer: 1\nANSWER = 2", Some("2")),
            (AnswerIs, "The answer to the question is 7!", Some("7!")),
            (AnswerIs, "The answer is 1,234, so the answer is 1,235", Some("1,235")),
            (AnswerIs, "The answer is:\n\n42", Some("42")),
            (AnswerIs, "The answer is **yes**.", Some("yes")),
            (AnswerIs, "The answer is", None),
            (AnswerIs, "The answer is 7.\n\nThe answer is:\n\n$$\n18\n$$\nBye", Some("18")),
            (AnswerIs, "The answer is 7.\n\nThe answer is:\n\n\\[\n18.\n\\].", Some("18")),
            (AnswerIs, "The answer is 7. The answer is\n```\n18\n```", Some("18")),
            (AnswerIs, "The answer is\n$$\n18\n$$ or 19.", Some("$$\n18\n$$ or 19")),
            (AnswerIs, "The answer is\n$$\n18\n$$\nor 19.", Some("$$\n18\n$$\nor 19")),
            (AnswerIs, "The answer is 7. The answer is:\n\n$$\n", Some("$$")),
            (AnswerIs, "The answer is $5 or\n$6", Some("$5 or")),
            (AnswerIs, "**Final Answer**\n18", Some("18")),
            (AnswerIs, "Ans: 18", Some("18")),
            (AnswerIs, "The answer is **B. Rome**. It is.", Some("B. Rome")),
            (AnswerIs, "The answer is **B**. Rome it is.", Some("B")),
            (AnswerIs, "The answer is 18. The final result is whole.", Some("18")),
            (AnswerIs, "The answer is 18. I hope my answers are helpful.", Some("18")),
            (AnswerIs, "The answer is 18. The answers are 3 and 4.", Some("3 and 4")),
            (AnswerIs, "The answer's 18.", Some("18")),
            (AnswerIs, "The answer's square is 18.", None),
            (AnswerIs, "The answer is _18_.", Some("18")),
            (AnswerIs, "Rome is in Italy. Option B is correct.", Some("B")),
            (AnswerIs, "The correct option is B.", Some("B")),
            (AnswerIs, "No answers isolated here", None),
            (AnswerTag, "<answer>1</answer><answer>\n2 </answer>", Some("2")),
            (AnswerTag, "<answer>1</answer><answer>2", Some("1")),
            (AnswerTag, "<answer> </answer>", None),
            (LastNumber, "7 of them cost $3.50.", Some("$3.50")),
            (LastNumber, "from 10-3", Some("3")),
            (LastNumber, "it is -1,234,567", Some("-1,234,567")),
            (LastNumber, "about 3/4", Some("3/4")),
            (LastNumber, "12% or 1e3 left", Some("1e3")),
            (LastNumber, "1, 2, 3.", Some("3")),
            (LastNumber, "none", None),
            (Letter, "I think (a) no, (B)", Some("B")),
            (Letter, "The answer is C", Some("C")),
            (Letter, "Choose D. I am sure", Some("D")),
            (Letter, "**E**", Some("E")),
            (Letter, "A dog and I", Some("I")),
            (Letter, "A dog ate it", None),
            (Letter, "plan-B.", None),
            (LastLine, "a\n b \n\n", Some("b")),
            (LastLine, " \n", None),
            (Whole, " a b\n", Some("a b")),
            (Whole, "", None),
            (Regex(Pattern::new(r"=(\d+)").unwrap()), "x=1, y=22;", Some("22")),
            (Regex(Pattern::new(r"\d+").unwrap()), "x=1, y=22;", Some("22")),
            (Regex(Pattern::new(r"a(x)?|b(y)").unwrap()), "a by", Some("y")),
        ];
        for (form, text, expected) in cases {
            assert_eq!(answer(&form, text), expected, "{form:?} in {text:?}");
        }
    }

    #[test]
    fn the_marker_is_known_too() {
        let text = "So. The answer is 5. Bye";
        let found = find(&AnswerForm::AnswerIs, text).unwrap();
        assert_eq!((&text[found.marked], &text[found.answer]), ("The answer is 5.", "5"));
    }
}
