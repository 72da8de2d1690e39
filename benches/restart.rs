//! A server of a million sessions that starts again: how long until it has read its store, against reading the same rows and
//! doing nothing with them. `cargo bench --bench restart`; what counts is the ratio, in the same run.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::panic
)]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rusqlite::Connection;
use sessionctl::audit::Actor;
use sessionctl::clock::Timestamp;
use sessionctl::options::{Options, Settings};
use sessionctl::session::{Cause, Kind, SessionId};
use sessionctl::store::directory::DataDir;
use sessionctl::store::sqlite::SqliteStore;
use sessionctl::store::{Applied, Change, End, NewSession, Store};
use sessionctl::token::Token;

const SESSIONS: usize = 1_000_000;

/// Changes that wait for the disk together.
const IN_FLIGHT: usize = 4_096;

/// One in so many is closing when the server dies.
const CLOSING: usize = 100;

fn settings() -> Settings {
    let options = Options {
        max_sessions: SESSIONS,
        ..Options::default()
    };
    options.into()
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(DataDir::exclusive(directory, true).unwrap(), settings()).unwrap()
}

async fn open_session(store: &SqliteStore, number: usize) -> SessionId {
    let new = NewSession {
        ordered_by: None,
        id: SessionId::random(),
        token_hash: Token::mint().unwrap().hash(),
        kind: Kind::Web,
        user: (number.is_multiple_of(2)).then(|| format!("user-{}", number % 10_000).into()),
        ip: Some([10, 1, 2, 3].into()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101".into()),
        idle_timeout: None,
        previous: None,
        actor: Actor::server(),
    };
    match store.apply(Change::Open(new), now()).await.unwrap() {
        Applied::Opened(session, _) => session.id,
        applied => panic!("{applied:?}"),
    }
}

async fn fill(store: &SqliteStore) {
    let mut ids = Vec::with_capacity(SESSIONS);
    for first in (0..SESSIONS).step_by(IN_FLIGHT) {
        let batch = first..(first + IN_FLIGHT).min(SESSIONS);
        ids.extend(join_all(batch.map(|number| open_session(store, number))).await);
    }
    let closing: Vec<SessionId> = ids.into_iter().step_by(CLOSING).collect();
    for batch in closing.chunks(IN_FLIGHT) {
        let closes = batch.iter().map(|id| {
            let end = End::by_itself(*id, Cause::Command, &Actor::user(0));
            store.apply(Change::BeginClose(end), now())
        });
        join_all(closes).await;
    }
}

/// The baseline: every row of every session, and nothing more.
fn read_rows(directory: &Path) -> Duration {
    let disk = Connection::open(directory.join("sessions.sqlite")).unwrap();
    let started = Instant::now();
    let mut select = disk.prepare("SELECT * FROM sessions").unwrap();
    let columns = select.column_count();
    let mut rows = select.query([]).unwrap();
    let mut count = 0;
    while let Some(row) = rows.next().unwrap() {
        for column in 0..columns {
            black_box(row.get_ref(column).unwrap());
        }
        count += 1;
    }
    let took = started.elapsed();
    println!("reading the rows of {count} sessions: {took:.3?}");
    took
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let store = open(directory.path());
    fill(&store).await;
    println!("opening {SESSIONS} sessions: {:.3?}", started.elapsed());
    drop(store);
    let mut baseline = Duration::MAX;
    for _ in 0..3 {
        baseline = baseline.min(read_rows(directory.path()));
    }
    for _ in 0..3 {
        let started = Instant::now();
        let store = open(directory.path());
        let took = started.elapsed();
        let census = store.census().await.unwrap();
        let ratio = took.as_secs_f64() / baseline.as_secs_f64();
        println!(
            "start with {} active and {} closing: {took:.3?}  {ratio:.2} x reading the rows",
            census.active, census.closing
        );
    }
}
