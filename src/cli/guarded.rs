//! Files that say whom to trust, or hold a secret: read only if nobody else had them in hand (S46).

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::exit::{Exit, Failure};
use super::quoted;

/// Bytes of a file that is read: all authorities of a system are a quarter of that.
const LIMIT: u64 = 1024 * 1024;

/// What others may not do with a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guard {
    /// Neither its group nor anybody else writes it.
    NobodyElseWrites,
    /// The same, and only its group may read it.
    NobodyElseReads,
    /// Nobody but this user has it in hand, whose file it is itself: no link leads to it.
    OnlyFor(u32),
}

impl Guard {
    fn forbidden(self) -> u32 {
        match self {
            Self::NobodyElseWrites => 0o022,
            Self::NobodyElseReads => 0o027,
            Self::OnlyFor(_) => 0o077,
        }
    }

    fn flags(self) -> OFlags {
        // A pipe would wait for whoever writes into it.
        match self {
            Self::NobodyElseWrites | Self::NobodyElseReads => OFlags::NONBLOCK,
            Self::OnlyFor(_) => OFlags::NONBLOCK | OFlags::NOFOLLOW,
        }
    }

    /// Whose file it has to be, if it is not root's.
    fn owner(self) -> u32 {
        match self {
            Self::NobodyElseWrites | Self::NobodyElseReads => rustix::process::geteuid().as_raw(),
            Self::OnlyFor(owner) => owner,
        }
    }

    fn allows_root(self) -> bool {
        matches!(self, Self::NobodyElseWrites | Self::NobodyElseReads)
    }

    fn found(self, mode: u32) -> &'static str {
        match self {
            Self::NobodyElseReads if mode & 0o007 != 0 => "others can use",
            Self::NobodyElseReads | Self::NobodyElseWrites => "others can write",
            Self::OnlyFor(_) if mode & 0o044 != 0 => "others can read",
            Self::OnlyFor(_) => "others can use",
        }
    }

    fn fix(self, word: &str) -> String {
        match self {
            Self::NobodyElseWrites => format!("chmod go-w {word}"),
            Self::NobodyElseReads => format!("chmod g-w,o= {word}"),
            Self::OnlyFor(_) => {
                format!("chmod 600 {word}; whoever may have read it has it still: better a new one")
            }
        }
    }
}

/// Reads a file that is guarded like this, and that belongs to root or to this user, called `user` in advice. A link is
/// followed, unless the file is for one user alone: what counts is the file that was opened in the end, whose owner and mode
/// are looked at once it is open, so that nobody exchanges it in between. Who may write the directories on the way is for the
/// administrator to know.
///
/// # Errors
/// A [`Failure`] with the exit code of a configuration that `serve` cannot start with; another error if there is nothing to
/// read.
pub(super) fn read(path: &Path, guard: Guard, user: &str) -> Result<Vec<u8>> {
    let shown = path.display();
    let word = path.to_string_lossy();
    let word = quoted(&word);
    let refused = |text: String| Failure::new(Exit::Config, text);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(guard.flags().bits()).unwrap_or_default())
        .open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(refused(format!("{shown} is a link"))
                .advise(format!("name the file itself: readlink -f {word}"))
                .into());
        }
        opened => opened.with_context(|| format!("cannot read {shown}"))?,
    };
    let metadata = file
        .metadata()
        .with_context(|| format!("cannot look at {shown}"))?;
    if !metadata.is_file() {
        return Err(refused(format!("{shown} is not a file")).into());
    }
    let mode = metadata.mode();
    if mode & guard.forbidden() != 0 {
        let found = guard.found(mode);
        return Err(refused(format!("{found} {shown}"))
            .advise(guard.fix(&word))
            .into());
    }
    let (owner, expected) = (metadata.uid(), guard.owner());
    if owner != expected && !(guard.allows_root() && owner == 0) {
        let text = format!("others can write {shown}: it belongs to uid {owner}");
        let whom = match guard.allows_root() {
            true => format!("root, or to {user}"),
            false => user.to_owned(),
        };
        return Err(refused(text)
            .advise(format!("give it to {whom}: chown {expected} {word}"))
            .into());
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {shown}"))?;
    // Half a file may say the opposite of the whole.
    if bytes.len() as u64 > LIMIT {
        return Err(refused(format!("{shown} has more than {LIMIT} bytes")).into());
    }
    Ok(bytes)
}

/// What a command says of a file that it is not to read: it denies, where `serve` is configured wrongly.
pub(super) fn denied(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => failure.with_exit(Exit::Denied).into(),
        Err(error) => error,
    }
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
