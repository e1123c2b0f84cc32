//! Where the files of a model come from: a folder on disk, data compiled into the program, or a single file that
//! stands for a folder.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::original::{self, Part};
use crate::published::ModelName;
use crate::weights::Weights;

/// The largest configuration or vocabulary that is read. The largest published ones have a few megabytes.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Files compiled into the program: paths relative to the model's folder, and contents.
pub type EmbeddedFiles = &'static [(&'static str, &'static [u8])];

/// The files of a model, or of one part of it such as `unet/`.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    origin: Origin,
    /// Path below the origin, with a trailing slash unless empty.
    prefix: String,
}

#[derive(Clone, Debug)]
enum Origin {
    Folder(PathBuf),
    Embedded {
        name: &'static str,
        files: EmbeddedFiles,
    },
    /// A single file of another program, seen as the folder that it would be; see [`original`].
    Original(PathBuf),
}

impl ModelFiles {
    /// A folder on disk.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self {
            origin: Origin::Folder(path.into()),
            prefix: String::new(),
        }
    }

    /// A single file as the program of Stable Diffusion 1.5 saves its networks, or that of AnimateDiff its motion
    /// modules (safetensors, or a state dictionary of PyTorch, of which no code is run), seen as the folder that it
    /// would be in the diffusers layout, without a tokenizer.
    pub fn original(path: impl Into<PathBuf>) -> Self {
        Self {
            origin: Origin::Original(path.into()),
            prefix: String::new(),
        }
    }

    /// A folder, or, if the path is one of a file, that [file](Self::original).
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        match path.is_file() {
            true => Self::original(path),
            false => Self::folder(path),
        }
    }

    /// The single file that these files are seen in, if they are.
    pub fn original_path(&self) -> Option<&Path> {
        match &self.origin {
            Origin::Original(path) => Some(path),
            Origin::Folder(_) | Origin::Embedded { .. } => None,
        }
    }

    /// Whether this is a single file of Stable Diffusion 1.5 with all its networks, as far as their names tell.
    pub fn is_stable_diffusion(&self) -> bool {
        let unet = self.part("unet");
        self.original_path().is_some() && Weights::open(&unet, "diffusion_pytorch_model").is_ok()
    }

    /// The folder of a file, and the file's name in it.
    pub fn around(path: &Path) -> (Self, String) {
        let folder = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default();
        (Self::folder(folder), name.to_string_lossy().into_owned())
    }

    /// Files compiled into the program; `name` stands for them in messages.
    pub fn embedded(name: &'static str, files: EmbeddedFiles) -> Self {
        Self {
            origin: Origin::Embedded { name, files },
            prefix: String::new(),
        }
    }

    /// A part of the model, for example `unet`.
    pub fn part(&self, name: &str) -> Self {
        Self {
            origin: self.origin.clone(),
            prefix: format!("{}{name}/", self.prefix),
        }
    }

    /// How messages name a file, or the whole set with an empty name.
    pub fn label(&self, name: &str) -> String {
        match &self.origin {
            Origin::Folder(folder) => folder.join(&self.prefix).join(name).display().to_string(),
            Origin::Embedded { name: set, .. } => format!("{set}:{}{name}", self.prefix),
            Origin::Original(path) => {
                let inner = format!("{}{name}", self.prefix);
                let separator = if inner.is_empty() { "" } else { ":" };
                format!("{}{separator}{inner}", path.display())
            }
        }
    }

    /// What the whole set is called: a published name, the last part of the folder's path, the name of the
    /// embedded set, or the single file's name without its extension.
    pub fn name(&self) -> String {
        let label = self.label("");
        if let Some(published) = ModelName::of_snapshot(Path::new(&label)) {
            return published.repository().into();
        }
        let last = match &self.origin {
            Origin::Original(path) => path.file_stem(),
            Origin::Folder(_) | Origin::Embedded { .. } => Path::new(&label).file_name(),
        };
        let name = last.map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or(label)
    }

    /// Whether the file is there.
    pub fn contains(&self, name: &str) -> bool {
        match &self.origin {
            Origin::Folder(folder) => folder.join(&self.prefix).join(name).is_file(),
            Origin::Embedded { files, .. } => {
                let path = format!("{}{name}", self.prefix);
                files.iter().any(|(p, _)| *p == path)
            }
            Origin::Original(_) => {
                let path = format!("{}{name}", self.prefix);
                original::configuration(&path).is_some() || original::weights_at(&path).is_some()
            }
        }
    }

    /// Reads a small file (configuration, vocabulary) whole.
    ///
    /// # Errors
    /// If it is missing, unreadable or larger than 64 MiB.
    pub fn read(&self, name: &str) -> Result<Cow<'static, [u8]>, Error> {
        match &self.origin {
            Origin::Embedded { .. } | Origin::Original(_) => {
                self.embedded_file(name).map(Cow::Borrowed)
            }
            Origin::Folder(folder) => {
                let path = folder.join(&self.prefix).join(name);
                let found = std::fs::metadata(&path)
                    .map_err(|e| Error::unreadable(&path, e))?
                    .len();
                if found > MAX_TEXT_BYTES {
                    return Err(Error::TooLarge {
                        path: self.label(name),
                        found,
                        limit: MAX_TEXT_BYTES,
                    });
                }
                std::fs::read(&path)
                    .map(Cow::Owned)
                    .map_err(|e| Error::unreadable(&path, e))
            }
        }
    }

    /// Reads a small JSON file.
    ///
    /// # Errors
    /// As [`ModelFiles::read`], and if it is not the JSON that `T` describes.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.read(name)?).map_err(|source| Error::Json {
            path: self.label(name),
            source,
        })
    }

    /// Opens a weight file of any size without reading it yet.
    ///
    /// # Errors
    /// If it is missing or cannot be mapped into memory.
    pub fn open(&self, name: &str) -> Result<FileBytes, Error> {
        match &self.origin {
            Origin::Embedded { .. } => self.embedded_file(name).map(FileBytes::Static),
            Origin::Original(path) if self.weights_at(name).is_some() => open_file(path),
            Origin::Original(_) => self.embedded_file(name).map(FileBytes::Static),
            Origin::Folder(folder) => open_file(&folder.join(&self.prefix).join(name)),
        }
    }

    /// Whose weights a name stands for in a single file.
    pub(crate) fn weights_at(&self, name: &str) -> Option<Part> {
        self.original_path()?;
        original::weights_at(&format!("{}{name}", self.prefix))
    }

    /// Where a file lies on disk; `None` for what is compiled into the program.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        match &self.origin {
            Origin::Folder(folder) => Some(folder.join(&self.prefix).join(name)),
            Origin::Embedded { .. } => None,
            Origin::Original(path) => self.weights_at(name).map(|_| path.clone()),
        }
    }

    /// [`sha256_of`](Self::sha256_of) files of this set by their own names.
    ///
    /// # Errors
    /// If a file that is there cannot be read.
    pub fn sha256(&self, names: &[String]) -> Result<String, Error> {
        let named = |name: &String| (name.clone(), self.clone(), name.clone());
        Self::sha256_of(&names.iter().map(named).collect::<Vec<_>>())
    }

    /// SHA-256 over names and contents of files, as lower-case hexadecimal: for each the name it goes by, the set it
    /// is in and its name there. Files that are not there are passed over.
    ///
    /// # Errors
    /// If a file that is there cannot be read.
    pub fn sha256_of(named: &[(String, ModelFiles, String)]) -> Result<String, Error> {
        let mut hasher = Sha256::new();
        for (label, files, name) in named {
            if !files.contains(name) {
                continue;
            }
            let bytes = files.open(name)?;
            hasher.update((label.len() as u64).to_le_bytes());
            hasher.update(label.as_bytes());
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(&*bytes);
        }
        Ok(hexadecimal(hasher))
    }

    /// SHA-256 of one file's contents, as lower-case hexadecimal: what `sha256sum` prints.
    ///
    /// # Errors
    /// If the file is missing or cannot be read.
    pub fn file_sha256(&self, name: &str) -> Result<String, Error> {
        Ok(hexadecimal(Sha256::new().chain_update(&*self.open(name)?)))
    }

    fn embedded_file(&self, name: &str) -> Result<&'static [u8], Error> {
        let path = format!("{}{name}", self.prefix);
        let found = match &self.origin {
            Origin::Folder(_) => None,
            Origin::Embedded { files, .. } => {
                let found = files.iter().find(|(p, _)| *p == path);
                found.map(|(_, bytes)| *bytes)
            }
            Origin::Original(_) => original::configuration(&path),
        };
        found.ok_or_else(|| Error::Missing {
            path: self.label(name),
        })
    }
}

fn hexadecimal(hasher: Sha256) -> String {
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The contents of a weight file; cheap to clone.
#[derive(Clone, Debug)]
pub enum FileBytes {
    /// Compiled into the program.
    Static(&'static [u8]),
    /// Mapped from disk.
    Mapped(Arc<Mmap>),
    /// Computed.
    Owned(Arc<[u8]>),
}

impl std::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

fn open_file(path: &Path) -> Result<FileBytes, Error> {
    let unreadable = |e| Error::unreadable(path, e);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.len() == 0 {
        return Ok(FileBytes::Static(&[])); // an empty file cannot be mapped
    }
    let map = map_file(&file).map_err(unreadable)?;
    Ok(FileBytes::Mapped(Arc::new(map)))
}

/// Maps a weight file, so that gigabytes of weights are paged in as they are converted, not held twice.
#[allow(unsafe_code)]
fn map_file(file: &std::fs::File) -> std::io::Result<Mmap> {
    // SAFETY: the map is only ever read as bytes, every offset is checked against its length, and any byte
    // pattern is a valid value. Another process that shortens the file meanwhile ends this one with SIGBUS,
    // as it would any program that maps weights; it cannot corrupt memory.
    unsafe { Mmap::map(file) }
}
