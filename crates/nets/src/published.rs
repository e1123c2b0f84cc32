//! Where published models lie on this machine: found by name, never fetched.

use std::path::{Path, PathBuf};

use crate::error::{Error, TOKENIZER};
use crate::files::ModelFiles;

/// Variable that names a folder of models.
pub const MODELS_VARIABLE: &str = "KINVERT_MODELS";

/// The published name of Stable Diffusion 1.5.
pub const STABLE_DIFFUSION: &str = "stable-diffusion-v1-5/stable-diffusion-v1-5";

impl ModelFiles {
    /// The files of a model by the path of its folder, or by its published name, `organisation/model`. A name is
    /// looked for below the folder that `KINVERT_MODELS` names, and then in the cache of the Hugging Face hub
    /// (`HF_HUB_CACHE`, `HF_HOME/hub`, `~/.cache/huggingface/hub`), where its newest fetched revision is taken.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`] with the places that were looked at.
    pub fn find(name: &str) -> Result<Self, Error> {
        let mut tried = vec![PathBuf::from(name)];
        if is_published_name(name) {
            tried.extend(folder_of(MODELS_VARIABLE).map(|models| models.join(name)));
            if let Some(hub) = hub_cache() {
                let model = hub.join(format!("models--{}", name.replace('/', "--")));
                tried.push(snapshot(&model).unwrap_or(model));
            }
        }
        let is_model = |folder: &&PathBuf| {
            let mut files = ["config.json", "model_index.json"].into_iter();
            files.any(|file| folder.join(file).is_file())
        };
        match tried.iter().find(is_model) {
            Some(folder) => Ok(Self::folder(folder)),
            None => Err(Error::no_such_model(
                name,
                "a folder with a config.json",
                &tried,
            )),
        }
    }
}

/// The tokenizer of a [single file](ModelFiles::original) of Stable Diffusion 1.5, which has none: a folder
/// `tokenizer` or `stable-diffusion-v1-5/tokenizer` beside it, or that of [`STABLE_DIFFUSION`], if it is on this
/// machine.
///
/// # Errors
/// [`Error::NoSuchModel`] with the places that were looked at.
pub fn find_tokenizer(checkpoint: &Path) -> Result<ModelFiles, Error> {
    let beside = checkpoint.parent().unwrap_or(Path::new(""));
    let tried = ["tokenizer", "stable-diffusion-v1-5/tokenizer"].map(|name| beside.join(name));
    if let Some(folder) = tried.iter().find(|folder| folder.is_dir()) {
        return Ok(ModelFiles::folder(folder));
    }
    match ModelFiles::find(STABLE_DIFFUSION) {
        Ok(files) => Ok(files.part("tokenizer")),
        Err(Error::NoSuchModel { tried: places, .. }) => {
            let tried = tried.iter().map(|path| path.display().to_string());
            Err(Error::NoSuchModel {
                name: checkpoint.display().to_string(),
                what: TOKENIZER,
                tried: tried.chain(places).collect(),
            })
        }
        Err(error) => Err(error),
    }
}

/// A weight file by its path, or, without one, by its published name: below the folder that `KINVERT_MODELS`
/// names, and then among the files that PyTorch's hub has fetched (`TORCH_HOME/hub/checkpoints`,
/// `~/.cache/torch/hub/checkpoints`).
///
/// # Errors
/// [`Error::NoSuchModel`] with the places that were looked at.
pub fn find_weights(path: Option<&Path>, published: &str) -> Result<PathBuf, Error> {
    let tried: Vec<PathBuf> = match path {
        Some(path) => vec![path.to_owned()],
        None => {
            let torch = folder_of("TORCH_HOME").or_else(|| Some(home()?.join(".cache/torch")));
            let folders = [
                folder_of(MODELS_VARIABLE),
                torch.map(|torch| torch.join("hub/checkpoints")),
            ];
            folders
                .into_iter()
                .flatten()
                .map(|folder| folder.join(published))
                .collect()
        }
    };
    match tried.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(Error::no_such_model(published, "a weight file", &tried)),
    }
}

/// Whether a name cannot climb out of the folder it is looked for in.
fn is_published_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    name.split('/').count() <= 2 && name.split('/').all(is_part)
}

fn hub_cache() -> Option<PathBuf> {
    folder_of("HF_HUB_CACHE")
        .or_else(|| Some(folder_of("HF_HOME")?.join("hub")))
        .or_else(|| Some(home()?.join(".cache/huggingface/hub")))
}

/// The fetched files of a model in the hub's cache: those of the branch `main`.
fn snapshot(model: &Path) -> Option<PathBuf> {
    let revision = std::fs::read_to_string(model.join("refs/main")).ok()?;
    let revision = revision.trim();
    is_published_name(revision).then(|| model.join("snapshots").join(revision))
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

fn folder_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_climb() {
        for name in ["openai/clip-vit-large-patch14", "clip", "a/b.c_d-1"] {
            assert!(is_published_name(name), "{name}");
        }
        for name in [
            "", "/etc", "../x", "a/../b", "a/b/c", "a//b", "a b", ".hidden", "c:\\x",
        ] {
            assert!(!is_published_name(name), "{name}");
        }
    }

    #[test]
    fn the_hub_s_main_revision_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let refs = folder.path().join("refs");
        std::fs::create_dir(&refs).unwrap();
        std::fs::write(refs.join("main"), "0123abc\n").unwrap();
        assert_eq!(
            snapshot(folder.path()),
            Some(folder.path().join("snapshots/0123abc"))
        );
        std::fs::write(refs.join("main"), "../../x").unwrap();
        assert_eq!(snapshot(folder.path()), None);
    }

    #[test]
    fn what_is_not_there_is_said_with_the_places() {
        let error = ModelFiles::find("no-such/model").unwrap_err();
        assert!(error.to_string().contains("no-such/model"), "{error}");
        let error = find_weights(Some(Path::new("no/such.pth")), "x.pth").unwrap_err();
        assert!(error.to_string().contains("no/such.pth"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let files = ModelFiles::find(folder.path().to_str().unwrap()).unwrap();
        assert!(files.contains("config.json"));
    }
}
