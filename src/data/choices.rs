//! `choices`: the answers that a question offers.

use super::columns::{Read, letter};
use super::row::Row;
use serde_json::Value;

/// Labels (none for plain lists) and texts.
pub fn read(row: &Row) -> Read<(Vec<String>, Vec<String>)> {
    let wrong = || {
        "`choices` must be a list of texts, a list of {\"label\", \"text\"}, or {\"label\": […], \"text\": […]}"
            .to_string()
    };
    let list =
        |value: Option<&Value>| -> Option<Vec<String>> { value?.as_array()?.iter().map(plain).collect() };
    let (labels, texts) = match row.fields.get("choices") {
        None => return Ok(Default::default()),
        Some(value @ Value::Array(items)) if items.iter().all(|item| !item.is_object()) => {
            (Vec::new(), list(Some(value)).ok_or_else(wrong)?)
        }
        Some(Value::Array(items)) => {
            let column = |key| items.iter().map(|item| plain(item.get(key)?)).collect::<Option<Vec<_>>>();
            (column("label").ok_or_else(wrong)?, column("text").ok_or_else(wrong)?)
        }
        Some(value) => {
            (list(value.get("label")).ok_or_else(wrong)?, list(value.get("text")).ok_or_else(wrong)?)
        }
    };
    if !labels.is_empty() && labels.len() != texts.len() {
        return Err(format!("`choices` has {} labels for {} texts", labels.len(), texts.len()));
    }
    Ok(match labels.is_empty() {
        true => (labels, unmarked(texts)),
        false => (labels, texts),
    })
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Choices without the letters that all of them begin with in their order, as AQuA's do: `A)21`, `B)21.5`.
fn unmarked(texts: Vec<String>) -> Vec<String> {
    fn rest((index, text): (usize, &String)) -> Option<&str> {
        let (letter, text) = (letter(index), text.trim());
        let bare = text.strip_prefix('(').unwrap_or(text).strip_prefix(letter.as_str())?;
        let rest = bare.strip_prefix([')', '.', ':']).map(str::trim).filter(|rest| !rest.is_empty())?;
        (index < 26).then_some(rest)
    }
    match texts.iter().enumerate().map(rest).collect::<Option<Vec<_>>>() {
        Some(rest) if rest.len() > 1 => rest.into_iter().map(str::to_owned).collect(),
        _ => texts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_off_where_all_have_theirs() {
        let of = |texts: &[&str]| unmarked(texts.iter().map(|text| text.to_string()).collect());
        assert_eq!(of(&["A)21", "B)21.5"]), ["21", "21.5"]);
        assert_eq!(of(&["(A) x", "(B) y"]), ["x", "y"]);
        for whole in [["A)21", "C)21.5"], ["A)21", "22"], ["A)", "B)"], ["A 21", "B 22"]] {
            assert_eq!(of(&whole), whole);
        }
        assert_eq!(of(&["A. only"]), ["A. only"]);
    }
}
