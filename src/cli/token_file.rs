//! Files that hold a token, for their owner alone (S46).

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::token::Token;

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

    /// Writes the token, and sees to it that it stays.
    pub(super) fn write(mut self, token: &Token) -> Result<()> {
        let line = format!("{}\n", token.expose());
        let written = self.file.write_all(line.as_bytes());
        written
            .and_then(|()| self.file.sync_all())
            .with_context(|| format!("cannot write the token file {}", self.path.display()))
    }

    /// Takes the file away that nothing came into.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}
