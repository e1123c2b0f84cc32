//! The program as its users meet it: the real binary, its files, its words and its exit codes.

#![allow(clippy::unwrap_used)] // a failed expectation ends a test, in helpers too

mod animate_diff;
mod bad_input;
mod devices;
mod evaluate;
mod generate;
mod inspect;
#[cfg(unix)]
mod interruption;
mod lora;
mod models;
mod plan;
mod planner;
mod sprites;
mod study;
mod support;
mod tracks;
mod transfer;
mod votes;
