//! Chat templates render exactly as transformers renders them (tests/fixtures/chat/make.py).

use rationale::data::Message;
use rationale::data::chat::ChatTemplate;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    tokens: BTreeMap<String, String>,
    text: String,
}

#[test]
fn every_conversation_renders_as_in_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat");
    let read = |name: String| std::fs::read_to_string(folder.join(name)).expect("the fixture is there");
    let cases: Vec<Case> =
        serde_json::from_str(&read("rendered.json".to_string())).expect("the fixture is sound");
    let mut templates = BTreeSet::new();
    for case in &cases {
        let source = read(format!("templates/{}.jinja", case.template));
        let template = ChatTemplate::new(&source, case.tokens.clone()).expect("it parses");
        let text = template.render(&case.messages, case.add_generation_prompt).expect("it renders");
        let name = format!("{} / {} / {}", case.template, case.conversation, case.add_generation_prompt);
        assert_eq!(text, case.text, "{name}");
        templates.insert(&case.template);
    }
    // 6 templates × 5 conversations × with and without the generation prompt.
    assert_eq!((templates.len(), cases.len()), (6, 60));
}
