//! The description of the API is that of the server that runs: the same routes, the same documents, the same refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sessionctl::clock::SystemClock;
use sessionctl::options::Settings;
use sessionctl::registry::Registry;
use sessionctl::server::{AdminAccess, admin_routes};
use sessionctl::store::memory::MemoryStore;
use sessionctl::token::Token;
use sessionctl::wire::ROUTES;

use crate::described::{METHODS, Operation, document, filled, operations, takes};
use crate::sandbox::{Sandbox, Server, request};

/// Asks with every method for every path of the document: those that it lists are there, and no other.
fn compare(url: &str, headers: &[(&str, &str)], is_here: impl Fn(&Operation) -> bool) {
    let mut paths: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for operation in operations().into_iter().filter(is_here) {
        paths
            .entry(operation.path)
            .or_default()
            .insert(operation.method);
    }
    assert!(paths.len() > 1);
    for (path, listed) in paths {
        for method in METHODS {
            let (status, head, body) = request(url, method, &filled(path), headers, "").unwrap();
            let what = format!("{method} {path}: {status} {body}");
            assert!(!body.contains("unknown-route"), "{what}");
            assert_eq!(status == 405, !listed.contains(method), "{what}");
            if status != 405 {
                continue;
            }
            let mut allowed: BTreeSet<_> = listed.clone();
            if listed.contains("GET") {
                allowed.insert("HEAD");
            }
            let allow = head.lines().find_map(|line| line.strip_prefix("allow: "));
            let allow = allow.unwrap_or_default().to_uppercase();
            let allow: BTreeSet<_> = allow.split(',').map(str::trim).collect();
            assert_eq!(allow, allowed, "{what}");
        }
    }
}

#[test]
fn every_route_is_described_and_no_other() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    compare(&server.admin, &[], Operation::is_of_admin);
    compare(&server.web, &[], Operation::is_of_web);
}

/// The same routes in somebody else's router, which alone knows of its health.
#[test]
fn the_routes_for_another_router_are_described() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let registry = Registry::new(MemoryStore::new(Settings::default()), Arc::new(SystemClock));
    let token = Token::mint().unwrap();
    let access = AdminAccess {
        admin_token: token.hash(),
        app_token: None,
    };
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, admin_routes(registry, access)).await });
    let bearer = format!("Bearer {}", token.expose());
    compare(&url, &[("Authorization", &bearer)], |operation| {
        operation.is_of_admin() && operation.path != "/healthz"
    });
}

/// Every route of the table of roles is described, with what it takes.
#[test]
fn every_route_of_the_table_is_described() {
    let operations = operations();
    let described: BTreeMap<_, _> = operations
        .iter()
        .filter(|operation| operation.is_of_admin())
        .map(|operation| (operation.name(), operation))
        .collect();
    for route in &ROUTES {
        let operation = described[route.operation];
        assert_eq!(
            (operation.method, operation.path),
            (route.method, route.path)
        );
        assert_eq!(
            operation.takes_body(),
            route.takes_body(),
            "{}",
            route.operation
        );
        assert_eq!(
            operation.takes_query(),
            route.takes_query,
            "{}",
            route.operation
        );
    }
}

/// Every path that a server mounts is one of `wire::path`, and is in the document.
#[test]
fn no_path_is_forgotten() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |file: &str| fs::read_to_string(src.join(file)).unwrap();
    let source = read("wire/path.rs");
    let constants: BTreeMap<&str, &str> = source
        .lines()
        .filter_map(|line| {
            let (name, value) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
            Some((name, value.strip_suffix("\";")?))
        })
        .collect();
    assert!(constants.len() > 20, "{constants:?}");
    let mut mounted = BTreeSet::new();
    for file in fs::read_dir(src.join("server")).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        for (_, route) in source
            .match_indices(".route(")
            .map(|(at, _)| source.split_at(at))
        {
            let argument = route.trim_start_matches(".route(").trim_start();
            let name = argument
                .strip_prefix("path::")
                .unwrap_or_else(|| panic!("a path that is not of wire::path: {}", &argument[..40]));
            mounted.insert(constants[name.split(',').next().unwrap()]);
        }
    }
    let described: BTreeSet<_> = operations()
        .iter()
        .map(|operation| operation.path)
        .collect();
    assert_eq!(mounted, described);
    let of_table: BTreeSet<_> = ROUTES.iter().map(|route| route.path).collect();
    let known: BTreeSet<_> = mounted.union(&of_table).copied().collect();
    assert_eq!(constants.values().copied().collect::<BTreeSet<_>>(), known);
}

fn operation(name: &str) -> Operation {
    let mut operations = operations().into_iter();
    operations
        .find(|operation| operation.name() == name)
        .unwrap()
}

/// Asks for an operation by its name; answers the status and the document. Each exchange is held against the description.
struct Client<'a> {
    server: &'a Server,
    id: String,
    answered: BTreeSet<(&'static str, u16)>,
}

impl Client<'_> {
    fn ask(&mut self, name: &str, rest: &str, body: &str) -> (u16, Value) {
        let operation = operation(name);
        let path = operation.path.replace("{id}", &self.id);
        let path = path
            .replace("{process}", "1")
            .replace("{name}", "n")
            .replace("{token}", "x");
        let path = path.replace("{table}", "T").replace("{record}", "1") + rest;
        let (status, body) = self.server.ask(operation.method, &path, None, body);
        self.answered.insert((operation.name(), status));
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    fn ok(&mut self, name: &str, rest: &str, body: &str) -> Value {
        let (status, body) = self.ask(name, rest, body);
        assert!((200..300).contains(&status), "{name}: {status} {body}");
        body
    }

    fn refused(&mut self, name: &str, rest: &str, body: &str, kind: &str) {
        let (status, problem) = self.ask(name, rest, body);
        let found = problem["type"].as_str().unwrap_or_default();
        assert_eq!(
            found,
            format!("urn:sessionctl:problem:{kind}"),
            "{name}: {status} {problem}"
        );
    }
}

#[test]
fn every_operation_answers_as_described() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--on-close", "save", "--cookie-secure", "off"]);
    let mut client = Client {
        server: &server,
        id: String::new(),
        answered: BTreeSet::new(),
    };
    let opened = client.ok(
        "openSession",
        "",
        r#"{"user":"ana","ip":"192.0.2.1","kind":"web"}"#,
    );
    client.id = opened["session"]["id"].as_str().unwrap().into();
    client.ok("logIn", "", r#"{"user":"ben"}"#);
    client.ok("setVariable", "", r#"{"a":[1,null,"x"]}"#);
    client.ok("setSelection", "", r#"{"table":"T","records":["1","2"]}"#);
    client.ok("lockRecord", "?wait=1s", "");
    for look in [
        "showVariable",
        "showSelection",
        "showContext",
        "pollProcess",
        "showSession",
    ] {
        client.ok(look, "", "");
    }
    for list in [
        "listSessions",
        "listLocks",
        "listOptions",
        "showStats",
        "verifyAudit",
    ] {
        client.ok(list, "", "");
    }
    client.ok("listLocks", "?table=T&limit=1", "");
    client.refused("startProcess", "", "{}", "has-process");
    client.refused("showVariable", "x", "", "not-set");
    client.refused(
        "setOptions",
        "",
        r#"{"inactive_session_timeout":0.5}"#,
        "invalid",
    );
    client.ok(
        "setOptions",
        "?dry_run=true",
        r#"{"max_sessions":50,"mode":null,"open_rate":"off"}"#,
    );
    client.refused("setOptions", "", r#"{"cookie_name":"other"}"#, "would-end");
    let mobile = server.open_mobile("cem", 1);
    client.refused_at(&mobile, "lockRecord", "lock-held");
    client.ok_at(&mobile, "endProcess");
    client.ok("unlockRecord", "", "");
    client.ok("resetVariable", "", "");
    client.ok("destroySelection", "", "");
    client.ok("closeSession", "", r#"{"reason":"ticket 88","wait":10000}"#);
    client.refused("showSession", "", "", "closed");
    client.refused("pollProcess", "", "", "closed");
    for look in ["showClosedSession", "listHistory", "listAudit"] {
        client.ok(look, "", "");
    }
    client.ok("deleteSession", "", "");
    client.ok("dropSession", "", "{}");
    let token = r#"{"name":"x","role":"viewer","lifetime":null}"#;
    client.ok("createToken", "", token);
    client.refused("createToken", "", token, "token-exists");
    client.refused(
        "createToken",
        "",
        r#"{"name":"y","role":"root"}"#,
        "invalid",
    );
    client.refused(
        "createToken",
        "",
        r#"{"name":"y","role":"app","lifetime":1}"#,
        "invalid",
    );
    client.ok("listTokens", "", "");
    client.ok("revokeToken", "", "");
    client.refused("revokeToken", "", "", "no-token");
    client.refused("closeSession", "x", "{}", "unknown-route");
    client.id = mobile;
    client.ok("startProcess", "", r#"{"lease":60000}"#);
    client.ok("takeSaved", "?take=0", "");
    assert_eq!(
        client.ask("closeSession", "", "{}").0,
        202,
        "its process was asked"
    );
    client.refused("logIn", "", r#"{"user":"dan"}"#, "closing");
    client.ok("setOptions", "", r#"{"mode":"scalable"}"#);
    client.id = server.open(&json!({}));
    client.refused("closeSession", "", "{}", "ignored");
    client.refused("deleteSession", "", "", "ignored");
    client.ok("setOptions", "", r#"{"mode":"none"}"#);
    client.refused("openSession", "", "{}", "no-sessions");
    client.refused("dropSession", "", "", "media-type");
    client.refused("dropSession", "", "[]", "invalid");
    let large = format!("\"{}\"", "x".repeat(70_000));
    client.refused("setVariable", "", &large, "context-too-large");
    client.refused("dropSession", "", &"x".repeat(70_000), "too-large");
    client.id = "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11".into();
    client.refused("dropSession", "", r#"{"must_exist":true}"#, "not-found");
    client.ok("health", "", "");
    client.ok("ready", "", "");
    let succeeded = |operation: &Operation| {
        let is_it = |(name, status): &(&str, u16)| *name == operation.name() && *status < 300;
        client.answered.iter().any(is_it)
    };
    let of_admin = operations().into_iter().filter(Operation::is_of_admin);
    let never: Vec<_> = of_admin
        .filter(|operation| !succeeded(operation))
        .map(|operation| operation.name())
        .collect();
    assert_eq!(never, [""; 0], "each was answered well once");
}

impl Client<'_> {
    fn ok_at(&mut self, id: &str, name: &str) {
        let id = std::mem::replace(&mut self.id, id.into());
        self.ok(name, "", "");
        self.id = id;
    }

    fn refused_at(&mut self, id: &str, name: &str, kind: &str) {
        let id = std::mem::replace(&mut self.id, id.into());
        self.refused(name, "", "", kind);
        self.id = id;
    }
}

/// Web clients and proxies get what is described, too.
#[test]
fn web_clients_are_answered_as_described() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--cookie-secure", "off", "--max-sessions", "1"]);
    let get = |path: &str, headers: &[(&str, &str)]| server.get(path, headers).unwrap();
    let (_, opened) = server.ask(
        "POST",
        "/v1/sessions",
        None,
        r#"{"user":"ana","ip":"127.0.0.1"}"#,
    );
    let opened: Value = serde_json::from_str(&opened).unwrap();
    let cookie = format!("4DSID={}", opened["token"].as_str().unwrap());
    let own = [("Cookie", cookie.as_str())];
    let two = [("Cookie", "4DSID=a; 4DSID=b")];
    let (status, head, _) = get("/session", &own);
    assert!(status == 200 && head.contains("set-cookie: "), "{head}");
    for path in [
        "/session?auth=1",
        "/check",
        "/check?touch=0",
        "/check?touch=x&a=b",
    ] {
        let (status, head, _) = get(path, &own);
        assert!(
            status == 200 && head.contains("remote-user: "),
            "{path}: {head}"
        );
    }
    assert_eq!(server.ask_web("POST", "/check", &own).unwrap().0, 200);
    for (path, expected) in [("/session", 400), ("/session?auth=1", 403), ("/check", 401)] {
        assert_eq!(get(path, &two).0, expected, "{path}");
    }
    assert_eq!(get("/session", &[]).0, 503, "the server is full");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(path, &[]).0, 200);
    }
    let log_out = |headers: &[(&str, &str)]| server.ask_web("POST", "/logout", headers).unwrap().0;
    assert_eq!(log_out(&[("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(log_out(&[]), 401);
    assert_eq!(log_out(&two), 401);
    assert_eq!(log_out(&own), 204);
    assert_eq!(get("/check", &own).0, 401);
}

/// What a body may not have, the schema refuses and the server as well; what it may have, both take.
#[test]
fn schemas_of_bodies_refuse_what_the_server_refuses() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let cases = [
        (
            "openSession",
            json!({"user": "ana", "ip": "::1", "user_agent": "x"}),
        ),
        (
            "openSession",
            json!({"kind": "mobile", "idle_timeout": 3_600_000}),
        ),
        (
            "closeSession",
            json!({"reason": "x", "wait": 0, "must_exist": false, "request_id": null}),
        ),
        (
            "dropSession",
            json!({"request_id": "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11"}),
        ),
        ("logIn", json!({"user": "ana"})),
        (
            "setOptions",
            json!({"max_sessions": 0, "open_rate": 7, "eviction_order": "safe", "on_close_slots": 3}),
        ),
        ("setSelection", json!({"table": "T", "records": []})),
        ("startProcess", json!({"lease": 30_000})),
    ];
    let wrong = [
        ("openSession", json!({"user": ""})),
        ("openSession", json!({"ip": "home"})),
        ("openSession", json!({"kind": "tv"})),
        ("openSession", json!({"kind": "mobile", "idle_timeout": 1})),
        ("closeSession", json!({"reason": "x".repeat(257)})),
        ("closeSession", json!({"wait": -1})),
        ("closeSession", json!({"request_id": "x"})),
        ("logIn", json!({})),
        ("logIn", json!([])),
        ("setOptions", json!({"max_sessions": "many"})),
        ("setOptions", json!({"mode": "quick"})),
        ("setOptions", json!({"history_retention": 1})),
        ("setOptions", json!({"on_close": "/bin/true"})),
        ("setSelection", json!({"table": "T", "records": [1]})),
        ("setSelection", json!({"table": "", "records": []})),
        ("startProcess", json!({"lease": 29_999})),
    ];
    let ask = |name: &str, body: &Value| {
        let operation = operation(name);
        // A web session has its process, a mobile one has none.
        let id = match name {
            "startProcess" => server.open(&json!({"kind": "mobile"})),
            _ => server.open(&json!({})),
        };
        let path = filled(&operation.path.replace("{id}", &id));
        (
            operation,
            server.ask(operation.method, &path, None, &body.to_string()),
        )
    };
    for (name, body) in cases {
        let (operation, (status, answer)) = ask(name, &body);
        assert_eq!(takes(&operation, &body), Ok(()), "{name} {body}");
        assert!(status < 300, "{name} {body}: {status} {answer}");
        let mut more = body;
        more["unknown"] = json!(1);
        assert!(takes(&operation, &more).is_err(), "{name} {more}");
        let (_, (status, answer)) = ask(name, &more);
        assert_eq!(status, 400, "{name} {more}: {answer}");
    }
    for (name, body) in wrong {
        let (operation, (status, answer)) = ask(name, &body);
        assert!(takes(&operation, &body).is_err(), "{name} {body}");
        assert!(
            matches!(status, 400 | 422),
            "{name} {body}: {status} {answer}"
        );
    }
}

/// The words of an operation in one line, with all that it refers to by its name.
fn line(operation: &Operation) -> String {
    let names = |values: &Value, key: &str| {
        let values = values.as_array().into_iter().flatten();
        let names = values.map(|value| value[key].as_str().unwrap_or_default());
        names.collect::<Vec<_>>().join(",")
    };
    let name = |schema: &Value| {
        let reference = schema["schema"]["$ref"].as_str().unwrap_or("(here)");
        reference.rsplit('/').next().unwrap_or_default().to_owned()
    };
    let described = operation.described;
    let roles = described["x-roles"]
        .as_array()
        .map_or_else(String::new, |roles| {
            let roles: Vec<_> = roles.iter().filter_map(Value::as_str).collect();
            format!(" [{}]", roles.join(" "))
        });
    let mut line = format!(
        "{} {} {}{roles}",
        operation.method,
        operation.path,
        operation.name()
    );
    if let Some(parameters) = described.get("parameters") {
        line += &format!("\n    ?{}", names(parameters, "name"));
    }
    if let Some(body) = described.get("requestBody") {
        line += &format!("\n    takes {}", name(&body["content"]["application/json"]));
    }
    for (status, response) in described["responses"].as_object().unwrap() {
        let what = match response["$ref"].as_str() {
            Some(reference) => reference.rsplit('/').next().unwrap_or_default().to_owned(),
            None => {
                let content = response["content"].as_object();
                let body = content.and_then(|content| content.values().next());
                let headers = response["headers"].as_object();
                let headers = headers.into_iter().flat_map(|headers| headers.keys());
                let body = body.map_or_else(|| "(nothing)".into(), name);
                std::iter::once(body)
                    .chain(headers.cloned())
                    .collect::<Vec<_>>()
                    .join(" ")
            }
        };
        line += &format!("\n    {status} {what}");
    }
    line
}

/// The document in short: a change of it is a change of the API.
#[test]
fn the_description_is_printed() {
    let printed = Sandbox::new().run(&["openapi"]).ok();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed, *document());
    assert_eq!(printed["openapi"], "3.1.0");
    assert_eq!(printed["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut lines: Vec<_> = operations().iter().map(line).collect();
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        let required = schema["required"].as_array();
        let field = |field: &String| match required.is_some_and(|all| all.contains(&json!(field))) {
            true => field.clone(),
            false => format!("{field}?"),
        };
        let fields = schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys());
        let fields: Vec<_> = fields.map(field).collect();
        let words = schema["enum"].as_array().map_or_else(String::new, |words| {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            words.join(" | ")
        });
        lines.push(format!("{name}: {}{words}", fields.join(", ")));
    }
    insta::assert_snapshot!("openapi", lines.join("\n"));
}
