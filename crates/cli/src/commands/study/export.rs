//! `kinvert study export`: the numbers of a study for other programs.

use std::io::Write;

use anyhow::Context;
use kinvert_metrics::statistics::Bootstrap;
use kinvert_metrics::votes::OnFault;
use kinvert_study::results::Results;
use kinvert_study::{Analysis, StudyFolder, export, voting};

use crate::args::study::ExportArgs;

pub fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let results = StudyFolder::open(&args.folder)?.results()?;
    let text = if args.csv {
        export::csv(&results)
    } else if args.jsonl {
        export::json_lines(&results)
    } else {
        export::latex(&analysis(&results)?)
    };
    match &args.output {
        Some(path) => Ok(kinvert::atomic::write_file(path, text.as_bytes())?),
        None => {
            let mut stdout = std::io::stdout().lock();
            let written = stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush());
            written.context("cannot write to stdout")
        }
    }
}

/// The statistics of a study, with the votes that lie in its folder.
pub fn analysis(results: &Results) -> anyhow::Result<Analysis> {
    let bootstrap = Bootstrap::default();
    let preference = voting::read_votes(&results.folder, OnFault::Skip, &bootstrap)?;
    Ok(Analysis::of(results, preference, &bootstrap)?)
}
