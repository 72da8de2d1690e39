//! The rows of closings: appended when they begin, completed when they end, and then the history of closed sessions.

use rusqlite::{Connection, Row as SqlRow, Transaction, named_params, params};
use uuid::Uuid;

use super::columns::{Result, execute, freed, number, request_id, seq, session_id, time, word};
use super::processes;
use super::runs;
use crate::clock::Timestamp;
use crate::on_close::Freed;
use crate::session::{Cause, Seq, SessionId};
use crate::store::End;
use crate::store::record::{Begin, Record, Row, Tombstone};
use crate::token::TokenHash;

pub(super) fn write(transaction: &Transaction<'_>, row: &Row) -> Result<()> {
    match row {
        Row::Begun {
            begin,
            record,
            last_request_at,
        } => insert(
            transaction,
            record,
            *last_request_at,
            &Closing::begun(begin),
        ),
        Row::Finished {
            session,
            begin,
            tombstone,
            late,
            ..
        } => {
            finish(transaction, *begin, tombstone)?;
            processes::remove_all(transaction, *session)?;
            runs::keep_late(transaction, *session, late)
        }
        Row::Dropped {
            begin,
            record,
            last_request_at,
            end,
            tombstone,
            struck,
        } => {
            for (seq, run) in struck {
                let closing = Some(tombstone.closing);
                runs::keep(transaction, tombstone.session, *seq, closing, run)?;
            }
            if let Some(begin) = begin {
                finish(transaction, *begin, tombstone)?;
                cut_short(transaction, *begin, end)?;
            } else {
                let closing = Closing::dropped(end, tombstone);
                insert(transaction, record, *last_request_at, &closing)?;
            }
            processes::remove_all(transaction, record.seq)
        }
        Row::Forgotten { closings, .. } => closings
            .iter()
            .try_for_each(|(closing, session)| forget(transaction, *closing, *session)),
        _ => Ok(()),
    }
}

/// What a row tells of an ending besides the session.
struct Closing<'a> {
    seq: Seq,
    cause: Cause,
    reason: Option<&'a str>,
    actor: &'a str,
    request_id: Option<&'a Uuid>,
    begun_at: Timestamp,
    /// When its grace period and its time are over.
    limits: Option<(Timestamp, Timestamp)>,
    freed: Freed,
    end: Option<(Seq, Timestamp)>,
}

impl<'a> Closing<'a> {
    fn begun(begin: &'a Begin) -> Self {
        Self {
            seq: begin.seq,
            cause: begin.cause,
            reason: begin.reason.as_deref(),
            actor: &begin.actor,
            request_id: begin.request_id.as_ref(),
            begun_at: begin.at,
            limits: Some((begin.grace_ends_at, begin.ends_at)),
            freed: begin.freed,
            end: None,
        }
    }

    /// Begun and ended in one step.
    fn dropped(end: &'a End, tombstone: &Tombstone) -> Self {
        Self {
            seq: tombstone.closing,
            cause: tombstone.cause,
            reason: end.reason.as_deref(),
            actor: end.actor.as_str(),
            request_id: end.request_id.as_ref(),
            begun_at: tombstone.closed_at,
            limits: None,
            freed: tombstone.freed,
            end: Some((tombstone.seq, tombstone.closed_at)),
        }
    }
}

fn insert(
    transaction: &Transaction<'_>,
    record: &Record,
    last_request_at: Timestamp,
    closing: &Closing<'_>,
) -> Result<()> {
    execute(
        transaction,
        "INSERT INTO closings (seq, session_seq, id, token_hash, kind, mode, user, ip, user_agent, created_at, login_at,
            last_request_at, cause, reason, actor, request_id, begun_at, grace_ends_at, ends_at, closed_at, end_seq,
            freed_processes, freed_selections, freed_locks, freed_variables)
         VALUES (:seq, :session_seq, :id, :token_hash, :kind, :mode, :user, :ip, :user_agent, :created_at, :login_at,
            :last_request_at, :cause, :reason, :actor, :request_id, :begun_at, :grace_ends_at, :ends_at, :closed_at, :end_seq,
            :processes, :selections, :locks, :variables)",
        named_params! {
            ":seq": number(closing.seq),
            ":session_seq": number(record.seq),
            ":id": record.id.as_bytes(),
            ":token_hash": record.token_hash.as_bytes(),
            ":kind": record.kind.as_str(),
            ":mode": record.mode.as_str(),
            ":user": record.user.as_deref(),
            ":ip": record.ip.map(|ip| ip.to_string()),
            ":user_agent": record.user_agent.as_deref(),
            ":created_at": record.created_at.as_millis(),
            ":login_at": record.login_at.map(Timestamp::as_millis),
            ":last_request_at": last_request_at.as_millis(),
            ":cause": closing.cause.as_str(),
            ":reason": closing.reason,
            ":actor": closing.actor,
            ":request_id": closing.request_id.map(Uuid::as_bytes),
            ":begun_at": closing.begun_at.as_millis(),
            ":grace_ends_at": closing.limits.map(|(grace, _)| grace.as_millis()),
            ":ends_at": closing.limits.map(|(_, end)| end.as_millis()),
            ":closed_at": closing.end.map(|(_, at)| at.as_millis()),
            ":end_seq": closing.end.map(|(seq, _)| number(seq)),
            ":processes": closing.freed.processes,
            ":selections": closing.freed.selections,
            ":locks": closing.freed.locks,
            ":variables": closing.freed.variables,
        },
    )
}

fn finish(transaction: &Transaction<'_>, begin: Seq, tombstone: &Tombstone) -> Result<()> {
    let freed = tombstone.freed;
    execute(
        transaction,
        "UPDATE closings SET cause = ?2, closed_at = ?3, end_seq = ?4, freed_processes = ?5, freed_selections = ?6,
            freed_locks = ?7, freed_variables = ?8 WHERE seq = ?1",
        params![
            number(begin),
            tombstone.cause.as_str(),
            tombstone.closed_at.as_millis(),
            number(tombstone.seq),
            freed.processes,
            freed.selections,
            freed.locks,
            freed.variables,
        ],
    )
}

fn cut_short(transaction: &Transaction<'_>, begin: Seq, end: &End) -> Result<()> {
    let request_id = end.request_id.as_ref().map(Uuid::as_bytes);
    execute(
        transaction,
        "UPDATE closings SET drop_reason = ?2, drop_actor = ?3, drop_request_id = ?4 WHERE seq = ?1",
        params![number(begin), end.reason, end.actor.as_str(), request_id],
    )
}

fn forget(transaction: &Transaction<'_>, closing: Seq, session: Seq) -> Result<()> {
    // The session's own row may still be there: without its closing it would come back to life (C16).
    for sql in [
        "DELETE FROM sessions WHERE seq = ?1",
        "DELETE FROM method_runs WHERE session_seq = ?1",
        "DELETE FROM saved WHERE session_seq = ?1",
    ] {
        execute(transaction, sql, [number(session)])?;
    }
    let sql = "DELETE FROM closings WHERE seq = ?1";
    execute(transaction, sql, [number(closing)])
}

/// Calls `each` for every closed session; the runs of its method are kept elsewhere.
pub(super) fn read_closed(
    connection: &Connection,
    version: i64,
    mut each: impl FnMut(SessionId, Tombstone),
) -> Result<()> {
    // Looking migrates nothing: an older store does not tell these yet.
    let since_version_4 = match version {
        ..4 => "NULL, 0, 0, 0, 0, 0",
        _ => {
            "token_hash, inherited, freed_processes, freed_selections, freed_locks, freed_variables"
        }
    };
    let mut select = connection.prepare(&format!(
        "SELECT id, cause, closed_at, user, end_seq, request_id, drop_request_id, seq, session_seq, {since_version_4}
         FROM closings WHERE closed_at IS NOT NULL ORDER BY seq",
    ))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        each(session_id(row, 0)?, tombstone(row)?);
    }
    Ok(())
}

fn tombstone(row: &SqlRow<'_>) -> Result<Tombstone> {
    let token_hash: Option<[u8; 32]> = row.get(9)?;
    Ok(Tombstone {
        cause: word(row, 1, Cause::from_word)?,
        closed_at: time(row, 2)?,
        user: row.get(3)?,
        seq: seq(row, 4)?,
        request_ids: [request_id(row, 5)?, request_id(row, 6)?],
        closing: seq(row, 7)?,
        session: seq(row, 8)?,
        token_hash: token_hash.map(TokenHash::from_bytes),
        inherited: row.get(10)?,
        freed: freed(row, 11)?,
        runs: Vec::new(),
    })
}
