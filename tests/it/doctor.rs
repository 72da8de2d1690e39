//! `sessionctl doctor` on the built binary: well, and in every way unwell that can be made here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox};

/// Whether a check was made whose text has these words.
fn is_checked(ran: &Ran, words: &str) -> bool {
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let checks = told["checks"].as_array().unwrap();
    checks
        .iter()
        .any(|check| check["check"].as_str().unwrap().contains(words))
}

/// How the check stands whose text has these words.
fn status(ran: &Ran, words: &str) -> String {
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let checks = told["checks"].as_array().unwrap();
    let found = checks
        .iter()
        .find(|check| check["check"].as_str().unwrap().contains(words));
    let found = found.unwrap_or_else(|| panic!("no {words:?} in {told:#}"));
    assert_eq!(found["status"] == "ok", found["try"].is_null(), "{found}");
    found["status"].as_str().unwrap().to_owned()
}

fn doctor(sandbox: &Sandbox, target: &[&str]) -> Ran {
    sandbox.run(&[target, &["-o", "json", "doctor"]].concat())
}

#[test]
fn a_server_that_is_well() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    server.open(&serde_json::json!({"kind": "web"}));
    let ran = doctor(&sandbox, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["ok"], true);
    for words in [
        "answers",
        "has not stopped acknowledging changes (",
        "room for sessions (1 of 100)",
        "closed to others",
        "its disk has room",
        "whole database",
        "nothing that was acknowledged is missing",
        "it has 1 session",
    ] {
        assert_eq!(status(&ran, words), "ok");
    }
    let text = sandbox.run(&["doctor"]).ok();
    assert!(
        text.lines().all(|line| line.starts_with("ok    ")),
        "{text}"
    );
    assert_eq!(sandbox.run(&["-q", "doctor"]).ok(), "", "nothing to say");
}

#[test]
fn a_server_that_is_not_there() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    drop(server);
    let ran = doctor(&sandbox, &[]);
    assert_eq!(ran.code, 10);
    assert_eq!(status(&ran, "answers"), "fail");
    assert_eq!(status(&ran, "whole database"), "ok", "its data is there");
    let data = sandbox.data();
    let ran = doctor(&sandbox, &["--local", data.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "nobody asked for a server");
}

#[test]
fn a_full_server_and_files_that_are_open_to_others() {
    let mut sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("a home")).unwrap();
    let data = sandbox.path("a home/state");
    sandbox.set_variable("STATE_DIRECTORY", data.clone());
    let server = sandbox.serve(&["--max-sessions", "1"]);
    server.open(&serde_json::json!({"kind": "web"}));
    let database = data.join("sessions.sqlite");
    let ran = doctor(&sandbox, &[]);
    assert_eq!(
        (ran.code, status(&ran, "room for sessions").as_str()),
        (0, "warn")
    );
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = doctor(&sandbox, &[]);
    assert_eq!(
        (ran.code, status(&ran, "closed to others").as_str()),
        (10, "fail")
    );
    let text = sandbox.run(&["doctor"]);
    assert!(
        text.stdout.contains("try: chmod -R go= '") && text.stdout.contains("a home/state'"),
        "{}",
        text.stdout
    );
}

#[test]
fn a_store_that_is_not_whole() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.serve(&[]);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let database = sandbox.data().join("sessions.sqlite");
    fs::write(&database, "x".repeat(9_000)).unwrap();
    let data = sandbox.data();
    let local = ["--local", data.to_str().unwrap()];
    let ran = doctor(&sandbox, &local);
    assert_eq!(
        (ran.code, status(&ran, "can be read").as_str()),
        (10, "fail")
    );
    fs::remove_file(&database).unwrap();
    let ran = doctor(&sandbox, &local);
    assert_eq!(
        (ran.code, status(&ran, "is a data directory").as_str()),
        (10, "fail")
    );
}

/// Root asks the machine's server by itself, whose data are another user's.
#[test]
fn the_default_directory_of_another_user_is_left_out() {
    let mut sandbox = Sandbox::new();
    let _server = sandbox.serve(&[]);
    let others = match rustix::process::geteuid().is_root() {
        true => {
            let others = sandbox.path("others");
            fs::create_dir(&others).unwrap();
            std::os::unix::fs::chown(&others, Some(1), None).unwrap();
            others
        }
        false => "/".into(),
    };
    let local = ["--local", others.to_str().unwrap()];
    sandbox.set_variable("STATE_DIRECTORY", others.clone());
    let ran = doctor(&sandbox, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(!is_checked(&ran, "data directory") && ran.stderr.is_empty());
    let ran = doctor(&sandbox, &["-v"]);
    for words in ["belongs to uid ", "sessionctl --local ", " doctor"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    let named = doctor(&sandbox, &local);
    assert_eq!(
        (named.code, status(&named, "is a data directory").as_str()),
        (10, "fail"),
        "somebody means it"
    );
    sandbox.set_variable("SESSIONCTL_LOCAL", others);
    assert_eq!(doctor(&sandbox, &[]).code, 10, "here as well");
}

/// A flag beats the environment, and a server that somebody names is not this machine's.
#[test]
fn what_is_named_is_looked_at_and_nothing_else() {
    let mut sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let (admin, data) = (server.admin.clone(), sandbox.data());
    let directory = data.to_str().unwrap();
    let looked_at = |sandbox: &Sandbox, target: &[&str]| {
        let ran = doctor(sandbox, target);
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        ["answers", "is a data directory"].map(|words| is_checked(&ran, words))
    };
    assert_eq!(looked_at(&sandbox, &[]), [true, true]);
    assert_eq!(looked_at(&sandbox, &["--server", &admin]), [true, false]);
    assert_eq!(looked_at(&sandbox, &["--local", directory]), [false, true]);
    sandbox.set_variable("SESSIONCTL_LOCAL", data.clone());
    assert_eq!(looked_at(&sandbox, &[]), [false, true]);
    assert_eq!(looked_at(&sandbox, &["--server", &admin]), [true, false]);
    sandbox.set_variable("SESSIONCTL_SERVER", admin.clone());
    assert_eq!(doctor(&sandbox, &[]).code, 2, "both");
    sandbox.set_variable("SESSIONCTL_LOCAL", "");
    assert_eq!(looked_at(&sandbox, &[]), [true, false]);
    assert_eq!(looked_at(&sandbox, &["--local", directory]), [false, true]);
    let refused = sandbox.run(&["store", "check"]);
    assert_eq!(refused.code, 2, "{}", refused.stdout);
    assert!(
        refused.stderr.contains("with --local DIR"),
        "{}",
        refused.stderr
    );
    sandbox.run(&["--local", directory, "store", "check"]).ok();
}
