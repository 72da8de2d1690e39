//! Values as columns, in both directions.

use std::net::IpAddr;
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Params, Row as SqlRow, Transaction};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::context::{Json, Name};
use crate::on_close::{Freed, MethodResult, MethodRun};
use crate::session::{ProcessNumber, Seq, SessionId};

pub(super) type Result<T> = rusqlite::Result<T>;

/// Runs a statement that is used again and again.
pub(super) fn execute(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: impl Params,
) -> Result<()> {
    let mut statement = transaction.prepare_cached(sql)?;
    statement.execute(parameters).map(drop)
}

/// SQLite's integers are signed; a `seq` never comes near the difference.
pub(super) fn number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn seq(row: &SqlRow<'_>, column: usize) -> Result<Seq> {
    u64::try_from(row.get::<_, i64>(column)?)
        .map(Seq)
        .map_err(|_| unreadable(column))
}

pub(super) fn process(row: &SqlRow<'_>, column: usize) -> Result<ProcessNumber> {
    row.get(column).map(ProcessNumber)
}

pub(super) fn time(row: &SqlRow<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn optional_time(row: &SqlRow<'_>, column: usize) -> Result<Option<Timestamp>> {
    let millis: Option<i64> = row.get(column)?;
    Ok(millis.map(Timestamp::from_millis))
}

pub(super) fn optional_duration(row: &SqlRow<'_>, column: usize) -> Result<Option<Duration>> {
    let millis: Option<i64> = row.get(column)?;
    millis
        .map(|millis| u64::try_from(millis).map_err(|_| unreadable(column)))
        .transpose()
        .map(|millis| millis.map(Duration::from_millis))
}

pub(super) fn session_id(row: &SqlRow<'_>, column: usize) -> Result<SessionId> {
    SessionId::from_bytes(row.get(column)?).ok_or_else(|| unreadable(column))
}

pub(super) fn optional_session_id(row: &SqlRow<'_>, column: usize) -> Result<Option<SessionId>> {
    match row.get::<_, Option<[u8; 16]>>(column)? {
        Some(_) => session_id(row, column).map(Some),
        None => Ok(None),
    }
}

pub(super) fn request_id(row: &SqlRow<'_>, column: usize) -> Result<Option<Uuid>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(Uuid::from_bytes))
}

pub(super) fn ip(row: &SqlRow<'_>, column: usize) -> Result<Option<IpAddr>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|_| unreadable(column)))
        .transpose()
}

pub(super) fn word<T>(
    row: &SqlRow<'_>,
    column: usize,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T> {
    read(row.get_ref(column)?.as_str()?).ok_or_else(|| unreadable(column))
}

pub(super) fn optional_word<T>(
    row: &SqlRow<'_>,
    column: usize,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(_) => word(row, column, read).map(Some),
        None => Ok(None),
    }
}

pub(super) fn name(row: &SqlRow<'_>, column: usize) -> Result<Name> {
    Name::new(row.get_ref(column)?.as_str()?).map_err(|_| unreadable(column))
}

pub(super) fn json(row: &SqlRow<'_>, column: usize) -> Result<Json> {
    Json::kept(row.get_ref(column)?.as_str()?).map_err(|_| unreadable(column))
}

/// The four numbers from a column on, in the order of [`Freed`].
pub(super) fn freed(row: &SqlRow<'_>, first: usize) -> Result<Freed> {
    Ok(Freed {
        processes: row.get(first)?,
        selections: row.get(first + 1)?,
        locks: row.get(first + 2)?,
        variables: row.get(first + 3)?,
    })
}

/// The columns of `method_runs` that [`run`] reads.
pub(super) const RUN: &str = "process, result, took_ms, late, detail";

/// A run of the on-close method from a column on.
pub(super) fn run(row: &SqlRow<'_>, first: usize) -> Result<MethodRun> {
    let took_ms: i64 = row.get(first + 2)?;
    Ok(MethodRun {
        process: process(row, first)?,
        result: word(row, first + 1, MethodResult::from_word)?,
        took_ms: u64::try_from(took_ms).map_err(|_| unreadable(first + 2))?,
        late: row.get(first + 3)?,
        detail: row.get(first + 4)?,
    })
}

pub(super) fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Text,
        "a value that no version of this program writes".into(),
    )
}

/// A value as JSON text. Nothing that is kept fails to be written as JSON.
pub(super) fn as_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A value that was written by [`as_json`].
pub(super) fn from_json<T: serde::de::DeserializeOwned>(
    row: &SqlRow<'_>,
    column: usize,
) -> Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|_| unreadable(column))
}
