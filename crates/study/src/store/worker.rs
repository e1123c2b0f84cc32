//! Who works on a study, and whether they still do.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Transaction, params};

use super::Store;
use crate::error::Error;

/// A process at work. Its lock is held until this is dropped or the process ends, however it ends.
pub(crate) struct Worker {
    /// Its number in the store.
    pub(super) id: i64,
    path: PathBuf,
    _lock: File,
}

impl Worker {
    /// Enters the process; `folder` is where locks lie.
    ///
    /// # Errors
    /// If the lock cannot be made or the store cannot be written.
    pub(crate) fn enter(store: &mut Store, folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "writing"))?;
        // A name that no other process has had: another one may hold the lock of a file that is gone.
        let since_epoch = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default();
        let name = format!("{}-{}", std::process::id(), since_epoch.as_nanos());
        let path = folder.join(&name);
        let lock = File::create_new(&path).map_err(Error::io(&path, "writing"))?;
        lock.lock().map_err(Error::io(&path, "locking"))?;
        // Only now does anybody look for it.
        let id = store.change(|transaction| {
            transaction.execute("INSERT INTO worker (lock) VALUES (?1)", [&name])?;
            Ok(transaction.last_insert_rowid())
        })?;
        Ok(Self {
            id,
            path,
            _lock: lock,
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // What is left of it does no harm: its lock is free, so whatever it still has is taken back.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Store {
    /// Takes back what processes have that ended without finishing it.
    pub(crate) fn take_back(&mut self, folder: &Path) -> Result<(), Error> {
        let workers = self.run(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, lock FROM worker")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<Vec<(i64, String)>, _>>()
        })?;
        for (id, lock) in workers {
            if !is_alive(folder, &lock) {
                self.change(|transaction| Ok(release(transaction, id)?))?;
            }
        }
        Ok(())
    }
}

/// Gives back everything a worker has, and forgets it.
pub(super) fn release(transaction: &Transaction<'_>, worker: i64) -> rusqlite::Result<()> {
    for table in ["cell", "motion"] {
        let waiting = format!(
            "UPDATE {table} SET state = 'waiting', worker = NULL WHERE worker = ?1 AND state = 'running'"
        );
        transaction.execute(&waiting, params![worker])?;
        let forgotten = format!("UPDATE {table} SET worker = NULL WHERE worker = ?1");
        transaction.execute(&forgotten, params![worker])?;
    }
    transaction.execute("DELETE FROM worker WHERE id = ?1", params![worker])?;
    Ok(())
}

/// Whether somebody holds a lock. Where that cannot be told, they are taken to be alive.
fn is_alive(folder: &Path, lock: &str) -> bool {
    if lock.contains(['/', '\\']) || lock.starts_with('.') {
        return false; // no name of ours
    }
    let path = folder.join(lock);
    match File::open(&path) {
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        Ok(file) => match file.try_lock() {
            Ok(()) => {
                let _ = std::fs::remove_file(&path);
                false
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => true,
        },
    }
}
