//! Clips to test with, and measures.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use kinvert_video::{Clip, ReadOptions, read_clip};
use mp4_atom::{Atom, Encode, Moov};
use safetensors::SafeTensors;

/// A file of `tests/fixtures/` of this crate.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A file of the workspace.
pub fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// The exact frames of `examples/bounce.mp4`: 16 frames of 64×64 pixels, a saturated disc on grey.
pub fn sprite() -> Clip {
    let bytes = std::fs::read(workspace(
        "tests/fixtures/sprites/golden/networks.safetensors",
    ))
    .unwrap();
    let recording = SafeTensors::deserialize(&bytes).unwrap();
    let frames = recording.tensor("frames_u8").unwrap();
    assert_eq!(frames.shape(), [16, 64, 64, 3]);
    let image = |bytes: &[u8]| RgbImage::from_raw(64, 64, bytes.to_vec()).unwrap();
    Clip::new(
        frames.data().chunks_exact(64 * 64 * 3).map(image).collect(),
        8.0,
    )
    .unwrap()
}

/// A smooth clip in which every frame has another mean.
pub fn ramp(width: u32, height: u32, frames: usize, fps: f64) -> Clip {
    let frame = |i: usize| {
        RgbImage::from_fn(width, height, |x, y| {
            let level = |value: u32| (40 + value * 100 / 64).min(200) as u8;
            Rgb([level(x), level(y), 60 + (i * 97 % 120) as u8])
        })
    };
    Clip::new((0..frames).map(frame).collect(), fps).unwrap()
}

pub fn read(path: &Path) -> Clip {
    read_clip(path, &ReadOptions::default()).unwrap()
}

/// Peak signal-to-noise ratio in decibels.
pub fn psnr(found: &RgbImage, expected: &RgbImage) -> f64 {
    assert_eq!(found.dimensions(), expected.dimensions());
    let square = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b)).powi(2);
    let sum: f64 = found
        .as_raw()
        .iter()
        .zip(expected.as_raw())
        .map(square)
        .sum();
    10.0 * (255.0 * 255.0 * found.as_raw().len() as f64 / sum).log10()
}

/// Mean over frames of the PSNR, and the worst.
pub fn mean_and_worst_psnr(found: &Clip, expected: &Clip) -> (f64, f64) {
    assert_eq!(found.len(), expected.len());
    let values: Vec<f64> = found
        .frames()
        .iter()
        .zip(expected.frames())
        .map(|(a, b)| psnr(a, b))
        .collect();
    (
        values.iter().sum::<f64>() / values.len() as f64,
        values.into_iter().fold(f64::INFINITY, f64::min),
    )
}

/// Kind, start and end of the boxes at the top level of an MP4 file.
pub fn boxes(file: &[u8]) -> Vec<([u8; 4], usize, usize)> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < file.len() {
        let size = u32::from_be_bytes(file[start..start + 4].try_into().unwrap()) as usize;
        found.push((
            file[start + 4..start + 8].try_into().unwrap(),
            start,
            start + size,
        ));
        start += size;
    }
    found
}

/// An MP4 file with another index: the old one becomes free space, so that all offsets stay, and the new one
/// goes to the end.
pub fn with_index(file: &[u8], change: impl FnOnce(&mut Moov)) -> Vec<u8> {
    let (_, start, end) = boxes(file)
        .into_iter()
        .find(|(kind, ..)| kind == b"moov")
        .unwrap();
    let mut index = Moov::decode_body(&mut &file[start + 8..end]).unwrap();
    change(&mut index);
    let mut changed = file.to_vec();
    changed[start + 4..start + 8].copy_from_slice(b"free");
    index.encode(&mut changed).unwrap();
    changed
}
