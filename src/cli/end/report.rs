//! What was done so far, told as it happens, and the exit code that follows.

use std::io;
use std::time::Duration;

use anyhow::{Error as AnyError, Result};
use tokio::time::Instant;

use super::item::{CSV_HEADER, Item};
use super::waiting;
use crate::admin::{Admin, EndRequest, Ending, Outcome};
use crate::cli::exit::{Exit, Failure, exit_of};
use crate::cli::output::{Format, Output};
use crate::cli::runs;
use crate::cli::signals::Signals;
use crate::cli::target::Context;
use crate::cli::text::{json, visible};
use crate::error::Error;
use crate::on_close::Freed;
use crate::session::{Cause, SessionId};
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

/// How much before its time an answer may come that came in time.
const SOON: Duration = Duration::from_millis(200);

/// Whether to go on with the next target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onward {
    Next,
    Stop,
}

/// Closings that were begun and of whose end nobody tells.
#[derive(Default)]
struct OutOfSight {
    ids: Vec<SessionId>,
    /// Why, unless it was told before.
    cause: Option<Error>,
}

/// What was done so far, told as it happens.
pub(super) struct Report {
    verb: Verb,
    wait: Duration,
    is_local: bool,
    /// Whether something is still closing, as far as anybody knows.
    is_left_closing: bool,
    /// Whether a method may have said why it did not go well.
    has_complaint: bool,
    exits: Vec<Exit>,
    items: usize,
    done: usize,
    failed: usize,
    unknown: usize,
    pub(super) not_attempted: Option<usize>,
    pub(super) stopped: Option<Exit>,
    /// Whether an error ended the work that every further target would meet.
    pub(super) gave_up: bool,
    out_of_sight: OutOfSight,
    /// Why stdout cannot be written any more.
    unwritten: Option<AnyError>,
    /// After what time the server answered, if that was before it was asked to.
    cut_short: Option<Duration>,
}

impl Report {
    pub(super) fn new(verb: Verb, wait: Duration, context: &Context) -> Self {
        let exits = Vec::new();
        Self {
            verb,
            wait,
            is_local: context.is_local,
            is_left_closing: false,
            has_complaint: false,
            exits,
            items: 0,
            done: 0,
            failed: 0,
            unknown: 0,
            not_attempted: None,
            stopped: None,
            gave_up: false,
            out_of_sight: OutOfSight::default(),
            unwritten: None,
            cut_short: None,
        }
    }

    /// Ends one session. The first signal lets it finish, a second leaves it: `None`.
    pub(super) async fn attempt<A: Admin>(
        &mut self,
        admin: &A,
        id: SessionId,
        request: &EndRequest,
        signals: &mut Signals,
        output: &mut Output,
    ) -> Option<Result<Outcome, Error>> {
        let request = request.clone();
        let (asked, since) = (request.wait, Instant::now());
        let verb = self.verb;
        let ending = async {
            match verb {
                Verb::Close => admin.close(id, request).await,
                Verb::Drop => admin.drop_session(id, request).await,
            }
        };
        let mut ending = std::pin::pin!(ending);
        let result = tokio::select! {
            result = &mut ending => Ok(result),
            signal = signals.next() => Err(signal),
            never = waiting::show(admin, id, output) => match never {},
        };
        output.clear_progress();
        let waited = since.elapsed();
        self.cut_short = (waited + SOON < asked).then_some(waited);
        let signal = match result {
            Ok(result) => return Some(result),
            Err(signal) => signal,
        };
        output.tell(&format!(
            "stopping: waiting for {id}; once more to leave it"
        ));
        self.stopped = Some(signal);
        let result = tokio::select! {
            result = &mut ending => Some(result),
            _ = signals.next() => None,
            never = waiting::show(admin, id, output) => match never {},
        };
        output.clear_progress();
        result
    }

    /// Records a session whose end was asked for and left before the answer came.
    pub(super) fn record_left(&mut self, output: &mut Output, id: SessionId) {
        self.unknown += 1;
        output.tell(&format!("unknown {id}; {} show {id} tells", output.program));
        self.write(output, &Item::unknown(id, "left before the answer came"));
    }

    pub(super) fn malformed(&mut self, output: &mut Output, error: &AnyError) {
        self.failed += 1;
        self.exits.push(exit_of(error));
        output.tell_error(error);
    }

    pub(super) async fn record<A: Admin>(
        &mut self,
        admin: &A,
        id: SessionId,
        result: Result<Outcome, Error>,
        output: &mut Output,
    ) -> Onward {
        match result {
            Ok(outcome) => {
                let exit = self.exit_of_outcome(&outcome);
                self.record_outcome(output, &outcome, exit);
                self.is_left_closing |= outcome.outcome == Ending::Closing;
                if outcome.outcome == Ending::Closing && !self.wait.is_zero() {
                    let why = self.why_unfinished(admin, id, &output.program).await;
                    output.tell(&format!(
                        "warning: the cookie of {id} is refused already, but it {why}"
                    ));
                }
            }
            Err(error) => self.record_failure(output, id, error),
        }
        if self.gave_up || self.unwritten.is_some() {
            Onward::Stop
        } else {
            Onward::Next
        }
    }

    /// Why a closing is left before its end. A command that was stopped asks nothing more.
    async fn why_unfinished<A: Admin>(&self, admin: &A, id: SessionId, program: &str) -> String {
        if self.stopped.is_some() {
            return "had not finished when this command was stopped".into();
        }
        if let Some(waited) = self.cut_short {
            let waited =
                Duration::from_millis(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
            return format!(
                "has not finished when the server stopped waiting, after {}: is it being stopped, or has its store failed? {} ping tells",
                humantime::format_duration(waited),
                program
            );
        }
        let busy = waiting::busy_now(admin, id).await;
        let busy = busy.map(|busy| format!(": {busy}")).unwrap_or_default();
        let waited = humantime::format_duration(self.wait);
        format!("has not finished within {waited}{busy}")
    }

    /// Records a closing that was begun, and of whose end nobody tells any more; `error` is why, if that is news.
    pub(super) fn record_begun(
        &mut self,
        output: &mut Output,
        outcome: &Outcome,
        error: Option<Error>,
    ) {
        if let Some(error) = error {
            self.gave_up |= concerns_all(&error);
            self.out_of_sight.cause.get_or_insert(error);
        }
        self.out_of_sight.ids.push(outcome.id);
        self.record_outcome(output, outcome, Exit::Unknown);
    }

    /// Tells of all at once whose end nobody tells.
    pub(super) fn tell_out_of_sight(&mut self, output: &mut Output) {
        let OutOfSight { ids, cause } = std::mem::take(&mut self.out_of_sight);
        let (text, look) = match ids[..] {
            [] => return,
            [id] => (
                format!(
                    "the cookie of {id} is refused already; whether it has finished is unknown"
                ),
                format!("show {id}"),
            ),
            [..] => (
                format!(
                    "the cookies of {} sessions are refused already; whether they have finished is unknown",
                    ids.len()
                ),
                "list".into(),
            ),
        };
        let failure = Failure::new(Exit::Unknown, text);
        let failure = match cause {
            Some(cause) => failure.advise_look(&cause, look).caused_by(cause),
            None => failure.advise_command(look),
        };
        output.tell_error(&failure.into());
    }

    fn record_outcome(&mut self, output: &mut Output, outcome: &Outcome, exit: Exit) {
        let id = outcome.id;
        match outcome.outcome {
            Ending::Ignored => self.failed += 1,
            _ => self.done += 1,
        }
        self.exits.push(exit);
        self.write(output, &Item::Ended(outcome));
        if outcome.freed != Freed::default() {
            output.tell_details(&format!("{id}: freed {}", runs::freed(outcome.freed)));
        }
        for run in &outcome.on_close {
            match runs::complaint(run) {
                // What was closed before is no news.
                Some(complaint) if outcome.outcome != Ending::AlreadyClosed => {
                    self.has_complaint |= runs::may_have_said_why(run);
                    output.tell(&format!("warning: {id}: {complaint}"));
                }
                Some(_) | None => {
                    output.tell_details(&format!("{id}: on-close method for {}", runs::line(run)))
                }
            }
        }
        if self.verb == Verb::Close
            && (outcome.outcome, outcome.cause) == (Ending::Closed, Some(Cause::Dropped))
        {
            output.tell(&format!(
                "warning: {id} was dropped while it was closing: an on-close method that had not ended by then was ended, or never runs"
            ));
        }
        if outcome.outcome == Ending::Ignored {
            output.tell(&format!(
                "warning: {id} was opened in scalable mode, where close-session is ignored; to end it: {} drop-session {id}",
                output.program
            ));
        }
    }

    fn record_failure(&mut self, output: &mut Output, id: SessionId, error: Error) {
        self.gave_up |= concerns_all(&error);
        let (text, ended) = (error.to_string(), self.verb.done());
        let error = if matches!(error, Error::OutcomeUnknown { .. } | Error::Unconfirmed(_)) {
            self.unknown += 1;
            self.write(output, &Item::unknown(id, &text));
            let unknown = Failure::new(
                Exit::Unknown,
                format!("whether {id} was {ended} is unknown"),
            );
            let unknown = unknown.advise_look(&error, format!("show {id}"));
            AnyError::from(unknown.caused_by(error))
        } else {
            self.failed += 1;
            let outcome = if matches!(error, Error::NotFound(_)) {
                "not_found"
            } else {
                "failed"
            };
            self.write(
                output,
                &Item::Failed {
                    id,
                    outcome,
                    initiated: false,
                    error: &text,
                },
            );
            AnyError::from(error).context(format!("{id} was not {ended}"))
        };
        self.exits.push(exit_of(&error));
        output.tell_error(&error);
    }

    fn exit_of_outcome(&self, outcome: &Outcome) -> Exit {
        match outcome.outcome {
            Ending::Closing if !self.wait.is_zero() => Exit::TimedOut,
            Ending::Ignored => Exit::Refused,
            Ending::Closing | Ending::Closed | Ending::AlreadyClosed | Ending::NotFound => {
                Exit::Done
            }
        }
    }

    pub(super) fn begin(&mut self, output: &mut Output) {
        let written = match output.format {
            Format::Json => output.line(&format!("{{\"schema\":{SCHEMA},\"items\":[")),
            Format::Csv => output.line(CSV_HEADER),
            Format::Table | Format::Jsonl | Format::Uuid => Ok(()),
        };
        self.note(written);
    }

    fn write(&mut self, output: &mut Output, item: &Item<'_>) {
        let separator = if self.items == 0 { "" } else { "," };
        self.items += 1;
        let written = match (output.format, item) {
            (Format::Json, _) => json(item)
                .map_err(io::Error::from)
                .and_then(|item| output.line(&format!("{separator}{item}"))),
            (Format::Jsonl, _) => output.json(item),
            (Format::Csv, _) => output.line(&item.csv()),
            (Format::Table, Item::Ended(outcome)) if !output.quiet => {
                output.line(&self.sentence(outcome))
            }
            (Format::Uuid, Item::Ended(outcome)) if outcome.initiated => {
                output.line(&outcome.id.to_string())
            }
            (Format::Table | Format::Uuid, _) => Ok(()),
        };
        self.note(written.and_then(|()| output.flush()));
    }

    /// Remembers why stdout cannot be written: nothing more is ended then, but what was done is still told.
    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.unwritten.get_or_insert(error.into());
        }
    }

    fn sentence(&self, outcome: &Outcome) -> String {
        let what = match outcome.outcome {
            Ending::Closed => self.verb.done(),
            Ending::Closing => "closing",
            Ending::AlreadyClosed => "already closed",
            Ending::NotFound => "not found",
            Ending::Ignored => "ignored",
        };
        let user = outcome
            .user
            .as_deref()
            .map(|user| format!(" ({})", visible(user)))
            .unwrap_or_default();
        format!("{what} {}{user}", outcome.id)
    }

    /// Tells what helps with that which did not go well.
    fn tell_hints(&self, output: &mut Output) {
        if output.quiet {
            return;
        }
        // What was not waited for, and ends without anybody's doing, is no surprise.
        if self.is_left_closing && (self.is_local || !self.wait.is_zero()) {
            output.tell(match self.is_local {
                true => "note: what is still closing is finished by the next server of this directory, or by closing it once more",
                false => "note: what is still closing goes on, at the latest after a restart; close-session waits for it again, drop-session ends it at once, without the on-close method",
            });
        }
        // Without a server it was told when it was said.
        if self.has_complaint && !self.is_local {
            output.tell("note: if the on-close method said why, that is in the server's log");
        }
    }

    pub(super) fn end(mut self, output: &mut Output) -> Result<Exit> {
        if output.format == Format::Json {
            let written = output.line("]}").and_then(|()| output.flush());
            self.note(written);
        }
        self.tell_hints(output);
        let may_be_left = self.not_attempted != Some(0);
        let was_cut_short =
            self.stopped.is_some() || (may_be_left && (self.gave_up || self.unwritten.is_some()));
        if was_cut_short {
            let rest = self
                .not_attempted
                .map_or_else(|| "the rest of stdin".into(), |rest| rest.to_string());
            let Self {
                done,
                failed,
                unknown,
                verb,
                ..
            } = &self;
            let verb = verb.done();
            output.tell(&format!(
                "{verb} {done}, failed {failed}, unknown {unknown}, not attempted {rest}"
            ));
        }
        let together = Exit::together(&self.exits);
        match (self.stopped, self.unwritten) {
            (Some(signal), _) => Ok(signal),
            (None, _) if was_cut_short && self.done > 0 && together != Exit::Unknown => {
                Ok(Exit::Partial)
            }
            (None, Some(error)) if together == Exit::Done => Err(error),
            (None, _) => Ok(together),
        }
    }
}

/// Errors that the next target would meet as well.
fn concerns_all(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::Untrusted { .. }
            | Error::NoAnswer { .. }
            | Error::OutcomeUnknown { .. }
            | Error::Unconfirmed(_)
            | Error::Unauthenticated
            | Error::Forbidden(_)
            | Error::Unavailable(_)
            | Error::Protocol { .. }
            | Error::Misdirected { .. }
            | Error::Unsupported { .. }
    )
}
