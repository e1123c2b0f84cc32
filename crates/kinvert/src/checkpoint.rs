//! The state of learning on disk, so that a run that was stopped goes on where it was.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::atomic::write_file;
use crate::error::Error;
use crate::motion::read_floats;

/// Everything that a learner needs to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Loss of every step that was done.
    pub losses: Vec<f32>,
    /// Embeddings and projections with the optimiser's moments, in the learner's order.
    pub tensors: Vec<SavedTensor>,
    /// The LoRA that is learned beside them, if there is one.
    pub lora: Option<SavedLora>,
}

/// A LoRA that is being learned.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedLora {
    /// Loss of every step that had it on.
    pub losses: Vec<f32>,
    /// Its matrices with the optimiser's moments, in the learner's order.
    pub tensors: Vec<SavedTensor>,
}

/// Something learned, and its first and second moment.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedTensor {
    /// `[positions, frames, channels]`; of a projection `[1, 2 * channels, channels]`; of a matrix of a LoRA
    /// `[1, rows, columns]`.
    pub shape: [usize; 3],
    /// What is learned.
    pub value: Vec<f32>,
    /// The moments, once there was a step.
    pub moments: Option<[Vec<f32>; 2]>,
}

/// The entry of the header that says which run a checkpoint belongs to.
const FINGERPRINT: &str = "kinvert.run";

/// What stands before the names of the LoRA's entries.
const LORA: &str = "lora.";

impl Checkpoint {
    /// Writes the checkpoint of the run that `fingerprint` identifies.
    ///
    /// # Errors
    /// [`Error::Io`]; what was at `path` before is then still there.
    pub fn save(&self, path: &Path, fingerprint: &str) -> Result<(), Error> {
        let bytes = |values: &[f32]| {
            values
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let mut tensors = Vec::new();
        let mut add = |prefix: &str, losses: &[f32], learned: &[SavedTensor]| {
            let name = format!("{prefix}losses");
            tensors.push((name, vec![losses.len()], bytes(losses)));
            for (index, tensor) in learned.iter().enumerate() {
                let mut add = |name: &str, values: &[f32]| {
                    let name = format!("{prefix}{index:04}.{name}");
                    tensors.push((name, tensor.shape.to_vec(), bytes(values)));
                };
                add("value", &tensor.value);
                if let Some([first, second]) = &tensor.moments {
                    add("moment_1", first);
                    add("moment_2", second);
                }
            }
        };
        add("", &self.losses, &self.tensors);
        if let Some(lora) = &self.lora {
            add(LORA, &lora.losses, &lora.tensors);
        }
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes)
                .expect("every tensor has as many values as its shape says");
            (name.as_str(), view)
        });
        let header = HashMap::from([(FINGERPRINT.to_string(), fingerprint.to_string())]);
        let contents =
            safetensors::serialize(views, Some(header)).expect("names and shapes are valid");
        write_file(path, &contents)
    }

    /// Reads a checkpoint if there is a whole one and it belongs to the run.
    pub fn load(path: &Path, fingerprint: &str) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        if header.metadata().as_ref()?.get(FINGERPRINT)? != fingerprint {
            return None;
        }
        let stored = SafeTensors::deserialize(&bytes).ok()?;
        let (losses, tensors) = load_learned(&stored, "")?;
        let lora = match stored.tensor(&format!("{LORA}losses")) {
            Ok(_) => Some(load_learned(&stored, LORA)?),
            Err(_) => None,
        };
        Some(Self {
            losses,
            tensors,
            lora: lora.map(|(losses, tensors)| SavedLora { losses, tensors }),
        })
    }
}

/// The losses and tensors whose names start with `prefix`, if they are whole.
fn load_learned(stored: &SafeTensors<'_>, prefix: &str) -> Option<(Vec<f32>, Vec<SavedTensor>)> {
    let floats = |name: &str| read_floats(&stored.tensor(name).ok()?, name).ok();
    let mut tensors = Vec::new();
    while let Ok(view) = stored.tensor(&format!("{prefix}{:04}.value", tensors.len())) {
        let index = tensors.len();
        let moment = |name: &str| floats(&format!("{prefix}{index:04}.{name}"));
        let moments = match (moment("moment_1"), moment("moment_2")) {
            (Some(first), Some(second)) => Some([first, second]),
            _ => None,
        };
        let value = read_floats(&view, "value").ok()?;
        let wanted = value.len();
        let mut lengths = moments.iter().flatten().map(Vec::len);
        if lengths.any(|length| length != wanted) {
            return None;
        }
        tensors.push(SavedTensor {
            shape: view.shape().try_into().ok()?,
            value,
            moments,
        });
    }
    Some((floats(&format!("{prefix}losses"))?, tensors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_for_its_own_run_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let tensor = SavedTensor {
            shape: [1, 2, 2],
            value: vec![1.0, 2.0, 3.0, 4.0],
            moments: Some([vec![0.1; 4], vec![0.2; 4]]),
        };
        let fresh = SavedTensor {
            moments: None,
            ..tensor.clone()
        };
        for lora in [
            Some(SavedLora {
                losses: Vec::new(),
                tensors: vec![fresh.clone(), fresh],
            }),
            None,
        ] {
            let checkpoint = Checkpoint {
                losses: vec![0.5, 0.25],
                tensors: vec![tensor.clone()],
                lora,
            };
            checkpoint.save(&path, "run a").unwrap();
            assert_eq!(Checkpoint::load(&path, "run a"), Some(checkpoint));
        }
        assert_eq!(Checkpoint::load(&path, "run b"), None);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
        assert_eq!(Checkpoint::load(&path, "run a"), None);
        assert_eq!(
            Checkpoint::load(&folder.path().join("absent"), "run a"),
            None
        );
    }
}
