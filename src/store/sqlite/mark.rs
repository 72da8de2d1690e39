//! The high-water mark: a small file beside the database that names the last change that was acknowledged. A database that
//! has less was cut, or is an older copy: what it lacks would come back to life (S11, S12).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::OpenError;
use crate::session::Seq;
use crate::store::directory::MARK;

/// Which store a database is: a copy has the same, another store another one.
pub(super) type Identity = [u8; 16];

/// Writes the mark after each commit. It is not synced: after a crash of the machine it may be behind, never ahead.
pub(super) struct Mark {
    file: File,
    identity: Identity,
}

impl Mark {
    /// Opens the mark of the database at `path`, for changes.
    pub(super) fn open(path: &Path, identity: Identity) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(beside(path))?;
        Ok(Self { file, identity })
    }

    /// Everything up to `seq` is acknowledged from here on.
    pub(super) fn set(&self, seq: Seq) -> io::Result<()> {
        self.file
            .write_all_at(text(self.identity, seq).as_bytes(), 0)
    }
}

/// What a database tells of itself without being read as a whole.
pub(super) struct Known {
    /// An older version's does not tell.
    pub(super) identity: Option<Identity>,
    /// Which store it was before all of its sessions were closed: if that was cut off, the mark is still that one's.
    pub(super) before: Option<Identity>,
    /// The last change that it has.
    pub(super) last: Seq,
    pub(super) is_backup: bool,
}

/// Refuses a database that is not the one that acknowledged changes, or has less of them. Without a mark, or with one that
/// cannot be read, as after the machine lost its power, nothing is known.
pub(super) fn check(
    path: &Path,
    marked: Option<(Identity, Seq)>,
    known: &Known,
) -> Result<(), OpenError> {
    if known.is_backup {
        return Err(OpenError::Backup(path.into()));
    }
    let Some((marked, acknowledged)) = marked else {
        return Ok(());
    };
    // A mark is made by a version that gives its store an identity.
    if known.identity != Some(marked) && known.before != Some(marked) {
        return Err(OpenError::AnotherStore(path.into()));
    }
    if acknowledged > known.last {
        return Err(OpenError::LostChanges {
            path: path.into(),
            acknowledged: acknowledged.0,
            found: known.last.0,
        });
    }
    Ok(())
}

/// The mark beside the database at `path`.
pub(super) fn read(path: &Path) -> Option<(Identity, Seq)> {
    let found = std::fs::read_to_string(beside(path)).ok()?;
    let (identity, rest) = found.split_at_checked(32)?;
    let identity = u128::from_str_radix(identity, 16).ok()?.to_be_bytes();
    let seq = Seq(rest.get(1..21)?.trim_start().parse().ok()?);
    // Whatever else it says was not written by this program, or only in part.
    (found == text(identity, seq)).then_some((identity, seq))
}

fn beside(path: &Path) -> PathBuf {
    path.with_file_name(MARK)
}

/// What the file says: an identity, a number, and a sum that shows a file which was written in part. It is always as long, so
/// that writing it over needs no room on the disk.
fn text(identity: Identity, seq: Seq) -> String {
    let body = format!("{:032x} {:>20}", u128::from_be_bytes(identity), seq.0);
    let sum = Sha256::digest(&body);
    let sum = sum.iter().take(8).map(|byte| format!("{byte:02x}"));
    format!("{body} {}\n", sum.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Identity = [7; 16];

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("sessions.sqlite");
        assert!(read(&database).is_none(), "there is none yet");
        let mark = Mark::open(&database, ID).unwrap();
        for seq in [Seq(0), Seq(41), Seq(u64::MAX), Seq(42)] {
            mark.set(seq).unwrap();
            assert_eq!(read(&database), Some((ID, seq)));
        }
        let known = |identity, before, last| {
            let last = Seq(last);
            let known = Known {
                identity,
                before,
                last,
                is_backup: false,
            };
            check(&database, read(&database), &known)
        };
        known(Some(ID), None, 42).unwrap();
        let backup = Known {
            identity: Some(ID),
            before: None,
            last: Seq(42),
            is_backup: true,
        };
        assert!(matches!(
            check(&database, None, &backup),
            Err(OpenError::Backup(_))
        ));
        known(Some([8; 16]), Some(ID), 99).unwrap();
        for (identity, before, last) in [
            (Some([8; 16]), None, 42),
            (None, None, 42),
            (None, None, 0),
            (Some([8; 16]), Some([9; 16]), 99),
        ] {
            assert!(matches!(
                known(identity, before, last),
                Err(OpenError::AnotherStore(_))
            ));
        }
        assert!(matches!(
            known(Some(ID), None, 41),
            Err(OpenError::LostChanges { .. })
        ));
    }

    #[test]
    fn half_a_mark_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("sessions.sqlite");
        let whole = text(ID, Seq(1_234_567));
        for length in 0..whole.len() {
            std::fs::write(beside(&database), &whole[..length]).unwrap();
            assert!(read(&database).is_none(), "{length}");
            let mut torn = whole.clone().into_bytes();
            torn[length..].fill(0);
            std::fs::write(beside(&database), torn).unwrap();
            assert!(read(&database).is_none(), "{length}");
        }
    }
}
