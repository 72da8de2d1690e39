//! The sessions to end: named on the command line, or read from stdin as they come.

use std::io::BufRead;

use anyhow::{Error as AnyError, Result};
use tokio::sync::mpsc;

use crate::cli::exit::{Exit, Failure};
use crate::session::{SessionId, SessionIdError};

/// The sessions to end, in order.
pub(super) enum Targets {
    Named(std::vec::IntoIter<SessionId>),
    Lines(mpsc::Receiver<Result<SessionId>>),
}

impl Targets {
    /// Those that were named.
    pub(super) fn named(ids: Vec<SessionId>) -> Self {
        Self::Named(ids.into_iter())
    }

    /// One per line, without blank lines and comments.
    pub(super) fn lines_of(stdin: Box<dyn BufRead + Send>) -> Self {
        // On a thread of its own: a read that waits must not hold up a signal.
        let (lines, receiver) = mpsc::channel(64);
        std::thread::spawn(move || read_lines(stdin, &lines));
        Self::Lines(receiver)
    }

    pub(super) async fn next(&mut self) -> Option<Result<SessionId>> {
        match self {
            Self::Named(ids) => ids.next().map(Ok),
            Self::Lines(lines) => lines.recv().await,
        }
    }

    /// How many were named and not taken; `None` if nobody knows.
    pub(super) fn left(&self) -> Option<usize> {
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
