//! What the votes of a survey say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ballots::Ballots;
use super::checks::{LeftOut, screen};
use super::pair::Verdict;
use super::tally::{self, Matches};
use super::vote::{Answer, Question, Vote};
use crate::statistics::{Bootstrap, Coincidences, Interval, Level, bradley_terry, median};
use crate::{Error, Record};

/// Most variants of one survey: intervals are drawn for every two of them.
const MAX_VARIANTS: usize = 50;

/// Fewest raters whose intervals mean something.
const FEW_RATERS: usize = 10;

/// How a report is made.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportOptions {
    /// Variant that strengths are relative to; none for the average of all.
    pub baseline: Option<String>,
    /// Share of attention checks, 0 to 1, that a rater may fail without being left out. A check is failed if the
    /// answer to any question is not the expected one.
    pub max_failed_checks: f64,
    /// How intervals are drawn.
    pub bootstrap: Bootstrap,
}

impl Default for ReportOptions {
    /// No baseline; whoever fails a single check is left out.
    fn default() -> Self {
        Self {
            baseline: None,
            max_failed_checks: 0.0,
            bootstrap: Bootstrap::default(),
        }
    }
}

/// What the votes say, question by question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Variant that strengths are relative to.
    pub baseline: Option<String>,
    /// Comparisons in the survey.
    pub pairs: usize,
    /// Those of them with a vote that counts.
    pub pairs_with_votes: usize,
    /// Who voted.
    pub raters: Raters,
    /// How many votes there are.
    pub votes: VoteCounts,
    /// Median time of the votes that count, in seconds.
    pub median_seconds: Option<f64>,
    /// How intervals were drawn: over raters.
    pub bootstrap: Bootstrap,
    /// Results of each question.
    pub questions: Vec<QuestionReport>,
    /// What makes all of it doubtful.
    pub warnings: Vec<String>,
}

/// Who voted, and who does not count.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Raters {
    /// Raters whose votes count.
    pub kept: usize,
    /// Raters among those who answered no attention check.
    pub without_checks: usize,
    /// Raters who failed attention checks.
    pub left_out: Vec<LeftOut>,
    /// Share of checks that a rater may fail.
    pub max_failed_checks: f64,
}

/// How many votes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VoteCounts {
    /// All votes.
    pub total: usize,
    /// Votes on comparisons, of raters who are not left out.
    pub counted: usize,
}

/// The results of one question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionReport {
    /// The question.
    pub question: Question,
    /// What was clicked.
    pub answers: Answers,
    /// Results by variant in alphabetical order, the baseline last.
    pub variants: Vec<VariantResult>,
    /// Results of every two variants that were compared.
    pub head_to_head: Vec<HeadToHead>,
    /// How far raters agree.
    pub agreement: Agreement,
    /// What makes the results doubtful.
    pub warnings: Vec<String>,
}

/// How often each answer was clicked. Left and right should be about even, whatever the variants are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// The clip on the left.
    pub left: usize,
    /// The clip on the right.
    pub right: usize,
    /// About equal.
    pub equal: usize,
}

/// A number with its 95 % interval; each is absent where it is not defined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: Option<f64>,
    /// Bootstrap interval over raters.
    pub interval: Option<Interval>,
}

impl Estimate {
    /// The number without an interval, which would pretend that it was found.
    fn by_definition(self) -> Self {
        Self {
            interval: None,
            ..self
        }
    }
}

/// How a variant did against all others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VariantResult {
    /// The variant.
    pub variant: String,
    /// Comparisons that it won.
    pub wins: usize,
    /// Comparisons that ended about equal.
    pub ties: usize,
    /// Comparisons that it lost.
    pub losses: usize,
    /// Share of comparisons won; a tie is half a win.
    pub win_rate: Estimate,
    /// Bradley-Terry strength: odds of winning against the baseline or, without one, against a variant of average
    /// strength (the geometric mean of all).
    pub strength: Estimate,
}

/// How a variant did against another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadToHead {
    /// The variant.
    pub variant: String,
    /// The other; the baseline if it is one of the two.
    pub against: String,
    /// Comparisons that the variant won.
    pub wins: usize,
    /// Comparisons that ended about equal.
    pub ties: usize,
    /// Comparisons that it lost.
    pub losses: usize,
    /// Share of comparisons won; a tie is half a win.
    pub win_rate: Estimate,
}

/// How far raters agree who voted on the same pair.
///
/// Answers are those about the pair, as [`Verdict`]s, so that the order shown does not matter. They have an order: who
/// says equal is closer to either side than the sides are to each other, hence the ordinal alpha; the nominal one
/// is there for comparison with other studies. Both measure agreement beyond what the shares of answers
/// bring about by chance, and those depend on which result is a: draw that by lot when making a survey.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Krippendorff's alpha with a before equal before b; 1 is perfect, 0 is chance.
    pub alpha_ordinal: Option<f64>,
    /// Krippendorff's alpha with three answers that are merely different.
    pub alpha_nominal: Option<f64>,
    /// Share of equal answers among any two to the same pair, chance included.
    pub observed: Option<f64>,
    /// Pairs that at least two raters voted on.
    pub pairs: usize,
}

impl Report {
    /// Counts votes.
    ///
    /// # Errors
    /// [`Error::Argument`] if the survey has no variant of the baseline's name, or the share of failed checks is not
    /// from 0 to 1, or more than 50 variants are compared.
    pub fn new(ballots: &Ballots<'_>, options: &ReportOptions) -> Result<Self, Error> {
        let share = options.max_failed_checks;
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::argument(
                "max_failed_checks",
                share,
                "a share from 0 to 1",
            ));
        }
        let survey = ballots.survey();
        let variants = ordered_variants(ballots, options.baseline.as_deref())?;
        let screening = screen(ballots, share);
        let counted: Vec<&Vote> = screening.kept.iter().flatten().copied().collect();
        let mut votes_by_pair = BTreeMap::<&str, Vec<&Vote>>::new();
        for vote in &counted {
            votes_by_pair.entry(&vote.pair).or_default().push(vote);
        }
        let results = Results {
            ballots,
            variants: &variants,
            baseline: options.baseline.as_ref().map(|_| variants.len() - 1),
            raters: &screening.kept,
            votes_by_pair: &votes_by_pair,
            bootstrap: &options.bootstrap,
        };
        let mut report = Self {
            baseline: options.baseline.clone(),
            pairs: survey.comparisons().count(),
            pairs_with_votes: votes_by_pair.len(),
            raters: Raters {
                kept: screening.kept.len(),
                without_checks: screening.without_checks,
                left_out: screening.left_out,
                max_failed_checks: share,
            },
            votes: VoteCounts {
                total: ballots.votes().len(),
                counted: counted.len(),
            },
            median_seconds: median(counted.iter().map(|vote| vote.seconds)),
            bootstrap: options.bootstrap,
            questions: Question::ALL.map(|question| results.of(question)).into(),
            warnings: Vec::new(),
        };
        report.warnings = report.doubts();
        Ok(report)
    }

    /// The results of a question.
    pub fn question(&self, question: Question) -> Option<&QuestionReport> {
        let mut questions = self.questions.iter();
        questions.find(|report| report.question == question)
    }

    /// The win rates of each variant as `user_preference.motion`, `.text` and `.preference`.
    pub fn records(&self) -> BTreeMap<String, Vec<Record>> {
        let mut records = BTreeMap::<String, Vec<Record>>::new();
        for question in &self.questions {
            for result in &question.variants {
                let record = self.record(question, result);
                records
                    .entry(result.variant.clone())
                    .or_default()
                    .push(record);
            }
        }
        records
    }

    fn record(&self, question: &QuestionReport, result: &VariantResult) -> Record {
        let preprocessing = format!(
            "win rate against all other variants, ties as half wins; raters who failed more than {} of their \
             attention checks left out; intervals over raters, {} resamples, seed {}",
            self.raters.max_failed_checks,
            self.bootstrap.resamples(),
            self.bootstrap.seed()
        );
        let measure = format!("user_preference.{}", question.question);
        let ends = |estimate: Estimate| {
            let interval = estimate.interval;
            [
                interval.map(|ends| ends.low),
                interval.map(|ends| ends.high),
            ]
        };
        let [low, high] = ends(result.win_rate);
        let [strength_low, strength_high] = ends(result.strength);
        let mut record = Record::new(measure, result.win_rate.value, None, preprocessing)
            .with_samples("votes", result.wins + result.ties + result.losses)
            .with_samples("raters", self.raters.kept)
            .with_samples("raters_left_out", self.raters.left_out.len())
            .with_samples("pairs", self.pairs_with_votes)
            .with_beside("low", low)
            .with_beside("high", high)
            .with_beside("bradley_terry", result.strength.value)
            .with_beside("bradley_terry_low", strength_low)
            .with_beside("bradley_terry_high", strength_high)
            .with_beside("krippendorff_alpha", question.agreement.alpha_ordinal);
        let warnings = self.warnings.iter().chain(&question.warnings);
        record.warnings.extend(warnings.cloned());
        record
    }

    /// What makes all questions doubtful.
    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.votes.counted == 0 {
            doubts.push("no vote counts".into());
        } else if self.raters.kept < FEW_RATERS {
            doubts.push(format!(
                "only {} raters count: intervals over so few are too narrow, or absent for a single one",
                self.raters.kept
            ));
        }
        if self.raters.without_checks > 0 {
            doubts.push(format!(
                "{} of {} raters answered no attention check",
                self.raters.without_checks, self.raters.kept
            ));
        }
        if self.pairs_with_votes < self.pairs {
            doubts.push(format!(
                "{} of {} pairs have no vote that counts",
                self.pairs - self.pairs_with_votes,
                self.pairs
            ));
        }
        doubts
    }
}

/// The variants that are compared, in alphabetical order, the baseline last.
fn ordered_variants(ballots: &Ballots<'_>, baseline: Option<&str>) -> Result<Vec<String>, Error> {
    let mut variants: Vec<String> = ballots
        .survey()
        .variants()
        .into_iter()
        .map(Into::into)
        .collect();
    if variants.len() > MAX_VARIANTS {
        let expected = format!("at most {MAX_VARIANTS}");
        return Err(Error::argument("variants", variants.len(), expected));
    }
    if let Some(baseline) = baseline {
        let Some(place) = variants.iter().position(|variant| variant == baseline) else {
            let found = format!("{baseline:?}");
            let expected = format!("one of the variants {}", variants.join(", "));
            return Err(Error::argument("baseline", found, expected));
        };
        let baseline = variants.remove(place);
        variants.push(baseline);
    }
    Ok(variants)
}

/// What all questions are counted from.
struct Results<'r> {
    ballots: &'r Ballots<'r>,
    variants: &'r [String],
    baseline: Option<usize>,
    raters: &'r [Vec<&'r Vote>],
    votes_by_pair: &'r BTreeMap<&'r str, Vec<&'r Vote>>,
    bootstrap: &'r Bootstrap,
}

impl Results<'_> {
    fn of(&self, question: Question) -> QuestionReport {
        let raters: Vec<Matches> = self
            .raters
            .iter()
            .map(|votes| self.matches(votes, question))
            .collect();
        let variants = self.variants.len();
        let total = tally::total(&raters, &vec![1; raters.len()]);
        let met: Vec<(usize, usize)> = total.keys().copied().collect();

        // One list for the estimates and their resamples: win rates, strengths, then head to head.
        let statistics = |times: &[u32]| -> Vec<f64> {
            let total = tally::total(&raters, times);
            let scores = tally::by_variant(&total, variants);
            let win_rates = scores.into_iter().map(|score| score.win_rate());
            let odds = tally::odds(&total, variants, self.baseline);
            let head_to_head = met.iter().map(|key| match total.get(key) {
                Some(score) => score.win_rate(),
                None => f64::NAN,
            });
            win_rates.chain(odds).chain(head_to_head).collect()
        };
        let values = statistics(&vec![1; raters.len()]);
        let intervals = self.bootstrap.intervals(raters.len(), statistics);
        let estimates: Vec<Estimate> = values
            .into_iter()
            .zip(intervals)
            .map(|(value, interval)| Estimate {
                value: Some(value).filter(|value| value.is_finite()),
                interval: interval.filter(|_| value.is_finite()),
            })
            .collect();
        let (win_rates, rest) = estimates.split_at(variants);
        let (strengths, head_to_head) = rest.split_at(variants);

        let scores = tally::by_variant(&total, variants);
        let variant_results = (0..variants).map(|at| VariantResult {
            variant: self.variants[at].clone(),
            wins: scores[at].wins as usize,
            ties: scores[at].ties as usize,
            losses: scores[at].losses as usize,
            win_rate: win_rates[at],
            strength: match self.baseline == Some(at) {
                true => strengths[at].by_definition(),
                false => strengths[at],
            },
        });
        let head_to_head = total.iter().zip(head_to_head);
        let head_to_head = head_to_head.map(|((key, score), win_rate)| HeadToHead {
            variant: self.variants[key.0].clone(),
            against: self.variants[key.1].clone(),
            wins: score.wins as usize,
            ties: score.ties as usize,
            losses: score.losses as usize,
            win_rate: *win_rate,
        });
        QuestionReport {
            question,
            answers: self.answers(question),
            variants: variant_results.collect(),
            head_to_head: head_to_head.collect(),
            agreement: self.agreement(question),
            warnings: self.doubts(&total),
        }
    }

    /// The comparisons of one rater, as matches between variants.
    fn matches(&self, votes: &[&Vote], question: Question) -> Matches {
        let place = |name: &str| self.variants.iter().position(|variant| variant == name);
        let mut matches = Matches::new();
        for vote in votes {
            let Some(pair) = self.ballots.survey().pair(&vote.pair) else {
                continue; // no vote of `Ballots` is on an unknown pair
            };
            if let (Some(a), Some(b)) = (place(&pair.a.variant), place(&pair.b.variant)) {
                tally::add_verdict(&mut matches, a, b, vote.verdict(question));
            }
        }
        matches
    }

    fn answers(&self, question: Question) -> Answers {
        let mut answers = Answers::default();
        for vote in self.raters.iter().flatten() {
            match vote.answer(question) {
                Answer::Left => answers.left += 1,
                Answer::Right => answers.right += 1,
                Answer::Equal => answers.equal += 1,
            }
        }
        answers
    }

    fn agreement(&self, question: Question) -> Agreement {
        let level = |vote: &&Vote| match vote.verdict(question) {
            Verdict::A => 0,
            Verdict::Equal => 1,
            Verdict::B => 2,
        };
        let units = self.votes_by_pair.values();
        let units = units.map(|votes| votes.iter().map(level).collect::<Vec<usize>>());
        let coincidences = Coincidences::of(3, units);
        Agreement {
            alpha_ordinal: coincidences.alpha(Level::Ordinal),
            alpha_nominal: coincidences.alpha(Level::Nominal),
            observed: coincidences.observed_agreement(),
            pairs: coincidences.units(),
        }
    }

    /// What makes the strengths doubtful.
    fn doubts(&self, total: &Matches) -> Vec<String> {
        let mut doubts = Vec::new();
        if total.is_empty() {
            return doubts;
        }
        let names = |places: &[usize]| {
            let names: Vec<&str> = places
                .iter()
                .map(|at| self.variants[*at].as_str())
                .collect();
            names.join(", ")
        };
        let wins = tally::wins(total, self.variants.len());
        let scores = tally::by_variant(total, self.variants.len());
        let unmet: Vec<usize> = (0..scores.len())
            .filter(|at| scores[*at].count() == 0.0)
            .collect();
        if !unmet.is_empty() {
            doubts.push(format!(
                "no vote counts for {}, so that there are no strengths",
                names(&unmet)
            ));
            return doubts;
        }
        let is_penalised = match bradley_terry(&wins) {
            Some(strengths) => strengths.is_penalised,
            None => {
                doubts.push("the strengths do not settle".into());
                false
            }
        };
        if !is_penalised {
            return doubts;
        }
        let groups: Vec<String> = wins.groups().iter().map(|group| names(group)).collect();
        let reason = match groups.len() {
            1 => "some variants never lost to the others, so that nothing bounds the strengths"
                .into(),
            _ => format!(
                "variants were compared only within groups ({}), so that strengths of different groups cannot be \
                 compared",
                groups.join("; ")
            ),
        };
        doubts.push(format!(
            "{reason}; they are finite because each variant was given one tie against an average opponent"
        ));
        doubts
    }
}
