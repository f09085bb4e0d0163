//! Texts as vectors: the mean of a language model's last states, for comparing what texts say.

use super::Policy;
use crate::error::Result;
use crate::model::Grad;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Stretches of `lengths` that come to at most `budget` together; one that is longer stands alone.
pub fn stretches(lengths: &[usize], budget: usize) -> Vec<Range<usize>> {
    let (mut found, mut start, mut sum) = (Vec::new(), 0, 0);
    for (at, length) in lengths.iter().enumerate() {
        if at > start && sum + length > budget {
            found.push(start..at);
            (start, sum) = (at, 0);
        }
        sum += length;
    }
    if start < lengths.len() {
        found.push(start..lengths.len());
    }
    found
}

impl Policy {
    /// Each text as the mean of its tokens' last normalised states, of length 1; 0 for a text without tokens. Texts stand alone, without a
    /// prompt, and go through the model in batches of `budget` tokens.
    pub fn embed(&self, texts: &[&str], budget: usize) -> Result<Vec<Vec<f64>>> {
        let most = self.context();
        let ids = texts.iter().map(|text| {
            let mut ids = self.tokenizer.encode_after(text, false)?;
            ids.truncate(most);
            Ok(ids)
        });
        let ids: Vec<Vec<u32>> = ids.collect::<Result<_>>()?;
        let some: Vec<usize> = (0..ids.len()).filter(|&at| !ids[at].is_empty()).collect();
        let mut found = vec![vec![0.0; self.model.config.hidden_size]; ids.len()];
        let lengths: Vec<usize> = some.iter().map(|&at| ids[at].len()).collect();
        for stretch in stretches(&lengths, budget) {
            let own = &some[stretch];
            let sequences: Vec<&[u32]> = own.iter().map(|&at| ids[at].as_slice()).collect();
            let places: Vec<Vec<usize>> = sequences.iter().map(|ids| (0..ids.len()).collect()).collect();
            let places: Vec<&[usize]> = places.iter().map(Vec::as_slice).collect();
            let states = self.model.read(&sequences, &places, Grad::No)?.states;
            let mut start = 0;
            for (&at, ids) in own.iter().zip(&sequences) {
                let rows = states.narrow(0, start, ids.len() as i64).to_kind(Kind::Double);
                start += ids.len() as i64;
                let mean = rows.mean_dim([0i64].as_slice(), false, Kind::Double);
                let unit = &mean / mean.norm().clamp_min(1e-12);
                found[at] = Vec::try_from(unit.to_device(Device::Cpu))?;
            }
        }
        Ok(found)
    }
}

/// Vectors without what they have most in common: their projection on the first principal direction (of the uncentred vectors) is taken
/// out, and lengths are made 1 again (Arora et al. 2017, SIF). A language model's states all point much the same way, so that without this
/// all texts look alike. As they are where there are fewer than three.
pub fn centred(vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    if vectors.len() < 3 {
        return vectors;
    }
    let rows: Vec<Tensor> = vectors.iter().map(|vector| Tensor::from_slice(vector)).collect();
    let rows = Tensor::stack(&rows, 0);
    // The largest eigenvector of X Xᵀ, n × n, gives that of Xᵀ X.
    let (_, vectors) = rows.matmul(&rows.tr()).linalg_eigh("L");
    let direction = rows.tr().matmul(&vectors.select(1, -1));
    let direction = &direction / direction.norm().clamp_min(1e-12);
    let rest = &rows - rows.matmul(&direction).unsqueeze(1) * direction.unsqueeze(0);
    let lengths = rest.square().sum_dim_intlist([1i64].as_slice(), true, Kind::Double).sqrt();
    // What is nothing but that direction is left at 0.
    let unit = lengths.ge(1e-9).to_kind(Kind::Double) * &rest / lengths.clamp_min(1e-12);
    Vec::try_from(unit).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::tiny;
    use crate::statistics::trajectory::cosine;

    #[test]
    fn stretches_fit_the_budget() {
        assert_eq!(stretches(&[3, 4, 9, 1, 1], 8), [0..2, 2..3, 3..5]);
        assert!(stretches(&[], 8).is_empty());
    }

    #[test]
    fn a_text_is_the_mean_of_its_states_whatever_stands_beside_it() {
        let policy = tiny(2, 1, 3);
        let all = policy.embed(&["one and two", "", "three"], 8).unwrap();
        let ids = policy.tokenizer.encode("three").unwrap();
        let places: Vec<usize> = (0..ids.len()).collect();
        let states = policy.model.read(&[&ids], &[&places], Grad::No).unwrap().states;
        let mean: Vec<f64> = Vec::try_from(states.mean_dim([0i64].as_slice(), false, Kind::Double)).unwrap();
        assert!((cosine(&all[2], &mean) - 1.0).abs() < 1e-6);
        assert!((all[2].iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-6);
        assert!(all[1].iter().all(|x| *x == 0.0));
        let alone = policy.embed(&["one and two"], 1024).unwrap();
        assert!((cosine(&all[0], &alone[0]) - 1.0).abs() < 1e-6);
    }

    /// Three vectors that share a large first coordinate: without it they are (0, 1), (0, −1) and nothing.
    #[test]
    fn what_all_have_in_common_is_taken_out() {
        let unit = |x: f64, y: f64| vec![x / x.hypot(y), y / x.hypot(y)];
        let found = centred(vec![unit(10.0, 1.0), unit(10.0, -1.0), unit(1.0, 0.0)]);
        assert!((found[0][1] - 1.0).abs() < 1e-6 && (found[1][1] + 1.0).abs() < 1e-6, "{found:?}");
        assert!(found[2].iter().all(|x| x.abs() < 1e-6), "{found:?}");
        let two = vec![unit(1.0, 0.0), unit(0.0, 1.0)];
        assert_eq!(centred(two.clone()), two);
    }
}
