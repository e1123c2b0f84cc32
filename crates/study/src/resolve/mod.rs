//! From the words of a plan to settings of the method.
//!
//! Deterministic, and never a guess: a wish is run only if every word that could change its meaning is
//! understood. The words stand in one table (`words.rs`), what they ask for in another (`axes.rs`); what is not
//! mapped comes back as [`Unresolved`], with the words that were understood and the nearest axis.

mod axes;
mod metrics;
mod parts;
mod read;
mod standard;
mod words;

use std::fmt;

use crate::error::Error;
use crate::plan::{Ablation, Action, Plan};
use crate::settings::Settings;

use read::{Context, Found};

pub use standard::{Standard, axis_of_sentence, standard_ablations};

/// Unresolved wishes that an error lists; the rest are counted.
const MAX_LISTED: usize = 20;

/// What was understood of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// One for each ablation of the plan, in its order.
    pub ablations: Vec<Resolved>,
}

/// What was understood of an ablation.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The ablation's name.
    pub name: String,
    /// What each of its wishes asks for.
    pub readings: Vec<Reading>,
    /// Its measures, as they are named in results.
    pub metrics: Vec<&'static str>,
    /// Names of measures that are not known.
    pub unknown_metrics: Vec<String>,
}

/// What one wish asks for: a replacement, or the part that is removed.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The wish, as written.
    pub words: String,
    /// What was made of it.
    pub outcome: Outcome,
    /// What was assumed or set aside.
    pub notes: Vec<String>,
}

/// What was made of a wish.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was understood.
    Understood {
        /// The axis that it is about.
        axis: &'static str,
        /// What is to be run.
        variants: Vec<Variant>,
        /// Wishes for what the method does anyway, which the baseline answers.
        own: Vec<String>,
    },
    /// It was not.
    Unresolved(Unresolved),
}

/// Settings to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// A readable name.
    pub name: String,
    /// What differs from the method.
    pub settings: Settings,
}

/// A wish that no settings are known for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unresolved {
    /// The wish, as written.
    pub words: String,
    /// Its words that mean something here.
    pub understood: Vec<String>,
    /// Its words that do not, or not beside the others.
    pub not_understood: Vec<String>,
    /// The axis that it is probably about.
    pub nearest_axis: Option<String>,
    /// Settings that are equally near, if it could be any of them.
    pub candidates: Vec<String>,
}

/// Maps the words of a plan onto settings of the method.
pub fn resolve(plan: &Plan) -> Resolution {
    let ablations = plan.ablations.iter().map(resolve_ablation).collect();
    Resolution { ablations }
}

impl Resolution {
    /// All wishes that no settings are known for.
    pub fn unresolved(&self) -> impl Iterator<Item = (&Resolved, &Unresolved)> {
        let ablations = self.ablations.iter();
        ablations.flat_map(|ablation| ablation.unresolved().map(move |wish| (ablation, wish)))
    }

    /// Refuses a plan of which something was not understood: wishes or names of measures.
    ///
    /// # Errors
    /// [`Error::Unresolved`], which lists them.
    pub fn strict(&self) -> Result<(), Error> {
        let wishes = self
            .unresolved()
            .map(|(ablation, wish)| format!("{}: {wish}", ablation.name));
        let metrics = self.ablations.iter().flat_map(|ablation| {
            let unknown = ablation.unknown_metrics.iter();
            unknown.map(|name| format!("{}: metric \"{name}\" is not known", ablation.name))
        });
        let all: Vec<String> = wishes.chain(metrics).collect();
        if all.is_empty() {
            return Ok(());
        }
        let listed = all.iter().take(MAX_LISTED);
        let mut listed: String = listed.map(|line| format!("\n  {line}")).collect();
        if all.len() > MAX_LISTED {
            listed.push_str(&format!("\n  and {} more", all.len() - MAX_LISTED));
        }
        let count = all.len();
        Err(Error::Unresolved { count, listed })
    }
}

impl Resolved {
    /// What is to be run.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        self.readings
            .iter()
            .flat_map(|reading| match &reading.outcome {
                Outcome::Understood { variants, .. } => variants.as_slice(),
                Outcome::Unresolved(_) => &[],
            })
    }

    /// What no settings are known for.
    pub fn unresolved(&self) -> impl Iterator<Item = &Unresolved> {
        self.readings
            .iter()
            .filter_map(|reading| match &reading.outcome {
                Outcome::Unresolved(unresolved) => Some(unresolved),
                Outcome::Understood { .. } => None,
            })
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.words)?;
        let list = |words: &[String]| words.join(", ");
        if !self.candidates.is_empty() {
            return write!(f, " could be any of: {}", list(&self.candidates));
        }
        match &self.nearest_axis {
            Some(axis) => write!(f, " is nearest to `{axis}`")?,
            None => write!(f, " is near no axis of the method")?,
        }
        if !self.understood.is_empty() {
            write!(f, "; understood: {}", list(&self.understood))?;
        }
        if !self.not_understood.is_empty() {
            write!(f, "; not understood: {}", list(&self.not_understood))?;
        }
        Ok(())
    }
}

fn resolve_ablation(ablation: &Ablation) -> Resolved {
    let mut metrics = Vec::new();
    let mut unknown_metrics = Vec::new();
    for name in &ablation.metrics {
        match metrics::measures(name) {
            Ok(known) => metrics.extend(known),
            Err(unknown) => unknown_metrics.extend(unknown),
        }
    }
    let mut seen = Vec::new();
    metrics.retain(|metric| {
        let new = !seen.contains(metric);
        seen.push(*metric);
        new
    });
    Resolved {
        name: ablation.name.clone(),
        readings: without_repeats(readings(ablation)),
        metrics,
        unknown_metrics,
    }
}

fn readings(ablation: &Ablation) -> Vec<Reading> {
    if !ablation.variants.is_empty() {
        return vec![explicit(ablation)];
    }
    let context = Context::of(ablation);
    let items: Vec<&String> = ablation
        .replacement
        .iter()
        .filter(|item| ablation.action != Action::Remove || !read::says_nothing(item))
        .collect();
    match ablation.action {
        // A removal with replacements says in them what remains.
        Action::Remove if items.is_empty() => reading(
            &context,
            &ablation.ablated_part,
            context.removal(&ablation.ablated_part),
        ),
        Action::Add if items.is_empty() => reading(
            &context,
            &ablation.ablated_part,
            context.wish(&ablation.ablated_part),
        ),
        Action::Replace if items.is_empty() => {
            let note = "no replacement is named".to_owned();
            let mut readings = reading(&context, &ablation.ablated_part, Vec::new());
            readings.iter_mut().for_each(|r| r.notes.push(note.clone()));
            readings
        }
        _ => items
            .into_iter()
            .flat_map(|item| reading(&context, item, context.wish(item)))
            .collect(),
    }
}

/// The outcome of one wish, with a stub for each part of it that was not understood.
fn reading(context: &Context, words: &str, found: Vec<Found>) -> Vec<Reading> {
    let mut readings = Vec::new();
    for found in found {
        let (outcome, notes) = match found {
            Found::Settings {
                axis,
                variants,
                own,
                notes,
            } => (
                Outcome::Understood {
                    axis,
                    variants,
                    own,
                },
                notes,
            ),
            Found::Ambiguous(candidates) => {
                let mut unresolved = context.unresolved(words);
                unresolved.candidates = candidates;
                (Outcome::Unresolved(unresolved), Vec::new())
            }
            Found::Stub(words) => (Outcome::Unresolved(context.unresolved(&words)), Vec::new()),
        };
        let words = words.to_owned();
        readings.push(Reading {
            words,
            outcome,
            notes,
        });
    }
    if readings.is_empty() {
        readings.push(Reading {
            words: words.to_owned(),
            outcome: Outcome::Unresolved(context.unresolved(words)),
            notes: Vec::new(),
        });
    }
    readings
}

fn explicit(ablation: &Ablation) -> Reading {
    let variants = ablation.variants.iter().map(|variant| Variant {
        name: variant.name.clone(),
        settings: variant.settings.clone(),
    });
    Reading {
        words: ablation.ablated_part.clone(),
        outcome: Outcome::Understood {
            axis: "as written",
            variants: variants.collect(),
            own: Vec::new(),
        },
        notes: Vec::new(),
    }
}

/// The same settings asked for twice are run once.
fn without_repeats(mut readings: Vec<Reading>) -> Vec<Reading> {
    let mut seen: Vec<Settings> = Vec::new();
    for reading in &mut readings {
        if let Outcome::Understood { variants, .. } = &mut reading.outcome {
            let notes = &mut reading.notes;
            variants.retain(|variant| {
                let new = !seen.contains(&variant.settings);
                match new {
                    true => seen.push(variant.settings.clone()),
                    false => notes.push(format!("{} is asked for above already", variant.name)),
                }
                new
            });
        }
    }
    readings
}
