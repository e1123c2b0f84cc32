//! The schedules of the published base models.

use burn_flex::Flex;
use kinvert_diffusion::{
    BetaSchedule, NoiseSchedule, PredictionType, Sampler, SamplerKind, SchedulerConfig,
};
use kinvert_testkit::fixtures_dir;

fn config(model: &str) -> SchedulerConfig {
    let path = fixtures_dir()
        .join("published")
        .join(model)
        .join("scheduler/scheduler_config.json");
    let bytes = std::fs::read(&path).unwrap();
    SchedulerConfig::from_json(&bytes, &path.to_string_lossy()).unwrap()
}

#[test]
fn published_schedules_are_read() {
    use BetaSchedule::{Linear, ScaledLinear};
    let models = [
        (
            "text-to-video-ms-1.7b",
            "DDIMScheduler",
            ScaledLinear,
            1,
            false,
        ),
        ("zeroscope_v2_576w", "DDIMScheduler", ScaledLinear, 1, false),
        (
            "stable-diffusion-v1-5",
            "PNDMScheduler",
            ScaledLinear,
            1,
            false,
        ),
        (
            "animatediff-motion-adapter-v1-5-2",
            "DDIMScheduler",
            Linear,
            0,
            true,
        ),
        (
            "animatediff-motion-adapter-v1-5-3",
            "DDIMScheduler",
            Linear,
            1,
            true,
        ),
    ];
    for (model, class_name, beta_schedule, steps_offset, set_alpha_to_one) in models {
        let config = config(model);
        assert_eq!(config.class_name.as_deref(), Some(class_name), "{model}");
        assert_eq!(config.beta_schedule, beta_schedule, "{model}");
        assert_eq!(config.steps_offset, steps_offset, "{model}");
        assert_eq!(config.set_alpha_to_one, set_alpha_to_one, "{model}");
        assert_eq!(
            (config.beta_start, config.beta_end),
            (0.00085, 0.012),
            "{model}"
        );
        assert_eq!(config.num_train_timesteps, 1000, "{model}");
        assert_eq!(config.prediction_type, PredictionType::Epsilon, "{model}");
        assert!(
            !config.rescale_betas_zero_snr && config.trained_betas.is_none(),
            "{model}"
        );
        NoiseSchedule::new(&config).unwrap();
    }
}

/// Without a word on the spacing, or with `leading`, 50 steps of DDIM start at 980 and the offset.
#[test]
fn published_schedules_are_sampled_at_the_library_s_timesteps() {
    let first_and_last = |model: &str| {
        let schedule = NoiseSchedule::new(&config(model)).unwrap();
        let sampler: Box<dyn Sampler<Flex, 5>> = SamplerKind::Ddim.build(&schedule, 50).unwrap();
        (sampler.timesteps()[0], sampler.timesteps()[49])
    };
    assert_eq!(first_and_last("zeroscope_v2_576w"), (981, 1));
    assert_eq!(
        first_and_last("animatediff-motion-adapter-v1-5-2"),
        (980, 0)
    );
    assert_eq!(
        first_and_last("animatediff-motion-adapter-v1-5-3"),
        (981, 1)
    );
}
