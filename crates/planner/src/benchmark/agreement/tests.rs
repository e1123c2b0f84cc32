use std::fs;

use serde_json::json;

use super::*;

fn counts(tp: usize, fp: usize, fn_: usize, tn: usize) -> Counts {
    Counts {
        true_positive: tp,
        false_positive: fp,
        false_negative: fn_,
        true_negative: tn,
    }
}

fn table(rows: &[Value]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(file.path(), lines).unwrap();
    file
}

#[test]
fn items_and_all_labels_together_are_what_a_hand_gives() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("planner")).unwrap();
    let judge = r#"{"name_in_paper": "2", "name_in_plan": "a"}
                   {"name_in_paper": "1", "name_in_plan": ["b"]}
                   {"name_in_paper": "3", "name_in_plan": []}
                   {"name_in_paper": "nobody's", "name_in_plan": "a"}"#;
    fs::write(folder.path().join("planner/paper.jsonl"), judge).unwrap();
    let reviews = "{\"name_in_plan\": \"a\", \"appears_in_review\": true}\n";
    fs::write(folder.path().join("other.jsonl"), reviews).unwrap();
    let label = |name: &str, names: Value| json!({"name_in_paper": name, "name_in_plan": names});
    let people = [
        label("1", json!("c")), // that something matches counts, not what
        label("2", Value::Null),
        label("3", json!(["a", "b"])),
        label("4", Value::Null), // the judge has no such label
    ];
    let text: Vec<String> = people.iter().map(Value::to_string).collect();
    let labelled = table(&[
        json!({"id": "planner/paper", "labels": text.join("\n")}),
        json!({"id": "other", "labels": [{"name_in_plan": "a", "appears_in_review": true}]}),
        json!({"id": "planner/missing", "labels": people}),
    ]);
    let found = agreement(labelled.path(), folder.path()).unwrap();
    let all: Vec<Counts> = found.items.iter().map(|item| item.counts).collect();
    assert_eq!(
        all,
        [counts(1, 1, 1, 1), counts(1, 0, 0, 0), counts(0, 0, 2, 2)]
    );
    let scores = |item: &ItemAgreement| [item.precision, item.recall, item.f1_score];
    assert_eq!(scores(&found.items[0]), [0.5, 0.5, 0.5]);
    assert_eq!(scores(&found.items[1]), [1.0, 1.0, 1.0]);
    assert_eq!(scores(&found.items[2]), [0.0, 0.0, 0.0]);
    assert_eq!(found.not_judged, ["planner/missing"]);
    assert_eq!(found.precision.mean, 0.5);
    assert_eq!(found.precision.standard_deviation, Some(0.5)); // of 1/2, 1 and 0
    // Together: accuracy 5/9; people say yes to 4 of 9, the judge to 3, so chance is 12/81 + 30/81 = 14/27.
    assert_eq!(found.pooled, counts(2, 1, 3 - 1 + 1, 3));
    assert_eq!(found.accuracy, Some(5.0 / 9.0));
    let (people, judge) = (5.0 / 9.0, 3.0 / 9.0);
    let chance = people * judge + (1.0 - people) * (1.0 - judge);
    assert!((found.kappa.unwrap() - (5.0 / 9.0 - chance) / (1.0 - chance)).abs() < 1e-12);
}

#[test]
fn kappa_is_absent_where_chance_always_agrees() {
    assert_eq!(counts(3, 0, 0, 0).kappa(), None);
    assert_eq!(counts(0, 0, 0, 2).kappa(), None);
    assert_eq!(Counts::default().kappa(), None);
    assert_eq!(counts(2, 0, 0, 2).kappa(), Some(1.0));
    assert_eq!(counts(0, 2, 2, 0).kappa(), Some(-1.0));
    assert_eq!(counts(0, 0, 3, 3).kappa(), Some(0.0)); // a judge that always says no
}

#[test]
fn several_labels_of_the_judge_for_one_name_each_count() {
    let label = |name: &str, label| (name.to_owned(), label);
    let people = [label("x", true), label("y", false)];
    let judge = [label("x", true), label("x", false)];
    assert_eq!(Counts::of(&people, &judge), counts(1, 0, 1, 1));
}

#[test]
fn faulty_tables_and_judgements_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let labels = json!([{"name_in_paper": "1", "name_in_plan": null}]);
    let labelled = table(&[
        json!({"id": "a/b/c", "labels": labels}),
        json!({"id": "../c", "labels": labels}),
        json!({"id": "d", "labels": "nonsense"}),
        json!({"labels": labels}),
        json!({"id": "e"}),
        json!({"id": "f", "labels": labels}),
        json!({"id": "f", "labels": labels}),
    ]);
    let error = agreement(labelled.path(), folder.path())
        .unwrap_err()
        .to_string();
    for expected in [
        "6 faults",
        "row 1: id `b/c` holds a separator",
        "row 2: id `..` begins with a dot",
        "row 3: `labels`: line 1",
        "row 4: no `id`",
        "row 5: `labels`: no `labels`",
        "row 7: id `f` is also that of row 6",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    fs::write(folder.path().join("f.jsonl"), "{\"name\": 1}").unwrap();
    let labelled = table(&[json!({"id": "f", "labels": labels})]);
    let error = agreement(labelled.path(), folder.path())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("f.jsonl: line 1: unknown field `name`"),
        "{error}"
    );
}
