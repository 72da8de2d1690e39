//! What operators ask for.

use super::{Registry, checked, end};
use crate::access::{AdminToken, MintedToken, TokenName, TokenRequest};
use crate::admin::{
    Actor, Admin, AuditPage, AuditQuery, EndRequest, Ending, HistoryEntry, HistoryPage,
    HistoryQuery, ListQuery, LockPage, LockQuery, OpenRequest, Opened, OptionsSet, Outcome, Page,
    SetRequest, Stats,
};
use crate::audit::Verdict;
use crate::error::Error;
use crate::on_close::Freed;
use crate::options::OptionState;
use crate::session::{Cause, SessionDetails, SessionId};
use crate::store::{Applied, Census, Change, Found, Part, Store};

impl<S: Store> Admin for Registry<S> {
    async fn list(&self, query: ListQuery) -> Result<Page, Error> {
        Ok(self.inner.store.page(query, self.now()).await?)
    }

    async fn show(&self, id: SessionId) -> Result<SessionDetails, Error> {
        match self.inner.store.find(id, self.now()).await? {
            Found::Unknown => Err(Error::NotFound(id)),
            Found::Open(session, ..) => Ok(SessionDetails {
                session,
                processes: self.inner.store.processes(id, self.now()).await?,
            }),
            Found::Closed(closed, _) => Err(Error::Closed(Box::new(closed))),
        }
    }

    async fn locks(&self, query: LockQuery) -> Result<LockPage, Error> {
        Ok(self.inner.store.locks(query).await?)
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Error> {
        Ok(self.inner.store.history(query, None).await?)
    }

    async fn closed(&self, id: SessionId) -> Result<HistoryEntry, Error> {
        let query = HistoryQuery::default();
        let page = self.inner.store.history(query, Some(id)).await?;
        page.items.into_iter().next().ok_or(Error::NotFound(id))
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
        checked(outcome(id, applied), must_exist)
    }

    async fn open(&self, request: OpenRequest) -> Result<Opened, Error> {
        let (session, token) = self.open_session(request, None).await?;
        self.opened(session, token)
    }

    async fn options(&self) -> Result<Vec<OptionState>, Error> {
        self.ready().await?;
        Ok(self.inner.store.settings()?.states())
    }

    async fn set_options(&self, request: SetRequest) -> Result<OptionsSet, Error> {
        self.set(request).await
    }

    async fn tokens(&self) -> Result<Vec<AdminToken>, Error> {
        self.all_tokens().await
    }

    async fn create_token(&self, request: TokenRequest) -> Result<MintedToken, Error> {
        self.mint_token(request).await
    }

    async fn revoke_token(&self, name: TokenName, actor: Actor) -> Result<(), Error> {
        self.revoke(name, actor).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<AuditPage, Error> {
        Ok(self.inner.store.audit(query).await?)
    }

    async fn verify_audit(&self) -> Result<Verdict, Error> {
        Ok(self.inner.store.verify_audit().await?)
    }

    async fn stats(&self) -> Result<Stats, Error> {
        let Census {
            active,
            suspended,
            closing,
            late,
            counted,
            tally,
        } = self.inner.store.census().await?;
        let settings = self.inner.store.settings()?;
        Ok(Stats {
            mode: settings.options().mode,
            active,
            suspended,
            closing,
            late,
            counted,
            max_sessions: settings.options().max_sessions as u64,
            since: self.inner.since,
            opened: tally.opened,
            processes_ended: tally.suspended,
            ended: tally.ended,
            refused: self.inner.counters.refused(),
        })
    }

    async fn ready(&self) -> Result<(), Error> {
        Ok(self.inner.store.health().await?)
    }
}

/// What an ending came to, in an operator's words.
pub(super) fn outcome(id: SessionId, applied: Applied) -> Outcome {
    let (found, part) = match applied {
        Applied::Ended { found, part } => (found, part),
        Applied::Ignored(session) => {
            return Outcome {
                user: session.user,
                ..nothing(id, Ending::Ignored)
            };
        }
        _ => (Found::Unknown, Part::None),
    };
    let (outcome, cause, user, closure) = match found {
        Found::Unknown => return nothing(id, Ending::NotFound),
        Found::Open(session, cause, closure) => (Ending::Closing, cause, session.user, closure),
        Found::Closed(closed, closure) => {
            let outcome = match part {
                Part::None => Ending::AlreadyClosed,
                Part::Began | Part::CutShort => Ending::Closed,
            };
            (outcome, Some(closed.cause), closed.user, closure)
        }
    };
    Outcome {
        id,
        outcome,
        initiated: part == Part::Began,
        cause,
        user,
        freed: closure.freed,
        on_close: closure.on_close,
    }
}

/// An ending that has ended nothing.
fn nothing(id: SessionId, outcome: Ending) -> Outcome {
    Outcome {
        id,
        outcome,
        initiated: false,
        cause: None,
        user: None,
        freed: Freed::default(),
        on_close: Vec::new(),
    }
}
