//! `sessionctl audit`: what operators ordered, and whether the record of it is what was written (S32).

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{Format, Output};
use super::rows::{Row, Rows};
use super::table::{Layout, Times};
use super::target::{Access, Context, Operation};
use super::text::{counted, csv_cell, or_dash, or_empty};
use crate::admin::{Admin, AuditQuery, PAGE_LIMIT};
use crate::audit::AuditRecord;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::session::{Seq, SessionId};
use crate::wire::SCHEMA;

/// What `--help` begins with.
pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl audit               who ordered what, the last one first
  sessionctl audit verify        was anything changed in it afterwards; 10 if so";

/// Records that are shown unless another number is asked for.
const DEFAULT_LIMIT: usize = 50;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
    limit: usize,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Go over the whole record: whether it is what was written
    Verify,
}

/// The command, checked: the list, or a look over all of it.
pub(super) enum Asked {
    List(List),
    Verify(Verify),
}

impl Arguments {
    pub(super) fn asked(self) -> Asked {
        match self.command {
            None => Asked::List(List { limit: self.limit }),
            Some(Command::Verify) => Asked::Verify(Verify),
        }
    }
}

pub(super) struct List {
    limit: usize,
}

impl Operation for List {
    const ACCESS: Access = Access::Look;

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let query = |before: Option<Seq>, left: usize| AuditQuery {
            before,
            limit: Some(left.min(PAGE_LIMIT)),
        };
        let mut page = admin.audit(query(None, self.limit)).await?;
        let mut rows = Rows::<AuditRecord>::new(output, context.now);
        rows.begin(output)?;
        let broken = loop {
            page.items.truncate(self.limit.saturating_sub(rows.written));
            rows.write(output, &page.items)?;
            let left = self.limit.saturating_sub(rows.written);
            let Some(last) = page.items.last().filter(|_| page.truncated && left > 0) else {
                break None;
            };
            match admin.audit(query(Some(last.seq), left)).await {
                Ok(following) => page = following,
                Err(error) => break Some(error),
            }
        };
        let truncated = page.truncated || broken.is_some();
        rows.end(output, &format!("\"truncated\":{truncated}"))?;
        Ok(conclude(output, rows.written, truncated, broken))
    }
}

fn conclude(output: &mut Output, written: usize, truncated: bool, broken: Option<Error>) -> Exit {
    if let Some(error) = broken {
        output.tell_error(&anyhow::Error::from(error).context("the list broke off"));
        return Exit::Partial;
    }
    if output.format == Format::Table && !output.quiet {
        if written == 0 {
            output.tell("no operator ordered anything");
        } else if truncated {
            output.tell(&format!("the last {written}; --limit N shows more"));
        }
    }
    Exit::Done
}

pub(super) struct Verify;

impl Operation for Verify {
    const ACCESS: Access = Access::Look;

    async fn run<A: Admin>(self, admin: &A, output: &mut Output, _: &Context) -> Result<Exit> {
        let verdict = admin.verify_audit().await?;
        let last = verdict.last.map(|hash| hash.to_string());
        match output.format {
            Format::Json | Format::Jsonl => output.json(&json!({
                "schema": SCHEMA,
                "ok": verdict.broken_at.is_none(),
                "records": verdict.records,
                "broken_at": verdict.broken_at,
                "last": last,
            }))?,
            _ if output.quiet => {}
            Format::Table | Format::Csv | Format::Uuid if verdict.broken_at.is_none() => {
                let records = counted(verdict.records, "record", "records");
                output.line(&format!(
                    "ok    {records}, the last one is {}",
                    or_dash(last.as_deref())
                ))?;
            }
            Format::Table | Format::Csv | Format::Uuid => {}
        }
        match verdict.broken_at {
            None => Ok(Exit::Done),
            Some(seq) => {
                let text = format!(
                    "the audit record was changed: record {seq} is not what was written, or one before it is missing"
                );
                let failure = Failure::new(Exit::CheckFailed, text);
                Err(failure
                    .advise("compare it with a backup of the store: what came before that record is as it was written")
                    .into())
            }
        }
    }
}

impl Row for AuditRecord {
    const LAYOUT: &'static Layout = &Layout {
        names: &["AT", "BY", "VIA", "ACTION", "UUID", "USER", "DETAIL"],
        give_way: &[
            ("DETAIL", 20),
            ("USER", 12),
            ("VIA", 8),
            ("DETAIL", 8),
            ("USER", 5),
            ("VIA", 4),
        ],
    };

    const CSV_HEADER: &'static str = "seq,at,actor,via,action,session,user,detail,request_id,hash";

    const MAY_REPEAT_SESSIONS: bool = true;

    fn cells(&self, times: Times, now: Timestamp) -> Vec<String> {
        let order = &self.order;
        vec![
            times.short(order.at, now),
            order.actor.clone(),
            or_dash(order.via.as_deref()),
            order.action.to_string(),
            or_dash(order.session.map(|id| id.to_string()).as_deref()),
            or_dash(order.user.as_deref()),
            or_dash(order.detail.as_deref()),
        ]
    }

    fn csv(&self) -> String {
        let order = &self.order;
        [
            self.seq.to_string(),
            order.at.to_string(),
            csv_cell(&order.actor),
            or_empty(order.via.as_deref()),
            order.action.to_string(),
            or_empty(order.session.map(|id| id.to_string()).as_deref()),
            or_empty(order.user.as_deref()),
            or_empty(order.detail.as_deref()),
            or_empty(order.request_id.map(|id| id.to_string()).as_deref()),
            self.hash.to_string(),
        ]
        .join(",")
    }

    fn session_id(&self) -> Option<SessionId> {
        self.order.session
    }
}
