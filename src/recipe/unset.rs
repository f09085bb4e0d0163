//! Keys that a resolved recipe does not set: rewards' defaults are written out, and what is off stands there as a comment.

use crate::section::toml as written;
use serde_json::{Map, Value};
use toml_edit::{DocumentMut, Item, Table};

/// Sections of which one table is chosen by name.
const OPEN: [&str; 2] = ["loop", "rollout"];

/// The section whose tables are called as their writer likes, and may say of which kind they are.
const REWARD: &str = "reward";

/// Writes the defaults that a table's schema knows and the table lacks, into the tables in it too.
pub(super) fn fill(table: &mut toml::Table, schema: &Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, schema) in properties {
        match table.get_mut(name) {
            Some(toml::Value::Table(inside)) => fill(inside, schema),
            Some(toml::Value::Array(all)) => {
                let tables = all.iter_mut().filter_map(toml::Value::as_table_mut);
                let items = schema.get("items").unwrap_or(&Value::Null);
                tables.for_each(|inside| fill(inside, items));
            }
            Some(_) => {}
            None => {
                default(schema).into_iter().for_each(|default| drop(table.insert(name.clone(), default)));
            }
        }
    }
}

/// What the key at a dotted path of `sections` is where nothing sets it.
pub(super) fn default_at(sections: &Value, path: &str) -> Option<toml::Value> {
    path.split('.').try_fold(sections, child).and_then(default)
}

fn default(schema: &Value) -> Option<toml::Value> {
    let default = schema.get("default").filter(|default| !default.is_null());
    default.and_then(|default| toml::Value::try_from(default).ok())
}

/// The text of a resolved recipe with a comment for each key that is off, in the table that it belongs to. `sections` is the schema of a
/// stage's sections, of which a stage in a list has all but the `run_wide` keys; these stand above the list.
pub(super) fn commented(text: &str, sections: &Value, run_wide: &[&str]) -> String {
    let Ok(mut document) = text.parse::<DocumentMut>() else { return text.to_owned() };
    match document.get_mut("stage").and_then(Item::as_array_of_tables_mut) {
        None => {
            let absent = of_absent_sections(document.as_table(), sections, &[]);
            within(document.as_table_mut(), sections, &[]);
            let first = document.iter_mut().find_map(|(_, item)| item.as_table_mut());
            if let Some(first) = first.filter(|_| !absent.is_empty()) {
                let before = first.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
                let prefix = format!("{before}{}\n\n", absent.join("\n"));
                first.decor_mut().set_prefix(prefix);
            }
        }
        Some(stages) => {
            for stage in stages.iter_mut() {
                let absent = of_absent_sections(stage, sections, run_wide);
                within(stage, sections, run_wide);
                if !absent.is_empty() {
                    stage.decor_mut().set_suffix(format!("\n{}", absent.join("\n")));
                }
            }
            within(document.as_table_mut(), &only(sections, run_wide), &[]);
        }
    }
    document.to_string()
}

/// The lines of sections that a stage's `table` lacks altogether, but for the keys `left_out`, each `table.key`.
fn of_absent_sections(table: &Table, sections: &Value, left_out: &[&str]) -> Vec<String> {
    let all = sections["properties"].as_object().into_iter().flatten();
    let named = all.filter(|(name, _)| !OPEN.contains(&name.as_str()) && name.as_str() != REWARD);
    let absent = named.filter(|(name, _)| !table.contains_key(name));
    let lines = absent.filter_map(|(name, schema)| Some(of_absent(name, inside(schema)?))).flatten();
    let left = |line: &String| !left_out.iter().any(|path| line.starts_with(&format!("# {path} =")));
    lines.filter(left).collect()
}

/// Of the schema `sections` the keys at these paths alone, each `table.key`.
fn only(sections: &Value, paths: &[&str]) -> Value {
    let mut kept = Value::Null;
    for (table, key) in paths.iter().filter_map(|path| path.split_once('.')) {
        if let Some(schema) = child(sections, table).and_then(|table| child(table, key)) {
            kept["properties"][table]["properties"][key] = schema.clone();
        }
    }
    kept
}

/// The same for the tables in `table`, whose own keys are sections or choices; but for the keys `left_out`, each `table.key`.
fn within(table: &mut Table, schema: &Value, left_out: &[&str]) {
    for (name, item) in table.iter_mut() {
        let Some(schema) = child(schema, name.get()) else { continue };
        let paths = left_out.iter().filter_map(|path| path.split_once('.'));
        let left_out: Vec<&str> =
            paths.filter(|(table, _)| *table == name.get()).map(|(_, key)| key).collect();
        match item {
            Item::Table(inside) if OPEN.contains(&name.get()) => within(inside, schema, &[]),
            Item::Table(inside) if name.get() == REWARD => of_rewards(inside, schema),
            Item::Table(inside) => of_table(inside, schema, &left_out),
            Item::ArrayOfTables(all) => {
                all.iter_mut().for_each(|inside| of_table(inside, &schema["items"], &[]))
            }
            _ => {}
        }
    }
}

/// The same for rewards, each with the keys of its kind.
fn of_rewards(rewards: &mut Table, schema: &Value) {
    for (name, item) in rewards.iter_mut() {
        let Item::Table(inside) = item else { continue };
        let kind = inside.get("kind").and_then(Item::as_str).unwrap_or(name.get());
        if let Some(schema) = child(schema, kind) {
            of_table(inside, schema, &[]);
        }
    }
}

/// What a name of a table is, where it may be one of several.
fn child<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let alternatives = ["oneOf", "anyOf"].into_iter().filter_map(|of| schema.get(of)?.as_array()).flatten();
    schema
        .get("properties")
        .and_then(|all| all.get(name))
        .or_else(|| alternatives.filter_map(|one| child(one, name)).next())
}

fn of_table(table: &mut Table, schema: &Value, left_out: &[&str]) {
    let off: Vec<String> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !table.contains_key(name) && !left_out.contains(&name.as_str()))
        .flat_map(|(name, schema)| match inside(schema) {
            Some(keys) => of_absent(name, keys),
            None => vec![format!("# {name} =")],
        })
        .collect();
    if !off.is_empty() {
        // What follows a header stands in front of the table's keys, whether it has any or none.
        table.set_implicit(false);
        table.decor_mut().set_suffix(format!("\n{}", off.join("\n")));
    }
    within(table, schema, &[]);
}

/// The lines of a table that is not there, whose path is `path`: a key each, with what it would be by default.
fn of_absent(path: &str, keys: &Map<String, Value>) -> Vec<String> {
    let line = |(name, schema): (&String, &Value)| {
        let path = format!("{path}.{name}");
        match (inside(schema), schema.get("default").filter(|default| !default.is_null())) {
            (Some(keys), _) => of_absent(&path, keys),
            (None, Some(default)) => vec![format!("# {path} = {}", written(default))],
            (None, None) => vec![format!("# {path} =")],
        }
    };
    keys.iter().flat_map(line).collect()
}

/// The keys of what is a table and nothing else; none of a choice between several.
fn inside(schema: &Value) -> Option<&Map<String, Value>> {
    let own = |schema: &'_ Value| schema.get("properties").is_some();
    let schema = match own(schema) {
        true => schema,
        false => {
            let listed = ["oneOf", "anyOf"].into_iter().filter_map(|of| schema.get(of)?.as_array());
            let mut tables = listed.flatten().filter(|one| own(one));
            tables.next().filter(|_| tables.next().is_none())?
        }
    };
    schema["properties"].as_object().filter(|keys| !keys.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sections() -> Value {
        let loops = json!({ "properties": { "sft": { "properties": { "max_tokens": {}, "reduce": {} } } } });
        let run = json!({ "properties": { "name": {}, "steps": {}, "seed": {} } });
        let answer = json!({ "properties": { "weight": { "default": 1.0 }, "limit": {}, "level": {
            "items": { "properties": { "right": { "default": 1.0 } } },
        } } });
        json!({ "properties": { "run": run, "loop": loops, "reward": { "properties": { "answer": answer } } } })
    }

    #[test]
    fn what_is_off_stands_in_its_table_as_a_comment() {
        let text = "[run]\nseed = 1\n\n[loop.sft]\n\n[reward.answer]\nweight = 2.0\n";
        let expected = "[run]\n# name =\n# steps =\nseed = 1\n\n[loop.sft]\n# max_tokens =\n# reduce =\n\n[reward.answer]\n# limit =\n\
                        # level =\nweight = 2.0\n";
        assert_eq!(commented(text, &sections(), &["run.seed"]), expected);
        // Of a reward those of its kind, whatever it is called.
        let text = "[reward.answer]\nkind = \"list\"\n\n[reward.mine]\nkind = \"answer\"\n\n[reward.other]\n";
        let expected = "[reward.answer]\nkind = \"list\"\n\n[reward.mine]\n# weight =\n# limit =\n# level =\nkind = \"answer\"\n\n\
                        [reward.other]\n";
        assert_eq!(commented(text, &sections(), &[]), expected);
        let listed = "[run]\nseed = 1\n\n[[stage]]\nname = \"a\"\n\n[stage.run]\nsteps = 3\n";
        let expected = listed.replace("[stage.run]\n", "[stage.run]\n# name =\n");
        assert_eq!(commented(listed, &sections(), &["run.seed"]), expected);
        let expected = listed.replace("[run]\n", "[run]\n# name =\n");
        assert_eq!(commented(listed, &sections(), &["run.name", "run.seed"]), expected);
    }

    /// Each line can be taken out of its comment where it stands, whichever tables follow; what is one of several forms is left alone.
    #[test]
    fn a_table_that_is_absent_has_a_line_for_each_of_its_keys() {
        let lora = json!({ "properties": {
            "rank": { "default": 16 },
            "from": {},
            "inner": { "anyOf": [{ "type": "null" }, { "properties": { "all": { "default": ["a"] } } }] },
        } });
        let kind = json!({ "oneOf": [{ "properties": { "a": {} } }, { "properties": { "b": {} } }] });
        let policy = json!({ "properties": { "model": {}, "lora": lora, "kind": kind, "sampling": {} } });
        let sections = json!({ "properties": { "policy": policy } });
        let text = "[policy]\nmodel = \"m\"\n\n[policy.sampling]\n";
        let found = commented(text, &sections, &[]);
        let expected = "[policy]\n# lora.rank = 16\n# lora.from =\n# lora.inner.all = [\"a\"]\n# kind =\nmodel = \"m\"\n\n\
                        [policy.sampling]\n";
        assert_eq!(found, expected);
        let with: toml::Table = toml::from_str(&found.replace("# lora.rank", "lora.rank")).unwrap();
        assert_eq!(with["policy"]["lora"]["rank"].as_integer(), Some(16));
        // Of a table that is there the keys that it lacks.
        let found = commented("[policy]\n\n[policy.lora]\nrank = 8\n", &sections, &[]);
        assert!(found.contains("[policy.lora]\n# from =\n# inner.all = [\"a\"]\nrank = 8\n"), "{found}");
    }

    /// Of a section that is absent too, in a recipe of one stage and in each of several.
    #[test]
    fn a_section_that_is_absent_has_its_lines_above_the_others() {
        let eval = json!({ "properties": { "at_start": { "default": true }, "by": {} } });
        let sections = json!({ "properties": { "run": { "properties": { "seed": {} } }, "eval": eval } });
        let one = "# Made.\n\n[run]\nseed = 1\n";
        let expected = "# Made.\n\n# eval.at_start = true\n# eval.by =\n\n[run]\nseed = 1\n";
        assert_eq!(commented(one, &sections, &[]), expected);
        let two = "[run]\nseed = 1\n\n[[stage]]\nname = \"a\"\n\n[[stage]]\nname = \"b\"\n\n[stage.eval]\nby = \"c\"\n";
        let found = commented(two, &sections, &["run.seed"]);
        assert!(found.contains("[[stage]]\n# eval.at_start = true\n# eval.by =\nname = \"a\"\n"), "{found}");
        assert!(
            found.ends_with("[[stage]]\nname = \"b\"\n\n[stage.eval]\n# at_start =\nby = \"c\"\n"),
            "{found}"
        );
    }

    #[test]
    fn defaults_are_written_into_what_is_there() {
        let mut table = toml::from_str("weight = 2.0\n[[level]]\n[[level]]\nright = 0.5").unwrap();
        fill(&mut table, &sections()["properties"]["reward"]["properties"]["answer"]);
        let expected: toml::Table =
            toml::from_str("weight = 2.0\n[[level]]\nright = 1.0\n[[level]]\nright = 0.5").unwrap();
        assert_eq!(table, expected);
    }
}
