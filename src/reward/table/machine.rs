//! What rewards need of the machine: what is not there, and what is wrong with the models that they ask.

use super::Rewards;
use crate::reward::MachineWant;
use crate::section::Misfit;

impl Rewards {
    /// What the rewards need of the machine and it lacks: environment variables, programs, files. Keys are relative to [`section`](Self::section).
    pub fn check_machine(&self) -> Vec<Misfit> {
        self.of_machine(|key, want| want.misfit(key))
    }

    /// What is wrong with the models that the rewards ask, as `look` says of each name; it is told whether the model has to score. Keys are
    /// relative to [`section`](Self::section).
    pub fn check_models(&self, mut look: impl FnMut(&str, bool) -> Option<String>) -> Vec<Misfit> {
        self.of_machine(|key, want| want.wrong_model(key, &mut look))
    }

    fn of_machine(&self, mut misfit: impl FnMut(&str, &MachineWant) -> Option<Misfit>) -> Vec<Misfit> {
        let mut found = Vec::new();
        for weighted in &self.weighted {
            let wants = weighted.reward.wants().machine.into_iter();
            let misfits = wants.filter_map(|(key, want)| misfit(&key, &want));
            found.extend(misfits.map(|misfit| Misfit {
                message: format!("[{}.{}]: {}", self.section, weighted.name, misfit.message),
                ..misfit.under(&weighted.name)
            }));
        }
        found
    }
}
