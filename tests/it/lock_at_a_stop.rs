//! A server that stops while an application waits for a lock, which comes in the same moment (C16, C17).

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use sessionctl::application::Application as _;
use sessionctl::clock::Clock as _;
use sessionctl::store::{Applied, Change, Place as Standing, Store as _, Ticket};

use crate::contexts::{first, held_locks, invoice, queued, soon, until};
use crate::places::{BehindServer, Durable as _, Place as _, Work, roomy};

#[tokio::test]
async fn who_waits_for_a_lock_is_told_of_it_if_it_comes_with_the_stop() {
    let mut place = BehindServer::start(roomy(), Work::Regular).await;
    let (holder, waiter) = (place.enter().await.0, place.enter().await.0);
    let (record, at) = (invoice("1"), first(waiter));
    let held = place
        .app()
        .lock(first(holder), record.clone(), Duration::ZERO);
    held.await.unwrap();
    let stop = place.stop_later();
    let app = place.app();
    let stopping = async {
        queued(&place, &record, 1).await;
        let disk = Connection::open(place.socket().with_file_name("sessions.sqlite")).unwrap();
        disk.execute_batch("BEGIN IMMEDIATE").unwrap();
        // One more who waits for the same process tells when the lock is decided to be its, before that is on disk.
        let ticket = Arc::new(Ticket::default());
        let lock = Change::Lock(at, record.clone(), Some(Arc::clone(&ticket)));
        let store = place.registry().store();
        let answer = store.apply(lock, place.clock().now()).await.unwrap();
        assert!(matches!(answer, Applied::Queued), "{answer:?}");
        let unlocking = app.unlock(first(holder), record.clone());
        let rest = async {
            let is_reserved = async || (ticket.place() == Standing::Reserved).then_some(());
            until("the lock", is_reserved).await;
            drop(stop);
            let is_stopping = async || UnixStream::connect(place.socket()).err();
            until("the stop", is_stopping).await;
            drop(disk);
        };
        let (unlocked, ()) = tokio::join!(unlocking, rest);
        unlocked.unwrap();
    };
    let waiting = app.lock(at, record.clone(), Duration::from_secs(60));
    let (lock, ()) = soon(async { tokio::join!(waiting, stopping) }).await;
    let fence = lock.expect("it is told of the lock").fence;
    let place = place.restart().await;
    let locks = held_locks(&place).await;
    assert_eq!((locks[0].session, locks[0].fence), (waiter, fence));
}
