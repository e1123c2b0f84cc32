//! `kinvert tracks`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use kinvert_metrics::draw::{draw_tracks, draw_tracks_in};
use kinvert_metrics::klt::Klt;
use kinvert_metrics::record::ModelStamp;
use kinvert_metrics::tracks::{Place, grid};
use kinvert_metrics::{Tracker, Tracks};
use kinvert_video::{Clip, ReadOptions, Size, read_clip, write_gif, write_mp4, write_png};
use serde::Serialize;

use crate::args::{TrackerName, TracksArgs};
use crate::errors::Usage;
use crate::session::Session;

/// Most points along a side by default: as many as published measures of motion start from.
const MAX_DEFAULT_GRID: u32 = 55;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    path: String,
    clip: String,
    tracker: &'a ModelStamp,
    grid: u32,
    frames: usize,
    size: [u32; 2],
    fps: f64,
    tracks: usize,
    surviving: usize,
    motion_magnitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<Vec<Point<'a>>>,
}

/// One track.
#[derive(Serialize)]
struct Point<'a> {
    places: &'a [Place],
    visible: &'a [bool],
}

pub fn run(args: TracksArgs, session: &mut Session) -> anyhow::Result<()> {
    let output = args.output.unwrap_or_else(|| default_output(&args.clip));
    let picture = Picture::of(&output)?; // before any work
    let clip = read_clip(&args.clip, &ReadOptions::default())?;
    ensure!(
        clip.len() > 1,
        "{}: one frame has no motion, expected at least 2",
        args.clip.display()
    );
    let per_side = args.grid.unwrap_or_else(|| default_grid(clip.size()));
    let tracker = tracker(args.tracker);
    let tracks = tracker.track(&clip, &grid(clip.size(), per_side), &mut session.progress)?;
    picture.write(&clip, &tracks, &output)?;

    let whole = tracks.whole();
    let report = Report {
        path: output.display().to_string(),
        clip: args.clip.display().to_string(),
        tracker: tracker.stamp(),
        grid: per_side,
        frames: clip.len(),
        size: [clip.width(), clip.height()],
        fps: clip.fps(),
        tracks: tracks.len(),
        surviving: whole.len(),
        motion_magnitude: whole.motion_magnitude(),
        points: args.points.then(|| points(&tracks)),
    };
    session.print(&summary(&report), &report)
}

/// The place where further trackers are made.
fn tracker(name: TrackerName) -> Box<dyn Tracker> {
    match name {
        TrackerName::Klt => Box::new(Klt::default()),
    }
}

/// A point for every second pixel of the short side.
fn default_grid(size: Size) -> u32 {
    (size.width.min(size.height) / 2).clamp(1, MAX_DEFAULT_GRID)
}

/// `<name of the clip>-tracks.gif` in the current folder.
fn default_output(clip: &Path) -> PathBuf {
    let mut name = clip.file_stem().unwrap_or("clip".as_ref()).to_os_string();
    name.push("-tracks.gif");
    name.into()
}

fn points(tracks: &Tracks) -> Vec<Point<'_>> {
    let point = |track| Point {
        places: tracks.places(track),
        visible: tracks.visible(track),
    };
    (0..tracks.len()).map(point).collect()
}

fn summary(report: &Report<'_>) -> String {
    let Report {
        path,
        tracker,
        tracks,
        surviving,
        frames,
        size: [width, height],
        ..
    } = report;
    let motion = match report.motion_magnitude {
        Some(magnitude) => format!(
            "they move by {:.1} % of the diagonal on average",
            100.0 * magnitude
        ),
        None => "no motion can be told".into(),
    };
    format!(
        "{path}: {surviving} of {tracks} points are followed through {frames} frames of {width}x{height} by {}; {motion}\n",
        tracker.name
    )
}

/// What is drawn, by the name of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picture {
    Gif,
    Mp4,
    LastFrame,
}

impl Picture {
    fn of(path: &Path) -> Result<Self, Usage> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("gif") => Ok(Self::Gif),
            Some("mp4") => Ok(Self::Mp4),
            Some("png") => Ok(Self::LastFrame),
            _ => Err(Usage(format!(
                "{}: expected a name that ends in .gif, .mp4 or .png",
                path.display()
            ))),
        }
    }

    fn write(self, clip: &Clip, tracks: &Tracks, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("{}: cannot make the folder", folder.display()))?;
        }
        match self {
            Self::Gif => write_gif(&draw_tracks(clip, tracks)?, path)?,
            Self::Mp4 => write_mp4(&draw_tracks(clip, tracks)?, path)?,
            Self::LastFrame => write_png(&draw_tracks_in(clip, tracks, clip.len() - 1)?, path)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_named_after_the_clip() {
        for (clip, expected) in [
            ("a/bounce.mp4", "bounce-tracks.gif"),
            ("frames/", "frames-tracks.gif"),
            ("..", "clip-tracks.gif"),
        ] {
            assert_eq!(default_output(Path::new(clip)), Path::new(expected));
        }
    }

    #[test]
    fn the_name_says_what_is_drawn() {
        for (name, expected) in [
            ("x.GIF", Picture::Gif),
            ("a/x.mp4", Picture::Mp4),
            ("x.png", Picture::LastFrame),
        ] {
            assert_eq!(Picture::of(Path::new(name)).unwrap(), expected);
        }
        for name in ["x", "x.jpg", ".gif", ""] {
            assert!(Picture::of(Path::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn the_grid_follows_the_size() {
        let of = |width, height| default_grid(Size { width, height });
        assert_eq!((of(64, 64), of(864, 480), of(1, 9)), (32, 55, 1));
    }
}
