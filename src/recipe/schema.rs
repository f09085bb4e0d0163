//! What a recipe may say, as a JSON Schema and key by key: the sections' own, and what the registry knows below the open ones.

use super::explain::{take, value};
use super::registry::Described;
use super::stage::Sections;
use super::unset::{default_at, fill as fill_defaults};
use super::{Registry, bounds};
use crate::reward;
use crate::section::{Key, join, keys, schema};
use serde_json::{Map, Value, json};

impl Registry {
    /// Every key that a stage may have, in the order of the sections.
    pub fn keys(&self) -> Vec<Key> {
        let mut all = self.sections_schema().clone();
        all["properties"]["sweep"] = sweep();
        keys(&all)
    }

    /// The schema of a recipe file, for editors.
    pub fn schema(&self) -> Value {
        let mut sections = self.sections_schema().clone();
        let rewards = open(&mut sections);
        let mut stage = json!({ "name": {
            "description": "What other stages, `--set` and files call it: a-z, 0-9, `_` and `-`.",
            "type": "string",
            "pattern": "^[a-z0-9_-]+$",
        } });
        let mut sections = sections["properties"].take();
        let mut whole = Map::new();
        for name in sections.as_object().into_iter().flatten().map(|(name, _)| name) {
            let reference = json!({ "$ref": format!("#/definitions/{name}") });
            stage[name] = reference.clone();
            whole.insert(name.clone(), reference);
        }
        if let Some(definitions) = sections.as_object_mut() {
            definitions.extend(rewards);
        }
        let list = json!({
            "description": "The stages of the run, in their order; each goes over the sections at the top.",
            "type": "array",
            "items": { "type": "object", "properties": stage, "required": ["name"], "additionalProperties": false },
        });
        whole.insert("stage".into(), list);
        whole.insert("sweep".into(), sweep());
        json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "A recipe of rationale",
            "type": "object",
            "properties": whole,
            "additionalProperties": false,
            "definitions": sections,
        })
    }

    /// Writes the defaults of rewards into a `[reward]` table, and what follows from their keys.
    pub(super) fn fill_rewards(&self, rewards: &mut toml::Table) {
        for (name, table) in rewards.iter_mut() {
            let Some(table) = table.as_table_mut() else { continue };
            let kind = table.get("kind").and_then(toml::Value::as_str).unwrap_or(name).to_owned();
            if let Some(schema) = self.described().rewards.get(&kind) {
                fill_defaults(table, schema);
            }
            self.rewards.follow(&kind, table);
        }
    }

    /// Whether what stands at the dotted path `key` of a stage's sections is a value that a reward has by its other keys.
    pub fn reward_follows(&self, sections: &toml::Table, key: &str) -> bool {
        let (Some(written), Some(path)) =
            (sections.get("reward").and_then(toml::Value::as_table), key.strip_prefix("reward."))
        else {
            return false;
        };
        let mut rewards = written.clone();
        drop(take(&mut rewards, path));
        self.fill_rewards(&mut rewards);
        value(written, path) == value(&rewards, path)
    }

    /// What the key at a dotted path of a stage's sections is where nothing sets it.
    pub fn default_of(&self, path: &str) -> Option<toml::Value> {
        default_at(self.sections_schema(), path)
    }

    /// The schema of a stage's sections.
    pub(super) fn sections_schema(&self) -> &Value {
        &self.described().schema
    }

    /// The paths of all keys that a stage may have.
    pub(super) fn known(&self) -> &[String] {
        &self.described().paths
    }

    fn described(&self) -> &Described {
        self.described.get_or_init(|| {
            let schema = self.make_schema();
            let rewards = self.rewards.schemas().map(|(name, own)| (name.to_owned(), rewarding(own)));
            let rewards = rewards.collect();
            Described { paths: keys(&schema).into_iter().map(|key| key.path).collect(), schema, rewards }
        })
    }

    fn make_schema(&self) -> Value {
        let mut all = schema::<Sections>();
        let properties = &mut all["properties"];
        add_tasks(&mut properties["data"]["properties"]["task"], self.tasks.schemas());
        fill(&mut properties["loop"], self.methods.schemas());
        fill(&mut properties["rollout"], self.sources.schemas());
        fill(&mut properties["reward"], self.rewards.schemas().map(|(name, own)| (name, rewarding(own))));
        bound(&mut all, "");
        all
    }
}

/// `[sweep]`, which stands at the top of a file alone.
fn sweep() -> Value {
    json!({
        "description": "Keys with a list of values each, as `--set` writes keys (`optim.lr`, `stage.rl.optim.lr`): all stages run once at each point \
            of their product, with each of `run.seeds`. A point has a folder of the run for each seed (`lr=1e-5_seed=0`), and the end of the run \
            holds all points against the first.",
        "type": "object",
    })
}

/// Puts the tables that an open section may have into its schema.
fn fill<'a>(section: &mut Value, tables: impl Iterator<Item = (&'a str, Value)>) {
    section["properties"] =
        tables.map(|(name, table)| (name.to_owned(), table)).collect::<Map<_, _>>().into();
    section["additionalProperties"] = false.into();
}

/// Puts the program's own tasks beside the alternatives that there are.
fn add_tasks<'a>(task: &mut Value, tables: impl Iterator<Item = (&'a str, Value)>) {
    for (name, table) in tables {
        let own = json!({
            "description": table["description"],
            "type": "object",
            "properties": { name: table },
            "required": [name],
            "additionalProperties": false,
        });
        for of in ["oneOf", "anyOf"] {
            if let Some(all) = task.get_mut(of).and_then(Value::as_array_mut) {
                all.push(own.clone());
            }
        }
    }
}

/// A reward's own keys behind those that all have.
fn rewarding(own: Value) -> Value {
    let mut all = reward::Registry::common_schema();
    let keys = own["properties"].as_object().cloned().unwrap_or_default();
    if let Some(common) = all["properties"].as_object_mut() {
        common.extend(keys);
    }
    for name in ["description", "required", "additionalProperties"] {
        match own.get(name) {
            Some(value) => all[name] = value.clone(),
            None => drop(all.as_object_mut().and_then(|all| all.remove(name))),
        }
    }
    all
}

/// Writes the bounds of numbers where the type has none that are closer.
fn bound(schema: &mut Value, path: &str) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.iter_mut().for_each(|(name, schema)| bound(schema, &join(path, name)));
    }
    for of in ["oneOf", "anyOf", "allOf"] {
        if let Some(all) = schema.get_mut(of).and_then(Value::as_array_mut) {
            all.iter_mut().for_each(|one| bound(one, path));
        }
    }
    if let Some(items) = schema.get_mut("items") {
        match items {
            Value::Array(all) => all.iter_mut().for_each(|one| bound(one, path)),
            one => bound(one, path),
        }
    }
    let number = schema.get("type").is_some_and(|kind| kind == "integer" || kind == "number");
    if let Some(most) = bounds::most(path).filter(|_| number) {
        schema["maximum"] = json!(most);
        if schema.get("minimum").is_none() {
            schema["minimum"] = json!(-most);
        }
    }
    if let Some(least) = bounds::least(path).filter(|_| number) {
        schema["minimum"] = json!(least);
    }
}

/// What holds of a file and not of a resolved stage: tables of one name stand at the top and in stages, so that no key has to be in
/// each; a reward may have any name if it says its kind; and one that is inherited may be taken away, as a measure may. Rewards' tables, which two places
/// refer to, come back by the names of their definitions.
fn open(sections: &mut Value) -> Map<String, Value> {
    without_required(sections, true);
    let reward = &mut sections["properties"]["reward"];
    let tables = reward["properties"].as_object_mut().map(std::mem::take).unwrap_or_default();
    let kinds: Vec<&String> = tables.keys().collect();
    let defined = |name: &str| json!({ "$ref": format!("#/definitions/reward.{name}") });
    let of_kind = |name: &&String| {
        let kind = json!({ "required": ["kind"], "properties": { "kind": { "const": name } } });
        json!({ "allOf": [defined(name), kind] })
    };
    let others: Vec<Value> = kinds.iter().map(of_kind).chain([removed()]).collect();
    reward["additionalProperties"] = json!({
        "description": "A reward that its `kind` names.",
        "if": { "type": "object", "required": ["kind"], "properties": { "kind": { "enum": kinds } } },
        "then": { "anyOf": others },
        "else": { "anyOf": [{ "type": "boolean" }, { "type": "object" }] },
    });
    let own = tables.iter().map(|(name, table)| {
        let described = json!({ "description": table["description"], "anyOf": [defined(name), removed()] });
        (name.clone(), described)
    });
    reward["properties"] = Value::Object(own.collect());
    let measures = &mut sections["properties"]["eval"]["properties"]["measures"]["additionalProperties"];
    *measures = json!({ "anyOf": [measures.take(), removed()] });
    tables.into_iter().map(|(name, table)| (format!("reward.{name}"), table)).collect()
}

fn removed() -> Value {
    json!({ "description": "Takes away what is inherited.", "const": false })
}

fn without_required(schema: &mut Value, own: bool) {
    match schema {
        Value::Object(object) => {
            if own && object.get("required").is_some_and(Value::is_array) {
                object.remove("required");
            }
            for (name, inner) in object.iter_mut() {
                // What stands in a list or is one of several forms is written whole.
                let whole = ["items", "oneOf", "anyOf"].contains(&name.as_str());
                without_required(inner, own && !whole);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| without_required(inner, own)),
        _ => {}
    }
}
