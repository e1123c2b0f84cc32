//! The pairs of a survey.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::fault::{Faults, Place};
use super::pair::{self, Pair, PairKind};
use super::table::{self, Table};
use crate::Error;

/// Pairs with unique ids and without faults.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    pairs: Vec<Pair>,
    by_id: BTreeMap<String, usize>,
}

impl Survey {
    /// A survey of pairs, in their order.
    ///
    /// # Errors
    /// [`Error::Rows`] with every pair that has an empty or overlong id or text or the id of an earlier pair, or that
    /// compares a variant with itself.
    pub fn new(pairs: Vec<Pair>) -> Result<Self, Error> {
        let mut faults = Faults::default();
        let pairs = pairs.into_iter().enumerate();
        let pairs = pairs.map(|(index, pair)| (Place::entry(index), pair));
        Self::collect(pairs, &mut faults).ok_or(Error::pair_rows(faults))
    }

    /// Reads a file of pairs, with warnings.
    ///
    /// # Errors
    /// [`Error::Rows`] with every line that is no pair, as in [`Survey::new`]; another if the file cannot be read,
    /// lacks a column or holds no pair.
    pub fn read(path: &Path) -> Result<(Self, Vec<String>), Error> {
        let mut faults = Faults::default();
        let table = Table::read(path, pair::COLUMNS, &mut faults)?;
        let warnings = unknown_columns(path, &table.unknown).into_iter().collect();
        let pairs = table.items(path, &mut faults, Pair::read);
        if pairs.is_empty() && faults.count() == 0 {
            return Err(Error::file(path, "holds no pairs"));
        }
        let pairs = pairs.into_iter().map(|(line, pair)| {
            let path = Some(path);
            (Place { path, line }, pair)
        });
        let survey = Self::collect(pairs, &mut faults).ok_or(Error::pair_rows(faults))?;
        Ok((survey, warnings))
    }

    fn collect<'a>(
        pairs: impl Iterator<Item = (Place<'a>, Pair)>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let mut survey = Self {
            pairs: Vec::new(),
            by_id: BTreeMap::new(),
        };
        let mut places = Vec::new();
        for (place, pair) in pairs {
            let mut reasons = pair.faults();
            if let Some(first) = survey.by_id.get(&pair.id) {
                let first: &Place<'_> = &places[*first];
                reasons.push(format!("the pair {:?} is there already: {first}", pair.id));
            }
            if !reasons.is_empty() {
                faults.push(place, reasons.join("; "));
                continue;
            }
            survey.by_id.insert(pair.id.clone(), survey.pairs.len());
            survey.pairs.push(pair);
            places.push(place);
        }
        (faults.count() == 0).then_some(survey)
    }

    /// Writes the pairs, as CSV or JSON Lines by the extension.
    ///
    /// # Errors
    /// If the extension is another or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        table::write(path, pair::COLUMNS, &self.pairs)
    }

    /// The pairs.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// The pair of an id.
    pub fn pair(&self, id: &str) -> Option<&Pair> {
        self.by_id.get(id).map(|index| &self.pairs[*index])
    }

    /// The pairs that compare variants.
    pub fn comparisons(&self) -> impl Iterator<Item = &Pair> {
        self.pairs
            .iter()
            .filter(|pair| pair.kind == PairKind::Comparison)
    }

    /// Names of the variants that are compared, in alphabetical order.
    pub fn variants(&self) -> BTreeSet<&str> {
        self.comparisons()
            .flat_map(|pair| [pair.a.variant.as_str(), pair.b.variant.as_str()])
            .collect()
    }
}

/// A warning about columns that are not read.
pub(super) fn unknown_columns(path: &Path, unknown: &BTreeSet<String>) -> Option<String> {
    let names: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!(
            "{}: the columns {names} are not known and were ignored",
            path.display()
        )
    })
}
