//! `kinvert export`.

use anyhow::Context;
use kinvert::Motion;
use serde::Serialize;

use crate::args::ExportArgs;
use crate::session::Session;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    path: String,
    sha256: String,
    layers: Vec<LayerReport<'a>>,
}

#[derive(Serialize)]
struct LayerReport<'a> {
    path: &'a str,
    rank: usize,
    alpha: f32,
    in_channels: usize,
    out_channels: usize,
}

pub fn run(args: &ExportArgs, session: &Session) -> anyhow::Result<()> {
    let motion = Motion::load(&args.motion)?;
    let lora = motion.lora.with_context(|| {
        format!(
            "{}: holds no LoRA, which needs `--objective debiased-hybrid --keep-lora` when the motion is learned",
            args.motion.display()
        )
    })?;
    lora.save(&args.lora)?;
    let report = Report {
        path: args.lora.display().to_string(),
        sha256: lora.sha256(),
        layers: lora
            .layers
            .iter()
            .map(|(path, layer)| LayerReport {
                path,
                rank: layer.rank(),
                alpha: layer.alpha(),
                in_channels: layer.in_channels(),
                out_channels: layer.out_channels(),
            })
            .collect(),
    };
    let text = format!(
        "{}: a LoRA of {} layers, for the model `{}`\n",
        report.path,
        report.layers.len(),
        motion.metadata.model.name
    );
    session.print(&text, &report)
}
