//! The networks of the published base models, without their weights: configurations are accepted, and every tensor
//! that a network reads has the name and shape that the reference library gives it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use burn_flex::Flex;
use kinvert_nets::{
    AutoencoderKL, AutoencoderKLConfig, CLIPTextConfig, CLIPTextModel, ModelFiles, Precision,
    SitePart, VideoUNet, VideoUNetConfig,
};
use kinvert_testkit::fixtures_dir;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type B = Flex;

type Tensors = BTreeSet<(String, Vec<usize>)>;

/// Folders of the networks' configurations that share an architecture.
const VIDEO_UNETS: [&str; 2] = ["text-to-video-ms-1.7b/unet", "zeroscope_v2_576w/unet"];
const VAES: [&str; 3] = [
    "text-to-video-ms-1.7b/vae",
    "zeroscope_v2_576w/vae",
    "stable-diffusion-v1-5/vae",
];

fn published(path: &str) -> PathBuf {
    fixtures_dir().join("published").join(path)
}

fn config<T: DeserializeOwned>(folder: &str) -> T {
    let text = std::fs::read_to_string(published(folder).join("config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The recorded tensors: a name and a shape per line.
fn recorded(network: &str) -> Tensors {
    let path = published(&format!("tensors/{network}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let tensor = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap().to_string();
        (name, words.map(|side| side.parse().unwrap()).collect())
    };
    text.lines().map(tensor).collect()
}

/// Checks that a network reads exactly the recorded tensors, and how many parameters they are.
#[track_caller]
fn expect_tensors(found: Vec<(String, Vec<usize>)>, recorded: &Tensors, parameters: usize) {
    let number = found.len();
    let found: Tensors = found.into_iter().collect();
    assert_eq!(found.len(), number, "no tensor is named twice");
    let missing: Vec<_> = recorded.difference(&found).take(5).collect();
    let unknown: Vec<_> = found.difference(recorded).take(5).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "the network does not read {missing:?}, and files do not hold {unknown:?}"
    );
    let elements = |(_, shape): &(String, Vec<usize>)| shape.iter().product::<usize>();
    assert_eq!(found.iter().map(elements).sum::<usize>(), parameters);
}

fn video_unet(folder: &str) -> (VideoUNetConfig, VideoUNet<B>) {
    let config = VideoUNetConfig::read(&ModelFiles::folder(published(folder))).unwrap();
    let network = config.init(&Default::default());
    (config, network)
}

#[test]
fn video_unets_read_what_is_published() {
    let recorded = recorded("unet3d");
    for folder in VIDEO_UNETS {
        let (_, network) = video_unet(folder);
        expect_tensors(network.expected_tensors(), &recorded, 1_411_233_860);
    }
}

#[test]
fn videocrafter_reads_what_is_published_but_for_the_frame_rate() {
    let mut recorded = recorded("unet3d_videocrafter2");
    let published = recorded.len();
    recorded.retain(|(name, _)| !name.starts_with("fps_embedding."));
    assert_eq!(published - recorded.len(), 4);
    let (_, network) = video_unet("videocrafterv2_diffusers");
    expect_tensors(network.expected_tensors(), &recorded, 1_411_233_860);
}

#[test]
fn motion_adapters_and_stable_diffusion_read_what_is_published() {
    let unet = ModelFiles::folder(published("stable-diffusion-v1-5/unet"));
    for (version, numbers) in [(2, 1_312_730_244_usize), (3, 1_276_658_564)] {
        let adapter = format!("animatediff-motion-adapter-v1-5-{version}");
        let adapter = ModelFiles::folder(published(&adapter));
        let config = VideoUNetConfig::read_with(&unet, Some(&adapter)).unwrap();
        let found = config.init::<B>(&Default::default()).expected_tensors();
        // Convolutions of one place are matrices here, and positions are no parameters in the recording.
        let tensors = recorded(&format!("unet_motion_v1-5-{version}")).into_iter();
        let tensors = tensors.map(|(name, mut shape)| {
            let is_projection = name.contains(".attentions.") && name.contains(".proj_");
            if is_projection && shape.ends_with(&[1, 1]) {
                shape.truncate(2);
            }
            (name, shape)
        });
        let positions = config
            .sites()
            .iter()
            .map(|site| 32 * site.channels)
            .sum::<usize>();
        expect_tensors(found, &tensors.collect(), numbers + positions);
    }
}

#[test]
fn autoencoders_read_what_is_published() {
    let recorded = recorded("vae");
    for folder in VAES {
        let config: AutoencoderKLConfig = config(folder);
        config.validate(folder).unwrap();
        assert_eq!(config.scaling_factor, 0.18215);
        let network: AutoencoderKL<B> = config.init(&Default::default());
        assert_eq!(network.spatial_compression(), 8);
        expect_tensors(network.expected_tensors(), &recorded, 83_653_863);
    }
}

#[test]
fn text_encoders_read_what_is_published() {
    let networks = [
        ("text-to-video-ms-1.7b", "text_encoder_vit_h", 340_387_840),
        ("zeroscope_v2_576w", "text_encoder_vit_h", 340_387_840),
        ("stable-diffusion-v1-5", "text_encoder_vit_l", 123_060_480),
    ];
    for (model, network, parameters) in networks {
        let folder = format!("{model}/text_encoder");
        let config: CLIPTextConfig = config(&folder);
        let encoder: CLIPTextModel<B> = config.init(&folder, &Default::default()).unwrap();
        expect_tensors(encoder.expected_tensors(), &recorded(network), parameters);
    }
}

#[test]
fn the_sites_of_zeroscope_are_its_temporal_attentions() {
    let (config, network) = video_unet("zeroscope_v2_576w/unet");
    let sites = config.sites();
    let tensors: Tensors = network.expected_tensors().into_iter().collect();
    // Every block with temporal attentions, and its channels, by the tensors that files hold.
    let published: BTreeSet<_> = recorded("unet3d")
        .into_iter()
        .filter_map(|(name, shape)| {
            let block = name.strip_suffix(".attn1.to_q.weight")?;
            let is_temporal = block.contains("temp_attentions") || block.contains("transformer_in");
            is_temporal.then(|| (block.to_string(), shape[1]))
        })
        .collect();
    let found: BTreeSet<_> = sites
        .iter()
        .map(|site| (site.name.clone(), site.channels))
        .collect();
    assert_eq!(found, published);
    assert_eq!(sites.len(), 17);
    for site in &sites {
        let shape = vec![site.channels, site.channels];
        assert!(tensors.contains(&(format!("{}.attn2.to_v.weight", site.name), shape)));
    }
    // The method learns at those with 1280 channels on the way down and up.
    let wide: Vec<_> = sites
        .iter()
        .filter(|site| matches!(site.part, SitePart::Down | SitePart::Up) && site.channels == 1280)
        .map(|site| (site.name.as_str(), site.level))
        .collect();
    assert_eq!(
        wide,
        [
            ("down_blocks.2.temp_attentions.0.transformer_blocks.0", 2),
            ("down_blocks.2.temp_attentions.1.transformer_blocks.0", 2),
            ("up_blocks.1.temp_attentions.0.transformer_blocks.0", 2),
            ("up_blocks.1.temp_attentions.1.transformer_blocks.0", 2),
            ("up_blocks.1.temp_attentions.2.transformer_blocks.0", 2),
        ]
    );
}

#[test]
fn kinds_of_blocks_that_are_not_built_are_refused_by_field() {
    let refused = |folder: &str, field: &str, value: Value| {
        let mut config: Value = config(folder);
        config[field] = value;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let files = ModelFiles::folder(folder.path());
        let message = match config["_class_name"].as_str() {
            Some("AutoencoderKL") => {
                AutoencoderKL::<B>::load(&files, &Default::default(), Precision::F32)
                    .unwrap_err()
                    .to_string()
            }
            _ => VideoUNetConfig::read(&files).unwrap_err().to_string(),
        };
        assert!(message.contains(&format!("`{field}` is ")), "{message}");
    };
    let unet = VIDEO_UNETS[1];
    let down = json!([
        "CrossAttnDownBlock3D",
        "DownBlockP3D",
        "DownBlock3D",
        "DownBlock3D"
    ]);
    refused(unet, "down_block_types", down);
    let up = json!(["UpBlock3D", "UpBlock3D", "UpBlock3D", "CrossAttnUpBlock2D"]);
    refused(unet, "up_block_types", up);
    refused(
        unet,
        "_class_name",
        json!("UNetSpatioTemporalConditionModel"),
    );
    let down = json!(["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]);
    refused(VAES[1], "down_block_types", down);
    refused(VAES[1], "up_block_types", json!(["UpDecoderBlock2D"]));
}

#[test]
fn videocrafter_loads_and_other_networks_do_not_pass_over_an_embedding_of_the_frame_rate() {
    let small = fixtures_dir().join("parity/unet3d");
    let bytes = std::fs::read(small.join("diffusion_pytorch_model.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, TensorView<'_>)> = stored.tensors();
    let bias = [0; 32 * 4];
    for layer in ["linear_1", "linear_2"] {
        let view = TensorView::new(Dtype::F32, vec![32], &bias).unwrap();
        tensors.push((format!("fps_embedding.{layer}.bias"), view));
    }
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("diffusion_pytorch_model.safetensors");
    std::fs::write(weights, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let text = std::fs::read_to_string(small.join("config.json")).unwrap();
    let load = |class: &str| {
        let text = text.replace("UNet3DConditionModel", class);
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let files = ModelFiles::folder(folder.path());
        VideoUNet::<B>::load(&files, &Default::default(), Precision::F32)
    };
    load("UNet3DVideoCrafterConditionModel").unwrap();
    let message = load("UNet3DConditionModel").unwrap_err().to_string();
    assert!(message.contains("fps_embedding.linear_1.bias"), "{message}");
}
