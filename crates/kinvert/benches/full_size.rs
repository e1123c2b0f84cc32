//! Time and memory of one denoising step and one step of learning, on a network of any size with random weights:
//!
//! ```text
//! cargo bench -p kinvert --bench full_size -- --unet tests/fixtures/published/zeroscope_v2_576w/unet \
//!     --size 576x320 --frames 24 --dtype bf16 --device cuda
//! ```
//!
//! Prints a line of JSON with what was planned and what was measured. On the CPU memory is counted at the allocator;
//! on a GPU it is what the driver says is taken, the engine's pool included.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::tensor::{Tensor, TensorData};
use clap::Parser;
use kinvert::gradient::Activations;
use kinvert::inversion::{Learner, Reference};
use kinvert::{Device, InversionSettings, ModelFiles, Precision, SiteSelection};
use kinvert_diffusion::{NoiseSchedule, NoiseSource, SchedulerConfig};
use kinvert_nets::cost::PassSize;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::video_unet::Stage;
use kinvert_nets::weights::in_precision;
use kinvert_nets::{Hooks, OnDevice, VideoUNetConfig, parameters};
use serde_json::json;

const SCHEDULER: &[u8] = br#"{"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1}"#;

#[derive(Parser)]
struct Args {
    /// Folder with the network's config.json
    #[arg(long)]
    unet: PathBuf,
    /// Width and height of the clip in pixels, multiples of 8
    #[arg(long, default_value = "576x320", value_parser = size)]
    size: [usize; 2],
    #[arg(long, default_value_t = 24)]
    frames: usize,
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Compute activations again on the way back
    #[arg(long)]
    recompute: bool,
    /// Steps that are timed, after one that is not
    #[arg(long, default_value_t = 1)]
    steps: usize,
    /// Cargo says so of every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').ok_or("expected WxH")?;
    let side = |side: &str| side.parse().map_err(|_| "expected WxH".to_string());
    Ok([side(sides.0)?, side(sides.1)?])
}

fn main() {
    let args = Args::parse();
    args.device.run(Measure(&args));
}

struct Measure<'a>(&'a Args);

impl OnDevice for Measure<'_> {
    type Output = ();

    fn run<B: TrackingBackend>(self, device: &B::Device) {
        let Self(args) = self;
        let config = VideoUNetConfig::read(&ModelFiles::folder(&args.unet))
            .unwrap_or_else(|error| panic!("{error}"));
        let [width, height] = args.size.map(|side| side / 8);
        let network = config.init::<B>(device);
        let count = parameters(&network);
        let started = Instant::now();
        let network = in_precision(network, args.dtype);
        B::sync(device).expect("the device works");
        let weights_s = started.elapsed().as_secs_f64();

        let cost = |batch| {
            config.cost(PassSize {
                batch,
                frames: args.frames,
                latent_size: [height, width],
                text_tokens: 77,
            })
        };
        let bytes = |numbers: u64| numbers * args.dtype.bytes() as u64;
        let noise = NoiseSource::new(1);
        let shape = |batch| {
            [
                batch,
                config.latent_channels()[0],
                args.frames,
                height,
                width,
            ]
        };
        let text = |batch| [batch, 77, config.cross_attention_dim()];

        // One denoising step: both halves of the guidance as one batch.
        let plain = network.valid();
        let latents: Tensor<B::InnerBackend, 5> = noise.gaussian("latents", 0, shape(2), device);
        let states: Tensor<B::InnerBackend, 3> = noise.gaussian("text", 0, text(2), device);
        let denoise = measure(args, || {
            let hooks = Hooks::default();
            let output = plain.forward(latents.clone(), &[501.0], states.clone(), hooks);
            output.sum().into_data()
        });
        drop((latents, states));
        println!(
            "{}",
            json!({
                "work": "denoising step with guidance", "parameters": count,
                "weights_bytes": bytes(count), "weights_s": weights_s,
                "seconds": denoise.seconds, "peak_bytes": denoise.peak_bytes,
                "planned_bytes": bytes(cost(2).forward_peak()),
                "tflop": cost(2).flops().total() as f64 / 1e12,
                "device": args.device.to_string(), "dtype": args.dtype,
            })
        );
        drop(plain);

        // One step of learning at the published sites.
        let sites = SiteSelection::Published
            .select(&config.sites())
            .expect("the network has sites");
        let first = sites
            .iter()
            .filter_map(|site| Stage::containing(&site.name));
        let order = |stage: &Stage| cost(1).0.iter().position(|cost| cost.stage == *stage);
        let first = first.min_by_key(order).expect("a site lies in a stage");
        let schedule = SchedulerConfig::from_json(SCHEDULER, "scheduler")
            .and_then(|config| NoiseSchedule::new(&config))
            .expect("the schedule is valid");
        let settings = InversionSettings::default();
        let activations = match args.recompute {
            true => Activations::Recompute,
            false => Activations::Keep,
        };
        let grid = [args.frames, height, width];
        let mut learner = Learner::new(&network, &schedule, &settings, &sites, grid, device)
            .with_activations(activations);
        let reference = Reference::<B> {
            latents: noise.gaussian("latents", 0, shape(1), device),
            caption_states: noise.gaussian("text", 0, text(1), device),
        };
        let mut step = 0;
        let learn = measure(args, || {
            let draw = learner.draw(step, shape(1), device).expect("timesteps fit");
            let (loss, gradients) = learner.gradients(&reference, draw);
            learner.step(gradients);
            step += 1;
            TensorData::from([loss])
        });
        let cost = cost(1);
        let (planned, mut flops) = match activations {
            Activations::Keep => (cost.peak_if_kept(first), cost.flops()),
            Activations::Recompute => (
                cost.peak_if_recomputed(first),
                cost.flops() + cost.recomputed_flops(first),
            ),
        };
        flops += cost.backward_flops(first);
        println!(
            "{}",
            json!({
                "work": format!("inversion step, {activations:?}"), "seconds": learn.seconds,
                "peak_bytes": learn.peak_bytes, "planned_bytes": bytes(planned),
                "tflop": flops.total() as f64 / 1e12,
            })
        );
    }
}

struct Measured {
    /// Median of the timed steps.
    seconds: f64,
    /// Most memory taken beside what was taken before.
    peak_bytes: u64,
}

fn measure(args: &Args, mut work: impl FnMut() -> TensorData) -> Measured {
    let before = CURRENT.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let mut seconds: Vec<f64> = (0..=args.steps)
        .map(|_| {
            let started = Instant::now();
            let result = work();
            let elapsed = started.elapsed().as_secs_f64();
            assert!(result.iter::<f32>().all(f32::is_finite), "not finite");
            elapsed
        })
        .skip(1)
        .collect();
    seconds.sort_by(f64::total_cmp);
    Measured {
        seconds: seconds[seconds.len() / 2],
        peak_bytes: PEAK.load(Ordering::Relaxed) - before,
    }
}

/// Counts bytes that are taken, and the most there ever were.
struct Counting;

static CURRENT: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on to the system's allocator unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = layout.size() as u64;
        let now = CURRENT.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let bytes = layout.size() as u64;
        let now = CURRENT.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as above. Pages that are never written are not taken, but they are asked for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CURRENT.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
