//! Waiting for what a change brings: for a lock that another process holds, for something to happen to a session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::sync::{Mutex, MutexGuard};
use crate::context::{Json, Lock};
use crate::session::{ProcessNumber, Seq, SessionId};

/// A place in the queue for a record lock. Whoever waits keeps it; giving it up makes the queue go past it.
#[derive(Debug, Default)]
pub struct Ticket {
    state: Mutex<Place>,
    wake: Notify,
}

/// Where a ticket stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In the queue.
    #[default]
    Waiting,
    /// The lock is decided to be its, and not on disk yet.
    Reserved,
    /// It has the lock.
    Granted(Lock),
    /// It never gets the lock: its process ends.
    Refused,
    /// Nobody waits with it any more.
    GivenUp,
}

impl Ticket {
    /// Waits until the lock is granted or refused.
    pub async fn called(&self) -> Place {
        loop {
            let woken = self.wake.notified();
            match self.place() {
                Place::Waiting | Place::Reserved => woken.await,
                place => return place,
            }
        }
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.state().clone()
    }

    /// Stops waiting; false if the lock is its already, or about to be.
    pub fn give_up(&self) -> bool {
        let mut state = self.state();
        if matches!(*state, Place::Waiting) {
            *state = Place::GivenUp;
        }
        !matches!(*state, Place::Reserved | Place::Granted(_))
    }

    /// Whether it is in the queue still.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(*self.state(), Place::Waiting)
    }

    /// Takes it out of the queue for the lock; false if nobody waits with it.
    pub(super) fn reserve(&self) -> bool {
        let mut state = self.state();
        let is_waiting = matches!(*state, Place::Waiting);
        if is_waiting {
            *state = Place::Reserved;
        }
        is_waiting
    }

    /// Gives it a lock that its process has already; false if nobody waits with it.
    pub(super) fn reserve_and_grant(&self, lock: &Lock) -> bool {
        let is_there = self.reserve();
        if is_there {
            self.grant(lock);
        }
        is_there
    }

    pub(super) fn grant(&self, lock: &Lock) {
        *self.state() = Place::Granted(lock.clone());
        self.wake.notify_one();
    }

    pub(super) fn refuse(&self) {
        let mut state = self.state();
        if matches!(*state, Place::Waiting | Place::Reserved) {
            *state = Place::Refused;
            self.wake.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, Place> {
        // The state is one word that is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries saved information from where it was kept to whoever takes it: by session and process.
#[derive(Debug, Default)]
pub(super) struct Handover(StdMutex<Vec<(Seq, ProcessNumber, Json)>>);

impl Handover {
    pub(super) fn put(&self, found: Vec<(Seq, ProcessNumber, Json)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    pub(super) fn take(&self) -> Vec<(Seq, ProcessNumber, Json)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes those who wait for something to happen to one session, and nobody else.
#[derive(Debug, Default)]
pub(super) struct Bells(Mutex<Hung>);

#[derive(Debug, Default)]
struct Hung {
    bells: HashMap<SessionId, Weak<Notify>>,
    tidy_at: usize,
}

/// Bells that may hang before those are taken down that nobody listens to.
const LEAST_HUNG: usize = 64;

impl Bells {
    /// The bell of a session: it rings for all who listened before.
    pub(super) fn of(&self, id: SessionId) -> Arc<Notify> {
        let mut hung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = hung.bells.get(&id).and_then(Weak::upgrade) {
            return bell;
        }
        if hung.bells.len() >= hung.tidy_at.max(LEAST_HUNG) {
            hung.bells.retain(|_, bell| bell.strong_count() > 0);
            hung.tidy_at = 2 * hung.bells.len();
        }
        let bell = Arc::new(Notify::new());
        hung.bells.insert(id, Arc::downgrade(&bell));
        bell
    }

    /// Wakes everybody, when nothing more will happen to any session.
    pub(super) fn ring_all(&self) {
        let hung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in hung.bells.values().filter_map(Weak::upgrade) {
            bell.notify_waiters();
        }
    }

    pub(super) fn ring(&self, id: SessionId) {
        let hung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = hung.bells.get(&id).and_then(Weak::upgrade) {
            bell.notify_waiters();
        }
    }
}
