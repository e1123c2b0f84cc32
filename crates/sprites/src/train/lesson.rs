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

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn::module::Param;
    use burn::tensor::backend::Backend;
    use burn_flex::Flex;
    use kinvert_nets::parameters::{
        MapParameters, VisitParameters, map_parameters, visit_parameters,
    };
    use kinvert_nets::{AutoencoderKL, CLIPModel, Precision, VideoUNet};
    use kinvert_world::model::model_files;

    use super::*;
    use crate::train::clip::ClipLesson;
    use crate::train::data::Draws;
    use crate::train::optimiser::Optimiser;
    use crate::train::unet::UNetLesson;
    use crate::train::vae::VaeLesson;
    use crate::train::{Recipe, Stage};

    type B = Autodiff<Flex>;

    /// The gradient of one parameter.
    struct GradientOf<'a> {
        name: &'a str,
        gradients: &'a <B as burn::tensor::backend::AutodiffBackend>::Gradients,
        found: Option<Vec<f32>>,
    }

    impl VisitParameters<B> for GradientOf<'_> {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<B, D>>) {
            if name == self.name {
                let gradient = parameter.val().grad(self.gradients);
                self.found = gradient.map(|gradient| gradient.into_data().iter().collect());
            }
        }
    }

    /// Moves one parameter.
    struct Moved<'a> {
        name: &'a str,
        by: Vec<f32>,
    }

    impl MapParameters<B> for Moved<'_> {
        fn map<const D: usize>(
            &mut self,
            name: &str,
            parameter: Param<Tensor<B, D>>,
        ) -> Param<Tensor<B, D>> {
            if name != self.name {
                return parameter;
            }
            parameter.map(|old| {
                let by = Tensor::<B, 1>::from_floats(self.by.as_slice(), &old.device());
                (old.clone() + by.reshape(old.dims())).detach()
            })
        }
    }

    /// The slope of the loss along a parameter's gradient is the gradient's length.
    fn check_gradients<L: Lesson<B>>(lesson: &L, network: L::Network, names: &[&str]) {
        let optimiser = Optimiser::<Flex>::new(&network.valid(), &[]);
        let tracked: L::Network = optimiser.tracked(network.clone());
        let loss = lesson.loss(&tracked, 0);
        let value = number(loss.clone());
        let gradients = loss.backward();
        for name in names {
            let mut gradient = GradientOf {
                name,
                gradients: &gradients,
                found: None,
            };
            visit_parameters(&tracked, &mut gradient);
            let gradient = gradient
                .found
                .unwrap_or_else(|| panic!("{name} has no gradient"));
            let length = gradient
                .iter()
                .map(|g| f64::from(*g).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(length > 0.0, "{name}");
            let reach = (0.01 * value / length).min(0.02);
            let at = |reach: f64| {
                let by = gradient
                    .iter()
                    .map(|g| (f64::from(*g) * reach / length) as f32);
                let by = by.collect();
                let moved = map_parameters(network.clone(), &mut Moved { name, by });
                number(lesson.loss(&moved, 0))
            };
            let slope = (at(reach) - at(-reach)) / (2.0 * reach);
            let error = (slope / length - 1.0).abs();
            assert!(error < 0.03, "{name}: slope {slope}, gradient {length}");
        }
    }

    fn number<P: Backend>(loss: Tensor<P, 1>) -> f64 {
        loss.into_data().iter::<f64>().next().unwrap()
    }

    #[test]
    fn gradients_of_clip_agree_with_finite_differences() {
        let network = CLIPModel::load(&model_files().part("clip"), &Default::default()).unwrap();
        let recipe = Recipe::of(Stage::Clip, false);
        let draws = Draws::new(1, 6);
        let lesson = ClipLesson::<B>::new(
            &model_files(),
            &network,
            draws,
            &recipe,
            &Default::default(),
        )
        .unwrap();
        let names = [
            "text_model.embeddings.token_embedding.weight",
            "text_model.encoder.layers.1.self_attn.k_proj.weight",
            "text_projection.weight",
            "vision_model.embeddings.class_embedding",
            "vision_model.embeddings.patch_embedding.weight",
            "vision_model.embeddings.position_embedding.weight",
            "vision_model.pre_layrnorm.weight",
            "vision_model.encoder.layers.2.self_attn.q_proj.weight",
            "vision_model.encoder.layers.3.mlp.fc1.bias",
            "visual_projection.weight",
        ];
        check_gradients(&lesson, network, &names);
    }

    #[test]
    fn gradients_of_the_autoencoder_agree_with_finite_differences() {
        let files = model_files().part("vae");
        let network = AutoencoderKL::load(&files, &Default::default(), Precision::F32).unwrap();
        let draws = Draws::new(2, 1);
        let lesson = VaeLesson::<B>::new(&files, draws, true, &Default::default()).unwrap();
        let names = [
            "encoder.conv_in.weight",
            "encoder.down_blocks.1.downsamplers.0.conv.weight",
            "encoder.mid_block.attentions.0.to_q.weight",
            "quant_conv.bias",
            "post_quant_conv.weight",
            "decoder.mid_block.attentions.0.group_norm.weight",
            "decoder.up_blocks.0.upsamplers.0.conv.weight",
            "decoder.up_blocks.2.resnets.0.conv_shortcut.weight",
            "decoder.conv_norm_out.bias",
            "decoder.conv_out.weight",
        ];
        check_gradients(&lesson, network, &names);
    }

    #[test]
    fn gradients_of_the_denoising_network_agree_with_finite_differences() {
        let files = model_files();
        let (_, network) =
            VideoUNet::load(&files.part("unet"), &Default::default(), Precision::F32).unwrap();
        let draws = Draws::new(3, 1);
        let lesson = UNetLesson::<B>::new(&files, draws, false, &Default::default()).unwrap();
        let names = [
            "conv_in.weight",
            "time_embedding.linear_1.weight",
            "transformer_in.proj_in.weight",
            "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
            "down_blocks.0.temp_convs.0.conv1.2.weight",
            "mid_block.resnets.0.time_emb_proj.bias",
            "up_blocks.1.temp_attentions.0.transformer_blocks.0.ff.net.0.proj.weight",
            "up_blocks.2.temp_attentions.1.transformer_blocks.0.norm2.weight",
            "conv_out.bias",
        ];
        check_gradients(&lesson, network, &names);
    }
}
