//! JSON that comes in has one reading or is refused, and what goes out has one (S37; RFC 8259, RFC 7493). The corpus is in the
//! manner of JSONTestSuite.

use serde_json::Value;

use crate::framing::{Reply, talk};
use crate::sandbox::{Sandbox, Server};

/// Texts that are no JSON, or not the same JSON for everybody.
const REFUSED: [(&str, &[u8]); 52] = [
    ("empty", b""),
    ("a space", b" "),
    ("a name twice", br#"{"a":1,"a":1}"#),
    ("a name twice, once escaped", br#"{"a":1,"\u0061":2}"#),
    (
        "a name twice, deep",
        br#"[{"x":[{"y":{"a":1,"b":0,"a":2}}]}]"#,
    ),
    ("an empty name twice", br#"{"":1,"":1}"#),
    ("NaN", b"NaN"),
    ("-NaN", b"-NaN"),
    ("Infinity", b"Infinity"),
    ("-Infinity", b"-Infinity"),
    ("inf", b"inf"),
    ("a number that no double holds", b"1e999"),
    ("a negative one", b"-1e999"),
    ("a digit too many for a double", b"123123e100000"),
    ("a plus", b"+1"),
    ("a leading zero", b"01"),
    ("a negative leading zero", b"-01"),
    ("no digit before the point", b".5"),
    ("no digit after the point", b"1."),
    ("an empty exponent", b"1e"),
    ("hexadecimal", b"0x1"),
    ("a minus alone", b"-"),
    ("digits of another script", "１".as_bytes()),
    ("a BOM", b"\xef\xbb\xbf{}"),
    ("a BOM alone", b"\xef\xbb\xbf"),
    ("UTF-16", b"\xff\xfe1\x00"),
    ("a lone leading surrogate", br#""\ud800""#),
    ("a lone trailing surrogate", br#""\udc00""#),
    ("surrogates in the wrong order", br#""\udc00\ud800""#),
    ("a leading surrogate before a letter", br#""\ud800a""#),
    ("a lone surrogate in a name", br#"{"\ud800":1}"#),
    ("an encoded surrogate", b"\"\xed\xa0\x80\""),
    ("invalid UTF-8", b"\"\xff\""),
    ("UTF-8 that breaks off", b"\"\xc3\""),
    ("an overlong slash", b"\"\xc0\xaf\""),
    ("a second value", b"1 2"),
    ("a second object", b"{}{}"),
    ("something behind it", b"{}x"),
    ("NUL behind it", b"{}\0"),
    ("a comma behind it", b"{},"),
    ("a trailing comma in an array", b"[1,]"),
    ("a trailing comma in an object", br#"{"a":1,}"#),
    ("a comment", b"/* */1"),
    ("a comment behind it", b"1//"),
    ("a comment of a shell", b"#\n1"),
    ("a newline in a string", b"\"a\nb\""),
    ("NUL in a string", b"\"a\0b\""),
    ("an unknown escape", br#""\x41""#),
    ("single quotes", b"'a'"),
    ("a name without quotes", b"{a:1}"),
    ("capitals", b"True"),
    ("form feed", b"\x0c1"),
];

/// A server with one session, asked on its port with its token.
struct Asked {
    sandbox: Sandbox,
    server: Server,
    authorization: String,
    id: String,
}

impl Asked {
    fn start() -> Self {
        let sandbox = Sandbox::new();
        let token_file = sandbox.path("token");
        let file = token_file.to_str().unwrap();
        let server = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", file]);
        let token = std::fs::read_to_string(&token_file).unwrap();
        let mut asked = Self {
            sandbox,
            server,
            authorization: format!("Authorization: Bearer {}", token.trim()),
            id: String::new(),
        };
        let opened = asked.ask("POST", "/v1/sessions", br#"{"kind":"mobile","user":"ana"}"#);
        assert_eq!(opened.status, 201, "{opened:?}");
        let opened: Value = serde_json::from_str(&opened.body).unwrap();
        asked.id = opened["session"]["id"].as_str().unwrap().to_owned();
        let started = asked.ask("POST", &asked.of("/processes"), b"{}");
        assert_eq!(started.status, 201, "{started:?}");
        asked
    }

    fn of(&self, rest: &str) -> String {
        format!("/v1/sessions/{}{rest}", self.id)
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let authorization = &self.authorization;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut replies = talk(&self.server.admin, &[head.as_bytes(), body].concat());
        assert_eq!(replies.len(), 1, "{method} {path}");
        replies.remove(0)
    }

    fn refuses(&self, name: &str, method: &str, path: &str, body: &[u8], status: u16) {
        let reply = self.ask(method, path, body);
        assert_eq!(reply.status, status, "{name}: {method} {path}: {reply:?}");
        assert!(reply.is_problem(), "{name}: {reply:?}");
    }

    /// All that a body could have changed.
    fn state(&self) -> Vec<Value> {
        let paths = ["/v1/sessions", "/v1/options", "/v1/history", "/v1/locks"];
        let mut paths: Vec<String> = paths.map(str::to_owned).into();
        paths.push(self.of(""));
        paths.push(self.of("/processes/1/context"));
        let get = |path: &String| {
            let reply = self.ask("GET", path, b"");
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
            let mut document = serde_json::from_str(&reply.body).unwrap();
            forget_what_looking_changes(&mut document);
            document
        };
        paths.iter().map(get).collect()
    }

    /// Every route that takes an object, with a member of it.
    fn objects(&self) -> [(&'static str, String, &'static str); 7] {
        [
            ("POST", "/v1/sessions".into(), "user"),
            ("POST", self.of("/close"), "reason"),
            ("POST", self.of("/drop"), "reason"),
            ("POST", self.of("/login"), "user"),
            ("POST", self.of("/processes"), "lease"),
            ("PATCH", "/v1/options".into(), "max_sessions"),
            ("PUT", self.of("/processes/1/selections/s"), "table"),
        ]
    }
}

/// It is another at every look.
fn forget_what_looking_changes(document: &mut Value) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(forget_what_looking_changes),
        Value::Object(members) => {
            members.remove("idle_ms");
            // That an operator looks at a context is in the audit record.
            members.remove("as_of");
            members.values_mut().for_each(forget_what_looking_changes);
        }
        _ => {}
    }
}

#[test]
fn s37_what_has_no_one_reading_is_refused_and_changes_nothing() {
    let asked = Asked::start();
    let variable = asked.of("/processes/1/variables/v");
    assert_eq!(asked.ask("PUT", &variable, b"1").status, 204);
    let before = asked.state();
    let bomb = |open: &str, close: &str, depth: usize| {
        format!("{}1{}", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    let bombs = [
        ("128 arrays", bomb("[", "]", 128)),
        ("30,000 arrays", bomb("[", "]", 30_000)),
        ("10,000 objects", bomb("{\"a\":", "}", 10_000)),
        ("arrays without an end", b"[".repeat(60_000)),
    ];
    let bombs = bombs.iter().map(|(name, text)| (*name, text.as_slice()));
    for (name, text) in REFUSED.into_iter().chain(bombs) {
        asked.refuses(name, "PUT", &variable, text, 422);
        for (method, path, member) in asked.objects() {
            asked.refuses(name, method, &path, text, 400);
            let inside = [format!("{{\"{member}\":").as_bytes(), text, b"}"].concat();
            asked.refuses(name, method, &path, &inside, 400);
        }
    }
    assert_eq!(asked.state(), before);
}

#[test]
fn s37_bodies_are_objects_with_known_members_that_are_there_once() {
    let asked = Asked::start();
    let before = asked.state();
    for (method, path, member) in asked.objects() {
        for body in ["[]", "[{}]", "null", "1", "\"{}\"", "true", "[null,null]"] {
            asked.refuses(body, method, &path, body.as_bytes(), 400);
        }
        let twice = format!("{{\"{member}\":null,\"{member}\":null}}");
        asked.refuses("twice", method, &path, twice.as_bytes(), 400);
        for unknown in ["unknown", "__proto__", "", "Reason", "reason "] {
            let body = format!("{{\"{unknown}\":null}}");
            asked.refuses(unknown, method, &path, body.as_bytes(), 400);
        }
    }
    for (path, body) in [
        ("/v1/sessions", r#"{"idle_minutes":1e3}"#),
        ("/v1/sessions", r#"{"idle_minutes":18446744073709551616}"#),
        ("/v1/sessions", r#"{"idle_minutes":-1}"#),
        (&asked.of("/close"), r#"{"wait":1.5}"#),
        (&asked.of("/close"), r#"{"wait":-1}"#),
        (&asked.of("/close"), r#"{"wait":"1"}"#),
        (&asked.of("/close"), r#"{"must_exist":1}"#),
        (&asked.of("/processes"), r#"{"lease":1e30}"#),
    ] {
        asked.refuses(body, "POST", path, body.as_bytes(), 400);
    }
    assert_eq!(asked.state(), before);
}

/// A field that is not known is a wish that would not be heard; one that is there twice has two values.
#[test]
fn s37_queries_have_known_fields_that_are_there_once() {
    let asked = Asked::start();
    let before = asked.state();
    for (method, path, known) in [
        ("GET", "/v1/sessions".into(), "limit=1"),
        ("GET", "/v1/locks".into(), "limit=1"),
        ("GET", "/v1/history".into(), "limit=1"),
        ("GET", "/v1/audit".into(), "limit=1"),
        ("GET", asked.of("/saved"), "take=0"),
        ("GET", asked.of("/processes/1"), "wait=0s"),
        ("PUT", asked.of("/processes/1/locks/T/1"), "wait=0s"),
        ("PATCH", "/v1/options".into(), "dry_run=true"),
    ] {
        for query in [
            format!("{known}&{known}"),
            format!("{known}&unknown=1"),
            "unknown=".into(),
        ] {
            let path = format!("{path}?{query}");
            asked.refuses(&query, method, &path, b"{}", 400);
        }
    }
    let none: [(&str, String); 12] = [
        ("GET", "/v1/stats".into()),
        ("GET", "/v1/options".into()),
        ("GET", "/v1/audit/verdict".into()),
        ("GET", asked.of("")),
        ("DELETE", asked.of("")),
        ("POST", "/v1/sessions".into()),
        ("POST", asked.of("/close")),
        ("POST", asked.of("/drop")),
        ("POST", asked.of("/processes")),
        ("DELETE", asked.of("/processes/1")),
        ("GET", asked.of("/processes/1/context")),
        ("PUT", asked.of("/processes/1/variables/v")),
    ];
    for (method, path) in none {
        for query in ["must_exist=true", "x", "dry_run=true"] {
            let path = format!("{path}?{query}");
            asked.refuses(query, method, &path, b"{}", 400);
        }
    }
    assert_eq!(asked.state(), before);
}

#[test]
fn s37_values_come_back_as_they_were_written() {
    let asked = Asked::start();
    let variable = asked.of("/processes/1/variables/v");
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    for text in [
        "null",
        "0",
        "-0",
        "-0.0",
        "1e2",
        "1E+2",
        "100000000000000000000000000000000000000000000001",
        "9007199254740993",
        "0.1000000000000000055511151231257827",
        "1e-400",
        r#""""#,
        r#""\u0061\/\ud83d\udd11é\u0000""#,
        "\"\u{7f}\u{2028}\u{fffe}\u{10ffff}\"",
        "[ ]",
        "{\"b\" : 1 ,\r\n\t\"a\":[1,1] , \"A\":{\"b\":2}}",
        r#"{"__proto__":{"a":1},"constructor":2}"#,
        &deep,
    ] {
        let set = asked.ask("PUT", &variable, format!(" {text}\n").as_bytes());
        assert_eq!(set.status, 204, "{text}: {set:?}");
        assert_eq!(asked.ask("GET", &variable, b"").body, text);
        let context = asked
            .ask("GET", &asked.of("/processes/1/context"), b"")
            .body;
        assert!(context.contains(&format!("{{\"v\":{text}}}")), "{context}");
    }
}

/// Programs that have doubles alone, as JavaScript and jq do, read the same numbers: none is beyond 2^53.
fn assert_numbers_are_exact(value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(assert_numbers_are_exact),
        Value::Object(members) => members.values().for_each(assert_numbers_are_exact),
        Value::Number(number) => {
            let exact = number.as_i64().is_some_and(|n| n.unsigned_abs() <= 1 << 53);
            assert!(exact, "{number}");
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Also after a store was brought back from a copy, which makes its numbers leap ahead.
#[test]
fn s37_numbers_that_go_out_are_exact_for_everybody() {
    let mut asked = Asked::start();
    let data = asked.sandbox.data();
    let (data, copy) = (data.to_str().unwrap(), asked.sandbox.path("copy"));
    let copy = copy.to_str().unwrap();
    asked
        .sandbox
        .run(&["store", "backup", copy, "--local", data])
        .ok();
    asked.server.signal("TERM");
    assert_eq!(asked.server.wait(), Some(0));
    std::fs::remove_dir_all(data).unwrap();
    asked
        .sandbox
        .run(&["store", "restore", copy, "--local", data, "--yes"])
        .ok();
    let token_file = asked.sandbox.path("token");
    let file = token_file.to_str().unwrap();
    asked.server = asked
        .sandbox
        .serve(&["--admin", "127.0.0.1:0", "--admin-token-file", file]);
    let opened = asked.ask("POST", "/v1/sessions", br#"{"kind":"mobile"}"#);
    let opened: Value = serde_json::from_str(&opened.body).unwrap();
    asked.id = opened["session"]["id"].as_str().unwrap().to_owned();
    asked.ask("POST", &asked.of("/processes"), b"{}");
    let lock = asked.ask("PUT", &asked.of("/processes/1/locks/T/1"), b"");
    let fence = serde_json::from_str::<Value>(&lock.body).unwrap()["fence"].clone();
    assert!(fence.as_u64().unwrap() > 1 << 40, "it has leapt: {fence}");
    asked.state().iter().for_each(assert_numbers_are_exact);
}
