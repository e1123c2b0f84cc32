//! What turns frames into rows of numbers.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use image::RgbImage;

use crate::Error;
use crate::record::ModelStamp;

/// A network that gives one row of features for each frame.
pub trait FrameEncoder: Send {
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

/// Frames that go through a network at once; bounds its memory.
const BATCH: usize = 16;

/// Frames in batches of one size each: those of a clip have one size, those of a folder of images need not.
pub(crate) fn same_size(frames: &[RgbImage]) -> impl Iterator<Item = &[RgbImage]> {
    let groups = frames.chunk_by(|a, b| a.dimensions() == b.dimensions());
    groups.flat_map(|group| group.chunks(BATCH))
}

/// The rows of a tensor, all of finite numbers.
pub(crate) fn to_rows<B: Backend>(
    features: Tensor<B, 2>,
    stamp: &ModelStamp,
) -> Result<Vec<Vec<f32>>, Error> {
    let [_, width] = features.dims();
    let values: Vec<f32> = features.into_data().iter::<f32>().collect();
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values.chunks_exact(width).map(<[f32]>::to_vec).collect());
    }
    Err(Error::NotFinite {
        what: format!("a feature of {}", stamp.name),
    })
}
