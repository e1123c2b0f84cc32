//! `kinvert-sprites evaluate`.

use std::path::Path;

use kinvert::{Device, Progress, Quiet};
use kinvert_sprites::Error;
use kinvert_sprites::evaluate::{Evaluation, Section, Settings, evaluate};
use kinvert_world::model::model_files;
use serde_json::Value;

use crate::support::*;

/// A few seconds of everything.
fn quick(sections: &[Section]) -> Settings {
    let mut settings = Settings {
        sections: sections.to_vec(),
        clips: 2,
        frames: 40,
        prompts: 2,
        transfer_clips: 1,
        ..Settings::of(&model_files()).unwrap()
    };
    settings.inversion.steps = 1;
    settings.inversion.ddim_inversion_steps = 1;
    settings.generation.steps = 1;
    settings
}

fn measured(settings: &Settings) -> Evaluation {
    evaluate(&model_files(), settings, Device::Cpu, &mut Quiet).unwrap()
}

/// The numbers of an evaluation, without the time it took.
fn numbers(evaluation: &Evaluation, section: &str) -> Value {
    let mut json = serde_json::to_value(evaluation).unwrap();
    let mut section = json[section].take();
    section.as_object_mut().unwrap().remove("wall_s").unwrap();
    section
}

#[test]
fn what_is_asked_for_is_measured_and_nothing_else() {
    let settings = quick(&[Section::Vae, Section::Clip]);
    let evaluation = measured(&settings);
    assert!(evaluation.generation.is_none() && evaluation.transfer.is_none());

    let vae = evaluation.vae.as_ref().unwrap().results;
    assert_eq!(vae.psnr_db.of, 2);
    assert!(vae.psnr_db.mean > 20.0, "{vae:?}");
    assert!(vae.sprite_psnr_db.mean < vae.psnr_db.mean, "{vae:?}");

    let clip = evaluation.clip.as_ref().unwrap().results;
    for shares in [clip.frames, clip.after_vae] {
        assert_eq!(shares.all.of, 40);
        assert!(shares.background.share > 0.8, "{shares:?}");
        // Of 240 captions a guess would be right once in 6 times of 40.
        assert!(shares.all.right > 4, "{shares:?}");
    }
}

#[test]
fn seeds_decide_what_is_generated_and_one_seed_gives_one_result() {
    let settings = quick(&[Section::Generation]);
    let first = measured(&settings);
    let again = measured(&settings);
    assert_eq!(
        numbers(&first, "generation"),
        numbers(&again, "generation"),
        "the same again"
    );
    let other = measured(&Settings {
        seed: 1,
        ..settings
    });
    assert_ne!(numbers(&first, "generation"), numbers(&other, "generation"));

    let generation = first.generation.unwrap().results;
    let fid = generation.fid_clip;
    assert_eq!((fid.frames, generation.by_clip.all.of), (32, 2));
    // One denoising step makes no pictures: they are further from real ones than other real ones are.
    assert!(fid.distance > fid.of_real_clips, "{fid:?}");
    assert!(fid.of_real_clips > 0.0, "{fid:?}");
}

#[test]
fn every_way_of_transfer_is_measured_on_the_same_clips() {
    let evaluation = measured(&quick(&[Section::Transfer]));
    let ways = evaluation.transfer.as_ref().unwrap().results.ways.clone();
    assert_eq!(ways.len(), 6);
    for way in &ways {
        assert_eq!((way.path.of, way.by_clip.all.of), (1, 1), "{}", way.name);
        assert_eq!(way.path_correlations, [way.path.mean], "{}", way.name);
        assert!((-1.0..=1.0).contains(&way.path.mean), "{}", way.name);
    }
    let table = evaluation.to_markdown();
    assert!(ways.iter().all(|way| table.contains(way.name)), "{table}");
}

/// Wants to stop when something is done.
#[derive(Default)]
struct StopAtOnce {
    advances: usize,
}

impl Progress for StopAtOnce {
    fn start(&mut self, _stage: &str, _total: usize) {}
    fn advance(&mut self, _done: usize, _detail: &str) {
        self.advances += 1;
    }
    fn finish(&mut self) {}
    fn note(&mut self, _message: &str) {}
    fn is_cancelled(&self) -> bool {
        self.advances > 0
    }
}

#[test]
fn work_that_is_cancelled_ends_after_the_step_at_hand() {
    for section in [
        Section::Vae,
        Section::Clip,
        Section::Generation,
        Section::Transfer,
    ] {
        let mut progress = StopAtOnce::default();
        let settings = quick(&[section]);
        let error = evaluate(&model_files(), &settings, Device::Cpu, &mut progress).unwrap_err();
        assert!(error.is_cancelled(), "{section:?}: {error}");
        assert_eq!(progress.advances, 1, "{section:?}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    type Change = fn(&mut Settings);
    let cases: [(&str, Change); 6] = [
        ("`sections` is empty", |s| s.sections.clear()),
        ("`clips` is 0, expected between 1 and 100000", |s| {
            s.clips = 0
        }),
        ("`frames` is 100001", |s| s.frames = 100_001),
        ("`prompts` is 0", |s| s.prompts = 0),
        ("`transfer clips` is 0", |s| s.transfer_clips = 0),
        ("`steps` is 0", |s| s.inversion.steps = 0),
    ];
    for (expected, change) in cases {
        let mut settings = quick(&[Section::Vae]);
        change(&mut settings);
        let error = evaluate(&model_files(), &settings, Device::Cpu, &mut Quiet).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(error.is_usage(), "{error}");
    }
}

/// What is wrong with a copy of the built-in model after a change.
#[track_caller]
fn refused(change: impl FnOnce(&Path)) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let model = model_copy(folder.path());
    change(&model);
    let files = kinvert::ModelFiles::folder(model);
    let error = evaluate(&files, &quick(&[Section::Vae]), Device::Cpu, &mut Quiet).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    assert!(!error.is_usage(), "{error}");
    error
}

#[test]
fn a_model_without_a_judge_is_refused() {
    let error = refused(|model| std::fs::remove_dir_all(model.join("clip")).unwrap());
    assert!(matches!(error, Error::NoJudge { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("clip/config.json: no such file"), "{text}");
}

#[test]
fn a_model_of_other_clips_is_refused() {
    let error = refused(|model| {
        replace_in_file(&model.join("kinvert.json"), "[64, 64]", "[128, 96]");
    });
    assert_eq!(
        error.to_string(),
        "`model` makes clips of 16 frames of 128x96, expected 16 frames of 64x64"
    );
    let error = refused(|model| {
        let change = (r#""frames": 16"#, r#""frames": 8"#);
        replace_in_file(&model.join("kinvert.json"), change.0, change.1);
    });
    assert!(matches!(error, Error::OtherClips { .. }), "{error}");
    // Without recommendations it makes the clips that its kind was published with.
    let error = refused(|model| std::fs::remove_file(model.join("kinvert.json")).unwrap());
    assert!(
        error.to_string().contains("24 frames of 576x320"),
        "{error}"
    );
}

#[test]
fn text_towers_of_another_length_are_refused() {
    let [whole, short] = [r#""model_max_length": 16"#, r#""model_max_length": 8"#];
    for tokenizer in ["clip", "tokenizer"] {
        let error = refused(|model| {
            let path = model.join(tokenizer).join("tokenizer_config.json");
            replace_in_file(&path, whole, short);
        });
        assert!(matches!(error, Error::CaptionCut { .. }), "{error}");
        assert!(error.to_string().contains(tokenizer), "{error}");
    }
    let error = refused(|model| {
        let path = model.join("clip/tokenizer_config.json");
        replace_in_file(&path, whole, r#""model_max_length": 20"#);
    });
    let text = error.to_string();
    assert!(text.contains("the text encoder has 16 positions"), "{text}");
}

#[test]
fn the_program_prints_tables_and_records() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("record.json");
    let more = ["--out", out.to_str().unwrap()];
    let run = kinvert_sprites("evaluate -q --device cpu --only vae --frames 17", &more);
    let table = run.ended(0, &[]).stdout;
    assert!(table.contains("| vae: PSNR of the sprite |"), "{table}");
    assert!(table.contains("| 2 clips |"), "{table}");
    let record: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(record["settings"]["clips"], 2);
    assert!(record["vae"]["psnr_db"]["mean"].is_f64());

    let run = kinvert_sprites("evaluate --device cpu --only vae --frames 1 --json", &[]);
    let record: Value = serde_json::from_str(&run.ended(0, &[]).stdout).unwrap();
    assert_eq!(record["device"], "cpu");
}

#[test]
fn the_program_ends_with_the_code_of_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    kinvert_sprites("evaluate --only nothing", &[]).ended(2, &["nothing"]);
    kinvert_sprites("evaluate --prompts 0", &[]).ended(2, &["error: `prompts` is 0"]);
    kinvert_sprites("evaluate --objective mine", &[]).ended(2, &["debiased-hybrid"]);
    for model in [empty, "/no/such/folder"] {
        let saying = ["config.json: no such file", "hint: pass the folder of a"];
        kinvert_sprites("evaluate --model", &[model]).ended(1, &saying);
    }
    let out = folder.path().join("missing/record.json");
    let more = ["--out", out.to_str().unwrap()];
    kinvert_sprites("evaluate --only vae --frames 1", &more)
        .ended(1, &["writing failed", "hint: "]);
}

/// Ctrl-C is sent when the program listens for it, which Linux tells.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_evaluation_ends_with_its_own_code() {
    use std::process::{Command, Stdio};

    let arguments = "evaluate --only generation --prompts 100000 --generation-steps 1";
    let child = program(arguments.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let listens = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & 0b10 != 0 // signal 2, SIGINT
    };
    while !listens() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    let status = Command::new("kill").args(["-INT", &pid]).status();
    assert!(status.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.ends_with("interrupted\n"), "{stderr}");
    assert!(output.stdout.is_empty());
}
