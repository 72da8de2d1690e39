//! What no answer has, whoever asks for it: grants to other sites, a banner, an echo (S29); and what no line of the log has
//! (S43).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use sessionctl::wire::{ROUTES, path};

use crate::described::filled;
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

/// A path of one of the listeners.
struct Path {
    is_admin: bool,
    path: String,
    /// The methods that it takes.
    taken: BTreeSet<&'static str>,
}

impl Path {
    fn url<'a>(&self, server: &'a Server) -> &'a str {
        match self.is_admin {
            true => &server.admin,
            false => &server.web,
        }
    }
}

/// Every path of both listeners.
fn every_path() -> Vec<Path> {
    let look = ["GET", "HEAD"];
    let mut of_admin: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for route in &ROUTES {
        let taken = of_admin.entry(route.path).or_default();
        taken.insert(route.method);
        if route.method == "GET" {
            taken.extend(look);
        }
    }
    let of_admin = of_admin
        .into_iter()
        .chain([path::HEALTH, path::READY].map(|path| (path, look.into())))
        .map(|(path, taken)| (true, path, taken));
    let checked = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let of_web = [
        (path::WEB_SESSION, look.into()),
        (path::CHECK, checked.into()),
        (path::LOG_OUT, ["POST"].into()),
        (path::HEALTH, look.into()),
        (path::READY, look.into()),
    ]
    .map(|(path, taken)| (false, path, taken));
    let path = |(is_admin, path, taken)| Path {
        is_admin,
        path: filled(path),
        taken,
    };
    of_admin.chain(of_web).map(path).collect()
}

#[test]
fn s29_other_methods_are_refused_with_those_that_are_taken() {
    let sandbox = Sandbox::new();
    let (server, authorization) = serve(&sandbox);
    for at in every_path() {
        let (url, path) = (at.url(&server), at.path.as_str());
        for method in [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
            "TRACK", "PROPFIND", "get",
        ] {
            // Of the check: whatever a proxy passes on.
            let is_any = path == "/check" && !matches!(method, "TRACE" | "CONNECT");
            if at.taken.contains(method) || is_any {
                continue;
            }
            let secret = "X-Secret: abc123\r\n";
            let reply = ask(url, method, path, &format!("{authorization}{secret}"));
            assert_eq!(reply.status, 405, "{method} {path}: {reply:?}");
            let is_told = method == "HEAD" || reply.is_problem();
            assert!(is_told, "{method} {path}: {reply:?}");
            let allow = header(&reply, "allow").unwrap().to_uppercase();
            let allowed: BTreeSet<&str> = allow.split(',').map(str::trim).collect();
            assert_eq!(allowed, at.taken, "{method} {path}");
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
    let nowhere = [(false, "/nowhere"), (true, "/v1/nowhere")].map(|(is_admin, path)| Path {
        is_admin,
        path: path.into(),
        taken: BTreeSet::new(),
    });
    for at in every_path().into_iter().chain(nowhere) {
        let (url, path) = (at.url(&server), at.path.as_str());
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
    let (server, operator) = serve(&sandbox);
    let target = ["--server", &server.admin, "--token-file", "token"];
    let create = ["token", "create", "--name", "ci", "--role", "viewer"];
    let viewer = sandbox.run(&[&target[..], &create].concat()).ok();
    let viewer = format!("Authorization: Bearer {}\r\n", viewer.trim());
    let lines = || sandbox.read("log").lines().count();
    let before = lines();
    let hostile = [
        "/v1/sessions/%0d%0a%1b[31mforged",
        "/v1/sessions/\u{9b}31m\u{85}\u{2028}\u{202e}forged",
        "/v1/sessions/\"x\" level=ERROR",
        "/v1/sessions/\\n",
    ];
    let agent = "User-Agent: \u{9b}2J\u{85}\u{2028}\u{202e}\r\n";
    let mut replies = BTreeMap::new();
    for path in hostile {
        for fields in [
            "Authorization: Bearer \u{9b}31m\u{85}\r\n",
            "User-Agent: \u{1b}[2J\r\n",
            "User-Agent: a\rb\r\n",
            agent,
            &format!("{viewer}{agent}"),
            &format!("{operator}{agent}"),
        ] {
            for method in ["GET", "DELETE", "POST"] {
                let reply = ask(&server.admin, method, path, fields);
                *replies.entry(reply.status).or_insert(0) += 1;
            }
        }
    }
    let count = |status: u16| replies.get(&status).copied().unwrap_or(0);
    let refused = count(401) + count(403);
    assert!(count(401) >= 4 && count(403) >= 2, "{replies:?}");
    // Malformed, or a method that is nobody's.
    let known: BTreeSet<u16> = replies.keys().copied().collect();
    assert_eq!(known, [400, 401, 403, 405].into(), "{replies:?}");
    let log = sandbox.read("log");
    // Two sources: the address, and the token.
    assert!(refused > 2);
    assert_eq!(lines() - before, 2, "{replies:?}: {log}");
    let is_hostile =
        |c: &char| c.is_control() && *c != '\n' || matches!(c, '\u{2028}' | '\u{202e}');
    assert_eq!(log.chars().find(is_hostile), None, "{log:?}");
}
