//! Why a store is not opened.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::options::OptionError;
use crate::store::directory::DirectoryError;

/// Why a store could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database is somebody else's.
    #[error("{} is not a sessionctl store", .0.display())]
    NotAStore(PathBuf),
    /// What was set at run time cannot be in force together with what the server is started with.
    #[error("{} has options set at run time that do not go together with the file and the flags", path.display())]
    Options {
        /// The database.
        path: PathBuf,
        /// Which, and why.
        #[source]
        source: OptionError,
    },
    /// The database was written by a later version.
    #[error("{} has schema version {found}, this sessionctl knows {known}", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest version that this program reads.
        known: i64,
    },
    /// The database is not the one whose changes were acknowledged last.
    #[error("{} is not the store that was here before: a copy of another one", .0.display())]
    AnotherStore(PathBuf),
    /// The file is damaged, or its tables contradict each other.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong first.
        problem: String,
    },
    /// The file is a backup, which lacks what was closed since it was made.
    #[error("{} is a backup, and not a store to go on with", .0.display())]
    Backup(PathBuf),
    /// Changes were acknowledged that are not there.
    #[error(
        "{} lacks changes that were acknowledged: the last one is {found}, and it was {acknowledged}; it was cut, or is an older copy",
        path.display()
    )]
    LostChanges {
        /// The database.
        path: PathBuf,
        /// The number of the last change that was acknowledged.
        acknowledged: u64,
        /// The number of the last change that is there.
        found: u64,
    },
    /// SQLite refused.
    #[error("{}: cannot read the store", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The writer thread did not start.
    #[error("cannot start the thread that writes the store")]
    Thread(#[source] std::io::Error),
}

impl OpenError {
    /// Whether the disk has no room: another try may go well without anything else being changed.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::Directory(DirectoryError::Io { source, .. }) => {
                source.kind() == std::io::ErrorKind::StorageFull
            }
            _ => false,
        }
    }

    /// Whether another program has the database for now.
    pub fn is_in_use(&self) -> bool {
        let code = match self {
            Self::Sqlite { source, .. } => source.sqlite_error_code(),
            _ => None,
        };
        matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
    }

    /// The same about another file: the one that somebody named, in place of a copy of it.
    pub(super) fn about(self, path: &Path) -> Self {
        let path = path.to_owned();
        match self {
            Self::NotAStore(_) => Self::NotAStore(path),
            Self::NewerSchema { found, known, .. } => Self::NewerSchema { path, found, known },
            Self::Damaged { problem, .. } => Self::Damaged { path, problem },
            Self::Options { source, .. } => Self::Options { path, source },
            Self::Sqlite { source, .. } => Self::Sqlite { path, source },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_no_damage() {
        let failed = |code| OpenError::Sqlite {
            path: "sessions.sqlite".into(),
            source: rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None),
        };
        let told = |code| {
            let error = failed(code);
            (error.is_in_use(), error.is_disk_full())
        };
        assert_eq!(told(rusqlite::ffi::SQLITE_BUSY), (true, false));
        assert_eq!(told(rusqlite::ffi::SQLITE_LOCKED), (true, false));
        assert_eq!(told(rusqlite::ffi::SQLITE_FULL), (false, true));
        assert_eq!(told(rusqlite::ffi::SQLITE_CORRUPT), (false, false));
    }
}
