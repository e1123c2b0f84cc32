//! The study as it is now, brought into the store. Results that are there stay.

use rusqlite::{OptionalExtension, Transaction, params};

use super::blob::of_rows;
use super::{Stop, Store};
use crate::error::Error;
use crate::results::{Reference, RunStamp, RunVariant};

/// Everything that is to be run.
pub(crate) struct Plan {
    /// The study's file.
    pub toml: String,
    /// With what it is run.
    pub stamp: RunStamp,
    /// The clips in order.
    pub references: Vec<Reference>,
    /// The baseline and the variants.
    pub variants: Vec<RunVariant>,
    /// In the order of work.
    pub motions: Vec<MotionRow>,
    /// In the order of work.
    pub cells: Vec<CellRow>,
}

/// A motion to learn.
#[derive(Clone)]
pub(crate) struct MotionRow {
    pub key: String,
    pub inversion_hash: String,
    /// Index of the clip.
    pub reference: usize,
}

/// A cell to run.
#[derive(Clone)]
pub(crate) struct CellRow {
    pub key: String,
    /// Key of its motion.
    pub motion: String,
    pub variant_hash: String,
    /// Index of the clip.
    pub reference: usize,
    pub prompt: String,
    pub seed: u32,
}

impl Store {
    /// Brings the plan into the store.
    ///
    /// # Errors
    /// [`Error::ClipChanged`] if a clip is not what it was, [`Error::OtherRun`] if the study was begun with another
    /// model or other measures: numbers of the two would not compare.
    pub(crate) fn sync(&mut self, plan: &Plan) -> Result<(), Error> {
        let stamp = self.json(&plan.stamp)?;
        let references = plan.references.iter();
        let references: Vec<String> = references.map(|r| self.json(r)).collect::<Result<_, _>>()?;
        let variants = plan.variants.iter();
        let variants: Vec<String> = variants.map(|v| self.json(v)).collect::<Result<_, _>>()?;
        self.change(|transaction| {
            check(transaction, plan)?;
            transaction.execute(
                "INSERT INTO study (id, toml, stamp) VALUES (1, ?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET toml = excluded.toml",
                params![plan.toml, stamp],
            )?;
            for table in ["reference", "motion", "cell"] {
                transaction.execute(&format!("UPDATE {table} SET position = NULL"), [])?;
            }
            for (position, (reference, json)) in plan.references.iter().zip(references).enumerate() {
                transaction.execute(
                    "INSERT INTO reference (path, position, sha256, json, features) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (path) DO UPDATE
                     SET position = excluded.position, json = excluded.json, features = excluded.features",
                    params![reference.path, position, reference.sha256, json, of_rows(&reference.features)],
                )?;
            }
            transaction.execute("DELETE FROM variant", [])?;
            for (position, json) in variants.iter().enumerate() {
                let sql = "INSERT INTO variant (position, json) VALUES (?1, ?2)";
                transaction.execute(sql, params![position, json])?;
            }
            let path = |index: usize| &plan.references[index].path;
            for (position, motion) in plan.motions.iter().enumerate() {
                transaction.execute(
                    "INSERT INTO motion (key, position, inversion_hash, reference, state)
                     VALUES (?1, ?2, ?3, ?4, 'waiting')
                     ON CONFLICT (key) DO UPDATE SET position = excluded.position",
                    params![motion.key, position, motion.inversion_hash, path(motion.reference)],
                )?;
            }
            let mut statement = transaction.prepare_cached(
                "INSERT INTO cell (key, position, motion, variant_hash, reference, prompt, seed, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'waiting')
                 ON CONFLICT (key) DO UPDATE SET position = excluded.position",
            )?;
            for (position, cell) in plan.cells.iter().enumerate() {
                let reference = path(cell.reference);
                statement.execute(params![
                    cell.key, position, cell.motion, cell.variant_hash, reference, cell.prompt, cell.seed
                ])?;
            }
            Ok(())
        })
    }
}

/// Refuses a plan that does not go with what is in the store.
fn check(transaction: &Transaction<'_>, plan: &Plan) -> Result<(), Stop> {
    let stamp: Option<String> = transaction
        .query_row("SELECT stamp FROM study", [], |row| row.get(0))
        .optional()?;
    // A stamp that cannot be read is told by whoever reads the store.
    let begun: Option<RunStamp> = stamp.and_then(|stamp| serde_json::from_str(&stamp).ok());
    if let Some(begun) = begun {
        let now = &plan.stamp;
        let parts = [
            ("model", begun.model.sha256, &now.model.sha256),
            ("measures", begun.measures, &now.measures),
        ];
        for (what, begun, now) in parts {
            if begun != *now {
                let now = now.clone();
                return Err(Error::OtherRun { what, begun, now }.into());
            }
        }
    }
    for reference in &plan.references {
        let sql = "SELECT sha256 FROM reference WHERE path = ?1";
        let known: Option<String> = transaction
            .query_row(sql, [&reference.path], |row| row.get(0))
            .optional()?;
        if let Some(known) = known.filter(|known| *known != reference.sha256) {
            let (path, found) = (reference.path.clone(), reference.sha256.clone());
            return Err(Error::ClipChanged { path, known, found }.into());
        }
    }
    Ok(())
}
