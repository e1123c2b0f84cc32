//! Studies from the command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;

/// A plan in words, of two ablations.
const PLAN: &str = r#"<discussion>Which embedding does what?</discussion><predictions>
{"name": "Contribution", "ablated_part": "the motion value embeddings (MV)", "action": "REMOVE", "metrics": ["CLIP score", "FID"]}
{"name": "Debiasing", "ablated_part": "differencing of MV at inference", "action": "REPLACE", "replacement": ["no debiasing"], "metrics": ["text similarity"]}
</predictions>"#;

/// What makes a study small.
const TINY: &str =
    "\n[method]\ninversion.steps = 1\ninversion.ddim_inversion_steps = 1\ngeneration.steps = 1\n";

/// A study of a clip of two frames in a folder of its own, compiled from the plan and made small.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = temp();
        let clip = first_frames(2, folder.path());
        std::fs::write(folder.path().join("plan.jsonl"), PLAN).unwrap();
        let lab = Self { folder };
        let study = lab.path("study.toml");
        kinvert([
            "study",
            "compile",
            text(&lab.path("plan.jsonl")),
            "-o",
            text(&study),
            "--clip",
            &clip,
            "--prompt",
            "a yellow star",
            "--prompt",
            "a green ring",
        ])
        .ended(0);
        let compiled = std::fs::read_to_string(&study).unwrap();
        std::fs::write(&study, compiled + TINY).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Arguments that run the study in the folder `out`.
    fn run(&self, out: &str) -> Vec<String> {
        let [study, out] =
            [self.path("study.toml"), self.path(out)].map(|path| text(&path).to_owned());
        ["study".into(), "run".into(), study, "--out".into(), out].into()
    }

    /// The table of all values.
    fn table(&self, out: &str) -> String {
        kinvert(["study", "export", text(&self.path(out)), "--csv"])
            .ended(0)
            .stdout
    }
}

#[test]
fn a_plan_becomes_a_study_a_report_and_tables() {
    let lab = Lab::new();
    let out = lab.path("out");
    let outcome = kinvert(lab.run("out")).ended(0);
    assert!(
        outcome.stdout.contains("6 of 6 cells done, 6 of them now"),
        "{outcome:?}"
    );
    let page = std::fs::read_to_string(out.join("report/index.html")).unwrap();
    for words in [
        "Contribution",
        "differencing of MV at inference",
        "a green ring",
        "data:video/mp4;base64,",
    ] {
        assert!(page.contains(words), "the page lacks {words}");
    }
    assert!(out.join("report/results.csv").is_file() && out.join("report/tables.tex").is_file());

    // Done again, nothing is done, and everything is as it was.
    let before = lab.table("out");
    assert_eq!(
        before.lines().count(),
        1 + 6 * 3,
        "text, path and end point of every cell"
    );
    let again = kinvert(lab.run("out")).ended(0);
    assert!(
        again.stdout.contains("6 of 6 cells done, 0 of them now"),
        "{again:?}"
    );
    assert_eq!(lab.table("out"), before);

    let folder = text(&out);
    let status = kinvert(["study", "status", folder]).ended(0);
    assert!(status.stdout.contains("cells: 6 of 6 done"), "{status:?}");
    let list = kinvert(["study", "list", folder]).ended(0);
    assert!(
        list.stdout
            .contains("inversion.values: \"off\" (the method: \"2d\")"),
        "{list:?}"
    );
    let unknown = kinvert(["study", "rerun", folder, "--variant", "nobody"]).ended(2);
    assert!(
        unknown.stderr.contains("expected one of: method; "),
        "{unknown:?}"
    );
    let marked = kinvert([
        "study",
        "rerun",
        folder,
        "--variant",
        "debias none",
        "--json",
    ])
    .ended(0);
    assert_eq!(marked.json()["cells"], 2);
    let rest = kinvert(["study", "run", folder]).ended(0);
    assert!(
        rest.stdout.contains("6 of 6 cells done, 2 of them now"),
        "{rest:?}"
    );
    assert_eq!(lab.table("out"), before);

    let tex = kinvert(["study", "export", folder, "--latex"]).ended(0);
    assert!(tex.stdout.contains("\\toprule"), "{tex:?}");
    let lines = kinvert(["study", "export", folder, "--jsonl"]).ended(0);
    assert_eq!(lines.stdout.lines().count(), 6);
    let votes = kinvert(["study", "votes", folder, "--comparisons", "2"]).ended(0);
    assert!(votes.stdout.contains("2 comparisons, "), "{votes:?}");
    let pairs = std::fs::read_to_string(out.join("votes/pairs.csv")).unwrap();
    let pair = pairs.lines().nth(1).unwrap().split(',').next().unwrap();
    std::fs::write(
        out.join("votes/votes.csv"),
        format!(
            "pair,rater,left,motion,text,preference,seconds,time\n{pair},r1,a,left,left,left,5,\n"
        ),
    )
    .unwrap();
    kinvert([
        "study",
        "report",
        folder,
        "--out",
        text(&lab.path("elsewhere")),
    ])
    .ended(0);
    let page = std::fs::read_to_string(lab.path("elsewhere/index.html")).unwrap();
    assert!(page.contains("1 vote"), "votes are in the report");
}

#[test]
fn what_was_understood_is_told_and_strict_refuses_the_rest() {
    let folder = temp();
    let plan = folder.path().join("plan.jsonl");
    let line = r#"{"name": "Coffee", "ablated_part": "the coffee machine", "action": "REMOVE", "metrics": ["taste"]}"#;
    std::fs::write(&plan, line).unwrap();
    let arguments = ["study", "compile", text(&plan)];
    let outcome = kinvert(arguments).ended(0);
    assert!(outcome.stdout.contains("1 not understood"), "{outcome:?}");
    let study = folder.path().join("plan.study.toml");
    assert!(
        std::fs::read_to_string(&study)
            .unwrap()
            .contains("[[unresolved]]")
    );
    std::fs::remove_file(&study).unwrap();
    kinvert(arguments.into_iter().chain(["--strict"]))
        .ended(1)
        .saying(&["the coffee machine", "hint: "]);
    assert!(!study.exists());
    // What names a study and contradicts it is a mistake, and no folder is made.
    let lab = Lab::new();
    let mut arguments = lab.run("out");
    arguments.extend(["--prompt", "another"].map(String::from));
    kinvert(arguments)
        .ended(2)
        .saying(&["a study says itself what it runs on"]);
    assert!(!lab.path("out").exists());
    // Another model may run it, if it is there; a study that was begun keeps the one it has.
    let mut arguments = lab.run("out");
    arguments.extend(["--model", "absent"].map(String::from));
    kinvert(arguments).ended(1).saying(&["absent"]);
    let begun = lab.path("begun");
    std::fs::create_dir(&begun).unwrap();
    kinvert(["study", "run", text(&begun), "--model", "absent"])
        .ended(2)
        .saying(&["a study that was begun has its own folder, model and contents"]);
}

#[test]
fn a_disk_that_is_full_stops_the_run_and_loses_nothing() {
    let lab = Lab::new();
    // No file may grow beyond 256 KB: the store can be begun, and no motion written.
    let limited = |command: &Command| {
        let quoted = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = quoted
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("trap '' XFSZ; ulimit -f 500; exec {}", words.join(" ")),
        ]);
        shell.stdin(Stdio::null());
        Outcome::of(&shell.output().unwrap())
    };
    let full = limited(&program(lab.run("out"))).ended(1);
    assert!(
        full.stderr.contains("error: ") && full.stderr.contains("hint: check the path"),
        "{full:?}"
    );
    let status = kinvert(["study", "status", text(&lab.path("out"))]).ended(0);
    // A small motion may still have been written beside the one that was too large.
    assert!(
        !status.stdout.contains("cells: 6 of 6 done\n"),
        "{status:?}"
    );
    kinvert(lab.run("out")).ended(0);
    kinvert(lab.run("whole")).ended(0);
    assert_eq!(lab.table("out"), lab.table("whole"));
}

/// How often a process is killed.
const KILLS: u32 = 50;

#[test]
fn a_study_that_is_killed_again_and_again_ends_with_the_same_table() {
    let lab = Lab::new();
    let started = Instant::now();
    kinvert(lab.run("whole")).ended(0);
    let lasts = started.elapsed();
    let whole = lab.table("whole");

    let (mut kills, mut lives, mut starts) = (0, 0, 0);
    while kills < KILLS {
        let out = format!("out-{lives}");
        loop {
            let mut child = program(lab.run(&out))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let until = Instant::now() + moment(starts, lasts);
            starts += 1;
            while Instant::now() < until && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                break;
            }
            child.kill().unwrap(); // as `kill -9` does
            child.wait().unwrap();
            kills += 1;
            if kills == KILLS {
                kinvert(lab.run(&out)).ended(0);
                break;
            }
        }
        assert_eq!(lab.table(&out), whole, "after {kills} kills");
        assert_eq!(
            leftovers(&lab.path(&out)),
            0,
            "what killed processes left is gone"
        );
        std::fs::remove_dir_all(lab.path(&out)).unwrap();
        lives += 1;
    }
}

/// When a process is killed, if it has not ended before: anywhere in the time that a whole study takes.
fn moment(start: u32, lasts: Duration) -> Duration {
    let share = f64::from(start.wrapping_mul(2_654_435_761) >> 8) / f64::from(1_u32 << 24);
    lasts.mul_f64(share)
}

/// Unfinished files in a study's folder.
fn leftovers(folder: &Path) -> usize {
    let count = |folder: PathBuf| match std::fs::read_dir(folder) {
        Ok(entries) => entries.count(),
        Err(_) => 0,
    };
    count(folder.join("work"))
}
