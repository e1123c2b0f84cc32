//! Where the clips of a study come from: files, or scenes of the sprite world by name.

use std::fmt;
use std::path::{Path, PathBuf};

use kinvert::{ClipOptions, MotionModel, pixels, prepare_clip};
use kinvert_base::Progress;
use kinvert_video::Clip;
use kinvert_world::{FPS, Motion, Scene};

use crate::error::Error;

/// What names of scenes begin with.
const SPRITES: &str = "sprites:";

/// Where a clip comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClipSource {
    /// A scene with a motion and a seed, written `sprites:arc:3`; see [`Scene::random_with_motion`].
    Scene(Motion, u64),
    /// A file or a folder of images.
    File(PathBuf),
}

/// A clip as a study uses it.
#[derive(Clone, Debug)]
pub struct ReferenceClip {
    /// The frames, at the model's size and rate.
    pub clip: Clip,
    /// What it shows, if the source knows.
    pub caption: Option<String>,
    /// SHA-256 of the frames.
    pub sha256: String,
}

impl ClipSource {
    /// The source that a study names. Relative paths start in `folder`.
    ///
    /// # Errors
    /// [`Error::Source`] for a scene that there is not.
    pub fn parse(name: &str, folder: &Path) -> Result<Self, Error> {
        let Some(scene) = name.strip_prefix(SPRITES) else {
            return Ok(Self::File(folder.join(name)));
        };
        let parsed = scene
            .split_once(':')
            .and_then(|(motion, seed)| Some(Self::Scene(motion.parse().ok()?, seed.parse().ok()?)));
        parsed.ok_or_else(|| Error::Source { name: name.into() })
    }

    /// Reads the clip and brings it to what the model takes.
    ///
    /// # Errors
    /// If the file cannot be read or is no clip that can be learned from.
    pub fn load(
        &self,
        model: &dyn MotionModel,
        progress: &mut dyn Progress,
    ) -> Result<ReferenceClip, Error> {
        let (clip, caption) = match self {
            Self::Scene(motion, seed) => {
                let scene = Scene::random_with_motion(*motion, *seed);
                let clip = Clip::new(scene.render(), f64::from(FPS))?;
                let [width, height] =
                    model.size_for([clip.width() as usize, clip.height() as usize]);
                let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
                let clip = clip.resized(side(width), side(height), kinvert_video::Fit::Crop)?;
                (clip, Some(scene.look.caption()))
            }
            Self::File(path) => {
                let prepared = prepare_clip(model, path, &ClipOptions::default(), progress)?;
                (prepared.clip, None)
            }
        };
        Ok(ReferenceClip {
            sha256: pixels::sha256(&clip),
            clip,
            caption,
        })
    }

    /// The source with an absolute path, which means the same from any folder.
    pub fn absolute(self) -> Self {
        match self {
            Self::File(path) => Self::File(std::path::absolute(&path).unwrap_or(path)),
            scene @ Self::Scene(..) => scene,
        }
    }
}

impl fmt::Display for ClipSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scene(motion, seed) => write!(f, "{SPRITES}{motion}:{seed}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_and_files_are_told_apart() {
        let parse = |name: &str| ClipSource::parse(name, Path::new("clips"));
        assert_eq!(
            parse("sprites:arc:3").unwrap(),
            ClipSource::Scene(Motion::Arc, 3)
        );
        assert_eq!(parse("sprites:arc:3").unwrap().to_string(), "sprites:arc:3");
        assert_eq!(
            parse("car.mp4").unwrap(),
            ClipSource::File("clips/car.mp4".into())
        );
        for name in [
            "sprites:",
            "sprites:arc",
            "sprites:jump:3",
            "sprites:arc:-1",
        ] {
            let error = parse(name).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
