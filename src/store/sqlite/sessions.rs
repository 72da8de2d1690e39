//! The rows of sessions that are not closed.

use std::time::Duration;

use rusqlite::{Connection, Row as SqlRow, Transaction, named_params, params};

use super::columns::{
    Result, execute, freed, ip, millis, number, optional_duration, optional_session_id,
    optional_time, request_id, seq, session_id, time, word,
};
use crate::clock::Timestamp;
use crate::session::{Cause, Kind, Mode, ProcessNumber, Seq};
use crate::store::record::{Begin, ROTATED_FOR, Record, Row, Standing};
use crate::token::TokenHash;

/// The time limits of closings that began before there was a column for them.
const OLD_GRACE_PERIOD: Duration = Duration::from_secs(30);
pub(super) const OLD_TIME_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn write(transaction: &Transaction<'_>, row: &Row) -> Result<()> {
    match row {
        Row::Opened(record) => insert(transaction, record),
        Row::LoggedIn {
            session,
            old,
            new,
            user,
            at,
            ..
        } => {
            execute(
                transaction,
                "UPDATE sessions SET token_hash = ?2, user = ?3, login_at = ?4,
                    last_request_at = max(last_request_at, ?4), confirmed = 1 WHERE seq = ?1",
                params![number(*session), new.as_bytes(), user, at.as_millis()],
            )?;
            keep_rotated(transaction, old, *at)
        }
        Row::Suspended { session, at, .. } => execute(
            transaction,
            "UPDATE sessions SET suspended_at = ?2 WHERE seq = ?1",
            params![number(*session), at.as_millis()],
        ),
        Row::Resumed {
            session,
            process,
            at,
            ..
        } => execute(
            transaction,
            "UPDATE sessions SET suspended_at = NULL, last_request_at = max(last_request_at, ?3), confirmed = 1,
                last_process = ?2, process_started_at = ?3 WHERE seq = ?1",
            params![number(*session), process.0, at.as_millis()],
        ),
        _ => Ok(()),
    }
}

pub(super) fn write_touches(
    transaction: &Transaction<'_>,
    touches: &[(Seq, Timestamp)],
) -> Result<()> {
    let sql = "UPDATE sessions SET last_request_at = ?2, confirmed = 1 WHERE seq = ?1";
    touches
        .iter()
        .try_for_each(|(seq, at)| execute(transaction, sql, params![number(*seq), at.as_millis()]))
}

/// Removes the rows of sessions that are closed; their closings remain.
pub(super) fn remove(transaction: &Transaction<'_>, ended: &[Seq]) -> Result<()> {
    let sql = "DELETE FROM sessions WHERE seq = ?1";
    ended
        .iter()
        .try_for_each(|seq| execute(transaction, sql, [number(*seq)]))
}

fn insert(transaction: &Transaction<'_>, record: &Record) -> Result<()> {
    execute(
        transaction,
        "INSERT INTO sessions (seq, id, token_hash, kind, mode, user, ip, user_agent, created_at, login_at, last_request_at,
            idle_timeout, previous, last_process)
         VALUES (:seq, :id, :token_hash, :kind, :mode, :user, :ip, :user_agent, :created_at, :login_at, :created_at,
            :idle_timeout, :previous, :last_process)",
        named_params! {
            ":seq": number(record.seq),
            ":id": record.id.as_bytes(),
            ":token_hash": record.token_hash.as_bytes(),
            ":kind": record.kind.as_str(),
            ":mode": record.mode.as_str(),
            ":user": record.user.as_deref(),
            ":ip": record.ip.map(|ip| ip.to_string()),
            ":user_agent": record.user_agent.as_deref(),
            ":created_at": record.created_at.as_millis(),
            ":login_at": record.login_at.map(Timestamp::as_millis),
            ":idle_timeout": record.idle_timeout.map(millis),
            ":previous": record.previous.as_ref().map(|id| id.as_bytes()),
            // A web session has its process from the start.
            ":last_process": i64::from(record.kind == Kind::Web),
        },
    )
}

/// In the order of time: the old ones are the beginning of the table.
fn keep_rotated(transaction: &Transaction<'_>, old: &TokenHash, at: Timestamp) -> Result<()> {
    execute(
        transaction,
        "DELETE FROM rotations WHERE at < ?1",
        [at.as_millis() - millis(ROTATED_FOR)],
    )?;
    execute(
        transaction,
        "INSERT OR REPLACE INTO rotations (at, token_hash) VALUES (?1, ?2)",
        params![at.as_millis(), old.as_bytes()],
    )
}

/// Calls `each` for every token that a login had replaced.
pub(super) fn read_rotated(
    connection: &Connection,
    mut each: impl FnMut(TokenHash, Timestamp),
) -> Result<()> {
    let mut select = connection.prepare("SELECT token_hash, at FROM rotations")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        each(TokenHash::from_bytes(row.get(0)?), time(row, 1)?);
    }
    Ok(())
}

/// Calls `each` for every session that is not closed, with the begin of its closing if there is one.
pub(super) fn read(
    connection: &Connection,
    version: i64,
    mut each: impl FnMut(Record, Standing),
) -> Result<()> {
    // Looking migrates nothing: an older store does not tell these yet.
    let since_version_3 = match version {
        ..3 => "s.last_request_at > s.created_at, NULL",
        _ => "s.confirmed, s.suspended_at",
    };
    let since_version_4 = match version {
        ..4 => "NULL, NULL, 1, NULL, NULL, NULL, 0, 0, 0, 0",
        _ => {
            "s.idle_timeout, s.previous, s.last_process, s.process_started_at, c.grace_ends_at, c.ends_at,
             c.freed_processes, c.freed_selections, c.freed_locks, c.freed_variables"
        }
    };
    let mut select = connection.prepare(&format!(
        "SELECT s.seq, s.id, s.token_hash, s.kind, s.mode, s.user, s.ip, s.user_agent, s.created_at, s.login_at,
                s.last_request_at, c.seq, c.cause, c.request_id, c.reason, c.actor, c.begun_at,
                {since_version_3}, {since_version_4}
         FROM sessions s LEFT JOIN closings c ON c.session_seq = s.seq
         WHERE c.closed_at IS NULL ORDER BY s.seq",
    ))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let record = record(row)?;
        let standing = standing(row, record.kind)?;
        each(record, standing);
    }
    Ok(())
}

/// The sessions that are closed but whose rows are still there.
pub(super) fn read_ended(connection: &Connection) -> Result<Vec<Seq>> {
    let mut select = connection
        .prepare("SELECT s.seq FROM sessions s JOIN closings c ON c.session_seq = s.seq WHERE c.closed_at IS NOT NULL")?;
    select.query_map([], |row| seq(row, 0))?.collect()
}

fn record(row: &SqlRow<'_>) -> Result<Record> {
    Ok(Record {
        seq: seq(row, 0)?,
        id: session_id(row, 1)?,
        token_hash: TokenHash::from_bytes(row.get(2)?),
        kind: word(row, 3, Kind::from_word)?,
        mode: word(row, 4, Mode::from_word)?,
        user: row.get(5)?,
        ip: ip(row, 6)?,
        user_agent: row.get(7)?,
        created_at: time(row, 8)?,
        login_at: optional_time(row, 9)?,
        idle_timeout: optional_duration(row, 19)?,
        previous: optional_session_id(row, 20)?,
    })
}

fn standing(row: &SqlRow<'_>, kind: Kind) -> Result<Standing> {
    let begin = begin(row)?;
    // What a closing has ended of a web session is its process: without it, it stands like a suspended one.
    let has_ended = |begin: &Begin| kind == Kind::Web && begin.freed.processes > 0;
    let is_over = begin.as_ref().is_some_and(has_ended);
    Ok(Standing {
        last_request_at: time(row, 10)?,
        confirmed: row.get(17)?,
        suspended: is_over || optional_time(row, 18)?.is_some(),
        begin,
        last_process: ProcessNumber(row.get(21)?),
        process_started_at: optional_time(row, 22)?,
    })
}

/// The begin of its closing, without the runs.
fn begin(row: &SqlRow<'_>) -> Result<Option<Begin>> {
    if row.get::<_, Option<i64>>(11)?.is_none() {
        return Ok(None);
    }
    let at = time(row, 16)?;
    Ok(Some(Begin {
        seq: seq(row, 11)?,
        cause: word(row, 12, Cause::from_word)?,
        request_id: request_id(row, 13)?,
        reason: row.get(14)?,
        actor: row.get(15)?,
        at,
        grace_ends_at: optional_time(row, 23)?.unwrap_or(at.plus(OLD_GRACE_PERIOD)),
        ends_at: optional_time(row, 24)?.unwrap_or(at.plus(OLD_TIME_LIMIT)),
        freed: freed(row, 25)?,
        runs: Vec::new(),
    }))
}
