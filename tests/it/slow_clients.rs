//! Clients who connect and then take their time, in hundreds: nobody else waits for them (S34, S35).

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

use crate::sandbox::{Sandbox, Server, wait_for};

/// Open files of the server: those that are not the web clients' are set aside, 640, and these are left.
const WEB_PLACES: usize = 100;

/// What one address gets of them.
const SHARE: usize = 25;

/// Clients on addresses of this machine that are not the test's own.
struct Crowd {
    runtime: Runtime,
    web: String,
    streams: Vec<TcpStream>,
}

/// What a slow client has sent when it stops.
#[derive(Clone, Copy)]
enum Sent {
    Nothing,
    HalfAHead,
    /// A request, which was answered.
    ARequest,
}

const KINDS: [Sent; 3] = [Sent::Nothing, Sent::HalfAHead, Sent::ARequest];

impl Crowd {
    fn at(server: &Server) -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
                .unwrap(),
            web: server.web.trim_start_matches("http://").to_owned(),
            streams: Vec::new(),
        }
    }

    /// One more, from 127.0.0.`host`.
    fn add(&mut self, host: u8, sent: Sent) {
        let address = self.web.parse().unwrap();
        let stream = self.runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket
                .bind((IpAddr::from([127, 0, 0, host]), 0).into())
                .unwrap();
            socket.connect(address).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        let mut stream = stream;
        // The server may have closed it already.
        let _ = match sent {
            Sent::Nothing => Ok(()),
            Sent::HalfAHead => stream.write_all(b"GET /check HTTP/1.1\r\nHost: x\r\nX: "),
            Sent::ARequest => stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        };
        self.streams.push(stream);
    }

    /// One more byte of everybody's head, or of the answer that is read.
    fn dribble(&mut self) {
        for stream in &mut self.streams {
            let _ = stream.write_all(b"G");
        }
    }

    /// Those whom the server has not left.
    fn open(&self) -> Vec<bool> {
        let is_open = |mut stream: &TcpStream| {
            stream.set_nonblocking(true).unwrap();
            loop {
                match stream.read(&mut [0; 512]) {
                    Ok(0) => return false,
                    // An answer that nobody has read yet.
                    Ok(_) => {}
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
        };
        self.streams.iter().map(is_open).collect()
    }

    fn open_count(&self) -> usize {
        self.open().into_iter().filter(|is_open| *is_open).count()
    }

    fn wait_until_open(&self, count: usize) {
        wait_for("the end of the connections that are too many", || {
            (self.open_count() == count).then_some(())
        });
    }
}

/// A server with few places for web clients.
fn serve(sandbox: &Sandbox, arguments: &[&str]) -> Server {
    let serve = sandbox.command(&[&["serve", "--web", "127.0.0.1:0"], arguments].concat());
    let mut command = Command::new("sh");
    let files = format!("ulimit -n {}; exec \"$0\" \"$@\"", WEB_PLACES + 640);
    command.arg("-c").arg(files).arg(serve.get_program());
    command.args(serve.get_args()).env_clear();
    let variables = serve.get_envs();
    command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(serve.get_current_dir().unwrap());
    sandbox.start(command)
}

/// Whether a newcomer is answered on both sides.
fn assert_both_answer(sandbox: &Sandbox, server: &Server) {
    assert_eq!(server.get("/check", &[]).unwrap().0, 401);
    assert_eq!(server.ask("GET", "/v1/stats", None, "").0, 200);
    assert_eq!(sandbox.run(&["count"]).ok(), "0\n");
}

#[test]
fn s34_one_address_takes_no_more_than_its_share() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &[]);
    let mut crowd = Crowd::at(&server);
    for number in 0..4 * SHARE {
        crowd.add(2, KINDS[number % KINDS.len()]);
    }
    crowd.wait_until_open(SHARE);
    crowd.dribble();
    assert_both_answer(&sandbox, &server);
    assert_eq!(crowd.open_count(), SHARE, "nobody had to give way");
    // Who leaves makes room for another of the same address.
    let open = crowd.open();
    let mut kept = open.iter();
    crowd.streams.retain(|_| *kept.next().unwrap());
    crowd.streams.truncate(SHARE - 1);
    wait_for("a place of the address", || {
        crowd.streams.truncate(SHARE - 1);
        crowd.add(2, Sent::ARequest);
        let stream = crowd.streams.last_mut()?;
        stream.set_nonblocking(false).unwrap();
        matches!(stream.read(&mut [0; 512]), Ok(1..)).then_some(())
    });
}

/// The other half of the reason why a proxy is named: it speaks for many.
#[test]
fn s34_a_trusted_proxy_has_no_share() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &["--trusted-proxies", "127.0.0.2"]);
    let mut crowd = Crowd::at(&server);
    let proxied = 2 * SHARE;
    for host in [2, 3] {
        for number in 0..proxied {
            crowd.add(host, KINDS[number % KINDS.len()]);
        }
    }
    crowd.wait_until_open(proxied + SHARE);
    let open = crowd.open();
    assert!(open[..proxied].iter().all(|is_open| *is_open));
    assert_both_answer(&sandbox, &server);
}

#[test]
fn s35_a_crowd_of_slow_clients_holds_up_nobody() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &[]);
    let mut crowd = Crowd::at(&server);
    // One by one, so that it is known who came first.
    for number in 0..WEB_PLACES {
        let kind = KINDS[number % KINDS.len()];
        crowd.add(2 + (number % 4) as u8, kind);
    }
    assert_eq!(server.ask("GET", "/v1/stats", None, "").0, 200);
    crowd.dribble();
    assert_eq!(crowd.open_count(), WEB_PLACES, "all places are taken");
    assert_eq!(server.get("/check", &[]).unwrap().0, 401);
    let open = crowd.open();
    let left: Vec<usize> = (0..WEB_PLACES).filter(|number| !open[*number]).collect();
    assert_eq!(left, [0], "who came first and never sent a request");
    // Hundreds more, who take each other's places and no one else's.
    for number in 0..6 * WEB_PLACES {
        let kind = KINDS[number % KINDS.len()];
        crowd.add(10 + (number % 24) as u8, kind);
        if number % 50 == 0 {
            crowd.dribble();
            assert_both_answer(&sandbox, &server);
        }
    }
    assert_both_answer(&sandbox, &server);
    // The last newcomers of the test have gone again, and their places may be free.
    assert!(crowd.open_count() > WEB_PLACES - 4);
    let log = sandbox.read("log");
    assert!(!log.contains("not accepted"), "{log}");
}

/// A stop waits for requests, not for connections on which none has come.
#[test]
fn a_stop_waits_for_no_client_without_a_request() {
    let sandbox = Sandbox::new();
    let mut server = serve(&sandbox, &[]);
    let mut crowd = Crowd::at(&server);
    for kind in KINDS {
        crowd.add(1, kind);
    }
    crowd.wait_until_open(KINDS.len());
    assert_both_answer(&sandbox, &server);
    server.signal("TERM");
    assert_eq!(server.stopped(), Some(0));
    let log = sandbox.read("log");
    assert!(!log.contains("did not finish before the stop"), "{log}");
}

/// A body that dribbles holds a request of the admin listener, to whoever may send one, and no other.
#[test]
fn s35_slow_bodies_hold_up_nobody() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &[]);
    let socket = server.admin.strip_prefix("unix:").unwrap();
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n";
    // More than there are places for bodies, and than connections for those who do not wait.
    let mut bodies: Vec<UnixStream> = (0..600)
        .map(|_| {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..10 {
        for stream in &mut bodies {
            // Whoever found no place was told so, and left.
            let _ = stream.write_all(b" ");
        }
        assert_both_answer(&sandbox, &server);
    }
    let mut answers = std::collections::BTreeMap::new();
    for mut stream in bodies {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let status = answer.get(9..12).unwrap_or("none").to_owned();
        *answers.entry(status).or_insert(0) += 1;
    }
    // Those who found a place had it until their time was over. Whoever still sends after it was told to leave may lose the
    // answer to what it sends.
    assert_eq!(answers.remove("408"), Some(48), "{answers:?}");
    let told = answers.remove("503").unwrap_or(0);
    let lost = answers.remove("none").unwrap_or(0);
    assert_eq!(
        (told + lost, answers.len()),
        (552, 0),
        "{told} {lost} {answers:?}"
    );
    assert!(told > 0);
    assert_eq!(sandbox.run(&["count"]).ok(), "0\n");
}

/// An application that sends its bodies slowly takes no place of its operators.
#[test]
fn s35_an_applications_slow_bodies_hold_up_no_operator() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("app.token");
    let server = serve(&sandbox, &["--app-token-file", file.to_str().unwrap()]);
    let socket = server.admin.strip_prefix("unix:").unwrap();
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 50\r\n\r\n{{",
        sandbox.read("app.token").trim()
    );
    let mut bodies: Vec<UnixStream> = (0..200)
        .map(|_| {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    // One that is told to come again shows that the others have all places.
    let mut last = bodies.pop().unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let id = sandbox.run(&["open-session"]).ok();
    let closed = sandbox.run(&["close-session", id.trim()]).ok();
    assert!(closed.starts_with("closed "), "{closed}");
    drop(bodies);
}

/// S34: what a connection costs that has had its answer and idles; told in README.
#[test]
fn s34_idle_connections_cost_little_memory() {
    const CONNECTIONS: usize = 1_000;
    const EACH: usize = 24 * 1024;
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<usize>().unwrap() * 1024
    };
    let mut crowd = Crowd::at(&server);
    // What is allocated once, for the first requests, is nobody's.
    for _ in 0..20 {
        assert_eq!(server.get("/healthz", &[]).unwrap().0, 200);
    }
    let before = resident();
    for number in 0..CONNECTIONS {
        crowd.add(2 + (number % 2) as u8, Sent::ARequest);
        let answer = crowd.streams[number].read(&mut [0; 512]).unwrap();
        assert!(answer > 0);
    }
    let each = resident().saturating_sub(before) / CONNECTIONS;
    assert_eq!(crowd.open_count(), CONNECTIONS);
    assert!(each < EACH, "{each} bytes each");
}
