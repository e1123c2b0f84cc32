//! How alike the steps of two tracks are, for all pairs of tracks at once.
//!
//! `corr(a, b) = 1/F · Σ_k cos(v_a^k, v_b^k)` over the F steps from frame to frame. A track becomes a row of numbers
//! such that this sum is the dot product of two rows: the two coordinates of each step's direction and, where
//! [`StillSteps::Agree`] holds, a third that is 1 for a step without a direction. The best match of every track then
//! falls out of a matrix product of which only a tile is ever held.

use rayon::prelude::*;

use crate::tracks::Place;
use crate::{Error, Tracks};

/// A step shorter than this, in pixels of the reference, has no direction.
pub const STILL_PX: f64 = 0.05;

/// Most pairs of tracks for which [`similarity_matrix`] writes all values down.
pub const MAX_PAIRS: usize = 1 << 25;

/// How steps without a direction are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StillSteps {
    /// A step shorter than [`STILL_PX`] is still: two still ones count 1, a still and a moving one 0.
    #[default]
    Agree,
    /// Only a step of no length is still, and counts 0 with every other: a cosine without a division by zero.
    CountZero,
}

/// The similarity of every track of `rows` with every track of `columns`, row by row. Measures do not need it.
///
/// # Errors
/// If the numbers of frames differ, there is only one, or there are more than [`MAX_PAIRS`] pairs.
pub fn similarity_matrix(
    rows: &Tracks,
    columns: &Tracks,
    still: StillSteps,
) -> Result<Vec<f64>, Error> {
    if rows.frames() != columns.frames() || rows.frames() < 2 {
        return Err(Error::argument(
            "tracks",
            format!("{} and {} frames", rows.frames(), columns.frames()),
            "the same number of frames, at least 2",
        ));
    }
    let pairs = rows.len().checked_mul(columns.len());
    let Some(pairs) = pairs.filter(|&pairs| pairs <= MAX_PAIRS) else {
        return Err(Error::argument(
            "tracks",
            format!("{} times {}", rows.len(), columns.len()),
            format!("at most {MAX_PAIRS} pairs"),
        ));
    };
    let mut matrix = vec![0.0; pairs];
    let (a, b) = (
        Panels::directions(rows, still),
        Panels::directions(columns, still),
    );
    a.each_similarity(0..a.panels(), &b, |row, column, similarity| {
        matrix[row * columns.len() + column] = similarity;
    });
    Ok(matrix)
}

/// The most similar track of the other side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Best {
    pub track: usize,
    pub similarity: f64,
}

impl Best {
    const NONE: Self = Self {
        track: usize::MAX,
        similarity: f64::NEG_INFINITY,
    };

    /// Of equals the first, so that the result does not depend on the order in which pairs are seen.
    fn offer(&mut self, other: Self) {
        if other.similarity > self.similarity
            || (other.similarity == self.similarity && other.track < self.track)
        {
            *self = other;
        }
    }
}

/// Best matches of the tracks of both sides, in their order.
pub(super) struct Maxima {
    pub rows: Vec<Best>,
    pub columns: Vec<Best>,
}

/// Rows of numbers, one per track, in groups of [`LANES`] whose numbers alternate.
pub(super) struct Panels {
    tracks: usize,
    /// Numbers in a row.
    width: usize,
    /// What a sum of products is divided by.
    terms: usize,
    values: Vec<[f64; LANES]>, // [panels, width]; lanes beyond the last track are 0
}

/// Tracks of a panel. Four by four sums of two panels fit the registers of every 64-bit processor.
const LANES: usize = 4;

/// Panels that one task takes at a time: few enough for the cache that a core has to itself.
const PANELS_PER_TASK: usize = 16;

impl Panels {
    /// The directions of a track's steps.
    pub fn directions(tracks: &Tracks, still: StillSteps) -> Self {
        let steps = tracks.frames() - 1;
        let width = match still {
            StillSteps::Agree => 3 * steps,
            StillSteps::CountZero => 2 * steps,
        };
        Self::new(tracks.len(), width, steps, |track, row| {
            let places = tracks.places(track).windows(2);
            for (numbers, pair) in row.chunks_exact_mut(width / steps).zip(places) {
                let step = step(pair[0], pair[1]);
                let length = step[0].hypot(step[1]);
                let least = match still {
                    StillSteps::Agree => STILL_PX,
                    StillSteps::CountZero => f64::MIN_POSITIVE,
                };
                if length >= least {
                    numbers[0] = step[0] / length;
                    numbers[1] = step[1] / length;
                } else if still == StillSteps::Agree {
                    numbers[2] = 1.0;
                }
            }
        })
    }

    /// Rows of `width` numbers that `fill` writes over zeros, given a track's number.
    pub fn new(
        tracks: usize,
        width: usize,
        terms: usize,
        fill: impl Fn(usize, &mut [f64]),
    ) -> Self {
        let mut values = vec![[0.0; LANES]; tracks.div_ceil(LANES) * width];
        let mut row = vec![0.0; width];
        for track in 0..tracks {
            row.fill(0.0);
            fill(track, &mut row);
            let panel = &mut values[track / LANES * width..][..width];
            for (lanes, value) in panel.iter_mut().zip(&row) {
                lanes[track % LANES] = *value;
            }
        }
        Self {
            tracks,
            width,
            terms,
            values,
        }
    }

    /// Best matches among all pairs. `adjusted` may change a similarity, given row and column.
    pub fn maxima(
        &self,
        columns: &Self,
        adjusted: impl Fn(usize, usize, f64) -> f64 + Sync,
    ) -> Maxima {
        let none = || vec![Best::NONE; columns.tracks];
        let mut rows = vec![Best::NONE; self.tracks];
        let best_of_columns = rows
            .par_chunks_mut(PANELS_PER_TASK * LANES)
            .enumerate()
            .fold(none, |mut best_of_columns, (task, best_of_rows)| {
                let first = task * PANELS_PER_TASK;
                let panels = first..(first + PANELS_PER_TASK).min(self.panels());
                self.each_similarity(panels, columns, |row, column, similarity| {
                    let similarity = adjusted(row, column, similarity);
                    best_of_rows[row - first * LANES].offer(Best {
                        track: column,
                        similarity,
                    });
                    best_of_columns[column].offer(Best {
                        track: row,
                        similarity,
                    });
                });
                best_of_columns
            })
            .reduce(none, |mut a, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| a.offer(b));
                a
            });
        Maxima {
            rows,
            columns: best_of_columns,
        }
    }

    fn panels(&self) -> usize {
        self.tracks.div_ceil(LANES)
    }

    fn panel(&self, index: usize) -> &[[f64; LANES]] {
        &self.values[index * self.width..][..self.width]
    }

    /// Calls `visit` with row, column and similarity of every pair of some of these panels' tracks and `columns`.
    fn each_similarity(
        &self,
        panels: std::ops::Range<usize>,
        columns: &Self,
        mut visit: impl FnMut(usize, usize, f64),
    ) {
        let terms = self.terms as f64;
        for column_panel in 0..columns.panels() {
            let first_column = column_panel * LANES;
            for row_panel in panels.clone() {
                let first_row = row_panel * LANES;
                let sums = products(self.panel(row_panel), columns.panel(column_panel));
                for (row, sums) in (first_row..self.tracks).zip(sums) {
                    for (column, sum) in (first_column..columns.tracks).zip(sums) {
                        // A sum of squares of rounded directions may lie a little above their number.
                        visit(row, column, (sum / terms).clamp(-1.0, 1.0));
                    }
                }
            }
        }
    }
}

/// From one place to the next.
pub(super) fn step(from: Place, to: Place) -> [f64; 2] {
    [0, 1].map(|axis| f64::from(to[axis]) - f64::from(from[axis]))
}

/// Dot products of the rows of two panels.
fn products(rows: &[[f64; LANES]], columns: &[[f64; LANES]]) -> [[f64; LANES]; LANES] {
    let mut sums = [[0.0; LANES]; LANES];
    for (a, b) in rows.iter().zip(columns) {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinvert_video::Size;

    const SIZE: Size = Size {
        width: 64,
        height: 64,
    };

    fn tracks(frames: usize, places: Vec<Place>) -> Tracks {
        let visible = vec![true; places.len()];
        Tracks::new(frames, SIZE, places, visible).unwrap()
    }

    /// Two steps: right, then by `last`.
    fn turning(last: Place) -> Tracks {
        tracks(3, vec![[0.0, 0.0], [1.0, 0.0], [1.0 + last[0], last[1]]])
    }

    #[test]
    fn still_steps_agree_with_each_other_only() {
        let (still, moving, back) = ([0.02, 0.0], [0.0, 1.0], [0.0, -3.0]);
        for (a, b, agree, zero) in [
            (still, still, 1.0, 1.0), // a short step has a direction where only length zero is still
            (still, moving, 0.5, 0.5),
            (moving, back, 0.0, 0.0),
            ([0.0; 2], [0.0; 2], 1.0, 0.5),
            ([0.0; 2], moving, 0.5, 0.5),
        ] {
            for (rule, expected) in [(StillSteps::Agree, agree), (StillSteps::CountZero, zero)] {
                let found = similarity_matrix(&turning(a), &turning(b), rule).unwrap();
                assert_eq!(found, [expected], "{a:?} {b:?} {rule:?}");
            }
        }
    }

    #[test]
    fn maxima_are_those_of_the_matrix() {
        let random = |count: usize, seed: u32| {
            let mut state = seed;
            let mut next = move || {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                (state >> 8) as f32 / 1e5
            };
            tracks(6, (0..count * 6).map(|_| [next(), next()]).collect())
        };
        // Neither is a multiple of the panels' four, and there is more than one task.
        let (a, b) = (random(203, 1), random(37, 2));
        let matrix = similarity_matrix(&a, &b, StillSteps::Agree).unwrap();
        let panels = |tracks| Panels::directions(tracks, StillSteps::Agree);
        let found = panels(&a).maxima(&panels(&b), |_, _, similarity| similarity);
        for (row, best) in found.rows.iter().enumerate() {
            let values = &matrix[row * 37..][..37];
            assert!(values.iter().all(|value| *value <= best.similarity));
            assert_eq!(values[best.track], best.similarity);
        }
        for (column, best) in found.columns.iter().enumerate() {
            let mut values = matrix.iter().skip(column).step_by(37);
            assert!(values.clone().all(|value| *value <= best.similarity));
            assert_eq!(values.nth(best.track), Some(&best.similarity));
        }
        let swapped = similarity_matrix(&b, &a, StillSteps::Agree).unwrap();
        assert_eq!(matrix[5 * 37 + 3], swapped[3 * 203 + 5]);
    }

    #[test]
    fn of_equal_tracks_the_first_is_named() {
        let twice = tracks(2, [[0.0, 0.0], [1.0, 1.0]].repeat(9));
        let panels = Panels::directions(&twice, StillSteps::Agree);
        let found = panels.maxima(&panels, |_, _, similarity| similarity);
        assert!(
            found
                .rows
                .iter()
                .chain(&found.columns)
                .all(|best| best.track == 0)
        );
    }

    #[test]
    fn a_matrix_of_unequal_frames_or_without_steps_is_refused() {
        let one = tracks(1, vec![[0.0; 2]]);
        let two = tracks(2, vec![[0.0; 2]; 2]);
        for (a, b) in [(&one, &one), (&one, &two)] {
            assert!(similarity_matrix(a, b, StillSteps::Agree).is_err());
        }
    }
}
