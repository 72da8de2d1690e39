//! Lists that come in pages: the same rows in every format, written as they come.

use std::collections::HashSet;
use std::io;
use std::marker::PhantomData;

use serde::Serialize;

use super::output::{Format, Output};
use super::table::{Layout, PagedTable, Times};
use super::text::json;
use crate::clock::Timestamp;
use crate::session::SessionId;
use crate::wire::SCHEMA;

/// A row of a list.
pub(super) trait Row: Serialize {
    /// How a table of such rows looks.
    const LAYOUT: &'static Layout;

    /// The header of a CSV list: the names that JSON has.
    const CSV_HEADER: &'static str;

    /// Whether several rows may be about one session.
    const MAY_REPEAT_SESSIONS: bool;

    /// Its cells, one for each column of the layout.
    fn cells(&self, times: Times, now: Timestamp) -> Vec<String>;

    /// Its line of CSV.
    fn csv(&self) -> String;

    /// The session that it is about, if it is about one.
    fn session_id(&self) -> Option<SessionId>;
}

/// Writes rows in one format, in as many pieces as they come.
pub(super) struct Rows<R> {
    format: Format,
    table: PagedTable,
    times: Times,
    now: Timestamp,
    /// Sessions that must not be named again.
    named: HashSet<SessionId>,
    /// Rows that were written so far.
    pub(super) written: usize,
    row: PhantomData<R>,
}

impl<R: Row> Rows<R> {
    /// A list that nothing was written of. `now` is what relative times are seen from.
    pub(super) fn new(output: &Output, now: Timestamp) -> Self {
        let format = if output.quiet && output.format == Format::Table {
            Format::Uuid
        } else {
            output.format
        };
        Self {
            format,
            table: PagedTable::new(R::LAYOUT, output.terminal_width),
            times: Times::on(output),
            now,
            named: HashSet::new(),
            written: 0,
            row: PhantomData,
        }
    }

    pub(super) fn begin(&self, output: &mut Output) -> io::Result<()> {
        match self.format {
            Format::Json => output.raw(&format!("{{\"schema\":{SCHEMA},\"items\":[")),
            Format::Csv => output.line(R::CSV_HEADER),
            Format::Table | Format::Jsonl | Format::Uuid => Ok(()),
        }
    }

    /// Writes the next rows and hands them over.
    pub(super) fn write(&mut self, output: &mut Output, rows: &[R]) -> io::Result<()> {
        if self.format == Format::Table {
            let cells = rows.iter().map(|row| row.cells(self.times, self.now));
            output.raw(&self.table.page(cells))?;
            self.written += rows.len();
        } else {
            for row in rows {
                self.write_row(output, row)?;
            }
        }
        output.flush()
    }

    fn write_row(&mut self, output: &mut Output, row: &R) -> io::Result<()> {
        let separator = if self.written == 0 { "" } else { "," };
        self.written += 1;
        match self.format {
            Format::Json => output.raw(&format!("{separator}\n{}", json(row)?)),
            Format::Jsonl => output.json(row),
            Format::Csv => output.line(&row.csv()),
            Format::Table | Format::Uuid => match row.session_id() {
                Some(id) if !R::MAY_REPEAT_SESSIONS || self.named.insert(id) => {
                    output.line(&id.to_string())
                }
                _ => Ok(()),
            },
        }
    }

    /// Ends the list; in JSON, `fields` tell what else is known of it.
    pub(super) fn end(&self, output: &mut Output, fields: &str) -> io::Result<()> {
        if self.format == Format::Json {
            output.line(&format!("],{fields}}}"))?;
        }
        output.flush()
    }
}
