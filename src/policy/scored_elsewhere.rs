//! A reward model that other ranks hold: what they are asked, token ids with places, and what they answer, scores.

use super::Policy;
use super::reward_model::{ScoreFormat, TokenizedSteps};
use crate::data::hub::Hub;
use crate::devices::{DeviceMap, kind_beside};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ranks::Served;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::Kind;

/// What a rank that holds reward models is asked.
#[derive(Debug, Serialize, Deserialize)]
enum Asked {
    /// The scores at all places of one micro-batch.
    Scores {
        /// A folder or a hub id.
        model: String,
        /// Whether the numbers of who asks have 16 bits.
        bf16: bool,
        batch: Vec<TokenizedSteps>,
    },
    /// To let go of all models: another stage begins.
    Forget,
}

/// What it answers: the bits of f32 scores, which JSON keeps as they are, or what it failed by.
type Told = std::result::Result<Vec<u32>, String>;

/// A reward model as who asks about it sees it.
#[derive(Debug)]
pub(super) struct ScoredElsewhere {
    model: String,
    bf16: bool,
    served: Arc<Served>,
}

impl ScoredElsewhere {
    pub fn new(model: &str, kind: Kind, served: Arc<Served>) -> Self {
        Self { model: model.to_owned(), bf16: kind == Kind::BFloat16, served }
    }

    /// The scores at all places of each of these micro-batches, end to end; several ranks that hold the model read as many at a time.
    pub fn read(&self, batches: &[Vec<&TokenizedSteps>]) -> Result<Vec<Vec<f32>>> {
        let question = |batch: &Vec<&TokenizedSteps>| Asked::Scores {
            model: self.model.clone(),
            bf16: self.bf16,
            batch: batch.iter().copied().cloned().collect(),
        };
        let questions: Vec<String> = batches.iter().map(question).map(|asked| text(&asked)).collect();
        let told = self.served.ask(&questions)?;
        told.iter().zip(batches).map(|(told, batch)| self.scores(told, batch)).collect()
    }

    fn scores(&self, told: &str, batch: &[&TokenizedSteps]) -> Result<Vec<f32>> {
        let read: serde_json::Result<Told> = serde_json::from_str(told);
        let wrong = |what: String| Error::Model(format!("{}, which another rank holds: {what}", self.model));
        let bits = read.map_err(|error| wrong(error.to_string()))?.map_err(wrong)?;
        let places = batch.iter().map(|one| one.places.len()).sum::<usize>();
        if bits.len() != places {
            return Err(wrong(format!("{} scores of {places} places", bits.len())));
        }
        Ok(bits.into_iter().map(f32::from_bits).collect())
    }
}

/// The reward models that a rank holds for others: each is loaded when it is first asked.
#[derive(Debug)]
pub struct Holder {
    hub: Hub,
    devices: DeviceMap,
    loaded: BTreeMap<(String, bool), (ScoreFormat, Model)>,
}

impl Holder {
    /// None yet; they will lie on `devices.reward`.
    pub fn new(hub: Hub, devices: DeviceMap) -> Self {
        Self { hub, devices, loaded: BTreeMap::new() }
    }

    /// Says to those that hold reward models that another stage begins: what they have loaded is not asked any more.
    ///
    /// # Errors
    /// [`Error::Ranks`] where they are not reached.
    pub fn begin_stage(served: &Served) -> Result<()> {
        served.ask(&vec![text(&Asked::Forget); served.count()]).map(drop)
    }

    /// What is answered to a question; an error too is an answer, of which who asked makes an end.
    pub fn answer(&mut self, question: &str) -> String {
        let told: Told = self.scores(question).map_err(|error| error.to_string());
        serde_json::to_string(&told).expect("numbers and a text are JSON")
    }

    fn scores(&mut self, question: &str) -> Result<Vec<u32>> {
        let asked = serde_json::from_str(question)
            .map_err(|error| Error::Ranks(format!("what a rank was asked: {error}")))?;
        let (model, bf16, batch) = match asked {
            Asked::Scores { model, bf16, batch } => (model, bf16, batch),
            Asked::Forget => {
                self.loaded.clear();
                return Ok(vec![]);
            }
        };
        let (score_format, model) = self.loaded(model, bf16)?;
        let scores = score_format.read(model, &batch.iter().collect::<Vec<_>>())?;
        Ok(scores.into_iter().map(f32::to_bits).collect())
    }

    fn loaded(&mut self, model: String, bf16: bool) -> Result<&(ScoreFormat, Model)> {
        let key = (model, bf16);
        if !self.loaded.contains_key(&key) {
            let asked = if bf16 { Kind::BFloat16 } else { Kind::Float };
            // Who asks has its policy where this one would have it.
            let (policy, device) = (self.devices.policy, self.devices.reward);
            let kind = kind_beside(asked, policy, device);
            let folder = self.hub.model(&key.0)?;
            let loaded = (ScoreFormat::load(&folder)?, Policy::load(&folder, kind, device, 1)?.model);
            self.loaded.insert(key.clone(), loaded);
        }
        Ok(&self.loaded[&key])
    }
}

fn text(asked: &Asked) -> String {
    serde_json::to_string(asked).expect("numbers and texts are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Head;
    use crate::policy::reward_model::Judges;
    use crate::policy::{Init, RewardModel};
    use std::path::Path;
    use tch::Device;

    /// A reward model of steps in `folder`: right or wrong, by its next-token distribution, so that no score has to be trained.
    fn saved(folder: &Path) -> RewardModel {
        let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
        let mut policy = init.make(Kind::Float, Device::Cpu, 3, 1).unwrap();
        let head = Head::Vocabulary { positive: 43, negative: 45 };
        policy.score_format =
            Some(ScoreFormat { judges: Judges::Steps, head, separator: vec![10], score_classes: vec![] });
        policy.save(folder).unwrap();
        RewardModel::load(folder, Kind::Float, Device::Cpu).unwrap()
    }

    #[test]
    fn ranks_that_hold_it_say_what_it_says_here_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (here, name) = (saved(folder.path()), folder.path().to_str().unwrap());
        let places = DeviceMap { policy: Device::Cpu, reference: Device::Cpu, reward: Device::Cpu };
        let (served, service) = Served::pair();
        let server = std::thread::spawn(move || {
            let mut holder = Holder::new(Hub::from_env(), places);
            service.serve(|question| holder.answer(question)).unwrap();
            holder.loaded.len()
        });
        let served = Arc::new(served);
        let there = RewardModel::served(name, folder.path(), Kind::Float, served.clone()).unwrap();
        let (prompt, texts) = ([65, 66], [vec!["a\n", "bc\n"], vec!["d\n"], vec!["e\n"]]);
        // Micro-batches of a text each, and of all.
        for budget in [4, 64] {
            let scores = here.scores(&prompt, &texts, budget).unwrap();
            assert_eq!(scores.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
            assert!(scores[0][0] != scores[1][0], "scores that are all one show nothing: {scores:?}");
            assert_eq!(there.scores(&prompt, &texts, budget).unwrap(), scores);
        }
        // What fails there is told here.
        let lost = RewardModel::served("no/such/folder", folder.path(), Kind::Float, served.clone()).unwrap();
        let said = lost.scores(&prompt, &texts, 64).unwrap_err().to_string();
        assert!(said.contains("no/such/folder, which another rank holds: "), "{said}");
        Holder::begin_stage(&served).unwrap();
        served.leave();
        assert_eq!(server.join().unwrap(), 0, "a stage's models are not held in the next");
    }
}
