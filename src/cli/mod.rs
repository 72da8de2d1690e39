//! The command line: the only place that knows clap, anyhow, streams, the environment and exit codes.

mod audit;
mod config;
mod connection;
mod count;
mod demo;
mod doctor;
mod end;
mod exit;
mod findings;
mod generate;
mod guarded;
mod history;
mod list;
mod listen;
mod locks;
mod method;
mod open;
mod openapi;
mod options;
mod output;
mod ping;
mod profiles;
mod remote;
mod rows;
mod runs;
mod serve;
mod show;
mod signals;
mod stats;
mod store;
mod table;
mod target;
mod text;
mod tls;
mod token;
mod token_file;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::runtime::Builder;

use self::connection::Connection;
pub use self::exit::{EXIT_CODES, Exit};
use self::exit::{Failure, exit_code_table, exit_of, server_in_the_way};
pub use self::list::write_sessions;
use self::output::PROGRAM;
pub use self::output::{Format, Output, Stream};
use self::target::Target;
use self::text::visible;
use crate::clock::Clock;
use crate::registry::ON_CLOSE_VARIABLE;
use crate::token::looks_like_secret;

/// What the command line is given by the process that it runs in, or by a test.
pub struct Host {
    /// The arguments, program name first.
    pub args: Vec<OsString>,
    /// The environment.
    pub environment: Environment,
    /// Where `-` reads from.
    pub stdin: Box<dyn BufRead + Send>,
    /// Where results go.
    pub stdout: Stream,
    /// Where everything else goes.
    pub stderr: Stream,
    /// Columns of the terminal that stdout is; `None` when it is none.
    pub terminal_width: Option<usize>,
    /// Whether stderr is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether stdin is a terminal.
    pub stdin_is_terminal: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The variables of the environment.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<OsString, OsString>);

impl Environment {
    fn variable(&self, name: &str) -> Option<&OsString> {
        self.0.get(OsStr::new(name))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.variable(name).and_then(|value| value.to_str())
    }

    /// A variable that names a path; an empty one names none.
    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

const EXAMPLES: &str = "\
Examples:
  sessionctl serve                          run the session server
  sessionctl list                           who is on it
  sessionctl close-session UUID             end that one";

/// Who is on my web server, and end that one.
#[derive(Debug, Parser)]
#[command(name = "sessionctl", version, before_long_help = EXAMPLES, after_long_help = exit_code_table())]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    printing: Printing,
    #[command(subcommand)]
    command: Command,
}

/// How results are written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct Printing {
    /// How to write results
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "table"
    )]
    output: Format,
    /// Write less: list only UUIDs, close without a word
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Tell more on stderr
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the sessions that are not closed
    List(list::Arguments),
    /// Show one session, with its processes and what they hold
    #[command(before_long_help = show::EXAMPLES)]
    Show(show::Arguments),
    /// Count the sessions that are not closed
    Count(count::Arguments),
    /// List the sessions that are closed, the last one first
    #[command(before_long_help = history::EXAMPLES)]
    History(history::Arguments),
    /// List the record locks: who holds what, since when, and how many wait for it
    #[command(before_long_help = locks::EXAMPLES)]
    Locks(locks::Arguments),
    /// List what operators ordered, the last one first
    #[command(before_long_help = audit::EXAMPLES)]
    Audit(audit::Arguments),
    /// Close sessions by UUID
    #[command(visible_alias = "close", before_long_help = end::EXAMPLES)]
    CloseSession(end::CloseArguments),
    /// End sessions at once, without what a closing would still do
    #[command(visible_alias = "drop")]
    DropSession(end::Arguments),
    /// Open a session on a client's behalf
    #[command(visible_alias = "open")]
    OpenSession(open::Arguments),
    /// See and set the options
    Options(options::Arguments),
    /// Make, list and revoke the tokens of the admin API
    #[command(before_long_help = token::EXAMPLES)]
    Token(token::Arguments),
    /// Tell how many sessions there are, and what happened since the start
    Stats(stats::Arguments),
    /// Check that a server answers and acknowledges changes
    Ping(ping::Arguments),
    /// Check, copy and bring back the store of a data directory
    #[command(before_long_help = store::EXAMPLES)]
    Store(store::Arguments),
    /// Check that a server and its data are well, and tell what to do where they are not
    #[command(before_long_help = doctor::EXAMPLES)]
    Doctor(doctor::Arguments),
    /// Run the session server
    Serve(serve::Arguments),
    /// Show what sessionctl does, on a server of its own
    Demo(demo::Arguments),
    /// Write completions, man pages, a systemd unit or a proxy's site into a directory
    Generate(generate::Arguments),
    /// Print the description of the API: OpenAPI 3.1, as JSON
    #[command(before_long_help = openapi::EXAMPLES)]
    Openapi(openapi::Arguments),
}

impl Command {
    /// Whether it is a server itself.
    fn is_server(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Demo(_))
    }

    /// Whether it reads what it acts on from stdin.
    fn reads_stdin(&self) -> bool {
        match self {
            Self::CloseSession(arguments) => arguments.reads_stdin(),
            Self::DropSession(arguments) => arguments.reads_stdin(),
            _ => false,
        }
    }
}

/// Runs the command line; answers the exit code.
pub fn run(host: Host) -> u8 {
    let mut output = Output::new(host.stdout, host.stderr, host.terminal_width);
    let cli = match parse(&host.args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&host.args, &error, &mut output).code(),
    };
    output.format = cli.printing.output;
    output.quiet = cli.printing.quiet;
    output.verbosity = cli.printing.verbose;
    output.program = cli.connection.program();
    output.stderr_is_terminal = host.stderr_is_terminal;
    let surroundings = Surroundings {
        environment: host.environment,
        stdin: host.stdin,
        stdin_is_terminal: host.stdin_is_terminal,
        clock: host.clock,
    };
    let is_server = matches!(cli.command, Command::Serve(_));
    let result = dispatch(cli, surroundings, &mut output).map_err(|error| match is_server {
        true => error,
        false => with_online_command(error, &host.args),
    });
    let flushed = output.flush().context("cannot write to stdout");
    let told = |error: anyhow::Error, output: &mut Output| {
        // Only writing to stdout fails without saying what it was about.
        let is_bare = error
            .chain()
            .next()
            .is_some_and(|error| error.is::<std::io::Error>());
        let error = if is_bare {
            error.context("cannot write to stdout")
        } else {
            error
        };
        output.tell_error(&error);
        exit_of(&error)
    };
    let exit = match (result, flushed) {
        (Ok(exit), Ok(())) => exit,
        (Err(error), _) | (Ok(Exit::Done), Err(error)) => told(error, &mut output),
        // What was done, and what not, says more than that it could not be told.
        (Ok(exit), Err(error)) => {
            told(error, &mut output);
            exit
        }
    };
    exit.code()
}

/// What is left of the host once output and arguments are taken.
struct Surroundings {
    environment: Environment,
    stdin: Box<dyn BufRead + Send>,
    stdin_is_terminal: bool,
    clock: Arc<dyn Clock>,
}

fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&Cli::command().try_get_matches_from(args)?)
}

fn dispatch(cli: Cli, surroundings: Surroundings, output: &mut Output) -> Result<Exit> {
    let Surroundings {
        environment,
        mut stdin,
        stdin_is_terminal,
        clock,
    } = surroundings;
    let is_in_method = environment.variable(ON_CLOSE_VARIABLE).is_some();
    let mut connection = cli.connection;
    if connection.token_stdin && !cli.command.is_server() {
        let is_taken = cli.command.reads_stdin();
        let token = remote::token_from_stdin(&mut *stdin, stdin_is_terminal, is_taken)?;
        connection.token = Some(token);
    }
    let asker = Asker {
        connection,
        environment,
        clock,
        output,
    };
    match cli.command {
        Command::Serve(arguments) => asker.serve(arguments),
        Command::Demo(arguments) => asker.demo(arguments),
        Command::Store(arguments) => store::run(
            arguments,
            &asker.connection,
            &asker.environment,
            &asker.clock,
            asker.output,
        ),
        Command::Doctor(arguments) => doctor::run(arguments, asker),
        Command::Generate(arguments) => generate::run(&arguments, Cli::command(), asker.output),
        Command::Openapi(openapi::Arguments {}) => openapi::run(asker.output),
        Command::List(arguments) => asker.ask(list::List(arguments)),
        Command::Show(arguments) => asker.ask(show::Show::new(arguments)),
        Command::Count(arguments) => asker.ask(count::Count(arguments)),
        Command::OpenSession(arguments) => asker.ask(open::Open::new(arguments)),
        Command::History(arguments) => match arguments.asked()? {
            history::Asked::List(list) => asker.ask(list),
            history::Asked::Show(show) => asker.ask(show),
        },
        Command::Locks(arguments) => asker.ask(locks::Locks::new(arguments)),
        Command::Audit(arguments) => match arguments.asked() {
            audit::Asked::List(list) => asker.ask(list),
            audit::Asked::Verify(verify) => asker.ask(verify),
        },
        Command::CloseSession(arguments) => {
            asker.ask(end::EndSessions::closing(arguments, stdin, is_in_method))
        }
        Command::DropSession(arguments) => asker.ask(end::EndSessions::dropping(arguments, stdin)),
        Command::Options(arguments) => match arguments.asked()? {
            options::Asked::Look(look) => asker.ask(look),
            options::Asked::Change(change) => asker.ask(change),
        },
        Command::Token(arguments) => token::run(arguments, asker),
        Command::Stats(arguments) => asker.ask(stats::Stats(arguments)),
        Command::Ping(arguments) => asker.ask(ping::Ping(arguments)),
    }
}

/// What every command gets.
struct Asker<'a> {
    connection: Connection,
    environment: Environment,
    clock: Arc<dyn Clock>,
    output: &'a mut Output,
}

impl Asker<'_> {
    /// Runs a command that asks a server or a directory.
    fn ask<O: target::Operation>(self, mut operation: O) -> Result<Exit> {
        operation.check()?;
        let target = Target::resolve(&self.connection, &self.environment)?;
        one_thread()?.block_on(target.perform(
            operation,
            self.output,
            &self.environment,
            self.clock,
        ))
    }

    fn serve(self, arguments: serve::Arguments) -> Result<Exit> {
        refuse_target(&self.connection, "serve")?;
        serving()?.block_on(serve::run(
            arguments,
            &self.environment,
            self.clock,
            self.output,
        ))
    }

    fn demo(self, arguments: demo::Arguments) -> Result<Exit> {
        refuse_target(&self.connection, "demo")?;
        serving()?.block_on(demo::run(arguments, self.clock, self.output))
    }
}

/// For commands that ask: one thread is enough, and starts sooner.
fn one_thread() -> Result<tokio::runtime::Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")
}

fn serving() -> Result<tokio::runtime::Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")
}

fn refuse_target(connection: &Connection, command: &str) -> Result<()> {
    let is_target = connection.server.is_some()
        || connection.local.is_some()
        || connection.profile.is_some()
        || connection.token_stdin
        || connection.token_file.is_some()
        || connection.insecure;
    if is_target {
        let text = format!(
            "{command} is a server itself; --server, --local, --profile and what goes with them are for the commands that ask one"
        );
        return Err(Failure::new(Exit::Usage, text)
            .advise("serve takes --admin ADDRESS and --data DIR")
            .into());
    }
    Ok(())
}

/// Flags with a value that a server knows nothing of.
const LOCAL_FLAGS: [&str; 2] = ["--local", "--on-close"];

/// A server has the directory: says how to ask it for the same.
fn with_online_command(error: anyhow::Error, args: &[OsString]) -> anyhow::Error {
    let Some(admin) = server_in_the_way(&error) else {
        return error;
    };
    let mut command = format!("{PROGRAM} --server {}", quoted(admin));
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        let arg = arg.to_string_lossy();
        let rest = LOCAL_FLAGS.iter().find_map(|flag| arg.strip_prefix(*flag));
        match rest {
            Some("") => drop(args.next()),
            Some(rest) if rest.starts_with('=') => {}
            Some(_) | None => command += &format!(" {}", quoted(&arg)),
        }
    }
    Failure::new(exit_of(&error), error.to_string())
        .advise(command)
        .into()
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// Writes what clap has to say: help to stdout, the rest to stderr, and no secret that was pasted by mistake.
fn refuse(args: &[OsString], error: &clap::Error, output: &mut Output) -> Exit {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let written = output
            .raw(&error.render().to_string())
            .and_then(|()| output.flush());
        return written.map_or_else(|error| exit_of(&error.into()), |()| Exit::Done);
    }
    if args
        .iter()
        .any(|arg| arg.to_str().is_some_and(looks_like_secret))
    {
        let text = "the command line is wrong, and one argument is a cookie value or token; it is a secret, so nothing is repeated";
        let failure = Failure::new(Exit::Usage, text)
            .advise("name sessions by UUID; put `--` before a UUID list");
        output.tell_error(&failure.into());
    } else {
        output.tell(told(args, error).trim_end());
    }
    Exit::Usage
}

/// What clap says of the arguments, which it repeats as they are, with nothing in it that would drive a terminal (S44). Its own
/// lines stay, those that an argument would add do not.
fn told(args: &[OsString], error: &clap::Error) -> String {
    let mut told = error.render().to_string();
    for arg in args.iter().filter_map(|arg| arg.to_str()) {
        let value = arg.split_once('=').map(|(_, value)| value);
        for repeated in [Some(arg), value].into_iter().flatten() {
            if let Cow::Owned(shown) = visible(repeated) {
                told = told.replace(repeated, &shown);
            }
        }
    }
    let lines: Vec<_> = told.lines().map(visible).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
