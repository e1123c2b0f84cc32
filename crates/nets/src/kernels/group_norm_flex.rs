//! Group norm on the CPU, over images whose channels lie together.
//!
//! Mean and deviation take two passes, so that a mean far from zero costs no digits. An image that fits the cache is
//! one task; a larger one is read in pieces by all threads, pass by pass. Sums are taken over blocks of rows in f32,
//! over blocks in f64, in an order that does not depend on the number of threads.

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::elementwise::{GroupNormOptions, NormArguments};
use super::elementwise_flex::{contiguous, from_values, rewrite_rows};
use super::half_flex::{narrowed, widened};
use super::simd::{LANES, sigmoid, silu_slope, vectorised};

/// Values of an image that one task handles as a whole: 256 KiB of f32.
const VALUES_PER_IMAGE: usize = 64 * 1024;
/// Values of a piece of a larger image: 64 KiB of f32.
const VALUES_PER_PIECE: usize = 16 * 1024;
/// Values of a channel that are added up in f32.
const VALUES_PER_SUM: usize = 64;
/// Values that loops handle as one piece, at least: a multiple of every vector's length.
const VALUES_PER_LOOP: usize = 128;

/// Sizes of what is normalised: `[images, positions, groups, channels of a group]`.
#[derive(Clone, Copy)]
struct Sizes {
    images: usize,
    positions: usize,
    groups: usize,
    width: usize,
}

impl Sizes {
    fn of(shape: &Shape, options: GroupNormOptions) -> Self {
        let [images, positions, groups, width] = options.group_view(shape);
        Self {
            images,
            positions,
            groups,
            width,
        }
    }

    fn channels(self) -> usize {
        self.groups * self.width
    }

    fn image_len(self) -> usize {
        self.positions * self.channels()
    }

    /// Whether images are handled as wholes.
    fn are_small(self) -> bool {
        self.image_len() <= VALUES_PER_PIECE
            || self.images > 1 && self.image_len() <= VALUES_PER_IMAGE
    }

    /// Rows after which whole vectors have been filled, and loops are long enough to be worth their start. What channels
    /// have is repeated for as many, so that loops need not know where one row ends and the next begins.
    fn rows_per_loop(self) -> usize {
        let mut rows = 1;
        while !(rows * self.channels()).is_multiple_of(LANES) {
            rows *= 2;
        }
        rows * VALUES_PER_LOOP.div_ceil(rows * self.channels())
    }

    /// Something that each channel has, for every row of a loop.
    fn repeated(self, of_channels: &[f32]) -> Vec<f32> {
        of_channels.repeat(self.rows_per_loop())
    }

    /// Sums for every row of a loop, as those of channels.
    fn folded(self, sums: &[f64]) -> Vec<f64> {
        let mut total = vec![0.0; self.channels()];
        for sums in sums.chunks_exact(self.channels()) {
            total.iter_mut().zip(sums).for_each(|(sum, x)| *sum += x);
        }
        total
    }

    /// The image of a row, where rows of all images are counted.
    fn image_of(self, row: usize) -> usize {
        row / self.positions
    }
}

/// [`group_norm`](super::elementwise::ElementwiseKernels::group_norm) of floats of 32 bits or, by way of them, 16.
pub(super) fn group_norm(
    arguments: NormArguments<FlexTensor>,
    options: GroupNormOptions,
) -> FlexTensor {
    let NormArguments { input, gamma, beta } = arguments;
    let dtype = input.dtype();
    let sizes = Sizes::of(input.layout().shape(), options);
    let [gamma, beta] = [gamma, beta].map(|factors| contiguous(widened(factors)));
    let affine = Affine {
        gamma: sizes.repeated(gamma.storage()),
        beta: sizes.repeated(beta.storage()),
        silu: options.silu,
    };
    let input = contiguous(widened(input));
    let output = if sizes.are_small() {
        let whole_images = |_, images: &mut [f32]| {
            for image in images.chunks_exact_mut(sizes.image_len()) {
                let moments = Moments::of(image, sizes, options.epsilon);
                affine.apply(&moments, image);
            }
        };
        rewrite_rows(input, sizes.image_len(), whole_images).0
    } else {
        let moments = moments_in_pieces(input.storage(), sizes, options.epsilon);
        let some_rows = |first, rows: &mut [f32]| {
            for (image, _, rows) in by_image(sizes, first, rows) {
                affine.apply(&moments[image], rows);
            }
        };
        rewrite_rows(input, sizes.channels(), some_rows).0
    };
    narrowed(output, dtype)
}

/// Gradients of [`group_norm`], those that are wanted. With `x̂ = (x - mean) / std` and `g` the gradient that reaches
/// `γ x̂ + β`: `dγ = Σ g x̂`, `dβ = Σ g`, `dx = (γ g - mean(γ g) - x̂ mean(γ g x̂)) / std`.
///
/// Mean and deviation are taken again rather than kept.
pub(super) fn group_norm_backward(
    arguments: NormArguments<FlexTensor>,
    options: GroupNormOptions,
    grad: FlexTensor,
    wanted: NormArguments<bool>,
) -> NormArguments<Option<FlexTensor>> {
    let NormArguments { input, gamma, beta } = arguments;
    let types = [input.dtype(), gamma.dtype(), beta.dtype()];
    let sizes = Sizes::of(input.layout().shape(), options);
    let [input, gamma, beta] = [input, gamma, beta].map(|x| contiguous(widened(x)));
    let x: &[f32] = input.storage();
    let affine = Affine {
        gamma: sizes.repeated(gamma.storage()),
        beta: sizes.repeated(beta.storage()),
        silu: options.silu,
    };
    let grad = contiguous(widened(grad));
    let channels = sizes.channels();

    let (grad, sums) = if sizes.are_small() {
        let whole_images = |first, grads: &mut [f32]| {
            let x = x[first * sizes.image_len()..].chunks_exact(sizes.image_len());
            let mut total = ChannelSums::zeros(channels);
            for (grads, x) in grads.chunks_exact_mut(sizes.image_len()).zip(x) {
                let moments = Moments::of(x, sizes, options.epsilon);
                let sums = affine.reach_back(&moments, x, grads, sizes);
                let corrections = Corrections::of(&sums, &moments, &affine, sizes);
                corrections.apply(&moments, x, grads);
                total.add(&sums);
            }
            total
        };
        rewrite_rows(grad, sizes.image_len(), whole_images)
    } else {
        let moments = moments_in_pieces(x, sizes, options.epsilon);
        let some_rows = |first, grads: &mut [f32]| {
            let parts = by_image(sizes, first, grads).map(|(image, row, grads)| {
                let x = &x[row * channels..][..grads.len()];
                (image, affine.reach_back(&moments[image], x, grads, sizes))
            });
            parts.collect::<Vec<_>>()
        };
        let (grad, parts) = rewrite_rows(grad, channels, some_rows);
        let mut sums: Vec<_> = (0..sizes.images)
            .map(|_| ChannelSums::zeros(channels))
            .collect();
        for (image, part) in parts.iter().flatten() {
            sums[*image].add(part);
        }
        let images = sums.iter().zip(&moments);
        let corrections: Vec<_> = images
            .map(|(sums, moments)| Corrections::of(sums, moments, &affine, sizes))
            .collect();
        let some_rows = |first, grads: &mut [f32]| {
            for (image, row, grads) in by_image(sizes, first, grads) {
                let x = &x[row * channels..][..grads.len()];
                corrections[image].apply(&moments[image], x, grads);
            }
        };
        (rewrite_rows(grad, channels, some_rows).0, sums)
    };

    let total = |of: fn(&ChannelSums) -> &[f64], dtype| {
        let mut total = vec![0.0; channels];
        for sums in &sums {
            total
                .iter_mut()
                .zip(of(sums))
                .for_each(|(sum, x)| *sum += x);
        }
        let total = total.into_iter().map(|sum| sum as f32).collect();
        narrowed(from_values(total, Shape::new([channels])), dtype)
    };
    NormArguments {
        input: wanted.input.then(|| narrowed(grad, types[0])),
        gamma: wanted.gamma.then(|| total(|sums| &sums.with_x, types[1])),
        beta: wanted.beta.then(|| total(|sums| &sums.plain, types[2])),
    }
}

/// Cuts rows, which begin with row `first` of all images, where images end: the image, the first row, and the rows.
fn by_image(
    sizes: Sizes,
    first: usize,
    mut rows: &mut [f32],
) -> impl Iterator<Item = (usize, usize, &mut [f32])> {
    let mut row = first;
    std::iter::from_fn(move || {
        if rows.is_empty() {
            return None;
        }
        let image = sizes.image_of(row);
        let left = ((image + 1) * sizes.positions - row) * sizes.channels();
        let count = left.min(rows.len());
        let (here, rest) = std::mem::take(&mut rows).split_at_mut(count);
        let start = row;
        (rows, row) = (rest, row + here.len() / sizes.channels());
        Some((image, start, here))
    })
}

/// Mean, and reciprocal of the standard deviation, of each channel's group, [repeated](Sizes::repeated).
struct Moments {
    mean: Vec<f32>,
    rstd: Vec<f32>,
}

impl Moments {
    /// Those of one image.
    fn of(image: &[f32], sizes: Sizes, epsilon: f64) -> Self {
        let mean = sizes.mean_of_groups(&channel_sums(image, sizes));
        let squares = sizes.mean_of_groups(&channel_squares(image, &mean, sizes));
        Self::new(mean, &squares, epsilon)
    }

    fn new(mean: Vec<f32>, squares: &[f32], epsilon: f64) -> Self {
        let rstd = |square: &f32| (f64::from(*square) + epsilon).sqrt().recip() as f32;
        Self {
            rstd: squares.iter().map(rstd).collect(),
            mean,
        }
    }
}

/// The moments of every image, by all threads.
fn moments_in_pieces(values: &[f32], sizes: Sizes, epsilon: f64) -> Vec<Moments> {
    let rows_per_piece = (VALUES_PER_PIECE / sizes.channels()).max(1);
    let pieces = |image: usize| {
        let image = &values[image * sizes.image_len()..][..sizes.image_len()];
        image.par_chunks(rows_per_piece * sizes.channels())
    };
    let mean_of = |sums: Vec<Vec<f64>>| sizes.mean_of_groups(&sizes.folded(&sums.concat()));
    let moments = |image| {
        let sums = pieces(image).map(|rows| channel_sums(rows, sizes));
        let mean = mean_of(sums.collect());
        let squares = pieces(image).map(|rows| channel_squares(rows, &mean, sizes));
        let squares = mean_of(squares.collect());
        Moments::new(mean, &squares, epsilon)
    };
    (0..sizes.images).into_par_iter().map(moments).collect()
}

impl Sizes {
    /// The mean of each group over its channels and all positions, given sums for each channel; for every channel,
    /// [repeated](Self::repeated).
    fn mean_of_groups(self, sums: &[f64]) -> Vec<f32> {
        let count = (self.width * self.positions) as f64;
        let groups = sums.chunks_exact(self.width);
        let means = groups.flat_map(|sums| {
            let mean = (sums.iter().sum::<f64>() / count) as f32;
            std::iter::repeat_n(mean, self.width)
        });
        self.repeated(&means.collect::<Vec<f32>>())
    }
}

/// Sums of each channel over rows.
fn channel_sums(rows: &[f32], sizes: Sizes) -> Vec<f64> {
    let nothing = sizes.repeated(&vec![0.0; sizes.channels()]);
    summed(
        rows,
        &nothing,
        sizes,
        #[inline(always)]
        |x, _| x,
    )
}

/// Sums of each channel's squared distances from the mean.
fn channel_squares(rows: &[f32], mean: &[f32], sizes: Sizes) -> Vec<f64> {
    summed(
        rows,
        mean,
        sizes,
        #[inline(always)]
        |x, mean| (x - mean) * (x - mean),
    )
}

/// Sums for each channel of a function of every value and of something that its channel has.
#[inline(always)]
fn summed(
    rows: &[f32],
    of_channels: &[f32],
    sizes: Sizes,
    term: impl Fn(f32, f32) -> f32,
) -> Vec<f64> {
    let period = of_channels.len();
    let total = vectorised(
        #[inline(always)]
        || {
            let mut total = vec![0.0_f64; period];
            let mut sums = vec![0.0_f32; period];
            for block in rows.chunks(VALUES_PER_SUM * period) {
                for values in block.chunks(period) {
                    for ((sum, &x), &c) in sums.iter_mut().zip(values).zip(of_channels) {
                        *sum += term(x, c);
                    }
                }
                add_and_forget(&mut total, &mut sums);
            }
            total
        },
    );
    sizes.folded(&total)
}

#[inline(always)]
fn add_and_forget(total: &mut [f64], sums: &mut [f32]) {
    for (total, sum) in total.iter_mut().zip(sums) {
        *total += f64::from(std::mem::take(sum));
    }
}

/// What is done to normalised values; factors and addends are [repeated](Sizes::repeated).
struct Affine {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    silu: bool,
}

impl Affine {
    /// Normalises, scales and shifts rows, and applies SiLU if it follows.
    fn apply(&self, moments: &Moments, rows: &mut [f32]) {
        if self.silu {
            self.apply_with(
                moments,
                rows,
                #[inline(always)]
                |y| y * sigmoid(y),
            );
        } else {
            self.apply_with(
                moments,
                rows,
                #[inline(always)]
                |y| y,
            );
        }
    }

    #[inline(always)]
    fn apply_with(&self, moments: &Moments, rows: &mut [f32], activation: impl Fn(f32) -> f32) {
        let mean = &moments.mean;
        let scale = self.scale(moments);
        vectorised(
            #[inline(always)]
            || {
                for values in rows.chunks_mut(mean.len()) {
                    let factors = mean.iter().zip(&scale).zip(&self.beta);
                    for (x, ((mean, scale), beta)) in values.iter_mut().zip(factors) {
                        *x = activation((*x - mean) * scale + beta);
                    }
                }
            },
        );
    }

    /// What distances from the mean are multiplied with.
    fn scale(&self, moments: &Moments) -> Vec<f32> {
        let factors = moments.rstd.iter().zip(&self.gamma);
        factors.map(|(rstd, gamma)| rstd * gamma).collect()
    }

    /// Turns gradients of the result into those of `γ x̂ + β`, and adds up what they are per channel.
    fn reach_back(
        &self,
        moments: &Moments,
        x: &[f32],
        grads: &mut [f32],
        sizes: Sizes,
    ) -> ChannelSums {
        let Moments { mean, rstd } = moments;
        let scale = self.scale(moments);
        let period = mean.len();
        let (plain, with_x) = vectorised(
            #[inline(always)]
            || {
                let [mut plain, mut with_x] = [0; 2].map(|_| vec![0.0_f64; period]);
                let [mut sums, mut sums_with_x] = [0; 2].map(|_| vec![0.0_f32; period]);
                let blocks = grads.chunks_mut(VALUES_PER_SUM * period);
                for (grads, x) in blocks.zip(x.chunks(VALUES_PER_SUM * period)) {
                    let pieces = grads.chunks_mut(period).zip(x.chunks(period));
                    for (grads, x) in pieces {
                        if self.silu {
                            let factors = mean.iter().zip(&scale).zip(&self.beta);
                            let values = grads.iter_mut().zip(x).zip(factors);
                            for ((grad, x), ((mean, scale), beta)) in values {
                                *grad *= silu_slope((x - mean) * scale + beta);
                            }
                        }
                        let sums = sums.iter_mut().zip(&mut sums_with_x);
                        let moments = mean.iter().zip(rstd);
                        let values = grads.iter().zip(x).zip(moments).zip(sums);
                        for (((grad, x), (mean, rstd)), (sum, sum_with_x)) in values {
                            *sum += grad;
                            *sum_with_x += grad * ((x - mean) * rstd);
                        }
                    }
                    add_and_forget(&mut plain, &mut sums);
                    add_and_forget(&mut with_x, &mut sums_with_x);
                }
                (plain, with_x)
            },
        );
        ChannelSums {
            plain: sizes.folded(&plain),
            with_x: sizes.folded(&with_x),
        }
    }
}

/// Sums of gradients per channel.
struct ChannelSums {
    plain: Vec<f64>,
    /// Of gradients times normalised values.
    with_x: Vec<f64>,
}

impl ChannelSums {
    fn zeros(channels: usize) -> Self {
        Self {
            plain: vec![0.0; channels],
            with_x: vec![0.0; channels],
        }
    }

    fn add(&mut self, other: &Self) {
        for (sum, x) in self.plain.iter_mut().zip(&other.plain) {
            *sum += x;
        }
        for (sum, x) in self.with_x.iter_mut().zip(&other.with_x) {
            *sum += x;
        }
    }
}

/// What gradients are multiplied with on their way to the input, and what they lose because mean and deviation depend on
/// it: a constant, and a multiple of the distance from the mean. All are [repeated](Sizes::repeated).
struct Corrections {
    scale: Vec<f32>,
    shift: Vec<f32>,
    slope: Vec<f32>,
}

impl Corrections {
    fn of(sums: &ChannelSums, moments: &Moments, affine: &Affine, sizes: Sizes) -> Self {
        let mean = |sums: &[f64]| {
            let scaled = sums.iter().zip(&affine.gamma);
            let scaled = scaled.map(|(sum, gamma)| sum * f64::from(*gamma));
            sizes.mean_of_groups(&scaled.collect::<Vec<f64>>())
        };
        let (plain, with_x, rstd) = (mean(&sums.plain), mean(&sums.with_x), &moments.rstd);
        Self {
            scale: affine.scale(moments),
            shift: plain.iter().zip(rstd).map(|(m, r)| m * r).collect(),
            slope: with_x.iter().zip(rstd).map(|(m, r)| m * r * r).collect(),
        }
    }

    fn apply(&self, moments: &Moments, x: &[f32], grads: &mut [f32]) {
        let mean = &moments.mean;
        vectorised(
            #[inline(always)]
            || {
                let pieces = grads.chunks_mut(mean.len()).zip(x.chunks(mean.len()));
                for (grads, x) in pieces {
                    let corrections = self.shift.iter().zip(&self.slope);
                    let factors = mean.iter().zip(&self.scale).zip(corrections);
                    let values = grads.iter_mut().zip(x).zip(factors);
                    for ((grad, x), ((mean, scale), (shift, slope))) in values {
                        *grad = *grad * scale - shift - (x - mean) * slope;
                    }
                }
            },
        );
    }
}
