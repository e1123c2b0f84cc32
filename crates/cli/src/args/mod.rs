//! What may stand on the command line. Settings are optional here: what is absent comes from the model.

pub mod evaluate;
pub mod models;
pub mod planner;
pub mod study;
pub mod tracks;
pub mod votes;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use kinvert::{
    ClipOptions, Contribution, Debias, Device, EmbeddingShape, FrameRate, GenerationSettings,
    InitialNoise, Integration, InversionSettings, MotionKind, Objective, Precision, SamplerKind,
    SiteSelection, TimestepRange,
};
use kinvert_terminal::named;
use kinvert_video::Fit;
use kinvert_world::{Background, Colour, Motion as SpriteMotion, Shape};

/// Most seeds that one command takes.
const MAX_SEEDS: u64 = 10_000;

/// Most clips that one command renders.
const MAX_SPRITE_CLIPS: u64 = 100_000;

/// Learn the motion of one clip, replay it with any prompt.
#[derive(Debug, Parser)]
#[command(name = "kinvert", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kinvert transfer clip.mp4 --caption \"a red circle\" --prompt \"a yellow star\"
  kinvert invert clip.mp4 --caption \"a red circle\" -o jump.motion.safetensors
  kinvert generate --motion jump.motion.safetensors --prompt \"a yellow star\" -o star.mp4

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
KINVERT_LOG sets what is logged (`debug`, `kinvert=trace`); KINVERT_MODELS is a folder of models.
Published models are kept in the cache of the Hugging Face hub, which HF_HOME moves; HF_TOKEN is sent to the hub for
models whose licence must be accepted; HF_HUB_OFFLINE=1 keeps the program off the network.";

/// Options of every command.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Base model in the diffusers layout: a folder, or a published name such as cerspense/zeroscope_v2_576w, which is
    /// fetched if it is not there; or a single file of a model that was fine-tuned from Stable Diffusion 1.5 [default: the
    /// built-in model]
    #[arg(long, global = true, value_name = "NAME|FOLDER|FILE")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub parts: ModelPartArgs,
    /// Device to compute on, or auto: a GPU if there is one, else the CPU; `kinvert devices` lists them
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto")]
    pub device: Device,
    /// Number format of the base model's weights, in which it computes: f32, f16, bf16, or auto, which is f32 on the
    /// CPU and bf16 or f16 on GPUs that have it
    #[arg(long, global = true, value_name = "FORMAT", default_value = "auto")]
    pub dtype: Dtype,
    /// Take less memory where that costs time: compute activations again while learning, halves of the guidance one
    /// after the other, the autoencoder frame by frame
    #[arg(long, global = true)]
    pub low_memory: bool,
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress and no notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log more on stderr; -vv even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What takes the place of a part of the model, or joins it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Parts of the model")]
pub struct ModelPartArgs {
    /// Denoising network in place of the model's: a folder, or a published name
    #[arg(long, global = true, value_name = "FOLDER|NAME")]
    pub unet: Option<PathBuf>,
    /// Motion modules of AnimateDiff for a model of single images: a folder, a published name, or AnimateDiff's own
    /// file (.ckpt, .safetensors)
    #[arg(long, global = true, value_name = "FOLDER|NAME|FILE")]
    pub motion_adapter: Option<PathBuf>,
    /// Tokenizer in place of the model's; a single file has none [default for it: that of Stable Diffusion 1.5, if it is
    /// on this machine]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub tokenizer: Option<PathBuf>,
}

/// A number format, or none for the best that the device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtype(pub Option<Precision>);

impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(None)),
            _ => match text.parse() {
                Ok(precision) => Ok(Self(Some(precision))),
                Err(_) => Err("expected auto, f32, f16 or bf16".into()),
            },
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Transfer(Box<TransferArgs>),
    Invert(InvertArgs),
    Generate(GenerateArgs),
    Devices(DevicesArgs),
    Evaluate(evaluate::EvaluateArgs),
    Export(ExportArgs),
    Import(ImportArgs),
    Inspect(InspectArgs),
    Models(models::ModelsArgs),
    Plan(PlanArgs),
    Planner(planner::PlannerArgs),
    Sprites(SpritesArgs),
    Study(study::StudyArgs),
    Tracks(tracks::TracksArgs),
    Votes(votes::VotesArgs),
}

/// Make new clips that move as a clip does: learn its motion, then generate.
///
/// Writes into the output folder: motion.motion.safetensors, reference.mp4, result.mp4 and result.gif (of
/// several clips result-1.mp4 and so on, every seed of the first prompt first), side_by_side.mp4 and .gif,
/// contact_sheet.png and run.json. `work/` in it keeps the state of learning: the same command again goes on
/// where it was stopped, and with other prompts it uses the motion that is learned already.
#[derive(Debug, Args)]
#[command(after_help = TRANSFER_EXAMPLES)]
pub struct TransferArgs {
    #[command(flatten)]
    pub reference: ReferenceArgs,
    /// What the new clips show; may be given several times
    #[arg(long, value_name = "TEXT", required = true, allow_hyphen_values = true)]
    pub prompt: Vec<String>,
    /// Seeds of the new clips: `5`, `0,3,7` or `0..4` (which ends before 4) [default: 0]
    #[arg(long, value_name = "SEEDS")]
    pub seeds: Option<Seeds>,
    /// Folder for the files [default: kinvert-out/<name of the clip>]
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub inversion: InversionArgs,
    /// Denoising steps of each new clip [default: the model's; built in 15, published 30]
    #[arg(long, value_name = "N", help_heading = "Generating")]
    pub sampling_steps: Option<usize>,
    #[command(flatten)]
    pub generation: GenerationArgs,
}

const TRANSFER_EXAMPLES: &str = "\
Examples:
  kinvert transfer examples/bounce.mp4 --caption \"a red circle on a gray background\" \\
      --prompt \"a yellow star on a striped background\"
  kinvert transfer pan.mp4 --prompt \"a castle by the sea\" --kind camera --seeds 0..4 --out castle
  kinvert transfer clip.mp4 --prompt \"a robot\" --model cerspense/zeroscope_v2_576w --steps 350

With --json, stdout carries the contents of run.json: format_version, kinvert_version, platform, device,
dtype, model {name, sha256}, lora {name, sha256} (with --lora), input {path, sha256, container, …, used_times_s, used_size, used_fps, used_sha256}, caption,
inversion {…}, losses, prompts, seeds, generation {…}, results [{prompt, seed, files, frames, size, fps, sha256,
wall_s}], files {…}, notes, timings {stages [{stage, wall_s}], total_s}.";

/// Learn the motion of a clip and keep it as a file.
///
/// The state of learning is kept beside the file, in a folder `x.motion.work` for `x.motion.safetensors`: the
/// same command again goes on where it was stopped. The folder is removed when the motion is written.
#[derive(Debug, Args)]
#[command(after_help = INVERT_EXAMPLES)]
pub struct InvertArgs {
    #[command(flatten)]
    pub reference: ReferenceArgs,
    /// File for the motion, by custom `*.motion.safetensors`
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub inversion: InversionArgs,
}

const INVERT_EXAMPLES: &str = "\
Examples:
  kinvert invert clip.mp4 --caption \"a red circle\" -o jump.motion.safetensors
  kinvert invert clip.mp4 --caption \"a car\" --start 24 --stride 2 --fps 8 --steps 350 -o car.motion.safetensors
  kinvert invert frames/ --sites down:1280,up:1280 --timesteps 0-999 -o x.motion.safetensors

With --json, stdout carries {path, metadata {format_version, kinvert_version, model, frames, size, fps, caption,
reference_sha256, settings, losses, lora_losses (of debiased-hybrid), grids}, input {…}, device, dtype}.";

/// Generate clips for prompts, moving as a motion file says.
///
/// Without --motion the plain model is used and things move freely. A folder gets result.mp4 and result.gif (of
/// several clips result-1.mp4 and so on, every seed of the first prompt first) and run.json.
#[derive(Debug, Args)]
#[command(after_help = GENERATE_EXAMPLES)]
pub struct GenerateArgs {
    /// Motion file to replay
    #[arg(long, value_name = "FILE")]
    pub motion: Option<PathBuf>,
    /// What the clips show; may be given several times
    #[arg(long, value_name = "TEXT", required = true, allow_hyphen_values = true)]
    pub prompt: Vec<String>,
    /// Seeds of the clips: `5`, `0,3,7` or `0..4` (which ends before 4) [default: 0]
    #[arg(long, value_name = "SEEDS")]
    pub seeds: Option<Seeds>,
    /// File (.mp4 or .gif, for a single clip) or folder
    #[arg(short, long, value_name = "PATH")]
    pub output: PathBuf,
    /// Use a motion that was learned on another model, if its shapes fit
    #[arg(long)]
    pub force: bool,
    /// How embeddings enter the attentions: add-before, add-after, multiply-before or multiply-after [default: as
    /// they were learned, which for concat is the only way]
    #[arg(long, value_name = "WAY", value_parser = named::<Integration>, help_heading = "Generating")]
    pub integration: Option<Integration>,
    /// Denoising steps [default: the model's; built in 15, published 30]
    #[arg(long, value_name = "N", help_heading = "Generating")]
    pub steps: Option<usize>,
    /// Frames of each clip [default: the motion's]
    #[arg(long, value_name = "N", help_heading = "Generating")]
    pub frames: Option<usize>,
    /// Width and height in pixels [default: the motion's]
    #[arg(long, value_name = "WxH", help_heading = "Generating")]
    pub size: Option<FrameSize>,
    #[command(flatten)]
    pub generation: GenerationArgs,
}

const GENERATE_EXAMPLES: &str = "\
Examples:
  kinvert generate --motion jump.motion.safetensors --prompt \"a yellow star\" -o star.mp4
  kinvert generate --motion pan.motion.safetensors --kind camera --prompt \"a castle\" --seeds 0..4 -o castles/
  kinvert generate --prompt \"a blue ring on a navy background\" -o ring.gif

With --json, stdout carries {format_version, kinvert_version, platform, device, dtype, model, lora {name, sha256} (with
--lora), motion (metadata of the motion or null), prompts, seeds, generation {…}, results [{prompt, seed, files, frames, size, fps, sha256,
wall_s}], notes, timings}.";

/// Turn a motion_embed.pt of the method's published code into a motion file.
///
/// Such a file names neither its model nor its size: pass the model it was learned on with --model. No code in
/// the file is run.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// The published file
    #[arg(value_name = "FILE")]
    pub input: PathBuf,
    /// File for the motion, by custom `*.motion.safetensors`
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Width and height in pixels that it was learned at [default: the model's; published 576x320]
    #[arg(long, value_name = "WxH")]
    pub size: Option<FrameSize>,
    /// Frames that it was learned from [default: rows that are not zero]
    #[arg(long, value_name = "N")]
    pub frames: Option<usize>,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  kinvert import motion_embed.pt --model ./zeroscope --size 576x320 -o car.motion.safetensors

With --json, stdout carries {path, metadata {…}} as `kinvert invert` prints it.";

/// Write what a motion file holds for other programs: the LoRA that --keep-lora kept.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// Motion file
    #[arg(value_name = "MOTION")]
    pub motion: PathBuf,
    /// File for the LoRA, in the layout of the diffusers library
    #[arg(long, value_name = "FILE")]
    pub lora: PathBuf,
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  kinvert invert clip.mp4 --objective debiased-hybrid --keep-lora -o jump.motion.safetensors
  kinvert export jump.motion.safetensors --lora looks.safetensors
  kinvert generate --lora looks.safetensors --lora-strength 0.5 --prompt \"a yellow star\" -o star.mp4

With --json, stdout carries {path, sha256, layers [{path, rank, alpha, in_channels, out_channels}]}.";

/// Say what a motion file, a clip or a model is.
///
/// A model is loaded whole, so that what is reported is known to work, with the parts that --unet, --motion-adapter
/// and --tokenizer name.
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub struct InspectArgs {
    /// Motion file, clip, or folder or file of a model
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  kinvert inspect jump.motion.safetensors
  kinvert inspect clip.mp4 --json
  kinvert inspect ./stable-diffusion-v1-5 --motion-adapter ./animatediff-motion-adapter-v1-5-3

With --json, stdout carries {kind, path} and for kind `motion`: bytes, metadata, sites [{site, grid, query_key,
values}] (shapes), inverted_latents and preview (shapes or null), lora {sha256, layers} (null if none was kept); for `clip`: container, codec, width, height, frames,
fps, duration_s, rotation_degrees, variable_frame_rate; for `model`: what `kinvert models --json` lists.";

/// List what this build can compute on here.
///
/// A build has the CPU and the GPU backends that it was compiled with; listed is what this machine has of them.
#[derive(Debug, Args)]
#[command(after_help = DEVICES_EXAMPLES)]
pub struct DevicesArgs {}

const DEVICES_EXAMPLES: &str = "\
Examples:
  kinvert devices
  kinvert devices --json

With --json, stdout carries a list of {device (what --device takes), name, kind (cpu, gpu, or software: a CPU behind a
GPU's interface), memory {total_bytes, free_bytes} (null where it cannot be asked for), dtypes}.";

/// Say what learning a motion and generating a clip would take: memory and operations, and whether it fits.
///
/// Nothing is computed and no weight is read or fetched: a model's configurations are enough.
#[derive(Debug, Args)]
#[command(after_help = PLAN_EXAMPLES)]
pub struct PlanArgs {
    /// Frames of the clip [default: the model's; published 24]
    #[arg(long, value_name = "N")]
    pub frames: Option<usize>,
    /// Width and height in pixels [default: the model's; published 576x320]
    #[arg(long, value_name = "WxH")]
    pub size: Option<FrameSize>,
    #[command(flatten)]
    pub inversion: InversionArgs,
    /// Denoising steps [default: the model's; built in 15, published 30]
    #[arg(long, value_name = "N", help_heading = "Generating")]
    pub sampling_steps: Option<usize>,
    #[command(flatten)]
    pub generation: GenerationArgs,
}

const PLAN_EXAMPLES: &str = "\
Examples:
  kinvert plan
  kinvert plan --model cerspense/zeroscope_v2_576w --size 576x320 --frames 24 --dtype bf16
  kinvert plan --model ./zeroscope --device cuda --low-memory --json

With --json, stdout carries {model, frames, size, precision, parameters {unet, vae, text_encoder}, loading_bytes, learning
{steps, embeddings, bytes_if_kept, bytes_if_recomputed, step_flops_if_kept {linear, convolution, attention},
step_flops_if_recomputed {…}, preparation_flops {…}}, generating {steps, denoising_bytes, decoding_bytes, step_flops {…},
decoding_flops {…}}, device, free_bytes (null where the device does not tell), recompute, bytes, flops, fits (null
likewise), smaller [{frames, size}]}.";

/// The world that the built-in model knows.
#[derive(Debug, Args)]
pub struct SpritesArgs {
    #[command(subcommand)]
    pub command: SpritesCommand,
}

#[derive(Debug, Subcommand)]
pub enum SpritesCommand {
    Render(RenderArgs),
}

/// Render captioned clips whose motion is known exactly.
///
/// What is not named is drawn from the seed. The caption is printed; several clips, or a folder as output, come
/// with captions.jsonl, which also holds the true path of each sprite.
#[derive(Debug, Args)]
#[command(after_help = RENDER_EXAMPLES)]
pub struct RenderArgs {
    /// circle, ring, square, cross, triangle or star [default: drawn]
    #[arg(long)]
    pub shape: Option<Shape>,
    /// red, green, blue, yellow, purple, orange, white or cyan [default: drawn]
    #[arg(long)]
    pub colour: Option<Colour>,
    /// black, gray, navy, checkered or striped [default: drawn]
    #[arg(long)]
    pub background: Option<Background>,
    /// still, line, arc, wave, bounce or back [default: drawn]
    #[arg(long)]
    pub motion: Option<SpriteMotion>,
    /// Seed of the first clip; each further one adds 1
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Number of clips
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=MAX_SPRITE_CLIPS))]
    pub count: u64,
    /// File (.mp4 or .gif, for a single clip) or folder
    #[arg(short, long, value_name = "PATH")]
    pub output: PathBuf,
}

const RENDER_EXAMPLES: &str = "\
Examples:
  kinvert sprites render --shape circle --colour red --motion bounce -o bounce.mp4
  kinvert sprites render --count 100 --seed 7 -o clips/

With --json, stdout carries a list of what captions.jsonl holds, one line a clip: {file, caption, seed, fps, size,
centres_px [[x, y] of every frame], scene {look, path, radius_px, pan_px}}.";

/// The clip to learn from, and which part of it.
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    /// The reference: a video, an animation or a folder of images
    #[arg(value_name = "CLIP")]
    pub clip: PathBuf,
    /// What the reference shows, in the words of a prompt [default: empty]
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub caption: String,
    /// First frame used, after resampling to the rate
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        help_heading = "Reference"
    )]
    pub start: usize,
    /// Use every N-th frame
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "Reference"
    )]
    pub stride: usize,
    /// Rate to resample to by time: a number, or `source` for the clip's own [default: the model's]
    #[arg(long, value_name = "FPS", value_parser = frame_rate, help_heading = "Reference")]
    pub fps: Option<FrameRate>,
    /// Frames used at most [default: the model's; built in 16, published 24]
    #[arg(long, value_name = "N", help_heading = "Reference")]
    pub frames: Option<usize>,
    /// Width and height to learn at [default: the model's; built in 64x64]
    #[arg(long, value_name = "WxH", help_heading = "Reference")]
    pub size: Option<FrameSize>,
    /// How frames of another shape meet the size: crop, pad or stretch
    #[arg(long, value_parser = fit, default_value = "crop", help_heading = "Reference")]
    pub fit: Fit,
}

impl ReferenceArgs {
    pub fn options(&self) -> ClipOptions {
        ClipOptions {
            start: self.start,
            stride: self.stride,
            frames: self.frames,
            rate: self.fps.unwrap_or_default(),
            size: self.size.map(|size| size.0),
            fit: self.fit,
        }
    }
}

/// How to learn. What is absent is what the model recommends.
#[derive(Debug, Args)]
#[command(next_help_heading = "Learning")]
pub struct InversionArgs {
    /// Optimiser steps [default: the model's; built in 150, published 400]
    #[arg(id = "learning_steps", long = "steps", value_name = "N")]
    pub steps: Option<usize>,
    /// Learning rate [default: the model's; built in 0.1, published 0.02]
    #[arg(long, value_name = "RATE")]
    pub lr: Option<f64>,
    /// Weight decay [default: the model's; published 0.01]
    #[arg(long, value_name = "DECAY")]
    pub weight_decay: Option<f64>,
    /// Loss: base, debiased-temporal or debiased-hybrid, which learns a LoRA of the looks beside the motion [default:
    /// the model's; published debiased-temporal]
    #[arg(long, value_name = "LOSS", value_parser = named::<Objective>)]
    pub objective: Option<Objective>,
    /// Timesteps to draw from [default: the model's; built in 400-999, published 0-999]
    #[arg(long, value_name = "FIRST-LAST")]
    pub timesteps: Option<TimestepRange>,
    /// Sites to learn at: published, all, or a list of part:channels (`down:1280,up:*`) and names
    /// [default: the model's]
    #[arg(long)]
    pub sites: Option<SiteSelection>,
    /// Positions of the query-key embeddings: off, 1d, 2d, or a coarse grid such as grid-2x2 [default: the
    /// model's; published 1d]
    #[arg(long, value_name = "SHAPE")]
    pub query_key: Option<EmbeddingShape>,
    /// Positions of the value embeddings: off, 1d or 2d [default: the model's; published 2d]
    #[arg(long, value_name = "SHAPE")]
    pub values: Option<EmbeddingShape>,
    /// How embeddings enter: add-before, add-after, multiply-before, multiply-after or concat [default: the
    /// model's; published add-before]
    #[arg(long, value_name = "WAY", value_parser = named::<Integration>)]
    pub integration: Option<Integration>,
    /// Steps of the DDIM inversion that finds the clip's noise [default: the model's; published 50]
    #[arg(long, value_name = "N")]
    pub ddim_inversion_steps: Option<usize>,
    /// Rank of the LoRA of --objective debiased-hybrid [default: the model's; published 32]
    #[arg(long, value_name = "N")]
    pub lora_rank: Option<usize>,
    /// Learning rate of the LoRA [default: the model's; published 0.0005]
    #[arg(long, value_name = "RATE")]
    pub lora_lr: Option<f64>,
    /// Share of what the LoRA reads that is left out while it learns [default: the model's; published 0.1]
    #[arg(long, value_name = "SHARE")]
    pub lora_dropout: Option<f64>,
    /// Probability that a step has the LoRA on [default: the model's; published 0.8]
    #[arg(long, value_name = "P")]
    pub lora_probability: Option<f64>,
    /// Keep the LoRA in the motion file, instead of throwing it away
    #[arg(long)]
    pub keep_lora: bool,
    /// Seed of learning [default: the model's; published 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

impl InversionArgs {
    /// `base` with what the user gave in its place.
    pub fn over(self, base: &InversionSettings) -> InversionSettings {
        let base = base.clone();
        InversionSettings {
            steps: self.steps.unwrap_or(base.steps),
            learning_rate: self.lr.unwrap_or(base.learning_rate),
            weight_decay: self.weight_decay.unwrap_or(base.weight_decay),
            objective: self.objective.unwrap_or(base.objective),
            timesteps: self.timesteps.unwrap_or(base.timesteps),
            sites: self.sites.unwrap_or(base.sites),
            query_key: self.query_key.unwrap_or(base.query_key),
            values: self.values.unwrap_or(base.values),
            integration: self.integration.unwrap_or(base.integration),
            ddim_inversion_steps: self
                .ddim_inversion_steps
                .unwrap_or(base.ddim_inversion_steps),
            lora_rank: self.lora_rank.unwrap_or(base.lora_rank),
            lora_learning_rate: self.lora_lr.unwrap_or(base.lora_learning_rate),
            lora_dropout: self.lora_dropout.unwrap_or(base.lora_dropout),
            lora_probability: self.lora_probability.unwrap_or(base.lora_probability),
            keep_lora: self.keep_lora || base.keep_lora,
            seed: self.seed.unwrap_or(base.seed),
        }
    }
}

/// How to generate. What is absent is what the model recommends.
#[derive(Debug, Args)]
#[command(next_help_heading = "Generating")]
pub struct GenerationArgs {
    /// Whose motion is replayed: object, camera or hybrid [default: the model's; published object]
    #[arg(long, value_parser = named::<MotionKind>)]
    pub kind: Option<MotionKind>,
    /// Which of the learned embeddings take part: both, query-key, values or neither [default: the model's;
    /// published both]
    #[arg(long, value_name = "WHICH", value_parser = named::<Contribution>)]
    pub contribution: Option<Contribution>,
    /// What is done to value embeddings first: difference, normalize or none [default: the model's; published
    /// difference]
    #[arg(long, value_name = "WAY", value_parser = named::<Debias>)]
    pub debias: Option<Debias>,
    /// Frames between the two that --debias difference subtracts [default: the model's; published 1]
    #[arg(long, value_name = "K")]
    pub difference_frames: Option<usize>,
    /// Factor on the motion; 0 leaves the plain model [default: the model's; published 1]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub strength: Option<f64>,
    /// LoRA of the spatial transformers, a safetensors file as the diffusers library writes it
    #[arg(long, value_name = "FILE")]
    pub lora: Option<PathBuf>,
    /// Factor on the LoRA [default: 1 for that of --lora, 0 for one that the motion holds]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub lora_strength: Option<f64>,
    /// Factor on the differences of --debias difference [default: the model's; built in 4, published 1]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub difference_gain: Option<f64>,
    /// Scale of classifier-free guidance [default: the model's; built in 5, published 12]
    #[arg(long, value_name = "SCALE")]
    pub guidance: Option<f64>,
    /// Prompt that guidance leads away from [default: the model's; published empty]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub negative: Option<String>,
    /// ddim, dpmpp-2m or dpmpp-2m-karras [default: the model's; published ddim]
    #[arg(long)]
    pub sampler: Option<SamplerKind>,
    /// Noise to start from: blend, none, freq, blend-freq or fft [default: the model's; published blend]
    #[arg(long)]
    pub noise: Option<InitialNoise>,
    /// Share of the reference's noise in a blend, 0 to 1 [default: the model's; built in 0.3, published 0.5]
    #[arg(long, value_name = "SHARE")]
    pub noise_prior: Option<f64>,
}

impl GenerationArgs {
    /// `base` with what the user gave in its place.
    pub fn over(self, base: &GenerationSettings) -> GenerationSettings {
        let base = base.clone();
        GenerationSettings {
            kind: self.kind.unwrap_or(base.kind),
            contribution: self.contribution.unwrap_or(base.contribution),
            debias: self.debias.unwrap_or(base.debias),
            difference_frames: self.difference_frames.unwrap_or(base.difference_frames),
            strength: self.strength.unwrap_or(base.strength),
            lora_strength: self.lora_strength.or(base.lora_strength),
            difference_gain: self.difference_gain.unwrap_or(base.difference_gain),
            guidance: self.guidance.unwrap_or(base.guidance),
            negative_prompt: self.negative.unwrap_or(base.negative_prompt),
            sampler: self.sampler.unwrap_or(base.sampler),
            noise: self.noise.unwrap_or(base.noise),
            noise_prior: self.noise_prior.unwrap_or(base.noise_prior),
            ..base
        }
    }
}

fn frame_rate(text: &str) -> Result<FrameRate, String> {
    if text == "source" {
        return Ok(FrameRate::Source);
    }
    match text.parse() {
        Ok(fps) => Ok(FrameRate::Fixed(fps)),
        Err(_) => Err("expected a number of frames per second or `source`".into()),
    }
}

fn fit(text: &str) -> Result<Fit, String> {
    match text {
        "crop" => Ok(Fit::Crop),
        "pad" => Ok(Fit::Pad),
        "stretch" => Ok(Fit::Stretch),
        _ => Err("expected crop, pad or stretch".into()),
    }
}

/// Width and height, written `576x320`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSize(pub [usize; 2]);

impl FromStr for FrameSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text.split_once(['x', 'X']).and_then(|(width, height)| {
            let side = |text: &str| text.parse::<usize>().ok().filter(|side| *side > 0);
            Some([side(width)?, side(height)?])
        });
        sides
            .map(Self)
            .ok_or_else(|| "expected a width and a height in pixels, such as 576x320".into())
    }
}

/// Seeds, written `5`, `0,3,7`, `0..4` (without the end) or a list of such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

impl Default for Seeds {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "expected seeds such as 5, 0,3,7 or 0..4".to_string();
        let mut seeds = Vec::new();
        for item in text.split(',') {
            let number = |text: &str| text.trim().parse::<u64>().map_err(|_| refuse());
            let range = match item.split_once("..") {
                Some((first, end)) => number(first)?..number(end)?,
                None => {
                    let seed = number(item)?;
                    seed..seed.checked_add(1).ok_or_else(refuse)?
                }
            };
            if range.is_empty() {
                return Err(format!(
                    "`{item}` is empty: a range ends before its second number"
                ));
            }
            if range.end - range.start > MAX_SEEDS - seeds.len() as u64 {
                return Err(format!("expected at most {MAX_SEEDS} seeds"));
            }
            seeds.extend(range);
        }
        Ok(Self(seeds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn seeds_are_read() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(seeds("5").unwrap(), [5]);
        assert_eq!(seeds("0,3, 7").unwrap(), [0, 3, 7]);
        assert_eq!(seeds("0..4").unwrap(), [0, 1, 2, 3]);
        assert_eq!(seeds("9,0..2").unwrap(), [9, 0, 1]);
        for text in [
            "",
            ",",
            "x",
            "-1",
            "4..0",
            "3..3",
            "0..18446744073709551615",
            "1.5",
            "18446744073709551615",
        ] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!("576x320".parse::<FrameSize>().unwrap().0, [576, 320]);
        for text in ["", "64", "64x", "x64", "0x64", "64x64x64", "-8x8", "6.4x8"] {
            assert!(text.parse::<FrameSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_those_of_files() {
        assert_eq!(
            named::<Integration>("multiply-after").unwrap(),
            Integration::MultiplyAfter
        );
        assert_eq!(
            named::<Contribution>("query-key").unwrap(),
            Contribution::QueryKey
        );
        let error = named::<MotionKind>("camra").unwrap_err().to_string();
        assert!(error.contains("`camera`"), "{error}");
    }

    #[test]
    fn every_axis_has_a_flag() {
        let line = "kinvert transfer a.mp4 --prompt b --query-key grid-2x3 --values off --contribution values \
                    --difference-frames 5 --integration concat";
        let Command::Transfer(args) = Cli::try_parse_from(line.split_whitespace())
            .unwrap()
            .command
        else {
            panic!("transfer")
        };
        let inversion = args.inversion.over(&InversionSettings::default());
        assert_eq!(
            (inversion.query_key, inversion.values),
            (EmbeddingShape::Grid([2, 3]), EmbeddingShape::Off)
        );
        assert_eq!(inversion.integration, Integration::Concat);
        let generation = args.generation.over(&GenerationSettings::default());
        assert_eq!(
            (generation.contribution, generation.difference_frames),
            (Contribution::Values, 5)
        );
        for words in [
            "--query-key 3d",
            "--values none",
            "--contribution all",
            "--difference-frames x",
        ] {
            let line = format!("kinvert transfer a.mp4 --prompt b {words}");
            assert!(
                Cli::try_parse_from(line.split_whitespace()).is_err(),
                "{words}"
            );
        }
    }

    /// The library checks this in builds without optimisation only, which are never made.
    #[test]
    fn no_command_has_two_arguments_of_one_name() {
        fn check(command: &clap::Command) {
            let mut seen = std::collections::HashSet::new();
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str().to_owned();
                let long = argument.get_long().map(|long| format!("--{long}"));
                for name in long.into_iter().chain([name]) {
                    let path = command.get_name();
                    assert!(seen.insert(name.clone()), "{path} has two of {name}");
                }
            }
            command.get_subcommands().for_each(check);
        }

        let mut command = <Cli as clap::CommandFactory>::command();
        command.build();
        check(&command);
    }

    #[test]
    fn what_is_absent_comes_from_the_model() {
        let base = InversionSettings {
            steps: 7,
            learning_rate: 0.5,
            ..InversionSettings::default()
        };
        let line = ["kinvert", "invert", "a.mp4", "-o", "b", "--lr", "0.25"];
        let Command::Invert(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("invert")
        };
        let settings = args.inversion.over(&base);
        assert_eq!(
            settings,
            InversionSettings {
                learning_rate: 0.25,
                ..base
            }
        );
    }
}
