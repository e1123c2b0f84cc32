//! Which files of a model this program reads. Everything else in a repository (pictures, checkpoints of other
//! programs, checkers of pictures, feature extractors) is left where it is.

use kinvert_nets::check::network_class;
use kinvert_nets::weight_names::{WeightNames, weight_names};
use kinvert_nets::weights::shard_names;
use kinvert_nets::{ModelFiles, ModelKind};

/// Parts of a pipeline that hold a network: folder, stem of the weights, and whether a pipeline must have it.
const NETWORKS: [(&str, &str, bool); 4] = [
    ("unet", "diffusion_pytorch_model", true),
    ("vae", "diffusion_pytorch_model", true),
    ("text_encoder", "model", true),
    ("motion_adapter", "diffusion_pytorch_model", false),
];

/// Stems of the weights of a network that stands alone: of diffusers' networks, and of transformers'.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

const CONFIG: &str = "config.json";
const SCHEDULER: &str = "scheduler/scheduler_config.json";

/// Settings of the whole model that are read where they are there.
const OPTIONAL: [&str; 2] = ["kinvert.json", "preprocessor_config.json"];

const TOKENIZER: [&str; 5] = [
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// The files of a model that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Small files: configurations, vocabularies, and indices of shards.
    pub settings: Vec<String>,
    /// The weights of each network.
    pub weights: Vec<NetworkWeights>,
}

/// The weights of one network of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkWeights {
    /// The network's folder in the model; empty for a network that stands alone.
    pub part: String,
    /// The names under which they are published.
    pub names: WeightNames,
    /// Whether they are in shards, which the index names.
    pub in_shards: bool,
}

impl NetworkWeights {
    /// The paths of the files, as far as they can be known: the index of shards must be in `files`.
    ///
    /// # Errors
    /// If the index cannot be read, or names files elsewhere.
    pub fn paths(&self, files: &ModelFiles) -> Result<Vec<String>, kinvert_nets::Error> {
        let names = match self.in_shards {
            false => vec![self.names.whole.clone()],
            true => {
                let files = match self.part.as_str() {
                    "" => files.clone(),
                    part => files.part(part),
                };
                shard_names(&files, &self.names.index, self.names.extension)?
            }
        };
        Ok(names.iter().map(|name| below(&self.part, name)).collect())
    }
}

impl Needed {
    /// The files that are needed of a model that has the files of which `has` is true; of weights those in safetensors
    /// before those of PyTorch, and of a `variant` before the plain ones if one is asked for. A repository with a
    /// `model_index.json` is a pipeline, any other a single network.
    ///
    /// # Errors
    /// The files that the model would have to have.
    pub fn of(has: impl Fn(&str) -> bool, variant: Option<&str>) -> Result<Self, Vec<String>> {
        let mut search = Search {
            has: &has,
            variant,
            found: Self {
                settings: Vec::new(),
                weights: Vec::new(),
            },
            missing: Vec::new(),
        };
        for name in OPTIONAL {
            search.take(name);
        }
        if search.take(ModelKind::Pipeline.marker()) {
            search.require(SCHEDULER);
            search.take_tokenizer("tokenizer");
            if !has("tokenizer/tokenizer.json") {
                let pair = ["tokenizer/vocab.json", "tokenizer/merges.txt"];
                let absent = pair.into_iter().filter(|path| !has(path));
                search.missing.extend(absent.map(String::from));
            }
            for (part, stem, is_required) in NETWORKS {
                if is_required || has(&below(part, CONFIG)) {
                    search.require_network(part, &[stem]);
                }
            }
        } else {
            search.take_tokenizer("");
            search.require_network("", &STEMS);
        }
        match search.missing.is_empty() {
            true => Ok(search.found),
            false => Err(search.missing),
        }
    }
}

/// The files that a model on the disk lacks. Weights of any variant will do.
pub fn missing(files: &ModelFiles) -> Vec<String> {
    let needed = match Needed::of(|path| files.contains(path), None) {
        Ok(needed) => needed,
        Err(missing) => return missing,
    };
    let mut missing = Vec::new();
    for weights in &needed.weights {
        match weights.paths(files) {
            Ok(paths) => missing.extend(paths.into_iter().filter(|path| !files.contains(path))),
            Err(_) => missing.push(below(&weights.part, &weights.names.index)), // damaged, or names nothing
        }
    }
    missing
}

/// What a model on the disk is, if it is something that this program may use: a pipeline with a network of the kind
/// `unet`, a motion adapter, or a CLIP.
pub fn kind_of(files: &ModelFiles) -> Option<ModelKind> {
    if files.contains(ModelKind::Pipeline.marker()) {
        let index: serde_json::Value = files.json(ModelKind::Pipeline.marker()).ok()?;
        return index.get("unet").map(|_| ModelKind::Pipeline);
    }
    match network_class(files).ok()??.as_str() {
        "MotionAdapter" | "CLIPModel" => Some(ModelKind::Network),
        _ => None,
    }
}

/// The networks of a model on the disk: their folders, empty for a network that stands alone.
pub fn networks(files: &ModelFiles) -> Vec<&'static str> {
    let parts = NETWORKS.map(|(part, ..)| part);
    let parts = std::iter::once("").chain(parts);
    parts
        .filter(|part| files.contains(&below(part, CONFIG)))
        .collect()
}

fn below(part: &str, name: &str) -> String {
    match part {
        "" => name.into(),
        part => format!("{part}/{name}"),
    }
}

struct Search<'a> {
    has: &'a dyn Fn(&str) -> bool,
    variant: Option<&'a str>,
    found: Needed,
    missing: Vec<String>,
}

impl Search<'_> {
    /// Takes a small file if it is there.
    fn take(&mut self, path: &str) -> bool {
        let is_there = (self.has)(path);
        if is_there {
            self.found.settings.push(path.into());
        }
        is_there
    }

    fn require(&mut self, path: &str) {
        if !self.take(path) {
            self.missing.push(path.into());
        }
    }

    fn take_tokenizer(&mut self, part: &str) {
        for name in TOKENIZER {
            self.take(&below(part, name));
        }
    }

    fn require_network(&mut self, part: &str, stems: &[&str]) {
        self.require(&below(part, CONFIG));
        let mut names: Vec<WeightNames> =
            stems.iter().flat_map(|stem| weight_names(stem)).collect();
        names.sort_by_key(|names| (names.variant != self.variant, names.variant.is_some()));
        let first = names.first().map(|names| below(part, &names.whole));
        for names in names {
            let in_shards = !(self.has)(&below(part, &names.whole));
            if !in_shards || self.take(&below(part, &names.index)) {
                self.found.weights.push(NetworkWeights {
                    part: part.into(),
                    names,
                    in_shards,
                });
                return;
            }
        }
        self.missing.extend(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: [&str; 6] = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
    ];

    /// The settings and the weights that are needed of these files and a pipeline's settings.
    fn needed(files: &[&str], variant: Option<&str>) -> (Vec<String>, Vec<String>) {
        let has = |path: &str| PIPELINE.contains(&path) || files.contains(&path);
        let needed = Needed::of(has, variant).unwrap();
        let weights = needed
            .weights
            .iter()
            .map(|weights| match weights.in_shards {
                true => format!("{}/{} …", weights.part, weights.names.index),
                false => format!("{}/{}", weights.part, weights.names.whole),
            });
        (needed.settings, weights.collect())
    }

    #[test]
    fn the_best_weights_of_each_network_are_taken_and_nothing_else() {
        let (settings, weights) = needed(
            &[
                "README.md",
                "v1-5.ckpt",
                "feature_extractor/preprocessor_config.json",
                "safety_checker/model.safetensors",
                "unet/diffusion_pytorch_model.bin",
                "unet/diffusion_pytorch_model.fp16.safetensors",
                "unet/diffusion_pytorch_model.safetensors",
                "vae/diffusion_pytorch_model.bin",
                "vae/diffusion_pytorch_model.fp16.safetensors",
                "text_encoder/model.safetensors.index.json",
                "text_encoder/pytorch_model.bin",
                "text_encoder/flax_model.msgpack",
            ],
            None,
        );
        assert_eq!(
            weights,
            [
                "unet/diffusion_pytorch_model.safetensors",
                "vae/diffusion_pytorch_model.bin",
                "text_encoder/model.safetensors.index.json …"
            ]
        );
        let mut expected: Vec<&str> = PIPELINE.to_vec();
        expected.push("text_encoder/model.safetensors.index.json");
        expected.sort_unstable();
        let mut settings = settings;
        settings.sort_unstable();
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_variant_is_taken_where_it_is_asked_for_or_nothing_else_is_there() {
        let files = [
            "unet/diffusion_pytorch_model.fp16.bin",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.fp16.safetensors",
            "text_encoder/pytorch_model.bin",
        ];
        assert_eq!(
            needed(&files, Some("fp16")).1,
            [
                "unet/diffusion_pytorch_model.fp16.safetensors",
                "vae/diffusion_pytorch_model.fp16.safetensors",
                "text_encoder/pytorch_model.bin"
            ]
        );
        assert_eq!(
            needed(&files, None).1[..2],
            [
                "unet/diffusion_pytorch_model.safetensors",
                "vae/diffusion_pytorch_model.fp16.safetensors"
            ]
        );
    }

    #[test]
    fn networks_that_stand_alone_are_adapters_and_clips() {
        let of = |files: &[&str]| Needed::of(|path| files.contains(&path), None).unwrap();
        let adapter = of(&[
            "config.json",
            "diffusion_pytorch_model.fp16.safetensors",
            "x.png",
        ]);
        assert_eq!(adapter.settings, ["config.json"]);
        assert_eq!(adapter.weights[0].names.variant, Some("fp16"));
        let clip = of(&[
            "config.json",
            "preprocessor_config.json",
            "vocab.json",
            "merges.txt",
            "pytorch_model.bin",
            "tf_model.h5",
        ]);
        assert_eq!(clip.settings.len(), 4);
        assert_eq!(clip.weights[0].names.whole, "pytorch_model.bin");
    }

    #[test]
    fn what_a_model_would_need_is_said() {
        let missing = Needed::of(|path| path == "model_index.json", None).unwrap_err();
        assert!(missing.contains(&"scheduler/scheduler_config.json".into()));
        assert!(missing.contains(&"unet/diffusion_pytorch_model.safetensors".into()));
        let missing = Needed::of(|_| false, None).unwrap_err();
        assert_eq!(missing[0], "config.json");
    }

    #[test]
    fn the_built_in_model_lacks_nothing() {
        let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../world/assets/model");
        let files = ModelFiles::folder(&assets);
        assert_eq!(missing(&files), [""; 0]);
        assert_eq!(kind_of(&files), Some(ModelKind::Pipeline));
        assert_eq!(networks(&files), ["unet", "vae", "text_encoder"]);
        let clip = files.part("clip");
        assert_eq!(missing(&clip), [""; 0]);
        assert_eq!(kind_of(&clip), Some(ModelKind::Network));
    }
}
