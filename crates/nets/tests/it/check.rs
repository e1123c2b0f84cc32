//! Checking the files of networks without loading them, and weights under the names of their variants.

use std::path::{Path, PathBuf};

use kinvert_nets::check::{check_network, network_class};
use kinvert_nets::{Device, Error, ModelFiles, weight_files};

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn built_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../world/assets/model")
}

/// A copy of the built-in autoencoder.
fn autoencoder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", WEIGHTS] {
        std::fs::copy(built_in().join("vae").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn device() -> Device {
    "cpu".parse().unwrap()
}

#[test]
fn networks_that_belong_together_pass() {
    for (part, class) in [
        ("unet", "UNet3DConditionModel"),
        ("vae", "AutoencoderKL"),
        ("text_encoder", "CLIPTextModel"),
        ("clip", "CLIPModel"),
    ] {
        let files = ModelFiles::folder(built_in().join(part));
        assert_eq!(network_class(&files).unwrap().as_deref(), Some(class));
        assert!(check_network(&files, device()).unwrap(), "{part}");
    }
}

#[test]
fn weights_that_do_not_fit_are_told_as_loading_tells_them() {
    let folder = autoencoder();
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("48,", "72,")).unwrap();
    let error = check_network(&ModelFiles::folder(folder.path()), device()).unwrap_err();
    let Error::Weights { faults, .. } = &error else {
        panic!("{error}")
    };
    assert!(!faults.misshapen.is_empty(), "{error}");
}

#[test]
fn a_class_that_cannot_be_checked_is_said() {
    let folder = autoencoder();
    let files = ModelFiles::folder(folder.path());
    let config = folder.path().join("config.json");
    std::fs::write(&config, r#"{"_class_name": "Other"}"#).unwrap();
    assert!(!check_network(&files, device()).unwrap());
    std::fs::write(&config, "[").unwrap();
    assert!(check_network(&files, device()).is_err());
}

#[test]
fn a_variant_is_taken_where_nothing_else_is_there() {
    let folder = autoencoder();
    let files = ModelFiles::folder(folder.path());
    let variant = "diffusion_pytorch_model.fp16.safetensors";
    let copy = folder.path().join(variant);
    std::fs::rename(folder.path().join(WEIGHTS), &copy).unwrap();
    let found = || weight_files(&files, "diffusion_pytorch_model").unwrap();
    assert_eq!(found(), [variant]);
    assert!(check_network(&files, device()).unwrap());
    std::fs::copy(&copy, folder.path().join(WEIGHTS)).unwrap();
    assert_eq!(found(), [WEIGHTS]);
}
