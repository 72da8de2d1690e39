//! The sessions of one store, with the rules that need no atomicity: minting, waiting, finishing, sweeping. Does what
//! `Admin`, `Sessions` and `Application` ask; knows neither HTTP nor commands.

mod access;
mod admin;
mod application;
mod closing;
mod counters;
mod on_close;
mod options;
mod rate;
mod sessions;
mod sweep;

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::access::Refusals;
use self::admin::outcome;
use self::closing::Running;
use self::counters::{Counters, Refusal};
pub use self::on_close::{ON_CLOSE_VARIABLE, OnClose};
use self::rate::OpenRate;
use crate::admin::{Actor, EndRequest, Ending, OpenRequest, Opened, Outcome};
use crate::clock::{Clock, Timeline, Timestamp};
use crate::cookie::CookiePolicy;
use crate::error::Error;
use crate::on_close::{MethodResult, MethodRun};
use crate::options::Settings;
use crate::session::{Cause, Session, SessionId};
use crate::store::{
    Applied, Change, End, Error as StoreError, Found, MadeRoom, NewSession, Part, Store,
};
use crate::token::{Token, TokenHash};

/// Characters of a client's description of itself that are kept.
const USER_AGENT_LIMIT: usize = 512;

/// How often those who wait to be told of something look by themselves.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long a command without a server stays for the closings that it did not ask for.
const LONGEST_DRAIN: Duration = Duration::from_secs(15);

/// What a client that found no room is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What a client is told that came at the wrong moment.
const BUSY: Error = Error::Busy {
    retry_after: Duration::from_secs(1),
};

/// The registry of a store. Cheap to clone; clones are the same registry.
pub struct Registry<S> {
    inner: Arc<Inner<S>>,
    /// Whether what it begins is waited for by [`Registry::work_while`], though nobody there asked for it.
    is_aside: bool,
}

impl<S> Clone for Registry<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            is_aside: self.is_aside,
        }
    }
}

struct Inner<S> {
    store: S,
    time: Timeline,
    since: Timestamp,
    /// The cookie that follows from the settings in force, made once for each.
    cookie: Mutex<Option<(Arc<Settings>, Arc<CookiePolicy>)>>,
    open_rate: OpenRate,
    counters: Counters,
    refusals: Refusals,
    on_close: OnClose,
    /// The runs of the on-close method under way.
    running: Arc<Running>,
    /// Wakes the closing worker.
    begun: Notify,
    /// Where it does the work of no others: without a server.
    own: Mutex<Option<Own>>,
}

/// Closings that a registry began.
#[derive(Default)]
struct Own {
    begun: Arc<HashSet<SessionId>>,
    /// Those that nobody asked for: of sessions that were due, or that made room.
    gone: Vec<SessionId>,
}

impl<S: Store> Registry<S> {
    /// A registry over `store`, which brings its settings. Its time starts with the clock's, but never before the last
    /// instant that the store knows of (S14). It calls nothing when a session closes.
    pub fn new(store: S, clock: Arc<dyn Clock>) -> Self {
        Self::with_on_close(store, clock, OnClose::default())
    }

    /// The same with an on-close method (C05).
    pub fn with_on_close(store: S, clock: Arc<dyn Clock>, on_close: OnClose) -> Self {
        let time = Timeline::starting(clock, store.latest());
        Self {
            is_aside: false,
            inner: Arc::new(Inner {
                store,
                since: time.now(),
                time,
                cookie: Mutex::default(),
                open_rate: OpenRate::default(),
                counters: Counters::default(),
                refusals: Refusals::default(),
                on_close,
                running: Arc::default(),
                begun: Notify::new(),
                own: Mutex::default(),
            }),
        }
    }

    /// The store under it.
    pub fn store(&self) -> &S {
        &self.inner.store
    }

    /// Does the registry's own work (finishing closings, closing what is due, writing touches) until `stop` is ready;
    /// then writes the touches once more. Stopping closes no session (C17).
    ///
    /// # Errors
    /// When the last requests could not be written.
    pub async fn run(&self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let stopping = Notify::new();
        let sweeping = async {
            tokio::select! {
                never = self.sweep_regularly() => match never {},
                () = stop => stopping.notify_one(),
            }
        };
        tokio::join!(sweeping, self.finish_closings_until(stopping.notified()));
        self.record_refusals(true).await;
        Ok(self.inner.store.flush(self.now()).await?)
    }

    /// Finishes the closings that `task` begins, while it runs and for a while after that: all of the registry's own work that
    /// a command without a server needs. Closings that others have begun are left alone, and so are those that `task` does
    /// not want to wait for.
    pub async fn work_while<T>(&self, task: impl Future<Output = T>) -> T {
        self.own().get_or_insert_default();
        let mut tasks = JoinSet::new();
        let task = async {
            let done = task.await;
            // Whoever had to go for it was not asked whether somebody waits.
            let _ = tokio::time::timeout(LONGEST_DRAIN, self.until_made_room()).await;
            done
        };
        tokio::select! {
            biased;
            done = task => done,
            never = self.finish_closings(&mut tasks) => match never {},
            never = self.hurry_own_closings() => match never {},
        }
    }

    /// The same registry for an on-close method that [`Registry::work_while`] runs: what that closes is not left behind.
    #[must_use]
    pub fn aside(&self) -> Self {
        Self {
            is_aside: true,
            ..self.clone()
        }
    }

    async fn until_made_room(&self) {
        let next = || self.own().as_mut().and_then(|own| own.gone.pop());
        while let Some(id) = next() {
            // A store that fails ends no closing.
            let _ = self.until_ended(id).await;
        }
    }

    fn own(&self) -> MutexGuard<'_, Option<Own>> {
        self.inner
            .own
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The closings that this registry began, if it does the work of no others.
    fn own_closings(&self) -> Option<Arc<HashSet<SessionId>>> {
        self.own().as_ref().map(|own| Arc::clone(&own.begun))
    }

    /// The closing of this session was begun, by somebody who decides whether to wait for it.
    fn began(&self, id: SessionId) {
        if let Some(own) = self.own().as_mut() {
            Arc::make_mut(&mut own.begun).insert(id);
        }
        self.inner.begun.notify_one();
    }

    /// Work for a session was done: once nothing is left of it, it is no more among this registry's own.
    async fn let_go(&self, id: SessionId) {
        if self.own().is_none() {
            return;
        }
        let is_pending = |run: &MethodRun| run.result == MethodResult::Pending;
        let found = self.inner.store.find(id, self.now()).await;
        let is_over = matches!(found, Ok(Found::Closed(_, closure)) if !closure.on_close.iter().any(is_pending));
        if let Some(own) = self.own().as_mut().filter(|_| is_over) {
            Arc::make_mut(&mut own.begun).remove(&id);
        }
    }

    /// The closings of these sessions were begun by the way.
    fn began_aside(&self, ids: &[SessionId]) {
        if let Some(own) = self.own().as_mut() {
            Arc::make_mut(&mut own.begun).extend(ids);
            own.gone.extend(ids);
        }
        self.inner.begun.notify_one();
    }

    fn now(&self) -> Timestamp {
        self.inner.time.now()
    }

    /// Opens a session for a client that came by itself: its address may do so only so often (S49).
    async fn open_for_client(
        &self,
        client: OpenRequest,
        previous: Option<TokenHash>,
    ) -> Result<(Session, Token), Error> {
        let settings = self.inner.store.settings()?;
        let options = settings.options();
        let (Some(rate), Some(ip)) = (options.open_rate, client.ip) else {
            return self.open_session(client, previous).await;
        };
        let counted = self
            .inner
            .open_rate
            .count(options.client_of(ip), rate, self.now());
        let counted = counted.map_err(|retry_after| {
            self.inner.counters.count(&Refusal::Rate);
            tracing::debug!(%ip, "a session was not opened: too many from this address");
            Error::TooManyOpens { retry_after }
        })?;
        let opened = self.open_session(client, previous).await;
        if opened.is_err() {
            self.inner.open_rate.take_back(&counted);
        }
        opened
    }

    /// Opens a session, for a client that came with a dead token or with none.
    async fn open_session(
        &self,
        request: OpenRequest,
        previous: Option<TokenHash>,
    ) -> Result<(Session, Token), Error> {
        request.validate().map_err(Error::Invalid)?;
        let token = Token::mint().map_err(|error| Error::Internal(error.into()))?;
        let new = NewSession {
            id: SessionId::random(),
            token_hash: token.hash(),
            kind: request.kind,
            user: request.user.map(Arc::from),
            ip: request.ip.map(|ip| ip.to_canonical()),
            user_agent: request.user_agent.map(|text| {
                text.chars()
                    .take(USER_AGENT_LIMIT)
                    .collect::<String>()
                    .into()
            }),
            idle_timeout: request.idle_timeout.map(Duration::from_millis),
            previous,
            actor: Actor::server(),
            ordered_by: request.actor,
        };
        let applied = self
            .inner
            .store
            .apply(Change::Open(new), self.now())
            .await?;
        match applied {
            Applied::Opened(session, made) => {
                self.made_room(&made);
                Ok((session, token))
            }
            Applied::Full { limit, made } => Err(self.full(limit, &made)),
            Applied::NoSessions => Err(Error::NoSessions),
            // Somebody closed it before its client knew of it.
            _ => Err(BUSY),
        }
    }

    /// Begins a closing and waits for its end; the worker ends it, whether or not anybody waits.
    async fn close_for(
        &self,
        id: SessionId,
        cause: Cause,
        request: EndRequest,
    ) -> Result<Outcome, Error> {
        let (wait, must_exist) = (request.wait, request.must_exist);
        let applied = self
            .inner
            .store
            .apply(Change::BeginClose(end(id, cause, request)), self.now())
            .await?;
        if self.is_aside {
            self.began_aside(&[id]);
        } else {
            self.began(id);
        }
        let outcome = outcome(id, applied);
        if outcome.outcome == Ending::Closing && !wait.is_zero() {
            let _ = tokio::time::timeout(wait, self.until_ended(id)).await;
            // If nothing is seen now, because the store failed meanwhile, the outcome stays what it was: begun.
            return Ok(match self.inner.store.find(id, self.now()).await {
                Ok(found @ (Found::Open(..) | Found::Closed(..))) => Outcome {
                    initiated: outcome.initiated,
                    ..self::outcome(
                        id,
                        Applied::Ended {
                            found,
                            part: Part::Began,
                        },
                    )
                },
                _ => outcome,
            });
        }
        checked(outcome, must_exist)
    }

    /// Who ended for a newcomer is logged (S49); their closings are the worker's.
    fn made_room(&self, made: &MadeRoom) {
        self.began_aside(&made.evicted);
        self.began_aside(&made.due);
        self.evicted(&made.evicted, "a newcomer needed its place");
    }

    fn evicted(&self, ids: &[SessionId], why: &str) {
        for id in ids {
            tracing::info!(%id, "session evicted: {why}");
        }
    }

    fn full(&self, limit: usize, made: &MadeRoom) -> Error {
        self.made_room(made);
        self.inner.counters.count(&Refusal::Full);
        tracing::debug!(
            limit,
            "a client was refused: the server is full, and nobody is idle who may make room"
        );
        Error::LimitReached {
            limit,
            retry_after: RETRY_AFTER,
        }
    }

    /// Waits until a session is closed.
    async fn until_ended(&self, id: SessionId) -> Result<(), Error> {
        loop {
            let bell = self.inner.store.bell(id);
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();
            let found = self.inner.store.find(id, self.now()).await?;
            if !matches!(found, Found::Open(..)) {
                return Ok(());
            }
            // A store that fails rings no bell.
            let _ = tokio::time::timeout(LOOK_AGAIN, rung).await;
        }
    }

    /// What its opener is told of a session, once: the secret, and the cookie that it belongs into.
    fn opened(&self, session: Session, token: Token) -> Result<Opened, Error> {
        let cookie = self.cookie_policy()?;
        let settings = self.inner.store.settings()?;
        let since = session.login_at.unwrap_or(session.created_at);
        let lifetime = settings.options().ends_at(since).since(self.now());
        Ok(Opened {
            cookie_name: cookie.name().into(),
            set_cookie: cookie.set(&token, lifetime),
            session,
            token,
        })
    }
}

fn end(id: SessionId, cause: Cause, request: EndRequest) -> End {
    let EndRequest {
        reason,
        actor,
        request_id,
        ..
    } = request;
    End {
        id,
        cause,
        reason: reason.map(String::from),
        actor,
        request_id,
    }
}

/// Tells of a failure of the store, but not of what follows from the one that has stopped it and that it has told itself.
/// A store that has much to write has not failed: what it did not take is done with the next look.
fn tell_failure_of_store(error: &StoreError, what: &str) {
    match error {
        StoreError::Busy | StoreError::Poisoned(_) | StoreError::Unconfirmed(_) => {
            tracing::debug!(%error, "{what}");
        }
        _ => tracing::error!(%error, "{what}"),
    }
}

fn checked(outcome: Outcome, must_exist: bool) -> Result<Outcome, Error> {
    match outcome.outcome {
        Ending::NotFound if must_exist => Err(Error::NotFound(outcome.id)),
        _ => Ok(outcome),
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy {
                retry_after: Duration::from_secs(1),
            },
            StoreError::ReadOnly => Self::Internal(error.into()),
            StoreError::Unconfirmed(source) => Self::Unconfirmed(source),
            error => Self::Unavailable(error.into()),
        }
    }
}
