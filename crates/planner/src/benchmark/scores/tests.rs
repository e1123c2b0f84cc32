use proptest::prelude::*;

use super::*;
use crate::benchmark::manifest::TruthAblation;

fn matches(relevant: &[u8], found: usize, truths: usize) -> Matches {
    Matches {
        relevant: relevant.iter().map(|relevant| *relevant == 1).collect(),
        found,
        truths,
    }
}

fn ndcg(relevant: &[u8], truths: usize) -> f64 {
    let found = relevant.iter().filter(|relevant| **relevant == 1).count();
    let scores = matches(relevant, found.min(truths), truths).scores();
    scores.unwrap().ndcg_score
}

#[test]
fn ndcg_is_what_a_hand_gives() {
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 5e-5, "{found}");
    // Discounts of the ranks: 1, 0.63093, 0.5, 0.43068, 0.38685.
    close(ndcg(&[1, 0, 1, 0, 0], 2), 1.5 / 1.63093);
    close(ndcg(&[0, 0, 0, 0, 1], 1), 0.38685);
    close(ndcg(&[1, 0, 0], 5), 1.0 / 2.13093); // the plan is shorter than the truth
    close(ndcg(&[0, 1, 1], 1), 1.13093 / 1.63093); // two entries match the only truth
    // Nothing better is left: one relevant entry for each truth, first of all.
    assert_eq!(ndcg(&[1, 1, 0, 0], 2), 1.0);
    assert_eq!(ndcg(&[1, 1, 1], 5), 1.0);
    assert_eq!(ndcg(&[1, 1, 1, 0], 2), 1.0);
    assert_eq!(ndcg(&[0, 0], 2), 0.0);
}

#[test]
fn an_empty_plan_scores_nothing_and_a_paper_without_truths_has_no_scores() {
    let nothing = Scores {
        precision: 0.0,
        recall: 0.0,
        f1_score: 0.0,
        ndcg_score: 0.0,
    };
    assert_eq!(matches(&[], 0, 3).scores(), Some(nothing));
    assert_eq!(matches(&[0, 0], 0, 3).scores(), Some(nothing));
    assert_eq!(matches(&[0], 0, 0).scores(), None);
}

#[test]
fn labels_count_by_name_and_up_to_the_first_k() {
    let truth = Truth::Ablations(["1", "2", "3", "3"].map(TruthAblation::named).into());
    let labels = Labels::parse(
        r#"{"name_in_paper": "1", "name_in_plan": ["a", "nobody's"]}
           {"name_in_paper": "2", "name_in_plan": "c"}
           {"name_in_paper": "3", "name_in_plan": "c"}
           {"name_in_paper": "nobody's", "name_in_plan": "b"}"#,
    )
    .unwrap();
    let all = Matches::of(&labels, &["a", "b", "c"], &truth, None);
    assert_eq!(all, matches(&[1, 0, 1], 4, 4)); // `c` finds 2 and both that are named 3
    let first = Matches::of(&labels, &["a", "b", "c"], &truth, NonZeroUsize::new(2));
    assert_eq!(first, matches(&[1, 0], 1, 4));
    let beyond = Matches::of(&labels, &["a"], &truth, NonZeroUsize::new(7));
    assert_eq!(beyond, matches(&[1], 1, 4));
}

#[test]
fn no_more_suggestions_are_found_than_there_are() {
    let labels = Labels::Reviews(
        ["a", "b", "c"]
            .map(|name| crate::benchmark::labels::ReviewLabel {
                name_in_plan: name.into(),
                appears_in_review: name != "b",
            })
            .into(),
    );
    let truth = |suggestions| Truth::Reviews {
        texts: Vec::new(),
        suggestions,
    };
    let of = |suggestions| Matches::of(&labels, &["a", "b", "c"], &truth(suggestions), None);
    assert_eq!(of(1), matches(&[1, 0, 1], 1, 1));
    assert_eq!(of(1).scores().unwrap().precision, 2.0 / 3.0);
    assert_eq!(of(4).scores().unwrap().recall, 0.5);
    assert_eq!(of(0).scores(), None);
}

#[test]
fn means_are_of_papers() {
    let papers = [
        matches(&[1, 0], 1, 1).scores().unwrap(),
        matches(&[0, 0], 0, 1).scores().unwrap(),
    ];
    let means = ScoreMeans::of(&papers).unwrap().unwrap();
    assert_eq!((means.precision.mean, means.recall.mean), (0.25, 0.5));
    // Of 0.5 and 0: √(2 · 0.25²).
    assert_eq!(means.precision.standard_deviation, Some(0.125_f64.sqrt()));
    assert_eq!(ScoreMeans::of(&[]).unwrap(), None);
}

/// Which truths each entry matches.
fn plans() -> impl Strategy<Value = (Vec<BTreeSet<usize>>, usize)> {
    (1..6_usize).prop_flat_map(|truths| {
        let entry = prop::collection::btree_set(0..truths, 0..=truths);
        (prop::collection::vec(entry, 0..8), Just(truths))
    })
}

fn of_sets(entries: &[BTreeSet<usize>], truths: usize) -> Matches {
    let found: BTreeSet<usize> = entries.iter().flatten().copied().collect();
    Matches {
        relevant: entries.iter().map(|entry| !entry.is_empty()).collect(),
        found: found.len(),
        truths,
    }
}

proptest! {
    #[test]
    fn scores_stay_within_their_bounds((entries, truths) in plans()) {
        let scores = of_sets(&entries, truths).scores().unwrap();
        for score in [scores.precision, scores.recall, scores.f1_score, scores.ndcg_score] {
            prop_assert!((0.0..=1.0).contains(&score), "{scores:?}");
        }
        prop_assert!(scores.f1_score <= scores.precision.max(scores.recall) + 1e-12);
        prop_assert!(scores.f1_score >= scores.precision.min(scores.recall) - 1e-12);
    }

    #[test]
    fn ndcg_is_one_only_where_no_ranking_is_better((entries, truths) in plans()) {
        let matches = of_sets(&entries, truths);
        let relevant = matches.relevant.iter().filter(|relevant| **relevant).count();
        let ideal = entries.len().min(truths).max(relevant);
        let is_best = ideal > 0 && matches.relevant[..ideal].iter().all(|relevant| *relevant);
        let scores = matches.scores().unwrap();
        prop_assert_eq!(scores.ndcg_score == 1.0, is_best);
    }

    #[test]
    fn a_better_order_of_the_same_entries_changes_ndcg_alone((entries, truths) in plans()) {
        let mut sorted = entries.clone();
        sorted.sort_by_key(BTreeSet::is_empty); // the relevant ones first
        let [found, best] = [entries, sorted].map(|entries| of_sets(&entries, truths).scores().unwrap());
        prop_assert_eq!(found.precision, best.precision);
        prop_assert_eq!(found.recall, best.recall);
        prop_assert!(best.ndcg_score >= found.ndcg_score);
    }

    #[test]
    fn one_match_more_never_lowers_recall_or_precision(
        (entries, truths) in plans(),
        entry in any::<prop::sample::Index>(),
        truth in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!entries.is_empty());
        let mut more = entries.clone();
        more[entry.index(entries.len())].insert(truth.index(truths));
        let [before, after] = [entries, more].map(|entries| of_sets(&entries, truths).scores().unwrap());
        prop_assert!(after.recall >= before.recall);
        prop_assert!(after.precision >= before.precision);
    }

    #[test]
    fn one_entry_more_never_lowers_recall((entries, truths) in plans(), truth in any::<prop::sample::Index>()) {
        let mut more = entries.clone();
        more.push(BTreeSet::from([truth.index(truths)]));
        let [before, after] = [entries, more].map(|entries| of_sets(&entries, truths).scores().unwrap());
        prop_assert!(after.recall >= before.recall);
    }
}
