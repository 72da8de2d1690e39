//! The database file: made, and migrated. Rows go in by `seq`, so that a change costs the end of a tree and not a random
//! leaf; closings are appended, the rows of closed sessions removed later in sorted batches.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::close_all::{self, CloseAll, ClosedAll};
use super::load::{Loaded, load};
use super::mark::{Identity, Known, Mark};
use super::{OpenError, check, log, mark, settings};
use crate::clock::Timestamp;
use crate::on_close::Method;
use crate::options::{OptionError, Origin, Settings};
use crate::session::Seq;
use crate::store::directory::DirectoryError;
use crate::store::live::LiveSet;

/// Marks the file as ours: "SESS".
const APPLICATION_ID: i64 = 0x5345_5353;

/// Each step makes the schema of the next version; the number of steps is the version.
const MIGRATIONS: [&str; 6] = [
    "
    CREATE TABLE sessions (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        token_hash BLOB NOT NULL,
        kind TEXT NOT NULL,
        mode TEXT NOT NULL,
        user TEXT,
        ip TEXT,
        user_agent TEXT,
        created_at INTEGER NOT NULL,
        login_at INTEGER,
        last_request_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE closings (
        seq INTEGER PRIMARY KEY,
        session_seq INTEGER NOT NULL,
        id BLOB NOT NULL,
        user TEXT,
        cause TEXT NOT NULL,
        reason TEXT,
        actor TEXT NOT NULL,
        request_id BLOB,
        begun_at INTEGER NOT NULL,
        closed_at INTEGER,
        end_seq INTEGER,
        drop_reason TEXT,
        drop_actor TEXT,
        drop_request_id BLOB
    ) STRICT;
",
    "
    -- What the last server was started with: a command without a server goes by it.
    CREATE TABLE served_with (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE sessions ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN suspended_at INTEGER;
    UPDATE sessions SET confirmed = 1 WHERE last_request_at > created_at;
    -- What the last server was started with (file, flag), and what was set since (run_time), as it is typed.
    CREATE TABLE options (
        name TEXT NOT NULL,
        origin TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (name, origin)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO options SELECT 'cookie_secure', 'flag', iif(value, 'on', 'off') FROM served_with WHERE name = 'secure_cookie';
    INSERT INTO options SELECT name, 'flag', CAST(value AS TEXT) FROM served_with WHERE name = 'max_sessions';
    INSERT INTO options SELECT name, 'flag', value || 'ms' FROM served_with WHERE name LIKE '%_timeout';
    DROP TABLE served_with;
    -- That this instant had come: time does not go back behind it.
    CREATE TABLE latest (only_row INTEGER PRIMARY KEY CHECK (only_row = 0), instant INTEGER NOT NULL) STRICT;
",
    "
    ALTER TABLE sessions ADD COLUMN idle_timeout INTEGER;
    ALTER TABLE sessions ADD COLUMN previous BLOB;
    -- The process of a web session has no row unless there is more to tell of it than this.
    ALTER TABLE sessions ADD COLUMN last_process INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE sessions ADD COLUMN process_started_at INTEGER;
    ALTER TABLE closings ADD COLUMN token_hash BLOB;
    ALTER TABLE closings ADD COLUMN kind TEXT;
    ALTER TABLE closings ADD COLUMN mode TEXT;
    ALTER TABLE closings ADD COLUMN ip TEXT;
    ALTER TABLE closings ADD COLUMN user_agent TEXT;
    ALTER TABLE closings ADD COLUMN created_at INTEGER;
    ALTER TABLE closings ADD COLUMN login_at INTEGER;
    ALTER TABLE closings ADD COLUMN last_request_at INTEGER;
    ALTER TABLE closings ADD COLUMN grace_ends_at INTEGER;
    ALTER TABLE closings ADD COLUMN ends_at INTEGER;
    ALTER TABLE closings ADD COLUMN freed_processes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE closings ADD COLUMN freed_selections INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE closings ADD COLUMN freed_locks INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE closings ADD COLUMN freed_variables INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE closings ADD COLUMN inherited INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX ends ON closings (end_seq) WHERE end_seq IS NOT NULL;
    -- The last number that was given to a change which left it nowhere else.
    ALTER TABLE latest ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
    -- Tokens that a login has replaced.
    CREATE TABLE rotations (at INTEGER NOT NULL, token_hash BLOB NOT NULL, PRIMARY KEY (at, token_hash)) STRICT, WITHOUT ROWID;
    CREATE TABLE processes (
        session_seq INTEGER NOT NULL,
        number INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        lease_ms INTEGER,
        closing_at INTEGER,
        alone INTEGER NOT NULL DEFAULT 0,
        user TEXT,
        PRIMARY KEY (session_seq, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE variables (
        session_seq INTEGER NOT NULL,
        process INTEGER NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (session_seq, process, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE selections (
        session_seq INTEGER NOT NULL,
        process INTEGER NOT NULL,
        name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        records TEXT NOT NULL,
        PRIMARY KEY (session_seq, process, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE locks (
        session_seq INTEGER NOT NULL,
        process INTEGER NOT NULL,
        table_name TEXT NOT NULL,
        record TEXT NOT NULL,
        since INTEGER NOT NULL,
        fence INTEGER NOT NULL,
        PRIMARY KEY (session_seq, process, table_name, record)
    ) STRICT, WITHOUT ROWID;
    -- Runs of the on-close method; without a closing, of a process that ended while its session lived on.
    CREATE TABLE method_runs (
        session_seq INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        closing_seq INTEGER,
        process INTEGER NOT NULL,
        result TEXT NOT NULL,
        took_ms INTEGER NOT NULL,
        late INTEGER NOT NULL,
        detail TEXT,
        PRIMARY KEY (session_seq, seq)
    ) STRICT, WITHOUT ROWID;
    -- What the method has still to get although the closing has ended.
    CREATE TABLE late_runs (seq INTEGER PRIMARY KEY, session_seq INTEGER NOT NULL, document TEXT NOT NULL) STRICT;
    -- What the method answered.
    CREATE TABLE saved (
        session_seq INTEGER NOT NULL,
        process INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        information TEXT NOT NULL,
        PRIMARY KEY (session_seq, process)
    ) STRICT, WITHOUT ROWID;
    -- What the last server called as its on-close method: a command without a server goes by it.
    CREATE TABLE served_method (only_row INTEGER PRIMARY KEY CHECK (only_row = 0), method TEXT NOT NULL) STRICT;
",
    "
    -- When a process that closes alone has had its time.
    ALTER TABLE processes ADD COLUMN ends_at INTEGER;
    -- Which store this is: a copy of it is known by that, another one too.
    CREATE TABLE identity (only_row INTEGER PRIMARY KEY CHECK (only_row = 0), id BLOB NOT NULL, before BLOB, is_backup INTEGER NOT NULL DEFAULT 0) STRICT;
    INSERT INTO identity (only_row, id) VALUES (0, randomblob(16));
    -- What operators ordered; each row has a hash of itself and of the one before.
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        session BLOB,
        user TEXT,
        detail TEXT,
        request_id BLOB,
        hash BLOB NOT NULL
    ) STRICT;
",
    "
    ALTER TABLE audit ADD COLUMN via TEXT;
    -- Admin tokens: of the secret only the hash.
    CREATE TABLE tokens (
        name TEXT PRIMARY KEY,
        hash BLOB NOT NULL,
        role TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        created_by TEXT NOT NULL,
        expires_at INTEGER
    ) STRICT, WITHOUT ROWID;
",
];

/// The version that the last migration makes.
pub(super) const KNOWN_VERSION: i64 = MIGRATIONS.len() as i64;

/// More than there are statements that are used again and again.
const PREPARED_STATEMENTS: usize = 64;

/// What is needed to write a database.
pub(super) struct Disk {
    pub(super) connection: Connection,
    /// The rows of closed sessions that are still there.
    pub(super) ended: Vec<Seq>,
    pub(super) mark: Mark,
}

/// A database that was opened for changes.
pub(super) struct Opened {
    pub(super) disk: Disk,
    pub(super) live: LiveSet,
    /// What the last server called as its on-close method.
    pub(super) method: Method,
    pub(super) identity: Identity,
}

/// Opens or makes the database, and reads it; with what a server starts with, if one does. Refused is what has less than
/// was acknowledged.
pub(super) fn open_for_changes(
    path: &Path,
    start: Option<(Settings, &Method)>,
) -> Result<Opened, OpenError> {
    let (connection, loaded) = open(path, start, mark::read(path))?;
    marked(path, connection, loaded)
}

/// The same for a database that may be an older copy: whatever it has less than was acknowledged, every session that lives
/// in it is closed, in one commit. Answers what ended by it too.
pub(super) fn open_closing_all(
    path: &Path,
    start: Option<(Settings, &Method)>,
    order: &CloseAll,
) -> Result<(Opened, ClosedAll), OpenError> {
    let (mut connection, mut loaded) = open(path, start, None)?;
    if let Some((_, acknowledged)) = mark::read(path) {
        loaded.live.restored(acknowledged, Timestamp::EPOCH);
    }
    let closed = close_all::close_all(&mut connection, &mut loaded, order).map_err(sqlite(path))?;
    Ok((marked(path, connection, loaded)?, closed))
}

fn marked(path: &Path, connection: Connection, loaded: Loaded) -> Result<Opened, OpenError> {
    let known = settings::read_known(&connection, KNOWN_VERSION).map_err(sqlite(path))?;
    let identity = known
        .identity
        .ok_or_else(|| OpenError::NotAStore(path.into()))?;
    let Loaded {
        live,
        ended,
        method,
    } = loaded;
    let mark = Mark::open(path, identity).and_then(|mark| {
        mark.set(live.durable())?;
        Ok(mark)
    });
    let mark = mark.map_err(|source| io(path, "write the mark of the last change", source))?;
    Ok(Opened {
        disk: Disk {
            connection,
            ended,
            mark,
        },
        live,
        method,
        identity,
    })
}

fn open(
    path: &Path,
    start: Option<(Settings, &Method)>,
    marked: Option<(Identity, Seq)>,
) -> Result<(Connection, Loaded), OpenError> {
    create_file(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite(path))?;
    let version = check_version(&connection, path)?;
    // Refused before anything is changed.
    let known = settings::read_known(&connection, version).map_err(sqlite(path))?;
    mark::check(path, marked, &known)?;
    check_file(&connection, path, version)?;
    prepare(&mut connection).map_err(sqlite(path))?;
    log::settle(&connection).map_err(sqlite(path))?;
    sync_directory(path)?;
    if let Some((settings, method)) = start {
        let run_time = settings::read_layer(&connection, Origin::RunTime).map_err(sqlite(path))?;
        settings
            .clone()
            .with_run_time(run_time)
            .map_err(options(path))?;
        settings::write_start(&mut connection, &settings, method).map_err(sqlite(path))?;
    }
    let loaded = load(&connection, path, KNOWN_VERSION)?;
    Ok((connection, loaded))
}

/// A database that was only looked at.
pub(super) struct LookedAt {
    pub(super) connection: Connection,
    pub(super) live: LiveSet,
    /// What the last server called as its on-close method.
    pub(super) method: Method,
    pub(super) known: Known,
}

/// Reads the database and changes nothing in it.
pub(super) fn look(path: &Path) -> Result<LookedAt, OpenError> {
    if !path.exists() {
        return Err(DirectoryError::Missing(path.parent().unwrap_or(path).into()).into());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite(path))?;
    let version = check_version(&connection, path)?;
    let known = settings::read_known(&connection, version).map_err(sqlite(path))?;
    mark::check(path, mark::read(path), &known)?;
    check_file(&connection, path, version)?;
    let Loaded { live, method, .. } = match version {
        0 => Loaded::nothing(),
        version => load(&connection, path, version)?,
    };
    Ok(LookedAt {
        connection,
        live,
        method,
        known,
    })
}

/// Made before SQLite does it, so that no umask opens it to others; the `-wal` and `-shm` files take its mode over.
fn create_file(path: &Path) -> Result<(), OpenError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path);
    file.map(drop)
        .map_err(|source| io(path, "make the database", source))
}

/// A file that was just made is on disk only when its directory is.
fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let directory = path.parent().unwrap_or(path);
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(|source| io(directory, "sync the directory", source))
}

/// Refuses a file that SQLite finds damaged, and tables that contradict each other: half of a store is none.
fn check_file(connection: &Connection, path: &Path, version: i64) -> Result<(), OpenError> {
    let problem = check::first_problem(connection, version).map_err(sqlite(path))?;
    problem.map_or(Ok(()), |problem| {
        Err(OpenError::Damaged {
            path: path.into(),
            problem,
        })
    })
}

/// The version of the store at `path`; 0 if it is empty.
pub(super) fn version_of(path: &Path) -> Result<i64, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite(path))?;
    check_version(&connection, path)
}

pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let pragma = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(sqlite(path))
    };
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    let is_empty = application == 0 && found == 0 && pragma("schema_version")? == 0;
    if application != APPLICATION_ID && !is_empty {
        return Err(OpenError::NotAStore(path.into()));
    }
    if found > KNOWN_VERSION {
        return Err(OpenError::NewerSchema {
            path: path.into(),
            found,
            known: KNOWN_VERSION,
        });
    }
    Ok(found)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        // Where there is no write-ahead log (some network file systems), nothing said here would hold.
        let mode: String = row.get(0)?;
        if mode == "wal" {
            Ok(())
        } else {
            Err(rusqlite::Error::InvalidQuery)
        }
    })?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // On macOS only this reaches the platter; elsewhere it does nothing.
    connection.pragma_update(None, "fullfsync", true)?;
    let transaction = connection.transaction()?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for migration in MIGRATIONS
        .iter()
        .skip(usize::try_from(version).unwrap_or_default())
    {
        transaction.execute_batch(migration)?;
    }
    if version < KNOWN_VERSION {
        transaction.pragma_update(None, "user_version", KNOWN_VERSION)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.commit()
}

pub(super) fn options(path: &Path) -> impl Fn(OptionError) -> OpenError {
    move |source| OpenError::Options {
        path: path.into(),
        source,
    }
}

pub(super) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> OpenError {
    move |source| match source {
        rusqlite::Error::SqliteFailure(error, _)
            if error.code == rusqlite::ErrorCode::NotADatabase =>
        {
            OpenError::NotAStore(path.into())
        }
        source => OpenError::Sqlite {
            path: path.into(),
            source,
        },
    }
}

fn io(path: &Path, what: &'static str, source: std::io::Error) -> OpenError {
    DirectoryError::Io {
        path: path.into(),
        what,
        source,
    }
    .into()
}
