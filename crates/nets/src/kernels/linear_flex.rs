//! Linear layers on the CPU: products of f32, to which floats of 16 bits are [widened](super::half_flex).

use std::borrow::Cow;

use burn::tensor::ops::{FloatTensor, ModuleOps};
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{Flex, FlexTensor, Layout};

use super::half_flex::{are_f32_or_half, in_f32, narrowed, widened};
use super::linear::LinearKernels;
use super::matrix::{Existing, Matrix, MatrixMut, multiply, rows_of};
use super::prepared_flex::{Form, LayerWeights};

impl LinearKernels for Flex {
    fn project(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        if !fits(&[&x, &weight]) || !bias.iter().all(|bias| fits(&[bias])) {
            return Self::linear(x, weight, bias);
        }
        let [in_channels, out_channels] = weight.layout().shape().dims();
        let bias = bias.map(|bias| widened(bias).to_contiguous());
        let start = match &bias {
            Some(bias) => Cow::Borrowed(bias.storage()),
            None => Cow::Owned(vec![0.0; out_channels]),
        };
        let weights = LayerWeights::of(weight).in_f32();
        let matrix = Matrix::new(weights.storage(), [in_channels, out_channels], out_channels);
        rows_times(x, matrix, &start)
    }

    fn project_x_backward(
        weight: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if !fits(&[&weight, &output_grad]) {
            return Self::linear_x_backward(weight, output_grad);
        }
        let [in_channels, out_channels] = weight.layout().shape().dims();
        let transposed = LayerWeights::of(weight).prepared(Form::Transposed, |weights| {
            let column = |index| weights.iter().skip(index).step_by(out_channels);
            (0..out_channels).flat_map(column).copied().collect()
        });
        let matrix = Matrix::new(&transposed, [out_channels, in_channels], in_channels);
        rows_times(output_grad, matrix, &vec![0.0; in_channels])
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

/// Whether all tensors can be computed here and none is empty.
fn fits(tensors: &[&FlexTensor]) -> bool {
    let is_empty = |x: &&FlexTensor| x.layout().num_elements() == 0;
    are_f32_or_half(tensors.iter().copied()) && !tensors.iter().any(is_empty)
}

/// `start` plus each row of `x` `[rows, in]` times a matrix `[in, out]`, in the type of `x`.
fn rows_times(x: FlexTensor, matrix: Matrix<'_>, start: &[f32]) -> FlexTensor {
    let dtype = x.dtype();
    let x = widened(x).to_contiguous();
    let [rows, from] = x.layout().shape().dims();
    let (values, to) = (x.storage::<f32>(), start.len());
    let products = rows_of(rows, start, from * to, 1, |first, output| {
        let rows = output.len() / to;
        multiply(
            MatrixMut::new(output, [rows, to], to),
            Existing::AddedTo,
            1.0,
            Matrix::new(&values[first * from..], [rows, from], from),
            matrix,
        );
    });
    let layout = Layout::contiguous(Shape::new([rows, to]));
    narrowed(
        FlexTensor::new(Bytes::from_elems(products), layout, DType::F32),
        dtype,
    )
}
