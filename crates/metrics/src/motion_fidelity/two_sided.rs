//! The measure itself: every track of either clip and the track of the other that moves most like it.

use super::similarity::{Best, Panels};
use super::{StillSteps, TrackPair, Variant};
use crate::record::ModelStamp;
use crate::{Record, Tracks};

/// A track moves if it gets at least this far from its start, in fractions of the frame's diagonal: 0.9 pixels of a
/// 64×64 frame, 8 of a 720×480 one. The distance from the start is taken rather than the way, which grows with the
/// tracker's jitter and the number of frames, and rather than the last place, which is the start again for
/// what goes and returns.
pub const MOVING_REACH: f64 = 0.01;

/// How alike two clips move: 1 if each track of either has one in the other that steps the same way in every frame,
/// about 0 if they have nothing in common, −1 at worst.
///
/// `½ (1/n Σ_a max_b corr(a, b) + 1/m Σ_b max_a corr(a, b))` over the n tracks a of the reference and the m tracks b
/// of the result. Places and lengths of steps do not matter, only directions, frame by frame.
///
/// What still tracks do under [`StillSteps::Agree`]: a still track agrees fully with a still track, and with any
/// other as far as that has still steps. k still tracks added to both clips therefore add k ones to the means on
/// both sides, which draws the value towards 1; added to one clip they find only what still steps the other has. The
/// value of a clip with much background is thus high for any result that keeps the background still; what
/// moves is compared by [`of_moving`](Self::of_moving), on which still tracks have no influence at all.
#[derive(Clone, Debug, PartialEq)]
pub struct MotionFidelity {
    /// Half the sum of the two means; absent without tracks on a side or with a single frame.
    pub value: Option<f64>,
    /// Mean over the reference's tracks of their best similarity: how much of its motion is there in the result.
    pub of_reference: Option<f64>,
    /// Mean over the result's tracks: how much of the result's motion comes from the reference.
    pub of_result: Option<f64>,
    /// Best match of each track of the reference that was compared.
    pub reference: Vec<BestMatch>,
    /// Best match of each track of the result that was compared.
    pub result: Vec<BestMatch>,
    /// Steps of each track.
    pub steps: usize,
    /// How the tracks were prepared, in words.
    pub preprocessing: String,
    /// What makes the value doubtful, or why it is absent.
    pub warnings: Vec<String>,
}

/// A track and the one of the other clip that moves most like it. Tracks are numbered as they were given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BestMatch {
    /// The track.
    pub track: usize,
    /// The other clip's track; of equals the first.
    pub matched: usize,
    /// How alike they move, −1..1.
    pub similarity: f64,
}

impl MotionFidelity {
    /// Compares all tracks.
    pub fn two_sided(pair: &TrackPair, still: StillSteps) -> Self {
        let every = |tracks: &Tracks| (0..tracks.len()).collect::<Vec<_>>();
        let mut fidelity = Self::unmeasured(pair);
        if fidelity.warn_if_undefined(pair) {
            return fidelity;
        }
        fidelity.compare(pair, [every(&pair.reference), every(&pair.result)], still);
        if still == StillSteps::Agree {
            fidelity.warn_of_still_tracks(pair);
        }
        fidelity
    }

    /// Compares the tracks that [move](MOVING_REACH), with [`StillSteps::Agree`] for their pauses.
    ///
    /// Where no track of either clip moves, both are still: 1, with a warning. Where only one clip moves, nothing of
    /// it is in the other: 0, with a warning.
    pub fn of_moving(pair: &TrackPair) -> Self {
        let mut fidelity = Self::unmeasured(pair);
        // No counts here: only records that were prepared in the same way may be averaged.
        fidelity.preprocessing +=
            &format!("; those that get {MOVING_REACH} of the diagonal away from their start");
        if fidelity.warn_if_undefined(pair) {
            return fidelity;
        }
        let moving = [moving(&pair.reference), moving(&pair.result)];
        let verdict = match (moving[0].is_empty(), moving[1].is_empty()) {
            (false, false) => {
                fidelity.compare(pair, moving, StillSteps::Agree);
                return fidelity;
            }
            (true, true) => (1.0, "no track of either clip moves: both are still"),
            (true, false) => (0.0, "no track of the reference moves, but the result does"),
            (false, true) => (0.0, "no track of the result moves, but the reference does"),
        };
        let (value, reason) = verdict;
        fidelity.value = Some(value);
        fidelity.of_reference = Some(value);
        fidelity.of_result = Some(value);
        fidelity.warnings.push(reason.into());
        fidelity
    }

    /// The record of a variant; `per_track` adds each compared track's best similarity and the number of its match.
    pub fn into_record(self, variant: Variant, tracker: &ModelStamp, per_track: bool) -> Record {
        let mut record = Record::new(
            variant.measure(),
            self.value,
            tracker.clone(),
            self.preprocessing,
        )
        .with_samples("compared_reference_tracks", self.reference.len())
        .with_samples("compared_result_tracks", self.result.len())
        .with_samples("steps", self.steps)
        .with_beside("of_reference", self.of_reference)
        .with_beside("of_result", self.of_result);
        record.warnings = self.warnings;
        if !per_track {
            return record;
        }
        let similarities =
            |side: &[BestMatch]| side.iter().map(|m| m.similarity).collect::<Vec<_>>();
        let tracks = |side: &[BestMatch]| side.iter().map(|m| m.track as f64).collect::<Vec<_>>();
        let matched =
            |side: &[BestMatch]| side.iter().map(|m| m.matched as f64).collect::<Vec<_>>();
        record
            .with_detail("reference_similarity", similarities(&self.reference))
            .with_detail("reference_track", tracks(&self.reference))
            .with_detail("reference_match", matched(&self.reference))
            .with_detail("result_similarity", similarities(&self.result))
            .with_detail("result_track", tracks(&self.result))
            .with_detail("result_match", matched(&self.result))
    }

    fn unmeasured(pair: &TrackPair) -> Self {
        Self {
            value: None,
            of_reference: None,
            of_result: None,
            reference: Vec::new(),
            result: Vec::new(),
            steps: pair.steps(),
            preprocessing: pair.preprocessing.clone(),
            warnings: pair.warnings.clone(),
        }
    }

    fn warn_if_undefined(&mut self, pair: &TrackPair) -> bool {
        let reason = pair.undefined();
        let undefined = reason.is_some();
        self.warnings.extend(reason);
        undefined
    }

    /// Compares the tracks of the given numbers, none of them empty.
    fn compare(&mut self, pair: &TrackPair, numbers: [Vec<usize>; 2], still: StillSteps) {
        let [of_reference, of_result] = numbers;
        let panels = |tracks: &Tracks, numbers: &[usize]| {
            Panels::directions(&chosen(tracks, numbers), still)
        };
        let maxima = panels(&pair.reference, &of_reference)
            .maxima(&panels(&pair.result, &of_result), |_, _, similarity| {
                similarity
            });
        let named = |best: Vec<Best>, own: &[usize], others: &[usize]| -> Vec<BestMatch> {
            let matches = best.iter().zip(own).map(|(best, &track)| BestMatch {
                track,
                matched: others[best.track],
                similarity: best.similarity,
            });
            matches.collect()
        };
        self.reference = named(maxima.rows, &of_reference, &of_result);
        self.result = named(maxima.columns, &of_result, &of_reference);
        let mean = |side: &[BestMatch]| {
            side.iter().map(|best| best.similarity).sum::<f64>() / side.len() as f64
        };
        let (a, b) = (mean(&self.reference), mean(&self.result));
        self.of_reference = Some(a);
        self.of_result = Some(b);
        self.value = Some((a + b) / 2.0);
    }

    fn warn_of_still_tracks(&mut self, pair: &TrackPair) {
        for (side, tracks) in [("reference", &pair.reference), ("result", &pair.result)] {
            let still = tracks.len() - moving(tracks).len();
            if 2 * still > tracks.len() {
                self.warnings.push(format!(
                    "{still} of {} tracks of the {side} are still and agree with every still track; \
                     motion_fidelity.moving compares the others",
                    tracks.len()
                ));
            }
        }
    }
}

/// Numbers of the tracks that [move](MOVING_REACH).
fn moving(tracks: &Tracks) -> Vec<usize> {
    let size = tracks.size();
    let least = MOVING_REACH * f64::from(size.width).hypot(f64::from(size.height));
    let moves = |track: &usize| {
        let places = tracks.places(*track);
        places.iter().any(|&place| {
            let [x, y] = super::similarity::step(places[0], place);
            x.hypot(y) >= least
        })
    };
    (0..tracks.len()).filter(moves).collect()
}

/// The tracks of the given numbers, which ascend.
fn chosen(tracks: &Tracks, numbers: &[usize]) -> Tracks {
    tracks.filtered(|track| numbers.binary_search(&track).is_ok())
}
