//! What `--dry-run` says of memory against what ranks take, under each division of the model: the most that was resident, without what a
//! model of hardly any weights takes.

use crate::launch::ranks_of;
use crate::program::Program;
use crate::recipes::Tiny;
use std::fs;

const STAGE: &str = r#"
[run]
steps = 3
[data]
prompts_per_step = 4
template.chat = false
[data.task.addition]
digits = [2]
train = 40
[optim]
tokens_per_microbatch = 128
[checkpoint]
save_optimizer = false
[loop.sft]
"#;

/// 25 million weights in eight layers.
const LARGE: Tiny<'static> =
    Tiny { hidden_size: 512, layers: 8, heads: 8, kv_heads: 8, context: Some(96), ..Tiny::BYTES };

fn sets(shard: &str) -> [String; 3] {
    ["devices.ranks=2".into(), "devices.threads=2".into(), format!("devices.shard={shard}")]
}

/// The most that a rank had resident, in MB, of the rank that had most.
fn measured(program: &Program, shard: &str) -> f64 {
    let sets = sets(shard);
    let arguments: Vec<&str> =
        std::iter::once("--quiet").chain(sets.iter().flat_map(|set| ["--set", set.as_str()])).collect();
    let mut child = program.start(&arguments, |_| true);
    let mut most: f64 = 0.0;
    while child.try_wait().unwrap().is_none() {
        for (_, pid) in ranks_of(child.id()) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            most = most.max(kilobytes.unwrap_or(0.0) / 1000.0 * 1.024);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(child.wait().unwrap().success());
    most
}

/// What the plan says of learning, in MB.
fn planned(program: &Program, shard: &str) -> f64 {
    let sets = sets(shard);
    let arguments: Vec<&str> =
        std::iter::once("--dry-run").chain(sets.iter().flat_map(|set| ["--set", set.as_str()])).collect();
    let said = program.command_of(&[&["--recipe", "recipe.toml", "--out", "out"][..], &arguments].concat());
    let said = { said }.output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let line =
        said.lines().find_map(|line| line.strip_prefix("#    learning ")).unwrap_or_else(|| panic!("{said}"));
    let mut words = line.trim_end_matches(':').split_whitespace();
    let number: f64 = words.next().unwrap().parse().unwrap();
    match words.next().unwrap().trim_end_matches(':') {
        "GB" => 1000.0 * number,
        "MB" => number,
        other => panic!("{other}: {line}"),
    }
}

#[test]
fn the_plan_is_what_ranks_take() {
    let program = Program::new(&LARGE.recipe(STAGE));
    let small = Program::new(&Tiny { context: Some(96), ..Tiny::BYTES }.recipe(STAGE));
    let mut found = Vec::new();
    for shard in ["none", "optimizer", "parameters"] {
        let own = measured(&program, shard) - measured(&small, shard);
        found.push((shard, planned(&program, shard), own));
        fs::remove_dir_all(program.out()).unwrap();
        fs::remove_dir_all(small.out()).unwrap();
    }
    eprintln!("planned and measured MB: {found:?}");
    assert!(
        found.iter().all(|(_, planned, own)| (own / planned - 1.0).abs() < 0.15),
        "planned and measured MB: {found:?}"
    );
    assert!(found[2].2 < 0.8 * found[1].2 && found[1].2 < 0.9 * found[0].2, "{found:?}");
}
