//! A backup over the store that it was made of, in one transaction: nothing that was closed comes back, no lock, no log-in, no
//! run of a method is undone.

use std::path::Path;

use rusqlite::Connection;

use super::close_all::{CloseAll, in_words};
use super::columns::{Result, session_id};
use super::load::load;
use super::restore::{Restored, with_attached};
use super::schema::{self, Disk, KNOWN_VERSION, Opened, sqlite};
use super::{OpenError, rows, settings};
use crate::audit::Order;
use crate::session::{Cause, SessionId};
use crate::store::{Change, End};

/// Variables and selections of the processes that run now and ran then, for the same user, are as they were. A web session's
/// process has no row of its own unless there is more to tell of it.
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
        WHERE session_seq NOT IN (SELECT session_seq FROM main.closings)
            AND session_seq IN (
                SELECT s.seq FROM main.sessions s JOIN backup.sessions b ON b.seq = s.seq AND b.id = s.id AND b.user IS s.user
            );
    DELETE FROM main.variables WHERE (session_seq, process) IN (SELECT session_seq, number FROM kept);
    INSERT INTO main.variables SELECT v.* FROM backup.variables v JOIN kept k ON k.session_seq = v.session_seq AND k.number = v.process;
    DELETE FROM main.selections WHERE (session_seq, process) IN (SELECT session_seq, number FROM kept);
    INSERT INTO main.selections SELECT s.* FROM backup.selections s JOIN kept k ON k.session_seq = s.session_seq AND k.number = s.process;
    DROP TABLE kept;
";

/// Sessions that live and that the backup at `copy` does not know; `None` if it is not of this store: then the same number
/// means two sessions.
pub(super) fn newer_sessions(
    connection: &Connection,
    copy: &Path,
) -> Result<Option<Vec<SessionId>>> {
    with_attached(connection, copy, newer)
}

fn newer(connection: &Connection) -> Result<Option<Vec<SessionId>>> {
    let sql = "SELECT count(*) FROM main.sessions s JOIN backup.sessions b ON b.seq = s.seq WHERE b.id <> s.id";
    let strangers: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    if strangers > 0 {
        return Ok(None);
    }
    let mut select = connection.prepare(
        "SELECT id FROM main.sessions WHERE seq NOT IN (SELECT session_seq FROM main.closings)
            AND seq NOT IN (SELECT seq FROM backup.sessions)",
    )?;
    let newer = select.query_map([], |row| session_id(row, 0))?;
    newer.collect::<Result<Vec<_>>>().map(Some)
}

/// Brings the backup at `copy` back into the database at `path`.
pub(super) fn merge(
    path: &Path,
    copy: &Path,
    order: &CloseAll,
) -> std::result::Result<Restored, OpenError> {
    let Opened {
        disk: Disk {
            connection, mark, ..
        },
        mut live,
        ..
    } = schema::open_for_changes(path, None)?;
    let now = order.now.max(live.latest());
    let merged = with_attached(&connection, copy, |connection| {
        let transaction = connection.unchecked_transaction()?;
        let newer = newer(&transaction)?.unwrap_or_default();
        let mut rows = Vec::new();
        for id in &newer {
            let end = End::by_itself(*id, Cause::Restored, &order.actor);
            rows.extend(live.prepare(Change::BeginClose(end), now).rows);
        }
        let detail = in_words(newer.len(), "session ended", "sessions ended");
        rows.push(live.audited(Order::by(&order.actor, order.action, detail, now)));
        rows.iter()
            .try_for_each(|row| rows::write(&transaction, row))?;
        live.publish(&rows);
        settings::write_number(&transaction, live.durable())?;
        transaction.execute_batch(MERGE)?;
        // What the next server could not read is not committed.
        if let Err(error) = load(&transaction, path, KNOWN_VERSION) {
            return Ok(Err(error));
        }
        transaction.commit()?;
        Ok(Ok(newer.len()))
    });
    let closed = merged.map_err(sqlite(path))??;
    // An older mark is no lie.
    let _ = mark.set(live.durable());
    let census = live.census();
    Ok(Restored {
        closed,
        live: census.active + census.suspended,
        tokens_revoked: 0,
        replaced: None,
    })
}
