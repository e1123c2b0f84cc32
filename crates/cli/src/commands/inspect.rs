//! `kinvert inspect`.

use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use kinvert::embedding::{Embedding, SiteEmbeddings};
use kinvert::motion::Array;
use kinvert::{ModelFiles, ModelSummary, Motion, MotionMetadata};
use kinvert_video::ClipInfo;
use serde::Serialize;

use super::{models, short, size_text};
use crate::args::InspectArgs;
use crate::session::Session;

/// Longest header that a safetensors file may have; more is another kind of file.
const MAX_HEADER_BYTES: u64 = 100 << 20;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    path: String,
    #[serde(flatten)]
    found: Found<'a>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Found<'a> {
    Motion(MotionShapes<'a>),
    Clip(ClipInfo),
    Model(Box<ModelSummary>),
}

#[derive(Serialize)]
struct MotionShapes<'a> {
    bytes: u64,
    metadata: &'a MotionMetadata,
    sites: Vec<SiteShapes<'a>>,
    inverted_latents: Option<&'a [usize]>,
    preview: Option<&'a [usize]>,
    lora: Option<LoraShapes>,
}

#[derive(Serialize)]
struct LoraShapes {
    sha256: String,
    layers: usize,
}

#[derive(Serialize)]
struct SiteShapes<'a> {
    site: &'a str,
    grid: [usize; 2],
    query_key: Option<[usize; 3]>,
    values: [Option<[usize; 3]>; 2],
}

pub fn run(args: &InspectArgs, session: &Session) -> anyhow::Result<()> {
    let path = &args.path;
    let report = |found| Report {
        path: path.display().to_string(),
        found,
    };
    if is_model(path) {
        let source = session.source(ModelFiles::at(path))?;
        session.load(&source)?;
        let summary = ModelSummary::read(&source)?;
        return session.print(&model_text(&summary), &report(Found::Model(summary.into())));
    }
    if is_safetensors(path) {
        let motion = Motion::load(path)?;
        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
        let shapes = shapes(&motion, bytes);
        return session.print(&motion_text(&shapes), &report(Found::Motion(shapes)));
    }
    let info = kinvert_video::probe(path)?;
    session.print(&clip_text(&info), &report(Found::Clip(info)))
}

/// Whether a folder looks like a model rather than like the frames of a clip, or a file like a model rather than
/// like a motion.
fn is_model(path: &Path) -> bool {
    path.join("model_index.json").is_file()
        || path.join("unet").is_dir()
        || ModelFiles::at(path).is_stable_diffusion()
}

/// By the name, or by the content: the length of a header and its first character.
fn is_safetensors(path: &Path) -> bool {
    let mut start = [0; 9];
    let has_header = std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| {
            let [length @ .., first] = start;
            first == b'{' && u64::from_le_bytes(length) <= MAX_HEADER_BYTES
        });
    path.is_file()
        && (has_header
            || path
                .extension()
                .is_some_and(|extension| extension == "safetensors"))
}

fn shapes<'a>(motion: &'a Motion, bytes: u64) -> MotionShapes<'a> {
    fn shape<T>(array: &Array<T>) -> &[usize] {
        &array.shape
    }
    let site = |site: &'a SiteEmbeddings| {
        let [query_key, value1, value2] = site
            .embeddings()
            .map(|embedding| embedding.map(Embedding::shape));
        SiteShapes {
            site: &site.site,
            grid: site.grid,
            query_key,
            values: [value1, value2],
        }
    };
    MotionShapes {
        bytes,
        metadata: &motion.metadata,
        sites: motion.sites.iter().map(site).collect(),
        inverted_latents: motion.inverted_latents.as_ref().map(shape),
        preview: motion.preview.as_ref().map(shape),
        lora: motion.lora.as_ref().map(|lora| LoraShapes {
            sha256: lora.sha256(),
            layers: lora.layers.len(),
        }),
    }
}

fn motion_text(motion: &MotionShapes<'_>) -> String {
    let metadata = motion.metadata;
    let settings = &metadata.settings;
    let mut text = format!(
        "motion    {} frames of {} at {} fps, {:.1} MB, format {} of kinvert {}\n",
        metadata.frames,
        size_text(metadata.size),
        metadata.fps,
        motion.bytes as f64 / 1e6,
        metadata.format_version,
        metadata.kinvert_version
    );
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<9} {value}"); // writing to a string cannot fail
    };
    line(
        "caption",
        format!("\"{}\"", metadata.caption.escape_debug()),
    );
    line(
        "model",
        format!("{} ({})", metadata.model.name, metadata.model.short_hash()),
    );
    line("clip", short(&metadata.reference_sha256).into());
    line(
        "learned",
        format!(
            "{} steps, learning rate {}, timesteps {}, sites {}, seed {}",
            settings.steps,
            settings.learning_rate,
            settings.timesteps,
            settings.sites,
            settings.seed
        ),
    );
    if let [first, .., last] = metadata.losses[..] {
        line(
            "loss",
            format!("{first:.4} at the first step, {last:.4} at the last"),
        );
    }
    for SiteShapes {
        site,
        grid,
        query_key,
        values,
    } in &motion.sites
    {
        line(
            "site",
            format!(
                "{site}: grid {grid:?}, query-key {}, values {}",
                shape_text(*query_key),
                shape_text(values[0])
            ),
        );
    }
    if let Some(shape) = motion.inverted_latents {
        line("noise", format!("{shape:?}"));
    }
    if let Some(lora) = &motion.lora {
        line(
            "lora",
            format!("{} layers ({})", lora.layers, short(&lora.sha256)),
        );
    }
    text
}

/// `off` for what was left out of the learning.
fn shape_text(shape: Option<[usize; 3]>) -> String {
    shape.map_or("off".into(), |shape| format!("{shape:?}"))
}

fn clip_text(info: &ClipInfo) -> String {
    let variable = if info.variable_frame_rate {
        " (variable)"
    } else {
        ""
    };
    let rotation = match info.rotation_degrees {
        0 => String::new(),
        degrees => format!(", turned by {degrees} degrees"),
    };
    format!(
        "clip      {} frames of {}x{} at {} fps{variable}, {:.2} s{rotation}\ncoding    {} in {}\n",
        info.frames, info.width, info.height, info.fps, info.duration_s, info.codec, info.container
    )
}

fn model_text(summary: &ModelSummary) -> String {
    let mut text = models::text(summary);
    for site in &summary.sites {
        let _ = writeln!(
            text,
            "  site      {} ({} channels)",
            site.name, site.channels
        );
    }
    text
}
