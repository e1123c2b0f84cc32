//! How much the surroundings of a point in every frame look like its surroundings where it was asked for.
//!
//! Source: `get_track_feat` and `get_correlation_feat` of the published code. Both sample a square of features,
//! one cell apart, around a place that need not be a cell's centre; beyond the border the features of the border
//! go on. Every feature of the one square is compared with every feature of the other, which makes
//! `(2 r + 1)^4` inner products.
//!
//! The published code interpolates the features of each of the `(2 r + 1)^2` places from four cells each. All places
//! of a square lie at the same fraction between cells (clamping to the border keeps that true), so here one
//! square of `(2 r + 2)^2` whole cells is picked, compared, and the comparisons are interpolated, of which there are
//! fewer than features: an inner product is linear, so the values are the same up to rounding.
//!
//! Squares are listed with their columns (x) outermost, as the published code lists them.

use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::module::avg_pool2d;

use super::Query;
use super::config::STRIDE;

/// Feature maps of a clip at several sizes.
#[derive(Clone, Debug)]
pub struct FeaturePyramid<B: Backend> {
    levels: Vec<Level<B>>,
    frames: usize,
}

/// Feature maps of one size.
#[derive(Clone, Debug)]
struct Level<B: Backend> {
    cells: Tensor<B, 2>, // [frames * height * width, channels]
    height: usize,
    width: usize,
    /// Cells of the first level per cell of this one.
    scale: f64,
}

/// Whole cells around places, and how far the places lie between them.
struct Squares<B: Backend> {
    cells: Tensor<B, 3>,   // [places, side * side, channels]
    share_x: Tensor<B, 1>, // [places]
    share_y: Tensor<B, 1>, // [places]
    side: usize,           // 2 r + 2
}

impl<B: Backend> FeaturePyramid<B> {
    /// A pyramid of `levels` levels over feature maps `[frames, channels, height, width]`: each level averages
    /// two by two cells of the one before and drops what is left over.
    ///
    /// # Panics
    /// If the maps are too small for a cell on every level.
    pub fn new(features: Tensor<B, 4>, levels: usize) -> Self {
        let frames = features.dims()[0];
        let mut maps = features;
        let levels = (0..levels)
            .map(|index| {
                if index > 0 {
                    maps = avg_pool2d(maps.clone(), [2, 2], [2, 2], [0, 0], true, false);
                }
                let [_, channels, height, width] = maps.dims();
                assert!(height > 0 && width > 0, "level {index} has no cells");
                Level {
                    cells: maps
                        .clone()
                        .permute([0, 2, 3, 1])
                        .reshape([-1, channels as i64]),
                    height,
                    width,
                    scale: (1_u64 << index) as f64,
                }
            })
            .collect();
        Self { levels, frames }
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Compares the surroundings of points where they were asked for, `queries`, with their surroundings at
    /// `cells`, `[points, frames, 2]` in cells of the first level. The result is
    /// `[points * frames, (2 radius + 1)^4]`.
    pub(super) fn correlate(
        &self,
        level: usize,
        queries: &[Query],
        cells: Tensor<B, 3>,
        radius: usize,
    ) -> Tensor<B, 2> {
        let level = &self.levels[level];
        let device = cells.device();
        let [points, frames, _] = cells.dims();
        let support = level.support(queries, radius, &device); // [points, places, channels]
        let [_, places, channels] = support.dims();

        let every_frame: Vec<i64> = (0..points).flat_map(|_| 0..frames as i64).collect();
        let at = cells.reshape([points * frames, 2]);
        let squares = level.squares(&every_frame, at, radius);
        let side = squares.side;
        // All frames of a point are compared with the same features: one product per point.
        let around = squares
            .cells
            .reshape([points, frames * side * side, channels]);
        let products = around
            .matmul(support.swap_dims(1, 2)) // [points, frames * cells, places]
            .reshape([points * frames, side, side, places]);
        let interpolated = interpolate(products, squares.share_x, squares.share_y);
        interpolated.reshape([points * frames, places * places])
    }
}

impl<B: Backend> Level<B> {
    /// Features around the places of queries, `[queries, (2 radius + 1)^2, channels]`.
    fn support(&self, queries: &[Query], radius: usize, device: &B::Device) -> Tensor<B, 3> {
        let frames: Vec<i64> = queries.iter().map(|query| query.frame as i64).collect();
        let cells: Vec<f32> = queries
            .iter()
            .flat_map(|query| query.place.map(|pixels| pixels / STRIDE as f32))
            .collect();
        let cells = Tensor::from_data(TensorData::new(cells, [queries.len(), 2]), device);
        let squares = self.squares(&frames, cells, radius);
        let channels = squares.cells.dims()[2];
        let side = squares.side;
        let features = squares.cells.reshape([queries.len(), side, side, channels]);
        interpolate(features, squares.share_x, squares.share_y).reshape([
            queries.len(),
            (side - 1) * (side - 1),
            channels,
        ])
    }

    /// The cells around places `at`, `[places, 2]` in cells of the first level, in the given frames.
    fn squares(&self, frames: &[i64], at: Tensor<B, 2>, radius: usize) -> Squares<B> {
        let device = at.device();
        let places = frames.len();
        let side = 2 * radius + 2;
        let axis = |axis: usize, length: usize| {
            // Farther out, all cells of the square are the border's: the result does not change, and no place,
            // however far, leaves the range of integers.
            let at = at.clone().narrow(1, axis, 1) / self.scale;
            let at = at.clamp(-(radius as f32) - 1.0, (length + radius) as f32);
            let cell = at.clone().floor();
            let share = at - cell.clone();
            let offsets: Vec<i64> = (-(radius as i64)..).take(side).collect();
            let offsets =
                Tensor::<B, 2, Int>::from_data(TensorData::new(offsets, [1, side]), &device);
            let cells = (cell.int() + offsets).clamp(0, length as i64 - 1); // [places, side]
            (cells, share.reshape([places]))
        };
        let (columns, share_x) = axis(0, self.width);
        let (rows, share_y) = axis(1, self.height);
        let frame_cells = (self.height * self.width) as i64;
        let first: Vec<i64> = frames.iter().map(|frame| frame * frame_cells).collect();
        let first = Tensor::<B, 3, Int>::from_data(TensorData::new(first, [places, 1, 1]), &device);
        let indices =
            columns.unsqueeze_dim::<3>(2) + rows.unsqueeze_dim::<3>(1) * self.width as i64 + first; // [places, side, side], columns outermost
        let channels = self.cells.dims()[1];
        Squares {
            cells: self
                .cells
                .clone()
                .select(0, indices.reshape([places * side * side]))
                .reshape([places, side * side, channels]),
            share_x,
            share_y,
            side,
        }
    }
}

/// Values at whole cells, `[places, side, side, channels]` with columns outermost, to values between them,
/// `[places, side - 1, side - 1, channels]`.
///
/// As products with matrices: a product per place is many times faster on the CPU than sums of shifted views, whose
/// elements are found one by one.
fn interpolate<B: Backend>(
    values: Tensor<B, 4>,
    share_x: Tensor<B, 1>,
    share_y: Tensor<B, 1>,
) -> Tensor<B, 4> {
    let [places, side, _, channels] = values.dims();
    let columns = values.reshape([places, side, side * channels]);
    let columns = neighbour_weights(share_x, side).matmul(columns); // [places, side - 1, side * channels]
    let cells = columns.reshape([places, side - 1, side, channels]);
    neighbour_weights(share_y, side)
        .unsqueeze_dim::<4>(1)
        .matmul(cells)
}

/// A matrix for each place that mixes `side` values to `side - 1`: of each value and the next, the share of the
/// next. `[places, side - 1, side]`.
fn neighbour_weights<B: Backend>(share: Tensor<B, 1>, side: usize) -> Tensor<B, 3> {
    let device = share.device();
    let places = share.dims()[0];
    let entries = |entry: fn(usize, usize) -> f32| {
        let values: Vec<f32> = (0..(side - 1) * side)
            .map(|index| entry(index / side, index % side))
            .collect();
        Tensor::<B, 2>::from_data(TensorData::new(values, [1, (side - 1) * side]), &device)
    };
    let this = entries(|row, column| if column == row { 1.0 } else { 0.0 });
    let slope = entries(|row, column| match column {
        _ if column == row => -1.0,
        _ if column == row + 1 => 1.0,
        _ => 0.0,
    });
    let weights = share.unsqueeze_dim::<2>(1).matmul(slope) + this; // [places, (side - 1) * side]
    weights.reshape([places, side - 1, side])
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;
    use kinvert_testkit::{Tolerance, assert_close, values};
    use proptest::prelude::*;

    use super::*;

    const HEIGHT: usize = 5;
    const WIDTH: usize = 7;
    const FRAMES: usize = 2;
    const CHANNELS: usize = 3;
    const RADIUS: usize = 1;

    /// A fixed, irregular value for every channel and cell.
    fn feature(frame: usize, channel: usize, row: usize, column: usize) -> f32 {
        let index = ((frame * CHANNELS + channel) * HEIGHT + row) * WIDTH + column;
        (index as f32 * 1.7).sin()
    }

    fn pyramid() -> FeaturePyramid<Flex> {
        let features: Vec<f32> = (0..FRAMES * CHANNELS * HEIGHT * WIDTH)
            .map(|index| (index as f32 * 1.7).sin())
            .collect();
        let shape = [FRAMES, CHANNELS, HEIGHT, WIDTH];
        let features = Tensor::from_data(TensorData::new(features, shape), &Default::default());
        FeaturePyramid::new(features, 1)
    }

    /// A feature between cells, one place at a time: the place is clamped to the border first.
    fn sampled(frame: usize, channel: usize, x: f32, y: f32) -> f32 {
        let clamped = |at: f32, length: usize| at.clamp(0.0, (length - 1) as f32);
        let (x, y) = (clamped(x, WIDTH), clamped(y, HEIGHT));
        let (column, row) = (x.floor() as usize, y.floor() as usize);
        let (right, below) = ((column + 1).min(WIDTH - 1), (row + 1).min(HEIGHT - 1));
        let line = |row| {
            let (left, right) = (
                feature(frame, channel, row, column),
                feature(frame, channel, row, right),
            );
            left + (right - left) * x.fract()
        };
        line(row) + (line(below) - line(row)) * y.fract()
    }

    /// All offsets of a square, columns outermost.
    fn offsets() -> impl Iterator<Item = (f32, f32)> {
        let steps = || (-(RADIUS as i32)..=RADIUS as i32).map(|step| step as f32);
        steps().flat_map(move |x| steps().map(move |y| (x, y)))
    }

    fn check(query: [f32; 2], at: [f32; 2]) {
        let queries = [Query {
            frame: 1,
            place: query.map(|cells| cells * STRIDE as f32),
        }];
        let cells = [[at, query]];
        let cells = Tensor::<Flex, 3>::from_floats(cells, &Default::default());
        let found = pyramid().correlate(0, &queries, cells, RADIUS);
        let expected: Vec<f32> = [at, query]
            .into_iter()
            .enumerate()
            .flat_map(|(frame, at)| offsets().map(move |offset| (frame, at, offset)))
            .flat_map(|around| offsets().map(move |offset| (around, offset)))
            .map(|((frame, at, (x, y)), (query_x, query_y))| {
                (0..CHANNELS)
                    .map(|channel| {
                        sampled(frame, channel, at[0] + x, at[1] + y)
                            * sampled(1, channel, query[0] + query_x, query[1] + query_y)
                    })
                    .sum()
            })
            .collect();
        // Sums of three products of values up to 1.
        assert_close(
            "correlations",
            &values(found),
            &expected,
            Tolerance::Absolute(5e-6),
        );
    }

    proptest! {
        #[test]
        fn comparisons_agree_with_features_sampled_one_by_one(
            query in prop::array::uniform2(0.0_f32..6.0),
            at in prop::array::uniform2(-9.0_f32..15.0),
        ) {
            check(query, at);
        }
    }

    #[test]
    fn borders_cells_and_places_far_away_are_met() {
        for at in [
            [0.0, 0.0],
            [6.0, 4.0],
            [2.0, 3.5],
            [-1.0, 5.0],
            [1e9, -1e9],
            [f32::MAX, 2.0],
        ] {
            check([3.0, 2.0], at);
        }
    }

    #[test]
    fn levels_average_and_drop_what_is_left_over() {
        let ramp: Vec<f32> = (0..15).map(|index| index as f32).collect();
        let features =
            Tensor::<Flex, 4>::from_data(TensorData::new(ramp, [1, 1, 3, 5]), &Default::default());
        let pyramid = FeaturePyramid::new(features, 2);
        assert_eq!(values(pyramid.levels[1].cells.clone()), [3.0, 5.0]);
    }
}
