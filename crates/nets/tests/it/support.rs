//! Weights that tests change and save again, and what is checked of several networks.

use std::path::Path;

use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert_nets::{Hooks, ModelFiles, VideoUNet, Weights};
use kinvert_testkit::{Tolerance, assert_close, values};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Name, shape and values of a tensor.
pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// Every tensor of a network's folder.
pub fn tensors_of(files: &ModelFiles, stem: &str) -> Vec<NamedTensor> {
    let weights = Weights::open(files, stem).unwrap();
    let tensor = |name: &str| {
        let shape = weights.shape(name).unwrap().to_vec();
        (name.to_string(), shape, weights.values(name).unwrap())
    };
    weights.names().map(tensor).collect()
}

/// Writes a safetensors file.
pub fn save(path: &Path, tensors: &[NamedTensor]) {
    let bytes = tensors.iter().map(|(name, shape, values)| {
        let bytes: Vec<u8> = values.iter().copied().flat_map(f32::to_le_bytes).collect();
        (name, shape, bytes)
    });
    let bytes: Vec<_> = bytes.collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// Checks that a clip with several texts gives what as many clips, each with one of them, give.
pub fn check_several_texts(
    unet: &VideoUNet<Flex>,
    latents: Tensor<Flex, 5>,
    texts: Tensor<Flex, 3>,
) {
    let clip = latents.narrow(0, 0, 1);
    let count = texts.dims()[0];
    assert!(count > 1);
    let predict = |clip: &Tensor<Flex, 5>, texts| {
        unet.forward(clip.clone(), &[501.0], texts, Hooks::default())
    };
    let together = predict(&clip, texts.clone());
    let apart = (0..count).map(|index| predict(&clip, texts.clone().narrow(0, index, 1)));
    let apart = Tensor::cat(apart.collect(), 0);
    // Products are cut into tasks in another way, and add up in another order.
    let tolerance = Tolerance::Absolute(1e-5);
    assert_close("prediction", &values(together), &values(apart), tolerance);
}
