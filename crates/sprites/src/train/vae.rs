//! The autoencoder: pictures come back, and latents stay near a standard normal distribution.
//!
//! Source: *High-Resolution Image Synthesis with Latent Diffusion Models* (arXiv:2112.10752), without its perceptual
//! and adversarial losses, which a world of flat colours does not need. The sprite is a small part of a picture, so its
//! pixels weigh more.

use burn::tensor::{Tensor, TensorData};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{AutoencoderKL, ModelFiles, state};
use kinvert_video::{Clip, contact_sheet};
use kinvert_world::SIZE;

use super::data::{Draws, SceneFrame, held_out_frames, pictures, pixels, rendered};
use super::lesson::{Examination, Lesson, PartFile, Plain};
use crate::Error;

/// Weight of the divergence between the latents' distribution and the standard normal.
const KL_WEIGHT: f64 = 1e-6;

/// How much more a pixel weighs that the sprite covers.
const SPRITE_WEIGHT: f64 = 4.0;

/// Weight of absolute differences beside that of squared ones: they keep edges sharp.
const ABSOLUTE_WEIGHT: f64 = 0.05;

/// Pictures of an examination.
const EXAMINED: usize = 128;

/// The lesson; see the [module docs](self).
pub struct VaeLesson<B: TrackingBackend> {
    draws: Draws,
    config: Vec<u8>,
    /// Whether latents change, so that their scale must be found again.
    encoder_learns: bool,
    device: B::Device,
}

impl<B: TrackingBackend> VaeLesson<B> {
    /// What `vae/` of a model is trained with.
    ///
    /// # Errors
    /// If its configuration cannot be read.
    pub fn new(
        vae: &ModelFiles,
        draws: Draws,
        encoder_learns: bool,
        device: &B::Device,
    ) -> Result<Self, Error> {
        Ok(Self {
            draws,
            config: vae.read("config.json")?.into_owned(),
            encoder_learns,
            device: device.clone(),
        })
    }
}

/// Weights of pixels, `[pictures, 1, height, width]`, one in the mean.
fn pixel_weights<B: TrackingBackend>(frames: &[SceneFrame], device: &B::Device) -> Tensor<B, 4> {
    let side = SIZE as usize;
    let weights = frames.iter().flat_map(|frame| {
        let coverage = frame.scene.coverage(frame.frame);
        coverage
            .into_iter()
            .map(|covered| (1.0 + SPRITE_WEIGHT * covered) as f32)
    });
    let weights: Vec<f32> = weights.collect();
    let mean = weights.iter().sum::<f32>() / weights.len() as f32;
    let shape = [frames.len(), 1, side, side];
    Tensor::from_data(TensorData::new(weights, shape), device) / mean
}

impl<B: TrackingBackend> Lesson<B> for VaeLesson<B> {
    type Network = AutoencoderKL<B>;

    fn loss(&self, network: &Self::Network, step: usize) -> Tensor<B, 1> {
        let frames = self.draws.frames(step);
        let images = pixels::<B>(&rendered(&frames), &self.device);
        let posterior = network.encode(images.clone());
        let noise = self.draws.source().gaussian(
            "posterior",
            step as u64,
            posterior.mean.dims(),
            &self.device,
        );
        let decoded = network.decode(posterior.sample(noise));
        let error = decoded - images;
        let per_pixel = error.clone().square() + error.abs() * ABSOLUTE_WEIGHT;
        let reconstruction = (per_pixel * pixel_weights(&frames, &self.device)).mean();
        let divergence =
            posterior.mean.square() + posterior.logvar.clone().exp() - posterior.logvar - 1.0;
        reconstruction + divergence.sum() * (0.5 * KL_WEIGHT / frames.len() as f64)
    }

    fn examine(&self, network: &Plain<B, Self>) -> Result<Examination, Error> {
        let frames = held_out_frames(EXAMINED);
        let originals = rendered(&frames);
        let mut decoded = Vec::new();
        for originals in originals.chunks(16) {
            let latents = network.encode(pixels(originals, &self.device)).mean;
            decoded.extend(pictures(network.decode(latents)));
        }
        let of_picture = |(one, other): (&image::RgbImage, &image::RgbImage)| {
            let levels = one.as_raw().iter().zip(other.as_raw());
            let squares: f64 = levels
                .map(|(one, other)| (f64::from(*one) - f64::from(*other)).powi(2))
                .sum();
            let mean = squares / one.as_raw().len() as f64;
            10.0 * (255.0_f64.powi(2) / mean.max(1e-6)).log10()
        };
        let psnr = originals.iter().zip(&decoded).map(of_picture).sum::<f64>() / EXAMINED as f64;
        let shown = |pictures: &[image::RgbImage]| Clip::new(pictures[..12].to_vec(), 8.0);
        let (originals, decoded) = (shown(&originals)?, shown(&decoded)?);
        let rows = [("held out", &originals), ("decoded", &decoded)];
        Ok(Examination {
            measure: "PSNR in dB",
            value: psnr,
            sheet: Some(contact_sheet(&rows, 12)?),
        })
    }

    fn files(&self, network: &Plain<B, Self>) -> Result<Vec<PartFile>, Error> {
        let weights = PartFile::Weights("vae/diffusion_pytorch_model.safetensors", state(network));
        if !self.encoder_learns {
            return Ok(vec![weights]);
        }
        let invalid = |source| Error::Configuration {
            path: "vae/config.json".into(),
            source,
        };
        let mut config: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&self.config).map_err(invalid)?;
        config.insert("scaling_factor".into(), self.scaling_factor(network).into());
        let config = serde_json::to_vec_pretty(&config).map_err(invalid)?;
        Ok(vec![weights, PartFile::Bytes("vae/config.json", config)])
    }
}

impl<B: TrackingBackend> VaeLesson<B> {
    /// What gives latents a variance of one, which the diffusion model works on: to five digits after the point.
    fn scaling_factor(&self, network: &AutoencoderKL<B::InnerBackend>) -> f64 {
        let (mut squares, mut numbers) = (0.0, 0);
        for frames in held_out_frames(240).chunks(16) {
            let mean = network.encode(pixels(&rendered(frames), &self.device)).mean;
            let values = mean.into_data();
            squares += values.iter::<f64>().map(|value| value * value).sum::<f64>();
            numbers += values.num_elements();
        }
        let factor = (numbers as f64 / squares.max(1e-12)).sqrt();
        (factor * 1e5).round() / 1e5
    }
}
