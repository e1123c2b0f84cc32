//! What a network says about the images of a set: one row of numbers per image.

use nalgebra::{DMatrix, DVector};

use super::{MAX_DIMENSION, dimensions_differ};
use crate::Error;

/// The features of a set of images, at least of one: finite numbers that fit into f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    samples: DMatrix<f64>, // [dimension, count]: columns lie together in memory as the rows of the input do
}

impl Features {
    /// The features of as many images as there are rows of `dimension` values, f32 or f64, row after row.
    ///
    /// # Errors
    /// If there is no row or the last one is not whole, a value is not finite or exceeds the range of f32 (the
    /// cube of a product of such features still fits into f64), or the dimension is 0 or above
    /// [`MAX_DIMENSION`].
    pub fn new<T: Copy + Into<f64>>(dimension: usize, values: &[T]) -> Result<Self, Error> {
        check_dimension(dimension)?;
        if values.is_empty() || !values.len().is_multiple_of(dimension) {
            return Err(Error::argument(
                "features",
                format!("a list of {} values", values.len()),
                format!("one row of {dimension} or several"),
            ));
        }
        let values: Vec<f64> = values.iter().map(|&value| value.into()).collect();
        if let Some(at) = first_beyond(f32::MAX.into(), &values) {
            return Err(Error::argument(
                "features",
                format!(
                    "{} in row {}, column {}",
                    values[at],
                    at / dimension,
                    at % dimension
                ),
                "finite numbers in the range of f32",
            ));
        }
        Ok(Self {
            samples: DMatrix::from_vec(dimension, values.len() / dimension, values),
        })
    }

    /// The features of several sets as those of one, in their order.
    ///
    /// # Errors
    /// If there is no set, or they differ in their dimension.
    pub fn joined<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Result<Self, Error> {
        let mut values = Vec::new();
        let mut dimension = None;
        for set in sets {
            let expected = *dimension.get_or_insert(set.dimension());
            if set.dimension() != expected {
                return Err(dimensions_differ(set.dimension(), expected));
            }
            values.extend_from_slice(set.samples.as_slice());
        }
        let Some(dimension) = dimension else {
            return Err(Error::argument("features", "no set", "one or several"));
        };
        Ok(Self {
            samples: DMatrix::from_vec(dimension, values.len() / dimension, values),
        })
    }

    /// Number of images, at least one.
    pub fn count(&self) -> usize {
        self.samples.ncols()
    }

    /// Number of values per image.
    pub fn dimension(&self) -> usize {
        self.samples.nrows()
    }

    /// One column per image.
    pub(super) fn samples(&self) -> &DMatrix<f64> {
        &self.samples
    }

    /// The mean image, and the images less it, `[dimension, count]`.
    pub(super) fn centred(&self) -> (DVector<f64>, DMatrix<f64>) {
        let mean = self.samples.column_mean();
        let mut centred = self.samples.clone();
        for mut sample in centred.column_iter_mut() {
            sample -= &mean;
        }
        (mean, centred)
    }
}

/// Refuses a dimension that no features have.
pub(super) fn check_dimension(dimension: usize) -> Result<(), Error> {
    match (1..=MAX_DIMENSION).contains(&dimension) {
        true => Ok(()),
        false => Err(Error::argument(
            "dimension",
            dimension,
            format!("1 to {MAX_DIMENSION}"),
        )),
    }
}

/// Where the first value stands that is not finite or larger than a limit.
pub(super) fn first_beyond(limit: f64, values: &[f64]) -> Option<usize> {
    let within = |value: &f64| value.abs() <= limit; // false for NaN
    values.iter().position(|value| !within(value))
}
