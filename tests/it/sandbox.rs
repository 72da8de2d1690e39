//! The built binary, in a home of its own: no environment but what is given here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use sessionctl::session::SessionId;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::described::{Exchange, check};

/// What takes longer hangs: more than anything that a server is asked to wait for, on a machine that has much to do.
const DEADLINE: Duration = Duration::from_secs(60);

/// A home, with the directories that `serve` and its clients find by themselves.
pub(crate) struct Sandbox {
    home: TempDir,
    variables: BTreeMap<&'static str, PathBuf>,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let variables = BTreeMap::from([
            ("HOME", home.path().to_owned()),
            ("STATE_DIRECTORY", home.path().join("state")),
            ("RUNTIME_DIRECTORY", home.path().join("run")),
        ]);
        Self { home, variables }
    }

    /// Sets a variable for all that is started from now on.
    pub(crate) fn set_variable(&mut self, name: &'static str, value: impl Into<PathBuf>) {
        self.variables.insert(name, value.into());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// What a file in the home has; nothing if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A shell script that works in the home; answers its path.
    pub(crate) fn script(&self, name: &str, lines: &str) -> String {
        let path = self.path(name);
        let home = self.home.path().display();
        fs::write(&path, format!("#!/bin/sh\ncd {home}\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("state")
    }

    /// A command that was not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessionctl"));
        command
            .args(arguments)
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    pub(crate) fn run_with_stdin(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let written = child.stdin.take().unwrap().write_all(input.as_bytes());
        // Whoever is refused before reading ends before all is written.
        if let Err(error) = written {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
        Ran::of(child.wait_with_output().unwrap())
    }

    /// A local session that nobody can use.
    pub(crate) fn open_locally(&self, arguments: &[&str]) -> SessionId {
        let data = self.data();
        let ran = self.run(
            &[
                &["--local", data.to_str().unwrap(), "open-session"],
                arguments,
            ]
            .concat(),
        );
        ran.ok().trim().parse().unwrap()
    }

    /// A server on a free port and the default socket.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        self.serve_at("127.0.0.1:0", arguments)
    }

    /// A server whose web clients find it at this address, and the default socket.
    pub(crate) fn serve_at(&self, web: &str, arguments: &[&str]) -> Server {
        self.start(self.command(&[&["serve", "--web", web], arguments].concat()))
    }

    /// A server that this command starts.
    pub(crate) fn start(&self, mut command: Command) -> Server {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = ["web", "admin", "ready"].map(|_| {
                let mut line = String::new();
                stdout.read_line(&mut line).unwrap();
                line
            });
            // Whoever has waited too long is gone.
            let _ = tell.send((lines, stdout));
        });
        let Ok((lines, stdout)) = told.recv_timeout(DEADLINE) else {
            end(&mut child);
            panic!(
                "the server does not say that it is ready: {}",
                self.read("log")
            );
        };
        let mut lines = lines.iter();
        let mut address = |name: &str| {
            let line = lines.next().map_or("", |line| line.trim());
            line.strip_prefix(name)
                .unwrap_or_else(|| panic!("{name:?} in {line:?}; {}", self.read("log")))
                .trim()
                .to_owned()
        };
        let (web, admin) = (address("web "), address("admin "));
        address("ready");
        Server {
            child,
            web,
            admin,
            log: self.path("log"),
            _stdout: stdout,
        }
    }
}

/// A running `sessionctl serve`; killed when it goes out of scope.
pub(crate) struct Server {
    child: Child,
    pub(crate) web: String,
    pub(crate) admin: String,
    log: PathBuf,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        send(signal, self.pid());
    }

    /// Waits for the end and answers the exit code; `None` after a signal.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        end(&mut self.child);
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        panic!("the server does not end: {log}");
    }

    /// The exit code of one that was told to stop; it has to end soon.
    pub(crate) fn stopped(&mut self) -> Option<i32> {
        let ended = wait_for("the end of the server", || self.child.try_wait().unwrap());
        ended.code()
    }

    /// A client's request on the web listener, over a connection of its own: status, headers, body.
    pub(crate) fn get(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<(u16, String, String)> {
        self.ask_web("GET", path, headers)
    }

    /// The same with any method. What comes back is held against the description of the API.
    pub(crate) fn ask_web(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<(u16, String, String)> {
        let answered = request(&self.web, method, path, headers, "")?;
        let (status, head, body) = &answered;
        let exchange = Exchange {
            method,
            path,
            sent: "",
            status: *status,
            head,
            body,
        };
        check(&exchange, false);
        Some(answered)
    }

    /// A request on the admin listener, with this bearer token if any: status and body. It and the answer are held against
    /// the description of the API.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        bearer: Option<&str>,
        body: &str,
    ) -> (u16, String) {
        let authorization = bearer.map(|token| format!("Bearer {token}"));
        let length = body.len().to_string();
        let mut headers = Vec::new();
        if let Some(authorization) = &authorization {
            headers.push(("Authorization", authorization.as_str()));
        }
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
            headers.push(("Content-Length", &length));
        }
        let (status, head, answer) = request(&self.admin, method, path, &headers, body).unwrap();
        let exchange = Exchange {
            method,
            path,
            sent: body,
            status,
            head: &head,
            body: &answer,
        };
        check(&exchange, true);
        (status, answer)
    }

    /// Opens a session as an application does; answers its id.
    pub(crate) fn open(&self, body: &serde_json::Value) -> String {
        let (status, text) = self.ask("POST", "/v1/sessions", None, &body.to_string());
        assert_eq!(status, 201, "{text}");
        let opened: serde_json::Value = serde_json::from_str(&text).unwrap();
        opened["session"]["id"].as_str().unwrap().to_owned()
    }

    /// Opens a mobile session with so many processes.
    pub(crate) fn open_mobile(&self, user: &str, processes: usize) -> String {
        let id = self.open(&serde_json::json!({"kind": "mobile", "user": user}));
        for _ in 0..processes {
            let path = format!("/v1/sessions/{id}/processes");
            let (status, text) = self.ask("POST", &path, None, "{}");
            assert_eq!(status, 201, "{text}");
        }
        id
    }

    /// Puts something into a process of a session: `variables/cart`, `locks/Invoices/4711`.
    pub(crate) fn put(&self, id: &str, process: u32, what: &str, body: &str) -> String {
        let path = format!("/v1/sessions/{id}/processes/{process}/{what}");
        let (status, text) = self.ask("PUT", &path, None, body);
        assert!(matches!(status, 200 | 204), "{what}: {status} {text}");
        text
    }

    pub(crate) fn end_process(&self, id: &str, process: u32) {
        let path = format!("/v1/sessions/{id}/processes/{process}");
        let (status, text) = self.ask("DELETE", &path, None, "");
        assert_eq!(status, 204, "{text}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// One request, written by hand, to a port or a unix socket; `None` if no whole answer came. One that does not end is no
/// answer that broke off: the test fails.
pub(crate) fn request(
    url: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<(u16, String, String)> {
    match url.strip_prefix("unix:") {
        Some(socket) => {
            let stream = UnixStream::connect(socket).ok()?;
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            exchange(stream, method, path, headers, body)
        }
        None => {
            let stream = TcpStream::connect(url.trim_start_matches("http://")).ok()?;
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            exchange(stream, method, path, headers, body)
        }
    }
}

fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<(u16, String, String)> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n{body}"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if let Err(error) = &read {
        let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!is_late, "{method} {path} is not answered");
    }
    read.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head.to_lowercase(), body.to_owned()))
}

/// What is JSON, read.
pub(crate) fn parsed(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Waits for what comes by itself.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} never came");
}

pub(crate) fn send(signal: &str, pid: u32) {
    let status = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
}

/// What a command printed, and its exit code.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The result of a command that must succeed.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Everything, with UUIDs, instants, ports and the home replaced: for a snapshot.
    pub(crate) fn redacted(&self, sandbox: &Sandbox) -> String {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        let text = format!("exit {code}\n-- stdout\n{stdout}-- stderr\n{stderr}");
        redact(&text, sandbox.home.path())
    }
}

/// Replaces what differs from run to run by its name, in the same width where a column depends on it.
fn redact(text: &str, home: &Path) -> String {
    let text = text.replace(home.to_str().unwrap(), "HOME");
    let mut redacted = String::new();
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        let taken = if is_pattern(rest, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") {
            redacted.push_str("UUIDUUID-UUID-UUID-UUID-UUIDUUIDUUID");
            36
        } else if is_pattern(rest, "dddd-dd-ddTdd:dd:dd.dddZ") {
            redacted.push_str("YYYY-MM-DDTHH:MM:SS.mmmZ");
            24
        } else if is_pattern(rest, " ds ") || is_pattern(rest, " ds\n") {
            redacted.push_str(" Ns");
            3
        } else {
            redacted.push(c);
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    redacted
}

fn is_pattern(text: &str, pattern: &str) -> bool {
    text.len() >= pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(byte, wanted)| match wanted {
                b'x' => byte.is_ascii_hexdigit(),
                b'd' => byte.is_ascii_digit(),
                wanted => byte == wanted,
            })
}

/// A server that is none: gives each connection the next of its answers, or breaks it off after the request.
pub(crate) struct FakeServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeServer {
    pub(crate) fn answering(answers: Vec<Option<String>>) -> Self {
        Self::answering_each_after(answers, |_| ())
    }

    /// Holds the answer of this number, from 1 on, back until it is released.
    pub(crate) fn holding_back(
        held: usize,
        answers: Vec<Option<String>>,
    ) -> (Self, mpsc::Sender<()>) {
        let (release, released) = mpsc::channel();
        let server = Self::answering_each_after(answers, move |number| {
            if number == held {
                released.recv().unwrap();
            }
        });
        (server, release)
    }

    /// `wait` is given the number of the request, from 1 on.
    fn answering_each_after(
        answers: Vec<Option<String>>,
        wait: impl Fn(usize) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for (number, answer) in (1..).zip(answers) {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&mut stream);
                seen.lock().unwrap().push(request);
                wait(number);
                if let Some(answer) = answer {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        Self { url, requests }
    }

    /// Takes one request and never answers.
    pub(crate) fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            seen.lock().unwrap().push(request);
            // Until the client goes.
            let _ = stream.read(&mut [0]);
        });
        Self { url, requests }
    }

    pub(crate) fn wait_for_requests(&self, count: usize) {
        wait_for("the request", || {
            (self.requests().len() >= count).then_some(())
        });
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(
            reader.read_line(&mut head).unwrap() > 0,
            "the request broke off"
        );
    }
    let length = head
        .to_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// An answer for [`FakeServer`].
pub(crate) fn answer(status: u16, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}
