//! The live set alone: everything is gone with the process. For tests, and for servers whose sessions may end with them.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::live::{LiveSet, Visited};
use super::{Applied, Change, Error, Found, Store, Use};
use crate::admin::{ListQuery, Page};
use crate::clock::Timestamp;
use crate::options::Options;
use crate::session::SessionId;
use crate::sessions::Visit;
use crate::token::TokenHash;

/// Sessions in memory.
pub struct MemoryStore(SharedLive);

impl MemoryStore {
    /// An empty store.
    pub fn new(options: Options) -> Self {
        Self(SharedLive::new(LiveSet::new(options)))
    }
}

impl Store for MemoryStore {
    async fn visit(
        &self,
        token: &TokenHash,
        usage: Use,
        now: Timestamp,
    ) -> Result<Option<Visit>, Error> {
        match self.0.read()?.visit(token, usage, now) {
            Visited::Live(visit) => Ok(Some(visit)),
            Visited::Nobody | Visited::Refused(_) => Ok(None),
        }
    }

    async fn apply(&self, change: Change, now: Timestamp) -> Result<Applied, Error> {
        let mut live = self.0.write()?;
        let prepared = live.prepare(change, now);
        live.publish(prepared.row.as_slice());
        Ok(live.answer(&prepared.answer, now))
    }

    async fn find(&self, id: SessionId, now: Timestamp) -> Result<Found, Error> {
        Ok(self.0.read()?.find(id, now))
    }

    async fn page(&self, query: ListQuery, now: Timestamp) -> Result<Page, Error> {
        Ok(self.0.read()?.page(query, now))
    }

    async fn due(&self, now: Timestamp, max: usize) -> Result<Vec<SessionId>, Error> {
        Ok(self.0.write()?.due(now, max))
    }

    async fn claim(
        &self,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Result<Vec<SessionId>, Error> {
        Ok(self.0.write()?.claim(now, until, max))
    }

    async fn flush(&self) -> Result<(), Error> {
        self.health().await
    }

    async fn health(&self) -> Result<(), Error> {
        self.0.read().map(drop)
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
