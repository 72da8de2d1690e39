//! What holds for the store as a whole: options, the on-close method, how far time and the numbers of changes had come.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::columns::{Result, as_json, execute, from_json, number, seq, time};
use super::mark::Known;
use crate::clock::Timestamp;
use crate::on_close::Method;
use crate::options::{Layer, OptionSpec, Origin, Settings};
use crate::session::Seq;

/// Keeps what a server is started with, for commands without one.
pub(super) fn write_start(
    connection: &mut Connection,
    settings: &Settings,
    method: &Method,
) -> Result<()> {
    let transaction = connection.transaction()?;
    for origin in [Origin::File, Origin::Flag] {
        write_layer(&transaction, origin, &settings.layer(origin))?;
    }
    execute(
        &transaction,
        "INSERT OR REPLACE INTO served_method (only_row, method) VALUES (0, ?1)",
        [as_json(method)?],
    )?;
    transaction.commit()
}

pub(super) fn write_layer(
    transaction: &Transaction<'_>,
    origin: Origin,
    layer: &Layer,
) -> Result<()> {
    let sql = "DELETE FROM options WHERE origin = ?1";
    execute(transaction, sql, [origin.as_str()])?;
    let known = layer
        .iter()
        .filter_map(|(name, value)| Some((OptionSpec::named(name)?, value)));
    for (spec, value) in known {
        execute(
            transaction,
            "INSERT INTO options (name, origin, value) VALUES (?1, ?2, ?3)",
            params![spec.name, origin.as_str(), spec.show(value)],
        )?;
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

/// What the last server called as its on-close method.
pub(super) fn read_method(connection: &Connection) -> Result<Method> {
    let sql = "SELECT method FROM served_method";
    let method = connection.query_row(sql, [], |row| from_json(row, 0));
    method.optional().map(Option::unwrap_or_default)
}

/// Keeps that an instant had come (S14).
pub(super) fn write_instant(transaction: &Transaction<'_>, instant: Timestamp) -> Result<()> {
    execute(
        transaction,
        "INSERT INTO latest (only_row, instant) VALUES (0, ?1)
         ON CONFLICT (only_row) DO UPDATE SET instant = excluded.instant",
        [instant.as_millis()],
    )
}

/// Keeps that a number was given to a change: none is given twice, so that fences only grow (C17).
pub(super) fn write_number(transaction: &Transaction<'_>, seq: Seq) -> Result<()> {
    execute(
        transaction,
        "INSERT INTO latest (only_row, instant, seq) VALUES (0, 0, ?1)
         ON CONFLICT (only_row) DO UPDATE SET seq = excluded.seq",
        [number(seq)],
    )
}

/// Which store it is, and how far its changes go. Every change leaves its number in one of these places.
pub(super) fn read_known(connection: &Connection, version: i64) -> Result<Known> {
    if version < 5 {
        return Ok(Known {
            identity: None,
            before: None,
            last: Seq(0),
            is_backup: false,
        });
    }
    let last = connection.query_row(
        "SELECT max(
            ifnull((SELECT max(seq) FROM latest), 0),
            ifnull((SELECT max(seq) FROM sessions), 0),
            ifnull((SELECT max(seq) FROM closings), 0),
            ifnull((SELECT max(end_seq) FROM closings WHERE end_seq IS NOT NULL), 0),
            ifnull((SELECT max(seq) FROM late_runs), 0),
            ifnull((SELECT max(seq) FROM audit), 0)
        )",
        [],
        |row| seq(row, 0),
    )?;
    connection.query_row("SELECT id, before, is_backup FROM identity", [], |row| {
        Ok(Known {
            identity: row.get(0)?,
            before: row.get(1)?,
            last,
            is_backup: row.get(2)?,
        })
    })
}

/// Whether nobody is to go on with it, since it is a copy.
pub(super) fn write_is_backup(connection: &Connection, is_backup: bool) -> Result<()> {
    let sql = "UPDATE identity SET is_backup = ?1";
    connection.execute(sql, [is_backup]).map(drop)
}

/// It is another store from here on: its changes are no longer those of the copies that were made of it.
pub(super) fn renew_identity(transaction: &Transaction<'_>) -> Result<()> {
    let sql = "UPDATE identity SET before = id, id = randomblob(16), is_backup = 0";
    execute(transaction, sql, [])
}

/// The last instant, and the last number, that were kept.
pub(super) fn read_latest(connection: &Connection, version: i64) -> Result<(Seq, Timestamp)> {
    // Looking migrates nothing: an older store does not tell these yet.
    let sql = match version {
        ..3 => return Ok((Seq(0), Timestamp::EPOCH)),
        3 => "SELECT 0, instant FROM latest",
        _ => "SELECT seq, instant FROM latest",
    };
    let latest = connection.query_row(sql, [], |row| Ok((seq(row, 0)?, time(row, 1)?)));
    latest
        .optional()
        .map(|latest| latest.unwrap_or((Seq(0), Timestamp::EPOCH)))
}
