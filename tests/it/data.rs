//! Rows from files to examples: what is read, what is refused and in which words; the built-in tokenizers.

use crate::skip::{python_for, skip};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rationale::data::{Data, Dataset, Feedback, FeedbackCompletion, Hub, Message, Prompt, Split, Tokenizer};
use rationale::rationale::{Format, number};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("a writable folder");
        path
    }
}

fn load_with(file: &Path, settings: &str) -> rationale::Result<Dataset> {
    let recipe = format!("train = {:?}\neval = {0:?}\n{settings}", file.display().to_string());
    let data: Data = toml::from_str(&recipe).expect("a sound section");
    data.load(Split::Train, &Hub::at(PathBuf::from("nowhere"), "http://127.0.0.1:1", None, true), 0)
}

fn load(text: &str, settings: &str) -> rationale::Result<Dataset> {
    let folder = Folder::new();
    load_with(&folder.write("rows.jsonl", text), settings)
}

fn refused(text: &str, settings: &str) -> String {
    load(text, settings).expect_err("it is refused").to_string()
}

fn turn(role: &str, content: &str) -> Message {
    Message::new(role, content)
}

fn user(content: &str) -> Prompt {
    Prompt::Chat(vec![turn("user", content)])
}

#[test]
fn our_columns_become_a_conversation_and_a_completion() {
    let text = "{\"question\":\"1+1\",\"rationale\":\"one, two\",\"answer\":2}\n\n{\"question\":\"x\",\"answer\":72.50}\n";
    let data = load(text, "").expect("two rows");
    let [first, second] = data.examples.as_slice() else { panic!("two rows") };
    assert_eq!((first.id.as_str(), second.id.as_str()), ("rows:1", "rows:3"), "blank lines count as lines");
    assert_eq!(first.prompt, user("1+1"));
    assert_eq!(first.completion.as_deref(), Some("one, two\n#### 2"));
    // Without a rationale the answer alone, as the file writes it.
    assert_eq!(second.completion.as_deref(), Some("72.50"));
    assert_eq!((first.index, second.index), (0, 1));
}

#[test]
fn trls_columns_are_read_too() {
    let rows = [
        r#"{"prompt":"Say hi","completion":"hi"}"#,
        r#"{"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]}"#,
        r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
        r#"{"text":"once upon a time"}"#,
        r#"{"prompt":"p","completions":["a","b"]}"#,
    ];
    let data = load(&rows.join("\n"), "").expect("five rows");
    let seen: Vec<_> = data.examples.iter().map(|e| (e.prompt.clone(), e.completion.as_deref())).collect();
    assert_eq!(seen[0], (Prompt::Text("Say hi".into()), Some("hi")));
    assert_eq!(seen[1], (user("q"), Some("a")));
    assert_eq!(seen[2], (user("q"), Some("a")));
    assert_eq!(seen[3], (Prompt::Text(String::new()), Some("once upon a time")));
    assert_eq!(data.examples[4].completions, ["a", "b"]);
    assert_eq!(data.examples[0].completions, ["hi"]);
}

#[test]
fn choices_are_lettered_and_gsm8ks_answers_are_split() {
    let rows = [
        r#"{"question":"Q","choices":["x","y"],"answer":"B"}"#,
        r#"{"question":"Q","choices":[{"label":"1","text":"x"},{"label":"2","text":"y"}],"answer":"2"}"#,
        r#"{"question":"Q","answer":"3+4=7\n#### 7"}"#,
    ];
    let data = load(&rows.join("\n"), "").expect("three rows");
    assert_eq!(data.examples[0].prompt, user("Q\n(A) x\n(B) y"));
    // The second label is shown as (B), so the gold answer is B.
    assert_eq!(data.examples[1].answer.as_deref(), Some("B"));
    assert_eq!(data.examples[2].answer.as_deref(), Some("7"));
    assert_eq!(data.examples[2].completion.as_deref(), Some("3+4=7\n#### 7"));
}

#[test]
fn all_bad_rows_are_counted_and_ten_are_shown() {
    let mut text = String::from("{\"question\": \"ok\", \"id\": \"a\"}\n{\"question\": \n[1]\n\"x\"\n");
    text.push_str(
        "{\"question\": \"  \"}\n{\"question\": 5}\n{\"q\": \"x\"}\n{\"question\": \"y\", \"id\": \"a\"}\n",
    );
    text.push_str(&"{\"question\":\"c\",\"choices\":7}\n".repeat(5));
    let error = refused(&text, "");
    for part in [
        "12 problems",
        "rows.jsonl:2: not JSON: the object goes on in later lines (EOF while parsing a value",
        "rows.jsonl:3: an array, and no object",
        "rows.jsonl:4: not a JSON object",
        "rows.jsonl:5: `question` is empty",
        "rows.jsonl:6: `question` must be a text, not a number",
        "rows.jsonl:7: no `question`, `prompt`, `messages` or `text`; the row has `q`. Name the column",
        "rows.jsonl:8: `id` \"a\" is already that of",
        "rows.jsonl:9: `choices` must be a list",
        "(so too ",
    ] {
        assert!(error.contains(part), "{part:?} in\n{error}");
    }
    // Five rows share a problem, which is said once.
    assert_eq!(error.lines().count(), 1 + 7 + 1, "a head and eight different problems:\n{error}");
}

#[test]
fn missing_and_empty_files_are_errors() {
    assert!(refused("\n", "").contains("has no rows"));
    let error = load_with(Path::new("nowhere.jsonl"), "").expect_err("no file").to_string();
    assert!(error.contains("nowhere.jsonl: no such file") && error.contains("hub:owner/name"), "{error}");
}

#[test]
fn templates_render_columns_and_name_what_is_missing() {
    let row = r#"{"question":"Q","subset":"s","choices":["x","y"]}"#;
    let settings = "template.system = 'Be {{ subset }}.'\ntemplate.user = '{{ question }}: {{ choices | join(\"/\") }}\n'";
    let settings = settings.replace("\n'", "'");
    let data = load(row, &settings).expect("a row");
    assert_eq!(data.examples[0].prompt, Prompt::Chat(vec![turn("system", "Be s."), turn("user", "Q: x/y")]));
    let error = refused(row, "template.user = '{{ question }} {{ qestion }}'");
    assert!(error.contains("rows.jsonl:1: data.template.user uses `qestion`"), "{error}");
    assert!(error.contains("`question`, `subset`, `choices`"), "{error}");
    assert!(load(row, "template.user = '{% if hint %}{{ hint }}{% endif %}{{ question }}'").is_ok());
    let renamed = load(r#"{"problem":"P"}"#, "columns.question = 'problem'").expect("a row");
    assert_eq!(renamed.examples[0].prompt, user("P"));
}

/// Which rows are shown is drawn by the seed: the same one shows the same ones again, of both splits, another one others.
#[test]
fn random_few_shot_examples_are_drawn_by_the_seed() {
    let rows: String = (0..30)
        .map(|at| format!("{{\"id\": \"r{at}\", \"question\": \"q{at}\", \"answer\": \"{at}\"}}\n"))
        .collect();
    let folder = Folder::new();
    let file = folder.write("rows.jsonl", &rows).display().to_string();
    let recipe = format!(
        "train = {file:?}\neval = {file:?}\ntemplate.chat = false\ntemplate.few_shot = 3\ntemplate.few_shot_pick = \"random\""
    );
    let data: Data = toml::from_str(&recipe).expect("a sound section");
    let hub = Hub::at(PathBuf::from("nowhere"), "http://127.0.0.1:1", None, true);
    let prompts = |split: Split, seed: u64| -> Vec<Prompt> {
        let rows = data.load(split, &hub, seed).expect("thirty rows");
        rows.examples.iter().map(|example| example.prompt.clone()).collect()
    };
    for split in [Split::Train, Split::Eval] {
        let first = prompts(split, 1);
        assert_eq!(first, prompts(split, 1));
        // Of 30 rows, each of which draws 3 of 29 anew, few are the same.
        let second = prompts(split, 2);
        let same = first.iter().zip(&second).filter(|(one, other)| one == other).count();
        assert!(same < 5, "{same} of 30 rows show the same ones");
    }
}

/// 10⁸ turns would take minutes a row.
#[test]
fn a_template_ends() {
    let loops = "{% for i in range(10000) %}{% for j in range(10000) %}{{ i }}{% endfor %}{% endfor %}";
    let said = refused("{\"question\":\"a\"}", &format!("template.user = {loops:?}"));
    assert!(said.contains("rows.jsonl:1: data.template.user: ") && said.contains("fuel"), "{said}");
    let doubled = "{% set ns = namespace(x=question) %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    let said = refused("{\"question\":\"a\"}", &format!("template.user = {doubled:?}"));
    assert!(
        said.contains("rows.jsonl:1: data.template.user: ") && said.contains("a text of more than 4 MB"),
        "{said}"
    );
    // An expression that is longer than a stack is deep, and a list that is longer than any machine's memory.
    let long = format!("{{{{ question{} }}}}", "|upper".repeat(20_000));
    for (template, words) in [
        (long.as_str(), "it has 120014 bytes, and the most is 65536"),
        ("{% set x = [1]*9999999999 %}{{ x }}", "a text of more than 4 MB"),
    ] {
        let said = refused("{\"question\":\"a\"}", &format!("template.user = {template:?}"));
        assert!(said.contains("data.template.user: ") && said.contains(words), "{said}");
    }
    let few = load(
        "{\"question\":\"a\"}",
        "template.user = \"{% for i in range(100) %}{{ question }}{% endfor %}\"",
    );
    assert_eq!(few.expect("a row").examples[0].prompt, user(&"a".repeat(100)));
}

#[test]
fn few_shot_examples_come_first_and_never_show_the_row_itself() {
    let rows = ["a", "b", "c"].map(|q| format!(r#"{{"question":"{q}","answer":"{q}{q}"}}"#)).join("\n");
    let data = load(&rows, "template.few_shot = 1").expect("three rows");
    let shown = |q: &str| vec![turn("user", q), turn("assistant", &q.repeat(2))];
    let expected = |shot: &str, q: &str| Prompt::Chat([shown(shot), vec![turn("user", q)]].concat());
    assert_eq!(data.examples[0].prompt, expected("b", "a"), "the first row shows the second");
    assert_eq!(data.examples[2].prompt, expected("a", "c"));
    let settings = "template.few_shot = 2\ntemplate.chat = false\ntemplate.user = 'Q: {{ question }}\\nA: '";
    let data = load(&rows, &settings.replace("'Q: {{ question }}\\nA: '", "\"Q: {{ question }}\\nA: \""))
        .expect("rows");
    assert_eq!(data.examples[2].prompt, Prompt::Text("Q: a\nA: aa\n\nQ: b\nA: bb\n\nQ: c\nA: ".into()));
    assert!(refused(&rows, "template.few_shot = 3").contains("only 2 other rows"));
}

#[test]
fn parquet_rows_read_as_json_rows_do() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data/rows.parquet");
    let data = load_with(&file, "").expect("two rows");
    let [first, second] = data.examples.as_slice() else { panic!("two rows") };
    assert_eq!(first.prompt, user("Where do fish live?\n(A) in water\n(B) in trees"));
    assert_eq!((first.answer.as_deref(), second.answer.as_deref()), (Some("A"), Some("B")));
    assert_eq!(first.completions, ["Water.", "In trees."]);
    assert_eq!(second.fields["level"], 4);
    assert!(!first.fields.contains_key("note"), "null means absent");
}

/// A table of one row: a question, and bytes that are no text in the column `name`.
fn with_bytes(name: &str) -> Vec<u8> {
    let schema = format!("message rows {{ required binary question (UTF8); required binary {name}; }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut rows = writer.next_row_group().unwrap();
    for cell in [b"1+1?".to_vec(), vec![0xff, 0xd8]] {
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[ByteArray::from(cell)], None, None).unwrap();
        column.close().unwrap();
    }
    rows.close().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn bytes_that_are_no_text_matter_where_they_are_read() {
    let folder = Folder::new();
    let load = |name: &str, settings: &str| {
        let path = folder.0.path().join("rows.parquet");
        std::fs::write(&path, with_bytes(name)).expect("a writable folder");
        load_with(&path, settings)
    };
    let data = load("picture", "").expect("one row");
    assert!(data.examples[0].prompt == user("1+1?") && !data.examples[0].fields.contains_key("picture"));
    for (name, settings) in [("answer", ""), ("gold", "columns.answer = 'gold'")] {
        let said = load(name, settings).expect_err("it is read").to_string();
        assert!(said.contains(&format!("rows.parquet:1: `{name}` holds bytes that are not text")), "{said}");
    }
    let said = load("image", "").expect_err("it is seen").to_string();
    assert!(said.contains("rows.parquet:1: it has `image`, and only text can be learned here"), "{said}");
    load("image", "columns.unused = 'image'").expect("its text is enough");
}

#[test]
fn limits_and_the_task_are_read_from_the_section() {
    let data = load("{\"question\":\"a\"}\nnot read\n", "train_limit = 1").expect("one row is read");
    assert_eq!(data.examples.len(), 1);
    let task: Data = toml::from_str("[task.addition]\ndigits = [3]\ntrain = 5").expect("a sound section");
    let data = task.load(Split::Train, &Hub::from_env(), 1).expect("five rows");
    let example = &data.examples[4];
    let completion = example.completion.as_deref().expect("a scratchpad");
    let sum = example.answer.as_deref().expect("an answer");
    // One step a digit, then the answer in the default format's first form.
    assert_eq!(completion.lines().count(), 3 + 1);
    assert!(completion.ends_with(&format!("\n#### {sum}")), "{completion}");
    assert!(toml::from_str::<Data>("trian = 'x'").is_err(), "unknown keys are refused");
    let printed = toml::to_string(&Data::default()).expect("it prints");
    assert_eq!(toml::from_str::<Data>(&printed).expect("it reads what it prints"), Data::default());
}

#[test]
fn columns_of_a_task_have_other_names_and_completions_are_begun() {
    let read = |columns: &str| -> Result<_, _> {
        let text = format!(
            "columns = {{ answer = '{columns}' }}\ntemplate = {{ chat = false, begin = '(A) ' }}\n[task.report]\ntrain = 5\neval = 2"
        );
        toml::from_str::<Data>(&text).expect("a sound section").load(Split::Train, &Hub::from_env(), 1)
    };
    for example in &read("wrong").expect("five rows").examples {
        let Prompt::Text(prompt) = &example.prompt else { panic!("a text") };
        let (completion, answer) = (example.completion.as_deref(), example.answer.as_deref());
        let (completion, answer) = (completion.expect("a rationale"), answer.expect("an answer"));
        // The answer is the nearest wrong choice now, and the completion goes on behind what the prompt has begun of it.
        assert!(completion.ends_with(&format!("\n#### {answer}")) && !example.fields.contains_key("wrong"));
        assert!(prompt.ends_with("(A) ") && !completion.starts_with("(A) "), "{prompt:?} {completion:?}");
        assert!(example.choices.contains(&answer.to_string()));
    }
    let error = read("wrnog").expect_err("there is no such column").to_string();
    assert!(
        error.contains("data.columns.answer = \"wrnog\"") && error.contains("did you mean `wrong`?"),
        "{error}"
    );
}

#[test]
fn the_byte_tokenizer_round_trips_any_text() {
    let tokenizer = Tokenizer::bytes();
    assert_eq!((tokenizer.vocab_size(), tokenizer.eos()), (258, 256));
    let text = "naïve 日本 🙂\n\0 x  y";
    let ids = tokenizer.encode(text).expect("every text has ids");
    assert_eq!(ids, text.bytes().map(u32::from).collect::<Vec<_>>(), "a byte's id is its value");
    assert_eq!(tokenizer.decode(&[ids, vec![256]].concat()), text);
    let error = tokenizer.render(&user("x")).expect_err("no template").to_string();
    assert!(error.contains("data.template.chat = false"), "{error}");
}

#[test]
fn the_tokens_that_hold_a_part_of_a_text_are_found() {
    // a, two bytes of é, b, c, and the end, which is no text.
    let tokenizer = Tokenizer::bytes();
    let ids = [tokenizer.encode("aébc").expect("every text has ids"), vec![256]].concat();
    assert_eq!(tokenizer.tokens_of(&ids, 0..1), 0..1);
    assert_eq!(tokenizer.tokens_of(&ids, 3..4), 3..4);
    assert_eq!(tokenizer.tokens_of(&ids, 3..5), 3..5);
    assert_eq!(tokenizer.tokens_of(&ids, 5..5), 6..6);
}

#[test]
fn the_character_tokenizer_names_what_it_lacks() {
    let tokenizer = Tokenizer::characters("ab\n ").expect("an alphabet");
    assert_eq!(tokenizer.encode("ba\n a<eos>").expect("in the alphabet"), [1, 0, 2, 3, 0, 4]);
    assert_eq!(tokenizer.decode(&[1, 0, 2, 3, 0, 4, 5]), "ba\n a");
    let error = tokenizer.encode("abc").expect_err("c is not in it").to_string();
    assert!(error.contains("no 'c'"), "{error}");
    assert!(Tokenizer::characters("aa").is_err());
}

#[test]
fn a_loaded_tokenizer_saves_its_files_byte_for_byte() {
    let (first, second) = (Folder::new(), Folder::new());
    Tokenizer::characters("xyz").expect("an alphabet").save(first.0.path()).expect("saved");
    let config = r#"{"eos_token": {"content": "<eos>"}, "bos_token": "<pad>", "add_bos_token": true,
        "chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "{{ bos_token }}y"}]}"#;
    first.write("tokenizer_config.json", config);
    first.write("generation_config.json", r#"{"eos_token_id": [3, 4]}"#);
    let tokenizer = Tokenizer::load(first.0.path()).expect("loaded");
    tokenizer.save(second.0.path()).expect("saved");
    for entry in std::fs::read_dir(first.0.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let copy = second.0.path().join(path.file_name().expect("a name"));
        assert_eq!(std::fs::read(&path).expect("a file"), std::fs::read(copy).expect("its copy"), "{path:?}");
    }
    // <pad> is id 4 and stands in for a beginning token: once before plain text, once from the template.
    assert_eq!(tokenizer.render(&Prompt::Text("x".into())).expect("ids"), [4, 0]);
    assert_eq!(tokenizer.render(&Prompt::Text("<pad>x".into())).expect("ids"), [4, 0]);
    assert_eq!(tokenizer.render(&user("z")).expect("ids"), [4, 1]);
    let ids = rationale::data::tokenizer::generation_eos(first.0.path(), tokenizer.eos()).expect("ids");
    assert_eq!(ids, [3, 4]);
}

/// Every gold answer of GSM8K's train split reads back from "rationale\n#### answer", and the rationale gives as many steps as it
/// has lines.
#[test]
fn gsm8k_rows_read_back() {
    let folder = std::env::var("RATIONALE_DATA").unwrap_or_else(|_| "../shared/data".to_owned());
    let Ok(rows) = std::fs::read_to_string(format!("{folder}/gsm8k/train.jsonl")) else {
        skip("gsm8k_rows_read_back", &format!("no gsm8k/train.jsonl under {folder} (set RATIONALE_DATA)"));
        return;
    };
    assert_eq!(rows.lines().count(), 7473);
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let (rationale, gold) = (row["rationale"].as_str().unwrap(), row["answer"].as_str().unwrap());
        let text = format!("{rationale}\n#### {gold}");
        let read = Format::default().parse(&text).unwrap();
        let answer = &text[read.answer];
        assert!(number::equal(answer, gold), "{answer:?} {gold:?}");
        let steps: Vec<_> = read.steps.into_iter().map(|span| &text[span]).collect();
        let lines: Vec<_> = rationale.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(steps, lines);
    }
}

/// transformers loads what is saved and agrees on the ids; needs RATIONALE_PYTHON, a python with transformers.
#[test]
fn transformers_loads_the_built_in_tokenizers() {
    let Some(python) = python_for("transformers_loads_the_built_in_tokenizers") else { return };
    let text = "12+3=\n15 #";
    let script = "import sys, json; from transformers import AutoTokenizer as T; t = T.from_pretrained(sys.argv[1]); \
        ids = t.encode(sys.argv[2], add_special_tokens=False); print(json.dumps([ids, t.eos_token_id, \
        t.pad_token_id, t.decode(ids + [t.eos_token_id], skip_special_tokens=True)]))";
    for tokenizer in [Tokenizer::bytes(), Tokenizer::characters("0123456789+=:# \n").expect("an alphabet")] {
        let folder = Folder::new();
        tokenizer.save(folder.0.path()).expect("saved");
        let output = Command::new(&python).args(["-c", script]).arg(folder.0.path()).arg(text).output();
        let output = output.expect("python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
        let ids = tokenizer.encode(text).expect("in the alphabet");
        assert_eq!(theirs, serde_json::json!([ids, tokenizer.eos(), tokenizer.pad(), text]));
    }
}

#[test]
fn preferences_are_read_in_trls_forms() {
    let rows = [
        r#"{"prompt":"p","chosen":"a","rejected":"b"}"#,
        r#"{"question":"q","chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}],"weight":0.5,"margin":2}"#,
        // The prompt is implied by the turns that both begin with; a `prompt` beside them is their question.
        r#"{"prompt":"q","chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}"#,
        r#"{"prompt":"p","completion":"c","label":false}"#,
        r#"{"prompt":"p","chosen":"a","rejected":"b","rationale":"since b is shorter"}"#,
        r#"{"prompt":"p","completion":"c","label":3}"#,
    ];
    let data =
        load(&rows.join("\n"), "template.why = \"Why {{ chosen }} over {{ rejected }} for {{ prompt }}?\"")
            .unwrap();
    let pair = |weight: f64, margin: f64, why: Option<(Prompt, String)>| {
        Some(Feedback::Pair { chosen: "a".into(), rejected: "b".into(), weight, margin, why })
    };
    let seen: Vec<_> = data.examples.iter().map(|e| (e.prompt.clone(), e.feedback.clone())).collect();
    assert_eq!(seen[0], (Prompt::Text("p".into()), pair(1.0, 0.0, None)));
    // Given as messages, they keep their turns, which the chat template writes.
    let turned = |weight: f64, margin: f64| {
        let side = |text: &str| {
            let turn = Some(Message::new("assistant", text).into());
            FeedbackCompletion { turn, ..text.into() }
        };
        Some(Feedback::Pair { chosen: side("a"), rejected: side("b"), weight, margin, why: None })
    };
    assert_eq!(seen[1], (user("q"), turned(0.5, 2.0)));
    assert_eq!(seen[2], (user("q"), turned(1.0, 0.0)));
    assert_eq!(seen[3].1, Some(Feedback::Label { completion: "c".into(), good: false, weight: 1.0 }));
    let why = (Prompt::Text("Why a over b for p?".into()), "since b is shorter".to_string());
    assert_eq!(seen[4].1, pair(1.0, 0.0, Some(why)));
    // A label of another kind is a column like any other.
    assert_eq!(seen[5].1, None);
}

#[test]
fn a_preference_that_is_none_is_refused_with_its_line() {
    for (row, what) in [
        (r#"{"prompt":"p","chosen":"a"}"#, "`chosen` without a `rejected`"),
        (r#"{"prompt":"p","rejected":"a"}"#, "`rejected` without a `chosen`"),
        (r#"{"prompt":"p","chosen":"a","rejected":"a"}"#, "are the same"),
        (
            r#"{"prompt":"p","chosen":" ","rejected":"a"}"#,
            "`chosen` is empty, and to say nothing would be learned",
        ),
        (r#"{"prompt":"p","chosen":"a","rejected":7}"#, "`rejected` must be a text, not a number"),
        (r#"{"prompt":"p","chosen":"a","rejected":"b","weight":"x"}"#, "`weight` must be a number"),
        (
            r#"{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"r"},{"role":"assistant","content":"b"}]}"#,
            "must be the same conversation but for",
        ),
        (
            r#"{"prompt":"x","chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}"#,
            "`chosen` and `rejected` do not begin with it",
        ),
        (
            r#"{"prompt":" ","chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]}"#,
            "`prompt` is empty",
        ),
    ] {
        let said = refused(row, "");
        assert!(said.contains("rows.jsonl:1: ") && said.contains(what), "{said}");
    }
}

/// A text before a reply that is a message is what the user says, whatever else the conversation has.
#[test]
fn a_prompt_of_text_before_messages_is_the_users_turn() {
    let rows = [
        r#"{"prompt":"q","chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]}"#,
        r#"{"prompt":"q","completion":[{"role":"assistant","content":"a"}]}"#,
        r#"{"prompt":"q","completion":[{"role":"assistant","content":"a"}],"system":"s","tools":"[{}]"}"#,
        r#"{"prompt":"q","completion":[{"role":"assistant","content":"a"}],"label":true}"#,
        r#"{"prompt":"q","completion":"a"}"#,
    ];
    let data = load(&rows.join("\n"), "").expect("five rows");
    let prompts: Vec<&Prompt> = data.examples.iter().map(|row| &row.prompt).collect();
    let asked = user("q");
    let told = Prompt::Chat(vec![turn("system", "s"), turn("user", "q")]);
    assert_eq!(prompts, [&asked, &asked, &told, &asked, &Prompt::Text("q".into())]);
    let Some(Feedback::Pair { chosen, rejected, .. }) = &data.examples[0].feedback else { panic!("a pair") };
    assert_eq!((chosen.text.as_str(), rejected.text.as_str()), ("a", "b"));
    assert!(chosen.turn.is_some() && data.examples[1].reply.is_some());
    assert_eq!(data.examples[2].variables.len(), 1);
    // What a conversation hands on has to be a list, whichever of its columns are messages.
    let said = refused(&rows[2].replace("[{}]", "add"), "");
    assert!(said.contains("`tools` must be a list"), "{said}");
    let said = refused(&rows[2].replace("[{}]", r#"[{\"a\":1,\"a\":2}]"#), "");
    assert!(said.contains("in `tools`, the key \"a\" stands twice in one object"), "{said}");
}

#[test]
fn a_message_keeps_all_that_it_has() {
    let rows = [
        r#"{"messages":[{"role":"user","content":"2+3?"},{"role":"assistant","reasoning_content":"two and three","content":"5","tool_calls":null}]}"#,
        r#"{"messages":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Yo"}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"H"},{"type":"text","text":"i"}]},{"role":"assistant","content":"Yo"}]}"#,
        r#"{"messages":[{"role":"user","content":"t?"},{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","name":"f","content":"7"},{"role":"assistant","content":"7"}]}"#,
        r#"{"messages":[{"role":"narrator","content":"once"},{"role":"assistant","content":"upon"}],"chat_template_kwargs":{"a":1}}"#,
    ];
    let settings =
        "template.roles = { narrator = \"user\" }\ntemplate.variables = { enable_thinking = false }";
    let data = load(&rows.join("\n"), settings).expect("five rows");
    let [thinks, sharegpt, parts, calls, told] = data.examples.as_slice() else { panic!("five rows") };
    assert_eq!(thinks.completion.as_deref(), Some("<think>\ntwo and three\n</think>\n\n5"));
    assert_eq!(thinks.reply.as_ref().and_then(|turn| turn.reasoning()), Some("two and three"));
    assert_eq!((&sharegpt.prompt, sharegpt.completion.as_deref()), (&user("Hi"), Some("Yo")));
    assert_eq!(
        (&parts.prompt, parts.reply.as_ref().map(|turn| turn.text())),
        (&user("Hi"), Some("Yo".into()))
    );
    let Prompt::Chat(turns) = &calls.prompt else { panic!("a conversation") };
    assert_eq!(turns[1].more["tool_calls"][0]["function"]["arguments"]["x"], 1);
    assert_eq!((turns[2].more["name"].as_str(), &calls.learned_turns), (Some("f"), &vec![1]));
    assert_eq!((&told.prompt, &told.variables["a"]), (&user("once"), &serde_json::json!(1)));
    assert_eq!((&told.variables["enable_thinking"], thinks.variables.len()), (&serde_json::json!(false), 1));
    assert_eq!(told.origin.as_ref().map(|origin| origin.line), Some(5));
}

#[test]
fn turns_of_no_weight_are_not_learned() {
    let row = |weights: [&str; 2]| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"a"}},{{"role":"assistant","content":"b","weight":{}}},{{"role":"user","content":"c"}},{{"role":"assistant","content":"d","weight":{}}}]}}"#,
            weights[0], weights[1]
        )
    };
    let data = load(&[row(["1", "1"]), row(["0", "1"]), row(["1", "0"])].join("\n"), "").expect("three rows");
    let seen = data.examples.iter().map(|row| (row.learned_turns.clone(), row.completion.clone().unwrap()));
    let expected = [(vec![1], "d".to_string()), (vec![], "d".to_string()), (vec![], "b".to_string())];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    let said = refused(&row(["0", "0"]), "");
    assert!(said.contains("rows.jsonl:1: ") && said.contains("nothing is left to learn"), "{said}");
    let said = refused(&row(["0.5", "1"]), "");
    assert!(said.contains("turn 2 of `messages` has the `weight` 0.5"), "{said}");
}

#[test]
fn a_turn_that_is_none_is_named_with_its_row() {
    for (turn, what) in [
        (r#"{"role":"critic","content":"x"}"#, "turn 1 of `messages` has the role \"critic\""),
        (r#"{"role":"asistant","content":"x"}"#, "did you mean `assistant`?; in [data.template], `roles ="),
        (r#"{"role":"user"}"#, "has no `content`"),
        (r#"{"content":"x"}"#, "has no `role`"),
        (
            r#"{"role":"user","content":[{"type":"image_url","image_url":{}}]}"#,
            "a part 1 of type \"image_url\"",
        ),
        (r#"{"role":"user","content":7}"#, "has a `content` that is a number"),
        (r#""hello""#, "must be an object with `role` and `content`, not a text"),
    ] {
        let row = format!(r#"{{"messages":[{turn},{{"role":"assistant","content":"y"}}]}}"#);
        let said = refused(&row, "");
        assert!(said.contains("rows.jsonl:1: ") && said.contains(what), "{said}");
    }
}

#[test]
fn labels_are_yes_or_no_as_datasets_write_it() {
    for (label, good) in [
        ("1", true),
        ("0", false),
        ("0.0", false),
        ("\"True\"", true),
        ("\"false\"", false),
        ("\"yes\"", true),
        ("\" No\"", false),
    ] {
        let data = load(&format!(r#"{{"prompt":"p","completion":"c","label":{label}}}"#), "").expect("a row");
        assert_eq!(
            data.examples[0].feedback,
            Some(Feedback::Label { completion: "c".into(), good, weight: 1.0 }),
            "{label}"
        );
    }
}

#[test]
fn ids_that_several_files_count_anew_are_told_apart() {
    let folder = Folder::new();
    let [a, b] = ["a.jsonl", "b.jsonl"].map(|name| folder.write(name, "{\"id\": 0, \"question\": \"q\"}\n"));
    let recipe = format!("train = [{:?}, {:?}]", a.display().to_string(), b.display().to_string());
    let data: Data = toml::from_str(&recipe).expect("a sound section");
    let hub = Hub::at(PathBuf::from("nowhere"), "http://127.0.0.1:1", None, true);
    let ids: Vec<String> =
        data.load(Split::Train, &hub, 0).expect("two rows").examples.iter().map(|e| e.id.clone()).collect();
    assert_eq!(ids, ["a/0", "b/0"]);
}

#[test]
fn names_of_columns_that_nothing_reads_are_refused() {
    let data: Data =
        toml::from_str("columns = { qestion = 'x', level = 'y' }\ntemplate.user = '{{ level }}'").unwrap();
    let found: Vec<String> =
        data.check().iter().map(|misfit| format!("{}: {}", misfit.key, misfit.message)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("columns.qestion: ") && found[0].contains("did you mean `question`?"),
        "{found:?}"
    );
    let nested = load(r#"{"q":{"text":"P"}}"#, "columns.question = 'q.text'").expect("a row");
    assert_eq!(nested.examples[0].prompt, user("P"));
}

/// In plain text too: only what the template writes are tokens, in solved rows as well; ready-made prompts are their own templates.
#[test]
fn what_a_row_says_in_plain_text_has_no_special_tokens() {
    let tokenizer = speaker(CHATML);
    let bytes = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
    let ids = |rows: &str, settings: &str| -> Vec<Vec<u32>> {
        let rows = load(rows, settings).expect("sound rows").examples;
        rows.iter().map(|row| tokenizer.render_example(row).expect("ids")).collect()
    };
    let rows = "{\"question\": \"a<|im_end|>b\", \"answer\": \"1\"}\n{\"question\": \"c<|im_end|>d\", \"answer\": \"2\"}\n";
    let template = "template.chat = false\ntemplate.user = '{{ question }}<|im_end|>'";
    let expected = |said: &str| [bytes(said), vec![257]].concat();
    assert_eq!(ids(rows, template), [expected("a<|im_end|>b"), expected("c<|im_end|>d")]);
    let shown = &ids(rows, &format!("{template}\ntemplate.few_shot = 1"))[0];
    assert_eq!(*shown, [expected("c<|im_end|>d"), bytes("2\n\na<|im_end|>b"), vec![257]].concat());
    let ready = "{\"prompt\": \"a<|im_end|>b\", \"completion\": \"x\"}\n";
    assert_eq!(ids(ready, ""), [[bytes("a"), vec![257], bytes("b")].concat()]);
    let learned = |row: &str, settings: &str| {
        let row = load(row, settings).expect("a sound row").examples.remove(0);
        let text = row.completion.clone().expect("a completion");
        let prompted = rationale::data::Prompted::of(&row, &tokenizer).map_err(|error| error.to_string())?;
        Ok::<_, String>(prompted.completion(&tokenizer, &text).expect("ids"))
    };
    // So of completions that are made of columns; one that is a column by itself writes tokens.
    let end = vec![tokenizer.eos()];
    let row = "{\"question\": \"q\", \"rationale\": \"is <|im_end|> so\", \"answer\": \"<|im_end|>.\"}\n";
    assert_eq!(
        learned(row, template),
        Ok([bytes("is <|im_end|> so\n#### <|im_end|>."), end.clone()].concat())
    );
    let own = format!("{template}\ntemplate.assistant = '{{{{ rationale }}}}<|im_end|>'");
    assert_eq!(learned(row, &own), Ok([bytes("is <|im_end|> so"), vec![257], end.clone()].concat()));
    let written = "{\"question\": \"q\", \"completion\": \"a<|im_end|>\"}\n";
    assert_eq!(learned(written, template), Ok([bytes("a"), vec![257], end].concat()));
    let alone = "{\"question\": \"q\", \"answer\": \"<|im_end|>\"}\n";
    let error = learned(alone, "template.chat = false").expect_err("nobody can tell");
    assert!(error.contains("and the completion has it"), "{error}");
    let alone = load("{\"question\": \"<|im_end|>\", \"answer\": \"1\"}\n", template).expect("a sound row");
    let error = tokenizer.render_example(&alone.examples[0]).expect_err("nobody can tell").to_string();
    assert!(error.contains("`question` is the name of a special token and nothing else"), "{error}");
}

/// A byte tokenizer whose padding token is the end of a turn, with this chat template.
fn speaker(template: &str) -> Tokenizer {
    let folder = Folder::new();
    Tokenizer::bytes().save(folder.0.path()).expect("saved");
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        let text = std::fs::read_to_string(folder.0.path().join(name)).expect("saved");
        folder.write(name, &text.replace("<pad>", "<|im_end|>"));
    }
    folder.write("chat_template.jinja", template);
    Tokenizer::load(folder.0.path()).expect("loaded")
}

const CHATML: &str = "{% for m in messages %}@{{ m.role }}\n{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>\
    {% endif %}{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}@assistant\n{% endif %}";

#[test]
fn what_is_said_has_no_special_tokens_and_a_turn_ends_as_the_template_ends_it() {
    let tokenizer = speaker(CHATML);
    assert_eq!((tokenizer.eos(), tokenizer.turn_end()), (256, Some(257)));
    let bytes = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
    let ids = tokenizer.render(&user("a<|im_end|>\n@system")).expect("ids");
    let expected = [bytes("@user\na<|im_end|>\n@system"), vec![257], bytes("\n@assistant\n")].concat();
    assert_eq!(ids, expected);
    let said = tokenizer.completion(&user("q"), "fine <|im_end|>").expect("ids");
    assert_eq!(said, [bytes("fine <|im_end|>"), vec![257]].concat());
    // A text that is no conversation stands as it is written.
    let text = tokenizer.completion(&Prompt::Text("q".into()), "x<|im_end|>").expect("ids");
    assert_eq!(text, [bytes("x"), vec![257, 256]].concat());
    // A turn that has begun goes on.
    let begun = [turn("user", "q"), turn("assistant", "so ")];
    assert_eq!(tokenizer.render_chat(&begun, true).expect("text"), "@user\nq<|im_end|>\n@assistant\nso ");
}

#[test]
fn a_turn_is_learned_as_the_template_writes_it() {
    let text =
        r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","thinking":"hm","content":"5"}]}"#;
    let data = load(text, "").expect("a row");
    let learned = |template: &str| {
        let questions =
            rationale::data::Questions::new(&data, &speaker(template), 512, 1, false, 0).expect("a question");
        questions.all[0].example.completion.clone().expect("a completion")
    };
    assert_eq!(learned(CHATML), "<think>hm</think>5");
    // A template that knows no reasoning leaves the tags that are usual.
    let plain = CHATML.replace("m.reasoning_content", "m.nothing");
    assert_eq!(learned(&plain), "<think>\nhm\n</think>\n\n5");
}

/// A template that begins the reply's thinking itself, as those of models that always think do.
#[test]
fn thinking_that_the_template_has_begun_begins_once() {
    let opens = CHATML.replace("@assistant\n{% endif %}", "@assistant\n<think>\n{% endif %}");
    let closes = CHATML.replace("@assistant\n{% endif %}", "@assistant\n<think>\n\n</think>\n\n{% endif %}");
    let rows = [
        r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","reasoning_content":"hm","content":"5"}]}"#,
        r#"{"prompt":[{"role":"user","content":"q"}],"completion":"<think>\nhm\n</think>\n\n5"}"#,
    ];
    for row in rows {
        let data = load(row, "").expect("a row");
        let question = |template: &str| rationale::data::Prompted::of(&data.examples[0], &speaker(template));
        let whole = |template: &str| {
            let question = question(template).expect("a question");
            let asked = speaker(template).render_chat(&[turn("user", "q")], true).expect("text");
            asked + &question.example.completion.clone().expect("a completion")
        };
        assert!(whole(&opens).ends_with("@assistant\n<think>\nhm\n</think>\n\n5"), "{}", whole(&opens));
        let refused = question(&closes).unwrap_err().to_string();
        assert!(refused.contains("enable_thinking"), "{refused}");
    }
    // What does not think stays as it is.
    let plain = load(r#"{"prompt":[{"role":"user","content":"q"}],"completion":"5"}"#, "").expect("a row");
    for template in [&opens, &closes] {
        let question =
            rationale::data::Prompted::of(&plain.examples[0], &speaker(template)).expect("a question");
        assert_eq!(question.example.completion.as_deref(), Some("5"));
    }
}

/// What a turn says may stand in what the template writes behind it.
#[test]
fn a_turn_that_goes_on_ends_where_it_says_so() {
    let tokenizer = speaker(CHATML);
    for said in ["i", "end", "<", "|", "@assistant", "so  "] {
        let begun = [turn("user", "q"), turn("assistant", said)];
        assert_eq!(
            tokenizer.render_chat(&begun, true).expect("text"),
            format!("@user\nq<|im_end|>\n@assistant\n{said}")
        );
    }
    // A template that trims what is said leaves no white space to go on from.
    let trims = speaker(&CHATML.replace("m.content", "m.content | trim"));
    let begun = [turn("user", "q"), turn("assistant", " so ")];
    assert_eq!(trims.render_chat(&begun, true).expect("text"), "@user\nq<|im_end|>\n@assistant\nso");
}

/// Tools and variables of a row are text as its turns are.
#[test]
fn what_a_row_hands_to_the_template_has_no_special_tokens() {
    let template = CHATML.replace("{% for m", "{{ tools | tojson }}{{ note }}{% for m");
    let row = r#"{"messages":[{"role":"user","content":"q"}],"tools":[{"d":"<|im_end|>"}],"chat_template_kwargs":{"note":"<|im_end|>"}}"#;
    let data = load(row, "").expect("a row");
    let asked = rationale::data::Prompted::of(&data.examples[0], &speaker(&template)).expect("a question");
    assert_eq!(asked.tokens.iter().filter(|id| **id == 257).count(), 1, "the end of the user's turn alone");
}

/// UltraChat's rows have the first question beside the conversation.
/// Calls would be learned without the tools that are called.
#[test]
fn tools_of_a_conversation_that_are_no_list_are_refused() {
    let row = |tools: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"a"}}],"tools":{tools}}}"#
        )
    };
    for tools in [r#"{"name":"add"}"#, "3", r#""add""#, r#""{\"name\":\"add\"}""#] {
        let said = refused(&row(tools), "");
        assert!(said.contains("rows.jsonl:1: `tools` must be a list"), "{tools}: {said}");
    }
    for (tools, handed) in [("[{}]", 1), (r#""[{}]""#, 1), (r#""""#, 0), ("null", 0), (r#""null""#, 0)] {
        let read = load(&row(tools), "").expect(tools);
        assert_eq!(read.examples[0].variables.len(), handed, "{tools}");
    }
    let other = load(r#"{"question":"Which tool?","tools":"a hammer","answer":"it"}"#, "").expect("a column");
    assert!(other.examples[0].variables.is_empty());
}

#[test]
fn a_prompt_that_a_conversation_begins_with_is_part_of_it() {
    let row = |prompt: &str| {
        format!(
            r#"{{"prompt":"{prompt}","messages":[{{"role":"user","content":"Hi?"}},{{"role":"assistant","content":"a"}},{{"role":"user","content":"b"}},{{"role":"assistant","content":"c"}}]}}"#
        )
    };
    let data = load(&row("Hi?"), "").expect("a row");
    assert_eq!(
        data.examples[0].prompt,
        Prompt::Chat(vec![turn("user", "Hi?"), turn("assistant", "a"), turn("user", "b")])
    );
    assert_eq!(
        (data.examples[0].learned_turns.as_slice(), data.examples[0].completion.as_deref()),
        (&[1][..], Some("c"))
    );
    assert!(refused(&row("Ho?"), "").contains("`prompt` and `messages`"));
    // No reply goes lost: one that is not the completion itself is refused.
    let row = |completion: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"a"}}],"completion":"{completion}"}}"#
        )
    };
    assert!(refused(&row("b"), "").contains("`messages` end with another reply of the assistant's"));
    assert_eq!(load(&row("a"), "").unwrap().examples[0].completion.as_deref(), Some("a"));
}

#[test]
fn turns_that_teach_nothing_or_two_things_are_refused() {
    let row = |turns: &str| format!(r#"{{"messages":[{{"role":"user","content":"q"}},{turns}]}}"#);
    let said = |text: &str| format!(r#"{{"role":"assistant","content":"{text}"}}"#);
    let twice = refused(&row(&format!("{},{}", said("a"), said("b"))), "");
    assert!(twice.contains("turns 2 and 3") && twice.contains("make them one turn"), "{twice}");
    assert!(refused(&row(&said("")), "").contains("says nothing"));
    // In a prompt too, and before the two that are compared.
    let row =
        |turns: &str| format!(r#"{{"prompt":[{{"role":"user","content":"q"}},{turns}],"completion":"c"}}"#);
    let twice = refused(&row(&format!("{},{}", said("a"), said("b"))), "");
    assert!(twice.contains("turns 2 and 3 of `prompt`"), "{twice}");
    let empty = refused(&row(&said("")), "");
    assert!(empty.contains("turn 2 of `prompt` is the assistant's and says nothing"), "{empty}");
    let side = |last: &str| format!(r#"[{{"role":"user","content":"q"}},{},{}]"#, said("a"), said(last));
    let twice = refused(&format!(r#"{{"chosen":{},"rejected":{}}}"#, side("b"), side("c")), "");
    assert!(twice.contains("turns 2 and 3 of `chosen`"), "{twice}");
}

/// A turn that the prompt has begun is gone on with, in whatever form the completion comes and whatever is learned of it.
#[test]
fn a_completion_goes_on_in_the_turn_that_the_prompt_has_begun() {
    let tokenizer = speaker(CHATML);
    let message = |text: &str| format!(r#"[{{"role":"assistant","content":"{text}"}}]"#);
    let prompted = |rest: &str| {
        let begun = r#""prompt":[{"role":"user","content":"q"},{"role":"assistant","content":"begin "}]"#;
        let row = load(&format!("{{{begun},{rest}}}"), "").expect("a row").examples.remove(0);
        rationale::data::Prompted::of(&row, &tokenizer)
    };
    let expected = ["end".bytes().map(u32::from).collect::<Vec<_>>(), vec![257]].concat();
    let (end, other) = (message("end"), message("other"));
    for row in [r#""completion":"end""#, &format!(r#""completion":{end}"#)] {
        let asked = prompted(row).expect("a question");
        assert_eq!(tokenizer.decode(&asked.tokens), "@user\nq\n@assistant\nbegin ");
        assert_eq!(asked.completion(&tokenizer, "end").expect("ids"), expected, "{row}");
        assert_eq!(asked.example.completion.as_deref(), Some("end"), "{row}");
    }
    for row in [
        format!(r#""completion":{end},"label":true"#),
        format!(r#""chosen":{end},"rejected":{other}"#),
        r#""chosen":"end","rejected":"other""#.to_string(),
    ] {
        let asked = prompted(&row).expect("a question");
        let feedback = asked.example.feedback.as_ref().expect("a judgement");
        assert_eq!(feedback.texts()[0], "end", "{row}");
    }
    let calls = r#""completion":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{}}}]}]"#;
    let said = prompted(calls).unwrap_err().to_string();
    assert!(said.contains("the completion calls tools; make them one turn"), "{said}");
}

/// The system turn of a row's own column, where the prompt is made of a question.
#[test]
fn a_row_brings_its_system_turn() {
    let row = r#"{"question":"q","answer":"a","system":"Be brief."}"#;
    let prompt = |settings: &str| load(row, settings).expect("a row").examples[0].prompt.clone();
    let turns = |said: &str| Prompt::Chat(vec![turn("system", said), turn("user", "q")]);
    assert_eq!(prompt(""), turns("Be brief."));
    assert_eq!(prompt("template.system = 'Be kind.'"), turns("Be brief."), "the row's own comes first");
    assert_eq!(prompt("template.system = '{{ system }} Be kind.'"), turns("Be brief. Be kind."));
    assert_eq!(prompt("template.user = '{{ system }} {{ question }}'"), user("Be brief. q"));
    assert_eq!(prompt("template.chat = false"), Prompt::Text("Be brief.\n\nq".into()));
    let named = load(&row.replace("system", "rules"), "columns.system = 'rules'").expect("a row");
    assert_eq!(named.examples[0].prompt, turns("Be brief."));
    let alpaca = r#"{"instruction":"q","output":"a","system_prompt":"Be brief.","history":[["x","y"]]}"#;
    let Prompt::Chat(said) = load(alpaca, "").expect("a row").examples[0].prompt.clone() else {
        panic!("turns")
    };
    let roles: Vec<&str> = said.iter().map(|turn| turn.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    let seen = refused(r#"{"question":"<image>What?","answer":"a","images":["cat.png"]}"#, "");
    assert!(seen.contains("rows.jsonl:1: it has `images`, and only text can be learned here"), "{seen}");
    let unused = r#"{"question":"What?","answer":"a","images":["cat.png"]}"#;
    load(unused, "columns.unused = 'images'").expect("its text is enough");
}

#[test]
fn a_preference_of_negative_weight_is_refused() {
    let said = refused(r#"{"prompt":"q","chosen":"a","rejected":"b","weight":-3}"#, "");
    assert!(said.contains("`weight` is -3") && said.contains("exchange"), "{said}");
}

/// The same rows as CSV, as ShareGPT's conversations and as Alpaca's instructions.
#[test]
fn other_programs_files_are_read_as_they_are() {
    let folder = Folder::new();
    let csv = folder.write("rows.csv", "question,rationale,answer\n1+1,\"one, two\",2\n\"x, y\",,\"1,5\"\n");
    let data = load_with(&csv, "").expect("two rows");
    let [first, second] = data.examples.as_slice() else { panic!("two rows") };
    assert_eq!(
        (first.id.as_str(), second.id.as_str()),
        ("rows:2", "rows:3"),
        "lines as an editor counts them"
    );
    assert_eq!((first.prompt.clone(), first.completion.as_deref()), (user("1+1"), Some("one, two\n#### 2")));
    assert_eq!((second.prompt.clone(), second.completion.as_deref()), (user("x, y"), Some("1,5")));
    let mapped = folder.write("mapped.csv", "problem,solution\n2+2,4\n");
    let data =
        load_with(&mapped, "columns = { question = \"problem\", answer = \"solution\" }").expect("a row");
    assert_eq!(
        (data.examples[0].prompt.clone(), data.examples[0].answer.as_deref()),
        (user("2+2"), Some("4"))
    );

    let sharegpt = r#"{"conversations":[{"from":"human","value":"1+1?"},{"from":"gpt","value":"2"}],"system":"Be brief."}"#;
    let data = load(sharegpt, "").expect("a conversation");
    let turns = vec![turn("system", "Be brief."), turn("user", "1+1?")];
    assert_eq!(
        (data.examples[0].prompt.clone(), data.examples[0].completion.as_deref()),
        (Prompt::Chat(turns), Some("2"))
    );
    let alpaca = r#"{"instruction":"Add.","input":"1+1","output":"2"}"#;
    let data = load(alpaca, "").expect("an instruction");
    assert_eq!(
        (data.examples[0].prompt.clone(), data.examples[0].completion.as_deref()),
        (user("Add.\n\n1+1"), Some("2"))
    );
    // Columns that the recipe names are read as it says.
    let data = load(alpaca, "columns = { question = \"input\", completion = \"output\" }").expect("a row");
    assert_eq!(data.examples[0].prompt, user("1+1"));

    let broken = folder.write("broken.csv", "question,answer\n1+1,2,3\n");
    let said = load_with(&broken, "").expect_err("three cells").to_string();
    assert!(said.contains("broken.csv:2: 3 cells where the first line names 2 columns"), "{said}");
    let named = refused(r#"{"instruction":"Add.","response":"2"}"#, "");
    assert!(
        named.contains("columns.completion = \"response\"")
            && named.contains("columns.question = \"instruction\""),
        "{named}"
    );
}
