//! Where the scenarios run: the live set alone, and the one with a queue before a disk.

use std::sync::{Arc, Mutex, PoisonError};

use shuttle::future::block_on;
use shuttle::thread::{self, JoinHandle};

use super::Settings;
use crate::admin::{ListQuery, LockQuery};
use crate::clock::Timestamp;
use crate::session::{HeldLock, Session, SessionId};
use crate::store::live::LiveSet;
use crate::store::memory::MemoryStore;
use crate::store::record::Row;
use crate::store::sqlite::{self, Shared};
use crate::store::{Applied, Change, Found, Seen, Store, Use};
use crate::token::TokenHash;

/// What the scenarios ask of a store, answered when it may be told.
pub(super) trait Asked: Send + Sync {
    fn visit(&self, token: &TokenHash, usage: Use, now: Timestamp) -> Seen;
    fn apply(&self, change: Change, now: Timestamp) -> Applied;
    fn find(&self, id: SessionId, now: Timestamp) -> Found;
    fn list(&self, now: Timestamp) -> Vec<Session>;
    fn locks(&self) -> Vec<HeldLock>;
    /// Whether a crash now would not take such a change back.
    fn is_kept(&self, is_meant: &dyn Fn(&Row) -> bool) -> bool;
}

pub(super) type Place = Arc<dyn Asked>;

/// Makes a place for one run.
pub(super) type Start = fn(Settings) -> House;

/// A place with what has to be ended with it.
pub(super) struct House {
    place: Place,
    disk: Option<(Arc<Shared>, JoinHandle<()>)>,
}

impl House {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn stop(self) {
        if let Some((shared, disk)) = self.disk {
            shared.stop();
            disk.join().unwrap();
        }
    }
}

/// The live set alone: what is changed is kept, for there is nothing else.
pub(super) fn memory(settings: Settings) -> House {
    House {
        place: Arc::new(MemoryStore::new(settings)),
        disk: None,
    }
}

impl Asked for MemoryStore {
    fn visit(&self, token: &TokenHash, usage: Use, now: Timestamp) -> Seen {
        block_on(Store::visit(self, token, usage, None, now)).unwrap()
    }

    fn apply(&self, change: Change, now: Timestamp) -> Applied {
        block_on(Store::apply(self, change, now)).unwrap()
    }

    fn find(&self, id: SessionId, now: Timestamp) -> Found {
        block_on(Store::find(self, id, now)).unwrap()
    }

    fn list(&self, now: Timestamp) -> Vec<Session> {
        let page = Store::page(self, ListQuery::default(), now);
        block_on(page).unwrap().items
    }

    fn locks(&self) -> Vec<HeldLock> {
        block_on(Store::locks(self, LockQuery::default()))
            .unwrap()
            .items
    }

    fn is_kept(&self, _: &dyn Fn(&Row) -> bool) -> bool {
        true
    }
}

/// The live set with a queue before a disk: everything of the durable store but SQLite.
pub(super) fn before_a_disk(settings: Settings) -> House {
    let shared = Arc::new(Shared::new(
        LiveSet::new(settings),
        sqlite::Place::default(),
    ));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let disk = {
        let (shared, kept) = (Arc::clone(&shared), Arc::clone(&kept));
        thread::spawn(move || write(&shared, &kept))
    };
    House {
        place: Arc::new(BeforeADisk {
            shared: Arc::clone(&shared),
            kept,
        }),
        disk: Some((shared, disk)),
    }
}

struct BeforeADisk {
    shared: Arc<Shared>,
    /// What is on the disk. Of the standard library: who looks here gives nobody a turn.
    kept: Arc<Mutex<Vec<Row>>>,
}

/// What the thread of the writer does.
fn write(shared: &Shared, kept: &Mutex<Vec<Row>>) {
    loop {
        let mut batch = shared.next(0);
        // The disk takes its time.
        thread::yield_now();
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(batch.rows.iter().cloned());
        thread::yield_now();
        shared
            .acknowledge(&std::mem::take(&mut batch.rows))
            .unwrap();
        if batch.stop {
            return;
        }
    }
}

impl BeforeADisk {
    fn told<T>(&self, told: crate::store::live::Told<T>) -> T {
        block_on(self.shared.when_durable(told)).unwrap()
    }
}

impl Asked for BeforeADisk {
    fn visit(&self, token: &TokenHash, usage: Use, now: Timestamp) -> Seen {
        block_on(self.shared.visit(token, usage, None, now)).unwrap()
    }

    fn apply(&self, change: Change, now: Timestamp) -> Applied {
        block_on(self.shared.apply(change, now)).unwrap()
    }

    fn find(&self, id: SessionId, now: Timestamp) -> Found {
        let told = self.shared.live.read().unwrap().find(id, now);
        self.told(told)
    }

    fn list(&self, now: Timestamp) -> Vec<Session> {
        let told = self
            .shared
            .live
            .read()
            .unwrap()
            .page(ListQuery::default(), now);
        self.told(told).items
    }

    fn locks(&self) -> Vec<HeldLock> {
        let told = self
            .shared
            .live
            .read()
            .unwrap()
            .locks(&LockQuery::default());
        self.told(told).items
    }

    fn is_kept(&self, is_meant: &dyn Fn(&Row) -> bool) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().any(is_meant)
    }
}
