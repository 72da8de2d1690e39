//! `sessionctl demo`: the main job from end to end, on a server of its own, over real HTTP.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use reqwest::header::{COOKIE, SET_COOKIE};
use tokio::sync::oneshot;

use super::config::Plan;
use super::exit::Exit;
use super::output::Output;
use super::signals::Signals;
use super::{Host, serve};
use crate::client::web_client;
use crate::clock::Clock;
use crate::session::SessionId;
use crate::wire::VisitBody;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Leave the server up and say how to talk to it
    #[arg(long)]
    keep: bool,
}

/// What the demo's web clients say they are.
const AGENTS: [&str; 12] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_6) AppleWebKit/605.1.15 Version/26.0 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 Chrome/142.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0",
    "Mozilla/5.0 (X11; CrOS x86_64 16328.0) AppleWebKit/537.36 Chrome/142.0 Safari/537.36",
    "curl/8.16.0",
    "Wget/1.25.0",
    "python-requests/2.32.5",
    "4D/21 (kiosk in the lobby)",
];

/// Which of the clients is to lose its session.
const UNLUCKY: usize = 8;

pub(super) async fn run(
    arguments: Arguments,
    clock: Arc<dyn Clock>,
    output: &mut Output,
) -> Result<Exit> {
    let mut signals = Signals::catch()?;
    let directory = tempfile::Builder::new()
        .prefix("sessionctl-demo-")
        .tempdir()
        .context("cannot make a directory")?;
    let plan = Plan::throw_away(directory.path());
    let running = serve::start(serve::check(plan)?, Arc::clone(&clock), false).await?;
    let demo = Demo {
        web: running.web.clone(),
        admin: running.admin.clone(),
        directory: directory.path(),
        clock,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(running.run(async { drop(stopped.await) }));
    let exit = tokio::select! {
        shown = demo.show(output) => shown.map(|()| Exit::Done),
        signal = signals.next() => Ok(signal),
    };
    if arguments.keep && matches!(exit, Ok(Exit::Done)) {
        demo.explain(output)?;
        signals.next().await;
    }
    drop(stop);
    server.await.context("the demo's server failed")?.1?;
    exit
}

struct Demo<'a> {
    web: String,
    admin: String,
    directory: &'a Path,
    clock: Arc<dyn Clock>,
}

/// A web client: the cookie that it was given, and how it comes.
struct WebClient {
    http: reqwest::Client,
    cookie: String,
    id: SessionId,
}

impl Demo<'_> {
    async fn show(&self, output: &mut Output) -> Result<()> {
        output.line(&format!(
            "# A session server on free loopback ports, its data in {}.",
            self.directory.display()
        ))?;
        output.line(&format!(
            "# {} web clients ask it for {}/session and get their cookies.",
            AGENTS.len(),
            self.web
        ))?;
        let mut clients = Vec::new();
        for (number, agent) in (10_u8..).zip(AGENTS) {
            clients.push(self.connect(number, agent).await?);
        }
        let unlucky = clients
            .get(UNLUCKY)
            .context("the demo has too few clients")?;
        let id = unlucky.id.to_string();
        self.command(output, "Who is on it?", &["list"]).await?;
        self.command(output, "One of them in detail.", &["show", &id])
            .await?;
        self.command(output, "End that one.", &["close-session", &id])
            .await?;
        self.command(output, "It is gone, the others are not touched.", &["list"])
            .await?;
        let unknown = SessionId::random().to_string();
        self.command(
            output,
            "A UUID that nobody has: nothing happens, and that is success.",
            &["close-session", &unknown],
        )
        .await?;
        self.come_back(output, unlucky).await
    }

    /// A client with an address of its own where the machine has one (Linux has all of 127/8).
    async fn connect(&self, number: u8, agent: &str) -> Result<WebClient> {
        let own = IpAddr::from(Ipv4Addr::new(127, 0, 0, number));
        let builder = || web_client().map(|builder| builder.user_agent(agent));
        let mut http = builder()?.local_address(own).build()?;
        let url = format!("{}/session", self.web);
        let response = match http.get(&url).send().await {
            Err(error) if error.is_connect() => {
                http = builder()?.build()?;
                http.get(&url).send().await?
            }
            answered => answered?,
        };
        let (cookie, visit) = entered(response).await?;
        Ok(WebClient {
            http,
            cookie: cookie.context("the server set no cookie")?,
            id: visit.id,
        })
    }

    /// Runs a command as if it had been typed, and shows both.
    async fn command(&self, output: &mut Output, comment: &str, arguments: &[&str]) -> Result<()> {
        output.line(&format!("\n# {comment}"))?;
        output.line(&format!("$ sessionctl {}", arguments.join(" ")))?;
        let printed = Printed::default();
        let host = Host {
            args: std::iter::once("sessionctl")
                .chain(arguments.iter().copied())
                .map(OsString::from)
                .collect(),
            environment: self.environment().into_iter().collect(),
            stdin: Box::new(io::empty()),
            stdout: Box::new(printed.clone()),
            stderr: Box::new(printed.clone()),
            terminal_width: output.terminal_width,
            stderr_is_terminal: false,
            stdin_is_terminal: false,
            clock: Arc::clone(&self.clock),
        };
        let code = tokio::task::spawn_blocking(move || super::run(host)).await?;
        output.raw(&printed.text())?;
        output.flush()?;
        ensure!(
            code == 0,
            "`sessionctl {}` ended with {code}",
            arguments.join(" ")
        );
        Ok(())
    }

    fn environment(&self) -> [(OsString, OsString); 2] {
        let token_file = self.directory.join("admin.token");
        [
            ("SESSIONCTL_SERVER".into(), self.admin.clone().into()),
            ("SESSIONCTL_TOKEN_FILE".into(), token_file.into_os_string()),
        ]
    }

    /// The closed client comes back with its dead cookie: refused, then a new session and a new cookie (C03, C04).
    async fn come_back(&self, output: &mut Output, client: &WebClient) -> Result<()> {
        output.line("\n# The closed client comes back with its old cookie.")?;
        let get = |path| {
            client
                .http
                .get(format!("{}{path}", self.web))
                .header(COOKIE, &client.cookie)
                .send()
        };
        let status = get("/check").await?.status();
        output.line(&format!("GET /check    {status}"))?;
        let response = get("/session").await?;
        let status = response.status();
        let (cookie, visit) = entered(response).await?;
        output.line(&format!(
            "GET /session  {status}: session {}, and a new cookie",
            visit.id
        ))?;
        if visit.id == client.id || cookie.is_none_or(|cookie| cookie == client.cookie) {
            bail!("the closed session {} came back", client.id);
        }
        Ok(output.flush()?)
    }

    fn explain(&self, output: &mut Output) -> Result<()> {
        output.line("\n# The server stays up until Ctrl-C. Talk to it from another terminal:")?;
        for (name, value) in self.environment() {
            output.line(&format!(
                "export {}={}",
                name.display(),
                super::quoted(&value.to_string_lossy())
            ))?;
        }
        output.line("sessionctl list")?;
        output.line(&format!("curl -b jar -c jar {}/session", self.web))?;
        Ok(output.flush()?)
    }
}

/// The cookie as the client sends it back, and whose session it is.
async fn entered(response: reqwest::Response) -> Result<(Option<String>, VisitBody)> {
    let response = response.error_for_status()?;
    let cookie = response
        .headers()
        .get(SET_COOKIE)
        .and_then(|value| value.to_str().ok());
    let cookie = cookie
        .and_then(|cookie| cookie.split(';').next())
        .map(str::to_owned);
    Ok((cookie, serde_json::from_slice(&response.bytes().await?)?))
}

/// Collects what a command prints, in the order in which it prints it.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
