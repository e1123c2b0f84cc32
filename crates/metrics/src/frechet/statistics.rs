//! Mean and covariance of a set of features, all that the Fréchet distance asks for.

use nalgebra::{DMatrix, DVector};

use super::dimensions_differ;
use super::features::{Features, check_dimension, first_beyond};
use crate::Error;

/// How far two entries of a covariance that should be equal may differ, as a fraction of the largest entry: some
/// roundings of f32, in which statistics may have been computed.
const ASYMMETRY: f64 = 1e-6;

/// Mean and covariance of the features of a set of images.
///
/// [`load`](Self::load) and [`save`](Self::save) use the `.npz` files of pytorch-fid.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureStatistics {
    count: Option<u64>,
    mean: DVector<f64>,
    spread: Spread,
}

/// How samples scatter about their mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Spread {
    /// The covariance `S`, `[dimension, dimension]`.
    Covariance(DMatrix<f64>),
    /// An `L` with `S = L L^T`, `[dimension, count]`: the centred samples over the root of their number less one,
    /// where that is no larger than the covariance.
    Factor(DMatrix<f64>),
}

impl FeatureStatistics {
    /// Mean and covariance (divided by one less than the number of samples) of features at hand. For sets that
    /// do not fit into memory there is the [`StatisticsAccumulator`].
    ///
    /// # Errors
    /// If there are fewer than two samples.
    pub fn of(features: &Features) -> Result<Self, Error> {
        if features.count() > features.dimension() {
            return Moments::of(features).statistics();
        }
        check_count(features.count() as u64)?;
        let (mean, centred) = features.centred();
        Ok(Self {
            count: Some(features.count() as u64),
            mean,
            spread: Spread::Factor(centred / (features.count() as f64 - 1.0).sqrt()),
        })
    }

    /// Statistics that were computed elsewhere: of how many samples, if that is known, `mean` with `dimension`
    /// values and `covariance` with its square. A covariance that is symmetric but for the rounding of f32 is
    /// made symmetric.
    ///
    /// # Errors
    /// If the count is below two, the dimension is 0 or above [`MAX_DIMENSION`](super::MAX_DIMENSION), the two
    /// lists do not fit each other, a value is not finite or beyond what [`Features`] can lead to, or the
    /// covariance is not symmetric or has a negative variance.
    pub fn new(count: Option<u64>, mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self, Error> {
        let dimension = mean.len();
        check_dimension(dimension)?;
        count.map_or(Ok(()), check_count)?;
        if covariance.len() != dimension * dimension {
            return Err(Error::argument(
                "covariance",
                format!("a list of {} values", covariance.len()),
                format!("{dimension} by {dimension}"),
            ));
        }
        check_mean(&mean)?;
        let covariance = DMatrix::from_vec(dimension, dimension, covariance);
        check_covariance(&covariance)?;
        Ok(Self {
            count,
            mean: DVector::from_vec(mean),
            spread: Spread::Covariance((&covariance + covariance.transpose()) * 0.5),
        })
    }

    /// Number of samples; `None` if a file does not tell.
    pub fn count(&self) -> Option<u64> {
        self.count
    }

    /// Number of values per sample.
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// The mean sample.
    pub fn mean(&self) -> &[f64] {
        self.mean.as_slice()
    }

    /// The covariance, row by row: `dimension` by `dimension` values.
    pub fn covariance(&self) -> Vec<f64> {
        let covariance = match &self.spread {
            Spread::Covariance(covariance) => covariance.clone(),
            Spread::Factor(factor) => factor * factor.transpose(),
        };
        covariance.data.into() // columns are rows of a symmetric matrix
    }

    /// Whether there are no more samples than dimensions, so that the covariance is singular and a Fréchet
    /// distance says more about the number of samples than about the images; `None` if their number is not known.
    pub fn is_undersampled(&self) -> Option<bool> {
        self.count.map(|count| count <= self.dimension() as u64)
    }

    pub(super) fn mean_vector(&self) -> &DVector<f64> {
        &self.mean
    }

    pub(super) fn spread(&self) -> &Spread {
        &self.spread
    }
}

impl Spread {
    /// Trace of the covariance.
    pub(super) fn trace(&self) -> f64 {
        match self {
            Self::Covariance(covariance) => covariance.trace(),
            Self::Factor(factor) => factor.norm_squared(),
        }
    }
}

fn check_count(count: u64) -> Result<(), Error> {
    match count {
        0 | 1 => Err(too_few(count)),
        _ => Ok(()),
    }
}

fn too_few(count: u64) -> Error {
    Error::argument(
        "count",
        count,
        "at least 2 samples, since one has no covariance",
    )
}

fn check_mean(mean: &[f64]) -> Result<(), Error> {
    match first_beyond(f32::MAX.into(), mean) {
        None => Ok(()),
        Some(at) => Err(Error::argument(
            "mean",
            format!("{} at [{at}]", mean[at]),
            "finite numbers in the range of f32",
        )),
    }
}

fn check_covariance(covariance: &DMatrix<f64>) -> Result<(), Error> {
    let refused = |found: String, expected: &str| Error::argument("covariance", found, expected);
    let limit = f64::from(f32::MAX).powi(2) * 2.0;
    let (dimension, entries) = (covariance.nrows(), covariance.as_slice());
    if let Some(at) = first_beyond(limit, entries) {
        let [row, column] = [at / dimension, at % dimension];
        return Err(refused(
            format!("{} at [{row}, {column}]", entries[at]),
            "finite numbers, products of f32",
        ));
    }
    let largest = covariance.amax();
    for row in 0..dimension {
        let variance = covariance[(row, row)];
        if variance < -ASYMMETRY * largest {
            return Err(refused(
                format!("{variance} at [{row}, {row}]"),
                "variances that are not negative",
            ));
        }
        for column in 0..row {
            // The entries came row by row, so that they stand here as their transpose.
            let pair = [covariance[(column, row)], covariance[(row, column)]];
            if (pair[0] - pair[1]).abs() > ASYMMETRY * largest {
                return Err(refused(
                    format!(
                        "{} at [{row}, {column}] but {} at [{column}, {row}]",
                        pair[0], pair[1]
                    ),
                    "a symmetric matrix",
                ));
            }
        }
    }
    Ok(())
}

/// Gathers the [`FeatureStatistics`] of a set that comes in parts, such as clip by clip. It holds one covariance,
/// however many samples there are.
#[derive(Clone, Debug, Default)]
pub struct StatisticsAccumulator {
    moments: Option<Moments>,
}

impl StatisticsAccumulator {
    /// Adds samples. Parts of many samples are faster than single ones.
    ///
    /// # Errors
    /// If their dimension is not that of the samples before.
    pub fn add(&mut self, features: &Features) -> Result<(), Error> {
        match &mut self.moments {
            None => self.moments = Some(Moments::of(features)),
            Some(moments) => moments.add(&Moments::of(features), 1)?,
        }
        Ok(())
    }

    /// Number of samples so far.
    pub fn count(&self) -> u64 {
        self.moments.as_ref().map_or(0, |moments| moments.count)
    }

    /// Mean and covariance of all samples.
    ///
    /// # Errors
    /// If there are fewer than two samples.
    pub fn finish(self) -> Result<FeatureStatistics, Error> {
        match self.moments {
            None => Err(too_few(0)),
            Some(moments) => moments.statistics(),
        }
    }
}

/// Number, mean and scatter of samples: all that sets made of parts need, such as the resamples of a bootstrap.
#[derive(Clone, Debug)]
pub struct Moments {
    count: u64,
    mean: DVector<f64>,
    scatter: DMatrix<f64>, // sum of (x - mean) (x - mean)^T
}

impl Moments {
    /// Those of no samples.
    ///
    /// # Errors
    /// If the dimension is 0 or above [`MAX_DIMENSION`](super::MAX_DIMENSION).
    pub fn empty(dimension: usize) -> Result<Self, Error> {
        check_dimension(dimension)?;
        Ok(Self {
            count: 0,
            mean: DVector::zeros(dimension),
            scatter: DMatrix::zeros(dimension, dimension),
        })
    }

    /// Those of features at hand.
    pub fn of(features: &Features) -> Self {
        let (mean, centred) = features.centred();
        Self {
            count: features.count() as u64,
            mean,
            scatter: &centred * centred.transpose(),
        }
    }

    /// Number of samples.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds the samples of another set, each so many times. Sums of squares about their own means are added, never
    /// about zero, so that nothing is lost where the mean is large (Chan, Golub, LeVeque, *Algorithms for Computing
    /// the Sample Variance*, 1983).
    ///
    /// # Errors
    /// If the sets differ in their dimension.
    pub fn add(&mut self, other: &Self, times: u32) -> Result<(), Error> {
        if self.mean.len() != other.mean.len() {
            return Err(dimensions_differ(other.mean.len(), self.mean.len()));
        }
        let added = u64::from(times) * other.count;
        if added == 0 {
            return Ok(());
        }
        let (here, there) = (self.count as f64, added as f64);
        let step = &other.mean - &self.mean;
        self.count += added;
        let times = f64::from(times);
        self.scatter
            .zip_apply(&other.scatter, |sum, term| *sum += times * term);
        self.scatter
            .ger(here * there / (here + there), &step, &step, 1.0);
        self.mean += step * (there / (here + there));
        Ok(())
    }

    /// Mean and covariance.
    ///
    /// # Errors
    /// If there are fewer than two samples.
    pub fn statistics(self) -> Result<FeatureStatistics, Error> {
        check_count(self.count)?;
        Ok(FeatureStatistics {
            count: Some(self.count),
            mean: self.mean,
            spread: Spread::Covariance(self.scatter / (self.count as f64 - 1.0)),
        })
    }
}
