//! Ranks and who starts them: this program, torchrun, srun; and what becomes of all when one fails, hangs or is told to stop.

use crate::compare::differences;
use crate::program::{Program, apart};
use crate::recipes::Tiny;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const STAGE: &str = r#"
[run]
steps = 6
[data]
prompts_per_step = 4
template.chat = false
[data.task.addition]
digits = [1]
train = 40
[policy.sampling]
max_new_tokens = 8
temperature = 1.4
[optim]
lr = 1e-3
[checkpoint]
every = 2
[rollout.group]
size = 3
[reward.length]
max_tokens = 8
buffer = 7
[loop.grpo]
"#;

fn program() -> Program {
    Program::new(&Tiny::SUMS.recipe(STAGE))
}

/// Two ranks of one thread each.
pub const TWO: [&str; 5] = ["--quiet", "--set", "devices.ranks=2", "--set", "devices.threads=2"];

/// The numbers and process ids of the ranks that a launcher has started and that are still there.
pub fn ranks_of(launcher: u32) -> Vec<(usize, i32)> {
    let mut found = Vec::new();
    for pid in
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
    {
        let (Ok(stat), Ok(environment)) =
            (fs::read_to_string(format!("/proc/{pid}/stat")), fs::read(format!("/proc/{pid}/environ")))
        else {
            continue;
        };
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let (alive, parent) = (fields.next() != Some("Z"), fields.next().and_then(|ppid| ppid.parse().ok()));
        let rank = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"RANK="));
        let rank = rank.and_then(|rank| String::from_utf8_lossy(rank).parse().ok());
        if let (true, true, Some(rank)) = (alive, parent == Some(launcher), rank) {
            found.push((rank, pid));
        }
    }
    found.sort_unstable();
    found
}

fn rank_of(child: &Child, number: usize) -> i32 {
    ranks_of(child.id()).into_iter().find(|(rank, _)| *rank == number).expect("the rank runs").1
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: kill(2) touches no memory.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn begun(program: &Program) -> bool {
    fs::read_to_string(program.out().join("metrics.jsonl")).is_ok_and(|text| text.lines().count() >= 1)
}

/// What was said on standard error, and how it ended.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Starts a process for each rank with the variables that `of` gives for it, and waits for all.
fn started(
    program: &Program,
    out: &str,
    count: usize,
    of: &dyn Fn(usize) -> Vec<(&'static str, String)>,
) -> Vec<Output> {
    let folder = program.out().parent().unwrap().to_path_buf();
    let start = |rank: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command.current_dir(&folder).args(["--quiet", "--recipe", "recipe.toml", "--out", out]);
        let threads = format!("devices.threads={count}");
        command.args(["--set", &threads]).envs(of(rank));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..count).map(start).collect();
    children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// torchrun's variables for a rank of a machine that holds all of them.
fn torchrun(rank: usize, count: usize, port: u16) -> Vec<(&'static str, String)> {
    let (rank, count) = (rank.to_string(), count.to_string());
    vec![
        ("RANK", rank.clone()),
        ("LOCAL_RANK", rank),
        ("WORLD_SIZE", count.clone()),
        ("LOCAL_WORLD_SIZE", count),
        ("MASTER_ADDR", "127.0.0.1".into()),
        ("MASTER_PORT", port.to_string()),
        ("OMP_NUM_THREADS", "1".into()),
    ]
}

/// Whoever starts as many ranks, they come to the same, and all but the first are silent.
#[test]
fn torchrun_and_srun_start_the_same_ranks() {
    let program = program();
    program.train(&TWO).success();
    let port = free_port();
    let by_torchrun = started(&program, "torchrun", 2, &|rank| torchrun(rank, 2, port));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string();
    let port = free_port().to_string();
    let by_srun = started(&program, "srun", 2, &|rank| {
        vec![
            ("SLURM_JOB_ID", "7".into()),
            ("SLURM_STEP_ID", "0".into()),
            ("SLURM_NTASKS", "2".into()),
            ("SLURM_PROCID", rank.to_string()),
            ("SLURM_LOCALID", rank.to_string()),
            ("SLURM_STEP_NODELIST", host.clone()),
            ("MASTER_PORT", port.clone()),
        ]
    });
    for (folder, outputs) in [("torchrun", by_torchrun), ("srun", by_srun)] {
        for (rank, output) in outputs.iter().enumerate() {
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{folder}, rank {rank}: {said}");
            assert!(
                rank == 0 || (said.is_empty() && output.stdout.is_empty()),
                "{folder}, rank {rank}: {said}"
            );
        }
        let mut found = differences(&program.out(), &program.out().with_file_name(folder));
        // Who starts them is no part of what they come to.
        found.retain(|line| !line.starts_with("recipe.toml:"));
        assert_eq!(found, Vec::<String>::new());
    }
}

/// What is sent to the launcher while its ranks are starting, before they listen, is kept for them.
#[test]
fn a_terminal_that_hangs_up_while_ranks_start_stops_them() {
    for signal in [libc::SIGHUP, libc::SIGTERM] {
        let program = program();
        let arguments = [&["--recipe", "recipe.toml", "--out", "out"][..], &TWO].concat();
        let mut command = program.command_of(&arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: signal(2) may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let began = Instant::now();
        while ranks_of(child.id()).len() < 2 {
            assert!(began.elapsed() < Duration::from_secs(60), "no ranks");
            std::thread::sleep(Duration::from_millis(2));
        }
        kill(child.id() as i32, signal);
        let (code, said) = ended(child);
        assert_eq!(code, Some(128 + signal), "{said}");
        // It made no run, so that there is none to go on with.
        let command = said.rsplit_once("Go on with:\n  ").expect("a command").1;
        assert_eq!(command.contains("--resume"), program.out().join("run.json").exists(), "{said}");
    }
}

/// A slip must not start so many processes that the machine is lost.
#[test]
fn more_ranks_than_a_machine_can_bear_are_refused() {
    let program = program();
    let said = program.train(&["--quiet", "--set", "devices.ranks=1000"]).code(2);
    assert!(said.contains("devices.ranks = 1000: each rank is a process"), "{said}");
    assert!(!program.out().exists());
    // A plan is made for any number.
    assert!(program.train(&["--dry-run", "--set", "devices.ranks=1000"]).success().contains("# Plan"));
}

/// What is wrong is said once, by the first rank, and before the ranks of this machine are started at all.
#[test]
fn what_is_wrong_is_said_once() {
    let program = program();
    let said = program.train(&["--set", "devices.ranks=2", "--set", "optim.lr=-1"]).code(2);
    assert_eq!(said.matches("optim.lr").count(), 2, "{said}");
    let port = free_port();
    program.write("recipe.toml", &Tiny::SUMS.recipe(&STAGE.replace("lr = 1e-3", "lr = -1.0")));
    let outputs = started(&program, "wrong", 2, &|rank| torchrun(rank, 2, port));
    let said = outputs.iter().map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    let said: Vec<String> = said.collect();
    assert!(outputs.iter().all(|output| output.status.code() == Some(2)), "{said:?}");
    assert!(said[0].contains("optim.lr = -1") && said[1].is_empty(), "{said:?}");
    // A number that is not the one that was started, with a plan too, which waits for nobody.
    program.write("recipe.toml", &Tiny::SUMS.recipe(STAGE));
    let variables = torchrun(0, 2, port);
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let said = program.train_with(&["--dry-run", "--set", "devices.ranks=4"], &variables).code(2);
    assert!(said.contains("devices.ranks = 4, and torchrun has started 2 (WORLD_SIZE)"), "{said}");
    assert!(program.train_with(&["--dry-run"], &variables).success().contains("# Plan"));
    let said = program.train_with(&["--dry-run"], &[("RANK", "2"), ("WORLD_SIZE", "2")]).code(2);
    assert!(said.contains("MASTER_ADDR"), "{said}");
}

/// A reward of which only the second rank's asks something that fails.
#[test]
fn a_failure_is_told_in_the_words_of_the_rank_that_failed() {
    let fails = "read -r line; case \"$RANK\" in 1) echo no points >&2; exit 3;; esac; echo 0; while read -r _; do echo 0; done";
    let reward =
        format!("[reward.tests]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", {fails:?}]\n[loop.grpo]");
    let program = Program::new(&Tiny::SUMS.recipe(&STAGE.replace("[loop.grpo]", &reward)));
    let alone = program.train(&["--quiet"]).success();
    assert!(!alone.contains("error"), "{alone}");
    let mut arguments = TWO.to_vec();
    arguments.push("--overwrite");
    let said = program.train(&arguments).code(1);
    assert!(said.contains("error: rank 1 failed: reward: ") && said.contains("no points"), "{said}");
    assert_eq!(said.matches("failed: ").count(), 1, "{said}");
    // torchrun is told by the rank that failed, and by no other.
    let port = free_port();
    let file = |rank: usize| program.out().with_file_name(format!("error-{rank}.json"));
    let outputs = started(&program, "torchrun", 2, &|rank| {
        let mut variables = torchrun(rank, 2, port);
        variables.push(("TORCHELASTIC_ERROR_FILE", file(rank).to_string_lossy().into_owned()));
        variables
    });
    assert!(outputs.iter().all(|output| output.status.code() == Some(1)));
    let told: serde_json::Value = serde_json::from_str(&fs::read_to_string(file(1)).unwrap()).unwrap();
    assert!(told["message"]["message"].as_str().unwrap().contains("no points"), "{told}");
    assert!(!file(0).exists());
    let said = String::from_utf8_lossy(&outputs[0].stderr);
    assert!(said.contains("rank 1 failed: reward: ") && outputs[1].stderr.is_empty(), "{said}");
}

/// Told to stop, through the launcher or by a signal to one of them, all finish the step, save, and end as a run of one would.
#[test]
fn a_signal_to_any_stops_all_of_them() {
    let right = program();
    right.train(&TWO).success();
    for (to, signal) in [(None, libc::SIGTERM), (Some(1), libc::SIGUSR1), (Some(0), libc::SIGINT)] {
        let program = Program::new(&Tiny::SUMS.recipe(&STAGE.replace("steps = 6", "steps = 100000")));
        let child = program.start(&TWO, begun);
        let launcher = child.id();
        kill(to.map_or(launcher as i32, |rank| rank_of(&child, rank)), signal);
        let (code, said) = ended(child);
        assert_eq!(code, Some(128 + signal), "{said}");
        assert!(said.contains("is saved after step") && said.matches("--resume").count() == 1, "{said}");
        assert!(ranks_of(launcher).is_empty());
        let steps = program.metrics().iter().filter(|line| line["loss"].is_number()).count();
        program.checkpoint(&format!("{steps:06}"));
        if steps < 6 {
            program.write("recipe.toml", &Tiny::SUMS.recipe(STAGE));
            program.train(&[&TWO[..], &["--resume"]].concat()).success();
            let weights = |program: &Program| program.checkpoint("000006").join("model.safetensors");
            assert!(fs::read(weights(&right)).unwrap() == fs::read(weights(&program)).unwrap());
        }
    }
}

/// A rank that is not heard of any more is waited for as long as the recipe says, and named.
#[test]
fn a_rank_that_hangs_ends_all() {
    let program = Program::new(&Tiny::SUMS.recipe(&STAGE.replace("steps = 6", "steps = 100000")));
    let child = program.start(&[&TWO[..], &["--set", "devices.timeout_s=2"]].concat(), begun);
    let (launcher, pid) = (child.id(), rank_of(&child, 1));
    kill(pid, libc::SIGSTOP);
    let began = Instant::now();
    let (code, said) = ended(child);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("rank 1 failed: it did not come to where the others waited for it, for 2 s"),
        "{said}"
    );
    assert!(ranks_of(launcher).is_empty() && began.elapsed() < Duration::from_secs(60));
}

/// With their launcher they end, whatever ends it.
#[test]
fn nothing_is_left_of_a_killed_launcher() {
    let program = Program::new(&Tiny::SUMS.recipe(&STAGE.replace("steps = 6", "steps = 100000")));
    let mut child = program.start(&TWO, begun);
    let ranks = ranks_of(child.id());
    assert_eq!(ranks.len(), 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = |pid: i32| {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
    };
    let began = Instant::now();
    while !ranks.iter().all(|(_, pid)| gone(*pid)) {
        assert!(began.elapsed() < Duration::from_secs(30), "ranks outlive their launcher");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What some ranks began others go on with, as many as there are, whatever each holds of the model and however many hold the same.
#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let (right, program) = (program(), program());
    right.train(&["--quiet"]).success();
    let parts = [
        (1, 4, "parameters", 2),
        (2, 3, "optimizer", 1),
        (3, 1, "none", 1),
        (4, 4, "optimizer", 2),
        (5, 3, "parameters", 1),
        (6, 4, "parameters", 2),
    ];
    for (steps, ranks, shard, replicas) in parts {
        let sets = [
            format!("run.steps={steps}"),
            format!("devices.ranks={ranks}"),
            format!("devices.threads={ranks}"),
            format!("devices.shard={shard}"),
            format!("devices.replicas={replicas}"),
        ];
        let mut arguments = vec!["--quiet"];
        arguments.extend(sets.iter().flat_map(|set| ["--set", set.as_str()]));
        if steps > 1 {
            arguments.push("--resume");
        }
        program.train(&arguments).success();
    }
    let (one, other) = (right.checkpoint("000006"), program.checkpoint("000006"));
    assert!(!other.join("optimizer.safetensors").exists() && !other.join("model.safetensors").exists());
    for rank in 1..=2 {
        assert!(other.join(format!("optimizer-{rank:05}-of-00002.safetensors")).is_file());
    }
    // Two layers, and what stands outside of them.
    for unit in 1..=3 {
        assert!(other.join(format!("model-{unit:05}-of-00003.safetensors")).is_file());
    }
    let far = apart(&one, &other);
    assert!(far < 1e-4, "a weight is {far} away");
    let tokens = |program: &Program| -> Vec<serde_json::Value> {
        program.all_traces().into_iter().map(|trace| trace["completion_ids"].clone()).collect()
    };
    assert_eq!(tokens(&right), tokens(&program));
}

/// Weights of 16 bits, their masters and the layers' inputs alone kept: what is divided comes to what is whole, and goes on where it stopped, bit for bit.
#[test]
fn divided_weights_of_16_bits_go_on_where_they_stopped() {
    let model = Tiny { dtype: Some("bf16"), ..Tiny::SUMS };
    let [whole, divided, resumed] = [0; 3].map(|_| Program::new(&model.recipe(STAGE)));
    let again = "policy.gradient_checkpointing=true";
    let parameters = [&TWO[..], &["--set", "devices.shard=parameters", "--set", again]].concat();
    whole.train(&[&TWO[..], &["--set", again]].concat()).success();
    divided.train(&parameters).success();
    resumed.train(&[&parameters[..], &["--set", "run.steps=4"]].concat()).success();
    resumed.train(&[&parameters[..], &["--resume"]].concat()).success();
    // Gradients are added up by micro-batches first or by ranks: now and then a weight is rounded to its neighbour, 2⁻⁸ of it away.
    let far = apart(&whole.checkpoint("000006"), &divided.checkpoint("000006"));
    assert!(far < 4e-3, "a weight is {far} away");
    let [one, other] = [&divided, &resumed].map(|program| program.checkpoint("000006"));
    assert_eq!(apart(&one, &other), 0.0);
    for rank in 1..=2 {
        let part = |folder: &Path| {
            fs::read(folder.join(format!("optimizer-{rank:05}-of-00002.safetensors"))).unwrap()
        };
        assert!(part(&one) == part(&other));
    }
}

/// What fails while others wait in the middle of a pass ends all, in its words; and whenever a rank dies, the checkpoints there are are whole.
#[test]
fn a_rank_that_dies_leaves_whole_checkpoints() {
    let stage = STAGE.replace("steps = 6", "steps = 100000").replace("every = 2", "every = 1");
    let program = Program::new(&Tiny::SUMS.recipe(&stage));
    let sharded = [&TWO[..], &["--set", "devices.shard=parameters"]].concat();
    for (rank, after) in [(1, 1), (0, 2), (1, 3)] {
        let resumed = if after > 1 { vec!["--resume"] } else { vec![] };
        let written = |program: &Program| {
            fs::read_to_string(program.out().join("metrics.jsonl")).map_or(0, |text| text.lines().count())
        };
        let before = written(&program);
        let child =
            program.start(&[&sharded[..], &resumed].concat(), |program| written(program) >= before + after);
        kill(rank_of(&child, rank), libc::SIGKILL);
        let (code, said) = ended(child);
        assert!(code != Some(0), "{said}");
        for folder in fs::read_dir(program.out()).unwrap().map(|entry| entry.unwrap().path()) {
            if folder.join("state.json").is_file() {
                rationale::checkpoint::Saved::open(&folder).unwrap().check().unwrap();
                let weights = crate::program::weights(&folder);
                let model =
                    rationale::model::Model::load(&folder, tch::Kind::Float, tch::Device::Cpu).unwrap();
                assert_eq!(weights.len(), model.tensors().len());
            }
        }
    }
}

/// A divided optimiser computes what a whole one does, bit for bit, in f32 and with masters of bf16 weights; so it does when it is gone on with.
#[test]
fn a_divided_optimiser_is_the_whole_one() {
    for dtype in ["f32", "bf16"] {
        let model = Tiny { dtype: Some(dtype), ..Tiny::SUMS };
        let [whole, divided, resumed] = [0; 3].map(|_| Program::new(&model.recipe(STAGE)));
        let optimizer = [&TWO[..], &["--set", "devices.shard=optimizer"]].concat();
        whole.train(&TWO).success();
        divided.train(&optimizer).success();
        resumed.train(&[&optimizer[..], &["--set", "run.steps=4"]].concat()).success();
        resumed.train(&[&optimizer[..], &["--resume"]].concat()).success();
        for other in [&divided, &resumed] {
            let mut found = differences(&whole.out(), &other.out());
            let written = |line: &String| {
                ["recipe", "optimizer"].iter().any(|name| line.contains(name)) || line.contains("state.json")
            };
            found.retain(|line| !written(line));
            assert_eq!(found, Vec::<String>::new(), "{dtype}");
        }
        let parts = (1..=2).map(|rank| format!("optimizer-{rank:05}-of-00002.safetensors"));
        for part in parts {
            let file = |program: &Program| fs::read(program.checkpoint("000006").join(&part)).unwrap();
            assert!(file(&divided) == file(&resumed), "{dtype}: {part}");
        }
    }
}
