//! What is learned of a conversation's turns is what the model's chat template writes of them, whatever it trims, puts around them or leaves
//! out: over the templates of tests/fixtures/chat.

use rationale::data::turns::{learned_turns, unread};
use rationale::data::{Example, Feedback, FeedbackCompletion, Message, Prompt, Prompted, Tokenizer};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Special tokens that the templates write.
const SPECIAL: [&str; 21] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<|end_of_text|>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<s>",
];

/// A byte tokenizer with those tokens, that speaks in the template called `name`.
fn tokenizer(name: &str) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    Tokenizer::bytes().save(folder.path()).unwrap();
    let edit = |file: &str, change: &dyn Fn(&mut Value)| {
        let path = folder.path().join(file);
        let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut json);
        fs::write(&path, json.to_string()).unwrap();
    };
    edit("tokenizer.json", &|json| {
        let added = json["added_tokens"].as_array_mut().unwrap();
        for (at, content) in SPECIAL.iter().enumerate() {
            let mut token = added[0].clone();
            (token["id"], token["content"]) = ((258 + at).into(), (*content).into());
            added.push(token);
        }
    });
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat/templates");
    let template = fs::read_to_string(templates.join(format!("{name}.jinja"))).unwrap();
    edit("tokenizer_config.json", &|json| {
        (json["chat_template"], json["bos_token"]) = (template.as_str().into(), "<s>".into());
    });
    Tokenizer::load(folder.path()).unwrap()
}

fn turns(said: Value) -> Vec<Message> {
    serde_json::from_value(said).unwrap()
}

fn variables(tools: bool) -> Map<String, Value> {
    let tool = json!([{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]);
    if tools { [("tools".to_string(), tool)].into_iter().collect() } else { Map::new() }
}

/// A row whose last turn is the completion, and that learns the assistant's turns before it.
fn row(messages: &[Message], tools: bool) -> Example {
    let (last, prompt) = messages.split_last().unwrap();
    let earlier = prompt.iter().enumerate().filter(|(_, turn)| turn.role == "assistant");
    Example {
        learned_turns: earlier.map(|(at, _)| at).collect(),
        prompt: Prompt::Chat(prompt.to_vec()),
        completion: Some(last.text()),
        reply: Some(Arc::new(last.clone())),
        variables: variables(tools).into(),
        ..Example::text("x", "")
    }
}

/// What is learned of each of the assistant's turns, and whether a token that ends a turn is learned with it.
fn learned(name: &str, said: Value, tools: bool) -> Result<Vec<(String, bool)>, String> {
    let (tokenizer, messages) = (tokenizer(name), turns(said));
    let row = Arc::new(row(&messages, tools));
    let told = |error: rationale::Error| error.to_string();
    let prompted = Prompted::of(&row, &tokenizer).map_err(told)?;
    let reply = prompted.completion(&tokenizer, prompted.example.completion.as_deref().unwrap()).unwrap();
    let spans = learned_turns(&tokenizer, &prompted.example).map_err(told)?;
    // The prompt and what is learned behind it are how the whole conversation begins, as the template writes it.
    if !tools {
        let whole = tokenizer.encode(&tokenizer.render_chat(&messages, false).unwrap()).unwrap();
        let ours = [prompted.tokens.clone(), reply.clone()].concat();
        assert_eq!(tokenizer.decode(&ours), tokenizer.decode(&whole[..ours.len()]), "{name}");
        assert_eq!(ours, whole[..ours.len()], "{name}");
    }
    let of = |ids: &[u32]| {
        let ends = ids.last().is_some_and(|&id| tokenizer.decode(&[id]).is_empty());
        (tokenizer.decode(ids), ends)
    };
    Ok(spans.iter().map(|span| of(&prompted.tokens[span.clone()])).chain([of(&reply)]).collect())
}

#[test]
fn several_turns_are_learned_as_the_template_writes_them() {
    let said = json!([
        {"role": "user", "content": "a"}, {"role": "assistant", "content": " b \n"},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "\n d "},
    ]);
    for (name, expected) in [
        // Trimmed, a space on both sides.
        ("llama2", [" b ", " d "]),
        ("vicuna", [" b", " d"]),
        ("mistral_v2v3", [" b", " d"]),
        // A space before, nothing trimmed.
        ("mistral_v1", ["  b \n", " \n d "]),
        ("mixtral", [" b \n", "\n d "]),
        ("smollm2", [" b \n", "\n d "]),
        ("granite", [" b \n", "\n d "]),
        ("olmo2", [" b \n", "\n d "]),
        ("llama3", ["b", "d"]),
        ("gemma", ["b", "d"]),
        // Line feeds alone come off the beginning.
        ("smollm3", [" b \n", " d "]),
        // The last turn's empty reasoning is written.
        ("qwen3", [" b \n", "<think>\n\n</think>\n\n d "]),
    ] {
        let found = learned(name, said.clone(), false).unwrap_or_else(|error| panic!("{name}: {error}"));
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, expected, "{name}");
        assert!(found.iter().all(|(_, ends)| *ends), "{name}: {found:?}");
    }
}

/// gpt-oss names a channel with special tokens, and ends earlier turns otherwise than the last one.
#[test]
fn special_tokens_of_the_template_are_learned_as_tokens() {
    let said = json!([
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "thinking": "so"},
    ]);
    let found = learned("gptoss", said, false).unwrap();
    assert_eq!(found[0].0, "finalb");
    assert_eq!(found[1], ("analysissoassistantfinald".to_string(), true));
}

#[test]
fn calls_of_tools_are_learned_where_the_template_writes_them() {
    let call =
        json!([{"id": "abcdefghi", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]);
    let said = json!([
        {"role": "user", "content": "1+2?"}, {"role": "assistant", "content": "", "tool_calls": call},
        {"role": "tool", "name": "add", "tool_call_id": "abcdefghi", "content": "3"},
        {"role": "assistant", "content": "It is 3."},
    ]);
    for name in ["qwen3", "qwen2_5", "glm4moe"] {
        let found = learned(name, said.clone(), true).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(found[0].0.contains("<tool_call>") && found[0].0.contains("add"), "{name}: {found:?}");
        assert!(found[1].0.ends_with("It is 3."), "{name}: {found:?}");
    }
}

#[test]
fn a_refusal_says_what_the_template_does() {
    let with_system = json!([
        {"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"},
    ]);
    // Mistral's later template writes the system turn with the last question alone.
    let said = learned("mistral_v2v3", with_system.clone(), false).unwrap_err();
    assert!(said.contains("writes what stands before turn 3 otherwise once other turns follow it"), "{said}");
    assert!(learned("mistral_v1", with_system, false).is_ok());
    let thought = json!([
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "hm"},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"},
    ]);
    let said = learned("qwen3", thought, false).unwrap_err();
    assert!(said.contains("leaves out the reasoning of turn 2 once other turns follow it"), "{said}");
}

/// Of a preference both turns are what supervised training of the same turns learns, with empty reasoning where there is none.
#[test]
fn compared_turns_are_written_as_learned_ones() {
    let tokenizer = tokenizer("qwen3");
    let asked = turns(json!([{"role": "user", "content": "2+3?"}]));
    let said = turns(json!([
        {"role": "assistant", "content": "5", "reasoning_content": "hm"}, {"role": "assistant", "content": "4"},
    ]));
    let side = |turn: &Message| FeedbackCompletion {
        turn: Some(Arc::new(turn.clone())),
        ..turn.text().as_str().into()
    };
    let [chosen, rejected] = [side(&said[0]), side(&said[1])];
    let feedback = Some(Feedback::Pair { chosen, rejected, weight: 1.0, margin: 0.0, why: None });
    let pair = Example { prompt: Prompt::Chat(asked.clone()), feedback, ..Example::text("x", "") };
    let prompted = Prompted::of(&Arc::new(pair), &tokenizer).unwrap();
    let Some(Feedback::Pair { chosen, rejected, .. }) = &prompted.example.feedback else { panic!("a pair") };
    assert_eq!(chosen.text, "<think>\nhm\n</think>\n\n5");
    assert_eq!(rejected.text, "<think>\n\n</think>\n\n4");
    for (side, turn) in [(chosen, &said[0]), (rejected, &said[1])] {
        let learned = Arc::new(row(&[asked[0].clone(), turn.clone()], false));
        let learned = Prompted::of(&learned, &tokenizer).unwrap();
        let ids = learned.completion(&tokenizer, learned.example.completion.as_deref().unwrap()).unwrap();
        assert_eq!(side.tokens.as_ref(), Some(&ids));
    }
}

#[test]
fn keys_that_nothing_reads_are_named() {
    let tokenizer = tokenizer("qwen3");
    let said = json!([
        {"role": "user", "content": "2+3?", "mood": "calm"},
        {"role": "assistant", "content": "5", "reasoning_content": "hm", "weight": 1, "mood": "calm", "content_type": "a"},
    ]);
    let one = row(&turns(said), false);
    assert_eq!(
        unread([&one, &one], &tokenizer).unwrap(),
        "3 keys of turns are read by nothing, not by the model's chat template either: `content_type` of the assistant's turns (2 of 2 \
         rows: x, x), `mood` of the assistant's turns (2 of 2 rows: x, x), `mood` of the user's turns (2 of 2 rows: x, x); what a turn \
         thinks is read as `reasoning_content`"
    );
    // One alone, and of many those that most rows have.
    let calm =
        json!([{"role": "user", "content": "2+3?", "mood": "calm"}, {"role": "assistant", "content": "5"}]);
    let calm = row(&turns(calm), false);
    assert_eq!(
        unread([&calm, &one], &tokenizer).unwrap().split(" (").next(),
        Some(
            "3 keys of turns are read by nothing, not by the model's chat template either: `mood` of the user's turns"
        )
    );
    assert_eq!(
        unread([&calm], &tokenizer).unwrap(),
        "`mood` of the user's turns is read by nothing, not by the model's chat template either, and 1 of 1 rows have it: x"
    );
    let many = json!([
        {"role": "user", "content": "2+3?", "a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1},
        {"role": "assistant", "content": "5"},
    ]);
    let told = unread([&row(&turns(many), false)], &tokenizer).unwrap();
    assert!(
        told.starts_with("6 keys") && told.ends_with("`d` of the user's turns (1 of 1 rows: x) and 2 more"),
        "{told}"
    );
    // What the template writes of the assistant's turns alone is lost in others; what says nothing is no loss.
    let call = json!([{"type": "function", "function": {"name": "add", "arguments": {}}}]);
    let said = json!([
        {"role": "system", "content": "s", "name": "rules", "weight": 1},
        {"role": "user", "content": "2+3?", "tool_calls": call, "reasoning_content": "hm", "annotations": []},
        {"role": "assistant", "content": "", "tool_calls": call, "refusal": ""},
    ]);
    let told = unread([&row(&turns(said), false)], &tokenizer).unwrap();
    let keys = [
        "`name` of the system's turns",
        "`weight` of the system's turns",
        "`reasoning_content` of the user's turns",
        "`tool_calls` of the user's turns",
    ];
    let keys = keys.map(|key| format!("{key} (1 of 1 rows: x)")).join(", ");
    let alone = ["reasoning_content", "tool_calls", "weight"]
        .map(|name| format!("; `{name}` says something of the assistant's turns alone"));
    assert_eq!(
        told,
        format!(
            "4 keys of turns are read by nothing, not by the model's chat template either: {keys}{}",
            alone.concat()
        )
    );
}
