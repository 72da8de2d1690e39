//! The on-close method as a program that the built server, or a local command, starts: what it is given, how it is held in
//! bounds, what it may call, and what cannot be one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, Server, parsed, wait_for};

const SESSIONCTL: &str = env!("CARGO_BIN_EXE_sessionctl");

fn open(server: &Server, user: &str) -> String {
    server.open(&json!({"kind": "web", "user": user, "ip": "192.0.2.1"}))
}

/// The arguments of a server whose operators need a token, and the token's file.
fn on_a_port(sandbox: &Sandbox) -> [String; 4] {
    let token_file = sandbox.path("admin.token").display().to_string();
    ["--admin", "127.0.0.1:0", "--admin-token-file", &token_file].map(str::to_owned)
}

/// The state and the parent of a process; `None` if it is gone.
fn state(process: u32) -> Option<(char, u32)> {
    // `1 (name) S 0 …`; the name may have anything in it.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Processes of this machine whose parent that is, dead ones too.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |process: &u32| state(*process).is_some_and(|(_, found)| found == parent);
    numbers.filter(is_child).collect()
}

fn is_closed(sandbox: &Sandbox, id: &str) -> bool {
    sandbox.run(&["history", "show", id, "-o", "uuid"]).code == 0
}

/// S39, S40: exactly the configured arguments, a short list of variables, pipes alone; what clients and operators write is
/// data on stdin, and no secret is anywhere.
#[test]
fn s39_s40_a_method_gets_its_arguments_and_little_else() {
    // A descriptor that the server is started with, as a careless shell would leave one.
    let leaked = rustix::io::dup(fs::File::open("/etc/passwd").unwrap()).unwrap();
    for is_on_a_port in [false, true] {
        let mut sandbox = Sandbox::new();
        let path = std::env::var("PATH").unwrap();
        for (name, value) in [
            ("PATH", path.as_str()),
            ("TZ", "UTC"),
            ("LANG", "C.UTF-8"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
            ("SESSIONCTL_TOKEN_FILE", "/nowhere"),
        ] {
            sandbox.set_variable(name, value);
        }
        let script = sandbox.script(
            "on-close",
            "tr '\\0' '\\n' < /proc/$$/cmdline > cmdline
            tr '\\0' '\\n' < /proc/$$/environ > environ
            descriptors=$(ls -l /proc/$$/fd)
            printf '%s\\n' \"$descriptors\" > fd
            cat > document",
        );
        let app_token_file = sandbox.path("app.token").display().to_string();
        let port = on_a_port(&sandbox);
        let mut arguments = vec!["--on-close", &script];
        arguments.extend(["--on-close-argument", "--fixed"]);
        arguments.extend(["--on-close-argument", "$(touch pwned); id"]);
        arguments.extend(["--app-token-file", &app_token_file]);
        if is_on_a_port {
            arguments.extend(port.iter().map(String::as_str));
        }
        let server = sandbox.serve(&arguments);
        let app_token = sandbox.read("app.token").trim().to_owned();
        let admin_token = sandbox.read("admin.token").trim().to_owned();
        let ask = |path: &str, body: &Value| {
            let (status, text) = server.ask("POST", path, Some(&app_token), &body.to_string());
            assert!(matches!(status, 200 | 201), "{text}");
            parsed(&text)
        };
        for hostile in [
            "$(touch pwned)",
            "; id",
            "--help",
            "`id`",
            "a'b\"c\\",
            "%s%n",
        ] {
            let opened = ask("/v1/sessions", &json!({"kind": "web", "user": hostile}));
            let id = opened["session"]["id"].as_str().unwrap();
            let reason = format!("{hostile}\n--help\n$(touch pwned)");
            let close = json!({"reason": reason, "wait": 10_000});
            let closed = ask(&format!("/v1/sessions/{id}/close"), &close);
            assert_eq!(closed["on_close"][0]["result"], "succeeded", "{closed}");
            let document = parsed(&sandbox.read("document"));
            assert_eq!(
                (&document["session"]["user"], &document["reason"]),
                (&json!(hostile), &json!(reason))
            );
            assert_eq!(document["actor"], "token:app");
            assert_eq!(
                sandbox.read("cmdline"),
                format!("/bin/sh\n{script}\n--fixed\n$(touch pwned); id\n")
            );
            let environ = sandbox.read("environ");
            let found: BTreeMap<&str, &str> = environ
                .lines()
                .map(|line| line.split_once('=').unwrap())
                .collect();
            let home = sandbox.path("").display().to_string();
            let key = format!("{id}/1");
            let mut expected = BTreeMap::from([
                ("PATH", path.as_str()),
                ("HOME", home.trim_end_matches('/')),
                ("LANG", "C.UTF-8"),
                ("TZ", "UTC"),
                ("SESSIONCTL_SERVER", &server.admin),
                ("SESSIONCTL_ON_CLOSE", &key),
            ]);
            if is_on_a_port {
                expected.insert("SESSIONCTL_TOKEN_FILE", &port[3]);
            }
            assert_eq!(found, expected);
            let descriptors = sandbox.read("fd");
            for line in descriptors.lines().skip(1) {
                // One that was closed before it could be looked at is none that the method has.
                let Some((_, target)) = line.split_once(" -> ") else {
                    continue;
                };
                let is_own = target.starts_with("pipe:") || target == script;
                assert!(is_own, "{line}");
            }
            let all = ["cmdline", "environ", "fd", "document"].map(|name| sandbox.read(name));
            let token = opened["token"].as_str().unwrap();
            let secrets = [token, &app_token, &admin_token, "hunter2"];
            for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
                assert!(!all.concat().contains(secret) && !sandbox.read("log").contains(secret));
            }
        }
        assert!(!sandbox.path("pwned").exists() && !Path::new("/pwned").exists());
    }
    drop(leaked);
}

/// S41: TERM, a second later KILL, to the program and all that it has started; nothing is left, not even a zombie.
#[test]
fn s41_nothing_outlives_a_method_whose_time_is_over() {
    let sandbox = Sandbox::new();
    let script = sandbox.script(
        "on-close",
        "trap 'echo TERM >> signals' TERM
        (trap '' TERM; sleep 600) &
        echo $! > child
        (sleep 600 & echo $! > grandchild; wait) &
        while :; do sleep 600 & wait $!; done",
    );
    let server = sandbox.serve(&["--on-close", &script, "--on-close-time-limit", "2s"]);
    let id = open(&server, "ana");
    let closed = sandbox.run(&["close-session", &id]);
    assert_eq!(
        (closed.code, closed.stdout.as_str()),
        (0, format!("closed {id} (ana)\n").as_str())
    );
    let warning =
        format!("warning: {id}: the on-close method for process 1 did not end within 2s (took ");
    assert!(closed.stderr.starts_with(&warning), "{}", closed.stderr);
    assert_eq!(sandbox.read("signals"), "TERM\n");
    for name in ["child", "grandchild"] {
        let process = sandbox.read(name).trim().parse().unwrap();
        wait_for("the end of what it has started", || {
            // Dead is enough: whoever is its parent now may take its time to notice.
            let is_alive = state(process).is_some_and(|(state, _)| state != 'Z');
            (!is_alive).then_some(())
        });
    }
    wait_for("the last child's end", || {
        children(server.pid()).is_empty().then_some(())
    });
}

/// S41: at most `on_close_slots` at once; the others wait, and nobody waits for them who does not want to.
#[test]
fn s41_so_many_run_at_once_and_no_more() {
    let sandbox = Sandbox::new();
    let script = sandbox.script(
        "on-close",
        "touch \"running-$$\"
        ls running-* | wc -l >> counts
        while [ ! -e go ]; do sleep 0.02; done
        rm \"running-$$\"",
    );
    let server = sandbox.serve(&["--on-close", &script, "--on-close-slots", "2"]);
    let ids: Vec<String> = (0..6).map(|_| open(&server, "ana")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let closing = sandbox.run(&[&["close-session", "--no-wait"], &ids[..]].concat());
    assert_eq!(closing.stdout.matches("closing ").count(), 6);
    assert_eq!(closing.code, 0);
    let running = || sandbox.read("counts").lines().count();
    wait_for("the second run", || (running() >= 2).then_some(()));
    assert_eq!(children(server.pid()).len(), 2);
    fs::write(sandbox.path("go"), "").unwrap();
    wait_for("all ends", || {
        ids.iter().all(|id| is_closed(&sandbox, id)).then_some(())
    });
    let counts = sandbox.read("counts");
    let at_once = counts
        .lines()
        .map(|line| line.trim().parse::<usize>().unwrap());
    assert_eq!((running(), at_once.max()), (6, Some(2)), "{counts}");
    assert_eq!(children(server.pid()), Vec::<u32>::new());
}

/// C09: whatever a method does, the session is closed and the exit code is 0; how it went is in the warning, in history and
/// in the server's log.
#[test]
fn c09_a_bad_method_keeps_no_session_alive() {
    let sandbox = Sandbox::new();
    let script = sandbox.script(
        "on-close",
        "case $(cat) in
        *'\"user\":\"fails\"'*) printf 'no database\\nevil\\033[2J' >&2; exit 3;;
        *'\"user\":\"hangs\"'*) exec sleep 600;;
        *'\"user\":\"killed\"'*) kill -9 $$;;
        *'\"user\":\"chats\"'*) head -c 10000000 /dev/zero | tr '\\0' x;;
        *'\"user\":\"complains\"'*) head -c 10000000 /dev/zero | tr '\\0' x >&2;;
        *'\"user\":\"garbles\"'*) printf '{\\377';;
        *'\"user\":\"is not JSON\"'*) echo '{a: 1}';;
        esac",
    );
    let server = sandbox.serve(&["--on-close", &script, "--on-close-time-limit", "10s"]);
    let try_as = |user: &str, result: &str, told: Option<&str>| {
        let id = open(&server, user);
        let closed = sandbox.run(&["close-session", &id]);
        assert_eq!(
            (closed.code, closed.stdout),
            (0, format!("closed {id} ({user})\n"))
        );
        let entry = parsed(&sandbox.run(&["history", "show", &id, "-o", "json"]).ok());
        assert_eq!(entry["on_close"][0]["result"], result, "{entry}");
        let listed = sandbox.run(&["history", "--limit", "1", "-o", "csv"]).ok();
        let summary = if told.is_some() { "1 failed" } else { "ok" };
        assert!(listed.contains(&format!(",{summary},")), "{listed}");
        let log = sandbox.read("log");
        let line = log
            .lines()
            .find(|line| line.contains(&id) && line.contains(&format!("result={result}")));
        let Some(told) = told else {
            assert_eq!((closed.stderr.as_str(), line), ("", None));
            return log;
        };
        let warning = format!("warning: {id}: the on-close method for process 1 {told}");
        assert!(closed.stderr.starts_with(&warning), "{}", closed.stderr);
        assert!(line.is_some_and(|line| line.contains("WARN")), "{log}");
        let hint = "note: if the on-close method said why, that is in the server's log\n";
        let may_have_said_why = ["failed", "timed_out"].contains(&result);
        assert_eq!(closed.stderr.ends_with(hint), may_have_said_why);
        let again = sandbox.run(&["close-session", &id]);
        assert_eq!((again.code, again.stderr.as_str()), (0, ""), "no news");
        log
    };
    let log = try_as("fails", "failed", Some("failed: exit code 3 (took "));
    assert!(
        log.contains(r#"said="no database\nevil\u{1b}[2J""#),
        "{log}"
    );
    // No other of them depends on how fast a shell starts.
    sandbox
        .run(&["options", "set", "on_close_time_limit", "400ms"])
        .ok();
    let timed_out = "did not end within 400ms (took ";
    try_as("hangs", "timed_out", Some(timed_out));
    sandbox
        .run(&["options", "reset", "on_close_time_limit"])
        .ok();
    try_as(
        "killed",
        "failed",
        Some("failed: killed by signal 9 (took "),
    );
    let too_much = "ran, but its answer is not kept: answered 10000000 bytes, more than 65536";
    try_as("chats", "bad_answer", Some(too_much));
    let before = fs::metadata(sandbox.path("log")).unwrap().len();
    try_as("complains", "succeeded", None);
    let after = fs::metadata(sandbox.path("log")).unwrap().len();
    assert!((1_024..2_048).contains(&(after - before)));
    try_as(
        "garbles",
        "bad_answer",
        Some("ran, but its answer is not kept: the answer is not UTF-8"),
    );
    let no_json = "ran, but its answer is not kept: the value is not JSON";
    try_as("is not JSON", "bad_answer", Some(no_json));
    try_as("nobody special", "succeeded", None);
    fs::remove_file(&script).unwrap();
    try_as(
        "finds nothing",
        "not_started",
        Some("cannot be started: No such file"),
    );
    assert_eq!(children(server.pid()), Vec::<u32>::new());
}

/// C09: from inside, `close-session` finds the server and never waits: for its own session it says `closing`, and as many as
/// there are slots each close one more without waiting for each other.
#[test]
fn c09_methods_close_sessions_and_never_wait() {
    for is_on_a_port in [false, true] {
        let sandbox = Sandbox::new();
        let lines = format!(
            "next=$(sed -n 's/.*\"next\":\"\\([^\"]*\\)\".*/\\1/p')
            own=${{SESSIONCTL_ON_CLOSE%/*}}
            {SESSIONCTL} close-session --wait 10m $own $next > \"out-$own\" 2> \"err-$own\"
            echo $? >> \"out-$own\""
        );
        let script = sandbox.script("on-close", &lines);
        let port = on_a_port(&sandbox);
        let mut arguments = vec!["--on-close", &script];
        if is_on_a_port {
            arguments.extend(port.iter().map(String::as_str));
        }
        let server = sandbox.serve(&arguments);
        let token = is_on_a_port.then(|| sandbox.read("admin.token").trim().to_owned());
        let ask = |method: &str, path: &str, body: &str| {
            let (status, text) = server.ask(method, path, token.as_deref(), body);
            assert!(matches!(status, 200..=204), "{text}");
            text
        };
        let open = || {
            let opened = parsed(&ask("POST", "/v1/sessions", "{\"kind\":\"web\"}"));
            opened["session"]["id"].as_str().unwrap().to_owned()
        };
        let pairs: Vec<(String, String)> = (0..8).map(|_| (open(), open())).collect();
        for (first, next) in &pairs {
            let path = format!("/v1/sessions/{first}/processes/1/variables/next");
            ask("PUT", &path, &format!("\"{next}\""));
        }
        for (first, _) in &pairs {
            ask("POST", &format!("/v1/sessions/{first}/close"), "{}");
        }
        let run = |id: &str| {
            wait_for("the end", || {
                let path = format!("/v1/history/{id}");
                let (status, text) = server.ask("GET", &path, token.as_deref(), "");
                (status == 200).then(|| parsed(&text)["on_close"][0].clone())
            })
        };
        for (first, next) in &pairs {
            for id in [first, next] {
                // Who waited would have been ended at the time limit.
                assert_eq!(run(id)["result"], "succeeded");
            }
            let said = sandbox.read(&format!("out-{first}"));
            assert_eq!(said, format!("closing {first}\nclosing {next}\n0\n"));
            assert_eq!(
                sandbox.read(&format!("out-{next}")),
                format!("closing {next}\n0\n")
            );
            for id in [first, next] {
                assert_eq!(sandbox.read(&format!("err-{id}")), "");
            }
        }
    }
}

/// S39, S46: what cannot be started, and what somebody else could choose, is refused before anything is touched, with what
/// mends it; the same from the file.
#[test]
fn s46_serve_refuses_a_method_that_others_choose() {
    let sandbox = Sandbox::new();
    let good = sandbox.script("on-close", "true");
    let with_mode = |name: &str, mode: u32| {
        let path = sandbox.script(name, "true");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let open_directory = sandbox.path("open");
    fs::create_dir(&open_directory).unwrap();
    let in_open = sandbox.script("open/on-close", "true");
    let link = sandbox.path("link").display().to_string();
    symlink(&in_open, &link).unwrap();
    fs::set_permissions(&open_directory, fs::Permissions::from_mode(0o777)).unwrap();
    let home = sandbox.path("");
    let directory = home.to_str().unwrap();
    let missing = sandbox.path("missing").display().to_string();
    let (plain, shared, public) = (
        with_mode("plain", 0o600),
        with_mode("shared", 0o770),
        with_mode("public", 0o707),
    );
    let cases: [(&str, &str); 9] = [
        ("on-close", "--on-close /PATH/TO/PROGRAM"),
        ("sh -c true", "--on-close /PATH/TO/PROGRAM"),
        (&missing, "--on-close with the path of a program"),
        (directory, "--on-close with the path of a program"),
        (&plain, "chmod +x "),
        (&shared, "chmod go-w "),
        (&public, "chmod go-w "),
        (&in_open, "chmod go-w "),
        (&link, "chmod go-w "),
    ];
    let file = sandbox.path("server.toml");
    let file_path = file.to_str().unwrap();
    for (method, advice) in cases {
        let refused = sandbox.run(&["serve", "--web", "127.0.0.1:0", "--on-close", method]);
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (78, ""),
            "{method}"
        );
        assert!(
            refused.stderr.starts_with("error: ")
                && refused.stderr.contains(&format!("\ntry:   {advice}")),
            "{}",
            refused.stderr
        );
        fs::write(&file, format!("on_close = {method:?}\n")).unwrap();
        for more in [&["--check-config"][..], &[]] {
            let command = ["serve", "--web", "127.0.0.1:0", "--config", file_path];
            let from_file = sandbox.run(&[&command[..], more].concat());
            assert_eq!(from_file.code, 78, "{method}");
            assert!(from_file.stderr.contains(advice), "{}", from_file.stderr);
        }
    }
    for arguments in [
        &["--on-close-argument", "x"][..],
        &["--on-close", "save", "--on-close-argument", "x"],
    ] {
        let refused = sandbox.run(&[&["serve"], arguments].concat());
        assert_eq!(refused.code, 78);
        assert!(refused.stderr.contains("only a program takes arguments"));
    }
    assert!(!sandbox.data().exists(), "nothing was touched");
    let lines = format!("on_close = {good:?}\non_close_arguments = [\"--keep\", \"a b\"]\n");
    fs::write(&file, lines).unwrap();
    let checked = sandbox
        .run(&["serve", "--check-config", "--config", file_path])
        .ok();
    assert!(
        checked.contains(&format!("on_close            {good}\n"))
            && checked.contains("on_close_arguments  --keep 'a b'\n"),
        "{checked}"
    );
    sandbox.serve(&["--config", file_path]);
}

/// Stops the server as an operator does.
fn stop(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

/// Says for which session it runs, and its argument.
const TELL: &str = "echo \"${SESSIONCTL_ON_CLOSE%/*} $1\" >> runs";

/// Local mode calls what the last server called, unless it is told otherwise, and refuses what somebody else could choose.
#[test]
fn local_mode_calls_the_method_of_the_last_server() {
    let sandbox = Sandbox::new();
    let script = sandbox.script("on-close", TELL);
    let other = sandbox.script("other", "echo \"${SESSIONCTL_ON_CLOSE%/*} other\" >> runs");
    let server = sandbox.serve(&["--on-close", &script, "--on-close-argument", "served"]);
    let ids: Vec<String> = (0..5).map(|_| open(&server, "ana")).collect();
    let refused = sandbox.run(&["close-session", &ids[0], "--on-close", "none"]);
    assert_eq!(
        refused.code, 2,
        "a server calls its own: {}",
        refused.stderr
    );
    stop(server);
    let data = sandbox.data().display().to_string();
    let close = |arguments: &[&str]| {
        sandbox.run(&[&["--local", &data, "close-session"], arguments].concat())
    };
    for (arguments, run) in [
        (&[ids[0].as_str()][..], Some("served")),
        (&[&ids[1], "--on-close", &other], Some("other")),
        (&[&ids[2], "--on-close", "none"], None),
        (&[&ids[3], "--on-close", "save"], None),
    ] {
        let before = sandbox.read("runs");
        let closed = close(arguments);
        assert_eq!((closed.code, closed.stderr.as_str()), (0, ""));
        assert_eq!(closed.stdout, format!("closed {} (ana)\n", arguments[0]));
        let run = run.map(|name| format!("{} {name}\n", arguments[0]));
        assert_eq!(sandbox.read("runs"), before + &run.unwrap_or_default());
    }
    fs::set_permissions(&script, fs::Permissions::from_mode(0o777)).unwrap();
    let loose = close(&[&ids[4]]);
    assert_eq!((loose.code, loose.stdout.as_str()), (6, ""));
    assert!(loose.stderr.contains("chmod go-w "), "{}", loose.stderr);
    fs::remove_file(&script).unwrap();
    let missing = close(&[&ids[4]]);
    assert_eq!(missing.code, 0);
    let warning = format!(
        "warning: {}: the on-close method for process 1 cannot be started: ",
        ids[4]
    );
    assert!(missing.stderr.contains(&warning), "{}", missing.stderr);
}

/// Without a server there is no log to look into later: what a method said is told at once, and asked for or not.
#[test]
fn local_mode_tells_what_a_bad_method_says() {
    let sandbox = Sandbox::new();
    let script = sandbox.script("on-close", "echo the disk is full >&2; exit 3");
    let server = sandbox.serve(&["--on-close", &script]);
    let ids = ["ana", "ben"].map(|user| open(&server, user));
    stop(server);
    let data = sandbox.data().display().to_string();
    for (id, flags) in ids.iter().zip([&[][..], &["-q"]]) {
        let closed = sandbox.run(&[&["--local", &data, "close-session", id], flags].concat());
        assert_eq!(closed.code, 0, "{}", closed.stderr);
        for told in ["the disk is full", "failed: exit code 3"] {
            assert!(closed.stderr.contains(told), "{}", closed.stderr);
        }
        assert!(!closed.stderr.contains("note: "), "{}", closed.stderr);
    }
}

/// The command has the directory, and answers there what its own methods ask (C07, C09).
#[test]
fn c09_local_mode_answers_its_methods() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_sessionctl");
    let script = sandbox.script(
        "on-close",
        &format!(
            "{program} close-session \"${{SESSIONCTL_ON_CLOSE%/*}}\" >> said 2>&1
            other=$(cat other 2> /dev/null); rm -f other
            [ -n \"$other\" ] && {program} close-session --wait 9s \"$other\" >> said 2>&1
            {program} list -q | wc -l >> said"
        ),
    );
    let server = sandbox.serve(&["--on-close", &script]);
    let (id, other, third) = (
        open(&server, "ana"),
        open(&server, "ben"),
        open(&server, "eva"),
    );
    stop(server);
    fs::write(sandbox.path("other"), &other).unwrap();
    let data = sandbox.data().display().to_string();
    let closed = sandbox.run(&["--local", &data, "close-session", &id]);
    assert_eq!((closed.code, closed.stderr.as_str()), (0, ""));
    assert_eq!(closed.stdout, format!("closed {id} (ana)\n"));
    let said = sandbox.read("said");
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    assert!(
        lines.contains(&format!("closing {id} (ana)").as_str()),
        "{said}"
    );
    // Each of the two is asked of itself, the other besides; none of them waits.
    let of_other = format!("closing {other} (ben)");
    assert_eq!(
        lines.iter().filter(|line| **line == of_other).count(),
        2,
        "{said}"
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.parse::<u8>().is_ok())
            .count(),
        2,
        "{said}"
    );
    for (closed, runs) in [(&id, 1), (&other, 1)] {
        let shown = sandbox.run(&["--local", &data, "history", "show", closed, "-o", "json"]);
        let entry: serde_json::Value = serde_json::from_str(&shown.ok()).unwrap();
        assert_eq!(entry["on_close"].as_array().unwrap().len(), runs, "{entry}");
        assert_eq!(entry["on_close"][0]["result"], "succeeded");
    }
    let left = sandbox.run(&["--local", &data, "list", "-q"]).ok();
    assert_eq!(left, format!("{third}\n"));
}

/// `--no-wait` without a server leaves the method to the next one; commands about other sessions leave it alone.
#[test]
fn c09_local_mode_leaves_pending_methods_to_the_next_server() {
    let sandbox = Sandbox::new();
    let script = sandbox.script("on-close", TELL);
    let arguments = ["--on-close", &script, "--on-close-argument", "served"];
    let server = sandbox.serve(&arguments);
    let ids: Vec<String> = (0..5).map(|_| open(&server, "ana")).collect();
    stop(server);
    let data = sandbox.data().display().to_string();
    let local = |arguments: &[&str]| sandbox.run(&[&["--local", &data], arguments].concat());
    let left = local(&["close-session", &ids[0], "--no-wait"]);
    assert_eq!(
        (left.code, left.stdout, left.stderr.as_str()),
        (
            0,
            format!("closing {} (ana)\n", ids[0]),
            "note: what is still closing is finished by the next server of this directory, or by closing it once more\n"
        )
    );
    for others in [
        &["close-session", &ids[1]][..],
        &["close-session", "--on-close", "save", &ids[2]],
        &["close-session", "--on-close", "none", &ids[3]],
        &["drop-session", &ids[4]],
        &["open-session"],
    ] {
        local(others).ok();
        let listed = local(&["show", &ids[0]]).ok();
        assert!(
            listed.contains("state         closing"),
            "{others:?}: {listed}"
        );
    }
    assert_eq!(sandbox.read("runs"), format!("{} served\n", ids[1]));
    let _server = sandbox.serve(&arguments);
    wait_for("its end", || is_closed(&sandbox, &ids[0]).then_some(()));
    assert!(
        sandbox
            .read("runs")
            .ends_with(&format!("{} served\n", ids[0]))
    );
}
