//! Schedules and samplers against `parity/schedulers`, recorded with diffusers 0.42.1 in f32.
//!
//! The README accepts 1e-4 absolute and 1e-5 of the largest value; both are asserted for every state of every
//! trajectory.

use burn_flex::Flex;
use kinvert_diffusion::{
    Ddim, DdimInversion, DpmSolverPp2M, NoiseSchedule, PredictionType, Sampler, SchedulerConfig,
    TimestepSpacing,
};
use kinvert_testkit::{Recording, Tolerance, assert_close};

use crate::{Latents, published_schedule, recorded_config};

const ABSOLUTE: Tolerance = Tolerance::Absolute(1e-4);
const OF_LARGEST: Tolerance = Tolerance::OfLargest(1e-5);
const STEPS: [usize; 4] = [1, 10, 30, 50];
const PREDICTIONS: [(&str, PredictionType); 2] = [
    ("epsilon", PredictionType::Epsilon),
    ("v_prediction", PredictionType::VPrediction),
];
const LEADING: (&str, TimestepSpacing) = ("leading", TimestepSpacing::Leading);
const TRAILING: (&str, TimestepSpacing) = ("trailing", TimestepSpacing::Trailing);
const LINSPACE: (&str, TimestepSpacing) = ("linspace", TimestepSpacing::Linspace);

fn recording() -> Recording {
    Recording::open("parity/schedulers/io.safetensors")
}

/// The model all trajectories were recorded with.
fn model(sample: Latents, timestep: usize) -> Latents {
    sample * 0.3 + 0.01 * timestep as f64 / 1000.0
}

/// State `index` of a recorded trajectory.
fn state(recording: &Recording, trajectory: &str, index: usize) -> Latents {
    let states = recording.tensor::<Flex, 6>(trajectory, &Default::default());
    states.narrow(0, index, 1).squeeze_dim(0)
}

#[track_caller]
fn check_state(recording: &Recording, trajectory: &str, index: usize, found: Latents) {
    let name = format!("{trajectory}[{index}]");
    let expected = kinvert_testkit::values(state(recording, trajectory, index));
    let found = kinvert_testkit::values(found);
    assert_close(&name, &found, &expected, ABSOLUTE);
    assert_close(&name, &found, &expected, OF_LARGEST);
}

/// Replays one recorded case: timesteps exactly, then every state.
fn check_case(recording: &Recording, case: &str, sampler: &mut dyn Sampler<Flex, 5>) {
    let timesteps: Vec<i64> = sampler.timesteps().iter().map(|t| *t as i64).collect();
    assert_eq!(
        timesteps,
        recording.i64s(&format!("{case}.timesteps")),
        "{case}"
    );

    let trajectory = format!("{case}.trajectory");
    let mut sample = recording.tensor("x_init", &Default::default());
    check_state(recording, &trajectory, 0, sample.clone());
    for index in 0..sampler.steps() {
        let output = model(sample.clone(), sampler.timesteps()[index]);
        sample = sampler.step(output, index, sample);
        check_state(recording, &trajectory, index + 1, sample.clone());
    }
}

/// Calls `check` for each recorded combination of a family: its name, its schedule and its number of steps.
fn for_each_case(
    family: &str,
    spacings: &[(&str, TimestepSpacing)],
    mut check: impl FnMut(&str, &NoiseSchedule, usize),
) {
    for (prediction_name, prediction_type) in PREDICTIONS {
        for (spacing_name, spacing) in spacings {
            let config = SchedulerConfig {
                prediction_type,
                timestep_spacing: Some(*spacing),
                ..recorded_config("ddim_epsilon_leading")
            };
            let schedule = NoiseSchedule::new(&config).unwrap();
            for steps in STEPS {
                let case = format!("{family}.{prediction_name}.{spacing_name}.{steps}");
                check(&case, &schedule, steps);
            }
        }
    }
}

#[test]
fn the_schedule_agrees_with_the_library() {
    let alphas_cumprod: Vec<f32> = published_schedule()
        .alphas_cumprod()
        .iter()
        .map(|a| *a as f32)
        .collect();
    let expected = recording().f32s("alphas_cumprod");
    // The library multiplies a thousand factors in f32, which costs it up to 1e-6 of each value.
    for (index, (found, expected)) in alphas_cumprod.iter().zip(&expected).enumerate() {
        let error = (found / expected - 1.0).abs();
        assert!(error < 2e-6, "{index}: {found}, expected {expected}");
    }
}

#[test]
fn noise_and_velocity_agree_with_the_library() {
    let (recording, device) = (recording(), Default::default());
    let schedule = published_schedule();
    let timesteps: Vec<usize> = recording
        .i64s("add_noise.timesteps")
        .iter()
        .map(|t| *t as usize)
        .collect();
    let x0 = recording.tensor::<Flex, 5>("add_noise.x0", &device);
    let noise = recording.tensor::<Flex, 5>("add_noise.noise", &device);
    let noisy = schedule.add_noise(x0.clone(), noise.clone(), &timesteps);
    recording.expect("add_noise.out", noisy, OF_LARGEST);
    let velocity = schedule.velocity(x0.clone(), noise.clone(), &timesteps);
    recording.expect("get_velocity.out", velocity, OF_LARGEST);

    // One timestep for the whole batch is the same as that timestep for each item.
    let one = schedule.add_noise(x0.clone(), noise.clone(), &[250]);
    let each = schedule.add_noise(x0, noise, &[250; 4]);
    assert!(crate::largest_difference(one, each) < 1e-6);
}

#[test]
fn ddim_agrees_with_the_library() {
    let recording = recording();
    for_each_case("ddim", &[LEADING, TRAILING], |case, schedule, steps| {
        check_case(&recording, case, &mut Ddim::new(schedule, steps).unwrap());
    });
}

#[test]
fn ddim_inversion_agrees_with_the_library() {
    let recording = recording();
    for_each_case(
        "ddim_inverse",
        &[LEADING, TRAILING],
        |case, schedule, steps| {
            let mut inversion = DdimInversion::new(schedule, steps).unwrap();
            check_case(&recording, case, &mut inversion);
        },
    );
}

#[test]
fn ddim_inversion_visits_the_timesteps_of_the_published_code() {
    let recording = Recording::open("parity/official_motion/inversion.safetensors");
    let inversion = DdimInversion::new(&published_schedule(), 10).unwrap();
    let timesteps = Sampler::<Flex, 5>::timesteps(&inversion);
    let timesteps: Vec<i64> = timesteps.iter().map(|t| *t as i64).collect();
    assert_eq!(timesteps, recording.i64s("timesteps_in_order"));
}

#[test]
fn stochastic_ddim_agrees_with_the_library() {
    let recording = recording();
    let schedule = published_schedule();
    let ddim = Ddim::new(&schedule, 10).unwrap();
    let mut sample = recording.tensor("x_init", &Default::default());
    for (index, timestep) in Sampler::<Flex, 5>::timesteps(&ddim).iter().enumerate() {
        let output = model(sample.clone(), *timestep);
        let noise = state(&recording, "ddim_eta.variance_noise", index);
        sample = ddim
            .step_stochastic(output, index, sample, 0.5, noise)
            .unwrap();
        let trajectory = "ddim_eta.0.5.epsilon.leading.10.trajectory";
        check_state(&recording, trajectory, index + 1, sample.clone());
    }
}

/// Replays one recorded case of DPM-Solver++, its sigmas too.
fn check_dpm_solver(recording: &Recording, case: &str, mut solver: DpmSolverPp2M<Flex, 5>) {
    let sigmas: Vec<f32> = solver.sigmas().iter().map(|s| *s as f32).collect();
    let name = format!("{case}.sigmas");
    assert_close(&name, &sigmas, &recording.f32s(&name), OF_LARGEST);
    check_case(recording, case, &mut solver);
}

#[test]
fn dpm_solver_agrees_with_the_library() {
    let recording = recording();
    let spacings = [LEADING, TRAILING, LINSPACE];
    for_each_case("dpmpp2m", &spacings, |case, schedule, steps| {
        let solver = DpmSolverPp2M::new(schedule, steps).unwrap();
        check_dpm_solver(&recording, case, solver);
    });
}

#[test]
fn dpm_solver_on_karras_sigmas_agrees_with_the_library() {
    let recording = recording();
    let spacings = [LEADING, TRAILING, LINSPACE];
    for_each_case("dpmpp2m_karras", &spacings, |case, schedule, steps| {
        let solver = DpmSolverPp2M::karras(schedule, steps).unwrap();
        check_dpm_solver(&recording, case, solver);
    });
}

#[test]
fn a_repeated_walk_starts_afresh() {
    let schedule = published_schedule();
    let mut solver = DpmSolverPp2M::new(&schedule, 5).unwrap();
    let mut walk = || {
        let mut sample: Latents = recording().tensor("x_init", &Default::default());
        for index in 0..solver.steps() {
            let output = model(sample.clone(), solver.timesteps()[index]);
            sample = solver.step(output, index, sample);
        }
        kinvert_testkit::values(sample)
    };
    assert_eq!(walk(), walk());
}

#[test]
fn zero_signal_at_the_end_stays_finite() {
    let config = SchedulerConfig {
        rescale_betas_zero_snr: true,
        timestep_spacing: Some(TimestepSpacing::Trailing),
        ..recorded_config("ddim_v_prediction_trailing")
    };
    let schedule = NoiseSchedule::new(&config).unwrap();
    let samplers: [Box<dyn Sampler<Flex, 5>>; 4] = [
        Box::new(Ddim::new(&schedule, 10).unwrap()),
        Box::new(DdimInversion::new(&schedule, 10).unwrap()),
        Box::new(DpmSolverPp2M::new(&schedule, 10).unwrap()),
        Box::new(DpmSolverPp2M::karras(&schedule, 10).unwrap()),
    ];
    for mut sampler in samplers {
        let mut sample: Latents = recording().tensor("x_init", &Default::default());
        for index in 0..sampler.steps() {
            let output = model(sample.clone(), sampler.timesteps()[index]);
            sample = sampler.step(output, index, sample);
        }
        let values = kinvert_testkit::values(sample);
        assert!(values.iter().all(|v| v.abs() < 100.0), "{values:?}");
    }
}

#[test]
fn eta_out_of_range_is_refused() {
    let ddim = Ddim::new(&published_schedule(), 10).unwrap();
    let x: Latents = recording().tensor("x_init", &Default::default());
    for eta in [-0.1, 1.1, f64::NAN] {
        let error = ddim.step_stochastic(x.clone(), 0, x.clone(), eta, x.clone());
        let message = error.unwrap_err().to_string();
        assert_eq!(message, format!("eta is {eta}, expected 0 to 1"));
    }
}
