//! Arguments of `kinvert tracks`.

use std::path::PathBuf;

use clap::Args;

use super::evaluate::TrackerArgs;

/// Follow points through a clip and draw their tracks over it.
///
/// Every track has the colour of the place it starts from, a dot where its point is, and a tail where it was.
/// Points that stay are small and grey; lost ones are not drawn.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TracksArgs {
    /// The clip
    #[arg(value_name = "CLIP")]
    pub clip: PathBuf,
    /// File for the picture: .gif or .mp4 for the clip, .png for its last frame with all ways [default:
    /// <name of the clip>-tracks.gif]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub tracker: TrackerArgs,
    /// Add the places of every track to the JSON
    #[arg(long)]
    pub points: bool,
}

const EXAMPLES: &str = "\
Examples:
  kinvert tracks examples/bounce.mp4
  kinvert tracks clip.mp4 -o ways.png --grid 20
  kinvert tracks clip.mp4 --tracker cotracker3 --tracker-weights scaled_offline.pth --json --points

With --json, stdout carries {clip, output, tracker {name, sha256}, frames, size, tracks, whole (seen in every frame),
motion_magnitude, points [{places [[x, y] of every frame], visible [true or false of every frame]}]}; places are in
pixels from the centre of the upper left one, points only with --points.";
