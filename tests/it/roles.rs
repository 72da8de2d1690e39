//! S30: role by route, on the server that runs.

use std::fs;

use sessionctl::access::Role;
use sessionctl::token::Token;
use sessionctl::wire::ROUTES;

use crate::described::{METHODS, filled};
use crate::sandbox::{Sandbox, Server, request};

/// A server on a port, and everybody who has a token there. Another role's token is made here.
fn serve(sandbox: &Sandbox) -> (Server, Vec<(Role, String)>) {
    let file = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let (admin, app) = (file("admin-token"), file("app-token"));
    let server = sandbox.serve(&[
        "--admin",
        "127.0.0.1:0",
        "--admin-token-file",
        &admin,
        "--app-token-file",
        &app,
    ]);
    let token = |file: &str| fs::read_to_string(file).unwrap().trim().to_owned();
    let mut tokens = vec![(Role::Admin, token(&admin)), (Role::App, token(&app))];
    let target = ["--server", &server.admin, "--token-file", &admin];
    for role in Role::ALL {
        let create = [
            "token",
            "create",
            "--name",
            &format!("a-{role}"),
            "--role",
            role.as_str(),
        ];
        tokens.push((
            role,
            sandbox
                .run(&[&target[..], &create].concat())
                .ok()
                .trim()
                .into(),
        ));
    }
    (server, tokens)
}

/// The status, and the challenge if there is one. Sent without a body: what is let in is refused for that, or is told that there
/// is no such session.
fn asked(server: &Server, method: &str, path: &str, token: Option<&str>) -> (u16, Option<String>) {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer
        .iter()
        .map(|bearer| ("Authorization", bearer.as_str()))
        .collect();
    let (status, head, _) = request(&server.admin, method, &filled(path), &headers, "").unwrap();
    let challenge = head
        .lines()
        .find_map(|line| line.strip_prefix("www-authenticate: "));
    (status, challenge.map(Into::into))
}

#[test]
fn s30_every_role_gets_what_is_listed_for_it_and_nothing_else() {
    let sandbox = Sandbox::new();
    let (server, tokens) = serve(&sandbox);
    let unknown = Token::mint().unwrap();
    for route in &ROUTES {
        let ask = |token| asked(&server, route.method, route.path, token);
        for (role, token) in &tokens {
            let (status, challenge) = ask(Some(token));
            let what = format!("{role}: {} {}: {status}", route.operation, route.path);
            if route.is_for(*role) {
                assert!(!matches!(status, 401 | 403), "{what}");
            } else {
                let scope = Some("bearer error=\"insufficient_scope\"".to_owned());
                assert_eq!((status, challenge), (403, scope), "{what}");
            }
        }
        let nobody = (401, Some("bearer".into()));
        assert_eq!(ask(None), nobody, "{}", route.operation);
        for stranger in [unknown.expose(), "x", ""] {
            let (status, challenge) = ask(Some(stranger));
            let invalid = Some("bearer error=\"invalid_token\"".into());
            // Who guesses is told to wait, after some guesses.
            let is_refused =
                (status, &challenge) == (401, &invalid) || (status, &challenge) == (429, &None);
            assert!(is_refused, "{}: {status} {challenge:?}", route.operation);
        }
    }
}

/// What is in no line of the table is nobody's: whoever asks for it with another method is not let in.
#[test]
fn s30_what_is_not_in_the_table_is_nobodys() {
    let sandbox = Sandbox::new();
    let (server, tokens) = serve(&sandbox);
    for route in &ROUTES {
        for method in METHODS {
            let is_listed = ROUTES
                .iter()
                .any(|listed| listed.method == method && listed.path == route.path);
            if is_listed {
                continue;
            }
            let everybody = tokens.iter().map(|(_, token)| Some(token.as_str()));
            for token in everybody.chain([None]) {
                let (status, _) = asked(&server, method, route.path, token);
                let is_refused = matches!(status, 401 | 403 | 404 | 405);
                assert!(is_refused, "{method} {}: {status}", route.path);
            }
        }
    }
}
