//! A hub of models for tests: the part of the Hugging Face hub's interface that fetching takes, on two servers as there,
//! one that lists files and gives small ones, and one to which it redirects for large ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::server::{Reply, Request, ScriptedServer};

/// Files by their paths.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a test wants answered in place of what the hub would; none for the hub's own answer.
pub type Hook = Box<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

/// A hub with one model, whose branch `main` can move.
pub struct FakeHub {
    /// Lists files, and gives small ones.
    pub api: ScriptedServer,
    /// Gives large files (`.safetensors` and `.bin`) to whom the other server redirects.
    pub storage: ScriptedServer,
    commits: Arc<Mutex<Commits>>,
}

#[derive(Default)]
struct Commits {
    files: BTreeMap<String, Files>,
    main: String,
}

impl FakeHub {
    /// A hub with a model of these files.
    pub fn start(name: &str, files: Files) -> Self {
        Self::with_hooks(name, files, Box::new(|_| None), Box::new(|_| None))
    }

    /// As [`start`](Self::start), with what a test wants answered by each of the servers.
    pub fn with_hooks(name: &str, files: Files, api: Hook, storage: Hook) -> Self {
        let commits: Arc<Mutex<Commits>> = Arc::default();
        let of_storage = commits.clone();
        let storage = ScriptedServer::start(move |request| {
            storage(request).unwrap_or_else(|| stored(request, &lock(&of_storage)))
        });
        let (of_api, name, address) = (commits.clone(), name.to_owned(), storage.url(""));
        let api = ScriptedServer::start(move |request| {
            api(request).unwrap_or_else(|| answer(request, &name, &address, &lock(&of_api)))
        });
        let hub = Self {
            api,
            storage,
            commits,
        };
        hub.commit(files);
        hub
    }

    /// Moves the branch to a commit with these files, and gives its hash. Earlier commits stay.
    pub fn commit(&self, files: Files) -> String {
        let mut hasher = Sha1::new();
        for (path, contents) in &files {
            hasher.update(path);
            hasher.update(contents);
        }
        let mut commits = lock(&self.commits);
        commits.main = digits(&hasher.finalize());
        let main = commits.main.clone();
        commits.files.insert(main.clone(), files);
        main
    }

    /// The address to ask.
    pub fn endpoint(&self) -> String {
        self.api.url("")
    }
}

/// The files of a folder, those in its folders included.
///
/// # Panics
/// If it cannot be read.
pub fn files_of(folder: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            let inner = files_of(&path).into_iter();
            files.extend(inner.map(|(inner, contents)| (format!("{name}/{inner}"), contents)));
        } else {
            files.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    files
}

/// The hash by which the hub names a file: SHA-256 of large ones, Git's SHA-1 of small ones.
pub fn hash_of(path: &str, contents: &[u8]) -> String {
    if is_large(path) {
        return digits(&Sha256::digest(contents));
    }
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", contents.len()));
    hasher.update(contents);
    digits(&hasher.finalize())
}

/// The list of files as the hub gives it.
pub fn listing(commit: &str, files: &Files) -> serde_json::Value {
    let sibling = |(path, contents): (&String, &Vec<u8>)| {
        let (size, hash) = (contents.len(), hash_of(path, contents));
        match is_large(path) {
            true => json!({
                "rfilename": path, "size": size, "blobId": "0".repeat(40),
                "lfs": {"sha256": hash, "size": size, "pointerSize": 134},
            }),
            false => json!({"rfilename": path, "size": size, "blobId": hash}),
        }
    };
    let siblings: Vec<_> = files.iter().map(sibling).collect();
    json!({"id": "a/b", "sha": commit, "gated": false, "siblings": siblings})
}

fn answer(request: &Request, name: &str, storage: &str, commits: &Commits) -> Reply {
    let absent = |code: &str| {
        Reply::new(404)
            .header("X-Error-Code", code)
            .header("X-Error-Message", "Not here")
    };
    let path = request.path.split('?').next().unwrap_or_default();
    if let Some(revision) = path.strip_prefix(&format!("/api/models/{name}/revision/")) {
        let commit = if revision == "main" {
            &commits.main
        } else {
            revision
        };
        return match commits.files.get(commit) {
            Some(files) => Reply::json(200, &listing(commit, files)),
            None => absent("RevisionNotFound"),
        };
    }
    let Some((commit, path)) = path
        .strip_prefix(&format!("/{name}/resolve/"))
        .and_then(|rest| rest.split_once('/'))
    else {
        return Reply::new(401).header("X-Error-Code", "RepoNotFound");
    };
    let Some(contents) = commits.files.get(commit).and_then(|files| files.get(path)) else {
        return absent("EntryNotFound");
    };
    let etag = format!("\"{}\"", hash_of(path, contents));
    if is_large(path) {
        return Reply::new(302)
            .header("X-Linked-Etag", &etag)
            .header("X-Linked-Size", &contents.len().to_string())
            .header(
                "Location",
                &format!("{storage}/{commit}/{path}?signature=x"),
            );
    }
    Reply::file(request, contents).header("ETag", &etag)
}

fn stored(request: &Request, commits: &Commits) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default();
    let found = path.trim_start_matches('/').split_once('/');
    let found = found.and_then(|(commit, path)| commits.files.get(commit)?.get(path));
    match found {
        Some(contents) => Reply::file(request, contents),
        None => Reply::new(403),
    }
}

fn is_large(path: &str) -> bool {
    path.ends_with(".safetensors") || path.ends_with(".bin")
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
