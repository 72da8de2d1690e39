//! What happens on time: due sessions are closed (C12), last requests are written (C17).

use std::convert::Infallible;
use std::time::Duration;

use super::{Registry, end};
use crate::admin::{Actor, EndRequest};
use crate::session::{Cause, SessionId};
use crate::store::{Applied, Change, Error, Part, Store};

/// How often the sweep looks for due sessions. They are refused from their deadline on, swept or not.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Sweeps between two writings of the last requests: a crash loses at most 60 s of them (C17).
const SWEEPS_PER_FLUSH: u32 = 30;

/// Due sessions that are taken at once.
const BATCH: usize = 512;

impl<S: Store> Registry<S> {
    pub(super) async fn sweep_regularly(&self) -> Infallible {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tick = 0_u32;
        loop {
            ticks.tick().await;
            tick = (tick + 1) % SWEEPS_PER_FLUSH;
            if let Err(error) = self.sweep().await {
                tracing::error!(%error, "due sessions cannot be closed; trying again");
            }
            if tick == 0
                && let Err(error) = self.inner.store.flush().await
            {
                tracing::error!(%error, "last requests cannot be written; trying again");
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
            let due = self.inner.store.due(self.now(), BATCH).await?;
            let count = due.len();
            let mut tasks = tokio::task::JoinSet::new();
            for id in due {
                let registry = self.clone();
                tasks.spawn(async move { registry.expire(id).await });
            }
            while let Some(expired) = tasks.join_next().await {
                begun += usize::from(expired.unwrap_or(Ok(false))?);
            }
            self.inner.begun.notify_one();
            if count < BATCH {
                return Ok(begun);
            }
        }
    }

    /// A request may have come in between: the store closes only what is still due.
    async fn expire(&self, id: SessionId) -> Result<bool, Error> {
        let end = end(id, Cause::Inactive, EndRequest::by(Actor::server()));
        let applied = self
            .inner
            .store
            .apply(Change::BeginClose(end), self.now())
            .await?;
        Ok(matches!(
            applied,
            Applied::Ended {
                part: Part::Began,
                ..
            }
        ))
    }
}
