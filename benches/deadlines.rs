//! A million sessions: what it costs to find those that are due, and one that makes room, against looking at all of them.
//! `cargo bench`; what counts is the ratio, in the same run.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::panic
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sessionctl::audit::Actor;
use sessionctl::clock::Timestamp;
use sessionctl::options::Options;
use sessionctl::session::{Kind, SessionId};
use sessionctl::store::memory::MemoryStore;
use sessionctl::store::{Applied, Change, NewSession, Store, Use};
use sessionctl::token::{Token, TokenHash};

const SESSIONS: usize = 1_000_000;

/// One below the hard limit, so that a newcomer has to evict.
const LIMIT: usize = SESSIONS - 1;

fn at(millis: usize) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + i64::try_from(millis).unwrap())
}

fn new() -> (NewSession, TokenHash) {
    let token_hash = Token::mint().unwrap().hash();
    let session = NewSession {
        ordered_by: None,
        id: SessionId::random(),
        token_hash,
        kind: Kind::Web,
        user: None,
        ip: None,
        user_agent: None,
        idle_timeout: None,
        previous: None,
        actor: Actor::server(),
    };
    (session, token_hash)
}

async fn expire(store: &MemoryStore, now: Timestamp) -> usize {
    let expire = Change::Expire {
        actor: Actor::server(),
        limit: SESSIONS,
    };
    match store.apply(expire, now).await.unwrap() {
        Applied::Expired { closed, .. } => closed.len(),
        applied => panic!("{applied:?}"),
    }
}

fn tell(what: &str, took: Duration, baseline: Duration) {
    let ratio = took.as_secs_f64() / baseline.as_secs_f64();
    println!("{what:<58} {took:>12.3?}  {ratio:>8.4} x looking at all");
}

/// In another order than that of opening, so that every place and every deadline is old.
async fn everybody_comes_once_more(store: &MemoryStore, tokens: &[TokenHash]) {
    for step in 0..LIMIT {
        let token = &tokens[step.wrapping_mul(611_953) % LIMIT];
        let now = at(SESSIONS + step);
        black_box(store.visit(token, Use::Request, None, now).await.unwrap());
    }
}

/// The baseline: a bare list of deadlines, looked at from end to end.
fn look_at_all() -> Duration {
    let deadlines: Vec<Timestamp> = (0..LIMIT).map(at).collect();
    let started = Instant::now();
    let due = black_box(&deadlines)
        .iter()
        .filter(|deadline| **deadline <= black_box(at(SESSIONS / 100)))
        .count();
    let took = started.elapsed();
    println!("looking at a list of {LIMIT} deadlines, {due} due: {took:.3?}");
    took
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options {
        max_sessions: LIMIT,
        inactive_session_timeout: Duration::from_secs(24 * 3600),
        inactive_process_timeout: Duration::from_secs(24 * 3600),
        ..Options::default()
    };
    let store = MemoryStore::new(options.into());
    let mut tokens = Vec::with_capacity(LIMIT);
    for number in 0..LIMIT {
        let (session, token) = new();
        store
            .apply(Change::Open(session), at(number))
            .await
            .unwrap();
        tokens.push(token);
    }
    everybody_comes_once_more(&store, &tokens).await;
    let baseline = look_at_all();

    let day = 24 * 3_600_000;
    let measured = async |what: &str, now| {
        let started = Instant::now();
        let closed = expire(&store, now).await;
        tell(
            &format!("{what}: {closed} due"),
            started.elapsed(),
            baseline,
        );
    };
    measured("sweep, nobody due, deadlines old", at(SESSIONS + day - 1)).await;
    measured("sweep, nobody due, deadlines fresh", at(SESSIONS + day - 1)).await;
    let started = Instant::now();
    let (session, _) = new();
    let applied = store
        .apply(Change::Open(session), at(SESSIONS + day - 1))
        .await
        .unwrap();
    assert!(matches!(applied, Applied::Opened(_, made) if made.evicted.len() == 1));
    tell(
        "open on a full server, evicts one, places old",
        started.elapsed(),
        baseline,
    );
    let started = Instant::now();
    let (session, _) = new();
    store
        .apply(Change::Open(session), at(SESSIONS + day - 1))
        .await
        .unwrap();
    tell(
        "open on a full server, evicts one, places fresh",
        started.elapsed(),
        baseline,
    );
    measured(
        "sweep, one in a hundred due",
        at(SESSIONS + day + SESSIONS / 100),
    )
    .await;
}
