//! Single calls of the server's that fail: a write or a sync, of the log or of the database, once or for good. The layer under
//! the server that lets them fail is `faults/faults.c`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::fail_closed::{Client, assert_it_is_told_once, assert_it_refuses, stop_failed};
use crate::sandbox::{Ran, Sandbox, Server};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What fails: calls of this kind on files whose name ends like this, so many from the first on.
#[derive(Clone, Copy, Debug)]
struct Fault {
    kind: &'static str,
    file: &'static str,
    errno: i32,
    first: u32,
    count: u32,
}

impl Fault {
    fn of(kind: &'static str, file: &'static str, errno: i32) -> Self {
        let (first, count) = (1, u32::MAX);
        Self {
            kind,
            file,
            errno,
            first,
            count,
        }
    }

    fn at_the(self, first: u32) -> Self {
        Self { first, ..self }
    }

    /// What the system does after a sync has failed: the next one succeeds, whatever became of the bytes.
    fn once(self) -> Self {
        Self { count: 1, ..self }
    }
}

/// A place whose server gets the faulty layer under it.
struct FaultyDisk {
    sandbox: Sandbox,
    layer: PathBuf,
    trigger: PathBuf,
}

impl FaultyDisk {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/faults.c");
        let layer = sandbox.path("faults.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&layer, &source])
            .args(["-ldl", "-lpthread"])
            .status()
            .expect("a C compiler");
        assert!(built.success(), "the faulty layer cannot be built");
        let trigger = sandbox.path("trigger");
        Self {
            sandbox,
            layer,
            trigger,
        }
    }

    fn serve(&self) -> Server {
        self.sandbox.start(self.command())
    }

    fn command(&self) -> Command {
        let mut command = self.sandbox.command(&["serve", "--web", "127.0.0.1:0"]);
        command
            .env("LD_PRELOAD", &self.layer)
            .env("FAULT_TRIGGER", &self.trigger);
        command
    }

    /// What a server says that cannot start. One that starts after all is ended, and not waited for.
    fn start_in_vain(&self) -> Ran {
        let mut command = self.command();
        let mut server = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap();
        if !said.is_empty() {
            server.kill().unwrap();
        }
        let ran = Ran::of(server.wait_with_output().unwrap());
        assert_eq!(said, "", "it serves");
        ran
    }

    fn fail(&self, fault: Fault) {
        let Fault {
            kind,
            file,
            errno,
            first,
            count,
        } = fault;
        let new = self.trigger.with_extension("new");
        fs::write(&new, format!("{kind} {file} {errno} {first} {count}\n")).unwrap();
        fs::rename(new, &self.trigger).unwrap();
    }

    fn mend(&self) {
        fs::remove_file(&self.trigger).unwrap();
    }

    /// How many calls have failed.
    fn failures(&self) -> usize {
        fs::read(self.trigger.with_extension("failed")).map_or(0, |bytes| bytes.len())
    }
}

/// What a session is asked to become.
#[derive(Clone, Copy, Debug)]
enum Change {
    Open,
    Close,
    LogIn,
    Variable,
    Lock,
}

const CHANGES: [Change; 5] = [
    Change::Open,
    Change::Close,
    Change::LogIn,
    Change::Variable,
    Change::Lock,
];

impl Change {
    /// Asks for it, and holds the answer to what is not known.
    fn is_unconfirmed(self, disk: &FaultyDisk, server: &Server, target: &Client) {
        let id = &target.id;
        let (method, path, body) = match self {
            Self::Close => {
                let ran = disk.sandbox.run(&["close-session", id]);
                assert_eq!((ran.code, ran.stdout.as_str()), (9, ""), "{}", ran.stderr);
                let unknown = format!("whether {id} was closed is unknown");
                assert!(ran.stderr.contains(&unknown), "{}", ran.stderr);
                let look = format!("restart the server, then: sessionctl show {id}\n");
                assert!(ran.stderr.ends_with(&look), "{}", ran.stderr);
                return;
            }
            Self::Open => ("POST", "/v1/sessions".into(), r#"{"user":"eve"}"#),
            Self::LogIn => (
                "POST",
                format!("/v1/sessions/{id}/login"),
                r#"{"user":"bob"}"#,
            ),
            Self::Variable => (
                "PUT",
                format!("/v1/sessions/{id}/processes/1/variables/new"),
                "1",
            ),
            Self::Lock => (
                "PUT",
                format!("/v1/sessions/{id}/processes/1/locks/Orders/2"),
                "",
            ),
        };
        let (status, text) = server.ask(method, &path, None, body);
        assert_eq!(status, 503, "{self:?}: {text}");
        assert!(text.contains("problem:unconfirmed"), "{self:?}: {text}");
    }

    /// Whether it was made, in every respect or in none.
    fn is_made(self, server: &Server, target: &Client) -> bool {
        let id = &target.id;
        let process = format!("/v1/sessions/{id}/processes/1");
        let look = |path: &str| server.ask("GET", path, None, "");
        let lets_in = target.check(server);
        match self {
            Self::Close => {
                let (shown, _) = look(&format!("/v1/sessions/{id}"));
                assert!(
                    matches!((shown, lets_in), (200, 200) | (410, 401)),
                    "{shown} {lets_in}"
                );
                shown == 410
            }
            Self::LogIn => {
                let (_, shown) = look(&format!("/v1/sessions/{id}"));
                let shown: Value = serde_json::from_str(&shown).unwrap();
                let user = shown["user"].as_str().unwrap().to_owned();
                assert!(
                    matches!((user.as_str(), lets_in), ("ana", 200) | ("bob", 401)),
                    "{user} {lets_in}"
                );
                user == "bob"
            }
            Self::Open => look("/v1/sessions").1.contains("eve"),
            Self::Variable => look(&format!("{process}/variables/new")).0 == 200,
            Self::Lock => look("/v1/locks").1.contains("Orders"),
        }
    }
}

/// What was acknowledged before anything failed.
struct Acknowledged {
    client: Client,
    closed: Client,
    locks: Value,
}

impl Acknowledged {
    fn make(disk: &FaultyDisk, server: &Server) -> Self {
        let (client, closed) = (Client::open(server), Client::open(server));
        server.put(&client.id, 1, "variables/cart", "[1,2]");
        server.put(&client.id, 1, "locks/Invoices/1", "");
        disk.sandbox.run(&["close-session", &closed.id]).ok();
        let locks = Self::locks(server);
        Self {
            client,
            closed,
            locks,
        }
    }

    fn locks(server: &Server) -> Value {
        let (_, text) = server.ask("GET", "/v1/locks?table=Invoices", None, "");
        let locks: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(locks["items"].as_array().map(Vec::len), Some(1), "{text}");
        locks["items"].clone()
    }

    fn assert_kept(&self, server: &Server) {
        assert_eq!(
            (self.client.check(server), self.closed.check(server)),
            (200, 401)
        );
        let path = format!("/v1/sessions/{}/processes/1/variables/cart", self.client.id);
        assert_eq!(server.ask("GET", &path, None, ""), (200, "[1,2]".into()));
        assert_eq!(Self::locks(server), self.locks, "with its fence");
    }
}

/// One fault under one change: it is not acknowledged, nothing is after it, not even when the fault is gone; a restart knows
/// everything that was acknowledged. Answers whether the change was made after all.
fn is_made_after_all(fault: Fault, change: Change) -> bool {
    let disk = FaultyDisk::new();
    let server = disk.serve();
    let acknowledged = Acknowledged::make(&disk, &server);
    let target = Client::open(&server);
    disk.fail(fault);
    change.is_unconfirmed(&disk, &server, &target);
    assert!(disk.failures() > 0, "{fault:?} under {change:?} never came");
    let ready = || server.get("/readyz", &[]).unwrap().0;
    assert_eq!((target.check(&server), ready()), (503, 503));
    disk.mend();
    assert_it_refuses(&disk.sandbox, &server, &acknowledged.client);
    assert_it_is_told_once(&disk.sandbox, "");
    stop_failed(server);
    let server = disk.sandbox.serve(&[]);
    acknowledged.assert_kept(&server);
    let is_made = change.is_made(&server, &target);
    disk.sandbox.run(&["close-session", &target.id]).ok();
    assert_eq!(target.check(&server), 401, "it goes on as ever");
    is_made
}

/// The log lacks what it needs for the change to be read from it.
#[test]
fn a_log_that_cannot_be_written_stops_the_server() {
    for change in CHANGES {
        let is_made = is_made_after_all(Fault::of("write", "-wal", EIO), change);
        assert!(!is_made, "{change:?} was made of nothing");
    }
}

/// The least change is a page, which takes two writes.
#[test]
fn a_log_that_has_room_for_half_a_change_stops_the_server() {
    for change in CHANGES {
        let is_made = is_made_after_all(Fault::of("write", "-wal", ENOSPC).at_the(2), change);
        assert!(!is_made, "{change:?} was made of a half");
    }
}

/// Whether the disk has it is not known, so both are right; that a second sync would succeed is not to be relied on.
#[test]
fn a_log_that_cannot_be_synced_once_stops_the_server() {
    for change in CHANGES {
        is_made_after_all(Fault::of("sync", "-wal", EIO).once(), change);
    }
}

#[test]
fn a_log_that_cannot_be_synced_any_more_stops_the_server() {
    is_made_after_all(Fault::of("sync", "-wal", ENOSPC), Change::Close);
}

/// More than it takes until the log goes into the database.
const MANY: u32 = 400;

/// A value of some pages, of which each differs from those of the value before: what stays as it is would not be written.
fn large(number: u32) -> String {
    let letter = if number.is_multiple_of(2) { "x" } else { "y" };
    json!(format!("{number}:{}", letter.repeat(60_000))).to_string()
}

/// Changes of some pages each, until one is not acknowledged.
fn write_until_refused(server: &Server, client: &Client) -> u32 {
    let path = format!("/v1/sessions/{}/processes/1/variables/large", client.id);
    for number in 0..MANY {
        match server.ask("PUT", &path, None, &large(number)) {
            (204, _) => {}
            (status, text) => {
                assert_eq!(status, 503, "{text}");
                assert!(text.contains("problem:unconfirmed"), "{text}");
                return number;
            }
        }
    }
    panic!("all {MANY} were acknowledged");
}

/// SQLite itself would go on: its log is whole. It is the same disk.
#[test]
fn a_database_that_does_not_take_the_log_stops_the_server() {
    for fault in [
        Fault::of("write", "sessions.sqlite", EIO),
        Fault::of("write", "sessions.sqlite", ENOSPC).at_the(2),
        Fault::of("sync", "sessions.sqlite", EIO).once(),
    ] {
        let disk = FaultyDisk::new();
        let server = disk.serve();
        let acknowledged = Acknowledged::make(&disk, &server);
        let client = Client::open(&server);
        disk.fail(fault);
        let refused = write_until_refused(&server, &client);
        assert!(disk.failures() > 0, "{fault:?} never came");
        assert!(refused > 0, "the first change fills no log");
        disk.mend();
        assert_it_refuses(&disk.sandbox, &server, &client);
        assert_it_is_told_once(&disk.sandbox, "");
        stop_failed(server);
        let server = disk.sandbox.serve(&[]);
        acknowledged.assert_kept(&server);
        let path = format!("/v1/sessions/{}/processes/1/variables/large", client.id);
        let (_, text) = server.ask("GET", &path, None, "");
        let number: u32 = text[1..].split(':').next().unwrap().parse().unwrap();
        assert!(
            number + 1 >= refused,
            "{number} of {refused}: an acknowledged one is lost"
        );
    }
}

/// Without the faults it goes into the database, and nobody is refused.
#[test]
fn a_log_goes_into_the_database_in_time() {
    let disk = FaultyDisk::new();
    let server = disk.serve();
    let client = Client::open(&server);
    let path = format!("/v1/sessions/{}/processes/1/variables/large", client.id);
    for number in 0..MANY {
        assert_eq!(server.ask("PUT", &path, None, &large(number)).0, 204);
    }
    let log = fs::metadata(disk.sandbox.data().join("sessions.sqlite-wal")).unwrap();
    // A third of what was written, at least 15 pages each time.
    assert!(log.len() < 8_000_000, "{} bytes", log.len());
}

/// What cannot be written at the start is not served, and keeps nothing from a later start.
#[test]
fn a_server_does_not_start_on_a_faulty_disk() {
    let disk = FaultyDisk::new();
    let server = disk.serve();
    let acknowledged = Acknowledged::make(&disk, &server);
    server.signal("KILL");
    drop(server);
    for fault in [
        Fault::of("write", "-wal", EIO),
        Fault::of("sync", "-wal", EIO),
        Fault::of("write", "sessions.sqlite", EIO),
        Fault::of("sync", "sessions.sqlite", EIO),
        Fault::of("truncate", "-wal", EIO),
        Fault::of("write", "lock", ENOSPC),
    ] {
        let before = disk.failures();
        disk.fail(fault);
        let ran = disk.start_in_vain();
        disk.mend();
        assert!(disk.failures() > before, "{fault:?} never came");
        assert_eq!(ran.code, 78, "{fault:?}: {}", ran.stderr);
        let server = disk.serve();
        acknowledged.assert_kept(&server);
        // Its log stays for the next one.
        server.signal("KILL");
    }
}
