//! The method against recordings of its published code, on the CPU backend.

mod import;
mod official_motion;
mod sprites;
mod support;
