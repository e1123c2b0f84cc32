//! How good a model of the sprite world is, in one table.
//!
//! A [`Section`] measures one part of a model on [scenes that it never saw](crate::held_out_scene): what the autoencoder
//! keeps ([`vae`]), how well CLIP reads frames ([`clip`]), what is generated of prompts ([`generation`]), and how well
//! motion is transferred ([`transfer`]). The scenes are the same whatever the seed, which decides which frames are looked
//! at, the order of prompts, and noise.

pub mod clip;
mod estimate;
pub mod generation;
mod smoothness;
mod table;
pub mod transfer;
pub mod vae;

use std::time::Instant;

use clap::ValueEnum;
use kinvert::{
    Device, GenerationSettings, InversionSettings, LoadOptions, ModelFiles, ModelSource, Pipeline,
};
use kinvert_base::Progress;
use kinvert_nets::OnDevice;
use kinvert_nets::clip::CLIPTokenizer;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_world::{FRAMES, Look, SIZE};
use serde::Serialize;

pub use estimate::{AttributeShares, Mean, Share, Verdict};
pub use smoothness::Smoothness;

use crate::judge::check_captions;
use crate::{Error, Judge};

/// Most clips, prompts or frames that one evaluation takes.
pub const MAX_COUNT: usize = 100_000;

/// A part of the evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// What the autoencoder keeps.
    Vae,
    /// How well CLIP reads frames.
    Clip,
    /// What is generated of prompts.
    Generation,
    /// How well motion is transferred.
    Transfer,
}

/// What is measured, on how much, and how the model is used for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// The sections that are measured.
    pub sections: Vec<Section>,
    /// Clips that go through the autoencoder.
    pub clips: usize,
    /// Frames that CLIP reads.
    pub frames: usize,
    /// Prompts that clips are generated of.
    pub prompts: usize,
    /// References whose motion is transferred.
    pub transfer_clips: usize,
    /// Seed of which frames are read, the order of prompts, and noise.
    pub seed: u64,
    /// How motions are learned.
    pub inversion: InversionSettings,
    /// How clips are generated.
    pub generation: GenerationSettings,
}

impl Settings {
    /// Everything, on enough for a table that one can rely on, with what the model recommends: 64 clips, 480 frames (every
    /// look twice), 200 prompts, 20 references.
    ///
    /// # Errors
    /// If a configuration of the model is missing or damaged.
    pub fn of(model: &ModelFiles) -> Result<Self, Error> {
        let recommended = ModelSource::from(model.clone()).recommendations()?;
        Ok(Self {
            sections: Section::value_variants().to_vec(),
            clips: 64,
            frames: 2 * Look::all().count(),
            prompts: 200,
            transfer_clips: 20,
            seed: 0,
            inversion: recommended.inversion,
            generation: recommended.generation,
        })
    }

    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// [`Error::Setting`], or what the method says of its settings.
    pub fn check(&self) -> Result<(), Error> {
        if self.sections.is_empty() {
            return Err(Error::setting("sections", "empty", "at least one"));
        }
        for (name, count) in [
            ("clips", self.clips),
            ("frames", self.frames),
            ("prompts", self.prompts),
            ("transfer clips", self.transfer_clips),
        ] {
            if !(1..=MAX_COUNT).contains(&count) {
                let expected = format!("between 1 and {MAX_COUNT}");
                return Err(Error::setting(name, count, expected));
            }
        }
        self.inversion.check()?;
        self.generation.check()?;
        Ok(())
    }
}

/// What was measured; [`to_markdown`](Self::to_markdown) makes a table of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The model's name.
    pub model: String,
    /// SHA-256 over the configuration and weights of the parts that make clips, hexadecimal.
    pub sha256: String,
    /// The device that computed.
    pub device: String,
    /// On how much, and how.
    pub settings: Settings,
    /// What the autoencoder keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<Timed<vae::Vae>>,
    /// How well CLIP reads frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Timed<clip::Clip>>,
    /// What is generated of prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Timed<generation::Generation>>,
    /// How well motion is transferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Timed<transfer::Transfer>>,
}

/// A result, and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timed<T> {
    /// The result.
    #[serde(flatten)]
    pub results: T,
    /// Seconds of wall time.
    pub wall_s: f64,
}

/// Measures a model of the sprite world.
///
/// # Errors
/// If a setting cannot work, the model cannot be loaded, makes other clips than those of the sprite world or has no CLIP, a
/// network gives something that is no number, or the user asked to stop ([`Error::is_cancelled`]).
pub fn evaluate(
    model: &ModelFiles,
    settings: &Settings,
    device: Device,
    progress: &mut dyn Progress,
) -> Result<Evaluation, Error> {
    settings.check()?;
    let source = ModelSource::from(model.clone());
    check_clips(&source)?;
    let tokenizer = source.tokenizer()?;
    check_captions(&CLIPTokenizer::load(&tokenizer)?, &tokenizer)?;
    device.run(Work {
        source: &source,
        settings,
        device,
        progress,
    })
}

/// Refuses a model whose clips are not 16 frames of 64×64 pixels, before its weights are read.
fn check_clips(source: &ModelSource) -> Result<(), Error> {
    let usual = source.usual_clip()?;
    let expected = [SIZE as usize; 2];
    if (usual.frames, usual.size) == (FRAMES, expected) {
        return Ok(());
    }
    let told =
        |frames: usize, [width, height]: [usize; 2]| format!("{frames} frames of {width}x{height}");
    Err(Error::OtherClips {
        model: source.name(),
        found: told(usual.frames, usual.size),
        expected: told(FRAMES, expected),
    })
}

/// A loaded model, and the judge of its clips.
struct Subject<B: TrackingBackend> {
    pipeline: Pipeline<B>,
    judge: Judge<B::InnerBackend>,
}

struct Work<'a> {
    source: &'a ModelSource,
    settings: &'a Settings,
    device: Device,
    progress: &'a mut dyn Progress,
}

impl OnDevice for Work<'_> {
    type Output = Result<Evaluation, Error>;

    fn run<B: TrackingBackend>(self, device: &B::Device) -> Self::Output {
        let Self {
            source,
            settings,
            progress,
            ..
        } = self;
        let options = LoadOptions {
            free_bytes: self.device.memory().map(|memory| memory.free_bytes),
            ..LoadOptions::default()
        };
        let subject = Subject::<B> {
            judge: Judge::load(&source.pipeline, device)?,
            pipeline: Pipeline::load(source, &options, device)?,
        };
        let id = subject.pipeline.id().clone();
        let is_wanted = |section| settings.sections.contains(&section);
        let mut evaluation = Evaluation {
            model: id.name,
            sha256: id.sha256,
            device: self.device.to_string(),
            settings: settings.clone(),
            vae: None,
            clip: None,
            generation: None,
            transfer: None,
        };
        if is_wanted(Section::Vae) {
            evaluation.vae = Some(timed(|| vae::measure(&subject, settings, progress))?);
        }
        if is_wanted(Section::Clip) {
            evaluation.clip = Some(timed(|| clip::measure(&subject, settings, progress))?);
        }
        if is_wanted(Section::Generation) {
            let measured = timed(|| generation::measure(&subject, settings, progress));
            evaluation.generation = Some(measured?);
        }
        if is_wanted(Section::Transfer) {
            let measured = timed(|| transfer::measure(&subject, settings, progress));
            evaluation.transfer = Some(measured?);
        }
        Ok(evaluation)
    }
}

fn timed<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<Timed<T>, Error> {
    let started = Instant::now();
    let results = work()?;
    let wall_s = started.elapsed().as_secs_f64();
    Ok(Timed { results, wall_s })
}

fn stop_if_asked(progress: &dyn Progress) -> Result<(), Error> {
    match progress.is_cancelled() {
        true => Err(Error::Cancelled),
        false => Ok(()),
    }
}
