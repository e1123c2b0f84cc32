//! The report of a study: one HTML page that needs nothing else, and its plots as files.
//!
//! The page holds its style, its script, its plots and the clips it shows, and a content security policy that lets
//! nothing be fetched. All text of plans, prompts, paths and errors is foreign: it is escaped in one place,
//! for HTML and SVG alike, and templates mark nothing as safe that did not come from there. Equal input
//! gives equal bytes.

mod ablations;
mod again;
mod clips;
mod costs;
mod gifs;
mod head;
mod numbers;
mod plots;
mod preference;
mod templates;
mod text;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::analysis::Analysis;
use crate::error::Error;
use crate::export;
use crate::results::Results;

/// All values, beside the page.
pub const CSV_FILE: &str = "results.csv";

/// The tables for LaTeX, beside the page.
pub const TEX_FILE: &str = "tables.tex";

/// What remains of the budget for the sentences that depend on how many clips fit.
const SENTENCES: usize = 4096;

/// How a report is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportOptions {
    /// Most cells whose clips are shown.
    pub max_cells_shown: usize,
    /// Most bytes that the page may have; fewer cells are shown where it would have more. Without any clip it has
    /// what it has.
    pub max_bytes: usize,
    /// Rows of clips that are written as GIFs too, into `clips/`.
    pub gifs: usize,
    /// The commands that do the study again, as people type them.
    pub commands: Vec<String>,
}

impl Default for ReportOptions {
    /// Up to 12 cells and 20 MiB, without GIFs and commands.
    fn default() -> Self {
        Self {
            max_cells_shown: 12,
            max_bytes: 20 << 20,
            gifs: 0,
            commands: Vec::new(),
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFiles {
    /// The page.
    pub page: PathBuf,
    /// The tables: [`CSV_FILE`] and [`TEX_FILE`].
    pub tables: [PathBuf; 2],
    /// The plots, as files that stand alone: one for each ablation and measure with values.
    pub plots: Vec<PathBuf>,
    /// Rows of clips as GIFs.
    pub gifs: Vec<PathBuf>,
    /// Cells whose clips the page shows.
    pub cells_shown: usize,
}

/// Writes `index.html`, [`CSV_FILE`], [`TEX_FILE`] and `plots/*.svg` into a folder, which is made if it does not exist.
///
/// Clips are read from the study's folder; one that cannot be read is shown as missing.
///
/// # Errors
/// [`Error::Io`] if a file cannot be written, [`Error::Video`] if a clip for a GIF cannot be read, [`Error::Page`] if the templates do not fit the page.
pub fn write_report(
    results: &Results,
    analysis: &Analysis,
    folder: &Path,
    options: &ReportOptions,
) -> Result<ReportFiles, Error> {
    let templates = templates::Templates::new()?;
    let (ablations, plots) = ablations::ablations(results, analysis);
    let mut page = Page {
        kinvert_version: env!("CARGO_PKG_VERSION"),
        csv_file: CSV_FILE,
        tex_file: TEX_FILE,
        head: head::head(results),
        notes: &analysis.notes,
        ablations,
        clips: clips::Clips::default(),
        preference: preference::preference(analysis),
        costs: costs::costs(results),
        again: again::again(results, analysis, options),
    };
    let bare = templates.page(&page)?.len();
    let budget = options.max_bytes.saturating_sub(bare + SENTENCES);
    page.clips = clips::clips(results, options.max_cells_shown, budget, &templates)?;
    let html = templates.page(&page)?;

    let plots_folder = folder.join("plots");
    std::fs::create_dir_all(&plots_folder).map_err(Error::io(&plots_folder, "writing"))?;
    let write = |path: PathBuf, content: &str| {
        let written = kinvert_base::write_file(&path, content.as_bytes());
        written.map_err(Error::io(&path, "writing")).map(|()| path)
    };
    let mut written = Vec::new();
    for plot in plots {
        written.push(write(plots_folder.join(plot.name), &plot.svg)?);
    }
    Ok(ReportFiles {
        tables: [
            write(folder.join(CSV_FILE), &export::csv(results))?,
            write(folder.join(TEX_FILE), &export::latex(analysis))?,
        ],
        page: write(folder.join("index.html"), &html)?,
        plots: written,
        gifs: gifs::write_gifs(results, &folder.join("clips"), options.gifs)?,
        cells_shown: page.clips.shown,
    })
}

/// What the templates are filled with, in the order of the page.
#[derive(Serialize)]
struct Page<'a> {
    kinvert_version: &'static str,
    csv_file: &'static str,
    tex_file: &'static str,
    head: head::Head,
    /// Footnotes of all tables.
    notes: &'a [String],
    ablations: Vec<ablations::Ablation>,
    clips: clips::Clips,
    preference: Option<preference::Preference>,
    costs: costs::Costs,
    again: again::Again,
}
