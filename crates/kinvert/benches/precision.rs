//! How far 16 bits lead from f32, and how long steps take, on the built-in model and the CPU:
//! `cargo bench -p kinvert --bench precision`. Prints Markdown.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program that prints its measurements"
)]

use std::time::{Duration, Instant};

use burn::backend::Autodiff;
use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert::inversion::{Learner, Reference};
use kinvert::{
    Clip, GenerationSettings, InversionSettings, LoadOptions, Pipeline, Precision, Quiet,
};
use kinvert_diffusion::NoiseSource;
use kinvert_nets::Hooks;
use kinvert_world::{Motion, Scene, model::model_files};

type B = Autodiff<Flex>;

const CAPTION: &str = "a red circle on a gray background";
const PROMPT: &str = "a yellow star on a striped background";
const SHAPE: [usize; 5] = [1, 4, 16, 8, 8];
const TIMESTEPS: [f64; 5] = [1.0, 251.0, 501.0, 751.0, 981.0];
const SAMPLING_STEPS: usize = 15;
const LEARNING_STEPS: usize = 20;
/// Repetitions of what is timed.
const REPEATS: usize = 10;

/// What a pipeline gives in one number format.
struct Run {
    predictions: Vec<Vec<f32>>,
    latents: Vec<f32>,
    clip: Clip,
    losses: Vec<f32>,
    embeddings: Vec<f32>,
    denoising: Duration,
    learning: Duration,
}

fn main() {
    let runs: Vec<(Precision, Run)> = Precision::ALL
        .into_iter()
        .map(|precision| (precision, run(precision)))
        .collect();
    let (_, exact) = &runs[0];
    println!(
        "| | {} |",
        TIMESTEPS.map(|t| format!("t = {t}")).join(" | ")
    );
    println!("|---|---|---|---|---|---|");
    for (precision, run) in &runs[1..] {
        let errors = run.predictions.iter().zip(&exact.predictions);
        let errors = errors.map(|(found, exact)| format!("{:.1e}", relative(found, exact)));
        println!(
            "| prediction, {precision} | {} |",
            errors.collect::<Vec<_>>().join(" | ")
        );
    }
    println!();
    println!(
        "| | latents after {SAMPLING_STEPS} sampling steps | PSNR of the clip | loss after {LEARNING_STEPS} \
         learning steps | largest difference of a loss | embeddings | guided denoising step | inversion step |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (precision, run) in &runs {
        let losses = run.losses.iter().zip(&exact.losses);
        let loss_error = losses.map(|(found, exact)| (found / exact - 1.0).abs());
        println!(
            "| {precision} | {:.1e} | {:.1} dB | {:.5} | {:.1e} | {:.1e} | {:.0} ms | {:.0} ms |",
            relative(&run.latents, &exact.latents),
            psnr(&run.clip, &exact.clip),
            run.losses[LEARNING_STEPS - 1],
            loss_error.fold(0.0, f32::max),
            relative(&run.embeddings, &exact.embeddings),
            1e3 * run.denoising.as_secs_f64(),
            1e3 * run.learning.as_secs_f64(),
        );
    }
}

fn run(precision: Precision) -> Run {
    let options = LoadOptions {
        precision,
        ..LoadOptions::default()
    };
    let pipeline = Pipeline::<B>::load(&model_files().into(), &options, &Default::default())
        .expect("the built-in model loads");
    let noise: Tensor<Flex, 5> = NoiseSource::new(1).gaussian("bench", 0, SHAPE, pipeline.device());
    let text = pipeline
        .text_states(PROMPT, &mut Quiet)
        .expect("the text encoder is there");
    let predict = |latents: Tensor<Flex, 5>, text, timestep| {
        let hooks = Hooks::default();
        floats(pipeline.unet().forward(latents, &[timestep], text, hooks))
    };
    let predictions = TIMESTEPS.map(|timestep| predict(noise.clone(), text.clone(), timestep));

    let both = Tensor::cat(vec![noise.clone(), noise.clone()], 0);
    let texts = Tensor::cat(
        vec![
            pipeline
                .text_states("", &mut Quiet)
                .expect("the text encoder is there"),
            text,
        ],
        0,
    );
    let denoising = median(|| {
        predict(both.clone(), texts.clone(), 501.0);
    });

    let settings = GenerationSettings {
        steps: SAMPLING_STEPS,
        ..pipeline.recommendations().generation.clone()
    };
    let latents = pipeline
        .sample(noise, PROMPT, &settings, Hooks::default(), &mut Quiet)
        .expect("the settings are possible");
    let clip = pipeline
        .decode_latents(latents.clone(), 8.0, &mut Quiet)
        .expect("finite pixels");
    let (losses, embeddings, learning) = learn(&pipeline);
    Run {
        predictions: predictions.into(),
        latents: floats(latents),
        clip,
        losses,
        embeddings,
        denoising,
        learning,
    }
}

/// Losses, learned embeddings, and the time of a step.
fn learn(pipeline: &Pipeline<B>) -> (Vec<f32>, Vec<f32>, Duration) {
    let settings = InversionSettings {
        steps: LEARNING_STEPS,
        ..pipeline.recommendations().inversion.clone()
    };
    let device = pipeline.device();
    let sites = settings.sites.select(&pipeline.sites()).expect("sites");
    let unet = pipeline.tracked_unet();
    let grid = [SHAPE[2], SHAPE[3], SHAPE[4]];
    let mut learner = Learner::new(unet, pipeline.schedule(), &settings, &sites, grid, device);
    let frames = Scene::random_with_motion(Motion::Arc, 1).render();
    let clip = Clip::new(frames, 8.0).expect("frames of one size");
    let latents = pipeline.encode_clip(&clip, &mut Quiet).expect("64x64");
    let text = pipeline
        .text_states(CAPTION, &mut Quiet)
        .expect("the text encoder is there");
    let reference = Reference {
        latents: Tensor::from_inner(latents),
        caption_states: Tensor::from_inner(text),
    };
    let mut times = Vec::new();
    let mut losses = Vec::new();
    for step in 0..LEARNING_STEPS {
        let started = Instant::now();
        let draw = learner.draw(step, SHAPE, device).expect("timesteps");
        let (loss, gradients) = learner.gradients(&reference, draw);
        learner.step(gradients);
        losses.push(loss);
        times.push(started.elapsed());
    }
    let embeddings = learner.embeddings();
    let embeddings = embeddings.iter().flat_map(|site| site.embeddings());
    let values = embeddings.flatten().flat_map(|one| one.values().to_vec());
    times.sort();
    (losses, values.collect(), times[times.len() / 2])
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut time = || {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    let mut times: Vec<Duration> = (0..REPEATS).map(|_| time()).collect();
    times.sort();
    times[REPEATS / 2]
}

fn floats<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
    tensor.into_data().to_vec().expect("f32")
}

/// Euclidean norm of the difference over that of the exact values.
fn relative(found: &[f32], exact: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    let difference: f64 = found.iter().zip(exact).map(|(x, y)| square(x - y)).sum();
    let norm: f64 = exact.iter().map(|x| square(*x)).sum();
    (difference / norm).sqrt()
}

/// Peak signal-to-noise ratio of two clips of 8-bit colours.
fn psnr(found: &Clip, exact: &Clip) -> f64 {
    let bytes = |clip: &Clip| -> Vec<u8> {
        let frames = clip.frames().iter();
        frames.flat_map(|frame| frame.as_raw().clone()).collect()
    };
    let (found, exact) = (bytes(found), bytes(exact));
    let squares = found
        .iter()
        .zip(&exact)
        .map(|(x, y)| f64::from(x.abs_diff(*y)).powi(2));
    let mean = squares.sum::<f64>() / exact.len() as f64;
    20.0 * 255_f64.log10() - 10.0 * mean.log10()
}
