//! What a judge is asked. Texts of others stand between tags, and cannot close them.

use serde::Serialize;

use super::Case;
use crate::Error;
use crate::benchmark::digest::sha256;
use crate::benchmark::manifest::{Truth, TruthAblation};
use crate::prompts::render;
use crate::quoted::{quoted, quoted_json};

pub(super) fn system() -> Result<String, Error> {
    render("judge_system.md", &())
}

/// What is said about an answer that could not be read.
pub(super) fn repair(reason: &str) -> Result<String, Error> {
    #[derive(Debug, Serialize)]
    struct Fields<'a> {
        reason: &'a str,
    }
    render("judge_repair.md", &Fields { reason })
}

/// The question, for one of a judge's samples.
pub(super) fn user(case: &Case<'_>, sample: usize) -> Result<String, Error> {
    #[derive(Debug, Serialize)]
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
            ("judge_ablations.md", order.of("authors", lines), Vec::new())
        }
        Truth::Reviews { texts, .. } => {
            let texts = texts.iter().map(|text| (text.clone(), quoted(text)));
            (
                "judge_reviews.md",
                Vec::new(),
                order.of("reviews", texts.collect()),
            )
        }
    };
    let fields = Fields {
        title: quoted(case.title),
        abstract_text: quoted(case.abstract_text),
        text: case.text.map(quoted),
        plan: order.of("plan", plan.collect()),
        authors,
        reviews,
        plan_first: order.key("sides", "")[0].is_multiple_of(2),
    };
    render(template, &fields)
}

/// An ablation of either side as a line of JSON, by its name.
fn keyed_line(ablation: &TruthAblation) -> (String, String) {
    let json = serde_json::to_string(ablation).unwrap_or_default(); // texts alone, which cannot fail
    (ablation.name.clone(), quoted_json(&json))
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

#[cfg(test)]
mod tests {
    use super::*;

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
