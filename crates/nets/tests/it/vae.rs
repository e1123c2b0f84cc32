//! The autoencoder against recordings of the reference library, on clips, and on files that do not fit.
//!
//! Tolerances are those of the fixtures' READMEs: 2e-5 for the small network, where the reference's own
//! float32 noise is 4e-6, and 1e-4 of the largest value for the sprites model.

use std::num::NonZeroUsize;

use burn::tensor::{Distribution, Tensor};
use burn_flex::Flex;
use kinvert_nets::autoencoder_kl::Slices;
use kinvert_nets::{AutoencoderKL, AutoencoderKLConfig, Error, ModelFiles, Precision};
use kinvert_testkit::{Recording, Tolerance, first_sprites_model, fixtures_dir, values};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

type B = Flex;

const SMALL: Tolerance = Tolerance::Absolute(2e-5);
const SPRITES: Tolerance = Tolerance::OfLargest(1e-4);

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn load_small() -> AutoencoderKL<B> {
    let files = ModelFiles::folder(fixtures_dir().join("parity/autoencoder_kl"));
    AutoencoderKL::load(&files, &Default::default(), Precision::F32).unwrap()
}

fn load_sprites() -> AutoencoderKL<B> {
    let files = ModelFiles::folder(first_sprites_model()).part("vae");
    AutoencoderKL::load(&files, &Default::default(), Precision::F32).unwrap()
}

fn slices_of(frames: usize) -> Slices {
    Slices::of(NonZeroUsize::new(frames).unwrap())
}

#[test]
fn agrees_with_the_reference() {
    let recording = Recording::open("parity/autoencoder_kl/io.safetensors");
    let device = Default::default();
    let vae = load_small();

    let posterior = vae.encode(recording.tensor("image", &device));
    recording.expect("mean", posterior.mean.clone(), SMALL);
    recording.expect("logvar", posterior.logvar.clone(), SMALL);
    let moments = Tensor::cat(vec![posterior.mean.clone(), posterior.logvar.clone()], 1);
    recording.expect("moments", moments, SMALL);
    let sample = posterior.sample(recording.tensor("posterior_noise", &device));
    recording.expect("sample", sample, SMALL);

    let images = vae.decode(recording.tensor("latents", &device));
    recording.expect("decode", images, SMALL);
}

#[test]
fn the_sprites_model_encodes_and_decodes_as_recorded() {
    let recording = Recording::open("sprites/golden/networks.safetensors");
    let device = Default::default();
    let vae = load_sprites();
    let slice_size = slices_of(4);

    let frames: Tensor<B, 4> = recording.tensor("frames_u8", &device); // [N, H, W, C] in 0..255
    let clip = frames.permute([3, 0, 1, 2]).unsqueeze::<5>() / 127.5 - 1.0; // [1, C, N, H, W]
    let mut told = Vec::new();
    let latents = vae.encode_clip(clip, slice_size, &mut |done, total| {
        told.push((done, total));
    });
    assert_eq!(told, [(4, 16), (8, 16), (12, 16), (16, 16)]);
    recording.expect("latents", latents, SPRITES);

    let latents = recording.tensor("latents", &device);
    let clip = vae.decode_clip(latents, slice_size, &mut |_, _| {});
    let frames = clip.squeeze_dim::<4>(0).permute([1, 2, 3, 0]); // [N, H, W, C] in -1..1
    recording.expect("vae_decode", (frames / 2.0 + 0.5).clamp(0.0, 1.0), SPRITES);
}

#[test]
fn slices_of_any_size_give_the_same_clip() {
    let device = Default::default();
    let vae = load_small();
    let clip = Tensor::<B, 5>::random([2, 3, 5, 32, 24], Distribution::Uniform(-1.0, 1.0), &device);
    let whole = vae.encode_frames(clip.clone(), slices_of(10), &mut |_, _| {});
    assert_eq!(whole.mean.dims(), [2, 4, 5, 4, 3]);
    let decoded = vae.decode_frames(whole.mean.clone(), slices_of(10), &mut |_, _| {});
    assert_eq!(decoded.dims(), clip.dims());

    for slice_size in [1, 3, 5, 99] {
        let slice_size = slices_of(slice_size);
        let sliced = vae.encode_frames(clip.clone(), slice_size, &mut |_, _| {});
        assert_eq!(values(sliced.mean), values(whole.mean.clone()));
        assert_eq!(values(sliced.logvar), values(whole.logvar.clone()));
        let sliced = vae.decode_frames(whole.mean.clone(), slice_size, &mut |_, _| {});
        assert_eq!(values(sliced), values(decoded.clone()));
    }
}

#[test]
fn tiles_agree_with_those_of_the_reference() {
    let recording = Recording::open("parity/autoencoder_kl/tiled.safetensors");
    let device = Default::default();
    let vae = load_small();
    let slices = Slices {
        tile: NonZeroUsize::new(8),
        ..slices_of(1)
    };
    let clip = |name: &str| -> Tensor<B, 5> {
        let image: Tensor<B, 4> = recording.tensor(name, &device);
        image.unsqueeze_dim(2) // [1, C, 1, H, W]
    };
    let encoded = vae.encode_frames(clip("image"), slices, &mut |_, _| {});
    recording.expect("mean", encoded.mean.squeeze_dim::<4>(2), SMALL);
    let decoded = vae.decode_frames(clip("latents"), slices, &mut |_, _| {});
    recording.expect("decode", decoded.squeeze_dim::<4>(2), SMALL);
}

#[test]
fn frames_of_a_clip_do_not_mix() {
    let device = Default::default();
    let vae = load_small();
    let clip = Tensor::<B, 5>::random([2, 3, 3, 16, 8], Distribution::Uniform(-1.0, 1.0), &device);
    let latents = vae.encode_clip(clip.clone(), slices_of(2), &mut |_, _| {});
    for (item, frame) in [(0, 1), (1, 2)] {
        let image = clip
            .clone()
            .narrow(0, item, 1)
            .narrow(2, frame, 1)
            .squeeze_dim::<4>(2);
        let alone = vae.encode(image).mean * vae.scaling_factor();
        let in_clip = latents.clone().narrow(0, item, 1).narrow(2, frame, 1);
        assert_eq!(values(in_clip), values(alone));
    }
}

#[test]
fn only_multiples_of_the_compression_have_latents() {
    let vae = load_small();
    assert_eq!(vae.spatial_compression(), 8);
    assert_eq!(vae.latent_channels(), 4);
    assert_eq!(vae.latent_size([64, 48]), Some([8, 6]));
    for refused in [[60, 48], [64, 47], [0, 48], [4, 4]] {
        assert_eq!(vae.latent_size(refused), None, "{refused:?}");
    }
}

#[test]
#[should_panic(
    expected = "images of 64×44 pixels cannot be encoded, expected positive multiples of 8"
)]
fn an_image_that_would_be_cut_is_refused() {
    load_small().encode(Tensor::zeros([1, 3, 64, 44], &Default::default()));
}

/// A model folder with the small network's files after `edit_config` and `edit_weights`.
fn load_edited(
    edit_config: impl FnOnce(&mut serde_json::Value),
    edit_weights: impl Fn(&str, TensorView<'_>) -> Option<(String, Vec<usize>)>,
) -> Result<AutoencoderKL<B>, Error> {
    let source = fixtures_dir().join("parity/autoencoder_kl");
    let folder = tempfile::tempdir().unwrap();

    let config = std::fs::read(source.join(CONFIG)).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    edit_config(&mut config);
    std::fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();

    let bytes = std::fs::read(source.join(WEIGHTS)).unwrap();
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    let edited = weights.iter().filter_map(|(name, view)| {
        let (dtype, data) = (view.dtype(), view.data());
        let (name, shape) = edit_weights(name, view)?;
        Some((name, TensorView::new(dtype, shape, data).unwrap()))
    });
    safetensors::serialize_to_file(edited, None, &folder.path().join(WEIGHTS)).unwrap();

    AutoencoderKL::load(
        &ModelFiles::folder(folder.path()),
        &Default::default(),
        Precision::F32,
    )
}

fn as_it_is(name: &str, view: TensorView<'_>) -> Option<(String, Vec<usize>)> {
    Some((name.to_string(), view.shape().to_vec()))
}

fn with_old_name(name: &str) -> String {
    name.replace(".to_q.", ".query.")
        .replace(".to_k.", ".key.")
        .replace(".to_v.", ".value.")
        .replace(".to_out.0.", ".proj_attn.")
}

#[test]
fn checkpoints_with_the_old_names_load_identically() {
    let old = load_edited(
        |_| {},
        |name, view| Some((with_old_name(name), view.shape().to_vec())),
    )
    .unwrap();
    let latents = Recording::open("parity/autoencoder_kl/io.safetensors")
        .tensor("latents", &Default::default());
    let expected = load_small().decode(Tensor::clone(&latents));
    assert_eq!(values(old.decode(latents)), values(expected));
}

#[test]
fn every_tensor_that_does_not_fit_is_listed() {
    let edit = |name: &str, view: TensorView<'_>| match name {
        "decoder.conv_in.bias" => None,
        "encoder.conv_in.weight" => Some((name.to_string(), vec![8, 27])),
        "encoder.mid_block.attentions.0.to_q.bias" => Some(("encoder.extra".into(), vec![24])),
        // Old and new names together: the old ones are not silently preferred.
        "decoder.mid_block.attentions.0.to_k.bias" => {
            Some((with_old_name(name), view.shape().to_vec()))
        }
        _ => as_it_is(name, view),
    };
    let Err(Error::Weights { faults, .. }) = load_edited(|_| {}, edit) else {
        panic!("weights that do not fit were accepted")
    };
    assert_eq!(
        faults.missing,
        [
            "encoder.mid_block.attentions.0.to_q.bias",
            "decoder.conv_in.bias",
            "decoder.mid_block.attentions.0.to_k.bias",
        ]
    );
    assert_eq!(
        faults.unused,
        ["decoder.mid_block.attentions.0.key.bias", "encoder.extra"]
    );
    let misshapen = (
        "encoder.conv_in.weight".to_string(),
        vec![8, 27],
        vec![8, 3, 3, 3],
    );
    assert_eq!(faults.misshapen, [misshapen]);
}

#[test]
fn a_configuration_for_other_weights_is_refused() {
    let result = load_edited(
        |config| config["mid_block_add_attention"] = false.into(),
        as_it_is,
    );
    let Err(Error::Weights { faults, .. }) = result else {
        panic!("a network without attention accepted the attention's weights")
    };
    assert_eq!(faults.unused.len(), 2 * 10, "{faults}");
    assert!(faults.missing.is_empty() && faults.misshapen.is_empty());
}

#[test]
fn unsupported_configurations_are_refused_by_field() {
    let many = serde_json::json!(vec!["DownEncoderBlock2D"; 9]);
    let check = |field: &str, value: serde_json::Value, expected_field: &str| match load_edited(
        |config| config[field] = value.clone(),
        as_it_is,
    ) {
        Err(Error::Config { path, field, .. }) => {
            assert!(path.ends_with("config.json"), "{path}");
            assert_eq!(field, expected_field, "{value}");
        }
        Err(other) => panic!("{field} = {value}: {other}"),
        Ok(_) => panic!("{field} = {value} was accepted"),
    };
    for (field, value) in [
        ("_class_name", serde_json::json!("AutoencoderTiny")),
        ("act_fn", serde_json::json!("mish")),
        (
            "block_out_channels",
            serde_json::json!([8, 16, 16, 1_000_000_000]),
        ),
        ("block_out_channels", serde_json::json!([0, 16, 16, 24])),
        (
            "down_block_types",
            serde_json::json!(["AttnDownEncoderBlock2D", "b", "c", "d"]),
        ),
        (
            "down_block_types",
            serde_json::json!(["DownEncoderBlock2D"]),
        ),
        (
            "up_block_types",
            serde_json::json!(["AttnUpDecoderBlock2D", "b", "c", "d"]),
        ),
        ("in_channels", serde_json::json!(0)),
        ("out_channels", serde_json::json!(1_000_000_000)),
        ("latent_channels", serde_json::json!(0)),
        ("layers_per_block", serde_json::json!(1_000_000_000)),
        ("norm_num_groups", serde_json::json!(0)),
        ("norm_num_groups", serde_json::json!(5)),
        ("scaling_factor", serde_json::json!(0.0)),
        ("shift_factor", serde_json::json!(0.1159)),
        ("latents_mean", serde_json::json!([0.0, 0.0, 0.0, 0.0])),
        ("latents_std", serde_json::json!([1.0, 1.0, 1.0, 1.0])),
        ("scaling_factors", serde_json::json!([1.0])),
    ] {
        check(field, value, field);
    }
    check(
        "block_out_channels",
        serde_json::json!(vec![8; 9]),
        "block_out_channels.length",
    );
    check(
        "block_out_channels",
        serde_json::json!([]),
        "block_out_channels.length",
    );
    check("down_block_types", many, "down_block_types");
}

#[test]
fn a_field_of_the_wrong_type_is_refused() {
    for value in [
        serde_json::json!(-1),
        serde_json::json!("four"),
        serde_json::json!(1e30),
    ] {
        let result = load_edited(|config| config["latent_channels"] = value.clone(), as_it_is);
        assert!(matches!(result, Err(Error::Json { .. })), "{value}");
    }
}

#[test]
fn absent_fields_have_the_published_defaults() {
    let config: AutoencoderKLConfig = serde_json::from_str(
        r#"{ "block_out_channels": [128, 256, 512, 512], "_diffusers_version": "0.2.2", "latents_mean": null,
             "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
             "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
             "layers_per_block": 2, "sample_size": 512 }"#,
    )
    .unwrap();
    config.validate("config.json").unwrap();
    assert_eq!(config.scaling_factor, 0.18215);
    assert_eq!(config.norm_num_groups, 32);
    assert!(config.use_quant_conv && config.use_post_quant_conv && config.mid_block_add_attention);
    // Building it draws no weights yet.
    let vae = config.init::<B>(&Default::default());
    assert_eq!(vae.spatial_compression(), 8);
}

#[test]
fn missing_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = ModelFiles::folder(folder.path());
    let load = || AutoencoderKL::<B>::load(&files, &Default::default(), Precision::F32);
    assert!(matches!(load(), Err(Error::Missing { path }) if path.ends_with(CONFIG)));
    std::fs::write(folder.path().join(CONFIG), "{\"block_out_channels\": [32]}").unwrap();
    assert!(matches!(load(), Err(Error::Missing { path }) if path.ends_with(WEIGHTS)));
}
