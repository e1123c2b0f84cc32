//! What is trained, for how long, and how fast.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The parts of the model, in the order in which they are trained: each needs those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Both towers of CLIP, against each other; the text tower is the pipeline's text encoder.
    Clip,
    /// The autoencoder.
    Vae,
    /// The spatial layers of the denoising network, on single frames.
    UnetImage,
    /// The whole denoising network, on clips.
    UnetVideo,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Clip, Self::Vae, Self::UnetImage, Self::UnetVideo];

    /// Its name on the command line and of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Vae => "vae",
            Self::UnetImage => "unet-image",
            Self::UnetVideo => "unet-video",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Stage {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|stage| stage.name() == name);
        found.ok_or_else(|| Error::setting("stage", name, Self::ALL.map(Self::name).join(", ")))
    }
}

/// Everything that decides what a training gives, beside the model that it starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is trained.
    pub stage: Stage,
    /// Whether it starts from random weights and not from those of the model.
    pub from_scratch: bool,
    /// Parameters keep their values if their published names, or what follows a dot in them, begin so: `encoder.`
    /// leaves the autoencoder's encoder as it is.
    pub keep: Vec<String>,
    /// Words that get the token embedding of another before CLIP is trained: words that the text tower that is kept
    /// has never read.
    #[serde(default)]
    pub aliases: Vec<Alias>,
    /// Share of the pictures that CLIP sees as they come out of the autoencoder, which must be trained then: generated
    /// clips look like that. 0 to 1.
    pub decoded: f64,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Frames (clips, when the whole denoising network is trained) in a step.
    pub batch: usize,
    /// Largest learning rate of AdamW: it rises over [`warm_up`](Self::warm_up) steps and falls along half a cosine.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises.
    pub warm_up: usize,
    /// Weight decay of AdamW, of matrices and convolutions alone.
    pub weight_decay: f64,
    /// Decay of the running average of the weights, which is what is written; smaller in the first steps.
    pub average_decay: f64,
    /// Gradients of a larger norm, over all parameters, are scaled down to it.
    pub max_gradient_norm: f64,
    /// Seed of all draws.
    pub seed: u64,
}

/// A word that is to be read as another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// The word.
    pub word: String,
    /// What it is read as.
    pub means: String,
}

impl FromStr for Alias {
    type Err = Error;

    /// Reads `word=other`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('=') {
            Some((word, means)) if !word.is_empty() && !means.is_empty() => Ok(Self {
                word: word.into(),
                means: means.into(),
            }),
            _ => Err(Error::setting("alias", text, "word=other")),
        }
    }
}

impl Recipe {
    /// What trains a part well: from scratch on a GPU, and from given weights in about half an hour on two cores.
    pub fn of(stage: Stage, from_scratch: bool) -> Self {
        let (steps, batch, learning_rate) = match (stage, from_scratch) {
            (Stage::Clip, true) => (12_000, 256, 1e-3),
            (Stage::Clip, false) => (2_500, 128, 1e-3),
            (Stage::Vae, true) => (20_000, 64, 1e-3),
            (Stage::Vae, false) => (1_500, 16, 5e-4),
            (Stage::UnetImage, true) => (40_000, 256, 5e-4),
            (Stage::UnetImage, false) => (1_000, 64, 2e-4),
            (Stage::UnetVideo, true) => (20_000, 32, 3e-4),
            (Stage::UnetVideo, false) => (2_000, 4, 2e-4),
        };
        Self {
            stage,
            from_scratch,
            keep: match stage {
                // One frame says nothing about how frames follow each other.
                Stage::UnetImage => ["transformer_in.", "temp_"].map(String::from).to_vec(),
                _ => Vec::new(),
            },
            aliases: Vec::new(),
            decoded: 0.0,
            steps: 0,
            batch,
            learning_rate,
            warm_up: 0,
            weight_decay: 0.01,
            average_decay: 0.999,
            max_gradient_norm: 1.0,
            seed: 0,
        }
        .with_steps(steps)
    }

    /// As many steps as given.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self.warm_up = (steps / 50).clamp(1, 500);
        self
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first that is out of range.
    pub fn check(&self) -> Result<(), Error> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let share = |value: f64| (0.0..1.0).contains(&value);
        let checks: [(&'static str, f64, bool, &'static str); 7] = [
            (
                "decoded",
                self.decoded,
                (0.0..=1.0).contains(&self.decoded),
                "0 to 1",
            ),
            (
                "steps",
                self.steps as f64,
                (1..=10_000_000).contains(&self.steps),
                "1 to 10000000",
            ),
            (
                "batch",
                self.batch as f64,
                (1..=4096).contains(&self.batch),
                "1 to 4096",
            ),
            (
                "learning-rate",
                self.learning_rate,
                positive(self.learning_rate),
                "a positive number",
            ),
            (
                "weight-decay",
                self.weight_decay,
                share(self.weight_decay),
                "0 up to 1",
            ),
            (
                "average-decay",
                self.average_decay,
                share(self.average_decay),
                "0 up to 1",
            ),
            (
                "max-gradient-norm",
                self.max_gradient_norm,
                positive(self.max_gradient_norm),
                "a positive number",
            ),
        ];
        match checks.into_iter().find(|(_, _, fits, _)| !fits) {
            Some((field, found, _, expected)) => Err(Error::setting(field, found, expected)),
            None => Ok(()),
        }
    }

    /// The learning rate of a step, counted from 0.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        let rise = (step + 1) as f64 / self.warm_up.max(1) as f64;
        let fall = 0.5 + 0.5 * (std::f64::consts::PI * step as f64 / self.steps as f64).cos();
        self.learning_rate * rise.min(1.0) * fall
    }

    /// The decay of the running average at a step, counted from 0: an average of few steps forgets faster.
    pub fn average_decay_at(&self, step: usize) -> f64 {
        let young = (1.0 + step as f64) / (10.0 + step as f64);
        self.average_decay.min(young)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let recipe = Recipe {
            steps: 100,
            warm_up: 10,
            learning_rate: 0.5,
            ..Recipe::of(Stage::Clip, false)
        };
        assert!((recipe.learning_rate_at(0) - 0.05).abs() < 1e-12);
        assert!(recipe.learning_rate_at(9) > 0.48);
        assert!((recipe.learning_rate_at(50) - 0.25).abs() < 1e-12);
        assert!(recipe.learning_rate_at(99) < 2e-4);
        let rates: Vec<f64> = (10..100)
            .map(|step| recipe.learning_rate_at(step))
            .collect();
        assert!(rates.is_sorted_by(|earlier, later| earlier > later));
    }

    #[test]
    fn names_of_stages_are_read_back_and_others_are_refused() {
        for stage in Stage::ALL {
            assert_eq!(stage.to_string().parse::<Stage>().unwrap(), stage);
        }
        let error = "unet".parse::<Stage>().unwrap_err().to_string();
        assert!(
            error.contains("is unet,") && error.contains("unet-video"),
            "{error}"
        );
    }

    #[test]
    fn recipes_are_sound_and_numbers_out_of_range_are_named() {
        for stage in Stage::ALL {
            for from_scratch in [true, false] {
                Recipe::of(stage, from_scratch).check().unwrap();
            }
        }
        let with = |change: fn(&mut Recipe)| {
            let mut recipe = Recipe::of(Stage::Vae, false);
            change(&mut recipe);
            recipe
        };
        let bad = [
            (with(|recipe| recipe.steps = 0), "steps"),
            (with(|recipe| recipe.batch = 0), "batch"),
            (with(|recipe| recipe.decoded = 1.1), "decoded"),
            (
                with(|recipe| recipe.learning_rate = f64::NAN),
                "learning-rate",
            ),
            (with(|recipe| recipe.weight_decay = 1.0), "weight-decay"),
            (with(|recipe| recipe.average_decay = -0.1), "average-decay"),
            (
                with(|recipe| recipe.max_gradient_norm = 0.0),
                "max-gradient-norm",
            ),
        ];
        for (recipe, field) in bad {
            let error = recipe.check().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
