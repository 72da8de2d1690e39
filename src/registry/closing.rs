//! The closing worker: takes begun closings from the store, the same way after a restart as after a call, and ends them.

use std::convert::Infallible;
use std::time::Duration;

use super::{LOOK_AGAIN, Registry};
use crate::session::SessionId;
use crate::store::{Change, Error, Store};

/// How long a claimed closing is the claimer's own.
const LEASE: Duration = Duration::from_secs(90);

/// Closings that are taken at once.
const BATCH: usize = 512;

impl<S: Store> Registry<S> {
    pub(super) async fn finish_closings(&self) -> Infallible {
        loop {
            match self.finish_begun().await {
                Ok(0) => drop(tokio::time::timeout(LOOK_AGAIN, self.inner.begun.notified()).await),
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "closings cannot be finished");
                    tokio::time::sleep(LEASE).await;
                }
            }
        }
    }

    /// Ends the closings that are begun and that nobody works on; answers how many.
    ///
    /// # Errors
    /// When the store does not answer; what was begun stays begun.
    pub async fn finish_begun(&self) -> Result<usize, Error> {
        let now = self.now();
        let claimed = self.inner.store.claim(now, now.plus(LEASE), BATCH).await?;
        let count = claimed.len();
        let mut tasks = tokio::task::JoinSet::new();
        for id in claimed {
            let registry = self.clone();
            tasks.spawn(async move { registry.finish(id).await });
        }
        // All wait for the same commit; a task that died leaves its closing to the end of its lease.
        let mut result = Ok(count);
        while let Some(finished) = tasks.join_next().await {
            if let Ok(Err(error)) = finished {
                result = Err(error);
            }
        }
        result
    }

    async fn finish(&self, id: SessionId) -> Result<(), Error> {
        while let Err(error) = self
            .inner
            .store
            .apply(Change::FinishClose(id), self.now())
            .await
        {
            match error {
                Error::Busy => tokio::time::sleep(LOOK_AGAIN).await,
                error => return Err(error),
            }
        }
        self.inner.finished.send_replace(());
        Ok(())
    }
}
