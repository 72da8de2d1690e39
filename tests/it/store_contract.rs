//! What every store must do, asked of each directly.

use std::sync::Arc;
use std::time::Duration;

use sessionctl::admin::{ListQuery, LockQuery};
use sessionctl::application::At;
use sessionctl::audit::Actor;
use sessionctl::clock::Timestamp;
use sessionctl::context::{Name, Record};
use sessionctl::options::{HARD_SESSION_LIMIT, Options};
use sessionctl::session::{Cause, Kind, Mode, ProcessNumber, SessionId, State};
use sessionctl::sessions::Visit;
use sessionctl::store::directory::DataDir;
use sessionctl::store::memory::MemoryStore;
use sessionctl::store::sqlite::SqliteStore;
use sessionctl::store::{
    Applied, Change, Claim, End, Found, NewSession, Part, Seen, Store, Ticket, Use, Work,
};
use sessionctl::token::{Token, TokenHash};
use tempfile::TempDir;
use uuid::Uuid;

macro_rules! for_every_store {
    ($($rule:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(&super::MemoryStore::new(super::options().into())).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $rule() {
                let (_directory, store) = super::on_disk();
                super::$rule(&store).await;
            })+
        }
    };
}

/// Two stores of a million sessions would be one too many: the branch is the same in both.
#[tokio::test]
async fn c14_a_hard_limit_holds_for_all_sessions() {
    let options = Options {
        mode: Mode::Scalable,
        ..options()
    };
    let store = MemoryStore::new(options.into());
    let new = |number: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        NewSession {
            ordered_by: None,
            id: SessionId::random(),
            token_hash: TokenHash::from_bytes(bytes),
            kind: Kind::Web,
            user: None,
            ip: None,
            user_agent: None,
            idle_timeout: None,
            previous: None,
            actor: Actor::server(),
        }
    };
    for number in 0..HARD_SESSION_LIMIT {
        let opened = store
            .apply(Change::Open(new(number)), second(0))
            .await
            .unwrap();
        assert!(matches!(opened, Applied::Opened(..)));
    }
    let refused = store
        .apply(Change::Open(new(HARD_SESSION_LIMIT)), second(0))
        .await
        .unwrap();
    assert!(matches!(
        refused,
        Applied::Full {
            limit: HARD_SESSION_LIMIT,
            ..
        }
    ));
    let page = store
        .page(
            ListQuery {
                limit: Some(1),
                ..ListQuery::default()
            },
            second(0),
        )
        .await
        .unwrap();
    apply(
        &store,
        Change::Drop(end(page.items[0].id, Cause::Dropped)),
        second(0),
    )
    .await;
    let opened = store
        .apply(Change::Open(new(HARD_SESSION_LIMIT)), second(0))
        .await
        .unwrap();
    assert!(matches!(opened, Applied::Opened(..)));
}

for_every_store! {
    an_open_session_is_found_by_its_token_and_its_id,
    an_unknown_token_finds_nobody,
    a_request_moves_the_expiration_and_a_look_does_not,
    time_never_runs_backwards_for_a_session,
    begin_happens_once_and_ends_the_token,
    no_change_brings_a_session_back,
    only_what_was_begun_is_finished,
    begun_closings_are_claimed_once_until_the_lease_ends,
    expiring_ends_only_what_is_due,
    sweeping_looks_at_so_many_deadlines_at_once,
    what_is_due_makes_room,
    the_limit_counts_what_is_not_closing,
    every_change_has_a_greater_number,
    late_documents_have_their_turn,
    a_lock_that_was_told_twice_is_not_taken_back,
}

fn options() -> Options {
    Options {
        max_sessions: 4,
        inactive_session_timeout: Duration::from_secs(60),
        ..Options::default()
    }
}

fn on_disk() -> (TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(
        DataDir::exclusive(directory.path(), true).unwrap(),
        options().into(),
    )
    .unwrap();
    (directory, store)
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + 1000 * second)
}

async fn try_open<S: Store>(store: &S, now: Timestamp) -> Option<(SessionId, TokenHash)> {
    let new = NewSession {
        ordered_by: None,
        id: SessionId::random(),
        token_hash: Token::mint().unwrap().hash(),
        kind: Kind::Web,
        user: Some("ana".into()),
        ip: None,
        user_agent: Some("agent".into()),
        idle_timeout: None,
        previous: None,
        actor: Actor::server(),
    };
    let (id, token_hash) = (new.id, new.token_hash);
    match store.apply(Change::Open(new), now).await.unwrap() {
        Applied::Opened(session, _) => {
            assert_eq!(
                (session.id, session.state, session.created_at),
                (id, State::Active, now)
            );
            Some((id, token_hash))
        }
        Applied::Full { .. } => None,
        applied => panic!("{applied:?}"),
    }
}

async fn open<S: Store>(store: &S, now: Timestamp) -> (SessionId, TokenHash) {
    try_open(store, now).await.expect("room")
}

fn end(id: SessionId, cause: Cause) -> End {
    End {
        id,
        cause,
        reason: Some("why".into()),
        actor: Actor::user(0),
        request_id: Some(Uuid::new_v4()),
    }
}

async fn apply<S: Store>(store: &S, change: Change, now: Timestamp) -> (Found, Part) {
    match store.apply(change, now).await.unwrap() {
        Applied::Ended { found, part } => (found, part),
        applied => panic!("{applied:?}"),
    }
}

async fn visit<S: Store>(
    store: &S,
    token: &TokenHash,
    usage: Use,
    now: Timestamp,
) -> Option<Visit> {
    match store.visit(token, usage, None, now).await.unwrap() {
        Seen::Live(visit) => Some(visit),
        Seen::Nobody => None,
        seen => panic!("{seen:?}"),
    }
}

async fn is_live<S: Store>(store: &S, token: &TokenHash, now: Timestamp) -> bool {
    visit(store, token, Use::Look, now).await.is_some()
}

async fn an_open_session_is_found_by_its_token_and_its_id<S: Store>(store: &S) {
    let (id, token) = open(store, second(0)).await;
    let visit = visit(store, &token, Use::Look, second(1))
        .await
        .expect("a live session");
    assert_eq!(
        (visit.id, visit.user.as_deref(), visit.expires_at),
        (id, Some("ana"), Some(second(60)))
    );
    let Found::Open(session, None, _) = store.find(id, second(1)).await.unwrap() else {
        panic!("it is open")
    };
    assert_eq!((session.login_at, session.idle_ms), (Some(second(0)), 1000));
    let page = store.page(ListQuery::default(), second(1)).await.unwrap();
    assert_eq!(
        (page.items, page.total, page.next),
        (vec![session], 1, None)
    );
}

async fn an_unknown_token_finds_nobody<S: Store>(store: &S) {
    open(store, second(0)).await;
    assert!(!is_live(store, &Token::mint().unwrap().hash(), second(0)).await);
    assert_eq!(
        store.find(SessionId::random(), second(0)).await.unwrap(),
        Found::Unknown
    );
}

async fn a_request_moves_the_expiration_and_a_look_does_not<S: Store>(store: &S) {
    let (_, token) = open(store, second(0)).await;
    assert!(
        visit(store, &token, Use::Request, second(30))
            .await
            .is_some()
    );
    assert!(visit(store, &token, Use::Look, second(89)).await.is_some());
    assert!(
        visit(store, &token, Use::Request, second(90))
            .await
            .is_none()
    );
    assert!(
        visit(store, &token, Use::Look, second(89)).await.is_some(),
        "a refused request moves nothing"
    );
}

async fn time_never_runs_backwards_for_a_session<S: Store>(store: &S) {
    let (_, token) = open(store, second(0)).await;
    visit(store, &token, Use::Request, second(30)).await;
    let visit = visit(store, &token, Use::Request, second(10))
        .await
        .expect("a live session");
    assert_eq!(visit.expires_at, Some(second(90)));
}

async fn begin_happens_once_and_ends_the_token<S: Store>(store: &S) {
    let (id, token) = open(store, second(0)).await;
    let first = end(id, Cause::Command);
    let (found, part) = apply(store, Change::BeginClose(first.clone()), second(1)).await;
    assert!(
        matches!(found, Found::Open(session, Some(Cause::Command), _) if session.state == State::Closing)
    );
    assert_eq!(part, Part::Began);
    assert!(!is_live(store, &token, second(1)).await);
    assert_eq!(
        apply(store, Change::BeginClose(end(id, Cause::Logout)), second(1))
            .await
            .1,
        Part::None
    );
    assert_eq!(
        apply(store, Change::BeginClose(first), second(1)).await.1,
        Part::Began,
        "the same request again"
    );
}

async fn no_change_brings_a_session_back<S: Store>(store: &S) {
    let (closing, first) = open(store, second(0)).await;
    let (dropped, second_token) = open(store, second(0)).await;
    apply(
        store,
        Change::BeginClose(end(closing, Cause::Command)),
        second(1),
    )
    .await;
    apply(store, Change::Drop(end(dropped, Cause::Dropped)), second(1)).await;
    for token in [&first, &second_token] {
        assert!(visit(store, token, Use::Request, second(2)).await.is_none());
    }
    apply(store, Change::FinishClose(closing), second(3)).await;
    for id in [closing, dropped] {
        for change in [
            Change::BeginClose(end(id, Cause::Command)),
            Change::FinishClose(id),
            Change::Drop(end(id, Cause::Dropped)),
        ] {
            let (found, part) = apply(store, change, second(4)).await;
            assert!(matches!(found, Found::Closed(..)) && part == Part::None);
        }
    }
    assert_eq!(
        store
            .page(ListQuery::default(), second(4))
            .await
            .unwrap()
            .total,
        0
    );
}

async fn only_what_was_begun_is_finished<S: Store>(store: &S) {
    let (id, token) = open(store, second(0)).await;
    apply(store, Change::FinishClose(id), second(1)).await;
    assert!(is_live(store, &token, second(1)).await);
    apply(
        store,
        Change::BeginClose(end(id, Cause::Command)),
        second(2),
    )
    .await;
    let (found, _) = apply(store, Change::FinishClose(id), second(3)).await;
    let Found::Closed(closed, _) = found else {
        panic!("it is closed")
    };
    assert_eq!(
        (closed.cause, closed.closed_at, closed.expires_at),
        (Cause::Command, second(3), Timestamp::EPOCH)
    );
}

/// Closings that have nothing left but their end, since there is no method.
async fn claim<S: Store>(
    store: &S,
    now: Timestamp,
    until: Timestamp,
    max: usize,
) -> Vec<SessionId> {
    let claim = Claim {
        until,
        max,
        runs: 0,
        has_method: false,
        only: None,
    };
    let work = store.claim(claim, now).await.unwrap();
    let ids = work.into_iter().map(|work| match work {
        Work::Finish(id) => id,
        work => panic!("{work:?}"),
    });
    ids.collect()
}

async fn begun_closings_are_claimed_once_until_the_lease_ends<S: Store>(store: &S) {
    let (first, _) = open(store, second(0)).await;
    let (other, _) = open(store, second(0)).await;
    assert!(claim(store, second(0), second(9), 10).await.is_empty());
    apply(
        store,
        Change::BeginClose(end(first, Cause::Command)),
        second(1),
    )
    .await;
    apply(
        store,
        Change::BeginClose(end(other, Cause::Command)),
        second(1),
    )
    .await;
    assert_eq!(claim(store, second(1), second(10), 1).await, [first]);
    assert_eq!(claim(store, second(1), second(10), 10).await, [other]);
    assert!(claim(store, second(9), second(20), 10).await.is_empty());
    apply(store, Change::FinishClose(other), second(9)).await;
    assert_eq!(
        claim(store, second(10), second(20), 10).await,
        [first],
        "its worker died"
    );
}

async fn expire<S: Store>(store: &S, limit: usize, now: Timestamp) -> usize {
    let actor = Actor::server();
    match store
        .apply(Change::Expire { actor, limit }, now)
        .await
        .unwrap()
    {
        Applied::Expired { closed, .. } => closed.len(),
        applied => panic!("{applied:?}"),
    }
}

async fn expiring_ends_only_what_is_due<S: Store>(store: &S) {
    let (first, _) = open(store, second(0)).await;
    let (other, _) = open(store, second(0)).await;
    let (busy, token) = open(store, second(0)).await;
    visit(store, &token, Use::Request, second(30)).await;
    assert_eq!(expire(store, 10, second(59)).await, 0);
    assert_eq!(expire(store, 1, second(60)).await, 1);
    assert_eq!(expire(store, 10, second(60)).await, 1);
    assert_eq!(expire(store, 10, second(89)).await, 0);
    for id in [first, other] {
        let found = store.find(id, second(89)).await.unwrap();
        assert!(
            matches!(found, Found::Open(_, Some(Cause::Inactive), _)),
            "{found:?}"
        );
    }
    assert!(is_live(store, &token, second(89)).await);
    assert_eq!(expire(store, 10, second(90)).await, 1);
    assert_eq!(
        claim(store, second(90), second(99), 10).await,
        [first, other, busy]
    );
}

/// Deadlines of sessions that are gone come up as well, but a sweep does not look at all of them under one lock.
async fn sweeping_looks_at_so_many_deadlines_at_once<S: Store>(store: &S) {
    for _ in 0..3 {
        open(store, second(0)).await;
    }
    for _ in 0..40 {
        let (gone, _) = open(store, second(0)).await;
        apply(store, Change::Drop(end(gone, Cause::Dropped)), second(0)).await;
    }
    let mut rounds = Vec::new();
    while rounds.last().is_none_or(|(_, is_all)| !is_all) {
        let expire = Change::Expire {
            actor: Actor::server(),
            limit: 1,
        };
        match store.apply(expire, second(61)).await.unwrap() {
            Applied::Expired { closed, is_all, .. } => rounds.push((closed.len(), is_all)),
            applied => panic!("{applied:?}"),
        }
    }
    assert!(rounds.contains(&(0, false)), "{rounds:?}");
    assert_eq!(rounds.iter().map(|(closed, _)| closed).sum::<usize>(), 3);
}

async fn what_is_due_makes_room<S: Store>(store: &S) {
    for _ in 0..4 {
        open(store, second(0)).await;
    }
    assert!(try_open(store, second(59)).await.is_none());
    let (id, token) = open(store, second(60)).await;
    assert!(is_live(store, &token, second(60)).await);
    assert_eq!(
        claim(store, second(60), second(99), 10).await.len(),
        1,
        "no more than it took"
    );
    assert!(matches!(
        store.find(id, second(60)).await.unwrap(),
        Found::Open(_, None, _)
    ));
}

async fn the_limit_counts_what_is_not_closing<S: Store>(store: &S) {
    let mut opened = Vec::new();
    for _ in 0..4 {
        opened.push(open(store, second(0)).await.0);
    }
    assert!(try_open(store, second(0)).await.is_none());
    apply(
        store,
        Change::BeginClose(end(opened[0], Cause::Command)),
        second(0),
    )
    .await;
    open(store, second(0)).await;
    assert!(try_open(store, second(0)).await.is_none());
    apply(store, Change::FinishClose(opened[0]), second(0)).await;
    assert!(
        try_open(store, second(0)).await.is_none(),
        "a place is given once"
    );
    apply(
        store,
        Change::Drop(end(opened[1], Cause::Dropped)),
        second(0),
    )
    .await;
    open(store, second(0)).await;
    assert!(try_open(store, second(0)).await.is_none());
}

async fn every_change_has_a_greater_number<S: Store>(store: &S) {
    let none = ListQuery {
        limit: Some(0),
        ..ListQuery::default()
    };
    let (id, _) = open(store, second(0)).await;
    let mut numbers = vec![store.page(none, second(0)).await.unwrap().as_of];
    for change in [
        Change::BeginClose(end(id, Cause::Command)),
        Change::FinishClose(id),
    ] {
        apply(store, change, second(0)).await;
        numbers.push(store.page(none, second(0)).await.unwrap().as_of);
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

/// What is late waits behind no stream of others, nor they behind it (C09).
async fn late_documents_have_their_turn<S: Store>(store: &S) {
    for (late, fresh) in [(1, 3), (3, 1)] {
        let close = async |id, now| {
            apply(store, Change::BeginClose(end(id, Cause::Command)), now).await;
        };
        let (mut all, mut others) = (Vec::new(), Vec::new());
        for _ in 0..late {
            all.push(open(store, second(0)).await.0);
        }
        for id in &all {
            close(*id, second(0)).await;
        }
        for _ in 0..fresh {
            others.push(open(store, second(50)).await.0);
        }
        expire(store, 10, second(60)).await;
        for id in others {
            close(id, second(60)).await;
        }
        let mut turns = Vec::new();
        for _ in 0..late + fresh {
            let claim = Claim {
                until: second(99),
                max: 1,
                runs: 1,
                has_method: true,
                only: None,
            };
            let work = store.claim(claim, second(60)).await.unwrap();
            let [Work::Process(_, Some(document))] = &work[..] else {
                panic!("{work:?}")
            };
            assert_eq!(document.late, all.contains(&document.session.id));
            turns.push(document.late);
        }
        assert_ne!(turns[0], turns[1], "they take turns: {turns:?}");
        let ran_late = turns.iter().filter(|is_late| **is_late).count();
        assert_eq!(ran_late, late, "{turns:?}");
    }
}

async fn a_lock_that_was_told_twice_is_not_taken_back<S: Store>(store: &S) {
    let (id, _) = open(store, second(0)).await;
    let at = At {
        id,
        process: ProcessNumber(1),
    };
    let name = |text| Name::new(text).unwrap();
    let record = Record {
        table: name("T"),
        record: name("1"),
    };
    let lock = async |ticket| {
        let change = Change::Lock(at, record.clone(), ticket);
        match store.apply(change, second(1)).await.unwrap() {
            Applied::Locked(lock) => lock,
            applied => panic!("{applied:?}"),
        }
    };
    let ticket = Arc::new(Ticket::default());
    let first = lock(Some(Arc::clone(&ticket))).await;
    assert!(!ticket.give_up(), "it is its already");
    let give_back = async |fence| {
        let change = Change::Unlock(at, record.clone(), Some(fence));
        let applied = store.apply(change, second(1)).await.unwrap();
        assert!(matches!(applied, Applied::Done));
        store.locks(LockQuery::default()).await.unwrap().items.len()
    };
    assert_eq!(give_back(first.fence).await, 0, "nobody else was told");
    let second_lock = lock(Some(Arc::new(Ticket::default()))).await;
    assert_eq!(lock(None).await, second_lock, "somebody asks again");
    assert_eq!(give_back(second_lock.fence).await, 1);
    assert_eq!(give_back(first.fence).await, 1, "another lock's fence");
}
