use super::*;
use crate::rationale::Format;

/// So that no section can say so of a key that is no more: each in the settings that leave most of its keys without effect.
#[test]
fn keys_that_others_leave_without_effect_are_there() {
    let registry = Registry::default();
    let mut found: Vec<String> = Vec::new();
    for name in registry.methods.names() {
        if let Some(Ok(method)) = registry.methods.read(name, Table::new()) {
            found.extend(method.idle().iter().map(|(key, _)| format!("loop.{name}.{key}")));
        }
    }
    let sources = [
        ("prefix", ""),
        ("tree", ""),
        ("tree", "at = 'questions'"),
        ("adaptive", ""),
        ("adaptive", "over = 'enumerate'"),
    ];
    for (name, keys) in sources {
        let source = registry.sources.read(name, toml::from_str(keys).unwrap()).unwrap().unwrap();
        found.extend(source.idle().iter().map(|(key, _)| format!("rollout.{name}.{key}")));
    }
    for rewards in [
        "[likelihood]",
        "[belief]\nmeasure = 'joint'\nbetween = '|'",
        "[belief]\nmeasure = 'entropy'\nover = 'enumerate'",
        "[readability]",
        "[readability]\nband = [60, 70]",
        "[internal_consistency]\nover = ['a', 'b']",
    ] {
        let rewards = toml::from_str(rewards).unwrap();
        let rewards = Rewards::build(&rewards, &registry, &Format::default()).unwrap();
        found.extend(rewards.idle().iter().map(|(key, _)| join("reward", key)));
    }
    assert!(found.len() > 25, "only {found:?}");
    let known = registry.known();
    let gone: Vec<_> = found.iter().filter(|path| !known.iter().any(|key| covers(path, key))).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn what_another_key_leaves_without_effect_is_named() {
    let registry = Registry::default();
    let text = "[policy.init]\n[data.task.addition]\n[loop.collect]\n[rollout.prefix]\n[reward.own]\nkind = 'likelihood'\n\
                [reward.readability]\nband = [60, 70]\n[reward.belief]\nover = ['a', 'b']\nmeasure = 'entropy'\n";
    let recipe = Recipe::parse("r.toml", text, &[]).unwrap();
    let stages = Stage::read_all(&recipe, &registry).unwrap_or_else(|error| panic!("{error}"));
    let own = own(&stages[0], &registry);
    let why = |key: &str| idle(&stages[0], &own, key).map(|why| why.words);
    for (key, words) in [
        ("rollout.prefix.share", "unless cuts = \"share\""),
        ("rollout.prefix.tree.size", "unless cuts = \"tree\""),
        ("reward.own.discount", "unless measure = \"discounted\""),
        ("reward.readability.easy", "beside band"),
        ("reward.belief.width", "unless over = \"enumerate\""),
        ("reward.belief.written", "unless over = \"choices\""),
    ] {
        assert_eq!(why(key).as_deref(), Some(words), "{key}");
    }
    for read in
        ["rollout.prefix.size", "reward.own.cue", "reward.readability.reach", "reward.belief.per_candidate"]
    {
        assert_eq!(why(read), None, "{read}");
    }
}
