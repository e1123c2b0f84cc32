//! Values on the command line.

use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};

/// A value by the name it has in files: a parser for arguments.
///
/// # Errors
/// One that lists all names.
pub fn named<T: DeserializeOwned>(name: &str) -> Result<T, Error> {
    T::deserialize(StrDeserializer::new(name))
}
