//! Texts and conversations come to the ids that transformers makes of them, by tokenizers of the families' kinds
//! (`fixtures/tokenizers/make.py` made them).

use rationale::data::{Message, Prompt, Tokenizer};
use serde::Deserialize;
use serde_json::Map;
use std::path::Path;

#[derive(Deserialize)]
struct Cases {
    plain: Vec<Plain>,
    chat: Vec<Chat>,
}

#[derive(Deserialize)]
struct Plain {
    text: String,
    ids: Vec<u32>,
    /// With what the tokenizer puts before a text of its own.
    prompt: Vec<u32>,
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Message>,
    /// Up to where the last turn, the assistant's, begins.
    prompt: Vec<u32>,
    whole: Vec<u32>,
}

fn each(check: impl Fn(&str, &Tokenizer, &Cases)) {
    for name in ["gemma", "llama", "qwen"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(name);
        let cases = std::fs::read_to_string(folder.join("cases.json")).unwrap();
        check(name, &Tokenizer::load(&folder).unwrap(), &serde_json::from_str(&cases).unwrap());
    }
}

/// Spaces before a first word, bytes of what has no word, characters put together, special tokens written out, and what begins a text.
#[test]
fn texts_have_transformers_ids() {
    each(|name, tokenizer, cases| {
        for Plain { text, ids, prompt } in &cases.plain {
            assert_eq!(&tokenizer.encode(text).unwrap(), ids, "{name}: {text:?}");
            assert_eq!(&tokenizer.render(&Prompt::Text(text.clone())).unwrap(), prompt, "{name}: {text:?}");
        }
        // Gemma and Llama begin with a token of their own, Qwen does not.
        let begins = cases.plain.iter().all(|case| case.prompt.len() == case.ids.len() + 1);
        assert_eq!(begins, name != "qwen");
    });
}

/// A prompt's ids, and behind them those of the turn as the template writes it and of the token that ends it, are how the whole begins.
#[test]
fn conversations_have_transformers_ids() {
    each(|name, tokenizer, cases| {
        for Chat { messages, prompt, whole } in &cases.chat {
            let (last, before) = messages.split_last().unwrap();
            let asked = Prompt::Chat(before.to_vec());
            assert_eq!(&tokenizer.render(&asked).unwrap(), prompt, "{name}");
            let written = tokenizer.reply(before, last, &Map::new()).unwrap().unwrap();
            // As a text of its own, too.
            assert_eq!(tokenizer.completion(&asked, &written.text).unwrap(), written.ids, "{name}");
            let all = [prompt.clone(), written.ids.clone()].concat();
            assert_eq!(whole[..all.len()], all, "{name}: {written:?}");
            // What follows is a line's end, and Phi's end of the text.
            assert!(whole.len() - all.len() <= 2, "{name}");
            assert_eq!(tokenizer.decode(&all[prompt.len()..]), written.text, "{name}");
        }
    });
}

/// Files are saved as they were read, and mean the same.
#[test]
fn what_is_saved_is_the_same_tokenizer() {
    each(|name, tokenizer, cases| {
        let dir = tempfile::tempdir().unwrap();
        tokenizer.save(dir.path()).unwrap();
        let again = Tokenizer::load(dir.path()).unwrap();
        for case in &cases.plain {
            assert_eq!(again.encode(&case.text).unwrap(), case.ids, "{name}");
        }
    });
}
