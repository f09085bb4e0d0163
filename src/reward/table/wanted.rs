//! What the rewards of a table want of models and rows that are not there yet: which columns they name, which models, which layers.

use super::Rewards;
use crate::model::Config;
use crate::reward::{MachineWant, OfRow};
use crate::section::{Misfit, join};

/// A model that a key of a reward names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedModel {
    /// The key, by its full path.
    pub key: String,
    /// A folder, a hub id or `"@stage"`.
    pub model: String,
    /// Whether it has to be a reward model.
    pub scores: bool,
}

impl Rewards {
    /// The models that they load.
    pub fn named_models(&self) -> Vec<NamedModel> {
        let mut found = Vec::new();
        for weighted in &self.weighted {
            for (key, want) in weighted.reward.wants().machine {
                let (model, scores) = match want {
                    MachineWant::Model(model) => (model, false),
                    MachineWant::RewardModel(model) => (model, true),
                    _ => continue,
                };
                let key = join(self.section, &join(&weighted.name, &key));
                found.push(NamedModel { key, model, scores });
            }
        }
        found
    }

    /// The columns that every row has to have, each with the key that names it, by its full path.
    pub fn columns(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for weighted in &self.weighted {
            for want in weighted.reward.wants().rows.into_iter().filter(|want| want.only.is_empty()) {
                if let OfRow::Column(path, _) = want.of {
                    let own = if want.key.is_empty() {
                        weighted.name.clone()
                    } else {
                        join(&weighted.name, &want.key)
                    };
                    found.push((join(self.section, &own), path));
                }
            }
        }
        found
    }

    /// Layers that a policy of this shape does not have, by keys relative to [`section`](Self::section).
    pub fn check_shape(&self, shape: &Config) -> Vec<Misfit> {
        let depth = shape.num_hidden_layers;
        let mut found = Vec::new();
        for weighted in &self.weighted {
            let beyond = weighted.reward.wants().layers.into_iter().filter(|(_, layer)| *layer > depth);
            let of = |(key, layer): (String, usize)| {
                let message =
                    format!("{}.{}.{key}: there is no layer {layer} of {depth}", self.section, weighted.name);
                Misfit::new(key, message, "").under(&weighted.name)
            };
            found.extend(beyond.map(of));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::Init;
    use crate::reward::Registry;
    use crate::reward::tests::rewards;

    #[test]
    fn what_is_named_is_told_by_its_key() {
        let table = "[process]\nmodel = '@prm'\n[likelihood]\nmodel = 'folder'\ncolumn = 'text'\n[rouge]\ncolumn = 'summary'\n\
                     [trajectory]\nlayers = [1, 3]\n";
        let rewards = rewards(&Registry::default(), table).unwrap();
        let models: Vec<(String, String, bool)> =
            rewards.named_models().into_iter().map(|named| (named.key, named.model, named.scores)).collect();
        let named = |key: &str, model: &str, scores: bool| (key.to_owned(), model.to_owned(), scores);
        let expected =
            [named("reward.likelihood.model", "folder", false), named("reward.process.model", "@prm", true)];
        assert!(expected.iter().all(|one| models.contains(one)) && models.len() == 2, "{models:?}");
        let columns = rewards.columns();
        assert!(columns.contains(&("reward.rouge.column".into(), "summary".into())), "{columns:?}");
        assert!(columns.contains(&("reward.likelihood.column".into(), "text".into())), "{columns:?}");
        let shape = |layers: usize| Init { layers, ..Init::default() }.shape(100);
        let said = rewards.check_shape(&shape(2));
        assert_eq!((said.len(), said[0].key.as_str()), (1, "trajectory.layers"));
        assert!(said[0].message.contains("there is no layer 3 of 2"));
        assert!(rewards.check_shape(&shape(3)).is_empty());
    }
}
