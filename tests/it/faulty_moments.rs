//! A store that fails, or stops, at one call that matters: who is told what, and who holds what nobody was told of.

use std::io::Write;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use sessionctl::admin::{Admin, LockQuery, OpenRequest, SetRequest};
use sessionctl::application::{Application as _, At};
use sessionctl::clock::ManualClock;
use sessionctl::options::{Options, Value};
use sessionctl::registry::Registry;
use sessionctl::store::memory::MemoryStore;

use crate::contexts::{SECOND, first, invoice, json, name, until};
use crate::faulty_store::{Fault, Faulty};
use crate::places::{MONDAY, browser, setting};

fn roomy() -> Options {
    Options {
        open_rate: None,
        ..Options::default()
    }
}

fn registry(
    options: Options,
    fault: Fault,
    at: u32,
) -> (Registry<Faulty<MemoryStore>>, ManualClock) {
    let clock = ManualClock::at(MONDAY.parse().unwrap());
    let store = Faulty::new(MemoryStore::new(options.into()), fault, at);
    (Registry::new(store, Arc::new(clock.clone())), clock)
}

async fn open(registry: &Registry<Faulty<MemoryStore>>, request: OpenRequest) -> At {
    first(Admin::open(registry, request).await.unwrap().session.id)
}

/// What is logged, kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// From now on, for as long as the guard lives, in this thread.
    fn keep(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Options that are in force are not called unchanged because the store failed while it ended who has no room by them. The
/// log makes no failure of a store that was busy, and does not repeat the one that has stopped it.
#[tokio::test]
async fn options_that_are_set_are_told_though_what_follows_from_them_fails() {
    // Calls 1 and 2 open sessions, 3 sets the option, 4 ends who has no room.
    for (fault, at) in [
        (Fault::FailsNext, 3),
        (Fault::FailsBefore, 4),
        (Fault::Busy, 4),
    ] {
        let options = Options {
            max_sessions: 6,
            inactive_process_timeout: 600 * SECOND,
            inactive_session_timeout: 600 * SECOND,
            ..roomy()
        };
        let (registry, clock) = registry(options, fault, at);
        open(&registry, browser()).await;
        open(&registry, browser()).await;
        clock.advance(120 * SECOND);
        let set = SetRequest {
            may_end: true,
            ..setting(vec![("max_sessions".into(), Some(Value::Number(1)))])
        };
        let log = Log::default();
        let kept = log.keep();
        let set = registry.set_options(set).await.unwrap();
        drop(kept);
        assert_eq!((set.is_set, set.ends), (true, 1));
        let log = log.text();
        assert!(
            log.contains("not closed yet") && !log.contains("ERROR"),
            "{fault:?}: {log}"
        );
        let sweep = registry.sweep().await;
        assert_eq!(sweep.is_ok(), fault == Fault::Busy, "{sweep:?}");
    }
}

/// Who waited in vain asks again why, and may get the lock by that: if it goes away before it is told, the lock is free.
#[tokio::test]
async fn a_lock_that_came_to_the_second_question_is_given_back_by_who_goes_away() {
    let options = Options {
        context_limit: 200,
        ..roomy()
    };
    let (registry, _) = registry(options, Fault::StopsAfter, 8);
    // Calls 1 and 2.
    let holder = open(&registry, browser()).await;
    let waiter = open(&registry, browser()).await;
    let record = || invoice("1");
    registry
        .lock(holder, record(), Duration::ZERO)
        .await
        .unwrap();
    let fill = |value| registry.set_variable(waiter, name("v"), value);
    let large = json(&format!("\"{}\"", "x".repeat(190)));
    {
        let mut lock = pin!(registry.lock(waiter, record(), 600 * SECOND));
        // Call 4 queues; then there is no room for the lock when it comes, and then there is room again.
        let queued = std::future::poll_fn(|context| Poll::Ready(lock.as_mut().poll(context)));
        assert!(queued.await.is_pending());
        fill(Some(large)).await.unwrap();
        registry.unlock(holder, record()).await.unwrap();
        fill(None).await.unwrap();
        tokio::select! {
            told = &mut lock => panic!("{told:?}"),
            () = registry.store().stopped.notified() => {}
        }
        let held = Admin::locks(&registry, LockQuery::default()).await.unwrap();
        assert_eq!(
            held.items.len(),
            1,
            "the eighth call was the second question"
        );
        assert_eq!(held.items[0].session, waiter.id);
    }
    until("the lock that nobody was told of", async || {
        let held = Admin::locks(&registry, LockQuery::default()).await;
        held.unwrap().items.is_empty().then_some(())
    })
    .await;
    registry
        .lock(holder, record(), Duration::ZERO)
        .await
        .unwrap();
}
