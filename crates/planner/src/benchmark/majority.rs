//! What most judges find.
//!
//! Judges vote on each pair of an ablation of the truth and an entry of the plan, and with reviews on each entry. What
//! more than half of the judges with a valid answer match is matched; a tie is no match.
//!
//! AblationBench votes on the whole set of entries that a judge gives to an ablation of the truth. If two judges say
//! `{a}` and `{a, b}` and a third says nothing matches, no set has a majority there and the ablation is not matched,
//! though two of three found `a`; here `a` is matched. Its judges that leave an ablation out do not vote on it; here
//! they vote against.

use std::collections::BTreeSet;

use super::labels::{AblationLabel, Labels, ReviewLabel};
use super::manifest::Truth;

/// What more than half of some judges find, in the order of the truth, or with reviews in that of the plan.
///
/// ```
/// use kinvert_planner::benchmark::{Labels, Truth, TruthAblation, majority};
///
/// let judges = [r#"["a"]"#, r#"["a", "b"]"#, "null"].map(|names| {
///     Labels::parse(&format!(r#"{{"name_in_paper": "x", "name_in_plan": {names}}}"#)).expect("a label")
/// });
/// let truth = Truth::Ablations(vec![TruthAblation::named("x")]);
/// let found = majority(&judges.iter().collect::<Vec<_>>(), &["a", "b"], &truth);
/// assert_eq!(found.to_json_lines().trim(), r#"{"name_in_paper":"x","name_in_plan":"a"}"#);
/// ```
///
/// # Panics
/// If labels and truth are not of the same kind.
pub fn majority(judges: &[&Labels], plan: &[&str], truth: &Truth) -> Labels {
    match truth {
        Truth::Ablations(truths) => {
            let votes: Vec<BTreeSet<(&str, &str)>> =
                judges.iter().map(|labels| pairs(labels)).collect();
            let label = |truth: &str| {
                let matched = plan
                    .iter()
                    .filter(|entry| is_most(&votes, &(truth, **entry)));
                AblationLabel::new(truth, matched.map(|entry| (*entry).into()).collect())
            };
            Labels::Ablations(truths.iter().map(|truth| label(&truth.name)).collect())
        }
        Truth::Reviews { .. } => {
            let votes: Vec<BTreeSet<&str>> = judges.iter().map(|labels| asked(labels)).collect();
            let label = |entry: &&str| ReviewLabel {
                name_in_plan: (*entry).into(),
                appears_in_review: is_most(&votes, entry),
            };
            Labels::Reviews(plan.iter().map(label).collect())
        }
    }
}

/// Whether more than half voted for something.
fn is_most<T: Ord>(votes: &[BTreeSet<T>], what: &T) -> bool {
    2 * votes.iter().filter(|votes| votes.contains(what)).count() > votes.len()
}

/// The pairs that a judge matches.
fn pairs(labels: &Labels) -> BTreeSet<(&str, &str)> {
    let Labels::Ablations(labels) = labels else {
        panic!("labels and truth of the same kind");
    };
    let pairs = labels.iter().flat_map(|label| {
        let names = label.names().iter();
        names.map(|name| (label.name_in_paper.as_str(), name.as_str()))
    });
    pairs.collect()
}

/// The entries that a judge finds asked for.
fn asked(labels: &Labels) -> BTreeSet<&str> {
    let Labels::Reviews(labels) = labels else {
        panic!("labels and truth of the same kind");
    };
    let asked = labels.iter().filter(|label| label.appears_in_review);
    asked.map(|label| label.name_in_plan.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::manifest::TruthAblation;

    fn labels(lines: &str) -> Labels {
        Labels::parse(lines).unwrap()
    }

    fn vote(judges: &[&str], plan: &[&str], truth: &Truth) -> String {
        let judges: Vec<Labels> = judges.iter().map(|lines| labels(lines)).collect();
        majority(&judges.iter().collect::<Vec<_>>(), plan, truth).to_json_lines()
    }

    #[test]
    fn pairs_are_voted_on_and_ties_match_nothing() {
        let truth = Truth::Ablations(["x", "y"].map(TruthAblation::named).into());
        let one = r#"{"name_in_paper": "x", "name_in_plan": ["a", "b"]}"#;
        let two = r#"{"name_in_paper": "x", "name_in_plan": "b"}
                     {"name_in_paper": "y", "name_in_plan": "a"}"#;
        let three = r#"{"name_in_paper": "x", "name_in_plan": "a"}
                       {"name_in_paper": "y", "name_in_plan": null}"#;
        let none = "{\"name_in_paper\":\"y\",\"name_in_plan\":null}\n";
        let plan = ["b", "a", "c"];
        assert_eq!(
            vote(&[one, two, three], &plan, &truth),
            format!("{{\"name_in_paper\":\"x\",\"name_in_plan\":[\"b\",\"a\"]}}\n{none}")
        );
        // One of two is a tie, and so are two of four.
        let only_b = format!("{{\"name_in_paper\":\"x\",\"name_in_plan\":\"b\"}}\n{none}");
        assert_eq!(vote(&[one, two], &plan, &truth), only_b);
        let nothing = format!("{{\"name_in_paper\":\"x\",\"name_in_plan\":null}}\n{none}");
        assert_eq!(vote(&[one, two, none, none], &plan, &truth), nothing);
        // A judge has one vote, however often it says the same.
        let twice = format!("{one}\n{one}");
        assert_eq!(vote(&[&twice, none], &plan, &truth), nothing);
    }

    #[test]
    fn reviews_are_voted_on_by_entry() {
        let truth = Truth::Reviews {
            texts: Vec::new(),
            suggestions: 2,
        };
        let judge = |a: bool, b: bool| {
            format!(
                "{{\"name_in_plan\":\"a\",\"appears_in_review\":{a}}}\n\
                 {{\"name_in_plan\":\"b\",\"appears_in_review\":{b}}}\n"
            )
        };
        let three = [judge(true, false), judge(true, true), judge(false, false)];
        let three = three.each_ref().map(String::as_str);
        assert_eq!(vote(&three, &["a", "b"], &truth), judge(true, false));
        assert_eq!(vote(&three[1..], &["a", "b"], &truth), judge(false, false));
    }

    #[test]
    fn a_single_judge_is_the_majority() {
        let truth = Truth::Ablations(["x", "y"].map(TruthAblation::named).into());
        let lines = "{\"name_in_paper\":\"x\",\"name_in_plan\":[\"a\",\"b\"]}\n\
                     {\"name_in_paper\":\"y\",\"name_in_plan\":null}\n";
        assert_eq!(vote(&[lines], &["a", "b"], &truth), lines);
    }
}
