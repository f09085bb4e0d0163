//! Folders of models, looked at once for all stages and trials: all that loading one refuses.

use super::models::{Known, Sought};
use crate::checkpoint::no_such_folder;
use crate::data::hub::Hub;
use crate::error::Result;
use crate::policy::Policy;
use crate::policy::reward_model::ScoreFormat;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// What came of looking at models, by their folders and hub ids.
pub(super) struct Folders<'a> {
    hub: &'a Hub,
    fetches: bool,
    opened: RefCell<BTreeMap<String, Sought>>,
}

impl<'a> Folders<'a> {
    /// Those of this hub too; what it has not here yet is fetched, or left alone.
    pub(super) fn new(hub: &'a Hub, fetches: bool) -> Self {
        Self { hub, fetches, opened: RefCell::default() }
    }

    /// The model in a folder, or of the hub.
    pub(super) fn at(&self, model: &str) -> Sought {
        if let Some(sought) = self.opened.borrow().get(model) {
            return sought.clone();
        }
        let sought = match self.open(model) {
            Ok(Some(known)) => Sought::Known(Rc::new(known)),
            Ok(None) => Sought::Elsewhere(model.to_owned()),
            Err(error) => Sought::Refused(Rc::new(error)),
        };
        self.opened.borrow_mut().insert(model.to_owned(), sought.clone());
        sought
    }

    /// Whether a model that is here has what it scores by.
    ///
    /// # Errors
    /// What it lacks.
    pub(super) fn scores(&self, model: &str) -> Result<()> {
        ScoreFormat::load(&self.hub.model(model)?).map(|_| ())
    }

    fn open(&self, model: &str) -> Result<Option<Known>> {
        if self.hub.lacks_folder(model) {
            return Err(no_such_folder(Path::new(model)));
        }
        if let Some(error) = self.hub.lacks_model(model) {
            return if Hub::names_model(model) && !self.fetches { Ok(None) } else { Err(error) };
        }
        let (tokenizer, shape) = Policy::look(&self.hub.model(model)?)?;
        Ok(Some(Known { tokenizer, shape }))
    }
}
