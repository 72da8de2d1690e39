//! The sessions to end: named on the command line, or read from stdin as they come.

use std::io::{BufRead, Read as _};

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

    /// Whether there may be more than one.
    pub(super) fn are_many(&self) -> bool {
        match self {
            Self::Named(ids) => ids.len() > 1,
            Self::Lines(_) => true,
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

/// Bytes of a line, at most: a UUID in its longest spelling, with room for blanks and comments.
const LINE_LIMIT: u64 = 4_096;

/// Sends the targets on until the input or the receiver ends. An input that cannot be read ends there.
fn read_lines(mut stdin: Box<dyn BufRead + Send>, targets: &mpsc::Sender<Result<SessionId>>) {
    for number in 1_u64.. {
        let mut line = Vec::new();
        let read = stdin.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line);
        let (target, is_last) = match read {
            Ok(0) => return,
            Ok(length) if length as u64 == LINE_LIMIT => (Err(too_long(number)), true),
            Ok(_) => match String::from_utf8_lossy(&line).trim() {
                "" => continue,
                text if text.starts_with('#') => continue,
                text => (text.parse().map_err(|error| at_line(number, error)), false),
            },
            Err(error) => (
                Err(Failure::new(Exit::Failure, "cannot read stdin")
                    .caused_by(error)
                    .into()),
                true,
            ),
        };
        if targets.blocking_send(target).is_err() || is_last {
            return;
        }
    }
}

fn at_line(number: u64, error: SessionIdError) -> AnyError {
    Failure::new(Exit::Usage, format!("line {number} of stdin: {error}")).into()
}

fn too_long(number: u64) -> AnyError {
    let text =
        format!("line {number} of stdin is longer than {LINE_LIMIT} bytes; the rest is not read");
    Failure::new(Exit::Usage, text).into()
}
