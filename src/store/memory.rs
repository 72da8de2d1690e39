//! The live set alone: everything is gone with the process. For tests, and for servers whose sessions may end with them.

use std::net::IpAddr;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::live::LiveSet;
use super::{Applied, Census, Change, Error, Found, Seen, Store, Use};
use crate::admin::{ListQuery, Page};
use crate::clock::Timestamp;
use crate::options::Settings;
use crate::session::SessionId;
use crate::token::TokenHash;

/// Sessions in memory.
pub struct MemoryStore {
    live: SharedLive,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(settings: Settings) -> Self {
        Self {
            live: SharedLive::new(LiveSet::new(settings)),
        }
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
        live.publish(&prepared.rows);
        Ok(live.answer(&prepared.answer, now).what)
    }

    async fn find(&self, id: SessionId, now: Timestamp) -> Result<Found, Error> {
        Ok(self.live.read()?.find(id, now).what)
    }

    async fn page(&self, query: ListQuery, now: Timestamp) -> Result<Page, Error> {
        Ok(self.live.read()?.page(query, now).what)
    }

    async fn claim(
        &self,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Result<Vec<SessionId>, Error> {
        Ok(self.live.write()?.claim(now, until, max))
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
