//! Text ↔ token ids: a Hugging Face tokenizer, or a byte- or character-level one for a model made from scratch.

mod encode;
mod growth;
mod render;

pub use render::Reply;

use super::chat::ChatTemplate;
use super::jinja::bounded;
use crate::error::{Error, Result, quietly};
use crate::limited;
use growth::Growth;
use regex::Regex;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// A tokenizer with its special tokens and chat template.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// What [`Tokenizer::save`] writes: the files as they were read, byte for byte.
    files: Vec<(String, Vec<u8>)>,
    eos: u32,
    pad: Option<u32>,
    /// The beginning-of-sequence token that goes before plain text.
    bos: Option<(String, u32)>,
    chat: Option<ChatTemplate>,
    /// Where it was read.
    place: String,
    /// The names of special tokens, the longest first.
    special: Option<Regex>,
    /// How much longer its normaliser makes a text.
    growth: Growth,
    /// The same vocabulary to which special tokens are text; made when a text first has one.
    plain: Arc<OnceLock<tokenizers::Tokenizer>>,
    /// Whether a text gets a space before its first word, as SentencePiece's models do, so that it does not go on in a word.
    begins_with_space: bool,
    /// How the chat template writes an assistant's turn.
    turn: render::Turn,
}

/// Files of a model folder that belong to its tokenizer.
pub const FILES: [&str; 11] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    GENERATION,
];

/// Bytes that the file of this name has at most.
fn most(name: &str) -> u64 {
    match name {
        "chat_template.jinja" => bounded::LONGEST_SOURCE as u64,
        "chat_template.json" | GENERATION => limited::DESCRIPTION,
        "tokenizer_config.json" | "special_tokens_map.json" | "added_tokens.json" => limited::SPECIAL_TOKENS,
        _ => limited::VOCABULARY,
    }
}

impl Tokenizer {
    /// Reads a model folder's `tokenizer.json`, `tokenizer_config.json` and chat template.
    ///
    /// # Errors
    /// A file that cannot be read, or that has more bytes than any of its kind.
    pub fn load(dir: &Path) -> Result<Self> {
        let mut tokenizer = Self::look(dir)?;
        tokenizer.chat.iter_mut().for_each(|chat| chat.share_time(false));
        Ok(tokenizer)
    }

    /// The same to look at what a run will read: conversations that take its chat template long have as much time together as one has in a run,
    /// so that a template without end is waited for once, whatever is written by it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn look(dir: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for name in FILES {
            let path = dir.join(name);
            if path.is_file() {
                files.push((name.to_string(), limited::bytes(&path, most(name))?));
            }
        }
        Self::from_files(files, &dir.display().to_string())
    }

    /// One token a byte, `<eos>` and `<pad>`: 258 tokens. Every text has ids.
    pub fn bytes() -> Self {
        let vocabulary = byte_characters().into_iter().map(String::from);
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        let model = json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": numbered(vocabulary), "merges": []});
        Self::from_parts(model, byte_level.clone(), byte_level, 256)
    }

    /// One token a character of `alphabet`, then `<eos>` and `<pad>`. Other characters cannot be encoded.
    ///
    /// # Errors
    /// Where `alphabet` is empty or has a character twice.
    pub fn characters(alphabet: &str) -> Result<Self> {
        let count = alphabet.chars().count();
        let vocabulary = numbered(alphabet.chars().map(String::from));
        if count == 0 || vocabulary.len() < count {
            return Err(Error::Recipe(format!(
                "the alphabet {alphabet:?} is empty or has a character twice"
            )));
        }
        let split = json!({"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": false});
        // No token has this name, so a character outside the alphabet is an error and not an unknown token.
        let model = json!({"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"});
        Ok(Self::from_parts(model, split, json!({"type": "Fuse"}), count))
    }

    /// Whether there is a chat template.
    pub fn has_chat(&self) -> bool {
        self.chat.is_some()
    }

    /// Whether the chat template asks for something by this name, where there is one.
    pub fn chat_asks(&self, name: &str) -> bool {
        self.chat.as_ref().is_some_and(|chat| chat.asks(name))
    }

    /// The end-of-sequence token's id.
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The padding token's id, where there is one.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// Tokens, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token by its exact name.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The exact name of a token, special ones' too; its number where it has none.
    pub fn name_of(&self, id: u32) -> String {
        self.inner.id_to_token(id).unwrap_or_else(|| format!("<{id}>"))
    }

    /// A token as it is written: its text, or the name of one that has none.
    pub fn written(&self, id: u32) -> String {
        let text = self.decode(&[id]);
        if text.is_empty() { self.name_of(id) } else { text }
    }

    /// Writes the tokenizer's files into `dir` as transformers reads them; files that were loaded are written byte
    /// for byte as they were.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        for (name, bytes) in &self.files {
            let path = dir.join(name);
            std::fs::write(&path, bytes).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    fn from_files(files: Vec<(String, Vec<u8>)>, place: &str) -> Result<Self> {
        let file =
            |name: &str| files.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes.as_slice());
        let Some(tokenizer) = file("tokenizer.json") else {
            return Err(Error::Model(format!(
                "{place} has no tokenizer.json; save the tokenizer once with transformers (use_fast=True) to make it"
            )));
        };
        let unreadable = |e: &str| {
            Error::Model(format!("{place}/tokenizer.json is not a tokenizer this program reads: {e}"))
        };
        let growth = Growth::of(tokenizer).map_err(|why| unreadable(&why))?;
        let mut inner = quietly(|| tokenizers::Tokenizer::from_bytes(tokenizer))
            .map_err(|panic| unreadable(&panic))?
            .map_err(|e| unreadable(&e.to_string()))?;
        // A saved truncation or padding would silently cut or fill prompts.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| Error::Model(format!("{place}/tokenizer.json: {e}")))?;
        let read = |name: &str| file(name).map_or(Ok(Map::new()), |bytes| object(bytes, place, name));
        let (config, special) = (read("tokenizer_config.json")?, read("special_tokens_map.json")?);
        let tokens = named_tokens(&special).chain(named_tokens(&config)).collect::<BTreeMap<_, _>>();
        let id = |name: &str| tokens.get(name).and_then(|token| inner.token_to_id(token));
        let stops = eos_ids(&read(GENERATION)?);
        let eos = id("eos_token").or_else(|| stops.first().copied()).ok_or_else(|| {
            Error::Model(format!(
                "{place}: tokenizer_config.json names no `eos_token` of the vocabulary; add it"
            ))
        })?;
        let (bos, pad) = (beginning(&inner, &tokens, &config), id("pad_token"));
        let chat = match chat_source(&config, file("chat_template.jinja"), &read("chat_template.json")?) {
            Some(source) => {
                let mut chat = ChatTemplate::new(&source, tokens)?;
                chat.share_time(true);
                Some(chat)
            }
            None => None,
        };
        let (place, special) = (place.to_string(), special_tokens(&inner));
        let (plain, turn) = (Arc::default(), Default::default());
        let mut tokenizer = Self {
            inner,
            files,
            eos,
            pad,
            bos,
            chat,
            place,
            special,
            growth,
            plain,
            begins_with_space: false,
            turn,
        };
        tokenizer.begins_with_space =
            tokenizer.encode("a").is_ok_and(|ids| tokenizer.decode(&[ids.clone(), ids].concat()) == "a a");
        tokenizer.turn = tokenizer.turn_as_written();
        Ok(tokenizer)
    }

    fn from_parts(model: Value, pre_tokenizer: Value, decoder: Value, first_special: usize) -> Self {
        let added: Vec<_> = [("<eos>", 0), ("<pad>", 1)]
            .map(|(content, at)| {
                json!({"id": first_special + at, "content": content, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true})
            })
            .into();
        let tokenizer = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": null, "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": decoder,
            "model": model});
        let special = json!({"eos_token": "<eos>", "pad_token": "<pad>"});
        let config = json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>",
            "clean_up_tokenization_spaces": false, "model_max_length": 1_000_000_000_000u64});
        let generation = json!({"eos_token_id": first_special, "pad_token_id": first_special + 1});
        let files = [
            ("tokenizer.json", tokenizer),
            ("tokenizer_config.json", config),
            ("special_tokens_map.json", special),
            (GENERATION, generation),
        ];
        let files = files.map(|(name, json)| (name.to_string(), format!("{json:#}\n").into_bytes()));
        Self::from_files(files.into(), "the built-in tokenizer").expect("its files are made above")
    }
}

/// The names of the special tokens as one pattern, the longest first.
fn special_tokens(inner: &tokenizers::Tokenizer) -> Option<Regex> {
    let added = inner.get_added_tokens_decoder();
    let mut names: Vec<&str> = added
        .values()
        .filter(|token| token.special && !token.content.is_empty())
        .map(|token| token.content.as_str())
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let pattern = names.into_iter().map(regex::escape).collect::<Vec<_>>().join("|");
    if pattern.is_empty() { None } else { Regex::new(&pattern).ok() }
}

/// The file of a model folder that says how to generate.
pub const GENERATION: &str = "generation_config.json";

/// The ids that end a completion: `generation_config.json`'s, or else `config.json`'s, or else `eos`, the tokenizer's.
pub fn generation_eos(dir: &Path, eos: u32) -> Result<Vec<u32>> {
    for config in [generation_config(dir)?, json_file(dir, "config.json")?] {
        let ids = eos_ids(&config);
        if !ids.is_empty() {
            return Ok(ids);
        }
    }
    Ok(vec![eos])
}

/// What `generation_config.json` says; nothing where there is none.
pub fn generation_config(dir: &Path) -> Result<Map<String, Value>> {
    json_file(dir, GENERATION)
}

fn json_file(dir: &Path, name: &str) -> Result<Map<String, Value>> {
    let path = dir.join(name);
    if !path.is_file() {
        return Ok(Map::new());
    }
    object(&limited::bytes(&path, limited::DESCRIPTION)?, &dir.display().to_string(), name)
}

/// `eos_token_id`: one id or a list.
fn eos_ids(config: &Map<String, Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match config.get("eos_token_id") {
        Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}

fn object(bytes: &[u8], place: &str, name: &str) -> Result<Map<String, Value>> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::Model(format!("{place}/{name} is not a JSON object: {e}")))
}

/// `eos_token`, `bos_token` and the like, written as a text or as `{"content": …}`.
fn named_tokens(config: &Map<String, Value>) -> impl Iterator<Item = (String, String)> + '_ {
    config.iter().filter(|(name, _)| name.ends_with("_token")).filter_map(|(name, value)| {
        let content = value.get("content").unwrap_or(value).as_str()?;
        Some((name.clone(), content.to_string()))
    })
}

/// The beginning token, where plain text gets one: `add_bos_token` decides, or else what the tokenizer's own
/// post-processing puts first.
fn beginning(
    inner: &tokenizers::Tokenizer,
    tokens: &BTreeMap<String, String>,
    config: &Map<String, Value>,
) -> Option<(String, u32)> {
    let bos = tokens.get("bos_token")?;
    let id = inner.token_to_id(bos)?;
    let adds = config.get("add_bos_token").and_then(Value::as_bool);
    let processed = || {
        let empty = quietly(|| inner.encode_fast("", true));
        empty.is_ok_and(|done| done.is_ok_and(|empty| empty.get_ids().first() == Some(&id)))
    };
    adds.unwrap_or_else(processed).then(|| (bos.clone(), id))
}

/// The template's text: a file of its own, or `chat_template` as a text or as a list of named ones, of which
/// `default` counts.
fn chat_source(
    config: &Map<String, Value>,
    jinja: Option<&[u8]>,
    json: &Map<String, Value>,
) -> Option<String> {
    if let Some(bytes) = jinja {
        return Some(String::from_utf8_lossy(bytes).into_owned());
    }
    match config.get("chat_template").or_else(|| json.get("chat_template"))? {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|t| t.get("name").and_then(Value::as_str) == Some("default"));
            default.or(named.first())?.get("template")?.as_str().map(str::to_string)
        }
        _ => None,
    }
}

fn numbered(tokens: impl Iterator<Item = String>) -> Map<String, Value> {
    let mut vocabulary = Map::new();
    for token in tokens {
        let id = vocabulary.len();
        vocabulary.entry(token).or_insert(json!(id));
    }
    vocabulary
}

/// The characters that stand for bytes 0 to 255 in byte-level vocabularies: printable ones for themselves, the others
/// from U+0100 on (GPT-2's table).
fn byte_characters() -> Vec<char> {
    let mut next = 0x100;
    let mut stand_in = || {
        next += 1;
        char::from_u32(next - 1).expect("U+0100 to U+0143")
    };
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    (0..=255u8).map(|b| if printable(b) { char::from(b) } else { stand_in() }).collect()
}
