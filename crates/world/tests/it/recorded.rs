//! The clip that the fixtures were recorded from, rendered from its parameters.
//!
//! The parameters were fitted to the recording and turned out to be round: the path's x runs from −0.6 to 0.6,
//! y = 0.5 − 0.95 |sin 2πt|, and the size is 9.5 pixels. The recording was computed in f32.

use image::RgbImage;
use kinvert_testkit::{Recording, Tolerance, assert_close};
use kinvert_world::track::{centroid_path, end_point_error_px, path_correlation, recognise};
use kinvert_world::{Look, Path, SIZE, Scene};

fn recording() -> Recording {
    Recording::open("sprites/golden/networks.safetensors")
}

fn scene() -> Scene {
    Scene {
        look: Look::parse("a red circle on a gray background").expect("a caption"),
        path: Path::Bounce {
            from_x: -0.6,
            to_x: 0.6,
            height: 0.95,
            jumps: 2,
        },
        radius_px: [9.5, 9.5],
        pan_px: [0.0; 2],
    }
}

#[test]
fn the_path_of_the_recorded_clip_is_met() {
    let path: Vec<f32> = scene()
        .centre_path()
        .into_iter()
        .flatten()
        .map(|v| v as f32)
        .collect();
    // Largest difference found: 4e-6 pixels, the rounding of f32 near 64.
    let tolerance = Tolerance::Absolute(2e-5);
    assert_close(
        "centre_px",
        &path,
        &recording().f32s("centre_px"),
        tolerance,
    );
}

#[test]
fn the_frames_of_the_recorded_clip_are_met_to_one_level() {
    let frames: Vec<f32> = scene()
        .render()
        .iter()
        .flat_map(|frame| frame.as_raw().iter().map(|v| f32::from(*v)))
        .collect();
    let expected = recording().f32s("frames_u8");
    assert_close("frames_u8", &frames, &expected, Tolerance::Absolute(1.0));
    // Only a value that f32 and f64 round to different sides may differ at all; none was seen to.
    let differing = frames.iter().zip(&expected).filter(|(a, b)| a != b).count();
    assert!(differing <= 20, "{differing} values differ by one level");
}

#[test]
fn the_sprite_is_found_in_what_the_models_decoder_made_of_the_clip() {
    let decoded: Vec<u8> = recording()
        .f32s("vae_decode")
        .into_iter()
        .map(|value| (value * 255.0).round() as u8)
        .collect();
    let frames: Vec<RgbImage> = decoded
        .chunks((SIZE * SIZE * 3) as usize)
        .map(|frame| RgbImage::from_raw(SIZE, SIZE, frame.to_vec()).unwrap())
        .collect();
    assert_eq!(recognise(&frames), scene().look);
    let truth = scene().centre_path();
    for look in [Some(scene().look), None] {
        let found = centroid_path(&frames, look);
        let error = end_point_error_px(&truth, &found).unwrap();
        println!("decoded, {look:?}: {error:.3} px");
        assert!(error < 1.0, "{look:?}: {error}");
        assert!(path_correlation(&truth, &found) > 0.99);
    }
}
