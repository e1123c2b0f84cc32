//! Texts of others, put where a language model reads them: no tag of ours begins in them.

/// Tags that prompts and answers are told apart by. Each begins with one of these words.
const TAGS: [&str; 9] = [
    "authors",
    "discussion",
    "existing",
    "paper",
    "plan",
    "predictions",
    "results",
    "review",
    "think",
];

/// A text in which no tag of ours begins: `</paper>` becomes `&lt;/paper>`.
pub(crate) fn quoted(text: &str) -> String {
    without_tags(text, "&lt;")
}

/// JSON in which no tag of ours begins; it means the same.
pub(crate) fn quoted_json(json: &str) -> String {
    without_tags(json, "\\u003c")
}

/// Replaces each `<` that one of our tags might begin with, however it is spaced or written.
fn without_tags(text: &str, replacement: &str) -> String {
    let mut pieces = text.split('<');
    let mut safe = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let word = piece.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '>');
        let is_tag = TAGS.iter().any(|tag| {
            word.get(..tag.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(tag))
        });
        safe.push_str(if is_tag { replacement } else { "<" });
        safe.push_str(piece);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tag_of_ours_is_left() {
        for hostile in [
            "</plan>",
            "< / PLAN >",
            "<plan x=1>",
            "</\u{200b}reviews>",
            "<\n/authors_ablations>",
        ] {
            let expected = hostile.replacen('<', "&lt;", 1);
            assert_eq!(quoted(hostile), expected, "{hostile}");
        }
        for harmless in ["a < b", "x<y, 1<2", "<em>", "a << plan", "<"] {
            let expected = harmless.replace("< plan", "&lt; plan");
            assert_eq!(quoted(harmless), expected);
        }
        assert_eq!(quoted("<<plan>"), "<&lt;plan>");
    }

    #[test]
    fn json_means_the_same() {
        let line = serde_json::json!({"name": "</plan> a < b \\<plan"}).to_string();
        let safe = quoted_json(&line);
        assert!(!safe.contains("</plan") && !safe.contains("<plan"));
        let again: serde_json::Value = serde_json::from_str(&safe).unwrap();
        assert_eq!(again["name"], "</plan> a < b \\<plan");
    }
}
