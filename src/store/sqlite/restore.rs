//! Brings a backup back. What was closed since it was made stays closed: sessions of a backup live on only where the store
//! that it replaces can tell which (S12).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};
use thiserror::Error;

use super::close_all::CloseAll;
use super::mark::Identity;
use super::merge;
use super::schema::{self, Opened, sqlite};
use super::{OpenError, settings};
use crate::session::Seq;
use crate::store::directory::{DATABASE, DataDir, MARK};

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
    /// An older copy of the store that the backup was made of: it does not tell what was closed since, and is put aside.
    Older,
    /// A store that is not known to be the one of the backup, with so many live sessions: it is put aside.
    Another(u64),
    /// A damaged store: it is put aside.
    Unreadable(OpenError),
}

/// What came of a restore.
#[derive(Debug)]
pub struct Restored {
    /// Sessions whose closing began, cause `restored`.
    pub closed: usize,
    /// Sessions that live on.
    pub live: u64,
    /// Admin tokens of the backup that are revoked: nobody knows which of them had been since.
    pub tokens_revoked: usize,
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
    /// The store that is there cannot be looked at or written now, which says nothing of what is in it.
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
    /// The copy of the backup, in a directory of its own.
    copy: PathBuf,
    over: Over,
    /// Sessions that lived when the backup was made.
    live: u64,
    /// Admin tokens that there were then.
    tokens: usize,
}

impl Restoring {
    /// Copies a backup into the directory and reads it, and looks at what is there.
    ///
    /// # Errors
    /// See [`RestoreError`]; nothing has changed then.
    pub fn prepare(directory: DataDir, backup: &Path) -> Result<Self, RestoreError> {
        let source = Backup::open(backup)?;
        let place = directory.preparing();
        remove(&place)?;
        let made = DirBuilder::new().mode(0o700).create(&place);
        made.map_err(failed(&place, "make"))?;
        let copy = place.join(DATABASE);
        let mut this = Self {
            directory,
            copy,
            over: Over::Nothing,
            live: 0,
            tokens: 0,
        };
        source.copy_to(&this.copy)?;
        let opened = open_copy(&this.copy).map_err(|source| RestoreError::Backup {
            path: backup.into(),
            source: source.about(backup),
        })?;
        let census = opened.live.census();
        this.live = census.active + census.suspended;
        this.tokens = opened.live.tokens().what.len();
        let (identity, last) = (opened.identity, opened.live.durable());
        drop(opened);
        this.over = this.look(identity, last)?;
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

    /// Admin tokens that there were when the backup was made, expired ones too.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Brings the backup back. A store that is put aside gets `suffix` in its name.
    ///
    /// # Errors
    /// See [`RestoreError`]. If the store could not be replaced as a whole, nobody opens it until that was tried again.
    pub fn finish(self, order: &CloseAll, suffix: &str) -> Result<Restored, RestoreError> {
        match &self.over {
            Over::Same { .. } => {
                let merged = merge::merge(&self.directory.database(), &self.copy, order);
                let merged = merged.map_err(RestoreError::Store)?;
                // What an earlier try may have left.
                remove(&self.directory.restoring())?;
                sync(self.directory.path())?;
                Ok(merged)
            }
            _ => self.replace(order, suffix),
        }
    }

    fn look(&self, identity: Identity, last: Seq) -> Result<Over, RestoreError> {
        let path = self.directory.database();
        if !path.exists() {
            return Ok(Over::Nothing);
        }
        let seen = match schema::look(&path) {
            Err(error) if is_damage(&error) => return Ok(Over::Unreadable(error)),
            seen => seen.map_err(RestoreError::Store)?,
        };
        let census = seen.live.census();
        let another = Over::Another(census.active + census.suspended);
        if seen.known.identity != Some(identity) {
            return Ok(another);
        }
        if last > seen.known.last {
            return Ok(Over::Older);
        }
        let newer = merge::newer_sessions(&seen.connection, &self.copy);
        match newer.map_err(|source| RestoreError::Store(sqlite(&path)(source)))? {
            Some(newer) => Ok(Over::Same { newer: newer.len() }),
            // Two lives of one copy: the same numbers mean different sessions.
            None => Ok(another),
        }
    }

    /// In place of what is there: nobody knows what was closed since, so every session of the backup closes.
    fn replace(&self, order: &CloseAll, suffix: &str) -> Result<Restored, RestoreError> {
        let (opened, closed) =
            schema::open_closing_all(&self.copy, None, order).map_err(RestoreError::Store)?;
        // All of it into the one file, which then has no log.
        let emptied =
            opened
                .disk
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        emptied.map_err(|source| RestoreError::Store(sqlite(&self.copy)(source)))?;
        drop(opened);
        File::open(&self.copy)
            .and_then(|file| file.sync_all())
            .map_err(failed(&self.copy, "sync"))?;
        // From here on, and until all is in its place, nobody opens the store.
        let barrier = self.directory.restoring();
        remove(&barrier)?;
        let preparing = self.directory.preparing();
        fs::rename(&preparing, &barrier).map_err(failed(&barrier, "make"))?;
        sync(self.directory.path())?;
        let replaced = self.put_aside(suffix)?;
        for name in [DATABASE, MARK] {
            let (from, to) = (barrier.join(name), self.directory.path().join(name));
            fs::rename(&from, &to).map_err(failed(&to, "write"))?;
        }
        sync(self.directory.path())?;
        remove(&barrier)?;
        sync(self.directory.path())?;
        Ok(Restored {
            closed: closed.sessions,
            live: 0,
            tokens_revoked: closed.tokens,
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
    /// Takes away what was only for this. What cannot go is in nobody's way, and goes at the next try.
    fn drop(&mut self) {
        let _ = remove(&self.directory.preparing());
    }
}

/// Whether a store is not to be relied on, in contrast to one that cannot be looked at now.
fn is_damage(error: &OpenError) -> bool {
    match error {
        OpenError::NotAStore(_) | OpenError::AnotherStore(_) | OpenError::LostChanges { .. } => {
            true
        }
        OpenError::Sqlite { source, .. } => match source.sqlite_error_code() {
            Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase),
            // A value that no version writes.
            None => matches!(
                source,
                rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::IntegralValueOutOfRange(..)
                    | rusqlite::Error::Utf8Error(..)
            ),
        },
        _ => false,
    }
}

/// Lets a connection see another database as `backup` while it is asked something.
pub(super) fn with_attached<T>(
    connection: &Connection,
    copy: &Path,
    ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let name = copy
        .to_str()
        .ok_or_else(|| rusqlite::Error::InvalidPath(copy.into()))?;
    connection.execute("ATTACH ?1 AS backup", [name])?;
    let asked = ask(connection);
    connection.execute("DETACH backup", [])?;
    asked
}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.into();
    move |source| RestoreError::Io { path, what, source }
}

/// The files of a backup, open: they may be where the copy is to be made.
struct Backup {
    database: (PathBuf, File),
    /// Of a plain copy of a store the log is a part.
    log: Option<(PathBuf, File)>,
}

impl Backup {
    fn open(path: &Path) -> Result<Self, RestoreError> {
        let open = |path: &Path| {
            let file = File::open(path).map_err(failed(path, "read"))?;
            Ok((path.to_owned(), file))
        };
        let log = log_of(path);
        Ok(Self {
            database: open(path)?,
            log: log.exists().then(|| open(&log)).transpose()?,
        })
    }

    fn copy_to(self, copy: &Path) -> Result<(), RestoreError> {
        copy_file(self.database, copy)?;
        match self.log {
            Some(log) => copy_file(log, &log_of(copy)),
            None => Ok(()),
        }
    }
}

fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn copy_file((from, mut source): (PathBuf, File), to: &Path) -> Result<(), RestoreError> {
    let into = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to);
    let mut into = into.map_err(failed(to, "write"))?;
    io::copy(&mut source, &mut into)
        .map(drop)
        .map_err(failed(&from, "copy"))
}

/// Opens the copy of a backup, which is a store from here on. An empty file is none.
fn open_copy(copy: &Path) -> Result<Opened, OpenError> {
    match schema::version_of(copy)? {
        0 => return Err(OpenError::NotAStore(copy.into())),
        ..5 => {}
        5.. => {
            let connection = Connection::open(copy).map_err(sqlite(copy))?;
            settings::write_is_backup(&connection, false).map_err(sqlite(copy))?;
        }
    }
    schema::open_for_changes(copy, None)
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
