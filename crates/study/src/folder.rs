//! The folder of a study: what lies where.

use std::path::{Path, PathBuf};

use kinvert_nets::{ModelFiles, ModelKind, ModelName};

use crate::error::Error;
use crate::models::BUILT_IN_MODEL;
use crate::results::Results;
use crate::settings::MODEL;
use crate::source::ClipSource;
use crate::store::Store;
use crate::study::Study;

/// The study itself, for people to check and change.
pub const STUDY_FILE: &str = "study.toml";

/// All numbers.
pub const STORE_FILE: &str = "results.sqlite";

/// A folder in which a study lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyFolder {
    path: PathBuf,
}

impl StudyFolder {
    /// A folder with a study in it.
    ///
    /// # Errors
    /// [`Error::Folder`] if there is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.join(STUDY_FILE).is_file() {
            let path = path.to_owned();
            return Ok(Self { path });
        }
        let reason = format!("no {STUDY_FILE} in it, expected the folder of a study");
        Err(Error::Folder {
            path: path.to_owned(),
            reason,
        })
    }

    /// Puts a study into a folder, making it if need be. `origin` is the folder that relative paths of clips start
    /// in. If the same study is there already, nothing changes.
    ///
    /// # Errors
    /// [`Error::Folder`] if another study is there; if it cannot be written.
    pub fn create(path: &Path, study: &Study, origin: &Path) -> Result<Self, Error> {
        let mut study = study.clone();
        // Whatever folder the study was written in, here it must mean the same.
        for clip in &mut study.clips {
            let source = ClipSource::parse(&clip.path, origin)?;
            clip.path = source.absolute().to_string();
        }
        study.model = study.model.map(|model| absolute_model(&model, origin));
        for variant in &mut study.variants {
            let named = variant.settings.get(MODEL).and_then(toml::Value::as_str);
            if let Some(model) = named.map(|model| absolute_model(model, origin)) {
                variant.settings.set(MODEL, model)?;
            }
        }
        let folder = Self {
            path: path.to_owned(),
        };
        if folder.study_file().exists() {
            let there = folder.study()?;
            if there.hash() == study.hash() {
                return Ok(folder);
            }
            let reason = format!(
                "another study is there; choose another folder, or change its {STUDY_FILE} and run the folder"
            );
            return Err(Error::Folder {
                path: path.to_owned(),
                reason,
            });
        }
        std::fs::create_dir_all(path).map_err(Error::io(path, "writing"))?;
        study.write(&folder.study_file())?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The study as its file says now.
    ///
    /// # Errors
    /// As [`Study::read`].
    pub fn study(&self) -> Result<Study, Error> {
        Study::read(&self.study_file())
    }

    /// What it has given so far.
    ///
    /// # Errors
    /// [`Error::Folder`] if it was never run; those of reading the store.
    pub fn results(&self) -> Result<Results, Error> {
        self.store()?.results(&self.path)
    }

    /// Its store.
    ///
    /// # Errors
    /// [`Error::Folder`] if it was never run; those of opening the store.
    pub fn store(&self) -> Result<Store, Error> {
        let file = self.store_file();
        if file.is_file() {
            return Store::open(&file);
        }
        Err(Error::never_run(&self.path))
    }

    fn study_file(&self) -> PathBuf {
        self.path.join(STUDY_FILE)
    }

    pub(crate) fn store_file(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    /// Where processes at work have their locks.
    pub(crate) fn locks(&self) -> PathBuf {
        self.path.join("workers")
    }

    /// Files that are being written, or were when their process was killed.
    pub(crate) fn unfinished_files(&self) -> Vec<PathBuf> {
        let folders = ["clips", "motions"].map(|name| std::fs::read_dir(self.path.join(name)));
        let entries = folders.into_iter().flatten().flatten().flatten();
        entries
            .filter(|entry| {
                let name = entry.file_name();
                name.to_string_lossy().starts_with(kinvert_base::UNFINISHED)
            })
            .map(|entry| entry.path())
            .collect()
    }

    /// The learned motion of a key.
    pub(crate) fn motion_file(&self, key: &str) -> PathBuf {
        self.path
            .join("motions")
            .join(format!("{}.motion.safetensors", short(key)))
    }

    /// Where latents of a reference are kept while its motions are learned.
    pub(crate) fn latents(&self, sha256: &str) -> PathBuf {
        self.work().join(format!("clip-{}", short(sha256)))
    }

    /// Everything that is of use while motions are learned, and of none afterwards.
    pub(crate) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Where the state of learning is kept for a key.
    pub(crate) fn workspace(&self, key: &str) -> PathBuf {
        self.work().join(short(key))
    }
}

/// A model's folder as an absolute path; the built-in model and published ones that were fetched have names.
fn absolute_model(model: &str, origin: &Path) -> String {
    let path = origin.join(model);
    let is_published = || {
        let is_found = ModelFiles::find(model, ModelKind::Pipeline).is_ok();
        !path.is_dir() && is_found && model.parse::<ModelName>().is_ok()
    };
    if model == BUILT_IN_MODEL || is_published() {
        return model.into();
    }
    std::path::absolute(&path)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// The generated clip of a cell, in the study's folder.
pub(crate) fn clip_file(key: &str) -> PathBuf {
    Path::new("clips").join(format!("{}.mp4", short(key)))
}

/// The frames used of a reference, in the study's folder.
pub(crate) fn reference_file(sha256: &str) -> PathBuf {
    Path::new("clips").join(format!("reference-{}.mp4", short(sha256)))
}

/// The beginning of a hash, enough to tell files apart. Whatever is no digit of a hash is left out, so that no name
/// can lead anywhere else.
fn short(hash: &str) -> String {
    hash.chars()
        .filter(char::is_ascii_hexdigit)
        .take(24)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_folder() {
        for hostile in ["../../etc/passwd", "/abs", "a\\..\\b", ""] {
            let file = clip_file(hostile);
            assert_eq!(file.parent(), Some(Path::new("clips")), "{hostile}");
        }
    }

    #[test]
    fn a_folder_keeps_its_study() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("study");
        assert!(StudyFolder::open(&path).is_err());
        let text = "[study]\nclips = [\"car.mp4\"]\nprompts = [\"a bus\"]\nseeds = [0]\nmodel = \"sprites\"\n\
                    [[variant]]\nname = \"larger\"\nmodel = \"models/large\"\n";
        let study = Study::parse("study", text).unwrap();
        let created = StudyFolder::create(&path, &study, Path::new("/clips")).unwrap();
        let there = created.study().unwrap();
        assert_eq!(there.clips[0].path, "/clips/car.mp4");
        assert_eq!(there.model.as_deref(), Some("sprites"));
        let model = there.variants[0]
            .settings
            .get(MODEL)
            .and_then(toml::Value::as_str);
        assert_eq!(model, Some("/clips/models/large"));
        StudyFolder::create(&path, &study, Path::new("/clips")).unwrap();
        let other = Study {
            seeds: vec![1],
            ..study
        };
        let error = StudyFolder::create(&path, &other, Path::new("/clips")).unwrap_err();
        assert!(
            error.to_string().contains("another study is there"),
            "{error}"
        );
        let never = StudyFolder::open(&path).unwrap().results().unwrap_err();
        assert!(never.to_string().contains("never run"), "{never}");
    }
}
