//! Cells by what they have in common, and what is drawn from them.

use std::collections::BTreeMap;

use crate::results::{Counts, Measured, Results};

/// A cell of a variant: indices of the clip and the prompt, and the seed.
pub(super) type Key = (usize, usize, u32);

/// Fewest clips that an interval is drawn over.
pub(super) const FEWEST_CLIPS: usize = 5;

/// What intervals are drawn over.
///
/// The question is about clips in general, and the cells of one clip have much in common: so whole clips are drawn.
/// Where a study has too few clips to draw from, single cells are drawn, and what is found holds for these clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Clip,
    Cell,
}

impl Unit {
    /// What the intervals of a study are drawn over.
    pub fn of(results: &Results) -> Self {
        match results.references.len() {
            FEWEST_CLIPS.. => Self::Clip,
            _ => Self::Cell,
        }
    }

    /// The unit that a cell belongs to.
    pub fn holding(self, key: &Key) -> Key {
        match self {
            Self::Clip => (key.0, 0, 0),
            Self::Cell => *key,
        }
    }

    /// For so many of them.
    pub fn name(self, count: usize) -> &'static str {
        match (self, count) {
            (Self::Clip, 1) => "clip",
            (Self::Clip, _) => "clips",
            (Self::Cell, 1) => "cell",
            (Self::Cell, _) => "cells",
        }
    }
}

/// The done cells of all variants with the same hash.
pub(super) fn done<'a>(results: &'a Results, hash: &str) -> BTreeMap<Key, &'a Measured> {
    let mut done = BTreeMap::new();
    for cell in &results.cells {
        if cell.id.variant_hash == hash
            && let Some(measured) = cell.outcome.measured()
        {
            let key = (cell.id.reference, cell.id.prompt, cell.id.seed);
            done.insert(key, measured);
        }
    }
    done
}

/// How far the cells of a hash are.
pub(super) fn counts(results: &Results, hash: &str) -> Counts {
    let cells = results.cells.iter();
    Counts::of(cells.filter(|cell| cell.id.variant_hash == hash))
}
