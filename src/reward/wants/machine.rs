//! What of the machine is not there.

use super::MachineWant;
use crate::data::Hub;
use crate::policy::reward_model::FILE;
use crate::program::startable;
use crate::section::Misfit;

impl MachineWant {
    /// What is wrong, where it is not there. Models are looked at by [`wrong_model`](Self::wrong_model).
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
            MachineWant::Model(_) | MachineWant::RewardModel(_) => None,
        }
    }

    /// What is wrong with a model, as `look` says of it, which is told whether it has to score. One that an earlier stage will have made
    /// (`"@stage"`) is not asked for.
    pub(in crate::reward) fn wrong_model(
        &self,
        key: &str,
        look: &mut impl FnMut(&str, bool) -> Option<String>,
    ) -> Option<Misfit> {
        let (name, scoring) = match self {
            MachineWant::Model(name) => (name, false),
            MachineWant::RewardModel(name) => (name, true),
            _ => return None,
        };
        if name.starts_with('@') {
            return None;
        }
        if scoring && scores(name) == Some(false) {
            let message =
                format!("{key} = {name:?}: this model generates and scores nothing (it has no {FILE})");
            let remedy = "name the checkpoint of a stage with [loop.prm], as a folder or \"@stage\"";
            return Some(Misfit::new(key, message, remedy));
        }
        Some(Misfit::new(key, format!("{key} = {name:?}: {}", look(name, scoring)?), ""))
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
    }

    #[test]
    fn models_are_looked_at_by_who_knows_how() {
        let said = |wants: Wants| {
            let mut look =
                |name: &str, scores: bool| (name != "good").then(|| format!("{name} scores: {scores}"));
            let misfits = wants.machine.iter().filter_map(|(key, want)| want.wrong_model(key, &mut look));
            misfits.map(|misfit| format!("{}: {}", misfit.key, misfit.message)).collect::<Vec<_>>()
        };
        let wants = || Wants::default().variable("api_key_env", "RATIONALE_NO_SUCH_KEY");
        assert!(
            said(wants().model("model", "good").model("model", "@prm").reward_model("model", "@prm"))
                .is_empty()
        );
        assert_eq!(
            said(
                wants()
                    .model("model", "a")
                    .model("model_without", "b")
                    .reward_model("model", "no/such/model")
            ),
            [
                "model: model = \"a\": a scores: false",
                "model_without: model_without = \"b\": b scores: false",
                "model: model = \"no/such/model\": no/such/model scores: true"
            ]
        );
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let generates = said(wants().reward_model("model", folder.path().to_str().unwrap()));
        assert!(generates[0].contains("this model generates and scores nothing"), "{generates:?}");
    }
}
