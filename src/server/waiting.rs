//! Requests that wait: for a process to be asked to finish, for a lock, for the end of a closing. They hold up neither a stop
//! nor the requests that do not wait.

use std::future::{Future, pending};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

/// Requests that wait at once. One more is answered at once, as if its time were over: the connections that are left are
/// for those who do not wait, so that no application locks its operators out.
pub(super) const PLACES: usize = 384;

/// Where requests wait.
pub(super) struct Waiting {
    places: Semaphore,
    stopping: Option<watch::Receiver<bool>>,
}

impl Waiting {
    /// For a server that says when it stops, or for one that never does.
    pub(super) fn until(stopping: Option<watch::Receiver<bool>>) -> Self {
        Self {
            places: Semaphore::new(PLACES),
            stopping,
        }
    }

    /// Asks with a time to wait, and once more without one if the server stops meanwhile or too many wait already.
    pub(super) async fn patient<A, F>(&self, wait: Duration, ask: impl Fn(Duration) -> F) -> A
    where
        F: Future<Output = A>,
    {
        if !wait.is_zero()
            && let Some(answer) = self.unless_stopping(ask(wait)).await
        {
            return answer;
        }
        ask(Duration::ZERO).await
    }

    /// What a request that waits comes to; `None` if the server stops before, or too many wait already. It is dropped then.
    pub(super) async fn unless_stopping<A>(&self, waits: impl Future<Output = A>) -> Option<A> {
        let _place = self.places.try_acquire().ok()?;
        tokio::select! {
            biased;
            answer = waits => Some(answer),
            () = self.stopped() => None,
        }
    }

    async fn stopped(&self) {
        let Some(stopping) = &self.stopping else {
            return pending().await;
        };
        let mut stopping = stopping.clone();
        let is_said = stopping.wait_for(|stopping| *stopping).await.is_ok();
        // Whoever would say it is gone without having said it.
        if !is_said {
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    /// Comes back at once without a time to wait, and never with one.
    async fn ask(wait: Duration) -> &'static str {
        if !wait.is_zero() {
            pending::<()>().await;
        }
        "as it stands"
    }

    #[tokio::test]
    async fn a_stop_ends_all_waiting() {
        let (stop, stopped) = watch::channel(false);
        let waiting = Waiting::until(Some(stopped));
        let stop = async { stop.send_replace(true) };
        let (answer, _) = tokio::join!(waiting.patient(WAIT, ask), stop);
        assert_eq!(answer, "as it stands");
        assert_eq!(waiting.patient(WAIT, ask).await, "as it stands");
    }

    #[tokio::test]
    async fn what_is_there_is_answered_also_during_a_stop() {
        let waiting = Waiting::until(Some(watch::channel(true).1));
        assert_eq!(waiting.unless_stopping(async { 1 }).await, Some(1));
        assert_eq!(waiting.unless_stopping(pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn those_who_wait_leave_room_for_those_who_do_not() {
        let waiting = Waiting::until(None);
        let all = waiting.places.try_acquire_many(PLACES as u32).unwrap();
        assert_eq!(waiting.patient(WAIT, ask).await, "as it stands");
        drop(all);
        assert_eq!(waiting.unless_stopping(async { 1 }).await, Some(1));
    }
}
