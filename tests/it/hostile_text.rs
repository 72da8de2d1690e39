//! Text that would drive a terminal, forge a line of a log or be a formula, from everybody who can send some (S43, S44, S45).

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::fuzz::csv_rows;
use crate::sandbox::{Ran, Sandbox, Server, wait_for};

/// Sets a terminal's title, clears it, turns the direction of text, colours it by C1, hides.
const HOSTILE: &str = "\u{1b}]0;x\u{7}\u{1b}[2J\u{202e}\u{9b}31m\u{200b}\r\nforged";

/// What a user name may have of it.
const HOSTILE_USER: &str = "an\u{202e}a\u{200b}\u{2066}";

/// What must not reach a terminal as it is.
const RAW: [&str; 7] = [
    "\u{1b}", "\u{7}", "\u{202e}", "\u{9b}", "\u{200b}", "\u{2066}", "\nforged",
];

/// A session whose every text is hostile.
fn open(server: &Server) -> String {
    server.open(&json!({"user": HOSTILE_USER, "user_agent": HOSTILE}))
}

/// What a command writes on a terminal of its own.
fn on_a_terminal(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let command = sandbox.command(arguments);
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(quoted)
        .collect();
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let typescript = sandbox.path("typescript");
    let output = Command::new("script")
        .env_clear()
        .envs(variables)
        .env("SHELL", "/bin/sh")
        .current_dir(command.get_current_dir().unwrap())
        .args([
            "-q",
            "-e",
            "-c",
            &format!("stty cols 200; {}", words.join(" ")),
        ])
        .arg(&typescript)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(typescript.exists(), "{arguments:?}: {shown}");
    shown
}

#[test]
fn s44_nothing_that_is_shown_on_a_terminal_drives_it() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let [shown, closed, dropped] = [(); 3].map(|()| open(&server));
    server.put(&shown, 1, "locks/Invoices/a%E2%80%AEb", "");
    server.put(&shown, 1, "variables/c%E2%80%8Bd", "1");
    let reason = format!("--reason={HOSTILE}");
    for (arguments, expected) in [
        (&["list"][..], "\\u{202e}"),
        (&["list", "-o", "json"], "\\u202e"),
        (&["list", "-o", "jsonl"], "\\u001b"),
        (&["list", "-o", "csv"], "\\u{1b}"),
        (&["show", &shown], "\\u{1b}]0;x\\u{7}"),
        (&["show", &shown, "-o", "json"], "\\u009b"),
        (&["locks"], "\\u{202e}"),
        (&["-v", "close-session", &closed, &reason], "closed"),
        (&["show", &closed], "error: "),
        (
            &["drop-session", &dropped, &reason, "-o", "json"],
            "dropped",
        ),
        (&["history"], "\\u{202e}"),
        (&["history", "-o", "json"], "\\u001b"),
        (&["audit"], "\\u{1b}"),
        (&["audit", "-o", "csv"], "\\u{1b}"),
        (&["close-session", HOSTILE], "error: "),
        (&["show", HOSTILE], "error: "),
        (&[HOSTILE], "error: "),
        (&["list", "--limit", HOSTILE], "error: "),
        (&["list", HOSTILE], "error: "),
        (&["--server", HOSTILE, "list"], "error: "),
        (
            &["--server", &format!("unix:/{HOSTILE}"), "list"],
            "error: ",
        ),
        (&["--local", HOSTILE, "list"], "error: "),
        (&["options", "set", HOSTILE, "1"], "error: "),
        (&["options", "set", "cookie_name", HOSTILE], "error: "),
        (&["serve", "--check-config", "--config", HOSTILE], "error: "),
        (&["serve", "--check-config", "--data", HOSTILE], "\\u{1b}"),
    ] {
        let text = on_a_terminal(&sandbox, arguments);
        assert!(text.contains(expected), "{arguments:?}: {text:?}");
        // A terminal's own line ends.
        let text = text.replace("\r\n", "\n");
        for raw in RAW {
            assert!(!text.contains(raw), "{raw:?} of {arguments:?}: {text:?}");
        }
    }
}

/// The lines that a server has written so far.
fn log(sandbox: &Sandbox) -> Vec<String> {
    let log = sandbox.read("log");
    assert!(
        log.bytes().all(|byte| byte >= b' ' || byte == b'\n'),
        "{log:?}"
    );
    log.lines().map(str::to_owned).collect()
}

#[test]
fn s43_hostile_text_forges_no_line_of_the_log() {
    let sandbox = Sandbox::new();
    let complains = "printf '\\033[2J\\r\\nforged\\n\\302\\233' >&2; exit 1";
    let method = sandbox.script("method", complains);
    let server = sandbox.serve(&["-v", "--on-close", &method, "--open-rate", "10000"]);
    let lines_of = |agent: &str, user: &str| {
        let before = log(&sandbox).len();
        server.get("/session", &[("User-Agent", agent)]).unwrap();
        server.get(&format!("/{agent}"), &[("Cookie", agent)]);
        let body = json!({"user": user, "user_agent": agent});
        let id = server.open(&body);
        let reason = format!("--reason={agent}");
        sandbox.run(&["close-session", &id, &reason]).ok();
        wait_for("the method's complaint", || {
            let lines = log(&sandbox);
            lines
                .iter()
                .any(|line| line.contains("failed") && line.contains(&id))
                .then_some(())
        });
        log(&sandbox).len() - before
    };
    let ordinary = lines_of("curl/8", "ana");
    assert!(ordinary >= 2, "{}", sandbox.read("log"));
    // HTTP itself refuses the controls below 0x20; the application can send them.
    assert_eq!(
        lines_of("\u{9b}31m\u{202e}\u{85}forged", HOSTILE_USER),
        ordinary
    );
    let id = open(&server);
    let before = log(&sandbox).len();
    sandbox
        .run(&["drop-session", &id, &format!("--reason={HOSTILE}")])
        .ok();
    assert_eq!(
        sandbox
            .run(&["options", "set", "cookie_name", HOSTILE])
            .code,
        2
    );
    let forged =
        |line: &String| line.starts_with("forged") || line.contains(['\u{9b}', '\u{202e}']);
    let lines = log(&sandbox);
    assert!(!lines.iter().any(forged), "{lines:#?}");
    assert!(lines.len() <= before + 2, "{lines:#?}");
}

#[test]
fn s45_a_csv_cell_is_text_to_a_spreadsheet() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let users = [
        "=HYPERLINK(\"http://x\",\"y\")",
        "+1+2",
        "-2",
        "@SUM(A1)",
        "a,b",
        "say \"hi\"",
        "Zoë 日本",
        "'=1",
    ];
    for user in users {
        server.open(&json!({"user": user, "user_agent": user}));
    }
    let rows = csv_rows(&sandbox.run(&["list", "-o", "csv"]).ok());
    let column = |name: &str| rows[0].iter().position(|found| found == name).unwrap();
    assert_eq!(rows.len(), 1 + users.len());
    for (row, user) in rows[1..].iter().zip(users) {
        for name in ["user", "user_agent"] {
            let cell = &row[column(name)];
            assert!(
                !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                "{cell}"
            );
            let is_formula = user.starts_with(['=', '+', '-', '@']);
            let expected = format!("{}{user}", if is_formula { "'" } else { "" });
            assert_eq!(*cell, expected);
        }
    }
    // The raw data have to be asked for.
    let list: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["list", "-o", "json"]).ok()).unwrap();
    let raw: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["user"].as_str().unwrap())
        .collect();
    assert_eq!(raw, users);
}

/// What fuzzing found: the path of a configuration file that says nothing readable is shown with why, and what to try.
#[test]
fn a_configuration_that_is_no_text_is_refused_with_advice() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("server.toml");
    fs::write(&file, b"data = \"\xff\"\n").unwrap();
    let file = file.to_str().unwrap();
    let Ran { code, stderr, .. } = sandbox.run(&["serve", "--check-config", "--config", file]);
    assert_eq!(code, 78, "{stderr}");
    assert!(
        stderr.contains("cause: ") && stderr.contains("\ntry:   "),
        "{stderr}"
    );
}
