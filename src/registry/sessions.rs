//! What web servers ask for their clients: let in by a cookie, check, log out (C04, C12, C13).

use std::net::IpAddr;
use std::sync::Arc;

use super::counters::Refusal;
use super::{BUSY, Registry};
use crate::admin::{Actor, EndRequest, OpenRequest, Outcome};
use crate::cookie::CookiePolicy;
use crate::error::Error;
use crate::session::{Cause, SessionId};
use crate::sessions::{Entered, Sessions, Visit};
use crate::store::{Applied, Change, Seen, Store, Use};
use crate::token::Token;

impl<S: Store> Registry<S> {
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
            Seen::Rotated => Err(Error::Rotated),
            Seen::OtherAddress => {
                self.inner.counters.count(&Refusal::Address);
                Err(Error::OtherAddress)
            }
        }
    }

    /// Gives a suspended session a fresh process, for a request that came with its cookie (C11).
    async fn resume(&self, id: SessionId) -> Result<Option<Visit>, Error> {
        let actor = Actor::server();
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
            Applied::Full { limit, made } => Err(self.full(limit, &made)),
            applied => Err(Error::Internal(
                format!("a resumption came to {applied:?}").into(),
            )),
        }
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
        let previous = token.map(Token::hash);
        let (_, token) = self.open_for_client(client, previous).await?;
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
