//! Time and memory of the units of work that everything is made of: a step of learning, a denoising step with guidance,
//! and decoding a clip; on the built-in model, or on networks of any size with random weights.
//!
//! ```text
//! cargo bench -p kinvert --bench work
//! cargo bench -p kinvert --bench work -- --model tests/fixtures/published/zeroscope_v2_576w --dtype bf16 --device cuda
//! ```
//!
//! Prints a line of JSON for each: median, fastest and slowest time, the memory it took beside weights and optimiser
//! and what was planned for it. Memory is counted at the allocator, which knows of the CPU's alone. With `--serve` it
//! does what it is told on standard input, one unit a line, so that `benches/compare.py` can run it in turn with the
//! reference library.

#![allow(clippy::print_stdout, reason = "a bench tells what it measured")]

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::tensor::{Tensor, TensorData};
use clap::Parser;
use kinvert::gradient::Activations;
use kinvert::inversion::{Learner, Reference};
use kinvert::{Device, InversionSettings, ModelFiles, Precision, SiteSelection};
use kinvert_diffusion::{Ddim, Guidance, NoiseSchedule, NoiseSource, Sampler, SchedulerConfig};
use kinvert_nets::autoencoder_kl::{AutoencoderKLConfig, Slices};
use kinvert_nets::cost::{PassCost, PassSize};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::video_unet::Stage;
use kinvert_nets::weights::in_precision;
use kinvert_nets::{AutoencoderKL, Hooks, OnDevice, VideoUNet, VideoUNetConfig};
use kinvert_testkit::memory::{Counting, peak_of};
use kinvert_world::model::model_files;
use serde_json::{Value, json};

const SCHEDULER: &[u8] = br#"{"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1}"#;

/// Latent channels, frames that the autoencoder takes at a time, and steps of the sampler: those of the program.
const LATENT_CHANNELS: usize = 4;
const VAE_FRAMES: usize = 2;
const SAMPLING_STEPS: usize = 30;

#[derive(Parser)]
struct Args {
    /// A model's folder, of which only the configurations are read; weights are random. Without one, the built-in model
    #[arg(long)]
    model: Option<PathBuf>,
    /// Width and height of the clip in pixels, multiples of 8; 64x64 for the built-in model, else 576x320
    #[arg(long, value_parser = size)]
    size: Option<[usize; 2]>,
    /// 16 for the built-in model, else 24
    #[arg(long)]
    frames: Option<usize>,
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Compute activations again on the way back
    #[arg(long)]
    recompute: bool,
    /// Times that each unit is timed, after one that is not
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Do what standard input says
    #[arg(long)]
    serve: bool,
    /// Cargo says so of every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').ok_or("expected WxH")?;
    let side = |side: &str| side.parse().map_err(|_| "expected WxH".to_string());
    Ok([side(sides.0)?, side(sides.1)?])
}

fn main() {
    let args = Args::parse();
    kinvert_nets::device::prepare_process();
    args.device.run(Bench(&args));
}

struct Bench<'a>(&'a Args);

impl OnDevice for Bench<'_> {
    type Output = ();

    fn run<B: TrackingBackend>(self, device: &B::Device) {
        let Self(args) = self;
        let networks = Networks::<B>::of(args, device);
        let mut units = networks.units(args, device);
        match args.serve {
            true => serve(&mut units),
            false => units.iter_mut().for_each(|unit| measure(args, unit)),
        }
    }
}

/// What is done again and again.
struct Unit<'a> {
    name: &'static str,
    /// Does it once; what it gives is finite.
    run: Box<dyn FnMut() -> TensorData + 'a>,
    /// What is known of it beforehand.
    facts: Value,
}

impl Unit<'_> {
    /// Does it once and tells the seconds.
    fn timed(&mut self) -> f64 {
        let started = Instant::now();
        let result = (self.run)();
        let elapsed = started.elapsed().as_secs_f64();
        assert!(result.iter::<f32>().all(f32::is_finite), "not finite");
        elapsed
    }
}

fn serve(units: &mut [Unit<'_>]) {
    let say = |value: Value| {
        println!("{value}");
        std::io::stdout().flush().expect("somebody listens");
    };
    let names: Vec<_> = units.iter().map(|unit| unit.name).collect();
    say(json!({"ready": true, "works": names}));
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let unit = units.iter_mut().find(|unit| unit.name == line.trim());
        let unit = unit.unwrap_or_else(|| panic!("one of {names:?} was expected, not {line:?}"));
        say(json!({"work": unit.name, "seconds": unit.timed()}));
    }
}

fn measure(args: &Args, unit: &mut Unit<'_>) {
    let (mut seconds, peak_bytes) = peak_of(|| {
        unit.timed(); // what is made once is made here
        (0..args.steps.max(1))
            .map(|_| unit.timed())
            .collect::<Vec<_>>()
    });
    seconds.sort_by(f64::total_cmp);
    let mut line = json!({
        "work": unit.name, "median_s": seconds[seconds.len() / 2], "fastest_s": seconds[0],
        "slowest_s": seconds[seconds.len() - 1], "peak_bytes": peak_bytes,
        "device": args.device.to_string(), "dtype": args.dtype,
    });
    if let (Value::Object(line), Value::Object(facts)) = (&mut line, &unit.facts) {
        line.extend(facts.clone());
    }
    println!("{line}");
}

/// What the units run on.
struct Networks<B: TrackingBackend> {
    config: VideoUNetConfig,
    tracked: VideoUNet<B>,
    plain: VideoUNet<B::InnerBackend>,
    vae: AutoencoderKL<B::InnerBackend>,
    schedule: NoiseSchedule,
    settings: InversionSettings,
    /// Frames, height and width of the latents.
    grid: [usize; 3],
    text_tokens: usize,
}

impl<B: TrackingBackend> Networks<B> {
    fn of(args: &Args, device: &B::Device) -> Self {
        let schedule = SchedulerConfig::from_json(SCHEDULER, "scheduler")
            .and_then(|config| NoiseSchedule::new(&config))
            .expect("the schedule is valid");
        let usual = match args.model {
            None => ([64, 64], 16),
            Some(_) => ([576, 320], 24),
        };
        let [width, height] = args.size.unwrap_or(usual.0).map(|side| side / 8);
        let grid = [args.frames.unwrap_or(usual.1), height, width];
        let (config, tracked, vae, text_tokens) = match &args.model {
            None => {
                let files = model_files();
                let unet = VideoUNet::<B>::load(&files.part("unet"), device, args.dtype);
                let (config, tracked) = unet.expect("the built-in model loads");
                let vae = AutoencoderKL::load(&files.part("vae"), device, args.dtype);
                (config, tracked, vae.expect("the built-in model loads"), 16)
            }
            Some(folder) => {
                let files = ModelFiles::folder(folder);
                let config = VideoUNetConfig::read(&files.part("unet"));
                let config = config.unwrap_or_else(|error| panic!("{error}"));
                let vae = files.part("vae").json::<AutoencoderKLConfig>("config.json");
                let vae = vae.unwrap_or_else(|error| panic!("{error}"));
                let tracked = in_precision(config.init::<B>(device), args.dtype);
                (
                    config,
                    tracked,
                    in_precision(vae.init(device), args.dtype),
                    77,
                )
            }
        };
        B::sync(device).expect("the device works");
        Self {
            config,
            plain: tracked.valid(),
            tracked,
            vae,
            schedule,
            settings: InversionSettings::default(),
            grid,
            text_tokens,
        }
    }

    fn units<'a>(&'a self, args: &'a Args, device: &'a B::Device) -> Vec<Unit<'a>> {
        vec![
            self.inversion_step(args, device),
            self.denoising_step(args, device),
            self.vae_decode(device),
        ]
    }

    fn shape(&self, batch: usize) -> [usize; 5] {
        let [frames, height, width] = self.grid;
        [batch, LATENT_CHANNELS, frames, height, width]
    }

    fn latents(&self, batch: usize, device: &B::Device) -> Tensor<B::InnerBackend, 5> {
        NoiseSource::new(1).gaussian("latents", 0, self.shape(batch), device)
    }

    fn text(&self, batch: usize, device: &B::Device) -> Tensor<B::InnerBackend, 3> {
        let shape = [batch, self.text_tokens, self.config.cross_attention_dim()];
        NoiseSource::new(1).gaussian("text", 0, shape, device)
    }

    fn cost(&self, batch: usize) -> PassCost {
        let [frames, height, width] = self.grid;
        self.config.cost(PassSize {
            batch,
            frames,
            latent_size: [height, width],
            text_tokens: self.text_tokens,
        })
    }

    /// Loss, gradients and AdamW at the published sites.
    fn inversion_step<'a>(&'a self, args: &Args, device: &'a B::Device) -> Unit<'a> {
        let sites = SiteSelection::Published
            .select(&self.config.sites())
            .expect("the network has sites");
        let cost = self.cost(1);
        let stages = sites
            .iter()
            .filter_map(|site| Stage::containing(&site.name));
        let order = |stage: &Stage| cost.0.iter().position(|cost| cost.stage == *stage);
        let first = stages.min_by_key(order).expect("a site lies in a stage");
        let activations = match args.recompute {
            true => Activations::Recompute,
            false => Activations::Keep,
        };
        let (planned, again) = match activations {
            Activations::Keep => (cost.peak_if_kept(first), None),
            Activations::Recompute => {
                let again = cost.recomputed_flops(first);
                (cost.peak_if_recomputed(first), Some(again))
            }
        };
        let flops = [Some(cost.flops()), Some(cost.backward_flops(first)), again];
        let flops: f64 = flops
            .iter()
            .flatten()
            .map(|flops| flops.total() as f64)
            .sum();

        let mut learner = Learner::new(
            &self.tracked,
            &self.schedule,
            &self.settings,
            &sites,
            self.grid,
            device,
        )
        .with_activations(activations);
        let reference = Reference::<B> {
            latents: Tensor::from_inner(self.latents(1, device)),
            caption_states: Tensor::from_inner(self.text(1, device)),
        };
        let mut step = 0;
        let run = move || {
            let draw = learner
                .draw(step, self.shape(1), device)
                .expect("timesteps fit");
            let (loss, gradients) = learner.gradients(&reference, draw);
            learner.step(gradients);
            step += 1;
            B::sync(device).expect("the device works");
            TensorData::from([loss])
        };
        Unit {
            name: "inversion_step",
            run: Box::new(run),
            facts: json!({
                "activations": format!("{activations:?}"), "gflop": flops / 1e9,
                "planned_bytes": planned * args.dtype.bytes() as u64,
            }),
        }
    }

    /// Both halves of the guidance at once, and a step of DDIM.
    fn denoising_step<'a>(&'a self, args: &Args, device: &'a B::Device) -> Unit<'a> {
        let cost = self.cost(2);
        let (latents, text) = (self.latents(1, device), self.text(2, device));
        let guidance = Guidance::new(5.0).expect("a finite scale");
        let sampler = Ddim::new(&self.schedule, SAMPLING_STEPS).expect("fewer steps than 1000");
        let timestep = Sampler::<B::InnerBackend, 5>::timesteps(&sampler)[SAMPLING_STEPS / 2];
        let mut sampler = sampler;
        let run = move || {
            let hooks = Hooks::default();
            let output =
                self.plain
                    .forward(latents.clone(), &[timestep as f64], text.clone(), hooks);
            let output = guidance.combine_halves(output);
            let next = sampler.step(output, SAMPLING_STEPS / 2, latents.clone());
            next.into_data()
        };
        Unit {
            name: "denoising_step",
            run: Box::new(run),
            facts: json!({
                "gflop": cost.flops().total() as f64 / 1e9,
                "planned_bytes": cost.forward_peak() * args.dtype.bytes() as u64,
            }),
        }
    }

    /// A whole clip, some frames at a time.
    fn vae_decode<'a>(&'a self, device: &B::Device) -> Unit<'a> {
        let latents = self.latents(1, device);
        let run = move || {
            let slices = Slices::of(VAE_FRAMES.try_into().expect("more than none"));
            let clip = self
                .vae
                .decode_clip(latents.clone(), slices, &mut |_, _| {});
            clip.into_data()
        };
        Unit {
            name: "vae_decode",
            run: Box::new(run),
            facts: json!({}),
        }
    }
}
