//! A real browser, and what stands between it and a server: pages of any site, every request that a page makes, and what
//! it was answered.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::sandbox::{Sandbox, wait_for};

/// Headless Chromium with a profile of its own, on one page; killed when it goes out of scope.
pub(crate) struct Browser {
    child: Child,
    log: PathBuf,
    _profile: TempDir,
}

impl Browser {
    /// Opens a page. Every name of `example` is this address.
    pub(crate) fn open(sandbox: &Sandbox, url: &str, address: &str) -> Self {
        let log = sandbox.path("browser.log");
        let file = fs::File::create(&log).unwrap();
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new("chromium")
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", sandbox.path(""))
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--no-proxy-server"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--host-resolver-rules=MAP *.example {address}"))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("chromium: {error}"));
        Self {
            child,
            log,
            _profile: profile,
        }
    }

    /// What the page reported when it was done.
    pub(crate) fn report(&self, front: &Front) -> String {
        for _ in 0..6_000 {
            if let Some(report) = front.report() {
                return report;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        panic!("no report after {:?}; {log}", front.exchanges());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request of the browser's, and how it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) path: String,
    head: String,
    /// 0 if there was no answer.
    pub(crate) status: u16,
}

impl Exchange {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What answers on a loopback port: pages, the place for their report, and for every other path the server behind it.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    pages: Vec<(&'static str, String)>,
    /// Where the server behind it listens.
    behind: Option<String>,
    exchanges: Mutex<Vec<Exchange>>,
    report: Mutex<Option<String>>,
    is_closed: AtomicBool,
}

impl Front {
    pub(crate) fn start(
        address: &str,
        behind: Option<&str>,
        pages: impl FnOnce(SocketAddr) -> Vec<(&'static str, String)>,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            pages: pages(address),
            behind: behind.map(|url| url.trim_start_matches("http://").to_owned()),
            exchanges: Mutex::default(),
            report: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.is_closed.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // A browser that gives a connection up breaks nothing here.
                std::thread::spawn(move || stream.map(|stream| serving.answer(stream)));
            }
        });
        Self { address, shared }
    }

    /// Everything that was asked, but for pages and reports.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.shared.exchanges.lock().unwrap().clone()
    }

    fn report(&self) -> Option<String> {
        self.shared.report.lock().unwrap().clone()
    }

    /// Stops listening, so that another server can have the port.
    pub(crate) fn close(self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        wait_for("the end of the pages' server", || {
            TcpStream::connect(self.address).is_err().then_some(())
        });
    }
}

impl Shared {
    /// One request for each connection.
    fn answer(&self, mut client: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let mut exchange = Exchange {
            method: head.split(' ').next()?.into(),
            path: head.split(' ').nth(1)?.into(),
            head: head.clone(),
            status: 0,
        };
        let length = exchange.header("content-length");
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).ok()?;
        let page = self.pages.iter().find(|(path, _)| *path == exchange.path);
        let answer = if let Some((_, page)) = page {
            http_answer("text/html", page).into()
        } else if exchange.path == "/report" {
            *self.report.lock().unwrap() = Some(String::from_utf8(body).unwrap());
            http_answer("text/plain", "").into()
        } else {
            let answer = self.ask_behind(&head, &body).unwrap_or_default();
            let status = answer.get(9..12).map(String::from_utf8_lossy);
            exchange.status = status.map_or(0, |status| status.parse().unwrap());
            let is_lost = exchange.path.ends_with("?lost");
            self.exchanges.lock().unwrap().push(exchange);
            if is_lost { Vec::new() } else { answer }
        };
        client.write_all(&answer).ok()?;
        client.shutdown(Shutdown::Write).ok()
    }

    /// The same request to the server behind, over a connection of its own.
    fn ask_behind(&self, head: &str, body: &[u8]) -> Option<Vec<u8>> {
        let mut server = TcpStream::connect(self.behind.as_ref()?).ok()?;
        let of_the_connection = |line: &&str| !line.to_lowercase().starts_with("connection:");
        let kept: Vec<&str> = head.trim_end().lines().filter(of_the_connection).collect();
        let head = kept.join("\r\n") + "\r\nConnection: close\r\n\r\n";
        server.write_all(&[head.as_bytes(), body].concat()).ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).ok()?;
        Some(answer)
    }
}

fn http_answer(media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nCache-Control: no-store\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A page that runs this script and then reports what it found; the script adds to `found`.
pub(crate) fn page(report_to: &str, script: &str) -> String {
    format!(
        "<!doctype html><meta charset=utf-8><body><script>
const found = [];
const sleep = (time) => new Promise((done) => setTimeout(done, time));
const tried = async (name, work) => {{
  try {{ found.push(name + ' ' + await work()); }} catch (error) {{ found.push(name + ' failed'); }}
}};
const ask = (url, options) => async () => {{
  const answer = await fetch(url, options);
  return answer.type + ' ' + answer.status + ' ' + await answer.text();
}};
const loads = (tag, url) => () => new Promise((done) => {{
  const element = document.createElement(tag);
  element.onload = () => done('loaded');
  element.onerror = () => done('failed');
  element.src = url;
  document.body.append(element);
}});
const report = () => fetch('{report_to}/report', {{
  method: 'POST', mode: 'no-cors', body: found.join('\\n') || 'nothing',
}});
(async () => {{ {script} }})();
</script>"
    )
}
