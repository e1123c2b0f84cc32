//! The method against recordings of its published code, on the CPU backend.

mod official_motion;
mod sprites;
mod support;
