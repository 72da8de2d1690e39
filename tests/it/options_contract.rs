//! Modes, options at run time, and the time that they go by: C02, C14, S14, S50, in every place.

use std::time::Duration;

use sessionctl::admin::{Admin as _, Ending, HistoryQuery, ListQuery, LockQuery, SetRequest};
use sessionctl::error::Error;
use sessionctl::options::{FIXED_OPTIONS, OPTIONS, OptionSpec, Options, Origin, Value};
use sessionctl::session::{Cause, Mode, SessionId, State};
use sessionctl::sessions::Sessions as _;

use crate::places::{
    BehindServer, Durable, InMemory, OnDisk, Place, Work, browser, in_every_place, operator, roomy,
    setting,
};

in_every_place!(everywhere { InMemory, OnDisk, BehindServer } {
    c02_closing_is_ignored_in_scalable_mode,
    c02_scalable_sessions_end_otherwise,
    c14_a_session_keeps_the_mode_that_it_was_opened_in,
    c14_mode_none_opens_nothing,
    c14_options_act_at_once,
    c14_what_would_end_sessions_needs_a_word,
    c14_a_new_cookie_name_strands_clients,
    c14_a_lower_limit_evicts_who_is_idle,
    c14_zero_and_the_empty_text_restore_defaults,
    c14_all_or_nothing_is_set,
    s50_what_the_server_trusts_is_not_set_over_the_api,
    s13_idle_and_absolute_time_outs_are_enforced_by_the_server,
    s17_a_list_that_is_polled_keeps_nobody_alive,
    s14_setting_the_wall_clock_moves_nothing,
});

in_every_place!(durably { OnDisk, BehindServer } {
    c14_options_are_kept_over_a_restart,
    c14_every_option_is_kept_over_a_restart,
    s14_a_restart_after_the_clock_was_set,
});

const MINUTE: Duration = Duration::from_secs(60);

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn millis(duration: Duration) -> Value {
    Value::Number(duration.as_millis().try_into().unwrap())
}

fn scalable() -> Options {
    Options {
        mode: Mode::Scalable,
        ..roomy()
    }
}

async fn c02_closing_is_ignored_in_scalable_mode<P: Place>() {
    let place = P::start(scalable(), Work::Regular).await;
    let (id, token) = place.enter().await;
    let session = place.admin().show(id).await.unwrap().session;
    assert_eq!((session.mode, session.expires_at), (Mode::Scalable, None));
    for _ in 0..2 {
        let outcome = place.close(id).await;
        assert_eq!(
            (
                outcome.id,
                outcome.outcome,
                outcome.initiated,
                outcome.cause
            ),
            (id, Ending::Ignored, false, None)
        );
    }
    assert!(place.is_live(&token).await);
    assert_eq!(
        place.close(SessionId::random()).await.outcome,
        Ending::NotFound
    );
    let dropped = place.admin().drop_session(id, operator()).await.unwrap();
    assert_eq!((dropped.outcome, dropped.initiated), (Ending::Closed, true));
    assert!(!place.is_live(&token).await);
    assert_eq!(place.close(id).await.outcome, Ending::AlreadyClosed);
    assert_eq!(place.admin().stats().await.unwrap().ended.command, 0);
}

async fn c02_scalable_sessions_end_otherwise<P: Place>() {
    let place = P::start(scalable(), Work::ByHand).await;
    let (out, token) = place.enter().await;
    assert!(place.web().log_out(&token).await.unwrap().is_some());
    let outcome = place.admin().close(out, operator()).await.unwrap();
    assert_eq!(
        (outcome.outcome, outcome.cause),
        (Ending::AlreadyClosed, Some(Cause::Logout)),
        "there is no method that it would wait for"
    );
    let (idle, token) = place.enter().await;
    // The time-outs of legacy sessions are not for it.
    place
        .set("inactive_session_timeout", millis(MINUTE))
        .await
        .unwrap();
    place.clock().advance(30 * MINUTE);
    assert!(
        place
            .web()
            .check(&token, None, true)
            .await
            .unwrap()
            .is_some()
    );
    place
        .clock()
        .advance(60 * MINUTE - Duration::from_millis(1));
    assert!(place.is_live(&token).await);
    place.clock().advance(Duration::from_millis(1));
    assert!(!place.is_live(&token).await);
    assert_eq!(place.registry().sweep().await.unwrap(), 1);
    place.registry().finish_begun().await.unwrap();
    assert_eq!(place.close(idle).await.cause, Some(Cause::Inactive));
}

async fn c14_a_session_keeps_the_mode_that_it_was_opened_in<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (legacy, _) = place.enter().await;
    let set = place.set("mode", text("scalable")).await.unwrap();
    assert_eq!(
        (set.is_set, set.ends, set.strands),
        (true, 0, 0),
        "changing the mode closes nothing"
    );
    let (scalable, _) = place.enter().await;
    place
        .set("keep_session", Value::Switch(false))
        .await
        .unwrap();
    assert_eq!(place.option("mode").await.value, text("none"));
    assert_eq!(place.close(scalable).await.outcome, Ending::Ignored);
    assert_eq!(place.close(legacy).await.outcome, Ending::Closed);
    place.reset("mode").await.unwrap();
    assert_eq!(
        place.option("keep_session").await.value,
        Value::Switch(true)
    );
}

async fn c14_mode_none_opens_nothing<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    place.set("mode", text("none")).await.unwrap();
    assert!(matches!(
        place.web().enter(None, browser()).await,
        Err(Error::NoSessions)
    ));
    assert!(matches!(
        place.admin().open(browser()).await,
        Err(Error::NoSessions)
    ));
    let entered = place.web().enter(Some(&token), browser()).await.unwrap();
    assert_eq!(
        (entered.visit.id, entered.new_token.is_none()),
        (id, true),
        "who is there stays"
    );
}

async fn c14_options_act_at_once<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    let set = place
        .set("inactive_session_timeout", millis(10 * MINUTE))
        .await
        .unwrap();
    assert_eq!((set.is_set, set.ends), (true, 0));
    let expires_at = place.admin().show(id).await.unwrap().session.expires_at;
    assert_eq!(expires_at, Some(place.now().plus(10 * MINUTE)));
    place.clock().advance(10 * MINUTE);
    assert!(!place.is_live(&token).await);
    assert_eq!(
        place.registry().sweep().await.unwrap(),
        1,
        "no deadline is missed"
    );
    let (_, token) = place.enter().await;
    place
        .set("inactive_session_timeout", millis(20 * MINUTE))
        .await
        .unwrap();
    place.clock().advance(15 * MINUTE);
    assert!(place.is_live(&token).await);
    assert_eq!(place.registry().sweep().await.unwrap(), 0);
    let state = place.option("inactive_session_timeout").await;
    assert_eq!(
        (state.origin, state.beneath_origin),
        (Origin::RunTime, Origin::Default)
    );
    place.reset("inactive_session_timeout").await.unwrap();
    assert_eq!(
        place.option("inactive_session_timeout").await.origin,
        Origin::Default
    );
}

async fn c14_what_would_end_sessions_needs_a_word<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (old, token) = place.enter().await;
    place.clock().advance(30 * MINUTE);
    let (new, _) = place.enter().await;
    let change = || {
        vec![(
            "inactive_session_timeout".to_owned(),
            Some(millis(20 * MINUTE)),
        )]
    };
    let refused = place.admin().set_options(setting(change())).await;
    assert!(
        matches!(
            refused,
            Err(Error::WouldEnd {
                ends: 1,
                strands: 0
            })
        ),
        "{refused:?}"
    );
    let dry = SetRequest {
        dry_run: true,
        may_end: true,
        ..setting(change())
    };
    let dry = place.admin().set_options(dry).await.unwrap();
    assert_eq!((dry.is_set, dry.ends), (false, 1));
    assert!(place.is_live(&token).await);
    assert_eq!(
        place.option("inactive_session_timeout").await.origin,
        Origin::Default
    );
    let set = SetRequest {
        may_end: true,
        ..setting(change())
    };
    let set = place.admin().set_options(set).await.unwrap();
    assert_eq!((set.is_set, set.ends), (true, 1));
    assert!(!place.is_live(&token).await);
    assert_eq!(place.close(old).await.cause, Some(Cause::Inactive));
    assert_eq!(place.ids().await, [new]);
}

async fn c14_a_new_cookie_name_strands_clients<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    place.enter().await;
    for (name, value) in [
        ("cookie_name", text("OTHER")),
        ("cookie_domain", text("example.com")),
        ("cookie_secure", Value::Switch(false)),
    ] {
        let refused = place.set(name, value).await;
        assert!(
            matches!(
                refused,
                Err(Error::WouldEnd {
                    ends: 0,
                    strands: 1
                })
            ),
            "{name}: {refused:?}"
        );
    }
    assert!(
        place
            .set("cookie_same_site", text("strict"))
            .await
            .unwrap()
            .is_set
    );
    let change = vec![("cookie_name".to_owned(), Some(text("OTHER")))];
    let set = SetRequest {
        may_end: true,
        ..setting(change)
    };
    assert_eq!(place.admin().set_options(set).await.unwrap().strands, 1);
    let opened = place.admin().open(browser()).await.unwrap();
    assert_eq!(opened.cookie_name, "__Host-OTHER");
}

async fn c14_a_lower_limit_evicts_who_is_idle<P: Place>() {
    let place = P::start(
        Options {
            max_sessions: 10,
            ..roomy()
        },
        Work::Regular,
    )
    .await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(place.enter_confirmed().await.0);
        place.clock().advance(Duration::from_secs(20));
    }
    // Three have been idle for a minute and more.
    let refused = place.set("max_sessions", Value::Number(5)).await;
    assert!(
        matches!(refused, Err(Error::WouldEnd { ends: 1, .. })),
        "{refused:?}"
    );
    let lower = |limit| SetRequest {
        may_end: true,
        ..setting(vec![("max_sessions".into(), Some(Value::Number(limit)))])
    };
    assert_eq!(place.admin().set_options(lower(5)).await.unwrap().ends, 1);
    assert_eq!(place.close(ids[0]).await.cause, Some(Cause::Evicted));
    assert_eq!(
        place.admin().set_options(lower(1)).await.unwrap().ends,
        3,
        "who is not idle stays"
    );
    assert_eq!(place.live_ids().await, ids[4..]);
    assert!(matches!(
        place.web().enter(None, browser()).await,
        Err(Error::LimitReached { limit: 1, .. })
    ));
    place.clock().advance(MINUTE);
    let (newcomer, _) = place.enter().await;
    assert_eq!(
        place.admin().stats().await.unwrap().counted,
        1,
        "as many make room as the limit asks"
    );
    place.registry().finish_begun().await.unwrap();
    assert!(place.ids().await.contains(&newcomer));
}

async fn c14_zero_and_the_empty_text_restore_defaults<P: Place>() {
    let options = Options {
        max_sessions: 7,
        inactive_process_timeout: 5 * MINUTE,
        inactive_session_timeout: 5 * MINUTE,
        cookie_name: "OTHER".into(),
        ..Options::default()
    };
    let place = P::start(options, Work::ByHand).await;
    for (name, zero) in [
        ("max_sessions", Value::Number(0)),
        ("inactive_process_timeout", Value::Number(0)),
        ("inactive_session_timeout", Value::Number(0)),
        ("cookie_name", text("")),
    ] {
        let before = place.option(name).await;
        assert_eq!(before.origin, Origin::Flag);
        place.set(name, zero).await.unwrap();
        let state = place.option(name).await;
        assert_eq!(
            (&state.value, state.origin),
            (&state.default, Origin::RunTime),
            "{name}"
        );
        place.reset(name).await.unwrap();
        assert_eq!(place.option(name).await, before);
    }
}

async fn c14_all_or_nothing_is_set<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let before = place.admin().options().await.unwrap();
    for bad in [
        ("address_prefix_v6", Value::Number(129)),
        ("cookie_secure", Value::Number(1)),
        ("nonsense", Value::Number(1)),
    ] {
        let changes = vec![
            ("max_sessions".to_owned(), Some(Value::Number(5))),
            (bad.0.into(), Some(bad.1)),
        ];
        let refused = place.admin().set_options(setting(changes)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let together = vec![
        ("cookie_secure".to_owned(), Some(Value::Switch(false))),
        ("cookie_same_site".to_owned(), Some(text("none"))),
    ];
    assert!(matches!(
        place.admin().set_options(setting(together)).await,
        Err(Error::Invalid(_))
    ));
    assert_eq!(place.admin().options().await.unwrap(), before);
}

async fn s50_what_the_server_trusts_is_not_set_over_the_api<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let before = place.admin().options().await.unwrap();
    let names = FIXED_OPTIONS.iter().map(|(name, _)| *name);
    for name in names.chain(["on_close", "tls", "groups"]) {
        for value in [text("/bin/sh"), text("0.0.0.0/0"), Value::Switch(true)] {
            assert!(
                matches!(place.set(name, value).await, Err(Error::Invalid(_))),
                "{name}"
            );
        }
        assert!(
            matches!(place.reset(name).await, Err(Error::Invalid(_))),
            "{name}"
        );
    }
    assert_eq!(place.admin().options().await.unwrap(), before);
}

/// Whoever polls every second lives for the absolute limit; whoever is silent, for the idle one; keeping the cookie helps nobody.
async fn s13_idle_and_absolute_time_outs_are_enforced_by_the_server<P: Place>() {
    let second = Duration::from_secs(1);
    let options = Options {
        inactive_session_timeout: 2 * second,
        absolute_session_timeout: 6 * second,
        ..roomy()
    };
    let place = P::start(options, Work::ByHand).await;
    let (_, busy) = place.enter().await;
    let (_, silent) = place.enter().await;
    for passed in 1..=8 {
        place.clock().advance(second);
        let is_in = place
            .web()
            .check(&busy, None, true)
            .await
            .unwrap()
            .is_some();
        assert_eq!(is_in, passed < 6, "{passed}");
        assert_eq!(place.is_live(&silent).await, passed < 2, "{passed}");
    }
}

/// Whoever looks on, ten times a second, for longer than the idle limit.
async fn s17_a_list_that_is_polled_keeps_nobody_alive<P: Place>() {
    let idle = Duration::from_secs(2);
    let options = Options {
        inactive_session_timeout: idle,
        ..roomy()
    };
    let place = P::start(options, Work::ByHand).await;
    let (id, token) = place.enter().await;
    let before = place.admin().show(id).await.unwrap().session;
    let tick = Duration::from_millis(100);
    for tenth in 1..=30 {
        place.clock().advance(tick);
        let is_due = tick * tenth >= idle;
        place.admin().list(ListQuery::default()).await.unwrap();
        place.admin().stats().await.unwrap();
        place
            .admin()
            .history(HistoryQuery::default())
            .await
            .unwrap();
        place.admin().locks(LockQuery::default()).await.unwrap();
        if let Ok(shown) = place.admin().show(id).await {
            let now = shown.session;
            assert_eq!(now.last_request_at, before.last_request_at);
            assert_eq!(now.expires_at, before.expires_at);
        }
        assert_eq!(place.is_live(&token).await, !is_due, "{tenth}");
    }
}

/// Within a run deadlines follow what has passed: an hour back, an hour ahead, ten years ahead.
async fn s14_setting_the_wall_clock_moves_nothing<P: Place>() {
    let hour = 3_600_000;
    for step in [-hour, hour, 10 * 365 * 24 * hour] {
        let options = Options {
            absolute_session_timeout: 100 * MINUTE,
            ..roomy()
        };
        let place = P::start(options, Work::ByHand).await;
        let (_, token) = place.enter().await;
        place.clock().step(step);
        assert!(place.is_live(&token).await);
        assert_eq!(place.registry().sweep().await.unwrap(), 0, "no mass expiry");
        place
            .clock()
            .advance(100 * MINUTE - Duration::from_millis(1));
        assert!(
            place
                .web()
                .check(&token, None, true)
                .await
                .unwrap()
                .is_some()
        );
        place.clock().advance(Duration::from_millis(1));
        assert!(!place.is_live(&token).await, "and no longer life");
        assert_eq!(place.registry().sweep().await.unwrap(), 1);
    }
}

/// At a restart time goes on from the last instant that is known, or from the wall clock if that is later.
async fn s14_a_restart_after_the_clock_was_set<P: Durable>() {
    let hour = 3_600_000;
    for (step, is_over) in [(-hour, false), (hour, false), (10 * 365 * 24 * hour, true)] {
        let options = Options {
            inactive_session_timeout: 90 * MINUTE,
            absolute_session_timeout: 100 * MINUTE,
            ..roomy()
        };
        let place = P::start(options, Work::Regular).await;
        let (id, token) = place.enter().await;
        place.clock().advance(20 * MINUTE);
        assert!(
            place
                .web()
                .check(&token, None, true)
                .await
                .unwrap()
                .is_some()
        );
        place.clock().step(step);
        let clock = place.clock().clone();
        let place = place.restart().await;
        assert_eq!(place.is_live(&token).await, !is_over, "{step}");
        if is_over {
            place.registry().sweep().await.unwrap();
            let outcome = place.close(id).await;
            assert_eq!(outcome.cause, Some(Cause::Inactive));
            continue;
        }
        let session = place.admin().show(id).await.unwrap().session;
        assert!(
            session.idle_ms <= u64::try_from(hour).unwrap(),
            "{}",
            session.idle_ms
        );
        // 20 of 100 minutes had passed; an hour ahead took 60 more. An hour back gives none of them again.
        let left = if step > 0 { 20 * MINUTE } else { 80 * MINUTE };
        clock.advance(left - Duration::from_millis(1));
        assert!(place.is_live(&token).await, "{step}");
        clock.advance(Duration::from_millis(1));
        assert!(
            !place.is_live(&token).await,
            "{step}: never longer than the absolute limit"
        );
    }
}

async fn c14_options_are_kept_over_a_restart<P: Durable>() {
    let place = P::start(
        Options {
            max_sessions: 50,
            ..roomy()
        },
        Work::ByHand,
    )
    .await;
    let (id, token) = place.enter().await;
    place.set("max_sessions", Value::Number(60)).await.unwrap();
    place
        .set("inactive_process_timeout", millis(10 * MINUTE))
        .await
        .unwrap();
    place.clock().advance(10 * MINUTE);
    let place = place.restart().await;
    let state = place.option("max_sessions").await;
    assert_eq!(
        (state.value, state.origin),
        (Value::Number(60), Origin::RunTime),
        "it wins over the flag"
    );
    assert_eq!(
        (state.beneath, state.beneath_origin),
        (Value::Number(50), Origin::Flag)
    );
    assert_eq!(
        place.admin().show(id).await.unwrap().session.state,
        State::Suspended
    );
    assert!(
        place
            .web()
            .check(&token, None, true)
            .await
            .unwrap()
            .is_some()
    );
    place.reset("max_sessions").await.unwrap();
    let place = place.restart().await;
    let state = place.option("max_sessions").await;
    assert_eq!(
        (state.value, state.origin),
        (Value::Number(50), Origin::Flag)
    );
}

async fn c14_every_option_is_kept_over_a_restart<P: Durable>() {
    let other = |spec: &OptionSpec| match spec.name {
        "mode" => "scalable",
        "cookie_name" => "OTHER",
        "cookie_domain" => "example.com",
        "cookie_path" => "/app",
        "cookie_same_site" => "strict",
        "eviction_order" => "oldest",
        "open_rate" | "cookie_secure" | "session_ip_address_validation" => "off",
        "keep_session" => "on",
        "max_sessions" | "address_prefix_v6" | "context_limit" | "context_name_limit" => "99",
        "on_close_slots" => "9",
        "closing_grace_period" | "closing_time_limit" | "on_close_time_limit" => "9m",
        _ => "90m",
    };
    let place = P::start(Options::default(), Work::ByHand).await;
    for spec in &OPTIONS {
        let value = spec.parse(other(spec)).unwrap().unwrap();
        place
            .set(spec.name, value)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", spec.name));
    }
    let before = place.admin().options().await.unwrap();
    for state in &before {
        let spec = OptionSpec::named(&state.name).unwrap();
        assert_eq!(spec.show(&state.value), other(spec), "{}", state.name);
        assert_eq!(state.origin, Origin::RunTime, "{}", state.name);
    }
    let place = place.restart().await;
    assert_eq!(place.admin().options().await.unwrap(), before);
}
