//! Finding a model, wherever it is.

use std::path::PathBuf;

use kinvert_base::Progress;
use kinvert_nets::{ModelFiles, ModelKind, ModelName};

use crate::{Error, Hub};

impl Hub {
    /// The files of a model by the path of its folder, or by its published name. A folder that is there comes first, then
    /// the folder that `KINVERT_MODELS` names, then the cache; what is in none of them is pulled.
    ///
    /// # Errors
    /// If `name` is neither a folder nor a published name; as [`Hub::pull`].
    pub fn find(
        &self,
        name: &str,
        kind: ModelKind,
        progress: &mut dyn Progress,
    ) -> Result<ModelFiles, Error> {
        self.locate(name, kind, |name| match self.cached(name) {
            Some(snapshot) => Ok(snapshot),
            None => Ok(self.pull(name, None, progress)?.path),
        })
    }

    /// As [`find`](Self::find), but what is in none of the places is pulled without its weights.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_settings(
        &self,
        name: &str,
        kind: ModelKind,
        progress: &mut dyn Progress,
    ) -> Result<ModelFiles, Error> {
        self.locate(name, kind, |name| self.pull_settings(name, progress))
    }

    fn locate(
        &self,
        name: &str,
        kind: ModelKind,
        fetch: impl FnOnce(&ModelName) -> Result<PathBuf, Error>,
    ) -> Result<ModelFiles, Error> {
        let local = match ModelFiles::find_in(None, name, kind) {
            Ok(files) => return Ok(files),
            Err(error) => error,
        };
        let Ok(name) = name.parse::<ModelName>() else {
            return Err(local.into());
        };
        fetch(&name).map(ModelFiles::folder)
    }
}
