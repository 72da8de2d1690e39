//! What an operator can do. The seam between commands and the world: `Registry` does it, `client::Client` asks a server.
//!
//! Arguments and results are plain values that could cross any wire; a new command is a new method here.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::{AdminToken, MintedToken, TokenName, TokenRequest};
pub use crate::audit::Actor;
use crate::audit::{AuditRecord, Verdict};
use crate::clock::Timestamp;
use crate::context::Name;
use crate::error::Error;
use crate::on_close::{Freed, MethodRun};
use crate::options::{LONGEST_TIMEOUT, OptionState, Value};
use crate::session::{Cause, HeldLock, Kind, Mode, Seq, Session, SessionDetails, SessionId, words};
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

    /// One session that is not closed, with its processes.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown id, [`Error::Closed`] for a closed session.
    fn show(&self, id: SessionId) -> impl Future<Output = Result<SessionDetails, Error>> + Send;

    /// One page of the record locks, in the order of their records.
    fn locks(&self, query: LockQuery) -> impl Future<Output = Result<LockPage, Error>> + Send;

    /// One page of the sessions that are closed, the last one first.
    fn history(
        &self,
        query: HistoryQuery,
    ) -> impl Future<Output = Result<HistoryPage, Error>> + Send;

    /// What is remembered of a closed session.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an id that is unknown, forgotten, or of a session that is not closed.
    fn closed(&self, id: SessionId) -> impl Future<Output = Result<HistoryEntry, Error>> + Send;

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

    /// Every admin token that was made and not revoked, by name.
    fn tokens(&self) -> impl Future<Output = Result<Vec<AdminToken>, Error>> + Send;

    /// Makes an admin token. Its secret is told this once; only a hash of it is kept (S31).
    ///
    /// # Errors
    /// [`Error::TokenExists`] for a name that is taken, [`Error::Invalid`] for a time that no token has.
    fn create_token(
        &self,
        request: TokenRequest,
    ) -> impl Future<Output = Result<MintedToken, Error>> + Send;

    /// Revokes an admin token: it lets nobody in from the answer on, and whoever waits with it waits no longer.
    ///
    /// # Errors
    /// [`Error::NoToken`] for a name that no token has.
    fn revoke_token(
        &self,
        name: TokenName,
        actor: Actor,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// One page of the audit record, the last one first (S32).
    fn audit(&self, query: AuditQuery) -> impl Future<Output = Result<AuditPage, Error>> + Send;

    /// Goes over the whole audit record: whether it is what was written.
    fn verify_audit(&self) -> impl Future<Output = Result<Verdict, Error>> + Send;

    /// How many sessions there are, and what happened since the start.
    fn stats(&self) -> impl Future<Output = Result<Stats, Error>> + Send;

    /// Whether the service acknowledges changes.
    fn ready(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Which page of the audit record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// The records before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Seq>,
    /// Records at most; [`PAGE_LIMIT`] when absent or greater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl AuditQuery {
    /// The records that a page for this query has at most.
    pub fn page_size(&self) -> usize {
        self.limit.unwrap_or(PAGE_LIMIT).clamp(1, PAGE_LIMIT)
    }
}

/// A page of the audit record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// The records, the last one first.
    pub items: Vec<AuditRecord>,
    /// Whether there are more before.
    pub truncated: bool,
}

/// Which page of the sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Which page of the record locks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockQuery {
    /// Only those of this table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Name>,
    /// Only that of this record of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Name>,
    /// Only those that this session holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Only those after this record of this table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_table: Option<Name>,
    /// See `after_table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_record: Option<Name>,
    /// Rows at most; [`PAGE_LIMIT`] when absent or greater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl LockQuery {
    /// The query for what comes after a lock.
    #[must_use]
    pub fn after(mut self, lock: &HeldLock) -> Self {
        self.after_table = Some(lock.table.clone());
        self.after_record = Some(lock.record.clone());
        self
    }
}

/// One page of the record locks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockPage {
    /// The locks.
    pub items: Vec<HeldLock>,
    /// Whether there are more.
    pub truncated: bool,
}

/// Which page of the closed sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Only those of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Only those that ended for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Only those that ended at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only those whose end has a smaller `seq`: the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Seq>,
    /// Rows at most; [`PAGE_LIMIT`] when absent or greater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// One page of the closed sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The sessions, the last one first.
    pub items: Vec<HistoryEntry>,
    /// Whether there are more.
    pub truncated: bool,
}

/// What is remembered of a closed session. Fields that an older version did not keep are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// The handle that it had.
    pub id: SessionId,
    /// What kind of client it served.
    pub kind: Option<Kind>,
    /// The mode that it was opened in.
    pub mode: Option<Mode>,
    /// Who was signed in. Untrusted text.
    pub user: Option<String>,
    /// The client's address at opening.
    pub ip: Option<IpAddr>,
    /// What the client said it was at opening. Untrusted text.
    pub user_agent: Option<String>,
    /// When it was opened.
    pub created_at: Option<Timestamp>,
    /// When the user signed in.
    pub login_at: Option<Timestamp>,
    /// When the last request came.
    pub last_request_at: Option<Timestamp>,
    /// When its closing began: from then on its cookie was refused.
    pub begun_at: Timestamp,
    /// When it ended.
    pub closed_at: Timestamp,
    /// Always 1970-01-01T00:00:00Z (C03).
    pub expires_at: Timestamp,
    /// Why it ended.
    pub cause: Cause,
    /// The operator's own text. Untrusted.
    pub reason: Option<String>,
    /// Who ended it.
    pub actor: String,
    /// What its end has freed (C06).
    #[serde(flatten)]
    pub freed: Freed,
    /// The runs of the on-close method, also of processes that ended before it did.
    pub on_close: Vec<MethodRun>,
    /// Orders the ends.
    pub seq: Seq,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// What has been freed so far (C06).
    #[serde(flatten)]
    pub freed: Freed,
    /// The runs of the on-close method so far, one for each process (C08).
    #[serde(default)]
    pub on_close: Vec<MethodRun>,
}

/// What a session is opened with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenRequest {
    /// Who is signed in; `None` for a guest. At most [`USER_LIMIT`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = USER_LIMIT))]
    pub user: Option<String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// What the client says it is. Cut to what a store keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// What kind of client it serves.
    #[serde(default = "web")]
    pub kind: Kind,
    /// Milliseconds without a request after which a mobile session ends; [`MOBILE_TIMEOUT`] when absent, and at least. For
    /// mobile sessions only (C11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = MOBILE_TIMEOUT.as_millis() as u64, max = LONGEST_TIMEOUT.as_millis() as u64))]
    pub idle_timeout: Option<u64>,
    /// Which operator orders it; nobody if a client comes by itself, or an application opens it for one. A server puts in
    /// whom it authenticated.
    #[serde(skip)]
    pub actor: Option<Actor>,
}

impl Default for OpenRequest {
    fn default() -> Self {
        Self {
            user: None,
            ip: None,
            user_agent: None,
            kind: Kind::Web,
            idle_timeout: None,
            actor: None,
        }
    }
}

fn web() -> Kind {
    Kind::Web
}

/// How long a mobile session lives without a request, unless it asks for longer: as in 4D (C11).
pub const MOBILE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Refuses a user name that is empty, too long, or could not stand in a header.
///
/// # Errors
/// A text that says what is wrong.
pub fn check_user(user: &str) -> Result<(), String> {
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

impl OpenRequest {
    /// Refuses a user name that is none, and a time-out that such a session does not have.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(user) = &self.user {
            check_user(user)?;
        }
        let Some(timeout) = self.idle_timeout.map(Duration::from_millis) else {
            return Ok(());
        };
        if self.kind != Kind::Mobile {
            return Err(
                "an idle time-out of its own is for a mobile session; a web session goes by inactive_session_timeout"
                    .into(),
            );
        }
        if timeout < MOBILE_TIMEOUT || timeout > LONGEST_TIMEOUT {
            return Err("the idle time-out of a mobile session is 60 minutes to 400 days".into());
        }
        Ok(())
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

/// A session that was opened, or signed in to, on a client's behalf.
#[derive(Clone)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Its secret, told this once.
    pub token: Token,
    /// The name that the client's cookie must have, prefix included.
    pub cookie_name: String,
    /// The whole `Set-Cookie` value for the client. A secret: the token is in it.
    pub set_cookie: String,
}

impl fmt::Debug for Opened {
    /// Leaves out the `Set-Cookie` value: a text does not hide itself as a [`Token`] does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("session", &self.session)
            .field("token", &self.token)
            .field("cookie_name", &self.cookie_name)
            .finish_non_exhaustive()
    }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// How sessions are managed that are opened now.
    pub mode: Mode,
    /// Sessions whose cookie is accepted and whose process has not ended.
    pub active: u64,
    /// Sessions whose next request gets a fresh process.
    pub suspended: u64,
    /// Sessions whose closing is under way.
    pub closing: u64,
    /// On-close methods that are still to run, or run now, for processes that have ended (C09).
    #[serde(default)]
    pub late: u64,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Because a backup was brought back, or all were ended at a start.
    #[serde(default)]
    pub restored: u64,
}

impl Ended {
    /// Counts one more.
    pub fn count(&mut self, cause: Cause) {
        let counter = match cause {
            Cause::Command => &mut self.command,
            Cause::Logout => &mut self.logout,
            Cause::Inactive => &mut self.inactive,
            Cause::Evicted => &mut self.evicted,
            Cause::Dropped => &mut self.dropped,
            Cause::Restored => &mut self.restored,
        };
        *counter += 1;
    }
}

/// Requests of clients that were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// The server was full, and nobody qualified to make room (C10).
    pub full: u64,
    /// Their address opened too many sessions (S49).
    pub rate: u64,
    /// They came from another address than their session (C13).
    pub address: u64,
}
