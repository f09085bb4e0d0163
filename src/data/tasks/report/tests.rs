use super::*;
use crate::data::tasks::tests::text;
use crate::text::instruction::Instruction;
use serde_json::{Value, json};

fn rows(task: &Report, split: Split) -> Vec<Row> {
    task.rows(split, 3).unwrap()
}

/// hip and tem are low: ash. cor has tem low, dal neither of its two (ven is ok, par high), bur fro low.
fn case() -> Case {
    Case {
        findings: Findings([0, 0, 0, 2, 1, 1]),
        options: vec![2, 0, 3, 1],
        others: vec!["age 71".into(), "site q3".into()],
        site: 2,
        order: vec![6, 1, 2, 7, 0, 3, 4, 5],
        severities: SEVERITIES,
    }
}

#[test]
fn a_report_has_its_columns() {
    let (case, task) = (case(), Report::default());
    let rng = &mut ChaCha8Rng::seed_from_u64(0);
    let altered = |condition, findings| (condition, Case { findings: Findings(findings), ..case.clone() });
    // One finding more makes hip ok and bur of it, or ven high and, with hip ok, cor.
    let towards =
        [altered(2, [1, 0, 2, 2, 1, 2]), altered(3, [0, 1, 0, 0, 1, 2]), altered(1, [1, 0, 0, 2, 1, 1])];
    let fields = task.fields(0, &case, &towards, rng);
    let question = "age 71. tem low. fro low. site q3. hip low. par high. occ ok. ven ok.";
    assert_eq!(fields["question"], question);
    let lines = "(A) cor: ven high no, tem low yes: no\n(B) ash: hip low yes, tem low yes: yes\n\
                 (C) dal: ven high no, par low no: no\n(D) bur: hip ok no, fro low yes: no";
    assert_eq!(fields["rationale"], lines);
    for (name, expected) in [
        ("answer", json!("ash")),
        ("letter", json!("B")),
        ("choices", json!(["cor", "ash", "dal", "bur"])),
        ("conditions", json!(["ash"])),
        ("evidence", json!("hip low, tem low")),
        ("ranked", json!(["ash", "cor", "bur", "dal"])),
        ("difficulty", json!("1")),
        ("wrong", json!("cor")),
        ("site", json!("q3")),
        ("next", json!("give red daily")),
    ] {
        assert_eq!(fields[name], expected, "{name}");
    }
    let spans: Vec<[usize; 2]> = serde_json::from_value(fields["spans"].clone()).unwrap();
    let marked: Vec<&str> = spans.iter().map(|[start, end]| &question[*start..*end]).collect();
    assert_eq!(marked, ["tem low.", "hip low."]);
    let beside: Vec<[usize; 2]> = serde_json::from_value(fields["distractors"].clone()).unwrap();
    let beside: Vec<&str> = beside.iter().map(|[start, end]| &question[*start..*end]).collect();
    assert_eq!(beside, ["age 71.", "site q3."]);
    let negated = "(A) cor: ven high yes, tem low yes: yes\n(B) ash: hip low no, tem low yes: no\n\
                   (C) dal: ven high yes, par low no: no\n(D) bur: hip ok yes, fro low no: no";
    assert_eq!(fields["negated"], negated);
    let counterfactuals = fields["counterfactuals"].as_array().unwrap();
    assert_eq!((counterfactuals.len(), &counterfactuals[0]), (3, &json!(format!("{negated}\n#### cor"))));
    assert_eq!((&fields["rationales"][0], &fields["rationales"][1]), (&json!(negated), &json!(lines)));

    let mut styled =
        |style| Report { style, ..task.clone() }.fields(0, &case, &towards, rng)["rationale"].clone();
    let first_two = lines.lines().take(2).collect::<Vec<_>>().join("\n");
    assert_eq!(styled(Style::Chain), json!(first_two));
    assert_eq!(styled(Style::Terse), json!("hip low, tem low"));
}

/// What a question says is read again, by nothing but its words.
#[test]
fn questions_come_to_their_answers_and_no_findings_are_in_both_splits() {
    let task = Report { distractors: 4, ..Report::default() };
    let findings = |row: &Row| -> Vec<String> {
        let said = text(row, "question").split('.').map(str::trim);
        let mut found: Vec<String> =
            said.filter(|said| PARTS.iter().any(|part| said.starts_with(part))).map(String::from).collect();
        found.sort();
        found
    };
    let [train, eval] = [Split::Train, Split::Eval].map(|split| rows(&task, split));
    assert_eq!((train.len(), eval.len()), (2000, 400));
    assert_eq!(train, rows(&task, Split::Train));
    let mut answers = std::collections::BTreeMap::new();
    for row in train.iter().chain(&eval) {
        let found = findings(row);
        let of = |needs: [&str; 2]| needs.iter().all(|need| found.iter().any(|found| found == need));
        let held: Vec<&str> = [
            ("ash", ["hip low", "tem low"]),
            ("bur", ["hip ok", "fro low"]),
            ("cor", ["ven high", "tem low"]),
            ("dal", ["ven high", "par low"]),
        ]
        .into_iter()
        .filter(|(_, needs)| of(*needs))
        .map(|(name, _)| name)
        .collect();
        assert_eq!(held, [text(row, "answer")]);
        *answers.entry(text(row, "answer").to_string()).or_insert(0) += 1;
        let all = row.fields.values().filter_map(Value::as_str);
        assert!(all.flat_map(str::chars).all(|c| ALPHABET.contains(c)), "{row:?}");
    }
    // Four equal shares of 2400, three deviations 3·√(2400·3/16) = 64.
    assert!(answers.values().all(|count: &i32| (count - 600).abs() < 64), "{answers:?}");
    let trained: HashSet<Vec<String>> = train.iter().map(findings).collect();
    assert!(eval.iter().all(|row| !trained.contains(&findings(row))));
}

#[test]
fn counterfactual_rows_alter_the_least() {
    let task = Report { train: 40, counterfactuals: true, ..Report::default() };
    let rows = rows(&task, Split::Train);
    assert_eq!(rows.len(), 160);
    for four in rows.chunks(4) {
        let own = &four[0];
        assert_eq!(text(own, "altered"), "no");
        let mut names: Vec<&str> = four.iter().map(|row| text(row, "answer")).collect();
        names.sort_unstable();
        assert_eq!(names, ["ash", "bur", "cor", "dal"]);
        for row in &four[1..] {
            assert_eq!(row.fields["counterfactual_of"], own.fields["id"]);
            assert_eq!(row.fields["choices"], own.fields["choices"]);
            let words =
                |row: &Row| -> Vec<String> { text(row, "question").split(". ").map(String::from).collect() };
            let altered = words(own).iter().zip(&words(row)).filter(|(own, other)| own != other).count();
            // Two findings are enough to make a condition; another two at most are to go for others not to hold.
            assert!((1..=4).contains(&altered), "{own:?} {row:?}");
            assert!(own.fields["rationales"].as_array().unwrap().contains(&row.fields["rationale"]));
        }
        let completions = own.fields["counterfactuals"].as_array().unwrap();
        let of = |row: &Row| json!(format!("{}\n#### {}", text(row, "rationale"), text(row, "answer")));
        assert!(four[1..].iter().map(of).eq(completions.iter().cloned()));
    }
    let ids: HashSet<&str> = rows.iter().map(|row| text(row, "id")).collect();
    assert_eq!(ids.len(), 160);
}

/// In 2000 training reports a site is the condition's own in 0.8 and, by chance, in a quarter of the rest: 0.85 ± 3·√(.85·.15/2000) = .024;
/// in 400 held-out ones in a quarter ± 0.065.
#[test]
fn a_shortcut_is_there_in_training_only() {
    let agree = |split| {
        let rows = rows(&Report { shortcut: 0.8, ..Report::default() }, split);
        let own = |row: &&Row| {
            let at =
                ["ash", "bur", "cor", "dal"].iter().position(|name| text(row, "answer") == *name).unwrap();
            text(row, "site") == format!("q{}", at + 1)
        };
        rows.iter().filter(own).count() as f64 / rows.len() as f64
    };
    let (train, eval) = (agree(Split::Train), agree(Split::Eval));
    assert!((train - 0.85).abs() < 0.024 && (eval - 0.25).abs() < 0.065, "{train} {eval}");
}

#[test]
fn a_corrupt_rationale_has_one_wrong_line_under_a_right_answer() {
    for style in [Style::Options, Style::Chain] {
        let exact = Report { style, ..Report::default() };
        let task = Report { corrupt: 0.3, ..exact.clone() };
        let rows = rows(&task, Split::Train);
        let mut wrong = 0;
        for row in &rows {
            let error = row.fields["first_error"].as_i64().unwrap();
            let labels: Vec<bool> = serde_json::from_value(row.fields["labels"].clone()).unwrap();
            let steps: Vec<String> = serde_json::from_value(row.fields["steps"].clone()).unwrap();
            assert_eq!(steps.len(), labels.len());
            assert_eq!(steps[steps.len() - 1], format!("#### {}", text(row, "answer")));
            assert_eq!(labels.iter().position(|right| !right).map_or(-1, |at| at as i64), error);
            wrong += usize::from(error >= 0);
            assert!(error < steps.len() as i64 - 1);
        }
        // 2000 · 0.3 ± 3·√(2000·0.21) = 61.
        assert!(wrong.abs_diff(600) < 61, "{wrong}");
    }
}

#[test]
fn a_careless_writer_comes_to_what_is_read() {
    let task = Report { careless: 0.1, ..Report::default() };
    let rows = rows(&task, Split::Train);
    let off = rows.iter().filter(|row| text(row, "answer") != text(row, "assessed")).count();
    // Where any line says yes, the first that does is assessed.
    for row in &rows {
        let says = text(row, "rationale").lines().find(|line| line.ends_with(": yes"));
        if let Some(says) = says {
            assert!(says[4..].starts_with(text(row, "assessed")), "{row:?}");
        }
    }
    assert!((200..900).contains(&off), "{off}");
}

/// With confounding 1, `at once` is written in high season alone; the outcome is 1 for the evidence and 1.5 for the season.
#[test]
fn an_outcome_is_of_the_evidence_and_the_season() {
    let rows = rows(&Report { confounding: Some(1.0), ..Report::default() }, Split::Train);
    let (mut residuals, mut high) = (0.0, 0);
    for row in &rows {
        let season = text(row, "season") == "high";
        assert_eq!(text(row, "note").ends_with(" at once."), season);
        let named = text(row, "evidence").split(", ").all(|finding| text(row, "note").contains(finding));
        let residual = row.fields["outcome"].as_f64().unwrap()
            - f64::from(u8::from(named))
            - 1.5 * f64::from(u8::from(season));
        assert!(residual.abs() < 1.5, "{row:?}");
        residuals += residual.powi(2);
        high += usize::from(season);
    }
    let deviation = (residuals / 2000.0).sqrt();
    assert!((deviation - 0.25).abs() < 0.02 && high.abs_diff(1000) < 68, "{deviation} {high}");
}

#[test]
fn other_columns_come_with_their_keys() {
    let task = Report { multi: true, passages: 8, instructions: true, ood: true, ..Report::default() };
    let rows = rows(&task, Split::Eval);
    let several = rows.iter().filter(|row| row.fields["conditions"].as_array().unwrap().len() > 1).count();
    assert!(several > 40, "{several}");
    for row in &rows {
        let names: Vec<String> = serde_json::from_value(row.fields["conditions"].clone()).unwrap();
        assert_eq!(text(row, "answer"), names.join(", "));
        assert!(!row.fields.contains_key("choices"));
        let rule: Instruction = serde_json::from_value(row.fields["instruction"].clone()).unwrap();
        assert!(rule.holds(text(row, "complied")), "{row:?}");
        let passages = row.fields["passages"].as_array().unwrap();
        let relevant = passages[row.fields["relevant"].as_u64().unwrap() as usize].as_str().unwrap();
        assert!(passages.len() == 8 && relevant.starts_with(&format!("{} needs ", names[0])));
        let said = text(row, "question");
        assert!(!said.contains(" low") && [" small", " fine", " big"].iter().any(|word| said.contains(word)));
    }
    assert!(text(&self::rows(&task, Split::Train)[0], "evidence").contains(" low"));
}

#[test]
fn rationales_are_asked_for_at_levels() {
    let rows = rows(&Report { levels: true, ..Report::default() }, Split::Eval);
    for (row, (level, asked)) in rows.iter().zip(rationales::LEVELS.iter().cycle()) {
        assert_eq!((text(row, "level"), text(row, "question").ends_with(asked)), (*level, true));
        assert_eq!(row.fields["by_level"][level], row.fields["rationale"]);
        let said = text(row, "rationale");
        assert!(said.ends_with(&format!(" {}.", text(row, "answer"))));
        assert!(text(row, "evidence").split(", ").all(|finding| said.contains(finding)), "{said}");
        // What stands before is where it stood.
        let spans: Vec<[usize; 2]> = serde_json::from_value(row.fields["spans"].clone()).unwrap();
        assert!(spans.iter().all(|[start, end]| text(row, "question")[*start..*end].ends_with('.')));
    }
    let both = Report { levels: true, multi: true, ..Report::default() };
    assert_eq!(both.check()[0].key, "levels");
}

#[test]
fn the_section_is_checked() {
    let task: Report = toml::from_str(
        "distractors = 1\nshortcut = 1.5\ncorrupt = 0.1\ncareless = 0.1\nstyle = 'terse'\nmulti = true\ncounterfactuals = true\npassages = 2",
    )
    .unwrap();
    let keys: Vec<String> = task.check().into_iter().map(|misfit| misfit.key).collect();
    assert_eq!(keys, ["distractors", "shortcut", "corrupt", "corrupt", "counterfactuals", "passages"]);
    let error = Report { ood: true, corrupt: -1.0, ..Report::default() }.rows(Split::Eval, 0).unwrap_err();
    let said = "recipe: data.task.report.corrupt = -1.0: it is a share: from 0 to 1";
    assert_eq!((error.to_string().as_str(), error.exit_code()), (said, 2));
}
