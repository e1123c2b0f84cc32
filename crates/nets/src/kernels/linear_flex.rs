//! Linear layers on the CPU: the library's product of f32, to which floats of 16 bits are
//! [widened](super::half_flex).

use burn::tensor::ops::{FloatTensor, FloatTensorOps, ModuleOps};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::half_flex::in_f32;
use super::linear::LinearKernels;

/// Values that one task adds a bias to: enough to be worth another thread.
const VALUES_PER_TASK: usize = 1 << 16;

impl LinearKernels for Flex {
    fn project(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        match bias {
            Some(bias) => in_f32([x, weight, bias], |[x, weight, bias]| {
                add_bias(Self::linear(x, weight, None), &bias)
            }),
            None => in_f32([x, weight], |[x, weight]| Self::linear(x, weight, None)),
        }
    }

    fn project_x_backward(
        weight: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        in_f32([weight, output_grad], |[weight, output_grad]| {
            Self::linear_x_backward(weight, output_grad)
        })
    }

    fn project_weight_backward(
        x: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        in_f32([x, output_grad], |[x, output_grad]| {
            Self::linear_weight_backward(x, output_grad)
        })
    }
}

/// Adds `bias` `[out]` to every row of `[rows, out]`, in place: the library's own form makes the largest tensor of a
/// transformer, the input of its gate, twice.
fn add_bias(mut output: FlexTensor, bias: &FlexTensor) -> FlexTensor {
    let bias = bias.to_contiguous();
    let values: &[f32] = bias.storage();
    match output.try_storage_mut::<f32>() {
        Some(rows) if !values.is_empty() && rows.len().is_multiple_of(values.len()) => {
            let rows_per_task = (VALUES_PER_TASK / values.len()).max(1);
            rows.par_chunks_mut(rows_per_task * values.len())
                .flat_map_iter(|rows| rows.chunks_mut(values.len()))
                .for_each(|row| row.iter_mut().zip(values).for_each(|(x, b)| *x += b));
            output
        }
        _ => Flex::float_add(output, bias),
    }
}
