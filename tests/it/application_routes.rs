//! What the application routes refuse, and how they say so (413, 422, 400, 404, 409): asked of the built binary byte by byte.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, Server};

fn asked(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let path = format!("/v1/sessions{path}");
    let (status, body) = server.ask(method, &path, None, body);
    let body = serde_json::from_str(&body).unwrap_or(Value::Null);
    (status, body)
}

/// The status, the end of the problem's type, and what it says.
fn refused(server: &Server, method: &str, path: &str, body: &str) -> (u16, String, String) {
    let (status, problem) = asked(server, method, path, body);
    let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
    assert_eq!(problem["status"], json!(status), "{path}: {problem}");
    let kind = text("type");
    let kind = kind.rsplit(':').next().unwrap_or_default().to_owned();
    (status, kind, text("detail"))
}

#[test]
fn names_values_and_sizes_are_refused_with_a_reason() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let id = server.open(&json!({}));
    let of = |rest: &str| format!("/{id}/processes/{rest}");
    let long = "x".repeat(129);
    let most = format!("\"{}\"", "x".repeat(64 * 1024));
    let deep = "[".repeat(200);
    for (method, path, body, status, kind, says) in [
        (
            "PUT",
            "1/variables/a%00b",
            "1",
            422,
            "context",
            "control characters",
        ),
        (
            "PUT",
            "1/variables/a%0Ab",
            "1",
            422,
            "context",
            "control characters",
        ),
        (
            "PUT",
            &format!("1/variables/{long}"),
            "1",
            422,
            "context",
            "at most 128 characters, this has 129",
        ),
        (
            "PUT",
            "1/variables/v",
            &most,
            413,
            "context-too-large",
            "at most 65536 bytes",
        ),
        ("PUT", "1/variables/v", "{", 422, "context", "not JSON"),
        (
            "PUT",
            "1/variables/v",
            "",
            415,
            "media-type",
            "application/json",
        ),
        ("PUT", "1/variables/v", &deep, 422, "context", "not JSON"),
        ("PUT", "1/selections/s", "[1]", 400, "invalid", "body"),
        (
            "PUT",
            "1/selections/s",
            r#"{"table":"T","records":["1"],"more":1}"#,
            400,
            "invalid",
            "more",
        ),
        (
            "PUT",
            "1/selections/s",
            r#"{"table":"","records":[]}"#,
            422,
            "context",
            "at least one character",
        ),
        (
            "PUT",
            "1/locks/T/a%00b",
            "",
            422,
            "context",
            "control characters",
        ),
        (
            "PUT",
            "1/locks/T/1?wait=61s",
            "",
            400,
            "invalid",
            "at most 60s",
        ),
        ("PUT", "1/locks/T/1?wait=soon", "", 400, "invalid", "30s"),
        ("GET", "1?wait=-1s", "", 400, "invalid", "30s"),
        ("GET", "0", "", 400, "invalid", "process"),
        ("GET", "one", "", 400, "invalid", "process"),
        ("GET", "4294967296", "", 400, "invalid", "process"),
        ("GET", "7", "", 404, "no-process", "no process 7"),
        (
            "GET",
            "1/variables/unset",
            "",
            404,
            "not-set",
            "no variable",
        ),
        (
            "GET",
            "1/selections/unset",
            "",
            404,
            "not-set",
            "no selection",
        ),
        (
            "PUT",
            "7/variables/v",
            "1",
            404,
            "no-process",
            "no process 7",
        ),
        (
            "POST",
            "",
            r#"{"lease":1}"#,
            400,
            "invalid",
            "30 seconds to 1 hour",
        ),
        ("POST", "", r#"{"leese":60000}"#, 400, "invalid", "leese"),
        (
            "POST",
            "",
            "{}",
            409,
            "has-process",
            "has its process already",
        ),
    ] {
        let path = of(path);
        let path = path.trim_end_matches('/');
        let (found, problem, detail) = refused(&server, method, path, body);
        assert_eq!(
            (found, problem.as_str()),
            (status, kind),
            "{method} {path}: {detail}"
        );
        assert!(detail.contains(says), "{method} {path}: {detail}");
    }
    let (_, context) = asked(&server, "GET", &of("1/context"), "");
    assert_eq!(
        context,
        json!({"variables": {}, "selections": {}, "locks": []}),
        "nothing was changed"
    );
    for (path, body, says) in [
        (format!("/{id}/login"), r#"{"user":" ana"}"#, "blanks"),
        (format!("/{id}/login"), r#"{"name":"ana"}"#, "name"),
        (
            String::new(),
            r#"{"kind":"web","idle_timeout":7200000}"#,
            "mobile",
        ),
        (String::new(), r#"{"kind":"tv"}"#, "tv"),
    ] {
        let (status, kind, detail) = refused(&server, "POST", &path, body);
        assert_eq!((status, kind.as_str()), (400, "invalid"), "{detail}");
        assert!(detail.contains(says), "{detail}");
    }
    // An array is no object, though its fields may come in the right order.
    for (path, body) in [
        (String::new(), "[]"),
        (String::new(), r#"["posi","10.1.1.1"]"#),
        (format!("/{id}/login"), r#"["zed"]"#),
        (format!("/{id}/close"), r#"["why",0]"#),
        (of(""), "[60000]"),
    ] {
        let (status, kind, detail) = refused(&server, "POST", path.trim_end_matches('/'), body);
        assert_eq!((status, kind.as_str()), (400, "invalid"), "{path} {body}");
        assert!(detail.contains("not a JSON object"), "{detail}");
    }
    let shown = sandbox.run(&["show", &id, "-o", "json"]).ok();
    assert!(shown.contains("\"user\":null"), "{shown}");
    let unknown = "/5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11/processes/1";
    assert_eq!(refused(&server, "GET", unknown, "").0, 404);
    sandbox.run(&["close-session", &id]).ok();
    assert_eq!(refused(&server, "GET", &of("1"), "").0, 410);
    assert_eq!(
        refused(
            &server,
            "POST",
            &format!("/{id}/login"),
            r#"{"user":"ana"}"#
        )
        .0,
        410
    );
}

/// Whoever sends its body after its head is refused when it has sent it, and can read why.
#[test]
fn a_refusal_waits_for_the_body() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let id = server.open(&json!({}));
    let socket = server.admin.strip_prefix("unix:").expect("a socket");
    let mut stream = UnixStream::connect(socket).unwrap();
    let path = format!("/v1/sessions/{id}/processes/1/variables/a%00b");
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let early = stream.read(&mut [0; 64]);
    assert!(early.is_err(), "refused before the body came: {early:?}");
    stream.set_read_timeout(None).unwrap();
    stream.write_all(b"123").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
}
