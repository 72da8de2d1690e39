//! Whether the files that the store has open are those that everybody else finds under their names. A database that was
//! removed, moved away or replaced takes commits as well as any other: they would be acknowledged and then be nowhere.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use super::OpenError;
use crate::store::directory::{DataDir, DirectoryError};

/// What SQLite keeps beside the database for as long as it has that open for changes: the log, and the index of it. It
/// makes both when it opens the database, and removes them only when it closes it.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// The files of a store as they were when it was opened.
#[derive(Default)]
pub(in crate::store) struct Place(Vec<Named>);

/// A file, by its name.
struct Named {
    path: PathBuf,
    opened: Identity,
    /// The database and its log never become shorter while they are open.
    longest: Option<AtomicU64>,
}

/// What a file is besides its name. No other file has it while somebody has this one open.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// How the names have ceased to lead to the files.
#[derive(Debug, Error)]
pub(super) enum Lost {
    /// A name leads nowhere, or to another file.
    #[error(
        "the data directory was removed or replaced while the server had it ({} is not the file that was opened)",
        .0.display()
    )]
    Replaced(PathBuf),
    /// Somebody cut the file.
    #[error("{} was cut while the server had it", .0.display())]
    Cut(PathBuf),
    /// Where a name leads is not to be learned.
    #[error("the data directory cannot be looked into any more ({}: {source})", path.display())]
    Hidden { path: PathBuf, source: io::Error },
}

impl Place {
    /// The files of a store that was just opened for changes.
    pub(super) fn of_changes(directory: &DataDir) -> Result<Self, OpenError> {
        let mut this = Self::of_looking(directory)?;
        for ending in BESIDE {
            let mut path = directory.database().into_os_string();
            path.push(ending);
            this.add(path.into(), ending == "-wal")?;
        }
        Ok(this)
    }

    /// The files of a store that was just opened for looking, which has the others for some moments only.
    pub(super) fn of_looking(directory: &DataDir) -> Result<Self, OpenError> {
        let (path, lock) = directory.lock();
        let found = lock.metadata().map_err(cannot_look(&path))?;
        let mut this = Self(vec![Named {
            path,
            opened: Identity::of(&found),
            longest: None,
        }]);
        this.add(directory.database(), true)?;
        Ok(this)
    }

    fn add(&mut self, path: PathBuf, only_grows: bool) -> Result<(), OpenError> {
        let found = fs::metadata(&path).map_err(cannot_look(&path))?;
        self.0.push(Named {
            path,
            opened: Identity::of(&found),
            longest: only_grows.then(|| AtomicU64::new(found.len())),
        });
        Ok(())
    }

    /// The directory, as it was named.
    pub(super) fn directory(&self) -> &Path {
        let first = self.0.first().and_then(|named| named.path.parent());
        first.unwrap_or(Path::new(""))
    }

    /// Fails if a name leads elsewhere now.
    pub(super) fn check(&self) -> Result<(), Lost> {
        for Named {
            path,
            opened,
            longest,
        } in &self.0
        {
            match fs::metadata(path) {
                Ok(found) if Identity::of(&found) == *opened => {
                    let length = found.len();
                    let is_cut =
                        |longest: &AtomicU64| longest.fetch_max(length, Ordering::Relaxed) > length;
                    if longest.as_ref().is_some_and(is_cut) {
                        return Err(Lost::Cut(path.clone()));
                    }
                }
                Ok(_) => return Err(Lost::Replaced(path.clone())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Lost::Replaced(path.clone()));
                }
                Err(source) => {
                    let path = path.clone();
                    return Err(Lost::Hidden { path, source });
                }
            }
        }
        Ok(())
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

fn cannot_look(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.into();
    move |source| DirectoryError::Io {
        path,
        what: "look at the file",
        source,
    }
}
