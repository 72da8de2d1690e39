//! The runs of the on-close method, and what they left.

use std::collections::HashMap;

use rusqlite::{Connection, Transaction, params};

use super::columns::{RUN, Result, as_json, execute, from_json, json, number, process, run, seq};
use crate::context::Json;
use crate::on_close::{Invocation, MethodRun};
use crate::session::{ProcessNumber, Seq};
use crate::store::record::Row;
use crate::store::wait::Handover;

pub(super) fn write(transaction: &Transaction<'_>, row: &Row) -> Result<()> {
    match row {
        Row::RunEnded {
            seq,
            session,
            closing,
            key,
            late,
            run,
            saved,
        } => {
            if let Some(run) = run {
                keep(transaction, *session, *seq, *closing, run)?;
            }
            if let Some(saved) = saved {
                keep_saved(transaction, *session, key.process, *seq, saved)?;
            }
            late.map_or(Ok(()), |late| {
                execute(
                    transaction,
                    "DELETE FROM late_runs WHERE seq = ?1",
                    [number(late)],
                )
            })
        }
        Row::SavedTaken {
            sessions,
            closing,
            into,
            ..
        } => take_saved(transaction, sessions, *closing, into),
        _ => Ok(()),
    }
}

/// Keeps a run; one without a closing was of a process that ended while its session lived on.
pub(super) fn keep(
    transaction: &Transaction<'_>,
    session: Seq,
    seq: Seq,
    closing: Option<Seq>,
    run: &MethodRun,
) -> Result<()> {
    execute(
        transaction,
        "INSERT INTO method_runs (session_seq, seq, closing_seq, process, result, took_ms, late, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            number(session),
            number(seq),
            closing.map(number),
            run.process.0,
            run.result.as_str(),
            i64::try_from(run.took_ms).unwrap_or(i64::MAX),
            run.late,
            run.detail,
        ],
    )
}

/// Keeps the documents of processes whose method is still to run (C09).
pub(super) fn keep_late(
    transaction: &Transaction<'_>,
    session: Seq,
    late: &[(Seq, Box<Invocation>)],
) -> Result<()> {
    late.iter().try_for_each(|(seq, document)| {
        execute(
            transaction,
            "INSERT INTO late_runs (seq, session_seq, document) VALUES (?1, ?2, ?3)",
            params![number(*seq), number(session), as_json(document)?],
        )
    })
}

/// Keeps what the method left of a process.
pub(super) fn keep_saved(
    transaction: &Transaction<'_>,
    session: Seq,
    process: ProcessNumber,
    seq: Seq,
    information: &Json,
) -> Result<()> {
    execute(
        transaction,
        "INSERT OR REPLACE INTO saved (session_seq, process, seq, information) VALUES (?1, ?2, ?3, ?4)",
        params![
            number(session),
            process.0,
            number(seq),
            information.as_str()
        ],
    )
}

/// Hands out what was left of sessions, once. Whoever takes it over looks only after the commit.
fn take_saved(
    transaction: &Transaction<'_>,
    sessions: &[Seq],
    closing: Option<Seq>,
    into: &Handover,
) -> Result<()> {
    into.put(saved_of(transaction, sessions)?);
    let sql = "DELETE FROM saved WHERE session_seq = ?1";
    for session in sessions {
        execute(transaction, sql, [number(*session)])?;
    }
    closing.map_or(Ok(()), |closing| {
        execute(
            transaction,
            "UPDATE closings SET inherited = 1 WHERE seq = ?1",
            [number(closing)],
        )
    })
}

/// What was left of sessions, by session and process.
pub(super) fn saved_of(
    connection: &Connection,
    sessions: &[Seq],
) -> Result<Vec<(Seq, ProcessNumber, Json)>> {
    let mut select = connection.prepare_cached(
        "SELECT process, information FROM saved WHERE session_seq = ?1 ORDER BY process",
    )?;
    let mut sessions = sessions.to_vec();
    sessions.sort_unstable();
    let mut found = Vec::new();
    for session in sessions {
        let mut rows = select.query([number(session)])?;
        while let Some(row) = rows.next()? {
            found.push((session, process(row, 0)?, json(row, 1)?));
        }
    }
    Ok(found)
}

/// Calls `each` for every session that something was left of.
pub(super) fn read_saved(connection: &Connection, mut each: impl FnMut(Seq)) -> Result<()> {
    let mut select = connection.prepare("SELECT DISTINCT session_seq FROM saved")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        each(seq(row, 0)?);
    }
    Ok(())
}

/// Calls `each` for every document whose closing had ended before its method was done (C09).
pub(super) fn read_late(
    connection: &Connection,
    mut each: impl FnMut(Seq, Seq, Box<Invocation>),
) -> Result<()> {
    let mut select =
        connection.prepare("SELECT seq, session_seq, document FROM late_runs ORDER BY seq")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        each(seq(row, 0)?, seq(row, 1)?, from_json(row, 2)?);
    }
    Ok(())
}

/// The runs that were a part of closings, by the rows of these.
pub(super) fn read(connection: &Connection) -> Result<HashMap<Seq, Vec<MethodRun>>> {
    let mut select = connection.prepare(&format!(
        "SELECT closing_seq, {RUN} FROM method_runs WHERE closing_seq IS NOT NULL ORDER BY session_seq, seq",
    ))?;
    let mut rows = select.query([])?;
    let mut runs: HashMap<Seq, Vec<MethodRun>> = HashMap::new();
    while let Some(row) = rows.next()? {
        runs.entry(seq(row, 0)?).or_default().push(run(row, 1)?);
    }
    Ok(runs)
}

/// All runs of a session, also of processes that ended before it did.
pub(super) fn runs_of(connection: &Connection, session: Seq) -> Result<Vec<MethodRun>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {RUN} FROM method_runs WHERE session_seq = ?1 ORDER BY seq",
    ))?;
    select
        .query_map([number(session)], |row| run(row, 0))?
        .collect()
}
