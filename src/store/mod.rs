//! Where sessions are kept. A store decides nothing but what must be decided atomically: is the session live, is there
//! room, who begins its closing. It knows no HTTP, no clock and no command.

mod archive;
pub mod directory;
#[cfg(test)]
mod interleavings;
mod live;
pub mod memory;
mod record;
pub mod sqlite;
mod sync;
mod wait;

use std::collections::HashSet;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use uuid::Uuid;

pub use self::wait::{Place, Ticket};
use crate::access::{AdminToken, TokenName};
use crate::admin::{
    AuditPage, AuditQuery, Ended, HistoryPage, HistoryQuery, ListQuery, LockPage, LockQuery, Page,
};
use crate::application::{At, ProcessStatus, Saved};
use crate::audit::{Actor, Order, Verdict};
use crate::clock::Timestamp;
use crate::context::{Context, ContextError, Json, Lock, Name, Record, Selection};
use crate::error::Source;
use crate::on_close::{Freed, Invocation, MethodRun, RunKey};
use crate::options::{OptionError, OptionSpec, Settings, Value};
use crate::session::{
    Cause, ClosedSession, HeldLock, Kind, Process, ProcessNumber, Session, SessionId,
};
use crate::sessions::Visit;
use crate::token::TokenHash;

/// Keeps sessions; every method is one atomic step.
///
/// The publishing rule (ARCHITECTURE.md): refusals take effect in memory before the commit, permissions after it, and every
/// answer comes after the commit of what it says. Dropping a future never undoes or halves a change. There is no
/// roll-back: after a failed commit every method fails, and a restart reads the truth.
pub trait Store: Send + Sync + 'static {
    /// Looks a token up that came from an address. With [`Use::Request`], a live session's last request becomes `now`.
    fn visit(
        &self,
        token: &TokenHash,
        usage: Use,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Seen, Error>> + Send;

    /// Makes one atomic, durable change; answers after it is on disk.
    fn apply(
        &self,
        change: Change,
        now: Timestamp,
    ) -> impl Future<Output = Result<Applied, Error>> + Send;

    /// One session by its id.
    fn find(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Found, Error>> + Send;

    /// The processes of a session that is not closed; empty for any other.
    fn processes(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Process>, Error>> + Send;

    /// How a process stands, for whoever works with it: that renews its lease (C18).
    fn process(
        &self,
        at: At,
        now: Timestamp,
    ) -> impl Future<Output = Result<Result<ProcessStatus, Unfit>, Error>> + Send;

    /// What a process has, for whoever works with it: that renews its lease (C18).
    fn context(
        &self,
        at: At,
        now: Timestamp,
    ) -> impl Future<Output = Result<Result<Context, Unfit>, Error>> + Send;

    /// One page of the record locks.
    fn locks(&self, query: LockQuery) -> impl Future<Output = Result<LockPage, Error>> + Send;

    /// One page of the closed sessions, the last one first; of one session, if it is named.
    fn history(
        &self,
        query: HistoryQuery,
        id: Option<SessionId>,
    ) -> impl Future<Output = Result<HistoryPage, Error>> + Send;

    /// Every admin token that was made and not revoked, by name.
    fn tokens(&self) -> impl Future<Output = Result<Vec<Arc<AdminToken>>, Error>> + Send;

    /// The admin token with this hash; whether its time is over is for the caller to look at.
    fn token(
        &self,
        hash: &TokenHash,
    ) -> impl Future<Output = Result<Option<Arc<AdminToken>>, Error>> + Send;

    /// One page of the audit record, the last one first (S32).
    fn audit(&self, query: AuditQuery) -> impl Future<Output = Result<AuditPage, Error>> + Send;

    /// Goes over the whole audit record.
    fn verify_audit(&self) -> impl Future<Output = Result<Verdict, Error>> + Send;

    /// What the on-close method left for a session (C05), without handing it out.
    fn saved(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Result<Saved, Unfit>, Error>> + Send;

    /// Rings when something happens to a session that others may wait for: its closing begins or ends, or a process does.
    fn bell(&self, id: SessionId) -> Arc<Notify>;

    /// One page of the sessions that are not closed, in the order of opening.
    fn page(
        &self,
        query: ListQuery,
        now: Timestamp,
    ) -> impl Future<Output = Result<Page, Error>> + Send;

    /// Takes closing work that nobody has; nobody else gets it before `claim.until`.
    fn claim(
        &self,
        claim: Claim,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Work>, Error>> + Send;

    /// Writes the last requests that are only in memory, and that it is `now`; answers after they are on disk (C17, S14).
    fn flush(&self, now: Timestamp) -> impl Future<Output = Result<(), Error>> + Send;

    /// The settings in force.
    ///
    /// # Errors
    /// When the store cannot be relied on any more.
    fn settings(&self) -> Result<Arc<Settings>, Error>;

    /// How many sessions there are.
    fn census(&self) -> impl Future<Output = Result<Census, Error>> + Send;

    /// The last instant that the store knew of when it was opened: time does not go back behind it (S14).
    fn latest(&self) -> Timestamp;

    /// Whether changes are still acknowledged.
    fn health(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Why a token is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A request of the client: it moves the expiration (C12).
    Request,
    /// A look: it moves nothing.
    Look,
}

/// What a token is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nobody's: made up, closed, expired.
    Nobody,
    /// A live session's, and it came from another address than the session's (C13).
    OtherAddress,
    /// A session's until a login replaced it, a moment ago.
    Rotated,
    /// A live session's.
    Live(Visit),
    /// Its session needs a fresh process before it can take a request (C11).
    Suspended(SessionId),
}

/// One atomic change. None of them can bring back a session that is closing or closed (C16).
#[derive(Clone, Debug)]
pub enum Change {
    /// Opens a session. On a full server what is due makes room first, then who is idle (C10).
    Open(NewSession),
    /// Signs a user in, with a new token (S08). A suspended session gets a fresh process.
    LogIn {
        /// The session.
        id: SessionId,
        /// Who it is now.
        user: Arc<str>,
        /// What remains of the new secret.
        token_hash: TokenHash,
        /// Who makes room for it, for the record.
        actor: Actor,
    },
    /// Starts a process; a suspended session is active again by it.
    StartProcess {
        /// The session.
        id: SessionId,
        /// How long it lives unless it is named again (C18).
        lease: Option<Duration>,
        /// Who makes room for it, for the record.
        actor: Actor,
    },
    /// Ends a process on its application's word.
    EndProcess(At),
    /// Sets a variable, or takes it away.
    SetVariable(At, Name, Option<Json>),
    /// Sets a selection, or takes it away.
    SetSelection(At, Name, Option<Selection>),
    /// Locks a record, or queues the ticket for it.
    Lock(At, Record, Option<Arc<Ticket>>),
    /// Unlocks a record; with a fence, only the lock that has it.
    Unlock(At, Record, Option<u64>),
    /// Ends the process that a run of the on-close method was for; or, with its session closed, only records the run.
    FinishProcess {
        /// Which.
        key: RunKey,
        /// What became of it; `None` if there is no method.
        run: Option<MethodRun>,
        /// What it answered.
        saved: Option<Json>,
    },
    /// Hands out what the on-close method left for a session, once (C05).
    TakeSaved(SessionId),
    /// Forgets sessions that were closed before an instant, and that nothing is due for any more.
    Forget {
        /// The instant.
        before: Timestamp,
        /// How many at most.
        limit: usize,
    },
    /// Gives a suspended session a fresh process (C11); it needs room like a newcomer.
    Resume {
        /// The session.
        id: SessionId,
        /// Who makes room for it, for the record.
        actor: Actor,
    },
    /// Sets options at run time, all or none (C14).
    SetOptions(SetOptions),
    /// Makes an admin token (S31).
    CreateToken(NewToken),
    /// Revokes an admin token: it is refused from here on.
    RevokeToken {
        /// Which.
        name: TokenName,
        /// The operator who ordered it, for the audit record.
        ordered_by: Actor,
    },
    /// Keeps in the audit record what changes nothing else.
    Record(Vec<Order>),
    /// Begins the closing of a live session: its token is refused from here on.
    BeginClose(End),
    /// Ends a closing that was begun, with whatever it still has.
    FinishClose(SessionId),
    /// Ends a live or closing session at once.
    Drop(End),
    /// Does what is due: begins the closing of sessions, cause `inactive`; suspends those whose process is over; ends leases,
    /// grace periods, and closings that take too long.
    Expire {
        /// Who, for the record.
        actor: Actor,
        /// How many at most.
        limit: usize,
    },
    /// Of what is due, only what the closings of these sessions have. Nobody hears that a process is asked: no grace period.
    Hurry(Vec<SessionId>),
}

/// A session to open. The token's hash must be new, the id unused.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its handle.
    pub id: SessionId,
    /// What remains of its secret.
    pub token_hash: TokenHash,
    /// What kind of client it serves.
    pub kind: Kind,
    /// Who is signed in.
    pub user: Option<Arc<str>>,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// What the client says it is.
    pub user_agent: Option<Box<str>>,
    /// Of a mobile session: its own time-out.
    pub idle_timeout: Option<Duration>,
    /// The dead token that its client came with.
    pub previous: Option<TokenHash>,
    /// Who ends what makes room, for the record.
    pub actor: Actor,
    /// The operator who ordered it, for the audit record.
    pub ordered_by: Option<Actor>,
}

/// An admin token to make.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What remains of its secret; it must be new.
    pub hash: TokenHash,
    /// What operators see of it.
    pub token: Arc<AdminToken>,
    /// The operator who ordered it, for the audit record.
    pub ordered_by: Actor,
}

/// What closing work a worker takes.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Until when nobody else gets it.
    pub until: Timestamp,
    /// How many closings at most that need only their end.
    pub max: usize,
    /// How many processes at most whose on-close method is to run.
    pub runs: usize,
    /// Whether there is an on-close method, which needs the context.
    pub has_method: bool,
    /// Only the work of these sessions.
    pub only: Option<Arc<HashSet<SessionId>>>,
}

/// Closing work.
#[derive(Clone, Debug)]
pub enum Work {
    /// A closing that has nothing left but its end.
    Finish(SessionId),
    /// A process to run the method for, and to end; without a document where there is nothing to run.
    Process(RunKey, Option<Box<Invocation>>),
}

/// Why a session, or a process, does not fit a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// No such session.
    NotFound,
    /// It is closed.
    Closed(ClosedSession),
    /// It is closing.
    Closing,
    /// No such process.
    NoProcess,
    /// The process is closing.
    ProcessClosing,
    /// It has its process.
    HasProcess(ProcessNumber),
    /// No context takes this.
    Context(ContextError),
    /// Another process has it.
    Locked(Box<HeldLock>),
}

/// Who ends which session, and why.
#[derive(Clone, Debug)]
pub struct End {
    /// The session.
    pub id: SessionId,
    /// Why.
    pub cause: Cause,
    /// The operator's own text.
    pub reason: Option<String>,
    /// Who, for the record.
    pub actor: Actor,
    /// Recognises a retry (C15).
    pub request_id: Option<Uuid>,
}

impl End {
    /// The end of a session by nobody's order: its time is over, or its place is needed.
    pub fn by_itself(id: SessionId, cause: Cause, actor: &Actor) -> Self {
        Self {
            id,
            cause,
            reason: None,
            actor: actor.clone(),
            request_id: None,
        }
    }
}

/// Options to set; `None` resets one.
#[derive(Clone, Debug)]
pub struct SetOptions {
    /// The options with their values, checked.
    pub changes: Vec<(&'static OptionSpec, Option<Value>)>,
    /// Whether sessions may end by it.
    pub may_end: bool,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// Who ends what has no room any more, for the record.
    pub actor: Actor,
    /// The operator who ordered it, for the audit record.
    pub ordered_by: Actor,
}

/// What new options do to sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impact {
    /// Sessions that end at once.
    pub ends: u64,
    /// Sessions whose clients have a cookie of the old name: they are not recognised any more.
    pub strands: u64,
}

/// How many sessions there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Sessions whose cookie is accepted and whose process has not ended.
    pub active: u64,
    /// Sessions whose next request gets a fresh process.
    pub suspended: u64,
    /// Sessions whose closing is under way.
    pub closing: u64,
    /// On-close methods that are still to run, or run now, for processes that have ended (C09).
    pub late: u64,
    /// Sessions that count against `max_sessions`.
    pub counted: u64,
    /// What happened since the store was opened.
    pub tally: Tally,
}

/// What happened to sessions since a store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions that were opened.
    pub opened: u64,
    /// Sessions whose process ended before they did.
    pub suspended: u64,
    /// Sessions that ended, by cause.
    pub ended: Ended,
}

/// Who ended so that another had room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeRoom {
    /// Sessions that were due anyway.
    pub due: Vec<SessionId>,
    /// Idle sessions, evicted.
    pub evicted: Vec<SessionId>,
}

/// What a change found and did.
#[derive(Clone, Debug)]
pub enum Applied {
    /// The session is open.
    Opened(Session, MadeRoom),
    /// The session has a fresh process; `None` if it ended meanwhile.
    Resumed(Option<Visit>, MadeRoom),
    /// The limit is reached and nobody qualifies to make room; nothing was opened.
    Full {
        /// The limit.
        limit: usize,
        /// What was due and ended all the same.
        made: MadeRoom,
    },
    /// The server's mode is `none`; nothing was opened.
    NoSessions,
    /// The session was opened in scalable mode: a closing by command is ignored (C02).
    Ignored(Session),
    /// Somebody is signed in.
    LoggedIn(Session, MadeRoom),
    /// A process was started.
    Started(ProcessStatus, MadeRoom),
    /// It is done.
    Done,
    /// What the on-close method had left.
    Saved(Saved),
    /// The record is locked.
    Locked(Lock),
    /// The ticket waits.
    Queued,
    /// Nothing was changed.
    Unfit(Unfit),
    /// So many closed sessions were forgotten.
    Forgotten(usize),
    /// So many sessions were due.
    Expired {
        /// Sessions whose closing began.
        closed: Vec<SessionId>,
        /// Methods that had no time, and run when their processes have ended (C09).
        late: usize,
        /// Whether these were all: if not, ask again.
        is_all: bool,
    },
    /// Options were set, or would have been.
    OptionsSet {
        /// Whether they are in force.
        is_set: bool,
        /// What they do to sessions.
        impact: Impact,
        /// Who was evicted for it.
        evicted: Vec<SessionId>,
    },
    /// A value is refused; nothing was set.
    OptionRefused(OptionError),
    /// No admin token has this name; nothing was changed.
    NoToken,
    /// An admin token has this name; none was made.
    TokenExists,
    /// There are as many admin tokens as there may be; none was made.
    TooManyTokens,
    /// What an ending came upon, and what it did.
    Ended {
        /// How the session stands after the change.
        found: Found,
        /// The part that the call had in it.
        part: Part,
    },
}

/// The part that a call, or an earlier try of it with the same request id, had in the ending of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It began the ending. Exactly one call does (C15).
    Began,
    /// It cut a closing short that another call had begun.
    CutShort,
    /// None: there was nothing to end, or others had seen to it.
    None,
}

/// How a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No such session.
    Unknown,
    /// Not closed; with the cause of its closing if that has begun, and what that has come to.
    Open(Session, Option<Cause>, Closure),
    /// Closed.
    Closed(ClosedSession, Closure),
}

/// What an ending came to: what it freed, and the runs of the on-close method (C06).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// What was freed.
    pub freed: Freed,
    /// The runs.
    pub on_close: Vec<MethodRun>,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A change was handed to the disk and not confirmed: whether it is there, only a restart tells.
    #[error("the disk did not confirm the change; whether it was made shows after a restart")]
    Unconfirmed(#[source] Source),
    /// More changes wait for the disk than may wait; nothing was changed.
    #[error("too many changes are waiting for the disk")]
    Busy,
    /// An earlier change could not be made durable: the store acknowledges nothing more, and nothing was changed now.
    #[error("an earlier change could not be written to disk; restart to read what is there")]
    Poisoned(#[source] Source),
    /// The store was opened for looking only.
    #[error("the store was opened for looking only")]
    ReadOnly,
    /// The disk could not be read; nothing was changed.
    #[error("the store cannot be read")]
    Unreadable(#[source] Source),
}
