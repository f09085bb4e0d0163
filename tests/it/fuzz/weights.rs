//! A model's folder: its shape, its weights, its tokenizer.

use super::mutate::Grammar;
use super::runner::{file, fuzz, refused};
use crate::recipes::saved_model;
use rationale::data::{Message, Prompt, Tokenizer};
use rationale::model::{Config, Model};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use tch::{Device, Kind};

/// Weights of the models that are made: more take time, not other paths.
const MOST: usize = 1 << 18;

fn read(path: PathBuf) -> Vec<u8> {
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn config() {
    let corpus = ["llama", "llama3", "mistral", "qwen2", "qwen3"]
        .map(|name| read(saved_model(name).join("config.json")));
    fuzz("fuzz::weights::config", Grammar::Json, corpus.to_vec(), |bytes, folder| {
        file(folder, "config.json", bytes);
        let config = match Config::read(folder) {
            Ok(config) => config,
            Err(error) => return refused(&error, &["config.json"], bytes),
        };
        file(folder, "config.json", config.to_json(Kind::Float).to_string().as_bytes());
        let again = Config::read(folder).map_err(|error| format!("what it writes is refused: {error}"))?;
        if again.size() != config.size() {
            return Err(format!("{} weights become {}", config.size(), again.size()));
        }
        let parts =
            [config.vocab_size, config.hidden_size, config.intermediate_size, config.num_hidden_layers];
        let small =
            parts.iter().all(|part| *part <= MOST) && config.size() <= MOST && config.head_dim <= MOST;
        if small {
            match Model::init(config, Kind::Float, Device::Cpu, 0) {
                Ok(_) => {}
                Err(error) => refused(&error, &["model"], bytes)?,
            }
        }
        Ok(())
    });
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn safetensors() {
    let corpus = vec![read(saved_model("llama").join("model.safetensors"))];
    let config = read(saved_model("llama").join("config.json"));
    fuzz("fuzz::weights::safetensors", Grammar::SafeTensors, corpus, move |bytes, folder| {
        file(folder, "config.json", &config);
        file(folder, "model.safetensors", bytes);
        let model = match Model::load(folder, Kind::Float, Device::Cpu) {
            Ok(model) => model,
            Err(error) => return refused(&error, &["model.safetensors"], bytes),
        };
        let broken =
            model.all_tensors().into_iter().find(|(_, tensor)| tensor.isfinite().all().int64_value(&[]) == 0);
        broken.map_or(Ok(()), |(name, _)| Err(format!("{name} has a number that is none, and is loaded")))
    });
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn index() {
    let folder = saved_model("sharded");
    let corpus = vec![read(folder.join("model.safetensors.index.json"))];
    fuzz("fuzz::weights::index", Grammar::Json, corpus, move |bytes, scratch| {
        if !scratch.join("config.json").exists() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, scratch.join(path.file_name().unwrap())).unwrap();
            }
        }
        file(scratch, "model.safetensors.index.json", bytes);
        match Model::load(scratch, Kind::Float, Device::Cpu) {
            Ok(_) => Ok(()),
            Err(error) => refused(&error, &["index.json", &scratch.display().to_string()], bytes),
        }
    });
}

/// Tokenizers of each model, with normalisers, pre-tokenizers, decoders and post-processors.
fn tokenizers() -> Vec<Vec<u8>> {
    let added = json!([{"id": 6, "content": "<eos>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}]);
    let tokenizer = |normalizer, split, decoder, processor, model| {
        let whole = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": normalizer, "pre_tokenizer": split, "post_processor": processor, "decoder": decoder, "model": model});
        whole.to_string().into_bytes()
    };
    let normalizer = json!({"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"},
        {"type": "Replace", "pattern": {"String": "a"}, "content": "bb"}, {"type": "Prepend", "prepend": "▁"}, {"type": "StripAccents"}]});
    let split = json!({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\s+|(a+)+b"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}, {"type": "Digits", "individual_digits": true}]});
    let decoder = json!({"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
    let processor = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<eos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<eos>": {"id": "<eos>", "ids": [6], "tokens": ["<eos>"]}}});
    let none = || json!(null);
    let vocab = json!({"a": 0, "b": 1, "ab": 2, "▁": 3, "##a": 4, "<unk>": 5});
    let bpe = json!({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": vocab, "merges": [["a", "b"]]});
    let pieces = json!({"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab});
    let unigram = json!({"type": "Unigram", "unk_id": 5, "byte_fallback": false,
        "vocab": [["a", -1.0], ["b", -2.5], ["ab", -1.5], ["▁", -3.0], ["##a", -9.0], ["<unk>", -10.0]]});
    let words = json!({"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"});
    vec![
        tokenizer(normalizer, split.clone(), decoder, processor, bpe.clone()),
        tokenizer(
            none(),
            split,
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
            none(),
            bpe,
        ),
        tokenizer(
            json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}),
            json!({"type": "BertPreTokenizer"}),
            json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
            none(),
            pieces,
        ),
        tokenizer(
            none(),
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
            none(),
            unigram,
        ),
        tokenizer(
            none(),
            json!({"type": "Whitespace"}),
            json!({"type": "CTC", "pad_token": "<eos>", "word_delimiter_token": "|", "cleanup": true}),
            none(),
            words,
        ),
    ]
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn tokenizer() {
    fuzz("fuzz::weights::tokenizer", Grammar::Json, tokenizers(), |bytes, folder| {
        file(folder, "tokenizer.json", bytes);
        file(folder, "tokenizer_config.json", br#"{"eos_token": "<eos>", "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"}"#);
        let tokenizer = match Tokenizer::load(folder) {
            Ok(tokenizer) => tokenizer,
            Err(error) => return refused(&error, &["tokenizer", "eos_token"], bytes),
        };
        let names = ["tokenizer", "alphabet"];
        let long = "a".repeat(2000) + "c";
        for text in ["", "ab a b", "é ▁<eos>\u{0}\u{FFFD}😀", &long] {
            match tokenizer.encode_with_places(text) {
                Ok(ids) => {
                    let ids: Vec<u32> = ids.into_iter().map(|(id, _)| id).collect();
                    tokenizer.decode(&ids);
                    tokenizer.tokens_of(&ids[..ids.len().min(20)], 1..3);
                }
                Err(error) => refused(&error, &names, bytes)?,
            }
        }
        tokenizer.decode(&[0, 1, 2, 3, 4, 5, 6, 7, u32::MAX]);
        let turn = Message::new("user", "ab");
        match tokenizer.render(&Prompt::Chat(vec![turn])) {
            Ok(_) => Ok(()),
            Err(error) => refused(&error, &names, bytes),
        }
    });
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn tokenizer_config() {
    let corpus = [
        r#"{"eos_token": "<eos>", "pad_token": {"content": "<pad>", "lstrip": false}, "bos_token": null, "add_bos_token": true, "chat_template": [{"name": "default", "template": "{{ messages }}"}]}"#,
        r#"{"eos_token_id": [256, 257], "bos_token_id": 1, "temperature": 0.5}"#,
    ];
    fuzz(
        "fuzz::weights::tokenizer_config",
        Grammar::Json,
        corpus.map(|text| text.as_bytes().to_vec()).to_vec(),
        |bytes, folder| {
            if !folder.join("tokenizer.json").exists() {
                Tokenizer::bytes().save(folder).map_err(|error| error.to_string())?;
            }
            file(folder, "tokenizer_config.json", bytes);
            file(folder, "generation_config.json", bytes);
            match Tokenizer::load(folder) {
                Ok(tokenizer) => drop(tokenizer.encode("ab")),
                Err(error) => refused(&error, &["config.json", "template", "eos_token"], bytes)?,
            }
            Ok(())
        },
    );
}
