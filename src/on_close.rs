//! The on-close method as values: the document that it gets, and what became of its runs (C05, C08, C09).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::context::Context;
use crate::session::{Cause, Kind, ProcessNumber, SessionId, words};

/// The version of [`Invocation`]; changes only when a name changes its meaning.
const SCHEMA: u32 = 1;

/// Bytes that a method may answer as the saved information.
pub const ANSWER_LIMIT: usize = 64 * 1024;

/// What is called for each process that closes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Nothing.
    #[default]
    None,
    /// Nothing is called either: the context itself becomes the saved information.
    Save,
    /// A program, started directly and never by a shell (S39).
    Program {
        /// Its absolute path.
        path: PathBuf,
        /// Its fixed arguments.
        arguments: Vec<String>,
    },
}

/// Recognises a run: a method that was killed with its server runs again with the same key (C09). Shown as
/// `<session>/<process>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// The session.
    pub session: SessionId,
    /// Its process.
    pub process: ProcessNumber,
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.process)
    }
}

words! {
    /// What became of a run of the on-close method. Whatever it is, the close went on (C09).
    MethodResult {
        /// It ended well.
        Succeeded = "succeeded",
        /// It ended with an error, or was killed.
        Failed = "failed",
        /// It did not end in time and was ended.
        TimedOut = "timed_out",
        /// It could not be started.
        NotStarted = "not_started",
        /// It ended well, but what it answered is not JSON, or too much.
        BadAnswer = "bad_answer",
        /// Its session was dropped while it ran.
        Cancelled = "cancelled",
        /// It was not started: its session was dropped before.
        Struck = "struck",
        /// It has not ended, or not begun, and will: its closing had to end before (C09).
        Pending = "pending",
    }
}

/// A run of the on-close method, for the outcome and for history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MethodRun {
    /// For which process.
    pub process: ProcessNumber,
    /// What became of it.
    pub result: MethodResult,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether the closing had to end before it was started (C09).
    pub late: bool,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What the end of a process, or of a session, has freed (C06).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Freed {
    /// Processes that ended.
    pub processes: u32,
    /// Selections that were destroyed.
    pub selections: u32,
    /// Records that were unlocked.
    pub locks: u32,
    /// Variables that were reset.
    pub variables: u32,
}

impl Freed {
    /// What the end of one process with this context frees.
    pub fn of(context: &Context) -> Self {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        Self {
            processes: 1,
            selections: count(context.selections.len()),
            locks: count(context.locks.len()),
            variables: count(context.variables.len()),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            processes: self.processes.saturating_add(other.processes),
            selections: self.selections.saturating_add(other.selections),
            locks: self.locks.saturating_add(other.locks),
            variables: self.variables.saturating_add(other.variables),
        }
    }
}

/// The document that the method reads from its stdin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    schema: u32,
    /// The [`RunKey`] as text.
    pub key: String,
    /// Whose process closes.
    pub session: InvokedSession,
    /// Which process closes.
    pub process: InvokedProcess,
    /// What it has: still valid, unless `late`.
    pub context: Context,
    /// Why it closes.
    pub cause: Cause,
    /// The operator's own text. Untrusted.
    pub reason: Option<String>,
    /// Who closes it.
    pub actor: String,
    /// When the closing began.
    pub closed_at: Timestamp,
    /// Whether the context is only a copy, because the closing had to end first (C09).
    pub late: bool,
}

/// The session in an [`Invocation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvokedSession {
    /// The handle.
    pub id: SessionId,
    /// What kind of client it serves.
    pub kind: Kind,
    /// Who is signed in. Untrusted text.
    pub user: Option<String>,
    /// The client's address at opening.
    pub ip: Option<IpAddr>,
    /// What the client said it was. Untrusted text.
    pub user_agent: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When the last request came.
    pub last_request_at: Timestamp,
}

/// The process in an [`Invocation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvokedProcess {
    /// Its number.
    pub number: ProcessNumber,
    /// When it was started.
    pub started_at: Timestamp,
}

/// Why and by whom a process closes.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// Why.
    pub cause: Cause,
    /// The operator's own text.
    pub reason: Option<String>,
    /// By whom.
    pub actor: String,
    /// When.
    pub closed_at: Timestamp,
}

impl Invocation {
    /// The document for a process that closes.
    pub fn new(
        session: InvokedSession,
        process: InvokedProcess,
        context: Context,
        ordered: Ordered,
        late: bool,
    ) -> Self {
        let Ordered {
            cause,
            reason,
            actor,
            closed_at,
        } = ordered;
        let key = RunKey {
            session: session.id,
            process: process.number,
        };
        Self {
            schema: SCHEMA,
            key: key.to_string(),
            session,
            process,
            context,
            cause,
            reason,
            actor,
            closed_at,
            late,
        }
    }

    /// Recognises the run.
    pub fn run_key(&self) -> RunKey {
        RunKey {
            session: self.session.id,
            process: self.process.number,
        }
    }
}
