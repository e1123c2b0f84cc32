//! What a study has given so far, read from its store.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{OptionalExtension, Row};
use serde::de::DeserializeOwned;

use super::Store;
use super::blob::to_rows;
use crate::error::Error;
use crate::folder::{clip_file, reference_file};
use crate::results::{
    Cell, CellId, Counts, LearnedMotion, Measured, MotionState, Outcome, Reference, Results,
    RunStamp,
};
use crate::study::Study;

impl Store {
    /// Everything, for the study in `folder`, as it is at this moment.
    ///
    /// # Errors
    /// [`Error::DamagedStore`] if something in it makes no sense.
    pub fn results(&self, folder: &Path) -> Result<Results, Error> {
        // One transaction, so that all tables are of the same moment.
        let moment = self
            .connection
            .unchecked_transaction()
            .map_err(Error::store(&self.path))?;
        let (toml, stamp) = self.head()?;
        let study = Study::parse("the study in the store", &toml)?;
        let references = self.references()?;
        let index: HashMap<String, usize> = references
            .iter()
            .enumerate()
            .map(|(index, reference)| (reference.path.clone(), index))
            .collect();
        let variants = self
            .rows("SELECT json FROM variant ORDER BY position", |row| {
                row.get::<_, String>(0)
            })?
            .iter()
            .map(|json| self.parsed("variant", json))
            .collect::<Result<_, _>>()?;
        let results = Results {
            folder: folder.to_owned(),
            cells: self.cells(&study, &index)?,
            motions: self.motions(&index)?,
            study,
            stamp,
            references,
            variants,
        };
        drop(moment); // nothing was changed
        Ok(results)
    }

    /// The study as it was last brought into the store, and with what it is run.
    pub(crate) fn head(&self) -> Result<(String, RunStamp), Error> {
        let head = self.run(|connection| {
            let columns = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
            connection
                .query_row("SELECT toml, stamp FROM study", [], columns)
                .optional()
        })?;
        let (toml, stamp) = head.ok_or_else(|| Error::never_run(&self.path))?;
        Ok((toml, self.parsed("stamp", &stamp)?))
    }

    /// Numbers of cells and of motions, without reading what they gave.
    pub(crate) fn counts(&self) -> Result<[Counts; 2], Error> {
        let count = |table: &str| -> Result<Counts, Error> {
            let sql = format!(
                "SELECT state, count(*) FROM {table} WHERE position IS NOT NULL GROUP BY state"
            );
            let rows = self.rows(&sql, |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, usize>(1)?))
            })?;
            let mut counts = Counts::default();
            for (state, number) in rows {
                counts.all += number;
                match state.as_str() {
                    "done" => counts.done += number,
                    "running" => counts.running += number,
                    "failed" => counts.failed += number,
                    _ => {}
                }
            }
            Ok(counts)
        };
        Ok([count("cell")?, count("motion")?])
    }

    /// Keys of the cells and motions that are done or have failed.
    pub(crate) fn finished(&self) -> Result<Vec<String>, Error> {
        self.rows(
            "SELECT key FROM cell WHERE position IS NOT NULL AND state IN ('done', 'failed') UNION ALL
             SELECT key FROM motion WHERE position IS NOT NULL AND state IN ('done', 'failed')",
            |row| row.get(0),
        )
    }

    fn references(&self) -> Result<Vec<Reference>, Error> {
        let sql =
            "SELECT json, features FROM reference WHERE position IS NOT NULL ORDER BY position";
        let rows = self.rows(sql, |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let read = |(json, features): (String, Vec<u8>)| {
            let mut reference: Reference = self.parsed("reference", &json)?;
            // No path of the store is used as it stands.
            reference.file = reference.file.map(|_| reference_file(&reference.sha256));
            reference.features =
                to_rows(&features).ok_or_else(|| self.damaged("features of a reference"))?;
            Ok(reference)
        };
        rows.into_iter().map(read).collect()
    }

    fn motions(&self, index: &HashMap<String, usize>) -> Result<Vec<LearnedMotion>, Error> {
        struct Stored {
            inversion_hash: String,
            reference: String,
            state: String,
            error: Option<String>,
            seconds: Option<f64>,
            losses: Option<String>,
        }
        let rows = self.rows(
            "SELECT inversion_hash, reference, state, error, seconds, losses FROM motion
             WHERE position IS NOT NULL ORDER BY position",
            |row| {
                Ok(Stored {
                    inversion_hash: row.get(0)?,
                    reference: row.get(1)?,
                    state: row.get(2)?,
                    error: row.get(3)?,
                    seconds: row.get(4)?,
                    losses: row.get(5)?,
                })
            },
        )?;
        let read = |stored: Stored| {
            let state = match stored.state.as_str() {
                "running" => MotionState::Running,
                "failed" => MotionState::Failed {
                    error: stored.error.unwrap_or_default(),
                },
                "done" => MotionState::Done {
                    seconds: stored.seconds.unwrap_or_default(),
                    losses: self.parsed("losses", stored.losses.as_deref().unwrap_or("[]"))?,
                },
                _ => MotionState::Waiting,
            };
            Ok(LearnedMotion {
                inversion_hash: stored.inversion_hash,
                reference: self.index(index, &stored.reference)?,
                state,
            })
        };
        rows.into_iter().map(read).collect()
    }

    fn cells(&self, study: &Study, index: &HashMap<String, usize>) -> Result<Vec<Cell>, Error> {
        struct Stored {
            key: String,
            variant_hash: String,
            reference: String,
            prompt: String,
            seed: u32,
            state: String,
            error: Option<String>,
            measured: Option<String>,
            features: Option<Vec<u8>>,
        }
        let prompts: HashMap<&str, usize> = study
            .prompts
            .iter()
            .enumerate()
            .map(|(index, prompt)| (prompt.as_str(), index))
            .collect();
        let rows = self.rows(
            "SELECT key, variant_hash, reference, prompt, seed, state, error, measured, features FROM cell
             WHERE position IS NOT NULL ORDER BY position",
            |row| {
                Ok(Stored {
                    key: row.get(0)?,
                    variant_hash: row.get(1)?,
                    reference: row.get(2)?,
                    prompt: row.get(3)?,
                    seed: row.get(4)?,
                    state: row.get(5)?,
                    error: row.get(6)?,
                    measured: row.get(7)?,
                    features: row.get(8)?,
                })
            },
        )?;
        let read = |stored: Stored| {
            let outcome = match stored.state.as_str() {
                "running" => Outcome::Running,
                "failed" => Outcome::Failed {
                    error: stored.error.unwrap_or_default(),
                },
                "done" => {
                    let json = stored.measured.as_deref().unwrap_or_default();
                    let mut measured: Measured = self.parsed("measured", json)?;
                    measured.clip = measured.clip.map(|_| clip_file(&stored.key));
                    measured.features = to_rows(&stored.features.unwrap_or_default())
                        .ok_or_else(|| self.damaged("features of a cell"))?;
                    Outcome::Done(Box::new(measured))
                }
                _ => Outcome::Waiting,
            };
            let prompt = prompts.get(stored.prompt.as_str()).copied();
            Ok(Cell {
                id: CellId {
                    variant_hash: stored.variant_hash,
                    reference: self.index(index, &stored.reference)?,
                    prompt: prompt
                        .ok_or_else(|| self.damaged("a cell with a prompt of its own"))?,
                    seed: stored.seed,
                },
                outcome,
            })
        };
        rows.into_iter().map(read).collect()
    }

    fn index(&self, index: &HashMap<String, usize>, path: &str) -> Result<usize, Error> {
        let known = index.get(path).copied();
        known.ok_or_else(|| self.damaged(format!("no clip `{path}`, expected one of the study's")))
    }

    fn rows<T>(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        self.run(|connection| connection.prepare(sql)?.query_map([], read)?.collect())
    }

    fn parsed<T: DeserializeOwned>(&self, what: &str, json: &str) -> Result<T, Error> {
        serde_json::from_str(json).map_err(|error| self.damaged(format!("a {what}: {error}")))
    }
}
