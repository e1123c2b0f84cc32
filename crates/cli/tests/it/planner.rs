//! Plans from the command line, by the template and by language models that a server on this machine plays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kinvert_testkit::server::{Reply, ScriptedServer};
use serde_json::{Value, json};

use crate::support::*;

const KEY: &str = "sk-must-not-be-seen-0815";

const ANSWER: &str = r#"<existing>
{"name": "Embedding design", "section": "3.3", "quote": "Four combinations of 1D and 2D shapes"}
</existing>
<discussion>Nothing says what each embedding does.</discussion>
<predictions>
{"name": "One at a time", "ablated_part": "Using both MQK and MV embeddings", "action": "REMOVE", "metrics": ["FID"]}
{"name": "A wider net", "ablated_part": "width of the network", "action": "REPLACE", "replacement": ["twice as wide"], "metrics": ["FID"]}
</predictions>"#;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/planner")
        .join(name)
}

/// An answer as a stream of events.
fn answer(text: &str) -> Reply {
    let (half, rest) = text.split_at(text.len() / 2);
    let event = |value: Value| format!("data: {value}\n\n");
    let delta = |text: &str| event(json!({"choices": [{"delta": {"content": text}}]}));
    let stop = event(json!({"choices": [{"delta": {}, "finish_reason": "stop"}]}));
    let usage =
        event(json!({"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 50}}));
    Reply::new(200)
        .header("Content-Type", "text/event-stream")
        .chunked()
        .data(delta(half))
        .data(delta(rest))
        .data(stop)
        .data(usage + "data: [DONE]\n\n")
}

/// A folder of its own to plan in, and a server.
struct Desk {
    folder: tempfile::TempDir,
    server: ScriptedServer,
}

impl Desk {
    fn with(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            folder: temp(),
            server: ScriptedServer::replies(replies),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program in this folder, with a cache and a key of its own.
    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command
            .current_dir(self.folder.path())
            .env("KINVERT_CACHE", self.path("cache"))
            .env("KINVERT_API_KEY", KEY);
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&self.program(arguments).output().unwrap())
    }

    /// `planner propose` for the example, by a model at the server.
    fn propose(&self, more: &[&str]) -> Outcome {
        self.run(
            &self
                .arguments(more)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let paper = example("motion-inversion.md");
        let url = self.server.url("/v1");
        let arguments = [
            "planner",
            "propose",
            text(&paper),
            "--model",
            "vllm/test",
            "--base-url",
            &url,
        ];
        arguments
            .iter()
            .chain(more)
            .map(|part| (*part).to_owned())
            .collect()
    }

    /// The names of all files below its folder.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_plan_by_the_template_can_be_compiled() {
    let desk = Desk::with([]);
    let paper = example("motion-inversion.md");
    let outcome = desk
        .run(&["planner", "propose", text(&paper), "--count", "2"])
        .ended(0);
    assert!(
        outcome
            .stdout
            .contains("can be run as: query-key only, values only, neither embedding"),
        "{outcome:#?}"
    );
    assert_eq!(
        desk.files(),
        ["motion-inversion.plan.jsonl", "motion-inversion.plan.md"]
    );
    for plan in ["motion-inversion.plan.md", "motion-inversion.plan.jsonl"] {
        let compiled = desk
            .run(&[
                "study",
                "compile",
                plan,
                "--strict",
                "--json",
                "-o",
                "study.toml",
            ])
            .ended(0)
            .json();
        assert_eq!(
            compiled["variants"].as_array().unwrap().len(),
            7,
            "{compiled}"
        );
    }
}

#[test]
fn a_language_model_is_asked_once_and_its_answer_kept() {
    let desk = Desk::with([answer(ANSWER)]);
    let first = desk
        .propose(&["--json", "--prices", "1,10", "-o", "p.jsonl"])
        .ended(0);
    let told = first.json();
    assert_eq!(told["usage"]["input_tokens"], 1000);
    assert!(
        (told["usage"]["cost_usd"].as_f64().unwrap() - 0.0015).abs() < 1e-12,
        "{told}"
    );
    assert_eq!(told["variants"].as_array().unwrap().len(), 3, "{told}");
    assert_eq!(told["unresolved"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told["existing"][0]["name"], "Embedding design");

    let again = desk.propose(&["--json", "-o", "p.jsonl"]).ended(0).json();
    assert_eq!(again["usage"]["from_cache"], 1);
    assert_eq!(again["plan"], told["plan"]);
    let requests = desk.server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/v1/chat/completions");
    assert_eq!(
        requests[0].header("Authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(requests[0].json()["model"], "test");

    // The key is nowhere but in that header.
    assert!(!requests[0].text().contains(KEY));
    for folder in [desk.folder.path().to_owned(), desk.path("cache/answers")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let content = fs::read_to_string(&path).unwrap();
                assert!(!content.contains(KEY), "{}", path.display());
            }
        }
    }
    for outcome in [&first.stdout, &first.stderr] {
        assert!(!outcome.contains(KEY));
    }
}

#[test]
fn a_dry_run_shows_the_question_and_asks_nobody() {
    let desk = Desk::with([]);
    let outcome = desk.propose(&["--dry-run"]).ended(0);
    for told in [
        "Four combinations of 1D and 2D shapes",
        "<existing>",
        "tokens",
    ] {
        assert!(outcome.stdout.contains(told), "{outcome:#?}");
    }
    let tokens = desk.propose(&["--dry-run", "--json"]).ended(0).json()["tokens"].as_u64();
    assert!(
        tokens.is_some_and(|tokens| (500..5000).contains(&tokens)),
        "{tokens:?}"
    );
    assert_eq!(desk.server.requests().len(), 0);
    assert_eq!(desk.files(), [""; 0]);
    let paper = example("motion-inversion.md");
    desk.run(&["planner", "propose", text(&paper), "--dry-run"])
        .ended(2)
        .saying(&["the template asks nobody"]);
}

#[test]
fn a_malformed_answer_is_repaired_once_and_nothing_is_written_if_that_fails() {
    let repaired = Desk::with([answer("I would remove things."), answer(ANSWER)]);
    repaired
        .propose(&[])
        .ended(0)
        .saying(&["asking for it again"]);
    assert_eq!(repaired.server.requests().len(), 2);

    let hopeless = Desk::with([answer("no"), answer("<predictions></predictions>")]);
    hopeless.propose(&[]).ended(1).saying(&[
        "the answer could not be read, nor the second one",
        "there is no <discussion> element",
        "the plan has no ablations",
        "hint:",
    ]);
    assert_eq!(hopeless.files(), ["cache"]);
}

#[test]
fn servers_that_fail_are_told_and_tried_again_where_that_may_help() {
    let busy = Reply::new(429).header("Retry-After", "0");
    let desk = Desk::with([busy, answer(ANSWER)]);
    desk.propose(&[]).ended(0).saying(&["429"]);
    assert_eq!(desk.server.requests().len(), 2);

    let error = json!({"error": {"message": "no such model"}});
    let cases: [(Reply, &[&str]); 4] = [
        (Reply::json(404, &error), &["404", "no such model", "hint:"]),
        (Reply::json(500, &error), &["500", "no such model"]),
        (
            Reply::new(200)
                .header("Content-Type", "text/html")
                .data("<html>Log in</html>"),
            &["text/html"],
        ),
        (
            Reply::new(200)
                .header("Content-Type", "text/event-stream")
                .chunked()
                .repeat(
                    format!(
                        "data: {}\n\n",
                        json!({"choices": [{"delta": {"content": "x".repeat(50_000)}}]})
                    ),
                    1000,
                ),
            &["exceeds 4194304 bytes"],
        ),
    ];
    for (reply, told) in cases {
        let desk = Desk::with([reply]);
        desk.propose(&["--attempts", "1"]).ended(1).saying(told);
        assert_eq!(desk.server.requests().len(), 1);
        assert!(!desk.path("motion-inversion.plan.md").exists());
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_is_heard_while_a_server_is_silent() {
    let desk = Desk::with([Reply::silence()]);
    let arguments = desk.arguments(&[]);
    let child = desk
        .program(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while desk.server.requests().is_empty() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no request came"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    // The server never answers: this ends only because the interrupt is heard.
    Outcome::of(&child.wait_with_output().unwrap()).ended(130);
    assert!(!desk.path("motion-inversion.plan.md").exists());
}

#[test]
fn names_keys_and_addresses_that_cannot_be_used_are_told() {
    let desk = Desk::with([]);
    let paper = example("motion-inversion.md");
    let propose = |more: &[&str]| {
        let mut arguments = vec!["planner", "propose", text(&paper)];
        arguments.extend(more);
        let mut command = desk.program(&arguments);
        command.env_remove("OPENAI_API_KEY");
        Outcome::of(&command.output().unwrap())
    };
    propose(&["--model", "nobody/x"])
        .ended(1)
        .saying(&["nobody", "openai", "--base-url"]);
    propose(&["--model", "openai/x"])
        .ended(1)
        .saying(&["OPENAI_API_KEY"]);
    propose(&["--model", "x", "--base-url", "ftp://x"])
        .ended(1)
        .saying(&["ftp://x"]);
    propose(&["--model", "x", "--base-url", "http://example.com/v1"])
        .ended(1)
        .saying(&["http://example.com/v1"]);
    propose(&["--count", "0"]).ended(2).saying(&["1 to 50"]);
    propose(&["--prices", "cheap"])
        .ended(2)
        .saying(&["1.25,10"]);
    propose(&["--study", "nowhere"])
        .ended(1)
        .saying(&["nowhere"]);
    propose(&["-o", "a.md"]).ended(2).saying(&["one name"]);
    propose(&["-o", "no/such/folder.jsonl"])
        .ended(1)
        .saying(&["no/such/folder.jsonl"]);
    assert_eq!(desk.files(), [""; 0]);
}

#[test]
fn papers_that_cannot_be_read_are_told() {
    let desk = Desk::with([]);
    let write = |name: &str, bytes: &[u8]| fs::write(desk.path(name), bytes).unwrap();
    write("empty.md", b"");
    write("broken.pdf", b"%PDF-1.7\nnothing");
    write("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0");
    for (paper, told) in [
        ("empty.md", "an empty file"),
        ("broken.pdf", "broken.pdf"),
        ("picture.png", "picture.png"),
        ("missing.tex", "missing.tex"),
    ] {
        desk.run(&["planner", "propose", paper])
            .ended(1)
            .saying(&[told]);
    }
    assert_eq!(desk.files(), ["broken.pdf", "empty.md", "picture.png"]);
}

#[test]
fn a_long_paper_is_cut_and_that_is_told() {
    let desk = Desk::with([]);
    let mut paper = fs::read_to_string(example("motion-inversion.md")).unwrap();
    paper += "\n\n## References\n\n";
    paper += &"Somebody. Something. Somewhere.\n".repeat(2000);
    fs::write(desk.path("long.md"), paper).unwrap();
    let url = desk.server.url("/v1");
    let dry_run = [
        "planner",
        "propose",
        "long.md",
        "--model",
        "vllm/x",
        "--base-url",
        &url,
        "--dry-run",
        "--json",
        "--context",
        "10000",
        "--answer-tokens",
        "1000",
    ];
    let outcome = desk.run(&dry_run).ended(0).saying(&["\"References\""]);
    let asked = outcome.json();
    assert!(
        asked["tokens"].as_u64().unwrap() < 9000,
        "{}",
        asked["tokens"]
    );
    assert_eq!(asked["cuts"][0]["section"], "References");
}

#[test]
fn a_benchmark_is_planned_judged_and_compared_with_people() {
    let papers = example("papers.jsonl");
    let match_one = "<discussion>x</discussion><predictions>\n\
        {\"name_in_paper\": \"Embedding design\", \"name_in_plan\": \"Spatial dimensions of the motion embeddings\"}\n\
        {\"name_in_paper\": \"Inference strategy\", \"name_in_plan\": \"an entry that nobody wrote\"}\n</predictions>";
    let desk = Desk::with([answer(match_one)]);
    let plan = [
        "planner",
        "benchmark",
        text(&papers),
        "--mode",
        "author",
        "--count",
        "4",
        "--out",
        "plans",
        "--json",
    ];
    let made = desk.run(&plan).ended(0).json();
    assert_eq!(
        (&made["made"], &made["kept"]),
        (&json!(1), &json!(0)),
        "{made}"
    );
    let kept = desk.run(&plan).ended(0).json();
    assert_eq!(
        (&kept["made"], &kept["kept"]),
        (&json!(0), &json!(1)),
        "{kept}"
    );

    let url = desk.server.url("/v1");
    let judge = [
        "planner",
        "judge",
        "--plans",
        "plans",
        "--truth",
        text(&papers),
        "--judges",
        "template,vllm/judge",
        "--base-url",
        &url,
        "--json",
    ];
    let judged = desk.run(&judge).ended(0).json();
    // Entries: contribution, debias, integration, shape; the truth: shape and debias.
    let scores = |name: &str| {
        let judges = judged["judges"].as_array().unwrap();
        let of = judges
            .iter()
            .find(|judge| judge["judge"]["model"] == name)
            .unwrap();
        ["precision", "recall"].map(|score| of["scores"][score]["mean"].as_f64().unwrap())
    };
    assert_eq!(scores("template"), [0.5, 1.0], "{judged}");
    assert_eq!(scores("vllm/judge"), [0.25, 0.5], "{judged}");
    // Of two judges both have to agree.
    assert_eq!(judged["scores"]["recall"]["mean"], 0.5, "{judged}");
    desk.run(&judge).ended(0); // all of it is kept: the server has no more answers
    assert_eq!(desk.server.requests().len(), 1);

    let labels = json!({"id": "motion-inversion", "labels": [
        {"name_in_paper": "Embedding design", "name_in_plan": "x"},
        {"name_in_paper": "Inference strategy", "name_in_plan": null}]});
    fs::write(desk.path("labels.jsonl"), labels.to_string()).unwrap();
    let told = desk
        .run(&[
            "planner",
            "eval-judge",
            "--labels",
            "labels.jsonl",
            "--judged",
            "plans/judged/template",
        ])
        .ended(0);
    assert!(told.stdout.contains("precision: 0.50"), "{told:#?}");
    assert!(told.stdout.contains("Cohen's kappa: 0.00"), "{told:#?}");
}

#[test]
fn a_paper_that_fails_does_not_stop_the_others() {
    let desk = Desk::with([]);
    let rows = [
        json!({"id": "good", "title": "A", "abstract": "B", "path": "good.md"}),
        json!({"id": "gone", "title": "A", "abstract": "B", "path": "gone.md"}),
    ];
    let rows = rows.map(|row| row.to_string()).join("\n");
    fs::write(desk.path("papers.jsonl"), rows).unwrap();
    fs::write(
        desk.path("good.md"),
        "# Title\n\n## Abstract\n\nWe learn motion embeddings.\n",
    )
    .unwrap();
    desk.run(&["planner", "benchmark", "papers.jsonl", "--out", "plans"])
        .ended(1)
        .saying(&["1 of 2 papers failed", "gone"]);
    assert!(desk.path("plans/good.jsonl").exists());
    assert!(!desk.path("plans/gone.jsonl").exists());
    desk.run(&[
        "planner",
        "judge",
        "--plans",
        "nowhere",
        "--truth",
        "papers.jsonl",
    ])
    .ended(1)
    .saying(&["nowhere", "no such folder"]);
    assert!(!desk.path("nowhere").exists());
    let climbing = json!({"id": "x", "title": "A", "abstract": "B", "path": "../../etc/passwd"});
    fs::write(desk.path("climbing.jsonl"), climbing.to_string()).unwrap();
    desk.run(&["planner", "benchmark", "climbing.jsonl"])
        .ended(1)
        .saying(&["row 1", "../../etc/passwd"]);
}
