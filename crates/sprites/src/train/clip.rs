//! Both towers of CLIP, against each other.
//!
//! Source: *Learning Transferable Visual Models From Natural Language Supervision* (arXiv:2103.00020). A batch holds
//! captions more than once, so each picture is compared with the captions of all looks, and each caption that occurs with
//! all pictures of the batch. The factor between cosines and logits stays as it is.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use image::RgbImage;
use kinvert_nets::clip::{CLIPModel, CLIPTokenizer, ImagePreprocessor};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{ModelFiles, state};
use kinvert_world::SIZE;
use rayon::prelude::*;

use super::captions::{all_captions, number_of};
use super::data::{Draws, held_out_frames, rendered};
use super::lesson::{Examination, Lesson, PartFile, Plain};
use super::recipe::Recipe;
use crate::Error;

/// Pictures of an examination: every caption twice.
const EXAMINED: usize = 480;

/// Largest spread of the blur that half of the pictures get, in pixels: generated clips are softer than the world.
const SOFTEST: f64 = 1.0;

/// What names of the text tower's parameters and of its projection begin with.
const TEXT: &str = "text_";

/// The lesson; see the [module docs](self).
pub struct ClipLesson<B: TrackingBackend> {
    draws: Draws,
    preprocessor: ImagePreprocessor,
    captions: Tensor<B, 2, Int>,
    /// Embeddings of the captions, if they stay as they are.
    texts: Option<Tensor<B, 2>>,
    device: B::Device,
}

impl<B: TrackingBackend> ClipLesson<B> {
    /// What `clip/` of a model is trained with.
    ///
    /// # Errors
    /// If its tokenizer or its settings cannot be read.
    pub fn new(
        clip: &ModelFiles,
        network: &CLIPModel<B>,
        draws: Draws,
        recipe: &Recipe,
        device: &B::Device,
    ) -> Result<Self, Error> {
        let tokenizer = CLIPTokenizer::load(clip)?;
        let captions = all_captions(&tokenizer, device);
        let texts_stay = recipe.keep.iter().any(|start| start == TEXT);
        Ok(Self {
            draws,
            preprocessor: ImagePreprocessor::load(clip)?,
            texts: texts_stay.then(|| network.text_embeds(captions.clone()).detach()),
            captions,
            device: device.clone(),
        })
    }

    fn pixel_values<P: burn::tensor::backend::Backend>(
        &self,
        pictures: &[RgbImage],
        device: &P::Device,
    ) -> Tensor<P, 4> {
        let bytes: Vec<u8> = pictures
            .iter()
            .flat_map(|picture| picture.as_raw().clone())
            .collect();
        let side = SIZE as usize;
        self.preprocessor.pixel_values(&bytes, side, side, device)
    }

    /// The pictures of a step and the numbers of their looks.
    fn batch(&self, step: usize) -> (Vec<RgbImage>, Vec<usize>) {
        let frames = self.draws.frames(step);
        let labels = frames
            .iter()
            .map(|frame| number_of(frame.scene.look))
            .collect();
        let source = self.draws.source();
        let indices: Vec<u64> = self.draws.indices(step).collect();
        let pictures = frames.par_iter().zip(indices).map(|(frame, index)| {
            let picture = frame.render();
            match source.uniform("soft", index) {
                draw if draw < 0.5 => picture,
                draw => soften(&picture, (2.0 * draw - 1.0) * SOFTEST),
            }
        });
        (pictures.collect(), labels)
    }
}

fn soften(picture: &RgbImage, spread: f64) -> RgbImage {
    match spread {
        spread if spread < 0.1 => picture.clone(),
        spread => image::imageops::blur(picture, spread as f32),
    }
}

impl<B: TrackingBackend> Lesson<B> for ClipLesson<B> {
    type Network = CLIPModel<B>;

    fn loss(&self, network: &Self::Network, step: usize) -> Tensor<B, 1> {
        let (pictures, labels) = self.batch(step);
        let images = network.image_embeds(self.pixel_values(&pictures, &self.device)); // [N, P]
        let texts = match &self.texts {
            Some(texts) => texts.clone(),
            None => network.text_embeds(self.captions.clone()),
        }; // [240, P]
        let logits = network.logits_per_image(images, texts); // [N, 240]
        let [of_images, of_texts] = weights(&labels, logits.dims()[1])
            .map(|values| Tensor::from_data(TensorData::new(values, logits.dims()), &self.device));
        let for_images = (log_softmax(logits.clone(), 1) * of_images).sum();
        let for_texts = (log_softmax(logits, 0) * of_texts).sum();
        (for_images + for_texts) * -0.5
    }

    fn examine(&self, network: &Plain<B, Self>) -> Result<Examination, Error> {
        let texts = network.text_embeds(self.captions.clone().inner());
        let frames = held_out_frames(EXAMINED);
        let mut right = 0;
        for frames in frames.chunks(60) {
            let pixels = self.pixel_values(&rendered(frames), &self.device);
            let logits = network.logits_per_image(network.image_embeds(pixels), texts.clone());
            let best = logits.argmax(1).into_data();
            let looks = frames
                .iter()
                .map(|frame| number_of(frame.scene.look) as i64);
            right += best
                .iter::<i64>()
                .zip(looks)
                .filter(|(best, look)| best == look)
                .count();
        }
        Ok(Examination {
            measure: "exact captions",
            value: right as f64 / EXAMINED as f64,
            sheet: None,
        })
    }

    fn files(&self, network: &Plain<B, Self>) -> Result<Vec<PartFile>, Error> {
        let weights = state(network);
        let text_encoder = weights
            .iter()
            .filter(|tensor| tensor.name.starts_with("text_model."))
            .cloned()
            .collect();
        Ok(vec![
            PartFile::Weights("clip/model.safetensors", weights),
            PartFile::Weights("text_encoder/model.safetensors", text_encoder),
        ])
    }
}

/// Weights of the logarithms of probabilities, `[pictures, captions]`, among captions and among pictures: the mean over
/// pictures, and the mean over captions that occur of the mean over their pictures.
fn weights(labels: &[usize], captions: usize) -> [Vec<f32>; 2] {
    let mut counts = vec![0_usize; captions];
    for &label in labels {
        counts[label] += 1;
    }
    let occurring = counts.iter().filter(|count| **count > 0).count();
    let mut of_images = vec![0.0; labels.len() * captions];
    let mut of_texts = of_images.clone();
    for (row, &label) in labels.iter().enumerate() {
        of_images[row * captions + label] = 1.0 / labels.len() as f32;
        of_texts[row * captions + label] = 1.0 / (counts[label] * occurring) as f32;
    }
    [of_images, of_texts]
}
