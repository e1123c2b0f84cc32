//! Work is taken and given back here, each time in one transaction.

use std::path::Path;

use rusqlite::{OptionalExtension, Params, Row, Transaction, named_params, params};
use serde::Serialize;

use super::Store;
use super::blob::of_rows;
use super::worker::{Worker, release};
use crate::error::Error;
use crate::results::Measured;

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// A motion is to be learned.
    Motion(MotionJob),
    /// A clip is to be generated and measured.
    Cell(CellJob),
    /// Everything that is left waits for what others are doing.
    Wait,
    /// Nothing is left.
    Nothing,
}

/// A motion that cells need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MotionJob {
    /// Names it in the store.
    pub key: String,
    /// Hash of the settings of learning.
    pub inversion_hash: String,
    /// The clip, as the study names it.
    pub reference: String,
}

/// A clip to generate and measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellJob {
    /// Names it in the store.
    pub key: String,
    /// The motion it needs.
    pub motion: String,
    /// Hash of its settings.
    pub variant_hash: String,
    /// The clip, as the study names it.
    pub reference: String,
    /// What it is to show.
    pub prompt: String,
    /// Seed of the noise.
    pub seed: u32,
}

impl Store {
    /// Takes the next piece of work: a clip whose motion is there, else a motion. `locks` is where workers have
    /// their locks.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub(crate) fn next(&mut self, worker: &Worker, locks: &Path) -> Result<Job, Error> {
        let job = self.take(worker)?;
        if job != Job::Wait {
            return Ok(job);
        }
        self.take_back(locks)?; // perhaps of those it waits for nobody is left
        self.take(worker)
    }

    fn take(&mut self, worker: &Worker) -> Result<Job, Error> {
        self.change(|transaction| {
            if let Some(cell) = take_cell(transaction, worker.id)? {
                return Ok(Job::Cell(cell));
            }
            if let Some(motion) = take_motion(transaction, worker.id)? {
                return Ok(Job::Motion(motion));
            }
            let left: i64 = transaction.query_row(
                "SELECT count(*) FROM cell WHERE position IS NOT NULL AND state IN ('waiting', 'running')",
                [],
                |row| row.get(0),
            )?;
            Ok(if left > 0 { Job::Wait } else { Job::Nothing })
        })
    }

    /// A motion was learned. Whether it was still this worker's.
    pub(crate) fn finish_motion(
        &mut self,
        key: &str,
        worker: &Worker,
        seconds: f64,
        losses: &[f32],
    ) -> Result<bool, Error> {
        let losses = self.json(&losses)?;
        self.close(
            "UPDATE motion SET state = 'done', worker = NULL, error = NULL, seconds = ?3, losses = ?4
             WHERE key = ?1 AND worker = ?2",
            params![key, worker.id, seconds, losses],
        )
    }

    /// A motion could not be learned: its cells cannot be generated.
    pub(crate) fn fail_motion(
        &mut self,
        key: &str,
        worker: &Worker,
        error: &str,
    ) -> Result<(), Error> {
        self.change(|transaction| {
            let changed = transaction.execute(
                "UPDATE motion SET state = 'failed', worker = NULL, error = ?3 WHERE key = ?1 AND worker = ?2",
                params![key, worker.id, error],
            )?;
            if changed == 1 {
                let of_cell = format!("its motion could not be learned: {error}");
                transaction.execute(
                    "UPDATE cell SET state = 'failed', error = ?2 WHERE motion = ?1 AND state = 'waiting'",
                    params![key, of_cell],
                )?;
            }
            Ok(())
        })
    }

    /// The file of a motion is gone: it is learned again, for the cell that missed it and for others.
    pub(crate) fn miss_motion(&mut self, motion: &str) -> Result<(), Error> {
        self.change(|transaction| {
            transaction.execute(
                "UPDATE motion SET state = 'waiting' WHERE key = ?1 AND state = 'done'",
                [motion],
            )?;
            Ok(())
        })
    }

    /// A cell is generated and measured. Whether it was still this worker's.
    pub(crate) fn finish_cell(
        &mut self,
        key: &str,
        worker: &Worker,
        measured: &Measured,
    ) -> Result<bool, Error> {
        let json = self.json(measured)?;
        let features = of_rows(&measured.features);
        self.close(
            "UPDATE cell SET state = 'done', worker = NULL, error = NULL, measured = ?3, features = ?4
             WHERE key = ?1 AND worker = ?2",
            params![key, worker.id, json, features],
        )
    }

    /// A cell could not be generated or measured. Whether it was still this worker's.
    pub(crate) fn fail_cell(
        &mut self,
        key: &str,
        worker: &Worker,
        error: &str,
    ) -> Result<bool, Error> {
        self.close(
            "UPDATE cell SET state = 'failed', worker = NULL, error = ?3 WHERE key = ?1 AND worker = ?2",
            params![key, worker.id, error],
        )
    }

    /// Updates a row of a worker's; whether there was one.
    fn close(&mut self, sql: &str, parameters: impl Params) -> Result<bool, Error> {
        self.change(|transaction| Ok(transaction.execute(sql, parameters)? == 1))
    }

    /// Gives one piece of work back.
    pub(crate) fn give_back(&mut self, key: &str, worker: &Worker) -> Result<(), Error> {
        self.change(|transaction| {
            for table in ["cell", "motion"] {
                let sql = format!(
                    "UPDATE {table} SET state = 'waiting', worker = NULL
                     WHERE key = ?1 AND worker = ?2 AND state = 'running'"
                );
                transaction.execute(&sql, params![key, worker.id])?;
            }
            Ok(())
        })
    }

    /// A process leaves: whatever it still has is given back.
    pub(crate) fn leave(&mut self, worker: Worker) -> Result<(), Error> {
        self.change(|transaction| Ok(release(transaction, worker.id)?))
    }

    /// Whether no cell needs a motion any more.
    pub(crate) fn is_spent(&self, motion: &str) -> Result<bool, Error> {
        self.run(|connection| {
            connection.query_row(
                "SELECT NOT EXISTS (SELECT 1 FROM cell WHERE motion = ?1 AND position IS NOT NULL
                                    AND state IN ('waiting', 'running'))",
                [motion],
                |row| row.get(0),
            )
        })
    }

    /// Marks cells to be done again: those of a variant (by its hash), or all that failed. Their number.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn again(&mut self, which: Again<'_>) -> Result<usize, Error> {
        self.change(|transaction| {
            let (condition, hash) = match which {
                Again::Variant(hash) => ("variant_hash = :hash", hash),
                Again::Failed => ("state = 'failed' AND :hash = ''", ""),
            };
            let motions = format!(
                "UPDATE motion SET state = 'waiting', error = NULL WHERE state = 'failed' AND key IN
                 (SELECT motion FROM cell WHERE position IS NOT NULL AND {condition})"
            );
            transaction.execute(&motions, named_params! {":hash": hash})?;
            let cells = format!(
                "UPDATE cell SET state = 'waiting', error = NULL, measured = NULL, features = NULL
                 WHERE position IS NOT NULL AND state IN ('done', 'failed') AND {condition}"
            );
            Ok(transaction.execute(&cells, named_params! {":hash": hash})?)
        })
    }

    /// A value that can always be written as JSON.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<String, Error> {
        serde_json::to_string(value).map_err(|error| self.damaged(error))
    }
}

/// Which cells are done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again<'a> {
    /// All of a variant, by [`RunVariant::hash`](crate::results::RunVariant).
    Variant(&'a str),
    /// All that failed.
    Failed,
}

fn take_cell(transaction: &Transaction<'_>, worker: i64) -> rusqlite::Result<Option<CellJob>> {
    let job = |row: &Row<'_>| {
        Ok(CellJob {
            key: row.get("key")?,
            motion: row.get("motion")?,
            variant_hash: row.get("variant_hash")?,
            reference: row.get("reference")?,
            prompt: row.get("prompt")?,
            seed: row.get("seed")?,
        })
    };
    transaction
        .query_row(
            "UPDATE cell SET state = 'running', worker = ?1 WHERE key =
             (SELECT cell.key FROM cell JOIN motion ON motion.key = cell.motion
              WHERE cell.state = 'waiting' AND cell.position IS NOT NULL AND motion.state = 'done'
              ORDER BY cell.position LIMIT 1)
             RETURNING key, motion, variant_hash, reference, prompt, seed",
            [worker],
            job,
        )
        .optional()
}

fn take_motion(transaction: &Transaction<'_>, worker: i64) -> rusqlite::Result<Option<MotionJob>> {
    let job = |row: &Row<'_>| {
        Ok(MotionJob {
            key: row.get("key")?,
            inversion_hash: row.get("inversion_hash")?,
            reference: row.get("reference")?,
        })
    };
    transaction
        .query_row(
            "UPDATE motion SET state = 'running', worker = ?1 WHERE key =
             (SELECT key FROM motion WHERE state = 'waiting' AND position IS NOT NULL AND EXISTS
                 (SELECT 1 FROM cell WHERE cell.motion = motion.key AND cell.position IS NOT NULL
                  AND cell.state = 'waiting')
              ORDER BY position LIMIT 1)
             RETURNING key, inversion_hash, reference",
            [worker],
            job,
        )
        .optional()
}
