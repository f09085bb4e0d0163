//! Which answer the most weight speaks for: self-consistency (Wang et al. 2022, arXiv 2203.11171), and its weighted form,
//! where a verifier's scores of a solution are its weight (Li et al. 2022, arXiv 2206.02336). Pure.

/// The index of the first sample that gives the answer of most weight, and that weight. Answers come as classes, such as those of
/// [`Equality::classes`](crate::rationale::equality::Equality::classes), which are those that grading goes by; of equal weights the one seen
/// first wins; samples without an answer do not vote.
///
/// ```
/// use rationale::{rationale::equality::Equality, select::vote::vote};
/// let answers = Equality::of(Some("7"), &[]).classes(&[Some("8"), Some("7 apples"), None, Some("7.0")]);
/// assert_eq!(vote(&answers, &[1.0; 4]), Some((1, 2.0)));
/// // One voice of 0.9 against two of 0.5 together.
/// assert_eq!(vote(&answers, &[0.9, 0.25, 5.0, 0.25]), Some((0, 0.9)));
/// ```
pub fn vote<A: PartialEq>(answers: &[Option<A>], weights: &[f64]) -> Option<(usize, f64)> {
    let mut classes: Vec<(usize, f64)> = Vec::new();
    for (index, (answer, weight)) in answers.iter().zip(weights).enumerate() {
        if answer.is_none() {
            continue;
        }
        match classes.iter_mut().find(|(first, _)| answers[*first] == *answer) {
            Some((_, votes)) => *votes += weight,
            None => classes.push((index, *weight)),
        }
    }
    // max_by takes the last of equals; backwards that is the first.
    classes.into_iter().rev().max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_of_one_answer_add_up() {
        let answers = [Some("b"), Some("a"), Some("a"), None, Some("b")];
        // b: 0.5 + 0.2 against a: 0.3 + 0.3; without the second b, 0.5 against 0.6.
        assert_eq!(vote(&answers, &[0.5, 0.3, 0.3, 9.0, 0.2]), Some((0, 0.7)));
        assert_eq!(vote(&answers[..3], &[0.5, 0.3, 0.3]), Some((1, 0.6)));
        // A tie goes to the answer seen first; nobody's vote is no vote.
        assert_eq!(vote(&answers[..2], &[1.0, 1.0]), Some((0, 1.0)));
        assert_eq!(vote(&[None::<&str>], &[1.0]), None);
    }
}
