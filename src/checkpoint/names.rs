//! What a run calls its files.

use std::path::{Path, PathBuf};

/// A stage's name in file names: with its round where there are several.
pub fn label(name: &str, round: usize) -> String {
    if round == 1 { name.to_string() } else { format!("{name}-r{round}") }
}

/// The newest recipe that the run has had, and the file of the next: `recipe.toml`, `recipe-2.toml`, …
pub fn recipes(folder: &Path) -> (Option<PathBuf>, PathBuf) {
    let file = |n: usize| folder.join(if n == 1 { "recipe.toml".into() } else { format!("recipe-{n}.toml") });
    let there = (1..).map(file).take_while(|path| path.exists()).count();
    ((there > 0).then(|| file(there)), file(there + 1))
}

/// Whether a run's directory may be called so.
pub fn names_folder(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
}
