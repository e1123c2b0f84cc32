//! Training: from the sprite world to a folder in the published layout.
//!
//! A [`Recipe`] says what is trained; the lessons (`clip.rs`, `vae.rs`, `unet.rs`) say what a step looks at;
//! `optimiser.rs` changes the weights. Everything that is drawn is a function of the seed and the step, and a checkpoint
//! holds the rest, so a training that was stopped goes on as if it had not been.

mod captions;
mod checkpoint;
mod clip;
mod curves;
mod data;
mod lesson;
mod model_folder;
mod optimiser;
mod recipe;
mod scratch;
mod tokenizer;
mod unet;
mod vae;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::weights::in_precision;
use kinvert_nets::{
    AutoencoderKL, AutoencoderKLConfig, CLIPConfig, CLIPModel, CLIPTextConfig, Device, ModelFiles,
    OnDevice, Precision, VideoUNet, VideoUNetConfig,
};

pub use recipe::{Alias, Recipe, Stage};

use crate::Error;
use checkpoint::{Checkpoint, Measured};
use clip::ClipLesson;
use data::Draws;
use lesson::{Lesson, Plain};
use optimiser::Optimiser;
use unet::UNetLesson;
use vae::VaeLesson;

/// Time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(120);

/// Examinations of a training, the one at its end included.
const EXAMINATIONS: usize = 10;

/// What is trained, on what, and where the result goes.
pub struct Training {
    /// What is trained and how.
    pub recipe: Recipe,
    /// The model that it starts from; its other parts stay as they are.
    pub from: ModelFiles,
    /// The folder that becomes a model, or is one and gets a better part.
    pub out: PathBuf,
    /// Number format that the trained network computes in.
    pub precision: Precision,
    /// Whether a checkpoint of an earlier run is left aside.
    pub restart: bool,
}

/// What came of a training.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Trained {
    /// Steps that are done.
    pub steps: usize,
    /// Loss of the last hundredth of them, in the mean.
    pub loss: f64,
    /// What was measured at the end.
    pub measure: String,
    /// Its value.
    pub value: f64,
}

/// Trains a part of a model and writes it.
///
/// # Errors
/// If the recipe is out of range, the model it starts from cannot be used, a file cannot be read or written, the
/// checkpoint is of another training, the loss is no finite number, or the user asked to stop; a checkpoint is then
/// there to go on from.
pub fn train(
    training: &Training,
    device: Device,
    progress: &mut dyn kinvert_base::Progress,
) -> Result<Trained, Error> {
    training.recipe.check()?;
    struct OnOneDevice<'a>(&'a Training, &'a mut dyn kinvert_base::Progress);

    impl OnDevice for OnOneDevice<'_> {
        type Output = Result<Trained, Error>;

        fn run<B: TrackingBackend>(self, device: &B::Device) -> Self::Output {
            train_on::<B>(self.0, device, self.1)
        }
    }

    device.run(OnOneDevice(training, progress))
}

fn train_on<B: TrackingBackend>(
    training: &Training,
    device: &B::Device,
    progress: &mut dyn kinvert_base::Progress,
) -> Result<Trained, Error> {
    let Training { recipe, from, .. } = training;
    check_parts(from)?;
    let draws = Draws::new(recipe.seed, recipe.batch);
    let scratch = recipe.from_scratch;
    match recipe.stage {
        Stage::Clip => {
            let files = from.part("clip");
            let network = match scratch {
                true => {
                    let config: CLIPConfig = files.json("config.json")?;
                    let network = config.init(&files.label("config.json"), device)?;
                    scratch::initialised(network, device, recipe.seed)
                }
                false => CLIPModel::load(&files, device)?,
            };
            let network = clip::with_aliases(network, &files, &recipe.aliases)?;
            let lesson = ClipLesson::<B>::new(from, &network, draws, recipe, device)?;
            run(training, &lesson, network, device, progress)
        }
        Stage::Vae => {
            let files = from.part("vae");
            let encoder_learns = !recipe.keep.iter().any(|start| start == "encoder.");
            let lesson = VaeLesson::<B>::new(&files, draws, encoder_learns, device)?;
            let network = match scratch {
                true => {
                    let config: AutoencoderKLConfig = files.json("config.json")?;
                    config.validate(&files.label("config.json"))?;
                    let network = config.init(device);
                    in_precision(
                        scratch::initialised(network, device, recipe.seed),
                        training.precision,
                    )
                }
                false => AutoencoderKL::load(&files, device, training.precision)?,
            };
            run(training, &lesson, network, device, progress)
        }
        Stage::UnetImage | Stage::UnetVideo => {
            let single_frames = recipe.stage == Stage::UnetImage;
            let lesson = UNetLesson::<B>::new(from, draws, single_frames, device)?;
            let files = from.part("unet");
            let network = match scratch {
                true => {
                    let network = VideoUNetConfig::read(&files)?.init(device);
                    in_precision(
                        scratch::initialised(network, device, recipe.seed),
                        training.precision,
                    )
                }
                false => VideoUNet::load(&files, device, training.precision)?.1,
            };
            run(training, &lesson, network, device, progress)
        }
    }
}

/// Checks that the parts of a model fit each other and the sprite world.
fn check_parts(model: &ModelFiles) -> Result<(), Error> {
    let other = |found: String, expected: String| Error::OtherClips {
        model: model.name(),
        found,
        expected,
    };
    let side = kinvert_world::SIZE as usize;
    let vae: AutoencoderKLConfig = model.part("vae").json("config.json")?;
    vae.validate(&model.part("vae").label("config.json"))?;
    let unet = VideoUNetConfig::read(&model.part("unet"))?;
    let clip: CLIPConfig = model.part("clip").json("config.json")?;
    let text: CLIPTextConfig = model.part("text_encoder").json("config.json")?;
    let step = 1 << (vae.block_out_channels.len() + unet.levels() - 2);
    let checks = [
        (
            "colours of a pixel",
            [vae.in_channels, vae.out_channels],
            [3; 2],
        ),
        (
            "latent channels",
            unet.latent_channels(),
            [vae.latent_channels; 2],
        ),
        (
            "channels of text states",
            [unet.cross_attention_dim(), clip.text_config.hidden_size],
            [text.hidden_size; 2],
        ),
        (
            "pixels a side",
            [clip.vision_config.image_size, side % step],
            [side, 0],
        ),
    ];
    match checks
        .into_iter()
        .find(|(_, found, expected)| found != expected)
    {
        Some((what, found, expected)) => {
            Err(other(format!("{found:?} {what}"), format!("{expected:?}")))
        }
        None => Ok(()),
    }
}

/// The steps of a training.
fn run<B: TrackingBackend, L: Lesson<B>>(
    training: &Training,
    lesson: &L,
    mut network: L::Network,
    device: &B::Device,
    progress: &mut dyn kinvert_base::Progress,
) -> Result<Trained, Error> {
    let recipe = &training.recipe;
    let stage = recipe.stage;
    let folder = model_folder::stage_folder(&training.out, stage);
    model_folder::prepare(&training.out, &training.from, recipe.from_scratch)?;
    let started_from = started_from(&training.from)?;
    let mut optimiser = Optimiser::<B::InnerBackend>::new(&network.valid(), &recipe.keep);
    if optimiser.numbers() == 0 {
        let stage = stage.name();
        return Err(Error::NothingToLearn { stage });
    }
    let mut done = checkpoint::Progress {
        recipe: recipe.clone(),
        started_from,
        steps: 0,
        losses: Vec::new(),
        measured: Vec::new(),
    };
    if let Some(saved) = earlier(training, &folder, &done, &optimiser)? {
        optimiser.restore(saved.parameters, saved.progress.steps, device);
        done = saved.progress;
    }
    let examine_every = recipe.steps.div_ceil(EXAMINATIONS);
    let mut last_checkpoint = Instant::now();
    progress.start(stage.name(), recipe.steps);
    progress.advance(done.steps, "");
    while done.steps < recipe.steps {
        let step = done.steps;
        network = optimiser.tracked(network);
        let loss = lesson.loss(&network, step);
        let value = number(loss.clone().inner());
        let norm = match value.is_finite() {
            true => optimiser.step(&network, &loss.backward(), recipe, step),
            false => 0.0,
        };
        for (what, value) in [("the loss", value), ("the gradient", norm)] {
            if !value.is_finite() {
                let step = step + 1;
                return Err(Error::Diverged { step, what });
            }
        }
        done.losses.push(value as f32);
        done.steps += 1;
        progress.advance(done.steps, &detail(&done));
        let is_last = done.steps == recipe.steps;
        if is_last || done.steps.is_multiple_of(examine_every) {
            let averaged = optimiser.averaged(network.valid());
            examine(lesson, &averaged, &mut done, &folder)?;
        }
        let is_cancelled = progress.is_cancelled();
        if is_last || is_cancelled || last_checkpoint.elapsed() > CHECKPOINT_EVERY {
            keep(&optimiser, &done, &folder)?;
            last_checkpoint = Instant::now();
        }
        if is_cancelled && !is_last {
            let step = done.steps;
            progress.note(&format!("the same command goes on after step {step}"));
            return Err(Error::Cancelled);
        }
    }
    progress.finish();
    let averaged = optimiser.averaged(network.valid());
    model_folder::write_parts(&training.out, lesson.files(&averaged)?)?;
    let last = &done.losses[done.losses.len() - done.losses.len().div_ceil(100)..];
    let measured = done.measured.last().cloned();
    Ok(Trained {
        steps: done.steps,
        loss: last.iter().map(|loss| f64::from(*loss)).sum::<f64>() / last.len() as f64,
        measure: measured
            .as_ref()
            .map(|last| last.measure.clone())
            .unwrap_or_default(),
        value: measured.map_or(f64::NAN, |last| last.value),
    })
}

/// The checkpoint to go on from, if there is one and it is wanted.
fn earlier<B: burn::tensor::backend::Backend>(
    training: &Training,
    folder: &Path,
    now: &checkpoint::Progress,
    optimiser: &Optimiser<B>,
) -> Result<Option<Checkpoint>, Error> {
    if training.restart {
        return Ok(None);
    }
    let Some(saved) = Checkpoint::read(folder)? else {
        return Ok(None);
    };
    let path = folder.join(checkpoint::CHECKPOINT);
    let other = |difference| Error::OtherTraining {
        path: path.clone(),
        difference,
    };
    if saved.progress.recipe != now.recipe {
        return Err(other("its settings differ"));
    }
    if saved.progress.steps < now.recipe.steps && saved.progress.started_from != now.started_from {
        return Err(other("it started from other weights"));
    }
    if !optimiser.fits(&saved.parameters) {
        return Err(other("its parameters are not those of this network"));
    }
    Ok(Some(saved))
}

/// SHA-256 over the weights of a model.
fn started_from(model: &ModelFiles) -> Result<String, Error> {
    const WEIGHTS: [&str; 3] = [
        "clip/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ];
    Ok(model.sha256(&WEIGHTS.map(String::from))?)
}

/// Looks at the averaged network and keeps what was seen.
fn examine<B: TrackingBackend, L: Lesson<B>>(
    lesson: &L,
    averaged: &Plain<B, L>,
    done: &mut checkpoint::Progress,
    folder: &Path,
) -> Result<(), Error> {
    let examination = lesson.examine(averaged)?;
    if !examination.value.is_finite() {
        let what = examination.measure;
        return Err(Error::Diverged {
            step: done.steps,
            what,
        });
    }
    done.measured.push(Measured {
        steps: done.steps,
        measure: examination.measure.into(),
        value: examination.value,
    });
    if let Some(sheet) = examination.sheet {
        let path = folder.join(format!("samples-{:06}.png", done.steps));
        model_folder::create(folder)?;
        kinvert_video::write_png(&sheet, &path)?;
    }
    Ok(())
}

/// Writes the checkpoint and the curves.
fn keep<B: burn::tensor::backend::Backend>(
    optimiser: &Optimiser<B>,
    done: &checkpoint::Progress,
    folder: &Path,
) -> Result<(), Error> {
    model_folder::write(
        &folder.join("losses.csv"),
        curves::csv(&done.losses).as_bytes(),
    )?;
    let path = folder.join("losses.svg");
    let svg = curves::svg(done).map_err(|reason| Error::Io {
        path: path.clone(),
        action: "drawing",
        source: std::io::Error::other(reason),
    })?;
    model_folder::write(&path, svg.as_bytes())?;
    let checkpoint = Checkpoint {
        progress: done.clone(),
        parameters: optimiser.saved(),
    };
    checkpoint.write(folder)
}

fn number<B: burn::tensor::backend::Backend>(value: Tensor<B, 1>) -> f64 {
    value.into_data().iter::<f64>().next().unwrap_or(f64::NAN)
}

/// What a progress bar says beside its numbers.
fn detail(done: &checkpoint::Progress) -> String {
    let recent = &done.losses[done.losses.len().saturating_sub(50)..];
    let loss = recent.iter().sum::<f32>() / recent.len().max(1) as f32;
    match done.measured.last() {
        Some(Measured { measure, value, .. }) => format!("loss {loss:.4}, {measure} {value:.3}"),
        None => format!("loss {loss:.4}"),
    }
}
