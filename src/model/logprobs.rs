//! Log-probabilities of learned tokens under a model, with vocabulary logits only ever held in chunks.
//!
//! Peak memory of training is often the logits, `[tokens, vocab]` in f32 several times over. Here the graph ends
//! at the hidden states. The output projection runs over a chunk of positions at a time, forward and backward,
//! and its gradient is written down by hand.

use super::Model;
use super::layout::{Predicting, Voted};
use super::sequence::Sequence;
use super::trunk::{Trunk, surrogate};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// Whether a score will be differentiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grad {
    /// Values only.
    No,
    /// Keep what [`ScoredTokens::backward`] needs.
    Yes,
}

/// What a model says about every learned token of some sequences, packed end to end.
#[derive(Debug)]
pub struct ScoredTokens<'m> {
    /// log p(token | what precedes it) at the temperature asked, `[learned tokens]` in f32. With
    /// [`Grad::Yes`] a leaf that requires gradients: compute any scalar from it.
    pub logprobs: Tensor,
    /// Entropy in nats of the distribution each token was drawn from, `[learned tokens]` in f32; a leaf too.
    pub entropy: Tensor,
    /// The last layer's normalised states at the places that were to be read, `[places, hidden]`, sequence by sequence; a
    /// leaf too.
    pub states: Tensor,
    trace: Option<Trace<'m>>,
}

/// What the backward pass needs.
#[derive(Debug)]
struct Trace<'m> {
    trunk: Trunk<'m>,
    head: OutputHead<'m>,
    /// The tempered log-softmax `[rows, vocab]`, where it fitted in one chunk.
    kept: Option<Tensor>,
    /// The row of each learned token, where some share one.
    row_of: Option<Tensor>,
    /// The states that learned tokens are predicted from, `[rows, hidden]`.
    predicting: Tensor,
    /// How these are means of several passes, where they are.
    voted: Option<Voted>,
}

impl Model {
    /// Scores the learned tokens of `sequences` under softmax(logits / `temperature`).
    pub fn score(&self, sequences: &[Sequence], temperature: f64, grad: Grad) -> Result<ScoredTokens<'_>> {
        self.score_and_read(sequences, &[], temperature, grad)
    }

    /// The same, with the states of each sequence at its `places`, which count from its first token: one pass for a loss that
    /// looks at both. Without places nothing is read.
    pub fn score_and_read(
        &self,
        sequences: &[Sequence],
        places: &[&[usize]],
        temperature: f64,
        grad: Grad,
    ) -> Result<ScoredTokens<'_>> {
        self.check(sequences, temperature)?;
        let of = |index: usize| places.get(index).copied().unwrap_or_default();
        let outside = |(index, s): (usize, &Sequence)| of(index).iter().any(|&at| at >= s.tokens.len());
        if sequences.iter().enumerate().any(outside) {
            return Err(Error::Model("a place to read lies behind its sequence".into()));
        }
        if sequences.iter().enumerate().any(|(index, s)| s.passes() > 1 && !of(index).is_empty()) {
            return Err(Error::Model("states are read of sequences that make one pass".into()));
        }
        let all = sequences.iter().enumerate().map(|(index, s)| (s, of(index)));
        let (live, read): (Vec<&Sequence>, Vec<&[usize]>) =
            all.filter(|(s, places)| s.fed(places) > 0).unzip();
        if live.is_empty() {
            if grad == Grad::Yes {
                self.pass_idle()?;
            }
            let nothing = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, self.device()));
            let leaf = |shape: &[i64]| nothing(shape).set_requires_grad(grad == Grad::Yes);
            let states = leaf(&[0, self.config.hidden_size as i64]);
            return Ok(ScoredTokens { logprobs: leaf(&[0]), entropy: leaf(&[0]), states, trace: None });
        }
        let Predicting { layout, targets, row_of, voted } = Predicting::new(&live, &read, self.device());
        let trunk = Trunk::run(self, layout, grad)?;
        let head = OutputHead { model: self, targets, temperature };
        Ok(tch::no_grad(|| ScoredTokens::new(trunk, head, (row_of, voted), grad)))
    }

    /// Refuses what would be scored wrongly or not at all.
    fn check(&self, sequences: &[Sequence], temperature: f64) -> Result<()> {
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::Model(format!(
                "temperature = {temperature}: scoring needs a positive number"
            )));
        }
        for sequence in sequences {
            let all = sequence.tokens.len();
            if sequence.begin() == 0 {
                return Err(Error::Model(format!(
                    "a sequence of {all} tokens that begins with a learned one: a prompt has at least one token, since \
                     nothing predicts the first"
                )));
            }
            self.config.check_length(sequence.length())?;
            if sequence.has_gaps() && (self.has_windows() || self.is_recurrent()) {
                return Err(Error::Model(
                    "tokens are left out before others, and this model's windows or recurrent layers go over what is there".into(),
                ));
            }
            if let Some(token) = sequence.tokens.iter().find(|&&t| t as usize >= self.readable()) {
                return Err(Error::Model(format!(
                    "token id {token} is outside the model's vocabulary of {}; does the tokenizer belong to it?",
                    self.config.vocab_size
                )));
            }
        }
        Ok(())
    }
}

impl<'m> ScoredTokens<'m> {
    fn new(
        trunk: Trunk<'m>,
        head: OutputHead<'m>,
        (row_of, voted): (Option<Tensor>, Option<Voted>),
        grad: Grad,
    ) -> Self {
        let rows = head.targets.size()[0];
        let first = trunk.states.narrow(0, 0, rows);
        let further = voted.as_ref().map_or(0, |voted| voted.rows.size()[0]);
        let predicting = match &voted {
            None => first,
            Some(voted) => {
                voted.mean(&first, &trunk.states.narrow(0, trunk.states.size()[0] - further, further))
            }
        };
        let (mut logprobs, mut entropy, mut kept) = (Vec::new(), Vec::new(), None);
        let chunks = head.chunks();
        for &(start, length) in &chunks {
            let all = head.log_softmax(&predicting.narrow(0, start, length));
            let targets = head.targets.narrow(0, start, length).unsqueeze(1);
            logprobs.push(all.gather(1, &targets, false).squeeze_dim(1));
            entropy.push(entropy_of(&all));
            if chunks.len() == 1 && grad == Grad::Yes {
                kept = Some(all);
            }
        }
        let leaf = |parts: Vec<Tensor>| {
            let rows = match parts.is_empty() {
                true => Tensor::zeros([0], (Kind::Float, trunk.states.device())),
                false => Tensor::cat(&parts, 0),
            };
            let all = row_of.as_ref().map_or(rows.shallow_clone(), |row_of| rows.index_select(0, row_of));
            all.set_requires_grad(grad == Grad::Yes)
        };
        let (logprobs, entropy) = (leaf(logprobs), leaf(entropy));
        let read = trunk.states.narrow(0, rows, trunk.states.size()[0] - rows - further);
        let states = read.copy().set_requires_grad(grad == Grad::Yes);
        let trace = (grad == Grad::Yes).then_some(Trace { trunk, head, kept, row_of, predicting, voted });
        Self { logprobs, entropy, states, trace }
    }

    /// Adds ∂`loss` / ∂parameter to every trainable parameter's gradient. `loss` is a scalar computed from
    /// `logprobs`, `entropy` and `states`.
    pub fn backward(self, loss: &Tensor) -> Result<()> {
        loss.f_backward()?;
        let Some(trace) = self.trace else { return Ok(()) };
        let by_logprob = self.logprobs.grad();
        let by_entropy = self.entropy.grad();
        let grad_output = OutputGrad {
            logprobs: if by_logprob.defined() { by_logprob } else { self.logprobs.zeros_like() },
            entropy: by_entropy.defined().then(|| (by_entropy, self.entropy.detach())),
        };
        let grad_output = match &trace.row_of {
            Some(row_of) => grad_output.gathered(row_of, trace.head.targets.size()[0]),
            None => grad_output,
        };
        let by_read = self.states.grad();
        let by_read = if by_read.defined() { by_read } else { self.states.zeros_like() };
        trace.backward(&grad_output, by_read)
    }
}

/// ∂loss / ∂logprobs, and ∂loss / ∂entropy beside the entropy itself where the loss looks at it.
pub(super) struct OutputGrad {
    pub logprobs: Tensor,
    pub entropy: Option<(Tensor, Tensor)>,
}

impl OutputGrad {
    /// From learned tokens to the `rows` that they share.
    fn gathered(&self, row_of: &Tensor, rows: i64) -> Self {
        let none = |t: &Tensor| Tensor::zeros([rows], (t.kind(), t.device()));
        let sum = |t: &Tensor| none(t).index_add_(0, row_of, t);
        let entropy = |(grad, entropy): &(Tensor, Tensor)| {
            // Those of one row are equal.
            (sum(grad), none(entropy).index_copy_(0, row_of, entropy))
        };
        Self { logprobs: sum(&self.logprobs), entropy: self.entropy.as_ref().map(entropy) }
    }

    fn narrow(&self, start: i64, length: i64) -> Self {
        let cut = |t: &Tensor| t.narrow(0, start, length).unsqueeze(1);
        Self { logprobs: cut(&self.logprobs), entropy: self.entropy.as_ref().map(|(g, h)| (cut(g), cut(h))) }
    }
}

impl Trace<'_> {
    /// `by_read` is the gradient of the states that are only read.
    fn backward(mut self, grad_output: &OutputGrad, by_read: Tensor) -> Result<()> {
        let weight = self.head.model.output().shallow_clone();
        let kept = self.kept.take();
        let (states, weights) = tch::no_grad(|| self.head.backward(&self.predicting, kept, grad_output));
        if let Some(grad) = weights {
            tch::with_grad(|| surrogate(&weight, &grad).f_backward())?;
        }
        let all = match &self.voted {
            None => Tensor::cat(&[states, by_read], 0),
            Some(voted) => {
                let (first, further) = voted.shared_out(&states);
                Tensor::cat(&[first, by_read, further], 0)
            }
        };
        self.trunk.backward(all)
    }
}

/// The output projection over the positions that are scored.
#[derive(Debug)]
pub(super) struct OutputHead<'m> {
    pub model: &'m Model,
    /// `[rows]`.
    pub targets: Tensor,
    pub temperature: f64,
}

impl OutputHead<'_> {
    /// Start and length of each chunk of positions, as equal as they come.
    pub fn chunks(&self) -> Vec<(i64, i64)> {
        let total = self.targets.size()[0];
        if total == 0 {
            return vec![];
        }
        let most = (self.model.chunk / self.model.config.vocab_size).max(1) as i64;
        let each = (total as u64).div_ceil((total as u64).div_ceil(most as u64)) as i64;
        (0..total).step_by(each as usize).map(|start| (start, each.min(total - start))).collect()
    }

    /// log softmax(logits / T) in f32, `[positions, vocab]`.
    pub fn log_softmax(&self, states: &Tensor) -> Tensor {
        let mut logits = self.model.logits(states).to_kind(Kind::Float);
        if self.temperature != 1.0 {
            let _ = logits.g_div_scalar_(self.temperature);
        }
        logits.log_softmax(-1, None)
    }

    /// Gradients of the states, `[rows, hidden]`, and of the projection where it trains.
    pub fn backward(
        &self,
        states: &Tensor,
        mut kept: Option<Tensor>,
        grad_output: &OutputGrad,
    ) -> (Tensor, Option<Tensor>) {
        let weight = self.model.output();
        let mut by_weight = None;
        let mut by_states = Vec::new();
        let chunks = self.chunks();
        for &(start, length) in &chunks {
            let states = states.narrow(0, start, length);
            let all = kept.take().unwrap_or_else(|| self.log_softmax(&states));
            let targets = self.targets.narrow(0, start, length).unsqueeze(1);
            let by_logits = self.grad_of_logits(&all, &targets, &grad_output.narrow(start, length));
            drop(all);
            let logits = || self.model.logits(&states).to_kind(Kind::Float);
            let by_logits = self.model.grad_of_products(by_logits, logits).to_kind(weight.kind());
            by_states.push(by_logits.mm(weight));
            if weight.requires_grad() {
                accumulate(&mut by_weight, &by_logits, &states, chunks.len());
            }
        }
        let by_states = match by_states.is_empty() {
            true => states.narrow(0, 0, 0),
            false => Tensor::cat(&by_states, 0),
        };
        (by_states, by_weight)
    }

    /// With p = softmax(z / T), H its entropy and t the target:
    /// ∂log p_t / ∂z = (1_t − p) / T and ∂H / ∂z = −p (log p + H) / T.
    fn grad_of_logits(&self, log_p: &Tensor, targets: &Tensor, grad_output: &OutputGrad) -> Tensor {
        let by_logprob = &grad_output.logprobs / self.temperature;
        let mut by_logits = log_p.exp();
        match &grad_output.entropy {
            None => by_logits *= by_logprob.neg(),
            Some((grad, entropy)) => {
                let grad = grad / self.temperature;
                // −(g + g_H (log p + H)), in one pass over the vocabulary besides the product.
                let constant = (&by_logprob + &grad * entropy).neg();
                by_logits *= constant.addcmul(&grad.neg(), log_p);
            }
        }
        by_logits.scatter_add_(1, targets, &by_logprob)
    }
}

/// −Σ p log p over the vocabulary, as a product of rows: their elements' products need no memory.
fn entropy_of(log_p: &Tensor) -> Tensor {
    log_p.exp().unsqueeze(1).bmm(&log_p.unsqueeze(2)).reshape([-1]).neg()
}

/// Adds one chunk's part of the projection's gradient; several are summed in f32 whatever the weight's kind.
fn accumulate(sum: &mut Option<Tensor>, by_logits: &Tensor, states: &Tensor, chunks: usize) {
    let flat = by_logits.tr();
    match sum {
        None if chunks == 1 => *sum = Some(flat.mm(states)),
        None => *sum = Some(flat.mm(states).to_kind(Kind::Float)),
        Some(sum) if states.kind() == Kind::Float => drop(sum.addmm_(&flat, states)),
        Some(sum) => *sum += flat.mm(states).to_kind(Kind::Float),
    }
}
