//! Surveys and votes: files, faults, and what is counted from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinvert_metrics::Error;
use kinvert_metrics::statistics::Bootstrap;
use kinvert_metrics::votes::{
    Answer, Ballots, Candidate, OnFault, Pair, PairKind, Question, Report, ReportOptions, Slot,
    Survey, Verdict, Vote,
};
use proptest::prelude::*;

const PAIR_HEADER: &str = "pair,kind,expected,reference,prompt,a_variant,a_file,b_variant,b_file";
const VOTE_HEADER: &str = "pair,rater,left,motion,text,preference,seconds,time";

fn pair(id: &str, a: &str, b: &str, kind: PairKind) -> Pair {
    let candidate = |variant: &str| Candidate {
        variant: variant.into(),
        file: format!("{id}-{variant}.mp4"),
    };
    Pair {
        id: id.into(),
        reference: "bounce.mp4".into(),
        prompt: "a yellow star".into(),
        a: candidate(a),
        b: candidate(b),
        kind,
    }
}

fn comparison(id: &str, a: &str, b: &str) -> Pair {
    pair(id, a, b, PairKind::Comparison)
}

fn check(id: &str, expected: Verdict) -> Pair {
    pair(id, "full", "noise", PairKind::Check { expected })
}

/// The same verdict to all questions, with the first result on the left.
fn vote(rater: &str, pair: &str, verdict: Verdict) -> Vote {
    let answer = match verdict {
        Verdict::A => Answer::Left,
        Verdict::Equal => Answer::Equal,
        Verdict::B => Answer::Right,
    };
    Vote {
        pair: pair.into(),
        rater: rater.into(),
        left: Slot::A,
        motion: answer,
        text: answer,
        preference: answer,
        seconds: 4.0,
        time: None,
    }
}

fn options() -> ReportOptions {
    ReportOptions {
        bootstrap: Bootstrap::new(1000, 0).unwrap(),
        ..ReportOptions::default()
    }
}

fn report(survey: &Survey, votes: Vec<Vote>, options: &ReportOptions) -> Report {
    Report::new(&Ballots::new(survey, votes).unwrap(), options).unwrap()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/votes")
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn small_survey() -> Survey {
    Survey::new(vec![
        comparison("p1", "full", "plain"),
        comparison("p2", "plain", "full"),
    ])
    .unwrap()
}

/// What reading a file of votes on [`small_survey`] says.
fn refused(name: &str, text: impl AsRef<[u8]>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), name, text);
    let error = Ballots::read(&small_survey(), &[path], OnFault::Refuse).unwrap_err();
    error.to_string()
}

#[test]
fn what_was_clicked_is_resolved_by_the_order_shown() {
    let mut one = vote("r", "p1", Verdict::A);
    assert_eq!(one.verdict(Question::Motion), Verdict::A);
    one.left = Slot::B;
    assert_eq!(one.verdict(Question::Motion), Verdict::B);
    one.text = Answer::Equal;
    one.preference = Answer::Right;
    assert_eq!(one.verdict(Question::Text), Verdict::Equal);
    assert_eq!(one.verdict(Question::Preference), Verdict::A);
}

#[test]
fn every_faulty_vote_is_told_with_its_line() {
    let rows = [
        VOTE_HEADER,
        "p1,r1,a,left,left,left,3,",
        "p9,r1,a,left,left,left,3,",
        "p1,r1,a,left,left,left,3,",
        "p2,r1,c,lft,left,left,3,",
        "p2,r1,a,left,left,left,-3,",
        "p2,r1,a,left,left,left,inf,",
        "p2,r1,a,left,left,left,NaN,",
        "p2,r1,a,left,left,left,soon,",
        "p2,,a,left,left,left,3,",
        "p2,r1,a,left,left,left,3,yesterday",
        "p2,r1,a,left",
        ",r1,a,left,left,left,3,",
        "p2,r1,A, Right ,EQUAL,left,0,2026-03-01T12:00:00Z",
    ];
    let text = rows.join("\n");
    let told = refused("votes.csv", &text);
    assert!(told.starts_with("11 faulty votes:"), "{told}");
    for expected in [
        "votes.csv line 3: the survey has no pair \"p9\"",
        "line 4: the rater \"r1\" has voted on the pair \"p1\" already: ",
        "line 5: `left` is \"c\", expected a or b; `motion` is \"lft\", expected left, right or equal",
        "line 6: `seconds` is -3, expected a finite number that is not negative",
        "line 7: `seconds` is inf",
        "line 8: `seconds` is NaN",
        "line 9: `seconds` is \"soon\", expected a number",
        "line 10: `rater` is empty",
        "line 11: `time` is \"yesterday\"",
        "line 12: has 4 cells, expected 8",
        "line 13: `pair` is empty",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }

    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "votes.csv", &text);
    let survey = small_survey();
    let import = Ballots::read(&survey, &[path], OnFault::Skip).unwrap();
    assert_eq!(
        (import.skipped.count(), import.ballots.votes().len()),
        (11, 2)
    );
    let last = &import.ballots.votes()[1];
    assert_eq!((last.motion, last.text), (Answer::Right, Answer::Equal));
}

#[test]
fn long_lists_of_faults_are_cut() {
    let rows = "p9,r1,a,left,left,left,3,\n".repeat(60);
    let told = refused("votes.csv", format!("{VOTE_HEADER}\n{rows}"));
    assert!(told.starts_with("60 faulty votes:"), "{told}");
    assert!(
        told.ends_with("and 10 more") && told.lines().count() == 52,
        "{told}"
    );
}

#[test]
fn files_that_are_no_tables_are_refused() {
    for (name, text, expected) in [
        (
            "votes.csv",
            "".as_bytes(),
            "the first line is empty, expected the columns `pair`",
        ),
        (
            "votes.csv",
            b"pair,rater,left,motion,text,preference\n",
            "expected the columns `seconds` too",
        ),
        ("votes.csv", VOTE_HEADER.as_bytes(), "holds no votes"),
        (
            "votes.csv",
            b"pair,pair,rater,left,motion,text,preference,seconds\n",
            "has the columns `pair` twice",
        ),
        ("votes.csv", b"pair\n\xff\xfe", "line 2 is no UTF-8 text"),
        ("votes.jsonl", b"\n\n", "holds no votes"),
        (
            "votes.txt",
            b"",
            "expected a name that ends in .csv or .jsonl",
        ),
        ("votes", b"", "expected a name that ends in .csv or .jsonl"),
        (
            "votes.jsonl",
            b"{\"pair\": 1",
            "votes.jsonl line 1: expected a JSON object",
        ),
        ("votes.jsonl", b"[1, 2]", "line 1: expected a JSON object"),
        (
            "votes.jsonl",
            br#"{"pair":[1],"rater":"r","left":"a","motion":"left","text":"left","preference":"left","seconds":3}"#,
            "line 1: `pair` is neither text nor a number",
        ),
        (
            "votes.jsonl",
            b"{}",
            "line 1: lacks `pair`, `rater`, `left`, `motion`, `text`, `preference`, `seconds`",
        ),
    ] {
        let told = refused(name, text);
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let survey = small_survey();
    let missing = Ballots::read(&survey, &["no/votes.csv".into()], OnFault::Refuse);
    assert!(matches!(missing, Err(Error::Io { .. })));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("votes.csv");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len((64 << 20) + 1).unwrap(); // a hole, which takes no space
    let error = Ballots::read(&small_survey(), &[path], OnFault::Skip).unwrap_err();
    assert!(error.to_string().contains("larger than 64 MiB"), "{error}");
}

#[test]
fn files_of_spreadsheets_and_other_columns_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{feff}Rater,pair,browser,left,motion,text,preference,seconds\r\nr1, p1 ,x,b,left,right,equal,2.5\r\n";
    let one = write(folder.path(), "one.csv", text);
    let text = r#"{"pair":"p2","rater":7,"left":"a","motion":"left","text":"left","preference":"left","seconds":3,"time":null}"#;
    let two = write(folder.path(), "two.ndjson", text);
    let survey = small_survey();
    let import = Ballots::read(&survey, &[one, two], OnFault::Refuse).unwrap();
    let raters: Vec<&str> = import
        .ballots
        .votes()
        .iter()
        .map(|v| v.rater.as_str())
        .collect();
    assert_eq!(raters, ["7", "r1"]);
    let warnings = import.warnings.join("\n");
    assert!(
        warnings.contains("the columns \"browser\" are not known"),
        "{warnings}"
    );
}

#[test]
fn faulty_pairs_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [
        PAIR_HEADER,
        "p1,comparison,,ref.mp4,star,full,a.mp4,plain,b.mp4",
        "p1,comparison,,ref.mp4,star,full,a.mp4,plain,b.mp4",
        "p2,comparison,a,ref.mp4,star,full,a.mp4,plain,b.mp4",
        "p3,check,,ref.mp4,star,full,a.mp4,full,a.mp4",
        "p4,comparison,,ref.mp4,star,full,a.mp4,full,b.mp4",
        "p5,compare,,ref.mp4,star,full,a.mp4,plain,b.mp4",
        "p6,check,left,ref.mp4,star,full,a.mp4,plain,b.mp4",
        "p7,check,equal,,,full,,full,a.mp4",
    ];
    let path = write(folder.path(), "pairs.csv", rows.join("\n"));
    let told = Survey::read(&path).unwrap_err().to_string();
    assert!(told.starts_with("7 faulty pairs:"), "{told}");
    for expected in [
        "line 3: the pair \"p1\" is there already: ",
        "line 4: `expected` is given",
        "line 5: `expected` is empty, expected a, b or equal for a check",
        "line 6: compares the variant \"full\" with itself",
        "line 7: `kind` is \"compare\", expected comparison or check",
        "line 8: `expected` is \"left\", expected a, b or equal",
        "line 9: `reference` is empty; `a_file` is empty",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let long = comparison(&"x".repeat(201), "full", "plain");
    let control = comparison("p\n", "full", "plain");
    let error = Survey::new(vec![long, control]).unwrap_err().to_string();
    assert!(error.contains("entry 1: `pair` has 201 bytes"), "{error}");
    assert!(
        error.contains("entry 2: `pair` holds a control character"),
        "{error}"
    );
}

#[test]
fn json_of_pairs_and_votes_has_the_columns_of_the_files() {
    let pair = serde_json::to_value(check("p1", Verdict::Equal)).unwrap();
    let mut columns: Vec<&str> = PAIR_HEADER.split(',').collect();
    columns.sort_unstable();
    let mut keys: Vec<&String> = pair.as_object().unwrap().keys().collect();
    keys.sort_unstable();
    assert_eq!(keys, columns);
    let mut one = vote("r1", "p1", Verdict::A);
    one.time = Some("0".parse().unwrap());
    let one = serde_json::to_value(one).unwrap();
    let mut columns: Vec<&str> = VOTE_HEADER.split(',').collect();
    columns.sort_unstable();
    let mut keys: Vec<&String> = one.as_object().unwrap().keys().collect();
    keys.sort_unstable();
    assert_eq!(keys, columns);
}

#[test]
fn the_order_of_a_rater_is_random_balanced_and_always_the_same() {
    let mut pairs: Vec<Pair> = (0..20)
        .map(|i| comparison(&format!("p{i}"), "full", "plain"))
        .collect();
    pairs.extend((0..4).map(|i| check(&format!("c{i}"), Verdict::A)));
    let survey = Survey::new(pairs).unwrap();
    let shown = survey.presentations("r1", 7);
    assert_eq!(shown, survey.presentations("r1", 7));
    assert_ne!(shown, survey.presentations("r2", 7));
    assert_ne!(shown, survey.presentations("r1", 8));
    let mut ids: Vec<&str> = shown.iter().map(|one| one.pair.id.as_str()).collect();
    // A check in every quarter.
    for quarter in ids.chunks(6) {
        assert_eq!(
            quarter.iter().filter(|id| id.starts_with('c')).count(),
            1,
            "{ids:?}"
        );
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 24);
    assert_eq!(shown.iter().filter(|one| one.left == Slot::A).count(), 12);

    // Over many raters each pair stands at each place, and on each side, about equally often.
    let firsts = (0..600).map(|rater| survey.presentations(&rater.to_string(), 0)[..6].to_vec());
    let mut seen = BTreeMap::<&str, [usize; 2]>::new();
    for one in firsts.flatten().filter(|one| one.pair.id.starts_with('p')) {
        seen.entry(&one.pair.id).or_default()[usize::from(one.left == Slot::A)] += 1;
    }
    assert_eq!(seen.len(), 20);
    for (id, counts) in seen {
        // Binomial(600, 1/8): mean 75, standard deviation 8.
        assert!(
            counts.iter().all(|count| (40..110).contains(count)),
            "{id} {counts:?}"
        );
    }
    let unchecked = small_survey();
    assert_eq!(unchecked.presentations("r1", 0).len(), 2);
    assert!(
        Survey::new(vec![])
            .unwrap()
            .presentations("r1", 0)
            .is_empty()
    );
}

/// Three of four comparisons won: a win rate of 3/4 and, with two variants, odds of wins over losses.
#[test]
fn two_variants_have_closed_forms() {
    let survey = small_survey();
    let votes = vec![
        vote("r1", "p1", Verdict::A),
        vote("r1", "p2", Verdict::B),
        vote("r2", "p1", Verdict::A),
        vote("r2", "p2", Verdict::A),
    ];
    let with_baseline = ReportOptions {
        baseline: Some("full".into()),
        ..options()
    };
    for (options, full_odds, plain_odds) in [
        (options(), 3_f64.sqrt(), 3_f64.sqrt().recip()),
        (with_baseline, 1.0, 1.0 / 3.0),
    ] {
        let report = report(&survey, votes.clone(), &options);
        let question = report.question(Question::Motion).unwrap();
        let result = |name: &str| {
            question
                .variants
                .iter()
                .find(|v| v.variant == name)
                .unwrap()
        };
        assert_eq!(result("full").win_rate.value, Some(0.75));
        assert_eq!(result("plain").win_rate.value, Some(0.25));
        assert!((result("full").strength.value.unwrap() - full_odds).abs() < 1e-9);
        assert!((result("plain").strength.value.unwrap() - plain_odds).abs() < 1e-9);
        // Two raters: the resample of r1 alone has 1, that of r2 alone 1/2.
        let interval = result("full").win_rate.interval.unwrap();
        assert_eq!((interval.low, interval.high), (0.5, 1.0));
        assert!(question.warnings.is_empty(), "{:?}", question.warnings);
        let [only] = &question.head_to_head[..] else {
            panic!("{:?}", question.head_to_head)
        };
        let against_full = options.baseline.is_some();
        assert_eq!(only.against, if against_full { "full" } else { "plain" });
        assert_eq!(
            [only.wins, only.ties, only.losses],
            if against_full { [1, 0, 3] } else { [3, 0, 1] }
        );
    }
}

#[test]
fn ties_are_half_wins() {
    let survey = small_survey();
    let votes = vec![
        vote("r1", "p1", Verdict::Equal),
        vote("r2", "p1", Verdict::A),
    ];
    let report = report(&survey, votes, &options());
    let full = &report.questions[0].variants[0];
    assert_eq!((full.wins, full.ties, full.losses), (1, 1, 0));
    assert_eq!(full.win_rate.value, Some(0.75));
    // One and a half wins against a half.
    assert!((full.strength.value.unwrap().powi(2) - 3.0).abs() < 1e-9);
    assert_eq!(report.questions[0].agreement.observed, Some(0.0));
    assert_eq!(report.pairs_with_votes, 1);
    assert!(
        report.warnings.iter().any(|w| w.contains("1 of 2 pairs")),
        "{:?}",
        report.warnings
    );
}

#[test]
fn raters_who_fail_checks_are_left_out() {
    let survey = Survey::new(vec![
        comparison("p1", "full", "plain"),
        check("same", Verdict::Equal),
        check("noise", Verdict::A),
        check("noise-2", Verdict::A),
    ])
    .unwrap();
    let mut votes = Vec::new();
    for (rater, same, noise) in [
        ("good", Verdict::Equal, Verdict::A),
        ("once", Verdict::B, Verdict::A),
        ("bad", Verdict::A, Verdict::B),
    ] {
        votes.push(vote(rater, "same", same));
        votes.push(vote(rater, "noise", noise));
        votes.push(vote(rater, "noise-2", Verdict::A));
        votes.push(vote(rater, "p1", Verdict::A));
    }
    votes.push(vote("unchecked", "p1", Verdict::B));
    votes.push(vote("only-checks", "same", Verdict::Equal));
    let names = |report: &Report| -> Vec<(String, usize)> {
        let left_out = report.raters.left_out.iter();
        left_out
            .map(|one| (one.rater.clone(), one.failed))
            .collect()
    };
    let strict = report(&survey, votes.clone(), &options());
    assert_eq!(names(&strict), [("bad".into(), 2), ("once".into(), 1)]);
    assert_eq!((strict.raters.kept, strict.raters.without_checks), (2, 1));
    assert_eq!((strict.votes.total, strict.votes.counted), (14, 2));
    let third = ReportOptions {
        max_failed_checks: 0.34,
        ..options()
    };
    assert_eq!(
        names(&report(&survey, votes.clone(), &third)),
        [("bad".into(), 2)]
    );

    // One wrong answer of three fails a check.
    let mut wrong = vote("good", "same", Verdict::Equal);
    wrong.text = Answer::Left;
    votes[0] = wrong;
    assert_eq!(report(&survey, votes, &options()).raters.kept, 1);
}

#[test]
fn a_variant_that_always_wins_and_groups_that_never_met_are_told() {
    let survey = Survey::new(vec![
        comparison("p1", "full", "plain"),
        comparison("p2", "other", "rest"),
    ])
    .unwrap();
    let one_pair = (0..5).map(|rater| vote(&rater.to_string(), "p1", Verdict::A));
    let half = report(&survey, one_pair.clone().collect(), &options());
    let question = &half.questions[0];
    assert!(
        question.warnings[0].contains("no vote counts for other, rest"),
        "{:?}",
        question.warnings
    );
    assert_eq!(question.variants[0].strength.value, None);

    let both = one_pair.chain((0..5).map(|rater| vote(&rater.to_string(), "p2", Verdict::Equal)));
    let apart = report(&survey, both.collect(), &options());
    let question = &apart.questions[0];
    assert!(
        question.warnings[0].contains("(full, plain; other, rest)"),
        "{:?}",
        question.warnings
    );
    let strengths: Vec<f64> = question
        .variants
        .iter()
        .map(|v| v.strength.value.unwrap())
        .collect();
    assert!(
        strengths[0] > 1.0 && strengths[1] < 1.0 && strengths[0] < 100.0,
        "{strengths:?}"
    );
    assert_eq!(question.variants[0].win_rate.value, Some(1.0));

    let survey = small_survey();
    let always = (0..5)
        .map(|rater| vote(&rater.to_string(), "p1", Verdict::A))
        .collect();
    let always = report(&survey, always, &options());
    assert!(
        always.questions[0].warnings[0].contains("never lost"),
        "{:?}",
        always.questions[0]
    );
    // All answers are the same: agreement is perfect, but cannot be told from chance.
    assert_eq!(always.questions[0].agreement.alpha_ordinal, None);
    assert_eq!(always.questions[0].agreement.observed, Some(1.0));
}

#[test]
fn a_report_of_nothing_says_so() {
    let survey = small_survey();
    let nothing = report(&survey, vec![], &options());
    assert!(
        nothing.warnings.contains(&"no vote counts".into()),
        "{:?}",
        nothing.warnings
    );
    assert_eq!(nothing.median_seconds, None);
    assert_eq!(nothing.questions[0].variants[0].win_rate.value, None);
    assert!(serde_json::to_string(&nothing).is_ok());

    let ballots = Ballots::new(&survey, vec![]).unwrap();
    for (options, expected) in [
        (
            ReportOptions {
                baseline: Some("none".into()),
                ..options()
            },
            "`baseline` is \"none\", expected one of the variants full, plain",
        ),
        (
            ReportOptions {
                max_failed_checks: 1.5,
                ..options()
            },
            "`max_failed_checks` is 1.5",
        ),
        (
            ReportOptions {
                max_failed_checks: f64::NAN,
                ..options()
            },
            "`max_failed_checks` is NaN",
        ),
    ] {
        let error = Report::new(&ballots, &options).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }));
        assert!(error.to_string().contains(expected), "{error}");
    }
    let many = (0..51)
        .map(|i| comparison(&i.to_string(), &format!("v{i}"), "plain"))
        .collect();
    let many = Survey::new(many).unwrap();
    assert!(Report::new(&Ballots::new(&many, vec![]).unwrap(), &options()).is_err());
}

#[test]
fn the_example_is_counted() {
    let folder = examples();
    let (survey, warnings) = Survey::read(&folder.join("pairs.csv")).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let files = ["votes-1.csv", "votes-2.jsonl"].map(|name| folder.join(name));
    let import = Ballots::read(&survey, &files, OnFault::Refuse).unwrap();
    let options = ReportOptions {
        baseline: Some("plain".into()),
        ..options()
    };
    let report = Report::new(&import.ballots, &options).unwrap();
    assert_eq!(
        (report.raters.kept, report.raters.left_out[0].rater.as_str()),
        (11, "r07")
    );
    assert_eq!((report.votes.total, report.votes.counted), (168, 132));
    // The answers were drawn from odds of 3^1.3 against `plain` for motion.
    let motion = &report.question(Question::Motion).unwrap().variants;
    let full = motion[0].strength.interval.unwrap();
    assert!(
        full.low > 1.0 && full.low < 3_f64.powf(1.3) && 3_f64.powf(1.3) < full.high,
        "{full:?}"
    );
    let baseline = motion[2].strength;
    assert_eq!((baseline.value, baseline.interval), (Some(1.0), None)); // by definition

    let records = report.records();
    let measures: Vec<&str> = records["full"]
        .iter()
        .map(|record| record.measure.as_str())
        .collect();
    assert_eq!(
        measures,
        [
            "user_preference.motion",
            "user_preference.text",
            "user_preference.preference"
        ]
    );
    let record = &records["full"][0];
    assert_eq!(record.value, motion[0].win_rate.value);
    assert_eq!(record.samples["raters"], 11);
    assert_eq!(
        record.beside["low"],
        motion[0].win_rate.interval.map(|ends| ends.low)
    );

    // Read in another order, the same comes out.
    let turned = [files[1].clone(), files[0].clone()];
    let turned = Ballots::read(&survey, &turned, OnFault::Refuse).unwrap();
    assert_eq!(turned.ballots, import.ballots);
}

fn name() -> impl Strategy<Value = String> {
    let words = prop::collection::vec("[a-zA-Zäß日'=+@\",;\\-]{1,4}", 1..4);
    words.prop_map(|words| words.join(" "))
}

fn prompt() -> impl Strategy<Value = String> {
    "[a-z'=+@\",;\n\r -]{0,20}".prop_map(|text| text.trim().to_string())
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(vec![Verdict::A, Verdict::Equal, Verdict::B])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pairs_and_votes_survive_their_files(
        ids in prop::collection::btree_set(name(), 1..6),
        raters in prop::collection::btree_set(name(), 1..4),
        prompt in prompt(),
        expected in prop::option::of(any_verdict()),
        verdict in any_verdict(),
        seconds in 0.0..1e6,
        time in prop::option::of(0..4_000_000_000_u64),
    ) {
        let kind = expected.map_or(PairKind::Comparison, |expected| PairKind::Check { expected });
        let pairs = ids.iter().map(|id| Pair {
            prompt: prompt.clone(),
            ..pair(id, "full", "plain", kind)
        });
        let survey = Survey::new(pairs.collect()).unwrap();
        let votes = ids.iter().flat_map(|id| raters.iter().map(move |rater| (id, rater)));
        let votes = votes.map(|(id, rater)| Vote {
            seconds,
            time: time.map(|time| time.to_string().parse().unwrap()),
            ..vote(rater, id, verdict)
        });
        let ballots = Ballots::new(&survey, votes.collect()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for extension in ["csv", "jsonl"] {
            let [pairs, votes] = ["pairs", "votes"]
                .map(|name| folder.path().join(format!("{name}.{extension}")));
            survey.write(&pairs).unwrap();
            ballots.write(&votes).unwrap();
            let (read, warnings) = Survey::read(&pairs).unwrap();
            prop_assert_eq!(&read, &survey);
            prop_assert!(warnings.is_empty());
            let import = Ballots::read(&survey, std::slice::from_ref(&votes), OnFault::Refuse).unwrap();
            prop_assert_eq!(&import.ballots, &ballots);
            if extension == "csv" {
                // A spreadsheet sees whole cells: commas and quotes inside them are no ends.
                let mut reader = csv::Reader::from_path(&votes).unwrap();
                for row in reader.records() {
                    for cell in &row.unwrap() {
                        prop_assert!(!cell.starts_with(['=', '+', '-', '@']), "{}", cell);
                    }
                }
            }
        }
    }

    /// Mirroring what is shown and what is clicked changes no result.
    #[test]
    fn the_side_does_not_matter(verdicts in prop::collection::vec(any_verdict(), 1..12)) {
        let survey = small_survey();
        let votes: Vec<Vote> = verdicts
            .iter()
            .enumerate()
            .map(|(rater, verdict)| vote(&rater.to_string(), "p1", *verdict))
            .collect();
        let mirror = |answer| match answer {
            Answer::Left => Answer::Right,
            Answer::Right => Answer::Left,
            Answer::Equal => Answer::Equal,
        };
        let mirrored = votes.iter().map(|vote| Vote {
            left: Slot::B,
            motion: mirror(vote.motion),
            text: mirror(vote.text),
            preference: mirror(vote.preference),
            ..vote.clone()
        });
        let options = ReportOptions {
            bootstrap: Bootstrap::new(100, 0).unwrap(),
            ..ReportOptions::default()
        };
        let one = report(&survey, votes.clone(), &options);
        let other = report(&survey, mirrored.collect(), &options);
        for (one, other) in one.questions.iter().zip(&other.questions) {
            prop_assert_eq!(&one.variants, &other.variants);
            prop_assert_eq!(one.agreement, other.agreement);
            prop_assert_eq!(one.answers.left, other.answers.right);
        }
    }
}
