//! What one rater is shown.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::pair::{Pair, PairKind, Slot};
use super::survey::Survey;

/// A pair in the order in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Presentation<'s> {
    /// The pair.
    pub pair: &'s Pair,
    /// The result that stands on the left.
    pub left: Slot,
}

impl Survey {
    /// All pairs in the random order of one rater, always the same for the same seed, rater and pairs.
    ///
    /// Each result stands on the left in half of the pairs (or one more or less). The comparisons are cut into as many
    /// stretches as there are checks, and each stretch has one check at a random place in it, so that whoever
    /// stops early has met checks too.
    pub fn presentations(&self, rater: &str, seed: u64) -> Vec<Presentation<'_>> {
        let mut rng = rng_of(rater, seed);
        let is_check = |pair: &&Pair| matches!(pair.kind, PairKind::Check { .. });
        let (mut checks, mut comparisons): (Vec<&Pair>, Vec<&Pair>) =
            self.pairs().iter().partition(is_check);
        checks.shuffle(&mut rng);
        comparisons.shuffle(&mut rng);

        let mut order = Vec::with_capacity(self.pairs().len());
        let mut start = 0;
        for (index, check) in checks.iter().enumerate() {
            let end = (index + 1) * comparisons.len() / checks.len();
            let mut stretch = comparisons[start..end].to_vec();
            let place = rand::Rng::random_range(&mut rng, 0..=stretch.len());
            stretch.insert(place, check);
            order.extend(stretch);
            start = end;
        }
        order.extend(&comparisons[start..]); // all of them, if there are no checks

        let mut lefts: Vec<Slot> = [Slot::A, Slot::B]
            .into_iter()
            .cycle()
            .take(order.len())
            .collect();
        lefts.shuffle(&mut rng);
        let shown = order.into_iter().zip(lefts);
        shown
            .map(|(pair, left)| Presentation { pair, left })
            .collect()
    }
}

/// A generator of its own for every rater and seed.
fn rng_of(rater: &str, seed: u64) -> ChaCha8Rng {
    let hash = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(rater);
    ChaCha8Rng::from_seed(hash.finalize().into())
}
