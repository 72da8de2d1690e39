//! `sessionctl store`: looks a data directory's store over, copies it while a server has it, brings a copy back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, json};

use super::exit::{Again, Exit, Failure, advice};
use super::findings::Findings;
use super::output::{Format, Output};
use super::target::{Data, default_data_directory};
use super::text::counted;
use super::{Connection, Environment, quoted};
use crate::admin::Actor;
use crate::audit::Action;
use crate::clock::Clock;
use crate::session::Seq;
use crate::store::Census;
use crate::store::directory::{DataDir, DirectoryError};
use crate::store::sqlite::{
    BackupError, CheckedStore, CloseAll, Over, RestoreError, Restored, Restoring, back_up, check,
};
use crate::wire::SCHEMA;

/// What `--help` begins with.
pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl store check                          is the store whole
  sessionctl store backup FILE                    copy it, also while a server has it
  sessionctl --local DIR store restore FILE --yes bring the copy back; no server may have DIR";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look the store over, from the file to every value; exit code 10 if something is wrong
    Check,
    /// Copy the store into a new file: what is on disk at one moment, also while a server has it
    Backup(BackupArguments),
    /// Bring a backup back. What was closed since stays closed: sessions of the backup live on only where the store that is
    /// there is the one it was made of and can be read; else all of them end, cause restored, and every admin token is revoked
    Restore(RestoreArguments),
}

#[derive(Debug, Args)]
struct BackupArguments {
    /// The file to make; nothing is written over
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
struct RestoreArguments {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Go ahead: sessions may end by it
    #[arg(long)]
    yes: bool,
    /// Only tell what would happen
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

pub(super) fn run(
    arguments: Arguments,
    connection: &Connection,
    environment: &Environment,
    clock: &Arc<dyn Clock>,
    output: &mut Output,
) -> Result<Exit> {
    let directory = match Data::resolve(connection, environment)? {
        Data::Named(directory) => directory,
        Data::Default => default_data_directory(environment)?,
        Data::OfServer => {
            let text = "the store is a directory's; a server does not give it away";
            return Err(Failure::new(Exit::Usage, text)
                .advise("name the server's data directory with --local DIR, on its machine")
                .into());
        }
    };
    output.tell_details(&format!("directory: {}", directory.display()));
    match arguments.command {
        Command::Check => check_store(&directory, output),
        Command::Backup(BackupArguments { file }) => backup(&directory, &file, output),
        Command::Restore(arguments) => restore(&directory, &arguments, clock, output),
    }
}

fn check_store(directory: &Path, output: &mut Output) -> Result<Exit> {
    let mut findings = Findings::default();
    let mut more = Map::from_iter([(
        "directory".to_owned(),
        json!(directory.display().to_string()),
    )]);
    match DataDir::database_in_use(directory) {
        Ok(database) => {
            let looked = look_over(directory, &database, output.again(), &mut findings);
            let (census, last) = looked.unwrap_or_default();
            more.insert("sessions".into(), json!(census.map(count_of)));
            more.insert("seq".into(), json!(last));
        }
        Err(error @ (DirectoryError::Lost(_) | DirectoryError::HalfRestored(_))) => {
            let fix = restore_command(directory);
            findings.fail("the store is there", error.to_string(), Some(fix));
        }
        Err(error) => return Err(error.into()),
    }
    findings.write(output, more)
}

/// Looks a store over; answers what is in it and its last change, as far as they can be read.
pub(super) fn look_over(
    directory: &Path,
    database: &Path,
    again: Again<'_>,
    findings: &mut Findings,
) -> Option<(Option<Census>, Option<Seq>)> {
    let CheckedStore {
        findings: checks,
        census,
        last,
    } = match check(database) {
        Ok(checked) => checked,
        Err(error) => {
            let error = anyhow::Error::from(error);
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            let fix = advice(&error, again);
            findings.fail("the store can be read", causes.join(": "), fix);
            return None;
        }
    };
    for (check, wrong) in checks {
        match wrong {
            Some(wrong) => findings.fail(check, wrong, Some(restore_command(directory))),
            None => findings.ok(check),
        }
    }
    if let Some(census) = census {
        findings.ok(format!(
            "it has {}",
            counted(count_of(census), "session", "sessions")
        ));
    }
    Some((census, last))
}

fn count_of(census: Census) -> u64 {
    census.active + census.suspended + census.closing
}

fn backup(directory: &Path, file: &Path, output: &mut Output) -> Result<Exit> {
    let database = DataDir::database_in_use(directory)?;
    let made = back_up(&database, file).map_err(|error| match error {
        BackupError::Store(error) => anyhow::Error::from(error),
        error @ (BackupError::Exists(_) | BackupError::Empty(_)) => {
            Failure::new(Exit::Refused, error.to_string()).into()
        }
        error => error.into(),
    })?;
    let sessions = count_of(made.census);
    match output.format {
        Format::Json | Format::Jsonl => output.json(&json!({
            "schema": SCHEMA,
            "file": file.display().to_string(),
            "sessions": sessions,
            "bytes": made.bytes,
            "seq": made.last,
        }))?,
        _ if output.quiet => {}
        Format::Table | Format::Csv | Format::Uuid => output.line(&format!(
            "backed up {} to {} ({} bytes)",
            counted(sessions, "session", "sessions"),
            file.display(),
            made.bytes
        ))?,
    }
    Ok(Exit::Done)
}

fn restore(
    directory: &Path,
    arguments: &RestoreArguments,
    clock: &Arc<dyn Clock>,
    output: &mut Output,
) -> Result<Exit> {
    // Before anything is made.
    if let Err(error) = std::fs::File::open(&arguments.file) {
        let text = format!("cannot read {}", arguments.file.display());
        return Err(Failure::new(Exit::Failure, text).caused_by(error).into());
    }
    let taken = DataDir::for_restoring(directory).map_err(|error| match error {
        DirectoryError::InUse { .. } => {
            let failure = Failure::new(Exit::Refused, error.to_string());
            anyhow::Error::from(failure.advise("end that one first, then the same command again"))
        }
        error => error.into(),
    })?;
    let restoring = Restoring::prepare(taken, &arguments.file).map_err(in_words)?;
    for line in plan(&restoring, directory) {
        output.tell(&line);
    }
    if arguments.dry_run {
        return Ok(Exit::Done);
    }
    if !arguments.yes {
        let failure = Failure::new(Exit::Usage, "nothing was changed: this is to be confirmed");
        return Err(failure
            .advise(format!("{} --yes", restore_of(directory, &arguments.file)))
            .into());
    }
    let now = clock.now();
    let order = CloseAll {
        actor: Actor::user(rustix::process::geteuid().as_raw()),
        now,
        action: Action::RestoreStore,
    };
    let suffix = now.to_string().replace([':', '.'], "-");
    let restored = restoring.finish(&order, &suffix).map_err(in_words)?;
    write_restored(directory, &restored, output)
}

fn write_restored(directory: &Path, restored: &Restored, output: &mut Output) -> Result<Exit> {
    let Restored {
        closed,
        live,
        tokens_revoked,
        replaced,
    } = restored;
    match output.format {
        Format::Json | Format::Jsonl => output.json(&json!({
            "schema": SCHEMA,
            "directory": directory.display().to_string(),
            "live": live,
            "ended": closed,
            "tokens_revoked": tokens_revoked,
            "replaced": replaced.as_ref().map(|path| path.display().to_string()),
        }))?,
        _ if output.quiet => {}
        Format::Table | Format::Csv | Format::Uuid => {
            output.line(&format!(
                "restored {}: {} live on, {} ended",
                directory.display(),
                counted(*live, "session", "sessions"),
                closed
            ))?;
            if let Some(replaced) = replaced {
                output.line(&format!(
                    "the store that was there is in {}",
                    replaced.display()
                ))?;
            }
        }
    }
    if *closed > 0 && !output.quiet {
        output.tell("note: the next server runs their on-close methods, if it has one");
    }
    if *tokens_revoked > 0 && !output.quiet {
        output.tell(&format!("note: {}", revoked_tokens(*tokens_revoked)));
    }
    Ok(Exit::Done)
}

/// What operators are told of tokens that are revoked because nobody knows which of them had been.
pub(super) fn revoked_tokens(number: usize) -> String {
    format!(
        "{} revoked; make new ones with `sessionctl token create`",
        match number {
            1 => "1 admin token was".into(),
            number => format!("{number} admin tokens were"),
        }
    )
}

/// What would happen, told before it does.
fn plan(restoring: &Restoring, directory: &Path) -> Vec<String> {
    let (directory, sessions) = (
        directory.display(),
        counted(restoring.live(), "live session", "live sessions"),
    );
    let there = match restoring.over() {
        Over::Same { newer } => {
            return vec![
                format!("the backup was made of the store in {directory}, and has {sessions}"),
                format!(
                    "what was closed since stays closed; {} since and end, cause restored",
                    match newer {
                        1 => "1 session was opened".into(),
                        newer => format!("{newer} sessions were opened"),
                    }
                ),
                "the others live on, with the variables and selections of the backup".into(),
            ];
        }
        Over::Nothing => format!("there is no store in {directory}"),
        Over::Older => format!(
            "the store in {directory} is an older copy of the one that the backup was made of; it is put aside"
        ),
        Over::Another(live) => format!(
            "the store in {directory} is not known to be the one that the backup was made of; it is put aside, with {}",
            counted(*live, "live session", "live sessions")
        ),
        Over::Unreadable(error) => {
            format!("the store in {directory} cannot be relied on, and is put aside: {error}")
        }
    };
    let mut lines = vec![
        there,
        format!(
            "the backup has {sessions}: every one ends, cause restored, since nobody knows what was closed after the backup"
        ),
    ];
    if restoring.tokens() > 0 {
        lines.push(format!(
            "it has {}: every one is revoked, since nobody knows which were revoked after the backup",
            counted(restoring.tokens() as u64, "admin token", "admin tokens")
        ));
    }
    lines
}

fn in_words(error: RestoreError) -> anyhow::Error {
    let text = error.to_string();
    match error {
        RestoreError::Backup { source, .. } => Failure::new(Exit::Refused, text)
            .caused_by(source)
            .advise("another backup; what is in the directory is as it was")
            .into(),
        // With what to try.
        RestoreError::Store(error) => error.into(),
        error => error.into(),
    }
}

fn restore_command(directory: &Path) -> String {
    restore_of(directory, Path::new("BACKUP"))
}

fn restore_of(directory: &Path, file: &Path) -> String {
    format!(
        "sessionctl --local {} store restore {}",
        quoted(&directory.to_string_lossy()),
        quoted(&file.to_string_lossy())
    )
}
