//! One test for each way in which input can be wrong. None may panic, and none may be believed.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use kinvert_video::{
    Clip, Error, Fit, FrameChoice, ReadOptions, probe, read_clip, write_gif, write_mp4, write_png,
};
use mp4_atom::{Codec, FourCC, Stsc, Stsz, StszSamples};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use crate::support::{boxes, fixture, ramp, sprite, with_index};

fn pyramid() -> Vec<u8> {
    fs::read(fixture("pyramid.mp4")).unwrap()
}

/// A file with the given content.
fn file(bytes: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read_error(bytes: impl AsRef<[u8]>) -> Error {
    let (_folder, path) = file(bytes);
    let error = read_clip(&path, &ReadOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("clip.mp4"),
        "the file is named: {error}"
    );
    error
}

#[test]
fn what_is_no_video() {
    let found = |bytes: &[u8]| match read_error(bytes) {
        Error::UnknownFormat { found, .. } => found,
        other => panic!("{other}"),
    };
    assert_eq!(found(b""), "an empty file");
    assert_eq!(found(b"Dear diary"), "text");
    assert_eq!(
        found(&[0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3, 4, 5]),
        "unknown content"
    );
}

#[test]
fn a_missing_file() {
    for error in [
        read_clip(Path::new("no/such/clip.mp4"), &ReadOptions::default()).unwrap_err(),
        probe(Path::new("no/such/clip.mp4")).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "no/such/clip.mp4: cannot open");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_folder_without_images() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "nothing to see").unwrap();
    for error in [
        read_clip(folder.path(), &ReadOptions::default()).unwrap_err(),
        probe(folder.path()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NoImages { .. }), "{error}");
    }
}

#[test]
fn an_mp4_cut_before_its_index() {
    let whole = with_index(&pyramid(), |_| {});
    let (_, data_start, data_end) = boxes(&whole)
        .into_iter()
        .find(|(kind, ..)| kind == b"mdat")
        .unwrap();
    for cut in [data_start + 20, data_end - 1] {
        let error = read_error(&whole[..cut]);
        assert!(matches!(error, Error::Truncated { .. }), "{error}");
    }
    let error = read_error(&whole[..data_end]);
    assert!(
        error.to_string().contains("found no index (moov box)"),
        "{error}"
    );
    let error = read_error(&whole[..whole.len() - 10]);
    assert!(
        error
            .to_string()
            .contains("the index (moov box) ends at byte"),
        "{error}"
    );
}

#[test]
fn an_mp4_cut_inside_its_frames() {
    let whole = pyramid();
    let (_folder, path) = file(&whole[..whole.len() - 300]);
    let error = read_clip(&path, &ReadOptions::default()).unwrap_err();
    let Error::Truncated {
        part,
        needed,
        found,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(part.starts_with("frame ") && needed > found, "{error}");
    // What lies before the cut can be had by asking for it.
    let frames = FrameChoice {
        count: Some(13),
        ..FrameChoice::default()
    };
    let clip = read_clip(
        &path,
        &ReadOptions {
            frames,
            ..ReadOptions::default()
        },
    )
    .unwrap();
    assert_eq!(clip.len(), 13);
}

#[test]
fn no_cut_is_believed() {
    let whole = pyramid();
    for end in (0..whole.len()).step_by(37) {
        let (_folder, path) = file(&whole[..end]);
        assert!(
            read_clip(&path, &ReadOptions::default()).is_err(),
            "cut at {end}"
        );
        let _ = probe(&path); // an intact index may be told of, but nothing may panic
    }
}

#[test]
fn a_track_without_frames() {
    let empty = with_index(&pyramid(), |index| {
        let tables = &mut index.trak[0].mdia.minf.stbl;
        tables.stsz = Stsz {
            samples: StszSamples::Different { sizes: vec![] },
        };
        tables.stsc = Stsc::default();
    });
    assert!(matches!(read_error(&empty), Error::NoFrames { .. }));
    let (_folder, path) = file(&empty);
    assert!(matches!(probe(&path), Err(Error::NoFrames { .. })));
}

#[test]
fn a_sound_file() {
    let sound = with_index(&pyramid(), |index| {
        index.trak[0].mdia.hdlr.handler = FourCC::new(b"soun")
    });
    assert!(matches!(
        read_error(sound),
        Error::NoVideoTrack { tracks: 1, .. }
    ));
}

#[test]
fn declared_numbers_are_held_against_the_file() {
    let many = with_index(&pyramid(), |index| {
        let samples = StszSamples::Identical {
            count: u32::MAX,
            size: 1,
        };
        index.trak[0].mdia.minf.stbl.stsz = Stsz { samples };
    });
    let error = read_error(many);
    assert!(
        error.to_string().contains("list 4294967295 frames"),
        "{error}"
    );

    let large = with_index(&pyramid(), |index| {
        let samples = StszSamples::Different {
            sizes: vec![u32::MAX; 40],
        };
        index.trak[0].mdia.minf.stbl.stsz = Stsz { samples };
    });
    assert!(matches!(read_error(large), Error::Truncated { .. }));

    let far = with_index(&pyramid(), |index| {
        for offset in &mut index.trak[0].mdia.minf.stbl.stco.as_mut().unwrap().entries {
            *offset = u32::MAX;
        }
    });
    assert!(matches!(read_error(far), Error::Truncated { .. }));

    // A box of almost 2⁶⁴ bytes.
    let mut endless = pyramid();
    endless.extend([0, 0, 0, 1]);
    endless.extend(b"moov");
    endless.extend([0xff; 8]);
    let moved = with_index(&pyramid(), |_| {});
    let (_, start, _) = boxes(&moved).into_iter().next_back().unwrap();
    endless[..start].copy_from_slice(&moved[..start]); // the true index becomes free space
    let error = read_error(endless);
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn huge_pictures() {
    let huge = with_index(&pyramid(), |index| {
        let [Codec::Avc1(entry)] = &mut index.trak[0].mdia.minf.stbl.stsd.codecs[..] else {
            unreachable!()
        };
        (entry.visual.width, entry.visual.height) = (65535, 65535);
    });
    assert!(matches!(read_error(huge), Error::TooManyPixels { .. }));

    // The container declares little; the stream itself, which the decoder believes, more.
    let sly = with_index(&pyramid(), |index| {
        let [Codec::Avc1(entry)] = &mut index.trak[0].mdia.minf.stbl.stsd.codecs[..] else {
            unreachable!()
        };
        (entry.visual.width, entry.visual.height) = (1, 1);
    });
    let (_folder, path) = file(sly);
    let options = ReadOptions {
        max_pixels: 500,
        ..ReadOptions::default()
    };
    let error = read_clip(&path, &options).unwrap_err();
    assert!(
        matches!(error, Error::TooManyPixels { size, .. } if size.width == 32),
        "{error}"
    );
}

#[test]
fn huge_images() {
    let gif = [&b"GIF89a"[..], &[0xff; 4], &[0, 0, 0, b';']].concat();
    let header = [
        &65535_u32.to_be_bytes()[..],
        &65535_u32.to_be_bytes(),
        &[8, 2, 0, 0, 0],
    ]
    .concat();
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend(header);
    png.extend(0x5ffe_4a3c_u32.to_be_bytes()); // wrong or not, the size comes first
    let webp = [
        &b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xff\xff\0\xff\xff\0"[..],
        b"ANIM\x06\0\0\0\0\0\0\0\0\0",
    ]
    .concat();
    for (bytes, name) in [(gif, "gif"), (png, "png"), (webp, "webp")] {
        let error = read_error(bytes);
        assert!(
            matches!(
                error,
                Error::TooManyPixels { .. } | Error::BrokenImage { .. }
            ),
            "{name}: {error}"
        );
    }
}

#[test]
fn bounds_on_frames_and_bytes() {
    let read = |options: ReadOptions| read_clip(&fixture("pyramid.mp4"), &options).unwrap_err();
    let error = read(ReadOptions {
        max_frames: 39,
        ..ReadOptions::default()
    });
    assert!(
        matches!(
            error,
            Error::TooManyFrames {
                found: 40,
                limit: 39,
                ..
            }
        ),
        "{error}"
    );
    let error = read(ReadOptions {
        max_bytes: 40 * 32 * 32 * 3 - 1,
        ..ReadOptions::default()
    });
    assert!(matches!(error, Error::TooManyBytes { .. }), "{error}");
    // Four seconds at a thousand frames per second.
    let frames = FrameChoice {
        fps: Some(1000.0),
        ..FrameChoice::default()
    };
    let error = read(ReadOptions {
        frames,
        max_frames: 3999,
        ..ReadOptions::default()
    });
    assert!(
        matches!(error, Error::TooManyFrames { found: 4000, .. }),
        "{error}"
    );

    let folder = tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    write_gif(&ramp(8, 8, 20, 8.0), &path).unwrap();
    let error = read_clip(
        &path,
        &ReadOptions {
            max_frames: 10,
            ..ReadOptions::default()
        },
    )
    .unwrap_err();
    assert!(matches!(error, Error::TooManyFrames { .. }), "{error}");
}

#[test]
fn impossible_options() {
    let error = |options: ReadOptions| {
        read_clip(&fixture("pyramid.mp4"), &options)
            .unwrap_err()
            .to_string()
    };
    let choose = |frames| ReadOptions {
        frames,
        ..ReadOptions::default()
    };
    let nan = choose(FrameChoice {
        fps: Some(f64::NAN),
        ..FrameChoice::default()
    });
    assert_eq!(
        error(nan),
        "`fps` is NaN, expected a number above 0 and up to 1000"
    );
    let zero = choose(FrameChoice {
        fps: Some(0.0),
        ..FrameChoice::default()
    });
    assert_eq!(
        error(zero),
        "`fps` is 0, expected a number above 0 and up to 1000"
    );
    let step = choose(FrameChoice {
        step: 0,
        ..FrameChoice::default()
    });
    assert_eq!(error(step), "`step` is 0, expected 1 or more");
    let image_fps = ReadOptions {
        image_fps: -1.0,
        ..ReadOptions::default()
    };
    assert_eq!(
        error(image_fps),
        "`image_fps` is -1, expected a number above 0 and up to 1000"
    );
    let late = error(choose(FrameChoice {
        start: 40,
        ..FrameChoice::default()
    }));
    assert!(
        late.ends_with("no frame is chosen: the choice starts at frame 40, the video has 40"),
        "{late}"
    );
}

#[test]
fn a_gif_that_ends_early() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    write_gif(&sprite(), &path).unwrap();
    let whole = fs::read(&path).unwrap();
    let error = read_error(&whole[..whole.len() / 2]);
    assert!(matches!(error, Error::BrokenImage { .. }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_broken_image_in_a_folder_is_named() {
    let folder = tempdir().unwrap();
    write_png(&RgbImage::new(4, 4), &folder.path().join("1.png")).unwrap();
    fs::write(folder.path().join("2.png"), b"\x89PNG\r\n\x1a\nnonsense").unwrap();
    let error = read_clip(folder.path(), &ReadOptions::default()).unwrap_err();
    assert!(
        matches!(&error, Error::BrokenImage { path, .. } if path.ends_with("2.png")),
        "{error}"
    );
}

#[test]
fn places_that_cannot_be_written() {
    let (_folder, obstacle) = file("a file where a folder should be");
    let clip = ramp(16, 16, 1, 8.0);
    for path in [
        obstacle.join("clip.mp4"),
        obstacle.with_file_name("missing").join("clip.mp4"),
    ] {
        for error in [
            write_mp4(&clip, &path).unwrap_err(),
            write_gif(&clip, &path).unwrap_err(),
            write_png(&clip.frames()[0], &path).unwrap_err(),
        ] {
            assert!(
                matches!(&error, Error::Io { action: "write", path: named, .. } if *named == path),
                "{error}"
            );
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let error = write_mp4(&ramp(16, 16, 1, 8.0), Path::new("/dev/full")).unwrap_err();
    assert!(error.hint().unwrap().contains("disk space"), "{error}");
}

#[test]
fn frames_too_large_to_write() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let wide = Clip::new(vec![RgbImage::new(3841, 2)], 8.0).unwrap();
    let error = write_mp4(&wide, &path).unwrap_err();
    assert!(matches!(error, Error::TooLargeToWrite { .. }), "{error}");
    assert!(!path.exists());
    write_mp4(&wide.resized(3840, 2, Fit::Stretch).unwrap(), &path).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn a_damaged_index_never_panics(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = pyramid();
        let (_, start, end) = boxes(&bytes).into_iter().find(|(kind, ..)| kind == b"moov").unwrap();
        for (place, value) in damage {
            bytes[start + place.index(end - start)] = value;
        }
        let (_folder, path) = file(bytes);
        let options = ReadOptions { ffmpeg: "no-such-program".into(), max_bytes: 1 << 24, ..ReadOptions::default() };
        let _ = (read_clip(&path, &options), probe(&path));
    }
}
