//! A model with its tokenizer out of a Hugging Face folder: read, or looked at before it is.

use super::Policy;
use crate::data::tokenizer::{self, Tokenizer};
use crate::error::{Error, Result};
use crate::model::{Config, Model, Quantize};
use std::path::Path;
use tch::{Device, Kind};

impl Policy {
    /// Loads a Hugging Face folder.
    pub fn load(folder: &Path, kind: Kind, device: Device, slots: usize) -> Result<Self> {
        Self::load_as(folder, kind, device, slots, None)
    }

    /// The tokenizer and the shape of a Hugging Face folder, of which all that [`load`](Self::load) refuses is refused; of many numbers, as far as
    /// [`Model::look`] sees.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn look(folder: &Path) -> Result<(Tokenizer, Config)> {
        let (tokenizer, _) = read_with(Tokenizer::look, folder)?;
        let shape = Model::look(folder)?;
        belong_together(&tokenizer, &shape)?;
        Ok((tokenizer, shape))
    }

    pub(super) fn load_as(
        folder: &Path,
        kind: Kind,
        device: Device,
        slots: usize,
        quantize: Option<Quantize>,
    ) -> Result<Self> {
        let (tokenizer, eos) = read_with(Tokenizer::load, folder)?;
        let model = match quantize {
            None => Model::load(folder, kind, device)?,
            Some(quantize) => Model::load_quantised(folder, kind, device, quantize)?,
        };
        Self::new(model, tokenizer, eos, slots)
    }
}

/// The tokenizer of a folder, read so, and the ids that end a completion.
fn read_with(read: fn(&Path) -> Result<Tokenizer>, folder: &Path) -> Result<(Tokenizer, Vec<u32>)> {
    // First, since it says what a folder is that is no model's.
    Config::read(folder)?;
    let tokenizer = read(folder)?;
    let eos = tokenizer::generation_eos(folder, tokenizer.eos())?;
    Ok((tokenizer, eos))
}

/// Refuses a tokenizer whose ids have no row in a model's embedding.
pub(super) fn belong_together(tokenizer: &Tokenizer, shape: &Config) -> Result<()> {
    let (ids, rows) = (tokenizer.vocab_size(), shape.vocab_size);
    if ids <= rows {
        return Ok(());
    }
    Err(Error::Model(format!(
        "the tokenizer knows {ids} tokens and the model has {rows} embedding rows: they do not belong together"
    )))
}
