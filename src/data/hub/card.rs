//! What a dataset's card (the head of its README.md) says of its configs: which files belong to which split.

use fast_glob::glob_match;
use serde::Deserialize;

/// The card's list of configs, in the words of the hub.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Card {
    #[serde(default)]
    configs: Vec<Config>,
}

#[derive(Debug, Deserialize)]
struct Config {
    config_name: String,
    #[serde(default)]
    default: bool,
    data_files: Option<DataFiles>,
    data_dir: Option<String>,
}

/// Without a split, all files are the training split's.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum DataFiles {
    Training(OneOrMany),
    Splits(Vec<SplitFiles>),
}

#[derive(Debug, Deserialize)]
struct SplitFiles {
    split: String,
    path: OneOrMany,
}

/// Patterns of files' names.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Card {
    /// Reads the head of a README.md. A card that cannot be read says nothing: names of files are left to go by.
    pub(super) fn read(text: &str) -> Self {
        let head = text.trim_start_matches('\u{feff}').strip_prefix("---").unwrap_or_default();
        let head = head.split_once("\n---").map_or("", |(head, _)| head);
        serde_saphyr::from_str(head).unwrap_or_default()
    }

    /// Those of `files` that the card gives to the first of `splits` that it has in a config; in the only one, or the default, where
    /// none is named.
    pub(super) fn choose(&self, files: &[String], config: Option<&str>, splits: &[&str]) -> Vec<String> {
        let Some(config) = self.config(config) else { return Vec::new() };
        let of_split = |split: &&str| -> Option<Vec<String>> {
            let patterns = config.patterns().into_iter().filter(|(name, _)| name == split);
            let patterns: Vec<String> = patterns.map(|(_, path)| config.placed(path)).collect();
            let those = |file: &&String| patterns.iter().any(|pattern| glob_match(pattern, file.as_str()));
            Some(files.iter().filter(those).cloned().collect())
                .filter(|chosen: &Vec<String>| !chosen.is_empty())
        };
        splits.iter().find_map(of_split).unwrap_or_default()
    }

    /// The names of all configs.
    pub(super) fn configs(&self) -> Vec<&str> {
        self.configs.iter().map(|config| config.config_name.as_str()).collect()
    }

    /// The splits that it names in a config.
    pub(super) fn splits(&self, config: Option<&str>) -> Vec<String> {
        let patterns = self.config(config).map(Config::patterns).unwrap_or_default();
        patterns.into_iter().map(|(split, _)| split.to_owned()).collect()
    }

    fn config(&self, name: Option<&str>) -> Option<&Config> {
        match (name, self.configs.as_slice()) {
            (Some(name), all) => all.iter().find(|config| config.config_name == name),
            (None, [only]) => Some(only),
            (None, all) => all.iter().find(|config| config.default || config.config_name == "default"),
        }
    }
}

impl Config {
    /// Each split with each pattern of its files.
    fn patterns(&self) -> Vec<(&str, &str)> {
        match &self.data_files {
            None => Vec::new(),
            Some(DataFiles::Training(paths)) => paths.all().map(|path| ("train", path)).collect(),
            Some(DataFiles::Splits(splits)) => {
                splits.iter().flat_map(|one| one.path.all().map(|path| (&*one.split, path))).collect()
            }
        }
    }

    /// A pattern from the repository's root on.
    fn placed(&self, path: &str) -> String {
        let path = path.trim_start_matches("./");
        match self
            .data_dir
            .as_deref()
            .map(|folder| folder.trim_matches('/'))
            .filter(|folder| !folder.is_empty())
        {
            Some(folder) => format!("{folder}/{path}"),
            None => path.to_owned(),
        }
    }
}

impl OneOrMany {
    fn all(&self) -> impl Iterator<Item = &str> {
        let all = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        };
        all.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/tr-*\n  \
                        - split: test\n    path:\n    - \"a/x.jsonl\"\n    - b/**\n- config_name: hard\n  data_dir: more\n  data_files: \
                        \"*.parquet\"\n---\n# A dataset\n";

    fn files() -> Vec<String> {
        [
            "data/tr-0.parquet",
            "data/te-0.parquet",
            "a/x.jsonl",
            "b/c/d.json",
            "more/1.parquet",
            "more/x/2.parquet",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    #[test]
    fn a_card_says_which_files_belong_to_a_split() {
        let card = Card::read(CARD);
        let chosen = |config, splits: &[&str]| card.choose(&files(), config, splits);
        assert_eq!(chosen(Some("default"), &["train"]), ["data/tr-0.parquet"]);
        assert_eq!(chosen(None, &["train"]), ["data/tr-0.parquet"]);
        assert_eq!(chosen(None, &["validation", "test"]), ["a/x.jsonl", "b/c/d.json"]);
        assert_eq!(chosen(Some("hard"), &["train"]), ["more/1.parquet"]);
        assert_eq!(chosen(Some("hard"), &["test"]), [""; 0]);
        assert_eq!(card.configs(), ["default", "hard"]);
        assert_eq!(card.splits(None), ["train", "test", "test"]);
    }

    #[test]
    fn what_is_no_card_says_nothing() {
        let bomb = format!(
            "---\na: &a [{}]\n{}---\n",
            "x,".repeat(100),
            "b: [*a, *a, *a, *a, *a, *a, *a]\n".repeat(50)
        );
        for text in
            ["", "# A dataset", "---\n: [", "---\nconfigs: 3\n---", "---\nconfigs:\n- x: 1\n---", &bomb]
        {
            assert!(Card::read(text).configs().is_empty(), "{text}");
        }
    }
}
