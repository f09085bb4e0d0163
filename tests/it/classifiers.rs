//! Saved reward models are transformers' classifiers: scores of checkpoints that the program wrote, against what
//! `AutoModelForTokenClassification` and `AutoModelForSequenceClassification` say of them (`fixtures/classifiers/score.py`).

use crate::near::near;
use rationale::model::{Grad, Model};
use rationale::policy::reward_model::{Judges, ScoreFormat};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/classifiers").join(name)
}

fn expected() -> Value {
    serde_json::from_str(include_str!("../fixtures/classifiers/scores.json")).unwrap()
}

fn load(name: &str) -> (Model, ScoreFormat) {
    let folder = folder(name);
    (Model::load(&folder, Kind::Float, Device::Cpu).unwrap(), ScoreFormat::load(&folder).unwrap())
}

/// What the head says at `places` of `tokens`, `[places · labels]`.
fn said(model: &Model, score_format: &ScoreFormat, tokens: &[u32], places: &[usize]) -> Vec<f64> {
    let read = model.read(&[tokens], &[places], Grad::No).unwrap();
    let logits = score_format.head.logits(model, &read.states).unwrap();
    Vec::try_from(logits.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

#[test]
fn transformers_says_the_same_of_every_token_and_of_the_whole() {
    let expected = expected();
    let tokens: Vec<Vec<u32>> = serde_json::from_value(expected["tokens"].clone()).unwrap();
    let (model, score_format) = load("token");
    assert_eq!(score_format.judges, Judges::Steps);
    let logits: Vec<Vec<Vec<f64>>> = serde_json::from_value(expected["token"].clone()).unwrap();
    assert_eq!(tokens.len(), logits.len());
    for (tokens, logits) in tokens.iter().zip(&logits) {
        let places: Vec<usize> = (0..tokens.len()).collect();
        near(said(&model, &score_format, tokens, &places), logits.concat(), 1e-5);
        assert!(logits[0] != logits[1], "a head that says the same everywhere would prove nothing");
    }
    let (model, score_format) = load("sequence");
    assert_eq!(score_format.judges, Judges::Outcome);
    let rewards: Vec<f64> = serde_json::from_value(expected["sequence"].clone()).unwrap();
    let ours: Vec<f64> =
        tokens.iter().flat_map(|tokens| said(&model, &score_format, tokens, &[tokens.len() - 1])).collect();
    near(&ours, &rewards, 1e-5);
    let padded: Vec<f64> = serde_json::from_value(expected["sequence_in_a_batch"].clone()).unwrap();
    near(&ours, &padded, 1e-5);
}

/// What transformers read is what the program writes today.
#[test]
fn checkpoints_are_still_written_so() {
    for (name, class) in
        [("token", "LlamaForTokenClassification"), ("sequence", "LlamaForSequenceClassification")]
    {
        assert_eq!(expected()["classes"][name], class);
        let (model, score_format) = load(name);
        let out = tempfile::tempdir().unwrap();
        model.save(out.path()).unwrap();
        score_format.save(out.path()).unwrap();
        for file in ["config.json", "reward_model.json"] {
            let json = |folder: &Path| -> Value {
                serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
            };
            assert_eq!(json(out.path()), json(&folder(name)), "{name}/{file}");
        }
        let tensors = |folder: &Path| {
            let mut all = Tensor::read_safetensors(folder.join("model.safetensors")).unwrap();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        let (written, kept) = (tensors(out.path()), tensors(&folder(name)));
        assert_eq!(written.len(), kept.len());
        assert!(
            written.iter().zip(&kept).all(|(a, b)| a.0 == b.0 && a.1 == b.1),
            "{name}: the weights differ"
        );
    }
}
