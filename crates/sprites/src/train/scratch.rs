//! The values that training from scratch starts from, where the engine's own are not those of the reference
//! implementations.

use burn::module::Param;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use kinvert_nets::Published;
use kinvert_nets::parameters::{MapParameters, map_parameters};

/// Spread of embeddings of tokens and positions: that of CLIP.
const EMBEDDING_STD: f64 = 0.02;

/// Draws a network's parameters anew. The last convolution over frames of each layer is zero, so that a network that has
/// learned single frames treats clips frame by frame at first.
pub fn initialised<B: Backend, M: Published<B>>(network: M, device: &B::Device, seed: u64) -> M {
    struct Initialise;

    impl<B: Backend> MapParameters<B> for Initialise {
        fn map<const D: usize>(
            &mut self,
            name: &str,
            parameter: Param<Tensor<B, D>>,
        ) -> Param<Tensor<B, D>> {
            let is_embedding =
                name.ends_with("embedding.weight") || name.ends_with("class_embedding");
            let is_last_of_frames = name.contains("temp_convs.") && name.contains(".conv4.");
            match (
                is_embedding && !name.contains("patch_embedding"),
                is_last_of_frames,
            ) {
                (true, _) => parameter.map(|old| {
                    let spread = Distribution::Normal(0.0, EMBEDDING_STD);
                    Tensor::random(old.dims(), spread, &old.device())
                }),
                (_, true) => parameter.map(|old| Tensor::zeros_like(&old)),
                _ => parameter,
            }
        }
    }

    B::seed(device, seed);
    map_parameters(network, &mut Initialise)
}
