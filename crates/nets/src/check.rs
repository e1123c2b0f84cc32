//! Whether the files of a network belong together, found out without loading it.

use serde::Deserialize;

use crate::autoencoder_kl::AutoencoderKL;
use crate::clip::{CLIPModel, CLIPTextModel};
use crate::device::{Device, OnDevice};
use crate::error::Error;
use crate::files::ModelFiles;
use crate::kernels::TrackingBackend;
use crate::unet3d::VIDEOCRAFTER_CLASS;
use crate::video_unet::VideoUNet;

/// The class that a network's `config.json` names: `_class_name` in diffusers' files, the first of `architectures` in
/// transformers' files. None if it names none.
///
/// # Errors
/// If the file is missing or no JSON.
pub fn network_class(files: &ModelFiles) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "_class_name")]
        class_name: Option<String>,
        #[serde(default)]
        architectures: Vec<String>,
    }
    let config: Config = files.json("config.json")?;
    Ok(config
        .class_name
        .or_else(|| config.architectures.into_iter().next()))
}

/// Checks that the weights in a network's folder fit its configuration: every tensor is there, none is left over, all
/// have the right shape. No value is read. False if the class of the network is none that can be checked.
///
/// # Errors
/// What loading the network would say, except of values.
pub fn check_network(files: &ModelFiles, device: Device) -> Result<bool, Error> {
    struct Check<'a>(&'a ModelFiles, &'a str);

    impl OnDevice for Check<'_> {
        type Output = Result<bool, Error>;

        fn run<B: TrackingBackend>(self, device: &B::Device) -> Self::Output {
            let Self(files, class) = self;
            match class {
                "UNet3DConditionModel" | "UNetMotionModel" | VIDEOCRAFTER_CLASS => {
                    VideoUNet::<B>::check(files, device)?
                }
                "AutoencoderKL" => AutoencoderKL::<B>::check(files, device)?,
                "CLIPTextModel" => CLIPTextModel::<B>::check(files, device)?,
                "CLIPModel" => CLIPModel::<B>::check(files, device)?,
                _ => return Ok(false),
            }
            Ok(true)
        }
    }

    match network_class(files)? {
        Some(class) => device.run(Check(files, &class)),
        None => Ok(false),
    }
}
