//! What of the machine is not there.

use super::MachineWant;
use crate::data::Hub;
use crate::policy::reward_model::FILE;
use crate::program::startable;
use crate::section::Misfit;

impl MachineWant {
    /// What is wrong, where it is not there. A model that an earlier stage will have made (`"@stage"`) is not asked for; of one of
    /// the hub's nothing is downloaded.
    pub(in crate::reward) fn misfit(&self, key: &str) -> Option<Misfit> {
        let lacks = |message: String, remedy: &str| Some(Misfit::new(key, message, remedy));
        match self {
            MachineWant::Variable(name) => {
                let set = std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
                if set {
                    return None;
                }
                lacks(
                    format!("{key} = {name:?}: that environment variable is not set"),
                    "export it before the run",
                )
            }
            MachineWant::Program(name) => match startable(name) {
                Ok(()) => None,
                Err(problem) => lacks(format!("cannot start `{name}`: {problem}"), ""),
            },
            MachineWant::File(path) if path.exists() => None,
            MachineWant::File(path) => lacks(
                format!("there is no file `{}`", path.display()),
                "relative paths begin at the working directory",
            ),
            MachineWant::Model(name) | MachineWant::RewardModel(name) if name.starts_with('@') => None,
            MachineWant::RewardModel(name) if scores(name) == Some(false) => lacks(
                format!("{key} = {name:?}: this model generates and scores nothing (it has no {FILE})"),
                "name the checkpoint of a stage with [loop.prm], as a folder or \"@stage\"",
            ),
            MachineWant::Model(name) | MachineWant::RewardModel(name) => {
                let error = Hub::from_env().lacks_model(name)?;
                lacks(format!("{key} = {name:?}: {}", error.to_string().trim_start_matches("model: ")), "")
            }
        }
    }
}

/// Whether a folder is a reward model's; nothing of what is none, or is the hub's and not here.
fn scores(name: &str) -> Option<bool> {
    let folder = Hub::from_env().at_hand(name)?;
    Some(folder.join(FILE).is_file())
}

#[cfg(test)]
mod tests {
    use super::super::Wants;

    #[test]
    fn variables_programs_files_and_models_are_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("score.py"), "").unwrap();
        let of = |wants: Wants| {
            let misfits = wants.machine.iter().filter_map(|(key, want)| want.misfit(key));
            misfits.map(|misfit| format!("{}: {}", misfit.key, misfit.message)).collect::<Vec<_>>()
        };
        let command = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            of(Wants::default().command("command", &words))
        };
        assert_eq!(command(&["sh", "-c", "no-such-file"]), Vec::<String>::new());
        assert!(
            command(&["no-such-program"])[0]
                .contains("command: cannot start `no-such-program`: there is no such program")
        );
        assert!(command(&[folder.path().to_str().unwrap()])[0].contains("it is a folder, not a program"));
        assert!(command(&[&path("none")])[0].contains("there is no such file"));
        assert!(command(&[&path("score.py")])[0].contains("it is not executable"));
        let scripts =
            |script: &str| command(&["python3", script]).iter().any(|said| said.contains("there is no file"));
        assert_eq!(
            [scripts(&path("score.py")), scripts(&path("scor.py")), scripts("-c")],
            [false, true, false]
        );
        let variable = |name: &str| of(Wants::default().variable("api_key_env", name));
        assert!(variable("PATH").is_empty());
        assert_eq!(
            variable("RATIONALE_NO_SUCH_KEY"),
            ["api_key_env: api_key_env = \"RATIONALE_NO_SUCH_KEY\": that environment variable is not set"]
        );
        let model = |name: &str| of(Wants::default().model("model", name));
        assert!(model("@prm").is_empty() && model(&path("x/y/z"))[0].contains("neither a folder"));
        assert!(model(folder.path().to_str().unwrap())[0].contains("has no config.json"));
    }
}
