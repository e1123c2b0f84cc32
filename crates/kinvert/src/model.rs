//! A base model on whichever device, without the engine's type parameters: what most callers want.

use std::path::Path;

use kinvert_nets::TemporalSite;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{Device, OnDevice, Precision};
use kinvert_video::Clip;

use crate::error::Error;
use crate::lora::LoraId;
use crate::motion::{ModelId, Motion};
use crate::pipeline::Pipeline;
use crate::settings::{GenerationSettings, InversionSettings, Recommendations};
use crate::source::{LoadOptions, ModelSource};
use kinvert_base::Progress;

/// A loaded base model that learns and replays motions. Methods are those of [`Pipeline`]. It may move to another thread.
pub trait MotionModel: Send {
    /// What identifies the model.
    fn id(&self) -> &ModelId;

    /// What the model's folder recommends; the published settings if it says nothing.
    fn recommendations(&self) -> &Recommendations;

    /// The number format of the denoising network's weights, in which it computes.
    fn precision(&self) -> Precision;

    /// Every site of the network.
    fn sites(&self) -> Vec<TemporalSite>;

    /// Frames that clips of this model have at most, unless asked otherwise.
    fn frames(&self) -> usize;

    /// Frames per second that clips of this model have.
    fn fps(&self) -> f64;

    /// Width and height to learn at, for a clip of the given width and height.
    fn size_for(&self, size: [usize; 2]) -> [usize; 2];

    /// Learns the motion of a clip; see [`Pipeline::invert`].
    ///
    /// # Errors
    /// As [`Pipeline::invert`].
    fn invert(
        &self,
        clip: &Clip,
        caption: &str,
        settings: &InversionSettings,
        workspace: Option<&Path>,
        progress: &mut dyn Progress,
    ) -> Result<Motion, Error>;

    /// Reads a motion of the published code; see [`Pipeline::import_published`].
    ///
    /// # Errors
    /// As [`Pipeline::import_published`].
    fn import_published(
        &self,
        path: &Path,
        size: [usize; 2],
        frames: Option<usize>,
    ) -> Result<Motion, Error>;

    /// Reads a LoRA for what is generated from now on; see [`Pipeline::load_lora`].
    ///
    /// # Errors
    /// As [`Pipeline::load_lora`].
    fn load_lora(&mut self, path: &Path) -> Result<(), Error>;

    /// What identifies the LoRA that was loaded.
    fn lora(&self) -> Option<&LoraId>;

    /// Generates a clip; see [`Pipeline::generate`].
    ///
    /// # Errors
    /// As [`Pipeline::generate`].
    fn generate(
        &self,
        motion: Option<&Motion>,
        prompt: &str,
        seed: u64,
        settings: &GenerationSettings,
        progress: &mut dyn Progress,
    ) -> Result<Clip, Error>;

    /// Refuses a motion that was learned on another model.
    ///
    /// # Errors
    /// [`Error::OtherModel`].
    fn check_origin(&self, motion: &Motion) -> Result<(), Error>;
}

/// Loads a base model, for example a text-to-video folder or the built-in model's files, onto a device.
///
/// # Errors
/// As [`Pipeline::load`].
pub fn load_model(
    source: &ModelSource,
    options: &LoadOptions,
    device: Device,
) -> Result<Box<dyn MotionModel>, Error> {
    struct Load<'a>(&'a ModelSource, &'a LoadOptions);

    impl OnDevice for Load<'_> {
        type Output = Result<Box<dyn MotionModel>, Error>;

        fn run<B: TrackingBackend>(self, device: &B::Device) -> Self::Output {
            Ok(Box::new(Pipeline::<B>::load(self.0, self.1, device)?))
        }
    }

    let free_bytes = || device.memory().map(|memory| memory.free_bytes);
    let options = LoadOptions {
        free_bytes: options.free_bytes.or_else(free_bytes),
        ..*options
    };
    device.run(Load(source, &options))
}

impl<B: TrackingBackend> MotionModel for Pipeline<B> {
    fn id(&self) -> &ModelId {
        Pipeline::id(self)
    }

    fn recommendations(&self) -> &Recommendations {
        Pipeline::recommendations(self)
    }

    fn precision(&self) -> Precision {
        self.unet().precision()
    }

    fn sites(&self) -> Vec<TemporalSite> {
        Pipeline::sites(self)
    }

    fn frames(&self) -> usize {
        Pipeline::frames(self)
    }

    fn fps(&self) -> f64 {
        Pipeline::fps(self)
    }

    fn size_for(&self, size: [usize; 2]) -> [usize; 2] {
        Pipeline::size_for(self, size)
    }

    fn invert(
        &self,
        clip: &Clip,
        caption: &str,
        settings: &InversionSettings,
        workspace: Option<&Path>,
        progress: &mut dyn Progress,
    ) -> Result<Motion, Error> {
        Pipeline::invert(self, clip, caption, settings, workspace, progress)
    }

    fn load_lora(&mut self, path: &Path) -> Result<(), Error> {
        Pipeline::load_lora(self, path)
    }

    fn lora(&self) -> Option<&LoraId> {
        Pipeline::lora(self)
    }

    fn generate(
        &self,
        motion: Option<&Motion>,
        prompt: &str,
        seed: u64,
        settings: &GenerationSettings,
        progress: &mut dyn Progress,
    ) -> Result<Clip, Error> {
        Pipeline::generate(self, motion, prompt, seed, settings, progress)
    }

    fn import_published(
        &self,
        path: &Path,
        size: [usize; 2],
        frames: Option<usize>,
    ) -> Result<Motion, Error> {
        Pipeline::import_published(self, path, size, frames)
    }

    fn check_origin(&self, motion: &Motion) -> Result<(), Error> {
        Pipeline::check_origin(self, motion)
    }
}
