//! Micro-batches: which sequences go through the model together, within a budget of tokens.

/// What a sequence costs: the tokens of its prompt, which are computed once for all of its family that stand in one
/// micro-batch, and the tokens that are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Sequences of one family share a prompt.
    pub family: usize,
    /// Tokens that the family shares.
    pub shared: usize,
    /// The sequence's other tokens.
    pub own: usize,
}

/// Splits sequences of these `sizes` into micro-batches of at most `budget` tokens each (a longer sequence stands
/// alone), as lists of indices. Families stay together as far as the budget goes, and families of like length meet,
/// because attention pads to the longest of its neighbours; the split depends on the sizes alone, so a run can be
/// repeated.
///
/// ```
/// use rationale::batch::{Size, micro_batches};
/// let size = |family, shared, own| Size { family, shared, own };
/// // Two of family 0 cost 6 + 2 + 1 tokens, and the third has no room beside them.
/// let sizes = [size(0, 6, 2), size(1, 0, 4), size(0, 6, 1), size(0, 6, 3)];
/// assert_eq!(micro_batches(&sizes, 11), vec![vec![3, 0], vec![2, 1]]);
/// ```
pub fn micro_batches(sizes: &[Size], budget: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for part in parts(sizes, budget) {
        let tokens = cost(sizes, &part);
        if batches.is_empty() || tokens > room {
            batches.push(Vec::new());
            room = budget;
        }
        room = room.saturating_sub(tokens);
        batches.last_mut().expect("pushed above").extend(part);
    }
    batches
}

/// The families, each cut where it outgrows the budget, the longest first.
fn parts(sizes: &[Size], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    let length = |i: usize| sizes[i].shared + sizes[i].own;
    let mut longest = vec![0; sizes.iter().map(|size| size.family + 1).max().unwrap_or(0)];
    for (index, size) in sizes.iter().enumerate() {
        longest[size.family] = length(index).max(longest[size.family]);
    }
    order.sort_by_key(|&i| {
        let family = sizes[i].family;
        (std::cmp::Reverse(longest[family]), family, std::cmp::Reverse(length(i)))
    });
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for index in order {
        let fits = |part: &&mut Vec<usize>| {
            sizes[part[0]].family == sizes[index].family && cost(sizes, part) + sizes[index].own <= budget
        };
        match parts.last_mut().filter(fits) {
            Some(part) => part.push(index),
            None => parts.push(vec![index]),
        }
    }
    parts
}

/// Tokens of some sequences of one family.
fn cost(sizes: &[Size], part: &[usize]) -> usize {
    sizes[part[0]].shared + part.iter().map(|&i| sizes[i].own).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(family, shared, own)`.
    fn sizes(of: &[(usize, usize, usize)]) -> Vec<Size> {
        of.iter().map(|&(family, shared, own)| Size { family, shared, own }).collect()
    }

    #[test]
    fn every_sequence_is_in_one_batch_and_budgets_hold() {
        let sizes = sizes(&[
            (0, 4, 1),
            (1, 0, 1),
            (0, 4, 3),
            (2, 0, 3),
            (3, 0, 3),
            (0, 4, 16),
            (4, 2, 0),
            (4, 2, 6),
            (0, 4, 2),
        ]);
        for budget in 1..40 {
            let batches = micro_batches(&sizes, budget);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..sizes.len()).collect::<Vec<_>>());
            for batch in batches {
                let shared: usize = (0..5)
                    .filter_map(|family| batch.iter().find(|&&i| sizes[i].family == family))
                    .map(|&i| sizes[i].shared)
                    .sum();
                let own: usize = batch.iter().map(|&i| sizes[i].own).sum();
                assert!(shared + own <= budget || batch.len() == 1, "{} tokens in {budget}", shared + own);
            }
        }
    }

    #[test]
    fn sequences_of_like_length_meet() {
        let alone = sizes(&[(0, 0, 3), (1, 0, 9), (2, 0, 4), (3, 0, 2)]);
        assert_eq!(micro_batches(&alone, 9), vec![vec![1], vec![2, 0, 3]]);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(micro_batches(&[], 8).is_empty());
    }
}
