//! The word that a misspelt one was probably meant to be.

/// The nearest of `known` to `word`, if any is near enough to be worth offering: a third of its letters wrong at
/// most (Damerau–Levenshtein), or one the beginning of the other. Case, `-` and `_` do not count.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // What is longer was not meant to be a name.
    if word.len() > LONGEST {
        return None;
    }
    let typed = plain(word);
    let limit = (typed.chars().count() / 3).max(1);
    let near = |name: &&'a str| (distance(&typed, &plain(name)), *name);
    let best = known.into_iter().map(|name| near(&name)).min_by_key(|(distance, _)| *distance)?;
    (best.0 <= limit && best.0 < typed.chars().count()).then_some(best.1)
}

/// Bytes of the longest word that resembles another.
const LONGEST: usize = 200;

fn distance(typed: &str, known: &str) -> usize {
    let prefix = typed.len().min(known.len()) >= 3 && (known.starts_with(typed) || typed.starts_with(known));
    let edits = strsim::damerau_levenshtein(typed, known);
    if prefix { edits.min(1) } else { edits }
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace(['-', ' '], "_")
}

/// `; did you mean `a`?` or nothing.
pub fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or(String::new(), |word| format!("; did you mean `{word}`?"))
}

/// A suggestion before a list of what is known: it closes with its `?`, and its absence with `;`.
pub fn or_semicolon(suggestion: String) -> String {
    if suggestion.is_empty() { ";".to_owned() } else { suggestion }
}

/// Names as a list for a message: `a, b, c`.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_letters_may_be_wrong() {
        // "lenght" has 6 letters, so 2 edits are allowed; it is 1 (a transposition) from "length".
        assert_eq!(nearest("lenght", ["format", "length"]), Some("length"));
        // "fast" has 4: 1 edit. "last" is 1 away, "slow" 4.
        assert_eq!(nearest("fast", ["slow", "last"]), Some("last"));
        assert_eq!(nearest("xyz", ["format", "length"]), None);
        // Two letters, one edit: but a word of one letter resembles every other one.
        assert_eq!(nearest("q", ["k"]), None);
    }

    #[test]
    fn a_beginning_is_near_and_signs_do_not_count() {
        assert_eq!(nearest("temp", ["top_p", "temperature"]), Some("temperature"));
        assert_eq!(nearest("Weight-Decay", ["weight_decay"]), Some("weight_decay"));
    }
}
