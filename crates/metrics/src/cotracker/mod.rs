//! The tracker CoTracker3, offline model.
//!
//! It does what the published `CoTrackerPredictor` does for given points: frames are resized to 384×512 pixels
//! (bilinear between pixel centres, corner pixels on corner pixels, no antialiasing) and places with them, by
//! `(width - 1) / (width' - 1)`; tracks are corrected six times; a point counts as visible where its visibility is
//! above 0.9; at its start a track is where it started, and visible. Like that predictor, which adds points
//! of its own only where somebody else gives single points, it tracks the given starts and no others. All
//! tracks are found together and support each other: the track of a point depends on which other points are
//! asked for, so numbers compare only between equal grids.
//!
//! A clip longer than the network was trained on (60 frames) is tracked in windows of that length, each of which
//! shares a quarter of its frames with the next. A track goes on from the last shared frame in which the earlier
//! window saw the point, at the place found there; a point that is hidden in all shared frames is followed as a
//! guess, and is visible nowhere from there on.
//!
//! At the published sizes, 3025 points in 16 frames take 180 seconds of processor time on a server (AVX-512), which
//! is a minute and a half on two cores, and 0.5 GB. A half of it goes to the transformer, two fifths to comparing
//! features, and the rest to the feature maps.

mod windows;

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use kinvert_base::Progress;
use kinvert_nets::cotracker::{self, CoTracker3, MAX_POINTS, MAX_TOKENS, Query};
use kinvert_nets::kernels::{NetBackend, TrackingBackend};
use kinvert_nets::{Device, ModelFiles, OnDevice};
use kinvert_video::{Clip, Size};

use crate::record::ModelStamp;
use crate::tracks::{Place, check_starts};
use crate::{Error, Tracker, Tracks};
use windows::{Followed, join, windows};

/// How often tracks are corrected: the published predictor's number, not the network's default of four.
const ITERATIONS: usize = 6;

/// Visibility above which a point counts as visible.
const VISIBLE: f32 = 0.9;

/// Frames of the published offline model's time embedding.
const PUBLISHED_WINDOW: usize = 60;

/// The tracker; see the [module docs](self).
pub struct CoTracker {
    network: Box<dyn Network>,
    path: PathBuf,
    stamp: ModelStamp,
}

impl CoTracker {
    /// Reads `scaled_offline.pth`, or the same tensors as safetensors, onto a device.
    ///
    /// # Errors
    /// If the file is missing or damaged, or holds the weights of another network.
    pub fn load(path: &Path, device: Device) -> Result<Self, Error> {
        struct Load<'a>(&'a Path);

        impl OnDevice for Load<'_> {
            type Output = Result<Box<dyn Network>, kinvert_nets::Error>;

            fn run<B: TrackingBackend>(self, device: &B::Device) -> Self::Output {
                Ok(Box::new(CoTracker3::<B::InnerBackend>::load(
                    self.0, device,
                )?))
            }
        }

        let network = device.run(Load(path))?;
        let frames = network.window_len();
        if frames != PUBLISHED_WINDOW {
            tracing::warn!(
                path = %path.display(),
                frames,
                "These weights were trained on clips of another length than those of the published offline model. \
                 Weights of the online model (16 frames) fit, too, but track worse here."
            );
        }
        let (files, name) = ModelFiles::around(path);
        Ok(Self {
            network,
            path: path.to_owned(),
            stamp: ModelStamp {
                name: "cotracker3".into(),
                sha256: Some(files.file_sha256(&name)?),
            },
        })
    }
}

impl Tracker for CoTracker {
    fn stamp(&self) -> &ModelStamp {
        &self.stamp
    }

    fn settings(&self, _size: Size) -> String {
        format!(
            "{ITERATIONS} corrections, windows of {} frames",
            self.network.window_len()
        )
    }

    /// All of them: the network also says where hidden points are, and the published measure takes them.
    fn followed(&self, tracks: &Tracks) -> Tracks {
        tracks.clone()
    }

    /// A clip of one frame has its starts for tracks.
    ///
    /// # Errors
    /// If a start lies outside the frame, there are more starts than the network takes ([`MAX_POINTS`], and
    /// [`MAX_TOKENS`] times the frames of a window), the user asked to stop, or the network places a point
    /// nowhere, which damaged weights do.
    fn track(
        &self,
        clip: &Clip,
        starts: &[Place],
        progress: &mut dyn Progress,
    ) -> Result<Tracks, Error> {
        check_starts(clip.size(), starts)?;
        let frames = clip.len();
        if starts.is_empty() || frames == 1 {
            let visible = vec![true; starts.len() * frames];
            return Tracks::new(frames, clip.size(), starts.to_vec(), visible);
        }
        let window = self.network.window_len();
        let most = MAX_POINTS.min(MAX_TOKENS / frames.min(window));
        if starts.len() > most {
            return Err(Error::argument(
                "starts",
                starts.len(),
                format!("at most {most}"),
            ));
        }

        let steps_of = |frames: usize| frames + self.network.steps(starts.len(), frames);
        let total = windows(frames, window)
            .map(|range| steps_of(range.len()))
            .sum();
        progress.start("tracking", total);
        let mut done = 0;
        let follow = |range: Range<usize>, queries: &[Query]| {
            let mut step = || {
                done += 1;
                progress.advance(done, "");
                match progress.is_cancelled() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            match self
                .network
                .follow(&clip.frames()[range], queries, &mut step)
            {
                ControlFlow::Break(()) => Err(Error::Cancelled),
                ControlFlow::Continue(followed) if followed.is_finite() => Ok(followed),
                ControlFlow::Continue(_) => {
                    let reason = "the network places a point nowhere, expected finite places";
                    Err(Error::file(&self.path, reason))
                }
            }
        };
        let (places, visible) = join(frames, window, starts, follow)?;
        progress.finish();
        Tracks::new(frames, clip.size(), places, visible)
    }
}

/// The network on any backend.
trait Network: Send {
    /// Frames of the longest clips that the network was trained on.
    fn window_len(&self) -> usize;

    /// Steps that [`follow`](Self::follow) reports, besides one for each frame.
    fn steps(&self, points: usize, frames: usize) -> usize;

    /// Follows points, whose places are in pixels of the frames, through all of these. Breaks off when a step
    /// does.
    fn follow(
        &self,
        frames: &[RgbImage],
        queries: &[Query],
        step: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Followed>;
}

impl<B: NetBackend> Network for CoTracker3<B> {
    fn window_len(&self) -> usize {
        self.config().window_len
    }

    fn steps(&self, points: usize, frames: usize) -> usize {
        CoTracker3::steps(self, points, frames, ITERATIONS)
    }

    fn follow(
        &self,
        frames: &[RgbImage],
        queries: &[Query],
        step: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Followed> {
        let resolution = self.config().model_resolution;
        let [height, width] = resolution;
        let mut features = Vec::with_capacity(frames.len());
        for frame in frames {
            let frame = cotracker::resize(pixels(frame, &self.device()), resolution);
            features.push(self.encode(frame));
            step()?;
        }
        let pyramid = self.pyramid(Tensor::cat(features, 0));

        let (columns, rows) = frames[0].dimensions();
        let scale = [stretch(columns, width), stretch(rows, height)];
        let queries: Vec<Query> = queries
            .iter()
            .map(|query| Query {
                frame: query.frame,
                place: [query.place[0] * scale[0], query.place[1] * scale[1]],
            })
            .collect();
        let prediction = self.track(&pyramid, &queries, ITERATIONS, &mut |_| step())?;
        let places = floats(prediction.places);
        ControlFlow::Continue(Followed {
            places: places
                .as_chunks()
                .0
                .iter()
                .map(|[x, y]| [x / scale[0], y / scale[1]])
                .collect(),
            visible: floats(prediction.visibility)
                .into_iter()
                .map(|visibility| visibility > VISIBLE)
                .collect(),
        })
    }
}

/// Pixels of the network's frames per pixel of the clip, along one axis: corner pixels lie on corner pixels. An axis
/// of a single pixel keeps its length.
fn stretch(clip: u32, network: usize) -> f32 {
    match clip {
        1 => 1.0,
        _ => (network - 1) as f32 / (clip - 1) as f32,
    }
}

/// A frame as `[1, 3, height, width]` in 0..255.
fn pixels<B: Backend>(frame: &RgbImage, device: &B::Device) -> Tensor<B, 4> {
    let (width, height) = frame.dimensions();
    let values: Vec<f32> = frame
        .as_raw()
        .iter()
        .map(|value| f32::from(*value))
        .collect();
    let data = TensorData::new(values, [1, height as usize, width as usize, 3]);
    Tensor::from_data(data, device).permute([0, 3, 1, 2])
}

fn floats<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
