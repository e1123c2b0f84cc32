//! Linear layers on the CPU: the library's product of f32, to which floats of 16 bits are
//! [widened](super::half_flex).

use burn::tensor::ops::{FloatTensor, ModuleOps};
use burn_flex::Flex;

use super::half_flex::in_f32;
use super::linear::LinearKernels;

impl LinearKernels for Flex {
    fn project(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        match bias {
            Some(bias) => in_f32([x, weight, bias], |[x, weight, bias]| {
                Self::linear(x, weight, Some(bias))
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
