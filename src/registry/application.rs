//! What an application does with the sessions of its clients, their processes and what those have (C08, C18).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{LOOK_AGAIN, Registry};
use crate::admin::{Actor, LockQuery, OpenRequest, Opened, check_user};
use crate::application::{Application, At, ProcessStatus, Saved, check_lease};
use crate::context::{Context, Json, Lock, Name, Record, Selection};
use crate::error::Error;
use crate::session::{HeldLock, ProcessState, SessionId};
use crate::store::{Applied, Change, Place, Store, Ticket, Unfit};
use crate::token::Token;

/// How often a process that waits renews its lease: well within the shortest one.
const RENEW_EVERY: Duration = Duration::from_secs(10);

impl<S: Store> Registry<S> {
    /// Makes a change of a process, which has no more to answer than that it is done.
    async fn change(&self, at: At, change: Change) -> Result<(), Error> {
        match self.inner.store.apply(change, self.now()).await? {
            Applied::Unfit(unfit) => Err(refused(at, unfit)),
            _ => Ok(()),
        }
    }

    async fn look(&self, at: At) -> Result<ProcessStatus, Error> {
        let found = self.inner.store.process(at, self.now()).await?;
        found.map_err(|unfit| refused(at, unfit))
    }

    /// Waits until a process is no longer running.
    async fn until_asked(&self, at: At) -> Result<ProcessStatus, Error> {
        loop {
            let bell = self.inner.store.bell(at.id);
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();
            let status = self.look(at).await?;
            if status.state != ProcessState::Running {
                return Ok(status);
            }
            let _ = tokio::time::timeout(RENEW_EVERY, rung).await;
        }
    }

    /// Asks for a lock without waiting.
    async fn try_lock(&self, at: At, record: &Record) -> Result<Lock, Error> {
        let change = Change::Lock(at, record.clone(), None);
        match self.inner.store.apply(change, self.now()).await? {
            Applied::Locked(lock) => Ok(lock),
            Applied::Unfit(unfit) => Err(refused(at, unfit)),
            applied => Err(unexpected(&applied)),
        }
    }

    /// Waits for a lock. Dropping this gives the place up, and the lock with it that nobody was told of: every time that it
    /// asks it has a ticket.
    async fn queue(&self, at: At, record: Record, wait: Duration) -> Result<Lock, Error> {
        let since = Instant::now();
        loop {
            let waiting = Waiting {
                registry: self,
                at,
                record: record.clone(),
                ticket: Arc::new(Ticket::default()),
                is_over: false,
            };
            let ticket = &waiting.ticket;
            let change = Change::Lock(at, record.clone(), Some(Arc::clone(ticket)));
            match self.inner.store.apply(change, self.now()).await? {
                Applied::Locked(lock) => {
                    waiting.end();
                    return Ok(lock);
                }
                Applied::Queued => {}
                Applied::Unfit(unfit) => return Err(refused(at, unfit)),
                applied => return Err(unexpected(&applied)),
            }
            let left = wait.saturating_sub(since.elapsed());
            let place = match tokio::time::timeout(left, self.called(at, ticket)).await {
                Ok(place) => place?,
                Err(_) if ticket.give_up() => ticket.place(),
                // It is its already, and only not on disk yet.
                Err(_) => self.called(at, ticket).await?,
            };
            match place {
                Place::Granted(lock) => {
                    waiting.end();
                    return Ok(lock);
                }
                Place::GivenUp => {
                    if let Some(held) = self.held_by_another(at, &record).await? {
                        return Err(Error::LockHeld(Box::new(held)));
                    }
                }
                // Asking again tells why.
                _ => {}
            }
        }
    }

    /// Who has a lock that a process waited for in vain, if anybody but the process has it still.
    async fn held_by_another(&self, at: At, record: &Record) -> Result<Option<HeldLock>, Error> {
        // What is wrong with the process itself says more.
        self.look(at).await?;
        let query = LockQuery {
            table: Some(record.table.clone()),
            record: Some(record.record.clone()),
            limit: Some(1),
            ..LockQuery::default()
        };
        let held = self.inner.store.locks(query).await?.items.pop();
        Ok(held.filter(|held| (held.session, held.process) != (at.id, at.process)))
    }

    /// Waits until a ticket is called. A store that fails calls nobody.
    async fn called(&self, at: At, ticket: &Ticket) -> Result<Place, Error> {
        let failing = async {
            loop {
                tokio::time::sleep(RENEW_EVERY / 10).await;
                // Whatever else is wrong with the process refuses its ticket.
                if let Err(error) = self.inner.store.process(at, self.now()).await {
                    return Error::from(error);
                }
            }
        };
        tokio::select! {
            place = ticket.called() => Ok(place),
            error = failing => Err(error),
        }
    }
}

impl<S: Store> Application for Registry<S> {
    async fn open(&self, request: OpenRequest) -> Result<Opened, Error> {
        let (session, token) = self.open_session(request, None).await?;
        self.opened(session, token)
    }

    async fn log_in(&self, id: SessionId, user: String) -> Result<Opened, Error> {
        check_user(&user).map_err(Error::Invalid)?;
        let token = Token::mint().map_err(|error| Error::Internal(error.into()))?;
        let change = Change::LogIn {
            id,
            user: user.into(),
            token_hash: token.hash(),
            actor: Actor::server(),
        };
        match self.inner.store.apply(change, self.now()).await? {
            Applied::LoggedIn(session, made) => {
                self.made_room(&made);
                self.opened(session, token)
            }
            Applied::Full { limit, made } => Err(self.full(limit, &made)),
            Applied::Unfit(unfit) => Err(refused(of(id), unfit)),
            applied => Err(unexpected(&applied)),
        }
    }

    async fn start_process(
        &self,
        id: SessionId,
        lease: Option<Duration>,
    ) -> Result<ProcessStatus, Error> {
        lease.map_or(Ok(()), check_lease)?;
        let actor = Actor::server();
        let change = Change::StartProcess { id, lease, actor };
        match self.inner.store.apply(change, self.now()).await? {
            Applied::Started(status, made) => {
                self.made_room(&made);
                Ok(status)
            }
            Applied::Full { limit, made } => Err(self.full(limit, &made)),
            Applied::Unfit(unfit) => Err(refused(of(id), unfit)),
            applied => Err(unexpected(&applied)),
        }
    }

    async fn end_process(&self, at: At) -> Result<(), Error> {
        let ended = self.change(at, Change::EndProcess(at)).await;
        self.inner.begun.notify_one();
        ended
    }

    async fn poll_process(&self, at: At, wait: Duration) -> Result<ProcessStatus, Error> {
        match tokio::time::timeout(wait, self.until_asked(at)).await {
            Ok(status) => status,
            Err(_) => self.look(at).await,
        }
    }

    async fn context(&self, at: At) -> Result<Context, Error> {
        let found = self.inner.store.context(at, self.now()).await?;
        found.map_err(|unfit| refused(at, unfit))
    }

    async fn set_variable(&self, at: At, name: Name, value: Option<Json>) -> Result<(), Error> {
        self.change(at, Change::SetVariable(at, name, value)).await
    }

    async fn set_selection(
        &self,
        at: At,
        name: Name,
        selection: Option<Selection>,
    ) -> Result<(), Error> {
        self.change(at, Change::SetSelection(at, name, selection))
            .await
    }

    async fn lock(&self, at: At, record: Record, wait: Duration) -> Result<Lock, Error> {
        if wait.is_zero() {
            return self.try_lock(at, &record).await;
        }
        self.queue(at, record, wait).await
    }

    async fn unlock(&self, at: At, record: Record) -> Result<(), Error> {
        self.change(at, Change::Unlock(at, record, None)).await
    }

    async fn take_saved(&self, id: SessionId) -> Result<Saved, Error> {
        let change = Change::TakeSaved(id);
        match self.inner.store.apply(change, self.now()).await? {
            Applied::Saved(saved) => Ok(saved),
            Applied::Unfit(unfit) => Err(refused(of(id), unfit)),
            applied => Err(unexpected(&applied)),
        }
    }

    async fn look_at_saved(&self, id: SessionId) -> Result<Saved, Error> {
        let found = self.inner.store.saved(id, self.now()).await?;
        found.map_err(|unfit| refused(of(id), unfit))
    }
}

/// Waits for a lock; giving up makes the queue go past it.
struct Waiting<'a, S: Store> {
    registry: &'a Registry<S>,
    at: At,
    record: Record,
    ticket: Arc<Ticket>,
    /// Whether there is nothing to give up any more.
    is_over: bool,
}

impl<S: Store> Waiting<'_, S> {
    /// Whoever waited is told.
    fn end(mut self) {
        self.is_over = true;
    }
}

impl<S: Store> Drop for Waiting<'_, S> {
    fn drop(&mut self) {
        if self.is_over || self.ticket.give_up() {
            return;
        }
        // The lock came to somebody who went away: it goes to the next.
        let (registry, at) = (self.registry.clone(), self.at);
        let (record, ticket) = (self.record.clone(), Arc::clone(&self.ticket));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            if let Ok(Place::Granted(lock)) = registry.called(at, &ticket).await {
                let unlock = Change::Unlock(at, record, Some(lock.fence));
                while let Err(crate::store::Error::Busy) = registry
                    .inner
                    .store
                    .apply(unlock.clone(), registry.now())
                    .await
                {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        });
    }
}

/// A session, where no process is asked for.
fn of(id: SessionId) -> At {
    At {
        id,
        process: Default::default(),
    }
}

/// Why a session or a process does not take a change.
fn refused(At { id, process }: At, unfit: Unfit) -> Error {
    match unfit {
        Unfit::NotFound => Error::NotFound(id),
        Unfit::Closed(closed) => Error::Closed(Box::new(closed)),
        Unfit::Closing => Error::Closing(id),
        Unfit::NoProcess => Error::NoProcess { id, process },
        Unfit::ProcessClosing => Error::ProcessClosing { id, process },
        Unfit::HasProcess(process) => Error::HasProcess { id, process },
        Unfit::Context(error) => Error::Context(error),
        Unfit::Locked(lock) => Error::LockHeld(lock),
    }
}

/// What it came to is not repeated: it may hold what is nobody's business.
pub(super) fn unexpected(_: &Applied) -> Error {
    Error::Internal("a change came to what it never comes to".into())
}
