//! Brings a backup back. What was closed since it was made stays closed: sessions of a backup live on only where the store
//! that it replaces can tell which (S12).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use thiserror::Error;

use super::columns::{Result as SqlResult, session_id};
use super::load::Loaded;
use super::schema::{self, Disk, Opened, sqlite};
use super::{OpenError, rows, settings};
use crate::clock::Timestamp;
use crate::session::{Cause, Seq, SessionId};
use crate::store::directory::{DataDir, MARK};
use crate::store::{Change, End};

/// Numbers that are left out when a store goes on from a copy: more than it can have given since, so that fences grow (C17).
const LEAP: u64 = 1 << 32;

/// Sessions whose closing begins at once.
const BATCH: usize = 4_096;

/// The database in its directory.
const COPY: &str = "sessions.sqlite";

/// The order to close every session of a store.
#[derive(Clone, Debug)]
pub struct CloseAll {
    /// Who, for the record.
    pub actor: String,
    /// When.
    pub now: Timestamp,
}

/// Begins the closing of every live session, in one commit. The store is another one from here on.
pub(super) fn close_all(
    connection: &mut Connection,
    loaded: &mut Loaded,
    order: &CloseAll,
) -> SqlResult<usize> {
    let transaction = connection.transaction()?;
    let live = &mut loaded.live;
    let now = order.now.max(live.latest());
    live.restored(Seq(live.durable().0.saturating_add(LEAP)), now);
    let (mut count, mut after) = (0, Seq(0));
    loop {
        let (begun, closed, last) = live.close_all(after, BATCH, &order.actor, now);
        begun
            .iter()
            .try_for_each(|row| rows::write(&transaction, row))?;
        live.publish(&begun);
        loaded.ended.extend(rows::ended(&begun));
        count += closed;
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    settings::write_number(&transaction, live.durable())?;
    settings::renew_identity(&transaction)?;
    transaction.commit()?;
    Ok(count)
}

/// What a backup comes upon in the directory that it is brought back into.
#[derive(Debug)]
pub enum Over {
    /// There is no store.
    Nothing,
    /// The store that the backup was made of: what was closed since stays closed, the rest lives on.
    Same {
        /// Sessions that were opened since the backup and live: they end.
        newer: usize,
    },
    /// Another store, with so many live sessions: it is put aside.
    Another(usize),
    /// What cannot be read: it is put aside.
    Unreadable(OpenError),
}

/// What came of a restore.
#[derive(Debug)]
pub struct Restored {
    /// Sessions whose closing began, cause `restored`.
    pub closed: usize,
    /// Sessions that live on.
    pub live: u64,
    /// Where the store is that was replaced.
    pub replaced: Option<PathBuf>,
}

/// Why a backup was not brought back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The file is no backup.
    #[error("{} cannot be brought back", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: OpenError,
    },
    /// The store that is there is a later version's.
    #[error(transparent)]
    Store(OpenError),
    /// The file system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A backup that was read and not brought back yet. Dropping it leaves everything as it was.
pub struct Restoring {
    directory: DataDir,
    /// The copy of the backup, in a directory of its own: while that is there, nobody opens the store.
    copy: PathBuf,
    over: Over,
    live: u64,
    /// Whether it is begun and not ended that the store is replaced.
    is_half: bool,
}

impl Restoring {
    /// Copies a backup into the directory and reads it, and what is there; an older version's store is brought to this one's
    /// schema by that.
    ///
    /// # Errors
    /// See [`RestoreError`]; nothing has changed then.
    pub fn prepare(directory: DataDir, backup: &Path) -> Result<Self, RestoreError> {
        let place = directory.restoring();
        remove(&place)?;
        let made = DirBuilder::new().mode(0o700).create(&place);
        made.map_err(failed(&place, "make"))?;
        let copy = place.join(COPY);
        let mut this = Self {
            directory,
            copy,
            over: Over::Nothing,
            live: 0,
            is_half: false,
        };
        this.copy_from(backup)?;
        let opened =
            schema::open_for_changes(&this.copy, None).map_err(|source| RestoreError::Backup {
                path: backup.into(),
                source,
            })?;
        let census = opened.live.census();
        this.live = census.active + census.suspended;
        let identity = opened.identity;
        drop(opened);
        this.over = this.look(identity)?;
        Ok(this)
    }

    /// What is there.
    pub fn over(&self) -> &Over {
        &self.over
    }

    /// Sessions that lived when the backup was made.
    pub fn live(&self) -> u64 {
        self.live
    }

    /// Brings the backup back. A store that is put aside gets `suffix` in its name.
    ///
    /// # Errors
    /// See [`RestoreError`]; until this has ended nobody opens the store, and it can be tried again.
    pub fn finish(mut self, order: &CloseAll, suffix: &str) -> Result<Restored, RestoreError> {
        let restored = match &self.over {
            Over::Same { .. } => self.merge(order)?,
            Over::Nothing | Over::Another(_) | Over::Unreadable(_) => {
                self.replace(order, suffix)?
            }
        };
        sync(self.directory.path())?;
        Ok(restored)
    }

    fn copy_from(&self, backup: &Path) -> Result<(), RestoreError> {
        let log = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push("-wal");
            PathBuf::from(name)
        };
        copy(backup, &self.copy)?;
        // Of a plain copy of a store the log is a part.
        match log(backup) {
            wal if wal.exists() => copy(&wal, &log(&self.copy)),
            _ => Ok(()),
        }
    }

    fn look(&self, identity: [u8; 16]) -> Result<Over, RestoreError> {
        let path = self.directory.database();
        if !path.exists() {
            return Ok(Over::Nothing);
        }
        let opened = match schema::open_for_changes(&path, None) {
            Err(error @ OpenError::NewerSchema { .. }) => return Err(RestoreError::Store(error)),
            Err(error) => return Ok(Over::Unreadable(error)),
            Ok(opened) => opened,
        };
        let census = opened.live.census();
        if opened.identity != identity {
            let live = usize::try_from(census.active + census.suspended).unwrap_or(usize::MAX);
            return Ok(Over::Another(live));
        }
        let newer = self.with_copy(&opened.disk.connection, newer_sessions);
        let newer = newer.map_err(|source| RestoreError::Store(sqlite(&path)(source)))?;
        Ok(Over::Same { newer: newer.len() })
    }

    /// Lets a connection see the copy as `backup`.
    fn with_copy<T>(
        &self,
        connection: &Connection,
        ask: impl FnOnce(&Connection) -> SqlResult<T>,
    ) -> SqlResult<T> {
        let copy = self.copy.to_string_lossy();
        connection.execute("ATTACH ?1 AS backup", [&copy])?;
        let asked = ask(connection);
        connection.execute("DETACH backup", [])?;
        asked
    }

    /// In the store that is there: nothing that was closed comes back, no lock, no log-in, no run of a method is undone.
    fn merge(&self, order: &CloseAll) -> Result<Restored, RestoreError> {
        let path = self.directory.database();
        let Opened {
            disk: Disk {
                connection, mark, ..
            },
            mut live,
            ..
        } = schema::open_for_changes(&path, None).map_err(RestoreError::Store)?;
        let now = order.now.max(live.latest());
        let merged = self.with_copy(&connection, |connection| {
            let transaction = connection.unchecked_transaction()?;
            let newer = newer_sessions(&transaction)?;
            for id in &newer {
                let end = End::by_itself(*id, Cause::Restored, &order.actor);
                let begun = live.prepare(Change::BeginClose(end), now).rows;
                begun
                    .iter()
                    .try_for_each(|row| rows::write(&transaction, row))?;
                live.publish(&begun);
            }
            transaction.execute_batch(MERGE)?;
            transaction.commit()?;
            Ok(newer.len())
        });
        let closed = merged.map_err(|source| RestoreError::Store(sqlite(&path)(source)))?;
        // It only makes the mark newer than it is; an older one is no lie.
        let _ = mark.set(live.durable());
        let census = live.census();
        Ok(Restored {
            closed,
            live: census.active + census.suspended,
            replaced: None,
        })
    }

    /// In place of what is there: nobody knows what was closed since, so every session of the backup closes.
    fn replace(&mut self, order: &CloseAll, suffix: &str) -> Result<Restored, RestoreError> {
        let store = |error| RestoreError::Store(error);
        let (opened, closed) = schema::open_closing_all(&self.copy, None, order).map_err(store)?;
        // All of it into the one file, which then has no log.
        let emptied =
            opened
                .disk
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        emptied.map_err(|source| store(sqlite(&self.copy)(source)))?;
        drop(opened);
        let place = self.directory.restoring();
        File::open(&self.copy)
            .and_then(|file| file.sync_all())
            .map_err(failed(&self.copy, "sync"))?;
        self.is_half = true;
        let replaced = self.put_aside(suffix)?;
        for name in [COPY, MARK] {
            let (from, to) = (place.join(name), self.directory.path().join(name));
            fs::rename(&from, &to).map_err(failed(&to, "write"))?;
        }
        sync(self.directory.path())?;
        self.is_half = false;
        Ok(Restored {
            closed,
            live: 0,
            replaced,
        })
    }

    fn put_aside(&self, suffix: &str) -> Result<Option<PathBuf>, RestoreError> {
        let files = self.directory.files();
        if files.is_empty() {
            return Ok(None);
        }
        let place = self.directory.replaced(suffix);
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&place);
        made.map_err(failed(&place, "make"))?;
        for file in files {
            if let Some(name) = file.file_name() {
                fs::rename(&file, place.join(name)).map_err(failed(&file, "put aside"))?;
            }
        }
        sync(&place)?;
        Ok(Some(place))
    }
}

impl Drop for Restoring {
    /// Takes away what was only for this. What cannot go, or must not, says to whoever opens the store that a restore was cut
    /// off.
    fn drop(&mut self) {
        if !self.is_half {
            let _ = remove(&self.directory.restoring());
        }
    }
}

/// Sessions that live and that the backup does not know.
fn newer_sessions(connection: &Connection) -> SqlResult<Vec<SessionId>> {
    let mut select = connection.prepare(
        "SELECT id FROM main.sessions WHERE seq NOT IN (SELECT session_seq FROM main.closings)
            AND seq NOT IN (SELECT seq FROM backup.sessions)",
    )?;
    select.query_map([], |row| session_id(row, 0))?.collect()
}

/// Variables and selections of the processes that run now and ran then are as they were, and so are the options that were set
/// at run time. A web session's process has no row of its own unless there is more to tell of it.
const MERGE: &str = "
    CREATE TEMP TABLE kept AS
        SELECT session_seq, number FROM (
            SELECT session_seq, number FROM main.processes WHERE closing_at IS NULL
            UNION SELECT seq, last_process FROM main.sessions WHERE kind = 'web' AND suspended_at IS NULL
            INTERSECT SELECT session_seq, number FROM (
                SELECT session_seq, number FROM backup.processes WHERE closing_at IS NULL
                UNION SELECT seq, last_process FROM backup.sessions WHERE kind = 'web' AND suspended_at IS NULL
            )
        )
        WHERE session_seq IN (SELECT seq FROM main.sessions)
            AND session_seq NOT IN (SELECT session_seq FROM main.closings);
    DELETE FROM main.variables WHERE (session_seq, process) IN (SELECT session_seq, number FROM kept);
    INSERT INTO main.variables SELECT v.* FROM backup.variables v JOIN kept k ON k.session_seq = v.session_seq AND k.number = v.process;
    DELETE FROM main.selections WHERE (session_seq, process) IN (SELECT session_seq, number FROM kept);
    INSERT INTO main.selections SELECT s.* FROM backup.selections s JOIN kept k ON k.session_seq = s.session_seq AND k.number = s.process;
    DROP TABLE kept;
    DELETE FROM main.options WHERE origin = 'run_time';
    INSERT INTO main.options SELECT * FROM backup.options WHERE origin = 'run_time';
";

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.into();
    move |source| RestoreError::Io { path, what, source }
}

fn copy(from: &Path, to: &Path) -> Result<(), RestoreError> {
    let mut source = File::open(from).map_err(failed(from, "read"))?;
    let into = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to);
    let mut into = into.map_err(failed(to, "write"))?;
    io::copy(&mut source, &mut into).map_err(failed(to, "write"))?;
    Ok(())
}

fn sync(directory: &Path) -> Result<(), RestoreError> {
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(failed(directory, "sync"))
}

fn remove(place: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(place, "remove")(error))
        }
        _ => Ok(()),
    }
}
