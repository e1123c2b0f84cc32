//! The sprite world and the small built-in model.
//!
//! The world is made of clips of 16 frames of 64×64 pixels at 8 frames per second. One sprite moves over one
//! background; the caption names shape, colour and background and never the motion. The true path of the
//! sprite is known for every clip, which is what lets a study say whether a motion was really transferred.
//! `WORLD.md` beside this crate describes it in full.
//!
//! * [`Look`] is what a caption says, [`Path`] is how the sprite moves, [`Scene`] is both and renders the clip.
//! * [`track`] finds the sprite in a clip, rendered or generated, and compares paths.
//!
//! ```
//! use kinvert_world::{Motion, Scene, track};
//!
//! let scene = Scene::random_with_motion(Motion::Arc, 1);
//! let found = track::centroid_path(&scene.render(), Some(scene.look));
//! let agreement = track::path_correlation(&scene.centre_path(), &found);
//! assert!(agreement > 0.99);
//! ```

mod error;
mod look;
pub mod model;
mod path;
mod scene;
pub mod track;

pub use error::Error;
pub use look::{Background, Colour, Look, Rgb, Shape};
pub use path::{MAX_POSITION, Motion, Path, Point};
pub use scene::{FPS, FRAMES, MAX_FRAMES, MAX_SIZE, SIZE, Scene};
