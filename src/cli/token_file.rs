//! Files that hold a token, for their owner alone (S46).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::exit::{Exit, Failure};
use super::guarded::{self, Guard};
use crate::token::Token;

/// Reads a token from a file that nobody but this user has in hand.
pub(super) fn read_token(path: &Path) -> Result<Token> {
    read_token_of(path, rustix::process::geteuid().as_raw())
}

/// Reads a token from a file that nobody but this owner has in hand, and root, who may read every file.
pub(super) fn read_token_of(path: &Path, owner: u32) -> Result<Token> {
    let denied = |text: String| {
        Failure::new(Exit::Denied, text).advise("--token-file FILE with the file that serve wrote")
    };
    let guard = Guard::OnlyFor(owner);
    let bytes = guarded::read(path, guard, "whose token it is")
        .map_err(guarded::denied)
        .map_err(|error| match error.is::<Failure>() {
            true => error,
            false => denied(format!("{error:#}")).into(),
        })?;
    let token = std::str::from_utf8(&bytes).ok().map(str::trim);
    token
        .and_then(Token::parse)
        .ok_or_else(|| denied(format!("{} does not hold a token", path.display())).into())
}

/// A file that was not there before, empty still.
pub(super) struct NewTokenFile {
    path: PathBuf,
    file: File,
}

impl NewTokenFile {
    /// Makes the file; refuses one that is there, whatever it is.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let file =
            file.with_context(|| format!("cannot make the token file {}", path.display()))?;
        Ok(Self {
            path: path.into(),
            file,
        })
    }

    /// Writes the token, and sees to it that it stays. A file that it did not come into whole is taken away again: it would
    /// stand in the way of the next one.
    pub(super) fn write(mut self, token: &Token) -> Result<()> {
        let line = format!("{}\n", token.expose());
        let written = self.file.write_all(line.as_bytes());
        let written = written
            .and_then(|()| self.file.sync_all())
            .and_then(|()| self.sync_directory())
            .with_context(|| format!("cannot write the token file {}", self.path.display()));
        if written.is_err() {
            self.remove();
        }
        written
    }

    /// A file that was just made is on disk only when its directory is.
    fn sync_directory(&self) -> io::Result<()> {
        let parent = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        match File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()) {
            // One that may be entered and not read cannot be synced by us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }

    /// Takes the file away.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_cannot_be_written_leaves_no_file_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let mut made = NewTokenFile::create(&path).unwrap();
        // One that takes nothing.
        made.file = File::open(&path).unwrap();
        let refused = made.write(&Token::mint().unwrap()).unwrap_err();
        assert!(
            refused.to_string().contains("cannot write the token file"),
            "{refused:#}"
        );
        assert!(!path.exists());
        NewTokenFile::create(&path).unwrap();
    }
}
