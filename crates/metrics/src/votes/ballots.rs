//! The votes of a survey.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fault::{Faults, Place};
use super::pair::PairKind;
use super::survey::{Survey, unknown_columns};
use super::table::{self, Table};
use super::vote::{self, Vote};
use crate::Error;

/// Most votes of one survey.
const MAX_VOTES: usize = 2_000_000;

/// Votes on the pairs of a survey, at most one of each rater on each pair, by rater and then by pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Ballots<'s> {
    survey: &'s Survey,
    votes: Vec<Vote>,
}

/// What to do with rows that are no vote on a pair of the survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// Refuse the files, and tell every such row.
    Refuse,
    /// Leave those rows out, and count and tell them. Of several votes of a rater on a pair the first counts.
    Skip,
}

/// What was read from files.
#[derive(Clone, Debug, PartialEq)]
pub struct Import<'s> {
    /// The votes.
    pub ballots: Ballots<'s>,
    /// Rows that were left out.
    pub skipped: Faults,
    /// What else the user should know.
    pub warnings: Vec<String>,
}

impl<'s> Ballots<'s> {
    /// Votes on a survey.
    ///
    /// # Errors
    /// [`Error::Rows`] with every vote that is on no pair of the survey, has an empty or overlong id or a time that is
    /// negative or not finite, or is the second of its rater on its pair.
    pub fn new(survey: &'s Survey, votes: Vec<Vote>) -> Result<Self, Error> {
        let mut faults = Faults::default();
        let votes = votes.into_iter().enumerate();
        let votes = votes.map(|(index, vote)| (Place::entry(index), vote));
        let ballots = Self::collect(survey, votes, &mut faults);
        match faults.count() {
            0 => Ok(ballots),
            _ => Err(Error::vote_rows(faults)),
        }
    }

    /// Reads and merges files of votes.
    ///
    /// # Errors
    /// [`Error::Rows`] with every line that is no vote on the survey, as in [`Ballots::new`], unless those are skipped;
    /// another if a file cannot be read, lacks a column or holds no vote, or there are more than two million votes.
    pub fn read(
        survey: &'s Survey,
        paths: &[PathBuf],
        on_fault: OnFault,
    ) -> Result<Import<'s>, Error> {
        let mut faults = Faults::default();
        let mut warnings = Vec::new();
        let mut votes = Vec::new();
        for path in paths {
            let faults_before = faults.count();
            let table = Table::read(path, vote::COLUMNS, &mut faults)?;
            warnings.extend(unknown_columns(path, &table.unknown));
            let items = table.items(path, &mut faults, Vote::read);
            if items.is_empty() && faults.count() == faults_before {
                return Err(Error::file(path, "holds no votes"));
            }
            if items.len() > MAX_VOTES - votes.len() {
                let reason =
                    format!("has more votes than fit, expected at most {MAX_VOTES} in all");
                return Err(Error::file(path, reason));
            }
            votes.extend(items.into_iter().map(|(line, vote)| {
                let path: Option<&Path> = Some(path);
                (Place { path, line }, vote)
            }));
        }
        let ballots = Self::collect(survey, votes.into_iter(), &mut faults);
        if on_fault == OnFault::Refuse && faults.count() > 0 {
            return Err(Error::vote_rows(faults));
        }
        Ok(Import {
            ballots,
            skipped: faults,
            warnings,
        })
    }

    fn collect<'p>(
        survey: &'s Survey,
        votes: impl Iterator<Item = (Place<'p>, Vote)>,
        faults: &mut Faults,
    ) -> Self {
        let mut kept = BTreeMap::<(String, String), (Place<'p>, Vote)>::new();
        for (place, vote) in votes {
            let mut reasons = vote.faults();
            if reasons.is_empty() && survey.pair(&vote.pair).is_none() {
                reasons.push(format!("the survey has no pair {:?}", vote.pair));
            }
            let key = (vote.rater.clone(), vote.pair.clone());
            if let Some((first, _)) = kept.get(&key) {
                reasons.push(format!(
                    "the rater {:?} has voted on the pair {:?} already: {first}",
                    vote.rater, vote.pair
                ));
            }
            if reasons.is_empty() {
                kept.insert(key, (place, vote));
            } else {
                faults.push(place, reasons.join("; "));
            }
        }
        let votes = kept.into_values().map(|(_, vote)| vote).collect();
        Self { survey, votes }
    }

    /// Writes the votes, as CSV or JSON Lines by the extension.
    ///
    /// # Errors
    /// If the extension is another or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        table::write(path, vote::COLUMNS, &self.votes)
    }

    /// The survey that they are on.
    pub fn survey(&self) -> &'s Survey {
        self.survey
    }

    /// The votes, by rater and then by pair.
    pub fn votes(&self) -> &[Vote] {
        &self.votes
    }

    /// The votes of each rater, in alphabetical order.
    pub(super) fn by_rater(&self) -> impl Iterator<Item = &[Vote]> {
        self.votes.chunk_by(|a, b| a.rater == b.rater)
    }

    /// What the pair of a vote is asked for.
    pub(super) fn kind(&self, vote: &Vote) -> Option<PairKind> {
        self.survey.pair(&vote.pair).map(|pair| pair.kind)
    }
}
