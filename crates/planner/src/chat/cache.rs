//! Answers that are kept, so that a benchmark that was stopped goes on where it was, and costs nothing twice.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::wire::MAX_TEXT;
use super::{ChatAnswer, ChatModel, ChatRequest, Usage, Watch};
use crate::Error;

/// Part of every key; another number makes older answers unreachable.
const FORMAT: u32 = 1;

/// Most bytes of a file: a text in which every byte is escaped, and what stands beside it.
const MAX_FILE_BYTES: u64 = 6 * MAX_TEXT as u64 + (64 << 10);

/// A model whose answers are kept in a folder.
///
/// An answer is found again by a hash over the model's [identity](ChatModel::identity) and all of the request, so that
/// the same question to the same model is asked once. Whoever wants several answers to one question makes the requests
/// differ, or turns it off. There is one file an answer, written whole or not at all, and no key in any of them; a
/// damaged one counts as absent. Threads that ask the same at the same time may each ask the model.
#[derive(Clone, Debug)]
pub struct Cached<M> {
    model: M,
    folder: Option<PathBuf>,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    key: String,
    /// For people who look into the folder.
    model: String,
    text: String,
}

impl<M: ChatModel> Cached<M> {
    /// Keeps answers in a folder, which is made when there is one to keep.
    pub fn in_folder(model: M, folder: impl Into<PathBuf>) -> Self {
        Self {
            model,
            folder: Some(folder.into()),
        }
    }

    /// Keeps nothing: every question is asked.
    pub fn off(model: M) -> Self {
        Self {
            model,
            folder: None,
        }
    }

    /// The model that is asked.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// What a request is kept under; none if it cannot be said.
    fn key(&self, request: &ChatRequest) -> Option<String> {
        let identity = self.model.identity();
        let hashed = serde_json::to_vec(&(FORMAT, identity, request)).ok()?;
        Some(format!("{:x}", Sha256::digest(hashed)))
    }
}

impl<M: ChatModel> ChatModel for Cached<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn identity(&self) -> String {
        self.model.identity()
    }

    fn complete(&self, request: &ChatRequest, watch: &dyn Watch) -> Result<ChatAnswer, Error> {
        let Some((folder, key)) = self.folder.as_deref().zip(self.key(request)) else {
            return self.model.complete(request, watch);
        };
        if watch.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let path = folder.join(format!("{key}.json"));
        match find(&path, &key) {
            Ok(Some(text)) => {
                watch.received(text.chars().count());
                let usage = Usage {
                    from_cache: 1,
                    ..Usage::default()
                };
                return Ok(ChatAnswer { text, usage });
            }
            Ok(None) => {}
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "A kept answer cannot be read; the model is asked.");
            }
        }
        let answer = self.model.complete(request, watch)?;
        let kept = Kept {
            key,
            model: self.model.name().to_string(),
            text: answer.text.clone(),
        };
        if let Err(error) = keep(folder, &path, &kept) {
            let path = path.display();
            tracing::warn!(%path, %error, "An answer could not be kept.");
        }
        Ok(answer)
    }
}

/// The answer in a file; none if there is no file.
fn find(path: &Path, key: &str) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut json = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut json)?;
    if json.len() as u64 > MAX_FILE_BYTES {
        return Err(invalid("it is larger than any answer"));
    }
    let kept: Kept = serde_json::from_slice(&json)?;
    if kept.key != key {
        return Err(invalid("it holds the answer to another question"));
    }
    if kept.text.len() > MAX_TEXT || kept.text.trim().is_empty() {
        return Err(invalid("it holds no answer"));
    }
    Ok(Some(kept.text))
}

fn keep(folder: &Path, path: &Path, kept: &Kept) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    kinvert_base::write_file(path, &serde_json::to_vec(kept)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::chat::{Role, Turn};

    /// Says how often it was asked.
    struct Counting(AtomicU64, &'static str);

    impl Counting {
        fn new(identity: &'static str) -> Self {
            Self(AtomicU64::new(0), identity)
        }
    }

    impl ChatModel for Counting {
        fn name(&self) -> &str {
            "counting"
        }
        fn identity(&self) -> String {
            self.1.into()
        }
        fn complete(&self, _: &ChatRequest, _: &dyn Watch) -> Result<ChatAnswer, Error> {
            let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            let usage = Usage {
                answers: 1,
                input_tokens: 10,
                ..Usage::default()
            };
            Ok(ChatAnswer {
                text: format!("answer {count} \u{1}😀"),
                usage,
            })
        }
    }

    struct Quiet;
    impl Watch for Quiet {
        fn is_cancelled(&self) -> bool {
            false
        }
    }

    fn request() -> ChatRequest {
        ChatRequest {
            system: "s".into(),
            turns: vec![Turn {
                role: Role::User,
                text: "q".into(),
            }],
            temperature: Some(0.5),
            max_output_tokens: Some(10),
        }
    }

    fn ask<M: ChatModel>(model: &Cached<M>, request: &ChatRequest) -> (String, Usage) {
        let answer = model.complete(request, &Quiet).unwrap();
        (answer.text.replace(" \u{1}😀", ""), answer.usage)
    }

    #[test]
    fn the_same_question_is_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        let model = Cached::in_folder(Counting::new("a"), folder.path().join("answers"));
        let (text, usage) = ask(&model, &request());
        assert_eq!((text.as_str(), usage.answers), ("answer 1", 1));
        let (text, usage) = ask(&model, &request());
        assert_eq!(text, "answer 1");
        let expected = Usage {
            from_cache: 1,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn any_other_question_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let model = Cached::in_folder(Counting::new("a"), folder.path());
        let mut others = vec![request(); 6];
        others[1].temperature = Some(0.6);
        others[2].temperature = None;
        others[3].max_output_tokens = None;
        others[4].system = "other".into();
        others[5].turns[0].role = Role::Assistant;
        for (count, other) in others.iter().enumerate() {
            assert_eq!(ask(&model, other).0, format!("answer {}", count + 1));
        }
        let elsewhere = Cached::in_folder(Counting::new("b"), folder.path());
        assert_eq!(ask(&elsewhere, &request()).1.answers, 1);
        let off = Cached::off(Counting::new("a"));
        assert_eq!(ask(&off, &request()).1.answers, 1);
        assert_eq!(ask(&off, &request()).0, "answer 2");
    }

    #[test]
    fn a_damaged_file_counts_as_absent_and_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let model = Cached::in_folder(Counting::new("a"), folder.path());
        ask(&model, &request());
        let file = fs::read_dir(folder.path()).unwrap().next().unwrap();
        let file = file.unwrap().path();
        let whole = fs::read_to_string(&file).unwrap();
        let damaged = [
            String::new(),
            whole[..whole.len() / 2].to_string(),
            whole.replace("\"key\":\"", "\"key\":\"0"),
            whole.replace("\"text\"", "\"more\":1,\"text\""),
            whole.replace("answer 1 \\u0001😀", " "),
            "x".repeat(MAX_FILE_BYTES as usize + 1),
        ];
        for (count, damaged) in damaged.iter().enumerate() {
            fs::write(&file, damaged).unwrap();
            assert_eq!(ask(&model, &request()).0, format!("answer {}", count + 2));
            assert_eq!(ask(&model, &request()).1.from_cache, 1);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("file");
        fs::write(&taken, "x").unwrap();
        let model = Cached::in_folder(Counting::new("a"), &taken);
        assert_eq!(ask(&model, &request()).0, "answer 1");
        assert_eq!(ask(&model, &request()).0, "answer 2");
    }
}
