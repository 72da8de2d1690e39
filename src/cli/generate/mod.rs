//! `sessionctl generate`: completions and man pages from the same tables as `--help`; a systemd unit; sites of proxies.

mod commands;
mod manual;
mod page;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;

use super::exit::Exit;
use super::output::Output;

/// The unit that runs `serve`.
const SYSTEMD_UNIT: &str = include_str!("sessionctl.service");

/// The site that has nginx ask about every request.
const NGINX_SITE: &str = include_str!("nginx.conf");

/// The site that has Caddy ask about every request.
const CADDY_SITE: &str = include_str!("Caddyfile");

/// The site that has HAProxy ask about every request; it does so in Lua.
const HAPROXY_SITE: &str = include_str!("haproxy.cfg");
const HAPROXY_LUA: &str = include_str!("haproxy.lua");

/// The routers and middlewares that have Traefik ask about every request.
const TRAEFIK_SITE: &str = include_str!("traefik.toml");

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to write
    what: What,
    /// The directory to write into; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Completions for bash, zsh and fish.
    Completions,
    /// Man pages: one for each command, the options, the exit codes, the errors.
    Man,
    /// A systemd unit that runs the server.
    Systemd,
    /// A site of nginx whose application only live sessions reach.
    Nginx,
    /// A site of Caddy whose application only live sessions reach.
    Caddy,
    /// A site of HAProxy whose application only live sessions reach, and its Lua.
    Haproxy,
    /// A dynamic configuration of Traefik whose application only live sessions reach.
    Traefik,
}

/// A generated file.
struct Generated {
    name: String,
    bytes: Vec<u8>,
}

pub(super) fn run(arguments: &Arguments, command: Command, output: &mut Output) -> Result<Exit> {
    let directory = &arguments.directory;
    let files = match arguments.what {
        What::Completions => completions(command),
        What::Man => {
            let mut pages = commands::pages(command)?;
            pages.extend(manual::pages()?);
            pages
        }
        What::Systemd => fixed(&[("sessionctl.service", SYSTEMD_UNIT)]),
        What::Nginx => fixed(&[("sessionctl.conf", NGINX_SITE)]),
        What::Caddy => fixed(&[("sessionctl.caddyfile", CADDY_SITE)]),
        What::Haproxy => fixed(&[
            ("sessionctl.cfg", HAPROXY_SITE),
            ("sessionctl.lua", HAPROXY_LUA),
        ]),
        What::Traefik => fixed(&[("sessionctl.toml", TRAEFIK_SITE)]),
    };
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for Generated { name, bytes } in files {
        let path = directory.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        if !output.quiet {
            output.line(&path.display().to_string())?;
        }
    }
    Ok(Exit::Done)
}

/// Files that are the same for everybody.
fn fixed(files: &[(&str, &str)]) -> Vec<Generated> {
    let file = |(name, text): &(&str, &str)| Generated {
        name: (*name).into(),
        bytes: (*text).into(),
    };
    files.iter().map(file).collect()
}

fn completions(mut command: Command) -> Vec<Generated> {
    let shells = [
        (Shell::Bash, "sessionctl.bash"),
        (Shell::Zsh, "_sessionctl"),
        (Shell::Fish, "sessionctl.fish"),
    ];
    let script = |(shell, name): (Shell, &str)| {
        let mut bytes = Vec::new();
        clap_complete::generate(shell, &mut command, "sessionctl", &mut bytes);
        Generated {
            name: name.into(),
            bytes,
        }
    };
    shells.map(script).into()
}
