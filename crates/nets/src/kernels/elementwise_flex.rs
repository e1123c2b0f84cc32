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
use super::group_norm_flex::{group_norm, group_norm_backward};
use super::half_flex::{are_f32_or_half, in_f32, narrowed, widened};
use super::matrix::{made, rewritten};
use super::simd::{
    mean_and_variance, normal_distribution, sigmoid, silu_slope, sum_pairs, vectorised,
};

/// Values that one task handles: enough to be worth another thread, and few enough to stay in the cache.
const TASK: usize = 4 * 1024;

impl ElementwiseKernels for Flex {
    fn add(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        if !are_f32_or_half([&left, &right]) {
            return Self::float_add(left, right);
        }
        in_f32([left, right], |[left, right]| sum(left, right))
    }

    fn add_backward(grad: FloatTensor<Self>, shape: Shape) -> FloatTensor<Self> {
        match Repeats::of(&grad.shape(), &shape) {
            Some(repeats) if are_f32_or_half([&grad]) => {
                in_f32([grad], |[grad]| repeats.sums(grad, shape))
            }
            _ => plain::add_backward::<Self>(grad, shape),
        }
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
        group_norm(arguments, options)
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
        group_norm_backward(arguments, options, grad, wanted)
    }

    fn layer_norm(arguments: NormArguments<FloatTensor<Self>>, epsilon: f64) -> FloatTensor<Self> {
        let NormArguments { input, gamma, beta } = &arguments;
        if !are_f32_or_half([input, gamma, beta]) {
            return plain::layer_norm::<Self>(arguments, epsilon);
        }
        layer_norm(arguments, epsilon)
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
        layer_norm_backward(arguments, epsilon, grad, wanted)
    }
}

/// [`ElementwiseKernels::add`] of f32.
fn sum(left: FlexTensor, right: FlexTensor) -> FlexTensor {
    // The sum is written over the left term.
    let (left, right) = match left.is_unique() || left.shape() != right.shape() {
        true => (left, right),
        false => (right, left),
    };
    let Some(repeats) = Repeats::of(&left.shape(), &right.shape()) else {
        return Flex::float_add(left, right);
    };
    let right = contiguous(right);
    let right = right.storage::<f32>();
    if repeats.count == 1 {
        let add = |first, values: &mut [f32]| {
            let right = right[first..].iter();
            values.iter_mut().zip(right).for_each(|(x, y)| *x += y);
        };
        return rewrite_rows(left, 1, add).0;
    }
    let (sum, _) = rewrite_rows(
        left,
        repeats.inner,
        #[inline(always)]
        |first, rows| {
            for (index, row) in rows.chunks_exact_mut(repeats.inner).enumerate() {
                let entry = (first + index) / repeats.count;
                let right = &right[entry * repeats.inner..][..repeats.inner];
                row.iter_mut().zip(right).for_each(|(x, y)| *x += y);
            }
        },
    );
    sum
}

/// How a term is repeated in a sum: `[outer, inner]` in one of `[outer, count, inner]`.
#[derive(Clone, Copy)]
struct Repeats {
    count: usize,
    inner: usize,
}

impl Repeats {
    /// If the axes along which a term of shape `term` is repeated are neighbours, and nothing is empty.
    fn of(whole: &Shape, term: &Shape) -> Option<Self> {
        let axes = 0..whole.num_dims();
        let differs = |axis: &usize| whole[*axis] != term[*axis];
        let (first, last) = (axes.clone().find(differs), axes.rev().find(differs));
        let axes = match (first, last) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..0,
        };
        if whole.num_elements() == 0 || !axes.clone().all(|axis| term[axis] == 1) {
            return None;
        }
        let inner = match axes.is_empty() {
            true => 0..whole.num_dims(), // nothing is repeated
            false => axes.end..whole.num_dims(),
        };
        Some(Self {
            count: axes.map(|axis| whole[axis]).product(),
            inner: inner.map(|axis| whole[axis]).product(),
        })
    }

    /// Sums over what was repeated.
    fn sums(self, whole: FlexTensor, shape: Shape) -> FlexTensor {
        let whole = contiguous(whole);
        let whole = whole.storage::<f32>();
        // A task adds up some of the values of one entry of the outer axes.
        let piece = (TASK / self.count).clamp(1, self.inner);
        let pieces = self.inner.div_ceil(piece);
        let sums = (0..shape.num_elements() / self.inner * pieces)
            .into_par_iter()
            .map(|task| {
                let (entry, first) = (task / pieces, task % pieces * piece);
                let mut sums = vec![0.0_f64; piece.min(self.inner - first)];
                let rows = whole[entry * self.count * self.inner..].chunks_exact(self.inner);
                for row in rows.take(self.count) {
                    let row = &row[first..][..sums.len()];
                    sums.iter_mut()
                        .zip(row)
                        .for_each(|(sum, x)| *sum += f64::from(*x));
                }
                sums.into_iter().map(|sum| sum as f32).collect::<Vec<_>>()
            });
        from_values(sums.collect::<Vec<_>>().concat(), shape)
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
    let width = shape[last].max(1);
    let x = contiguous(x);
    let x = x.storage::<f32>();
    let piece = (TASK / width).max(1) * width;
    let output = made(x.len() / 2, piece, |index, outputs| {
        vectorised(
            #[inline(always)]
            || {
                let inputs = x[2 * index * piece..].chunks_exact(2 * width);
                for (outputs, inputs) in outputs.chunks_exact_mut(width).zip(inputs) {
                    let (values, gates) = inputs.split_at(width);
                    for ((output, value), &gate) in outputs.iter_mut().zip(values).zip(gates) {
                        *output = value * (gate * normal_distribution(gate).0);
                    }
                }
            },
        );
    });
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

/// The derivative of GELU.
#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    let (cdf, bell) = normal_distribution(x);
    cdf + x * bell * FRAC_1_SQRT_TAU
}

/// Mean of a row, and the reciprocal of its standard deviation.
#[inline(always)]
fn moments(row: &[f32], epsilon: f64) -> (f32, f32) {
    let (mean, variance) = mean_and_variance(row);
    (mean as f32, (variance + epsilon).sqrt().recip() as f32)
}

/// [`ElementwiseKernels::layer_norm`] of floats of 32 bits or, by way of them, 16.
fn layer_norm(arguments: NormArguments<FlexTensor>, epsilon: f64) -> FlexTensor {
    let NormArguments { input, gamma, beta } = arguments;
    let dtype = input.dtype();
    let [gamma, beta] = [gamma, beta].map(|factors| contiguous(widened(factors)));
    let (gamma, beta) = (gamma.storage::<f32>(), beta.storage::<f32>());
    let (output, _) = rewrite_rows(
        widened(input),
        gamma.len(),
        #[inline(always)]
        |_, rows| {
            for row in rows.chunks_exact_mut(gamma.len()) {
                let (mean, rstd) = moments(row, epsilon);
                for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
                    *x = (*x - mean) * (rstd * gamma) + beta;
                }
            }
        },
    );
    narrowed(output, dtype)
}

/// Gradients of [`layer_norm`], those that are wanted. With `x̂ = (x - mean) / std` and `g` the gradient that reaches
/// `γ x̂ + β`: `dγ = Σ g x̂`, `dβ = Σ g`, `dx = (γ g - mean(γ g) - x̂ mean(γ g x̂)) / std`.
///
/// Mean and deviation are taken again rather than kept: the row must be read anyway, and is in the cache for the
/// two passes that follow.
fn layer_norm_backward(
    arguments: NormArguments<FlexTensor>,
    epsilon: f64,
    grad: FlexTensor,
    wanted: NormArguments<bool>,
) -> NormArguments<Option<FlexTensor>> {
    let NormArguments { input, gamma, beta } = arguments;
    let types = [input.dtype(), gamma.dtype(), beta.dtype()];
    let [input, gamma] = [input, gamma].map(|x| contiguous(widened(x)));
    let (input, gamma) = (input.storage::<f32>(), gamma.storage::<f32>());
    let channels = gamma.len();
    let sums_wanted = wanted.gamma || wanted.beta;

    let (grad, partial_sums) = rewrite_rows(
        widened(grad),
        channels,
        #[inline(always)]
        |first, rows| {
            let mut sums = [0; 2].map(|_| vec![0.0_f32; if sums_wanted { channels } else { 0 }]);
            let inputs = input[first * channels..].chunks_exact(channels);
            for (grads, x) in rows.chunks_exact_mut(channels).zip(inputs) {
                let (mean, rstd) = moments(x, epsilon);
                let [of_gamma, of_beta] = &mut sums;
                let sums = of_gamma.iter_mut().zip(of_beta);
                for ((&grad, &x), (of_gamma, of_beta)) in grads.iter().zip(x).zip(sums) {
                    *of_gamma += grad * ((x - mean) * rstd);
                    *of_beta += grad;
                }
                layer_norm_row_backward(grads, x, gamma, (mean, rstd));
            }
            sums
        },
    );

    let total = |index: usize, dtype| {
        let mut total = vec![0.0_f64; channels];
        for sums in &partial_sums {
            for (total, &sum) in total.iter_mut().zip(&sums[index]) {
                *total += f64::from(sum);
            }
        }
        let total = total.into_iter().map(|sum| sum as f32).collect();
        narrowed(from_values(total, Shape::new([channels])), dtype)
    };
    NormArguments {
        input: wanted.input.then(|| narrowed(grad, types[0])),
        gamma: wanted.gamma.then(|| total(0, types[1])),
        beta: wanted.beta.then(|| total(1, types[2])),
    }
}

/// Turns the gradients of a row of the result into those of the input.
#[inline(always)]
fn layer_norm_row_backward(grads: &mut [f32], x: &[f32], gamma: &[f32], (mean, rstd): (f32, f32)) {
    for (grad, gamma) in grads.iter_mut().zip(gamma) {
        *grad *= gamma;
    }
    let [total, total_with_x] = sum_pairs(grads, x, |g, x| [g, g * ((x - mean) * rstd)]);
    let rstd_over_len = f64::from(rstd) / x.len() as f64;
    let shift = (total * rstd_over_len) as f32;
    let slope = (total_with_x * rstd_over_len * f64::from(rstd)) as f32;
    for (grad, &x) in grads.iter_mut().zip(x) {
        *grad = *grad * rstd - shift - (x - mean) * slope;
    }
}

/// The tensor with its values in order and nothing else in its memory. Takes it by value: a copy that is no longer
/// needed must not stand in the way of writing in place.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    let shape = tensor.shape();
    let is_large = shape.num_elements() >= 2 * TASK && shape.num_dims() > 2 && shape[0] > 1;
    if tensor.dtype() != DType::F32 || tensor.is_contiguous() || !is_large {
        return tensor.to_contiguous();
    }
    // The library turns round a matrix quickly and anything else value by value; of images, each is a matrix.
    let entries: Vec<FlexTensor> = (0..shape[0])
        .into_par_iter()
        .map(|index| tensor.narrow(0, index, 1).to_contiguous())
        .collect();
    let entries: Vec<&[f32]> = entries.iter().map(|entry| entry.storage()).collect();
    from_values(entries.concat(), shape)
}

pub(super) fn from_values(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// Replaces rows of `row_len` values by what `rewrite` makes of them: in place if nobody else holds the memory,
/// in a copy otherwise. `rewrite` gets the index of the first row and a number of whole rows, and may return
/// something for each task.
#[inline(always)]
pub(super) fn rewrite_rows<R: Send>(
    tensor: FlexTensor,
    row_len: usize,
    rewrite: impl Fn(usize, &mut [f32]) -> R + Sync,
) -> (FlexTensor, Vec<R>) {
    let mut tensor = contiguous(tensor);
    let len = tensor.shape().num_elements();
    if len == 0 {
        return (tensor, Vec::new());
    }
    let mut rows_per_task = (TASK / row_len).max(1);
    if len < 2 * TASK {
        rows_per_task = len / row_len; // another thread takes as long to join in
    }
    let piece = rows_per_task * row_len;
    let run = |task: usize, values: &mut [f32]| {
        vectorised(
            #[inline(always)]
            || rewrite(task * rows_per_task, values),
        )
    };
    if let Some(values) = tensor.try_storage_mut::<f32>() {
        let results = match piece == len {
            true => vec![run(0, values)],
            false => {
                let pieces = values.par_chunks_mut(piece).enumerate();
                pieces.map(|(task, values)| run(task, values)).collect()
            }
        };
        return (tensor, results);
    }
    let (values, results) = rewritten(tensor.storage(), piece, run);
    (from_values(values, tensor.shape()), results)
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
        add, from_primitive, geglu, gelu, group_norm, into_primitive, layer_norm, norm_arguments,
        silu,
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
        let channels = x.dims()[D - 1];
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
            let dims = [images, positions, groups * channels_per_group];
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
            // Many small images, a few larger ones, and images that are cut into pieces.
            check_group_norm(&noise([700, 96], 1, 0.5, 2.0), options(6, silu));
            check_group_norm(&noise([3, 5, 9, 35, 8], 1, 0.5, 2.0), options(4, silu));
            check_group_norm(&noise([2, 33, 35, 60], 1, 0.5, 2.0), options(5, silu));
            check_group_norm(&noise([1, 901, 24], 1, 0.5, 2.0), options(3, silu));
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
            let gamma = noise([view.dims()[2]], 5, 1.0, 0.5);
            let group = |x| {
                values(group_norm(
                    x,
                    gamma.clone(),
                    gamma.clone(),
                    options(2, true),
                ))
            };
            assert_eq!(group(view.clone()), group(copy.clone()));
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
        let x = noise([2, 6, 4], 10, 0.0, 2.0);
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
        let equal = Tensor::<Flex, 3>::full([1, 50, 2], 1e4, &Default::default());
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
        let x = noise([2, 6, 4], 11, 0.2, 1.5);
        let (gamma, beta) = (noise([4], 12, 1.0, 0.5), noise([4], 13, 0.0, 0.5));
        let of = |x: Tensor<Tracked, 3>| {
            let dtype = FloatDType::from(x.dtype());
            let gamma = Tensor::from_inner(gamma.clone().cast(dtype));
            let beta = Tensor::from_inner(beta.clone().cast(dtype));
            let x = group_norm(x, gamma.clone(), beta.clone(), options(2, true));
            let x = layer_norm(x, gamma, beta, 1e-5);
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
        let x = noise([2, 6, 4], 15, 0.0, 2.0);
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
    fn what_is_repeated_in_a_sum_gets_the_sum_of_its_gradients() {
        let whole = noise([4, 3, 5, 70], 21, 0.0, 1.0);
        for term in [
            [4, 3, 5, 70],
            [1, 3, 5, 70],
            [4, 1, 1, 70],
            [4, 3, 5, 1],
            [1, 1, 1, 1],
            [1, 3, 1, 70], // axes that are no neighbours: the library's form
        ] {
            let term = noise(term, 22, 0.5, 1.0);
            let of = |sum: fn(Tensor<Tracked, 4>, Tensor<Tracked, 4>) -> Tensor<Tracked, 4>,
                      dtype| {
                let (whole, term) = (leaf(&whole, dtype), leaf(&term, dtype));
                let y = sum(whole.clone(), term.clone());
                let weight = Tensor::from_inner(noise(y.dims(), 23, 0.1, 1.0).cast(dtype));
                let grads = (y.clone() * weight).sum().backward();
                [
                    y.inner(),
                    whole.grad(&grads).unwrap(),
                    term.grad(&grads).unwrap(),
                ]
                .map(values)
            };
            let expected = of(|whole, term| whole + term, FloatDType::F64);
            for found in [
                of(add, FloatDType::F32),
                of(|whole, term| add(term, whole), FloatDType::F32),
            ] {
                for (found, expected) in found.iter().zip(&expected) {
                    // Up to 4200 terms of order one, added up in f64 or, by the library, in f32.
                    let tolerance = Tolerance::Absolute(1e-3);
                    assert_close(&format!("{:?}", term.dims()), found, expected, tolerance);
                }
            }
        }
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
        let wide = noise([1, 64, 64, 6], 18, 20.0, 15.0);
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
