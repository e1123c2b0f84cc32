//! CLIP against recordings of the reference library, and against damaged files.
//!
//! The fixtures' README accepts 1e-5 for states and embeddings and 1e-3 for logits, whose scale is about a
//! hundred; on the CPU backend the largest drift seen is 3e-6 and 8e-6. The sprites model's recordings are held
//! to 1e-4 of the largest value, as their README says; 6e-7 was seen.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use kinvert_nets::clip::{CLIPTextConfig, cosine_similarities};
use kinvert_nets::{
    CLIPConfig, CLIPModel, CLIPTextModel, CLIPTokenizer, Error, ImagePreprocessor, ModelFiles,
    Precision,
};
use kinvert_testkit::{Recording, Tolerance, first_sprites_model, fixtures_dir, values};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

type B = Flex;

const STATE: Tolerance = Tolerance::Absolute(1e-5);
const LOGIT: Tolerance = Tolerance::Absolute(1e-3);
const SPRITES: Tolerance = Tolerance::OfLargest(1e-4);

fn fixture(name: &str) -> ModelFiles {
    ModelFiles::folder(fixtures_dir().join("parity").join(name))
}

fn sprites(part: &str) -> ModelFiles {
    ModelFiles::folder(first_sprites_model()).part(part)
}

fn load_text(files: &ModelFiles) -> Result<CLIPTextModel<B>, Error> {
    CLIPTextModel::load(files, &Default::default(), Precision::F32)
}

fn load_full(files: &ModelFiles) -> Result<CLIPModel<B>, Error> {
    CLIPModel::load(files, &Default::default())
}

fn batch(rows: &[Vec<i64>]) -> Tensor<B, 2, Int> {
    let flat = rows.concat();
    Tensor::<B, 1, Int>::from_data(flat.as_slice(), &Default::default())
        .reshape([rows.len(), flat.len() / rows.len()])
}

/// Compares a text encoder with the recording that belongs to `name`.
fn expect_recorded_text(model: &CLIPTextModel<B>, name: &str) {
    let recording = Recording::open(&format!("parity/{name}/io.safetensors"));
    let input_ids = recording.ints("input_ids", &Default::default());
    let mut observed = 0;
    let output = model.forward_observed(input_ids, |index, state| {
        recording.expect(&format!("hidden_states.{index}"), state.clone(), STATE);
        observed += 1;
    });
    assert_eq!(observed, 3, "the embedded tokens and two layers");
    recording.expect("last_hidden_state", output.last_hidden_state, STATE);
    recording.expect("pooler_output", output.pooler_output, STATE);
}

#[test]
fn text_states_agree_with_the_reference() {
    for name in ["clip_text", "clip_text_gelu"] {
        expect_recorded_text(&load_text(&fixture(name)).unwrap(), name);
    }
}

#[test]
fn text_weights_load_without_their_prefix_and_with_the_buffer_of_old_exports() {
    let mut checkpoint = Checkpoint::open("clip_text");
    checkpoint.tensors = std::mem::take(&mut checkpoint.tensors)
        .into_iter()
        .map(|(name, tensor)| (name.replace("text_model.", ""), tensor))
        .collect();
    let buffer = (Dtype::I64, vec![1, 77], vec![0; 77 * 8]);
    checkpoint
        .tensors
        .insert("embeddings.position_ids".into(), buffer);
    let folder = checkpoint.save();
    expect_recorded_text(&load_text(&files(&folder)).unwrap(), "clip_text");
}

#[test]
fn legacy_configurations_pool_at_the_highest_id() {
    let mut checkpoint = Checkpoint::open("clip_text");
    checkpoint.config["eos_token_id"] = json!(2);
    let folder = checkpoint.save();
    expect_recorded_text(&load_text(&files(&folder)).unwrap(), "clip_text");
}

#[test]
fn pooling_takes_the_first_end_token_and_else_the_first_token() {
    let model = load_text(&fixture("clip_text")).unwrap();
    let rows = [vec![998, 5, 999, 999, 7], vec![998, 5, 6, 7, 8]];
    let output = model.forward(batch(&rows));
    let states = values(output.last_hidden_state);
    let pooled = values(output.pooler_output);
    assert_eq!(pooled[..32], states[2 * 32..3 * 32]);
    assert_eq!(pooled[32..], states[5 * 32..6 * 32]);
}

#[test]
fn tokens_do_not_see_what_follows() {
    let model = load_text(&fixture("clip_text")).unwrap();
    let short = values(model.forward(batch(&[vec![998, 1, 2]])).last_hidden_state);
    let long = values(
        model
            .forward(batch(&[vec![998, 1, 2, 3, 999]]))
            .last_hidden_state,
    );
    kinvert_testkit::assert_close("prefix", &long[..3 * 32], &short, STATE);
}

#[test]
fn a_configuration_without_optional_fields_has_the_published_defaults() {
    let defaults: CLIPTextConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(defaults, CLIPTextConfig::default());
    assert_eq!(
        (defaults.hidden_act.as_str(), defaults.layer_norm_eps),
        ("quick_gelu", 1e-5)
    );
    let full: CLIPConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(full.vision_config.hidden_act, "quick_gelu");
}

/// Counts the weights of a network without making them.
#[derive(Default)]
struct CountWeights(usize);

impl ModuleVisitor<B> for CountWeights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0 += param.lazy_shape().num_elements();
    }
}

#[test]
fn published_configurations_give_networks_of_the_published_size() {
    // openai/clip-vit-base-patch32, -base-patch16 and -large-patch14, with the numbers of weights that their
    // pages on the hub state.
    for (text, vision, projection_dim, expected) in [
        (
            json!({"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "num_hidden_layers": 12}),
            json!({"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12,
                   "patch_size": 32, "image_size": 224}),
            512,
            151_277_313,
        ),
        (
            json!({"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "num_hidden_layers": 12}),
            json!({"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12,
                   "patch_size": 16, "image_size": 224}),
            512,
            149_620_737,
        ),
        (
            json!({"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}),
            json!({"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24,
                   "patch_size": 14, "image_size": 224}),
            768,
            427_616_513,
        ),
    ] {
        let config =
            json!({"text_config": text, "vision_config": vision, "projection_dim": projection_dim});
        let config: CLIPConfig = serde_json::from_value(config).unwrap();
        let network: CLIPModel<B> = config.init("config.json", &Default::default()).unwrap();
        let mut weights = CountWeights(1); // the scale of the logits
        network.visit(&mut weights);
        assert_eq!(weights.0, expected);
    }
}

#[test]
fn full_model_agrees_with_the_reference() {
    let recording = Recording::open("parity/clip_full/io.safetensors");
    let device = Default::default();
    let model = load_full(&fixture("clip_full")).unwrap();
    let pixel_values: Tensor<B, 4> = recording.tensor("pixel_values", &device);
    let input_ids = recording.ints("input_ids", &device);

    let vision = model.vision_output(pixel_values.clone());
    recording.expect("vision_last_hidden_state", vision.last_hidden_state, STATE);
    recording.expect("vision_pooler_output", vision.pooler_output, STATE);
    let text = model.text_output(input_ids.clone());
    recording.expect("text_pooler_output", text.pooler_output, STATE);

    let image_embeds = model.image_embeds(pixel_values);
    let text_embeds = model.text_embeds(input_ids);
    recording.expect("image_embeds", image_embeds.clone(), STATE);
    recording.expect("text_embeds", text_embeds.clone(), STATE);
    let logits = model.logits_per_image(image_embeds, text_embeds);
    recording.expect("logits_per_image", logits, LOGIT);
}

#[test]
fn sprites_text_encoder_agrees_with_its_recording() {
    let recording = Recording::open("sprites/golden/networks.safetensors");
    let model = load_text(&sprites("text_encoder")).unwrap();
    let tokenizer = CLIPTokenizer::load(&sprites("tokenizer")).unwrap();
    tokenizer.check_fits(model.config()).unwrap();
    let prompts = [
        ("caption", "a red circle on a gray background"),
        ("prompt", "a yellow star on a striped background"),
        ("empty", ""),
    ];
    for (name, prompt) in prompts {
        let encoding = tokenizer.encode(prompt);
        assert_eq!(
            encoding.ids,
            recording.i64s(&format!("ids_{name}")),
            "{prompt}"
        );
        assert_eq!(encoding.truncated, None);
        let output = model.forward(batch(&[encoding.ids]));
        recording.expect(&format!("text_{name}"), output.last_hidden_state, SPRITES);
    }
}

#[test]
fn sprites_clip_agrees_with_its_recording() {
    let device = Default::default();
    let recording = Recording::open("sprites/golden/clip.safetensors");
    let networks = Recording::open("sprites/golden/networks.safetensors");
    let model = load_full(&sprites("clip")).unwrap();
    let preprocessor = ImagePreprocessor::load(&sprites("clip")).unwrap();
    preprocessor.check_fits(model.vision_config()).unwrap();

    let frames: Vec<u8> = networks
        .i64s("frames_u8")
        .iter()
        .map(|v| *v as u8)
        .collect();
    let pixel_values: Tensor<B, 4> = preprocessor.pixel_values(&frames, 64, 64, &device);
    // Two float operations per value, of size up to 3.
    recording.expect(
        "pixel_values",
        pixel_values.clone(),
        Tolerance::Absolute(1e-6),
    );
    let images = frames
        .chunks_exact(64 * 64 * 3)
        .flat_map(|frame| (0..3).flat_map(|channel| frame.iter().skip(channel).step_by(3)))
        .map(|level| f32::from(*level) / 255.0)
        .collect::<Vec<f32>>();
    let images = TensorData::new(images, [frames.len() / (64 * 64 * 3), 3, 64, 64]);
    let images = Tensor::<B, 4>::from_data(images, &device);
    let tolerance = Tolerance::Absolute(1e-6);
    recording.expect("pixel_values", preprocessor.normalize(images), tolerance);
    let image_embeds = model.image_embeds(pixel_values);
    recording.expect("image_embeds", image_embeds.clone(), SPRITES);

    let ids = [networks.i64s("ids_caption"), networks.i64s("ids_prompt")];
    let text_embeds = model.text_embeds(batch(&ids));
    recording.expect("text_embeds", text_embeds.clone(), SPRITES);
    let cosine = cosine_similarities(image_embeds, text_embeds);
    recording.expect("cosine", cosine, SPRITES);
}

#[test]
fn frames_of_another_size_are_resized_as_pillow_does() {
    let recording = Recording::open("parity/image_resize/io.safetensors");
    let image: Vec<u8> = recording
        .i64s("image_120x91")
        .iter()
        .map(|v| *v as u8)
        .collect();
    let preprocessor =
        preprocessor(json!({"size": {"shortest_edge": 64}, "crop_size": 64})).unwrap();
    let pixel_values: Tensor<B, 4> =
        preprocessor.pixel_values(&image, 120, 91, &Default::default());
    // Well below one grey level, which is 1.4e-2: every level is exact.
    let expected = recording.f32s("clip_preprocess_64_pil");
    let tolerance = Tolerance::Absolute(1e-5);
    kinvert_testkit::assert_close("pixels", &values(pixel_values), &expected, tolerance);
}

#[test]
fn frames_of_any_shape_give_the_same_shape() {
    let preprocessor = preprocessor(json!({"size": 8, "crop_size": 6})).unwrap();
    for (height, width) in [
        (1, 1),
        (1, 500),
        (500, 1),
        (7, 8),
        (8, 8),
        (6, 6),
        (301, 200),
    ] {
        let frames = vec![200; 2 * height * width * 3];
        let pixel_values: Tensor<B, 4> =
            preprocessor.pixel_values(&frames, height, width, &Default::default());
        assert_eq!(pixel_values.dims(), [2, 3, 6, 6]);
        // A flat image stays flat.
        for (index, value) in values(pixel_values).into_iter().enumerate() {
            let channel = index / 36 % 3;
            let mean = [0.48145466, 0.4578275, 0.40821073][channel];
            let std = [0.26862954, 0.2613026, 0.2757771][channel];
            let expected: f32 = (200.0 / 255.0 - mean) / std;
            assert!((value - expected).abs() < 1e-6, "{height}x{width}: {value}");
        }
    }
}

#[test]
fn unsupported_preprocessing_is_refused_by_field() {
    let refused = [
        (json!({"resample": 2}), "resample"),
        (json!({"do_resize": false}), "do_resize"),
        (json!({"do_normalize": false}), "do_normalize"),
        (
            json!({"crop_size": {"height": 224, "width": 200}}),
            "crop_size",
        ),
        (json!({"crop_size": 225}), "crop_size"),
        (json!({"size": 0}), "size"),
        (json!({"rescale_factor": 1}), "rescale_factor"),
        (json!({"image_std": [0.2, 0.0, 0.2]}), "image_std"),
    ];
    for (config, field) in refused {
        let error = preprocessor(config.clone()).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{config}: {error}");
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
    }
    let malformed = preprocessor(json!({"size": {"height": 224, "width": 224}}));
    assert!(
        matches!(malformed, Err(Error::Json { .. })),
        "{malformed:?}"
    );
    let vision_config = load_full(&fixture("clip_full"))
        .unwrap()
        .vision_config()
        .clone();
    let error = preprocessor(json!({}))
        .unwrap()
        .check_fits(&vision_config)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`crop_size` is 224, expected 64"),
        "{error}"
    );
}

#[test]
fn unsupported_configurations_are_refused_by_field() {
    let refused = [
        ("hidden_act", json!("relu")),
        ("hidden_act", json!("gelu_new")),
        ("num_attention_heads", json!(3)),
        ("num_attention_heads", json!(0)),
        ("num_hidden_layers", json!(1_000_000_000)),
        ("hidden_size", json!(0)),
        ("intermediate_size", json!(u64::MAX)),
        ("vocab_size", json!(0)),
        ("max_position_embeddings", json!(u32::MAX)),
        ("layer_norm_eps", json!(0.0)),
    ];
    for (field, value) in refused {
        let mut text = Checkpoint::open("clip_text");
        text.config[field] = value.clone();
        let error = load_text(&files(&text.save())).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{field}: {error}");
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");

        let mut full = Checkpoint::open("clip_full");
        full.config["text_config"][field] = value;
        let error = load_full(&files(&full.save())).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("`text_config.{field}`")),
            "{error}"
        );
    }
    let refused = [
        ("hidden_act", json!("relu")),
        ("num_channels", json!(1)),
        ("patch_size", json!(0)),
        ("patch_size", json!(65)),
        ("image_size", json!(1_000_000)),
    ];
    for (field, value) in refused {
        let mut full = Checkpoint::open("clip_full");
        full.config["vision_config"][field] = value;
        let error = load_full(&files(&full.save())).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("`vision_config.{field}`")),
            "{error}"
        );
    }
    let mut negative = Checkpoint::open("clip_text");
    negative.config["hidden_size"] = json!(-32);
    let error = load_text(&files(&negative.save())).unwrap_err();
    assert!(matches!(error, Error::Json { .. }), "{error}");
}

#[test]
fn every_fault_of_the_weights_is_listed() {
    let norm = "text_model.final_layer_norm.weight";
    let bias = "text_model.final_layer_norm.bias";
    let fc1 = "text_model.encoder.layers.0.mlp.fc1.weight";
    let fc2 = "text_model.encoder.layers.1.mlp.fc2.bias";
    let tokens = "text_model.embeddings.token_embedding.weight";
    let mut checkpoint = Checkpoint::open("clip_text");
    checkpoint.tensors.remove(norm);
    let stray = (Dtype::F32, vec![1], vec![0; 4]);
    checkpoint.tensors.insert("text_model.stray".into(), stray);
    checkpoint.tensors.get_mut(fc1).unwrap().1 = vec![32, 128]; // transposed
    checkpoint.tensors.get_mut(bias).unwrap().2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let integers = (Dtype::I64, vec![32], vec![0; 32 * 8]);
    checkpoint.tensors.insert(fc2.into(), integers);
    checkpoint.config["vocab_size"] = json!(1001);

    let error = load_text(&files(&checkpoint.save())).unwrap_err();
    assert!(error.hint().is_some());
    let Error::Weights { faults, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(faults.missing, [norm]);
    assert_eq!(faults.unused, ["text_model.stray"]);
    let misshapen: Vec<&str> = faults
        .misshapen
        .iter()
        .map(|(name, ..)| name.as_str())
        .collect();
    assert_eq!(misshapen, [tokens, fc1]);
    let unusable: Vec<&str> = faults
        .unusable
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(unusable, [fc2, bias]);
    assert!(
        faults.unusable[0].1.contains("I64"),
        "{}",
        faults.unusable[0].1
    );
    assert!(
        faults.unusable[1].1.contains("NaN"),
        "{}",
        faults.unusable[1].1
    );
}

#[test]
fn the_scale_of_logits_is_one_finite_number() {
    let refused = [
        (
            (Dtype::F32, vec![1], vec![0; 4]),
            "logit_scale is [1], expected []",
        ),
        ((Dtype::I64, vec![], vec![0; 8]), "I64"),
        (
            (Dtype::F32, vec![], f32::NAN.to_le_bytes().to_vec()),
            "finite",
        ),
    ];
    for (tensor, expected) in refused {
        let mut checkpoint = Checkpoint::open("clip_full");
        checkpoint.tensors.insert("logit_scale".into(), tensor);
        let error = load_full(&files(&checkpoint.save())).unwrap_err();
        assert!(matches!(error, Error::Weights { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut checkpoint = Checkpoint::open("clip_full");
    checkpoint.tensors.remove("logit_scale");
    let error = load_full(&files(&checkpoint.save())).unwrap_err();
    assert!(
        error.to_string().contains("1 missing (logit_scale)"),
        "{error}"
    );
}

#[test]
fn weights_in_shards_load_as_one() {
    let checkpoint = Checkpoint::open("clip_full");
    let folder = checkpoint.save();
    let [first, second] = ["model-1.safetensors", "model-2.safetensors"];
    let (mut vision, mut others) = (BTreeMap::new(), BTreeMap::new());
    let mut weight_map = serde_json::Map::new();
    for (name, tensor) in &checkpoint.tensors {
        let is_vision = name.starts_with("vision_model.");
        let (part, file) = if is_vision {
            (&mut vision, first)
        } else {
            (&mut others, second)
        };
        part.insert(name.clone(), tensor.clone());
        weight_map.insert(name.clone(), json!(file));
    }
    for (file, tensors) in [(first, vision), (second, others)] {
        std::fs::write(folder.path().join(file), serialize(&tensors)).unwrap();
    }
    let index = json!({"weight_map": weight_map}).to_string();
    std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();

    let whole = load_full(&fixture("clip_full")).unwrap();
    let sharded = load_full(&files(&folder)).unwrap();
    let logits = |model: &CLIPModel<B>| {
        let embeds = model.text_embeds(batch(&[vec![998, 4, 999]]));
        values(model.logits_per_image(embeds.clone(), embeds))
    };
    assert_eq!(logits(&sharded), logits(&whole));
}

#[test]
fn damaged_weight_files_are_errors() {
    let folder = Checkpoint::open("clip_text").save();
    let path = folder.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let mut huge_header = whole.clone();
    huge_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    for damaged in [
        &whole[..whole.len() - 1],
        &whole[..100],
        &whole[..4],
        b"",
        &huge_header,
    ] {
        std::fs::write(&path, damaged).unwrap();
        let error = load_text(&files(&folder)).unwrap_err();
        assert!(
            matches!(error, Error::Safetensors { .. }),
            "{} bytes: {error}",
            damaged.len()
        );
        assert!(error.hint().is_some());
    }
    std::fs::remove_file(&path).unwrap();
    let error = load_text(&files(&folder)).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(matches!(
        load_full(&files(&folder)),
        Err(Error::Missing { .. })
    ));
}

/// Named tensors: dtype, shape and bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A model folder that a test can change before it is saved elsewhere.
struct Checkpoint {
    config: Value,
    tensors: Tensors,
}

impl Checkpoint {
    fn open(name: &str) -> Self {
        let folder = fixtures_dir().join("parity").join(name);
        let config = std::fs::read(folder.join("config.json")).unwrap();
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let parsed = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = parsed.iter().map(|(name, view)| {
            let tensor = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name.to_string(), tensor)
        });
        Self {
            config: serde_json::from_slice(&config).unwrap(),
            tensors: tensors.collect(),
        }
    }

    fn save(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let weights = serialize(&self.tensors);
        std::fs::write(folder.path().join("model.safetensors"), weights).unwrap();
        let config = self.config.to_string();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        folder
    }
}

fn serialize(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name, view)
    });
    safetensors::serialize(views, None).unwrap()
}

fn files(folder: &TempDir) -> ModelFiles {
    ModelFiles::folder(folder.path())
}

fn preprocessor(config: Value) -> Result<ImagePreprocessor, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("preprocessor_config.json");
    std::fs::write(path, config.to_string()).unwrap();
    ImagePreprocessor::load(&files(&folder))
}
