//! Where the files of a model come from: a folder on disk, or data compiled into the program.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::Error;

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
}

impl ModelFiles {
    /// A folder on disk.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self {
            origin: Origin::Folder(path.into()),
            prefix: String::new(),
        }
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
        }
    }

    /// Whether the file is there.
    pub fn contains(&self, name: &str) -> bool {
        match &self.origin {
            Origin::Folder(folder) => folder.join(&self.prefix).join(name).is_file(),
            Origin::Embedded { files, .. } => {
                let path = format!("{}{name}", self.prefix);
                files.iter().any(|(p, _)| *p == path)
            }
        }
    }

    /// Reads a small file (configuration, vocabulary) whole.
    ///
    /// # Errors
    /// If it is missing, unreadable or larger than 64 MiB.
    pub fn read(&self, name: &str) -> Result<Cow<'static, [u8]>, Error> {
        match &self.origin {
            Origin::Embedded { .. } => self.embedded_file(name).map(Cow::Borrowed),
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
            Origin::Folder(folder) => {
                let path = folder.join(&self.prefix).join(name);
                let file = std::fs::File::open(&path).map_err(|e| Error::unreadable(&path, e))?;
                if file
                    .metadata()
                    .map_err(|e| Error::unreadable(&path, e))?
                    .len()
                    == 0
                {
                    return Ok(FileBytes::Static(&[])); // an empty file cannot be mapped
                }
                map_file(&file)
                    .map(|map| FileBytes::Mapped(Arc::new(map)))
                    .map_err(|e| Error::unreadable(&path, e))
            }
        }
    }

    /// Where a file lies on disk; `None` for what is compiled into the program.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        match &self.origin {
            Origin::Folder(folder) => Some(folder.join(&self.prefix).join(name)),
            Origin::Embedded { .. } => None,
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
        let Origin::Embedded { files, .. } = &self.origin else {
            return Err(Error::Missing {
                path: self.label(name),
            });
        };
        let path = format!("{}{name}", self.prefix);
        let found = files.iter().find(|(p, _)| *p == path);
        found
            .map(|(_, bytes)| *bytes)
            .ok_or_else(|| Error::Missing {
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
}

impl std::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

/// Maps a weight file, so that gigabytes of weights are paged in as they are converted, not held twice.
#[allow(unsafe_code)]
fn map_file(file: &std::fs::File) -> std::io::Result<Mmap> {
    // SAFETY: the map is only ever read as bytes, every offset is checked against its length, and any byte
    // pattern is a valid value. Another process that shortens the file meanwhile ends this one with SIGBUS,
    // as it would any program that maps weights; it cannot corrupt memory.
    unsafe { Mmap::map(file) }
}
