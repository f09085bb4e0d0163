//! Which keys of `[data.template]` the rows use.

use super::template::Template;

/// What of a template rows have used, and the first rows that did without.
#[derive(Default)]
pub(super) struct Uses {
    pub(super) prompts: usize,
    pub(super) completions: usize,
    pub(super) own_prompt: Option<String>,
    pub(super) own_completion: Option<String>,
}

impl Template {
    /// Keys that some or all of the rows do not read, with why: these bring what the keys would make.
    pub(super) fn idle(&self, rows: usize, uses: &Uses) -> Vec<String> {
        let (prompts, completions) = (rows - uses.prompts, rows - uses.completions);
        let own = "`prompt`, `messages` or `text`";
        let mut found = Vec::new();
        let mut note = |set: bool, key: &str, count: usize, own: &str, first: &Option<String>| {
            if let (true, 1.., Some(first)) = (set, count, first) {
                let rows =
                    if count == rows { "all rows".to_string() } else { format!("{count} of {rows} rows") };
                found.push(format!(
                    "data.template.{key} has no effect on {rows}, which bring {own} (the first is {first})"
                ));
            }
        };
        let default = Self::default();
        note(self.system.is_some(), "system", prompts, own, &uses.own_prompt);
        note(self.few_shot > 0, "few_shot", prompts, own, &uses.own_prompt);
        note(self.begin.is_some(), "begin", prompts, own, &uses.own_prompt);
        note(self.user != default.user, "user", prompts, own, &uses.own_prompt);
        note(self.assistant.is_some(), "assistant", completions, "a completion", &uses.own_completion);
        let shots = [
            (self.few_shot_from.is_some(), "few_shot_from"),
            (self.few_shot_pick != default.few_shot_pick, "few_shot_pick"),
            (self.few_shot_show.is_some(), "few_shot_show"),
        ];
        for (_, key) in shots.into_iter().filter(|(set, _)| *set && self.few_shot == 0) {
            found.push(format!("data.template.{key} has no effect while data.template.few_shot is 0"));
        }
        found
    }
}
