//! Where everything that is printed goes through: data to stdout, everything else to stderr.

use std::io::{self, Write};

use anyhow::Error as AnyError;
use clap::ValueEnum;
use serde::Serialize;

use super::exit::{Again, advice, is_closed_stdout};
use super::text::{json, shorten, visible, width};

use crate::token::masked;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON object.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// Session UUIDs alone, one per line.
    Uuid,
}

/// This program's name.
pub(super) const PROGRAM: &str = "sessionctl";

/// This program with its version: at the foot of every man page, and where a server's log begins.
pub(super) const VERSION: &str = concat!("sessionctl ", env!("CARGO_PKG_VERSION"));

/// Columns of a terminal that nobody knows the width of.
const USUAL_WIDTH: usize = 80;

/// A stream of the process.
pub type Stream = Box<dyn Write + Send>;

/// The two streams, and how to write to them.
pub struct Output {
    stdout: Stream,
    stderr: Stream,
    /// How results are written.
    pub format: Format,
    /// Whether only what was asked for is written.
    pub quiet: bool,
    /// How much is told about what happens.
    pub verbosity: u8,
    /// Columns of the terminal that stdout is; `None` when it is none.
    pub terminal_width: Option<usize>,
    /// How this program is called for the same target: its name, with the flags that name the target.
    pub program: String,
    /// Whether the target is a directory, without a server.
    pub is_local: bool,
    /// Whether stderr is a terminal: only there a line can be written over.
    pub stderr_is_terminal: bool,
    /// Columns of the line on stderr that is still to be written over.
    progress_width: usize,
}

impl Output {
    /// Output to these streams. Both are written through: buffer stdout before.
    pub fn new(stdout: Stream, stderr: Stream, terminal_width: Option<usize>) -> Self {
        Self {
            stdout,
            stderr,
            format: Format::default(),
            quiet: false,
            verbosity: 0,
            terminal_width,
            program: PROGRAM.into(),
            is_local: false,
            stderr_is_terminal: false,
            progress_width: 0,
        }
    }

    /// Writes a line of the result.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.stdout, "{line}")
    }

    /// Writes a part of the result as it is.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn raw(&mut self, text: &str) -> io::Result<()> {
        self.stdout.write_all(text.as_bytes())
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let line = json(value)?;
        self.line(&line)
    }

    /// Hands over what was written so far.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }

    /// Tells something besides the result. A closed stderr stops nothing.
    pub fn tell(&mut self, text: &str) {
        self.clear_progress();
        let _ = writeln!(self.stderr, "{text}");
    }

    /// Whether somebody looks on who wants to know how far things are.
    pub fn shows_progress(&self) -> bool {
        self.stderr_is_terminal && !self.quiet
    }

    /// Shows how far things are, in place of what it showed before; nothing unless somebody looks on.
    pub fn progress(&mut self, text: &str) {
        if !self.shows_progress() {
            return;
        }
        let text = visible(text);
        // A line that reaches the edge is two lines, and then it cannot be written over.
        let shown = shorten(
            &text,
            self.terminal_width.unwrap_or(USUAL_WIDTH).saturating_sub(1),
        );
        let blanks = " ".repeat(self.progress_width.saturating_sub(width(&shown)));
        let _ = write!(self.stderr, "\r{shown}{blanks}");
        let _ = self.stderr.flush();
        self.progress_width = width(&shown);
    }

    /// Takes away what was shown of how far things are.
    pub fn clear_progress(&mut self) {
        if self.progress_width > 0 {
            let blanks = " ".repeat(self.progress_width);
            let _ = write!(self.stderr, "\r{blanks}\r");
            let _ = self.stderr.flush();
            self.progress_width = 0;
        }
    }

    /// Tells something that only `-v` asks for.
    pub fn tell_details(&mut self, text: &str) {
        if self.verbosity > 0 {
            self.tell(text);
        }
    }

    /// How the same target is asked again.
    pub(super) fn again(&self) -> Again<'_> {
        Again {
            program: &self.program,
            is_local: self.is_local,
        }
    }

    /// Tells what went wrong, why, and what to try.
    pub fn tell_error(&mut self, error: &AnyError) {
        if is_closed_stdout(error) {
            return;
        }
        // A secret that was given where a name belongs is in no message.
        let shown = |text: &str| visible(&masked(text)).into_owned();
        self.tell(&format!("error: {}", shown(&error.to_string())));
        let mut told = error.to_string();
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            // Some errors repeat what lies under them.
            if !told.contains(&cause) {
                self.tell(&format!("cause: {}", shown(&cause)));
                told = cause;
            }
        }
        if let Some(advice) = advice(error, self.again()) {
            self.tell(&format!("try:   {}", shown(&advice)));
        }
    }
}
