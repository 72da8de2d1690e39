//! What an operator can do. The seam between commands and the world: `Registry` does it, `client::Client` asks a server.
//!
//! Arguments and results are plain values that could cross any wire; a new command is a new method here.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::options::{OptionState, Value};
use crate::session::{Cause, Mode, Seq, Session, SessionId, words};
use crate::token::Token;

/// Rows on one page of a list, at most.
pub const PAGE_LIMIT: usize = 1_000;

/// Characters that a reason may have.
pub const REASON_LIMIT: usize = 256;

/// Characters that a user name may have.
pub const USER_LIMIT: usize = 256;

/// What an operator can do with the sessions of a server or of a data directory.
pub trait Admin: Send + Sync {
    /// One page of the sessions that are not closed, in the order of opening. Looking touches nothing (C12).
    fn list(&self, query: ListQuery) -> impl Future<Output = Result<Page, Error>> + Send;

    /// One session that is not closed.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown id, [`Error::Closed`] for a closed session.
    fn show(&self, id: SessionId) -> impl Future<Output = Result<Session, Error>> + Send;

    /// Closes a session: its cookie is refused from the answer on, whatever happens to this process or that server (C03).
    ///
    /// An unknown or closed session is no error (C01). Dropping the future at any point changes nothing about the closing.
    fn close(
        &self,
        id: SessionId,
        request: EndRequest,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// Ends a session at once, without anything that a closing would still do.
    fn drop_session(
        &self,
        id: SessionId,
        request: EndRequest,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// Opens a session on a client's behalf.
    fn open(&self, request: OpenRequest) -> impl Future<Output = Result<Opened, Error>> + Send;

    /// Every option as it stands, in the order of the table (C14).
    fn options(&self) -> impl Future<Output = Result<Vec<OptionState>, Error>> + Send;

    /// Sets and resets options at run time, all or none (C14).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value that is refused, [`Error::WouldEnd`] when sessions would end and may not.
    fn set_options(
        &self,
        request: SetRequest,
    ) -> impl Future<Output = Result<OptionsSet, Error>> + Send;

    /// How many sessions there are, and what happened since the start.
    fn stats(&self) -> impl Future<Output = Result<Stats, Error>> + Send;

    /// Whether the service acknowledges changes.
    fn ready(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Which page of the sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// The sessions after this one, in the order of opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// Rows at most; [`PAGE_LIMIT`] when absent or greater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl ListQuery {
    /// The rows that a page for this query has at most.
    pub fn page_size(&self) -> usize {
        self.limit.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT)
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The sessions.
    pub items: Vec<Session>,
    /// How many there are on all pages.
    pub total: u64,
    /// Where the next page starts; `None` on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
    /// The last change that the page knows of.
    pub as_of: Seq,
}

/// Who acts, for the record: `uid:1000`, `token:admin`, `client`, `server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// A user of this machine.
    pub fn user(uid: u32) -> Self {
        Self(format!("uid:{uid}"))
    }

    /// The holder of an admin token.
    pub fn token(name: &str) -> Self {
        Self(format!("token:{name}"))
    }

    /// The client whose session it is.
    pub fn client() -> Self {
        Self("client".into())
    }

    /// The server itself, on time.
    pub fn server() -> Self {
        Self("server".into())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The operator's own text about an ending: at most [`REASON_LIMIT`] characters, untrusted when shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        at_most(REASON_LIMIT, "a reason", &text).map(|()| Self(text))
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

/// How a session is to be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRequest {
    /// Why, for the record.
    pub reason: Option<Reason>,
    /// How long to wait for the end of the closing; zero to return once the cookie is refused.
    pub wait: Duration,
    /// Whether an unknown id is an error.
    pub must_exist: bool,
    /// The same for every try of one call: a retry gets the original outcome (C15).
    pub request_id: Option<Uuid>,
    /// Who asks. A server ignores what a client says and puts in whom it authenticated.
    pub actor: Actor,
}

impl EndRequest {
    /// A request by `actor` with no reason, no waiting and no demands.
    pub fn by(actor: Actor) -> Self {
        Self {
            reason: None,
            wait: Duration::ZERO,
            must_exist: false,
            request_id: None,
            actor,
        }
    }
}

words! {
    /// What became of a request to end a session.
    Ending {
        /// It is closed.
        Closed = "closed",
        /// Its cookie is refused; the closing is under way.
        Closing = "closing",
        /// It was closed before.
        AlreadyClosed = "already_closed",
        /// No session has this id; that is success (C01).
        NotFound = "not_found",
        /// It was opened in scalable mode, which `close-session` leaves alone (C02).
        Ignored = "ignored",
    }
}

/// The outcome of a request to end a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whose ending was asked for.
    pub id: SessionId,
    /// What became of it.
    pub outcome: Ending,
    /// Whether this request began the ending; true for exactly one of many (C15).
    pub initiated: bool,
    /// Why the session ended, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Who was signed in. Untrusted text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What a session is opened with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenRequest {
    /// Who is signed in; `None` for a guest. At most [`USER_LIMIT`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// What the client says it is. Cut to what a store keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

impl OpenRequest {
    /// Refuses a user name that is empty, too long, or could not stand in a header.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        if user.is_empty() {
            return Err("a user name has at least one character".into());
        }
        if user.trim() != user {
            return Err("a user name does not begin or end with blanks".into());
        }
        if user.chars().any(char::is_control) {
            return Err("a user name has no control characters".into());
        }
        at_most(USER_LIMIT, "a user name", user)
    }
}

fn at_most(limit: usize, what: &str, text: &str) -> Result<(), String> {
    match text.chars().count() {
        count if count > limit => Err(format!(
            "{what} has at most {limit} characters, this has {count}"
        )),
        _ => Ok(()),
    }
}

/// A session that was opened on a client's behalf.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Its secret, told this once.
    pub token: Token,
    /// The name that the client's cookie must have, prefix included.
    pub cookie_name: String,
}

/// Options to set and to reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRequest {
    /// Names with their new values; `None` resets.
    pub changes: Vec<(String, Option<Value>)>,
    /// Whether sessions may end by it.
    pub may_end: bool,
    /// Whether nothing is to be changed: only told what would be.
    pub dry_run: bool,
    /// Who asks. A server ignores what a client says and puts in whom it authenticated.
    pub actor: Actor,
}

/// What setting options did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsSet {
    /// Whether they are in force now.
    pub is_set: bool,
    /// Sessions that end at once.
    pub ends: u64,
    /// Sessions whose clients are not recognised any more: their cookie has the old name.
    pub strands: u64,
    /// The options that were named, as they stand.
    pub options: Vec<OptionState>,
}

/// How many sessions there are, and what happened since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// How sessions are managed that are opened now.
    pub mode: Mode,
    /// Sessions whose cookie is accepted and whose process has not ended.
    pub active: u64,
    /// Sessions whose next request gets a fresh process.
    pub suspended: u64,
    /// Sessions whose closing is under way.
    pub closing: u64,
    /// Sessions that count against `max_sessions`.
    pub counted: u64,
    /// The limit.
    pub max_sessions: u64,
    /// From when on the following is counted.
    pub since: Timestamp,
    /// Sessions that were opened.
    pub opened: u64,
    /// Sessions whose process ended before they did.
    pub processes_ended: u64,
    /// Sessions that ended.
    pub ended: Ended,
    /// Requests of clients that were refused.
    pub refused: Refused,
}

/// Sessions that ended, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// By `close-session`.
    pub command: u64,
    /// By their own client.
    pub logout: u64,
    /// On time.
    pub inactive: u64,
    /// To make room (C10).
    pub evicted: u64,
    /// By `drop-session`.
    pub dropped: u64,
}

/// Requests of clients that were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The server was full, and nobody qualified to make room (C10).
    pub full: u64,
    /// Their address opened too many sessions (S49).
    pub rate: u64,
    /// They came from another address than their session (C13).
    pub address: u64,
}
