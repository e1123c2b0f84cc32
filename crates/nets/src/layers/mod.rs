//! Layers that several networks share.

pub mod apply;
pub mod attention;
pub mod resample;
pub mod resnet;
pub mod temporal;
pub mod transformer_2d;
