//! Layers that several networks share.

pub mod resample;
pub mod resnet;
