//! Texts that models, servers and templates write: completions, replies, prompts.

use super::mutate::Grammar;
use super::runner::{fuzz, refused};
use crate::groups;
use crate::server;
use rationale::data::chat::ChatTemplate;
use rationale::data::template::Jinja;
use rationale::data::{Example, Message};
use rationale::endpoint::{ChatRequest, Endpoint};
use rationale::rationale::{AnswerForm, Format, number};
use rationale::reward::{Models, Rewards, agrees};
use rationale::rollout::Group;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Templates of models, and what takes time or memory where nothing limits it.
fn templates() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat/templates");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let own = [
        "{% for m in messages %}{{ m | tojson(indent=2) }}{{ m.content | upper | replace('a', 'bb') | trim }}{% endfor %}",
        "{% set ns = namespace(x='') %}{% for i in range(10000000) %}{% set ns.x = ns.x ~ i %}{% endfor %}{{ ns.x[-10:] }}",
        "{{ 'x' | indent(1000000000) }}{{ messages | tojson(indent=1000000000) }}{{ '%1000000000s' | format('x') }}",
        "{% macro f(n) %}{{ n }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}{{ messages[0].content * 1000000 }}",
        "{% set x = 'aa' %}{% set x = x ~ x %}{% set x = x ~ x %}{% set x = x ~ x %}{{ x | join(x) | batch(3) | list | length }}",
        "{{ not - not messages[0].role.split('e')[0] | default('x') }}{{ strftime_now('%d %b %Y') }}{{ raise_exception('no') }}",
    ];
    let own = own.into_iter().chain(ENDLESS);
    files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .chain(own.map(|text| text.as_bytes().to_vec()))
        .collect()
}

/// What one instruction could do without end, in a model's template and in a recipe's.
const ENDLESS: [&str; 10] = [
    "{% set x = [1] * 9999999999 %}{{ x }}{% set x = ([1] * 9999) * 999999 %}{% if x == x %}{% endif %}",
    "{% set x = range(900) | list %}{% for i in range(900) %}{% if x == x | reverse | list %}{% endif %}{% endfor %}{{ x * 100 == x }}",
    "{% set x = range(900) | sort(reverse=true) | unique | list %}{{ x | select('in', x) | map('string') | join('') | length }}",
    "{% set x = 'ab' * 900 %}{{ x.count('') }}{{ x.strip(x) }}{{ x | trim(x) }}{% for i in range(900) %}{% if x[-1] %}{% endif %}{% endfor %}",
    "{% set x = 'ab' * 900 %}{% for i in range(900) %}{% for c in x %}{% break %}{% endfor %}{% if x.find('q') %}{% endif %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(900) %}{% set n.x = n.x[:] + n.x[1:] or n.x[::2] %}{% endfor %}{{ n.x | length }}",
    "{% set n = namespace(x={}) %}{% set n.y = n if n.z else [n] %}{{ n }}{% for i in range(9) %}{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}",
    "{% for i in range(900) %}{% if loop.changed(range(900) | list) or i is in([[1] * 9] * 9) %}{% endif %}{% endfor %}",
    "{% block b %}{{ [range(100000)] * 1000 | map(attribute='x', default=range(9)) | list | pprint }}{% endblock %}{{ a | tojson(indent=64) }}",
    "{{ a|upper|lower|upper|lower|title|trim|upper|lower }}{{ not not not not a[:][1:][:-1][::-1] }}{{ dict(a=[a] * 9) | dictsort | groupby(0) }}",
];

/// Templates of recipes are read and filled in as those of models are.
#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn recipe_templates() {
    let own = [
        "{{ a ~ '|' ~ n + 1 }}{% if 1 < n <= 3 %}{{ list | join(', ') }}{% endif %}{{ a[1:3] }}{{ missing | default('d') }}",
        "{% filter upper | replace('A', 'b') %}{{ a }}{% endfilter %}{% set b %}{{ a }}{% endset %}{{ b | indent(2, true) | format(n) }}",
        "{% macro t(x) %}{{ x ~ x }}{% endmacro %}{{ t(a) }}{{ list | batch(2) | list }}{{ list | slice(2, n) | list | tojson(indent=2) }}",
    ];
    let corpus = own.into_iter().chain(ENDLESS).map(|text| text.as_bytes().to_vec()).collect();
    let known = json!({"a": "naïve text", "n": 3, "list": ["x", "y"], "inner": {"at": "z"}});
    fuzz("fuzz::texts::recipe_templates", Grammar::Text, corpus, move |bytes, _| {
        let template = Jinja::from(String::from_utf8_lossy(bytes).into_owned());
        let lengths =
            [template.names().map(|names| names.len()), template.places().map(|places| places.len())];
        match template.render(known.as_object().unwrap()) {
            Ok(_) if lengths.iter().any(Result::is_err) => Err("rendered, and it has no names".into()),
            Ok(text) if text.len() > 8 << 20 => Err(format!("{} bytes", text.len())),
            _ => Ok(()),
        }
    });
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn chat_templates() {
    fuzz("fuzz::texts::chat_templates", Grammar::Text, templates(), |bytes, _| {
        let source = String::from_utf8_lossy(bytes);
        let tokens = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
        let template = match ChatTemplate::new(&source, tokens) {
            Ok(template) => template,
            Err(error) => return refused(&error, &["template"], bytes),
        };
        let turn = |role: &str, content: &str| Message::new(role, content);
        let messages = [turn("system", "be"), turn("user", "hi aa"), turn("assistant", "ho\n</think>x")];
        match template.render(&messages, true) {
            Ok(text) if text.len() > 64 << 20 => Err(format!("{} bytes", text.len())),
            Ok(_) => Ok(()),
            Err(error) => refused(&error, &["template"], bytes),
        }
    });
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn replies() {
    let choice = |content: serde_json::Value| json!({"message": {"role": "assistant", "content": content}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 4});
    let corpus = [
        json!({"id": "x", "choices": [choice(json!("Score: 7")), choice(json!("no"))], "usage": usage}),
        json!({"choices": [choice(json!([{"type": "text", "text": "a"}])), choice(json!(null))], "usage": usage}),
        json!({"error": {"message": "the key sk-SECRET is not known", "code": 401}}),
    ];
    let said = Arc::new(Mutex::new(Vec::<u8>::new()));
    let says = said.clone();
    let url = server::serve(move |_| {
        let body = String::from_utf8_lossy(&says.lock().unwrap()).into_owned();
        server::json("200 OK", body)
    });
    let endpoint = Endpoint {
        url,
        model: "m".into(),
        retries: 0,
        backoff_s: 0.0,
        timeout_s: 5.0,
        ..Endpoint::default()
    };
    let client = endpoint.open("endpoint").unwrap();
    let corpus = corpus.iter().map(|reply| reply.to_string().into_bytes()).collect();
    fuzz("fuzz::texts::replies", Grammar::Json, corpus, move |bytes, _| {
        *said.lock().unwrap() = bytes.to_vec();
        let request = ChatRequest { n: 2, ..ChatRequest::user("hi".into()) };
        match client.ask(&[request]) {
            Ok(answers) if answers.len() == 1 && answers[0].choices.len() == 2 => Ok(()),
            Ok(answers) => Err(format!("{answers:?} for one request of two")),
            Err(error) => refused(&error, &[&endpoint.url], bytes),
        }
    });
}

const COMPLETIONS: [&str; 10] = [
    "48/2 = 24 in May.\n48+24 = 72 in all.\n#### 72",
    "So \\boxed{\\frac{3}{4}\\text{ cup}} and \\dfrac12 or 2\\sqrt{5}",
    "<think>\nfirst\n\nsecond: 1,200.50 $\n</think>\n<answer>(B) Paris</answer>",
    "The answer is (A) or (B). The answer is: B) yes. Not C.",
    "{\"answer\": \"B\", \"steps\": [1, 2, {\"a\": -1e5}], \"action\": {\"type\": \"click\", \"name\": \"x\"}}",
    "$x = \\left( 1, 2 \\right)$; 12 cm^2; 5!; \\pm 2021; 5\\pi; 1.2 \\times 10^3; 50%; -3 1/2",
    "5 + 7 = 12\n#### 5 + 7 = 12\n#### Conclusion",
    "Yes, it is true. No. False? the Conclusion: 7/10. Answer: 0x1F ½ ٣ １２",
    "one two three one two three one two three. Sentences end. Do they! Yes…",
    "\u{202E}\u{0}\u{FEFF}é́😀 \\boxed{\\boxed{}} \\fbox{} \\boxed 5 \\text{\\text{",
];

const REWARDS: &str = r#"
[answer]
[copying]
n = 2
[format]
[tagged]
kind = "format"
tags = ["<think>", "</think>"]
[patterned]
kind = "format"
regex = '.*(\d+)'
[leak]
[length]
max_tokens = 10
buffer = 5
[cosine]
kind = "length"
relative = {}
[readability]
[fog]
kind = "readability"
formula = "fog"
of = "text"
[repetition]
[rouge]
column = "rationale"
[hierarchical]
read = "json"
[[hierarchical.level]]
name = "parses"
test = "parse"
field = "answer"
[[hierarchical.level]]
name = "right"
test = "exact"
field = "answer"
gate = false
"#;

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn completions() {
    let forms = "steps = 'sentence'\nanswer = ['hashes', 'boxed', 'answer_is', 'answer_tag', 'letter', 'last_number', 'last_line']";
    let formats: [Format; 2] = [Format::default(), toml::from_str(forms).unwrap()];
    let scorers = Mutex::new(groups::rewards(REWARDS).unwrap());
    let corpus = COMPLETIONS.map(|text| text.as_bytes().to_vec()).to_vec();
    fuzz("fuzz::texts::completions", Grammar::Text, corpus, move |bytes, _| {
        let text = String::from_utf8_lossy(bytes);
        // The gold answer is a stranger's text too.
        let (gold, text) = text.split_once("####").unwrap_or(("72", &text));
        let rewards = &mut scorers.lock().unwrap_or_else(PoisonError::into_inner);
        let examples = [&[][..], &["yes", "no", "72"]].map(|choices| example(gold.trim(), choices));
        for example in &examples {
            let verdict = [0, 1].map(|_| agrees(example, Some(text)));
            if verdict[0] != verdict[1] {
                return Err("one answer, two verdicts".into());
            }
        }
        score(rewards, &examples, text, &formats)?;
        for form in [AnswerForm::Whole, AnswerForm::Letter, AnswerForm::LastNumber] {
            rationale::rationale::answer::extract(&form, text);
        }
        match number::parse(text) {
            Some(number) if !number::equal(text, text) => Err(format!("{number:?} does not equal itself")),
            _ => Ok(()),
        }
    });
}

fn example(gold: &str, choices: &[&str]) -> Example {
    Example {
        answer: Some(gold.to_string()),
        choices: choices.iter().map(ToString::to_string).collect(),
        fields: serde_json::from_value(json!({"rationale": "one two 72", "answer": {"answer": gold}}))
            .unwrap(),
        ..Example::text("row", "What is 70+2?")
    }
}

/// Scores the text as a completion of each example in each format, all at once; one by one where that fails.
fn score(rewards: &mut Rewards, examples: &[Example], text: &str, formats: &[Format]) -> Result<(), String> {
    let group = |example: &Example, format| groups::group(example.clone(), &[text, "#### 72", "no"], format);
    let mut groups: Vec<Group> =
        examples.iter().flat_map(|example| formats.iter().map(|format| group(example, format))).collect();
    if let Err(error) = rewards.score(&mut groups, &Models::none()) {
        refused(&error, &["row"], text.as_bytes())?;
        for group in &mut groups {
            rewards
                .score(std::slice::from_mut(group), &Models::none())
                .or_else(|error| refused(&error, &["row"], text.as_bytes()))?;
        }
    }
    let mut rollouts = groups.iter().flat_map(|group| &group.rollouts);
    match rollouts.find(|rollout| !rollout.reward.is_finite()) {
        Some(rollout) => Err(format!("a reward of {}", rollout.reward)),
        None => Ok(()),
    }
}
