//! The CPU backend's kernels: one pass, several threads, vector instructions.
//!
//! Floats of 32 bits, and of 16 bits [by way of them](super::half_flex); other types take the plain form. A result is written over its input where nobody else
//! holds that memory: fresh memory costs as much as the arithmetic. Work is cut into tasks of fixed size, and sums
//! over tasks are taken in their order, so results do not depend on the number of threads.

use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{DType, FloatDType, Shape, TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::elementwise::{ElementwiseKernels, GroupNormOptions, NormArguments, plain};
use super::half_flex::{are_f32_or_half, in_f32, narrowed, widened};
use super::simd::{mean_and_variance, normal_distribution, sigmoid, sum_pairs, vectorised};

/// Values that one task handles: 64 KiB stay in the cache from the first look to the last.
const TASK: usize = 16 * 1024;

impl ElementwiseKernels for Flex {
    fn add(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        // The library's own sum of 16-bit floats takes one number at a time.
        in_f32([left, right], |[left, right]| Self::float_add(left, right))
    }

    fn cast(x: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        // The library's own goes through f64, with all values in memory at once.
        match (x.dtype(), DType::from(dtype)) {
            (DType::F32, to @ (DType::F16 | DType::BF16)) => narrowed(x, to),
            (DType::F16 | DType::BF16, DType::F32) => widened(x),
            _ => Self::float_cast(x, dtype),
        }
    }

    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        if !are_f32_or_half([&x]) {
            return plain::silu::<Self>(x);
        }
        in_f32([x], |[x]| {
            activated(
                x,
                #[inline(always)]
                |x| x * sigmoid(x),
            )
        })
    }

    fn silu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        if !are_f32_or_half([&x, &grad]) {
            return plain::silu_backward::<Self>(x, grad);
        }
        in_f32([x, grad], |[x, grad]| times_slope(x, grad, silu_slope))
    }

    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        if !are_f32_or_half([&x]) {
            return plain::gelu_of::<Self>(x);
        }
        in_f32([x], |[x]| {
            activated(
                x,
                #[inline(always)]
                |x| x * normal_distribution(x).0,
            )
        })
    }

    fn gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        if !are_f32_or_half([&x, &grad]) {
            return plain::gelu_backward::<Self>(x, grad);
        }
        in_f32([x, grad], |[x, grad]| times_slope(x, grad, gelu_slope))
    }

    fn geglu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        if !are_f32_or_half([&x]) {
            return plain::geglu::<Self>(x);
        }
        in_f32([x], |[x]| geglu(x))
    }

    fn geglu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        if !are_f32_or_half([&x, &grad]) {
            return plain::geglu_backward::<Self>(x, grad);
        }
        in_f32([x, grad], |[x, grad]| geglu_backward(x, grad))
    }

    fn group_norm(
        arguments: NormArguments<FloatTensor<Self>>,
        options: GroupNormOptions,
    ) -> FloatTensor<Self> {
        let NormArguments { input, gamma, beta } = &arguments;
        if !are_f32_or_half([input, gamma, beta]) {
            return plain::group_norm::<Self>(arguments, options);
        }
        let layout = NormLayout::of_groups(&input.shape(), options);
        normalise(arguments, layout)
    }

    fn group_norm_backward(
        arguments: NormArguments<FloatTensor<Self>>,
        options: GroupNormOptions,
        grad: FloatTensor<Self>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<Self>>> {
        let NormArguments { input, gamma, beta } = &arguments;
        if !are_f32_or_half([input, gamma, beta, &grad]) {
            return plain::group_norm_backward::<Self>(arguments, options, grad, wanted);
        }
        let layout = NormLayout::of_groups(&input.shape(), options);
        normalise_backward(arguments, layout, grad, wanted)
    }

    fn layer_norm(arguments: NormArguments<FloatTensor<Self>>, epsilon: f64) -> FloatTensor<Self> {
        let NormArguments { input, gamma, beta } = &arguments;
        if !are_f32_or_half([input, gamma, beta]) {
            return plain::layer_norm::<Self>(arguments, epsilon);
        }
        let layout = NormLayout::of_last_axis(&input.shape(), epsilon);
        normalise(arguments, layout)
    }

    fn layer_norm_backward(
        arguments: NormArguments<FloatTensor<Self>>,
        epsilon: f64,
        grad: FloatTensor<Self>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<Self>>> {
        let NormArguments { input, gamma, beta } = &arguments;
        if !are_f32_or_half([input, gamma, beta, &grad]) {
            return plain::layer_norm_backward::<Self>(arguments, epsilon, grad, wanted);
        }
        let layout = NormLayout::of_last_axis(&input.shape(), epsilon);
        normalise_backward(arguments, layout, grad, wanted)
    }
}

/// A function of every value.
#[inline(always)]
fn activated(x: FlexTensor, function: impl Fn(f32) -> f32 + Sync) -> FlexTensor {
    rewrite_rows(
        x,
        1,
        #[inline(always)]
        |_, values| {
            for x in values {
                *x = function(*x);
            }
        },
    )
    .0
}

/// Every gradient times the slope of a function there.
#[inline(always)]
fn times_slope(x: FlexTensor, grad: FlexTensor, slope: impl Fn(f32) -> f32 + Sync) -> FlexTensor {
    let x = contiguous(x);
    let x = x.storage::<f32>();
    rewrite_rows(
        grad,
        1,
        #[inline(always)]
        |first, grads| {
            for (grad, &x) in grads.iter_mut().zip(&x[first..]) {
                *grad *= slope(x);
            }
        },
    )
    .0
}

/// [`ElementwiseKernels::geglu`] of f32.
fn geglu(x: FlexTensor) -> FlexTensor {
    let mut shape = x.shape();
    let last = shape.num_dims() - 1;
    shape[last] /= 2;
    let width = shape[last];
    let x = contiguous(x);
    let x = x.storage::<f32>();
    let mut output = vec![0.0; x.len() / 2];
    for_tasks(
        &mut output,
        width,
        #[inline(always)]
        |first, rows| {
            let inputs = x[2 * first * width..].chunks_exact(2 * width);
            for (outputs, inputs) in rows.chunks_exact_mut(width).zip(inputs) {
                let (values, gates) = inputs.split_at(width);
                for ((output, value), &gate) in outputs.iter_mut().zip(values).zip(gates) {
                    *output = value * (gate * normal_distribution(gate).0);
                }
            }
        },
    );
    from_values(output, shape)
}

/// [`ElementwiseKernels::geglu_backward`] of f32.
fn geglu_backward(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
    let shape = grad.shape();
    let width = shape[shape.num_dims() - 1];
    let grad = contiguous(grad);
    let grad = grad.storage::<f32>();
    rewrite_rows(
        x,
        2 * width,
        #[inline(always)]
        |first, rows| {
            let grads = grad[first * width..].chunks_exact(width);
            for (row, grads) in rows.chunks_exact_mut(2 * width).zip(grads) {
                let (values, gates) = row.split_at_mut(width);
                geglu_backward_in_place(values, gates, grads);
            }
        },
    )
    .0
}

/// Turns the values and gates of one row into their gradients.
///
/// Short arrays in between: the compiler cannot know that the halves of a row do not overlap, and would take value
/// by value.
#[inline(always)]
fn geglu_backward_in_place(values: &mut [f32], gates: &mut [f32], grads: &[f32]) {
    const LANES: usize = 16;

    let halves = values.chunks_mut(LANES).zip(gates.chunks_mut(LANES));
    for ((values, gates), grads) in halves.zip(grads.chunks(LANES)) {
        let count = values.len();
        let (mut value, mut gate, mut grad) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        value[..count].copy_from_slice(values);
        gate[..count].copy_from_slice(gates);
        grad[..count].copy_from_slice(grads);
        for i in 0..LANES {
            let slope = gelu_slope(gate[i]);
            let gelu = gate[i] * normal_distribution(gate[i]).0;
            gate[i] = grad[i] * value[i] * slope;
            value[i] = grad[i] * gelu;
        }
        values.copy_from_slice(&value[..count]);
        gates.copy_from_slice(&gate[..count]);
    }
}

/// `1 / sqrt(2π)`.
const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;

/// The derivative of SiLU.
#[inline(always)]
fn silu_slope(x: f32) -> f32 {
    let s = sigmoid(x);
    s + x * s * (1.0 - s)
}

/// The derivative of GELU.
#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    let (cdf, bell) = normal_distribution(x);
    cdf + x * bell * FRAC_1_SQRT_TAU
}

/// How a norm cuts its input into rows that are normalised one by one.
#[derive(Clone, Copy)]
struct NormLayout {
    /// Neighbouring values that share a channel: 1 where the channel is the last axis.
    positions: usize,
    /// Channels of one row.
    channels_per_row: usize,
    /// Rows after which channels start again.
    groups: usize,
    epsilon: f64,
    silu: bool,
}

impl NormLayout {
    fn of_groups(shape: &Shape, options: GroupNormOptions) -> Self {
        let [_, channels, positions] = options.image_view(shape);
        Self {
            positions,
            channels_per_row: channels / options.groups,
            groups: options.groups,
            epsilon: options.epsilon,
            silu: options.silu,
        }
    }

    fn of_last_axis(shape: &Shape, epsilon: f64) -> Self {
        Self {
            positions: 1,
            channels_per_row: shape[shape.num_dims() - 1],
            groups: 1,
            epsilon,
            silu: false,
        }
    }

    fn row_len(&self) -> usize {
        self.channels_per_row * self.positions
    }

    /// First channel of a row.
    #[inline(always)]
    fn first_channel(&self, row: usize) -> usize {
        row % self.groups * self.channels_per_row
    }

    /// Mean of a row, and the reciprocal of its standard deviation.
    #[inline(always)]
    fn statistics(&self, row: &[f32]) -> (f32, f32) {
        let (mean, variance) = mean_and_variance(row);
        (mean as f32, (variance + self.epsilon).sqrt().recip() as f32)
    }
}

fn normalise(arguments: NormArguments<FlexTensor>, layout: NormLayout) -> FlexTensor {
    let NormArguments { input, gamma, beta } = arguments;
    let dtype = input.dtype();
    let [gamma, beta] = [gamma, beta].map(|factors| contiguous(widened(factors)));
    let (gamma, beta) = (gamma.storage::<f32>(), beta.storage::<f32>());
    let (output, _) = rewrite_rows(
        widened(input),
        layout.row_len(),
        #[inline(always)]
        |first, rows| {
            for (i, row) in rows.chunks_exact_mut(layout.row_len()).enumerate() {
                let channel = layout.first_channel(first + i);
                let affine = Affine {
                    gamma: &gamma[channel..][..layout.channels_per_row],
                    beta: &beta[channel..][..layout.channels_per_row],
                };
                let (mean, rstd) = layout.statistics(row);
                if layout.silu {
                    affine.apply(row, layout.positions, mean, rstd, |x| x * sigmoid(x));
                } else {
                    affine.apply(row, layout.positions, mean, rstd, |x| x);
                }
            }
        },
    );
    narrowed(output, dtype)
}

/// Scale and shift for the channels of one row.
struct Affine<'a> {
    gamma: &'a [f32],
    beta: &'a [f32],
}

impl Affine<'_> {
    #[inline(always)]
    fn apply(
        &self,
        row: &mut [f32],
        positions: usize,
        mean: f32,
        rstd: f32,
        activation: impl Fn(f32) -> f32,
    ) {
        if positions == 1 {
            for ((x, gamma), beta) in row.iter_mut().zip(self.gamma).zip(self.beta) {
                *x = activation((*x - mean) * (rstd * gamma) + beta);
            }
        } else {
            let channels = row.chunks_exact_mut(positions);
            for ((channel, gamma), &beta) in channels.zip(self.gamma).zip(self.beta) {
                let scale = rstd * gamma;
                for x in channel {
                    *x = activation((*x - mean) * scale + beta);
                }
            }
        }
    }
}

/// With `x̂ = (x - mean) / std` and `g` the gradient that reaches `γ x̂ + β`:
/// `dγ = Σ g x̂`, `dβ = Σ g`, `dx = (γ g - mean(γ g) - x̂ mean(γ g x̂)) / std`.
///
/// Mean and deviation are taken again rather than kept: the row must be read anyway, and is in the cache for the
/// two passes that follow.
fn normalise_backward(
    arguments: NormArguments<FlexTensor>,
    layout: NormLayout,
    grad: FlexTensor,
    wanted: NormArguments<bool>,
) -> NormArguments<Option<FlexTensor>> {
    let channels = layout.groups * layout.channels_per_row;
    let types = NormArguments {
        input: arguments.input.dtype(),
        gamma: arguments.gamma.dtype(),
        beta: arguments.beta.dtype(),
    };
    let [gamma, beta] =
        [arguments.gamma, arguments.beta].map(|factors| contiguous(widened(factors)));
    let (gamma, beta) = (gamma.storage::<f32>(), beta.storage::<f32>());
    let input = contiguous(widened(arguments.input));
    let input = input.storage::<f32>();
    let sums_wanted = wanted.gamma || wanted.beta;

    let (grad_input, partial_sums) = rewrite_rows(
        widened(grad),
        layout.row_len(),
        #[inline(always)]
        |first, rows| {
            let mut sums = ChannelSums::zeros(if sums_wanted { channels } else { 0 });
            let inputs = input[first * layout.row_len()..].chunks_exact(layout.row_len());
            let rows = rows.chunks_exact_mut(layout.row_len());
            for (i, (grads, x)) in rows.zip(inputs).enumerate() {
                let first_channel = layout.first_channel(first + i);
                let affine = Affine {
                    gamma: &gamma[first_channel..][..layout.channels_per_row],
                    beta: &beta[first_channel..][..layout.channels_per_row],
                };
                let sums = sums_wanted.then(|| sums.of(first_channel, layout.channels_per_row));
                if layout.positions == 1 {
                    affine.backward_of_vectors(grads, x, layout, sums);
                } else {
                    affine.backward_of_images(grads, x, layout, sums);
                }
            }
            sums
        },
    );

    let total = |select: fn(&ChannelSums) -> &[f32]| {
        let mut total = vec![0.0_f64; channels];
        for sums in &partial_sums {
            for (total, &sum) in total.iter_mut().zip(select(sums)) {
                *total += f64::from(sum);
            }
        }
        let total = total.into_iter().map(|sum| sum as f32).collect();
        from_values(total, Shape::new([channels]))
    };
    NormArguments {
        input: wanted.input.then(|| narrowed(grad_input, types.input)),
        gamma: wanted
            .gamma
            .then(|| narrowed(total(|sums| &sums.gamma), types.gamma)),
        beta: wanted
            .beta
            .then(|| narrowed(total(|sums| &sums.beta), types.beta)),
    }
}

/// Gradients of scale and shift over the rows of one task.
struct ChannelSums {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl ChannelSums {
    #[inline(always)]
    fn zeros(channels: usize) -> Self {
        Self {
            gamma: vec![0.0; channels],
            beta: vec![0.0; channels],
        }
    }

    /// The sums of `count` channels, scale before shift.
    #[inline(always)]
    fn of(&mut self, first: usize, count: usize) -> (&mut [f32], &mut [f32]) {
        (
            &mut self.gamma[first..][..count],
            &mut self.beta[first..][..count],
        )
    }
}

impl Affine<'_> {
    /// One row of a group norm over images: channels are runs of `positions` values.
    #[inline(always)]
    fn backward_of_images(
        &self,
        grads: &mut [f32],
        x: &[f32],
        layout: NormLayout,
        mut sums: Option<(&mut [f32], &mut [f32])>,
    ) {
        let positions = layout.positions;
        let (mean, rstd) = layout.statistics(x);
        let (mut total, mut total_with_x) = (0.0_f64, 0.0_f64);
        for (c, (grads, x)) in grads
            .chunks_exact_mut(positions)
            .zip(x.chunks_exact(positions))
            .enumerate()
        {
            let (gamma, beta) = (self.gamma[c], self.beta[c]);
            if layout.silu {
                let scale = rstd * gamma;
                for (grad, &x) in grads.iter_mut().zip(x) {
                    *grad *= silu_slope((x - mean) * scale + beta);
                }
            }
            let [sum, sum_with_x] = sum_pairs(grads, x, |g, x| [g, g * ((x - mean) * rstd)]);
            total += f64::from(gamma) * sum;
            total_with_x += f64::from(gamma) * sum_with_x;
            if let Some((of_gamma, of_beta)) = &mut sums {
                of_gamma[c] += sum_with_x as f32;
                of_beta[c] += sum as f32;
            }
        }

        let (shift, slope) = layout.corrections(total, total_with_x, rstd);
        let channels = grads
            .chunks_exact_mut(positions)
            .zip(x.chunks_exact(positions));
        for ((grads, x), gamma) in channels.zip(self.gamma) {
            let scale = rstd * gamma;
            for (grad, &x) in grads.iter_mut().zip(x) {
                *grad = *grad * scale - shift - (x - mean) * slope;
            }
        }
    }

    /// One row whose every value is a channel.
    #[inline(always)]
    fn backward_of_vectors(
        &self,
        grads: &mut [f32],
        x: &[f32],
        layout: NormLayout,
        sums: Option<(&mut [f32], &mut [f32])>,
    ) {
        let (mean, rstd) = layout.statistics(x);
        if layout.silu {
            let affine = self.gamma.iter().zip(self.beta);
            for ((grad, &x), (gamma, beta)) in grads.iter_mut().zip(x).zip(affine) {
                *grad *= silu_slope((x - mean) * (rstd * gamma) + beta);
            }
        }
        if let Some((of_gamma, of_beta)) = sums {
            let sums = of_gamma.iter_mut().zip(of_beta);
            for ((&grad, &x), (of_gamma, of_beta)) in grads.iter().zip(x).zip(sums) {
                *of_gamma += grad * ((x - mean) * rstd);
                *of_beta += grad;
            }
        }
        for (grad, gamma) in grads.iter_mut().zip(self.gamma) {
            *grad *= gamma;
        }
        let [total, total_with_x] = sum_pairs(grads, x, |g, x| [g, g * ((x - mean) * rstd)]);
        let (shift, slope) = layout.corrections(total, total_with_x, rstd);
        for (grad, &x) in grads.iter_mut().zip(x) {
            *grad = *grad * rstd - shift - (x - mean) * slope;
        }
    }
}

impl NormLayout {
    /// What the input's gradient loses because mean and deviation depend on it: a constant, and a multiple of the
    /// distance from the mean. Takes the row's sums of `γ g` and `γ g x̂`.
    #[inline(always)]
    fn corrections(&self, total: f64, total_with_x: f64, rstd: f32) -> (f32, f32) {
        let rstd_over_len = f64::from(rstd) / self.row_len() as f64;
        (
            (total * rstd_over_len) as f32,
            (total_with_x * rstd_over_len * f64::from(rstd)) as f32,
        )
    }
}

/// The tensor with its values in order and nothing else in its memory. Takes it by value: a copy that is no longer
/// needed must not stand in the way of writing in place.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

fn from_values(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// Replaces rows of `row_len` values by what `rewrite` makes of them: in place if nobody else holds the memory,
/// in a copy otherwise. `rewrite` gets the index of the first row and a number of whole rows, and may return
/// something for each task.
#[inline(always)]
fn rewrite_rows<R: Send>(
    tensor: FlexTensor,
    row_len: usize,
    rewrite: impl Fn(usize, &mut [f32]) -> R + Sync,
) -> (FlexTensor, Vec<R>) {
    let mut tensor = contiguous(tensor);
    if let Some(values) = tensor.try_storage_mut::<f32>() {
        let results = for_tasks(values, row_len, rewrite);
        return (tensor, results);
    }
    let source = tensor.storage::<f32>();
    let mut values = vec![0.0; source.len()];
    let results = for_tasks(
        &mut values,
        row_len,
        #[inline(always)]
        |first, rows| {
            rows.copy_from_slice(&source[first * row_len..][..rows.len()]);
            rewrite(first, rows)
        },
    );
    (from_values(values, tensor.shape()), results)
}

/// Calls `work` with each task's first row and values, on all threads unless there is little to do.
#[inline(always)]
fn for_tasks<R: Send>(
    values: &mut [f32],
    row_len: usize,
    work: impl Fn(usize, &mut [f32]) -> R + Sync,
) -> Vec<R> {
    if values.is_empty() {
        return Vec::new();
    }
    let rows_per_task = (TASK / row_len).max(1);
    let task_len = rows_per_task * row_len;
    let run = |(task, values): (usize, &mut [f32])| {
        vectorised(
            #[inline(always)]
            || work(task * rows_per_task, values),
        )
    };
    // Waking another thread takes as long as some ten thousand values.
    if values.len() < 2 * TASK {
        values.chunks_mut(task_len).enumerate().map(run).collect()
    } else {
        let tasks = values.par_chunks_mut(task_len).enumerate();
        tasks.map(run).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn::prelude::*;
    use burn::tensor::FloatDType;
    use kinvert_testkit::{Tolerance, assert_close, values};
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::elementwise::{
        from_primitive, geglu, gelu, group_norm, into_primitive, layer_norm, norm_arguments, silu,
    };

    type Tracked = Autodiff<Flex>;

    /// How far an activation and its gradient may lie from f64, which takes the plain form: some ten roundings.
    const DRIFT: Tolerance = Tolerance::OfLargest(2e-6);

    /// As [`DRIFT`] for a norm's value and input gradient. Not of the largest: a gradient may be what is left of
    /// terms that cancel, and all terms are of order one here, as no group has fewer than five values.
    const NORM_DRIFT: Tolerance = Tolerance::Absolute(2e-5);

    /// Repeatable values around `mean`, within `spread` of it.
    fn noise<const D: usize>(
        dims: [usize; D],
        seed: u32,
        mean: f32,
        spread: f32,
    ) -> Tensor<Flex, D> {
        let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            mean + spread * ((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
        };
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| next()).collect();
        Tensor::from_data(TensorData::new(values, dims), &Default::default())
    }

    fn leaf<const D: usize>(x: &Tensor<Flex, D>, dtype: FloatDType) -> Tensor<Tracked, D> {
        Tensor::from_inner(x.clone().cast(dtype)).require_grad()
    }

    /// A result, and the gradient of a weighted sum of it.
    fn value_and_grad<const D: usize>(
        function: impl Fn(Tensor<Tracked, D>) -> Tensor<Tracked, D>,
        x: &Tensor<Flex, D>,
        dtype: FloatDType,
    ) -> [Vec<f32>; 2] {
        let x = leaf(x, dtype);
        let y = function(x.clone());
        let weight = Tensor::from_inner(noise(y.dims(), 99, 0.0, 1.0).cast(dtype));
        let grads = (y.clone() * weight).sum().backward();
        [values(y), values(x.grad(&grads).unwrap())]
    }

    fn check_unary<const D: usize>(
        kernel: impl Fn(Tensor<Tracked, D>) -> Tensor<Tracked, D>,
        plain: impl Fn(FloatTensor<Tracked>) -> FloatTensor<Tracked>,
        x: &Tensor<Flex, D>,
        tolerance: Tolerance,
    ) {
        let found = value_and_grad(kernel, x, FloatDType::F32);
        let plain = |x| from_primitive(plain(into_primitive(x)));
        let expected = value_and_grad(plain, x, FloatDType::F64);
        assert_close("value", &found[0], &expected[0], tolerance);
        assert_close("gradient", &found[1], &expected[1], tolerance);
    }

    /// A norm's result, and its gradients by input, gamma and beta.
    fn norm_results<const D: usize>(
        norm: impl Fn(Tensor<Tracked, D>, Tensor<Tracked, 1>, Tensor<Tracked, 1>) -> Tensor<Tracked, D>,
        x: &Tensor<Flex, D>,
        channels: usize,
        dtype: FloatDType,
    ) -> [Vec<f32>; 4] {
        let x = leaf(x, dtype);
        let gamma = leaf(&noise([channels], 7, 0.5, 1.0), dtype);
        let beta = leaf(&noise([channels], 8, 0.0, 1.0), dtype);
        let y = norm(x.clone(), gamma.clone(), beta.clone());
        let weight = Tensor::from_inner(noise(y.dims(), 9, 0.1, 1.0).cast(dtype));
        let grads = (y.clone() * weight).sum().backward();
        let grad = |grad: Option<Tensor<Flex, 1>>| values(grad.unwrap());
        [
            values(y),
            values(x.grad(&grads).unwrap()),
            grad(gamma.grad(&grads)),
            grad(beta.grad(&grads)),
        ]
    }

    fn check_norm_results(found: &[Vec<f32>; 4], expected: &[Vec<f32>; 4]) {
        assert_close("value", &found[0], &expected[0], NORM_DRIFT);
        assert_close("input", &found[1], &expected[1], NORM_DRIFT);
        // Each is a sum of that many terms of order one, each rounded a few times.
        let terms = (found[0].len() / found[2].len()) as f64;
        let tolerance = Tolerance::Absolute(3e-7 * terms + 1e-6);
        assert_close("gamma", &found[2], &expected[2], tolerance);
        assert_close("beta", &found[3], &expected[3], tolerance);
    }

    fn check_group_norm<const D: usize>(x: &Tensor<Flex, D>, options: GroupNormOptions) {
        let channels = x.dims()[1];
        let kernel = |x, gamma, beta| group_norm(x, gamma, beta, options);
        let plain = |x, gamma, beta| {
            let arguments = norm_arguments(x, gamma, beta, channels);
            from_primitive(plain::group_norm::<Tracked>(arguments, options))
        };
        let found = norm_results(kernel, x, channels, FloatDType::F32);
        // Twice: what Burn derives from the plain form, and the written gradient in the plain form.
        for expected in [
            norm_results(plain, x, channels, FloatDType::F64),
            norm_results(kernel, x, channels, FloatDType::F64),
        ] {
            check_norm_results(&found, &expected);
        }
    }

    fn check_layer_norm<const D: usize>(x: &Tensor<Flex, D>) {
        let channels = x.dims()[D - 1];
        let kernel = |x, gamma, beta| layer_norm(x, gamma, beta, 1e-5);
        let plain = |x, gamma, beta| {
            let arguments = norm_arguments(x, gamma, beta, channels);
            from_primitive(plain::layer_norm::<Tracked>(arguments, 1e-5))
        };
        let found = norm_results(kernel, x, channels, FloatDType::F32);
        for expected in [
            norm_results(plain, x, channels, FloatDType::F64),
            norm_results(kernel, x, channels, FloatDType::F64),
        ] {
            check_norm_results(&found, &expected);
        }
    }

    fn options(groups: usize, silu: bool) -> GroupNormOptions {
        GroupNormOptions {
            groups,
            epsilon: 1e-6,
            silu,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn group_norm_is_its_plain_form(
            images in 1..4_usize,
            groups in 1..5_usize,
            channels_per_group in 1..4_usize,
            positions in 5..70_usize,
            silu in any::<bool>(),
            seed in any::<u32>(),
        ) {
            let dims = [images, groups * channels_per_group, positions];
            check_group_norm(&noise(dims, seed, 0.3, 2.0), options(groups, silu));
        }

        #[test]
        fn layer_norm_is_its_plain_form(
            rows in 1..40_usize,
            channels in 5..90_usize,
            seed in any::<u32>(),
        ) {
            check_layer_norm(&noise([rows, channels], seed, -0.2, 3.0));
        }

        #[test]
        fn activations_are_their_plain_form(
            rows in 1..9_usize,
            channels in 1..70_usize,
            spread in 0.1..30.0_f32,
            seed in any::<u32>(),
        ) {
            let x = noise([rows, 3, 2 * channels], seed, 0.0, spread);
            check_unary(silu, plain::silu::<Tracked>, &x, DRIFT);
            check_unary(gelu, plain::gelu_of::<Tracked>, &x, DRIFT);
            check_unary(geglu, plain::geglu::<Tracked>, &x, DRIFT);
        }
    }

    #[test]
    fn work_for_several_threads_gives_the_same() {
        for silu in [false, true] {
            check_group_norm(&noise([3, 8, 5, 33, 35], 1, 0.5, 2.0), options(4, silu));
            // Channels as the last axis, in more than one group.
            check_group_norm(&noise([700, 96], 1, 0.5, 2.0), options(6, silu));
        }
        check_layer_norm(&noise([3, 301, 64], 2, 0.5, 2.0));
        check_layer_norm(&noise([2, 40_001], 2, 0.5, 2.0));
        let x = noise([3, 171, 130], 3, 0.0, 4.0);
        check_unary(
            super::super::elementwise::silu,
            plain::silu::<Tracked>,
            &x,
            DRIFT,
        );
        check_unary(geglu, plain::geglu::<Tracked>, &x, DRIFT);
    }

    #[test]
    fn the_order_of_values_in_memory_does_not_matter() {
        let x = noise([6, 5, 8], 4, 0.0, 2.0);
        let swapped = x.clone().swap_dims(0, 2); // [8, 5, 6]
        let narrowed = x.clone().narrow(0, 1, 4).narrow(2, 2, 6); // [4, 5, 6]
        let prefix = x.narrow(0, 0, 2); // in order, but not all of its memory
        for view in [swapped, narrowed, prefix] {
            let copy = Tensor::<Flex, 3>::from_data(view.clone().into_data(), &Default::default());
            let gamma = noise([5], 5, 1.0, 0.5);
            let group = |x| {
                values(group_norm(
                    x,
                    gamma.clone(),
                    gamma.clone(),
                    options(5, true),
                ))
            };
            assert_eq!(group(view.clone()), group(copy.clone()));
            let gamma = noise([view.dims()[2]], 5, 1.0, 0.5);
            let layer = |x| values(layer_norm(x, gamma.clone(), gamma.clone(), 1e-5));
            assert_eq!(layer(view.clone()), layer(copy.clone()));
            assert_eq!(values(silu(view.clone())), values(silu(copy.clone())));
            assert_eq!(values(geglu(view.clone())), values(geglu(copy.clone())));
            // In gradients as well, where the incoming gradient may be a view too.
            let through = |x: &Tensor<Flex, 3>| {
                let x = leaf(x, FloatDType::F32);
                let y = silu(x.clone()).swap_dims(0, 1);
                let weight = Tensor::from_inner(noise(y.dims(), 6, 0.0, 1.0));
                values(x.grad(&(y * weight).sum().backward()).unwrap())
            };
            assert_eq!(through(&view), through(&copy));
        }
    }

    #[test]
    fn a_shared_input_is_left_alone() {
        let x = noise([2, 4, 6], 10, 0.0, 2.0);
        let before = values(x.clone());
        let ones = noise([4], 0, 1.0, 0.0);
        let found = values(silu(x.clone()));
        values(group_norm(x.clone(), ones.clone(), ones, options(2, true)));
        assert_eq!(values(x.clone()), before);
        assert_eq!(values(silu(x)), found); // in place now: nobody else holds it
    }

    #[test]
    fn extreme_values_stay_finite_and_right() {
        let extremes: [f32; 16] = [
            0.0, -0.0, 1e-42, -1e-42, 1e-20, -1e-20, 1.0, -1.0, 20.0, -20.0, 80.0, -80.0, 100.0,
            -100.0, 1e4, -1e4,
        ];
        let x = Tensor::<Flex, 1>::from_floats(extremes, &Default::default());
        // One at a time, so that no large value hides a small one. Nothing below 1e-30 is asked for.
        for value in extremes {
            let x = Tensor::<Flex, 2>::from_floats([[value, value]], &Default::default());
            let [found, slope] = value_and_grad(silu, &x, FloatDType::F32);
            let exact = f64::from(value) / (1.0 + (-f64::from(value)).exp());
            assert!((f64::from(found[0]) - exact).abs() <= 1e-6 * exact.abs() + 1e-30);
            assert!(slope[0].is_finite() && (-0.11..=1.11).contains(&(slope[0] / noise_weight(0))));
            let [found, slope] = value_and_grad_of_geglu(&x);
            let expected = if value > 10.0 { value * value } else { 0.0 };
            if value.abs() >= 20.0 {
                assert!((found - expected).abs() <= 1e-6 * expected.abs() + 1e-30);
            }
            assert!(found.is_finite() && slope.is_finite());
        }
        // A group of equal values has no deviation: the result is beta.
        let equal = Tensor::<Flex, 3>::full([1, 2, 50], 1e4, &Default::default());
        let (ones, beta) = (noise([2], 0, 1.0, 0.0), noise([2], 0, 0.25, 0.0));
        let found = values(group_norm(
            equal,
            ones.clone(),
            beta.clone(),
            options(1, false),
        ));
        assert!(found.iter().all(|&y| y == 0.25));
        let found = values(layer_norm(x.reshape([8, 2]), ones, beta, 1e-5));
        assert!(
            found
                .iter()
                .all(|y| y.is_finite() && (y - 0.25).abs() <= 1.0)
        );
    }

    fn noise_weight(index: usize) -> f32 {
        values(noise([1, 2], 99, 0.0, 1.0))[index]
    }

    fn value_and_grad_of_geglu(x: &Tensor<Flex, 2>) -> [f32; 2] {
        let x = leaf(x, FloatDType::F32);
        let y = geglu(x.clone());
        let grads = y.clone().sum().backward();
        [values(y)[0], values(x.grad(&grads).unwrap())[1]]
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let x = noise([2, 4, 6], 11, 0.2, 1.5);
        let (gamma, beta) = (noise([4], 12, 1.0, 0.5), noise([4], 13, 0.0, 0.5));
        let of = |x: Tensor<Tracked, 3>| {
            let dtype = FloatDType::from(x.dtype());
            let gamma = Tensor::from_inner(gamma.clone().cast(dtype));
            let beta = Tensor::from_inner(beta.clone().cast(dtype));
            let x = group_norm(x, gamma.clone(), beta.clone(), options(2, true));
            let x = layer_norm(x.swap_dims(1, 2), gamma, beta, 1e-5);
            geglu(silu(x))
        };
        let loss = |x: Tensor<Flex, 3>| {
            let y = of(Tensor::from_inner(x)).inner();
            let weight = noise(y.dims(), 14, 0.0, 1.0).cast(FloatDType::F64);
            (y * weight).sum().into_data().iter::<f64>().next().unwrap()
        };
        let tracked = leaf(&x, FloatDType::F32);
        let y = of(tracked.clone());
        let weight = Tensor::from_inner(noise(y.dims(), 14, 0.0, 1.0));
        let found = values(tracked.grad(&(y * weight).sum().backward()).unwrap());

        let step = 1e-4;
        let expected: Vec<f32> = (0..found.len())
            .map(|i| {
                let moved = |by: f64| {
                    let mut values: Vec<f64> = x.clone().into_data().iter::<f64>().collect();
                    values[i] += by;
                    let data = TensorData::new(values, x.dims());
                    Tensor::from_data(data, (&Default::default(), DType::F64))
                };
                ((loss(moved(step)) - loss(moved(-step))) / (2.0 * step)) as f32
            })
            .collect();
        // Third derivatives leave step² of error; the chain in f32 leaves 1e-5.
        assert_close("gradient", &found, &expected, Tolerance::OfLargest(1e-4));
    }

    #[test]
    fn only_what_is_tracked_gets_a_gradient() {
        let x = noise([2, 4, 6], 15, 0.0, 2.0);
        let gamma = noise([4], 16, 1.0, 0.5);
        let plain = group_norm(x.clone(), gamma.clone(), gamma.clone(), options(2, true));

        // Nothing tracked: the plain device's result, and no gradient.
        let untracked = |x: &Tensor<Flex, 3>| Tensor::<Tracked, 3>::from_inner(x.clone());
        let constant = Tensor::<Tracked, 1>::from_inner(gamma.clone());
        let y = group_norm(
            untracked(&x),
            constant.clone(),
            constant.clone(),
            options(2, true),
        );
        assert!(!y.is_require_grad());
        assert_eq!(values(y), values(plain.clone()));

        // Only gamma tracked.
        let tracked = leaf(&gamma, FloatDType::F32);
        let y = group_norm(
            untracked(&x),
            tracked.clone(),
            constant.clone(),
            options(2, true),
        );
        assert_eq!(values(y.clone()), values(plain.clone()));
        let grads = y.sum().backward();
        assert!(tracked.grad(&grads).is_some());
        assert!(constant.grad(&grads).is_none());

        // Only the input tracked.
        let tracked = leaf(&x, FloatDType::F32);
        let y = group_norm(
            tracked.clone(),
            constant.clone(),
            constant,
            options(2, true),
        );
        assert_eq!(values(y.clone()), values(plain));
        assert!(tracked.grad(&y.sum().backward()).is_some());
    }

    #[test]
    fn an_input_used_twice_gets_both_gradients() {
        let x = noise([3, 5, 4], 17, 0.0, 2.0);
        let residual = |x: Tensor<Tracked, 3>| x.clone() + silu(x.clone()) * x;
        let plain =
            |x: Tensor<Tracked, 3>| x.clone() + burn::tensor::activation::silu(x.clone()) * x;
        let found = value_and_grad(residual, &x, FloatDType::F32);
        let expected = value_and_grad(plain, &x, FloatDType::F64);
        assert_close("gradient", &found[1], &expected[1], DRIFT);
    }

    #[test]
    fn sixteen_bits_are_normalised_in_wider_ones() {
        let wide = noise([1, 6, 64, 64], 18, 20.0, 15.0);
        let narrow = wide.cast(FloatDType::F16);
        let (gamma, beta) = (noise([6], 19, 1.0, 0.5), noise([6], 20, 0.0, 0.5));
        let run = |x: Tensor<Flex, 4>| {
            let dtype = FloatDType::from(x.dtype());
            group_norm(
                x,
                gamma.clone().cast(dtype),
                beta.clone().cast(dtype),
                options(3, false),
            )
        };
        let found = run(narrow.clone());
        assert_eq!(found.dtype(), DType::F16);
        let expected = values(run(narrow.cast(FloatDType::F32)));
        // Input scale and shift, and the result, are rounded to f16's eleven bits.
        assert_close(
            "value",
            &values(found),
            &expected,
            Tolerance::OfLargest(1e-3),
        );
    }
}
