//! A store that cannot be relied on any more: the server says so to everybody, believes nothing again by luck, and after a
//! restart everything that was acknowledged is there. Here the directory is lost or full; `faulty_disk` breaks single calls.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::sandbox::{Ran, Sandbox, Server, wait_for};

/// A session that an application opened, and the cookie of its client.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) cookie: String,
}

impl Client {
    pub(crate) fn open(server: &Server) -> Self {
        let (status, text) = server.ask("POST", "/v1/sessions", None, r#"{"user":"ana"}"#);
        assert_eq!(status, 201, "{text}");
        let opened: Value = serde_json::from_str(&text).unwrap();
        let cookie = opened["set_cookie"].as_str().unwrap();
        Self {
            id: opened["session"]["id"].as_str().unwrap().to_owned(),
            cookie: cookie.split(';').next().unwrap().to_owned(),
        }
    }

    /// What a proxy is told that asks whether to let the client in.
    pub(crate) fn check(&self, server: &Server) -> u16 {
        let answer = server.get("/check", &[("Cookie", &self.cookie)]);
        answer.expect("an answer").0
    }
}

/// The status of `/readyz`, on both listeners.
fn ready(server: &Server) -> (u16, u16) {
    let web = server.get("/readyz", &[]).expect("an answer").0;
    (web, server.ask("GET", "/readyz", None, "").0)
}

/// Waits until the server notices what has happened to its directory.
pub(crate) fn wait_until_it_refuses(server: &Server) {
    wait_for("the refusal", || {
        (server.get("/readyz", &[])?.0 == 503).then_some(())
    });
}

/// Nobody is let in, nothing is told, nothing is done, and every command says so with the code that belongs to it.
pub(crate) fn assert_it_refuses(sandbox: &Sandbox, server: &Server, client: &Client) {
    assert_eq!(ready(server), (503, 503));
    assert_eq!(client.check(server), 503);
    for headers in [&[][..], &[("Cookie", client.cookie.as_str())]] {
        let (status, head, _) = server.get("/session", headers).expect("an answer");
        assert_eq!(status, 503);
        assert!(!head.contains("set-cookie"), "{head}");
    }
    let ran = sandbox.run(&["ping"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (10, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("it acknowledges nothing"), "{ran:?}");
    let id = client.id.as_str();
    for command in [
        &["list"][..],
        &["show", id],
        &["history"],
        &["history", "show", id],
        &["locks"],
        &["stats"],
        &["options", "list"],
        &["options", "set", "max_sessions", "50"],
        &["open-session"],
        &["close-session", id],
        &["drop-session", id],
    ] {
        let Ran {
            code,
            stdout,
            stderr,
        } = sandbox.run(command);
        assert_eq!((code, stdout.as_str()), (6, ""), "{command:?}: {stderr}");
        let advice = "look into the server's log for the disk error, mend it, restart the server";
        assert!(stderr.contains(advice), "{command:?}: {stderr}");
    }
}

/// The log has one line of what has happened, however many requests came after it.
pub(crate) fn assert_it_is_told_once(sandbox: &Sandbox, cause: &str) {
    let log = sandbox.read("log");
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    let [line] = errors[..] else {
        panic!("one error in {log}");
    };
    assert!(
        line.contains("nothing is acknowledged") && line.contains("restart the server"),
        "{line}"
    );
    assert!(line.contains(cause), "{line}");
}

/// Stops a server that has ceased to acknowledge: it cannot say that all is well.
pub(crate) fn stop_failed(mut server: Server) {
    server.signal("TERM");
    assert!(server.wait().is_some_and(|code| code != 0));
}

const REPLACED: &str = "the data directory was removed or replaced while the server had it";

/// A server loses its directory by `lose`, and notices it although nobody asks it for anything.
fn loses(lose: impl FnOnce(&Path)) -> (Sandbox, Server, Client) {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let client = Client::open(&server);
    assert_eq!((ready(&server), client.check(&server)), ((200, 200), 200));
    lose(&sandbox.data());
    wait_until_it_refuses(&server);
    assert_it_refuses(&sandbox, &server, &client);
    (sandbox, server, client)
}

#[test]
fn a_directory_that_is_moved_away_is_not_written_to() {
    let (sandbox, server, client) =
        loses(|data| fs::rename(data, data.with_extension("away")).unwrap());
    assert_it_is_told_once(&sandbox, REPLACED);
    let away = sandbox.data().with_extension("away");
    fs::rename(away, sandbox.data()).unwrap();
    assert_it_refuses(&sandbox, &server, &client);
    stop_failed(server);
    let server = sandbox.serve(&[]);
    assert_eq!((ready(&server), client.check(&server)), ((200, 200), 200));
}

#[test]
fn a_directory_that_is_removed_is_missed() {
    let (sandbox, server, _) = loses(|data| fs::remove_dir_all(data).unwrap());
    assert_it_is_told_once(&sandbox, REPLACED);
    stop_failed(server);
    assert!(!sandbox.data().exists(), "made anew at the end");
}

/// Each of the files alone is as good as all of them: what is acknowledged has to be found by who opens them by name.
#[test]
fn a_single_file_that_is_removed_is_missed() {
    for file in [
        "sessions.sqlite",
        "sessions.sqlite-wal",
        "sessions.sqlite-shm",
        "lock",
    ] {
        let (sandbox, server, _) = loses(|data| fs::remove_file(data.join(file)).unwrap());
        assert_it_is_told_once(&sandbox, file);
        stop_failed(server);
        assert!(!sandbox.data().join(file).exists(), "{file} made anew");
    }
}

/// SQLite removes its log by the name when it ends in order. After a failure that is not for it to do.
#[test]
fn a_file_that_is_cut_is_missed() {
    for name in ["sessions.sqlite", "sessions.sqlite-wal"] {
        let (sandbox, server, client) = loses(|directory| {
            let file = fs::File::options().write(true).open(directory.join(name));
            file.unwrap().set_len(100).unwrap();
        });
        assert_it_refuses(&sandbox, &server, &client);
        assert_it_is_told_once(&sandbox, "was cut while the server had it");
        stop_failed(server);
    }
}

#[test]
fn a_log_that_is_replaced_is_left_alone() {
    let log = |data: &Path| data.join("sessions.sqlite-wal");
    let (sandbox, server, _) = loses(|data| {
        fs::rename(log(data), data.join("away")).unwrap();
        fs::write(log(data), "precious").unwrap();
    });
    assert_it_is_told_once(&sandbox, REPLACED);
    stop_failed(server);
    assert_eq!(
        fs::read_to_string(log(&sandbox.data())).unwrap(),
        "precious"
    );
}

/// The copy has the same bytes under the same names, and is not what the server has.
#[test]
fn a_directory_in_whose_place_a_copy_comes_is_missed() {
    let (sandbox, server, _) = loses(|data| {
        let away = data.with_extension("away");
        fs::rename(data, &away).unwrap();
        copy(&away, data);
    });
    assert_it_is_told_once(&sandbox, REPLACED);
    let before = content(&sandbox.data());
    stop_failed(server);
    assert_eq!(content(&sandbox.data()), before, "the end has changed it");
}

/// What is not to be looked into any more is not taken for unchanged.
#[test]
fn a_directory_that_cannot_be_entered_is_missed() {
    let (sandbox, server, _) = loses(|data| {
        fs::rename(data, data.with_extension("away")).unwrap();
        symlink(data, data).unwrap();
    });
    assert_it_is_told_once(
        &sandbox,
        "the data directory cannot be looked into any more",
    );
    stop_failed(server);
}

/// Another server may have the place by then. The old one neither writes into what is its, nor removes its files.
#[test]
fn the_next_server_of_the_place_is_left_alone() {
    let sandbox = Sandbox::new();
    let old = sandbox.serve(&[]);
    Client::open(&old);
    fs::rename(sandbox.data(), sandbox.data().with_extension("away")).unwrap();
    let socket = format!("unix:{}", sandbox.path("second.sock").display());
    let new = sandbox.serve(&["--admin", &socket]);
    let client = Client::open(&new);
    wait_until_it_refuses(&old);
    let before = content(&sandbox.data());
    stop_failed(old);
    assert_eq!(content(&sandbox.data()), before);
    assert_eq!((ready(&new), client.check(&new)), ((200, 200), 200));
    Client::open(&new);
    let ran = sandbox.run(&["--local", sandbox.data().to_str().unwrap(), "list"]);
    assert_eq!(
        ran.code, 6,
        "the new one still has its lock: {}",
        ran.stderr
    );
}

/// Not one answer is given for a change that went into a lost directory, also not within the moment before it is noticed.
#[test]
fn what_is_written_into_a_lost_directory_is_not_acknowledged() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let client = Client::open(&server);
    fs::rename(sandbox.data(), sandbox.data().with_extension("away")).unwrap();
    let ran = sandbox.run(&["close-session", &client.id]);
    // Noticed by the commit: unconfirmed. Noticed by then: not done.
    assert!(
        matches!(ran.code, 9 | 6) && ran.stdout.is_empty(),
        "{ran:?}"
    );
    assert_it_refuses(&sandbox, &server, &client);
}

/// Whoever waits for something that comes no more is told within moments, not when its time is over.
#[test]
fn who_waits_is_told_soon() {
    let sandbox = Sandbox::new();
    let method = sandbox.script("method", "echo > called; exec sleep 60");
    let server = sandbox.serve(&["--on-close", &method]);
    let (polled, holder) = (Client::open(&server), Client::open(&server));
    let closing = Client::open(&server);
    server.put(&holder.id, 1, "locks/Invoices/1", "");
    let poll = format!("/v1/sessions/{}/processes/1?wait=60s", polled.id);
    let queue = format!(
        "/v1/sessions/{}/processes/1/locks/Invoices/1?wait=60s",
        polled.id
    );
    let closer = sandbox
        .command(&["close-session", "--wait", "60s", &closing.id])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the method", || {
        sandbox.path("called").exists().then_some(())
    });
    let lose = || {
        wait_for("the waiting", || {
            let (_, text) = server.ask("GET", "/v1/locks", None, "");
            text.contains(r#""waiting":1"#).then_some(())
        });
        fs::rename(sandbox.data(), sandbox.data().with_extension("away")).unwrap();
        Instant::now()
    };
    let (polled, queued, lost_at) = std::thread::scope(|threads| {
        let polled = threads.spawn(|| server.ask("GET", &poll, None, "").0);
        let queued = threads.spawn(|| server.ask("PUT", &queue, None, "").0);
        let lost_at = lose();
        (polled.join().unwrap(), queued.join().unwrap(), lost_at)
    });
    assert_eq!((polled, queued), (503, 503));
    let ran = Ran::of(closer.wait_with_output().unwrap());
    // It was acknowledged as begun: that it is closing stays true, and nothing else is said.
    assert_eq!(
        (ran.code, ran.stdout),
        (8, format!("closing {} (ana)\n", closing.id))
    );
    assert!(
        ran.stderr.contains("has its store failed?"),
        "{}",
        ran.stderr
    );
    // A tenth of what they would have waited, and sooner than they look by themselves.
    assert!(lost_at.elapsed().as_secs() < 6, "{:?}", lost_at.elapsed());
    stop_failed(server);
}

/// The names of a directory's files with what they hold.
fn content(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(directory).unwrap();
    let mut content: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    content.sort();
    content
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for (path, bytes) in content(from) {
        fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
    }
}

/// A small file system in memory; gone at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"])
            .arg(&path)
            .output()
            .expect("the command mount");
        assert!(
            mounted.status.success(),
            "this test fills a small file system, which it has to mount: run it as root ({})",
            String::from_utf8_lossy(&mounted.stderr).trim()
        );
        Self(path)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves no room for anything.
    fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        for size in [65_536, 4_096, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while a server that a failed test leaves still has it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A full disk: what does not fit is not told, and room alone makes nobody believed again.
#[test]
fn a_full_disk_acknowledges_nothing_until_a_restart() {
    let sandbox = Sandbox::new();
    let disk = SmallDisk::mount(sandbox.data());
    let server = sandbox.serve(&[]);
    let client = Client::open(&server);
    server.put(&client.id, 1, "variables/cart", "[1,2]");
    disk.fill();
    let path = format!("/v1/sessions/{}/processes/1/variables/cart", client.id);
    // The log may have some room of its own left.
    let body = json!("x".repeat(30_000)).to_string();
    let (status, text) = server.ask("PUT", &path, None, &body);
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("problem:unconfirmed"), "{text}");
    assert_it_refuses(&sandbox, &server, &client);
    assert_it_is_told_once(&sandbox, "full");
    fs::remove_file(disk.filler()).unwrap();
    assert_it_refuses(&sandbox, &server, &client);
    stop_failed(server);
    let server = sandbox.serve(&[]);
    assert_eq!((ready(&server), client.check(&server)), ((200, 200), 200));
    let (_, cart) = server.ask("GET", &path, None, "");
    assert_eq!(cart, "[1,2]");
    server.put(&client.id, 1, "variables/cart", "[3]");
}
