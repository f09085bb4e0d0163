//! Chat templates render exactly as transformers renders them (tests/fixtures/chat/make.py).

use rationale::data::Message;
use rationale::data::chat::ChatTemplate;
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
    for case in &cases {
        let source = read(format!("templates/{}.jinja", case.template));
        let template = ChatTemplate::new(&source, case.tokens.clone()).expect("it parses");
        let text = template.render_with(&case.messages, &case.variables, case.add_generation_prompt).ok();
        let name = format!("{} / {} / {}", case.template, case.conversation, case.add_generation_prompt);
        assert_eq!(text, case.text, "{name}");
        templates.insert(&case.template);
    }
    // 11 templates × 5 conversations × with and without the generation prompt, one of them with and without thinking.
    assert_eq!((templates.len(), cases.len()), (11, 120));
    let refused = cases.iter().filter(|case| case.text.is_none());
    assert!(refused.clone().count() == 4 && refused.clone().all(|case| case.template == "gemma"));
}
