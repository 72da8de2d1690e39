//! One row of the live set as SQL, in both directions.

use std::net::IpAddr;
use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{
    Connection, OptionalExtension as _, Row as SqlRow, Transaction, named_params, params,
};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::options::{Layer, OptionSpec, Origin, Settings};
use crate::session::{Cause, Kind, Mode, Seq, SessionId};
use crate::store::End;
use crate::store::record::{Begin, Record, Row, Standing, Tombstone};
use crate::token::TokenHash;

type Result<T> = rusqlite::Result<T>;

pub(super) fn write(transaction: &Transaction<'_>, row: &Row) -> Result<()> {
    match row {
        Row::Opened(record) => insert_session(transaction, record),
        Row::Suspended { session, at, .. } => suspend(transaction, *session, *at),
        Row::Resumed { session, at, .. } => resume(transaction, *session, *at),
        Row::OptionsSet { settings, .. } => write_layer(
            transaction,
            Origin::RunTime,
            &settings.layer(Origin::RunTime),
        ),
        Row::Begun {
            begin,
            record,
            end,
            at,
        } => insert_closing(transaction, *begin, record, end, *at, None),
        Row::Finished {
            begin, tombstone, ..
        } => finish(transaction, *begin, tombstone),
        Row::Dropped {
            begin: None,
            record,
            end,
            tombstone,
        } => insert_closing(
            transaction,
            tombstone.seq,
            record,
            end,
            tombstone.closed_at,
            Some(tombstone),
        ),
        Row::Dropped {
            begin: Some(begin),
            end,
            tombstone,
            ..
        } => {
            finish(transaction, *begin, tombstone)?;
            cut_short(transaction, *begin, end)
        }
    }
}

pub(super) fn write_touches(
    transaction: &Transaction<'_>,
    touches: &[(Seq, Timestamp)],
) -> Result<()> {
    let mut update = transaction
        .prepare_cached("UPDATE sessions SET last_request_at = ?2, confirmed = 1 WHERE seq = ?1")?;
    touches.iter().try_for_each(|(seq, at)| {
        update
            .execute(params![number(*seq), at.as_millis()])
            .map(drop)
    })
}

/// Keeps that an instant had come (S14).
pub(super) fn write_latest(transaction: &Transaction<'_>, instant: Timestamp) -> Result<()> {
    let mut upsert = transaction
        .prepare_cached("INSERT OR REPLACE INTO latest (only_row, instant) VALUES (0, ?1)")?;
    upsert.execute(params![instant.as_millis()]).map(drop)
}

/// The last instant that was kept.
pub(super) fn read_latest(connection: &Connection) -> Result<Timestamp> {
    let instant = connection.query_row("SELECT instant FROM latest", [], |row| time(row, 0));
    instant
        .optional()
        .map(|instant| instant.unwrap_or(Timestamp::EPOCH))
}

fn suspend(transaction: &Transaction<'_>, session: Seq, at: Timestamp) -> Result<()> {
    let mut update =
        transaction.prepare_cached("UPDATE sessions SET suspended_at = ?2 WHERE seq = ?1")?;
    update
        .execute(params![number(session), at.as_millis()])
        .map(drop)
}

fn resume(transaction: &Transaction<'_>, session: Seq, at: Timestamp) -> Result<()> {
    let mut update = transaction.prepare_cached(
        "UPDATE sessions SET suspended_at = NULL, last_request_at = ?2, confirmed = 1 WHERE seq = ?1",
    )?;
    update
        .execute(params![number(session), at.as_millis()])
        .map(drop)
}

/// Removes the rows of sessions that are closed; their closings remain.
pub(super) fn remove_sessions(transaction: &Transaction<'_>, ended: &[Seq]) -> Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM sessions WHERE seq = ?1")?;
    ended
        .iter()
        .try_for_each(|seq| delete.execute(params![number(*seq)]).map(drop))
}

fn insert_session(transaction: &Transaction<'_>, record: &Record) -> Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO sessions (seq, id, token_hash, kind, mode, user, ip, user_agent, created_at, login_at, last_request_at)
         VALUES (:seq, :id, :token_hash, :kind, :mode, :user, :ip, :user_agent, :created_at, :login_at, :created_at)",
    )?;
    insert.execute(named_params! {
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
    })?;
    Ok(())
}

fn insert_closing(
    transaction: &Transaction<'_>,
    seq: Seq,
    record: &Record,
    end: &End,
    at: Timestamp,
    closed: Option<&Tombstone>,
) -> Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO closings (seq, session_seq, id, user, cause, reason, actor, request_id, begun_at, closed_at, end_seq)
         VALUES (:seq, :session_seq, :id, :user, :cause, :reason, :actor, :request_id, :begun_at, :closed_at, :end_seq)",
    )?;
    insert.execute(named_params! {
        ":seq": number(seq),
        ":session_seq": number(record.seq),
        ":id": record.id.as_bytes(),
        ":user": record.user.as_deref(),
        ":cause": end.cause.as_str(),
        ":reason": end.reason.as_deref(),
        ":actor": end.actor,
        ":request_id": end.request_id.as_ref().map(Uuid::as_bytes),
        ":begun_at": at.as_millis(),
        ":closed_at": closed.map(|tombstone| tombstone.closed_at.as_millis()),
        ":end_seq": closed.map(|tombstone| number(tombstone.seq)),
    })?;
    Ok(())
}

fn finish(transaction: &Transaction<'_>, begin: Seq, tombstone: &Tombstone) -> Result<()> {
    let mut update = transaction.prepare_cached(
        "UPDATE closings SET cause = ?2, closed_at = ?3, end_seq = ?4 WHERE seq = ?1",
    )?;
    let closed_at = tombstone.closed_at.as_millis();
    update.execute(params![
        number(begin),
        tombstone.cause.as_str(),
        closed_at,
        number(tombstone.seq)
    ])?;
    Ok(())
}

fn cut_short(transaction: &Transaction<'_>, begin: Seq, end: &End) -> Result<()> {
    let mut update = transaction.prepare_cached(
        "UPDATE closings SET drop_reason = ?2, drop_actor = ?3, drop_request_id = ?4 WHERE seq = ?1",
    )?;
    let request_id = end.request_id.as_ref().map(Uuid::as_bytes);
    update.execute(params![number(begin), end.reason, end.actor, request_id])?;
    Ok(())
}

/// Keeps what a server is started with, for commands without one.
pub(super) fn write_settings(connection: &mut Connection, settings: &Settings) -> Result<()> {
    let transaction = connection.transaction()?;
    for origin in [Origin::File, Origin::Flag] {
        write_layer(&transaction, origin, &settings.layer(origin))?;
    }
    transaction.commit()
}

fn write_layer(transaction: &Transaction<'_>, origin: Origin, layer: &Layer) -> Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM options WHERE origin = ?1")?;
    delete.execute(params![origin.as_str()])?;
    let mut insert = transaction
        .prepare_cached("INSERT INTO options (name, origin, value) VALUES (?1, ?2, ?3)")?;
    let known = layer
        .iter()
        .filter_map(|(name, value)| Some((OptionSpec::named(name)?, value)));
    for (spec, value) in known {
        insert.execute(params![spec.name, origin.as_str(), spec.show(value)])?;
    }
    Ok(())
}

/// What one origin had set. What this version does not know, or does not take any more, is left alone.
pub(super) fn read_layer(connection: &Connection, origin: Origin) -> Result<Layer> {
    let mut select = connection.prepare("SELECT name, value FROM options WHERE origin = ?1")?;
    let mut rows = select.query(params![origin.as_str()])?;
    let mut layer = Layer::new();
    while let Some(row) = rows.next()? {
        let (name, text) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        if let Some(spec) = OptionSpec::named(name)
            && let Ok(value) = spec.parse(text)
        {
            layer.insert(spec.name, value.unwrap_or_else(|| spec.default()));
        }
    }
    Ok(layer)
}

/// A session that is not closed, as it stands on disk.
pub(super) struct Kept {
    pub(super) record: Record,
    pub(super) standing: Standing,
}

/// Calls `each` for every session that is not closed, with the begin of its closing if there is one.
pub(super) fn read_sessions(
    connection: &Connection,
    version: i64,
    mut each: impl FnMut(Kept),
) -> Result<()> {
    // Looking migrates nothing: an older store does not tell these yet.
    let since_version_3 = match version {
        ..3 => "s.last_request_at > s.created_at, NULL",
        _ => "s.confirmed, s.suspended_at",
    };
    let mut select = connection.prepare(&format!(
        "SELECT s.seq, s.id, s.token_hash, s.kind, s.mode, s.user, s.ip, s.user_agent, s.created_at, s.login_at,
                s.last_request_at, c.seq, c.cause, c.request_id, {since_version_3}
         FROM sessions s LEFT JOIN closings c ON c.session_seq = s.seq
         WHERE c.closed_at IS NULL ORDER BY s.seq",
    ))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        each(Kept {
            record: record(row)?,
            standing: Standing {
                last_request_at: time(row, 10)?,
                begin: begin(row)?,
                confirmed: row.get(14)?,
                suspended: row.get::<_, Option<i64>>(15)?.is_some(),
            },
        });
    }
    Ok(())
}

/// Calls `each` for every closed session.
pub(super) fn read_closed(
    connection: &Connection,
    mut each: impl FnMut(SessionId, Tombstone),
) -> Result<()> {
    let mut select = connection.prepare(
        "SELECT id, cause, closed_at, user, end_seq, request_id, drop_request_id
         FROM closings WHERE closed_at IS NOT NULL ORDER BY seq",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let tombstone = Tombstone {
            cause: word(row, 1, Cause::from_word)?,
            closed_at: time(row, 2)?,
            user: row.get::<_, Option<Box<str>>>(3)?.map(Arc::from),
            seq: seq(row, 4)?,
            request_ids: [request_id(row, 5)?, request_id(row, 6)?],
        };
        each(session_id(row, 0)?, tombstone);
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
        user: row.get::<_, Option<Box<str>>>(5)?.map(Arc::from),
        ip: row
            .get::<_, Option<String>>(6)?
            .map(|ip| ip.parse::<IpAddr>().map_err(|_| unreadable(6)))
            .transpose()?,
        user_agent: row.get(7)?,
        created_at: time(row, 8)?,
        login_at: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_millis),
    })
}

fn begin(row: &SqlRow<'_>) -> Result<Option<Begin>> {
    if row.get::<_, Option<i64>>(11)?.is_none() {
        return Ok(None);
    }
    Ok(Some(Begin {
        seq: seq(row, 11)?,
        cause: word(row, 12, Cause::from_word)?,
        request_id: request_id(row, 13)?,
    }))
}

fn session_id(row: &SqlRow<'_>, column: usize) -> Result<SessionId> {
    SessionId::from_bytes(row.get(column)?).ok_or_else(|| unreadable(column))
}

fn request_id(row: &SqlRow<'_>, column: usize) -> Result<Option<Uuid>> {
    Ok(row
        .get::<_, Option<[u8; 16]>>(column)?
        .map(Uuid::from_bytes))
}

fn seq(row: &SqlRow<'_>, column: usize) -> Result<Seq> {
    u64::try_from(row.get::<_, i64>(column)?)
        .map(Seq)
        .map_err(|_| unreadable(column))
}

fn time(row: &SqlRow<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

fn word<T>(row: &SqlRow<'_>, column: usize, read: impl Fn(&str) -> Option<T>) -> Result<T> {
    read(row.get_ref(column)?.as_str()?).ok_or_else(|| unreadable(column))
}

fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Text,
        "a value that no version of this program writes".into(),
    )
}

/// SQLite's integers are signed; a `seq` never comes near the difference.
fn number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}
