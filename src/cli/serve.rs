//! `sessionctl serve`: binds, says where, and runs until it is told to stop.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;
use tracing::Level;

use super::config::{Flags, Plan};
use super::exit::{Exit, Failure, is_others};
use super::listen::{
    AdminAddress, SocketFile, app_token, bind, bind_admin, check_admin, check_app_token,
};
use super::output::{Output, Stream, VERSION};
use super::signals::{HangUps, Signals};
use super::store::revoked_tokens;
use super::table::details;
use super::target::{Socket, answer_calls};
use super::text::visible;
use super::tls::{self, Reload, TlsFiles};
use super::{Environment, method, quoted};
use crate::admin::Actor;
use crate::audit::Action;
use crate::clock::Clock;
use crate::error::Error;
use crate::on_close::Method;
use crate::options::{OPTIONS, OptionSpec, Origin, Settings};
use crate::registry::{OnClose, Registry};
use crate::server::{self, GroupRoles, Listeners, TlsIdentity};
use crate::store::Store as _;
use crate::store::directory::DataDir;
use crate::store::sqlite::{CloseAll, ClosedAll, OpenError, SqliteStore};

/// Open files that web clients cannot take: for operators, the store, and the process itself.
const RESERVED_FILES: usize = 640;

/// Web connections at once, however few files may be open.
const LEAST_WEB_CONNECTIONS: usize = 16;

/// Web connections at once, where the limit of open files allows them.
const MOST_WEB_CONNECTIONS: usize = 4_096;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// End every session before the start, cause restored, and revoke every admin token of `token create`: for the day after a plain copy of the data or a snapshot of the machine was put back, which may bring back what had been closed or revoked
    #[arg(long)]
    end_all_sessions: bool,
    /// Only check the configuration, and say what the server would start with
    #[arg(long)]
    check_config: bool,
}

pub(super) async fn run(
    arguments: Arguments,
    environment: &Environment,
    clock: Arc<dyn Clock>,
    output: &mut Output,
) -> Result<Exit> {
    let plan = Plan::make(arguments.flags, environment).map_err(as_config)?;
    let checked = check(plan).map_err(as_config)?;
    if arguments.check_config {
        if let Some((_, identity)) = &checked.tls {
            tls::tell_if_untimely(identity, clock.now(), output);
        }
        describe(&checked.plan, output)?;
        return Ok(Exit::Done);
    }
    log_to_stderr(match output.verbosity {
        0 => Level::INFO,
        _ => Level::DEBUG,
    });
    let connections = raise_connection_limit();
    let mut signals = Signals::catch_of_server()?;
    let hang_ups = HangUps::catch()?;
    let mut running = start(checked, Arc::clone(&clock), arguments.end_all_sessions)
        .await
        .map_err(as_config)?;
    tracing::info!("{VERSION} has started");
    running.listeners.web_connections = connections;
    // Whoever started the server may have closed stdout; that stops nothing.
    let _ = running.announce(output);
    let mut again = Signals::catch_of_server()?;
    let reload = running.reload.take();
    let (signal, stopped) = tokio::select! {
        stopped = running.run(signals.next()) => stopped,
        never = leave_at_the_second(&mut again) => match never {},
        never = tls::reload_at(hang_ups, reload, clock) => match never {},
    };
    stopped.context("the last requests before the stop were not written")?;
    let signal = if signal == Exit::Interrupted {
        "SIGINT"
    } else {
        "SIGTERM"
    };
    tracing::info!("stopped by {signal}; every session is kept");
    Ok(Exit::Done)
}

/// A plan that was looked at, with the certificate that it names: what was checked is what the server starts with.
pub(super) struct Checked {
    plan: Plan,
    tls: Option<(TlsFiles, TlsIdentity)>,
}

/// Refuses what would let in, or start, what it should not; nothing is touched.
pub(super) fn check(plan: Plan) -> Result<Checked> {
    let admin_token_file = plan.admin_token_file.as_deref();
    check_admin(&plan.admin, admin_token_file, plan.tls.is_some())?;
    check_app_token(plan.app_token_file.as_deref(), admin_token_file)?;
    check_groups(&plan)?;
    let tls = match &plan.tls {
        Some(files) => Some((files.clone(), files.read()?)),
        None => None,
    };
    method::check(&plan.method).map_err(|unfit| unfit.failure(Exit::Config, None))?;
    Ok(Checked { plan, tls })
}

/// Refuses roles that come to nothing: at a port nobody is known by a group.
fn check_groups(plan: &Plan) -> Result<()> {
    if plan.group_roles.is_empty() || matches!(plan.admin, AdminAddress::Unix(_)) {
        return Ok(());
    }
    let text = "[group_roles] is for an admin socket; at a port whoever comes needs a token";
    Err(Failure::new(Exit::Config, text)
        .advise("--admin unix:PATH, or `sessionctl token create` and no [group_roles]")
        .into())
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
    if is_others(&error) {
        return error;
    }
    let mut chain = error.chain();
    let may_pass = chain.any(|error| {
        let store = error.downcast_ref::<OpenError>();
        store.is_some_and(|error| error.is_disk_full() || error.is_in_use())
    });
    if may_pass {
        // Whoever starts it again and again is not to stop at that.
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
    pub(super) web: String,
    pub(super) admin: String,
    socket: Option<SocketFile>,
    /// What SIGHUP reloads, if there is something.
    reload: Option<Reload>,
    /// Where the programs that it starts ask it, if not where everybody does.
    calls: Option<Socket>,
}

/// Takes the data directory, reads the store, binds the listeners.
pub(super) async fn start(
    checked: Checked,
    clock: Arc<dyn Clock>,
    ends_all: bool,
) -> Result<Running> {
    let Checked { plan, tls } = checked;
    let directory = DataDir::exclusive(&plan.data, true)?;
    let trusted_proxies = plan.proxies();
    let web = bind(plan.web, "--web").await?;
    let reload = tls.map(|(files, identity)| Reload::start(files, identity, clock.now()));
    let tls = reload.as_ref().map(|reload| reload.tls.clone());
    // What has a certificate is called by the names in it, and who calls it needs the authority: programs of this machine
    // have a shorter way.
    let calls = match &tls {
        Some(_) => Socket::for_calls_of(&plan.method)?,
        None => None,
    };
    let (admin, admin_url, socket) = bind_admin(
        plan.admin.clone(),
        plan.admin_token_file.as_deref(),
        !plan.group_roles.is_empty(),
        tls,
    )
    .await?;
    let app_token = app_token(plan.app_token_file.as_deref(), &admin)?;
    let on_close = on_close(&plan, &admin_url, calls.as_ref());
    // Last: the store keeps the settings of a server that runs, not of one that could not start.
    let store = if ends_all {
        let order = CloseAll {
            actor: Actor::server(),
            now: clock.now(),
            action: Action::EndAllSessions,
        };
        let (store, closed) =
            SqliteStore::open_closing_all(directory, plan.settings, &on_close.method, &order)?;
        tell_what_ended(closed);
        store
    } else {
        SqliteStore::open_for_server(directory, plan.settings, &on_close.method)?
    };
    store.directory().announce(Some(admin_url.clone()))?;
    let settings = store.settings()?;
    tell_what_run_time_wins(&settings);
    let web_url = format!("http://{}", web.local_addr()?);
    let registry = Registry::with_on_close(store, clock, on_close);
    let listeners = Listeners {
        web,
        admin,
        app_token,
        group_roles: GroupRoles::new(plan.group_roles.iter().map(|named| (named.gid, named.role))),
        web_connections: MOST_WEB_CONNECTIONS,
        trusted_proxies,
    };
    Ok(Running {
        registry,
        listeners,
        web: web_url,
        admin: admin_url,
        socket,
        reload,
        calls,
    })
}

/// The on-close method, and how the commands that it calls find this server.
fn on_close(plan: &Plan, admin_url: &str, calls: Option<&Socket>) -> OnClose {
    let mut environment = plan.passed_on.clone();
    if let Some(socket) = calls {
        environment.push(("SESSIONCTL_SERVER".into(), socket.address().into()));
        return OnClose {
            method: plan.method.clone(),
            environment,
        };
    }
    let server = match &plan.admin {
        AdminAddress::Unix(path) => {
            let mut server = OsString::from("unix:");
            server.push(method::absolute(path));
            server
        }
        AdminAddress::Tcp(_) => admin_url.into(),
    };
    environment.push(("SESSIONCTL_SERVER".into(), server));
    if let (AdminAddress::Tcp(_), Some(file)) = (&plan.admin, &plan.admin_token_file) {
        let file = method::absolute(file).into();
        environment.push(("SESSIONCTL_TOKEN_FILE".into(), file));
    }
    OnClose {
        method: plan.method.clone(),
        environment,
    }
}

/// Whoever came in with a token of the store needs another one from here on.
fn tell_what_ended(ClosedAll { sessions, tokens }: ClosedAll) {
    tracing::warn!(
        ended = sessions,
        tokens_revoked = tokens,
        "every session was ended at the start, cause restored"
    );
    if tokens > 0 {
        tracing::warn!("{}", revoked_tokens(tokens));
    }
}

/// Whoever changes the file or a flag is to know why nothing comes of it.
fn tell_what_run_time_wins(settings: &Settings) {
    for name in settings.layer(Origin::RunTime).keys() {
        let Some(spec) = OptionSpec::named(name) else {
            continue;
        };
        let state = settings.state(spec);
        if state.beneath_origin != Origin::Default && state.beneath != state.value {
            let (value, beneath) = (spec.show(&state.value), spec.show(&state.beneath));
            let origin = state.beneath_origin;
            tracing::info!(
                "{name} is {value}, set at run time; the {origin} says {beneath}: `sessionctl options reset {name}` brings that"
            );
        }
    }
}

/// What a server would start with, one line each.
fn describe(plan: &Plan, output: &mut Output) -> io::Result<()> {
    let optional = |path: &Option<PathBuf>| {
        path.as_ref()
            .map_or_else(|| "-".into(), |path| path.display().to_string())
    };
    let of_tls = |file: fn(&TlsFiles) -> &PathBuf| optional(&plan.tls.as_ref().map(file).cloned());
    let all = |words: Vec<String>, separator: &str| match &words[..] {
        [] => "-".into(),
        words => words.join(separator),
    };
    let proxies = plan.trusted_proxies.iter().map(ToString::to_string);
    let (on_close, arguments): (String, &[String]) = match &plan.method {
        Method::None => ("-".into(), &[]),
        Method::Save => ("save".into(), &[]),
        Method::Program { path, arguments } => (path.display().to_string(), arguments),
    };
    let group_roles = plan
        .group_roles
        .iter()
        .map(|named| format!("{}={}", named.group, named.role));
    let arguments = arguments
        .iter()
        .map(|argument| quoted(argument).into_owned());
    let mut pairs = vec![
        ("config", optional(&plan.file)),
        ("data", plan.data.display().to_string()),
        ("web", plan.web.to_string()),
        ("admin", plan.admin.to_string()),
        ("admin_token_file", optional(&plan.admin_token_file)),
        ("tls_cert", of_tls(|files| &files.certificate)),
        ("tls_key", of_tls(|files| &files.key)),
        ("trusted_proxies", all(proxies.collect(), ",")),
        ("app_token_file", optional(&plan.app_token_file)),
        ("group_roles", all(group_roles.collect(), ",")),
        ("on_close", on_close),
        ("on_close_arguments", all(arguments.collect(), " ")),
    ];
    let states = plan.settings.states();
    let set = OPTIONS
        .iter()
        .zip(&states)
        .filter(|(_, state)| state.origin != Origin::Default);
    pairs.extend(set.map(|(spec, state)| {
        (
            spec.name,
            format!("{} ({})", spec.show(&state.value), state.origin),
        )
    }));
    // A file may name anything, also a path that would drive the terminal.
    for (_, value) in &mut pairs {
        *value = visible(value).into_owned();
    }
    output.raw(&details(&pairs))
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
            socket,
            calls,
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
            server::serve(registry.clone(), listeners, async { drop(stopped.await) }).await;
            drop(served);
        };
        // Programs that still run may call until the registry's work has ended.
        let working = registry.run(async { drop(finished.await) });
        let working = async {
            tokio::select! {
                biased;
                worked = working => worked,
                never = answer_calls(registry.clone(), calls) => match never {},
            }
        };
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

/// The log goes where everything but results goes. Only the first of a process says how.
pub(super) fn log_to_stderr(level: Level) {
    let writer = || -> Stream { Box::new(io::stderr()) };
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(writer)
        .try_init();
}
