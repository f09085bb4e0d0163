//! A sampler that has weights of its own, and is sent the policy's when they have changed.

use super::Policy;
use crate::engine::{Event, Request, Sampler, Sampling, Scripted, Statistics};
use crate::error::Result;
use crate::model::Model;
use std::cell::RefCell;

/// A sampler that lives as long as its policy.
pub(super) struct Elsewhere {
    sampler: Box<dyn Sampler + Send>,
    /// The version of the weights that it has; none before it was sent any.
    has: Option<u64>,
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "Elsewhere(version {:?})", self.has)
    }
}

/// The same sampler, with the weights that it is to sample with. A call borrows it; calls do not overlap.
pub(super) struct Current<'a> {
    pub elsewhere: &'a RefCell<Elsewhere>,
    pub weights: &'a Model,
    pub version: u64,
}

impl Sampler for Current<'_> {
    /// Sends the weights first, where they are not there yet.
    fn sample(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
        listen: &mut dyn FnMut(Event),
    ) -> Result<Statistics> {
        let mut elsewhere = self.elsewhere.borrow_mut();
        if elsewhere.has != Some(self.version) {
            elsewhere.sampler.update(self.weights, self.version)?;
            elsewhere.has = Some(self.version);
        }
        elsewhere.sampler.sample(requests, sampling, listen)
    }

    fn keep_cache(&mut self, keep: bool) {
        self.elsewhere.borrow_mut().sampler.keep_cache(keep);
    }

    fn update(&mut self, weights: &Model, version: u64) -> Result<()> {
        let mut elsewhere = self.elsewhere.borrow_mut();
        elsewhere.sampler.update(weights, version)?;
        (self.version, elsewhere.has) = (version, Some(version));
        Ok(())
    }
}

impl Policy {
    /// Lets `sampler` write from here on, in place of a decoder over the policy's own weights. It is sent the weights before the first
    /// call and again after each change of them.
    pub fn sample_with(&mut self, sampler: impl Sampler + Send + 'static) {
        self.elsewhere = Some(RefCell::new(Elsewhere { sampler: Box::new(sampler), has: None }));
    }

    /// Lets a script write from here on: `say(what was read, seed)` and the end of sequence, each token with log-probability 0. For tests
    /// and examples, where a policy's answers are to be known.
    ///
    /// # Panics
    /// While sampling, where the tokenizer cannot write what is to be said.
    pub fn sample_script(&mut self, mut say: impl FnMut(&str, u64) -> String + Send + 'static) {
        let (eos, tokenizer, reader) = (self.tokenizer.eos(), self.tokenizer.clone(), self.tokenizer.clone());
        let script = move |prompt: &[u32], seed| {
            let said =
                tokenizer.encode(&say(&tokenizer.decode(prompt), seed)).expect("a text of its alphabet");
            said.into_iter().chain([eos]).map(|id| (id, 0.0)).collect()
        };
        self.sample_with(Scripted::new(&self.eos, move |ids| reader.decode(ids), script));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::tiny;
    use std::sync::{Arc, Mutex};

    /// Writes what a script does, and notes the weights that it is sent: their version, and how many.
    struct Noting(Scripted, Arc<Mutex<Vec<(u64, usize)>>>);

    impl Sampler for Noting {
        fn sample(
            &mut self,
            requests: &[Request],
            sampling: &Sampling,
            listen: &mut dyn FnMut(Event),
        ) -> Result<Statistics> {
            self.0.sample(requests, sampling, listen)
        }

        fn keep_cache(&mut self, keep: bool) {
            self.0.keep_cache(keep);
        }

        fn update(&mut self, weights: &Model, version: u64) -> Result<()> {
            self.1.lock().unwrap().push((version, weights.tensors().len()));
            self.0.update(weights, version)
        }
    }

    #[test]
    fn weights_are_sent_once_a_version_and_stamped_on_what_they_wrote() {
        let mut policy = tiny(1, 2, 0);
        let requests = [Request { prompt: vec![5], seeds: vec![0] }];
        let version = |policy: &Policy| {
            let sampling = Sampling { max_new_tokens: 2, ..Sampling::default() };
            let written = policy.sampler().generate(&requests, &sampling, &mut |_| {}).unwrap();
            written.completions[0][0].version
        };
        // The decoder over the policy's own weights says their version too.
        assert_eq!(version(&policy), 0);
        policy.weights_changed();
        assert_eq!(version(&policy), 1);

        let sent = Arc::new(Mutex::new(Vec::new()));
        let script = Scripted::new(&[], |_| String::new(), |_, _| vec![(1, 0.0), (2, 0.0)]);
        policy.sample_with(Noting(script, sent.clone()));
        assert_eq!([version(&policy), version(&policy)], [1, 1]);
        policy.weights_changed();
        assert_eq!(version(&policy), 2);
        let tensors = policy.model.tensors().len();
        assert_eq!(*sent.lock().unwrap(), [(1, tensors), (2, tensors)]);
    }
}
