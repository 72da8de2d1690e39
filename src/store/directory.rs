//! The data directory: who owns it, who has it now. One file lock keeps a server and local commands apart (S46, S48).

use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The lock file's name. It is never unlinked: two processes would each lock a file of their own.
const LOCK: &str = "lock";

/// Bytes that a lock file of ours has at most.
const LOCK_LIMIT: u64 = 4_096;

/// The database's name.
pub(super) const DATABASE: &str = "sessions.sqlite";

/// The name of the high-water mark: which change was acknowledged last.
pub(super) const MARK: &str = "acknowledged";

/// The name of the directory that a backup is made ready in; it is in nobody's way.
const PREPARING: &str = "restore-copy";

/// The name of that directory while the store is replaced: as long as it is there, nobody opens the store.
const RESTORING: &str = "restoring";

/// How the names of stores begin that were replaced by a backup.
const REPLACED: &str = "replaced-";

/// How often and how long a command waits for another local command to finish.
const PATIENCE: (u32, Duration) = (100, Duration::from_millis(20));

/// A data directory, locked for as long as this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
    is_exclusive: bool,
}

/// Who holds a data directory, as its lock file tells. For information: the file lock alone decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The address of its admin API, if it is a server.
    pub admin: Option<String>,
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// There is none, and the command does not create one.
    #[error("there is no session store in {}", .0.display())]
    Missing(PathBuf),
    /// The directory has other things in it.
    #[error("{} is not empty and not a session store", .0.display())]
    Foreign(PathBuf),
    /// There was a database, whose changes were acknowledged, and it is gone.
    #[error("the database of {} is gone", .0.display())]
    Lost(PathBuf),
    /// A backup was being brought back, and that was cut off.
    #[error("a restore of {} was cut off", .0.display())]
    HalfRestored(PathBuf),
    /// The directory belongs to somebody else.
    #[error("{} belongs to uid {owner}, not to uid {me}", path.display())]
    NotOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who asks.
        me: u32,
    },
    /// Another process has it.
    #[error("{} is in use by {}", path.display(), holder.describe())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// The file system refused.
    #[error("{}: cannot {what}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Holder {
    /// A server that was killed leaves its name behind; it holds nothing.
    fn is_running(&self) -> bool {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(|pid| {
            rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
        })
    }

    fn describe(&self) -> String {
        match (&self.admin, self.pid) {
            (Some(_), pid) => format!("the server with pid {pid}"),
            (None, 0) => "another sessionctl command".into(),
            (None, pid) => format!("the sessionctl process with pid {pid}"),
        }
    }
}

impl DataDir {
    /// Takes the directory for changes, alone; makes it if `create` is set and it is not there.
    ///
    /// # Errors
    /// See [`DirectoryError`]. A local command that holds the directory is waited for briefly, a server is not.
    pub fn exclusive(path: &Path, create: bool) -> Result<Self, DirectoryError> {
        let purpose = if create {
            Purpose::Create
        } else {
            Purpose::Use
        };
        Self::taken(path, purpose)
    }

    /// Takes the directory to bring a backup back in it, alone; makes it if it is not there. What it holds may be damaged, or
    /// left by an earlier try.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn for_restoring(path: &Path) -> Result<Self, DirectoryError> {
        Self::taken(path, Purpose::Restore)
    }

    fn taken(path: &Path, purpose: Purpose) -> Result<Self, DirectoryError> {
        if purpose != Purpose::Use {
            make(path)?;
        }
        check_store(path, purpose)?;
        let mut this = Self {
            path: path.into(),
            lock: open_lock(path, purpose != Purpose::Use)?,
            is_exclusive: false,
        };
        this.wait_for(File::try_lock)?;
        // Whoever had it may have changed what it is.
        check_store(path, purpose)?;
        check_whole(path, purpose)?;
        this.is_exclusive = true;
        this.announce(None)?;
        Ok(this)
    }

    /// Takes the directory for looking, together with others who look.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn shared(path: &Path) -> Result<Self, DirectoryError> {
        check_store(path, Purpose::Use)?;
        let this = Self {
            path: path.into(),
            lock: open_lock(path, false)?,
            is_exclusive: false,
        };
        this.wait_for(File::try_lock_shared)?;
        check_store(path, Purpose::Use)?;
        check_whole(path, Purpose::Use)?;
        Ok(this)
    }

    /// Writes into the lock file who has the directory, and where its admin API is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&self, admin: Option<String>) -> Result<(), DirectoryError> {
        let text = serde_json::json!(Holder {
            pid: std::process::id(),
            admin
        })
        .to_string();
        let write = || {
            let mut file = &self.lock;
            file.rewind()?;
            file.set_len(0)?;
            file.write_all(text.as_bytes())
        };
        write().map_err(io_error(&self.path, "write the lock file"))
    }

    /// The database of a directory that another process may have: for who only reads it, in one transaction.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn database_in_use(path: &Path) -> Result<PathBuf, DirectoryError> {
        check_store(path, Purpose::Use)?;
        check_whole(path, Purpose::Use)?;
        Ok(path.join(DATABASE))
    }

    /// Where a backup is made ready.
    pub(super) fn preparing(&self) -> PathBuf {
        self.path.join(PREPARING)
    }

    /// Where it is while it takes the place of the database.
    pub(super) fn restoring(&self) -> PathBuf {
        self.path.join(RESTORING)
    }

    /// Where a store is kept that a backup replaces at an instant.
    pub(super) fn replaced(&self, at: &str) -> PathBuf {
        self.path.join(format!("{REPLACED}{at}"))
    }

    /// The files of the database, those that are there.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let names = ["", "-wal", "-shm"].map(|ending| format!("{DATABASE}{ending}"));
        let names = names.into_iter().chain([MARK.into()]);
        names
            .map(|name| self.path.join(name))
            .filter(|path| path.exists())
            .collect()
    }

    /// The lock file: its name, and what was opened under it.
    pub(super) fn lock(&self) -> (PathBuf, &File) {
        (self.path.join(LOCK), &self.lock)
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn wait_for(&self, lock: fn(&File) -> Result<(), TryLockError>) -> Result<(), DirectoryError> {
        for _ in 0..PATIENCE.0 {
            match lock(&self.lock) {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(source)) => {
                    return Err(io_error(&self.path, "lock the directory")(source));
                }
                Err(TryLockError::WouldBlock) if self.holder().admin.is_some() => break,
                Err(TryLockError::WouldBlock) => std::thread::sleep(PATIENCE.1),
            }
        }
        Err(DirectoryError::InUse {
            path: self.path.clone(),
            holder: self.holder(),
        })
    }

    fn holder(&self) -> Holder {
        let mut text = String::new();
        let mut file = &self.lock;
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        let told: Option<Holder> = read.ok().and_then(|_| serde_json::from_str(&text).ok());
        told.filter(Holder::is_running).unwrap_or_default()
    }
}

impl Drop for DataDir {
    /// Takes the announcement back, so that nobody looks for a process that has ended.
    fn drop(&mut self) {
        if self.is_exclusive {
            // It is for information: what cannot be taken back is checked by whoever reads it.
            let _ = self.lock.set_len(0);
        }
    }
}

fn make(path: &Path) -> Result<(), DirectoryError> {
    if path.exists() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    // A directory that was just made is on disk only when its parent is.
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    made.map_err(io_error(path, "make the directory"))?;
    match File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()) {
        // A parent that may be entered and not read cannot be synced by us.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(io_error(path, "sync the parent of the directory")),
    }
}

/// What a directory is taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The store that is there.
    Use,
    /// The store that is there, or a new one.
    Create,
    /// A store from a backup, whatever is there.
    Restore,
}

/// Refuses what is not there, not ours, or not a store; closes to others what is.
fn check_store(path: &Path, purpose: Purpose) -> Result<(), DirectoryError> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DirectoryError::Missing(path.into()));
        }
        result => result.map_err(io_error(path, "look at the directory"))?,
    };
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != me {
        return Err(DirectoryError::NotOwner {
            path: path.into(),
            owner,
            me,
        });
    }
    // Whoever has the directory may be at it right now.
    if !path.join(DATABASE).exists() && !path.join(RESTORING).exists() {
        match (contents(path)?, purpose) {
            (Contents::Foreign, _) => return Err(DirectoryError::Foreign(path.into())),
            (_, Purpose::Restore) | (Contents::Nothing, Purpose::Create) => {}
            (Contents::Left, _) => return Err(DirectoryError::Lost(path.into())),
            (Contents::Nothing, Purpose::Use) => {
                return Err(DirectoryError::Missing(path.into()));
            }
        }
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(io_error(path, "close the directory to others"))?;
    }
    Ok(())
}

/// Refuses a store that a backup has replaced only in part.
fn check_whole(path: &Path, purpose: Purpose) -> Result<(), DirectoryError> {
    match path.join(RESTORING).exists() && purpose != Purpose::Restore {
        true => Err(DirectoryError::HalfRestored(path.into())),
        false => Ok(()),
    }
}

/// What a directory holds that has no database.
enum Contents {
    /// Nothing, or a lock file that is ours.
    Nothing,
    /// What is left of a store that was there.
    Left,
    /// Something that is not ours.
    Foreign,
}

fn contents(path: &Path) -> Result<Contents, DirectoryError> {
    let mut contents = Contents::Nothing;
    for entry in fs::read_dir(path).map_err(io_error(path, "read the directory"))? {
        let entry = entry.map_err(io_error(path, "read the directory"))?;
        match entry.file_name().to_str() {
            Some(LOCK) if is_our_lock(&entry)? => {}
            Some(name) if is_of_a_store(name) => contents = Contents::Left,
            _ => return Ok(Contents::Foreign),
        }
    }
    Ok(contents)
}

fn is_of_a_store(name: &str) -> bool {
    [MARK, PREPARING, RESTORING].contains(&name)
        || name.starts_with(REPLACED)
        || name.starts_with(DATABASE)
}

fn is_our_lock(entry: &DirEntry) -> Result<bool, DirectoryError> {
    let path = entry.path();
    if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
        return Ok(false);
    }
    let mut text = String::new();
    let file = File::open(&path).map_err(io_error(&path, "open the lock file"))?;
    let read = file.take(LOCK_LIMIT).read_to_string(&mut text);
    Ok(read.is_ok() && (text.is_empty() || serde_json::from_str::<Holder>(&text).is_ok()))
}

fn open_lock(path: &Path, create: bool) -> Result<File, DirectoryError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).mode(0o600);
    options
        .open(path.join(LOCK))
        .map_err(io_error(path, "open the lock file"))
}

fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.into();
    move |source| DirectoryError::Io { path, what, source }
}
