//! Operations that a backend may compute in fewer passes over memory than plain tensors can say.
//!
//! Each file holds one family: a trait over backends whose default bodies are the plain-tensor form (what GPU
//! backends run, and what the tests compare with), functions on tensors that call it, a kernel for the CPU
//! backend, and the gradient for [`burn::backend::Autodiff`].

pub mod attention;
#[cfg(feature = "cpu")]
mod attention_flex;
pub mod conv;
#[cfg(feature = "cpu")]
mod conv_flex;
pub mod elementwise;
#[cfg(feature = "cpu")]
mod elementwise_flex;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
mod gpu;
#[cfg(feature = "cpu")]
mod group_norm_flex;
#[cfg(feature = "cpu")]
mod half_flex;
pub mod layout;
#[cfg(feature = "cpu")]
mod layout_flex;
pub mod linear;
#[cfg(feature = "cpu")]
mod linear_flex;
#[cfg(feature = "cpu")]
mod matrix;
#[cfg(feature = "cpu")]
mod prepared_flex;
#[cfg(feature = "cpu")]
mod simd;

use burn::tensor::backend::{AutodiffBackend, Backend};

/// A backend that has every kernel: what networks run on.
pub trait NetBackend:
    Backend
    + attention::AttentionKernels
    + conv::ConvKernels
    + elementwise::ElementwiseKernels
    + layout::LayoutKernels
    + linear::LinearKernels
{
}

impl<B> NetBackend for B where
    B: Backend
        + attention::AttentionKernels
        + conv::ConvKernels
        + elementwise::ElementwiseKernels
        + layout::LayoutKernels
        + linear::LinearKernels
{
}

/// A tracking backend whose plain backend has every kernel too: what motions are learned on.
pub trait TrackingBackend: NetBackend + AutodiffBackend<InnerBackend: NetBackend> {}

impl<B> TrackingBackend for B where B: NetBackend + AutodiffBackend<InnerBackend: NetBackend> {}
