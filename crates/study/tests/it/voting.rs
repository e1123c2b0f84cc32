//! Surveys of a study's clips, and what becomes of the votes.

use std::collections::BTreeSet;

use kinvert_metrics::statistics::Bootstrap;
use kinvert_metrics::votes::{
    Answer, Ballots, OnFault, Pair, PairKind, Slot, Survey, Verdict, Vote,
};
use kinvert_study::Analysis;
use kinvert_study::results::{Outcome, Results};
use kinvert_study::voting::{
    NOISE, PAIRS, VOTES, VotingOptions, name_in_survey, noise_clip, read_votes, voting_set,
    write_voting_set,
};

use crate::sample;

fn options() -> VotingOptions {
    VotingOptions {
        comparisons: 12,
        checks: 2,
        ..VotingOptions::default()
    }
}

fn ids(survey: &Survey) -> BTreeSet<&str> {
    survey.pairs().iter().map(|pair| pair.id.as_str()).collect()
}

fn checks(survey: &Survey) -> Vec<(&Pair, Verdict)> {
    let pairs = survey.pairs().iter();
    pairs
        .filter_map(|pair| match pair.kind {
            PairKind::Check { expected } => Some((pair, expected)),
            PairKind::Comparison => None,
        })
        .collect()
}

fn results(sizes: [usize; 3]) -> (tempfile::TempDir, Results) {
    let folder = tempfile::tempdir().unwrap();
    let results = sample::results(folder.path(), sizes, |_, _| 0.0);
    (folder, results)
}

#[test]
fn pairs_are_spread_over_variants_and_clips() {
    let (folder, results) = results([3, 1, 2]);
    let survey = voting_set(&results, &options()).unwrap();
    let comparisons: Vec<&Pair> = survey.comparisons().collect();
    assert_eq!(comparisons.len(), 12);
    for variant in results.variants.iter().skip(1) {
        let of = comparisons.iter().filter(|pair| {
            [&pair.a, &pair.b]
                .iter()
                .any(|side| side.variant == variant.name)
        });
        let clips: BTreeSet<&str> = of.clone().map(|pair| pair.reference.as_str()).collect();
        assert_eq!((of.count(), clips.len()), (3, 3), "{}", variant.name);
    }
    for pair in &comparisons {
        let is_method = [&pair.a, &pair.b].map(|side| side.variant == "method");
        assert_eq!(is_method.iter().filter(|is| **is).count(), 1);
        for file in [&pair.reference, &pair.a.file, &pair.b.file] {
            assert!(folder.path().join(file).is_file(), "{file}");
        }
        // Both results are of the same cell.
        let cell = |file: &str| file.split_once('-').unwrap().1.to_owned();
        assert_eq!(cell(&pair.a.file), cell(&pair.b.file));
    }
    let methods_on_a = comparisons
        .iter()
        .filter(|pair| pair.a.variant == "method")
        .count();
    assert!(
        (1..12).contains(&methods_on_a),
        "the sides are drawn by lot"
    );
    assert_eq!(survey, voting_set(&results, &options()).unwrap());
}

#[test]
fn ids_do_not_depend_on_what_else_is_in_the_study() {
    let (_folder, mut results) = results([2, 1, 2]);
    let all = VotingOptions {
        comparisons: 1000,
        ..options()
    };
    let before = voting_set(&results, &all).unwrap();
    results.variants.swap_remove(2);
    let after = voting_set(&results, &all).unwrap();
    assert_eq!(before.comparisons().count(), 16);
    assert_eq!(after.comparisons().count(), 12);
    let comparisons: Survey = Survey::new(after.comparisons().cloned().collect()).unwrap();
    assert!(ids(&comparisons).is_subset(&ids(&before)));
    let pairs = VotingOptions {
        all_pairs: true,
        ..all
    };
    assert_eq!(
        voting_set(&results, &pairs).unwrap().comparisons().count(),
        6 * 4
    );
}

#[test]
fn checks_have_the_answer_that_anybody_who_looks_gives() {
    let (folder, results) = results([2, 1, 2]);
    let survey = voting_set(&results, &options()).unwrap();
    write_voting_set(&results, &survey).unwrap();
    let checks = checks(&survey);
    assert_eq!(checks.len(), 4);
    for (pair, expected) in checks {
        match expected {
            Verdict::Equal => assert_eq!(pair.a.file, pair.b.file),
            Verdict::A => assert_eq!(pair.b.file, NOISE),
            Verdict::B => assert_eq!(pair.a.file, NOISE),
        }
    }
    let noise = kinvert_video::read_clip(&folder.path().join(NOISE), &Default::default()).unwrap();
    let reference = &results.references[0];
    assert_eq!(noise.len(), reference.frames);
    assert_eq!([noise.width(), noise.height()], [64, 64]);
    let (read, warnings) = Survey::read(&folder.path().join(PAIRS)).unwrap();
    assert_eq!((read, warnings), (survey, vec![]));
}

#[test]
fn clips_that_are_not_there_are_not_asked_about() {
    let (_folder, mut results) = results([2, 1, 1]);
    for cell in &mut results.cells {
        match &mut cell.outcome {
            Outcome::Done(measured) if cell.id.reference == 0 => measured.clip = None,
            outcome if cell.id.variant_hash == results.variants[1].hash => {
                *outcome = Outcome::Waiting;
            }
            _ => {}
        }
    }
    let survey = voting_set(&results, &options()).unwrap();
    assert_eq!(survey.comparisons().count(), 3);
    for cell in &mut results.cells {
        cell.outcome = Outcome::Waiting;
    }
    assert!(voting_set(&results, &options()).unwrap().pairs().is_empty());
}

#[test]
fn names_and_prompts_that_no_survey_can_hold_are_made_fit() {
    let (folder, mut results) = results([1, 1, 1]);
    results.variants[1].name = " two\nlines ".into();
    results.variants[2].name = "é".repeat(300);
    results.study.prompts[0] = format!("  {}  ", "é".repeat(20_000));
    let survey = voting_set(&results, &options()).unwrap();
    write_voting_set(&results, &survey).unwrap();
    assert_eq!(Survey::read(&folder.path().join(PAIRS)).unwrap().0, survey);
    assert_eq!(name_in_survey("values only"), "values only");
    let [one, other] = ["a\nb", "a\rb"].map(name_in_survey);
    assert!(one != other && one.starts_with("a b ("), "{one} {other}");
}

#[test]
fn a_noise_clip_has_bounds() {
    let (_folder, mut results) = results([1, 1, 1]);
    assert_eq!(noise_clip(&results).unwrap(), noise_clip(&results).unwrap());
    for size in [
        [0, 64],
        [usize::MAX, 2],
        [1 << 20, 1 << 20],
        [5_000_000_000, 1],
    ] {
        results.references[0].size = size;
        assert!(noise_clip(&results).is_err(), "{size:?}");
    }
    results.references.clear();
    assert!(noise_clip(&results).is_err());
}

#[test]
fn votes_come_into_the_tables() {
    let (folder, results) = results([2, 1, 2]);
    let bootstrap = Bootstrap::new(200, 0).unwrap();
    let read = || read_votes(folder.path(), OnFault::Refuse, &bootstrap);
    assert_eq!(read().unwrap(), None);
    let survey = voting_set(&results, &options()).unwrap();
    write_voting_set(&results, &survey).unwrap();
    assert_eq!(read().unwrap(), None, "pairs, but no votes");

    // Three raters who always take the method over `values only` and find everything else about equal.
    let answer = |pair: &Pair| {
        let verdict = match pair.kind {
            PairKind::Check { expected } => expected,
            PairKind::Comparison if pair.a.variant == "values only" => Verdict::B,
            PairKind::Comparison if pair.b.variant == "values only" => Verdict::A,
            PairKind::Comparison => Verdict::Equal,
        };
        match verdict {
            Verdict::A => Answer::Left,
            Verdict::B => Answer::Right,
            Verdict::Equal => Answer::Equal,
        }
    };
    let votes = ["r1", "r2", "r3"]
        .into_iter()
        .flat_map(|rater| survey.pairs().iter().map(move |pair| (rater, pair)));
    let votes = votes.map(|(rater, pair)| {
        let answer = answer(pair);
        Vote {
            pair: pair.id.clone(),
            rater: rater.into(),
            left: Slot::A,
            motion: answer,
            text: answer,
            preference: answer,
            seconds: 4.0,
            time: None,
        }
    });
    let ballots = Ballots::new(&survey, votes.collect()).unwrap();
    ballots.write(&folder.path().join(VOTES)).unwrap();
    let report = read().unwrap().unwrap();
    assert_eq!((report.raters.kept, report.raters.left_out.len()), (3, 0));

    let found = Analysis::of(&results, Some(report), &bootstrap).unwrap();
    let measures = &mut found.measures.iter();
    let column = measures
        .position(|info| info.name == "user_preference")
        .unwrap();
    assert_eq!(found.measures[column].model, "36 votes of 3 people");
    let table = &found.tables[0];
    let row = table
        .rows
        .iter()
        .find(|row| row.name == "values only")
        .unwrap();
    let estimate = &row.estimates[column];
    assert_eq!(estimate.summary.unwrap().mean, 0.0);
    assert_eq!(
        (estimate.summary.unwrap().values, estimate.comparison),
        (9, None)
    );
    let reading = table
        .readings
        .iter()
        .find(|text| text.starts_with("values only"))
        .unwrap();
    assert!(
        reading.contains("Against method it won 0 % [0 %, 0 %] of 9 votes, ties as half wins."),
        "{reading}"
    );

    std::fs::write(folder.path().join(VOTES), "pair,rater\n").unwrap();
    assert!(read().is_err());
}
