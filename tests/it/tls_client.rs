//! Commands over TLS: whom they trust, and where a token goes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use crate::sandbox::{FakeServer, Ran, Sandbox, answer};
use crate::tls::{Authority, CERTIFICATE, KEY, VALID, port, serve_tls, trusted_server};

fn list(sandbox: &Sandbox, server: &str, more: &[&str]) -> Ran {
    let token_file = sandbox.path("admin.token").display().to_string();
    let target = ["--server", server, "--token-file", &token_file, "list"];
    sandbox.run(&[&target[..], more].concat())
}

/// Nothing was asked of whom nobody trusts: cause, and what to try.
fn assert_distrusted(ran: &Ran, cause: &str, advice: &str) {
    let told = &ran.stderr;
    assert_eq!((ran.code, ran.stdout.as_str()), (7, ""), "{told}");
    assert!(told.starts_with("error: the server at https://"), "{told}");
    assert!(told.contains("nothing was sent to it\n"), "{told}");
    let (_, rest) = told.split_once("cause: ").expect(told);
    assert!(rest.contains(cause), "{told}");
    let (_, tried) = told.split_once("try:   ").expect(told);
    assert!(tried.contains(advice), "{told}");
}

#[test]
fn a_server_is_asked_over_tls_by_who_trusts_its_authority() {
    let mut sandbox = Sandbox::new();
    let (server, _, ca) = trusted_server(&sandbox);
    assert!(
        server.admin.starts_with("https://127.0.0.1:"),
        "{}",
        server.admin
    );
    list(&sandbox, &server.admin, &["--cacert", &ca]).ok();
    let by_name = format!("https://localhost:{}", port(&server.admin));
    let token_file = sandbox.path("admin.token");
    sandbox.set_variable("SESSIONCTL_CACERT", &ca);
    sandbox.set_variable("SESSIONCTL_SERVER", &by_name);
    sandbox.set_variable("SESSIONCTL_TOKEN_FILE", token_file);
    sandbox.run(&["open-session", "--user", "ana"]).ok();
    let told = sandbox.run(&["-v", "list"]);
    assert!(told.stdout.contains("ana"), "{}", told.stdout);
    assert_eq!(told.stderr, format!("server: {by_name}\n"));
}

#[test]
fn s47_who_is_not_trusted_is_asked_nothing() {
    let sandbox = Sandbox::new();
    let (server, _, ca) = trusted_server(&sandbox);
    // The machine's own authorities are others; what is trusted instead is the file alone.
    let stranger = Authority::named("a stranger").file(&sandbox, "stranger.pem");
    let mut by_system = sandbox.command(&["--server", &server.admin, "list"]);
    by_system.env("SSL_CERT_FILE", &stranger);
    let by_system = Ran::of(by_system.output().unwrap());
    assert_distrusted(&by_system, "nobody who is trusted", "--cacert FILE");
    let by_file = list(&sandbox, &server.admin, &["--cacert", &stranger]);
    assert_distrusted(&by_file, "nobody who is trusted", "--cacert FILE");
    // Whoever has the same name has not the same key.
    let namesake = Authority::new().file(&sandbox, "namesake.pem");
    let by_file = list(&sandbox, &server.admin, &["--cacert", &namesake]);
    assert_distrusted(&by_file, "signed with another key", "--cacert FILE");
    let trusts_system = |file: &str| {
        let mut command =
            sandbox.command(&["--server", &server.admin, "--cacert", &stranger, "list"]);
        command.env("SSL_CERT_FILE", file);
        Ran::of(command.output().unwrap())
    };
    assert_distrusted(
        &trusts_system(&ca),
        "nobody who is trusted",
        "--cacert FILE",
    );
    let mut by_system = sandbox.command(&["--server", &server.admin, "list"]);
    by_system.env("SSL_CERT_FILE", &ca);
    let by_system = Ran::of(by_system.output().unwrap());
    assert_eq!(
        by_system.code, 4,
        "trusted, but without a token: {}",
        by_system.stderr
    );
    let mut without = sandbox.command(&["--server", &server.admin, "list"]);
    without.env("SSL_CERT_FILE", sandbox.path("missing"));
    without.env("SSL_CERT_DIR", sandbox.path("missing"));
    let without = Ran::of(without.output().unwrap());
    assert_distrusted(&without, "no certificates of authorities", "--cacert FILE");
}

#[test]
fn s47_a_certificate_has_to_be_for_the_name_and_for_now() {
    let sandbox = Sandbox::new();
    let authority = Authority::new();
    let ca = authority.file(&sandbox, "ca.pem");
    let cases = [
        (
            &["ops.example"][..],
            VALID,
            "ops.example",
            "name the server as its certificate does",
        ),
        (
            &["127.0.0.1"],
            (2000, 2001),
            "expired at 2001-01-01T00:00:00",
            "valid certificate",
        ),
        (
            &["127.0.0.1"],
            (3999, 4000),
            "not valid before 3999-01-01T00:00:00",
            "valid certificate",
        ),
    ];
    for (names, years, cause, advice) in cases {
        authority.issue(names, years).put(&sandbox);
        let mut server = serve_tls(&sandbox, &[]);
        let refused = list(&sandbox, &server.admin, &["--cacert", &ca]);
        assert_distrusted(&refused, cause, advice);
        server.signal("TERM");
        assert_eq!(server.stopped(), Some(0));
    }
    let log = sandbox.read("log");
    assert!(
        log.contains("WARN the certificate expired at 2001-01-01T00:00:00"),
        "{log}"
    );
    assert!(
        log.contains("WARN the certificate is not valid before 3999"),
        "{log}"
    );
}

#[test]
fn s47_insecure_is_told_at_every_call_and_never_taken_from_the_environment() {
    let mut sandbox = Sandbox::new();
    let (server, _, ca) = trusted_server(&sandbox);
    let ran = list(&sandbox, &server.admin, &["--insecure", "-q"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr
            .starts_with("warning: --insecure: whoever answers")
            && ran
                .stderr
                .contains("the token too, may be read and changed"),
        "{}",
        ran.stderr
    );
    for server in ["http://127.0.0.1:1", "unix:/nowhere"] {
        let refused = list(&sandbox, server, &["--insecure"]);
        assert_eq!(refused.code, 2, "{server}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("--insecure is for https"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(
        list(&sandbox, &server.admin, &["--insecure", "--cacert", &ca]).code,
        2
    );
    sandbox.set_variable("SESSIONCTL_INSECURE", "1");
    assert_eq!(list(&sandbox, &server.admin, &[]).code, 7);
}

/// Something that listens and is none of ours; ended with the test.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn s47_without_tls_or_with_an_old_one_nothing_is_sent() {
    let sandbox = Sandbox::new();
    let (_, _, ca) = trusted_server(&sandbox);
    let plain = sandbox.serve(&["--data", sandbox.path("plain").to_str().unwrap()]);
    let plain = format!("https://127.0.0.1:{}", port(&plain.web));
    let refused = list(&sandbox, &plain, &["--cacert", &ca]);
    assert_distrusted(
        &refused,
        "does not speak TLS",
        "nothing is sent without TLS",
    );
    let mut old = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-tls1_1"])
        .args(["-cipher", "DEFAULT@SECLEVEL=0", "-cert"])
        .arg(sandbox.path(CERTIFICATE))
        .arg("-key")
        .arg(sandbox.path(KEY))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(old.stdout.take().unwrap()).lines();
    let _old = Other(old);
    let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.to_owned()));
    let address = format!("https://{}", address.unwrap());
    let refused = list(&sandbox, &address, &["--cacert", &ca]);
    assert_distrusted(&refused, "neither TLS 1.2 nor 1.3", "speak TLS 1.2 or 1.3");
}

/// Whoever takes the connection and the greeting, and ends it there, is no server that has to be started.
#[test]
fn s47_who_breaks_off_the_handshake_does_not_speak_tls() {
    let sandbox = Sandbox::new();
    let (_, _, ca) = trusted_server(&sandbox);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let greeted = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // All of it: what is left unread would reset the connection.
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        stream.read_exact(&mut rest).unwrap();
    });
    let refused = list(&sandbox, &address, &["--cacert", &ca]);
    greeted.join().unwrap();
    assert_distrusted(
        &refused,
        "does not speak TLS",
        "nothing is sent without TLS",
    );
}

/// To trust whoever answers is not to have a name that the server goes by.
#[test]
fn s47_insecure_does_not_call_a_server_by_another_name() {
    let sandbox = Sandbox::new();
    let (server, ..) = trusted_server(&sandbox);
    // It leads to this machine, and is no name of it.
    let other = format!("https://0.0.0.0:{}", port(&server.admin));
    for command in [
        &["count"][..],
        &["close-session", "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11"],
    ] {
        let token_file = sandbox.path("admin.token").display().to_string();
        let target = [
            "--server",
            &other,
            "--token-file",
            &token_file,
            "--insecure",
        ];
        let refused = sandbox.run(&[&target[..], command].concat());
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (7, ""),
            "{}",
            refused.stderr
        );
        for told in [
            "does not go by that name",
            "try:   call it by a name that its certificate is for",
        ] {
            assert!(refused.stderr.contains(told), "{}", refused.stderr);
        }
    }
}

#[test]
fn s47_a_redirect_is_not_followed_and_sees_no_token() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[
        "--data",
        sandbox.path("other").to_str().unwrap(),
        "--admin",
        "127.0.0.1:0",
        "--admin-token-file",
        sandbox.path("admin.token").to_str().unwrap(),
    ]);
    let elsewhere = FakeServer::answering(vec![answer(200, "{}")]);
    let redirect = format!(
        "HTTP/1.1 301 X\r\nLocation: {}/v1/sessions\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.url
    );
    let first = FakeServer::answering(vec![Some(redirect)]);
    let ran = list(&sandbox, &first.url, &[]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let sent = first.requests().concat().to_lowercase();
    assert!(sent.contains("authorization: bearer "), "{sent}");
    assert_eq!(elsewhere.requests(), [""; 0]);
    list(&sandbox, &server.admin, &[]).ok();
    let far = list(&sandbox, "http://192.0.2.1:1", &[]);
    assert_eq!(far.code, 2);
    assert!(far.stderr.contains("https://HOST:PORT"), "{}", far.stderr);
}

#[test]
fn s47_a_token_comes_from_stdin_and_is_nowhere_else() {
    let sandbox = Sandbox::new();
    let (server, _, ca) = trusted_server(&sandbox);
    let token = sandbox.read("admin.token");
    let target = ["--server", &server.admin, "--cacert", &ca, "--token-stdin"];
    let with =
        |more: &[&str], input: &str| sandbox.run_with_stdin(&[&target[..], more].concat(), input);
    let id = with(&["open-session"], &token).ok();
    let closed = with(
        &["close-session", id.trim()],
        &format!("{token}what comes later is not read"),
    );
    assert_eq!(closed.ok(), format!("closed {id}"));
    let token_file = sandbox.path("admin.token").display().to_string();
    for (more, input, code, told) in [
        (
            &["close-session", "-"][..],
            token.as_str(),
            2,
            "both read stdin",
        ),
        (&["drop-session", "-"], &token, 2, "both read stdin"),
        (
            &["--token-file", &token_file, "list"],
            &token,
            2,
            "cannot be used with",
        ),
        (&["list"], "", 4, "is not a token"),
        (&["list"], "secret-that-is-none\n", 4, "is not a token"),
        (
            &["list"],
            &format!("{}\n", &token.trim()[1..]),
            4,
            "is not a token",
        ),
    ] {
        let refused = with(more, input);
        assert_eq!(refused.code, code, "{more:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
        assert!(
            !refused.stderr.contains("secret-that-is-none")
                && !refused.stderr.contains(&token.trim()[1..])
        );
    }
    let local = sandbox.run_with_stdin(&["--local", "x", "--token-stdin", "list"], &token);
    assert_eq!(local.code, 2, "{}", local.stderr);
}

/// Asks with `strace` which files a command opens.
fn opened(sandbox: &Sandbox, arguments: &[&str], roots: &str) -> String {
    let trace = sandbox.path("trace");
    let plain = sandbox.command(arguments);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", "trace=open,openat,openat2", "-o"])
        .arg(&trace)
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", sandbox.path(""))
        .env("SSL_CERT_FILE", roots)
        .current_dir(sandbox.path(""))
        .stdin(Stdio::null());
    let _ = command.output().unwrap();
    fs::read_to_string(trace).unwrap()
}

#[test]
fn who_asks_without_tls_reads_no_certificates() {
    let sandbox = Sandbox::new();
    let socket = sandbox.serve(&["--data", sandbox.path("other").to_str().unwrap()]);
    let (server, _, ca) = trusted_server(&sandbox);
    let is_read = |address: &str| {
        let trace = opened(&sandbox, &["--server", address, "list"], &ca);
        assert!(trace.contains("open"), "{trace}");
        trace.contains(&ca) || trace.contains("/ssl/")
    };
    assert!(is_read(&server.admin), "what is looked for can be seen");
    assert!(!is_read(&socket.admin));
    assert!(!is_read("http://127.0.0.1:1"));
}

#[test]
fn s46_nobody_is_trusted_by_a_file_that_says_nothing() {
    let sandbox = Sandbox::new();
    let (server, _, ca) = trusted_server(&sandbox);
    for (text, told) in [
        ("", "there is no certificate in it"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "cannot be read",
        ),
    ] {
        fs::write(&ca, text).unwrap();
        let refused = list(&sandbox, &server.admin, &["--cacert", &ca]);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    let missing = list(&sandbox, &server.admin, &["--cacert", "missing.pem"]);
    assert_eq!(missing.code, 2, "{}", missing.stderr);
    let token = sandbox.path("admin.token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let loose = list(&sandbox, &server.admin, &["--insecure"]);
    assert_eq!(loose.code, 4, "{}", loose.stderr);
    assert!(loose.stderr.contains("chmod 600"), "{}", loose.stderr);
}
