//! Text similarity and temporal consistency: cosines of CLIP embeddings.
//!
//! All embeddings here are of unit length, so that their dot products are cosines.

use crate::record::{ModelStamp, Record};

/// Mean cosine between every frame and the prompt. `frames` are the embeddings of the frames.
///
/// # Panics
/// If there is no frame or the widths differ.
pub fn text_similarity(
    frames: &[Vec<f32>],
    prompt: &[f32],
    stamp: &ModelStamp,
    preprocessing: &str,
) -> Record {
    assert!(!frames.is_empty(), "a clip has frames");
    let cosines: Vec<f64> = frames.iter().map(|frame| cosine(frame, prompt)).collect();
    let mean = mean(&cosines);
    Record::new("text_similarity", mean, stamp.clone(), preprocessing)
        .with_samples("frames", frames.len())
        .with_beside("times_100", 100.0 * mean)
        .with_detail("per_frame", cosines)
}

/// Mean cosine of consecutive frames, with the mean cosine of the first frame and every other beside it.
///
/// A clip that stands still scores 1, so the motion magnitude ([`crate::Tracks::motion_magnitude`]) stands beside the value as well. One frame has no
/// consistency: the value is absent.
///
/// # Panics
/// If there is no frame or the widths differ.
pub fn temporal_consistency(
    frames: &[Vec<f32>],
    motion_magnitude: Option<f64>,
    stamp: &ModelStamp,
    preprocessing: &str,
) -> Record {
    assert!(!frames.is_empty(), "a clip has frames");
    let consecutive: Vec<f64> = frames
        .windows(2)
        .map(|pair| cosine(&pair[0], &pair[1]))
        .collect();
    let to_first: Vec<f64> = frames[1..]
        .iter()
        .map(|frame| cosine(&frames[0], frame))
        .collect();
    let defined = |values: &[f64]| (!values.is_empty()).then(|| mean(values));
    let record = Record::new(
        "temporal_consistency",
        defined(&consecutive),
        stamp.clone(),
        preprocessing,
    )
    .with_samples("frames", frames.len())
    .with_beside("first_to_all", defined(&to_first))
    .with_beside("motion_magnitude", motion_magnitude)
    .with_detail("per_step", consecutive);
    match (frames.len(), motion_magnitude) {
        (1, _) => record.with_warning("one frame has no consistency: the value is absent"),
        (_, Some(magnitude)) if magnitude < STILL => record.with_warning(format!(
            "the clip hardly moves (motion magnitude {magnitude:.4}): any still clip is consistent"
        )),
        (_, None) => record.with_warning(
            "the motion magnitude is unknown, since most points cannot be followed: whether the clip moves at all is \
             not known",
        ),
        _ => record,
    }
}

/// Motion magnitude below which a clip is as good as still: a tenth of a hundredth of its diagonal.
const STILL: f64 = 1e-3;

/// The dot product, in double precision.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "embeddings of one width");
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> ModelStamp {
        ModelStamp {
            name: "test".into(),
            sha256: None,
        }
    }

    /// Unit vectors at angles in degrees.
    fn at(degrees: &[f32]) -> Vec<Vec<f32>> {
        let unit = |d: &f32| vec![d.to_radians().cos(), d.to_radians().sin()];
        degrees.iter().map(unit).collect()
    }

    #[test]
    fn text_similarity_is_the_mean_cosine_with_the_prompt() {
        let record = text_similarity(&at(&[0.0, 60.0, 90.0]), &[1.0, 0.0], &stamp(), "none");
        assert!((record.value.unwrap() - 0.5).abs() < 1e-6);
        assert!((record.beside["times_100"].unwrap() - 50.0).abs() < 1e-4);
        assert_eq!(record.samples["frames"], 3);
        assert_eq!(record.detail["per_frame"].len(), 3);
    }

    #[test]
    fn consistency_compares_neighbours_and_the_first_frame() {
        let record = temporal_consistency(&at(&[0.0, 60.0, 120.0]), Some(0.1), &stamp(), "none");
        assert!((record.value.unwrap() - 0.5).abs() < 1e-6);
        assert!((record.beside["first_to_all"].unwrap() - 0.0).abs() < 1e-6); // (0.5 - 0.5) / 2
        assert_eq!(record.beside["motion_magnitude"], Some(0.1));
        assert!(record.warnings.is_empty());
    }

    #[test]
    fn a_still_clip_is_consistent_and_said_to_be_still() {
        let record = temporal_consistency(&at(&[5.0; 4]), Some(0.0), &stamp(), "none");
        assert!((record.value.unwrap() - 1.0).abs() < 1e-6);
        assert!(record.warnings[0].contains("hardly moves"), "{record:?}");
    }

    #[test]
    fn one_frame_has_a_similarity_and_no_consistency() {
        assert!(
            text_similarity(&at(&[0.0]), &[1.0, 0.0], &stamp(), "none")
                .value
                .is_some()
        );
        let record = temporal_consistency(&at(&[0.0]), None, &stamp(), "none");
        assert_eq!((record.value, record.beside["first_to_all"]), (None, None));
        assert!(record.warnings[0].contains("one frame"), "{record:?}");
    }
}
