//! A site as operators build it from the generated recipes: a real proxy in front of an application, which asks the built
//! server about every request.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{AppendHeaders, IntoResponse};
use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

use crate::sandbox::{Ran, Sandbox, Server};

/// Where the proxies' programs are; a user's own path lacks nginx.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who asks the session server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
}

/// What a test changes in a site.
pub(crate) struct Plan {
    pub(crate) proxy: Proxy,
    /// Where the session server listens.
    pub(crate) web: &'static str,
    /// Texts of the recipe, each with what stands there instead.
    pub(crate) instead: Vec<(&'static str, &'static str)>,
    /// Lines of nginx's configuration above the site.
    pub(crate) above: &'static str,
}

impl Plan {
    /// The recipe as it is.
    pub(crate) fn of(proxy: Proxy) -> Self {
        Self {
            proxy,
            web: "127.0.0.1:0",
            instead: Vec::new(),
            above: "access_log off;",
        }
    }
}

pub(crate) struct Site {
    pub(crate) sandbox: Sandbox,
    pub(crate) server: Server,
    pub(crate) application: Application,
    proxy: Running,
}

impl Site {
    pub(crate) fn start(proxy: Proxy) -> Self {
        Self::planned(Plan::of(proxy))
    }

    pub(crate) fn planned(plan: Plan) -> Self {
        let sandbox = Sandbox::new();
        let server = Self::serve(&sandbox, plan.web);
        let application = Application::start();
        let recipe = recipe(&sandbox, plan.proxy);
        let asked = server.web.trim_start_matches("http://");
        let behind = application.address.to_string();
        let mut instead = vec![("127.0.0.1:8080", asked), ("127.0.0.1:3000", &behind)];
        let lua = sandbox.path("recipe/sessionctl.lua");
        if plan.proxy == Proxy::Haproxy {
            let script = fs::read_to_string(&lua).unwrap();
            fs::write(&lua, replaced(&script, &instead[..1])).unwrap();
            instead[0] = ("/etc/haproxy/sessionctl.lua", lua.to_str().unwrap());
        }
        instead.extend(plan.instead);
        let recipe = replaced(&recipe, &instead);
        let proxy = Running::start(&sandbox, plan.proxy, &recipe, plan.above);
        Self {
            sandbox,
            server,
            application,
            proxy,
        }
    }

    fn serve(sandbox: &Sandbox, web: &str) -> Server {
        sandbox.serve_at(web, &["--trusted-proxies", "127.0.0.1"])
    }

    /// A new session server in the place of one that has ended; the proxy stays as it is.
    pub(crate) fn serve_again(&mut self) {
        let web = self.server.web.trim_start_matches("http://").to_owned();
        self.server = Self::serve(&self.sandbox, &web);
    }

    /// What a client gets from the proxy; the arguments are curl's.
    pub(crate) fn ask(&self, path: &str, arguments: &[&str]) -> Answer {
        let url = format!("http://{}{path}", self.proxy.address);
        let output = Command::new("curl")
            .env_clear()
            .env("PATH", PATH)
            .args(["-q", "-sS", "-i", "--path-as-is", "--max-time", "10"])
            .args(arguments)
            .arg(&url)
            .output()
            .unwrap();
        let told = Ran::of(output);
        if told.code != 0 {
            panic!("{path} {arguments:?}: {told:?}; {}", self.log());
        }
        Answer::read(&told.stdout)
    }

    /// A new client's session: its id and its cookie as `name=value`.
    pub(crate) fn enter(&self) -> (String, String) {
        let answer = self.ask("/", &[]);
        assert_eq!(answer.status, 200, "{answer:?}; {}", self.log());
        let cookie = answer.session_cookie().unwrap();
        (answer.seen().one("x-session-id"), cookie)
    }

    /// A protected page with this cookie.
    pub(crate) fn page(&self, cookie: &str, arguments: &[&str]) -> Answer {
        let cookie = format!("Cookie: {cookie}");
        self.ask("/page", &[&["-H", &cookie], arguments].concat())
    }

    /// Where the proxy listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.address
    }

    /// What the proxy logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.sandbox.path("proxy.log")).unwrap_or_default()
    }
}

/// The text with each of these texts, which it has, replaced by another.
fn replaced(text: &str, instead: &[(&str, &str)]) -> String {
    instead.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old:?} in {text}");
        text.replace(old, new)
    })
}

/// What `sessionctl generate` writes.
fn recipe(sandbox: &Sandbox, proxy: Proxy) -> String {
    let (what, name) = match proxy {
        Proxy::Nginx => ("nginx", "sessionctl.conf"),
        Proxy::Caddy => ("caddy", "sessionctl.caddyfile"),
        Proxy::Haproxy => ("haproxy", "sessionctl.cfg"),
    };
    let directory = sandbox.path("recipe");
    sandbox
        .run(&["generate", what, directory.to_str().unwrap()])
        .ok();
    fs::read_to_string(directory.join(name)).unwrap()
}

/// A running proxy; killed when it goes out of scope.
struct Running {
    child: Child,
    address: SocketAddr,
    /// Keeps the port from everybody else; the proxy listens with SO_REUSEPORT, and as the same user.
    _port: TcpSocket,
}

/// Where the recipes listen.
const LISTEN: &str = "127.0.0.1:8000";

impl Running {
    fn start(sandbox: &Sandbox, proxy: Proxy, recipe: &str, above: &str) -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseport(true).unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.local_addr().unwrap();
        let mut command = match proxy {
            Proxy::Nginx => nginx(sandbox, recipe, above, address),
            Proxy::Caddy => caddy(sandbox, recipe, address),
            Proxy::Haproxy => haproxy(sandbox, recipe, address),
        };
        let child = command.spawn();
        let mut running = Self {
            child: child.unwrap_or_else(|error| panic!("{proxy:?}: {error}")),
            address,
            _port: port,
        };
        running.wait_until_it_listens(sandbox);
        running
    }

    fn wait_until_it_listens(&mut self, sandbox: &Sandbox) {
        for _ in 0..2_000 {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            let log = || fs::read_to_string(sandbox.path("proxy.log")).unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the proxy does not listen");
    }
}

/// One process, under no other user than the test's.
fn nginx(sandbox: &Sandbox, recipe: &str, above: &str, address: SocketAddr) -> Command {
    let site = recipe.replace(LISTEN, &format!("{address} reuseport"));
    fs::write(sandbox.path("sessionctl.conf"), site).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path temporary-{kind};\n"))
        .concat();
    let whole = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log proxy.log;\nevents {{}}\n\
         http {{\n{temporary}{above}\ninclude sessionctl.conf;\n}}\n"
    );
    let config = sandbox.path("nginx.conf");
    fs::write(&config, whole).unwrap();
    let mut command = command(sandbox, "nginx");
    command.args(["-e", "proxy.log", "-p"]);
    command.arg(sandbox.path("")).arg("-c").arg(config);
    command
}

fn caddy(sandbox: &Sandbox, recipe: &str, address: SocketAddr) -> Command {
    let site = recipe.replace(LISTEN, &address.to_string());
    fs::write(sandbox.path("sessionctl.caddyfile"), site).unwrap();
    let whole = "{\n\tadmin off\n}\nimport sessionctl.caddyfile\n";
    let config = sandbox.path("Caddyfile");
    fs::write(&config, whole).unwrap();
    let mut command = command(sandbox, "caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]);
    command.arg(config);
    command
}

/// In the foreground; one thread is enough for a test.
fn haproxy(sandbox: &Sandbox, recipe: &str, address: SocketAddr) -> Command {
    let config = sandbox.path("sessionctl.cfg");
    fs::write(&config, recipe.replace(LISTEN, &address.to_string())).unwrap();
    let above = sandbox.path("haproxy.cfg");
    fs::write(&above, "global\n    nbthread 1\n").unwrap();
    let mut command = command(sandbox, "haproxy");
    command
        .arg("-db")
        .arg("-f")
        .arg(above)
        .arg("-f")
        .arg(config);
    command
}

/// A program that knows no home but the sandbox, and logs there.
fn command(sandbox: &Sandbox, program: &str) -> Command {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(sandbox.path("proxy.log"))
        .unwrap();
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", sandbox.path(""))
        .env("XDG_CONFIG_HOME", sandbox.path("config"))
        .env("XDG_DATA_HOME", sandbox.path("data"))
        .current_dir(sandbox.path(""))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An application that tells what reached it. Its entry page has a cookie of its own and may be cached.
pub(crate) struct Application {
    address: SocketAddr,
    reached: Arc<Reached>,
    _runtime: Runtime,
}

/// How many requests reached it, and how many of them said that nobody let them through.
#[derive(Default)]
struct Reached {
    requests: AtomicUsize,
    smuggled: AtomicUsize,
}

impl Application {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let reached = Arc::new(Reached::default());
        let router = Router::new()
            .fallback(echo)
            .with_state(Arc::clone(&reached));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        });
        Self {
            address,
            reached,
            _runtime: runtime,
        }
    }

    /// How many requests reached it.
    pub(crate) fn requests(&self) -> usize {
        self.reached.requests.load(Ordering::SeqCst)
    }

    /// How many had the header `X-Smuggled`.
    pub(crate) fn smuggled(&self) -> usize {
        self.reached.smuggled.load(Ordering::SeqCst)
    }
}

async fn echo(State(reached): State<Arc<Reached>>, request: Request) -> impl IntoResponse {
    reached.requests.fetch_add(1, Ordering::SeqCst);
    if request.headers().contains_key("x-smuggled") {
        reached.smuggled.fetch_add(1, Ordering::SeqCst);
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = parts.headers.iter();
    let seen = Seen {
        method: parts.method.to_string(),
        headers: headers
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect(),
        body: text(&body),
    };
    let entry = [
        ("Set-Cookie", "theme=dark"),
        ("Cache-Control", "public, max-age=60"),
    ];
    let headers: &[_] = if parts.uri.path() == "/" { &entry } else { &[] };
    let answer = serde_json::to_string(&seen).unwrap();
    (AppendHeaders(headers.to_vec()), answer)
}

/// A request as it reached the application.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) method: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    /// The values under this name and under those that a CGI application cannot tell from it.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let as_cgi = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let headers = self.headers.iter();
        let same = headers.filter(|(found, _)| as_cgi(found) == as_cgi(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn one(&self, name: &str) -> String {
        let [value] = self.all(name)[..] else {
            panic!("{name} in {self:?}");
        };
        value.to_owned()
    }
}

/// What came back through the proxy.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (mut head, mut body) = text.split_once("\r\n\r\n").unwrap();
        while head.starts_with("HTTP/1.1 100") {
            (head, body) = body.split_once("\r\n\r\n").unwrap();
        }
        Self {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.into(),
            body: body.into(),
        }
    }

    /// The values of a header, in any case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The session cookie that the client is given, as `name=value`.
    pub(crate) fn session_cookie(&self) -> Option<String> {
        let cookies = self.all("set-cookie").into_iter();
        let mut cookies = cookies.filter(|cookie| cookie.starts_with("__Host-4DSID="));
        let cookie = cookies.next()?.split(';').next()?.to_owned();
        assert_eq!(cookies.next(), None, "{self:?}");
        Some(cookie)
    }

    /// The request that the application answered.
    pub(crate) fn seen(&self) -> Seen {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}
