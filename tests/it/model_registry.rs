//! The registry as the model's opposite: asked as operators, web servers and applications ask it.

use std::net::IpAddr;
use std::time::Duration;

use sessionctl::admin::{
    Actor, Admin, HistoryEntry, HistoryQuery, ListQuery, LockQuery, OpenRequest, Outcome,
    SetRequest, Stats,
};
use sessionctl::application::{Application, At, ProcessStatus, Saved};
use sessionctl::clock::Timestamp;
use sessionctl::context::{Context, Json, Lock, Name, Record};
use sessionctl::error::Error;
use sessionctl::on_close::Method;
use sessionctl::options::Options;
use sessionctl::registry::OnClose;
use sessionctl::session::{HeldLock, Session, SessionDetails, SessionId};
use sessionctl::sessions::{Sessions, Visit};
use sessionctl::store::{Census, Store as _};
use sessionctl::token::Token;

use crate::model_drivers::{Driver, Plan, Setting, Why, Worked};
use crate::places::{Durable, InMemory, OnDisk, Place, Work, operator};

/// How a place comes back; one that forgets all stays as it is.
pub(crate) trait Restart: Place {
    const IS_DURABLE: bool;
    async fn restarted(self) -> Self;
}

impl Restart for InMemory {
    const IS_DURABLE: bool = false;

    async fn restarted(self) -> Self {
        self
    }
}

impl Restart for OnDisk {
    const IS_DURABLE: bool = true;

    async fn restarted(self) -> Self {
        self.registry().store().flush(self.now()).await.unwrap();
        self.restart().await
    }
}

/// A registry in a place; its work is done step by step.
pub(crate) struct OverRegistry<P>(P);

impl<P: Restart> OverRegistry<P> {
    pub(crate) async fn start(options: Options, has_method: bool) -> Self {
        let method = match has_method {
            true => Method::Save,
            false => Method::None,
        };
        let on_close = OnClose {
            method,
            ..OnClose::default()
        };
        let place = P::start_calling(on_close, options, Work::ByHand).await;
        Self(place)
    }
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) => Self::NotFound,
            Error::Closed(closed) => Self::Closed(closed.cause),
            Error::Closing(_) => Self::Closing,
            Error::NoProcess { .. } => Self::NoProcess,
            Error::ProcessClosing { .. } => Self::ProcessClosing,
            Error::HasProcess { process, .. } => Self::HasProcess(process),
            Error::LockHeld(lock) => Self::Held(lock.session, lock.process),
            Error::LimitReached { .. } => Self::Full,
            Error::NoSessions => Self::NoSessions,
            Error::Rotated => Self::Rotated,
            Error::OtherAddress => Self::OtherAddress,
            Error::WouldEnd { .. } => Self::WouldEnd,
            error => panic!("{error:?}"),
        }
    }
}

impl<P: Restart> Driver for OverRegistry<P> {
    const IS_DURABLE: bool = P::IS_DURABLE;

    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn advance(&self, by: Duration) {
        self.0.clock().advance(by);
    }

    async fn open(&self, request: OpenRequest) -> Result<(Session, Token), Why> {
        let opened = self.0.app().open(request).await?;
        Ok((opened.session, opened.token))
    }

    async fn enter(
        &self,
        token: Option<&Token>,
        client: OpenRequest,
    ) -> Result<(Visit, Option<Token>), Why> {
        let entered = self.0.web().enter(token, client).await?;
        Ok((entered.visit, entered.new_token))
    }

    async fn check(
        &self,
        token: &Token,
        from: Option<IpAddr>,
        touch: bool,
    ) -> Result<Option<Visit>, Why> {
        Ok(self.0.web().check(token, from, touch).await?)
    }

    async fn log_in(&self, id: SessionId, user: &str) -> Result<(Session, Token), Why> {
        let opened = self.0.app().log_in(id, user.into()).await?;
        Ok((opened.session, opened.token))
    }

    async fn log_out(&self, token: &Token) -> Result<Option<Outcome>, Why> {
        Ok(self.0.web().log_out(token).await?)
    }

    async fn close(&self, id: SessionId) -> Outcome {
        self.0.admin().close(id, operator()).await.unwrap()
    }

    async fn drop_session(&self, id: SessionId) -> Outcome {
        self.0.admin().drop_session(id, operator()).await.unwrap()
    }

    async fn start_process(
        &self,
        id: SessionId,
        lease: Option<Duration>,
    ) -> Result<ProcessStatus, Why> {
        Ok(self.0.app().start_process(id, lease).await?)
    }

    async fn end_process(&self, at: At) -> Result<(), Why> {
        Ok(self.0.app().end_process(at).await?)
    }

    async fn context(&self, at: At) -> Result<Context, Why> {
        Ok(self.0.app().context(at).await?)
    }

    async fn set_variable(&self, at: At, name: Name, value: Option<Json>) -> Result<(), Why> {
        Ok(self.0.app().set_variable(at, name, value).await?)
    }

    async fn lock(&self, at: At, record: Record) -> Result<Lock, Why> {
        Ok(self.0.app().lock(at, record, Duration::ZERO).await?)
    }

    async fn unlock(&self, at: At, record: Record) -> Result<(), Why> {
        Ok(self.0.app().unlock(at, record).await?)
    }

    async fn take_saved(&self, id: SessionId) -> Result<Saved, Why> {
        let looked = self.0.app().look_at_saved(id).await;
        let taken = self.0.app().take_saved(id).await?;
        assert_eq!(looked.unwrap(), taken, "looking shows what is taken then");
        Ok(taken)
    }

    async fn set_option(&self, setting: Setting) -> Result<u64, Why> {
        let set = SetRequest {
            changes: vec![(setting.spec.name.into(), setting.value)],
            may_end: setting.may_end,
            dry_run: setting.dry_run,
            actor: Actor::user(0),
        };
        Ok(self.0.admin().set_options(set).await?.ends)
    }

    async fn sweep(&self) {
        self.0.registry().sweep().await.unwrap();
    }

    async fn work(&self, _: Plan) -> Option<Vec<Worked>> {
        self.0.registry().finish_begun().await.unwrap();
        None
    }

    async fn list(&self) -> Vec<Session> {
        let page = self.0.admin().list(ListQuery::default()).await.unwrap();
        page.items
    }

    async fn show(&self, id: SessionId) -> Result<SessionDetails, Why> {
        Ok(self.0.admin().show(id).await?)
    }

    async fn locks(&self) -> Vec<HeldLock> {
        let page = self.0.admin().locks(LockQuery::default()).await.unwrap();
        page.items
    }

    async fn census(&self) -> Census {
        let Stats {
            active,
            suspended,
            closing,
            late,
            counted,
            ..
        } = self.0.admin().stats().await.unwrap();
        Census {
            active,
            suspended,
            closing,
            late,
            counted,
            ..Census::default()
        }
    }

    async fn history(&self) -> Vec<HistoryEntry> {
        let query = HistoryQuery::default();
        self.0.admin().history(query).await.unwrap().items
    }

    async fn restart(self) -> Self {
        Self(self.0.restarted().await)
    }
}
