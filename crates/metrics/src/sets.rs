//! FID and KID of two sets of clips or images.

use std::path::{Path, PathBuf};

use kinvert_base::Progress;
use kinvert_video::{ReadOptions, read_clip};

use crate::evaluate::{Evaluator, features_of, warned_of_few};
use crate::frechet::{FeatureStatistics, Features, frechet_distance, kernel_distance};
use crate::{Error, Record};

/// Most numbers that the features of a set may have: 2 GiB, or 260 000 frames of 2048 features.
const MAX_VALUES: usize = 1 << 28;

/// Names of files that are read as clips or images end in one of these.
const MEDIA: [&str; 12] = [
    "mp4", "m4v", "mov", "webm", "mkv", "avi", "gif", "webp", "png", "jpg", "jpeg", "bmp",
];

/// The features of a set of frames, or only their statistics.
#[derive(Clone, Debug)]
pub struct FrameSet {
    /// Mean and covariance.
    pub statistics: FeatureStatistics,
    /// The features; absent for a set that was read from a statistics file.
    pub features: Option<Features>,
    /// Number of clips and images; 0 for a statistics file.
    pub files: usize,
    /// Files of the folder that are neither clips nor images by their names.
    pub passed_over: usize,
}

impl FrameSet {
    /// Reads a set: a folder of clips, images, and folders of images, or an `.npz` file with the statistics of such
    /// a folder as pytorch-fid writes it.
    ///
    /// # Errors
    /// If there are fewer than two frames, a file cannot be read (it is named: a set with holes is another set),
    /// there are too many frames, or the user asked to stop.
    pub fn read(
        path: &Path,
        evaluator: &Evaluator,
        progress: &mut dyn Progress,
    ) -> Result<Self, Error> {
        if path.extension().is_some_and(|extension| extension == "npz") {
            return Ok(Self {
                statistics: FeatureStatistics::load(path)?,
                features: None,
                files: 0,
                passed_over: 0,
            });
        }
        let (media, passed_over) = list(path)?;
        if media.is_empty() {
            return Err(Error::file(path, "holds no clips and no images"));
        }
        let mut rows = Vec::new();
        progress.start(&format!("features of {}", path.display()), media.len());
        for (done, file) in media.iter().enumerate() {
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let clip = read_clip(file, &ReadOptions::default())?;
            rows.extend(evaluator.features(&clip)?);
            let values = rows.len() * rows.last().map_or(0, Vec::len);
            if values > MAX_VALUES {
                return Err(Error::file(
                    path,
                    format!(
                        "has more than {} frames, which do not fit into memory",
                        rows.len()
                    ),
                ));
            }
            progress.advance(done + 1, &format!("{} frames", rows.len()));
        }
        progress.finish();
        let features = features_of(&rows)?;
        if features.count() < 2 {
            return Err(Error::file(path, "holds one frame, expected at least 2"));
        }
        Ok(Self {
            statistics: FeatureStatistics::of(&features)?,
            features: Some(features),
            files: media.len(),
            passed_over,
        })
    }
}

/// FID and KID of two sets whose features come from the evaluator's network.
///
/// # Errors
/// If the sets differ in their number of features.
pub fn compare_sets(
    real: &FrameSet,
    fake: &FrameSet,
    evaluator: &Evaluator,
) -> Result<Vec<Record>, Error> {
    let encoder = evaluator.feature_encoder()?;
    let record = |name: &str, value: Option<f64>| {
        let mut record = Record::new(
            name,
            value,
            encoder.stamp().clone(),
            encoder.preprocessing(),
        );
        for (side, set) in [("real", real), ("fake", fake)] {
            if let Some(frames) = set.statistics.count() {
                record = record.with_samples(&format!("{side}_frames"), frames as usize);
            }
            if set.files > 0 {
                record = record.with_samples(&format!("{side}_files"), set.files);
            } else {
                record = record.with_warning(format!(
                    "the {side} set is a statistics file: that it was made with the same network cannot be checked"
                ));
            }
            if set.passed_over > 0 {
                record = record.with_warning(format!(
                    "{} files of the {side} set are neither clips nor images and are passed over",
                    set.passed_over
                ));
            }
        }
        record
    };
    let fid = frechet_distance(&real.statistics, &fake.statistics)?;
    let counts = [real, fake].map(|set| set.statistics.count().unwrap_or(u64::MAX) as usize);
    let fid = warned_of_few(
        record("fid", Some(fid)),
        counts,
        real.statistics.dimension(),
    );
    let kid = match (&real.features, &fake.features) {
        (Some(real), Some(fake)) => record("kid", Some(kernel_distance(real, fake)?)),
        _ => record("kid", None)
            .with_warning("a statistics file holds no features: the value is absent"),
    };
    Ok(vec![fid, kid])
}

/// The clips, images and folders of images in a folder, by name, and the number of other files.
fn list(folder: &Path) -> Result<(Vec<PathBuf>, usize), Error> {
    let mut media = Vec::new();
    let mut passed_over = 0;
    for entry in std::fs::read_dir(folder).map_err(Error::reading(folder))? {
        let path = entry.map_err(Error::reading(folder))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_media = extension.is_some_and(|extension| {
            MEDIA
                .iter()
                .any(|media| extension.eq_ignore_ascii_case(media))
        });
        if is_media || path.is_dir() {
            media.push(path);
        } else {
            passed_over += 1;
        }
    }
    media.sort();
    Ok((media, passed_over))
}
