//! `sessionctl list`: page after page, as it comes.

use std::io;

use anyhow::Result;
use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::exit::Exit;
use super::output::{Format, Output};
use super::table::{CSV_HEADER, SessionTable, Times, csv_row};
use super::target::{Access, Context, Operation};
use super::text::json;
use crate::admin::{Admin, ListQuery, PAGE_LIMIT};
use crate::error::Error;
use crate::session::{Seq, Session};
use crate::wire::SCHEMA;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// List at most this many, the oldest first
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    limit: Option<usize>,
}

pub(super) struct List(pub(super) Arguments);

impl Operation for List {
    const ACCESS: Access = Access::Look;

    fn check(&mut self) -> Result<()> {
        Ok(())
    }

    async fn run<A: Admin>(self, admin: &A, output: &mut Output, _: &Context) -> Result<Exit> {
        let mut rows = Rows::new(output);
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
        let end = End {
            is_cut: page.next.is_some(),
            total,
            as_of,
        };
        rows.end(output, &end)?;
        output.flush()?;
        Ok(conclude(output, &rows, &end, broken))
    }
}

fn query(after: Option<Seq>, left: usize) -> ListQuery {
    ListQuery {
        after,
        limit: Some(left.min(PAGE_LIMIT)),
    }
}

/// Says on stderr what the list does not show.
fn conclude(output: &mut Output, rows: &Rows, end: &End, broken: Option<Error>) -> Exit {
    let (written, total) = (rows.written, end.total);
    if let Some(error) = broken {
        output.tell_error(
            &anyhow::Error::from(error)
                .context(format!("the list broke off after {written} of {total}")),
        );
        return Exit::Partial;
    }
    if end.is_cut && !output.quiet {
        output.tell(&format!("note: these are {written} of {total} sessions"));
    } else if written == 0 && output.terminal_width.is_some() && !output.quiet {
        output.tell("note: there are no sessions");
    }
    Exit::Done
}

/// What is known at the end of a list.
struct End {
    is_cut: bool,
    total: u64,
    as_of: Seq,
}

/// Writes sessions in one format, in as many pieces as they come.
struct Rows {
    format: Format,
    table: SessionTable,
    written: usize,
}

impl Rows {
    fn new(output: &Output) -> Self {
        let format = if output.quiet && output.format == Format::Table {
            Format::Uuid
        } else {
            output.format
        };
        Self {
            format,
            table: SessionTable::new(times(output), output.terminal_width),
            written: 0,
        }
    }

    fn begin(&self, output: &mut Output) -> io::Result<()> {
        match self.format {
            Format::Json => output.raw(&format!("{{\"schema\":{SCHEMA},\"items\":[")),
            Format::Csv => output.line(CSV_HEADER),
            Format::Table | Format::Jsonl | Format::Uuid => Ok(()),
        }
    }

    fn write(&mut self, output: &mut Output, sessions: &[Session]) -> io::Result<()> {
        if self.format == Format::Table {
            output.raw(&self.table.page(sessions))?;
        } else {
            for (index, session) in sessions.iter().enumerate() {
                match self.format {
                    Format::Json if self.written + index == 0 => {
                        output.raw(&format!("\n{}", json(session)?))?
                    }
                    Format::Json => output.raw(&format!(",\n{}", json(session)?))?,
                    Format::Jsonl => output.json(session)?,
                    Format::Csv => output.line(&csv_row(session))?,
                    Format::Table | Format::Uuid => output.line(&session.id.to_string())?,
                }
            }
        }
        self.written += sessions.len();
        output.flush()
    }

    fn end(&self, output: &mut Output, end: &End) -> io::Result<()> {
        if self.format != Format::Json {
            return Ok(());
        }
        // What was closed while the pages came is not missing: without a cut, all there is was written.
        let total = if end.is_cut {
            end.total
        } else {
            self.written as u64
        };
        output.line(&format!(
            "],\"total\":{total},\"truncated\":{},\"as_of\":{}}}",
            end.is_cut, end.as_of
        ))
    }
}

/// Exact in a pipe, relative on a terminal.
pub(super) fn times(output: &Output) -> Times {
    if output.terminal_width.is_some() {
        Times::Relative
    } else {
        Times::Exact
    }
}
