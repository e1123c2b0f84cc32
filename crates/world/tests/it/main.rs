//! The renderer against the recorded clip, laws of the world, and how well sprites are found.

mod recorded;
mod tracking;
mod world;
