//! `[reward.command]` against real programs: what it is sent, what it may answer, and every way that it can fail.

use crate::program::Program;
use crate::recipes::on_rows;
use rationale::Error;
use rationale::data::{Example, Message, Prompt};
use rationale::engine::StopReason;
use rationale::rationale::Format;
use rationale::reward::{Models, Rewards};
use rationale::rollout::{Group, Rollout};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn group(texts: &[String]) -> Group {
    let mut fields = serde_json::Map::new();
    fields.insert("level".into(), serde_json::json!({ "hard": [1, 2] }));
    let example = Example {
        index: 3,
        prompt: Prompt::Chat(vec![Message::new("user", "1+1?")]),
        answer: Some("2".into()),
        choices: vec!["1".into(), "2".into()],
        fields,
        ..Example::text("row:7", "")
    };
    let rollout = |text: &String| {
        Rollout::new(vec![0; 5], text.clone(), vec![], StopReason::Length, &Format::default())
    };
    Group {
        example: Arc::new(example),
        prompt: vec![],
        rollouts: texts.iter().map(rollout).collect(),
        place: 0,
    }
}

fn rewards(command: &[&str], timeout_s: f64) -> Rewards {
    let recipe = format!("[command]\ncommand = {command:?}\ntimeout_s = {timeout_s:?}");
    crate::groups::rewards(&recipe).unwrap()
}

fn score(rewards: &mut Rewards, texts: &[String]) -> Result<Vec<f64>, String> {
    let mut group = group(texts);
    match rewards.score(std::slice::from_mut(&mut group), &Models::none()) {
        Ok(()) => Ok(group.rollouts.iter().map(|rollout| rollout.reward).collect()),
        Err(error @ Error::Reward(_)) => Err(error.to_string()),
        Err(other) => panic!("a failing program must be a reward error, not {other:?}"),
    }
}

fn failure(command: &[&str], texts: &[&str]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let error = score(&mut rewards(command, 5.0), &texts).unwrap_err();
    assert!(
        error.contains("[reward.command] failed on example row:7") && error.contains(command[0]),
        "{error}"
    );
    error
}

#[test]
fn a_program_scores_group_after_group_from_all_that_is_known() {
    // The same process must answer both groups: it counts its lines.
    let program = r#####"
import json, sys
for number, line in enumerate(sys.stdin):
    row = json.loads(line)
    assert row["id"] == "row:7" and row["prompt"] == [{"role": "user", "content": "1+1?"}], row
    assert row["gold"] == "2" and row["choices"] == ["1", "2"] and row["fields"] == {"level": {"hard": [1, 2]}}, row
    assert row["truncated"] is True and row["tokens"] == 5, row
    if "####" in row["completion"]:
        assert row["answer"] == "2" and row["steps"] == ["é = 1"], row
    else:
        assert row["answer"] is None and row["steps"] == [], row
    print(json.dumps({"score": number + 0.5, "why": "more keys are free"}) if number % 2 else number, flush=True)
"#####;
    let mut rewards = rewards(&["python3", "-c", program], 20.0);
    let texts = ["é = 1\n#### 2".to_owned(), "none".to_owned(), "with \"quotes\"\nand lines".to_owned()];
    assert_eq!(score(&mut rewards, &texts), Ok(vec![0.0, 1.5, 2.0]));
    assert_eq!(score(&mut rewards, &texts), Ok(vec![3.5, 4.0, 5.5]));
    assert_eq!(score(&mut rewards, &[]), Ok(vec![]));
}

/// A line that comes late would be the first answer to the next group; a program that repeats `n` cannot be misread.
#[test]
fn an_answer_to_another_line_is_no_answer() {
    let program = r#####"
import json, sys
for line in sys.stdin:
    n = json.loads(line)["n"]
    if n == 3: print("-7.0", flush=True)
    print(json.dumps({"n": n, "score": n}), flush=True)
"#####;
    let mut rewards = rewards(&["python3", "-c", program], 20.0);
    let texts = ["a".to_owned(), "b".to_owned()];
    assert_eq!(score(&mut rewards, &texts), Ok(vec![1.0, 2.0]));
    let error = score(&mut rewards, &texts).unwrap_err();
    assert!(error.contains("-7.0") && error.contains("without the n"), "{error}");
    let wrong = failure(&["sh", "-c", "while read -r _; do echo '{\"n\": 5, \"score\": 1}'; done"], &["a"]);
    assert!(wrong.contains("as if it were n = 5, and it is n = 1"), "{wrong}");
}

#[test]
fn groups_larger_than_a_pipe_do_not_deadlock() {
    // 40 lines of 50 kB in, each echoed back to standard error (a pipe holds 64 kB) and answered only at the end.
    let program = "import sys\nlines = []\nfor i in range(40):\n    lines.append(sys.stdin.readline())\n    \
                   sys.stderr.write(lines[-1])\nfor line in lines: print(len(line))";
    let texts = vec!["x".repeat(50_000); 40];
    let scores = score(&mut rewards(&["python3", "-c", program], 30.0), &texts).unwrap();
    assert!(
        scores.len() == 40 && scores.iter().all(|score| (50_000.0..51_000.0).contains(score)),
        "{scores:?}"
    );
}

#[test]
fn a_crash_shows_how_it_ended_and_its_standard_error() {
    let error = failure(&["sh", "-c", "read line; echo 1; echo 'out of luck' >&2; exit 3"], &["a", "b"]);
    assert!(error.contains("ended (exit status: 3) before it answered line 2 of 2"), "{error}");
    assert!(error.contains("the end of its standard error:\n  out of luck"), "{error}");
    // Only the last lines of much are shown.
    let error = failure(&["sh", "-c", "seq 1 5000 >&2; exit 1"], &["a"]);
    assert!(error.ends_with("\n  4999\n  5000") && !error.contains("\n  4980\n"), "{error}");
}

#[test]
fn what_is_no_score_is_refused_and_shown() {
    for written in
        ["garbage", "NaN", "{\"score\": null}", "{\"scores\": 1}", "\"1\"", "[1]", "true", "1e999", ""]
    {
        // It reads first: what comes before a question is refused for that reason already.
        let program = format!("read -r _; echo 1; echo '{written}'; cat > /dev/null");
        let error = failure(&["sh", "-c", &program], &["a", "b"]);
        assert!(error.contains(&format!("answered line 2 of 2 with `{written}`")), "{error}");
        assert!(error.contains("must write {\"score\": NUMBER} or NUMBER"), "{error}");
    }
    let error =
        failure(&["sh", "-c", "read -r _; head -c 300000 /dev/zero | tr '\\0' x; cat > /dev/null"], &["a"]);
    assert!(error.contains("xxx…") && error.len() < 700, "{error}");
}

#[test]
fn lines_that_were_not_asked_for_are_refused() {
    let mut rewards = rewards(&["sh", "-c", "while read line; do echo 1; echo 2; done"], 5.0);
    assert_eq!(score(&mut rewards, &["a".to_owned()]), Ok(vec![1.0]));
    std::thread::sleep(Duration::from_millis(200));
    let error = score(&mut rewards, &["b".to_owned()]).unwrap_err();
    assert!(error.contains("wrote more lines than it was sent; the first of these is `2`"), "{error}");
}

#[test]
fn a_closed_output_and_a_missing_program_are_named() {
    let error = failure(&["sh", "-c", "exec 1>&-; cat > /dev/null"], &["a"]);
    assert!(error.contains("closed its output before it answered line 1 of 1"), "{error}");
    let error = failure(&["./no-such-program"], &["a"]);
    assert!(error.contains("cannot start `./no-such-program`") && error.contains("No such file"), "{error}");
}

#[test]
fn a_hang_ends_at_the_time_limit_and_takes_its_children_along() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let program = format!("sleep 300 & echo $! > {}; echo thinking >&2; wait", file.display());
    let start = Instant::now();
    let error = score(&mut rewards(&["sh", "-c", &program], 0.5), &["a".to_owned()]).unwrap_err();
    assert!(error.contains("did not answer line 1 of 1 within timeout_s = 0.5"), "{error}");
    assert!(error.contains("thinking") && start.elapsed() < Duration::from_secs(10), "{error}");
    assert_ended(std::fs::read_to_string(file).unwrap().trim());
}

#[test]
fn dropping_the_rewards_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    // It ignores the end of its input.
    let program = format!("echo $$ > {}; read line; echo 1; sleep 300", file.display());
    let mut rewards = rewards(&["sh", "-c", &program], 5.0);
    assert_eq!(score(&mut rewards, &["a".to_owned()]), Ok(vec![1.0]));
    drop(rewards);
    assert_ended(std::fs::read_to_string(file).unwrap().trim());
}

/// One that leaves its group and session, and one that stays, both when the program ends in good order and when it does not.
#[test]
fn what_a_program_started_ends_with_it() {
    for end in ["", "time.sleep(300)"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        let program = format!(
            "import subprocess, sys, time\n\
             new = lambda alone: subprocess.Popen(['sleep', '300'], start_new_session=alone, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)\n\
             open({:?}, 'w').write(' '.join(str(new(alone).pid) for alone in (True, False)))\n\
             for line in sys.stdin: print(1, flush=True)\n{end}",
            file.display().to_string()
        );
        let mut rewards = rewards(&["python3", "-c", &program], 20.0);
        assert_eq!(score(&mut rewards, &["a".to_owned()]), Ok(vec![1.0]));
        drop(rewards);
        std::fs::read_to_string(file).unwrap().split(' ').for_each(assert_ended);
    }
}

/// Killed without a chance to say goodbye: a program that ignores the end of its input, and what it started, end all the same.
#[test]
fn a_killed_trainer_leaves_no_program() {
    let program =
        "echo $$ > pid; setsid sleep 300 & echo $! > child; trap '' TERM HUP; read line; echo 1; sleep 300";
    let recipe = format!(
        "{}\n[reward.command]\ncommand = [\"sh\", \"-c\", {program:?}]\n[loop.collect]\n",
        crate::recipes::Tiny::BYTES.recipe(
            "[data]\ntrain = 'rows.jsonl'\nprompts_per_step = 2\ntemplate.chat = false\n[rollout.dataset]"
        )
    );
    let run = Program::new(&recipe);
    run.write("rows.jsonl", "{\"prompt\": \"q\", \"completions\": [\"a\", \"b\"], \"answer\": \"1\"}\n");
    let mut trainer = run.start(&["--quiet"], |_| true);
    let folder = run.out().parent().unwrap().to_owned();
    let start = Instant::now();
    let written =
        |name: &str| std::fs::read_to_string(folder.join(name)).ok().filter(|text| text.ends_with('\n'));
    while written("child").is_none() && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(100));
    trainer.kill().unwrap();
    trainer.wait().unwrap();
    ["pid", "child"].into_iter().for_each(|name| assert_ended(written(name).expect("it started").trim()));
}

#[test]
fn what_cannot_be_started_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path(name), text).unwrap();
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        path(name)
    };
    for (program, why) in [
        (folder.path().display().to_string(), "it is a folder"),
        (write("plain", "print(1)", 0o644), "it is not executable; chmod +x it"),
        (write("lost", "#!/no/such/interpreter\n", 0o755), "what its first line (#!) names is not"),
    ] {
        let error = failure(&[&program], &["a"]);
        assert!(error.contains(why), "{error}");
    }
    let error = score(&mut rewards(&["sh", "-c", "cat > /dev/null"], 0.3), &["a".to_owned()]).unwrap_err();
    assert!(error.contains("has to flush each line"), "{error}");
}

#[test]
fn the_section_is_checked() {
    let message = |recipe: &str| crate::groups::rewards(recipe).unwrap_err().to_string();
    assert!(message("[command]").contains("[reward.command]: missing field `command`"));
    assert!(message("[command]\ncommand = []").contains("command = []: name a program"));
    assert!(
        message("[command]\ncommand = [\"x\"]\ntimeout_s = 0").contains("timeout_s = 0: must be above 0")
    );
    assert!(message("[command]\ncommand = [\"x\"]\ntimeout_s = 1e19").contains("a week (604800) at most"));
    let secret = message("[command]\ncommand = [\"x\", \"--api-key\", \"hunter2hunter2\"]");
    assert!(
        secret.contains("its word 3 holds a password or a key") && !secret.contains("hunter2"),
        "{secret}"
    );
    assert!(message("[command]\ncommand = \"x\"").contains("command: invalid type"));
    assert!(message("[command]\ncommand = [\"x\"]\ntimeout = 3").contains("did you mean `timeout_s`?"));
}

/// Waits for a process to be gone; one that only waits to be reaped (`Z`) is.
fn assert_ended(pid: &str) {
    let runs = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim().starts_with('Z'))
    };
    let start = Instant::now();
    while runs() && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!runs(), "process {pid} still runs");
}

/// A secret of a command line stands in no message and in no file, and what is not known for one in no message.
#[test]
fn secrets_of_command_lines_are_refused_and_not_repeated() {
    let server = |words: &str| {
        format!("tool = [{{ open = '<', close = '>', mcp = {{ program = {{ command = {words} }} }} }}]")
    };
    let words = "[\"sh\", \"--api-key\", \"hunter2hunter2\"]";
    for (section, keys) in [
        (
            "rollout.tools",
            format!("tool = [{{ open = '<', close = '>', command = {{ command = {words} }} }}]"),
        ),
        ("rollout.tools", server(words)),
        ("rollout.environment", format!("program.command = {words}")),
        ("reward.command", format!("command = {words}")),
    ] {
        let program = Program::new(&format!("{}[{section}]\n{keys}\n", on_rows("collect")));
        program.write("rows.jsonl", "{\"question\": \"1+1\", \"answer\": \"2\"}\n");
        for more in [&["--dry-run"][..], &["-q"]] {
            let said = program.train(more).code(2);
            assert!(said.contains("command: its word 3 holds a password or a key"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert!(!program.out().exists());
        let typed = format!("{section}.x.command={words}");
        assert!(!program.train(&["--dry-run", "--set", &typed]).code(2).contains("hunter2"));
    }
    let failing = "[rollout.dataset]\n[reward.command]\ncommand = [\"sh\", \"-c\", \"exit 3 # swordfish\"]\n";
    let program = Program::new(&(on_rows("collect") + failing));
    program.write("rows.jsonl", "{\"question\": \"1+1\", \"answer\": \"2\", \"completions\": [\"2\"]}\n");
    let said = program.train(&["-q"]).code(1);
    assert!(said.contains("`sh …` ended (exit status: 3)") && !said.contains("swordfish"), "{said}");
}
