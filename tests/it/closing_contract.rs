//! The closing contract on things that are really there (C02, C05, C06, C08–C11, C15, C17): mobile sessions, the on-close
//! method, what it leaves, history. Each rule once, in every place.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use sessionctl::admin::{
    Admin as _, EndRequest, Ending, HistoryEntry, HistoryQuery, LockQuery, OpenRequest, Outcome,
};
use sessionctl::application::Application as _;
use sessionctl::audit::Actor;
use sessionctl::error::Error;
use sessionctl::on_close::{Freed, Invocation, MethodResult, MethodRun};
use sessionctl::options::{Options, Value};
use sessionctl::session::{Cause, Kind, Mode, ProcessNumber, ProcessState, SessionId, State};
use sessionctl::sessions::Sessions as _;
use sessionctl::store::{Change, End, Store as _};

use crate::contexts::{
    KEEP, SECOND, Script, an_hour, closed, fill, first, held_locks, invoice, json, mobile, name,
    open_as, open_mobile, process, put, queued, save, selection, soon, suspended, suspending,
    until,
};
use crate::places::{
    BehindServer, Durable, InMemory, OnDisk, Place, Work, browser, in_every_place, operator, roomy,
    waiting,
};

in_every_place!(everywhere { InMemory, OnDisk, BehindServer } {
    c02_in_scalable_mode_no_method_ever_runs,
    c07_it_may_be_called_from_inside,
    c09_ten_thousand_closes_free_their_locks_in_time,
    c09_a_process_that_closes_alone_frees_its_locks_in_time,
    c09_dropping_what_is_closed_leaves_its_run_alone,
    c10_who_is_evicted_has_its_method,
    c11_a_session_that_is_due_with_its_process_is_closed_with_its_method,
    s14_a_clock_that_jumps_by_a_year_ends_no_process,
    closing_at_the_limit_makes_room_and_evicts_nobody,
    dropping_a_closers_future_changes_nothing,
    c05_the_method_sees_the_context_and_what_it_answers_is_saved,
    c05_a_stolen_closed_cookie_inherits_nothing,
    c05_a_session_that_ended_by_itself_is_inherited_from_once,
    c05_the_same_user_inherits_after_a_log_in,
    c05_another_user_gets_nothing_of_the_first,
    c05_an_answer_counts_whoever_holds_the_pipe,
    c06_what_a_closing_frees_is_counted,
    c08_a_mobile_session_asks_its_processes_to_finish,
    c08_after_the_grace_period_the_server_ends_them,
    c08_a_process_that_ends_by_itself_is_reset_without_the_method,
    c09_whatever_the_method_does_the_session_closes,
    c09_a_closing_ends_in_time_and_the_method_runs_late,
    c09_a_failing_method_is_in_the_history,
    c11_a_suspended_session_has_its_saved_information_back,
    c11_closing_a_suspended_session_runs_nothing,
    c15_two_closers_get_the_same_end,
    a_drop_runs_no_method_and_ends_one_that_runs,
    a_drop_whose_caller_is_gone_ends_the_method,
    options_change_only_closings_that_begin_later,
    ten_thousand_processes_close,
    a_closing_keeps_the_time_limit_that_it_began_with,
    a_full_context_meets_every_method,
    c05_who_was_evicted_is_inherited_from,
});

in_every_place!(durably { OnDisk, BehindServer } {
    c17_pending_methods_run_after_the_restart,
    c17_asked_processes_are_asked_still,
    history_and_saved_information_outlive_a_restart,
});

async fn c05_the_method_sees_the_context_and_what_it_answers_is_saved<P: Place>() {
    let script = Script::new(&format!(
        "{KEEP}; printf '%s|%s|%s' \"$1\" \"$#\" \"$SESSIONCTL_ON_CLOSE\" > call; env | cut -d= -f1 | sort > environment; echo '{{\"kept\": 1e2}}'"
    ));
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    fill(&place, first(id)).await;
    let lock = held_locks(&place).await.remove(0);
    let request = EndRequest {
        reason: Some("ticket 88".to_owned().try_into().unwrap()),
        ..waiting()
    };
    let outcome = place.admin().close(id, request).await.unwrap();
    assert_eq!((outcome.outcome, outcome.initiated), (Ending::Closed, true));
    let [run] = &outcome.on_close[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (run.process, run.result, run.late),
        (ProcessNumber(1), MethodResult::Succeeded, false)
    );
    let [document] = &script.documents()[..] else {
        panic!("one run")
    };
    assert_eq!(document.key, format!("{id}/1"));
    assert_eq!(
        (document.session.id, document.session.kind),
        (id, Kind::Web)
    );
    assert_eq!(document.session.user_agent.as_deref(), Some("test browser"));
    let context = &document.context;
    assert_eq!(context.variables[&name("cart")].as_str(), "[1, 2.50]");
    assert_eq!(
        context.selections[&name("Invoices")],
        selection(&["4711", "4712"])
    );
    assert_eq!(context.locks.len(), 1);
    assert_eq!(
        (context.locks[0].fence, context.locks[0].since),
        (lock.fence, lock.since)
    );
    assert_eq!(
        (document.cause, document.reason.as_deref(), document.late),
        (Cause::Command, Some("ticket 88"), false)
    );
    assert_eq!(document.closed_at, place.now());
    assert!(document.actor.starts_with("uid:"), "{}", document.actor);
    assert_eq!(script.read("call"), format!("argument one|1|{id}/1"));
    let environment = script.read("environment");
    let names: Vec<&str> = environment
        .lines()
        .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name))
        .collect();
    assert_eq!(names, ["PATH", "SESSIONCTL_ON_CLOSE"], "S40");
    assert!(!script.read("documents").contains(token.expose()), "S40");
    // Nobody inherits from a session that was closed by command.
    let saved = place
        .app()
        .look_at_saved(place.enter().await.0)
        .await
        .unwrap();
    assert!(saved.items.is_empty() && saved.previous.is_none());
}

async fn c05_a_stolen_closed_cookie_inherits_nothing<P: Place>() {
    let place: P = save(roomy()).await;
    let (id, token) = place.enter().await;
    put(&place, first(id), "secret", "42").await;
    place.close(id).await;
    let thief = place.enter_with(&token).await;
    assert_ne!(thief, id);
    let saved = place.app().take_saved(thief).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (None, 0));
    // Another user does not either, whoever it is.
    place.app().log_in(thief, "mallory".into()).await.unwrap();
    let saved = place.app().take_saved(thief).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (None, 0));
}

async fn c05_a_session_that_ended_by_itself_is_inherited_from_once<P: Place>() {
    let place: P = save(an_hour()).await;
    let (id, token) = place.enter().await;
    put(&place, first(id), "cart", "[7]").await;
    place.clock().advance(3600 * SECOND);
    closed(&place, id).await;
    let next = place.enter_with(&token).await;
    let looked = place.app().look_at_saved(next).await.unwrap();
    assert_eq!(looked.previous, Some(id));
    let saved = place.app().take_saved(next).await.unwrap();
    assert_eq!(saved, looked);
    assert_eq!(
        (saved.items[0].session, saved.items[0].process),
        (id, ProcessNumber(1))
    );
    assert!(
        saved.items[0].information.as_str().contains("\"cart\":[7]"),
        "{saved:?}"
    );
    let again = place.app().take_saved(next).await.unwrap();
    assert_eq!((again.previous, again.items.len()), (None, 0), "once");
    let other = place.enter_with(&token).await;
    assert_eq!(
        place.app().take_saved(other).await.unwrap().previous,
        None,
        "once"
    );
}

async fn c05_the_same_user_inherits_after_a_log_in<P: Place>() {
    let place: P = save(roomy()).await;
    let (id, _) = place.enter().await;
    let token = place.app().log_in(id, "ana".into()).await.unwrap().token;
    put(&place, first(id), "cart", "[8]").await;
    place.close(id).await;
    let next = place.enter_with(&token).await;
    assert_eq!(
        place.app().look_at_saved(next).await.unwrap().previous,
        None
    );
    place.app().log_in(next, "ana".into()).await.unwrap();
    let saved = place.app().take_saved(next).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (Some(id), 1));
}

async fn c06_what_a_closing_frees_is_counted<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, _) = place.enter().await;
    fill(&place, first(id)).await;
    let details = place.admin().show(id).await.unwrap();
    assert_eq!(
        (details.session.process_count, details.session.lock_count),
        (1, 1)
    );
    let process = &details.processes[0];
    assert_eq!(process.variables.len(), 2);
    assert_eq!(
        (
            process.variables[0].name.as_str(),
            process.variables[0].bytes
        ),
        ("cart", 9)
    );
    let outcome = place.close(id).await;
    let freed = Freed {
        processes: 1,
        selections: 1,
        locks: 1,
        variables: 2,
    };
    assert_eq!(outcome.freed, freed);
    assert!(outcome.on_close.is_empty(), "there is no method");
    assert!(held_locks(&place).await.is_empty());
    let entry = place.admin().closed(id).await.unwrap();
    assert_eq!(
        (entry.freed, entry.cause, entry.expires_at.as_millis()),
        (freed, Cause::Command, 0)
    );
    let again = place.close(id).await;
    assert_eq!((again.outcome, again.freed), (Ending::AlreadyClosed, freed));
}

async fn c08_a_mobile_session_asks_its_processes_to_finish<P: Place>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let id = open_mobile(&place, 3).await;
    put(&place, process(id, 2), "mine", "2").await;
    let started = place.admin().show(id).await.unwrap().session;
    assert_eq!((started.kind, started.process_count), (Kind::Mobile, 3));
    // On a server the poll may not have arrived when the close does: then it is answered by what it finds.
    let polled = place.app().poll_process(process(id, 1), 60 * SECOND);
    let closing = async { place.admin().close(id, operator()).await.unwrap() };
    let (polled, outcome) = soon(async { tokio::join!(polled, closing) }).await;
    assert_eq!(polled.unwrap().state, ProcessState::Asked, "at once");
    assert_eq!(
        (outcome.outcome, outcome.initiated, outcome.freed.processes),
        (Ending::Closing, true, 0)
    );
    let asked = place.admin().show(id).await.unwrap();
    assert_eq!(asked.session.state, State::Closing);
    assert!(
        asked
            .processes
            .iter()
            .all(|process| process.state == ProcessState::Asked)
    );
    // While it is asked a process may still write; nothing locks any more.
    put(&place, process(id, 2), "last", "3").await;
    assert!(matches!(
        place
            .app()
            .lock(process(id, 2), invoice("1"), Duration::ZERO)
            .await,
        Err(Error::Closing(_))
    ));
    assert!(matches!(
        place.app().start_process(id, None).await,
        Err(Error::Closing(_))
    ));
    for number in [1, 2] {
        place.app().end_process(process(id, number)).await.unwrap();
    }
    until("two runs", async || {
        let processes = place.admin().show(id).await.unwrap().processes;
        (script.documents().len() == 2 && processes.len() == 1).then_some(())
    })
    .await;
    let impatient = EndRequest {
        wait: Duration::from_millis(100),
        ..operator()
    };
    let outcome = place.admin().close(id, impatient).await.unwrap();
    assert_eq!(outcome.outcome, Ending::Closing, "one is busy");
    assert_eq!(
        (outcome.freed.processes, outcome.on_close.len()),
        (2, 2),
        "and the others are told"
    );
    assert!(
        script
            .documents()
            .iter()
            .any(|document| document.context.variables.contains_key(&name("last")))
    );
    place.app().end_process(process(id, 3)).await.unwrap();
    let outcome = place.close(id).await;
    assert!(
        matches!(outcome.outcome, Ending::Closed | Ending::AlreadyClosed),
        "{outcome:?}"
    );
    assert_eq!(
        (outcome.freed.processes, outcome.on_close.len()),
        (3, 3),
        "one run for each"
    );
    let mut keys: Vec<String> = script
        .documents()
        .iter()
        .map(|document| document.key.clone())
        .collect();
    keys.sort();
    assert_eq!(keys, [1, 2, 3].map(|number| format!("{id}/{number}")));
    assert!(matches!(
        place
            .app()
            .poll_process(process(id, 1), Duration::ZERO)
            .await,
        Err(Error::Closed(_))
    ));
}

async fn c08_after_the_grace_period_the_server_ends_them<P: Place>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let id = open_mobile(&place, 2).await;
    assert_eq!(
        place.admin().close(id, operator()).await.unwrap().outcome,
        Ending::Closing
    );
    place.clock().advance(29 * SECOND);
    place.registry().sweep().await.unwrap();
    assert_eq!(
        place.admin().close(id, operator()).await.unwrap().outcome,
        Ending::Closing,
        "within the grace period"
    );
    place.clock().advance(SECOND);
    closed(&place, id).await;
    assert_eq!(script.documents().len(), 2, "method included");
    assert!(script.documents().iter().all(|document| !document.late));
}

async fn c08_a_process_that_ends_by_itself_is_reset_without_the_method<P: Place>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let id = open_mobile(&place, 1).await;
    fill(&place, first(id)).await;
    place.app().end_process(first(id)).await.unwrap();
    assert_eq!(
        place.admin().show(id).await.unwrap().session.process_count,
        0
    );
    assert!(held_locks(&place).await.is_empty());
    assert!(matches!(
        place.app().context(first(id)).await,
        Err(Error::NoProcess { .. })
    ));
    let outcome = place.close(id).await;
    assert_eq!(
        (outcome.outcome, outcome.freed),
        (Ending::Closed, Freed::default())
    );
    assert!(script.documents().is_empty());
}

async fn c09_whatever_the_method_does_the_session_closes<P: Place>() {
    let cases = [
        (
            "echo no >&2; exit 3",
            MethodResult::Failed,
            Some("exit code 3"),
        ),
        (
            "kill -9 $$",
            MethodResult::Failed,
            Some("killed by signal 9"),
        ),
        (
            "trap '' TERM; sleep 600 & wait; sleep 600",
            MethodResult::TimedOut,
            Some("did not end within 300ms"),
        ),
        ("echo '{\"half\":'", MethodResult::BadAnswer, None),
        (
            "head -c 10485760 /dev/zero",
            MethodResult::BadAnswer,
            Some("answered 10485760 bytes, more than 65536"),
        ),
        (
            "sleep 600 & echo $! > child; exec true",
            MethodResult::Succeeded,
            None,
        ),
        ("exit 0", MethodResult::Succeeded, None),
    ];
    let script = Script::new(". ./case");
    let options = Options {
        on_close_time_limit: Duration::from_millis(300),
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    for (lines, result, detail) in cases {
        fs::write(script.path("case"), lines).unwrap();
        let limit = if result == MethodResult::TimedOut {
            300
        } else {
            10_000
        };
        place
            .set("on_close_time_limit", Value::Number(limit))
            .await
            .unwrap();
        let (id, token) = place.enter().await;
        fill(&place, first(id)).await;
        let outcome = place.close(id).await;
        assert_eq!(outcome.outcome, Ending::Closed, "{lines}");
        assert_eq!(outcome.on_close[0].result, result, "{lines} {outcome:?}");
        if detail.is_some() {
            assert_eq!(outcome.on_close[0].detail.as_deref(), detail, "{lines}");
        }
        assert!(!place.is_live(&token).await);
        assert!(held_locks(&place).await.is_empty());
    }
    gone(script.read("child").trim()).await;
    fs::remove_file(script.path("on-close")).unwrap();
    let outcome = place.close(place.enter().await.0).await;
    assert_eq!(
        (outcome.outcome, outcome.on_close[0].result),
        (Ending::Closed, MethodResult::NotStarted)
    );
}

async fn c09_a_closing_ends_in_time_and_the_method_runs_late<P: Place>() {
    let script = held();
    let place = P::start_calling(script.on_close(), one_slot(), Work::Regular).await;
    let (running, _) = place.enter().await;
    let (pending, _) = place.enter().await;
    let (other, _) = place.enter().await;
    fill(&place, first(pending)).await;
    place.admin().close(running, operator()).await.unwrap();
    script.runs(1).await;
    place.admin().close(pending, operator()).await.unwrap();
    let waiter = place.app().lock(first(other), invoice("4711"), 60 * SECOND);
    let limit = async {
        queued(&place, &invoice("4711"), 1).await;
        place.clock().advance(60 * SECOND);
    };
    let (lock, ()) = soon(async { tokio::join!(waiter, limit) }).await;
    lock.unwrap();
    for id in [running, pending] {
        closed(&place, id).await;
    }
    let entry = place.admin().closed(pending).await.unwrap();
    assert_eq!(
        (
            entry.freed.variables,
            entry.freed.locks,
            entry.on_close.len()
        ),
        (2, 1, 1)
    );
    assert_eq!(entry.on_close[0].result, MethodResult::Pending);
    let again = place.close(pending).await;
    assert_eq!(again.on_close, entry.on_close, "and is told of as well");
    assert_eq!(place.admin().stats().await.unwrap().late, 2);
    fs::write(script.path("go"), "").unwrap();
    let late_run = until("the late run", async || {
        finished(place.admin().closed(pending).await.unwrap())
    })
    .await;
    assert!(late_run.late && late_run.result == MethodResult::Succeeded);
    let documents = script.documents();
    assert_eq!(documents.len(), 2, "once each");
    assert!(!documents[0].late && documents[1].late);
    assert_eq!(
        documents[1].context.locks[0].record.as_str(),
        "4711",
        "the committed snapshot"
    );
    let first_run = until("the first run's end", async || {
        finished(place.admin().closed(running).await.unwrap())
    })
    .await;
    assert!(!first_run.late);
}

async fn c09_a_failing_method_is_in_the_history<P: Place>() {
    let script = Script::new("exit 7");
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let id = open_as(&place, "zoë").await;
    let (other, _) = place.enter().await;
    place.clock().advance(SECOND);
    place.close(id).await;
    place.clock().advance(SECOND);
    place.admin().drop_session(other, operator()).await.unwrap();
    let page = place
        .admin()
        .history(HistoryQuery::default())
        .await
        .unwrap();
    let found: Vec<(SessionId, Cause)> = page
        .items
        .iter()
        .map(|entry| (entry.id, entry.cause))
        .collect();
    assert_eq!(
        found,
        [(other, Cause::Dropped), (id, Cause::Command)],
        "the last one first"
    );
    let entry = &page.items[1];
    assert_eq!(entry.user.as_deref(), Some("zoë"));
    assert_eq!(
        (
            entry.on_close[0].result,
            entry.on_close[0].detail.as_deref()
        ),
        (MethodResult::Failed, Some("exit code 7"))
    );
    assert_eq!(place.admin().closed(id).await.unwrap(), *entry);
    let of = async |query| place.admin().history(query).await.unwrap();
    let by_user = of(HistoryQuery {
        user: Some("zoë".into()),
        ..Default::default()
    })
    .await;
    assert_eq!(by_user.items[..], page.items[1..]);
    let by_cause = of(HistoryQuery {
        cause: Some(Cause::Dropped),
        ..Default::default()
    })
    .await;
    assert_eq!(by_cause.items[0].id, other);
    let since = of(HistoryQuery {
        since: Some(place.now()),
        ..Default::default()
    })
    .await;
    assert_eq!((since.items.len(), since.items[0].id), (1, other));
    let one = of(HistoryQuery {
        limit: Some(1),
        ..Default::default()
    })
    .await;
    assert!(one.truncated && one.items.len() == 1);
    let next = of(HistoryQuery {
        before: Some(one.items[0].seq),
        ..Default::default()
    })
    .await;
    assert!(!next.truncated && next.items[0].id == id);
    for unknown in [SessionId::random(), place.enter().await.0] {
        assert!(matches!(
            place.admin().closed(unknown).await,
            Err(Error::NotFound(_))
        ));
    }
    // Retention forgets what is old, and nothing else.
    place
        .set("history_retention", Value::Number(3_600_000))
        .await
        .unwrap();
    place.clock().advance(3599 * SECOND);
    assert_eq!(place.registry().forget().await.unwrap(), 0);
    place.clock().advance(SECOND);
    assert_eq!(place.registry().forget().await.unwrap(), 1, "the first");
    assert!(place.admin().closed(other).await.is_ok());
    place.clock().advance(SECOND);
    assert_eq!(place.registry().forget().await.unwrap(), 1);
    assert!(
        of(HistoryQuery::default())
            .await
            .items
            .iter()
            .all(|entry| entry.id != id && entry.id != other)
    );
    assert!(matches!(
        place.admin().show(id).await,
        Err(Error::NotFound(_))
    ));
}

async fn c11_a_suspended_session_has_its_saved_information_back<P: Place>() {
    let script = Script::new(&format!("{KEEP}; echo '{{\"cart\":[9]}}'"));
    let place = P::start_calling(script.on_close(), suspending(), Work::Regular).await;
    let (id, token) = place.enter().await;
    fill(&place, first(id)).await;
    place.clock().advance(600 * SECOND);
    suspended(&place, id).await;
    let [document] = &script.documents()[..] else {
        panic!("one run")
    };
    assert_eq!(
        (document.cause, document.actor.as_str()),
        (Cause::Inactive, "server")
    );
    assert_eq!(document.context.locks.len(), 1);
    assert!(held_locks(&place).await.is_empty());
    let entered = place.web().enter(Some(&token), browser()).await.unwrap();
    assert_eq!(
        (entered.visit.id, entered.new_token.is_none()),
        (id, true),
        "the same session"
    );
    let details = place.admin().show(id).await.unwrap();
    assert_eq!(
        details.processes[0].number,
        ProcessNumber(2),
        "a fresh process"
    );
    assert!(details.processes[0].variables.is_empty());
    let saved = place.app().take_saved(id).await.unwrap();
    assert_eq!((saved.previous, saved.items[0].session), (None, id));
    assert_eq!(saved.items[0].information.as_str(), "{\"cart\":[9]}");
    assert!(
        place.app().take_saved(id).await.unwrap().items.is_empty(),
        "once"
    );
    place.close(id).await;
    let entry = place.admin().closed(id).await.unwrap();
    assert_eq!(entry.on_close.len(), 2, "history tells of both");
}

async fn c11_closing_a_suspended_session_runs_nothing<P: Place>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), suspending(), Work::Regular).await;
    let (id, _) = place.enter().await;
    place.clock().advance(600 * SECOND);
    suspended(&place, id).await;
    assert_eq!(script.documents().len(), 1);
    let outcome = place.admin().close(id, operator()).await.unwrap();
    assert_eq!(
        (outcome.outcome, outcome.initiated),
        (Ending::Closed, true),
        "at once"
    );
    assert_eq!(
        (outcome.freed, outcome.on_close.len()),
        (Freed::default(), 0)
    );
    assert_eq!(script.documents().len(), 1);
}

async fn c15_two_closers_get_the_same_end<P: Place>() {
    let script = Script::new(&format!("{KEEP}; sleep 0.2"));
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let (id, _) = place.enter().await;
    fill(&place, first(id)).await;
    let outcomes = join_all((0..8).map(|_| place.admin().close(id, waiting()))).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.initiated).count(),
        1
    );
    for outcome in &outcomes {
        assert_eq!(
            (outcome.freed.variables, outcome.on_close.len()),
            (2, 1),
            "{outcome:?}"
        );
        assert!(matches!(
            outcome.outcome,
            Ending::Closed | Ending::AlreadyClosed
        ));
    }
    assert_eq!(script.documents().len(), 1);
}

async fn a_drop_runs_no_method_and_ends_one_that_runs<P: Place>() {
    let script = Script::new(&format!(
        "trap 'echo TERM > signal; exit' TERM; echo $$ > pid; {KEEP}; while :; do sleep 600 & wait $!; done"
    ));
    let options = Options {
        on_close_time_limit: Duration::from_secs(600),
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    let (live, _) = place.enter().await;
    fill(&place, first(live)).await;
    let (other, _) = place.enter().await;
    let waiter = place.app().lock(first(other), invoice("4711"), 60 * SECOND);
    let dropping = async {
        queued(&place, &invoice("4711"), 1).await;
        place.admin().drop_session(live, operator()).await.unwrap()
    };
    let (lock, dropped) = soon(async { tokio::join!(waiter, dropping) }).await;
    lock.expect("what a drop frees goes to the next as well");
    assert_eq!(
        (dropped.outcome, dropped.freed.locks, dropped.on_close.len()),
        (Ending::Closed, 1, 0)
    );
    let (closing, _) = place.enter().await;
    place.admin().close(closing, operator()).await.unwrap();
    script.runs(1).await;
    let dropped = place
        .admin()
        .drop_session(closing, operator())
        .await
        .unwrap();
    assert_eq!(
        (dropped.outcome, dropped.initiated, dropped.cause),
        (Ending::Closed, false, Some(Cause::Dropped))
    );
    let run = until("the end of the run", async || {
        place.admin().closed(closing).await.unwrap().on_close.pop()
    })
    .await;
    assert_eq!(run.result, MethodResult::Cancelled);
    assert_eq!(script.read("signal"), "TERM\n");
    gone(script.read("pid").trim()).await;
    assert_eq!(script.documents().len(), 1, "and none for the first");
    // Processes that are asked end with a drop too, and nothing that is suspended is left.
    let asked = open_mobile(&place, 2).await;
    place.admin().close(asked, operator()).await.unwrap();
    let dropped = place.admin().drop_session(asked, operator()).await.unwrap();
    assert_eq!(
        (
            dropped.outcome,
            dropped.freed.processes,
            dropped.on_close.len()
        ),
        (Ending::Closed, 2, 0)
    );
    let (suspended, token) = place.enter().await;
    place.app().end_process(first(suspended)).await.unwrap();
    let dropped = place
        .admin()
        .drop_session(suspended, operator())
        .await
        .unwrap();
    assert_eq!(
        (dropped.outcome, dropped.freed),
        (Ending::Closed, Freed::default())
    );
    assert!(!place.is_live(&token).await);
    assert_eq!(script.documents().len(), 1);
}

async fn a_drop_whose_caller_is_gone_ends_the_method<P: Place>() {
    let script = Script::new(&format!(
        "trap 'echo TERM > signal; exit' TERM; {KEEP}; while :; do sleep 600 & wait $!; done"
    ));
    let options = Options {
        on_close_time_limit: Duration::from_secs(600),
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    let (id, _) = place.enter().await;
    place.admin().close(id, operator()).await.unwrap();
    script.runs(1).await;
    // All that is left of a call that is not there any more is its change.
    let end = End::by_itself(id, Cause::Dropped, &Actor::user(0));
    let store = place.registry().store();
    store.apply(Change::Drop(end), place.now()).await.unwrap();
    let run = until("the end of the run", async || {
        finished(place.admin().closed(id).await.unwrap())
    })
    .await;
    assert_eq!(run.result, MethodResult::Cancelled);
    assert_eq!(script.read("signal"), "TERM\n");
}

async fn options_change_only_closings_that_begin_later<P: Place>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let earlier = open_mobile(&place, 1).await;
    place.admin().close(earlier, operator()).await.unwrap();
    place
        .set("closing_grace_period", Value::Number(1_000))
        .await
        .unwrap();
    let later = open_mobile(&place, 1).await;
    place
        .set("mode", Value::Text("scalable".into()))
        .await
        .unwrap();
    let scalable = open_mobile(&place, 1).await;
    let ignored = place.admin().close(scalable, operator()).await.unwrap();
    assert_eq!(ignored.outcome, Ending::Ignored, "C02");
    // What was opened in legacy mode closes as such, whatever the mode is by then.
    place.admin().close(later, operator()).await.unwrap();
    place.clock().advance(SECOND);
    closed(&place, later).await;
    let begun = place.admin().close(earlier, operator()).await.unwrap();
    assert_eq!(begun.outcome, Ending::Closing, "as it began");
    place.clock().advance(29 * SECOND);
    closed(&place, earlier).await;
    let ran: Vec<SessionId> = script
        .documents()
        .iter()
        .map(|document| document.session.id)
        .collect();
    assert_eq!(ran, [later, earlier]);
    let dropped = place
        .admin()
        .drop_session(scalable, operator())
        .await
        .unwrap();
    assert_eq!(
        (dropped.outcome, dropped.freed.processes),
        (Ending::Closed, 1)
    );
    assert_eq!(
        script.documents().len(),
        2,
        "in scalable mode none ever runs"
    );
}

async fn a_closing_keeps_the_time_limit_that_it_began_with<P: Place>() {
    let script = held();
    let place = P::start_calling(script.on_close(), one_slot(), Work::Regular).await;
    let (id, _) = place.enter().await;
    place.admin().close(id, operator()).await.unwrap();
    script.runs(1).await;
    place
        .set("closing_time_limit", Value::Number(1_000))
        .await
        .unwrap();
    place.clock().advance(59 * SECOND);
    place.registry().sweep().await.unwrap();
    let begun = place.admin().close(id, operator()).await.unwrap();
    assert_eq!(begun.outcome, Ending::Closing, "as it began");
    place.clock().advance(SECOND);
    closed(&place, id).await;
    fs::write(script.path("go"), "").unwrap();
}

async fn ten_thousand_processes_close<P: Place>() {
    const COUNT: u32 = 10_000;
    let place: P = save(roomy()).await;
    let id = open_mobile(&place, 0).await;
    let registry = place.registry();
    for _ in 0..COUNT / 100 {
        join_all((0..100).map(|_| registry.start_process(id, None)))
            .await
            .into_iter()
            .for_each(|started| assert!(started.is_ok()));
    }
    put(&place, process(id, COUNT), "v", "1").await;
    let (other, _) = place.enter().await;
    place.admin().close(id, operator()).await.unwrap();
    assert_eq!(
        place.admin().show(id).await.unwrap().session.process_count,
        COUNT
    );
    place.clock().advance(30 * SECOND);
    place.registry().sweep().await.unwrap();
    // Another session's closing has its turn meanwhile.
    assert_eq!(place.close(other).await.outcome, Ending::Closed);
    let begun = place.admin().close(id, operator()).await.unwrap();
    assert_eq!(begun.outcome, Ending::Closing, "it is not over yet");
    let outcome = place.close(id).await;
    assert!(
        matches!(outcome.outcome, Ending::Closed | Ending::AlreadyClosed),
        "{:?}",
        outcome.outcome
    );
    assert_eq!(
        (outcome.freed.processes, outcome.freed.variables),
        (COUNT, 1)
    );
    assert_eq!(outcome.on_close.len(), COUNT as usize);
    let succeeded = |run: &MethodRun| run.result == MethodResult::Succeeded && !run.late;
    assert!(outcome.on_close.iter().all(succeeded));
}

/// What a method gets is larger than a pipe holds: it arrives whole, and nobody waits for one that does not read it.
async fn a_full_context_meets_every_method<P: Place>() {
    let script = Script::new(". ./case");
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let text = format!("\"{}\"", "x".repeat(65_000));
    for (lines, result) in [
        ("cat > document", MethodResult::Succeeded),
        ("exit 0", MethodResult::Succeeded),
        ("exec sleep 600", MethodResult::TimedOut),
    ] {
        fs::write(script.path("case"), lines).unwrap();
        let limit = if result == MethodResult::TimedOut {
            300
        } else {
            10_000
        };
        place
            .set("on_close_time_limit", Value::Number(limit))
            .await
            .unwrap();
        let (id, _) = place.enter().await;
        put(&place, first(id), "full", &text).await;
        place
            .app()
            .lock(first(id), invoice("4711"), Duration::ZERO)
            .await
            .unwrap();
        let outcome = place.close(id).await;
        assert_eq!(
            (outcome.outcome, outcome.on_close[0].result),
            (Ending::Closed, result),
            "{lines}"
        );
        assert!(held_locks(&place).await.is_empty());
    }
    let document: Invocation = serde_json::from_str(&script.read("document")).unwrap();
    assert_eq!(document.context.variables[&name("full")].as_str(), text);
}

async fn c17_pending_methods_run_after_the_restart<P: Durable>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), suspending(), Work::ByHand).await;
    let (closing, _) = place.enter().await;
    let (idle, token) = place.enter().await;
    fill(&place, first(closing)).await;
    put(&place, first(idle), "v", "1").await;
    place.admin().close(closing, operator()).await.unwrap();
    place.clock().advance(600 * SECOND);
    place.registry().sweep().await.unwrap();
    // The closing's time was over by then: its method sees a copy, and its lock is free.
    assert!(matches!(
        place.admin().show(closing).await,
        Err(Error::Closed(_))
    ));
    assert!(script.documents().is_empty());
    let place = place.restart().await;
    assert_eq!(place.registry().finish_begun().await.unwrap(), 2);
    let mut documents = script.documents();
    documents.sort_by_key(|document| document.session.id != closing);
    assert_eq!(documents.len(), 2);
    assert_eq!(
        (documents[0].key.clone(), documents[0].late),
        (format!("{closing}/1"), true)
    );
    assert_eq!(
        (
            documents[0].context.variables.len(),
            documents[0].context.locks.len()
        ),
        (2, 1)
    );
    assert_eq!(
        (
            documents[1].key.clone(),
            documents[1].late,
            documents[1].cause
        ),
        (format!("{idle}/1"), false, Cause::Inactive)
    );
    assert!(place.admin().closed(closing).await.unwrap().on_close[0].late);
    assert!(place.is_live(&token).await);
    let place = place.restart().await;
    assert_eq!(
        place.registry().finish_begun().await.unwrap(),
        0,
        "done is done"
    );
}

async fn c17_asked_processes_are_asked_still<P: Durable>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), roomy(), Work::ByHand).await;
    let id = open_mobile(&place, 3).await;
    fill(&place, process(id, 2)).await;
    place.admin().close(id, operator()).await.unwrap();
    place.app().end_process(process(id, 1)).await.unwrap();
    assert_eq!(place.registry().finish_begun().await.unwrap(), 1);
    place.app().end_process(process(id, 2)).await.unwrap();
    let place = place.restart().await;
    let states: Vec<(u32, ProcessState)> = place
        .admin()
        .show(id)
        .await
        .unwrap()
        .processes
        .iter()
        .map(|process| (process.number.0, process.state))
        .collect();
    assert_eq!(
        states,
        [(2, ProcessState::Closing), (3, ProcessState::Asked)]
    );
    assert_eq!(place.registry().finish_begun().await.unwrap(), 1);
    // Time limits count from the stored begin.
    place.clock().advance(30 * SECOND);
    place.registry().sweep().await.unwrap();
    assert_eq!(place.registry().finish_begun().await.unwrap(), 1);
    let entry = place.admin().closed(id).await.unwrap();
    assert_eq!(
        (
            entry.freed.processes,
            entry.freed.variables,
            entry.on_close.len()
        ),
        (3, 2, 3)
    );
    let keys: Vec<String> = script
        .documents()
        .iter()
        .map(|document| document.key.clone())
        .collect();
    assert_eq!(keys, [1, 2, 3].map(|number| format!("{id}/{number}")));
}

async fn history_and_saved_information_outlive_a_restart<P: Durable>() {
    let place: P = save(an_hour()).await;
    let (id, token) = place.enter().await;
    put(&place, first(id), "cart", "[7]").await;
    let (by_command, _) = place.enter().await;
    place.close(by_command).await;
    place.clock().advance(3600 * SECOND);
    closed(&place, id).await;
    let before = place
        .admin()
        .history(HistoryQuery::default())
        .await
        .unwrap();
    let place = place.restart().await;
    assert_eq!(
        place
            .admin()
            .history(HistoryQuery::default())
            .await
            .unwrap(),
        before
    );
    let again = place.close(by_command).await;
    assert_eq!(
        (again.outcome, again.on_close.len()),
        (Ending::AlreadyClosed, 1)
    );
    let next = place.enter_with(&token).await;
    let place = place.restart().await;
    let saved = place.app().take_saved(next).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (Some(id), 1));
    let place = place.restart().await;
    assert_eq!(
        place.app().take_saved(next).await.unwrap().previous,
        None,
        "once"
    );
}

async fn c02_in_scalable_mode_no_method_ever_runs<P: Place>() {
    let script = Script::new(KEEP);
    let options = Options {
        mode: Mode::Scalable,
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    let (ignored, _) = place.enter().await;
    fill(&place, first(ignored)).await;
    let outcome = place.close(ignored).await;
    assert_eq!(
        (outcome.outcome, outcome.freed),
        (Ending::Ignored, Freed::default())
    );
    place
        .admin()
        .drop_session(ignored, operator())
        .await
        .unwrap();
    let (out, token) = place.enter().await;
    place.web().log_out(&token).await.unwrap();
    let (leased, _) = place.enter().await;
    place.app().end_process(first(leased)).await.unwrap();
    place
        .app()
        .start_process(leased, Some(30 * SECOND))
        .await
        .unwrap();
    let (due, _) = place.enter().await;
    fill(&place, first(due)).await;
    place.clock().advance(3600 * SECOND);
    for id in [out, due, leased] {
        closed(&place, id).await;
    }
    assert_eq!(place.admin().closed(due).await.unwrap().freed.locks, 1);
    assert!(script.documents().is_empty());
}

/// A process of the session itself closes it, while another of its requests is under way.
async fn c07_it_may_be_called_from_inside<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let id = open_mobile(&place, 2).await;
    let inside = async {
        let outcome = place.admin().close(id, operator()).await.unwrap();
        assert_eq!(
            (outcome.outcome, outcome.initiated),
            (Ending::Closing, true)
        );
        place.app().end_process(process(id, 1)).await.unwrap();
    };
    let poll = async {
        let status = place
            .app()
            .poll_process(process(id, 2), 60 * SECOND)
            .await
            .unwrap();
        assert_eq!(status.state, ProcessState::Asked);
        place.app().end_process(process(id, 2)).await.unwrap();
    };
    soon(async { tokio::join!(poll, inside) }).await;
    closed(&place, id).await;
}

async fn c09_ten_thousand_closes_free_their_locks_in_time<P: Place>() {
    const COUNT: usize = 10_000;
    const AT_ONCE: usize = 500;
    // Nobody lives to see its end.
    let script = Script::new("sleep 600");
    let options = Options {
        max_sessions: COUNT,
        on_close_time_limit: 600 * SECOND,
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    let registry = place.registry();
    let mut ids = Vec::new();
    for batch in 0..COUNT / AT_ONCE {
        let opened = (0..AT_ONCE).map(async |index| {
            let id = registry.enter(None, browser()).await.unwrap().visit.id;
            let record = invoice(&format!("{batch}-{index}"));
            registry
                .lock(first(id), record, Duration::ZERO)
                .await
                .unwrap();
            id
        });
        ids.extend(join_all(opened).await);
    }
    for batch in ids.chunks(AT_ONCE) {
        let closed = batch.iter().map(|id| registry.close(*id, operator()));
        let outcomes = join_all(closed).await;
        let begun = |outcome: Result<Outcome, Error>| outcome.unwrap().outcome == Ending::Closing;
        assert!(
            outcomes.into_iter().all(begun),
            "no close waits for a method"
        );
    }
    let running = registry.stats().await.unwrap();
    assert_eq!(running.closing, COUNT as u64);
    place.clock().advance(60 * SECOND);
    until("the end of all of them", async || {
        (registry.stats().await.unwrap().closing == 0).then_some(())
    })
    .await;
    let locks = place.admin().locks(LockQuery::default()).await.unwrap();
    assert!(locks.items.is_empty());
    let last = place.admin().closed(ids[COUNT - 1]).await.unwrap();
    assert_eq!((last.freed.locks, last.closed_at), (1, place.now()));
}

async fn c10_who_is_evicted_has_its_method<P: Place>() {
    let script = Script::new(KEEP);
    let options = Options {
        max_sessions: 2,
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    let (oldest, _) = place.enter_confirmed().await;
    fill(&place, first(oldest)).await;
    place.clock().advance(SECOND);
    let phone = open_mobile(&place, 1).await;
    place.clock().advance(60 * SECOND);
    let (newcomer, token) = place.enter_confirmed().await;
    closed(&place, oldest).await;
    let [document] = &script.documents()[..] else {
        panic!("one run")
    };
    assert_eq!(
        (document.session.id, document.cause),
        (oldest, Cause::Evicted)
    );
    assert_eq!(document.context.variables.len(), 2);
    // A mobile session counts as well, and is asked like any other.
    place.clock().advance(60 * SECOND);
    place.web().check(&token, None, true).await.unwrap();
    let last = open_as(&place, "bea").await;
    let evicted = place.admin().show(phone).await.unwrap();
    assert_eq!(evicted.session.state, State::Closing);
    assert_eq!(evicted.processes[0].state, ProcessState::Asked);
    let mut live = place.live_ids().await;
    live.sort_unstable();
    let mut kept = [newcomer, last];
    kept.sort_unstable();
    assert_eq!(live, kept);
}

async fn c05_who_was_evicted_is_inherited_from<P: Place>() {
    let options = Options {
        max_sessions: 1,
        ..roomy()
    };
    let place: P = save(options).await;
    let (id, token) = place.enter_confirmed().await;
    put(&place, first(id), "cart", "[7]").await;
    place.clock().advance(60 * SECOND);
    let (newcomer, _) = place.enter_confirmed().await;
    closed(&place, id).await;
    place.close(newcomer).await;
    let next = place.enter_with(&token).await;
    let saved = place.app().take_saved(next).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (Some(id), 1));
}

async fn c11_a_session_that_is_due_with_its_process_is_closed_with_its_method<P: Place>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), an_hour(), Work::Regular).await;
    let (id, token) = place.enter().await;
    fill(&place, first(id)).await;
    place.clock().advance(3600 * SECOND);
    assert!(
        !place.is_live(&token).await,
        "refused from then on, swept or not"
    );
    closed(&place, id).await;
    let [document] = &script.documents()[..] else {
        panic!("one run")
    };
    assert_eq!(
        (document.cause, document.actor.as_str()),
        (Cause::Inactive, "server")
    );
    assert_eq!((document.context.locks.len(), document.late), (1, false));
    // A mobile session goes by its own time.
    let request = OpenRequest {
        idle_timeout: Some(2 * 3600 * 1000),
        ..mobile()
    };
    let phone = place.app().open(request).await.unwrap().session;
    assert_eq!(phone.expires_at, Some(place.now().plus(2 * 3600 * SECOND)));
    let plain = place.app().open(mobile()).await.unwrap().session;
    assert_eq!(plain.expires_at, Some(place.now().plus(3600 * SECOND)));
    for (kind, idle_timeout) in [(Kind::Mobile, 3_599_999), (Kind::Web, 7_200_000)] {
        let request = OpenRequest {
            kind,
            idle_timeout: Some(idle_timeout),
            ..browser()
        };
        let refused = place.app().open(request).await;
        assert!(
            matches!(refused, Err(Error::Invalid(_))),
            "{kind} {idle_timeout}"
        );
    }
}

async fn s14_a_clock_that_jumps_by_a_year_ends_no_process<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let id = open_mobile(&place, 1).await;
    let leased = place
        .app()
        .start_process(id, Some(30 * SECOND))
        .await
        .unwrap();
    let at = process(id, leased.number.0);
    let year = 365 * 24 * 3_600_000;
    for step in [year, -2 * year, year] {
        place.clock().step(step);
        place.clock().advance(SECOND);
        place.registry().sweep().await.unwrap();
        let status = place.app().poll_process(at, Duration::ZERO).await.unwrap();
        assert_eq!(status.state, ProcessState::Running);
    }
    place.admin().close(id, operator()).await.unwrap();
    place.clock().step(year);
    place.registry().sweep().await.unwrap();
    let outcome = place.admin().close(id, operator()).await.unwrap();
    assert_eq!(
        outcome.outcome,
        Ending::Closing,
        "the grace period is time that passes"
    );
}

async fn closing_at_the_limit_makes_room_and_evicts_nobody<P: Place>() {
    let script = Script::new("sleep 600");
    let options = Options {
        max_sessions: 1,
        on_close_time_limit: 600 * SECOND,
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    let (closing, _) = place.enter_confirmed().await;
    let refused = place.web().enter(None, browser()).await;
    assert!(
        matches!(refused, Err(Error::LimitReached { limit: 1, .. })),
        "{refused:?}"
    );
    let (outcome, _) = tokio::join!(
        place.admin().close(closing, operator()),
        place.web().enter(None, browser())
    );
    assert_eq!(outcome.unwrap().outcome, Ending::Closing);
    // One that closes does not count, however long its method takes.
    let live = place.live_ids().await;
    let newcomer = match live[..] {
        [id] => id,
        _ => place.enter().await.0,
    };
    assert_eq!(place.live_ids().await, [newcomer]);
    assert_eq!(place.admin().stats().await.unwrap().ended.evicted, 0);
    place
        .admin()
        .drop_session(closing, operator())
        .await
        .unwrap();
}

/// Whoever waits for a closing may go away at any moment: it goes on.
async fn dropping_a_closers_future_changes_nothing<P: Place>() {
    let script = held();
    let place = P::start_calling(script.on_close(), one_slot(), Work::Regular).await;
    let (id, _) = place.enter().await;
    tokio::select! {
        outcome = place.admin().close(id, waiting()) => panic!("its method takes longer: {outcome:?}"),
        () = script.runs(1) => {}
    }
    fs::write(script.path("go"), "").unwrap();
    closed(&place, id).await;
    let entry = place.admin().closed(id).await.unwrap();
    assert_eq!(
        (entry.on_close[0].result, entry.cause),
        (MethodResult::Succeeded, Cause::Command)
    );
    assert_eq!(script.documents().len(), 1);
}

/// Waits until a process is no more.
async fn gone(pid: &str) {
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    until("the end of a method's process", async || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        // A zombie that nobody reaps is gone as well.
        stat.map_or(true, |stat| stat.contains(") Z "))
            .then_some(())
    })
    .await;
}

/// The last run, once it is over.
fn finished(mut entry: HistoryEntry) -> Option<MethodRun> {
    let run = entry.on_close.pop()?;
    (run.result != MethodResult::Pending).then_some(run)
}

/// A program that holds its slot until it is let go, and its documents.
fn held() -> Script {
    Script::new(&format!(
        "{KEEP}; while [ ! -e go ]; do sleep 0.02; done; echo '\"late\"'"
    ))
}

fn one_slot() -> Options {
    Options {
        on_close_slots: 1,
        on_close_time_limit: 600 * SECOND,
        ..suspending()
    }
}

async fn c09_a_process_that_closes_alone_frees_its_locks_in_time<P: Place>() {
    let script = held();
    let place = P::start_calling(script.on_close(), one_slot(), Work::Regular).await;
    let (busy, _) = place.enter().await;
    place.admin().close(busy, operator()).await.unwrap();
    script.runs(1).await;
    let (id, token) = place.enter_confirmed().await;
    fill(&place, first(id)).await;
    place
        .app()
        .start_process(id, Some(30 * SECOND))
        .await
        .unwrap();
    place.clock().advance(30 * SECOND);
    until("the lapse", async || {
        let details = place.admin().show(id).await.unwrap();
        (details.session.state == State::Suspended).then_some(())
    })
    .await;
    let locks = async || place.admin().locks(LockQuery::default()).await.unwrap();
    assert_eq!(
        locks().await.items.len(),
        1,
        "its method has not seen it yet"
    );
    place.clock().advance(60 * SECOND);
    until("the time limit", async || {
        locks().await.items.is_empty().then_some(())
    })
    .await;
    assert!(place.is_live(&token).await);
    fs::write(script.path("go"), "").unwrap();
    let document = until("the late run", async || {
        script.documents().into_iter().nth(1)
    })
    .await;
    assert_eq!((document.session.id, document.late), (id, true));
    assert_eq!(document.context.locks.len(), 1, "the committed snapshot");
    let saved = until("what it left", async || {
        let saved = place.app().look_at_saved(id).await.unwrap();
        (!saved.items.is_empty()).then_some(saved)
    })
    .await;
    assert_eq!(saved.items[0].information.as_str(), "\"late\"");
}

async fn c09_dropping_what_is_closed_leaves_its_run_alone<P: Place>() {
    let script = held();
    let place = P::start_calling(script.on_close(), one_slot(), Work::Regular).await;
    let (id, _) = place.enter().await;
    place.admin().close(id, operator()).await.unwrap();
    script.runs(1).await;
    place.clock().advance(60 * SECOND);
    closed(&place, id).await;
    let dropped = place.admin().drop_session(id, operator()).await.unwrap();
    assert_eq!(dropped.outcome, Ending::AlreadyClosed);
    // That nothing ends the run is no state to wait for. What would end it is rung by the drop itself and needs a look and a
    // signal, so this is many times what it takes; the script does not go on by itself.
    tokio::time::sleep(Duration::from_millis(100)).await;
    fs::write(script.path("go"), "").unwrap();
    let run = until("the end of the run", async || {
        finished(place.admin().closed(id).await.unwrap())
    })
    .await;
    assert_eq!(run.result, MethodResult::Succeeded);
    // One that was only queued is struck, which is no secret.
    fs::remove_file(script.path("go")).unwrap();
    let (running, _) = place.enter().await;
    let (queued, _) = place.enter().await;
    place.admin().close(running, operator()).await.unwrap();
    script.runs(2).await;
    place.admin().close(queued, operator()).await.unwrap();
    let dropped = place
        .admin()
        .drop_session(queued, operator())
        .await
        .unwrap();
    assert_eq!(dropped.on_close[0].result, MethodResult::Struck);
    let entry = place.admin().closed(queued).await.unwrap();
    assert_eq!(entry.on_close, dropped.on_close);
    place
        .admin()
        .drop_session(running, operator())
        .await
        .unwrap();
    until("the end of the run that was cut short", async || {
        finished(place.admin().closed(running).await.unwrap())
    })
    .await;
    // What is forgotten has no run that is still to come.
    let (pending, _) = place.enter().await;
    place.admin().close(pending, operator()).await.unwrap();
    script.runs(3).await;
    place.clock().advance(60 * SECOND);
    closed(&place, pending).await;
    place.clock().advance(31 * 24 * 3600 * SECOND);
    assert_eq!(place.registry().forget().await.unwrap(), 3);
    assert!(place.admin().closed(pending).await.is_ok());
    fs::write(script.path("go"), "").unwrap();
    until("its end", async || {
        finished(place.admin().closed(pending).await.unwrap())
    })
    .await;
    assert_eq!(place.registry().forget().await.unwrap(), 1);
}

async fn c05_another_user_gets_nothing_of_the_first<P: Place>() {
    let place: P = save(suspending()).await;
    let (id, _) = place.enter().await;
    place.app().log_in(id, "ana".into()).await.unwrap();
    let private = Some(json("[\"ana's\"]"));
    place
        .app()
        .set_variable(first(id), name("cart"), private)
        .await
        .unwrap();
    place.clock().advance(600 * SECOND);
    suspended(&place, id).await;
    let of_ana = place.app().look_at_saved(id).await.unwrap();
    assert_eq!(of_ana.items.len(), 1);
    place.app().log_in(id, "bob".into()).await.unwrap();
    for _ in 0..2 {
        let saved = place.app().take_saved(id).await.unwrap();
        assert_eq!((saved.previous, saved.items.len()), (None, 0));
        place.app().log_in(id, "ana".into()).await.unwrap();
    }
    // Nor does another user who comes after a session that ended by itself.
    let token = place.app().log_in(id, "ana".into()).await.unwrap().token;
    place.clock().advance(7200 * SECOND);
    closed(&place, id).await;
    let next = place.web().enter(Some(&token), browser()).await.unwrap();
    place
        .app()
        .log_in(next.visit.id, "bob".into())
        .await
        .unwrap();
    let saved = place.app().take_saved(next.visit.id).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (None, 0));
}

async fn c05_an_answer_counts_whoever_holds_the_pipe<P: Place>() {
    let script = Script::new("setsid sleep 30 & sleep 0.1; echo '{\"a\":1}'");
    let place = P::start_calling(script.on_close(), suspending(), Work::Regular).await;
    let (id, _) = place.enter().await;
    place.clock().advance(600 * SECOND);
    suspended(&place, id).await;
    let saved = place.app().take_saved(id).await.unwrap();
    assert_eq!(saved.items[0].information.as_str(), "{\"a\":1}");
}
