//! The recipe of the small built-in model, and the table that says how good it is.
//!
//! * [`evaluate`] measures a model of the sprite world.

pub mod evaluate;
