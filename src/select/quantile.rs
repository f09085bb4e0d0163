//! Which quantile of a pool a score lies in: what Quark's control tokens say (Lu et al. 2022, arXiv 2205.13636). Pure.

/// The quantile of each score among `count` of equal size, 0 the worst and `count` − 1 the best.
///
/// Equal scores share a quantile, that of the middle of their ranks; sorting would tell them apart at random. The best
/// score is always in the best quantile, so that there is something to learn that token from, however many scores are
/// equal to it. Where all are equal, all are best.
///
/// ```
/// use rationale::select::quantile::quantiles;
/// assert_eq!(quantiles(&[0.3, 0.1, 0.2, 0.4], 2), [1, 0, 0, 1]);
/// ```
pub fn quantiles(scores: &[f64], count: usize) -> Vec<usize> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let of = |score: &f64| {
        let below = sorted.partition_point(|other| other.total_cmp(score).is_lt());
        let to = sorted.partition_point(|other| other.total_cmp(score).is_le());
        // The middle of ranks `below` to `to` − 1, each taken at its centre: (below + to) / 2 of all.
        let quantile = count * (below + to) / (2 * sorted.len());
        if to == sorted.len() { count - 1 } else { quantile.min(count - 1) }
    };
    scores.iter().map(of).collect()
}

/// The same from fixed borders in rising order: how many of them the score reaches.
pub fn between(score: f64, borders: &[f64]) -> usize {
    borders.iter().filter(|border| score >= **border).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_scores_are_cut_into_equal_parts() {
        let scores: Vec<f64> = [7, 2, 9, 0, 5, 4, 1, 8, 3, 6].map(f64::from).to_vec();
        // Ranks are the scores themselves: two to each of five quantiles.
        assert_eq!(quantiles(&scores, 5), [3, 1, 4, 0, 2, 2, 0, 4, 1, 3]);
        assert_eq!(quantiles(&scores, 1), [0; 10]);
        // More quantiles than scores: ranks 0 and 1 of two, centred at 1/4 and 3/4 of 8: 2 and 6, the best lifted to 7.
        assert_eq!(quantiles(&[-1.0, 1.0], 8), [2, 7]);
        assert_eq!(quantiles(&[], 5), Vec::<usize>::new());
    }

    #[test]
    fn equal_scores_share_a_quantile_and_the_best_is_the_best() {
        // Seven right of ten: wrong ones span ranks 0 to 3, middle 1.5 of 10, 5·0.15 = 0; right ones are the best, 4.
        let scores = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0];
        assert_eq!(quantiles(&scores, 5), [4, 0, 4, 4, 0, 4, 4, 4, 0, 4]);
        // One right of ten: wrong ones span 0 to 9, middle 4.5 of 10: 5·0.45 = 2.
        let mut rare = [0.0; 10];
        rare[3] = 1.0;
        assert_eq!(quantiles(&rare, 5), [2, 2, 2, 4, 2, 2, 2, 2, 2, 2]);
        assert_eq!(quantiles(&[0.5; 3], 5), [4; 3]);
        // −1, 0, 0, 0, 1 in thirds: middles 0.5, 2.5 and 4.5 of 5: 0.3, 1.5, 2.7.
        assert_eq!(quantiles(&[0.0, 1.0, 0.0, -1.0, 0.0], 3), [1, 2, 1, 0, 1]);
    }

    #[test]
    fn borders_are_reached() {
        assert_eq!([-1.0, 0.0, 0.4, 0.5, 2.0].map(|score| between(score, &[0.0, 0.5])), [0, 1, 1, 2, 2]);
        assert_eq!(between(3.0, &[]), 0);
    }
}
