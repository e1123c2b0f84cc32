//! `kinvert generate`.

use std::path::Path;

use kinvert::Motion;
use kinvert::embedding::Embedding;
use kinvert_video::{ReadOptions, probe, read_clip};

use crate::support::*;

fn frames(path: &Path) -> Vec<Vec<u8>> {
    let clip = read_clip(path, &ReadOptions::default()).unwrap();
    clip.frames()
        .iter()
        .map(|frame| frame.as_raw().clone())
        .collect()
}

#[test]
fn two_prompts_and_two_seeds_make_four_clips() {
    let folder = temp();
    let out = folder.path().join("clips");
    let line = format!(
        "generate --motion {} --steps 2 --seeds 0..2 --json -o {}",
        motion(),
        text(&out)
    );
    let report = kinvert_line(
        &line,
        &["--prompt", "a yellow star", "--prompt", "a blue ring"],
    )
    .ended(0)
    .json();

    let results = report["results"].as_array().unwrap();
    let made: Vec<_> = results
        .iter()
        .map(|r| (r["prompt"].as_str().unwrap(), r["seed"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        made,
        [
            ("a yellow star", 0),
            ("a yellow star", 1),
            ("a blue ring", 0),
            ("a blue ring", 1)
        ]
    );
    let clips: Vec<_> = (1..=4)
        .map(|index| frames(&out.join(format!("result-{index}.gif"))))
        .collect();
    for (i, clip) in clips.iter().enumerate() {
        assert_eq!(clip.len(), 4);
        assert!(
            clips[..i].iter().all(|other| other != clip),
            "clip {i} is like an earlier one"
        );
    }
    assert!(out.join("run.json").is_file());
    assert_eq!(
        report["motion"]["caption"],
        "a red circle on a gray background"
    );

    let single = folder.path().join("one.gif");
    let line = format!(
        "generate --motion {} --steps 2 --seeds 1 -o {}",
        motion(),
        text(&single)
    );
    kinvert_line(&line, &["--prompt", "a blue ring"]).ended(0);
    assert_eq!(
        frames(&single),
        clips[3],
        "a clip depends on its own prompt and seed alone"
    );
}

#[test]
fn kinds_debias_strength_sampler_and_noise_change_the_clip() {
    let folder = temp();
    let mut seen: Vec<Vec<Vec<u8>>> = Vec::new();
    for (index, flags) in [
        "",
        "--kind camera",
        "--debias none",
        "--debias normalize",
        "--strength 0.5",
        "--strength 0",
        "--sampler dpmpp-2m",
        "--noise none",
        "--noise-prior 0.9",
        "--guidance 1",
        "--negative red",
    ]
    .into_iter()
    .enumerate()
    {
        let out = folder.path().join(format!("{index}.gif"));
        let line = format!(
            "generate --motion {} --steps 2 {flags} -o {}",
            motion(),
            text(&out)
        );
        kinvert_line(&line, &["--prompt", "a star"]).ended(0);
        let clip = frames(&out);
        assert!(!seen.contains(&clip), "{flags:?} changes nothing");
        seen.push(clip);
    }
}

#[test]
fn other_lengths_and_sizes_work_with_a_note() {
    let folder = temp();
    let out = folder.path().join("wide.mp4");
    let line = format!(
        "generate --motion {} --steps 2 --frames 6 --size 72x40 -o {}",
        motion(),
        text(&out)
    );
    kinvert_line(&line, &["--prompt", "a star"])
        .ended(0)
        .saying(&["note: the inverted noise was resampled"]);
    let info = probe(&out).unwrap();
    assert_eq!((info.frames, info.width, info.height), (6, 72, 40));
}

#[test]
fn without_a_motion_the_plain_model_is_used_and_says_so() {
    let folder = temp();
    let out = folder.path().join("free.gif");
    let line = format!("generate --steps 1 --frames 2 -o {}", text(&out));
    kinvert_line(&line, &["--prompt", "a star"])
        .ended(0)
        .saying(&["note: there is no --motion"]);
    assert_eq!(probe(&out).unwrap().frames, 2);
}

#[test]
fn prompts_of_every_kind_work() {
    let folder = temp();
    let out = folder.path().join("a.gif");
    let generate = |prompt: &str| {
        let line = format!("generate --steps 1 --frames 1 -o {}", text(&out));
        kinvert_line(&line, &["--prompt", prompt]).ended(0)
    };
    generate("").saying(&["note: a prompt is empty"]);
    let long = generate(&"star ".repeat(2000))
        .saying(&["note: the prompt is too long for the text encoder"]);
    assert_eq!(
        long.stderr.matches("too long").count(),
        1,
        "said once: {long:#?}"
    );
    generate("--a prompt that begins like a flag");
    let odd = generate("ein ✨ 星 \u{202e}x\n\ttab \u{0301}\u{fffd}");
    assert_eq!(odd.stdout.lines().count(), 1, "{odd:#?}");
}

#[test]
fn a_motion_of_another_model_is_refused_unless_forced_and_fitting() {
    let folder = temp();
    let model = model_copy(folder.path());
    replace_in_file(
        &model.join("kinvert.json"),
        "\"sprites\"",
        "\"sprites-two\"",
    );
    change_file(&model.join("scheduler/scheduler_config.json"), |bytes| {
        bytes.push(b'\n')
    });
    let out = folder.path().join("a.gif");
    let line = |motion: &str, force: &str| {
        format!(
            "generate --model {} --motion {motion} --steps 1 -o {} {force}",
            text(&model),
            text(&out)
        )
    };
    let prompt = ["--prompt", "a star"];

    kinvert_line(&line(motion(), ""), &prompt)
        .ended(1)
        .saying(&[
            "error: the motion was learned on the model `sprites` (",
            "this is `sprites-two` (",
            "hint: pass the model it was learned on with --model, or --force",
        ]);
    assert!(!out.exists());
    kinvert_line(&line(motion(), "--force"), &prompt)
        .ended(0)
        .saying(&["note: the motion was learned on"]);
    assert!(out.exists());

    let mut narrow = Motion::load(motion().as_ref()).unwrap();
    for site in &mut narrow.sites {
        let shrunk = |embedding: &Embedding| {
            let ([rows, columns], frames) = (embedding.grid(), embedding.frames());
            Embedding::new(
                [rows, columns, frames, 7],
                vec![0.0; rows * columns * frames * 7],
            )
        };
        *site = site.map(shrunk);
    }
    let path = folder.path().join("narrow.motion.safetensors");
    narrow.save(&path).unwrap();
    kinvert_line(&line(text(&path), "--force"), &prompt)
        .ended(1)
        .saying(&[
            "error: the motion does not fit this model",
            "has 64 channels, the motion has 7",
        ]);
}

/// The frames of a clip that is generated with these arguments.
fn made(folder: &Path, name: &str, more: &str) -> Vec<Vec<u8>> {
    let out = folder.join(name);
    let line = format!(
        "generate --motion {} --steps 2 {more} -o {}",
        motion(),
        text(&out)
    );
    kinvert_line(&line, &["--prompt", "a yellow star"]).ended(0);
    frames(&out)
}

#[test]
fn the_integration_is_the_learned_one_unless_another_is_asked_for() {
    let folder = temp();
    let made = |name: &str, more: &str| made(folder.path(), name, more);
    let learned = made("learned.gif", "");
    assert_eq!(made("same.gif", "--integration add-before"), learned);
    assert_ne!(made("other.gif", "--integration multiply-after"), learned);
    let line = format!("generate --motion {} --prompt a -o x.gif", motion());
    kinvert_line(&line, &["--integration", "sideways"])
        .ended(2)
        .saying(&["add-before"]);
}

#[test]
fn contributions_and_longer_differences_are_chosen() {
    let folder = temp();
    let made = |name: &str, more: &str| made(folder.path(), name, more);
    let both = made("both.gif", "--contribution both --difference-frames 1");
    assert_eq!(made("default.gif", ""), both);
    let query_key = made("query_key.gif", "--contribution query-key");
    assert_ne!(query_key, both);
    assert_eq!(made("camera.gif", "--kind camera"), query_key);
    let neither = made("neither.gif", "--contribution neither");
    let camera_values = made("camera_values.gif", "--kind camera --contribution values");
    assert_eq!(camera_values, neither, "each of the two leaves one out");
    assert_ne!(made("two.gif", "--difference-frames 2"), both);
    let line = format!("generate --motion {} --prompt a -o x.gif", motion());
    kinvert_line(&line, &["--difference-frames", "4"])
        .ended(2)
        .saying(&["`difference frames` is 4, expected between 1 and 3"]);
    kinvert_line(&line, &["--integration", "concat"])
        .ended(2)
        .saying(&["`integration` is concat, expected another way"]);
    kinvert_line(&line, &["--contribution", "value"])
        .ended(2)
        .saying(&["query-key"]);
}
