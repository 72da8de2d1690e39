//! The sessions of one store, with the rules that need no atomicity: minting, waiting, finishing, sweeping. Does what
//! `Admin` and `Sessions` ask; knows neither HTTP nor commands.

mod closing;
mod counters;
mod options;
mod rate;
mod sweep;

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use self::counters::{Counters, Refusal};
use self::rate::OpenRate;
use crate::admin::{
    Actor, Admin, EndRequest, Ending, ListQuery, OpenRequest, Opened, OptionsSet, Outcome, Page,
    SetRequest, Stats,
};
use crate::clock::{Clock, Timeline, Timestamp};
use crate::cookie::CookiePolicy;
use crate::error::Error;
use crate::options::{OptionState, Settings};
use crate::session::{Cause, Kind, Session, SessionId};
use crate::sessions::{Entered, Sessions, Visit};
use crate::store::{
    Applied, Census, Change, End, Error as StoreError, Found, MadeRoom, NewSession, Part, Seen,
    Store, Use,
};
use crate::token::Token;

/// Characters of a client's description of itself that are kept.
const USER_AGENT_LIMIT: usize = 512;

/// How often those who wait to be told of something look by themselves.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What a client that found no room is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What a client is told that came at the wrong moment.
const BUSY: Error = Error::Busy {
    retry_after: Duration::from_secs(1),
};

/// The registry of a store. Cheap to clone; clones are the same registry.
pub struct Registry<S> {
    inner: Arc<Inner<S>>,
}

impl<S> Clone for Registry<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
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
    /// Wakes the closing worker.
    begun: Notify,
    /// Changes whenever a closing has finished, for those who wait for one.
    finished: watch::Sender<()>,
}

impl<S: Store> Registry<S> {
    /// A registry over `store`, which brings its settings. Its time starts with the clock's, but never before the last
    /// instant that the store knows of (S14).
    pub fn new(store: S, clock: Arc<dyn Clock>) -> Self {
        let (begun, finished) = (Notify::new(), watch::Sender::new(()));
        let time = Timeline::starting(clock, store.latest());
        Self {
            inner: Arc::new(Inner {
                store,
                since: time.now(),
                time,
                cookie: Mutex::default(),
                open_rate: OpenRate::default(),
                counters: Counters::default(),
                begun,
                finished,
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
        self.work_while(async {
            tokio::select! {
                never = self.sweep_regularly() => match never {},
                () = stop => {}
            }
        })
        .await;
        Ok(self.inner.store.flush(self.now()).await?)
    }

    /// Finishes closings while `task` runs: all of the registry's own work that a command without a server needs.
    pub async fn work_while<T>(&self, task: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = task => done,
            never = self.finish_closings() => match never {},
        }
    }

    fn now(&self) -> Timestamp {
        self.inner.time.now()
    }

    /// Opens a session for a client that came by itself: its address may do so only so often (S49).
    async fn open_for_client(&self, client: OpenRequest) -> Result<(Session, Token), Error> {
        let settings = self.inner.store.settings()?;
        let options = settings.options();
        let (Some(rate), Some(ip)) = (options.open_rate, client.ip) else {
            return self.open_session(client).await;
        };
        let counted = self
            .inner
            .open_rate
            .count(options.client_of(ip), rate, self.now());
        let counted = counted.map_err(|retry_after| {
            self.inner.counters.refused(&Refusal::Rate);
            tracing::debug!(%ip, "a session was not opened: too many from this address");
            Error::TooManyOpens { retry_after }
        })?;
        let opened = self.open_session(client).await;
        if opened.is_err() {
            self.inner.open_rate.take_back(&counted);
        }
        opened
    }

    async fn open_session(&self, request: OpenRequest) -> Result<(Session, Token), Error> {
        request.validate().map_err(Error::Invalid)?;
        let token = Token::mint().map_err(|error| Error::Internal(error.into()))?;
        let new = NewSession {
            id: SessionId::random(),
            token_hash: token.hash(),
            kind: Kind::Web,
            user: request.user.map(Arc::from),
            ip: request.ip.map(|ip| ip.to_canonical()),
            user_agent: request.user_agent.map(|text| {
                text.chars()
                    .take(USER_AGENT_LIMIT)
                    .collect::<String>()
                    .into()
            }),
            actor: Actor::server().to_string(),
        };
        let applied = self
            .inner
            .store
            .apply(Change::Open(new), self.now())
            .await?;
        match applied {
            Applied::Opened(session, made) => {
                self.made_room(&made);
                self.inner.counters.opened();
                Ok((session, token))
            }
            Applied::Full { limit } => Err(self.full(limit)),
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
        self.inner.begun.notify_one();
        let outcome = self.counted(outcome(id, applied), cause);
        if outcome.outcome == Ending::Closing && !wait.is_zero() {
            // If no end is seen, in time or because the store failed meanwhile, the outcome stays what it was: begun.
            return match tokio::time::timeout(wait, self.ended(id)).await {
                Ok(Ok(cause)) => Ok(Outcome {
                    outcome: Ending::Closed,
                    cause,
                    ..outcome
                }),
                Ok(Err(_)) | Err(_) => Ok(outcome),
            };
        }
        checked(outcome, must_exist)
    }

    fn counted(&self, outcome: Outcome, cause: Cause) -> Outcome {
        if outcome.initiated {
            self.inner.counters.ended(cause, 1);
        }
        outcome
    }

    /// Who ended for a newcomer is counted and logged (S49); their closings are the worker's.
    fn made_room(&self, made: &MadeRoom) {
        self.inner.begun.notify_one();
        self.inner.counters.ended(Cause::Inactive, made.due);
        self.inner
            .counters
            .ended(Cause::Evicted, made.evicted.len() as u64);
        self.evicted(&made.evicted, "a newcomer needed its place");
    }

    fn evicted(&self, ids: &[SessionId], why: &str) {
        for id in ids {
            tracing::info!(%id, "session evicted: {why}");
        }
    }

    fn full(&self, limit: usize) -> Error {
        self.inner.begun.notify_one();
        self.inner.counters.refused(&Refusal::Full);
        tracing::debug!(
            limit,
            "a client was refused: the server is full, and nobody is idle who may make room"
        );
        Error::LimitReached {
            limit,
            retry_after: RETRY_AFTER,
        }
    }

    async fn visit(
        &self,
        token: &Token,
        usage: Use,
        from: Option<IpAddr>,
    ) -> Result<Option<Visit>, Error> {
        match self
            .inner
            .store
            .visit(&token.hash(), usage, from, self.now())
            .await?
        {
            Seen::Nobody => Ok(None),
            Seen::Live(visit) => Ok(Some(visit)),
            Seen::Suspended(id) => self.resume(id).await,
            Seen::OtherAddress => {
                self.inner.counters.refused(&Refusal::Address);
                Err(Error::OtherAddress)
            }
        }
    }

    /// Gives a suspended session a fresh process, for a request that came with its cookie (C11).
    async fn resume(&self, id: SessionId) -> Result<Option<Visit>, Error> {
        let actor = Actor::server().to_string();
        match self
            .inner
            .store
            .apply(Change::Resume { id, actor }, self.now())
            .await?
        {
            Applied::Resumed(visit, made) => {
                self.made_room(&made);
                Ok(visit)
            }
            Applied::Full { limit } => Err(self.full(limit)),
            applied => Err(Error::Internal(
                format!("a resumption came to {applied:?}").into(),
            )),
        }
    }

    /// Waits until a session is closed, and tells why it is.
    async fn ended(&self, id: SessionId) -> Result<Option<Cause>, Error> {
        let mut finished = self.inner.finished.subscribe();
        loop {
            match self.inner.store.find(id, self.now()).await? {
                Found::Closed(closed) => return Ok(Some(closed.cause)),
                Found::Unknown => return Ok(None),
                // Whoever ends a session tells so, unless dropped in between, or ended by a failure of the store.
                Found::Open(..) => drop(tokio::time::timeout(LOOK_AGAIN, finished.changed()).await),
            }
        }
    }
}

impl<S: Store> Admin for Registry<S> {
    async fn list(&self, query: ListQuery) -> Result<Page, Error> {
        Ok(self.inner.store.page(query, self.now()).await?)
    }

    async fn show(&self, id: SessionId) -> Result<Session, Error> {
        match self.inner.store.find(id, self.now()).await? {
            Found::Unknown => Err(Error::NotFound(id)),
            Found::Open(session, _) => Ok(session),
            Found::Closed(closed) => Err(Error::Closed(Box::new(closed))),
        }
    }

    async fn close(&self, id: SessionId, request: EndRequest) -> Result<Outcome, Error> {
        self.close_for(id, Cause::Command, request).await
    }

    async fn drop_session(&self, id: SessionId, request: EndRequest) -> Result<Outcome, Error> {
        let must_exist = request.must_exist;
        let applied = self
            .inner
            .store
            .apply(Change::Drop(end(id, Cause::Dropped, request)), self.now())
            .await?;
        self.inner.finished.send_replace(());
        checked(
            self.counted(outcome(id, applied), Cause::Dropped),
            must_exist,
        )
    }

    async fn open(&self, request: OpenRequest) -> Result<Opened, Error> {
        let (session, token) = self.open_session(request).await?;
        Ok(Opened {
            session,
            token,
            cookie_name: self.cookie_policy()?.name().into(),
        })
    }

    async fn options(&self) -> Result<Vec<OptionState>, Error> {
        Ok(self.inner.store.settings()?.states())
    }

    async fn set_options(&self, request: SetRequest) -> Result<OptionsSet, Error> {
        self.set(request).await
    }

    async fn stats(&self) -> Result<Stats, Error> {
        let Census {
            active,
            suspended,
            closing,
            counted,
        } = self.inner.store.census().await?;
        let settings = self.inner.store.settings()?;
        let (opened, processes_ended, ended, refused) = self.inner.counters.totals();
        Ok(Stats {
            mode: settings.options().mode,
            active,
            suspended,
            closing,
            counted,
            max_sessions: settings.options().max_sessions as u64,
            since: self.inner.since,
            opened,
            processes_ended,
            ended,
            refused,
        })
    }

    async fn ready(&self) -> Result<(), Error> {
        Ok(self.inner.store.health().await?)
    }
}

impl<S: Store> Sessions for Registry<S> {
    fn cookie(&self) -> Result<Arc<CookiePolicy>, Error> {
        self.cookie_policy()
    }

    async fn enter(&self, token: Option<&Token>, client: OpenRequest) -> Result<Entered, Error> {
        if let Some(token) = token
            && let Some(visit) = self.visit(token, Use::Request, client.ip).await?
        {
            return Ok(Entered {
                visit,
                new_token: None,
            });
        }
        let (_, token) = self.open_for_client(client).await?;
        // Somebody may have closed it before its client knew of it: let the client come again.
        let visit = self.visit(&token, Use::Look, None).await?.ok_or(BUSY)?;
        Ok(Entered {
            visit,
            new_token: Some(token),
        })
    }

    async fn check(
        &self,
        token: &Token,
        from: Option<IpAddr>,
        touch: bool,
    ) -> Result<Option<Visit>, Error> {
        let usage = if touch { Use::Request } else { Use::Look };
        self.visit(token, usage, from).await
    }

    async fn log_out(&self, token: &Token) -> Result<Option<Outcome>, Error> {
        let Some(visit) = self.visit(token, Use::Look, None).await? else {
            return Ok(None);
        };
        self.close_for(visit.id, Cause::Logout, EndRequest::by(Actor::client()))
            .await
            .map(Some)
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
        actor: actor.to_string(),
        request_id,
    }
}

/// What an ending came to, in an operator's words.
fn outcome(id: SessionId, applied: Applied) -> Outcome {
    let (found, part) = match applied {
        Applied::Ended { found, part } => (found, part),
        Applied::Ignored(session) => {
            let (outcome, initiated, cause) = (Ending::Ignored, false, None);
            return Outcome {
                id,
                outcome,
                initiated,
                cause,
                user: session.user,
            };
        }
        _ => (Found::Unknown, Part::None),
    };
    let (outcome, cause, user) = match found {
        Found::Unknown => (Ending::NotFound, None, None),
        Found::Open(session, cause) => (Ending::Closing, cause, session.user),
        Found::Closed(closed) if part == Part::None => {
            (Ending::AlreadyClosed, Some(closed.cause), closed.user)
        }
        Found::Closed(closed) => (Ending::Closed, Some(closed.cause), closed.user),
    };
    Outcome {
        id,
        outcome,
        initiated: part == Part::Began,
        cause,
        user,
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
