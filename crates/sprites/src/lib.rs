//! The recipe of the small built-in model, and the table that says how good it is.
//!
//! * [`train`] makes the parts of a model from the sprite world.
//! * [`evaluate`] measures a model of the sprite world.
//! * [`Judge`] says what frames show, by the model's own CLIP.
//! * [`held_out_scene`] draws the scenes that the recipe never sees.

mod error;
pub mod evaluate;
mod held_out;
mod judge;
pub mod train;

pub use error::Error;
pub use held_out::{HELD_OUT, held_out_scene};
pub use judge::Judge;
