//! What is minimised while a motion is learned.
//!
//! Source: *Motion Inversion for Video Customization* (arXiv:2403.20193v2), Eq. 4.

use std::ops::Range;

use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Mean squared error of the prediction.
    Base,
    /// `Base`, and the same of `sqrt(2) x - x[r]` with a random frame `r`, in which appearance that all frames
    /// share cancels.
    #[default]
    DebiasedTemporal,
    /// `DebiasedTemporal`, beside a [LoRA](crate::lora) of the spatial transformers that learns what the frames look
    /// like, so that the embeddings need not.
    DebiasedHybrid,
}

impl Objective {
    /// The loss of a prediction for its target, both `[batch, channels, frames, height, width]`; `frame` is
    /// the random frame of the debiased losses. That of a LoRA is apart from it.
    pub fn loss<B: Backend>(
        self,
        predicted: Tensor<B, 5>,
        target: Tensor<B, 5>,
        frame: usize,
    ) -> Tensor<B, 1> {
        let error = predicted - target;
        match self {
            Self::Base => mean_square(error),
            // The debiasing is linear, so it may be applied to the error: a e_hat - b e_hat[r] less
            // a e - b e[r] is a (e_hat - e) - b (e_hat - e)[r], with b = 1 and a = sqrt(b^2 + 1).
            Self::DebiasedTemporal | Self::DebiasedHybrid => {
                let anchor = error.clone().narrow(2, frame, 1); // [B, C, 1, H, W]
                let debiased = error.clone() * std::f64::consts::SQRT_2 - anchor;
                mean_square(error) + mean_square(debiased)
            }
        }
    }
}

/// The mean of the squares.
pub(crate) fn mean_square<B: Backend>(x: Tensor<B, 5>) -> Tensor<B, 1> {
    x.powi_scalar(2).mean()
}

/// The timesteps from which learning draws, all equally likely: `first` up to and including `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestepRange {
    /// The smallest timestep.
    pub first: usize,
    /// The largest timestep.
    pub last: usize,
}

impl TimestepRange {
    /// The range as indices below `num_train_timesteps`.
    ///
    /// # Errors
    /// If it is empty or lies beyond the schedule.
    pub fn within(self, num_train_timesteps: usize) -> Result<Range<usize>, Error> {
        if self.first > self.last || self.last >= num_train_timesteps {
            let expected = format!("a range within 0-{}", num_train_timesteps - 1);
            return Err(Error::setting("timesteps", self, expected));
        }
        Ok(self.first..self.last + 1)
    }
}

impl std::fmt::Display for TimestepRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl std::str::FromStr for TimestepRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::setting("timesteps", text, "a range such as 400-999");
        let (first, last) = text.split_once('-').ok_or_else(refuse)?;
        let number = |text: &str| text.trim().parse().map_err(|_| refuse());
        Ok(Self {
            first: number(first)?,
            last: number(last)?,
        })
    }
}
