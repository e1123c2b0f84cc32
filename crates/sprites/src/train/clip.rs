//! Both towers of CLIP, against each other.
//!
//! Source: *Learning Transferable Visual Models From Natural Language Supervision* (arXiv:2103.00020). A batch holds
//! captions more than once, so each picture is compared with the captions of all looks, and each caption that occurs with
//! all pictures of the batch. The factor between cosines and logits stays as it is.

use burn::module::Param;
use burn::tensor::activation::log_softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use image::RgbImage;
use kinvert_nets::clip::{CLIPModel, CLIPTokenizer, ImagePreprocessor};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::parameters::{MapParameters, map_parameters};
use kinvert_nets::{ModelFiles, state};
use kinvert_world::SIZE;
use rayon::prelude::*;

use super::captions::{all_captions, number_of};
use super::data::{Draws, held_out_frames, rendered};
use super::lesson::{Examination, Lesson, PartFile, Plain};
use super::recipe::{Alias, Recipe};
use crate::Error;

/// Pictures of an examination: every caption twice.
const EXAMINED: usize = 480;

/// Largest spread of the blur that half of the pictures get, in pixels: generated clips are softer than the world.
const SOFTEST: f64 = 1.0;

/// What names of the text tower's parameters begin with.
const TEXT: &str = "text_model.";

/// The lesson; see the [module docs](self).
pub struct ClipLesson<B: TrackingBackend> {
    draws: Draws,
    preprocessor: ImagePreprocessor,
    captions: Tensor<B, 2, Int>,
    /// What the text tower makes of the captions, if it stays as it is.
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
            texts: texts_stay.then(|| network.text_output(captions.clone()).pooler_output.detach()),
            captions,
            device: device.clone(),
        })
    }

    fn pixel_values<P: Backend>(&self, pictures: &[RgbImage], device: &P::Device) -> Tensor<P, 4> {
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
            Some(texts) => network.text_embeds_of(texts.clone()),
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

/// Gives words the token embeddings of others.
///
/// # Errors
/// [`Error::Recipe`] if one of the words is not one token.
pub fn with_aliases<B: TrackingBackend>(
    network: CLIPModel<B>,
    clip: &ModelFiles,
    aliases: &[Alias],
) -> Result<CLIPModel<B>, Error> {
    struct Copy(Vec<[usize; 2]>);

    impl<B: Backend> MapParameters<B> for Copy {
        fn map<const D: usize>(
            &mut self,
            name: &str,
            parameter: Param<Tensor<B, D>>,
        ) -> Param<Tensor<B, D>> {
            if !name.ends_with("token_embedding.weight") {
                return parameter;
            }
            parameter.map(|mut rows| {
                for [to, from] in &self.0 {
                    let row = rows.clone().narrow(0, *from, 1);
                    let mut place = vec![0..1; D];
                    for (side, place) in rows.dims().into_iter().zip(&mut place) {
                        *place = 0..side;
                    }
                    place[0] = *to..to + 1;
                    rows = rows.slice_assign(place.as_slice(), row);
                }
                rows
            })
        }
    }

    let tokenizer = CLIPTokenizer::load(clip)?;
    let token = |word: &str| match tokenizer.encode(word).ids[..] {
        // Start, the word, end.
        [_, token, end, padding, ..] if end == padding => Ok(token as usize),
        _ => Err(Error::Recipe {
            field: "alias",
            found: format!("`{word}`"),
            expected: "a word that is one token",
        }),
    };
    let rows = aliases
        .iter()
        .map(|alias| Ok([token(&alias.word)?, token(&alias.means)?]));
    let rows = rows.collect::<Result<Vec<_>, Error>>()?;
    Ok(map_parameters(network, &mut Copy(rows)))
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
