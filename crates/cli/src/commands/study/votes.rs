//! `kinvert study votes`: pairs of clips for people to vote on.

use kinvert_metrics::votes::{PairKind, Survey};
use kinvert_study::StudyFolder;
use kinvert_study::voting::{PAIRS, VOTES, VotingOptions, voting_set, write_voting_set};

use crate::args::study::StudyVotesArgs;
use crate::session::Session;

pub fn run(args: &StudyVotesArgs, session: &Session) -> anyhow::Result<()> {
    let results = StudyFolder::open(&args.folder)?.results()?;
    let options = VotingOptions {
        comparisons: args.comparisons,
        all_pairs: args.all_pairs,
        seed: args.seed,
        ..VotingOptions::default()
    };
    let survey = voting_set(&results, &options)?;
    if survey.pairs().is_empty() {
        anyhow::bail!(
            "{}: nothing to compare, expected cells of the method and of a variant that are done and whose clips \
             were kept",
            args.folder.display()
        );
    }
    write_voting_set(&results, &survey)?;
    session.print(&summary(&survey, args), &survey.pairs())
}

fn summary(survey: &Survey, args: &StudyVotesArgs) -> String {
    let is_check = |kind: PairKind| matches!(kind, PairKind::Check { .. });
    let checks = survey
        .pairs()
        .iter()
        .filter(|pair| is_check(pair.kind))
        .count();
    let folder = args.folder.display();
    format!(
        "{folder}/{PAIRS}: {} comparisons, {checks} attention checks\n\
         put the votes into {folder}/{VOTES} and run `kinvert study report {folder}`\n",
        survey.pairs().len() - checks,
    )
}
