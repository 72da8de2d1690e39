//! The write-ahead log, as far as SQLite would decide by itself what its failures mean: when it goes into the database, and
//! what is trusted of it at the start.

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, DEFAULT_NAME, ErrorCode, Result};

/// Pages of the log from which on it goes into the database; as many as SQLite itself takes.
const PAGES: i32 = 1_000;

/// How often a program is waited for that reads, each time as long as the connection waits for a lock (5 s).
const TRIES: u32 = 12;

/// Puts into the database, synced, whatever the log has, and begins the log anew.
///
/// What is read from the log may be nowhere but in the system's memory: a sync of it that failed before the restart does not
/// fail again, and what follows in the log would be lost behind it in a crash.
pub(super) fn settle(connection: &Connection) -> Result<()> {
    // Waits for nobody, and tells whether there is anything in the log.
    let (pages, _) = connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE)?;
    if pages <= 0 {
        return Ok(());
    }
    for _ in 1..TRIES {
        match connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::TRUNCATE) {
            Err(error) if is_in_use(&error) => {
                tracing::warn!(
                    "another program reads the store, whose log is to go into the database first: the start waits for it"
                );
            }
            settled => return settled.map(drop),
        }
    }
    connection
        .wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::TRUNCATE)
        .map(drop)
}

/// Lets the log go into the database as SQLite does it by itself, but for its failures: they are those of the commit
/// that it comes with.
pub(super) fn watch(connection: &mut Connection) -> Result<()> {
    connection.wal_hook(Some(|log: &mut Wal, pages| {
        if pages < PAGES {
            return Ok(());
        }
        match log.checkpoint() {
            // Another program reads, or does it already: it comes with a later commit.
            Err(error) if is_in_use(&error) => Ok(()),
            done => done,
        }
    }))
}

fn is_in_use(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Whether closing the last connection puts the log into the database and removes it, by its name. That is for an orderly
/// end alone: after a failure the log is what a restart goes by, and the name may be another store's.
pub(super) fn tidy_at_close(connection: &Connection, is_orderly: bool) -> Result<()> {
    let leave = !is_orderly;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave)
        .map(drop)
}
