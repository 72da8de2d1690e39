//! What happened since the start, for `stats`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::admin::{Ended, Refused};
use crate::session::Cause;

#[derive(Default)]
pub(super) struct Counters {
    opened: AtomicU64,
    command: AtomicU64,
    logout: AtomicU64,
    inactive: AtomicU64,
    evicted: AtomicU64,
    dropped: AtomicU64,
    suspended: AtomicU64,
    full: AtomicU64,
    rate: AtomicU64,
    address: AtomicU64,
}

/// Why a client was refused.
pub(super) enum Refusal {
    Full,
    Rate,
    Address,
}

impl Counters {
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, cause: Cause, count: u64) {
        let counter = match cause {
            Cause::Command => &self.command,
            Cause::Logout => &self.logout,
            Cause::Inactive => &self.inactive,
            Cause::Evicted => &self.evicted,
            Cause::Dropped => &self.dropped,
        };
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn suspended(&self, count: u64) {
        self.suspended.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, why: &Refusal) {
        let counter = match why {
            Refusal::Full => &self.full,
            Refusal::Rate => &self.rate,
            Refusal::Address => &self.address,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> (u64, u64, Ended, Refused) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ended = Ended {
            command: read(&self.command),
            logout: read(&self.logout),
            inactive: read(&self.inactive),
            evicted: read(&self.evicted),
            dropped: read(&self.dropped),
        };
        let refused = Refused {
            full: read(&self.full),
            rate: read(&self.rate),
            address: read(&self.address),
        };
        (read(&self.opened), read(&self.suspended), ended, refused)
    }
}
