//! What turns frames into rows of numbers.

use image::RgbImage;

use crate::Error;
use crate::record::ModelStamp;

/// A network that gives one row of features for each frame.
pub trait FrameEncoder {
    /// What identifies the network.
    fn stamp(&self) -> &ModelStamp;

    /// How frames are prepared and features are scaled, in words.
    fn preprocessing(&self) -> &str;

    /// One row for each frame; frames may differ in size.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if the network gives something that is no number.
    fn encode(&self, frames: &[RgbImage]) -> Result<Vec<Vec<f32>>, Error>;
}
