//! Where everything that is printed goes through: data to stdout, everything else to stderr.

use std::io::{self, Write};

use anyhow::Error as AnyError;
use clap::ValueEnum;
use serde::Serialize;

use super::exit::{advice, is_closed_stdout};
use super::text::{json, visible};

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
        let _ = writeln!(self.stderr, "{text}");
    }

    /// Tells something that only `-v` asks for.
    pub fn tell_details(&mut self, text: &str) {
        if self.verbosity > 0 {
            self.tell(text);
        }
    }

    /// Tells what went wrong, why, and what to try.
    pub fn tell_error(&mut self, error: &AnyError) {
        if is_closed_stdout(error) {
            return;
        }
        self.tell(&format!("error: {}", visible(&error.to_string())));
        let mut told = error.to_string();
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            // Some errors repeat what lies under them.
            if !told.contains(&cause) {
                self.tell(&format!("cause: {}", visible(&cause)));
                told = cause;
            }
        }
        if let Some(advice) = advice(error) {
            self.tell(&format!("try:   {}", visible(&advice)));
        }
    }
}
