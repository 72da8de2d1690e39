//! Which part of the database a row of the live set changes.

use rusqlite::Transaction;

use super::columns::Result;
use super::{audit, closings, processes, runs, sessions, settings, tokens};
use crate::options::Origin;
use crate::session::Seq;
use crate::store::record::Row;

pub(super) fn write(transaction: &Transaction<'_>, row: &Row) -> Result<()> {
    match row {
        Row::Opened(_) | Row::LoggedIn { .. } | Row::Suspended { .. } | Row::Resumed { .. } => {
            sessions::write(transaction, row)
        }
        Row::OptionsSet { settings, .. } => {
            let layer = settings.layer(Origin::RunTime);
            settings::write_layer(transaction, Origin::RunTime, &layer)
        }
        Row::ProcessStarted { .. } | Row::ProcessClosing { .. } | Row::ProcessEnded { .. } => {
            processes::write(transaction, row)
        }
        Row::VariableSet { .. }
        | Row::SelectionSet { .. }
        | Row::Locked { .. }
        | Row::Unlocked { .. } => processes::write_context(transaction, row),
        Row::TokenCreated { .. } | Row::TokenRevoked { .. } => tokens::write(transaction, row),
        Row::Audited { seq, order } => audit::write(transaction, *seq, order),
        Row::RunEnded { .. } | Row::SavedTaken { .. } => runs::write(transaction, row),
        Row::Begun { .. } | Row::Finished { .. } | Row::Dropped { .. } | Row::Forgotten { .. } => {
            closings::write(transaction, row)
        }
    }
}

/// The sessions that these rows end: their own rows are to be removed.
pub(super) fn ended(rows: &[Row]) -> impl Iterator<Item = Seq> {
    rows.iter().filter_map(|row| match row {
        Row::Finished { session, .. } => Some(*session),
        Row::Dropped { record, .. } => Some(record.seq),
        _ => None,
    })
}

/// The last number of these rows, unless every one of them leaves its own in a table.
pub(super) fn number_to_keep(rows: &[Row]) -> Option<Seq> {
    let leaves_its_own = |row: &Row| {
        matches!(
            row,
            Row::Opened(_)
                | Row::Audited { .. }
                | Row::Begun { .. }
                | Row::Finished { .. }
                | Row::Dropped { .. }
        )
    };
    let last = rows.last().map(Row::seq);
    last.filter(|_| !rows.iter().all(leaves_its_own))
}
