//! What happens on time: due sessions are closed (C12), last requests are written (C17).

use std::convert::Infallible;
use std::time::Duration;

use super::Registry;
use crate::admin::Actor;
use crate::store::{Applied, Change, Error, Store};

/// How often the sweep looks for due sessions. They are refused from their deadline on, swept or not.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Sweeps between two writings of the last requests: a crash loses at most 60 s of them (C17).
const SWEEPS_PER_FLUSH: u32 = 30;

/// Pause after a failure of the store, which has told of itself.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Due sessions that are taken in one change.
const BATCH: usize = 512;

impl<S: Store> Registry<S> {
    pub(super) async fn sweep_regularly(&self) -> Infallible {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tick = 0_u32;
        loop {
            ticks.tick().await;
            tick = (tick + 1) % SWEEPS_PER_FLUSH;
            let swept = self.sweep().await.map(drop);
            let flushed = if tick == 0 {
                self.inner.store.flush().await
            } else {
                Ok(())
            };
            match swept.and(flushed) {
                Ok(()) | Err(Error::Busy) => {}
                Err(error) => {
                    tracing::error!(%error, "due sessions are not closed, last requests not written");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    /// Begins the closing of every session that is due, cause `inactive`; answers how many.
    ///
    /// # Errors
    /// When the store does not answer; what is due stays refused.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let mut begun = 0;
        loop {
            let expire = Change::Expire {
                actor: Actor::server().to_string(),
                limit: BATCH,
            };
            let Applied::Expired(count) = self.inner.store.apply(expire, self.now()).await? else {
                return Ok(begun);
            };
            self.inner.begun.notify_one();
            begun += count;
            if count < BATCH {
                return Ok(begun);
            }
        }
    }
}
