//! What was done so far, told as it happens, and the exit code that follows.

use std::time::Duration;

use anyhow::{Error as AnyError, Result};
use serde::Serialize;

use crate::admin::{Admin, EndRequest, Ending, Outcome};
use crate::cli::exit::{Exit, exit_of};
use crate::cli::output::{Format, Output};
use crate::cli::signals::Signals;
use crate::cli::text::{csv_cell, json, visible};
use crate::error::Error;
use crate::session::SessionId;
use crate::wire::SCHEMA;

/// Which of the two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Close,
    Drop,
}

impl Verb {
    fn done(self) -> &'static str {
        match self {
            Self::Close => "closed",
            Self::Drop => "dropped",
        }
    }
}

/// Whether to go on with the next target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onward {
    Next,
    Stop,
}

/// What was done so far, told as it happens.
pub(super) struct Report {
    verb: Verb,
    wait: Duration,
    target: String,
    exits: Vec<Exit>,
    items: usize,
    done: usize,
    failed: usize,
    unknown: usize,
    pub(super) not_attempted: Option<usize>,
    pub(super) stopped: Option<Exit>,
}

/// One outcome as JSON; `failed` and `unknown` are the command line's own.
#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Ended(&'a Outcome),
    Failed {
        id: SessionId,
        outcome: &'static str,
        initiated: bool,
        error: String,
    },
}

impl Item<'_> {
    fn csv(&self) -> String {
        match self {
            Self::Ended(Outcome {
                id,
                outcome,
                initiated,
                cause,
                user,
            }) => {
                let cause = cause.map(|cause| cause.as_str()).unwrap_or_default();
                let user = user.as_deref().map(csv_cell).unwrap_or_default();
                format!("{id},{outcome},{initiated},{cause},{user}")
            }
            Self::Failed {
                id,
                outcome,
                initiated,
                ..
            } => format!("{id},{outcome},{initiated},,"),
        }
    }
}

impl Report {
    pub(super) fn new(verb: Verb, wait: Duration, target: String) -> Self {
        let exits = Vec::new();
        Self {
            verb,
            wait,
            target,
            exits,
            items: 0,
            done: 0,
            failed: 0,
            unknown: 0,
            not_attempted: None,
            stopped: None,
        }
    }

    /// Ends one session. The first signal lets it finish, a second leaves it, and then nobody knows.
    pub(super) async fn attempt<A: Admin>(
        &mut self,
        admin: &A,
        id: SessionId,
        request: &EndRequest,
        signals: &mut Signals,
        output: &mut Output,
    ) -> Option<Result<Outcome, Error>> {
        let ending = async {
            match self.verb {
                Verb::Close => admin.close(id, request.clone()).await,
                Verb::Drop => admin.drop_session(id, request.clone()).await,
            }
        };
        let mut ending = std::pin::pin!(ending);
        let signal = tokio::select! {
            result = &mut ending => return Some(result),
            signal = signals.next() => signal,
        };
        output.tell(&format!(
            "stopping: waiting for {id}; once more to leave it"
        ));
        self.stopped = Some(signal);
        tokio::select! {
            result = &mut ending => Some(result),
            _ = signals.next() => {
                self.unknown += 1;
                output.tell(&format!("unknown {id}; sessionctl {} show {id} tells", self.target));
                None
            }
        }
    }

    pub(super) fn malformed(&mut self, output: &mut Output, error: &AnyError) {
        self.failed += 1;
        self.exits.push(exit_of(error));
        output.tell_error(error);
    }

    pub(super) fn record(
        &mut self,
        output: &mut Output,
        id: SessionId,
        result: Result<Outcome, Error>,
    ) -> Result<Onward> {
        match result {
            Ok(outcome) => {
                self.done += 1;
                self.exits.push(self.exit_of_outcome(&outcome));
                self.write(output, &Item::Ended(&outcome))?;
                if outcome.outcome == Ending::Closing && !self.wait.is_zero() {
                    let waited = humantime::format_duration(self.wait);
                    output.tell(&format!("warning: the cookie of {id} is refused already, but it has not finished within {waited}"));
                }
                Ok(Onward::Next)
            }
            Err(error) => {
                let is_unknown = matches!(error, Error::OutcomeUnknown { .. });
                if is_unknown {
                    self.unknown += 1
                } else {
                    self.failed += 1
                }
                let outcome = if is_unknown { "unknown" } else { "failed" };
                let onward = if concerns_all(&error) {
                    Onward::Stop
                } else {
                    Onward::Next
                };
                self.write(
                    output,
                    &Item::Failed {
                        id,
                        outcome,
                        initiated: false,
                        error: error.to_string(),
                    },
                )?;
                let ended = self.verb.done();
                let what = if is_unknown {
                    format!("whether {id} was {ended} is unknown")
                } else {
                    format!("{id} was not {ended}")
                };
                let error = AnyError::from(error).context(what);
                self.exits.push(exit_of(&error));
                output.tell_error(&error);
                Ok(onward)
            }
        }
    }

    fn exit_of_outcome(&self, outcome: &Outcome) -> Exit {
        match outcome.outcome {
            Ending::Closing if !self.wait.is_zero() => Exit::TimedOut,
            Ending::Closing | Ending::Closed | Ending::AlreadyClosed | Ending::NotFound => {
                Exit::Done
            }
        }
    }

    pub(super) fn begin(&self, output: &mut Output) -> Result<()> {
        match output.format {
            Format::Json => output.raw(&format!("{{\"schema\":{SCHEMA},\"items\":["))?,
            Format::Csv => output.line("id,outcome,initiated,cause,user")?,
            Format::Table | Format::Jsonl | Format::Uuid => {}
        }
        Ok(())
    }

    fn write(&mut self, output: &mut Output, item: &Item<'_>) -> Result<()> {
        let separator = if self.items == 0 { "\n" } else { ",\n" };
        self.items += 1;
        match (output.format, item) {
            (Format::Json, _) => output.raw(&format!("{separator}{}", json(item)?))?,
            (Format::Jsonl, _) => output.json(item)?,
            (Format::Csv, _) => output.line(&item.csv())?,
            (Format::Table, Item::Ended(outcome)) if !output.quiet => {
                output.line(&self.sentence(outcome))?
            }
            (Format::Uuid, Item::Ended(outcome)) if outcome.initiated => {
                output.line(&outcome.id.to_string())?
            }
            (Format::Table | Format::Uuid, _) => {}
        }
        Ok(output.flush()?)
    }

    fn sentence(&self, outcome: &Outcome) -> String {
        let what = match outcome.outcome {
            Ending::Closed => self.verb.done(),
            Ending::Closing => "closing",
            Ending::AlreadyClosed => "already closed",
            Ending::NotFound => "not found",
        };
        let user = outcome
            .user
            .as_deref()
            .map(|user| format!(" ({})", visible(user)))
            .unwrap_or_default();
        format!("{what} {}{user}", outcome.id)
    }

    pub(super) fn end(self, output: &mut Output) -> Result<Exit> {
        if output.format == Format::Json {
            output.line("]}")?;
        }
        let rest = self.not_attempted;
        let is_cut_short = self.stopped.is_some() || rest.is_some_and(|rest| rest > 0);
        if is_cut_short {
            let done = self.verb.done();
            let rest = rest.map_or_else(|| "the rest of stdin".into(), |rest| rest.to_string());
            let Self {
                done: count,
                failed,
                unknown,
                ..
            } = self;
            output.tell(&format!(
                "{done} {count}, failed {failed}, unknown {unknown}, not attempted {rest}"
            ));
        }
        let together = Exit::together(&self.exits);
        Ok(match self.stopped {
            Some(signal) => signal,
            None if rest.is_some_and(|rest| rest > 0)
                && self.done > 0
                && together != Exit::Unknown =>
            {
                Exit::Partial
            }
            None => together,
        })
    }
}

/// Errors that the next target would meet as well.
fn concerns_all(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::Unauthenticated
            | Error::Forbidden(_)
            | Error::Unavailable(_)
            | Error::Protocol { .. }
    )
}
