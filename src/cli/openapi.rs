//! `sessionctl openapi`: the description of the API that this version speaks.

use anyhow::{Context as _, Result};
use clap::Args;

use super::exit::Exit;
use super::output::Output;
use crate::wire::openapi::describe;

pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl openapi > sessionctl.json      for a generator of clients, or to read it in a browser";

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn run(output: &mut Output) -> Result<Exit> {
    let text = serde_json::to_string_pretty(&describe())
        .context("cannot write the description as JSON")?;
    output.raw(&format!("{text}\n"))?;
    Ok(Exit::Done)
}
