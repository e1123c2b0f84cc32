//! Reading `scheduler_config.json`, good and bad.

use kinvert_diffusion::{
    BetaSchedule, NoiseSchedule, PredictionType, SchedulerConfig, TimestepSpacing,
};
use kinvert_testkit::fixtures_dir;

#[test]
fn every_recorded_configuration_loads_and_gives_a_schedule() {
    let parity = fixtures_dir().join("parity/schedulers");
    let folders = std::fs::read_dir(parity).unwrap();
    let mut files: Vec<_> = folders
        .map(|entry| entry.unwrap().path().join("scheduler_config.json"))
        .filter(|path| path.exists())
        .collect();
    assert_eq!(files.len(), 9, "{files:?}");
    let sprites = "../../crates/world/assets/model/scheduler/scheduler_config.json";
    files.push(fixtures_dir().join(sprites));
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let config = SchedulerConfig::from_json(&bytes, &path.to_string_lossy()).unwrap();
        assert_eq!(config.beta_schedule, BetaSchedule::ScaledLinear);
        assert_eq!(config.steps_offset, 1);
        assert!(!config.set_alpha_to_one);
        let name = path.to_string_lossy();
        let is_velocity = config.prediction_type == PredictionType::VPrediction;
        assert_eq!(is_velocity, name.contains("v_prediction"), "{name}");
        let is_trailing = config.timestep_spacing == Some(TimestepSpacing::Trailing);
        assert_eq!(is_trailing, name.contains("trailing"), "{name}");
        NoiseSchedule::new(&config).unwrap();
    }
}

#[test]
fn what_is_written_reads_back_the_same() {
    let config = SchedulerConfig {
        class_name: Some("DDIMScheduler".into()),
        beta_schedule: BetaSchedule::SquaredCosine,
        prediction_type: PredictionType::VPrediction,
        timestep_spacing: Some(TimestepSpacing::Trailing),
        rescale_betas_zero_snr: true,
        ..SchedulerConfig::default()
    };
    let json = serde_json::to_vec(&config).unwrap();
    let read = SchedulerConfig::from_json(&json, "written").unwrap();
    assert_eq!(read, config);
}

#[test]
fn an_old_configuration_takes_the_defaults_of_the_library() {
    let config = SchedulerConfig::from_json(b"{}", "empty").unwrap();
    assert_eq!(config, SchedulerConfig::default());
    let json = br#"{"skip_prk_steps": true, "variance_type": "fixed_small", "new_switch": false}"#;
    assert_eq!(SchedulerConfig::from_json(json, "old").unwrap(), config);
}

/// Checks that a configuration is refused in these words.
#[track_caller]
fn check_refused(json: &str, expected: &str) {
    let error = SchedulerConfig::from_json(json.as_bytes(), "c.json").unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().is_some());
}

#[test]
fn values_that_are_not_supported_are_refused_by_field() {
    check_refused(
        r#"{"beta_schedule": "sigmoid"}"#,
        "c.json: `beta_schedule` is \"sigmoid\", expected linear, scaled_linear or squaredcos_cap_v2",
    );
    check_refused(
        r#"{"prediction_type": "sample"}"#,
        "c.json: `prediction_type` is \"sample\", expected epsilon or v_prediction",
    );
    check_refused(
        r#"{"timestep_spacing": 3}"#,
        "c.json: `timestep_spacing` is 3, expected leading, trailing or linspace",
    );
    check_refused(
        r#"{"clip_sample": true}"#,
        "c.json: `clip_sample` is true, expected false",
    );
    check_refused(
        r#"{"use_flow_sigmas": true}"#,
        "c.json: `use_flow_sigmas` is true, expected false",
    );
    check_refused(
        r#"{"rescale_betas_zero_snr": true}"#,
        "c.json: `rescale_betas_zero_snr` is true, expected false with `prediction_type` epsilon, \
         because noise alone tells nothing of the signal",
    );
    check_refused(
        r#"{"shift": 3.0}"#,
        "c.json: `shift` is 3.0, expected no such field",
    );
    let error = SchedulerConfig::from_json(
        br#"{"_class_name": "FlowMatchEulerDiscreteScheduler"}"#,
        "c.json",
    )
    .unwrap_err();
    assert!(error.hint().unwrap().contains("flow-matching"));
}

#[test]
fn numbers_out_of_range_are_refused_by_field() {
    check_refused(
        r#"{"num_train_timesteps": 1}"#,
        "c.json: `num_train_timesteps` is 1, expected 2 to 100000",
    );
    check_refused(
        r#"{"num_train_timesteps": 1000000000000}"#,
        "c.json: `num_train_timesteps` is 1000000000000, expected 2 to 100000",
    );
    check_refused(
        r#"{"num_train_timesteps": -4}"#,
        "c.json: `num_train_timesteps` is -4, expected a whole number",
    );
    check_refused(
        r#"{"beta_start": 0}"#,
        "c.json: `beta_start` is 0, expected between 0 and 1, both excluded",
    );
    check_refused(
        r#"{"beta_end": 1.5}"#,
        "c.json: `beta_end` is 1.5, expected between 0 and 1, both excluded",
    );
    check_refused(
        r#"{"steps_offset": 1000}"#,
        "c.json: `steps_offset` is 1000, expected less than `num_train_timesteps`, 1000",
    );
    check_refused(
        r#"{"trained_betas": [0.1]}"#,
        "c.json: `trained_betas` is a list of 1, expected 1000 numbers, as `num_train_timesteps` says",
    );
    check_refused(
        r#"{"num_train_timesteps": 2, "trained_betas": [0.1, 1.0]}"#,
        "c.json: `trained_betas` is a list with 1, expected between 0 and 1, both excluded",
    );
    let not_a_number = SchedulerConfig {
        beta_end: f64::NAN,
        ..SchedulerConfig::default()
    };
    let error = NoiseSchedule::new(&not_a_number).unwrap_err().to_string();
    assert!(error.contains("`beta_end` is NaN"), "{error}");
}

#[test]
fn betas_that_leave_no_signal_are_refused() {
    let config = SchedulerConfig {
        beta_end: 0.99,
        ..SchedulerConfig::default()
    };
    let error = NoiseSchedule::new(&config).unwrap_err().to_string();
    assert!(error.contains("`beta_end` is so large"), "{error}");
}

#[test]
fn what_is_no_json_object_is_refused() {
    for bytes in [&b""[..], b"[]", b"{", b"{\"a\": Inf}", b"\xff\xfe", b"\"\\"] {
        let error = SchedulerConfig::from_json(bytes, "c.json").unwrap_err();
        assert_eq!(
            error.to_string(),
            "c.json: not the expected JSON object",
            "{bytes:?}"
        );
        assert!(std::error::Error::source(&error).is_some());
    }
    let huge = vec![b' '; 5 << 20];
    let error = SchedulerConfig::from_json(&huge, "c.json").unwrap_err();
    let message = "c.json: has 5242880 bytes, expected at most 4194304";
    assert_eq!(error.to_string(), message);
}
