//! A server that operators ask over TLS: what it starts with, what it reloads, whom it lets wait.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::sandbox::{Ran, Sandbox, Server, wait_for};
use crate::tls::{
    Authority, CERTIFICATE, KEY, VALID, openssl, port, serve_tls, tls_flags, trusted_server, write,
};

/// What a start says that has to fail, with 78, before anything is touched.
fn refused(sandbox: &Sandbox, flags: &[String]) -> String {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let start = [&["serve", "--web", "127.0.0.1:0"], &flags[..]].concat();
    // First, since a server that starts after all does not end.
    let check = sandbox.run(&[&start[..], &["--check-config"]].concat());
    assert_eq!(check.code, 78, "{}", check.stderr);
    let ran = sandbox.run(&start);
    assert_eq!((ran.code, ran.stdout.as_str()), (78, ""), "{}", ran.stderr);
    assert!(!sandbox.data().exists() && !sandbox.path("admin.token").exists());
    ran.stderr
}

#[test]
fn s26_beyond_loopback_there_is_no_admin_api_without_tls_and_a_token() {
    let sandbox = Sandbox::new();
    Authority::new().issue(&["localhost"], VALID).put(&sandbox);
    for admin in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let all = tls_flags(&sandbox, admin);
        let without = |flags: &[&str]| {
            let kept = all
                .chunks(2)
                .filter(|pair| !flags.contains(&pair[0].as_str()));
            refused(&sandbox, &kept.flatten().cloned().collect::<Vec<_>>())
        };
        let told = without(&["--tls-cert", "--tls-key"]);
        assert!(
            told.contains("try:   --tls-cert FILE --tls-key FILE"),
            "{told}"
        );
        let told = without(&["--tls-cert"]);
        assert!(told.contains("try:   --tls-cert FILE as well"), "{told}");
        let told = without(&["--tls-key"]);
        assert!(told.contains("try:   --tls-key FILE as well"), "{told}");
        let told = without(&["--admin-token-file"]);
        assert!(told.contains("try:   --admin-token-file FILE"), "{told}");
    }
    let socket = format!("unix:{}", sandbox.path("s").display());
    let told = refused(&sandbox, &tls_flags(&sandbox, &socket));
    assert!(told.contains("for an admin address with a port"), "{told}");
    let flags = tls_flags(&sandbox, "0.0.0.0:0");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = sandbox.serve(&flags);
    assert!(
        server.admin.starts_with("https://0.0.0.0:"),
        "{}",
        server.admin
    );
}

#[test]
fn s46_a_key_that_others_have_in_hand_is_refused() {
    let sandbox = Sandbox::new();
    Authority::new().issue(&["localhost"], VALID).put(&sandbox);
    let flags = tls_flags(&sandbox, "127.0.0.1:0");
    let with_mode = |name: &str, mode: u32| {
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for mode in [0o604, 0o660, 0o602, 0o644] {
        with_mode(KEY, mode);
        let told = refused(&sandbox, &flags);
        let fix = format!("try:   chmod g-w,o= {}\n", sandbox.path(KEY).display());
        assert!(told.contains(&fix), "{mode:o}: {told}");
    }
    with_mode(KEY, 0o600);
    for mode in [0o664, 0o646] {
        with_mode(CERTIFICATE, mode);
        let told = refused(&sandbox, &flags);
        assert!(told.contains("try:   chmod go-w "), "{mode:o}: {told}");
    }
    with_mode(CERTIFICATE, 0o644);
    // As certbot has it: links to files, which count.
    for name in [CERTIFICATE, KEY] {
        let archive = sandbox.path(&format!("{name}.1"));
        fs::rename(sandbox.path(name), &archive).unwrap();
        symlink(&archive, sandbox.path(name)).unwrap();
    }
    with_mode("tls.key.1", 0o644);
    let told = refused(&sandbox, &flags);
    assert!(told.contains("chmod g-w,o= "), "{told}");
    with_mode("tls.key.1", 0o640);
    serve_tls(&sandbox, &[]);
}

#[test]
fn s46_a_key_of_another_user_is_refused() {
    let sandbox = Sandbox::new();
    Authority::new().issue(&["localhost"], VALID).put(&sandbox);
    let given_away = Command::new("chown")
        .args(["12345"])
        .arg(sandbox.path(KEY))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    if !given_away.success() {
        // Only root can give a file away.
        return;
    }
    let told = refused(&sandbox, &tls_flags(&sandbox, "127.0.0.1:0"));
    assert!(told.contains("it belongs to uid 12345"), "{told}");
    assert!(told.contains("chown"), "{told}");
}

#[test]
fn what_does_not_fit_is_refused_and_what_is_old_is_only_told() {
    let sandbox = Sandbox::new();
    let authority = Authority::new();
    let (good, other) = (
        authority.issue(&["localhost"], VALID),
        authority.issue(&["localhost"], VALID),
    );
    let flags = tls_flags(&sandbox, "127.0.0.1:0");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (certificate, key, told) in [
        ("", good.key.as_str(), "there is no certificate in it"),
        (&good.key, &good.key, "there is no certificate in it"),
        (broken, &good.key, "the certificate cannot be read"),
        (&good.certificate, "", "there is no private key in it"),
        (
            &good.certificate,
            &good.certificate,
            "there is no private key in it",
        ),
        (
            &good.certificate,
            &encrypted,
            "the private key is encrypted",
        ),
        (
            &good.certificate,
            &other.key,
            "is not that of the first certificate",
        ),
    ] {
        write(&sandbox, CERTIFICATE, certificate, 0o644);
        write(&sandbox, KEY, key, 0o600);
        let stderr = refused(&sandbox, &flags);
        assert!(stderr.contains(told), "{stderr}");
        assert!(stderr.contains("\ntry:   --tls-"), "{stderr}");
    }
    fs::remove_file(sandbox.path(KEY)).unwrap();
    assert!(refused(&sandbox, &flags).contains("cannot read "));
    fs::create_dir(sandbox.path(KEY)).unwrap();
    assert!(refused(&sandbox, &flags).contains("is not a file"));
    fs::remove_dir(sandbox.path(KEY)).unwrap();
    authority.issue(&["localhost"], (2000, 2001)).put(&sandbox);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let checked = sandbox.run(&[&["serve", "--check-config"], &flags[..]].concat());
    assert!(
        checked
            .stderr
            .contains("warning: the certificate expired at 2001"),
        "{}",
        checked.stderr
    );
    let told = checked.ok();
    for name in [CERTIFICATE, KEY] {
        let path = sandbox.path(name);
        assert!(told.contains(&format!("{}\n", path.display())), "{told}");
    }
    assert!(
        told.contains("tls_cert ") && told.contains("tls_key "),
        "{told}"
    );
}

fn list(sandbox: &Sandbox, server: &Server, ca: &str) -> Ran {
    let token_file = sandbox.path("admin.token").display().to_string();
    let flags = [
        "--server",
        &server.admin,
        "--cacert",
        ca,
        "--token-file",
        &token_file,
    ];
    sandbox.run(&[&flags[..], &["list"]].concat())
}

#[test]
fn sighup_exchanges_the_certificate_or_keeps_the_old_one() {
    let sandbox = Sandbox::new();
    let (server, authority, ca) = trusted_server(&sandbox);
    list(&sandbox, &server, &ca).ok();
    let told = |text: &str| {
        wait_for(text, || sandbox.read("log").contains(text).then_some(()));
    };
    // A connection from before goes on.
    let mut before = Kept::open(&server);
    assert!(before.ask().starts_with("HTTP/1.1 200 "));
    // All or nothing: a new certificate whose key is not there yet.
    let next = Authority::new();
    let (new_ca, pair) = (
        next.file(&sandbox, "next.pem"),
        next.issue(&["127.0.0.1"], (2021, 3000)),
    );
    write(&sandbox, CERTIFICATE, &pair.certificate, 0o644);
    server.signal("HUP");
    told("ERROR SIGHUP: the old certificate stays in use: ");
    list(&sandbox, &server, &ca).ok();
    assert_eq!(list(&sandbox, &server, &new_ca).code, 7);
    write(&sandbox, KEY, &pair.key, 0o644);
    server.signal("HUP");
    told("chmod g-w,o= ");
    list(&sandbox, &server, &ca).ok();
    pair.put(&sandbox);
    server.signal("HUP");
    told("INFO SIGHUP: the certificate was reloaded; it is valid until 3000-01-01T00:00:00");
    list(&sandbox, &server, &new_ca).ok();
    assert_eq!(list(&sandbox, &server, &ca).code, 7);
    assert!(before.ask().starts_with("HTTP/1.1 200 "));
    drop(authority);
}

#[test]
fn without_a_certificate_sighup_is_told_and_ends_nothing() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    server.signal("HUP");
    wait_for("the log", || {
        let log = sandbox.read("log");
        log.contains("INFO SIGHUP: there is no certificate, so there is nothing to reload")
            .then_some(())
    });
    assert_eq!(sandbox.run(&["count"]).ok(), "0\n");
}

/// A connection by `openssl` that is kept.
struct Kept {
    child: std::process::Child,
}

impl Kept {
    fn open(server: &Server) -> Self {
        let address = format!("127.0.0.1:{}", port(&server.admin));
        let child = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// The head of an answer; `/healthz` has no body.
    fn ask(&mut self) -> String {
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        self.child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(request)
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.child
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut byte)
                .unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn s47_older_versions_of_tls_are_refused() {
    let sandbox = Sandbox::new();
    let (server, ..) = trusted_server(&sandbox);
    let port = port(&server.admin);
    for version in ["-tls1_2", "-tls1_3"] {
        let (is_done, told) = openssl(port, &[version]);
        assert!(is_done, "{told}");
    }
    let weakest = ["-cipher", "DEFAULT@SECLEVEL=0"];
    for version in ["-tls1", "-tls1_1"] {
        let (is_done, told) = openssl(port, &[&[version], &weakest[..]].concat());
        assert!(!is_done, "{told}");
        assert!(told.contains(":SSL alert number "), "{told}");
    }
}

/// S28: the port is no site for names that somebody made point here.
#[test]
fn s28_over_tls_a_host_is_this_machine_or_in_the_certificate() {
    let sandbox = Sandbox::new();
    let authority = Authority::new();
    authority
        .issue(&["ops.example", "*.kiosk.example", "192.0.2.7"], VALID)
        .put(&sandbox);
    let server = serve_tls(&sandbox, &[]);
    let status = |host: &str| {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect"])
            .arg(format!("127.0.0.1:{}", port(&server.admin)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let request =
            format!("GET /v1/sessions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(request.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        answer
            .split(' ')
            .nth(1)
            .map(str::to_owned)
            .unwrap_or_default()
    };
    for host in [
        "localhost",
        "127.0.0.1:1",
        "ops.example",
        "OPS.example:8443",
        "a.kiosk.example",
        "192.0.2.7:8443",
    ] {
        assert_eq!(status(host), "401", "{host}");
    }
    for host in [
        "evil.example",
        "ops.example.evil.example",
        "a.b.kiosk.example",
        "192.0.2.8",
        "",
    ] {
        assert_eq!(status(host), "421", "{host:?}");
    }
}

/// Nobody waits for whoever connects and says nothing, and that one is sent away.
#[test]
fn s34_who_makes_no_handshake_holds_nobody_up() {
    let sandbox = Sandbox::new();
    let (server, _, ca) = trusted_server(&sandbox);
    let address = format!("127.0.0.1:{}", port(&server.admin));
    let mut silent: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    // Half a greeting is none.
    silent[0].write_all(&[0x16, 0x03, 0x01]).unwrap();
    list(&sandbox, &server, &ca).ok();
    for stream in &mut silent[..2] {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let left = stream.read(&mut [0; 16]).map_err(|error| error.kind());
        assert!(
            matches!(left, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)),
            "{left:?}"
        );
    }
}

/// An on-close program knows no authority and no name of the certificate, and reaches its server all the same.
#[test]
fn an_on_close_program_reaches_a_server_with_tls() {
    let sandbox = Sandbox::new();
    Authority::new()
        .issue(&["ops.example"], VALID)
        .put(&sandbox);
    let script = sandbox.script(
        "on-close",
        &format!(
            "echo \"$SESSIONCTL_SERVER $SESSIONCTL_TOKEN_FILE\" > told\n{} count > counted 2>&1\ntouch done",
            env!("CARGO_BIN_EXE_sessionctl")
        ),
    );
    let server = serve_tls(&sandbox, &["--on-close", &script]);
    let token_file = sandbox.path("admin.token").display().to_string();
    let target = [
        "--server",
        &server.admin,
        "--insecure",
        "--token-file",
        &token_file,
    ];
    let run = |more: &[&str]| sandbox.run(&[&target[..], more].concat()).ok();
    let id = run(&["open-session"]);
    run(&["close-session", id.trim()]);
    wait_for("the program", || {
        sandbox.path("done").exists().then_some(())
    });
    assert_eq!(sandbox.read("counted"), "1\n", "{}", sandbox.read("log"));
    let told = sandbox.read("told");
    assert!(
        told.starts_with("unix:/") && told.ends_with(" \n"),
        "{told}"
    );
    let socket = told.trim().trim_start_matches("unix:").to_owned();
    let directory = std::path::Path::new(&socket).parent().unwrap().to_owned();
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let mut server = server;
    server.signal("TERM");
    assert_eq!(server.stopped(), Some(0));
    assert!(!directory.exists());
}
