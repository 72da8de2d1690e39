//! A server that stands still (`kill -STOP`) while clients wait: their time ends, what they say of it is true, and what the
//! server does when it goes on makes nothing untrue that anybody was told.

use std::process::{Child, Command, Stdio};
use std::thread;

use crate::fail_closed::Client;
use crate::sandbox::{Ran, Sandbox, Server, wait_for};

/// A server that stands still; goes on when this goes out of scope, also where the test fails: the threads that read from it
/// are waited for.
struct Stopped<'a>(&'a Server);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let pid = self.0.pid().to_string();
        let _ = Command::new("kill").args(["-CONT", &pid]).status();
    }
}

#[test]
fn who_waits_for_a_server_that_stands_still_says_what_is_not_known() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let (closed, kept) = (Client::open(&server), Client::open(&server));
    let told = Client::open(&server);
    sandbox.run(&["close-session", &told.id]).ok();
    server.signal("STOP");
    let begin = |arguments: &[&str]| -> Child {
        let mut command = sandbox.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let commands = [
        (begin(&["list"]), 7),
        (begin(&["show", &kept.id]), 7),
        (begin(&["ping"]), 7),
        (begin(&["close-session", "--no-wait", &closed.id]), 9),
        (begin(&["open-session"]), 9),
    ];
    let (still_live, still_closed) = thread::scope(|threads| {
        let stopped = Stopped(&server);
        let live = threads.spawn(|| kept.check(&server));
        let dead = threads.spawn(|| told.check(&server));
        for (command, code) in commands {
            let ran = Ran::of(command.wait_with_output().unwrap());
            assert_eq!(
                (ran.code, ran.stdout.as_str()),
                (code, ""),
                "{}",
                ran.stderr
            );
            let says = match code {
                7 => "no answer came from the server",
                _ => "unknown",
            };
            assert!(
                ran.stderr.contains(says) && ran.stderr.contains("try:"),
                "{}",
                ran.stderr
            );
        }
        assert!(
            !live.is_finished() && !dead.is_finished(),
            "it does not stand still"
        );
        drop(stopped);
        (live.join().unwrap(), dead.join().unwrap())
    });
    assert_eq!(
        (still_live, still_closed),
        (200, 401),
        "those who still waited"
    );
    sandbox.run(&["ping"]).ok();
    // Unknown was the word: it may have been done, or never be. From now on it does not change without anybody's doing.
    let outcome = wait_for("the end of what was begun", || {
        let status = server
            .ask("GET", &format!("/v1/sessions/{}", closed.id), None, "")
            .0;
        let is_open = closed.check(&server) == 200;
        match (status, is_open) {
            (200, true) => Some("open"),
            (410, false) => Some("closed"),
            _ => None,
        }
    });
    let again = sandbox.run(&["close-session", &closed.id]).ok();
    match outcome {
        "open" => assert!(again.starts_with("closed "), "{again}"),
        _ => assert!(again.starts_with("already closed "), "{again}"),
    }
    assert_eq!((kept.check(&server), told.check(&server)), (200, 401));
}
