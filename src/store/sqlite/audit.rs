//! The rows of the audit record: appended, never changed.

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, Transaction, params};

use super::columns::{Result, execute, number, optional_session_id, request_id, seq, time, word};
use crate::admin::{AuditPage, AuditQuery};
use crate::audit::{Action, AuditRecord, ChainHash, Order, Verdict};
use crate::clock::Timestamp;
use crate::session::Seq;

/// The columns that [`record`] reads. Looking migrates nothing: an older store does not tell the way.
fn columns(version: i64) -> &'static str {
    match version {
        ..6 => "seq, at, actor, action, session, user, detail, request_id, hash, NULL",
        _ => "seq, at, actor, action, session, user, detail, request_id, hash, via",
    }
}

/// Appends a record, chained to the last one.
pub(super) fn write(transaction: &Transaction<'_>, seq: Seq, order: &Order) -> Result<()> {
    let mut last =
        transaction.prepare_cached("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1")?;
    let last = last.query_row([], |row| row.get(0)).optional()?;
    let record = AuditRecord::following(last.map(ChainHash::from_bytes), seq, order.clone());
    let Order {
        at,
        actor,
        via,
        action,
        session,
        user,
        detail,
        request_id,
    } = order;
    execute(
        transaction,
        "INSERT INTO audit (seq, at, actor, action, session, user, detail, request_id, hash, via)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            number(seq),
            at.as_millis(),
            actor,
            action.as_str(),
            session.as_ref().map(|id| id.as_bytes()),
            user,
            detail,
            request_id.as_ref().map(|id| id.as_bytes()),
            record.hash.as_bytes(),
            via,
        ],
    )
}

/// One page of the records, the last one first.
pub(super) fn page(connection: &Connection, version: i64, query: &AuditQuery) -> Result<AuditPage> {
    let columns = columns(version);
    let mut select = connection.prepare_cached(&format!(
        "SELECT {columns} FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2"
    ))?;
    let limit = query.page_size();
    let before = query.before.map_or(i64::MAX, number);
    let asked = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let rows = select.query_map(params![before, asked], record_or_none)?;
    let mut items = rows.collect::<Result<Vec<_>>>()?;
    let truncated = items.len() > limit;
    items.truncate(limit);
    Ok(AuditPage { items, truncated })
}

/// Goes over the whole chain.
pub(super) fn verify(connection: &Connection, version: i64) -> Result<Verdict> {
    let columns = columns(version);
    let mut select = connection.prepare(&format!("SELECT {columns} FROM audit ORDER BY seq"))?;
    let mut rows = select.query([])?;
    let mut verdict = Verdict::default();
    while let Some(row) = rows.next()? {
        match record(row) {
            Ok(record) => verdict.add(&record),
            Err(_) => verdict.add_unreadable(seq(row, 0)?),
        }
    }
    Ok(verdict)
}

/// A record; one that cannot be read, because it was changed, is told as such: it hides none of the others.
fn record_or_none(row: &SqlRow<'_>) -> Result<AuditRecord> {
    let unreadable = |seq| AuditRecord {
        seq,
        order: Order {
            at: Timestamp::EPOCH,
            actor: String::new(),
            via: None,
            action: Action::Unreadable,
            session: None,
            user: None,
            detail: None,
            request_id: None,
        },
        hash: ChainHash::from_bytes([0; 32]),
    };
    record(row).or_else(|_| seq(row, 0).map(unreadable))
}

fn record(row: &SqlRow<'_>) -> Result<AuditRecord> {
    Ok(AuditRecord {
        seq: seq(row, 0)?,
        order: Order {
            at: time(row, 1)?,
            actor: row.get(2)?,
            via: row.get(9)?,
            action: word(row, 3, Action::from_word)?,
            session: optional_session_id(row, 4)?,
            user: row.get(5)?,
            detail: row.get(6)?,
            request_id: request_id(row, 7)?,
        },
        hash: ChainHash::from_bytes(row.get(8)?),
    })
}
