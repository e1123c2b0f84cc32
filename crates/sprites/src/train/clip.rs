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
use kinvert_nets::{AutoencoderKL, ModelFiles, Precision, state};
use rayon::prelude::*;

use super::captions::{all_captions, number_of};
use super::data::{Draws, held_out_frames, pictures as decoded, pixels, rendered};
use super::lesson::{Examination, Lesson, PartFile, Plain};
use super::recipe::{Alias, Recipe};
use crate::judge::check_captions;
use crate::{Error, Judge};

/// Pictures of an examination: every caption twice.
const EXAMINED: usize = 480;

/// Pictures that go through the autoencoder at once.
const DECODED_AT_ONCE: usize = 16;

/// Largest spread of the blur that half of the pictures get, in pixels: generated clips are softer than the world.
const SOFTEST: f64 = 1.0;

/// What names of the text tower's parameters begin with.
const TEXT: &str = "text_model.";

/// The lesson; see the [module docs](self).
pub struct ClipLesson<B: TrackingBackend> {
    draws: Draws,
    /// Share of the pictures that go through the autoencoder.
    decoded: f64,
    vae: Option<AutoencoderKL<B::InnerBackend>>,
    preprocessor: ImagePreprocessor,
    tokenizer: CLIPTokenizer,
    captions: Tensor<B, 2, Int>,
    /// What the text tower makes of the captions, if it stays as it is.
    texts: Option<Tensor<B, 2>>,
    device: B::Device,
}

impl<B: TrackingBackend> ClipLesson<B> {
    /// What `clip/` of a model is trained with.
    ///
    /// # Errors
    /// If its tokenizer or its settings cannot be read, or the autoencoder is wanted and cannot be loaded.
    pub fn new(
        model: &ModelFiles,
        network: &CLIPModel<B>,
        draws: Draws,
        recipe: &Recipe,
        device: &B::Device,
    ) -> Result<Self, Error> {
        let clip = model.part("clip");
        let tokenizer = CLIPTokenizer::load(&clip)?;
        check_captions(&tokenizer, &clip)?;
        tokenizer.check_fits(network.text_config())?;
        let vae = match recipe.decoded > 0.0 {
            true => Some(AutoencoderKL::load(
                &model.part("vae"),
                device,
                Precision::F32,
            )?),
            false => None,
        };
        let captions = all_captions(&tokenizer, device);
        let texts_stay = recipe.keep.iter().any(|start| start == TEXT);
        Ok(Self {
            draws,
            decoded: recipe.decoded,
            vae,
            preprocessor: ImagePreprocessor::load(&clip)?,
            tokenizer,
            texts: texts_stay.then(|| network.text_output(captions.clone()).pooler_output.detach()),
            captions,
            device: device.clone(),
        })
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
        let pictures = frames.par_iter().zip(&indices).map(|(frame, index)| {
            let picture = frame.render();
            match source.uniform("soft", *index) {
                draw if draw < 0.5 => picture,
                draw => soften(&picture, (2.0 * draw - 1.0) * SOFTEST),
            }
        });
        let mut pictures: Vec<RgbImage> = pictures.collect();
        let chosen = indices.iter().enumerate();
        let chosen = chosen.filter(|(_, index)| source.uniform("decoded", **index) < self.decoded);
        let chosen: Vec<usize> = chosen.map(|(place, _)| place).collect();
        if let Some(vae) = &self.vae {
            for places in chosen.chunks(DECODED_AT_ONCE) {
                let originals: Vec<RgbImage> =
                    places.iter().map(|place| frames[*place].render()).collect();
                let latents = vae.encode(pixels(&originals, &self.device)).mean;
                for (place, decoded) in places.iter().zip(decoded(vae.decode(latents))) {
                    pictures[*place] = decoded;
                }
            }
        }
        (pictures, labels)
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
        let images = (pixels::<B>(&pictures, &self.device) + 1.0) / 2.0;
        let images = network.image_embeds(self.preprocessor.normalize(images)); // [N, P]
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
        let judge = Judge::new(
            network.clone(),
            &self.tokenizer,
            self.preprocessor.clone(),
            &self.device,
        );
        let frames = held_out_frames(EXAMINED);
        let found = judge.looks(judge.embed(&rendered(&frames)))?;
        let pairs = found.iter().zip(&frames);
        let right = pairs
            .filter(|(look, frame)| **look == frame.scene.look)
            .count();
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
/// [`Error::Setting`] if one of the words is not one token.
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
        _ => Err(Error::setting("alias", word, "a word that is one token")),
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
