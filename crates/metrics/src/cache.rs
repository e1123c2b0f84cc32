//! What was computed of a clip, kept on disk, so that nothing is computed twice for the same clip and model.
//!
//! An entry is named by a hash over everything it depends on ([`CacheKey`]) and holds named arrays of 32-bit
//! floats as a safetensors file. Entries are written whole or not at all; a damaged one is computed anew. When
//! all of them together exceed the limit, those that were not used for longest are removed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kinvert_video::Clip;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::record::ModelStamp;

/// Part of every key; another number makes older entries unreachable.
const FORMAT: u32 = 1;

/// Most bytes of all entries, unless asked otherwise: 512 MiB.
pub const DEFAULT_LIMIT_BYTES: u64 = 512 << 20;

/// Share of the limit that is left when room is made, so that not every new entry makes room again.
const KEPT_SHARE: f64 = 0.9;

const EXTENSION: &str = "kinvert-cache";

/// A folder of computed things, or none.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
    limit_bytes: u64,
}

/// Names what was computed: by what, of what, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheKey(String);

impl CacheKey {
    /// A key for what `stamp` computes of `clip`. `what` names the kind of result, `settings` everything else
    /// that it depends on.
    pub fn new(what: &str, stamp: &ModelStamp, settings: &str, clip: &Clip) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(FORMAT.to_le_bytes());
        let weights = stamp.sha256.as_deref().unwrap_or("");
        for text in [
            what,
            &stamp.name,
            weights,
            settings,
            env!("CARGO_PKG_VERSION"),
        ] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        for length in [clip.width(), clip.height()] {
            hasher.update(length.to_le_bytes());
        }
        for frame in clip.frames() {
            hasher.update(frame.as_raw());
        }
        let digest = hasher.finalize();
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A named array: its shape and its values, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// Something that is kept as named arrays.
pub trait Cached: Sized {
    /// Its arrays.
    fn to_arrays(&self) -> Vec<(&'static str, Array)>;

    /// From its arrays; `None` if they are not what [`Cached::to_arrays`] gives.
    fn from_arrays(array: impl FnMut(&str) -> Option<Array>) -> Option<Self>;
}

impl Cache {
    /// No cache: everything is computed.
    pub fn off() -> Self {
        Self {
            folder: None,
            limit_bytes: 0,
        }
    }

    /// A cache in a folder, which is made when something is kept.
    pub fn in_folder(folder: impl Into<PathBuf>, limit_bytes: u64) -> Self {
        Self {
            folder: Some(folder.into()),
            limit_bytes,
        }
    }

    /// What is kept under `key`, else what `compute` gives, which is then kept. A cache that cannot be read or
    /// written does not stand in the way.
    ///
    /// # Errors
    /// Those of `compute`.
    pub fn get_or<T: Cached>(
        &self,
        key: &CacheKey,
        compute: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(folder) = &self.folder else {
            return compute();
        };
        let path = folder.join(&key.0).with_extension(EXTENSION);
        if let Some(found) = self.read(&path) {
            return Ok(found);
        }
        let value = compute()?;
        if let Err(error) = self.keep(folder, &path, &value) {
            tracing::warn!(path = %path.display(), %error, "A result could not be kept in the cache.");
        }
        Ok(value)
    }

    fn read<T: Cached>(&self, path: &Path) -> Option<T> {
        let length = fs::metadata(path).ok()?.len();
        if length > self.limit_bytes {
            return None;
        }
        let bytes = fs::read(path).ok()?;
        let value = parse(&bytes);
        match &value {
            // The time of use is that of the last change; not every file system lets us set it.
            Some(_) => {
                let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
            }
            None => {
                tracing::warn!(path = %path.display(), "A damaged entry of the cache is computed anew.")
            }
        }
        value
    }

    fn keep<T: Cached>(&self, folder: &Path, path: &Path, value: &T) -> std::io::Result<()> {
        let arrays = value.to_arrays();
        let bytes: Vec<Vec<u8>> = arrays
            .iter()
            .map(|(_, array)| array.values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let views = arrays.iter().zip(&bytes).map(|((name, array), bytes)| {
            TensorView::new(Dtype::F32, array.shape.clone(), bytes).map(|view| (*name, view))
        });
        let views: Vec<_> = views
            .collect::<Result<_, _>>()
            .map_err(std::io::Error::other)?;
        let file = safetensors::serialize(views, None).map_err(std::io::Error::other)?;
        if file.len() as u64 > self.limit_bytes {
            return Ok(()); // it would be the first to go
        }
        fs::create_dir_all(folder)?;
        kinvert_base::write_file(path, &file)?;
        self.make_room(folder)
    }

    /// Removes entries, the longest unused first, until all of them fit.
    fn make_room(&self, folder: &Path) -> std::io::Result<()> {
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let is_entry = path
                .extension()
                .is_some_and(|extension| extension == EXTENSION);
            // Another process may have removed it meanwhile.
            if let (true, Ok(metadata)) = (is_entry, path.metadata()) {
                entries.push((metadata.modified()?, metadata.len(), path));
            }
        }
        let mut total: u64 = entries.iter().map(|(_, length, _)| length).sum();
        if total <= self.limit_bytes {
            return Ok(());
        }
        entries.sort();
        let kept = (self.limit_bytes as f64 * KEPT_SHARE) as u64;
        for (_, length, path) in entries {
            if total <= kept {
                break;
            }
            if fs::remove_file(&path).is_ok() {
                total -= length;
            }
        }
        Ok(())
    }
}

/// Reads an entry.
fn parse<T: Cached>(bytes: &[u8]) -> Option<T> {
    let file = SafeTensors::deserialize(bytes).ok()?;
    T::from_arrays(|name| {
        let view = file.tensor(name).ok()?;
        if view.dtype() != Dtype::F32 {
            return None;
        }
        let numbers = view.data().as_chunks().0.iter();
        let values: Vec<f32> = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let shape = view.shape().to_vec();
        values
            .iter()
            .all(|v| v.is_finite())
            .then_some(Array { shape, values })
    })
}

impl Cached for Vec<Vec<f32>> {
    fn to_arrays(&self) -> Vec<(&'static str, Array)> {
        let width = self.first().map_or(0, Vec::len);
        let array = Array {
            shape: vec![self.len(), width],
            values: self.concat(),
        };
        vec![("rows", array)]
    }

    fn from_arrays(mut array: impl FnMut(&str) -> Option<Array>) -> Option<Self> {
        let Array { shape, values } = array("rows")?;
        match shape[..] {
            [_, width] if width > 0 => {
                Some(values.chunks_exact(width).map(<[f32]>::to_vec).collect())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    /// Rows of features, the simplest thing to keep.
    type Rows = Vec<Vec<f32>>;

    fn clip(level: u8) -> Clip {
        let frame = RgbImage::from_pixel(4, 2, image::Rgb([level, 0, 0]));
        Clip::new(vec![frame; 2], 8.0).unwrap()
    }

    fn stamp(name: &str) -> ModelStamp {
        ModelStamp {
            name: name.into(),
            sha256: Some("ab".into()),
        }
    }

    fn key(level: u8) -> CacheKey {
        CacheKey::new("embeds", &stamp("model"), "settings", &clip(level))
    }

    fn rows(cache: &Cache, key: &CacheKey, fresh: f32) -> Rows {
        cache.get_or(key, || Ok(vec![vec![fresh; 100]; 2])).unwrap()
    }

    #[test]
    fn what_was_computed_once_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path().join("made"), DEFAULT_LIMIT_BYTES);
        assert_eq!(rows(&cache, &key(1), 1.0)[0][0], 1.0);
        assert_eq!(rows(&cache, &key(1), 2.0)[0][0], 1.0);
        assert_eq!(rows(&cache, &key(2), 2.0)[0][0], 2.0);
        assert_eq!(rows(&Cache::off(), &key(1), 3.0)[0][0], 3.0);
    }

    #[test]
    fn everything_a_result_depends_on_is_in_its_key() {
        let base = key(1);
        let model = stamp("model");
        for other in [
            key(2),
            CacheKey::new("tracks", &model, "settings", &clip(1)),
            CacheKey::new("embeds", &stamp("other"), "settings", &clip(1)),
            CacheKey::new(
                "embeds",
                &ModelStamp {
                    sha256: None,
                    ..model.clone()
                },
                "settings",
                &clip(1),
            ),
            CacheKey::new("embeds", &model, "other", &clip(1)),
            CacheKey::new("embedss", &model, "ettings", &clip(1)),
        ] {
            assert_ne!(other, base);
        }
        let upright = Clip::new(vec![RgbImage::new(2, 4); 2], 8.0).unwrap();
        let lying = Clip::new(vec![RgbImage::new(4, 2); 2], 8.0).unwrap();
        let of = |clip| CacheKey::new("embeds", &model, "settings", clip);
        assert_ne!(of(&upright), of(&lying));
    }

    #[test]
    fn damaged_entries_are_computed_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path(), DEFAULT_LIMIT_BYTES);
        rows(&cache, &key(1), 1.0);
        let path = fs::read_dir(folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"", b"not safetensors"] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(rows(&cache, &key(1), 7.0)[0][0], 7.0);
        }
    }

    #[test]
    fn the_longest_unused_entries_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path(), 4000); // an entry has some 900 bytes
        let hour = std::time::Duration::from_secs(3600);
        for level in 0..4 {
            rows(&cache, &key(level), f32::from(level));
            let path = folder.path().join(&key(level).0).with_extension(EXTENSION);
            let then = SystemTime::now() - hour * u32::from(10 - level);
            File::open(path).unwrap().set_modified(then).unwrap();
        }
        assert_eq!(rows(&cache, &key(0), 9.0)[0][0], 0.0); // used now, so that entry 1 is the oldest
        rows(&cache, &key(4), 4.0);
        assert_eq!(
            rows(&Cache::in_folder(folder.path(), 1 << 20), &key(0), 9.0)[0][0],
            0.0
        );
        assert_eq!(
            rows(&Cache::in_folder(folder.path(), 1 << 20), &key(1), 9.0)[0][0],
            9.0
        );
    }

    #[test]
    fn a_cache_that_cannot_be_written_does_not_stand_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("file");
        fs::write(&taken, b"").unwrap();
        assert_eq!(
            rows(&Cache::in_folder(&taken, 1 << 20), &key(1), 5.0)[0][0],
            5.0
        );
        assert_eq!(
            rows(&Cache::in_folder(folder.path(), 10), &key(1), 6.0)[0][0],
            6.0
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
