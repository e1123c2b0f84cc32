//! Layers that several networks share.

pub mod adapter;
pub mod apply;
pub mod attention;
pub mod positions;
pub mod resample;
pub mod resnet;
pub mod temporal;
pub mod timestep;
pub mod transformer_2d;
