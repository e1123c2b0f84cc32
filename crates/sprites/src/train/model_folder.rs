//! The folder that a training writes: a whole model in the published layout.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::f16;
use kinvert_nets::{ModelFiles, NamedTensor};
use kinvert_world::model::model_file_names;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::lesson::PartFile;
use super::tokenizer;
use crate::Error;

/// Copies a model into a folder, unless one is there already. For one that is trained from scratch the tokenizer is made
/// anew.
///
/// # Errors
/// If a file cannot be read or written.
pub fn prepare(folder: &Path, from: &ModelFiles, from_scratch: bool) -> Result<(), Error> {
    if folder.join("model_index.json").exists() {
        return Ok(());
    }
    // The index comes last: with it the folder is a model.
    let index = |name: &&str| *name == "model_index.json";
    let (last, first): (Vec<&str>, Vec<&str>) = model_file_names().partition(index);
    for name in first.into_iter().chain(last) {
        if from.contains(name) {
            let bytes = match name.rsplit_once('/') {
                Some((_, "merges.txt")) if from_scratch => tokenizer::merges().into_bytes().into(),
                Some((_, "vocab.json")) if from_scratch => {
                    serde_json::Value::from(tokenizer::vocabulary())
                        .to_string()
                        .into_bytes()
                        .into()
                }
                _ => from.read(name)?,
            };
            write(&folder.join(name), &bytes)?;
        }
    }
    Ok(())
}

/// Writes parts of a model into its folder.
///
/// # Errors
/// If a file cannot be written.
pub fn write_parts(folder: &Path, parts: Vec<PartFile>) -> Result<(), Error> {
    for part in parts {
        match part {
            PartFile::Weights(name, tensors) => {
                let path = folder.join(name);
                let bytes = in_f16(&path, tensors)?;
                write(&path, &bytes)?;
            }
            PartFile::Bytes(name, bytes) => write(&folder.join(name), &bytes)?,
        }
    }
    Ok(())
}

/// A safetensors file of 16-bit floats, as PyTorch's tools write it.
fn in_f16(path: &Path, tensors: Vec<NamedTensor>) -> Result<Vec<u8>, Error> {
    let failed = |error: safetensors::SafeTensorError| Error::Io {
        path: path.into(),
        action: "writing",
        source: std::io::Error::other(error),
    };
    let halves: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|tensor| {
            let bytes = tensor.values.into_iter();
            let bytes = bytes
                .flat_map(|value| f16::from_f32(value).to_le_bytes())
                .collect();
            (tensor.name, tensor.shape, bytes)
        })
        .collect();
    let views = halves
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F16, shape.clone(), bytes).map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize(views, Some(metadata)).map_err(failed)
}

/// Writes a file, and the folder it lies in if that is missing.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Io {
        path: path.into(),
        action: "writing",
        source,
    };
    if let Some(folder) = path.parent() {
        create(folder)?;
    }
    kinvert_base::write_file(path, bytes).map_err(failed)
}

/// Makes a folder, if it is not there.
pub fn create(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        path: folder.into(),
        action: "creating",
        source,
    })
}

/// Where a stage keeps what is not part of the model.
pub fn stage_folder(folder: &Path, stage: super::Stage) -> PathBuf {
    folder.join("training").join(stage.name())
}
