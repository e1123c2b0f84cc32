//! Models that are put together from parts: AnimateDiff, and what does not fit.

use std::path::{Path, PathBuf};

use kinvert_testkit::{first_sprites_model, fixtures_dir};

use crate::support::*;

/// A small pipeline of Stable Diffusion's kind.
fn image_pipeline(folder: &Path) -> PathBuf {
    let (to, fixtures) = (folder.join("small"), fixtures_dir());
    for (from, part) in [
        (fixtures.join("unet_motion/unet"), "unet"),
        (fixtures.join("unet_motion/text_encoder"), "text_encoder"),
        (fixtures.join("parity/autoencoder_kl"), "vae"),
        (first_sprites_model().join("tokenizer"), "tokenizer"),
        (
            fixtures.join("published/stable-diffusion-v1-5/scheduler"),
            "scheduler",
        ),
    ] {
        std::fs::create_dir_all(to.join(part)).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(part).join(entry.file_name())).unwrap();
        }
    }
    to
}

fn adapter() -> PathBuf {
    fixtures_dir().join("unet_motion/motion_adapter")
}

#[test]
fn a_model_of_images_is_used_with_a_motion_adapter() {
    let folder = temp();
    let model = image_pipeline(folder.path());
    kinvert(["inspect", text(&model)]).ended(1).saying(&[
        "unet/config.json: a U-Net of single images, expected a motion adapter with it",
        "hint: pass --motion-adapter",
        "animatediff-motion-adapter-v1-5-2",
    ]);
    let adapter = adapter();
    let parts = ["--motion-adapter", text(&adapter)];
    let told = kinvert(["inspect", text(&model)].into_iter().chain(parts));
    let told = told.ended(0).stdout;
    assert!(
        told.starts_with("small + motion_adapter\n  clips     16 frames"),
        "{told}"
    );
    assert!(told.contains("up_blocks.3.motion_modules.2.transformer_blocks.0 (8 channels)"));

    let gif = folder.path().join("x.gif");
    let line = "generate --prompt star --steps 1 --frames 2 --size 32x32 --noise none";
    let rest = ["--model", text(&model), "-o", text(&gif)];
    kinvert(line.split(' ').chain(rest).chain(parts)).ended(0);
    assert!(gif.is_file());
}

#[test]
fn parts_that_are_missing_or_of_something_else_are_refused() {
    let folder = temp();
    let model = image_pipeline(folder.path());
    let nothing = folder.path().join("nothing");
    let gif = folder.path().join("x.gif");
    let generate = |more: &[&str]| {
        let line = ["generate", "--prompt", "x", "-o", text(&gif)];
        kinvert(line.into_iter().chain(more.iter().copied()))
    };
    for flag in ["--unet", "--motion-adapter"] {
        generate(&["--model", text(&model), flag, text(&nothing)])
            .ended(1)
            .saying(&[text(&nothing), "hint: "]);
    }
    let adapter = adapter();
    generate(&["--motion-adapter", text(&adapter)])
        .ended(1)
        .saying(&["the kind that takes a motion adapter"]);

    let file = folder.path().join("x.safetensors");
    std::fs::copy(
        model.join("unet/diffusion_pytorch_model.safetensors"),
        &file,
    )
    .unwrap();
    let published = fixtures_dir().join("published/animatediff-motion-adapter-v1-5-3");
    let parts = ["--motion-adapter", text(&published), "--tokenizer", "x"];
    generate(&[&["--model", text(&file)][..], &parts].concat())
        .ended(1)
        .saying(&[
            "error: cannot load the base model",
            "x.safetensors: not a checkpoint of Stable Diffusion 1.5",
            "`model.diffusion_model.`",
        ]);
    kinvert(["inspect", text(&file)])
        .ended(1)
        .saying(&["not a usable motion file"]);
    assert!(!gif.exists());
}
