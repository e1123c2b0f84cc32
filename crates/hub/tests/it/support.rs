//! A model to fetch, and where it goes.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kinvert_base::Progress;
use kinvert_hub::{Error, Hub, HubOptions, ModelName, Pulled, Token};
use kinvert_testkit::hub::{FakeHub, Files, hash_of};
use kinvert_testkit::server::Request;
use tempfile::TempDir;

pub const NAME: &str = "maker/model";
pub const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
pub const SECRET: &str = "hf_secret";

/// A pipeline. Its weights are bytes that no network would take: fetching does not look into them.
pub fn pipeline() -> Files {
    let weights = |seed: u8| -> Vec<u8> {
        let byte = |at: usize| (at * 31 + at / 251) as u8 ^ seed;
        (0..300_000).map(byte).collect()
    };
    let text = |text: &str| text.as_bytes().to_vec();
    [
        (
            "model_index.json",
            text(r#"{"unet": ["diffusers", "UNet3DConditionModel"]}"#),
        ),
        ("scheduler/scheduler_config.json", text("{}")),
        ("tokenizer/vocab.json", text(r#"{"a": 0}"#)),
        ("tokenizer/merges.txt", text("#version: 0.2\n")),
        (
            "unet/config.json",
            text(r#"{"_class_name": "UNet3DConditionModel"}"#),
        ),
        (UNET, weights(1)),
        (
            "vae/config.json",
            text(r#"{"_class_name": "AutoencoderKL"}"#),
        ),
        ("vae/diffusion_pytorch_model.bin", weights(2)),
        (
            "text_encoder/config.json",
            text(r#"{"architectures": ["CLIPTextModel"]}"#),
        ),
        ("text_encoder/model.safetensors", weights(3)),
        ("README.md", text("# A model")),
        ("checkpoint.ckpt", weights(4)),
        ("unet/diffusion_pytorch_model.fp16.safetensors", weights(5)),
    ]
    .map(|(path, contents)| (path.to_owned(), contents))
    .into()
}

/// How many files of it are read.
pub const NEEDED: usize = 10;

pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    /// Options that lose no time.
    pub fn options(&self, endpoint: impl Into<String>) -> HubOptions {
        HubOptions {
            token: Some(Token::new(SECRET, "the test").unwrap()),
            attempts: 3,
            first_delay: Duration::from_millis(1),
            idle_timeout: Duration::from_secs(20),
            ..HubOptions::new(endpoint, self.folder.path())
        }
    }

    pub fn hub(&self, hub: &FakeHub) -> Hub {
        Hub::new(self.options(hub.endpoint())).unwrap()
    }

    pub fn pull(&self, hub: &FakeHub) -> Result<Pulled, Error> {
        self.hub(hub).pull(&name(), None, &mut Watcher::default())
    }

    pub fn model(&self) -> PathBuf {
        name().cache_folder(self.folder.path())
    }

    pub fn blob(&self, path: &str, contents: &[u8]) -> PathBuf {
        self.model().join("blobs").join(hash_of(path, contents))
    }

    pub fn incomplete(&self, path: &str, contents: &[u8]) -> PathBuf {
        self.blob(path, contents).with_extension("incomplete")
    }
}

pub fn name() -> ModelName {
    NAME.parse().unwrap()
}

/// Checks that a pull gave the files as they are published.
#[track_caller]
pub fn expect_files(pulled: &Pulled, files: &Files) {
    let mut count = 0;
    for (path, contents) in files {
        let found = std::fs::read(pulled.path.join(path));
        if let Ok(found) = found {
            assert!(found == *contents, "{path}");
            count += 1;
        }
    }
    assert_eq!(count, pulled.files);
}

/// Requests for a file.
pub fn asked<'a>(requests: &'a [Request], path: &str) -> Vec<&'a Request> {
    requests
        .iter()
        .filter(|request| request.path.contains(path))
        .collect()
}

/// Files that lie in a folder, by name.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    entries.map(name).collect()
}

/// Keeps notes, and asks to stop after a while.
#[derive(Default)]
pub struct Watcher {
    pub notes: RefCell<Vec<String>>,
    pub advances: usize,
    pub total: u64,
    stop_at: Option<Instant>,
}

impl Watcher {
    pub fn stopping_after(duration: Duration) -> Self {
        Self {
            stop_at: Some(Instant::now() + duration),
            ..Self::default()
        }
    }
}

impl Progress for Watcher {
    fn start(&mut self, _stage: &str, _total: usize) {}
    fn start_bytes(&mut self, _stage: &str, total: u64) {
        self.total += total;
    }
    fn advance(&mut self, _done: usize, _detail: &str) {
        self.advances += 1;
    }
    fn finish(&mut self) {}
    fn note(&mut self, message: &str) {
        self.notes.borrow_mut().push(message.into());
    }
    fn is_cancelled(&self) -> bool {
        self.stop_at.is_some_and(|stop| Instant::now() >= stop)
    }
}
