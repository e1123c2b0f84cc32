//! Which temporal transformer blocks of a network get embeddings.

use std::fmt;
use std::str::FromStr;

use kinvert_nets::{SitePart, TemporalSite};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Channels of the sites that the published method uses.
const PUBLISHED_CHANNELS: usize = 1280;

/// A choice of sites. Written as `published`, `all`, or a comma-separated list of part and channels
/// (`down:1280`, `up:*`) and names (`mid_block.temp_attentions.0.transformer_blocks.0`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SiteSelection {
    /// Every site with 1280 channels on the way down and up; for a network without any, every site on the
    /// way down and up. On AnimateDiff these are the ten of its two coarsest levels: its motion modules also follow
    /// layers that have no spatial transformer.
    #[default]
    Published,
    /// Every site on the way down, in the middle and on the way up.
    All,
    /// Every site that one of the patterns matches.
    Matching(Vec<SitePattern>),
}

/// One element of a list of sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SitePattern {
    /// Sites of one part of the network, of one number of channels or of any.
    Part(SitePart, Option<usize>),
    /// One site by name.
    Name(String),
}

impl SiteSelection {
    /// The chosen sites among those of a network, in its order.
    ///
    /// # Errors
    /// If a pattern matches none.
    pub fn select(&self, sites: &[TemporalSite]) -> Result<Vec<TemporalSite>, Error> {
        let on_the_way = |site: &TemporalSite| matches!(site.part, SitePart::Down | SitePart::Up);
        let chosen: Vec<TemporalSite> = match self {
            Self::Published => {
                let wide =
                    |site: &&TemporalSite| site.channels == PUBLISHED_CHANNELS && on_the_way(site);
                let found: Vec<_> = sites.iter().filter(wide).cloned().collect();
                if found.is_empty() {
                    sites
                        .iter()
                        .filter(|site| on_the_way(site))
                        .cloned()
                        .collect()
                } else {
                    found
                }
            }
            Self::All => sites
                .iter()
                .filter(|site| site.part != SitePart::In)
                .cloned()
                .collect(),
            Self::Matching(patterns) => {
                if let Some(pattern) = patterns
                    .iter()
                    .find(|p| !sites.iter().any(|site| p.matches(site)))
                {
                    return Err(Error::NoSuchSite {
                        pattern: pattern.to_string(),
                        sites: sites
                            .iter()
                            .map(|site| format!("{} ({} channels)", site.name, site.channels))
                            .collect(),
                    });
                }
                sites
                    .iter()
                    .filter(|site| patterns.iter().any(|p| p.matches(site)))
                    .cloned()
                    .collect()
            }
        };
        Ok(chosen)
    }
}

impl SitePattern {
    fn matches(&self, site: &TemporalSite) -> bool {
        match self {
            Self::Part(part, channels) => {
                site.part == *part && channels.is_none_or(|c| c == site.channels)
            }
            Self::Name(name) => site.name == *name,
        }
    }
}

const PARTS: [(&str, SitePart); 4] = [
    ("in", SitePart::In),
    ("down", SitePart::Down),
    ("mid", SitePart::Mid),
    ("up", SitePart::Up),
];

impl FromStr for SiteSelection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim() {
            "published" => return Ok(Self::Published),
            "all" => return Ok(Self::All),
            _ => {}
        }
        let refuse = || Error::Setting {
            name: "sites",
            found: text.to_string(),
            expected:
                "`published`, `all`, or a list such as `down:1280,up:*` or of the names of sites"
                    .into(),
        };
        let pattern = |item: &str| {
            let item = item.trim();
            match item.split_once(':') {
                Some((part, channels)) => {
                    let (_, part) = PARTS
                        .iter()
                        .find(|(name, _)| *name == part)
                        .ok_or_else(refuse)?;
                    let channels = match channels {
                        "*" => None,
                        number => Some(number.parse().map_err(|_| refuse())?),
                    };
                    Ok(SitePattern::Part(*part, channels))
                }
                None if item.contains('.') => Ok(SitePattern::Name(item.to_string())),
                None => Err(refuse()),
            }
        };
        text.split(',')
            .map(pattern)
            .collect::<Result<_, _>>()
            .map(Self::Matching)
    }
}

impl fmt::Display for SiteSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published => f.write_str("published"),
            Self::All => f.write_str("all"),
            Self::Matching(patterns) => {
                let items: Vec<String> = patterns.iter().map(SitePattern::to_string).collect();
                f.write_str(&items.join(","))
            }
        }
    }
}

impl fmt::Display for SitePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Part(part, channels) => {
                let name = PARTS
                    .iter()
                    .find(|(_, p)| p == part)
                    .map_or("", |(name, _)| name);
                match channels {
                    Some(channels) => write!(f, "{name}:{channels}"),
                    None => write!(f, "{name}:*"),
                }
            }
        }
    }
}

impl TryFrom<String> for SiteSelection {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<SiteSelection> for String {
    fn from(selection: SiteSelection) -> Self {
        selection.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str, part: SitePart, channels: usize) -> TemporalSite {
        TemporalSite {
            name: name.into(),
            part,
            channels,
            level: 0,
        }
    }

    fn names(selection: &str, sites: &[TemporalSite]) -> Vec<String> {
        let selection: SiteSelection = selection.parse().unwrap();
        selection
            .select(sites)
            .unwrap()
            .into_iter()
            .map(|site| site.name)
            .collect()
    }

    #[test]
    fn selections_choose_and_round_trip() {
        let sites = [
            site("transformer_in.a", SitePart::In, 512),
            site("down.a", SitePart::Down, 640),
            site("down.b", SitePart::Down, 1280),
            site("mid.a", SitePart::Mid, 1280),
            site("up.a", SitePart::Up, 1280),
        ];
        assert_eq!(names("published", &sites), ["down.b", "up.a"]);
        assert_eq!(names("published", &sites[..2]), ["down.a"]);
        assert_eq!(names("all", &sites), ["down.a", "down.b", "mid.a", "up.a"]);
        assert_eq!(names("up:1280, down:640", &sites), ["down.a", "up.a"]);
        assert_eq!(names("in:*,mid.a", &sites), ["transformer_in.a", "mid.a"]);
        for text in ["published", "all", "up:1280,down:*", "mid.a"] {
            assert_eq!(text.parse::<SiteSelection>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn unknown_sites_and_words_are_refused() {
        let sites = [site("down.a", SitePart::Down, 640)];
        let error = "up:64"
            .parse::<SiteSelection>()
            .unwrap()
            .select(&sites)
            .unwrap_err();
        assert!(error.to_string().contains("`up:64`"), "{error}");
        for text in ["", "sideways:64", "down:many", "everything", "down:1,,"] {
            assert!(text.parse::<SiteSelection>().is_err(), "{text}");
        }
    }
}
