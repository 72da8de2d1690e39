//! A store whose files were cut, lost or exchanged: it is refused, or it is right; nothing between (S11, S12).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use sessionctl::admin::{Actor, Admin, EndRequest, ListQuery};
use sessionctl::application::Application as _;
use sessionctl::clock::ManualClock;
use sessionctl::error::Error;
use sessionctl::registry::Registry;
use sessionctl::session::SessionId;
use sessionctl::store::directory::{DataDir, DirectoryError};
use sessionctl::store::sqlite::{OpenError, SqliteStore, back_up, check};
use tempfile::TempDir;

use crate::contexts::{first, json, name};
use crate::places::{MONDAY, browser, roomy};
use crate::random_changes::Random;

/// What was acknowledged.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    live: BTreeSet<SessionId>,
    closed: BTreeSet<SessionId>,
}

fn open(directory: &Path) -> Result<Registry<SqliteStore>, OpenError> {
    let clock = ManualClock::at(MONDAY.parse().unwrap());
    let store = SqliteStore::open(DataDir::exclusive(directory, true)?, roomy().into())?;
    Ok(Registry::new(store, Arc::new(clock)))
}

/// Opens, fills and closes sessions.
async fn live_on(registry: &Registry<SqliteStore>, count: usize, told: &mut Told) {
    for number in 0..count {
        let opened = Admin::open(registry, browser()).await.unwrap();
        let id = opened.session.id;
        told.live.insert(id);
        let value = json(&format!("\"{}\"", "v".repeat(300)));
        let at = first(id);
        registry
            .set_variable(at, name("cart"), Some(value))
            .await
            .unwrap();
        if number % 3 == 0 {
            registry
                .drop_session(id, EndRequest::by(Actor::user(0)))
                .await
                .unwrap();
            told.live.remove(&id);
            told.closed.insert(id);
        }
    }
}

async fn found(registry: &Registry<SqliteStore>, all: &Told) -> Told {
    let page = registry.list(ListQuery::default()).await.unwrap();
    let live = page.items.iter().map(|session| session.id).collect();
    let mut closed = BTreeSet::new();
    for id in all.live.iter().chain(&all.closed) {
        if let Err(Error::Closed(_)) = registry.show(*id).await {
            closed.insert(*id);
        }
    }
    Told { live, closed }
}

fn copy(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        // What is shared by those who have it open is made anew.
        if !entry.file_name().to_str().unwrap().ends_with("-shm") {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

/// Cuts a file of copies of a directory in many places; answers how many were refused.
async fn cut(directory: &Path, file: &str, told: &Told, random: &mut Random) -> usize {
    let length = fs::metadata(directory.join(file)).unwrap().len();
    let mut cuts: Vec<u64> = (0..60).map(|_| random.below(length)).collect();
    // Where pages end, a file looks whole; and an empty one like a new store.
    cuts.extend([
        0,
        1,
        100,
        4_096,
        8_192,
        length / 4_096 / 2 * 4_096,
        length - 1,
    ]);
    let mut refused = 0;
    for at in cuts {
        let copy = copy(directory);
        let cut = File::options().write(true).open(copy.path().join(file));
        cut.unwrap().set_len(at).unwrap();
        match open(copy.path()) {
            Err(
                OpenError::Sqlite { .. }
                | OpenError::NotAStore(_)
                | OpenError::Damaged { .. }
                | OpenError::AnotherStore(_)
                | OpenError::LostChanges { .. },
            ) => refused += 1,
            Err(error) => panic!("cut at {at}: {error}"),
            Ok(registry) => assert_eq!(found(&registry, told).await, *told, "cut at {at}"),
        }
    }
    refused
}

#[tokio::test]
async fn s11_a_store_that_was_cut_is_refused_or_right() {
    let directory = tempfile::tempdir().unwrap();
    let mut told = Told {
        live: BTreeSet::new(),
        closed: BTreeSet::new(),
    };
    let mut random = Random(11);
    let registry = open(directory.path()).unwrap();
    live_on(&registry, 40, &mut told).await;
    // As after a kill: everything is in the log.
    let killed = copy(directory.path());
    assert!(cut(killed.path(), "sessions.sqlite-wal", &told, &mut random).await > 40);
    cut(killed.path(), "sessions.sqlite", &told, &mut random).await;
    // As after a stop, and then a kill: some in the database, some in the log.
    drop(registry);
    assert!(cut(directory.path(), "sessions.sqlite", &told, &mut random).await > 40);
    let registry = open(directory.path()).unwrap();
    live_on(&registry, 10, &mut told).await;
    let killed = copy(directory.path());
    assert!(cut(killed.path(), "sessions.sqlite-wal", &told, &mut random).await > 40);
    assert!(cut(killed.path(), "sessions.sqlite", &told, &mut random).await > 40);
    // What only guards the others says nothing when it was cut.
    for length in [0, 1, 33, 70] {
        let copy = copy(killed.path());
        let mark = File::options()
            .write(true)
            .open(copy.path().join("acknowledged"));
        mark.unwrap().set_len(length).unwrap();
        let registry = open(copy.path()).unwrap();
        assert_eq!(found(&registry, &told).await, told);
    }
}

/// A page that was lost and found again in an older state looks like a page: only the whole shows that it does not fit.
#[tokio::test]
async fn s11_a_page_of_another_time_is_refused_or_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let mut told = Told {
        live: BTreeSet::new(),
        closed: BTreeSet::new(),
    };
    let registry = open(directory.path()).unwrap();
    live_on(&registry, 60, &mut told).await;
    drop(registry);
    let before = copy(directory.path());
    let registry = open(directory.path()).unwrap();
    live_on(&registry, 60, &mut told).await;
    drop(registry);
    let old = fs::read(before.path().join("sessions.sqlite")).unwrap();
    let new = fs::read(directory.path().join("sessions.sqlite")).unwrap();
    let mut refused = 0;
    for page in 1..old.len() / 4_096 {
        let at = page * 4_096..(page + 1) * 4_096;
        if old[at.clone()] == new[at.clone()] {
            continue;
        }
        let copy = copy(directory.path());
        let mut mixed = new.clone();
        mixed[at.clone()].copy_from_slice(&old[at]);
        fs::write(copy.path().join("sessions.sqlite"), mixed).unwrap();
        match open(copy.path()) {
            Err(_) => refused += 1,
            Ok(registry) => {
                let found = found(&registry, &told).await;
                assert!(found.live.is_disjoint(&told.closed), "page {page}");
            }
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn s12_an_older_copy_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut told = Told {
        live: BTreeSet::new(),
        closed: BTreeSet::new(),
    };
    let registry = open(directory.path()).unwrap();
    live_on(&registry, 5, &mut told).await;
    drop(registry);
    let yesterday = copy(directory.path());
    let registry = open(directory.path()).unwrap();
    live_on(&registry, 5, &mut told).await;
    drop(registry);
    let database = directory.path().join("sessions.sqlite");
    fs::copy(yesterday.path().join("sessions.sqlite"), &database).unwrap();
    let looking = DataDir::shared(directory.path()).unwrap();
    assert!(matches!(
        SqliteStore::open_read_only(looking),
        Err(OpenError::LostChanges { .. })
    ));
    assert!(matches!(
        open(directory.path()),
        Err(OpenError::LostChanges { .. })
    ));
    // Another store in its place is none of ours.
    let other = tempfile::tempdir().unwrap();
    drop(open(other.path()).unwrap());
    fs::copy(other.path().join("sessions.sqlite"), &database).unwrap();
    assert!(matches!(
        open(directory.path()),
        Err(OpenError::AnotherStore(_))
    ));
    // An empty one is not a new one, for nobody.
    File::create(&database).unwrap();
    let looking = || SqliteStore::open_read_only(DataDir::shared(directory.path()).unwrap());
    assert!(matches!(looking(), Err(OpenError::AnotherStore(_))));
    assert!(!check(&database).unwrap().is_whole());
    assert!(back_up(&database, &directory.path().join("backup")).is_err());
    assert!(matches!(
        open(directory.path()),
        Err(OpenError::AnotherStore(_))
    ));
    // And none at all is not a new one.
    fs::remove_file(&database).unwrap();
    assert!(matches!(
        open(directory.path()),
        Err(OpenError::Directory(DirectoryError::Lost(_)))
    ));
    assert!(matches!(
        DataDir::shared(directory.path()),
        Err(DirectoryError::Lost(_))
    ));
}
