//! A server that dies in the middle of a closing (C09, C17): after each step of it, what was on disk then is opened by the
//! next server, which runs the methods that are pending, at least once and with the same key, and no others.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use sessionctl::admin::{Actor, Admin as _, EndRequest, Ending, OpenRequest};
use sessionctl::application::{Application, At};
use sessionctl::clock::ManualClock;
use sessionctl::context::{Json, Name, Record};
use sessionctl::on_close::{Method, MethodResult, MethodRun};
use sessionctl::options::Options;
use sessionctl::registry::{OnClose, Registry};
use sessionctl::session::{Kind, ProcessNumber, SessionId};
use sessionctl::store::directory::DataDir;
use sessionctl::store::sqlite::SqliteStore;
use sessionctl::store::{Change, Claim, Store as _, Work};
use tempfile::TempDir;

use crate::places::MONDAY;

fn registry(directory: &Path, clock: &ManualClock) -> Registry<SqliteStore> {
    let data = DataDir::exclusive(directory, true).unwrap();
    let store = SqliteStore::open(data, Options::default().into()).unwrap();
    let on_close = OnClose {
        method: Method::Save,
        ..OnClose::default()
    };
    Registry::with_on_close(store, Arc::new(clock.clone()), on_close)
}

/// What is on disk at this moment, as a server would find it that is started after a crash.
fn crashed(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let data = DataDir::exclusive(copy.path(), true).unwrap();
    let disk = Connection::open(directory.join("sessions.sqlite")).unwrap();
    let into = data.database();
    disk.execute("VACUUM INTO ?1", [into.to_str().unwrap()])
        .unwrap();
    let same = Connection::open(&into).unwrap();
    same.pragma_update(None, "application_id", 0x5345_5353)
        .unwrap();
    copy
}

/// The step that the copy is of, and the processes whose method is pending in it.
struct Crash {
    step: &'static str,
    copy: TempDir,
    pending: &'static [u32],
}

async fn claim(registry: &Registry<SqliteStore>, clock: &ManualClock) -> Vec<Work> {
    use sessionctl::clock::Clock as _;
    let claim = Claim {
        until: clock.now().plus(Duration::from_secs(3600)),
        max: 1,
        runs: 1,
        has_method: true,
        only: None,
    };
    registry.store().claim(claim, clock.now()).await.unwrap()
}

async fn finish(registry: &Registry<SqliteStore>, clock: &ManualClock, work: &[Work]) {
    use sessionctl::clock::Clock as _;
    let [Work::Process(key, Some(document))] = work else {
        panic!("{work:?}")
    };
    let run = MethodRun {
        process: key.process,
        result: MethodResult::Succeeded,
        took_ms: 1,
        late: document.late,
        detail: None,
    };
    let end = Change::FinishProcess {
        key: *key,
        run: Some(run),
        saved: Some(Json::new("1").unwrap()),
    };
    registry.store().apply(end, clock.now()).await.unwrap();
}

async fn start(registry: &Registry<SqliteStore>) -> SessionId {
    let request = OpenRequest {
        kind: Kind::Mobile,
        ..OpenRequest::default()
    };
    let id = Application::open(registry, request)
        .await
        .unwrap()
        .session
        .id;
    for process in [1, 2, 3] {
        let process = registry
            .start_process(id, None)
            .await
            .unwrap()
            .number
            .0
            .max(process);
        let at = At {
            id,
            process: ProcessNumber(process),
        };
        let (name, value) = (
            Name::new("v").unwrap(),
            Json::new(&process.to_string()).unwrap(),
        );
        registry.set_variable(at, name, Some(value)).await.unwrap();
        let record = Record {
            table: Name::new("T").unwrap(),
            record: Name::new(&process.to_string()).unwrap(),
        };
        registry.lock(at, record, Duration::ZERO).await.unwrap();
    }
    id
}

#[tokio::test]
async fn c09_pending_methods_run_after_a_crash_at_every_step() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(MONDAY.parse().unwrap());
    let first = registry(directory.path(), &clock);
    let id = start(&first).await;
    let mut crashes = Vec::new();
    let mut crash = |step, pending| {
        let copy = crashed(directory.path());
        crashes.push(Crash {
            step,
            copy,
            pending,
        });
    };
    crash("live", &[]);
    let end = EndRequest::by(Actor::user(0));
    first.close(id, end).await.unwrap();
    crash("asked", &[]);
    let at = |process| At {
        id,
        process: ProcessNumber(process),
    };
    first.end_process(at(1)).await.unwrap();
    crash("one has finished", &[1]);
    let work = claim(&first, &clock).await;
    crash("its method runs", &[1]);
    finish(&first, &clock, &work).await;
    crash("its method has run", &[]);
    clock.advance(Duration::from_secs(30));
    first.sweep().await.unwrap();
    crash("after the grace period", &[2, 3]);
    let work = claim(&first, &clock).await;
    crash("the second runs", &[2, 3]);
    clock.advance(Duration::from_secs(30));
    first.sweep().await.unwrap();
    crash("the time is over", &[2, 3]);
    finish(&first, &clock, &work).await;
    crash("the second has run, late for its session", &[3]);
    let work = claim(&first, &clock).await;
    crash("the third runs late", &[3]);
    finish(&first, &clock, &work).await;
    crash("all is done", &[]);
    for Crash {
        step,
        copy,
        pending,
    } in crashes
    {
        after(step, &copy, pending, id, &clock).await;
    }
}

async fn after(step: &str, copy: &TempDir, pending: &[u32], id: SessionId, clock: &ManualClock) {
    let next = registry(copy.path(), clock);
    let mut seen = Vec::new();
    // Time limits count from the stored begin: without the sweep nothing new comes due.
    loop {
        let work = claim(&next, clock).await;
        let [Work::Process(key, Some(document))] = &work[..] else {
            assert!(work.is_empty(), "{step}: {work:?}");
            break;
        };
        assert_eq!(document.key, format!("{id}/{}", key.process), "{step}");
        let value = document
            .context
            .variables
            .values()
            .next()
            .expect("its variable");
        assert_eq!(
            value.as_str(),
            key.process.to_string(),
            "{step}: with its own context"
        );
        assert_eq!(document.context.locks.len(), 1, "{step}");
        seen.push(key.process.0);
        finish(&next, clock, &work).await;
    }
    seen.sort_unstable();
    assert_eq!(seen, pending, "{step}");
    if step == "live" {
        assert_eq!(next.show(id).await.unwrap().processes.len(), 3);
        return;
    }
    // Whatever was left then, in the end every process has had its run.
    next.sweep().await.unwrap();
    next.finish_begun().await.unwrap();
    let entry = next
        .closed(id)
        .await
        .unwrap_or_else(|error| panic!("{step}: {error}"));
    let mut runs: Vec<u32> = entry.on_close.iter().map(|run| run.process.0).collect();
    runs.sort_unstable();
    assert_eq!(runs, [1, 2, 3], "{step}");
    assert_eq!((entry.freed.processes, entry.freed.locks), (3, 3), "{step}");
    let locks = next.locks(Default::default()).await.unwrap();
    assert!(locks.items.is_empty(), "{step}");
    assert!(fs::metadata(copy.path()).is_ok());
}

/// A command without a server does the closing work of what it closes itself, and leaves everybody else's to the server.
#[tokio::test]
async fn what_others_have_begun_is_left_to_the_next_server() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(MONDAY.parse().unwrap());
    let server = registry(directory.path(), &clock);
    let pending = start(&server).await;
    let opened = Application::open(&server, OpenRequest::default()).await;
    let other = opened.unwrap().session.id;
    let end = || EndRequest::by(Actor::user(0));
    server.close(pending, end()).await.unwrap();
    // Nobody is waited for any more: whoever claims what there is gets its runs.
    clock.advance(Duration::from_secs(31));
    server.sweep().await.unwrap();
    drop(server);
    let data = DataDir::exclusive(directory.path(), false).unwrap();
    let store = SqliteStore::open_as_served(data).unwrap();
    let command = Registry::new(store, Arc::new(clock.clone()));
    let waiting = EndRequest {
        wait: Duration::from_secs(5),
        ..end()
    };
    // Its end is work of the command, which takes what was begun first first: what is pending would be taken with it.
    let closed = command.work_while(async { command.close(other, waiting).await.unwrap() });
    assert_eq!(closed.await.outcome, Ending::Closed);
    assert_eq!(command.show(pending).await.unwrap().processes.len(), 3);
    drop(command);
    // Its task, which has ended the closing, lets go of the store.
    tokio::task::yield_now().await;
    let server = registry(directory.path(), &clock);
    server.sweep().await.unwrap();
    server.finish_begun().await.unwrap();
    let entry = server.closed(pending).await.unwrap();
    assert_eq!(entry.on_close.len(), 3, "each process has its run");
}

/// Without a server nobody hears that a process is asked: its method runs at once (C08).
#[tokio::test]
async fn without_a_server_no_process_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(MONDAY.parse().unwrap());
    let server = registry(directory.path(), &clock);
    let id = start(&server).await;
    drop(server);
    let command = registry(directory.path(), &clock);
    let waiting = EndRequest {
        wait: Duration::from_secs(10),
        ..EndRequest::by(Actor::user(0))
    };
    let closed = command
        .work_while(command.close(id, waiting))
        .await
        .unwrap();
    assert_eq!(closed.outcome, Ending::Closed);
    assert_eq!((closed.freed.processes, closed.on_close.len()), (3, 3));
}
