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

/// Arrays that depend on a clip and not on how its motion is learned.
pub(crate) const LATENTS: &str = "latents";
pub(crate) const INVERTED_LATENTS: &str = "inverted_latents";

/// Copies what is known of a clip from one workspace to another, as far as it is there: whoever learns its motion
/// in several ways computes it once. What belongs to another clip or model is not taken for this one's.
///
/// # Errors
/// [`Error::Io`] if it cannot be read or written.
pub fn share_latents(from: &Path, to: &Path) -> Result<(), Error> {
    for name in [LATENTS, INVERTED_LATENTS] {
        let [from, to] = [from, to].map(|folder| folder.join(format!("{name}.safetensors")));
        match std::fs::read(&from) {
            Ok(bytes) => {
                if let Some(folder) = to.parent() {
                    std::fs::create_dir_all(folder).map_err(Error::writing(folder))?;
                }
                write_file(&to, &bytes)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::reading(&from)(error)),
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latents_are_shared_and_keep_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        share_latents(&one, &other).unwrap(); // of nothing comes nothing
        assert!(!other.exists());
        let array = Array {
            shape: vec![1, 2],
            values: vec![0.5, -1.25],
        };
        Workspace::open(&one)
            .unwrap()
            .save(LATENTS, "a clip", &array)
            .unwrap();
        share_latents(&one, &other).unwrap();
        let other = Workspace::open(&other).unwrap();
        assert_eq!(other.load(LATENTS, "a clip"), Some(array));
        assert_eq!(other.load(LATENTS, "another clip"), None);
        assert_eq!(other.load(INVERTED_LATENTS, "a clip"), None);
    }
}
