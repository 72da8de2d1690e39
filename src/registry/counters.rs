//! How many clients were refused since the start; what happened to sessions is the store's to count.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::admin::Refused;

#[derive(Default)]
pub(super) struct Counters {
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
    pub(super) fn count(&self, why: &Refusal) {
        let counter = match why {
            Refusal::Full => &self.full,
            Refusal::Rate => &self.rate,
            Refusal::Address => &self.address,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) -> Refused {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Refused {
            full: read(&self.full),
            rate: read(&self.rate),
            address: read(&self.address),
        }
    }
}
