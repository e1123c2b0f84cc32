//! The whole pipeline on a GPU against the CPU: text encoder, autoencoder, DDIM inversion, learning, denoising.
//!
//! Compiled with a GPU's feature only, for example
//! `cargo test -p kinvert --release --features vulkan --test gpu -- --nocapture`. `KINVERT_TEST_DEVICE` names the
//! device (`vulkan`, `cuda:1`); without it the first GPU is taken, be it a software one such as Mesa's lavapipe. Where
//! there is none at all, the tests say so and check nothing. Everything goes through `MotionModel`: code that is
//! generic over backends takes minutes to compile a second time.
//!
//! The engine tries several kernels for every size that it meets, and keeps what was fastest for later runs. A software
//! driver compiles each of them for minutes, so its first run takes far longer than the work itself.

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

use kinvert::{
    Clip, Device, DeviceKind, GenerationSettings, InversionSettings, LoadOptions, Precision, Quiet,
    load_model,
};
use kinvert_sprites::{Motion, Scene, model::model_files};

const CAPTION: &str = "a red circle on a gray background";
const PROMPT: &str = "a yellow star on a striped background";

/// Steps of learning: from the second on, a loss tells of the gradients before it.
const LEARNING_STEPS: usize = 3;

/// Largest differences from the CPU in f32.
struct Bounds {
    /// Of what went through the autoencoder and one step backwards, as a part of the largest value.
    inverted_latents: f32,
    /// Of a loss, as a part of it.
    loss: f32,
    /// Of the pixels of a clip after one guided denoising step, in the mean, of 255.
    pixels: f32,
}

/// The device that is tested.
fn device() -> Option<Device> {
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

/// What the pipeline gave.
struct Outputs {
    inverted_latents: Vec<f32>,
    losses: Vec<f32>,
    pixels: Vec<f32>,
}

fn run(device: Device, precision: Precision) -> Outputs {
    let options = LoadOptions { precision };
    let model = load_model(&model_files().into(), &options, device).unwrap();
    assert_eq!(model.precision(), precision);
    let frames = Scene::random_with_motion(Motion::Arc, 1).render();
    let clip = Clip::new(frames, 8.0).unwrap();
    let settings = InversionSettings {
        steps: LEARNING_STEPS,
        ddim_inversion_steps: 1,
        ..model.recommendations().inversion.clone()
    };
    let motion = model
        .invert(&clip, CAPTION, &settings, None, &mut Quiet)
        .unwrap();
    // Without the motion: after so few steps of learning, it would be the optimiser's rounding.
    let settings = GenerationSettings {
        steps: 1,
        ..model.recommendations().generation.clone()
    };
    let generated = model
        .generate(None, PROMPT, 0, &settings, &mut Quiet)
        .unwrap();
    let bytes = generated.frames().iter().flat_map(|frame| frame.as_raw());
    Outputs {
        inverted_latents: motion.inverted_latents.unwrap().values,
        losses: motion.metadata.losses,
        pixels: bytes.map(|&byte| f32::from(byte)).collect(),
    }
}

/// Largest difference, mean difference, and largest expected value.
fn differences(found: &[f32], expected: &[f32]) -> [f32; 3] {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|x| x.is_finite()));
    let each: Vec<f32> = found
        .iter()
        .zip(expected)
        .map(|(x, y)| (x - y).abs())
        .collect();
    let largest = |values: &[f32]| values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let mean = each.iter().sum::<f32>() / each.len() as f32;
    [largest(&each), mean, largest(expected)]
}

fn check(precision: Precision, bounds: &Bounds) {
    let Some(device) = device() else {
        return;
    };
    if !device.precisions().contains(&precision) {
        eprintln!("nothing is checked: {device} does not compute in {precision}");
        return;
    }
    let expected = run(Device::Cpu, Precision::F32);
    let found = run(device, precision);
    let [most, _, largest] = differences(&found.inverted_latents, &expected.inverted_latents);
    let latents = most / largest;
    let [_, pixels, _] = differences(&found.pixels, &expected.pixels);
    let losses = found.losses.iter().zip(&expected.losses);
    let loss = losses.fold(0.0_f32, |most, (x, y)| most.max((x / y - 1.0).abs()));
    eprintln!(
        "{device} in {precision}: inverted latents {latents:.1e}, losses {loss:.1e}, pixels {pixels:.1e}"
    );
    assert_eq!(found.losses.len(), LEARNING_STEPS);
    assert!(latents < bounds.inverted_latents, "{latents}");
    assert!(loss < bounds.loss, "{loss}");
    assert!(pixels < bounds.pixels, "{pixels}");
}

/// Sums are taken in another order.
#[test]
fn everything_in_f32_agrees_with_the_cpu() {
    let bounds = Bounds {
        inverted_latents: 1e-3,
        loss: 1e-3,
        pixels: 0.1,
    };
    check(Precision::F32, &bounds);
}

/// The format itself drifts: by about half of this on the CPU.
#[test]
fn everything_in_f16_agrees_with_the_cpu() {
    let bounds = Bounds {
        inverted_latents: 1e-2,
        loss: 2e-2,
        pixels: 1.0,
    };
    check(Precision::F16, &bounds);
}

/// As f16, with three bits less.
#[test]
fn everything_in_bf16_agrees_with_the_cpu() {
    let bounds = Bounds {
        inverted_latents: 8e-2,
        loss: 1e-1,
        pixels: 4.0,
    };
    check(Precision::BF16, &bounds);
}
