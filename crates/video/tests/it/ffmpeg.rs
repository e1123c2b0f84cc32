//! The way through ffmpeg, with a stand-in for the program so that these tests run everywhere.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kinvert_video::{Error, FrameChoice, ReadOptions, probe_with, read_clip};
use tempfile::{TempDir, tempdir};

use crate::support::fixture;

/// A file that begins like WebM, and a shell script that stands in for ffmpeg.
struct Stage {
    folder: TempDir,
    clip: PathBuf,
    options: ReadOptions,
}

impl Stage {
    /// `frames` is what the script does when it is to decode.
    fn new(frames: &str) -> Self {
        let folder = tempdir().unwrap();
        let clip = folder.path().join("a clip: 50%.webm");
        fs::write(&clip, [0x1a, 0x45, 0xdf, 0xa3, 0]).unwrap();
        let program = folder.path().join("ffmpeg");
        let log = folder.path().join("arguments");
        let script = format!(
            r#"#!/bin/sh
for argument; do echo "$argument" >> "{log}"; done
case "$*" in
*framecrc*)
    echo '#tb 0: 1/1000'
    echo '#codec_id 0: vp9'
    echo '#dimensions 0: 2x1'
    echo '0, -250, 250, 250, 9, 0x00000001, F=0x0'
    echo '0, 0, 0, 250, 9, 0x00000001'
    echo '0, 250, 500, 250, 9, 0x00000001, F=0x0'
    ;;
*)
    {frames}
    ;;
esac
"#,
            log = log.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            folder,
            clip,
            options: ReadOptions {
                ffmpeg: program,
                ..ReadOptions::default()
            },
        }
    }

    fn arguments(&self) -> String {
        fs::read_to_string(self.folder.path().join("arguments")).unwrap()
    }
}

const THREE_FRAMES: &str =
    r#"for pixel in aaa bbb ccc; do printf 'P6\n2 1\n255\n%s%s' $pixel $pixel; done"#;

#[test]
fn frames_and_rate_come_through() {
    let stage = Stage::new(THREE_FRAMES);
    let clip = read_clip(&stage.clip, &stage.options).unwrap();
    let levels: Vec<u8> = clip
        .frames()
        .iter()
        .map(|frame| frame.get_pixel(1, 0).0[0])
        .collect();
    assert_eq!(
        (levels, clip.fps(), clip.width(), clip.height()),
        (vec![b'a', b'b', b'c'], 4.0, 2, 1)
    );
    let arguments = stage.arguments();
    for expected in ["-nostdin", "-protocol_whitelist\nfile,pipe", "fps=4"] {
        assert!(arguments.contains(expected), "{expected} in {arguments}");
    }
    // The name stands behind its protocol, hence cannot be taken for an option.
    assert!(
        arguments.contains(&format!("-i\nfile:{}\n", stage.clip.display())),
        "{arguments}"
    );
}

#[test]
fn the_choice_is_kept_to() {
    let mut stage = Stage::new(THREE_FRAMES);
    stage.options.frames = FrameChoice {
        start: 0,
        step: 2,
        count: Some(2),
        fps: Some(10.0),
    };
    let clip = read_clip(&stage.clip, &stage.options).unwrap();
    let levels: Vec<u8> = clip
        .frames()
        .iter()
        .map(|frame| frame.get_pixel(0, 0).0[0])
        .collect();
    assert_eq!((levels, clip.fps()), (vec![b'a', b'c'], 5.0));
    let arguments = stage.arguments();
    assert!(
        arguments.contains("fps=10") && arguments.contains("-frames:v\n3\n"),
        "{arguments}"
    );
}

#[test]
fn the_first_run_is_enough_to_probe() {
    let stage = Stage::new("exit 1");
    let info = probe_with(&stage.clip, &stage.options).unwrap();
    assert_eq!(
        (info.container.as_str(), info.codec.as_str()),
        ("Matroska or WebM", "vp9")
    );
    assert_eq!(
        (info.width, info.height, info.frames, info.fps),
        (2, 1, 3, 4.0)
    );
    assert!(!info.variable_frame_rate);
}

#[test]
fn a_failure_is_told_in_the_words_of_the_program() {
    let stage = Stage::new("echo 'Invalid data found' >&2; exit 3");
    let error = read_clip(&stage.clip, &stage.options).unwrap_err();
    let Error::FfmpegFailed {
        message, status, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (message.as_str(), status.as_str()),
        ("Invalid data found", "exit status: 3")
    );
}

#[test]
fn an_endless_stream_is_stopped() {
    let mut stage = Stage::new(r"while printf 'P6\n2 1\n255\nabcabc'; do :; done");
    stage.options.max_frames = 50;
    let error = read_clip(&stage.clip, &stage.options).unwrap_err();
    assert!(
        matches!(error, Error::TooManyFrames { limit: 50, .. }),
        "{error}"
    );
}

#[test]
fn huge_and_broken_images_are_refused() {
    let check = |frames: &str, expected: fn(&Error) -> bool| {
        let stage = Stage::new(frames);
        let error = read_clip(&stage.clip, &stage.options).unwrap_err();
        assert!(expected(&error), "{frames}: {error}");
    };
    check(r"printf 'P6\n65535 65535\n255\nabc'", |e| {
        matches!(e, Error::TooManyPixels { .. })
    });
    check(r"printf 'P6\n2 1\n255\nabc'", |e| {
        matches!(e, Error::FfmpegFailed { .. })
    });
    check("echo nonsense", |e| matches!(e, Error::FfmpegFailed { .. }));
    check("true", |e| matches!(e, Error::NoFrames { .. }));
}

#[test]
fn without_the_program_the_coding_is_named() {
    let options = ReadOptions {
        ffmpeg: "no-such-program".into(),
        ..ReadOptions::default()
    };
    let check = |path: &Path, coding: &str| {
        let error = read_clip(path, &options).unwrap_err();
        assert!(matches!(error, Error::NeedsFfmpeg { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(coding) && text.contains("no-such-program"),
            "{text}"
        );
        assert!(error.hint().unwrap().contains("install ffmpeg"));
    };
    check(&fixture("hevc.mp4"), "HEVC in MP4");
    check(&Stage::new("true").clip, "Matroska or WebM");
    let info = probe_with(&fixture("hevc.mp4"), &options).unwrap();
    assert_eq!(
        (info.codec.as_str(), info.width, info.frames, info.fps),
        ("HEVC", 32, 4, 10.0)
    );
}
