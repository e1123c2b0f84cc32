//! The folder in which a run keeps what it can use again: latents, and the state of learning.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::atomic::write_file;
use crate::error::Error;
use crate::motion::{Array, read_floats};

/// A folder; its files are named by what they hold, and each carries the key of what it was made from.
pub struct Workspace {
    folder: PathBuf,
}

/// The entry of a file's header that holds its key.
const KEY: &str = "kinvert.key";

impl Workspace {
    /// Opens a folder, making it if need be.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::writing(folder))?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    /// Where the state of learning is kept.
    pub fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint.safetensors")
    }

    /// Keeps an array.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn save(&self, name: &str, key: &str, array: &Array<f32>) -> Result<(), Error> {
        let bytes: Vec<u8> = array
            .values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let view = TensorView::new(Dtype::F32, array.shape.clone(), &bytes)
            .expect("an array has as many values as its shape says");
        let header = HashMap::from([(KEY.to_string(), key.to_string())]);
        let contents =
            safetensors::serialize([(name, view)], Some(header)).expect("name and shape are valid");
        write_file(&self.file(name), &contents)
    }

    /// The array, if a whole one made from the same things is there.
    pub fn load(&self, name: &str, key: &str) -> Option<Array<f32>> {
        let bytes = std::fs::read(self.file(name)).ok()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        if header.metadata().as_ref()?.get(KEY)? != key {
            return None;
        }
        let stored = SafeTensors::deserialize(&bytes).ok()?;
        let view = stored.tensor(name).ok()?;
        Some(Array {
            shape: view.shape().to_vec(),
            values: read_floats(&view, name).ok()?,
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.safetensors"))
    }
}
