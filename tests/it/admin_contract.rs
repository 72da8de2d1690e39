//! The closing contract (ARCHITECTURE.md): each rule once, in every place.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use sessionctl::admin::{Admin as _, EndRequest, Ending, ListQuery, OpenRequest};
use sessionctl::clock::Timestamp;
use sessionctl::error::Error;
use sessionctl::options::Options;
use sessionctl::session::{Cause, SessionId, State};
use sessionctl::sessions::Sessions as _;
use sessionctl::token::Token;
use uuid::Uuid;

use crate::places::{
    BehindServer, Durable, InMemory, OnDisk, Place, Work, browser, in_every_place, operator, roomy,
    waiting,
};

in_every_place!(everywhere { InMemory, OnDisk, BehindServer } {
    c01_an_unknown_uuid_is_a_no_op,
    c03_a_closed_sessions_cookie_is_refused_and_its_expiration_is_0,
    c04_the_dead_cookie_gets_a_new_session_and_a_new_cookie,
    c04_a_made_up_cookie_is_never_adopted,
    c04_a_client_closes_its_own_session,
    c07_who_closes_makes_no_difference,
    c12_every_request_moves_the_expiration,
    c12_the_absolute_limit_holds_for_the_busiest,
    c12_looking_moves_nothing,
    s20_a_client_keeps_its_cookie_to_the_absolute_limit_and_no_longer,
    c12_due_sessions_are_swept,
    c15_exactly_one_of_many_closers_begins,
    c15_another_closer_gets_closing_while_it_lasts,
    c15_a_retry_gets_the_original_outcome,
    c16_s10_no_request_in_flight_brings_a_closed_session_back,
    dropping_ends_at_once,
    a_closing_session_can_be_dropped,
    a_full_server_refuses_newcomers_and_closes_nobody,
    lists_come_in_pages_in_the_order_of_opening,
    sessions_are_shown_as_they_were_opened,
});

in_every_place!(durably { OnDisk, BehindServer } {
    c17_a_restart_closes_nothing_and_forgets_nothing,
    c17_what_came_due_meanwhile_is_closed_at_the_start,
    c17_a_closing_goes_on_after_the_restart,
    c15_a_retry_after_a_restart_gets_the_original_outcome,
});

async fn c01_an_unknown_uuid_is_a_no_op<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, _) = place.enter().await;
    let unknown = SessionId::random();
    for _ in 0..2 {
        let outcome = place.close(unknown).await;
        assert_eq!(
            (outcome.outcome, outcome.initiated, outcome.cause),
            (Ending::NotFound, false, None)
        );
        let outcome = place
            .admin()
            .drop_session(unknown, operator())
            .await
            .unwrap();
        assert_eq!(outcome.outcome, Ending::NotFound);
    }
    let demanding = EndRequest {
        must_exist: true,
        ..operator()
    };
    assert!(
        matches!(place.admin().close(unknown, demanding.clone()).await, Err(Error::NotFound(id)) if id == unknown)
    );
    assert!(
        matches!(place.admin().drop_session(unknown, demanding).await, Err(Error::NotFound(id)) if id == unknown)
    );
    assert!(matches!(place.admin().show(unknown).await, Err(Error::NotFound(id)) if id == unknown));
    assert_eq!(place.ids().await, [id]);
}

async fn c03_a_closed_sessions_cookie_is_refused_and_its_expiration_is_0<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    let (_, other) = place.enter().await;
    assert!(place.is_live(&token).await);
    let outcome = place.close(id).await;
    assert_eq!(
        (outcome.outcome, outcome.initiated, outcome.cause),
        (Ending::Closed, true, Some(Cause::Command))
    );
    assert!(!place.is_live(&token).await);
    assert!(place.is_live(&other).await);
    let Err(Error::Closed(closed)) = place.admin().show(id).await else {
        panic!("it is closed")
    };
    assert_eq!(
        (closed.expires_at, closed.closed_at, closed.cause),
        (Timestamp::EPOCH, place.now(), Cause::Command)
    );
    assert_eq!(place.close(id).await.outcome, Ending::AlreadyClosed);
}

async fn c04_the_dead_cookie_gets_a_new_session_and_a_new_cookie<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    place.close(id).await;
    assert!(!place.is_live(&token).await);
    assert!(place.ids().await.is_empty(), "a check opens nothing");
    let entered = place.web().enter(Some(&token), browser()).await.unwrap();
    let new_token = entered.new_token.expect("a new cookie");
    assert_ne!(entered.visit.id, id);
    assert_ne!(new_token.expose(), token.expose());
    assert!(place.is_live(&new_token).await && !place.is_live(&token).await);
}

async fn c04_a_made_up_cookie_is_never_adopted<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let made_up = Token::mint().unwrap();
    assert!(!place.is_live(&made_up).await);
    let entered = place.web().enter(Some(&made_up), browser()).await.unwrap();
    assert_ne!(
        entered
            .new_token
            .expect("a cookie of the server's")
            .expose(),
        made_up.expose()
    );
    assert!(!place.is_live(&made_up).await);
    assert!(place.web().log_out(&made_up).await.unwrap().is_none());
}

async fn c04_a_client_closes_its_own_session<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    let (_, other) = place.enter().await;
    assert_eq!(
        place
            .web()
            .log_out(&token)
            .await
            .unwrap()
            .expect("its session")
            .id,
        id
    );
    assert!(!place.is_live(&token).await && place.is_live(&other).await);
    place.close(id).await;
    let Err(Error::Closed(closed)) = place.admin().show(id).await else {
        panic!("it is closed")
    };
    assert_eq!(closed.cause, Cause::Logout);
}

async fn c07_who_closes_makes_no_difference<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (by_operator, first) = place.enter().await;
    let (by_client, second) = place.enter().await;
    let (in_process, third) = place.enter().await;
    place.close(by_operator).await;
    place.web().log_out(&second).await.unwrap();
    place.registry().close(in_process, waiting()).await.unwrap();
    for (id, token) in [
        (by_operator, first),
        (by_client, second),
        (in_process, third),
    ] {
        let outcome = place.close(id).await.outcome;
        assert!(
            matches!(outcome, Ending::AlreadyClosed | Ending::Closed),
            "{outcome}"
        );
        assert!(!place.is_live(&token).await);
        assert!(matches!(
            place.admin().show(id).await,
            Err(Error::Closed(_))
        ));
    }
    assert!(place.ids().await.is_empty());
}

fn a_day() -> Options {
    Options {
        inactive_session_timeout: Duration::from_secs(24 * 3600),
        ..roomy()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// 4D's documented example, to the second and then to the millisecond.
async fn c12_every_request_moves_the_expiration<P: Place>() {
    let place = P::start(a_day(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    let expires_at = async || place.admin().show(id).await.unwrap().session.expires_at;
    assert_eq!(expires_at().await, Some(at("2026-11-24T01:00:00Z")));
    place.clock().advance_to(at("2026-11-23T01:10:00Z"));
    assert!(
        place
            .web()
            .enter(Some(&token), browser())
            .await
            .unwrap()
            .new_token
            .is_none()
    );
    assert_eq!(expires_at().await, Some(at("2026-11-24T01:10:00Z")));
    place.clock().advance_to(at("2026-11-23T01:20:00Z"));
    assert!(
        place
            .web()
            .check(&token, None, true)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(expires_at().await, Some(at("2026-11-24T01:20:00Z")));
    place.clock().advance_to(at("2026-11-24T01:19:59.999Z"));
    assert!(place.is_live(&token).await);
    place.clock().advance_to(at("2026-11-24T01:20:00Z"));
    assert!(
        !place.is_live(&token).await,
        "expired means now >= expires_at"
    );
    place.clock().advance_to(at("2026-11-24T04:00:00Z"));
    let entered = place.web().enter(Some(&token), browser()).await.unwrap();
    assert!(entered.new_token.is_some());
    assert_ne!(entered.visit.id, id);
    assert_eq!(entered.visit.expires_at, Some(at("2026-11-25T04:00:00Z")));
}

async fn c12_the_absolute_limit_holds_for_the_busiest<P: Place>() {
    let options = Options {
        absolute_session_timeout: Duration::from_secs(40 * 3600),
        ..a_day()
    };
    let place = P::start(options, Work::ByHand).await;
    let (id, token) = place.enter().await;
    for hour in [
        "2026-11-23T20:00:00Z",
        "2026-11-24T15:00:00Z",
        "2026-11-24T16:59:59Z",
    ] {
        place.clock().advance_to(at(hour));
        assert!(
            place
                .web()
                .check(&token, None, true)
                .await
                .unwrap()
                .is_some(),
            "{hour}"
        );
    }
    assert_eq!(
        place.admin().show(id).await.unwrap().session.expires_at,
        Some(at("2026-11-24T17:00:00Z"))
    );
    place.clock().advance_to(at("2026-11-24T17:00:00Z"));
    assert!(
        place
            .web()
            .check(&token, None, true)
            .await
            .unwrap()
            .is_none()
    );
}

/// Requests that set no cookie extend a session, so its cookie must not be gone before; the server alone ends it.
async fn s20_a_client_keeps_its_cookie_to_the_absolute_limit_and_no_longer<P: Place>() {
    let hour = Duration::from_secs(3600);
    let options = Options {
        absolute_session_timeout: 40 * hour,
        ..a_day()
    };
    let place = P::start(options, Work::ByHand).await;
    let entered = place.web().enter(None, browser()).await.unwrap();
    assert_eq!(entered.visit.lifetime, 40 * hour);
    let token = entered.new_token.unwrap();
    place.clock().advance(20 * hour);
    assert!(
        place
            .web()
            .check(&token, None, true)
            .await
            .unwrap()
            .is_some()
    );
    place.clock().advance(19 * hour);
    let entered = place.web().enter(Some(&token), browser()).await.unwrap();
    assert!(entered.new_token.is_none());
    assert_eq!(entered.visit.lifetime, hour);
}

async fn c12_looking_moves_nothing<P: Place>() {
    let place = P::start(a_day(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    let before = place.admin().show(id).await.unwrap().session;
    place.clock().advance(Duration::from_secs(3600));
    place.ids().await;
    assert!(
        place
            .web()
            .check(&token, None, false)
            .await
            .unwrap()
            .is_some()
    );
    let after = place.admin().show(id).await.unwrap().session;
    assert_eq!(
        (after.last_request_at, after.expires_at),
        (before.last_request_at, before.expires_at)
    );
    assert_eq!((before.idle_ms, after.idle_ms), (0, 3_600_000));
}

async fn c12_due_sessions_are_swept<P: Place>() {
    let place = P::start(a_day(), Work::ByHand).await;
    let (idle, _) = place.enter().await;
    let (busy, token) = place.enter().await;
    place.clock().advance(Duration::from_secs(12 * 3600));
    place.web().check(&token, None, true).await.unwrap();
    place.clock().advance(Duration::from_secs(12 * 3600));
    assert_eq!(
        place.admin().show(idle).await.unwrap().session.state,
        State::Expired
    );
    assert_eq!(place.registry().sweep().await.unwrap(), 1);
    assert_eq!(place.registry().sweep().await.unwrap(), 0);
    place.registry().finish_begun().await.unwrap();
    assert_eq!(place.ids().await, [busy]);
    let Err(Error::Closed(closed)) = place.admin().show(idle).await else {
        panic!("it is closed")
    };
    assert_eq!(closed.cause, Cause::Inactive);
    place.clock().advance(Duration::from_secs(12 * 3600));
    assert_eq!(
        place.registry().sweep().await.unwrap(),
        1,
        "the busy one is found at its own time"
    );
}

async fn c15_exactly_one_of_many_closers_begins<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    for _ in 0..20 {
        let (id, token) = place.enter().await;
        let calls = (0..8).map(|_| place.admin().close(id, waiting()));
        let outcomes = join_all(calls).await;
        let outcomes: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap())
            .collect();
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.initiated).count(),
            1
        );
        for outcome in outcomes {
            assert!(
                matches!(outcome.outcome, Ending::Closed | Ending::AlreadyClosed),
                "all wait for the same end"
            );
            assert_eq!(outcome.cause, Some(Cause::Command));
        }
        assert!(!place.is_live(&token).await);
    }
}

async fn c15_another_closer_gets_closing_while_it_lasts<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    let first = place.admin().close(id, operator()).await.unwrap();
    assert_eq!((first.outcome, first.initiated), (Ending::Closing, true));
    assert!(!place.is_live(&token).await);
    let second = place.admin().close(id, operator()).await.unwrap();
    assert_eq!(
        (second.outcome, second.initiated, second.cause),
        (Ending::Closing, false, Some(Cause::Command))
    );
    let shown = place.admin().show(id).await.unwrap().session;
    assert_eq!(
        (shown.state, shown.expires_at),
        (State::Closing, Some(Timestamp::EPOCH))
    );
    let brief = EndRequest {
        wait: Duration::from_millis(20),
        ..operator()
    };
    assert_eq!(
        place.admin().close(id, brief).await.unwrap().outcome,
        Ending::Closing
    );
    assert_eq!(place.registry().finish_begun().await.unwrap(), 1);
    assert_eq!(
        place.admin().close(id, operator()).await.unwrap().outcome,
        Ending::AlreadyClosed
    );
}

fn with_id(request_id: Uuid) -> EndRequest {
    EndRequest {
        request_id: Some(request_id),
        ..waiting()
    }
}

async fn c15_a_retry_gets_the_original_outcome<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (closed, _) = place.enter().await;
    let (dropped, _) = place.enter().await;
    let (mine, other) = (Uuid::new_v4(), Uuid::new_v4());
    let original = place.admin().close(closed, with_id(mine)).await.unwrap();
    assert!(original.initiated);
    assert_eq!(
        place.admin().close(closed, with_id(mine)).await.unwrap(),
        original
    );
    assert_eq!(
        place
            .admin()
            .close(closed, with_id(other))
            .await
            .unwrap()
            .outcome,
        Ending::AlreadyClosed
    );
    let original = place
        .admin()
        .drop_session(dropped, with_id(mine))
        .await
        .unwrap();
    assert_eq!(
        (original.outcome, original.initiated),
        (Ending::Closed, true)
    );
    assert_eq!(
        place
            .admin()
            .drop_session(dropped, with_id(mine))
            .await
            .unwrap(),
        original
    );
}

async fn c16_s10_no_request_in_flight_brings_a_closed_session_back<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    for _ in 0..20 {
        let (id, token) = place.enter().await;
        let requests = (0..6).map(|_| place.web().enter(Some(&token), browser()));
        let (entered, outcome) =
            tokio::join!(join_all(requests), place.admin().close(id, waiting()));
        assert!(outcome.unwrap().initiated);
        for entered in entered {
            let entered = entered.unwrap();
            assert_eq!(
                entered.new_token.is_none(),
                entered.visit.id == id,
                "its own session or a new one"
            );
        }
        assert!(!place.is_live(&token).await);
        assert!(!place.ids().await.contains(&id));
        assert!(
            place
                .web()
                .check(&token, None, true)
                .await
                .unwrap()
                .is_none()
        );
        assert!(matches!(
            place.admin().show(id).await,
            Err(Error::Closed(_))
        ));
    }
}

async fn dropping_ends_at_once<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    let outcome = place.admin().drop_session(id, operator()).await.unwrap();
    assert_eq!(
        (outcome.outcome, outcome.initiated, outcome.cause),
        (Ending::Closed, true, Some(Cause::Dropped))
    );
    assert!(!place.is_live(&token).await);
    assert_eq!(
        place
            .admin()
            .drop_session(id, operator())
            .await
            .unwrap()
            .outcome,
        Ending::AlreadyClosed
    );
    assert_eq!(place.registry().finish_begun().await.unwrap(), 0);
}

async fn a_closing_session_can_be_dropped<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (id, _) = place.enter().await;
    let begun = EndRequest {
        wait: Duration::ZERO,
        ..with_id(Uuid::new_v4())
    };
    place.admin().close(id, begun.clone()).await.unwrap();
    let dropped = place.admin().drop_session(id, operator()).await.unwrap();
    assert_eq!(
        (dropped.outcome, dropped.initiated, dropped.cause),
        (Ending::Closed, false, Some(Cause::Dropped))
    );
    let retried = place.admin().close(id, begun).await.unwrap();
    assert_eq!(
        (retried.outcome, retried.initiated, retried.cause),
        (Ending::Closed, true, Some(Cause::Dropped))
    );
}

async fn a_full_server_refuses_newcomers_and_closes_nobody<P: Place>() {
    let place = P::start(
        Options {
            max_sessions: 3,
            ..a_day()
        },
        Work::ByHand,
    )
    .await;
    let sessions = [
        place.enter().await,
        place.enter().await,
        place.enter().await,
    ];
    assert!(matches!(
        place.web().enter(None, browser()).await,
        Err(Error::LimitReached { limit: 3, .. })
    ));
    for (_, token) in &sessions {
        assert!(place.is_live(token).await);
        assert!(
            place
                .web()
                .enter(Some(token), browser())
                .await
                .unwrap()
                .new_token
                .is_none()
        );
    }
    place
        .admin()
        .close(sessions[0].0, operator())
        .await
        .unwrap();
    place.enter().await;
    assert!(place.web().enter(None, browser()).await.is_err());
    // What is due makes room, swept or not.
    place.clock().advance(Duration::from_secs(24 * 3600));
    place.enter().await;
}

async fn lists_come_in_pages_in_the_order_of_opening<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let mut opened = Vec::new();
    for _ in 0..7 {
        opened.push(place.enter().await.0);
    }
    place
        .admin()
        .drop_session(opened.remove(3), operator())
        .await
        .unwrap();
    let mut seen = Vec::new();
    let mut query = ListQuery {
        limit: Some(2),
        ..ListQuery::default()
    };
    loop {
        let page = place.admin().list(query).await.unwrap();
        assert_eq!(page.total, 6);
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|session| session.id));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, opened);
    let none = place
        .admin()
        .list(ListQuery {
            limit: Some(0),
            ..ListQuery::default()
        })
        .await
        .unwrap();
    assert_eq!((none.items.len(), none.total), (0, 6));
    assert!(none.next.is_some(), "there is more than nothing");
}

async fn sessions_are_shown_as_they_were_opened<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let request = OpenRequest {
        user: Some("Zoë".into()),
        ip: Some("::ffff:192.0.2.7".parse().unwrap()),
        user_agent: Some("日".repeat(600)),
        ..OpenRequest::default()
    };
    let opened = place.admin().open(request).await.unwrap();
    let session = place.admin().show(opened.session.id).await.unwrap().session;
    assert_eq!(session, opened.session);
    assert_eq!(
        (session.user.as_deref(), session.login_at),
        (Some("Zoë"), Some(place.now()))
    );
    assert_eq!(
        session.ip,
        Some("192.0.2.7".parse().unwrap()),
        "IPv4 and its ::ffff: form are one address"
    );
    assert_eq!(
        session.user_agent.map(|agent| agent.chars().count()),
        Some(512)
    );
    let own = Some("192.0.2.7".parse().unwrap());
    assert!(
        place
            .web()
            .check(&opened.token, own, false)
            .await
            .unwrap()
            .is_some()
    );
    for user in ["", "a\nb", " ana", "ana ", &"x".repeat(257)] {
        let request = OpenRequest {
            user: Some(user.into()),
            ..browser()
        };
        assert!(
            matches!(place.admin().open(request).await, Err(Error::Invalid(_))),
            "{user:?}"
        );
    }
}

async fn c17_a_restart_closes_nothing_and_forgets_nothing<P: Durable>() {
    let place = P::start(a_day(), Work::Regular).await;
    let (live, token) = place.enter().await;
    let (closed, dead) = place.enter().await;
    let (dropped, gone) = place.enter().await;
    place.close(closed).await;
    place
        .admin()
        .drop_session(dropped, operator())
        .await
        .unwrap();
    place.clock().advance(Duration::from_secs(3600));
    place.web().check(&token, None, true).await.unwrap();
    let before = place.admin().show(live).await.unwrap().session;
    let as_of = place
        .admin()
        .list(ListQuery::default())
        .await
        .unwrap()
        .as_of;
    let place = place.restart().await.restart().await;
    assert_eq!(
        place.admin().show(live).await.unwrap().session,
        before,
        "the last request too"
    );
    assert_eq!(place.ids().await, [live]);
    assert!(
        place.is_live(&token).await && !place.is_live(&dead).await && !place.is_live(&gone).await
    );
    for (id, cause) in [(closed, Cause::Command), (dropped, Cause::Dropped)] {
        let outcome = place.close(id).await;
        assert_eq!(
            (outcome.outcome, outcome.cause),
            (Ending::AlreadyClosed, Some(cause))
        );
    }
    let (next, _) = place.enter().await;
    assert!(
        place.admin().show(next).await.unwrap().session.seq > as_of,
        "a number that only grows"
    );
}

async fn c17_what_came_due_meanwhile_is_closed_at_the_start<P: Durable>() {
    let place = P::start(a_day(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    let clock = place.clock().clone();
    let place = place.restart().await;
    clock.advance(Duration::from_secs(24 * 3600));
    assert!(!place.is_live(&token).await);
    assert_eq!(place.registry().sweep().await.unwrap(), 1);
    place.registry().finish_begun().await.unwrap();
    assert_eq!(place.close(id).await.cause, Some(Cause::Inactive));
}

async fn c17_a_closing_goes_on_after_the_restart<P: Durable>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    place.admin().close(id, operator()).await.unwrap();
    let place = place.restart().await;
    assert!(!place.is_live(&token).await);
    assert_eq!(
        place.admin().show(id).await.unwrap().session.state,
        State::Closing
    );
    assert_eq!(place.registry().finish_begun().await.unwrap(), 1);
    assert_eq!(place.close(id).await.outcome, Ending::AlreadyClosed);
}

async fn c15_a_retry_after_a_restart_gets_the_original_outcome<P: Durable>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, _) = place.enter().await;
    let request = with_id(Uuid::new_v4());
    let original = place.admin().close(id, request.clone()).await.unwrap();
    let place = place.restart().await;
    assert_eq!(place.admin().close(id, request).await.unwrap(), original);
}

/// A web framework drops a request's future when its client goes away: at any await point, that changes nothing.
#[tokio::test]
async fn dropping_the_future_of_a_close_at_any_await_point_changes_nothing() {
    let place = OnDisk::start(roomy(), Work::Regular).await;
    for polls in 0.. {
        let (id, token) = place.enter().await;
        let finished = poll_times(place.registry().close(id, waiting()), polls).await;
        if polls == 0 {
            assert!(
                place.is_live(&token).await,
                "a future that was never polled has done nothing"
            );
            continue;
        }
        assert!(
            !place.is_live(&token).await,
            "begun at the first poll, whatever became of the future"
        );
        let outcome = place.close(id).await;
        assert!(
            matches!(outcome.outcome, Ending::Closed | Ending::AlreadyClosed) && !outcome.initiated,
            "{outcome:?}"
        );
        if finished {
            return;
        }
    }
}

/// The same for every other change: done whole or not at all, and nothing hangs afterwards.
#[tokio::test]
async fn dropping_the_future_of_any_change_leaves_a_whole_store() {
    let place = OnDisk::start(roomy(), Work::Regular).await;
    for polls in 0..6 {
        let (id, token) = place.enter().await;
        poll_times(place.registry().drop_session(id, operator()), polls).await;
        assert_eq!(place.is_live(&token).await, polls == 0);
        poll_times(place.web().enter(None, browser()), polls).await;
        poll_times(place.registry().sweep(), polls).await;
    }
    let (id, _) = place.enter().await;
    assert_eq!(place.close(id).await.outcome, Ending::Closed);
}

/// Polls a future so many times, then drops it; answers whether it was done by then.
async fn poll_times(future: impl Future, polls: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        let poll = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready()));
        if poll.await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}

/// Whoever waits for an end is told of it, even if whoever ended the session was dropped before it could tell.
#[tokio::test]
async fn a_waiting_closer_is_told_of_the_end_whoever_ended_it() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    for polls in 1..4 {
        let (id, _) = place.enter().await;
        place.admin().close(id, operator()).await.unwrap();
        let registry = place.registry().clone();
        let waiter = tokio::spawn(async move { registry.close(id, waiting()).await });
        poll_times(place.registry().drop_session(id, operator()), polls).await;
        let told = tokio::time::timeout(Duration::from_secs(10), waiter).await;
        let outcome = told
            .expect("long before its own patience ends")
            .unwrap()
            .unwrap();
        assert!(matches!(
            outcome.outcome,
            Ending::Closed | Ending::AlreadyClosed
        ));
        assert_eq!(outcome.cause, Some(Cause::Dropped));
    }
}

/// A server that is full of sessions whose time is over refuses nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_sessions_make_room_for_all_newcomers() {
    let place = OnDisk::start(
        Options {
            max_sessions: 50,
            ..a_day()
        },
        Work::ByHand,
    )
    .await;
    for _ in 0..50 {
        place.enter().await;
    }
    assert!(place.web().enter(None, browser()).await.is_err());
    place.clock().advance(Duration::from_secs(24 * 3600));
    let newcomers = join_all((0..50).map(|_| place.web().enter(None, browser()))).await;
    assert!(newcomers.iter().all(Result::is_ok));
    assert!(place.web().enter(None, browser()).await.is_err());
}

/// S49 in part, C10: under a storm of opens from many threads the limit is never exceeded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_opens_never_exceeds_the_limit() {
    let place = OnDisk::start(
        Options {
            max_sessions: 50,
            ..roomy()
        },
        Work::Regular,
    )
    .await;
    let registry = Arc::new(place.registry().clone());
    let mut storm = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let registry = Arc::clone(&registry);
        storm.spawn(async move { registry.enter(None, browser()).await.is_ok() });
    }
    let opened = storm
        .join_all()
        .await
        .into_iter()
        .filter(|opened| *opened)
        .count();
    assert_eq!((opened, place.ids().await.len()), (50, 50));
}
