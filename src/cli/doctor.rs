//! `sessionctl doctor`: whether a server and its data directory are well, and what to do where they are not.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use serde_json::Map;
use tokio::time::Instant;

use super::exit::{Again, Exit, advice};
use super::findings::Findings;
use super::output::Output;
use super::target::{Access, Context, Data, Operation, Target, default_data_directory};
use super::{Asker, Environment, one_thread, quoted, store};
use crate::admin::{Admin, ListQuery, Stats};
use crate::clock::Clock;
use crate::error::Error;
use crate::store::directory::{DataDir, DirectoryError};

/// What `--help` begins with.
pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl doctor                  the server of this machine and its data
  sessionctl --server ADDRESS doctor a server alone
  sessionctl --local DIR doctor      a data directory alone";

/// Free bytes of the data directory's disk below which a server soon stops.
const LEAST_FREE: u64 = 16 * 1024 * 1024;

/// Free bytes that leave time to do something.
const ENOUGH_FREE: u64 = 256 * 1024 * 1024;

/// A server is only asked whether it has stopped: no change is made to see one acknowledged.
const ACKNOWLEDGES: &str = "it has not stopped acknowledging changes";

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn run(asker: Asker<'_>) -> Result<Exit> {
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
        look_at_server(&target, &environment, clock, &mut findings, output)?;
    }
    let directory = match data {
        Data::Named(directory) => Some(directory),
        Data::Default => own_default_directory(&environment, output),
        // What a server keeps that was named may be far away, and what is here another's.
        Data::OfServer => None,
    };
    if let Some(directory) = directory {
        look_at_directory(&directory, output.again(), &mut findings);
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

fn look_at_server(
    target: &Target,
    environment: &Environment,
    clock: Arc<dyn Clock>,
    findings: &mut Findings,
    output: &mut Output,
) -> Result<()> {
    let look = Look(findings);
    let looked = one_thread()?.block_on(target.perform(look, output, environment, clock));
    looked.map(drop)
}

/// Looks at a server.
struct Look<'a>(&'a mut Findings);

impl Operation for Look<'_> {
    const ACCESS: Access = Access::ServerOnly;

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let findings = self.0;
        let started = Instant::now();
        let none = ListQuery {
            limit: Some(0),
            ..ListQuery::default()
        };
        let ready = admin.ready().await;
        let answers = format!("the server at {} answers", context.name);
        match &ready {
            Ok(()) | Err(Error::Unavailable(_) | Error::Busy { .. }) => {
                findings.ok(answers.as_str())
            }
            Err(_) => {}
        }
        match ready {
            Ok(()) => {}
            Err(error @ (Error::Unavailable(_) | Error::Busy { .. })) => {
                findings.fail(
                    ACKNOWLEDGES,
                    error.to_string(),
                    Some(
                        "look into its log for the disk error, mend it, restart the server".into(),
                    ),
                );
                return Ok(Exit::Done);
            }
            Err(error) => return Ok(does_not_answer(findings, answers, error, output.again())),
        }
        // Ready is what any server may call itself; only a session server's admin API has a list.
        if let Err(error) = admin.list(none).await {
            return Ok(does_not_answer(
                findings,
                "it lets you in".into(),
                error,
                output.again(),
            ));
        }
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        findings.ok(format!("{ACKNOWLEDGES} ({milliseconds:.1} ms)"));
        if let Ok(stats) = admin.stats().await {
            look_at_stats(findings, &stats);
        }
        Ok(Exit::Done)
    }
}

fn does_not_answer(findings: &mut Findings, check: String, error: Error, again: Again<'_>) -> Exit {
    let error = anyhow::Error::from(error);
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    findings.fail(check, causes.join(": "), advice(&error, again));
    Exit::Done
}

fn look_at_stats(findings: &mut Findings, stats: &Stats) {
    let Stats {
        counted,
        max_sessions,
        ..
    } = *stats;
    let check = format!("there is room for sessions ({counted} of {max_sessions})");
    if counted >= max_sessions {
        findings.warn(
            check,
            "the next newcomer ends who is idle, or is refused",
            "sessionctl options set max_sessions N",
        );
    } else {
        findings.ok(check);
    }
    if stats.late > 0 {
        findings.warn(
            "on-close methods run in time",
            format!(
                "{} have not run before their closing had to end",
                stats.late
            ),
            "look into the server's log for methods that are slow or fail",
        );
    }
}

fn look_at_directory(directory: &Path, again: Again<'_>, findings: &mut Findings) {
    let shown = directory.display();
    let database = match DataDir::database_in_use(directory) {
        Ok(database) => database,
        Err(error) => {
            let error = anyhow::Error::from(error);
            let fix = advice(&error, again);
            findings.fail(
                format!("{shown} is a data directory"),
                error.to_string(),
                fix,
            );
            return;
        }
    };
    findings.ok(format!("{shown} is a data directory of this user"));
    look_at_modes(directory, findings);
    look_at_room(directory, findings);
    store::look_over(directory, &database, again, findings);
}

/// Nobody else may look into it (S46).
fn look_at_modes(directory: &Path, findings: &mut Findings) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let loose: Vec<String> = entries
        .filter(|entry| {
            let mode = entry.metadata().map(|metadata| metadata.mode());
            mode.is_ok_and(|mode| mode & 0o077 != 0)
        })
        .map(|entry| entry.path().display().to_string())
        .collect();
    let check = "its files are closed to others";
    if loose.is_empty() {
        findings.ok(check);
    } else {
        findings.fail(
            check,
            format!("others may use {}", loose.join(", ")),
            Some(format!(
                "chmod -R go= {}",
                quoted(&directory.to_string_lossy())
            )),
        );
    }
}

/// A server whose disk is full stops acknowledging.
fn look_at_room(directory: &Path, findings: &mut Findings) {
    let Ok(room) = rustix::fs::statvfs(directory) else {
        return;
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let check = format!("its disk has room ({} MiB)", free / (1024 * 1024));
    let detail = "a server that cannot write acknowledges nothing";
    let fix = "make room on the disk, or move the directory to another";
    match free {
        ..LEAST_FREE => findings.fail(check, detail, Some(fix.into())),
        LEAST_FREE..ENOUGH_FREE => findings.warn(check, detail, fix),
        ENOUGH_FREE.. => findings.ok(check),
    }
}
