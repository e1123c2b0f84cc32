//! Everything that can be wrong with files, arguments and the machine: an error that says so, the right exit
//! code, and never a panic.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::support::*;

#[test]
fn clips_that_are_none_are_refused() {
    let folder = temp();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("text.mp4"), "Once upon a time.").unwrap();
    std::fs::write(at("empty.mp4"), "").unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    let whole = std::fs::read(bounce()).unwrap();
    std::fs::write(at("cut.mp4"), &whole[..whole.len() / 2]).unwrap();
    for (name, expected) in [
        ("text.mp4", "text.mp4: found text, expected a video"),
        ("empty.mp4", "found an empty file"),
        ("folder", "the folder holds no image"),
        ("cut.mp4", "cut.mp4: "),
        ("missing.mp4", "missing.mp4: cannot open"),
    ] {
        let (clip, out) = (at(name), at("out"));
        kinvert([
            "transfer",
            text(&clip),
            "--prompt",
            "a star",
            "--out",
            text(&out),
        ])
        .ended(1)
        .saying(&["error: ", expected, "hint: "]);
        assert!(!out.exists(), "{name}: nothing is written");
        kinvert(["inspect", text(&clip)])
            .ended(1)
            .saying(&[expected]);
    }
}

#[test]
fn one_frame_is_too_few() {
    let folder = temp();
    let clip = first_frames(1, folder.path());
    let motion = folder.path().join("x.motion.safetensors");
    kinvert(["invert", &clip, "-o", text(&motion)])
        .ended(1)
        .saying(&[
            "error: the clip has 1 usable frame(s), expected at least 2",
            "hint: choose a longer clip",
        ]);
    assert!(!motion.exists());
    let start = ["invert", &bounce(), "--start", "16", "-o", text(&motion)];
    kinvert(start)
        .ended(1)
        .saying(&["the choice starts at frame 16, the video has 16"]);
}

/// Writes the weights of a file anew, changed.
fn change_weights(path: &Path, change: impl Fn(&str, &mut Dtype, &mut Vec<u8>) -> bool) {
    change_file(path, |bytes| {
        let stored = SafeTensors::deserialize(bytes).unwrap();
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, view) in stored.iter() {
            let (mut dtype, mut data) = (view.dtype(), view.data().to_vec());
            if change(name, &mut dtype, &mut data) {
                tensors.push((name.to_string(), dtype, view.shape().to_vec(), data));
            }
        }
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            (
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), data).unwrap(),
            )
        });
        *bytes = safetensors::serialize(views, None::<HashMap<String, String>>).unwrap();
    });
}

#[test]
fn damaged_models_are_refused_with_the_file_and_the_reason() {
    const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
    const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
    const TENSOR: &str = "decoder.conv_in.bias";
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &[&str]); 9] = [
        (
            "truncated",
            |model| change_file(&model.join(UNET), |bytes| bytes.truncate(bytes.len() / 2)),
            &[UNET, "not a valid safetensors file"],
        ),
        (
            "huge header",
            |model| change_file(&model.join(UNET), |bytes| bytes[..8].fill(0xff)),
            &[UNET, "not a valid safetensors file"],
        ),
        (
            "other dtype",
            |model| {
                change_weights(&model.join(VAE), |name, dtype, _| {
                    if name == TENSOR {
                        *dtype = Dtype::I16;
                    }
                    true
                });
            },
            &[VAE, TENSOR, "unusable"],
        ),
        (
            "not a number",
            |model| {
                change_weights(&model.join(VAE), |name, dtype, data| {
                    if name == TENSOR {
                        assert_eq!(*dtype, Dtype::F16);
                        data[..2].copy_from_slice(&0x7e00_u16.to_le_bytes());
                    }
                    true
                });
            },
            &[VAE, TENSOR, "finite"],
        ),
        (
            "missing tensor",
            |model| change_weights(&model.join(VAE), |name, _, _| name != TENSOR),
            &[VAE, TENSOR, "1 missing"],
        ),
        (
            "unknown class",
            |model| {
                replace_in_file(
                    &model.join("unet/config.json"),
                    "UNet3DConditionModel",
                    "UNet9DModel",
                )
            },
            &["unet/config.json: `_class_name` is \"UNet9DModel\", expected UNet3DConditionModel"],
        ),
        (
            "no JSON",
            |model| std::fs::write(model.join("vae/config.json"), "{").unwrap(),
            &["vae/config.json: not the expected JSON"],
        ),
        (
            "missing part",
            |model| std::fs::remove_file(model.join("tokenizer/vocab.json")).unwrap(),
            &["tokenizer/vocab.json: no such file"],
        ),
        (
            "unknown recommendation",
            |model| std::fs::write(model.join("kinvert.json"), r#"{"frame": 3}"#).unwrap(),
            &[
                "kinvert.json: not the expected JSON",
                "unknown field `frame`",
            ],
        ),
    ];
    for (name, damage, expected) in cases {
        let folder = temp();
        let model = model_copy(folder.path());
        damage(&model);
        let outcome = kinvert(["inspect", text(&model)]);
        assert_eq!(outcome.stdout, "", "{name}");
        outcome
            .ended(1)
            .saying(&["error: cannot load the base model\n  because: "])
            .saying(expected);
    }
    let folder = temp();
    let missing = folder.path().join("nothing");
    let line = format!("generate --model {} -o a.mp4 --prompt x", text(&missing));
    kinvert_line(&line, &[])
        .ended(1)
        .saying(&["no such file", "hint: pass the folder of"]);
}

#[test]
fn damaged_motions_are_refused() {
    let folder = temp();
    let path = folder.path().join("x.motion.safetensors");
    let whole = std::fs::read(motion()).unwrap();
    for (bytes, expected) in [
        (&whole[..whole.len() - 100], "no safetensors file"),
        (b"not a motion", "no safetensors file"),
        (
            &std::fs::read(model_copy(folder.path()).join("text_encoder/model.safetensors"))
                .unwrap(),
            "`kinvert.motion`",
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        kinvert(["inspect", text(&path)]).ended(1).saying(&[
            "not a usable motion file",
            expected,
            "hint: ",
        ]);
        kinvert([
            "generate",
            "--motion",
            text(&path),
            "--prompt",
            "x",
            "-o",
            "a.mp4",
        ])
        .ended(1)
        .saying(&[expected]);
    }
}

#[test]
fn wrong_usage_ends_with_two() {
    let clip = bounce();
    let learn = format!("invert {clip} -o /nonexistent/x.motion.safetensors");
    let generate = format!(
        "generate --motion {} -o /nonexistent/a.mp4 --prompt x",
        motion()
    );
    for (line, expected) in [
        (
            format!("{learn} --device tpu"),
            "there is no device `tpu`; there is cpu",
        ),
        (
            format!("{learn} --device cuda:7"),
            "there is no device `cuda:7`; there is cpu",
        ),
        (
            format!("{learn} --dtype f64"),
            "expected auto, f32, f16 or bf16",
        ),
        (
            format!("{learn} --size 64"),
            "expected a width and a height",
        ),
        (
            format!("{learn} --size 63x64 --frames 2"),
            "`size` is 63x64, expected multiples of 8",
        ),
        (format!("{learn} --size 99999x99999"), "pixels in all"),
        (format!("{learn} --sites sideways"), "`published`, `all`"),
        (
            format!("{learn} --sites up:999 --frames 2"),
            "`up:999` names no site of this network; it has transformer_in",
        ),
        (
            format!("{learn} --steps 0 --frames 2"),
            "`steps` is 0, expected between 1 and",
        ),
        (
            format!("{learn} --lr nan --frames 2"),
            "`learning rate` is NaN",
        ),
        (
            format!("{learn} --timesteps 900-100 --frames 2"),
            "`timesteps` is 900-100",
        ),
        (
            format!("{learn} --timesteps 0-1000 --frames 2"),
            "a range within 0-999",
        ),
        (
            format!("{learn} --ddim-inversion-steps 0 --frames 2"),
            "number of sampling steps is 0",
        ),
        (format!("{learn} --objective best"), "`debiased-temporal`"),
        (
            format!("{learn} --fps fast"),
            "number of frames per second or `source`",
        ),
        (format!("{learn} --fps 0"), "`fps` is 0"),
        (format!("{learn} --stride 0"), "`step` is 0"),
        (format!("{learn} --frames 0"), "`count` is 0"),
        (
            format!("{learn} --fit squeeze"),
            "expected crop, pad or stretch",
        ),
        (format!("{generate} --seeds 4..0"), "`4..0` is empty"),
        (
            format!("{generate} --seeds 0..99999999999"),
            "expected at most 10000 seeds",
        ),
        (format!("{generate} --seeds many"), "expected seeds such as"),
        (
            format!("{generate} --seeds 0..2"),
            "expected a folder, for there are 2 clips",
        ),
        (format!("{generate} --kind sideways"), "`camera`"),
        (
            format!("{generate} --sampler euler"),
            "ddim, dpmpp-2m, dpmpp-2m-karras",
        ),
        (
            format!("{generate} --noise pink"),
            "none, blend, freq, blend-freq, fft",
        ),
        (
            format!("{generate} --noise-prior 2"),
            "`noise prior` is 2, expected between 0 and 1",
        ),
        (
            format!("{generate} --guidance nan"),
            "guidance scale is NaN",
        ),
        (format!("{generate} --strength inf"), "`strength` is inf"),
        (format!("{generate} --steps 0"), "`sampling steps` is 0"),
        (
            format!("{generate} --steps 5000"),
            "number of sampling steps is 5000",
        ),
        (format!("{generate} --frames 0"), "`frames` is 0"),
        (format!("{generate} --size 63x64"), "multiples of 8"),
        (
            format!("{generate} --frames 4096 --size 8192x8192"),
            "pixels in all",
        ),
        (format!("transfer {clip}"), "--prompt <TEXT>"),
        ("unknown".into(), "unrecognized subcommand"),
    ] {
        let outcome = kinvert_line(&line, &[]);
        assert_eq!(outcome.stdout, "", "{line}");
        outcome.ended(2).saying(&["error: ", expected]);
    }
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let folder = temp();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let inside = file.join("inside");
    let clip = first_frames(2, folder.path());

    kinvert(["transfer", &clip, "--prompt", "x", "--out", text(&inside)])
        .ended(1)
        .saying(&["file/inside: writing failed"]);
    kinvert(["invert", &clip, "-o", text(&inside)])
        .ended(1)
        .saying(&["file/inside.work: writing failed"]);
    kinvert(["invert", &clip, "-o", text(folder.path())])
        .ended(1)
        .saying(&["for it is a folder or a device"]);
    kinvert(["generate", "--prompt", "x", "-o", text(&inside)])
        .ended(1)
        .saying(&["file/inside: writing failed"]);
    kinvert(["sprites", "render", "-o", text(&inside.join("a.mp4"))])
        .ended(1)
        .saying(&["a.mp4: cannot write"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "in the way");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let folder = temp();
    let full = folder.path().join("full.mp4");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    kinvert(["sprites", "render", "-o", text(&full)])
        .ended(1)
        .saying(&[
            "full.mp4: cannot write",
            "because: No space left on device",
            "hint: free some disk space",
        ]);

    let stdout = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = program(["models"]).stdout(stdout).output().unwrap();
    Outcome::of(&output)
        .ended(1)
        .saying(&["error: cannot write to stdout", "No space left on device"]);
}

/// A limit on file sizes fails large writes half-way, as a disk does that fills up.
#[cfg(unix)]
#[test]
fn a_write_that_fails_half_way_leaves_nothing_behind() {
    let folder = temp();
    let clip = first_frames(2, folder.path());
    let out = folder.path().join("out");
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
    let arguments = [
        "transfer",
        &clip,
        "--prompt",
        "x",
        "--steps",
        "10",
        "--ddim-inversion-steps",
        "1",
    ];
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_kinvert")])
        .args(arguments)
        .args(["--out", text(&out)])
        .output()
        .unwrap();
    Outcome::of(&output).ended(1).saying(&[
        "checkpoint.safetensors: writing failed",
        "because: File too large",
    ]);
    let left: Vec<_> = std::fs::read_dir(out.join("work"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "only what was written whole: {left:?}");
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_success() {
    let mut child = program(["models"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let outcome = Outcome::of(&child.wait_with_output().unwrap()).ended(0);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn a_bad_log_filter_is_told() {
    let output = program(["models"])
        .env("KINVERT_LOG", "kinvert=loud")
        .output()
        .unwrap();
    Outcome::of(&output)
        .ended(1)
        .saying(&["KINVERT_LOG is `kinvert=loud`, expected a level"]);
}

#[test]
fn a_published_motion_of_another_network_is_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.motion.safetensors");
    let fixtures = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/parity/official_motion"
    );
    for (input, reason) in [
        (
            format!("{fixtures}/motion_embed.pt"),
            "expected [1, frames, 128]",
        ),
        (
            format!("{fixtures}/embeddings.json"),
            "as neither an archive nor a pickle",
        ),
        (format!("{fixtures}/absent.pt"), "absent.pt: reading failed"),
    ] {
        kinvert(["import", &input, "-o", output.to_str().unwrap()])
            .ended(1)
            .saying(&["error:", reason]);
        assert!(!output.exists());
    }
}
