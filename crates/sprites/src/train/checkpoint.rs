//! Where a training stands, in one file: it goes on from there after any stop.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::optimiser::SavedParameter;
use super::recipe::Recipe;
use crate::Error;

/// Name of the file in the folder of a stage.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// What the four tensors of a parameter are called, after its name.
const TENSORS: [&str; 4] = ["value", "average", "moment_1", "moment_2"];

/// Key of the header's entry.
const PROGRESS: &str = "progress";

/// Everything that is needed to go on.
pub struct Checkpoint {
    /// What is being done.
    pub progress: Progress,
    /// The parameters and what the optimiser remembers of them.
    pub parameters: Vec<SavedParameter>,
}

/// How far a training is, and of what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// What is trained and how.
    pub recipe: Recipe,
    /// SHA-256 over the weights that it started from.
    pub started_from: String,
    /// Steps that are done.
    pub steps: usize,
    /// Loss of each of them.
    pub losses: Vec<f32>,
    /// What was measured on the way.
    pub measured: Vec<Measured>,
}

/// What the averaged network was worth after some steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Steps that were done.
    pub steps: usize,
    /// What was measured, for example `PSNR in dB`.
    pub measure: String,
    /// Its value.
    pub value: f64,
}

impl Checkpoint {
    /// Reads the checkpoint of a folder, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or is of something else.
    pub fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(CHECKPOINT);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let action = "reading";
                return Err(Error::Io {
                    path,
                    action,
                    source,
                });
            }
        };
        Self::parse(&bytes)
            .map(Some)
            .map_err(|reason| Error::Checkpoint { path, reason })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let progress = header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(PROGRESS));
        let progress: Progress = match progress {
            Some(text) => serde_json::from_str(text).map_err(|error| error.to_string())?,
            None => return Err(format!("has no entry `{PROGRESS}`")),
        };
        if progress.losses.len() != progress.steps || progress.steps > progress.recipe.steps {
            return Err(format!(
                "has {} losses of {} steps",
                progress.losses.len(),
                progress.steps
            ));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let order: Vec<String> = match header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get("order"))
        {
            Some(text) => serde_json::from_str(text).map_err(|error| error.to_string())?,
            None => return Err("has no entry `order`".into()),
        };
        let parameter = |name: String| {
            let mut shape = Vec::new();
            let mut values: [Vec<f32>; 4] = Default::default();
            for (values, tensor) in values.iter_mut().zip(TENSORS) {
                let view = tensors
                    .tensor(&format!("{name}.{tensor}"))
                    .map_err(|error| error.to_string())?;
                if view.dtype() != Dtype::F32 {
                    return Err(format!(
                        "`{name}.{tensor}` is {:?}, expected F32",
                        view.dtype()
                    ));
                }
                let (numbers, _) = view.data().as_chunks();
                *values = numbers
                    .iter()
                    .map(|bytes| f32::from_le_bytes(*bytes))
                    .collect();
                shape = view.shape().to_vec();
            }
            Ok(SavedParameter {
                name,
                shape,
                values,
            })
        };
        Ok(Self {
            progress,
            parameters: order.into_iter().map(parameter).collect::<Result<_, _>>()?,
        })
    }

    /// Writes it into a folder, in place of the one before.
    ///
    /// # Errors
    /// If it cannot be written; the one before is then still there.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(CHECKPOINT);
        let failed = |reason: String| Error::Checkpoint {
            path: path.clone(),
            reason,
        };
        let to_json = |text: Result<String, serde_json::Error>| {
            text.map_err(|error| failed(error.to_string()))
        };
        let order: Vec<&str> = self
            .parameters
            .iter()
            .map(|saved| saved.name.as_str())
            .collect();
        let metadata = HashMap::from([
            (
                PROGRESS.to_string(),
                to_json(serde_json::to_string(&self.progress))?,
            ),
            ("order".to_string(), to_json(serde_json::to_string(&order))?),
        ]);
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .parameters
            .iter()
            .flat_map(|saved| {
                saved.values.iter().zip(TENSORS).map(|(values, tensor)| {
                    let bytes = values
                        .iter()
                        .flat_map(|value| value.to_le_bytes())
                        .collect();
                    (
                        format!("{}.{tensor}", saved.name),
                        saved.shape.clone(),
                        bytes,
                    )
                })
            })
            .collect();
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(error.to_string()))?;
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| failed(error.to_string()))?;
        super::model_folder::write(&path, &bytes)
    }
}
