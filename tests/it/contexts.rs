//! What tests of closings need: sessions with something in them, a script as the on-close method, waiting for what comes
//! without being asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use sessionctl::admin::{Admin as _, LockQuery, OpenRequest};
use sessionctl::application::{Application as _, At};
use sessionctl::context::{Json, Name, Record, Selection};
use sessionctl::error::Error;
use sessionctl::on_close::{Invocation, Method};
use sessionctl::options::Options;
use sessionctl::registry::OnClose;
use sessionctl::session::{HeldLock, Kind, ProcessNumber, SessionId, State};
use tempfile::TempDir;

use crate::places::{Place, Work, browser, roomy};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A shell script as the on-close method, in a directory of its own where it may write.
pub(crate) struct Script {
    directory: TempDir,
}

impl Script {
    pub(crate) fn new(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("on-close");
        let home = directory.path().display();
        fs::write(&path, format!("#!/bin/sh\ncd {home}\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self { directory }
    }

    pub(crate) fn on_close(&self) -> OnClose {
        let path = std::env::var_os("PATH").unwrap();
        OnClose {
            method: Method::Program {
                path: self.path("on-close"),
                arguments: vec!["argument one".into()],
            },
            environment: vec![("PATH".into(), path)],
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The documents that `cat >> documents; echo >> documents` has kept.
    pub(crate) fn documents(&self) -> Vec<Invocation> {
        let text = self.read("documents");
        let lines = text.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// Waits until it has run so many times.
    pub(crate) async fn runs(&self, count: usize) {
        until("so many runs", async || {
            (self.documents().len() == count).then_some(())
        })
        .await;
    }
}

/// Keeps the documents, one to a line.
pub(crate) const KEEP: &str = "d=$(cat); printf '%s\\n' \"$d\" >> documents";

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn json(text: &str) -> Json {
    Json::new(text).unwrap()
}

pub(crate) fn invoice(number: &str) -> Record {
    Record {
        table: name("Invoices"),
        record: name(number),
    }
}

pub(crate) fn selection(records: &[&str]) -> Selection {
    Selection {
        table: name("Invoices"),
        records: records.iter().map(|record| name(record)).collect(),
    }
}

pub(crate) fn process(id: SessionId, number: u32) -> At {
    At {
        id,
        process: ProcessNumber(number),
    }
}

pub(crate) fn first(id: SessionId) -> At {
    process(id, 1)
}

pub(crate) fn mobile() -> OpenRequest {
    OpenRequest {
        kind: Kind::Mobile,
        user: Some("ana".into()),
        ..browser()
    }
}

pub(crate) async fn open_mobile<P: Place>(place: &P, processes: u32) -> SessionId {
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
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..2_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} never came");
}

/// Nothing that waits for an event comes so soon if nobody tells of it: whoever waits looks again after 10 s at the earliest.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(5 * SECOND, what)
        .await
        .expect("at once, and not after its wait")
}

pub(crate) async fn held_locks<P: Place>(place: &P) -> Vec<HeldLock> {
    let query = LockQuery::default();
    place.admin().locks(query).await.unwrap().items
}

/// Waits until so many wait for a record.
pub(crate) async fn queued<P: Place>(place: &P, record: &Record, count: u32) {
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

pub(crate) async fn open_as<P: Place>(place: &P, user: &str) -> SessionId {
    let request = OpenRequest {
        user: Some(user.into()),
        ..browser()
    };
    place.app().open(request).await.unwrap().session.id
}

pub(crate) async fn put<P: Place>(place: &P, at: At, variable: &str, value: &str) {
    place
        .app()
        .set_variable(at, name(variable), Some(json(value)))
        .await
        .unwrap();
}

pub(crate) async fn fill<P: Place>(place: &P, at: At) {
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

pub(crate) async fn save<P: Place>(options: Options) -> P {
    let on_close = OnClose {
        method: Method::Save,
        ..OnClose::default()
    };
    P::start_calling(on_close, options, Work::Regular).await
}

pub(crate) async fn closed<P: Place>(place: &P, id: SessionId) {
    until("the end", async || {
        matches!(place.admin().show(id).await, Err(Error::Closed(_))).then_some(())
    })
    .await;
}

pub(crate) fn an_hour() -> Options {
    Options {
        inactive_session_timeout: Duration::from_secs(3600),
        inactive_process_timeout: Duration::from_secs(3600),
        ..roomy()
    }
}

pub(crate) fn suspending() -> Options {
    Options {
        inactive_process_timeout: Duration::from_secs(600),
        inactive_session_timeout: Duration::from_secs(7200),
        ..roomy()
    }
}

pub(crate) async fn suspended<P: Place>(place: &P, id: SessionId) {
    until("the suspension", async || {
        let details = place.admin().show(id).await.unwrap();
        (details.session.state == State::Suspended && details.processes.is_empty()).then_some(())
    })
    .await;
}
