//! Arguments of `kinvert tracks`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Most starts along each side of the frame.
const MAX_GRID: u32 = 256;

/// Draw where the points of a clip go.
///
/// Points start on a regular grid in the first frame. Those that move have a coloured tail, those that stay are
/// faint dots, and a track ends where its point is lost.
#[derive(Debug, Args)]
#[command(after_help = TRACKS_EXAMPLES)]
pub struct TracksArgs {
    /// The clip: a video, an animation or a folder of images
    #[arg(value_name = "CLIP")]
    pub clip: PathBuf,
    /// Picture to write: .gif or .mp4 for the whole clip, .png for its last frame with whole tails
    /// [default: <name of the clip>-tracks.gif]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Who finds the tracks
    #[arg(long, value_name = "NAME", default_value = "klt")]
    pub tracker: TrackerName,
    /// Points along each side of the frame [default: one for every second pixel, at most 55]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_GRID)))]
    pub grid: Option<u32>,
    /// Tell every track's places too, with --json
    #[arg(long, requires = "json")]
    pub points: bool,
}

/// The trackers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrackerName {
    /// Kanade, Lucas and Tomasi's: no weights, any device
    Klt,
}

const TRACKS_EXAMPLES: &str = "\
Examples:
  kinvert tracks clip.mp4
  kinvert tracks clip.mp4 -o tracks.png --grid 20
  kinvert tracks clip.mp4 --json --points -o tracks.mp4 > tracks.json

With --json, stdout carries {path (the picture), clip, tracker {name, sha256}, grid, frames, size, fps, tracks,
surviving (tracks seen in every frame), motion_magnitude (mean length of the surviving tracks in fractions of the
frame's diagonal, null without any)} and with --points also points [{places [[x, y] of every frame], visible}]: in
pixels, where the centre of the first one is at [0, 0]; places after a loss are where the point was seen last.";
