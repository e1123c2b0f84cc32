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
}

/// One embedding or projection, and its first and second moment.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedTensor {
    /// `[positions, frames, channels]`; of a projection `[1, 2 * channels, channels]`.
    pub shape: [usize; 3],
    /// What is learned.
    pub value: Vec<f32>,
    /// The moments, once there was a step.
    pub moments: Option<[Vec<f32>; 2]>,
}

/// The entry of the header that says which run a checkpoint belongs to.
const FINGERPRINT: &str = "kinvert.run";

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
        let mut tensors = vec![(
            "losses".to_string(),
            vec![self.losses.len()],
            bytes(&self.losses),
        )];
        for (index, tensor) in self.tensors.iter().enumerate() {
            let mut add = |name: &str, values: &[f32]| {
                tensors.push((
                    format!("{index:04}.{name}"),
                    tensor.shape.to_vec(),
                    bytes(values),
                ));
            };
            add("value", &tensor.value);
            if let Some([first, second]) = &tensor.moments {
                add("moment_1", first);
                add("moment_2", second);
            }
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
        let floats = |name: &str| read_floats(&stored.tensor(name).ok()?, name).ok();
        let mut tensors = Vec::new();
        while let Ok(view) = stored.tensor(&format!("{:04}.value", tensors.len())) {
            let index = tensors.len();
            let moment = |name: &str| floats(&format!("{index:04}.{name}"));
            let moments = match (moment("moment_1"), moment("moment_2")) {
                (Some(first), Some(second)) => Some([first, second]),
                _ => None,
            };
            let value = read_floats(&view, "value").ok()?;
            let wanted = value.len();
            if moments
                .iter()
                .flatten()
                .any(|moment| moment.len() != wanted)
            {
                return None;
            }
            tensors.push(SavedTensor {
                shape: view.shape().try_into().ok()?,
                value,
                moments,
            });
        }
        Some(Self {
            losses: floats("losses")?,
            tensors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_for_its_own_run_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let checkpoint = Checkpoint {
            losses: vec![0.5, 0.25],
            tensors: vec![SavedTensor {
                shape: [1, 2, 2],
                value: vec![1.0, 2.0, 3.0, 4.0],
                moments: Some([vec![0.1; 4], vec![0.2; 4]]),
            }],
        };
        checkpoint.save(&path, "run a").unwrap();
        assert_eq!(Checkpoint::load(&path, "run a"), Some(checkpoint));
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
