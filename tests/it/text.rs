//! ROUGE-L against the `rouge-score` package.

use rationale::text::rouge::rouge_l;
use serde_json::Value;

#[test]
fn rouge_l_is_that_of_rouge_score() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("../fixtures/text/rouge.json")).unwrap();
    assert_eq!(rows.len(), 10);
    for row in rows {
        let (text, reference) = (row["text"].as_str().unwrap(), row["reference"].as_str().unwrap());
        let (found, expected) = (rouge_l(text, reference), row["f"].as_f64().unwrap());
        assert!((found - expected).abs() < 1e-12, "{text} | {reference}: {found} {expected}");
    }
}
