//! Makes a copy of a store that another process may be writing: what is on disk at one moment, whole, for `restore`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tempfile::NamedTempFile;
use thiserror::Error;

use super::load::load;
use super::mark::{self, Known};
use super::schema::{check_version, sqlite};
use super::{OpenError, settings};
use crate::store::Census;
use crate::store::live::LiveSet;

/// Time that another program's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A copy that was made.
#[derive(Clone, Debug)]
pub struct BackedUp {
    /// The sessions in it.
    pub census: Census,
    /// The number of the last change in it.
    pub last: u64,
    /// Its size.
    pub bytes: u64,
}

/// Why no copy was made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There is nothing to copy.
    #[error("the store in {} is empty: no server ever had it", .0.parent().unwrap_or(.0).display())]
    Empty(PathBuf),
    /// There is a file of that name already.
    #[error("{} is there already; nothing is written over", .0.display())]
    Exists(PathBuf),
    /// The copy cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The copy.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Copies the database at `path` into a new file, for its owner alone. Whoever writes the database is not held up. The copy is
/// read before it gets its name, and on disk when this answers. What lacks changes that were acknowledged is no backup.
///
/// # Errors
/// See [`BackupError`]; then there is no file of that name that was not there before.
pub fn back_up(path: &Path, into: &Path) -> Result<BackedUp, BackupError> {
    let failed = |source| BackupError::Io {
        path: into.into(),
        source,
    };
    if into.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(into.into()));
    }
    let parent = into
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    // Made with a mode that lets nobody else in, and removed if anything fails.
    let copy = NamedTempFile::new_in(parent).map_err(failed)?;
    // Before the copy: a server that runs goes on meanwhile.
    let marked = mark::read(path);
    copy_into(path, copy.path())?;
    let (live, known) = read(copy.path())?;
    mark::check(path, marked, &known)?;
    if known.identity.is_some() {
        let marked =
            Connection::open(copy.path()).and_then(|copy| settings::write_is_backup(&copy, true));
        marked.map_err(sqlite(copy.path()))?;
    }
    let bytes = copy.as_file().metadata().map_err(failed)?.len();
    copy.as_file().sync_all().map_err(failed)?;
    copy.persist_noclobber(into).map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            BackupError::Exists(into.into())
        } else {
            failed(error.error)
        }
    })?;
    File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(failed)?;
    Ok(BackedUp {
        census: live.census(),
        last: live.durable().0,
        bytes,
    })
}

fn copy_into(path: &Path, copy: &Path) -> Result<(), BackupError> {
    let sqlite = sqlite(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(&sqlite)?;
    connection.busy_timeout(PATIENCE).map_err(&sqlite)?;
    if check_version(&connection, path)? == 0 && mark::read(path).is_none() {
        return Err(BackupError::Empty(path.into()));
    }
    // One reading transaction over the whole database; what was deleted is not taken along.
    let into = copy.as_os_str().to_string_lossy();
    connection
        .execute("VACUUM INTO ?1", [&into])
        .map_err(&sqlite)?;
    Ok(())
}

fn read(copy: &Path) -> Result<(LiveSet, Known), BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(copy, flags).map_err(sqlite(copy))?;
    let version = check_version(&connection, copy)?;
    let known = settings::read_known(&connection, version).map_err(sqlite(copy))?;
    Ok((load(&connection, copy, version)?.live, known))
}
