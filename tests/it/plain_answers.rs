//! What no answer has, whoever asks for it: grants to other sites, a banner, an echo (S29); and what no line of the log has
//! (S43).

use std::fs;

use crate::framing::{Reply, talk};
use crate::sandbox::{Sandbox, Server};

/// A server with its admin listener on a port, and the operators' `Authorization`.
fn serve(sandbox: &Sandbox) -> (Server, String) {
    let token_file = sandbox.path("token");
    let file = token_file.to_str().unwrap();
    let server = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", file]);
    let token = fs::read_to_string(&token_file).unwrap();
    (
        server,
        format!("Authorization: Bearer {}\r\n", token.trim()),
    )
}

fn ask(url: &str, method: &str, path: &str, fields: &str) -> Reply {
    let text =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    let mut replies = talk(url, text.as_bytes());
    assert_eq!(replies.len(), 1, "{text}: {replies:?}");
    replies.remove(0)
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let mut fields = reply.head.lines().filter_map(|line| line.split_once(": "));
    fields
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// The paths of both listeners with the methods that they take.
const ROUTES: [(bool, &str, &[&str]); 14] = [
    (false, "/session", &["GET", "HEAD"]),
    (
        false,
        "/check",
        &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    ),
    (false, "/logout", &["POST"]),
    (false, "/healthz", &["GET", "HEAD"]),
    (false, "/readyz", &["GET", "HEAD"]),
    (true, "/healthz", &["GET", "HEAD"]),
    (true, "/readyz", &["GET", "HEAD"]),
    (true, "/v1/sessions", &["GET", "HEAD", "POST"]),
    (
        true,
        "/v1/sessions/5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11",
        &["GET", "HEAD", "DELETE"],
    ),
    (
        true,
        "/v1/sessions/5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11/close",
        &["POST"],
    ),
    (
        true,
        "/v1/sessions/5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11/drop",
        &["POST"],
    ),
    (true, "/v1/options", &["GET", "HEAD", "PATCH"]),
    (true, "/v1/stats", &["GET", "HEAD"]),
    (true, "/v1/history", &["GET", "HEAD"]),
];

#[test]
fn s29_other_methods_are_refused_with_those_that_are_taken() {
    let sandbox = Sandbox::new();
    let (server, authorization) = serve(&sandbox);
    for (is_admin, path, taken) in ROUTES {
        let url = if is_admin { &server.admin } else { &server.web };
        for method in [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
            "TRACK", "PROPFIND", "get",
        ] {
            // Of the check: whatever a proxy passes on.
            let is_any = path == "/check" && !matches!(method, "TRACE" | "CONNECT");
            if taken.contains(&method) || is_any {
                continue;
            }
            let secret = "X-Secret: abc123\r\n";
            let reply = ask(url, method, path, &format!("{authorization}{secret}"));
            assert_eq!(reply.status, 405, "{method} {path}: {reply:?}");
            let is_told = method == "HEAD" || reply.is_problem();
            assert!(is_told, "{method} {path}: {reply:?}");
            let allow = header(&reply, "allow").unwrap().to_uppercase();
            let mut allowed: Vec<&str> = allow.split(',').map(str::trim).collect();
            let mut taken = taken.to_vec();
            allowed.sort_unstable();
            taken.sort_unstable();
            assert_eq!(allowed, taken, "{method} {path}");
            assert!(!reply.body.contains("abc123"), "{method} {path}");
        }
    }
    assert_eq!(
        sandbox
            .run(&["--server", &server.admin, "--token-file", "token", "count"])
            .ok(),
        "0\n"
    );
}

/// Not in answers, refusals, refusals of a head, or where nothing is.
#[test]
fn s29_no_answer_has_a_banner_or_grants_anything_to_other_sites() {
    let sandbox = Sandbox::new();
    let (server, authorization) = serve(&sandbox);
    let origin = "Origin: https://evil.example\r\n";
    let preflight = format!(
        "{origin}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\
         Access-Control-Request-Private-Network: true\r\n"
    );
    let nowhere = [(false, "/nowhere", &[][..]), (true, "/v1/nowhere", &[])];
    for (is_admin, path, _) in ROUTES.into_iter().chain(nowhere) {
        let url = if is_admin { &server.admin } else { &server.web };
        for method in ["OPTIONS", "GET", "POST", "TRACE"] {
            for fields in [
                "",
                origin,
                &preflight,
                &authorization,
                &format!("{authorization}{preflight}"),
                "Transfer-Encoding: nonsense\r\n",
            ] {
                let reply = ask(url, method, path, fields);
                for line in reply.head.lines() {
                    let name = line.split(':').next().unwrap();
                    let is_plain = !name.starts_with("access-control-")
                        && !["server", "via", "x-powered-by"].contains(&name);
                    assert!(is_plain, "{method} {path} {fields}: {reply:?}");
                }
                let told = format!("{}{}", reply.head, reply.body);
                let version = env!("CARGO_PKG_VERSION");
                assert!(!told.contains(version), "{method} {path}: {told}");
                assert!(!told.contains("hyper"), "{method} {path}: {told}");
            }
        }
    }
}

/// The refusals of one source leave one line in a minute, and no client writes any of it.
#[test]
fn s43_no_client_writes_the_log() {
    let sandbox = Sandbox::new();
    let (server, _) = serve(&sandbox);
    let lines = || sandbox.read("log").lines().count();
    let before = lines();
    let hostile = [
        "/v1/sessions/%0d%0a%1b[31mforged",
        "/v1/sessions/\u{9b}31m\u{85}\u{2028}\u{202e}forged",
        "/v1/sessions/\"x\" level=ERROR",
        "/v1/sessions/\\n",
    ];
    let mut refused = 0;
    for path in hostile {
        for fields in [
            "Authorization: Bearer \u{9b}31m\u{85}\r\n",
            "User-Agent: \u{1b}[2J\r\n",
            "User-Agent: a\rb\r\n",
            "User-Agent: \u{9b}2J\u{85}\u{2028}\u{202e}\r\n",
        ] {
            let reply = ask(&server.admin, "GET", path, fields);
            assert!(
                matches!(reply.status, 400 | 401),
                "{path} {fields}: {reply:?}"
            );
            refused += usize::from(reply.status == 401);
        }
    }
    assert!(refused >= 4, "{refused} reached the one who writes lines");
    let log = sandbox.read("log");
    assert_eq!(lines() - before, 1, "{log}");
    let is_hostile =
        |c: &char| c.is_control() && *c != '\n' || matches!(c, '\u{2028}' | '\u{202e}');
    assert_eq!(log.chars().find(is_hostile), None, "{log:?}");
}
