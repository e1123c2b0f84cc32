//! The sprites model with its first weights in 16 bits against itself in f32: tolerances are a few times the drift
//! that was measured (`benches/RESULTS.md`).

use burn::tensor::Tensor;
use kinvert::inversion::{Learner, Reference};
use kinvert::{InversionSettings, LoadOptions, ModelFiles, Pipeline, Precision, Quiet};
use kinvert_diffusion::NoiseSource;
use kinvert_nets::Hooks;
use kinvert_testkit::{Tolerance, assert_close, first_sprites_model, values};

use crate::support::{B, Inner, bounce};

const CAPTION: &str = "a red circle on a gray background";
const SHAPE: [usize; 5] = [1, 4, 4, 8, 8];

fn pipeline(precision: Precision) -> Pipeline<B> {
    let options = LoadOptions {
        precision,
        ..LoadOptions::default()
    };
    let source = ModelFiles::folder(first_sprites_model()).into();
    Pipeline::load(&source, &options, &Default::default()).unwrap()
}

/// What a pipeline gives in f32, and in f16 and bf16 within tolerances.
fn check(name: &str, tolerances: [Tolerance; 2], outputs: impl Fn(&Pipeline<B>) -> Vec<f32>) {
    let expected = outputs(&pipeline(Precision::F32));
    for (precision, tolerance) in [Precision::F16, Precision::BF16]
        .into_iter()
        .zip(tolerances)
    {
        let found = outputs(&pipeline(precision));
        assert_close(
            &format!("{name} in {precision}"),
            &found,
            &expected,
            tolerance,
        );
    }
}

#[test]
fn text_states_drift_as_the_format_does() {
    let tolerances = [Tolerance::RelativeL2(2e-3), Tolerance::RelativeL2(2e-2)];
    check("text states", tolerances, |pipeline| {
        values(pipeline.text_states(CAPTION, &mut Quiet).unwrap())
    });
}

#[test]
fn predictions_drift_as_the_format_does() {
    let tolerances = [Tolerance::RelativeL2(1e-3), Tolerance::RelativeL2(8e-3)];
    let noise: Tensor<Inner, 5> =
        NoiseSource::new(1).gaussian("test", 0, SHAPE, &Default::default());
    for timestep in [1.0, 501.0, 999.0] {
        check("prediction", tolerances, |pipeline| {
            let text = pipeline.text_states(CAPTION, &mut Quiet).unwrap();
            let hooks = Hooks::default();
            values(
                pipeline
                    .unet()
                    .forward(noise.clone(), &[timestep], text, hooks),
            )
        });
    }
}

#[test]
fn the_autoencoder_keeps_f32_where_f16_is_too_narrow() {
    let tolerances = [Tolerance::Absolute(0.0), Tolerance::RelativeL2(2e-2)];
    check("latents", tolerances, |pipeline| {
        values(pipeline.encode_clip(&bounce(), &mut Quiet).unwrap())
    });
}

#[test]
fn gradients_of_embeddings_drift_as_the_format_does() {
    let tolerances = [Tolerance::RelativeL2(2e-2), Tolerance::RelativeL2(1e-1)];
    let settings = InversionSettings::default();
    check("gradients", tolerances, |pipeline| {
        let device = pipeline.device();
        let sites = settings.sites.select(&pipeline.sites()).unwrap();
        let grid = [SHAPE[2], SHAPE[3], SHAPE[4]];
        let unet = pipeline.tracked_unet();
        let learner = Learner::new(unet, pipeline.schedule(), &settings, &sites, grid, device);
        let latents: Tensor<Inner, 5> = NoiseSource::new(2).gaussian("test", 0, SHAPE, device);
        let text = pipeline.text_states(CAPTION, &mut Quiet).unwrap();
        let reference = Reference {
            latents: Tensor::from_inner(latents),
            caption_states: Tensor::from_inner(text),
        };
        let draw = learner.draw(0, SHAPE, device).unwrap();
        let (loss, gradients) = learner.gradients(&reference, draw);
        assert!(loss.is_finite());
        gradients.into_iter().flat_map(values).collect()
    });
}
