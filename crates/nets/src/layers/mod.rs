//! Layers that several networks share.

pub mod attention;
pub mod linear;
pub mod norm;
pub mod resample;
pub mod resnet;
pub mod temporal;
pub mod transformer_2d;
