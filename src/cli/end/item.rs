//! An outcome as machines read it.

use serde::Serialize;

use crate::admin::Outcome;
use crate::cli::runs;
use crate::cli::text::or_empty;
use crate::session::SessionId;

/// The header of outcomes as CSV.
pub(super) const CSV_HEADER: &str =
    "id,outcome,initiated,cause,user,processes,selections,locks,variables,on_close";

/// One outcome; `failed` and `unknown` are the command line's own.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Item<'a> {
    Ended(&'a Outcome),
    Failed {
        id: SessionId,
        outcome: &'static str,
        initiated: bool,
        error: &'a str,
    },
}

impl<'a> Item<'a> {
    pub(super) fn unknown(id: SessionId, error: &'a str) -> Self {
        Self::Failed {
            id,
            outcome: "unknown",
            initiated: false,
            error,
        }
    }

    pub(super) fn csv(&self) -> String {
        match self {
            Self::Ended(outcome) => [
                outcome.id.to_string(),
                outcome.outcome.to_string(),
                outcome.initiated.to_string(),
                or_empty(outcome.cause.map(|cause| cause.as_str())),
                or_empty(outcome.user.as_deref()),
                outcome.freed.processes.to_string(),
                outcome.freed.selections.to_string(),
                outcome.freed.locks.to_string(),
                outcome.freed.variables.to_string(),
                or_empty(runs::summary(&outcome.on_close).as_deref()),
            ]
            .join(","),
            Self::Failed {
                id,
                outcome,
                initiated,
                ..
            } => format!("{id},{outcome},{initiated},,,,,,,"),
        }
    }
}
