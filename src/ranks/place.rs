//! Which rank this process is, as torchrun, srun or this program itself, which started it, says in the environment.

use crate::error::{Error, Result};
use std::fmt;

/// Set, beside torchrun's variables, for the ranks that this program starts by itself.
pub const OWN: &str = "RATIONALE_RANKS";

/// One rank of a run, and where it meets the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Which one, from 0.
    pub rank: usize,
    /// How many there are.
    pub count: usize,
    /// Which one of those on its machine, from 0.
    pub local_rank: usize,
    /// How many are on its machine, where that is known.
    pub local_count: Option<usize>,
    /// The machine that holds the store through which they meet.
    pub address: String,
    /// And its port.
    pub port: u16,
    /// Whether this rank holds the store.
    pub serves: bool,
    /// Who started it.
    pub launcher: Launcher,
    /// What tells this start of the ranks from others that meet in the same store.
    pub start: String,
    /// Where torchrun wants to be told of an error.
    pub error_file: Option<String>,
}

/// Who starts ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// This program, for `devices.ranks`.
    Own,
    /// torchrun, or whoever sets its variables.
    Torchrun,
    /// srun.
    Srun,
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Launcher::Own => "this program",
            Launcher::Torchrun => "torchrun",
            Launcher::Srun => "srun",
        })
    }
}

impl Launcher {
    /// The variable that says how many ranks it has started.
    pub fn variable(self) -> &'static str {
        match self {
            Launcher::Own | Launcher::Torchrun => "WORLD_SIZE",
            Launcher::Srun => "SLURM_NTASKS",
        }
    }
}

impl Place {
    /// What the environment says; nothing where nobody started ranks.
    ///
    /// # Errors
    /// [`Error::Devices`] for variables that contradict each other.
    pub fn from_env() -> Result<Option<Self>> {
        Self::read(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(of: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        if of("RANK").is_some() && of("WORLD_SIZE").is_some() {
            return torchrun(of).map(Some);
        }
        // A batch script's own shell has the number of tasks too: only a step of srun's has several of them.
        let tasks = number(of, "SLURM_STEP_NUM_TASKS")?.or(number(of, "SLURM_NTASKS")?).unwrap_or(1);
        if of("SLURM_STEP_ID").is_some() && of("SLURM_PROCID").is_some() && tasks > 1 {
            return srun(of, tasks).map(Some);
        }
        Ok(None)
    }
}

/// torchrun's contract: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, `MASTER_ADDR`, `MASTER_PORT`. Its agent holds the
/// store where `TORCHELASTIC_USE_AGENT_STORE` says so, rank 0 otherwise.
fn torchrun(of: &dyn Fn(&str) -> Option<String>) -> Result<Place> {
    let (rank, count) = (needed(of, "RANK")?, needed(of, "WORLD_SIZE")?);
    let agent = of("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
    let parts =
        ["TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"].map(|name| of(name).unwrap_or_default());
    let alone = count == 1;
    let missing = || {
        contradiction(
            "RANK and WORLD_SIZE are set, and MASTER_ADDR or MASTER_PORT is not: set all four, or none of them",
        )
    };
    let address = of("MASTER_ADDR").or(alone.then(|| "127.0.0.1".into())).ok_or_else(missing)?;
    let port = number(of, "MASTER_PORT")?.or(alone.then_some(0)).ok_or_else(missing)?;
    let place = Place {
        rank,
        count,
        local_rank: number(of, "LOCAL_RANK")?.unwrap_or(0),
        local_count: number(of, "LOCAL_WORLD_SIZE")?,
        address,
        port,
        serves: !agent && rank == 0,
        launcher: if of(OWN).is_some() { Launcher::Own } else { Launcher::Torchrun },
        start: parts.join("/"),
        error_file: of("TORCHELASTIC_ERROR_FILE"),
    };
    place.checked()
}

/// srun's contract: `SLURM_PROCID`, `SLURM_LOCALID`, and the step's node list, of whose first node rank 0 is. The port derives from
/// the job, as in JAX, unless `MASTER_PORT` gives one.
fn srun(of: &dyn Fn(&str) -> Option<String>, count: usize) -> Result<Place> {
    let nodes =
        of("SLURM_STEP_NODELIST").or_else(|| of("SLURM_JOB_NODELIST")).or_else(|| of("SLURM_NODELIST"));
    let first = nodes.as_deref().and_then(first_node);
    let address = of("MASTER_ADDR").or(first).ok_or_else(|| {
        contradiction(
            "SLURM_PROCID is set, and SLURM_STEP_NODELIST names no node: start with srun, or set MASTER_ADDR",
        )
    })?;
    let of_step = || -> Result<u16> {
        let job: u64 = number(of, "SLURM_JOB_ID")?.unwrap_or(0);
        let step: u64 = number(of, "SLURM_STEP_ID")?.unwrap_or(0);
        Ok(61440 + u16::try_from(job.wrapping_add(step) % 4096).expect("less than 4096"))
    };
    let rank = needed(of, "SLURM_PROCID")?;
    let place = Place {
        rank,
        count,
        local_rank: number(of, "SLURM_LOCALID")?.unwrap_or(0),
        local_count: None,
        address,
        port: number(of, "MASTER_PORT")?.map_or_else(of_step, Ok)?,
        serves: rank == 0,
        launcher: Launcher::Srun,
        start: of("SLURM_RESTART_COUNT").unwrap_or_default(),
        error_file: None,
    };
    place.checked()
}

impl Place {
    fn checked(self) -> Result<Self> {
        let Place { rank, count, local_rank, local_count, .. } = &self;
        if rank >= count {
            return Err(contradiction(&format!("rank {rank} of {count} ranks: ranks count from 0")));
        }
        if local_count.is_some_and(|local| *local_rank >= local || local > *count) {
            return Err(contradiction(&format!(
                "LOCAL_RANK = {local_rank} and LOCAL_WORLD_SIZE = {} do not go with WORLD_SIZE = {count}",
                local_count.unwrap_or(0)
            )));
        }
        Ok(self)
    }
}

fn needed(of: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<usize> {
    number(of, name)?.ok_or_else(|| contradiction(&format!("{name} is not set")))
}

fn number<T: std::str::FromStr>(of: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<Option<T>> {
    let read = |value: String| {
        value
            .trim()
            .parse()
            .map_err(|_| contradiction(&format!("{name} = {value:?} is no whole number that fits there")))
    };
    of(name).map(read).transpose()
}

fn contradiction(what: &str) -> Error {
    Error::Devices(format!("the environment says which rank this is, and says it wrongly: {what}"))
}

/// The first node of Slurm's notation: `node[003-015,020],other` begins with `node003`.
fn first_node(list: &str) -> Option<String> {
    let (mut name, mut inside, mut over) = (String::new(), false, false);
    for c in list.trim().chars() {
        match c {
            '[' => inside = true,
            ']' => (inside, over) = (false, false),
            ',' if !inside => break,
            // Of the numbers in brackets the first one stands for all.
            ',' | '-' if inside => over = true,
            _ if inside && over => {}
            _ => name.push(c),
        }
    }
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Place>> {
        Place::read(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        })
    }

    const TORCHRUN: [(&str, &str); 9] = [
        ("RANK", "5"),
        ("WORLD_SIZE", "8"),
        ("LOCAL_RANK", "1"),
        ("LOCAL_WORLD_SIZE", "4"),
        ("MASTER_ADDR", "node7"),
        ("MASTER_PORT", "29400"),
        ("TORCHELASTIC_RUN_ID", "job"),
        ("TORCHELASTIC_RESTART_COUNT", "2"),
        ("TORCHELASTIC_ERROR_FILE", "/tmp/e.json"),
    ];

    #[test]
    fn torchrun_is_understood() {
        let place = read(&TORCHRUN).unwrap().unwrap();
        assert_eq!((place.rank, place.count, place.local_rank, place.local_count), (5, 8, 1, Some(4)));
        assert_eq!((place.address.as_str(), place.port, place.serves), ("node7", 29400, false));
        assert_eq!((place.start.as_str(), place.launcher), ("job/2", Launcher::Torchrun));
        // Without an agent's store rank 0 holds it; with one every rank is a client.
        let mut first = TORCHRUN.to_vec();
        (first[0], first[2]) = (("RANK", "0"), ("LOCAL_RANK", "0"));
        assert!(read(&first).unwrap().unwrap().serves);
        first.push(("TORCHELASTIC_USE_AGENT_STORE", "True"));
        assert!(!read(&first).unwrap().unwrap().serves);
    }

    #[test]
    fn srun_is_understood() {
        let step = [
            ("SLURM_STEP_ID", "3"),
            ("SLURM_PROCID", "9"),
            ("SLURM_NTASKS", "16"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_NODELIST", "gpu[003-004,010]-ib,login"),
            ("SLURM_JOB_ID", "70001"),
        ];
        let place = read(&step).unwrap().unwrap();
        assert_eq!((place.rank, place.count, place.local_rank, place.serves), (9, 16, 1, false));
        // 70001 + 3 = 17 · 4096 + 372.
        assert_eq!((place.address.as_str(), place.port), ("gpu003-ib", 61440 + 372));
        assert_eq!(place.launcher, Launcher::Srun);
        // torchrun inside of srun has the last word, and a batch script's shell is one process.
        assert_eq!(read(&[&step[..], &TORCHRUN[..]].concat()).unwrap().unwrap().launcher, Launcher::Torchrun);
        assert_eq!(read(&step[1..]).unwrap(), None);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (key, value, said) in [
            ("RANK", "8", "ranks count from 0"),
            ("WORLD_SIZE", "many", "WORLD_SIZE = \"many\""),
            ("LOCAL_RANK", "4", "LOCAL_RANK = 4"),
            ("MASTER_PORT", "70000", "MASTER_PORT"),
            ("MASTER_ADDR", "", "MASTER_ADDR"),
        ] {
            let kept = TORCHRUN.into_iter().filter(|(name, _)| *name != key);
            let changed: Vec<_> = kept.chain((!value.is_empty()).then_some((key, value))).collect();
            let error = read(&changed).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(said), "{key}: {error}");
        }
        assert_eq!(read(&[("RANK", "3")]).unwrap(), None);
    }

    #[test]
    fn the_first_node_of_a_list() {
        for (list, first) in [
            ("node7", "node7"),
            ("a,b", "a"),
            ("node[001-015],x", "node001"),
            ("rack[2-3]n[08,10]", "rack2n08"),
            ("tux[9]", "tux9"),
        ] {
            assert_eq!(first_node(list).as_deref(), Some(first));
        }
        assert_eq!(first_node(""), None);
    }
}
