//! Looks at a data directory, whether or not a server has it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::super::exit::Again;
use super::super::findings::Findings;
use super::super::{quoted, store};
use crate::store::directory::DataDir;

/// Free bytes of the data directory's disk below which a server soon stops.
const LEAST_FREE: u64 = 16 * 1024 * 1024;

/// Free bytes that leave time to do something.
const ENOUGH_FREE: u64 = 256 * 1024 * 1024;

pub(super) fn look(directory: &Path, again: Again<'_>, findings: &mut Findings) {
    let shown = directory.display();
    let database = match DataDir::database_in_use(directory) {
        Ok(database) => database,
        Err(error) => {
            findings.fault(format!("{shown} is a data directory"), error, again);
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
