//! Attention on the CPU.
//!
//! Work is split into batch entries and blocks of queries; each task holds the scores of one block and one
//! head. Products are strided over heads, so heads are never copied apart. Blocks and the order of sums do not
//! depend on the number of threads, so neither do results. Floats of 32 bits, and of 16 bits [by way of
//! them](super::half_flex); other types take the plain form.

use std::ops::Range;

use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{Flex, FlexTensor, Layout};

use super::attention::{AttentionKernels, plain_attention, plain_attention_backward};
use super::half_flex::{are_f32_or_half, narrowed, widened};
use super::matrix::{Existing, Matrix, MatrixMut, for_each, multiply, with_scratch};
use super::simd::{LANES, exp, vectorised};

/// Scores that one task holds at most, unless a block of [`LEAST_ROWS`] queries has more: 768 KiB of f32, so
/// that they stay in the second-level cache.
const SCORES_PER_BLOCK: usize = 192 * 1024;
/// Queries per block: with fewer, packing the keys for the product takes longer than the product.
const LEAST_ROWS: usize = 32;
/// Queries per block: with more, few queries are shared badly among threads and products gain nothing.
const MOST_ROWS: usize = 128;
/// Tasks that queries are split for where batch entries are fewer: enough to keep usual processors busy.
const TASKS: usize = 16;

impl AttentionKernels for Flex {
    fn attention_tokens(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        heads: usize,
    ) -> FlexTensor {
        let Some(sizes) = Sizes::of(&[&query, &key, &value], heads) else {
            return plain_attention::<Flex>(query, key, value, heads);
        };
        let dtype = query.dtype();
        let [query, key, value] = [query, key, value].map(|x| widened(x).to_contiguous());
        let output = forward(sizes, query.storage(), key.storage(), value.storage());
        narrowed(sizes.tensor(sizes.queries, output), dtype)
    }

    fn attention_tokens_backward(
        inputs: [FloatTensor<Self>; 3],
        output_grad: FloatTensor<Self>,
        heads: usize,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        let [query, key, value] = &inputs;
        let Some(sizes) = Sizes::of(&[query, key, value, &output_grad], heads) else {
            return plain_attention_backward::<Flex>(inputs, output_grad, heads, wanted);
        };
        let dtype = query.dtype();
        let [query, key, value] = inputs.map(|x| widened(x).to_contiguous());
        let output_grad = widened(output_grad).to_contiguous();
        let operands = Operands {
            query: query.storage(),
            key: key.storage(),
            value: value.storage(),
            output_grad: output_grad.storage(),
        };
        let gradients = backward(sizes, operands, wanted);
        gradients.map(|gradient| gradient.map(|gradient| narrowed(gradient, dtype)))
    }
}

/// Sizes of one attention.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    head_dim: usize,
}

impl Sizes {
    /// The sizes of query, key and further tensors, if all can be computed here and none is empty.
    fn of(tensors: &[&FlexTensor], heads: usize) -> Option<Self> {
        let is_empty = |x: &&FlexTensor| x.layout().num_elements() == 0;
        if tensors.iter().any(is_empty) || !are_f32_or_half(tensors.iter().copied()) {
            return None;
        }
        let [batch, queries, channels] = tensors[0].layout().shape().dims();
        Some(Self {
            batch,
            queries,
            keys: tensors[1].layout().shape()[1],
            heads,
            head_dim: channels / heads,
        })
    }

    fn channels(self) -> usize {
        self.heads * self.head_dim
    }

    fn scale(self) -> f32 {
        (self.head_dim as f64).powf(-0.5) as f32
    }

    /// Queries whose scores a task holds at once.
    fn rows_per_block(self) -> usize {
        (SCORES_PER_BLOCK / self.keys)
            .clamp(LEAST_ROWS, MOST_ROWS)
            .min(self.queries)
    }

    /// The tokens `range` of one head in `[batch, length, channels]`.
    fn head(
        self,
        data: &[f32],
        length: usize,
        batch: usize,
        head: usize,
        range: Range<usize>,
    ) -> Matrix<'_> {
        let start = (batch * length + range.start) * self.channels() + head * self.head_dim;
        Matrix::new(
            &data[start..],
            [range.len(), self.head_dim],
            self.channels(),
        )
    }

    fn tensor(self, length: usize, values: Vec<f32>) -> FlexTensor {
        let shape = Shape::from([self.batch, length, self.channels()]);
        FlexTensor::new(
            Bytes::from_elems(values),
            Layout::contiguous(shape),
            DType::F32,
        )
    }

    /// Writes the attention weights of a block of queries, `[rows, keys]`.
    fn weights(
        self,
        query: &[f32],
        key: &[f32],
        batch: usize,
        head: usize,
        rows: Range<usize>,
        weights: &mut [f32],
    ) {
        multiply(
            MatrixMut::new(weights, [rows.len(), self.keys], self.keys),
            Existing::Overwritten,
            self.scale(),
            self.head(query, self.queries, batch, head, rows),
            self.head(key, self.keys, batch, head, 0..self.keys)
                .transposed(),
        );
        vectorised(
            #[inline(always)]
            || softmax_rows(weights, self.keys),
        );
    }
}

fn forward(sizes: Sizes, query: &[f32], key: &[f32], value: &[f32]) -> Vec<f32> {
    let Sizes {
        batch,
        queries,
        keys,
        heads,
        head_dim,
    } = sizes;
    let channels = sizes.channels();
    let rows_per_task = (batch * queries).div_ceil(TASKS).max(LEAST_ROWS);
    let block = sizes.rows_per_block().min(rows_per_task);
    let mut output = vec![0.0; batch * queries * channels];
    let blocks = output
        .chunks_mut(queries * channels)
        .enumerate()
        .flat_map(|(batch, output)| {
            output
                .chunks_mut(block * channels)
                .enumerate()
                .map(move |(index, output)| (batch, index * block, output))
        })
        .collect();
    let work = 2 * block * keys * channels;
    for_each(blocks, work, |(batch, first, output)| {
        let rows = first..first + output.len() / channels;
        with_scratch(rows.len() * keys, |weights| {
            for head in 0..heads {
                sizes.weights(query, key, batch, head, rows.clone(), weights);
                multiply(
                    MatrixMut::new(
                        &mut output[head * head_dim..],
                        [rows.len(), head_dim],
                        channels,
                    ),
                    Existing::Overwritten,
                    1.0,
                    Matrix::new(weights, [rows.len(), keys], keys),
                    sizes.head(value, keys, batch, head, 0..keys),
                );
            }
        });
    });
    output
}

/// What the gradients are computed from, each `[batch, tokens, channels]`.
#[derive(Clone, Copy)]
struct Operands<'a> {
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
    output_grad: &'a [f32],
}

/// Gradients of one head from a group of queries; empty where they are not wanted.
#[derive(Default)]
struct HeadGradients {
    /// `[queries of the group, head channels]`.
    query: Vec<f32>,
    /// `[keys, head channels]`, this group's part of the sum.
    key: Vec<f32>,
    /// `[keys, head channels]`, this group's part of the sum.
    value: Vec<f32>,
}

fn backward(sizes: Sizes, operands: Operands<'_>, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let Sizes {
        batch,
        queries,
        keys,
        heads,
        ..
    } = sizes;
    // Every head of every batch entry is a task; where those are few, their queries are split into groups.
    let groups = TASKS
        .div_ceil(batch * heads)
        .min(queries.div_ceil(LEAST_ROWS));
    let group = queries.div_ceil(groups);
    let groups = queries.div_ceil(group);
    let mut parts: Vec<HeadGradients> = Vec::new();
    parts.resize_with(batch * heads * groups, HeadGradients::default);
    let tasks = parts.iter_mut().enumerate().collect();
    let work = 5 * group * keys * sizes.head_dim;
    for_each(tasks, work, |(task, part): (usize, &mut HeadGradients)| {
        let first = task % groups * group;
        let rows = first..queries.min(first + group);
        let (batch, head) = (task / (heads * groups), task / groups % heads);
        *part = head_gradients(sizes, operands, batch, head, rows, wanted);
    });

    let [wants_query, wants_key, wants_value] = wanted;
    let summed = |of: fn(&HeadGradients) -> &[f32]| {
        let first_rows = vec![0; groups];
        sizes.tensor(keys, assembled(sizes, keys, &first_rows, &parts, of))
    };
    let joined = || {
        let first_rows: Vec<usize> = (0..groups).map(|index| index * group).collect();
        let values = assembled(sizes, queries, &first_rows, &parts, |part| &part.query);
        sizes.tensor(queries, values)
    };
    [
        wants_query.then(joined),
        wants_key.then(|| summed(|part| &part.key)),
        wants_value.then(|| summed(|part| &part.value)),
    ]
}

fn head_gradients(
    sizes: Sizes,
    operands: Operands<'_>,
    batch: usize,
    head: usize,
    group: Range<usize>,
    [wants_query, wants_key, wants_value]: [bool; 3],
) -> HeadGradients {
    let Sizes {
        queries,
        keys,
        head_dim,
        ..
    } = sizes;
    let zeros = |wanted: bool, rows: usize| vec![0.0; if wanted { rows * head_dim } else { 0 }];
    let mut grads = HeadGradients {
        query: zeros(wants_query, group.len()),
        key: zeros(wants_key, keys),
        value: zeros(wants_value, keys),
    };
    let all_keys = |data| sizes.head(data, keys, batch, head, 0..keys);
    let block = sizes.rows_per_block().min(group.len());
    with_scratch(2 * block * keys, |scratch| {
        for start in group.clone().step_by(block) {
            let rows = start..group.end.min(start + block);
            let (weights, scores_grad) = scratch.split_at_mut(block * keys);
            let weights = &mut weights[..rows.len() * keys];
            let scores_grad = &mut scores_grad[..rows.len() * keys];
            let scores_shape = [rows.len(), keys];
            let output_grad = sizes.head(operands.output_grad, queries, batch, head, rows.clone());

            sizes.weights(
                operands.query,
                operands.key,
                batch,
                head,
                rows.clone(),
                weights,
            );
            if wants_value {
                multiply(
                    MatrixMut::new(&mut grads.value, [keys, head_dim], head_dim),
                    Existing::AddedTo,
                    1.0,
                    Matrix::new(weights, scores_shape, keys).transposed(),
                    output_grad,
                );
            }
            if !wants_query && !wants_key {
                continue;
            }
            multiply(
                MatrixMut::new(scores_grad, scores_shape, keys),
                Existing::Overwritten,
                1.0,
                output_grad,
                all_keys(operands.value).transposed(),
            );
            vectorised(
                #[inline(always)]
                || softmax_rows_backward(weights, scores_grad, keys),
            );
            let scores_grad = Matrix::new(scores_grad, scores_shape, keys);
            if wants_query {
                let first = (rows.start - group.start) * head_dim;
                multiply(
                    MatrixMut::new(&mut grads.query[first..], [rows.len(), head_dim], head_dim),
                    Existing::Overwritten,
                    sizes.scale(),
                    scores_grad,
                    all_keys(operands.key),
                );
            }
            if wants_key {
                multiply(
                    MatrixMut::new(&mut grads.key, [keys, head_dim], head_dim),
                    Existing::AddedTo,
                    sizes.scale(),
                    scores_grad.transposed(),
                    sizes.head(operands.query, queries, batch, head, rows),
                );
            }
        }
    });
    grads
}

/// Adds up the parts of all groups, `[rows, head channels]` from row `first_rows[group]` on, as
/// `[batch, length, channels]`.
fn assembled(
    sizes: Sizes,
    length: usize,
    first_rows: &[usize],
    parts: &[HeadGradients],
    of: fn(&HeadGradients) -> &[f32],
) -> Vec<f32> {
    let (heads, head_dim, channels) = (sizes.heads, sizes.head_dim, sizes.channels());
    let mut output = vec![0.0; sizes.batch * length * channels];
    let entries = output
        .chunks_mut(length * channels)
        .zip(parts.chunks(heads * first_rows.len()))
        .collect();
    for_each(entries, length * channels, |(output, parts)| {
        for (index, part) in parts.iter().enumerate() {
            let (head, group) = (index / first_rows.len(), index % first_rows.len());
            let rows = output[first_rows[group] * channels..].chunks_mut(channels);
            for (row, part) in rows.zip(of(part).chunks(head_dim)) {
                let row = &mut row[head * head_dim..][..head_dim];
                row.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            }
        }
    });
    output
}

/// The softmax of every row, in place.
#[inline(always)]
fn softmax_rows(rows: &mut [f32], length: usize) {
    for row in rows.chunks_exact_mut(length) {
        let largest = reduced(row, f32::NEG_INFINITY, larger);
        for score in &mut *row {
            *score = exp(*score - largest);
        }
        let inverse_sum = 1.0 / reduced(row, 0.0, add);
        for weight in &mut *row {
            *weight *= inverse_sum;
        }
    }
}

/// Turns the gradients of attention weights into those of the scores: `weight * (grad - Σ weight * grad)`.
#[inline(always)]
fn softmax_rows_backward(weights: &[f32], grads: &mut [f32], length: usize) {
    let rows = grads.chunks_exact_mut(length);
    for (grads, weights) in rows.zip(weights.chunks_exact(length)) {
        for (grad, weight) in grads.iter_mut().zip(weights) {
            *grad *= weight;
        }
        let mean = reduced(grads, 0.0, add);
        for (grad, weight) in grads.iter_mut().zip(weights) {
            *grad -= weight * mean;
        }
    }
}

/// Reduces a row, [`LANES`] values side by side.
#[inline(always)]
fn reduced(row: &[f32], initial: f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [initial; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = combine(lanes[lane], chunk[lane]);
        }
    }
    lanes
        .iter()
        .chain(rest)
        .fold(initial, |a, &b| combine(a, b))
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn add(a: f32, b: f32) -> f32 {
    a + b
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn::prelude::*;
    use burn::tensor::Distribution;
    use kinvert_testkit::{Tolerance, assert_close, values};

    use super::*;
    use crate::kernels::attention::attention_tokens;

    type Tracked = Autodiff<Flex>;

    /// Batch, queries, keys, heads, head channels: odd sizes, single tokens, several blocks of queries, the last
    /// of them shorter, and few batch entries, whose queries are split among threads.
    const SIZES: [[usize; 5]; 9] = [
        [1, 1, 1, 1, 1],
        [2, 1, 7, 3, 5],
        [3, 5, 1, 2, 9],
        [64, 16, 16, 2, 32],
        [16, 64, 64, 4, 32],
        [1, 1024, 16, 2, 32],
        [1, 64, 64, 1, 64],
        [2, 301, 47, 1, 13],
        [1, 150, 6200, 1, 8],
    ];

    fn random<B: Backend>(shape: [usize; 3], deviation: f64) -> Tensor<B, 3> {
        let distribution = Distribution::Normal(0.0, deviation);
        Tensor::random(shape, distribution, &Default::default())
    }

    /// The plain form with all products and sums in f64.
    fn exact(
        query: Tensor<Flex, 3>,
        key: Tensor<Flex, 3>,
        value: Tensor<Flex, 3>,
        heads: usize,
    ) -> Vec<f32> {
        let [query, key, value] =
            [query, key, value].map(|x| x.cast(DType::F64).into_primitive().tensor());
        let output = plain_attention::<Flex>(query, key, value, heads);
        values(Tensor::<Flex, 3>::from_primitive(
            burn::tensor::TensorPrimitive::Float(output),
        ))
    }

    #[test]
    fn values_are_those_of_the_plain_form() {
        for [batch, queries, keys, heads, head_dim] in SIZES {
            let channels = heads * head_dim;
            let query = random([batch, queries, channels], 1.0);
            let key = random([batch, keys, channels], 1.0);
            let value = random([batch, keys, channels], 1.0);
            let expected = exact(query.clone(), key.clone(), value.clone(), heads);
            let found = values(attention_tokens(query, key, value, heads));
            // Largest difference seen: 1.5e-6, the rounding of f32 in values and scores near 2.
            let name = format!("{batch} {queries} {keys} {heads} {head_dim}");
            assert_close(&name, &found, &expected, Tolerance::Absolute(5e-6));
        }
    }

    #[test]
    fn tensors_need_not_be_contiguous() {
        let sliced = |tokens| {
            random::<Flex>([12, tokens + 2, 5], 1.0)
                .permute([2, 1, 0])
                .narrow(1, 1, tokens)
        };
        let (query, key, value) = (sliced(6), sliced(9), sliced(9));
        let expected = exact(query.clone(), key.clone(), value.clone(), 3);
        let found = values(attention_tokens(query, key, value, 3));
        assert_close("values", &found, &expected, Tolerance::Absolute(5e-6));
    }

    #[test]
    fn large_scores_neither_overflow_nor_vanish() {
        // Scores reach ±100 after scaling, far beyond where the exponential of a f32 overflows.
        let query = random::<Flex>([2, 20, 8], 1.0).sign() * 16.0;
        let key = random::<Flex>([2, 30, 8], 1.0).sign() * 17.68;
        let value = random::<Flex>([2, 30, 8], 1.0);
        let expected = exact(query.clone(), key.clone(), value.clone(), 4);
        let found = values(attention_tokens(query, key, value, 4));
        // A score of 100 is known to 8e-6, and so is the ratio of two weights.
        assert_close("values", &found, &expected, Tolerance::Absolute(5e-5));
    }

    #[test]
    fn not_a_number_is_passed_on() {
        let key = random::<Flex>([1, 5, 4], 1.0) * f32::NAN;
        let query = random::<Flex>([1, 3, 4], 1.0);
        let found = values(attention_tokens(query, key.clone(), key.ones_like(), 2));
        assert!(found.iter().all(|x| x.is_nan()), "{found:?}");
    }

    #[test]
    fn other_types_take_the_plain_form() {
        let [query, key, value] = [3, 4, 4].map(|tokens| random::<Flex>([2, tokens, 6], 1.0));
        let expected = values(attention_tokens(
            query.clone(),
            key.clone(),
            value.clone(),
            2,
        ));
        let [query, key, value] = [query, key, value].map(|x| x.cast(DType::F16));
        let found = attention_tokens(query, key, value, 2);
        assert_eq!(found.dtype(), DType::F16);
        // Inputs and result are rounded to eleven bits.
        let tolerance = Tolerance::Absolute(5e-3);
        assert_close("values", &values(found), &expected, tolerance);
    }

    /// Gradients of `Σ weight * attention` for query, key and value.
    fn gradients(
        inputs: &[Tensor<Tracked, 3>; 3],
        tracked: [bool; 3],
        attention: impl Fn([Tensor<Tracked, 3>; 3]) -> Tensor<Tracked, 3>,
        weight: &Tensor<Flex, 3>,
    ) -> [Option<Vec<f32>>; 3] {
        let mut inputs = inputs.clone();
        for (input, tracked) in inputs.iter_mut().zip(tracked) {
            if tracked {
                *input = input.clone().require_grad();
            }
        }
        let weight = Tensor::from_inner(weight.clone());
        let grads = (attention(inputs.clone()) * weight).sum().backward();
        inputs.map(|input| input.grad(&grads).map(values))
    }

    #[test]
    fn gradients_are_those_of_the_plain_form() {
        for [batch, queries, keys, heads, head_dim] in SIZES {
            let channels = heads * head_dim;
            let inputs = [queries, keys, keys].map(|n| random([batch, n, channels], 1.0));
            let weight = random([batch, queries, channels], 1.0);
            let all = [true; 3];
            let plain = |inputs: [Tensor<Tracked, 3>; 3]| {
                let [query, key, value] = inputs.map(|x| x.into_primitive().tensor());
                Tensor::from_primitive(burn::tensor::TensorPrimitive::Float(plain_attention::<
                    Tracked,
                >(
                    query, key, value, heads,
                )))
            };
            let kernel = |[query, key, value]: [Tensor<Tracked, 3>; 3]| {
                attention_tokens(query, key, value, heads)
            };
            let expected = gradients(&inputs, all, plain, &weight);
            for tracked in [
                all,
                [true, false, false],
                [false, true, false],
                [false, false, true],
            ] {
                let found = gradients(&inputs, tracked, kernel, &weight);
                for (index, found) in found.into_iter().enumerate() {
                    assert_eq!(found.is_some(), tracked[index]);
                    let Some(found) = found else { continue };
                    let expected = expected[index].as_ref().unwrap();
                    let name = format!("{index} of {batch} {queries} {keys} {heads} {head_dim}");
                    // Both sides add up in f32, over up to 1024 queries; largest difference seen: 1e-6 of the
                    // largest value. Softmax over one key has a gradient of zero, up to rounding.
                    let largest = expected.iter().fold(1.0_f32, |a, b| a.max(b.abs()));
                    let tolerance = Tolerance::Absolute(1e-5 * f64::from(largest));
                    assert_close(&name, &found, expected, tolerance);
                }
            }
        }
    }

    #[test]
    fn the_plain_gradients_are_those_of_the_kernel() {
        let inputs = [5, 7, 7].map(|tokens| random::<Flex>([2, tokens, 12], 1.0));
        let output_grad = random::<Flex>([2, 5, 12], 1.0);
        let primitives = inputs.map(|x| x.into_primitive().tensor());
        let output_grad = output_grad.into_primitive().tensor();
        let wanted = [true; 3];
        let plain =
            plain_attention_backward::<Flex>(primitives.clone(), output_grad.clone(), 3, wanted);
        let kernel = Flex::attention_tokens_backward(primitives, output_grad, 3, wanted);
        for (plain, kernel) in plain.into_iter().zip(kernel) {
            let [plain, kernel] = [plain, kernel].map(|x| x.unwrap().to_contiguous());
            assert_close(
                "gradient",
                kernel.storage(),
                plain.storage(),
                Tolerance::Absolute(5e-6),
            );
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let inputs = [3, 4, 4].map(|tokens| random::<Tracked>([2, tokens, 6], 1.0));
        let weight = random::<Flex>([2, 3, 6], 1.0);
        let kernel =
            |[query, key, value]: [Tensor<Tracked, 3>; 3]| attention_tokens(query, key, value, 2);
        let grads = gradients(&inputs, [true; 3], kernel, &weight);
        let loss = |inputs: [Tensor<Flex, 3>; 3]| -> f64 {
            let [query, key, value] = inputs;
            let output = exact(query, key, value, 2);
            output
                .iter()
                .zip(values(weight.clone()))
                .map(|(a, b)| f64::from(*a) * f64::from(b))
                .sum()
        };
        for (index, grad) in grads.into_iter().enumerate() {
            let direction = random::<Flex>(inputs[index].dims(), 1.0);
            let moved = |by: f32| {
                let mut inputs = inputs.clone().map(|x| x.inner());
                inputs[index] = inputs[index].clone() + direction.clone() * by;
                loss(inputs)
            };
            let step = 1e-2;
            let difference = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            let slope: f64 = grad
                .unwrap()
                .iter()
                .zip(values(direction.clone()))
                .map(|(a, b)| f64::from(*a) * f64::from(b))
                .sum();
            // The difference itself is known to about 1e-3: third derivatives times the step squared.
            assert!(
                (difference - slope).abs() < 1e-2 * (1.0 + slope.abs()),
                "{index}: {difference}, {slope}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "cannot be split into 4 heads")]
    fn heads_must_divide_the_channels() {
        let [query, key, value] = [3, 4, 4].map(|tokens| random::<Flex>([2, tokens, 6], 1.0));
        attention_tokens(query, key, value, 4);
    }

    #[test]
    #[should_panic(expected = "shape of the values")]
    fn every_key_must_have_a_value() {
        let [query, key, value] = [3, 4, 5].map(|tokens| random::<Flex>([2, tokens, 6], 1.0));
        attention_tokens(query, key, value, 2);
    }
}
