//! Where `serve` listens: its ports, its socket, and the token that a port asks for.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use tokio::net::{TcpListener, UnixListener};

use super::exit::{Again, Exit, Failure, advice};
use super::method::absolute;
use super::output::PROGRAM;
use super::quoted;
use super::token_file::{NewTokenFile, read_token};
use crate::server::{AdminListener, Tls};
use crate::token::{Token, TokenHash};

/// Where the admin API is to listen.
#[derive(Clone, Debug)]
pub(super) enum AdminAddress {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("unix: is followed by a path".into()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "neither unix:PATH nor ADDRESS:PORT".into()),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// The file of a unix socket; removed at the end if it is still the one that was made.
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: PathBuf) -> io::Result<Self> {
        let metadata = path.symlink_metadata()?;
        Ok(Self {
            path,
            identity: (metadata.dev(), metadata.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = self.path.symlink_metadata();
        if found.is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds a port; `flag` is what the operator would change.
pub(super) async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    let failure = |error| {
        let text = format!("cannot listen on {address}");
        let free = SocketAddr::new(address.ip(), 0);
        let failure = Failure::new(Exit::Config, text).caused_by(anyhow::Error::from(error));
        failure.advise(format!(
            "{flag} with another port; {flag} {free} takes a free one"
        ))
    };
    bound.map_err(|error| failure(error).into())
}

/// Refuses an admin address that lets in whom it should not.
pub(super) fn check_admin(
    address: &AdminAddress,
    token_file: Option<&Path>,
    has_tls: bool,
) -> Result<()> {
    let (text, advice) = match address {
        AdminAddress::Unix(_) if has_tls => (
            "--tls-cert is for an admin address with a port; nothing of a socket crosses a network".into(),
            "--admin ADDRESS:PORT --admin-token-file FILE, or neither --tls-cert nor --tls-key",
        ),
        AdminAddress::Unix(_) if token_file.is_some() => (
            "--admin-token-file is for an admin address with a port; a socket needs no token".into(),
            "--admin 127.0.0.1:PORT, or no --admin-token-file",
        ),
        AdminAddress::Tcp(address) if !address.ip().is_loopback() && !has_tls => (
            format!("the admin API does not listen on {address} without TLS: beyond loopback, what is sent could be read"),
            "--tls-cert FILE --tls-key FILE --admin-token-file FILE, or --admin unix:PATH, or --admin 127.0.0.1:PORT",
        ),
        AdminAddress::Tcp(address) if !address.ip().is_loopback() && token_file.is_none() => (
            format!("the admin API does not listen on {address} without a token: anybody on the network could connect to it"),
            "--admin-token-file FILE; serve makes it if it is not there",
        ),
        AdminAddress::Tcp(_) if token_file.is_none() => (
            "an admin address with a port needs a token: any user of this machine can connect to it".into(),
            "--admin-token-file FILE, or --admin unix:PATH",
        ),
        AdminAddress::Unix(_) | AdminAddress::Tcp(_) => return Ok(()),
    };
    Err(Failure::new(Exit::Config, text).advise(advice).into())
}

/// Binds the admin listener; answers its address, and its socket's file if it has one.
pub(super) async fn bind_admin(
    address: AdminAddress,
    token_file: Option<&Path>,
    is_for_groups: bool,
    tls: Option<Tls>,
) -> Result<(AdminListener, String, Option<SocketFile>)> {
    check_admin(&address, token_file, tls.is_some())?;
    match (address, token_file) {
        (AdminAddress::Tcp(address), Some(token_file)) => {
            let token = ensure_token(token_file)?;
            let listener = bind(address, "--admin").await?;
            let bound = listener.local_addr()?;
            Ok(match tls {
                Some(tls) => {
                    let listener = AdminListener::Tls(listener, tls, token);
                    (listener, format!("https://{bound}"), None)
                }
                None => {
                    let listener = AdminListener::Tcp(listener, token);
                    (listener, format!("http://{bound}"), None)
                }
            })
        }
        (AdminAddress::Tcp(address), None) => bail!("{address} has no token"),
        (AdminAddress::Unix(path), _) => {
            let listener = bind_socket(&path, is_for_groups)?;
            let url = format!("unix:{}", path.display());
            Ok((
                AdminListener::Unix(listener),
                url,
                Some(SocketFile::at(path)?),
            ))
        }
    }
}

/// Refuses one file for two tokens: an application is no operator.
pub(super) fn check_app_token(app: Option<&Path>, admin: Option<&Path>) -> Result<()> {
    let itself = |path: &Path| path.canonicalize().unwrap_or_else(|_| absolute(path));
    match (app, admin) {
        (Some(app), Some(admin)) if itself(app) == itself(admin) => Err(same_token(app).into()),
        _ => Ok(()),
    }
}

/// The application's token, which is another than the operator's.
pub(super) fn app_token(path: Option<&Path>, admin: &AdminListener) -> Result<Option<TokenHash>> {
    let Some(path) = path else { return Ok(None) };
    let token = ensure_token(path)?;
    match admin {
        AdminListener::Tcp(_, admin) | AdminListener::Tls(_, _, admin) if admin.matches(&token) => {
            Err(same_token(path).into())
        }
        AdminListener::Tcp(..) | AdminListener::Tls(..) | AdminListener::Unix(_) => Ok(Some(token)),
    }
}

fn same_token(path: &Path) -> Failure {
    let text = format!(
        "{} holds the admin token; the application needs a token of its own, which neither lists sessions nor drops them",
        path.display()
    );
    Failure::new(Exit::Config, text)
        .advise("--app-token-file with a file that is not there yet: serve makes it")
}

/// The token of the file, minted if there is no file.
fn ensure_token(path: &Path) -> Result<TokenHash> {
    if path.symlink_metadata().is_ok() {
        let advise = |failure: Failure| {
            failure.advise("mend the file, or name one that is not there yet: serve makes it")
        };
        let again = Again {
            program: PROGRAM,
            is_local: false,
        };
        return match read_token(path) {
            Ok(token) => Ok(token.hash()),
            Err(error)
                if advice(&error, again).is_some_and(|advice| advice.starts_with("chmod")) =>
            {
                Err(error)
            }
            Err(error) => Err(advise(Failure::new(Exit::Config, format!("{error:#}"))).into()),
        };
    }
    let token = Token::mint().context("the operating system has no random bytes")?;
    NewTokenFile::create(path)?.write(&token)?;
    Ok(token.hash())
}

/// Binds the socket, in place of one that a killed server left behind. Where groups have roles, everybody may connect: who
/// comes in is decided by who it is.
fn bind_socket(path: &Path, is_for_groups: bool) -> Result<UnixListener> {
    let (directory_mode, mode) = if is_for_groups {
        (0o711, 0o666)
    } else {
        (0o700, 0o600)
    };
    let shown = path.display();
    // Only the last step of the way is made: more is a slip of the fingers.
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty() && !directory.exists())
    {
        let made = DirBuilder::new().mode(directory_mode).create(directory);
        // No umask is to keep out who is to come in.
        made.and_then(|()| fs::set_permissions(directory, Permissions::from_mode(directory_mode)))
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    }
    check_directory_of(path)?;
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let text = format!("{shown} is there and not a socket");
            return Err(Failure::new(Exit::Config, text)
                .advise("--admin unix:PATH with another path")
                .into());
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            let text = format!("another process listens on {shown}");
            return Err(Failure::new(Exit::Config, text)
                .advise("--admin unix:PATH with another path")
                .into());
        }
        Ok(_) => fs::remove_file(path)
            .with_context(|| format!("cannot remove the old socket {shown}"))?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {shown}"))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {shown}"))?;
    if is_for_groups {
        tell_if_out_of_reach(path);
    }
    Ok(listener)
}

/// Whoever can write a directory puts a socket of his own in the place of ours, and commands that ask there are lied to.
fn check_directory_of(path: &Path) -> Result<()> {
    let path = absolute(path);
    let directory = path.parent().unwrap_or(&path);
    let metadata = directory
        .metadata()
        .with_context(|| format!("cannot look at {}", directory.display()))?;
    let is_sticky = metadata.mode() & 0o1000 != 0;
    if metadata.mode() & 0o022 == 0 || is_sticky {
        return Ok(());
    }
    let text = format!(
        "others can write {}, the directory of the admin socket",
        directory.display()
    );
    Err(Failure::new(Exit::Config, text)
        .advise(format!(
            "chmod go-w {}, or another path with --admin",
            quoted(&directory.to_string_lossy())
        ))
        .into())
}

/// A group with a role comes to nothing in a directory that its users cannot enter.
fn tell_if_out_of_reach(path: &Path) {
    let path = absolute(path);
    let closed = path.ancestors().skip(1).find(|directory| {
        let metadata = directory.metadata();
        metadata.is_ok_and(|metadata| metadata.mode() & 0o001 == 0)
    });
    if let Some(directory) = closed {
        let directory = directory.display();
        tracing::warn!(
            "other users cannot reach the admin socket, whatever role their group has: chmod o+x {directory}, or another path with --admin"
        );
    }
}
