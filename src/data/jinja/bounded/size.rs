//! How much a value of a template is.

use minijinja::value::{Value, ValueKind};
use std::fmt::Write;

/// Values that a list or dictionary may have in it, itself and what is in them counted each time.
const VALUES: usize = 1_000_000;
/// How deep lists and dictionaries may lie in each other.
const DEEPEST: usize = 1000;

/// What a value comes to.
#[derive(Debug, Default)]
pub struct Size {
    /// Bytes that it prints as.
    pub bytes: usize,
    /// Values in it, itself among them.
    pub values: usize,
    /// How deep they lie.
    pub depth: usize,
    /// Whether it is a namespace, or has one in it.
    pub namespaces: bool,
}

/// What a value comes to; none where it has more than `most` bytes, too many values or too deep ones.
pub fn of(value: &Value, most: usize) -> Option<Size> {
    let mut size = Size::default();
    size.add(value, 0, most)?;
    Some(size)
}

/// Whether there are values in it.
pub fn holds_others(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable)
}

/// Bytes that what holds no others prints as.
pub fn plain(value: &Value) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    match (value.as_str(), value.kind()) {
        (Some(text), _) => text.len(),
        (None, ValueKind::Number) => {
            let mut count = Count(0);
            // The count takes all that is written.
            let _ = write!(count, "{value}");
            count.0
        }
        _ => 8,
    }
}

impl Size {
    fn add(&mut self, value: &Value, depth: usize, most: usize) -> Option<()> {
        self.values += 1;
        self.depth = self.depth.max(depth);
        if !holds_others(value) {
            self.bytes += plain(value);
        } else if depth == DEEPEST {
            return None;
        } else if value.kind() == ValueKind::Map {
            self.namespaces |= value.as_object().is_some_and(|it| it.type_name().ends_with("::Namespace"));
            for key in value.try_iter().into_iter().flatten() {
                self.bytes += 4;
                self.add(&key, depth + 1, most)?;
                self.add(&value.get_item(&key).unwrap_or_default(), depth + 1, most)?;
            }
        } else if value.len() != Some(0) {
            // What is empty may say so without end.
            for item in value.try_iter().into_iter().flatten() {
                self.bytes += 2;
                self.add(&item, depth + 1, most)?;
            }
        }
        (self.bytes <= most && self.values <= VALUES).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::Environment;

    #[test]
    fn sizes_count_what_is_printed_and_stop_at_what_is_too_much() {
        let made = |text: &str| Environment::new().compile_expression(text).unwrap().eval(()).unwrap();
        let size = of(&made("[1, 'ab', {'k': [none]}, 2.5]"), 1000).unwrap();
        assert_eq!((size.values, size.depth, size.namespaces), (8, 3, false));
        // Two for each item, four for each key, and 1, ab, k, a none and 2.5.
        assert_eq!(size.bytes, 4 * 2 + 4 + 2 + 1 + 2 + 1 + 8 + 3);
        assert!(of(&made("[namespace()]"), 1000).unwrap().namespaces);
        for endless in ["[1] * 9999999999", "([1] * 9999) * 999999", "[[]] * 9999999999", "['abc'] * 300"] {
            assert!(of(&made(endless), 1000).is_none(), "{endless}");
        }
        assert_eq!(of(&made("[] * 9999999999"), 1000).map(|size| size.values), Some(1));
        let deep = (0..DEEPEST).fold(Value::from(1), |value, _| Value::from(vec![value]));
        assert!(of(&deep, 1 << 20).is_some() && of(&Value::from(vec![deep]), 1 << 20).is_none());
    }
}
