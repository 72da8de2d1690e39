//! The closing contract on things that are really there (C05, C06, C08, C09, C11, C15, C17, C18): processes and what they
//! have, locks, mobile sessions, the on-close method, what it leaves, history. Each rule once, in every place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use sessionctl::admin::{Admin as _, EndRequest, Ending, HistoryQuery, LockQuery, OpenRequest};
use sessionctl::application::{Application as _, At};
use sessionctl::context::{ContextError, Json, Name, Record, Selection};
use sessionctl::error::Error;
use sessionctl::on_close::{Freed, Invocation, Method, MethodResult};
use sessionctl::options::{Options, Value};
use sessionctl::registry::OnClose;
use sessionctl::session::{Cause, Kind, ProcessNumber, ProcessState, SessionId, State};
use sessionctl::sessions::Sessions as _;
use tempfile::TempDir;

use crate::places::{
    BehindServer, Durable, InMemory, OnDisk, Place, Work, browser, in_every_place, operator, roomy,
    waiting,
};

in_every_place!(everywhere { InMemory, OnDisk, BehindServer } {
    c05_the_method_sees_the_context_and_what_it_answers_is_saved,
    c05_a_stolen_closed_cookie_inherits_nothing,
    c05_a_session_that_ended_by_itself_is_inherited_from_once,
    c05_the_same_user_inherits_after_a_log_in,
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
    c18_a_process_that_nobody_names_ends_with_its_method,
    c18_whoever_names_a_process_renews_its_lease,
    contexts_take_what_they_are_given_within_limits,
    names_are_any_text,
    locks_tell_who_holds_them,
    locks_are_waited_for_in_order,
    whoever_goes_away_is_skipped,
    a_waiter_gets_the_lock_when_its_holder_closes,
    waiters_of_a_closing_session_get_no_lock,
    a_web_session_has_one_process,
    a_closing_session_takes_no_changes,
    a_log_in_replaces_the_token,
    late_requests_with_the_old_token_change_nothing,
    a_drop_runs_no_method_and_ends_one_that_runs,
    options_change_only_closings_that_begin_later,
    ten_thousand_processes_close,
});

in_every_place!(durably { OnDisk, BehindServer } {
    c17_contexts_and_locks_are_there_after_a_restart,
    c17_pending_methods_run_after_the_restart,
    c17_asked_processes_are_asked_still,
    history_and_saved_information_outlive_a_restart,
});

const SECOND: Duration = Duration::from_secs(1);

/// A shell script as the on-close method, in a directory of its own where it may write.
struct Script {
    directory: TempDir,
}

impl Script {
    fn new(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("on-close");
        let home = directory.path().display();
        fs::write(&path, format!("#!/bin/sh\ncd {home}\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self { directory }
    }

    fn on_close(&self) -> OnClose {
        let path = std::env::var_os("PATH").unwrap();
        OnClose {
            method: Method::Program {
                path: self.path("on-close"),
                arguments: vec!["argument one".into()],
            },
            environment: vec![("PATH".into(), path)],
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The documents that `cat >> documents; echo >> documents` has kept.
    fn documents(&self) -> Vec<Invocation> {
        let text = self.read("documents");
        let lines = text.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

/// Keeps the documents, one to a line.
const KEEP: &str = "d=$(cat); printf '%s\\n' \"$d\" >> documents";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn json(text: &str) -> Json {
    Json::new(text).unwrap()
}

fn invoice(number: &str) -> Record {
    Record {
        table: name("Invoices"),
        record: name(number),
    }
}

fn selection(records: &[&str]) -> Selection {
    Selection {
        table: name("Invoices"),
        records: records.iter().map(|record| name(record)).collect(),
    }
}

fn first(id: SessionId) -> At {
    At {
        id,
        process: ProcessNumber(1),
    }
}

fn mobile() -> OpenRequest {
    OpenRequest {
        kind: Kind::Mobile,
        user: Some("ana".into()),
        ..browser()
    }
}

async fn open_mobile<P: Place>(place: &P, processes: u32) -> SessionId {
    let opened = place.app().open(mobile()).await.unwrap();
    for _ in 0..processes {
        place
            .app()
            .start_process(opened.session.id, None)
            .await
            .unwrap();
    }
    opened.session.id
}

/// Waits for something that comes without being asked for.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..2_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} never came");
}

async fn fill<P: Place>(place: &P, at: At) {
    let app = place.app();
    app.set_variable(at, name("cart"), Some(json("[1, 2.50]")))
        .await
        .unwrap();
    app.set_variable(at, name("who"), Some(json("\"ana\"")))
        .await
        .unwrap();
    app.set_selection(at, name("Invoices"), Some(selection(&["4711", "4712"])))
        .await
        .unwrap();
    app.lock(at, invoice("4711"), Duration::ZERO).await.unwrap();
}

async fn c05_the_method_sees_the_context_and_what_it_answers_is_saved<P: Place>() {
    let script = Script::new(&format!(
        "{KEEP}; printf '%s|%s|%s' \"$1\" \"$#\" \"$SESSIONCTL_ON_CLOSE\" > call; env | cut -d= -f1 | sort > environment; echo '{{\"kept\": 1e2}}'"
    ));
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    fill(&place, first(id)).await;
    let lock = place
        .admin()
        .locks(LockQuery::default())
        .await
        .unwrap()
        .items
        .remove(0);
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

async fn save<P: Place>(options: Options) -> P {
    let on_close = OnClose {
        method: Method::Save,
        ..OnClose::default()
    };
    P::start_calling(on_close, options, Work::Regular).await
}

async fn closed<P: Place>(place: &P, id: SessionId) {
    until("the end", async || {
        matches!(place.admin().show(id).await, Err(Error::Closed(_))).then_some(())
    })
    .await;
}

async fn c05_a_stolen_closed_cookie_inherits_nothing<P: Place>() {
    let place: P = save(roomy()).await;
    let (id, token) = place.enter().await;
    place
        .app()
        .set_variable(first(id), name("secret"), Some(json("42")))
        .await
        .unwrap();
    place.close(id).await;
    let thief = place
        .web()
        .enter(Some(&token), browser())
        .await
        .unwrap()
        .visit
        .id;
    assert_ne!(thief, id);
    let saved = place.app().take_saved(thief).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (None, 0));
    // Another user does not either, whoever it is.
    place.app().log_in(thief, "mallory".into()).await.unwrap();
    let saved = place.app().take_saved(thief).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (None, 0));
}

fn an_hour() -> Options {
    Options {
        inactive_session_timeout: Duration::from_secs(3600),
        inactive_process_timeout: Duration::from_secs(3600),
        ..roomy()
    }
}

async fn c05_a_session_that_ended_by_itself_is_inherited_from_once<P: Place>() {
    let place: P = save(an_hour()).await;
    let (id, token) = place.enter().await;
    place
        .app()
        .set_variable(first(id), name("cart"), Some(json("[7]")))
        .await
        .unwrap();
    place.clock().advance(3600 * SECOND);
    closed(&place, id).await;
    let next = place
        .web()
        .enter(Some(&token), browser())
        .await
        .unwrap()
        .visit
        .id;
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
    let other = place
        .web()
        .enter(Some(&token), browser())
        .await
        .unwrap()
        .visit
        .id;
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
    place
        .app()
        .set_variable(first(id), name("cart"), Some(json("[8]")))
        .await
        .unwrap();
    place.close(id).await;
    let next = place
        .web()
        .enter(Some(&token), browser())
        .await
        .unwrap()
        .visit
        .id;
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
    assert!(
        place
            .admin()
            .locks(LockQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
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
    let at = |process| At {
        id,
        process: ProcessNumber(process),
    };
    place
        .app()
        .set_variable(at(2), name("mine"), Some(json("2")))
        .await
        .unwrap();
    let started = place.admin().show(id).await.unwrap().session;
    assert_eq!((started.kind, started.process_count), (Kind::Mobile, 3));
    let polled = place.app().poll_process(at(1), 60 * SECOND);
    let closing = async {
        // The poll is under way before the close.
        tokio::time::sleep(Duration::from_millis(50)).await;
        place.admin().close(id, operator()).await.unwrap()
    };
    let (polled, outcome) = tokio::join!(polled, closing);
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
    place
        .app()
        .set_variable(at(2), name("last"), Some(json("3")))
        .await
        .unwrap();
    assert!(matches!(
        place.app().lock(at(2), invoice("1"), Duration::ZERO).await,
        Err(Error::Closing(_))
    ));
    assert!(matches!(
        place.app().start_process(id, None).await,
        Err(Error::Closing(_))
    ));
    for process in [1, 2] {
        place.app().end_process(at(process)).await.unwrap();
    }
    until("two runs", async || {
        (script.documents().len() == 2).then_some(())
    })
    .await;
    assert_eq!(
        place.admin().close(id, operator()).await.unwrap().outcome,
        Ending::Closing,
        "one is busy"
    );
    assert!(
        script
            .documents()
            .iter()
            .any(|document| document.context.variables.contains_key(&name("last")))
    );
    place.app().end_process(at(3)).await.unwrap();
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
        place.app().poll_process(at(1), Duration::ZERO).await,
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
    tokio::time::sleep(Duration::from_millis(600)).await;
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
    assert!(
        place
            .admin()
            .locks(LockQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
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
        let patient = lines.contains("zero") || result == MethodResult::Succeeded;
        let limit = if patient { 10_000 } else { 300 };
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
        assert!(
            place
                .admin()
                .locks(LockQuery::default())
                .await
                .unwrap()
                .items
                .is_empty()
        );
    }
    let child = script.read("child");
    until("the end of what a method left behind", async || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        // A zombie that nobody reaps is gone as well.
        stat.map_or(true, |stat| stat.contains(") Z "))
            .then_some(())
    })
    .await;
    fs::remove_file(script.path("on-close")).unwrap();
    let outcome = place.close(place.enter().await.0).await;
    assert_eq!(
        (outcome.outcome, outcome.on_close[0].result),
        (Ending::Closed, MethodResult::NotStarted)
    );
}

async fn c09_a_closing_ends_in_time_and_the_method_runs_late<P: Place>() {
    // One slot, which the first holds until it is let go.
    let script = Script::new(&format!(
        "{KEEP}; while [ ! -e go ]; do sleep 0.02; done; echo '\"late\"'"
    ));
    let options = Options {
        on_close_slots: 1,
        on_close_time_limit: Duration::from_secs(600),
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    let (running, _) = place.enter().await;
    let (pending, _) = place.enter().await;
    let (other, _) = place.enter().await;
    fill(&place, first(pending)).await;
    place.admin().close(running, operator()).await.unwrap();
    until("the first run", async || {
        (script.documents().len() == 1).then_some(())
    })
    .await;
    place.admin().close(pending, operator()).await.unwrap();
    let waiter = place.app().lock(first(other), invoice("4711"), 60 * SECOND);
    let limit = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        place.clock().advance(60 * SECOND);
    };
    let (lock, ()) = tokio::join!(waiter, limit);
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
        (2, 1, 0)
    );
    fs::write(script.path("go"), "").unwrap();
    let entry = until("the late run", async || {
        let entry = place.admin().closed(pending).await.unwrap();
        (!entry.on_close.is_empty()).then_some(entry)
    })
    .await;
    assert!(entry.on_close[0].late && entry.on_close[0].result == MethodResult::Succeeded);
    let documents = script.documents();
    assert_eq!(documents.len(), 2, "once each");
    assert!(!documents[0].late && documents[1].late);
    assert_eq!(
        documents[1].context.locks[0].record.as_str(),
        "4711",
        "the committed snapshot"
    );
    let first_run = until("the first run's end", async || {
        place.admin().closed(running).await.unwrap().on_close.pop()
    })
    .await;
    assert!(!first_run.late);
}

async fn c09_a_failing_method_is_in_the_history<P: Place>() {
    let script = Script::new("exit 7");
    let place = P::start_calling(script.on_close(), roomy(), Work::Regular).await;
    let id = place
        .app()
        .open(OpenRequest {
            user: Some("zoë".into()),
            ..browser()
        })
        .await
        .unwrap()
        .session
        .id;
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
    place.clock().advance(31 * 24 * 3600 * SECOND);
    place.registry().forget().await.unwrap();
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

fn suspending() -> Options {
    Options {
        inactive_process_timeout: Duration::from_secs(600),
        inactive_session_timeout: Duration::from_secs(7200),
        ..roomy()
    }
}

async fn suspended<P: Place>(place: &P, id: SessionId) {
    until("the suspension", async || {
        let details = place.admin().show(id).await.unwrap();
        (details.session.state == State::Suspended && details.processes.is_empty()).then_some(())
    })
    .await;
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
    assert!(
        place
            .admin()
            .locks(LockQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
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
    let at = At {
        id,
        process: leased.number,
    };
    place
        .app()
        .lock(at, invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    place.clock().advance(30 * SECOND);
    until("the end of the lease", async || {
        (script.documents().len() == 1).then_some(())
    })
    .await;
    let details = until("the process's end", async || {
        let details = place.admin().show(id).await.unwrap();
        (details.processes.len() == 1).then_some(details)
    })
    .await;
    assert_eq!(
        (details.session.state, details.processes[0].number),
        (State::Active, plain.number)
    );
    let other = At {
        id,
        process: plain.number,
    };
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
    let at = At {
        id,
        process: status.number,
    };
    place
        .app()
        .lock(at, invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    for step in 0..6 {
        place.clock().advance(20 * SECOND);
        match step {
            0 => drop(place.app().poll_process(at, Duration::ZERO).await.unwrap()),
            1 => place
                .app()
                .set_variable(at, name("a"), Some(json("1")))
                .await
                .unwrap(),
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
    // Looking at it as an operator renews nothing.
    place.clock().advance(30 * SECOND);
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
    let holder = place
        .app()
        .open(OpenRequest {
            user: Some("ana".into()),
            ..browser()
        })
        .await
        .unwrap()
        .session
        .id;
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

/// Waits until so many wait for a record.
async fn queued<P: Place>(place: &P, record: &Record, count: u32) {
    until("the queue", async || {
        let query = LockQuery {
            table: Some(record.table.clone()),
            record: Some(record.record.clone()),
            ..LockQuery::default()
        };
        let locks = place.admin().locks(query).await.unwrap();
        (locks.items.first()?.waiting == count).then_some(())
    })
    .await;
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
    let (one, two, three, ()) = tokio::join!(chain(1), chain(2), chain(3), passing);
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
    let app = place.app();
    app.lock(first(ids[0]), invoice("1"), Duration::ZERO)
        .await
        .unwrap();
    let record = invoice("1");
    let gone = app.lock(first(ids[1]), record.clone(), 60 * SECOND);
    tokio::select! {
        lock = gone => panic!("{lock:?}"),
        () = queued(&place, &record, 1) => {}
    }
    queued(&place, &invoice("1"), 0).await;
    let patient = app.lock(first(ids[2]), invoice("1"), 60 * SECOND);
    let unlocking = async {
        queued(&place, &invoice("1"), 1).await;
        app.unlock(first(ids[0]), invoice("1")).await.unwrap();
    };
    let (lock, ()) = tokio::join!(patient, unlocking);
    lock.unwrap();
    assert_eq!(
        place
            .admin()
            .locks(LockQuery::default())
            .await
            .unwrap()
            .items[0]
            .session,
        ids[2]
    );
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
    let (lock, outcome) = tokio::join!(lock, closing);
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
    let (refused, ()) = tokio::join!(waiting, closing);
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
    place.clock().advance(60 * SECOND);
    let entered = place.web().enter(Some(&old), browser()).await.unwrap();
    assert_ne!(
        entered.visit.id, id,
        "after that it is a dead cookie as any other"
    );
    assert!(entered.new_token.is_some());
    let saved = place.app().take_saved(entered.visit.id).await.unwrap();
    assert_eq!((saved.previous, saved.items.len()), (None, 0));
}

async fn a_drop_runs_no_method_and_ends_one_that_runs<P: Place>() {
    let script = Script::new(&format!("{KEEP}; sleep 600"));
    let options = Options {
        on_close_time_limit: Duration::from_secs(600),
        ..roomy()
    };
    let place = P::start_calling(script.on_close(), options, Work::Regular).await;
    let (live, _) = place.enter().await;
    fill(&place, first(live)).await;
    let dropped = place.admin().drop_session(live, operator()).await.unwrap();
    assert_eq!(
        (dropped.outcome, dropped.freed.locks, dropped.on_close.len()),
        (Ending::Closed, 1, 0)
    );
    let (closing, _) = place.enter().await;
    place.admin().close(closing, operator()).await.unwrap();
    until("the run", async || {
        (script.documents().len() == 1).then_some(())
    })
    .await;
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
    assert_eq!(script.documents().len(), 1, "and none for the first");
}

async fn options_change_only_closings_that_begin_later<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    let earlier = open_mobile(&place, 1).await;
    place.admin().close(earlier, operator()).await.unwrap();
    place
        .set("closing_grace_period", Value::Number(1_000))
        .await
        .unwrap();
    place
        .set("mode", Value::Text("scalable".into()))
        .await
        .unwrap();
    let later = open_mobile(&place, 1).await;
    place
        .set("mode", Value::Text("legacy".into()))
        .await
        .unwrap();
    let third = open_mobile(&place, 1).await;
    assert_eq!(
        place
            .admin()
            .close(later, operator())
            .await
            .unwrap()
            .outcome,
        Ending::Ignored,
        "C02"
    );
    place.admin().close(third, operator()).await.unwrap();
    place.clock().advance(SECOND);
    closed(&place, third).await;
    assert_eq!(
        place
            .admin()
            .close(earlier, operator())
            .await
            .unwrap()
            .outcome,
        Ending::Closing,
        "as it began"
    );
    place.clock().advance(29 * SECOND);
    closed(&place, earlier).await;
    // In scalable mode no method ever runs, and nothing is waited for.
    let dropped = place.admin().drop_session(later, operator()).await.unwrap();
    assert_eq!(
        (dropped.outcome, dropped.freed.processes),
        (Ending::Closed, 1)
    );
}

async fn ten_thousand_processes_close<P: Place>() {
    const COUNT: u32 = 10_000;
    let place = P::start(roomy(), Work::Regular).await;
    let id = open_mobile(&place, 0).await;
    let registry = place.registry();
    for _ in 0..COUNT / 100 {
        join_all((0..100).map(|_| registry.start_process(id, None)))
            .await
            .into_iter()
            .for_each(|started| assert!(started.is_ok()));
    }
    let (other, _) = place.enter().await;
    place.admin().close(id, operator()).await.unwrap();
    assert_eq!(
        place.admin().show(id).await.unwrap().session.process_count,
        COUNT
    );
    place.clock().advance(30 * SECOND);
    // Another session's closing has its turn meanwhile.
    assert_eq!(place.close(other).await.outcome, Ending::Closed);
    let outcome = place.close(id).await;
    assert!(
        matches!(outcome.outcome, Ending::Closed | Ending::AlreadyClosed),
        "{:?}",
        outcome.outcome
    );
    assert_eq!(outcome.freed.processes, COUNT);
}

async fn c17_contexts_and_locks_are_there_after_a_restart<P: Durable>() {
    let place = P::start(roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    fill(&place, first(id)).await;
    let mobile = open_mobile(&place, 3).await;
    let at = At {
        id: mobile,
        process: ProcessNumber(2),
    };
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
        place
            .admin()
            .locks(LockQuery::default())
            .await
            .unwrap()
            .items,
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
    let mut locks = before.2;
    locks[0].user = locks[0].user.take();
    assert_eq!(place.app().context(first(id)).await.unwrap(), before.0);
    assert_eq!(place.app().context(at).await.unwrap(), before.1);
    let found = place
        .admin()
        .locks(LockQuery::default())
        .await
        .unwrap()
        .items;
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
    app.set_variable(at, name("gone"), Some(json("1")))
        .await
        .unwrap();
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

async fn c17_pending_methods_run_after_the_restart<P: Durable>() {
    let script = Script::new(KEEP);
    let place = P::start_calling(script.on_close(), suspending(), Work::ByHand).await;
    let (closing, _) = place.enter().await;
    let (idle, token) = place.enter().await;
    fill(&place, first(closing)).await;
    place
        .app()
        .set_variable(first(idle), name("v"), Some(json("1")))
        .await
        .unwrap();
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
    let at = |process| At {
        id,
        process: ProcessNumber(process),
    };
    fill(&place, at(2)).await;
    place.admin().close(id, operator()).await.unwrap();
    place.app().end_process(at(1)).await.unwrap();
    assert_eq!(place.registry().finish_begun().await.unwrap(), 1);
    place.app().end_process(at(2)).await.unwrap();
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
    place
        .app()
        .set_variable(first(id), name("cart"), Some(json("[7]")))
        .await
        .unwrap();
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
    let next = place
        .web()
        .enter(Some(&token), browser())
        .await
        .unwrap()
        .visit
        .id;
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
