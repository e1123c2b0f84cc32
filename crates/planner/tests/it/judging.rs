//! Judging the plans of a dataset.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use kinvert_base::Quiet;
use kinvert_planner::benchmark::{
    Case, Judge, JudgeName, JudgeOptions, JudgeSettings, JudgeSummary, Judgement, Labels,
    LanguageModelJudge, Manifest, agreement, judge_all,
};
use kinvert_planner::{ChatAnswer, ChatModel, ChatRequest, Error, Usage, Watch};
use serde_json::{Value, json};

/// A judge that matches these pairs of ablation and entry, wherever it is asked about them.
struct Fake {
    name: &'static str,
    pairs: BTreeMap<&'static str, Vec<&'static str>>,
    asked: AtomicUsize,
    is_broken: bool,
}

fn fake(name: &'static str, pairs: &[(&'static str, &[&'static str])]) -> Fake {
    Fake {
        name,
        pairs: pairs
            .iter()
            .map(|(truth, entries)| (*truth, entries.to_vec()))
            .collect(),
        asked: AtomicUsize::new(0),
        is_broken: false,
    }
}

impl ChatModel for Fake {
    fn name(&self) -> &str {
        self.name
    }

    fn complete(&self, request: &ChatRequest, _watch: &dyn Watch) -> Result<ChatAnswer, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let prompt = &request.turns[0].text;
        let names = |tag: &str| -> Vec<String> {
            let inside = prompt
                .split(&format!("\n<{tag}>\n"))
                .nth(1)
                .unwrap_or_default();
            let lines = inside.lines().take_while(|line| line.starts_with('{'));
            let name = |line: &str| {
                serde_json::from_str::<Value>(line).unwrap()["name"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            lines.map(name).collect()
        };
        let truths = names("authors_ablations");
        let lines: Vec<String> = if truths.is_empty() {
            let asked = self.pairs.get("review").cloned().unwrap_or_default();
            let line = |name: String| {
                json!({"name_in_plan": name, "appears_in_review": asked.contains(&name.as_str())})
                    .to_string()
            };
            names("plan").into_iter().map(line).collect()
        } else {
            let line = |name: String| {
                json!({"name_in_paper": name, "name_in_plan": self.pairs.get(name.as_str())})
                    .to_string()
            };
            truths.into_iter().map(line).collect()
        };
        let text = match self.is_broken {
            true => "no".into(),
            false => format!(
                "<discussion>So.</discussion>\n<predictions>\n{}\n</predictions>",
                lines.join("\n")
            ),
        };
        Ok(ChatAnswer {
            text,
            usage: Usage {
                answers: 1,
                input_tokens: 100,
                cost_usd: Some(0.5),
                ..Usage::default()
            },
        })
    }
}

fn write_plan(folder: &Path, id: &str, names: &[&str]) {
    let line = |name: &&str| {
        json!({"name": name, "ablated_part": "p", "action": "REMOVE", "metrics": ["FID"]})
            .to_string()
    };
    let lines: Vec<String> = names.iter().map(line).collect();
    fs::write(folder.join(format!("{id}.jsonl")), lines.join("\n")).unwrap();
}

fn manifest(folder: &Path, rows: &[Value]) -> Manifest {
    let path = folder.join("papers.jsonl");
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(&path, lines).unwrap();
    Manifest::read(&path, None).unwrap()
}

fn paper(id: &str, truths: &[&str]) -> Value {
    let truths: Vec<Value> = truths.iter().map(|name| json!({"name": name})).collect();
    json!({"id": id, "title": id, "abstract": "A", "ablations": truths})
}

fn judge(
    manifest: &Manifest,
    folder: &Path,
    judges: &[&Fake],
    top_k: Option<usize>,
) -> JudgeSummary {
    let judges: Vec<LanguageModelJudge<'_>> = (judges.iter().enumerate())
        .map(|(index, model)| {
            let before = judges[..index].iter();
            let sample = before.filter(|other| other.name() == model.name()).count();
            LanguageModelJudge::new(*model, sample, JudgeSettings::default())
        })
        .collect();
    let judges: Vec<&dyn Judge> = judges.iter().map(|judge| judge as &dyn Judge).collect();
    let options = JudgeOptions {
        top_k: top_k.and_then(NonZeroUsize::new),
        parallel: NonZeroUsize::new(3).unwrap(),
    };
    let plans = folder.join("plans");
    judge_all(
        manifest,
        &plans,
        &judges,
        &options,
        &folder.join("judged"),
        &mut Quiet,
    )
    .unwrap()
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn three_judges_vote_and_what_is_judged_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("plans")).unwrap();
    let plans = folder.path().join("plans");
    write_plan(&plans, "one", &["a", "b", "c"]);
    write_plan(&plans, "two", &["d"]);
    write_plan(&plans, "untrue", &["e"]);
    fs::write(plans.join("empty.jsonl"), "").unwrap();
    fs::write(plans.join("damaged.jsonl"), "{\"name\"").unwrap();
    let papers = manifest(
        folder.path(),
        &[
            paper("one", &["x", "y"]),
            paper("two", &["z"]),
            paper("untrue", &[]),
            paper("unplanned", &["w"]),
            paper("empty", &["v"]),
            paper("damaged", &["u"]),
        ],
    );
    let first = fake("lab/first", &[("x", &["b"]), ("z", &["d"])]);
    let second = fake("second", &[("x", &["b", "c"]), ("y", &["a"])]);
    let third = fake("third", &[("y", &["a"])]);
    let judges = [&first, &second, &third];
    let summary = judge(&papers, folder.path(), &judges, None);

    // Most judges say: `x` is met by b, `y` by a; `z` by nothing. The empty plan is not asked about.
    assert_eq!(
        judges.map(|judge| judge.asked.load(Ordering::Relaxed)),
        [2, 2, 2]
    );
    assert_eq!((summary.papers, summary.judged), (6, 3));
    assert_eq!(summary.without_truth, ["untrue"]);
    assert_eq!(summary.without_plan, ["unplanned"]);
    assert_eq!(summary.unreadable_plans[0].id, "damaged");
    assert!(summary.failed.is_empty());
    let scores = summary.scores.unwrap();
    // Of the papers: precision 2/3, 0, 0; recall 1, 0, 0.
    assert!((scores.precision.mean - 2.0 / 9.0).abs() < 1e-12);
    assert!((scores.recall.mean - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(scores.ndcg_score.unwrap().mean, 1.0 / 3.0); // a and b stand first
    assert_eq!(
        summary.judges[0].scores.unwrap().recall.mean,
        (0.5 + 1.0 + 0.0) / 3.0
    );
    assert_eq!(
        (summary.usage.answers, summary.usage.cost_usd),
        (6, Some(3.0))
    );

    let out = folder.path().join("judged");
    let most = fs::read_to_string(out.join("majority/one.jsonl")).unwrap();
    let [x, y] = [
        "{\"name_in_paper\":\"x\",\"name_in_plan\":\"b\"}",
        "{\"name_in_paper\":\"y\",\"name_in_plan\":\"a\"}",
    ];
    assert_eq!(most, format!("{x}\n{y}\n"));
    let lines = fs::read_to_string(out.join("second/one.jsonl")).unwrap();
    assert!(
        lines.starts_with("{\"name_in_paper\":\"x\",\"name_in_plan\":[\"b\",\"c\"]}\n"),
        "{lines}"
    );
    assert_eq!(
        json_of(&out.join("lab--first/one.json"))["discussion"],
        "So."
    );
    let evaluations = json_of(&out.join("evaluations.json"));
    assert_eq!(evaluations[0]["id"], "one");
    assert_eq!(
        evaluations[0]["matches"]["relevant"],
        json!([true, true, false])
    );
    assert_eq!(
        evaluations[0]["published"]["pred_labels"],
        json!([true, true, true])
    );
    assert_eq!(
        (&evaluations[0]["cost"], &evaluations[2]["cost"]),
        (&json!(1.5), &json!(0.0))
    );
    assert_eq!(
        json_of(&out.join("lab--first/evaluations.json"))[0]["scores"]["recall"],
        0.5
    );
    assert_eq!(json_of(&out.join("summary.json")), json!(summary));

    // Again: nobody is asked. With one entry each: only a counts.
    let again = judge(&papers, folder.path(), &judges, None);
    assert_eq!(again, summary);
    let top = judge(&papers, folder.path(), &judges, Some(1))
        .scores
        .unwrap();
    assert!((top.precision.mean - 1.0 / 3.0).abs() < 1e-12);
    assert!((top.recall.mean - 0.5 / 3.0).abs() < 1e-12);
    assert_eq!(
        judges.map(|judge| judge.asked.load(Ordering::Relaxed)),
        [2, 2, 2]
    );

    // A plan that has changed is judged again, alone.
    write_plan(&plans, "two", &["d", "e"]);
    judge(&papers, folder.path(), &judges, None);
    assert_eq!(
        judges.map(|judge| judge.asked.load(Ordering::Relaxed)),
        [3, 3, 3]
    );

    // And the majority is itself a judge that can be held to labels of people.
    let labelled = folder.path().join("labels.jsonl");
    let labels = json!({"id": "one", "labels": format!("{x}\n{}", y.replace("\"a\"", "null"))});
    fs::write(&labelled, labels.to_string()).unwrap();
    let found = agreement(&labelled, &out.join("majority")).unwrap();
    assert_eq!(
        (found.precision.mean, found.recall.mean, found.accuracy),
        (0.5, 1.0, Some(0.5))
    );
}

#[test]
fn a_judge_that_fails_is_left_out_and_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("plans")).unwrap();
    write_plan(&folder.path().join("plans"), "one", &["a"]);
    let papers = manifest(folder.path(), &[paper("one", &["x"])]);
    let good = fake("good", &[("x", &["a"])]);
    let mut broken = fake("broken", &[]);
    broken.is_broken = true;
    let summary = judge(&papers, folder.path(), &[&good, &broken], None);
    // One valid answer of one: its match is the majority.
    assert_eq!(summary.scores.unwrap().recall.mean, 1.0);
    assert_eq!(
        (summary.judges[1].judged, summary.judges[1].scores),
        (0, None)
    );
    assert_eq!(
        (
            summary.failed[0].judge.model.as_str(),
            summary.failed[0].id.as_str()
        ),
        ("broken", "one")
    );
    assert!(
        summary.failed[0]
            .error
            .contains("there is no <predictions>")
    );
    assert_eq!(broken.asked.load(Ordering::Relaxed), 2); // once, and to repair

    broken.is_broken = false;
    let summary = judge(&papers, folder.path(), &[&good, &broken], None);
    assert_eq!(summary.scores.unwrap().recall.mean, 0.0); // one of two is a tie
    assert_eq!(good.asked.load(Ordering::Relaxed), 1);

    let nobody = fake("nobody", &[]);
    let alone = judge(
        &papers,
        folder.path(),
        &[&Fake {
            is_broken: true,
            ..nobody
        }],
        None,
    );
    assert_eq!((alone.judged, alone.scores), (0, None));
    assert!(!folder.path().join("judged/majority/one.jsonl").exists());
}

#[test]
fn one_model_may_judge_several_times() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("plans")).unwrap();
    write_plan(&folder.path().join("plans"), "one", &["a", "b"]);
    let papers = manifest(folder.path(), &[paper("one", &["x"])]);
    let model = fake("model", &[("x", &["a"])]);
    let summary = judge(&papers, folder.path(), &[&model, &model, &model], None);
    let folders: Vec<&str> = summary
        .judges
        .iter()
        .map(|judge| judge.folder.as_str())
        .collect();
    assert_eq!(folders, ["model", "model--2", "model--3"]);
    assert_eq!(summary.judges[2].judge.to_string(), "model #3");
    assert_eq!(model.asked.load(Ordering::Relaxed), 3);
}

#[test]
fn plans_are_held_to_reviews() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("plans")).unwrap();
    write_plan(&folder.path().join("plans"), "one", &["a", "b", "c"]);
    let row = json!({"id": "one", "title": "T", "abstract": "A", "reviews": ["Ablate b and c."], "suggestions": 1});
    let papers = manifest(folder.path(), &[row]);
    let model = fake("model", &[("review", &["b", "c"])]);
    let summary = judge(&papers, folder.path(), &[&model], None);
    let (ours, theirs) = (summary.scores.unwrap(), summary.published.unwrap());
    assert_eq!((ours.precision.mean, ours.recall.mean), (2.0 / 3.0, 1.0));
    assert_eq!(
        (theirs.precision.mean, theirs.recall.mean, theirs.ndcg_score),
        (0.5, 1.0, None)
    );
    let lines = fs::read_to_string(folder.path().join("judged/model/one.jsonl")).unwrap();
    assert!(
        lines.contains("{\"name_in_plan\":\"b\",\"appears_in_review\":true}\n"),
        "{lines}"
    );
    judge(&papers, folder.path(), &[&model], None);
    assert_eq!(model.asked.load(Ordering::Relaxed), 1);
}

/// A judge that answers about reviews whatever it is asked.
struct Muddled;

impl Judge for Muddled {
    fn name(&self) -> JudgeName {
        JudgeName {
            model: "muddled".into(),
            sample: 0,
        }
    }

    fn paper_tokens(&self) -> usize {
        0
    }

    fn question(&self, _: &Case<'_>) -> Result<String, Error> {
        Ok(String::new())
    }

    fn judge(&self, _: &Case<'_>, _: &dyn Watch) -> Result<Judgement, Error> {
        Ok(Judgement {
            labels: Labels::Reviews(Vec::new()),
            discussion: String::new(),
            notes: Vec::new(),
            usage: Usage::default(),
        })
    }
}

#[test]
fn labels_of_another_kind_than_the_truth_are_no_judgement() {
    let folder = tempfile::tempdir().unwrap();
    let plans = folder.path().join("plans");
    fs::create_dir(&plans).unwrap();
    write_plan(&plans, "one", &["a"]);
    let manifest = manifest(folder.path(), &[paper("one", &["x"])]);
    let options = JudgeOptions {
        top_k: None,
        parallel: NonZeroUsize::MIN,
    };
    let judged = folder.path().join("judged");
    let summary = judge_all(
        &manifest,
        &plans,
        &[&Muddled],
        &options,
        &judged,
        &mut Quiet,
    )
    .unwrap();
    assert_eq!(summary.judged, 0);
    assert!(
        summary.failed[0].error.contains("another kind"),
        "{:?}",
        summary.failed
    );
}
