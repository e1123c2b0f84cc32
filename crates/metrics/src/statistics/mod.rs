//! Statistics of a study: summaries with bootstrap intervals, paired comparisons, agreement and strengths.
//!
//! | question | answer |
//! |---|---|
//! | How large is a measure, and how sure is that? | [`Sample::summary`]: mean, standard deviation, interval |
//! | Is a variant better than the baseline on the same cells? | [`compare`]: paired difference and Wilcoxon's p |
//! | Is it still, among many comparisons? | [`holm`] |
//! | Do raters agree? | [`Coincidences::alpha`] |
//! | How strong is each variant, from comparisons of two? | [`bradley_terry()`] |
//!
//! Every interval is a percentile [`Bootstrap`] interval of 95 %, and every one that is drawn is drawn from a seed.
//! Values that are not finite are refused here: what is not defined must be left out by whoever knows why it is not.

mod bootstrap;
mod bradley_terry;
mod holm;
mod krippendorff;
mod paired;
mod sample;
mod wilcoxon;

pub use bootstrap::{Bootstrap, Interval};
pub use bradley_terry::{Strengths, Wins, bradley_terry};
pub use holm::holm;
pub use krippendorff::{Coincidences, Level};
pub use paired::{Comparison, compare};
pub use sample::{Sample, Summary, median};
pub use wilcoxon::{NullDistribution, SignedRank, wilcoxon_signed_rank};

use crate::Error;

/// Refuses values that are not finite.
fn all_finite(values: &[f64]) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::argument(
            "values",
            format!("{} at position {at}", values[at]),
            "finite numbers",
        )),
    }
}
