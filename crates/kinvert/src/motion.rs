//! The motion file: what was learned from one clip, and where it came from.
//!
//! A motion file is a safetensors file, named `*.motion.safetensors`. For every site it holds
//! `{site}.query_key`, `{site}.attn1.value` and `{site}.attn2.value`, each `[positions, frames, channels]` with
//! the positions that the settings of learning say ([`EmbeddingShape`]), and none that
//! is `off`. In the method a query-key embedding has 1 position and a value embedding `rows * columns` of its
//! site. Embeddings that are concatenated have their `{input}.projection` `[2 * channels, channels]` beside them,
//! such as `{site}.query_key.projection`. Besides, there are `inverted_latents` `[1, channels, frames, height, width]`
//! (the noise from which the clip would come) and `preview` `[height, width, 3]` (a few frames of the clip). A LoRA that
//! is kept has the names and the entry of the header that it has in a [file of its own](crate::lora). The header's
//! `kinvert.motion` entry is [`MotionMetadata`] as JSON.
//!
//! Version 1 of the format knew the method's shapes alone, version 2 no LoRA; their files are read as such.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn::tensor::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::atomic::write_file;
use crate::embedding::{Embedding, INPUTS, SiteEmbeddings};
use crate::error::Error;
use crate::lora::{self, SpatialLora};
use crate::modulation::Integration;
use crate::projection::Projection;
use crate::settings::InversionSettings;
use crate::shape::EmbeddingShape;

/// The entry of the header that makes a safetensors file a motion file.
const METADATA_KEY: &str = "kinvert.motion";

/// Version of the format that is written; older ones are read, newer ones refused.
const FORMAT_VERSION: u32 = 3;

/// Bounds on what is read. A motion of 24 frames at 576x320 has about 90 MB.
const MAX_FILE_BYTES: u64 = 4 << 30;
const MAX_SITES: usize = 1024;
const MAX_SIDE: usize = 1 << 16;

/// A learned motion.
#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    /// Where it came from.
    pub metadata: MotionMetadata,
    /// The embeddings, in the order of the network's forward pass.
    pub sites: Vec<SiteEmbeddings>,
    /// The reference's latents after DDIM inversion, `[1, channels, frames, height, width]`.
    pub inverted_latents: Option<Array<f32>>,
    /// A few frames of the reference side by side, `[height, width, 3]`, RGB.
    pub preview: Option<Array<u8>>,
    /// What was learned of how the frames look, if it was kept.
    pub lora: Option<SpatialLora>,
}

/// Numbers with a shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<T> {
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// As many values as the shape says.
    pub values: Vec<T>,
}

/// What made a motion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MotionMetadata {
    /// Version of the file format.
    pub format_version: u32,
    /// Version of the program.
    pub kinvert_version: String,
    /// The base model.
    pub model: ModelId,
    /// Frames the motion was learned from.
    pub frames: usize,
    /// Width and height in pixels that it was learned at.
    pub size: [usize; 2],
    /// Frames per second of those frames.
    pub fps: f64,
    /// What the reference was said to show.
    pub caption: String,
    /// SHA-256 of the reference's frames as they were used (size, then RGB bytes), hexadecimal.
    pub reference_sha256: String,
    /// How it was learned.
    pub settings: InversionSettings,
    /// Loss of every step.
    pub losses: Vec<f32>,
    /// Loss of the LoRA in every step that had it on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lora_losses: Vec<f32>,
    /// Rows and columns of every site's grid.
    pub grids: BTreeMap<String, [usize; 2]>,
}

/// A base model: its name for people, and the hash that identifies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelId {
    /// Name or folder.
    pub name: String,
    /// SHA-256 over the configuration and weights of the parts that make clips, hexadecimal; empty if it is
    /// not known.
    pub sha256: String,
}

impl ModelId {
    /// The first digits of the hash, enough to tell models apart.
    pub fn short_hash(&self) -> &str {
        self.sha256.get(..12).unwrap_or(if self.sha256.is_empty() {
            "unknown"
        } else {
            &self.sha256
        })
    }
}

impl Motion {
    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written whole; then nothing is at `path` that was not there before.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write_file(path, &self.to_bytes())
    }

    /// The file's contents.
    fn to_bytes(&self) -> Vec<u8> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut add_f32 = |name: String, shape: &[usize], values: &[f32]| {
            let bytes = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            tensors.push((name, Dtype::F32, shape.to_vec(), bytes));
        };
        for site in &self.sites {
            let learned = site.embeddings().into_iter().zip(&site.projections);
            for (input, (embedding, projection)) in INPUTS.iter().zip(learned) {
                let name = format!("{}.{input}", site.site);
                if let Some(projection) = projection {
                    let name = format!("{name}.projection");
                    add_f32(name, &projection.shape(), projection.values());
                }
                if let Some(embedding) = embedding {
                    add_f32(name, &embedding.shape(), embedding.values());
                }
            }
        }
        if let Some(latents) = &self.inverted_latents {
            add_f32("inverted_latents".into(), &latents.shape, &latents.values);
        }
        if let Some(lora) = &self.lora {
            for (name, shape, values) in lora.tensors() {
                add_f32(name, &shape, values);
            }
        }
        if let Some(preview) = &self.preview {
            tensors.push((
                "preview".into(),
                Dtype::U8,
                preview.shape.clone(),
                preview.values.clone(),
            ));
        }
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes)
                .expect("every array has as many values as its shape says");
            (name.as_str(), view)
        });
        let metadata = serde_json::to_string(&self.metadata)
            .expect("metadata has string keys and finite numbers");
        let mut header = HashMap::from([(METADATA_KEY.to_string(), metadata)]);
        if let Some(lora) = &self.lora {
            header.insert(lora::ADAPTER_METADATA.into(), lora.adapter_metadata());
        }
        safetensors::serialize(views, Some(header)).expect("names and shapes are valid")
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::MotionFile`] if it is something else, damaged, written by
    /// a newer version, or holds a value that is not finite.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let size = std::fs::metadata(path).map_err(Error::reading(path))?.len();
        let unusable = |reason: String| Error::MotionFile {
            path: path.to_path_buf(),
            reason,
        };
        if size > MAX_FILE_BYTES {
            return Err(unusable(format!(
                "it has {size} bytes, expected at most {MAX_FILE_BYTES}"
            )));
        }
        let bytes = std::fs::read(path).map_err(Error::reading(path))?;
        Self::from_bytes(&bytes).map_err(unusable)
    }

    /// Parses a file's contents; the error is the reason why they are unusable.
    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| format!("no safetensors file: {e}"))?;
        let tensors =
            SafeTensors::deserialize(bytes).map_err(|e| format!("no safetensors file: {e}"))?;
        let metadata = header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(METADATA_KEY));
        let metadata = metadata.ok_or(format!("its header has no `{METADATA_KEY}` entry"))?;
        let version: FormatVersion =
            serde_json::from_str(metadata).map_err(|e| format!("its metadata: {e}"))?;
        if version.format_version > FORMAT_VERSION {
            return Err(format!(
                "its format version is {}, this program reads up to {FORMAT_VERSION}",
                version.format_version
            ));
        }
        let metadata: MotionMetadata =
            serde_json::from_str(metadata).map_err(|e| format!("its metadata: {e}"))?;
        metadata.check()?;
        let sites = metadata
            .grids
            .iter()
            .map(|(site, grid)| read_site(&tensors, site, *grid, &metadata))
            .collect::<Result<_, _>>()?;
        let inverted_latents = match tensors.tensor("inverted_latents") {
            Ok(view) => Some(read_latents(&view, metadata.frames)?),
            Err(_) => None,
        };
        let preview = match tensors.tensor("preview") {
            Ok(view) => Some(read_preview(&view)?),
            Err(_) => None,
        };
        let of_lora = tensors
            .iter()
            .filter(|(name, _)| name.starts_with(lora::PREFIX));
        let lora = SpatialLora::parse(of_lora, header.metadata().as_ref(), &[])?;
        Ok(Self {
            metadata,
            sites,
            inverted_latents,
            preview,
            lora: Some(lora).filter(|lora| !lora.layers.is_empty()),
        })
    }
}

/// The one field that every version has.
#[derive(Deserialize)]
struct FormatVersion {
    format_version: u32,
}

impl MotionMetadata {
    /// Metadata of a motion that is being made now.
    pub(crate) fn format() -> u32 {
        FORMAT_VERSION
    }

    fn check(&self) -> Result<(), String> {
        if self.frames == 0 {
            return Err("`frames` is 0, expected a positive number".into());
        }
        if !(self.fps.is_finite() && self.fps > 0.0) {
            return Err(format!("`fps` is {}, expected a positive number", self.fps));
        }
        if self.grids.len() > MAX_SITES {
            return Err(format!(
                "it has {} sites, expected at most {MAX_SITES}",
                self.grids.len()
            ));
        }
        self.settings
            .check()
            .map_err(|error| format!("its settings: {error}"))
    }
}

fn read_site(
    tensors: &SafeTensors<'_>,
    site: &str,
    grid: [usize; 2],
    metadata: &MotionMetadata,
) -> Result<SiteEmbeddings, String> {
    let (settings, frames) = (&metadata.settings, metadata.frames);
    let sides = 1..=MAX_SIDE;
    if !grid.iter().all(|side| sides.contains(side)) {
        return Err(format!(
            "`{site}` has a grid of {grid:?}, expected rows and columns up to {MAX_SIDE}"
        ));
    }
    let read = |input: &str, shape: EmbeddingShape| {
        let Some([rows, columns]) = shape.grid(grid) else {
            return Ok(None);
        };
        let (name, positions) = (format!("{site}.{input}"), rows * columns);
        let view = tensors
            .tensor(&name)
            .map_err(|_| format!("it has no tensor `{name}`"))?;
        let shape: [usize; 3] = view.shape().try_into().map_err(|_| {
            format!(
                "`{name}` has the shape {:?}, expected three axes",
                view.shape()
            )
        })?;
        let channels = shape[2];
        if shape != [positions, frames, channels] || channels == 0 {
            return Err(format!(
                "`{name}` has the shape {shape:?}, expected {positions} positions and {frames} frames"
            ));
        }
        let values = read_floats(&view, &name)?;
        Ok(Some(Embedding::new(
            [rows, columns, frames, channels],
            values,
        )))
    };
    let [query_key, value1, value2] = INPUTS;
    let mut embeddings = SiteEmbeddings {
        site: site.to_string(),
        grid,
        query_key: read(query_key, settings.query_key)?,
        values: [
            read(value1, settings.values)?,
            read(value2, settings.values)?,
        ],
        projections: [None, None, None],
    };
    let found = embeddings.embeddings().into_iter().flatten();
    let channels: BTreeSet<usize> = found.map(Embedding::channels).collect();
    if channels.len() > 1 {
        return Err(format!("the embeddings of `{site}` differ in channels"));
    }
    if settings.integration == Integration::Concat {
        let is_there = embeddings.embeddings().map(|found| found.is_some());
        for ((input, is_there), projection) in INPUTS
            .into_iter()
            .zip(is_there)
            .zip(&mut embeddings.projections)
        {
            if let Some(channels) = channels.first().filter(|_| is_there) {
                *projection = Some(read_projection(tensors, site, input, *channels)?);
            }
        }
    }
    Ok(embeddings)
}

fn read_projection(
    tensors: &SafeTensors<'_>,
    site: &str,
    input: &str,
    channels: usize,
) -> Result<Projection, String> {
    let name = format!("{site}.{input}.projection");
    let view = tensors
        .tensor(&name)
        .map_err(|_| format!("it has no tensor `{name}`"))?;
    if view.shape() != [2 * channels, channels] {
        return Err(format!(
            "`{name}` has the shape {:?}, expected {:?}",
            view.shape(),
            [2 * channels, channels]
        ));
    }
    Ok(Projection::new(channels, read_floats(&view, &name)?))
}

fn read_latents(view: &TensorView<'_>, frames: usize) -> Result<Array<f32>, String> {
    let shape = view.shape().to_vec();
    if shape.len() != 5 || shape[0] != 1 || shape[2] != frames || shape.contains(&0) {
        return Err(format!(
            "`inverted_latents` has the shape {shape:?}, expected [1, C, {frames}, H, W]"
        ));
    }
    Ok(Array {
        shape,
        values: read_floats(view, "inverted_latents")?,
    })
}

fn read_preview(view: &TensorView<'_>) -> Result<Array<u8>, String> {
    let shape = view.shape().to_vec();
    if view.dtype() != Dtype::U8 || shape.len() != 3 || shape[2] != 3 {
        return Err(format!(
            "`preview` is {:?} {shape:?}, expected U8 [height, width, 3]",
            view.dtype()
        ));
    }
    Ok(Array {
        shape,
        values: view.data().to_vec(),
    })
}

/// The values of a float tensor as f32.
pub(crate) fn read_floats(view: &TensorView<'_>, name: &str) -> Result<Vec<f32>, String> {
    let data = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Dtype::F16 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect(),
        Dtype::BF16 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).to_f32())
            .collect(),
        other => {
            return Err(format!(
                "`{name}` has dtype {other:?}, expected F32, F16 or BF16"
            ));
        }
    };
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(format!("`{name}` holds a value that is not finite")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::lora::LowRank;
    use crate::lora::tests::made_up;
    use proptest::prelude::*;
    use proptest::sample::select;

    pub(crate) fn example(frames: usize, grid: [usize; 2], channels: usize) -> Motion {
        shaped(frames, grid, channels, InversionSettings::default())
    }

    /// A motion with the embeddings that the settings say.
    fn shaped(
        frames: usize,
        grid: [usize; 2],
        channels: usize,
        settings: InversionSettings,
    ) -> Motion {
        let fill = |shape: EmbeddingShape| {
            let [rows, columns] = shape.grid(grid)?;
            let count = rows * columns * frames * channels;
            let values = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
            Some(Embedding::new([rows, columns, frames, channels], values))
        };
        let site = "up_blocks.1.temp_attentions.0.transformer_blocks.0".to_string();
        let embeddings = SiteEmbeddings {
            site: site.clone(),
            grid,
            query_key: fill(settings.query_key),
            values: [0, 1].map(|_| fill(settings.values)),
            projections: [settings.query_key, settings.values, settings.values].map(|shape| {
                let is_there =
                    settings.integration == Integration::Concat && shape != EmbeddingShape::Off;
                let values = || (0..2 * channels * channels).map(|i| i as f32).collect();
                is_there.then(|| Projection::new(channels, values()))
            }),
        };
        Motion {
            metadata: MotionMetadata {
                format_version: FORMAT_VERSION,
                kinvert_version: "0.1.0".into(),
                model: ModelId {
                    name: "sprites".into(),
                    sha256: "ab".repeat(32),
                },
                frames,
                size: [64, 48],
                fps: 8.0,
                caption: "a \"quoted\" café".into(),
                reference_sha256: "cd".repeat(32),
                settings,
                losses: vec![1.5, 0.25],
                lora_losses: Vec::new(),
                grids: BTreeMap::from([(site, grid)]),
            },
            sites: vec![embeddings],
            inverted_latents: Some(Array {
                shape: vec![1, 2, frames, 2, 2],
                values: vec![0.5; 8 * frames],
            }),
            preview: Some(Array {
                shape: vec![2, 3, 3],
                values: (0..18).collect(),
            }),
            lora: None,
        }
    }

    proptest! {
        #[test]
        fn what_is_saved_is_loaded_in_every_shape(
            frames in 1usize..5, rows in 1usize..4, columns in 1usize..4, channels in 1usize..5,
            query_key in select(vec!["off", "1d", "2d", "grid-1x2", "grid-2x2"]),
            values in select(vec!["off", "1d", "2d"]),
            integration in select(vec![Integration::AddBefore, Integration::Concat]),
            rank in 0usize..3,
        ) {
            let settings = InversionSettings {
                query_key: query_key.parse().unwrap(),
                values: values.parse().unwrap(),
                integration,
                ..Default::default()
            };
            let mut motion = shaped(frames, [rows, columns], channels, settings);
            if rank > 0 {
                let path = "mid_block.attentions.0.proj_in";
                motion.lora = Some(made_up(&[(path, channels, rows, rank, 2.5)]));
                motion.metadata.lora_losses = vec![0.5; rank];
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.motion.safetensors");
            motion.save(&path).unwrap();
            prop_assert_eq!(Motion::load(&path).unwrap(), motion);
        }

        #[test]
        fn no_damage_makes_loading_panic(at in 0usize..2000, byte: u8, keep in 0usize..4000) {
            let mut bytes = example(2, [2, 2], 3).to_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Motion::from_bytes(&bytes);
            let _ = Motion::from_bytes(&bytes[..keep.min(bytes.len())]);
        }
    }

    #[test]
    fn what_is_no_motion_is_refused_with_the_reason() {
        let refusal = |change: fn(&mut Motion)| {
            let mut motion = example(2, [2, 2], 3);
            change(&mut motion);
            Motion::from_bytes(&motion.to_bytes()).unwrap_err()
        };
        type Damage = fn(&mut Motion);
        let cases: [(&str, Damage); 12] = [
            ("`unet.conv_in.lora_A.weight` holds a value", |m| {
                let layer = LowRank::new(1, 1.0, vec![f32::NAN], vec![0.0]);
                let layers = BTreeMap::from([("conv_in".to_string(), layer)]);
                m.lora = Some(SpatialLora { layers });
            }),
            ("format version", |m| m.metadata.format_version = 99),
            ("expected 1 positions and 3 frames", |m| {
                m.metadata.frames = 3
            }),
            ("expected 4 positions and 2 frames", |m| {
                m.metadata.settings.query_key = EmbeddingShape::TwoD
            }),
            (
                "no tensor `up_blocks.1.temp_attentions.0.transformer_blocks.0.query_key.projection`",
                |m| m.metadata.settings.integration = Integration::Concat,
            ),
            (
                "query_key.projection` has the shape [4, 2], expected [6, 3]",
                |m| {
                    m.metadata.settings.integration = Integration::Concat;
                    let narrow = || Some(Projection::new(2, vec![0.0; 8]));
                    m.sites[0].projections = [narrow(), narrow(), narrow()];
                },
            ),
            ("its settings: `value shape`", |m| {
                m.metadata.settings.values = EmbeddingShape::Grid([2, 2])
            }),
            ("its metadata: `embedding shape`", |m| {
                m.metadata.settings.query_key = EmbeddingShape::Grid([usize::MAX, 2])
            }),
            ("no tensor", |m| m.sites.clear()),
            ("not finite", |m| {
                m.sites[0].query_key = Some(Embedding::new([1, 1, 2, 3], vec![f32::NAN; 6]))
            }),
            ("a grid of [0, 2]", |m| {
                m.metadata
                    .grids
                    .values_mut()
                    .for_each(|grid| *grid = [0, 2]);
                let empty = || Some(Embedding::new([0, 2, 2, 3], Vec::new()));
                m.sites[0].values = [empty(), empty()];
            }),
            ("`fps` is 0", |m| m.metadata.fps = 0.0),
        ];
        for (expected, change) in cases {
            let reason = refusal(change);
            assert!(reason.contains(expected), "{reason}");
        }
        assert!(
            Motion::from_bytes(b"not a motion")
                .unwrap_err()
                .contains("safetensors")
        );
        let huge_header = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
        assert!(
            Motion::from_bytes(&huge_header)
                .unwrap_err()
                .contains("safetensors")
        );
        let plain =
            safetensors::serialize(std::iter::empty::<(&str, TensorView<'_>)>(), None).unwrap();
        assert!(
            Motion::from_bytes(&plain)
                .unwrap_err()
                .contains("kinvert.motion")
        );
    }

    #[test]
    fn a_file_of_the_first_format_has_the_shapes_of_the_method() {
        let mut motion = example(2, [2, 2], 3);
        motion.metadata.format_version = 1;
        let metadata = r#"{"format_version": 1, "kinvert_version": "0.1.0", "model": {"name": "sprites",
            "sha256": "MODEL"}, "frames": 2, "size": [64, 48], "fps": 8.0, "caption": "a \"quoted\" café",
            "reference_sha256": "CLIP", "settings": {"steps": 400, "learning_rate": 0.02,
            "weight_decay": 0.01, "objective": "debiased-temporal", "timesteps": {"first": 0, "last": 999},
            "sites": "published", "integration": "add-before", "ddim_inversion_steps": 50, "seed": 0},
            "losses": [1.5, 0.25], "grids": {"up_blocks.1.temp_attentions.0.transformer_blocks.0": [2, 2]}}"#;
        let metadata = metadata
            .replace("MODEL", &motion.metadata.model.sha256)
            .replace("CLIP", &motion.metadata.reference_sha256);
        let bytes = motion.to_bytes();
        let stored = SafeTensors::deserialize(&bytes).unwrap();
        let header = HashMap::from([(METADATA_KEY.to_string(), metadata)]);
        let old = safetensors::serialize(stored.tensors(), Some(header)).unwrap();
        assert_eq!(Motion::from_bytes(&old).unwrap(), motion);
    }

    #[test]
    fn an_unwritable_place_is_an_error_that_names_it() {
        let error = example(1, [1, 1], 1)
            .save(Path::new("/proc/no/such/place"))
            .unwrap_err();
        assert!(error.to_string().contains("/proc/no/such/place"), "{error}");
    }
}
