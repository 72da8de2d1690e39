//! `sessionctl doctor`: whether a server and its data directory are well, and what to do where they are not.

mod configuration;
mod directory;
mod server;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::Map;

use super::exit::Exit;
use super::findings::Findings;
use super::output::Output;
use super::target::{Data, Target, default_data_directory};
use super::{Asker, Environment, quoted};
use crate::store::directory::{DataDir, DirectoryError};

/// What `--help` begins with.
pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl doctor                  the server of this machine, its data and its configuration
  sessionctl --server ADDRESS doctor a server alone
  sessionctl --local DIR doctor      a data directory alone";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Look at this configuration file of serve too [default: /etc/sessionctl/server.toml, if no target is named and it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments, asker: Asker<'_>) -> Result<Exit> {
    let Asker {
        connection,
        environment,
        clock,
        output,
    } = asker;
    let mut findings = Findings::default();
    let data = Data::resolve(&connection, &environment)?;
    if !matches!(data, Data::Named(_)) {
        let target = Target::resolve(&connection, &environment)?;
        server::look(&target, &environment, clock.clone(), &mut findings, output)?;
    }
    // What was named may have another configuration than this machine's.
    let is_this_machines = matches!(data, Data::Default);
    let directory = match data {
        Data::Named(directory) => Some(directory),
        Data::Default => own_default_directory(&environment, output),
        // What a server keeps that was named may be far away, and what is here another's.
        Data::OfServer => None,
    };
    if let Some(directory) = directory {
        directory::look(&directory, output.again(), &mut findings);
    }
    let config = arguments
        .config
        .or_else(|| configuration::default_file().filter(|_| is_this_machines));
    if let Some(file) = config {
        let now = clock.now();
        configuration::look(file, &environment, now, output.again(), &mut findings);
    }
    findings.write(output, Map::new())
}

/// The directory of this user that nobody had to name, if there is one. Root's commands ask the machine's server by
/// themselves, whose data are another user's: that is as it should be.
fn own_default_directory(environment: &Environment, output: &mut Output) -> Option<PathBuf> {
    let directory = default_data_directory(environment)
        .ok()
        .filter(|directory| directory.exists())?;
    match DataDir::database_in_use(&directory) {
        Err(error @ DirectoryError::NotOwner { .. }) => {
            output.tell_details(&format!(
                "{error}; to look at it as that one: sessionctl --local {} doctor",
                quoted(&directory.to_string_lossy())
            ));
            None
        }
        _ => Some(directory),
    }
}
