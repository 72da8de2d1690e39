//! Looks up what is on disk and not in the live set: the history of closed sessions, and what the on-close method left. A
//! connection of its own, which only reads: nobody waits for it but who asks.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row as SqlRow, Transaction, named_params};

use super::columns::{
    Result, freed, ip, number, optional_time, optional_word, seq, session_id, time, word,
};
use super::{audit, runs};
use crate::admin::{AuditPage, AuditQuery, HistoryEntry, HistoryPage, HistoryQuery};
use crate::audit::Verdict;
use crate::clock::Timestamp;
use crate::context::Json;
use crate::session::{Cause, Kind, Mode, ProcessNumber, Seq};
use crate::store::archive::page_size;

/// Time that another program's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Reader {
    path: PathBuf,
    /// Opened at the first question; each question has it for itself.
    connection: Mutex<Option<Connection>>,
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            connection: Mutex::new(None),
        }
    }

    /// Lets go of the database, so that the last writer can tidy its files.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    /// One page of the closed sessions, the last one first; only that of one closing, if it is named.
    pub(super) fn history(
        &self,
        query: &HistoryQuery,
        closing: Option<Seq>,
    ) -> Result<HistoryPage> {
        self.look(|snapshot, version| match version {
            0 => Ok(HistoryPage::default()),
            _ => history(snapshot, version, query, closing),
        })
    }

    /// One page of the audit record, the last one first.
    pub(super) fn audit(&self, query: &AuditQuery) -> Result<AuditPage> {
        self.look(|snapshot, version| match version {
            ..5 => Ok(AuditPage::default()),
            _ => audit::page(snapshot, version, query),
        })
    }

    /// Goes over the whole audit record.
    pub(super) fn verify_audit(&self) -> Result<Verdict> {
        self.look(|snapshot, version| match version {
            ..5 => Ok(Verdict::default()),
            _ => audit::verify(snapshot, version),
        })
    }

    /// What the on-close method left of sessions.
    pub(super) fn saved(&self, sessions: &[Seq]) -> Result<Vec<(Seq, ProcessNumber, Json)>> {
        self.look(|snapshot, version| match version {
            ..4 => Ok(Vec::new()),
            _ => runs::saved_of(snapshot, sessions),
        })
    }

    /// Asks one state of the database, whatever is written meanwhile; and tells the version of its schema.
    fn look<T>(&self, ask: impl FnOnce(&Transaction<'_>, i64) -> Result<T>) -> Result<T> {
        let mut kept = self.lock();
        let connection = match &mut *kept {
            Some(connection) => connection,
            none => none.insert(open(&self.path)?),
        };
        let snapshot = connection.transaction()?;
        let version = snapshot.pragma_query_value(None, "user_version", |row| row.get(0))?;
        ask(&snapshot, version)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A question that panicked has changed nothing.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

fn history(
    snapshot: &Transaction<'_>,
    version: i64,
    query: &HistoryQuery,
    closing: Option<Seq>,
) -> Result<HistoryPage> {
    let since_version_4 = match version {
        ..4 => "0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
        _ => {
            "freed_processes, freed_selections, freed_locks, freed_variables,
             kind, mode, ip, user_agent, created_at, login_at, last_request_at"
        }
    };
    // One row is found by its key; a page is a piece of the index of the ends.
    let which = match closing {
        Some(_) => "seq = :closing",
        None => ":closing IS NULL",
    };
    // Who drops a session that is closing is the one who ended it.
    let mut select = snapshot.prepare_cached(&format!(
        "SELECT end_seq, session_seq, id, user, begun_at, closed_at, cause,
                iif(drop_actor IS NULL, reason, drop_reason), ifnull(drop_actor, actor), {since_version_4}
         FROM closings
         WHERE {which} AND end_seq < :before AND (:user IS NULL OR user = :user)
               AND (:cause IS NULL OR cause = :cause) AND (:since IS NULL OR closed_at >= :since)
         ORDER BY end_seq DESC LIMIT :limit",
    ))?;
    let limit = page_size(query);
    let parameters = named_params! {
        ":closing": closing.map(number),
        ":before": query.before.map_or(i64::MAX, number),
        ":user": query.user,
        ":cause": query.cause.map(Cause::as_str),
        ":since": query.since.map(Timestamp::as_millis),
        ":limit": i64::try_from(limit + 1).unwrap_or(i64::MAX),
    };
    let mut rows = select.query(parameters)?;
    let mut page = HistoryPage::default();
    while let Some(row) = rows.next()? {
        if page.items.len() == limit {
            page.truncated = true;
            break;
        }
        let mut entry = entry(row)?;
        if version >= 4 {
            entry.on_close = runs::runs_of(snapshot, seq(row, 1)?)?;
        }
        page.items.push(entry);
    }
    Ok(page)
}

/// A closed session, without the runs of its method.
fn entry(row: &SqlRow<'_>) -> Result<HistoryEntry> {
    Ok(HistoryEntry {
        seq: seq(row, 0)?,
        id: session_id(row, 2)?,
        user: row.get(3)?,
        begun_at: time(row, 4)?,
        closed_at: time(row, 5)?,
        expires_at: Timestamp::EPOCH,
        cause: word(row, 6, Cause::from_word)?,
        reason: row.get(7)?,
        actor: row.get(8)?,
        freed: freed(row, 9)?,
        kind: optional_word(row, 13, Kind::from_word)?,
        mode: optional_word(row, 14, Mode::from_word)?,
        ip: ip(row, 15)?,
        user_agent: row.get(16)?,
        created_at: optional_time(row, 17)?,
        login_at: optional_time(row, 18)?,
        last_request_at: optional_time(row, 19)?,
        on_close: Vec::new(),
    })
}
