//! Whether work takes the memory that is planned for it. A program of its own, for it counts at the allocator, and a
//! single test, for what others take would be counted too.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert::gradient::Activations;
use kinvert::inversion::{Learner, Reference};
use kinvert::{InversionSettings, Precision};
use kinvert_diffusion::{NoiseSchedule, NoiseSource, SchedulerConfig};
use kinvert_nets::cost::PassSize;
use kinvert_nets::video_unet::Stage;
use kinvert_nets::weights::in_precision;
use kinvert_nets::{Hooks, VideoUNet, VideoUNetConfig};
use kinvert_testkit::memory::{Counting, peak_of};
use kinvert_world::model::model_files;

type B = Autodiff<Flex>;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How far a plan may be off, as a share of what is measured.
const TOLERANCE: f64 = 0.15;

/// Large enough for features to outweigh everything else.
const FRAMES: usize = 8;
const SIDE: usize = 32;

fn check(work: &str, planned: u64, measured: u64) {
    let off = (planned as f64 - measured as f64).abs() / measured as f64;
    assert!(
        off <= TOLERANCE,
        "{work}: planned {planned} bytes, measured {measured}"
    );
}

#[test]
fn passes_take_what_is_planned() {
    let device = Default::default();
    let config = VideoUNetConfig::read(&model_files().part("unet")).unwrap();
    let unet: VideoUNet<B> = in_precision(config.init(&device), Precision::F32);
    let cost = |batch| {
        config.cost(PassSize {
            batch,
            frames: FRAMES,
            latent_size: [SIDE; 2],
            text_tokens: 16,
        })
    };
    let bytes = |numbers: u64| numbers * Precision::F32.bytes() as u64;
    let noise = NoiseSource::new(1);
    let shape = |batch| [batch, 4, FRAMES, SIDE, SIDE];
    let text = |batch| [batch, 16, config.cross_attention_dim()];

    let plain = unet.valid();
    let latents: Tensor<Flex, 5> = noise.gaussian("latents", 0, shape(2), &device);
    let states: Tensor<Flex, 3> = noise.gaussian("text", 0, text(2), &device);
    let (_, peak) = peak_of(|| plain.forward(latents, &[501.0], states, Hooks::default()));
    check("a pass", bytes(cost(2).forward_peak()), peak);

    let scheduler = model_files().part("scheduler");
    let file = scheduler.read("scheduler_config.json").unwrap();
    let schedule = NoiseSchedule::new(&SchedulerConfig::from_json(&file, "scheduler").unwrap());
    let schedule = schedule.unwrap();
    let settings = InversionSettings::default();
    let sites = settings.sites.select(&config.sites()).unwrap();
    let first = Stage::containing(&sites[0].name).unwrap();
    for (activations, planned) in [
        (Activations::Keep, cost(1).peak_if_kept(first)),
        (Activations::Recompute, cost(1).peak_if_recomputed(first)),
    ] {
        let grid = [FRAMES, SIDE, SIDE];
        let learner = Learner::new(&unet, &schedule, &settings, &sites, grid, &device)
            .with_activations(activations);
        let reference = Reference::<B> {
            latents: noise.gaussian("latents", 0, shape(1), &device),
            caption_states: noise.gaussian("text", 0, text(1), &device),
        };
        let draw = learner.draw(0, shape(1), &device).unwrap();
        let (_, peak) = peak_of(|| learner.gradients(&reference, draw));
        check(&format!("gradients, {activations:?}"), bytes(planned), peak);
    }
}
