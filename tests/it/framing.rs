//! Where one request ends and the next begins: bytes as an attacker sends them, on both listeners, and through the proxies
//! that stand in front (S36, S34; RFC 9112).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::sandbox::Sandbox;
use crate::site::{Proxy, Site};

/// What takes longer is not closed.
const DEADLINE: Duration = Duration::from_secs(60);

/// One answer on a connection.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends bytes as they are and reads to the end of the connection, which the server has to bring about.
pub(crate) fn talk(url: &str, bytes: &[u8]) -> Vec<Reply> {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{}", lossy(bytes));
    }
    replies(&String::from_utf8_lossy(&answer))
}

/// The begin of it, for a message.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]).into_owned()
}

fn replies(mut text: &str) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        let (body, rest) = rest.split_at(length.min(rest.len()));
        text = rest;
        if status >= 200 {
            replies.push(Reply {
                status,
                head,
                body: body.into(),
            });
        }
    }
    assert_eq!(text, "", "something behind the last answer");
    replies
}

impl Reply {
    pub(crate) fn is_problem(&self) -> bool {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        self.head.contains("content-type: application/problem+json")
            && problem["type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("urn:"))
            && problem["status"] == self.status
    }
}

/// What is refused, and with which status. `PATH` is one that is answered otherwise, `FIELDS` what every request needs.
const REFUSED: [(&str, &str, u16); 40] = [
    (
        "CL and TE",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE and CL",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "CL twice, the same",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        400,
    ),
    (
        "CL twice, different",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
        400,
    ),
    (
        "a list of CLs",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: 1, 1\r\n\r\nx",
        400,
    ),
    (
        "a signed CL",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: +5\r\n\r\n12345",
        400,
    ),
    (
        "a negative CL",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: -1\r\n\r\n",
        400,
    ),
    (
        "a hexadecimal CL",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: 0x5\r\n\r\n12345",
        400,
    ),
    (
        "an empty CL",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length:\r\n\r\n",
        400,
    ),
    (
        "a CL with a space in it",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: 1 0\r\n\r\n",
        400,
    ),
    (
        "a CL beyond 64 bits",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: 18446744073709551616\r\n\r\n",
        400,
    ),
    (
        "a CL that hyper has another meaning for",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length: 18446744073709551615\r\n\r\n",
        400,
    ),
    (
        "TE twice",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE twice, one of them nothing",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunked, but not at last",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "a coding before chunked",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunked misspelled",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunked in quotes",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunked behind a vertical tab",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE in HTTP/1.0",
        "POST PATH HTTP/1.0\r\nFIELDSTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "a space before the colon",
        "POST PATH HTTP/1.1\r\nFIELDSContent-Length : 5\r\n\r\n12345",
        400,
    ),
    (
        "TE with a space before the colon",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "a folded field",
        "POST PATH HTTP/1.1\r\nFIELDSTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "a first field that begins with a space",
        "POST PATH HTTP/1.1\r\n Content-Length: 5\r\nFIELDS\r\n",
        400,
    ),
    (
        "a field without a colon",
        "GET PATH HTTP/1.1\r\nFIELDSnonsense\r\n\r\n",
        400,
    ),
    ("bare LF", "GET PATH HTTP/1.1\nHost: localhost\n\n", 400),
    (
        "one bare LF",
        "GET PATH HTTP/1.1\r\nFIELDSX: y\nContent-Length: 5\r\n\r\n",
        400,
    ),
    ("an end of bare LF", "GET PATH HTTP/1.1\r\nFIELDS\n", 400),
    (
        "a bare CR",
        "GET PATH HTTP/1.1\r\nFIELDSX: y\rContent-Length: 5\r\n\r\n",
        400,
    ),
    ("NUL", "GET PATH HTTP/1.1\r\nFIELDSX: a\0b\r\n\r\n", 400),
    ("no Host", "GET PATH HTTP/1.1\r\nX: y\r\n\r\n", 400),
    (
        "two Hosts",
        "GET PATH HTTP/1.1\r\nFIELDSHost: evil.example\r\n\r\n",
        400,
    ),
    (
        "a Host that is none",
        "GET PATH HTTP/1.1\r\nHost: a b\r\n\r\n",
        400,
    ),
    (
        "a Host with a user",
        "GET PATH HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n",
        400,
    ),
    (
        "a target of another host",
        "GET http://evil.examplePATH HTTP/1.1\r\nFIELDS\r\n",
        400,
    ),
    (
        "CONNECT",
        "CONNECT evil.example:443 HTTP/1.1\r\nFIELDS\r\n",
        400,
    ),
    ("HTTP/0.9", "GET PATH\r\n", 400),
    ("HTTP/1.2", "GET PATH HTTP/1.2\r\nFIELDS\r\n", 505),
    (
        "HTTP/2 without TLS",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        505,
    ),
    ("two spaces", "GET  PATH HTTP/1.1\r\nFIELDS\r\n", 400),
];

/// A listener as an attacker finds it.
struct Target<'a> {
    url: &'a str,
    /// A path with its plain answer to GET.
    path: &'static str,
    plain: u16,
    fields: String,
    /// A request that would change what is counted.
    smuggled: String,
}

/// Attacks both listeners of one server, the admin one on a port as somebody who has its token. No session comes of it.
fn on_both_listeners(attack: impl Fn(&Target<'_>)) {
    let sandbox = Sandbox::new();
    let token_file = sandbox.path("token");
    let file = token_file.to_str().unwrap();
    let server = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", file]);
    let token = std::fs::read_to_string(&token_file).unwrap();
    let fields = format!(
        "Host: localhost\r\nAuthorization: Bearer {}\r\n",
        token.trim()
    );
    for (url, path, plain, smuggled) in [
        (&server.web, "/check", 401, "GET /session"),
        (&server.admin, "/v1/stats", 200, "POST /v1/sessions"),
    ] {
        let body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        attack(&Target {
            url,
            path,
            plain,
            fields: fields.clone(),
            smuggled: format!("{smuggled} HTTP/1.1\r\n{fields}{body}"),
        });
        let ask = ["--server", &server.admin, "--token-file", file, "count"];
        assert_eq!(sandbox.run(&ask).ok(), "0\n", "{path}");
    }
}

impl Target<'_> {
    fn text(&self, case: &str) -> String {
        case.replace("PATH", self.path)
            .replace("FIELDS", &self.fields)
    }

    fn ask(&self, case: &str) -> Vec<Reply> {
        talk(self.url, self.text(case).as_bytes())
    }
}

/// The one answer that there is to be.
fn the_one(name: &str, replies: Vec<Reply>) -> Reply {
    let Ok([reply]) = <[Reply; 1]>::try_from(replies) else {
        panic!("{name}: not one answer");
    };
    reply
}

#[test]
fn s36_what_has_two_readings_is_refused_and_nothing_after_it_read() {
    on_both_listeners(|target| {
        for (name, case, status) in REFUSED {
            let bytes = target.text(case) + &target.smuggled;
            let reply = the_one(name, talk(target.url, bytes.as_bytes()));
            assert_eq!(reply.status, status, "{name}: {reply:?}");
            assert!(reply.is_problem(), "{name}: {reply:?}");
            assert!(reply.head.contains("connection: close"), "{name}");
        }
    });
}

/// What has one reading, however odd it is, and why it is not refused.
#[test]
fn s36_what_has_one_reading_is_answered() {
    on_both_listeners(|target| {
        for (why, case) in [
            (
                "the plain one",
                "GET PATH HTTP/1.1\r\nFIELDSConnection: close\r\n\r\n",
            ),
            ("older proxies speak it", "GET PATH HTTP/1.0\r\nFIELDS\r\n"),
            (
                "RFC 9112, 3.2.2",
                "GET http://localhostPATH HTTP/1.1\r\nFIELDSConnection: close\r\n\r\n",
            ),
            (
                "an empty line is forgiven, RFC 9112, 2.2",
                "\r\nGET PATH HTTP/1.1\r\nFIELDSConnection: close\r\n\r\n",
            ),
            (
                "a name with _ is a name of its own",
                "GET PATH HTTP/1.1\r\nFIELDSContent_Length: 500\r\nTransfer_Encoding: chunked\r\nConnection: close\r\n\r\n",
            ),
            (
                "zeros change no number",
                "GET PATH HTTP/1.1\r\nFIELDSContent-Length: 000\r\nConnection: close\r\n\r\n",
            ),
            (
                "nobody upgrades here",
                "GET PATH HTTP/1.1\r\nFIELDSConnection: close, upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            ),
        ] {
            let reply = the_one(why, target.ask(case));
            assert_eq!(reply.status, target.plain, "{why}: {reply:?}");
        }
        // Requests one after the other are answered in their order, also cut anywhere, and with bodies between them.
        let two = "GET PATH HTTP/1.1\r\nFIELDS\r\nGET /nowhere HTTP/1.1\r\nFIELDSContent-Length: 7\r\n\r\n\
                   GET / HGET PATH HTTP/1.1\r\nFIELDSConnection: close\r\n\r\n";
        let text = target.text(two);
        let expected = [target.plain, 404, target.plain];
        for cut in (0..text.len()).step_by(7) {
            let mut stream = TcpStream::connect(target.url.trim_start_matches("http://")).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.set_nodelay(true).unwrap();
            let (one, other) = text.as_bytes().split_at(cut);
            stream.write_all(one).unwrap();
            std::thread::yield_now();
            let _ = stream.write_all(other);
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let found: Vec<u16> = replies(&answer).iter().map(|reply| reply.status).collect();
            // A body that nobody reads and that is not there yet ends the connection instead: never another reading.
            assert!(
                found == expected || found[..] == expected[..2],
                "{cut}: {answer}"
            );
        }
        let refused = "GET PATH HTTP/1.1\r\nFIELDS\r\nGET PATH HTTP/1.1\r\nHost: a\nX: y\r\n\r\n";
        let found = target.ask(refused);
        let found: Vec<u16> = found.iter().map(|reply| reply.status).collect();
        assert_eq!(found, [target.plain, 400], "a refusal waits for its turn");
    });
}

/// Where chunks end is hyper's reading alone, so nothing is read after them; what is wrong in them is refused.
#[test]
fn s36_nothing_is_read_after_chunks() {
    let sandbox = Sandbox::new();
    let token_file = sandbox.path("token");
    let file = token_file.to_str().unwrap();
    let server = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", file]);
    let token = std::fs::read_to_string(&token_file).unwrap();
    let open = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        token.trim()
    );
    let smuggled = format!("{open}Content-Length: 2\r\n\r\n{{}}");
    let extension = format!("2;x={}\r\n{{}}\r\n0\r\n\r\n", "y".repeat(1024 * 1024));
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(100_000));
    for (name, body, status) in [
        ("chunks", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 201),
        (
            "a trailer",
            "2\r\n{}\r\n0\r\nContent-Length: 90\r\n\r\n",
            201,
        ),
        ("an extension", "2;x=\"y\"\r\n{}\r\n0\r\n\r\n", 201),
        ("an extension of a megabyte", extension.as_str(), 400),
        ("trailers of half a megabyte", trailers.as_str(), 400),
        (
            "a length beyond 64 bits",
            "fffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        (
            "a length that wraps",
            "10000000000000002\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        ("a negative length", "-2\r\n{}\r\n0\r\n\r\n", 400),
        ("a signed length", "+2\r\n{}\r\n0\r\n\r\n", 400),
        ("a length with 0x", "0x2\r\n{}\r\n0\r\n\r\n", 400),
        ("a length behind a space", " 2\r\n{}\r\n0\r\n\r\n", 400),
        ("an empty length", "\r\n{}\r\n0\r\n\r\n", 400),
        ("bare LF", "2\n{}\n0\n\n", 400),
        (
            "an extension that ends in bare LF",
            "2;x\n{}\r\n0\r\n\r\n",
            400,
        ),
        ("more than was told", "2\r\n{}}\r\n0\r\n\r\n", 400),
    ] {
        let text = format!("{open}Transfer-Encoding: chunked\r\n\r\n{body}{smuggled}");
        let reply = the_one(name, talk(&server.admin, text.as_bytes()));
        assert_eq!(reply.status, status, "{name}: {reply:?}");
        assert!(reply.head.contains("connection: close"), "{name}");
        assert!(status == 201 || reply.is_problem(), "{name}: {reply:?}");
    }
    let ask = ["--server", &server.admin, "--token-file", file, "count"];
    assert_eq!(sandbox.run(&ask).ok(), "3\n");
    let expecting =
        format!("{open}Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
    let reply = the_one("Expect", talk(&server.admin, expecting.as_bytes()));
    assert_eq!(reply.status, 201);
}

#[test]
fn s34_heads_and_targets_have_their_limits() {
    on_both_listeners(|target| {
        let long = "x".repeat(1024 * 1024);
        let target_of = "x".repeat(70 * 1024);
        let fields = |count: usize| "X: y\r\n".repeat(count);
        for (name, case, status) in [
            (
                "a field of a megabyte",
                format!("GET PATH HTTP/1.1\r\nFIELDSX: {long}\r\n\r\n"),
                431,
            ),
            (
                "a megabyte of fields",
                format!("GET PATH HTTP/1.1\r\nFIELDS{}\r\n", fields(180_000)),
                431,
            ),
            (
                "101 fields",
                format!("GET PATH HTTP/1.1\r\nFIELDS{}\r\n", fields(99)),
                431,
            ),
            (
                "a target of 70 KiB",
                format!("GET /{target_of} HTTP/1.1\r\nFIELDS\r\n"),
                414,
            ),
            (
                "a method of 70 KiB",
                format!("{target_of} / HTTP/1.1\r\nFIELDS\r\n"),
                414,
            ),
        ] {
            let bytes = target.text(&case) + &target.smuggled;
            let reply = the_one(name, talk(target.url, bytes.as_bytes()));
            assert_eq!(reply.status, status, "{name}: {reply:?}");
            assert!(reply.is_problem(), "{name}: {reply:?}");
        }
        let most = format!(
            "GET PATH HTTP/1.1\r\nFIELDSConnection: close\r\n{}\r\n",
            fields(97)
        );
        assert_eq!(
            the_one("100 fields", target.ask(&most)).status,
            target.plain
        );
    });
}

/// S34: what is too large is cut off early, and whoever sends it still gets the answer.
#[test]
fn s34_bodies_have_their_limits() {
    on_both_listeners(|target| {
        let is_admin = target.plain == 200;
        let post = if is_admin {
            "POST /v1/sessions"
        } else {
            "POST PATH"
        };
        let status = if is_admin { 413 } else { target.plain };
        let mebibyte = "x".repeat(1024 * 1024);
        let begin = format!("{post} HTTP/1.1\r\nFIELDSContent-Type: application/json\r\n");
        let length = format!("Content-Length: {}\r\n\r\n", 20 * 1024 * 1024);
        let sized = format!("{begin}{length}{}", mebibyte.repeat(20));
        let reply = the_one("20 MiB", target.ask(&sized));
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(!is_admin || reply.is_problem(), "{reply:?}");
        // A gibibyte of chunks: the server has left long before its end.
        let mut stream = TcpStream::connect(target.url.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let begin = format!("{begin}Transfer-Encoding: chunked\r\n\r\n");
        stream.write_all(target.text(&begin).as_bytes()).unwrap();
        let chunk = format!("100000\r\n{mebibyte}\r\n");
        let taken = (0..1024)
            .take_while(|_| stream.write_all(chunk.as_bytes()).is_ok())
            .count();
        assert!(taken < 200, "{taken} MiB were taken");
    });
}

/// Whatever the proxy makes of the first request, a second one that it does not know of reaches nobody: it has no cookie.
fn nothing_is_smuggled(proxy: Proxy) {
    let site = Site::start(proxy);
    let (_, cookie) = site.enter();
    let fields = format!("Host: localhost\r\nCookie: {cookie}\r\n");
    for (name, case, _) in REFUSED {
        let text = case.replace("PATH", "/page").replace("FIELDS", &fields);
        let smuggled =
            "GET /page HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: yes\r\nConnection: close\r\n\r\n";
        let mut stream = TcpStream::connect(site.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let _ = stream.write_all((text + smuggled).as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(site.application.smuggled(), 0, "{name}: {}", lossy(&answer));
    }
    assert_eq!(site.page(&cookie, &[]).status, 200);
    let known = site.page(&cookie, &["-H", "X-Smuggled: yes"]);
    assert_eq!((known.status, site.application.smuggled()), (200, 1));
    assert_eq!(site.sandbox.run(&["count"]).ok(), "1\n");
}

#[test]
fn s36_nothing_is_smuggled_through_nginx() {
    nothing_is_smuggled(Proxy::Nginx);
}

#[test]
fn s36_nothing_is_smuggled_through_caddy() {
    nothing_is_smuggled(Proxy::Caddy);
}
