//! The two ways decoding runs the model: over whole prompts, and over one new token of each sequence in flight.

use super::cache::Cache;
use crate::model::attention::Packed;
use crate::model::{Attend, Model};
use tch::{Kind, Tensor};

/// A prompt that was computed.
pub struct Prompt {
    /// Which request it is.
    pub request: usize,
    /// Keys and values `[kv_heads, tokens, head_dim]`, one pair a layer.
    pub layers: Vec<(Tensor, Tensor)>,
    /// Logits of the first new token, `[vocab]`.
    pub logits: Tensor,
}

/// Computes `prompts` (request index, token ids) in one packed pass; one that another begins with is computed with it.
pub fn prefill(model: &Model, prompts: &[(usize, &[u32])]) -> Vec<Prompt> {
    let device = model.device();
    let hosts = hosts(prompts);
    let laid: Vec<usize> = (0..prompts.len()).filter(|&row| hosts[row] == row).collect();
    let lengths: Vec<usize> = laid.iter().map(|&row| prompts[row].1.len()).collect();
    let ids: Vec<i64> = laid.iter().flat_map(|&row| prompts[row].1.iter().map(|&id| i64::from(id))).collect();
    let packed = Packed::new(&lengths, device);
    let positions = packed.positions();
    let mut recorder = Recorder { packed, layers: Vec::new() };
    let hidden = model.hidden(&Tensor::from_slice(&ids).to_device(device), &positions, &mut recorder);

    let mut starts = vec![0i64; prompts.len()];
    for ((&row, end), length) in laid.iter().zip(running_sum(&lengths)).zip(&lengths) {
        starts[row] = end - *length as i64;
    }
    let spans = || hosts.iter().zip(prompts).map(|(&host, (_, ids))| (starts[host], ids.len() as i64));
    let last: Vec<i64> = spans().map(|(start, length)| start + length - 1).collect();
    let logits = model.logits(&hidden.index_select(0, &Tensor::from_slice(&last).to_device(device)));
    spans()
        .enumerate()
        .map(|(row, (start, length))| {
            let cut = |t: &Tensor| t.narrow(0, start, length).transpose(0, 1);
            let layers = recorder.layers.iter().map(|(key, value)| (cut(key), cut(value))).collect();
            Prompt { request: prompts[row].0, layers, logits: logits.get(row as i64) }
        })
        .collect()
}

/// Tokens that [`prefill`] computes for `prompts`.
pub fn computed(prompts: &[(usize, &[u32])]) -> usize {
    let hosts = hosts(prompts);
    prompts.iter().enumerate().filter(|(row, _)| hosts[*row] == *row).map(|(_, (_, ids))| ids.len()).sum()
}

/// For each prompt the one that it is computed with: the longest that begins with it, which may be itself.
fn hosts(prompts: &[(usize, &[u32])]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|&row| prompts[row].1);
    let mut hosts: Vec<usize> = (0..prompts.len()).collect();
    // In this order, what begins with a prompt follows it at once.
    for pair in order.windows(2).rev() {
        if prompts[pair[1]].1.starts_with(prompts[pair[0]].1) {
            hosts[pair[0]] = hosts[pair[1]];
        }
    }
    hosts
}

fn running_sum(lengths: &[usize]) -> Vec<i64> {
    lengths
        .iter()
        .scan(0, |end, &length| {
            *end += length as i64;
            Some(*end)
        })
        .collect()
}

/// Packed attention that keeps every layer's keys and values.
struct Recorder {
    packed: Packed,
    layers: Vec<(Tensor, Tensor)>,
}

impl Attend for Recorder {
    fn attend(&mut self, layer: usize, query: &Tensor, key: &Tensor, value: &Tensor) -> Tensor {
        self.layers.push((key.shallow_clone(), value.contiguous()));
        self.packed.attend(layer, query, key, value)
    }
}

/// Feeds `tokens[r]` at `positions[r]` to the sequence in slot r, and returns the logits of the next, `[rows, vocab]`.
pub fn step(model: &Model, cache: &mut Cache, tokens: &[i64], positions: &[i64]) -> Tensor {
    let device = model.device();
    let longest = positions.iter().max().map_or(0, |&position| position as usize + 1);
    cache.reserve(longest);
    let span = cache.span(longest);
    let upload = |values: &[i64]| Tensor::from_slice(values).to_device(device);
    let (tokens, at) = (upload(tokens), upload(positions));
    let mask = visible(&at, span, model);
    let places = upload(&cache.places(positions));
    let mut attend = Cached { cache, rows: positions.len() as i64, span, places, mask };
    let hidden = model.hidden(&tokens, &at, &mut attend);
    model.logits(&hidden)
}

/// 0 where the token at `positions[r]` may look, −∞ elsewhere, `[rows, 1, 1, span]`.
fn visible(positions: &Tensor, span: i64, model: &Model) -> Tensor {
    let device = model.device();
    let (last, columns) = (positions.unsqueeze(1), Tensor::arange(span, (Kind::Int64, device)).unsqueeze(0));
    let mask = Tensor::zeros([positions.size()[0], span], (model.kind(), device));
    mask.masked_fill(&columns.gt_tensor(&last), f64::NEG_INFINITY).view([-1, 1, 1, span])
}

/// One query a row against its slot's keys and values.
struct Cached<'a> {
    cache: &'a mut Cache,
    rows: i64,
    span: i64,
    places: Tensor,
    mask: Tensor,
}

impl Attend for Cached<'_> {
    fn attend(&mut self, layer: usize, query: &Tensor, key: &Tensor, value: &Tensor) -> Tensor {
        self.cache.write(layer, &self.places, key, value);
        let (keys, values) = self.cache.read(layer, self.rows, self.span);
        let size = query.size();
        let kv_heads = keys.size()[1];
        // The query heads that share a key head stand where a sequence's queries would, so that keys and values are
        // read once for all of them and never repeated in memory.
        let query = query.reshape([self.rows, kv_heads, size[1] / kv_heads, size[2]]);
        let mask = Some(&self.mask);
        let out = Tensor::scaled_dot_product_attention(&query, &keys, &values, mask, 0.0, false, None, false);
        out.reshape([self.rows, size[1] * size[2]])
    }
}
