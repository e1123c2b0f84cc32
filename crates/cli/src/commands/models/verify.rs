//! `kinvert models verify`.

use std::fmt::Write;

use anyhow::{Context, ensure};
use kinvert::{Device, ModelFiles};
use kinvert_hub::{Verified, needed, verify};
use kinvert_nets::check::{check_network, network_class};
use serde::Serialize;

use super::{local, part_files, part_name};
use crate::args::models::VerifyArgs;
use crate::commands::short;
use crate::session::Session;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    path: String,
    missing: Vec<String>,
    files: Vec<Verified>,
    networks: Vec<Checked>,
}

/// Whether the weights of a network fit it.
#[derive(Serialize)]
struct Checked {
    /// Its folder; empty for a network that stands alone.
    part: &'static str,
    class: Option<String>,
    /// Whether networks of the class can be checked.
    checked: bool,
    fault: Option<String>,
}

pub fn run(args: &VerifyArgs, session: &mut Session) -> anyhow::Result<()> {
    let files = local(&args.model)?;
    let folder = files.path("").context("a folder on the disk")?;
    let device = session.device();
    let networks = needed::networks(&files).into_iter();
    let report = Report {
        path: files.label(""),
        missing: needed::missing(&files),
        files: verify(&folder, &mut session.progress)?,
        networks: networks.map(|part| checked(&files, part, device)).collect(),
    };
    session.print(&report_text(&report), &report)?;
    let of_files = report.files.iter().filter(|file| file.fault.is_some());
    let of_networks = report
        .networks
        .iter()
        .filter(|network| network.fault.is_some());
    let faults = report.missing.len() + of_files.count() + of_networks.count();
    ensure!(faults == 0, "{}: {faults} faults", args.model.display());
    Ok(())
}

fn checked(files: &ModelFiles, part: &'static str, device: Device) -> Checked {
    let files = part_files(files, part);
    let (checked, fault) = match check_network(&files, device) {
        Ok(checked) => (checked, None),
        Err(error) => (true, Some(format!("{:#}", anyhow::Error::from(error)))),
    };
    Checked {
        part,
        class: network_class(&files).ok().flatten(),
        checked,
        fault,
    }
}

fn report_text(report: &Report) -> String {
    let mut text = format!("{}\n", report.path);
    let mut line = |state: &str, what: &str, detail: &str| {
        let _ = writeln!(text, "  {state:<8}  {what}: {detail}"); // writing to a string cannot fail
    };
    for path in &report.missing {
        line("wrong", path, "it is missing");
    }
    for file in &report.files {
        match (&file.fault, &file.expected) {
            (Some(fault), _) => line("wrong", &file.file, fault),
            (None, Some(hash)) => line("right", &file.file, &format!("hash {}", short(hash))),
            (None, None) => line("unknown", &file.file, "there is no hash to compare with"),
        }
    }
    for network in &report.networks {
        let class = network.class.as_deref().unwrap_or("no class");
        match &network.fault {
            Some(fault) => line("wrong", part_name(network.part), fault),
            None if network.checked => line(
                "right",
                part_name(network.part),
                &format!("the weights fit {class}"),
            ),
            None => line(
                "unknown",
                part_name(network.part),
                &format!("{class} cannot be checked"),
            ),
        }
    }
    text
}
