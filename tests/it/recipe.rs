//! Recipes from the user's side: what a file and `--set` come to, and the exact text of every mistake's message.

use rationale::recipe::{PlannedStage, Recipe, StageTable, references, substitute, without_effect};
use rationale::section::{Misfit, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stage {
    #[serde(default)]
    run: Run,
    #[serde(default)]
    data: Data,
    #[serde(default)]
    policy: Policy,
    rollout: Option<Rollout>,
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    reward: BTreeMap<String, toml::Table>,
    r#loop: Loop,
    #[serde(default)]
    optim: Optim,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Run {
    name: Option<String>,
    seed: u64,
    rounds: Option<u32>,
    steps: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Data {
    train: Option<String>,
    task: Option<Task>,
    prompts_per_step: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Task {
    Addition { digits: Vec<u32> },
    Copy { length: u32 },
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Policy {
    model: Option<String>,
    init: Option<Init>,
    sampling: Sampling,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Init {
    layers: u32,
    #[serde(default)]
    heads: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Sampling {
    max_new_tokens: usize,
    temperature: f64,
    stop: Vec<String>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { max_new_tokens: 256, temperature: 1.0, stop: vec![] }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Rollout {
    Group(Group),
    Tree { width: u32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Group {
    size: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Loop {
    Sft(Sft),
    Grpo(Grpo),
    Collect(Sft),
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Sft {
    epochs: u32,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Grpo {
    updates: u32,
    loss: Loss,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Loss {
    kind: Kind,
    clip_low: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Grpo,
    Dapo,
    Cispo,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Optim {
    lr: f64,
    schedule: Schedule,
    warmup: u32,
}

impl Default for Optim {
    fn default() -> Self {
        Self { lr: 1e-5, schedule: Schedule::Constant, warmup: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Schedule {
    Constant,
    Cosine,
}

const QUICK: &str = r#"[run]
name = "quick"
rounds = 2

[policy.init]
layers = 2

[data.task.addition]
digits = [2, 3]

[reward.answer]
weight = 1.0

[reward.length]
weight = 0.1

[optim]
lr = 1e-3

[[stage]]
name = "warmup"
run.steps = 20
[stage.loop.sft]
epochs = 1
[stage.reward]
length = false

[[stage]]
name = "grpo"
[stage.policy]
model = "@warmup"
[stage.rollout.group]
size = 8
[stage.loop.grpo]
updates = 2
[stage.optim]
lr = 1e-4
"#;

fn read(text: &str, sets: &[&str]) -> rationale::Result<Recipe> {
    Recipe::parse("quick.toml", text, &sets.iter().map(|set| set.to_string()).collect::<Vec<_>>())
}

fn typed(recipe: &Recipe) -> rationale::Result<Vec<Stage>> {
    recipe.stages().iter().map(|stage| recipe.deserialize(stage)).collect()
}

fn stages(text: &str, sets: &[&str]) -> Vec<Stage> {
    read(text, sets).and_then(|recipe| typed(&recipe)).unwrap_or_else(|error| panic!("{error}"))
}

/// The message without `recipe: `, from reading or from typing, whichever comes first.
fn mistake(text: &str, sets: &[&str]) -> String {
    let error = read(text, sets).and_then(|recipe| typed(&recipe)).expect_err("a mistake");
    assert_eq!(error.exit_code(), 2);
    error.to_string().strip_prefix("recipe: ").expect("a recipe error").to_owned()
}

#[test]
fn a_recipe_without_stages_is_one_named_after_its_loop() {
    let recipe = read("[loop.grpo]\n[optim]\nlr = 1", &[]).unwrap();
    assert_eq!(recipe.stages()[0].name, "grpo");
    // TOML's integer 1 is a number where a number is wanted.
    assert_eq!(typed(&recipe).unwrap()[0].optim.lr, 1.0);
    assert_eq!(read("[optim]\nlr = 1", &[]).unwrap().stages()[0].name, "main");
}

#[test]
fn stages_merge_key_by_key_and_choices_replace() {
    let [warmup, grpo] = &stages(QUICK, &[])[..] else { panic!("two stages") };
    assert_eq!((warmup.optim.lr, grpo.optim.lr), (1e-3, 1e-4));
    assert_eq!(warmup.run.steps, Some(20));
    assert_eq!(grpo.run, Run { name: Some("quick".into()), seed: 0, rounds: Some(2), steps: None });
    // The stage's model replaces the inherited init, its rival.
    assert_eq!((&warmup.policy.model, warmup.policy.init.as_ref().map(|init| init.layers)), (&None, Some(2)));
    assert_eq!((grpo.policy.model.as_deref(), &grpo.policy.init), (Some("@warmup"), &None));
    // `length = false` takes the inherited reward away, in that stage only.
    assert_eq!(warmup.reward.keys().collect::<Vec<_>>(), ["answer"]);
    assert_eq!(grpo.reward.keys().collect::<Vec<_>>(), ["answer", "length"]);
}

#[test]
fn the_same_alternative_merges_and_another_replaces() {
    let text = "[loop.grpo]\nupdates = 3\nloss.clip_low = 0.1\n[data]\ntrain = \"a.jsonl\"\n\
        [[stage]]\nname = \"a\"\n[stage.loop.grpo.loss]\nkind = \"dapo\"\n\
        [[stage]]\nname = \"b\"\n[stage.loop.sft]\n[stage.data.task.copy]\nlength = 1";
    let [a, b] = &stages(text, &[])[..] else { panic!("two stages") };
    assert_eq!(a.r#loop, Loop::Grpo(Grpo { updates: 3, loss: Loss { kind: Kind::Dapo, clip_low: 0.1 } }));
    assert_eq!(b.r#loop, Loop::Sft(Sft::default()));
    assert_eq!((&b.data.train, &b.data.task), (&None, &Some(Task::Copy { length: 1 })));
}

#[test]
fn the_plan_repeats_the_list() {
    let plan = read(QUICK, &[]).unwrap().plan();
    let told: Vec<_> = plan.iter().map(|planned| (planned.round, planned.stage.name.as_str())).collect();
    assert_eq!(told, [(1, "warmup"), (1, "grpo"), (2, "warmup"), (2, "grpo")]);
}

/// STaR: collect with the model of the round before; in round 1 there is none, and the top level's model stands in.
#[test]
fn a_later_stage_is_the_round_before() {
    let text = "[run]\nrounds = 2\n[policy]\nmodel = \"base\"\n\
        [[stage]]\nname = \"collect\"\nloop.collect = {}\npolicy.model = \"@train\"\n\
        [[stage]]\nname = \"train\"\nloop.sft = {}\ndata.train = \"@collect\"";
    let recipe = read(text, &[]).unwrap();
    let model = |planned: &PlannedStage| planned.stage.table["policy"]["model"].to_string();
    let models: Vec<_> = recipe.plan().iter().map(model).collect();
    assert_eq!(models, ["\"base\"", "\"base\"", "\"@train\"", "\"base\""]);
    let swapped = read(text, &["policy.model=other"]).unwrap();
    assert_eq!(swapped.plan()[0].stage.table["policy"]["model"].as_str(), Some("other"));
    assert_eq!(swapped.plan()[2].stage.table["policy"]["model"].as_str(), Some("@train"));
    // Every stage takes its model from another: the override is for the one that round 1 starts from.
    let all = format!("{text}\npolicy.model = \"@collect\"");
    let models: Vec<_> = read(&all, &["policy.model=other"]).unwrap().plan().iter().map(model).collect();
    assert_eq!(models, ["\"other\"", "\"@collect\"", "\"@train\"", "\"@collect\""]);
    let once = text.replace("rounds = 2", "rounds = 1");
    assert_eq!(
        mistake(&once, &[]),
        "quick.toml:8: policy.model: `@train` runs later; refer to an earlier stage, or repeat the list with run.rounds"
    );
    assert_eq!(
        mistake(&text.replace("model = \"base\"", ""), &[]),
        "quick.toml:8: policy.model: in round 1 `@train` has not run yet; give a top-level policy.model for round 1 to \
         start from"
    );
}

#[test]
fn references_are_found_and_replaced() {
    let mut table: toml::Table = toml::from_str(
        "policy.model = \"@a\"\ndata.train = [\"x.jsonl\", \"@b\"]\ndata.name = \"@c\"\nreward.second.model = \"@d\"",
    )
    .unwrap();
    let listed = ["policy.model", "data.train", "reward.*.model"];
    let found = references(&table, &listed);
    let expected = [("policy.model", "a"), ("data.train.1", "b"), ("reward.second.model", "d")];
    assert_eq!(found, expected.map(|(path, name)| (path.into(), name.into())));
    substitute(&mut table, &listed, |path, name| Ok(format!("runs/{name}/{path}"))).unwrap();
    assert_eq!(table["policy"]["model"].as_str(), Some("runs/a/policy.model"));
    assert_eq!(table["data"]["train"][1].as_str(), Some("runs/b/data.train.1"));
    assert_eq!(table["data"]["name"].as_str(), Some("@c"));
    assert_eq!(table["reward"]["second"]["model"].as_str(), Some("runs/d/reward.second.model"));
}

#[test]
fn a_set_reaches_every_stage_and_a_stage_by_name() {
    let lrs = |sets: &[&str]| stages(QUICK, sets).iter().map(|stage| stage.optim.lr).collect::<Vec<_>>();
    assert_eq!(lrs(&["optim.lr=1e-6"]), [1e-6, 1e-6]);
    assert_eq!(lrs(&["stage.grpo.optim.lr=2"]), [1e-3, 2.0]);
    // The narrower one wins, wherever it stands; of two alike, the later.
    assert_eq!(lrs(&["stage.grpo.optim.lr=2", "optim.lr=.5", "optim.lr=3"]), [3.0, 2.0]);
}

#[test]
fn a_set_is_typed() {
    let sets = [
        "policy.sampling.stop=[\"\\n\\n\"]",
        "loop.grpo.loss.kind=dapo",
        "run.name=2024-01-02",
        "run.seed = 7",
    ];
    let grpo = &stages(QUICK, &sets)[1];
    assert_eq!(grpo.policy.sampling.stop, ["\n\n"]);
    assert!(matches!(&grpo.r#loop, Loop::Grpo(Grpo { loss: Loss { kind: Kind::Dapo, .. }, .. })));
    assert_eq!((grpo.run.name.as_deref(), grpo.run.seed), (Some("2024-01-02"), 7));
    assert_eq!(read(QUICK, &["run.rounds=5"]).unwrap().rounds(), 5);
}

#[test]
fn a_set_respects_choices_and_wiring() {
    let models =
        |sets: &[&str]| stages(QUICK, sets).iter().map(|s| s.policy.model.clone()).collect::<Vec<_>>();
    // A new first model switches [policy.init] off; that grpo starts from warmup stays.
    assert_eq!(models(&["policy.model=hub/x"]), [Some("hub/x".into()), Some("@warmup".into())]);
    assert_eq!(models(&["stage.grpo.policy.model=hub/x"]), [None, Some("hub/x".into())]);
    // Only the grpo stage has that loop; warmup's sft stays.
    assert_eq!(stages(QUICK, &["loop.grpo.updates=9"])[0].r#loop, Loop::Sft(Sft { epochs: 1 }));
    // No stage reads a file: the task gives way in both.
    let trains = stages(QUICK, &["data.train=foo.jsonl"]);
    assert!(trains.iter().all(|s| s.data.train.as_deref() == Some("foo.jsonl") && s.data.task.is_none()));
    let rewards = stages(QUICK, &["reward.length=false"]);
    assert!(rewards.iter().all(|stage| !stage.reward.contains_key("length")));
}

#[test]
fn the_resolved_recipe_reads_back_to_the_same() {
    for (text, sets) in
        [(QUICK, vec!["optim.lr=1e-6", "policy.sampling.stop=[\"\\n\"]"]), ("[loop.sft]", vec![])]
    {
        let recipe = read(text, &sets).unwrap();
        let resolved = recipe.resolved_toml(&typed(&recipe).unwrap()).unwrap();
        let again = Recipe::parse("resolved.toml", &resolved, &[]).unwrap();
        assert_eq!(typed(&again).unwrap(), typed(&recipe).unwrap(), "{resolved}");
        assert_eq!((again.rounds(), again.plan().len()), (recipe.rounds(), recipe.plan().len()));
        assert!(
            resolved.starts_with("# quick.toml with every default, resolved by rationale "),
            "{resolved}"
        );
        assert!(sets.iter().all(|set| resolved.contains(&format!("# --set {set}\n"))), "{resolved}");
        assert!(resolved.contains("temperature = 1.0"), "a default is written out: {resolved}");
    }
}

#[test]
fn a_resolved_round_keeps_its_first_model() {
    let text = "[run]\nrounds = 2\n[policy.init]\nlayers = 1\n\
        [[stage]]\nname = \"collect\"\nloop.collect = {}\npolicy.model = \"@collect\"";
    let recipe = read(text, &[]).unwrap();
    let resolved = recipe.resolved_toml(&typed(&recipe).unwrap()).unwrap();
    let again = Recipe::parse("resolved.toml", &resolved, &[]).unwrap();
    let typed_plan = |recipe: &Recipe| -> Vec<Stage> {
        recipe.plan().iter().map(|p| recipe.deserialize(&p.stage).unwrap()).collect()
    };
    assert_eq!(typed_plan(&again), typed_plan(&recipe));
    assert_eq!(typed_plan(&again)[0].policy.init, Some(Init { layers: 1, heads: None }));
}

#[test]
fn what_a_user_gets_wrong_in_a_section() {
    let cases = [
        (
            "[loop.grpo]\n[optim]\nlearning_rate = 1",
            "quick.toml:3: [optim] unknown key `learning_rate`; `learning_rate` is `lr` here; known: lr, schedule, warmup",
        ),
        (
            "[loop.grpo]\n[optim]\nschedul = 1",
            "quick.toml:3: [optim] unknown key `schedul`; did you mean `schedule`? known: lr, schedule, warmup",
        ),
        (
            "[loop.grpo]\n[optim]\nzzz = 1",
            "quick.toml:3: [optim] unknown key `zzz`; known: lr, schedule, warmup",
        ),
        (
            "[loop.grpo]\n[run]\nlr = 1",
            "quick.toml:3: [run] unknown key `lr`; did you mean `optim.lr`? known: name, seed, rounds, steps",
        ),
        ("[loop.grpo]\n[optim]\nlr = \"fast\"", "quick.toml:3: optim.lr = \"fast\": expected a number"),
        (
            "[loop.grpo]\n[optim]\nwarmup = -1",
            "quick.toml:3: optim.warmup = -1: expected a whole number, 0 or more",
        ),
        (
            "[loop.grpo]\n[optim]\nwarmup = 1.5",
            "quick.toml:3: optim.warmup = 1.5: expected a whole number, 0 or more",
        ),
        (
            "[loop.grpo]\n[policy.sampling]\nstop = \"x\"",
            "quick.toml:3: policy.sampling.stop = \"x\": expected a list in [ ]",
        ),
        (
            "[loop.grpo]\n[optim]\nschedule = \"cosin\"",
            "quick.toml:3: optim.schedule = \"cosin\": no such schedule; did you mean `cosine`? known: constant, cosine",
        ),
        ("[loop.ppo]", "quick.toml:1: [loop.ppo] no such loop; known: sft, grpo, collect"),
        (
            "[loop.grpoo]",
            "quick.toml:1: [loop.grpoo] no such loop; did you mean `grpo`? known: sft, grpo, collect",
        ),
        (
            "[loop.grpo]\n\n[loop.sft]",
            "quick.toml:3: [loop.sft] and [loop.grpo] (quick.toml:1): a stage has exactly one loop; remove one",
        ),
        (
            "[loop.sft]\n[policy]\nmodel = \"x\"\ninit.layers = 1",
            "quick.toml:4: [policy.init] and policy.model (quick.toml:3): a stage has exactly one policy; remove one",
        ),
        (
            "[loop]",
            "quick.toml:1: [loop] is empty; write exactly one of [loop.sft], [loop.grpo], [loop.collect]",
        ),
        (
            "loop = \"grpo\"",
            "quick.toml:1: loop = \"grpo\"; write exactly one of [loop.sft], [loop.grpo], [loop.collect]",
        ),
        ("loop = 3", "quick.toml:1: loop = 3; write exactly one of [loop.sft], [loop.grpo], [loop.collect]"),
        (
            "[optim]\nlr = 1",
            "quick.toml: the recipe lacks [loop]; add exactly one of [loop.sft], [loop.grpo], [loop.collect]",
        ),
        (
            "",
            "quick.toml: the recipe lacks [loop]; add exactly one of [loop.sft], [loop.grpo], [loop.collect]",
        ),
        ("[loop.grpo]\n[rollout.group]", "quick.toml:2: [rollout.group] lacks `size`; add `size = …`"),
        (
            "[loop.grpo]\n[policy.init]\nheads = 2",
            "quick.toml:2: [policy.init] lacks `layers`; add `layers = …`",
        ),
        (
            "[loop.sft]\nepochs = 1\n[optim]\nlr = { a = 1 }",
            "quick.toml:4: optim.lr = { a = 1 }: expected a number",
        ),
        ("optim = 3\n[loop.sft]", "quick.toml:1: optim = 3: expected a table of keys"),
        (
            "[loop.sft]\n[data.task.addition]\ndigits = [2, \"x\"]",
            "quick.toml:3: data.task.addition.digits.1 = \"x\": expected a whole number, 0 or more",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(mistake(text, &[]), message, "{text}");
    }
}

#[test]
fn what_a_user_gets_wrong_in_places() {
    let known = "known: run, data, policy, rollout, reward, loop, optim, stage, sweep";
    let cases = [
        ("[loop.grpo]\n[sampling]\ntemperature = 1", format!("quick.toml:2: unknown section `[sampling]`; did you mean `[policy.sampling]`? {known}")),
        ("[loop.grpo]\n[rewards.answer]\nweight = 1", format!("quick.toml:2: unknown section `[rewards]`; did you mean `[reward]`? {known}")),
        ("[loop.grpo]\n[[stages]]\nname = \"a\"", format!("quick.toml:2: unknown section `[[stages]]`; did you mean `[[stage]]`? {known}")),
        ("lr = 1\n[loop.grpo]", format!("quick.toml:1: `lr` stands in no section; did you mean `optim.lr`? {}", known.replace("known", "sections"))),
        ("[[stage]]\nname = \"a\"\nloop.sft = {}\nlr = 1", format!("quick.toml:4: `lr` stands in no section; did you mean `optim.lr`? {}", known.replace("known", "sections"))),
        ("[stage]\nname = \"a\"", "quick.toml:1: stages are a list; write `[[stage]]`, with a `name`, for each".into()),
        ("[[stage]]\nloop.sft = {}", "quick.toml:1: this stage has no name; add `name = \"…\"` below `[[stage]]`".into()),
        ("[[stage]]\nname = \"Warm up\"", "quick.toml:2: name = \"Warm up\": a stage's name is text made of a-z, 0-9, `_` and `-`".into()),
        ("[[stage]]\nname = \"a\"\n[[stage]]\nname = \"a\"", "quick.toml:4: there is a stage `a` already (quick.toml:2); give each its own name".into()),
        ("[[stage]]\nname = \"a\"\nrun.seed = 3", "quick.toml:3: run.seed holds for the whole run; set it in the top-level [run]".into()),
        ("[loop.sft]\n[run]\nrounds = 0", "quick.toml:3: run.rounds = 0: expected a whole number, 1 or more".into()),
        ("[reward.answer]\n[[stage]]\nname = \"a\"\nreward.anser = false", "quick.toml:4: reward.anser = false: no such reward to take away; did you mean `answer`? inherited: answer".into()),
        ("[[stage]]\nname = \"a\"\nreward.answer = false", "quick.toml:3: reward.answer = false: there is no [reward] to take it from; leave this out".into()),
        ("[[stage]]\nname = \"a\"\n[[stage]]\nname = \"b\"\ndata.train = \"@aa\"", "quick.toml:5: data.train: no stage `aa`; did you mean `@a`? known: a, b".into()),
        ("[[stage]]\nname = \"a\"\ndata.train = \"@a\"", "quick.toml:3: data.train: `@a` is this stage itself; refer to an earlier stage, or repeat the list with run.rounds".into()),
        ("[optim]\nlr = 1\n[[stage]]\nname = \"a\"\nloop.sft = {}\n[[stage]]\nname = \"b\"", "quick.toml:6: the recipe lacks [loop] in stage `b`; add exactly one of [loop.sft], [loop.grpo], [loop.collect]".into()),
        // The line is the stage's own where the stage set the key, the top level's where it inherited it.
        ("[optim]\nlr = \"x\"\n[[stage]]\nname = \"a\"\nloop.sft = {}\noptim.lr = \"y\"", "quick.toml:6: optim.lr = \"y\": expected a number".into()),
        ("[optim]\nlr = \"x\"\n[[stage]]\nname = \"a\"\nloop.sft = {}\noptim.warmup = 1", "quick.toml:2: optim.lr = \"x\": expected a number".into()),
    ];
    for (text, message) in cases {
        assert_eq!(mistake(text, &[]), message, "{text}");
    }
}

#[test]
fn what_a_user_gets_wrong_on_the_command_line() {
    let usage = "write section.key=value, such as --set optim.lr=1e-6";
    let cases = [
        ("optim.lr", format!("--set optim.lr: no `=`; {usage}")),
        ("=3", format!("--set =3: the key cannot be read; {usage}")),
        ("lr=3", "--set lr=3: a key stands in a section; write --set optim.lr=…".into()),
        ("colour=3", format!("--set colour=3: a key stands in a section; {usage}")),
        ("optim.lr=", format!("--set optim.lr=: no value; empty text is '\"\"'; {usage}")),
        ("policy.sampling.stop=[\"a", format!("--set policy.sampling.stop=[\"a: the value does not read as TOML; the shell may have taken its quotes, so put '…' around the whole; {usage}")),
        ("stage.warmup=3", "--set stage.warmup=3: a stage's key is stage.NAME.section.key, such as --set stage.warmup.optim.lr=1e-6".into()),
        ("stage.warmpu.optim.lr=3", "--set stage.warmpu.optim.lr=3: no stage `warmpu`; did you mean `warmup`? known: warmup, grpo".into()),
        ("stage.grpo.run.seed=3", "--set stage.grpo.run.seed=3: run.seed holds for the whole run; write --set run.seed=…".into()),
        ("optim=3", "--set optim=3: optim is a section; set one of its keys, such as --set optim.lr=…".into()),
        ("optim.lr.x=3", "--set optim.lr.x=3: optim.lr is 0.001, not a section; set optim.lr itself".into()),
        ("optim.lrr=3", "--set optim.lrr=3: [optim] unknown key `lrr`; did you mean `lr`? known: lr, schedule, warmup".into()),
        ("optim.lr=fast", "--set optim.lr=fast: optim.lr = \"fast\": expected a number".into()),
        ("run.name=3", "--set run.name=3: run.name = 3: expected text in quotes; write --set 'run.name=\"3\"'".into()),
        ("loop.collect.epochs=3", "--set loop.collect.epochs=3: no stage has loop.collect.epochs; name the stage, such as --set stage.NAME.loop.collect.epochs=3".into()),
        ("reward.lenght=false", "--set reward.lenght=false: no such reward to take away; did you mean `length`? inherited: answer, length".into()),
        ("rollout.group={size=\"x\"}", "--set rollout.group={size=\"x\"}: rollout.group.size = \"x\": expected a whole number, 0 or more".into()),
        ("run.rounds=0", "--set run.rounds=0: run.rounds = 0: expected a whole number, 1 or more".into()),
    ];
    for (set, message) in cases {
        assert_eq!(mistake(QUICK, &[set]), message, "{set}");
    }
    assert_eq!(
        mistake(
            "[[stage]]\nname = \"a\"\nloop.sft = {}\n[[stage]]\nname = \"b\"\nloop.sft = {}\npolicy.model = \"@a\"",
            &["stage.b.policy.model=@c"]
        ),
        "--set stage.b.policy.model=@c: policy.model: no stage `c`; known: a, b"
    );
}

#[test]
fn syntax_errors_show_the_line() {
    // Column 6: after `lr = `; the tab is kept, so that the caret stands right.
    assert_eq!(
        mistake("[optim]\nlr = fast\n", &[]),
        "quick.toml:2:6: text stands in quotes: \"fast\"\n  2 | lr = fast\n    |      ^"
    );
    assert_eq!(
        mistake("[optim]\n\tlr = 1\n\tlr = 2\n", &[]),
        "quick.toml:3:2: `lr` stands twice; keep one\n  3 | \tlr = 2\n    | \t^"
    );
    assert_eq!(
        mistake("[optim]\r\nlr = 1\r\n[optim]\r\n", &[]).lines().next(),
        Some("quick.toml:3:2: `optim` stands twice; keep one")
    );
    let first = |text: &str| mistake(text, &[]).lines().next().unwrap().to_owned();
    assert_eq!(first("[run]\nname = my run # mine"), "quick.toml:2:8: text stands in quotes: \"my run\"");
    assert_eq!(first("[run]\nname = quick"), "quick.toml:2:8: text stands in quotes: \"quick\"");
    assert_eq!(first("[run]\non = True"), "quick.toml:2:6: write `true`");
    assert_eq!(first("[run]\nname = None"), "quick.toml:2:8: TOML has no null; leave the key out");
    assert_eq!(
        first("[run]\nname: 3"),
        "quick.toml:2:7: key with no value, expected `=`; write `key = value`"
    );
    assert_eq!(first("[run\nname = 3"), "quick.toml:1:5: unclosed table, expected `]`");
    assert_eq!(first("[run]\nname ="), "quick.toml:2:7: no value after `=`");
    assert_eq!(first("[data]\ntrain = ./a.jsonl"), "quick.toml:2:9: text stands in quotes: \"./a.jsonl\"");
    assert_eq!(
        first("[run]\nname = \"a\nseed = 1"),
        "quick.toml:2:10: invalid basic string, expected `\"`; close the text on its line"
    );
    let curly = mistake("[policy]\nmodel = “x”", &[]);
    assert!(curly.lines().next().unwrap().ends_with("; “ is no TOML quote, write \""), "{curly}");
    assert!(curly.starts_with("quick.toml:2:9: "), "{curly}");
}

#[test]
fn windows_line_ends_tabs_and_a_byte_order_mark_are_fine() {
    let text = "\u{feff}[loop.sft]\r\n\tepochs = 3\r\n[optim]\r\n\tlr = \"x\"\r\n";
    assert_eq!(mistake(text, &[]), "quick.toml:4: optim.lr = \"x\": expected a number");
    assert_eq!(stages(&text.replace("\"x\"", "1"), &[])[0].r#loop, Loop::Sft(Sft { epochs: 3 }));
}

#[test]
fn files_that_are_no_recipes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let told = |path: &Path| Recipe::read(path, &[]).unwrap_err().to_string();
    let shown = |name: &str| path(name).display().to_string();
    let empty = format!(
        "recipe: {}: no such file; name a recipe file, such as recipes/quickstart.toml",
        shown("q.toml")
    );
    assert_eq!(told(&path("q.toml")), empty);
    std::fs::write(path("quick.toml"), "[loop.sft]").unwrap();
    let expected =
        format!("recipe: {}: no such file; did you mean {}?", shown("quik.toml"), shown("quick.toml"));
    assert_eq!(told(&path("quik.toml")), expected);
    let directory = format!(
        "recipe: {}: is a folder; name a recipe file, such as {}",
        folder.path().display(),
        shown("quick.toml")
    );
    assert_eq!(told(folder.path()), directory);
    std::fs::write(path("latin.toml"), b"[loop.sft]\n# caf\xe9\n").unwrap();
    assert_eq!(
        told(&path("latin.toml")),
        format!("recipe: {}:2: not UTF-8 (byte 0xe9); save it as UTF-8", shown("latin.toml"))
    );
    std::fs::write(path("wide.toml"), b"\xff\xfe[\0").unwrap();
    assert_eq!(
        told(&path("wide.toml")),
        format!("recipe: {}: is UTF-16; save it as UTF-8", shown("wide.toml"))
    );
}

#[test]
fn checks_across_sections_point_at_the_line_or_the_set() {
    let text = "[loop.grpo]\n[rollout.group]\nsize = 1\n";
    let told = |sets: &[&str]| {
        let recipe = read(text, sets).unwrap();
        let stage: &StageTable = &recipe.stages()[0];
        recipe
            .problem(stage, "rollout.group.size", "a group of 1 has no baseline", "set size = 2 or more")
            .to_string()
    };
    assert_eq!(told(&[]), "recipe: quick.toml:3: a group of 1 has no baseline; set size = 2 or more");
    assert_eq!(
        told(&["rollout.group.size=0"]),
        "recipe: --set rollout.group.size=0: a group of 1 has no baseline; set size = 2 or more"
    );
    // The one that took effect is named: a stage's own wins over a later one for all.
    assert_eq!(
        told(&["stage.grpo.rollout.group.size=0", "rollout.group.size=4"]),
        "recipe: --set stage.grpo.rollout.group.size=0: a group of 1 has no baseline; set size = 2 or more"
    );
}

/// The open reward table: the registry reads each reward's own table, and its errors point into the file all the same.
#[test]
fn an_open_table_is_read_by_its_owner() {
    let recipe = read("[loop.grpo]\n[reward.length]\nweight = 1\nkinnd = \"grpo\"", &[]).unwrap();
    let stage = &recipe.stages()[0];
    let mut table = recipe.deserialize::<Stage>(stage).unwrap().reward["length"].clone();
    table.remove("weight");
    let error = recipe.deserialize_at::<Loss>(stage, "reward.length", table).unwrap_err();
    assert_eq!(
        error.to_string(),
        "recipe: quick.toml:4: [reward.length] unknown key `kinnd`; did you mean `kind`? known: kind, clip_low"
    );
    // Wrong values are found at their own lines, under the table's path.
    let text = "[loop.grpo]\n[reward.length]\nclip_low = \"x\"\n\n[reward.other]\nkind = \"dapoo\"\nclip_low = 1\nclip = 2";
    let recipe = read(text, &["reward.length.kind=dap"]).unwrap();
    let stage = &recipe.stages()[0];
    let said = |name: &str| {
        let table = recipe.deserialize::<Stage>(stage).unwrap().reward[name].clone();
        recipe.deserialize_at::<Loss>(stage, &format!("reward.{name}"), table).unwrap_err().to_string()
    };
    assert_eq!(
        said("length"),
        "recipe: quick.toml: 2 things are wrong:\n\
         --set reward.length.kind=dap: reward.length.kind = \"dap\": no such kind; did you mean `dapo`? known: grpo, dapo, cispo\n\
         quick.toml:3: reward.length.clip_low = \"x\": expected a number"
    );
    assert_eq!(
        said("other"),
        "recipe: quick.toml: 2 things are wrong:\n\
         quick.toml:6: reward.other.kind = \"dapoo\": no such kind; did you mean `dapo`? known: grpo, dapo, cispo\n\
         quick.toml:8: [reward.other] unknown key `clip`; did you mean `clip_low`? known: kind, clip_low"
    );
}

/// One line each, in the file's order, below their number; what is missed only because a wrong value was left out is not said.
#[test]
fn all_that_cannot_be_read_is_said_at_once() {
    assert_eq!(
        mistake("[optim]\nlearning_rate = 1\n[loop.grpo]\n[run]\nsteps = \"x\"\nlr = 1\n[sampling]\n", &[]),
        "quick.toml: 4 things are wrong:\n\
         quick.toml:2: [optim] unknown key `learning_rate`; `learning_rate` is `lr` here; known: lr, schedule, warmup\n\
         quick.toml:5: run.steps = \"x\": expected a whole number, 0 or more\n\
         quick.toml:6: [run] unknown key `lr`; did you mean `optim.lr`? known: name, seed, rounds, steps\n\
         quick.toml:7: unknown section `[sampling]`; did you mean `[policy.sampling]`? known: run, data, policy, rollout, \
         reward, loop, optim, stage, sweep"
    );
    // The size that cannot be read is not missing, and neither is the loop that is none.
    assert_eq!(
        mistake("[loop.ppo]\n[rollout.group]\nsize = \"x\"", &[]),
        "quick.toml: 2 things are wrong:\n\
         quick.toml:1: [loop.ppo] no such loop; known: sft, grpo, collect\n\
         quick.toml:3: rollout.group.size = \"x\": expected a whole number, 0 or more"
    );
    // A table that lacks a key is passed over, and what stands below it is still read.
    assert_eq!(
        mistake("[loop.grpo]\n[policy.init]\nheads = 2\n[run]\nseed = -1", &["optim.lr=fast"]),
        "quick.toml: 3 things are wrong:\n\
         --set optim.lr=fast: optim.lr = \"fast\": expected a number\n\
         quick.toml:2: [policy.init] lacks `layers`; add `layers = …`\n\
         quick.toml:5: run.seed = -1: expected a whole number, 0 or more"
    );
}

/// What a user of the real sections is told.
fn refused(text: &str, sets: &[&str]) -> String {
    let recipe = read(text, sets).unwrap();
    let error = rationale::recipe::Stage::read_all(&recipe, &rationale::recipe::Registry::default())
        .expect_err("misfits");
    assert_eq!(error.exit_code(), 2);
    error.to_string().strip_prefix("recipe: ").expect("a recipe error").to_owned()
}

const ADDITION: &str = "[policy.init]\n[data.task.addition]\n[loop.sft]\n";

#[test]
fn one_misfit_stands_in_one_line() {
    let one = format!("{ADDITION}[optim]\nwarmup_ratio = 2.0\n");
    assert_eq!(refused(&one, &[]), "quick.toml:5: optim.warmup_ratio = 2.0: it must be between 0 and 1");
    assert_eq!(
        refused(ADDITION, &["policy.decode_slots=0"]),
        "--set policy.decode_slots=0: policy.decode_slots = 0: at least one sequence is decoded at a time"
    );
    assert_eq!(
        refused("[data.task.addition]\n[loop.sft]\n", &[]),
        "quick.toml: [policy] names no model; set policy.model to a folder or hub id, or add [policy.init]"
    );
}

#[test]
fn the_misfits_of_all_sections_are_said_at_once() {
    let several = format!(
        "{ADDITION}[optim]\nlr = -1.0\nbetas = [0.9, 1.0]\n[eval]\nsamples = 4\nat = [1, 8]\ncalibration.bins = 0\n\
         [devices]\npolicy = \"gpu\"\n"
    );
    assert_eq!(
        refused(&several, &["data.task.addition.digits=[0]"]),
        "quick.toml: 7 things are wrong:\n\
         --set data.task.addition.digits=[0]: data.task.addition.digits = [0]: they must be from 1 to 18\n\
         quick.toml:5: optim.lr = -1.0: it must be a number that is 0 or larger\n\
         quick.toml:6: optim.betas = [0.9, 1.0]: they must be two numbers in [0, 1)\n\
         quick.toml:7: eval.temperature: temperature 0 gives the same completion every time, so eval.samples = 4 and eval.seeds = \
         1 would repeat it; set eval.temperature, or 1 for both\n\
         quick.toml:9: eval.at = [1, 8]: pass@8 needs between 1 and eval.samples = 4 completions of each question; raise \
         eval.samples or drop it\n\
         quick.toml:10: eval.calibration.bins = 0: at least one is needed; 10 is usual\n\
         quick.toml:12: devices.policy = \"gpu\": no such device; known: \"auto\", \"cpu\", \"cuda\", \"cuda:0\", \"cuda:1\", …"
    );
}

/// What two stages inherit is said once; what a stage says itself, at its line; a stage that cannot be read hides no other's.
#[test]
fn the_misfits_of_all_stages_are_said_at_once() {
    let text = "[policy.init]\n[data.task.addition]\n[optim]\neps = 0\n\
        [[stage]]\nname = \"a\"\nloop.sft = {}\n\
        [[stage]]\nname = \"b\"\nloop.sft = {}\noptim.lr = -1.0\n\
        [[stage]]\nname = \"c\"\nloop.sft = { epochz = 1 }\n";
    let said = refused(text, &[]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "quick.toml: 3 things are wrong:");
    assert_eq!(lines[1], "quick.toml:4: optim.eps = 0: it must be at least 1e-30");
    assert_eq!(lines[2], "quick.toml:11: optim.lr = -1.0: it must be a number that is 0 or larger");
    assert!(lines[3].starts_with("quick.toml:14: [loop.sft] unknown key `epochz`"), "{said}");
    assert_eq!(lines.len(), 4);
}

/// What the rewards find of their own tables, by keys from `reward`.
#[test]
fn a_rewards_misfit_has_its_line() {
    let recipe = read(&format!("{ADDITION}[reward.length]\nweight = 1\nlongest = -1\n"), &[]).unwrap();
    let misfit = Misfit::new("length.longest", "it must be at least 1", "64 is usual");
    let found = recipe.located(&recipe.stages()[0], under("reward", [misfit]));
    let expected = "quick.toml:6: reward.length.longest = -1: it must be at least 1; 64 is usual";
    assert_eq!(found[0].text, expected);
    assert_eq!((found[0].line, recipe.error(found).to_string()), (Some(6), format!("recipe: {expected}")));
    // A key that the reward does not know, beside another section's misfit.
    let said = refused(&format!("{ADDITION}[reward.answer]\ncorect = 1\n[optim]\nlr = -1.0\n"), &[]);
    let lines: Vec<&str> = said.lines().collect();
    let expected = "quick.toml:5: reward.answer.corect = 1: unknown key `corect`; did you mean `correct`? known: match, ";
    assert!(lines[1].starts_with(expected), "{said}");
    assert_eq!(lines[2], "quick.toml:7: optim.lr = -1.0: it must be a number that is 0 or larger");
}

/// Files of two stages would be one another's.
#[test]
fn no_stage_is_called_as_a_run_calls_files_of_its_own() {
    let named = |name: &str| {
        let text = format!(
            "[policy.init]\n[data.task.addition]\n[[stage]]\nname = \"{name}\"\nloop.collect = {{}}\n"
        );
        read(&text, &[]).map_err(|error| error.to_string()).err()
    };
    for (name, what) in [
        ("a-r2", "a stage's later rounds"),
        ("a-pairs", "the pairs of a stage"),
        ("a-round-2", "what a round of a method sampled"),
        ("a-step-000004", "a stage's checkpoints"),
        ("step-4", "a stage's checkpoints"),
    ] {
        let said = named(name).unwrap_or_default();
        assert!(said.contains(&format!("quick.toml:4: name = \"{name}\": the run calls")), "{said}");
        assert!(said.contains(what), "{said}");
    }
    for name in ["a-r", "pairs", "a-round", "first-step", "rl2"] {
        assert_eq!(named(name), None, "{name}");
    }
}

/// The sentences about keys that nothing reads.
fn idle(text: &str, sets: &[&str]) -> Vec<String> {
    let recipe = read(text, sets).unwrap();
    let stages = rationale::recipe::Stage::read_all(&recipe, &rationale::recipe::Registry::default())
        .unwrap_or_else(|error| panic!("{error}"));
    without_effect(&recipe, &stages, &rationale::recipe::Registry::default())
}

#[test]
fn keys_that_a_stage_does_not_read_are_told() {
    let top = "[policy.init]\n[data.task.addition]\n";
    let collect = format!(
        "{top}[loop.collect]\n[optim]\nlr = 1e-3\ntokens_per_microbatch = 64\n[eval]\nevery = 5\nshow = 1\n"
    );
    assert_eq!(
        idle(&collect, &["checkpoint.save_optimizer=false"]),
        ["stage `collect`: checkpoint.save_optimizer, optim.lr, eval.every have no effect with loop.collect"]
    );
    // Nor does learning from rows show rollouts; answers and steps are read where they are evaluated, or rows are traces.
    let plain = format!(
        "{top}[loop.sft]\n[data.format]\nsteps = \"sentence\"\nanswer = [\"boxed\"]\n[log]\nsamples_every = 3\ntraces = false\n"
    );
    assert_eq!(
        idle(&plain, &[]),
        [
            "stage `sft`: data.format.steps, data.format.answer have no effect with loop.sft and no [eval], unless its rows are traces",
            "stage `sft`: log.samples_every, log.traces have no effect with loop.sft, which rolls nothing out"
        ]
    );
    let log =
        "stage `sft`: log.samples_every, log.traces have no effect with loop.sft, which rolls nothing out";
    for read in ["eval.every=0", "loop.sft.reduce={}"] {
        assert_eq!(idle(&plain, &[read]), [log], "{read}");
    }
    let kept = format!("{top}[loop.collect]\n[log]\nsamples_every = 3\ntraces = false\n");
    assert_eq!(
        idle(&kept, &[]),
        ["stage `collect`: log.traces has no effect with loop.collect, whose rollouts are kept in any case"]
    );
    // Learning from rows reads neither rollouts nor what they are worth, but for a search that is evaluated.
    let sft = format!(
        "{top}[loop.sft]\n[rollout.group]\nsize = 4\n[reward.answer]\nweight = 1.0\n[policy.sampling]\ntop_p = 0.9\n\
         max_new_tokens = 9\n[run]\nsteps = 3\nepochs = 2.0\n"
    );
    assert_eq!(
        idle(&sft, &[]),
        [
            "stage `sft`: run.epochs has no effect beside run.steps",
            "stage `sft`: rollout.group, reward.answer, policy.sampling.top_p, policy.sampling.max_new_tokens have no effect with \
             loop.sft"
        ]
    );
    let searched =
        format!("{top}[loop.sft]\n[rollout.best_of]\nn = 4\n[reward.answer]\n[eval]\ntemperature = 1.0\n");
    assert_eq!(idle(&searched, &["policy.sampling.top_p=0.9"]), [""; 0]);
    // Rows are scored at a temperature, and nothing is drawn.
    let rows =
        format!("{top}[loop.collect]\n[rollout.dataset]\n[policy.sampling]\ntemperature = 0.5\ntop_k = 3\n");
    assert_eq!(
        idle(&rows, &[]),
        ["stage `collect`: policy.sampling.top_k has no effect with rollout.dataset"]
    );
    // Comparisons are counted as one, steps by the column.
    let judged = |learns: &str| format!("{top}[loop.prm]\nlearns = \"{learns}\"\n[eval]\nby = \"digits\"\n");
    for learns in ["pairs", "lists"] {
        let why = "stage `prm`: eval.by has no effect with loop.prm, which counts no classes of what it learns from";
        assert!(idle(&judged(learns), &[]).contains(&why.to_string()), "{learns}");
    }
    assert_eq!(idle(&judged("steps"), &[]), [""; 0]);
    // What is written as it is by default says nothing, as in a resolved recipe.
    assert_eq!(idle(&collect.replace("1e-3", "1e-6").replace("every = 5", "every = 0"), &[]), [""; 0]);
}

/// A place is told that nothing lies at: without a reference, or with one that is the policy's own base, and without a model that a reward asks.
#[test]
fn devices_of_models_that_are_not_there_are_told() {
    let grpo = |more: &str| {
        let top = "[policy.init]\n[data.task.addition]\n[devices]\nreference = \"cpu\"\nreward = \"cpu\"\n";
        format!("{top}[loop.grpo]\n[rollout.group]\nsize = 4\n[reward.answer]\n{more}")
    };
    let told = |more: &str| idle(&grpo(more), &[]).join("; ");
    assert!(
        told("").contains("devices.reference") && told("").contains("without a reference policy"),
        "{}",
        told("")
    );
    assert!(told("").contains("devices.reward") && told("").contains("without a reward that names a model"));
    let lora = told(
        "[reward.perplexity]\nmodel = \"m\"\n[policy.lora]\nrank = 2\n[loop.grpo.kl]\ncoefficient = 0.1\n",
    );
    assert!(
        lora.contains("devices.reference has no effect with [policy.lora], whose base is the reference"),
        "{lora}"
    );
    assert!(!lora.contains("devices.reward"), "{lora}");
    assert_eq!(told("[reward.perplexity]\nmodel = \"m\"\n[loop.grpo.kl]\ncoefficient = 0.1\n"), "");
}

/// Of a table that is read, a key that another of its keys leaves without effect is told by its whole name.
#[test]
fn what_another_key_leaves_without_effect_is_told() {
    let top = "[policy.init]\n[data.task.addition]\n";
    let prefix = format!(
        "{top}[loop.collect]\n[rollout.prefix]\nshare = 0.25\n[reward.likelihood]\ndiscount = 0.5\nbins = [0.05, 1.0, 2.0]\n"
    );
    assert_eq!(
        idle(&prefix, &[]),
        [
            "stage `collect`: rollout.prefix.share has no effect unless cuts = \"share\"",
            "stage `collect`: reward.likelihood.discount has no effect unless measure = \"discounted\""
        ]
    );
    let read = ["rollout.prefix.cuts='share'", "reward.likelihood.measure='discounted'"];
    assert_eq!(idle(&prefix, &read), [""; 0]);
    // As they are by default they say nothing, as in a resolved recipe.
    assert_eq!(idle(&prefix.replace("0.25", "0.5").replace("= 0.5\nbins", "= 0.9\nbins"), &[]), [""; 0]);
    let grpo = format!(
        "{top}[loop.grpo]\nadvantage = {{ scale = \"none\", epsilon = 0.5 }}\n[reward.answer]\n[rollout.group]\nsize = 4\n"
    );
    assert_eq!(
        idle(&grpo, &[]),
        [
            "stage `grpo`: loop.grpo.advantage.epsilon has no effect without advantage.scale and advantage.whiten"
        ]
    );
}

/// What stages share is told where none of them reads it; what one says for itself, where it does not.
#[test]
fn what_another_stage_reads_is_not_told() {
    let stages = "[[stage]]\nname = \"learn\"\nloop.sft = {}\n[[stage]]\nname = \"try\"\nloop.evaluate = {}\neval = {}\n";
    let shared = format!("[policy.init]\n[data.task.addition]\ntrain = 64\n[optim]\nlr = 1e-3\n{stages}");
    assert_eq!(idle(&shared, &["run.steps=3"]), [""; 0]);
    assert_eq!(
        idle(&format!("{shared}run.steps = 3\n"), &["stage.try.optim.lr=1e-4"]),
        ["stage `try`: optim.lr, run.steps have no effect with loop.evaluate"]
    );
    assert_eq!(
        idle(&format!("[reward.answer]\n{shared}"), &["select.pairs.per_rollout=2"]),
        [
            "stages `learn`, `try`: select.pairs.per_rollout, reward.answer have no effect with loop.sft and with loop.evaluate"
        ]
    );
}
