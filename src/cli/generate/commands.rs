//! The man pages of section 1: one for the program and one for each command, as `sessionctl-COMMAND(1)`.

use anyhow::Result;
use clap::Command;
use clap_mangen::Man;

use super::Generated;
use super::manual;
use super::page::{BOOK, NO_DATE, Page};
use crate::cli::output::VERSION;

/// The section that commands have.
const SECTION: &str = "1";

/// The pages of a program and of all its commands, however deep they lie.
pub(super) fn pages(command: Command) -> Result<Vec<Generated>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&mut pages, &command, &[])?;
    Ok(pages)
}

/// Adds the page of a command, and those of the commands below it.
fn add(pages: &mut Vec<Generated>, command: &Command, above: &[&str]) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    pages.push(page(command, name, above)?);
    let above = [above, &[name]].concat();
    for command in command.get_subcommands() {
        add(pages, command, &above)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str, above: &[&str]) -> Result<Generated> {
    let man = Man::new(with_short_synopsis(command.clone()))
        .title(name)
        .section(SECTION)
        .date(NO_DATE)
        .source(VERSION)
        .manual(BOOK);
    let mut bytes = Vec::new();
    man.render_title(&mut bytes)?;
    man.render_name_section(&mut bytes)?;
    man.render_synopsis_section(&mut bytes)?;
    man.render_description_section(&mut bytes)?;
    man.render_options_section(&mut bytes)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut bytes)?;
    }
    let mut rest = Page::continued();
    rest.section("EXIT STATUS");
    manual::add_exit_codes(&mut rest);
    let above = above.iter().map(|name| (*name, SECTION));
    rest.see_also(above.chain(manual::NAMES));
    bytes.extend(rest.bytes()?);
    Ok(Generated {
        name: man.get_filename(),
        bytes,
    })
}

/// The usage that `--help` shows, in place of every flag without its value and in no order.
fn with_short_synopsis(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    command.override_usage(usage)
}
