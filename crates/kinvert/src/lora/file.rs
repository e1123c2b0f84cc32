//! LoRA files as the diffusers library reads and writes them.
//!
//! Four ways to name the matrices of a layer are read, with or without `unet.` before the layer's path:
//! `{layer}.lora_A.weight` and `lora_B` (what is written today, by peft), `{layer}.lora.down.weight` and `lora.up`,
//! `{attention}.processor.to_q_lora.down.weight` and so on (older versions), and
//! `lora_unet_{layer_with_underscores}.lora_down.weight` and `lora_up` (kohya's programs).
//!
//! Alpha is what `{layer}.alpha` says (which the library passes over outside kohya's form), else what the header's
//! `lora_adapter_metadata` says, else the rank. Nothing in a file is passed over: a tensor that belongs to no linear
//! layer of a spatial transformer is an error, for the result would not be what the file's author saw.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use kinvert_nets::LinearLayer;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::{LowRank, MAX_RANK, SpatialLora};
use crate::atomic::write_file;
use crate::error::Error;
use crate::motion::read_floats;

/// The entry of the header with the settings of the adapter as JSON.
pub(crate) const ADAPTER_METADATA: &str = "lora_adapter_metadata";

/// What stands before the layers of the denoising network, in names and in the settings.
pub(crate) const PREFIX: &str = "unet.";

/// A LoRA of rank 128 for every layer of the largest network is half as large.
const MAX_FILE_BYTES: u64 = 4 << 30;

impl SpatialLora {
    /// Reads a file for a network with the given layers.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::LoraFile`] if it is something else or damaged, has a tensor that
    /// belongs to none of the layers or half of a pair, or a number that is not finite.
    pub fn load(path: &Path, linears: &[LinearLayer]) -> Result<Self, Error> {
        let unusable = |reason: String| Error::LoraFile {
            path: path.to_path_buf(),
            reason,
        };
        let size = std::fs::metadata(path).map_err(Error::reading(path))?.len();
        if size > MAX_FILE_BYTES {
            let reason = format!("it has {size} bytes, expected at most {MAX_FILE_BYTES}");
            return Err(unusable(reason));
        }
        let bytes = std::fs::read(path).map_err(Error::reading(path))?;
        Self::from_bytes(&bytes, linears).map_err(unusable)
    }

    fn from_bytes(bytes: &[u8], linears: &[LinearLayer]) -> Result<Self, String> {
        let invalid = |error| format!("no safetensors file: {error}");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(invalid)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(invalid)?;
        let lora = Self::parse(tensors.iter(), header.metadata().as_ref(), linears)?;
        if lora.layers.is_empty() {
            return Err("it holds no tensors".into());
        }
        lora.check_fits(linears)?;
        Ok(lora)
    }

    /// Puts tensors together. Of the layers of the network only those of kohya's names are looked up.
    pub(crate) fn parse<'a>(
        tensors: impl IntoIterator<Item = (&'a str, TensorView<'a>)>,
        header: Option<&HashMap<String, String>>,
        linears: &[LinearLayer],
    ) -> Result<Self, String> {
        let metadata = header.and_then(|entries| entries.get(ADAPTER_METADATA));
        let settings = metadata.map(|json| AdapterSettings::parse(json));
        let settings = settings.transpose()?;
        let mut found: BTreeMap<String, Found<'a>> = BTreeMap::new();
        for (name, view) in tensors {
            let (path, part) = part_of(name, linears)
                .ok_or_else(|| format!("`{name}` is no part of a LoRA of a spatial transformer"))?;
            let parts = found.entry(path).or_default();
            let place = match part {
                Part::Down => &mut parts.down,
                Part::Up => &mut parts.up,
                Part::Alpha => &mut parts.alpha,
            };
            if let Some((other, _)) = place.replace((name, view)) {
                return Err(format!("`{other}` and `{name}` are the same matrix"));
            }
        }
        let layers = found.into_iter().map(|(path, parts)| {
            let layer = parts.layer(&path, settings.as_ref())?;
            Ok((path, layer))
        });
        let layers = layers.collect::<Result<_, String>>()?;
        Ok(Self { layers })
    }

    /// Writes the file as the library writes it today.
    ///
    /// # Errors
    /// [`Error::Io`]; what was at `path` before is then still there.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write_file(path, &self.to_bytes())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let tensors: Vec<_> = self.tensors().collect();
        let bytes = tensors.iter().map(|(name, shape, values)| {
            let values = values.iter().flat_map(|value| value.to_le_bytes());
            (name, shape, values.collect::<Vec<u8>>())
        });
        let bytes: Vec<_> = bytes.collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes)
                .expect("every matrix has as many values as its shape says");
            (name.as_str(), view)
        });
        let header = HashMap::from([
            ("format".to_string(), "pt".to_string()),
            (ADAPTER_METADATA.to_string(), self.adapter_metadata()),
        ]);
        safetensors::serialize(views, Some(header)).expect("names and shapes are valid")
    }

    /// Name, shape and values of every matrix.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, [usize; 2], &[f32])> {
        self.layers.iter().flat_map(|(path, layer)| {
            let (rank, down, up) = (layer.rank(), layer.down(), layer.up());
            [
                (
                    format!("{PREFIX}{path}.lora_A.weight"),
                    [rank, layer.in_channels()],
                    down,
                ),
                (
                    format!("{PREFIX}{path}.lora_B.weight"),
                    [layer.out_channels(), rank],
                    up,
                ),
            ]
        })
    }

    /// The settings with which peft builds the same adapter: rank and alpha of the first layer for all, and those of
    /// layers that differ.
    pub(crate) fn adapter_metadata(&self) -> String {
        let first = self.layers.values().next();
        let (rank, alpha) = first.map_or((1, 1.0), |layer| (layer.rank(), layer.alpha()));
        let (mut ranks, mut alphas) = (Map::new(), Map::new());
        for (path, layer) in &self.layers {
            if layer.rank() != rank {
                ranks.insert(path.clone(), layer.rank().into());
            }
            if layer.alpha() != alpha {
                alphas.insert(path.clone(), f64::from(layer.alpha()).into());
            }
        }
        let targets: Vec<&String> = self.layers.keys().collect();
        let settings = [
            ("r", json!(rank)),
            ("lora_alpha", json!(f64::from(alpha))),
            ("rank_pattern", Value::Object(ranks)),
            ("alpha_pattern", Value::Object(alphas)),
            ("target_modules", json!(targets)),
        ];
        let settings = settings.map(|(name, value)| (format!("{PREFIX}{name}"), value));
        Value::Object(settings.into_iter().collect()).to_string()
    }
}

/// What a tensor is to a layer.
#[derive(Clone, Copy)]
enum Part {
    Down,
    Up,
    Alpha,
}

/// Endings of names; each starts where the layer's name ends.
const ENDINGS: [(&str, Part); 10] = [
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    ("_lora.down.weight", Part::Down),
    ("_lora.up.weight", Part::Up),
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    ("_lora.alpha", Part::Alpha),
    (".alpha", Part::Alpha),
];

/// The path of the layer that a tensor belongs to; none for a name of another form. What kohya's programs write is
/// looked up, for there a dot and an underscore are the same.
fn part_of(name: &str, linears: &[LinearLayer]) -> Option<(String, Part)> {
    let mut endings = ENDINGS.into_iter();
    let (layer, part) =
        endings.find_map(|(ending, part)| Some((name.strip_suffix(ending)?, part)))?;
    if let Some(flat) = layer.strip_prefix("lora_unet_") {
        let mut linears = linears.iter();
        let linear = linears.find(|linear| linear.path.replace('.', "_") == flat)?;
        return Some((linear.path.clone(), part));
    }
    let layer = layer.strip_prefix(PREFIX).unwrap_or(layer);
    let path = match layer.rsplit_once(".processor.") {
        None => layer.to_string(),
        Some((attention, "to_out")) => format!("{attention}.to_out.0"),
        Some((attention, layer)) => format!("{attention}.{layer}"),
    };
    Some((path, part))
}

/// The tensors of one layer, each with its name.
#[derive(Default)]
struct Found<'a> {
    down: Option<(&'a str, TensorView<'a>)>,
    up: Option<(&'a str, TensorView<'a>)>,
    alpha: Option<(&'a str, TensorView<'a>)>,
}

impl Found<'_> {
    fn layer(self, path: &str, settings: Option<&AdapterSettings>) -> Result<LowRank, String> {
        let missing = |half| format!("the LoRA of `{path}` has no {half}");
        let (down_name, down) = self.down.ok_or_else(|| missing("matrix A (down)"))?;
        let (up_name, up) = self.up.ok_or_else(|| missing("matrix B (up)"))?;
        let [rank, _] = matrix_shape(down_name, &down)?;
        let [_, columns] = matrix_shape(up_name, &up)?;
        if columns != rank {
            return Err(format!(
                "`{down_name}` is of rank {rank} and `{up_name}` of rank {columns}"
            ));
        }
        if rank > MAX_RANK {
            return Err(format!(
                "`{down_name}` is of rank {rank}, expected at most {MAX_RANK}"
            ));
        }
        let alpha = match self.alpha {
            Some((name, view)) => match read_floats(&view, name)?[..] {
                [alpha] => alpha,
                _ => {
                    return Err(format!(
                        "`{name}` has {:?}, expected one number",
                        view.shape()
                    ));
                }
            },
            None => settings.map_or(Ok(rank as f32), |settings| settings.alpha(path, rank))?,
        };
        Ok(LowRank::new(
            rank,
            alpha,
            read_floats(&down, down_name)?,
            read_floats(&up, up_name)?,
        ))
    }
}

/// The shape of a matrix, which may be written as that of a convolution of one pixel.
fn matrix_shape(name: &str, view: &TensorView<'_>) -> Result<[usize; 2], String> {
    match *view.shape() {
        [rows, columns] | [rows, columns, 1, 1] if rows > 0 && columns > 0 => Ok([rows, columns]),
        _ => Err(format!(
            "`{name}` has the shape {:?}, expected that of a matrix",
            view.shape()
        )),
    }
}

/// What decides alpha among the settings of an adapter.
struct AdapterSettings {
    alpha: Option<f64>,
    alpha_pattern: Map<String, Value>,
    is_rank_stabilized: bool,
}

impl AdapterSettings {
    fn parse(json: &str) -> Result<Self, String> {
        let invalid = |error| format!("its `{ADAPTER_METADATA}`: {error}");
        let settings: Map<String, Value> = serde_json::from_str(json).map_err(invalid)?;
        let get = |name: &str| settings.get(&format!("{PREFIX}{name}"));
        let is = |name: &str| get(name).and_then(Value::as_bool).unwrap_or(false);
        for unsupported in ["use_dora", "use_qalora", "use_bdlora"] {
            if is(unsupported) {
                return Err(format!(
                    "its adapter has `{unsupported}`, expected a plain LoRA"
                ));
            }
        }
        Ok(Self {
            alpha: get("lora_alpha").and_then(Value::as_f64),
            alpha_pattern: get("alpha_pattern")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            is_rank_stabilized: is("use_rslora"),
        })
    }

    /// Alpha of a layer. A rank-stabilized LoRA (arXiv:2312.03732) is scaled by `alpha / sqrt(rank)`.
    fn alpha(&self, path: &str, rank: usize) -> Result<f32, String> {
        let mut patterns = self.alpha_pattern.iter();
        let own = patterns.find(|(pattern, _)| {
            let before = path.strip_suffix(pattern.as_str());
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        });
        let own = own.and_then(|(_, alpha)| alpha.as_f64());
        let alpha = own.or(self.alpha).unwrap_or(rank as f64);
        let factor = match self.is_rank_stabilized {
            true => (rank as f64).sqrt(),
            false => 1.0,
        };
        let alpha = (alpha * factor) as f32;
        match alpha.is_finite() {
            true => Ok(alpha),
            false => Err(format!(
                "alpha of `{path}` is {alpha}, expected a finite number"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::made_up;
    use super::*;

    const TO_Q: &str = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    const TO_OUT: &str = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0";

    fn linears() -> Vec<LinearLayer> {
        [(TO_Q, 6, 4), (TO_OUT, 4, 6)]
            .map(|(path, in_channels, out_channels)| LinearLayer {
                path: path.into(),
                in_channels,
                out_channels,
            })
            .into()
    }

    /// A file with tensors of the given names, shapes and values.
    fn file(tensors: &[(&str, &[usize], Vec<f32>)], metadata: Option<&str>) -> Vec<u8> {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(name, shape, values)| {
                let bytes: Vec<u8> = values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                (*name, *shape, bytes)
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (
                *name,
                TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap(),
            )
        });
        let header = metadata.map(|json| HashMap::from([(ADAPTER_METADATA.into(), json.into())]));
        safetensors::serialize(views, header).unwrap()
    }

    fn pair<'a>(down: &'a str, up: &'a str) -> [(&'a str, &'a [usize], Vec<f32>); 2] {
        [(down, &[2, 6], vec![0.5; 12]), (up, &[4, 2], vec![0.25; 8])]
    }

    proptest! {
        #[test]
        fn what_is_exported_is_imported(
            first in (1_usize..5, -2.0_f32..4.0), second in (1_usize..5, -2.0_f32..4.0),
        ) {
            let lora = made_up(&[
                (TO_Q, 6, 4, first.0, first.1),
                (TO_OUT, 4, 6, second.0, second.1),
            ]);
            prop_assert_eq!(SpatialLora::from_bytes(&lora.to_bytes(), &linears()).unwrap(), lora);
        }

        #[test]
        fn no_damage_makes_loading_panic(at in 0_usize..2000, byte: u8, keep in 0_usize..4000) {
            let mut bytes = made_up(&[(TO_Q, 6, 4, 2, 1.0)]).to_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = SpatialLora::from_bytes(&bytes, &linears());
            let _ = SpatialLora::from_bytes(&bytes[..keep.min(bytes.len())], &linears());
        }
    }

    #[test]
    fn layers_are_found_by_every_kind_of_name() {
        let block = "mid_block.attentions.0.transformer_blocks.0";
        for (down, up) in [
            (
                format!("unet.{TO_Q}.lora_A.weight"),
                format!("unet.{TO_Q}.lora_B.weight"),
            ),
            (
                format!("{TO_Q}.lora.down.weight"),
                format!("{TO_Q}.lora.up.weight"),
            ),
            (
                format!("unet.{block}.attn1.processor.to_q_lora.down.weight"),
                format!("{block}.attn1.processor.to_q_lora.up.weight"),
            ),
            (
                format!("lora_unet_{}.lora_down.weight", TO_Q.replace('.', "_")),
                format!("lora_unet_{}.lora_up.weight", TO_Q.replace('.', "_")),
            ),
        ] {
            let bytes = file(&pair(&down, &up), None);
            let lora = SpatialLora::from_bytes(&bytes, &linears()).unwrap();
            let expected = LowRank::new(2, 2.0, vec![0.5; 12], vec![0.25; 8]);
            assert_eq!(
                lora.layers,
                BTreeMap::from([(TO_Q.to_string(), expected)]),
                "{down}"
            );
        }
        let name = format!("{block}.attn1.processor.to_out_lora.down.weight");
        assert_eq!(part_of(&name, &[]).unwrap().0, TO_OUT);
    }

    #[test]
    fn alpha_comes_from_a_tensor_or_the_settings_or_is_the_rank() {
        let alpha = |tensor: Option<f32>, settings: Option<&str>| {
            let (down, up) = (
                format!("unet.{TO_Q}.lora_A.weight"),
                format!("unet.{TO_Q}.lora_B.weight"),
            );
            let name = format!("unet.{TO_Q}.alpha");
            let mut tensors = pair(&down, &up).to_vec();
            tensors.extend(tensor.map(|alpha| (name.as_str(), &[][..], vec![alpha])));
            let lora = SpatialLora::from_bytes(&file(&tensors, settings), &linears());
            lora.map(|lora| lora.layers[TO_Q].alpha())
        };
        assert_eq!(alpha(None, None), Ok(2.0));
        assert_eq!(alpha(Some(8.0), None), Ok(8.0));
        assert_eq!(alpha(None, Some(r#"{"unet.lora_alpha": 3}"#)), Ok(3.0));
        assert_eq!(alpha(Some(8.0), Some(r#"{"unet.lora_alpha": 3}"#)), Ok(8.0));
        let pattern =
            r#"{"unet.lora_alpha": 3, "unet.alpha_pattern": {"attn1.to_q": 5, "to_out.0": 7}}"#;
        assert_eq!(alpha(None, Some(pattern)), Ok(5.0));
        let stabilized = r#"{"unet.lora_alpha": 4, "unet.use_rslora": true}"#;
        assert_eq!(alpha(None, Some(stabilized)), Ok(4.0 * 2.0_f32.sqrt()));
        assert!(
            alpha(None, Some(r#"{"unet.lora_alpha": 1e300}"#))
                .unwrap_err()
                .contains("alpha of")
        );
        assert!(
            alpha(None, Some("["))
                .unwrap_err()
                .contains(ADAPTER_METADATA)
        );
        assert!(
            alpha(Some(f32::NAN), None)
                .unwrap_err()
                .contains("not finite")
        );
        let dora = alpha(None, Some(r#"{"unet.use_dora": true}"#));
        assert!(dora.unwrap_err().contains("expected a plain LoRA"));
    }

    #[test]
    fn what_is_no_lora_of_spatial_transformers_is_refused_with_the_reason() {
        let names = [
            format!("unet.{TO_Q}.lora_A.weight"),
            format!("unet.{TO_Q}.lora_B.weight"),
        ];
        let [down, up] = names.each_ref().map(String::as_str);
        let ones = |count| vec![1.0; count];
        let refusal = |tensors: &[(&str, &[usize], Vec<f32>)]| {
            SpatialLora::from_bytes(&file(tensors, None), &linears()).unwrap_err()
        };
        type Tensors<'a> = Vec<(&'a str, &'a [usize], Vec<f32>)>;
        let wide = [[MAX_RANK + 1, 6], [4, MAX_RANK + 1]];
        let temporal = "unet.mid_block.temp_attentions.0.proj_in.lora_A.weight";
        let temporal_up = "unet.mid_block.temp_attentions.0.proj_in.lora_B.weight";
        let text = "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight";
        let cases: [(&str, Tensors); 12] = [
            ("it holds no tensors", vec![]),
            (
                "`mid_block.temp_attentions.0.proj_in` is no linear layer",
                pair(temporal, temporal_up).to_vec(),
            ),
            ("has no matrix B", vec![(text, &[2, 6], ones(12))]),
            (
                "`conv_in.weight` is no part of a LoRA",
                vec![("conv_in.weight", &[2], ones(2))],
            ),
            (
                "`lora_unet_conv_in.lora_up.weight` is no part",
                vec![("lora_unet_conv_in.lora_up.weight", &[2, 2], ones(4))],
            ),
            ("has no matrix B (up)", vec![(down, &[2, 6], ones(12))]),
            ("has no matrix A (down)", vec![(up, &[4, 2], ones(8))]),
            (
                "is of rank 2 and",
                vec![(down, &[2, 6], ones(12)), (up, &[4, 3], ones(12))],
            ),
            (
                "is for 5 channels in and 4 out, the layer has 6 and 4",
                vec![(down, &[2, 5], ones(10)), (up, &[4, 2], ones(8))],
            ),
            (
                "is of rank 1025, expected at most 1024",
                vec![
                    (down, &wide[0], ones(wide[0].iter().product())),
                    (up, &wide[1], ones(wide[1].iter().product())),
                ],
            ),
            (
                "expected that of a matrix",
                vec![(down, &[12], ones(12)), (up, &[4, 2], ones(8))],
            ),
            (
                "not finite",
                vec![
                    (down, &[2, 6], vec![f32::INFINITY; 12]),
                    (up, &[4, 2], ones(8)),
                ],
            ),
        ];
        for (expected, tensors) in cases {
            let reason = refusal(&tensors);
            assert!(reason.contains(expected), "{reason}");
        }
        let older = format!("{TO_Q}.lora.down.weight");
        let mut twice = pair(down, up).to_vec();
        twice.push((&older, &[2, 6], ones(12)));
        assert!(refusal(&twice).contains("are the same matrix"));
        let reason = SpatialLora::from_bytes(b"not a file", &linears()).unwrap_err();
        assert!(reason.contains("no safetensors file"), "{reason}");
    }

    #[test]
    fn a_matrix_may_be_written_as_a_convolution_of_one_pixel() {
        let (down, up) = (
            format!("{TO_Q}.lora_A.weight"),
            format!("{TO_Q}.lora_B.weight"),
        );
        let tensors: [(&str, &[usize], Vec<f32>); 2] = [
            (&down, &[2, 6, 1, 1], vec![0.5; 12]),
            (&up, &[4, 2, 1, 1], vec![0.25; 8]),
        ];
        SpatialLora::from_bytes(&file(&tensors, None), &linears()).unwrap();
    }
}
