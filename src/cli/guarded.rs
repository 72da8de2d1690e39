//! Files that say whom to trust, or hold a secret: read only if nobody else had them in hand (S46).

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::exit::{Exit, Failure};
use super::quoted;

/// Bytes of a file that are read at most.
const LIMIT: u64 = 1024 * 1024;

/// What others may not do with a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guard {
    /// Neither its group nor anybody else writes it.
    NobodyElseWrites,
    /// The same, and only its group may read it.
    NobodyElseReads,
}

impl Guard {
    fn forbidden(self) -> u32 {
        match self {
            Self::NobodyElseWrites => 0o022,
            Self::NobodyElseReads => 0o027,
        }
    }

    fn found(self, mode: u32) -> &'static str {
        match self {
            Self::NobodyElseReads if mode & 0o007 != 0 => "others can use",
            Self::NobodyElseReads | Self::NobodyElseWrites => "others can write",
        }
    }

    fn fix(self) -> &'static str {
        match self {
            Self::NobodyElseWrites => "chmod go-w",
            Self::NobodyElseReads => "chmod g-w,o=",
        }
    }
}

/// Reads a file that belongs to root or to this user, called `user` in advice, and that is guarded like this. A link is
/// followed: what counts is the file that was opened in the end, whose owner and mode are looked at once it is open, so that
/// nobody exchanges it in between. Who may write the directories on the way is for the administrator to know.
///
/// # Errors
/// A [`Failure`] with the exit code of a configuration that `serve` cannot start with.
pub(super) fn read(path: &Path, guard: Guard, user: &str) -> Result<Vec<u8>> {
    let shown = path.display();
    // A pipe would wait for whoever writes into it.
    let no_wait = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(no_wait)
        .open(path)
        .with_context(|| format!("cannot read {shown}"))?;
    let metadata = file
        .metadata()
        .with_context(|| format!("cannot look at {shown}"))?;
    let refused = |text: String| Failure::new(Exit::Config, text);
    if !metadata.is_file() {
        return Err(refused(format!("{shown} is not a file")).into());
    }
    let (me, mode) = (rustix::process::geteuid().as_raw(), metadata.mode());
    let word = path.to_string_lossy();
    if mode & guard.forbidden() != 0 {
        let found = guard.found(mode);
        return Err(refused(format!("{found} {shown}"))
            .advise(format!("{} {}", guard.fix(), quoted(&word)))
            .into());
    }
    if metadata.uid() != me && metadata.uid() != 0 {
        let owner = metadata.uid();
        let text = format!("others can write {shown}: it belongs to uid {owner}");
        return Err(refused(text)
            .advise(format!(
                "give it to root, or to {user}: chown {me} {}",
                quoted(&word)
            ))
            .into());
    }
    let mut bytes = Vec::new();
    file.take(LIMIT)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {shown}"))?;
    Ok(bytes)
}

/// The same for a file of text.
pub(super) fn read_text(path: &Path, guard: Guard, user: &str) -> Result<String> {
    let bytes = read(path, guard, user)?;
    String::from_utf8(bytes).with_context(|| format!("{} is not text in UTF-8", path.display()))
}

/// A mistake in a TOML file, with its line.
pub(super) fn toml_mistake(text: &str, error: &toml::de::Error) -> String {
    let line = error
        .span()
        .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let line = line
        .map(|line| format!("line {line}: "))
        .unwrap_or_default();
    format!("{line}{}", error.message())
}
