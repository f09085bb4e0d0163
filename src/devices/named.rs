//! The name of a device in a recipe: one, where others have a list.

use serde::Deserializer;
use serde::de::{Error, Visitor};
use std::fmt;

/// Reads the name of a device.
pub(super) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Name)
}

/// The same of one that need not be there.
pub(super) fn one_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_option(NameOrNone)
}

const WANTED: &str = "the name of one device in quotes, such as \"cuda:1\"; a process trains on one, and devices.ranks = 2 starts two that work together";

struct Name;

impl Visitor<'_> for Name {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(WANTED)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        Ok(name.to_owned())
    }
}

struct NameOrNone;

impl<'de> Visitor<'de> for NameOrNone {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(WANTED)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        one(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use crate::devices::Devices;

    #[test]
    fn a_list_of_devices_is_told_that_a_process_has_one() {
        let read = |text: &str| toml::from_str::<Devices>(text);
        let named = read("policy = \"cuda:1\"\nreward = \"cpu\"").unwrap();
        assert_eq!(
            (named.policy.as_str(), named.reference, named.reward.as_deref()),
            ("cuda:1", None, Some("cpu"))
        );
        for key in ["policy", "reference", "reward"] {
            let said = read(&format!("{key} = [\"cuda:0\", \"cuda:1\"]")).unwrap_err().message().to_owned();
            assert!(
                said.contains("expected the name of one device in quotes") && said.contains("devices.ranks"),
                "{said}"
            );
        }
        let json = serde_json::to_string(&Devices::default()).unwrap();
        assert_eq!(serde_json::from_str::<Devices>(&json).unwrap(), Devices::default());
    }
}
