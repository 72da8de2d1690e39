//! Who has room, who makes room, and from where a cookie counts: C10, C11, C13, S49, in every place.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sessionctl::admin::{Admin as _, OpenRequest, Opened};
use sessionctl::error::Error;
use sessionctl::options::{EvictionOrder, Options, Value};
use sessionctl::session::{Cause, Kind, SessionId, State};
use sessionctl::sessions::Sessions as _;

use crate::places::{
    BehindServer, Durable, InMemory, OnDisk, Place, Work, browser, from, in_every_place, roomy,
};

in_every_place!(everywhere { InMemory, OnDisk, BehindServer } {
    c10_the_oldest_inactive_makes_room,
    c10_nobody_who_is_not_idle_makes_room,
    c10_the_safe_order_spares_users,
    c10_the_oldest_order_is_4ds,
    c10_a_request_saves_a_session_from_eviction,
    c10_if_there_are_not_enough_to_make_room_nobody_does,
    what_ends_for_a_newcomer_is_counted_also_if_it_is_not_enough,
    c10_only_sessions_with_a_process_count,
    c10_what_is_due_goes_before_who_is_idle,
    s49_a_thousand_requests_without_cookies_end_no_users_session,
    s49_opens_are_limited_per_address,
    c11_a_suspended_session_gets_a_fresh_process,
    c11_resuming_needs_room_like_opening,
    c11_a_session_whose_time_is_not_longer_ends_with_its_process,
    c13_a_live_cookie_counts_from_its_own_address_only,
    c13_addresses_have_one_meaning,
});

in_every_place!(durably { OnDisk, BehindServer } {
    c10_eviction_survives_a_restart,
    c11_suspension_survives_a_restart,
});

const MINUTE: Duration = Duration::from_secs(60);

fn at_most(max_sessions: usize) -> Options {
    Options {
        max_sessions,
        ..roomy()
    }
}

async fn open_for<P: Place>(place: &P, user: &str) -> Result<Opened, Error> {
    place
        .admin()
        .open(OpenRequest {
            user: Some(user.into()),
            ..browser()
        })
        .await
}

async fn cause_of<P: Place>(place: &P, id: SessionId) -> Option<Cause> {
    let outcome = place.close(id).await;
    assert!(!outcome.initiated, "{outcome:?}");
    outcome.cause
}

fn is_full<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::LimitReached { retry_after, .. }) if !retry_after.is_zero())
}

async fn c10_the_oldest_inactive_makes_room<P: Place>() {
    let place = P::start(at_most(3), Work::Regular).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(place.enter_confirmed().await);
        place.clock().advance(Duration::from_secs(1));
    }
    place.clock().advance(MINUTE);
    let (newcomer, _) = place.enter().await;
    assert_eq!(cause_of(&place, sessions[0].0).await, Some(Cause::Evicted));
    assert!(!place.is_live(&sessions[0].1).await);
    assert_eq!(
        place.live_ids().await,
        [sessions[1].0, sessions[2].0, newcomer],
        "just one makes room"
    );
    let stats = place.admin().stats().await.unwrap();
    assert_eq!(
        (stats.ended.evicted, stats.counted, stats.opened),
        (1, 3, 4)
    );
}

async fn c10_nobody_who_is_not_idle_makes_room<P: Place>() {
    let place = P::start(at_most(2), Work::ByHand).await;
    let (first, _) = place.enter_confirmed().await;
    let (other, _) = place.enter_confirmed().await;
    place.clock().advance(MINUTE - Duration::from_millis(1));
    assert!(is_full(&place.web().enter(None, browser()).await));
    assert_eq!(place.live_ids().await, [first, other]);
    place.clock().advance(Duration::from_millis(1));
    assert!(
        place.web().enter(None, browser()).await.is_ok(),
        "idle for just eviction_min_idle"
    );
    assert!(
        place
            .set("eviction_min_idle", Value::Number(0))
            .await
            .unwrap()
            .is_set
    );
    assert!(place.web().enter(None, browser()).await.is_ok());
}

async fn c10_the_safe_order_spares_users<P: Place>() {
    let place = P::start(at_most(4), Work::Regular).await;
    let user = open_for(&place, "ana").await.unwrap();
    place.web().check(&user.token, None, true).await.unwrap();
    place.clock().advance(Duration::from_secs(1));
    let unseen_user = open_for(&place, "bob").await.unwrap().session.id;
    place.clock().advance(Duration::from_secs(1));
    let (guest, _) = place.enter_confirmed().await;
    place.clock().advance(Duration::from_secs(1));
    let (without_cookies, _) = place.enter().await;
    place.clock().advance(MINUTE);
    // Guests come: whose cookie never came back goes first, then guests, and then nobody.
    place.enter_confirmed().await;
    assert_eq!(
        cause_of(&place, without_cookies).await,
        Some(Cause::Evicted)
    );
    place.enter_confirmed().await;
    assert_eq!(cause_of(&place, guest).await, Some(Cause::Evicted));
    assert!(
        is_full(&place.web().enter(None, browser()).await),
        "a guest never displaces a user"
    );
    // A user may: first whose cookie never came back.
    open_for(&place, "eve").await.unwrap();
    assert_eq!(cause_of(&place, unseen_user).await, Some(Cause::Evicted));
    place.clock().advance(MINUTE);
    for name in ["joe", "kim", "lea"] {
        open_for(&place, name).await.unwrap();
    }
    assert!(
        place.is_live(&user.token).await,
        "guests and who never came back go first"
    );
    open_for(&place, "max").await.unwrap();
    assert_eq!(
        cause_of(&place, user.session.id).await,
        Some(Cause::Evicted)
    );
}

async fn c10_the_oldest_order_is_4ds<P: Place>() {
    let options = Options {
        eviction_order: EvictionOrder::Oldest,
        ..at_most(3)
    };
    let place = P::start(options, Work::Regular).await;
    let (guest, token) = place.enter_confirmed().await;
    let user = open_for(&place, "ana").await.unwrap().session.id;
    place.clock().advance(Duration::from_secs(1));
    let (without_cookies, _) = place.enter().await;
    place.web().check(&token, None, true).await.unwrap();
    place.clock().advance(MINUTE);
    place.enter().await;
    assert_eq!(
        cause_of(&place, user).await,
        Some(Cause::Evicted),
        "whoever has been idle for longest"
    );
    let ids = place.live_ids().await;
    assert!(ids.contains(&guest) && ids.contains(&without_cookies));
}

async fn c10_a_request_saves_a_session_from_eviction<P: Place>() {
    let place = P::start(at_most(10), Work::Regular).await;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(place.enter_confirmed().await);
        place.clock().advance(Duration::from_secs(10));
    }
    place.clock().advance(MINUTE);
    // All but the fourth made a request since, the last of them first.
    for (_, token) in sessions.iter().skip(4).rev().chain(&sessions[..3]) {
        place.web().check(token, None, true).await.unwrap();
        place.clock().advance(Duration::from_secs(1));
    }
    place.enter().await;
    assert_eq!(cause_of(&place, sessions[3].0).await, Some(Cause::Evicted));
    assert!(is_full(&place.web().enter(None, browser()).await));
    assert_eq!(place.live_ids().await.len(), 10);
}

async fn c10_if_there_are_not_enough_to_make_room_nobody_does<P: Place>() {
    let place = P::start(at_most(2), Work::ByHand).await;
    let (idle, _) = place.enter_confirmed().await;
    let (busy, token) = place.enter_confirmed().await;
    assert!(
        place
            .set("max_sessions", Value::Number(1))
            .await
            .unwrap()
            .is_set,
        "nobody is idle: nobody ends"
    );
    place.clock().advance(MINUTE);
    place.web().check(&token, None, true).await.unwrap();
    // Two would have to go, and one is idle.
    for _ in 0..2 {
        assert!(is_full(&place.web().enter(None, browser()).await));
        assert_eq!(place.live_ids().await, [idle, busy]);
    }
    place.clock().advance(MINUTE);
    let (newcomer, _) = place.enter().await;
    assert_eq!(place.live_ids().await, [newcomer]);
}

async fn what_ends_for_a_newcomer_is_counted_also_if_it_is_not_enough<P: Place>() {
    let place = P::start(at_most(3), Work::ByHand).await;
    let phone = OpenRequest {
        kind: Kind::Mobile,
        idle_timeout: Some(3_600_000),
        ..browser()
    };
    place.admin().open(phone).await.unwrap();
    let (_, one) = place.enter_confirmed().await;
    let (_, other) = place.enter_confirmed().await;
    place.set("max_sessions", Value::Number(1)).await.unwrap();
    for _ in 0..2 {
        place.clock().advance(30 * MINUTE);
        for token in [&one, &other] {
            place.web().check(token, None, true).await.unwrap();
        }
    }
    assert!(is_full(&place.web().enter(None, browser()).await));
    let stats = place.admin().stats().await.unwrap();
    assert_eq!((stats.opened, stats.ended.inactive), (3, 1), "the phone");
}

async fn c10_only_sessions_with_a_process_count<P: Place>() {
    let place = P::start(at_most(1), Work::ByHand).await;
    place
        .set("mode", Value::Text("scalable".into()))
        .await
        .unwrap();
    for _ in 0..3 {
        place.enter().await;
    }
    place
        .set("mode", Value::Text("legacy".into()))
        .await
        .unwrap();
    let (legacy, _) = place.enter().await;
    assert!(is_full(&place.web().enter(None, browser()).await));
    place.clock().advance(MINUTE);
    place.enter().await;
    assert!(matches!(
        place.admin().show(legacy).await.unwrap().session.state,
        State::Closing
    ));
    let stats = place.admin().stats().await.unwrap();
    assert_eq!(
        (stats.counted, stats.active, stats.closing),
        (1, 4, 1),
        "scalable ones take no place and make none"
    );
}

async fn c10_what_is_due_goes_before_who_is_idle<P: Place>() {
    let options = Options {
        inactive_session_timeout: 2 * MINUTE,
        ..at_most(2)
    };
    let place = P::start(options, Work::ByHand).await;
    let (due, _) = place.enter_confirmed().await;
    place.clock().advance(MINUTE);
    let (idle, _) = place.enter().await;
    place.clock().advance(MINUTE);
    place.enter().await;
    assert_eq!(place.registry().finish_begun().await.unwrap(), 1);
    assert_eq!(cause_of(&place, due).await, Some(Cause::Inactive));
    assert_eq!(
        place.admin().show(idle).await.unwrap().session.state,
        State::Active
    );
}

async fn s49_a_thousand_requests_without_cookies_end_no_users_session<P: Place>() {
    let place = P::start(Options::default(), Work::Regular).await;
    let mut users = Vec::new();
    for number in 0..100 {
        users.push(open_for(&place, &format!("user{number}")).await.unwrap());
    }
    place.clock().advance(10 * MINUTE);
    for chunk in 0..20 {
        let from_one = (0..25).map(|_| place.enter_from("192.0.2.1"));
        let addresses: Vec<_> = (0..25)
            .map(|number| format!("198.51.{chunk}.{number}"))
            .collect();
        let from_many = addresses.iter().map(|address| place.enter_from(address));
        let (one, many) = tokio::join!(join_all(from_one), join_all(from_many));
        assert!(one.iter().chain(&many).all(is_full), "503 with Retry-After");
    }
    assert_eq!(place.live_ids().await.len(), 100);
    for opened in &users {
        assert!(place.is_live(&opened.token).await);
    }
    let stats = place.admin().stats().await.unwrap();
    assert_eq!((stats.refused.full, stats.ended.evicted), (1_000, 0));
}

async fn s49_opens_are_limited_per_address<P: Place>() {
    let options = Options {
        open_rate: Some(5),
        ..roomy()
    };
    let place = P::start(options, Work::ByHand).await;
    for _ in 0..5 {
        place.enter_from("192.0.2.1").await.unwrap();
    }
    let refused = place.enter_from("::ffff:192.0.2.1").await;
    assert!(
        matches!(refused, Err(Error::TooManyOpens { retry_after }) if retry_after > Duration::ZERO)
    );
    place.enter_from("192.0.2.2").await.unwrap();
    for number in 1..=5 {
        place
            .enter_from(&format!("2001:db8::{number}"))
            .await
            .unwrap();
    }
    assert!(
        place.enter_from("2001:db8::ffff:1").await.is_err(),
        "one prefix is one client"
    );
    place.enter_from("2001:db8:0:1::1").await.unwrap();
    place.clock().advance(Duration::from_secs(12));
    place.enter_from("192.0.2.1").await.unwrap();
    assert!(place.enter_from("192.0.2.1").await.is_err());
    assert_eq!(place.admin().stats().await.unwrap().refused.rate, 3);
    place
        .set("open_rate", Value::Text("off".into()))
        .await
        .unwrap();
    for _ in 0..10 {
        place.enter_from("192.0.2.1").await.unwrap();
    }
}

fn short_process() -> Options {
    Options {
        inactive_process_timeout: 10 * MINUTE,
        inactive_session_timeout: 60 * MINUTE,
        ..roomy()
    }
}

async fn state<P: Place>(place: &P, id: SessionId) -> State {
    place.admin().show(id).await.unwrap().session.state
}

/// 4D: the process ends after its time-out, the cookie lives on, and its next request has the same session.
async fn c11_a_suspended_session_gets_a_fresh_process<P: Place>() {
    let place = P::start(short_process(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    place
        .clock()
        .advance(10 * MINUTE - Duration::from_millis(1));
    assert_eq!(state(&place, id).await, State::Active);
    assert_eq!(place.registry().sweep().await.unwrap(), 0);
    place.clock().advance(Duration::from_millis(1));
    assert_eq!(state(&place, id).await, State::Suspended, "swept or not");
    assert_eq!(
        place.registry().sweep().await.unwrap(),
        0,
        "nothing is closed"
    );
    let stats = place.admin().stats().await.unwrap();
    assert_eq!((stats.suspended, stats.counted, stats.active), (1, 0, 0));
    assert!(place.is_live(&token).await, "a look is no request");
    assert_eq!(state(&place, id).await, State::Suspended);
    place.clock().advance(20 * MINUTE);
    let entered = place.web().enter(Some(&token), browser()).await.unwrap();
    assert_eq!((entered.visit.id, entered.new_token.is_none()), (id, true));
    let session = place.admin().show(id).await.unwrap().session;
    assert_eq!(
        (session.state, session.last_request_at),
        (State::Active, place.now())
    );
    assert_eq!(session.expires_at, Some(place.now().plus(60 * MINUTE)));
    // A check resumes as well, also one that comes before any sweep.
    place.clock().advance(10 * MINUTE);
    assert!(
        place
            .web()
            .check(&token, None, true)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(state(&place, id).await, State::Active);
    // Suspended or not, its time ends.
    place.clock().advance(10 * MINUTE);
    place.registry().sweep().await.unwrap();
    place.clock().advance(50 * MINUTE);
    assert!(!place.is_live(&token).await);
    assert_eq!(place.registry().sweep().await.unwrap(), 1);
    place.registry().finish_begun().await.unwrap();
    assert_eq!(cause_of(&place, id).await, Some(Cause::Inactive));
    let stats = place.admin().stats().await.unwrap();
    assert_eq!(
        (stats.suspended, stats.counted, stats.active, stats.closing),
        (0, 0, 0, 0)
    );
}

async fn c11_resuming_needs_room_like_opening<P: Place>() {
    let place = P::start(
        Options {
            max_sessions: 1,
            ..short_process()
        },
        Work::ByHand,
    )
    .await;
    let (first, token) = place.enter_confirmed().await;
    place.clock().advance(10 * MINUTE);
    // The newcomer suspends whom the sweep has not reached, and takes its place.
    let (other, _) = place.enter_confirmed().await;
    assert_eq!(
        (state(&place, first).await, state(&place, other).await),
        (State::Suspended, State::Active)
    );
    assert!(is_full(&place.web().enter(Some(&token), browser()).await));
    assert!(is_full(&place.web().check(&token, None, true).await));
    assert_eq!(state(&place, first).await, State::Suspended);
    place.clock().advance(MINUTE);
    let entered = place.web().enter(Some(&token), browser()).await.unwrap();
    assert_eq!(entered.visit.id, first);
    assert_eq!(
        state(&place, other).await,
        State::Closing,
        "it was idle, and made room"
    );
    // Closing a suspended session ends it like any other.
    place.clock().advance(10 * MINUTE);
    place.registry().sweep().await.unwrap();
    let closing = place
        .admin()
        .close(first, crate::places::operator())
        .await
        .unwrap();
    assert!(closing.initiated);
    assert!(!place.is_live(&token).await);
    place.registry().finish_begun().await.unwrap();
    assert_eq!(cause_of(&place, first).await, Some(Cause::Command));
}

async fn c11_a_session_whose_time_is_not_longer_ends_with_its_process<P: Place>() {
    for session in [10 * MINUTE, 9 * MINUTE] {
        let options = Options {
            inactive_session_timeout: session,
            ..short_process()
        };
        let place = P::start(options, Work::ByHand).await;
        let (id, token) = place.enter().await;
        place.clock().advance(session);
        assert!(!place.is_live(&token).await);
        assert_eq!(place.registry().sweep().await.unwrap(), 1);
        place.registry().finish_begun().await.unwrap();
        assert_eq!(cause_of(&place, id).await, Some(Cause::Inactive));
    }
}

async fn c13_a_live_cookie_counts_from_its_own_address_only<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let entered = place.enter_from("192.0.2.1").await.unwrap();
    let (id, token) = (entered.visit.id, entered.new_token.unwrap());
    let before = place.admin().show(id).await.unwrap().session;
    place.clock().advance(MINUTE);
    let elsewhere = Some("192.0.2.2".parse().unwrap());
    assert!(matches!(
        place.web().enter(Some(&token), from("192.0.2.2")).await,
        Err(Error::OtherAddress)
    ));
    for touch in [true, false] {
        assert!(matches!(
            place.web().check(&token, elsewhere, touch).await,
            Err(Error::OtherAddress)
        ));
    }
    let session = place.admin().show(id).await.unwrap().session;
    assert_eq!(session.last_request_at, before.last_request_at, "no touch");
    assert_eq!(place.live_ids().await, [id], "no new session");
    assert_eq!(place.admin().stats().await.unwrap().refused.address, 3);
    place
        .set("session_ip_address_validation", Value::Switch(false))
        .await
        .unwrap();
    assert!(
        place
            .web()
            .check(&token, elsewhere, true)
            .await
            .unwrap()
            .is_some()
    );
    place.reset("session_ip_address_validation").await.unwrap();
    assert!(place.web().check(&token, elsewhere, true).await.is_err());
    // A dead cookie is nobody's, wherever it comes from.
    place.close(id).await;
    let again = place
        .web()
        .enter(Some(&token), from("192.0.2.2"))
        .await
        .unwrap();
    assert!(again.new_token.is_some());
}

async fn c13_addresses_have_one_meaning<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let enters = async |own: &str, from: &str| {
        let token = place.enter_from(own).await.unwrap().new_token.unwrap();
        place
            .web()
            .check(&token, Some(from.parse().unwrap()), true)
            .await
            .is_ok()
    };
    assert!(enters("192.0.2.1", "::ffff:192.0.2.1").await);
    assert!(enters("::ffff:192.0.2.1", "192.0.2.1").await);
    assert!(
        enters("2001:db8:0:1::1", "2001:db8:0:1:ffff::9").await,
        "one /64"
    );
    assert!(!enters("2001:db8:0:1::1", "2001:db8:0:2::1").await);
    assert!(!enters("192.0.2.1", "2001:db8::1").await);
    place
        .set("address_prefix_v6", Value::Number(128))
        .await
        .unwrap();
    assert!(!enters("2001:db8:0:1::1", "2001:db8:0:1::2").await);
    place
        .set("address_prefix_v6", Value::Number(48))
        .await
        .unwrap();
    assert!(enters("2001:db8:0:1::1", "2001:db8:0:2::1").await);
}

async fn c10_eviction_survives_a_restart<P: Durable>() {
    let place = P::start(at_most(1), Work::Regular).await;
    let (evicted, old) = place.enter_confirmed().await;
    place.clock().advance(MINUTE);
    let (newcomer, token) = place.enter().await;
    let place = place.restart().await;
    assert!(place.is_live(&token).await && !place.is_live(&old).await);
    assert_eq!(cause_of(&place, evicted).await, Some(Cause::Evicted));
    assert_eq!(place.live_ids().await, [newcomer]);
    // Whose cookie came back, and who did not, is known after a restart too.
    assert!(
        place
            .web()
            .check(&token, None, true)
            .await
            .unwrap()
            .is_some()
    );
    let place = place.restart().await;
    place.set("max_sessions", Value::Number(2)).await.unwrap();
    let (without_cookies, _) = place.enter().await;
    let place = place.restart().await;
    place.clock().advance(MINUTE);
    place.enter().await;
    assert_eq!(
        cause_of(&place, without_cookies).await,
        Some(Cause::Evicted)
    );
    assert!(place.is_live(&token).await);
}

async fn c11_suspension_survives_a_restart<P: Durable>() {
    let place = P::start(
        Options {
            max_sessions: 1,
            ..short_process()
        },
        Work::ByHand,
    )
    .await;
    let (id, token) = place.enter().await;
    place.clock().advance(10 * MINUTE);
    place.registry().sweep().await.unwrap();
    let place = place.restart().await;
    assert_eq!(state(&place, id).await, State::Suspended);
    let stats = place.admin().stats().await.unwrap();
    assert_eq!((stats.suspended, stats.counted), (1, 0));
    assert_eq!(
        place
            .web()
            .enter(Some(&token), browser())
            .await
            .unwrap()
            .visit
            .id,
        id
    );
    let place = place.restart().await;
    assert_eq!(state(&place, id).await, State::Active);
    assert_eq!(place.admin().stats().await.unwrap().counted, 1);
}

/// Under a storm from many threads just as many are evicted as come in, and the limit is never exceeded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c10_a_storm_of_opens_evicts_none_too_many() {
    let place = OnDisk::start(at_most(50), Work::Regular).await;
    let mut busy = Vec::new();
    for number in 0..50 {
        let (_, token) = place.enter_confirmed().await;
        if number % 5 == 0 {
            busy.push(token);
        }
    }
    place.clock().advance(MINUTE);
    for token in &busy {
        place.web().check(token, None, true).await.unwrap();
    }
    let registry = Arc::new(place.registry().clone());
    let mut storm = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let registry = Arc::clone(&registry);
        storm.spawn(async move {
            let entered = registry.enter(None, browser()).await;
            assert!(registry.stats().await.unwrap().counted <= 50);
            entered.is_ok()
        });
    }
    let opened = storm
        .join_all()
        .await
        .into_iter()
        .filter(|opened| *opened)
        .count();
    let stats = place.admin().stats().await.unwrap();
    assert_eq!((opened, stats.ended.evicted, stats.counted), (40, 40, 50));
    for token in &busy {
        assert!(place.is_live(token).await, "who is not idle stays");
    }
}
