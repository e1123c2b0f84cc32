//! The measures by name, and what each needs.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::Error;
use crate::motion_fidelity::Variant;

/// A measure of one clip, by the name of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// [`crate::similarity::text_similarity`].
    TextSimilarity,
    /// [`crate::similarity::temporal_consistency`].
    TemporalConsistency,
    /// [`crate::motion_fidelity::record`].
    MotionFidelity(Variant),
    /// [`crate::motion_fidelity::SpriteTruth`]: the correlation of paths.
    PathCorrelation,
    /// [`crate::motion_fidelity::SpriteTruth`]: the distance of paths.
    EndPointError,
    /// [`crate::frechet::frechet_distance`] of the frames of the result and of the reference.
    Fid,
    /// [`crate::frechet::kernel_distance`] of the same.
    Kid,
}

/// What a clip is measured with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum MeasureSelection {
    /// The measures that say most about one clip, as far as what they need is there.
    #[default]
    Main,
    /// Every measure, as far as what it needs is there.
    All,
    /// These, all of which must be possible.
    Named(Vec<Measure>),
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 11] = [
        Self::TextSimilarity,
        Self::TemporalConsistency,
        Self::MotionFidelity(Variant::TwoSided),
        Self::MotionFidelity(Variant::Moving),
        Self::MotionFidelity(Variant::Published),
        Self::MotionFidelity(Variant::Hybrid),
        Self::MotionFidelity(Variant::HybridPublished),
        Self::PathCorrelation,
        Self::EndPointError,
        Self::Fid,
        Self::Kid,
    ];

    /// Those of [`MeasureSelection::Main`].
    pub const MAIN: [Self; 6] = [
        Self::TextSimilarity,
        Self::TemporalConsistency,
        Self::MotionFidelity(Variant::TwoSided),
        Self::MotionFidelity(Variant::Moving),
        Self::PathCorrelation,
        Self::EndPointError,
    ];

    /// Name of its record.
    pub fn name(self) -> &'static str {
        match self {
            Self::TextSimilarity => "text_similarity",
            Self::TemporalConsistency => "temporal_consistency",
            Self::MotionFidelity(variant) => variant.measure(),
            Self::PathCorrelation => "path_correlation",
            Self::EndPointError => "end_point_error",
            Self::Fid => "fid",
            Self::Kid => "kid",
        }
    }

    /// Whether it says something about the prompt.
    pub fn needs_prompt(self) -> bool {
        self == Self::TextSimilarity
    }

    /// Whether it holds the result against a reference.
    pub fn needs_reference(self) -> bool {
        !matches!(self, Self::TextSimilarity | Self::TemporalConsistency)
    }

    /// Whether it is defined for clips of the sprite world only.
    pub fn needs_sprites(self) -> bool {
        matches!(self, Self::PathCorrelation | Self::EndPointError)
    }

    /// Whether a larger value is a better one.
    pub fn more_is_better(self) -> bool {
        !matches!(self, Self::EndPointError | Self::Fid | Self::Kid)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Measure {
    type Err = Error;

    /// By its name; hyphens stand for underscores.
    fn from_str(text: &str) -> Result<Self, Error> {
        let name = text.trim().replace('-', "_");
        let found = Self::ALL.into_iter().find(|measure| measure.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::argument("metrics", text, format!("main, all, or some of {names}"))
        })
    }
}

impl MeasureSelection {
    /// The measures in question.
    pub fn candidates(&self) -> &[Measure] {
        match self {
            Self::Main => &Measure::MAIN,
            Self::All => &Measure::ALL,
            Self::Named(measures) => measures,
        }
    }

    /// Whether what cannot be measured is a mistake, and not just left out.
    pub fn is_strict(&self) -> bool {
        matches!(self, Self::Named(_))
    }
}

impl fmt::Display for MeasureSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::All => f.write_str("all"),
            Self::Named(measures) => {
                let names: Vec<&str> = measures.iter().map(|measure| measure.name()).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

impl FromStr for MeasureSelection {
    type Err = Error;

    /// `main`, `all`, or names with commas between them.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim() {
            "main" => Ok(Self::Main),
            "all" => Ok(Self::All),
            names => {
                let mut measures = Vec::new();
                for name in names.split(',') {
                    let measure = name.parse()?;
                    if !measures.contains(&measure) {
                        measures.push(measure);
                    }
                }
                Ok(Self::Named(measures))
            }
        }
    }
}

impl From<MeasureSelection> for String {
    fn from(selection: MeasureSelection) -> Self {
        selection.to_string()
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_read_by_its_name() {
        for measure in Measure::ALL {
            assert_eq!(measure.name().parse::<Measure>().unwrap(), measure);
        }
        let selection: MeasureSelection = "text-similarity, fid,fid".parse().unwrap();
        let expected = vec![Measure::TextSimilarity, Measure::Fid];
        assert_eq!(selection, MeasureSelection::Named(expected));
        assert_eq!(
            selection.to_string().parse::<MeasureSelection>().unwrap(),
            selection
        );
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        for text in ["", "fvd", "all,fid", "fid,,kid"] {
            let error = text.parse::<MeasureSelection>().unwrap_err().to_string();
            assert!(error.contains("text_similarity"), "{error}");
        }
    }
}
