//! What a study comes to: every variant with all of its settings, and the cells that are run.

use std::collections::{HashMap, HashSet};

use kinvert::{Clip, EmbeddingShape, ModelId, Recommendations};
use kinvert_base::Progress;
use kinvert_metrics::evaluate::Evaluator;
use kinvert_metrics::measure::Measure;
use kinvert_metrics::motion_fidelity::{Variant, looks_like_sprites};

use crate::digest::of_parts;
use crate::error::Error;
use crate::folder::{StudyFolder, reference_file};
use crate::models::{BUILT_IN_MODEL, Models};
use crate::results::{Difference, Reference, RunVariant};
use crate::settings::{MODEL, Settings};
use crate::source::ClipSource;
use crate::store::{CellRow, MotionRow};
use crate::study::{BASELINE, Keep, Study};

/// More cells than anybody would run: a mistyped list is told before a night is lost.
const MAX_CELLS: usize = 1_000_000;

/// A study with everything it needs at hand.
pub(crate) struct Matrix {
    /// The clips, in the study's order.
    pub references: Vec<Reference>,
    /// Their frames.
    pub clips: Vec<Clip>,
    /// The baseline and the variants.
    pub variants: Vec<RunVariant>,
    /// The model's folder of each variant.
    pub models: Vec<String>,
    /// What single clips are measured with.
    pub measures: Vec<Measure>,
    /// Whether features of frames are kept, for FID and KID.
    pub keeps_features: bool,
    /// Motions to learn, in the order of work.
    pub motions: Vec<MotionRow>,
    /// Cells to run, in the order of work.
    pub cells: Vec<CellRow>,
}

impl Matrix {
    /// Reads the clips and works out all settings.
    ///
    /// # Errors
    /// [`Error::Unrunnable`] if something is missing or there are too many cells; if a clip or a model cannot be
    /// read, or settings make no sense.
    pub(crate) fn of(
        study: &Study,
        folder: &StudyFolder,
        models: &mut Models,
        evaluator: &Evaluator,
        progress: &mut dyn Progress,
    ) -> Result<Self, Error> {
        check(study, folder)?;
        let main = study.model.as_deref().unwrap_or(BUILT_IN_MODEL);
        let model = models.get(main)?;
        let base = model.recommendations().clone();
        let id = model.id().clone();

        let keeps_features = study
            .metrics
            .iter()
            .any(|name| name == "fid" || name == "kid");
        let (mut references, mut clips) = (Vec::new(), Vec::new());
        for clip in &study.clips {
            let source = ClipSource::parse(&clip.path, folder.path())?;
            let read = source.load(model, progress)?;
            let features = match keeps_features {
                true => evaluator.features(&read.clip)?,
                false => Vec::new(),
            };
            references.push(Reference {
                path: clip.path.clone(),
                caption: clip.caption.clone().or(read.caption).unwrap_or_default(),
                frames: read.clip.len(),
                size: [read.clip.width() as usize, read.clip.height() as usize],
                fps: read.clip.fps(),
                file: (study.keep != Keep::None).then(|| reference_file(&read.sha256)),
                sha256: read.sha256,
                features,
            });
            clips.push(read.clip);
        }

        let mut variants =
            vec![Resolver::new(&id, &base).variant(BASELINE, None, &study.method)?];
        let mut names = vec![main.to_owned()];
        let (baseline, of_baseline) = (variants[0].settings.clone(), id.clone());
        for variant in &study.variants {
            let name = match variant.settings.get(MODEL).and_then(toml::Value::as_str) {
                Some(name) => name.to_owned(),
                None => main.to_owned(),
            };
            let model = models.get(&name)?;
            let resolver = Resolver {
                model: model.id().clone(),
                base: model.recommendations().clone(),
                baseline: Some((&baseline, &of_baseline)),
            };
            let settings = study.method.clone().with(&variant.settings);
            let ablation = variant.ablation.as_deref();
            variants.push(resolver.variant(&variant.name, ablation, &settings)?);
            names.push(name);
        }

        let measures = measures(study, &clips)?;
        let (motions, cells) = jobs(study, &references, &variants, &measures, keeps_features);
        Ok(Self {
            references,
            clips,
            variants,
            models: names,
            measures,
            keeps_features,
            motions,
            cells,
        })
    }
}

impl Matrix {
    /// Steps of every motion and cell by its key, in units of a denoising step, as far as they can be foreseen.
    pub(crate) fn steps(&self) -> HashMap<&str, u64> {
        let find = |is_it: &dyn Fn(&RunVariant) -> bool| {
            let variant = self.variants.iter().find(|variant| is_it(variant));
            variant.map(|variant| &variant.settings)
        };
        let motions = self.motions.iter().map(|motion| {
            let settings = find(&|variant| variant.inversion_hash == motion.inversion_hash);
            (motion.key.as_str(), settings.map_or(0, learning_steps))
        });
        let cells = self.cells.iter().map(|cell| {
            let settings = find(&|variant| variant.hash == cell.variant_hash);
            (
                cell.key.as_str(),
                settings.map_or(0, |settings| settings.generation.steps as u64),
            )
        });
        motions.chain(cells).collect()
    }
}

/// Steps of learning. DDIM inversion needs neither guidance nor gradients, so its steps count half.
pub(crate) fn learning_steps(settings: &kinvert::Variant) -> u64 {
    let inversion = &settings.inversion;
    let is_learned =
        inversion.query_key != EmbeddingShape::Off || inversion.values != EmbeddingShape::Off;
    let steps = if is_learned { inversion.steps } else { 0 };
    (steps + inversion.ddim_inversion_steps / 2) as u64
}

/// Puts a variant's settings on top of what its model recommends.
struct Resolver<'a> {
    model: ModelId,
    base: Recommendations,
    /// The baseline and its model, if this is not it.
    baseline: Option<(&'a kinvert::Variant, &'a ModelId)>,
}

impl Resolver<'_> {
    fn new(model: &ModelId, base: &Recommendations) -> Self {
        Self {
            model: model.clone(),
            base: base.clone(),
            baseline: None,
        }
    }

    fn variant(
        &self,
        name: &str,
        ablation: Option<&str>,
        settings: &Settings,
    ) -> Result<RunVariant, Error> {
        let run = kinvert::Variant {
            inversion: settings.applied_to("inversion", &self.base.inversion)?,
            generation: settings.applied_to("generation", &self.base.generation)?,
        };
        run.check().map_err(|error| Error::Unrunnable {
            name: format!("variant `{name}`"),
            reason: error.to_string(),
        })?;
        let mut differences: Vec<Difference> = Vec::new();
        let mut other_model = None;
        if let Some((baseline, model)) = self.baseline {
            if *model != self.model {
                other_model = Some(self.model.clone());
                differences.push(Difference {
                    field: "model".into(),
                    baseline: model.name.clone().into(),
                    variant: self.model.name.clone().into(),
                });
            }
            let settings = run.differences(baseline).into_iter();
            differences.extend(settings.map(|(field, baseline, variant)| Difference {
                field,
                baseline,
                variant,
            }));
        }
        Ok(RunVariant {
            name: name.into(),
            ablation: ablation.map(str::to_owned),
            hash: of_parts(&[&run.hash(), &self.model.sha256]),
            inversion_hash: of_parts(&[&run.inversion_hash(), &self.model.sha256]),
            model: other_model,
            settings: run,
            differences,
        })
    }
}

/// Refuses a study that cannot be run.
fn check(study: &Study, folder: &StudyFolder) -> Result<(), Error> {
    let refuse = |reason: String| {
        Err(Error::Unrunnable {
            name: folder
                .path()
                .join(crate::folder::STUDY_FILE)
                .display()
                .to_string(),
            reason,
        })
    };
    let lists = [
        ("clips", study.clips.len()),
        ("prompts", study.prompts.len()),
        ("seeds", study.seeds.len()),
    ];
    if let Some((what, _)) = lists.iter().find(|(_, count)| *count == 0) {
        return refuse(format!("`{what}` is empty, expected at least one entry"));
    }
    let cells = lists
        .iter()
        .fold(study.variants.len() + 1, |cells, (_, count)| {
            cells.saturating_mul(*count)
        });
    if cells > MAX_CELLS {
        return refuse(format!("{cells} cells, expected at most {MAX_CELLS}"));
    }
    let mut seen = HashSet::new();
    let clips = study
        .clips
        .iter()
        .map(|clip| format!("clip `{}`", clip.path));
    let prompts = study
        .prompts
        .iter()
        .map(|prompt| format!("prompt `{prompt}`"));
    let seeds = study.seeds.iter().map(|seed| format!("seed {seed}"));
    for entry in clips.chain(prompts).chain(seeds) {
        if seen.contains(&entry) {
            return refuse(format!("the {entry} stands there twice"));
        }
        seen.insert(entry);
    }
    Ok(())
}

/// What every cell is measured with: what the study asks for; with motion fidelity also that of what moves; and where
/// all clips are of the sprite world, whose true motion is known, how well that is followed.
fn measures(study: &Study, clips: &[Clip]) -> Result<Vec<Measure>, Error> {
    let mut measures = Vec::new();
    for name in &study.metrics {
        match name.as_str() {
            "fid" | "kid" | "user_preference" => {} // of sets, and of people
            name => measures.push(name.parse::<Measure>()?),
        }
    }
    if measures.is_empty() {
        measures.extend(
            Measure::MAIN
                .iter()
                .filter(|measure| !measure.needs_sprites()),
        );
    }
    // A background at rest agrees with any other one: what moves is measured by itself too.
    let fidelity = Measure::MotionFidelity(Variant::TwoSided);
    let moving = Measure::MotionFidelity(Variant::Moving);
    if let Some(at) = measures.iter().position(|measure| *measure == fidelity)
        && !measures.contains(&moving)
    {
        measures.insert(at + 1, moving);
    }
    let mut all_sprites = true;
    for clip in clips {
        all_sprites = all_sprites && looks_like_sprites(clip)?;
    }
    for measure in [Measure::PathCorrelation, Measure::EndPointError] {
        if all_sprites && !measures.contains(&measure) {
            measures.push(measure);
        }
    }
    Ok(measures)
}

/// Motions and cells, clip by clip, so that the first clip is whole before the second is begun.
fn jobs(
    study: &Study,
    references: &[Reference],
    variants: &[RunVariant],
    measures: &[Measure],
    keeps_features: bool,
) -> (Vec<MotionRow>, Vec<CellRow>) {
    let measured: Vec<&str> = measures.iter().map(|measure| measure.name()).collect();
    let measured = format!("{}; features {keeps_features}", measured.join(","));
    let (mut motions, mut cells) = (Vec::new(), Vec::new());
    let mut known = HashSet::new();
    for (index, reference) in references.iter().enumerate() {
        for variant in variants {
            let motion = of_parts(&[
                &variant.inversion_hash,
                &reference.sha256,
                &reference.caption,
            ]);
            if known.insert(motion.clone()) {
                motions.push(MotionRow {
                    key: motion.clone(),
                    inversion_hash: variant.inversion_hash.clone(),
                    reference: index,
                });
            }
            for prompt in &study.prompts {
                for &seed in &study.seeds {
                    let key =
                        of_parts(&[&variant.hash, &motion, prompt, &seed.to_string(), &measured]);
                    if known.insert(key.clone()) {
                        cells.push(CellRow {
                            key,
                            motion: motion.clone(),
                            variant_hash: variant.hash.clone(),
                            reference: index,
                            prompt: prompt.clone(),
                            seed,
                        });
                    }
                }
            }
        }
    }
    (motions, cells)
}
