//! `sessionctl doctor` on the built binary: well, and in every way unwell that can be made here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox};

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
        "acknowledges changes",
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
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--max-sessions", "1"]);
    server.open(&serde_json::json!({"kind": "web"}));
    let database = sandbox.data().join("sessions.sqlite");
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
        text.stdout.contains("try: chmod -R go= "),
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
