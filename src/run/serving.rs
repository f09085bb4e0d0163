//! Ranks of a run that train nothing and hold reward models for those that do: `devices.reward_ranks`.

use crate::data::hub::Hub;
use crate::devices::Devices;
use crate::endpoint;
use crate::error::Result;
use crate::policy::Holder;
use crate::ranks::{Apart, Ranks};
use std::sync::Arc;

/// The ranks that train, of which this is one, for as long as it does: then those that serve are told.
pub(super) struct Training(pub Arc<dyn Ranks>);

impl Drop for Training {
    fn drop(&mut self) {
        self.0.served().iter().for_each(|served| served.leave());
    }
}

/// Sets apart the ranks that serve, where the recipe asks for some. Nothing comes back on one of these, once it has served to the end.
///
/// # Errors
/// Ranks that are too few; on one that serves, what another has failed by.
pub(super) fn set_apart(ranks: Arc<dyn Ranks>, devices: &Devices, hub: &Hub) -> Result<Option<Training>> {
    if devices.reward_ranks == 0 {
        return Ok(Some(Training(ranks)));
    }
    let local = ranks.local();
    match ranks.set_apart(devices.reward_ranks)? {
        Apart::Trains(ranks) => {
            endpoint::shared_by(ranks.count());
            Ok(Some(Training(ranks)))
        }
        Apart::Serves(service) => {
            let mut holder = Holder::new(hub.clone(), devices.open(local)?);
            service.serve(|question| holder.answer(question)).map(|()| None)
        }
    }
}
