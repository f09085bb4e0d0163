//! How many weights a model of some shape has, and how many of them a token passes through.

use super::form::ExpertsForm;
use super::{Config, Lora, names};

impl Config {
    /// The number of weights.
    ///
    /// # Panics
    /// Where the family's block cannot be built of this shape, which a configuration that was read can.
    pub fn size(&self) -> usize {
        let layers = self.outline().expect("a shape that the block can be built of");
        let layers: usize = layers.iter().flat_map(|layer| layer.tensors()).map(|(_, t)| t.numel()).sum();
        let heads = if self.tie_word_embeddings { 1 } else { 2 };
        heads * self.vocab_size * self.hidden_size + layers + self.hidden_size
    }

    /// The number of elements of each tensor that trains, and whether it is a matrix of a layer: of all of the model, or of its adapters.
    ///
    /// # Panics
    /// As [`Config::size`].
    pub fn trained(&self, lora: Option<&Lora>) -> Vec<(usize, bool)> {
        let layers = self.outline().expect("a shape that the block can be built of");
        if let Some(lora) = lora {
            let linears = layers.iter().flat_map(|layer| layer.linears());
            return linears.flat_map(|linear| lora.sizes(linear)).map(|size| (size, true)).collect();
        }
        let heads = if self.tie_word_embeddings { 1 } else { 2 };
        let outside = vec![self.vocab_size * self.hidden_size; heads].into_iter().chain([self.hidden_size]);
        let tensors = layers.iter().flat_map(|layer| layer.tensors());
        let of_layers = tensors.map(|(name, tensor)| (tensor.numel(), names::is_matrix(&name, tensor)));
        of_layers.chain(outside.map(|size| (size, false))).collect()
    }

    /// The number of weights that `tokens` tokens pass through together, where experts are chosen evenly; all of a model without experts.
    ///
    /// # Panics
    /// As [`Config::size`].
    pub fn size_for(&self, tokens: f64) -> f64 {
        let form = self.form().expect("a shape that the block can be built of");
        let Some(experts) = form.experts else { return self.size() as f64 };
        let sparse = form.layers.iter().filter(|layer| layer.sparse).count();
        let all = 3 * sparse * experts.count * experts.width * self.hidden_size;
        let missed = (1.0 - experts.per_token as f64 / experts.count as f64).powf(tokens);
        self.size() as f64 - missed * all as f64
    }

    /// Width of what a token passes through in a layer's MLP, mean over layers.
    ///
    /// # Panics
    /// As [`Config::size`].
    pub fn mlp_width(&self) -> f64 {
        let form = self.form().expect("a shape that the block can be built of");
        let width = |experts: ExpertsForm| experts.per_token * experts.width + experts.shared.unwrap_or(0);
        let sparse = form.experts.map_or(0, width);
        let of = |sparse_layer: bool| if sparse_layer { sparse } else { self.intermediate_size } as f64;
        form.layers.iter().map(|layer| of(layer.sparse)).sum::<f64>() / form.layers.len().max(1) as f64
    }
}
