//! CoTracker3, the offline model: follows points through a clip.
//!
//! Source: *CoTracker3: Simpler and Better Point Tracking by Pseudo-Labelling Real Videos* (arXiv:2410.11831) and
//! its published code (`CoTrackerThreeOffline`), whose field names and keys are kept. Frames become feature maps
//! ([`encoder`]); every point starts at its query's place in all frames; then, a few times over, the surroundings of
//! all places are compared with those of the query ([`correlation`]), and a transformer corrects places,
//! visibility and confidence of all tracks at once ([`updateformer`]).
//!
//! A checkpoint is one file, `scaled_offline.pth` or the same tensors as safetensors, with or without the prefix
//! `model.` of the published predictor.
//!
//! **Memory.** Two things grow with the clip: the feature maps (6.3 MB per frame of 384×512 pixels at the published
//! sizes, and a third more for the other levels), the tokens (1.5 KB per point and frame, three to four times over)
//! and nothing else. Comparisons are made for so many points at a time that they hold [`CORRELATION_BYTES`], and
//! the transformer's layers work on a few tracks or frames at a time. [`MAX_POINTS`] and [`MAX_TOKENS`] bound the
//! tokens to about 3 GB.

pub mod config;
pub mod correlation;
mod embedding;
pub mod encoder;
mod mlp;
mod steps;
pub mod updateformer;

use std::ops::{ControlFlow, Range};
use std::path::Path;

use burn::module::{Initializer, Param};
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::activation::{gelu, sigmoid};

pub use config::{CoTracker3Config, STRIDE};
pub use correlation::FeaturePyramid;
pub use encoder::{BasicEncoder, resize};
pub use updateformer::EfficientUpdateFormer;

use crate::kernels::NetBackend;
use crate::{Error, KeyMap, Weights};
use mlp::Mlp;
use steps::{Steps, chunks};

/// Most points that are tracked together.
pub const MAX_POINTS: usize = 1 << 14;

/// Most points times frames that are tracked together.
pub const MAX_TOKENS: usize = 1 << 19;

/// Memory for the comparisons of the points that are handled at a time, unless a single point needs more.
pub const CORRELATION_BYTES: usize = 64 << 20;

/// Keys that are no Rust field names.
const KEY_MAP: KeyMap<'static> = &[(".downsample.", ".downsample.0.")];

/// The network; see the [module docs](self).
#[derive(Module, Debug)]
pub struct CoTracker3<B: Backend> {
    fnet: BasicEncoder<B>,
    corr_mlp: Mlp<B>,
    updateformer: EfficientUpdateFormer<B>,
    time_emb: Param<Tensor<B, 3>>,
    config: CoTracker3Config,
}

/// A point to follow: where it is in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query {
    /// The frame, counted from 0.
    pub frame: usize,
    /// `[x, y]` in pixels of the frames given to the network; the centre of the first pixel is at `[0, 0]`.
    pub place: [f32; 2],
}

/// Where points are in every frame.
#[derive(Clone, Debug)]
pub struct Prediction<B: Backend> {
    /// `[points, frames, 2]`: x and y in pixels of the frames given to the network.
    pub places: Tensor<B, 3>,
    /// How likely each point is seen, `[points, frames]` in 0..1.
    pub visibility: Tensor<B, 2>,
    /// How likely each place is within a few pixels of the truth, `[points, frames]` in 0..1.
    pub confidence: Tensor<B, 2>,
}

/// What the iterations correct.
#[derive(Clone, Debug)]
pub struct Estimate<B: Backend> {
    /// Places in cells of the feature maps, `[points, frames, 2]`.
    pub cells: Tensor<B, 3>,
    /// Logits of visibility, `[points, frames]`.
    pub visibility: Tensor<B, 2>,
    /// Logits of confidence, `[points, frames]`.
    pub confidence: Tensor<B, 2>,
}

impl CoTracker3Config {
    /// Builds the network with random weights, which are drawn only when first read.
    ///
    /// # Panics
    /// If [`check`](Self::check) would refuse the sizes.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> CoTracker3<B> {
        let pairs = self.corr_side().pow(4);
        CoTracker3 {
            fnet: BasicEncoder::new(self.latent_dim, device),
            corr_mlp: Mlp::new([pairs, self.corr_hidden_dim, self.corr_dim], device),
            updateformer: EfficientUpdateFormer::new(self, device),
            time_emb: Initializer::Zeros.init([1, self.window_len, self.input_dim()], device),
            config: self.clone(),
        }
    }

    /// Builds the network and fills it with the tensors of a checkpoint. The weights are frozen.
    ///
    /// # Errors
    /// [`Error::Config`] for sizes that are not supported, and [`Error::Weights`] with every tensor that is
    /// missing, unused, misshapen or unusable. `path` names the checkpoint in messages.
    pub fn load<B: NetBackend>(
        &self,
        weights: Weights,
        path: &str,
        device: &B::Device,
    ) -> Result<CoTracker3<B>, Error> {
        self.check(path)?;
        weights.fill(self.init(device), KEY_MAP)
    }
}

impl<B: NetBackend> CoTracker3<B> {
    /// Reads the network from one file: `scaled_offline.pth`, or the same tensors as safetensors. The weights are
    /// frozen.
    ///
    /// # Errors
    /// [`Error::CoTracker`] if the file is missing or damaged, or holds the weights of another network.
    pub fn load(path: &Path, device: &B::Device) -> Result<Self, Error> {
        Weights::open_file(path)
            .and_then(|weights| Self::from_weights(weights, &path.display().to_string(), device))
            .map_err(|source| Error::CoTracker {
                source: Box::new(source),
            })
    }

    /// Fills a network with the tensors of a checkpoint, whose shapes say how large it is. `path` names the
    /// checkpoint in messages.
    ///
    /// # Errors
    /// As [`CoTracker3Config::of_weights`] and [`CoTracker3Config::load`].
    pub fn from_weights(weights: Weights, path: &str, device: &B::Device) -> Result<Self, Error> {
        let weights = without_prefix(weights);
        CoTracker3Config::of_weights(&weights, path)?.load(weights, path, device)
    }

    /// The sizes of the network.
    pub fn config(&self) -> &CoTracker3Config {
        &self.config
    }

    /// Where the network computes.
    pub fn device(&self) -> B::Device {
        self.time_emb.val().device()
    }

    /// The part that makes feature maps of frames.
    pub fn fnet(&self) -> &BasicEncoder<B> {
        &self.fnet
    }

    /// The feature maps of frames `[frames, 3, height, width]` with values in 0..255, scaled to unit length:
    /// `[frames, latent_dim, height / 4, width / 4]`. Frames do not depend on each other.
    ///
    /// # Panics
    /// If height or width is no multiple of 4.
    pub fn encode(&self, frames: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, _, height, width] = frames.dims();
        assert!(
            height.is_multiple_of(STRIDE) && width.is_multiple_of(STRIDE),
            "frames of {width}x{height} pixels, expected multiples of {STRIDE}"
        );
        let features = self.fnet.forward(frames / 255.0 * 2.0 - 1.0);
        let squares = (features.clone() * features.clone()).sum_dim(1);
        features / squares.clamp_min(1e-12).sqrt()
    }

    /// The pyramid over the feature maps of all frames, as [`encode`](Self::encode) gives them.
    ///
    /// # Panics
    /// If the frames are too small for every level; see [`FeaturePyramid::new`].
    pub fn pyramid(&self, features: Tensor<B, 4>) -> FeaturePyramid<B> {
        FeaturePyramid::new(features, self.config.corr_levels)
    }

    /// Follows points through the clip of a pyramid, correcting them `iterations` times. The result for a point
    /// depends on all points.
    ///
    /// `watch` is told after every step how many are done, of [`steps`](Self::steps), and may break off.
    ///
    /// # Panics
    /// If there is no point, a query lies in a frame that the clip lacks, or there are more than [`MAX_POINTS`]
    /// points or [`MAX_TOKENS`] points times frames.
    pub fn track(
        &self,
        pyramid: &FeaturePyramid<B>,
        queries: &[Query],
        iterations: usize,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<(), Prediction<B>> {
        let frames = pyramid.frames();
        assert!(
            (1..=MAX_POINTS).contains(&queries.len()) && queries.len() * frames <= MAX_TOKENS,
            "{} points in {frames} frames",
            queries.len()
        );
        let mut steps = Steps::new(watch);
        let mut estimate = self.start(pyramid, queries);
        for _ in 0..iterations {
            estimate = self.iterate(pyramid, queries, estimate, &mut steps)?;
        }
        ControlFlow::Continue(Prediction {
            places: estimate.cells * STRIDE as f64,
            visibility: sigmoid(estimate.visibility),
            confidence: sigmoid(estimate.confidence),
        })
    }

    /// Steps that [`track`](Self::track) takes.
    pub fn steps(&self, points: usize, frames: usize, iterations: usize) -> usize {
        let comparisons = points.div_ceil(self.points_per_chunk(frames));
        iterations * (comparisons + self.updateformer.steps(points, frames))
    }

    /// What tracking starts from: every point at its query's place in all frames.
    ///
    /// # Panics
    /// If a query lies in a frame that the clip lacks.
    pub fn start(&self, pyramid: &FeaturePyramid<B>, queries: &[Query]) -> Estimate<B> {
        let device = self.device();
        let (points, frames) = (queries.len(), pyramid.frames());
        let cell = |query: &Query| {
            assert!(
                query.frame < frames,
                "a query in frame {} of {frames}",
                query.frame
            );
            query.place.map(|pixels| pixels / STRIDE as f32)
        };
        let cells: Vec<f32> = queries.iter().flat_map(cell).collect();
        let cells = Tensor::<B, 3>::from_data(TensorData::new(cells, [points, 1, 2]), &device);
        Estimate {
            cells: cells.expand([points, frames, 2]),
            visibility: Tensor::zeros([points, frames], &device),
            confidence: Tensor::zeros([points, frames], &device),
        }
    }

    /// What the transformer is told of some points: `[points, frames, 2 + levels * corr_dim + 84]`. Points do not
    /// depend on each other.
    pub fn update_input(
        &self,
        pyramid: &FeaturePyramid<B>,
        queries: &[Query],
        estimate: &Estimate<B>,
    ) -> Tensor<B, 3> {
        let frames = pyramid.frames();
        let mut parts = vec![
            estimate.visibility.clone().unsqueeze_dim(2),
            estimate.confidence.clone().unsqueeze_dim(2),
        ];
        for level in 0..self.config.corr_levels {
            parts.push(self.correlation_embedding(pyramid, level, queries, estimate.cells.clone()));
        }
        parts.push(embedding::movement(
            estimate.cells.clone(),
            self.config.model_resolution,
        ));
        Tensor::cat(parts, 2) + embedding::time_embedding(self.time_emb.val(), frames)
    }

    /// How the surroundings of points at `cells`, `[points, frames, 2]` in cells of the feature maps, compare with
    /// those of their queries on one level: `[points, frames, corr_dim]`.
    pub fn correlation_embedding(
        &self,
        pyramid: &FeaturePyramid<B>,
        level: usize,
        queries: &[Query],
        cells: Tensor<B, 3>,
    ) -> Tensor<B, 3> {
        let [points, frames, _] = cells.dims();
        let comparisons = pyramid.correlate(level, queries, cells, self.config.corr_radius);
        let embedded = self.corr_mlp.forward(comparisons, gelu);
        embedded.reshape([points, frames, self.config.corr_dim])
    }

    /// What the transformer adds to all points, given what [`update_input`](Self::update_input) tells of them:
    /// steps in x and y (in cells of the feature maps) and in the logits of visibility and confidence,
    /// `[points, frames, 4]`. `watch` is as in [`track`](Self::track).
    pub fn update(
        &self,
        input: Tensor<B, 3>,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<(), Tensor<B, 3>> {
        let tokens = self.updateformer.embed(input);
        self.updateformer.update(tokens, &mut Steps::new(watch))
    }

    fn iterate(
        &self,
        pyramid: &FeaturePyramid<B>,
        queries: &[Query],
        estimate: Estimate<B>,
        steps: &mut Steps<'_>,
    ) -> ControlFlow<(), Estimate<B>> {
        let frames = pyramid.frames();
        let mut tokens = Vec::new();
        for range in chunks(queries.len(), self.points_per_chunk(frames)) {
            let part = estimate.narrow(range.clone());
            let input = self.update_input(pyramid, &queries[range], &part);
            tokens.push(self.updateformer.embed(input));
            steps.advance()?;
        }
        let deltas = self.updateformer.update(Tensor::cat(tokens, 0), steps)?;
        let logit = |channel| deltas.clone().narrow(2, channel, 1).squeeze_dim::<2>(2);
        ControlFlow::Continue(Estimate {
            cells: estimate.cells + deltas.clone().narrow(2, 0, 2),
            visibility: estimate.visibility + logit(2),
            confidence: estimate.confidence + logit(3),
        })
    }

    /// Points whose comparisons in all frames hold [`CORRELATION_BYTES`] at most.
    fn points_per_chunk(&self, frames: usize) -> usize {
        let places = self.config.corr_side().pow(2);
        let cells = (self.config.corr_side() + 1).pow(2);
        // The features of a square, and the comparisons at whole cells with what interpolating them takes.
        let values = cells * self.config.latent_dim + 4 * cells * places;
        (CORRELATION_BYTES / (values * size_of::<f32>() * frames)).max(1)
    }
}

impl<B: Backend> Estimate<B> {
    /// The estimate of some of the points.
    fn narrow(&self, Range { start, end }: Range<usize>) -> Self {
        Self {
            cells: self.cells.clone().narrow(0, start, end - start),
            visibility: self.visibility.clone().narrow(0, start, end - start),
            confidence: self.confidence.clone().narrow(0, start, end - start),
        }
    }
}

/// Strips the name of the field that some exports keep the network in.
fn without_prefix(weights: Weights) -> Weights {
    const PREFIX: &str = "model.";
    if weights.names().all(|name| name.starts_with(PREFIX)) {
        weights.renamed(|name| name.trim_start_matches(PREFIX).to_owned())
    } else {
        weights
    }
}
