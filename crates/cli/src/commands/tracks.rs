//! `kinvert tracks`.

use std::path::{Path, PathBuf};

use kinvert_metrics::Tracks;
use kinvert_metrics::draw::{draw_tracks, draw_ways};
use kinvert_metrics::record::ModelStamp;
use kinvert_metrics::tracks::{Place, default_grid, grid};
use kinvert_video::{ReadOptions, read_clip, write_gif, write_mp4, write_png};
use serde::Serialize;

use crate::args::tracks::TracksArgs;
use crate::errors::Usage;
use crate::networks;
use crate::session::Session;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    clip: &'a Path,
    output: &'a Path,
    tracker: &'a ModelStamp,
    frames: usize,
    size: [u32; 2],
    tracks: usize,
    /// Tracks that are seen in every frame.
    whole: usize,
    motion_magnitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<Vec<Point<'a>>>,
}

#[derive(Serialize)]
struct Point<'a> {
    places: &'a [Place],
    visible: &'a [bool],
}

/// What is drawn, by the name of the file.
enum Picture {
    Gif,
    Mp4,
    Png,
}

pub fn run(args: &TracksArgs, session: &mut Session) -> anyhow::Result<()> {
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| default_output(&args.clip));
    let picture = picture_of(&output)?;
    let clip = read_clip(&args.clip, &ReadOptions::default())?;
    let tracker = networks::tracker(&args.tracker, session.device())?;
    let starts = grid(
        clip.size(),
        args.tracker
            .grid
            .unwrap_or_else(|| default_grid(clip.size())),
    );
    let tracks = tracker.track(&clip, &starts, &mut session.progress)?;
    match picture {
        Picture::Gif => write_gif(&draw_tracks(&clip, &tracks)?, &output)?,
        Picture::Mp4 => write_mp4(&draw_tracks(&clip, &tracks)?, &output)?,
        Picture::Png => write_png(&draw_ways(&clip, &tracks)?, &output)?,
    }
    let report = Report {
        clip: &args.clip,
        output: &output,
        tracker: tracker.stamp(),
        frames: clip.len(),
        size: [clip.width(), clip.height()],
        tracks: tracks.len(),
        whole: tracks.whole().len(),
        motion_magnitude: tracks.motion_magnitude(),
        points: args.points.then(|| points(&tracks)),
    };
    session.print(&report.text(), &report)
}

impl Report<'_> {
    fn text(&self) -> String {
        let magnitude = match self.motion_magnitude {
            Some(magnitude) => format!("motion magnitude {magnitude:.3} of the diagonal"),
            None => "no motion magnitude".into(),
        };
        format!(
            "{}: {} tracks by {}, {} seen in all {} frames, {magnitude}\n",
            self.output.display(),
            self.tracks,
            self.tracker.name,
            self.whole,
            self.frames
        )
    }
}

fn points(tracks: &Tracks) -> Vec<Point<'_>> {
    let point = |track| Point {
        places: tracks.places(track),
        visible: tracks.visible(track),
    };
    (0..tracks.len()).map(point).collect()
}

fn default_output(clip: &Path) -> PathBuf {
    let stem = clip.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}-tracks.gif").into()
}

fn picture_of(path: &Path) -> Result<Picture, Usage> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("gif") => Ok(Picture::Gif),
        Some("mp4") => Ok(Picture::Mp4),
        Some("png") => Ok(Picture::Png),
        _ => Err(Usage(format!(
            "{}: expected a name that ends in .gif, .mp4 or .png",
            path.display()
        ))),
    }
}
