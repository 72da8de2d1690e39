//! Local mode: the same commands with no server, and the same output to the byte.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use sessionctl::cli::{self, Host};
use sessionctl::clock::ManualClock;
use sessionctl::options::Options;
use sessionctl::session::SessionId;

use crate::places::{BehindServer, MONDAY};
use crate::sandbox::{Ran, Sandbox};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The command line inside this process, on a clock that stands still.
async fn run(
    clock: &ManualClock,
    width: Option<usize>,
    target: [&str; 2],
    arguments: &[&str],
    stdin: &str,
) -> Ran {
    let (stdout, stderr) = (Captured::default(), Captured::default());
    let args = ["sessionctl", target[0], target[1]]
        .iter()
        .chain(arguments)
        .map(OsString::from)
        .collect();
    let host = Host {
        args,
        environment: [].into_iter().collect(),
        stdin: Box::new(Cursor::new(stdin.to_owned())),
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        terminal_width: width,
        stderr_is_terminal: false,
        stdin_is_terminal: false,
        clock: Arc::new(clock.clone()),
    };
    let code = tokio::task::spawn_blocking(move || cli::run(host))
        .await
        .unwrap();
    Ran {
        code: code.into(),
        stdout: stdout.text(),
        stderr: stderr.text(),
    }
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_and_remote_print_the_same_bytes_and_end_the_same() {
    let clock = ManualClock::at(MONDAY.parse().unwrap());
    let (local, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let directory = local.path().to_str().unwrap();
    let mut ids = Vec::new();
    for arguments in [
        &[
            "open-session",
            "--user",
            "ana",
            "--ip",
            "192.0.2.1",
            "--user-agent",
            "Mozilla/5.0 (a long description)",
        ][..],
        &[
            "open-session",
            "--user",
            "日本語の名前",
            "--ip",
            "2001:db8::1",
        ],
        &["open-session", "--user-agent", "evil\u{1b}[2J\u{202e}"],
        &["open-session", "--user", "=cmd"],
    ] {
        let opened = run(&clock, None, ["--local", directory], arguments, "").await;
        ids.push(opened.ok().trim().to_owned());
    }
    copy(local.path(), copied.path());
    let server = BehindServer::over(copied, clock.clone(), Options::default()).await;
    let address = format!("unix:{}", server.socket().display());
    clock.advance(std::time::Duration::from_secs(3 * 3600 + 61));

    let unknown = SessionId::random().to_string();
    let [a, b, c, d] = [0, 1, 2, 3].map(|index| ids[index].as_str());
    let long_reason = "x".repeat(257);
    let commands = [
        "list".to_owned(),
        "list -o json".into(),
        "list -o jsonl".into(),
        "list -o csv".into(),
        "list -o uuid".into(),
        "list -q".into(),
        "list --limit 2".into(),
        "list --limit 2 -o json".into(),
        "count".into(),
        "count -o json".into(),
        format!("show {a}"),
        format!("show {b} -o json"),
        format!("show {c} -o csv"),
        format!("show {unknown}"),
        "show nonsense".into(),
        format!("close-session {unknown}"),
        format!("close-session --must-exist {unknown}"),
        format!("close-session {a} --reason {long_reason}"),
        format!("close-session {a} --reason ticket-88"),
        format!("close-session {a}"),
        format!("show {a}"),
        "close-session -o json -".into(),
        format!("drop-session {d} -o jsonl"),
        format!("drop-session {d}"),
        format!("drop-session --must-exist {d} {unknown}"),
        "list -o json".into(),
        format!("drop-session -q {c}"),
        "list".into(),
    ];
    let stdin = format!("{b}\n# nobody\n{unknown}\nnonsense\n");
    for command in &commands {
        let arguments: Vec<&str> = command.split(' ').collect();
        for width in [None, Some(80)] {
            let local = ["--local", directory];
            let mut here = run(&clock, width, local, &arguments, &stdin).await;
            let remote = ["--server", &address];
            let mut there = run(&clock, width, remote, &arguments, &stdin).await;
            // But for the target that the advice names.
            here.stderr = here.stderr.replace(&local.join(" "), "TARGET");
            there.stderr = there.stderr.replace(&remote.join(" "), "TARGET");
            assert_eq!(here, there, "{command}");
            let printed = here.stdout.len() + here.stderr.len();
            assert_eq!(
                printed == 0,
                command.starts_with("drop-session -q"),
                "{command}"
            );
        }
    }
    let here = run(
        &clock,
        None,
        ["--local", directory],
        &["open-session", "-o", "json"],
        "",
    )
    .await;
    let there = run(
        &clock,
        None,
        ["--server", &address],
        &["open-session", "-o", "json"],
        "",
    )
    .await;
    let without_id = |ran: &Ran| {
        let mut json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        json["id"].take();
        (ran.code, json)
    };
    assert_eq!(without_id(&here), without_id(&there));
}

#[tokio::test]
async fn a_terminal_never_cuts_a_uuid() {
    let clock = ManualClock::at(MONDAY.parse().unwrap());
    let local = tempfile::tempdir().unwrap();
    let target = ["--local", local.path().to_str().unwrap()];
    let open = [
        "open-session",
        "--user",
        "日本語の名前でとても長い",
        "--user-agent",
        "Mozilla/5.0 (X11; Linux x86_64)",
    ];
    let id = run(&clock, None, target, &open, "").await.ok();
    for width in [40, 60, 80, 100, 120, 250] {
        let listed = run(&clock, Some(width), target, &["list"], "").await.ok();
        let row = listed.lines().nth(1).unwrap();
        assert!(row.starts_with(id.trim()), "{listed}");
        let columns = unicode_width::UnicodeWidthStr::width(row);
        assert!(columns <= width, "{width}: {columns}\n{listed}");
    }
}

#[test]
fn a_directory_that_a_server_has_is_refused_with_the_online_command() {
    let sandbox = Sandbox::new();
    let id = sandbox.open_locally(&[]).to_string();
    let server = sandbox.serve(&[]);
    let data = sandbox.data();
    let data = data.to_str().unwrap();
    for arguments in [
        &["list"][..],
        &["count"],
        &["show", &id],
        &["close-session", &id],
        &["drop-session", &id],
        &["open-session"],
    ] {
        let ran = sandbox.run(&[&["--local", data], arguments].concat());
        assert_eq!(ran.code, 6, "{arguments:?}");
        assert!(
            ran.stderr.contains(&format!("pid {}", server.pid())),
            "{}",
            ran.stderr
        );
        let online = format!(
            "try:   sessionctl --server {} {}\n",
            server.admin,
            arguments.join(" ")
        );
        assert!(ran.stderr.ends_with(&online), "{}", ran.stderr);
    }
    drop(server);
    assert_eq!(
        sandbox.run(&["--local", data, "count"]).ok(),
        "1\n",
        "a killed server holds nothing"
    );
}

#[test]
fn looking_makes_nothing() {
    let sandbox = Sandbox::new();
    let id = SessionId::random().to_string();
    for arguments in [
        &["list"][..],
        &["count"],
        &["show", &id],
        &["close-session", &id],
        &["drop-session", &id],
    ] {
        let nowhere = sandbox.path("nowhere");
        let ran = sandbox.run(&[&["--local", nowhere.to_str().unwrap()], arguments].concat());
        assert_eq!(ran.code, 1, "{arguments:?}");
        assert!(
            ran.stderr.contains("there is no session store") && ran.stderr.contains("try:"),
            "{}",
            ran.stderr
        );
        assert!(!nowhere.exists());
    }
    let mine = sandbox.path("mine");
    fs::create_dir(&mine).unwrap();
    assert_eq!(
        sandbox
            .run(&["--local", mine.to_str().unwrap(), "list"])
            .code,
        1
    );
    assert_eq!(fs::read_dir(&mine).unwrap().count(), 0);
}

/// Local commands at the same time take turns, and lose nothing.
#[test]
fn local_commands_take_turns() {
    let sandbox = Sandbox::new();
    sandbox.open_locally(&[]);
    let data = sandbox.data();
    let open = || {
        sandbox
            .command(&["--local", data.to_str().unwrap(), "open-session"])
            .stdout(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut children: Vec<_> = (0..8).map(|_| open()).collect();
    let done = children
        .iter_mut()
        .filter_map(|child| child.wait().unwrap().code())
        .filter(|code| *code == 0)
        .count();
    assert_eq!(done, 8);
    assert_eq!(
        sandbox
            .run(&["--local", data.to_str().unwrap(), "count"])
            .ok(),
        "9\n"
    );
}

/// Without a server the options are those of the last server, not the defaults: else what lives would be called expired.
#[test]
fn local_mode_goes_by_the_options_of_the_last_server() {
    let sandbox = Sandbox::new();
    let options = [
        "--cookie-secure",
        "off",
        "--max-sessions",
        "2",
        "--inactive-session-timeout",
        "20d",
    ];
    let server = sandbox.serve(&options);
    sandbox.run(&["open-session"]).ok();
    drop(server);
    let data = sandbox.data();
    let local = |arguments: &[&str]| {
        sandbox.run(&[&["--local", data.to_str().unwrap()], arguments].concat())
    };
    let json: serde_json::Value =
        serde_json::from_str(&local(&["list", "-o", "json"]).ok()).unwrap();
    let instant = |name: &str| -> sessionctl::clock::Timestamp {
        json["items"][0][name].as_str().unwrap().parse().unwrap()
    };
    let lifetime = instant("expires_at").since(instant("created_at"));
    assert_eq!(lifetime, std::time::Duration::from_secs(20 * 24 * 3600));
    let jar = sandbox.path("jar");
    local(&["open-session", "--cookie-jar", jar.to_str().unwrap()]).ok();
    assert!(
        fs::read_to_string(&jar).unwrap().contains("\tFALSE\t"),
        "no Secure"
    );
    assert!(fs::read_to_string(&jar).unwrap().contains("\t4DSID\t"));
    assert_eq!(local(&["open-session"]).code, 6, "the limit holds too");
}
