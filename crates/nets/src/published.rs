//! Published models: their names, and where they lie on this machine. Nothing is fetched here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, TOKENIZER};
use crate::files::ModelFiles;

/// Variable that names a folder of models.
pub const MODELS_VARIABLE: &str = "KINVERT_MODELS";

/// The published name of Stable Diffusion 1.5.
pub const STABLE_DIFFUSION: &str = "stable-diffusion-v1-5/stable-diffusion-v1-5";

/// The branch whose newest commit is meant where nothing else is said.
pub const MAIN: &str = "main";

/// Most characters of a repository's name, its organisation included, and of a revision.
const MAX_NAME: usize = 193;
const MAX_REVISION: usize = 255;

/// What a model folder is looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// A text-to-video model in the diffusers layout: its parts in folders of their own, and a `model_index.json`.
    Pipeline,
    /// One network with its `config.json`, such as a CLIP or a motion adapter.
    Network,
}

impl ModelKind {
    /// The file that every such folder has.
    pub fn marker(self) -> &'static str {
        match self {
            Self::Pipeline => "model_index.json",
            Self::Network => "config.json",
        }
    }
}

/// The name of a model that is published on the Hugging Face hub: `organisation/model`, or `organisation/model@revision`
/// with a branch, a tag or the hash of a commit. It can be part of a path or of an address without leading elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName {
    repository: String,
    revision: String,
}

impl ModelName {
    /// `organisation/model`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The branch, tag or commit; `main` unless the name says another.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The same model at a branch, a tag or a commit.
    ///
    /// # Errors
    /// [`Error::ModelName`] if it is none.
    pub fn with_revision(self, revision: &str) -> Result<Self, Error> {
        match revision_fault(revision) {
            None => Ok(Self {
                revision: revision.into(),
                ..self
            }),
            Some(reason) => Err(Error::ModelName {
                found: format!("{}@{revision}", self.repository),
                reason,
            }),
        }
    }

    /// The folder of the model in the hub's cache.
    pub fn cache_folder(&self, cache: &Path) -> PathBuf {
        let name = self.repository.replace('/', "--");
        cache.join(format!("{CACHED_MODEL}{name}"))
    }

    /// The folder of this model's fetched files in the hub's cache, if the revision was fetched. Files may be missing
    /// in it.
    pub fn snapshot(&self, cache: &Path) -> Option<PathBuf> {
        let folder = self.cache_folder(cache);
        let commit = if is_commit(&self.revision) {
            self.revision.clone()
        } else {
            let commit = std::fs::read_to_string(folder.join("refs").join(&self.revision)).ok()?;
            commit.trim().to_owned()
        };
        let snapshot = folder.join("snapshots").join(&commit);
        (is_commit(&commit) && snapshot.is_dir()).then_some(snapshot)
    }

    /// The model whose fetched files a folder of the hub's cache holds, and their commit: the other way round than
    /// [`snapshot`](Self::snapshot).
    pub fn of_snapshot(folder: &Path) -> Option<Self> {
        let commit = folder.file_name()?.to_str()?;
        let snapshots = folder.parent()?;
        let model = snapshots.parent()?.file_name()?.to_str()?;
        let name = model.strip_prefix(CACHED_MODEL)?.replacen("--", "/", 1);
        if snapshots.file_name()? != "snapshots" || !is_commit(commit) {
            return None;
        }
        name.parse::<Self>().ok()?.with_revision(commit).ok()
    }
}

/// What names of folders in the hub's cache begin with that hold models.
const CACHED_MODEL: &str = "models--";

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let name = Self {
            repository: repository.into(),
            revision: MAIN.into(),
        };
        match repository_fault(repository) {
            None => name.with_revision(revision),
            Some(reason) => Err(Error::ModelName {
                found: text.into(),
                reason,
            }),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        match self.revision.as_str() {
            MAIN => Ok(()),
            revision => write!(f, "@{revision}"),
        }
    }
}

/// What keeps a text from being the name of a repository, by the hub's own rules.
fn repository_fault(text: &str) -> Option<&'static str> {
    let mut parts = text.split('/');
    let (Some(organisation), Some(model), None) = (parts.next(), parts.next(), parts.next()) else {
        return Some("expected organisation/model");
    };
    if ![organisation, model].into_iter().all(is_plain) {
        return Some("expected letters, digits and `.`, `_`, `-` between them");
    }
    let edges = |part: &str| part.starts_with('-') || part.ends_with(['-', '.']);
    if edges(organisation) || edges(model) || text.contains("--") || text.contains("..") {
        return Some("`-` and `.` stand alone, and between other characters");
    }
    if model.ends_with(".git") {
        return Some("no model's name ends in .git");
    }
    (text.len() > MAX_NAME).then_some("it is too long")
}

/// What keeps a text from being a branch, a tag or a commit.
fn revision_fault(text: &str) -> Option<&'static str> {
    if !text.split('/').all(is_plain) || text.contains("..") {
        return Some("expected a branch, a tag or the hash of a commit behind the `@`");
    }
    (text.len() > MAX_REVISION).then_some("its revision is too long")
}

/// Whether a text is one component of a path, and no odd one.
fn is_plain(text: &str) -> bool {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && !text.starts_with('.') && text.chars().all(is_usual)
}

/// Whether a text is the hash of a commit: 40 digits, lower case.
pub fn is_commit(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 40 && text.bytes().all(is_digit)
}

impl ModelFiles {
    /// The files of a model by the path of its folder, or by its published name. A folder that is there comes first; a
    /// name is looked for below the folder that `KINVERT_MODELS` names, and then in [`hub_cache`], where the revision
    /// that the name says is taken.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`] with the places that were looked at.
    pub fn find(name: &str, kind: ModelKind) -> Result<Self, Error> {
        Self::find_in(hub_cache().as_deref(), name, kind)
    }

    /// As [`find`](Self::find), with another folder than [`hub_cache`], or none.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_in(cache: Option<&Path>, name: &str, kind: ModelKind) -> Result<Self, Error> {
        let folder = PathBuf::from(name);
        if folder.is_dir() && (kind == ModelKind::Pipeline || has_marker(&folder, kind)) {
            return Ok(Self::folder(folder));
        }
        let mut named = Vec::new();
        if name.split('/').count() <= 2 && name.split('/').all(is_plain) {
            named.extend(models_folder().map(|models| models.join(name)));
        }
        if let (Ok(name), Some(cache)) = (name.parse::<ModelName>(), cache) {
            let snapshot = name.snapshot(cache);
            named.push(snapshot.unwrap_or_else(|| name.cache_folder(cache)));
        }
        match named.iter().find(|folder| has_marker(folder, kind)) {
            Some(folder) => Ok(Self::folder(folder)),
            None => {
                named.insert(0, folder);
                let what = match kind {
                    ModelKind::Pipeline => "folder with a model_index.json",
                    ModelKind::Network => "folder with a config.json",
                };
                Err(Error::no_such_model(name, what, &named))
            }
        }
    }
}

fn has_marker(folder: &Path, kind: ModelKind) -> bool {
    folder.join(kind.marker()).is_file()
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
    match ModelFiles::find(STABLE_DIFFUSION, ModelKind::Pipeline) {
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
                models_folder(),
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
        None => Err(Error::no_such_model(published, "weight file", &tried)),
    }
}

/// The folder that `KINVERT_MODELS` names.
pub fn models_folder() -> Option<PathBuf> {
    folder_of(MODELS_VARIABLE)
}

/// The folder in which the tools of the Hugging Face hub keep what they fetched: `HF_HUB_CACHE`, or `hub` in
/// [`hub_home`]. It need not exist. None if the user has no home.
pub fn hub_cache() -> Option<PathBuf> {
    folder_of("HF_HUB_CACHE")
        .or_else(|| folder_of("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(hub_home()?.join("hub")))
}

/// The folder of those tools: `HF_HOME`, or `huggingface` where the user's caches are.
pub fn hub_home() -> Option<PathBuf> {
    folder_of("HF_HOME").or_else(|| {
        let caches = folder_of("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")))?;
        Some(caches.join("huggingface"))
    })
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

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn names_are_read_with_and_without_a_revision() {
        for (text, repository, revision) in [
            (
                "openai/clip-vit-large-patch14",
                "openai/clip-vit-large-patch14",
                "main",
            ),
            ("a/b.c_d-1@v1.0", "a/b.c_d-1", "v1.0"),
            ("a/b@refs/pr/1", "a/b", "refs/pr/1"),
            (&format!("a/b@{COMMIT}"), "a/b", COMMIT),
        ] {
            let name: ModelName = text.parse().unwrap();
            assert_eq!((name.repository(), name.revision()), (repository, revision));
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn a_name_does_not_climb() {
        for text in [
            "", "a", "/etc", "../x", "a/..", "a/../b", "a/b/c", "a//b", "a/b ", ".a/b", "a/.b",
            "c:\\x", "a/b@", "a/b@../c", "a/b@/c", "a/b@c//d", "a/b@.c", "a--b/c", "a/b..c",
            "-a/b", "a/b-", "a/b.git", "ä/b",
        ] {
            let error = text.parse::<ModelName>().unwrap_err();
            assert!(error.hint().is_some(), "{text}: {error}");
        }
        assert!(
            format!("a/{}", "b".repeat(200))
                .parse::<ModelName>()
                .is_err()
        );
    }

    #[test]
    fn a_branch_leads_to_its_snapshot() {
        let cache = tempfile::tempdir().unwrap();
        let name: ModelName = "a/b".parse().unwrap();
        let folder = name.cache_folder(cache.path());
        assert!(folder.ends_with("models--a--b"));
        let snapshot = folder.join("snapshots").join(COMMIT);
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir(folder.join("refs")).unwrap();
        std::fs::write(folder.join("refs/main"), format!("{COMMIT}\n")).unwrap();
        assert_eq!(name.snapshot(cache.path()), Some(snapshot.clone()));
        let pinned = name.clone().with_revision(COMMIT).unwrap();
        assert_eq!(pinned.snapshot(cache.path()), Some(snapshot.clone()));
        assert_eq!(ModelName::of_snapshot(&snapshot), Some(pinned));
        assert_eq!(ModelName::of_snapshot(&folder), None);
        let other = name.clone().with_revision("v2").unwrap();
        assert_eq!(other.snapshot(cache.path()), None);
        std::fs::write(folder.join("refs/main"), "../../x").unwrap();
        assert_eq!(name.snapshot(cache.path()), None);
    }

    #[test]
    fn what_is_not_there_is_said_with_the_places() {
        let error = ModelFiles::find("no-such/model", ModelKind::Network).unwrap_err();
        assert!(error.to_string().contains("no-such/model"), "{error}");
        let error = find_weights(Some(Path::new("no/such.pth")), "x.pth").unwrap_err();
        assert!(error.to_string().contains("no/such.pth"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert!(ModelFiles::find(path, ModelKind::Network).is_err());
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let files = ModelFiles::find(path, ModelKind::Network).unwrap();
        assert!(files.contains("config.json"));
    }
}
