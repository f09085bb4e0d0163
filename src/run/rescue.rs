//! A step that fails before its update: what was done before it is saved before the run ends, and how to go on is said.

use super::session::Session;
use super::stage::Opened;
use super::stop;
use crate::error::{Error, Result};
use crate::log::terminal::say;
use crate::loops::{Alarms, Method};
use crate::optim::Optimizer;
use crate::ranks::{agreed, gathered};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far a stage has come, the same on all ranks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// The last step of which there is a checkpoint; 0 before the first.
    saved: usize,
    /// The last step, where there is none of it and one could be written.
    unsaved: Option<usize>,
}

/// What a checkpoint says of a step beside its weights, and what the next one may change before it fails.
pub(super) struct Before {
    state: Value,
    alarms: Alarms,
    adapter: Option<String>,
    weights: u64,
}

/// What a rank tells the others of a step before its update.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Told {
    /// The exit code and the words of what failed.
    failure: Option<(i32, String)>,
    /// Whether it still has all that the steps before came to.
    whole: bool,
}

impl Reached {
    /// A stage whose last step is saved.
    pub fn saved(step: usize) -> Self {
        Self { saved: step, unsaved: None }
    }

    /// The same stage after another step, which is not saved, and can be where it `ends` as a step does.
    pub fn unsaved(self, step: usize, ends: bool) -> Self {
        Self { unsaved: ends.then_some(step), ..self }
    }

    /// Says what is saved and how to go on, behind an error that leaves that as it is.
    pub fn tell(self, error: &Error, opened: &Opened, session: &Session) {
        if !session.ranks.is_first() || !leaves_whole(error) {
            return;
        }
        let (name, next) = (&opened.name, stop::next());
        let ledger = session.dir.ledger();
        let words = match self.saved {
            0 if ledger.as_ref().is_ok_and(|ledger| ledger.stages.len() > 1) => {
                format!("what was done before stage `{name}` is saved{next}")
            }
            0 => match come_to(opened, session).filter(|_| ledger.is_ok()) {
                Some(what) => format!("{what} is saved{next}"),
                None => return,
            },
            step => format!("stage `{name}` is saved after step {step} of {}{next}", opened.steps),
        };
        if let Some(files) = &session.files {
            files.finish();
        }
        say(&words);
    }
}

/// What there is of a first stage before its first step: an evaluation, what a round of its method has sampled.
fn come_to(opened: &Opened, session: &Session) -> Option<String> {
    let own = (opened.name.as_str(), opened.round);
    let evaluated =
        session.evaluations().is_ok_and(|all| all.iter().any(|one| (one.stage.as_str(), one.round) == own));
    let sampled = opened.worker.traces_of_round(1).metadata().is_ok_and(|file| file.len() > 0);
    let name = own.0;
    match (evaluated, sampled) {
        (true, true) => Some(format!("what was evaluated before stage `{name}` and what it has sampled")),
        (true, false) => Some(format!("what was evaluated before stage `{name}`")),
        (false, true) => Some(format!("what stage `{name}` has sampled")),
        (false, false) => None,
    }
}

impl Before {
    /// That of a stage of which the next step is about to begin.
    pub fn of(method: &dyn Method, opened: &Opened) -> Self {
        let policy = &opened.worker.policy;
        Self {
            state: method.state_dict(),
            alarms: opened.worker.alarms.clone(),
            adapter: policy.model.active_adapter(),
            weights: policy.version(),
        }
    }

    /// Writes the checkpoint of `step`, the last one that is whole. All ranks call it.
    fn save(
        self,
        step: usize,
        opened: &mut Opened,
        session: &mut Session,
        optim: Option<&Optimizer>,
    ) -> Result<()> {
        opened.state = self.state;
        opened.worker.alarms = self.alarms;
        let model = &mut opened.worker.policy.model;
        let turned = self.adapter.map_or(Ok(()), |name| model.set_active_adapter(&name));
        agreed(&*session.ranks, turned)?;
        session.save(opened, optim, step, None)
    }
}

/// What all ranks `made` before a step's update; where that failed on any, it fails on all, as with [`agreed`]. What was done before the
/// step is saved then, where it is not yet and every rank still has it; who does not reach the others saves nothing.
pub(super) fn made_or_saved<T>(
    made: Result<T>,
    before: Before,
    mut reached: Reached,
    opened: &mut Opened,
    session: &mut Session,
    optim: Option<&Optimizer>,
) -> Result<T> {
    let ranks = session.ranks.clone();
    let failure = made.as_ref().err();
    let whole = opened.worker.policy.version() == before.weights && failure.is_none_or(leaves_whole);
    let told = Told { failure: failure.map(|error| (error.exit_code(), error.to_string())), whole };
    let all = match gathered(&*ranks, vec![told]) {
        Ok(all) => all.concat(),
        Err(lost) => return Err(made.err().unwrap_or(lost)),
    };
    let first = all.iter().enumerate().find_map(|(rank, told)| Some((rank, told.failure.clone()?)));
    let Some((rank, (code, words))) = first else { return made };
    let error = made.err().unwrap_or(Error::Elsewhere { rank, code, words });
    if !all.iter().all(|told| told.whole) {
        return Err(error);
    }
    if let Some(step) = reached.unsaved {
        match before.save(step, opened, session, optim) {
            Ok(()) => reached = Reached::saved(step),
            Err(why) if ranks.is_first() => tracing::warn!(
                "stage `{}` has come to step {step} of {}, and that cannot be saved: {why}",
                opened.name,
                opened.steps
            ),
            Err(_) => {}
        }
    }
    reached.tell(&error, opened, session);
    Err(error)
}

/// Whether weights and files are what they were before the step that failed so. Of a run that was told to stop it is said already what is
/// saved.
fn leaves_whole(error: &Error) -> bool {
    !matches!(error, Error::Stopped { .. } | Error::Diverged(_) | Error::Ranks(_))
}
