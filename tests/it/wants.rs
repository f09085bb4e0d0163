//! What rewards need of rows and of the machine is looked at before anything trains: exit code 2, all of it named, nothing left behind.

use crate::program::Program;
use crate::recipes::on_rows;
use std::path::Path;

/// A policy gradient of one step on rows of which every third has no answer.
fn answers(rows: usize) -> Program {
    let rewards = "[rollout.group]\nsize = 2\n[reward.answer]\n[reward.rouge]\ncolumn = 'hint'\n";
    let program = Program::new(&(on_rows("grpo") + rewards));
    let row = |index: usize| match index % 3 {
        2 => format!("{{\"id\": \"r{index}\", \"prompt\": \"q\"}}\n"),
        _ => format!("{{\"id\": \"r{index}\", \"prompt\": \"q\", \"answer\": \"1\", \"hint\": \"h\"}}\n"),
    };
    program.write("rows.jsonl", &(0..rows).map(row).collect::<String>());
    program
}

#[test]
fn rows_without_what_a_reward_reads_are_named_before_the_first_step() {
    let program = answers(12);
    let said = program.train(&["--set", "run.steps=4"]).code(2);
    for part in [
        "[reward.answer] needs a gold answer and 4 of 12 rows have none: r2, r5, r8 and 1 more; add an `answer` column",
        "[reward.rouge] needs a column `hint` and 4 of 12 rows have none: r2, r5, r8 and 1 more",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!program.out().exists(), "nothing had begun");
    // A folder that was there stays, and without the rows that lack something the run goes through.
    std::fs::create_dir(program.out()).unwrap();
    program.train(&[]).code(2);
    assert!(program.out().is_dir());
    program.train(&["--overwrite", "--set", "data.train_limit=2"]).success();
    assert!(program.out().join("metrics.jsonl").is_file());
}

/// Rows that cannot be read hide nothing of what others lack.
#[test]
fn what_rows_lack_is_said_beside_those_that_cannot_be_read() {
    let program = answers(12);
    let mut rows = std::fs::read_to_string(program.out().with_file_name("rows.jsonl")).unwrap();
    rows.push_str("{\"id\": \"empty\", \"prompt\": \"q\", \"answer\": \"\", \"hint\": \"h\"}\n");
    program.write("rows.jsonl", &rows);
    let said = program.train(&[]).code(2);
    for part in [
        "rows.jsonl:13: `answer` is empty",
        "[reward.answer] needs a gold answer and 4 of 12 rows have none: r2, r5, r8 and 1 more; add an `answer` column",
        "[reward.rouge] needs a column `hint` and 4 of 12 rows have none: r2, r5, r8 and 1 more",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!program.out().exists(), "nothing had begun");
}

/// A reward that the stage does not ask needs nothing: SFT learns rows without answers under a top-level `[reward.answer]`.
#[test]
fn a_stage_that_scores_nothing_needs_nothing() {
    let program = Program::new(
        &(on_rows("sft") + "[reward.answer]\n[reward.command]\ncommand = ['no-such-program']\n"),
    );
    program.write("rows.jsonl", "{\"prompt\": \"q\", \"completion\": \"a\"}\n");
    program.train(&[]).success();
}

/// The second stage's program, key, script and model are looked for before the first trains, and by `--dry-run`.
#[test]
fn what_a_later_stage_needs_of_the_machine_is_said_before_the_first_trains() {
    let base = on_rows("sft").replace("[loop.sft]", "");
    let stages = "[[stage]]\nname = 'a'\n[stage.loop.sft]\n\
        [[stage]]\nname = 'b'\n[stage.policy]\nmodel = '@a'\n[stage.rollout.group]\nsize = 2\n\
        [stage.reward.command]\ncommand = ['no-such-program']\n\
        [stage.reward.script]\nkind = 'command'\ncommand = ['python3', 'no-such-script.py']\n\
        [stage.reward.judge]\nprompt = '{{ completion }}'\n\
        [stage.reward.judge.endpoint]\nurl = 'http://localhost:1/v1'\nmodel = 'm'\napi_key_env = 'RATIONALE_NO_SUCH_KEY'\n\
        [stage.reward.process]\nmodel = 'no/such/folder'\n\
        [stage.reward.reader]\nmodel = '@a'\n\
        [stage.loop.grpo]\n";
    let program = Program::new(&format!("{base}{stages}"));
    program.write("rows.jsonl", "{\"prompt\": \"q\", \"completion\": \"a\", \"answer\": \"1\"}\n");
    for arguments in [&["--dry-run"][..], &[]] {
        let said = program.train(arguments).code(2);
        for part in [
            "[reward.command]: cannot start `no-such-program`: there is no such program on the PATH",
            "[reward.script]: there is no file `no-such-script.py`",
            "[reward.judge]: endpoint.api_key_env = \"RATIONALE_NO_SUCH_KEY\": that environment variable is not set",
            "[reward.process]: model = \"no/such/folder\": ",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("[reward.reader]"), "what an earlier stage makes is not looked for: {said}");
        // Each points at its line.
        let text = format!("{base}{stages}");
        let line = 1 + text.lines().position(|line| line.contains("'no-such-program'")).unwrap();
        assert!(said.contains(&format!("recipe.toml:{line}: [reward.command]")), "{said}");
        assert!(!Path::new(&program.out()).exists(), "nothing has begun");
    }
}

/// The recipes that make their rows themselves lack nothing that their rewards read.
#[test]
fn the_rows_of_our_own_tasks_have_what_the_rewards_of_our_recipes_read() {
    use rationale::data::{Hub, Split};
    use rationale::recipe::{Recipe, Stage};
    use rationale::reward::Rewards;
    let (registry, mut looked_at) = (rationale::Registry::default(), 0);
    for file in std::fs::read_dir("recipes").unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let recipe = Recipe::read(&path, &[]).unwrap();
        for table in recipe.stages() {
            let stage = Stage::read(&recipe, table, &registry).unwrap();
            if stage.data.task.is_none() || stage.reward.is_empty() || !stage.needs().rollouts {
                continue;
            }
            let rewards = Rewards::build(&stage.reward, &registry, &stage.data.format);
            let rows = stage.data.load(Split::Train, &Hub::from_env(), 0).unwrap().examples;
            let lacking = rewards.unwrap().check_rows(rows.iter().map(|row| &**row));
            assert_eq!(lacking, [], "{} {}", path.display(), table.name);
            looked_at += 1;
        }
    }
    assert!(looked_at >= 20, "{looked_at} stages");
}
