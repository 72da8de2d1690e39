//! What `serve` is configured with: its flags, its file, the defaults. A flag wins over the file (C14).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use ipnet::IpNet;
use nix::unistd::Group;
use serde::Deserialize;

use super::exit::{Exit, Failure};
use super::guarded::{self, Guard, toml_mistake};
use super::listen::AdminAddress;
use super::target::{default_data_directory, default_socket};
use super::tls::TlsFiles;
use super::{Environment, method};
use crate::access::Role;
use crate::on_close::Method;
use crate::options::{Layer, OPTIONS, OptionSpec, Settings, add};
use crate::server::TrustedProxies;

/// The file that is read unless another is named.
pub(super) const DEFAULT_FILE: &str = "/etc/sessionctl/server.toml";

/// Where web clients are served unless told otherwise.
const DEFAULT_WEB: &str = "127.0.0.1:8080";

#[derive(Debug, Default, Args)]
pub(super) struct Flags {
    /// Read this file for what no flag says [default: /etc/sessionctl/server.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the data in this directory [default: /var/lib/sessionctl as root, else below XDG_STATE_HOME]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve web clients on this address; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    web: Option<SocketAddr>,
    /// Serve operators here: unix:PATH or ADDRESS:PORT, beyond loopback only with --tls-cert [default: admin.sock in /run/sessionctl as root, below XDG_RUNTIME_DIR, or in the data directory]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<AdminAddress>,
    /// The admin token's file; made, for its owner alone, if it is not there. Needed for an admin address with a port
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Serve operators on the port of --admin over TLS, with the certificates in this file, the server's own first (PEM); SIGHUP reloads it
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM), closed to others
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Believe the X-Forwarded-For of proxies with these addresses, or in these networks, comma separated
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',', value_parser = network)]
    trusted_proxies: Option<Vec<IpNet>>,
    /// The application's token's file; made, for its owner alone, if it is not there. With this token an application opens and signs in sessions, and works with their processes
    #[arg(long, value_name = "FILE")]
    app_token_file: Option<PathBuf>,
    /// Call this program for each process that closes, with its context as JSON on stdin; save keeps the context without a program, none calls nothing [default: none]
    #[arg(long, value_name = "PROGRAM")]
    on_close: Option<String>,
    /// An argument for the program of --on-close; once for each
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    on_close_argument: Vec<String>,
    #[command(flatten)]
    options: OptionFlags,
}

impl Flags {
    /// As if nothing was given but a file.
    pub(super) fn of_file(file: PathBuf) -> Self {
        Self {
            config: Some(file),
            ..Self::default()
        }
    }
}

/// A flag for every option of the table; what was given is checked together with the file.
#[derive(Debug, Default)]
struct OptionFlags(Vec<(&'static OptionSpec, String)>);

impl FromArgMatches for OptionFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = OPTIONS.iter().filter_map(|spec| {
            let text = matches.get_one::<String>(spec.name)?;
            Some((spec, text.clone()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for OptionFlags {
    fn augment_args(command: Command) -> Command {
        let heading = "Options (can be set at run time as well, which wins)";
        OPTIONS.iter().fold(command, |command, spec| {
            let help = format!(
                "{}: {} [default: {}]",
                sentence(spec.summary),
                spec.form.range(),
                default_in_words(spec)
            );
            command.arg(
                Arg::new(spec.name)
                    .long(spec.name.replace('_', "-"))
                    .value_name("VALUE")
                    .help(help)
                    .help_heading(heading),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The default of an option, for people: nothing has a name too.
pub(super) fn default_in_words(spec: &OptionSpec) -> String {
    let default = spec.show(&spec.default());
    if default.is_empty() {
        "empty".into()
    } else {
        default
    }
}

/// A summary with the capital that a sentence begins with.
pub(super) fn sentence(summary: &str) -> String {
    let mut letters = summary.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// A network, or a single address.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || {
        text.parse()
            .ok()
            .map(|address: std::net::IpAddr| IpNet::from(address.to_canonical()))
    };
    let network = text.parse().ok().or_else(address);
    network
        .ok_or_else(|| format!("{text:?} is neither an address nor a network such as 10.0.0.0/8"))
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    data: Option<PathBuf>,
    web: Option<SocketAddr>,
    admin: Option<String>,
    admin_token_file: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    trusted_proxies: Option<Vec<String>>,
    app_token_file: Option<PathBuf>,
    #[serde(default)]
    group_roles: BTreeMap<String, String>,
    on_close: Option<String>,
    #[serde(default)]
    on_close_arguments: Vec<String>,
    #[serde(default)]
    options: BTreeMap<String, toml::Value>,
}

/// Everything that a server needs to know to start.
pub(super) struct Plan {
    pub(super) data: PathBuf,
    pub(super) web: SocketAddr,
    pub(super) admin: AdminAddress,
    pub(super) admin_token_file: Option<PathBuf>,
    pub(super) tls: Option<TlsFiles>,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) app_token_file: Option<PathBuf>,
    /// What other users may on the admin socket, by their groups.
    pub(super) group_roles: Vec<GroupRole>,
    /// The on-close method; it is to be checked before it is called.
    pub(super) method: Method,
    /// What the method gets of the environment.
    pub(super) passed_on: Vec<(OsString, OsString)>,
    pub(super) settings: Settings,
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
}

impl Plan {
    /// A server on free loopback ports that keeps its data and its admin token below `directory`.
    pub(super) fn throw_away(directory: &Path) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            data: directory.join("data"),
            web: free,
            admin: AdminAddress::Tcp(free),
            admin_token_file: Some(directory.join("admin.token")),
            tls: None,
            trusted_proxies: Vec::new(),
            app_token_file: None,
            group_roles: Vec::new(),
            method: Method::None,
            passed_on: Vec::new(),
            settings: Settings::default(),
            file: None,
        }
    }

    /// Puts flags, file and defaults together; reads the file, and touches nothing else.
    pub(super) fn make(flags: Flags, environment: &Environment) -> Result<Self> {
        let default = Path::new(DEFAULT_FILE);
        // A file that may not be looked for is not a file that is not there.
        let is_there = || !matches!(default.try_exists(), Ok(false));
        let path = flags.config.or_else(|| is_there().then(|| default.into()));
        let file = path.as_deref().map(read).transpose()?.unwrap_or_default();
        let in_file = |error| match &path {
            Some(path) => config_error(path, error),
            None => error,
        };
        let settings = settings(&flags.options, &file.options, in_file)?;
        let admin = match (flags.admin, file.admin) {
            (Some(admin), _) => admin,
            (None, Some(text)) => text
                .parse()
                .map_err(|why: String| in_file(anyhow::anyhow!("admin: {why}")))?,
            (None, None) => AdminAddress::Unix(
                default_socket(environment)
                    .context("there is no directory for the admin socket")?,
            ),
        };
        let proxies = file.trusted_proxies.unwrap_or_default();
        let proxies = proxies
            .iter()
            .map(|text| network(text))
            .collect::<Result<Vec<_>, _>>();
        let proxies = proxies.map_err(|why| in_file(anyhow::anyhow!("trusted_proxies: {why}")))?;
        let (name, arguments) = match (flags.on_close, file.on_close) {
            // Arguments go with the program that they were written for.
            (Some(name), _) => (Some(name), flags.on_close_argument),
            (None, name) if flags.on_close_argument.is_empty() => (name, file.on_close_arguments),
            (None, name) => (name, flags.on_close_argument),
        };
        Ok(Self {
            data: match flags.data.or(file.data) {
                Some(data) => data,
                None => default_data_directory(environment)?,
            },
            web: match flags.web.or(file.web) {
                Some(web) => web,
                None => DEFAULT_WEB.parse()?,
            },
            admin,
            admin_token_file: flags.admin_token_file.or(file.admin_token_file),
            tls: TlsFiles::of(
                flags.tls_cert.or(file.tls_cert),
                flags.tls_key.or(file.tls_key),
            )?,
            trusted_proxies: flags.trusted_proxies.unwrap_or(proxies),
            app_token_file: flags.app_token_file.or(file.app_token_file),
            group_roles: group_roles(&file.group_roles)
                .map_err(|why| in_file(anyhow::anyhow!("group_roles: {why}")))?,
            method: method::named(name.as_deref().unwrap_or("none"), arguments)?,
            passed_on: method::environment(environment),
            settings,
            file: path,
        })
    }

    pub(super) fn proxies(&self) -> TrustedProxies {
        TrustedProxies::new(self.trusted_proxies.clone())
    }
}

/// What the users of a group may on the admin socket.
#[derive(Clone, Debug)]
pub(super) struct GroupRole {
    pub(super) group: String,
    pub(super) gid: u32,
    pub(super) role: Role,
}

fn group_roles(named: &BTreeMap<String, String>) -> Result<Vec<GroupRole>, String> {
    let group_role = |(group, role): (&String, &String)| {
        let known = || Role::ALL.map(Role::as_str).join(", ");
        let role = Role::from_word(role)
            .ok_or_else(|| format!("{group}: there are the roles {}", known()))?;
        let found = Group::from_name(group)
            .map_err(|error| format!("the group {group} cannot be looked up: {error}"))?;
        let found = found.ok_or_else(|| format!("this machine has no group {group}"))?;
        Ok(GroupRole {
            group: group.clone(),
            gid: found.gid.as_raw(),
            role,
        })
    };
    named.iter().map(group_role).collect()
}

/// The options of the file and of the flags, as two layers.
fn settings(
    flags: &OptionFlags,
    file: &BTreeMap<String, toml::Value>,
    in_file: impl Fn(anyhow::Error) -> anyhow::Error,
) -> Result<Settings> {
    let mut file_layer = Layer::new();
    for (name, value) in file {
        add_from_file(&mut file_layer, name, value).map_err(&in_file)?;
    }
    let mut flag_layer = Layer::new();
    for (spec, text) in &flags.0 {
        add(&mut flag_layer, spec, text)?;
    }
    Ok(Settings::new(file_layer, flag_layer)?)
}

/// Values stand in the file as they are typed, or as TOML's own numbers and switches.
fn add_from_file(layer: &mut Layer, name: &str, value: &toml::Value) -> Result<()> {
    let spec = OptionSpec::named(name).with_context(|| {
        let names: Vec<_> = OPTIONS.iter().map(|spec| spec.name).collect();
        format!("there is no option {name}; there are {}", names.join(", "))
    })?;
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(on) => on.to_string(),
        _ => anyhow::bail!("{name} takes a text, a number, true or false"),
    };
    Ok(add(layer, spec, &text)?)
}

/// Reads the file, if nobody else can have written it (S46).
fn read(path: &Path) -> Result<ConfigFile> {
    let bytes = guarded::read(path, Guard::NobodyElseWrites, "the server's user")?;
    let text = String::from_utf8(bytes).map_err(|error| config_error(path, error.into()))?;
    toml::from_str(&text)
        .map_err(|error| config_error(path, anyhow::anyhow!(toml_mistake(&text, &error))))
}

fn config_error(path: &Path, error: anyhow::Error) -> anyhow::Error {
    let text = format!(
        "{} is not a configuration that serve understands",
        path.display()
    );
    Failure::new(Exit::Config, text)
        .caused_by(error)
        .advise(format!(
            "man 7 sessionctl-options; sessionctl serve --check-config --config {}",
            path.display()
        ))
        .into()
}
