//! Chat templates render exactly as transformers renders them (tests/fixtures/chat/make.py).

use rationale::data::Message;
use rationale::data::chat::{ChatTemplate, set_moment};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    tokens: BTreeMap<String, String>,
    #[serde(default)]
    variables: Map<String, Value>,
    /// None where the template refuses the conversation.
    text: Option<String>,
}

#[test]
fn every_conversation_renders_as_in_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat");
    let read = |name: String| std::fs::read_to_string(folder.join(name)).expect("the fixture is there");
    let cases: Vec<Case> =
        serde_json::from_str(&read("rendered.json".to_string())).expect("the fixture is sound");
    let mut templates = BTreeSet::new();
    // 2025-06-01.
    set_moment(20_240 * 86_400);
    for case in &cases {
        let source = read(format!("templates/{}.jinja", case.template));
        let template = ChatTemplate::new(&source, case.tokens.clone()).expect("it parses");
        let text = template.render_with(&case.messages, &case.variables, case.add_generation_prompt);
        let name = format!("{} / {} / {}", case.template, case.conversation, case.add_generation_prompt);
        match &case.text {
            Some(expected) => {
                assert_eq!(text.as_ref().ok(), Some(expected), "{name}: {:?}", text.as_ref().err())
            }
            None => assert!(text.is_err(), "{name}"),
        }
        templates.insert(&case.template);
    }
    // 11 templates × 5 conversations × with and without the generation prompt, one of them with and without thinking; two of them with
    // tools and with spaces; 12 further ones × 4 conversations.
    assert_eq!((templates.len(), cases.len()), (23, 120 + 2 * 2 * 2 + 12 * 4 * 2));
    // A system turn (Gemma, Mixtral), or roles that do not alternate.
    let refused: BTreeSet<(&str, &str)> = cases
        .iter()
        .filter(|case| case.text.is_none())
        .map(|case| (case.template.as_str(), case.conversation.as_str()))
        .collect();
    let expected = [
        ("gemma", "system"),
        ("gemma", "turns"),
        ("llama2", "called"),
        ("mistral_v1", "called"),
        ("mixtral", "called"),
        ("mixtral", "system"),
        ("mixtral", "turns"),
        ("vicuna", "called"),
    ];
    assert_eq!(refused, expected.into());
}
