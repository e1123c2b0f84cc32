//! CLIP as judge of what frames show: of all captions, the one whose embedding is nearest.

use burn::tensor::{Int, Tensor, TensorData};
use image::RgbImage;
use kinvert_nets::ModelFiles;
use kinvert_nets::clip::{CLIPModel, CLIPTokenizer, ImagePreprocessor};
use kinvert_nets::kernels::NetBackend;
use kinvert_world::Look;

use crate::Error;

/// Frames that go through the network at once; bounds its memory.
const BATCH: usize = 64;

/// A CLIP, and the embedding of every caption of the sprite world.
pub struct Judge<B: NetBackend> {
    clip: CLIPModel<B>,
    preprocessor: ImagePreprocessor,
    looks: Vec<Look>,
    captions: Tensor<B, 2>, // [looks, projection]
    device: B::Device,
}

impl<B: NetBackend> Judge<B> {
    /// Loads the folder `clip/` of a model.
    ///
    /// # Errors
    /// [`Error::NoJudge`] if there is none; if it is damaged, its parts do not fit each other, or it cannot read a whole
    /// caption.
    pub fn load(model: &ModelFiles, device: &B::Device) -> Result<Self, Error> {
        let files = model.part("clip");
        if !files.contains("config.json") {
            return Err(Error::NoJudge {
                path: files.label("config.json"),
            });
        }
        let tokenizer = CLIPTokenizer::load(&files)?;
        check_captions(&tokenizer, &files)?;
        let clip = CLIPModel::load(&files, device)?;
        tokenizer.check_fits(clip.text_config())?;
        let preprocessor = ImagePreprocessor::load(&files)?;
        preprocessor.check_fits(clip.vision_config())?;
        Ok(Self::new(clip, &tokenizer, preprocessor, device))
    }

    /// A judge by a network at hand, such as one that is being trained.
    ///
    /// # Panics
    /// If the tokenizer or the preprocessor does not fit the network.
    pub fn new(
        clip: CLIPModel<B>,
        tokenizer: &CLIPTokenizer,
        preprocessor: ImagePreprocessor,
        device: &B::Device,
    ) -> Self {
        let looks: Vec<Look> = Look::all().collect();
        let ids: Vec<i64> = looks
            .iter()
            .flat_map(|look| tokenizer.encode(&look.caption()).ids)
            .collect();
        let ids = TensorData::new(ids, [looks.len(), tokenizer.max_length()]);
        let captions = clip.text_embeds(Tensor::<B, 2, Int>::from_data(ids, device));
        Self {
            clip,
            preprocessor,
            looks,
            captions,
            device: device.clone(),
        }
    }

    /// Embeddings of unit length, `[frames, projection]`, of frames of one size.
    ///
    /// # Panics
    /// If there is no frame, or they differ in size.
    pub fn embed(&self, frames: &[RgbImage]) -> Tensor<B, 2> {
        let batches = frames.chunks(BATCH).map(|batch| {
            let (width, height) = batch[0].dimensions();
            let bytes: Vec<u8> = batch
                .iter()
                .flat_map(|frame| frame.as_raw())
                .copied()
                .collect();
            let (height, width) = (height as usize, width as usize);
            let device = &self.device;
            let pixels = self
                .preprocessor
                .pixel_values(&bytes, height, width, device);
            self.clip.image_embeds(pixels)
        });
        Tensor::cat(batches.collect(), 0)
    }

    /// Embeddings of unit length, `[images, projection]`, of images `[images, 3, height, width]` in -1..1 that have the
    /// network's size: what an autoencoder gives, without rounding to levels. Values beyond are cut off.
    ///
    /// # Panics
    /// If the images have another shape.
    pub fn embed_pixels(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let images = (images.clamp(-1.0, 1.0) + 1.0) / 2.0;
        self.clip.image_embeds(self.preprocessor.normalize(images))
    }

    /// What each of the frames shows that embeddings `[frames, projection]` are of.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if an embedding is no number.
    pub fn looks(&self, embeddings: Tensor<B, 2>) -> Result<Vec<Look>, Error> {
        let cosines = self.cosines(embeddings); // [frames, looks]
        let cosines = finite(cosines)?;
        let rows = cosines.chunks_exact(self.looks.len());
        Ok(rows.filter_map(|row| self.nearest(row)).collect())
    }

    /// What the frames of a clip show that embeddings `[frames, projection]` are of: the caption that fits them best on
    /// average.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if an embedding is no number.
    pub fn look(&self, embeddings: Tensor<B, 2>) -> Result<Look, Error> {
        let mean = finite(self.cosines(embeddings).mean_dim(0))?; // [1, looks]
        let nothing = Error::NotFinite {
            what: "an embedding of a clip",
        };
        self.nearest(&mean).ok_or(nothing)
    }

    fn cosines(&self, embeddings: Tensor<B, 2>) -> Tensor<B, 2> {
        embeddings.matmul(self.captions.clone().transpose())
    }

    /// The look with the largest of as many cosines as there are looks.
    fn nearest(&self, cosines: &[f32]) -> Option<Look> {
        let looks = self.looks.iter().zip(cosines);
        let nearest = looks.max_by(|(_, a), (_, b)| a.total_cmp(b));
        nearest.map(|(look, _)| *look)
    }
}

/// Refuses a tokenizer that cuts captions: those that differ in the background alone would become one.
///
/// # Errors
/// [`Error::CaptionCut`].
pub(crate) fn check_captions(tokenizer: &CLIPTokenizer, files: &ModelFiles) -> Result<(), Error> {
    for look in Look::all() {
        let caption = look.caption();
        if let Some(cut) = tokenizer.encode(&caption).truncated {
            let path = files.label("");
            return Err(Error::CaptionCut { path, caption, cut });
        }
    }
    Ok(())
}

/// The values of a tensor of embeddings or cosines.
///
/// # Errors
/// [`Error::NotFinite`] unless all are numbers.
pub(crate) fn finite<B: NetBackend>(values: Tensor<B, 2>) -> Result<Vec<f32>, Error> {
    let values: Vec<f32> = values.into_data().iter::<f32>().collect();
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(Error::NotFinite {
            what: "an embedding of CLIP",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held_out_scene;
    use burn_flex::Flex;
    use kinvert_world::model::model_files;

    type B = Flex;

    fn judge() -> Judge<B> {
        Judge::load(&model_files(), &Default::default()).unwrap()
    }

    #[test]
    fn pixels_are_embedded_like_the_frames_they_come_from() {
        let judge = judge();
        let frames = &held_out_scene(3).render()[..3];
        let values: Vec<f32> = frames
            .iter()
            .flat_map(|frame| {
                let channels = 0..3;
                channels.flat_map(|channel| frame.as_raw().iter().skip(channel).step_by(3))
            })
            .map(|level| f32::from(*level) / 127.5 - 1.0)
            .collect();
        let pixels = Tensor::from_data(TensorData::new(values, [3, 3, 64, 64]), &judge.device);
        let difference = judge.embed(frames) - judge.embed_pixels(pixels);
        let largest: f32 = difference.abs().max().into_scalar();
        assert!(largest < 1e-5, "{largest}"); // roundings of f32 of values up to 1
    }

    #[test]
    fn a_clip_is_judged_by_the_mean_of_its_frames_in_any_order() {
        let judge = judge();
        let mut frames = held_out_scene(5).render();
        let clip = judge.look(judge.embed(&frames)).unwrap();
        let each = judge.looks(judge.embed(&frames)).unwrap();
        assert_eq!(each.len(), frames.len());
        frames.reverse();
        assert_eq!(judge.look(judge.embed(&frames)).unwrap(), clip);
        let one = judge.look(judge.embed(&frames[..1])).unwrap();
        assert_eq!(Some(&one), each.last());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let judge = judge();
        let embeddings = Tensor::<B, 2>::full([2, 64], f32::NAN, &judge.device);
        for error in [
            judge.look(embeddings.clone()).unwrap_err(),
            judge.looks(embeddings).unwrap_err(),
        ] {
            assert!(matches!(error, Error::NotFinite { .. }), "{error}");
        }
    }
}
