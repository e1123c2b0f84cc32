//! Time of the units of work that everything is made of, on the built-in model and the CPU:
//! `cargo bench -p kinvert --bench steps`.

use burn::backend::Autodiff;
use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert::inversion::{Learner, Reference};
use kinvert::{InversionSettings, LoadOptions, Pipeline, Quiet};
use kinvert_diffusion::NoiseSource;
use kinvert_nets::Hooks;
use kinvert_world::model::model_files;

type B = Autodiff<Flex>;

fn main() {
    divan::main();
}

fn pipeline() -> Pipeline<B> {
    Pipeline::load(
        &model_files().into(),
        &LoadOptions::default(),
        &Default::default(),
    )
    .expect("the built-in model loads")
}

fn latents() -> Tensor<Flex, 5> {
    NoiseSource::new(1).gaussian("bench", 0, [1, 4, 16, 8, 8], &Default::default())
}

/// Loss, gradients and AdamW for 16 frames of 64x64 pixels.
#[divan::bench(sample_count = 20)]
fn inversion_step(bencher: divan::Bencher) {
    let pipeline = pipeline();
    let settings = InversionSettings::default();
    let sites = settings
        .sites
        .select(&pipeline.sites())
        .expect("the network has sites");
    let device = *pipeline.device();
    let mut learner = Learner::new(
        pipeline.tracked_unet(),
        pipeline.schedule(),
        &settings,
        &sites,
        [16, 8, 8],
        &device,
    );
    let text = pipeline
        .text_states("a red circle on a gray background", &mut Quiet)
        .expect("the text encoder is there");
    let reference = Reference {
        latents: Tensor::from_inner(latents()),
        caption_states: Tensor::from_inner(text),
    };
    let mut step = 0;
    bencher.bench_local(|| {
        let draw = learner
            .draw(step, [1, 4, 16, 8, 8], &device)
            .expect("the timesteps fit");
        let (loss, gradients) = learner.gradients(&reference, draw);
        learner.step(gradients);
        step += 1;
        loss
    });
}

/// One prediction for a batch of two: prompt and empty prompt.
#[divan::bench(sample_count = 20)]
fn denoising_step_with_guidance(bencher: divan::Bencher) {
    let pipeline = pipeline();
    let text = pipeline
        .text_states("a red circle on a gray background", &mut Quiet)
        .expect("the text encoder is there");
    let text = Tensor::cat(vec![text.clone(), text], 0);
    let both = Tensor::cat(vec![latents(), latents()], 0);
    bencher.bench_local(|| {
        pipeline
            .unet()
            .forward(both.clone(), &[501.0], text.clone(), Hooks::default())
            .into_data()
    });
}

/// 16 frames of latents to pixels.
#[divan::bench(sample_count = 20)]
fn vae_decode(bencher: divan::Bencher) {
    let pipeline = pipeline();
    bencher.bench_local(|| {
        pipeline
            .decode_latents(latents(), 8.0, &mut Quiet)
            .expect("finite pixels")
    });
}
