//! Running the program, and models to run it on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a run of the program ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Checks the exit code, that stderr says all of this, and that nothing panicked.
    #[track_caller]
    pub fn ended(self, code: i32, saying: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        for text in saying {
            assert!(self.stderr.contains(text), "expected {text:?} in {self:#?}");
        }
        self
    }
}

pub fn program<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinvert-sprites"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program; each word of the line is an argument, and then come some that may hold spaces.
pub fn kinvert_sprites(line: &str, more: &[&str]) -> Outcome {
    let arguments = line.split_whitespace().chain(more.iter().copied());
    let output = program(arguments).output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A copy of the built-in model's folder.
pub fn model_copy(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../world/assets/model");
    let copy = folder.join("model");
    let parts = std::fs::read_dir(&source).unwrap();
    let parts = parts.map(|entry| entry.unwrap().path());
    for part in parts.filter(|path| path.is_dir()).chain([source.clone()]) {
        let to = copy.join(part.strip_prefix(&source).unwrap());
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(&part).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                std::fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
            }
        }
    }
    copy
}

/// Changes a text file by replacing a part that must be there.
pub fn replace_in_file(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}: no {from:?}", path.display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}
