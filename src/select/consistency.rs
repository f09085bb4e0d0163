//! Which rationales survive questions about each option, and what pairs they make: CREST (Lee et al. 2024, arXiv
//! 2411.06387). Pure.

/// A rationale of a question, judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Whether its answer is right.
    pub correct: bool,
    /// How many follow-up questions, one an option, were answered as the gold answer has it after reading it; only asked
    /// of correct ones.
    pub consistent: usize,
}

/// Indices of the better and the worse rationale of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Preferred {
    /// The better one.
    pub chosen: usize,
    /// The worse one.
    pub rejected: usize,
}

/// What makes one rationale better than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Both answers are right and more follow-up questions were answered consistently.
    Consistency,
    /// Its answer is right and the other's wrong.
    Outcome,
}

impl Reason {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Consistency => "consistency",
            Reason::Outcome => "outcome",
        }
    }
}

/// Whether a rationale is trained on: its answer is right and at most `tolerance` of its `options` follow-up questions failed.
pub fn is_trained_on(judged: &Judged, options: usize, tolerance: usize) -> bool {
    judged.correct && judged.consistent + tolerance >= options
}

/// All pairs of one question for one `reason`.
pub fn pairs(judged: &[Judged], reason: Reason) -> Vec<Preferred> {
    let better = |a: &Judged, b: &Judged| match reason {
        Reason::Consistency => a.correct && b.correct && a.consistent > b.consistent,
        Reason::Outcome => a.correct && !b.correct,
    };
    let of = |chosen: usize| {
        let worse = (0..judged.len()).filter(move |&rejected| better(&judged[chosen], &judged[rejected]));
        worse.map(move |rejected| Preferred { chosen, rejected })
    };
    (0..judged.len()).flat_map(of).collect()
}

/// How many pairs to take of `consistency` and of `outcome` ones, so that `share` of them are of the first kind: as many
/// as the scarcer kind allows.
pub fn mixed(consistency: usize, outcome: usize, share: f64) -> (usize, usize) {
    let of = |count: usize, part: f64| if part > 0.0 { count as f64 / part } else { f64::INFINITY };
    let all = of(consistency, share).min(of(outcome, 1.0 - share));
    let first = ((all * share).round() as usize).min(consistency);
    (first, ((all * (1.0 - share)).round() as usize).min(outcome))
}

/// Whether an answer to "is this choice correct?" denies it. The released program looks for `not` or `incorrect`
/// anywhere, so that `nothing` and `note` deny too; here they are words, and `wrong`, `false` and `…n't` count.
///
/// ```
/// use rationale::select::consistency::denies;
/// assert!(denies(" not the correct answer.") && denies("Incorrect") && denies("isn't right"));
/// assert!(!denies(" correct. Note that nothing else fits"));
/// ```
pub fn denies(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '’')).map(str::to_lowercase);
    words.into_iter().any(|word| {
        ["not", "incorrect", "wrong", "false", "no"].contains(&word.as_str())
            || word.ends_with("n't")
            || word.ends_with("n’t")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn judged(correct: bool, consistent: usize) -> Judged {
        Judged { correct, consistent }
    }

    const GROUP: [Judged; 5] =
        [judged(true, 5), judged(false, 0), judged(true, 3), judged(true, 5), judged(false, 0)];

    fn of(reason: Reason) -> Vec<(usize, usize)> {
        pairs(&GROUP, reason).iter().map(|pair| (pair.chosen, pair.rejected)).collect()
    }

    #[test]
    fn at_most_the_tolerated_follow_ups_may_fail() {
        let kept = |tolerance| GROUP.map(|judged| is_trained_on(&judged, 5, tolerance));
        assert_eq!(kept(0), [true, false, false, true, false]);
        assert_eq!(kept(1), [true, false, false, true, false]);
        assert_eq!(kept(2), [true, false, true, true, false]);
        // A wrong one is never trained on, whatever is tolerated.
        assert_eq!(kept(5), [true, false, true, true, false]);
    }

    #[test]
    fn pairs_are_of_more_and_fewer_or_of_right_and_wrong() {
        assert_eq!(of(Reason::Consistency), [(0, 2), (3, 2)]);
        assert_eq!(of(Reason::Outcome), [(0, 1), (0, 4), (2, 1), (2, 4), (3, 1), (3, 4)]);
        assert_eq!(pairs(&GROUP[..1], Reason::Outcome), []);
    }

    #[test]
    fn the_mixture_holds_its_share_and_takes_what_there_is() {
        // 0.6 of all: 30 and 100 make 50 in all, 30 and 20; 100 and 10 make 25, 15 and 10.
        assert_eq!(mixed(30, 100, 0.6), (30, 20));
        assert_eq!(mixed(100, 10, 0.6), (15, 10));
        assert_eq!((mixed(7, 3, 1.0), mixed(7, 3, 0.0)), ((7, 0), (0, 3)));
        assert_eq!((mixed(0, 9, 0.6), mixed(9, 0, 0.6)), ((0, 0), (0, 0)));
    }
}
