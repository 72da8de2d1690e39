//! What an application can do with the sessions of its clients: open them and sign users in, start processes, and keep
//! variables, selections and record locks in them.

use std::future::Future;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::{OpenRequest, Opened};
use crate::clock::Timestamp;
use crate::context::{Context, Json, Lock, Name, Record, Selection};
use crate::error::Error;
use crate::session::{ProcessNumber, ProcessState, SessionId};

/// The longest that a long poll, or a request for a lock, may wait.
pub const LONGEST_POLL: Duration = Duration::from_secs(60);

/// The shortest lease of a process (C18).
pub const SHORTEST_LEASE: Duration = Duration::from_secs(30);

/// The longest lease of a process (C18).
pub const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// What an application can do. Every call that names a process renews its lease (C18).
///
/// Errors are the same everywhere: [`Error::NotFound`] and [`Error::Closed`] for the session, [`Error::Closing`] for what a
/// closing refuses, [`Error::NoProcess`] and [`Error::ProcessClosing`] for the process.
pub trait Application: Send + Sync {
    /// Opens a session; its token is told this once.
    fn open(&self, request: OpenRequest) -> impl Future<Output = Result<Opened, Error>> + Send;

    /// Signs a user in: the session is the user's, its old token is dead and the new one valid in the same commit (S08).
    fn log_in(
        &self,
        id: SessionId,
        user: String,
    ) -> impl Future<Output = Result<Opened, Error>> + Send;

    /// Starts a process; a suspended web session is active again by it.
    ///
    /// # Errors
    /// [`Error::HasProcess`] for a web session that has its process.
    fn start_process(
        &self,
        id: SessionId,
        lease: Option<Duration>,
    ) -> impl Future<Output = Result<ProcessStatus, Error>> + Send;

    /// Ends a process: its context is reset without the on-close method, unless it was asked to finish (C08).
    fn end_process(&self, at: At) -> impl Future<Output = Result<(), Error>> + Send;

    /// How a process stands. Comes back at once when it is not running, and else after so long or when it is asked to finish.
    fn poll_process(
        &self,
        at: At,
        wait: Duration,
    ) -> impl Future<Output = Result<ProcessStatus, Error>> + Send;

    /// The context of a process, values included.
    fn context(&self, at: At) -> impl Future<Output = Result<Context, Error>> + Send;

    /// Sets a variable, or takes it away.
    ///
    /// # Errors
    /// [`Error::Context`] for what no context takes.
    fn set_variable(
        &self,
        at: At,
        name: Name,
        value: Option<Json>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sets a selection, or takes it away.
    ///
    /// # Errors
    /// [`Error::Context`] for what no context takes.
    fn set_selection(
        &self,
        at: At,
        name: Name,
        selection: Option<Selection>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Locks a record. A holder that asks again has it already. Who comes first gets it first; dropping the future gives up.
    ///
    /// # Errors
    /// [`Error::LockHeld`] when another holds it after `wait`.
    fn lock(
        &self,
        at: At,
        record: Record,
        wait: Duration,
    ) -> impl Future<Output = Result<Lock, Error>> + Send;

    /// Unlocks a record; one that the process has not locked is left alone.
    fn unlock(&self, at: At, record: Record) -> impl Future<Output = Result<(), Error>> + Send;

    /// Hands out what the on-close method left for this session, once: the processes of the session that ended before, and
    /// the session before that its client had (C05).
    fn take_saved(&self, id: SessionId) -> impl Future<Output = Result<Saved, Error>> + Send;

    /// The same without handing it out.
    fn look_at_saved(&self, id: SessionId) -> impl Future<Output = Result<Saved, Error>> + Send;
}

/// A process of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The session.
    pub id: SessionId,
    /// Its process.
    pub process: ProcessNumber,
}

/// How a process stands, as its application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessStatus {
    /// The session.
    pub id: SessionId,
    /// The process.
    pub number: ProcessNumber,
    /// Where it stands: `asked` is the time to finish.
    pub state: ProcessState,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ends unless it is named before (C18).
    pub lease_until: Option<Timestamp>,
}

/// What the on-close method left (C05).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The session that the client had before, if it may inherit from it.
    pub previous: Option<SessionId>,
    /// What was left, by session and process.
    pub items: Vec<SavedInformation>,
}

/// What the on-close method left of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SavedInformation {
    /// Whose process it was: the session itself, or the one before.
    pub session: SessionId,
    /// The process.
    pub process: ProcessNumber,
    /// What the method answered.
    pub information: Json,
}

/// Checks the length of a lease (C18).
///
/// # Errors
/// [`Error::Invalid`] for one that is too short or too long.
pub fn check_lease(lease: Duration) -> Result<(), Error> {
    if (SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease) {
        Ok(())
    } else {
        Err(Error::Invalid("a lease is 30 seconds to 1 hour".into()))
    }
}
