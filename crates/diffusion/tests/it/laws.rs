//! What must hold for all values, not only the recorded ones.

use burn::{backend::Autodiff, tensor::Tensor};
use burn_flex::Flex;
use kinvert_diffusion::{
    BetaSchedule, Ddim, DdimInversion, Guidance, InitialNoise, NoiseSchedule, NoiseSource,
    PredictionType, Sampler, SamplerKind, SchedulerConfig, TimestepSpacing,
};
use kinvert_testkit::values;
use proptest::prelude::*;

use crate::{Latents, largest_difference, published_schedule};

fn gaussian(seed: u64, label: &str) -> Latents {
    NoiseSource::new(seed).gaussian(label, 0, [2, 4, 3, 4, 4], &Default::default())
}

/// Schedules of latent models, of all shapes and spacings.
fn schedules(
    prediction_type: impl Strategy<Value = PredictionType>,
) -> impl Strategy<Value = NoiseSchedule> {
    let beta_schedule = prop_oneof![Just(BetaSchedule::Linear), Just(BetaSchedule::ScaledLinear)];
    let spacing = prop_oneof![
        Just(TimestepSpacing::Leading),
        Just(TimestepSpacing::Trailing),
        Just(TimestepSpacing::Linspace),
    ];
    (beta_schedule, prediction_type, spacing, any::<bool>()).prop_map(
        |(beta_schedule, prediction_type, spacing, set_alpha_to_one)| {
            let config = SchedulerConfig {
                beta_start: 0.00085,
                beta_end: 0.012,
                beta_schedule,
                prediction_type,
                set_alpha_to_one,
                timestep_spacing: Some(spacing),
                ..SchedulerConfig::default()
            };
            NoiseSchedule::new(&config).unwrap()
        },
    )
}

/// Takes all steps of a sampler with a model that answers `output` whatever it is asked.
fn walk(sampler: &mut dyn Sampler<Flex, 5>, mut sample: Latents, output: Latents) -> Latents {
    for index in 0..sampler.steps() {
        sample = sampler.step(output.clone(), index, sample);
    }
    sample
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A perfect prediction gives back the clean sample and the noise, whatever the model predicts.
    #[test]
    fn a_perfect_model_restores_signal_and_noise(
        schedule in schedules(prop_oneof![
            Just(PredictionType::Epsilon),
            Just(PredictionType::VPrediction)
        ]),
        timesteps in prop::collection::vec(0_usize..1000, 2),
        seed: u64,
    ) {
        let (x0, noise) = (gaussian(seed, "x0"), gaussian(seed, "noise"));
        let noisy = schedule.add_noise(x0.clone(), noise.clone(), &timesteps);
        let target = schedule.target(x0.clone(), noise.clone(), &timesteps);
        let found = schedule.predict_x0(target.clone(), noisy.clone(), &timesteps);
        // 1/alpha magnifies f32 rounding up to fifteen times.
        prop_assert!(largest_difference(found, x0) < 1e-4);
        let found = schedule.predict_epsilon(target, noisy, &timesteps);
        prop_assert!(largest_difference(found, noise) < 1e-5);
    }

    /// With a perfect model and no level below timestep 0, every sampler ends at the clean sample.
    #[test]
    fn every_sampler_ends_at_what_a_perfect_model_sees(seed: u64, steps in 1_usize..40) {
        let config = SchedulerConfig { set_alpha_to_one: true, ..published_schedule().config().clone() };
        let schedule = NoiseSchedule::new(&config).unwrap();
        let x0 = gaussian(seed, "x0");
        for kind in SamplerKind::ALL {
            let mut sampler = kind.build(&schedule, steps).unwrap();
            let mut sample = gaussian(seed, "start");
            for index in 0..sampler.steps() {
                let timesteps = [sampler.timesteps()[index]];
                // The noise that stands between the sample and x0, at the level the sampler is on.
                let alpha = schedule.alphas_cumprod()[timesteps[0]];
                let noise = (sample.clone() - x0.clone() * alpha.sqrt()) / (1.0 - alpha).sqrt();
                sample = sampler.step(noise, index, sample);
            }
            // Karras sigmas lie between timesteps, so their model is only nearly perfect.
            let accepted = match kind {
                SamplerKind::DpmSolverPp2MKarras => 0.2,
                _ => 1e-3,
            };
            let error = largest_difference(sample, x0.clone());
            prop_assert!(error < accepted, "{kind}, {steps} steps: {error}");
        }
    }

    /// Up the levels and down again leads back if the noise does not depend on the sample.
    #[test]
    fn sampling_undoes_inversion(
        schedule in schedules(Just(PredictionType::Epsilon)),
        seed: u64,
        steps in 1_usize..60,
    ) {
        let (start, output) = (gaussian(seed, "start"), gaussian(seed, "output"));
        let mut inversion = DdimInversion::new(&schedule, steps).unwrap();
        let mut ddim = Ddim::new(&schedule, steps).unwrap();
        let inverted = walk(&mut inversion, start.clone(), output.clone());
        let restored = walk(&mut ddim, inverted, output);
        // The way back magnifies rounding by 1/alpha, up to fifteen times.
        prop_assert!(largest_difference(restored, start) < 1e-3);
    }

    #[test]
    fn blending_keeps_the_variance(seed: u64, strength in 0.0..=1.0) {
        let shape = [1, 4, 16, 32, 32];
        let source = NoiseSource::new(seed);
        let draw = |label| -> Latents { source.gaussian(label, 0, shape, &Default::default()) };
        let start = InitialNoise::Blend.compose(draw("fresh"), Some(draw("inverted")), strength);
        let variance = values(start.unwrap().powi_scalar(2).mean())[0];
        // The estimate from 65536 values deviates by 0.0055.
        prop_assert!((variance - 1.0).abs() < 0.035, "{variance}");
    }

    #[test]
    fn blending_at_either_end_is_one_of_the_two(seed: u64) {
        let (fresh, inverted) = (gaussian(seed, "fresh"), gaussian(seed, "inverted"));
        for (strength, expected) in [(0.0, &fresh), (1.0, &inverted)] {
            let start = InitialNoise::Blend
                .compose(fresh.clone(), Some(inverted.clone()), strength)
                .unwrap();
            prop_assert_eq!(largest_difference(start, expected.clone()), 0.0);
        }
    }

    #[test]
    fn guidance_is_a_line_through_both_predictions(seed: u64, scale in 0.0..20.0) {
        let (uncond, cond) = (gaussian(seed, "uncond"), gaussian(seed, "cond"));
        let guide = |scale| Guidance::new(scale).unwrap().combine(uncond.clone(), cond.clone());
        prop_assert!(largest_difference(guide(0.0), uncond.clone()) == 0.0);
        prop_assert!(largest_difference(guide(1.0), cond.clone()) < 1e-6);
        let expected = uncond.clone() * (1.0 - scale) + cond.clone() * scale;
        prop_assert!(largest_difference(guide(scale), expected) < 1e-4);

        let both = Tensor::cat(vec![uncond.clone(), cond.clone()], 0);
        let halves = Guidance::new(scale).unwrap().combine_halves(both);
        prop_assert_eq!(largest_difference(halves, guide(scale)), 0.0);
    }

    #[test]
    fn integers_stay_in_their_range(seed: u64, index: u64, start in 0_usize..1000, count in 1_usize..1000) {
        let range = start..start + count;
        let drawn = NoiseSource::new(seed).uniform_int("law", index, range.clone());
        prop_assert!(range.contains(&drawn));
        let fraction = NoiseSource::new(seed).uniform("law", index);
        prop_assert!((0.0..1.0).contains(&fraction));
    }
}

/// With a model that sees the sample the way back is exact only in the limit: errors fall with the strides.
#[test]
fn inversion_of_a_linear_model_improves_with_steps() {
    let schedule = published_schedule();
    let start = gaussian(3, "start");
    let error = |steps| {
        let mut sample = start.clone();
        let samplers: [Box<dyn Sampler<Flex, 5>>; 2] = [
            Box::new(DdimInversion::new(&schedule, steps).unwrap()),
            Box::new(Ddim::new(&schedule, steps).unwrap()),
        ];
        for mut sampler in samplers {
            for index in 0..sampler.steps() {
                sample = sampler.step(sample.clone() * 0.3, index, sample);
            }
        }
        largest_difference(sample, start.clone())
    };
    let (coarse, fine) = (error(20), error(200));
    assert!(fine < coarse / 5.0, "{coarse} with 20, {fine} with 200");
    assert!(fine < 0.05, "{fine}");
}

#[test]
#[should_panic(expected = "timestep 1000 lies beyond a schedule of 1000")]
fn a_timestep_beyond_the_schedule_is_the_callers_mistake() {
    let latents = gaussian(1, "x0");
    let _ = published_schedule().add_noise(latents.clone(), latents, &[1000]);
}

#[test]
#[should_panic(expected = "expected one timestep, or one for each of 2 items")]
fn a_wrong_number_of_timesteps_is_the_callers_mistake() {
    let latents = gaussian(1, "x0");
    let _ = published_schedule().add_noise(latents.clone(), latents, &[1, 2, 3]);
}

#[test]
fn guidance_out_of_range_is_refused() {
    for scale in [-1.0, f64::NAN, f64::INFINITY] {
        let error = Guidance::new(scale).unwrap_err().to_string();
        let expected = "expected a finite number of at least 0";
        assert_eq!(error, format!("guidance scale is {scale}, {expected}"));
    }
    assert!(!Guidance::new(1.0).unwrap().needs_unconditional());
    assert!(Guidance::new(7.5).unwrap().needs_unconditional());
}

/// Everything is linear in its tensors, so a gradient is the answer to one.
#[test]
fn gradients_flow_through_samplers_and_initial_noise() {
    type Tracked = Tensor<Autodiff<Flex>, 5>;
    let tracked = |seed| -> Tracked {
        let source = NoiseSource::new(seed);
        let latents: Tracked = source.gaussian("x", 0, [1, 2, 3, 8, 8], &Default::default());
        latents.require_grad()
    };
    let schedule = published_schedule();
    for kind in SamplerKind::ALL {
        let (output, sample) = (tracked(1), tracked(2));
        let mut sampler = kind.build(&schedule, 4).unwrap();
        let next = sampler.step(output.clone(), 0, sample.clone());
        let gradients = next.sum().backward();
        let answer = |output: f64, sample: f64| {
            let full = |value| Tensor::<Flex, 1>::full([1], value, &Default::default());
            let mut sampler = kind.build(&schedule, 4).unwrap();
            values(sampler.step(full(output), 0, full(sample)))[0]
        };
        for (tensor, expected) in [(output, answer(1.0, 0.0)), (sample, answer(0.0, 1.0))] {
            let found = values(tensor.grad(&gradients).unwrap());
            let agrees = found.iter().all(|g| (g - expected).abs() < 1e-5);
            assert!(agrees, "{kind}: {}, expected {expected}", found[0]);
        }
    }
    for strategy in InitialNoise::ALL {
        let (noise, inverted) = (tracked(3), tracked(4));
        let start = strategy.compose(noise.clone(), Some(inverted.clone()), 0.5);
        let gradients = start.unwrap().sum().backward();
        assert!(noise.grad(&gradients).is_some());
        assert_eq!(
            inverted.grad(&gradients).is_some(),
            strategy.needs_inverted()
        );
    }
}
