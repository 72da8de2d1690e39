//! The flags that name a server or a directory, and what a server is to be shown.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::exit::{Exit, Failure};
use super::output::PROGRAM;
use super::quoted;
use crate::client::Address;
use crate::token::{Token, looks_like_secret};

/// Where the sessions are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]
    #[arg(long, global = true, value_name = "ADDRESS", conflicts_with = "local")]
    pub(super) server: Option<String>,
    /// Act on this data directory, without a server [env: SESSIONCTL_LOCAL]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) local: Option<PathBuf>,
    /// Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]
    #[arg(long, global = true, value_name = "NAME", conflicts_with_all = ["server", "local"])]
    pub(super) profile: Option<String>,
    /// Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "local")]
    pub(super) token_file: Option<PathBuf>,
    /// Present the token in the first line of stdin
    #[arg(long, global = true, conflicts_with_all = ["token_file", "local"])]
    pub(super) token_stdin: bool,
    /// Trust only the authorities whose certificates are in this file, and none of the system's (PEM) [env: SESSIONCTL_CACERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,
    /// Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way
    #[arg(long, global = true, conflicts_with_all = ["cacert", "local"])]
    pub(super) insecure: bool,
    /// What was read from stdin.
    #[arg(skip)]
    pub(super) token: Option<Token>,
}

impl Connection {
    /// How this program is called for the same target. What the environment names it names for the next command as well.
    pub(super) fn program(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let flags = [
            // What is no address may be a secret that was pasted by mistake.
            (
                "--server",
                self.server
                    .clone()
                    .filter(|server| server.parse::<Address>().is_ok()),
            ),
            ("--local", path(&self.local)),
            // A secret that was pasted by mistake, again.
            (
                "--profile",
                self.profile
                    .clone()
                    .filter(|profile| !looks_like_secret(profile)),
            ),
            ("--token-file", path(&self.token_file)),
            // Not --insecure: that is for whoever calls to say, each time.
            ("--cacert", path(&self.cacert)),
        ];
        let mut program = PROGRAM.to_owned();
        for (flag, value) in flags {
            if let Some(value) = value {
                program += &format!(" {flag} {}", quoted(&value));
            }
        }
        program
    }

    /// Refuses what is about a server where the environment names a directory.
    pub(super) fn refuse_for_directory(&self) -> Result<()> {
        let flag = match self {
            _ if self.insecure => "--insecure",
            _ if self.token_stdin => "--token-stdin",
            // It would make no less of whoever has the directory.
            _ if self.token_file.is_some() => "--token-file",
            _ => return Ok(()),
        };
        let text = format!("{flag} is for a server, and SESSIONCTL_LOCAL names a directory");
        Err(Failure::new(Exit::Usage, text)
            .advise("--server ADDRESS")
            .into())
    }
}
