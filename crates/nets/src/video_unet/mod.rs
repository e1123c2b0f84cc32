//! The denoising network of a text-to-video model, whichever kind it is.
//!
//! It predicts noise (or velocity) from noisy latents `[batch, channels, frames, height, width]`, timesteps and text
//! states. Latents and predictions are f32 whatever the [`Precision`] of the weights, in which everything between
//! is computed.

mod stages;

use burn::prelude::*;
use burn::tensor::FloatDType;
use serde::Deserialize;

pub use stages::{Features, Hooks, Observer, Pass, Stage};

use crate::kernels::NetBackend;
use crate::kernels::elementwise::cast;
use crate::layers::adapter::LinearLayer;
use crate::layers::apply::cast_like;
use crate::precision::Precision;
use crate::sites::TemporalSite;
use crate::unet::UNetBody;
use crate::unet_motion::{UNetMotion, UNetMotionConfig};
use crate::unet3d::{UNet3DCondition, UNet3DConditionConfig, VIDEOCRAFTER_CLASS};
use crate::{Error, ModelFiles};

/// The configuration of a denoising network.
#[derive(Debug, Clone, PartialEq)]
pub enum VideoUNetConfig {
    /// ModelScope, ZeroScope, VideoCrafter.
    Condition3D(UNet3DConditionConfig),
    /// AnimateDiff.
    Motion(UNetMotionConfig),
}

/// File of a `unet/` folder.
const CONFIG: &str = "config.json";

/// Class of a U-Net that knows single images, to which a motion adapter belongs.
const IMAGE_UNET: &str = "UNet2DConditionModel";

impl VideoUNetConfig {
    /// Reads and checks `config.json` of a `unet/` folder.
    ///
    /// # Errors
    /// If the file is missing or damaged, or describes a network that is not supported; [`Error::NoMotionAdapter`]
    /// if it describes one of single images.
    pub fn read(files: &ModelFiles) -> Result<Self, Error> {
        Self::read_with(files, None)
    }

    /// As [`read`](Self::read), of a U-Net of single images with a motion adapter, if one is given.
    ///
    /// # Errors
    /// As [`read`](Self::read), and if there is a motion adapter for a network that takes none, or another one than
    /// the network takes.
    pub fn read_with(
        files: &ModelFiles,
        motion_adapter: Option<&ModelFiles>,
    ) -> Result<Self, Error> {
        let path = files.label(CONFIG);
        let class_name = class_name(files)?;
        match (class_name.as_str(), motion_adapter) {
            (IMAGE_UNET, Some(adapter)) => UNetMotionConfig::join(files, adapter).map(Self::Motion),
            (IMAGE_UNET, None) => Err(Error::NoMotionAdapter { path }),
            ("UNetMotionModel", None) => UNetMotionConfig::read(files).map(Self::Motion),
            ("UNet3DConditionModel" | VIDEOCRAFTER_CLASS, None) => {
                let config: UNet3DConditionConfig = files.json(CONFIG)?;
                config.check(&path)?;
                Ok(Self::Condition3D(config))
            }
            ("UNetMotionModel" | "UNet3DConditionModel" | VIDEOCRAFTER_CLASS, Some(_)) => {
                let expected = format!("{IMAGE_UNET}, the kind that takes a motion adapter");
                Err(Error::config(&path, "_class_name", class_name, expected))
            }
            _ => {
                let expected = format!("UNet3DConditionModel, UNetMotionModel or {IMAGE_UNET}");
                Err(Error::config(&path, "_class_name", class_name, expected))
            }
        }
    }

    /// Whether a `unet/` folder holds a network of single images, which needs a motion adapter.
    ///
    /// # Errors
    /// If `config.json` is missing or damaged.
    pub fn needs_motion_adapter(files: &ModelFiles) -> Result<bool, Error> {
        Ok(class_name(files)? == IMAGE_UNET)
    }

    /// Builds the network with random weights, which are drawn only when first read.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> VideoUNet<B> {
        match self {
            Self::Condition3D(config) => VideoUNet::Condition3D(config.init(device)),
            Self::Motion(config) => VideoUNet::Motion(config.init(device)),
        }
    }

    /// Every site of the network, in the order in which a forward pass reaches them.
    pub fn sites(&self) -> Vec<TemporalSite> {
        match self {
            Self::Condition3D(config) => config.sites(),
            Self::Motion(config) => config.sites(),
        }
    }

    /// Height and width of the latents that the model was trained at, if the configuration says so.
    pub fn latent_size(&self) -> Option<[usize; 2]> {
        match self {
            Self::Condition3D(config) => config.latent_size(),
            Self::Motion(config) => config.latent_size(),
        }
    }

    /// Frames at most, if the network knows no more positions.
    pub fn max_frames(&self) -> Option<usize> {
        match self {
            Self::Condition3D(_) => None,
            Self::Motion(config) => Some(config.motion_max_seq_length),
        }
    }

    /// Resolutions at which the network works: latents are halved one time less.
    pub fn levels(&self) -> usize {
        match self {
            Self::Condition3D(config) => config.block_out_channels.len(),
            Self::Motion(config) => config.unet.block_out_channels.len(),
        }
    }

    /// Channels of the latents that go in and of the prediction that comes out.
    pub fn latent_channels(&self) -> [usize; 2] {
        match self {
            Self::Condition3D(config) => [config.in_channels, config.out_channels],
            Self::Motion(config) => [config.unet.in_channels, config.unet.out_channels],
        }
    }

    /// Channels of the text states.
    pub fn cross_attention_dim(&self) -> usize {
        match self {
            Self::Condition3D(config) => config.cross_attention_dim,
            Self::Motion(config) => config.unet.cross_attention_dim,
        }
    }
}

/// What kind of network `config.json` describes.
fn class_name(files: &ModelFiles) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Class {
        #[serde(rename = "_class_name")]
        class_name: String,
    }
    let Class { class_name } = files.json(CONFIG)?;
    Ok(class_name)
}

/// A denoising network; see the [module docs](self).
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a program holds one network or two, whose weights lie elsewhere"
)]
pub enum VideoUNet<B: Backend> {
    /// ModelScope, ZeroScope, VideoCrafter.
    Condition3D(UNet3DCondition<B>),
    /// AnimateDiff.
    Motion(UNetMotion<B>),
}

impl<B: NetBackend> VideoUNet<B> {
    /// Reads `config.json` and the weights (`diffusion_pytorch_model.safetensors`, whole or in shards) of a
    /// `unet/` folder. The weights are frozen.
    ///
    /// # Errors
    /// If a file is missing or damaged, the configuration is not supported, or the weights do not fit it.
    pub fn load(
        files: &ModelFiles,
        device: &B::Device,
        precision: Precision,
    ) -> Result<(VideoUNetConfig, Self), Error> {
        Self::load_with(files, None, device, precision)
    }

    /// As [`load`](Self::load), of a U-Net of single images with a motion adapter, if one is given: a folder with
    /// `config.json` and weights, or AnimateDiff's own file.
    ///
    /// # Errors
    /// As [`load`](Self::load), and as [`VideoUNetConfig::read_with`].
    pub fn load_with(
        files: &ModelFiles,
        motion_adapter: Option<&ModelFiles>,
        device: &B::Device,
        precision: Precision,
    ) -> Result<(VideoUNetConfig, Self), Error> {
        let config = VideoUNetConfig::read_with(files, motion_adapter)?;
        let network = match &config {
            VideoUNetConfig::Condition3D(config) => {
                Self::Condition3D(UNet3DCondition::load(config, files, device, precision)?)
            }
            VideoUNetConfig::Motion(config) => Self::Motion(UNetMotion::load(
                config,
                files,
                motion_adapter,
                device,
                precision,
            )?),
        };
        Ok((config, network))
    }

    /// Names and shapes of the tensors that [`load`](Self::load) reads; no weight is drawn for it.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::Condition3D(network) => network.expected_tensors(),
            Self::Motion(network) => network.expected_tensors(),
        }
    }

    /// Checks that the weights of a `unet/` folder fit the network by name and shape, without reading their values.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn check(files: &ModelFiles, device: &B::Device) -> Result<(), Error> {
        match VideoUNetConfig::read(files)? {
            VideoUNetConfig::Condition3D(config) => {
                UNet3DCondition::<B>::check(&config, files, device)
            }
            VideoUNetConfig::Motion(config) => UNetMotion::<B>::check(&config, files, device),
        }
    }

    /// Predicts noise, or velocity for a `v_prediction` model.
    ///
    /// `sample` is `[batch, channels, frames, height, width]`, as is the result with the output channels;
    /// `timesteps` has one entry per clip or one for all; `encoder_hidden_states` is
    /// `[batch, text tokens, cross_attention_dim]`. A single clip may have several texts, as both halves of the guidance
    /// do: what comes before the first layer that reads text is then computed once, and the result has an entry for
    /// each.
    ///
    /// # Panics
    /// If the batch sizes or channels do not fit each other, or there are more frames than
    /// [`max_frames`](VideoUNetConfig::max_frames).
    pub fn forward(
        &self,
        sample: Tensor<B, 5>,
        timesteps: &[f64],
        encoder_hidden_states: Tensor<B, 3>,
        hooks: Hooks<'_, B>,
    ) -> Tensor<B, 5> {
        let pass = self.pass(sample.dims(), timesteps, encoder_hidden_states, hooks);
        self.run(sample, pass)
    }

    /// As [`forward`](Self::forward), and hands the output of every block and of every layer inside the
    /// blocks to `observe` as it is computed, `[batch * frames, channels, height, width]`, by its path.
    pub fn forward_observed<'a>(
        &self,
        sample: Tensor<B, 5>,
        timesteps: &[f64],
        encoder_hidden_states: Tensor<B, 3>,
        observe: &'a mut Observer<'a, B>,
    ) -> Tensor<B, 5> {
        let hooks = Hooks::default();
        let mut pass = self.pass(sample.dims(), timesteps, encoder_hidden_states, hooks);
        pass.observe = Some(observe);
        self.run(sample, pass)
    }

    fn run(&self, sample: Tensor<B, 5>, mut pass: Pass<'_, B>) -> Tensor<B, 5> {
        let start = self.start(sample);
        let stages = self.stages().into_iter();
        let end = stages.fold(start, |features, stage| {
            self.run_stage(stage, features, &mut pass)
        });
        self.finish(end, pass.frames)
    }

    /// What all stages of a pass share, for a sample of the given shape.
    ///
    /// # Panics
    /// If the batch sizes do not fit each other.
    pub fn pass<'a>(
        &self,
        [batch, _, frames, _, _]: [usize; 5],
        timesteps: &[f64],
        encoder_hidden_states: Tensor<B, 3>,
        hooks: Hooks<'a, B>,
    ) -> Pass<'a, B> {
        assert!(
            timesteps.len() == batch || timesteps.len() == 1,
            "{} timesteps for a batch of {batch}",
            timesteps.len()
        );
        let texts = encoder_hidden_states.dims()[0];
        assert!(
            texts == batch || batch == 1,
            "{texts} rows of text states for a batch of {batch}"
        );
        let device = encoder_hidden_states.device();
        let mut temb = self.body().time_embedding().forward(timesteps, &device); // [batch or 1, channels]
        if batch > 1 && timesteps.len() == batch {
            let channels = temb.dims()[1];
            temb = temb
                .unsqueeze_dim::<3>(1)
                .repeat_dim(1, frames)
                .reshape([batch * frames, channels]);
        }
        Pass {
            frames,
            encoder_hidden_states: cast_like(encoder_hidden_states, &temb),
            temb,
            hooks,
            observe: None,
        }
    }

    /// The stages of a forward pass, in order.
    pub fn stages(&self) -> Vec<Stage> {
        self.body().stages()
    }

    /// Every layer that [`Hooks::spatial`] is asked for, in the order of a forward pass.
    pub fn spatial_linears(&self) -> Vec<LinearLayer> {
        self.body().spatial_linears()
    }

    /// What the first stage takes, from `[batch, channels, frames, height, width]`.
    pub fn start(&self, sample: Tensor<B, 5>) -> Features<B> {
        let [batch, channels, frames, height, width] = sample.dims();
        let images =
            sample
                .permute([0, 2, 3, 4, 1])
                .reshape([batch * frames, height, width, channels]);
        Features {
            hidden_states: cast(images, self.precision().dtype()),
            skips: Vec::new(),
        }
    }

    /// Runs one stage.
    ///
    /// # Panics
    /// If the features are not those that the stage before gave.
    pub fn run_stage(
        &self,
        stage: Stage,
        features: Features<B>,
        pass: &mut Pass<'_, B>,
    ) -> Features<B> {
        match self {
            Self::Condition3D(network) => network.run_stage(stage, features, pass),
            Self::Motion(network) => {
                let body = network.body();
                body.run_stage(stage, features, pass, |hidden_states, _| hidden_states)
            }
        }
    }

    /// The prediction, `[batch, channels, frames, height, width]`, from what the last stage gave.
    pub fn finish(&self, features: Features<B>, frames: usize) -> Tensor<B, 5> {
        let [images, height, width, channels] = features.hidden_states.dims();
        cast(features.hidden_states, FloatDType::F32)
            .reshape([images / frames, frames, height, width, channels])
            .permute([0, 4, 1, 2, 3])
    }

    /// The number format of the weights, and of everything inside.
    pub fn precision(&self) -> Precision {
        Precision::of(self.body().dtype())
    }

    fn body(&self) -> &UNetBody<B> {
        match self {
            Self::Condition3D(network) => network.body(),
            Self::Motion(network) => network.body(),
        }
    }
}
