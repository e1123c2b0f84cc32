//! The recipe of the small built-in model, and the table that says how good it is.
//!
//! * [`evaluate`] measures a model of the sprite world.
//! * [`Judge`] says what frames show, by the model's own CLIP.
//! * [`held_out_scene`] draws the scenes that the recipe never sees.

mod error;
pub mod evaluate;
mod held_out;
mod judge;

pub use error::Error;
pub use held_out::{HELD_OUT, held_out_scene};
pub use judge::Judge;
