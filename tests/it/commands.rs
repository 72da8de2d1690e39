//! The commands of the built binary against a running server: what they print, and how they end.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::Value;
use sessionctl::cli::EXIT_CODES;
use sessionctl::token::Token;

use crate::sandbox::{Ran, Sandbox, Server, request, wait_for};

const COMMANDS: [&str; 20] = [
    "list",
    "show",
    "count",
    "close-session",
    "drop-session",
    "open-session",
    "locks",
    "history",
    "history show",
    "options",
    "options list",
    "options get",
    "options set",
    "options reset",
    "stats",
    "ping",
    "serve",
    "demo",
    "generate",
    "openapi",
];

#[test]
fn help() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!("help", sandbox.run(&["--help"]).ok());
    for command in COMMANDS {
        insta::assert_snapshot!(
            format!("help_{}", command.replace(' ', "-")),
            sandbox
                .run(&command.split(' ').chain(["--help"]).collect::<Vec<_>>())
                .ok()
        );
    }
}

#[test]
fn help_tells_every_exit_code() {
    let help = Sandbox::new().run(&["--help"]).ok();
    for (_, code, meaning) in EXIT_CODES {
        assert!(help.contains(&format!("{code:>3}  {meaning}")), "{code}");
    }
}

/// Two sessions of known content, the first at `127.0.0.1`, and a server over them.
fn with_two_sessions() -> (Sandbox, Server, [String; 2]) {
    let sandbox = Sandbox::new();
    let hostile = "evil\u{1b}[2J\u{202e}\u{9b}";
    let ana = sandbox.open_locally(&[
        "--user",
        "ana",
        "--ip",
        "192.0.2.1",
        "--user-agent",
        "Firefox, \"fox\"",
    ]);
    let guest = sandbox.open_locally(&["--user-agent", hostile]);
    let server = sandbox.serve(&[]);
    (sandbox, server, [ana.to_string(), guest.to_string()])
}

#[test]
fn typical_output() {
    let (sandbox, _server, [ana, guest]) = with_two_sessions();
    let shown = |name: &str, arguments: &[&str]| {
        insta::assert_snapshot!(name, sandbox.run(arguments).redacted(&sandbox));
    };
    shown("list", &["list"]);
    shown("list_limited", &["list", "--limit", "1"]);
    shown("show", &["show", &ana]);
    shown("count", &["count"]);
    shown("close", &["close-session", &ana]);
    shown("close_again", &["close", &ana]);
    shown("show_closed", &["show", &ana]);
    shown("drop", &["drop-session", &guest]);
    shown(
        "unknown",
        &["close-session", "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11"],
    );
    shown("list_of_nobody", &["list"]);
}

#[test]
fn every_format_tells_the_same() {
    let (sandbox, _server, [ana, guest]) = with_two_sessions();
    let list = |format: &str| sandbox.run(&["list", "-o", format]).ok();
    let json: Value = serde_json::from_str(&list("json")).unwrap();
    assert_eq!(
        (&json["schema"], &json["total"], &json["truncated"]),
        (&1.into(), &2.into(), &false.into())
    );
    let ids: Vec<_> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [&ana, &guest]);
    assert_eq!(json["items"][0]["user"], "ana");
    assert_eq!(
        json["items"][1]["user_agent"], "evil\u{1b}[2J\u{202e}\u{9b}",
        "as it is, but escaped on the way"
    );
    assert_eq!(list("uuid"), format!("{ana}\n{guest}\n"));
    assert_eq!(sandbox.run(&["list", "-q"]).ok(), list("uuid"));
    let lines: Vec<Value> = list("jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (lines.len(), lines[1]["id"].as_str()),
        (2, Some(guest.as_str()))
    );
    let csv = list("csv");
    assert!(csv.lines().nth(1).unwrap().starts_with(&format!(
        "{ana},ana,web,legacy,active,192.0.2.1,\"Firefox, \"\"fox\"\"\","
    )));
    for format in ["table", "json", "jsonl", "csv", "uuid"] {
        let text = list(format);
        assert!(
            text.contains(&ana) && !text.contains(['\u{1b}', '\u{9b}', '\u{202e}']),
            "{format}"
        );
    }
}

#[test]
fn machines_get_outcomes_too() {
    let (sandbox, _server, [ana, guest]) = with_two_sessions();
    let json: Value =
        serde_json::from_str(&sandbox.run(&["close-session", &ana, "-o", "json"]).ok()).unwrap();
    assert_eq!(json["items"][0]["outcome"], "closed");
    assert_eq!(
        (&json["items"][0]["initiated"], &json["items"][0]["user"]),
        (&true.into(), &"ana".into())
    );
    let ran = sandbox.run(&["close", &ana, &guest, "-o", "jsonl"]).ok();
    let outcomes: Vec<Value> = ran
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&outcomes[0]["outcome"], &outcomes[1]["outcome"]),
        (&"already_closed".into(), &"closed".into())
    );
    let csv = sandbox.run(&["close", &ana, "-o", "csv"]).ok();
    assert_eq!(
        csv,
        format!(
            "id,outcome,initiated,cause,user,processes,selections,locks,variables,on_close\n{ana},already_closed,false,command,ana,1,0,0,0,\n"
        )
    );
    let count: Value = serde_json::from_str(&sandbox.run(&["count", "-o", "json"]).ok()).unwrap();
    assert_eq!(count["count"], 0);
}

#[test]
fn s38_uuids_are_read_in_all_spellings_and_written_in_one() {
    let (sandbox, _server, [ana, guest]) = with_two_sessions();
    let simple = ana.replace('-', "").to_uppercase();
    for spelling in [
        ana.clone(),
        simple,
        format!("urn:uuid:{ana}"),
        format!("{{{ana}}}"),
    ] {
        let shown = sandbox.run(&["show", &spelling]).ok();
        assert!(shown.contains(&ana), "{shown}");
    }
    assert_eq!(
        sandbox.run(&["close", &guest.to_uppercase()]).ok(),
        format!("closed {guest}\n")
    );
}

#[test]
fn s38_malformed_uuids_are_usage_errors_before_anything_happens() {
    let (sandbox, _server, [ana, _]) = with_two_sessions();
    let secret = Token::mint().unwrap();
    let full_width = ana.replace(['0', '1', '2', '3'], "０");
    let malformed = [
        &ana[..35],
        &format!("{ana}0"),
        &ana.replacen('-', " ", 1),
        &full_width,
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
        "",
        secret.expose(),
        &format!("4DSID={}", secret.expose()),
    ];
    for text in malformed {
        for command in ["close-session", "drop-session", "show"] {
            let ran = sandbox.run(&[command, "--", text]);
            assert_eq!(
                (ran.code, ran.stdout.as_str()),
                (2, ""),
                "{command} {text}: {}",
                ran.stderr
            );
            assert!(
                ran.stderr.contains("UUID") && !ran.stderr.contains(secret.expose()),
                "{}",
                ran.stderr
            );
        }
        // Named beside a good one: that one lives on.
        assert_eq!(sandbox.run(&["close-session", "--", &ana, text]).code, 2);
        // And no server is asked at all.
        assert_eq!(
            sandbox
                .run(&["--server", "unix:/nowhere", "close-session", "--", text])
                .code,
            2
        );
    }
    assert!(sandbox.run(&["show", &ana]).ok().contains("active"));
}

/// A cookie value may begin with a hyphen: then it looks like a flag, and is not repeated either.
#[test]
fn a_pasted_cookie_value_is_never_repeated() {
    let sandbox = Sandbox::new();
    let secret = format!("--{}", &Token::mint().unwrap().expose()[2..]);
    for arguments in [
        &["show", &secret][..],
        &["--server", &secret, "show"],
        &["list", &secret],
        &[&secret],
    ] {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, 2);
        assert!(!ran.stderr.contains(&secret[..12]), "{}", ran.stderr);
    }
}

#[test]
fn many_targets_are_all_tried_and_have_one_code() {
    let (sandbox, _server, [ana, guest]) = with_two_sessions();
    let unknown = "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11";
    let ran = sandbox.run(&["close", "--must-exist", &ana, unknown, &guest]);
    assert_eq!(ran.code, 5);
    assert_eq!(ran.stdout, format!("closed {ana} (ana)\nclosed {guest}\n"));
    assert!(ran.stderr.contains(unknown), "{}", ran.stderr);
    assert_eq!(sandbox.run(&["close", "--must-exist", unknown]).code, 3);
    assert_eq!(
        sandbox.run(&["close", "-q", &ana, unknown]),
        Ran {
            code: 0,
            stdout: String::new(),
            stderr: String::new()
        }
    );
}

/// Each target is a call of its own: naming one twice closes it once.
#[test]
fn a_target_that_is_named_twice_is_closed_once() {
    let (sandbox, _server, [ana, _]) = with_two_sessions();
    let twice = sandbox.run(&["close", &ana, &ana]).ok();
    assert_eq!(
        twice,
        format!("closed {ana} (ana)\nalready closed {ana} (ana)\n")
    );
}

#[test]
fn targets_come_from_stdin() {
    let (sandbox, _server, [ana, guest]) = with_two_sessions();
    let input = format!("# who must go\n\n  {ana}  \nnonsense\n{guest}");
    let ran = sandbox.run_with_stdin(&["close-session", "-"], &input);
    assert_eq!(
        (ran.code, ran.stdout),
        (5, format!("closed {ana} (ana)\nclosed {guest}\n"))
    );
    assert!(ran.stderr.contains("line 4 of stdin"), "{}", ran.stderr);
    assert_eq!(sandbox.run_with_stdin(&["close-session", "-"], "").code, 0);
    assert_eq!(
        sandbox.run_with_stdin(&["close-session", "-"], "x\n").code,
        2
    );
    assert_eq!(sandbox.run(&["close-session", "-", &ana]).code, 2);
}

#[test]
fn open_session_gives_the_cookie_to_its_jar_and_to_nobody_else() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let jar = sandbox.path("jar");
    let ran = sandbox.run(&[
        "open-session",
        "--user",
        "ana",
        "--cookie-jar",
        jar.to_str().unwrap(),
    ]);
    let id = ran.stdout.trim().to_owned();
    let text = fs::read_to_string(&jar).unwrap();
    let token = text.trim().rsplit('\t').next().unwrap();
    assert!(!ran.stdout.contains(token) && !ran.stderr.contains(token));
    assert_eq!(
        fs::metadata(&jar).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let (status, head, _) = server
        .get("/check", &[("Cookie", &format!("__Host-4DSID={token}"))])
        .unwrap();
    assert!(
        status == 200
            && head.contains(&format!("x-session-id: {id}"))
            && head.contains("remote-user: ana")
    );
    let open_into =
        |jar: &Path| sandbox.run(&["open-session", "--cookie-jar", jar.to_str().unwrap()]);
    let nowhere = sandbox.path("nowhere/jar");
    assert_eq!(
        sandbox
            .run(&["open-session", "--cookie-jar", nowhere.to_str().unwrap()])
            .code,
        1
    );
    assert_eq!(
        sandbox.run(&["count"]).ok(),
        "1\n",
        "a session that nobody can use is not opened"
    );
    assert_eq!(sandbox.run(&["open-session", "--user", "a\nb"]).code, 2);
    // What is no file is not replaced by one, and what a link leads to is written, not the link.
    let directory = sandbox.path("directory");
    fs::create_dir(&directory).unwrap();
    let link = sandbox.path("link");
    std::os::unix::fs::symlink(&jar, &link).unwrap();
    assert_eq!(open_into(&directory).code, 2);
    let socket = sandbox.path("run/admin.sock");
    assert_eq!(open_into(&socket).code, 2);
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    fs::write(
        &jar,
        format!("{text}example.com\tFALSE\t/\tFALSE\t0\tother\tkept\n"),
    )
    .unwrap();
    open_into(&link).ok();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let filled = fs::read_to_string(&jar).unwrap();
    assert!(
        !filled.contains(token) && filled.contains("\tother\tkept\n"),
        "one cookie in the place of the other"
    );
    assert_eq!(filled.lines().count(), 3);
    let thesis = sandbox.path("thesis.txt");
    fs::write(&thesis, "years of work").unwrap();
    assert_eq!(open_into(&thesis).code, 2);
    assert_eq!(fs::read_to_string(&thesis).unwrap(), "years of work");
}

#[test]
fn ping_tells_whether_a_server_is_ready() {
    let sandbox = Sandbox::new();
    let gone = sandbox.run(&["ping"]);
    assert_eq!(gone.code, 7);
    assert!(
        gone.stderr.contains("cannot reach the server at unix:") && gone.stderr.contains("try:"),
        "{}",
        gone.stderr
    );
    let server = sandbox.serve(&[]);
    assert!(
        sandbox
            .run(&["ping"])
            .ok()
            .starts_with(&format!("ready {} ", server.admin))
    );
    assert_eq!(sandbox.run(&["ping", "-q"]).ok(), "");
    assert_eq!(sandbox.run(&["--local", "x", "ping"]).code, 2);
    let foreign = sandbox.run(&["--server", &server.web, "ping"]);
    assert_eq!(
        foreign.code, 1,
        "the web listener is ready, and no admin API: {}",
        foreign.stderr
    );
    // Behind its back the disk fails.
    let disk = rusqlite::Connection::open(sandbox.data().join("sessions.sqlite")).unwrap();
    disk.execute_batch("DROP TABLE sessions").unwrap();
    let refused = sandbox.run(&["open-session"]);
    assert_eq!(refused.code, 9, "the disk may have it: {}", refused.stderr);
    let look = "try:   restart the server, then: sessionctl list\n";
    assert!(refused.stderr.ends_with(look), "{}", refused.stderr);
    assert_eq!(
        sandbox.run(&["open-session"]).code,
        6,
        "now nothing is tried"
    );
    assert_eq!(sandbox.run(&["ping"]).code, 10);
    assert_eq!(server.get("/readyz", &[]).unwrap().0, 503);
    assert_eq!(server.get("/healthz", &[]).unwrap().0, 200);
}

/// S26, S27: nothing without the token, everything with it, and the file is the owner's alone.
#[test]
fn s27_admin_over_tcp_needs_the_token() {
    let sandbox = Sandbox::new();
    let token_file = sandbox.path("token");
    let file = token_file.to_str().unwrap();
    let mut server = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", file]);
    assert_eq!(
        fs::metadata(&token_file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let with =
        |arguments: &[&str]| sandbox.run(&[&["--server", &server.admin], arguments].concat());
    assert_eq!(with(&["list"]).code, 4);
    assert_eq!(with(&["ping"]).code, 4);
    assert_eq!(with(&["--token-file", file, "count"]).ok(), "0\n");
    let other = sandbox.path("other");
    fs::write(&other, format!("{}\n", Token::mint().unwrap().expose())).unwrap();
    assert_eq!(
        with(&["--token-file", other.to_str().unwrap(), "list"]).code,
        4,
        "others can read it"
    );
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    let ran = with(&["--token-file", other.to_str().unwrap(), "list"]);
    assert!(
        ran.code == 4 && ran.stderr.contains("not authenticated"),
        "{}",
        ran.stderr
    );
    let token = fs::read_to_string(&token_file).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let list = |headers: &[(&str, &str)], path: &str| {
        request(&server.admin, "GET", path, headers, "").unwrap()
    };
    let (status, head, _) = list(&[], "/v1/sessions");
    assert!(status == 401 && head.contains("www-authenticate: bearer"));
    assert_eq!(
        list(&[], &format!("/v1/sessions?access_token={}", token.trim())).0,
        401
    );
    assert_eq!(
        list(
            &[("Cookie", &format!("__Host-4DSID={}", token.trim()))],
            "/v1/sessions"
        )
        .0,
        401
    );
    assert_eq!(
        list(
            &[("Authorization", &bearer), ("Authorization", &bearer)],
            "/v1/sessions"
        )
        .0,
        401
    );
    assert_eq!(list(&[("Authorization", &bearer)], "/v1/sessions").0, 200);
    assert_eq!(
        list(&[("Authorization", &bearer)], "/session").0,
        404,
        "the admin listener knows no web routes"
    );
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    drop(server);
    let again = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", file]);
    assert_eq!(
        sandbox
            .run(&["--server", &again.admin, "--token-file", file, "count"])
            .ok(),
        "0\n",
        "the same token"
    );
}

#[test]
fn serve_refuses_what_it_cannot_be() {
    let sandbox = Sandbox::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let loose = sandbox.path("loose");
    fs::write(&loose, "x").unwrap();
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o644)).unwrap();
    let cases: [&[&str]; 9] = [
        &["--admin", "127.0.0.1:0"],
        &["--admin", "0.0.0.0:0", "--admin-token-file", "token"],
        &["--web", &taken],
        &["--max-sessions", "18446744073709551615"],
        &["--max-sessions", "1000001"],
        &["--inactive-session-timeout", "500d"],
        &["--absolute-session-timeout", "0s"],
        &["--absolute-session-timeout", "18446744073709551615s"],
        &["--data", "/proc/nowhere"],
    ];
    for arguments in cases {
        let is_web = arguments[0] == "--web";
        let start: &[&str] = if is_web {
            &["serve"]
        } else {
            &["serve", "--web", "127.0.0.1:0"]
        };
        let ran = sandbox.run(&[start, arguments].concat());
        assert_eq!(ran.code, 78, "{arguments:?}: {}", ran.stderr);
        assert!(
            ran.stderr.starts_with("error: ") && ran.stdout.is_empty(),
            "{}",
            ran.stderr
        );
    }
    let mut arguments = vec!["serve", "--web", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    arguments.extend(["--admin-token-file", loose.to_str().unwrap()]);
    let ran = sandbox.run(&arguments);
    assert!(
        ran.code == 78 && ran.stderr.contains("chmod 600"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        sandbox
            .run(&["serve", "--inactive-session-timeout", "-1"])
            .code,
        2
    );
    assert_eq!(sandbox.run(&["--local", "x", "serve"]).code, 2);
}

#[test]
fn serve_stops_cleanly_and_takes_up_where_it_stopped() {
    let sandbox = Sandbox::new();
    let jar = sandbox.path("jar");
    for signal in ["TERM", "INT"] {
        let mut server = sandbox.serve(&[]);
        let socket = sandbox.path("run/admin.sock");
        assert_eq!(server.admin, format!("unix:{}", socket.display()));
        assert_eq!(
            fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
            0o600
        );
        if signal == "TERM" {
            sandbox
                .run(&["open-session", "--cookie-jar", jar.to_str().unwrap()])
                .ok();
        }
        server.signal(signal);
        assert_eq!(server.wait(), Some(0), "{signal}");
        assert!(!socket.exists());
    }
    // A server that was killed leaves its socket behind; the next one takes its place.
    let mut killed = sandbox.serve(&[]);
    killed.signal("KILL");
    assert_eq!(killed.wait(), None);
    let _server = sandbox.serve(&[]);
    assert_eq!(sandbox.run(&["count"]).ok(), "1\n");
    assert_eq!(
        sandbox.run(&["serve", "--web", "127.0.0.1:0"]).code,
        6,
        "one server for one directory"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (sandbox, _server, _) = with_two_sessions();
    let mut child = sandbox
        .command(&["list"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = Ran::of(sandbox.command(&["list"]).stdout(full).output().unwrap());
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
}

#[test]
fn the_demo_shows_the_main_job_and_ends_by_itself() {
    let sandbox = Sandbox::new();
    let shown = sandbox.run(&["demo"]).ok();
    let count = |needle: &str| shown.matches(needle).count();
    assert_eq!(count("$ sessionctl list"), 2);
    assert_eq!(count(" active "), 12 + 11, "{shown}");
    assert_eq!((count("\nclosed "), count("\nnot found ")), (1, 1));
    assert!(shown.contains("GET /check    401") && shown.contains("and a new cookie"));
    assert!(!shown.contains("4DSID="));
}

#[test]
fn the_surroundings_decide_nothing_they_should_not() {
    let (sandbox, server, [ana, _]) = with_two_sessions();
    let mut bare = sandbox.command(&["--server", &server.admin, "list"]);
    bare.env_clear();
    assert!(
        Ran::of(bare.output().unwrap()).ok().contains(&ana),
        "no HOME, no TERM, no PATH"
    );
    let mut proxied = sandbox.command(&["list", "-q"]);
    proxied
        .env("http_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1");
    assert!(Ran::of(proxied.output().unwrap()).ok().contains(&ana));
    let mut by_environment = sandbox.command(&["count"]);
    by_environment
        .env("RUNTIME_DIRECTORY", "/nowhere")
        .env("SESSIONCTL_SERVER", &server.admin);
    assert_eq!(Ran::of(by_environment.output().unwrap()).ok(), "2\n");
    let mut both = sandbox.command(&["count"]);
    both.env("SESSIONCTL_SERVER", &server.admin)
        .env("SESSIONCTL_LOCAL", "/nowhere");
    assert_eq!(Ran::of(both.output().unwrap()).code, 2);
    assert_eq!(
        sandbox.run(&["--server", "", "count"]).code,
        2,
        "a variable that was not set"
    );
    assert_eq!(
        sandbox
            .run(&["--server", "http://192.0.2.1:1", "list"])
            .code,
        2,
        "no token over a network in the clear"
    );
}

/// A stop that cannot write is not called clean, and a second signal ends what hangs.
#[test]
fn a_second_signal_ends_a_stop_that_hangs() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.serve(&[]);
    let jar = sandbox.path("jar");
    sandbox
        .run(&["open-session", "--cookie-jar", jar.to_str().unwrap()])
        .ok();
    let text = fs::read_to_string(&jar).unwrap();
    let token = text.trim().rsplit('\t').next().unwrap();
    assert_eq!(
        server
            .get("/check", &[("Cookie", &format!("__Host-4DSID={token}"))])
            .unwrap()
            .0,
        200
    );
    let disk = rusqlite::Connection::open(sandbox.data().join("sessions.sqlite")).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    server.signal("TERM");
    server.signal("INT");
    assert_eq!(server.wait(), Some(1));
}

/// A server removes its own socket at the end, not one that has taken its place.
#[test]
fn a_socket_that_is_another_servers_is_left_alone() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path("shared.sock");
    let admin = format!("unix:{}", socket.display());
    let (first_data, second_data) = (sandbox.path("one"), sandbox.path("two"));
    let mut first = sandbox.serve(&["--admin", &admin, "--data", first_data.to_str().unwrap()]);
    fs::remove_file(&socket).unwrap();
    let _second = sandbox.serve(&["--admin", &admin, "--data", second_data.to_str().unwrap()]);
    first.signal("TERM");
    assert_eq!(first.wait(), Some(0));
    assert!(sandbox.run(&["--server", &admin, "ping", "-q"]).code == 0);
}

/// An input that cannot be read ends there, once.
#[test]
fn an_unreadable_stdin_ends_the_work() {
    let (sandbox, _server, [ana, _]) = with_two_sessions();
    let directory = fs::File::open(sandbox.data()).unwrap();
    let ran = Ran::of(
        sandbox
            .command(&["close-session", "-"])
            .stdin(directory)
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.stderr);
    let input = sandbox.path("input");
    fs::write(
        &input,
        [
            b"\xff\xfe\n".as_slice(),
            ana.as_bytes(),
            b"\n",
            &[b'a'; 10_000],
        ]
        .concat(),
    )
    .unwrap();
    let ran = Ran::of(
        sandbox
            .command(&["close-session", "-"])
            .stdin(fs::File::open(&input).unwrap())
            .output()
            .unwrap(),
    );
    assert_eq!((ran.code, ran.stdout), (5, format!("closed {ana} (ana)\n")));
    assert!(
        ran.stderr.contains("line 1 of stdin") && ran.stderr.contains("line 3 of stdin is longer"),
        "{}",
        ran.stderr
    );
}

/// Whoever cannot tell what was done does no more, and says what was left.
#[test]
fn a_close_that_cannot_be_told_of_stops_and_says_so() {
    let (sandbox, _server, [ana, guest]) = with_two_sessions();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = Ran::of(
        sandbox
            .command(&["close-session", "--no-wait", &ana, &guest])
            .stdout(full())
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(
        ran.stderr
            .starts_with("closed 1, failed 0, unknown 0, not attempted 1\n"),
        "{}",
        ran.stderr
    );
    wait_for("the end of what was begun", || {
        (sandbox.run(&["list", "-q"]).ok() == format!("{guest}\n")).then_some(())
    });
    let ran = Ran::of(
        sandbox
            .command(&["close-session", &guest])
            .stdout(full())
            .output()
            .unwrap(),
    );
    assert!(
        ran.code == 1 && ran.stderr.contains("cannot write to stdout"),
        "{}",
        ran.stderr
    );
    let ran = sandbox.run_with_stdin(
        &["--server", "unix:/nowhere", "close-session", "-"],
        &format!("{ana}\n{guest}\n"),
    );
    assert_eq!(ran.code, 7);
    assert!(
        ran.stderr
            .ends_with("closed 0, failed 1, unknown 0, not attempted the rest of stdin\n"),
        "{}",
        ran.stderr
    );
}

/// A reader that went away takes nothing from the exit code.
#[test]
fn a_closed_stdout_hides_no_failure() {
    let (sandbox, _server, _) = with_two_sessions();
    let unknown = "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11";
    let mut command = sandbox.command(&["close", "--must-exist", "-o", "json", unknown]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(Ran::of(child.wait_with_output().unwrap()).code, 3);
}

/// Local commands end when they are told to, also while another program has the database.
#[test]
fn a_local_command_can_be_stopped_under_another_programs_lock() {
    let sandbox = Sandbox::new();
    let id = sandbox.open_locally(&[]).to_string();
    let disk = rusqlite::Connection::open(sandbox.data().join("sessions.sqlite")).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let data = sandbox.data();
    let mut command = sandbox.command(&["--local", data.to_str().unwrap(), "close-session", &id]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_until_it_catches_sigint(child.id());
    let mut ended = None;
    for _ in 0..200 {
        ended = child.try_wait().unwrap();
        if ended.is_some() {
            break;
        }
        crate::sandbox::send("INT", child.id());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let ended = ended.expect("only kill -9 would have helped");
    assert_eq!(
        ended.code(),
        Some(130),
        "by its own hand, after its summary"
    );
}

/// Before that, the signal would end the process without its doing.
fn wait_until_it_catches_sigint(pid: u32) {
    for _ in 0..1_000 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:\t"))
            .unwrap();
        if u64::from_str_radix(caught, 16).unwrap() & (1 << 1) != 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("it never caught the signal");
}

/// What a server was to be started with is kept only once it runs.
#[test]
fn a_server_that_cannot_start_leaves_no_options_behind() {
    let sandbox = Sandbox::new();
    sandbox.open_locally(&[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let web = taken.local_addr().unwrap().to_string();
    assert_eq!(
        sandbox
            .run(&["serve", "--web", &web, "--max-sessions", "1"])
            .code,
        78
    );
    let data = sandbox.data();
    assert_eq!(
        sandbox
            .run(&["--local", data.to_str().unwrap(), "open-session"])
            .code,
        0
    );
}

#[test]
fn json_tells_every_outcome_by_its_name() {
    let (sandbox, _server, _) = with_two_sessions();
    let unknown = "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11";
    let ran = sandbox.run(&["close", "--must-exist", "-o", "json", unknown]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (ran.code, &json["items"][0]["outcome"]),
        (3, &"not_found".into())
    );
    let ran = sandbox.run(&["--server", "unix:/nowhere", "close", "-o", "json", unknown]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (ran.code, &json["items"][0]["outcome"]),
        (7, &"failed".into())
    );
}
