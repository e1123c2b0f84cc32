//! Addresses of endpoints, and which of them are private.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;

use crate::Error;

/// An address that requests may go to.
pub(super) struct Address {
    pub(super) url: String,
    pub(super) encrypted: bool,
    pub(super) private: bool,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let fault = |reason: &str| Error::BaseUrl {
            url: without_credentials(text),
            reason: reason.to_string(),
        };
        let url = text.trim().trim_end_matches('/');
        let url = url.strip_suffix("/chat/completions").unwrap_or(url);
        if url.contains('@') {
            return Err(fault("it holds credentials, expected none"));
        }
        if url.contains(['?', '#']) {
            return Err(fault("it holds a query or a fragment, expected none"));
        }
        let uri: Uri = url
            .parse()
            .map_err(|_| fault("it is no URL, expected http://… or https://…"))?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(fault("expected http://… or https://…")),
        };
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(fault("it names no host"));
        }
        Ok(Self {
            url: url.to_string(),
            encrypted,
            private: is_private(host),
        })
    }
}

/// A URL fit for an error: without what stands before an `@` or behind a `?`, where credentials are.
pub(super) fn without_credentials(url: &str) -> String {
    let url = url.trim();
    let url = match url.rsplit_once('@') {
        Some((before, after)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…@{after}"),
            None => format!("…@{after}"),
        },
        None => url.to_string(),
    };
    match url.split_once(['?', '#']) {
        Some((before, _)) => format!("{before}?…"),
        None => url,
    }
}

/// Whether a host is this machine or one in a network of one's own: addresses of RFC 1918, RFC 4193 and the local link,
/// names that are reserved for such networks, and names of one word, which no public server has.
pub(super) fn is_private(host: &str) -> bool {
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => is_private_v4(address),
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => is_private_v4(address),
            None => is_private_v6(address),
        },
        Err(_) => {
            let reserved = [".localhost", ".local", ".internal", ".home.arpa"];
            // `0x8080808` and `134744072` are ways to write an address.
            let one_word =
                !host.contains('.') && host.starts_with(|c: char| c.is_ascii_lowercase());
            one_word || reserved.iter().any(|ending| host.ends_with(ending))
        }
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local()
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
}
