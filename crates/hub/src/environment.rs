//! Where the hub is, who asks, and where files go: what the hub's own tools read from the environment.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kinvert_nets::published::{hub_cache, hub_home};

use crate::Error;

/// The hub, unless `HF_ENDPOINT` names another.
const ENDPOINT: &str = "https://huggingface.co";

/// Most bytes that are read of a file with a token.
const MAX_TOKEN_BYTES: u64 = 4096;

/// How models are fetched.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// Address of the hub, without a slash at its end.
    pub endpoint: String,
    /// The folder that holds `models--…`.
    pub cache: PathBuf,
    /// Who asks; for models that are private or whose licence must be accepted.
    pub token: Option<Token>,
    /// Whether the hub is never asked.
    pub offline: bool,
    /// Most tries in a row that bring nothing new; none counts as one. 5 unless changed.
    pub attempts: u32,
    /// Longest time until a connection is made. 10 s unless changed.
    pub connect_timeout: Duration,
    /// Longest time in which nothing is received. 30 s unless changed.
    pub idle_timeout: Duration,
    /// The wait after the first failed try; it doubles with every further one, up to a minute. 1 s unless changed. A hub
    /// that says how long to wait is obeyed instead, up to five minutes.
    pub first_delay: Duration,
}

impl HubOptions {
    /// The hub at this address with this cache, asked by nobody in particular.
    pub fn new(endpoint: impl Into<String>, cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: endpoint.into(),
            cache: cache.into(),
            token: None,
            offline: false,
            attempts: 5,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            first_delay: Duration::from_secs(1),
        }
    }

    /// What the environment says: `HF_ENDPOINT`; `HF_HUB_CACHE` or `HF_HOME`; `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` or the
    /// file that `HF_TOKEN_PATH` names or that lies in `HF_HOME`; `HF_HUB_OFFLINE` (1, true, yes or on).
    ///
    /// # Errors
    /// If there is no folder for the cache, or a token is no token.
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var_os(name), hub_cache(), hub_home())
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        cache: Option<PathBuf>,
        home: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let text = |name: &str| {
            let value = variable(name)?.to_string_lossy().trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let is_on = |name: &str| {
            let value = text(name).unwrap_or_default().to_ascii_lowercase();
            matches!(value.as_str(), "1" | "true" | "yes" | "on")
        };
        let mut options = Self::new(
            text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()),
            cache.ok_or(Error::NoCache)?,
        );
        options.offline = is_on("HF_HUB_OFFLINE");
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let (None, Some(value)) = (&options.token, text(name)) {
                options.token = Some(Token::new(&value, name)?);
            }
        }
        let file = text("HF_TOKEN_PATH").map(PathBuf::from);
        let file = file.or_else(|| Some(home?.join("token")));
        if let (None, Some(file)) = (&options.token, file) {
            options.token = Token::read(&file)?;
        }
        Ok(options)
    }
}

/// A token of the hub. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token from a text; `origin` says where it was found.
    ///
    /// # Errors
    /// [`Error::Token`] if it cannot be one.
    pub fn new(text: &str, origin: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let origin = origin.to_owned();
            return Err(Error::Token { origin });
        }
        Ok(Self(text.into()))
    }

    /// The token in a file; none if there is no such file or nothing in it.
    fn read(path: &Path) -> Result<Option<Self>, Error> {
        let Ok(file) = std::fs::File::open(path) else {
            return Ok(None);
        };
        let mut text = String::new();
        let origin = path.display().to_string();
        match file.take(MAX_TOKEN_BYTES).read_to_string(&mut text) {
            Ok(_) if text.trim().is_empty() => Ok(None),
            Ok(_) => Self::new(&text, &origin).map(Some),
            Err(_) => Err(Error::Token { origin }),
        }
    }

    /// The value of an `Authorization` header.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(set: &[(&str, &str)], home: Option<&Path>) -> Result<HubOptions, Error> {
        let value = |name: &str| set.iter().find(|(known, _)| *known == name);
        HubOptions::from_variables(
            |name| value(name).map(|(_, value)| value.into()),
            Some("/cache".into()),
            home.map(Path::to_owned),
        )
    }

    #[test]
    fn what_is_not_set_is_the_public_hub_without_a_token() {
        let options = options(&[("HF_TOKEN", " "), ("HF_HUB_OFFLINE", "0")], None).unwrap();
        assert_eq!(options.endpoint, ENDPOINT);
        assert_eq!((options.token, options.offline), (None, false));
        let homeless = HubOptions::from_variables(|_| None, None, None);
        assert!(matches!(homeless, Err(Error::NoCache)));
    }

    #[test]
    fn variables_are_read_as_the_hub_s_tools_read_them() {
        for on in ["1", "TRUE", "yes", "On"] {
            assert!(
                options(&[("HF_HUB_OFFLINE", on)], None).unwrap().offline,
                "{on}"
            );
        }
        let set = [
            ("HF_ENDPOINT", "http://mirror:8080"),
            ("HUGGING_FACE_HUB_TOKEN", "old"),
            ("HF_TOKEN", "new"),
        ];
        let options = options(&set, None).unwrap();
        assert_eq!(options.endpoint, "http://mirror:8080");
        assert_eq!(options.token, Some(Token("new".into())));
        assert!(!format!("{options:?}").contains("new"));
    }

    #[test]
    fn a_token_may_lie_in_a_file() {
        let home = tempfile::tempdir().unwrap();
        let found = || options(&[], Some(home.path())).map(|options| options.token);
        assert_eq!(found().unwrap(), None);
        std::fs::write(home.path().join("token"), "hf_x\n").unwrap();
        assert_eq!(found().unwrap(), Some(Token("hf_x".into())));
        std::fs::write(home.path().join("token"), "two words\n").unwrap();
        let error = found().unwrap_err();
        assert!(!error.to_string().contains("two words"), "{error}");
        std::fs::write(home.path().join("token"), b"\xff\xff").unwrap();
        assert!(found().is_err());
        let elsewhere = home.path().join("other");
        std::fs::write(&elsewhere, "hf_y").unwrap();
        let set = [("HF_TOKEN_PATH", elsewhere.to_str().unwrap())];
        let options = options(&set, Some(home.path())).unwrap();
        assert_eq!(options.token, Some(Token("hf_y".into())));
    }
}
