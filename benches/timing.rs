//! Whether the time of a refusal tells how much of a secret was right (S04): a cookie, and an admin bearer, that are wrong in
//! their last characters alone, against ones that are wrong from the first. `cargo bench --bench timing`; `SAMPLES` of each.
//!
//! The two classes come in random order over one connection on loopback. What the machine itself took long for is cut off
//! before Welch's t: above 4.5, time tells one class from the other.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use sessionctl::clock::SystemClock;
use sessionctl::options::Settings;
use sessionctl::registry::Registry;
use sessionctl::server::{AdminListener, GroupRoles, Listeners, TrustedProxies, serve};
use sessionctl::sessions::Sessions as _;
use sessionctl::store::memory::MemoryStore;
use sessionctl::token::Token;
use tokio::net::TcpListener;

/// From here on the times of the classes differ.
const LIMIT: f64 = 4.5;

/// The share of the samples, from the quickest on, that are the server's doing.
const KEPT: f64 = 0.9;

/// A well-formed token that differs from this one in its last characters alone, or from the first on.
/// Either takes the client the same work: what it does before a request would show in the time of the answer.
fn wrong(token: &Token, has_right_prefix: bool) -> String {
    let others = [Token::mint().unwrap(), Token::mint().unwrap()];
    let [first, last] = [&others[0], &others[1]].map(Token::expose);
    let beginning = [first, token.expose()][usize::from(has_right_prefix)];
    let at = last.len() - 4;
    format!("{}{}", &beginning[..at], &last[at..])
}

/// A kept-alive connection that is refused again and again.
struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            answer: vec![0; 4096],
        }
    }

    /// Nanoseconds from the request to the first byte of its refusal.
    fn refused(&mut self, request: &str) -> f64 {
        let begun = Instant::now();
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut length = self.stream.read(&mut self.answer).unwrap();
        let took = begun.elapsed();
        while !is_whole(&self.answer[..length]) {
            length += self.stream.read(&mut self.answer[length..]).unwrap();
        }
        // Whoever guesses so often is told to wait, and looked up all the same.
        let statuses = [b"HTTP/1.1 401", b"HTTP/1.1 429"];
        let is_refusal = |status: &&[u8; 12]| self.answer.starts_with(*status);
        assert!(statuses.iter().any(is_refusal), "a refusal");
        took.as_secs_f64() * 1e9
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() == length.parse::<usize>().unwrap())
}

/// Welch's t of what is kept of two classes.
fn welch(classes: [Vec<f64>; 2]) -> f64 {
    let [(mean, error), (other, other_error)] = classes.map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        times.truncate((times.len() as f64 * KEPT) as usize);
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (mean - other) / (error + other_error).sqrt()
}

fn measure(
    what: &str,
    address: &str,
    samples: usize,
    request: impl Fn(&str) -> String,
    token: &Token,
) -> bool {
    let mut client = Client::connect(address);
    let mut classes = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    // A token of each class is used once: what a cache learns of one says nothing of the next.
    while classes.iter().any(|class| class.len() < samples) {
        let class = usize::from(Token::mint().unwrap().hash().as_bytes()[0] & 1);
        let took = client.refused(&request(&wrong(token, class == 1)));
        classes[class].push(took);
    }
    let t = welch(classes);
    let verdict = if t.abs() < LIMIT {
        "does not tell"
    } else {
        "TELLS"
    };
    println!("{what:<16} {samples} of each: t = {t:>6.2}; time {verdict} them apart");
    t.abs() < LIMIT
}

fn main() {
    let samples = std::env::var("SAMPLES")
        .ok()
        .and_then(|text| text.parse().ok());
    // Cargo says so; run among the tests it is only to work, for a machine that does other things tells nothing.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let samples = samples.unwrap_or(if is_measured { 200_000 } else { 100 });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let admin_token = Token::mint().unwrap();
    let (web, admin, cookie_token) = runtime.block_on(async {
        let store = MemoryStore::new(Settings::default());
        let registry = Registry::new(store, Arc::new(SystemClock));
        let entered = registry.enter(None, Default::default()).await.unwrap();
        let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [&web, &admin].map(|listener| listener.local_addr().unwrap().to_string());
        let listeners = Listeners {
            group_roles: GroupRoles::default(),
            web,
            admin: AdminListener::Tcp(admin, admin_token.hash()),
            app_token: None,
            web_connections: 16,
            trusted_proxies: TrustedProxies::default(),
        };
        tokio::spawn(serve(registry, listeners, std::future::pending()));
        let [web, admin] = addresses;
        (web, admin, entered.new_token.unwrap())
    });
    let cookie = |token: &str| {
        format!("GET /check HTTP/1.1\r\nHost: localhost\r\nCookie: __Host-4DSID={token}\r\n\r\n")
    };
    let bearer = |token: &str| {
        format!(
            "GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    };
    let cookies = measure("a cookie", &web, samples, cookie, &cookie_token);
    let bearers = measure("an admin bearer", &admin, samples, bearer, &admin_token);
    if is_measured && !(cookies && bearers) {
        std::process::exit(1);
    }
}
