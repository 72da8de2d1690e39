//! `sessionctl store check`, `backup`, `restore`, and `serve --end-all-sessions`, on the built binary.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::{Ran, Sandbox, Server, wait_for};

/// Keeps the keys of its runs.
const KEEP_KEYS: &str = "cat > /dev/null; echo \"$SESSIONCTL_ON_CLOSE\" >> keys";

fn start(sandbox: &Sandbox) -> Server {
    let method = sandbox.script("on-close", KEEP_KEYS);
    sandbox.serve(&["--on-close", &method])
}

/// A stop that keeps everything.
fn stop(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

/// A browser's session as an application opens it: its id and its cookie.
fn opened(server: &Server) -> (String, String) {
    let (status, text) = server.ask("POST", "/v1/sessions", None, "{\"kind\":\"web\"}");
    assert_eq!(status, 201, "{text}");
    let opened: Value = serde_json::from_str(&text).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let cookie = text(&opened["set_cookie"]);
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (text(&opened["session"]["id"]), cookie)
}

fn check(server: &Server, cookie: &str) -> u16 {
    server.get("/check", &[("Cookie", cookie)]).unwrap().0
}

/// A server that must not start. One that does is ended, and its exit code says so.
fn refused_start(sandbox: &Sandbox) -> Ran {
    let mut command = sandbox.command(&["serve", "--web", "127.0.0.1:0"]);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    for _ in 0..500 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    Ran::of(child.wait_with_output().unwrap())
}

pub(crate) fn local(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let data = sandbox.data();
    sandbox.run(&[&["--local", data.to_str().unwrap()], arguments].concat())
}

fn backup(sandbox: &Sandbox, name: &str) -> String {
    let file = sandbox.path(name).to_str().unwrap().to_owned();
    let told = local(sandbox, &["store", "backup", &file]).ok();
    assert!(told.starts_with("backed up "), "{told}");
    file
}

pub(crate) fn restore(sandbox: &Sandbox, file: &str) -> Value {
    let arguments = ["-o", "json", "store", "restore", file, "--yes"];
    serde_json::from_str(&local(sandbox, &arguments).ok()).unwrap()
}

fn causes(sandbox: &Sandbox) -> Vec<(String, String)> {
    let told = local(sandbox, &["-o", "jsonl", "history"]).ok();
    let entry = |line: &str| {
        let entry: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        (text("id"), text("cause"))
    };
    told.lines().map(entry).collect()
}

pub(crate) fn check_whole(sandbox: &Sandbox) {
    let told = local(sandbox, &["store", "check"]);
    assert_eq!(
        (told.code, told.stderr.as_str()),
        (0, ""),
        "{}",
        told.stdout
    );
}

#[test]
fn s12_a_backup_over_later_closes_brings_nothing_closed_back() {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let [closed, kept, signed_in] = [(); 3].map(|()| opened(&server));
    server.put(&kept.0, 1, "variables/cart", "[1]");
    server.put(&kept.0, 1, "locks/Invoices/4711", "");
    let file = backup(&sandbox, "backup");
    sandbox.run(&["close-session", &closed.0]).ok();
    let newer = opened(&server);
    let path = format!("/v1/sessions/{}/login", signed_in.0);
    let (status, text) = server.ask("POST", &path, None, "{\"user\":\"ana\"}");
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let fresh = answer["set_cookie"].as_str().unwrap();
    let fresh = fresh.split(';').next().unwrap().to_owned();
    server.put(&kept.0, 1, "variables/cart", "[1,2]");
    let lock: Value =
        serde_json::from_str(&server.put(&kept.0, 1, "locks/Invoices/4712", "")).unwrap();
    check_whole(&sandbox);
    stop(server);
    let restored = restore(&sandbox, &file);
    assert_eq!(
        (&restored["live"], &restored["ended"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(restored["replaced"], Value::Null);
    check_whole(&sandbox);
    let server = start(&sandbox);
    assert_eq!(check(&server, &closed.1), 401, "it was closed");
    assert_eq!(check(&server, &kept.1), 200, "it lives on");
    assert_eq!(
        check(&server, &signed_in.1),
        401,
        "the log-in is not undone"
    );
    assert_eq!(check(&server, &fresh), 200);
    assert_eq!(check(&server, &newer.1), 401, "the backup does not know it");
    let path = format!("/v1/sessions/{}/processes/1/variables/cart", kept.0);
    assert_eq!(server.ask("GET", &path, None, ""), (200, "[1]".into()));
    let locks: Value = serde_json::from_str(&server.ask("GET", "/v1/locks", None, "").1).unwrap();
    assert_eq!(locks["items"].as_array().unwrap().len(), 2, "{locks}");
    let (other, _) = opened(&server);
    let next = server.put(&other, 1, "locks/Invoices/1", "");
    let next: Value = serde_json::from_str(&next).unwrap();
    assert!(next["fence"].as_u64() > lock["fence"].as_u64());
    let keys = wait_for("the method of what the backup does not know", || {
        let keys = sandbox.read("keys");
        (keys.lines().count() == 2).then_some(keys)
    });
    assert_eq!(
        keys,
        format!("{}/1\n{}/1\n", closed.0, newer.0),
        "once each"
    );
    stop(server);
    let causes = causes(&sandbox);
    assert_eq!(causes[0], (newer.0, "restored".into()));
    assert_eq!(causes[1], (closed.0, "command".into()));
}

#[test]
fn s12_a_backup_without_its_store_ends_every_session() {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let (one, other) = (opened(&server), opened(&server));
    let lock = server.put(&one.0, 1, "locks/Invoices/4711", "");
    let lock: Value = serde_json::from_str(&lock).unwrap();
    let file = backup(&sandbox, "backup");
    drop(server);
    fs::remove_dir_all(sandbox.data()).unwrap();
    let restored = restore(&sandbox, &file);
    assert_eq!(
        (&restored["live"], &restored["ended"]),
        (&json!(0), &json!(2))
    );
    check_whole(&sandbox);
    let server = start(&sandbox);
    for (_, cookie) in [&one, &other] {
        assert_eq!(check(&server, cookie), 401);
    }
    wait_for("the methods", || {
        (sandbox.read("keys").lines().count() == 2).then_some(())
    });
    let (next, _) = opened(&server);
    let next = server.put(&next, 1, "locks/Invoices/4711", "");
    let next: Value = serde_json::from_str(&next).unwrap();
    // More than a store can have given in between.
    assert!(next["fence"].as_u64().unwrap() > lock["fence"].as_u64().unwrap() + (1 << 31));
    stop(server);
    assert!(
        causes(&sandbox)
            .iter()
            .all(|(_, cause)| cause == "restored")
    );
    // What goes on from there is another store: the same backup ends everything once more.
    let sessions = local(&sandbox, &["list", "-o", "uuid"]).ok();
    assert_eq!(sessions.lines().count(), 1);
    let restored = restore(&sandbox, &file);
    assert_eq!(restored["ended"], 2);
    let replaced = restored["replaced"].as_str().unwrap();
    assert!(Path::new(replaced).join("sessions.sqlite").exists());
    check_whole(&sandbox);
}

/// A fence that a server gives now.
fn next_fence(server: &Server) -> u64 {
    let (id, _) = opened(server);
    let lock = server.put(&id, 1, &format!("locks/Invoices/{id}"), "");
    let lock: Value = serde_json::from_str(&lock).unwrap();
    lock["fence"].as_u64().unwrap()
}

#[test]
fn c17_fences_grow_over_every_life_of_a_backup() {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let mut last = next_fence(&server);
    let file = backup(&sandbox, "backup");
    drop(server);
    for _ in 0..3 {
        fs::remove_dir_all(sandbox.data()).unwrap();
        restore(&sandbox, &file);
        let server = start(&sandbox);
        let next = next_fence(&server);
        assert!(next > last, "{next} after {last}");
        last = next;
        stop(server);
    }
    let server = sandbox.serve(&["--end-all-sessions"]);
    assert!(next_fence(&server) > last);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn s12_a_store_that_is_older_than_the_backup_does_not_tell_what_was_closed() {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let (id, cookie) = opened(&server);
    stop(server);
    let older = sandbox.path("older");
    copy(&sandbox.data(), &older);
    let server = start(&sandbox);
    sandbox.run(&["close-session", &id]).ok();
    let (other, _) = opened(&server);
    let file = backup(&sandbox, "backup");
    stop(server);
    fs::remove_dir_all(sandbox.data()).unwrap();
    fs::rename(&older, sandbox.data()).unwrap();
    let restored = restore(&sandbox, &file);
    assert_eq!(
        (&restored["live"], &restored["ended"]),
        (&json!(0), &json!(1))
    );
    let server = start(&sandbox);
    assert_eq!(check(&server, &cookie), 401);
    stop(server);
    let causes = causes(&sandbox);
    assert!(causes.contains(&(other, "restored".into())), "{causes:?}");
    assert!(causes.contains(&(id, "command".into())), "{causes:?}");
}

/// The same copy put back twice, each with a life of its own, gives the same numbers to different sessions.
#[test]
fn s12_two_lives_of_one_copy_are_two_stores() {
    let sandbox = Sandbox::new();
    stop(start(&sandbox));
    let copied = sandbox.path("copied");
    copy(&sandbox.data(), &copied);
    let server = start(&sandbox);
    let (alice, _) = opened(&server);
    server.put(&alice, 1, "variables/card", "\"alice's\"");
    let file = backup(&sandbox, "backup");
    stop(server);
    fs::remove_dir_all(sandbox.data()).unwrap();
    fs::rename(&copied, sandbox.data()).unwrap();
    let server = start(&sandbox);
    let (bob, cookie) = opened(&server);
    opened(&server);
    stop(server);
    let restored = restore(&sandbox, &file);
    assert_eq!(restored["live"], 0);
    assert!(restored["replaced"].is_string(), "{restored}");
    let server = start(&sandbox);
    assert_eq!(check(&server, &cookie), 401);
    let path = format!("/v1/sessions/{bob}/processes/1/variables/card");
    assert_eq!(server.ask("GET", &path, None, "").0, 404);
}

#[test]
fn what_was_one_users_is_not_brought_back_for_another() {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let (id, _) = opened(&server);
    let login = |user: &str| {
        let body = json!({"user": user}).to_string();
        let (status, text) = server.ask("POST", &format!("/v1/sessions/{id}/login"), None, &body);
        assert_eq!(status, 200, "{text}");
    };
    login("alice");
    server.put(&id, 1, "variables/card", "\"alice's\"");
    let file = backup(&sandbox, "backup");
    login("bob");
    server.put(&id, 1, "variables/card", "\"bob's\"");
    stop(server);
    assert_eq!(restore(&sandbox, &file)["live"], 1);
    let server = start(&sandbox);
    let path = format!("/v1/sessions/{id}/processes/1/variables/card");
    assert_eq!(
        server.ask("GET", &path, None, ""),
        (200, "\"bob's\"".into())
    );
}

/// The last row of what a restore ends may leave its number nowhere else.
#[test]
fn a_restore_that_ends_processes_at_once_is_opened_again() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--closing-grace-period", "0s", "--on-close", "save"]);
    opened(&server);
    let file = backup(&sandbox, "backup");
    server.open_mobile("ana", 2);
    stop(server);
    assert_eq!(restore(&sandbox, &file)["ended"], 1);
    check_whole(&sandbox);
    stop(start(&sandbox));
}

/// Ends a command with kill -9 at its n-th call that moves, removes or syncs a file; whether it ended by itself.
fn killed_at(sandbox: &Sandbox, call: usize, arguments: &[&str]) -> bool {
    let calls = "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,fsync,fdatasync";
    let sessionctl = env!("CARGO_BIN_EXE_sessionctl");
    let status = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
        ])
        .args(["-e", &format!("inject={calls}:signal=KILL:when={call}")])
        .arg(sessionctl)
        .args(arguments)
        .env_clear()
        .env("HOME", sandbox.path("home"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace, which tests/run installs");
    status.code() == Some(0)
}

/// Kills a restore over a store at each of its steps in turn: then the store is refused, or as it was, or restored; never is
/// what was closed back.
fn kill_at_every_step(damage: impl Fn(&Path)) -> usize {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let closed = opened(&server);
    opened(&server);
    let file = backup(&sandbox, "backup");
    sandbox.run(&["close-session", &closed.0]).ok();
    stop(server);
    damage(&sandbox.data());
    let store = sandbox.path("store");
    fs::rename(sandbox.data(), &store).unwrap();
    let data = sandbox.data();
    let data = data.to_str().unwrap();
    let mut refused = 0;
    for call in 1.. {
        let _ = fs::remove_dir_all(data);
        copy(&store, Path::new(data));
        let arguments = ["--local", data, "store", "restore", &file, "--yes"];
        if killed_at(&sandbox, call, &arguments) {
            assert!(call > 10, "it makes more calls than {call}");
            return refused;
        }
        // A session that is closing has a method to run, and no cookie.
        let is_back = |line: &str| line.contains(&closed.0) && !line.contains("\"closing\"");
        let list = local(&sandbox, &["list", "-o", "jsonl"]);
        if list.code == 0 {
            assert!(
                !list.stdout.lines().any(is_back),
                "step {call}: {}",
                list.stdout
            );
        } else {
            refused += 1;
        }
        restore(&sandbox, &file);
        check_whole(&sandbox);
        let list = local(&sandbox, &["list", "-o", "jsonl"]).ok();
        assert!(!list.lines().any(is_back), "step {call}: {list}");
    }
    refused
}

#[test]
fn s12_a_restore_over_its_store_may_be_killed_at_every_step() {
    assert_eq!(kill_at_every_step(|_| {}), 0, "it is one transaction");
}

#[test]
fn s12_a_restore_over_a_damaged_store_may_be_killed_at_every_step() {
    let cut = |data: &Path| fs::write(data.join("sessions.sqlite"), "x".repeat(9_000)).unwrap();
    assert!(
        kill_at_every_step(cut) > 10,
        "a damaged store is refused in any case"
    );
}

#[test]
fn a_damaged_store_is_told_of_put_aside_and_replaced() {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    opened(&server);
    let file = backup(&sandbox, "backup");
    stop(server);
    let database = sandbox.data().join("sessions.sqlite");
    let mut bytes = fs::read(&database).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(b'x');
    fs::write(&database, &bytes).unwrap();
    let told = local(&sandbox, &["store", "check"]);
    assert_eq!(told.code, 10, "{}{}", told.stdout, told.stderr);
    for text in [
        "fail  the file is a whole database: ",
        "try: sessionctl --local ",
        "store restore BACKUP",
    ] {
        assert!(told.stdout.contains(text), "{}", told.stdout);
    }
    let refused = refused_start(&sandbox);
    assert_eq!(refused.code, 78);
    assert!(refused.stderr.contains("store check"), "{}", refused.stderr);
    let refused = local(
        &sandbox,
        &["store", "backup", sandbox.path("b").to_str().unwrap()],
    );
    assert_eq!((refused.code, sandbox.path("b").exists()), (1, false));
    let restored = restore(&sandbox, &file);
    assert_eq!(restored["ended"], 1);
    let replaced = Path::new(restored["replaced"].as_str().unwrap());
    assert_eq!(fs::read(replaced.join("sessions.sqlite")).unwrap(), bytes);
    check_whole(&sandbox);
}

#[test]
fn nothing_is_restored_that_is_not_asked_for() {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let (id, cookie) = opened(&server);
    let file = backup(&sandbox, "backup");
    let again = local(&sandbox, &["store", "backup", &file]);
    assert_eq!(again.code, 6, "nothing is written over: {}", again.stderr);
    let in_use = local(&sandbox, &["store", "restore", &file, "--yes"]);
    assert_eq!(in_use.code, 6);
    assert!(in_use.stderr.contains("is in use by the server with pid"));
    let of_a_server = sandbox.run(&["--server", &server.admin, "store", "check"]);
    assert_eq!(of_a_server.code, 2);
    stop(server);
    let unconfirmed = local(&sandbox, &["store", "restore", &file]);
    assert_eq!(unconfirmed.code, 2);
    assert!(unconfirmed.stderr.contains("has 1 live session"));
    assert!(
        unconfirmed.stderr.contains("store restore"),
        "how to confirm"
    );
    let told = local(&sandbox, &["store", "restore", &file, "--dry-run"]);
    assert_eq!(told.code, 0);
    let missing = local(&sandbox, &["store", "restore", "/nowhere", "--yes"]);
    assert_eq!(missing.code, 1);
    let empty = sandbox.path("empty");
    fs::write(&empty, "").unwrap();
    let wrong = local(
        &sandbox,
        &["store", "restore", empty.to_str().unwrap(), "--yes"],
    );
    assert_eq!(wrong.code, 6, "nothing is no backup: {}", wrong.stderr);
    // A backup is not served: it lacks what was closed since.
    let copied = sandbox.path("copied");
    fs::create_dir(&copied).unwrap();
    fs::copy(&file, copied.join("sessions.sqlite")).unwrap();
    let served = sandbox.run(&["--local", copied.to_str().unwrap(), "open-session"]);
    assert_ne!(served.code, 0);
    assert!(served.stderr.contains("is a backup"), "{}", served.stderr);
    let text = sandbox.path("text");
    fs::write(&text, "no backup".repeat(200)).unwrap();
    let wrong = local(
        &sandbox,
        &["store", "restore", text.to_str().unwrap(), "--yes"],
    );
    assert_eq!(wrong.code, 6, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("cannot be brought back"));
    let server = start(&sandbox);
    assert_eq!(check(&server, &cookie), 200);
    drop(server);
    let told = local(&sandbox, &["list", "-o", "uuid"]).ok();
    assert_eq!(told.trim(), id);
}

#[test]
fn a_restore_that_was_cut_off_is_not_served() {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    opened(&server);
    let file = backup(&sandbox, "backup");
    stop(server);
    fs::create_dir(sandbox.data().join("restoring")).unwrap();
    let refused = refused_start(&sandbox);
    assert_eq!(refused.code, 78);
    for text in ["a restore of ", " was cut off", "store restore BACKUP"] {
        assert!(refused.stderr.contains(text), "{}", refused.stderr);
    }
    assert_eq!(local(&sandbox, &["list"]).code, 6);
    assert_eq!(local(&sandbox, &["store", "check"]).code, 10);
    assert_eq!(restore(&sandbox, &file)["live"], 1);
    check_whole(&sandbox);
}

#[test]
fn s12_a_plain_copy_is_served_only_with_every_session_ended() {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let (one, cookie) = opened(&server);
    stop(server);
    let database = sandbox.data().join("sessions.sqlite");
    let yesterday = fs::read(&database).unwrap();
    let server = start(&sandbox);
    sandbox.run(&["close-session", &one]).ok();
    let (other, _) = opened(&server);
    let lock = server.put(&other, 1, "locks/Invoices/4711", "");
    let lock: Value = serde_json::from_str(&lock).unwrap();
    stop(server);
    fs::write(&database, yesterday).unwrap();
    let refused = refused_start(&sandbox);
    assert_eq!(refused.code, 78);
    for text in ["lacks changes that were acknowledged", "--end-all-sessions"] {
        assert!(refused.stderr.contains(text), "{}", refused.stderr);
    }
    assert_eq!(
        local(&sandbox, &["list"]).code,
        6,
        "nobody is shown what may be closed"
    );
    assert_eq!(local(&sandbox, &["store", "check"]).code, 10);
    let server = sandbox.serve(&["--end-all-sessions"]);
    assert_eq!(check(&server, &cookie), 401);
    let next = opened(&server);
    let fence = server.put(&next.0, 1, "locks/Invoices/4711", "");
    let fence: Value = serde_json::from_str(&fence).unwrap();
    assert!(fence["fence"].as_u64() > lock["fence"].as_u64());
    assert!(
        sandbox
            .read("log")
            .contains("every session was ended at the start")
    );
    stop(server);
    assert_eq!(causes(&sandbox), [(one, "restored".to_owned())]);
    let server = start(&sandbox);
    assert_eq!(check(&server, &next.1), 200, "once is enough");
}

/// S12: a token that was revoked does not come back with a copy of the store in which it was good.
#[test]
fn s12_no_copy_brings_a_revoked_token_back() {
    let sandbox = Sandbox::new();
    let names = || local(&sandbox, &["token", "list", "-q"]).ok();
    let create = |name: &str| {
        local(
            &sandbox,
            &["token", "create", "--name", name, "--role", "admin"],
        )
        .ok();
    };
    create("revoked");
    create("kept");
    let file = backup(&sandbox, "backup");
    local(&sandbox, &["token", "revoke", "revoked"]).ok();
    create("newer");
    // Over the store that the backup was made of, its own tokens count.
    assert_eq!(restore(&sandbox, &file)["tokens_revoked"], 0);
    assert_eq!(names(), "kept\nnewer\n");
    // In the place of one that is lost, nobody knows which were revoked.
    fs::remove_dir_all(sandbox.data()).unwrap();
    let planned = local(&sandbox, &["store", "restore", &file, "--dry-run"]);
    let plan = "2 admin tokens: every one is revoked";
    assert!(planned.stderr.contains(plan), "{}", planned.stderr);
    assert_eq!(restore(&sandbox, &file)["tokens_revoked"], 2);
    assert_eq!(names(), "");
    let audit = local(&sandbox, &["audit"]).ok();
    assert!(audit.contains("2 admin tokens revoked"), "{audit}");
    let told = local(&sandbox, &["store", "restore", &file, "--yes"]);
    let advice = "revoked; make new ones with `sessionctl token create`";
    let note = format!("note: 2 admin tokens were {advice}");
    assert!(told.stderr.contains(&note), "{}", told.stderr);
    create("kept");
    stop(sandbox.serve(&["--end-all-sessions"]));
    assert_eq!(names(), "");
    let log = sandbox.read("log");
    assert!(log.contains("tokens_revoked=1"), "{log}");
    let warning = format!("1 admin token was {advice}");
    assert_eq!(log.matches(&warning).count(), 1, "{log}");
    // Nothing is to be made anew where nothing was revoked.
    stop(sandbox.serve(&["--end-all-sessions"]));
    let log = sandbox.read("log");
    assert!(log.contains("tokens_revoked=0"), "{log}");
    assert_eq!(log.matches(advice).count(), 1, "{log}");
    check_whole(&sandbox);
}

/// Looking at a store of the version before migrates nothing; whoever changes it has tokens from then on.
#[test]
fn a_store_of_the_version_before_tokens_is_read_and_migrated() {
    let sandbox = Sandbox::new();
    let id = sandbox.open_locally(&["--user", "ana"]).to_string();
    local(&sandbox, &["close-session", &id]).ok();
    let database = sandbox.data().join("sessions.sqlite");
    let disk = rusqlite::Connection::open(&database).unwrap();
    disk.execute_batch(
        "DROP TABLE tokens; ALTER TABLE audit DROP COLUMN via; PRAGMA user_version = 5;",
    )
    .unwrap();
    drop(disk);
    for _ in 0..2 {
        assert_eq!(local(&sandbox, &["audit", "verify"]).code, 0);
        let audit = local(&sandbox, &["audit"]).ok();
        assert!(audit.contains("close_session"), "{audit}");
        assert_eq!(local(&sandbox, &["token", "list", "-q"]).ok(), "");
    }
    check_whole(&sandbox);
    local(
        &sandbox,
        &["token", "create", "--name", "ci", "--role", "viewer"],
    )
    .ok();
    assert_eq!(local(&sandbox, &["token", "list", "-q"]).ok(), "ci\n");
    assert_eq!(local(&sandbox, &["audit", "verify"]).code, 0);
    check_whole(&sandbox);
}

/// A check says so as its finding, whatever keeps it from looking: it is not the check that failed.
#[test]
fn what_is_no_store_of_this_version_is_found_wrong() {
    let sandbox = Sandbox::new();
    stop(start(&sandbox));
    let database = sandbox.data().join("sessions.sqlite");
    let disk = rusqlite::Connection::open(&database).unwrap();
    disk.pragma_update(None, "user_version", 1_000).unwrap();
    drop(disk);
    let told = local(&sandbox, &["store", "check"]);
    assert_eq!(told.code, 10, "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.contains("has schema version 1000"), "{told:?}");
    assert_eq!(refused_start(&sandbox).code, 78);
    fs::remove_file(&database).unwrap();
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("CREATE TABLE others (id)").unwrap();
    drop(other);
    let told = local(&sandbox, &["-o", "json", "store", "check"]);
    assert_eq!(told.code, 10, "{}{}", told.stdout, told.stderr);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let [found] = &told["checks"].as_array().unwrap()[..] else {
        panic!("{told:#}");
    };
    assert_eq!(found["status"], "fail");
    assert!(
        found["detail"]
            .as_str()
            .unwrap()
            .contains("is not a sessionctl store"),
        "{found}"
    );
    fs::remove_file(&database).unwrap();
    let lost = local(&sandbox, &["list"]);
    assert_eq!(lost.code, 6, "{}", lost.stderr);
    assert!(lost.stderr.contains("is gone"), "{}", lost.stderr);
    assert_eq!(refused_start(&sandbox).code, 78);
}
