//! What several test modules need.

use std::cell::Cell;

use burn::backend::Autodiff;
use burn_flex::Flex;
use kinvert::embedding::{Embedding, SiteEmbeddings};
use kinvert::{Clip, LoadOptions, ModelFiles, Pipeline, Progress};
use kinvert_diffusion::{NoiseSchedule, SchedulerConfig};
use kinvert_nets::{Precision, VideoUNet};
use kinvert_testkit::{Recording, first_sprites_model, fixtures_dir};
use kinvert_world::model::model_files;

/// The tracking backend and the plain one beneath it.
pub type B = Autodiff<Flex>;
pub type Inner = Flex;

/// The built-in model.
pub fn built_in() -> Pipeline<B> {
    let source = model_files().into();
    Pipeline::load(&source, &LoadOptions::default(), &Default::default()).unwrap()
}

/// The model that the recordings in `sprites/golden/` were made with.
pub fn first_sprites() -> Pipeline<B> {
    let source = ModelFiles::folder(first_sprites_model()).into();
    Pipeline::load(&source, &LoadOptions::default(), &Default::default()).unwrap()
}

/// The small random network of the published code's recordings.
pub fn unet() -> VideoUNet<B> {
    let files = ModelFiles::folder(fixtures_dir().join("parity/unet3d"));
    VideoUNet::load(&files, &Default::default(), Precision::F32)
        .unwrap()
        .1
}

/// The schedule of the recordings, by the name of its configuration's folder.
pub fn schedule(name: &str) -> NoiseSchedule {
    let path = fixtures_dir().join(format!("parity/schedulers/{name}/scheduler_config.json"));
    let config = SchedulerConfig::from_json(&std::fs::read(path).unwrap(), name).unwrap();
    NoiseSchedule::new(&config).unwrap()
}

/// An embedding of one position, or of every position of a grid.
pub fn embedding(recording: &Recording, name: &str, grid: [usize; 2]) -> Embedding {
    let [positions, frames, channels] = recording.shape(name).try_into().unwrap();
    let [rows, columns] = if positions == 1 { [1, 1] } else { grid };
    Embedding::new([rows, columns, frames, channels], recording.f32s(name))
}

/// Embeddings under the names of the published code, cut to the first frames.
pub fn published_embeddings(
    recording: &Recording,
    prefix: &str,
    grid: [usize; 2],
    frames: usize,
) -> Vec<SiteEmbeddings> {
    [
        "down_blocks.2.temp_attentions.0",
        "down_blocks.2.temp_attentions.1",
        "up_blocks.1.temp_attentions.0",
    ]
    .into_iter()
    .chain([
        "up_blocks.1.temp_attentions.1",
        "up_blocks.1.temp_attentions.2",
    ])
    .map(|path| {
        let site = format!("{path}.transformer_blocks.0");
        let read = |name: &str| {
            let name = format!("{prefix}{site}.{name}");
            Some(embedding(recording, &name, grid).first_frames(frames))
        };
        SiteEmbeddings {
            query_key: read("pos_embed"),
            values: [read("attn1.vSpatial"), read("attn2.vSpatial")],
            projections: [None, None, None],
            site,
            grid,
        }
    })
    .collect()
}

/// The clip that the recordings in `sprites/golden/` were made from.
pub fn bounce() -> Clip {
    let recording = Recording::open("sprites/golden/networks.safetensors");
    let bytes: Vec<u8> = recording
        .f64s("frames_u8")
        .into_iter()
        .map(|v| v as u8)
        .collect();
    let frames = bytes
        .chunks(64 * 64 * 3)
        .map(|frame| image::RgbImage::from_raw(64, 64, frame.to_vec()).unwrap());
    Clip::new(frames.collect(), 8.0).unwrap()
}

/// Stops after a number of steps of learning.
pub struct StopAfter {
    pub steps: usize,
    pub done: Cell<usize>,
}

impl Progress for StopAfter {
    fn start(&mut self, stage: &str, _total: usize) {
        if stage != "learning the motion" {
            self.done.set(0);
        }
    }
    fn advance(&mut self, done: usize, detail: &str) {
        self.done
            .set(if detail.starts_with("loss") { done } else { 0 });
    }
    fn finish(&mut self) {}
    fn note(&mut self, _message: &str) {}
    fn is_cancelled(&self) -> bool {
        self.done.get() >= self.steps
    }
}
