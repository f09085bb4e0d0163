//! Micro-batches: which sequences go through the model together, within a budget of tokens.

/// Splits sequences of these `lengths` into groups of at most `budget` tokens each (a longer sequence stands
/// alone), as lists of indices. Sequences of like length meet, because attention pads to the longest of a group;
/// the split depends on the lengths alone, so a run can be repeated.
///
/// ```
/// use rationale::batch::micro_batches;
/// assert_eq!(micro_batches(&[3, 9, 4, 2], 9), vec![vec![1], vec![2, 0, 3]]);
/// ```
pub fn micro_batches(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for index in order {
        if batches.is_empty() || lengths[index] > room {
            batches.push(Vec::new());
            room = budget;
        }
        room = room.saturating_sub(lengths[index]);
        batches.last_mut().expect("pushed above").push(index);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::micro_batches;

    #[test]
    fn every_sequence_is_in_one_batch_and_budgets_hold() {
        let lengths = [5, 1, 7, 3, 3, 20, 2, 8];
        for budget in 1..30 {
            let batches = micro_batches(&lengths, budget);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in batches {
                let tokens: usize = batch.iter().map(|&i| lengths[i]).sum();
                assert!(tokens <= budget || batch.len() == 1, "{tokens} tokens in a budget of {budget}");
            }
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(micro_batches(&[], 8).is_empty());
    }
}
