//! What web clients and proxies get from the web listener, byte for byte where it matters.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use sessionctl::token::Token;

use crate::sandbox::{Sandbox, Server, request, wait_for};

const COOKIE: &str = "__Host-4DSID";

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

/// Opens a session; answers its id and its cookie as `name=value`. The head is in lower case, so the raw one is asked for.
fn enter(server: &Server) -> (String, String) {
    let (status, set_cookie, body) = raw(
        server,
        "GET /session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let cookie = set_cookie.unwrap().split(';').next().unwrap().to_owned();
    (body["id"].as_str().unwrap().to_owned(), cookie)
}

/// Sends bytes as they are; answers the status, the `Set-Cookie` value and the body.
fn raw(server: &Server, bytes: impl AsRef<[u8]>) -> (u16, Option<String>, String) {
    let mut stream = TcpStream::connect(server.web.trim_start_matches("http://")).unwrap();
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(bytes.as_ref());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .parse()
        .unwrap_or(0);
    let set_cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    (status, set_cookie.map(str::to_owned), body.to_owned())
}

#[test]
fn s18_s21_the_cookie_and_the_answers_around_it() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let (status, head, _) = server.get("/session", &[("User-Agent", "Test/1")]).unwrap();
    let set_cookie = header(&head, "set-cookie").unwrap();
    assert_eq!(status, 200);
    assert!(set_cookie.starts_with("__host-4dsid="), "{set_cookie}");
    assert!(
        set_cookie.ends_with("; path=/; max-age=2592000; secure; httponly; samesite=lax"),
        "{set_cookie}"
    );
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    assert_eq!(header(&head, "server"), None);
    let (_, cookie) = enter(&server);
    let (status, head, body) = server.get("/check", &[("Cookie", &cookie)]).unwrap();
    assert_eq!(
        (status, body.as_str(), header(&head, "cache-control")),
        (200, "", Some("no-store"))
    );
    assert!(header(&head, "set-cookie").is_none() && header(&head, "remote-user").is_none());
    let insecure = Sandbox::new();
    let server = insecure.serve(&["--cookie-secure", "off"]);
    let (_, cookie) = enter(&server);
    assert!(cookie.starts_with("4DSID="));
    assert_eq!(server.get("/check", &[("Cookie", &cookie)]).unwrap().0, 200);
}

/// S09: no check that begins after a close was answered gets through, however soon it comes.
#[test]
fn s09_the_check_after_a_close_is_refused() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--open-rate", "off"]);
    for round in 0..300 {
        let (id, cookie) = enter(&server);
        let cookie = [("Cookie", cookie.as_str())];
        assert_eq!(server.get("/check", &cookie).unwrap().0, 200);
        let (status, _) = server.ask("DELETE", &format!("/v1/sessions/{id}"), None, "");
        assert!(matches!(status, 200 | 202), "{status}");
        assert_eq!(
            server.get("/check", &cookie).unwrap().0,
            401,
            "round {round}"
        );
    }
}

/// S16: a close frees what the session held, and whoever waits for it learns of it.
#[test]
fn s16_a_close_frees_locks_and_ends_polls() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let [holder, waiter] = [(); 2].map(|()| server.open(&serde_json::json!({"user": "ana"})));
    server.put(&holder, 1, "locks/Invoices/1", "");
    let polls = [
        ("GET", format!("/v1/sessions/{holder}/processes/1?wait=50s")),
        (
            "PUT",
            format!("/v1/sessions/{waiter}/processes/1/locks/Invoices/1?wait=50s"),
        ),
    ];
    let asked = polls.map(|(method, path)| {
        let admin = server.admin.clone();
        let headers = [("Content-Length", "0")];
        std::thread::spawn(move || request(&admin, method, &path, &headers, "").unwrap().0)
    });
    wait_for("both to wait", || {
        let (_, locks) = server.ask("GET", "/v1/locks", None, "");
        locks.contains("\"waiting\":1").then_some(())
    });
    // Both wait for up to 50 s: that they come back at all within this test's patience is the close's doing.
    sandbox.run(&["close-session", &holder]).ok();
    let [poll, lock] = asked.map(|asked| asked.join().unwrap());
    assert!(matches!(poll, 200 | 410), "{poll}");
    assert_eq!(lock, 200);
    let (_, locks) = server.ask("GET", "/v1/locks", None, "");
    assert!(
        locks.contains(&waiter) && !locks.contains(&holder),
        "{locks}"
    );
}

/// S01, S05, S06: only the cookie's own token lets anybody in, and every refusal is the same.
#[test]
fn s01_s06_nothing_but_the_token_in_the_cookie_lets_in() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let (id, cookie) = enter(&server);
    let token = cookie.split_once('=').unwrap().1;
    let refusal = |path: &str, headers: &[(&str, &str)]| {
        let (status, head, body) = server.get(path, headers).unwrap();
        let head: Vec<_> = head
            .lines()
            .filter(|line| !line.starts_with("date: "))
            .map(str::to_owned)
            .collect();
        (status, head, body)
    };
    let expected = refusal(
        "/check",
        &[(
            "Cookie",
            &format!("{COOKIE}={}", Token::mint().unwrap().expose()),
        )],
    );
    assert_eq!(expected.0, 401);
    let simple = id.replace('-', "");
    for spelling in [
        id.clone(),
        simple.to_uppercase(),
        format!("urn:uuid:{id}"),
        format!("{{{id}}}"),
    ] {
        assert_eq!(
            refusal("/check", &[("Cookie", &format!("{COOKIE}={spelling}"))]),
            expected
        );
        assert_eq!(
            refusal(
                "/check",
                &[("Authorization", &format!("Bearer {spelling}"))]
            ),
            expected
        );
        assert_eq!(refusal(&format!("/check?sid={spelling}"), &[]), expected);
        for header in ["X-Session-Id", "X-Session", "Remote-User", "4DSID", COOKIE] {
            assert_eq!(
                refusal("/check", &[(header, &spelling)]),
                expected,
                "{header}"
            );
        }
    }
    assert_eq!(refusal(&format!("/check?sid={token}"), &[]), expected);
    assert_eq!(refusal("/check", &[("X-Session", token)]), expected);
    assert_eq!(
        refusal("/check", &[("Authorization", &format!("Bearer {token}"))]),
        expected
    );
    assert_eq!(
        refusal("/check", &[("Cookie", &format!("4DSID={token}"))]),
        expected,
        "another name"
    );
    assert_eq!(
        refusal("/check", &[("Cookie", &format!("{cookie}; {COOKIE}=evil"))]),
        expected
    );
    assert_eq!(
        refusal("/check", &[("Cookie", &format!("{COOKIE}=evil; {cookie}"))]),
        expected
    );
    assert_eq!(
        refusal("/check", &[("Cookie", &cookie), ("Cookie", &cookie)]),
        expected
    );
    assert_eq!(
        server
            .get("/session", &[("Cookie", &cookie), ("Cookie", &cookie)])
            .unwrap()
            .0,
        400
    );
    assert_eq!(server.get("/check", &[("Cookie", &cookie)]).unwrap().0, 200);
    assert_eq!(sandbox.run(&["count"]).ok(), "1\n", "a check opens nothing");
}

/// S07: what a client made up is never adopted.
#[test]
fn s07_a_made_up_cookie_is_never_adopted() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let made_up = Token::mint().unwrap();
    for value in [
        made_up.expose(),
        "",
        "short",
        "../../etc/passwd",
        &"A".repeat(5000),
    ] {
        let ask = format!(
            "GET /session HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {COOKIE}={value}\r\n\r\n"
        );
        let (status, set_cookie, _) = raw(&server, ask);
        let given = set_cookie.unwrap();
        let given = given
            .split(';')
            .next()
            .unwrap()
            .split_once('=')
            .unwrap()
            .1
            .to_owned();
        assert!(status == 200 && Token::parse(&given).is_some() && given != value);
    }
    assert_eq!(
        server
            .get(
                "/check",
                &[("Cookie", &format!("{COOKIE}={}", made_up.expose()))]
            )
            .unwrap()
            .0,
        401
    );
}

/// S02: unique, 32 bytes, and no bit that is more often one than the others.
#[test]
fn s02_tokens_are_random() {
    use base64::Engine as _;
    let tokens: Vec<String> = (0..20_000)
        .map(|_| Token::mint().unwrap().expose().to_owned())
        .collect();
    assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), tokens.len());
    let mut ones = [0_u32; 256];
    for token in &tokens {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(token)
            .unwrap();
        assert_eq!(bytes.len(), 32);
        for (bit, count) in ones.iter_mut().enumerate() {
            *count += u32::from(bytes[bit / 8] >> (bit % 8) & 1);
        }
    }
    // Six standard deviations of 20,000 fair coins: 424.
    assert!(
        ones.iter().all(|count| count.abs_diff(10_000) < 424),
        "{ones:?}"
    );
}

#[test]
fn log_out_closes_the_callers_own_session_and_deletes_its_cookie() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let (id, cookie) = enter(&server);
    let post =
        |headers: &[(&str, &str)]| request(&server.web, "POST", "/logout", headers, "").unwrap();
    assert_eq!(
        post(&[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")]).0,
        403
    );
    assert_eq!(
        post(&[("Cookie", &cookie), ("Origin", "https://evil.example")]).0,
        403
    );
    assert_eq!(
        server.get("/logout", &[("Cookie", &cookie)]).unwrap().0,
        405
    );
    assert_eq!(server.get("/check", &[("Cookie", &cookie)]).unwrap().0, 200);
    let (status, head, _) = post(&[("Cookie", &cookie), ("Sec-Fetch-Site", "same-origin")]);
    assert_eq!(status, 204);
    let deletion = "__host-4dsid=; path=/; max-age=0; expires=thu, 01 jan 1970 00:00:00 gmt; secure; httponly; samesite=lax";
    assert_eq!(header(&head, "set-cookie"), Some(deletion));
    assert_eq!(server.get("/check", &[("Cookie", &cookie)]).unwrap().0, 401);
    let again = post(&[("Cookie", &cookie)]);
    assert_eq!(
        (again.0, header(&again.1, "set-cookie")),
        (401, Some(deletion))
    );
    assert_eq!(post(&[]).0, 401);
    let shown = sandbox.run(&["show", &id]);
    assert!(
        shown.code == 3 && shown.stderr.contains("cause logout"),
        "{}",
        shown.stderr
    );
}

/// S22: any method, and an announced body that never comes is not waited for.
#[test]
fn s22_a_check_answers_at_once() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let (_, cookie) = enter(&server);
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let head = format!(
            "{method} /check HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: 10000\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(raw(&server, head).0, 200, "{method}");
    }
}

/// S05, S34, S36: hostile requests are refused, never a crash, never a session.
#[test]
fn s05_hostile_requests_are_refused() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let mut cookie = Vec::from(format!(
        "GET /check HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {COOKIE}="
    ));
    cookie.extend(b"\xff\xfe\xc3(");
    cookie.extend(b"\r\n\r\n");
    assert_eq!(raw(&server, cookie).0, 401);
    let huge = format!(
        "GET /check HTTP/1.1\r\nHost: x\r\nCookie: {COOKIE}={}\r\n\r\n",
        "A".repeat(200_000)
    );
    assert_eq!(raw(&server, huge).0, 431);
    let many = format!(
        "GET /check HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X: y\r\n".repeat(200)
    );
    assert_eq!(raw(&server, many).0, 431);
    assert_eq!(
        raw(
            &server,
            "GET /check HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\nHost: x\r\n\r\n"
        )
        .0,
        400
    );
    assert_eq!(raw(&server, "nonsense\r\n\r\n").0, 400);
    assert_eq!(sandbox.run(&["count"]).ok(), "0\n");
}

/// S26: on the web listener an admin route is a path like any other that is not there.
#[test]
fn s26_the_web_listener_knows_no_admin_routes() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let answer = |path: &str| {
        let (status, _, body) = server.get(path, &[]).unwrap();
        (status, body)
    };
    let nowhere = answer("/nowhere");
    assert_eq!(nowhere.0, 404);
    assert!(
        nowhere
            .1
            .contains("\"type\":\"urn:sessionctl:problem:unknown-route\"")
    );
    for path in [
        "/v1/sessions",
        "/v1/sessions/5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11",
        "/v1/options",
        "/session/",
        "//check",
    ] {
        assert_eq!(answer(path), nowhere, "{path}");
    }
}

/// C10: a newcomer without room is told when to come again; nobody is idle for long enough to make it.
#[test]
fn a_full_server_says_when_to_come_again() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--max-sessions", "1"]);
    let (_, cookie) = enter(&server);
    let (status, head, body) = server.get("/session", &[]).unwrap();
    assert_eq!((status, header(&head, "retry-after")), (503, Some("5")));
    assert!(body.contains("limit-reached") && header(&head, "set-cookie").is_none());
    assert_eq!(
        server.get("/session", &[("Cookie", &cookie)]).unwrap().0,
        200
    );
    let ran = sandbox.run(&["open-session"]);
    assert!(
        ran.code == 6 && ran.stderr.contains("options set max_sessions"),
        "{}",
        ran.stderr
    );
}

/// curl with a cookie jar, as README has it: opens, keeps, and after a close starts anew.
#[test]
fn curl_is_a_web_client() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let jar = sandbox.path("jar");
    let jar = jar.to_str().unwrap();
    let curl = |path: &str| {
        let output = Command::new("curl")
            .args(["-s", "-b", jar, "-c", jar, &format!("{}{path}", server.web)])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let id = |body: &str| {
        serde_json::from_str::<serde_json::Value>(body).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = id(&curl("/session"));
    assert_eq!(id(&curl("/session")), first);
    assert_eq!(
        sandbox.run(&["close-session", &first]).ok(),
        format!("closed {first}\n")
    );
    let second = id(&curl("/session"));
    assert_ne!(second, first);
    assert_eq!(id(&curl("/session")), second);
    // And with the jar that the command line writes.
    let made = sandbox.path("made");
    let opened = sandbox
        .run(&["open-session", "--cookie-jar", made.to_str().unwrap()])
        .ok();
    let output = Command::new("curl")
        .args([
            "-s",
            "-b",
            made.to_str().unwrap(),
            &format!("{}/session", server.web),
        ])
        .output();
    assert_eq!(
        id(&String::from_utf8(output.unwrap().stdout).unwrap()),
        opened.trim()
    );
}

/// S33: what is no id at all is a problem too, not the framework's own text.
#[test]
fn s33_every_refusal_is_a_problem() {
    let sandbox = Sandbox::new();
    let token_file = sandbox.path("token");
    let file = token_file.to_str().unwrap();
    let server = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", file]);
    let bearer = format!(
        "Bearer {}",
        std::fs::read_to_string(&token_file).unwrap().trim()
    );
    let id = "/v1/sessions/5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11";
    let json = ("Content-Type", "application/json");
    type Case<'a> = (&'a str, String, Vec<(&'a str, &'a str)>, &'a str, u16);
    let cases: [Case<'_>; 14] = [
        ("GET", "/v1/sessions/%ff".into(), vec![], "", 400),
        ("GET", "/v1/sessions/nonsense".into(), vec![], "", 400),
        ("GET", "/v1/sessions?limit=x".into(), vec![], "", 400),
        ("GET", "/v1/sessions?unknown=1".into(), vec![], "", 400),
        ("GET", id.into(), vec![], "", 404),
        ("GET", "/v1/nothing".into(), vec![], "", 404),
        ("PUT", id.into(), vec![], "", 405),
        ("TRACE", id.into(), vec![], "", 405),
        ("GET", format!("{id}/close"), vec![], "", 405),
        (
            "POST",
            format!("{id}/close"),
            vec![("Content-Length", "2")],
            "{}",
            415,
        ),
        (
            "POST",
            format!("{id}/close"),
            vec![json, ("Content-Length", "5")],
            "{\"a\":",
            400,
        ),
        (
            "POST",
            format!("{id}/close"),
            vec![json, ("Content-Length", "7")],
            "{\"a\":1}",
            400,
        ),
        (
            "POST",
            format!("{id}/close"),
            vec![json, ("Content-Length", "70000")],
            "",
            413,
        ),
        (
            "POST",
            format!("{id}/close"),
            vec![json, ("Content-Length", "19")],
            "{\"must_exist\":true}",
            404,
        ),
    ];
    for (method, path, mut headers, body, expected) in cases {
        headers.push(("Authorization", &bearer));
        let body = if expected == 413 {
            "x".repeat(70_000)
        } else {
            body.to_owned()
        };
        let (status, head, body) = request(&server.admin, method, &path, &headers, &body).unwrap();
        assert_eq!(status, expected, "{method} {path}: {body}");
        assert_eq!(
            header(&head, "content-type"),
            Some("application/problem+json"),
            "{method} {path}"
        );
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], expected);
        assert!(problem["type"].is_string() && problem["title"].is_string());
        assert_eq!(status == 405, header(&head, "allow").is_some());
    }
}

/// S28: a browser's page cannot reach the admin API on the loopback port, by whatever name it calls it.
#[test]
fn s28_pages_of_other_sites_and_rebound_names_get_nothing() {
    let sandbox = Sandbox::new();
    let token_file = sandbox.path("token");
    let file = token_file.to_str().unwrap();
    let server = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", file]);
    let token = std::fs::read_to_string(&token_file)
        .unwrap()
        .trim()
        .to_owned();
    let admin = server.admin.trim_start_matches("http://").to_owned();
    let ask = |method: &str, headers: &str| {
        let head = format!(
            "{method} /v1/sessions HTTP/1.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{headers}\r\n"
        );
        let mut stream = TcpStream::connect(&admin).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            !answer.to_lowercase().contains("access-control-"),
            "{answer}"
        );
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    let own = format!("Host: {admin}\r\n");
    for headers in [
        own.clone(),
        "Host: localhost\r\n".into(),
        "Host: [::1]:1\r\n".into(),
        format!("{own}Origin: http://{admin}\r\n"),
        format!("{own}Sec-Fetch-Site: none\r\n"),
    ] {
        assert_eq!(ask("GET", &headers), 200, "{headers}");
    }
    let port = admin.rsplit(':').next().unwrap();
    for (headers, status) in [
        (format!("Host: evil.example:{port}\r\n"), 421),
        ("Host: 127.0.0.1.evil.example\r\n".into(), 421),
        ("Host: 192.0.2.1\r\n".into(), 421),
        (String::new(), 400),
        (format!("{own}{own}"), 400),
        (format!("{own}Origin: https://evil.example\r\n"), 403),
        (format!("{own}Origin: null\r\n"), 403),
        (format!("{own}Sec-Fetch-Site: cross-site\r\n"), 403),
        (format!("{own}Sec-Fetch-Site: same-site\r\n"), 403),
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let found = ask(method, &headers);
            assert!(
                found == status || found == 405,
                "{method} {headers}: {found}"
            );
        }
        assert_eq!(ask("GET", &headers), status, "{headers}");
    }
}
