//! Addresses: which server is the hub, and where a redirect leads.

use std::net::IpAddr;

use ureq::http::Uri;

use crate::Error;

/// Most characters of an address that are shown.
const SHOWN_CHARS: usize = 120;

/// A server: how it is reached, and by which name and port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    encrypted: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The server of an address, or what is wrong with the address.
    fn of(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("expected http://… or https://…"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds credentials, expected none");
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err("it names no host");
        }
        let port = authority
            .port_u16()
            .unwrap_or(if encrypted { 443 } else { 80 });
        Ok(Self {
            encrypted,
            host,
            port,
        })
    }

    fn is_this_machine(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// The hub.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: String,
    origin: Origin,
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let url = text.trim().trim_end_matches('/');
        let fault = |reason| Error::Endpoint {
            found: shown(text),
            reason,
        };
        if url.contains(['?', '#']) {
            return Err(fault("it holds a query or a fragment, expected none"));
        }
        Ok(Self {
            url: url.into(),
            origin: Origin::of(url).map_err(fault)?,
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.origin.host
    }

    pub(super) fn is_this_machine(&self) -> bool {
        self.origin.is_this_machine()
    }

    /// Whether nobody between here and the hub could read a token.
    pub(super) fn may_see_token(&self) -> bool {
        self.origin.encrypted || self.is_this_machine()
    }

    /// The address of a path below the hub's.
    pub(super) fn target(&self, path: &str) -> Target {
        Target {
            url: format!("{}{path}", self.url),
            host: self.origin.host.clone(),
            origin: self.origin.clone(),
        }
    }

    /// Whether an address is on the hub's own server.
    pub(super) fn is_at(&self, target: &Target) -> bool {
        target.origin == self.origin
    }
}

/// An address that is asked.
#[derive(Debug)]
pub(crate) struct Target {
    pub(super) url: String,
    pub(super) host: String,
    origin: Origin,
}

impl Target {
    /// Where a redirect from here leads.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Redirect {
            host: self.host.clone(),
            location: shown(location),
            reason,
        };
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("https", &self.url));
        let authority = rest.split('/').next().unwrap_or_default();
        let url = if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else {
            location.to_owned()
        };
        let origin = Origin::of(&url).map_err(refuse)?;
        if self.origin.encrypted && !origin.encrypted {
            return Err(refuse("the connection would not be encrypted any more"));
        }
        Ok(Self {
            url,
            host: origin.host.clone(),
            origin,
        })
    }

    /// The address as it may be shown.
    pub(super) fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// An address without its query, where signatures stand, and without credentials.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let url = match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, behind))) => format!("{scheme}://…@{behind}"),
        _ => url.to_owned(),
    };
    let visible = url.chars().filter(|c| !c.is_control());
    visible.take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_is_its_scheme_host_and_port() {
        let hub = Endpoint::parse("https://hub.example/mirror/").unwrap();
        let start = hub.target("/api/models/a/b");
        assert_eq!(start.url, "https://hub.example/mirror/api/models/a/b");
        let at = |location: &str| hub.is_at(&start.redirected(location).unwrap());
        assert!(at("/api/other?x=1"));
        assert!(at("https://HUB.example:443/other"));
        for elsewhere in [
            "https://hub.example:8443/x",
            "https://cdn.hub.example/x",
            "//evil.example/x",
            "https://hub.example.evil/x",
        ] {
            assert!(!at(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn redirects_that_are_not_followed() {
        let start = Endpoint::parse("https://hub.example").unwrap().target("/x");
        for location in [
            "",
            "x",
            "http://hub.example/x",
            "ftp://hub.example/x",
            "file:///etc/passwd",
            "https://user:secret@hub.example/x",
            "https://",
        ] {
            let error = start.redirected(location).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn addresses_that_are_no_hub_s() {
        for text in [
            "",
            "hub",
            "ftp://hub",
            "https://",
            "https://u:secret@hub",
            "https://hub?x=secret",
        ] {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_token_is_not_sent_in_the_clear() {
        let sees = |url: &str| Endpoint::parse(url).unwrap().may_see_token();
        assert!(sees("https://hub.example") && sees("http://127.0.0.1:99") && sees("http://[::1]"));
        assert!(!sees("http://hub.example") && !sees("http://localhost.evil.example"));
    }
}
