//! kill -9 while sessions are opened and closed: what was acknowledged is true after the restart (C03, C17, S09, S11).

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sandbox::{Sandbox, Server, request};

/// Threads that open and close at the same time.
const CLIENTS: usize = 6;

/// Kills.
const ROUNDS: u64 = 8;

/// What became of one session before the server was killed.
struct Story {
    cookie: String,
    close: Close,
}

enum Close {
    /// Nobody asked for it: it must be live.
    NotAsked,
    /// Asked, but no answer came: it may be either.
    Unanswered,
    /// Answered: it must be refused, now and for ever.
    Acknowledged,
}

fn open(server: &Server) -> Option<(String, String)> {
    let mut stream = std::net::TcpStream::connect(server.web.trim_start_matches("http://")).ok()?;
    use std::io::{Read as _, Write as _};
    stream
        .write_all(b"GET /session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let cookie = answer
        .split_once("set-cookie: ")?
        .1
        .split(';')
        .next()?
        .to_owned();
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    Some((body["id"].as_str()?.to_owned(), cookie))
}

fn close(server: &Server, bearer: &str, id: &str, body: &str) -> Close {
    let length = body.len().to_string();
    let headers = [
        ("Authorization", bearer),
        ("Content-Type", "application/json"),
        ("Content-Length", &length),
    ];
    match request(
        &server.admin,
        "POST",
        &format!("/v1/sessions/{id}/close"),
        &headers,
        body,
    ) {
        Some((200 | 202, _, body)) if body.contains("\"initiated\":true") => Close::Acknowledged,
        Some((status, _, body)) => panic!("{status} {body}"),
        None => Close::Unanswered,
    }
}

/// Opens sessions, closes two of three, until the server is gone.
fn work(server: &Server, bearer: &str, stop: &AtomicBool) -> Vec<Story> {
    let mut stories = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Some((id, cookie)) = open(server) else {
            continue;
        };
        let close = match stories.len() % 3 {
            0 => Close::NotAsked,
            1 => close(server, bearer, &id, "{}"),
            _ => close(server, bearer, &id, r#"{"wait":5000}"#),
        };
        stories.push(Story { cookie, close });
    }
    stories
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let sandbox = Sandbox::new();
    let token_file = sandbox.path("token");
    let arguments = [
        "--admin",
        "127.0.0.1:0",
        "--admin-token-file",
        token_file.to_str().unwrap(),
        "--max-sessions",
        "1000000",
        "--open-rate",
        "off",
    ];
    let mut stories = Vec::new();
    for round in 0..ROUNDS {
        let server = sandbox.serve(&arguments);
        let bearer = format!("Bearer {}", fs::read_to_string(&token_file).unwrap().trim());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| scope.spawn(|| work(&server, &bearer, &stop)))
                .collect();
            // The kill comes at another moment of the work in each round; the length proves nothing by itself.
            std::thread::sleep(Duration::from_millis(60 + 37 * round));
            server.signal("KILL");
            stop.store(true, Ordering::Relaxed);
            for client in clients {
                stories.extend(client.join().unwrap());
            }
        });
        drop(server);
        check(&sandbox.serve(&arguments), &stories);
    }
    let closed = stories
        .iter()
        .filter(|story| matches!(story.close, Close::Acknowledged))
        .count();
    assert!(
        closed > 20 && stories.len() > closed + 20,
        "{closed} of {}: too little was tried",
        stories.len()
    );
}

fn check(server: &Server, stories: &[Story]) {
    for Story { cookie, close } in stories {
        let (status, ..) = server
            .get("/check", &[("Cookie", cookie)])
            .expect("an answer");
        match close {
            Close::NotAsked => assert_eq!(status, 200, "an acknowledged session is gone"),
            Close::Acknowledged => assert_eq!(status, 401, "a closed session came back"),
            Close::Unanswered => assert!(status == 200 || status == 401),
        }
    }
}

/// Keys that a method has kept.
fn keys(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// C09, S41: the method of every closing that was acknowledged runs, at least once, whenever the server is killed.
#[test]
fn s41_every_on_close_key_is_seen_after_kill_9() {
    let sandbox = Sandbox::new();
    let (token_file, kept) = (sandbox.path("token"), sandbox.path("keys"));
    let script = sandbox.path("on-close");
    let lines = format!(
        "#!/bin/sh\ncat > /dev/null\necho \"$SESSIONCTL_ON_CLOSE\" >> {}\n",
        kept.display()
    );
    fs::write(&script, lines).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let arguments = [
        "--admin",
        "127.0.0.1:0",
        "--admin-token-file",
        token_file.to_str().unwrap(),
        "--on-close",
        script.to_str().unwrap(),
        "--max-sessions",
        "1000000",
        "--open-rate",
        "off",
    ];
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let server = sandbox.serve(&arguments);
        let bearer = format!("Bearer {}", fs::read_to_string(&token_file).unwrap().trim());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let closing = scope.spawn(|| close_some(&server, &bearer, &stop));
            std::thread::sleep(Duration::from_millis(80 + 41 * round));
            server.signal("KILL");
            stop.store(true, Ordering::Relaxed);
            acknowledged.extend(closing.join().unwrap());
        });
    }
    assert!(
        acknowledged.len() > 20,
        "{}: too little was tried",
        acknowledged.len()
    );
    let server = sandbox.serve(&arguments);
    let mut missing = Vec::new();
    for _ in 0..600 {
        let seen: HashSet<String> = keys(&kept).into_iter().collect();
        missing = acknowledged
            .iter()
            .filter(|id| !seen.contains(&format!("{id}/1")))
            .collect();
        if missing.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(missing.is_empty(), "never ran: {missing:?}");
    // What runs now is done: nothing is left that would run once more.
    let count = || {
        sandbox
            .run(&[
                "stats",
                "-o",
                "json",
                "--server",
                &server.admin,
                "--token-file",
                token_file.to_str().unwrap(),
            ])
            .ok()
    };
    for _ in 0..200 {
        if count().contains("\"closing\":0") {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(count().contains("\"closing\":0"), "{}", count());
}

/// Opens and closes until the server is gone; answers the closes that were acknowledged.
fn close_some(server: &Server, bearer: &str, stop: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Some((id, _)) = open(server) else {
            continue;
        };
        let body = if acknowledged.len() % 2 == 0 {
            "{}"
        } else {
            r#"{"wait":5000}"#
        };
        if matches!(close(server, bearer, &id, body), Close::Acknowledged) {
            acknowledged.push(id);
        }
    }
    acknowledged
}
