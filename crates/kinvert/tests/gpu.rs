//! The whole pipeline on a GPU against the CPU: text encoder, autoencoder, DDIM inversion, learning, denoising.
//!
//! Compiled with a GPU's feature only, for example
//! `cargo test -p kinvert --release --no-default-features --features cpu,vulkan --test gpu -- --nocapture`.
//! `KINVERT_TEST_DEVICE` names the device (`vulkan`, `cuda:1`); without it the first GPU is taken, be it a software one
//! such as Mesa's lavapipe. Where there is none at all, the tests say so and check nothing. Everything goes through
//! `MotionModel`: code that is generic over backends takes minutes to compile a second time.
//!
//! With the feature `tuned`, which is on by default, the engine tries several kernels for every size that it meets, and
//! keeps what was fastest for later runs. A software driver compiles each of them for minutes: test those without it.

#![cfg(any(
    feature = "vulkan",
    feature = "metal",
    feature = "webgpu",
    feature = "cuda",
    feature = "rocm"
))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells why it checks nothing"
)]

use std::sync::Once;

use kinvert::{
    Clip, Device, DeviceKind, GenerationSettings, InversionSettings, LoadOptions, ModelFiles,
    MotionModel, Precision, Quiet, load_model, prepare_process,
};
use kinvert_testkit::first_sprites_model;
use kinvert_world::{Motion, Scene};

const CAPTION: &str = "a red circle on a gray background";
const PROMPT: &str = "a yellow star on a striped background";

/// Frames of the clips. Few, since a software GPU is slow; one more would run the same kernels.
const FRAMES: usize = 4;

/// Steps of learning: from the second on, a loss tells of the gradients before it.
const LEARNING_STEPS: usize = 3;

/// The device that is tested.
fn device() -> Option<Device> {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(prepare_process);
    let found = match std::env::var("KINVERT_TEST_DEVICE") {
        Ok(name) => Some(name.parse().unwrap()),
        Err(_) => Device::here()
            .into_iter()
            .find(|device| device.kind() != DeviceKind::Cpu),
    };
    if found.is_none() {
        eprintln!("nothing is checked: this machine has no GPU that this build can use");
    }
    found
}

/// What some work on the first sprites model gives on the device in a precision, and on the CPU in f32; nothing where
/// that cannot be compared.
fn on_both<T>(precision: Precision, work: impl Fn(&dyn MotionModel) -> T) -> Option<[T; 2]> {
    let device = device()?;
    if !device.precisions().contains(&precision) {
        eprintln!("nothing is checked: {device} does not compute in {precision}");
        return None;
    }
    let on = |device, precision| {
        let options = LoadOptions {
            precision,
            ..LoadOptions::default()
        };
        let source = ModelFiles::folder(first_sprites_model()).into();
        let model = load_model(&source, &options, device).unwrap();
        assert_eq!(model.precision(), precision);
        work(&*model)
    };
    Some([on(device, precision), on(Device::Cpu, Precision::F32)])
}

/// The differences of each.
fn differences(found: &[f32], expected: &[f32]) -> Vec<f32> {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|x| x.is_finite()));
    let each = found.iter().zip(expected);
    each.map(|(x, y)| x - y).collect()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// Text encoder, one guided denoising step, decoder. The pixels of 0 to 255 may differ by `bound` in the mean.
///
/// Without a motion: after few steps of learning, it would be the optimiser's rounding.
fn check_generating(precision: Precision, bound: f32) {
    let outputs = on_both(precision, |model| {
        let settings = GenerationSettings {
            steps: 1,
            frames: Some(FRAMES),
            ..model.recommendations().generation.clone()
        };
        let clip = model.generate(None, PROMPT, 0, &settings, &mut Quiet);
        let frames = clip.unwrap().into_frames();
        let bytes = frames.iter().flat_map(|frame| frame.as_raw());
        bytes.map(|&byte| f32::from(byte)).collect::<Vec<_>>()
    });
    let Some([found, expected]) = outputs else {
        return;
    };
    let each = differences(&found, &expected);
    let drift = each.iter().map(|x| x.abs()).sum::<f32>() / each.len() as f32;
    eprintln!("{precision}: pixels {drift:.1e}");
    assert!(drift < bound, "{drift}");
}

/// Encoder and one step of DDIM inversion, whose latents may differ by `latents_bound` of the largest one; then learning,
/// whose losses may differ by `losses_bound` of themselves.
fn check_learning(precision: Precision, latents_bound: f32, losses_bound: f32) {
    let outputs = on_both(precision, |model| {
        let mut frames = Scene::random_with_motion(Motion::Arc, 1).render();
        frames.truncate(FRAMES);
        let clip = Clip::new(frames, 8.0).unwrap();
        let settings = InversionSettings {
            steps: LEARNING_STEPS,
            ddim_inversion_steps: 1,
            ..model.recommendations().inversion.clone()
        };
        let motion = model.invert(&clip, CAPTION, &settings, None, &mut Quiet);
        let motion = motion.unwrap();
        let latents = motion.inverted_latents.unwrap().values;
        (latents, motion.metadata.losses)
    });
    let Some([found, expected]) = outputs else {
        return;
    };
    let latents = largest(&differences(&found.0, &expected.0)) / largest(&expected.0);
    let losses = found.1.iter().zip(&expected.1);
    let losses: Vec<f32> = losses.map(|(x, y)| x / y - 1.0).collect();
    assert_eq!(losses.len(), LEARNING_STEPS);
    let losses = largest(&losses);
    eprintln!("{precision}: inverted latents {latents:.1e}, losses {losses:.1e}");
    assert!(latents < latents_bound, "{latents}");
    assert!(losses < losses_bound, "{losses}");
}

/// Sums are taken in another order: lavapipe drifts by 2e-5.
#[test]
fn generating_in_f32_agrees_with_the_cpu() {
    check_generating(Precision::F32, 0.01);
}

/// The format itself drifts: by about half of this on the CPU.
#[test]
fn generating_in_f16_agrees_with_the_cpu() {
    check_generating(Precision::F16, 1.0);
}

/// As f16, with three bits less.
#[test]
fn generating_in_bf16_agrees_with_the_cpu() {
    check_generating(Precision::BF16, 4.0);
}

/// Lavapipe drifts by 1e-5 in both.
#[test]
fn learning_in_f32_agrees_with_the_cpu() {
    check_learning(Precision::F32, 1e-4, 1e-4);
}

#[test]
fn learning_in_f16_agrees_with_the_cpu() {
    check_learning(Precision::F16, 1e-2, 2e-2);
}

#[test]
fn learning_in_bf16_agrees_with_the_cpu() {
    check_learning(Precision::BF16, 8e-2, 1e-1);
}
