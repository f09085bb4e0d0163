//! Attention of sequences in flight to prompts that several of them share: every segment is read once for all its
//! sequences, and what each level says is merged by its log-sum-exp, as a softmax over all of them would have it.

use super::decode::visible;
use super::store::Store;
use crate::model::AttentionSpec;
use tch::{Kind, Tensor};

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
    /// Where each place's first token stands in its sequences, and its last one in the place, `[places]`.
    starts: Tensor,
    last: Tensor,
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
            let before = |path: &Vec<usize>| path[..level].iter().map(|&at| store.at(at).known as i64).sum();
            let segment = |path: &Vec<usize>| Some((*path.get(level)?, before(path)));
            let segments: Vec<Option<(usize, i64)>> = paths.iter().map(segment).collect();
            LevelView::new(store, level, &segments, (kind, device))
        });
        Self { prompts: paths.iter().map(length).collect(), levels: levels.collect() }
    }
}

impl LevelView {
    /// `segments`: what each sequence in flight sees of this level, and how many tokens stand before it.
    fn new(store: &Store, level: usize, segments: &[Option<(usize, i64)>], of: (Kind, tch::Device)) -> Self {
        let mut seen: Vec<(usize, Vec<i64>)> = Vec::new();
        let mut starts: Vec<i64> = Vec::new();
        for (row, at) in segments.iter().enumerate() {
            let Some((segment, before)) = at.map(|(at, before)| (store.at(at), before)) else { continue };
            let place = segment.place.expect("prompts in flight are computed");
            seen.resize_with(seen.len().max(place + 1), Default::default);
            starts.resize(seen.len(), 0);
            starts[place] = before;
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
        let last = tensor(&last);
        Self {
            level,
            places: seen.len() as i64,
            span,
            rows: tensor(&rows),
            back: tensor(&back),
            some: (some.len() < segments.len()).then(|| tensor(&some)),
            mask: visible(&last, span, of.0),
            starts: tensor(&starts),
            last,
        }
    }

    /// What its sequences see of it without a window, `[places, 1, 1, span]`.
    pub fn mask(&self) -> &Tensor {
        &self.mask
    }

    /// What the rows, whose tokens stand at `positions [rows]` of their sequences, see of it within a window, for `groups` query heads a
    /// key head: `[places, 1, rows of a place · groups, span]`. What is hidden is so low that it weighs nothing, and finite: a row that sees
    /// nothing of its place has then a share of 0 in what is merged, and no NaN.
    pub fn within(&self, positions: &Tensor, window: usize, groups: i64, kind: Kind) -> Tensor {
        let lowest = if kind == Kind::Half { -6e4 } else { -1e30 };
        let most = self.rows.size()[0] / self.places.max(1);
        let columns = Tensor::arange(self.span, (Kind::Int64, positions.device())).view([1, 1, self.span]);
        let first = positions.index_select(0, &self.rows).view([self.places, most]) - window as i64;
        let first = (first - self.starts.unsqueeze(1)).unsqueeze(2);
        let hidden = columns.le_tensor(&first).logical_or(&columns.gt_tensor(&self.last.view([-1, 1, 1])));
        let mask = Tensor::zeros([self.places, most, self.span], (kind, positions.device()));
        let mask = mask.masked_fill(&hidden, lowest).unsqueeze(2);
        mask.expand([-1, -1, groups, -1], false).reshape([self.places, 1, most * groups, self.span])
    }

    /// What the queries `[rows, kv_heads, heads / kv_heads, head_dim]` find in this level under a mask of it.
    pub fn attend(
        &self,
        spec: &AttentionSpec,
        query: &Tensor,
        store: &Store,
        layer: usize,
        mask: &Tensor,
    ) -> Partial {
        let (keys, values) = store.level(self.level, layer, self.places, self.span);
        let [all, kv_heads, groups, head_dim] = query.size()[..] else { unreachable!("four dimensions") };
        let by_place = query.index_select(0, &self.rows).view([self.places, -1, kv_heads, groups, head_dim]);
        let by_place = by_place.permute([0, 2, 1, 3, 4]).reshape([self.places, kv_heads, -1, head_dim]);
        let found = Partial::of(spec, &by_place, &keys, &values, mask);
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
    /// What the queries `[rows, kv_heads, heads / kv_heads, head_dim]` find in `sinks [heads]`: nothing, of their weight.
    pub fn of_sinks(sinks: &Tensor, query: &Tensor) -> Self {
        let size = query.size();
        let weight = sinks.to_kind(Kind::Float).view([1, size[1], size[2]]).expand([size[0], -1, -1], false);
        Self { out: query.zeros_like(), weight }
    }

    /// Queries `[batch, kv_heads, queries, head_dim]` against keys and values `[batch, kv_heads, span, head_dim]` under a
    /// mask that is added, `[batch, 1, 1 or queries, span]`.
    pub fn of(spec: &AttentionSpec, query: &Tensor, keys: &Tensor, values: &Tensor, mask: &Tensor) -> Self {
        let found = kernel(spec, query, keys, values, mask);
        let (out, weight) = found.unwrap_or_else(|| by_hand(spec, query, keys, values, mask));
        // Kernels lay their results out as they like.
        Self { out: out.contiguous(), weight: weight.to_kind(Kind::Float).contiguous() }
    }
}

/// libtorch's fast kernels, which tell the logarithm of the denominator beside the result; none where there is none for the device, or
/// scores are capped.
fn kernel(
    spec: &AttentionSpec,
    query: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    mask: &Tensor,
) -> Option<(Tensor, Tensor)> {
    if spec.softcap.is_some() {
        return None;
    }
    let (size, scale) = (query.size(), spec.scale);
    if !query.device().is_cuda() {
        return Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu(
            query,
            keys,
            values,
            0.0,
            false,
            Some(mask),
            scale,
        )
        .ok();
    }
    let wide = mask.expand([size[0], size[1], size[2], keys.size()[2]], false);
    let (out, weight, ..) = Tensor::f_internal_scaled_dot_product_efficient_attention(
        query,
        keys,
        values,
        Some(&wide),
        true,
        0.0,
        false,
        scale,
    )
    .ok()?;
    // Its logarithms are padded to a round number of queries.
    Some((out, weight.narrow(2, 0, size[2])))
}

/// softmax(capped(q kᵀ · scale) + mask) v and the logarithm of its denominator.
fn by_hand(
    spec: &AttentionSpec,
    query: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    mask: &Tensor,
) -> (Tensor, Tensor) {
    let [query_f, keys_f, mask_f] = [query, keys, mask].map(|t| t.to_kind(Kind::Float));
    let scores = query_f.matmul(&keys_f.transpose(2, 3)) * spec.scale_of(query.size()[3]);
    let scores = match spec.softcap {
        Some(cap) => (scores / cap).tanh() * cap,
        None => scores,
    } + mask_f;
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
        let spec = AttentionSpec { scale: Some(0.5), ..AttentionSpec::default() };
        let of = |start: i64, length: i64| {
            let cut = |t: &Tensor| t.narrow(2, start, length);
            Partial::of(&spec, &query, &cut(&keys), &cut(&values), &none.narrow(3, 0, length))
        };
        let whole = of(0, 13);
        let parts = merged(&[of(0, 4), of(4, 9)], Kind::Float);
        assert!(parts.allclose(&whole.out, 1e-5, 1e-6, false));
        assert!(kernel(&spec, &query, &keys, &values, &none).is_some(), "the kernel is there");
        let (out, weight) = by_hand(&spec, &query, &keys, &values, &none);
        assert!(
            out.allclose(&whole.out, 1e-5, 1e-6, false) && weight.allclose(&whole.weight, 1e-5, 1e-6, false)
        );
    }
}
