//! What happens on time: due sessions are closed (C12), last requests are written (C17).

use std::convert::Infallible;
use std::time::Duration;

use super::{Registry, tell_failure_of_store};
use crate::admin::{Actor, Refused};
use crate::clock::Timestamp;
use crate::session::SessionId;
use crate::store::{Applied, Change, Error, Store};

/// How often the sweep looks for what is due. Sessions are refused from their deadline on, swept or not; a lease, a grace
/// period and the time limit of a closing end by so much later at most.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// Sweeps between two looks at whom to tell of: once a second.
const SWEEPS_PER_TALE: u32 = 4;

/// Sweeps between two writings of the last requests, every 30 s: a crash loses at most 60 s of them (C17). Closed sessions
/// are forgotten as often.
const SWEEPS_PER_FLUSH: u32 = 120;

/// Pause after a failure of the store, which has told of itself.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Due sessions that are taken in one change.
const BATCH: usize = 512;

impl<S: Store> Registry<S> {
    pub(super) async fn sweep_regularly(&self) -> Infallible {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tick = 0_u32;
        let mut clock = WallClock::default();
        let mut refused = Refused::default();
        self.tell_what_is_due().await;
        loop {
            ticks.tick().await;
            tick = (tick + 1) % SWEEPS_PER_FLUSH;
            if tick.is_multiple_of(SWEEPS_PER_TALE) {
                clock.watch(self.inner.time.wall_clock_ahead());
                self.tell_who_was_refused(&mut refused);
                self.record_refusals(false).await;
            }
            match self.keep_up(tick == 0).await {
                Ok(()) | Err(Error::Busy) => {}
                Err(error) => {
                    let what = "due sessions are not closed, last requests not written";
                    tell_failure_of_store(&error, what);
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    async fn keep_up(&self, is_flush: bool) -> Result<(), Error> {
        self.sweep().await?;
        if is_flush {
            self.forget().await?;
            self.inner.store.flush(self.now()).await?;
        }
        Ok(())
    }

    /// Forgets the sessions that were closed longer ago than `history_retention`; answers how many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget(&self) -> Result<usize, Error> {
        let retention = self.inner.store.settings()?.options().history_retention;
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = self.now().as_millis().saturating_sub(retention);
        let mut forgotten = 0;
        loop {
            let forget = Change::Forget {
                before: Timestamp::from_millis(before),
                limit: BATCH,
            };
            match self.inner.store.apply(forget, self.now()).await? {
                Applied::Forgotten(count) if count > 0 => forgotten += count,
                _ => return Ok(forgotten),
            }
        }
    }

    /// Ends the grace periods and the time limits of the closings that this registry began.
    pub(super) async fn hurry_own_closings(&self) -> Infallible {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let own: Vec<SessionId> = match self.own_closings() {
                Some(own) => own.iter().copied().collect(),
                None => Vec::new(),
            };
            if own.is_empty() {
                continue;
            }
            match self.inner.store.apply(Change::Hurry(own), self.now()).await {
                Ok(_) => self.inner.begun.notify_one(),
                Err(error) => tell_failure_of_store(&error, "closings cannot be finished"),
            }
        }
    }

    /// In sum and not one by one: a flood of clients is not to become a flood of lines.
    fn tell_who_was_refused(&self, told: &mut Refused) {
        let refused = self.inner.counters.refused();
        if refused != *told {
            let Refused {
                full,
                rate,
                address,
            } = refused;
            tracing::warn!(
                full,
                rate,
                address,
                "clients were refused (totals): no room, too many openings from one address (a proxy? name it in trusted_proxies), another address than the session's"
            );
            *told = refused;
        }
    }

    /// After a long stop, or a clock that was set forward, many sessions may be due at once: that is told (S14).
    async fn tell_what_is_due(&self) {
        let (latest, now) = (self.inner.store.latest(), self.inner.since);
        if latest == Timestamp::EPOCH {
            return;
        }
        match self.sweep().await {
            Ok(due) if due > 0 => {
                let stopped =
                    humantime::format_duration(Duration::from_secs(now.since(latest).as_secs()));
                tracing::warn!(
                    due,
                    "sessions were due at the start; by the clock the server was stopped for {stopped}"
                );
            }
            // Whatever is wrong is told by the next sweep.
            _ => {}
        }
    }

    /// Begins the closing of every session that is due, cause `inactive`, and suspends those whose process is; answers how
    /// many are closed.
    ///
    /// # Errors
    /// When the store does not answer; what is due stays refused.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let mut begun = 0;
        loop {
            let expire = Change::Expire {
                actor: Actor::server(),
                limit: BATCH,
            };
            let Applied::Expired {
                closed,
                late,
                is_all,
            } = self.inner.store.apply(expire, self.now()).await?
            else {
                return Ok(begun);
            };
            if late > 0 {
                tracing::warn!(
                    late,
                    "closings had to end before their on-close methods: those still run, with a copy"
                );
            }
            self.began_aside(&closed);
            begun += closed.len();
            if is_all {
                return Ok(begun);
            }
        }
    }
}

/// How far the wall clock may be off before that is told.
const TOLERATED_MILLIS: u64 = 5_000;

/// Tells of a wall clock that was set: sessions go on by the time that has passed (S14).
#[derive(Default)]
struct WallClock {
    told_ahead: i64,
}

impl WallClock {
    fn watch(&mut self, ahead: i64) -> bool {
        let is_news = ahead.abs_diff(self.told_ahead) > TOLERATED_MILLIS;
        if is_news {
            self.told_ahead = ahead;
            tracing::warn!(
                ahead_seconds = ahead / 1000,
                "the wall clock was set; sessions go on by the time that has passed, until the next start"
            );
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_a_clock_that_was_set_is_told_once() {
        let mut clock = WallClock::default();
        let news = [0, 900, 3_600_000, 3_600_400, -3_600_000, -3_600_000, 0]
            .map(|ahead| clock.watch(ahead));
        assert_eq!(news, [false, false, true, false, true, false, true]);
    }
}
