//! What may stand on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use kinvert::{Device, Objective, Precision, SiteSelection, TimestepRange};
use kinvert_sprites::evaluate::{Section, Settings};
use kinvert_sprites::train::{Alias, Recipe, Stage};
use kinvert_terminal::named;
use kinvert_world::FRAMES;

/// Make the small built-in model, and measure it.
#[derive(Debug, Parser)]
#[command(name = "kinvert-sprites", version, arg_required_else_help = true)]
pub struct Cli {
    /// Show no progress and no notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Train(TrainArguments),
    Evaluate(Box<EvaluateArguments>),
}

/// Train a part of a model on the sprite world.
///
/// The folder becomes a whole model in the published layout; stages after the first go on with what is there. Losses, pictures
/// of samples and a checkpoint are kept in training/STAGE; the same command goes on from the checkpoint.
#[derive(Debug, Args)]
#[command(after_help = TRAIN_EXAMPLES)]
pub struct TrainArguments {
    /// Part to train: clip, vae, unet-image or unet-video
    #[arg(long)]
    pub stage: Stage,
    /// Folder that becomes the model, or is one
    #[arg(short, long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Folder of the model to start from [default: what is in --out, else the built-in model]
    #[arg(long, value_name = "FOLDER")]
    pub from: Option<PathBuf>,
    /// Start from random weights, for a network as the model's configuration says
    #[arg(long)]
    pub scratch: bool,
    /// Leave aside what an earlier run of this stage has left
    #[arg(long)]
    pub restart: bool,
    /// Device to compute on, or auto: a GPU if there is one, else the CPU
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Device,
    /// Number format to compute in: f32, bf16, or auto, which is f32 on the CPU and bf16 on GPUs that have it
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = precision)]
    pub dtype: Wanted,
    /// Print what came of it as JSON on stdout
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub recipe: RecipeArguments,
}

const TRAIN_EXAMPLES: &str = "\
Examples:
  kinvert-sprites train --stage vae --scratch --out ./sprites --device cuda
  kinvert-sprites train --stage clip --scratch --decoded 0.25 --out ./sprites --device cuda
  kinvert-sprites train --stage unet-video --out ./sprites --steps 2000
  kinvert-sprites train --stage vae --out ./sprites --keep encoder. --keep quant_conv.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

/// What is different from the recipe.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArguments {
    /// Steps of the optimiser
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Frames in a step; clips for unet-video
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Largest learning rate
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Decay of the running average of the weights
    #[arg(long, value_name = "SHARE")]
    pub average_decay: Option<f64>,
    /// Parameters that stay: those whose names, or what follows a dot in them, begin so; may be given several times
    #[arg(long, value_name = "START")]
    pub keep: Vec<String>,
    /// A word that gets the token embedding of another before CLIP is trained; may be given several times
    #[arg(long, value_name = "WORD=OTHER")]
    pub alias: Vec<Alias>,
    /// Share of the pictures that CLIP sees as the autoencoder gives them back
    #[arg(long, value_name = "SHARE")]
    pub decoded: Option<f64>,
    /// Seed of all draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

impl TrainArguments {
    /// The recipe of the stage with what the user gave in its place.
    pub fn to_recipe(&self) -> Recipe {
        let Self { recipe: given, .. } = self;
        let mut recipe = match given.steps {
            Some(steps) => Recipe::of(self.stage, self.scratch).with_steps(steps),
            None => Recipe::of(self.stage, self.scratch),
        };
        set(&mut recipe.batch, given.batch);
        set(&mut recipe.learning_rate, given.learning_rate);
        set(&mut recipe.average_decay, given.average_decay);
        set(&mut recipe.decoded, given.decoded);
        recipe.keep.extend(given.keep.iter().cloned());
        recipe.aliases.clone_from(&given.alias);
        recipe.seed = given.seed;
        recipe
    }
}

/// A number format, or none for the one that suits the device.
pub type Wanted = Option<Precision>;

fn precision(text: &str) -> Result<Wanted, String> {
    match text {
        "auto" => Ok(None),
        // Gradients of 16-bit floats of a small range would need scaling.
        "f16" => Err("expected f32, bf16 or auto".into()),
        _ => text.parse().map(Some),
    }
}

/// Say how good a model of the sprite world is, in one table.
///
/// Everything is measured on scenes that the recipe never trains on. What is absent of how to learn and to generate is what
/// the model recommends.
#[derive(Debug, Args)]
#[command(after_help = EVALUATE_EXAMPLES)]
pub struct EvaluateArguments {
    /// Folder of the model, with the CLIP that judges in clip/ [default: the built-in model]
    #[arg(long, value_name = "FOLDER")]
    pub model: Option<PathBuf>,
    /// Device to compute on, or auto: a GPU if there is one, else the CPU
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Device,
    /// Print the record as JSON on stdout, instead of the table
    #[arg(long)]
    pub json: bool,
    /// File for the record as JSON
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub extent: ExtentArguments,
    #[command(flatten)]
    pub learning: LearningArguments,
    #[command(flatten)]
    pub generating: GeneratingArguments,
}

const EVALUATE_EXAMPLES: &str = "\
Examples:
  kinvert-sprites evaluate --model ./trained --out trained.json
  kinvert-sprites evaluate --only vae,clip
  kinvert-sprites evaluate --only transfer --transfer-clips 20 --objective debiased-hybrid

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

/// What is measured, and on how much.
#[derive(Debug, Args)]
#[command(next_help_heading = "Extent")]
pub struct ExtentArguments {
    /// Sections to measure [default: all]
    #[arg(long, value_name = "SECTIONS", value_delimiter = ',')]
    pub only: Vec<Section>,
    /// Frames for clip, and for vae, which takes whole clips of 16 [default: 480 frames for clip, 64 clips for vae]
    #[arg(long, value_name = "N")]
    pub frames: Option<usize>,
    /// Prompts for generation [default: 200]
    #[arg(long, value_name = "N")]
    pub prompts: Option<usize>,
    /// References for transfer [default: 20]
    #[arg(long, value_name = "N")]
    pub transfer_clips: Option<usize>,
    /// Seed of which frames are read, the order of prompts, and noise
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// How motions are learned for transfer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Learning (transfer)")]
pub struct LearningArguments {
    /// Optimiser steps
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Learning rate
    #[arg(long, value_name = "RATE")]
    pub lr: Option<f64>,
    /// Timesteps to draw from
    #[arg(long, value_name = "FIRST-LAST")]
    pub timesteps: Option<TimestepRange>,
    /// Sites to learn at: published, all, or a list of part:channels and names
    #[arg(long)]
    pub sites: Option<SiteSelection>,
    /// Loss: base, debiased-temporal or debiased-hybrid
    #[arg(long, value_name = "LOSS", value_parser = named::<Objective>)]
    pub objective: Option<Objective>,
    /// Steps of the DDIM inversion that finds the reference's noise
    #[arg(long, value_name = "N")]
    pub ddim_inversion_steps: Option<usize>,
}

/// How clips are generated, for generation and transfer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Generating")]
pub struct GeneratingArguments {
    /// Denoising steps
    #[arg(long, value_name = "N")]
    pub generation_steps: Option<usize>,
    /// Scale of classifier-free guidance
    #[arg(long, value_name = "SCALE")]
    pub guidance: Option<f64>,
    /// Factor on the motion
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub strength: Option<f64>,
    /// Factor on the differences of value embeddings
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub difference_gain: Option<f64>,
    /// Share of the reference's noise in a blend, 0 to 1
    #[arg(long, value_name = "SHARE")]
    pub noise_prior: Option<f64>,
}

impl EvaluateArguments {
    /// `settings` with what the user gave in their place.
    pub fn over(&self, mut settings: Settings) -> Settings {
        let Self {
            extent,
            learning,
            generating,
            ..
        } = self;
        if !extent.only.is_empty() {
            settings.sections.clone_from(&extent.only);
        }
        if let Some(frames) = extent.frames {
            settings.frames = frames;
            settings.clips = frames.div_ceil(FRAMES);
        }
        settings.seed = extent.seed;
        set(&mut settings.prompts, extent.prompts);
        set(&mut settings.transfer_clips, extent.transfer_clips);

        let inversion = &mut settings.inversion;
        set(&mut inversion.steps, learning.steps);
        set(&mut inversion.learning_rate, learning.lr);
        set(&mut inversion.timesteps, learning.timesteps);
        set(&mut inversion.sites, learning.sites.clone());
        set(&mut inversion.objective, learning.objective);
        set(
            &mut inversion.ddim_inversion_steps,
            learning.ddim_inversion_steps,
        );

        let generation = &mut settings.generation;
        set(&mut generation.steps, generating.generation_steps);
        set(&mut generation.guidance, generating.guidance);
        set(&mut generation.strength, generating.strength);
        set(&mut generation.difference_gain, generating.difference_gain);
        set(&mut generation.noise_prior, generating.noise_prior);
        settings
    }
}

fn set<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}
