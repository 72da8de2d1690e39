//! `sessionctl serve`: binds, says where, and runs until it is told to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;

use super::Environment;
use super::exit::{Exit, Failure, exit_of};
use super::listen::{AdminAddress, SocketFile, bind, bind_admin};
use super::output::{Output, Stream};
use super::signals::Signals;
use super::target::{default_data_directory, default_socket};
use crate::clock::Clock;
use crate::cookie::CookiePolicy;
use crate::error::Error;
use crate::options::Options;
use crate::registry::Registry;
use crate::server::{self, Listeners};
use crate::store::directory::DataDir;
use crate::store::sqlite::SqliteStore;

/// Open files that web clients cannot take: for operators, the store, and the process itself.
const RESERVED_FILES: usize = 160;

/// Web connections at once, however few files may be open.
const LEAST_WEB_CONNECTIONS: usize = 16;

/// Web connections at once, where the limit of open files allows them.
const MOST_WEB_CONNECTIONS: usize = 4_096;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Keep the data in this directory [default: /var/lib/sessionctl as root, else below XDG_STATE_HOME]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve web clients on this address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    web: SocketAddr,
    /// Serve operators here: unix:PATH or a loopback ADDRESS:PORT [default: admin.sock in /run/sessionctl as root, below XDG_RUNTIME_DIR, or in the data directory]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<AdminAddress>,
    /// The admin token's file; made, for its owner alone, if it is not there. Needed for an admin address with a port
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Hold at most this many sessions at once
    #[arg(long, value_name = "N", default_value_t = Options::default().max_sessions)]
    max_sessions: usize,
    /// End a session after this long without a request: 15s, 30m, 8h, 2d
    #[arg(long, value_name = "DURATION", default_value = "480m", value_parser = humantime::parse_duration)]
    inactive_session_timeout: Duration,
    /// End a session this long after it was opened, however busy it is
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = humantime::parse_duration)]
    absolute_session_timeout: Duration,
    /// Name the cookie 4DSID and let it travel over plain http, for a site without TLS in front
    #[arg(long)]
    insecure_cookie: bool,
}

pub(super) async fn run(
    arguments: Arguments,
    environment: &Environment,
    clock: Arc<dyn Clock>,
    output: &mut Output,
) -> Result<Exit> {
    log_to_stderr(output);
    let connections = raise_connection_limit();
    let mut signals = Signals::catch()?;
    let mut running = start(arguments, environment, clock)
        .await
        .map_err(as_config)?;
    running.listeners.web_connections = connections;
    // Whoever started the server may have closed stdout; that stops nothing.
    let _ = running.announce(output);
    let mut again = Signals::catch()?;
    let (signal, stopped) = tokio::select! {
        stopped = running.run(signals.next()) => stopped,
        never = leave_at_the_second(&mut again) => match never {},
    };
    stopped.context("the last requests before the stop were not written")?;
    let signal = if signal == Exit::Interrupted {
        "SIGINT"
    } else {
        "SIGTERM or SIGHUP"
    };
    tracing::info!("stopped by {signal}; every session is kept");
    Ok(Exit::Done)
}

/// Ends the process at the second signal, in the middle of whatever hangs. Not by returning: whoever lets go of the store
/// waits for its disk.
async fn leave_at_the_second(signals: &mut Signals) -> Infallible {
    signals.next().await;
    signals.next().await;
    tracing::error!("left at once; last requests may not be written, everything acknowledged is");
    std::process::exit(Exit::Failure.code().into())
}

/// What keeps `serve` from starting is a matter of its configuration; a directory in use is not.
fn as_config(error: anyhow::Error) -> anyhow::Error {
    if exit_of(&error) == Exit::Refused {
        return error;
    }
    match error.downcast::<Failure>() {
        Ok(failure) => failure.with_exit(Exit::Config).into(),
        Err(error) => Failure::new(Exit::Config, "the server cannot start")
            .caused_by(error)
            .into(),
    }
}

/// A server that is bound and about to run.
pub(super) struct Running {
    registry: Registry<SqliteStore>,
    listeners: Listeners,
    cookie: CookiePolicy,
    clock: Arc<dyn Clock>,
    pub(super) web: String,
    pub(super) admin: String,
    socket: Option<SocketFile>,
}

impl Arguments {
    /// A server on free loopback ports that keeps its data and its admin token below `directory`.
    pub(super) fn throw_away(directory: &Path) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let Options {
            max_sessions,
            inactive_session_timeout,
            absolute_session_timeout,
            ..
        } = Options::default();
        Self {
            data: Some(directory.join("data")),
            web: free,
            admin: Some(AdminAddress::Tcp(free)),
            admin_token_file: Some(directory.join("admin.token")),
            max_sessions,
            inactive_session_timeout,
            absolute_session_timeout,
            insecure_cookie: false,
        }
    }

    fn options(&self) -> Options {
        Options {
            max_sessions: self.max_sessions,
            inactive_session_timeout: self.inactive_session_timeout,
            absolute_session_timeout: self.absolute_session_timeout,
            secure_cookie: !self.insecure_cookie,
        }
    }
}

/// Takes the data directory, reads the store, binds the listeners.
pub(super) async fn start(
    arguments: Arguments,
    environment: &Environment,
    clock: Arc<dyn Clock>,
) -> Result<Running> {
    let options = arguments.options();
    options.validate()?;
    let data = match arguments.data {
        Some(data) => data,
        None => default_data_directory(environment)?,
    };
    let admin_address = match arguments.admin {
        Some(admin) => admin,
        None => AdminAddress::Unix(
            default_socket(environment).context("there is no directory for the admin socket")?,
        ),
    };
    let directory = DataDir::exclusive(&data, true)?;
    let web = bind(arguments.web, "--web").await?;
    let (admin, admin_url, socket) =
        bind_admin(admin_address, arguments.admin_token_file.as_deref()).await?;
    // Last: the store keeps the options of a server that runs, not of one that could not start.
    let store = SqliteStore::open(directory, options.clone())?;
    store.directory().announce(Some(admin_url.clone()))?;
    let web_url = format!("http://{}", web.local_addr()?);
    let cookie = CookiePolicy::of(&options);
    let registry = Registry::new(store, Arc::clone(&clock));
    let listeners = Listeners {
        web,
        admin,
        web_connections: MOST_WEB_CONNECTIONS,
    };
    Ok(Running {
        registry,
        listeners,
        cookie,
        clock,
        web: web_url,
        admin: admin_url,
        socket,
    })
}

impl Running {
    /// Says where the server listens.
    fn announce(&self, output: &mut Output) -> io::Result<()> {
        output.line(&format!("web {}", self.web))?;
        output.line(&format!("admin {}", self.admin))?;
        output.line("ready")?;
        output.flush()
    }

    /// Serves until `stop` is ready and answers what it answered. First the requests end, then the registry's work.
    pub(super) async fn run<T>(self, stop: impl Future<Output = T>) -> (T, Result<(), Error>) {
        let Self {
            registry,
            listeners,
            cookie,
            clock,
            socket,
            ..
        } = self;
        let (stopping, stopped) = oneshot::channel::<()>();
        let (served, finished) = oneshot::channel::<()>();
        let stop = async {
            let reason = stop.await;
            drop(stopping);
            reason
        };
        let serving = async {
            server::serve(registry.clone(), listeners, cookie, clock, async {
                drop(stopped.await)
            })
            .await;
            drop(served);
        };
        let working = registry.run(async { drop(finished.await) });
        let (reason, (), worked) = tokio::join!(stop, serving, working);
        drop(socket);
        (reason, worked)
    }
}

/// Raises the limit of open files as far as it goes; answers how many web connections leave enough for everything else.
fn raise_connection_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let open_files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let open_files = open_files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    open_files
        .saturating_sub(RESERVED_FILES)
        .clamp(LEAST_WEB_CONNECTIONS, MOST_WEB_CONNECTIONS)
}

/// The log goes where everything but results goes. Only the first server of a process says how.
fn log_to_stderr(output: &Output) {
    let level = if output.verbosity > 0 {
        tracing::Level::DEBUG
    } else {
        tracing::Level::INFO
    };
    let writer = || -> Stream { Box::new(io::stderr()) };
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(writer)
        .try_init();
}
