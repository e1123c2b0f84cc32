//! GPU backends run the plain-tensor forms: what they compile from them is fused by the engine.

use super::attention::AttentionKernels;
use super::conv::ConvKernels;
use super::elementwise::ElementwiseKernels;
use super::layout::LayoutKernels;
use super::linear::LinearKernels;

macro_rules! plain_forms {
    ($($backend:ty),*) => {
        $(
            impl AttentionKernels for $backend {}
            impl ConvKernels for $backend {}
            impl ElementwiseKernels for $backend {}
            impl LayoutKernels for $backend {}
            impl LinearKernels for $backend {}
        )*
    };
}

// Vulkan and Metal store booleans as u8, WebGPU as u32.
#[cfg(feature = "wgpu")]
plain_forms!(burn::backend::Wgpu<f32, i32, u8>, burn::backend::Wgpu<f32, i32, u32>);
#[cfg(feature = "cuda")]
plain_forms!(burn::backend::Cuda);
#[cfg(feature = "rocm")]
plain_forms!(burn::backend::Rocm);
