//! The live set alone: everything is gone with the process. For tests, and for servers whose sessions may end with them.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::archive::Archive;
use super::live::{LiveSet, named};
use super::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use super::wait::Bells;
use super::{Applied, Census, Change, Claim, Error, Found, Seen, Store, Unfit, Use, Work};
use crate::access::AdminToken;
use crate::admin::{
    AuditPage, AuditQuery, HistoryPage, HistoryQuery, ListQuery, LockPage, LockQuery, Page,
};
use crate::application::{At, ProcessStatus, Saved};
use crate::audit::Verdict;
use crate::clock::Timestamp;
use crate::context::Context;
use crate::options::Settings;
use crate::session::{Process, Seq, SessionId};
use crate::token::TokenHash;

/// Sessions in memory. Lock order: `live`, then `archive`.
pub struct MemoryStore {
    live: SharedLive,
    archive: Mutex<Archive>,
    bells: Arc<Bells>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(settings: Settings) -> Self {
        let live = LiveSet::new(settings);
        Self {
            bells: Arc::clone(live.bells()),
            live: SharedLive::new(live),
            archive: Mutex::default(),
        }
    }

    fn archive(&self) -> Result<MutexGuard<'_, Archive>, Error> {
        self.archive.lock().map_err(|_| broken())
    }
}

impl Store for MemoryStore {
    async fn visit(
        &self,
        token: &TokenHash,
        usage: Use,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Seen, Error> {
        Ok(self.live.read()?.visit(token, usage, from, now).what)
    }

    async fn apply(&self, change: Change, now: Timestamp) -> Result<Applied, Error> {
        let mut live = self.live.write()?;
        let prepared = live.prepare(change, now);
        self.archive()?.keep(&prepared.rows);
        live.publish(&prepared.rows);
        Ok(live.answer(&prepared.answer, now).what)
    }

    async fn find(&self, id: SessionId, now: Timestamp) -> Result<Found, Error> {
        Ok(self.live.read()?.find(id, now).what)
    }

    async fn page(&self, query: ListQuery, now: Timestamp) -> Result<Page, Error> {
        Ok(self.live.read()?.page(query, now).what)
    }

    async fn processes(&self, id: SessionId, now: Timestamp) -> Result<Vec<Process>, Error> {
        Ok(self.live.read()?.processes(id, now).what)
    }

    async fn process(&self, at: At, now: Timestamp) -> Result<Result<ProcessStatus, Unfit>, Error> {
        Ok(self.live.write()?.process(at, now).what)
    }

    async fn context(&self, at: At, now: Timestamp) -> Result<Result<Context, Unfit>, Error> {
        Ok(self.live.write()?.context(at, now).what)
    }

    async fn locks(&self, query: LockQuery) -> Result<LockPage, Error> {
        Ok(self.live.read()?.locks(&query).what)
    }

    async fn history(
        &self,
        query: HistoryQuery,
        id: Option<SessionId>,
    ) -> Result<HistoryPage, Error> {
        let closing = match id {
            Some(id) => match self.live.read()?.closed_at_row(id) {
                None => return Ok(HistoryPage::default()),
                closing => closing,
            },
            None => None,
        };
        let pending = self.live.read()?.pending(id).what;
        let mut page = self.archive()?.page(&pending.known(query), closing);
        pending.add_to(&mut page);
        Ok(page)
    }

    async fn tokens(&self) -> Result<Vec<Arc<AdminToken>>, Error> {
        Ok(self.live.read()?.tokens().what)
    }

    async fn token(&self, hash: &TokenHash) -> Result<Option<Arc<AdminToken>>, Error> {
        Ok(self.live.read()?.token(hash).what)
    }

    async fn audit(&self, query: AuditQuery) -> Result<AuditPage, Error> {
        Ok(self.archive()?.audit(&query))
    }

    async fn verify_audit(&self) -> Result<Verdict, Error> {
        Ok(self.archive()?.verify_audit())
    }

    async fn saved(&self, id: SessionId, now: Timestamp) -> Result<Result<Saved, Unfit>, Error> {
        let live = self.live.read()?;
        let (previous, sessions) = match live.saved_of(id, now).what {
            Ok(left) => left,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let rows: Vec<Seq> = sessions.iter().map(|(row, _)| *row).collect();
        let found = self.archive()?.saved_of(&rows);
        Ok(Ok(named(previous, &sessions, found)))
    }

    fn bell(&self, id: SessionId) -> Arc<Notify> {
        self.bells.of(id)
    }

    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Work>, Error> {
        Ok(self.live.write()?.claim(&claim, now))
    }

    async fn flush(&self, _: Timestamp) -> Result<(), Error> {
        self.health().await
    }

    async fn health(&self) -> Result<(), Error> {
        self.live.read().map(drop)
    }

    fn settings(&self) -> Result<Arc<Settings>, Error> {
        Ok(Arc::clone(self.live.read()?.settings()))
    }

    async fn census(&self) -> Result<Census, Error> {
        Ok(self.live.read()?.census())
    }

    fn latest(&self) -> Timestamp {
        Timestamp::EPOCH
    }
}

/// The live set behind its lock. The guard never leaves a synchronous block; a panic under it fails the store for good.
pub(super) struct SharedLive(RwLock<LiveSet>);

impl SharedLive {
    pub(super) fn new(live: LiveSet) -> Self {
        Self(RwLock::new(live))
    }

    pub(super) fn read(&self) -> Result<RwLockReadGuard<'_, LiveSet>, Error> {
        self.0.read().map_err(|_| broken())
    }

    pub(super) fn write(&self) -> Result<RwLockWriteGuard<'_, LiveSet>, Error> {
        self.0.write().map_err(|_| broken())
    }
}

fn broken() -> Error {
    Error::Poisoned("a change to the live sessions panicked".into())
}
