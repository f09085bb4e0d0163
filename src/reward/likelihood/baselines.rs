//! What a frozen model says of a text without a rationale: the same in every step and every run, so it is kept, in memory and on
//! disk.

use crate::checkpoint::write_atomic;
use crate::digest::hexadecimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Which baseline: the model and all text that is scored. Prompt and cue stand for the template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The model: see [`identity`].
    pub model: String,
    /// Prompt and cue, as token ids.
    pub context: Vec<u32>,
    /// The text that is scored.
    pub target: String,
}

/// Log-probabilities by key.
#[derive(Debug, Default)]
pub struct Baselines {
    known: HashMap<Key, Vec<f32>>,
    folder: Option<PathBuf>,
}

/// A file of the folder.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: Key,
    logprobs: Vec<f32>,
}

impl Baselines {
    /// Kept in `folder` too, where there is one.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { known: HashMap::new(), folder }
    }

    /// The baseline under `key`, by `score` where it is not known.
    pub fn get(
        &mut self,
        key: Key,
        score: impl FnOnce() -> anyhow::Result<Vec<f32>>,
    ) -> anyhow::Result<Vec<f32>> {
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let logprobs = match self.read(&key) {
            Some(kept) => kept,
            None => {
                let fresh = score()?;
                self.write(&key, &fresh)?;
                fresh
            }
        };
        self.known.insert(key, logprobs.clone());
        Ok(logprobs)
    }

    /// What the folder has; a file that cannot be read, or is of another key, counts as none.
    fn read(&self, key: &Key) -> Option<Vec<f32>> {
        let bytes = std::fs::read(file(self.folder.as_ref()?, key)).ok()?;
        let kept: Kept = serde_json::from_slice(&bytes).ok()?;
        (kept.key == *key).then_some(kept.logprobs)
    }

    fn write(&self, key: &Key, logprobs: &[f32]) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(crate::Error::io(folder))?;
        let kept = Kept { key: key.clone(), logprobs: logprobs.to_vec() };
        Ok(write_atomic(file(folder, key), serde_json::to_string(&kept)?.as_bytes())?)
    }
}

fn file(folder: &Path, key: &Key) -> PathBuf {
    let text = serde_json::to_string(key).expect("texts and numbers");
    let name = hexadecimal(&Sha256::digest(text));
    folder.join(format!("{name}.json"))
}

/// A model by its folder, its type of numbers, and the size and time of its weights: one that is trained again in the same place is
/// another.
pub fn identity(folder: &Path, kind: tch::Kind) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut weights: Vec<String> = entries
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "safetensors"))
        .filter_map(|entry| {
            let about = std::fs::metadata(entry.path()).ok()?;
            let since = about.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Some(format!("{} {} {}", entry.file_name().to_string_lossy(), about.len(), since.as_nanos()))
        })
        .collect();
    weights.sort();
    format!("{} {kind:?} {}", folder.display(), weights.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(model: &str) -> Key {
        Key { model: model.into(), context: vec![1, 2], target: "x".into() }
    }

    #[test]
    fn a_baseline_is_scored_once_for_all_runs() {
        let folder = tempfile::tempdir().unwrap();
        let mut asked = 0;
        for model in ["a", "a", "b"] {
            // Each time as a new run: nothing in memory.
            let mut baselines = Baselines::new(Some(folder.path().to_path_buf()));
            let mut score = || {
                asked += 1;
                Ok(vec![-0.5, -1.25])
            };
            assert_eq!(baselines.get(key(model), &mut score).unwrap(), [-0.5, -1.25]);
            assert_eq!(baselines.get(key(model), &mut score).unwrap(), [-0.5, -1.25]);
        }
        assert_eq!(asked, 2, "once a model");
        std::fs::write(file(folder.path(), &key("a")), "{").unwrap();
        let fresh = Baselines::new(Some(folder.path().to_path_buf())).get(key("a"), || Ok(vec![-3.0]));
        assert_eq!(fresh.unwrap(), [-3.0], "a broken file counts as none");
    }

    #[test]
    fn other_weights_in_the_same_folder_are_another_model() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.safetensors"), "one").unwrap();
        let before = identity(folder.path(), tch::Kind::Float);
        assert_eq!(identity(folder.path(), tch::Kind::Float), before);
        assert_ne!(identity(folder.path(), tch::Kind::BFloat16), before);
        std::fs::write(folder.path().join("model.safetensors"), "three").unwrap();
        assert_ne!(identity(folder.path(), tch::Kind::Float), before);
    }
}
