//! What a policy with a value head expects before each token that it wrote.

use super::Policy;
use crate::batch::{micro_batches, sizes};
use crate::error::{Error, Result};
use crate::model::{Grad, Sequence};
use tch::Device;

impl Policy {
    /// The value of the state before each learned token, sequence by sequence, in micro-batches of `budget` tokens.
    ///
    /// # Errors
    /// [`Error::Model`] where the model has no value head.
    pub fn values(&self, sequences: &[Sequence], budget: usize) -> Result<Vec<Vec<f32>>> {
        let Some(head) = &self.model.value else {
            return Err(Error::Model("a model without a value head was asked what it expects".into()));
        };
        let learned: Vec<usize> = (0..sequences.len()).filter(|&at| sequences[at].learned() > 0).collect();
        let places: Vec<Vec<usize>> = learned.iter().map(|&at| sequences[at].predicting()).collect();
        // What stands behind the last place changes nothing.
        let fed: Vec<&[u32]> = learned
            .iter()
            .zip(&places)
            .map(|(&at, places)| &sequences[at].tokens[..places.last().map_or(0, |last| last + 1)])
            .collect();
        let mut out = vec![Vec::new(); sequences.len()];
        for indices in
            micro_batches(&sizes(&fed.iter().map(|tokens| vec![*tokens]).collect::<Vec<_>>()), budget)
        {
            let tokens: Vec<&[u32]> = indices.iter().map(|&index| fed[index]).collect();
            let read: Vec<&[usize]> = indices.iter().map(|&index| places[index].as_slice()).collect();
            let values = tch::no_grad(|| -> Result<_> {
                Ok(head.of(&self.model.read(&tokens, &read, Grad::No)?.states))
            })?;
            let mut rest = Vec::<f32>::try_from(&values.to_device(Device::Cpu))?.into_iter();
            for index in indices {
                out[learned[index]] = rest.by_ref().take(places[index].len()).collect();
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::tiny;
    use tch::{Kind, Tensor};

    /// The value before a token is read off the state that predicts it, whatever else is in the micro-batch and however it is split.
    #[test]
    fn values_stand_before_the_tokens_that_they_are_of() {
        let mut policy = tiny(1, 1, 3);
        let sequences = [
            Sequence::new(&[1, 2, 3], &[4, 5]),
            Sequence::new(&[7], &[8, 9, 10]),
            Sequence::read_only(vec![5]),
        ];
        assert!(policy.values(&sequences, 64).unwrap_err().to_string().contains("value head"));
        policy.model.add_value(2.0);
        let projection = &policy.model.value.as_ref().unwrap().projection;
        let weight = Tensor::arange(16i64, (Kind::Float, Device::Cpu)).sin().view([1, 16]);
        projection.weight.shallow_clone().copy_(&weight);
        let whole = policy.values(&sequences, 64).unwrap();
        assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3, 0]);
        // Of the states behind the prompt's last token and behind each completion token but the last.
        let read = policy.model.read(&[&[1, 2, 3, 4]], &[&[2, 3]], Grad::No).unwrap();
        let expected: Vec<f32> =
            Vec::try_from(read.states.matmul(&weight.tr()).squeeze_dim(-1) * 2.0).unwrap();
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(&whole[0], &expected), "{whole:?} {expected:?}");
        assert!(expected.iter().any(|value| value.abs() > 1e-3), "zeros prove nothing");
        let split = policy.values(&sequences, 1).unwrap();
        assert!(near(&whole.concat(), &split.concat()));
    }
}
