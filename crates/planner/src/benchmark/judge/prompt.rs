//! What a judge is asked. Texts of others stand between tags, and cannot close them.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use super::Case;
use crate::Error;
use crate::benchmark::digest::sha256;
use crate::benchmark::manifest::{Truth, TruthAblation};

const SYSTEM: &str = include_str!("../../prompts/judge_system.md");
const ABLATIONS: &str = include_str!("../../prompts/judge_ablations.md");
const REVIEWS: &str = include_str!("../../prompts/judge_reviews.md");
const REPAIR: &str = include_str!("../../prompts/judge_repair.md");

/// Tags that prompts and answers are told apart by. Each begins with one of these words.
const TAGS: [&str; 6] = [
    "authors",
    "discussion",
    "paper",
    "plan",
    "predictions",
    "review",
];

pub(super) fn system() -> Result<String, Error> {
    rendered(SYSTEM, ())
}

/// What is said about an answer that could not be read.
pub(super) fn repair(reason: &str) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Fields<'a> {
        reason: &'a str,
    }
    rendered(REPAIR, Fields { reason })
}

/// The question, for one of a judge's samples.
pub(super) fn user(case: &Case<'_>, sample: usize) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Fields {
        title: String,
        abstract_text: String,
        text: Option<String>,
        plan: Vec<String>,
        authors: Vec<String>,
        reviews: Vec<String>,
        plan_first: bool,
    }
    let order = Order {
        id: case.id,
        sample,
    };
    let plan = case.plan.iter().map(|entry| keyed_line(&entry.into()));
    let (template, authors, reviews) = match case.truth {
        Truth::Ablations(truths) => {
            let lines = truths.iter().map(keyed_line).collect();
            (ABLATIONS, order.of("authors", lines), Vec::new())
        }
        Truth::Reviews { texts, .. } => {
            let texts = texts.iter().map(|text| (text.clone(), plain(text)));
            (REVIEWS, Vec::new(), order.of("reviews", texts.collect()))
        }
    };
    let fields = Fields {
        title: plain(case.title),
        abstract_text: plain(case.abstract_text),
        text: case.text.map(plain),
        plan: order.of("plan", plan.collect()),
        authors,
        reviews,
        plan_first: order.key("sides", "")[0].is_multiple_of(2),
    };
    rendered(template, fields)
}

/// An ablation of either side as a line of JSON, by its name.
fn keyed_line(ablation: &TruthAblation) -> (String, String) {
    let json = serde_json::to_string(ablation).unwrap_or_default(); // texts alone, which cannot fail
    (ablation.name.clone(), json_line(&json))
}

/// Draws orders that depend on the paper and the sample, and on nothing else.
struct Order<'a> {
    id: &'a str,
    sample: usize,
}

impl Order<'_> {
    /// Texts in the order that is drawn from their keys.
    fn of(&self, side: &str, mut keyed: Vec<(String, String)>) -> Vec<String> {
        keyed.sort_by_cached_key(|(key, _)| self.key(side, key));
        keyed.into_iter().map(|(_, text)| text).collect()
    }

    fn key(&self, side: &str, key: &str) -> [u8; 32] {
        sha256([self.id, &self.sample.to_string(), side, key])
    }
}

fn rendered(template: &str, fields: impl Serialize) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    Ok(environment.render_str(template, Serde(fields))?)
}

/// Text in which no tag of ours begins.
fn plain(text: &str) -> String {
    without_tags(text, "&lt;")
}

/// A line of JSON in which no tag of ours begins; it means the same.
fn json_line(json: &str) -> String {
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
            assert_eq!(
                plain(hostile),
                hostile.replacen('<', "&lt;", 1),
                "{hostile}"
            );
        }
        for harmless in ["a < b", "x<y, 1<2", "<em>", "a << plan", "<"] {
            let expected = harmless.replace("< plan", "&lt; plan");
            assert_eq!(plain(harmless), expected);
        }
        assert_eq!(plain("<<plan>"), "<&lt;plan>");
    }

    #[test]
    fn a_line_of_json_means_the_same() {
        let line = serde_json::json!({"name": "</plan> a < b \\<plan"}).to_string();
        let safe = json_line(&line);
        assert!(!safe.contains("</plan") && !safe.contains("<plan"));
        let again: serde_json::Value = serde_json::from_str(&safe).unwrap();
        assert_eq!(again["name"], "</plan> a < b \\<plan");
    }

    #[test]
    fn orders_differ_by_paper_and_sample_and_are_fair() {
        let names: Vec<String> = (0..4).map(|index| index.to_string()).collect();
        let drawn = |id: &str, sample| {
            let keyed = names
                .iter()
                .map(|name| (name.clone(), name.clone()))
                .collect();
            Order { id, sample }.of("plan", keyed)
        };
        assert_eq!(drawn("a", 0), drawn("a", 0));
        assert!((0..20).any(|sample| drawn("a", sample) != drawn("a", 0)));
        let firsts = (0..400)
            .filter(|paper| drawn(&paper.to_string(), 0)[0] == "0")
            .count();
        assert!((60..140).contains(&firsts), "{firsts}"); // 100 ± 8.7 if each is first equally often
    }
}
