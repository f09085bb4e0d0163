//! The page: its text, its script and its style, with what it shows as JSON between them.

use crate::digest::base64;
use crate::error::{Error, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page/style.css");
/// In the order in which they are run.
const SCRIPTS: [&str; 7] = [
    include_str!("page/text.js"),
    include_str!("page/curves.js"),
    include_str!("page/samples.js"),
    include_str!("page/rationales.js"),
    include_str!("page/sections.js"),
    include_str!("page/trials.js"),
    include_str!("page/start.js"),
];

/// A page, called `title`, that shows `content`. Its policy lets this script and this style in and nothing else, and no connection.
pub(super) fn page(title: &str, content: &Value) -> Result<String> {
    let script = format!("\"use strict\";\n{}", SCRIPTS.concat());
    let json = serde_json::to_string(content)
        .map_err(|error| Error::Checkpoint(format!("the report cannot be written: {error}")))?;
    let (of_script, of_style) = (source(&script), source(STYLE));
    let policy = format!(
        "default-src 'none'; script-src {of_script}; style-src {of_style}; base-uri 'none'; form-action 'none'"
    );
    let title = escaped(title);
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main id=\"main\"><h1>{title}</h1>\
         <noscript><p>This report is shown by its script, which is in this file and asks for nothing outside it. \
         The same figures are in metrics.jsonl and table.md beside it, those of trials in comparison.md.</p></noscript></main>\n\
         <script type=\"application/json\" id=\"content\">{}</script>\n<script>{script}</script>\n</body>\n</html>\n",
        inert(&json)
    ))
}

/// What a policy calls a script or style by.
fn source(text: &str) -> String {
    format!("'sha256-{}'", base64(&Sha256::digest(text)))
}

/// JSON that no parser of HTML finds anything in.
fn inert(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text += &format!("\\u{:04x}", c as u32),
            c => text.push(c),
        }
    }
    text
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_shown_cannot_leave_its_place() {
        let hostile = "</script><script>alert(1)</script><!--<script> & \u{2028}";
        let html = page("<b>\"run\"</b>", &json!({ "text": hostile, hostile: 1 })).unwrap();
        // Of tags there are the page's own: what holds the JSON, the script, and the style.
        assert_eq!(html.matches("<script").count(), 2);
        assert_eq!(html.matches("</script").count(), 2);
        assert!(!html.contains("alert(1)</") && !html.contains("<!--") && !html.contains("<b>"));
        let json = html.split("id=\"content\">").nth(1).unwrap().split("</script>").next().unwrap();
        let read: Value = serde_json::from_str(json).unwrap();
        assert_eq!(read["text"], hostile);
        assert!(html.contains("<title>&lt;b&gt;&quot;run&quot;&lt;/b&gt;</title>"));
    }

    #[test]
    fn the_policy_lets_in_what_is_there_and_nothing_else() {
        let html = page("run", &json!({})).unwrap();
        let within = |open: &str, close: &str| html.split(open).nth(1).unwrap().split(close).next().unwrap();
        for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
            assert!(html.contains(&source(within(open, close))), "{open}");
        }
        assert!(html.contains("default-src 'none'"));
        // Nothing is asked for from elsewhere, and nothing is made of text but text.
        let html = html.replace("http://www.w3.org/2000/svg", "");
        for word in
            ["http:", "https:", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write"]
        {
            assert!(!html.contains(word), "{word}");
        }
    }
}
