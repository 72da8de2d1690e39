//! The answer comes after the sync: read from what the built server asks of the system, as strace sees it.

use std::fs;
use std::process::Command;

use crate::fail_closed::Client;
use crate::sandbox::{Sandbox, Server, wait_for};

/// The calls by which requests come, answers go, and the disk is written.
const CALLS: &str =
    "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync";

/// Enough of a call's bytes to recognise a request and an answer.
const BYTES: &str = "256";

/// A call from its begin to its return, in lines of the trace.
#[derive(Debug)]
struct Call<'a> {
    begun: usize,
    returned: usize,
    name: &'a str,
    /// Its arguments, the file descriptor with what it stands for first.
    arguments: String,
    succeeded: bool,
}

impl Call<'_> {
    fn descriptor(&self) -> &str {
        self.arguments
            .split_once(['>', ','])
            .map_or(&*self.arguments, |(first, _)| first)
    }

    fn is_of(&self, file: &str) -> bool {
        self.descriptor().ends_with(file)
    }

    fn is_write(&self) -> bool {
        matches!(
            self.name,
            "write" | "writev" | "sendto" | "sendmsg" | "pwrite64"
        )
    }

    fn is_read(&self) -> bool {
        matches!(self.name, "read" | "readv" | "recvfrom" | "recvmsg")
    }

    fn is_sync(&self) -> bool {
        matches!(self.name, "fsync" | "fdatasync") && self.succeeded
    }
}

/// The calls of a trace of several threads, those whose begin and return are lines of their own put together.
fn calls(trace: &str) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    let mut unfinished: Vec<(&str, usize, &str)> = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            unfinished.push((thread, number, begin));
            continue;
        }
        let (begun, text) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let is_its = |(whose, ..): &(&str, usize, &str)| *whose == thread;
                let (Some(at), Some((_, end))) = (
                    unfinished.iter().position(is_its),
                    resumed.split_once(" resumed>"),
                ) else {
                    continue;
                };
                let (_, begun, begin) = unfinished.remove(at);
                (begun, (begin, end.to_owned()))
            }
            None => (number, (rest, String::new())),
        };
        let whole = format!("{}{}", text.0, text.1);
        let Some((name, _)) = text.0.split_once('(') else {
            continue;
        };
        let Some((arguments, result)) = whole[name.len() + 1..].rsplit_once(" = ") else {
            continue;
        };
        calls.push(Call {
            begun,
            returned: number,
            name,
            arguments: arguments.to_owned(),
            succeeded: !result.starts_with('-') && !result.starts_with('?'),
        });
    }
    calls
}

/// Holds a trace to the rule for the request that has this in its first line: it is read, then the log is written, then
/// synced, and when that has returned, the answer is begun.
fn answered_after_the_sync(trace: &str, request: &str) -> Result<(), String> {
    let calls = calls(trace);
    let read = calls
        .iter()
        .find(|call| call.is_read() && call.succeeded && call.arguments.contains(request))
        .ok_or("no request was read")?;
    let answer = calls
        .iter()
        .filter(|call| call.begun > read.returned && call.is_write())
        .find(|call| call.descriptor() == read.descriptor() && call.arguments.contains("HTTP/1.1 "))
        .ok_or("no answer was written")?;
    if !answer.arguments.contains("HTTP/1.1 2") {
        return Err(format!("a refusal: {}", answer.arguments));
    }
    let written = calls
        .iter()
        .find(|call| call.begun > read.returned && call.is_write() && call.is_of("-wal"))
        .ok_or("the log was not written")?;
    calls
        .iter()
        .filter(|call| call.is_sync() && call.is_of("-wal"))
        .find(|call| call.begun > written.returned && call.returned < answer.begun)
        .map(drop)
        .ok_or_else(|| "the answer did not wait for a sync of the log".into())
}

/// A server under the eyes of strace.
fn watched(sandbox: &Sandbox) -> Server {
    let served = sandbox.command(&["serve", "--web", "127.0.0.1:0"]);
    let mut command = Command::new("strace");
    // The server, not strace, is the process that is started: it is stopped like any other.
    command.args(["-D", "-f", "-q", "-y", "-s", BYTES, "-e", CALLS, "-o"]);
    command.arg(sandbox.path("trace")).arg("--");
    command.arg(served.get_program()).args(served.get_args());
    command.env_clear().envs(
        served
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command.current_dir(served.get_current_dir().unwrap());
    sandbox.start(command)
}

fn trace(sandbox: &Sandbox) -> String {
    String::from_utf8_lossy(&fs::read(sandbox.path("trace")).unwrap_or_default()).into_owned()
}

#[test]
fn every_change_is_synced_before_it_is_answered() {
    let sandbox = Sandbox::new();
    let server = watched(&sandbox);
    let client = Client::open(&server);
    let session = format!("/v1/sessions/{}", client.id);
    let changes = [
        ("POST", format!("{session}/login"), r#"{"user":"bob"}"#),
        (
            "PUT",
            format!("{session}/processes/1/variables/cart"),
            "[1,2]",
        ),
        ("PUT", format!("{session}/processes/1/locks/Invoices/1"), ""),
        ("POST", format!("{session}/close"), r#"{"wait":15000}"#),
    ];
    for (method, path, body) in &changes {
        let (status, text) = server.ask(method, path, None, body);
        assert!((200..300).contains(&status), "{path}: {status} {text}");
    }
    let (status, ..) = server.get("/session", &[]).expect("an answer");
    assert_eq!(status, 200);
    let mut requests = vec![
        "POST /v1/sessions HTTP".to_owned(),
        "GET /session HTTP".to_owned(),
    ];
    requests.extend(
        changes
            .iter()
            .map(|(method, path, _)| format!("{method} {path} HTTP")),
    );
    for request in requests {
        // strace writes a moment after it has seen.
        let held = wait_for(&request, || {
            match answered_after_the_sync(&trace(&sandbox), &request) {
                Err(text) if text.starts_with("no ") => None,
                held => Some(held),
            }
        });
        assert_eq!(held, Ok(()), "{request}");
    }
    // What changes nothing waits for no disk: the rule is not held by everything that is answered.
    let (status, _) = server.ask("GET", "/v1/stats", None, "");
    assert_eq!(status, 200);
    let looked = wait_for("a look", || {
        match answered_after_the_sync(&trace(&sandbox), "GET /v1/stats HTTP") {
            Err(text) if text.starts_with("no ") => None,
            held => Some(held),
        }
    });
    assert!(looked.is_err(), "{looked:?}");
}

/// What is read from a log may never have come to the disk, after a sync that failed: it goes there before anybody is
/// told of it.
#[test]
fn what_a_restart_finds_in_the_log_is_synced_before_it_serves() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    Client::open(&server);
    server.signal("KILL");
    drop(server);
    let log = sandbox.data().join("sessions.sqlite-wal");
    assert!(fs::metadata(log).unwrap().len() > 0);
    let _server = watched(&sandbox);
    let is_ready = |call: &Call<'_>| call.name == "write" && call.arguments.contains("\"web http");
    let trace = wait_for("the trace", || {
        let trace = trace(&sandbox);
        let is_whole = calls(&trace).iter().any(is_ready);
        is_whole.then_some(trace)
    });
    let calls = calls(&trace);
    let ready = calls.iter().find(|call| is_ready(call)).unwrap();
    let written = calls
        .iter()
        .find(|call| call.is_write() && call.is_of("sessions.sqlite"))
        .expect("the database was not written");
    let synced = calls.iter().find(|call| {
        call.is_sync() && call.is_of("sessions.sqlite") && call.begun > written.returned
    });
    assert!(synced.expect("the database was not synced").returned < ready.begun);
}

mod made_up {
    use super::*;

    const READ: &str =
        r#"11  recvfrom(9<socket:[5]>, "PUT /x HTTP/1.1\r\n", 8192, 0, NULL, NULL) = 17"#;
    const WRITTEN: &str = r#"12  pwrite64(6</d/sessions.sqlite-wal>, "\0\1"..., 4096, 32) = 4096"#;
    const SYNCED: &str = "12  fdatasync(6</d/sessions.sqlite-wal>) = 0";
    const ANSWERED: &str =
        r#"11  writev(9<socket:[5]>, [{iov_base="HTTP/1.1 200 OK\r\n", iov_len=17}], 1) = 17"#;

    fn held(lines: &[&str]) -> Result<(), String> {
        answered_after_the_sync(&lines.join("\n"), "PUT /x HTTP")
    }

    #[test]
    fn a_right_order_is_right() {
        assert_eq!(held(&[READ, WRITTEN, SYNCED, ANSWERED]), Ok(()));
        let in_between = [
            "11  recvfrom(9<socket:[5]>, <unfinished ...>",
            r#"12  write(6</d/sessions.sqlite-wal>, "\0"..., 4096) = 4096"#,
            r#"11  <... recvfrom resumed>"PUT /x HTTP/1.1\r\n", 8192, 0, NULL, NULL) = 17"#,
            WRITTEN,
            "12  fsync(6</d/sessions.sqlite-wal> <unfinished ...>",
            r#"13  read(8<socket:[4]>, "GET /y HTTP/1.1\r\n", 8192) = 17"#,
            "12  <... fsync resumed>)              = 0",
            r#"11  sendto(9<socket:[5]>, "HTTP/1.1 204 No Content\r\n", 25, MSG_NOSIGNAL, NULL, 0) = 25"#,
        ];
        assert_eq!(held(&in_between), Ok(()));
    }

    #[test]
    fn an_answer_before_the_sync_is_seen() {
        let late = "the answer did not wait for a sync of the log";
        for lines in [
            // Nothing is synced at all, or only afterwards.
            &[READ, WRITTEN, ANSWERED][..],
            &[READ, WRITTEN, ANSWERED, SYNCED],
            // Before what is to be synced.
            &[SYNCED, READ, WRITTEN, ANSWERED],
            &[READ, SYNCED, WRITTEN, ANSWERED],
            // Another file; without success; no end to it in time.
            &[
                READ,
                WRITTEN,
                "12  fdatasync(5</d/sessions.sqlite>) = 0",
                ANSWERED,
            ],
            &[
                READ,
                WRITTEN,
                "12  fdatasync(7</d/sessions.sqlite-wal.old>) = 0",
                ANSWERED,
            ],
            &[
                READ,
                WRITTEN,
                "12  fdatasync(6</d/sessions.sqlite-wal>) = -1 EIO (Input/output error)",
                ANSWERED,
            ],
            &[
                READ,
                WRITTEN,
                "12  fdatasync(6</d/sessions.sqlite-wal> <unfinished ...>",
                ANSWERED,
                "12  <... fdatasync resumed>) = 0",
            ],
            // The answer is begun before, and only its return comes after.
            &[
                READ,
                WRITTEN,
                r#"11  write(9<socket:[5]>, "HTTP/1.1 200 OK\r\n", 17 <unfinished ...>"#,
                SYNCED,
                "11  <... write resumed>) = 17",
            ],
        ] {
            assert_eq!(held(lines), Err(late.into()), "{lines:#?}");
        }
    }

    #[test]
    fn a_trace_without_its_parts_is_not_right() {
        assert_eq!(
            held(&[WRITTEN, SYNCED, ANSWERED]),
            Err("no request was read".into())
        );
        assert_eq!(
            held(&[READ, SYNCED, ANSWERED]),
            Err("the log was not written".into())
        );
        assert_eq!(
            held(&[WRITTEN, READ, SYNCED, ANSWERED]),
            Err("the log was not written".into())
        );
        assert_eq!(
            held(&[READ, WRITTEN, SYNCED]),
            Err("no answer was written".into())
        );
        // Somebody else's answer is not this one's.
        let of_another = ANSWERED.replace("9<socket:[5]>", "8<socket:[4]>");
        assert_eq!(
            held(&[READ, WRITTEN, SYNCED, &of_another]),
            Err("no answer was written".into())
        );
        let refused = ANSWERED.replace("200 OK", "503 Service Unavailable");
        assert!(
            held(&[READ, WRITTEN, SYNCED, &refused])
                .is_err_and(|text| text.starts_with("a refusal"))
        );
    }
}
