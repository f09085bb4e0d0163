//! The keys and values of the sequences in flight: one place ("slot") a sequence, grown as they grow.

use crate::model::Config;
use tch::{Device, Kind, Tensor};

/// Per layer that attends `[slots, kv_heads, capacity, head_dim]`, for keys and for values.
pub struct Cache {
    layers: Vec<(Tensor, Tensor)>,
    slots: i64,
    kv_heads: i64,
    head_dim: i64,
    capacity: i64,
    limit: i64,
}

impl Cache {
    /// Room for `slots` sequences, none of which will hold more than `limit` tokens. Nothing is allocated yet.
    pub fn new(config: &Config, slots: usize, limit: usize, kind: Kind, device: Device) -> Self {
        let (slots, kv_heads, head_dim) =
            (slots as i64, config.num_key_value_heads as i64, config.head_dim as i64);
        let empty = || Tensor::zeros([slots, kv_heads, 0, head_dim], (kind, device));
        let layers = (0..config.attention_layers()).map(|_| (empty(), empty())).collect();
        Self { layers, slots, kv_heads, head_dim, capacity: 0, limit: padded(limit) }
    }

    /// From here on there are at least `slots` sequences, of which none will hold more than `limit` tokens, or what was said before.
    pub fn allow(&mut self, slots: usize, limit: usize) {
        self.limit = self.limit.max(padded(limit));
        if slots as i64 > self.slots {
            self.grow(slots as i64, self.capacity);
        }
    }

    /// Makes room for `length` tokens a slot, doubling so that the copies add up to no more than the cache itself.
    pub fn reserve(&mut self, length: usize) {
        if length as i64 > self.capacity {
            self.grow(self.slots, padded(length).max(self.capacity * 2).min(self.limit));
        }
    }

    /// Makes room for `slots` sequences and `length` tokens each, and little more.
    pub fn fit(&mut self, slots: usize, length: usize) {
        let slots = slots as i64;
        if slots > self.slots || length as i64 > self.capacity {
            let more = if slots > self.slots { slots.max(self.slots + self.slots / 2) } else { self.slots };
            self.grow(more, padded(length).max(self.capacity));
        }
    }

    fn grow(&mut self, slots: i64, capacity: i64) {
        for (key, value) in &mut self.layers {
            for held in [key, value] {
                // Zeros, because what stands behind a sequence's end is masked but still multiplied: by 0, and 0 · NaN is NaN.
                let size = [slots, self.kv_heads, capacity, self.head_dim];
                let grown = Tensor::zeros(size, (held.kind(), held.device()));
                grown.narrow(0, 0, self.slots).narrow(2, 0, self.capacity).copy_(held);
                *held = grown;
            }
        }
        (self.slots, self.capacity) = (slots, capacity);
    }

    /// Tokens that attention looks at when the longest sequence has `length`: a round number, for kernels' sake.
    pub fn span(&self, length: usize) -> i64 {
        padded(length).min(self.capacity)
    }

    /// For row r of a step, whose token stands at `positions[r]`: where its heads' vectors go, `[rows · kv_heads]`.
    pub fn places(&self, positions: &[i64]) -> Vec<i64> {
        let heads = self.kv_heads;
        positions
            .iter()
            .enumerate()
            .flat_map(|(row, position)| {
                (0..heads).map(move |head| (row as i64 * heads + head) * self.capacity + position)
            })
            .collect()
    }

    /// Writes one token's `key` and `value` `[rows, kv_heads, head_dim]` a row at `places`.
    pub fn write(&mut self, layer: usize, places: &Tensor, key: &Tensor, value: &Tensor) {
        let (keys, values) = &self.layers[layer];
        for (held, new) in [(keys, key), (values, value)] {
            let _ = held.view([-1, self.head_dim]).index_copy_(0, places, &new.reshape([-1, self.head_dim]));
        }
    }

    /// Keys and values of the first `rows` slots and `span` tokens, as views `[rows, kv_heads, span, head_dim]`.
    pub fn read(&self, layer: usize, rows: i64, span: i64) -> (Tensor, Tensor) {
        let view = |held: &Tensor| held.narrow(0, 0, rows).narrow(2, 0, span);
        let (key, value) = &self.layers[layer];
        (view(key), view(value))
    }

    /// Writes keys and values `[kv_heads, tokens, head_dim]` a layer into `slot`, from its token `from` on.
    pub fn seat(&mut self, layers: &[(Tensor, Tensor)], slot: usize, from: usize) {
        for ((keys, values), (key, value)) in self.layers.iter().zip(layers) {
            for (held, new) in [(keys, key), (values, value)] {
                held.select(0, slot as i64).narrow(1, from as i64, new.size()[1]).copy_(new);
            }
        }
    }

    /// The first `length` keys and values of `slot`, `[kv_heads, length, head_dim]` a layer, as views.
    pub fn slot(&self, slot: usize, length: usize) -> Vec<(Tensor, Tensor)> {
        let cut = |held: &Tensor| held.select(0, slot as i64).narrow(1, 0, length as i64);
        self.layers.iter().map(|(key, value)| (cut(key), cut(value))).collect()
    }

    /// Leaves nothing in these slots: what is no number there would reach who comes next, masked as it is.
    pub fn clear(&mut self, slots: &[i64]) {
        for (key, value) in &self.layers {
            for (held, slot) in
                [key, value].into_iter().flat_map(|held| slots.iter().map(move |slot| (held, slot)))
            {
                let _ = held.select(0, *slot).zero_();
            }
        }
    }

    /// Copies the first `length` tokens of slots `from` over slots `to`, which are other ones.
    pub fn relocate(&mut self, from: &Tensor, to: &Tensor, length: usize) {
        let span = self.span(length);
        for (key, value) in &self.layers {
            for held in [key, value] {
                let mut held = held.narrow(2, 0, span);
                let moved = held.index_select(0, from);
                let _ = held.index_copy_(0, to, &moved);
            }
        }
    }
}

fn padded(length: usize) -> i64 {
    length.next_multiple_of(16) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { num_hidden_layers: 1, num_key_value_heads: 2, head_dim: 2, ..Config::default() }
    }

    fn at(cache: &Cache, slot: i64, head: i64, position: i64) -> Vec<f32> {
        let (keys, _) = cache.read(0, 3, cache.span(40));
        Vec::try_from(keys.select(0, slot).select(0, head).select(0, position)).unwrap()
    }

    /// A vector written at (row 1, position 5) is found there after the cache has grown from 16 to 48 tokens a slot
    /// and after its slot has moved to slot 0; slot 2 was never written and is still zero.
    #[test]
    fn vectors_keep_their_place_through_growth_and_moves() {
        let mut cache = Cache::new(&config(), 3, 48, Kind::Float, Device::Cpu);
        cache.reserve(6);
        let places = Tensor::from_slice(&cache.places(&[0, 5]));
        let key = Tensor::arange(8, (Kind::Float, Device::Cpu)).view([2, 2, 2]);
        cache.write(0, &places, &key, &key);
        cache.reserve(40);
        assert_eq!(cache.capacity, 48, "max(40 padded to 48, twice 16)");
        assert_eq!(at(&cache, 1, 0, 5), [4.0, 5.0]);
        assert_eq!(at(&cache, 1, 1, 5), [6.0, 7.0]);
        cache.relocate(&Tensor::from_slice(&[1i64]), &Tensor::from_slice(&[0i64]), 6);
        assert_eq!(at(&cache, 0, 1, 5), [6.0, 7.0]);
        assert_eq!(at(&cache, 2, 1, 5), [0.0, 0.0]);
        cache.clear(&[1]);
        assert_eq!((at(&cache, 1, 0, 5), at(&cache, 0, 1, 5)), (vec![0.0, 0.0], vec![6.0, 7.0]));
    }
}
