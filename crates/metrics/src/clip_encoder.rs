//! CLIP as the measures use it: frames and sentences to embeddings of unit length, on any device.

use burn::tensor::{Int, Tensor, TensorData};
use image::RgbImage;
use kinvert_nets::clip::{CLIPModel, CLIPTokenizer, ImagePreprocessor};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{Device, ModelFiles, OnDevice, weight_files};

use crate::Error;
use crate::frames::{FrameEncoder, same_size, to_rows};
use crate::record::ModelStamp;

/// A full CLIP: a [`FrameEncoder`] that also places sentences in the space of its embeddings.
pub trait CLIPEncoder: FrameEncoder {
    /// The embedding of a sentence, and how many of its tokens were cut off because more than fit.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    fn encode_text(&self, text: &str) -> Result<(Vec<f32>, Option<usize>), Error>;
}

/// Loads a CLIP folder in the layout of the transformers library: `config.json`, `model.safetensors` (or its
/// shards, or `pytorch_model.bin`), `preprocessor_config.json`, `vocab.json` and `merges.txt`.
///
/// # Errors
/// [`Error::Model`] if a file is missing, damaged, or does not fit the others.
pub fn load_clip(
    files: &ModelFiles,
    name: &str,
    device: Device,
) -> Result<Box<dyn CLIPEncoder>, Error> {
    device.run(Load { files, name })
}

struct Load<'a> {
    files: &'a ModelFiles,
    name: &'a str,
}

impl OnDevice for Load<'_> {
    type Output = Result<Box<dyn CLIPEncoder>, Error>;

    fn run<B: TrackingBackend>(self, device: &B::Device) -> Self::Output {
        let Self { files, name } = self;
        let network = CLIPModel::<B::InnerBackend>::load(files, device)?;
        let preprocessor = ImagePreprocessor::load(files)?;
        preprocessor.check_fits(network.vision_config())?;
        let tokenizer = CLIPTokenizer::load(files)?;
        tokenizer.check_fits(network.text_config())?;

        let mut hashed = weight_files(files, "model")?;
        for file in [
            "config.json",
            "preprocessor_config.json",
            "vocab.json",
            "merges.txt",
        ] {
            hashed.push(file.into());
        }
        let stamp = ModelStamp {
            name: name.into(),
            sha256: Some(files.sha256(&hashed)?),
        };
        Ok(Box::new(Loaded::<B> {
            network,
            preprocessing: format!("{preprocessor}; embeddings of unit length"),
            preprocessor,
            tokenizer,
            stamp,
            device: device.clone(),
        }))
    }
}

struct Loaded<B: TrackingBackend> {
    network: CLIPModel<B::InnerBackend>,
    preprocessor: ImagePreprocessor,
    preprocessing: String,
    tokenizer: CLIPTokenizer,
    stamp: ModelStamp,
    device: B::Device,
}

impl<B: TrackingBackend> FrameEncoder for Loaded<B> {
    fn stamp(&self) -> &ModelStamp {
        &self.stamp
    }

    fn preprocessing(&self) -> &str {
        &self.preprocessing
    }

    fn encode(&self, frames: &[RgbImage]) -> Result<Vec<Vec<f32>>, Error> {
        let mut rows = Vec::with_capacity(frames.len());
        for batch in same_size(frames) {
            let (width, height) = batch[0].dimensions();
            let bytes: Vec<u8> = batch
                .iter()
                .flat_map(|frame| frame.as_raw())
                .copied()
                .collect();
            let pixels: Tensor<B::InnerBackend, 4> = self.preprocessor.pixel_values(
                &bytes,
                height as usize,
                width as usize,
                &self.device,
            );
            rows.extend(to_rows(self.network.image_embeds(pixels), &self.stamp)?);
        }
        Ok(rows)
    }
}

impl<B: TrackingBackend> CLIPEncoder for Loaded<B> {
    fn encode_text(&self, text: &str) -> Result<(Vec<f32>, Option<usize>), Error> {
        let encoding = self.tokenizer.encode(text);
        let length = encoding.ids.len();
        let ids: Tensor<B::InnerBackend, 2, Int> =
            Tensor::from_data(TensorData::new(encoding.ids, [1, length]), &self.device);
        let mut rows = to_rows(self.network.text_embeds(ids), &self.stamp)?;
        Ok((rows.remove(0), encoding.truncated))
    }
}
