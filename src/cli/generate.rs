//! `sessionctl generate`: completions and man pages, from the same source as `--help`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::exit::{EXIT_CODES, Exit};
use super::output::Output;

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
    /// Man pages, one for each command.
    Man,
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
        What::Man => man_pages(command)?,
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

/// One page for the program and one for each command, as `sessionctl-COMMAND(1)`.
fn man_pages(command: Command) -> Result<Vec<Generated>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let commands = command.get_subcommands().cloned().map(page);
    let commands: Vec<_> = commands.collect::<Result<_>>()?;
    Ok([page(command)?].into_iter().chain(commands).collect())
}

fn page(command: Command) -> Result<Generated> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let has_commands = command.has_subcommands();
    let version = concat!("sessionctl ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command)
        .title(&name)
        .source(version)
        .manual("sessionctl");
    let mut bytes = Vec::new();
    man.render_title(&mut bytes)?;
    man.render_name_section(&mut bytes)?;
    man.render_synopsis_section(&mut bytes)?;
    man.render_description_section(&mut bytes)?;
    man.render_options_section(&mut bytes)?;
    if has_commands {
        man.render_subcommands_section(&mut bytes)?;
    }
    bytes.extend(exit_status_section().bytes());
    Ok(Generated {
        name: man.get_filename(),
        bytes,
    })
}

/// The table of exit codes, as roff.
fn exit_status_section() -> String {
    let entry = |(_, code, meaning): &(Exit, u8, &str)| {
        format!(".TP\n\\fB{code}\\fR\n{}\n", meaning.replace('-', "\\-"))
    };
    format!(
        ".SH \"EXIT STATUS\"\n{}",
        EXIT_CODES.iter().map(entry).collect::<String>()
    )
}
