//! Secrets of a whole run, looked for in everything that it left behind (S42); tokens of running servers (S02).

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, Server, request};

/// Every file below a directory, with what it has.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path, bytes));
        }
    }
    found
}

/// The forms in which a token would be one.
fn forms(token: &str) -> [Vec<u8>; 4] {
    let raw = URL_SAFE_NO_PAD.decode(token).unwrap();
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let upper = hex.to_uppercase();
    [token.into(), raw, hex.into(), upper.into()]
}

fn holds(bytes: &[u8], token: &str) -> bool {
    let forms = forms(token);
    let has = |form: &Vec<u8>| bytes.windows(form.len()).any(|window| window == form);
    forms.iter().any(has)
}

/// The token of a `Set-Cookie` or `Cookie` value.
fn token_of(cookie: &str) -> String {
    let (_, value) = cookie.split_once('=').unwrap();
    value.split(';').next().unwrap().to_owned()
}

/// Opens a session as a browser does; answers its token, in the case that it has.
fn enter(server: &Server) -> String {
    use std::io::{Read as _, Write as _};
    let address = server.web.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let ask = "GET /session HTTP/1.1\r\nHost: x\r\nUser-Agent: canary\r\nConnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|line| line.starts_with("set-cookie: "));
    token_of(line.unwrap())
}

#[test]
fn s42_no_secret_is_left_anywhere() {
    let sandbox = Sandbox::new();
    let method = sandbox.script(
        "method",
        "cat >> documents; env >> environments; tr '\\0' '\\n' < /proc/$PPID/environ >> environments",
    );
    let [admin_file, app_file] = ["admin.token", "app.token"].map(|name| sandbox.path(name));
    let [admin_name, app_name] = [&admin_file, &app_file].map(|file| file.to_str().unwrap());
    let server = sandbox.serve(&[
        "-vvv",
        "--admin",
        "127.0.0.1:0",
        "--admin-token-file",
        admin_name,
        "--app-token-file",
        app_name,
        "--on-close",
        &method,
    ]);
    let [admin, app] = [&admin_file, &app_file].map(|file| fs::read_to_string(file).unwrap());
    let (admin, app) = (admin.trim().to_owned(), app.trim().to_owned());
    let mut secrets = vec![admin.clone(), app.clone()];
    let mut printed = Vec::new();
    // Clients: one that works and logs out, one whose cookie is closed, tokens in the wrong places.
    let tokens = [(); 3].map(|()| enter(&server));
    for token in &tokens {
        let cookie = format!("__Host-4DSID={token}");
        let bearer = format!("Bearer {token}");
        for (method, path, header) in [
            ("GET", "/check".to_owned(), ("Cookie", cookie.as_str())),
            ("GET", format!("/check?sid={token}"), ("X-Session", token)),
            (
                "POST",
                format!("/nowhere/{token}"),
                ("Authorization", &bearer),
            ),
        ] {
            request(&server.web, method, &path, &[header], "").unwrap();
        }
        // Refused, in the path of what somebody may or may not ask for.
        let as_app = format!("Bearer {app}");
        for (path, header) in [
            (format!("/v1/sessions/{token}"), ("X", "x")),
            (
                format!("/v1/tokens/{token}"),
                ("Authorization", as_app.as_str()),
            ),
        ] {
            let refused = request(&server.admin, "DELETE", &path, &[header], "").unwrap();
            assert!(matches!(refused.0, 401 | 403), "{path}");
        }
        let unknown = [("__Host-4DSID", token.as_str())];
        request(&server.admin, "GET", "/v1/sessions", &unknown, "").unwrap();
        request(
            &server.admin,
            "GET",
            "/v1/sessions",
            &[("Authorization", &bearer)],
            "",
        )
        .unwrap();
    }
    let out = [("Cookie", &*format!("__Host-4DSID={}", tokens[0]))];
    assert_eq!(
        request(&server.web, "POST", "/logout", &out, "").unwrap().0,
        204
    );
    // The application: it opens, and signs in, which rotates.
    let body = json!({"user": "ana"}).to_string();
    let (status, opened) = server.ask("POST", "/v1/sessions", Some(&app), &body);
    assert_eq!(status, 201, "{opened}");
    let opened: Value = serde_json::from_str(&opened).unwrap();
    let id = opened["session"]["id"].as_str().unwrap();
    let (status, rotated) = server.ask(
        "POST",
        &format!("/v1/sessions/{id}/login"),
        Some(&app),
        &body,
    );
    assert_eq!(status, 200, "{rotated}");
    let rotated: Value = serde_json::from_str(&rotated).unwrap();
    for answer in [&opened, &rotated] {
        secrets.push(answer["token"].as_str().unwrap().to_owned());
    }
    secrets.extend(tokens);
    // Operators, who paste a secret where it does not belong as well.
    let jar = sandbox.path("jar");
    let jar = jar.to_str().unwrap();
    let pasted = &secrets[2].clone();
    let commands: [&[&str]; 12] = [
        &["list"],
        &["open-session", "--cookie-jar", jar],
        &["show", id, "-o", "json"],
        &["show", pasted],
        &["close-session", pasted],
        &[pasted],
        &["--token-file", pasted, "list"],
        &["options", "set", "cookie_name", pasted],
        &["close-session", id, "--reason", "canary"],
        &["history"],
        &["audit", "-o", "json"],
        &["stats"],
    ];
    for command in commands {
        let target = [
            "-vvv",
            "--server",
            &server.admin,
            "--token-file",
            admin_name,
        ];
        let ran = sandbox.run(&[&target[..], command].concat());
        printed.extend([ran.stdout, ran.stderr]);
    }
    secrets.push(
        fs::read_to_string(jar)
            .unwrap()
            .trim_end()
            .rsplit('\t')
            .next()
            .unwrap()
            .into(),
    );
    for name in ["cmdline", "environ"] {
        let process = fs::read(format!("/proc/{}/{name}", server.pid())).unwrap();
        assert!(
            !secrets.iter().any(|secret| holds(&process, secret)),
            "{name}"
        );
    }
    drop(server);
    let found = files(&sandbox.path(""));
    let is_own = |path: &Path| {
        [admin_name, app_name, jar]
            .iter()
            .any(|own| path == Path::new(own))
    };
    assert!(
        found
            .iter()
            .any(|(path, bytes)| path == &admin_file && holds(bytes, &admin))
    );
    assert!(sandbox.read("environments").contains("SESSIONCTL_ON_CLOSE"));
    assert_eq!(secrets.iter().collect::<HashSet<_>>().len(), 8);
    for secret in &secrets {
        for text in &printed {
            assert!(!holds(text.as_bytes(), secret), "{text}");
        }
        for (path, bytes) in found.iter().filter(|(path, _)| !is_own(path)) {
            assert!(!holds(bytes, secret), "{}", path.display());
        }
    }
}

/// S02: 10,000 cookies of two servers: none comes twice, and each bit is as often one as not.
#[test]
fn s02_the_cookies_of_servers_are_random() {
    const OF_EACH: usize = 5_000;
    let tokens: Vec<String> = (0..2)
        .flat_map(|_| {
            let sandbox = Sandbox::new();
            let server = sandbox.serve(&["--open-rate", "off", "--max-sessions", "10000"]);
            let many: Vec<Vec<String>> = std::thread::scope(|scope| {
                let opening = || (0..OF_EACH / 20).map(|_| enter(&server)).collect();
                let threads = [(); 20].map(|()| scope.spawn(opening));
                threads.map(|thread| thread.join().unwrap()).into()
            });
            many.concat()
        })
        .collect();
    assert_eq!(tokens.len(), 2 * OF_EACH);
    assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), tokens.len());
    let mut ones = [0_usize; 256];
    for token in &tokens {
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        assert_eq!(bytes.len(), 32);
        for (bit, count) in ones.iter_mut().enumerate() {
            *count += usize::from(bytes[bit / 8] >> (bit % 8) & 1);
        }
    }
    // Six standard deviations of 10,000 fair coins.
    assert!(
        ones.iter().all(|count| count.abs_diff(OF_EACH) < 300),
        "{ones:?}"
    );
}
