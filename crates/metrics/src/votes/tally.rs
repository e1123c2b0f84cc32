//! Who won against whom, rater by rater.

use std::collections::BTreeMap;

use crate::statistics::{Wins, bradley_terry};

use super::pair::Verdict;

/// Results of comparisons by the two variants, the one with the lower number first.
pub(super) type Matches = BTreeMap<(usize, usize), Score>;

/// Results between two variants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    pub wins: f64,
    pub ties: f64,
    pub losses: f64,
}

impl Score {
    pub fn count(self) -> f64 {
        self.wins + self.ties + self.losses
    }

    /// Wins, and half the ties, of all; NaN of none.
    pub fn win_rate(self) -> f64 {
        (self.wins + self.ties / 2.0) / self.count()
    }

    fn mirrored(self) -> Self {
        Self {
            wins: self.losses,
            ties: self.ties,
            losses: self.wins,
        }
    }

    fn add(&mut self, times: f64, other: Self) {
        self.wins += times * other.wins;
        self.ties += times * other.ties;
        self.losses += times * other.losses;
    }
}

/// Adds what was said about a pair of variants, of which the first is [`Verdict::A`].
pub(super) fn add_verdict(matches: &mut Matches, a: usize, b: usize, verdict: Verdict) {
    let mut score = Score::default();
    match verdict {
        Verdict::A => score.wins = 1.0,
        Verdict::Equal => score.ties = 1.0,
        Verdict::B => score.losses = 1.0,
    }
    let (key, score) = if a < b {
        ((a, b), score)
    } else {
        ((b, a), score.mirrored())
    };
    matches.entry(key).or_default().add(1.0, score);
}

/// The results of all raters, each counted so many times.
pub(super) fn total(raters: &[Matches], times: &[u32]) -> Matches {
    let mut total = Matches::new();
    for (matches, times) in raters.iter().zip(times).filter(|(_, times)| **times > 0) {
        for (key, score) in matches {
            total
                .entry(*key)
                .or_default()
                .add(f64::from(*times), *score);
        }
    }
    total
}

/// The results of each variant against all others.
pub(super) fn by_variant(matches: &Matches, variants: usize) -> Vec<Score> {
    let mut scores = vec![Score::default(); variants];
    for (&(first, second), score) in matches {
        scores[first].add(1.0, *score);
        scores[second].add(1.0, score.mirrored());
    }
    scores
}

/// The results as wins, in which a tie is half a win for both.
pub(super) fn wins(matches: &Matches, variants: usize) -> Wins {
    let mut wins = Wins::new(variants);
    for (&(first, second), score) in matches {
        wins.add(first, second, score.wins + score.ties / 2.0);
        wins.add(second, first, score.losses + score.ties / 2.0);
    }
    wins
}

/// Odds of each variant to win against the baseline or, without one, against a variant of average strength (the
/// geometric mean). NaN for all if a variant was never compared: then the average, too, would be of others.
pub(super) fn odds(matches: &Matches, variants: usize, baseline: Option<usize>) -> Vec<f64> {
    let is_compared = |score: &Score| score.count() > 0.0;
    let fitted = by_variant(matches, variants)
        .iter()
        .all(is_compared)
        .then(|| bradley_terry(&wins(matches, variants)));
    let Some(strengths) = fitted.flatten() else {
        return vec![f64::NAN; variants];
    };
    let strengths = strengths.log_strengths;
    let origin = baseline.map_or(0.0, |baseline| strengths[baseline]);
    strengths.iter().map(|s| (s - origin).exp()).collect()
}
