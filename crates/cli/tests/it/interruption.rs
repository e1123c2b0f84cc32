//! Work that is interrupted and taken up again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;

/// More steps than two checkpoints apart, so that there is time to interrupt after the first.
const STEPS: &str = "26";

struct Inversion {
    clip: String,
    output: PathBuf,
}

impl Inversion {
    fn arguments(&self) -> Vec<&str> {
        let settings = [
            "--steps",
            STEPS,
            "--ddim-inversion-steps",
            "2",
            "--caption",
            "a red circle",
        ];
        ["invert", &self.clip, "-o", text(&self.output)]
            .into_iter()
            .chain(settings)
            .collect()
    }

    fn work(&self) -> PathBuf {
        self.output.with_extension("").with_extension("motion.work")
    }

    /// Starts it, waits for its first checkpoint, and sends it a signal.
    fn interrupted_by(&self, signal: &str) -> Outcome {
        let child = program(self.arguments())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for(&self.work().join("checkpoint.safetensors"));
        send(signal, &child);
        Outcome::of(&child.wait_with_output().unwrap())
    }

    fn finished(&self) -> (Outcome, Vec<u8>) {
        let outcome = kinvert(self.arguments()).ended(0);
        assert!(!self.work().exists(), "the workspace is gone");
        (outcome, std::fs::read(&self.output).unwrap())
    }
}

fn wait_for(path: &Path) {
    let started = Instant::now();
    while !path.exists() {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "{} never came",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn an_inversion_that_is_stopped_or_killed_ends_with_the_same_motion() {
    let folder = temp();
    let clip = first_frames(2, folder.path());
    let inversion = |name: &str| Inversion {
        clip: clip.clone(),
        output: folder.path().join(format!("{name}.motion.safetensors")),
    };
    let (_, uninterrupted) = inversion("whole").finished();

    let stopped = inversion("stopped");
    let outcome = stopped.interrupted_by("-INT").ended(130).saying(&[
        "stopping after this step",
        "interrupted: what was done is kept in",
        "stopped.motion.work",
        "hint: run the same command again",
    ]);
    assert_eq!(outcome.stdout, "");
    assert!(!stopped.output.exists());
    let (outcome, motion) = stopped.finished();
    outcome.saying(&["note: going on after step 1"]); // ten and some
    assert!(
        motion == uninterrupted,
        "the file differs from that of a run in one go"
    );

    let killed = inversion("killed");
    assert_eq!(killed.interrupted_by("-KILL").code, None);
    assert!(!killed.output.exists());
    let (outcome, motion) = killed.finished();
    outcome.saying(&["note: going on after step 10 of"]);
    assert!(
        motion == uninterrupted,
        "the file differs from that of a run in one go"
    );
}

#[test]
fn a_transfer_that_is_stopped_says_where_it_goes_on() {
    let folder = temp();
    let clip = first_frames(2, folder.path());
    let out = folder.path().join("out");
    let line = [
        "transfer",
        &clip,
        "--prompt",
        "a star",
        "--steps",
        "500",
        "--ddim-inversion-steps",
        "2",
        "--out",
    ];
    let child = program(line.into_iter().chain([text(&out)]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&out.join("work/inverted_latents.safetensors"));
    send("-INT", &child);
    Outcome::of(&child.wait_with_output().unwrap())
        .ended(130)
        .saying(&["is kept in", "out/work"]);
    assert!(out.join("work/checkpoint.safetensors").is_file());
    assert!(!out.join("run.json").exists());
}
