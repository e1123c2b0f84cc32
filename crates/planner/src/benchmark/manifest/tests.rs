use serde_json::json;

use super::*;

fn read(rows: &[Value]) -> Result<Manifest, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("papers.jsonl");
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(&path, lines).unwrap();
    Manifest::read(&path, None).map_err(|error| error.to_string())
}

fn fault(row: Value) -> String {
    read(&[row]).unwrap_err()
}

#[test]
fn columns_have_plain_names_or_those_of_ablation_bench() {
    let ablations = json!([{"name": "x", "ablated_part": "p", "action": "REPLACE",
        "replacement": {"size": [1, 2], "kind": "wide"}, "metrics": ["FID"]}, {"name": "y"}]);
    let theirs = json!({"id": "a", "paper_title": "T", "paper_abstract": "A", "paper_path": "papers/a",
        "ablations_in_paper": ablations.to_string(), "more": 1});
    let plain = json!({"id": "a", "title": " T ", "abstract": "A", "path": "papers/a", "ablations": ablations});
    let [theirs, plain] = [theirs, plain].map(|row| read(&[row]).unwrap().entries.remove(0));
    let parts = |entry: &Entry| {
        (
            entry.title.clone(),
            entry.abstract_text.clone(),
            entry.truth.clone(),
        )
    };
    assert_eq!(parts(&theirs), parts(&plain));
    assert_eq!(plain.title.as_deref(), Some("T"));
    let Some(Truth::Ablations(truths)) = plain.truth else {
        panic!()
    };
    assert_eq!(truths[0].replacement, ["kind: wide", "size: 1, 2"]);
    assert_eq!(truths[1], TruthAblation::named("y"));
}

#[test]
fn reviews_come_with_the_number_of_suggestions() {
    let row = |suggestions: Value| {
        json!({"id": "a", "abstract": "A",
        "review_text": "[\"first\", \"second\"]", "num_ablation_suggestions": suggestions})
    };
    for suggestions in [json!(2), json!(2.0)] {
        let truth = read(&[row(suggestions)]).unwrap().entries.remove(0).truth;
        let Some(Truth::Reviews { texts, suggestions }) = truth else {
            panic!()
        };
        assert_eq!((texts.len(), suggestions), (2, 2));
    }
    for wrong in [json!(-1), json!(1.5), json!("two"), json!(1e9)] {
        let error = fault(row(wrong));
        assert!(
            error.contains("expected a whole number from 0 to 1000"),
            "{error}"
        );
    }
    assert!(fault(row(Value::Null)).contains("reviews without `suggestions`"));
}

#[test]
fn all_faults_are_told_at_once() {
    let error = read(&[
        json!({"id": "a", "abstract": "A"}),
        json!({"id": "A", "abstract": "A"}),
        json!({"id": 3}),
        json!({"id": "../b", "path": "/etc/passwd"}),
    ])
    .unwrap_err();
    for expected in [
        "6 faults in the table",
        "row 2: id `A` is also that of row 1",
        "row 3: `id` is no text",
        "row 3: neither `path` nor `abstract`",
        "row 4: id `../b` begins with a dot",
        "row 4: path `/etc/passwd` is absolute",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn ids_are_names_of_files() {
    for (id, expected) in [
        ("", "no `id`"),
        (".hidden", "begins with a dot"),
        ("a/b", "holds a separator"),
        ("a\\b", "holds a separator"),
        ("C:x", "holds a separator"),
        ("a\nb", "holds a control character"),
        ("Plans", "is the name of a file of the benchmark"),
        (&"é".repeat(101), "has 202 bytes"),
    ] {
        let error = fault(json!({"id": id, "abstract": "A"}));
        assert!(error.contains(expected), "{id}: {error}");
    }
    assert!(read(&[json!({"id": "3D_Löwe (v2).tex", "abstract": "A"})]).is_ok());
}

#[test]
fn no_path_leads_out_of_the_folder_of_papers() {
    for path in ["..", "a/../../b", "a/../..", "./../b"] {
        let error = fault(json!({"id": "a", "path": path}));
        assert!(error.contains("leads out of the folder"), "{path}: {error}");
    }
    for path in ["a/../b", "./a", "a"] {
        assert!(read(&[json!({"id": "a", "path": path})]).is_ok(), "{path}");
    }
}

#[cfg(unix)]
#[test]
fn no_link_leads_out_of_it_either() {
    let folder = tempfile::tempdir().unwrap();
    let papers = folder.path().join("papers");
    std::fs::create_dir(&papers).unwrap();
    std::fs::write(folder.path().join("secret.tex"), "secret").unwrap();
    std::fs::write(papers.join("own.tex"), "own").unwrap();
    let link =
        |name: &str, target: &Path| std::os::unix::fs::symlink(target, papers.join(name)).unwrap();
    link("out.tex", &folder.path().join("secret.tex"));
    link("in.tex", &papers.join("own.tex"));
    let resolve = |path: &str| Source::new(&papers, path).unwrap().resolve();
    assert!(resolve("in.tex").is_ok());
    let error = resolve("out.tex").unwrap_err();
    assert!(
        error.to_string().contains("leads out of the folder"),
        "{error}"
    );
    assert!(matches!(resolve("none.tex"), Err(Error::Io { .. })));
}

#[test]
fn truths_that_cannot_be_understood_are_refused() {
    for (truth, expected) in [
        (json!({"ablations": "[{"}), "its text is no JSON"),
        (json!({"ablations": "{}"}), "its JSON text is no list"),
        (json!({"ablations": 3}), "neither a list nor"),
        (
            json!({"ablations": [{"action": "ADD"}]}),
            "item 1: an ablation without `name`",
        ),
        (
            json!({"ablations": [{"name": "x", "action": 3}]}),
            "item 1: `action` is no text",
        ),
        (json!({"ablations": [3]}), "item 1: no ablation"),
        (
            json!({"ablations": vec![json!({"name": "x"}); 1001]}),
            "1001 items, expected at most",
        ),
        (json!({"reviews": [3], "suggestions": 1}), "item 1: no text"),
        (
            json!({"reviews": [], "suggestions": 0, "ablations": []}),
            "expected one kind of truth",
        ),
    ] {
        let mut row = json!({"id": "a", "abstract": "A"});
        row.as_object_mut()
            .unwrap()
            .extend(truth.as_object().unwrap().clone());
        let error = fault(row);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let error = read(&[
        json!({"id": "a", "abstract": "A", "ablations": []}),
        json!({"id": "b", "abstract": "A", "reviews": ["text"], "suggestions": 1}),
    ]);
    assert!(error.unwrap_err().contains("row 2: truth of another kind"));
}

#[test]
fn a_paper_without_text_is_its_title_and_abstract() {
    let entry = read(&[json!({"id": "a", "title": "T", "abstract": "A"})])
        .unwrap()
        .entries
        .remove(0);
    let paper = entry.paper().unwrap();
    assert_eq!(
        (paper.title.as_deref(), paper.abstract_text.as_deref()),
        (Some("T"), Some("A"))
    );
    assert_eq!(paper.sections, []);
}
