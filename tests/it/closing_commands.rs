//! What an operator sees of contexts, locks, closings and history, on the built binary.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sessionctl::context::{Context, Json, Lock, Name, Selection};
use sessionctl::on_close::Invocation;
use sessionctl::token::Token;

use crate::app_client::escaped;
use crate::sandbox::{Ran, Sandbox, Server, parsed, wait_for};

const UNKNOWN: &str = "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11";

/// Keeps each document in a file named by its process.
const KEEP: &str = "cat > \"document-${SESSIONCTL_ON_CLOSE##*/}\"";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn document(sandbox: &Sandbox, process: u32) -> Invocation {
    let text = sandbox.read(&format!("document-{process}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Fills a process and answers what it has then, to the digit.
fn fill(server: &Server, id: &str, process: u32) -> Context {
    let mut context = Context::default();
    let number = format!("{process}2345678901234567890123");
    for (variable, value) in [
        ("number", number.as_str()),
        ("exponent", "1e2"),
        ("a/b \"🔑\"", r#"{"b": 2.50, "a": [null, "\u202e"]}"#),
    ] {
        let path = format!("variables/{}", escaped(variable));
        server.put(id, process, &path, value);
        let value = Json::new(value).unwrap();
        context.variables.insert(name(variable), value);
    }
    let records = ["4712", "47/11", "4712"];
    let body = json!({"table": "Invoices", "records": records});
    server.put(id, process, "selections/open", &body.to_string());
    let selection = Selection {
        table: name("Invoices"),
        records: records.map(name).into(),
    };
    context.selections.insert(name("open"), selection);
    for record in [format!("{process}/\"x\""), format!("{process}🔑")] {
        let path = format!("locks/Invoices/{}", escaped(&record));
        let lock: Lock = serde_json::from_str(&server.put(id, process, &path, "")).unwrap();
        assert_eq!(lock.record.as_str(), record);
        context.locks.push(lock);
    }
    context
}

/// C05: what the application has put in is what the method gets, to the digit, with who closed it and why.
#[test]
fn c05_the_method_gets_what_was_put_in() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--on-close", &sandbox.script("on-close", KEEP)]);
    let user = "Zoë \"$(id)\" \u{202e}";
    let id = server.open(&json!({
        "kind": "web", "user": user, "ip": "2001:db8::1", "user_agent": "a\u{1b}[2J",
    }));
    let before = parsed(&sandbox.run(&["show", &id, "-o", "json"]).ok());
    let context = fill(&server, &id, 1);
    let reason = "ticket 88; $(id) \u{1b}[2J";
    let closed = sandbox.run(&["close-session", &id, "--reason", reason]);
    assert_eq!(closed.stderr, "");
    assert_eq!(
        closed.ok(),
        format!("closed {id} (Zoë \"$(id)\" \\u{{202e}})\n")
    );
    let entry = parsed(&sandbox.run(&["history", "show", &id, "-o", "json"]).ok());
    let document = document(&sandbox, 1);
    assert_eq!(document.key, format!("{id}/1"));
    assert_eq!(document.context, context);
    assert_eq!(
        (document.session.user.as_deref(), document.reason.as_deref()),
        (Some(user), Some(reason))
    );
    assert_eq!(document.session.user_agent.as_deref(), Some("a\u{1b}[2J"));
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(document.actor, format!("uid:{uid}"));
    assert!(!document.late);
    let raw = parsed(&sandbox.read("document-1"));
    for (found, expected) in [
        (&raw["schema"], &json!(1)),
        (&raw["session"]["id"], &before["id"]),
        (&raw["session"]["kind"], &before["kind"]),
        (&raw["session"]["ip"], &before["ip"]),
        (&raw["session"]["created_at"], &before["created_at"]),
        (
            &raw["session"]["last_request_at"],
            &before["last_request_at"],
        ),
        (
            &raw["process"]["started_at"],
            &before["processes"][0]["started_at"],
        ),
        (&raw["cause"], &json!("command")),
        (&raw["closed_at"], &entry["begun_at"]),
    ] {
        assert_eq!(found, expected);
    }
}

/// C05, C08: once for each process of a mobile session, with that process's context.
#[test]
fn c08_each_process_has_a_run_of_its_own() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--on-close", &sandbox.script("on-close", KEEP)]);
    let id = server.open_mobile("ana", 3);
    let contexts: Vec<Context> = [1, 2, 3].map(|process| fill(&server, &id, process)).into();
    server.end_process(&id, 2);
    assert_eq!(sandbox.read("document-2"), "", "it ended by itself");
    assert_eq!(
        sandbox.run(&["close-session", "--no-wait", &id]).ok(),
        format!("closing {id} (ana)\n")
    );
    for process in [1, 3] {
        server.end_process(&id, process);
        wait_for("the run", || {
            // The document is whole once its locks are free.
            let locks = sandbox.run(&["locks", "--session", &id, "-o", "json"]).ok();
            let is_its = |lock: &Value| lock["process"] == process;
            let locks = parsed(&locks);
            (!locks["items"].as_array().unwrap().iter().any(is_its)).then_some(())
        });
        let document = document(&sandbox, process);
        assert_eq!(document.key, format!("{id}/{process}"));
        assert_eq!(document.context, contexts[process as usize - 1]);
    }
    let again = sandbox.run(&["close-session", &id, "-o", "json"]).ok();
    let outcome = &parsed(&again)["items"][0];
    assert_eq!(
        (&outcome["processes"], &outcome["variables"]),
        (&json!(2), &json!(6)),
        "{again}"
    );
}

/// Who locks what: found by record, by table, by session, in every format, and nothing in a name deceives.
#[test]
fn locks_tells_who_holds_a_record() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let ana = server.open(&json!({"kind": "web", "user": "ana\u{202e}"}));
    let bob = server.open_mobile("bob", 2);
    let odd = "47/13 \"x\", 🔑\u{202e}\u{200b}";
    let odd_path = format!("locks/{}/{}", escaped("a/b"), escaped(odd));
    let lock = parsed(&server.put(&ana, 1, "locks/Invoices/4711", ""));
    server.put(&bob, 2, &odd_path, "");
    server.put(&bob, 2, "locks/Invoices/4712", "");
    let locks = |arguments: &[&str]| sandbox.run(&[&["locks"], arguments].concat());
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let path = format!("/v1/sessions/{bob}/processes/1/locks/Invoices/4711?wait=60s");
            server.ask("PUT", &path, None, "")
        });
        let held = wait_for("somebody who waits", || {
            let held = locks(&["--record", "Invoices/4711", "-o", "json"]).ok();
            held.contains("\"waiting\":1").then(|| parsed(&held))
        });
        let expected = json!({
            "table": "Invoices", "record": "4711", "session": ana, "process": 1, "user": "ana\u{202e}",
            "since": lock["since"], "fence": lock["fence"], "waiting": 1,
        });
        assert_eq!(
            held,
            json!({"schema": 1, "items": [expected], "truncated": false})
        );
        sandbox.run(&["close-session", &ana]).ok();
        let (status, got) = waiter.join().unwrap();
        assert_eq!(status, 200, "{got}");
        assert!(parsed(&got)["fence"].as_u64() > lock["fence"].as_u64());
    });
    insta::assert_snapshot!("locks", locks(&[]).redacted(&sandbox));
    insta::assert_snapshot!("list_with_locks", sandbox.run(&["list"]).redacted(&sandbox));
    let nobody = locks(&["--record", "Invoices/1"]);
    assert_eq!(nobody.stderr, "note: nobody locks Invoices/1\n");
    assert_eq!(nobody.code, 0);
    assert_eq!(
        locks(&["--session", UNKNOWN]).stderr,
        format!("note: {UNKNOWN} does not lock any record\n")
    );
    assert_eq!(locks(&["-q", "--table", "nothing"]).stderr, "");
    assert_eq!(locks(&["-q"]).ok(), format!("{bob}\n"), "once");
    let found = |arguments: &[&str]| -> Vec<String> {
        let json = locks(&[arguments, &["-o", "jsonl"]].concat()).ok();
        json.lines()
            .map(|line| parsed(line)["record"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(found(&["--table", "Invoices"]), ["4711", "4712"]);
    assert_eq!(found(&["--table", "a/b", "--record", odd]), [odd]);
    assert_eq!(found(&["--session", &ana]), Vec::<String>::new());
    for format in ["table", "json", "jsonl", "csv"] {
        let text = locks(&["-o", format]).ok();
        assert!(
            text.contains("4712") && !text.contains(['\u{202e}', '\u{200b}']),
            "{format}"
        );
    }
    for (record, code) in [("4711", 2), ("Invoices/", 2), ("Invoices/a\nb", 2)] {
        assert_eq!(locks(&["--record", record]).code, code, "{record}");
    }
}

/// A mobile session on its way: who is busy, what each process has, what is waited for, and how it ends.
#[test]
fn c08_a_mobile_session_is_closing_until_its_processes_have_ended() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--on-close", "save"]);
    let id = server.open_mobile("ana", 3);
    fill(&server, &id, 2);
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| {
            let path = format!("/v1/sessions/{id}/processes/3?wait=60s");
            server.ask("GET", &path, None, "")
        });
        let timed_out = sandbox.run(&["close-session", &id, "--wait", "300ms"]);
        let (status, asked) = poll.join().unwrap();
        assert_eq!(
            (status, &parsed(&asked)["state"]),
            (200, &json!("asked")),
            "not after its wait"
        );
        assert_eq!(
            (timed_out.code, timed_out.stdout),
            (8, format!("closing {id} (ana)\n"))
        );
        assert_eq!(
            timed_out.stderr,
            format!(
                "warning: the cookie of {id} is refused already, but it has not finished within 300ms: 3 processes are busy (1, 2, 3: asked)
note: what is still closing goes on, at the latest after a restart; close-session waits for it again, drop-session ends it at once, without the on-close method
"
            )
        );
    });
    insta::assert_snapshot!(
        "show_closing",
        sandbox.run(&["show", &id]).redacted(&sandbox)
    );
    let no_wait = sandbox.run(&["close-session", "--no-wait", "-o", "json", &id]);
    assert_eq!((no_wait.code, no_wait.stderr.as_str()), (0, ""));
    let outcome = &parsed(&no_wait.stdout)["items"][0];
    assert_eq!(
        (&outcome["outcome"], &outcome["initiated"]),
        (&json!("closing"), &json!(false))
    );
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| sandbox.run(&["close-session", "-v", &id]));
        for process in [1, 2, 3] {
            server.end_process(&id, process);
        }
        let closed = waits.join().unwrap();
        assert_eq!(closed.code, 0);
        assert!(
            closed
                .stderr
                .contains("freed 3 processes, 1 selection, 2 locks, 3 variables"),
            "{}",
            closed.stderr
        );
    });
    let shown = sandbox.run(&["show", &id]);
    let advice = format!("try:   sessionctl history show {id}\n");
    assert_eq!(shown.code, 3);
    assert!(shown.stderr.ends_with(&advice), "{}", shown.stderr);
}

/// Closed sessions by user, cause, time and number; one in full; and what is refused.
#[test]
fn history_tells_who_ended_what() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--on-close", "save"]);
    let open = |user: &str| server.open(&json!({"kind": "web", "user": user, "ip": "192.0.2.1"}));
    let [ana, bob, eve] = ["ana", "bob", "=eve\u{202e}"].map(open);
    fill(&server, &ana, 1);
    for arguments in [
        &["close-session", &ana, "--reason", "ticket 88\u{1b}[2J"][..],
        &["drop-session", &bob],
        &["close-session", &eve],
    ] {
        sandbox.run(arguments).ok();
    }
    let history = |arguments: &[&str]| sandbox.run(&[&["history"], arguments].concat());
    let ids = |arguments: &[&str]| history(&[arguments, &["-q"]].concat()).ok();
    let by = format!("uid:{}", rustix::process::geteuid().as_raw());
    let listed = history(&[]).ok();
    let cells: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().skip(1).collect())
        .collect();
    assert_eq!(
        cells,
        [
            &[
                "UUID",
                "USER",
                "CAUSE",
                "ON-CLOSE",
                "BY",
                "PROCESSES",
                "REASON"
            ][..],
            &[&eve, r"=eve\u{202e}", "command", "ok", &by, "1", "-"],
            &[&bob, "bob", "dropped", "-", &by, "1", "-"],
            &[
                &ana,
                "ana",
                "command",
                "ok",
                &by,
                "1",
                "ticket",
                r"88\u{1b}[2J"
            ],
        ]
    );
    let shown = history(&["show", &ana]).redacted(&sandbox);
    let shown = without_times_taken(&shown).replace(&by, "uid:N");
    insta::assert_snapshot!("history_entry", shown);
    assert_eq!(ids(&[]), format!("{eve}\n{bob}\n{ana}\n"));
    assert_eq!(ids(&["--user", "ana"]), format!("{ana}\n"));
    assert_eq!(ids(&["--cause", "dropped"]), format!("{bob}\n"));
    assert_eq!(ids(&["--cause", "command"]), format!("{eve}\n{ana}\n"));
    assert_eq!(ids(&["--since", "1h"]), ids(&[]));
    assert_eq!(ids(&["--since", "2126-01-01T00:00:00Z"]), "");
    let closed_at = parsed(&history(&["show", &eve, "-o", "json"]).ok())["closed_at"].clone();
    let since = [
        "--since",
        closed_at.as_str().unwrap(),
        "--user",
        "=eve\u{202e}",
    ];
    assert_eq!(ids(&since), format!("{eve}\n"));
    let cut = history(&["--limit", "2", "-o", "json"]);
    assert_eq!(
        cut.stderr,
        "note: there are more than the last 2; --limit N lists them\n"
    );
    assert_eq!(parsed(&cut.stdout)["truncated"], true);
    for format in ["table", "json", "jsonl", "csv"] {
        let text = history(&["-o", format]).ok();
        assert!(
            text.contains("ticket 88") && !text.contains(['\u{1b}', '\u{202e}']),
            "{format}"
        );
    }
    assert!(history(&["-o", "csv"]).ok().contains("\"'=eve"));
    let entry = parsed(&history(&["show", &ana, "-o", "json"]).ok());
    assert_eq!(
        (&entry["expires_at"], &entry["locks"], &entry["schema"]),
        (&json!("1970-01-01T00:00:00Z"), &json!(2), &json!(1))
    );
    let live = open("live");
    let not_closed = history(&["show", &live]);
    assert_eq!(not_closed.code, 3);
    let show = format!("try:   sessionctl show {live}\n");
    assert!(not_closed.stderr.ends_with(&show), "{}", not_closed.stderr);
    for wrong in [
        &["--cause", "tired"][..],
        &["--since", "yesterday"],
        &["--limit", "0"],
        &["show", "nonsense"],
        &["--user", "ana", "show", &ana],
    ] {
        assert_eq!(history(wrong).code, 2, "{wrong:?}");
    }
    assert_eq!(history(&["show", UNKNOWN]).code, 3);
}

/// The text with every `took …` replaced.
fn without_times_taken(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let kept = line.split_once("took ").map_or(line, |(kept, _)| kept);
        lines += kept.trim_end();
        lines.push('\n');
    }
    lines
}

/// Looking without a server says the same as the server did, to the byte.
#[test]
fn local_mode_tells_of_locks_and_history_what_the_server_told() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.serve(&["--on-close", "save"]);
    let closed = server.open(&json!({"kind": "web", "user": "bob", "ip": "192.0.2.1"}));
    fill(&server, &closed, 1);
    sandbox
        .run(&["close-session", &closed, "--reason", "x"])
        .ok();
    let id = server.open_mobile("ana", 2);
    fill(&server, &id, 1);
    let asked = [
        "locks".to_owned(),
        "locks --record Invoices/1🔑".into(),
        "locks --record Invoices/1".into(),
        "history".into(),
        "history --user bob --limit 1".into(),
        format!("history show {closed}"),
        format!("show {closed}"),
    ];
    let all = |target: &[&str]| -> Vec<Ran> {
        let in_every_format = asked.iter().flat_map(|command| {
            ["table", "json", "jsonl", "csv", "uuid"].map(|format| (command, format))
        });
        in_every_format
            .map(|(command, format)| {
                let command: Vec<&str> = command.split(' ').collect();
                sandbox.run(&[target, &["-o", format], &command].concat())
            })
            .collect()
    };
    let remote = all(&[]);
    let data = sandbox.data();
    let local = ["--local", data.to_str().unwrap()];
    for command in ["locks", "history"] {
        let refused = sandbox.run(&[&local[..], &[command]].concat());
        let online = format!("try:   sessionctl --server {} {command}\n", server.admin);
        assert_eq!(refused.code, 6);
        assert!(refused.stderr.ends_with(&online), "{}", refused.stderr);
    }
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let told = all(&local).into_iter().map(|mut ran| {
        ran.stderr = ran.stderr.replace(&format!("{} ", local.join(" ")), "");
        ran
    });
    assert_eq!(told.collect::<Vec<_>>(), remote);
    let shown = sandbox.run(&[&local[..], &["show", &id]].concat()).ok();
    assert!(
        shown.contains("  variables   a/b \"🔑\" (34 bytes)\n"),
        "{shown}"
    );
}

/// S30, S31: the application's token opens what an application needs and nothing else, also on the owner's own socket; what
/// it ends carries its name.
#[test]
fn s30_the_applications_token_is_good_for_its_sessions_alone() {
    for is_on_a_port in [false, true] {
        let sandbox = Sandbox::new();
        let [app_file, admin_file] =
            ["app.token", "admin.token"].map(|name| sandbox.path(name).display().to_string());
        let mut arguments = vec!["--app-token-file", &app_file];
        if is_on_a_port {
            arguments.extend(["--admin", "127.0.0.1:0", "--admin-token-file", &admin_file]);
        }
        let server = sandbox.serve(&arguments);
        let mode = fs::metadata(&app_file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = sandbox.read("app.token").trim().to_owned();
        let ask = |method: &str, path: &str, body: &str| {
            let (status, text) = server.ask(method, path, Some(&token), body);
            (
                status,
                serde_json::from_str::<Value>(&text).unwrap_or_default(),
            )
        };
        let (status, opened) = ask("POST", "/v1/sessions", r#"{"kind":"mobile"}"#);
        assert_eq!(status, 201);
        let id = opened["session"]["id"].as_str().unwrap();
        let session = format!("/v1/sessions/{id}");
        let in_process = |what: &str| format!("{session}/processes/1{what}");
        for (method, path, body, expected) in [
            ("POST", format!("{session}/login"), r#"{"user":"ana"}"#, 200),
            ("POST", format!("{session}/processes"), "{}", 201),
            ("GET", in_process(""), "", 200),
            ("PUT", in_process("/variables/cart"), "[1]", 204),
            ("PUT", in_process("/locks/Invoices/4711"), "", 200),
            ("GET", in_process("/context"), "", 200),
            ("GET", format!("{session}/saved"), "", 200),
            ("GET", "/v1/sessions".into(), "", 403),
            ("GET", session.clone(), "", 403),
            ("DELETE", session.clone(), "", 403),
            ("POST", format!("{session}/drop"), "{}", 403),
            ("GET", "/v1/locks".into(), "", 403),
            ("GET", "/v1/history".into(), "", 403),
            ("GET", "/v1/stats".into(), "", 403),
            ("GET", "/v1/options".into(), "", 403),
            ("PATCH", "/v1/options".into(), r#"{"max_sessions":5}"#, 403),
            ("POST", format!("{session}/close"), "{}", 202),
            ("DELETE", in_process(""), "", 204),
        ] {
            let (status, answer) = ask(method, &path, body);
            assert_eq!(status, expected, "{method} {path}: {answer}");
        }
        let stranger = Token::mint().unwrap();
        for path in ["/v1/sessions", "/v1/history"] {
            let (status, _) = server.ask("GET", path, Some(stranger.expose()), "");
            assert_eq!(status, 401);
        }
        let operator = ["--server", &server.admin, "--token-file", &admin_file];
        // The socket's operator has no token.
        let operator = &operator[..if is_on_a_port { 4 } else { 2 }];
        let show = [operator, &["history", "show", id, "-o", "json"]].concat();
        let entry = wait_for("the end", || {
            let shown = sandbox.run(&show);
            (shown.code == 0).then(|| parsed(&shown.stdout))
        });
        assert_eq!(entry["actor"], "token:app");
        assert!(!sandbox.read("log").contains(&token));
        if is_on_a_port {
            let application = ["--server", &server.admin, "--token-file", &app_file];
            let closed = sandbox.run(&[&application[..], &["close-session", id]].concat());
            assert_eq!(closed.ok(), format!("already closed {id} (ana)\n"));
            for command in ["list", "locks", "history"] {
                let denied = sandbox.run(&[&application[..], &[command]].concat());
                assert_eq!((denied.code, denied.stdout.as_str()), (4, ""), "{command}");
                assert!(
                    denied
                        .stderr
                        .contains("the role app is not enough for this"),
                    "{}",
                    denied.stderr
                );
            }
        }
        drop(server);
        let both = [
            "--admin",
            "127.0.0.1:0",
            "--admin-token-file",
            &app_file,
            "--app-token-file",
            &app_file,
        ];
        let same = sandbox.run(&[&["serve", "--web", "127.0.0.1:0"], &both[..]].concat());
        assert_eq!(same.code, 78);
        let what_it_may_not = "which neither lists sessions nor drops them";
        assert!(same.stderr.contains(what_it_may_not), "{}", same.stderr);
        fs::set_permissions(&app_file, fs::Permissions::from_mode(0o640)).unwrap();
        let loose = sandbox.run(&[
            "serve",
            "--web",
            "127.0.0.1:0",
            "--app-token-file",
            &app_file,
        ]);
        assert_eq!(loose.code, 78);
        assert!(loose.stderr.contains("chmod 600 "), "{}", loose.stderr);
    }
}

/// On a terminal a closing that takes its time shows who is busy, on one line that is written over and then gone.
#[test]
fn a_terminal_shows_who_is_busy_while_it_waits() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let id = server.open_mobile("ana", 2);
    let command = format!("{} close-session {id}", env!("CARGO_BIN_EXE_sessionctl"));
    let mut child = Command::new("script")
        .args(["-qfec", &command, "/dev/null"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("RUNTIME_DIRECTORY", sandbox.path("run"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut terminal = child.stdout.take().unwrap();
    let mut shown = String::new();
    let mut read_until = |end: &str| {
        while !shown.ends_with(end) {
            let mut byte = [0];
            assert_eq!(terminal.read(&mut byte).unwrap(), 1, "{shown:?}");
            shown.push(byte[0].into());
        }
        std::mem::take(&mut shown)
    };
    let short = &id[..8];
    read_until(&format!(
        "\rwaiting for {short}: 2 processes are busy (1, 2: asked)"
    ));
    server.end_process(&id, 1);
    let one = format!("waiting for {short}: 1 of 2 processes is busy (2: asked)");
    let redrawn = read_until(&one);
    assert!(!redrawn.contains('\n'), "{redrawn:?}");
    server.end_process(&id, 2);
    let end = read_until("\n");
    let blanks = " ".repeat(one.len());
    assert!(
        end.ends_with(&format!("\r{blanks}\rclosed {id} (ana)\r\n")),
        "{end:?}"
    );
    assert!(child.wait().unwrap().success());
}
