//! Weights that tests change and save again.

use std::path::Path;

use kinvert_nets::{ModelFiles, Weights};
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
