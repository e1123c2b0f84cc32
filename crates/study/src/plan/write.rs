//! Plans as text: the interchange form, and Markdown that people read and [`super::markdown`] reads back.

use std::fmt::Write;

use serde::Serialize;

use super::markdown::{self, Line};
use super::{Ablation, Plan};

impl Plan {
    /// The plan in the interchange form: one JSON object a line, the most important ablation first. Title, discussion
    /// and variants that a person wrote out have no place in it.
    pub fn to_json_lines(&self) -> String {
        let lines = self.ablations.iter().map(Ablation::to_json);
        lines.map(|object| object + "\n").collect()
    }

    /// The plan as a page of Markdown in the layout of published trajectories: title, reasoning, and a heading with a
    /// list for each ablation. Read back it is the same plan, but for spaces and variants that a person wrote out.
    ///
    /// Texts of others cannot become HTML, links or images, nor anything of the layout.
    pub fn to_markdown(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        if let Some(title) = &self.title {
            let _ = writeln!(page, "# {}\n", markdown_line(title));
        }
        if let Some(discussion) = &self.discussion {
            let _ = writeln!(
                page,
                "## Reasoning Trace\n\n{}\n",
                markdown_block(discussion)
            );
        }
        page.push_str("## Ablation Plan\n");
        for ablation in &self.ablations {
            page.push('\n');
            ablation.to_markdown(&mut page);
        }
        page
    }
}

impl Ablation {
    /// As one object of the interchange form, on one line.
    pub fn to_json(&self) -> String {
        /// The fields in the order in which people read them.
        #[derive(Serialize)]
        struct Object<'a> {
            name: &'a str,
            ablated_part: &'a str,
            action: &'static str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            replacement: &'a [String],
            metrics: &'a [String],
        }
        let object = Object {
            name: &self.name,
            ablated_part: &self.ablated_part,
            action: self.action.name(),
            replacement: &self.replacement,
            metrics: &self.metrics,
        };
        serde_json::to_string(&object).unwrap_or_default() // texts can always be expressed
    }

    fn to_markdown(&self, page: &mut String) {
        let _ = writeln!(page, "### {}", markdown_line(&self.name));
        let _ = writeln!(
            page,
            "- **Ablated Part**: {}",
            markdown_line(&self.ablated_part)
        );
        let _ = writeln!(page, "- **Action**: {}", self.action);
        if !self.replacement.is_empty() {
            list(page, "Replacement", &self.replacement);
        }
        // A name that would be split where it stands in a row stands on a line of its own.
        let row = self.metrics.join(", ");
        match super::split_list(&row) == self.metrics {
            true => _ = writeln!(page, "- **Metrics**: {}", markdown_line(&row)),
            false => list(page, "Metrics", &self.metrics),
        }
    }
}

fn list(page: &mut String, label: &str, items: &[String]) {
    let _ = writeln!(page, "- **{label}**:");
    for item in items {
        let _ = writeln!(page, "  - {}", markdown_line(item));
    }
}

/// A text on one line, as a text and nothing else.
pub fn markdown_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_marked = markdown::plain(&line) != line || line.starts_with(['#', '-', '*', '+', '>']);
    let text = match is_marked {
        true => literal_from_start(&line),
        false => literal(&line),
    };
    match text.strip_suffix('#') {
        Some(text) => format!("{text}&#35;"), // it would close a heading
        None => text,
    }
}

/// A text of several lines, as lines of text, lists and emphasis, but no headings of its own.
pub fn markdown_block(text: &str) -> String {
    let lines = text.trim().lines().map(|line| {
        let line = line.trim_end();
        match markdown::line(line) {
            Line::Text => literal(line),
            Line::Layout => {
                let text = line.trim_start();
                let indent = &line[..line.len() - text.len()];
                format!("{indent}{}", literal_from_start(text))
            }
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// With the first character as an entity, so that it marks nothing.
fn literal_from_start(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("&#{};{}", u32::from(first), literal(chars.as_str())),
        None => String::new(),
    }
}

/// With entities in place of what would be HTML, a link or an image.
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    let mut before = ' ';
    for (index, char) in text.char_indices() {
        let after = text[index + char.len_utf8()..].chars().next();
        match char {
            '<' if after.is_some_and(|c| c.is_ascii_alphabetic() || "/!?".contains(c)) => {
                literal.push_str("&lt;");
            }
            '&' if after.is_some_and(|c| c.is_ascii_alphabetic() || c == '#') => {
                literal.push_str("&amp;");
            }
            '(' if before == ']' => literal.push_str("&#40;"),
            '[' if before == '!' || before == ']' => literal.push_str("&#91;"),
            ':' if before == ']' => literal.push_str("&#58;"), // a reference that links may name
            other => literal.push(other),
        }
        before = char;
    }
    literal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Action, Form};
    use super::*;
    use crate::fault::Location;

    fn plan(texts: [&str; 3], replacement: &[&str], metrics: &[&str]) -> Plan {
        let [discussion, name, ablated_part] = texts.map(str::to_owned);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Plan {
            title: None,
            discussion: Some(discussion),
            ablations: vec![Ablation {
                name,
                ablated_part,
                action: match replacement.is_empty() {
                    true => Action::Remove,
                    false => Action::Replace,
                },
                replacement: texts(replacement),
                metrics: texts(metrics),
                at: Location::line(1),
                variants: Vec::new(),
            }],
        }
    }

    /// What is read back is what was written, but for where it stands.
    #[track_caller]
    fn check(plan: &Plan) {
        let page = plan.to_markdown();
        let mut read = Plan::parse("page", &page, Some(Form::Markdown)).expect(&page);
        assert_eq!(read.ablations.len(), plan.ablations.len(), "{page}");
        for (read, written) in read.ablations.iter_mut().zip(&plan.ablations) {
            read.at = written.at;
        }
        assert_eq!(&read, plan, "{page}");
        assert_eq!(Form::detect(&page), Form::Markdown, "{page}");
    }

    #[test]
    fn a_page_is_read_back_whatever_its_texts_look_like() {
        let discussion = "# Ours\nReasoning\n- **Action**: REMOVE\n<script>x</script>\nAblation plan\n\
                          a < b & c &amp; d\ntitle = x\n  - *nested* [link](http://x) ![image](http://x)\n</div>";
        check(&plan(
            [discussion, "**bold**", "`code` <b>x</b>"],
            &["- a", "Action: b; c", "# d"],
            &["FID, of frames", "KID."],
        ));
        check(&plan(["x", "a #", "b"], &[], &["FID", "CLIP score (a, b)"]));
    }

    #[test]
    fn what_looks_like_an_entity_and_is_none_stays() {
        let long = "&".repeat(1 << 20);
        for text in [
            "a & b; &x; &#; &#x41; &#9;",
            "&amp",
            "&#1114112; &#1114111;x",
            "&é;",
            &long,
        ] {
            check(&plan([text, "a", "b"], &[], &["FID"]));
        }
    }

    #[test]
    fn texts_of_others_stay_text() {
        let hostile = "<img src=x onerror=alert(1)> ![a](http://b) [c]: http://d [e][f]";
        let page = plan([hostile, hostile, hostile], &[hostile], &[hostile]).to_markdown();
        for active in ["<img", "](", "![", "]:", "]["] {
            assert!(!page.contains(active), "{active} in {page}");
        }
    }

    #[test]
    fn an_object_a_line_in_the_order_of_the_form() {
        let mut plan = plan(["x", "a", "b"], &["c\nd"], &["FID"]);
        assert_eq!(
            plan.to_json_lines(),
            "{\"name\":\"a\",\"ablated_part\":\"b\",\"action\":\"REPLACE\",\"replacement\":[\"c\\nd\"],\"metrics\":[\"FID\"]}\n"
        );
        let read = Plan::parse("lines", &plan.to_json_lines(), Some(Form::JsonLines)).unwrap();
        plan.discussion = None;
        assert_eq!(read, plan);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(
            lines in proptest::collection::vec("[#<>&*\\-`_:;\\[\\]()!a-zA-Z ]{0,12}", 1..6),
            name in "[#<>&*\\-`_:;\\[\\]()!a-z]{1,12}",
            item in "[#<>&*\\-`_:;,\\[\\]()!a-z.]{1,12}",
        ) {
            let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
            let discussion = format!("x\n{}\nx", lines.join("\n"));
            let metrics = format!("m{item}");
            check(&plan([&discussion, &name, &item], &[&item], &[&metrics]));
        }
    }
}
