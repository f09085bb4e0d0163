//! What of an endpoint's `concurrency` no step comes to: the requests of a step go out together, and those of the next one wait for them.

use super::{Recipe, Stage, StageTable};
use crate::loops::Steps;

/// A sentence for each stage whose steps never have as many requests as the recipe says may be under way.
pub(super) fn never_under_way(recipe: &Recipe, stages: &[Stage]) -> Vec<String> {
    recipe.stages().iter().zip(stages).filter_map(waits).collect()
}

fn waits((StageTable { name, table, .. }, stage): (&StageTable, &Stage)) -> Option<String> {
    let (traits, needs) = (stage.rollout.traits(), stage.needs());
    let (section, [most, each]) = (traits.endpoint?, traits.requests?);
    let endpoint = section.split('.').try_fold(table, |table, key| table.get(key)?.as_table())?;
    let prompts = stage.data.prompts_per_step;
    let requests = prompts.saturating_mul(each);
    let steps = needs.rows && needs.rollouts && needs.steps == Steps::OfRun;
    (steps && requests < most && endpoint.contains_key("concurrency")).then(|| {
        format!(
            "stage `{name}`: {section}.concurrency = {most} is more than the requests of a step, {requests} with data.prompts_per_step = \
             {prompts}, and steps are asked one after the other; data.prompts_per_step = {} keeps as many under way",
            most.div_ceil(each)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Registry;

    #[test]
    fn more_than_a_step_asks_is_told() {
        let told = |prompts: usize, size: usize, endpoint: &str| {
            let text = format!(
                "[policy.init]\n[data]\ntrain = 'a.jsonl'\nprompts_per_step = {prompts}\n[loop.collect]\n[rollout.remote]\nsize = {size}\n\
                 [rollout.remote.endpoint]\nurl = 'http://localhost:1/v1'\nmodel = 'm'\n{endpoint}\n"
            );
            let recipe = Recipe::parse("r.toml", &text, &[]).unwrap();
            let stages =
                Stage::read_all(&recipe, &Registry::default()).unwrap_or_else(|error| panic!("{error}"));
            never_under_way(&recipe, &stages)
        };
        let found = told(2, 1, "concurrency = 20");
        assert_eq!(found.len(), 1);
        for words in [
            "rollout.remote.endpoint.concurrency = 20 is more than the requests of a step, 2 with",
            "data.prompts_per_step = 20 keeps as many",
        ] {
            assert!(found[0].contains(words), "{found:?}");
        }
        // Answers that are asked for one by one are requests of their own: 2 · 5 of a step, and 4 · 5 are enough.
        let found = told(2, 5, "concurrency = 20\nanswers_per_request = 1");
        assert!(
            found[0].contains("of a step, 10 with") && found[0].contains("data.prompts_per_step = 4 keeps")
        );
        for (prompts, endpoint) in [(20, "concurrency = 20"), (2, "concurrency = 2"), (2, "")] {
            assert_eq!(told(prompts, 1, endpoint), Vec::<String>::new());
        }
    }
}
