//! The settings of the method, with the published values as defaults, and what a model folder may say to
//! the contrary.

use kinvert_diffusion::{Guidance, InitialNoise, SamplerKind};
use kinvert_nets::ModelFiles;
use serde::{Deserialize, Serialize};

use crate::embedding::Debias;
use crate::error::Error;
use crate::lora::MAX_RANK;
use crate::modulation::Integration;
use crate::objective::{Objective, TimestepRange};
use crate::shape::EmbeddingShape;
use crate::sites::SiteSelection;

/// Everything that decides what is learned from a clip. The defaults are the published ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InversionSettings {
    /// Optimiser steps.
    pub steps: usize,
    /// Learning rate of AdamW, constant.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// The loss.
    pub objective: Objective,
    /// The timesteps that are drawn.
    pub timesteps: TimestepRange,
    /// The sites that get embeddings.
    pub sites: SiteSelection,
    /// Positions of the query-key embeddings. Published: `1d`.
    pub query_key: EmbeddingShape,
    /// Positions of the value embeddings: off, one or all. Published: `2d`.
    pub values: EmbeddingShape,
    /// How embeddings enter the attentions.
    pub integration: Integration,
    /// Steps of the DDIM inversion that finds the noise from which the clip would come.
    pub ddim_inversion_steps: usize,
    /// Rank of the LoRA of [`Objective::DebiasedHybrid`], as all settings that follow with `lora` in their name.
    pub lora_rank: usize,
    /// Learning rate of the LoRA's own AdamW, constant; its weight decay is that of the embeddings.
    pub lora_learning_rate: f64,
    /// Share of what the LoRA reads that is left out at random while it learns.
    pub lora_dropout: f64,
    /// Probability that a step has the LoRA on.
    pub lora_probability: f64,
    /// Whether the LoRA is kept in the motion file; the method throws it away.
    pub keep_lora: bool,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for InversionSettings {
    fn default() -> Self {
        Self {
            steps: 400,
            learning_rate: 0.02,
            weight_decay: 0.01,
            objective: Objective::default(),
            timesteps: TimestepRange {
                first: 0,
                last: 999,
            },
            sites: SiteSelection::default(),
            query_key: EmbeddingShape::OneD,
            values: EmbeddingShape::TwoD,
            integration: Integration::default(),
            ddim_inversion_steps: 50,
            lora_rank: 32,
            lora_learning_rate: 5e-4,
            lora_dropout: 0.1,
            lora_probability: 0.8,
            keep_lora: false,
            seed: 0,
        }
    }
}

/// More steps than any learning needs; a bound on what a file or argument may ask for.
const MAX_STEPS: usize = 1_000_000;

impl InversionSettings {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first of them.
    pub fn check(&self) -> Result<(), Error> {
        if !(1..=MAX_STEPS).contains(&self.steps) {
            return Err(Error::setting("steps", self.steps, "between 1 and 1000000"));
        }
        for (name, rate) in [
            ("learning rate", self.learning_rate),
            ("lora learning rate", self.lora_learning_rate),
        ] {
            if !(rate.is_finite() && rate > 0.0) {
                return Err(Error::setting(name, rate, "a positive number"));
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(Error::setting(
                "weight decay",
                self.weight_decay,
                "zero or a positive number",
            ));
        }
        if !(1..=MAX_RANK).contains(&self.lora_rank) {
            let expected = format!("between 1 and {MAX_RANK}");
            return Err(Error::setting("lora rank", self.lora_rank, expected));
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            let expected = "a number from 0 up to 1, excluded";
            return Err(Error::setting("lora dropout", self.lora_dropout, expected));
        }
        if !(0.0..=1.0).contains(&self.lora_probability) {
            let found = self.lora_probability;
            return Err(Error::setting("lora probability", found, "between 0 and 1"));
        }
        if !self.query_key.is_possible() {
            let expected = "a grid with sides between 1 and 256";
            return Err(Error::setting(QUERY_KEY, self.query_key, expected));
        }
        if let EmbeddingShape::Grid(_) = self.values {
            // Their differences are to tell what moves where, at every position.
            return Err(Error::setting("value shape", self.values, "off, 1d or 2d"));
        }
        Ok(())
    }

    /// Refuses a grid of embeddings that is finer than a site's: interpolation would pass some of its cells by.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the site.
    pub(crate) fn check_site(&self, site: &str, grid: [usize; 2]) -> Result<(), Error> {
        match self.query_key {
            EmbeddingShape::Grid([rows, columns]) if rows > grid[0] || columns > grid[1] => {
                let expected = format!(
                    "at most {}, the grid of `{site}`",
                    EmbeddingShape::Grid(grid)
                );
                Err(Error::setting(QUERY_KEY, self.query_key, expected))
            }
            _ => Ok(()),
        }
    }
}

/// The name of a setting in errors.
const QUERY_KEY: &str = "query-key shape";

/// What part of the motion is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MotionKind {
    /// How things move: query-key and debiased value embeddings.
    #[default]
    Object,
    /// How the camera moves: query-key embeddings alone.
    Camera,
    /// Both: the same embeddings as `object`.
    Hybrid,
}

/// Which of the learned embeddings take part. A [`MotionKind`] that leaves some out still does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contribution {
    /// All.
    #[default]
    Both,
    /// The query-key embeddings alone.
    QueryKey,
    /// The value embeddings alone.
    Values,
    /// None: the plain model, from the motion's noise.
    Neither,
}

/// Everything that decides what is generated from a motion and a prompt. The defaults are the published ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationSettings {
    /// What part of the motion is replayed.
    pub kind: MotionKind,
    /// Which of the learned embeddings take part.
    pub contribution: Contribution,
    /// What is done to the value embeddings first.
    pub debias: Debias,
    /// How many frames lie between the two that [`Debias::Difference`] subtracts, counted in the frames that are
    /// generated. Published: 1.
    pub difference_frames: usize,
    /// Factor on all embeddings; 0 leaves the plain model.
    pub strength: f64,
    /// Factor on a LoRA of the spatial transformers; if absent, 1 for one that was loaded from a file, and 0 for the one
    /// that the motion may hold.
    pub lora_strength: Option<f64>,
    /// Factor on the differences that [`Debias::Difference`] makes of the value embeddings: from one frame to
    /// the next they change several times less than what was learned. Published: 1.
    pub difference_gain: f64,
    /// How embeddings enter the attentions; as they were learned if absent.
    pub integration: Option<Integration>,
    /// Denoising steps.
    pub steps: usize,
    /// The sampler.
    pub sampler: SamplerKind,
    /// Classifier-free guidance scale.
    pub guidance: f64,
    /// The prompt that guidance leads away from.
    pub negative_prompt: String,
    /// The noise from which generation starts.
    pub noise: InitialNoise,
    /// Share of the reference's inverted latents in a blend, 0 to 1.
    pub noise_prior: f64,
    /// Frames to generate; those of the motion if absent.
    pub frames: Option<usize>,
    /// Width and height in pixels; those of the motion if absent.
    pub size: Option<[usize; 2]>,
}

impl Default for GenerationSettings {
    fn default() -> Self {
        Self {
            kind: MotionKind::default(),
            contribution: Contribution::default(),
            debias: Debias::default(),
            difference_frames: 1,
            strength: 1.0,
            lora_strength: None,
            difference_gain: 1.0,
            integration: None,
            steps: 30,
            sampler: SamplerKind::default(),
            guidance: 12.0,
            negative_prompt: String::new(),
            noise: InitialNoise::default(),
            noise_prior: InitialNoise::DEFAULT_STRENGTH,
            frames: None,
            size: None,
        }
    }
}

/// Bounds on what is generated: far beyond what a base model can do, small enough to be refused before
/// memory is asked for.
const MAX_FRAMES: usize = 4096;
const MAX_SIDE: usize = 8192;

/// More denoising steps than any schedule has.
const MAX_SAMPLING_STEPS: usize = 100_000;

impl GenerationSettings {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Diffusion`] for the first of them.
    pub fn check(&self) -> Result<(), Error> {
        for (name, factor) in [
            ("strength", self.strength),
            ("difference gain", self.difference_gain),
            ("lora strength", self.lora_strength.unwrap_or(0.0)),
        ] {
            if !factor.is_finite() {
                return Err(Error::setting(name, factor, "a finite number"));
            }
        }
        if !(1..=MAX_SAMPLING_STEPS).contains(&self.steps) {
            let expected = format!("between 1 and {MAX_SAMPLING_STEPS}");
            return Err(Error::setting("sampling steps", self.steps, expected));
        }
        if !(0.0..=1.0).contains(&self.noise_prior) {
            return Err(Error::setting(
                "noise prior",
                self.noise_prior,
                "between 0 and 1",
            ));
        }
        Guidance::new(self.guidance)?;
        if !(1..MAX_FRAMES).contains(&self.difference_frames) {
            let expected = "between 1 and 4095";
            return Err(Error::setting(
                DIFFERENCE_FRAMES,
                self.difference_frames,
                expected,
            ));
        }
        if let Some(frames) = self.frames
            && !(1..=MAX_FRAMES).contains(&frames)
        {
            return Err(Error::setting("frames", frames, "between 1 and 4096"));
        }
        if let Some([width, height]) = self.size
            && !((1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height))
        {
            return Err(Error::setting(
                "size",
                format!("{width}x{height}"),
                "sides between 1 and 8192",
            ));
        }
        Ok(())
    }

    /// Refuses differences over more frames than there are.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check_frames(&self, frames: usize) -> Result<(), Error> {
        let longest = frames.saturating_sub(1).max(1); // a single frame keeps its value, as every first one does
        if self.debias == Debias::Difference && self.difference_frames > longest {
            let expected = format!("between 1 and {longest}, for there are {frames} frame(s)");
            return Err(Error::setting(
                DIFFERENCE_FRAMES,
                self.difference_frames,
                expected,
            ));
        }
        Ok(())
    }
}

/// The name of a setting in errors.
const DIFFERENCE_FRAMES: &str = "difference frames";

/// What a model folder recommends in a file `kinvert.json`. Published models have none and get the published
/// settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recommendations {
    /// A short name of the model.
    pub name: Option<String>,
    /// Frames of a clip.
    pub frames: Option<usize>,
    /// Width and height in pixels.
    pub size: Option<[usize; 2]>,
    /// Frames per second.
    pub fps: Option<f64>,
    /// How to learn on this model.
    pub inversion: InversionSettings,
    /// How to generate with this model.
    pub generation: GenerationSettings,
}

impl Recommendations {
    const FILE: &'static str = "kinvert.json";

    /// Reads the file, if there is one; otherwise everything is as `published`.
    ///
    /// # Errors
    /// If it is there and cannot be read, or recommends something impossible.
    pub fn load(files: &ModelFiles, published: Self) -> Result<Self, Error> {
        if !files.contains(Self::FILE) {
            return Ok(published);
        }
        let recommendations: Self = files.json(Self::FILE)?;
        recommendations.inversion.check()?;
        recommendations.generation.check()?;
        Ok(recommendations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_published_settings() {
        let (inversion, generation) = (InversionSettings::default(), GenerationSettings::default());
        inversion.check().unwrap();
        generation.check().unwrap();
        assert_eq!(
            (inversion.query_key, inversion.values),
            (EmbeddingShape::OneD, EmbeddingShape::TwoD)
        );
        assert_eq!(
            (generation.difference_frames, generation.contribution),
            (1, Contribution::Both)
        );
        let of_nothing: (InversionSettings, GenerationSettings) =
            serde_json::from_str("[{}, {}]").unwrap();
        assert_eq!(of_nothing, (inversion, generation));
    }

    #[test]
    fn impossible_loras_are_refused_by_name() {
        type Change = fn(&mut InversionSettings);
        let cases: [(&str, Change); 6] = [
            ("`lora rank` is 0, expected between 1 and 1024", |s| {
                s.lora_rank = 0
            }),
            ("`lora rank` is 1025", |s| s.lora_rank = 1025),
            ("`lora dropout` is 1, expected a number from 0", |s| {
                s.lora_dropout = 1.0
            }),
            ("`lora dropout` is NaN", |s| s.lora_dropout = f64::NAN),
            ("`lora probability` is 1.5, expected between 0 and 1", |s| {
                s.lora_probability = 1.5
            }),
            ("`lora learning rate` is 0, expected a positive", |s| {
                s.lora_learning_rate = 0.0
            }),
        ];
        for (expected, change) in cases {
            let mut settings = InversionSettings::default();
            change(&mut settings);
            let message = settings.check().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let settings = GenerationSettings {
            lora_strength: Some(f64::INFINITY),
            ..Default::default()
        };
        let message = settings.check().unwrap_err().to_string();
        assert!(message.contains("`lora strength` is inf"), "{message}");
    }

    #[test]
    fn impossible_shapes_are_refused_by_name() {
        let refusal = |text: &str| {
            let settings: InversionSettings = serde_json::from_str(text).unwrap();
            settings.check().unwrap_err().to_string()
        };
        assert_eq!(
            refusal(r#"{"values": "grid-2x2"}"#),
            "`value shape` is grid-2x2, expected off, 1d or 2d"
        );
        let settings = InversionSettings {
            query_key: EmbeddingShape::Grid([0, 2]),
            ..Default::default()
        };
        assert!(
            settings
                .check()
                .unwrap_err()
                .to_string()
                .contains("grid-0x2")
        );
        let settings = InversionSettings {
            query_key: EmbeddingShape::Grid([2, 3]),
            ..Default::default()
        };
        settings.check_site("a", [2, 3]).unwrap();
        assert_eq!(
            settings.check_site("a", [4, 2]).unwrap_err().to_string(),
            "`query-key shape` is grid-2x3, expected at most grid-4x2, the grid of `a`"
        );
    }

    #[test]
    fn differences_need_as_many_frames() {
        let over = |difference_frames| GenerationSettings {
            difference_frames,
            ..Default::default()
        };
        assert!(
            over(0)
                .check()
                .unwrap_err()
                .to_string()
                .contains("difference frames")
        );
        for (frames, difference_frames) in [(1, 1), (2, 1), (6, 5)] {
            over(difference_frames).check_frames(frames).unwrap();
        }
        assert_eq!(
            over(5).check_frames(5).unwrap_err().to_string(),
            "`difference frames` is 5, expected between 1 and 4, for there are 5 frame(s)"
        );
        let mean = GenerationSettings {
            debias: Debias::Normalize,
            ..over(5)
        };
        mean.check_frames(5).unwrap();
    }
}
