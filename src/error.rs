//! Why something that was asked of the sessions did not happen. Knows nothing of HTTP; `wire` translates.

use std::error::Error as StdError;
use std::time::Duration;

use thiserror::Error;

use crate::context::ContextError;
use crate::session::{ClosedSession, HeldLock, ProcessNumber, SessionId};

/// A source whose type is the business of the layer that it comes from.
pub type Source = Box<dyn StdError + Send + Sync>;

/// The error of `Admin` and of `Sessions`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No session has this id.
    #[error("no session has the UUID {0}")]
    NotFound(SessionId),
    /// The session was there and is closed.
    #[error("session {} is closed since {} (cause {})", .0.id, .0.closed_at, .0.cause)]
    Closed(Box<ClosedSession>),
    /// The closing of the session is under way.
    #[error("session {0} is closing")]
    Closing(SessionId),
    /// The session has no process of this number.
    #[error("session {id} has no process {process}")]
    NoProcess {
        /// The session.
        id: SessionId,
        /// The number.
        process: ProcessNumber,
    },
    /// The process is closing: its on-close method sees it as it is.
    #[error("process {process} of session {id} is closing")]
    ProcessClosing {
        /// The session.
        id: SessionId,
        /// The process.
        process: ProcessNumber,
    },
    /// A web session has one process, and this one has it.
    #[error("web session {id} has its process already: {process}")]
    HasProcess {
        /// The session.
        id: SessionId,
        /// Its process.
        process: ProcessNumber,
    },
    /// The process has no variable, or no selection, of this name.
    #[error("there is no {what} of this name")]
    NotSet {
        /// Which of the two.
        what: &'static str,
    },
    /// Another process holds the lock.
    #[error("{}", held(.0))]
    LockHeld(Box<HeldLock>),
    /// A name or a value that no context takes, or more than it takes (`context_limit`, `context_name_limit`).
    #[error("{0}")]
    Context(#[from] ContextError),
    /// The token was replaced a moment ago, at a login: a late request is not to overwrite the fresh cookie.
    #[error("this cookie was replaced at the login; the fresh one is on its way")]
    Rotated,
    /// The request is malformed; the text says how.
    #[error("{0}")]
    Invalid(String),
    /// Nobody was presented, or nobody known.
    #[error("not authenticated")]
    Unauthenticated,
    /// Somebody was presented who may not do this; the text says what.
    #[error("{0}")]
    Forbidden(String),
    /// `max_sessions` are live already (C10).
    #[error("all {limit} sessions that max_sessions allows are in use")]
    LimitReached {
        /// The limit.
        limit: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// One client address opens sessions faster than `open_rate` allows (S49).
    #[error("too many sessions were opened from this address")]
    TooManyOpens {
        /// When to try again.
        retry_after: Duration,
    },
    /// The server's mode is `none`: it opens no sessions.
    #[error("this server opens no sessions: its mode is none")]
    NoSessions,
    /// A live cookie came from another address than its session's (C13).
    #[error("this session belongs to another address")]
    OtherAddress,
    /// The options would end sessions, which was not confirmed (C14).
    #[error("{}", would_end(*ends, *strands))]
    WouldEnd {
        /// Sessions that would end at once.
        ends: u64,
        /// Sessions whose clients would not be recognised any more.
        strands: u64,
    },
    /// More changes wait for the disk, or more bodies are on their way, than may.
    #[error(
        "the server is busy: too many changes wait for its disk, or too many bodies are on their way"
    )]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The service cannot answer for what it knows; it has stopped acknowledging.
    #[error("the session store cannot be relied on")]
    Unavailable(#[source] Source),
    /// No admin token has this name.
    #[error("no token is called {name}")]
    NoToken {
        /// The name.
        name: String,
    },
    /// An admin token has this name already.
    #[error("there is a token called {name} already")]
    TokenExists {
        /// The name.
        name: String,
    },
    /// Too many tokens that are nobody's came from one source (S31).
    #[error("too many tokens that are nobody's came from here")]
    TooManyAttempts {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store failed while it wrote the change: whether it was made shows after a restart.
    #[error(
        "the store failed while it wrote the change; whether it was made shows after a restart"
    )]
    Unconfirmed(#[source] Source),
    /// The server could not be reached; nothing was asked of it.
    #[error("cannot reach the server at {server}")]
    Unreachable {
        /// Where it was sought.
        server: String,
        /// What stood in the way.
        #[source]
        source: Source,
    },
    /// The server could not be trusted over TLS; nothing was asked of it.
    #[error("the server at {server} cannot be trusted; nothing was sent to it")]
    Untrusted {
        /// Where it was sought.
        server: String,
        /// Why not.
        #[source]
        source: Source,
    },
    /// The server was reached and did not answer; nothing was to be changed.
    #[error("no answer came from the server at {server}")]
    NoAnswer {
        /// Who was asked.
        server: String,
        /// How it stayed away.
        #[source]
        source: Source,
    },
    /// The request was sent and no answer came: it may have taken effect (exit code 9).
    #[error(
        "no answer came from the server at {server}; whether the request took effect is unknown"
    )]
    OutcomeUnknown {
        /// Where the request went.
        server: String,
        /// How it broke.
        #[source]
        source: Source,
    },
    /// The answer is not one that a sessionctl server gives.
    #[error("{server} gave an answer that is not a sessionctl server's: {what}")]
    Protocol {
        /// Who gave it.
        server: String,
        /// What is wrong with it.
        what: String,
    },
    /// The server is one of ours, of another version perhaps, and refuses the request for a reason that is unknown here.
    #[error("{server} does not take this request: {what}")]
    Unsupported {
        /// Who refused it.
        server: String,
        /// In its words.
        what: String,
    },
    /// The server has another name than the one that it was called by, whoever trusts it (`--insecure`).
    #[error(
        "the server at {server} does not go by that name: it is neither in its certificate nor one of its own machine"
    )]
    Misdirected {
        /// By which it was called.
        server: String,
    },
    /// Something that should not happen.
    #[error("internal error")]
    Internal(#[source] Source),
}

/// Who holds a lock, in words. The user's name is left out: it is untrusted text.
fn held(lock: &HeldLock) -> String {
    let HeldLock {
        table,
        record,
        session,
        process,
        since,
        ..
    } = lock;
    format!("{table}/{record} is locked since {since} by process {process} of session {session}")
}

/// What options do to sessions, in words.
pub fn would_end(ends: u64, strands: u64) -> String {
    let sessions = |count: u64| match count {
        1 => "1 session".into(),
        count => format!("{count} sessions"),
    };
    let stranded = || {
        format!(
            "the clients of {} would not be recognised any more: their cookie has the old name",
            sessions(strands)
        )
    };
    match (ends, strands) {
        (_, 0) => format!("{} would end", sessions(ends)),
        (0, _) => stranded(),
        _ => format!("{} would end, and {}", sessions(ends), stranded()),
    }
}
