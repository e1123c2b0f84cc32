//! The recipe of the small built-in model, and the table that says how good it is.
//!
//! * [`train`] makes the parts of a model from the sprite world.
//! * [`evaluate`] measures a model of the sprite world.

mod error;
pub mod evaluate;
pub mod train;

pub use error::Error;
