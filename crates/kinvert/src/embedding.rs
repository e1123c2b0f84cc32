//! Motion embeddings as plain numbers: what a motion file holds, and how they are resampled and debiased.
//!
//! Source: *Motion Inversion for Video Customization* (arXiv:2403.20193v2), Eq. 3 and 5. An embedding has the
//! shape `[positions, frames, channels]` over a grid of its own, row by row. In the method a query-key embedding
//! has one position that stands for all, a value embedding one per cell of its site's grid; the other shapes are
//! those of [`EmbeddingShape`](crate::EmbeddingShape).

use serde::{Deserialize, Serialize};

use crate::projection::Projection;

/// One embedding over a grid of positions, `[rows, columns, frames, channels]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    shape: [usize; 4],
    values: Vec<f32>,
}

/// The embeddings of one site. What is absent was left out of the learning.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteEmbeddings {
    /// The site: the block's path in the published checkpoint.
    pub site: String,
    /// Rows and columns of the site; an embedding may have another grid.
    pub grid: [usize; 2],
    /// Motion Query-Key embedding, shared by both attentions of the block.
    pub query_key: Option<Embedding>,
    /// Motion Value embeddings of `attn1` and `attn2`.
    pub values: [Option<Embedding>; 2],
    /// The projections of the three embeddings, in the order of [`SiteEmbeddings::embeddings`]; where embeddings
    /// are concatenated, each has one.
    pub projections: [Option<Projection>; 3],
}

/// What embeddings enter at a site, in the order in which they are listed everywhere; the names are those of
/// files.
pub(crate) const INPUTS: [&str; 3] = ["query_key", "attn1.value", "attn2.value"];

impl SiteEmbeddings {
    /// Query-key, value of `attn1`, value of `attn2`.
    pub fn embeddings(&self) -> [Option<&Embedding>; 3] {
        let [value1, value2] = &self.values;
        [&self.query_key, value1, value2].map(Option::as_ref)
    }

    /// Each embedding that is there, changed; projections as they are.
    pub fn map(&self, change: impl Fn(&Embedding) -> Embedding) -> Self {
        let [query_key, value1, value2] = self.embeddings().map(|found| found.map(&change));
        Self {
            site: self.site.clone(),
            grid: self.grid,
            query_key,
            values: [value1, value2],
            projections: self.projections.clone(),
        }
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        let embeddings = self.embeddings().into_iter().flatten();
        let projections = self.projections.iter().flatten();
        let mut values = embeddings
            .flat_map(Embedding::values)
            .chain(projections.flat_map(Projection::values));
        values.all(|value| value.is_finite())
    }
}

/// What is done to value embeddings before they are used, so that appearance which all frames share cancels
/// (Eq. 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Debias {
    /// Each frame minus the frame before it, or a few frames before it; frames without such a frame as they
    /// are.
    #[default]
    Difference,
    /// Each frame minus the mean of all frames.
    Normalize,
    /// As they are.
    None,
}

impl Embedding {
    /// An embedding from its values, `[rows, columns, frames, channels]`.
    ///
    /// # Panics
    /// If the number of values is not that of the shape.
    pub fn new(shape: [usize; 4], values: Vec<f32>) -> Self {
        assert_eq!(
            values.len(),
            shape.iter().product::<usize>(),
            "number of values for {shape:?}"
        );
        Self { shape, values }
    }

    /// The same shape with other values.
    ///
    /// # Panics
    /// If their number is another.
    pub fn with_values(&self, values: Vec<f32>) -> Self {
        Self::new(self.shape, values)
    }

    /// `[positions, frames, channels]`.
    pub fn shape(&self) -> [usize; 3] {
        let [rows, columns, frames, channels] = self.shape;
        [rows * columns, frames, channels]
    }

    /// Rows and columns of the embedding's own grid.
    pub fn grid(&self) -> [usize; 2] {
        [self.shape[0], self.shape[1]]
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.shape[2]
    }

    /// Length of each vector.
    pub fn channels(&self) -> usize {
        self.shape[3]
    }

    /// The values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Removes what all frames share; see [`Debias`]. A difference is taken to the frame `difference_frames`
    /// earlier, 1 in the method; frames that have no such frame keep their value, as if zeros came before the
    /// first.
    pub fn debiased(&self, debias: Debias, difference_frames: usize) -> Self {
        match debias {
            Debias::None => self.clone(),
            Debias::Difference => self.map_frames(|frame, at| {
                let earlier = frame.checked_sub(difference_frames);
                at(frame) - earlier.map_or(0.0, at)
            }),
            Debias::Normalize => {
                let frames = self.frames();
                self.map_frames(|frame, at| {
                    let mean = (0..frames).map(|i| f64::from(at(i))).sum::<f64>() / frames as f64;
                    (f64::from(at(frame)) - mean) as f32
                })
            }
        }
    }

    /// Every value times a factor.
    pub fn scaled(&self, factor: f32) -> Self {
        self.with_values(self.values.iter().map(|value| value * factor).collect())
    }

    /// Linear interpolation along the frames, as PyTorch's `interpolate(mode="linear",
    /// align_corners=False)`: frame centres lie at halves, and beyond the first and last the ends are held.
    ///
    /// # Panics
    /// If `frames` is zero.
    pub fn with_frames(&self, frames: usize) -> Self {
        assert!(frames > 0, "no frames to interpolate to");
        if frames == self.frames() {
            return self.clone();
        }
        let [positions, _, channels] = self.shape();
        let taps = linear_taps(self.frames(), frames);
        let mut values = Vec::with_capacity(positions * frames * channels);
        for position in 0..positions {
            for &(low, high, weight) in &taps {
                values.extend((0..channels).map(|channel| {
                    let (a, b) = (
                        self.at(position, low, channel),
                        self.at(position, high, channel),
                    );
                    a + (b - a) * weight
                }));
            }
        }
        self.with_shape(self.grid(), frames, values)
    }

    /// Bilinear interpolation over the grid of positions, as PyTorch's `interpolate(mode="bilinear",
    /// align_corners=False)`. An embedding with a single position stands for any grid and stays as it is.
    ///
    /// # Panics
    /// If `to` is empty.
    pub fn with_grid(&self, to: [usize; 2]) -> Self {
        let (from, frames, channels) = (self.grid(), self.frames(), self.channels());
        if from == [1, 1] || from == to {
            return self.clone();
        }
        assert!(to[0] > 0 && to[1] > 0, "no grid to interpolate to");
        let (rows, columns) = (linear_taps(from[0], to[0]), linear_taps(from[1], to[1]));
        let mut values = Vec::with_capacity(to[0] * to[1] * frames * channels);
        for &(top, bottom, down) in &rows {
            for &(left, right, across) in &columns {
                for frame in 0..frames {
                    values.extend((0..channels).map(|channel| {
                        let at = |row: usize, column: usize| {
                            self.at(row * from[1] + column, frame, channel)
                        };
                        let above = at(top, left) + (at(top, right) - at(top, left)) * across;
                        let below =
                            at(bottom, left) + (at(bottom, right) - at(bottom, left)) * across;
                        above + (below - above) * down
                    }));
                }
            }
        }
        self.with_shape(to, frames, values)
    }

    /// The first frames alone.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn first_frames(&self, frames: usize) -> Self {
        assert!(
            frames <= self.frames(),
            "{frames} of {} frames",
            self.frames()
        );
        let [_, had, channels] = self.shape();
        let kept = self
            .values
            .chunks(had * channels)
            .flat_map(|rows| &rows[..frames * channels]);
        self.with_shape(self.grid(), frames, kept.copied().collect())
    }

    /// Frames up to the last that is not all zeros: what was trained of a longer embedding.
    pub fn trained_frames(&self) -> usize {
        let [_, frames, channels] = self.shape();
        let row = |index: usize| self.values.chunks(channels).skip(index).step_by(frames);
        let trained = |frame: &usize| row(*frame).flatten().any(|value| *value != 0.0);
        (0..frames).rev().find(trained).map_or(0, |last| last + 1)
    }

    fn at(&self, position: usize, frame: usize, channel: usize) -> f32 {
        self.values[(position * self.frames() + frame) * self.channels() + channel]
    }

    /// Values over another grid or of other frames.
    fn with_shape(&self, [rows, columns]: [usize; 2], frames: usize, values: Vec<f32>) -> Self {
        Self::new([rows, columns, frames, self.channels()], values)
    }

    /// A new value for every element, from the values of all frames at its position and channel.
    fn map_frames(&self, value: impl Fn(usize, &dyn Fn(usize) -> f32) -> f32) -> Self {
        let [positions, frames, channels] = self.shape();
        let mut values = Vec::with_capacity(self.values.len());
        for position in 0..positions {
            for frame in 0..frames {
                for channel in 0..channels {
                    values.push(value(frame, &|frame| self.at(position, frame, channel)));
                }
            }
        }
        self.with_values(values)
    }
}

/// The matrix that interpolates positions of one grid to those of another as [`Embedding::with_grid`] does:
/// `[positions of to, positions of from]`, row-major.
pub(crate) fn grid_weights(from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let (rows, columns) = (linear_taps(from[0], to[0]), linear_taps(from[1], to[1]));
    let mut weights = vec![0.0; to[0] * to[1] * from[0] * from[1]];
    let mut row_of_matrix = weights.chunks_mut(from[0] * from[1]);
    for &(top, bottom, down) in &rows {
        for (&(left, right, across), weights) in columns.iter().zip(&mut row_of_matrix) {
            for (row, vertical) in [(top, 1.0 - down), (bottom, down)] {
                for (column, horizontal) in [(left, 1.0 - across), (right, across)] {
                    weights[row * from[1] + column] += vertical * horizontal;
                }
            }
        }
    }
    weights
}

/// For each of `to` output samples: the two input samples around it and the weight of the second.
fn linear_taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let last = from - 1;
    (0..to)
        .map(|i| {
            let centre = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, last as f64);
            let low = centre.floor() as usize;
            (low, (low + 1).min(last), (centre - low as f64) as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ramp(shape: [usize; 4]) -> Embedding {
        let count: usize = shape.iter().product();
        Embedding::new(shape, (0..count).map(|i| (i * i % 17) as f32).collect())
    }

    #[test]
    fn difference_keeps_the_first_frame() {
        let embedding = Embedding::new([1, 1, 3, 2], vec![1.0, 10.0, 4.0, 20.0, 9.0, 40.0]);
        let expected = [1.0, 10.0, 3.0, 10.0, 5.0, 20.0];
        assert_eq!(embedding.debiased(Debias::Difference, 1).values(), expected);
    }

    #[test]
    fn longer_differences_keep_the_frames_before_them() {
        let embedding = Embedding::new([1, 1, 5, 1], vec![1.0, 4.0, 9.0, 16.0, 25.0]);
        for (frames, expected) in [
            (2, [1.0, 4.0, 8.0, 12.0, 16.0]),
            (3, [1.0, 4.0, 9.0, 15.0, 21.0]),
            (5, [1.0, 4.0, 9.0, 16.0, 25.0]),
        ] {
            assert_eq!(
                embedding.debiased(Debias::Difference, frames).values(),
                expected
            );
        }
    }

    #[test]
    fn normalize_leaves_a_mean_of_zero() {
        let embedding = ramp([1, 2, 4, 3]).debiased(Debias::Normalize, 1);
        for position in 0..2 {
            for channel in 0..3 {
                let sum: f32 = (0..4)
                    .map(|frame| embedding.at(position, frame, channel))
                    .sum();
                assert!(sum.abs() < 1e-5, "{sum}");
            }
        }
    }

    #[test]
    fn interpolation_follows_pytorchs_convention() {
        // torch.nn.functional.interpolate(torch.tensor([[[0., 1., 4., 9.]]]), 6, mode="linear")
        let embedding = Embedding::new([1, 1, 4, 1], vec![0.0, 1.0, 4.0, 9.0]);
        let expected = [0.0, 0.5, 1.5, 3.5, 6.5, 9.0];
        for (found, expected) in embedding.with_frames(6).values().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        // torch.nn.functional.interpolate(torch.tensor([[[[0., 2.], [4., 8.]]]]), (2, 3), mode="bilinear")
        let embedding = Embedding::new([2, 2, 1, 1], vec![0.0, 2.0, 4.0, 8.0]);
        assert_eq!(
            embedding.with_grid([2, 3]).values(),
            [0.0, 1.0, 2.0, 4.0, 6.0, 8.0]
        );
    }

    proptest! {
        #[test]
        fn resampling_to_the_same_size_is_the_identity(rows in 1usize..4, columns in 1usize..4, frames in 1usize..6) {
            let embedding = ramp([rows, columns, frames, 3]);
            prop_assert_eq!(&embedding.with_frames(frames), &embedding);
            prop_assert_eq!(&embedding.with_grid([rows, columns]), &embedding);
        }

        #[test]
        fn the_matrix_of_a_grid_interpolates_as_the_embedding_does(
            from in [1usize..5, 1usize..5], to in [1usize..6, 1usize..6]
        ) {
            let embedding = ramp([from[0], from[1], 1, 1]);
            let (weights, cells) = (grid_weights(from, to), from[0] * from[1]);
            let resampled = embedding.with_grid(to);
            for (position, weights) in weights.chunks(cells).enumerate() {
                let sum: f32 = weights.iter().zip(embedding.values()).map(|(w, v)| w * v).sum();
                let expected = resampled.at(if from == [1, 1] { 0 } else { position }, 0, 0);
                prop_assert!((sum - expected).abs() < 1e-5, "{} {}", sum, expected);
            }
        }

        #[test]
        fn resampling_stays_within_the_range_and_keeps_constants(frames in 1usize..6, to in 1usize..12) {
            let embedding = ramp([1, 2, frames, 2]).with_frames(to);
            prop_assert!(embedding.values().iter().all(|v| (0.0..=16.0).contains(v)));
            let constant = Embedding::new([1, 1, frames, 1], vec![3.5; frames]).with_frames(to);
            prop_assert!(constant.values().iter().all(|v| *v == 3.5));
        }

        #[test]
        fn sums_of_differences_give_the_embedding_back(frames in 1usize..6) {
            let embedding = ramp([2, 1, frames, 3]);
            let difference = embedding.debiased(Debias::Difference, 1);
            for position in 0..2 {
                for channel in 0..3 {
                    let mut sum = 0.0;
                    for frame in 0..frames {
                        sum += difference.at(position, frame, channel);
                        prop_assert_eq!(sum, embedding.at(position, frame, channel));
                    }
                }
            }
        }
    }
}
