//! What passes are said to cost against PyTorch's own count of the published networks, `published/work.json`.

use kinvert_nets::autoencoder_kl::AutoencoderKLConfig;
use kinvert_nets::clip::CLIPTextConfig;
use kinvert_nets::cost::{Flops, PassSize};
use kinvert_nets::video_unet::Stage;
use kinvert_nets::{ModelFiles, VideoUNetConfig};
use kinvert_testkit::fixtures_dir;
use serde_json::Value;

fn recorded(network: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixtures_dir().join("published/work.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all[network].as_array().unwrap().clone()
}

fn published(model: &str, part: &str) -> ModelFiles {
    ModelFiles::folder(fixtures_dir().join("published").join(model)).part(part)
}

fn sizes(of: &Value) -> Vec<usize> {
    let sizes = of.as_array().unwrap().iter();
    sizes.map(|size| size.as_u64().unwrap() as usize).collect()
}

fn expect(flops: Flops, of: &Value) {
    let recorded = &of["flops"];
    for (kind, found) in [
        ("convolution", flops.convolution),
        ("matrix_product", flops.linear),
        ("attention", flops.attention),
    ] {
        assert_eq!(
            found,
            recorded[kind].as_u64().unwrap_or(0),
            "{kind} of {of}"
        );
    }
}

fn zeroscope() -> VideoUNetConfig {
    VideoUNetConfig::read(&published("text-to-video-ms-1.7b", "unet")).unwrap()
}

#[test]
fn operations_of_the_3d_unet_are_those_that_pytorch_counts() {
    for run in recorded("unet3d") {
        let (latents, text) = (sizes(&run["latents"]), sizes(&run["encoder_hidden_states"]));
        let [batch, _, frames, height, width] = latents[..] else {
            panic!("{run}")
        };
        let size = PassSize {
            batch,
            frames,
            latent_size: [height, width],
            text_tokens: text[1],
        };
        let mut flops = zeroscope().cost(size).flops();
        // The reference projects the text of a clip once for every frame, we once; its time embedding has a row for
        // every clip, ours one for all.
        let widths = [320, 320, 640, 640, 1280, 1280, 1280]; // on the way down and in the middle
        let wide: u64 = widths.iter().sum::<u64>() + 3 * (320 + 640 + 1280);
        flops.linear += 2 * wide * (2 * 77 * 1024) * (batch * (frames - 1)) as u64;
        flops.linear += 2 * (320 * 1280 + 1280 * 1280) * (batch as u64 - 1);
        expect(flops, &run);
    }
}

#[test]
fn operations_of_animatediff_are_those_that_pytorch_counts() {
    for version in [2, 3] {
        let unet = published("stable-diffusion-v1-5", "unet");
        let adapter = format!("published/animatediff-motion-adapter-v1-5-{version}");
        let adapter = ModelFiles::folder(fixtures_dir().join(adapter));
        let config = VideoUNetConfig::read_with(&unet, Some(&adapter)).unwrap();
        for run in recorded(&format!("unet_motion_v1-5-{version}")) {
            let latents = sizes(&run["latents"]);
            let [batch, _, frames, height, width] = latents[..] else {
                panic!("{run}")
            };
            let size = PassSize {
                batch,
                frames,
                latent_size: [height, width],
                text_tokens: 77,
            };
            let mut flops = config.cost(size).flops();
            // As for the 3-D U-Net; the reference is given the text of a clip once for every frame.
            let widths = [320, 320, 640, 640, 1280, 1280, 1280];
            let wide: u64 = widths.iter().sum::<u64>() + 3 * (320 + 640 + 1280);
            flops.linear += 2 * wide * (2 * 77 * 768) * (batch * (frames - 1)) as u64;
            flops.linear += 2 * (320 * 1280 + 1280 * 1280) * (batch as u64 - 1);
            // Stable Diffusion's projections around attentions are 1×1 convolutions, matrices here.
            let projections = projections_of_spatial_transformers(&size);
            flops.linear -= projections;
            flops.convolution += projections;
            expect(flops, &run);
        }
    }
}

/// Operations of `proj_in` and `proj_out` of Stable Diffusion's spatial transformers.
fn projections_of_spatial_transformers(size: &PassSize) -> u64 {
    let images = (size.batch * size.frames) as u64;
    let pixels = |level: u32| {
        let side = |side: usize| side.div_ceil(1 << level) as u64;
        side(size.latent_size[0]) * side(size.latent_size[1])
    };
    let layers = [(320, 0, 5), (640, 1, 5), (1280, 2, 5), (1280, 3, 1)]; // width, level, how many
    let operations = layers.map(|(width, level, count): (u64, u32, u64)| {
        count * 2 * 2 * width * width * pixels(level) * images
    });
    operations.iter().sum()
}

#[test]
fn operations_of_the_autoencoder_are_those_that_pytorch_counts() {
    let config: AutoencoderKLConfig = published("text-to-video-ms-1.7b", "vae")
        .json("config.json")
        .unwrap();
    expect(
        config.encode_cost(1, [320, 576]).flops,
        &recorded("vae.encode")[0],
    );
    expect(
        config.decode_cost(1, [320, 576]).flops,
        &recorded("vae.decode")[0],
    );
}

#[test]
fn operations_of_text_encoders_are_those_that_pytorch_counts() {
    for (model, network) in [
        ("text-to-video-ms-1.7b", "text_encoder_vit_h"),
        ("stable-diffusion-v1-5", "text_encoder_vit_l"),
    ] {
        let config: CLIPTextConfig = published(model, "text_encoder")
            .json("config.json")
            .unwrap();
        expect(config.encode_cost().flops, &recorded(network)[0]);
    }
}

#[test]
fn memory_grows_with_the_clip_and_recomputing_takes_less() {
    let cost = |frames| {
        zeroscope().cost(PassSize {
            batch: 1,
            frames,
            latent_size: [40, 72],
            text_tokens: 77,
        })
    };
    let first = Stage::Down { block: 2, layer: 0 };
    let (short, long) = (cost(12), cost(24));
    for peak in [
        |cost: &kinvert_nets::cost::PassCost, _| cost.forward_peak(),
        |cost: &kinvert_nets::cost::PassCost, first| cost.peak_if_kept(first),
        |cost: &kinvert_nets::cost::PassCost, first| cost.peak_if_recomputed(first),
    ] {
        assert_eq!(peak(&long, first), 2 * peak(&short, first));
    }
    assert!(long.forward_peak() < long.peak_if_recomputed(first));
    assert!(2 * long.peak_if_recomputed(first) < long.peak_if_kept(first));
    assert!(long.peak_if_kept(first) < long.peak_if_kept(Stage::Input));
    assert!(long.backward_flops(first).total() < long.backward_flops(Stage::Input).total());
}
