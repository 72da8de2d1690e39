//! The closing worker: takes closing work from the store, the same way after a restart as after a call, runs the on-close
//! method for each process, and ends what is closing.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use super::on_close::Ran;
use super::{LOOK_AGAIN, Registry, tell_failure_of_store};
use crate::on_close::{Invocation, MethodResult, MethodRun, RunKey};
use crate::session::Cause;
use crate::store::{Change, Claim, Error, Found, Store, Work};

/// How long claimed work is the claimer's own, besides the time that a method may take.
const LEASE: Duration = Duration::from_secs(90);

/// Closings that are taken at once.
const BATCH: usize = 512;

/// Time that methods under way get to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Closing work under way.
type Tasks = JoinSet<Result<(), Error>>;

impl<S: Store> Registry<S> {
    /// Does closing work until `stop` is ready; then begins no more, and lets methods under way end for a while. Those
    /// that do not are killed, and run again at the next start.
    pub(super) async fn finish_closings_until(&self, stop: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        tokio::select! {
            never = self.finish_closings(&mut tasks) => match never {},
            () = stop => {}
        }
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("some on-close methods did not end before the stop; they run again");
        }
    }

    pub(super) async fn finish_closings(&self, tasks: &mut Tasks) -> Infallible {
        loop {
            match self.claim(tasks.len()).await {
                Ok(work) => self.begin_work(work, tasks),
                Err(error) => {
                    tell_failure_of_store(&error, "closings cannot be finished");
                    tokio::time::sleep(LEASE).await;
                }
            }
            tokio::select! {
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => tell_failure(ended),
                () = self.inner.begun.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            // Those that end by one commit make room together.
            while let Some(ended) = tasks.try_join_next() {
                tell_failure(ended);
            }
        }
    }

    /// Does the closing work that nobody has, with everything that follows from it; answers how much it was.
    ///
    /// # Errors
    /// When the store does not answer; what was begun stays begun.
    pub async fn finish_begun(&self) -> Result<usize, Error> {
        let mut tasks = JoinSet::new();
        let mut count = 0;
        loop {
            let work = self.claim(0).await?;
            if work.is_empty() {
                return Ok(count);
            }
            count += work.len();
            self.begin_work(work, &mut tasks);
            let mut result = Ok(());
            while let Some(ended) = tasks.join_next().await {
                if let Ok(Err(error)) = ended {
                    result = Err(error);
                }
            }
            result?;
        }
    }

    /// Takes as much work as there is room for beside what is under way.
    async fn claim(&self, under_way: usize) -> Result<Vec<Work>, Error> {
        let settings = self.inner.store.settings()?;
        let options = settings.options();
        let now = self.now();
        let claim = Claim {
            until: now.plus(LEASE + options.on_close_time_limit),
            max: BATCH.saturating_sub(under_way),
            runs: options
                .on_close_slots
                .saturating_sub(self.inner.running.count()),
            has_method: self.inner.on_close.has_method(),
            only: self.own_closings(),
        };
        self.inner.store.claim(claim, now).await
    }

    /// Begins work in tasks of their own, so that all wait for the same commit.
    fn begin_work(&self, work: Vec<Work>, tasks: &mut Tasks) {
        for work in work {
            let registry = self.clone();
            let id = match &work {
                Work::Finish(id) => *id,
                Work::Process(key, _) => key.session,
            };
            // A run has its slot from here on.
            let slot =
                matches!(work, Work::Process(_, Some(_))).then(|| Slot::take(&self.inner.running));
            tasks.spawn(async move {
                let done = registry.work_on(work).await;
                drop(slot);
                registry.let_go(id).await;
                done
            });
        }
    }

    async fn work_on(&self, work: Work) -> Result<(), Error> {
        match work {
            Work::Finish(id) => self.settle(Change::FinishClose(id)).await,
            Work::Process(key, None) => {
                let (run, saved) = (None, None);
                self.settle(Change::FinishProcess { key, run, saved }).await
            }
            Work::Process(key, Some(invocation)) => self.run_method(key, &invocation).await,
        }
    }

    /// Runs the method for a process and ends that, whatever the method came to (C09).
    async fn run_method(&self, key: RunKey, invocation: &Invocation) -> Result<(), Error> {
        let settings = self.inner.store.settings()?;
        let limit = settings.options().on_close_time_limit;
        let began = self.now();
        let ran = if self.is_struck(invocation).await? {
            Ran::struck()
        } else {
            let struck = self.until_struck(invocation);
            self.inner.on_close.run(invocation, limit, struck).await
        };
        let took = self.now().since(began);
        let run = MethodRun {
            process: key.process,
            result: ran.result,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            late: invocation.late,
            detail: ran.detail,
        };
        tell(key, &run);
        let (run, saved) = (Some(run), ran.saved);
        self.settle(Change::FinishProcess { key, run, saved }).await
    }

    /// Waits until the session is dropped that a run is for: whoever dropped it need not be there any more.
    async fn until_struck(&self, invocation: &Invocation) {
        loop {
            let bell = self.inner.store.bell(invocation.session.id);
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();
            match self.is_struck(invocation).await {
                Ok(true) => return,
                Ok(false) => rung.await,
                // A store that fails tells nothing more: the run has its own time limit.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Whether the session was dropped. What runs late is left alone: its closing has ended, and not by the drop.
    async fn is_struck(&self, invocation: &Invocation) -> Result<bool, Error> {
        if invocation.late {
            return Ok(false);
        }
        let found = self
            .inner
            .store
            .find(invocation.session.id, self.now())
            .await?;
        Ok(matches!(found, Found::Closed(closed, _) if closed.cause == Cause::Dropped))
    }

    async fn settle(&self, change: Change) -> Result<(), Error> {
        while let Err(error) = self.inner.store.apply(change.clone(), self.now()).await {
            match error {
                Error::Busy => tokio::time::sleep(LOOK_AGAIN).await,
                error => return Err(error),
            }
        }
        Ok(())
    }
}

fn tell_failure(ended: Result<Result<(), Error>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tell_failure_of_store(&error, "a closing could not be finished"),
        // A task that died leaves its work to the end of its lease.
        Err(error) => tracing::error!(%error, "closing work was cut off"),
    }
}

fn tell(key: RunKey, run: &MethodRun) {
    let MethodRun {
        result,
        took_ms,
        late,
        detail,
        ..
    } = run;
    let detail = detail.as_deref().unwrap_or_default();
    match result {
        MethodResult::Succeeded if *late => {
            tracing::info!(%key, took_ms, "the on-close method has run, late");
        }
        MethodResult::Struck => {
            tracing::debug!(%key, "its session was dropped before the on-close method ran")
        }
        MethodResult::Succeeded => {
            tracing::debug!(%key, took_ms, late, "the on-close method has run");
        }
        _ => tracing::warn!(%key, %result, took_ms, late, detail, "the on-close method failed"),
    }
}

/// How many runs of the on-close method are under way.
#[derive(Default)]
pub(super) struct Running(AtomicUsize);

impl Running {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The place of one run among those that may be under way at once.
struct Slot(Arc<Running>);

impl Slot {
    fn take(running: &Arc<Running>) -> Self {
        running.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(running))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
