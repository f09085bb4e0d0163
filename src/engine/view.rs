//! Attention of sequences in flight to prompts that several of them share: every segment is read once for all its
//! sequences, and what each level says is merged by its log-sum-exp, as a softmax over all of them would have it.

use super::decode::visible;
use super::store::Store;
use tch::{Kind, TchError, Tensor};

/// Which segments the sequences in flight see.
pub struct View {
    /// Tokens of each sequence's prompt.
    pub prompts: Vec<i64>,
    /// Level by level.
    pub levels: Vec<LevelView>,
}

/// One level of the store, as the sequences in flight see it: at most one segment each.
pub struct LevelView {
    level: usize,
    places: i64,
    span: i64,
    /// For each place the rows that see it, padded with row 0 to the most that any place has, `[places · most]`.
    rows: Tensor,
    /// Where each of these rows stands there.
    back: Tensor,
    /// Which rows these are, where some see nothing in this level.
    some: Option<Tensor>,
    /// `[places, 1, 1, span]`.
    mask: Tensor,
}

/// What attention to some of a row's keys gives.
pub struct Partial {
    /// `[rows, kv_heads, heads / kv_heads, head_dim]`.
    out: Tensor,
    /// ln Σ exp(score), `[rows, kv_heads, heads / kv_heads]` in f32.
    weight: Tensor,
}

impl View {
    /// For sequences whose prompts end with the segments `ends`.
    pub fn new(store: &Store, ends: &[usize], kind: Kind, device: tch::Device) -> Self {
        let paths: Vec<Vec<usize>> = ends.iter().map(|&end| store.path(end)).collect();
        let deepest = paths.iter().map(Vec::len).max().unwrap_or(0);
        let length = |path: &Vec<usize>| path.iter().map(|&at| store.at(at).known as i64).sum();
        let levels = (0..deepest).map(|level| {
            let segments: Vec<Option<usize>> = paths.iter().map(|path| path.get(level).copied()).collect();
            LevelView::new(store, level, &segments, (kind, device))
        });
        Self { prompts: paths.iter().map(length).collect(), levels: levels.collect() }
    }
}

impl LevelView {
    fn new(store: &Store, level: usize, segments: &[Option<usize>], of: (Kind, tch::Device)) -> Self {
        let mut seen: Vec<(usize, Vec<i64>)> = Vec::new();
        for (row, at) in segments.iter().enumerate() {
            let Some(segment) = at.map(|at| store.at(at)) else { continue };
            let place = segment.place.expect("prompts in flight are computed");
            seen.resize_with(seen.len().max(place + 1), Default::default);
            seen[place].0 = segment.known;
            seen[place].1.push(row as i64);
        }
        let most = seen.iter().map(|(_, rows)| rows.len()).max().unwrap_or(0);
        let mut back: Vec<(i64, i64)> = Vec::new();
        let mut rows = vec![0i64; seen.len() * most];
        for (place, (_, own)) in seen.iter().enumerate() {
            for (number, &row) in own.iter().enumerate() {
                rows[place * most + number] = row;
                back.push((row, (place * most + number) as i64));
            }
        }
        back.sort_unstable();
        let (some, back): (Vec<i64>, Vec<i64>) = back.into_iter().unzip();
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(of.1);
        let longest = seen.iter().map(|(length, _)| *length).max().unwrap_or(0);
        let span = store.span(level, longest);
        // A place that nobody sees is looked at from nowhere; its first key only keeps the numbers finite.
        let last: Vec<i64> = seen.iter().map(|(length, _)| (*length as i64 - 1).max(0)).collect();
        Self {
            level,
            places: seen.len() as i64,
            span,
            rows: tensor(&rows),
            back: tensor(&back),
            some: (some.len() < segments.len()).then(|| tensor(&some)),
            mask: visible(&tensor(&last), span, of.0),
        }
    }

    /// What the queries `[rows, kv_heads, heads / kv_heads, head_dim]` find in this level.
    pub fn attend(&self, query: &Tensor, store: &Store, layer: usize) -> Partial {
        let (keys, values) = store.level(self.level, layer, self.places, self.span);
        let [all, kv_heads, groups, head_dim] = query.size()[..] else { unreachable!("four dimensions") };
        let by_place = query.index_select(0, &self.rows).view([self.places, -1, kv_heads, groups, head_dim]);
        let by_place = by_place.permute([0, 2, 1, 3, 4]).reshape([self.places, kv_heads, -1, head_dim]);
        let found = Partial::of(&by_place, &keys, &values, &self.mask);
        let out = found.out.view([self.places, kv_heads, -1, groups, head_dim]).permute([0, 2, 1, 3, 4]);
        let out = out.reshape([-1, kv_heads, groups, head_dim]).index_select(0, &self.back);
        let weight = found.weight.view([self.places, kv_heads, -1, groups]).permute([0, 2, 1, 3]);
        let weight = weight.reshape([-1, kv_heads, groups]).index_select(0, &self.back);
        let Some(some) = &self.some else { return Partial { out, weight } };
        let none = Tensor::full([all, kv_heads, groups], f64::NEG_INFINITY, (weight.kind(), weight.device()));
        Partial {
            out: Tensor::zeros([all, kv_heads, groups, head_dim], (out.kind(), out.device()))
                .index_copy_(0, some, &out),
            weight: none.index_copy(0, some, &weight),
        }
    }
}

impl Partial {
    /// Queries `[batch, kv_heads, queries, head_dim]` against keys and values `[batch, kv_heads, span, head_dim]` under a
    /// mask that is added, `[batch, 1, 1, span]`.
    pub fn of(query: &Tensor, keys: &Tensor, values: &Tensor, mask: &Tensor) -> Self {
        let found = kernel(query, keys, values, mask);
        let (out, weight) = found.unwrap_or_else(|_| by_hand(query, keys, values, mask));
        // Kernels lay their results out as they like.
        Self { out: out.contiguous(), weight: weight.to_kind(Kind::Float).contiguous() }
    }
}

/// libtorch's fast kernels, which tell the logarithm of the denominator beside the result.
fn kernel(
    query: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    mask: &Tensor,
) -> Result<(Tensor, Tensor), TchError> {
    if !query.device().is_cuda() {
        return Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu(
            query,
            keys,
            values,
            0.0,
            false,
            Some(mask),
            None,
        );
    }
    let size = query.size();
    let wide = mask.expand([size[0], size[1], size[2], keys.size()[2]], false);
    let (out, weight, ..) = Tensor::f_internal_scaled_dot_product_efficient_attention(
        query,
        keys,
        values,
        Some(&wide),
        true,
        0.0,
        false,
        None,
    )?;
    // Its logarithms are padded to a round number of queries.
    Ok((out, weight.narrow(2, 0, size[2])))
}

/// softmax(q kᵀ / √d + mask) v and the logarithm of its denominator, for devices without a kernel that tells it.
fn by_hand(query: &Tensor, keys: &Tensor, values: &Tensor, mask: &Tensor) -> (Tensor, Tensor) {
    let [query_f, keys_f, mask_f] = [query, keys, mask].map(|t| t.to_kind(Kind::Float));
    let scale = (query.size()[3] as f64).sqrt();
    let scores = query_f.matmul(&keys_f.transpose(2, 3)) / scale + mask_f;
    let weight = scores.logsumexp([-1], false);
    let out = (scores - weight.unsqueeze(-1)).exp().matmul(&values.to_kind(Kind::Float));
    (out.to_kind(query.kind()), weight)
}

/// Attention to all the keys of `parts` together.
pub fn merged(parts: &[Partial], kind: Kind) -> Tensor {
    if let [only] = parts {
        return only.out.shallow_clone();
    }
    let weights: Vec<&Tensor> = parts.iter().map(|part| &part.weight).collect();
    let shares = Tensor::stack(&weights, 0).softmax(0, Kind::Float).unsqueeze(-1);
    let outs: Vec<Tensor> = parts.iter().map(|part| part.out.to_kind(Kind::Float)).collect();
    (Tensor::stack(&outs, 0) * shares).sum_dim_intlist(0, false, Kind::Float).to_kind(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 13 keys at once, and as parts of 4 and 9 whose shares are merged; by the kernel and by hand.
    #[test]
    fn parts_merge_to_the_whole() {
        tch::manual_seed(1);
        let random = |n: i64| Tensor::randn([2, 3, n, 8], (Kind::Float, tch::Device::Cpu));
        let (query, keys, values) = (random(5), random(13), random(13));
        let none = Tensor::zeros([2, 1, 1, 13], (Kind::Float, tch::Device::Cpu));
        let of = |start: i64, length: i64| {
            let cut = |t: &Tensor| t.narrow(2, start, length);
            Partial::of(&query, &cut(&keys), &cut(&values), &none.narrow(3, 0, length))
        };
        let whole = of(0, 13);
        let parts = merged(&[of(0, 4), of(4, 9)], Kind::Float);
        assert!(parts.allclose(&whole.out, 1e-5, 1e-6, false));
        assert!(kernel(&query, &keys, &values, &none).is_ok(), "the kernel is there");
        let (out, weight) = by_hand(&query, &keys, &values, &none);
        assert!(
            out.allclose(&whole.out, 1e-5, 1e-6, false) && weight.allclose(&whole.weight, 1e-5, 1e-6, false)
        );
    }
}
