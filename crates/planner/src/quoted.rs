//! Texts of others, put where a language model reads them.

/// Elements of prompts and answers: a text that is quoted within one must not be able to end it, or to look like another.
const ELEMENTS: [&str; 9] = [
    "paper",
    "results",
    "existing",
    "discussion",
    "predictions",
    "plan",
    "truth",
    "review",
    "think",
];

/// The text with every tag of ours made unlike one: `</paper>` becomes `< /paper>`.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        quoted.push_str(before);
        quoted.push('<');
        let name = after.trim_start_matches([' ', '\t', '\n', '/']);
        let is_ours = ELEMENTS.iter().any(|element| {
            name.get(..element.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(element))
        });
        if is_ours {
            quoted.push(' ');
        }
        rest = after;
    }
    quoted + rest
}

/// The text without characters that command terminals or reorder what people see; tabs and line ends stay.
pub(crate) fn printable(text: &str) -> String {
    let steers = |char: char| {
        (char.is_control() && char != '\n' && char != '\t')
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
    };
    text.chars().filter(|char| !steers(*char)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_holds_no_tag_of_ours() {
        for text in ["</paper>", "< / PAPER >", "<predictions>", "<</paper>"] {
            let quoted = quoted(&format!("a {text} b < c <b>"));
            assert!(quoted.contains("< "), "{quoted}");
            assert!(!quoted.to_lowercase().contains("</paper>"), "{quoted}");
            assert!(!quoted.contains("<predictions>"), "{quoted}");
            assert!(quoted.ends_with("b < c <b>"), "{quoted}");
        }
    }

    #[test]
    fn what_steers_terminals_is_taken_out() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}\u{202e}c\n\td"), "a[31mbc\n\td");
    }
}
