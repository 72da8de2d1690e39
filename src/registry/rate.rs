//! How often one client address may open a session (C10, S49).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// The time over which `open_rate` counts.
const MINUTE: Duration = Duration::from_secs(60);

/// Addresses that are remembered before those are forgotten that owe nothing.
const LEAST_REMEMBERED: usize = 1_024;

/// Remembers for each address until when its openings last: each costs its share of a minute, and an address may be a
/// minute ahead.
#[derive(Default)]
pub(super) struct OpenRate(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    paid_until: HashMap<IpAddr, Timestamp>,
    forget_at: usize,
}

/// An opening that was counted.
#[derive(Debug)]
pub(super) struct Counted {
    address: IpAddr,
    share: Duration,
}

impl OpenRate {
    /// Counts an opening, or says when to come again.
    pub(super) fn count(
        &self,
        address: IpAddr,
        rate: u32,
        now: Timestamp,
    ) -> Result<Counted, Duration> {
        let share = MINUTE / rate.max(1);
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.forget(now);
        let paid_until = remembered.paid_until.entry(address).or_insert(now);
        let next = (*paid_until).max(now).plus(share);
        let ahead = next.since(now);
        if ahead > MINUTE {
            return Err(ahead - MINUTE);
        }
        *paid_until = next;
        Ok(Counted { address, share })
    }

    /// Takes an opening back that did not come about.
    pub(super) fn take_back(&self, counted: &Counted) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(paid_until) = remembered.paid_until.get_mut(&counted.address) {
            let share = i64::try_from(counted.share.as_millis()).unwrap_or(i64::MAX);
            *paid_until = Timestamp::from_millis(paid_until.as_millis().saturating_sub(share));
        }
    }
}

impl Remembered {
    /// Whoever owes nothing need not be remembered. Looked at when as many came as there were, so it costs each of them little.
    fn forget(&mut self, now: Timestamp) {
        if self.paid_until.len() >= self.forget_at.max(LEAST_REMEMBERED) {
            self.paid_until.retain(|_, paid_until| *paid_until > now);
            self.forget_at = 2 * self.paid_until.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn a_minute_has_so_many_openings_for_each_address() {
        let rate = OpenRate::default();
        let now = Timestamp::from_millis(1_764_000_000_000);
        for _ in 0..60 {
            rate.count(address(1), 60, now).unwrap();
        }
        assert_eq!(
            rate.count(address(1), 60, now).unwrap_err(),
            Duration::from_secs(1)
        );
        assert!(rate.count(address(2), 60, now).is_ok());
        let later = now.plus(Duration::from_secs(1));
        let counted = rate.count(address(1), 60, later).unwrap();
        assert!(rate.count(address(1), 60, later).is_err());
        rate.take_back(&counted);
        assert!(rate.count(address(1), 60, later).is_ok());
    }

    #[test]
    fn addresses_that_owe_nothing_are_forgotten() {
        let rate = OpenRate::default();
        for minute in 0..20 {
            let now = Timestamp::from_millis(1_764_000_000_000 + minute * 60_000);
            for number in 0..LEAST_REMEMBERED as u32 {
                rate.count(address(minute as u32 * 100_000 + number), 60, now)
                    .unwrap();
            }
        }
        assert!(rate.0.lock().unwrap().paid_until.len() <= 3 * LEAST_REMEMBERED);
    }
}
