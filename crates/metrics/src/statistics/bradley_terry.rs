//! Bradley-Terry strengths: how strong items are, from comparisons of two.
//!
//! Item `i` wins against `j` with probability `s_i / (s_i + s_j)`. Sources: Bradley & Terry, *Rank Analysis of
//! Incomplete Block Designs* (1952); Hunter, *MM Algorithms for Generalized Bradley-Terry Models* (2004) for when a
//! maximum of the likelihood exists; Newman, *Efficient Computation of Rankings from Pairwise Comparisons* (2023) for
//! the iteration, which has the fixed point of Hunter's and needs far fewer steps.

/// Smallest change of a log strength that is worth another sweep.
const TOLERANCE: f64 = 1e-10;

/// Most sweeps over all items; a few dozen are usual.
const MAX_SWEEPS: usize = 10_000;

/// How often each of several items won against each other. A tie is half a win for both.
#[derive(Clone, Debug, PartialEq)]
pub struct Wins {
    items: usize,
    wins: Vec<f64>, // [winner, loser]
}

impl Wins {
    /// No wins yet among `items` items.
    pub fn new(items: usize) -> Self {
        Self {
            items,
            wins: vec![0.0; items * items],
        }
    }

    /// Adds wins of one item against another; half ones are halves of ties.
    ///
    /// # Panics
    /// If there is no such item, both are the same, or `wins` is negative or not finite.
    pub fn add(&mut self, winner: usize, loser: usize, wins: f64) {
        assert!(winner < self.items && loser < self.items && winner != loser);
        assert!(wins.is_finite() && wins >= 0.0, "{wins} wins");
        self.wins[winner * self.items + loser] += wins;
    }

    /// Wins of one item against another.
    fn of(&self, winner: usize, loser: usize) -> f64 {
        self.wins[winner * self.items + loser]
    }

    /// Groups of items that met directly or through others, each in ascending order.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups = Vec::new();
        let mut is_grouped = vec![false; self.items];
        for item in 0..self.items {
            if is_grouped[item] {
                continue;
            }
            let reached = self.reached_from(item, |a, b| self.of(a, b) + self.of(b, a) > 0.0);
            let group: Vec<usize> = (0..self.items).filter(|other| reached[*other]).collect();
            for &member in &group {
                is_grouped[member] = true;
            }
            groups.push(group);
        }
        groups
    }

    /// Whether every item has, directly or through others, won against every other.
    fn has_maximum(&self) -> bool {
        let all = |reached: Vec<bool>| reached.into_iter().all(|reached| reached);
        self.items == 0
            || all(self.reached_from(0, |winner, loser| self.of(winner, loser) > 0.0))
                && all(self.reached_from(0, |loser, winner| self.of(winner, loser) > 0.0))
    }

    fn reached_from(&self, start: usize, is_linked: impl Fn(usize, usize) -> bool) -> Vec<bool> {
        let mut reached = vec![false; self.items];
        reached[start] = true;
        let mut open = vec![start];
        while let Some(item) = open.pop() {
            for (other, is_reached) in reached.iter_mut().enumerate() {
                if !*is_reached && is_linked(item, other) {
                    *is_reached = true;
                    open.push(other);
                }
            }
        }
        reached
    }
}

/// Strengths that explain the wins best.
#[derive(Clone, Debug, PartialEq)]
pub struct Strengths {
    /// Natural logarithms of the strengths, with a mean of 0. The difference of two is the logarithm of the odds that
    /// the first wins.
    pub log_strengths: Vec<f64>,
    /// Whether ties against an imagined opponent were needed for the strengths to be finite; see
    /// [`bradley_terry()`].
    pub is_penalised: bool,
}

/// Fits strengths to wins; `None` without items, or if the iteration does not settle in 10 000 sweeps, which no data
/// that we know of brings about.
///
/// A maximum of the likelihood exists, and is the only one, if in every split of the items into two camps each camp has
/// won against the other. If not (an item that always wins, or groups that never met), strengths would run off to
/// infinity. Then, and only then, each item is given one tie against an imagined opponent of strength 1, which makes
/// the maximum finite and unique again; [`Strengths::is_penalised`] says so.
///
/// ```
/// use kinvert_metrics::statistics::{Wins, bradley_terry};
///
/// let mut wins = Wins::new(2);
/// wins.add(0, 1, 3.0);
/// wins.add(1, 0, 1.0);
/// let [first, second] = bradley_terry(&wins).unwrap().log_strengths[..] else { unreachable!() };
/// assert!((first - second - 3_f64.ln()).abs() < 1e-9); // the odds are those of the wins
/// ```
pub fn bradley_terry(wins: &Wins) -> Option<Strengths> {
    let is_penalised = !wins.has_maximum();
    let opponent_wins = if is_penalised { 0.5 } else { 0.0 };
    let mut strengths = vec![1.0_f64; wins.items];
    for _ in 0..MAX_SWEEPS {
        let before = strengths.clone();
        for item in 0..wins.items {
            // The opponent has strength 1 and takes half a win from the item and gives it another.
            let shared = opponent_wins / (strengths[item] + 1.0);
            let (mut won, mut lost) = (shared, shared);
            for other in (0..wins.items).filter(|other| *other != item) {
                let sum = strengths[item] + strengths[other];
                won += wins.of(item, other) * strengths[other] / sum;
                lost += wins.of(other, item) / sum;
            }
            if lost > 0.0 {
                strengths[item] = won / lost; // a single item has neither won nor lost
            }
        }
        if !is_penalised {
            centre(&mut strengths); // only ratios are known
        }
        let change = |(new, old): (&f64, &f64)| (new / old).ln().abs();
        let largest = strengths
            .iter()
            .zip(&before)
            .map(change)
            .fold(0.0, f64::max);
        if largest < TOLERANCE {
            centre(&mut strengths);
            let log_strengths = strengths.into_iter().map(f64::ln).collect();
            return (wins.items > 0).then_some(Strengths {
                log_strengths,
                is_penalised,
            });
        }
    }
    None
}

/// Scales strengths to a geometric mean of 1.
fn centre(strengths: &mut [f64]) {
    let mean = strengths.iter().map(|s| s.ln()).sum::<f64>() / strengths.len().max(1) as f64;
    for strength in strengths {
        *strength /= mean.exp();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wins(table: &[&[f64]]) -> Wins {
        let mut wins = Wins::new(table.len());
        for (winner, row) in table.iter().enumerate() {
            for (loser, &count) in row.iter().enumerate().filter(|(loser, _)| *loser != winner) {
                wins.add(winner, loser, count);
            }
        }
        wins
    }

    #[test]
    fn an_item_that_always_wins_stays_finite_and_above_the_rest() {
        let found = bradley_terry(&wins(&[&[0., 9., 9.], &[0., 0., 5.], &[0., 4., 0.]])).unwrap();
        assert!(found.is_penalised);
        let [first, second, third] = found.log_strengths[..] else {
            panic!("three")
        };
        assert!(
            first.is_finite() && first > second + 1.0 && second > third,
            "{found:?}"
        );
    }

    /// One item that won all `n` comparisons with another: by symmetry the strengths are `s` and `1/s`, and the
    /// derivative of the penalised likelihood vanishes where `n / (s^2 + 1) = (s - 1) / (2 (s + 1))`.
    #[test]
    fn the_penalised_maximum_is_where_the_derivative_vanishes() {
        let found = bradley_terry(&wins(&[&[0., 10.], &[0., 0.]])).unwrap();
        let s = found.log_strengths[0].exp();
        let derivative = 10.0 / (s * s + 1.0) - (s - 1.0) / (2.0 * (s + 1.0));
        assert!(derivative.abs() < 1e-8, "{derivative}");
    }

    #[test]
    fn groups_that_never_met_are_told_apart() {
        let apart = wins(&[
            &[0., 2., 0., 0.],
            &[1., 0., 0., 0.],
            &[0., 0., 0., 1.],
            &[0., 0., 4., 0.],
        ]);
        assert_eq!(apart.groups(), [vec![0, 1], vec![2, 3]]);
        let found = bradley_terry(&apart).unwrap();
        assert!(found.is_penalised);
        assert!(found.log_strengths.iter().all(|s| s.is_finite()));
    }

    #[test]
    fn few_items_are_no_trouble() {
        assert_eq!(bradley_terry(&Wins::new(0)), None);
        let alone = bradley_terry(&Wins::new(1)).unwrap();
        assert_eq!(alone.log_strengths, [0.0]);
        let strangers = bradley_terry(&Wins::new(3)).unwrap();
        assert_eq!(strangers.log_strengths, [0.0; 3]);
    }

    #[test]
    fn a_long_chain_settles() {
        let mut chain = Wins::new(40);
        for item in 1..40 {
            chain.add(item - 1, item, 2.0);
            chain.add(item, item - 1, 1.0);
        }
        let found = bradley_terry(&chain).unwrap().log_strengths;
        // A chain has no cycles, so that each link alone decides: odds of 2 at every one.
        for link in found.windows(2) {
            assert!((link[0] - link[1] - 2_f64.ln()).abs() < 1e-5, "{link:?}");
        }
    }

    proptest! {
        /// At the maximum every item has as many wins as the model expects.
        #[test]
        fn wins_are_as_many_as_expected(counts in prop::collection::vec(0_u8..5, 25)) {
            let mut wins = Wins::new(5);
            for (at, count) in counts.into_iter().enumerate().filter(|(at, _)| at / 5 != at % 5) {
                wins.add(at / 5, at % 5, f64::from(count));
            }
            let found = bradley_terry(&wins).unwrap();
            prop_assert_eq!(found.is_penalised, !wins.has_maximum());
            prop_assert!(found.log_strengths.iter().sum::<f64>().abs() < 1e-9);
            if found.is_penalised {
                return Ok(());
            }
            for item in 0..5 {
                let others = || (0..5).filter(|other| *other != item);
                let won: f64 = others().map(|other| wins.of(item, other)).sum();
                let expected: f64 = others()
                    .map(|other| {
                        let odds = (found.log_strengths[item] - found.log_strengths[other]).exp();
                        (wins.of(item, other) + wins.of(other, item)) * odds / (1.0 + odds)
                    })
                    .sum();
                prop_assert!((won - expected).abs() < 1e-6, "{} {}", won, expected);
            }
        }
    }
}
