//! `kinvert models inspect`.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Context;
use kinvert::{ModelFiles, ModelSummary};
use kinvert_hub::needed::{Needed, NetworkWeights};
use kinvert_nets::check::network_class;
use kinvert_nets::{ModelKind, Weights};
use serde::Serialize;

use super::{local, megabytes, part_files, part_name, text};
use crate::args::models::InspectModelArgs;
use crate::session::Session;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    path: String,
    model: Option<ModelSummary>,
    networks: Vec<NetworkReport>,
}

/// One network of a model.
#[derive(Serialize)]
struct NetworkReport {
    /// Its folder; empty for a network that stands alone.
    part: String,
    class: Option<String>,
    parameters: u64,
    dtypes: BTreeSet<String>,
    files: Vec<String>,
    bytes: u64,
}

pub fn run(args: &InspectModelArgs, session: &Session) -> anyhow::Result<()> {
    let files = local(&args.model)?;
    let needed = Needed::of(|path| files.contains(path), None).map_err(|missing| {
        let name = args.model.display().to_string();
        kinvert_hub::Error::NotUsable { name, missing }
    })?;
    let model = match files.contains(ModelKind::Pipeline.marker()) {
        true => Some(ModelSummary::read(&files.clone().into())?),
        false => None,
    };
    let networks = needed
        .weights
        .iter()
        .map(|weights| network(&files, weights));
    let report = Report {
        path: files.label(""),
        model,
        networks: networks.collect::<anyhow::Result<_>>()?,
    };
    session.print(&report_text(&report), &report)
}

/// Reads the headers of a network's weights.
fn network(files: &ModelFiles, weights: &NetworkWeights) -> anyhow::Result<NetworkReport> {
    let mut report = NetworkReport {
        part: weights.part.clone(),
        class: network_class(&part_files(files, &weights.part))?,
        parameters: 0,
        dtypes: BTreeSet::new(),
        files: weights.paths(files)?,
        bytes: 0,
    };
    for name in &report.files {
        let path = files.path(name).context("a file on the disk")?;
        let tensors = Weights::open_file(&path)?;
        for name in tensors.names() {
            let shape = tensors.shape(name).unwrap_or_default();
            let count = shape
                .iter()
                .fold(1_u64, |count, side| count.saturating_mul(*side as u64));
            report.parameters = report.parameters.saturating_add(count);
            let dtype = tensors.dtype(name).map(|dtype| format!("{dtype:?}"));
            report.dtypes.extend(dtype);
        }
        report.bytes += path.metadata().map_or(0, |metadata| metadata.len());
    }
    Ok(report)
}

fn report_text(report: &Report) -> String {
    let mut told = report.model.as_ref().map(text).unwrap_or_default();
    for network in &report.networks {
        let class = network.class.as_deref().unwrap_or("of no known class");
        let dtypes: Vec<&str> = network.dtypes.iter().map(String::as_str).collect();
        let _ = writeln!(
            told,
            "  {:<9} {class}: {:.1} M parameters, {}, {} in {}",
            part_name(&network.part),
            network.parameters as f64 / 1e6,
            dtypes.join(" and "),
            megabytes(network.bytes),
            network.files.join(", ")
        ); // writing to a string cannot fail
    }
    let _ = writeln!(told, "  path      {}", report.path);
    told
}
