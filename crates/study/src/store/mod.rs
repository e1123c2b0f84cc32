//! The store of a study: one SQLite file that several processes work on at once.
//!
//! Every change is one transaction, so a process that is killed leaves its cell as running and nothing else. The
//! next one that looks for work sees that nobody holds that process's lock, and takes the cell back.

mod blob;
mod claim;
mod read;
mod sync;
#[cfg(test)]
mod tests;
mod worker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

pub use claim::{Again, CellJob, Job, MotionJob};
pub(crate) use sync::{CellRow, MotionRow, Plan};
pub(crate) use worker::Worker;

use crate::error::Error;

/// Marks the file as one of ours: "KVST".
const APPLICATION_ID: i32 = 0x4b56_5354;

/// Version of the tables.
const VERSION: i32 = 1;

/// How long a process waits for another one's transaction.
const BUSY: Duration = Duration::from_secs(60);

/// An open store. A connection belongs to one thread.
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the store in a file, making an empty one if there is none.
    ///
    /// # Errors
    /// [`Error::NewerStore`] if a later version wrote it, [`Error::Store`] if it is no store or damaged.
    pub fn open_or_create(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut store = Self::connect(path, flags)?;
        store.change(|transaction| {
            let tables: i64 =
                transaction
                    .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables == 0 {
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
            }
            Ok(())
        })?;
        store.check_version()?;
        Ok(store)
    }

    /// Opens a store that is there.
    ///
    /// # Errors
    /// As [`Store::open_or_create`], and if there is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let store = Self::connect(path, flags)?;
        store.check_version()?;
        Ok(store)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, Error> {
        let connection = Connection::open_with_flags(path, flags).map_err(Error::store(path))?;
        let store = Self {
            connection,
            path: path.to_owned(),
        };
        store.run(|connection| {
            connection.busy_timeout(BUSY)?;
            // A store may come from someone else: nothing in its schema may do more than plain SQL.
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)
        })?;
        Ok(store)
    }

    fn check_version(&self) -> Result<(), Error> {
        let pragma = |name: &str| {
            self.run(|connection| {
                connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            })
        };
        let (application, version) = (pragma("application_id")?, pragma("user_version")?);
        if application != APPLICATION_ID {
            return Err(Error::not_a_store(&self.path));
        }
        if version > VERSION {
            return Err(Error::NewerStore {
                path: self.path.clone(),
                found: version,
                known: VERSION,
            });
        }
        Ok(())
    }

    /// Reads something.
    fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        work(&self.connection).map_err(Error::store(&self.path))
    }

    /// Changes something, wholly or not at all.
    fn change<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        let changed = (|| {
            // The right to write is taken first: two processes that both read before they write would clash.
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })();
        changed.map_err(|stop| match stop {
            Stop::Sql(error) => Error::store(&self.path)(error),
            Stop::Refused(error) => *error,
        })
    }

    /// An error about a value in the store.
    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::DamagedStore {
            path: self.path.clone(),
            reason: what.to_string(),
        }
    }
}

/// Why a change is not made.
enum Stop {
    /// The database says so.
    Sql(rusqlite::Error),
    /// We do.
    Refused(Box<Error>),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(Box::new(error))
    }
}
