//! How a layer attends: its scale, cap, window and sinks, over queries that stand behind some of the keys.

use std::collections::HashMap;
use tch::{Kind, Tensor};

/// How a layer attends, besides that a token sees its own sequence up to itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AttentionSpec {
    /// What products of queries and keys are multiplied by; none is 1/√head_dim.
    pub scale: Option<f64>,
    /// Scores s are cap · tanh(s / cap), where there is a cap.
    pub softcap: Option<f64>,
    /// How many tokens one sees, itself among them, where that is limited.
    pub window: Option<usize>,
}

/// The masks of a pass by queries, keys, place of the first query among the keys, and window: made in the first layer that needs them.
pub(super) type Masks = HashMap<(i64, i64, i64, Option<usize>), Tensor>;

/// Queries that are masked at once: a window's keys are then few, and capped scores grow with a sequence and not with its square, where
/// nothing is differentiated.
const MASKED_QUERIES: i64 = 512;

impl AttentionSpec {
    /// What queries `[sequences, heads, n, head_dim]` find in keys and values `[sequences, kv_heads, before + n, head_dim]`, of which
    /// they see the first `before`, and themselves up to their own place: `[sequences, heads, n, head_dim]`.
    pub(super) fn attend(
        &self,
        query: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        sinks: Option<&Tensor>,
        masks: &mut Masks,
    ) -> Tensor {
        let (count, all) = (query.size()[2], keys.size()[2]);
        let before = all - count;
        let window = self.window.filter(|&window| (window as i64) < all);
        if window.is_none() && self.softcap.is_none() && sinks.is_none() {
            if before == 0 {
                let grouped = query.size()[1] != keys.size()[1];
                let (none, scale) = (None::<&Tensor>, self.scale);
                return Tensor::scaled_dot_product_attention(
                    query, keys, values, none, 0.0, true, scale, grouped,
                );
            }
            let mask = mask(masks, (count, all, before, None), query);
            return self.masked(query, keys, values, sinks, &mask);
        }
        let each = window.map_or(MASKED_QUERIES, |window| (window as i64).max(MASKED_QUERIES));
        let chunk = |start: i64| {
            let queries = each.min(count - start);
            // The first of these queries sees no key before `first`.
            let first = window.map_or(0, |window| (before + start + 1 - window as i64).max(0));
            let seen = before + start + queries - first;
            let [k, v] = [keys, values].map(|x| x.narrow(2, first, seen));
            let mask = mask(masks, (queries, seen, before + start - first, window), query);
            self.masked(&query.narrow(2, start, queries), &k, &v, sinks, &mask)
        };
        let mut chunks: Vec<Tensor> = (0..count).step_by(each as usize).map(chunk).collect();
        if chunks.len() == 1 { chunks.remove(0) } else { Tensor::cat(&chunks, 2) }
    }

    /// The same under a mask that is added to scores, `[n, keys]`.
    fn masked(
        &self,
        query: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        sinks: Option<&Tensor>,
        mask: &Tensor,
    ) -> Tensor {
        let size = query.size();
        let (heads, kv_heads) = (size[1], keys.size()[1]);
        if self.softcap.is_none() && sinks.is_none() {
            // No kernel but the slowest takes a mask and grouped heads together on a GPU.
            let apart = keys.device().is_cuda() && heads != kv_heads;
            let [k, v] = [keys, values].map(|x| match apart {
                true => x.repeat_interleave_self_int(heads / kv_heads, 1, None),
                false => x.shallow_clone(),
            });
            let grouped = k.size()[1] != heads;
            return Tensor::scaled_dot_product_attention(
                query,
                &k,
                &v,
                Some(mask),
                0.0,
                false,
                self.scale,
                grouped,
            );
        }
        // No kernel caps scores, or has sinks. Heads that share keys are rows of one product.
        let grouped = query.reshape([size[0], kv_heads, heads / kv_heads * size[2], size[3]]);
        let scores = grouped.matmul(&keys.transpose(2, 3)) * self.scale_of(size[3]);
        let scores = self.capped(scores).view([size[0], heads, size[2], -1]) + mask;
        let shares = match sinks {
            None => scores.softmax(-1, Kind::Float),
            Some(sinks) => {
                let sinks = sinks.view([1, heads, 1, 1]).expand([size[0], -1, size[2], -1], false);
                let all = Tensor::cat(&[&scores, &sinks.to_kind(scores.kind())], -1).softmax(-1, Kind::Float);
                all.narrow(-1, 0, scores.size()[3])
            }
        };
        shares
            .to_kind(query.kind())
            .reshape([size[0], kv_heads, -1, keys.size()[2]])
            .matmul(values)
            .view_as(query)
    }

    /// cap · tanh(scores / cap), where there is a cap.
    pub fn capped(&self, scores: Tensor) -> Tensor {
        match self.softcap {
            None => scores,
            Some(cap) => (scores / cap).tanh() * cap,
        }
    }

    /// What products of queries and keys of `head_dim` numbers are multiplied by.
    pub fn scale_of(&self, head_dim: i64) -> f64 {
        self.scale.unwrap_or(1.0 / (head_dim as f64).sqrt())
    }
}

/// 0 where query i of `queries`, which stands at key `first` + i, sees one of the `keys`, −∞ elsewhere, `[queries, keys]`.
fn mask(masks: &mut Masks, of: (i64, i64, i64, Option<usize>), like: &Tensor) -> Tensor {
    let made = masks.entry(of).or_insert_with(|| {
        let (queries, keys, first, window) = of;
        let (size, device) = ([queries, keys], like.device());
        let mut hidden = Tensor::ones(size, (Kind::Bool, device)).triu(first + 1);
        if let Some(window) = window {
            hidden = hidden.logical_or(&Tensor::ones(size, (Kind::Bool, device)).tril(first - window as i64));
        }
        Tensor::zeros(size, (like.kind(), device)).masked_fill_(&hidden, f64::NEG_INFINITY)
    });
    made.shallow_clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::far;
    use tch::Device;

    /// Each query by itself over the keys that it sees, written out.
    fn by_hand(
        spec: &AttentionSpec,
        query: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        sinks: Option<&Tensor>,
    ) -> Tensor {
        let (size, all) = (query.size(), keys.size()[2]);
        let groups = size[1] / keys.size()[1];
        let before = all - size[2];
        let heads = (0..size[0]).flat_map(|s| (0..size[1]).map(move |head| (s, head)));
        let found: Vec<Tensor> = heads
            .flat_map(|(s, head)| (0..size[2]).map(move |at| (s, head, at)))
            .map(|(s, head, at)| {
                let last = before + at;
                let first = spec.window.map_or(0, |window| (last + 1 - window as i64).max(0));
                let seen = |x: &Tensor| x.get(s).get(head / groups).narrow(0, first, last + 1 - first);
                let scores = seen(keys).mv(&query.get(s).get(head).get(at)) * spec.scale.unwrap_or(0.5);
                let scores = spec.softcap.map_or(scores.copy(), |cap| (&scores / cap).tanh() * cap);
                // A sink is a further score, whose share gives nothing.
                let shares = match sinks {
                    None => scores.softmax(-1, Kind::Float),
                    Some(sinks) => {
                        let all = Tensor::cat(&[&scores, &sinks.narrow(0, head, 1)], 0);
                        all.softmax(-1, Kind::Float).narrow(0, 0, scores.size()[0])
                    }
                };
                seen(values).tr().mv(&shares)
            })
            .collect();
        Tensor::stack(&found, 0).view_as(query)
    }

    /// Lengths around those at which queries are cut, with and without keys before them. Heads of 4 numbers: 1/√4 = 0.5.
    #[test]
    fn windows_caps_and_sinks_hold_in_every_chunk() {
        tch::manual_seed(1);
        let random = |size: [i64; 4]| Tensor::randn(size, (Kind::Float, Device::Cpu)) * 2.0;
        let chunk = MASKED_QUERIES;
        for (count, before) in [(5, 0), (5, 9), (chunk + 3, 0), (chunk + 3, 40)] {
            let query = random([1, 2, count, 4]);
            let [keys, values] = [(), ()].map(|()| random([1, 1, before + count, 4]));
            for window in [None, Some(1), Some(3), Some(chunk as usize + 1)] {
                for softcap in [None, Some(1.5)] {
                    let scale = window.map(|_| 0.7);
                    let spec = AttentionSpec { scale, softcap, window };
                    let sinks = scale.map(|_| Tensor::from_slice(&[0.5f32, -1.0]));
                    let ours = spec.attend(&query, &keys, &values, sinks.as_ref(), &mut Masks::new());
                    let expected = by_hand(&spec, &query, &keys, &values, sinks.as_ref());
                    let off = far(&ours, &expected);
                    assert!(off < 1e-5, "{spec:?}, {count} queries behind {before} keys: {off}");
                }
            }
        }
    }
}
