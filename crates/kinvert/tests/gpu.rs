//! The whole pipeline on a GPU against the CPU: text encoder, autoencoder, one denoising step, one inversion step.
//!
//! Compiled with a GPU's feature only, for example
//! `cargo test -p kinvert --release --features vulkan --test gpu -- --nocapture`. `KINVERT_TEST_DEVICE` names the
//! device (`vulkan`, `cuda:1`); without it the first GPU is taken, be it a software one such as Mesa's lavapipe. Where
//! there is none at all, the tests say so and check nothing.

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

use burn::tensor::Tensor;
use kinvert::inversion::{Learner, Reference};
use kinvert::{Clip, Device, InversionSettings, LoadOptions, Pipeline, Precision, Quiet};
use kinvert_diffusion::NoiseSource;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{DeviceKind, Hooks, OnDevice};
use kinvert_sprites::{Motion, Scene, model::model_files};
use kinvert_testkit::values;

const CAPTION: &str = "a red circle on a gray background";
const SHAPE: [usize; 5] = [1, 4, 16, 8, 8];

/// What the parts of the pipeline gave, by name.
type Outputs = Vec<(String, Vec<f32>)>;

/// Largest differences from the CPU in f32, as parts of the largest value.
struct Bounds {
    /// Of what goes through a network once.
    pass: f32,
    /// Of the gradients of the embeddings.
    gradient: f32,
}

/// f32: lavapipe drifts by 2e-5 in a pass and 1e-4 in a gradient, from sums in another order.
const F32: Bounds = Bounds {
    pass: 2e-4,
    gradient: 1e-3,
};
/// 16 bits: what the same format drifts by on the CPU, doubled.
const F16: Bounds = Bounds {
    pass: 1e-2,
    gradient: 5e-2,
};
const BF16: Bounds = Bounds {
    pass: 8e-2,
    gradient: 3e-1,
};

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

struct Everything(Precision);

impl OnDevice for Everything {
    type Output = Outputs;

    fn run<B: TrackingBackend>(self, device: &B::Device) -> Outputs {
        let options = LoadOptions { precision: self.0 };
        let pipeline = Pipeline::<B>::load(&model_files().into(), &options, device).unwrap();
        let mut outputs = Outputs::new();
        let mut keep = |name: &str, values: Vec<f32>| outputs.push((name.into(), values));

        let text = pipeline.text_states(CAPTION, &mut Quiet);
        keep("text states", values(text.clone()));

        let frames = Scene::random_with_motion(Motion::Arc, 1).render();
        let clip = Clip::new(frames, 8.0).unwrap();
        let latents = pipeline.encode_clip(&clip, &mut Quiet).unwrap();
        keep("latents", values(latents.clone()));
        let decoded = pipeline
            .decode_latents(latents.clone(), 8.0, &mut Quiet)
            .unwrap();
        let bytes = decoded.frames().iter().flat_map(|frame| frame.as_raw());
        keep(
            "decoded pixels",
            bytes.map(|&byte| f32::from(byte)).collect(),
        );

        let noisy: Tensor<B::InnerBackend, 5> =
            NoiseSource::new(1).gaussian("test", 0, SHAPE, device);
        let both = Tensor::cat(vec![noisy.clone(), noisy], 0);
        let texts = Tensor::cat(vec![pipeline.text_states("", &mut Quiet), text.clone()], 0);
        let unet = pipeline.unet();
        let predicted = unet.forward(both, &[501.0], texts, Hooks::default());
        keep("guided prediction", values(predicted));

        for (name, values) in inversion_step(&pipeline, latents, text) {
            keep(&name, values);
        }
        outputs
    }
}

/// The loss, the gradient of each embedding, and the embeddings after the step.
fn inversion_step<B: TrackingBackend>(
    pipeline: &Pipeline<B>,
    latents: Tensor<B::InnerBackend, 5>,
    text: Tensor<B::InnerBackend, 3>,
) -> Outputs {
    let device = pipeline.device();
    let settings = InversionSettings::default();
    let sites = settings.sites.select(&pipeline.sites()).unwrap();
    let mut learner = Learner::new(
        pipeline.tracked_unet(),
        pipeline.schedule(),
        &settings,
        &sites,
        [16, 8, 8],
        device,
    );
    let reference = Reference {
        latents: Tensor::from_inner(latents),
        caption_states: Tensor::from_inner(text),
    };
    let draw = learner.draw(0, SHAPE, device).unwrap();
    let (loss, gradients) = learner.gradients(&reference, draw);
    let mut outputs = vec![("loss".to_string(), vec![loss])];
    for (index, gradient) in gradients.iter().enumerate() {
        outputs.push((format!("gradient {index}"), values(gradient.clone())));
    }
    learner.step(gradients);
    let embeddings = learner.embeddings();
    assert!(embeddings.iter().all(|site| site.is_finite()));
    outputs
}

fn check(precision: Precision, bounds: &Bounds) {
    let Some(device) = device() else {
        return;
    };
    if !device.precisions().contains(&precision) {
        eprintln!("nothing is checked: {device} does not compute in {precision}");
        return;
    }
    let expected = Device::Cpu.run(Everything(Precision::F32));
    let found = device.run(Everything(precision));
    let mut faults = Vec::new();
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        assert_eq!(found.len(), expected.len(), "{name}: number of values");
        let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let differences = found.iter().zip(expected).map(|(x, y)| (x - y).abs());
        let drift = differences.fold(0.0, f32::max) / largest;
        let bound = match name.starts_with("gradient") {
            true => bounds.gradient,
            false => bounds.pass,
        };
        eprintln!("{device} in {precision}, {name}: {drift:.1e} of the largest value");
        if drift.is_nan() || drift > bound || !found.iter().all(|x| x.is_finite()) {
            faults.push(format!("{name}: {drift:.1e}, at most {bound:.1e}"));
        }
    }
    assert!(
        faults.is_empty(),
        "{device} in {precision}: {}",
        faults.join("; ")
    );
}

#[test]
fn everything_in_f32_agrees_with_the_cpu() {
    check(Precision::F32, &F32);
}

#[test]
fn everything_in_f16_agrees_with_the_cpu() {
    check(Precision::F16, &F16);
}

#[test]
fn everything_in_bf16_agrees_with_the_cpu() {
    check(Precision::BF16, &BF16);
}
