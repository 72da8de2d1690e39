//! `sessionctl close-session` and `drop-session`: one target after the other, each reported, none lost on the way.

mod item;
mod report;
mod targets;
mod waiting;

use std::collections::HashSet;
use std::io::BufRead;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::time::Instant;
use uuid::Uuid;

use self::report::{Onward, Report, Verb};
use self::targets::Targets;
use super::exit::{Exit, Failure};
use super::method;
use super::output::Output;
use super::signals::Signals;
use super::target::{Access, Calls, Context, Operation};
use crate::admin::{Admin, EndRequest, Ending, Outcome, Reason};
use crate::error::Error;
use crate::on_close::Method;
use crate::session::{SessionId, SessionIdError};
use crate::wire::LONGEST_WAIT;

/// What `--help` of `close-session` begins with.
pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl close-session UUID                   close it, and wait until it is
  sessionctl close-session --no-wait UUID UUID    only refuse their cookies from now on
  sessionctl list -q | sessionctl close-session - close them all";

#[derive(Debug, Args)]
pub(super) struct CloseArguments {
    #[command(flatten)]
    common: Arguments,
    /// Wait this long for each session to be closed, from its begin; all cookies are refused before the first wait
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Return as soon as the cookie is refused; called by an on-close method, it always does
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// With --local: call this program for each process that closes, in place of what the last server called; or save, or none
    #[arg(long, value_name = "PROGRAM")]
    on_close: Option<String>,
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

impl Arguments {
    /// Whether the sessions are named on stdin.
    pub(super) fn reads_stdin(&self) -> bool {
        self.uuids.iter().any(|uuid| uuid == "-")
    }
}

impl CloseArguments {
    /// Whether the sessions are named on stdin.
    pub(super) fn reads_stdin(&self) -> bool {
        self.common.reads_stdin()
    }
}

pub(super) struct EndSessions {
    verb: Verb,
    arguments: Arguments,
    wait: Duration,
    stdin: Box<dyn BufRead + Send>,
    named: Vec<SessionId>,
    reason: Option<Reason>,
    /// The name of the on-close method that was given.
    on_close: Option<String>,
    method: Option<Method>,
}

impl EndSessions {
    /// Closes sessions. A command that an on-close method calls never waits: it could wait for itself (C09).
    pub(super) fn closing(
        arguments: CloseArguments,
        stdin: Box<dyn BufRead + Send>,
        is_in_method: bool,
    ) -> Self {
        let CloseArguments {
            common,
            wait,
            no_wait,
            on_close,
        } = arguments;
        let returns_at_once = no_wait || is_in_method;
        Self {
            verb: Verb::Close,
            arguments: common,
            wait: if returns_at_once {
                Duration::ZERO
            } else {
                wait
            },
            stdin,
            named: Vec::new(),
            reason: None,
            on_close,
            method: None,
        }
    }

    pub(super) fn dropping(arguments: Arguments, stdin: Box<dyn BufRead + Send>) -> Self {
        Self {
            verb: Verb::Drop,
            arguments,
            wait: Duration::ZERO,
            stdin,
            named: Vec::new(),
            reason: None,
            on_close: None,
            method: None,
        }
    }

    fn reads_stdin(&self) -> bool {
        self.arguments.reads_stdin()
    }

    fn read_named(&mut self) -> Result<()> {
        let is_one = self.arguments.uuids.len() == 1;
        for (index, uuid) in self
            .arguments
            .uuids
            .iter()
            .enumerate()
            .filter(|(_, uuid)| *uuid != "-")
        {
            let id = uuid.parse().map_err(|error: SessionIdError| match is_one {
                true => anyhow::Error::from(error),
                false => {
                    anyhow::Error::from(error).context(format!("UUID number {} is none", index + 1))
                }
            });
            self.named.push(id?);
        }
        Ok(())
    }
}

impl Operation for EndSessions {
    const ACCESS: Access = Access::Change;

    /// Every UUID that was named is read before the first session ends.
    fn check(&mut self) -> Result<()> {
        self.read_named()?;
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
        let method = self.on_close.as_deref();
        let method = method.map(|name| method::named(name, Vec::new()));
        self.method = method
            .transpose()
            .map_err(|failure| failure.with_exit(Exit::Usage))?;
        Ok(())
    }

    fn calls(&self) -> Calls<'_> {
        match (self.verb, &self.method) {
            (Verb::Drop, _) => Calls::Nothing,
            (Verb::Close, Some(method)) => Calls::Chosen(method),
            (Verb::Close, None) => Calls::Served,
        }
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
            request_id: None,
            actor: context.actor.clone(),
        };
        let mut targets = if self.reads_stdin() {
            Targets::lines_of(self.stdin)
        } else {
            Targets::named(self.named)
        };
        let mut work = Work {
            admin,
            // Of many, every one is begun before any is waited for: none goes on because another's method takes long.
            waits_later: self.verb == Verb::Close && !self.wait.is_zero() && targets.are_many(),
            signals: Signals::catch()?,
            report: Report::new(self.verb, request.wait, context),
            request,
            seen: HashSet::new(),
            again: Vec::new(),
        };
        work.report.begin(output);
        let begun = work.end_each(&mut targets, output).await;
        work.report.not_attempted = targets.left();
        work.wait_for_each(begun, output).await;
        work.end_again(output).await;
        work.report.end(output)
    }
}

/// A closing that was begun and is still to be waited for.
struct Begun {
    request: EndRequest,
    since: Instant,
    outcome: Outcome,
}

/// Ends targets and tells of it.
struct Work<'a, A> {
    admin: &'a A,
    request: EndRequest,
    waits_later: bool,
    signals: Signals,
    report: Report,
    seen: HashSet<SessionId>,
    /// Those that were named before.
    again: Vec<SessionId>,
}

impl<A: Admin> Work<'_, A> {
    /// Ends one target after the other; answers the closings that are begun and not waited for yet.
    async fn end_each(&mut self, targets: &mut Targets, output: &mut Output) -> Vec<Begun> {
        let mut begun = Vec::new();
        loop {
            let target = tokio::select! {
                biased;
                signal = self.signals.next() => { self.report.stopped = Some(signal); break }
                target = targets.next() => target,
            };
            let id = match target {
                None => break,
                // Once more when the first time is over.
                Some(Ok(id)) if !self.seen.insert(id) => {
                    self.again.push(id);
                    continue;
                }
                Some(Ok(id)) => id,
                Some(Err(error)) => {
                    self.report.malformed(output, &error);
                    continue;
                }
            };
            let (request, since) = (self.request_for_one(), Instant::now());
            let Some(result) = self.attempt(id, &request, output).await else {
                self.report.record_left(output, id);
                break;
            };
            match result {
                Ok(outcome) if self.waits_later && outcome.outcome == Ending::Closing => {
                    begun.push(Begun {
                        request,
                        since,
                        outcome,
                    });
                }
                result => {
                    let onward = self.report.record(self.admin, id, result, output).await;
                    if onward == Onward::Stop {
                        break;
                    }
                }
            }
            if self.report.stopped.is_some() {
                break;
            }
        }
        begun
    }

    fn request_for_one(&self) -> EndRequest {
        EndRequest {
            // The same for all tries of this call: it is kept with the closing and recognises a retry.
            request_id: Some(Uuid::new_v4()),
            wait: if self.waits_later {
                Duration::ZERO
            } else {
                self.request.wait
            },
            ..self.request.clone()
        }
    }

    async fn wait_for_each(&mut self, begun: Vec<Begun>, output: &mut Output) {
        for one in begun {
            self.wait_for(one, output).await;
        }
        self.report.tell_out_of_sight(output);
    }

    /// Each has the time from its own begin on. What is known of one whose wait nobody answers is its begin.
    async fn wait_for(&mut self, begun: Begun, output: &mut Output) {
        let Begun {
            request,
            since,
            outcome,
        } = begun;
        if self.report.gave_up {
            self.report.record_begun(output, &outcome, None);
            return;
        }
        let id = outcome.id;
        let request = EndRequest {
            wait: self.request.wait.saturating_sub(since.elapsed()),
            ..request
        };
        let answer = match self.report.stopped {
            Some(_) => None,
            None => self.attempt(id, &request, output).await,
        };
        match answer.unwrap_or(Ok(outcome.clone())) {
            Err(error) => self.report.record_begun(output, &outcome, Some(error)),
            ended => {
                // One that cannot be told of keeps nobody waiting: all of them are begun.
                self.report.record(self.admin, id, ended, output).await;
            }
        }
    }

    /// Asks once more of those that were named more than once.
    async fn end_again(&mut self, output: &mut Output) {
        for id in std::mem::take(&mut self.again) {
            if self.report.stopped.is_some() || self.report.gave_up {
                return;
            }
            let request = EndRequest {
                wait: self.request.wait,
                ..self.request_for_one()
            };
            match self.attempt(id, &request, output).await {
                Some(result) => {
                    self.report.record(self.admin, id, result, output).await;
                }
                None => self.report.record_left(output, id),
            }
        }
    }

    async fn attempt(
        &mut self,
        id: SessionId,
        request: &EndRequest,
        output: &mut Output,
    ) -> Option<Result<Outcome, Error>> {
        self.report
            .attempt(self.admin, id, request, &mut self.signals, output)
            .await
    }
}
