//! `sessionctl locks`: who holds which record, since when, and how many wait for it.

use anyhow::Result;
use clap::Args;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::rows::{Row, Rows};
use super::table::{Layout, Times};
use super::target::{Access, Context, Operation};
use super::text::{csv_cell, or_dash, or_empty, visible};
use crate::admin::{Admin, LockQuery, PAGE_LIMIT};
use crate::clock::Timestamp;
use crate::context::Name;
use crate::error::Error;
use crate::session::{HeldLock, SessionId};

/// What `--help` begins with.
pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl locks                          who locks what
  sessionctl locks --record Invoices/4711   who locks this record
  sessionctl locks --table Invoices -q | xargs -r sessionctl close-session";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this record. What stands before the first slash is the table; if --table names it, the whole text is the record
    #[arg(long, value_name = "TABLE/RECORD")]
    record: Option<String>,
    /// Only records of this table; needed beside --record where the table's name has a slash
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Only records that this session locks
    #[arg(long, value_name = "UUID")]
    session: Option<String>,
}

pub(super) struct Locks {
    arguments: Arguments,
    query: LockQuery,
}

impl Locks {
    pub(super) fn new(arguments: Arguments) -> Self {
        Self {
            arguments,
            query: LockQuery::default(),
        }
    }
}

impl Operation for Locks {
    const ACCESS: Access = Access::Look;

    fn check(&mut self) -> Result<()> {
        let Arguments {
            record,
            table,
            session,
        } = &self.arguments;
        let (table, record) = named(table.as_deref(), record.as_deref())?;
        self.query = LockQuery {
            table,
            record,
            session: session.as_deref().map(str::parse).transpose()?,
            limit: Some(PAGE_LIMIT),
            ..LockQuery::default()
        };
        Ok(())
    }

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let query = self.query;
        let mut page = admin.locks(query.clone()).await?;
        let mut rows = Rows::<HeldLock>::new(output, context.now);
        rows.begin(output)?;
        let broken = loop {
            rows.write(output, &page.items)?;
            let Some(last) = page.items.last().filter(|_| page.truncated) else {
                break None;
            };
            let next = query.clone().after(last);
            match admin.locks(next).await {
                Ok(following) => page = following,
                Err(error) => break Some(error),
            }
        };
        rows.end(output, &format!("\"truncated\":{}", broken.is_some()))?;
        Ok(conclude(output, rows.written, &query, broken))
    }
}

/// Which record, or which table, the flags mean.
fn named(table: Option<&str>, record: Option<&str>) -> Result<(Option<Name>, Option<Name>)> {
    let (table, record) = match (table, record) {
        (None, Some(text)) => {
            let missing = || {
                let text = "--record takes TABLE/RECORD, or RECORD alone beside --table";
                Failure::new(Exit::Usage, text).advise_command("locks --record Invoices/4711")
            };
            let (table, record) = text.split_once('/').ok_or_else(missing)?;
            (Some(table), Some(record))
        }
        both => both,
    };
    let name = |what: &str, text: &str| {
        Name::new(text).map_err(|error| Failure::new(Exit::Usage, format!("the {what}: {error}")))
    };
    Ok((
        table.map(|text| name("table", text)).transpose()?,
        record.map(|text| name("record", text)).transpose()?,
    ))
}

/// Says on stderr what the list does not show: that there is nothing, or that it is not whole.
fn conclude(output: &mut Output, written: usize, query: &LockQuery, broken: Option<Error>) -> Exit {
    if let Some(error) = broken {
        output.tell_error(
            &anyhow::Error::from(error).context(format!("the list broke off after {written}")),
        );
        return Exit::Partial;
    }
    if written == 0 && !output.quiet {
        output.tell(&format!("note: {}", nothing(query)));
    }
    Exit::Done
}

fn nothing(query: &LockQuery) -> String {
    let who = query
        .session
        .map_or_else(|| "nobody locks".into(), |id| format!("{id} does not lock"));
    let what = match (&query.table, &query.record) {
        (Some(table), Some(record)) => {
            format!("{}/{}", visible(table.as_str()), visible(record.as_str()))
        }
        (Some(table), None) => format!("any record of {}", visible(table.as_str())),
        (None, _) => "any record".into(),
    };
    format!("{who} {what}")
}

impl Row for HeldLock {
    const LAYOUT: &'static Layout = &Layout {
        names: &[
            "RECORD", "UUID", "USER", "SINCE", "WAITING", "PROCESS", "FENCE",
        ],
        give_way: &[
            ("RECORD", 24),
            ("USER", 12),
            ("RECORD", 16),
            ("USER", 5),
            ("RECORD", 12),
        ],
    };

    const CSV_HEADER: &'static str = "table,record,session,process,user,since,fence,waiting";

    const MAY_REPEAT_SESSIONS: bool = true;

    fn cells(&self, times: Times, now: Timestamp) -> Vec<String> {
        vec![
            format!(
                "{}/{}",
                visible(self.table.as_str()),
                visible(self.record.as_str())
            ),
            self.session.to_string(),
            or_dash(self.user.as_deref()),
            times.short(self.since, now),
            self.waiting.to_string(),
            self.process.to_string(),
            self.fence.to_string(),
        ]
    }

    fn csv(&self) -> String {
        [
            csv_cell(self.table.as_str()),
            csv_cell(self.record.as_str()),
            self.session.to_string(),
            self.process.to_string(),
            or_empty(self.user.as_deref()),
            self.since.to_string(),
            self.fence.to_string(),
            self.waiting.to_string(),
        ]
        .join(",")
    }

    fn session_id(&self) -> Option<SessionId> {
        Some(self.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slash_separates_unless_the_table_is_named() {
        let named = |table, record| {
            let (table, record) = named(table, record).unwrap();
            let text = |name: Option<Name>| name.map(String::from).unwrap_or_default();
            [text(table), text(record)]
        };
        assert_eq!(named(None, Some("Invoices/4711")), ["Invoices", "4711"]);
        assert_eq!(named(None, Some("a/b/c")), ["a", "b/c"]);
        assert_eq!(named(Some("a/b"), Some("c/d")), ["a/b", "c/d"]);
        assert_eq!(named(Some("a/b"), None), ["a/b", ""]);
        assert_eq!(named(None, None), ["", ""]);
    }

    #[test]
    fn what_names_no_record_is_refused() {
        for record in ["4711", "/4711", "Invoices/", "Invoices/..", "a\n/b"] {
            assert!(named(None, Some(record)).is_err(), "{record}");
        }
    }

    #[test]
    fn that_nobody_locks_it_is_said_in_words() {
        let record = named(None, Some("Invoices/4711")).unwrap();
        let query = |(table, record)| LockQuery {
            table,
            record,
            ..LockQuery::default()
        };
        assert_eq!(nothing(&query(record)), "nobody locks Invoices/4711");
        assert_eq!(nothing(&LockQuery::default()), "nobody locks any record");
    }
}
