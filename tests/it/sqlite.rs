//! What is particular to the store on disk: when things become visible, what a failure does, what the files hold.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use sessionctl::admin::{Admin as _, Ending, LockQuery};
use sessionctl::application::Application as _;
use sessionctl::clock::{ManualClock, Timestamp};
use sessionctl::error::Error;
use sessionctl::on_close::{MethodResult, MethodRun};
use sessionctl::options::{Options, Settings, Value};
use sessionctl::registry::Registry;
use sessionctl::session::{Cause, State};
use sessionctl::sessions::Sessions as _;
use sessionctl::store::directory::{DataDir, DirectoryError};
use sessionctl::store::sqlite::{OpenError, SqliteStore};
use sessionctl::store::{Change, Claim, Store as _, Work as ClosingWork};
use tokio::time::timeout;

use crate::contexts::{first, invoice, suspending};
use crate::places::{OnDisk, Place, Work, browser, operator, roomy, setting};

/// Longer than any commit takes; only a call that must not answer waits for it.
const A_WHILE: Duration = Duration::from_millis(150);

fn database(place: &OnDisk) -> Connection {
    Connection::open(place.registry().store().directory().database()).unwrap()
}

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(
        DataDir::exclusive(path, false).unwrap(),
        Settings::default(),
    )
}

/// The publishing rule: permissions are published after the sync.
#[tokio::test]
async fn an_open_is_neither_answered_nor_visible_before_its_commit() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    let disk = database(&place);
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let registry = place.registry().clone();
    let mut opening = tokio::spawn(async move { registry.enter(None, browser()).await });
    assert!(
        timeout(A_WHILE, &mut opening).await.is_err(),
        "answered before the commit"
    );
    assert!(place.ids().await.is_empty());
    disk.execute_batch("ROLLBACK").unwrap();
    let entered = opening.await.unwrap().unwrap();
    assert_eq!(place.ids().await, [entered.visit.id]);
}

/// The publishing rule: refusals are published before the sync, but not one answer about them is given before it.
#[tokio::test]
async fn a_begun_closing_refuses_at_once_and_answers_after_its_commit() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    let disk = database(&place);
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let registry = place.registry().clone();
    let mut closing = tokio::spawn(async move { registry.close(id, operator()).await });
    assert!(
        timeout(A_WHILE, &mut closing).await.is_err(),
        "answered before the commit"
    );
    assert!(
        timeout(A_WHILE, place.registry().close(id, operator()))
            .await
            .is_err(),
        "the second closer too"
    );
    assert!(
        timeout(A_WHILE, place.is_live(&token)).await.is_err(),
        "neither let in nor refused for good"
    );
    let show = place.admin().show(id);
    assert!(
        timeout(A_WHILE, show).await.is_err(),
        "told before the commit"
    );
    let list = place.admin().list(Default::default());
    assert!(
        timeout(A_WHILE, list).await.is_err(),
        "told before the commit"
    );
    assert_eq!(
        place.registry().finish_begun().await.unwrap(),
        0,
        "nothing is worked on before its begin is on disk"
    );
    disk.execute_batch("ROLLBACK").unwrap();
    assert!(closing.await.unwrap().unwrap().initiated);
    assert!(!place.is_live(&token).await);
    assert_eq!(
        place.admin().show(id).await.unwrap().session.state,
        State::Closing
    );
}

/// A drop that cuts a closing short is told to its closer after its own commit, not after the closing's.
#[tokio::test]
async fn an_ending_is_not_told_before_its_commit() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    let (id, _) = place.enter().await;
    place.admin().close(id, operator()).await.unwrap();
    let disk = database(&place);
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let registry = place.registry().clone();
    let mut dropping = tokio::spawn(async move { registry.drop_session(id, operator()).await });
    assert!(timeout(A_WHILE, &mut dropping).await.is_err());
    let closing = place.registry().close(id, operator());
    assert!(
        timeout(A_WHILE, closing).await.is_err(),
        "its cause is not on disk yet"
    );
    disk.execute_batch("ROLLBACK").unwrap();
    let outcome = dropping.await.unwrap().unwrap();
    assert_eq!(
        (outcome.outcome, outcome.cause),
        (Ending::Closed, Some(Cause::Dropped))
    );
}

/// What a method came to after its closing had ended is told once that is on disk, to everybody.
#[tokio::test]
async fn a_late_run_is_not_told_before_its_commit() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    let (id, _) = place.enter().await;
    place.admin().close(id, operator()).await.unwrap();
    place.clock().advance(Duration::from_secs(60));
    place.registry().sweep().await.unwrap();
    let store = place.registry().store();
    let claim = Claim {
        until: place.now().plus(Duration::from_secs(60)),
        max: 1,
        runs: 1,
        has_method: true,
        only: None,
    };
    let work = store.claim(claim, place.now()).await.unwrap();
    let [ClosingWork::Process(key, Some(document))] = &work[..] else {
        panic!("{work:?}")
    };
    assert!(document.late);
    let disk = database(&place);
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let run = MethodRun {
        process: key.process,
        result: MethodResult::Succeeded,
        took_ms: 7,
        late: true,
        detail: None,
    };
    let (key, registry, now) = (*key, place.registry().clone(), place.now());
    let mut finishing = tokio::spawn(async move {
        let change = Change::FinishProcess {
            key,
            run: Some(run),
            saved: None,
        };
        registry.store().apply(change, now).await
    });
    assert!(timeout(A_WHILE, &mut finishing).await.is_err());
    let looking = place.registry().close(id, operator());
    assert!(
        timeout(A_WHILE, looking).await.is_err(),
        "it is not on disk that the method has run"
    );
    disk.execute_batch("ROLLBACK").unwrap();
    finishing.await.unwrap().unwrap();
    let outcome = place.registry().close(id, operator()).await.unwrap();
    assert_eq!(outcome.on_close[0].result, MethodResult::Succeeded);
}

/// Who holds a lock is told by the name that is on disk.
#[tokio::test]
async fn a_holders_name_is_not_told_before_its_commit() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    let (id, _) = place.enter().await;
    place
        .app()
        .lock(first(id), invoice("4711"), Duration::ZERO)
        .await
        .unwrap();
    let disk = database(&place);
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let registry = place.registry().clone();
    let mut signing_in = tokio::spawn(async move { registry.log_in(id, "ana".into()).await });
    assert!(timeout(A_WHILE, &mut signing_in).await.is_err());
    let locks = place.admin().locks(LockQuery::default());
    assert!(timeout(A_WHILE, locks).await.is_err());
    disk.execute_batch("ROLLBACK").unwrap();
    signing_in.await.unwrap().unwrap();
    let locks = place.admin().locks(LockQuery::default()).await.unwrap();
    assert_eq!(locks.items[0].user.as_deref(), Some("ana"));
}

/// A process that closes alone has the time that there was when it began to close, whatever the next server is told.
#[tokio::test]
async fn c09_a_restart_changes_no_time_limit_that_has_begun() {
    let directory = tempfile::tempdir().unwrap();
    let start = |limit| {
        let options = Options {
            closing_time_limit: Duration::from_secs(limit),
            ..suspending()
        };
        SqliteStore::open(
            DataDir::exclusive(directory.path(), true).unwrap(),
            options.into(),
        )
        .unwrap()
    };
    let clock = ManualClock::at(crate::places::MONDAY.parse().unwrap());
    let registry = Registry::new(start(60), Arc::new(clock.clone()));
    let (id, _) = {
        let entered = registry.enter(None, browser()).await.unwrap();
        (entered.visit.id, entered.new_token)
    };
    clock.advance(Duration::from_secs(600));
    registry.sweep().await.unwrap();
    let show = async |registry: &Registry<SqliteStore>| registry.show(id).await.unwrap();
    let shown = show(&registry).await;
    assert_eq!(shown.session.state, State::Suspended);
    assert_eq!(shown.processes.len(), 1, "its method is pending");
    drop(registry);
    let registry = Registry::new(start(3_600), Arc::new(clock.clone()));
    clock.advance(Duration::from_secs(59));
    registry.sweep().await.unwrap();
    assert_eq!(show(&registry).await.processes.len(), 1);
    clock.advance(Duration::from_secs(1));
    registry.sweep().await.unwrap();
    assert!(show(&registry).await.processes.is_empty());
    assert_eq!(registry.stats().await.unwrap().late, 1);
}

/// Options are in force once they are on disk; until then the stricter limit holds, so that no newcomer slips in between.
#[tokio::test]
async fn options_are_told_after_their_commit_and_a_lower_limit_holds_before() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    place.enter().await;
    let disk = database(&place);
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let registry = place.registry().clone();
    let lower = setting(vec![("max_sessions".into(), Some(Value::Number(1)))]);
    let mut setting = tokio::spawn(async move { registry.set_options(lower).await });
    assert!(timeout(A_WHILE, &mut setting).await.is_err());
    assert_eq!(
        place.option("max_sessions").await.value,
        Value::Number(10_000)
    );
    let newcomer = timeout(A_WHILE, place.web().enter(None, browser()))
        .await
        .expect("an answer");
    assert!(matches!(
        newcomer,
        Err(Error::LimitReached { limit: 1, .. })
    ));
    disk.execute_batch("ROLLBACK").unwrap();
    assert!(setting.await.unwrap().unwrap().is_set);
    assert_eq!(place.option("max_sessions").await.value, Value::Number(1));
}

/// Whoever makes room is refused at once, the newcomer is let in after the commit: both are in it, or neither.
#[tokio::test]
async fn an_eviction_and_its_opening_are_one_commit() {
    let options = Options {
        max_sessions: 1,
        ..roomy()
    };
    let place = OnDisk::start(options, Work::ByHand).await;
    let (evicted, _) = place.enter_confirmed().await;
    place.clock().advance(Duration::from_secs(60));
    let disk = database(&place);
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let registry = place.registry().clone();
    let mut opening = tokio::spawn(async move { registry.enter(None, browser()).await });
    assert!(timeout(A_WHILE, &mut opening).await.is_err());
    disk.execute_batch("ROLLBACK").unwrap();
    opening.await.unwrap().unwrap();
    // What the database's log holds is whole transactions: a copy of it has both.
    let on_disk = |sql: &str| {
        database(&place)
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let (sessions, closings) = (
        on_disk("SELECT count(*) FROM sessions"),
        on_disk("SELECT count(*) FROM closings WHERE cause = 'evicted'"),
    );
    assert_eq!((sessions, closings), (2, 1));
    assert_eq!(
        place.admin().show(evicted).await.unwrap().session.state,
        State::Closing
    );
}

/// Another program's lock is no failure of the disk: changes wait for it, however long it takes.
#[tokio::test]
async fn another_programs_lock_is_waited_for() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    let disk = database(&place);
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let registry = place.registry().clone();
    let mut opening = tokio::spawn(async move { registry.enter(None, browser()).await });
    // Twice as long as the writer lets SQLite wait before it asks again: one that took that for a failure would have ended
    // the opening with it by now.
    let waited = timeout(Duration::from_millis(1_300), &mut opening).await;
    assert!(waited.is_err(), "{waited:?}");
    disk.execute_batch("ROLLBACK").unwrap();
    assert!(opening.await.unwrap().is_ok());
    assert!(place.admin().ready().await.is_ok());
}

/// A closing whose begin is on disk and whose end cannot be written is under way: neither closed nor undone.
#[tokio::test]
async fn a_closing_whose_end_fails_is_still_begun() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    let disk = database(&place);
    let trigger =
        "CREATE TRIGGER broken BEFORE UPDATE ON closings BEGIN SELECT RAISE(ABORT, 'broken'); END";
    disk.execute_batch(trigger).unwrap();
    let outcome = place.admin().close(id, operator()).await.unwrap();
    assert!(place.registry().finish_begun().await.is_err());
    assert_eq!(
        (outcome.outcome, outcome.initiated),
        (Ending::Closing, true)
    );
    assert!(matches!(
        place.admin().ready().await,
        Err(Error::Unavailable(_))
    ));
    disk.execute_batch("DROP TRIGGER broken").unwrap();
    let place = crate::places::Durable::restart(place).await;
    assert!(!place.is_live(&token).await);
    place.registry().finish_begun().await.unwrap();
    assert_eq!(place.close(id).await.cause, Some(Cause::Command));
}

#[tokio::test]
async fn the_rows_of_closed_sessions_are_removed() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    let (kept, _) = place.enter().await;
    for _ in 0..5 {
        let (id, _) = place.enter().await;
        place.admin().drop_session(id, operator()).await.unwrap();
    }
    place
        .registry()
        .store()
        .flush(Timestamp::EPOCH)
        .await
        .unwrap();
    let disk = database(&place);
    let ids: Vec<[u8; 16]> = {
        let mut select = disk.prepare("SELECT id FROM sessions").unwrap();
        select
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    };
    assert_eq!(ids, [*kept.as_bytes()]);
}

/// S23: after a failed commit nothing is acknowledged and nobody is let in; a restart reads what is there.
#[tokio::test]
async fn a_failed_commit_stops_all_acknowledgements() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    let (id, token) = place.enter().await;
    let (other, other_token) = place.enter().await;
    place
        .registry()
        .store()
        .flush(Timestamp::EPOCH)
        .await
        .unwrap();
    let disk = database(&place);
    disk.execute_batch("ALTER TABLE closings RENAME TO stolen")
        .unwrap();
    assert!(matches!(
        place.admin().close(id, operator()).await,
        Err(Error::Unconfirmed(_))
    ));
    assert!(matches!(
        place.web().check(&token, None, true).await,
        Err(Error::Unavailable(_))
    ));
    assert!(matches!(
        place.web().check(&other_token, None, true).await,
        Err(Error::Unavailable(_))
    ));
    assert!(matches!(
        place.web().enter(None, browser()).await,
        Err(Error::Unavailable(_))
    ));
    assert!(matches!(
        place.admin().close(other, operator()).await,
        Err(Error::Unavailable(_))
    ));
    assert!(matches!(
        place.admin().list(Default::default()).await,
        Err(Error::Unavailable(_))
    ));
    assert!(matches!(
        place.admin().ready().await,
        Err(Error::Unavailable(_))
    ));
    disk.execute_batch("ALTER TABLE stolen RENAME TO closings")
        .unwrap();
    assert!(place.admin().ready().await.is_err(), "not by luck");
    let place = crate::places::Durable::restart(place).await;
    assert!(
        place.is_live(&token).await && place.is_live(&other_token).await,
        "the close was never acknowledged"
    );
    assert_eq!(
        place.admin().close(id, operator()).await.unwrap().outcome,
        Ending::Closing
    );
}

/// S03: neither the store nor its log holds a token in any form but its hash.
#[tokio::test]
async fn s03_no_token_is_at_rest() {
    let place = OnDisk::start(roomy(), Work::Regular).await;
    let (id, token) = place.enter().await;
    place.web().check(&token, None, true).await.unwrap();
    place
        .registry()
        .store()
        .flush(Timestamp::EPOCH)
        .await
        .unwrap();
    let (_, kept) = place.enter().await;
    place.close(id).await;
    let directory = place.registry().store().directory().path().to_owned();
    let everything: Vec<u8> = fs::read_dir(&directory)
        .unwrap()
        .flat_map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    let holds = |needle: &[u8]| {
        everything
            .windows(needle.len())
            .any(|window| window == needle)
    };
    for token in [&token, &kept] {
        let raw = base64_decode(token.expose());
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            holds(token.hash().as_bytes()),
            "the search finds what is there"
        );
        assert!(!holds(token.expose().as_bytes()) && !holds(&raw) && !holds(hex.as_bytes()));
    }
}

fn base64_decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap()
}

/// S46: whatever the umask is, and although the directory was there with a loose mode.
#[tokio::test]
async fn s46_the_directory_and_its_files_are_the_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let store = SqliteStore::open(
        DataDir::exclusive(directory.path(), true).unwrap(),
        Settings::default(),
    )
    .unwrap();
    store.health().await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.path()), 0o700);
    let files: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert!(
        files.len() >= 3,
        "the lock, the database, its log: {files:?}"
    );
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_directory_with_other_things_in_it_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(
        DataDir::exclusive(directory.path(), true),
        Err(DirectoryError::Foreign(_))
    ));
    let mode = fs::metadata(directory.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "and left as it is");
}

/// A file that happens to be called `lock` makes no store.
#[test]
fn somebody_elses_lock_file_is_left_alone() {
    for others in [&["lock"][..], &["lock", "thesis.txt"]] {
        let directory = tempfile::tempdir().unwrap();
        for name in others {
            fs::write(directory.path().join(name), "precious").unwrap();
        }
        let taken = DataDir::exclusive(directory.path(), true);
        assert!(
            matches!(taken, Err(DirectoryError::Foreign(_))),
            "{others:?}"
        );
        let lock = fs::read_to_string(directory.path().join("lock")).unwrap();
        assert_eq!(lock, "precious");
    }
    // What is no file is not even opened: reading a pipe would never end.
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("lock");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert!(matches!(
        DataDir::exclusive(directory.path(), true),
        Err(DirectoryError::Foreign(_))
    ));
}

#[test]
fn a_store_that_is_not_understood_is_refused_whole() {
    let directory = tempfile::tempdir().unwrap();
    drop(
        SqliteStore::open(
            DataDir::exclusive(directory.path(), true).unwrap(),
            Settings::default(),
        )
        .unwrap(),
    );
    let path = DataDir::shared(directory.path()).unwrap().database();
    let database = || Connection::open(&path).unwrap();
    database().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(
        open(directory.path()),
        Err(OpenError::NewerSchema { found: 99, .. })
    ));
    database().pragma_update(None, "user_version", 6).unwrap();
    assert!(open(directory.path()).is_ok());
    database().pragma_update(None, "application_id", 7).unwrap();
    assert!(matches!(
        open(directory.path()),
        Err(OpenError::NotAStore(_))
    ));
    fs::write(
        &path,
        b"years of work in another format, long enough to have a header of its own".repeat(9),
    )
    .unwrap();
    assert!(matches!(
        open(directory.path()),
        Err(OpenError::NotAStore(_))
    ));
}

/// One row of a time that cannot have come would end every session: time does not go back behind it.
#[tokio::test]
async fn a_time_that_cannot_have_come_is_damage() {
    for change in [
        "UPDATE closings SET closed_at = 29348345678901",
        "UPDATE sessions SET last_request_at = 29348345678901",
        "INSERT OR REPLACE INTO latest (only_row, instant, seq) VALUES (0, 29348345678901, 9)",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let place = Registry::new(
            SqliteStore::open(
                DataDir::exclusive(directory.path(), true).unwrap(),
                Settings::default(),
            )
            .unwrap(),
            Arc::new(ManualClock::at(crate::places::MONDAY.parse().unwrap())),
        );
        let id = place.enter(None, browser()).await.unwrap().visit.id;
        place.enter(None, browser()).await.unwrap();
        place.drop_session(id, operator()).await.unwrap();
        drop(place);
        let disk = Connection::open(directory.path().join("sessions.sqlite")).unwrap();
        assert!(disk.execute(change, []).unwrap() > 0, "{change}");
        drop(disk);
        assert!(
            matches!(open(directory.path()), Err(OpenError::Damaged { .. })),
            "{change}"
        );
    }
}

/// A row that says what no version says is damage, not a session without that property.
#[tokio::test]
async fn a_damaged_row_is_refused() {
    let place = OnDisk::start(roomy(), Work::ByHand).await;
    place.enter().await;
    let disk = database(&place);
    disk.execute("UPDATE sessions SET kind = 'weird'", [])
        .unwrap();
    let directory = place.registry().store().directory().path().to_owned();
    let kept = tempfile::tempdir().unwrap();
    fs::copy(
        directory.join("sessions.sqlite"),
        kept.path().join("sessions.sqlite"),
    )
    .unwrap();
    fs::copy(
        directory.join("sessions.sqlite-wal"),
        kept.path().join("sessions.sqlite-wal"),
    )
    .unwrap();
    assert!(matches!(
        SqliteStore::open(
            DataDir::exclusive(kept.path(), true).unwrap(),
            Settings::default()
        ),
        Err(OpenError::Sqlite { .. })
    ));
}
