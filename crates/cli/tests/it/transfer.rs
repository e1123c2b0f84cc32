//! `kinvert transfer` and `kinvert invert`: files, notes and records.

use kinvert::{Motion, MotionModel};
use kinvert_video::probe;

use crate::support::*;

#[test]
fn transfer_writes_every_named_file_and_a_full_record() {
    let folder = temp();
    let (clip, out) = (bounce(), folder.path().join("out"));
    let arguments = [
        "transfer",
        &clip,
        "--prompt",
        "a yellow star",
        "--sampling-steps",
        "2",
        "--json",
        "--out",
    ];
    let outcome = kinvert(arguments.into_iter().chain([text(&out)]).chain(QUICK))
        .ended(0)
        .saying(&["note: there is no caption"]);

    for (name, frames, size) in [
        ("reference.mp4", 4, [64, 64]),
        ("result.mp4", 4, [64, 64]),
        ("result.gif", 4, [64, 64]),
        ("side_by_side.mp4", 4, [132, 64]),
        ("side_by_side.gif", 4, [132, 64]),
        ("contact_sheet.png", 1, [268, 164]),
    ] {
        let info = probe(&out.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (info.frames, [info.width, info.height]),
            (frames, size),
            "{name}"
        );
    }
    let motion = Motion::load(&out.join("motion.motion.safetensors")).unwrap();
    assert_eq!(
        (motion.metadata.frames, motion.metadata.losses.len()),
        (4, 2)
    );
    assert!(
        out.join("work/latents.safetensors").is_file(),
        "work is kept for other prompts"
    );

    let run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
    assert_eq!(run, outcome.json(), "--json prints what run.json holds");
    assert_eq!(run["format_version"], 1);
    assert_eq!(run["kinvert_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(run["device"], "cpu");
    assert_eq!(run["dtype"], "f32");
    assert_eq!(run["model"]["sha256"], motion.metadata.model.sha256);
    assert_eq!(run["input"]["path"], clip);
    assert_eq!(run["input"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(
        run["input"]["used_sha256"],
        motion.metadata.reference_sha256
    );
    assert_eq!(
        run["input"]["used_times_s"],
        serde_json::json!([0.0, 0.125, 0.25, 0.375])
    );
    assert_eq!(run["caption"], "");
    let recommended = std::fs::read(built_in_model().join("kinvert.json")).unwrap();
    let recommended: serde_json::Value = serde_json::from_slice(&recommended).unwrap();
    for (part, setting) in [("inversion", "learning_rate"), ("generation", "guidance")] {
        assert_eq!(run[part][setting], recommended[part][setting], "{setting}");
    }
    assert_eq!(run["losses"].as_array().unwrap().len(), 2);
    assert_eq!(run["prompts"], serde_json::json!(["a yellow star"]));
    assert_eq!(run["results"][0]["seed"], 0);
    assert_eq!(run["files"]["contact_sheet"], "contact_sheet.png");
    let notes = run["notes"].as_array().unwrap();
    assert!(
        notes
            .iter()
            .any(|note| note.as_str().unwrap().contains("there is no caption"))
    );
    let stages: Vec<&str> = run["timings"]["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["stage"].as_str().unwrap())
        .collect();
    assert!(
        stages.contains(&"learning the motion") && stages.contains(&"generating"),
        "{stages:?}"
    );
    assert!(run["timings"]["total_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_second_transfer_uses_the_motion_that_is_there() {
    let folder = temp();
    let clip = first_frames(3, folder.path());
    let out = folder.path().join("out");
    // Ten steps, because learning keeps its state every ten.
    let line = format!(
        "transfer {clip} --out {} --steps 10 --ddim-inversion-steps 2 --sampling-steps 1",
        text(&out)
    );
    kinvert_line(&line, &["--prompt", "a star"])
        .ended(0)
        .saying(&["note: the clip has 3 usable frame(s), fewer than the 16"]);
    let learned = std::fs::read(out.join("motion.motion.safetensors")).unwrap();

    let again = kinvert_line(
        &line,
        &[
            "--prompt", "a ring", "--prompt", "a cross", "--seeds", "1,2",
        ],
    )
    .ended(0)
    .saying(&["note: going on after step 10"]);
    assert_eq!(
        learned,
        std::fs::read(out.join("motion.motion.safetensors")).unwrap()
    );
    assert!(
        again.stdout.contains("result-1.mp4 to result-4.mp4"),
        "{again:#?}"
    );
    assert_eq!(again.stdout.lines().count(), 1);
    for index in 1..=4 {
        assert_eq!(
            probe(&out.join(format!("result-{index}.mp4")))
                .unwrap()
                .frames,
            3
        );
    }
    // The reference and four results of 64 pixels, with gutters of 4.
    assert_eq!(
        probe(&out.join("side_by_side.mp4")).unwrap().width,
        5 * 64 + 4 * 4
    );
}

#[test]
fn quiet_says_nothing_but_the_result() {
    let folder = temp();
    let clip = first_frames(2, folder.path());
    let path = folder.path().join("new/x.motion.safetensors");
    std::fs::create_dir(folder.path().join("new")).unwrap();
    let line = format!(
        "invert {clip} -q -o {} --steps 1 --ddim-inversion-steps 1",
        text(&path)
    );
    let outcome = kinvert_line(&line, &[]).ended(0);
    assert_eq!(outcome.stderr, "");
    assert!(outcome.stdout.ends_with(
        "x.motion.safetensors: the motion of 2 frames of 64x64 at 8 fps, 6 sites, 1 steps\n"
    ));
    let left: Vec<_> = std::fs::read_dir(folder.path().join("new"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "the workspace is gone: {left:?}");
}

#[test]
fn frames_are_chosen_resized_and_recorded() {
    let folder = temp();
    let path = folder.path().join("x.motion.safetensors");
    let line = format!(
        "invert {} --json -o {} --fps 4 --start 2 --stride 2 --frames 3 --size 72x40 --fit pad --steps 1 \
         --ddim-inversion-steps 1 --sites up:64 --lr 0.5 --objective base --timesteps 0-10 --seed 7 \
         --integration multiply-after --query-key grid-2x3 --values off",
        bounce(),
        text(&path)
    );
    let report = kinvert_line(&line, &["--caption", "a red circle"])
        .ended(0)
        .json();
    let metadata = &report["metadata"];
    assert_eq!(
        (&metadata["frames"], &metadata["size"]),
        (&3.into(), &serde_json::json!([72, 40]))
    );
    assert_eq!(metadata["fps"], 2.0, "every other frame of four a second");
    assert_eq!(
        report["input"]["used_times_s"],
        serde_json::json!([0.5, 1.0, 1.5])
    );
    let settings = &metadata["settings"];
    assert_eq!(
        (&settings["learning_rate"], &settings["seed"]),
        (&0.5.into(), &7.into())
    );
    assert_eq!(
        (&settings["objective"], &settings["sites"]),
        (&"base".into(), &"up:64".into())
    );
    assert_eq!(settings["integration"], "multiply-after");
    assert_eq!(
        (&settings["query_key"], &settings["values"]),
        (&"grid-2x3".into(), &"off".into())
    );
    let inspected = kinvert(["inspect", text(&path), "--json"]).ended(0).json();
    let site = &inspected["sites"][0];
    assert_eq!(
        (&site["query_key"], &site["values"]),
        (
            &serde_json::json!([6, 3, 64]),
            &serde_json::json!([null, null])
        )
    );
    let grids = metadata["grids"].as_object().unwrap();
    assert!(
        grids.keys().all(|site| site.starts_with("up_blocks.2")),
        "{grids:?}"
    );
    assert_eq!(grids.values().next().unwrap(), &serde_json::json!([5, 9]));
}

/// Memory of generation must not grow with the number of clips: the library hands out one at a time and keeps
/// at most a few. That the order and names of files follow prompts, then seeds, is what users rely on.
#[test]
fn the_library_generates_what_the_program_does() {
    let folder = temp();
    let files = kinvert_world::model::model_files();
    let model: Box<dyn MotionModel> = kinvert::load_model(
        &files.into(),
        &kinvert::LoadOptions::default(),
        "cpu".parse().unwrap(),
    )
    .unwrap();
    let motion_file = motion();
    let path = folder.path().join("a.mp4");
    let line = format!(
        "generate --motion {motion_file} --steps 2 --json -o {}",
        text(&path)
    );
    let report = kinvert_line(&line, &["--prompt", "a blue ring", "--seeds", "3"])
        .ended(0)
        .json();

    let settings = kinvert::GenerationSettings {
        steps: 2,
        ..model.recommendations().generation.clone()
    };
    let motion = Motion::load(motion_file.as_ref()).unwrap();
    let clip = model
        .generate(
            Some(&motion),
            "a blue ring",
            3,
            &settings,
            &mut kinvert::Quiet,
        )
        .unwrap();
    assert_eq!(
        report["results"][0]["sha256"],
        kinvert::pixels::sha256(&clip)
    );
}
