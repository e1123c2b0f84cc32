//! Fetching the files of a model.

use std::path::{Path, PathBuf};

use kinvert_base::Progress;
use kinvert_nets::{ModelFiles, ModelName};
use serde::Serialize;

use crate::cache::{self, ModelCache};
use crate::download::{Download, Tally};
use crate::http::Client;
use crate::listing::{Listing, RemoteFile};
use crate::needed::Needed;
use crate::{Error, HubOptions, needed};

/// Most bytes of a model. The largest published ones have some hundred gigabytes.
const MAX_MODEL_BYTES: u64 = 1 << 40;

/// Largest configuration, vocabulary or index; more is not read either.
const MAX_SETTINGS_BYTES: u64 = 64 << 20;

/// What is left free on the disk.
const SPARE_BYTES: u64 = 64 << 20;

/// A hub, and what was fetched from it; see the [crate's page](crate).
pub struct Hub {
    pub(crate) options: HubOptions,
    client: Client,
}

/// A model that was pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// `organisation/model`.
    pub name: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit that it stands for.
    pub commit: String,
    /// The folder of its files.
    pub path: PathBuf,
    /// How many files are needed of it.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that came over the network; the others were there.
    pub fetched_bytes: u64,
}

impl Hub {
    /// A hub. Nothing is asked yet.
    ///
    /// # Errors
    /// If the address is none.
    pub fn new(options: HubOptions) -> Result<Self, Error> {
        let client = Client::new(&options)?;
        Ok(Self { options, client })
    }

    /// The hub that the environment names; see [`HubOptions::from_environment`].
    ///
    /// # Errors
    /// As [`HubOptions::from_environment`] and [`Hub::new`].
    pub fn from_environment() -> Result<Self, Error> {
        Self::new(HubOptions::from_environment()?)
    }

    /// The folder of the cache. It need not exist.
    pub fn cache(&self) -> &Path {
        &self.options.cache
    }

    /// The folder of a model whose files are all in the cache.
    pub fn cached(&self, name: &ModelName) -> Option<PathBuf> {
        let snapshot = name.snapshot(&self.options.cache)?;
        needed::missing(&ModelFiles::folder(&snapshot))
            .is_empty()
            .then_some(snapshot)
    }

    /// Fetches the files of a model that are needed and not in the cache, as of now, and makes its branch stand for
    /// their commit. Weights of a `variant` (such as `fp16`) are taken if one is asked for, or nothing else is published.
    ///
    /// A pull that is stopped leaves what it has; the next one goes on from there. Several processes may pull at the
    /// same time. Offline, what is in the cache is given.
    ///
    /// # Errors
    /// If the hub cannot be reached, refuses, has no such model, or lists something that cannot be used; if a file is
    /// damaged twice; if the disk has too little room; [`Error::Cancelled`].
    pub fn pull(
        &self,
        name: &ModelName,
        variant: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, Error> {
        if self.options.offline {
            return self.pull_offline(name);
        }
        let (listing, needed) = self.listed(name, variant, progress)?;
        check_variant(&needed, variant, name, progress)?;
        let cache = ModelCache::new(&self.options.cache, name);
        let mut pull = Pull::new(self, name, &listing, &cache);
        pull.settings(&needed.settings, progress)?;
        let snapshot = cache.snapshot(&listing.commit);
        let mut weights = Vec::new();
        for network in &needed.weights {
            weights.extend(network.paths(&ModelFiles::folder(&snapshot))?);
        }
        pull.weights(&weights, progress)?;
        cache.point(name.revision(), &listing.commit)?;
        Ok(Pulled {
            name: name.repository().into(),
            revision: name.revision().into(),
            path: snapshot,
            files: pull.files.len(),
            bytes: pull.files.iter().sum(),
            fetched_bytes: pull.fetched,
            commit: listing.commit,
        })
    }

    /// Fetches a model's configurations and tokenizer and leaves its weights where they are, and returns the folder: what
    /// planning needs.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub fn pull_settings(
        &self,
        name: &ModelName,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, Error> {
        let there = name.snapshot(&self.options.cache);
        let is_known = |folder: &PathBuf| needed::kind_of(&ModelFiles::folder(folder)).is_some();
        if let Some(snapshot) = there.filter(is_known) {
            return Ok(snapshot);
        }
        if self.options.offline {
            let name = name.to_string();
            return Err(Error::Offline { name });
        }
        let (listing, needed) = self.listed(name, None, progress)?;
        let cache = ModelCache::new(&self.options.cache, name);
        Pull::new(self, name, &listing, &cache).settings(&needed.settings, progress)?;
        cache.point(name.revision(), &listing.commit)?;
        Ok(cache.snapshot(&listing.commit))
    }

    /// What the hub has of a model, and which of it is needed.
    fn listed(
        &self,
        name: &ModelName,
        variant: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<(Listing, Needed), Error> {
        let listing = Listing::fetch(&self.client, name, progress)?;
        let needed = Needed::of(|path| listing.has(path), variant);
        let needed = needed.map_err(|missing| Error::NotUsable {
            name: name.repository().into(),
            missing,
        })?;
        Ok((listing, needed))
    }

    fn pull_offline(&self, name: &ModelName) -> Result<Pulled, Error> {
        let Some(snapshot) = name.snapshot(&self.options.cache) else {
            let name = name.to_string();
            return Err(Error::Offline { name });
        };
        let missing = needed::missing(&ModelFiles::folder(&snapshot));
        if !missing.is_empty() {
            let name = name.to_string();
            return Err(Error::OfflineIncomplete { name, missing });
        }
        let files = cache::paths(&snapshot)?;
        let commit = snapshot.file_name().unwrap_or_default();
        Ok(Pulled {
            name: name.repository().into(),
            revision: name.revision().into(),
            commit: commit.to_string_lossy().into_owned(),
            files: files.len(),
            bytes: files.iter().map(|path| cache::size(path)).sum(),
            fetched_bytes: 0,
            path: snapshot,
        })
    }
}

/// A pull under way.
struct Pull<'a> {
    hub: &'a Hub,
    name: &'a ModelName,
    listing: &'a Listing,
    cache: &'a ModelCache,
    /// Sizes of the files that are there.
    files: Vec<u64>,
    fetched: u64,
}

impl<'a> Pull<'a> {
    fn new(hub: &'a Hub, name: &'a ModelName, listing: &'a Listing, cache: &'a ModelCache) -> Self {
        Self {
            hub,
            name,
            listing,
            cache,
            files: Vec::new(),
            fetched: 0,
        }
    }

    /// Fetches small files.
    fn settings(&mut self, paths: &[String], progress: &mut dyn Progress) -> Result<(), Error> {
        let files = self.stated(paths, progress)?;
        if let Some(file) = files.iter().find(|file| file.size > MAX_SETTINGS_BYTES) {
            let (path, size) = (&file.path, file.size);
            return Err(self.refuse(format!(
                "`{path}` has {size} bytes, expected at most {MAX_SETTINGS_BYTES}"
            )));
        }
        self.fetch("fetching settings", &files, progress)
    }

    /// Fetches weights, if there is room for them.
    fn weights(&mut self, paths: &[String], progress: &mut dyn Progress) -> Result<(), Error> {
        let files = self.stated(paths, progress)?;
        let mut total = 0_u64;
        let mut left = 0_u64;
        for file in &files {
            total = total.saturating_add(file.size);
            if !self.cache.has(&self.listing.commit, file) {
                let there = cache::size(&self.cache.incomplete(&file.hash)).min(file.size);
                left = left.saturating_add(file.size - there);
            }
        }
        if total > MAX_MODEL_BYTES {
            return Err(self.refuse(format!(
                "its weights have {total} bytes, expected at most {MAX_MODEL_BYTES}"
            )));
        }
        check_room(self.cache.folder(), left)?;
        if left > 0 {
            progress.note(&format!(
                "fetching {}: {} of weights, of which {} are not there yet, into {}",
                self.name,
                megabytes(total),
                megabytes(left),
                self.cache.folder().display()
            ));
        }
        self.fetch("fetching weights", &files, progress)
    }

    fn stated(
        &self,
        paths: &[String],
        progress: &mut dyn Progress,
    ) -> Result<Vec<RemoteFile>, Error> {
        let client = &self.hub.client;
        let state = |path: &String| self.listing.file(path, client, self.name, progress);
        paths.iter().map(state).collect()
    }

    fn fetch(
        &mut self,
        stage: &str,
        files: &[RemoteFile],
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let download = Download {
            client: &self.hub.client,
            options: &self.hub.options,
            cache: self.cache,
            name: self.name,
            commit: &self.listing.commit,
        };
        let mut tally = Tally::default();
        progress.start_bytes(stage, files.iter().map(|file| file.size).sum());
        for file in files {
            download.file(file, &mut tally, progress)?;
            self.files.push(file.size);
        }
        progress.finish();
        self.fetched += tally.fetched;
        Ok(())
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Listing {
            name: self.name.to_string(),
            reason,
        }
    }
}

/// Refuses a variant that no network of the model has, and says which networks lack it.
fn check_variant(
    needed: &Needed,
    variant: Option<&str>,
    name: &ModelName,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let Some(variant) = variant else {
        return Ok(());
    };
    let (with, without): (Vec<_>, Vec<_>) = needed
        .weights
        .iter()
        .partition(|weights| weights.names.variant == Some(variant));
    if with.is_empty() {
        return Err(Error::NoVariant {
            name: name.repository().into(),
            variant: variant.into(),
        });
    }
    for weights in without {
        let part = &weights.part;
        progress.note(&format!(
            "`{part}` is not published as {variant}: its other weights are taken"
        ));
    }
    Ok(())
}

/// Refuses what the disk has no room for. `folder` need not exist.
fn check_room(folder: &Path, needed: u64) -> Result<(), Error> {
    let existing = folder.ancestors().find(|folder| folder.is_dir());
    let Some((existing, free)) = existing.and_then(|folder| Some((folder, free_bytes(folder)?)))
    else {
        return Ok(()); // a full disk is noticed later
    };
    if needed == 0 || needed.saturating_add(SPARE_BYTES) <= free {
        return Ok(());
    }
    Err(Error::NoRoom {
        path: existing.to_owned(),
        needed_mb: needed.div_ceil(1_000_000),
        free_mb: free / 1_000_000,
    })
}

/// Bytes that this user may still write into a folder, where the system tells.
fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(folder).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_disk_that_is_too_small_is_seen_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("not/there/yet");
        assert!(check_room(&missing, 1).is_ok());
        let error = check_room(&missing, u64::MAX).unwrap_err();
        assert!(matches!(error, Error::NoRoom { .. }), "{error}");
        assert!(error.hint().unwrap().contains("HF_HOME"));
    }
}
