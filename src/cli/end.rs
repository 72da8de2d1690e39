//! `sessionctl close-session` and `drop-session`: one target after the other, each reported, none lost on the way.

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Error as AnyError, Result};
use clap::Args;
use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::exit::{Exit, Failure, exit_of};
use super::output::{Format, Output};
use super::signals::Signals;
use super::target::{Access, Context, Operation};
use super::text::{csv_cell, json, visible};
use crate::admin::{Admin, EndRequest, Ending, Outcome, Reason};
use crate::error::Error;
use crate::session::{SessionId, SessionIdError};
use crate::wire::{LONGEST_WAIT, SCHEMA};

#[derive(Debug, Args)]
pub(super) struct CloseArguments {
    #[command(flatten)]
    common: Arguments,
    /// Wait this long for a session to be closed; its cookie is refused from the start
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Return as soon as the cookie is refused
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The sessions, in any spelling of a UUID; `-` reads one per line from stdin
    #[arg(value_name = "UUID", required = true)]
    uuids: Vec<String>,
    /// Why, for the record: at most 256 characters
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Fail with exit code 3 if a session does not exist
    #[arg(long)]
    must_exist: bool,
}

/// Which of the two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
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

pub(super) struct EndSessions {
    verb: Verb,
    arguments: Arguments,
    wait: Duration,
    stdin: Box<dyn BufRead + Send>,
    named: Vec<SessionId>,
    reason: Option<Reason>,
}

impl EndSessions {
    pub(super) fn closing(arguments: CloseArguments, stdin: Box<dyn BufRead + Send>) -> Self {
        let CloseArguments {
            common,
            wait,
            no_wait,
        } = arguments;
        let wait = if no_wait { Duration::ZERO } else { wait };
        Self {
            verb: Verb::Close,
            arguments: common,
            wait,
            stdin,
            named: Vec::new(),
            reason: None,
        }
    }

    pub(super) fn dropping(arguments: Arguments, stdin: Box<dyn BufRead + Send>) -> Self {
        let (named, wait) = (Vec::new(), Duration::ZERO);
        Self {
            verb: Verb::Drop,
            arguments,
            wait,
            stdin,
            named,
            reason: None,
        }
    }

    fn reads_stdin(&self) -> bool {
        self.arguments.uuids.iter().any(|uuid| uuid == "-")
    }
}

impl Operation for EndSessions {
    const ACCESS: Access = Access::Change;

    /// Every UUID that was named is read before the first session ends.
    fn check(&mut self) -> Result<()> {
        let named = self.arguments.uuids.iter().filter(|uuid| *uuid != "-");
        self.named = named
            .map(|uuid| uuid.parse())
            .collect::<Result<_, SessionIdError>>()?;
        if self.reads_stdin() && !self.named.is_empty() {
            return Err(Failure::new(
                Exit::Usage,
                "`-` reads all UUIDs from stdin; name none beside it",
            )
            .into());
        }
        let reason = self
            .arguments
            .reason
            .take()
            .map(Reason::try_from)
            .transpose();
        self.reason = reason.map_err(|text| Failure::new(Exit::Usage, text))?;
        if self.wait > LONGEST_WAIT {
            return Err(Failure::new(Exit::Usage, "--wait is at most 10m").into());
        }
        Ok(())
    }

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let request = EndRequest {
            reason: self.reason.clone(),
            wait: self.wait,
            must_exist: self.arguments.must_exist,
            // The same for all targets and all tries: it is kept with each closing.
            request_id: Some(Uuid::new_v4()),
            actor: context.actor.clone(),
        };
        let mut signals = Signals::catch()?;
        let mut report = Report::new(
            self.verb,
            request.wait,
            format!("{} {}", context.flag, context.name),
        );
        let mut targets = self.into_targets();
        report.begin(output)?;
        loop {
            let target = tokio::select! {
                biased;
                signal = signals.next() => { report.stopped = Some(signal); break }
                target = targets.next() => target,
            };
            let Some(target) = target else { break };
            let id = match target {
                Ok(id) => id,
                Err(error) => {
                    report.malformed(output, &error);
                    continue;
                }
            };
            let Some(result) = report
                .attempt(admin, id, &request, &mut signals, output)
                .await
            else {
                break;
            };
            if report.record(output, id, result)? == Onward::Stop || report.stopped.is_some() {
                break;
            }
        }
        report.not_attempted = targets.left();
        report.end(output)
    }
}

/// The sessions to end, in order.
enum Targets {
    Named(std::vec::IntoIter<SessionId>),
    Lines(mpsc::Receiver<Result<SessionId>>),
}

impl EndSessions {
    fn into_targets(self) -> Targets {
        if !self.reads_stdin() {
            return Targets::Named(self.named.into_iter());
        }
        // On a thread of its own: a read that waits must not hold up a signal.
        let (lines, receiver) = mpsc::channel(64);
        std::thread::spawn(move || read_lines(self.stdin, &lines));
        Targets::Lines(receiver)
    }
}

impl Targets {
    async fn next(&mut self) -> Option<Result<SessionId>> {
        match self {
            Self::Named(ids) => ids.next().map(Ok),
            Self::Lines(lines) => lines.recv().await,
        }
    }

    /// How many were named and not taken; `None` if nobody knows.
    fn left(&self) -> Option<usize> {
        match self {
            Self::Named(ids) => Some(ids.len()),
            Self::Lines(_) => None,
        }
    }
}

fn read_lines(stdin: Box<dyn BufRead + Send>, lines: &mpsc::Sender<Result<SessionId>>) {
    for (number, line) in stdin.lines().enumerate() {
        let target = match line {
            Ok(line) if line.trim().is_empty() || line.trim_start().starts_with('#') => continue,
            Ok(line) => line.trim().parse().map_err(|error| at_line(number, error)),
            Err(error) => Err(Failure::new(Exit::Failure, "cannot read stdin")
                .caused_by(error)
                .into()),
        };
        if lines.blocking_send(target).is_err() {
            return;
        }
    }
}

fn at_line(index: usize, error: SessionIdError) -> AnyError {
    Failure::new(Exit::Usage, format!("line {} of stdin: {error}", index + 1)).into()
}

/// Whether to go on with the next target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Onward {
    Next,
    Stop,
}

/// What was done so far, told as it happens.
struct Report {
    verb: Verb,
    wait: Duration,
    target: String,
    exits: Vec<Exit>,
    items: usize,
    done: usize,
    failed: usize,
    unknown: usize,
    not_attempted: Option<usize>,
    stopped: Option<Exit>,
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
    fn new(verb: Verb, wait: Duration, target: String) -> Self {
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
    async fn attempt<A: Admin>(
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

    fn malformed(&mut self, output: &mut Output, error: &AnyError) {
        self.failed += 1;
        self.exits.push(exit_of(error));
        output.tell_error(error);
    }

    fn record(
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

    fn begin(&self, output: &mut Output) -> Result<()> {
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

    fn end(self, output: &mut Output) -> Result<Exit> {
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
