//! How a server dies: with kill -9 while it works, while it starts, while it does what the one before has left, and while it
//! stops; now and then it stops in peace.

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::random_changes::Random;
use crate::sandbox::{Sandbox, Server, send};

/// How often a server died how.
#[derive(Debug, Default)]
pub(crate) struct Deaths {
    /// Before it was ready.
    pub(crate) starting: usize,
    /// Soon after it was ready, with nobody but those whose end was pending.
    pub(crate) alone: usize,
    /// After it was told to stop.
    pub(crate) stopping: usize,
    /// By itself, as it was told to.
    pub(crate) in_peace: usize,
}

impl Deaths {
    /// Ends a server under its clients' hands.
    pub(crate) fn end(&mut self, server: &mut Server, random: &mut Random, can_stop: bool) {
        match random.below(8) {
            0 | 1 => {
                server.signal("TERM");
                pause(random, 30);
                server.signal("KILL");
                match server.stopped() {
                    Some(code) => {
                        assert_eq!(code, 0, "it was told to stop");
                        self.in_peace += 1;
                    }
                    None => self.stopping += 1,
                }
            }
            2 if can_stop => {
                server.signal("TERM");
                assert_eq!(server.stopped(), Some(0), "it was told to stop");
                self.in_peace += 1;
            }
            _ => {
                server.signal("KILL");
                assert_eq!(server.stopped(), None, "it was killed");
            }
        }
    }

    /// Starts a server that does not live until somebody comes. `start_up` is what another one took for its start.
    pub(crate) fn start_and_end(
        &mut self,
        sandbox: &Sandbox,
        arguments: &[&str],
        random: &mut Random,
        start_up: Duration,
    ) {
        if random.below(3) == 0 {
            let server = sandbox.serve(arguments);
            // For methods that are pending, and for what is due.
            pause(random, 80);
            drop(server);
            self.alone += 1;
            return;
        }
        let arguments = [&["serve", "--web", "127.0.0.1:0"], arguments].concat();
        let mut command = sandbox.command(&arguments);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let longest = u64::try_from(start_up.as_millis()).unwrap() + 1;
        pause(random, longest);
        send("KILL", child.id());
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), None, "it could not start");
        let mut told = String::new();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_to_string(&mut told).unwrap();
        match told.contains("ready") {
            true => self.alone += 1,
            false => self.starting += 1,
        }
    }
}

/// Waits for less than so many milliseconds, and lets whoever is to be surprised go on.
pub(crate) fn pause(random: &mut Random, longest: u64) {
    std::thread::sleep(Duration::from_millis(random.below(longest)));
}

/// Keeps a server from committing: whatever it tells of from here on, before it is killed, was on disk before.
pub(crate) fn stall(sandbox: &Sandbox) -> Connection {
    let disk = Connection::open(sandbox.data().join("sessions.sqlite")).unwrap();
    // The log is for the next server to read, not for whoever lets go last.
    let kept = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    disk.set_db_config(kept, true).unwrap();
    disk.busy_timeout(Duration::from_secs(5)).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    disk
}
