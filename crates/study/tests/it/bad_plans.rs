//! Everything that is wrong with a plan is told, with its place.

use kinvert_study::{Error, Form, Plan};
use proptest::prelude::*;

const GOOD: &str = r#"{"name": "a", "ablated_part": "MV", "action": "REMOVE", "metrics": ["FID"]}"#;

/// The message for a plan that cannot be read.
fn fault(text: &str, form: Form) -> String {
    Plan::parse("plan", text, Some(form))
        .unwrap_err()
        .to_string()
}

#[track_caller]
fn check(text: &str, form: Form, expected: &[&str]) {
    let message = fault(text, form);
    for part in expected {
        assert!(message.contains(part), "{message}\nlacks {part:?}");
    }
}

#[test]
fn broken_json_is_told_with_line_and_column() {
    let mut lines: Vec<String> = (0..8)
        .map(|i| GOOD.replace("\"a\"", &format!("\"a{i}\"")))
        .collect();
    lines[6] = r#"{"name": "a", "action" "REMOVE"}"#.into();
    check(
        &lines.join("\n"),
        Form::JsonLines,
        &["a fault", "line 7, column 24", "expected `:`"],
    );
    check("no JSON at all", Form::JsonLines, &["line 1, column 2"]);
    check(
        "[1, 2]",
        Form::JsonLines,
        &["an ablation is a list, expected a table"],
    );
    check(
        &format!("{}1{}", "[".repeat(500), "]".repeat(500)),
        Form::JsonLines,
        &["recursion limit"],
    );
}

#[test]
fn all_faults_are_told_together() {
    let text = [
        GOOD,
        &GOOD.replace("REMOVE", "DESTROY").replace("\"a\"", "\"b\""),
        &GOOD.replace("[\"FID\"]", "[]").replace("\"a\"", "\"c\""),
        GOOD,
        r#"{"name": 5, "ablated_part": " ", "action": "ADD", "metrics": ["FID"], "metric": 1}"#,
    ]
    .join("\n");
    check(
        &text,
        Form::JsonLines,
        &[
            "6 faults",
            "line 2: action `DESTROY`, expected REMOVE, REPLACE or ADD",
            "line 3: an ablation without `metrics`",
            "line 4: `a` is also the name of an ablation at line 1",
            "line 5: `name` is an integer, expected text",
            "line 5: `ablated_part` is empty",
            "line 5: an ablation has no field `metric`, did you mean `metrics`?",
        ],
    );
}

#[test]
fn faults_are_bounded() {
    let text = "{\n".repeat(10_000);
    let message = fault(&text, Form::JsonLines);
    assert!(
        message.contains("10000 faults") && message.contains("and 9950 more"),
        "{message}"
    );
    assert!(message.lines().count() < 60);
}

#[test]
fn a_plan_without_ablations_is_no_plan() {
    for form in [Form::JsonLines, Form::Markdown, Form::Toml] {
        check("", form, &["the plan has no ablations"]);
    }
    check(
        "<predictions></predictions>",
        Form::JsonLines,
        &["no ablations"],
    );
    check("# Title\n\nwords", Form::Markdown, &["no ablations"]);
}

#[test]
fn markdown_with_something_missing() {
    let text = "### One\n- **Ablated Part**: MV\n- **Action**: FORGET\n\n### Two\n\n### Three\n- **Action**: ADD\n";
    check(
        text,
        Form::Markdown,
        &[
            "line 3: action `FORGET`",
            "line 1: an ablation without `metrics`",
            "line 5: `Two` has no fields",
            "line 7: an ablation without `ablated_part`",
        ],
    );
    let twice = "### One\n- **Action**: ADD\n- **Action**: REMOVE\n- **Metrics**: FID\n- **Ablated Part**: MV\n";
    check(
        twice,
        Form::Markdown,
        &["line 3: `action` for the second time"],
    );
}

#[test]
fn toml_with_something_wrong() {
    check("[[ablation]\nname = 1", Form::Toml, &["line 1", "no TOML"]);
    let head = "[[ablation]]\nname = \"a\"\nablated_part = \"b\"\naction = \"REPLACE\"\nmetrics = [\"FID\"]\n";
    let variant = |body: &str| format!("{head}\n[[ablation.variant]]\n{body}");
    check(
        &variant("name = \"v\"\ninversion.value = \"1d\"\n"),
        Form::Toml,
        &["line 9", "did you mean `inversion.values`?"],
    );
    check(
        &variant("name = \"v\"\n"),
        Form::Toml,
        &["a variant without settings"],
    );
    check(
        &variant("name = \"v\"\ngeneration.noise_prior = 2\n"),
        Form::Toml,
        &["found 2: `noise prior` is 2, expected between 0 and 1"],
    );
    check(
        &format!("titel = \"x\"\n{head}"),
        Form::Toml,
        &["line 1: the plan has no field `titel`, did you mean `title`?"],
    );
    check(
        &head.replace("[\"FID\"]", "2020-01-01"),
        Form::Toml,
        &["line 5: `metrics` holds a date, expected texts"],
    );
}

#[test]
fn bytes_that_are_no_text() {
    let error = Plan::from_bytes("plan", b"{\"name\":\n\"\xff\"}", None).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotText {
                offset: 10,
                line: 2,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("UTF-8"));
    let marked = format!("\u{feff}{GOOD}");
    assert!(Plan::from_bytes("plan", marked.as_bytes(), None).is_ok());
}

#[test]
fn sizes_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.md");
    std::fs::File::create(&path)
        .unwrap()
        .set_len((16 << 20) + 1)
        .unwrap();
    assert!(matches!(
        Plan::read(&path, None),
        Err(Error::TooLarge { .. })
    ));
    assert!(matches!(
        Plan::read(&folder.path().join("none"), None),
        Err(Error::Io { .. })
    ));

    let many: Vec<_> = (0..10_001)
        .map(|i| GOOD.replace("\"a\"", &format!("\"{i}\"")))
        .collect();
    check(
        &many.join("\n"),
        Form::JsonLines,
        &["line 10001: 10001 ablations, expected at most 10000"],
    );
    check(
        &GOOD.replace("\"a\"", &format!("{:?}", "x".repeat(501))),
        Form::JsonLines,
        &["501 characters"],
    );
    let long = GOOD.replace("MV", &"y".repeat(10_001));
    check(&long, Form::JsonLines, &["expected at most 10000"]);
    let metrics = format!("[{}]", vec!["\"FID\""; 201].join(","));
    check(
        &GOOD.replace("[\"FID\"]", &metrics),
        Form::JsonLines,
        &["201 items, expected at most 200"],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_is_too_strange(text in "(?s).{0,200}") {
        for form in [Form::JsonLines, Form::Markdown, Form::Toml] {
            let _ = Plan::parse("plan", &text, Some(form));
        }
    }

    #[test]
    fn no_wish_is_too_strange(
        part in "([a-zA-Z0-9 ,;/&()\\[\\]$\\\\{}^_.:>-]|MQK|MV|add|or|instead of|1D|2D|without|×|é|𝐌){0,40}",
        wish in "(MQK |MV |both |1D |2D |or |and |, |without |only |[0-9.]{1,4} |frame |difference |after |\\(|\\)|add |eq\\. |->|: |x){0,20}",
    ) {
        let line = |action: &str| serde_json::json!({
            "name": "n", "ablated_part": format!("p{part}"), "action": action, "replacement": [wish], "metrics": [part, "FID"],
        }).to_string();
        for action in ["REMOVE", "REPLACE", "ADD"] {
            let plan = Plan::parse("plan", &line(action), None).unwrap();
            let resolution = kinvert_study::resolve(&plan);
            prop_assert_eq!(&resolution, &kinvert_study::resolve(&plan));
            let study = kinvert_study::Study::compile(&plan, &resolution, "plan", b"");
            prop_assert_eq!(kinvert_study::Study::parse("study", &study.to_toml()).unwrap(), study);
        }
    }
}
