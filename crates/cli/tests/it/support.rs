//! Running the program, and what the tests have it work on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use kinvert_video::{Clip, ReadOptions, read_clip, write_gif};
use serde_json::Value;
use tempfile::TempDir;

/// Settings of learning that take a second or two: few frames, two steps.
pub const QUICK: [&str; 6] = [
    "--frames",
    "4",
    "--steps",
    "2",
    "--ddim-inversion-steps",
    "2",
];

/// How a run of the program ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks the exit code, and that nothing panicked.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    /// Checks that stderr says all of this.
    #[track_caller]
    pub fn saying(self, expected: &[&str]) -> Self {
        for text in expected {
            assert!(self.stderr.contains(text), "expected {text:?} in {self:#?}");
        }
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
}

/// The program with the given arguments, untouched by the variables of whoever runs the tests, and off the network.
pub fn program<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinvert"));
    command
        .args(arguments)
        .env_remove("KINVERT_LOG")
        .env_remove("KINVERT_MODELS")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HUGGINGFACE_HUB_CACHE")
        .env_remove("HF_ENDPOINT")
        .env("HF_TOKEN", "hf_secret")
        .env("HF_HUB_OFFLINE", "1")
        .env(
            "HF_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-hub"),
        )
        .env(
            "KINVERT_CACHE",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        )
        .stdin(Stdio::null());
    command
}

pub fn kinvert<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    Outcome::of(&program(arguments).output().unwrap())
}

/// The program with arguments of which each word is one, and then some that may hold spaces.
pub fn kinvert_line(line: &str, more: &[&str]) -> Outcome {
    kinvert(line.split_whitespace().chain(more.iter().copied()))
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The example clip: 16 frames of 64x64 at 8 frames per second.
pub fn bounce() -> String {
    repository()
        .join("examples/bounce.mp4")
        .display()
        .to_string()
}

/// The first frames of the example clip as a file of their own.
pub fn first_frames(count: usize, folder: &Path) -> String {
    let clip = read_clip(Path::new(&bounce()), &ReadOptions::default()).unwrap();
    let path = folder.join(format!("first-{count}.gif"));
    let frames = clip.frames()[..count].to_vec();
    write_gif(&Clip::new(frames, clip.fps()).unwrap(), &path).unwrap();
    path.display().to_string()
}

/// A motion of four frames, learned once for all tests.
pub fn motion() -> &'static str {
    static MOTION: OnceLock<String> = OnceLock::new();
    MOTION.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared.motion.safetensors");
        let arguments = [
            "invert",
            &bounce(),
            "--caption",
            "a red circle on a gray background",
            "-o",
            text(&path),
        ];
        kinvert(arguments.into_iter().chain(QUICK)).ended(0);
        path.display().to_string()
    })
}

/// The folder that the built-in model was compiled from.
pub fn built_in_model() -> PathBuf {
    repository().join("crates/world/assets/model")
}

/// A copy of the built-in model's folder.
pub fn model_copy(folder: &Path) -> PathBuf {
    let source = built_in_model();
    let copy = folder.join("model");
    for part in ["", "unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
        std::fs::create_dir_all(copy.join(part)).unwrap();
        for entry in std::fs::read_dir(source.join(part)).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                std::fs::copy(&from, copy.join(part).join(from.file_name().unwrap())).unwrap();
            }
        }
    }
    copy
}

/// Changes a file in place.
pub fn change_file(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Changes a text file by replacing a part that must be there.
pub fn replace_in_file(path: &Path, from: &str, to: &str) {
    change_file(path, |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        assert!(text.contains(from), "{}: no {from:?}", path.display());
        *bytes = text.replace(from, to).into_bytes();
    });
}
