//! The rows of processes, and of what they have: variables, selections, record locks.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Row as SqlRow, Transaction, params};

use super::columns::{
    Result, as_json, execute, from_json, json, millis, name, number, optional_duration,
    optional_time, process, seq, time,
};
use super::runs;
use super::sessions::OLD_TIME_LIMIT;
use crate::clock::Timestamp;
use crate::context::{Json, Lock, Name, Selection};
use crate::session::{ProcessNumber, Seq};
use crate::store::record::{KeptClosing, KeptProcess, Row};

/// The tables of what goes with a process, and of the processes themselves.
const DELETE_PROCESS: [&str; 4] = [
    "DELETE FROM processes WHERE session_seq = ?1 AND number = ?2",
    "DELETE FROM variables WHERE session_seq = ?1 AND process = ?2",
    "DELETE FROM selections WHERE session_seq = ?1 AND process = ?2",
    "DELETE FROM locks WHERE session_seq = ?1 AND process = ?2",
];
const DELETE_ALL: [&str; 4] = [
    "DELETE FROM processes WHERE session_seq = ?1",
    "DELETE FROM variables WHERE session_seq = ?1",
    "DELETE FROM selections WHERE session_seq = ?1",
    "DELETE FROM locks WHERE session_seq = ?1",
];

pub(super) fn write(transaction: &Transaction<'_>, row: &Row) -> Result<()> {
    match row {
        Row::ProcessStarted {
            session,
            process,
            at,
            lease,
            ..
        } => {
            execute(
                transaction,
                "INSERT OR REPLACE INTO processes (session_seq, number, started_at, lease_ms) VALUES (?1, ?2, ?3, ?4)",
                params![number(*session), process.0, at.as_millis(), lease.map(millis)],
            )?;
            execute(
                transaction,
                "UPDATE sessions SET last_process = max(last_process, ?2) WHERE seq = ?1",
                params![number(*session), process.0],
            )
        }
        Row::ProcessClosing {
            session,
            process,
            started_at,
            at,
            alone_until,
            user,
            ..
        } => execute(
            transaction,
            "INSERT INTO processes (session_seq, number, started_at, closing_at, alone, ends_at, user) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (session_seq, number) DO UPDATE
                SET closing_at = excluded.closing_at, alone = excluded.alone, ends_at = excluded.ends_at,
                    user = excluded.user",
            params![
                number(*session),
                process.0,
                started_at.as_millis(),
                at.as_millis(),
                alone_until.is_some(),
                alone_until.map(Timestamp::as_millis),
                user.as_deref(),
            ],
        ),
        Row::ProcessEnded { .. } => end(transaction, row),
        _ => Ok(()),
    }
}

fn end(transaction: &Transaction<'_>, row: &Row) -> Result<()> {
    let Row::ProcessEnded {
        seq,
        session,
        process,
        begin,
        freed,
        run,
        saved,
        late,
        ..
    } = row
    else {
        return Ok(());
    };
    runs::keep_late(transaction, *session, late.as_slice())?;
    for sql in DELETE_PROCESS {
        execute(transaction, sql, params![number(*session), process.0])?;
    }
    if let Some(begin) = begin {
        execute(
            transaction,
            "UPDATE closings SET freed_processes = freed_processes + ?2, freed_selections = freed_selections + ?3,
                freed_locks = freed_locks + ?4, freed_variables = freed_variables + ?5 WHERE seq = ?1",
            params![
                number(*begin),
                freed.processes,
                freed.selections,
                freed.locks,
                freed.variables,
            ],
        )?;
    }
    if let Some(run) = run {
        runs::keep(transaction, *session, *seq, *begin, run)?;
    }
    match saved {
        Some(saved) => runs::keep_saved(transaction, *session, *process, *seq, saved),
        None => Ok(()),
    }
}

/// Removes the processes of a session that has ended, and all that they had.
pub(super) fn remove_all(transaction: &Transaction<'_>, session: Seq) -> Result<()> {
    DELETE_ALL
        .iter()
        .try_for_each(|sql| execute(transaction, sql, [number(session)]))
}

pub(super) fn write_context(transaction: &Transaction<'_>, row: &Row) -> Result<()> {
    match row {
        Row::VariableSet {
            session,
            process,
            name,
            value,
            ..
        } => set_variable(transaction, (*session, *process), name, value.as_ref()),
        Row::SelectionSet {
            session,
            process,
            name,
            selection,
            ..
        } => set_selection(transaction, (*session, *process), name, selection.as_ref()),
        Row::Locked {
            session,
            process,
            lock,
            ..
        } => execute(
            transaction,
            "INSERT INTO locks (session_seq, process, table_name, record, since, fence) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                number(*session),
                process.0,
                lock.table.as_str(),
                lock.record.as_str(),
                lock.since.as_millis(),
                number(Seq(lock.fence)),
            ],
        ),
        Row::Unlocked {
            session,
            process,
            record,
            ..
        } => execute(
            transaction,
            "DELETE FROM locks WHERE session_seq = ?1 AND process = ?2 AND table_name = ?3 AND record = ?4",
            params![
                number(*session),
                process.0,
                record.table.as_str(),
                record.record.as_str(),
            ],
        ),
        _ => Ok(()),
    }
}

fn set_variable(
    transaction: &Transaction<'_>,
    (session, process): (Seq, ProcessNumber),
    name: &Name,
    value: Option<&Json>,
) -> Result<()> {
    match value {
        Some(value) => execute(
            transaction,
            "INSERT OR REPLACE INTO variables (session_seq, process, name, value) VALUES (?1, ?2, ?3, ?4)",
            params![number(session), process.0, name.as_str(), value.as_str()],
        ),
        None => execute(
            transaction,
            "DELETE FROM variables WHERE session_seq = ?1 AND process = ?2 AND name = ?3",
            params![number(session), process.0, name.as_str()],
        ),
    }
}

fn set_selection(
    transaction: &Transaction<'_>,
    (session, process): (Seq, ProcessNumber),
    name: &Name,
    selection: Option<&Selection>,
) -> Result<()> {
    match selection {
        Some(Selection { table, records }) => execute(
            transaction,
            "INSERT OR REPLACE INTO selections (session_seq, process, name, table_name, records) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                number(session),
                process.0,
                name.as_str(),
                table.as_str(),
                as_json(records)?,
            ],
        ),
        None => execute(
            transaction,
            "DELETE FROM selections WHERE session_seq = ?1 AND process = ?2 AND name = ?3",
            params![number(session), process.0, name.as_str()],
        ),
    }
}

/// The processes that have rows, by the rows of their sessions, in the order of their numbers.
pub(super) fn read(
    connection: &Connection,
    version: i64,
) -> Result<HashMap<Seq, Vec<KeptProcess>>> {
    // Looking migrates nothing: an older store does not tell these yet.
    let since_version_5 = match version {
        ..5 => "NULL",
        _ => "ends_at",
    };
    let mut select = connection.prepare(&format!(
        "SELECT session_seq, number, started_at, lease_ms, closing_at, alone, {since_version_5}, user
         FROM processes ORDER BY session_seq, number",
    ))?;
    let mut rows = select.query([])?;
    let mut kept: HashMap<Seq, Vec<KeptProcess>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let process = kept_process(row)?;
        kept.entry(process.session).or_default().push(process);
    }
    Ok(kept)
}

fn kept_process(row: &SqlRow<'_>) -> Result<KeptProcess> {
    let (alone, user): (bool, Option<Box<str>>) = (row.get(5)?, row.get(7)?);
    let ends_at = optional_time(row, 6)?;
    let closing = |since: Timestamp| KeptClosing {
        since,
        alone_until: alone.then(|| ends_at.unwrap_or(since.plus(OLD_TIME_LIMIT))),
        user: user.map(Arc::from),
    };
    Ok(KeptProcess {
        session: seq(row, 0)?,
        number: process(row, 1)?,
        started_at: time(row, 2)?,
        lease: optional_duration(row, 3)?,
        closing: optional_time(row, 4)?.map(closing),
    })
}

/// Calls `each` for every variable.
pub(super) fn read_variables(
    connection: &Connection,
    mut each: impl FnMut(Seq, ProcessNumber, Name, Json),
) -> Result<()> {
    let mut select =
        connection.prepare("SELECT session_seq, process, name, value FROM variables")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        each(seq(row, 0)?, process(row, 1)?, name(row, 2)?, json(row, 3)?);
    }
    Ok(())
}

/// Calls `each` for every selection.
pub(super) fn read_selections(
    connection: &Connection,
    mut each: impl FnMut(Seq, ProcessNumber, Name, Selection),
) -> Result<()> {
    let mut select = connection
        .prepare("SELECT session_seq, process, name, table_name, records FROM selections")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let selection = Selection {
            table: name(row, 3)?,
            records: from_json(row, 4)?,
        };
        each(seq(row, 0)?, process(row, 1)?, name(row, 2)?, selection);
    }
    Ok(())
}

/// Calls `each` for every record lock.
pub(super) fn read_locks(
    connection: &Connection,
    mut each: impl FnMut(Seq, ProcessNumber, Lock),
) -> Result<()> {
    // In the order in which they were taken: so their holders are told of them.
    let mut select = connection.prepare(
        "SELECT session_seq, process, table_name, record, since, fence FROM locks ORDER BY fence",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let lock = Lock {
            table: name(row, 2)?,
            record: name(row, 3)?,
            since: time(row, 4)?,
            fence: seq(row, 5)?.0,
        };
        each(seq(row, 0)?, process(row, 1)?, lock);
    }
    Ok(())
}
