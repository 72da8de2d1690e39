//! Processes and what they have (C17, C18, the table of states): contexts, record locks, leases, log-ins. Each rule once,
//! in every place.

use std::time::Duration;

use sessionctl::admin::{Admin as _, Ending, LockQuery};
use sessionctl::application::{Application as _, At};
use sessionctl::context::{ContextError, Record};
use sessionctl::error::Error;
use sessionctl::on_close::MethodResult;
use sessionctl::options::Options;
use sessionctl::session::{ProcessNumber, ProcessState, SessionId, State};
use sessionctl::sessions::Sessions as _;

use crate::contexts::{
    KEEP, SECOND, Script, an_hour, fill, first, held_locks, invoice, json, name, open_as,
    open_mobile, process, put, queued, selection, soon, suspended, suspending, until,
};
use crate::places::{
    BehindServer, Durable, InMemory, OnDisk, Place, Work, browser, in_every_place, operator, roomy,
};

in_every_place!(everywhere { InMemory, OnDisk, BehindServer } {
    c18_a_process_that_nobody_names_ends_with_its_method,
    c18_whoever_names_a_process_renews_its_lease,
    contexts_take_what_they_are_given_within_limits,
    names_are_any_text,
    a_mobile_session_is_never_suspended,
    a_waiting_process_whose_lease_lapses_gets_no_lock,
    locks_tell_who_holds_them,
    a_session_whose_time_is_over_takes_nothing_more,
    a_web_sessions_process_takes_a_lease_when_it_needs_one,
    a_context_that_has_filled_up_meanwhile_gets_no_lock,
    locks_are_waited_for_in_order,
    whoever_goes_away_is_skipped,
    a_waiter_gets_the_lock_when_its_holder_closes,
    waiters_of_a_closing_session_get_no_lock,
    a_web_session_has_one_process,
    a_closing_session_takes_no_changes,
    a_log_in_replaces_the_token,
    late_requests_with_the_old_token_change_nothing,
});

in_every_place!(durably { OnDisk, BehindServer } {
    c17_contexts_and_locks_are_there_after_a_restart,
});

async fn c18_a_process_that_nobody_names_ends_with_its_method<P: Place>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let id = open_mobile(&place, 0).await;
    let leased = place
        .app()
        .start_process(id, Some(30 * SECOND))
        .await
        .unwrap();
    let plain = place.app().start_process(id, None).await.unwrap();
    assert_eq!(leased.lease_until, Some(place.now().plus(30 * SECOND)));
    let at = process(id, leased.number.0);
    place
        .app()
        .lock(at, invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    place.clock().advance(30 * SECOND);
    script.runs(1).await;
    let details = until("the process's end", async || {
        let details = place.admin().show(id).await.unwrap();
        (details.processes.len() == 1).then_some(details)
    })
    .await;
    assert_eq!(
        (details.session.state, details.processes[0].number),
        (State::Active, plain.number)
    );
    let other = process(id, plain.number.0);
    place
        .app()
        .lock(other, invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    for lease in [29, 3601] {
        assert!(matches!(
            place.app().start_process(id, Some(lease * SECOND)).await,
            Err(Error::Invalid(_))
        ));
    }
    // A web session whose one process lapses is suspended.
    let (web, token) = place.enter().await;
    place.app().end_process(first(web)).await.unwrap();
    let leased = place
        .app()
        .start_process(web, Some(30 * SECOND))
        .await
        .unwrap();
    assert_eq!(leased.number, ProcessNumber(2));
    place.clock().advance(30 * SECOND);
    suspended(&place, web).await;
    assert!(place.is_live(&token).await);
}

async fn c18_whoever_names_a_process_renews_its_lease<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let id = open_mobile(&place, 0).await;
    let status = place
        .app()
        .start_process(id, Some(30 * SECOND))
        .await
        .unwrap();
    let at = process(id, status.number.0);
    place
        .app()
        .lock(at, invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    for step in 0..6 {
        place.clock().advance(20 * SECOND);
        place.registry().sweep().await.unwrap();
        match step {
            0 => drop(place.app().poll_process(at, Duration::ZERO).await.unwrap()),
            1 => put(&place, at, "a", "1").await,
            2 => drop(place.app().context(at).await.unwrap()),
            3 => drop(
                place
                    .app()
                    .lock(at, invoice("2"), Duration::ZERO)
                    .await
                    .unwrap(),
            ),
            4 => place.app().unlock(at, invoice("2")).await.unwrap(),
            _ => place
                .app()
                .set_selection(at, name("s"), Some(selection(&["1"])))
                .await
                .unwrap(),
        }
        place.registry().sweep().await.unwrap();
        assert_eq!(
            place.admin().show(id).await.unwrap().session.lock_count,
            if step == 3 { 2 } else { 1 }
        );
    }
    place.clock().advance(20 * SECOND);
    place.registry().sweep().await.unwrap();
    assert_eq!(
        place.admin().show(id).await.unwrap().session.process_count,
        1
    );
    // Looking at it as an operator renews nothing.
    place.clock().advance(10 * SECOND);
    place.admin().show(id).await.unwrap();
    place.registry().sweep().await.unwrap();
    place.registry().finish_begun().await.unwrap();
    assert_eq!(
        place.admin().show(id).await.unwrap().session.process_count,
        0
    );
}

async fn contexts_take_what_they_are_given_within_limits<P: Place>() {
    let options = Options {
        context_limit: 100,
        context_name_limit: 10,
        ..roomy()
    };
    let place = P::start(options, Work::ByHand).await;
    let (id, _) = place.enter().await;
    let (at, app) = (first(id), place.app());
    app.set_variable(
        at,
        name("v"),
        Some(json(&format!("\"{}\"", "x".repeat(90)))),
    )
    .await
    .unwrap();
    let large = app
        .set_variable(at, name("w"), Some(json("\"123456\"")))
        .await;
    assert!(
        matches!(
            large,
            Err(Error::Context(ContextError::Large {
                limit: 100,
                found: 102
            }))
        ),
        "{large:?}"
    );
    let large = app.lock(at, invoice("1"), Duration::ZERO).await;
    assert!(
        matches!(large, Err(Error::Context(ContextError::Large { .. }))),
        "{large:?}"
    );
    let large = app
        .set_selection(at, name("s"), Some(selection(&["1", "2"])))
        .await;
    assert!(
        matches!(large, Err(Error::Context(ContextError::Large { .. }))),
        "{large:?}"
    );
    let long = app
        .set_variable(at, name("elevenchars"), Some(json("1")))
        .await;
    assert!(
        matches!(
            long,
            Err(Error::Context(ContextError::Long {
                limit: 10,
                found: 11
            }))
        ),
        "{long:?}"
    );
    assert_eq!(
        app.context(at).await.unwrap().variables.len(),
        1,
        "nothing was changed"
    );
    app.set_variable(at, name("v"), None).await.unwrap();
    app.set_variable(at, name("v"), None).await.unwrap();
    app.set_selection(at, name("s"), Some(selection(&["1", "2"])))
        .await
        .unwrap();
    app.lock(at, invoice("1"), Duration::ZERO).await.unwrap();
    let context = app.context(at).await.unwrap();
    assert_eq!(context.selections[&name("s")], selection(&["1", "2"]));
    app.set_selection(at, name("s"), None).await.unwrap();
    assert!(app.context(at).await.unwrap().selections.is_empty());
}

async fn names_are_any_text<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (id, _) = place.enter().await;
    let (at, app) = (first(id), place.app());
    let odd = [
        "a/b",
        "a\"b",
        "it's",
        "🔑 key",
        "%2F",
        "a?b#c",
        " ",
        "..x",
        "é\u{301}",
        "a\\b",
        "null",
    ];
    for text in odd {
        app.set_variable(at, name(text), Some(json("{\"a\": [1, \"🔑\"]}")))
            .await
            .unwrap();
        let record = Record {
            table: name(text),
            record: name(text),
        };
        app.lock(at, record.clone(), Duration::ZERO).await.unwrap();
        let query = LockQuery {
            table: Some(name(text)),
            record: Some(name(text)),
            ..LockQuery::default()
        };
        assert_eq!(
            place.admin().locks(query).await.unwrap().items.len(),
            1,
            "{text}"
        );
    }
    let context = app.context(at).await.unwrap();
    assert_eq!(
        (context.variables.len(), context.locks.len()),
        (odd.len(), odd.len())
    );
    assert!(
        context
            .variables
            .values()
            .all(|value| value.as_str() == "{\"a\": [1, \"🔑\"]}"),
        "as it was written"
    );
    for text in odd {
        let record = Record {
            table: name(text),
            record: name(text),
        };
        app.unlock(at, record).await.unwrap();
        app.set_variable(at, name(text), None).await.unwrap();
    }
    assert_eq!(app.context(at).await.unwrap(), Default::default());
}

async fn locks_tell_who_holds_them<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let holder = open_as(&place, "ana").await;
    let (other, _) = place.enter().await;
    let app = place.app();
    let lock = app
        .lock(first(holder), invoice("4711"), Duration::ZERO)
        .await
        .unwrap();
    place.clock().advance(SECOND);
    let again = app
        .lock(first(holder), invoice("4711"), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(again, lock, "the holder has it already");
    let Err(Error::LockHeld(held)) = app
        .lock(first(other), invoice("4711"), Duration::ZERO)
        .await
    else {
        panic!("it is held")
    };
    assert_eq!(
        (held.session, held.process, held.user.as_deref()),
        (holder, ProcessNumber(1), Some("ana"))
    );
    assert_eq!(
        (held.since, held.fence, held.waiting),
        (lock.since, lock.fence, 0)
    );
    app.lock(first(other), invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    let all = place.admin().locks(LockQuery::default()).await.unwrap();
    let records: Vec<&str> = all.items.iter().map(|lock| lock.record.as_str()).collect();
    assert_eq!((records, all.truncated), (vec!["1", "4711"], false));
    let page = place
        .admin()
        .locks(LockQuery {
            limit: Some(1),
            ..Default::default()
        })
        .await
        .unwrap();
    assert!(page.truncated);
    let next = place
        .admin()
        .locks(LockQuery::default().after(&page.items[0]))
        .await
        .unwrap();
    assert_eq!(next.items, all.items[1..]);
    let of_one = place
        .admin()
        .locks(LockQuery {
            session: Some(other),
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(of_one.items, all.items[..1]);
    // Only its holder unlocks it, and then it is free with a greater fence.
    app.unlock(first(other), invoice("4711")).await.unwrap();
    assert!(
        app.lock(first(other), invoice("4711"), Duration::ZERO)
            .await
            .is_err()
    );
    app.unlock(first(holder), invoice("4711")).await.unwrap();
    let next = app
        .lock(first(other), invoice("4711"), Duration::ZERO)
        .await
        .unwrap();
    assert!(next.fence > lock.fence, "fences grow");
}

async fn locks_are_waited_for_in_order<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(place.enter().await.0);
    }
    let app = place.app();
    let mut last = app
        .lock(first(ids[0]), invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    let waiters = async |index: usize| {
        // They come one after the other.
        if index > 1 {
            queued(&place, &invoice("1"), u32::try_from(index - 1).unwrap()).await;
        }
        app.lock(first(ids[index]), invoice("1"), 60 * SECOND)
            .await
            .unwrap()
    };
    let passing = async {
        queued(&place, &invoice("1"), 3).await;
        app.unlock(first(ids[0]), invoice("1")).await.unwrap();
    };
    let chain = async |index: usize| {
        let lock = waiters(index).await;
        app.unlock(first(ids[index]), invoice("1")).await.unwrap();
        lock
    };
    let all = async { tokio::join!(chain(1), chain(2), chain(3), passing) };
    let (one, two, three, ()) = soon(all).await;
    for lock in [one, two, three] {
        assert!(lock.fence > last.fence, "in the order in which they came");
        last = lock;
    }
    // Whoever waits in vain is told who has it.
    app.lock(first(ids[0]), invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    let held = app
        .lock(first(ids[1]), invoice("1"), Duration::from_millis(50))
        .await;
    assert!(matches!(held, Err(Error::LockHeld(held)) if held.session == ids[0]));
}

async fn whoever_goes_away_is_skipped<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(place.enter().await.0);
    }
    let (app, record) = (place.app(), invoice("1"));
    app.lock(first(ids[0]), record.clone(), Duration::ZERO)
        .await
        .unwrap();
    let patient = async {
        queued(&place, &record, 1).await;
        app.lock(first(ids[2]), record.clone(), 60 * SECOND).await
    };
    let going = async {
        // It is the first in the queue, and goes when another waits behind it.
        let gone = app.lock(first(ids[1]), record.clone(), 60 * SECOND);
        tokio::select! {
            lock = gone => panic!("{lock:?}"),
            () = queued(&place, &record, 2) => {}
        }
        queued(&place, &record, 1).await;
        app.unlock(first(ids[0]), record.clone()).await.unwrap();
    };
    let both = async { tokio::join!(patient, going) };
    let (lock, ()) = soon(both).await;
    lock.unwrap();
    let locks = place.admin().locks(LockQuery::default()).await.unwrap();
    assert_eq!(locks.items[0].session, ids[2]);
}

async fn a_waiter_gets_the_lock_when_its_holder_closes<P: Place>() {
    // A method that hangs and does not listen to TERM holds up its own session alone, and that not for ever.
    let script = Script::new("trap '' TERM; sleep 600 & wait; sleep 600");
    let options = Options {
        on_close_time_limit: Duration::from_millis(200),
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    let (holder, _) = place.enter().await;
    let (waiter, _) = place.enter().await;
    let app = place.app();
    app.lock(first(holder), invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    let lock = app.lock(first(waiter), invoice("1"), 60 * SECOND);
    let closing = async {
        queued(&place, &invoice("1"), 1).await;
        place.close(holder).await
    };
    let (lock, outcome) = soon(async { tokio::join!(lock, closing) }).await;
    lock.unwrap();
    assert_eq!((outcome.outcome, outcome.freed.locks), (Ending::Closed, 1));
    assert_eq!(outcome.on_close[0].result, MethodResult::TimedOut);
}

async fn waiters_of_a_closing_session_get_no_lock<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (holder, _) = place.enter().await;
    let id = open_mobile(&place, 2).await;
    let app = place.app();
    app.lock(first(holder), invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    let waiting = app.lock(first(id), invoice("1"), 60 * SECOND);
    let closing = async {
        queued(&place, &invoice("1"), 1).await;
        place.admin().close(id, operator()).await.unwrap();
    };
    let both = async { tokio::join!(waiting, closing) };
    let (refused, ()) = soon(both).await;
    assert!(
        matches!(refused, Err(Error::Closing(refused)) if refused == id),
        "{refused:?}"
    );
    queued(&place, &invoice("1"), 0).await;
    app.unlock(first(id), invoice("1")).await.unwrap();
}

async fn a_web_session_has_one_process<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    let refused = place.app().start_process(id, None).await;
    assert!(
        matches!(
            refused,
            Err(Error::HasProcess {
                process: ProcessNumber(1),
                ..
            })
        ),
        "{refused:?}"
    );
    place.app().end_process(first(id)).await.unwrap();
    assert_eq!(
        place.admin().show(id).await.unwrap().session.state,
        State::Suspended
    );
    assert!(matches!(
        place.app().end_process(first(id)).await,
        Err(Error::NoProcess { .. })
    ));
    let status = place.app().start_process(id, None).await.unwrap();
    assert_eq!(
        (status.number, status.state),
        (ProcessNumber(2), ProcessState::Running)
    );
    assert_eq!(
        place.admin().show(id).await.unwrap().session.state,
        State::Active
    );
    assert!(place.is_live(&token).await);
    let unknown = SessionId::random();
    assert!(
        matches!(place.app().start_process(unknown, None).await, Err(Error::NotFound(id)) if id == unknown)
    );
    place.close(id).await;
    assert!(matches!(
        place.app().start_process(id, None).await,
        Err(Error::Closed(_))
    ));
}

async fn a_closing_session_takes_no_changes<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (id, _) = place.enter().await;
    fill(&place, first(id)).await;
    place.admin().close(id, operator()).await.unwrap();
    let (at, app) = (first(id), place.app());
    let closing =
        |result: Result<(), Error>| matches!(result, Err(Error::Closing(closing)) if closing == id);
    assert!(closing(
        app.set_variable(at, name("a"), Some(json("1"))).await
    ));
    assert!(closing(app.set_selection(at, name("a"), None).await));
    assert!(closing(app.lock(at, invoice("2"), SECOND).await.map(drop)));
    assert!(closing(app.start_process(id, None).await.map(drop)));
    assert!(closing(app.log_in(id, "ana".into()).await.map(drop)));
    assert!(closing(app.take_saved(id).await.map(drop)));
    app.unlock(at, invoice("4711")).await.unwrap();
    assert_eq!(place.registry().finish_begun().await.unwrap(), 1);
    let closed =
        |result: Result<(), Error>| matches!(result, Err(Error::Closed(closed)) if closed.id == id);
    assert!(closed(
        app.set_variable(at, name("a"), Some(json("1"))).await
    ));
    assert!(closed(app.lock(at, invoice("2"), SECOND).await.map(drop)));
    assert!(closed(app.log_in(id, "ana".into()).await.map(drop)));
    assert!(closed(app.end_process(at).await));
    // With its session everything is unlocked.
    app.unlock(at, invoice("4711")).await.unwrap();
}

async fn a_log_in_replaces_the_token<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (id, old) = place.enter().await;
    place.clock().advance(SECOND);
    let opened = place.app().log_in(id, "ana".into()).await.unwrap();
    assert_eq!(
        (opened.session.id, opened.session.user.as_deref()),
        (id, Some("ana"))
    );
    assert_eq!(opened.session.login_at, Some(place.now()));
    assert!(
        opened.set_cookie.contains(opened.token.expose()) && opened.set_cookie.contains("HttpOnly")
    );
    assert!(
        matches!(
            place.web().check(&old, None, false).await,
            Err(Error::Rotated)
        ) || !place.is_live(&old).await
    );
    let visit = place
        .web()
        .check(&opened.token, None, true)
        .await
        .unwrap()
        .expect("the new one is good");
    assert_eq!((visit.id, visit.user.as_deref()), (id, Some("ana")));
    for user in ["", " ana", "a\nb", &"é".repeat(257)] {
        assert!(
            matches!(
                place.app().log_in(id, user.into()).await,
                Err(Error::Invalid(_))
            ),
            "{user:?}"
        );
    }
    assert!(place.is_live(&opened.token).await);
}

async fn late_requests_with_the_old_token_change_nothing<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (id, old) = place.enter().await;
    let new = place.app().log_in(id, "ana".into()).await.unwrap().token;
    let late = place.web().enter(Some(&old), browser()).await;
    assert!(matches!(late, Err(Error::Rotated)), "{late:?}");
    assert_eq!(place.ids().await, [id], "no new session");
    assert!(place.is_live(&new).await);
    place.clock().advance(59 * SECOND);
    let late = place.web().enter(Some(&old), browser()).await;
    assert!(matches!(late, Err(Error::Rotated)), "{late:?}");
    place.clock().advance(SECOND);
    let entered = place.web().enter(Some(&old), browser()).await.unwrap();
    assert_ne!(
        entered.visit.id, id,
        "after that it is a dead cookie as any other"
    );
    assert!(entered.new_token.is_some());
    let saved = place.app().take_saved(entered.visit.id).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (None, 0));
}

async fn c17_contexts_and_locks_are_there_after_a_restart<P: Durable>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    fill(&place, first(id)).await;
    let mobile = open_mobile(&place, 3).await;
    let at = process(mobile, 2);
    fill_other(&place, at).await;
    place.app().end_process(first(mobile)).await.unwrap();
    let leased = place
        .app()
        .start_process(mobile, Some(30 * SECOND))
        .await
        .unwrap();
    let before = (
        place.app().context(first(id)).await.unwrap(),
        place.app().context(at).await.unwrap(),
        held_locks(&place).await,
        place.admin().show(mobile).await.unwrap(),
        place.app().log_in(id, "ana".into()).await.unwrap().token,
    );
    let place = place.restart().await;
    assert!(
        place.is_live(&before.4).await
            && matches!(
                place.web().check(&token, None, false).await,
                Ok(None) | Err(Error::Rotated)
            )
    );
    let late = place.web().enter(Some(&token), browser()).await;
    assert!(
        matches!(late, Err(Error::Rotated)),
        "the old token is remembered: {late:?}"
    );
    let locks = before.2;
    assert_eq!(place.app().context(first(id)).await.unwrap(), before.0);
    assert_eq!(place.app().context(at).await.unwrap(), before.1);
    let found = held_locks(&place).await;
    let fences = |locks: &[sessionctl::session::HeldLock]| {
        locks
            .iter()
            .map(|lock| (lock.record.clone(), lock.fence, lock.since))
            .collect::<Vec<_>>()
    };
    assert_eq!(fences(&found), fences(&locks));
    let details = place.admin().show(mobile).await.unwrap();
    let numbers: Vec<u32> = details
        .processes
        .iter()
        .map(|process| process.number.0)
        .collect();
    assert_eq!(numbers, [2, 3, 4]);
    assert_eq!(details.session.lock_count, before.3.session.lock_count);
    assert!(matches!(
        place.app().lock(at, invoice("4711"), Duration::ZERO).await,
        Err(Error::LockHeld(_))
    ));
    // Nobody could renew the lease while there was no server: it counts anew.
    assert_eq!(
        details.processes[2].lease_until,
        Some(place.now().plus(30 * SECOND))
    );
    assert_eq!(leased.number, ProcessNumber(4));
    assert_eq!(
        place
            .app()
            .start_process(mobile, None)
            .await
            .unwrap()
            .number,
        ProcessNumber(5),
        "no number is given twice"
    );
    let lock = place
        .app()
        .lock(at, invoice("99"), Duration::ZERO)
        .await
        .unwrap();
    assert!(
        found.iter().all(|held| held.fence < lock.fence),
        "fences grow"
    );
}

async fn fill_other<P: Place>(place: &P, at: At) {
    let app = place.app();
    app.set_variable(
        at,
        name("odd \"name\"/🔑"),
        Some(json("{\"b\": 1, \"a\": 12345678901234567890123}")),
    )
    .await
    .unwrap();
    put(place, at, "gone", "1").await;
    app.set_variable(at, name("gone"), None).await.unwrap();
    app.set_selection(at, name("s"), Some(selection(&["1"])))
        .await
        .unwrap();
    app.set_selection(at, name("s"), Some(selection(&["3", "2"])))
        .await
        .unwrap();
    app.lock(at, invoice("5"), Duration::ZERO).await.unwrap();
    app.lock(at, invoice("6"), Duration::ZERO).await.unwrap();
    app.unlock(at, invoice("5")).await.unwrap();
}

async fn a_context_that_has_filled_up_meanwhile_gets_no_lock<P: Place>() {
    let options = Options {
        context_limit: 100,
        ..roomy()
    };
    let place = P::start(options, Work::Regular).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(place.enter().await.0);
    }
    let (app, record) = (place.app(), invoice("1"));
    app.lock(first(ids[0]), record.clone(), Duration::ZERO)
        .await
        .unwrap();
    let full = app.lock(first(ids[1]), record.clone(), 60 * SECOND);
    let next = async {
        queued(&place, &record, 1).await;
        app.lock(first(ids[2]), record.clone(), 60 * SECOND).await
    };
    let filling = async {
        queued(&place, &record, 2).await;
        let large = json(&format!("\"{}\"", "x".repeat(90)));
        app.set_variable(first(ids[1]), name("v"), Some(large))
            .await
            .unwrap();
        app.unlock(first(ids[0]), record.clone()).await.unwrap();
    };
    let all = async { tokio::join!(full, next, filling) };
    let (full, next, ()) = soon(all).await;
    next.unwrap();
    // It asks again why, and by then the next one has it.
    assert!(
        matches!(full, Err(Error::LockHeld(_) | Error::Context(_))),
        "{full:?}"
    );
}

/// The process of a web session is there from the start: its application gives it a lease when it begins to work with it.
async fn a_web_sessions_process_takes_a_lease_when_it_needs_one<P: Place>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    fill(&place, first(id)).await;
    let status = place
        .app()
        .start_process(id, Some(30 * SECOND))
        .await
        .unwrap();
    assert_eq!(
        (status.number, status.lease_until),
        (ProcessNumber(1), Some(place.now().plus(30 * SECOND)))
    );
    let again = place.app().start_process(id, Some(60 * SECOND)).await;
    assert!(matches!(again, Err(Error::HasProcess { .. })), "{again:?}");
    place.clock().advance(30 * SECOND);
    suspended(&place, id).await;
    assert_eq!(script.documents()[0].context.locks.len(), 1);
    let locks = place.admin().locks(LockQuery::default()).await.unwrap();
    assert!(locks.items.is_empty() && place.is_live(&token).await);
}

async fn a_session_whose_time_is_over_takes_nothing_more<P: Place>() {
    let place = P::start(an_hour(), Work::ByHand).await;
    let (id, _) = place.enter().await;
    place.clock().advance(3600 * SECOND);
    let refused = place
        .app()
        .set_variable(first(id), name("a"), Some(json("1")))
        .await;
    assert!(matches!(refused, Err(Error::Closing(_))), "{refused:?}");
    let refused = place.app().log_in(id, "ana".into()).await;
    assert!(matches!(refused, Err(Error::Closing(_))), "{refused:?}");
}

/// Its processes end with it or by themselves: a time-out of web sessions is not for them (C11).
async fn a_mobile_session_is_never_suspended<P: Place>() {
    let place = P::start(suspending(), Work::ByHand).await;
    let id = open_mobile(&place, 1).await;
    place.clock().advance(1800 * SECOND);
    place.registry().sweep().await.unwrap();
    let details = place.admin().show(id).await.unwrap();
    assert_eq!(details.session.state, State::Active);
    assert_eq!(details.processes[0].state, ProcessState::Running);
    put(&place, first(id), "a", "1").await;
}

async fn a_waiting_process_whose_lease_lapses_gets_no_lock<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (holder, _) = place.enter().await;
    let id = open_mobile(&place, 0).await;
    let app = place.app();
    let leased = app.start_process(id, Some(30 * SECOND)).await.unwrap();
    let at = process(id, leased.number.0);
    let record = invoice("1");
    app.lock(first(holder), record.clone(), Duration::ZERO)
        .await
        .unwrap();
    let waiting = app.lock(at, record.clone(), 60 * SECOND);
    let lapsing = async {
        queued(&place, &record, 1).await;
        place.clock().advance(30 * SECOND);
        place.registry().sweep().await.unwrap();
    };
    let both = async { tokio::join!(waiting, lapsing) };
    let (refused, ()) = soon(both).await;
    assert!(
        matches!(refused, Err(Error::ProcessClosing { .. })),
        "{refused:?}"
    );
}
