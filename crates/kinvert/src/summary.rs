//! What a model folder holds, read from its configuration and hashed, without loading the network.

use kinvert_diffusion::{NoiseSchedule, PredictionType};
use kinvert_nets::TemporalSite;
use serde::Serialize;

use crate::error::Error;
use crate::motion::ModelId;
use crate::published::PublishedClip;
use crate::settings::{GenerationSettings, InversionSettings};
use crate::source::ModelSource;

/// What a base model is and what it is used for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Name and hash.
    #[serde(flatten)]
    pub id: ModelId,
    /// Frames of its clips.
    pub frames: usize,
    /// Width and height of its clips in pixels; absent if they follow the clip that is given.
    pub size: Option<[usize; 2]>,
    /// Frames per second of its clips.
    pub fps: f64,
    /// What the network predicts.
    pub prediction_type: PredictionType,
    /// Timesteps of its noise schedule.
    pub train_timesteps: usize,
    /// Places where motion embeddings can live, in the order of a forward pass.
    pub sites: Vec<SiteSummary>,
    /// How to learn on it.
    pub inversion: InversionSettings,
    /// How to generate with it.
    pub generation: GenerationSettings,
}

/// One site of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiteSummary {
    /// The block's path in the published checkpoint.
    pub name: String,
    /// Channels of its features.
    pub channels: usize,
}

impl ModelSummary {
    /// Reads a model's configuration and hashes its files.
    ///
    /// # Errors
    /// If a file is missing or unreadable, or describes a model that is not supported. Weights are hashed,
    /// not checked: [`load_model`](crate::load_model) does that.
    pub fn read(source: &ModelSource) -> Result<Self, Error> {
        let unet = source.unet_config()?;
        let published = PublishedClip::of(&unet);
        let schedule = NoiseSchedule::new(&source.scheduler(&unet)?)?;
        let recommendations = source.recommendations()?;
        let site = |site: TemporalSite| SiteSummary {
            name: site.name,
            channels: site.channels,
        };
        Ok(Self {
            id: ModelId {
                name: recommendations.name.unwrap_or_else(|| source.name()),
                sha256: source.sha256()?,
            },
            frames: recommendations.frames.unwrap_or(published.frames),
            size: recommendations.size,
            fps: recommendations.fps.unwrap_or(published.fps),
            prediction_type: schedule.prediction_type(),
            train_timesteps: schedule.num_train_timesteps(),
            sites: unet.sites().into_iter().map(site).collect(),
            inversion: recommendations.inversion,
            generation: recommendations.generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use kinvert_nets::ModelFiles;

    use super::*;

    #[test]
    fn the_built_in_model_says_what_it_is() {
        let summary = ModelSummary::read(&kinvert_world::model::model_files().into()).unwrap();
        assert_eq!((summary.id.name.as_str(), summary.frames), ("sprites", 16));
        assert_eq!((summary.size, summary.fps), (Some([64, 64]), 8.0));
        assert_eq!(summary.id.sha256.len(), 64);
        assert!(summary.sites.len() > 4);
    }

    #[test]
    fn a_folder_without_a_model_names_the_missing_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = ModelSummary::read(&ModelFiles::folder(folder.path()).into()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            source.contains("unet/config.json: no such file"),
            "{source}"
        );
    }
}
