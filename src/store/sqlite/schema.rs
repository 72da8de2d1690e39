//! The database file: made, migrated, read into the live set. Rows go in by `seq`, so that a change costs the end of a
//! tree and not a random leaf; closings are appended, the rows of closed sessions removed later in sorted batches.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::OpenError;
use super::rows;
use crate::options::{OptionError, Origin, Settings};
use crate::session::Seq;
use crate::store::directory::DirectoryError;
use crate::store::live::LiveSet;

/// Marks the file as ours: "SESS".
const APPLICATION_ID: i64 = 0x5345_5353;

/// Each step makes the schema of the next version; the number of steps is the version.
const MIGRATIONS: [&str; 3] = [
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
];

/// The version that the last migration makes.
const KNOWN_VERSION: i64 = MIGRATIONS.len() as i64;

/// Opens or makes the database, and reads it: the live set, and the rows of closed sessions that are still there.
pub(super) fn open_for_changes(
    path: &Path,
    settings: Option<Settings>,
) -> Result<(Connection, LiveSet, Vec<Seq>), OpenError> {
    create_file(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite(path))?;
    check_version(&connection, path)?;
    prepare(&mut connection).map_err(sqlite(path))?;
    sync_directory(path)?;
    if let Some(settings) = &settings {
        // Refused before anything is changed.
        let run_time = rows::read_layer(&connection, Origin::RunTime).map_err(sqlite(path))?;
        settings
            .clone()
            .with_run_time(run_time)
            .map_err(options(path))?;
        rows::write_settings(&mut connection, settings).map_err(sqlite(path))?;
    }
    let (live, ended) = load(&connection, path, KNOWN_VERSION)?;
    Ok((connection, live, ended))
}

/// Reads the database and changes nothing in it.
pub(super) fn open_for_looking(path: &Path) -> Result<LiveSet, OpenError> {
    if !path.exists() {
        return Err(DirectoryError::Missing(path.parent().unwrap_or(path).into()).into());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite(path))?;
    match check_version(&connection, path)? {
        0 => Ok(LiveSet::new(Settings::default())),
        version => load(&connection, path, version).map(|(live, _)| live),
    }
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

fn check_version(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
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

fn load(
    connection: &Connection,
    path: &Path,
    version: i64,
) -> Result<(LiveSet, Vec<Seq>), OpenError> {
    // Looking migrates nothing: an older store has no settings and no instant of its own yet.
    let mut live = LiveSet::new(match version {
        ..3 => Settings::default(),
        _ => read_settings(connection, path)?,
    });
    if version >= 3 {
        let latest = rows::read_latest(connection).map_err(sqlite(path))?;
        live.restored(Seq(0), latest);
    }
    let sessions = rows::read_sessions(connection, version, |kept| {
        live.restore(kept.record, kept.standing)
    });
    sessions.map_err(sqlite(path))?;
    let closed = rows::read_closed(connection, |id, tombstone| {
        live.restore_closed(id, tombstone)
    });
    closed.map_err(sqlite(path))?;
    let ended = rows::read_ended(connection).map_err(sqlite(path))?;
    Ok((live, ended))
}

fn read_settings(connection: &Connection, path: &Path) -> Result<Settings, OpenError> {
    let layer = |origin| rows::read_layer(connection, origin).map_err(sqlite(path));
    let settings =
        Settings::new(layer(Origin::File)?, layer(Origin::Flag)?).map_err(options(path))?;
    settings
        .with_run_time(layer(Origin::RunTime)?)
        .map_err(options(path))
}

fn options(path: &Path) -> impl Fn(OptionError) -> OpenError {
    move |source| OpenError::Options {
        path: path.into(),
        source,
    }
}

fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> OpenError {
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
