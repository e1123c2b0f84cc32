//! How well motion is transferred on the built-in model, where the truth is known.
//!
//! Reference clips are sprites with random motions; each is replayed with a prompt that names another shape,
//! colour and background. Two things are measured for each way of generating:
//!
//! * **path**: the correlation of the centroid path found in the result with the true path of the reference
//!   (Pearson, mean over x and y);
//! * **colour**, **shape**, **background**: how often each is what the prompt says, with the built-in CLIP as
//!   judge (the caption among all 240 that fits the frames best on average).
//!
//! `cargo bench -p kinvert --bench transfer_quality -- [--clips 20] [--steps N] [--lr X] [--timesteps A-B]
//! [--generation-steps N] [--guidance X] [--strength X] [--difference-gain X] [--noise-prior X]`; what is not given is the built-in default.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program whose result is a table

use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use kinvert::{
    Clip, Debias, Device, GenerationSettings, InitialNoise, InversionSettings, LoadOptions,
    MotionModel, Quiet, load_model,
};
use kinvert_nets::clip::{CLIPModel, CLIPTokenizer, ImagePreprocessor};
use kinvert_world::{Background, Colour, Look, Motion, Scene, Shape, model::model_files, track};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

struct Arguments {
    clips: u64,
    first: u64,
    inversion: InversionSettings,
    generation: GenerationSettings,
}

impl Arguments {
    fn parse(model: &dyn MotionModel) -> Result<Self, Failure> {
        let recommended = model.recommendations();
        let mut arguments = Self {
            clips: 20,
            first: 0,
            inversion: recommended.inversion.clone(),
            generation: recommended.generation.clone(),
        };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(name) = words.next() {
            let value = words.next().ok_or(format!("{name} needs a value"))?;
            match name.as_str() {
                "--clips" => arguments.clips = value.parse()?,
                "--first" => arguments.first = value.parse()?,
                "--steps" => arguments.inversion.steps = value.parse()?,
                "--lr" => arguments.inversion.learning_rate = value.parse()?,
                "--timesteps" => arguments.inversion.timesteps = value.parse()?,
                "--sites" => arguments.inversion.sites = value.parse()?,
                "--objective" => {
                    arguments.inversion.objective = serde_json::from_value(value.into())?
                }
                "--generation-steps" => arguments.generation.steps = value.parse()?,
                "--guidance" => arguments.generation.guidance = value.parse()?,
                "--strength" => arguments.generation.strength = value.parse()?,
                "--difference-gain" => arguments.generation.difference_gain = value.parse()?,
                "--noise-prior" => arguments.generation.noise_prior = value.parse()?,
                _ => return Err(format!("no such option: {name}").into()),
            }
        }
        Ok(arguments)
    }
}

/// One way of generating.
struct Way {
    name: &'static str,
    settings: GenerationSettings,
    uses_motion: bool,
}

fn ways(base: &GenerationSettings) -> Vec<Way> {
    let way = |name, change: fn(&mut GenerationSettings)| {
        let mut settings = base.clone();
        change(&mut settings);
        Way {
            name,
            settings,
            uses_motion: true,
        }
    };
    vec![
        way("method (blend + difference)", |s| {
            s.debias = Debias::Difference
        }),
        way("blend + normalize", |s| s.debias = Debias::Normalize),
        way("blend + none", |s| s.debias = Debias::None),
        way("blend noise alone", |s| s.strength = 0.0),
        way("embeddings alone (difference)", |s| {
            s.noise = InitialNoise::None
        }),
        Way {
            uses_motion: false,
            ..way("plain model, plain noise", |s| s.noise = InitialNoise::None)
        },
    ]
}

/// What was measured of one result.
struct Score {
    path: f64,
    colour: bool,
    shape: bool,
    background: bool,
}

fn run() -> Result<(), Failure> {
    let model = load_model(&model_files().into(), &LoadOptions::default(), Device::Cpu)?;
    let arguments = Arguments::parse(model.as_ref())?;
    let judge = Judge::load()?;
    let ways = ways(&arguments.generation);
    let mut scores: Vec<Vec<Score>> = ways.iter().map(|_| Vec::new()).collect();
    let started = Instant::now();
    println!(
        "inversion: {}",
        serde_json::to_string(&arguments.inversion)?
    );
    println!(
        "generation: {}",
        serde_json::to_string(&arguments.generation)?
    );
    for index in arguments.first..arguments.first + arguments.clips {
        let scene = moving_scene(index);
        let wanted = other_look(scene.look, index);
        let reference = Clip::new(scene.render(), 8.0)?;
        let caption = trained_caption(scene.look);
        let motion = model.invert(&reference, &caption, &arguments.inversion, None, &mut Quiet)?;
        for (way, scores) in ways.iter().zip(&mut scores) {
            let motion = way.uses_motion.then_some(&motion);
            let prompt = trained_caption(wanted);
            let result = model.generate(motion, &prompt, index, &way.settings, &mut Quiet)?;
            let found = track::centroid_path(result.frames(), None);
            let judged = judge.look(&result);
            scores.push(Score {
                path: track::path_correlation(&scene.centre_path(), &found),
                colour: judged.colour == wanted.colour,
                shape: judged.shape == wanted.shape,
                background: judged.background == wanted.background,
            });
        }
        let line: Vec<String> = scores
            .iter()
            .filter_map(|s| s.last())
            .map(|s| format!("{:.2}", s.path))
            .collect();
        eprintln!(
            "{index}: {} to {wanted:?}: {}",
            scene.path.motion(),
            line.join(" ")
        );
    }
    println!(
        "{} clips in {:.0} s\n",
        arguments.clips,
        started.elapsed().as_secs_f64()
    );
    println!("| way | path | colour | shape | background |\n|---|---|---|---|---|");
    for (way, scores) in ways.iter().zip(&scores) {
        let mean =
            |value: fn(&Score) -> f64| scores.iter().map(value).sum::<f64>() / scores.len() as f64;
        println!(
            "| {} | {:.2} | {:.0} % | {:.0} % | {:.0} % |",
            way.name,
            mean(|s| s.path),
            100.0 * mean(|s| f64::from(s.colour)),
            100.0 * mean(|s| f64::from(s.shape)),
            100.0 * mean(|s| f64::from(s.background)),
        );
    }
    Ok(())
}

/// A random scene that moves: the correlation with the path of a still sprite says nothing.
fn moving_scene(index: u64) -> Scene {
    let scenes = (0..).map(|attempt| Scene::random(1000 * index + attempt));
    let mut moving = scenes.filter(|scene| scene.path.motion() != Motion::Still);
    moving.next().expect("five of six motions move")
}

/// A look that differs in shape, colour and background.
fn other_look(look: Look, index: u64) -> Look {
    let pick = |count: usize, salt: u64| {
        (index.wrapping_mul(2_654_435_761).wrapping_add(salt * 97) % (count as u64 - 1)) as usize
    };
    let shapes: Vec<Shape> = Shape::ALL
        .into_iter()
        .filter(|s| *s != look.shape)
        .collect();
    let colours: Vec<Colour> = Colour::ALL
        .into_iter()
        .filter(|c| *c != look.colour)
        .collect();
    let backgrounds: Vec<Background> = Background::ALL
        .into_iter()
        .filter(|b| *b != look.background)
        .collect();
    Look {
        shape: shapes[pick(Shape::ALL.len(), 1)],
        colour: colours[pick(Colour::ALL.len(), 2)],
        background: backgrounds[pick(Background::ALL.len(), 3)],
    }
}

/// The caption as the first weights were trained with: "a orange".
fn trained_caption(look: Look) -> String {
    look.caption().replacen("an ", "a ", 1)
}

/// The built-in CLIP and the embeddings of every caption.
struct Judge {
    clip: CLIPModel<Flex>,
    preprocessor: ImagePreprocessor,
    looks: Vec<Look>,
    captions: Tensor<Flex, 2>,
}

impl Judge {
    fn load() -> Result<Self, Failure> {
        let files = model_files().part("clip");
        let device = Default::default();
        let clip = CLIPModel::<Flex>::load(&files, &device)?;
        let tokenizer = CLIPTokenizer::load(&files)?;
        let looks: Vec<Look> = Look::all().collect();
        let ids: Vec<i64> = looks
            .iter()
            .flat_map(|look| tokenizer.encode(&trained_caption(*look)).ids)
            .collect();
        let ids: Tensor<Flex, 2, Int> = Tensor::from_data(
            TensorData::new(ids, [looks.len(), tokenizer.max_length()]),
            &device,
        );
        let captions = clip.text_embeds(ids);
        Ok(Self {
            clip,
            preprocessor: ImagePreprocessor::load(&files)?,
            looks,
            captions,
        })
    }

    /// The look whose caption fits the frames best on average.
    fn look(&self, clip: &Clip) -> Look {
        let bytes: Vec<u8> = clip
            .frames()
            .iter()
            .flat_map(|frame| frame.as_raw().clone())
            .collect();
        let pixels = self.preprocessor.pixel_values(
            &bytes,
            clip.height() as usize,
            clip.width() as usize,
            &Default::default(),
        );
        let images = self.clip.image_embeds(pixels); // [frames, projection]
        let fit = images.matmul(self.captions.clone().transpose()).mean_dim(0); // [1, captions]
        let best = fit.argmax(1).into_data().iter::<i64>().next().unwrap_or(0);
        self.looks[best as usize]
    }
}
