//! What a command acts on: a server, or a data directory without one. Flag, then environment, then the default socket. A
//! profile is a server by another name.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tracing::Level;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::profiles::Profile;
use super::remote::Remote;
use super::serve::log_to_stderr;
use super::{Connection, Environment, method};
use crate::admin::{Actor, Admin};
use crate::client::Address;
use crate::clock::{Clock, Timestamp};
use crate::on_close::Method;
use crate::registry::{OnClose, Registry};
use crate::server;
use crate::store::directory::DataDir;
use crate::store::sqlite::SqliteStore;

/// The socket's name in its directory.
const SOCKET: &str = "admin.sock";

/// Where the server of the machine keeps its data.
pub(super) const SYSTEM_DATA: &str = "/var/lib/sessionctl";

/// Where the server of the machine listens, whoever asks.
pub(super) const SYSTEM_SOCKET: &str = "/run/sessionctl/admin.sock";

/// A command that is written once, for a server and for a directory.
pub(super) trait Operation {
    /// What it needs of a directory.
    const ACCESS: Access;

    /// Checks the arguments, before anything is read or sent.
    fn check(&mut self) -> Result<()> {
        Ok(())
    }

    /// Which on-close method is called for what it closes in a directory.
    fn calls(&self) -> Calls<'_> {
        Calls::Served
    }

    async fn run<A: Admin>(self, admin: &A, output: &mut Output, context: &Context)
    -> Result<Exit>;
}

/// What a command needs of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Look,
    Change,
    /// Makes a store where there is none.
    Create,
    /// It asks a server; a directory has none.
    ServerOnly,
}

impl Access {
    /// How much of what a server would write to its log a command tells in its place. What an on-close method complains of
    /// is said once and kept nowhere, so whoever may call one tells it unasked.
    fn logs(self, verbosity: u8) -> Option<Level> {
        match self {
            _ if verbosity > 0 => Some(Level::INFO),
            Self::Change | Self::Create => Some(Level::WARN),
            Self::Look | Self::ServerOnly => None,
        }
    }
}

/// Which on-close method a command calls in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Calls<'a> {
    /// The one that the last server called.
    Served,
    /// This one; a server calls its own.
    Chosen(&'a Method),
    /// None: it closes nothing.
    Nothing,
}

/// What a command may want to know besides its arguments.
pub(super) struct Context {
    pub(super) actor: Actor,
    /// The target's address or directory.
    pub(super) name: String,
    /// Whether no server goes on when the command ends.
    pub(super) is_local: bool,
    /// When the command began.
    pub(super) now: Timestamp,
}

/// What a command acts on.
pub(super) enum Target {
    Server(Remote),
    Directory(PathBuf),
}

/// What somebody has named for a command to act on: by a flag, or by the environment where there is no flag.
enum Named {
    Server(String),
    Directory(PathBuf),
    Profile(String),
    Nothing,
}

impl Named {
    fn by(connection: &Connection, environment: &Environment) -> Result<Self> {
        // The flags exclude each other already. An empty one is a variable that the caller meant to be set.
        let Connection {
            server,
            local,
            profile,
            ..
        } = connection.clone();
        match (server, local) {
            (Some(server), _) => return Ok(Self::Server(server)),
            (None, Some(directory)) => return Ok(Self::Directory(directory)),
            (None, None) => {}
        }
        // An empty variable is as good as none.
        let given = |name| environment.text(name).filter(|text| !text.is_empty());
        let profile_name = match profile {
            Some(_) => "--profile",
            None => "SESSIONCTL_PROFILE",
        };
        let named = [
            given("SESSIONCTL_SERVER")
                .map(|server| ("SESSIONCTL_SERVER", Self::Server(server.into()))),
            environment
                .path("SESSIONCTL_LOCAL")
                .map(|directory| ("SESSIONCTL_LOCAL", Self::Directory(directory))),
            profile
                .or_else(|| given("SESSIONCTL_PROFILE").map(str::to_owned))
                .map(|profile| (profile_name, Self::Profile(profile))),
        ];
        let mut named = named.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some((one, _)), Some((other, _))) => {
                let text = format!("{one} and {other} are both set");
                Err(Failure::new(Exit::Usage, text)
                    .advise("unset one of them, or use --server or --local")
                    .into())
            }
            (Some((_, named)), None) => Ok(named),
            (None, _) => Ok(Self::Nothing),
        }
    }
}

/// Which data directory a command means that looks into one whether or not a server has it.
pub(super) enum Data {
    Named(PathBuf),
    /// Nobody has named anything: where `serve` keeps its data unless told otherwise.
    Default,
    /// That of a server which was named, wherever it is.
    OfServer,
}

impl Data {
    pub(super) fn resolve(connection: &Connection, environment: &Environment) -> Result<Self> {
        Ok(match Named::by(connection, environment)? {
            Named::Server(_) | Named::Profile(_) => Self::OfServer,
            Named::Directory(directory) => Self::Named(directory),
            Named::Nothing => Self::Default,
        })
    }
}

impl Target {
    pub(super) fn resolve(connection: &Connection, environment: &Environment) -> Result<Self> {
        let server = |address| Remote::at(address, connection, environment).map(Self::Server);
        match Named::by(connection, environment)? {
            Named::Server(address) => server(address.parse::<Address>()?),
            Named::Profile(name) => {
                let profile = Profile::named(&name, environment)?;
                let remote = Remote::of(profile, connection);
                remote
                    .with_context(|| format!("profile {name}"))
                    .map(Self::Server)
            }
            Named::Directory(directory) => {
                connection.refuse_for_directory()?;
                Ok(Self::Directory(directory))
            }
            Named::Nothing => server(Address::Unix(default_socket_to_ask(environment))),
        }
    }

    /// Runs a command on the target.
    pub(super) async fn perform<O: Operation>(
        &self,
        operation: O,
        output: &mut Output,
        environment: &Environment,
        clock: Arc<dyn Clock>,
    ) -> Result<Exit> {
        let actor = Actor::user(rustix::process::geteuid().as_raw());
        let context = |name: String, is_local: bool| Context {
            actor,
            name,
            is_local,
            now: clock.now(),
        };
        match self {
            Self::Server(remote) => {
                if let Calls::Chosen(_) = operation.calls() {
                    return Err(chosen_for_a_server().into());
                }
                let address = &remote.address;
                let client = remote.client(output)?;
                output.tell_details(&format!("server: {address}"));
                let context = context(address.to_string(), false);
                operation.run(&client, output, &context).await
            }
            Self::Directory(directory) => {
                output.is_local = true;
                output.tell_details(&format!("directory: {}", directory.display()));
                if let Some(level) = O::ACCESS.logs(output.verbosity) {
                    log_to_stderr(level);
                }
                let context = context(directory.display().to_string(), true);
                let store = open(directory, O::ACCESS)?.ok_or_else(no_server)?;
                match O::ACCESS {
                    Access::Change | Access::Create => {
                        let method = method_of(operation.calls(), &store)?;
                        let socket = Socket::for_calls_of(&method)?;
                        let on_close = on_close(method, socket.as_ref(), environment);
                        let registry = Registry::with_on_close(store, clock, on_close);
                        let working =
                            registry.work_while(operation.run(&registry, output, &context));
                        tokio::select! {
                            biased;
                            done = working => done,
                            never = answer_calls(registry.aside(), socket) => match never {},
                        }
                    }
                    Access::Look | Access::ServerOnly => {
                        let registry = Registry::new(store, clock);
                        operation.run(&registry, output, &context).await
                    }
                }
            }
        }
    }
}

fn chosen_for_a_server() -> Failure {
    let text =
        "--on-close is for a directory without a server; a server calls its own on-close method";
    Failure::new(Exit::Usage, text).advise("leave it away, or name a directory with --local DIR")
}

/// Where a program that a command calls finds the sessions: the command has their directory, and answers here meanwhile.
pub(super) struct Socket {
    listener: UnixListener,
    address: String,
    /// The socket's own, which only its owner enters.
    _directory: TempDir,
}

impl Socket {
    /// A socket for whom this method calls; none where it is no program.
    pub(super) fn for_calls_of(method: &Method) -> Result<Option<Self>> {
        if !matches!(method, Method::Program { .. }) {
            return Ok(None);
        }
        let made = || -> io::Result<Self> {
            let directory = tempfile::tempdir()?;
            let path = directory.path().join(SOCKET);
            Ok(Self {
                listener: UnixListener::bind(&path)?,
                address: format!("unix:{}", path.display()),
                _directory: directory,
            })
        };
        let socket = made().context("cannot make a socket for the on-close method")?;
        Ok(Some(socket))
    }

    /// What a program is told of it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// Answers what on-close methods ask, for as long as it is polled.
pub(super) async fn answer_calls(
    registry: Registry<SqliteStore>,
    socket: Option<Socket>,
) -> Infallible {
    if let Some(socket) = socket {
        server::serve_admin(registry, socket.listener, std::future::pending()).await;
    }
    std::future::pending().await
}

/// What is called for sessions that a command closes in a directory. Refused before anything is closed: a program that
/// somebody else can choose (S39, S46). One that cannot be started is for the outcome to tell (C09).
fn method_of(calls: Calls<'_>, store: &SqliteStore) -> Result<Method> {
    Ok(match calls {
        Calls::Nothing => Method::None,
        Calls::Chosen(method) => {
            method::check(method).map_err(|unfit| unfit.failure(Exit::Refused, None))?;
            method.clone()
        }
        Calls::Served => {
            let method = store.served_method().clone();
            if let Err(unfit) = method::check(&method)
                && unfit.is_loose
            {
                let or_else = "close-session with --on-close none, save or another program";
                return Err(unfit.failure(Exit::Refused, Some(or_else)).into());
            }
            method
        }
    })
}

fn on_close(method: Method, socket: Option<&Socket>, environment: &Environment) -> OnClose {
    let mut environment = method::environment(environment);
    environment.extend(socket.map(|socket| {
        let (name, address) = ("SESSIONCTL_SERVER", socket.address.as_str());
        (name.into(), address.into())
    }));
    OnClose {
        method,
        environment,
    }
}

fn no_server() -> Failure {
    Failure::new(
        Exit::Usage,
        "this command asks a running server; with a local directory there is none",
    )
}

fn open(directory: &Path, access: Access) -> Result<Option<SqliteStore>> {
    let store = match access {
        Access::Look => SqliteStore::open_read_only(DataDir::shared(directory)?),
        Access::Change => SqliteStore::open_as_served(DataDir::exclusive(directory, false)?),
        Access::Create => SqliteStore::open_as_served(DataDir::exclusive(directory, true)?),
        Access::ServerOnly => return Ok(None),
    };
    Ok(Some(store?))
}

/// The directory that `serve` keeps its data in unless told otherwise.
pub(super) fn default_data_directory(environment: &Environment) -> Result<PathBuf> {
    let home = || {
        environment
            .path("HOME")
            .map(|home| home.join(".local/state"))
    };
    if let Some(directory) = environment.path("STATE_DIRECTORY") {
        return Ok(directory);
    }
    if rustix::process::geteuid().is_root() {
        return Ok(SYSTEM_DATA.into());
    }
    let state = environment
        .path("XDG_STATE_HOME")
        .or_else(home)
        .map(|state| state.join("sessionctl"));
    let missing = || {
        Failure::new(
            Exit::Config,
            "there is no directory for the data: neither XDG_STATE_HOME nor HOME is set",
        )
    };
    Ok(state.ok_or_else(|| missing().advise("name one with --data DIR"))?)
}

/// The socket that `serve` listens on unless told otherwise, in a directory that others cannot enter.
pub(super) fn default_socket(environment: &Environment) -> Option<PathBuf> {
    let directory = environment.path("RUNTIME_DIRECTORY").or_else(|| {
        let is_root = rustix::process::geteuid().is_root();
        let own = || {
            environment
                .path("XDG_RUNTIME_DIR")
                .map(|runtime| runtime.join("sessionctl"))
        };
        if is_root {
            Some("/run/sessionctl".into())
        } else {
            own()
        }
    });
    // Where there is no run-time directory, the data directory is as private.
    directory
        .or_else(|| default_data_directory(environment).ok())
        .map(|directory| directory.join(SOCKET))
}

/// The caller's own socket if there is one, else the machine's.
fn default_socket_to_ask(environment: &Environment) -> PathBuf {
    let own = default_socket(environment);
    match own {
        Some(own) if own.exists() || !Path::new(SYSTEM_SOCKET).exists() => own,
        _ => SYSTEM_SOCKET.into(),
    }
}
