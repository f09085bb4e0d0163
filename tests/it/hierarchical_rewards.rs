//! The reward tables of four papers, each a recipe fragment, on literal completions; and those of the recipes that are shipped, as they stand there.

use crate::groups::group;
use crate::near::near;
use crate::recipes::{rewards_of, shipped};
use rationale::Registry;
use rationale::data::Example;
use rationale::rationale::{AnswerForm, Format};
use rationale::reward::likelihood::Likelihood;
use rationale::reward::{Models, Part, Rewards};
use serde_json::{Value, json};

fn scores(fragment: &str, format: &Format, fields: Value, texts: &[&str]) -> Vec<f64> {
    let recipe: toml::Table = toml::from_str(fragment).unwrap();
    by(recipe["reward"].as_table().unwrap(), format, fields, texts)
}

/// The same of a stage of a recipe that is shipped.
fn of_stage(name: &str, stage: &str, fields: &Value, texts: &[&str]) -> Vec<f64> {
    let recipe: toml::Table = toml::from_str(&shipped(name)).unwrap();
    let format = recipe["data"].as_table().unwrap().get("format");
    let format = format.map_or_else(Format::default, |format| format.clone().try_into().unwrap());
    by(&rewards_of(name, stage), &format, fields.clone(), texts)
}

fn by(section: &toml::Table, format: &Format, fields: Value, texts: &[&str]) -> Vec<f64> {
    let registry = Registry::default();
    let mut rewards = Rewards::build(section, &registry, format).unwrap();
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

/// Credit for what of a route is right: 1 for an answer, 1 for the right one, half the F1 of what it names (3 common of 3 and 6 are 2/3); with one change half as much again.
#[test]
fn routes_as_the_recipe_has_them() {
    let fields = json!({"answer": "red a b c; blue c d", "transfers": 1});
    let texts = ["red a b c\nblue c d\n#### red a b c; blue c d", "red\n#### red a b", "red a b"];
    let plain = [2.5, 1.0 + 1.0 / 3.0, 0.0];
    near(of_stage("routes", "detail", &fields, &texts), plain, 1e-9);
    for stage in ["weighed", "staged"] {
        near(of_stage("routes", stage, &fields, &texts), plain.map(|score| 1.5 * score), 1e-9);
    }
    let fields = json!({"answer": "red a b c; blue c d", "transfers": 0});
    near(of_stage("routes", "staged", &fields, &texts), plain, 1e-9);
}

/// All that is needed, a node too many, one too few; then no candidate, a cycle, a node that is selected and not used, no workflow.
#[test]
fn workflows_as_the_recipe_has_them() {
    let fields = json!({"answer": "load>crop; crop>mask", "nodes": ["load", "crop", "mask", "blur"], "used": ["load", "crop", "mask"]});
    let texts = [
        "shape of mask\n#### <nodes>load; crop; mask</nodes><flow>load>crop; crop>mask</flow>",
        "#### <nodes>load; crop; mask; blur</nodes><flow>load>crop; crop>mask; load>blur</flow>",
        "#### <nodes>load; crop</nodes><flow>load>crop</flow>",
        "#### <nodes>load; ink</nodes><flow>load>ink</flow>",
        "#### <nodes>load; crop</nodes><flow>load>crop; crop>load</flow>",
        "#### <nodes>load; crop; mask</nodes><flow>load>crop</flow>",
        "#### <nodes>load; crop</nodes>",
    ];
    let two = 0.75 + 0.25 * 2.0 / 3.0;
    near(
        of_stage("comfyui-r1", "reinforced", &fields, &texts),
        [1.0, 1.0, two, -1.0, -1.0, -1.0, -1.0],
        1e-9,
    );
    // F1 in the place of recall: 2 · 3 / (4 + 3), 2 · 2 / (2 + 3).
    let [over, under] = [6.0 / 7.0, 0.8].map(|share| 0.75 + 0.25 * share);
    near(
        of_stage("comfyui-r1", "reinforced-exact", &fields, &texts),
        [1.0, over, under, -1.0, -1.0, -1.0, -1.0],
        1e-9,
    );
}

/// Half for a list, and 1, 1/2 or nothing for the place of the right condition in it.
#[test]
fn ranked_diagnoses_as_the_recipe_has_them() {
    let texts = [
        "hip low, tem low\n<ranked>ash, bur, cor, dal</ranked>",
        "hip low, tem low\n<ranked>bur, ash, cor, dal</ranked>",
        "<ranked>bur, bur, ash</ranked>",
        "<ranked>cor, bur</ranked>",
        "hip low, tem low",
    ];
    let found = of_stage("ranked-diagnosis", "reinforced", &json!({"answer": "ash"}), &texts);
    near(found, [1.5, 1.0, 1.0, 0.5, 0.0], 1e-9);
}

/// Right, wrong, no answer; thinking that is not closed, that is closed twice, that is closed behind an answer.
#[test]
fn games_as_the_recipe_has_them() {
    let texts = [
        "up 5, down 3</think>#### up",
        "up 5, down 3</think>#### down",
        "up 5, down 3</think>",
        "#### up",
        "up 5</think>down 3</think>#### up",
        "#### up</think>#### up",
    ];
    let found = of_stage("recon", "reinforced", &json!({"answer": "up"}), &texts);
    near(found, [5.0, -3.0, -5.0, -4.0, -4.0, -4.0], 1e-9);
}

/// 1 for the right answer and 1 for the form that was asked for, whichever of the five it is; without reasoning no form is followed.
#[test]
fn forms_as_the_recipe_has_them() {
    let of = |instruction: Value, texts: &[&str]| {
        of_stage("reasonif", "reinforced", &json!({"answer": "ash", "instruction": instruction}), texts)
    };
    let texts = [
        "HIP LOW, TEM LOW\n#### ash",
        "HIP LOW, TEM LOW\n#### bur",
        "hip low, tem low\n#### ash",
        "hip low\n#### bur",
        "#### ash",
        "HIP LOW, TEM LOW",
    ];
    near(of(json!({"kind": "upper"}), &texts), [2.0, 1.0, 1.0, 0.0, 1.0, 0.0], 1e-9);
    let texts = ["hip low tem low\n#### ash", "hip low, tem low\n#### ash"];
    near(of(json!({"kind": "commas"}), &texts), [2.0, 1.0], 1e-9);
    let texts = ["hip low, tem low\nso be it\n#### ash", "so be it, hip low\n#### ash"];
    near(of(json!({"kind": "ends", "phrase": "so be it"}), &texts), [2.0, 1.0], 1e-9);
    let texts = ["{\"why\":\"hip low, tem low\"}\n#### ash", "hip low, tem low\n#### ash"];
    near(of(json!({"kind": "json"}), &texts), [2.0, 1.0], 1e-9);
    // Eleven words, and twelve.
    let texts = ["a b c d e f g h i j k\n#### ash", "a b c d e f g h i j k l\n#### ash"];
    near(of(json!({"kind": "words", "less": 12}), &texts), [2.0, 1.0], 1e-9);
}

/// 0.5 for an object, 0.3 for its type, 2 for what stands in its field; the rationale's half, which asks the policy, is taken out.
#[test]
fn actions_as_the_recipe_has_them() {
    let of = |stage: &str, class: &str, answer: &str, texts: &[&str]| {
        let mut table = rewards_of("shop-actions", stage);
        let sure = table.remove("self_certainty").unwrap();
        let weight = sure["weight"].as_float().or(sure["weight"].as_integer().map(|whole| whole as f64));
        assert_eq!(weight, Some(if stage == "unreasoned" { 0.0 } else { 0.005 }));
        by(&table, &Format::default(), json!({"answer": answer, "class": class}), texts)
    };
    // Right, another name, another type, no object, another type with the right name, no action.
    let texts = [
        "a mug 4 yes\n#### {\"type\":\"click\",\"name\":\"a\"}",
        "#### {\"type\":\"click\",\"name\":\"b\"}",
        "#### {\"type\":\"terminate\"}",
        "#### \"type\":\"click\",\"name\":\"a\"",
        "#### {\"type\":\"terminate\",\"name\":\"a\"}",
        "a mug 4 yes",
    ];
    let click = "{\"type\":\"click\",\"name\":\"a\"}";
    for stage in ["full", "unreasoned", "unprepared"] {
        near(of(stage, "click", click, &texts), [2.8, 0.8, 0.5, 0.0, 0.5, 0.0], 1e-9);
    }
    near(of("unscaled", "click", click, &texts), [0.85, 0.8, 0.5, 0.0, 0.5, 0.0], 1e-9);
    // Whatever stands there counts, of an object or not.
    near(of("formless", "click", click, &texts), [2.3, 0.3, 0.0, 2.3, 2.0, 0.0], 1e-9);
    let ends = "{\"type\":\"terminate\"}";
    near(of("full", "terminate", ends, &texts[1..3]), [0.5, 0.8], 1e-9);
    let types = "{\"type\":\"type_and_submit\",\"text\":\"mug\"}";
    let texts = [
        "#### {\"type\":\"type_and_submit\",\"text\":\"mug\"}",
        "#### {\"type\":\"type_and_submit\",\"text\":\"cup\"}",
    ];
    near(of("full", "type_and_submit", types, &texts), [2.8, 0.8], 1e-9);
    near(of("unscaled", "type_and_submit", types, &texts), [0.85, 0.8], 1e-9);
}

/// A gain g takes 100 · (1 − e^−g) % off the perplexity: nothing below 0.05, then 0.5, from 1 on 0.9, from 2 on 1. What a model makes of a plan is in `model_rewards`.
#[test]
fn plans_as_the_recipe_has_them() {
    let table = rewards_of("vr-cli", "reinforced");
    assert_eq!(table.keys().collect::<Vec<_>>(), ["likelihood"]);
    let section: Likelihood = table["likelihood"].clone().try_into().unwrap();
    assert_eq!((section.column.as_deref(), section.model.as_deref()), (Some("next"), Some("@writer")));
    assert_eq!((section.of, section.cue.as_str()), (Part::Text, "\n> "));
    let scores =
        [-1.0, 0.0004, 0.0006, 0.0099, 0.0102, 0.0201, 0.0203].map(|gain| section.of(&[gain], &[0.0]));
    assert_eq!(scores, [0.0, 0.0, 0.5, 0.5, 0.9, 0.9, 1.0]);
}

/// A tenth of ROUGE-L with the teacher's rationale and a tenth off for triples of words that are said again, beside the reader's 1, which is taken out.
#[test]
fn looks_of_rationales_as_the_recipe_has_them() {
    let mut table = rewards_of("lm-guided", "reinforced");
    let reader = table.remove("reader").unwrap();
    assert_eq!((reader["model"].as_str(), reader.get("weight")), (Some("@reader"), None));
    let texts =
        ["hip low, tem low\n#### ash", "hip low\n#### ash", "hip low hip low hip low\n#### ash", "#### ash"];
    // 2 words of 2 and of 4 make 2/3; 3 of 6 and of 4 make 0.6, and of six triples four are new.
    let expected = [0.1, 0.1 * 2.0 / 3.0, 0.06 - 0.1 / 3.0, 0.0];
    near(
        by(&table, &Format::default(), json!({"answer": "ash", "rationale": "hip low, tem low"}), &texts),
        expected,
        1e-9,
    );
}
