//! `sessionctl history`: the sessions that are closed, who ended them, and what their end has done.

use std::time::Duration;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::output::{Format, Output};
use super::rows::{Row, Rows};
use super::runs;
use super::table::{Layout, Times, details, listed};
use super::target::{Access, Context, Operation};
use super::text::{csv_cell, or_dash, or_empty};
use crate::admin::{Admin, HistoryEntry, HistoryQuery, PAGE_LIMIT};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::session::{Cause, Seq, SessionId};
use crate::wire::HistoryEntryBody;

/// What `--help` begins with.
pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl history                        the last sessions that were closed
  sessionctl history --user ana --since 7d  those of one user
  sessionctl history show UUID              everything that is remembered of one";

/// Rows that are written unless more are asked for.
const DEFAULT_LIMIT: usize = 50;

const CAUSES: [Cause; 6] = [
    Cause::Command,
    Cause::Logout,
    Cause::Inactive,
    Cause::Evicted,
    Cause::Dropped,
    Cause::Restored,
];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what is remembered of one closed session
    Show(ShowArguments),
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// The session, in any spelling of a UUID
    #[arg(value_name = "UUID")]
    uuid: String,
}

#[derive(Debug, Args)]
struct Filter {
    /// Only sessions of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only sessions that ended for this reason
    #[arg(long, value_name = "CAUSE", value_parser = cause())]
    cause: Option<Cause>,
    /// Only sessions that ended within this time, such as 2h or 7d, or since this instant, such as 2026-11-22T21:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// List at most this many, the last one first [default: 50]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    limit: Option<usize>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        let Self {
            user,
            cause,
            since,
            limit,
        } = self;
        user.is_none() && cause.is_none() && since.is_none() && limit.is_none()
    }
}

fn cause() -> impl TypedValueParser<Value = Cause> {
    PossibleValuesParser::new(CAUSES.map(Cause::as_str))
        .try_map(|word| Cause::from_word(&word).ok_or("there is no such cause"))
}

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Ago(Duration),
    At(Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    let ago = humantime::parse_duration(text).map(Since::Ago);
    ago.or_else(|_| text.parse().map(Since::At)).map_err(|_| {
        "neither a time such as 2h or 7d nor an instant in UTC such as 2026-11-22T21:00:00Z".into()
    })
}

impl Since {
    fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(instant) => instant,
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Timestamp::from_millis(now.as_millis().saturating_sub(ago))
            }
        }
    }
}

/// The command, checked: the list, or one entry of it.
pub(super) enum Asked {
    List(List),
    Show(Show),
}

impl Arguments {
    pub(super) fn asked(self) -> Result<Asked> {
        match self.command {
            None => Ok(Asked::List(List(self.filter))),
            Some(Command::Show(_)) if !self.filter.is_empty() => {
                let text = "`history show` takes a UUID; the filters are for the list";
                Err(Failure::new(Exit::Usage, text)
                    .advise_command("history show UUID")
                    .into())
            }
            Some(Command::Show(ShowArguments { uuid })) => {
                Ok(Asked::Show(Show { id: uuid.parse()? }))
            }
        }
    }
}

pub(super) struct List(Filter);

impl Operation for List {
    const ACCESS: Access = Access::Look;

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let filter = self.0;
        let limit = filter.limit.unwrap_or(DEFAULT_LIMIT);
        let query = |before: Option<Seq>, left: usize| HistoryQuery {
            user: filter.user.clone(),
            cause: filter.cause,
            since: filter.since.map(|since| since.instant(context.now)),
            before,
            limit: Some(left.min(PAGE_LIMIT)),
        };
        let mut page = admin.history(query(None, limit)).await?;
        let mut rows = Rows::<HistoryEntry>::new(output, context.now);
        rows.begin(output)?;
        let broken = loop {
            rows.write(output, &page.items)?;
            let left = limit.saturating_sub(rows.written);
            let is_whole = !page.truncated || left == 0;
            let Some(last) = page.items.last().filter(|_| !is_whole) else {
                break None;
            };
            match admin.history(query(Some(last.seq), left)).await {
                Ok(following) => page = following,
                Err(error) => break Some(error),
            }
        };
        let is_cut = page.truncated || broken.is_some();
        rows.end(output, &format!("\"truncated\":{is_cut}"))?;
        Ok(conclude(output, rows.written, is_cut, broken))
    }
}

/// Says on stderr what the list does not show.
fn conclude(output: &mut Output, written: usize, is_cut: bool, broken: Option<Error>) -> Exit {
    if let Some(error) = broken {
        output.tell_error(
            &anyhow::Error::from(error).context(format!("the list broke off after {written}")),
        );
        return Exit::Partial;
    }
    if is_cut && !output.quiet {
        output.tell(&format!(
            "note: there are more than the last {written}; --limit N lists them"
        ));
    } else if written == 0 && output.terminal_width.is_some() && !output.quiet {
        output.tell("note: no such session is remembered");
    }
    Exit::Done
}

impl Row for HistoryEntry {
    const LAYOUT: &'static Layout = &Layout {
        names: &[
            "CLOSED",
            "UUID",
            "USER",
            "CAUSE",
            "ON-CLOSE",
            "BY",
            "PROCESSES",
            "REASON",
        ],
        give_way: &[("REASON", 24), ("USER", 16), ("REASON", 8), ("USER", 8)],
    };

    const CSV_HEADER: &'static str = "id,kind,mode,user,ip,user_agent,created_at,login_at,last_request_at,begun_at,closed_at,expires_at,cause,reason,actor,processes,selections,locks,variables,on_close,seq";

    const MAY_REPEAT_SESSIONS: bool = false;

    fn cells(&self, times: Times, now: Timestamp) -> Vec<String> {
        vec![
            times.short(self.closed_at, now),
            self.id.to_string(),
            or_dash(self.user.as_deref()),
            self.cause.to_string(),
            or_dash(runs::summary(&self.on_close).as_deref()),
            or_dash(Some(&self.actor)),
            self.freed.processes.to_string(),
            or_dash(self.reason.as_deref()),
        ]
    }

    fn csv(&self) -> String {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        [
            self.id.to_string(),
            or_empty(self.kind.map(|kind| kind.as_str())),
            or_empty(self.mode.map(|mode| mode.as_str())),
            or_empty(self.user.as_deref()),
            or_empty(self.ip.map(|ip| ip.to_string()).as_deref()),
            or_empty(self.user_agent.as_deref()),
            time(self.created_at),
            time(self.login_at),
            time(self.last_request_at),
            time(Some(self.begun_at)),
            time(Some(self.closed_at)),
            time(Some(self.expires_at)),
            self.cause.to_string(),
            or_empty(self.reason.as_deref()),
            csv_cell(&self.actor),
            self.freed.processes.to_string(),
            self.freed.selections.to_string(),
            self.freed.locks.to_string(),
            self.freed.variables.to_string(),
            or_empty(runs::summary(&self.on_close).as_deref()),
            self.seq.to_string(),
        ]
        .join(",")
    }

    fn session_id(&self) -> Option<SessionId> {
        Some(self.id)
    }
}

pub(super) struct Show {
    id: SessionId,
}

impl Operation for Show {
    const ACCESS: Access = Access::Look;

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let id = self.id;
        let entry = match admin.closed(id).await {
            Err(Error::NotFound(_)) => {
                let text = format!("no closed session has the UUID {id}");
                return Err(Failure::new(Exit::Missing, text)
                    .advise_command(format!("show {id}"))
                    .into());
            }
            answer => answer?,
        };
        match output.format {
            Format::Table => {
                output.raw(&details(&pairs(&entry, Times::on(output), context.now)))?;
            }
            Format::Json | Format::Jsonl => output.json(&HistoryEntryBody::from(entry))?,
            Format::Csv => {
                output.line(HistoryEntry::CSV_HEADER)?;
                output.line(&entry.csv())?;
            }
            Format::Uuid => output.line(&id.to_string())?,
        }
        Ok(Exit::Done)
    }
}

fn pairs(entry: &HistoryEntry, times: Times, now: Timestamp) -> Vec<(&'static str, String)> {
    let instant = |instant: Timestamp| times.long(instant, now);
    let known = |known: Option<Timestamp>| known.map_or_else(|| "-".into(), instant);
    let mut pairs = vec![
        ("id", entry.id.to_string()),
        ("user", or_dash(entry.user.as_deref())),
        ("kind", or_dash(entry.kind.map(|kind| kind.as_str()))),
        ("mode", or_dash(entry.mode.map(|mode| mode.as_str()))),
        ("ip", or_dash(entry.ip.map(|ip| ip.to_string()).as_deref())),
        ("user agent", or_dash(entry.user_agent.as_deref())),
        ("created", known(entry.created_at)),
        ("login", known(entry.login_at)),
        ("last request", known(entry.last_request_at)),
        ("refused since", instant(entry.begun_at)),
        ("closed", instant(entry.closed_at)),
        ("expires", entry.expires_at.to_string()),
        ("cause", entry.cause.to_string()),
        ("reason", or_dash(entry.reason.as_deref())),
        ("by", or_dash(Some(&entry.actor))),
        ("freed", runs::freed(entry.freed)),
    ];
    if entry.on_close.is_empty() {
        pairs.push(("on-close", "-".into()));
    }
    pairs.extend(listed("on-close", entry.on_close.iter().map(runs::line)));
    pairs.push(("seq", entry.seq.to_string()));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_an_instant() {
        let now: Timestamp = "2026-11-22T21:00:00.000Z".parse().unwrap();
        let from = |text| since(text).map(|since| since.instant(now).to_string());
        assert_eq!(from("2h").unwrap(), "2026-11-22T19:00:00.000Z");
        assert_eq!(from("1000000d").unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(
            from("2026-11-20T00:00:00Z").unwrap(),
            "2026-11-20T00:00:00.000Z"
        );
        for text in ["", "yesterday", "5", "2026-11-20"] {
            assert!(from(text).is_err(), "{text}");
        }
    }
}
