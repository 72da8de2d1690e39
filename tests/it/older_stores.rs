//! Stores of every older schema, as their version wrote them: looked at as they are, migrated by whoever changes them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rusqlite::Connection;
use sessionctl::admin::HistoryQuery;
use sessionctl::clock::Timestamp;
use sessionctl::options::Settings;
use sessionctl::session::{Cause, SessionId, State};
use sessionctl::store::directory::DataDir;
use sessionctl::store::sqlite::SqliteStore;
use sessionctl::store::{Claim, Found, Store, Work};
use tempfile::TempDir;

/// The steps of the schema as they were. They never change: stores of these versions are out there.
const STEPS: [&str; 3] = [
    "
    CREATE TABLE sessions (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        token_hash BLOB NOT NULL,
        kind TEXT NOT NULL,
        mode TEXT NOT NULL,
        user TEXT,
        ip TEXT,
        user_agent TEXT,
        created_at INTEGER NOT NULL,
        login_at INTEGER,
        last_request_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE closings (
        seq INTEGER PRIMARY KEY,
        session_seq INTEGER NOT NULL,
        id BLOB NOT NULL,
        user TEXT,
        cause TEXT NOT NULL,
        reason TEXT,
        actor TEXT NOT NULL,
        request_id BLOB,
        begun_at INTEGER NOT NULL,
        closed_at INTEGER,
        end_seq INTEGER,
        drop_reason TEXT,
        drop_actor TEXT,
        drop_request_id BLOB
    ) STRICT;
",
    "
    -- What the last server was started with: a command without a server goes by it.
    CREATE TABLE served_with (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE sessions ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN suspended_at INTEGER;
    UPDATE sessions SET confirmed = 1 WHERE last_request_at > created_at;
    -- What the last server was started with (file, flag), and what was set since (run_time), as it is typed.
    CREATE TABLE options (
        name TEXT NOT NULL,
        origin TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (name, origin)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO options SELECT 'cookie_secure', 'flag', iif(value, 'on', 'off') FROM served_with WHERE name = 'secure_cookie';
    INSERT INTO options SELECT name, 'flag', CAST(value AS TEXT) FROM served_with WHERE name = 'max_sessions';
    INSERT INTO options SELECT name, 'flag', value || 'ms' FROM served_with WHERE name LIKE '%_timeout';
    DROP TABLE served_with;
    -- That this instant had come: time does not go back behind it.
    CREATE TABLE latest (only_row INTEGER PRIMARY KEY CHECK (only_row = 0), instant INTEGER NOT NULL) STRICT;
",
];

/// What the first three schemas have in common: a live session, one whose closing had begun, a closed one.
const ROWS: &str = "
    INSERT INTO sessions (seq, id, token_hash, kind, mode, user, ip, user_agent, created_at, login_at, last_request_at) VALUES
        (1, x'000102030405460788090a0b0c0d0e01', zeroblob(32), 'web', 'legacy', 'ana', '192.0.2.7', 'agent', 1764000000000, 1764000000000, 1764000001000),
        (2, x'000102030405460788090a0b0c0d0e02', x'0202020202020202020202020202020202020202020202020202020202020202', 'web', 'legacy', NULL, NULL, NULL, 1764000000000, NULL, 1764000000000);
    INSERT INTO closings (seq, session_seq, id, user, cause, reason, actor, request_id, begun_at, closed_at, end_seq) VALUES
        (4, 2, x'000102030405460788090a0b0c0d0e02', NULL, 'command', 'why', 'uid:0', NULL, 1764000002000, NULL, NULL),
        (5, 3, x'000102030405460788090a0b0c0d0e03', 'bob', 'inactive', NULL, 'server', NULL, 1764000003000, 1764000003500, 6);
";

fn id(last: u8) -> SessionId {
    format!("000102030405460788090a0b0c0d0e{last:02}")
        .parse()
        .unwrap()
}

fn store_of(version: usize) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let old = Connection::open(directory.path().join("sessions.sqlite")).unwrap();
    for step in &STEPS[..1] {
        old.execute_batch(step).unwrap();
    }
    old.execute_batch(ROWS).unwrap();
    if version >= 2 {
        old.execute_batch(STEPS[1]).unwrap();
        let served_with = "INSERT INTO served_with VALUES ('max_sessions', 7), ('secure_cookie', 0), ('inactive_session_timeout', 5400000)";
        old.execute_batch(served_with).unwrap();
    }
    if version >= 3 {
        old.execute_batch(STEPS[2]).unwrap();
    }
    old.pragma_update(None, "user_version", i64::try_from(version).unwrap())
        .unwrap();
    old.pragma_update(None, "application_id", 0x5345_5353)
        .unwrap();
    fs::write(directory.path().join("lock"), "").unwrap();
    directory
}

async fn check(store: &SqliteStore) {
    let now = Timestamp::from_millis(1_764_000_010_000);
    let Found::Open(session, None, _) = store.find(id(1), now).await.unwrap() else {
        panic!("it is open")
    };
    assert_eq!(
        (
            session.state,
            session.process_count,
            session.user.as_deref()
        ),
        (State::Active, 1, Some("ana"))
    );
    let closing = store.find(id(2), now).await.unwrap();
    assert!(
        matches!(closing, Found::Open(_, Some(Cause::Command), _)),
        "{closing:?}"
    );
    assert!(matches!(
        store.find(id(3), now).await.unwrap(),
        Found::Closed(..)
    ));
    let history = store.history(HistoryQuery::default(), None).await.unwrap();
    let [entry] = &history.items[..] else {
        panic!("{history:?}")
    };
    assert_eq!(
        (entry.id, entry.cause, entry.user.as_deref()),
        (id(3), Cause::Inactive, Some("bob"))
    );
    assert_eq!(
        (entry.kind, entry.created_at, entry.on_close.len()),
        (None, None, 0),
        "nothing is made up"
    );
    assert_eq!(entry.closed_at, Timestamp::from_millis(1_764_000_003_500));
}

#[tokio::test]
async fn an_older_store_is_read_and_migrated() {
    for version in 1..=STEPS.len() {
        let directory = store_of(version);
        let file = directory.path().join("sessions.sqlite");
        let before = fs::read(&file).unwrap();
        let looked = SqliteStore::open_read_only(DataDir::shared(directory.path()).unwrap());
        check(&looked.unwrap()).await;
        assert!(
            fs::read(&file).unwrap() == before,
            "looking changes nothing"
        );
        let data = DataDir::exclusive(directory.path(), false).unwrap();
        let changed = SqliteStore::open_as_served(data).unwrap();
        check(&changed).await;
        let settings = changed.settings().unwrap();
        let options = settings.options();
        let kept = (
            options.max_sessions,
            options.cookie_secure,
            options.inactive_session_timeout,
        );
        let expected = match version {
            1 => (100, true, Duration::from_secs(480 * 60)),
            _ => (7, false, Duration::from_secs(90 * 60)),
        };
        assert_eq!(kept, expected);
        drop(changed);
        // A closing that an older version had begun goes on, with its one process.
        let data = DataDir::exclusive(directory.path(), false).unwrap();
        let served = SqliteStore::open(data, Settings::default()).unwrap();
        check(&served).await;
        let claim = Claim {
            until: Timestamp::from_millis(1_764_000_100_000),
            max: 8,
            runs: 8,
            has_method: true,
            only: None,
        };
        let work = served
            .claim(claim, Timestamp::from_millis(1_764_000_010_000))
            .await
            .unwrap();
        let [Work::Process(key, Some(document))] = &work[..] else {
            panic!("{work:?}")
        };
        assert_eq!((key.session, key.process.0), (id(2), 1));
        assert_eq!(
            (document.reason.as_deref(), document.actor.as_str()),
            (Some("why"), "uid:0")
        );
    }
}
