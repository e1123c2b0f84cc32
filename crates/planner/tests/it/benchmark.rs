//! Plans for the papers of a dataset.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kinvert_base::{Progress, Quiet};
use kinvert_planner::benchmark::{Manifest, PlanOptions, PlanRecord, PlanSummary, run};
use kinvert_planner::{Error, Mode, Paper, Planner, Proposal, Usage, Watch};
use kinvert_study::Plan;
use serde_json::{Value, json};

/// A planner that is a function of the paper's title.
struct Fake<F> {
    name: &'static str,
    settings: &'static str,
    propose: F,
    asked: Mutex<Vec<String>>,
}

fn fake<F: Fn(&str, &dyn Watch) -> Result<(), Error> + Sync>(propose: F) -> Fake<F> {
    Fake {
        name: "fake",
        settings: "",
        propose,
        asked: Mutex::default(),
    }
}

impl<F> Fake<F> {
    fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().drain(..).collect()
    }
}

impl<F: Fn(&str, &dyn Watch) -> Result<(), Error> + Sync> Planner for Fake<F> {
    fn name(&self) -> &str {
        self.name
    }

    fn settings(&self) -> String {
        self.settings.into()
    }

    fn propose(
        &self,
        paper: &Paper,
        _mode: Mode,
        count: usize,
        watch: &dyn Watch,
    ) -> Result<Proposal, Error> {
        let title = paper.title.clone().unwrap();
        self.asked.lock().unwrap().push(title.clone());
        (self.propose)(&title, watch)?;
        let line = |index| {
            json!({"name": format!("{title} {index}"), "ablated_part": "gate", "action": "REMOVE", "metrics": ["FID"]})
                .to_string()
        };
        let lines: Vec<String> = (0..count).map(line).collect();
        let text = format!(
            "<discussion>Why.</discussion><predictions>{}</predictions>",
            lines.join("\n")
        );
        Ok(Proposal {
            plan: Plan::parse("plan", &text, None)?,
            existing: Vec::new(),
            cuts: Vec::new(),
            notes: vec!["A note.".into()],
            usage: Usage {
                answers: 1,
                input_tokens: 1000,
                output_tokens: 100,
                cost_usd: Some(0.25),
                ..Usage::default()
            },
        })
    }
}

fn failure(title: &str) -> Error {
    Error::Io {
        path: title.into(),
        action: "reading",
        source: std::io::Error::other("out of luck"),
    }
}

fn manifest(folder: &Path, papers: &[(&str, &str)]) -> Manifest {
    let path = folder.join("papers.jsonl");
    let line = |(id, title): &(&str, &str)| {
        json!({"id": id, "title": title, "abstract": "About it."}).to_string()
    };
    let lines: Vec<String> = papers.iter().map(line).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    Manifest::read(&path, None).unwrap()
}

fn options(parallel: usize) -> PlanOptions {
    PlanOptions {
        mode: Mode::Author,
        count: 2,
        parallel: NonZeroUsize::new(parallel).unwrap(),
    }
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn titles(titles: &[&str]) -> BTreeSet<String> {
    titles.iter().map(|title| (*title).into()).collect()
}

#[test]
fn every_paper_gets_a_plan_and_what_is_done_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plans");
    let papers = manifest(folder.path(), &[("a", "A"), ("b", "B"), ("c", "C")]);
    let luck = AtomicUsize::new(0);
    let planner = fake(|title, _| match title {
        "B" if luck.load(Ordering::Relaxed) == 0 => Err(failure(title)),
        _ => Ok(()),
    });
    let plan = |papers: &Manifest| run(papers, &planner, &options(2), &out, &mut Quiet).unwrap();

    let first = plan(&papers);
    assert_eq!((first.papers, first.made, first.kept), (3, 2, 0));
    assert_eq!(first.failed[0].id, "b");
    assert_eq!(first.failed[0].error, "B: reading failed: out of luck");
    assert_eq!((first.usage.answers, first.usage.cost_usd), (2, Some(0.5)));
    assert!(!out.join("b.jsonl").exists());
    let lines = fs::read_to_string(out.join("a.jsonl")).unwrap();
    assert_eq!(Plan::parse("a", &lines, None).unwrap().ablations.len(), 2);
    let record: PlanRecord = serde_json::from_value(json_of(&out.join("a.json"))).unwrap();
    assert_eq!(record.discussion.as_deref(), Some("Why."));
    assert_eq!(
        (record.planner.as_str(), record.mode, record.count),
        ("fake", Mode::Author, 2)
    );
    let plans = json_of(&out.join("plans.json"));
    assert_eq!(plans["a"]["predictions"], lines.trim_end());
    assert_eq!(
        (&plans["a"]["cost"], &plans["a"]["error"]),
        (&json!(0.25), &Value::Null)
    );
    assert_eq!(
        (&plans["b"]["predictions"], &plans["b"]["cost"]),
        (&json!(""), &json!(0.0))
    );
    assert_eq!(plans["b"]["error"], "B: reading failed: out of luck");
    assert_eq!(
        (&plans["c"]["planner"], &plans["c"]["mode"]),
        (&json!("fake"), &json!("author"))
    );
    assert_eq!(planner.asked(), titles(&["A", "B", "C"]));

    luck.store(1, Ordering::Relaxed);
    let second = plan(&papers);
    assert_eq!(planner.asked(), titles(&["B"]));
    assert_eq!((second.made, second.kept, second.failed.len()), (1, 2, 0));
    assert_eq!(second.usage.answers, 3);
    assert_eq!(json_of(&out.join("plans.json"))["b"]["error"], Value::Null);

    // A paper that has changed, a record that is lost and a plan that is damaged are done again.
    fs::remove_file(out.join("b.json")).unwrap();
    fs::write(out.join("c.jsonl"), "{\"name\":").unwrap();
    let papers = manifest(
        folder.path(),
        &[("a", "A, revised"), ("b", "B"), ("c", "C"), ("d", "D")],
    );
    assert_eq!(plan(&papers).made, 4);
    assert_eq!(planner.asked(), titles(&["A, revised", "B", "C", "D"]));
    assert_eq!(plan(&papers).made, 0);
    assert_eq!(planner.asked(), titles(&[]));
}

#[test]
fn plans_of_another_planner_are_not_mixed_in() {
    let folder = tempfile::tempdir().unwrap();
    let papers = manifest(folder.path(), &[("a", "A")]);
    let mut planner = fake(|_, _| Ok(()));
    let plan = |planner: &dyn Planner, options: PlanOptions| {
        run(&papers, planner, &options, folder.path(), &mut Quiet)
    };
    plan(&planner, options(1)).unwrap();
    let others = [
        PlanOptions {
            count: 3,
            ..options(1)
        },
        PlanOptions {
            mode: Mode::Reviewer,
            ..options(1)
        },
    ];
    for other in others {
        let error = plan(&planner, other).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("of at most 2 ablations by `fake` in author mode"),
            "{error}"
        );
        assert!(error.hint().is_some());
    }
    planner.settings = "hotter";
    let error = plan(&planner, options(1)).unwrap_err();
    assert!(error.to_string().contains("other settings"), "{error}");
    planner.settings = "";
    plan(&planner, options(1)).unwrap();
    planner.name = "other";
    assert!(matches!(
        plan(&planner, options(1)),
        Err(Error::Folder { .. })
    ));
}

/// Asks to stop as soon as so many papers are done.
struct StopAfter {
    papers: usize,
    done: usize,
    details: Vec<String>,
}

impl Progress for StopAfter {
    fn start(&mut self, _stage: &str, _total: usize) {}
    fn advance(&mut self, done: usize, detail: &str) {
        self.done = done;
        self.details.push(detail.into());
    }
    fn finish(&mut self) {}
    fn note(&mut self, _message: &str) {}
    fn is_cancelled(&self) -> bool {
        self.done >= self.papers
    }
}

#[test]
fn a_run_that_was_stopped_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plans");
    let names = ["a", "b", "c", "d", "e", "f"];
    let papers = manifest(folder.path(), &names.map(|name| (name, name)));
    let planner = fake(|title, watch| {
        while title == "c" && !watch.is_cancelled() {
            std::thread::yield_now();
        }
        match title {
            "c" => Err(Error::Cancelled),
            _ => Ok(()),
        }
    });
    let mut stop = StopAfter {
        papers: 2,
        done: 0,
        details: Vec::new(),
    };
    let stopped = run(&papers, &planner, &options(1), &out, &mut stop);
    assert!(matches!(stopped, Err(Error::Cancelled)));
    let asked = planner.asked(); // `c` may have begun by then, and hears that it should stop
    assert!(
        asked == titles(&["a", "b"]) || asked == titles(&["a", "b", "c"]),
        "{asked:?}"
    );
    assert!(
        stop.details
            .iter()
            .any(|detail| detail == "2200 tokens, 0.50 $"),
        "{:?}",
        stop.details
    );
    assert!(!out.join("c.json").exists() && !out.join("c.jsonl").exists());

    let planner = fake(|_, _| Ok(()));
    let rest: PlanSummary = run(&papers, &planner, &options(1), &out, &mut Quiet).unwrap();
    assert_eq!(planner.asked(), titles(&["c", "d", "e", "f"]));
    assert_eq!((rest.made, rest.kept), (4, 2));
}

#[test]
fn a_paper_that_cannot_be_read_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("papers.jsonl");
    let rows = "{\"id\": \"a\", \"title\": \"A\", \"path\": \"nowhere.tex\"}\n{\"id\": \"b\", \"title\": \"B\", \"abstract\": \"x\"}";
    fs::write(&path, rows).unwrap();
    let papers = Manifest::read(&path, None).unwrap();
    let planner = fake(|_, _| Ok(()));
    let summary = run(
        &papers,
        &planner,
        &options(1),
        &folder.path().join("out"),
        &mut Quiet,
    )
    .unwrap();
    assert_eq!((summary.made, summary.failed.len()), (1, 1));
    assert!(
        summary.failed[0]
            .error
            .contains("nowhere.tex: reading failed")
    );
}
