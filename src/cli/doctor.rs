//! `sessionctl doctor`: whether a server and its data directory are well, and what to do where they are not.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use serde_json::Map;
use tokio::time::Instant;

use super::exit::{Exit, advice};
use super::findings::Findings;
use super::output::Output;
use super::target::{Access, Context, Operation, Target, default_data_directory};
use super::{Asker, Environment, one_thread, store};
use crate::admin::{Admin, ListQuery, Stats};
use crate::clock::Clock;
use crate::error::Error;
use crate::store::directory::DataDir;

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
    let is_local_only =
        connection.local.is_some() || environment.path("SESSIONCTL_LOCAL").is_some();
    if !is_local_only {
        let target = Target::resolve(&connection, &environment)?;
        look_at_server(&target, &environment, clock, &mut findings, output)?;
    }
    let directory = match (&connection.local, environment.path("SESSIONCTL_LOCAL")) {
        (Some(directory), _) => Some(directory.clone()),
        (None, Some(directory)) => Some(directory),
        // What a server far away keeps is not here; what is here may be nobody's.
        (None, None) if connection.server.is_some() => None,
        (None, None) => default_data_directory(&environment)
            .ok()
            .filter(|directory| directory.exists()),
    };
    if let Some(directory) = directory {
        look_at_directory(&directory, &output.program, &mut findings);
    }
    findings.write(output, Map::new())
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

    fn check(&mut self) -> Result<()> {
        Ok(())
    }

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
                    "it acknowledges changes",
                    error.to_string(),
                    Some(
                        "look into its log for the disk error, mend it, restart the server".into(),
                    ),
                );
                return Ok(Exit::Done);
            }
            Err(error) => return Ok(does_not_answer(findings, answers, error, &output.program)),
        }
        // Ready is what any server may call itself; only a session server's admin API has a list.
        if let Err(error) = admin.list(none).await {
            return Ok(does_not_answer(
                findings,
                "it lets you in".into(),
                error,
                &output.program,
            ));
        }
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        findings.ok(format!("it acknowledges changes ({milliseconds:.1} ms)"));
        if let Ok(stats) = admin.stats().await {
            look_at_stats(findings, &stats);
        }
        Ok(Exit::Done)
    }
}

fn does_not_answer(findings: &mut Findings, check: String, error: Error, program: &str) -> Exit {
    let error = anyhow::Error::from(error);
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    findings.fail(check, causes.join(": "), advice(&error, program));
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

fn look_at_directory(directory: &Path, program: &str, findings: &mut Findings) {
    let shown = directory.display();
    let database = match DataDir::database_in_use(directory) {
        Ok(database) => database,
        Err(error) => {
            let error = anyhow::Error::from(error);
            let fix = advice(&error, program);
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
    match crate::store::sqlite::check(&database) {
        Ok(checked) => store::add_findings(directory, checked, findings),
        Err(error) => {
            let error = anyhow::Error::from(error);
            let fix = advice(&error, program);
            findings.fail("the store can be read", error.to_string(), fix);
        }
    }
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
            Some(format!("chmod -R go= {}", directory.display())),
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
