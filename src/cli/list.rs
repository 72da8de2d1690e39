//! `sessionctl list`: page after page, as it comes.

use std::io;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::exit::Exit;
use super::output::Output;
use super::rows::{Row, Rows};
use super::table::{Layout, Times};
use super::target::{Access, Context, Operation};
use super::text::{csv_cell, duration, or_dash, or_empty};
use crate::admin::{Admin, ListQuery, PAGE_LIMIT};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::session::{Seq, Session, SessionId};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// List at most this many, the oldest first
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    limit: Option<usize>,
}

pub(super) struct List(pub(super) Arguments);

impl Operation for List {
    const ACCESS: Access = Access::Look;

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let mut rows = Rows::<Session>::new(output, context.now);
        let limit = self.0.limit.unwrap_or(usize::MAX);
        let mut page = admin.list(query(None, limit)).await?;
        let (total, as_of) = (page.total, page.as_of);
        rows.begin(output)?;
        let broken = loop {
            rows.write(output, &page.items)?;
            let Some(next) = page.next.filter(|_| rows.written < limit) else {
                break None;
            };
            match admin.list(query(Some(next), limit - rows.written)).await {
                Ok(following) => page = following,
                Err(error) => break Some(error),
            }
        };
        let is_cut = page.next.is_some();
        // What was closed while the pages came is not missing: without a cut, all there is was written.
        let there_are = if is_cut { total } else { rows.written as u64 };
        rows.end(
            output,
            &format!("\"total\":{there_are},\"truncated\":{is_cut},\"as_of\":{as_of}"),
        )?;
        let end = End {
            written: rows.written,
            is_cut,
            total,
        };
        Ok(conclude(output, &end, broken))
    }
}

/// Writes these sessions as `list` does, in the format and for the terminal of this output. `now` is what relative times are
/// seen from.
///
/// # Errors
/// When stdout cannot be written.
pub fn write_sessions(output: &mut Output, sessions: &[Session], now: Timestamp) -> io::Result<()> {
    let mut rows = Rows::<Session>::new(output, now);
    rows.begin(output)?;
    rows.write(output, sessions)?;
    let total = sessions.len();
    rows.end(output, &format!("\"total\":{total},\"truncated\":false"))
}

fn query(after: Option<Seq>, left: usize) -> ListQuery {
    ListQuery {
        after,
        limit: Some(left.min(PAGE_LIMIT)),
    }
}

/// What is known at the end of a list.
struct End {
    written: usize,
    is_cut: bool,
    total: u64,
}

/// Says on stderr what the list does not show.
fn conclude(output: &mut Output, end: &End, broken: Option<Error>) -> Exit {
    let End {
        written,
        is_cut,
        total,
    } = end;
    if let Some(error) = broken {
        output.tell_error(
            &anyhow::Error::from(error)
                .context(format!("the list broke off after {written} of {total}")),
        );
        return Exit::Partial;
    }
    if *is_cut && !output.quiet {
        output.tell(&format!("note: these are {written} of {total} sessions"));
    } else if *written == 0 && output.terminal_width.is_some() && !output.quiet {
        output.tell("note: there are no sessions");
    }
    Exit::Done
}

/// When whoever holds the session looked at it: by its clock, which need not be ours.
pub(super) fn looked_at(session: &Session) -> Timestamp {
    session
        .last_request_at
        .plus(Duration::from_millis(session.idle_ms))
}

impl Row for Session {
    const LAYOUT: &'static Layout = &Layout {
        names: &[
            "UUID", "USER", "KIND", "STATE", "IDLE", "EXPIRES", "IP", "AGENT", "LOCKS",
        ],
        give_way: &[("AGENT", 24), ("USER", 16), ("AGENT", 5), ("USER", 8)],
    };

    const CSV_HEADER: &'static str = "id,user,kind,mode,state,ip,user_agent,created_at,login_at,last_request_at,expires_at,idle_ms,process_count,lock_count,seq";

    const MAY_REPEAT_SESSIONS: bool = false;

    fn cells(&self, times: Times, _: Timestamp) -> Vec<String> {
        let expires = match self.expires_at {
            None | Some(Timestamp::EPOCH) => "-".into(),
            Some(at) => times.short(at, looked_at(self)),
        };
        vec![
            self.id.to_string(),
            or_dash(self.user.as_deref()),
            self.kind.to_string(),
            self.state.to_string(),
            duration(Duration::from_millis(self.idle_ms)),
            expires,
            or_dash(self.ip.map(|ip| ip.to_string()).as_deref()),
            or_dash(self.user_agent.as_deref()),
            self.lock_count.to_string(),
        ]
    }

    fn csv(&self) -> String {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        [
            self.id.to_string(),
            or_empty(self.user.as_deref()),
            self.kind.to_string(),
            self.mode.to_string(),
            self.state.to_string(),
            self.ip
                .map(|ip| csv_cell(&ip.to_string()))
                .unwrap_or_default(),
            or_empty(self.user_agent.as_deref()),
            time(Some(self.created_at)),
            time(self.login_at),
            time(Some(self.last_request_at)),
            time(self.expires_at),
            self.idle_ms.to_string(),
            self.process_count.to_string(),
            self.lock_count.to_string(),
            self.seq.to_string(),
        ]
        .join(",")
    }

    fn session_id(&self) -> Option<SessionId> {
        Some(self.id)
    }
}
