//! Convolutions of 3×3 pixels with stride one, by the minimal filtering of Winograd.
//!
//! Source: *Fast Algorithms for Convolutional Neural Networks* (arXiv:1509.09308), F(2×2, 3×3). Two by two pixels of the
//! output depend on a tile `d` of four by four pixels of the input and come from 16 products instead of 36:
//!
//! ```text
//! Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A
//! ```
//!
//! With many tiles and channels, each of the 16 is a product of matrices, `[tiles, in channels]` times
//! `[in channels, out channels]`. The numbers in `B` and `A` are 0 and ±1, those in `G` also ½, so that hardly
//! more is lost by rounding than in the sum itself.

use std::array;

use macerator::{Scalar, Simd, WithSimd};

use super::super::matrix::{Existing, Matrix, MatrixMut, multiply, rows_of, with_scratch};
use super::super::simd::{Vector, load, on_vectors, store};
use super::Sizes;

/// Products for a tile.
const PRODUCTS: usize = 16;
/// Values of the tiles' inputs, or of their outputs, that a task holds at once: 256 KiB of f32, so that both stay in the
/// second-level cache.
const VALUES_AT_ONCE: usize = 64 * 1024;
/// Tiles that a task takes at once, at least: with fewer, packing the weights weighs in.
const LEAST_TILES: usize = 16;
/// Values of the weights' matrices, at most: beyond, making them takes more memory than the saved time is worth.
const MOST_WEIGHTS: usize = 10 << 20;

/// Whether a convolution can and should go this way.
pub(super) fn suits(sizes: Sizes) -> bool {
    sizes.kernel == [3, 3]
        && sizes.geometry.stride == [1, 1]
        && sizes.in_channels * sizes.out_channels * PRODUCTS <= MOST_WEIGHTS
}

/// `G g Gᵀ` for every pair of channels: for each product `[in channels, out channels]`. `weight` is asked for an input
/// channel, an output channel and a place of the kernel.
pub(super) fn weights(sizes: Sizes, weight: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    let (from, to) = (sizes.in_channels, sizes.out_channels);
    let mut weights = vec![0.0; PRODUCTS * from * to];
    for in_channel in 0..from {
        for out_channel in 0..to {
            let g: [[f32; 3]; 3] =
                array::from_fn(|y| array::from_fn(|x| weight(in_channel, out_channel, 3 * y + x)));
            // Rows first, then columns.
            let rows = stretched(g);
            let columns: [[f32; 4]; 3] = array::from_fn(|x| array::from_fn(|y| rows[y][x]));
            let products = stretched(columns); // [column][row]
            for (column, values) in products.into_iter().enumerate() {
                for (row, value) in values.into_iter().enumerate() {
                    let product = 4 * row + column;
                    weights[(product * from + in_channel) * to + out_channel] = value;
                }
            }
        }
    }
    weights
}

/// `G` times three rows.
fn stretched<const N: usize>([a, b, c]: [[f32; N]; 3]) -> [[f32; N]; 4] {
    [
        a,
        array::from_fn(|i| 0.5 * (a[i] + b[i] + c[i])),
        array::from_fn(|i| 0.5 * (a[i] - b[i] + c[i])),
        c,
    ]
}

/// The convolution, given the [weights](weights()).
pub(super) fn convolved(sizes: Sizes, x: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let [height, width] = sizes.output;
    // Two rows of pixels are a row of tiles. Where one would reach into the next image, images stay whole.
    let together = if height % 2 == 0 {
        2 * width
    } else {
        height * width
    };
    let work = sizes.work_per_pixel() / 2;
    rows_of(
        sizes.output_rows(),
        bias,
        work,
        together,
        |first, output| {
            let tiles = Tiles::of(
                sizes,
                first / width,
                output.len() / sizes.out_channels / width,
            );
            let widest = PRODUCTS * sizes.in_channels.max(sizes.out_channels);
            let at_once = (VALUES_AT_ONCE / widest).max(LEAST_TILES);
            for start in (0..tiles.count()).step_by(at_once) {
                let tiles = tiles.part(start, at_once);
                tiles.convolve(x, weights, bias, output);
            }
        },
    )
}

/// Tiles of some rows of the output, which are counted through all images.
#[derive(Clone, Copy)]
struct Tiles {
    sizes: Sizes,
    /// The row of pixels that the output begins with.
    first_row: usize,
    /// The first tile, counted from that row, and the one after the last.
    start: usize,
    end: usize,
}

/// Where a tile is.
#[derive(Clone, Copy)]
struct Place {
    image: usize,
    row: usize,
    column: usize,
}

impl Tiles {
    fn of(sizes: Sizes, first_row: usize, rows: usize) -> Self {
        let tiles = Self {
            sizes,
            first_row,
            start: 0,
            end: 0,
        };
        let rows_of_tiles =
            rows / sizes.output[0] * tiles.per_image()[0] + (rows % sizes.output[0]).div_ceil(2);
        Self {
            end: rows_of_tiles * tiles.per_image()[1],
            ..tiles
        }
    }

    fn per_image(self) -> [usize; 2] {
        self.sizes.output.map(|side| side.div_ceil(2))
    }

    fn count(self) -> usize {
        self.end - self.start
    }

    fn part(self, start: usize, count: usize) -> Self {
        Self {
            start: self.start + start,
            end: self.end.min(self.start + start + count),
            ..self
        }
    }

    /// Image, and row and column of the upper left pixel, of tile `index`.
    fn place(self, index: usize) -> Place {
        let [rows, columns] = self.per_image();
        let before = self.first_row / self.sizes.output[0] * rows
            + self.first_row % self.sizes.output[0] / 2;
        let index = before * columns + self.start + index;
        let (image, tile) = (index / (rows * columns), index % (rows * columns));
        Place {
            image,
            row: 2 * (tile / columns),
            column: 2 * (tile % columns),
        }
    }

    /// Writes the convolution to the rows of the output.
    fn convolve(self, x: &[f32], weights: &[f32], bias: &[f32], output: &mut [f32]) {
        let (from, to, count) = (
            self.sizes.in_channels,
            self.sizes.out_channels,
            self.count(),
        );
        let lengths = [PRODUCTS * count * from, PRODUCTS * count * to, from];
        with_scratch(lengths.iter().sum(), |scratch| {
            let (inputs, rest) = scratch.split_at_mut(lengths[0]);
            let (products, padding) = rest.split_at_mut(lengths[1]);
            padding.fill(0.0);
            on_vectors(TransformInputs {
                tiles: self,
                x,
                padding,
                inputs,
            });
            for product in 0..PRODUCTS {
                multiply(
                    MatrixMut::new(&mut products[product * count * to..], [count, to], to),
                    Existing::Overwritten,
                    1.0,
                    Matrix::new(&inputs[product * count * from..], [count, from], from),
                    Matrix::new(&weights[product * from * to..], [from, to], to),
                );
            }
            on_vectors(TransformProducts {
                tiles: self,
                products,
                bias,
                output,
            });
        });
    }
}

/// `Bᵀ d B` of every tile and channel: for each product `[tiles, in channels]`.
struct TransformInputs<'a> {
    tiles: Tiles,
    x: &'a [f32],
    /// A pixel of zeros.
    padding: &'a [f32],
    inputs: &'a mut [f32],
}

impl WithSimd for TransformInputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let Self {
            tiles,
            x,
            padding,
            inputs,
        } = self;
        let (sizes, count) = (tiles.sizes, tiles.count());
        let channels = sizes.in_channels;
        let [top, left] = sizes.geometry.padding;
        for tile in 0..count {
            let place = tiles.place(tile);
            let image = &x[place.image * sizes.image_pixels() * channels..];
            let pixels: [&[f32]; 16] = array::from_fn(|pixel| {
                let row = (place.row + pixel / 4).wrapping_sub(top);
                let column = (place.column + pixel % 4).wrapping_sub(left);
                if row < sizes.image[0] && column < sizes.image[1] {
                    &image[(row * sizes.image[1] + column) * channels..][..channels]
                } else {
                    padding
                }
            });
            for (channel, lanes) in runs::<S>(channels) {
                let mut d = [0.0_f32.splat::<S>(); 16];
                for (d, pixel) in d.iter_mut().zip(pixels) {
                    *d = load(&pixel[channel..], lanes);
                }
                transform(&mut d);
                for (product, values) in d.into_iter().enumerate() {
                    let start = (product * count + tile) * channels + channel;
                    store(&mut inputs[start..], values, lanes);
                }
            }
        }
    }
}

/// `Aᵀ m A` of every tile and channel and the bias, written to the pixels of the output.
struct TransformProducts<'a> {
    tiles: Tiles,
    products: &'a [f32],
    bias: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for TransformProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let Self {
            tiles,
            products,
            bias,
            output,
        } = self;
        let (channels, count) = (tiles.sizes.out_channels, tiles.count());
        let [height, width] = tiles.sizes.output;
        for tile in 0..count {
            let place = tiles.place(tile);
            let first = place.image * height + place.row - tiles.first_row;
            for (channel, lanes) in runs::<S>(channels) {
                let mut m = [0.0_f32.splat::<S>(); 16];
                for (product, m) in m.iter_mut().enumerate() {
                    let start = (product * count + tile) * channels + channel;
                    *m = load(&products[start..], lanes);
                }
                let bias = load(&bias[channel..], lanes);
                for (pixel, values) in sums(m).into_iter().enumerate() {
                    let (row, column) = (pixel / 2, pixel % 2);
                    if place.row + row < height && place.column + column < width {
                        let pixel = (first + row) * width + place.column + column;
                        let to = &mut output[pixel * channels + channel..];
                        store(to, values + bias, lanes);
                    }
                }
            }
        }
    }
}

/// Runs of channels that are one vector: where they begin, and how many they are. The last begins early enough to be
/// a whole vector, if there are as many channels; what two runs share is computed twice.
#[inline(always)]
fn runs<S: Simd>(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let lanes = S::lanes32().min(channels);
    let last = channels - lanes;
    let starts = (0..channels).step_by(lanes);
    starts.map(move |start| (start.min(last), lanes))
}

/// `Bᵀ d B`: four rows of four, along one axis and then along the other.
#[inline(always)]
fn transform<S: Simd>(d: &mut [Vector<S>; 16]) {
    for i in 0..4 {
        [d[i], d[4 + i], d[8 + i], d[12 + i]] = differences([d[i], d[4 + i], d[8 + i], d[12 + i]]);
    }
    for i in [0, 4, 8, 12] {
        [d[i], d[i + 1], d[i + 2], d[i + 3]] = differences([d[i], d[i + 1], d[i + 2], d[i + 3]]);
    }
}

/// `Bᵀ` times four values.
#[inline(always)]
fn differences<S: Simd>([a, b, c, d]: [Vector<S>; 4]) -> [Vector<S>; 4] {
    [a - c, b + c, c - b, b - d]
}

/// `Aᵀ m A`: two by two of four by four.
#[inline(always)]
fn sums<S: Simd>(m: [Vector<S>; 16]) -> [Vector<S>; 4] {
    let mut rows = [m[0]; 8];
    for i in 0..4 {
        [rows[i], rows[4 + i]] = pair_of_sums([m[i], m[4 + i], m[8 + i], m[12 + i]]);
    }
    let [upper_left, upper_right] = pair_of_sums([rows[0], rows[1], rows[2], rows[3]]);
    let [lower_left, lower_right] = pair_of_sums([rows[4], rows[5], rows[6], rows[7]]);
    [upper_left, upper_right, lower_left, lower_right]
}

/// `Aᵀ` times four values.
#[inline(always)]
fn pair_of_sums<S: Simd>([a, b, c, d]: [Vector<S>; 4]) -> [Vector<S>; 2] {
    [a + b + c, b - c - d]
}
