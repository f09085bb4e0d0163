//! What each figure of `metrics.jsonl` is: docs/metrics.md and `train metrics` are written of this table.

mod measured;
mod methods;
mod training;

/// A figure, or all of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Its name; `*` stands for any text without `/`.
    pub name: &'static str,
    /// In what it is counted; empty for a plain number.
    pub unit: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// What is healthy, and what to do otherwise; empty where nothing is to be read off it.
    pub healthy: &'static str,
}

const fn row(
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
    healthy: &'static str,
) -> Described {
    Described { name, unit, meaning, healthy }
}

/// The figures by what they are about. Of several that fit a name, the first counts.
pub const GROUPS: &[(&str, &[Described])] = &[
    ("Learning", training::LEARNING),
    ("Rewards", training::REWARDS),
    ("Completions", training::COMPLETIONS),
    ("Clipping", training::CLIPPING),
    ("Preferences and selection", methods::PREFERENCES_AND_SELECTION),
    ("STaR", methods::STAR),
    ("Thoughts and extractive rationales", methods::THOUGHTS_AND_RATIONALES),
    ("Steering", methods::STEERING),
    ("Reward models", methods::REWARD_MODELS),
    ("Sampling and time", measured::SAMPLING_AND_TIME),
    ("Evaluation", measured::EVALUATION),
];

/// What a figure is; none for one that nobody has described.
pub fn described(name: &str) -> Option<&'static Described> {
    GROUPS.iter().flat_map(|(_, rows)| *rows).find(|row| fits(row.name, name))
}

/// Whether a name is the pattern, of which `*` stands for any text without `/`.
fn fits(pattern: &str, name: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('/'), name.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) => {
                let alike = match pattern.split_once('*') {
                    None => pattern == name,
                    Some((head, tail)) => {
                        name.len() > head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
                    }
                };
                if !alike {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// docs/metrics.md.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    for (title, rows) in GROUPS {
        text += &format!(
            "\n## {title}\n\n| figure | unit | what it is | what is healthy |\n| --- | --- | --- | --- |\n"
        );
        for Described { name, unit, meaning, healthy } in *rows {
            text += &format!("| `{name}` | {unit} | {meaning} | {healthy} |\n");
        }
    }
    text
}

const HEAD: &str = "# Metrics

What stands in a run's `metrics.jsonl` and in TensorBoard, a line a step, under TRL's names where TRL has the figure. `*` stands for any name: of a
reward, a class, a reason. `train metrics WORD` looks here. This page is written by `train metrics --markdown`. Before its figures a line says its `stage`, `round` and
`step`, and the `time` when it was written, in seconds since 1970 (UTC).

What to look at first: of **sft** `loss` and `eval/accuracy`; of **grpo** `reward`, `frac_reward_zero_std`, `entropy`, `completions/clipped_ratio` and
`eval/accuracy`; of **dpo** `rewards/accuracies`, `rewards/margins` and `logps/chosen`; of **star** `star/coverage` and `eval/accuracy`; of **prm**
`accuracy` and `eval/step_accuracy`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_one_name_each() {
        assert!(fits("rewards/*/mean", "rewards/answer/mean") && !fits("rewards/*/mean", "rewards/a/b/mean"));
        assert!(fits("eval/pass@*", "eval/pass@8") && !fits("eval/pass@*", "eval/pass@"));
        assert!(fits("completions/*_terminated_length", "completions/mean_terminated_length"));
        assert!(!fits("loss", "loss/x") && !fits("a/*", "a"));
    }

    #[test]
    fn no_row_is_hidden_behind_one_before_it() {
        let rows = || GROUPS.iter().flat_map(|(_, rows)| *rows);
        for row in rows() {
            let example = row.name.replace('*', "x");
            assert_eq!(described(&example), Some(row), "{} is never found", row.name);
        }
        assert!(rows().all(|row| row.meaning.ends_with(['.', ')'])));
    }
}
