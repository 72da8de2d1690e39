//! Options as operators meet them: commands, flags, the file, the API, a restart after each; and what web clients see of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use sessionctl::options::OPTIONS;

use crate::sandbox::{Ran, Sandbox, Server};

/// A sandbox with a configuration file, and what `serve` needs to read it.
fn configured(text: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let path = sandbox.path("server.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (sandbox, path.to_str().unwrap().to_owned())
}

fn get(sandbox: &Sandbox, name: &str) -> String {
    sandbox.run(&["options", "get", name, "--origin"]).ok()
}

fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (code, ""),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

/// C14: default, file, flag, run time; each restart keeps what was set, until it is reset.
#[test]
fn c14_who_wins_over_restarts() {
    let text =
        "[options]\nmax_sessions = 200\ninactive_session_timeout = \"2h\"\ncookie_secure = false\n";
    let (sandbox, file) = configured(text);
    let server = sandbox.serve(&["--config", &file, "--max-sessions", "300"]);
    assert_eq!(get(&sandbox, "open_rate"), "60  default\n");
    assert_eq!(get(&sandbox, "inactive_session_timeout"), "2h  file\n");
    assert_eq!(get(&sandbox, "cookie_secure"), "off  file\n");
    assert_eq!(get(&sandbox, "max_sessions"), "300  flag\n");
    let set = sandbox.run(&["options", "set", "max_sessions", "400"]).ok();
    assert_eq!(set, "max_sessions 400 (was 300)\n");
    assert_eq!(get(&sandbox, "max_sessions"), "400  run_time (flag: 300)\n");
    drop(server);
    let server = sandbox.serve(&["--config", &file]);
    assert_eq!(get(&sandbox, "max_sessions"), "400  run_time (file: 200)\n");
    let reset = sandbox.run(&["options", "reset", "max_sessions"]).ok();
    assert_eq!(reset, "max_sessions 200 (was 400)\n");
    drop(server);
    // Without a server it is the last one's settings that count, and that can be set.
    let data = sandbox.data();
    let local = |arguments: &[&str]| {
        sandbox.run(&[&["--local", data.to_str().unwrap()], arguments].concat())
    };
    assert_eq!(
        local(&["options", "get", "max_sessions", "--origin"]).ok(),
        "200  file\n"
    );
    local(&["options", "set", "max_sessions", "0"]).ok();
    let _server = sandbox.serve(&["--config", &file]);
    assert_eq!(
        get(&sandbox, "max_sessions"),
        "100  run_time (file: 200)\n",
        "0 is 4D's way to say the default"
    );
    assert_eq!(
        sandbox.run(&["options", "reset", "--all"]).ok(),
        "max_sessions 200 (was 100)\n"
    );
    assert_eq!(
        sandbox.run(&["options", "reset", "--all"]).ok(),
        "nothing was set at run time\n"
    );
}

#[test]
fn every_option_is_listed_with_all_that_is_known_of_it() {
    let sandbox = Sandbox::new();
    let _server = sandbox.serve(&[]);
    insta::assert_snapshot!(
        "options_list",
        sandbox.run(&["options", "list", "--origin"]).ok()
    );
    let list: Value =
        serde_json::from_str(&sandbox.run(&["options", "list", "-o", "json"]).ok()).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), OPTIONS.len());
    for (item, spec) in items.iter().zip(&OPTIONS) {
        assert_eq!(item["name"], spec.name);
        for field in [
            "value", "origin", "beneath", "default", "range", "acts", "summary",
        ] {
            assert!(!item[field].is_null(), "{}: {field}", spec.name);
        }
        // What is shown can be typed.
        let shown = sandbox.run(&["options", "get", spec.name]).ok();
        sandbox
            .run(&["options", "set", spec.name, shown.trim()])
            .ok();
    }
    assert_eq!(
        items[4]["value"],
        json!(28_800_000),
        "durations are milliseconds"
    );
    let csv = sandbox.run(&["options", "list", "-o", "csv"]).ok();
    assert_eq!(csv.lines().count(), OPTIONS.len() + 1);
}

/// A value for every option that is not its default.
fn another(name: &str) -> &'static str {
    match name {
        "mode" => "none",
        "keep_session" | "cookie_secure" | "session_ip_address_validation" | "open_rate" => "off",
        "cookie_name" => "OTHER",
        "cookie_domain" => "example.com",
        "cookie_path" => "/app",
        "cookie_same_site" => "strict",
        "eviction_order" => "oldest",
        "max_sessions" | "address_prefix_v6" | "context_limit" | "context_name_limit" => "99",
        "on_close_slots" => "9",
        "closing_grace_period" | "closing_time_limit" | "on_close_time_limit" => "9m",
        _ => "90m",
    }
}

/// Every option in the file, by its flag, and at run time: the same name, the same spelling, its origin told.
#[test]
fn every_option_has_every_origin() {
    let lines = OPTIONS
        .iter()
        .map(|spec| format!("{} = \"{}\"\n", spec.name, another(spec.name)));
    let text = format!("[options]\n{}", lines.collect::<String>());
    let (sandbox, file) = configured(&text);
    let flags: Vec<String> = OPTIONS
        .iter()
        .flat_map(|spec| {
            [
                format!("--{}", spec.name.replace('_', "-")),
                another(spec.name).into(),
            ]
        })
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let at_run_time = || {
        for spec in &OPTIONS {
            sandbox
                .run(&["options", "set", spec.name, another(spec.name)])
                .ok();
        }
    };
    let check = |origin: &str| {
        let list: Value =
            serde_json::from_str(&sandbox.run(&["options", "list", "-o", "json"]).ok()).unwrap();
        for (item, spec) in list["items"].as_array().unwrap().iter().zip(&OPTIONS) {
            assert_eq!(item["origin"], origin, "{}", spec.name);
            let shown = sandbox.run(&["options", "get", spec.name]).ok();
            assert_eq!(shown.trim(), another(spec.name), "{}", spec.name);
        }
    };
    let server = sandbox.serve(&["--config", &file]);
    check("file");
    drop(server);
    let server = sandbox.serve(&flags);
    check("flag");
    drop(server);
    let server = sandbox.serve(&[]);
    at_run_time();
    check("run_time");
    drop(server);
    let _server = sandbox.serve(&[&["--config", &file][..], &flags].concat());
    check("run_time");
    sandbox.run(&["options", "reset", "--all"]).ok();
    check("flag");
}

#[test]
fn what_is_no_value_is_refused_before_anything_is_sent() {
    let sandbox = Sandbox::new();
    let set = |name: &str, value: &str| sandbox.run(&["options", "set", name, value]);
    // There is no server: whoever asked one would end with 7.
    refused(
        &set("max_sessions", "1000001"),
        2,
        &["max_sessions", "1 to 1000000"],
    );
    refused(&set("max_sessions", "-1"), 2, &["max_sessions"]);
    refused(&set("inactive_session_timeout", "480"), 2, &["480m"]);
    refused(&set("absolute_session_timeout", "500d"), 2, &["400d"]);
    refused(&set("cookie_name", "a;b\u{1b}[2J"), 2, &["cookie_name"]);
    refused(&set("cookie_same_site", "maybe"), 2, &["lax, strict, none"]);
    for fixed in [
        "trusted_proxies",
        "web",
        "admin",
        "data",
        "admin_token_file",
    ] {
        refused(&set(fixed, "x"), 2, &["file and the flags", "restart"]);
    }
    let guessed = set("max_session", "5");
    assert!(
        guessed.code == 2 && guessed.stderr.contains("'max_sessions'"),
        "{}",
        guessed.stderr
    );
    assert_eq!(set("max_sessions", "5").code, 7);
}

#[test]
fn ending_sessions_needs_yes() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let (status, head, _) = server.get("/session", &[]).unwrap();
    assert_eq!(status, 200);
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let set =
        |more: &[&str]| sandbox.run(&[&["options", "set", "cookie_name", "OTHER"], more].concat());
    refused(&set(&[]), 2, &["1 session", "nothing was changed", "--yes"]);
    let told = set(&["--dry-run"]).ok();
    assert!(
        told.contains("1 session") && told.contains("nothing was changed"),
        "{told}"
    );
    assert_eq!(get(&sandbox, "cookie_name"), "4DSID  default\n");
    let told = set(&["--yes", "-o", "json"]).ok();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (
            &told["is_set"],
            &told["strands"],
            &told["options"][0]["value"]
        ),
        (&json!(true), &json!(1), &json!("OTHER"))
    );
    assert_eq!(server.get("/check", &[("Cookie", &cookie)]).unwrap().0, 401);
    let (_, head, _) = server.get("/session", &[]).unwrap();
    assert!(head.contains("set-cookie: __host-other="), "{head}");
    sandbox
        .run(&["options", "set", "cookie_path", "/app", "--yes", "-q"])
        .ok();
    let (_, head, _) = server.get("/session", &[]).unwrap();
    assert!(
        head.contains("set-cookie: __secure-other=") && head.contains("; path=/app;"),
        "{head}"
    );
}

/// C02 on the command line and over HTTP.
#[test]
fn c02_closing_a_scalable_session_is_visibly_ignored() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--mode", "scalable"]);
    let (_, _, body) = server.get("/session", &[]).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let id = body["id"].as_str().unwrap();
    assert_eq!(body["expires_at"], Value::Null);
    let ran = sandbox.run(&["close-session", id]);
    assert_eq!((ran.code, ran.stdout), (6, format!("ignored {id}\n")));
    assert!(
        ran.stderr.starts_with("warning: ") && ran.stderr.contains(&format!("drop-session {id}")),
        "{}",
        ran.stderr
    );
    let listed: Value = serde_json::from_str(&sandbox.run(&["list", "-o", "json"]).ok()).unwrap();
    assert_eq!(
        (
            &listed["items"][0]["mode"],
            &listed["items"][0]["expires_at"]
        ),
        (&json!("scalable"), &Value::Null)
    );
    let unknown = "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11";
    assert_eq!(
        sandbox.run(&["close-session", id, unknown]).code,
        5,
        "some ignored, some done"
    );
    let (status, problem) = api(&sandbox, "POST", &format!("/v1/sessions/{id}/close"), "{}");
    assert_eq!(
        (status, &problem["outcome"], &problem["status"]),
        (409, &json!("ignored"), &json!(409))
    );
    sandbox.run(&["drop-session", id]).ok();
    assert_eq!(
        sandbox.run(&["close-session", id]).ok(),
        format!("already closed {id}\n")
    );
}

/// S50: what the server trusts and executes is not in the API, whatever a body calls it.
#[test]
fn s50_the_api_sets_options_and_nothing_else() {
    let sandbox = Sandbox::new();
    let _server = sandbox.serve(&[]);
    let before = sandbox.run(&["options", "list", "-o", "json"]).ok();
    for body in [
        r#"{"trusted_proxies":"0.0.0.0/0"}"#,
        r#"{"trusted_proxies":["0.0.0.0/0"]}"#,
        r#"{"max_sessions":5,"on_close":"/bin/sh"}"#,
        r#"{"web":"0.0.0.0:80"}"#,
        r#"{"tls":true}"#,
        r#"{"groups":null}"#,
        r#"{"max_sessions":1.5}"#,
        r#"{"max_sessions":-1}"#,
        r#"{"max_sessions":"5"}"#,
        r#"{"max_sessions":18446744073709551616}"#,
        r#"{"max_sessions":[5]}"#,
        r#"{"cookie_secure":"off"}"#,
        r#"[]"#,
        r#"{"max_sessions":5}x"#,
        "",
    ] {
        let (status, problem) = api(&sandbox, "PATCH", "/v1/options", body);
        assert_eq!((status, &problem["status"]), (400, &json!(400)), "{body}");
    }
    assert_eq!(api(&sandbox, "PATCH", "/v1/options?mayend=1", "{}").0, 400);
    assert_eq!(sandbox.run(&["options", "list", "-o", "json"]).ok(), before);
    let (status, set) = api(
        &sandbox,
        "PATCH",
        "/v1/options",
        r#"{"max_sessions":5,"mode":null}"#,
    );
    assert_eq!(
        (status, &set["is_set"], &set["options"][0]["value"]),
        (200, &json!(true), &json!(5))
    );
    let (_, options) = api(&sandbox, "GET", "/v1/options", "");
    assert_eq!(options["items"][2]["origin"], "run_time");
}

/// A request to the admin socket, with curl as README shows it.
fn api(sandbox: &Sandbox, method: &str, path: &str, body: &str) -> (u16, Value) {
    let socket = sandbox.path("run/admin.sock");
    let output = std::process::Command::new("curl")
        .args([
            "-s",
            "-X",
            method,
            "-H",
            "Content-Type: application/json",
            "-w",
            "\n%{http_code}",
        ])
        .args([
            "--data-binary",
            body,
            "--unix-socket",
            socket.to_str().unwrap(),
        ])
        .arg(format!("http://localhost{path}"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (json, status) = text.rsplit_once('\n').unwrap();
    (
        status.parse().unwrap(),
        serde_json::from_str(json).unwrap_or_default(),
    )
}

/// C13: 400 to a client, 403 to a proxy, and only a trusted proxy names another address than its own.
#[test]
fn c13_another_address_is_refused_as_the_asker_can_read_it() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--trusted-proxies", "127.0.0.1,10.0.0.0/8"]);
    let ask = |path: &str, cookie: &str, address: &str| {
        server
            .get(path, &[("Cookie", cookie), ("X-Forwarded-For", address)])
            .unwrap()
    };
    let (_, head, _) = server
        .get("/session", &[("X-Forwarded-For", "203.0.113.9, 192.0.2.1")])
        .unwrap();
    let cookie = cookie_of(&server, "192.0.2.1");
    assert!(head.contains("set-cookie"));
    assert_eq!(ask("/check", &cookie, "192.0.2.1").0, 200);
    assert_eq!(
        ask("/check", &cookie, "192.0.2.2, 192.0.2.1, 10.1.2.3").0,
        200,
        "two proxies, and what a client wrote itself"
    );
    assert_eq!(ask("/check", &cookie, "192.0.2.1, 192.0.2.2").0, 403);
    for (path, status) in [
        ("/session", 400),
        ("/session?auth=1", 403),
        ("/check", 403),
        ("/check?touch=0", 403),
    ] {
        let (found, head, body) = ask(path, &cookie, "192.0.2.2");
        assert_eq!(found, status, "{path}");
        assert!(
            !head.contains("set-cookie") && body.contains("other-address"),
            "{path}: {head}{body}"
        );
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], status);
    }
    assert_eq!(sandbox.run(&["count"]).ok(), "2\n", "no new session");
    let listed: Value = serde_json::from_str(&sandbox.run(&["list", "-o", "json"]).ok()).unwrap();
    assert_eq!(listed["items"][0]["ip"], "192.0.2.1");
}

/// A cookie as it was written, for a client at this address behind the proxy.
fn cookie_of(server: &Server, address: &str) -> String {
    let output = std::process::Command::new("curl")
        .args([
            "-s",
            "-o",
            "/dev/null",
            "-D",
            "-",
            "-H",
            &format!("X-Forwarded-For: {address}"),
        ])
        .arg(format!("{}/session", server.web))
        .output()
        .unwrap();
    let head = String::from_utf8(output.stdout).unwrap();
    let set = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// S49: one address opens so many in a minute; then it is told when to come again.
#[test]
fn s49_too_many_opens_are_told_when_to_come_again() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--open-rate", "2"]);
    for _ in 0..2 {
        assert_eq!(server.get("/session", &[]).unwrap().0, 200);
    }
    let (status, head, body) = server.get("/session", &[]).unwrap();
    assert_eq!(status, 429, "{body}");
    assert!(
        head.contains("retry-after: ") && body.contains("too-many-opens"),
        "{head}"
    );
    let stats: Value = serde_json::from_str(&sandbox.run(&["stats", "-o", "json"]).ok()).unwrap();
    assert_eq!(
        (&stats["refused"]["rate"], &stats["opened"]),
        (&json!(1), &json!(2))
    );
    sandbox.run(&["open-session"]).ok();
}

#[test]
fn check_config_tells_what_serve_would_start_with_and_touches_nothing() {
    let text = "web = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.1\", \"2001:db8::/32\"]\n[options]\nmode = \"scalable\"\n";
    let (sandbox, file) = configured(text);
    let check = |more: &[&str]| {
        sandbox.run(&[&["serve", "--check-config", "--config", &file], more].concat())
    };
    let told = check(&["--eviction-order", "oldest"]).ok();
    let told: String = told
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    for line in [
        "web 127.0.0.1:0",
        "trusted_proxies 127.0.0.1/32,2001:db8::/32",
        "mode scalable (file)",
        "eviction_order oldest (flag)",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert!(!sandbox.data().exists() && !sandbox.path("run").exists());
    let bad = [
        ("webb = \"127.0.0.1:0\"", "line 1"),
        ("\n\nweb = 5", "line 3"),
        ("admin = \"0.0.0.0:1\"", "TLS"),
        ("admin = \"tcp\"", "unix:PATH"),
        ("trusted_proxies = [\"everybody\"]", "everybody"),
        ("[options]\nmax_sesions = 3", "max_sesions"),
        ("[options]\nmax_sessions = -1", "max_sessions"),
        ("[options]\nmax_sessions = [3]", "max_sessions"),
        ("[options]\nmode = \"legacy\"\nkeep_session = false", "mode"),
        (
            "[options]\ncookie_same_site = \"none\"\ncookie_secure = false",
            "cookie_secure",
        ),
        ("[options]\nabsolute_session_timeout = \"500d\"", "400d"),
        ("this is no toml", "line 1"),
    ];
    for (text, word) in bad {
        fs::write(&file, text).unwrap();
        for arguments in [
            &["serve", "--config", &file, "--check-config"][..],
            &["serve", "--config", &file],
        ] {
            refused(&sandbox.run(arguments), 78, &[word]);
        }
    }
    fs::write(&file, "").unwrap();
    check(&[]).ok();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o622)).unwrap();
    refused(&check(&[]), 78, &["others can write", "chmod go-w"]);
    fs::remove_file(&file).unwrap();
    refused(&check(&[]), 78, &["cannot read"]);
    refused(
        &sandbox.run(&["serve", "--check-config", "--max-sessions", "5x"]),
        78,
        &["max_sessions"],
    );
    assert!(!sandbox.data().exists(), "nothing was made on the way");
}
