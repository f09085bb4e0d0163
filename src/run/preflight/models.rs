//! The tokenizer and the shape of each stage's model, as far as they are at hand before anything trains.

use super::Looking;
use super::folders::Folders;
use crate::checkpoint::Saved;
use crate::data::Tokenizer;
use crate::error::{Error, Result};
use crate::model::Config;
use crate::policy::PolicyConfig;
use crate::recipe::{Recipe, Stage};
use crate::section::under;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What is known of a model before it is loaded.
pub(super) struct Known {
    pub tokenizer: Tokenizer,
    pub shape: Config,
}

/// What came of looking for a model.
#[derive(Clone)]
pub(super) enum Sought {
    Known(Rc<Known>),
    /// It is not on this machine, and is not fetched now.
    Elsewhere(String),
    /// It is none, or cannot be used.
    Refused(Rc<Error>),
    /// Nothing says what it is: the section that names it is refused.
    Unsaid,
}

/// The models of a recipe's stages; each is opened once.
pub(super) struct Models<'a> {
    policies: Vec<(&'a str, Option<&'a PolicyConfig>)>,
    folders: &'a Folders<'a>,
    opened: RefCell<BTreeMap<String, Sought>>,
}

impl<'a> Models<'a> {
    pub(super) fn new(
        recipe: &'a Recipe,
        stages: &'a [(Option<Stage>, Vec<String>)],
        folders: &'a Folders<'a>,
    ) -> Self {
        let names = recipe.stages().iter().map(|table| table.name.as_str());
        let policy = |(stage, _): &'a (Option<Stage>, _)| stage.as_ref().map(|stage| &stage.policy);
        let policies = names.zip(stages.iter().map(policy)).collect();
        Self { policies, folders, opened: RefCell::default() }
    }

    /// The model of a policy; of an earlier stage's result, that which the stage began with.
    pub(super) fn of(&self, policy: &PolicyConfig) -> Sought {
        self.follow(policy, self.policies.len())
    }

    fn follow(&self, policy: &PolicyConfig, further: usize) -> Sought {
        let key = match (&policy.model, &policy.init) {
            (Some(model), _) => model.clone(),
            (None, Some(init)) => format!("{init:?}"),
            (None, None) => return Sought::Unsaid,
        };
        if let Some(sought) = self.opened.borrow().get(&key) {
            return sought.clone();
        }
        if let Some(name) = policy.model.as_deref().and_then(|model| model.strip_prefix('@')) {
            let target =
                self.policies.iter().find(|(known, _)| *known == name).and_then(|(_, policy)| *policy);
            let sought = match target {
                Some(target) if further > 0 => self.follow(target, further - 1),
                _ => return Sought::Unsaid,
            };
            // A long list of stages that each go on from the one before is followed once, not from each of them to its beginning.
            self.opened.borrow_mut().insert(key, sought.clone());
            return sought;
        }
        let sought = self.open(policy).unwrap_or_else(|error| Sought::Refused(Rc::new(error)));
        self.opened.borrow_mut().insert(key, sought.clone());
        sought
    }

    fn open(&self, policy: &PolicyConfig) -> Result<Sought> {
        let Some(model) = &policy.model else {
            let Some(init) = &policy.init else { return Ok(Sought::Unsaid) };
            let tokenizer = init.tokenizer()?;
            let shape = init.shape(tokenizer.vocab_size());
            // To count the weights of one that is none might never end.
            shape.consistent().map_err(Error::Model)?;
            return Ok(Sought::Known(Rc::new(Known { tokenizer, shape })));
        };
        let newest = Saved::newest_model(model)?.map(|saved| saved.path.to_string_lossy().into_owned());
        let sought = self.folders.at(newest.as_ref().unwrap_or(model));
        if let Sought::Known(known) = &sought
            && known.shape.max_position_embeddings < 2
        {
            return Err(Error::Model(format!(
                "{model}: config.json says max_position_embeddings = {}, which leaves no room for a token",
                known.shape.max_position_embeddings
            )));
        }
        Ok(sought)
    }
}

impl Looking<'_> {
    /// The stage's model, where it can be known; what is wrong with it is noted.
    pub(super) fn look_at_model(&mut self, models: &Models) -> Option<Rc<Known>> {
        match models.of(&self.stage.policy) {
            Sought::Known(known) => {
                let quantisable = self.stage.policy.quantize.map_or(Ok(()), |_| known.shape.quantisable());
                if let Err(error) = quantisable {
                    self.refuse("policy.quantize", &error);
                }
                self.look_at_memory(&known.shape);
                self.look_at_shape(&known);
                let at_hand = !self.waits("policy.steer.from");
                let steered = self.stage.policy.steer.as_ref();
                if let Err(error) = steered.map_or(Ok(()), |steered| steered.fits(&known.shape, at_hand)) {
                    self.refuse("policy.steer", &error);
                }
                return Some(known);
            }
            Sought::Elsewhere(name) => self.note(&format!(
                "not looked at: policy.model = \"{name}\" and whatever needs its tokenizer; there is no such folder, and the hub's model of that name \
                 is fetched when the run starts"
            )),
            // A stage's result is refused where the stage is.
            Sought::Refused(_) if self.waits("policy.model") => {}
            Sought::Refused(_) if self.wrong.iter().any(|key| key.starts_with("policy.init.")) => {}
            Sought::Refused(error) => {
                let key = if self.stage.policy.model.is_some() { "policy.model" } else { "policy.init" };
                self.refuse(key, &error);
            }
            Sought::Unsaid => {}
        }
        None
    }

    /// The models that its rewards and measures ask beside the policy.
    pub(super) fn look_at_asked_models(&mut self, models: &Models) {
        let (mut wrong, mut elsewhere) = (Vec::new(), BTreeSet::new());
        for rewards in self.asked_rewards() {
            let misfits = rewards.check_models(|name, scores| match models.folders.at(name) {
                Sought::Refused(error) => Some(error.what()),
                Sought::Known(_) if scores => models.folders.scores(name).err().map(|error| error.what()),
                Sought::Elsewhere(_) => {
                    elsewhere.insert(name.to_owned());
                    None
                }
                Sought::Known(_) | Sought::Unsaid => None,
            });
            wrong.extend(under(rewards.section(), misfits));
        }
        self.refuse_all(&wrong);
        for name in elsewhere {
            self.note(&format!(
                "not looked at: the model \"{name}\", which a reward or measure asks; there is no such folder, and the hub's model of that name is \
                 fetched when the run starts"
            ));
        }
    }
}
