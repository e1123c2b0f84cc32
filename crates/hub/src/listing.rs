//! What files a model has, as the hub says. All of it is data from outside.

use std::collections::BTreeMap;

use kinvert_base::Progress;
use kinvert_nets::ModelName;
use kinvert_nets::published::is_commit;
use serde::Deserialize;

use crate::http::{Ask, Client};
use crate::{Error, Hash};

/// Most bytes of a list.
const MAX_LIST_BYTES: usize = 16 << 20;

/// Most files of a model. The largest repositories have some thousands.
const MAX_FILES: usize = 20_000;

/// Largest file. The largest that the hub takes has 200 GB.
const MAX_FILE_BYTES: u64 = 256 << 30;

/// Longest path of a file.
const MAX_PATH_BYTES: usize = 1024;

/// The files of one commit.
pub(crate) struct Listing {
    pub(crate) commit: String,
    files: BTreeMap<String, Stated>,
}

/// What a list states of a file. Mirrors leave some of it out.
#[derive(Clone)]
struct Stated {
    size: Option<u64>,
    hash: Option<Hash>,
}

/// A file that can be fetched.
#[derive(Clone, Debug)]
pub(crate) struct RemoteFile {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) hash: Hash,
}

impl Listing {
    /// Asks the hub what files a model has.
    pub(crate) fn fetch(
        client: &Client,
        name: &ModelName,
        progress: &mut dyn Progress,
    ) -> Result<Self, Error> {
        let revision = name.revision().replace('/', "%2F");
        let ask = Ask {
            path: format!(
                "/api/models/{}/revision/{revision}?blobs=true",
                name.repository()
            ),
            head_only: false,
            from: 0,
            model: name.repository(),
            what: &name.to_string(),
        };
        let answer = client.small(&ask, MAX_LIST_BYTES, progress)?;
        Self::parse(&answer, name).map_err(|reason| Error::Listing {
            name: name.to_string(),
            reason,
        })
    }

    fn parse(json: &[u8], name: &ModelName) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
            size: Option<u64>,
            #[serde(rename = "blobId")]
            blob_id: Option<String>,
            lfs: Option<Lfs>,
        }
        #[derive(Deserialize)]
        struct Lfs {
            sha256: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(json)
            .map_err(|error| format!("it is not the JSON of the hub: {error}"))?;
        if !is_commit(&answer.sha) {
            return Err("it names no commit".into());
        }
        if is_commit(name.revision()) && answer.sha != name.revision() {
            return Err(format!("it is that of another commit, {}", answer.sha));
        }
        if answer.siblings.len() > MAX_FILES {
            let found = answer.siblings.len();
            return Err(format!(
                "it has {found} files, expected at most {MAX_FILES}"
            ));
        }
        let mut files = BTreeMap::new();
        for sibling in answer.siblings {
            let path = sibling.rfilename;
            check_path(&path)?;
            let digits = match sibling.lfs {
                Some(lfs) => lfs.sha256,
                None => sibling.blob_id,
            };
            let hash = match digits {
                Some(digits) => Some(
                    Hash::parse(&digits).ok_or_else(|| format!("`{path}` has no valid hash"))?,
                ),
                None => None,
            };
            let stated = Stated {
                size: sibling.size,
                hash,
            };
            if files.insert(path.clone(), stated).is_some() {
                return Err(format!("it names `{path}` twice"));
            }
        }
        Ok(Self {
            commit: answer.sha,
            files,
        })
    }

    /// Whether the model has a file.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// What is needed to fetch a file. The hub is asked for what the list does not state.
    pub(crate) fn file(
        &self,
        path: &str,
        client: &Client,
        name: &ModelName,
        progress: &mut dyn Progress,
    ) -> Result<RemoteFile, Error> {
        let refuse = |reason: String| Error::Listing {
            name: name.to_string(),
            reason,
        };
        let Some(stated) = self.files.get(path) else {
            return Err(refuse(format!(
                "an index names `{path}`, which is not there"
            )));
        };
        let (size, hash) = match stated.clone() {
            Stated {
                size: Some(size),
                hash: Some(hash),
            } => (size, hash),
            stated => {
                let ask = Ask {
                    head_only: true,
                    ..ask_for(path, &self.commit, name.repository())
                };
                let head = client.head(&ask, progress)?;
                let etag = head.header("x-linked-etag").or_else(|| head.header("etag"));
                let size = head
                    .number("x-linked-size")
                    .or_else(|| head.number("content-length"));
                let hash = stated.hash.or_else(|| Hash::parse(etag?));
                match (stated.size.or(size), hash) {
                    (Some(size), Some(hash)) => (size, hash),
                    _ => return Err(refuse(format!("`{path}` has no size or no hash"))),
                }
            }
        };
        if size > MAX_FILE_BYTES {
            return Err(refuse(format!(
                "`{path}` has {size} bytes, expected at most {MAX_FILE_BYTES}"
            )));
        }
        Ok(RemoteFile {
            path: path.into(),
            size,
            hash,
        })
    }
}

/// Asks for a file of a commit. `path` is one of [`crate::needed`], or of a shard.
pub(crate) fn ask_for<'a>(path: &'a str, commit: &str, repository: &'a str) -> Ask<'a> {
    Ask {
        path: format!("/{repository}/resolve/{commit}/{}", quoted(path)),
        head_only: false,
        from: 0,
        model: repository,
        what: path,
    }
}

/// A path as part of an address.
fn quoted(path: &str) -> String {
    let quote = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(quote).collect()
}

/// Refuses paths that could lie outside the folder of the model on some system.
fn check_path(path: &str) -> Result<(), String> {
    let is_odd = |part: &str| part.is_empty() || part == "." || part == "..";
    let is_drive = path.as_bytes().get(1) == Some(&b':');
    if path.len() > MAX_PATH_BYTES
        || is_drive
        || path.split('/').any(is_odd)
        || path.contains(|c: char| c == '\\' || c.is_control())
    {
        let shown: String = path.escape_debug().take(80).collect();
        return Err(format!(
            "it names `{shown}`, which is no path inside a folder"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn parse(siblings: &str) -> Result<Listing, String> {
        let json = format!(r#"{{"sha": "{COMMIT}", "siblings": [{siblings}]}}"#);
        Listing::parse(json.as_bytes(), &"a/b".parse().unwrap())
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            "./a",
            "a\\\\..\\\\x",
            "C:/x",
            "a\\u0000b",
            "a\\nb",
        ] {
            let error = parse(&format!(r#"{{"rfilename": "{path}"}}"#)).err();
            assert!(error.is_some(), "{path}");
        }
        let long = "x/".repeat(600) + "x";
        assert!(parse(&format!(r#"{{"rfilename": "{long}"}}"#)).is_err());
        assert!(parse(r#"{"rfilename": "a folder/ünet (1).png"}"#).is_ok());
    }

    #[test]
    fn lists_that_contradict_themselves_are_refused() {
        let twice = r#"{"rfilename": "a"}, {"rfilename": "a"}"#;
        assert!(parse(twice).err().unwrap().contains("twice"));
        let hash = r#"{"rfilename": "a", "blobId": "../../x"}"#;
        assert!(parse(hash).err().unwrap().contains("hash"));
        let many = vec![r#"{"rfilename": "a"}"#; MAX_FILES + 1].join(",");
        assert!(parse(&many).err().unwrap().contains("at most"));
        for json in ["", "{}", r#"{"sha": "main", "siblings": []}"#, "[1]"] {
            assert!(Listing::parse(json.as_bytes(), &"a/b".parse().unwrap()).is_err());
        }
    }

    #[test]
    fn a_pinned_commit_is_the_one_that_comes() {
        let json = format!(r#"{{"sha": "{COMMIT}", "siblings": []}}"#);
        let pinned = |commit: &str| format!("a/b@{commit}").parse().unwrap();
        assert!(Listing::parse(json.as_bytes(), &pinned(COMMIT)).is_ok());
        assert!(Listing::parse(json.as_bytes(), &pinned(&"f".repeat(40))).is_err());
    }

    #[test]
    fn addresses_have_no_odd_characters() {
        assert_eq!(quoted("a b/ü?#%.x"), "a%20b/%C3%BC%3F%23%25.x");
    }

    proptest! {
        #[test]
        fn accepted_paths_stay_below_their_folder(path in "[a./\\\\:x ~]{0,12}") {
            if check_path(&path).is_ok() {
                let joined = std::path::Path::new("/folder").join(&path);
                prop_assert!(joined.starts_with("/folder"));
                let climbs = joined.components().any(|part| part == std::path::Component::ParentDir);
                prop_assert!(!climbs);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Listing::parse(&bytes, &"a/b".parse().unwrap());
        }
    }
}
