//! What every stage of the training has in common.

use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use image::RgbImage;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{NamedTensor, Published};

use crate::Error;

/// A network that is being trained, without tracking.
pub type Plain<B, L> = <<L as Lesson<B>>::Network as AutodiffModule<B>>::InnerModule;

/// One part of the model: what a step looks at, and how the network is judged.
pub trait Lesson<B: TrackingBackend> {
    /// The network that is trained.
    type Network: Published<B> + AutodiffModule<B, InnerModule: Published<B::InnerBackend>>;

    /// The mean loss, `[1]`, of the draws that belong to a step. It is a function of the network and the step alone.
    fn loss(&self, network: &Self::Network, step: usize) -> Tensor<B, 1>;

    /// Looks at a network on what is never drawn in training.
    ///
    /// # Errors
    /// If a picture cannot be made.
    fn examine(&self, network: &Plain<B, Self>) -> Result<Examination, Error>
    where
        Self: Sized;

    /// The files of the model that the network becomes.
    ///
    /// # Errors
    /// If the model it started from cannot be read.
    fn files(&self, network: &Plain<B, Self>) -> Result<Vec<PartFile>, Error>
    where
        Self: Sized;
}

/// What a network is worth, and how that looks.
pub struct Examination {
    /// What was measured, for example `PSNR in dB`.
    pub measure: &'static str,
    /// Its value.
    pub value: f64,
    /// A picture of what the network does, if there is something to see.
    pub sheet: Option<RgbImage>,
}

/// A file of the model, by its path in the folder.
pub enum PartFile {
    /// Weights, which are written in f16.
    Weights(&'static str, Vec<NamedTensor>),
    /// Anything else, as it is.
    Bytes(&'static str, Vec<u8>),
}
