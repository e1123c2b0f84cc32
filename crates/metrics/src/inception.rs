//! The FID Inception network as a source of features.

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use kinvert_nets::kernels::{NetBackend, TrackingBackend};
use kinvert_nets::{Device, InceptionResize, InceptionV3, ModelFiles, OnDevice};

use crate::Error;
use crate::frames::{FrameEncoder, same_size, to_rows};
use crate::record::ModelStamp;

/// Loads the network from a weight file as pytorch-fid or torch-fidelity publishes it, or the same as safetensors.
///
/// # Errors
/// [`Error::Model`] if the file is missing, damaged or of another network.
pub fn load_inception(
    path: &Path,
    resize: InceptionResize,
    device: Device,
) -> Result<Box<dyn FrameEncoder>, Error> {
    device.run(Load { path, resize })
}

struct Load<'a> {
    path: &'a Path,
    resize: InceptionResize,
}

impl OnDevice for Load<'_> {
    type Output = Result<Box<dyn FrameEncoder>, Error>;

    fn run<B: TrackingBackend>(self, device: &B::Device) -> Self::Output {
        let Self { path, resize } = self;
        let network = InceptionV3::<B::InnerBackend>::load(path, device)?.with_resize(resize);
        let (files, name) = ModelFiles::around(path);
        let stamp = ModelStamp {
            name: "inception-v3-fid".into(),
            sha256: Some(files.file_sha256(&name)?),
        };
        Ok(Box::new(Loaded::<B> {
            network,
            preprocessing: format!("299x299 px, bilinear as {resize}; 2048 pool features"),
            stamp,
            device: device.clone(),
        }))
    }
}

struct Loaded<B: AutodiffBackend<InnerBackend: NetBackend>> {
    network: InceptionV3<B::InnerBackend>,
    preprocessing: String,
    stamp: ModelStamp,
    device: B::Device,
}

impl<B: AutodiffBackend<InnerBackend: NetBackend>> FrameEncoder for Loaded<B> {
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
            let plane = width as usize * height as usize;
            let mut values = vec![0.0_f32; batch.len() * 3 * plane];
            for (frame, values) in batch.iter().zip(values.chunks_exact_mut(3 * plane)) {
                for (position, pixel) in frame.pixels().enumerate() {
                    for channel in 0..3 {
                        values[channel * plane + position] = f32::from(pixel.0[channel]) / 255.0;
                    }
                }
            }
            let shape = [batch.len(), 3, height as usize, width as usize];
            let images: Tensor<B::InnerBackend, 4> =
                Tensor::from_data(TensorData::new(values, shape), &self.device);
            rows.extend(to_rows(self.network.features(images), &self.stamp)?);
        }
        Ok(rows)
    }
}
