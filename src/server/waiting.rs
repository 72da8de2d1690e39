//! Requests that wait: for a process to be asked to finish, for a lock, for the end of a closing. They hold up neither a stop
//! nor the requests that do not wait.

use std::future::{Future, pending};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::access::Role;

/// Requests that wait at once. One more is answered at once, as if its time were over: the connections that are left are
/// for those who do not wait, so that no application locks its operators out.
pub(super) const PLACES: usize = 384;

/// Bodies that are on their way at once, of applications and of operators each. Whoever sends them slowly takes no more than
/// these of the connections that are left, and no application takes its operators'.
const BODIES: usize = 48;

/// What comes of waiting.
#[derive(Debug, PartialEq, Eq)]
enum Told<A> {
    Answer(A),
    /// The server stops, or too many wait already: it is asked without waiting.
    AtOnce,
    /// The caller is let in no longer.
    Gone,
}

/// Where requests wait.
pub(super) struct Waiting {
    places: Semaphore,
    bodies: Semaphore,
    bodies_of_applications: Semaphore,
    stopping: Option<watch::Receiver<bool>>,
}

impl Waiting {
    /// For a server that says when it stops, or for one that never does.
    pub(super) fn until(stopping: Option<watch::Receiver<bool>>) -> Self {
        Self {
            places: Semaphore::new(PLACES),
            bodies: Semaphore::new(BODIES),
            bodies_of_applications: Semaphore::new(BODIES),
            stopping,
        }
    }

    /// Asks with a time to wait, and once more without one if the server stops meanwhile or too many wait already. `None` if
    /// the caller was let in no longer before there was an answer.
    pub(super) async fn patient<A, F>(
        &self,
        wait: Duration,
        until_gone: impl Future<Output = ()>,
        ask: impl Fn(Duration) -> F,
    ) -> Option<A>
    where
        F: Future<Output = A>,
    {
        if !wait.is_zero() {
            match self.until_told(ask(wait), until_gone).await {
                Told::Answer(answer) => return Some(answer),
                Told::Gone => return None,
                Told::AtOnce => {}
            }
        }
        Some(ask(Duration::ZERO).await)
    }

    /// What a request that waits comes to; it is dropped if something else comes before.
    async fn until_told<A>(
        &self,
        waits: impl Future<Output = A>,
        until_gone: impl Future<Output = ()>,
    ) -> Told<A> {
        let Ok(_place) = self.places.try_acquire() else {
            return Told::AtOnce;
        };
        tokio::select! {
            biased;
            answer = waits => Told::Answer(answer),
            () = self.stopped() => Told::AtOnce,
            () = until_gone => Told::Gone,
        }
    }

    /// A place for a body that is on its way; `None` if there are too many.
    pub(super) fn place_for_body(&self, role: Role) -> Option<SemaphorePermit<'_>> {
        let bodies = match role {
            Role::App => &self.bodies_of_applications,
            _ => &self.bodies,
        };
        bodies.try_acquire().ok()
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
        let (answer, _) = tokio::join!(waiting.patient(WAIT, pending(), ask), stop);
        assert_eq!(answer, Some("as it stands"));
        let answer = waiting.patient(WAIT, pending(), ask).await;
        assert_eq!(answer, Some("as it stands"));
    }

    #[tokio::test]
    async fn what_is_there_is_answered_also_during_a_stop() {
        let waiting = Waiting::until(Some(watch::channel(true).1));
        let told = waiting.until_told(async { 1 }, pending()).await;
        assert_eq!(told, Told::Answer(1));
        let told = waiting.until_told(pending::<()>(), pending()).await;
        assert_eq!(told, Told::AtOnce);
    }

    #[tokio::test]
    async fn those_who_wait_leave_room_for_those_who_do_not() {
        let waiting = Waiting::until(None);
        let all = waiting.places.try_acquire_many(PLACES as u32).unwrap();
        let answer = waiting.patient(WAIT, pending(), ask).await;
        assert_eq!(answer, Some("as it stands"));
        drop(all);
        let told = waiting.until_told(async { 1 }, pending()).await;
        assert_eq!(told, Told::Answer(1));
    }

    #[tokio::test]
    async fn s31_whoever_is_let_in_no_longer_waits_no_longer() {
        let waiting = Waiting::until(None);
        assert_eq!(waiting.patient(WAIT, async {}, ask).await, None);
        let told = waiting.patient(Duration::ZERO, async {}, ask).await;
        assert_eq!(told, Some("as it stands"));
    }
}
