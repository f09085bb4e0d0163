//! What a run goes on from: its state, its figures and traces, its tensors.

use super::data::TRACES;
use super::mutate::Grammar;
use super::runner::{file, fuzz, refused};
use rationale::checkpoint::{Mode, RunDir, Saved, load_tensors, save_tensors, sealed};
use rationale::log::JsonLines;
use rationale::rollout::Trace;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

const STATE: &str = r#"{
  "format": 1, "sequence": 7, "version": "0.1.0", "stage": "rl", "round": 1, "step": 5, "last": false, "seed": 5,
  "metrics": {"loss": 0.241, "eval/accuracy": 0.5, "step_time": 1e-3},
  "extra": {"tokens": 439, "position": {"recent": {"0": [0.0, 1.0], "10": [0.5]}}}
}"#;

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn state() {
    fuzz("fuzz::runs::state", Grammar::Json, vec![STATE.as_bytes().to_vec()], |bytes, folder| {
        let run = folder.join("run");
        let checkpoint = run.join("rl-step-000005");
        if !checkpoint.is_dir() {
            std::fs::create_dir_all(&checkpoint).unwrap();
            file(&run, "run.json", b"{}");
        }
        // What is no JSON any more is tried as it is; of what is, the checksum would be all that is looked at.
        let object = serde_json::from_slice::<Map<String, Value>>(bytes);
        let text = object.map_or_else(|_| bytes.to_vec(), |object| sealed(object).into_bytes());
        file(&checkpoint, "state.json", &text);
        match Saved::open(&checkpoint) {
            Ok(saved) => {
                // What was read is what is written: nothing of it is lost on the way.
                let told = serde_json::to_vec(&saved.state)
                    .map_err(|error| format!("it is read, not written: {error}"))?;
                let again =
                    serde_json::from_slice(&told).map_err(|error| format!("it is not read back: {error}"))?;
                if saved.state != again {
                    return Err(format!("{:?} becomes {again:?}", saved.state));
                }
            }
            Err(error) => refused(&error, &["state.json"], bytes)?,
        }
        if let Err(error) = RunDir::look(&run) {
            refused(&error, &["state.json", "rl-step-000005"], bytes)?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn marks_and_locks() {
    let corpus = [
        r#"{"program": "rationale", "version": "0.1.0", "git": {"revision": "a", "dirty": false}}"#,
        r#"{"pid": 1, "born": "x 1"}"#,
    ];
    fuzz(
        "fuzz::runs::marks_and_locks",
        Grammar::Json,
        corpus.map(|text| text.as_bytes().to_vec()).to_vec(),
        |bytes, folder| {
            let run = folder.join("run");
            std::fs::create_dir_all(&run).unwrap();
            // The lock is looked at where the mark is as it was written.
            for mark in [bytes, sealed(serde_json::Map::new()).as_bytes()] {
                file(&run, "run.json", mark);
                file(&run, ".lock", bytes);
                RunDir::create(&run, Mode::Resume)
                    .map(drop)
                    .or_else(|error| refused(&error, &["run"], bytes))?;
            }
            Ok(())
        },
    );
}

const FIGURES: &str = "{\"stage\":\"rl\",\"round\":1,\"step\":1,\"loss\":0.5,\"eval/accuracy\":1.0}
{\"stage\":\"rl\",\"round\":1,\"step\":2,\"loss\":null}
{\"stage\":\"sft\",\"round\":2,\"loop_round\":1,\"step\":3,\"named\":[\"a\"]}
";

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn lines() {
    let [traces, tree] = TRACES;
    let corpus = [FIGURES, traces, tree].map(|text| text.as_bytes().to_vec()).to_vec();
    fuzz("fuzz::runs::lines", Grammar::Json, corpus, |bytes, folder| {
        let path = file(folder, "metrics.jsonl", bytes);
        let keep = |line: &Value| line["step"].as_u64().is_some_and(|step| step <= 2);
        for error in [
            JsonLines::read(&path).err(),
            JsonLines::read_as::<Trace>(&path).err(),
            JsonLines::open(&path, keep).err(),
        ] {
            error.map_or(Ok(()), |error| refused(&error, &["metrics.jsonl"], bytes))?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let matrix = Tensor::from_slice(&[0.5f32, -1.0, 2.0, 3.0]).reshape([2, 2]);
    let list = [
        ("w.exp_avg".to_string(), matrix.shallow_clone()),
        ("w.master".to_string(), matrix.to_kind(Kind::BFloat16)),
        ("step".to_string(), Tensor::from_slice(&[3i64])),
    ];
    save_tensors(&path, &list).unwrap();
    fuzz("fuzz::runs::tensors", Grammar::SafeTensors, vec![std::fs::read(path).unwrap()], |bytes, folder| {
        match load_tensors(file(folder, "optimizer.safetensors", bytes)) {
            Ok(_) => Ok(()),
            Err(error) => refused(&error, &["optimizer.safetensors"], bytes),
        }
    });
}
