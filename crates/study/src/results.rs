//! What a study has given so far: everything that tables, plots and the report are made from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kinvert::ModelId;
use kinvert_metrics::Record;
use kinvert_world::Point;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::study::Study;

/// A study and the state of all of its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The folder it lies in; paths below are relative to it.
    pub folder: PathBuf,
    /// What was asked for.
    pub study: Study,
    /// With what it is run.
    pub stamp: RunStamp,
    /// The clips of the study, in its order.
    pub references: Vec<Reference>,
    /// The method, and then the variants of the study in its order. Variants with equal settings are all listed;
    /// they share their cells.
    pub variants: Vec<RunVariant>,
    /// One entry for every distinct cell, in the order in which they are run.
    pub cells: Vec<Cell>,
    /// One entry for every learning that cells need.
    pub motions: Vec<LearnedMotion>,
}

/// What made the numbers of a study, besides the settings of its variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStamp {
    /// Version of the program that began the study.
    pub kinvert_version: String,
    /// The model of the study. A variant may name another.
    pub model: ModelId,
    /// Where it was begun: `cpu`, `cuda`, …
    pub device: String,
    /// Networks and settings of the measures, in words.
    pub measures: String,
    /// When it was begun, in seconds since 1970.
    pub begun_unix_s: u64,
}

/// A reference clip as it was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// As the study names it: a file, or a scene such as `sprites:arc:3`.
    pub path: String,
    /// What it shows, for learning; may be empty.
    pub caption: String,
    /// SHA-256 of the frames used.
    pub sha256: String,
    /// Number of frames used.
    pub frames: usize,
    /// Width and height of the frames used.
    pub size: [usize; 2],
    /// Frames per second.
    pub fps: f64,
    /// The frames used, as an MP4 file in the study's folder.
    pub file: Option<PathBuf>,
    /// Features of the frames for FID and KID, one list a frame; empty if those are not measured.
    #[serde(skip)]
    pub features: Vec<Vec<f32>>,
}

/// A variant with all of its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunVariant {
    /// Its name, unique in the study; the first one is [`BASELINE`](crate::study::BASELINE).
    pub name: String,
    /// The ablation that asks for it; none for the baseline and for what a person added.
    pub ablation: Option<String>,
    /// Hash of everything that decides its cells besides clip, prompt and seed: [`kinvert::Variant::hash`] and the
    /// model.
    pub hash: String,
    /// Hash of what decides learning.
    pub inversion_hash: String,
    /// The model, if it is not that of the study.
    pub model: Option<ModelId>,
    /// All settings.
    pub settings: kinvert::Variant,
    /// Those that differ from the baseline's.
    pub differences: Vec<Difference>,
}

/// A setting that differs from the baseline's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Its name, such as `inversion.values`.
    pub field: String,
    /// The baseline's value.
    pub baseline: Value,
    /// The variant's value.
    pub variant: Value,
}

/// One clip that is generated and measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What it is.
    pub id: CellId,
    /// How far it is.
    pub outcome: Outcome,
}

/// What makes a cell: which settings on which clip, with which prompt and seed. Indices are those of the study.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId {
    /// [`RunVariant::hash`].
    pub variant_hash: String,
    /// Index of the clip in [`Results::references`].
    pub reference: usize,
    /// Index of the prompt in [`Study::prompts`].
    pub prompt: usize,
    /// The seed.
    pub seed: u32,
}

/// How far a cell is.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Not begun, or given back by a process that ended.
    Waiting,
    /// A process is at it.
    Running,
    /// Generated and measured.
    Done(Box<Measured>),
    /// It could not be done.
    Failed {
        /// What was in the way.
        error: String,
    },
}

/// What was measured of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// One record for each measure of single clips.
    pub records: Vec<Record>,
    /// The clip as an MP4 file in the study's folder, if it was kept.
    pub clip: Option<PathBuf>,
    /// Features of its frames for FID and KID, one list a frame; empty if those are not measured.
    #[serde(skip)]
    pub features: Vec<Vec<f32>>,
    /// Where the sprite is in each frame of the reference and of the result, in pixels of a 64-pixel frame; none
    /// where the clips are not of the sprite world.
    pub paths: Option<SpritePaths>,
    /// Seconds that generating took.
    pub generation_s: f64,
    /// Seconds that measuring took.
    pub measuring_s: f64,
}

/// The way of the sprite in a reference and in a result, frame by frame; none where it was not found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpritePaths {
    /// In the reference.
    pub reference: Vec<Option<Point>>,
    /// In the result.
    pub result: Vec<Option<Point>>,
}

/// A motion that was learned for the study.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedMotion {
    /// [`RunVariant::inversion_hash`].
    pub inversion_hash: String,
    /// Index of the clip in [`Results::references`].
    pub reference: usize,
    /// How far it is.
    pub state: MotionState,
}

/// How far a motion is.
#[derive(Clone, Debug, PartialEq)]
pub enum MotionState {
    /// Not begun, or given back by a process that ended.
    Waiting,
    /// A process is at it.
    Running,
    /// Learned.
    Done {
        /// Seconds that learning took.
        seconds: f64,
        /// The loss of each step.
        losses: Vec<f32>,
    },
    /// It could not be learned; cells that need it have failed.
    Failed {
        /// What was in the way.
        error: String,
    },
}

impl Results {
    /// The cells of a variant by clip, prompt and seed.
    pub fn cells_of(&self, variant: &RunVariant) -> BTreeMap<(usize, usize, u32), &Cell> {
        let cells = self.cells.iter();
        cells
            .filter(|cell| cell.id.variant_hash == variant.hash)
            .map(|cell| ((cell.id.reference, cell.id.prompt, cell.id.seed), cell))
            .collect()
    }

    /// The method as it is.
    pub fn baseline(&self) -> Option<&RunVariant> {
        self.variants.first()
    }

    /// How many cells are done, failed, and in all.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.cells)
    }

    /// The same of one variant.
    pub fn counts_of(&self, variant: &RunVariant) -> Counts {
        Counts::of(self.cells_of(variant).into_values())
    }
}

/// Numbers of cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub all: usize,
    /// Generated and measured.
    pub done: usize,
    /// At work.
    pub running: usize,
    /// Could not be done.
    pub failed: usize,
}

impl Counts {
    /// How far cells are.
    pub fn of<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Self {
        let mut counts = Self::default();
        for cell in cells {
            counts.all += 1;
            match cell.outcome {
                Outcome::Waiting => {}
                Outcome::Running => counts.running += 1,
                Outcome::Done(_) => counts.done += 1,
                Outcome::Failed { .. } => counts.failed += 1,
            }
        }
        counts
    }
}

impl Outcome {
    /// What was measured, if it is done.
    pub fn measured(&self) -> Option<&Measured> {
        match self {
            Self::Done(measured) => Some(measured),
            _ => None,
        }
    }
}

impl Measured {
    /// The record of a measure.
    pub fn record(&self, measure: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.measure == measure)
    }
}
