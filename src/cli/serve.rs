//! `sessionctl serve`: binds, says where, and runs until it is told to stop.

use std::convert::Infallible;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
    PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

use super::Environment;
use super::exit::{Exit, Failure, advice, exit_of};
use super::output::{Output, Stream};
use super::signals::Signals;
use super::target::{default_data_directory, default_socket, read_token};
use crate::clock::Clock;
use crate::cookie::CookiePolicy;
use crate::error::Error;
use crate::options::Options;
use crate::registry::Registry;
use crate::server::{self, AdminListener, Listeners};
use crate::store::directory::DataDir;
use crate::store::sqlite::SqliteStore;
use crate::token::{Token, TokenHash};

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

/// The file of a unix socket; removed at the end if it is still the one that was made.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: PathBuf) -> io::Result<Self> {
        let metadata = path.symlink_metadata()?;
        Ok(Self {
            path,
            identity: (metadata.dev(), metadata.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = self.path.symlink_metadata();
        if found.is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
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

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    let failure = |error| {
        let text = format!("cannot listen on {address}");
        let free = SocketAddr::new(address.ip(), 0);
        let failure = Failure::new(Exit::Config, text).caused_by(anyhow::Error::from(error));
        failure.advise(format!(
            "{flag} with another port; {flag} {free} takes a free one"
        ))
    };
    bound.map_err(|error| failure(error).into())
}

async fn bind_admin(
    address: AdminAddress,
    token_file: Option<&Path>,
) -> Result<(AdminListener, String, Option<SocketFile>)> {
    match address {
        AdminAddress::Unix(_) if token_file.is_some() => {
            let text =
                "--admin-token-file is for an admin address with a port; a socket needs no token";
            Err(Failure::new(Exit::Config, text)
                .advise("--admin 127.0.0.1:PORT, or no --admin-token-file")
                .into())
        }
        AdminAddress::Unix(path) => {
            let listener = bind_socket(&path)?;
            let url = format!("unix:{}", path.display());
            Ok((
                AdminListener::Unix(listener),
                url,
                Some(SocketFile::at(path)?),
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
            let listener = bind(address, "--admin").await?;
            let url = format!("http://{}", listener.local_addr()?);
            Ok((AdminListener::Tcp(listener, token), url, None))
        }
    }
}

/// The token of the file, minted if there is no file.
fn ensure_token(path: &Path) -> Result<TokenHash> {
    if path.symlink_metadata().is_ok() {
        let advise = |failure: Failure| {
            failure.advise("mend the file, or name one that is not there yet: serve makes it")
        };
        return match read_token(path) {
            Ok(token) => Ok(token.hash()),
            Err(error) if advice(&error).is_some_and(|advice| advice.starts_with("chmod")) => {
                Err(error)
            }
            Err(error) => Err(advise(Failure::new(Exit::Config, format!("{error:#}"))).into()),
        };
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
    // Only the last step of the way is made: more is a slip of the fingers.
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty() && !directory.exists())
    {
        let made = DirBuilder::new().mode(0o700).create(directory);
        made.with_context(|| format!("cannot make the directory {}", directory.display()))?;
    }
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let text = format!("{shown} is there and not a socket");
            return Err(Failure::new(Exit::Config, text)
                .advise("--admin unix:PATH with another path")
                .into());
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            let text = format!("another process listens on {shown}");
            return Err(Failure::new(Exit::Config, text)
                .advise("--admin unix:PATH with another path")
                .into());
        }
        Ok(_) => fs::remove_file(path)
            .with_context(|| format!("cannot remove the old socket {shown}"))?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {shown}"))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot close {shown} to others"))?;
    Ok(listener)
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
