//! Whether a clip moves as its reference does.
//!
//! The tracks of points through both clips are compared, each with the one that moves most like it in the other
//! clip, wherever that lies ([`MotionFidelity`], after *Space-Time Diffusion Features for Zero-Shot Text-Driven
//! Motion Transfer*, Sec. 5.1). Variants of that measure have names of their own ([`Variant`]), so that no number
//! is taken for another:
//!
//! | record | compares | sides |
//! |---|---|---|
//! | `motion_fidelity` | directions of all steps, a still step agrees with a still one | both |
//! | `motion_fidelity.moving` | the same, tracks that go somewhere only | both |
//! | `motion_fidelity.published` | as the script published with the paper | result |
//! | `motion_fidelity.hybrid` | directions and places | both |
//! | `motion_fidelity.hybrid_published` | as the script published with MTBench | result |
//!
//! For clips of the sprite world the truth is known, and no tracker is needed: [`SpriteTruth`].
//!
//! # Clips of different shape
//!
//! * **Frames.** The tracks of the longer clip are resampled, linearly in time, to the frames of the shorter. A
//!   transferred motion fills the clip it is transferred to, so both ends belong together; comparing the frames
//!   that both have would hold the whole of one motion against the start of the other. A warning says so.
//! * **Rates.** Clips are compared frame by frame whatever their rates are. A warning says so.
//! * **Sizes.** The tracks of the result are scaled to the reference's frame, each axis for itself: a clip that was
//!   stretched moves the same way afterwards, and "still" means the same number of the reference's pixels in
//!   both. Other aspect ratios give a warning.
//!
//! The published scripts have rules of their own, which their variants follow.
//!
//! # Visibility
//!
//! plays no part, as in the published scripts. Pass [`Tracks::whole`] for those that are seen throughout.

mod frechet;
mod hybrid;
mod mask;
mod pair;
mod published;
mod similarity;
mod sprite_truth;
mod two_sided;

use std::fmt;

pub use frechet::discrete_frechet_distance;
pub use hybrid::{HybridFidelity, LOCAL_WEIGHT, MAX_PLACED_TRACKS};
pub use mask::Mask;
pub use pair::TrackPair;
pub use published::{PUBLISHED_HYBRID_TRACKS, PublishedFidelity, published, published_hybrid};
pub use similarity::{MAX_PAIRS, STILL_PX, StillSteps, similarity_matrix};
pub use sprite_truth::{SpriteTruth, looks_like_sprites};
pub use two_sided::{BestMatch, MOVING_REACH, MotionFidelity};

use crate::record::ModelStamp;
use crate::{Error, Record, Tracks};

/// A measure of motion fidelity; see the [module docs](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// [`MotionFidelity::two_sided`].
    TwoSided,
    /// [`MotionFidelity::of_moving`].
    Moving,
    /// [`published`].
    Published,
    /// [`HybridFidelity::new`].
    Hybrid,
    /// [`published_hybrid`].
    HybridPublished,
}

impl Variant {
    /// Every variant, the default first.
    pub const ALL: [Self; 5] = [
        Self::TwoSided,
        Self::Moving,
        Self::Published,
        Self::Hybrid,
        Self::HybridPublished,
    ];

    /// Name of its record.
    pub fn measure(self) -> &'static str {
        match self {
            Self::TwoSided => "motion_fidelity",
            Self::Moving => "motion_fidelity.moving",
            Self::Published => "motion_fidelity.published",
            Self::Hybrid => "motion_fidelity.hybrid",
            Self::HybridPublished => "motion_fidelity.hybrid_published",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.measure())
    }
}

/// What of two clips is compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Only tracks of the reference that start inside.
    pub reference_mask: Option<&'a Mask>,
    /// Only tracks of the result that start inside.
    pub result_mask: Option<&'a Mask>,
    /// Frames per second of the reference and the result, where known; they serve a warning only.
    pub frame_rates: Option<[f64; 2]>,
    /// Whether the record holds each track's best similarity, and the number of the track that has it.
    pub per_track: bool,
}

/// Measures one variant. `tracker` is what found both clips' tracks.
///
/// The value is absent, and a warning says why, where the variant is not defined: without tracks on a side, for a
/// single frame, and where a published script gives no number.
///
/// # Errors
/// If a mask is not of its clip's size, or a clip has no pixels.
pub fn record(
    variant: Variant,
    reference: &Tracks,
    result: &Tracks,
    tracker: &ModelStamp,
    options: &Options<'_>,
) -> Result<Record, Error> {
    let mut masked = Vec::new();
    let mut warnings = Vec::new();
    let mut restricted = |tracks: &Tracks, mask: Option<&Mask>, side: &str| {
        let Some(mask) = mask else {
            return Ok(tracks.clone());
        };
        let inside = mask.tracks_inside(tracks)?;
        masked.push(format!("tracks of the {side} that start inside its mask"));
        if mask.is_empty() {
            warnings.push(format!(
                "the mask of the {side} has no pixel of 128 or more"
            ));
        }
        Ok::<_, Error>(inside)
    };
    let reference = restricted(reference, options.reference_mask, "reference")?;
    let result = restricted(result, options.result_mask, "result")?;

    let pair = || TrackPair::new(&reference, &result);
    let mut record = match variant {
        Variant::TwoSided => MotionFidelity::two_sided(&pair()?, StillSteps::default())
            .into_record(variant, tracker, options.per_track),
        Variant::Moving => {
            MotionFidelity::of_moving(&pair()?).into_record(variant, tracker, options.per_track)
        }
        Variant::Hybrid => HybridFidelity::new(&pair()?).into_record(tracker),
        Variant::Published => published(&reference, &result).into_record(variant, tracker),
        Variant::HybridPublished => {
            published_hybrid(&reference, &result)?.into_record(variant, tracker)
        }
    };

    for remark in masked {
        record.preprocessing += "; ";
        record.preprocessing += &remark;
    }
    record.warnings.extend(warnings);
    if let Some([of_reference, of_result]) = options.frame_rates
        && (of_reference - of_result).abs() > 1e-3 * of_reference.abs()
    {
        record.warnings.push(format!(
            "the reference plays at {of_reference} frames per second and the result at {of_result}; they are \
             compared frame by frame"
        ));
    }
    Ok(record
        .with_samples("reference_tracks", reference.len())
        .with_samples("result_tracks", result.len())
        .with_beside("reference_motion_magnitude", reference.motion_magnitude())
        .with_beside("result_motion_magnitude", result.motion_magnitude()))
}
