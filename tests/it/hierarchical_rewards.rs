//! The reward tables of papers, each a recipe fragment, on literal completions.

use crate::groups::group;
use crate::near::near;
use rationale::Registry;
use rationale::data::Example;
use rationale::rationale::{AnswerForm, Format};
use rationale::reward::{Models, Rewards};
use serde_json::{Value, json};

fn scores(fragment: &str, format: &Format, fields: Value, texts: &[&str]) -> Vec<f64> {
    let registry = Registry::default();
    let recipe: toml::Table = toml::from_str(fragment).unwrap();
    let mut rewards = Rewards::build(recipe["reward"].as_table().unwrap(), &registry, format).unwrap();
    let fields = fields.as_object().unwrap().clone();
    let answer = fields.get("answer").map(|a| a.as_str().map_or(a.to_string(), str::to_owned));
    let mut group = group(Example { answer, fields, ..Example::text("x", "?") }, texts, format);
    rewards.score(std::slice::from_mut(&mut group), &Models::none()).unwrap();
    group.rewards()
}

#[test]
fn shop_r1() {
    let of = |gold: Value, texts: &[&str]| {
        let fragment = include_str!("../fixtures/rewards/shop-r1.toml");
        scores(fragment, &Format::default(), json!({ "answer": gold }), texts)
    };
    let click = json!({"action": {"type": "click", "name": "add to cart"}});
    // No JSON earns nothing; JSON 0.5; the type 0.3 more; a name 0.2 more; ROUGE-L of "add to cart" with "add to basket"
    // is 2/3, below 0.75; of "add to cart now" 6/7, above: 1000 · 6/7.
    let texts = [
        "click add to cart",
        r#"{"rationale": "r", "action": {"type": "terminate"}}"#,
        r#"{"rationale": "r", "action": {"type": "click", "name": ""}}"#,
        r#"{"rationale": "r", "action": {"type": "click", "name": "add to basket"}}"#,
        r#"{"rationale": "r", "action": {"type": "click", "name": "add to cart now"}}"#,
    ];
    near(of(click, &texts), [0.0, 0.5, 0.8, 1.0, 1.0 + 6000.0 / 7.0], 1e-9);
    let submit = json!({"action": {"type": "type_and_submit", "name": "search box", "text": "red shoes"}});
    // 0.5 + 0.3 + 0.1 + 0.1 + 0.1 · 1; with the text also 1000.
    let texts = [
        r#"{"action": {"type": "type_and_submit", "name": "Search box", "text": "blue hats"}}"#,
        r#"{"action": {"type": "type_and_submit", "name": "Search box", "text": "red shoes"}}"#,
        r#"{"action": {"type": "type_and_submit", "text": "red shoes"}}"#,
    ];
    near(of(submit, &texts), [1.1, 1001.1, 1000.9], 1e-9);
    near(
        of(json!({"action": {"type": "terminate"}}), &[r#"{"action": {"type": "terminate"}}"#]),
        [0.8],
        1e-9,
    );
}

#[test]
fn rewardmap() {
    let of = |difficulty: &str, transfers: u8, texts: &[&str]| {
        let fields =
            json!({"answer": "B", "lines": ["1", "4"], "map_difficulty": difficulty, "transfers": transfers});
        scores(include_str!("../fixtures/rewards/rewardmap.toml"), &Format::default(), fields, texts)
    };
    let texts = [
        "<lines>1, 4</lines><answer>B</answer>",
        "<lines>1, 2</lines><answer>A</answer>",
        "<lines>4</lines>",
        "none",
    ];
    // 1 + 1 + 0.5; 1 + 0 + 0.5 · 2·1/4; 0.5 · 2·1/3; 0: times 1.0 + 0, and times 1.5 + 0.5.
    near(of("easy", 0, &texts), [2.5, 1.25, 1.0 / 3.0, 0.0], 1e-9);
    near(of("hard", 2, &texts), [5.0, 2.5, 2.0 / 3.0, 0.0], 1e-9);
}

#[test]
fn comfyui_r1() {
    let fields = json!({"candidates": "a, b, c, d, e", "nodes": ["a", "b", "c", "d"]});
    let texts = [
        "<selected_nodes>a, b, c, d</selected_nodes><workflow>d>c, c>b, b>a</workflow>",
        "<selected_nodes>a, e</selected_nodes><workflow>a>e</workflow>",
        "<selected_nodes>a, x</selected_nodes><workflow>a>x</workflow>",
        "<selected_nodes>a, b, c</selected_nodes><workflow>a>b</workflow>",
        "<selected_nodes>a, b</selected_nodes><workflow>a>b, b>a</workflow>",
        "<selected_nodes>a, b</selected_nodes><workflow>a, b</workflow>",
        "<selected_nodes>a</selected_nodes>",
    ];
    // (4 + 1 − 1) / 4 = 1; (4 + 1/4 − 1) / 4 = 0.8125; then no candidate, another set used, a cycle, no edges, no workflow.
    let found =
        scores(include_str!("../fixtures/rewards/comfyui-r1.toml"), &Format::default(), fields, &texts);
    near(&found, [1.0, 0.8125, -1.0, -1.0, -1.0, -1.0, -1.0], 1e-9);
}

#[test]
fn dementia() {
    let texts = [
        "hip low\n#### ash > bur > cor",
        "hip low\n#### bur > ash > cor",
        "hip low\n#### bur > bur > ash",
        "#### cor > bur",
        "hip low, so ash",
    ];
    // 0.5 for the form and 1, 1/2, 1/2 for the place; another list, no answer.
    let fields = json!({"answer": "ash"});
    let found = scores(include_str!("../fixtures/rewards/dementia.toml"), &Format::default(), fields, &texts);
    near(&found, [1.5, 1.0, 1.0, 0.5, 0.0], 1e-9);
}

#[test]
fn recon() {
    let format = Format {
        tags: Some(["<think>".into(), "</think>".into()]),
        answer: vec![AnswerForm::Boxed],
        ..Format::default()
    };
    let texts = [
        r"a</think>\boxed{Option 2: cut prices}",
        r"a</think>\boxed{2}",
        r"a</think>\boxed{Option 3}",
        r"a</think> option 2",
        r"\boxed{2}</think>\boxed{2}",
        r"a</think>b</think>\boxed{2}",
        r"\boxed{2}",
    ];
    let fields = json!({"answer": "Option 2: cut prices", "option": 2});
    let found = scores(include_str!("../fixtures/rewards/recon.toml"), &format, fields, &texts);
    near(&found, [5.0, 2.0, -3.0, -5.0, -4.0, -4.0, -4.0], 1e-9);
}

/// The measure of recipes/cotar.toml: a completion begins with the passage's number, or with another, or with none.
#[test]
fn cotar() {
    let fragment = r#"
        [reward.hierarchical]
        of = "text"
        level = [{ name = "cited", test = "recall", gold = "relevant", separator = ":" }]
    "#;
    let texts = ["3: hip low, tem low\n#### ash", "2: hip low, tem low\n#### ash", "#### 3", "hip 3"];
    let found = scores(fragment, &Format::default(), json!({"answer": "ash", "relevant": 3}), &texts);
    near(&found, [1.0, 0.0, 0.0, 0.0], 1e-9);
}
