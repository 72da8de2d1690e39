//! `sessionctl doctor` on the built binary: well, and in every way unwell that can be made here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use sessionctl::token::Token;

use crate::sandbox::{Ran, Sandbox};
use crate::tls::{Authority, CERTIFICATE, KEY, VALID};

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
        "cookies go over https alone",
        "opens only so many sessions",
        "no token is over, or nearly",
        "the audit record is what was written (1 record)",
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

/// What an operator has let slip: tokens, the record, options.
#[test]
fn a_server_that_lets_in_more_than_it_should() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--cookie-secure", "off", "--open-rate", "off"]);
    let create = |name: &str, expires: &str| {
        let arguments = [
            "token",
            "create",
            "--role",
            "viewer",
            "--name",
            name,
            "--expires",
            expires,
        ];
        sandbox.run(&arguments).ok()
    };
    create("soon", "13d");
    create("later", "15d");
    create("endless", "never");
    let ran = doctor(&sandbox, &[]);
    assert_eq!(ran.code, 0, "warnings are no failures: {}", ran.stderr);
    for words in [
        "cookies go over https alone",
        "opens only so many sessions",
        "no token is over, or nearly",
        "every token has an end",
    ] {
        assert_eq!(status(&ran, words), "warn", "{}", ran.stdout);
    }
    assert!(ran.stdout.contains("soon is good until") && ran.stdout.contains("endless has none"));
    assert!(!ran.stdout.contains("later is good"), "{}", ran.stdout);
    let disk = rusqlite::Connection::open(sandbox.data().join("sessions.sqlite")).unwrap();
    let changed = "UPDATE audit SET actor = 'uid:7' WHERE seq = (SELECT min(seq) FROM audit)";
    assert_eq!(disk.execute(changed, []).unwrap(), 1);
    let ran = doctor(&sandbox, &["--server", &server.admin]);
    let found = status(&ran, "the audit record is what was written (");
    assert_eq!((ran.code, found.as_str()), (10, "fail"));
}

/// Each fault of a configuration is found by itself, with what to do.
#[test]
fn what_serve_is_configured_with() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("server.toml");
    let path = |name: &str| sandbox.path(name).display().to_string();
    let looked_at = |text: &str| {
        fs::write(&file, text).unwrap();
        let config = file.to_str().unwrap();
        let data = sandbox.data();
        fs::create_dir_all(&data).unwrap();
        let local = ["--local", data.to_str().unwrap(), "-o", "json", "doctor"];
        sandbox.run(&[&local[..], &["--config", config]].concat())
    };
    let well = looked_at("");
    for words in [
        "serve understands",
        "lets in whom it should",
        "nobody else chooses",
        "proxy with TLS",
        "only proxies are believed",
    ] {
        assert_eq!(status(&well, words), "ok", "{}", well.stdout);
    }
    let token = sandbox.path("token");
    fs::write(&token, "x").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&token, sandbox.path("link")).unwrap();
    let script = sandbox.script("method", "true");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o777)).unwrap();
    let port = "admin = \"127.0.0.1:0\"";
    for (text, words, expected) in [
        ("unknown = 1".into(), "serve understands", "fail"),
        (
            "admin = \"0.0.0.0:1\"".into(),
            "lets in whom it should",
            "fail",
        ),
        (port.into(), "lets in whom it should", "fail"),
        (
            format!("{port}\nadmin_token_file = {:?}", path("token")),
            "its owner's alone",
            "fail",
        ),
        (
            format!("{port}\nadmin_token_file = {:?}", path("link")),
            "its owner's alone",
            "fail",
        ),
        (
            format!("{port}\nadmin_token_file = {:?}", path("new")),
            "its owner's alone",
            "ok",
        ),
        (
            format!("on_close = {script:?}"),
            "nobody else chooses",
            "fail",
        ),
        ("web = \"0.0.0.0:80\"".into(), "proxy with TLS", "warn"),
        (
            "trusted_proxies = [\"0.0.0.0/0\"]".into(),
            "only proxies are believed",
            "fail",
        ),
    ] {
        let ran = looked_at(&text);
        assert_eq!(status(&ran, words), expected, "{text}: {}", ran.stdout);
    }
    let looked_at_token = |expected: &str| {
        let ran = looked_at(&format!("{port}\nadmin_token_file = {:?}", path("token")));
        let found = status(&ran, "its owner's alone");
        assert_eq!(found, expected, "{}", ran.stdout);
    };
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    looked_at_token("fail");
    fs::write(&token, Token::mint().unwrap().expose()).unwrap();
    looked_at_token("ok");
    let give_to = |uid: u32, path: &Path| std::os::unix::fs::chown(path, Some(uid), None);
    // Only root can give a file away, and looks at the server of another user.
    if give_to(12345, &token).is_ok() {
        looked_at_token("fail");
        give_to(12345, &sandbox.data()).unwrap();
        looked_at_token("ok");
        give_to(0, &sandbox.data()).unwrap();
        looked_at_token("fail");
    }
    let tls = format!(
        "{port}\nadmin_token_file = {:?}\ntls_cert = {:?}\ntls_key = {:?}",
        path("new"),
        path(CERTIFICATE),
        path(KEY)
    );
    let authority = Authority::new();
    for (years, expected) in [
        (VALID, "ok"),
        ((2020, 2021), "fail"),
        ((4000, 4001), "fail"),
    ] {
        authority.issue(&["localhost"], years).put(&sandbox);
        let ran = looked_at(&tls);
        assert_eq!(status(&ran, "can be served"), "ok", "{}", ran.stdout);
        assert_eq!(
            status(&ran, "certificate is valid"),
            expected,
            "{}",
            ran.stdout
        );
    }
    fs::set_permissions(sandbox.path(KEY), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = looked_at(&tls);
    assert_eq!(status(&ran, "can be served"), "fail", "{}", ran.stdout);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let ran = looked_at("");
    assert_eq!(
        (ran.code, status(&ran, "serve understands").as_str()),
        (10, "fail")
    );
    assert!(ran.stdout.contains("chmod go-w"), "{}", ran.stdout);
}
