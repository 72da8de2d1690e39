//! `sessionctl serve`: binds, says where, and runs until it is told to stop.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

use super::Environment;
use super::exit::{Exit, Failure, exit_of};
use super::output::{Output, Stream};
use super::signals::Signals;
use super::target::{default_data_directory, default_socket, read_token};
use crate::clock::Clock;
use crate::cookie::CookiePolicy;
use crate::options::Options;
use crate::registry::Registry;
use crate::server::{self, AdminListener, Listeners};
use crate::store::directory::DataDir;
use crate::store::sqlite::SqliteStore;
use crate::token::{Token, TokenHash};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Keep the data in this directory [default: /var/lib/sessionctl as root, else below XDG_STATE_HOME]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve web clients on this address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    web: SocketAddr,
    /// Serve operators here: unix:PATH or a loopback ADDRESS:PORT [default: a socket below /run or XDG_RUNTIME_DIR]
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

/// Where the admin API is to listen.
#[derive(Clone, Debug)]
enum AdminAddress {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("unix: is followed by a path".into()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "neither unix:PATH nor ADDRESS:PORT".into()),
        }
    }
}

pub(super) async fn run(
    arguments: Arguments,
    environment: &Environment,
    clock: Arc<dyn Clock>,
    output: &mut Output,
) -> Result<Exit> {
    log_to_stderr(output);
    let mut signals = Signals::catch()?;
    let running = start(arguments, environment, clock)
        .await
        .map_err(as_config)?;
    // Whoever started the server may have closed stdout; that stops nothing.
    let _ = running.announce(output);
    let signal = running.run(async move { signals.next().await }).await;
    tracing::info!(?signal, "stopped; every session is kept");
    Ok(Exit::Done)
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
    socket: Option<PathBuf>,
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
    let store = SqliteStore::open(DataDir::exclusive(&data, true)?, options.clone())?;
    let web = bind(arguments.web).await?;
    let (admin, admin_url, socket) =
        bind_admin(admin_address, arguments.admin_token_file.as_deref()).await?;
    store.directory().announce(Some(admin_url.clone()))?;
    let web_url = format!("http://{}", web.local_addr()?);
    let cookie = CookiePolicy::of(&options);
    let registry = Registry::new(store, Arc::clone(&clock), options);
    let listeners = Listeners { web, admin };
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
    pub(super) async fn run<T>(self, stop: impl Future<Output = T>) -> T {
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
        let (reason, (), ()) = tokio::join!(stop, serving, working);
        if let Some(socket) = socket {
            let _ = fs::remove_file(socket);
        }
        reason
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

async fn bind_admin(
    address: AdminAddress,
    token_file: Option<&Path>,
) -> Result<(AdminListener, String, Option<PathBuf>)> {
    match address {
        AdminAddress::Unix(path) => {
            let listener = bind_socket(&path)?;
            Ok((
                AdminListener::Unix(listener),
                format!("unix:{}", path.display()),
                Some(path),
            ))
        }
        AdminAddress::Tcp(address) if !address.ip().is_loopback() => {
            let text = format!(
                "the admin API does not listen on {address}: beyond loopback it would need TLS"
            );
            Err(Failure::new(Exit::Config, text)
                .advise("--admin unix:PATH or --admin 127.0.0.1:PORT")
                .into())
        }
        AdminAddress::Tcp(address) => {
            let Some(token_file) = token_file else {
                let text = "an admin address with a port needs a token: any user of this machine can connect to it";
                return Err(Failure::new(Exit::Config, text)
                    .advise("--admin-token-file FILE, or --admin unix:PATH")
                    .into());
            };
            let token = ensure_token(token_file)?;
            let listener = bind(address).await?;
            let url = format!("http://{}", listener.local_addr()?);
            Ok((AdminListener::Tcp(listener, token), url, None))
        }
    }
}

/// The token of the file, minted if there is no file.
fn ensure_token(path: &Path) -> Result<TokenHash> {
    if path.symlink_metadata().is_ok() {
        return Ok(read_token(path)?.hash());
    }
    let token = Token::mint().context("the operating system has no random bytes")?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| {
        file.write_all(format!("{}\n", token.expose()).as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write the token file {}", path.display()))?;
    Ok(token.hash())
}

/// Binds the socket, in place of one that a killed server left behind.
fn bind_socket(path: &Path) -> Result<UnixListener> {
    let shown = path.display();
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.with_context(|| format!("cannot make the directory {}", directory.display()))?;
    }
    if path
        .symlink_metadata()
        .is_ok_and(|metadata| metadata.file_type().is_socket())
    {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            let text = format!("another process listens on {shown}");
            return Err(Failure::new(Exit::Config, text)
                .advise("--admin unix:PATH with another path")
                .into());
        }
        fs::remove_file(path).with_context(|| format!("cannot remove the old socket {shown}"))?;
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {shown}"))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot close {shown} to others"))?;
    Ok(listener)
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
