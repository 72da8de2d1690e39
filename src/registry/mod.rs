//! The sessions of one store, with the rules that need no atomicity: minting, waiting, finishing, sweeping. Does what
//! `Admin` and `Sessions` ask; knows neither HTTP nor commands.

mod closing;
mod sweep;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::admin::{
    Actor, Admin, EndRequest, Ending, ListQuery, OpenRequest, Opened, Outcome, Page,
};
use crate::clock::{Clock, Timestamp};
use crate::cookie::CookiePolicy;
use crate::error::Error;
use crate::session::{Cause, Kind, Mode, Session, SessionId};
use crate::sessions::{Entered, Sessions, Visit};
use crate::store::{
    Applied, Change, End, Error as StoreError, Found, NewSession, Part, Store, Use,
};
use crate::token::Token;

/// Characters of a client's description of itself that are kept.
const USER_AGENT_LIMIT: usize = 512;

/// How often those who wait to be told of something look by themselves.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What a client that found no room is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(5);

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
    clock: Arc<dyn Clock>,
    cookie: CookiePolicy,
    /// Wakes the closing worker.
    begun: Notify,
    /// Changes whenever a closing has finished, for those who wait for one.
    finished: watch::Sender<()>,
}

impl<S: Store> Registry<S> {
    /// A registry over `store`, which brings its options.
    pub fn new(store: S, clock: Arc<dyn Clock>) -> Self {
        let cookie = CookiePolicy::of(store.options());
        let (begun, finished) = (Notify::new(), watch::Sender::new(()));
        Self {
            inner: Arc::new(Inner {
                store,
                clock,
                cookie,
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
        Ok(self.inner.store.flush().await?)
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
        self.inner.clock.now()
    }

    async fn open_session(&self, request: OpenRequest) -> Result<(Session, Token), Error> {
        request.validate().map_err(Error::Invalid)?;
        let token = Token::mint().map_err(|error| Error::Internal(error.into()))?;
        let new = NewSession {
            id: SessionId::random(),
            token_hash: token.hash(),
            kind: Kind::Web,
            mode: Mode::Legacy,
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
        // What was due made room; its closing is the worker's.
        self.inner.begun.notify_one();
        match applied {
            Applied::Opened(session) => Ok((session, token)),
            Applied::Full => Err(Error::LimitReached {
                limit: self.inner.store.options().max_sessions,
                retry_after: RETRY_AFTER,
            }),
            // Somebody closed it before its client knew of it: let the client come again.
            Applied::Ended { .. } | Applied::Expired(_) => Err(Error::Busy {
                retry_after: Duration::from_secs(1),
            }),
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
        let outcome = outcome(id, applied);
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
        checked(outcome(id, applied), must_exist)
    }

    async fn open(&self, request: OpenRequest) -> Result<Opened, Error> {
        let (session, token) = self.open_session(request).await?;
        Ok(Opened {
            session,
            token,
            cookie_name: self.inner.cookie.name().into(),
        })
    }

    async fn ready(&self) -> Result<(), Error> {
        Ok(self.inner.store.health().await?)
    }
}

impl<S: Store> Sessions for Registry<S> {
    async fn enter(&self, token: Option<&Token>, client: OpenRequest) -> Result<Entered, Error> {
        if let Some(token) = token
            && let Some(visit) = self.check(token, true).await?
        {
            return Ok(Entered {
                visit,
                new_token: None,
            });
        }
        let (session, token) = self.open_session(client).await?;
        let Session {
            id,
            user,
            state,
            expires_at,
            ..
        } = session;
        let visit = Visit {
            id,
            user: user.map(Arc::from),
            state,
            expires_at,
        };
        Ok(Entered {
            visit,
            new_token: Some(token),
        })
    }

    async fn check(&self, token: &Token, touch: bool) -> Result<Option<Visit>, Error> {
        let usage = if touch { Use::Request } else { Use::Look };
        Ok(self
            .inner
            .store
            .visit(&token.hash(), usage, self.now())
            .await?)
    }

    async fn log_out(&self, token: &Token) -> Result<Option<Outcome>, Error> {
        let Some(visit) = self.check(token, false).await? else {
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
        Applied::Opened(_) | Applied::Full | Applied::Expired(_) => (Found::Unknown, Part::None),
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
