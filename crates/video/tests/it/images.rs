//! GIF, WebP, PNG and folders of images.

use std::fs;
use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use kinvert_video::{
    Clip, Error, FrameChoice, ReadOptions, contact_sheet, probe, probe_with, read_clip, write_gif,
    write_png,
};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::support::{mean_and_worst_psnr, ramp, read, sprite};

#[test]
fn a_sprite_gif_is_exact_and_loops() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    write_gif(&sprite(), &path).unwrap();
    assert_eq!(read(&path), sprite());
    let bytes = fs::read(&path).unwrap();
    let forever = b"NETSCAPE2.0\x03\x01\x00\x00\x00";
    assert!(bytes.windows(forever.len()).any(|window| window == forever));
    let info = probe(&path).unwrap();
    assert_eq!(
        (
            info.container.as_str(),
            info.frames,
            info.fps,
            info.variable_frame_rate
        ),
        ("GIF", 16, 8.0, false)
    );
}

#[test]
fn a_gif_of_many_colours_stays_close() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    let clip = ramp(64, 64, 4, 8.0);
    write_gif(&clip, &path).unwrap();
    // Over a thousand colours a frame; measured 39.8 dB.
    let (_, worst) = mean_and_worst_psnr(&read(&path), &clip);
    assert!(worst > 39.0, "{worst} dB");
}

#[test]
fn a_rate_beyond_gif_keeps_its_speed() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    write_gif(&ramp(8, 8, 100, 100.0), &path).unwrap();
    let info = probe(&path).unwrap();
    assert_eq!((info.frames, info.fps, info.duration_s), (50, 50.0, 1.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_gif_keeps_count_size_and_speed(
        width in 1_u32..40, height in 1_u32..40, frames in 1_usize..10, fps in 1.0_f64..50.0,
    ) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("clip.gif");
        let clip = ramp(width, height, frames, fps);
        write_gif(&clip, &path).unwrap();
        let back = read(&path);
        prop_assert_eq!((back.size(), back.len()), (clip.size(), clip.len()));
        // The duration is rounded to hundredths of a second.
        prop_assert!((back.duration_s() - clip.duration_s()).abs() < 0.0051);
    }
}

#[test]
fn transparent_gif_frames_build_on_each_other_over_white() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    let clear = Rgba([0; 4]);
    let frame = |colour, x| {
        let image = RgbaImage::from_fn(4, 4, |at, _| if at == x { colour } else { clear });
        Frame::from_parts(image, 0, 0, image::Delay::from_numer_denom_ms(100, 1))
    };
    let mut encoder = GifEncoder::new(fs::File::create(&path).unwrap());
    encoder
        .encode_frames([
            frame(Rgba([255, 0, 0, 255]), 0),
            frame(Rgba([0, 0, 255, 255]), 1),
        ])
        .unwrap();
    drop(encoder);
    let clip = read(&path);
    let row = |i: usize| [0, 1, 2].map(|x| clip.frames()[i].get_pixel(x, 0).0);
    assert_eq!(row(0), [[255, 0, 0], [255; 3], [255; 3]]);
    assert_eq!(row(1)[1..], [[0, 0, 255], [255; 3]]);
}

/// An APNG of three frames of one colour each, shown for half a second.
fn apng() -> Vec<u8> {
    fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
        file.extend((data.len() as u32).to_be_bytes());
        let start = file.len();
        file.extend(kind);
        file.extend(data);
        let crc = file[start..].iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                if crc & 1 == 1 {
                    crc >> 1 ^ 0xedb8_8320
                } else {
                    crc >> 1
                }
            })
        });
        file.extend((!crc).to_be_bytes());
    }
    /// The compressed pixels of a still image.
    fn pixels(level: u8) -> (Vec<u8>, Vec<u8>) {
        let mut png = Cursor::new(Vec::new());
        DynamicImage::from(RgbImage::from_pixel(4, 2, Rgb([level; 3])))
            .write_to(&mut png, ImageFormat::Png)
            .unwrap();
        let png = png.into_inner();
        let data = png.windows(4).position(|window| window == b"IDAT").unwrap();
        let length = u32::from_be_bytes(png[data - 4..data].try_into().unwrap()) as usize;
        (
            png[..33].to_vec(),
            png[data + 4..data + 4 + length].to_vec(),
        )
    }
    let control = |sequence: u32| {
        let numbers = [sequence, 4, 2, 0, 0].map(u32::to_be_bytes).concat();
        [&numbers[..], &[0, 1, 0, 2, 0, 0]].concat() // for 1/2 second
    };
    let (mut file, first) = pixels(10);
    chunk(&mut file, b"acTL", &[0, 0, 0, 3, 0, 0, 0, 0]);
    chunk(&mut file, b"fcTL", &control(0));
    chunk(&mut file, b"IDAT", &first);
    for (i, level) in [(0_u32, 20), (1, 30)] {
        chunk(&mut file, b"fcTL", &control(1 + 2 * i));
        let data = [&(2 + 2 * i).to_be_bytes()[..], &pixels(level).1].concat();
        chunk(&mut file, b"fdAT", &data);
    }
    chunk(&mut file, b"IEND", &[]);
    file
}

/// An animated WebP of three frames of one colour each, shown for half a second.
fn animated_webp() -> Vec<u8> {
    fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
        file.extend(kind);
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file.resize(file.len().next_multiple_of(2), 0);
    }
    let small = |value: u32| value.to_le_bytes()[..3].to_vec(); // 24 bits
    let mut body = b"WEBP".to_vec();
    chunk(
        &mut body,
        b"VP8X",
        &[vec![2, 0, 0, 0], small(3), small(1)].concat(),
    );
    chunk(&mut body, b"ANIM", &[0; 6]);
    for level in [10, 20, 30] {
        let mut still = Cursor::new(Vec::new());
        DynamicImage::from(RgbImage::from_pixel(4, 2, Rgb([level; 3])))
            .write_to(&mut still, ImageFormat::WebP)
            .unwrap();
        let image = still.into_inner()[12..].to_vec();
        chunk(
            &mut body,
            b"ANMF",
            &[
                small(0),
                small(0),
                small(3),
                small(1),
                small(500),
                vec![2], // replaces what was there
                image,
            ]
            .concat(),
        );
    }
    let mut file = Vec::new();
    chunk(&mut file, b"RIFF", &body);
    file
}

#[test]
fn animated_png_and_webp_are_read_whatever_their_name() {
    let folder = tempdir().unwrap();
    for (bytes, container) in [(apng(), "PNG"), (animated_webp(), "WebP")] {
        let path = folder.path().join("clip.mp4");
        fs::write(&path, bytes).unwrap();
        let clip = read(&path);
        let levels: Vec<u8> = clip
            .frames()
            .iter()
            .map(|frame| frame.get_pixel(3, 1).0[2])
            .collect();
        assert_eq!(
            (levels, clip.fps(), clip.width(), clip.height()),
            (vec![10, 20, 30], 2.0, 4, 2),
            "{container}"
        );
        let info = probe(&path).unwrap();
        assert_eq!(
            (info.container.as_str(), info.frames, info.fps),
            (container, 3, 2.0)
        );
        let at_4_fps = FrameChoice {
            fps: Some(4.0),
            start: 1,
            count: Some(2),
            step: 1,
        };
        let resampled = read_clip(
            &path,
            &ReadOptions {
                frames: at_4_fps,
                ..ReadOptions::default()
            },
        )
        .unwrap();
        let levels: Vec<u8> = resampled
            .frames()
            .iter()
            .map(|frame| frame.get_pixel(0, 0).0[0])
            .collect();
        assert_eq!((levels, resampled.fps()), (vec![10, 20], 4.0));
    }
}

#[test]
fn a_still_image_is_a_clip_of_one_frame() {
    let folder = tempdir().unwrap();
    let image = RgbImage::from_pixel(5, 3, Rgb([1, 2, 3]));
    for name in ["image.png", "image.webp", "image.gif"] {
        let path = folder.path().join(name);
        image.save(&path).unwrap();
        let clip = read(&path);
        assert_eq!((clip.len(), &clip.frames()[0]), (1, &image), "{name}");
        assert_eq!(probe(&path).unwrap().frames, 1);
    }
}

#[test]
fn a_folder_is_read_in_natural_order() {
    let folder = tempdir().unwrap();
    for (i, name) in ["frame2.png", "frame10.png", "frame1.png"]
        .iter()
        .enumerate()
    {
        write_png(
            &RgbImage::from_pixel(6, 4, Rgb([i as u8; 3])),
            &folder.path().join(name),
        )
        .unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "not a frame").unwrap();
    fs::write(folder.path().join(".hidden.png"), "not a frame").unwrap();
    let options = ReadOptions {
        image_fps: 12.0,
        ..ReadOptions::default()
    };
    let clip = read_clip(folder.path(), &options).unwrap();
    let levels: Vec<u8> = clip
        .frames()
        .iter()
        .map(|frame| frame.get_pixel(0, 0).0[0])
        .collect();
    assert_eq!((levels, clip.fps()), (vec![2, 0, 1], 12.0));
    let info = probe_with(folder.path(), &options).unwrap();
    assert_eq!(
        (
            info.container.as_str(),
            info.frames,
            info.fps,
            info.codec.as_str()
        ),
        ("folder of images", 3, 12.0, "PNG")
    );
}

#[test]
fn images_of_several_sizes_are_refused_by_name() {
    let folder = tempdir().unwrap();
    for (name, width) in [("1.png", 6), ("2.png", 7)] {
        write_png(&RgbImage::new(width, 4), &folder.path().join(name)).unwrap();
    }
    let error = read_clip(folder.path(), &ReadOptions::default()).unwrap_err();
    let expected = "2.png: found 7x4 pixels, expected 6x4 as in the frames before";
    assert!(error.to_string().ends_with(expected), "{error}");
    assert!(matches!(error, Error::SizeChanges { .. }));
}

#[test]
fn a_contact_sheet_can_be_written() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("sheet.png");
    let sheet = contact_sheet(&[("sprite", &sprite())], 4).unwrap();
    write_png(&sheet, &path).unwrap();
    assert_eq!(read(&path), Clip::new(vec![sheet], 8.0).unwrap());
}
