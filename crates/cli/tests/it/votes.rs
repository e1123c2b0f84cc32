//! `kinvert votes`.

use std::path::{Path, PathBuf};

use crate::support::*;

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/votes");
    folder.join(name).display().to_string()
}

fn file(folder: &Path, name: &str, contents: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, contents).unwrap();
    path
}

/// `kinvert votes` with the example's pairs.
fn votes(command: &str, files: &[&str], more: &[&str]) -> Outcome {
    let pairs = example("pairs.csv");
    let arguments = ["votes", command].into_iter().chain(files.iter().copied());
    let pairs = ["--pairs", &pairs];
    kinvert(arguments.chain(pairs).chain(more.iter().copied()))
}

#[test]
fn the_example_is_imported_and_reported() {
    let folder = temp();
    let out = folder.path().join("votes.csv");
    let files = [example("votes-1.csv"), example("votes-2.jsonl")];
    let files = files.each_ref().map(String::as_str);
    let told = votes("import", &files, &["-o", text(&out)]).ended(0).stdout;
    assert!(
        told.ends_with("votes.csv: 168 votes of 12 raters\n"),
        "{told}"
    );

    let survey = folder.path().join("survey");
    let json = votes("import", &files, &["-o", text(&survey), "--json"])
        .ended(0)
        .json();
    assert_eq!(
        (&json["votes"], &json["skipped"]["count"]),
        (&168.into(), &0.into())
    );

    let options = ["--baseline", "plain", "--resamples", "500"];
    let told = votes("report", &files, &options).ended(0).stdout;
    let merged = votes("report", &[text(&out)], &options).ended(0).stdout;
    assert_eq!(told, merged);
    let merged = kinvert_line(
        "votes report --baseline plain --resamples 500",
        &[
            text(&survey.join("votes.jsonl")),
            "--pairs",
            text(&survey.join("pairs.jsonl")),
        ],
    );
    assert_eq!(told, merged.ended(0).stdout);
    for expected in [
        "votes     132 count, of 168 on comparisons and checks, 12 of 12 pairs\n",
        "raters    11 count, 1 left out for failed attention checks:\n",
        "            r07 failed 2 of 2 checks (12 votes)\n",
        "\nmotion: Which follows the reference's motion better?\n",
        "odds against plain",
        "  full against plain",
        "  agreement: alpha ",
    ] {
        assert!(told.contains(expected), "{expected:?}\n{told}");
    }
    assert!(!told.contains("warning"), "{told}");
}

#[test]
fn reports_are_json_too_and_depend_on_the_seed() {
    let report = |seed: &str| {
        let files = [example("votes-1.csv")];
        let files = files.each_ref().map(String::as_str);
        votes(
            "report",
            &files,
            &["--json", "--resamples", "200", "--seed", seed],
        )
        .ended(0)
        .json()
    };
    let json = report("1");
    assert_eq!(json["raters"]["left_out"][0]["rater"], "r07");
    assert_eq!(json["questions"][0]["question"], "motion");
    assert_eq!(json["questions"][0]["variants"][0]["variant"], "full");
    assert_eq!(
        json["records"]["full"][2]["measure"],
        "user_preference.preference"
    );
    let warning = json["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("only 7 raters count"), "{warning}");
    assert_eq!(json, report("1"));
    assert_ne!(json["questions"], report("2")["questions"]);
}

#[test]
fn faulty_votes_are_refused_or_left_out() {
    let folder = temp();
    let rows = "pair,rater,left,motion,text,preference,seconds\n\
        p01,r1,a,left,left,left,3\n\
        p99,r1,a,left,left,left,3\n\
        p01,r1,b,left,left,left,3\n\
        p02,r1,b,left,right,equal,4\n";
    let faulty = file(folder.path(), "faulty.csv", rows);
    let out = folder.path().join("votes.jsonl");
    votes("import", &[text(&faulty)], &["-o", text(&out)])
        .ended(1)
        .saying(&[
            "error: 2 faulty votes:",
            "faulty.csv line 3: the survey has no pair \"p99\"",
            "line 4: the rater \"r1\" has voted on the pair \"p01\" already: ",
            "hint: correct these rows, or leave them out with --skip-faulty",
        ]);
    assert!(!out.exists());
    let told = votes(
        "import",
        &[text(&faulty)],
        &["-o", text(&out), "--skip-faulty"],
    )
    .ended(0)
    .stdout;
    assert!(told.contains("2 votes of 1 raters"), "{told}");
    assert!(told.contains("left out: 2 faulty rows"), "{told}");
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 2);
    let told = votes("report", &[text(&faulty)], &["--skip-faulty"])
        .ended(0)
        .stdout;
    assert!(
        told.contains("warning: 2 faulty rows were left out"),
        "{told}"
    );
}

#[test]
fn files_that_hold_no_votes_are_refused() {
    let folder = temp();
    let empty = file(folder.path(), "empty.csv", "");
    votes("report", &[text(&empty)], &[])
        .ended(1)
        .saying(&["empty.csv: the first line is empty, expected the columns `pair`, `rater`"]);
    let header = "pair,rater,left,motion,preference,seconds\n";
    let missing = file(folder.path(), "missing.csv", header);
    votes("report", &[text(&missing)], &[]).ended(1).saying(&[
        "missing.csv: the first line is \"pair,rater,",
        "expected the columns `text` too",
    ]);
    votes("report", &["no-such.csv"], &[])
        .ended(1)
        .saying(&["no-such.csv: reading failed"]);
}

#[test]
fn wrong_usage_is_told_from_wrong_files() {
    let files = [example("votes-1.csv")];
    let files = files.each_ref().map(String::as_str);
    for (more, expected) in [
        (
            ["--baseline", "base"],
            "`baseline` is \"base\", expected one of the variants full, no-debias, plain",
        ),
        (
            ["--resamples", "5"],
            "`resamples` is 5, expected 100 to 100000",
        ),
        (["--max-failed-checks", "2"], "`max_failed_checks` is 2"),
    ] {
        votes("report", &files, &more).ended(2).saying(&[expected]);
    }
    let folder = temp();
    let text_file = folder.path().join("votes.txt");
    votes("import", &files, &["-o", text(&text_file)])
        .ended(1)
        .saying(&["votes.txt: expected a name that ends in .csv or .jsonl"]);
    kinvert(["votes", "report", files[0]])
        .ended(2)
        .saying(&["--pairs"]);
}

#[test]
fn help_explains_the_files() {
    for line in ["votes --help", "votes import --help"] {
        let told = kinvert_line(line, &[]).ended(0).stdout;
        let template = "pair,kind,expected,reference,prompt,a_variant,a_file,b_variant,b_file";
        assert!(told.contains(template), "{told}");
        assert!(
            told.contains("pair,rater,left,motion,text,preference,seconds,time"),
            "{told}"
        );
    }
}
