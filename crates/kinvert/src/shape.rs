//! How many entries an embedding has over the spatial grid of its site.
//!
//! The method's query-key embedding has one vector for every frame, the same at every position, and its value
//! embeddings have one for every frame and position (*Motion Inversion for Video Customization*,
//! arXiv:2403.20193v2, Sec. 3.2). Ablations leave an embedding out, or give it more or fewer positions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The positions of an embedding. Written `off`, `1d`, `2d` or `grid-RxC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EmbeddingShape {
    /// There is no such embedding.
    Off,
    /// One vector for every frame, the same at every position.
    OneD,
    /// A vector for every frame and every position of the site's grid.
    TwoD,
    /// A vector for every frame and every cell of a grid of that many rows and columns, whatever the site's;
    /// it is interpolated bilinearly to the site's grid wherever it is used.
    Grid([usize; 2]),
}

/// Most rows or columns of a coarse grid: more than any site has.
const MAX_SIDE: usize = 256;

const EXPECTED: &str = "off, 1d, 2d, or rows and columns such as grid-2x2 (each 1 to 256)";

impl EmbeddingShape {
    /// Rows and columns of the embedding at a site of the given rows and columns; `None` if there is none.
    pub fn grid(self, site: [usize; 2]) -> Option<[usize; 2]> {
        match self {
            Self::Off => None,
            Self::OneD => Some([1, 1]),
            Self::TwoD => Some(site),
            Self::Grid(grid) => Some(grid),
        }
    }

    /// Whether a coarse grid has sides that it can have.
    pub(crate) fn is_possible(self) -> bool {
        match self {
            Self::Grid(grid) => grid.iter().all(|side| (1..=MAX_SIDE).contains(side)),
            Self::Off | Self::OneD | Self::TwoD => true,
        }
    }
}

impl fmt::Display for EmbeddingShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::OneD => f.write_str("1d"),
            Self::TwoD => f.write_str("2d"),
            Self::Grid([rows, columns]) => write!(f, "grid-{rows}x{columns}"),
        }
    }
}

impl FromStr for EmbeddingShape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let grid = || {
            let (rows, columns) = text.strip_prefix("grid-")?.split_once('x')?;
            Some(Self::Grid([rows.parse().ok()?, columns.parse().ok()?]))
        };
        let shape = match text {
            "off" => Some(Self::Off),
            "1d" => Some(Self::OneD),
            "2d" => Some(Self::TwoD),
            _ => grid(),
        };
        shape
            .filter(|shape| shape.is_possible())
            .ok_or_else(|| Error::setting("embedding shape", text, EXPECTED))
    }
}

impl TryFrom<String> for EmbeddingShape {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<EmbeddingShape> for String {
    fn from(shape: EmbeddingShape) -> Self {
        shape.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for (text, shape) in [
            ("off", EmbeddingShape::Off),
            ("1d", EmbeddingShape::OneD),
            ("2d", EmbeddingShape::TwoD),
            ("grid-2x3", EmbeddingShape::Grid([2, 3])),
        ] {
            assert_eq!(text.parse::<EmbeddingShape>().unwrap(), shape);
            let json = serde_json::to_string(&shape).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(
                serde_json::from_str::<EmbeddingShape>(&json).unwrap(),
                shape
            );
        }
    }

    #[test]
    fn other_words_are_refused_with_what_was_expected() {
        for text in [
            "",
            "none",
            "3d",
            "1D",
            "grid",
            "grid-",
            "grid-2",
            "grid-0x2",
            "grid-2x257",
            "grid-2x2x2",
            "grid--1x2",
            "2x2",
        ] {
            let error = text.parse::<EmbeddingShape>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("`embedding shape` is {text}, expected {EXPECTED}")
            );
        }
        assert!(serde_json::from_str::<EmbeddingShape>("\"3d\"").is_err());
        assert!(serde_json::from_str::<EmbeddingShape>("2").is_err());
    }

    #[test]
    fn positions_follow_the_site_only_where_they_should() {
        let grids = ["off", "1d", "2d", "grid-2x3"]
            .map(|text| text.parse::<EmbeddingShape>().unwrap().grid([4, 8]));
        assert_eq!(grids, [None, Some([1, 1]), Some([4, 8]), Some([2, 3])]);
    }
}
