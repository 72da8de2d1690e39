//! Reads the database into the live set. Looking migrates nothing: what an older version does not have is left out.

use std::path::Path;

use rusqlite::Connection;

use super::columns::Result;
use super::schema::{options, sqlite};
use super::{OpenError, closings, processes, runs, sessions, settings, tokens};
use crate::on_close::Method;
use crate::options::{Origin, Settings};
use crate::session::Seq;
use crate::store::live::LiveSet;

/// What a database holds.
pub(super) struct Loaded {
    pub(super) live: LiveSet,
    /// The rows of closed sessions that are still there.
    pub(super) ended: Vec<Seq>,
    /// What the last server called as its on-close method.
    pub(super) method: Method,
}

impl Loaded {
    /// What a database without tables holds.
    pub(super) fn nothing() -> Self {
        Self {
            live: LiveSet::new(Settings::default()),
            ended: Vec::new(),
            method: Method::None,
        }
    }
}

pub(super) fn load(
    connection: &Connection,
    path: &Path,
    version: i64,
) -> std::result::Result<Loaded, OpenError> {
    let settings = match version {
        ..3 => Settings::default(),
        _ => read_settings(connection, path)?,
    };
    let mut loaded = Loaded {
        live: LiveSet::new(settings),
        ..Loaded::nothing()
    };
    fill(connection, version, &mut loaded).map_err(sqlite(path))?;
    Ok(loaded)
}

fn fill(connection: &Connection, version: i64, loaded: &mut Loaded) -> Result<()> {
    let live = &mut loaded.live;
    let (seq, instant) = settings::read_latest(connection, version)?;
    live.restored(seq, instant);
    let known = settings::read_known(connection, version)?;
    live.restored(known.last, instant);
    let (mut kept, mut runs_of) = match version {
        ..4 => Default::default(),
        _ => (
            processes::read(connection, version)?,
            runs::read(connection)?,
        ),
    };
    sessions::read(connection, version, |record, mut standing| {
        if let Some(begin) = &mut standing.begin {
            begin.runs = runs_of.remove(&begin.seq).unwrap_or_default();
        }
        let processes = kept.remove(&record.seq).unwrap_or_default();
        live.restore(record, standing, processes);
    })?;
    if version >= 4 {
        read_contexts(connection, live)?;
        runs::read_saved(connection, |session| live.restore_saved(session))?;
    }
    closings::read_closed(connection, version, |id, mut tombstone| {
        tombstone.runs = runs_of.remove(&tombstone.closing).unwrap_or_default();
        live.restore_closed(id, tombstone);
    })?;
    if version >= 4 {
        runs::read_late(connection, |seq, session, document| {
            live.restore_late(seq, session, document);
        })?;
        sessions::read_rotated(connection, |token, at| live.restore_rotated(token, at))?;
        loaded.method = settings::read_method(connection)?;
    }
    if version >= 6 {
        tokens::read(connection, |hash, token| live.restore_token(hash, token))?;
    }
    loaded.ended = sessions::read_ended(connection)?;
    Ok(())
}

fn read_contexts(connection: &Connection, live: &mut LiveSet) -> Result<()> {
    processes::read_variables(connection, |session, process, name, value| {
        live.restore_context(session, process, |context| {
            context.variables.insert(name, value);
        });
    })?;
    processes::read_selections(connection, |session, process, name, selection| {
        live.restore_context(session, process, |context| {
            context.selections.insert(name, selection);
        });
    })?;
    processes::read_locks(connection, |session, process, lock| {
        live.restore_lock(session, process, lock);
    })
}

fn read_settings(connection: &Connection, path: &Path) -> std::result::Result<Settings, OpenError> {
    let layer = |origin| settings::read_layer(connection, origin).map_err(sqlite(path));
    let settings =
        Settings::new(layer(Origin::File)?, layer(Origin::Flag)?).map_err(options(path))?;
    settings
        .with_run_time(layer(Origin::RunTime)?)
        .map_err(options(path))
}
