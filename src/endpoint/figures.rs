//! What asking an endpoint took: counts, times and the price.

use super::Answer;

/// Counts since they were last read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    /// Requests that were answered.
    pub requests: u64,
    /// Answers that the cache had.
    pub cache_hits: u64,
    /// Attempts after a first one.
    pub retries: u64,
    /// Attempts that took too long.
    pub timeouts: u64,
    /// Replies of which a choice said nothing.
    pub empty: u64,
    /// Choices that were refusals.
    pub refusals: u64,
    /// Seconds of the attempts that were answered.
    pub seconds: f64,
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl Tally {
    /// Counts an answer.
    pub fn count(&mut self, answer: &Answer) {
        self.requests += 1;
        self.prompt_tokens += answer.prompt_tokens;
        self.completion_tokens += answer.completion_tokens;
    }

    /// The figures by name; nothing where nobody asked. Prices are of a million tokens.
    pub fn figures(&self, prompt_price: f64, completion_price: f64) -> Vec<(String, f64)> {
        if *self == Self::default() {
            return vec![];
        }
        let (prompt, completion) = (self.prompt_tokens as f64, self.completion_tokens as f64);
        let all = [
            ("requests", self.requests as f64),
            ("cache_hits", self.cache_hits as f64),
            ("retries", self.retries as f64),
            ("timeouts", self.timeouts as f64),
            ("empty", self.empty as f64),
            ("refusals", self.refusals as f64),
            ("latency_s", self.seconds / (self.requests as f64).max(1.0)),
            ("prompt_tokens", prompt),
            ("completion_tokens", completion),
            ("cost", (prompt * prompt_price + completion * completion_price) / 1e6),
        ];
        all.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_that_of_the_tokens() {
        let mut tally = Tally { seconds: 3.0, ..Tally::default() };
        let answer = Answer { choices: vec![], prompt_tokens: 100_000, completion_tokens: 20_000 };
        tally.count(&answer);
        tally.count(&answer);
        // 200 000 tokens at 2.5 a million and 40 000 at 10 a million: 0.5 + 0.4. Two requests in three seconds.
        let figures: std::collections::HashMap<_, _> = tally.figures(2.5, 10.0).into_iter().collect();
        assert!((figures["cost"] - 0.9).abs() < 1e-12);
        assert_eq!(
            [figures["requests"], figures["latency_s"], figures["prompt_tokens"]],
            [2.0, 1.5, 200_000.0]
        );
        assert!(Tally::default().figures(1.0, 1.0).is_empty());
    }
}
