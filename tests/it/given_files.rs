//! The files that a command is given: a token that makes of who calls no more than it says, and those that others have in hand.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use sessionctl::token::Token;

use crate::sandbox::{FakeServer, Ran, Sandbox, answer};
use crate::tls::trusted_server;

const CREATE: [&str; 6] = ["token", "create", "--name", "more", "--role", "admin"];

/// A server on its socket, and the file of a viewer's token.
fn viewer(sandbox: &Sandbox) -> String {
    let file = sandbox.path("viewer.token").display().to_string();
    let create = ["token", "create", "--name", "looks", "--role", "viewer"];
    sandbox.run(&[&create[..], &["--out", &file]].concat()).ok();
    file
}

fn assert_too_little(ran: &Ran) {
    let told = &ran.stderr;
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{told}");
    assert!(told.contains("the role viewer is not enough"), "{told}");
}

/// Whoever presents a token wants to be no more than it makes of them, whoever they are on this machine.
#[test]
fn s30_a_token_that_is_named_counts_on_a_socket_too() {
    let mut sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let file = viewer(&sandbox);
    let secret = sandbox.read("viewer.token");
    let profiles = sandbox.path(".config/sessionctl");
    fs::create_dir_all(&profiles).unwrap();
    let profile = format!(
        "[profiles.here]\nserver = {:?}\ntoken_file = {file:?}\n",
        server.admin
    );
    fs::write(profiles.join("config.toml"), profile).unwrap();
    for target in [
        &["--server", &server.admin, "--token-file", &file][..],
        &["--token-file", &file],
        &["--profile", "here"],
    ] {
        assert_too_little(&sandbox.run(&[target, &CREATE].concat()));
        assert_eq!(sandbox.run(&[target, &["count"]].concat()).ok(), "0\n");
    }
    let with_stdin = |arguments: &[&str]| {
        sandbox.run_with_stdin(&[&["--token-stdin"], arguments].concat(), &secret)
    };
    assert_too_little(&with_stdin(&CREATE));
    assert_eq!(with_stdin(&["count"]).ok(), "0\n");
    let missing = sandbox.run(&["--token-file", "missing", "count"]);
    assert_eq!(missing.code, 4, "{}", missing.stderr);
    assert!(
        missing.stderr.contains("cannot read missing"),
        "{}",
        missing.stderr
    );
    // What the environment names is for servers that ask for a token.
    for file in [&file, "missing"] {
        sandbox.set_variable("SESSIONCTL_TOKEN_FILE", file);
        assert_eq!(sandbox.run(&["token", "list", "-q"]).ok(), "looks\n");
    }
}

/// Nobody asks for a token in a directory: one that is named would be left away without a word.
#[test]
fn s30_a_token_is_not_for_a_directory_nor_for_serve() {
    let mut sandbox = Sandbox::new();
    sandbox.open_locally(&[]);
    let data = sandbox.data().display().to_string();
    let token = ["--token-file", "token"];
    let refused = |ran: Ran| {
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("--token-file"), "{}", ran.stderr);
    };
    refused(sandbox.run(&[&token[..], &["--local", &data, "count"]].concat()));
    let served = sandbox.run(&[&token[..], &["serve", "--check-config"]].concat());
    assert_eq!(served.code, 2, "{}", served.stderr);
    sandbox.set_variable("SESSIONCTL_LOCAL", &data);
    refused(sandbox.run(&[&token[..], &["count"]].concat()));
    // What the environment names is for servers.
    sandbox.set_variable("SESSIONCTL_TOKEN_FILE", "token");
    assert_eq!(sandbox.run(&["count"]).ok(), "1\n");
}

/// A secret that is shown once and that nobody saw: whoever closed stdout is told of it, too.
#[test]
fn s31_a_secret_that_could_not_be_shown_is_told_to_be_lost() {
    let sandbox = Sandbox::new();
    let _server = sandbox.serve(&[]);
    for (name, is_closed, format) in [
        ("a", true, "table"),
        ("b", true, "json"),
        ("c", false, "table"),
        ("d", false, "json"),
    ] {
        let mut command = sandbox.command(&[
            "token", "create", "--name", name, "--role", "viewer", "-o", format,
        ]);
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let stdout = match is_closed {
            true => Stdio::piped(),
            false => full.into(),
        };
        let mut child = command
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 1, "{name}: {}", ran.stderr);
        let told = format!("error: the token {name} was made, and its secret is lost");
        assert!(ran.stderr.starts_with(&told), "{}", ran.stderr);
        let fix = format!("try:   sessionctl token revoke {name}\n");
        assert!(ran.stderr.ends_with(&fix), "{}", ran.stderr);
        assert_eq!(
            sandbox.run(&["token", "revoke", name]).ok(),
            format!("revoked {name}\n")
        );
    }
}

#[test]
fn what_became_of_several_tokens_is_told_by_the_table() {
    let sandbox = Sandbox::new();
    let _server = sandbox.serve(&[]);
    viewer(&sandbox);
    let revoke = |names: &[&str]| sandbox.run(&[&["token", "revoke"], names].concat()).code;
    assert_eq!(revoke(&["nobody", "none"]), 3);
    assert_eq!(revoke(&["nobody", "looks", "none"]), 5);
    let missing = r#"{"type":"urn:sessionctl:problem:no-token","title":"t","status":404,"detail":"d","what":"none"}"#;
    // The first one breaks off, and is not tried again: another may have its name by then.
    let fake = FakeServer::answering(vec![None, answer(404, missing)]);
    let ran = sandbox.run(&["--server", &fake.url, "token", "revoke", "lost", "none"]);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    let told = format!(
        "error: whether lost is revoked is unknown\ncause: no answer came from the server at {}",
        fake.url
    );
    assert!(ran.stderr.starts_with(&told), "{}", ran.stderr);
    let advice = format!("try:   sessionctl --server {} token list\n", fake.url);
    assert!(ran.stderr.contains(&advice), "{}", ran.stderr);
}

/// A command that has to end by itself, whatever it is given.
fn within_time(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let plain = sandbox.command(arguments);
    let mut command = Command::new("timeout");
    command
        .arg("20")
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(sandbox.path(""))
        .stdin(Stdio::null());
    Ran::of(command.output().unwrap())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts something else in the place of a file, as it may be found there.
fn exchange(path: &Path, for_what: &str) {
    let good = fs::read(path).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        assert!(
            command
                .args(arguments)
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    };
    match for_what {
        "a pipe" => {
            fs::remove_file(path).unwrap();
            run("mkfifo", &["-m", "600"]);
        }
        "a link" => {
            let other = path.with_extension("other");
            fs::rename(path, &other).unwrap();
            symlink(other, path).unwrap();
        }
        "another's" => run("chown", &["12345"]),
        "large" => fs::write(path, [&good[..], &[b'\n'; 1024 * 1024]].concat()).unwrap(),
        "loose" => set_mode(path, 0o622),
        "open" => set_mode(path, 0o640),
        other => fs::write(path, other).unwrap(),
    }
}

#[test]
fn s46_files_that_others_have_in_hand_are_refused_and_none_is_waited_for() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test gives files away: run it as root"
    );
    let sandbox = Sandbox::new();
    let (server, _, ca) = trusted_server(&sandbox);
    let (token, ca) = (sandbox.path("admin.token"), Path::new(&ca));
    let (good_token, good_ca) = (fs::read(&token).unwrap(), fs::read(ca).unwrap());
    let wrong = Token::mint().unwrap().expose()[1..].to_owned();
    for (path, for_what, told) in [
        (ca, "a pipe", "is not a file"),
        (ca, "another's", "belongs to uid 12345"),
        (ca, "large", "has more than"),
        (ca, "loose", "chmod go-w "),
        (&token, "a pipe", "is not a file"),
        (&token, "a link", "is a link"),
        (&token, "another's", "belongs to uid 12345"),
        (&token, "large", "has more than"),
        (&token, "loose", "chmod 600 "),
        (&token, "open", "others can read "),
        (&token, &wrong, "does not hold a token"),
    ] {
        let (ca_path, token_path) = (ca.display().to_string(), token.display().to_string());
        let target = ["--server", &server.admin, "--cacert", &ca_path];
        let count = [&target[..], &["--token-file", &token_path, "count"]].concat();
        within_time(&sandbox, &count).ok();
        exchange(path, for_what);
        let ran = within_time(&sandbox, &count);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (4, ""),
            "{for_what}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(told), "{for_what}: {}", ran.stderr);
        assert!(!ran.stderr.contains(&wrong), "{}", ran.stderr);
        for (path, good, mode) in [(ca, &good_ca, 0o644), (&*token, &good_token, 0o600)] {
            fs::remove_file(path).unwrap();
            fs::write(path, good).unwrap();
            set_mode(path, mode);
        }
    }
}

/// A file that was just made is on disk only when its directory is.
#[test]
fn a_token_in_a_file_is_on_disk_with_its_name() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let (trace, file) = (sandbox.path("trace"), sandbox.path("kept/ci.token"));
    fs::create_dir(sandbox.path("kept")).unwrap();
    let create = ["token", "create", "--name", "ci", "--role", "app", "--out"];
    let file = file.to_str().unwrap();
    let plain = sandbox.command(&[&["--server", &server.admin][..], &create, &[file]].concat());
    let status = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=fsync,fdatasync", "-o"])
        .arg(&trace)
        .arg(plain.get_program())
        .args(plain.get_args())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let trace = fs::read_to_string(trace).unwrap();
    let synced = |end: &str| {
        let end = format!("{end}>) = 0");
        trace.lines().position(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.join(" ").contains(&end)
        })
    };
    let (file, directory) = (synced("/kept/ci.token"), synced("/kept"));
    assert!(file.is_some() && file < directory, "{trace}");
}
